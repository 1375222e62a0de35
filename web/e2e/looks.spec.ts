// How every page looks, in three widths and both themes: nothing scrolls sideways, and a picture of
// each is left in test-results/screens for a person to look at.

import { expect, test, type Page, type Shop } from "./fixtures.ts";
import { isLive, type Stop, type Tour } from "./tour.ts";

const WIDTHS = [375, 768, 1440];
const HEIGHTS: Record<number, number> = { 375: 812, 768: 1024, 1440: 900 };

type Options = NonNullable<Parameters<Shop["stranger"]>[0]>;

/** Goes through the whole tour, each person at one browser. */
async function walk(shop: Shop, tour: Tour, options: Options, look: (page: Page, name: string) => Promise<void>) {
  const pages = new Map<string | undefined, Page>();
  for (const stop of tour.stops) {
    const known = pages.get(stop.person?.name);
    const page = known ?? (stop.person ? (await shop.visitor(stop.person, options)).page : await shop.stranger(options));
    pages.set(stop.person?.name, page);
    for (const tab of isLive(stop) ? ["input", "output"] : ["input"]) {
      await open(shop, page, stop, tab);
      await look(page, tab === "output" ? `${stop.name}-output` : stop.name);
    }
  }
}

async function open(shop: Shop, page: Page, stop: Stop, tab: string) {
  const path = tab === "output" ? `${stop.path}?tab=output` : stop.path;
  if (stop.status) await shop.watch.status(stop.status, () => page.goto(path));
  else await page.goto(path);
}

async function expectNoSidewaysScroll(page: Page, what: string) {
  const tooWide = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return [];
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > room + 1)
      .map((element) => `${element.tagName.toLowerCase()}.${element.className} #${element.id}`);
  });
  expect(tooWide, `${what} scrolls sideways`).toEqual([]);
}

/** Badges and states are one word or two: they never break. */
async function expectBadgesOnOneLine(page: Page, what: string) {
  const broken = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>(".count, .chip")]
      .filter((badge) => badge.checkVisibility() && badge.clientHeight > 1.6 * parseFloat(getComputedStyle(badge).lineHeight))
      .map((badge) => `.${badge.className}: ${badge.textContent}`),
  );
  expect(broken, `${what} breaks a badge`).toEqual([]);
}

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of WIDTHS) {
    test(`every page in ${colorScheme} at ${width} px`, async ({ shop, tour }) => {
      const viewport = { width, height: HEIGHTS[width] };
      await walk(shop, tour, { colorScheme, reducedMotion: "reduce", viewport }, async (page, name) => {
        // What only Restate knows comes a moment later.
        if (name.startsWith("order-")) await expect(page.locator("#journal")).not.toContainText("Asking Restate");
        await expectNoSidewaysScroll(page, name);
        await expectBadgesOnOneLine(page, name);
        // As high as the page, so that what sticks to the window is at its end.
        const height = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.setViewportSize({ width, height: Math.max(height, viewport.height) });
        await page.screenshot({ path: `test-results/screens/${name}-${width}-${colorScheme}.png`, animations: "disabled" });
        await page.setViewportSize(viewport);
      });
    });
  }
}

test("no page scrolls sideways at 320 px", async ({ shop, tour }) => {
  await walk(shop, tour, { viewport: { width: 320, height: 640 } }, async (page, name) => {
    await expectNoSidewaysScroll(page, name);
    await expectBadgesOnOneLine(page, name);
  });
});

test("the notifications are behind the bell on a phone", async ({ shop, tour }) => {
  const { person } = tour.live[0];
  const { page } = await shop.visitor(person, { viewport: { width: 375, height: 812 }, reducedMotion: "reduce" });
  await page.goto("/");
  const pane = page.getByRole("complementary", { name: "Live updates" });
  await expect(pane).toBeHidden();
  await page.getByRole("button", { name: /^Live updates/ }).click();
  await expect(pane).toBeVisible();
  await expect(pane.getByRole("heading", { name: /^Notifications/ })).toBeVisible();
  await expectNoSidewaysScroll(page, "the drawer");
  await page.screenshot({ path: "test-results/screens/drawer-375-light.png" });
  await pane.getByRole("button", { name: "Close" }).click();
  await expect(pane).toBeHidden();
});

test("HTML, CSS and JavaScript of every page are at most 100 KB on the wire", async ({ shop, tour }) => {
  const weights: Record<string, number> = {};
  for (const stop of tour.stops) {
    const page = stop.person ? (await shop.visitor(stop.person)).page : await shop.stranger();
    const sizes: Promise<number>[] = [];
    page.on("requestfinished", (request) => {
      const counts = ["document", "stylesheet", "script"].includes(request.resourceType());
      if (counts) sizes.push(request.sizes().then(({ responseBodySize }) => responseBodySize));
    });
    await open(shop, page, stop, "input");
    await expect.poll(() => sizes.length).toBeGreaterThanOrEqual(isLive(stop) ? 4 : 2);
    weights[stop.name] = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    await page.context().close();
  }
  test.info().annotations.push({ type: "bytes on the wire", description: JSON.stringify(weights) });
  for (const [name, bytes] of Object.entries(weights)) {
    expect(bytes, name).toBeGreaterThan(1_000);
    expect(bytes, `${name} is too heavy`).toBeLessThanOrEqual(100 * 1024);
  }
});
