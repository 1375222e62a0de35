//! Waiting until a new order can be paid: the awakeable and the provider's payment
//! page come a moment after the order is placed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use waybill_domain::ids::OrderId;
use waybill_domain::order::OrderRecord;

use super::orders::{ask_restate, find, is_pending};
use crate::http::problem::Problem;
use crate::infra::Infra;

/// How long a checkout waits for the awakeable and the payment page.
const PAYMENT_DETAILS_WITHIN: Duration = Duration::from_secs(2);
/// After so many pages that did not come the provider is away: customers get
/// the awakeable, and the page when it is there.
const MISSED_IN_A_ROW: u32 = 3;
/// One checkout of so many waits for its page meanwhile, but not long.
const LOOK_AGAIN_EVERY: u32 = 8;
const LOOK_AGAIN_FOR: Duration = Duration::from_millis(250);
/// How often Restate is asked meanwhile, in case the update stream is down.
const ASK_EVERY: Duration = Duration::from_millis(400);

/// Waits until the payment can be made, or it takes too long.
pub async fn with_payment_details(
    infra: &Infra,
    pages: &PaymentPages,
    id: &OrderId,
) -> Result<OrderRecord, Problem> {
    let mut news = infra.live.order(id);
    let patience = pages.patience();
    let asked_at = Instant::now();
    loop {
        news.mark_unchanged();
        let record = find(infra, id).await?;
        let give_up = asked_at + patience.of(&record);
        let now = Instant::now();
        if !is_pending(&record) || has_page(&record) || now >= give_up {
            // A refused payment says nothing of pages.
            if is_pending(&record) || has_page(&record) {
                pages.note(has_page(&record));
            }
            return Ok(record);
        }
        if timeout_at((now + ASK_EVERY).min(give_up), news.changed())
            .await
            .is_err()
        {
            ask_restate(infra, id).await;
        }
    }
}

/// How long checkouts wait for the provider, by what it has done lately.
#[derive(Debug, Default)]
pub struct PaymentPages {
    missed_in_a_row: AtomicU32,
}

/// How long one checkout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    for_page: Duration,
}

impl Patience {
    fn of(self, record: &OrderRecord) -> Duration {
        if record.payment().awakeable_id.is_some() {
            self.for_page
        } else {
            PAYMENT_DETAILS_WITHIN
        }
    }
}

impl PaymentPages {
    fn patience(&self) -> Patience {
        let missed = self.missed_in_a_row.load(Ordering::Relaxed);
        let for_page = if missed < MISSED_IN_A_ROW {
            PAYMENT_DETAILS_WITHIN
        } else if missed.is_multiple_of(LOOK_AGAIN_EVERY) {
            LOOK_AGAIN_FOR
        } else {
            Duration::ZERO
        };
        Patience { for_page }
    }

    /// Whether the provider seems to be away.
    pub fn are_missing(&self) -> bool {
        self.missed_in_a_row.load(Ordering::Relaxed) >= MISSED_IN_A_ROW
    }

    fn note(&self, came_in_time: bool) {
        if came_in_time {
            self.missed_in_a_row.store(0, Ordering::Relaxed);
        } else {
            self.missed_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn has_page(record: &OrderRecord) -> bool {
    record.payment().pay_url.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_provider_that_is_away() {
        let pages = PaymentPages::default();
        let waits = || pages.patience().for_page;
        for _ in 0..MISSED_IN_A_ROW {
            assert_eq!(waits(), PAYMENT_DETAILS_WITHIN);
            pages.note(false);
        }
        let mut looked_again = 0;
        for _ in 0..4 * LOOK_AGAIN_EVERY {
            assert!(waits() <= LOOK_AGAIN_FOR);
            looked_again += u32::from(!waits().is_zero());
            pages.note(false);
        }
        assert_eq!(looked_again, 4);
        pages.note(true);
        assert_eq!(waits(), PAYMENT_DETAILS_WITHIN);
    }
}
