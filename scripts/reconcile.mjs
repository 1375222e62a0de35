// `just reconcile`: the gateway's own command, with the demo's addresses and files.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cargoBinDirectory, root } from "./binaries.mjs";
import { demoSettings } from "./demo-settings.mjs";

const { variables } = demoSettings(process.env);
const words = process.argv.slice(2).filter((word) => word !== "--");
const ended = spawnSync(join(cargoBinDirectory(), "gateway"), ["reconcile", ...words], {
  cwd: root,
  stdio: "inherit",
  // Its own log would stand between the lines.
  env: { ...variables.gateway, RUST_LOG: process.env.RUST_LOG || "warn" },
});
if (ended.error) {
  console.error(`reconcile: the gateway could not be started: ${ended.error.message}`);
}
process.exit(ended.status ?? 1);
