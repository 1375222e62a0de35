// What breaks first, and when: a simulation of a shop at 100, 1,000 and 10,000 orders a second, and
// of 10 million orders, driven by the slopes that were measured on two cores.
//
//   node scripts/scale.mjs            prints the tables of docs/scale.md
//   node scripts/scale.mjs --write    writes them there
//   node scripts/scale.mjs --check    fails when they differ (crates/tests/tests/it/scale.rs)

import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (name) => readFileSync(join(root, name), "utf8");
const document = join(root, "docs", "scale.md");

// ---- Slopes: from the benchmark and the budget as they stand in this repository.

const benchmark = read("docs/benchmark.md");
const today = (row) => {
  const line = benchmark.split("\n").find((line) => line.startsWith(`| ${row} |`));
  if (!line) throw new Error(`docs/benchmark.md has no row "${row}"`);
  return line.split("|").map((cell) => cell.trim());
};
const number = (text, pattern) => {
  const found = text.match(pattern);
  if (!found) throw new Error(`"${text}" has no ${pattern}`);
  return Number(found[1]);
};
const processor = today("processor time of an order, 28 SKUs").at(-2);
const budget = read("crates/tests/tests/it/budget.rs");
const budgetOf = (name) => number(budget.slice(budget.indexOf("const BUDGET")), new RegExp(`${name}: (\\d+)`));

const SLOPES = {
  restateMs: number(processor, /restate ([\d.]+)/),
  servicesMs: number(processor, /services ([\d.]+)/),
  gatewayMs: number(processor, /gateway ([\d.]+)/),
  ordersOfOneSku: number(today("orders of one SKU").at(-2), /^([\d.]+)\/s/),
  invocations: budgetOf("invocations"),
  entries: budgetOf("entries"),
  runs: budgetOf("runs"),
  // Of 100,000 orders, in milliseconds: so many nanoseconds an order.
  compareMs: number(today("catch-up, nothing new").at(-3), /([\d.]+) ms/) / 100_000,
  rebuildMs: number(today("rebuild").at(-3), /([\d.]+) ms/) / 100_000,
  streamKb: number(today("open streams, and a callback shown beside them").at(-2), /of (\d+) KB/),
  // Sizes, measured on 26 November 2026: scripts/scale-sizes.py, and `curl …/updates` for one order.
  readModelBytes: 7_910,
  recordBytes: 2_172,
  updateBytes: 13_940,
  // Versions of an order that do not come within one commit: placed, page, paid, shipping, delivered.
  commitsOfAnOrder: 5,
};

// ---- What is assumed, and not measured.

const ASSUMED = {
  retentionDays: 30, // ORDER_RETENTION
  peak: 3, // the busiest hour against the day's mean
  coreMonth: 20, // dollars
  gigabyteMonth: 0.1, // dollars, of disk
  used: 0.6, // of a core, at most
  catchUpEveryS: 30, // EVERY in live/catch_up.rs
};

const DAY = 86_400;

/** A day in steps of a minute: how far a gateway's one writer falls behind. */
function day(mean, writesPerSecond) {
  let waiting = 0;
  let longest = 0;
  for (let minute = 0; minute < 1440; minute++) {
    const hour = minute / 60;
    // From a tenth of the mean at night to `peak` times the mean at noon.
    const wave = Math.max(0.1, Math.cos(((hour - 12) / 24) * 2 * Math.PI) * ASSUMED.peak);
    const rate = mean * (wave / norm);
    waiting = Math.max(0, waiting + 60 * (rate * SLOPES.commitsOfAnOrder - writesPerSecond));
    longest = Math.max(longest, waiting / writesPerSecond);
  }
  return { longest, left: waiting / writesPerSecond };
}
// The wave's own mean, so that a day has as many orders as its mean says.
let norm = 0;
for (let minute = 0; minute < 1440; minute++) norm += Math.max(0.1, Math.cos(((minute / 60 - 12) / 24) * 2 * Math.PI) * ASSUMED.peak) / 1440;

const writes = 1000 / SLOPES.rebuildMs; // whole records a second, of the one writer
const most = {
  // Orders a second, as a mean of the day, at which each stops being right.
  catchUp: (ASSUMED.catchUpEveryS * 1000) / SLOPES.compareMs / (ASSUMED.retentionDays * DAY),
  writer: writes / SLOPES.commitsOfAnOrder / (ASSUMED.peak / norm),
};

const size = (bytes) => (bytes >= 1e12 ? `${(bytes / 1e12).toFixed(1)} TB` : bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(0)} MB`);
const time = (seconds) => (seconds >= 2 * DAY ? `${(seconds / DAY).toFixed(0)} days` : seconds >= 7200 ? `${(seconds / 3600).toFixed(1)} h` : seconds >= 120 ? `${(seconds / 60).toFixed(0)} min` : `${seconds.toFixed(1)} s`);
const count = (amount) => Math.round(amount).toLocaleString("en-US");

function rates() {
  const rows = [[
    "orders/s, mean of a day", "cores of Restate", "of services", "gateways of 2 cores", "orders in Restate", "their records", "read model after a year, each gateway",
    "updates to each gateway", "catch-up", "one writer behind, worst of a day", "cores and disk a month",
  ]];
  for (const mean of [1, 10, 100, 1_000, 10_000]) {
    const cores = (ms) => Math.ceil((mean * (ASSUMED.peak / norm) * ms) / 1000 / ASSUMED.used);
    const retained = mean * DAY * ASSUMED.retentionDays;
    const copy = mean * DAY * 365 * SLOPES.readModelBytes;
    const gateways = Math.max(2, Math.ceil(cores(SLOPES.gatewayMs) / 2));
    const behind = day(mean, writes);
    const all = cores(SLOPES.restateMs) + cores(SLOPES.servicesMs) + Math.max(4, cores(SLOPES.gatewayMs));
    const disk = (gateways * copy + retained * SLOPES.recordBytes) / 1e9;
    rows.push([
      count(mean), count(cores(SLOPES.restateMs)), count(cores(SLOPES.servicesMs)), count(gateways),
      count(retained), size(retained * SLOPES.recordBytes), size(copy),
      `${((mean * (ASSUMED.peak / norm) * SLOPES.updateBytes * 8) / 1e6).toFixed(1)} Mbit/s`,
      time((retained * SLOPES.compareMs) / 1000), behind.left > 60 ? "never catches up" : time(behind.longest),
      `$${count(all * ASSUMED.coreMonth)} and $${count(disk * ASSUMED.gigabyteMonth)}`,
    ]);
  }
  return table(rows);
}

function shops() {
  const rows = [["orders in the copy", "read model", "catch-up, nothing new", "rebuild"]];
  for (const orders of [100_000, 1_000_000, 10_000_000, 100_000_000]) {
    rows.push([count(orders), size(orders * SLOPES.readModelBytes), time((orders * SLOPES.compareMs) / 1000), time((orders * SLOPES.rebuildMs) / 1000)]);
  }
  return table(rows);
}

function limits() {
  const retained = (ASSUMED.catchUpEveryS * 1000) / SLOPES.compareMs;
  return table([
    ["what", "stops being right at", "because"],
    ["catch-up of everything, every 30 s", `${count(retained)} orders in Restate, ${most.catchUp.toFixed(2)} orders/s for ${ASSUMED.retentionDays} days`, `it compares ${(SLOPES.compareMs * 1000).toFixed(1)} µs an order, and takes longer than its interval`],
    ["one SKU", `${SLOPES.ordersOfOneSku} orders/s`, "its stock is one key, and calls to a key go one by one (two cores, full)"],
    ["one writer of each gateway", `${most.writer.toFixed(0)} orders/s as a mean, ${(writes / SLOPES.commitsOfAnOrder).toFixed(0)} at the peak`, `it writes ${count(writes)} records a second, an order is ${SLOPES.commitsOfAnOrder}, and more gateways do not share it (a record of a rebuild is fetched from Restate, too, so at the least)`],
    ["Restate on 2 cores of its own, used to 60 %", `${((2000 * ASSUMED.used) / SLOPES.restateMs).toFixed(0)} orders/s`, `${SLOPES.restateMs} ms of processor an order: ${SLOPES.invocations} invocations, ${SLOPES.entries} entries, ${SLOPES.runs} \`run\`s`],
    ["a gateway's memory", `${count((2e9 / SLOPES.streamKb) / 1000)} open streams in 2 GB`, `${SLOPES.streamKb} KB each`],
  ]);
}

function table([head, ...rows]) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

const parts = { rates: rates(), shops: shops(), limits: limits() };
const filled = Object.entries(parts).reduce(
  (text, [name, part]) => text.replace(new RegExp(`(<!-- ${name} -->\n)[^]*?(\n<!-- end -->)`), (_, begin, end) => `${begin}\n${part}\n${end}`),
  read("docs/scale.md"),
);
if (process.argv.includes("--write")) writeFileSync(document, filled);
else if (process.argv.includes("--check")) {
  if (filled !== read("docs/scale.md")) {
    console.error("docs/scale.md does not say what scripts/scale.mjs computes from today's slopes: node scripts/scale.mjs --write");
    process.exit(1);
  }
} else console.log(Object.values(parts).join("\n\n"));
