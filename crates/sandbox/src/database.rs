//! The ledger file: one writer, a few readers.

use std::{
    ops::{Deref, DerefMut},
    str::FromStr as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How long closing may wait for queries under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The open ledger file.
pub(crate) struct Database {
    /// The file has one writer, and queueing for it here is cheaper than
    /// meeting "database is locked". It is no pool of one connection because
    /// a pool pings each connection it gets back (sqlx 0.9), which would keep
    /// the writer from the next request.
    writer: Arc<Mutex<Writer>>,
    readers: SqlitePool,
}

struct Writer {
    connection: SqliteConnection,
    /// A transaction may be open: set from before its begin to after its
    /// commit.
    begun: bool,
}

/// A transaction of the only writer. Dropped without [`Writing::commit`], as
/// when a caller hangs up, it is undone before the next one begins.
pub(crate) struct Writing(OwnedMutexGuard<Writer>);

impl Database {
    pub(crate) async fn open(url: &str) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .with_context(|| format!("the sandbox's database URL {url:?} is not one of SQLite"))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        anyhow::ensure!(
            !url.contains(":memory:") && !url.contains("mode=memory"),
            "the sandbox's ledger must be a file, {url:?} is not: it has to survive a restart"
        );
        let file = options.get_filename();
        process::private_files::keep_database_private(file)
            .with_context(|| format!("cannot create {}", file.display()))?;
        let mut connection = options
            .connect()
            .await
            .with_context(|| format!("cannot open the sandbox's ledger {url}"))?;
        sqlx::migrate!()
            .run(&mut connection)
            .await
            .with_context(|| format!("cannot bring the sandbox's ledger {url} up to date"))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        let writer = Writer {
            connection,
            begun: false,
        };
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            readers,
        })
    }

    /// Begins a transaction that may read and then write what it has read.
    pub(crate) async fn write(&self) -> sqlx::Result<Writing> {
        let mut writing = self.write_once().await?;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *writing)
            .await?;
        Ok(writing)
    }

    /// The writer for one statement, which is a transaction of its own and is not committed:
    /// [`Writing::done`].
    pub(crate) async fn write_once(&self) -> sqlx::Result<Writing> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        if writer.begun {
            // Fails when the begin or the commit itself was cut short: then
            // there is nothing to undo.
            let undone = sqlx::query("ROLLBACK").execute(&mut writer.connection);
            if let Err(error) = undone.await {
                tracing::debug!("an abandoned transaction was not open any more: {error}");
            }
        }
        writer.begun = true;
        Ok(Writing(writer))
    }

    /// Connections that see everything committed, and can write nothing.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Lets queries under way end, and folds the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        let closed = async {
            self.readers.close().await;
            let mut writer = self.writer.lock().await;
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .execute(&mut writer.connection)
                .await
        };
        match tokio::time::timeout(CLOSE_PATIENCE, closed).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!("the sandbox's ledger keeps its log: {error}"),
            Err(_) => tracing::warn!("the sandbox's ledger was left with queries under way"),
        }
    }
}

impl Writing {
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        sqlx::query("COMMIT")
            .execute(&mut self.0.connection)
            .await?;
        self.0.begun = false;
        Ok(())
    }

    /// Nothing is open: the one statement has ended.
    pub(crate) fn done(mut self) {
        self.0.begun = false;
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0.connection
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }
}

/// The time outside, in Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A query that is narrowed to one order, if one is given.
///
/// `column` is compared only in the narrowed form, so that the planner sees a
/// plain equality and uses the index.
pub(crate) fn of_order(
    select: &'static str,
    column: &'static str,
    order_id: Option<&str>,
    order_by: &'static str,
) -> sqlx::QueryBuilder<sqlx::Sqlite> {
    let mut query = sqlx::QueryBuilder::new(select);
    if let Some(order_id) = order_id {
        query.push(" WHERE ").push(column).push(" = ");
        query.push_bind(order_id);
    }
    query.push(" ").push(order_by);
    query
}
