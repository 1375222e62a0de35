//! What people are told: their own, and for staff everybody's orders too.
//!
//! How far a user has read is kept in `UserSession`, hence the same in every
//! gateway.

use serde::Serialize;
use services::client::{Body, keyed, outcome};
use waybill_domain::Timestamp;
use waybill_domain::idempotency::Answered;
use waybill_domain::update::{ReadMark, Update};

use crate::http::idempotency::IdempotencyKey;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Infra;
use crate::storage::notifications::{self as queries, NotificationView, Whose};

/// Notifications in the pane.
const IN_PANE: i64 = 50;
/// Most that the pane shows to somebody who comes back after a long absence.
const MOST_IN_PANE: i64 = 500;

/// A page of notifications, newest first.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Notifications)]
pub struct Listing {
    /// The notifications.
    pub notifications: Vec<NotificationView>,
    /// How many are not read, counted to at most 1,000.
    pub unread: i64,
    /// Which page.
    #[serde(flatten)]
    pub page: Pagination,
    /// Whether older ones follow.
    pub more: bool,
}

/// The notification pane.
#[derive(Debug, Clone)]
pub struct Pane {
    /// Newest first.
    pub notifications: Vec<NotificationView>,
    /// How many are not read, counted to at most 1,000.
    pub unread: i64,
    /// Where a stream that is interrupted goes on.
    pub cursor: Option<String>,
}

/// A page of what the caller is told.
pub async fn listing(infra: &Infra, caller: &Caller, page: Pagination) -> Result<Listing, Problem> {
    let read_at = queries::read_at(&infra.db, &caller.user).await?;
    let mut rows =
        queries::newest(&infra.db, whose(caller), page.limit() + 1, page.offset()).await?;
    let more = rows.len() > usize::try_from(page.limit()).unwrap_or(usize::MAX);
    if more {
        rows.pop();
    }
    Ok(Listing {
        notifications: rows
            .into_iter()
            .map(|row| row.told(read_at, None))
            .collect(),
        unread: queries::unread(&infra.db, whose(caller), read_at).await?,
        page,
        more,
    })
}

/// What the caller's pane shows. `after` is the cursor of the pane that the
/// caller saw last: nothing that came since is left out, and it is marked.
pub async fn pane(infra: &Infra, caller: &Caller, after: Option<&str>) -> Result<Pane, Problem> {
    let read_at = queries::read_at(&infra.db, &caller.user).await?;
    let after = match after.and_then(queries::Cursor::parse) {
        Some(cursor) => Some(queries::since(&infra.db, cursor).await?),
        None => None,
    };
    let missed = match &after {
        Some(since) => queries::count_since(&infra.db, whose(caller), *since, MOST_IN_PANE).await?,
        None => 0,
    };
    let rows = queries::newest(&infra.db, whose(caller), IN_PANE.max(missed), 0).await?;
    Ok(Pane {
        notifications: rows
            .into_iter()
            .map(|row| row.told(read_at, after))
            .collect(),
        unread: queries::unread(&infra.db, whose(caller), read_at).await?,
        cursor: queries::cursor(&infra.db, whose(caller)).await?,
    })
}

/// Customers are told what concerns them. Staff are told of everybody's orders
/// and of what they did themselves: what others put into their carts would
/// drown what needs a decision.
fn whose(caller: &Caller) -> Whose<'_> {
    if caller.role.is_staff() {
        Whose::Orders(&caller.user)
    } else {
        Whose::Own(&caller.user)
    }
}

/// How far somebody has read.
#[derive(Debug)]
pub struct Read {
    /// Everything up to this.
    pub up_to: Timestamp,
    /// How many are not read after it, counted to at most 1,000.
    pub unread: i64,
}

/// Marks what the caller has been told up to a moment as read, or all of it.
pub async fn mark_read(
    infra: &Infra,
    caller: &Caller,
    up_to: Option<Timestamp>,
    key: &IdempotencyKey,
) -> Result<Read, Problem> {
    let once = key.once(&caller.user, "notifications.read", &up_to)?;
    let now = Timestamp::now();
    let read_at = match up_to {
        // A mark in the future would hide what has not been seen.
        Some(up_to) => up_to.min(now),
        None => queries::newest_at(&infra.db, whose(caller))
            .await?
            .unwrap_or(now),
    };
    let mark = ReadMark {
        user_id: caller.user.clone(),
        read_at,
    };
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .mark_read(Body::from(mark));
    let marked: Answered<ReadMark> = outcome(keyed(asked, once).call().await)?;
    let mark = marked.value;
    infra.live.show(Update::Read(mark.clone())).await;
    let up_to = mark.read_at;
    let read_at = Some(up_to.as_millisecond());
    let unread = queries::unread(&infra.db, whose(caller), read_at).await?;
    Ok(Read { up_to, unread })
}
