// The Restate server ignores unknown keys in silence. This compares each setting of restate.toml
// with the configuration that the server says it has loaded.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { restateServer, root } from "./binaries.mjs";

const file = join(root, "restate.toml");
const wanted = settingsIn(readFileSync(file, "utf8"));
const loaded = settingsIn(dump());

const complaints = [];
for (const [key, value] of wanted) {
  if (!loaded.has(key)) {
    complaints.push(`${key} is unknown to the server: check its name and table`);
  } else if (loaded.get(key) !== value) {
    complaints.push(`${key} is ${value} here, but the server has ${loaded.get(key)}: write it as the server does`);
  }
}
if (wanted.size === 0) complaints.push("no setting was found");

for (const complaint of complaints) console.error(`restate.toml: ${complaint}.`);
if (complaints.length > 0) process.exit(1);
console.log(`restate.toml: the server has loaded all ${wanted.size} settings.`);

function dump() {
  // Environment variables would win over the file.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("RESTATE_")),
  );
  return execFileSync(restateServer(), ["--config-file", file, "--dump-config"], { env, encoding: "utf8" });
}

/** `table.key` → the value's text. Both files have one-line values; the dump's lists are skipped. */
function settingsIn(toml) {
  const settings = new Map();
  let table = "";
  for (const line of toml.split("\n").map((text) => text.trim())) {
    const header = line.match(/^\[([^\]]+)\]$/);
    const setting = line.match(/^([\w-]+)\s*=\s*(.+)$/);
    if (header) table = `${header[1]}.`;
    else if (setting) settings.set(table + setting[1], setting[2]);
  }
  return settings;
}
