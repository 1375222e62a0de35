// Every time on every page says in which zone it is: the reader's own with JavaScript, UTC without.

import { expect, test, type Page, type Shop } from "./fixtures.ts";
import type { Stop, Tour } from "./tour.ts";

interface Seen {
  /** Times of day without a zone, wherever a person reads them. */
  bare: string[];
  /** Each <time>, and whatever else has its time in an attribute. */
  times: { at: string; tick: string; text: string; title: string }[];
  /** What stands on the page and in its hints. */
  words: string;
}

/** Reads the whole page: what is written, and what appears on hover or is read aloud. */
function read(page: Page): Promise<Seen> {
  return page.evaluate(() => {
    const bare: string[] = [];
    const words: string[] = [];
    const look = (text: string | null, where: string) => {
      if (!text) return;
      words.push(text);
      const clock = /(?<![\w.:])\d{1,2}:\d{2}(:\d{2})?(?![\w:])(?! (UTC|GMT\+9))/;
      if (clock.test(text)) bare.push(`${where}: ${text.trim()}`);
    };
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement!;
      // What is left of a wait is no time of day.
      const isRead = !element.closest("script, style, noscript, template, time[data-tick=until], time[data-tick=in]");
      if (isRead) look(node.nodeValue, element.tagName);
    }
    for (const element of document.querySelectorAll("[title], [aria-label]")) {
      look(element.getAttribute("title"), `${element.tagName} title`);
      look(element.getAttribute("aria-label"), `${element.tagName} aria-label`);
    }
    const times = [...document.querySelectorAll<HTMLElement>("time, [data-at]")].map((element) => ({
      at: element.getAttribute("datetime") ?? element.dataset.at ?? "",
      tick: element.dataset.tick ?? element.tagName.toLowerCase(),
      text: element.textContent ?? "",
      title: element.getAttribute("title") ?? "",
    }));
    return { bare, times, words: words.join("\n") };
  });
}

async function walk(shop: Shop, tour: Tour, options: NonNullable<Parameters<Shop["stranger"]>[0]>, look: (page: Page, stop: Stop, tab: string) => Promise<void>) {
  const pages = new Map<string, Page>();
  for (const stop of tour.live) {
    const page = pages.get(stop.person.name) ?? (await shop.visitor(stop.person, options)).page;
    pages.set(stop.person.name, page);
    for (const tab of ["input", "output"]) {
      await page.goto(`${stop.path}?journal=1${tab === "output" ? "&tab=output" : ""}`);
      await look(page, stop, tab);
    }
  }
}

test("without JavaScript every time names UTC", async ({ shop, tour }) => {
  let clocks = 0;
  await walk(shop, tour, { javaScriptEnabled: false }, async (page, stop, tab) => {
    const { bare, times, words } = await read(page);
    expect(bare, `${stop.name}, ${tab}`).toEqual([]);
    for (const { at, text, title } of times) {
      expect(Number.isNaN(Date.parse(at)), `${stop.name}: ${text}`).toBe(false);
      expect(text, stop.name).toMatch(/ UTC$|^[^\d:]*$/);
      if (title) expect(title, stop.name).toMatch(/ UTC$/);
    }
    clocks += words.match(/\d:\d\d UTC/g)?.length ?? 0;
  });
  expect(clocks).toBeGreaterThan(50);
});

test("with JavaScript every time is the reader's own, by the zone's name", async ({ shop, tour }) => {
  const seen = new Map<string, number>();
  await walk(shop, tour, { timezoneId: "Asia/Tokyo", locale: "en-US" }, async (page, stop, tab) => {
    // The journal comes a moment later, by the stream.
    if (stop.name.includes("order-")) await expect(page.locator("#journal")).toContainText("began");
    const { bare, times } = await read(page);
    expect(bare, `${stop.name}, ${tab}`).toEqual([]);
    for (const { at, tick, text, title } of times) {
      const tokyo = new Date(Date.parse(at) + 9 * 3600_000).toISOString();
      const what = `${stop.name}: ${tick} of ${at}`;
      seen.set(tick, (seen.get(tick) ?? 0) + 1);
      if (tick === "clock") expect(text, what).toBe(`${tokyo.slice(11, 19)} GMT+9`);
      else if (tick === "minutes") expect(text, what).toBe(`${tokyo.slice(11, 16)} GMT+9`);
      else if (tick === "title") expect(text, what).toContain(` at ${tokyo.slice(11, 16)} GMT+9`);
      else expect(text, what).not.toContain("UTC");
      if (tick !== "title") {
        expect(title, what).toContain(`${tokyo.slice(11, 19)} GMT+9`);
        expect(title, what).toContain(String(Number(tokyo.slice(8, 10))));
      }
    }
  });
  for (const tick of ["ago", "since", "clock", "minutes"]) expect(seen.get(tick), tick).toBeGreaterThan(0);
});

test("a page that changes keeps the reader's zone", async ({ shop }) => {
  const alice = await shop.customer("alice", { timezoneId: "Asia/Tokyo", locale: "en-US" });
  const id = await alice.quietlyOrder("P001", "zoned");
  await alice.visit(`/orders/${id}`);
  await alice.decline(id);
  await expect(alice.status).toHaveText("Payment failed");
  const clocks = alice.page.locator("#input .timeline time");
  await expect(clocks).toHaveText([/ GMT\+9$/, / GMT\+9$/, / GMT\+9$/, / GMT\+9$/]);
  await expect(clocks.first()).toHaveAttribute("title", / GMT\+9$/);
});
