//! The audit log: who has done what that matters. It only grows; triggers refuse the
//! rest (`migrations/0006`). What orders tell, triggers write, too.

use serde::Serialize;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteArguments;
use waybill_domain::Timestamp;
use waybill_domain::audit::{Act, AuditEntry};

use super::db::Db;
use crate::clock::timestamp;
use crate::http::pagination::Pagination;

/// Entries that are counted at most: beyond, it is "more than".
const COUNTED: i64 = 10_000;
/// Entries that are removed with one statement: others may write between.
const REMOVED_AT_ONCE: i64 = 5_000;

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of whom.
    pub who: Option<String>,
    /// What was done.
    pub what: Option<Act>,
    /// Not before then.
    pub from: Option<Timestamp>,
    /// Before then.
    pub to: Option<Timestamp>,
}

/// An entry, as it is shown and filed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Row {
    /// Its number in this file.
    #[serde(skip)]
    pub nr: i64,
    /// The same in every gateway.
    pub id: String,
    /// Milliseconds since the epoch.
    #[serde(serialize_with = "as_time")]
    pub at: i64,
    /// What was done.
    pub what: String,
    /// Who has done it.
    pub who: String,
    /// To whom or to what.
    pub subject: String,
    /// What there is to say of it.
    pub detail: String,
    /// From which network address.
    pub address: Option<String>,
    /// By which request.
    pub request: Option<String>,
    /// How often, in the minute before.
    pub count: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn as_time<S: serde::Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&timestamp(*at))
}

const COLUMNS: &str = "nr, id, at, what, who, subject, detail, address, request, count";

/// Writes an entry, if it is not here.
pub async fn write(db: &mut SqliteConnection, entry: &AuditEntry) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO audit (id, at, what, who, subject, detail, address, request, count, day)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&entry.id)
    .bind(entry.at.as_millisecond())
    .bind(entry.what.as_str())
    .bind(&entry.by.who)
    .bind(&entry.subject)
    .bind(&entry.detail)
    .bind(&entry.by.from.address)
    .bind(&entry.by.from.request)
    .bind(entry.count)
    .bind(entry.day())
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

impl Filter {
    fn condition(&self) -> String {
        let parts = [
            (self.who.is_some(), "who = ?"),
            (self.what.is_some(), "what = ?"),
            (self.from.is_some(), "at >= ?"),
            (self.to.is_some(), "at < ?"),
        ];
        let wanted: Vec<_> = parts
            .iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, part)| *part)
            .collect();
        if wanted.is_empty() {
            "1".to_owned()
        } else {
            wanted.join(" AND ")
        }
    }

    /// Its parameters, in the order of [`Self::condition`].
    fn arguments(&self) -> Result<SqliteArguments, sqlx::Error> {
        use sqlx::Arguments as _;
        let mut arguments = SqliteArguments::default();
        let texts = [
            self.who.clone(),
            self.what.map(|act| act.as_str().to_owned()),
        ];
        for text in texts.into_iter().flatten() {
            arguments.add(text).map_err(sqlx::Error::Encode)?;
        }
        for time in [self.from, self.to].into_iter().flatten() {
            arguments
                .add(time.as_millisecond())
                .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }
}

/// One page of the log, newest first.
pub async fn list(db: &Db, filter: &Filter, page: Pagination) -> sqlx::Result<Vec<Row>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE {} ORDER BY at DESC, nr DESC LIMIT {} OFFSET {}",
        filter.condition(),
        page.limit(),
        page.offset()
    );
    sqlx::query_as_with(sqlx::AssertSqlSafe(sql), filter.arguments()?)
        .fetch_all(&db.read)
        .await
}

/// How many entries a filter lets through, and whether it is not more.
pub async fn count(db: &Db, filter: &Filter) -> sqlx::Result<(i64, bool)> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM audit WHERE {} LIMIT {})",
        filter.condition(),
        COUNTED + 1
    );
    let found: i64 = sqlx::query_scalar_with(sqlx::AssertSqlSafe(sql), filter.arguments()?)
        .fetch_one(&db.read)
        .await?;
    Ok((found.min(COUNTED), found <= COUNTED))
}

/// The next entries that do not stand in the file yet, in the order in which they came.
pub async fn not_filed(db: &Db, limit: i64) -> sqlx::Result<Vec<Row>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE nr > (SELECT filed_to FROM audit_log_state) ORDER BY nr LIMIT ?"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(limit)
        .fetch_all(&db.read)
        .await
}

/// All up to this number stand in the file.
pub async fn filed(db: &Db, nr: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE audit_log_state SET filed_to = ? WHERE filed_to < ?1")
        .bind(nr)
        .execute(&db.write)
        .await?;
    Ok(())
}

/// Removes what is older than `before`; answers how much that was.
pub async fn remove_older(db: &Db, before: Timestamp) -> sqlx::Result<u64> {
    let mut removed = 0;
    loop {
        let mut transaction = db.begin().await?;
        sqlx::query("UPDATE audit_log_state SET kept_from = ?1 WHERE kept_from < ?1")
            .bind(before.as_millisecond())
            .execute(&mut *transaction)
            .await?;
        let gone = sqlx::query(
            "DELETE FROM audit WHERE nr IN (SELECT nr FROM audit WHERE at < ? ORDER BY at LIMIT ?)",
        )
        .bind(before.as_millisecond())
        .bind(REMOVED_AT_ONCE)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        transaction.commit().await?;
        removed += gone;
        if gone == 0 {
            return Ok(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use waybill_domain::audit::{By, Origin};

    use super::*;
    use crate::storage::db;

    pub(crate) fn entry(id: &str, second: i64, what: Act, who: &str) -> AuditEntry {
        AuditEntry {
            id: id.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            what,
            by: By {
                who: who.to_owned(),
                from: Origin {
                    address: Some("192.0.2.7".to_owned()),
                    request: Some("0123456789abcdef".to_owned()),
                },
            },
            subject: "alice".to_owned(),
            detail: "support".to_owned(),
            count: 1,
        }
    }

    async fn filled() -> (tempfile::TempDir, Db) {
        let (folder, db) = db::temporary().await;
        let mut transaction = db.begin().await.unwrap();
        for entry in [
            entry("a", 10, Act::SignIn, "alice"),
            entry("b", 20, Act::RoleSet, "admin"),
            entry("c", 90_000, Act::SignIn, "admin"),
        ] {
            assert!(write(&mut transaction, &entry).await.unwrap());
            assert!(!write(&mut transaction, &entry).await.unwrap());
        }
        transaction.commit().await.unwrap();
        (folder, db)
    }

    const PAGE: Pagination = Pagination {
        page: 1,
        per_page: 50,
    };

    async fn ids(db: &Db, filter: Filter) -> String {
        let rows = list(db, &filter, PAGE).await.unwrap();
        let found = count(db, &filter).await.unwrap();
        assert_eq!(found, (i64::try_from(rows.len()).unwrap(), true));
        rows.into_iter().map(|row| row.id).collect()
    }

    #[tokio::test]
    async fn entries_are_kept_once_counted_by_day_and_found() {
        let (_folder, db) = filled().await;
        let days: Vec<(String, i64)> = sqlx::query_as("SELECT day, entries FROM audit_days")
            .fetch_all(&db.read)
            .await
            .unwrap();
        assert_eq!(
            days,
            [("1970-01-01".to_owned(), 2), ("1970-01-02".to_owned(), 1)]
        );

        let by = |who: &str| Filter {
            who: Some(who.to_owned()),
            ..Filter::default()
        };
        assert_eq!(ids(&db, Filter::default()).await, "cba");
        assert_eq!(ids(&db, by("admin")).await, "cb");
        assert_eq!(ids(&db, by("nobody")).await, "");
        let what = Some(Act::SignIn);
        assert_eq!(
            ids(
                &db,
                Filter {
                    what,
                    ..by("admin")
                }
            )
            .await,
            "c"
        );
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let between = Filter {
            from: at(20),
            to: at(90_000),
            ..Filter::default()
        };
        assert_eq!(ids(&db, between).await, "b");
        let row = list(&db, &by("alice"), PAGE).await.unwrap().remove(0);
        let line = serde_json::to_value(&row).unwrap();
        assert_eq!(line["at"], "1970-01-01T00:00:10Z");
        assert_eq!(line["address"], "192.0.2.7");
        assert_eq!(line["request"], "0123456789abcdef");
    }

    #[tokio::test]
    async fn nothing_is_changed_and_only_what_is_old_is_removed() {
        let (_folder, db) = filled().await;
        for statement in [
            "UPDATE audit SET who = 'nobody'",
            "DELETE FROM audit",
            "DELETE FROM audit WHERE id = 'a'",
        ] {
            let refused = sqlx::query(statement).execute(&db.write).await.unwrap_err();
            assert!(refused.to_string().contains("only grows"), "{refused}");
        }
        assert_eq!(ids(&db, Filter::default()).await, "cba");

        let removed = remove_older(&db, Timestamp::from_second(20).unwrap()).await;
        assert_eq!(removed.unwrap(), 1);
        assert_eq!(ids(&db, Filter::default()).await, "cb");
        let refused = sqlx::query("DELETE FROM audit").execute(&db.write).await;
        assert!(refused.is_err());
        // A day of which something was removed lacks nothing.
        let entries: i64 = sqlx::query_scalar("SELECT sum(entries) FROM audit_days")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(entries, 3);
    }

    #[tokio::test]
    async fn what_was_filed_is_not_filed_again() {
        let (_folder, db) = filled().await;
        let next = not_filed(&db, 2).await.unwrap();
        let ids: String = next.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, "ab");
        filed(&db, next[1].nr).await.unwrap();
        filed(&db, next[0].nr).await.unwrap();
        let rest = not_filed(&db, 2).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].id, "c");
    }
}
