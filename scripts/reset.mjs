// `just reset`: forgets what the demo has kept.

import { rmSync } from "node:fs";
import { askRunningDemo, dataDirectory } from "./demo-lock.mjs";

const running = await askRunningDemo();
if (running !== null) {
  console.error(`reset: the demo is running (${running}); stop it with Ctrl-C first, then reset.`);
  process.exit(1);
}
rmSync(dataDirectory, { recursive: true, force: true });
console.log("reset: the demo's data is gone; \"just demo\" starts afresh.");
