//! What other programs write into the gateway's file: demo data, a new password, a
//! repair. All that was remembered is read again then, and whoever looks sees it.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::storage::db::Db;

/// How often is looked: so long a change may go unnoticed.
const EVERY: Duration = Duration::from_millis(250);

/// Looks until the gateway closes.
pub(super) async fn keep_looking(core: Arc<Core>, db: Db) {
    let closing = core.closing.clone();
    let work = async {
        let mut known = None;
        loop {
            match db.changes_by_others().await {
                Ok(now) => {
                    if known.replace(now).is_some_and(|known| known != now) {
                        core.topics.wake_all();
                    }
                }
                Err(error) => tracing::debug!(%error, "SQLite does not say who has written"),
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    closing.run_until_cancelled(work).await;
}
