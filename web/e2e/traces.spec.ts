// Where traces are collected that of an order begins with the click; elsewhere nothing is sent.

import { type Request } from "@playwright/test";
import { expect, test, testIn, type Shop } from "./fixtures.ts";

const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-01$/;

/** In a world whose gateway traces. */
const traced = testIn("traced");

/** What a click adds to the cart, twice, with all that the page asks meanwhile. */
async function addTwice(shop: Shop): Promise<{ writes: Request[]; reads: Request[] }> {
  const alice = await shop.customer("alice");
  const requests: Request[] = [];
  alice.page.on("request", (request) => requests.push(request));
  await alice.visit("/products");
  await alice.add("Label Printer");
  await expect(alice.cartCount).toContainText("1");
  await alice.add("Label Printer");
  await expect(alice.cartCount).toContainText("2");
  const writes = requests.filter((request) => request.method() === "POST");
  expect(writes).toHaveLength(2);
  return { writes, reads: requests.filter((request) => !writes.includes(request)) };
}

const traceparent = (request: Request) => request.headerValue("traceparent");

traced("each click begins a trace, which the gateway continues", async ({ shop, world }) => {
  const { writes, reads } = await addTwice(shop);
  const traces = (await Promise.all(writes.map(traceparent))).map((said) => {
    expect(said).toMatch(TRACEPARENT);
    return said!.match(TRACEPARENT)![1];
  });
  expect(new Set(traces).size).toBe(2);
  const lines = () => world.logs("gateway").split("\n").filter((line) => line.includes("POST ") && traces.some((trace) => line.includes(`trace_id=${trace}`)));
  await expect.poll(lines, "the gateway's lines name them").toHaveLength(2);
  expect((await Promise.all(reads.map(traceparent))).filter(Boolean)).toEqual([]);
});

test("without a collector a click says nothing of a trace", async ({ shop }) => {
  const { writes } = await addTwice(shop);
  expect(await Promise.all(writes.map(traceparent))).toEqual([null, null]);
  expect(writes[0].headers()).toHaveProperty("idempotency-key");
});
