// promtool, which checks the alerts of scripts/observability (crates/tests/tests/it/observability.rs):
// one that the machine has, or out of Debian's package of Prometheus. Only that one file is taken:
// installed, the package would start a server.

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory } from "./binaries.mjs";

const ours = join(cacheDirectory, "tools", "promtool");
const USUAL_PLACES = ["/usr/bin/promtool", "/usr/local/bin/promtool", "/opt/homebrew/bin/promtool", ours];

/** A path, or undefined. */
export function findPromtool() {
  return [process.env.PROMTOOL_BIN, ...USUAL_PLACES].find((path) => path && existsSync(path));
}

export function installPromtool() {
  if (findPromtool()) return;
  if (existsSync("/etc/debian_version")) {
    console.log("setup: fetching promtool for the tests (Debian's package prometheus)");
    const folder = mkdtempSync(join(tmpdir(), "waybill-promtool-"));
    try {
      // Whoever is not root cannot, and may have lists that are new enough.
      run(folder, "apt-get", "update", "-qq");
      run(folder, "apt-get", "download", "-qq", "prometheus");
      const archive = readdirSync(folder).find((name) => name.endsWith(".deb"));
      if (archive && run(folder, "dpkg-deb", "--extract", archive, "package")) {
        mkdirSync(join(cacheDirectory, "tools"), { recursive: true });
        const whole = `${ours}-${process.pid}`;
        copyFileSync(join(folder, "package", "usr", "bin", "promtool"), whole);
        chmodSync(whole, 0o755);
        renameSync(whole, ours);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (!findPromtool()) {
    throw new Error(
      "the tests of the alerts need promtool: install Prometheus (on Debian \"sudo apt-get install prometheus\"), or set PROMTOOL_BIN to its path.",
    );
  }
}

function run(folder, program, ...args) {
  const options = { cwd: folder, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  return spawnSync(program, args, options).status === 0;
}
