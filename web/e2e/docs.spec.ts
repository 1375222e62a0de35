// The two pictures of the README: `UPDATE_DOCS=1 just e2e docs` writes them into docs/. It is no
// test: the seeded people's carts and orders are in the picture, and nobody else may use them.

import { mkdirSync, writeFileSync } from "node:fs";
import { expect, test, type Page } from "./fixtures.ts";
import { Person } from "./person.ts";
import { packTightly } from "./png.ts";

const FOLDER = "docs";
const AT_MOST_BYTES = 300_000;

async function picture(page: Page, name: string) {
  const png = packTightly(await page.screenshot({ animations: "disabled" }));
  expect(png.length, `${name} is for a README`).toBeLessThan(AT_MOST_BYTES);
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(`${FOLDER}/${name}`, png);
}

if (process.env.UPDATE_DOCS) test("the pictures of the README", async ({ shop, world }) => {
  const [alice, bob, admin] = ["alice", "bob", "admin"].map((name) => new Person(name, world));
  const decide = (id: string, approved: boolean, reason?: string) =>
    admin.api("POST", `/api/workflow/${id}/approve`, { approved, reason });
  for (const [index, sku] of ["P019", "P006", "P026"].entries()) {
    const id = await bob.quietlyOrder(sku, `order-${101 + index}`, { paid: true });
    await decide(id, true);
    await bob.until(id, "delivered");
  }
  const refused = await bob.quietlyOrder("P012", "FAIL_SHIP", { paid: true });
  await decide(refused, true);
  await bob.until(refused, "shipping_failed");
  const rejected = await alice.quietlyOrder("P024", "order-119", { paid: true });
  await decide(rejected, false, "The address is not served");
  await alice.until(rejected, "rejected");
  const declined = await bob.quietlyOrder("P025", "order-120");
  await bob.decline(declined);
  await bob.until(declined, "payment_failed");
  await bob.quietlyOrder("P021", "order-121");
  await alice.api("POST", "/api/notifications/read", {}).catch(() => {});
  await admin.api("POST", "/api/notifications/read", {}).catch(() => {});
  await alice.quietlyAdd("P001");
  await alice.quietlyAdd("P002");
  const id = await alice.quietlyOrder("P001", "order-123", { paid: true });

  const light = await shop.visitor(admin, { colorScheme: "light", reducedMotion: "reduce" });
  await light.visit(`/orders/${id}`);
  await expect(light.page.locator("#journal")).toContainText("OrderFulfillmentWorkflow");
  await expect(light.told("Admin approval needed")).toBeVisible();
  await picture(light.page, "console.png");

  const dark = await shop.visitor(admin, { colorScheme: "dark", reducedMotion: "reduce" });
  await dark.visit("/");
  await expect(dark.page.getByText("Nothing is stuck or paused.")).toBeVisible();
  await picture(dark.page, "console-dark.png");
});
