// What leaves the shop: orders as a file, invoices and packing slips.

import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { expect, test, unique, type Page } from "./fixtures.ts";

async function expectAccessible(page: Page, what: string) {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  expect(violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => node.failureSummary) })), what).toEqual([]);
}

test("a list of orders is downloaded as it is filtered", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page } = alice;
  const [tea, cups] = [await alice.quietlyOrder("P001", `tea-${unique()}`), await alice.quietlyOrder("P002", `cups-${unique()}`)];
  const download = async () => {
    const started = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download as CSV" }).click();
    const file = await started;
    expect(file.suggestedFilename()).toMatch(/^orders-\d{4}-\d\d-\d\d\.csv$/);
    return readFileSync(await file.path(), "utf8");
  };
  await alice.visit("/orders");
  await expect(page.getByText("2 orders", { exact: true })).toBeVisible();
  await alice.mark();
  const all = await download();
  expect(all.startsWith("\ufefforder_id,"), "a spreadsheet reads it as UTF-8").toBe(true);
  expect(all.trimEnd().split("\r\n").slice(1).map((row) => row.split(",")[0])).toEqual([cups, tea]);
  await page.getByLabel("Search orders").fill("cups");
  await expect(page.getByText("1 order for “cups”")).toBeVisible();
  const found = await download();
  expect(found).toContain(cups);
  expect(found).not.toContain(tea);
  expect(await alice.isMarked(), "the page stays").toBe(true);
});

for (const javaScriptEnabled of [true, false]) {
  test(`an order has its papers, ${javaScriptEnabled ? "with" : "without"} JavaScript`, async ({ shop, tour }) => {
    const delivered = tour.stops.find((stop) => stop.name === "order-delivered")!;
    const paid = tour.stops.find((stop) => stop.name === "order-paid")!;
    const carol = await shop.visitor(delivered.person!, { javaScriptEnabled, colorScheme: "dark" });
    const { page } = carol;
    await page.goto(delivered.path);
    await expect(page.getByRole("link", { name: "Packing slip" }), "customers pack nothing").toHaveCount(0);
    await page.getByRole("link", { name: "Invoice" }).click();
    await expect(page.getByRole("heading", { name: "Invoice" })).toBeVisible();
    await expect(page.getByRole("row", { name: /^Total/ })).toContainText("$");
    await expect(page.getByText("Paid in full.")).toBeVisible();
    await expect(page.getByRole("button", { name: "Print" })).toBeVisible({ visible: javaScriptEnabled });
    if (javaScriptEnabled) {
      await expectAccessible(page, "the invoice");
      await page.setViewportSize({ width: 375, height: 812 });
      await expectAccessible(page, "the invoice on a phone");
      await page.evaluate(() => Object.assign(window, { print: () => Object.assign(window, { printed: true }) }));
      await page.getByRole("button", { name: "Print" }).click();
      expect(await page.evaluate(() => "printed" in window)).toBe(true);
    }
    await page.emulateMedia({ media: "print" });
    await expect(page.getByRole("link", { name: "Back to the order" }), "what is printed is the paper").toBeHidden();
    await expect(page.getByRole("heading", { name: "Invoice" })).toBeVisible();
    await page.emulateMedia({ media: "screen" });
    await page.getByRole("link", { name: "Back to the order" }).click();
    await expect(page).toHaveURL(delivered.path);

    await page.goto(paid.path);
    await expect(page.getByRole("link", { name: "Invoice" })).toHaveCount(0);
    await shop.watch.status(409, () => page.goto(`${paid.path}/invoice`));
    await expect(page.getByText("made when the money is taken")).toBeVisible();
    await shop.watch.status(403, () => page.goto(`${paid.path}/packing-slip`));

    const admin = await shop.persona("admin", { javaScriptEnabled });
    await admin.page.goto(paid.path);
    await admin.page.getByRole("link", { name: "Packing slip" }).click();
    await expect(admin.page.getByText("not approved: do not pack it yet")).toBeVisible();
    await admin.page.goto(`${delivered.path}/packing-slip`);
    await expect(admin.page.getByText("do not pack")).toHaveCount(0);
    await expect(admin.page.getByRole("row", { name: /^Pieces in all/ })).toContainText("1");
    await expect(admin.page.getByText("$"), "a parcel may be a present").toHaveCount(0);
    if (javaScriptEnabled) await expectAccessible(admin.page, "the packing slip");
  });
}
