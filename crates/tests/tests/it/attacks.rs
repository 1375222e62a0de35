//! Attacks from outside on the real processes, each beside a customer whose order
//! must end meanwhile. Bounded in number and time, and on this machine only: other
//! addresses are told by `X-Forwarded-For`, since this machine is a trusted proxy here.
//!
//! | module | attacks with |
//! | --- | --- |
//! | [`sockets`] | connections: silent, dripping, with half a body; streams |
//! | [`floods`] | requests of one caller; orders that nobody pays |
//! | [`names`] | hosts that are not ours, cookies that somebody else has set |
//! | [`sign_ins`] | guessed passwords |

mod floods;
mod names;
mod sign_ins;
mod sockets;

use futures::StreamExt as _;
use futures::stream;
use reqwest::RequestBuilder;

use crate::shop::{Answer, Client, send_anyway};
use crate::world::Setup;

/// Requests that are sent at a time.
const AT_ONCE: usize = 50;

/// This machine speaks for others.
fn behind_a_proxy(setup: Setup) -> Setup {
    setup.and("TRUSTED_PROXIES", "127.0.0.1")
}

/// Sends all of them, many at a time; answers what was answered.
async fn send_all(requests: impl IntoIterator<Item = RequestBuilder>) -> Vec<Answer> {
    let sending = requests.into_iter().map(send_anyway);
    stream::iter(sending)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// How many have this status.
fn with(status: u16, answers: &[Answer]) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .count()
}

/// One whole order, from the cart to the delivery.
async fn orders_to_the_end(customer: &Client<'_>, order_id: &str) {
    let order = customer.buy("P001", 1, order_id).await;
    customer.shop.admin().approve(&order).await;
    order.until("delivered").await;
}
