//! From Restate to the screen: Restate holds the truth, the services say it
//! aloud, and what this gateway missed it asks for. The whole way is in
//! docs/architecture.md.
//!
//! | module | does |
//! | --- | --- |
//! | [`listener`] | hears the services' update streams |
//! | [`projector`] | writes what is newer into the read model, then wakes the streams |
//! | `topics` | who is woken by what |
//! | [`catch_up`] | compares the read model with Restate and fetches what is missing |
//! | [`sse`] | keeps one browser's view right |
//!
//! Invariants: an update is applied by its own version, so duplicates and
//! reordering change nothing; a catch-up never deletes; a stream renders the
//! current state, so a slow reader skips steps and no queue grows.

pub mod catch_up;
#[cfg(test)]
mod fake;
mod lines;
pub mod listener;
pub mod projector;
pub mod sse;
mod topics;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use services::client::{Failure, Ingress};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::basket::Basket;
use waybill_domain::idempotency::Digest;
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::notification::Notification;
use waybill_domain::update::Update;

use self::catch_up::{CatchUp, CatchUpError};
use self::projector::Projection;
use self::topics::Topics;
use crate::clock::millis_between;
use crate::metrics::Metrics;
use crate::restate::admin::AdminApi;
use crate::storage::db::Db;

/// Most baskets that are remembered.
const BASKETS_KEPT: usize = 10_000;
/// How long a page waits for a basket.
const BASKET_SOON: Duration = Duration::from_secs(2);
/// How long no page asks after one has waited in vain.
const BASKETS_AWAY: Duration = Duration::from_secs(5);

/// The live side of the gateway. A cheap clone.
#[derive(Clone)]
pub struct LiveState(Arc<Inner>);

struct Inner {
    ingress: Ingress,
    admin_api: AdminApi,
    topics: Arc<Topics>,
    projection: Projection,
    baskets: Mutex<HashMap<Username, Basket>>,
    baskets_away: Mutex<BasketsAway>,
    state: Mutex<State>,
    catch_up: catch_up::CatchUpHandle,
    /// Wakes the catch-up loop for what nobody waits for.
    reconnected: Notify,
    streams: sse::Streams,
    metrics: Metrics,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// Until when no page asks for a basket, since one was asked for in vain.
#[derive(Default)]
struct BasketsAway {
    /// Nobody's, while the services are not heard.
    all: Option<Instant>,
    /// One user's, while the services are heard.
    of: HashMap<Username, Instant>,
}

impl BasketsAway {
    fn is_away(&self, user: &Username, now: Instant) -> bool {
        let until = [self.all, self.of.get(user).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }
}

#[derive(Default)]
struct State {
    sources: Vec<SourceHealth>,
    last_catch_up: Option<CatchUpHealth>,
    gaps_closed: u64,
}

/// How well the live side is.
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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

impl LiveState {
    /// The live side over one database. Nothing is heard before [`LiveState::listen`].
    pub fn new(db: Db, ingress: Ingress, admin_api: AdminApi, metrics: Metrics) -> Self {
        let topics = Arc::new(Topics::default());
        let tasks = TaskTracker::new();
        let (projection, writer) =
            Projection::new(db.clone(), Arc::clone(&topics), metrics.clone());
        tasks.spawn(writer);
        let (door, requests) = catch_up::door();
        let hub = Self(Arc::new(Inner {
            ingress,
            admin_api,
            topics,
            projection,
            baskets: Mutex::default(),
            baskets_away: Mutex::default(),
            state: Mutex::default(),
            catch_up: door,
            reconnected: Notify::new(),
            streams: sse::Streams::new(metrics.clone()),
            metrics,
            closing: CancellationToken::new(),
            tasks: tasks.clone(),
        }));
        tasks.spawn(catch_up::keep_caught_up(hub.clone(), db, requests));
        hub
    }

    /// Starts listening to the services.
    pub fn listen(&self, urls: &[String], token: Option<&str>) {
        self.state().sources = urls.iter().map(|url| SourceHealth::new(url)).collect();
        for (source, url) in urls.iter().enumerate() {
            let listener = listener::Listener::new(self.clone(), source, url, token);
            self.0.tasks.spawn(listener.run());
        }
        // Also when no services can be heard: Restate may hold more than we.
        self.0.reconnected.notify_one();
    }

    /// Ends the streams at once, then writes what waits to be written. After
    /// this nothing of the live side runs.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.projection.close();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Resolves when [`LiveState::close`] or [`LiveState::end_streams`] is called.
    pub fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Writes an update if it is news, wakes whom it concerns, and answers
    /// whether it was. What has been answered can be read.
    pub async fn apply(&self, update: Update) -> anyhow::Result<bool> {
        match update {
            Update::Heartbeat => Ok(false),
            Update::Basket(basket) => Ok(self.take_basket(basket)),
            update => self.0.projection.apply(update).await,
        }
    }

    /// Like [`LiveState::apply`] without waiting for the write; waits only while the
    /// queue is full, which in turn slows the sender down.
    pub(crate) async fn offer(&self, update: Update) {
        match update {
            Update::Heartbeat => {}
            Update::Basket(basket) => {
                self.take_basket(basket);
            }
            update => self.0.projection.offer(update).await,
        }
    }

    /// Wakes with any visible change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.topics.changes()
    }

    /// Wakes with changes of stock levels.
    pub fn stock(&self) -> watch::Receiver<u64> {
        self.0.topics.stock()
    }

    /// Wakes with changes that concern a user.
    pub fn user(&self, user: &Username) -> watch::Receiver<u64> {
        self.0.topics.user(user)
    }

    /// Wakes with changes of an order.
    pub fn order(&self, order: &OrderId) -> watch::Receiver<u64> {
        self.0.topics.order(order)
    }

    /// A user's basket: the newest that was heard of, else asked.
    pub async fn basket(&self, user: &Username) -> Result<Basket, Failure> {
        if let Some(basket) = self.remembered_basket(user) {
            return Ok(basket);
        }
        let called = self.0.ingress.user_session(user).get_basket().call().await;
        let basket = services::client::outcome(called)?;
        self.take_basket(basket.clone());
        Ok(self.remembered_basket(user).unwrap_or(basket))
    }

    /// A user's basket for a page, which does not wait for it long: `None` while
    /// it cannot be had. Each question that the services do not answer stays in
    /// Restate until they are back, so after one that was not answered this
    /// user's pages, and while the services are not heard everybody's, do not ask
    /// for a while.
    pub async fn basket_soon(&self, user: &Username) -> Option<Basket> {
        if let Some(basket) = self.remembered_basket(user) {
            return Some(basket);
        }
        if self.baskets_away().is_away(user, Instant::now()) {
            return None;
        }
        // Goes on when nobody waits any more: a late answer wakes its user's pages.
        let (hub, whose) = (self.clone(), user.clone());
        let asked = tokio::spawn(async move { hub.basket(&whose).await });
        let cause = match tokio::time::timeout(BASKET_SOON, asked).await {
            Ok(Ok(Ok(basket))) => return Some(basket),
            Ok(Ok(Err(failure))) => failure.to_string(),
            Ok(Err(ended)) => ended.to_string(),
            Err(_) => format!("no answer within {BASKET_SOON:?}"),
        };
        tracing::debug!(cause, "the cart cannot be had now");
        let now = Instant::now();
        let hears_all = self.hears_all();
        let mut away = self.baskets_away();
        if hears_all {
            // This user's trouble alone, as far as is known.
            away.of.retain(|_, until| now < *until);
            away.of.insert(user.clone(), now + BASKETS_AWAY);
        } else {
            away.all = Some(now + BASKETS_AWAY);
        }
        None
    }

    /// Compares with Restate now. Callers that wait at the same time share one
    /// comparison, which begins after each of them asked.
    pub async fn catch_up(&self) -> Result<CatchUp, CatchUpError> {
        self.0.catch_up.ask().await
    }

    /// Tells a user something that happened in this gateway only, e.g.
    /// `item_added`. It is written soon, and lost if the gateway dies before.
    /// What has a key is told once, however often this is called.
    pub async fn note(&self, user: &Username, kind: &str, text: &str, key: Option<&Digest>) {
        let id = key.map_or_else(|| Uuid::now_v7().to_string(), |key| key.as_str().to_owned());
        let note = Notification {
            id: format!("{user}:note:{id}"),
            user_id: user.clone(),
            order_id: None,
            kind: kind.to_owned(),
            text: text.to_owned(),
            at: Timestamp::now(),
        };
        self.0.projection.note(note).await;
    }

    /// How well the live side is.
    pub fn health(&self) -> LiveHealth {
        let queued = self.0.projection.queued();
        let lag_ms = self.0.projection.lag_ms();
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

    /// Wakes every stream, for what changes outside of the read model.
    pub(crate) fn tell_all(&self) {
        self.0.topics.wake_all();
    }

    /// Counts what the gateway does.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn remembered_basket(&self, user: &Username) -> Option<Basket> {
        // What a stream that is down says is missed: ask Restate then.
        if self.hears_all() {
            self.baskets().get(user).cloned()
        } else {
            None
        }
    }

    fn hears_all(&self) -> bool {
        let sources = &self.state().sources;
        !sources.is_empty() && sources.iter().all(|source| source.connected)
    }

    fn take_basket(&self, basket: Basket) -> bool {
        let user = basket.user_id.clone();
        let mut baskets = self.baskets();
        let known = baskets.get(&user).map(|known| known.version);
        if known.is_some_and(|known| known >= basket.version) {
            return false;
        }
        if known.is_none() && baskets.len() >= BASKETS_KEPT {
            baskets.clear();
        }
        baskets.insert(user.clone(), basket);
        drop(baskets);
        self.0.metrics.update("basket", true);
        self.0.topics.wake_user(&user);
        self.0.topics.wake_changes();
        true
    }

    /// A stream was down: baskets may have changed unheard.
    fn forget_baskets(&self) {
        self.baskets().clear();
    }

    /// The services are back: baskets can be had again.
    fn ask_for_baskets(&self) {
        *self.baskets_away() = BasketsAway::default();
    }

    fn baskets_away(&self) -> MutexGuard<'_, BasketsAway> {
        self.0
            .baskets_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn baskets(&self) -> MutexGuard<'_, HashMap<Username, Basket>> {
        self.0
            .baskets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits that grow: 100 ms, doubled up to 5 s.
#[derive(Debug)]
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        wait
    }
}
