//! Ends what was started here when this process itself is gone, however it
//! went: the kernel then closes the pipe that the watchdog reads. Also what
//! belongs to a `static`, which is never dropped, ends here.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A script, so that it needs nothing that could be missing or be built anew
/// while it watches. The test of the compose file uses it, too.
const SCRIPT: &str = include_str!("watchdog.sh");

/// Seconds from SIGTERM to SIGKILL; 0 is SIGKILL at once.
static GRACE_SECONDS: AtomicU8 = AtomicU8::new(0);

#[expect(clippy::zombie_processes, reason = "it ends after this process")]
static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let grace = GRACE_SECONDS.load(Ordering::Relaxed).to_string();
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "watchdog", &grace])
        .env("WAYBILL_TEST_RUN", super::test_run())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C is for whoever is watched; whoever cleans up must outlive it.
        .process_group(0)
        .spawn()
        .expect("/bin/sh can be started");
    Mutex::new(watchdog.stdin.take().expect("stdin is piped"))
});

/// Lets what is to be ended end by itself for so long: for a demo that people keep
/// their data in. Tests want their processes gone. To be called before the first
/// process is started.
pub fn let_end_within(seconds: u8) {
    GRACE_SECONDS.store(seconds, Ordering::Relaxed);
}

/// This process group is to be ended.
pub fn process_group_started(group: u32) {
    tell(&format!("+ {group}"));
}

/// This process group has ended.
pub fn process_group_ended(group: u32) {
    tell(&format!("- {group}"));
}

/// This folder is to be removed, after the processes.
pub fn folder_made(folder: &Path) {
    tell(&format!("/ {}", folder.display()));
}

fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{line}").expect("the watchdog listens");
}
