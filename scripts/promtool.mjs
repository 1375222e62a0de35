// promtool, which checks the alerts of scripts/observability (crates/tests/tests/it/observability.rs):
// one that the machine has, or out of Debian's package of Prometheus.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "./binaries.mjs";
import { fetchFromPackage } from "./debian.mjs";

const ours = join(cacheDirectory, "tools", "promtool");
const USUAL_PLACES = ["/usr/bin/promtool", "/usr/local/bin/promtool", "/opt/homebrew/bin/promtool", ours];

/** A path, or undefined. */
export function findPromtool() {
  return [process.env.PROMTOOL_BIN, ...USUAL_PLACES].find((path) => path && existsSync(path));
}

export function installPromtool() {
  if (findPromtool()) return;
  fetchFromPackage("prometheus", "usr/bin/promtool", ours);
  if (!findPromtool()) {
    throw new Error(
      "the tests of the alerts need promtool: install Prometheus (on Debian \"sudo apt-get install prometheus\"), or set PROMTOOL_BIN to its path.",
    );
  }
}
