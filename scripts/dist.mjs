// `just dist`: what a machine without Docker runs, as one archive with its checksum.
//
//   node scripts/dist.mjs [--profile dev] [--into FOLDER]
//
// In it are both programs, what they hold (migrations, web), systemd units, the licences and an
// SBOM. The same programs of the same commit make the same archive, byte by byte.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { cargoBinDirectory, root } from "./binaries.mjs";
import { compile, must, tool } from "./cargo-tools.mjs";

const CYCLONEDX = "0.5.9";
const CYCLONEDX_SPEC = "1.5";
const PROGRAMS = ["gateway", "services"];
const PARTS = join(root, "scripts", "dist");

const { values: wanted } = parseArgs({ options: { profile: { type: "string", default: "release" }, into: { type: "string", default: "dist" } } });
const into = resolve(wanted.into);
process.chdir(root);
try {
  const archive = makeArchive();
  console.log(`dist: ${relative(process.cwd(), archive)}, and beside it its sha256`);
} catch (error) {
  console.error(`dist: ${error.message}`);
  process.exit(1);
}

function makeArchive() {
  const { version, commit, date } = released();
  const target = targetOfThisMachine();
  const name = `waybill-${version}-${target}`;
  const programs = build(target, commit);
  mkdirSync(into, { recursive: true });
  const scratch = mkdtempSync(join(into, ".making-"));
  try {
    const folder = join(scratch, name);
    for (const part of ["bin", "etc", "systemd"]) mkdirSync(join(folder, part), { recursive: true });
    for (const program of programs) install(program, join(folder, "bin", basename(program)), 0o755);
    must("strip", PROGRAMS.map((program) => join(folder, "bin", program)));
    install(join(PARTS, "waybill"), join(folder, "bin", "waybill"), 0o755);
    for (const file of readdirSync(join(PARTS, "etc"))) install(join(PARTS, "etc", file), join(folder, "etc", file));
    addUnits(join(folder, "systemd"));
    for (const part of ["migrations", "web/static", "web/templates"]) cpSync(part, join(folder, part), { recursive: true });
    for (const file of ["CHANGELOG.md", "LICENSE", "SECURITY.md", "restate.toml"]) install(file, join(folder, file));
    const glibc = needed(programs);
    const words = { NAME: name, VERSION: version, TARGET: target, GLIBC: glibc ? `, glibc ${glibc} or newer` : "", RESTATE: versionOfRestate() };
    writeFileSync(join(folder, "INSTALL.md"), readFileSync(join(PARTS, "INSTALL.md"), "utf8").replace(/@([A-Z]+)@/g, (_, word) => words[word]));
    writeFileSync(join(folder, "sbom.cdx.json"), sbom(target, version, commit, date));
    const sums = filesBelow(folder).map((file) => `${sha256(join(folder, file))}  ${file}\n`);
    writeFileSync(join(folder, "SHA256SUMS"), sums.join(""));
    const archive = join(into, `${name}.tar.gz`);
    const plain = join(scratch, "plain.tar");
    must("tar", ["--create", "--file", plain, "--directory", scratch, "--sort=name", `--mtime=${date}`, "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX", name]);
    // No name and no time in its head.
    must("gzip", ["--no-name", "--best", plain]);
    copyFileSync(`${plain}.gz`, archive);
    writeFileSync(`${archive}.sha256`, `${sha256(archive)}  ${basename(archive)}\n`);
    return archive;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** A commit with a tag is a release, and must be what it says; any other is named by its commit. */
function released() {
  const git = (...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
  const [, version] = readFileSync("Cargo.toml", "utf8").match(/^version = "(.+)"$/m);
  const commit = git("rev-parse", "--short=12", "HEAD");
  const isDirty = git("status", "--porcelain") !== "";
  const date = git("show", "--no-patch", "--format=%cI", "HEAD");
  const tag = git("tag", "--points-at", "HEAD").split("\n").find((tag) => /^v\d/.test(tag));
  if (!tag) return { version: `${version}-${commit}${isDirty ? "-changed" : ""}`, commit, date };
  if (isDirty) throw new Error(`${tag} is checked out and files are changed: commit them, or put them aside.`);
  if (tag !== `v${version}`) throw new Error(`the tag is ${tag} and Cargo.toml says ${version}: a release is tagged v${version}.`);
  if (!new RegExp(`^## ${version.replaceAll(".", "\\.")}\\b`, "m").test(readFileSync("CHANGELOG.md", "utf8"))) {
    throw new Error(`CHANGELOG.md has no section "## ${version}": say what is new in it.`);
  }
  return { version, commit, date };
}

/** Without the C library of a machine where rustc can do that, else as this machine is. */
function targetOfThisMachine() {
  const say = (...args) => execFileSync("rustc", args, { cwd: root, encoding: "utf8" });
  const [, host] = say("-vV").match(/^host: (.+)$/m);
  const musl = host.replace(/-gnu$/, "-musl");
  const hasMusl = musl !== host && existsSync(join(say("--print", "sysroot").trim(), "lib", "rustlib", musl)) && isThere("musl-gcc");
  return hasMusl ? musl : host;
}

function isThere(program) {
  return (process.env.PATH ?? "").split(":").some((folder) => existsSync(join(folder, program)));
}

/** Builds both programs and answers where they are. */
function build(target, commit) {
  const isStatic = target.endsWith("-musl");
  const arguments_ = ["build", "--locked", "--profile", wanted.profile, ...PROGRAMS.flatMap((program) => ["--package", `waybill-${program}`, "--bin", program])];
  // A test's need not be built anew for each commit.
  must("cargo", isStatic ? [...arguments_, "--target", target] : arguments_, wanted.profile === "dev" ? {} : { WAYBILL_COMMIT: commit });
  const folder = cargoBinDirectory(join(isStatic ? target : "", wanted.profile === "dev" ? "debug" : wanted.profile));
  return PROGRAMS.map((program) => join(folder, program));
}

/** The oldest glibc that has all that the programs call, or nothing. */
function needed(programs) {
  const versions = programs.flatMap((program) => readFileSync(program, "latin1").match(/GLIBC_2\.\d+/g) ?? []);
  const minor = Math.max(...versions.map((version) => Number(version.split(".")[1])));
  return versions.length > 0 ? `2.${minor}` : null;
}

function versionOfRestate() {
  return JSON.parse(readFileSync("package.json", "utf8")).devDependencies["@restatedev/restate-server"];
}

/** The units, each with what they have in common. */
function addUnits(folder) {
  const common = readFileSync(join(PARTS, "systemd", "common.conf"), "utf8");
  for (const unit of readdirSync(join(PARTS, "systemd")).filter((file) => file.endsWith(".service"))) {
    const text = readFileSync(join(PARTS, "systemd", unit), "utf8");
    writeFileSync(join(folder, unit), text.replace("@COMMON@\n", common));
  }
  install(join(PARTS, "waybill.sysusers"), join(folder, "waybill.sysusers"));
}

/** What the gateway's program is made of: the services are a library of it, so theirs, too. */
function sbom(target, version, commit, date) {
  const cyclonedx = tool("cargo-cyclonedx", CYCLONEDX, (folder) => compile("cargo-cyclonedx", CYCLONEDX, folder));
  // It writes beside the manifests.
  const source = mkdtempSync(join(into, ".sources-"));
  try {
    for (const file of ["Cargo.toml", "Cargo.lock", "crates"]) cpSync(file, join(source, file), { recursive: true });
    must(cyclonedx, ["cyclonedx", "-qq", "--format", "json", "--spec-version", CYCLONEDX_SPEC, "--no-build-deps", "--target", target,
      "--override-filename", "sbom", "--manifest-path", join(source, "Cargo.toml")]);
    const text = readFileSync(join(source, "crates", "gateway", "sbom.json"), "utf8").replaceAll(source, "/waybill");
    const { serialNumber, ...bom } = JSON.parse(text);
    bom.metadata.timestamp = date;
    bom.metadata.component = { type: "application", "bom-ref": bom.metadata.component["bom-ref"], name: "waybill", version, licenses: [{ expression: "MIT" }] };
    bom.metadata.properties = [...(bom.metadata.properties ?? []), { name: "git.commit", value: commit }];
    bom.components.push(datastar());
    return `${JSON.stringify(bom, null, 1)}\n`;
  } finally {
    rmSync(source, { recursive: true, force: true });
  }
}

/** The one script of others in the pages. */
function datastar() {
  const file = "web/static/vendor/datastar.js";
  const [, version] = readFileSync(file, "utf8").match(/Datastar v(\S+)/) ?? [];
  if (!version) throw new Error(`${file} does not say its version: run "just setup".`);
  return {
    type: "library", "bom-ref": `pkg:github/starfederation/datastar@v${version}`, name: "datastar", version, purl: `pkg:github/starfederation/datastar@v${version}`,
    hashes: [{ alg: "SHA-256", content: sha256(file) }], licenses: [{ license: { id: "MIT" } }],
  };
}

function install(from, to, mode = 0o644) {
  copyFileSync(from, to);
  chmodSync(to, mode);
}

function filesBelow(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

function sha256(file) {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}
