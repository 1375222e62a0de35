//! Waybill's pure types and rules. No async, no IO, no clock, no randomness:
//! time comes in as an argument, and every function answers the same for the
//! same input.
//!
//! | module | holds |
//! | --- | --- |
//! | [`ids`] | who and what: users, orders, SKUs, payment attempts |
//! | [`money`] | integer cents |
//! | [`audit`] | who has done what that matters |
//! | [`account`] | people: roles, passwords, tokens, sessions |
//! | [`catalog`] | products and zones, who has changed them, imports |
//! | [`basket`] | a user's cart |
//! | [`placement`] | what is bought, frozen at checkout |
//! | [`checkout`] | what is asked of a checkout and what it answers |
//! | [`payment`] | payment attempts, receipts, late money |
//! | [`session`] | what a user's session decides about an order that is being paid |
//! | [`order`] | the order record and its state machine |
//! | [`decision`] | the one decision that every order gets |
//! | [`after_sales`] | what happens after delivery: returns and refunds |
//! | [`shipment`] | parcels |
//! | [`stock`] | stock levels |
//! | [`repair`] | what reconciling asks for |
//! | [`notification`] | what people are told |
//! | [`update`] | what the services say aloud |
//! | [`idempotency`] | what a key was used for, and whether it was done |
//! | [`refusal`] | every "no" a caller can get, with its code |
//! | [`words`] | what others write: what is kept of it, and how it is shown |
//!
//! Invariants kept here: an order's steps are undone in the reverse order of
//! their doing and exactly as far as they were done ([`order::OrderRecord::apply`]);
//! a terminal status never changes; money is never negative; stock levels
//! always add up ([`stock::StockLevel::adds_up`]).

pub mod account;
pub mod after_sales;
pub mod audit;
pub mod basket;
pub mod catalog;
pub mod checkout;
pub mod decision;
pub mod idempotency;
pub mod ids;
pub mod money;
pub mod notification;
pub mod order;
pub mod payment;
pub mod placement;
pub mod refusal;
pub mod repair;
pub mod session;
pub mod shipment;
pub mod stock;
pub mod update;
pub mod words;

pub use jiff::Timestamp;
