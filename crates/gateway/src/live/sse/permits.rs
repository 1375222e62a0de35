//! Who has how many streams open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;
use waybill_domain::ids::Username;

use crate::http::problem::Problem;
use crate::metrics::Metrics;

/// Streams that one user may have open: windows on several devices.
pub const PER_USER: usize = 64;

/// Who has how many streams open.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    most: usize,
    metrics: Metrics,
    closing: CancellationToken,
}

#[derive(Debug, Default)]
struct Open {
    of: HashMap<Username, usize>,
    in_all: usize,
}

impl Streams {
    /// Nobody has one, and all together may have `most`. All of them end when
    /// `closing` is cancelled.
    pub(in crate::live) fn new(metrics: Metrics, closing: CancellationToken, most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
            metrics,
            closing,
        }
    }

    /// Cancelled when they have to end.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    pub(super) fn permit(&self, user: &Username) -> Result<StreamPermit, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.in_all >= self.most {
            return Err(Problem::unavailable(
                "too many live pages are open on this gateway: reload in a moment",
            ));
        }
        let mine = open.of.entry(user.clone()).or_default();
        if *mine >= PER_USER {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "Too many live pages",
                format!("{PER_USER} live pages of {user} are open: close one and reload"),
            ));
        }
        *mine += 1;
        open.in_all += 1;
        self.metrics.stream_opened();
        Ok(StreamPermit {
            streams: self.clone(),
            user: user.clone(),
        })
    }
}

/// One open stream; given back when it ends, however it ends.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Streams,
    user: Username,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.in_all -= 1;
        if let Some(mine) = open.of.get_mut(&self.user) {
            *mine -= 1;
            if *mine == 0 {
                open.of.remove(&self.user);
            }
        }
        drop(open);
        self.streams.metrics.stream_closed();
    }
}
