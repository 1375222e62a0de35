//! What every process of Waybill does alike: it reads its settings, says what it
//! does in lines and traces, serves HTTP with time limits, gives memory back, stops on a signal,
//! knows bearer tokens, asks after the health of its own kind, and which nodes of a cluster answer.

use std::io::Write as _;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub mod bearer;
pub mod files;
mod health;
pub mod http;
mod memory;
pub mod memory_limit;
pub mod nodes;
pub mod private_files;
pub mod propagation;
pub mod secrets;
pub mod settings;
pub mod telemetry;
mod traces;

pub use health::health;
pub use traces::Traces;

/// Cancelled by SIGTERM or Ctrl-C.
///
/// # Errors
/// When signals cannot be listened for.
pub fn stop_signal() -> anyhow::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

/// Writes a line to stdout.
///
/// # Errors
/// When stdout is closed.
pub fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
