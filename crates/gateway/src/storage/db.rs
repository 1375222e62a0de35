//! SQLite: one writer, a read pool, migrations.
//!
//! SQLite lets one connection write at a time. With a pool of one, writers
//! queue here in order and never meet "database is locked"; in WAL mode readers
//! do not wait for them.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use process::private_files::keep_database_private;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

/// The schema, embedded.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Readers at once. More would only queue for the same disk and two cores.
const READERS: u32 = 8;
/// Pages of 4 KiB that the WAL holds before it is folded into the file (default 1,000): a
/// page that changes all the time is written there once, and not for each 4 MiB of news.
const CHECKPOINT_PAGES: &str = "8000";
/// How long to wait for a lock that another process holds (a rebuild, a backup).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a free connection before it is refused.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the file says it is ("WAYB"), for programs such as file(1).
const SIGN: &str = "PRAGMA application_id = 0x57415942";

/// How long a look whether it can be written counts: whoever asks may ask often, and each
/// look takes the lock that writers wait for.
const WRITABLE_FOR: Duration = Duration::from_secs(1);

/// The database, cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    /// For queries.
    pub read: SqlitePool,
    /// For changes: one connection. Begin a read-then-write with
    /// [`Db::begin`].
    pub write: SqlitePool,
    /// When it was last seen that it can be written.
    writable: Arc<Mutex<Option<Instant>>>,
}

impl Db {
    /// Opens the file at `url`, creating it and its folder, and migrates it. An
    /// error says in one sentence what to do.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| anyhow!("DATABASE_URL is '{url}': {error}"))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            // What a statement could have to undo stays in memory: more than 64 KiB of it
            // would be a file each time.
            .pragma("temp_store", "memory")
            .foreign_keys(true);
        let file = options.get_filename().to_owned();
        make_private(&file)?;

        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file does not go away: asking each time costs as much as a query.
            .test_before_acquire(false)
            // A commit or a rollback that fails, as on a full disk, leaves sqlx's count of open
            // transactions wrong for ever: such a connection makes room for another.
            .after_release(|connection, _| {
                let is_clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_clean) })
            })
            // Lets SQLite refresh the statistics that its planner lacks.
            .connect_with(options.clone().optimize_on_close(true, 400))
            .await
            .map_err(|error| cannot_open(&file, &error))?;
        MIGRATIONS
            .run(&write)
            .await
            .with_context(|| format!("{} could not be migrated", file.display()))?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file does not go away: asking each time costs as much as a query.
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "true"))
            .await
            .map_err(|error| cannot_open(&file, &error))?;
        Ok(Self {
            read,
            write,
            writable: Arc::default(),
        })
    }

    /// Opens the file at `url`, which must be there.
    pub async fn open_existing(url: &str) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| anyhow!("DATABASE_URL is '{url}': {error}"))?;
        let file = options.get_filename();
        if !file.exists() {
            anyhow::bail!(
                "DATABASE_URL: there is no file {}, so name the gateway's own",
                file.display()
            );
        }
        Self::open(url).await
    }

    /// An empty database of this schema in memory, which is gone with its
    /// connection.
    pub async fn scratch() -> anyhow::Result<SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            .foreign_keys(true);
        let mut connection = options.connect().await?;
        MIGRATIONS.run(&mut connection).await?;
        Ok(connection)
    }

    /// Begins a transaction that holds the write lock from its start, so that
    /// what it reads cannot change under it.
    pub async fn begin(&self) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Sqlite>> {
        self.write.begin_with("BEGIN IMMEDIATE").await
    }

    /// A number that changes when another program has written into the file. Asked
    /// of the writer: to any other connection our own writes are somebody else's.
    pub async fn changes_by_others(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&self.write)
            .await
    }

    /// Reads, and writes what is there already: once a second at most, however many ask. A
    /// disk that is full or has become read-only lets a transaction begin, and shows when
    /// one is kept.
    pub async fn check_writable(&self) -> sqlx::Result<()> {
        let mut writable = self.writable.lock().await;
        if writable.is_some_and(|seen| seen.elapsed() < WRITABLE_FOR) {
            return Ok(());
        }
        sqlx::query("SELECT 1").execute(&self.read).await?;
        let mut transaction = self.begin().await?;
        sqlx::query(SIGN).execute(&mut *transaction).await?;
        transaction.commit().await?;
        *writable = Some(Instant::now());
        Ok(())
    }

    /// Closes every connection, which also folds the WAL back into the file.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// The file that a database's URL names.
///
/// # Errors
/// A sentence, when it names none.
pub fn file_of(url: &str) -> anyhow::Result<PathBuf> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| anyhow!("'{url}' names no SQLite file: {error}"))?;
    Ok(options.get_filename().to_owned())
}

/// Copies the file at `url` to `copy`, as it is at one moment, whoever writes it meanwhile.
/// The copy is one file, for this user alone.
///
/// # Errors
/// A sentence for the operator.
pub async fn copy(url: &str, copy: &Path) -> anyhow::Result<()> {
    let file = file_of(url)?;
    let cannot = || format!("{} cannot be copied", file.display());
    // SQLite writes into an empty file, and leaves its mode as it is.
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(copy)
        .with_context(cannot)?;
    let options = SqliteConnectOptions::from_str(url).with_context(cannot)?;
    let options = options.create_if_missing(false).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.with_context(cannot)?;
    let copied = sqlx::query("VACUUM INTO ?")
        .bind(copy.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await;
    copied.with_context(cannot)?;
    connection.close().await.with_context(cannot)
}

fn make_private(file: &Path) -> anyhow::Result<()> {
    keep_database_private(file).map_err(|error| {
        anyhow!(
            "DATABASE_URL: {} cannot be made ({error}), so make its folder writable for this user or name another file",
            file.display()
        )
    })
}

fn cannot_open(file: &Path, error: &sqlx::Error) -> anyhow::Error {
    anyhow!(
        "DATABASE_URL: {} cannot be opened for writing ({error}), so make the file and its folder writable for this user or name another file",
        file.display()
    )
}

/// A fresh database in a temporary folder, for tests.
/// SQLite has no unsigned numbers; versions and sequence numbers are far from
/// the difference.
pub fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) async fn temporary() -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/test.db", folder.path().display());
    let db = Db::open(&url).await.expect("a fresh database");
    (folder, db)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of before 0003 keeps its orders, in the order in which they were placed.
    #[tokio::test]
    async fn orders_of_an_older_file_are_numbered_by_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("old.db");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .foreign_keys(true);
        let mut old = options.connect().await.unwrap();
        for migration in MIGRATIONS.iter().filter(|it| it.version < 3) {
            sqlx::raw_sql(migration.sql.clone())
                .execute(&mut old)
                .await
                .unwrap();
        }
        for (order, status, created_at) in [
            ("alice.second", "delivered", 2000),
            ("alice.first", "delivered", 1000),
            ("bob.with-it", "in_transit", 2000),
        ] {
            sqlx::query(
                "INSERT INTO orders (order_id, user_id, version, status, created_at, updated_at,
                                     status_since, total_cents, pieces, search_text, record)
                 VALUES (?1, 'alice', 1, ?2, ?3, 0, 0, 100, 1, 'widget ' || ?1, '{}')",
            )
            .bind(order)
            .bind(status)
            .bind(created_at)
            .execute(&mut old)
            .await
            .unwrap();
            sqlx::query("INSERT INTO order_events VALUES (?, 1, 0, 'order_placed', '')")
                .bind(order)
                .execute(&mut old)
                .await
                .unwrap();
        }
        let third = MIGRATIONS.iter().find(|it| it.version == 3).unwrap();
        sqlx::raw_sql(third.sql.clone())
            .execute(&mut old)
            .await
            .unwrap();
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, order_id FROM orders ORDER BY id")
                .fetch_all(&mut old)
                .await
                .unwrap();
        let number = |at: i64, of: i64| (at << 20) + of;
        let expected = [
            (number(1000, 0), "alice.first".to_owned()),
            (number(2000, 0), "alice.second".to_owned()),
            (number(2000, 1), "bob.with-it".to_owned()),
        ];
        assert_eq!(rows, expected);
        let found: Vec<i64> = sqlx::query_scalar(
            "SELECT rowid FROM orders_search
             WHERE orders_search MATCH '{search_text} : \"wid\"* AND {search_status} : \"delivered\"'
             ORDER BY rowid DESC",
        )
        .fetch_all(&mut old)
        .await
        .unwrap();
        assert_eq!(found, [expected[1].0, expected[0].0]);
        let totals: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT * FROM order_totals ORDER BY status")
                .fetch_all(&mut old)
                .await
                .unwrap();
        let total = |status: &str, orders| (status.to_owned(), orders, orders * 100);
        assert_eq!(totals, [total("delivered", 2), total("in_transit", 1)]);
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM order_events")
            .fetch_one(&mut old)
            .await
            .unwrap();
        assert_eq!(events, 3, "nothing of an order is lost");
    }

    #[tokio::test]
    async fn a_missing_folder_is_created_and_the_file_is_in_wal_mode() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a/b/waybill.db", folder.path().display());
        let db = Db::open(&url).await.unwrap();
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(mode, "wal");
        db.close().await;
        Db::open(&url).await.unwrap();
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let (_folder, db) = temporary().await;
        let refused = sqlx::query("DELETE FROM orders").execute(&db.read).await;
        assert!(refused.is_err());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("file");
        std::fs::write(&blocker, "").unwrap();
        let url = format!("sqlite://{}/sub/waybill.db", blocker.display());
        let error = Db::open(&url).await.unwrap_err().to_string();
        assert!(error.starts_with("DATABASE_URL: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
