// The tools on the pages: tabs, search, filters, paging, notifications, copying, and forms that
// are sent once.

import { spawnSync } from "node:child_process";
import { expect, test } from "./fixtures.ts";

test("the tabs have addresses, are kept on reload and through changes", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page } = alice;
  const [input, output] = [page.locator("#input"), page.locator("#output")];
  for (const path of ["/", "/products", "/cart", "/orders"]) {
    await page.goto(`${path}?tab=output`);
    await expect(output, `${path} opens with its output`).toBeVisible();
    await expect(input).toBeHidden();
  }

  await alice.visit("/cart");
  await alice.mark();
  await alice.tab("Output").click();
  await expect(page).toHaveURL("/cart?tab=output");
  await expect(output).toBeVisible();
  await expect(alice.tab("Output")).toHaveAttribute("aria-current", "true");
  await alice.quietlyAdd("P003", 2);
  await expect(output).toContainText("Widget C Pro");
  await expect(input, "a change does not turn the page over").toBeHidden();
  await page.goBack();
  await expect(input).toBeVisible();
  await expect(output).toBeHidden();
  await page.goForward();
  await expect(output).toBeVisible();
  expect(await alice.isMarked(), "tabs need no reload").toBe(true);

  await page.reload();
  await expect(output).toBeVisible();
  await expect(output).toContainText("Widget C Pro");
});

test("products: search while typing, categories, pages", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page } = alice;
  const goods = page.locator("#product-list").getByRole("heading");
  await alice.visit("/products");
  await alice.mark();
  await expect(goods).toHaveCount(24);
  await page.getByLabel("Search products").fill("widg");
  await expect(goods).toHaveText(["Widget A", "Widget B", "Widget C Pro", "Widget Base", "Widget Starter Set"]);
  await expect(page).toHaveURL("/products?q=widg");
  await expect(page.getByText("5 products for “widg”")).toBeVisible();
  expect(await alice.isMarked()).toBe(true);

  await page.reload();
  await expect(page.getByLabel("Search products")).toHaveValue("widg");
  await expect(goods).toHaveCount(5);
  await page.getByLabel("Search products").fill("nothing like it");
  await expect(page.getByText("No product matches")).toBeVisible();
  await page.getByRole("link", { name: "Show all products" }).click();
  await expect(goods).toHaveCount(24);

  await page.getByRole("link", { name: /^Tools/ }).click();
  await expect(page).toHaveURL("/products?category=Tools");
  await expect(goods).toHaveCount(6);
  await page.getByLabel("Search products").fill("cable");
  await expect(goods).toHaveText(["Cable Tester"]);
  await expect(page).toHaveURL("/products?q=cable&category=Tools");

  await page.goto("/products");
  await page.getByRole("link", { name: "Next" }).click();
  await expect(goods).toHaveCount(4);
  await expect(page.getByText("Page 2 of 2")).toBeVisible();
  await page.getByRole("link", { name: "Previous" }).click();
  await expect(goods).toHaveCount(24);
});

test("what is typed before the page's scripts run is searched for, too", async ({ shop }) => {
  const { page } = await shop.customer("alice");
  const begin = async (path: string, fill: () => Promise<unknown>) => {
    let letGo = () => {};
    const filled = new Promise<void>((resolve) => { letGo = resolve; });
    // Scripts run in their order: the others wait for the first.
    await page.route(/\/app[^/]*\.js/, async (route) => {
      await filled;
      await route.continue();
    });
    await page.goto(path, { waitUntil: "commit" });
    await fill();
    letGo();
  };
  await begin("/products?category=Tools", () => page.getByLabel("Search products").fill("cable"));
  await expect(page.locator("#product-list").getByRole("heading")).toHaveText(["Cable Tester"]);
  await expect(page).toHaveURL("/products?q=cable&category=Tools");

  await page.unrouteAll({ behavior: "wait" });
  await begin("/orders", () => page.getByLabel("Status").selectOption("Awaiting approval"));
  await expect(page).toHaveURL("/orders?status=awaiting_approval");
});

test("orders: search, filter, pages, for the customer and the admin", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const { page } = alice;
  for (let number = 1; number <= 26; number += 1) {
    await alice.quietlyOrder(number === 26 ? "P023" : "P022", `many-${number}`, { paid: number === 26 });
    await alice.api("POST", "/api/cart/remove", { sku: "P022" }).catch(() => {});
  }
  const rows = page.locator("#input").getByRole("row");
  await alice.visit("/orders");
  await expect(rows).toHaveCount(1 + 25);
  await expect(page.getByText("26 orders")).toBeVisible();
  await page.getByRole("link", { name: "Next" }).click();
  await expect(rows).toHaveCount(1 + 1);
  await expect(rows.last()).toContainText("many-1");

  await alice.visit("/orders");
  await page.getByLabel("Status").selectOption("Awaiting approval");
  await expect(rows).toHaveCount(2);
  await expect(page).toHaveURL("/orders?status=awaiting_approval");
  await page.reload();
  await expect(rows).toHaveCount(2);
  await expect(page.getByLabel("Status")).toHaveValue("awaiting_approval");
  await alice.visit("/orders");
  await page.getByLabel("Search orders").fill("fountain pen");
  await expect(rows).toHaveCount(2);
  await expect(rows.last()).toContainText("many-26");
  await rows.last().click();
  await expect(page).toHaveURL(`/orders/${alice.name}.many-26`);

  await admin.visit("/admin");
  await admin.page.getByLabel("Search orders").fill(alice.name);
  await expect(admin.page.getByText("26 orders")).toBeVisible();
  await admin.page.getByRole("link", { name: "Next" }).click();
  await expect(admin.page.getByText("Page 2 of 2")).toBeVisible();
  await expect(admin.page.locator("#all-orders").getByRole("row")).toHaveCount(2);
});

test("notifications lead to their order, stay, and are marked as read everywhere", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const id = await alice.quietlyOrder("P001", "news", { paid: true });
  await alice.visit("/");
  const other = await alice.window();
  await other.visit("/products");
  const unread = (page: typeof alice.page) => page.locator("#notifications").getByRole("heading");
  const count = await alice.notifications.count();
  expect(count).toBeGreaterThanOrEqual(3);
  await expect(unread(alice.page)).toContainText(`${count} unread`);
  await expect(alice.page).toHaveTitle(`(${count}) Dashboard · Waybill`);
  await expect(alice.notifications.first(), "newest first").toContainText("Admin approval needed");

  await alice.page.getByRole("button", { name: "Mark as read" }).click();
  for (const page of [alice.page, other.page]) {
    await expect(unread(page)).not.toContainText("unread");
    await expect(page.locator("#notifications li.unread")).toHaveCount(0);
  }
  await alice.page.reload();
  await expect(alice.notifications).toHaveCount(count);
  await expect(unread(alice.page)).not.toContainText("unread");
  await alice.quietlyAdd("P002");
  await expect(unread(alice.page)).toContainText("1 unread");
  await alice.told("Payment confirmed!").getByRole("link").click();
  await expect(alice.page).toHaveURL(`/orders/${id}`);
});

test("the Markdown is the document that the API gives, and is copied", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page, context } = alice;
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const id = await alice.quietlyOrder("P001", "copied", { paid: true });
  await alice.visit(`/orders/${id}?tab=output`);
  const source = page.locator("#source");
  await expect(source).toBeHidden();
  await page.getByRole("button", { name: "Copy Markdown" }).click();
  const document = await alice.markdown(`/api/orders/${id}`);
  await expect.poll(clipboard).toBe(document);
  expect(document).toContain("- ⏳ Awaiting Admin Approval");

  await page.locator("label", { hasText: "Markdown source" }).click();
  await expect(source).toBeVisible();
  await expect(source).toHaveText(document);
  await expect(page.locator("#output .rendered")).toBeHidden();

  await alice.tab("Input").click();
  await page.getByRole("button", { name: "Copy the order id" }).click();
  await expect.poll(clipboard).toBe(id);
});

test("the command that the payment page shows pays the order", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page, context } = alice;
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await alice.visit(`/orders/${await alice.quietlyOrder("P001", "curl")}`);
  await page.getByText("Pay or decline from a terminal").click();
  await page.getByRole("button", { name: /^Copy the command/ }).first().click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toMatch(/^curl /);
  const command = await page.evaluate(() => navigator.clipboard.readText());
  const { status, stdout, stderr } = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  expect(status, stdout + stderr).toBe(0);
  await expect(alice.status).toHaveText("Awaiting approval");
});

test("a double click does nothing twice", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const { page } = alice;
  const sent: string[] = [];
  for (const each of [page, admin.page]) {
    each.on("request", (request) => request.method() === "POST" && sent.push(new URL(request.url()).pathname));
  }
  await alice.visit("/products");
  await alice.good("Widget A").getByRole("button", { name: /^Add to cart/ }).dblclick({ delay: 80 });
  await expect(alice.cartCount).toContainText("1");
  await expect(alice.told("Item added")).toBeVisible();

  await alice.visit("/cart");
  await page.getByLabel("Address").fill("1 Test Street");
  await page.getByRole("radio", { name: "Domestic" }).check();
  await page.getByRole("button", { name: "Check out" }).dblclick();
  await page.waitForURL("**/orders/*");
  await alice.pay();
  await expect(alice.status).toHaveText("Awaiting approval");
  const id = decodeURIComponent(new URL(page.url()).pathname.split("/").pop()!);
  await admin.visit("/admin");
  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).dblclick();
  await expect(alice.status).toHaveText("Delivered");

  expect(sent).toEqual(["/api/cart/add", "/api/checkout", `/api/workflow/${id}/approve`]);
  expect((await alice.api("GET", "/api/orders")).total).toBe(1);
  await expect(alice.notifications.filter({ hasText: "Item added" })).toHaveCount(1);
  expect((await shop.world.ledger(id)).payments[0].effects).toEqual({ authorize: 1, capture: 1, void: 0, refund: 0 });
});

test("what is wrong stands next to its field", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page } = alice;
  await alice.visit("/products?q=lantern");
  await alice.good("Last Chance Lantern").getByLabel(/^Quantity/).fill("4");
  await alice.good("Last Chance Lantern").getByRole("button", { name: /^Add to cart/ }).click();
  await expect(alice.cartCount).toContainText("4");
  await alice.visit("/cart");
  await page.getByLabel("Address").fill("1 Test Street");
  await page.getByRole("radio", { name: "Domestic" }).check();
  await page.getByRole("button", { name: "Check out" }).click();
  await expect(alice.toast).toContainText("P028");
  await expect(alice.toast).toContainText("3");
  await expect(page).toHaveURL("/cart");

  const quantity = page.getByLabel("Quantity of Last Chance Lantern");
  await quantity.fill("3");
  await page.getByRole("button", { name: "Update Last Chance Lantern" }).click();
  await expect(alice.cartCount).toContainText("3");
  await page.getByText("Order id", { exact: true }).click();
  const orderId = page.getByLabel("Your own order id");
  await orderId.evaluate((input: HTMLInputElement) => input.removeAttribute("pattern"));
  await orderId.fill("not an id!");
  await page.getByRole("button", { name: "Check out" }).click();
  await expect(orderId).toHaveAttribute("aria-invalid", "true");
  await expect(orderId).toBeFocused();
  await expect(page.locator("#wrong-order_id")).toBeVisible();

  // It stays while the page changes, until the form is sent again.
  await alice.quietlyAdd("P002");
  await expect(page.locator("#cart")).toContainText("Widget B");
  await expect(page.locator("#wrong-order_id")).toHaveCount(1);
  await expect(page.locator("#wrong-order_id")).toBeVisible();
  await expect(orderId).toHaveAttribute("aria-invalid", "true");
  await expect(orderId).toHaveAttribute("aria-describedby", "wrong-order_id");
  await expect(orderId).toBeFocused();
  await orderId.fill("an-id");
  await page.getByRole("button", { name: "Check out" }).click();
  await expect(page).toHaveURL(/an-id$/);
});

test("what is destroyed is asked about first", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const id = await alice.quietlyOrder("P001", "cancelled", { paid: true });
  await alice.visit(`/orders/${id}`);
  const confirm = alice.page.getByRole("button", { name: "Yes, cancel it" });
  await expect(confirm).toBeHidden();
  await alice.page.getByText("Cancel order…").click();
  await expect(confirm).toBeVisible();
  await alice.page.keyboard.press("Escape");
  await expect(confirm).toBeHidden();
  await alice.page.getByText("Cancel order…").click();
  await alice.page.getByLabel("Reason (optional)").fill("changed my mind");
  await confirm.click();
  await expect(alice.status).toHaveText("Cancelled");
  await expect(alice.page.locator("#input .notice")).toContainText("changed my mind");
  await expect(alice.page.locator("#input .back li.undo")).toContainText(["Payment voided", "Stock released"]);
});
