// Restate, the services, the outside world and the gateway: real processes on free ports, in a
// temporary folder. Wired as the demo is, by the same settings. Nothing outlives the worker that
// started it, however that ends: scripts/watchdog.mjs reads a pipe that the kernel then closes.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { cargoBinDirectory, restateServer, root } from "../../scripts/binaries.mjs";
import { demoSettings } from "../../scripts/demo-settings.mjs";

const READY_WITHIN_MS = 60_000;
const START_TRIES = 3;
const QUICK_DEATH_MS = 1_000;
const LOG_LINES = 40;

export type Part = "restate" | "services" | "sandbox" | "gateway";
const PARTS: Part[] = ["restate", "sandbox", "services", "gateway"];

export interface Product {
  id: number;
  sku: string;
  name: string;
  price_cents: number;
}

interface Program {
  command: string;
  args: string[];
  env: NodeJS.ProcessEnv;
}

export class World {
  readonly gateway: string;
  readonly sandbox: string;
  readonly folder: string;
  #admin: string;
  #ops: string;
  #programs: Record<Part, Program>;
  #running = new Map<Part, ChildProcess>();
  #watchdog: ChildProcess;

  static async start(): Promise<World> {
    for (let attempt = 1; ; attempt += 1) {
      const world = new World(await freePorts(7));
      try {
        await world.#startAll();
        return world;
      } catch (error) {
        await world.end();
        // A port can be taken between its choice and its use.
        const isTaken = /in use/i.test(String(error));
        if (!isTaken || attempt === START_TRIES) throw error;
      }
    }
  }

  private constructor([gateway, services, ops, sandbox, ingress, admin, node]: number[]) {
    this.folder = mkdtempSync(join(tmpdir(), "waybill-world-"));
    const { url, variables } = demoSettings({
      PATH: process.env.PATH,
      HOME: this.folder,
      TMPDIR: this.folder,
      WAYBILL_TEST_RUN: process.env.WAYBILL_TEST_RUN,
      WEB_DIR: process.env.WEB_DIR,
      RUST_BACKTRACE: "1",
      DATABASE_URL: `sqlite://${this.folder}/waybill.db`,
      SANDBOX_DATABASE_URL: `sqlite://${this.folder}/sandbox.db`,
      GATEWAY_LISTEN: `127.0.0.1:${gateway}`,
      SERVICES_LISTEN: `127.0.0.1:${services}`,
      SERVICES_OPS_LISTEN: `127.0.0.1:${ops}`,
      SANDBOX_LISTEN: `127.0.0.1:${sandbox}`,
      RESTATE_BASE_DIR: join(this.folder, "restate"),
      RESTATE_INGRESS__BIND_PORT: String(ingress),
      RESTATE_ADMIN__BIND_PORT: String(admin),
      RESTATE_BIND_PORT: String(node),
      // Tests kill processes, not the machine: what the kernel has is kept.
      RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC: "true",
      RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC: "true",
    });
    this.gateway = url.gateway;
    this.sandbox = url.sandbox;
    this.#admin = url.admin;
    this.#ops = url.ops;

    const bin = process.env.WAYBILL_BIN_DIR || cargoBinDirectory();
    const ours = (name: string) => join(bin, name);
    const restate = process.env.RESTATE_SERVER_BIN || restateServer();
    const config = ["--no-logo", "--config-file", join(root, "restate.toml")];
    this.#programs = {
      restate: { command: restate, args: config, env: variables.restate },
      services: { command: ours("services"), args: [], env: variables.services },
      sandbox: { command: ours("gateway"), args: ["sandbox"], env: variables.sandbox },
      gateway: { command: ours("gateway"), args: ["serve"], env: variables.gateway },
    };
    this.#watchdog = spawn(process.execPath, [join(root, "scripts", "watchdog.mjs")], {
      detached: true,
      stdio: ["pipe", "ignore", "inherit"],
    });
    this.#tellWatchdog(`/${this.folder}`);
  }

  async #startAll() {
    for (const { command } of Object.values(this.#programs)) {
      if (!existsSync(command)) throw new Error(`${command} is missing: run "cargo build --bins" and "just setup".`);
    }
    this.#launch("restate");
    this.#launch("sandbox");
    await this.#seed();
    await this.#ready("restate");
    this.#launch("services");
    await this.#ready("services");
    this.#launch("gateway");
    await this.#ready("sandbox");
    await this.#ready("gateway");
    await this.#until("the stock is known", async () => {
      const { products } = await json(`${this.gateway}/api/products?per_page=100`, { "x-user-id": "admin" });
      const [row] = await this.#sql("SELECT count(*) AS n FROM state WHERE service_name = 'Inventory' AND key = 'level'");
      return row.n === products.length || `Inventory knows ${row.n} of ${products.length} products`;
    });
  }

  /** Ends a process as hard as one can. */
  async kill(part: Part) {
    await this.#end(part, "SIGKILL");
  }

  /** Starts it again on the same port, and waits until it serves. */
  async startAgain(part: Part) {
    this.#launch(part);
    await this.#ready(part);
  }

  /** The product with this SKU. */
  async product(sku: string): Promise<Product> {
    const { products } = await json(`${this.gateway}/api/products?per_page=100`, { "x-user-id": "admin" });
    return products.find((product: Product) => product.sku === sku);
  }

  /** What the payment provider and the carrier have on their books about an order. */
  async ledger(orderId: string) {
    return json(`${this.sandbox}/ledger?order_id=${encodeURIComponent(orderId)}`);
  }

  /** How often the order's workflow was started. */
  async workflowRuns(orderId: string): Promise<number> {
    const [row] = await this.#sql(
      `SELECT count(*) AS n FROM sys_invocation WHERE target = 'OrderFulfillmentWorkflow/${orderId}/Run'`,
    );
    return row.n;
  }

  /** The last lines of every log. */
  logs(): string {
    return PARTS.map((part) => {
      const lines = this.#log(part).split("\n").slice(-LOG_LINES).join("\n");
      return `---- ${part}\n${lines}`;
    }).join("\n");
  }

  /** Ends and removes all of it. */
  async end() {
    for (const part of [...PARTS].reverse()) await this.#end(part, "SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
    const gone = once(this.#watchdog, "exit");
    this.#watchdog.stdin!.end();
    await gone;
  }

  async #seed() {
    const { command, env } = this.#programs.gateway;
    const child = spawn(command, ["seed-demo"], { cwd: this.folder, env, stdio: ["ignore", "ignore", "inherit"] });
    const [code] = await once(child, "exit");
    if (code !== 0) throw new Error(`"gateway seed-demo" ended with code ${code}`);
  }

  #launch(part: Part) {
    const { command, args, env } = this.#programs[part];
    const log = openSync(join(this.folder, `${part}.log`), "a");
    const child = spawn(command, args, { cwd: this.folder, env, detached: true, stdio: ["ignore", log, log] });
    closeSync(log);
    this.#running.set(part, child);
    this.#tellWatchdog(`+${child.pid}`);
    const startedAt = Date.now();
    child.once("exit", () => {
      this.#tellWatchdog(`-${child.pid}`);
      // Whoever crashes is started again, as by any supervisor; who cannot start is not.
      if (this.#running.get(part) === child && Date.now() - startedAt > QUICK_DEATH_MS) this.#launch(part);
    });
  }

  async #end(part: Part, signal: NodeJS.Signals) {
    const child = this.#running.get(part);
    if (!child?.pid) return;
    this.#running.delete(part);
    const gone = child.exitCode === null && child.signalCode === null ? once(child, "exit") : null;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // It has just ended.
    }
    await gone;
  }

  async #ready(part: Part) {
    const addresses = {
      restate: [`${this.#admin}/health`],
      // Registered last: then Restate knows all of them.
      services: [`${this.#ops}/healthz`, `${this.#admin}/services/UserSession`, `${this.#admin}/services/OrderFulfillmentWorkflow`],
      sandbox: [`${this.sandbox}/healthz`],
      gateway: [`${this.gateway}/login`],
    }[part];
    for (const address of addresses) {
      await this.#until(`${part} serves ${address}`, async () => {
        const answer = await fetch(address);
        return answer.ok || `${answer.status} ${await answer.text()}`;
      });
    }
    // Restate says that it is healthy a little before its partitions are.
    if (part === "restate") {
      await this.#until("Restate answers queries", async () => Boolean(await this.#sql("SELECT count(*) FROM state")));
    }
  }

  async #sql(query: string): Promise<Record<string, any>[]> {
    const answer = await fetch(`${this.#admin}/query`, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/json" },
      body: JSON.stringify({ query }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return (await answer.json()).rows;
  }

  /** Looks again until `look` answers true; otherwise it says or throws what there is instead. */
  async #until(what: string, look: () => Promise<boolean | string>) {
    const deadline = Date.now() + READY_WITHIN_MS;
    for (;;) {
      const seen = await look().catch((error) => String(error.cause ?? error));
      if (seen === true) return;
      const taken = PARTS.find((part) => /address (already )?in use/i.test(this.#log(part)));
      if (Date.now() > deadline || taken) {
        throw new Error(`${what}: not so after ${READY_WITHIN_MS / 1000} s; instead: ${seen}\n${this.logs()}`);
      }
      await pause(50);
    }
  }

  #log(part: Part): string {
    const file = join(this.folder, `${part}.log`);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  #tellWatchdog(line: string) {
    this.#watchdog.stdin!.write(`${line}\n`);
  }
}

async function json(address: string, headers: Record<string, string> = {}): Promise<any> {
  const answer = await fetch(address, { headers });
  if (!answer.ok) throw new Error(`${address} answered ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Below those that the kernel gives to outgoing connections: a restarted process finds its own free. */
async function freePorts(count: number): Promise<number[]> {
  const held = [];
  while (held.length < count) {
    const server = createServer();
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(true));
    });
    if (isFree) held.push({ server, port });
  }
  // All are held until the last is found, so that they differ.
  await Promise.all(held.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return held.map(({ port }) => port);
}
