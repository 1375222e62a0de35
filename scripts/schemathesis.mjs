// schemathesis, which compares the API with its description (crates/tests/tests/it/schemathesis.rs):
// fetched once, with every hash checked, into a folder of the cache for this Python.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, root } from "./binaries.mjs";
import { installRequirements } from "./pip.mjs";

const OLDEST_PYTHON = [3, 11];
const requirements = join(root, "scripts", "schemathesis-requirements.txt");

/** What PYTHONPATH must be for `python3 -m schemathesis.cli`. */
export function schemathesisFolder() {
  const hash = createHash("sha256").update(readFileSync(requirements)).digest("hex").slice(0, 12);
  return join(cacheDirectory, "tools", `schemathesis-${hash}-python${python().join(".")}`);
}

export function installSchemathesis() {
  const [major, minor] = python();
  if (major < OLDEST_PYTHON[0] || (major === OLDEST_PYTHON[0] && minor < OLDEST_PYTHON[1])) {
    throw new Error(`the tests need Python ${OLDEST_PYTHON.join(".")} or newer for schemathesis, this is ${major}.${minor}: install it from https://www.python.org.`);
  }
  const home = schemathesisFolder();
  if (existsSync(home)) return;
  console.log("setup: installing schemathesis for the tests (pip)");
  installRequirements(requirements, home);
}

function python() {
  const script = "import sys; print(sys.version_info.major, sys.version_info.minor)";
  return execFileSync("python3", ["-c", script], { encoding: "utf8" }).trim().split(" ").map(Number);
}
