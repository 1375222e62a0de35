// One file out of a package of Debian, for tests that need it: installed, a package may start a
// server, and only root may install one.

import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/**
 * Puts the file of `name` whose path ends with `wanted` at `into`, whole or not at all. Nothing
 * happens where there is no Debian, or no package can be fetched: look whether it is there.
 */
export function fetchFromPackage(name, wanted, into) {
  if (!existsSync("/etc/debian_version")) return;
  console.log(`setup: fetching ${wanted.split("/").at(-1)} for the tests (Debian's package ${name})`);
  const folder = mkdtempSync(join(tmpdir(), `waybill-${name}-`));
  try {
    // Whoever is not root cannot, and may have lists that are new enough.
    run(folder, "apt-get", "update", "-qq");
    run(folder, "apt-get", "download", "-qq", name);
    const archive = readdirSync(folder).find((file) => file.endsWith(".deb"));
    if (!archive || !run(folder, "dpkg-deb", "--extract", archive, "package")) return;
    const found = readdirSync(join(folder, "package"), { recursive: true }).find((file) => file.endsWith(wanted));
    if (!found) return;
    mkdirSync(dirname(into), { recursive: true });
    const whole = `${into}-${process.pid}`;
    copyFileSync(join(folder, "package", found), whole);
    chmodSync(whole, 0o755);
    renameSync(whole, into);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function run(folder, program, ...args) {
  const options = { cwd: folder, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  return spawnSync(program, args, options).status === 0;
}
