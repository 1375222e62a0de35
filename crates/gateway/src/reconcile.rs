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

use self::difference::Difference;
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

    async fn confirmed(&self) -> anyhow::Result<Comparison> {
        let look = async || self.look().await;
        seen_alike(look, SEEN_AGAIN_AFTER, |seen| &mut seen.differences).await
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

/// What two looks have seen alike, so long apart. As long as one sees what the other
/// does not, it is looked again, also when it sees nothing: a Restate that has just come
/// back may show what it had some time ago. At the end only what both have seen counts.
async fn seen_alike<T>(
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
    apart: Duration,
    differences: impl Fn(&mut T) -> &mut Vec<Difference>,
) -> anyhow::Result<T> {
    let identities = |seen: &mut T| -> BTreeSet<_> {
        let all = differences(seen).iter();
        all.map(Difference::identity).collect()
    };
    let mut before = identities(&mut look().await?);
    let mut looks = 1;
    loop {
        tokio::time::sleep(apart).await;
        let mut seen = look().await?;
        looks += 1;
        let now = identities(&mut seen);
        if now == before || looks > MOST_LOOKS {
            differences(&mut seen).retain(|it| before.contains(&it.identity()));
            return Ok(seen);
        }
        before = now;
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

#[cfg(test)]
mod tests {
    use waybill_domain::ids::Sku;

    use super::difference::{About, Side};
    use super::*;

    /// A difference in the stock of `sku`.
    fn of(sku: &str) -> Difference {
        Difference {
            side: Side::ReadModel,
            about: About::Stock(Sku::parse(sku).expect("a SKU")),
            kind: "stock".to_owned(),
            words: format!("has other stock of {sku}"),
            repair: None,
        }
    }

    /// What counts when so much is seen at one look after the other, and how many of the
    /// looks it took.
    async fn counts(looks: &[&[&str]]) -> (Vec<String>, usize) {
        let mut looked = 0;
        let look = async || {
            looked += 1;
            let skus = looks[looked - 1].iter();
            Ok(skus.map(|sku| of(sku)).collect::<Vec<_>>())
        };
        let seen = seen_alike(look, Duration::ZERO, |seen| seen).await;
        let seen = seen.expect("every look succeeds").into_iter();
        let name = |it: Difference| it.about.to_string();
        (seen.map(name).collect(), looked)
    }

    #[tokio::test]
    async fn what_two_looks_see_alike_counts() {
        let one = of("TEA-1").about.to_string();
        let none: &[&str] = &[];
        assert_eq!(counts(&[none, none]).await, (vec![], 2));
        assert_eq!(counts(&[&["TEA-1"], &["TEA-1"]]).await, (vec![one], 2));
    }

    #[tokio::test]
    async fn one_look_that_sees_nothing_is_not_believed() {
        let one = of("TEA-1").about.to_string();
        let stale_first = [&[][..], &["TEA-1"], &["TEA-1"]];
        assert_eq!(counts(&stale_first).await, (vec![one.clone()], 3));
        let stale_second = [&["TEA-1"][..], &[], &["TEA-1"], &["TEA-1"]];
        assert_eq!(counts(&stale_second).await, (vec![one], 4));
    }

    #[tokio::test]
    async fn what_passes_is_no_difference() {
        assert_eq!(counts(&[&["TEA-1"][..], &[], &[]]).await, (vec![], 3));
    }

    #[tokio::test]
    async fn in_a_busy_shop_what_stays_is_told_from_what_comes_and_goes() {
        let stays = of("TEA-1").about.to_string();
        let looks = [
            &["TEA-1", "A-1"][..],
            &["TEA-1", "B-1"],
            &["TEA-1", "C-1"],
            &["TEA-1", "D-1"],
            &["TEA-1", "E-1"],
        ];
        assert_eq!(counts(&looks).await, (vec![stays], looks.len()));
    }
}
