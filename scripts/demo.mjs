// `just demo`: Restate, the services, the outside world and the gateway on this machine, kept
// running until Ctrl-C. `just dev` is the same with `--watch`: rebuilt and restarted on a change.
//
// Data stays in data/ (`just reset` forgets it), logs in data/logs/; WAYBILL_DATA_DIR moves both.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, watch } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { cargoBinDirectory, restateServer, root } from "./binaries.mjs";
import { lockDemo } from "./demo-lock.mjs";
import { DemoProcess } from "./demo-process.mjs";
import { dataDirectory, demoSettings } from "./demo-settings.mjs";

const READY_WITHIN_MS = 60_000;
const STOP_GRACE_MS = 10_000;

process.chdir(root);
process.stdout.on("error", () => {}); // a closed terminal must not keep us from stopping

let processes = [];
let stopping = null;
const watchdog = startWatchdog();

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stop(0));
process.on("uncaughtException", (error) => stop(1, error.stack));
stopWithWhoeverStartedUs();

try {
  await runDemo();
} catch (error) {
  stop(1, `demo: ${error.message}`);
}

async function runDemo() {
  const isWatching = process.argv.includes("--watch");
  const { url, variables, addresses } = demoSettings(isWatching ? { WEB_DIR: "web", ...process.env } : process.env);
  await lockDemo(() => `process ${process.pid}, ${url.gateway}`);
  await checkPortsAreFree(addresses);

  const bin = process.env.WAYBILL_BIN_DIR || cargoBinDirectory();
  const gateway = join(bin, "gateway");
  if (!existsSync(gateway)) throw new Error(`${gateway} is not built: run "cargo build --bins" first, as "just demo" does.`);
  mkdirSync(`${dataDirectory}/logs`, { recursive: true });
  const program = (name, command, args, ready) => new DemoProcess(
    { name, command, args, ready, env: variables[name] },
    { started: (pid) => watchdog.stdin.write(`+${pid}\n`), ended: (pid) => watchdog.stdin.write(`-${pid}\n`), say, gaveUp },
  );
  const restate = program("restate", restateServer(), ["--no-logo", "--config-file", "restate.toml"], `${url.admin}/health`);
  const sandbox = program("sandbox", gateway, ["sandbox"], `${url.sandbox}/healthz`);
  const services = program("services", join(bin, "services"), [], `${url.ops}/healthz`);
  const web = program("gateway", gateway, ["serve"], `${url.gateway}/readyz`);

  const seeded = await web.runOnce(["seed-demo"]);
  if (stopping) return;
  processes = [restate, sandbox, services, web];
  const deadline = Date.now() + READY_WITHIN_MS;
  // One after the other, each before those that talk to it: fewer warnings to wonder about.
  for (const each of processes) {
    each.start();
    await waitUntilReady(each, deadline);
    if (stopping) return;
  }
  sayWhereToClick(url, seeded);
  if (isWatching) rebuildOnChange(bin, { services: [services], gateway: [sandbox, web] });
}

async function checkPortsAreFree(addresses) {
  const taken = [];
  for (const { variable, host, port } of addresses) {
    const problem = await tryToListen(host ?? "127.0.0.1", port);
    if (!problem) continue;
    const other = port + 10_000 < 65_536 ? port + 10_000 : port - 10_000;
    const suggestion = `${variable}=${host === null ? other : `${host}:${other}`}`;
    taken.push(problem === "EADDRINUSE"
      ? `port ${port} is taken; set ${suggestion}`
      : `port ${port} cannot be used (${problem}); set another, as in ${suggestion}`);
  }
  if (taken.length > 0) throw new Error(`${taken.join("\ndemo: ")}\ndemo: nothing was started.`);
}

function tryToListen(host, port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", (error) => resolve(error.code));
    probe.listen({ host: host.replace(/^\[|\]$/g, ""), port, exclusive: true }, () => probe.close(() => resolve(null)));
  });
}

async function waitUntilReady(each, deadline) {
  while (!stopping) {
    const answer = await probe(each.ready);
    if (answer === null) return;
    if (Date.now() > deadline) {
      throw new Error(`${each.name} was not ready within ${READY_WITHIN_MS / 1000} s (${each.ready}: ${answer}). Its last lines, all in ${each.logFile}:\n${each.lastLines()}`);
    }
    await pause(100);
  }
}

/** Null when it is ready, else what it said. */
async function probe(address) {
  try {
    const answer = await fetch(address, { signal: AbortSignal.timeout(2_000) });
    const text = await answer.text();
    return answer.ok ? null : `${answer.status} ${text.slice(0, 300)}`;
  } catch (error) {
    return error.cause?.code ?? error.name;
  }
}

function sayWhereToClick(url, seeded) {
  const shop = url.gateway.replace("127.0.0.1", "localhost");
  const asAlice = "-H 'X-User-Id: alice' -H 'Content-Type: application/json'";
  console.log(`
Waybill is running.

  The shop and its console   ${shop}
  Log in                     ${shop}/login  (one click: alice or bob buys, admin approves)
  Restate's own view         ${url.admin}/ui/
  The outside world          ${url.sandbox}/ledger  (simulated payment provider and carrier)
  Data and logs              ${dataDirectory}/, ${dataDirectory}/logs/  ("just reset" forgets them)
${seeded ? `\n${seeded.replace(/^/gm, "  ")}\n` : ""}
Three things to try in another terminal:

  curl -N -H 'X-User-Id: alice' ${shop}/stream/notifications
  curl -X POST ${shop}/api/cart/add ${asAlice} -d '{"product_id": 1, "quantity": 2}'
  curl -X POST ${shop}/api/checkout ${asAlice} -d '{"order_id": "try-'$(date +%s)'"}'

Ctrl-C stops everything.
`);
}

/** Changed sources are built again; whose binary changed is started again. */
function rebuildOnChange(bin, users) {
  const modified = (name) => statSync(join(bin, name)).mtimeMs;
  let timer = null;
  for (const folder of ["crates", "migrations"]) {
    watch(folder, { recursive: true }, () => {
      clearTimeout(timer);
      timer = setTimeout(rebuild, 400);
    });
  }
  say("dev", "watching crates/ and migrations/; templates and static files are read anew for each page");

  async function rebuild() {
    if (stopping) return;
    const before = Object.keys(users).map(modified);
    if (spawnSync("cargo", ["build", "--bins"], { stdio: "inherit" }).status !== 0) {
      say("dev", "the build failed; what was running keeps running");
      return;
    }
    for (const [index, name] of Object.keys(users).entries()) {
      if (modified(name) === before[index]) continue;
      for (const each of users[name]) {
        await each.stop("SIGTERM");
        if (stopping) return;
        each.start();
        say("dev", `${each.name} was started again`);
      }
    }
  }
}

function gaveUp(failed, how) {
  stop(1, `demo: ${how}. Its last lines, all in ${failed.logFile}:\n${failed.lastLines()}`);
}

/** Ends every process, then this one. Called again (a second Ctrl-C), it does not wait. */
function stop(exitCode, complaint) {
  if (complaint) console.error(complaint);
  if (stopping) {
    stopAll("SIGKILL");
    return;
  }
  if (processes.length > 0) console.log("\nStopping …");
  stopping = stopAll("SIGTERM").then(() => {
    if (processes.length > 0) console.log("Everything has stopped.");
    process.exit(exitCode);
  });
  setTimeout(() => stopAll("SIGKILL"), STOP_GRACE_MS);
}

/** npx hands a SIGTERM to its shell but not on to just, so the end of any of those is ours too. */
function stopWithWhoeverStartedUs() {
  const listing = spawnSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" }).stdout ?? "";
  const table = new Map(
    [...listing.matchAll(/^ *(\d+) +(\d+) (.*)$/gm)].map(([, pid, parent, args]) => [Number(pid), { parent: Number(parent), args }]),
  );
  const starters = [];
  for (let pid = process.ppid; /\bjust\b/.test(table.get(pid)?.args); pid = table.get(pid).parent) starters.push(pid);
  const check = setInterval(() => {
    if (starters.every(isAlive)) return;
    clearInterval(check);
    stop(0);
  }, 500);
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

function stopAll(signal) {
  return Promise.all(processes.map((each) => each.stop(signal)));
}

function startWatchdog() {
  const child = spawn(process.execPath, ["scripts/watchdog.mjs"], {
    cwd: root,
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  child.stdin.on("error", () => {});
  child.on("exit", () => stop(1, "demo: the watchdog has ended, which would leave processes behind after a crash."));
  return child;
}

function say(name, line) {
  console.log(`${name} | ${line}`);
}
