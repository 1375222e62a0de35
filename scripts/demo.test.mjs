// The real demo, on free ports and a temporary folder: `just test` runs this after the build.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { root } from "./binaries.mjs";
import { freePorts } from "./ports.mjs";

const LISTENS = ["GATEWAY_LISTEN", "SANDBOX_LISTEN", "SERVICES_LISTEN", "SERVICES_OPS_LISTEN"];
const RESTATE_PORTS = ["RESTATE_INGRESS__BIND_PORT", "RESTATE_ADMIN__BIND_PORT", "RESTATE_BIND_PORT"];

let folder;
let ports;
let environment;

before(() => (folder = mkdtempSync(join(tmpdir(), "waybill-demo-"))));
after(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  ports = await freePorts(LISTENS.length + RESTATE_PORTS.length);
  environment = { ...process.env, WAYBILL_DATA_DIR: folder };
  for (const [index, name] of LISTENS.entries()) environment[name] = `127.0.0.1:${ports[index]}`;
  for (const [index, name] of RESTATE_PORTS.entries()) environment[name] = String(ports[LISTENS.length + index]);
});

test("it starts once, outlives a crash of the services, and stops whole", async (t) => {
  const demo = startDemo(t);
  await demo.says("Waybill is running.");

  const second = script("demo.mjs");
  assert.match(second.stderr, /already running/);
  assert.equal(second.status, 1);
  const reset = script("reset.mjs");
  assert.match(reset.stderr, /the demo is running/);
  assert.equal(reset.status, 1);

  const url = `http://${environment.SERVICES_OPS_LISTEN}/crash`;
  assert.equal((await fetch(url, { method: "POST" })).status, 401);
  const authorization = `Bearer ${readFileSync(join(folder, "internal-token"), "utf8")}`;
  const crash = await fetch(url, { method: "POST", headers: { authorization } }).catch(() => null);
  assert.ok(crash === null || crash.ok, `the services refused to crash: ${crash?.status}`);
  await demo.says("starting it again");
  await eventually(() => answers(`http://${environment.SERVICES_OPS_LISTEN}/healthz`));

  demo.process.kill("SIGINT");
  assert.equal(await demo.exit, 0);
  assert.deepEqual(await portsInUse(), []);
});

test("killed, it leaves no process behind", async (t) => {
  const demo = startDemo(t);
  await demo.says("Waybill is running.");
  assert.equal((await portsInUse()).length, ports.length);
  demo.process.kill("SIGKILL");
  await eventually(async () => (await portsInUse()).length === 0);
});

test("a taken port is named before anything is started", async (t) => {
  const [port] = ports;
  const stranger = createServer().listen(port, "127.0.0.1");
  t.after(() => stranger.close());
  const demo = startDemo(t);
  assert.equal(await demo.exit, 1);
  assert.match(demo.printed(), new RegExp(`port ${port} is taken; set GATEWAY_LISTEN=127\\.0\\.0\\.1:\\d+`));
  assert.deepEqual(await portsInUse(), [port]);
});

test("a backup of the stopped demo is restored after a reset, and its order is there", async (t) => {
  const backup = join(folder, "..", `waybill-demo-${process.pid}.tar`);
  t.after(() => rmSync(backup, { force: true }));
  const demo = startDemo(t);
  await demo.says("Waybill is running.");
  const asAlice = { "x-user-id": "alice", "content-type": "application/json" };
  const ask = async (path, body) => (await fetch(`http://${environment.GATEWAY_LISTEN}${path}`, { method: "POST", headers: asAlice, body: JSON.stringify(body) })).json();
  await ask("/api/cart/add", { product_id: 1, quantity: 1 });
  assert.equal((await ask("/api/checkout", { order_id: "kept" })).status, "awaiting_payment");
  const early = script("backup.mjs", "backup", backup);
  assert.match(early.stderr, /the demo is running .*stop it with Ctrl-C first/);
  demo.process.kill("SIGINT");
  assert.equal(await demo.exit, 0);

  const made = script("backup.mjs", "backup", backup);
  assert.equal(made.status, 0, made.stderr);
  assert.match(made.stderr, /node waybill of cluster waybill[^]*1 secret\n/);
  assert.match(script("backup.mjs", "restore", backup).stderr, /holds something already/);
  assert.match(script("backup.mjs", "restore").stderr, /say which file/);
  assert.equal(script("backup.mjs", "restore", backup, "--check").status, 0);
  assert.equal(script("reset.mjs").status, 0);
  const restored = script("backup.mjs", "restore", backup);
  assert.equal(restored.status, 0, restored.stderr);
  const again = startDemo(t);
  await again.says("Waybill is running.");
  const order = await (await fetch(`http://${environment.GATEWAY_LISTEN}/api/orders/kept`, { headers: asAlice })).json();
  assert.equal(order.status, "awaiting_payment");
  again.process.kill("SIGINT");
  assert.equal(await again.exit, 0);
});

test("reset forgets the data", () => {
  assert.ok(existsSync(join(folder, "waybill.db")));
  assert.equal(script("reset.mjs").status, 0);
  assert.ok(!existsSync(folder));
});

/** Ends with its test, however that ends. */
function startDemo(t) {
  const child = spawn(process.execPath, ["scripts/demo.mjs"], { cwd: root, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (printed += text));
  const exit = new Promise((resolve) => child.once("close", resolve));
  const itsPorts = ports;
  t.after(async () => {
    child.kill("SIGKILL");
    await eventually(async () => (await inUse(itsPorts)).length === 0);
  });
  let hasEnded = false;
  exit.then(() => (hasEnded = true));
  return {
    process: child,
    exit,
    printed: () => printed,
    says: (text) => eventually(() => {
      assert.ok(printed.includes(text) || !hasEnded, `the demo ended without saying "${text}":\n${printed}`);
      return printed.includes(text);
    }, () => printed),
  };
}

function script(name, ...words) {
  return spawnSync(process.execPath, [join("scripts", name), ...words], { cwd: root, env: environment, encoding: "utf8" });
}

async function eventually(condition, explain = () => "") {
  const deadline = Date.now() + 90_000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not in time: ${condition}\n${explain()}`);
    await pause(100);
  }
}

async function answers(url) {
  const answer = await fetch(url).catch(() => null);
  return answer?.ok ?? false;
}

const portsInUse = () => inUse(ports);

async function inUse(ports) {
  const isOpen = (port) => new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
      .on("connect", () => resolve(true) ?? socket.destroy())
      .on("error", () => resolve(false));
  });
  const open = await Promise.all(ports.map(isOpen));
  return ports.filter((_, index) => open[index]);
}
