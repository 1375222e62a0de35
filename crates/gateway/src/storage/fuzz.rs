//! Ids of events, as browsers send them back.

use fuzz::check;
use fuzz::input::mistaken;
use proptest::prelude::*;

use super::notifications::Cursor;

#[test]
fn fuzz_cursors() {
    let samples = ["1795694408766-42", "0-0", "1--1"];
    check("gateway: Cursor", &mistaken(&samples, 3), |raw| {
        let (at, nr) = raw.split_once('-').unwrap_or_default();
        let is_one = [at, nr].iter().all(|half| half.parse::<i64>().is_ok());
        prop_assert_eq!(Cursor::parse(&raw).is_some(), is_one, "{}", raw);
        Ok(())
    });
}
