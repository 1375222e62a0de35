// axe-core finds nothing on any page, before and after a live change, in both themes and on a phone.

import AxeBuilder from "@axe-core/playwright";
import { expect, test, type Page, type Visitor } from "./fixtures.ts";

async function expectAccessible(page: Page, what: string) {
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  const found = violations.map(({ id, help, nodes }) => ({ id, help, where: nodes.map((node) => `${node.target}: ${node.failureSummary}`) }));
  expect(found, what).toEqual([]);
}

const LOOKS = [
  { look: "light", colorScheme: "light", viewport: { width: 1440, height: 900 } },
  { look: "dark", colorScheme: "dark", viewport: { width: 1440, height: 900 } },
  { look: "light on a phone", colorScheme: "light", viewport: { width: 375, height: 812 } },
  { look: "dark on a phone", colorScheme: "dark", viewport: { width: 375, height: 812 } },
] as const;

for (const { look, ...options } of LOOKS) {
  test(`axe finds nothing, before and after live changes, in ${look}`, async ({ shop, tour }) => {
    const visitors = new Map<string, Visitor>();
    for (const stop of tour.live) {
      const visitor = visitors.get(stop.person.name) ?? (await shop.visitor(stop.person, { ...options, reducedMotion: "reduce" }));
      visitors.set(stop.person.name, visitor);
      await visitor.visit(stop.path);
      await expectAccessible(visitor.page, `${stop.name} at first`);
      const before = await visitor.notifications.evaluateAll((items) => items[0]?.id);
      await visitor.quietlyAdd("P014");
      await expect.poll(() => visitor.notifications.evaluateAll((items) => items[0]?.id)).not.toBe(before);
      await expectAccessible(visitor.page, `${stop.name} after a change`);
      await visitor.tab("Output").click();
      await expectAccessible(visitor.page, `${stop.name}, its output`);
    }
  });

  test(`axe finds nothing at the sign-in, on an error's page and in what opens, in ${look}`, async ({ shop, tour }) => {
    const page = await shop.stranger({ ...options, reducedMotion: "reduce" });
    await page.goto("/login");
    await expectAccessible(page, "login");
    const { person } = tour.live[0];
    const visitor = await shop.visitor(person, { ...options, reducedMotion: "reduce" });
    await shop.watch.status(404, () => visitor.page.goto("/no-such-page"));
    await expectAccessible(visitor.page, "an error");

    await visitor.visit("/");
    await visitor.page.getByRole("button", { name: /^Account:/ }).click();
    await expectAccessible(visitor.page, "the account's menu");
    await visitor.page.keyboard.press("Escape");
    if (options.viewport.width < 1100) {
      await visitor.page.getByRole("button", { name: /^Live updates/ }).click();
      await expectAccessible(visitor.page, "the drawer");
    }
    const paid = tour.stops.find((stop) => stop.name === "admin-order")!;
    const admin = await shop.visitor(paid.person!, { ...options, reducedMotion: "reduce" });
    await admin.visit(paid.path);
    await admin.page.getByText("Reject…").click();
    await expectAccessible(admin.page, "a confirmation");
    await admin.visit("/admin");
    await admin.page.getByText("In part…").first().click();
    await expectAccessible(admin.page, "what can be taken out");
    const returned = tour.stops.find((stop) => stop.name === "admin-order-returned")!;
    await admin.visit(returned.path);
    await admin.page.getByText("Refund an amount…").click();
    const refund = admin.page.locator("#ask-refund");
    await refund.getByLabel("Amount").fill("9999");
    await refund.getByLabel("Reason").fill("too much");
    await refund.getByRole("button", { name: "Refund it" }).click();
    await expect(refund.getByLabel("Amount")).toHaveAttribute("aria-invalid", "true");
    await expectAccessible(admin.page, "a mistake at its field");
    await admin.visit("/account");
    await admin.page.getByLabel("Name").fill("axe");
    await admin.page.getByRole("button", { name: "Make a token" }).click();
    await expect(admin.page.locator("#once-secret")).toBeVisible();
    await expectAccessible(admin.page, "a secret");
    await admin.page.getByText("Revoke…").first().click();
    await expectAccessible(admin.page, "the question before a token goes");
  });
}
