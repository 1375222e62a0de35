//! One process under test, its log, and where its binary is.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{test_run, watchdog};

/// What a process that is asked to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// How one process is started, again and again if need be.
pub struct Program {
    pub name: &'static str,
    pub binary: PathBuf,
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    pub log: PathBuf,
    /// Where it works; nothing it does by default falls into the repository.
    pub folder: PathBuf,
}

/// A running process, the leader of its own group. Ends with its owner.
pub struct Process {
    child: Child,
    group: Pid,
}

impl Program {
    /// `settings` win over the program's own.
    pub fn start(&self, settings: &[(&str, &str)]) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be written");
        let mut command = self.command();
        let child = command
            .envs(settings.iter().copied())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be doubled"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.binary.display()));
        watchdog::process_group_started(child.id());
        let group = Pid::from_raw(child.id().try_into().expect("a process id is an i32"));
        Process { child, group }
    }

    /// Its settings and nothing else of our environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1")
            .env("WAYBILL_TEST_RUN", test_run())
            .envs(self.variables.iter().cloned());
        command
    }

    /// The last lines of the log from byte `since` on.
    pub fn log_since(&self, since: u64, lines: usize) -> String {
        let mut text = Vec::new();
        if let Ok(mut log) = File::open(&self.log)
            && log.seek(SeekFrom::Start(since)).is_ok()
        {
            let _ = log.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    pub fn log_length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

impl Process {
    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // A process that has just ended needs no signal.
        let _ = killpg(self.group, signal);
    }

    /// As a supervisor does: SIGTERM, and it must go.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOPS_WITHIN;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "a process did not stop within {STOPS_WITHIN:?} of SIGTERM"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As hard as a process can die.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        watchdog::process_group_ended(self.child.id());
    }
}

/// The `gateway` binary: the one in `WAYBILL_BIN_DIR`, whose owner has built
/// it, or the one that cargo has built for this test.
pub fn gateway() -> PathBuf {
    named("gateway").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_gateway")))
}

/// The `services` binary. Cargo does not build it for this crate's tests, so
/// it must be there, and not older than what it is made from.
pub fn services() -> PathBuf {
    if let Some(path) = named("services") {
        return path;
    }
    let path = gateway().with_file_name("services");
    let built = modified(&path).unwrap_or_else(|| {
        panic!(
            "{} is missing: run `cargo build --bins` first (`just test` does)",
            path.display()
        )
    });
    let crates = repository().join("crates");
    let newest = ["domain/src", "services/src"]
        .iter()
        .filter_map(|sources| newest_below(&crates.join(sources)))
        .max();
    assert!(
        newest.is_none_or(|newest| newest <= built),
        "{} is older than its sources: run `cargo build --bins` first (`just test` does)",
        path.display()
    );
    path
}

fn named(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("WAYBILL_BIN_DIR").filter(|folder| !folder.is_empty())?;
    let path = Path::new(&folder).join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --bins`",
        path.display()
    );
    Some(path)
}

/// The Restate server from npm.
pub fn restate_server() -> PathBuf {
    from_npm("RESTATE_SERVER_BIN", "restate-server")
}

/// Restate's command line from npm.
pub fn restate_cli() -> PathBuf {
    from_npm("RESTATE_CLI_BIN", "restate")
}

fn from_npm(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let path = repository()
        .join("node_modules/@restatedev")
        .join(format!("{name}-{os}-{processor}"))
        .join("bin")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run `just setup`, or set {variable}",
        path.display()
    );
    path
}

pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn newest_below(folder: &Path) -> Option<SystemTime> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| match entry.path() {
            path if path.is_dir() => newest_below(&path),
            path => modified(&path),
        })
        .max()
}

/// Free ports below those that the kernel gives to outgoing connections: a
/// process that is killed and started again finds its port still free.
pub fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is found, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        (0..1_000)
            .find_map(|_| {
                let port = rand::random_range(20_000..32_000);
                TcpListener::bind(("127.0.0.1", port)).ok()
            })
            .expect("one port in twelve thousand is free")
    });
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}
