//! Who has how many streams open.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use tokio_util::sync::CancellationToken;
use waybill_domain::ids::Username;

use crate::http::client::ClientAddress;
use crate::http::problem::Problem;
use crate::metrics::Metrics;

/// Streams that one user may have open: windows on several devices.
pub const PER_USER: usize = 64;

/// Who has how many streams open.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    most: Most,
    metrics: Metrics,
    closing: CancellationToken,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::live) struct Most {
    /// In all.
    pub(in crate::live) in_all: usize,
    /// From one address; from this machine any number.
    pub(in crate::live) per_address: usize,
}

#[derive(Debug, Default)]
struct Open {
    of: HashMap<Username, usize>,
    from: HashMap<IpAddr, usize>,
    in_all: usize,
}

impl Streams {
    /// Nobody has one, and all together may have `most`. All of them end when
    /// `closing` is cancelled.
    pub(in crate::live) fn new(metrics: Metrics, closing: CancellationToken, most: Most) -> Self {
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

    pub(super) fn permit(
        &self,
        user: &Username,
        address: ClientAddress,
    ) -> Result<StreamPermit, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.of.get(user).copied().unwrap_or_default();
        if mine >= PER_USER {
            self.metrics.stream_refused("user");
            return Err(too_many(format!(
                "{PER_USER} live pages of {user} are open: close one and reload"
            )));
        }
        let from = address.caller();
        let here = open.from.get(&from).copied().unwrap_or_default();
        if here >= self.most.per_address && !address.is_this_machine() {
            self.metrics.stream_refused("address");
            return Err(too_many(format!(
                "{here} live pages are open at your address: close one and reload"
            )));
        }
        if open.in_all >= self.most.in_all {
            self.metrics.stream_refused("gateway");
            return Err(Problem::unavailable(
                "too many live pages are open on this gateway: reload in a moment",
            ));
        }
        *open.of.entry(user.clone()).or_default() += 1;
        *open.from.entry(from).or_default() += 1;
        open.in_all += 1;
        self.metrics.stream_opened();
        Ok(StreamPermit {
            streams: self.clone(),
            user: user.clone(),
            from,
        })
    }
}

fn too_many(detail: String) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_streams",
        "Too many live pages",
        detail,
    )
    .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// One open stream; given back when it ends, however it ends.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Streams,
    user: Username,
    from: IpAddr,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.in_all -= 1;
        give_back(&mut open.of, &self.user);
        give_back(&mut open.from, &self.from);
        drop(open);
        self.streams.metrics.stream_closed();
    }
}

fn give_back<K: Eq + Hash>(taken: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = taken.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            taken.remove(key);
        }
    }
}
