// A company: its identity provider, and gateways of the worker's world that let its people in. They
// run in session mode beside the world's own gateway, over the same Restate.

import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { binDirectory } from "../../../scripts/launcher.mjs";
import type { World } from "../world.ts";

const CLIENT = { id: "waybill", secret: "9d2f7b40c16f2b9d1ec84a07" };
/** As crates/tests/src/plan.rs has it. */
const TOKEN = "the-token-of-a-world-that-is-soon-gone";

/** How the provider misbehaves, in provider.mjs. */
export interface Change {
  people?: Record<string, string[]>;
  claims?: Record<string, object>;
  evil?: string | null;
  /** Altogether, or at one of its addresses. */
  away?: boolean | string;
  rotated?: boolean;
}

export class Company {
  readonly issuer: string;
  #world: World;
  #processes: ChildProcess[] = [];
  #ports: number[];

  /** With room for so many gateways. */
  static async of(world: World, people: Record<string, string[]>, gateways = 1): Promise<Company> {
    const ports = await freePorts(gateways + 1);
    const company = new Company(world, ports);
    const redirects = company.#ports.map((port) => `http://127.0.0.1:${port}/login/oidc/callback`);
    const settings = { port: ports[0], client: { ...CLIENT, redirects }, people };
    const provider = spawn(process.execPath, [join(import.meta.dirname, "provider.mjs"), JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] });
    company.#processes.push(provider);
    const [said] = await once(createInterface({ input: provider.stdout! }), "line");
    if (said !== "ready") throw new Error(`the provider says ${said}`);
    return company;
  }

  private constructor(world: World, [provider, ...gateways]: number[]) {
    this.#world = world;
    this.issuer = `http://localhost:${provider}`;
    this.#ports = gateways;
  }

  /** Tells the provider how things are from now on. */
  async is(change: Change) {
    await fetch(`http://127.0.0.1:${new URL(this.issuer).port}/test`, { method: "POST", body: JSON.stringify(change) });
  }

  /** Starts a gateway that lets the company's people in. */
  async gateway(more: Record<string, string> = {}): Promise<Gateway> {
    const port = this.#ports.shift()!;
    const settings = {
      ...this.#environment(port),
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      PUBLIC_URL: `http://127.0.0.1:${port}`,
      OIDC_ISSUER: this.issuer,
      OIDC_CLIENT_ID: CLIENT.id,
      OIDC_CLIENT_SECRET: CLIENT.secret,
      OIDC_NAME: "Example Corp",
      OIDC_ROLES: "shop-approvers=approver,shop-support=support",
      ...more,
    };
    const gateway = new Gateway(settings, join(this.#world.folder, `gateway-${port}.log`));
    this.#processes.push(await gateway.start());
    return gateway;
  }

  /** Runs one of the gateway's commands, such as `user create`. */
  command(args: string[], input = ""): { status: number | null; said: string } {
    const run = spawnSync(join(binDirectory(), "gateway"), args, { env: { ...this.#environment(0), OIDC_ISSUER: this.issuer }, input, encoding: "utf8" });
    return { status: run.status, said: run.stdout + run.stderr };
  }

  #environment(port: number): Record<string, string> {
    const { ingress, admin, services_ops } = this.#world.addresses;
    return {
      // Marks what a test run has started: scripts/test.mjs.
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("WAYBILL_")) as [string, string][]),
      DATABASE_URL: `sqlite://${this.#world.folder}/gateway-${port}.db`,
      RESTATE_INGRESS_URL: ingress,
      RESTATE_ADMIN_URL: admin,
      SERVICES_UPDATES_URLS: `${services_ops}/updates`,
      INTERNAL_TOKEN: TOKEN,
      SESSION_KEY: "6f2b9d1ec84a07355be1d20f6a9c83e7",
      PAYMENT_WEBHOOK_SECRET: "whsec_of_the_tests",
      NO_COLOR: "1",
    };
  }

  async end() {
    await Promise.all(this.#processes.filter((it) => it.exitCode === null).map((it) => {
      it.stdin!.end();
      return once(it, "exit");
    }));
  }
}

/** One gateway of the company's. */
export class Gateway {
  readonly url: string;
  #settings: Record<string, string>;
  #log: string;
  #process?: ChildProcess;

  constructor(settings: Record<string, string>, log: string) {
    this.#settings = settings;
    this.url = settings.PUBLIC_URL;
    this.#log = log;
  }

  async start(): Promise<ChildProcess> {
    const log = openSync(this.#log, "a");
    const gateway = spawn(process.execPath, [join(import.meta.dirname, "keeper.mjs"), join(binDirectory(), "gateway"), "serve"], { env: this.#settings, stdio: ["pipe", log, log] });
    for (let tries = 0; tries < 300; tries += 1) {
      if (gateway.exitCode !== null) throw new Error(this.log());
      if (await fetch(`${this.url}/healthz`).then((it) => it.ok, () => false)) return (this.#process = gateway);
      await pause(100);
    }
    throw new Error(`the gateway does not serve: ${this.log()}`);
  }

  /** Another process takes its place, with the same settings and a file of its own. */
  async startAgain(): Promise<void> {
    this.#process!.stdin!.end();
    await once(this.#process!, "exit");
    this.#settings.DATABASE_URL = this.#settings.DATABASE_URL.replace(".db", "-again.db");
    await this.start();
  }

  /** Ends the process, if it was started again. */
  stop() {
    this.#process?.stdin!.end();
  }

  log(): string {
    return readFileSync(this.#log, "utf8");
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  }));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
