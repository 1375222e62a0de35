// What goes wrong after an order was paid: a piece is missing before it ships, pieces come back,
// money goes back.

import { expect, test, unique, type Visitor } from "./fixtures.ts";

/** The section of the order's page. */
const after = (who: Visitor) => who.page.locator("#after-delivery");

/** An order of two Widgets A and one Widget B, paid. */
async function paid(alice: Visitor): Promise<string> {
  await alice.quietlyAdd("P001", 2);
  return alice.quietlyOrder("P002", `back-${unique()}`, { paid: true });
}

test("a line is taken out at the approval, and the rest is charged", async ({ shop }) => {
  const [alice, admin] = [await shop.persona("alice"), await shop.persona("admin")];
  const id = await paid(alice);
  await alice.visit(`/orders/${id}`);
  await admin.visit(`/orders/${id}`);
  await admin.page.getByText("Approve in part…").click();
  const sheet = admin.page.locator("details.ask[open]");
  await sheet.getByLabel("Reason").fill("the last one is broken");
  // Everything taken out is refused at the fields.
  await sheet.getByLabel(/^Widget A/).fill("2");
  await sheet.getByLabel(/^Widget B/).fill("1");
  await sheet.getByRole("button", { name: "Approve the rest" }).click();
  await expect(sheet.locator(".wrong")).toContainText("reject the order instead");
  await sheet.getByLabel(/^Widget A/).fill("0");
  await sheet.getByRole("button", { name: "Approve the rest" }).click();
  await alice.until(id, "delivered");
  await expect(alice.page.locator("#input")).toContainText("Taken out before shipping, not charged");
  await expect(alice.told("Taken out before shipping: 1 × Widget B")).toBeVisible();
});

test("a piece is taken out from the queue, and what is left comes back or is kept", async ({ shop }) => {
  const [alice, admin] = [await shop.persona("alice"), await shop.persona("admin")];
  const id = await paid(alice);
  await admin.visit("/admin");
  const waiting = admin.waiting(id);
  await waiting.getByText("In part…").click();
  await waiting.getByLabel(/^Widget A/).fill("1");
  await waiting.getByRole("button", { name: /^Approve the rest/ }).click();
  // A reason is missing: nothing is sent, and the browser says where.
  await expect(waiting.getByRole("textbox", { name: "Reason" }).first()).toBeFocused();
  await waiting.getByRole("textbox", { name: "Reason" }).first().fill("one is broken");
  await waiting.getByRole("button", { name: /^Approve the rest/ }).click();
  await expect(waiting).toHaveCount(0);
  await alice.until(id, "delivered");

  await alice.visit(`/orders/${id}`);
  await expect(alice.page.locator("#input")).toContainText("Taken out before shipping, not charged");
  const ask = alice.page.locator("#ask-return");
  await alice.page.getByText("Return items…").click();
  await expect(ask).toContainText("Returns may be asked for until");
  await ask.getByLabel(/^Widget A/).fill("1");
  await ask.getByLabel("Reason").fill("too small");
  await ask.getByRole("button", { name: "Ask for the return" }).click();
  await after(alice).getByRole("button", { name: "Withdraw return 1" }).click();
  await expect(after(alice)).toContainText("Withdrawn");
  await expect(alice.told("Return 1 withdrawn")).toBeVisible();
  await expect(alice.page.getByText("Return items…"), "it may be asked for again").toBeVisible();
});

test("pieces come back: accepted, one of them damaged, and paid back", async ({ shop }) => {
  const [alice, admin] = [await shop.persona("alice"), await shop.persona("admin")];
  const id = await paid(alice);
  await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
  await alice.until(id, "delivered");

  await alice.visit(`/orders/${id}`);
  await alice.page.getByText("Return items…").click();
  const ask = alice.page.locator("#ask-return");
  await ask.getByLabel("Reason").fill("too small");
  await ask.getByRole("button", { name: "Ask for the return" }).click();
  await expect(ask.locator(".wrong")).toContainText("names no pieces");
  await ask.getByLabel(/^Widget A/).fill("2");
  await ask.getByRole("button", { name: "Ask for the return" }).click();
  await expect(after(alice)).toContainText("Waits for a decision");

  await admin.visit("/admin#returns");
  await admin.page.locator("#returns").getByRole("link", { name: new RegExp(id.slice("alice.back-".length)) }).or(admin.page.locator(`#returns a[title="${id}"]`)).first().click();
  await admin.live();
  await after(admin).getByRole("button", { name: /^Accept/ }).click();
  await expect(after(admin)).toContainText("On its way back");
  await after(admin).getByText("Take the parcel in…").click();
  const parcel = admin.page.locator("#return-1 details.ask");
  await parcel.getByRole("group", { name: "Damaged pieces" }).getByLabel(/^Widget A/).fill("1");
  await parcel.getByLabel("Refund").fill("20.00");
  await parcel.getByRole("button", { name: "Take it in" }).click();
  await expect(after(alice)).toContainText("Received");
  await expect(after(alice)).toContainText("Refunded");
  await expect(after(alice)).toContainText("$20.00");
  await expect(alice.told("$20.00 refunded")).toBeVisible();
  await expect(alice.page.locator("#input .timeline")).toContainText("can be sold again");
});

test("a return is refused, and goodwill goes back", async ({ shop }) => {
  const [alice, admin] = [await shop.persona("alice"), await shop.persona("admin")];
  const id = await paid(alice);
  await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
  await alice.until(id, "delivered");
  await alice.api("POST", `/api/orders/${id}/returns`, { items: [{ sku: "P001", quantity: 1 }], reason: "worn" });

  await admin.visit(`/orders/${id}`);
  await after(admin).getByText("Refuse…").click();
  await after(admin).locator("#refuse-1").fill("it was worn");
  await after(admin).getByRole("button", { name: "Refuse the return" }).click();
  await expect(after(admin)).toContainText("Refused: it was worn");

  await after(admin).getByText("Refund an amount…").click();
  const goodwill = admin.page.locator("#ask-refund");
  await goodwill.getByLabel("Amount").fill("9999");
  await goodwill.getByLabel("Reason").fill("it came late");
  await goodwill.getByRole("button", { name: "Refund it" }).click();
  await expect(goodwill.locator(".wrong")).toContainText("can go back");
  await goodwill.getByLabel("Amount").fill("5");
  await goodwill.getByRole("button", { name: "Refund it" }).click();
  await expect(after(admin)).toContainText("$5.00");
  await expect(after(admin)).toContainText("Refunded");
});
