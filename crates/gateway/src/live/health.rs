//! How well the live side is: what is heard, how far behind the copy may be.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use waybill_domain::Timestamp;

use crate::clock::millis_between;

/// How well the live side is.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LiveHealth {
    /// Each update stream that is listened to.
    pub sources: Vec<SourceHealth>,
    /// The latest comparison with Restate that ended.
    pub last_catch_up: Option<CatchUpHealth>,
    /// States that catch-ups brought because no stream had, since the start.
    pub gaps_closed: u64,
    /// How far the read model is behind Restate, as far as can be known:
    /// `None` before the first catch-up has gone well.
    pub behind_ms: Option<u64>,
    /// How long the latest news of an order took from its step to the read
    /// model. Repeated news (a replay says everything again) do not count.
    pub lag_ms: Option<u64>,
    /// Updates that wait to be written.
    pub queued: usize,
}

/// One update stream.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SourceHealth {
    /// Its URL.
    pub url: String,
    /// Whether it is open and alive.
    pub connected: bool,
    /// When the latest line came.
    pub last_line: Option<Timestamp>,
    /// Why it is not connected.
    pub error: Option<String>,
}

impl SourceHealth {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connected: false,
            last_line: None,
            error: None,
        }
    }
}

/// One comparison with Restate.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CatchUpHealth {
    /// When it began: up to then nothing is missing, if it went well.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// States that Restate holds.
    pub compared: u64,
    /// States that were newer there.
    pub closed: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// What is known of it. Shared by all who change and ask it.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sources: Vec<SourceHealth>,
    last_catch_up: Option<CatchUpHealth>,
    gaps_closed: u64,
}

/// What a change of an update stream came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// Whether it (dis)connected, or failed for another reason than before.
    pub(super) news: bool,
    /// How many are connected now.
    pub(super) connected: usize,
}

impl Health {
    /// These are listened to from now on.
    pub(super) fn listen_to(&self, urls: &[String]) {
        self.state().sources = urls.iter().map(|url| SourceHealth::new(url)).collect();
    }

    /// Whether nothing that is said goes unheard.
    pub(super) fn hears_all(&self) -> bool {
        let sources = &self.state().sources;
        !sources.is_empty() && sources.iter().all(|source| source.connected)
    }

    /// A line has come from this source.
    pub(super) fn heard(&self, source: usize) {
        if let Some(source) = self.state().sources.get_mut(source) {
            source.last_line = Some(Timestamp::now());
        }
    }

    /// Changes what is known of a source.
    pub(super) fn change(&self, source: usize, change: impl FnOnce(&mut SourceHealth)) -> Changed {
        let mut state = self.state();
        let news = state.sources.get_mut(source).is_some_and(|source| {
            let before = (source.connected, source.error.clone());
            change(source);
            before != (source.connected, source.error.clone())
        });
        let connected = state.sources.iter().filter(|it| it.connected).count();
        Changed { news, connected }
    }

    /// A comparison with Restate has ended; answers whether the one before had
    /// failed.
    pub(super) fn caught_up(&self, catch_up: CatchUpHealth) -> bool {
        let mut state = self.state();
        state.gaps_closed += catch_up.closed;
        let before = state.last_catch_up.replace(catch_up);
        before.is_some_and(|before| before.error.is_some())
    }

    /// All of it. `queued` updates wait to be written, and the latest news took
    /// `lag_ms`.
    pub(super) fn report(&self, queued: usize, lag_ms: Option<u64>) -> LiveHealth {
        let state = self.state();
        let connected = state.sources.iter().all(|source| source.connected);
        let whole_at = state
            .last_catch_up
            .as_ref()
            .filter(|catch_up| catch_up.error.is_none());
        let behind_ms = whole_at.map(|catch_up| {
            if connected {
                // What has been heard is written, or about to be.
                return if queued == 0 { 0 } else { lag_ms.unwrap_or(0) };
            }
            // Since the latest moment at which nothing can have been missed.
            let last_heard = state
                .sources
                .iter()
                .map(|source| source.last_line.unwrap_or(catch_up.at))
                .min()
                .unwrap_or(catch_up.at)
                .max(catch_up.at);
            millis_between(last_heard, Timestamp::now())
        });
        LiveHealth {
            sources: state.sources.clone(),
            last_catch_up: state.last_catch_up.clone(),
            gaps_closed: state.gaps_closed,
            behind_ms,
            lag_ms,
            queued,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
