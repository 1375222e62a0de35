// `just demo`: Restate, the services, the outside world and the gateway on this machine, kept
// running until Ctrl-C. `just dev` is the same with `--watch`: rebuilt and restarted on a change.
// `just cluster` is the same with `--cluster`: three nodes of Restate, two services, two gateways.
//
// Data stays in data/ (`just reset` forgets it), logs in data/logs/; WAYBILL_DATA_DIR moves both.
// A cluster's are in data/cluster/.

import { spawnSync } from "node:child_process";
import { statSync, watch } from "node:fs";
import { join } from "node:path";
import { root } from "./binaries.mjs";
import { dataDirectory, lockDemo } from "./demo-lock.mjs";
import { binDirectory, launch } from "./launcher.mjs";

process.chdir(root);
process.stdout.on("error", () => {}); // a closed terminal must not keep us from stopping

let launcher = null;
let address = "";
let hasStarted = false;
let exitCode = null;

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
  const isCluster = process.argv.includes("--cluster");
  if (isWatching) process.env.WEB_DIR ??= "web";
  await lockDemo(() => `process ${process.pid}${address && `, ${address}`}`);
  if (exitCode !== null) return;
  launcher = launch(isCluster ? "cluster" : "demo", (event) => hear(event, isWatching));
  launcher.ended.then((code) => {
    if (exitCode === null) {
      console.error(`demo: the launcher has ended with code ${code}.`);
      exitCode = 1;
    }
    if (hasStarted) console.log("Everything has stopped.");
    process.exit(exitCode);
  });
}

/** What the launcher says: crates/tests/src/bin/launcher/protocol.rs has the list. */
function hear({ event, part, ...told }, isWatching) {
  if (event === "starting") {
    hasStarted = true;
    address = told.addresses.shop;
  } else if (event === "ready") {
    sayWhereToClick(told.addresses, told.seeded);
    if (isWatching) rebuildOnChange({ services: ["services"], gateway: ["sandbox", "gateway"] });
  } else if (event === "ended") {
    say(part, `${told.how}; starting it again in ${told.again_in_seconds} s (log: ${told.log})`);
  } else if (event === "restarted") {
    say("dev", `${part} was started again`);
  } else if (event === "said") {
    say(part, told.line);
  } else if (event === "failed") {
    stop(1, `demo: ${told.reasons.join("\ndemo: ")}${told.log && `\n${told.log}`}`);
  }
}

function sayWhereToClick(url, seeded) {
  const shop = url.shop.replace("127.0.0.1", "localhost");
  const asAlice = "-H 'X-User-Id: alice' -H 'Content-Type: application/json'";
  console.log(`
Waybill is running.

  The shop and its console   ${shop}
  Log in                     ${shop}/login  (one click: alice or bob buys, admin approves)
  Restate's own view         ${url.admin}/ui/
  The outside world          ${url.sandbox}/ledger  (simulated payment provider and carrier)
  Data and logs              ${dataDirectory}/, ${dataDirectory}/logs/  (${url.nodes.length > 1 ? `"rm -r ${dataDirectory}"` : '"just reset"'} forgets them)
${url.nodes.length > 1 ? aboutTheCluster(url) : ""}${seeded ? `\n${seeded.replace(/^/gm, "  ")}\n` : ""}
Three things to try in another terminal:

  curl -N -H 'X-User-Id: alice' ${shop}/stream/notifications
  curl -X POST ${shop}/api/cart/add ${asAlice} -d '{"product_id": 1, "quantity": 2}'
  curl -X POST ${shop}/api/checkout ${asAlice} -d '{"order_id": "try-'$(date +%s)'"}'

Ctrl-C stops everything.
`);
}

function aboutTheCluster(url) {
  return `
  Three nodes of Restate     ${url.ingresses.join(" ")}
  Who is away, and what then ${url.gateway.replace("127.0.0.1", "localhost")}/readyz, or the dashboard as admin
  The cluster itself         node_modules/.bin/restatectl --address ${url.nodes.join(",")} status

Kill what you like, such as  pkill -KILL -o restate-server  (the oldest node): it is started again.
`;
}

/** Changed sources are built again; whose binary changed is started again. */
function rebuildOnChange(users) {
  const bin = binDirectory();
  const modified = (name) => statSync(join(bin, name)).mtimeMs;
  let timer = null;
  for (const folder of ["crates", "migrations"]) {
    watch(folder, { recursive: true }, () => {
      clearTimeout(timer);
      timer = setTimeout(rebuild, 400);
    });
  }
  say("dev", "watching crates/ and migrations/; templates and static files are read anew for each page");

  function rebuild() {
    if (exitCode !== null) return;
    const before = Object.keys(users).map(modified);
    if (spawnSync("cargo", ["build", "--bins"], { stdio: "inherit" }).status !== 0) {
      say("dev", "the build failed; what was running keeps running");
      return;
    }
    for (const [index, name] of Object.keys(users).entries()) {
      if (modified(name) === before[index]) continue;
      for (const part of users[name]) launcher.tell({ do: "restart", part });
    }
  }
}

/** Ends every process, then this one. Called again (a second Ctrl-C), it does not wait. */
function stop(code, complaint) {
  if (complaint) console.error(complaint);
  if (exitCode !== null) {
    launcher?.process.kill("SIGTERM");
    return;
  }
  exitCode = code;
  if (!launcher) process.exit(code);
  if (hasStarted) console.log("\nStopping …");
  launcher.end();
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

function say(name, line) {
  console.log(`${name} | ${line}`);
}
