// Programs that help cargo, each fetched once, at one version, into the cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "./binaries.mjs";

/** The program's path, after `install(folder)` has put it into `folder`/bin if it was missing. */
export function tool(name, version, install) {
  const home = join(cacheDirectory, "tools", `${name}-${version}`);
  const program = join(home, "bin", name);
  if (existsSync(program)) return program;
  console.log(`fetching ${name} ${version}, once`);
  mkdirSync(join(cacheDirectory, "tools"), { recursive: true });
  const folder = mkdtempSync(`${home}-`);
  try {
    install(folder);
    // Whole or not at all, also when two runs meet.
    if (!existsSync(home)) renameSync(folder, home);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return program;
}

/** From crates.io, with the versions of its own lock file. */
export function compile(name, version, folder) {
  const build = join(folder, "build");
  must("cargo", ["install", "--quiet", "--locked", "--debug", "--root", folder, `${name}@${version}`], { CARGO_TARGET_DIR: build });
  rmSync(build, { recursive: true, force: true });
}

/** Runs a program; an error says which and why. */
export function must(program, args, environment = {}) {
  const { status, error } = spawnSync(program, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
  });
  if (error || status !== 0) throw new Error(`"${program} ${args.join(" ")}" failed (${error?.message ?? `exit code ${status}`}).`);
}
