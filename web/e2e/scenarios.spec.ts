// The README's five scenarios, by clicking; what the screen says is checked against the books of
// the payment provider and the carrier.

import { expect, test, unique, type Visitor } from "./fixtures.ts";

/** The README's example: two of Widget A and one Widget B for $125.00, as far as the payment. */
async function orderTheExample(alice: Visitor, orderId: string) {
  const { page } = alice;
  await alice.go("Products");
  await alice.add("Widget A", 2);
  await expect(alice.told("Item added")).toBeVisible();
  await expect(alice.cartCount).toContainText("2");
  await alice.add("Widget B");
  await expect(alice.cartCount).toContainText("3");

  await alice.go("Cart");
  await alice.checkOut({ orderId, zone: "International" });
  await expect(page.getByText("Payment pending")).toBeVisible();
  await expect(alice.status).toHaveText("Awaiting payment");
  await expect(alice.told("Awaiting payment of")).toBeVisible();
  await expect(page.locator("#workflow")).toContainText("Awaiting payment");
}

/** The example, paid; the admin is needed. */
async function payTheExample(alice: Visitor, orderId: string) {
  await orderTheExample(alice, orderId);
  await alice.pay();
  await expect(alice.status).toHaveText("Awaiting approval");
  await expect(alice.told("Payment confirmed!")).toBeVisible();
  await expect(alice.told("Admin approval needed")).toBeVisible();
}

test("scenario 1: a complete order", async ({ shop }) => {
  const [alice, admin] = [await shop.persona("alice"), await shop.persona("admin")];
  const id = `alice.happy-${unique()}`;
  await admin.go("Admin");

  await alice.go("Products");
  await alice.tab("Output").click();
  await expect(alice.page.getByRole("table").filter({ hasText: "SKU" })).toContainText("Widget A");

  await payTheExample(alice, id.slice("alice.".length));
  await expect(alice.page.locator("#input")).toContainText("$125.00");
  await expect(alice.cartCount, "what was bought leaves the cart").not.toContainText(/\d/);

  // The admin's page has followed by itself.
  await expect(admin.waiting(id)).toContainText("$125.00");
  await expect(admin.told("Admin approval needed")).toBeVisible();
  await admin.tab("Output").click();
  await expect(admin.page.locator("#output .rendered")).toContainText(id);
  await admin.tab("Input").click();
  await alice.tab("Output").click();
  const document = alice.page.locator("#output .rendered");
  await expect(document).toContainText("Payment Confirmed (Transaction: ");
  await expect(document).toContainText("⏳ Awaiting Admin Approval");

  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).click();
  await expect(admin.waiting(id)).toHaveCount(0);
  await expect(alice.told("Shipment initiated with FedEx")).toBeVisible();
  await expect(alice.told("Estimated delivery: 5s")).toBeVisible();
  await expect(document).toContainText("✅ Shipment Initiated (FedEx ");
  await alice.tab("Input").click();
  await expect(alice.status).toHaveText("On its way");
  await expect(alice.told("Order delivered!")).toBeVisible();
  await expect(alice.status).toHaveText("Delivered");
  await expect(alice.page.locator("#input .notice")).toContainText("Order delivered!");
  await expect(alice.page.getByRole("list", { name: "Progress: 6 of 6 steps done" })).toBeVisible();

  const { payments, shipments } = await shop.world.ledger(id);
  expect(payments.map((it: any) => [it.status, it.amount, it.effects])).toEqual([
    ["captured", 12_500, { authorize: 1, capture: 1, void: 0, refund: 0 }],
  ]);
  expect(shipments).toHaveLength(1);
  await expect(alice.page.locator("#input")).toContainText(shipments[0].tracking_number);
});

test("scenario 2: the payment fails, and can be tried again", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const id = `${alice.name}.declined`;
  await alice.visit("/");
  await orderTheExample(alice, "declined");
  await alice.decline();

  await expect(alice.told("Payment failed: insufficient funds")).toBeVisible();
  await expect(alice.status).toHaveText("Payment failed");
  await expect(alice.page.locator("#input .notice")).toContainText("insufficient funds");
  await expect(alice.cartCount, "the cart is kept").toContainText("3");
  expect(await shop.world.workflowRuns(id), "no workflow was launched").toBe(0);
  expect((await shop.world.ledger(id)).payments[0].effects.capture).toBe(0);

  await alice.page.getByRole("link", { name: "Try again from the cart" }).click();
  await expect(alice.page.getByText("This pays order declined again")).toBeVisible();
  await alice.checkOut({ zone: "International" });
  await expect(alice.status).toHaveText("Awaiting payment");
  await alice.pay();
  await expect(alice.status).toHaveText("Awaiting approval");
  expect(await shop.world.workflowRuns(id)).toBe(1);
});

test("scenario 3: the admin rejects, and what was done is undone", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = `${alice.name}.rejected`;
  await admin.visit("/admin");
  await alice.visit("/");
  await payTheExample(alice, "rejected");

  const waiting = admin.waiting(id);
  await waiting.getByText("Reject…").click();
  await waiting.getByRole("textbox", { name: "Reason" }).fill("the address does not exist");
  await waiting.getByRole("button", { name: /^Reject the order/ }).click();
  await expect(waiting).toHaveCount(0);

  await expect(alice.told("Order canceled by admin")).toBeVisible();
  await expect(alice.told("Stock released")).toBeVisible();
  await expect(alice.status).toHaveText("Rejected");
  await expect(alice.page.getByRole("heading", { name: "Undone in reverse order" })).toBeVisible();
  await expect(alice.page.locator("#input .back li.undo")).toContainText(["Payment voided", "Stock released"]);
  await alice.tab("Output").click();
  await expect(alice.page.locator("#output .rendered")).toContainText("the address does not exist");
  const { payments, shipments } = await shop.world.ledger(id);
  expect(payments[0].status).toBe("voided");
  expect(shipments).toEqual([]);
});

test("scenario 4: the carrier refuses, and what was done is undone", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = `${alice.name}.FAIL_SHIP`;
  await admin.visit("/admin");
  await alice.visit("/");
  await payTheExample(alice, "FAIL_SHIP");
  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).click();

  await expect(alice.told("Order failed: Shipping rejected")).toBeVisible();
  await expect(alice.status).toHaveText("Shipping failed");
  await expect(alice.page.locator("#input .back li.undo")).toContainText(["Payment voided", "Stock released"]);
  const { payments, shipments } = await shop.world.ledger(id);
  expect(payments[0].status).toBe("voided");
  expect(shipments[0].effects, "what was never booked is not cancelled").toEqual({ book: 0, cancel: 0 });
  expect(shipments[0].requests.book, "after three retries").toBe(4);
});

test("scenario 5: the services crash during a checkout, and nothing happens twice", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = await alice.order("Widget A", { orderId: "retried" });
  await expect(alice.page.getByRole("link", { name: /^Pay \$/ })).toBeVisible();
  await shop.world.kill("services");
  await shop.world.startAgain("services");

  // The second try finds the payment that waits.
  const page = () => alice.page.getByRole("link", { name: /^Pay \$/ }).getAttribute("href");
  const first = await page();
  await alice.visit("/cart");
  await alice.checkOut({ orderId: "retried" });
  expect(await page()).toBe(first);
  await alice.pay();
  await expect(alice.status).toHaveText("Awaiting approval");

  // The third is told so.
  await alice.visit("/products");
  await alice.add("Widget B");
  await alice.visit("/cart");
  await alice.checkOut({ orderId: "retried" });
  await expect(alice.status).toHaveText("Awaiting approval");
  await expect(alice.cartCount, "and buys nothing").toContainText("1");

  await admin.visit(`/orders/${id}`);
  await admin.page.getByRole("button", { name: "Approve" }).click();
  await expect(alice.status).toHaveText("Delivered");
  expect(await shop.world.workflowRuns(id)).toBe(1);
  const { payments, shipments } = await shop.world.ledger(id);
  expect(payments.map((it: any) => it.effects)).toEqual([{ authorize: 1, capture: 1, void: 0, refund: 0 }]);
  expect(shipments.map((it: any) => it.effects)).toEqual([{ book: 1, cancel: 0 }]);
});
