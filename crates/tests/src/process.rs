//! One process and its log.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::plan::Environment;
use crate::{test_run, watchdog};

/// A log that is larger than this when its process is first started makes room
/// for a new one.
const FULL_LOG_BYTES: u64 = 20 << 20;

/// How one process is started, again and again if need be.
pub struct Program {
    /// As logs and people call it.
    pub name: &'static str,
    /// The file that is run.
    pub binary: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its settings.
    pub variables: Vec<(String, String)>,
    /// What else it knows.
    pub environment: Environment,
    /// Where it writes what it says.
    pub log: PathBuf,
    /// Where in the log the lines of this run begin, in bytes.
    pub log_begins: u64,
    /// Where it works.
    pub folder: PathBuf,
}

/// A running process, the leader of its own group. Ends with its owner.
pub struct Process {
    child: Child,
    group: Pid,
    started: Instant,
}

impl Program {
    /// `settings` win over the program's own.
    pub fn start(&self, settings: &[(&str, &str)]) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap_or_else(|error| panic!("{} cannot be written: {error}", self.log.display()));
        let mut command = self.command();
        let child = command
            .envs(settings.iter().copied())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle can be doubled"))
            .stderr(log)
            // A Ctrl-C is for whoever started it, who then ends the whole group.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.binary.display()));
        watchdog::process_group_started(child.id());
        let group = Pid::from_raw(child.id().try_into().expect("a process id is an i32"));
        let started = Instant::now();
        Process {
            child,
            group,
            started,
        }
    }

    /// The binary with its settings, for a command of its own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder);
        if self.environment == Environment::Clean {
            command
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", &self.folder)
                .env("TMPDIR", &self.folder)
                .env("RUST_BACKTRACE", "1")
                .env("WAYBILL_TEST_RUN", test_run());
        }
        command
            // The log is a file.
            .env("NO_COLOR", "1")
            .envs(self.variables.iter().cloned());
        command
    }

    /// Puts a log aside that has grown too large; what it holds then is of
    /// earlier runs.
    pub fn begin_log(&mut self) {
        if self.log_length() > FULL_LOG_BYTES {
            let mut aside = self.log.clone().into_os_string();
            aside.push(".1");
            // If it cannot be moved, it goes on growing.
            let _ = fs::rename(&self.log, aside);
        }
        self.log_begins = self.log_length();
    }

    /// The last lines of the log that are of this run.
    pub fn last_lines(&self, lines: usize) -> String {
        self.log_since(self.log_begins, lines)
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

    /// How long the log is by now, in bytes.
    pub fn log_length(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

impl Process {
    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells it, and whatever it has started.
    pub fn signal(&self, signal: Signal) {
        // A process that has just ended needs no signal.
        let _ = killpg(self.group, signal);
    }

    /// As a supervisor does: SIGTERM, and it goes, or it is killed after
    /// `within`: then there is no status.
    pub async fn stop(mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// As hard as a process can die.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also when it has ended: nothing that it started may outlive it.
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        watchdog::process_group_ended(self.child.id());
    }
}
