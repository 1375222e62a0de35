//! Starts Waybill's processes, waits until they serve, and cleans up after them:
//! a real Restate server, the `services`, the `gateway` and the sandbox.
//!
//! The integration tests use this library. The browser tests and the demo start
//! the binary of the same name, which speaks JSON with them (`src/bin/launcher`).
//!
//! | module | holds |
//! | --- | --- |
//! | [`addresses`] | where each process listens |
//! | [`plan`] | the processes there are, and what each is told |
//! | [`binaries`] | where their programs are, and whether they are up to date |
//! | [`process`] | one process and its log |
//! | [`front`] | one address before several copies of a process |
//! | [`island`] | a network of its own for one process, with a cable that can be cut |
//! | [`store`] | keeps the snapshots of a cluster |
//! | [`launcher`] | all of them together: start, readiness, signals, the end |
//! | [`supervisor`] | starts again what has died by itself, and reads the logs for alarms |
//! | [`watchdog`] | ends everything when whoever started it is gone |
//!
//! What always holds:
//!
//! - Nothing that is started here outlives the process that has started it,
//!   however that ends.
//! - A process that is killed and started again finds its port still free.
//! - The tests never run binaries that are older than their sources.

pub mod addresses;
pub mod binaries;
pub mod front;
pub mod island;
pub mod launcher;
pub mod plan;
pub mod process;
pub mod store;
pub mod supervisor;
pub mod watchdog;

use std::path::Path;
use std::sync::LazyLock;

pub use launcher::Launcher;
pub use plan::{Component, Plan};

/// Marks whatever this run starts; `just test` sets it and looks for leftovers.
pub fn test_run() -> &'static str {
    static RUN: LazyLock<String> = LazyLock::new(|| {
        std::env::var("WAYBILL_TEST_RUN").unwrap_or_else(|_| format!("it-{}", std::process::id()))
    });
    &RUN
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
