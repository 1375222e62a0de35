//! Waybill's durable side: a Restate endpoint without a database.
//!
//! | module | holds |
//! | --- | --- |
//! | [`user_session`] | a user's cart, checkouts and payments: virtual object, key = user name |
//! | [`order_fulfillment`] | an order from approval to delivery, and back: workflow, key = order id |
//! | [`after_sales`] | what happens to an order after its delivery: virtual object, key = order id |
//! | [`account`] | who somebody is, and where they are signed in: virtual object, key = user name |
//! | [`shop`] | who has opened the shop: virtual object, one key |
//! | [`catalog`] | what is sold, and where it can be shipped: virtual object, one key |
//! | [`audit_log`] | who has done what that matters: virtual object, key = a day |
//! | [`inventory`] | stock of one product: virtual object, key = SKU |
//! | [`transaction`] | whose a provider's transaction is: virtual object, key = its id |
//! | [`payment`], [`shipping`] | the provider and the carrier: services that end in a known state |
//! | [`reconcile`] | what `gateway reconcile` mends: service |
//! | [`signed`] | calls at the ingress that the gateway has signed |
//! | [`outside`] | how strangers are asked over HTTP: tries, outages, refusals |
//! | [`attempt`], [`protocol`] | one try of an invocation as it passes by |
//! | [`story`], [`news`], [`metrics`] | what is said of an order in the log, and once only; what is counted |
//! | [`broadcast`] | what is said aloud to whichever gateways listen |
//! | [`client`] | typed ingress clients |
//! | [`wire`] | every name by which Restate knows all this |
//! | [`functions`] | which function performs what Restate's journal shows |
//! | [`once`] | writes that their callers have given a key |
//! | [`state`] | reading state that may be spoilt |
//! | [`crash`] | dying on purpose at an exact step, for tests |
//! | [`endpoint`], [`ops`], [`registration`], [`settings`] | serving all that |
//! | [`prepare`] | keys and tokens that have to be there before the first start |
//!
//! The gateway uses the clients, the names and the functions, and nothing else of
//! this crate.
//!
//! Invariants: exclusive handlers await nothing but `Inventory`,
//! `PaymentTransaction` and, to forget an order or to begin what comes after its
//! delivery, those who know of it, and to open the shop its first admin's `Account`; they
//! write everything after their last await; services that act outside answer a value
//! that is never "perhaps"; refusals are values inside and coded terminal
//! errors at the ingress ([`refuse`]); time comes from the journal ([`clock`]).
//! Why so: docs/architecture.md.

#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod account;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod after_sales;
pub mod attempt;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod audit_log;
pub mod broadcast;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod catalog;
pub mod client;
mod clock;
pub mod crash;
pub mod endpoint;
pub mod functions;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod inventory;
pub mod metrics;
pub mod news;
pub mod once;
pub mod ops;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod order_fulfillment;
mod outside;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod payment;
pub mod prepare;
pub mod protocol;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod reconcile;
mod refuse;
pub mod registration;
pub mod settings;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod shipping;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod shop;
pub mod signed;
mod state;
pub mod story;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod transaction;
#[expect(
    missing_docs,
    reason = "the SDK's macros write clients without doc comments"
)]
pub mod user_session;
pub mod wire;
