// Every change appears in every open window without a reload, whatever happens to the connection.

import { expect, test } from "./fixtures.ts";

const CONNECTION_LOST = "Connection lost";

test("two customers and an admin see what concerns them, at once", async ({ shop }) => {
  const [alice, bob, admin] = [await shop.customer("alice"), await shop.customer("bob"), await shop.admin()];
  const { id: productId } = await shop.world.product("P020");
  const stock = (page: typeof bob.page) => page.locator(`#product-${productId} .stock`);
  await Promise.all([bob.visit("/products"), admin.visit("/admin")]);
  await alice.order("Vertical Mouse", { orderId: "mouse" });
  const id = `${alice.name}.mouse`;
  await expect(stock(bob.page), "what alice has reserved bob cannot buy").toHaveText("84 in stock");
  await bob.add("Vertical Mouse", 2);

  await alice.pay();
  await expect(admin.waiting(id)).toBeVisible();
  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).click();
  await expect(alice.status).toHaveText("On its way");
  await expect(admin.page.locator(`[id="row-${id}"]`)).toContainText("On its way");
  await expect(alice.status).toHaveText("Delivered");
  await expect(admin.page.locator(`[id="row-${id}"]`)).toContainText("Delivered");

  await admin.page.getByRole("link", { name: /^All \d+ products/ }).click();
  const restock = admin.page.locator(`#stock-${productId}`);
  await restock.getByRole("spinbutton").fill("100");
  await restock.getByRole("button", { name: /^Restock/ }).click();
  await expect(restock).toContainText("184");
  await expect(stock(bob.page)).toHaveText("184 in stock");

  await expect(bob.cartCount).toContainText("2");
  await expect(bob.notifications, "alice's order is none of bob's business").toHaveCount(1);
  await bob.visit("/orders");
  await expect(bob.page.getByText("No orders yet")).toBeVisible();
  const answer = await shop.watch.status(404, () => bob.page.goto(`/orders/${id}`));
  expect(answer?.status()).toBe(404);
});

test("a change is seen within a second", async ({ shop }) => {
  const alice = await shop.customer("alice");
  await alice.visit("/cart");
  const took: number[] = [];
  for (let pieces = 1; pieces <= 7; pieces += 1) {
    const seen = alice.page.waitForFunction(
      (text) => document.querySelector("#nav .go[href='/cart'] .count")?.textContent?.startsWith(text) && Date.now(),
      String(pieces),
    );
    await alice.quietlyAdd("P001");
    const answeredAt = Date.now();
    took.push(Number(await (await seen).jsonValue()) - answeredAt);
  }
  const median = took.sort((a, b) => a - b)[3];
  expect(median, `milliseconds between the API's answer and the picture: ${took}`).toBeLessThan(1_000);
});

test("four windows stay right together", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const order = await alice.quietlyOrder("P002", "windows");
  const windows = [alice, await alice.window(), await alice.window(), await alice.window()];
  const paths = ["/products", "/cart", "/", `/orders/${order}`];
  for (const [index, window] of windows.entries()) await window.visit(paths[index]);
  for (const window of windows) await window.mark();

  await windows[0].add("Widget A", 4);
  for (const window of windows) await expect(window.cartCount).toContainText("5");
  await expect(windows[1].page.locator("#cart")).toContainText("Widget A");
  await windows[3].pay();
  await expect(windows[3].status).toHaveText("Awaiting approval");
  await expect(windows[2].page.getByRole("row").filter({ hasText: "windows" })).toContainText("Awaiting approval");
  for (const window of windows) {
    await expect(window.told("Payment confirmed!")).toBeVisible();
    expect(await window.isMarked(), "no window was loaded again").toBe(true);
  }
});

test("the gateway dies and comes back under open pages", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = await alice.quietlyOrder("P001", "outlives", { paid: true });
  await alice.visit(`/orders/${id}`);
  await admin.visit("/admin");
  await Promise.all([alice.mark(), admin.mark()]);
  const banner = alice.page.getByText(CONNECTION_LOST);
  await expect(banner).toBeHidden();

  await shop.watch.outage(async () => {
    await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
    await shop.world.kill("gateway");
    await expect(banner).toBeVisible();
    await expect(admin.page.getByText(CONNECTION_LOST)).toBeVisible();
    // Meanwhile the order goes on without the gateway.
    await expect.poll(async () => (await shop.world.ledger(id)).payments[0].status).toBe("captured");
    await shop.world.startAgain("gateway");
    await expect(banner).toBeHidden();
  });

  await expect(alice.status).toHaveText("Delivered");
  await expect(alice.told("Order delivered!")).toBeVisible();
  await expect(admin.page.getByText(CONNECTION_LOST)).toBeHidden();
  await expect(admin.page.locator(`[id="row-${id}"]`)).toContainText("Delivered");
  await alice.quietlyAdd("P002");
  await expect(alice.cartCount, "the stream lives").toContainText("1");
  expect([await alice.isMarked(), await admin.isMarked()], "nothing was loaded again").toEqual([true, true]);
});

test("what is sent into an outage is said to be lost, and not sent twice", async ({ shop }) => {
  const alice = await shop.customer("alice");
  await alice.visit("/products");
  await shop.watch.outage(async () => {
    await shop.world.kill("gateway");
    await alice.good("Widget A").getByRole("button", { name: /^Add to cart/ }).click();
    await expect(alice.toast).toContainText("Waybill did not answer");
    await shop.world.startAgain("gateway");
    await expect(alice.page.getByText(CONNECTION_LOST)).toBeHidden();
  });
  await expect(alice.cartCount).not.toContainText(/\d/);
  await alice.add("Widget A");
  await expect(alice.cartCount).toContainText("1");
});

test("offline and back", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const cable = await shop.cable();
  await alice.visit(`${cable.url}/cart`);
  await alice.mark();
  const banner = alice.page.getByText(CONNECTION_LOST);
  await expect(banner).toBeHidden();
  await shop.watch.outage(async () => {
    await alice.context.setOffline(true);
    cable.cut();
    await expect(banner).toBeVisible();
    await alice.quietlyAdd("P001", 3);
    cable.mend();
    await alice.context.setOffline(false);
    await expect(banner).toBeHidden();
  });
  await expect(alice.cartCount).toContainText("3");
  await expect(alice.page.locator("#cart")).toContainText("Widget A");
  expect(await alice.isMarked()).toBe(true);
});

test("a hidden window costs nothing, and is right when it is looked at again", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const streams = new Set();
  const isStream = (url: string) => new URL(url).pathname.startsWith("/stream/page");
  alice.page.on("request", (request) => isStream(request.url()) && streams.add(request));
  for (const over of ["requestfinished", "requestfailed"] as const) {
    alice.page.on(over as "requestfinished", (request) => streams.delete(request));
  }
  await alice.visit("/orders");
  await expect.poll(() => streams.size).toBe(1);

  await alice.look(true);
  await expect.poll(() => streams.size).toBe(0);
  await alice.quietlyAdd("P001", 2);
  await alice.look(false);
  await expect(alice.cartCount).toContainText("2");
  expect(streams.size).toBe(1);
});

test("a form that goes and comes back is a new wish", async ({ shop }) => {
  const alice = await shop.customer("alice");
  await alice.visit("/products");
  const search = alice.page.getByRole("searchbox");
  for (const pieces of [1, 2]) {
    await alice.good("Widget A").getByRole("button", { name: /^Add to cart/ }).click();
    await expect(alice.cartCount).toContainText(String(pieces));
    await search.fill("mouse");
    await expect(alice.good("Widget A")).toHaveCount(0);
    await search.fill("");
    await expect(alice.good("Widget A")).toBeVisible();
  }
  await alice.visit("/cart");
  const remove = alice.page.getByRole("button", { name: "Remove Widget A" });
  for (let times = 0; times < 3; times += 1) {
    await remove.click();
    await expect(remove, "it is removed as often as one asks").toHaveCount(0);
    await alice.quietlyAdd("P001");
    await expect(remove).toBeVisible();
  }
});
