// `just backup FILE` and `just restore FILE`: the gateway's own commands, with the demo's files.
// Of a cluster: WAYBILL_DATA_DIR=data/cluster just backup FILE.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root } from "./binaries.mjs";
import { askRunningDemo, dataDirectory } from "./demo-lock.mjs";
import { binDirectory } from "./launcher.mjs";

const invokedFrom = process.env.INVOCATION_DIRECTORY ?? process.cwd();
const [command, file, ...options] = process.argv.slice(2);
if (!file) fail(`say which file: "just ${command} waybill.tar".`);
const running = await askRunningDemo();
if (running !== null) fail(`the demo is running (${running}); stop it with Ctrl-C first.`);

// Relative to where the caller is; the demo's own files are relative to the repository.
const path = file === "-" || file.startsWith("/") ? file : join(invokedFrom, file);
const nodes = ["restate", "restate2", "restate3"].map((name) => join(dataDirectory, name));
const held = command === "backup" ? nodes.filter((node, index) => index === 0 || existsSync(node)) : nodes;
const token = join(dataDirectory, "internal-token");
const ended = spawnSync(join(binDirectory(), "gateway"), [command, path, ...options, "--secrets", token], {
  cwd: root,
  stdio: "inherit",
  env: {
    ...process.env,
    DATABASE_URL: process.env.DATABASE_URL || `sqlite://${dataDirectory}/waybill.db`,
    SANDBOX_DATABASE_URL: process.env.SANDBOX_DATABASE_URL || `sqlite://${dataDirectory}/sandbox.db`,
    RESTATE_BASE_DIR: process.env.RESTATE_BASE_DIR || held.join(","),
    RUST_LOG: process.env.RUST_LOG || "warn",
  },
});
if (ended.error) fail(`the gateway could not be started: ${ended.error.message}`);
process.exit(ended.status ?? 1);

function fail(sentence) {
  console.error(`${command}: ${sentence}`);
  process.exit(1);
}
