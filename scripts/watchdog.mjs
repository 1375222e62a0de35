// Ends the demo's processes when the demo itself is gone, even by SIGKILL; also those of a browser
// test's world.
//
// The demo tells its children's process groups on this process's standard input ("+123" when one
// starts, "-123" when it has ended). The kernel closes that pipe however the demo dies, on Linux
// and on macOS alike; what is then left gets SIGTERM and, ten seconds later, SIGKILL.
// A line that is a path ("/tmp/...") names a folder to remove in the end.

import { rmSync } from "node:fs";
import { createInterface } from "node:readline";

const GRACE_MS = 10_000;
const groups = new Set();
const folders = [];

// A Ctrl-C or a closing terminal is for the demo to handle; this process must outlive it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const group = Number(line.slice(1));
  if (line.startsWith("/")) folders.push(line);
  else if (line.startsWith("+")) groups.add(group);
  else groups.delete(group);
}

const deadline = Date.now() + GRACE_MS;
let left = [...groups].filter((group) => send(group, "SIGTERM"));
while (left.length > 0 && Date.now() < deadline) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  left = left.filter((group) => send(group, 0));
}
for (const group of left) send(group, "SIGKILL");
for (const folder of folders) rmSync(folder, { recursive: true, force: true });

/** False when nothing of the group is left. */
function send(group, signal) {
  try {
    return process.kill(-group, signal);
  } catch (error) {
    return error.code === "EPERM";
  }
}
