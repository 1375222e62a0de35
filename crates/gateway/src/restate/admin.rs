//! Restate's admin API: SQL over what Restate holds. Nothing is changed here but
//! by [`AdminApi::purge`], for an operator.
//!
//! Everything here is an aid, never a need: without the admin API orders flow
//! on, and whoever asks gets [`AdminError::Unreachable`], which says so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use process::nodes::{Heard, Nodes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use services::wire::order_fulfillment::RUN;
use services::wire::{ORDER_FULFILLMENT_WORKFLOW, RECORD};
use tokio::sync::Mutex;
use waybill_domain::ids::OrderId;
use waybill_domain::order::OrderStatus;

use super::row_stream::RowSplitter;
use crate::http::problem::Problem;

/// How long a short question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long the next bytes of a long answer may take.
const NEXT_BYTES_WITHIN: Duration = Duration::from_secs(30);
/// How long retry counts are good for.
const RETRY_COUNTS_FRESH: Duration = Duration::from_secs(1);
/// How long they are not asked for after they could not be had: pages would wait.
const RETRY_COUNTS_AWAY: Duration = Duration::from_secs(5);
/// How long a page waits for them.
const RETRY_COUNTS_WITHIN: Duration = Duration::from_secs(1);
/// Longer than the pauses that the services make between two rounds of tries
/// during an outage.
const LONGEST_ROUND_SECS: u32 = 90;
/// Ids in one question.
const IDS_AT_ONCE: usize = 200;
/// Most invocations whose retries are looked at, in a bad hour.
const MOST_RETRIED: usize = 5_000;

/// Why the admin API did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers there, or not in time.
    #[error("Restate's admin API at {url} is not reachable ({cause})")]
    Unreachable {
        /// Its address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// It answers, but not with what was asked for: a defect of ours or
    /// another version of Restate.
    #[error("Restate's admin API refused a question: {0}")]
    Refused(String),
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match &error {
            AdminError::Unreachable { .. } => Self::unavailable(
                "Restate's admin API is not reachable, so its journal cannot be shown; orders go on without it",
            ),
            AdminError::Refused(_) => Self::bad_gateway(
                "admin_api_failed",
                "Restate's admin API failed",
                "Restate's admin API did not understand the question: tell the operator which Restate version runs",
            ),
        }
        .with_cause(error)
    }
}

/// Restate's admin API. A cheap clone.
#[derive(Debug, Clone)]
pub struct AdminApi {
    nodes: Nodes,
    http: reqwest::Client,
    retries: Arc<Mutex<Retries>>,
}

/// What is being tried again, as of `asked`.
#[derive(Debug, Default)]
struct Retries {
    asked: Option<Instant>,
    /// `None`: could not be asked.
    counts: Option<Arc<HashMap<OrderId, u64>>>,
    /// Which order each of these invocations is about.
    orders: HashMap<String, Option<OrderId>>,
}

/// A row of Restate's table `state`, with its value as text.
#[derive(Debug, Deserialize)]
pub(crate) struct StateRow {
    /// Whose state it is, e.g. `UserSession`.
    pub(crate) service_name: String,
    /// And with which key, e.g. `alice`.
    pub(crate) service_key: String,
    /// The state's own key.
    pub(crate) key: String,
    /// What it holds.
    pub(crate) value: String,
}

/// Work that does not go on by itself, or has failed for a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
pub struct StuckInvocation {
    /// Restate's id of the invocation.
    pub id: String,
    /// What was called, e.g. `UserSession/alice/Settle`.
    pub target: String,
    /// The service's name.
    #[serde(rename(deserialize = "target_service_name"))]
    pub service: String,
    /// The key, for objects and workflows.
    #[serde(rename(deserialize = "target_service_key"))]
    pub key: Option<String>,
    /// Restate's word: `paused` or `backing-off`.
    pub status: String,
    /// How often it was tried since it last ran well.
    #[serde(default)]
    pub retry_count: u64,
    /// Why it failed the last time.
    pub last_failure: Option<String>,
}

/// Tries after which a retrying invocation is shown as stuck. The first few
/// are what a restart of the services costs.
pub const STUCK_AFTER_TRIES: u64 = 5;

impl AdminApi {
    /// The admin API at whichever of `nodes` answers, e.g. `http://127.0.0.1:9070`.
    pub fn new(nodes: Nodes, http: reqwest::Client) -> Self {
        Self {
            nodes,
            http,
            retries: Arc::default(),
        }
    }

    /// The nodes that are asked.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether it answers and is well.
    pub async fn is_up(&self) -> Result<(), AdminError> {
        let asked = self
            .send(|node| {
                let health = self.http.get(format!("{node}/health"));
                health.timeout(ANSWER_WITHIN)
            })
            .await
            .and_then(reqwest::Response::error_for_status);
        asked.map(drop).map_err(|error| self.unreachable(&error))
    }

    /// Sends a request to whichever node answers. All of them read, or change what may be
    /// changed twice.
    async fn send(
        &self,
        request: impl Fn(&str) -> reqwest::RequestBuilder,
    ) -> reqwest::Result<reqwest::Response> {
        self.nodes
            .ask(true, |node| {
                let request = request(&node);
                async move {
                    match request.send().await {
                        Ok(answer) if answer.status().is_server_error() => {
                            (Heard::Lost, Ok(answer))
                        }
                        Ok(answer) => (Heard::Answer, Ok(answer)),
                        Err(error) => (Heard::of(&error), Err(error)),
                    }
                }
            })
            .await
    }

    /// The rows of a question with a short answer.
    pub async fn query<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, AdminError> {
        #[derive(Deserialize)]
        #[serde(bound = "T: DeserializeOwned")]
        struct Answer<T> {
            rows: Vec<T>,
        }
        let ask = async {
            let response = self.ask(sql).await?;
            response
                .bytes()
                .await
                .map_err(|error| self.unreachable(&error))
        };
        let body = tokio::time::timeout(ANSWER_WITHIN, ask)
            .await
            .map_err(|_| self.too_slow(ANSWER_WITHIN))??;
        serde_json::from_slice::<Answer<T>>(&body)
            .map(|answer| answer.rows)
            .map_err(|error| AdminError::Refused(format!("unreadable rows: {error}")))
    }

    /// The rows of a question with a long answer, one by one as they arrive:
    /// however many there are, only one is held in memory. A slow reader slows
    /// Restate's answer down.
    pub fn query_rows<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: String,
    ) -> impl Stream<Item = Result<T, AdminError>> + Send + '_ {
        futures::stream::once(async move {
            let asked = tokio::time::timeout(NEXT_BYTES_WITHIN, self.ask(&sql)).await;
            asked.map_err(|_| self.too_slow(NEXT_BYTES_WITHIN))?
        })
        .flat_map(
            move |asked: Result<reqwest::Response, AdminError>| match asked {
                Ok(response) => self.rows_of(response).boxed(),
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            },
        )
    }

    fn rows_of<T: DeserializeOwned + Send + 'static>(
        &self,
        response: reqwest::Response,
    ) -> impl Stream<Item = Result<T, AdminError>> + Send + '_ {
        let start = (response, RowSplitter::default());
        futures::stream::try_unfold(start, move |(mut response, mut rows)| async move {
            loop {
                if let Some(row) = rows.next_row().map_err(AdminError::Refused)? {
                    let row = serde_json::from_slice(&row)
                        .map_err(|error| AdminError::Refused(format!("unreadable row: {error}")))?;
                    return Ok(Some((row, (response, rows))));
                }
                let next = tokio::time::timeout(NEXT_BYTES_WITHIN, response.chunk())
                    .await
                    .map_err(|_| self.too_slow(NEXT_BYTES_WITHIN))?
                    .map_err(|error| self.unreachable(&error))?;
                match next {
                    Some(bytes) => rows.push(&bytes),
                    None if rows.is_complete() => return Ok(None),
                    None => {
                        return Err(self.unreachable_because("its answer broke off".to_owned()));
                    }
                }
            }
        })
    }

    async fn ask(&self, sql: &str) -> Result<reqwest::Response, AdminError> {
        let question = serde_json::json!({ "query": sql });
        let response = self
            .send(|node| {
                let asked = self.http.post(format!("{node}/query"));
                asked.header("accept", "application/json").json(&question)
            })
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let said = response.text().await.unwrap_or_default();
        Err(AdminError::Refused(format!("{status}: {said}")))
    }

    /// How often Restate had to try again for this order's work that is under
    /// way; cheap to ask, at most a second old. `None` without the admin API.
    pub async fn retry_count(&self, order: &OrderId) -> Option<u64> {
        let counts = self.retry_counts().await?;
        Some(counts.get(order).copied().unwrap_or(0))
    }

    /// The orders whose work is being tried again. One question a second serves
    /// every order: what is retried is few, and Restate holds it in memory.
    async fn retry_counts(&self) -> Option<Arc<HashMap<OrderId, u64>>> {
        // Whoever comes while it is asked waits for that answer.
        let mut known = self.retries.lock().await;
        let good_for = match known.counts {
            Some(_) => RETRY_COUNTS_FRESH,
            None => RETRY_COUNTS_AWAY,
        };
        if known.asked.is_some_and(|asked| asked.elapsed() < good_for) {
            return known.counts.clone();
        }
        let asked = tokio::time::timeout(
            RETRY_COUNTS_WITHIN,
            self.ask_retry_counts(&mut known.orders),
        );
        known.counts = match asked.await {
            Ok(Ok(counts)) => Some(Arc::new(counts)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "retry counts are not known");
                None
            }
            Err(_) => {
                tracing::debug!("retry counts take too long");
                None
            }
        };
        known.asked = Some(Instant::now());
        known.counts.clone()
    }

    async fn ask_retry_counts(
        &self,
        orders: &mut HashMap<String, Option<OrderId>>,
    ) -> Result<HashMap<OrderId, u64>, AdminError> {
        let retried = self.failed_tries().await?;
        orders.retain(|id, _| retried.contains_key(id));
        let unknown = retried.keys().filter(|id| !orders.contains_key(*id));
        let unknown: Vec<String> = unknown.cloned().collect();
        self.find_orders(&unknown, orders).await?;
        let mut counts = HashMap::new();
        for (id, failed) in retried {
            if let Some(Some(order)) = orders.get(&id) {
                *counts.entry(order.clone()).or_default() += failed;
            }
        }
        Ok(counts)
    }

    /// How many tries have failed of each invocation that is being tried again:
    /// right now, or in rounds with durable sleeps between them.
    async fn failed_tries(&self) -> Result<HashMap<String, u64>, AdminError> {
        #[derive(Deserialize)]
        struct Count {
            id: String,
            failed: u64,
        }
        // The first try is none that failed.
        let now: Vec<Count> = self
            .query(&format!(
                "SELECT id, retry_count - 1 AS failed FROM sys_invocation_state \
                 WHERE retry_count > 1 LIMIT {MOST_RETRIED}"
            ))
            .await?;
        let in_rounds: Vec<Count> = self
            .query(&format!(
                "SELECT id, count(*) AS failed FROM sys_journal_events \
                 WHERE event_type = 'TransientError' GROUP BY id \
                 HAVING max(appended_at) > now() - INTERVAL '{LONGEST_ROUND_SECS} seconds' \
                 LIMIT {MOST_RETRIED}"
            ))
            .await?;
        let mut failed: HashMap<_, _> = self
            .not_ended(in_rounds.iter().map(|row| row.id.as_str()).collect())
            .await?
            .into_iter()
            .map(|id| (id, 0))
            .collect();
        for row in in_rounds {
            if let Some(known) = failed.get_mut(&row.id) {
                *known = row.failed;
            }
        }
        for row in now {
            let known = failed.entry(row.id).or_default();
            *known = row.failed.max(*known);
        }
        Ok(failed)
    }

    async fn not_ended(&self, ids: Vec<&str>) -> Result<Vec<String>, AdminError> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let mut open = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let rows: Vec<Id> = self
                .query(&format!(
                    "SELECT id FROM sys_invocation_status WHERE id IN ({}) AND completed_at IS NULL",
                    literals(ids.iter().copied())
                ))
                .await?;
            open.extend(rows.into_iter().map(|row| row.id));
        }
        Ok(open)
    }

    /// Which order an invocation is about stands in its input.
    async fn find_orders(
        &self,
        ids: &[String],
        orders: &mut HashMap<String, Option<OrderId>>,
    ) -> Result<(), AdminError> {
        #[derive(Deserialize)]
        struct Input {
            id: String,
            raw: String,
        }
        for ids in ids.chunks(IDS_AT_ONCE) {
            let inputs: Vec<Input> = self
                .query(&format!(
                    "SELECT id, encode(raw, 'hex') AS raw FROM sys_journal \
                     WHERE id IN ({}) AND index = 0",
                    literals(ids.iter().map(String::as_str))
                ))
                .await?;
            orders.extend(inputs.into_iter().map(|input| {
                let order = hex::decode(&input.raw).ok().and_then(|raw| order_in(&raw));
                (input.id, order)
            }));
        }
        Ok(())
    }

    /// Invocations that wait for an operator or keep failing, the paused first.
    pub async fn stuck(&self) -> Result<Vec<StuckInvocation>, AdminError> {
        self.query(&format!(
            "SELECT id, target, target_service_name, target_service_key, status, retry_count, last_failure \
             FROM sys_invocation \
             WHERE status = 'paused' OR (status = 'backing-off' AND retry_count > {STUCK_AFTER_TRIES}) \
             ORDER BY status DESC, retry_count DESC LIMIT 50"
        ))
        .await
    }

    /// The orders whose workflow is under way: it runs, waits, or will begin.
    pub async fn under_way(&self) -> Result<HashSet<String>, AdminError> {
        #[derive(Deserialize)]
        struct Row {
            key: String,
        }
        let sql = format!(
            "SELECT target_service_key AS key FROM sys_invocation_status \
             WHERE target_service_name = '{ORDER_FULFILLMENT_WORKFLOW}' \
             AND target_handler_name = '{}' AND status <> 'completed'",
            RUN.name
        );
        let rows = self.query_rows(sql);
        rows.map_ok(|row: Row| row.key).try_collect().await
    }

    /// Which of these orders have ended, as their workflows say.
    pub async fn ended(&self, orders: &[String]) -> Result<HashSet<String>, AdminError> {
        #[derive(Deserialize)]
        struct Row {
            service_key: String,
            value: String,
        }
        #[derive(Deserialize)]
        struct Standing {
            status: OrderStatus,
        }
        let mut ended = HashSet::new();
        for orders in orders.chunks(IDS_AT_ONCE) {
            let sql = format!(
                "SELECT service_key, value_utf8 AS value FROM state \
                 WHERE service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}' \
                 AND service_key IN ({})",
                literals(orders.iter().map(String::as_str))
            );
            let records: Vec<Row> = self.query(&sql).await?;
            ended.extend(records.into_iter().filter_map(|row| {
                let record: Standing = serde_json::from_str(&row.value).ok()?;
                record.status.is_terminal().then_some(row.service_key)
            }));
        }
        Ok(ended)
    }

    /// Which orders these invocations are about, where that stands in their
    /// input. Those that wait for their turn have none yet.
    pub async fn orders_of(
        &self,
        ids: &[String],
    ) -> Result<HashMap<String, Option<OrderId>>, AdminError> {
        let mut orders = HashMap::new();
        self.find_orders(ids, &mut orders).await?;
        Ok(orders)
    }

    /// Forgets an invocation that has ended, and of a workflow its state. One
    /// that has not ended, or is forgotten already, is left as it is.
    pub async fn purge(&self, invocation: &str) -> Result<(), AdminError> {
        let asked = self
            .send(|node| {
                let purge = format!("{node}/invocations/{invocation}/purge");
                self.http.patch(purge).timeout(ANSWER_WITHIN)
            })
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = asked.status();
        if status.is_success() || status == reqwest::StatusCode::NOT_FOUND {
            return Ok(());
        }
        let said = asked.text().await.unwrap_or_default();
        Err(AdminError::Refused(format!("{status}: {said}")))
    }

    fn unreachable(&self, error: &reqwest::Error) -> AdminError {
        self.unreachable_because(root_cause(error))
    }

    fn too_slow(&self, limit: Duration) -> AdminError {
        self.unreachable_because(format!("no answer within {} s", limit.as_secs()))
    }

    fn unreachable_because(&self, cause: String) -> AdminError {
        AdminError::Unreachable {
            url: self.nodes.chosen().to_owned(),
            cause,
        }
    }
}

/// The order that an invocation's input is about: the first `"order_id":"…"`
/// in it, or the input itself when it is nothing but an id.
fn order_in(input: &[u8]) -> Option<OrderId> {
    let text = String::from_utf8_lossy(input);
    let id = match text.split_once("\"order_id\":\"") {
        Some((_, rest)) => rest.split('"').next()?,
        None => text.split('"').nth(1)?,
    };
    OrderId::parse(id).ok()
}

/// What lies at the bottom of an HTTP failure, e.g. "Connection refused".
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

/// `text` as an SQL string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `texts` as what stands between the brackets of `IN (…)`.
pub(crate) fn literals<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(literal).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_an_input_is_found_wherever_it_stands() {
        for input in [
            &b"rm\nk{\"attempt\":{\"order_id\":\"alice.o1\",\"attempt\":1},\"amount_cents\":12500}"
                [..],
            b"r\x0c\n\n\"alice.o1\"",
            b"r\xc2\x01\n{\"version\":5,\"order_id\":\"alice.o1\",\"lines\":[]}",
        ] {
            assert_eq!(order_in(input).unwrap().as_str(), "alice.o1");
        }
        assert_eq!(order_in(b"r\x02{\"quantity\":5}"), None);
        assert_eq!(order_in(b"r\x00"), None);
    }

    #[test]
    fn literals_cannot_break_out() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literals(["a", "b'"]), "'a','b'''");
    }

    #[tokio::test]
    async fn nobody_there_is_a_clear_answer() {
        let nobody = AdminApi::new(Nodes::of(["http://127.0.0.1:1"]), reqwest::Client::new());
        let error = nobody
            .query::<serde_json::Value>("SELECT 1")
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Restate's admin API at http://127.0.0.1:1 is not reachable"),
            "{error}"
        );
        let order = OrderId::parse("alice.1").unwrap();
        assert_eq!(nobody.retry_count(&order).await, None);
    }
}
