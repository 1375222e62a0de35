//! Which processors a process may use (Linux: `taskset`, of util-linux).

use std::ops::Range;
use std::process::Command;
use std::thread::available_parallelism;

/// This machine's processors in two halves. With an odd number the second is larger.
pub struct Halves {
    first: Range<usize>,
    second: Range<usize>,
}

impl Halves {
    /// Of all processors that this process may use. They are taken for numbers 0 and up.
    ///
    /// # Panics
    /// With a sentence, where there is one only, or no `taskset`, or they have other numbers.
    pub fn of_all() -> Self {
        let all = available_parallelism().map_or(1, usize::from);
        assert!(
            all > 1,
            "--parts apart needs two processors, and this machine has one: leave it out"
        );
        // Changes nothing, and shows that it can be done.
        use_only(std::process::id(), &(0..all));
        Self {
            first: 0..all / 2,
            second: all / 2..all,
        }
    }

    /// This process uses the second half from now on, and so do all that it starts.
    pub fn take_second(&self) {
        use_only(std::process::id(), &self.second);
    }

    /// That process uses the first half from now on, with every thread of it.
    pub fn give_first(&self, process: u32) {
        use_only(process, &self.first);
    }
}

fn use_only(process: u32, processors: &Range<usize>) {
    let list = format!("{}-{}", processors.start, processors.end - 1);
    let done = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &list])
        .arg(process.to_string())
        .output()
        .expect("--parts apart needs taskset: install util-linux, or leave it out");
    assert!(
        done.status.success(),
        "taskset {list} {process}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
