// A Docker daemon and a compose for the tests: this machine's, or, where that cannot pull images
// or is not there, a daemon of our own that leaves nothing behind.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { root } from "./binaries.mjs";
import { makeStandIns } from "./stand-ins.mjs";

const DAEMON_WITHIN_MS = 60_000;
const PULL_WITHIN_MS = 10 * 60_000;

// Who names an image: `${NAME_IMAGE:-image}`.
const NAMED_BY = {
  debian: "Dockerfile",
  python: "Dockerfile",
  rust: "Dockerfile",
  restate: "docker-compose.yml",
  proxy: "compose.cluster.yml",
  store: "compose.cluster.yml",
};

/** The images that the Dockerfile and the compose files name and that are not ours. */
export function baseImages() {
  const named = ([name, file]) => readFileSync(join(root, file), "utf8").match(new RegExp(`\\$\\{${name.toUpperCase()}_IMAGE:-([^}]+)\\}`))[1];
  return Object.fromEntries(Object.entries(NAMED_BY).map((entry) => [entry[0], named(entry)]));
}

/**
 * Answers `{environment, compose, standIns, stop()}`, where `compose` is the command as words, or
 * `{missing}`, a sentence about why there is none.
 */
export async function findDocker() {
  const images = baseImages();
  if (canReach(process.env) && findCompose() && pullAll(Object.values(images), process.env)) {
    return { environment: process.env, compose: findCompose(), standIns: [], stop: async () => {} };
  }
  if (process.platform !== "linux" || process.getuid() !== 0) {
    return { missing: "there is no Docker daemon here that has or pulls the base images, and only root on Linux can start one" };
  }
  installPackages();
  for (const program of ["docker", "dockerd", "mmdebstrap"]) {
    if (!has(program)) return { missing: `${program} is not installed (on Debian: apt-get install docker.io docker-compose mmdebstrap)` };
  }
  if (!findCompose()) return { missing: "Docker Compose is not installed" };
  const daemon = await startDaemon();
  if (daemon.missing) return daemon;
  try {
    // An imported image has a digest of its own: stand-ins go by tag, and build and compose are told so.
    const byTag = Object.fromEntries(Object.entries(images).map(([name, image]) => [name, image.split("@")[0]]));
    for (const name of Object.keys(byTag)) daemon.environment[`${name.toUpperCase()}_IMAGE`] = byTag[name];
    const standIns = await makeStandIns(byTag, daemon.environment);
    return { ...daemon, compose: findCompose(), standIns };
  } catch (error) {
    await daemon.stop();
    throw error;
  }
}

/** `docker compose` (2.x) or `docker-compose` (1.29). COMPOSE_BIN names another. */
function findCompose() {
  if (process.env.COMPOSE_BIN) return [process.env.COMPOSE_BIN];
  if (spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status === 0) return ["docker", "compose"];
  return has("docker-compose") ? ["docker-compose"] : null;
}

function installPackages() {
  const isComplete = has("docker") && has("dockerd") && has("mmdebstrap") && findCompose();
  if (isComplete || !existsSync("/etc/debian_version")) return;
  console.log("compose: installing docker.io, docker-compose and mmdebstrap (apt-get)");
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const args of [["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "docker.io", "docker-compose", "mmdebstrap"]]) {
    spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"], env: environment });
  }
}

function has(program) {
  return spawnSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" }).status === 0;
}

function canReach(environment) {
  return spawnSync("docker", ["info"], { stdio: "ignore", env: environment }).status === 0;
}

function pullAll(images, environment) {
  return images.every((image) =>
    spawnSync("docker", ["image", "inspect", image], { stdio: "ignore", env: environment }).status === 0 ||
    spawnSync("docker", ["pull", "--quiet", image], { stdio: "ignore", env: environment, timeout: PULL_WITHIN_MS }).status === 0);
}

/** Touches neither the firewall nor the routing of this machine, so its containers reach only each other. */
async function startDaemon() {
  const folder = mkdtempSync(join(tmpdir(), "waybill-docker-"));
  const logFile = join(folder, "dockerd.log");
  const host = `unix://${folder}/docker.sock`;
  const environment = { ...process.env, DOCKER_HOST: host, DOCKER_BUILDKIT: "0", COMPOSE_DOCKER_CLI_BUILD: "0" };
  const log = openSync(logFile, "w");
  const daemon = spawn("dockerd", [
    "--host", host, "--data-root", `${folder}/data`, "--exec-root", `${folder}/exec`, "--pidfile", `${folder}/pid`,
    "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--shutdown-timeout", "5",
  ], { stdio: ["ignore", log, log], detached: true });
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  let hasEnded = false;
  ended.then(() => (hasEnded = true));
  // Ends it, should we be killed.
  const watchdog = spawn("/bin/sh", [join(root, "crates", "tests", "src", "watchdog.sh"), "10"], { detached: true, stdio: ["pipe", "ignore", "inherit"] });
  watchdog.stdin.write(`+ ${daemon.pid}\n/ ${folder}\n`);

  const stop = async () => {
    daemon.kill("SIGTERM");
    await ended;
    watchdog.stdin.end(`- ${daemon.pid}\n`);
    // Some hundred thousand files: too many for rmSync.
    spawnSync("rm", ["--recursive", "--force", "--one-file-system", folder], { stdio: "ignore" });
  };
  const deadline = Date.now() + DAEMON_WITHIN_MS;
  while (!canReach(environment)) {
    if (hasEnded || Date.now() > deadline) {
      const last = readFileSync(logFile, "utf8").trim().split("\n").slice(-3).join(" | ");
      await stop();
      return { missing: `a Docker daemon cannot be started here: ${last}` };
    }
    await pause(200);
  }
  return { environment, stop };
}
