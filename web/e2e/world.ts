// Restate, the services, the outside world and the gateway: real processes on free ports, in a
// temporary folder. The launcher (crates/tests) starts them, starts again what crashes, and ends and
// removes all of it when the worker that asked for it is gone, however that ends.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { binDirectory, launch } from "../../scripts/launcher.mjs";

const LOG_LINES = 40;

export type Part = "restate" | "services" | "sandbox" | "gateway";
const PARTS: Part[] = ["restate", "sandbox", "services", "gateway"];

export interface Product {
  id: number;
  sku: string;
  name: string;
  price_cents: number;
}

/** What the launcher says: crates/tests/src/bin/launcher/protocol.rs has the list. */
interface Event {
  event: "ready" | "ended" | "started" | "killed" | "serves" | "failed";
  [field: string]: any;
}

/** The demo's shop, one whose gateway traces, or one in session mode that nobody has opened yet. */
export type Kind = "world" | "traced" | "shop";

export class World {
  readonly gateway: string;
  readonly sandbox: string;
  readonly folder: string;
  /** Where its processes are: crates/tests/src/bin/launcher has the names. */
  readonly addresses: Record<string, string>;
  #admin: string;
  #logs: string;
  #launched: Launched;
  /** What the gateway is told. */
  #settings: Record<string, string>;

  static async start(kind: Kind): Promise<World> {
    const launched = new Launched(kind);
    return new World(launched, await launched.says("ready"));
  }

  private constructor(launched: Launched, { addresses, folder, logs, settings }: Event) {
    this.#launched = launched;
    this.#settings = settings;
    this.addresses = addresses;
    this.gateway = addresses.gateway;
    this.sandbox = addresses.sandbox;
    this.#admin = addresses.admin;
    this.folder = folder;
    this.#logs = logs;
  }

  /** Ends a process as hard as one can. */
  async kill(part: Part) {
    this.#launched.tell({ do: "kill", part });
    await this.#launched.says("killed");
  }

  /** Starts it again on the same port, and waits until it serves. */
  async startAgain(part: Part) {
    this.#launched.tell({ do: "start", part });
    await this.#launched.says("serves");
  }

  /** Runs one of the gateway's commands, such as `catalog import`. */
  command(args: string[], input = ""): { status: number | null; said: string; wrong: string } {
    const { status, stdout, stderr } = spawnSync(join(binDirectory(), "gateway"), args, { cwd: this.folder, env: this.#settings, input, encoding: "utf8" });
    return { status, said: stdout, wrong: stderr };
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

  /** The last lines of every log, or of these. */
  logs(...parts: Part[]): string {
    return (parts.length ? parts : PARTS).map((part) => {
      const file = join(this.#logs, `${part}.log`);
      const text = existsSync(file) ? readFileSync(file, "utf8") : "";
      return `---- ${part}\n${text.split("\n").slice(-LOG_LINES).join("\n")}`;
    }).join("\n");
  }

  /** Ends and removes all of it. */
  async end() {
    await this.#launched.end();
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
}

/** The launcher, and what it has said that nobody has asked for yet. */
class Launched {
  #said: Event[] = [];
  #failure: Error | null = null;
  #isHeard = () => {};
  #launcher: ReturnType<typeof launch>;

  constructor(kind: Kind) {
    this.#launcher = launch(kind, (event: Event) => {
      if (event.event === "failed") this.#failure = new Error(`${event.reasons.join("\n")}\n${event.log}`);
      this.#said.push(event);
      this.#isHeard();
    });
    this.#launcher.ended.then((code: number) => {
      this.#failure ??= new Error(`the launcher has ended with code ${code}`);
      this.#isHeard();
    });
  }

  tell(command: { do: "kill" | "start"; part: Part }) {
    this.#launcher.tell(command);
  }

  end() {
    return this.#launcher.end();
  }

  /** Waits for an event of this kind. */
  async says(kind: Event["event"]): Promise<Event> {
    for (;;) {
      const index = this.#said.findIndex(({ event }) => event === kind);
      if (index >= 0) return this.#said.splice(index, 1)[0];
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => (this.#isHeard = resolve));
    }
  }
}

async function json(address: string, headers: Record<string, string> = {}): Promise<any> {
  const answer = await fetch(address, { headers });
  if (!answer.ok) throw new Error(`${address} answered ${answer.status} ${await answer.text()}`);
  return answer.json();
}
