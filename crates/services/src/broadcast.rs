//! What the services say aloud. Saying is not journaled: a step is a pure
//! function of the durable journal, so saying it again on replay repeats a
//! known version, which listeners ignore.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::broadcast;
use waybill_domain::update::Update;

/// How many lines a listener may lag behind before it is dropped; it then
/// comes back and catches up from Restate.
const LAG: usize = 4096;

/// The in-process broadcast behind `GET /updates`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UpdateBroadcaster {
    lines: broadcast::Sender<Arc<str>>,
    said: Counter,
    dropped: Counter,
}

impl UpdateBroadcaster {
    /// A voice that nobody listens to yet.
    pub fn new() -> Self {
        Self {
            lines: broadcast::Sender::new(LAG),
            said: Counter::default(),
            dropped: Counter::default(),
        }
    }

    /// Says an update to every listener. Never waits; nobody listening is fine.
    pub fn publish(&self, update: &Update) {
        self.said.inc();
        if self.lines.receiver_count() == 0 {
            return;
        }
        match serde_json::to_string(update) {
            Ok(line) => {
                // An error means that the last listener has just left.
                let _ = self.lines.send(line.into());
            }
            Err(error) => tracing::error!(%error, "an update cannot be written as JSON"),
        }
    }

    /// Listens from now on: one JSON document per line, without the newline.
    pub fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    /// How much has been said since the start.
    pub fn counter(&self) -> Counter {
        self.said.clone()
    }

    /// How many listeners lagged too far behind.
    pub fn dropped_counter(&self) -> Counter {
        self.dropped.clone()
    }

    /// A listener lags too far behind.
    pub fn drops_a_listener(&self) {
        self.dropped.inc();
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.lines.receiver_count()
    }
}

impl Default for UpdateBroadcaster {
    fn default() -> Self {
        Self::new()
    }
}
