// What pip fetches, with every hash checked, into a folder of the cache.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Installs a file of requirements as the folder `home`, whole or not at all, unless it is there.
 *
 * @param options more of pip's, such as another Python's version
 */
export function installRequirements(requirements, home, ...options) {
  if (existsSync(home)) return;
  mkdirSync(dirname(home), { recursive: true });
  const folder = mkdtempSync(`${home}-`);
  try {
    const pip = [
      "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps",
      "--only-binary=:all:", "--require-hashes", "--requirement", requirements, "--target", folder, ...options,
    ];
    const { status, error } = spawnSync("python3", pip, { stdio: ["ignore", "inherit", "inherit"] });
    if (error || status !== 0) {
      throw new Error(`${requirements} could not be installed (${error?.message ?? `pip ended with code ${status}`}).`);
    }
    // Also when two runs meet.
    if (!existsSync(home)) renameSync(folder, home);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
