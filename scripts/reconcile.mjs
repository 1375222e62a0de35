// `just reconcile`: the gateway's own command, with the demo's addresses and files.

import { spawnSync } from "node:child_process";
import { root } from "./binaries.mjs";
import { launcherBinary } from "./launcher.mjs";

const words = process.argv.slice(2).filter((word) => word !== "--");
const ended = spawnSync(launcherBinary(), ["gateway", "reconcile", ...words], {
  cwd: root,
  stdio: "inherit",
  // Its own log would stand between the lines.
  env: { ...process.env, RUST_LOG: process.env.RUST_LOG || "warn" },
});
if (ended.error) {
  console.error(`reconcile: the gateway could not be started: ${ended.error.message}`);
}
process.exit(ended.status ?? 1);
