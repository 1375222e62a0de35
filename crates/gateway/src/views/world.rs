//! The demo's outside world: its fault switches, and the proposal's scenarios.

use serde::Serialize;

use super::page::Viewer;
use crate::app::App;

/// What the panel shows.
#[derive(Debug, Clone, Serialize)]
pub struct WorldPanel {
    /// Beginning of the forms' idempotency keys.
    pub key: String,
}

/// The panel, in a demo with a sandbox.
pub(super) async fn panel(app: &App, viewer: &Viewer) -> Option<WorldPanel> {
    let _ = app;
    Some(WorldPanel {
        key: viewer.seed.clone(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn panels() -> Vec<WorldPanel> {
        vec![WorldPanel { key: "seed".into() }]
    }
}
