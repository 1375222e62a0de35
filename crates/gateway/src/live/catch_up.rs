//! Asks Restate for what this gateway has missed.
//!
//! One SQL query over the admin API reads the version of everything that the
//! read model copies: workflow records (by their small `head`), orders that
//! are still with the user's session, stock, late money, read marks, people, products, zones, and of each
//! day of the audit log how many entries it has. What is
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
use tokio::sync::{mpsc, oneshot};
use waybill_domain::Timestamp;
use waybill_domain::update::Update;

use super::backoff::Backoff;
use super::core::Core;
use super::health::CatchUpHealth;
use super::projector::Projection;
use super::topics::Topics;
use crate::clock::millis_between;
use crate::metrics::Metrics;
use crate::restate::admin::{AdminApi, AdminError, StateRow};
use crate::restate::states::{Content, Missing, State, ValueRow, versions_sql};
use crate::storage::db::Db;
use crate::storage::read_model;

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

/// A handle, and where what is asked through it arrives.
pub(super) fn handle() -> (CatchUpHandle, mpsc::Receiver<oneshot::Sender<Answer>>) {
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
/// [`EVERY`], until the gateway closes.
pub(super) async fn keep_caught_up(
    core: Arc<Core>,
    admin_api: AdminApi,
    db: Db,
    mut requests: mpsc::Receiver<oneshot::Sender<Answer>>,
) {
    let closing = core.closing.clone();
    let work = async {
        let mut backoff = Backoff::new();
        let mut wait = EVERY;
        let mut pruned: Option<Instant> = None;
        loop {
            if pruned.is_none_or(|at| at.elapsed() > PRUNE_EVERY) {
                pruned = Some(Instant::now());
                if let Err(error) = read_model::drop_notes(&db, Timestamp::now() - NOTES_KEPT).await
                {
                    tracing::warn!(%error, "old notes could not be dropped");
                }
            }
            let mut waiting = Vec::new();
            tokio::select! {
                Some(request) = requests.recv() => waiting.push(request),
                () = core.reconnected.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            // Whoever asked by now shares this one.
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            let began = Instant::now();
            let answer = catch_up_and_tell(&core, &admin_api, &db).await;
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

async fn catch_up_and_tell(core: &Core, admin_api: &AdminApi, db: &Db) -> Answer {
    let (at, began) = (Timestamp::now(), Instant::now());
    let answer = run(admin_api, db, &core.projection).await;
    let told = answer.as_ref().ok();
    core.metrics.catch_up(
        at,
        began.elapsed(),
        told.map(|done| (done.compared, done.closed)),
    );
    let failed_before = core.health.caught_up(CatchUpHealth {
        at,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        compared: answer.as_ref().map_or(0, |done| done.compared),
        closed: answer.as_ref().map_or(0, |done| done.closed),
        error: answer.as_ref().err().map(ToString::to_string),
    });
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
    answer
}

/// Empties the read model and fills it again from Restate, for
/// `gateway rebuild`. No gateway may serve from the file meanwhile. Restate is
/// asked first: when it cannot be reached, nothing is emptied.
pub async fn rebuild(
    db: &Db,
    admin_api: &AdminApi,
    keeps_ended: bool,
) -> Result<CatchUp, CatchUpError> {
    admin_api.is_up().await?;
    if keeps_ended {
        read_model::empty_but_ended(db).await?;
    } else {
        read_model::empty(db).await?;
    }
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
        let newer = newer(db, states).await?;
        let mut updates = Vec::new();
        for state in newer {
            match state.content {
                Content::Value(update) => updates.push(update),
                Content::InWorkflow(order) => missing.in_workflow.push(order),
                Content::InSession(order) => missing.in_session.push(order),
                Content::InCatalog(sku) => missing.in_catalog.push(sku),
                Content::InAuditLog(day) => missing.audit_days.push(day),
            }
        }
        done.closed += write(projection, updates).await?;
    }
    let compared = usize::try_from(done.compared).unwrap_or(usize::MAX);
    for sql in missing.questions(compared) {
        let rows = admin_api.query_rows::<ValueRow>(sql);
        let mut chunks = std::pin::pin!(in_chunks(rows));
        while let Some(chunk) = chunks.try_next().await? {
            let updates = chunk.into_iter().filter_map(|row| match row.update() {
                Ok(update) => update,
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
    let written = join_all(updates.into_iter().map(|update| projection.restore(update))).await;
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

/// Those of `states` that are newer than what SQLite has.
async fn newer(db: &Db, states: Vec<State>) -> sqlx::Result<Vec<State>> {
    let newer = read_model::newer(db, states.iter().map(|state| &state.version)).await?;
    let states = states.into_iter().enumerate();
    Ok(states
        .filter(|(place, _)| newer.contains(place))
        .map(|(_, state)| state)
        .collect())
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

#[cfg(test)]
mod tests {
    use process::nodes::Nodes;
    use services::wire::{
        ACCOUNT, AFTER_SALES, AUDIT_ENTRIES, AUDIT_LOG, CATALOG, CATALOG_KEY, INVENTORY, LEVEL,
        ORDER_FULFILLMENT_WORKFLOW, READ_MARK, RECORD, USER_SESSION, WHOLE_ACCOUNT,
        WHOLE_AFTER_SALES, audit_entry_key, product_key, zone_state_key,
    };
    use waybill_domain::audit::{Act, AuditEntry};

    use super::*;
    use crate::live::fake::Fake;
    use crate::live::projector::tests::{
        delivered, late, levels, orders, read_mark, run_of_updates,
    };
    use crate::storage::rows::tests::dump;

    fn row(service: &str, key_of: &str, key: &str, value: &str) -> StateRow {
        StateRow {
            service_name: service.to_owned(),
            service_key: key_of.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
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
            row(ORDER_FULFILLMENT_WORKFLOW, "no-dot", RECORD, "nonsense"),
            row(USER_SESSION, "alice", "checkout:exec:alice.1", ""),
        ];
        assert!(read(rows, &mut done).is_empty());
        assert_eq!(done.unreadable, 3);
    }

    #[tokio::test]
    async fn only_what_is_newer_is_fetched_and_nothing_is_deleted() {
        let fake = Fake::start().await;
        let (_folder, db, live) = fake.live().await;
        let (alice, bob) = (delivered("alice.1"), delivered("bob.2"));
        // Only here: Restate has forgotten it.
        live.apply(orders(delivered("carol.3")).pop().unwrap())
            .await
            .unwrap();
        live.apply(orders(alice.clone()).pop().unwrap())
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

        let first = live.catch_up().await.unwrap();
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

        let second = live.catch_up().await.unwrap();
        assert_eq!((second.compared, second.closed), (5, 0));
        live.close().await;
    }

    #[tokio::test]
    async fn a_rebuild_gives_the_same_rows() {
        let fake = Fake::start().await;
        let (_folder, db, live) = fake.live().await;
        for update in run_of_updates() {
            match &update {
                Update::Order(record) if record.order_id.short() == "3" => fake.hold_marker(record),
                Update::Order(record) => fake.hold_workflow(record),
                Update::Stock(level) => fake.hold(INVENTORY, level.sku.as_str(), LEVEL, level),
                Update::Late(late) => fake.hold(USER_SESSION, "bob", "late:bob.2", late),
                Update::Read(mark) => {
                    fake.hold(USER_SESSION, "alice", READ_MARK, mark);
                }
                Update::Account(account) => {
                    fake.hold(ACCOUNT, account.user.as_str(), WHOLE_ACCOUNT, account);
                }
                Update::AfterSales(after) => {
                    let order = after.order_id.as_str();
                    fake.hold(AFTER_SALES, order, WHOLE_AFTER_SALES, after);
                }
                Update::Product(product) => {
                    fake.hold(CATALOG, CATALOG_KEY, &product_key(&product.sku), product);
                }
                Update::Zone(zone) => {
                    fake.hold(CATALOG, CATALOG_KEY, &zone_state_key(&zone.key()), zone);
                }
                Update::Audit(_) | Update::Basket(_) | Update::Heartbeat => {}
            }
            live.apply(update).await.unwrap();
        }
        live.note(&mark_of("alice"), "item_added", "Item added", None)
            .await;
        live.close().await;
        let before = dump(&db).await;
        let admin_api = AdminApi::new(Nodes::of([&fake.base]), reqwest::Client::new());
        let done = rebuild(&db, &admin_api, false).await.unwrap();
        assert_eq!(done.closed, 10);
        assert_eq!(dump(&db).await, before);
    }

    #[tokio::test]
    async fn a_day_that_lacks_entries_is_fetched_once() {
        let fake = Fake::start().await;
        let (_folder, db, live) = fake.live().await;
        let entries = [1, 2, 3].map(|n| AuditEntry {
            id: format!("sign_in:alice:{n}"),
            at: Timestamp::from_second(n).unwrap(),
            what: Act::SignIn,
            by: "alice".into(),
            subject: "alice".to_owned(),
            detail: String::new(),
            count: 1,
        });
        let day = entries[0].day();
        for entry in &entries {
            fake.hold(AUDIT_LOG, &day, &audit_entry_key(&entry.id), entry);
        }
        fake.hold(AUDIT_LOG, &day, AUDIT_ENTRIES, &3);
        // One was heard of.
        let heard = Update::Audit(Box::new(entries[1].clone()));
        assert!(live.apply(heard.clone()).await.unwrap());
        assert!(!live.apply(heard).await.unwrap());

        let first = live.catch_up().await.unwrap();
        assert_eq!((first.compared, first.closed, first.unreadable), (1, 2, 0));
        let second = live.catch_up().await.unwrap();
        assert_eq!((second.compared, second.closed), (1, 0));
        assert_eq!(fake.questions().len(), 3, "the whole day only once");
        live.close().await;
        // It only grows, also when all else is filled anew.
        let admin_api = AdminApi::new(Nodes::of([&fake.base]), reqwest::Client::new());
        rebuild(&db, &admin_api, false).await.unwrap();
        let found: Vec<String> = sqlx::query_scalar("SELECT id FROM audit ORDER BY at")
            .fetch_all(&db.read)
            .await
            .unwrap();
        assert_eq!(found, entries.map(|entry| entry.id));
    }

    fn mark_of(user: &str) -> waybill_domain::ids::Username {
        waybill_domain::ids::Username::parse(user).unwrap()
    }

    #[tokio::test]
    async fn without_restate_nothing_is_emptied() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let nobody = AdminApi::new(Nodes::of(["http://127.0.0.1:1"]), reqwest::Client::new());
        sqlx::query("INSERT INTO read_marks VALUES ('alice', 1)")
            .execute(&db.write)
            .await
            .unwrap();
        assert!(rebuild(&db, &nobody, false).await.is_err());
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM read_marks")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(left, 1);
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_a_failure_and_is_told() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        for (answer, told) in [
            ("{\"rows\":[{\"service_name\":\"Inv", "broke off"),
            ("{\"rows\":[{\"strange\":1}]}", "unreadable row"),
            ("<html>", "broke off"),
        ] {
            fake.break_admin_api(Some(answer));
            let error = live.catch_up().await.unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert_eq!(live.health().last_catch_up.unwrap().error, Some(error));
        }
        fake.break_admin_api(None);
        live.catch_up().await.unwrap();
        assert_eq!(live.health().behind_ms, Some(0));
        live.close().await;
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_catch_up() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let asked = futures::future::join_all((0..50).map(|_| live.catch_up())).await;
        assert!(asked.iter().all(Result::is_ok));
        assert!(fake.questions().len() <= 2, "{}", fake.questions().len());
        live.close().await;
    }
}
