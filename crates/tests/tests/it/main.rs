//! Waybill from outside: a real Restate server, the real `services`, `gateway`
//! and sandbox processes, and tests that speak to them over HTTP as a customer,
//! an admin, a payment provider or an operator would.
//!
//! | module | holds |
//! | --- | --- |
//! | [`world`] | the processes of one test, and how a test is run |
//! | [`shop`] | people, and what they do in the shop |
//! | [`restate`] | Restate's own view: SQL, ingress, command line |
//! | [`outside`] | the payment provider and the carrier, their ledger and faults |
//! | [`stream`] | live streams, as a browser reads them |
//! | [`checker`] | the invariants, one function each |
//!
//! The other modules are tests, named by their noun. Every test ends with
//! [`checker::assert_quiet`]: whatever it was about, its orders have ended,
//! money and stock add up, and nothing is left running.

mod attacks;
mod audit;
mod backup;
mod boundaries;
mod budget;
mod cancellations;
mod carrier;
mod cart;
mod catalog;
mod checker;
mod checkout;
mod clocks;
mod cluster;
mod code_change;
mod command_line;
mod copies;
mod crashes;
mod credentials;
mod decisions;
mod disks;
mod doors;
mod forms;
mod input;
mod losses;
mod observability;
mod outage;
mod outside;
mod patience;
mod payment_races;
mod payments;
mod people;
mod read_model;
mod readiness;
mod reconcile;
mod repeats;
mod restarts;
mod restate;
mod returns;
mod roles;
mod scale;
mod scenarios;
mod schemathesis;
mod second_factor;
mod sessions;
mod shop;
mod soak;
mod stream;
mod streams;
mod stuck;
mod traces;
mod transactions;
mod words;
mod world;
