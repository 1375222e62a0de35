//! The live side as a whole.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

use super::baskets::Baskets;
use super::catch_up::{CatchUp, CatchUpError};
use super::health::{Health, LiveHealth};
use super::projector::Projection;
use super::topics::Topics;
use super::{catch_up, listener, sse};
use crate::metrics::Metrics;
use crate::restate::admin::AdminApi;
use crate::storage::db::Db;

/// How long a page waits for a basket.
const BASKET_SOON: Duration = Duration::from_secs(2);

/// The live side of the gateway. A cheap clone.
#[derive(Clone)]
pub struct LiveState(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) ingress: Ingress,
    pub(super) admin_api: AdminApi,
    pub(super) topics: Arc<Topics>,
    pub(super) projection: Projection,
    pub(super) baskets: Baskets,
    pub(super) health: Health,
    pub(super) catch_up: catch_up::CatchUpHandle,
    /// Wakes the catch-up loop for what nobody waits for.
    pub(super) reconnected: Notify,
    pub(super) streams: sse::Streams,
    pub(super) metrics: Metrics,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl LiveState {
    /// The live side over one database. Nothing is heard before [`LiveState::listen`].
    pub fn new(db: Db, ingress: Ingress, admin_api: AdminApi, metrics: Metrics) -> Self {
        let topics = Arc::new(Topics::default());
        let tasks = TaskTracker::new();
        let (projection, writer) =
            Projection::new(db.clone(), Arc::clone(&topics), metrics.clone());
        tasks.spawn(writer);
        let (handle, requests) = catch_up::handle();
        let live = Self(Arc::new(Inner {
            ingress,
            admin_api,
            topics,
            projection,
            baskets: Baskets::default(),
            health: Health::default(),
            catch_up: handle,
            reconnected: Notify::new(),
            streams: sse::Streams::new(metrics.clone()),
            metrics,
            closing: CancellationToken::new(),
            tasks: tasks.clone(),
        }));
        tasks.spawn(catch_up::keep_caught_up(live.clone(), db, requests));
        live
    }

    /// Starts listening to the services.
    pub fn listen(&self, urls: &[String], token: Option<&str>) {
        self.0.health.listen_to(urls);
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
            Update::Basket(basket) => Ok(self.take(basket)),
            update => self.0.projection.apply(update).await,
        }
    }

    /// Like [`LiveState::apply`] without waiting for the write; waits only while the
    /// queue is full, which in turn slows the sender down.
    pub(super) async fn offer(&self, update: Update) {
        match update {
            Update::Heartbeat => {}
            Update::Basket(basket) => {
                self.take(basket);
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
        self.take(basket.clone());
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
        if self.0.baskets.is_away(user, Instant::now()) {
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
        if self.0.health.hears_all() {
            self.0.baskets.is_not_had(user, now);
        } else {
            self.0.baskets.none_are_had(now);
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
        let projection = &self.0.projection;
        self.0
            .health
            .report(projection.queued(), projection.lag_ms())
    }

    /// Wakes every stream, for what changes outside of the read model.
    pub(crate) fn tell_all(&self) {
        self.0.topics.wake_all();
    }

    pub(super) fn remembered_basket(&self, user: &Username) -> Option<Basket> {
        // What a stream that is down says is missed: ask Restate then.
        if self.0.health.hears_all() {
            self.0.baskets.get(user)
        } else {
            None
        }
    }

    fn take(&self, basket: Basket) -> bool {
        let user = basket.user_id.clone();
        let news = self.0.baskets.take(basket);
        if news {
            self.0.metrics.update("basket", true);
            self.0.topics.wake_user(&user);
            self.0.topics.wake_changes();
        }
        news
    }
}
