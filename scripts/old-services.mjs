// The services of the last release: a test lets orders begin there and finish beside today's. While
// nothing has been released, they are those from before orders were made cheaper (other journals,
// other messages). Built once, into the user's cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root } from "./binaries.mjs";

const BEFORE_ANY_RELEASE = "9964fb4f1117782f666e8290ea1e82f832e9ca64";

/** The program, or nothing, with a sentence that says why. */
export function oldServices() {
  const commit = lastRelease() ?? BEFORE_ANY_RELEASE;
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "waybill", `services-${commit.slice(0, 9)}`);
  const program = join(cache, "services");
  if (existsSync(program)) return program;
  const without = (why) => console.log(`test: the services of ${commit.slice(0, 9)} ${why}, so the change from them is not tested.`);
  const git = (...args) => spawnSync("git", args, { cwd: root, maxBuffer: 1 << 28 });
  if (git("cat-file", "-e", `${commit}^{commit}`).status !== 0) return without("are not in this clone's history");
  const archive = git("archive", commit, "Cargo.toml", "Cargo.lock", "crates", "migrations");
  if (archive.status !== 0) return without("cannot be taken out of git");
  console.log(`test: building the services of ${commit.slice(0, 9)}, once.`);
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

/** The commit of the newest tag before this commit, or nothing. */
function lastRelease() {
  const { status, stdout } = spawnSync("git", ["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^"], { cwd: root, encoding: "utf8" });
  if (status !== 0) return null;
  return spawnSync("git", ["rev-list", "-n", "1", stdout.trim()], { cwd: root, encoding: "utf8" }).stdout.trim();
}
