// What pip fetches, with every hash checked, into a folder of the cache.

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDirectory, root } from "./binaries.mjs";

const OLDEST_PYTHON = [3, 11];

/** What PYTHONPATH must be for what scripts/NAME-requirements.txt names, on this machine. */
export function packagesFolder(name) {
  const hash = createHash("sha256").update(readFileSync(requirementsOf(name))).digest("hex").slice(0, 12);
  return join(cacheDirectory, "tools", `${name}-${hash}-python${python().join(".")}`);
}

/** Fetches it for a test, once; `what` is said of it. */
export function installPackages(name, what) {
  const [major, minor] = python();
  if (major < OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor < OLDEST_PYTHON[1])) {
    throw new Error(`the tests need Python ${OLDEST_PYTHON.join(".")} or newer for ${what}, this is ${major}.${minor}: install it from https://www.python.org.`);
  }
  const home = packagesFolder(name);
  if (existsSync(home)) return;
  console.log(`setup: installing ${what} for the tests (pip)`);
  installRequirements(requirementsOf(name), home);
}

function requirementsOf(name) {
  return join(root, "scripts", `${name}-requirements.txt`);
}

function python() {
  const script = "import sys; print(sys.version_info.major, sys.version_info.minor)";
  return execFileSync("python3", ["-c", script], { encoding: "utf8" }).trim().split(" ").map(Number);
}

/**
 * Installs a file of requirements as the folder `home`, whole or not at all, unless it is there.
 *
 * @param options more of pip's, such as another Python's version
 */
export function installRequirements(requirements, home, ...options) {
  if (existsSync(home)) return;
  mkdirSync(dirname(home), { recursive: true });
  const folder = mkdtempSync(`${home}-`);
  try {
    const pip = [
      "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps",
      "--only-binary=:all:", "--require-hashes", "--requirement", requirements, "--target", folder, ...options,
    ];
    const { status, error } = spawnSync("python3", pip, { stdio: ["ignore", "inherit", "inherit"] });
    if (error || status !== 0) {
      throw new Error(`${requirements} could not be installed (${error?.message ?? `pip ended with code ${status}`}).`);
    }
    // Also when two runs meet.
    if (!existsSync(home)) renameSync(folder, home);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
