//! The ledger file: one writer, a few readers.

use std::{str::FromStr as _, time::Duration};

use anyhow::Context as _;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// How long closing may wait for queries under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The open ledger file.
pub(crate) struct Database {
    /// One connection: SQLite has one writer, and queueing for it here is
    /// cheaper than meeting "database is locked".
    writer: SqlitePool,
    readers: SqlitePool,
}

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
        if let Some(folder) = options.get_filename().parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .with_context(|| format!("cannot open the sandbox's ledger {url}"))?;
        sqlx::migrate!()
            .run(&writer)
            .await
            .with_context(|| format!("cannot bring the sandbox's ledger {url} up to date"))?;
        let readers = pool(4)
            .connect_with(options.read_only(true).create_if_missing(false))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Begins a transaction that may read and then write what it has read.
    pub(crate) async fn write(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// For a single statement that writes.
    pub(crate) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// Connections that see everything committed, and can write nothing.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) async fn close(&self) {
        let closed = async {
            self.readers.close().await;
            self.writer.close().await;
        };
        if tokio::time::timeout(CLOSE_PATIENCE, closed).await.is_err() {
            tracing::warn!("the sandbox's ledger was left with queries under way");
        }
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        // The connection is a file in this process: there is nothing to ping.
        .test_before_acquire(false)
}
