// How every page looks, in three widths and both themes: nothing scrolls sideways, and a picture of
// each is left in test-results/screens for a person to look at.

import { expect, test, type Page, type Shop } from "./fixtures.ts";
import type { Stop } from "./tour.ts";

const WIDTHS = [375, 768, 1440];
const HEIGHTS: Record<number, number> = { 320: 640, 375: 812, 768: 1024, 1440: 900 };

async function open(shop: Shop, page: Page, stop: Stop, tab = "") {
  const path = tab ? `${stop.path}?tab=${tab}` : stop.path;
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

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of WIDTHS) {
    test(`every page in ${colorScheme} at ${width} px`, async ({ shop, tour }) => {
      for (const stop of tour.stops) {
        const options = { colorScheme, reducedMotion: "reduce", viewport: { width, height: HEIGHTS[width] } } as const;
        const page = stop.person ? (await shop.visitor(stop.person, options)).page : await shop.stranger(options);
        for (const tab of stop.person && !stop.status ? ["input", "output"] : [""]) {
          await open(shop, page, stop, tab);
          // What only Restate knows comes a moment later.
          if (stop.path.startsWith("/orders/")) await expect(page.locator("#journal")).not.toContainText("Asking Restate");
          const name = [stop.name, tab === "output" ? "output" : "", width, colorScheme].filter(Boolean).join("-");
          await expectNoSidewaysScroll(page, name);
          await page.screenshot({ path: `test-results/screens/${name}.png`, fullPage: true, animations: "disabled" });
        }
        await page.context().close();
      }
    });
  }
}

test("no page scrolls sideways at 320 px", async ({ shop, tour }) => {
  for (const stop of tour.stops) {
    const options = { viewport: { width: 320, height: HEIGHTS[320] } };
    const page = stop.person ? (await shop.visitor(stop.person, options)).page : await shop.stranger(options);
    for (const tab of stop.person && !stop.status ? ["input", "output"] : [""]) {
      await open(shop, page, stop, tab);
      await expectNoSidewaysScroll(page, `${stop.name} ${tab}`);
    }
    await page.context().close();
  }
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
    await open(shop, page, stop);
    await expect.poll(() => sizes.length).toBeGreaterThanOrEqual(stop.person && !stop.status ? 4 : 2);
    weights[stop.name] = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    await page.context().close();
  }
  test.info().annotations.push({ type: "bytes", description: JSON.stringify(weights) });
  console.log(weights);
  for (const [name, bytes] of Object.entries(weights)) {
    expect(bytes, name).toBeGreaterThan(1_000);
    expect(bytes, `${name} is too heavy`).toBeLessThanOrEqual(100 * 1024);
  }
});
