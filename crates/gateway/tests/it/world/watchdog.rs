//! Ends what a test has started when the test process itself is gone, however
//! it went: the kernel then closes the pipe that the watchdog reads. Also what
//! belongs to a `static`, which is never dropped, ends here.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// `+ GROUP` and `- GROUP` name process groups, `/ FOLDER` what is removed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r what which; do
    case "$what" in
        +) groups="$groups$which " ;;
        -) groups="${groups%% $which *} ${groups#* $which }" ;;
        /) set -- "$@" "$which" ;;
    esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
rm -rf -- "$@"
"#;

#[expect(clippy::zombie_processes, reason = "it ends after this process")]
static PIPE: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let mut watchdog = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "watchdog"])
        .env("WAYBILL_TEST_RUN", super::test_run())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C is for the tests; whoever cleans up must outlive them.
        .process_group(0)
        .spawn()
        .expect("/bin/sh can be started");
    Mutex::new(watchdog.stdin.take().expect("stdin is piped"))
});

pub fn process_group_started(group: u32) {
    tell(&format!("+ {group}"));
}

pub fn process_group_ended(group: u32) {
    tell(&format!("- {group}"));
}

pub fn folder_made(folder: &Path) {
    tell(&format!("/ {}", folder.display()));
}

fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(pipe, "{line}").expect("the watchdog listens");
}
