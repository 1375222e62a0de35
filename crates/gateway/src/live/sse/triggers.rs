//! What wakes a stream.

use std::time::Duration;

use futures::future::select_all;
use tokio::sync::watch;

/// What wakes a stream.
#[derive(Debug, Default)]
pub struct Triggers {
    topics: Vec<watch::Receiver<u64>>,
    every: Option<Duration>,
}

impl Triggers {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also whatever `topic` tells.
    #[must_use]
    pub fn on(mut self, topic: watch::Receiver<u64>) -> Self {
        self.topics.push(topic);
        self
    }

    /// Also the clock, for what changes without anybody saying so, such as
    /// Restate's retry count.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.every = Some(period);
        self
    }

    /// Forgets what has been told so far: it is about to be rendered.
    pub(super) fn settle(&mut self) {
        for topic in &mut self.topics {
            topic.mark_unchanged();
        }
    }

    pub(super) async fn next(&mut self) {
        let period = self.every;
        let clock = async move {
            match period {
                Some(period) => tokio::time::sleep(period).await,
                None => std::future::pending().await,
            }
        };
        // A topic whose sender is gone never tells anything again.
        self.topics.retain(|topic| topic.has_changed().is_ok());
        if self.topics.is_empty() {
            return clock.await;
        }
        let told = select_all(
            self.topics
                .iter_mut()
                .map(|topic| Box::pin(topic.changed())),
        );
        tokio::select! {
            _ = told => {}
            () = clock => {}
        }
    }
}
