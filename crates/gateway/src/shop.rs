//! What the shop does, whoever asks: API, pages and demo call the same
//! functions. Nothing here takes a request apart or makes an answer; of `http` it
//! uses what a refusal ([`Problem`](crate::http::problem::Problem)), a page of a
//! list and an idempotency key are. A list that is only read is asked of
//! `storage` by whoever shows it.
//!
//! | module | does |
//! | --- | --- |
//! | [`account`] | an account as its owner and admins see it, and change it |
//! | [`products`] | finds products |
//! | [`catalog_file`] | reads and writes the catalog as CSV |
//! | [`catalog`] | what is sold, and where it is shipped: asked and changed at Restate |
//! | [`stock`] | tells Inventory of the catalog, fills shelves |
//! | [`cart`] | changes carts |
//! | [`checkout`] | makes an order of a cart |
//! | `unpaid` | bounds how many orders of one user wait for their payment |
//! | [`payment_wait`] | waits until a new order can be paid |
//! | [`payment_callback`] | hands on what the payment provider says |
//! | [`orders`] | finds orders, here and in Restate |
//! | [`export`] | orders as a file |
//! | [`decide`] | takes the one decision of an order |
//! | [`returns`] | returns and refunds after the delivery |
//! | [`cancel`] | cancels an order, before and after its payment |
//! | [`notifications`] | what people are told, and have read |
//! | [`dashboard`] | the shop at a glance |
//! | [`figures`] | the shop in numbers, for Prometheus |
//! | [`operator`] | what does not go on by itself |
//! | [`processes`] | whether each process is well |
//! | [`readiness`] | whether this gateway can serve |
//! | [`people`] | who people are, and where they are signed in: asked and changed at Restate |
//! | [`credentials`] | who shows a session or a token, and whether it is good still |
//! | [`second_factor`] | a code beside the password |
//! | [`sign_in`] | who may come in |
//! | [`audit`] | what a gateway notes in the audit log itself |
//! | [`well_known`] | keeps the demo's passwords out of everything else |

pub mod account;
pub mod audit;
pub mod cancel;
pub mod cart;
pub mod catalog;
pub mod catalog_file;
pub mod checkout;
pub mod credentials;
pub mod dashboard;
pub mod decide;
pub mod export;
pub mod figures;
pub mod notifications;
pub mod operator;
pub mod orders;
mod patience;
pub mod payment_callback;
pub mod payment_wait;
pub mod people;
pub mod processes;
pub mod products;
pub mod readiness;
pub mod returns;
pub mod second_factor;
pub mod sign_in;
pub mod stock;
mod unpaid;
pub mod well_known;

/// Notes in the trace of the request under way which order it is about.
fn told_about(order: &waybill_domain::ids::OrderId) {
    tracing::Span::current().record("order.id", order.as_str());
}
