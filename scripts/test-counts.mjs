// How many tests a runner says have passed and failed, read from what it prints.

/** Adds up cargo test's "test result:" lines and nextest's "Summary" line. */
export function countRust(output) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const plain = output.replaceAll(/\x1b\[[0-9;]*m/g, "");
  for (const [, passed, failed, ignored] of plain.matchAll(
    /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/gm,
  )) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  for (const [, run, rest] of plain.matchAll(/^\s*Summary \[.*?\] +(\d+)(?:\/\d+)? tests? run: (.*)$/gm)) {
    // Everything that was run and has not passed has failed: "failed", "timed out", "exec failed".
    const passed = Number(rest.match(/(\d+) passed/)?.[1] ?? 0);
    counts.passed += passed;
    counts.failed += Number(run) - passed;
    counts.skipped += Number(rest.match(/(\d+) skipped/)?.[1] ?? 0);
  }
  return counts;
}

/** From the closing lines of Node's test runner. */
export function countNode(output) {
  const number = (name) => Number(output.match(new RegExp(`^ℹ ${name} (\\d+)$`, "m"))?.[1] ?? 0);
  return { passed: number("pass"), failed: number("fail") + number("cancelled"), skipped: number("skipped") };
}

/** From Playwright's JSON report. A test that passed only when it was tried again has passed. */
export function countPlaywright(report) {
  const { expected, flaky, unexpected, skipped } = JSON.parse(report).stats;
  return { passed: expected + flaky, failed: unexpected, skipped };
}
