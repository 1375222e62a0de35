//! Ends what was started here when this process itself is gone, however it
//! went: the kernel then closes the pipe that the watchdog reads. Also what
//! belongs to a `static`, which is never dropped, ends here.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A script, so that it needs nothing that could be missing or be built anew
/// while it watches. The test of the compose file uses it, too.
const SCRIPT: &str = include_str!("watchdog.sh");

/// Whoever could have ended in peace is gone: there is nothing to wait for.
const NO_GRACE: &str = "0";

#[expect(clippy::zombie_processes, reason = "it ends after this process")]
static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "watchdog", NO_GRACE])
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
