// The cable between a browser and the shop, which a test can cut. Chromium's own "offline" lets
// connections live that are open already; here they die, as they do when the network goes.

import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export class Cable {
  readonly url: string;
  #server: Server;
  #sockets = new Set<Socket>();
  #isCut = false;

  static async to(address: string): Promise<Cable> {
    const { hostname, port } = new URL(address);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Cable(server, Number(port), hostname);
  }

  private constructor(server: Server, port: number, host: string) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (near) => {
      if (this.#isCut) return void near.destroy();
      const far = connect({ host, port });
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.#sockets.add(socket);
        socket.on("error", () => {}).on("close", () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  async remove() {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
