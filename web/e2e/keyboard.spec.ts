// Without a mouse, and without being disturbed: the keyboard alone is enough, focus and what is
// being typed survive live changes, screen readers hear of news, and motion can be turned off.

import { expect, test, type Page, type Visitor } from "./fixtures.ts";
import type { Locator } from "@playwright/test";

/** Presses Tab until `target` has the focus. */
async function tabTo(page: Page, target: Locator, key: "Tab" | "Shift+Tab" = "Tab") {
  for (let presses = 0; presses < 150; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement).catch(() => false)) return;
    await page.keyboard.press(key);
  }
  throw new Error(`150 times ${key} do not reach ${target}`);
}

/** What has the focus shows it. */
async function expectFocusIsSeen(page: Page) {
  const outline = await page.evaluate(() => {
    const style = getComputedStyle(document.activeElement!);
    return { style: style.outlineStyle, width: style.outlineWidth, shadow: style.boxShadow };
  });
  expect(outline.style !== "none" || outline.shadow !== "none", JSON.stringify(outline)).toBe(true);
}

test("from the catalog to the payment with the keyboard alone", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const { page } = alice;
  await alice.visit("/products");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeInViewport();
  await page.keyboard.press("Enter");
  await expect(page.locator("#main")).toBeFocused();

  const card = alice.good("Widget B");
  await tabTo(page, card.getByLabel(/^Quantity/));
  await expectFocusIsSeen(page);
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("3");
  await tabTo(page, card.getByRole("button", { name: /^Add to cart/ }));
  await expectFocusIsSeen(page);
  await page.keyboard.press("Enter");
  await expect(alice.cartCount).toContainText("3");
  await expect(card.getByRole("button", { name: /^Add to cart/ }), "the focus stays where it was").toBeFocused();

  await tabTo(page, alice.cartCount, "Shift+Tab");
  await expectFocusIsSeen(page);
  const stream = page.waitForResponse((answer) => answer.url().includes("/stream/page"));
  await page.keyboard.press("Enter");
  await stream;
  await expect(page).toHaveURL("/cart");
  // One stop for all zones; the arrows choose.
  await tabTo(page, page.getByRole("radio").first());
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("radio", { name: "Domestic" })).toBeChecked();
  await expect(page.locator("form[data-sums] output")).toContainText("$85.00");
  await tabTo(page, page.getByLabel("Address"));
  await page.keyboard.type("1 Test Street");
  await tabTo(page, page.getByRole("button", { name: "Check out" }));
  await page.keyboard.press("Enter");
  await page.waitForURL("**/orders/*");
  const pay = page.getByRole("link", { name: /^Pay \$85\.00/ });
  await expect(pay).toBeVisible();
  await tabTo(page, pay);
  await expectFocusIsSeen(page);
});

test("the admin decides with the keyboard alone", async ({ shop }) => {
  const [alice, admin] = [await shop.customer("alice"), await shop.admin()];
  const id = await alice.quietlyOrder("P001", "keys", { paid: true });
  await admin.visit(`/orders/${id}`);
  await tabTo(admin.page, admin.page.locator("summary", { hasText: "Reject…" }));
  await admin.page.keyboard.press("Enter");
  await tabTo(admin.page, admin.page.locator("details[open]").getByLabel("Reason", { exact: true }));
  await admin.page.keyboard.type("no such street");
  await admin.page.keyboard.press("Enter");
  await expect(admin.status).toHaveText("Rejected");
});

/** Types while changes arrive; afterwards the words and the focus are where they were. */
async function typeThroughChanges(visitor: Visitor, field: Locator, change: (letter: number) => Promise<unknown>) {
  const words = "typed while the page changes";
  await field.focus();
  for (const [index, letter] of [...words].entries()) {
    if (index % 7 === 0) await change(index / 7);
    await visitor.page.keyboard.type(letter);
  }
  await expect(field).toBeFocused();
  await expect(field).toHaveValue(words);
}

test("typing goes on while changes arrive", async ({ shop }) => {
  const [alice, bob, admin] = [await shop.customer("alice"), await shop.customer("bob"), await shop.admin()];
  await alice.quietlyAdd("P001");
  await alice.visit("/cart");
  const address = alice.page.getByLabel("Address");
  await typeThroughChanges(alice, address, () => alice.quietlyAdd("P002"));
  await expect(alice.cartCount, "the changes have arrived").toContainText("5");
  await expect(alice.page.locator("#cart")).toContainText("Widget B");
  await expect(address).toHaveValue("typed while the page changes");
  await expect(address).toBeFocused();

  await alice.visit("/products");
  const quantity = alice.good("Widget C Pro").getByLabel(/^Quantity/);
  await quantity.fill("7");
  await bob.quietlyOrder("P003", "reserves");
  await expect(alice.good("Widget C Pro")).not.toContainText("120 in stock");
  await expect(quantity, "a number that was typed is kept").toHaveValue("7");
  await expect(quantity).toBeFocused();

  const id = await alice.quietlyOrder("P001", "long-thought", { paid: true });
  await admin.visit("/admin");
  await admin.waiting(id).getByText("Reject…").click();
  const reason = admin.waiting(id).getByRole("textbox", { name: "Reason" });
  await typeThroughChanges(admin, reason, (number) => bob.quietlyOrder("P002", `meanwhile-${number}`, { paid: true }));
  await expect(admin.waiting(`${bob.name}.meanwhile-3`)).toBeVisible();
  await expect(reason).toBeFocused();
  await admin.page.keyboard.press("Enter");
  await expect(admin.waiting(id)).toHaveCount(0);
  expect((await alice.api("GET", `/api/orders/${id}`)).failure_reason).toContain("typed while the page changes");
});

test("screen readers hear of news", async ({ shop }) => {
  const alice = await shop.customer("alice");
  const id = await alice.quietlyOrder("P001", "heard", { paid: true });
  await alice.visit(`/orders/${id}`);
  const announcer = alice.page.locator("#announce");
  await expect(announcer).toHaveAttribute("role", "status");
  await alice.page.evaluate(() => {
    const heard: string[] = Object.assign(window, { heard: [] }).heard;
    new MutationObserver(() => heard.push(document.querySelector("#announce")!.textContent!)).observe(document.body, {
      subtree: true,
      childList: true,
      characterData: true,
    });
  });
  const admin = await shop.admin();
  await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
  await expect(alice.status).toHaveText("Delivered");
  await expect(alice.page).toHaveTitle(/Delivered/);
  const heard = await alice.page.evaluate(() => (window as unknown as { heard: string[] }).heard);
  expect(heard).toContain("Order delivered!");
});

test("nothing moves for those who want no motion", async ({ shop }) => {
  const alice = await shop.customer("alice", { reducedMotion: "reduce" });
  const id = await alice.quietlyOrder("P001", "calm", { paid: true });
  await alice.visit(`/orders/${id}`);
  await alice.page.evaluate(() => {
    const seen: string[] = Object.assign(window, { motions: [] }).motions;
    for (const kind of ["animationstart", "transitionrun"] as const) {
      document.addEventListener(kind, (event) => {
        const animation = (event.target as Element).getAnimations()[0];
        const { duration, iterations } = animation?.effect?.getTiming() ?? {};
        if (Number(duration) > 1 || iterations === Infinity) seen.push(`${kind} on ${(event.target as Element).className}, ${duration} ms`);
      });
    }
  });
  const admin = await shop.admin();
  await admin.api("POST", `/api/workflow/${id}/approve`, { approved: true });
  await expect(alice.status).toHaveText("Delivered");
  expect(await alice.page.evaluate(() => (window as unknown as { motions: string[] }).motions)).toEqual([]);
});
