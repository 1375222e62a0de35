// Draws the spans of one order as docs/trace.svg: node scripts/trace-picture.mjs SPANS.json FILE.svg
// The spans are what crates/tests/tests/it/traces.rs wrote to TRACE_SPANS. Restate's own bookkeeping
// is left out, but what it calls an invocation.

import { readFileSync, writeFileSync } from "node:fs";

const [, , from, to] = process.argv;
const all = JSON.parse(readFileSync(from, "utf8"));
const ours = all.filter((span) => span.process.startsWith("waybill-"));
const COLOURS = { "waybill-gateway": "#3b6fd4", "waybill-services": "#2a8c5a", "waybill-sandbox": "#b3762a" };
const [ROW, LEFT, WIDTH] = [18, 300, 1180];

// Each trace in the order of its beginning; within it parents before children.
const byId = new Map(all.map((span) => [span.id, span]));
const parentOf = (span) => {
  // Up through Restate's spans to one of ours.
  let parent = byId.get(span.parent);
  while (parent && !parent.process.startsWith("waybill-")) parent = byId.get(parent.parent);
  return parent;
};
const children = new Map();
for (const span of ours) {
  const parent = parentOf(span);
  const key = parent ? parent.id : `trace ${span.trace}`;
  children.set(key, [...(children.get(key) ?? []), span]);
}
const byTime = (a, b) => a.began_ns - b.began_ns;
const rows = [];
const walk = (key, depth) => {
  for (const span of (children.get(key) ?? []).sort(byTime)) {
    rows.push({ span, depth });
    walk(span.id, depth + 1);
  }
};
const traces = [...new Set(ours.slice().sort(byTime).map((span) => span.trace))];
for (const trace of traces) {
  rows.push({ trace });
  walk(`trace ${trace}`, 0);
}

// The waits of people are shortened: time runs only while something of ours does.
const edges = [...new Set(ours.flatMap((span) => [span.began_ns, span.ended_ns]))].sort((a, b) => a - b);
const place = new Map();
let at = 0;
edges.forEach((edge, index) => {
  if (index > 0) at += Math.min(edge - edges[index - 1], 60e6);
  place.set(edge, at);
});
const x = (time) => LEFT + (place.get(time) / at) * (WIDTH - LEFT - 70);
const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

const height = (rows.length + 2) * ROW;
const lines = rows.map(({ span, depth, trace }, index) => {
  const y = (index + 2) * ROW;
  if (trace) {
    return `<line x1="0" x2="${WIDTH}" y1="${y - 12}" y2="${y - 12}" stroke="#ccc"/><text x="6" y="${y}" fill="#777">trace …${trace.slice(-8)}${linkOf(trace)}</text>`;
  }
  const [begin, end] = [x(span.began_ns), x(span.ended_ns)];
  const took = (span.ended_ns - span.began_ns) / 1e6;
  return [
    `<text x="${14 + depth * 10}" y="${y}">${escape(span.name.length > 38 ? `${span.name.slice(0, 37)}…` : span.name)}</text>`,
    `<rect x="${begin.toFixed(1)}" y="${y - 10}" width="${Math.max(end - begin, 2).toFixed(1)}" height="11" rx="2" fill="${COLOURS[span.process] ?? "#888"}"/>`,
    `<text x="${(Math.max(end, begin + 2) + 4).toFixed(1)}" y="${y}" fill="#777">${took < 10 ? took.toFixed(1) : took.toFixed(0)} ms</text>`,
  ].join("");
});

/** Which trace it is linked to, and by which span there. */
function linkOf(trace) {
  const links = all.filter((span) => span.trace === trace).flatMap((span) => span.links).filter(([other]) => other !== trace);
  const others = [...new Set(links.map(([other]) => other.slice(-8)))];
  return others.length > 0 ? `, linked to ${others.map((other) => `…${other}`).join(" and ")}` : "";
}

const legend = Object.entries(COLOURS).map(([process, colour], index) => `<rect x="${6 + index * 150}" y="6" width="11" height="11" rx="2" fill="${colour}"/><text x="${22 + index * 150}" y="16">${process}</text>`);
writeFileSync(to, `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
${[...legend, ...lines].join("\n")}
</svg>
`);
