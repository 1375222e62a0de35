//! Asks Restate for what this gateway has missed.
//!
//! One SQL query over the admin API reads the version of everything that the
//! read model copies: workflow records (by their small `head`), orders that
//! are still with the user's session, stock, late money, read marks. What is
//! newer than SQLite's is fetched and goes through the projector, by its own
//! version. So a catch-up may run at any time and beside the update stream.
//!
//! It never deletes: what Restate no longer holds (`ORDER_RETENTION`) stays.
//! Answers are read row by row, so memory holds a chunk and the ids of what is
//! missing, whatever the number of orders.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{Stream, TryStreamExt as _};
use serde::Deserialize;
use services::wire::{
    HEAD, INVENTORY, LATE, LEVEL, MARKER, ORDER_FULFILLMENT_WORKFLOW, READ_MARK, RECORD,
    USER_SESSION, marker_key,
};
use tokio::sync::{mpsc, oneshot};
use waybill_domain::Timestamp;
use waybill_domain::checkout::Marker;
use waybill_domain::ids::OrderId;
use waybill_domain::order::{Head, OrderRecord};
use waybill_domain::payment::LateMoney;
use waybill_domain::stock::StockLevel;
use waybill_domain::update::{ReadMark, Update};

use super::projector::Projection;
use super::topics::Topics;
use super::{Backoff, CatchUpHealth, LiveState, millis_between};
use crate::metrics::Metrics;
use crate::restate::admin::{AdminApi, AdminError, StateRow, literals};
use crate::storage::db::Db;

/// How often the read model is compared although nothing seems wrong.
const EVERY: Duration = Duration::from_secs(30);
/// Least time between two catch-ups: an unknown id costs Restate a scan, and
/// anybody can ask for one. At least twice what the latest one took, so that
/// asking takes a third of the time at most.
const SPACING: Duration = Duration::from_millis(200);
/// How long whoever asks waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a gateway's own notes ("item added") are kept, and how often those
/// that are older are dropped. What orders tell is kept with the orders.
const NOTES_KEPT: Duration = Duration::from_hours(720);
const PRUNE_EVERY: Duration = Duration::from_hours(24);
/// Rows that are compared and written together.
const CHUNK: usize = 500;
/// Orders that are fetched by one query. Restate reads over all keys to find
/// them (0.3 s with 100,000 orders), however many are asked for; when more than
/// a share of them is missing, everything is read in one pass.
const BY_KEY: usize = 1_000;
/// See [`BY_KEY`].
const MOST_QUERIES_BY_KEY: usize = 10;

/// What a catch-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// States that Restate holds.
    pub compared: u64,
    /// States that were newer there and are in the read model now.
    pub closed: u64,
    /// States that could not be read: written by a version that this gateway
    /// does not understand.
    pub unreadable: u64,
}

/// Why a catch-up could not be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatchUpError {
    /// Restate cannot be asked.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The read model cannot be read or written.
    #[error("the read model is not usable: {0}")]
    Database(String),
    /// It takes longer than anybody should wait.
    #[error("Restate does not answer in time")]
    Slow,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Closing,
}

impl From<sqlx::Error> for CatchUpError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

type Answer = Result<CatchUp, CatchUpError>;

/// Where catch-ups are asked for.
pub(super) struct CatchUpHandle(mpsc::Sender<oneshot::Sender<Answer>>);

/// A door and where it leads.
pub(super) fn door() -> (CatchUpHandle, mpsc::Receiver<oneshot::Sender<Answer>>) {
    let (asking, requests) = mpsc::channel(256);
    (CatchUpHandle(asking), requests)
}

impl CatchUpHandle {
    /// A catch-up that begins after this call.
    pub(super) async fn ask(&self) -> Answer {
        let (answer, asked) = oneshot::channel();
        self.0
            .send(answer)
            .await
            .map_err(|_| CatchUpError::Closing)?;
        tokio::time::timeout(ANSWER_WITHIN, asked)
            .await
            .map_err(|_| CatchUpError::Slow)?
            .map_err(|_| CatchUpError::Closing)?
    }
}

/// Catches up when a stream has (re)connected, when asked, and every
/// [`EVERY`], until the hub closes.
pub(super) async fn keep_caught_up(
    hub: LiveState,
    db: Db,
    mut requests: mpsc::Receiver<oneshot::Sender<Answer>>,
) {
    let closing = hub.closing().clone();
    let work = async {
        let mut backoff = Backoff::new();
        let mut wait = EVERY;
        let mut pruned: Option<Instant> = None;
        loop {
            if pruned.is_none_or(|at| at.elapsed() > PRUNE_EVERY) {
                pruned = Some(Instant::now());
                if let Err(error) = queries::prune(&db, Timestamp::now() - NOTES_KEPT).await {
                    tracing::warn!(%error, "old notes could not be dropped");
                }
            }
            let mut waiting = Vec::new();
            tokio::select! {
                Some(request) = requests.recv() => waiting.push(request),
                () = hub.0.reconnected.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            // Whoever asked by now shares this one.
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            let began = Instant::now();
            let answer = catch_up_and_tell(&hub, &db).await;
            wait = match answer {
                Ok(_) => {
                    backoff.reset();
                    EVERY
                }
                Err(_) => backoff.next(),
            };
            for waiting in waiting {
                let _ = waiting.send(answer.clone());
            }
            // A failure has cost Restate nothing.
            let spacing = match answer {
                Ok(_) => SPACING.max(began.elapsed() * 2),
                Err(_) => SPACING,
            };
            tokio::time::sleep(spacing).await;
        }
    };
    closing.run_until_cancelled(work).await;
}

async fn catch_up_and_tell(hub: &LiveState, db: &Db) -> Answer {
    let (at, began) = (Timestamp::now(), Instant::now());
    let answer = run(&hub.0.admin_api, db, &hub.0.projection).await;
    hub.0
        .metrics
        .catch_up(answer.as_ref().ok().map(|done| done.closed));
    let mut state = hub.state();
    let failed_before = state
        .last_catch_up
        .as_ref()
        .is_some_and(|last| last.error.is_some());
    match &answer {
        Ok(done) if done.closed > 0 || failed_before => {
            tracing::info!(
                compared = done.compared,
                closed = done.closed,
                unreadable = done.unreadable,
                elapsed_ms = millis_between(at, Timestamp::now()),
                "caught up with Restate"
            );
        }
        Err(error) if !failed_before => {
            tracing::warn!(%error, "cannot catch up with Restate, so it is tried again");
        }
        Ok(_) | Err(_) => {}
    }
    state.gaps_closed += answer.as_ref().map_or(0, |done| done.closed);
    state.last_catch_up = Some(CatchUpHealth {
        at,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        compared: answer.as_ref().map_or(0, |done| done.compared),
        closed: answer.as_ref().map_or(0, |done| done.closed),
        error: answer.as_ref().err().map(ToString::to_string),
    });
    answer
}

/// Empties the read model and fills it again from Restate, for
/// `gateway rebuild`. No gateway may serve from the file meanwhile. Restate is
/// asked first: when it cannot be reached, nothing is emptied.
pub async fn rebuild(db: &Db, admin_api: &AdminApi) -> Result<CatchUp, CatchUpError> {
    admin_api.is_up().await?;
    queries::empty(db).await?;
    let (projection, writer) =
        Projection::new(db.clone(), Arc::<Topics>::default(), Metrics::default());
    let writer = tokio::spawn(writer);
    let answer = run(admin_api, db, &projection).await;
    projection.close();
    writer
        .await
        .map_err(|error| CatchUpError::Database(error.to_string()))?;
    answer
}

/// One comparison, and what follows from it.
async fn run(admin_api: &AdminApi, db: &Db, projection: &Projection) -> Answer {
    let mut done = CatchUp {
        compared: 0,
        closed: 0,
        unreadable: 0,
    };
    let mut missing = Missing::default();
    let rows = admin_api.query_rows::<StateRow>(versions_sql());
    let mut chunks = std::pin::pin!(in_chunks(rows));
    while let Some(chunk) = chunks.try_next().await? {
        done.compared += chunk.len() as u64;
        let states = read(chunk, &mut done);
        let newer = queries::newer(db, states).await?;
        let mut updates = Vec::new();
        for state in newer {
            match state.held {
                Held::Value(update) => updates.push(update),
                Held::InWorkflow(order) => missing.in_workflow.push(order),
                Held::InSession(order) => missing.in_session.push(order),
            }
        }
        done.closed += write(projection, updates).await?;
    }
    let compared = usize::try_from(done.compared).unwrap_or(usize::MAX);
    for sql in missing.questions(compared) {
        let rows = admin_api.query_rows::<ValueRow>(sql);
        let mut chunks = std::pin::pin!(in_chunks(rows));
        while let Some(chunk) = chunks.try_next().await? {
            let updates = chunk.into_iter().filter_map(|row| match row.order() {
                Ok(order) => order.map(|order| Update::Order(Box::new(order))),
                Err(error) => {
                    skip(&mut done, &row.service_key, &row.key, &error);
                    None
                }
            });
            let updates = updates.collect();
            done.closed += write(projection, updates).await?;
        }
    }
    Ok(done)
}

/// Rows in vectors of at most [`CHUNK`]; after an error nothing follows.
fn in_chunks<T>(
    rows: impl Stream<Item = Result<T, AdminError>>,
) -> impl Stream<Item = Result<Vec<T>, AdminError>> {
    rows.try_chunks(CHUNK).map_err(|broken| broken.1)
}

/// Writes a chunk; answers how much of it was news.
async fn write(projection: &Projection, updates: Vec<Update>) -> Result<u64, CatchUpError> {
    let written = join_all(updates.into_iter().map(|update| projection.apply(update))).await;
    let mut closed = 0;
    for written in written {
        match written {
            Ok(news) => closed += u64::from(news),
            Err(error) => return Err(CatchUpError::Database(error.to_string())),
        }
    }
    Ok(closed)
}

fn skip(done: &mut CatchUp, service_key: &str, key: &str, error: &serde_json::Error) {
    done.unreadable += 1;
    tracing::warn!(restate.key = service_key, restate.state = key, %error, "a state in Restate cannot be read");
}

/// The one query that says what is newest. Small states come whole, orders of
/// a session with what stands at their beginning.
fn versions_sql() -> String {
    format!(
        "SELECT service_name, service_key, key, \
           CASE WHEN key LIKE '{MARKER}%' THEN substr(value_utf8, 1, 96) ELSE value_utf8 END AS value \
         FROM state \
         WHERE (service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{HEAD}') \
            OR (service_name = '{INVENTORY}' AND key = '{LEVEL}') \
            OR (service_name = '{USER_SESSION}' AND ( \
                 (key LIKE '{MARKER}%' AND value_utf8 LIKE '{{\"version\"%') \
                 OR key LIKE '{LATE}%' OR key = '{READ_MARK}'))"
    )
}

/// A row of a query for whole records.
#[derive(Debug, Deserialize)]
struct ValueRow {
    service_key: String,
    key: String,
    value: String,
}

/// One state in Restate, and how new it is.
#[derive(Debug)]
struct State {
    kind: Kind,
    key: String,
    version: i64,
    updated_at: i64,
    held: Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Order,
    Stock,
    Late,
    Read,
}

/// What is at hand of a state, or where the rest of it is.
#[derive(Debug)]
enum Held {
    Value(Update),
    InWorkflow(OrderId),
    InSession(OrderId),
}

fn read(rows: Vec<StateRow>, done: &mut CatchUp) -> Vec<State> {
    let read = rows.into_iter().filter_map(|row| match row.state() {
        Ok(state) => Some(state),
        Err(error) => {
            skip(done, &row.service_key, &row.key, &error);
            None
        }
    });
    read.collect()
}

impl StateRow {
    fn state(&self) -> serde_json::Result<State> {
        match (self.service_name.as_str(), self.key.as_str()) {
            (ORDER_FULFILLMENT_WORKFLOW, _) => {
                let head: Head = serde_json::from_str(&self.value)?;
                let order = order_id(&self.service_key)?;
                Ok(State::order(
                    head.version,
                    head.updated_at,
                    Held::InWorkflow(order.clone()),
                    &order,
                ))
            }
            (INVENTORY, _) => {
                let level: StockLevel = serde_json::from_str(&self.value)?;
                Ok(State {
                    kind: Kind::Stock,
                    key: level.sku.to_string(),
                    version: to_i64(level.version),
                    updated_at: 0,
                    held: Held::Value(Update::Stock(level)),
                })
            }
            (_, READ_MARK) => {
                let mark: ReadMark = serde_json::from_str(&self.value)?;
                Ok(State {
                    kind: Kind::Read,
                    key: mark.user_id.to_string(),
                    version: mark.read_at.as_millisecond(),
                    updated_at: 0,
                    held: Held::Value(Update::Read(mark)),
                })
            }
            (_, key) => {
                if let Some(order) = key.strip_prefix(MARKER) {
                    let order = order_id(order)?;
                    let (version, updated_at) = beginning(&self.value)?;
                    Ok(State::order(
                        version,
                        updated_at,
                        Held::InSession(order.clone()),
                        &order,
                    ))
                } else {
                    let late: LateMoney = serde_json::from_str(&self.value)?;
                    Ok(State {
                        kind: Kind::Late,
                        key: late.order_id.to_string(),
                        version: to_i64(late.version),
                        updated_at: 0,
                        held: Held::Value(Update::Late(late)),
                    })
                }
            }
        }
    }
}

impl State {
    fn order(version: u64, updated_at: Timestamp, held: Held, order: &OrderId) -> Self {
        Self {
            kind: Kind::Order,
            key: order.to_string(),
            version: to_i64(version),
            updated_at: updated_at.as_millisecond(),
            held,
        }
    }
}

impl ValueRow {
    /// The order in it; `None` when it has been handed over meanwhile.
    fn order(&self) -> serde_json::Result<Option<OrderRecord>> {
        if self.key == RECORD {
            return serde_json::from_str(&self.value).map(Some);
        }
        match serde_json::from_str(&self.value)? {
            Marker::Here(record) => Ok(Some(*record)),
            Marker::HandedOver(_) => Ok(None),
        }
    }
}

/// Version and time of a record from the first bytes of its JSON, which
/// `domain` promises to begin with these two.
fn beginning(json: &str) -> serde_json::Result<(u64, Timestamp)> {
    #[derive(Deserialize)]
    struct Beginning {
        version: u64,
        updated_at: Timestamp,
    }
    let end = json.match_indices(',').nth(1).map(|(at, _)| at);
    let cut = format!("{}}}", &json[..end.unwrap_or(json.len())]);
    let Beginning {
        version,
        updated_at,
    } = serde_json::from_str(&cut)?;
    Ok((version, updated_at))
}

fn order_id(text: &str) -> serde_json::Result<OrderId> {
    use serde::de::Error as _;
    OrderId::parse(text).map_err(serde_json::Error::custom)
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Orders that have to be fetched, by where they are.
#[derive(Debug, Default)]
struct Missing {
    in_workflow: Vec<OrderId>,
    in_session: Vec<OrderId>,
}

impl Missing {
    /// The queries that fetch them.
    fn questions(&self, compared: usize) -> impl Iterator<Item = String> + '_ {
        // Nearly all, as in a rebuild: one pass over everything is cheaper.
        let most = MOST_QUERIES_BY_KEY * BY_KEY;
        let all = move |missing: usize| missing > most && missing * 4 > compared;
        let workflow_by_key = !all(self.in_workflow.len());
        let session_by_key = !all(self.in_session.len());
        let workflow = self
            .in_workflow
            .chunks(if workflow_by_key { BY_KEY } else { usize::MAX })
            .map(move |orders| {
                let whose = if workflow_by_key {
                    let keys = literals(orders.iter().map(OrderId::as_str));
                    format!(" AND service_key IN ({keys})")
                } else {
                    String::new()
                };
                format!(
                    "SELECT service_key, key, value_utf8 AS value FROM state \
                     WHERE service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}'{whose}"
                )
            });
        let session = self
            .in_session
            .chunks(if session_by_key { BY_KEY } else { usize::MAX })
            .map(move |orders| {
                let which = if session_by_key {
                    let users: std::collections::BTreeSet<String> =
                        orders.iter().map(|order| order.owner().into()).collect();
                    let keys: Vec<_> = orders.iter().map(marker_key).collect();
                    format!(
                        "service_key IN ({}) AND key IN ({})",
                        literals(users.iter().map(String::as_str)),
                        literals(keys.iter().map(String::as_str))
                    )
                } else {
                    format!("key LIKE '{MARKER}%' AND value_utf8 LIKE '{{\"version\"%'")
                };
                format!(
                    "SELECT service_key, key, value_utf8 AS value FROM state \
                     WHERE service_name = '{USER_SESSION}' AND {which}"
                )
            });
        session.chain(workflow)
    }
}

mod queries {
    use std::collections::HashSet;

    use serde_json::json;

    use super::{Db, Kind, State, Timestamp};

    /// Those of `states` that are newer than what SQLite has.
    pub(super) async fn newer(db: &Db, states: Vec<State>) -> sqlx::Result<Vec<State>> {
        let mut newer = HashSet::new();
        for (kind, table, known, stale) in [
            // A higher time with a lower version: the id was used again after
            // Restate had forgotten the first order.
            (
                Kind::Order,
                "orders ON order_id",
                "version",
                "version < value ->> 1 OR updated_at < value ->> 2",
            ),
            (
                Kind::Stock,
                "stock_levels ON sku",
                "version",
                "version < value ->> 1",
            ),
            (
                Kind::Late,
                "late_money ON order_id",
                "version",
                "version < value ->> 1",
            ),
            (
                Kind::Read,
                "read_marks ON user_id",
                "read_at",
                "read_at < value ->> 1",
            ),
        ] {
            let rows: Vec<_> = states
                .iter()
                .enumerate()
                .filter(|(_, state)| state.kind == kind)
                .map(|(position, state)| {
                    json!([state.key, state.version, state.updated_at, position])
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT value ->> 3 FROM json_each(?)
                 LEFT JOIN {table} = value ->> 0
                 WHERE {known} IS NULL OR {stale}"
            );
            let positions: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .bind(serde_json::Value::Array(rows).to_string())
                .fetch_all(&db.read)
                .await?;
            newer.extend(positions);
        }
        let mut position = 0;
        Ok(states
            .into_iter()
            .filter(|_| {
                position += 1;
                newer.contains(&(position - 1))
            })
            .collect())
    }

    /// Drops the gateway's own notes that are older than `before`.
    pub(super) async fn prune(db: &Db, before: Timestamp) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM notifications WHERE order_id IS NULL AND at < ?")
            .bind(before.as_millisecond())
            .execute(&db.write)
            .await?;
        Ok(())
    }

    /// Forgets everything that Restate can tell again. Notes that gateways
    /// wrote themselves stay.
    pub(super) async fn empty(db: &Db) -> sqlx::Result<()> {
        let mut transaction = db.begin().await?;
        for statement in [
            "DELETE FROM orders",
            "DELETE FROM notifications WHERE order_id IS NOT NULL",
            "DELETE FROM stock_levels",
            "DELETE FROM late_money",
            "DELETE FROM read_marks",
        ] {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::live::fake::Fake;
    use crate::live::projector::tests::{
        delivered, dump, late, levels, orders, read_mark, run_of_updates,
    };

    fn row(service: &str, key_of: &str, key: &str, value: &str) -> StateRow {
        StateRow {
            service_name: service.to_owned(),
            service_key: key_of.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn the_beginning_of_a_record_tells_its_version() {
        let cut =
            r#"{"version":12,"updated_at":"2026-11-22T12:00:00.5Z","order_id":"alice.o-1","user_i"#;
        let (version, at) = beginning(cut).unwrap();
        assert_eq!(
            (version, at.to_string().as_str()),
            (12, "2026-11-22T12:00:00.5Z")
        );
        assert!(beginning("{\"version\":1").is_err());
        assert!(beginning("").is_err());
    }

    #[test]
    fn rows_are_told_apart() {
        let head = row(
            ORDER_FULFILLMENT_WORKFLOW,
            "alice.1",
            HEAD,
            r#"{"version":3,"status":"shipping","updated_at":"1970-01-01T00:00:01Z"}"#,
        );
        let state = head.state().unwrap();
        assert_eq!(
            (state.kind, state.version, state.updated_at),
            (Kind::Order, 3, 1000)
        );
        assert!(matches!(state.held, Held::InWorkflow(_)));

        let marker = row(
            USER_SESSION,
            "alice",
            "checkout:exec:alice.2",
            r#"{"version":1,"updated_at":"1970-01-01T00:00:00Z","order_id":"ali"#,
        );
        let state = marker.state().unwrap();
        assert_eq!((state.kind, state.key.as_str()), (Kind::Order, "alice.2"));
        assert!(matches!(state.held, Held::InSession(_)));

        let read = json!({"user_id": "alice", "read_at": "1970-01-01T00:00:02Z"}).to_string();
        let state = row(USER_SESSION, "alice", READ_MARK, &read)
            .state()
            .unwrap();
        assert_eq!((state.kind, state.version), (Kind::Read, 2000));

        let late = json!({"version": 2, "order_id": "alice.1", "user_id": "alice", "payments": []});
        let state = row(USER_SESSION, "alice", "late:alice.1", &late.to_string())
            .state()
            .unwrap();
        assert_eq!((state.kind, state.version), (Kind::Late, 2));
    }

    #[test]
    fn what_cannot_be_read_is_skipped_and_counted() {
        let mut done = CatchUp {
            compared: 0,
            closed: 0,
            unreadable: 0,
        };
        let rows = vec![
            row(INVENTORY, "P1", LEVEL, "{}"),
            row(ORDER_FULFILLMENT_WORKFLOW, "no-dot", HEAD, "nonsense"),
            row(USER_SESSION, "alice", "checkout:exec:alice.1", ""),
        ];
        assert!(read(rows, &mut done).is_empty());
        assert_eq!(done.unreadable, 3);
    }

    #[tokio::test]
    async fn only_what_is_newer_is_fetched_and_nothing_is_deleted() {
        let fake = Fake::start().await;
        let (_folder, db, hub) = fake.hub().await;
        let (alice, bob) = (delivered("alice.1"), delivered("bob.2"));
        // Only here: Restate has forgotten it.
        hub.apply(orders(delivered("carol.3")).pop().unwrap())
            .await
            .unwrap();
        hub.apply(orders(alice.clone()).pop().unwrap())
            .await
            .unwrap();
        fake.hold_workflow(&alice[13]);
        fake.hold_marker(&bob[3]);
        let Update::Stock(level) = levels().pop().unwrap() else {
            unreachable!()
        };
        fake.hold(INVENTORY, "P0", LEVEL, &level);
        let Update::Late(late) = late("bob.2", 2).pop().unwrap() else {
            unreachable!()
        };
        fake.hold(USER_SESSION, "bob", "late:bob.2", &late);
        let Update::Read(mark) = read_mark(30) else {
            unreachable!()
        };
        fake.hold(USER_SESSION, "alice", READ_MARK, &mark);

        let first = hub.catch_up().await.unwrap();
        assert_eq!((first.compared, first.closed, first.unreadable), (5, 4, 0));
        let asked = fake.questions();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked[1].contains("'checkout:exec:bob.2'") && !asked[1].contains("alice"));
        let found: Vec<(String, i64)> =
            sqlx::query_as("SELECT order_id, version FROM orders ORDER BY order_id")
                .fetch_all(&db.read)
                .await
                .unwrap();
        let expected = [("alice.1", 14), ("bob.2", 4), ("carol.3", 14)];
        assert_eq!(
            found,
            expected.map(|(id, version)| (id.to_owned(), version))
        );

        let second = hub.catch_up().await.unwrap();
        assert_eq!((second.compared, second.closed), (5, 0));
        hub.close().await;
    }

    #[tokio::test]
    async fn a_rebuild_gives_the_same_rows() {
        let fake = Fake::start().await;
        let (_folder, db, hub) = fake.hub().await;
        for update in run_of_updates() {
            match &update {
                Update::Order(record) if record.order_id.short() == "3" => fake.hold_marker(record),
                Update::Order(record) => fake.hold_workflow(record),
                Update::Stock(level) => fake.hold(INVENTORY, level.sku.as_str(), LEVEL, level),
                Update::Late(late) => fake.hold(USER_SESSION, "bob", "late:bob.2", late),
                Update::Read(mark) => fake.hold(USER_SESSION, "alice", READ_MARK, mark),
                Update::Basket(_) | Update::Heartbeat => {}
            }
            hub.apply(update).await.unwrap();
        }
        hub.note(&mark_of("alice"), "item_added", "Item added", None)
            .await;
        hub.close().await;
        let before = dump(&db).await;
        let admin_api = AdminApi::new(&fake.base, reqwest::Client::new());
        let done = rebuild(&db, &admin_api).await.unwrap();
        assert_eq!(done.closed, 6);
        assert_eq!(dump(&db).await, before);
    }

    fn mark_of(user: &str) -> waybill_domain::ids::Username {
        waybill_domain::ids::Username::parse(user).unwrap()
    }

    #[tokio::test]
    async fn without_restate_nothing_is_emptied() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let nobody = AdminApi::new("http://127.0.0.1:1", reqwest::Client::new());
        sqlx::query("INSERT INTO read_marks VALUES ('alice', 1)")
            .execute(&db.write)
            .await
            .unwrap();
        assert!(rebuild(&db, &nobody).await.is_err());
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM read_marks")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(left, 1);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_failure_and_is_told() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        for (answer, told) in [
            ("{\"rows\":[{\"service_name\":\"Inv", "broke off"),
            ("{\"rows\":[{\"strange\":1}]}", "unreadable row"),
            ("<html>", "broke off"),
        ] {
            fake.break_admin_api(Some(answer));
            let error = hub.catch_up().await.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert_eq!(hub.health().last_catch_up.unwrap().error, Some(error));
        }
        fake.break_admin_api(None);
        hub.catch_up().await.unwrap();
        assert_eq!(hub.health().behind_ms, Some(0));
        hub.close().await;
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_catch_up() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let asked = futures::future::join_all((0..50).map(|_| hub.catch_up())).await;
        assert!(asked.iter().all(Result::is_ok));
        assert!(fake.questions().len() <= 2, "{}", fake.questions().len());
        hub.close().await;
    }

    #[test]
    fn few_are_fetched_by_key_and_most_in_one_pass() {
        let orders = |count: usize| -> Vec<OrderId> {
            (0..count)
                .map(|n| OrderId::parse(&format!("alice.{n}")).unwrap())
                .collect()
        };
        let few = Missing {
            in_workflow: orders(1001),
            in_session: orders(1),
        };
        let questions: Vec<_> = few.questions(100_000).collect();
        assert_eq!(questions.len(), 3);
        assert!(questions[0].contains("key IN ('checkout:exec:alice.0')"));
        assert!(questions[2].ends_with("service_key IN ('alice.1000')"));

        let most = Missing {
            in_workflow: orders(15_000),
            in_session: vec![],
        };
        let questions: Vec<_> = most.questions(16_000).collect();
        assert_eq!(questions.len(), 1);
        assert!(questions[0].ends_with("key = 'record'"));
    }
}
