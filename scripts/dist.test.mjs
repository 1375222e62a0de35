// What `just dist` makes, unpacked elsewhere: it is whole, it runs as its units say, they may do
// little, and it says what it is made of.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { restateServer, root } from "./binaries.mjs";

const READY_WITHIN_MS = 60_000;
/** Of ten; what is asked of a shop's own units. */
const MOST_EXPOSED = 2.5;

const scratch = mkdtempSync(join(tmpdir(), "waybill-dist-"));
const started = [];
let archive;
let home;

before(() => {
  archive = dist(join(scratch, "out"));
  execFileSync("tar", ["-xzf", archive, "-C", scratch]);
  home = join(scratch, basename(archive, ".tar.gz"));
});

after(async () => {
  for (const child of started) child.kill("SIGTERM");
  await Promise.all(started.map((child) => child.exitCode ?? child.signalCode ?? new Promise((ended) => child.once("exit", ended))));
  rmSync(scratch, { recursive: true, force: true });
});

test("the archive is whole, and the same again", () => {
  execFileSync("sha256sum", ["--check", "--quiet", `${archive}.sha256`], { cwd: join(scratch, "out") });
  execFileSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: home });
  assert.deepEqual(readdirSync(home).sort(), ["CHANGELOG.md", "INSTALL.md", "LICENSE", "SECURITY.md", "SHA256SUMS", "bin", "etc", "migrations", "restate.toml", "sbom.cdx.json", "systemd", "web"]);
  assert.ok(existsSync(join(home, "web/static/vendor/datastar.LICENSE.txt")));
  assert.doesNotMatch(readFileSync(join(home, "INSTALL.md"), "utf8"), /@[A-Z]+@/);
  const again = dist(join(scratch, "again"));
  assert.ok(readFileSync(again).equals(readFileSync(archive)), "another archive of the same commit");
});

test("it runs as its units say, from an empty folder", async () => {
  const [restate, ingress, admin, gateway, services] = [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
  const secrets = join(scratch, "etc");
  for (const folder of ["restate", "shared", "gateway"]) mkdirSync(join(secrets, folder), { recursive: true, mode: 0o700 });
  execFileSync(join(home, "bin/services"), ["prepare", "--restate-data", join(secrets, "restate"), "--restate-keys", join(secrets, "restate"), "--shared", join(secrets, "shared"), "--gateway-secrets", join(secrets, "gateway")]);
  const here = { RESTATE_BIND_PORT: restate, RESTATE_INGRESS__BIND_PORT: ingress, RESTATE_ADMIN__BIND_PORT: admin };
  const ports = { RESTATE_ADMIN_URL: `http://127.0.0.1:${admin}`, RESTATE_INGRESS_URL: `http://127.0.0.1:${ingress}` };
  start("waybill-restate", "", here);
  start("waybill-services@", services, ports);
  const told = start("waybill-gateway", "", { ...ports, GATEWAY_LISTEN: `127.0.0.1:${gateway}`, SERVICES_UPDATES_URLS: `http://127.0.0.1:1${services}/updates` });

  const ask = (path) => curl(`http://127.0.0.1:${gateway}${path}`);
  const end = Date.now() + READY_WITHIN_MS;
  while (ask("/readyz").status !== 200) {
    assert.ok(Date.now() < end, `the gateway is not ready: ${logs()}`);
    await pause(300);
  }
  const page = ask("/login");
  assert.equal(page.status, 200);
  const [style] = page.body.match(/\/static\/[^"]*\.css[^"]*/);
  assert.equal(ask(style).status, 200, "the console's files are in the program");
  const program = join(home, "bin/gateway");
  const said = execFileSync(program, ["--version"], { encoding: "utf8" });
  assert.ok(said.includes(versionOfCargo()), said);
  const opened = execFileSync(program, ["init", "ada", "--email", "ada@shop.example", "--link"], { env: told, encoding: "utf8" });
  assert.match(opened, /ada is the shop's admin now/);
});

test("its units are right, and may do little", (t) => {
  const version = spawnSync("systemd-analyze", ["--version"], { encoding: "utf8" });
  if (version.error || Number(version.stdout.match(/^systemd (\d+)/)?.[1]) < 250) return t.skip("there is no systemd-analyze of 250 or newer");
  const units = join(scratch, "units");
  mkdirSync(units);
  for (const unit of unitFiles()) {
    const file = join(units, unit.replace("@.service", "@9080.service"));
    writeFileSync(file, readFileSync(join(home, "systemd", unit), "utf8").replace(/^ExecStart=\S+/m, "ExecStart=/bin/true"));
    const verified = spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    assert.equal(verified.stderr.split("\n").filter((line) => line.includes("waybill")).join("\n"), "", unit);
    const exposed = spawnSync("systemd-analyze", ["security", "--offline=yes", `--threshold=${MOST_EXPOSED * 10}`, "--no-pager", file], { encoding: "utf8" });
    const [level] = exposed.stdout.match(/Overall exposure level .*/) ?? [exposed.stderr];
    console.log(`dist: ${level.replace(/^Overall e/, "E")}`);
    assert.equal(exposed.status, 0, level);
  }
});

test("it says what it is made of", () => {
  const bom = JSON.parse(readFileSync(join(home, "sbom.cdx.json"), "utf8"));
  assert.equal(bom.bomFormat, "CycloneDX");
  const listed = new Set(bom.components.map(({ name, version }) => `${name} ${version}`));
  const tree = execFileSync("cargo", ["tree", "--locked", "--package", "waybill-gateway", "--edges", "normal", "--prefix", "none", "--format", "{p}"], { cwd: root, encoding: "utf8" });
  const used = new Set(tree.trim().split("\n").map((line) => line.match(/^(\S+) v(\S+)/)).map(([, name, version]) => `${name} ${version}`));
  used.delete(`waybill-gateway ${versionOfCargo()}`);
  assert.deepEqual([...used].filter((crate) => !listed.has(crate)), [], "each crate of the programs is listed");
  assert.ok([...listed].some((name) => name.startsWith("datastar 1.")), "so is the script of others");
  assert.doesNotMatch(JSON.stringify(bom), new RegExp(scratch), "no path of this machine");
});

test("a tag must say what the manifest says", () => {
  const clone = join(scratch, "clone");
  execFileSync("git", ["clone", "--quiet", "--depth=1", `file://${root}`, clone]);
  execFileSync("git", ["tag", "v9.9.9"], { cwd: clone });
  const refused = spawnSync(process.execPath, ["scripts/dist.mjs"], { cwd: clone, encoding: "utf8" });
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /the tag is v9\.9\.9 and Cargo\.toml says \d/);
});

/** Makes an archive in that folder. */
function dist(into) {
  execFileSync(process.execPath, [join(root, "scripts/dist.mjs"), "--profile", "dev", "--into", into], { stdio: ["ignore", "ignore", "inherit"] });
  return join(into, readdirSync(into).find((file) => file.endsWith(".tar.gz")));
}

function unitFiles() {
  return readdirSync(join(home, "systemd")).filter((file) => file.endsWith(".service"));
}

/** Starts what a unit starts, and answers what it is told; folders and credentials are below `scratch`. */
function start(unit, instance, own) {
  const text = readFileSync(join(home, "systemd", `${unit}.service`), "utf8");
  const credentials = join(scratch, `credentials-${unit}`);
  mkdirSync(credentials);
  for (const [, name, file] of text.matchAll(/^LoadCredential=(\S+?):\/etc\/waybill\/(\S+)$/gm)) cpSync(join(scratch, "etc", file), join(credentials, name));
  const state = join(scratch, "state");
  for (const [, folder] of text.matchAll(/^StateDirectory=(\S+)$/gm)) mkdirSync(join(state, folder), { recursive: true });
  const meant = (value) => value.replaceAll("%d", credentials).replaceAll("%S", state).replaceAll("%i", instance).replaceAll("/var/lib", state);
  const variables = Object.fromEntries([...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, name, value]) => [name, meant(value)]));
  for (const [, file] of text.matchAll(/^EnvironmentFile=-?\/etc\/waybill\/(\S+)$/gm)) {
    const path = join(home, "etc", file);
    if (!existsSync(path)) continue;
    for (const [, name, value] of readFileSync(path, "utf8").matchAll(/^(\w+)=(.*)$/gm)) variables[name] = meant(value);
  }
  const [, command] = text.match(/^ExecStart=(.*)$/m);
  const [program, ...words] = command.split(" ").map((word) => meant(word).replace(/^\/opt\/waybill(-\d+)?(?=\/)/, home));
  const log = openSync(join(scratch, `${unit}.log`), "w");
  const env = { PATH: process.env.PATH, WAYBILL_TEST_RUN: process.env.WAYBILL_TEST_RUN ?? "", ...variables, ...own };
  const cwd = mkdtempSync(join(scratch, "empty-"));
  started.push(spawn(program.endsWith("restate-server") ? restateServer() : program, words, { cwd, env, stdio: ["ignore", log, log] }));
  closeSync(log);
  return env;
}

function logs() {
  return readdirSync(scratch).filter((file) => file.endsWith(".log")).map((file) => `---- ${file}\n${readFileSync(join(scratch, file), "utf8").slice(-3_000)}`).join("\n");
}

/** As whoever comes through the proxy. */
function curl(url) {
  const { stdout } = spawnSync("curl", ["--silent", "--max-time", "5", "--header", "Host: shop.example", "--write-out", "\n%{http_code}", url], { encoding: "utf8" });
  const at = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) };
}

function versionOfCargo() {
  return readFileSync(join(root, "Cargo.toml"), "utf8").match(/^version = "(.+)"$/m)[1];
}

/** With four digits, and free with a 1 before them, too: the services have both. */
async function freePort() {
  for (let tries = 0; tries < 1_000; tries++) {
    const port = 2_000 + Math.floor(Math.random() * 7_000);
    if ((await isFree(port)) && (await isFree(10_000 + port))) return String(port);
  }
  throw new Error("there is no free port");
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
