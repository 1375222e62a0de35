// The real docker-compose.yml under a real Docker daemon: `just compose-test`.
//
// One project, on free ports, through its life: built, started from nothing, ordered from, killed,
// stopped and started, misconfigured, and forgotten; then as a cluster (compose-cluster.mjs). The
// tests build upon each other.
//
// CARGO_PROFILE=release COMPOSE_ORDERS=200 just compose-test also places so many orders and prints
// the peak memory of each container: that is what the limits in docker-compose.yml are made from.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { restateCli, root } from "./binaries.mjs";
import { CLUSTER, testCluster } from "./compose-cluster.mjs";
import {
  approve, checkout, commit, compose, composeTest, container, docker, environment, eventually, forget, healthy, inspect, logs, mayDoLittle,
  nothingTwice, payPage, run, sandbox, seconds, send, settings, shop, story, tail, until, up,
} from "./compose.mjs";
import { baseImages } from "./docker.mjs";

const READY_WITHIN_MS = 30_000;
const IMAGE_LIMIT_BYTES = 80e6;
const LONG_RUNNING = ["restate", "services", "sandbox", "gateway"];
// Grows PUBLIC_URL when the ports are known.
const SESSION = { AUTH_MODE: "session" };
// What each file beside the demo's and session mode's adds.
const ADDED = { "compose.cluster.yml": CLUSTER, "compose.observability.yml": ["prometheus", "grafana", "jaeger"] };

let webhookSecret;

test(".env shows every setting of the compose file, with its default", () => {
  const shown = new Map([...readFileSync(join(root, ".env"), "utf8").matchAll(/^#?(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
  assert.equal(shown.get("COMPOSE_FILE"), "docker-compose.yml:compose.${AUTH_MODE:-demo}.yml");
  for (const name of ["COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR"]) shown.delete(name);
  assert.deepEqual([...shown].sort(), [...settings].sort());
});

test("Restate's image has the version of the npm set-up", () => {
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  assert.equal(baseImages().restate.split("@")[0].split(":").at(-1), devDependencies["@restatedev/restate-server"]);
});

composeTest("the compose file is clean", () => {
  const { stdout, stderr } = compose("config");
  assert.equal(stderr, "");
  for (const service of ["prepare", ...LONG_RUNNING]) assert.match(stdout, new RegExp(`^  ${service}:$`, "m"));
});

composeTest("every combination of the compose files is clean", () => {
  const added = readdirSync(root).filter((file) => /^compose\.\w+\.yml$/.test(file) && !/demo|session/.test(file));
  const combinations = added.reduce((all, file) => all.flatMap((files) => [files, [...files, file]]), [[]]);
  assert.deepEqual(added.sort(), Object.keys(ADDED));
  for (const mode of ["demo", "session"]) {
    for (const files of combinations) {
      const COMPOSE_FILE = ["docker-compose.yml", `compose.${mode}.yml`, ...files].join(":");
      const { status, stdout, stderr } = compose("config", { COMPOSE_FILE, AUTH_MODE: mode });
      assert.deepEqual({ status, stderr }, { status: 0, stderr: "" }, COMPOSE_FILE);
      for (const service of files.flatMap((file) => ADDED[file])) assert.match(stdout, new RegExp(`^  ${service}:$`, "m"), COMPOSE_FILE);
    }
  }
});

// Compose 2 refuses what compose 1 overlooks.
test("no compose file says the same thing twice", () => {
  for (const file of readdirSync(root).filter((file) => /compose.*\.yml$/.test(file))) {
    const open = [];
    for (const line of readFileSync(join(root, file), "utf8").split("\n")) {
      const [, indent, key] = line.match(/^( *)([\w.-]+|<<):(?: |$)/) ?? [];
      if (key === undefined) continue;
      while (open.length && open.at(-1).indent > indent.length) open.pop();
      if (open.at(-1)?.indent !== indent.length) open.push({ indent: indent.length, keys: new Set() });
      const { keys } = open.at(-1);
      assert.ok(!keys.has(key), `${file} has ${key} twice in one place: ${line.trim()}`);
      keys.add(key);
    }
  }
});

// What both copies are told is written twice: compose files cannot share it.
test("a second copy is told what the first is, but for what is its own", () => {
  const cluster = readFileSync(join(root, "compose.cluster.yml"), "utf8");
  const told = (file, service) => {
    const [, block] = file.match(new RegExp(`^  ${service}:\\n([\\s\\S]*?)(?=^  [\\w-]+:$|^\\S|(?![\\s\\S]))`, "m"));
    const [, variables] = block.match(/^    environment:.*\n((?:      .*\n)*)/m);
    return new Map([...variables.matchAll(/^      (\w+): (.*)$/gm)].map(([, name, value]) => [name, value]));
  };
  const first = readFileSync(join(root, "docker-compose.yml"), "utf8");
  for (const [service, own] of [["services", ["SERVICES_URL", "RESTATE_ADMIN_URL"]], ["gateway", ["RESTATE_INGRESS_URL", "RESTATE_ADMIN_URL"]]]) {
    const wanted = new Map([...told(first, service), ...told(cluster, service)]);
    const second = told(cluster, `${service}-2`);
    for (const name of own) wanted.delete(name), second.delete(name);
    assert.deepEqual([...second].sort(), [...wanted].sort(), service);
  }
});

composeTest("one small image holds both programs and says what it is", () => {
  const started = Date.now();
  const build = compose("build");
  assert.equal(build.status, 0, tail(build));
  console.log(`compose: the image is built in ${seconds(started)} s`);
  const size = (image) => Number(run("docker", "image", "inspect", "--format", "{{.Size}}", image).stdout);
  const ours = size(environment.WAYBILL_IMAGE) - size(environment.DEBIAN_IMAGE ?? baseImages().debian);
  console.log(`compose: the image is ${Math.round(ours / 1e6)} MB larger than its base (profile ${environment.CARGO_PROFILE})`);
  if (environment.CARGO_PROFILE === "release") assert.ok(ours < IMAGE_LIMIT_BYTES, `${ours} bytes`);
  for (const program of ["services", "gateway"]) {
    assert.match(inImage(program, "--version"), new RegExp(`^${program} \\d+\\.\\d+\\.\\d+ \\(${commit}\\)`));
  }
  const inside = inImage("sh", "-c", "find /secrets /gateway-secrets /services-secrets /restate-keys /restate-data /data -mindepth 1; find / -xdev -name '*.pem' -size +0 -not -path '/usr/share/*' 2>/dev/null; true");
  assert.equal(inside, "", "no secret and no data is in the image");
});

composeTest("from empty volumes it is ready within 30 seconds", async () => {
  const started = Date.now();
  up();
  await eventually(async () => (await fetch(`${shop}/readyz`)).ok);
  await healthy(LONG_RUNNING);
  const took = Date.now() - started;
  console.log(`compose: ready ${seconds(started)} s after \`up\``);
  assert.ok(took < READY_WITHIN_MS, `${took} ms`);
});

composeTest("the containers may do little, and only the gateway can be reached from elsewhere", async () => {
  for (const service of ["prepare", ...LONG_RUNNING]) {
    mayDoLittle(service, { prepare: [], services: [] }[service] ?? ["127.0.0.1"]);
  }
  const opened = compose("config", { GATEWAY_ADDRESS: "0.0.0.0" }).stdout;
  assert.equal(opened.match(/0\.0\.0\.0:\d+:|host_ip: 0\.0\.0\.0/g).length, 1, "GATEWAY_ADDRESS opens the gateway alone");
});

composeTest("the services serve none but this Restate", () => {
  const { stdout } = run("docker", "exec", container("restate"), "curl", "--silent", "--max-time", "5", "--http2-prior-knowledge",
    "--output", "/dev/null", "--write-out", "%{http_code}", "--request", "POST", "--header", "content-type: application/vnd.restate.invocation.v5",
    "http://services:9080/invoke/Inventory/Available");
  assert.equal(stdout, "401");
  assert.match(logs("restate"), /publickeyv1_/);
});

composeTest("scenario 1: an order is paid, approved, shipped and delivered", async () => {
  const order = await checkout("happy");
  assert.equal(order.total_cents, 12_500);
  // As in the README: the provider's callback by hand.
  await send("/api/payment/callback", { awakeable_id: order.payment.awakeable_id, transaction_id: "txn-happy", amount: 12_500, status: "success" }, 200, null);
  await approve(order);
  await until(order, "delivered");
  // The provider hears of a hand-made payment when it is captured.
  assert.equal(await story(order), "book authorize capture");
});

composeTest("an awakeable is resolved at Restate itself", async () => {
  const order = await checkout("direct");
  const answer = await fetch(`http://127.0.0.1:${environment.RESTATE_INGRESS_PORT}/restate/awakeables/${order.payment.awakeable_id}/resolve`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ transaction_id: "txn-direct", amount: order.total_cents, status: "success" }),
  });
  assert.equal(answer.status, 202);
  await approve(order);
  await until(order, "delivered");
});

composeTest("Restate's command line works against it, from its container and from here", () => {
  const admin = `http://127.0.0.1:${environment.RESTATE_ADMIN_PORT}`;
  const inside = compose("exec", "-T", "restate", "restate", "services", "list");
  const here = spawnSync(restateCli(), ["services", "list"], { env: { ...process.env, RESTATE_ADMIN_URL: admin }, encoding: "utf8" });
  for (const { stdout, stderr } of [inside, here]) {
    for (const service of ["UserSession", "OrderFulfillmentWorkflow", "ShippingService", "PaymentService", "Inventory"]) {
      assert.ok(stdout.includes(service), `${service} is not in\n${stdout}\n${stderr}`);
    }
  }
  const state = compose("exec", "-T", "restate", "restate", "kv", "get", "OrderFulfillmentWorkflow", "alice.happy");
  assert.match(state.stdout, /delivered/, state.stderr);
});

composeTest("scenario 2: a declined payment ends the order", async () => {
  const order = await checkout("declined");
  await payPage(order, "decline");
  await until(order, "payment_failed");
  assert.equal(await story(order), "decline");
});

composeTest("scenario 4: a shipment that is refused gives the money back", async () => {
  const order = await checkout("FAIL_SHIP");
  await payPage(order, "pay");
  await approve(order);
  await until(order, "shipping_failed");
  assert.equal(await story(order), "authorize void");
});

// Each is killed at another moment of an order, as hard as a process can be.
const DEATHS = {
  sandbox: { when: "the order waits for payment", steps: ["kill", "pay", "approve"] },
  restate: { when: "the order waits for approval", steps: ["pay", "kill", "approve"] },
  gateway: { when: "the parcel is being shipped", steps: ["pay", "approve", "kill"] },
  services: { when: "the parcel is being shipped", steps: ["pay", "approve", "kill"] },
};

for (const [service, { when, steps }] of Object.entries(DEATHS)) {
  composeTest(`${service} is killed while ${when}`, async () => {
    const order = await checkout(`${service}-dies`);
    let killedAt;
    for (const step of steps) {
      if (step === "pay") {
        await payPage(order, "pay");
        await until(order, "awaiting_approval");
      }
      if (step === "approve") await approve(order);
      if (step === "kill") killedAt = await kill(service);
    }
    const { events } = await until(order, "delivered");
    assert.ok(Date.parse(events.at(-1).at) > killedAt, `${JSON.stringify(events.at(-1))} came before ${new Date(killedAt).toISOString()}`);
    assert.equal(await story(order), "authorize book capture");
  });
}

if (process.env.COMPOSE_ORDERS) {
  composeTest(`${process.env.COMPOSE_ORDERS} orders need no more memory than there is`, async () => {
    const orders = Number(process.env.COMPOSE_ORDERS);
    // Counted from the start of a process.
    assert.equal(compose("restart", ...LONG_RUNNING).status, 0);
    await healthy(LONG_RUNNING);
    const started = Date.now();
    const largest = await placeOrders(orders);
    console.log(`compose: ${orders} orders were delivered in ${seconds(started)} s`);
    for (const service of LONG_RUNNING) {
      const peak = run("docker", "exec", container(service), "sh", "-c", "cat /sys/fs/cgroup/memory.peak 2>/dev/null || cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes").stdout;
      console.log(`compose: ${service} used at most ${largest[service]} MiB (docker stats), ${mebibytes(peak)} MiB with the file cache; its limit is ${mebibytes(inspect(service).HostConfig.Memory)} MiB`);
    }
  });
}

composeTest("down and up keep an order that waits for approval", async () => {
  const order = await checkout("waits");
  await payPage(order, "pay");
  await until(order, "awaiting_approval");
  const down = compose("down");
  assert.equal(down.status, 0, tail(down));
  const started = Date.now();
  up();
  await healthy(LONG_RUNNING);
  console.log(`compose: ready again ${seconds(started)} s after \`down\` and \`up\``);
  await approve(order);
  await until(order, "delivered");
  assert.equal(await story(order), "authorize book capture");
});

// docs/operate.md, "Backup and restore".
composeTest("a backup of a running shop is restored into empty volumes, and its order goes on", async () => {
  const order = await checkout("backed-up");
  await payPage(order, "pay");
  await until(order, "awaiting_approval");
  const backup = (words, input) =>
    spawnSync(docker.compose[0], [...docker.compose.slice(1), "run", "--rm", "-T", "backup", ...words], { cwd: root, env: environment, input, maxBuffer: 1 << 30 });
  const early = backup([]);
  assert.equal(early.status, 1);
  assert.match(early.stderr.toString(), /Restate runs on .*: stop it/);
  assert.equal(compose("stop", "restate").status, 0);
  const made = backup([]);
  assert.equal(made.status, 0, made.stderr.toString());
  console.log(`compose: a backup of ${mebibytes(made.stdout.length)} MiB`);
  assert.match(made.stderr.toString(), /5 secrets/);
  assert.equal(compose("start", "restate").status, 0);
  const down = compose("down", "--volumes");
  assert.equal(down.status, 0, tail(down));
  // Half of it is as good as nothing, and changes nothing.
  const half = backup(["gateway", "restore", "-"], made.stdout.subarray(0, made.stdout.length / 2));
  assert.match(half.stderr.toString(), /no whole backup/);
  const restored = backup(["gateway", "restore", "-"], made.stdout);
  assert.equal(restored.status, 0, restored.stderr.toString());
  up();
  await healthy(LONG_RUNNING);
  const over = backup(["gateway", "restore", "-"], made.stdout);
  assert.match(over.stderr.toString(), /holds something already/);
  await approve(order);
  await until(order, "delivered");
  assert.equal(await story(order), "authorize book capture");
});

composeTest("a wrong URL ends the services with one sentence, and the gateway says whom it misses", async () => {
  start("services", { PAYMENT_PROVIDER_URL: "nonsense" });
  const said = await lastWords("services");
  assert.match(said, /^services: PAYMENT_PROVIDER_URL is 'nonsense': .*$/);
  await eventually(() => /WARN.*not listening to the services.*http:\/\/services:9081\/updates/.test(logs("gateway")));
});

composeTest("a weak secret ends the gateway with one sentence, which does not show it", async () => {
  start("gateway", { AUTH_MODE: "session", SESSION_KEY: "0123456789abcdef0123456789abcdef" });
  assert.match(await lastWords("gateway"), /^gateway: SESSION_KEY holds a well-known example, (?!.*0123456789).*$/);
});

composeTest("a demo that is opened to the network ends with one sentence", async () => {
  start("gateway", { GATEWAY_ADDRESS: "0.0.0.0" });
  assert.match(await lastWords("gateway"), /^gateway: AUTH_MODE=demo .*GATEWAY_ADDRESS.*DEMO_ON_NETWORK=yes.*$/);
});

composeTest("what the demo has left is not let into session mode", async () => {
  start("gateway", SESSION);
  assert.match(await lastWords("gateway"), /gateway: alice, bob and admin have the demo's password, .*$/);
});

composeTest("a volume that cannot be written ends its container with one sentence", async () => {
  for (const [service, volume, variable] of [["gateway", "gateway-data", "DATABASE_URL"], ["sandbox", "sandbox-data", "SANDBOX_DATABASE_URL"]]) {
    own(volume, "0:0");
    start(service);
    assert.match(await lastWords(service), new RegExp(`^gateway: ${variable} is 'sqlite:.* cannot be written .*$`));
    own(volume, "10001:10001");
  }
  own("restate-data", "0:0");
  start("prepare");
  assert.match(await lastWords("prepare"), /^services: the folder \/restate-data cannot be written .*$/);
  own("restate-data", "10001:10001");
});

composeTest("without Restate, the services and the gateway say that they wait for it", async () => {
  assert.equal(compose("stop", "restate", "services", "gateway").status, 0);
  start("services");
  await eventually(() => /WARN.*waiting for Restate.*http:\/\/restate:9070/.test(logs("services")));
  start("gateway");
  await eventually(async () => {
    const answer = await fetch(`${shop}/readyz`);
    return answer.status === 503 && /restate:8081.* does not answer/.test((await answer.json()).restate);
  });
  await eventually(() => JSON.stringify(inspect("services").State.Health.Log).includes("not registered with Restate"));
});

composeTest("put right, it goes on", async () => {
  up();
  await healthy(LONG_RUNNING);
  const order = await checkout("afterwards");
  await payPage(order, "pay");
  await approve(order);
  await until(order, "delivered");
});

composeTest("the ledger charged and shipped nothing twice, and no container ran out of memory", async () => {
  const paid = await nothingTwice();
  assert.ok(paid >= 10, `${paid} payments`);
  for (const service of LONG_RUNNING) assert.equal(inspect(service).State.OOMKilled, false, service);
});

composeTest("down -v forgets everything", forget);

composeTest("session mode starts from nothing, with secrets by file and no demo data", async () => {
  SESSION.PUBLIC_URL = shop;
  up(SESSION);
  await healthy(LONG_RUNNING);
  const published = (service) => Object.values(inspect(service).NetworkSettings.Ports).flatMap((bindings) => bindings ?? []);
  assert.deepEqual(published("restate"), [], "Restate's ports are closed outside the demo");
  for (const service of LONG_RUNNING) {
    const secrets = inspect(service).Config.Env.filter((line) => /^\w*(KEY|TOKEN|SECRET)=./.test(line));
    assert.deepEqual(secrets, [], `${service} has a secret in a variable`);
  }
  const secretsOf = (service) => inspect(service).Mounts.map(({ Destination }) => Destination).filter((path) => /secret|keys/.test(path)).sort();
  assert.deepEqual(secretsOf("gateway"), ["/gateway-secrets", "/secrets"]);
  assert.deepEqual(secretsOf("services"), ["/secrets", "/services-secrets"]);
  const files = run("docker", "exec", container("gateway"), "sh", "-c", "stat -c '%a %s %n' /secrets/* /gateway-secrets/* /data/*").stdout;
  for (const line of files.split("\n")) assert.match(line, /^600 (?:\d{2,}|0) \//, files);
  webhookSecret = run("docker", "exec", container("gateway"), "cat", "/gateway-secrets/payment-webhook-secret").stdout;
  assert.doesNotMatch(logs("gateway"), /Demo data is loaded/);
  // A name alone proves nothing, and nobody is there.
  const claimed = await fetch(`${shop}/api/orders`, { headers: { "x-user-id": "admin" } });
  assert.equal(claimed.status, 401);
});

composeTest("in session mode an order is paid, approved, shipped and delivered", async () => {
  const refused = spawnSync("docker", ["exec", container("gateway"), "gateway", "seed-demo"], { env: environment, encoding: "utf8" });
  assert.match(refused.stderr, /seed-demo .* AUTH_MODE=demo/);
  // The first admin, where is shipped, what is sold, and a customer: each with a password that
  // nobody has printed.
  const password = { alice: "lantern of 47 quiet otters", admin: "nine Tulips under the depot" };
  const typed = (input, ...command) => {
    const done = spawnSync("docker", ["exec", "--interactive", container("gateway"), "gateway", ...command], { env: environment, encoding: "utf8", input });
    assert.equal(done.status, 0, tail(done));
  };
  typed(`${password.admin}\n`, "init", "admin", "--email", "admin@shop.example", "--zone", "Domestic=10.00", "--zone", "International=50.00");
  typed("sku,name,price,stock\nP001,Widget A,25.00,500\nP002,Widget B,25.00,500\n", "catalog", "import", "-");
  typed(`${password.alice}\n`, "user", "create", "alice", "--email", "alice@shop.example");
  const login = (user, secret) => fetch(`${shop}/login`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ username: user, password: secret }),
  });
  assert.equal((await login("admin", "admin-demo")).status, 401, "a password from the README");
  let signedIn;
  await eventually(async () => (signedIn = await login("admin", password.admin)).status === 200);
  const cookie = signedIn.headers.getSetCookie()[0].split(";")[0];
  const token = { alice: gatewaySays("token", "create", "--user", "alice") };
  const proof = (user) => (user === "admin" ? { cookie, origin: shop } : { authorization: `Bearer ${token[user]}` });
  const ask = async (user, path, body, status) => {
    const answer = await fetch(`${shop}${path}`, {
      method: body ? "POST" : "GET",
      headers: { "content-type": "application/json", ...proof(user) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.equal(answer.status, status, `${path}: ${text}`);
    return JSON.parse(text);
  };
  await eventually(async () => {
    const { status } = await fetch(`${shop}/api/cart/add`, {
      method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${token.alice}` }, body: JSON.stringify({ product_id: 1, quantity: 1 }),
    });
    return status === 200;
  });
  const { order_id: id } = await ask("alice", "/api/checkout", { order_id: "signed", zone: "Domestic", shipping_address: "1 Depot Road" }, 202);
  const state = () => ask("alice", `/api/orders/${id}`, null, 200);
  let order;
  await eventually(async () => (order = await state()).payment?.pay_url);
  // Unsigned words of a provider are nobody's.
  await ask("alice", "/api/payment/callback", { awakeable_id: order.payment.awakeable_id, transaction_id: "forged", amount: 1, status: "success" }, 401);
  await payPage(order, "pay");
  await eventually(async () => (await state()).status === "awaiting_approval");
  await ask("admin", `/api/workflow/${id}/approve`, { approved: true }, 202);
  await eventually(async () => (await state()).status === "delivered");
  for (const service of LONG_RUNNING) {
    assert.ok(!logs(service).includes(webhookSecret) && !logs(service).includes(token.alice) && !logs(service).includes(password.admin), `${service} logs a secret`);
  }
});

composeTest("down -v forgets session mode, too", () => {
  const down = compose("down", "--volumes", SESSION);
  assert.equal(down.status, 0, tail(down));
});

testCluster();

/** What a command of the gateway says in its container. */
function gatewaySays(...command) {
  return run("docker", "exec", container("gateway"), "gateway", ...command).stdout;
}

/** Starts one container again, without those that it waits for. */
function start(service, changes = {}) {
  up("--no-deps", "--force-recreate", service, changes);
}

function inImage(...command) {
  return run("docker", "run", "--rm", "--network", "none", environment.WAYBILL_IMAGE, ...command).stdout;
}

/** What a container said that has stopped for good. */
async function lastWords(service) {
  await eventually(() => inspect(service).State.Status === "exited");
  // A restart would come within a tenth of a second.
  await pause(1_000);
  const { State, RestartCount } = inspect(service);
  assert.deepEqual([State.Status, RestartCount], ["exited", 0], service);
  return logs(service).trim();
}

/** SIGKILL from outside its container: to Docker a crash, which it mends. */
async function kill(service) {
  const { State, RestartCount } = inspect(service);
  run("docker", "run", "--rm", "--pid", "host", "--user", "0", "--network", "none", environment.WAYBILL_IMAGE, "sh", "-c", `kill -9 ${State.Pid}`);
  const killed = Date.now();
  await eventually(() => inspect(service).RestartCount === RestartCount + 1);
  await healthy([service]);
  console.log(`compose: ${service} was killed and is healthy again after ${seconds(killed)} s`);
  return killed;
}

function own(volume, owner) {
  const name = `${environment.COMPOSE_PROJECT_NAME}_${volume}`;
  run("docker", "run", "--rm", "--user", "0", "--network", "none", "--volume", `${name}:/volume`, environment.WAYBILL_IMAGE, "chown", "--recursive", owner, "/volume");
}

/** Two customers, one admin, and a provider that pays by itself; answers the most memory seen, by service. */
async function placeOrders(count) {
  await fetch(`${sandbox}/faults`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify({ payments: { auto: "pay" } }) });
  const largest = Object.fromEntries(LONG_RUNNING.map((service) => [service, 0]));
  const ids = Object.fromEntries(LONG_RUNNING.map((service) => [container(service), service]));
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      const { stdout } = await promisify(execFile)("docker", ["stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", ...Object.keys(ids)], { env: environment });
      for (const [, id, number, unit] of stdout.matchAll(/^(\w+) ([\d.]+)(KiB|MiB|GiB)/gm)) {
        const used = Math.ceil(Number(number) * { KiB: 1 / 1024, MiB: 1, GiB: 1024 }[unit]);
        largest[ids[id]] = Math.max(largest[ids[id]], used);
      }
    }
  };
  const shopper = async (user) => {
    for (let number = 0; number < count / 2; number += 1) {
      await send("/api/cart/add", { product_id: 1, quantity: 1 }, 200, user);
      const { order_id: id } = await send("/api/checkout", { order_id: `load-${number}` }, 202, user);
      await eventually(async () => (await (await fetch(`${shop}/api/orders/${id}`, { headers: { "x-user-id": user } })).json()).status === "awaiting_approval");
      await send(`/api/workflow/${id}/approve`, { approved: true }, 202, "admin");
    }
  };
  const watching = watch();
  await Promise.all(["alice", "bob"].map(shopper));
  await eventually(async () => {
    const { shipments } = await (await fetch(`${sandbox}/ledger`)).json();
    const pending = await (await fetch(`${shop}/api/orders?status=in_transit`, { headers: { "x-user-id": "admin" } })).json();
    return shipments.filter(({ order_id: id }) => id.includes("load-")).length === count && pending.total === 0;
  });
  isOver = true;
  await watching;
  await fetch(`${sandbox}/faults`, { method: "DELETE" });
  return largest;
}

function mebibytes(bytes) {
  return Math.round(Number(bytes) / 2 ** 20);
}

