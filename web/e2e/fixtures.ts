// What every test is given: a shop in a world of its worker's own, and a watch over all its pages.

import { test as base, expect, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "@playwright/test";
import { findBrowser } from "../../scripts/browser.mjs";
import { Cable } from "./cable.ts";
import type { Person } from "./person.ts";
import { Tour } from "./tour.ts";
import { Visitor } from "./visitor.ts";
import { Watch } from "./watch.ts";
import { World, type Kind } from "./world.ts";

export { expect, type Page, type Visitor };

const BROWSER_FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  // Even a page that wants to cannot leave this machine.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/** The shop as one test sees it. */
export class Shop {
  readonly world: World;
  readonly watch: Watch;
  #browser: Browser;
  #contexts: BrowserContext[] = [];
  #cables: Cable[] = [];

  constructor(world: World, browser: Browser) {
    this.world = world;
    this.#browser = browser;
    this.watch = new Watch(world.gateway, world.sandbox);
  }

  /** Somebody who clicks on one of the demo's people at the sign-in. */
  async persona(name: "alice" | "bob" | "admin", options: BrowserContextOptions = {}): Promise<Visitor> {
    const page = await this.stranger(options);
    await page.goto("/");
    await page.getByRole("button", { name }).click();
    await page.waitForURL("/");
    return new Visitor(name, page, this.world);
  }

  /** A browser of its own with nobody signed in. */
  async stranger(options: BrowserContextOptions = {}): Promise<Page> {
    return (await this.#context(options)).newPage();
  }

  /** A customer nobody has seen before: tests share a world, so each brings people of its own. */
  async customer(name: string, options: BrowserContextOptions = {}): Promise<Visitor> {
    return this.#visitor(`${name}-${unique()}`, options);
  }

  /** The admin; there is one. */
  async admin(options: BrowserContextOptions = {}): Promise<Visitor> {
    return this.#visitor("admin", options);
  }

  /** Somebody the shop knows, at a browser of their own. */
  async visitor(person: Person, options: BrowserContextOptions = {}): Promise<Visitor> {
    return this.#visitor(person.name, options);
  }

  /** Another way to the shop, which can be cut. */
  async cable(): Promise<Cable> {
    const cable = await Cable.to(this.world.gateway);
    this.#cables.push(cable);
    this.watch.shopIsAlsoAt(cable.url);
    return cable;
  }

  async close() {
    await Promise.all(this.#contexts.map((context) => context.close()));
    await Promise.all(this.#cables.map((cable) => cable.remove()));
  }

  async #visitor(name: string, options: BrowserContextOptions): Promise<Visitor> {
    const context = await this.#context({ ...options, extraHTTPHeaders: { "x-user-id": name } });
    return new Visitor(name, await context.newPage(), this.world);
  }

  async #context(options: BrowserContextOptions): Promise<BrowserContext> {
    const context = await this.#browser.newContext({ baseURL: this.world.gateway, viewport: { width: 1440, height: 900 }, ...options });
    this.#contexts.push(context);
    await this.watch.over(context);
    return context;
  }
}

/**
 * Leaves the page and takes its cookies away. A page that is still open notices that it is
 * signed out, and goes to the sign-in by itself, across whatever is visited next.
 */
export async function forgetCookies(page: Page): Promise<void> {
  await page.goto("about:blank");
  await page.context().clearCookies();
}

let count = 0;

/** A short id that no other test of this run has. */
export function unique(): string {
  count += 1;
  return `${process.pid.toString(36)}${count.toString(36)}`;
}

/** A world of the worker's own, of that kind. */
function worldOf(kind: Kind) {
  const world = async ({}, use: (world: World) => Promise<void>) => {
    const world = await World.start(kind);
    await use(world);
    await world.end();
  };
  return [world, { scope: "worker", timeout: 120_000 }] as const;
}

/** The same tests in another kind of world. */
export const testIn = (kind: Kind) => test.extend<{}, { world: World }>({ world: [...worldOf(kind)] });

export const test = base.extend<{ shop: Shop }, { world: World; browser: Browser; tour: Tour }>({
  world: [...worldOf("world")],

  browser: [
    async ({ playwright, world }, use) => {
      const executablePath = process.env.CHROMIUM_BIN || findBrowser();
      if (!executablePath) throw new Error('there is no Chromium: run "node scripts/setup.mjs --browser", or set CHROMIUM_BIN.');
      // Its profile goes away with the world, also when this process is killed.
      process.env.TMPDIR = world.folder;
      const browser = await playwright.chromium.launch({ executablePath, args: BROWSER_FLAGS });
      await use(browser);
      await browser.close();
    },
    { scope: "worker" },
  ],

  tour: [
    async ({ world }, use) => use(await Tour.prepare(world)),
    { scope: "worker", timeout: 120_000 },
  ],

  shop: async ({ world, browser }, use, info) => {
    const shop = new Shop(world, browser);
    await use(shop);
    if (info.status !== info.expectedStatus) {
      await info.attach("requests under way", { body: await shop.watch.underWay(), contentType: "text/plain" });
      await info.attach("logs", { body: world.logs(), contentType: "text/plain" });
      // The list shows the beginning of a text only.
      console.log(world.logs("gateway"));
    }
    await shop.close();
    expect(shop.watch.complaints, "what the watch has seen").toEqual([]);
  },
});
