// Runs a program and ends it when the standard input ends: with whoever has started this.

import { spawn } from "node:child_process";

const [program, ...args] = process.argv.slice(2);
const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit"] });
child.on("exit", (code) => process.exit(code ?? 1));
process.stdin.resume().on("end", () => child.kill("SIGKILL"));
