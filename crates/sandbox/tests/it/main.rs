//! The sandbox, spoken to as a shop would: over HTTP on a free port, with a
//! ledger in a temporary folder.

mod carrier;
mod faults;
mod ledger;
mod outside;
mod pay_page;
mod payments;
mod webhook;
