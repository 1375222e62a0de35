// Where the programs are that the other scripts start: Restate's from npm, ours from cargo.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root; every script works from there. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The server itself. The wrapper in node_modules/.bin would survive as a parent without it. */
export const restateServer = () => npmBinary("restate-server");

/** The `restate` command line. */
export const restateCli = () => npmBinary("restate");

/** The `restatectl` command line, for whoever runs a cluster. */
export const restatectl = () => npmBinary("restatectl");

/** Tools and other things that are worth keeping when a clone is thrown away. */
export const cacheDirectory = join(
  process.env.XDG_CACHE_HOME || join(homedir(), ".cache"),
  "waybill",
);

/** The folder that holds our `services` and `gateway` after `cargo build`, or `--release`. */
export function cargoBinDirectory(profile = "debug") {
  const metadata = execFileSync(
    "cargo",
    ["metadata", "--no-deps", "--offline", "--format-version", "1"],
    { cwd: root, encoding: "utf8", maxBuffer: 64 << 20 },
  );
  return join(JSON.parse(metadata).target_directory, profile);
}

function npmBinary(name) {
  const folder = `${name}-${process.platform}-${process.arch}`;
  const path = join(root, "node_modules", "@restatedev", folder, "bin", name);
  if (existsSync(path)) return path;
  const known = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  if (known[`node_modules/@restatedev/${folder}`]) {
    throw new Error(`${name} is not installed: run "just setup".`);
  }
  throw new Error(
    `Restate has no ${name} for ${process.platform}-${process.arch}: Waybill runs on Linux and macOS, on x64 and arm64.`,
  );
}
