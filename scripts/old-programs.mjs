// Programs of the last release: tests let orders begin there and finish beside today's. While nothing
// has been released, the services are those from before orders were made cheaper (other journals,
// other messages), and the gateway one that knows clusters. Built once, into the user's cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { root } from "./binaries.mjs";

const BEFORE_ANY_RELEASE = {
  services: "9964fb4f1117782f666e8290ea1e82f832e9ca64",
  gateway: "a610566f82aa9ce04c1cf594d516c058eab881f0",
};

/** The services, or nothing, with a sentence that says why. */
export const oldServices = () => old("services");

/** The same of the gateway. */
export const oldGateway = () => old("gateway");

function old(name) {
  const commit = lastRelease() ?? BEFORE_ANY_RELEASE[name];
  const short = commit.slice(0, 9);
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "waybill", `${name}-${short}`);
  const program = join(cache, name);
  if (existsSync(program)) return program;
  const without = (why) => console.log(`test: the ${name} of ${short} ${why}, so the change from it is not tested.`);
  const git = (...args) => spawnSync("git", args, { cwd: root, maxBuffer: 1 << 28 });
  if (git("cat-file", "-e", `${commit}^{commit}`).status !== 0) return without("is not in this clone's history");
  const archive = git("archive", commit, "Cargo.toml", "Cargo.lock", "crates", "migrations", "web");
  if (archive.status !== 0) return without("cannot be taken out of git");
  console.log(`test: building the ${name} of ${short}, once.`);
  const source = join(cache, "source");
  rmSync(source, { recursive: true, force: true });
  mkdirSync(source, { recursive: true });
  if (spawnSync("tar", ["-x", "-C", source], { input: archive.stdout }).status !== 0) return without("cannot be unpacked");
  const built = spawnSync("cargo", ["build", "--locked", "--package", `waybill-${name}`, "--bin", name], {
    cwd: source,
    env: { ...process.env, CARGO_TARGET_DIR: join(cache, "target"), CARGO_INCREMENTAL: "0" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (built.status !== 0) return without("cannot be built");
  renameSync(join(cache, "target", "debug", name), program);
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
