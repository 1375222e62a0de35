// libfaketime, with which a test moves the clock of one process (crates/tests/tests/it/clocks.rs):
// one that the machine has, or out of Debian's package.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "./binaries.mjs";
import { fetchFromPackage } from "./debian.mjs";

const FILE = "libfaketimeMT.so.1";
const ours = join(cacheDirectory, "tools", FILE);
const USUAL_PLACES = ["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/${FILE}`);

/** A path, or undefined. */
export function findFaketime() {
  return [process.env.FAKETIME_LIB, ...USUAL_PLACES, ours].find((path) => path && existsSync(path));
}

export function installFaketime() {
  // Elsewhere there is nothing that it could be loaded into.
  if (findFaketime() || process.platform !== "linux") return;
  fetchFromPackage("libfaketime", `/${FILE}`, ours);
  if (!findFaketime()) {
    throw new Error(
      "the tests of clocks need libfaketime: install it (on Debian \"sudo apt-get install libfaketime\"), or set FAKETIME_LIB to the path of libfaketimeMT.so.1.",
    );
  }
}
