//! Whose turn it is: gentle tests share the machine, demanding ones have it to
//! themselves. A lock on a file, because nextest runs each test in a process of
//! its own.

use std::fs::File;
use std::path::Path;

/// Held while a test runs.
pub struct Turn(#[expect(dead_code, reason = "unlocks when it is dropped")] File);

impl Turn {
    /// Beside other tests.
    pub fn together() -> Self {
        Self::take(File::lock_shared)
    }

    /// Alone: for tests that measure time or fill the machine.
    pub fn alone() -> Self {
        Self::take(File::lock)
    }

    fn take(lock: impl Fn(&File) -> std::io::Result<()>) -> Self {
        // Whoever wants to be alone holds the door meanwhile, so that others
        // wait behind it instead of going past for ever.
        let door = open("waybill-it.door");
        door.lock().expect("the door can be locked");
        let turn = open("waybill-it.turn");
        lock(&turn).expect("the turn can be locked");
        Self(turn)
    }
}

fn open(name: &str) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{} cannot be opened: {error}", path.display()))
}
