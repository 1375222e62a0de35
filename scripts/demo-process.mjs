// One process of the demo: started, its output kept in a log, started again when it dies.

import { spawn } from "node:child_process";
import { createWriteStream, existsSync, renameSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import { root } from "./binaries.mjs";
import { dataDirectory } from "./demo-settings.mjs";

const ROTATE_AT_BYTES = 20 << 20;
const LINES_TO_SHOW = 20;
const ALARMS_PER_SECOND = 3;
const QUICK_DEATH_MS = 10_000;
const QUICK_DEATHS_ALLOWED = 5;
const FIRST_PAUSE_MS = 500;

const ALARMING = /^\S+\s+(WARN|ERROR)\b|panicked at/;

export class DemoProcess {
  #child = null;
  #isStopping = false;
  #startedAt = 0;
  #quickDeaths = 0;
  #nextStart = null;
  #lastLines = [];
  #alarms = { second: 0, count: 0 };
  #log;

  /**
   * @param program `{name, command, args, env, ready}`
   * @param hooks `started(pid)`, `ended(pid)`, `say(name, line)`, `gaveUp(process)`
   */
  constructor(program, hooks) {
    Object.assign(this, program);
    this.hooks = hooks;
    this.logFile = `${dataDirectory}/logs/${this.name}.log`;
    if (existsSync(this.logFile) && statSync(this.logFile).size > ROTATE_AT_BYTES) {
      renameSync(this.logFile, `${this.logFile}.1`);
    }
    this.#log = createWriteStream(this.logFile, { flags: "a" });
  }

  start() {
    this.#isStopping = false;
    this.#startedAt = Date.now();
    const child = this.#spawn(this.args);
    this.#child = child;
    child.once("error", (error) => {
      this.#keep(`${this.command} cannot be started: ${error.message}`);
      this.#ended(child, `cannot be started (${error.code})`);
    });
    child.once("exit", (code, signal) => {
      this.#ended(child, signal ? `was ended by ${signal}` : `exited with code ${code}`);
    });
  }

  /** Runs the program once with other arguments, to its end; answers what it printed. */
  runOnce(args) {
    return new Promise((resolve, reject) => {
      let printed = "";
      const child = this.#spawn(args, (line) => (printed += `${line}\n`));
      child.once("error", (error) => reject(new Error(`${this.command} cannot be started: ${error.message}`)));
      child.once("close", (code) => {
        this.hooks.ended(child.pid);
        if (code === 0) resolve(printed.trim());
        else reject(new Error(`"${this.name} ${args.join(" ")}" failed:\n${this.lastLines()}`));
      });
    });
  }

  /** Ends it with `signal`; resolves when it has ended. */
  stop(signal) {
    this.#isStopping = true;
    clearTimeout(this.#nextStart);
    const child = this.#child;
    if (!child) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", resolve);
      signalGroup(child.pid, signal);
    });
  }

  lastLines() {
    return this.#lastLines.map((line) => `  ${this.name} | ${line}`).join("\n");
  }

  #spawn(args, onLine = () => {}) {
    const child = spawn(this.command, args, {
      cwd: root,
      env: this.env,
      // Its own process group: a Ctrl-C in the terminal reaches the demo alone, which then ends
      // the processes itself, with whatever they have started.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (child.pid) this.hooks.started(child.pid);
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#keep(line);
      onLine(line);
    });
    createInterface({ input: child.stderr }).on("line", (line) => this.#keep(line));
    return child;
  }

  #keep(line) {
    this.#log.write(`${line}\n`);
    this.#lastLines = [...this.#lastLines, line].slice(-LINES_TO_SHOW);
    if (ALARMING.test(line) && !this.#isStopping) this.#alarm(line);
  }

  /** An outage warns once per order and retry: a few lines show it, the log has them all. */
  #alarm(line) {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#alarms.second) this.#alarms = { second, count: 0 };
    this.#alarms.count += 1;
    if (this.#alarms.count <= ALARMS_PER_SECOND) this.hooks.say(this.name, line);
    else if (this.#alarms.count === ALARMS_PER_SECOND + 1) this.hooks.say(this.name, `… and more like these in ${this.logFile}`);
  }

  #ended(child, how) {
    if (this.#child !== child) return;
    this.#child = null;
    if (child.pid) {
      // Nothing that it started may outlive it.
      signalGroup(child.pid, "SIGKILL");
      this.hooks.ended(child.pid);
    }
    if (this.#isStopping) return;

    const livedMs = Date.now() - this.#startedAt;
    this.#quickDeaths = livedMs < QUICK_DEATH_MS ? this.#quickDeaths + 1 : 0;
    if (this.#quickDeaths >= QUICK_DEATHS_ALLOWED) {
      this.hooks.gaveUp(this, `${this.name} ${how}, for the ${QUICK_DEATHS_ALLOWED}th time within ${QUICK_DEATH_MS / 1000} s of its start`);
      return;
    }
    const pauseMs = FIRST_PAUSE_MS * 2 ** Math.max(0, this.#quickDeaths - 1);
    this.hooks.say(this.name, `${how}; starting it again in ${pauseMs / 1000} s (log: ${this.logFile})`);
    this.#nextStart = setTimeout(() => this.start(), pauseMs);
  }
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
