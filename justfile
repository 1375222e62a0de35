# Waybill's list of commands. Without `just` on the machine: npx --yes rust-just@1.57.0 RECIPE

set positional-arguments

just := quote(just_executable())

[private]
default:
    @{{ just }} --justfile {{ quote(justfile()) }} --list --unsorted

# Check what the machine has and fetch the rest: the Restate server, its CLI, the Datastar client
setup: _node
    @node scripts/setup.mjs

# Run everything on this machine until Ctrl-C; the data is kept
demo: setup
    cargo build --bins
    @exec node scripts/demo.mjs

# Forget the demo's data
reset: _node
    @node scripts/reset.mjs

# As demo, but build and restart on a change of the sources
dev: setup
    cargo build --bins
    @exec node scripts/demo.mjs --watch

# As demo, on a cluster: three nodes of Restate, two services, two gateways; the data is kept apart
cluster: setup
    cargo build --bins
    @exec node scripts/demo.mjs --cluster

# What differs between Restate, SQLite and the ledger of the demo; --repair mends it, an order's id narrows it
reconcile *arguments: _node
    cargo build --quiet --bin gateway --bin launcher
    @exec node scripts/reconcile.mjs "$@"

# Everything that nobody can make again into one file, while the demo is stopped: a file's name
backup *arguments: _node
    cargo build --quiet --bin gateway --bin launcher
    @INVOCATION_DIRECTORY={{ quote(invocation_directory()) }} exec node scripts/backup.mjs backup "$@"

# Put a backup back where nothing is (`just reset`); --check only looks whether it is whole
restore *arguments: _node
    cargo build --quiet --bin gateway --bin launcher
    @INVOCATION_DIRECTORY={{ quote(invocation_directory()) }} exec node scripts/backup.mjs restore "$@"

# An archive for a machine without Docker: programs, systemd units, checksums, SBOM; into dist/
dist *arguments: setup
    @node scripts/dist.mjs "$@"

# Format the Rust sources
fmt:
    cargo fmt --all

# Clippy, dependencies, restate.toml: no warning is let through
lint: setup
    cargo clippy --workspace --all-targets --locked -- --deny warnings
    @node scripts/check-restate-config.mjs
    @node scripts/check-dependencies.mjs

# Every test there is; with arguments only those Rust tests, as in `just test cart`
test *arguments: _setup-for-tests
    @node scripts/test.mjs {{ if arguments == "" { "rust demo dist e2e compose" } else { "rust" } }} -- "$@"

# docker-compose.yml, and the cluster's file, under a Docker daemon: this machine's, or as root on Debian one of its own
compose-test: setup
    cargo build --workspace --bins --locked
    @node scripts/test.mjs compose

# The browser tests alone; arguments go to Playwright
e2e *arguments: _setup-with-browser
    cargo build --bins
    @node scripts/test.mjs e2e -- "$@"

# Cart additions and orders per second, each beside a bare Restate handler in the same run
bench *arguments: setup
    cargo build --release --bins --locked
    @node scripts/bench.mjs "$@"

# Random days with every fault, killed and frozen processes, then the checker: days, orders of each, first seed
soak days="1" orders="300" seed="1": setup
    @SOAK_SEEDS={{ days }} SOAK_ORDERS={{ orders }} SOAK_SEED={{ seed }} SHOW_OUTPUT=1 node scripts/test.mjs rust -- soak::

# Deaths at every durable step, in a table: cases for each process, or all
crashes cases="all": setup
    @CRASH_CASES={{ cases }} SHOW_OUTPUT=1 node scripts/test.mjs rust -- crashes::

# Nodes of a cluster that die, freeze, lose their disk, under load, in a table
cluster-test: setup
    @CLUSTER_MISHAPS=all SHOW_OUTPUT=1 node scripts/test.mjs rust -- cluster::

# Every parser with hostile input, and a table: seconds for each target, part of a target's name
fuzz seconds="600" filter="fuzz_": _node
    @node scripts/fuzz.mjs "$@"

# What CI runs: formatting, lint and every test
verify: _check-format lint test

_check-format:
    cargo fmt --all --check

_setup-with-browser: _node
    @node scripts/setup.mjs --browser

_setup-for-tests: _node
    @node scripts/setup.mjs --tests

# Scripts in Node cannot say that Node is missing
_node:
    @command -v node >/dev/null || { echo "setup: Node.js 20.19 or newer with npm is needed: install it from https://nodejs.org." >&2; exit 1; }
