//! `gateway reconcile`: compares what Restate holds with the read model and
//! with the outside world's ledger, says each difference in one line, and
//! repairs what can be repaired.
//!
//! | module | knows |
//! | --- | --- |
//! | [`difference`] | what a difference is, in words |
//! | [`snapshot`] | what Restate holds, and which orders somebody works on |
//! | [`read_model`] | what SQLite should say of it, row by row, and says |
//! | [`ledger`] | what the payment provider and the carrier did |
//! | [`repair`] | how each difference is mended |
//!
//! Restate is right, and the ledger says what is still held outside. An order
//! that an invocation works on is never touched, and a difference, or that there is
//! none, counts only when it is seen twice, [`SEEN_AGAIN_AFTER`] apart: so it may run at
//! any time.
//! Everything is read into memory, some kilobytes for an order.

mod difference;
mod ledger;
mod read_model;
mod repair;
mod snapshot;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use services::client::Ingress;
use waybill_domain::ids::OrderId;

use self::difference::{About, Difference, Side};
use self::ledger::Ledger;
use self::snapshot::RestateSnapshot;
use crate::restate::admin::AdminApi;
use crate::storage::db::Db;
use crate::storage::rows;

/// What is under way looks like a difference for a moment.
const SEEN_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked again at most: a busy shop has new ones each time.
const MOST_LOOKS: u32 = 4;

/// What is compared with what.
pub struct Reconcile {
    /// The read model.
    pub db: Db,
    /// Restate.
    pub admin_api: AdminApi,
    /// Where repairs are asked for.
    pub ingress: Ingress,
    /// Where the ledger is, if there is one.
    pub sandbox_url: Option<String>,
    /// One order, or all there is.
    pub only: Option<OrderId>,
}

/// What it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// Differences that were seen.
    pub found: usize,
    /// Those that are still there.
    pub left: usize,
}

/// Everything that was seen at one look.
struct Comparison {
    held: RestateSnapshot,
    differences: Vec<Difference>,
    /// Payments and parcels in the ledger; `None`: there is none to compare.
    in_ledger: Option<usize>,
    /// Orders that somebody works on.
    under_way: usize,
    /// Ended orders in the read model that Restate has forgotten.
    kept: usize,
}

impl Comparison {
    fn identities(&self) -> BTreeSet<(Side, About, String)> {
        let all = self.differences.iter();
        all.map(Difference::identity).collect()
    }
}

impl Reconcile {
    /// Compares, tells `say` each difference and a summary, and repairs if it
    /// is wanted. An error means that nothing could be compared.
    pub async fn run(
        &self,
        repair: bool,
        say: &mut dyn FnMut(String),
    ) -> anyhow::Result<Reconciled> {
        let look = self.confirmed().await?;
        let found = look.differences.len();
        for difference in &look.differences {
            let hint = match &difference.repair {
                Some(_) if repair => String::new(),
                Some(cure) => format!("; --repair {cure}"),
                None => "; this cannot be repaired from here".to_owned(),
            };
            say(format!("{difference}{hint}"));
        }
        let mut left = found;
        if repair && found > 0 {
            self.repair(&look, say).await?;
            let after = self.confirmed().await?;
            left = after.differences.len();
            for difference in &after.differences {
                say(format!("still there: {difference}"));
            }
        }
        say(summary(&look, found, left, repair));
        Ok(Reconciled { found, left })
    }

    /// What two looks have seen alike, a while apart. As long as one sees what the other
    /// does not, it is looked again, also when it sees nothing: a Restate that has just come
    /// back may show what it had some time ago.
    async fn confirmed(&self) -> anyhow::Result<Comparison> {
        let mut before = self.look().await?;
        for again in 1..=MOST_LOOKS {
            tokio::time::sleep(SEEN_AGAIN_AFTER).await;
            let mut now = self.look().await?;
            let seen = before.identities();
            if again == MOST_LOOKS || now.identities() == seen {
                now.differences.retain(|it| seen.contains(&it.identity()));
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }

    async fn look(&self) -> anyhow::Result<Comparison> {
        self.admin_api.is_up().await?;
        let held = snapshot::read(&self.admin_api, self.only.as_ref()).await?;
        let ledger = match &self.sandbox_url {
            Some(url) => Some(ledger::read(url, self.only.as_ref()).await?),
            None => None,
        };
        let shown = rows::shown(&self.db, self.only.as_ref()).await?;
        if let Some(order) = &self.only
            && !held.knows(order)
            && !shown.iter().any(|it| it.order_id == *order)
        {
            bail!(
                "there is no order {order}: an order's whole id is USER.ID, as the console shows it"
            );
        }
        let mut differences = held.differences();
        let not_held: Vec<_> = shown
            .into_iter()
            .filter(|it| !held.orders.contains_key(&it.order_id))
            .collect();
        let (kept, lost): (Vec<_>, Vec<_>) =
            not_held.into_iter().partition(|it| it.status.is_terminal());
        differences.extend(read_model::lost(&self.db, lost, &held).await?);
        if let Some(ledger) = &ledger {
            let kept = read_model::records(&self.db, &kept).await?;
            differences.extend(ledger.differences(&held, &kept));
        }
        differences.extend(read_model::differences(&self.db, &self.admin_api, &held).await?);
        Ok(Comparison {
            under_way: held
                .orders
                .keys()
                .filter(|order| held.is_worked_on(order))
                .count(),
            in_ledger: ledger.as_ref().map(Ledger::size),
            kept: kept.len(),
            differences,
            held,
        })
    }
}

fn summary(look: &Comparison, found: usize, left: usize, repair: bool) -> String {
    let ledger = match look.in_ledger {
        Some(size) => format!("{size} payments and parcels of the ledger"),
        None => "no ledger (SANDBOX_URL is not set, so nothing outside was compared)".to_owned(),
    };
    let differences = match found {
        0 => "no differences".to_owned(),
        1 => "1 difference".to_owned(),
        found => format!("{found} differences"),
    };
    let outcome = match (found, repair) {
        (0, _) => differences,
        (_, false) => format!("{differences}; --repair mends what can be mended"),
        (_, true) => format!("{differences}, {left} left"),
    };
    let kept = match look.kept {
        0 => String::new(),
        kept => format!(
            " {kept} ended orders that Restate has forgotten (ORDER_RETENTION) are kept in the read model."
        ),
    };
    format!(
        "Compared {} orders ({} under way), {} stock levels and {ledger}: {outcome}.{kept}",
        look.held.orders.len(),
        look.under_way,
        look.held.levels.len(),
    )
}
