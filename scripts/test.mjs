// `just test`, `just e2e` and `just compose-test`: runs the test runners and adds up what they say.
//
//   node scripts/test.mjs [rust] [demo] [dist] [e2e] [compose] [-- arguments for the runner]
//
// Fails when a test fails, when a runner fails, when no test was run, and when a process that a
// test has started is still there afterwards.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { cargoBinDirectory, restateCli, restateServer, restatectl, root } from "./binaries.mjs";
import { findBrowser } from "./browser.mjs";
import { findFaketime } from "./faketime.mjs";
import { oldGateway, oldServices } from "./old-programs.mjs";
import { packagesFolder } from "./pip.mjs";
import { findPromtool } from "./promtool.mjs";
import { countNode, countPlaywright, countRust } from "./test-counts.mjs";

const MARK = "WAYBILL_TEST_RUN";
const LEFTOVER_GRACE_MS = 5_000;

process.chdir(root);
const [suites, runnerArguments] = readArguments();
const mark = `${process.pid}-${Date.now().toString(36)}`;
const bin = cargoBinDirectory();
const environment = {
  ...process.env,
  [MARK]: mark,
  RESTATE_SERVER_BIN: restateServer(),
  RESTATE_CLI_BIN: restateCli(),
  RESTATECTL_BIN: restatectl(),
  WAYBILL_BIN_DIR: bin,
  CHROMIUM_BIN: findBrowser() ?? "",
  SCHEMATHESIS_DIR: packagesFolder("schemathesis"),
  STORE_DIR: packagesFolder("store"),
  PROMTOOL_BIN: findPromtool() ?? "",
  FAKETIME_LIB: findFaketime() ?? "",
};
// The runner gets a Ctrl-C too; we stay to see what it leaves behind.
process.on("SIGINT", () => {});

const total = { passed: 0, failed: 0, skipped: 0 };
const complaints = [];
if (suites.includes("rust")) await testRust();
if (suites.includes("demo")) await testWithNode("demo");
if (suites.includes("dist")) {
  if (process.platform === "linux") await testWithNode("dist");
  else console.log("test: an archive is made and tested on Linux only.");
}
if (suites.includes("e2e")) await testInBrowser();
if (suites.includes("compose")) await testWithNode("compose");
for (const leftover of await endLeftovers()) fail(`a test left a process behind: ${leftover}`);
if (total.passed + total.failed === 0) fail("no test was run");
for (const complaint of complaints) console.log(`test: ${complaint} (counted as one failure).`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 ? 1 : 0);

async function testRust() {
  const build = ["build", "--workspace", "--bins", "--locked"];
  if (spawnSync("cargo", build, { stdio: "inherit" }).status !== 0) {
    fail("the build failed");
    return;
  }
  const isWhole = runnerArguments.length === 0;
  if (isWhole || runnerArguments.some((argument) => /code_change|cluster/.test(argument))) {
    environment.OLD_SERVICES_BIN = oldServices() ?? "";
  }
  // Only `just cluster-test` has time to build it.
  if (process.env.CLUSTER_MISHAPS === "all") environment.OLD_GATEWAY_BIN = oldGateway() ?? "";
  // Whoever waits for a table wants to see it, and how far it has come.
  const showsOutput = process.env.SHOW_OUTPUT === "1";
  if (!hasNextest()) {
    if (showsOutput) environment.RUST_TEST_NOCAPTURE = "1";
    await runRust(["test", "--workspace", "--locked", "--no-fail-fast", ...runnerArguments]);
    return;
  }
  // nextest leaves out the examples in doc comments.
  if (isWhole) {
    await runRust(["test", "--workspace", "--locked", "--no-fail-fast", "--doc"]);
  }
  await runRust([
    "nextest", "run", "--workspace", "--locked", "--no-fail-fast", ...(showsOutput ? ["--no-capture"] : []),
    "--tool-config-file", `waybill:${join(root, "scripts", "nextest.toml")}`, ...runnerArguments,
  ]);
}

async function runRust(args) {
  const { output, code } = await runAndRead("cargo", args);
  const counts = countRust(output);
  add(counts);
  if (code !== 0 && counts.failed === 0) fail(`"cargo ${args.slice(0, 2).join(" ")}" ended with code ${code}`);
}

async function testWithNode(name) {
  const { output, code } = await runAndRead(process.execPath, ["--test", "--test-reporter=spec", `scripts/${name}.test.mjs`]);
  const counts = countNode(output);
  add(counts);
  if (code !== 0 && counts.failed === 0) fail(`the tests of ${name} ended with code ${code}`);
}

async function testInBrowser() {
  const hasTests = existsSync("web/e2e") && readdirSync("web/e2e", { recursive: true }).some((name) => /\.spec\.[cm]?[jt]s$/.test(name));
  if (!hasTests) {
    console.log("test: there is no browser test in web/e2e.");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "waybill-e2e-"));
  try {
    const report = join(folder, "report.json");
    environment.PLAYWRIGHT_JSON_OUTPUT_FILE = report;
    const { code } = await runAndRead("node_modules/.bin/playwright", [
      "test", "-c", "web/e2e", "--reporter=json,list", ...(suites.includes("rust") ? [] : runnerArguments),
    ]);
    const counts = existsSync(report) ? countPlaywright(readFileSync(report, "utf8")) : { passed: 0, failed: 0, skipped: 0 };
    add(counts);
    if (code !== 0 && counts.failed === 0) fail(`Playwright ended with code ${code}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Shows what the runner prints, and answers it with the exit code. */
function runAndRead(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        process.stdout.write(text);
      });
    }
    // Not "close": a leftover that holds the pipe open would keep us here for ever.
    child.once("exit", (code, signal) => setTimeout(() => resolve({ output, code: code ?? signal }), 200));
    child.once("error", (error) => resolve({ output, code: error.message }));
  });
}

/** Ends whatever this run has started and not ended itself, and names it. */
async function endLeftovers() {
  if (process.platform !== "linux") {
    console.log("test: leftover processes are looked for on Linux only.");
    return [];
  }
  const deadline = Date.now() + LEFTOVER_GRACE_MS;
  let left = marked();
  while (left.length > 0 && Date.now() < deadline) {
    await pause(200);
    left = marked();
  }
  for (const { pid } of left) process.kill(pid, "SIGKILL");
  return left.map(({ pid, command }) => `${command} (process ${pid})`);
}

/** The running processes whose environment carries this run's mark. */
function marked() {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const variables = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      if (!variables.includes(`${MARK}=${mark}`)) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim().slice(0, 200);
      return [{ pid: Number(pid), command }];
    } catch {
      return []; // it has ended meanwhile, or is not ours
    }
  });
}

function hasNextest() {
  return spawnSync("cargo", ["nextest", "--version"], { stdio: "ignore" }).status === 0;
}

function add({ passed, failed, skipped }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

function fail(complaint) {
  complaints.push(complaint);
  total.failed += 1;
}

function readArguments() {
  const given = process.argv.slice(2);
  const end = given.includes("--") ? given.indexOf("--") : given.length;
  const named = given.slice(0, end);
  return [named.length > 0 ? named : ["rust", "demo", "dist", "e2e"], given.slice(end + 1)];
}
