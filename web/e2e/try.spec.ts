import { expect, test } from "./fixtures.ts";
test("looks", async ({ shop }) => {
  const alice = await shop.customer("alice");
  for (const path of ["/", "/products", "/cart", "/orders", "/login"]) {
    await alice.page.goto(path);
    await alice.page.waitForTimeout(800);
    await alice.page.screenshot({ path: `/tmp/e2e-shots/${path.slice(1) || "dashboard"}.png` });
  }
  const admin = await shop.admin();
  await admin.page.goto("/admin");
  await admin.page.waitForTimeout(800);
  await admin.page.screenshot({ path: `/tmp/e2e-shots/admin.png`, fullPage: true });
});
