// The demo's own tools: scenarios at one click, the switches of the outside world, and the crash.

import { expect, test, type Visitor } from "./fixtures.ts";

async function expectScenarioToPass(visitor: Visitor, number: number) {
  const scenario = visitor.page.locator(`#scenario-${number}`);
  await scenario.getByRole("button", { name: `Run scenario ${number}` }).click();
  await expect(scenario.getByRole("button", { name: "Running…" })).toBeDisabled();
  await expect(scenario.locator(".result")).toBeVisible({ timeout: 75_000 });
  await expect(scenario.locator(".result.done"), await scenario.innerText()).toBeVisible();
  await expect(scenario.getByRole("link", { name: /^Watch/ })).toBeVisible();
}

test("four visitors run four scenarios at once, and see them through", async ({ shop }) => {
  const visitors = await Promise.all(["ann", "ben", "cat", "dan"].map((name) => shop.customer(name)));
  await Promise.all(visitors.map((visitor) => visitor.visit("/")));
  await Promise.all(visitors.map((visitor, index) => expectScenarioToPass(visitor, index + 1)));
  const [happy] = visitors;
  await happy.page.locator("#scenario-1").getByRole("link", { name: /^Watch/ }).click();
  await expect(happy.status).toHaveText("Delivered");
});

test("the admin runs the scenario in which the services crash", async ({ shop }) => {
  const admin = await shop.admin();
  await admin.visit("/admin");
  await expectScenarioToPass(admin, 5);
});

test("an order waits while the carrier is down, and goes on by itself", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = await alice.quietlyOrder("P001", "patient", { paid: true });
  await admin.visit("/admin");
  const carrierIsDown = admin.page.getByRole("button", { name: "The carrier is down" });
  await carrierIsDown.click();
  await expect(carrierIsDown).toHaveAttribute("aria-pressed", "true");
  await admin.waiting(id).getByRole("button", { name: /^Approve/ }).click();
  await alice.visit(`/orders/${id}`);
  await expect(alice.status).toHaveText("Shipping");
  const retries = alice.page.locator("#workflow dt", { hasText: "Retry count" }).locator("+ dd");
  await expect(retries, "Restate's own count").toHaveText(/^[1-9]\d*$/);
  await expect(alice.page.locator("#journal")).toContainText("failed tries");

  // The services die, too: nothing is forgotten.
  await admin.page.getByText("Crash the services now…").click();
  await admin.page.getByRole("button", { name: "Crash them" }).click();
  await expect(admin.toast).not.toBeEmpty();
  await admin.page.getByRole("button", { name: "Behave again" }).click();
  await expect(carrierIsDown).toHaveAttribute("aria-pressed", "false");
  await expect(alice.status).toHaveText("Delivered", { timeout: 45_000 });
  await expect(alice.page.locator("#journal")).toContainText("completed");
  expect((await shop.world.ledger(id)).shipments.map((it: any) => it.effects)).toEqual([{ book: 1, cancel: 0 }]);
});

test("a customer who declines at once is a switch away", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  await admin.visit("/admin");
  await admin.page.getByRole("button", { name: "declines at once" }).click();
  await expect(admin.page.getByRole("button", { name: "declines at once" })).toHaveAttribute("aria-pressed", "true");
  await alice.order("Widget A", { orderId: "declined" });
  await expect(alice.status).toHaveText("Payment failed");
  await admin.page.getByRole("button", { name: "Behave again" }).click();
  await expect(admin.page.getByRole("button", { name: "decides" })).toHaveAttribute("aria-pressed", "true");
});
