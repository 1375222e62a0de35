// compose.cluster.yml, started by the tests of the compose files after their other scenarios: three
// nodes, two copies of services and gateway, the proxy and the store of snapshots. What is asked of
// the shop goes through the proxy, with TLS and HTTP/2.

import assert from "node:assert/strict";
import { connect } from "node:http2";
import { setTimeout as pause } from "node:timers/promises";
import {
  approve, checkout, compose, composeTest, container, environment, eventually, forget, healthy, inspect, logs, mayDoLittle, nothingTwice, payPage,
  run, seconds, send, settings, story, tail, until, up, visitBy,
} from "./compose.mjs";

const NODES = ["restate", "restate-2", "restate-3"];
const COPIES = ["services", "services-2", "gateway", "gateway-2"];
const HEALTHY = [...NODES, ...COPIES, "sandbox"];
/** All that runs; the proxy and the store say nothing of their health. */
export const CLUSTER = [...HEALTHY, "proxy", "store"];
// Restate looks once a minute whether a snapshot is due.
const SNAPSHOT_WITHIN_MS = 150_000;
const NEW_LEADER_WITHIN_MS = 120_000;
const STREAM_WITHIN_MS = 2_000;

let connection;

/** Declares the tests; they build upon each other. */
export function testCluster() {
  composeTest("a cluster starts from empty volumes, behind a proxy with TLS and HTTP/2", async () => {
    environment.COMPOSE_FILE = "docker-compose.yml:compose.demo.yml:compose.cluster.yml";
    environment.PUBLIC_URL = `https://localhost:${environment.PROXY_PORT}`;
    environment.SNAPSHOT_EVERY_RECORDS = "50";
    const started = Date.now();
    up();
    await healthy(HEALTHY);
    visitBy(throughProxy);
    const said = await eventually(async () => {
      const ready = await (await throughProxy("/readyz")).json();
      return ready.ready && ready.restate_nodes === NODES.length && ready.restate_nodes_away === 0 && ready;
    });
    console.log(`compose: the cluster is ready ${seconds(started)} s after \`up\``);
    assert.equal(said.update_streams_connected, 2);
    assert.equal(connection.alpnProtocol, "h2");
    assert.equal(restatectl("metadata-server", "list-servers").match(/ Member /g).length, NODES.length);
    assert.doesNotMatch(logs("proxy"), /"level":"error"/);
    const { headers } = await throughProxy("/");
    assert.equal(headers["alt-svc"], undefined, "no HTTP/3 is promised");
    for (const service of CLUSTER) {
      mayDoLittle(service, { restate: ["127.0.0.1"], sandbox: ["127.0.0.1"], gateway: ["127.0.0.1"], proxy: ["127.0.0.1"] }[service] ?? []);
    }
  });

  composeTest("through the proxy an order is delivered, and its live stream passes at once", async () => {
    const order = await checkout("proxied");
    const stream = request(`/stream/page?at=${encodeURIComponent(`/orders/${order.order_id}`)}`, { headers: { "x-user-id": "alice" } });
    const heard = heardAt(stream, "Delivered · proxied");
    await payPage(order, "pay");
    await approve(order);
    const { events } = await until(order, "delivered");
    const after = (await heard) - Date.parse(events.at(-1).at);
    console.log(`compose: through the proxy a stream says "delivered" ${after} ms after it is so`);
    assert.ok(after < STREAM_WITHIN_MS, `${after} ms`);
    assert.equal(await story(order), "authorize book capture");
  });

  composeTest("a node that leads and a gateway are killed while a parcel is being shipped", async () => {
    const order = await checkout("shipping");
    await payPage(order, "pay");
    await approve(order);
    const leader = leaders()[0];
    const killed = Date.now();
    run("docker", "kill", container(leader), container("gateway"));
    // The proxy finds out which gateway is there.
    const meanwhile = await checkout("meanwhile");
    const { events } = await until(order, "delivered");
    console.log(`compose: ${leader} and a gateway were killed; the order was delivered ${seconds(killed)} s later`);
    assert.ok(Date.parse(events.at(-1).at) > killed);
    await eventually(async () => {
      const { nodes_away: away } = await (await throughProxy("/readyz")).json();
      return away?.startsWith(`1 of 3 nodes of Restate is away: http://${leader}:8081`);
    });
    await payPage(meanwhile, "pay");
    // The page may show what Restate has yet to agree on without the leader: "try again in a moment".
    await eventually(async () => {
      const { status } = await (await throughProxy(`/api/orders/${meanwhile.order_id}`, { headers: { "x-user-id": "alice" } })).json();
      if (status === "awaiting_approval") await send(`/api/workflow/${meanwhile.order_id}/approve`, { approved: true }, 202, "admin");
      return status === "delivered";
    }, undefined, NEW_LEADER_WITHIN_MS);
    for (const each of [order, meanwhile]) assert.equal(await story(each), "authorize book capture");
    for (const service of [leader, "gateway"]) assert.equal(inspect(service).State.Running, false, `${service} was away all the time`);
    up();
    await healthy(HEALTHY);
  });

  composeTest("snapshots reach the store by themselves, and the log is trimmed", async () => {
    const started = Date.now();
    const partitions = Number(settings.get("RESTATE_CLUSTER_PARTITIONS"));
    await eventually(() => {
      const objects = stored();
      return Array.from({ length: partitions }, (_, partition) => `waybill/${partition}/latest.json`).every((name) => objects.includes(name));
    }, stored, SNAPSHOT_WITHIN_MS);
    console.log(`compose: each partition has a snapshot in the store (waited ${seconds(started)} s)`);
    trimLogs();
    await eventually(() => logsOfCluster().every(({ trimmed }) => trimmed), () => JSON.stringify(logsOfCluster()));
  });

  // docs/operate.md, "More than one machine": a node that comes back.
  composeTest("a node whose volume is lost is replaced", async () => {
    const lost = idOf("restate-3");
    loseVolume();
    up("restate-3");
    await eventually(() => /it has detected that it has lost its data/.test(logs("restate-3")));
    loseVolume();
    environment.RESTATE_NODE_3 = "node-4";
    const started = Date.now();
    up("restate-3");
    await healthy(["restate-3"]);
    await eventually(() => new RegExp(`${idOf("restate-3")} +Member`).test(restatectl("metadata-server", "list-servers")));
    restatectl("metadata-server", "remove-node", lost.slice(1));
    const order = await checkout("replaced");
    await payPage(order, "pay");
    await approve(order);
    await until(order, "delivered");
    assert.equal(await story(order), "authorize book capture");
    await eventually(async () => {
      trimLogs();
      await pause(2_000);
      return logsOfCluster().every(({ nodes }) => !nodes.includes(lost));
    }, () => JSON.stringify(logsOfCluster()), 120_000);
    restatectl("nodes", "remove", "--nodes", lost.slice(1));
    assert.doesNotMatch(restatectl("nodes", "list"), new RegExp(`^ *${lost} `, "m"));
    const restored = /Importing partition store snapshot/.test(logs("restate-3"));
    console.log(`compose: the lost node is replaced and forgotten after ${seconds(started)} s${restored ? "; the new one began with the store's snapshots" : ""}`);
  });

  composeTest("the cluster's ledger charged and shipped nothing twice, and no container ran out of memory", async () => {
    assert.equal(await nothingTwice(), 4);
    for (const service of CLUSTER) assert.deepEqual([inspect(service).State.Running, inspect(service).State.OOMKilled], [true, false], service);
  });

  composeTest("down -v forgets the cluster", () => {
    connection.destroy();
    forget();
  });
}

/** A request by HTTP/2 through the proxy, whose certificate is checked: a stream of what is answered. */
function request(path, { method = "GET", headers = {}, body } = {}) {
  if (!connection || connection.closed || connection.destroyed) {
    const ca = run("docker", "exec", container("proxy"), "cat", "/data/caddy/pki/authorities/local/root.crt").stdout;
    connection = connect(environment.PUBLIC_URL, { ca });
    // Each of its streams says so, too.
    connection.on("error", () => {});
  }
  const stream = connection.request({ ":path": path, ":method": method, ...headers });
  stream.setEncoding("utf8");
  return stream.end(body);
}

/** What `fetch` answers, as far as the tests read it. */
async function throughProxy(path, options) {
  const stream = request(path, options);
  const headers = await new Promise((resolve, reject) => stream.once("response", resolve).once("error", reject));
  let text = "";
  for await (const part of stream) text += part;
  const status = headers[":status"];
  return { status, ok: status < 300, headers, text: async () => text, json: async () => JSON.parse(text) };
}

/** When a live stream first says `words`, which ends it. */
async function heardAt(stream, words) {
  let said = "";
  for await (const part of stream) {
    said += part;
    if (said.includes(words)) return Date.now();
  }
  assert.fail(`the stream ended without "${words}"`);
}

/** What a program says in a node that runs. */
function inNode(...command) {
  const running = NODES.find((node) => inspect(node).State.Health.Status === "healthy");
  const said = compose("exec", "-T", running, ...command);
  assert.equal(said.status, 0, `${command.join(" ")}\n${tail(said)}`);
  return said.stdout;
}

function restatectl(...words) {
  return inNode("restatectl", "--yes", "--address", NODES.map((node) => `http://${node}:5122`).join(","), ...words);
}

/** Restate's id of a node, such as `N2`: the latest at its address, for a replaced one leaves its own behind. */
function idOf(node) {
  const lines = restatectl("nodes", "list").split("\n").filter((line) => line.includes(`http://${node}:5122`));
  return lines.at(-1).match(/N\d+/)[0];
}

/** The nodes that lead a partition. */
function leaders() {
  const lines = restatectl("partitions", "list").split("\n").filter((line) => line.includes(" Leader "));
  const ids = lines.map((line) => line.match(/(N\d+):/)[1]);
  return NODES.filter((node) => ids.includes(idOf(node)));
}

/** Each log: whether its beginning is gone, and which nodes hold some of it. */
function logsOfCluster() {
  const lines = restatectl("logs", "list").matchAll(/^ *(\d+) +\d+ +(\d+) +replicated +(\S+)/gm);
  return [...lines].map(([, log, from, loglet]) => {
    const points = [...restatectl("replicated-loglet", "info", loglet).matchAll(/^ *N\d+ +\d+ +\d+ +(\d+)/gm)].map(([, point]) => Number(point));
    const nodes = [...new Set(restatectl("logs", "describe", log).match(/N\d+/g))];
    return { log, trimmed: Number(from) > 1 || points.some((point) => point > 0), nodes };
  });
}

function trimLogs() {
  restatectl("snapshots", "create", "--trim-log");
}

/** The names of the objects in the store. */
function stored() {
  const signed = ["--aws-sigv4", `aws:amz:${settings.get("SNAPSHOTS_REGION")}:s3`, "--user", `${settings.get("SNAPSHOTS_KEY_ID")}:${settings.get("SNAPSHOTS_SECRET")}`];
  const listed = inNode("curl", "--fail", "--silent", "--show-error", ...signed, "http://store:9000/snapshots?list-type=2");
  return [...listed.matchAll(/<Key>([^<]+)/g)].map(([, name]) => name);
}

/** The third node is gone with what it knew. */
function loseVolume() {
  run("docker", "rm", "--force", container("restate-3"), container("prepare-3"));
  run("docker", "volume", "rm", `${environment.COMPOSE_PROJECT_NAME}_restate-3-data`);
}
