// Writes the figures of `just bench --json FILE` into docs/benchmark.md, between its markers:
// node scripts/bench-doc.mjs BEFORE.json TODAY.json. A figure that a run has not made stays as it is; a run of
// the growth writes that whole table anew.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { root } from "./binaries.mjs";

const files = process.argv.slice(2);
if (files.length !== 2) {
  console.error("bench-doc: name two files of `just bench --json FILE`: before and today.");
  process.exit(2);
}
const runs = files.map((file) => JSON.parse(readFileSync(file, "utf8")));
const document = join(root, "docs/benchmark.md");

const n = (number, digits = 0) => number.toFixed(digits);
const ratio = (it) => `${n(it.per_second, it.per_second < 1000 ? 1 : 0)}/s, ${n(it.ratio, 2)} of ${it.against} (${n(it.against_per_second)}/s)`;
const work = (it) => {
  const sum = Object.values(it).reduce((one, other) => one + other, 0);
  const each = Object.entries(it).map(([name, ms]) => `${name} ${n(ms, sum < 2 ? 2 : 1)}`);
  return `${n(sum, sum < 2 ? 2 : 1)} ms (${each.join(", ")})`;
};
const answer = (it) => `p50 ${n(it.p50_ms, 1)} ms, ${n(it.more_ms, 1)} ms more than its handler's`;

const rows = [
  ["orders of one SKU", "orders of one SKU", ratio],
  ["orders of 28 SKUs", "orders of all SKUs", ratio],
  ["processor time of an order, one SKU", "work of an order, one SKU", work],
  ["processor time of an order, 28 SKUs", "work of an order, all SKUs", work],
  ["that of a bare order, one SKU", "work of a bare order, one SKU", work],
  ["that of a bare order, 28 SKUs", "work of a bare order, all SKUs", work],
  ["cart additions", "cart additions", ratio],
  ["answer to an addition", "answer to an addition", answer],
  ["processor time of an addition", "work of an addition", work],
  ["that of its handler at the ingress", "work of its handler at the ingress", work],
  ["apart: orders of one SKU", "apart, orders of one SKU", ratio],
  ["apart: orders of 28 SKUs", "apart, orders of all SKUs", ratio],
  ["apart: processor time of an order, one SKU", "apart, work of an order, one SKU", work],
  ["apart: processor time of an order, 28 SKUs", "apart, work of an order, all SKUs", work],
  ["apart: cart additions", "apart, cart additions", ratio],
  ["apart: answer to an addition", "apart, answer to an addition", answer],
  ["apart: processor time of an addition", "apart, work of an addition", work],
  ["`/api/products`", "/api/products", ratio],
  ["`/products`", "/products", ratio],
  ["`/orders`", "/orders", ratio],
  ["the gateway, idle", "gateway, idle", (it) => `${n(it.mb)} MB`],
  ["open streams, and a callback shown beside them", "streams", (it) => `${it.streams} of ${n(it.kb)} KB; p50 ${n(it.p50_ms, 1)} ms, p95 ${n(it.p95_ms, 1)} ms`],
  ["the gateway, 20 s after they are closed", "gateway, streams closed", (it) => `${n(it.mb)} MB, ${n(it.before_mb)} MB before them`],
  ["services killed with orders half approved", "services killed", (it) => `${it.orders} orders delivered after ${n(it.seconds, 1)} s, without a death ${n(it.without, 1)} s`],
];

const [begin, end] = ["<!-- figures -->", "<!-- end of the figures -->"];
const text = readFileSync(document, "utf8");
const [head, rest] = text.split(begin);
const [written, tail] = rest?.split(end) ?? [];
if (tail === undefined) {
  console.error(`bench-doc: docs/benchmark.md must have the lines ${begin} and ${end}.`);
  process.exit(1);
}
// The first table has two columns of figures; what follows it is of the growth.
const before = new Map();
for (const line of written.trim().split("\n\n")[0].split("\n")) {
  const [label, ...cells] = line.split("|").slice(1, -1).map((cell) => cell.trim());
  before.set(label, cells);
}
const lines = ["| | before | today |", "| --- | --- | --- |"];
for (const [label, key, say] of rows) {
  const cell = (run, column) => (run[key] ? say(run[key]) : (before.get(label)?.[column] ?? ""));
  lines.push(`| ${label} | ${runs.map(cell).join(" | ")} |`);
}

const today = runs[1];
const grown = Object.entries(today).filter(([, it]) => it.ms !== undefined && it.orders !== undefined);
const sizes = [...new Set(grown.map(([, it]) => it.orders))].sort((one, other) => one - other);
if (sizes.length === 0) {
  lines.push("", written.trim().split("\n\n").slice(1).join("\n\n"));
} else {
  const questions = [...new Set(grown.map(([key]) => key.replace(/^\d+ orders: /, "")))];
  lines.push("", `| median, today | ${sizes.map((size) => `${size.toLocaleString("en")} orders`).join(" | ")} |`);
  lines.push(`| --- |${" --- |".repeat(sizes.length)}`);
  for (const what of questions) {
    const cells = sizes.map((size) => {
      const it = today[`${size} orders: ${what}`];
      return it ? `${n(it.ms, 1)} ms` : "";
    });
    lines.push(`| ${what} | ${cells.join(" | ")} |`);
  }
  for (const what of ["checkout, reservations of its product", "checkout, orders of its customer"]) {
    if (today[what]) lines.push("", `An addition and its ${what.replace(",", ":")}: ${n(today[what].ms[0], 1)} ms with 10, ${n(today[what].ms[1], 1)} ms with 10,000.`);
  }
}

writeFileSync(document, `${head}${begin}\n\n${lines.join("\n")}\n\n${end}${tail}`);
