// The services as they were before orders were made cheaper (journals and messages changed): a
// test lets orders begin there and finish beside today's. Built once, into the user's cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root } from "./binaries.mjs";

const COMMIT = "9964fb4f1117782f666e8290ea1e82f832e9ca64";

/** The program, or nothing, with a sentence that says why. */
export function oldServices() {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "waybill", `services-${COMMIT.slice(0, 9)}`);
  const program = join(cache, "services");
  if (existsSync(program)) return program;
  const without = (why) => console.log(`test: the services of ${COMMIT.slice(0, 9)} ${why}, so the change from them is not tested.`);
  const git = (...args) => spawnSync("git", args, { cwd: root, maxBuffer: 1 << 28 });
  if (git("cat-file", "-e", `${COMMIT}^{commit}`).status !== 0) return without("are not in this clone's history");
  const archive = git("archive", COMMIT, "Cargo.toml", "Cargo.lock", "crates", "migrations");
  if (archive.status !== 0) return without("cannot be taken out of git");
  console.log(`test: building the services of ${COMMIT.slice(0, 9)}, once.`);
  const source = join(cache, "source");
  rmSync(source, { recursive: true, force: true });
  mkdirSync(source, { recursive: true });
  if (spawnSync("tar", ["-x", "-C", source], { input: archive.stdout }).status !== 0) return without("cannot be unpacked");
  const built = spawnSync("cargo", ["build", "--locked", "--package", "waybill-services", "--bin", "services"], {
    cwd: source,
    env: { ...process.env, CARGO_TARGET_DIR: join(cache, "target"), CARGO_INCREMENTAL: "0" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (built.status !== 0) return without("cannot be built");
  renameSync(join(cache, "target", "debug", "services"), program);
  // What it was made from and with is not needed again.
  for (const folder of ["source", "target"]) rmSync(join(cache, folder), { recursive: true, force: true });
  return program;
}
