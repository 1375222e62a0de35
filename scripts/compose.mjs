// The project that the tests of the compose files start and ask, on free ports, with the daemon that
// docker.mjs finds.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { root } from "./binaries.mjs";
import { findDocker } from "./docker.mjs";
import { freePorts } from "./ports.mjs";

const PORTS = ["GATEWAY_PORT", "SANDBOX_PORT", "RESTATE_INGRESS_PORT", "RESTATE_ADMIN_PORT", "PROXY_PORT"];

// A default that a later file says otherwise is that file's: the cluster's own come first.
const composeFile = ["compose.cluster.yml", "docker-compose.yml", "compose.demo.yml", "compose.session.yml", "compose.observability.yml"].map((file) => readFileSync(join(root, file), "utf8")).join("\n");
/** Every setting of the compose files, with its default. */
export const settings = new Map([...composeFile.matchAll(/\$\{(\w+):-([^}]*)\}/g)].map(([, name, value]) => [name, value]));
export const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();

// Of the tests: set when there is a daemon.
export let docker;
export let environment;
export let shop;
export let sandbox;
let visit = (path, options) => fetch(`${shop}${path}`, options);

/** From now on the shop is asked by `other`, which is like `fetch` and takes a path. */
export function visitBy(other) {
  visit = other;
}

before(async () => {
  docker = await findDocker();
  if (docker.missing) {
    console.log(`compose: NOT tested: ${docker.missing}.`);
    return;
  }
  for (const [image, what] of docker.standIns) console.log(`compose: ${image} cannot be pulled here; a stand-in: ${what}.`);
  const project = `waybill-test-${process.pid}`;
  environment = { ...docker.environment, COMPOSE_PROJECT_NAME: project, WAYBILL_IMAGE: project, WAYBILL_COMMIT: commit };
  // A test machine's own settings must not leak in; those of the stand-ins must.
  const ours = new Set(["WAYBILL_IMAGE", "WAYBILL_COMMIT", "CARGO_PROFILE"]);
  for (const name of settings.keys()) if (!ours.has(name) && environment[name] === process.env[name]) delete environment[name];
  environment.CARGO_PROFILE ??= "dev";
  const ports = await freePorts(PORTS.length);
  for (const [index, name] of PORTS.entries()) environment[name] = String(ports[index]);
  shop = `http://127.0.0.1:${environment.GATEWAY_PORT}`;
  sandbox = `http://127.0.0.1:${environment.SANDBOX_PORT}`;
});

after(async () => {
  if (!docker || docker.missing) return;
  spawnSync(docker.compose[0], [...docker.compose.slice(1), "down", "--volumes", "--timeout", "3"], { cwd: root, env: environment, stdio: "ignore" });
  spawnSync("docker", ["rmi", "--force", environment.WAYBILL_IMAGE], { env: environment, stdio: "ignore" });
  await docker.stop();
});

/** A test that needs Docker: skipped, and counted as such, where there is none. */
export function composeTest(name, body) {
  test(name, async (t) => {
    if (docker.missing) t.skip(docker.missing);
    else await body(t);
  });
}

/** Runs a command of compose; variables that differ come last. */
export function compose(...words) {
  const changes = typeof words.at(-1) === "object" ? words.pop() : {};
  return spawnSync(docker.compose[0], [...docker.compose.slice(1), ...words], { cwd: root, env: { ...environment, ...changes }, encoding: "utf8", maxBuffer: 64 << 20 });
}

export function run(program, ...args) {
  const done = spawnSync(program, args, { env: environment, encoding: "utf8" });
  assert.equal(done.status, 0, `${program} ${args.join(" ")}\n${tail(done)}`);
  return { ...done, stdout: done.stdout.trim() };
}

/** Starts what is not running, all of it unless `words` say which; like those of `compose`. */
export function up(...words) {
  const done = compose("up", "-d", ...words);
  assert.equal(done.status, 0, tail(done));
}

/** The container's id, also when it has ended. */
export function container(service) {
  const label = (name, value) => ["--filter", `label=com.docker.compose.${name}=${value}`];
  return run("docker", "ps", "--all", "--quiet", "--latest", ...label("project", environment.COMPOSE_PROJECT_NAME), ...label("service", service)).stdout;
}

export function inspect(service) {
  return JSON.parse(run("docker", "inspect", container(service)).stdout)[0];
}

export function logs(service) {
  const { stdout, stderr } = run("docker", "logs", container(service));
  return `${stdout}\n${stderr}`;
}

export async function healthy(services) {
  for (const service of services) await eventually(() => inspect(service).State.Health.Status === "healthy", () => logs(service).slice(-2_000));
}

/** Alice puts the README's example into her cart and checks out. */
export async function checkout(id) {
  await send("/api/cart/add", { product_id: 1, quantity: 2 }, 200);
  await send("/api/cart/add", { product_id: 2, quantity: 1 }, 200);
  const placed = await send("/api/checkout", { order_id: id }, 202);
  const order = await eventually(async () => {
    const order = await (await visit(`/api/orders/${placed.order_id}`, { headers: { "x-user-id": "alice" } })).json();
    return order.payment?.awakeable_id && order.payment.pay_url && order;
  });
  return { ...order, total_cents: placed.total_cents };
}

export async function payPage(order, action) {
  const answer = await fetch(order.payment.pay_url, { method: "POST", body: new URLSearchParams({ action }), redirect: "manual" });
  assert.ok(answer.status < 400, `the payment page answered ${answer.status}`);
}

export async function approve(order) {
  await until(order, "awaiting_approval");
  await send(`/api/workflow/${order.order_id}/approve`, { approved: true }, 202, "admin");
}

export async function until(order, status) {
  let seen;
  await eventually(async () => {
    seen = await (await visit(`/api/orders/${order.order_id}`, { headers: { "x-user-id": "alice" } })).json();
    return seen.status === status;
  }, () => `${order.order_id} is not ${status}: ${JSON.stringify(seen)}`);
  return seen;
}

/** What the outside world did for an order, in order. */
export async function story(order) {
  const ledger = await (await fetch(`${sandbox}/ledger?order_id=${order.order_id}`)).json();
  return ledger.journal.map(({ kind }) => kind).join(" ");
}

/** How a container is held, and at which addresses of this machine it can be reached. */
export function mayDoLittle(service, addresses) {
  const { Config, HostConfig, NetworkSettings } = inspect(service);
  // Only the proxy is root, to listen at 443, and has nothing else of it.
  if (service !== "proxy") assert.match(Config.User, /^10001/, `${service} does not run as root`);
  assert.deepEqual(HostConfig.CapAdd ?? [], service === "proxy" ? ["NET_BIND_SERVICE"] : [], service);
  assert.equal(HostConfig.ReadonlyRootfs, true, service);
  assert.deepEqual(HostConfig.CapDrop, ["ALL"], service);
  assert.deepEqual(HostConfig.SecurityOpt, ["no-new-privileges:true"], service);
  assert.ok(HostConfig.Memory > 0, `${service} has a limit of memory`);
  assert.ok(HostConfig.PidsLimit > 0, `${service} has a limit of processes`);
  assert.ok(!HostConfig.Privileged, service);
  const published = Object.values(NetworkSettings.Ports).flatMap((bindings) => bindings ?? []);
  assert.deepEqual([...new Set(published.map(({ HostIp }) => HostIp))], addresses, service);
}

/** Of all orders: nothing was charged, given back or shipped twice; answers how many were paid. */
export async function nothingTwice() {
  const { payments, shipments } = await (await fetch(`${sandbox}/ledger`)).json();
  for (const { order_id: id, effects } of payments) {
    assert.ok(effects.authorize <= 1 && effects.capture <= 1 && effects.capture + effects.void + effects.refund <= 1, `${id}: ${JSON.stringify(effects)}`);
  }
  for (const { order_id: id, effects } of shipments) assert.ok(effects.book <= 1, `${id}: ${JSON.stringify(effects)}`);
  return payments.length;
}

/** `down -v` leaves nothing of the project. */
export function forget() {
  const down = compose("down", "--volumes");
  assert.equal(down.status, 0, tail(down));
  const mine = ["--quiet", "--filter", `label=com.docker.compose.project=${environment.COMPOSE_PROJECT_NAME}`];
  for (const kind of ["volume", "network"]) assert.equal(run("docker", kind, "ls", ...mine).stdout, "", kind);
  assert.equal(run("docker", "ps", "--all", ...mine).stdout, "");
}

export async function send(path, body, status, user = "alice") {
  const answer = await visit(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(user && { "x-user-id": user }) },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  assert.equal(answer.status, status, `${path}: ${text}`);
  return JSON.parse(text);
}

/** Asks again until the answer is truthy; a refused connection is an answer, too. */
export async function eventually(condition, explain = () => "", withinMs = 60_000) {
  const deadline = Date.now() + withinMs;
  for (;;) {
    let trouble = "";
    try {
      const answer = await condition();
      if (answer) return answer;
    } catch (error) {
      trouble = error.message;
    }
    if (Date.now() > deadline) assert.fail(`not in time: ${condition}\n${trouble}\n${explain()}`);
    await pause(200);
  }
}

export function seconds(since) {
  return ((Date.now() - since) / 1000).toFixed(1);
}

export function tail({ stdout, stderr }) {
  return `${stdout}\n${stderr}`.trim().split("\n").slice(-30).join("\n");
}
