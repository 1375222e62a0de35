// libfaketime, with which a test moves the clock of one process (crates/tests/tests/it/clocks.rs):
// one that the machine has, or out of Debian's package, of which that one file is taken.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory } from "./binaries.mjs";

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
  if (existsSync("/etc/debian_version")) {
    console.log("setup: fetching libfaketime for the tests (Debian's package libfaketime)");
    const folder = mkdtempSync(join(tmpdir(), "waybill-faketime-"));
    try {
      // Whoever is not root cannot, and may have lists that are new enough.
      run(folder, "apt-get", "update", "-qq");
      run(folder, "apt-get", "download", "-qq", "libfaketime");
      const archive = readdirSync(folder).find((name) => name.endsWith(".deb"));
      if (archive && run(folder, "dpkg-deb", "--extract", archive, "package")) {
        const found = readdirSync(join(folder, "package"), { recursive: true }).find((name) => name.endsWith(FILE));
        mkdirSync(join(cacheDirectory, "tools"), { recursive: true });
        const whole = `${ours}-${process.pid}`;
        copyFileSync(join(folder, "package", found), whole);
        renameSync(whole, ours);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (!findFaketime()) {
    throw new Error(
      "the tests of clocks need libfaketime: install it (on Debian \"sudo apt-get install libfaketime\"), or set FAKETIME_LIB to the path of libfaketimeMT.so.1.",
    );
  }
}

function run(folder, program, ...args) {
  const options = { cwd: folder, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  return spawnSync(program, args, options).status === 0;
}
