// Only one demo runs on one data folder. Its mark is a socket that it listens on: unlike a file
// with a process id, that cannot outlive its process or come to name another one.

import { mkdirSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { root } from "./binaries.mjs";

/** The folder of everything that the demo keeps. */
export const dataDirectory = process.env.WAYBILL_DATA_DIR || (process.argv.includes("--cluster") ? "data/cluster" : "data");

// Relative where it can be: a socket's path may have about a hundred characters.
const SOCKET = `${dataDirectory}/demo.sock`;

/** What the running demo says about itself, or null. */
export function askRunningDemo() {
  process.chdir(root);
  return new Promise((resolve) => {
    let said = "";
    connect(SOCKET)
      .setEncoding("utf8")
      .on("data", (text) => (said += text))
      .on("end", () => resolve(said))
      .on("error", () => resolve(null));
  });
}

/** Takes the lock for as long as this process lives. `describe` answers whoever asks. */
export async function lockDemo(describe) {
  const running = await askRunningDemo();
  if (running !== null) throw new Error(`the demo is already running (${running}); stop it with Ctrl-C first.`);
  mkdirSync(dataDirectory, { recursive: true });
  rmSync(SOCKET, { force: true });
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.on("error", () => {}).end(describe()));
    server.on("error", reject);
    server.listen(SOCKET, () => resolve(server.unref()));
  });
}
