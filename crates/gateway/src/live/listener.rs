//! Hears one services process: newline-delimited JSON from `GET /updates`.
//!
//! After each (re)connect the stream is open before a catch-up begins, so
//! nothing falls between the two. What the stream says meanwhile is applied at
//! once: versions, not arrival, decide what is newer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::codec::LinesCodecError;
use waybill_domain::Timestamp;
use waybill_domain::update::Update;

use super::backoff::Backoff;
use super::core::Core;
use super::health::SourceHealth;
use super::lines::{LONGEST, LineSplitter};
use crate::restate::admin::root_cause;

/// A heartbeat comes every 5 s: a stream that says nothing for this long is
/// dead, even if its connection is not.
pub const SILENCE: Duration = Duration::from_secs(15);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// One services process that is listened to.
pub(super) struct Listener {
    core: Arc<Core>,
    source: usize,
    url: String,
    token: Option<String>,
    silence: Duration,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot listen: {}", root_cause(.0))]
    Connect(#[source] reqwest::Error),
    #[error("the services answered {0}: INTERNAL_TOKEN must be the same on both sides")]
    Unwelcome(reqwest::StatusCode),
    #[error("the services answered {0}: is SERVICES_UPDATES_URLS right?")]
    Refused(reqwest::StatusCode),
    #[error("the stream broke: {}", root_cause(.0))]
    Broke(#[source] reqwest::Error),
    #[error("no line for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the services closed the stream")]
    Closed,
}

impl Listener {
    pub(super) fn new(core: Arc<Core>, source: usize, url: &str, token: Option<&str>) -> Self {
        Self {
            core,
            source,
            url: url.to_owned(),
            token: token.map(str::to_owned),
            silence: SILENCE,
        }
    }

    /// Listens until the gateway closes.
    pub(super) async fn run(self) {
        let closing = self.core.closing.clone();
        closing.run_until_cancelled(self.listen_for_ever()).await;
    }

    async fn listen_for_ever(&self) {
        let http = match client() {
            Ok(http) => http,
            Err(error) => {
                tracing::error!(%error, "the update stream's HTTP client cannot be made");
                return;
            }
        };
        let mut backoff = Backoff::new();
        loop {
            let ended = self.listen_once(&http, &mut backoff).await;
            self.disconnected(&ended);
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn listen_once(&self, http: &reqwest::Client, backoff: &mut Backoff) -> Ended {
        let mut request = http.get(&self.url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let mut response = match timeout(CONNECT_WITHIN, request.send()).await {
            Err(_) => return Ended::Silent(CONNECT_WITHIN),
            Ok(Err(error)) => return Ended::Connect(error),
            Ok(Ok(response)) => response,
        };
        match response.status() {
            ok if ok.is_success() => {}
            refused if matches!(refused.as_u16(), 401 | 403) => return Ended::Unwelcome(refused),
            refused => return Ended::Refused(refused),
        }
        self.connected();
        let mut lines = LineSplitter::new();
        loop {
            match timeout(self.silence, response.chunk()).await {
                Err(_) => return Ended::Silent(self.silence),
                Ok(Err(error)) => return Ended::Broke(error),
                Ok(Ok(None)) => return Ended::Closed,
                Ok(Ok(Some(bytes))) => lines.push(&bytes),
            }
            while let Some(line) = lines.next_line() {
                // Only a stream that has said something is worth a quick retry.
                backoff.reset();
                self.hear(line).await;
            }
        }
    }

    async fn hear(&self, line: Result<String, LinesCodecError>) {
        let update = match line {
            Ok(line) if line.trim_end().is_empty() => return,
            Ok(line) => serde_json::from_str::<Update>(&line)
                .map_err(|error| format!("{error}, in a line of {} bytes", line.len())),
            Err(LinesCodecError::MaxLineLengthExceeded) => {
                Err(format!("the line is longer than {LONGEST} bytes"))
            }
            Err(LinesCodecError::Io(error)) => Err(format!("the line is no text: {error}")),
        };
        self.core.health.heard(self.source);
        match update {
            Ok(update) => self.core.offer(update).await,
            Err(error) => {
                self.core.metrics.malformed_line();
                tracing::warn!(services.url = %self.url, %error, "skipped an update that cannot be read");
            }
        }
    }

    fn connected(&self) {
        tracing::info!(services.url = %self.url, "listening to the services");
        self.change(|source| {
            source.connected = true;
            source.error = None;
            source.last_line = Some(Timestamp::now());
        });
        self.core.baskets.forget();
        self.core.baskets.clear_failures();
        self.core.reconnected.notify_one();
        // Baskets may have changed unheard.
        self.core.topics.wake_all();
    }

    fn disconnected(&self, ended: &Ended) {
        let changed = self.change(|source| {
            source.connected = false;
            source.error = Some(ended.to_string());
        });
        self.core.baskets.forget();
        // Said once, not with every try.
        if changed {
            tracing::warn!(services.url = %self.url, error = %ended, "not listening to the services");
        }
    }

    /// Changes this source's health; answers whether it (dis)connected or
    /// failed for another reason than before.
    fn change(&self, change: impl FnOnce(&mut SourceHealth)) -> bool {
        let changed = self.core.health.change(self.source, change);
        self.core.metrics.sources_connected(changed.connected);
        if changed.news {
            self.core.topics.wake_changes();
        }
        changed.news
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    // No overall timeout: the stream never ends.
    reqwest::Client::builder()
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .no_proxy()
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use waybill_domain::basket::Basket;
    use waybill_domain::ids::Username;

    use super::*;
    use crate::live::LiveState;
    use crate::live::fake::{Fake, TOKEN, eventually};
    use crate::live::projector::tests::{delivered, orders};
    use crate::storage::db::Db;

    async fn version(db: &Db) -> Option<i64> {
        sqlx::query_scalar("SELECT version FROM orders WHERE order_id = 'alice.1'")
            .fetch_optional(&db.read)
            .await
            .unwrap()
    }

    fn url(fake: &Fake) -> Vec<String> {
        vec![format!("{}/updates", fake.base)]
    }

    async fn listening(fake: &Fake) -> (tempfile::TempDir, Db, LiveState) {
        let (folder, db, live) = fake.live().await;
        live.listen(&url(fake), Some(TOKEN));
        eventually("connected", async || live.health().sources[0].connected).await;
        (folder, db, live)
    }

    #[tokio::test]
    async fn what_is_said_is_written_and_nonsense_is_skipped() {
        let fake = Fake::start().await;
        let (_folder, db, live) = listening(&fake).await;
        let updates = orders(delivered("alice.1"));
        fake.say_update(&updates[0]);
        for nonsense in [
            "{",
            "[]",
            "",
            "{\"type\":\"weather\",\"value\":1}",
            "{\"type\":\"order\",\"value\":{}}",
        ] {
            fake.say(nonsense);
        }
        fake.say_update(&updates[4]);
        fake.say_update(&updates[2]);
        eventually("version 5", async || version(&db).await == Some(5)).await;
        let metrics = live.core().metrics.encode().unwrap();
        assert!(
            metrics.contains("update_lines_malformed_total 4"),
            "{metrics}"
        );
        assert_eq!(fake.connections(), 1, "nonsense does not end the stream");
        assert!(live.health().lag_ms.is_some());
        live.close().await;
    }

    #[tokio::test]
    async fn what_was_missed_while_nobody_listened_is_caught_up() {
        let fake = Fake::start().await;
        let (_folder, db, live) = listening(&fake).await;
        let records = delivered("alice.1");
        fake.say_update(&orders(records.clone())[0]);
        eventually("the first version", async || version(&db).await == Some(1)).await;
        fake.hang_up();
        fake.hold_workflow(&records[12]);
        eventually("the last version", async || version(&db).await == Some(13)).await;
        assert_eq!(fake.connections(), 2);
        eventually("the gap is counted", async || {
            live.health().gaps_closed == 1
        })
        .await;
        live.close().await;
    }

    #[tokio::test]
    async fn a_silent_stream_is_dead() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        live.core().health.listen_to(&["x".to_owned()]);
        let listener = Listener {
            silence: Duration::from_millis(300),
            ..Listener::new(Arc::clone(live.core()), 0, &url(&fake)[0], Some(TOKEN))
        };
        let listening = tokio::spawn(listener.run());
        eventually("connected again", async || fake.connections() >= 2).await;
        live.close().await;
        listening.await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_token_is_named() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        live.listen(&url(&fake), Some("wrong"));
        eventually("told", async || live.health().sources[0].error.is_some()).await;
        let error = live.health().sources[0].error.clone().unwrap();
        assert!(error.contains("INTERNAL_TOKEN"), "{error}");
        live.close().await;
    }

    #[tokio::test]
    async fn baskets_are_remembered_only_while_every_stream_is_heard() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = listening(&fake).await;
        let alice = Username::parse("alice").unwrap();
        let mut basket = Basket::empty(alice.clone());
        basket.version = 2;
        fake.say_update(&Update::Basket(basket.clone()));
        eventually("heard", async || {
            live.core().remembered_basket(&alice).is_some()
        })
        .await;
        basket.version = 1;
        fake.say(&json!({"type": "basket", "value": basket}).to_string());
        fake.say("{\"type\":\"heartbeat\"}");
        assert_eq!(
            live.basket(&alice).await.unwrap().version,
            2,
            "an older one changes nothing"
        );
        fake.hang_up();
        eventually("forgotten", async || {
            live.core().remembered_basket(&alice).is_none()
        })
        .await;
        live.close().await;
    }

    #[tokio::test]
    async fn shutting_down_is_quick_and_writes_what_waits() {
        let fake = Fake::start().await;
        let (_folder, db, live) = listening(&fake).await;
        for update in orders(delivered("alice.1")) {
            live.core().offer(update).await;
        }
        let began = std::time::Instant::now();
        live.close().await;
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(version(&db).await, Some(14));
        let refused = live.apply(orders(delivered("bob.2")).remove(0)).await;
        assert!(refused.is_err());
    }
}
