// `just bench`: runs crates/tests/tests/it/pipeline.rs against the release build and the real
// Restate server. Arguments go to the benchmark.

import { spawnSync } from "node:child_process";
import { cargoBinDirectory, restateCli, restateServer, root } from "./binaries.mjs";

const { status } = spawnSync(
  "cargo",
  ["bench", "--locked", "--package", "waybill-tests", "--bench", "pipeline", "--", ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: "inherit",
    env: {
      ...process.env,
      RESTATE_SERVER_BIN: restateServer(),
      RESTATE_CLI_BIN: restateCli(),
      WAYBILL_BIN_DIR: cargoBinDirectory("release"),
    },
  },
);
process.exit(status ?? 1);
