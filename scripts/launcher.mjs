// Starts crates/tests' launcher, which starts Restate, the services, the outside world and the
// gateway, keeps them running, and ends them when this process is gone.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cargoBinDirectory, root } from "./binaries.mjs";

/** Where our binaries are: in WAYBILL_BIN_DIR, or where cargo has put them. */
export const binDirectory = () => process.env.WAYBILL_BIN_DIR || cargoBinDirectory();

/** The launcher's path. */
export function launcherBinary() {
  const path = join(binDirectory(), "launcher");
  if (!existsSync(path)) throw new Error(`${path} is not built: run "cargo build --bins" first, as "just demo" does.`);
  return path;
}

/**
 * @param mode such as "world" or "demo", as crates/tests/src/bin/launcher has them
 * @param onEvent is told each event, an object
 * @returns `{process, tell(command), end()}`: `end` asks for the end of everything and waits for it
 */
export function launch(mode, onEvent) {
  const child = spawn(launcherBinary(), [mode], {
    cwd: root,
    // A Ctrl-C in the terminal is for us; the launcher ends when we close its standard input.
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.on("error", () => {}); // it has ended, which we hear in another way
  createInterface({ input: child.stdout }).on("line", (line) => onEvent(JSON.parse(line)));
  const ended = new Promise((resolve) => child.once("close", resolve));
  return {
    process: child,
    ended,
    tell: (command) => child.stdin.write(`${JSON.stringify(command)}\n`),
    end: () => {
      child.stdin.end();
      return ended;
    },
  };
}
