// The same shop without JavaScript: every page is complete, every form works.

import { expect, test, unique, type Visitor } from "./fixtures.ts";

const WITHOUT = { javaScriptEnabled: false };

/** Without JavaScript the page is right when it is loaded again. */
async function reloadUntil(visitor: Visitor, status: string) {
  await expect(async () => {
    await visitor.page.reload();
    await expect(visitor.status).toHaveText(status, { timeout: 1_000 });
  }).toPass();
}

test("a complete order without JavaScript", async ({ shop }) => {
  const [bob, admin] = [await shop.persona("bob", WITHOUT), await shop.persona("admin", WITHOUT)];
  const { page } = bob;
  // The scenarios of other tests may have left something in the seeded people's carts.
  await bob.api("POST", "/api/cart/clear", {});
  const orderId = `plain-${unique()}`;
  const id = `bob.${orderId}`;
  const link = (name: string) => page.locator("#nav").getByRole("link", { name: new RegExp(`^${name}`) });

  await link("Products").click();
  await page.getByLabel("Search products").fill("label printer");
  await page.getByRole("button", { name: "Search" }).click();
  await expect(page.locator("#product-list").getByRole("heading")).toHaveText(["Label Printer"]);
  await bob.good("Label Printer").getByLabel(/^Quantity/).fill("2");
  await bob.good("Label Printer").getByRole("button", { name: /^Add to cart/ }).click();
  await expect(page).toHaveURL("/products?q=label+printer");
  await expect(bob.cartCount).toContainText("2");
  await expect(bob.told("Item added")).toBeVisible();

  await link("Cart").click();
  await page.getByLabel("Quantity of Label Printer").fill("1");
  await page.getByRole("button", { name: "Update Label Printer" }).click();
  await expect(bob.cartCount).toContainText("1");
  await bob.tab("Output").click();
  await expect(page.locator("#output .rendered")).toContainText("Label Printer");
  await bob.tab("Input").click();
  await page.getByLabel("Address").fill("742 Evergreen Terrace\nSpringfield");
  await page.getByText("Order id", { exact: true }).click();
  await page.getByLabel("Your own order id").fill(orderId);
  await page.getByRole("button", { name: "Check out" }).click();
  await expect(page).toHaveURL(`/orders/${id}`);
  await reloadUntilPayable(bob);
  await bob.pay();
  await reloadUntil(bob, "Awaiting approval");

  await admin.page.goto("/admin");
  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).click();
  await expect(admin.waiting(id)).toHaveCount(0);
  await reloadUntil(bob, "Delivered");
  await page.getByRole("button", { name: "Mark as read" }).click();
  await expect(page).toHaveURL(`/orders/${id}`);
  await expect(page.locator("#notifications").getByRole("heading")).not.toContainText("unread");
  await bob.tab("Output").click();
  await page.locator("label", { hasText: "Markdown source" }).click();
  await expect(page.locator("#source")).toContainText("✅ Delivered");
});

async function reloadUntilPayable(visitor: Visitor) {
  await expect(async () => {
    await visitor.page.reload();
    await expect(visitor.page.getByRole("link", { name: /^Pay \$/ })).toBeVisible({ timeout: 1_000 });
  }).toPass();
}

test("a double click does nothing twice without JavaScript", async ({ shop }) => {
  const alice = await shop.customer("alice", WITHOUT);
  const { page } = alice;
  await page.goto("/products");
  await alice.good("Widget A").getByRole("button", { name: /^Add to cart/ }).dblclick();
  await expect(alice.told("Item added")).toBeVisible();
  await page.goto("/cart");
  await expect(page.getByLabel("Quantity of Widget A")).toHaveValue("1");
  await page.getByLabel("Address").fill("1 Test Street");
  await page.getByRole("radio", { name: "Domestic" }).check();
  await page.getByRole("button", { name: "Check out" }).dblclick();
  await expect(page).toHaveURL(/\/orders\//);
  await page.goto("/orders");
  await expect(page.getByText("1 order", { exact: true })).toBeVisible();
});

test("a mistake without JavaScript is explained on a page of its own", async ({ shop }) => {
  const alice = await shop.customer("alice", WITHOUT);
  await alice.quietlyAdd("P028", 4);
  await alice.page.goto("/cart");
  await alice.page.getByLabel("Address").fill("1 Test Street");
  await alice.page.getByRole("radio", { name: "Domestic" }).check();
  await shop.watch.status(409, () => alice.page.getByRole("button", { name: "Check out" }).click());
  await expect(alice.page.getByText("P028")).toBeVisible();
  await alice.page.getByRole("link", { name: "Go back" }).click();
  await expect(alice.page).toHaveURL("/cart");
});

test("a catalog is filled, and pieces come back, without JavaScript", async ({ shop }) => {
  const mark = unique();
  const admin = await shop.persona("admin", WITHOUT);
  const { page } = admin;
  await page.goto("/catalog");
  await page.getByLabel("SKU").fill(`POT-${mark}`);
  await page.getByLabel("Name", { exact: true }).fill("Pot");
  await page.getByLabel("Price", { exact: true }).fill("12.50");
  await page.getByLabel("Pieces in stock").fill("4");
  await page.getByRole("button", { name: "Add to the catalog" }).click();
  await page.goto(`/catalog/POT-${mark}`);
  await expect(page.getByRole("heading", { name: "Pot" })).toBeVisible();
  await expect(page.getByText("4 can be sold")).toBeVisible();
  await page.getByLabel("Price", { exact: true }).fill("13.00");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel("Price", { exact: true })).toHaveValue("13.00");
  await page.goto("/import");
  await expect(page.getByLabel("File", { exact: true }), "a file is chosen with a script").toBeHidden();
  await page.getByLabel("The file's text").fill(`sku,name,price\nPOT-${mark},Pot,14.00\n`);
  await page.getByRole("button", { name: "Show what would change" }).click();
  await expect(page.getByText("0 new, 1 changed, 0 as they are")).toBeVisible();
  await page.goto("/import");
  await page.getByLabel("The file's text").fill(`sku,name,price\nPOT-${mark},Pot,14.00\n`);
  await page.getByRole("button", { name: "Import", exact: true }).click();
  await expect(async () => {
    await page.reload();
    await expect(page.getByText("0 new, 1 changed, 0 as they were")).toBeVisible({ timeout: 1_000 });
  }).toPass();

  const bob = await shop.persona("bob", WITHOUT);
  await bob.api("POST", "/api/cart/clear", {});
  const id = await bob.quietlyOrder(`POT-${mark}`, `pot-${mark}`, { paid: true });
  await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
  await bob.until(id, "delivered");
  const after = (who: Visitor) => who.page.locator("#after-delivery");
  await bob.page.goto(`/orders/${id}`);
  for (const number of [1, 2]) {
    await bob.page.getByText("Return items…").click();
    await bob.page.getByLabel(/^Pot of/).fill("1");
    await bob.page.getByLabel("Reason").fill("too small");
    await bob.page.getByRole("button", { name: "Ask for the return" }).click();
    await expect(bob.page.locator(`#return-${number}`)).toContainText("Waits for a decision");
    if (number === 1) await after(bob).getByRole("button", { name: /^Withdraw/ }).click();
  }
  await page.goto(`/orders/${id}`);
  await after(admin).getByRole("button", { name: /^Accept/ }).click();
  await page.getByText("Take the parcel in…").click();
  await page.getByRole("button", { name: "Take it in" }).click();
  await expect(async () => {
    await bob.page.reload();
    await expect(after(bob)).toContainText("Refunded · $14.00", { timeout: 1_000 });
  }).toPass();
});
