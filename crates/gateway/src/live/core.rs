//! What those who bring news and those who wait for it share.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use waybill_domain::basket::Basket;
use waybill_domain::ids::Username;
use waybill_domain::update::Update;

use super::baskets::Baskets;
use super::health::Health;
use super::projector::Projection;
use super::topics::Topics;
use crate::metrics::Metrics;
use crate::storage::db::Db;

/// What is known, and who is told of it.
pub(super) struct Core {
    pub(super) topics: Arc<Topics>,
    pub(super) projection: Projection,
    pub(super) baskets: Baskets,
    pub(super) health: Health,
    /// Wakes the catch-up loop for what nobody waits for.
    pub(super) reconnected: Notify,
    pub(super) metrics: Metrics,
    /// Cancelled when everything has to end.
    pub(super) closing: CancellationToken,
}

impl Core {
    /// Knows nothing yet. The second is what writes the read model, to be run.
    pub(super) fn new(
        db: Db,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let topics = Arc::new(Topics::default());
        let (projection, writer) = Projection::new(db, Arc::clone(&topics), metrics.clone());
        let core = Self {
            topics,
            projection,
            baskets: Baskets::default(),
            health: Health::default(),
            reconnected: Notify::new(),
            metrics,
            closing: CancellationToken::new(),
        };
        (core, writer)
    }

    /// Like [`super::LiveState::apply`] without waiting for the write; waits only while the
    /// queue is full, which in turn slows the sender down.
    pub(super) async fn offer(&self, update: Update) {
        match update {
            Update::Heartbeat => {}
            Update::Basket(basket) => {
                self.take(basket);
            }
            update => self.projection.offer(update).await,
        }
    }

    /// The newest basket that was heard of, while nothing goes unheard.
    pub(super) fn remembered_basket(&self, user: &Username) -> Option<Basket> {
        // What a stream that is down says is missed: ask Restate then.
        if self.health.hears_all() {
            self.baskets.get(user)
        } else {
            None
        }
    }

    /// Remembers a basket and wakes whom it concerns; answers whether it was news.
    pub(super) fn take(&self, basket: Basket) -> bool {
        let user = basket.user_id.clone();
        let news = self.baskets.take(basket);
        if news {
            self.metrics.update("basket", true);
            self.topics.wake_user(&user);
            self.topics.wake_changes();
        }
        news
    }
}
