//! The live side as a whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use services::client::{Body, Failure, Ingress};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::basket::Basket;
use waybill_domain::idempotency::Digest;
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::notification::Notification;
use waybill_domain::update::Update;

use super::audit_file;
use super::catch_up::{self, CatchUp, CatchUpError, CatchUpHandle};
use super::core::Core;
use super::health::LiveHealth;
use super::listener::Listener;
use super::others;
use super::retention::{self, Retention};
use super::sse::{Most, Streams};
use super::topics::Subject;
use crate::metrics::Metrics;
use crate::restate::admin::AdminApi;
use crate::storage::db::Db;

/// How long a page waits for a basket.
const BASKET_SOON: Duration = Duration::from_secs(2);

/// How far the live side goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What ended so long ago, sessions forget.
    pub order_retention: Duration,
    /// What is so old, the audit log forgets.
    pub audit_retention: Duration,
    /// Streams that may be open at a time.
    pub streams: usize,
    /// Of these, from one address.
    pub streams_per_address: usize,
}

/// The live side of the gateway. A cheap clone.
#[derive(Clone)]
pub struct LiveState(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    ingress: Ingress,
    catch_up: CatchUpHandle,
    streams: Streams,
    tasks: TaskTracker,
}

impl LiveState {
    /// The live side over one database. Nothing is heard before [`LiveState::listen`].
    pub fn new(
        db: Db,
        ingress: Ingress,
        admin_api: AdminApi,
        metrics: Metrics,
        bounds: Bounds,
    ) -> Self {
        let tasks = TaskTracker::new();
        let (core, writer) = Core::new(db.clone(), metrics.clone());
        let core = Arc::new(core);
        tasks.spawn(writer);
        let (handle, requests) = catch_up::handle();
        tasks.spawn(retention::keep_forgetting(
            Arc::clone(&core),
            admin_api.clone(),
            ingress.clone(),
            db.clone(),
            Retention {
                orders: bounds.order_retention,
                audit: bounds.audit_retention,
            },
        ));
        tasks.spawn(others::keep_looking(Arc::clone(&core), db.clone()));
        let catching_up = catch_up::keep_caught_up(Arc::clone(&core), admin_api, db, requests);
        tasks.spawn(catching_up);
        let streams = Streams::new(
            metrics,
            core.closing.clone(),
            Most {
                in_all: bounds.streams,
                per_address: bounds.streams_per_address,
            },
        );
        Self(Arc::new(Inner {
            core,
            ingress,
            catch_up: handle,
            streams,
            tasks,
        }))
    }

    /// Writes the audit log into `file`, from where it stopped.
    pub fn file_audit_log(&self, db: Db, file: PathBuf) {
        let core = Arc::clone(&self.0.core);
        self.0.tasks.spawn(audit_file::keep_filing(core, db, file));
    }

    /// Starts listening to the services.
    pub fn listen(&self, urls: &[String], token: Option<&str>) {
        self.0.core.health.listen_to(urls);
        for (source, url) in urls.iter().enumerate() {
            let listener = Listener::new(Arc::clone(&self.0.core), source, url, token);
            self.0.tasks.spawn(listener.run());
        }
        // Also when no services can be heard: Restate may hold more than we.
        self.0.core.reconnected.notify_one();
    }

    /// Ends the streams at once, then writes what waits to be written. After
    /// this nothing of the live side runs.
    pub async fn close(&self) {
        self.0.core.closing.cancel();
        self.0.core.projection.close();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Cancelled when the streams have to end.
    pub fn closing(&self) -> &CancellationToken {
        &self.0.core.closing
    }

    /// Writes an update if it is news, wakes whom it concerns, and answers
    /// whether it was. What has been answered can be read.
    pub async fn apply(&self, update: Update) -> anyhow::Result<bool> {
        match update {
            Update::Heartbeat => Ok(false),
            Update::Basket(basket) => Ok(self.0.core.take(basket)),
            update => self.0.core.projection.apply(update).await,
        }
    }

    /// The same for what Restate has done and a caller is told now. That the copy cannot be
    /// written, because its disk is full, makes it no failure: it is caught up.
    pub async fn show(&self, update: Update) {
        if let Err(error) = self.apply(update).await {
            tracing::warn!(%error, "what was done is not in the read model yet");
        }
    }

    /// Waits until all that this gateway was told so far can be read, for a page
    /// that is painted once and does not change afterwards.
    pub async fn settled(&self) {
        self.0.core.projection.settled().await;
    }

    /// Who has how many streams open.
    pub fn streams(&self) -> &Streams {
        &self.0.streams
    }

    /// Wakes with any visible change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.core.topics.changes()
    }

    /// Wakes with changes of stock levels.
    pub fn stock(&self) -> watch::Receiver<u64> {
        self.0.core.topics.stock()
    }

    /// Products and zones.
    pub fn catalog(&self) -> watch::Receiver<u64> {
        self.0.core.topics.catalog()
    }

    /// Wakes with changes of anybody's account.
    pub fn people(&self) -> watch::Receiver<u64> {
        self.0.core.topics.people()
    }

    /// Wakes with changes that concern a user.
    pub fn user(&self, user: &Username) -> watch::Receiver<u64> {
        self.0.core.topics.user(user)
    }

    /// Wakes with changes of an order.
    pub fn order(&self, order: &OrderId) -> watch::Receiver<u64> {
        self.0.core.topics.order(order)
    }

    /// A number that grows when an answer about `subject` may have become another:
    /// see [`super::Remembered`].
    pub fn version(&self, subject: Subject<'_>) -> u64 {
        self.0.core.topics.version(subject)
    }

    /// A user's basket: the newest that was heard of, else asked.
    pub async fn basket(&self, user: &Username) -> Result<Basket, Failure> {
        if let Some(basket) = self.0.core.remembered_basket(user) {
            return Ok(basket);
        }
        let called = self
            .0
            .ingress
            .user_session(user)
            .get_basket(Body::from(()))
            .call()
            .await;
        let basket = services::client::outcome(called)?;
        self.0.core.take(basket.clone());
        Ok(self.0.core.remembered_basket(user).unwrap_or(basket))
    }

    /// A user's basket for a page, which does not wait for it long: `None` while
    /// it cannot be had. Each question that the services do not answer stays in
    /// Restate until they are back, so after one that was not answered this
    /// user's pages, and while the services are not heard everybody's, do not ask
    /// for a while.
    pub async fn basket_soon(&self, user: &Username) -> Option<Basket> {
        if let Some(basket) = self.0.core.remembered_basket(user) {
            return Some(basket);
        }
        if self.0.core.baskets.failed_lately(user, Instant::now()) {
            return None;
        }
        // Goes on when nobody waits any more: a late answer wakes its user's pages.
        let (live, whose) = (self.clone(), user.clone());
        let asked = tokio::spawn(async move { live.basket(&whose).await });
        let cause = match tokio::time::timeout(BASKET_SOON, asked).await {
            Ok(Ok(Ok(basket))) => return Some(basket),
            Ok(Ok(Err(failure))) => failure.to_string(),
            Ok(Err(ended)) => ended.to_string(),
            Err(_) => format!("no answer within {BASKET_SOON:?}"),
        };
        tracing::debug!(cause, "the cart cannot be had now");
        let now = Instant::now();
        if self.0.core.health.hears_all() {
            self.0.core.baskets.read_failed(user, now);
        } else {
            self.0.core.baskets.restate_failed(now);
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
        self.0.core.projection.note(note).await;
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// How well the live side is.
    pub fn health(&self) -> LiveHealth {
        let projection = &self.0.core.projection;
        self.0
            .core
            .health
            .report(projection.queued(), projection.lag_ms())
    }

    /// Wakes every stream, for what changes outside of the read model.
    pub(crate) fn tell_all(&self) {
        self.0.core.topics.wake_all();
    }
}
