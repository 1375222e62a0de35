//! Where to stop, as somebody asks for it, and Restate's messages as the crash
//! switch reads them on their way.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use fuzz::check;
use fuzz::input::{bytes, cut, mistaken};
use fuzz::proptest::collection::vec;
use fuzz::proptest::prelude::*;
use fuzz::proptest::sample::Index;
use http_body_util::BodyExt as _;
use services::crash::{At, Crash};

#[test]
fn fuzz_at() {
    let samples = [
        "UserSession/Checkout#1:7:before",
        "OrderFulfillmentWorkflow/Run#12:3.result:after",
        "Inventory/Reserve#1:2.end:before",
    ];
    check("services: crash::At", &mistaken(&samples, 3), |raw| {
        // By hand, from the left.
        let expected = || {
            let (step, side) = raw.rsplit_once(':')?;
            let (handler, numbers) = step.rsplit_once('#')?;
            let mut numbers = numbers.splitn(2, ':');
            let (number, step) = (numbers.next()?, numbers.next()?);
            let is_number = |text: &str| text.parse::<u32>().is_ok();
            (handler.contains('/')
                && is_number(number)
                && is_number(step.split('.').next()?)
                && ["before", "after"].contains(&side))
            .then_some(())
        };
        match raw.parse::<At>() {
            Ok(at) => {
                prop_assert!(expected().is_some(), "{raw:?}");
                prop_assert_eq!(raw.parse(), Ok(at));
            }
            Err(said) => {
                prop_assert!(expected().is_none(), "{raw:?}");
                prop_assert!(said.contains("Checkout#1:7:before"), "{said}");
            }
        }
        Ok(())
    });
}

/// Restate's protocol: type, flags, length, payload.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(0_u16),
        Just(0x0005),
        Just(0x0003),
        0x0400..=0x0420_u16,
        any::<u16>(),
    ];
    let length = prop_oneof![6 => Just(None), 1 => any::<u32>().prop_map(Some)];
    (kind, any::<u16>(), length, bytes(4)).prop_map(|(kind, flags, length, payload)| {
        let length = length.unwrap_or(u32::try_from(payload.len()).unwrap());
        let mut message = Vec::new();
        message.extend(kind.to_be_bytes());
        message.extend(flags.to_be_bytes());
        message.extend(length.to_be_bytes());
        message.extend(payload);
        message
    })
}

#[test]
fn fuzz_messages() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let inputs = (vec(message(), 0..6), vec(any::<Index>(), 0..8));
    check(
        "services: messages of Restate",
        &inputs,
        |(messages, places)| {
            let sent = messages.concat();
            let pass = |pieces: Vec<&[u8]>| {
                let crash = Crash::allowed(true);
                let watch = crash.watch("/invoke/UserSession/Checkout");
                let body = || {
                    let pieces: Vec<_> = pieces
                        .iter()
                        .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
                        .collect();
                    Body::from_stream(futures::stream::iter(pieces))
                };
                let (asked, answered) = (watch.asked(body()), watch.answered(body()));
                runtime.block_on(async {
                    let heard = asked.collect().await.unwrap().to_bytes();
                    let said = answered.collect().await.unwrap().to_bytes();
                    (heard, said, crash.seen())
                })
            };
            let (heard, said, seen) = pass(cut(&sent, &places));
            // Nothing is planned: everything passes as it was.
            prop_assert_eq!(&heard[..], &sent[..]);
            prop_assert_eq!(&said[..], &sent[..]);
            let (_, _, whole) = pass(vec![&sent]);
            prop_assert_eq!(seen, whole, "in pieces it is something else");
            Ok(())
        },
    );
}
