//! Notifications in SQLite.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;
use waybill_domain::words;

use super::db::Db;
use crate::clock::timestamp;

/// Unread ones are counted up to here: beyond, "many" says it all, and the
/// count stays cheap for one of the staff who has never read any.
const COUNTED: i64 = 1_000;

/// Whose notifications are meant.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// A user's.
    Own(&'a Username),
    /// Everybody's that are about an order, and this user's.
    Orders(&'a Username),
}

impl Whose<'_> {
    /// The condition, with the user's name as `?1`.
    fn condition(self) -> &'static str {
        match self {
            Self::Own(_) => "user_id = ?1",
            Self::Orders(_) => "(order_id IS NOT NULL OR user_id = ?1)",
        }
    }

    fn user(self) -> String {
        match self {
            Self::Own(user) | Self::Orders(user) => user.to_string(),
        }
    }
}

/// A notification as its reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Notification)]
pub struct NotificationView {
    /// The same in every gateway: `{order_id}:{seq}`.
    pub id: String,
    /// Whom it concerns.
    pub user_id: String,
    /// The order it is about, if any.
    pub order_id: Option<String>,
    /// What happened, e.g. `payment_confirmed`.
    pub kind: String,
    /// The words a person reads.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Whether the reader has marked it as read.
    pub read: bool,
    /// Whether it has come since the reader's stream was last sent.
    #[serde(skip)]
    pub is_new: bool,
}

/// A stored notification.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    nr: i64,
    id: String,
    user_id: String,
    order_id: Option<String>,
    kind: String,
    text: String,
    at: i64,
}

impl Row {
    /// As its reader sees it, who has read up to `read_at` and whose stream has
    /// sent what is not `after`.
    pub fn told(self, read_at: Option<i64>, after: Option<Since>) -> NotificationView {
        NotificationView {
            is_new: after.is_some_and(|since| match since {
                Since::Nr(nr) => self.nr > nr,
                Since::At(at) => self.at > at,
            }),
            read: read_at.is_some_and(|read_at| self.at <= read_at),
            at: timestamp(self.at),
            id: self.id,
            user_id: self.user_id,
            order_id: self.order_id,
            kind: self.kind,
            text: words::detail(self.text),
        }
    }
}

/// The latest notification that a stream has sent: its number in this
/// gateway's file and its time, as the event id `{at}-{nr}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: i64,
    nr: i64,
}

impl Cursor {
    /// From an event id.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, nr) = text.split_once('-')?;
        Some(Self {
            at: at.parse().ok()?,
            nr: nr.parse().ok()?,
        })
    }
}

/// What counts as later than a cursor.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// The cursor is of this file: what was written after it, also when it
    /// tells of something older (a gap that was closed meanwhile).
    Nr(i64),
    /// The cursor is of another gateway, or of before a rebuild.
    At(i64),
}

/// How to go on from a cursor: numbers mean something only in the file they
/// are of.
pub async fn since(db: &Db, cursor: Cursor) -> sqlx::Result<Since> {
    let ours: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM notifications WHERE nr = ? AND at = ?)")
            .bind(cursor.nr)
            .bind(cursor.at)
            .fetch_one(&db.read)
            .await?;
    Ok(if ours {
        Since::Nr(cursor.nr)
    } else {
        Since::At(cursor.at)
    })
}

/// The cursor of now.
pub async fn cursor(db: &Db, whose: Whose<'_>) -> sqlx::Result<Option<String>> {
    let sql = format!(
        "SELECT at, nr FROM notifications WHERE {} ORDER BY nr DESC LIMIT 1",
        whose.condition()
    );
    let newest: Option<(i64, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(whose.user())
        .fetch_optional(&db.read)
        .await?;
    Ok(newest.map(|(at, nr)| format!("{at}-{nr}")))
}

/// How many are later, counted up to `most`, and how deep they reach into the
/// list by time.
pub async fn count_since(db: &Db, whose: Whose<'_>, since: Since, most: i64) -> sqlx::Result<i64> {
    let (column, value) = match since {
        Since::Nr(nr) => ("nr", nr),
        Since::At(at) => ("at", at),
    };
    let theirs = whose.condition();
    // Old news that came late stand deep in the list: everything as new as the
    // oldest of them is shown. The plus keeps SQLite from looking for the
    // smallest time in the index of all times, from its beginning.
    let sql = format!(
        "SELECT count(*) FROM (
             SELECT 1 FROM notifications
             WHERE {theirs}
               AND at >= (SELECT min(+at) FROM notifications WHERE {theirs} AND {column} > ?2)
             LIMIT ?3)"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(whose.user())
        .bind(value)
        .bind(most)
        .fetch_one(&db.read)
        .await
}

/// The newest, newest first.
pub async fn newest(db: &Db, whose: Whose<'_>, limit: i64, offset: i64) -> sqlx::Result<Vec<Row>> {
    let sql = format!(
        "SELECT nr, id, user_id, order_id, kind, text, at FROM notifications
         WHERE {} ORDER BY at DESC, nr DESC LIMIT ?2 OFFSET ?3",
        whose.condition()
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(whose.user())
        .bind(limit)
        .bind(offset)
        .fetch_all(&db.read)
        .await
}

/// When the newest happened.
pub async fn newest_at(db: &Db, whose: Whose<'_>) -> sqlx::Result<Option<Timestamp>> {
    let newest = newest(db, whose, 1, 0).await?;
    Ok(newest
        .first()
        .and_then(|row| Timestamp::from_millisecond(row.at).ok()))
}

/// How far a user has read.
pub async fn read_at(db: &Db, user: &Username) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT read_at FROM read_marks WHERE user_id = ?")
        .bind(user.as_str())
        .fetch_optional(&db.read)
        .await
}

/// How many are newer than the mark.
pub async fn unread(db: &Db, whose: Whose<'_>, read_at: Option<i64>) -> sqlx::Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM notifications WHERE {} AND at > ?2 LIMIT ?3)",
        whose.condition()
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(whose.user())
        .bind(read_at.unwrap_or(i64::MIN))
        .bind(COUNTED)
        .fetch_one(&db.read)
        .await
}
