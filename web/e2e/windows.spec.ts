// More windows than a browser opens connections to a site: each is live, and none stands on another.

import { expect, test } from "./fixtures.ts";
import type { Visitor } from "./visitor.ts";

/** Six are the connections that Chromium opens to a site over HTTP/1.1. */
const CONNECTIONS = 6;

/** The same person at one window for each path, all of them live. */
async function open(first: Visitor, paths: string[]): Promise<Visitor[]> {
  const windows = [first];
  while (windows.length < paths.length) windows.push(await first.window());
  for (const [index, window] of windows.entries()) await window.visit(paths[index]);
  for (const window of windows) {
    expect(await window.page.evaluate(() => document.visibilityState)).toBe("visible");
    await window.mark();
  }
  return windows;
}

/** Whether each of them shows so many pieces in the cart, and is still the same document. */
async function expectInCart(windows: Visitor[], pieces: number) {
  for (const window of windows) {
    await expect(window.cartCount).toContainText(String(pieces));
    expect(await window.isMarked(), "no window was loaded again").toBe(true);
  }
}

test("eight windows are live, and close one by one", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const order = await alice.quietlyOrder("P002", "eight");
  const paths = ["/cart", "/products", "/", "/orders", `/orders/${order}`, "/products?q=mouse", "/orders?status=delivered", "/?tab=output"];
  expect(paths.length).toBeGreaterThan(CONNECTIONS + 1);
  const windows = await open(alice, paths);
  await alice.quietlyAdd("P001", 2);
  await expectInCart(windows, 3);

  // Each has its own page, and only that.
  await expect(windows[0].page.locator("#cart")).toContainText("Widget A");
  await expect(windows[1].good("Widget A")).toBeVisible();
  await expect(windows[5].good("Vertical Mouse")).toBeVisible();
  await expect(windows[5].good("Widget A")).toHaveCount(0);
  await windows[4].pay();
  await windows[4].mark();
  await expect(windows[4].status).toHaveText("Awaiting approval");
  await expect(windows[3].page.getByRole("row").filter({ hasText: "eight" })).toContainText("Awaiting approval");

  // The first leads the others, and then the next.
  const left = [...windows];
  while (left.length > 1) {
    await left.shift()!.page.close();
    await alice.quietlyAdd("P001");
    const { items } = await alice.api("GET", "/api/cart");
    await expectInCart(left, items.reduce((sum: number, item: { quantity: number }) => sum + item.quantity, 0));
  }
});

test("a window that crashes takes no other with it", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const windows = await open(alice, ["/cart", "/products", "/orders"]);
  const [first, ...others] = windows;
  const crashed = first.page.waitForEvent("crash");
  const devtools = await first.context.newCDPSession(first.page);
  // Never answered: there is nobody left to do it.
  devtools.send("Page.crash").catch(() => {});
  await crashed;
  await others[0].quietlyAdd("P001", 2);
  await expectInCart(others, 2);
});

test("hidden windows take no part, and are right when they are looked at", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const windows = await open(alice, ["/cart", "/products", "/orders"]);
  const [first, second, third] = windows;
  await first.look(true);
  await alice.quietlyAdd("P001", 2);
  await expectInCart([second, third], 2);
  await second.look(true);
  await third.look(true);
  await alice.quietlyAdd("P001", 3);
  await second.look(false);
  await expectInCart([second], 5);
  await expect(third.cartCount, "nobody looks at it").toContainText("2");
  await first.look(false);
  await third.look(false);
  await expectInCart(windows, 5);
});

test("a window that hangs keeps nobody waiting for ever", async ({ shop }) => {
  const alice = await shop.customer("alice");
  await alice.visit("/cart");
  const hung = alice.page.evaluate(() => {
    const end = Date.now() + 20_000;
    while (Date.now() < end);
  });
  const other = await alice.window();
  const since = Date.now();
  await other.visit("/products");
  await other.mark();
  await other.quietlyAdd("P001", 2);
  await expectInCart([other], 2);
  expect(Date.now() - since, "the first one hung all the time").toBeLessThan(15_000);
  await hung;
  await expect(alice.cartCount, "it goes on when it can").toContainText("2");
});

test("a leader that hangs among others is replaced", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const [leading, other] = await open(alice, ["/cart", "/products"]);
  const hung = leading.page.evaluate(() => {
    const end = Date.now() + 20_000;
    while (Date.now() < end);
  });
  const since = Date.now();
  await other.quietlyAdd("P001", 2);
  await expectInCart([other], 2);
  expect(Date.now() - since, "the leader hung all the time").toBeLessThan(15_000);
  await hung;
  await expectInCart([leading], 2);
});

test("windows stay with who is signed in", async ({ shop }) => {
  const first = await shop.persona("alice");
  const second = await first.window();
  await second.visit("/orders");
  await first.visit("/cart");
  const who = (window: Visitor) => window.page.locator("#nav");
  await second.page.getByRole("button", { name: "Account: alice" }).click();
  await second.page.getByRole("button", { name: "Be bob" }).click();
  await expect(who(second)).toContainText("bob");
  await expect(who(first), "it is the same browser").toContainText("bob");

  // The sign-in has no stream; the others are led to it.
  await second.page.getByRole("button", { name: "Account: bob" }).click();
  await second.page.getByRole("button", { name: "Sign out" }).click();
  await second.page.waitForURL(/\/login/);
  await first.page.waitForURL(/\/login\?next=%2Fcart/);
});

test("a filter changes one window, also one that does not lead", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const [first, second] = await open(alice, ["/products", "/products"]);
  for (const [window, other] of [[second, first], [first, second]]) {
    const since = Date.now();
    await window.page.getByRole("searchbox").fill("mouse");
    await expect(window.good("Vertical Mouse")).toBeVisible();
    await expect(window.good("Widget A")).toHaveCount(0);
    await expect(other.good("Widget A")).toBeVisible();
    await window.page.getByRole("searchbox").fill("");
    await expect(window.good("Widget A")).toBeVisible();
    expect(Date.now() - since, "nobody had to lose their patience").toBeLessThan(4_000);
  }
  await alice.quietlyAdd("P001", 2);
  await expectInCart([first, second], 2);
});

test("every window tells of a lost connection, and of its return", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const windows = await open(alice, ["/cart", "/products", "/orders"]);
  const banner = (window: Visitor) => window.page.getByText("Connection lost");
  await shop.watch.outage(async () => {
    await shop.world.kill("gateway");
    for (const window of windows) await expect(banner(window)).toBeVisible();
    await shop.world.startAgain("gateway");
    for (const window of windows) await expect(banner(window)).toBeHidden();
  });
  await alice.quietlyAdd("P001", 2);
  await expectInCart(windows, 2);
});

test("without locks each window has a stream of its own", async ({ shop }) => {
  const alice = await shop.customer("alice");
  // As on plain HTTP from another machine.
  await alice.context.addInitScript(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }));
  const streams: string[] = [];
  alice.context.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname.startsWith("/stream/")) streams.push(pathname);
  });
  const windows = await open(alice, ["/cart", "/products"]);
  await alice.quietlyAdd("P001", 2);
  await expectInCart(windows, 2);
  expect(streams).toEqual(["/stream/page", "/stream/page"]);
  await windows[1].page.getByRole("searchbox").fill("mouse");
  await expect(windows[1].good("Widget A")).toHaveCount(0);
});

test("a script that loads late misses nothing and changes nothing", async ({ shop }) => {
  const alice = await shop.customer("alice");
  let pieces = 0;
  // Alone, and led by a window that is there already.
  for (const isLed of [false, true]) {
    if (isLed) await alice.visit("/orders");
    for (const script of ["windows", "datastar", "app"]) {
      const window = await alice.window();
      let letGo = () => {};
      const late = new Promise<void>((resolve) => { letGo = resolve; });
      await window.page.route(new RegExp(`/${script}[^/]*\\.js`), async (route) => {
        await late;
        await route.continue();
      });
      await window.page.goto("/cart", { waitUntil: "commit" });
      await expect(window.page.locator("#cart, #input").first()).toBeAttached();
      await alice.quietlyAdd("P001");
      pieces += 1;
      // Long enough for what has begun without the script to be over.
      await window.page.waitForTimeout(1_500);
      letGo();
      await expect(window.page.locator("html[data-live]"), `${script} came late, ${isLed ? "led" : "alone"}`).toBeAttached();
      await expect(window.cartCount, `${script} came late`).toContainText(String(pieces));
      // Nor does what it makes of an answer depend on which script ran first.
      const quantity = window.page.getByLabel("Quantity of Widget A");
      await quantity.evaluate((input: HTMLInputElement) => input.removeAttribute("max"));
      await quantity.fill("1000");
      await window.page.getByRole("button", { name: "Update Widget A" }).click();
      await expect(quantity, `${script} came late`).toHaveAttribute("aria-invalid", "true");
      await window.page.close();
    }
  }
});
