//! Ids of events, as browsers send them back.

use fuzz::check;
use fuzz::input::mistaken;
use proptest::prelude::*;

use super::notifications::Cursor;
use super::orders::OrderCursor;

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

#[test]
fn fuzz_order_cursors() {
    let samples = ["1795694408766~alice.order-1~bob.a-b", "0", "8796093022206"];
    check("gateway: OrderCursor", &mistaken(&samples, 3), |raw| {
        if let Some(cursor) = OrderCursor::parse(&raw) {
            let written = cursor.to_string();
            prop_assert_eq!(OrderCursor::parse(&written), Some(cursor), "{}", raw);
            prop_assert!(written.len() <= raw.len(), "{}", raw);
        }
        Ok(())
    });
}
