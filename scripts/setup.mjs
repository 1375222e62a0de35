// `just setup`: says what is missing on this machine, then fetches what the demo and the tests
// need. Takes a second when there is nothing to do.
// `--tests` sees to a browser, schemathesis, promtool and libfaketime, too; `--browser` to the browser alone.

import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { restateCli, restateServer, restatectl, root } from "./binaries.mjs";
import { findBrowser } from "./browser.mjs";
import { installFaketime } from "./faketime.mjs";
import { installPackages } from "./pip.mjs";
import { installPromtool } from "./promtool.mjs";

const OLDEST_RUST = [1, 90];
const OLDEST_NODE = [20, 19];

// Its sha256 and its licence are beside this file, where the Dockerfile finds them, too.
const DATASTAR = {
  version: "1.0.4",
  sha256: readFileSync(join(root, "scripts", "datastar.sha256"), "utf8").split(" ")[0],
  official: "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.4/bundles/datastar.js",
  inWheel: "stario_create/vendor/datastar.js",
};

process.chdir(root);
try {
  await checkPrerequisites();
  installNodePackages();
  await installDatastar();
  const forTests = process.argv.includes("--tests");
  if (forTests || process.argv.includes("--browser")) installBrowser();
  if (forTests) {
    // It compares the API with its description (crates/tests/tests/it/schemathesis.rs).
    installPackages("schemathesis", "schemathesis");
    // Clusters keep their snapshots in it (crates/tests/src/store.rs).
    installPackages("store", "a store that speaks S3");
    installPromtool();
    installFaketime();
  }
} catch (error) {
  console.error(`setup: ${error.message}`);
  process.exit(1);
}

async function checkPrerequisites() {
  const [rust, cargo, npm, pip, compiler, make] = await Promise.all([
    versionOf("rustc", "--version"),
    versionOf("cargo", "--version"),
    versionOf("npm", "--version"),
    versionOf("python3", "-m", "pip", "--version"),
    versionOf("cc", "--version"),
    versionOf("make", "--version"),
  ]);
  const missing = [];
  if (!rust || !cargo || isOlder(rust, OLDEST_RUST)) {
    const found = rust ? `, this is ${rust.join(".")}` : "";
    missing.push(
      `Rust ${OLDEST_RUST.join(".")} or newer with cargo is needed${found}: install it from https://rustup.rs, or run "rustup update stable".`,
    );
  }
  const node = numbersIn(process.versions.node);
  if (!npm || isOlder(node, OLDEST_NODE)) {
    missing.push(
      `Node.js ${OLDEST_NODE.join(".")} or newer with npm is needed, this is ${process.versions.node}${npm ? "" : " without npm"}: install it from https://nodejs.org.`,
    );
  }
  if (!pip) {
    missing.push(
      "Python 3 with pip is needed: install it from https://www.python.org, or on Debian with \"apt-get install python3-pip\".",
    );
  }
  if (!compiler || !make) {
    missing.push(
      "A C compiler (cc) and make are needed to build SQLite and jemalloc: on Debian run \"apt-get install build-essential\", on macOS \"xcode-select --install\".",
    );
  }
  if (missing.length > 0) throw new Error(missing.join("\nsetup: "));
}

/** The first numbers a program says about itself, or null when it cannot be run. */
async function versionOf(program, ...args) {
  try {
    const { stdout } = await promisify(execFile)(program, args);
    return numbersIn(stdout);
  } catch {
    return null;
  }
}

function numbersIn(text) {
  return (text.match(/\d+/g) ?? []).slice(0, 3).map(Number);
}

function isOlder([major, minor], [oldestMajor, oldestMinor]) {
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
}

function installNodePackages() {
  // npm ci always starts from nothing, so remember what it has installed.
  const stamp = "node_modules/.waybill-lock";
  const wanted = sha256(readFileSync("package-lock.json"));
  const isCurrent = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (!isCurrent) {
    console.log("setup: installing the Restate server, its CLI and the test tools (npm ci)");
    run("npm", "ci", "--no-audit", "--no-fund");
    writeFileSync(stamp, wanted);
  }
  try {
    restateServer();
    restateCli();
    restatectl();
  } catch (error) {
    rmSync(stamp, { force: true });
    throw error;
  }
}

async function installDatastar() {
  const folder = "web/static/vendor";
  const target = join(folder, "datastar.js");
  if (existsSync(target) && sha256(readFileSync(target)) === DATASTAR.sha256) return;

  console.log(`setup: fetching the Datastar client ${DATASTAR.version}`);
  const client = (await datastarFromOfficialSite()) ?? datastarFromWheel();
  if (sha256(client) !== DATASTAR.sha256) {
    throw new Error(
      `the Datastar client that was fetched has the sha256 ${sha256(client)} instead of ${DATASTAR.sha256}; nothing was installed.`,
    );
  }
  mkdirSync(folder, { recursive: true });
  copyFileSync(join("scripts", "datastar.LICENSE.txt"), join(folder, "datastar.LICENSE.txt"));
  writeFileSync(`${target}.new`, client);
  renameSync(`${target}.new`, target);
}

async function datastarFromOfficialSite() {
  try {
    const answer = await fetch(DATASTAR.official, { signal: AbortSignal.timeout(4000) });
    const client = Buffer.from(await answer.arrayBuffer());
    return answer.ok && sha256(client) === DATASTAR.sha256 ? client : null;
  } catch {
    return null;
  }
}

/** The same file, untouched, out of a package on PyPI: for networks that reach registries only. */
function datastarFromWheel() {
  const folder = mkdtempSync(join(tmpdir(), "waybill-datastar-"));
  try {
    run(
      "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
      "--only-binary=:all:", "--python-version", "3.14", "--require-hashes",
      "--requirement", "scripts/datastar-requirements.txt", "--dest", folder,
    );
    const wheel = join(folder, readdirSync(folder).find((name) => name.endsWith(".whl")));
    run("python3", "-m", "zipfile", "--extract", wheel, folder);
    return readFileSync(join(folder, DATASTAR.inWheel));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function installBrowser() {
  if (findBrowser()) return;
  const isRootOnDebian = existsSync("/etc/debian_version") && process.getuid() === 0;
  if (isRootOnDebian) {
    console.log("setup: installing Chromium for the browser tests (apt-get)");
    const quietly = { DEBIAN_FRONTEND: "noninteractive" };
    runWith(quietly, "apt-get", "update", "-qq");
    runWith(quietly, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium");
  }
  if (!findBrowser()) {
    throw new Error(
      "the browser tests need Chromium or Chrome: install it (on Debian \"sudo apt-get install chromium\"), or set CHROMIUM_BIN to its path.",
    );
  }
}

function run(program, ...args) {
  runWith({}, program, ...args);
}

function runWith(environment, program, ...args) {
  const { status, error } = spawnSync(program, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
  if (error || status !== 0) {
    throw new Error(`"${program} ${args.join(" ")}" failed (${error?.message ?? `exit code ${status}`}).`);
  }
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
