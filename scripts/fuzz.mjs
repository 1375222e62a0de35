// `just fuzz`: every fuzz target for some time each, and a table of what they have done.
//
//   node scripts/fuzz.mjs SECONDS [FILTER]

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./binaries.mjs";

process.chdir(root);
const [seconds = "600", filter = "fuzz_"] = process.argv.slice(2);
if (!(Number(seconds) > 0)) {
  console.error(`fuzz: "${seconds}" is no number of seconds.`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "waybill-fuzz-"));
const report = join(folder, "report");
const packages = ["domain", "process", "services", "gateway"].flatMap((name) => ["--package", `waybill-${name}`]);
// The library and the targets beside it: nothing here needs Restate.
const test = ["test", "--locked", "--no-fail-fast", ...packages, "--lib", "--test", "fuzz", "--", filter];
try {
  const { status } = spawnSync("cargo", test, {
    stdio: "inherit",
    env: { ...process.env, FUZZ_SECONDS: seconds, FUZZ_REPORT: report },
  });
  const rows = existsSync(report) ? readFileSync(report, "utf8").trim().split("\n").map((line) => line.split("\t")) : [];
  console.log("\n| target | seconds | executions |\n| --- | --: | --: |");
  for (const [target, executions, took] of rows.sort()) {
    console.log(`| ${target} | ${took} | ${Number(executions).toLocaleString("en-US")} |`);
  }
  if (rows.length === 0) console.error(`fuzz: no target is called ${filter}.`);
  process.exitCode = rows.length === 0 ? 1 : status;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
