//! The webhook's signature: forged, torn, and by somebody who knows the secret.

use axum::http::{HeaderMap, HeaderValue};
use fuzz::check;
use fuzz::input::{bytes, mistaken};
use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use sha2::Sha256;
use waybill_domain::Timestamp;

use super::webhook::signature;

const NOW: i64 = 1_700_000_000;

fn sign(secret: &str, time: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&[time.as_bytes(), b".", body].concat());
    hex::encode(mac.finalize().into_bytes())
}

/// What is true of a header that should be accepted, found out the slow way.
fn is_right(header: &str, body: &[u8]) -> bool {
    let parts: Vec<(&str, &str)> = header
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let Some((_, time)) = parts.iter().rfind(|(name, _)| *name == "t") else {
        return false;
    };
    let in_time = (NOW - 300..=NOW + 300).any(|second| time.parse() == Ok(second));
    let right = sign("secret", time, body);
    let signs = |(name, value): &(&str, &str)| *name == "v1" && value.eq_ignore_ascii_case(&right);
    // Whatever is no ASCII is not looked at.
    header.is_ascii() && in_time && parts.iter().any(signs)
}

#[test]
fn fuzz_signatures() {
    const BODY: &[u8] = br#"{"awakeable_id":"a","status":"success"}"#;
    let at =
        |time: i64, secret: &str| format!("t={time},v1={}", sign(secret, &time.to_string(), BODY));
    let samples = [
        at(NOW, "secret"),
        at(NOW - 300, "secret"),
        at(NOW + 301, "secret"),
        at(NOW, "old secret"),
        format!(
            "{},v1={}",
            at(NOW, "old secret"),
            sign("secret", &NOW.to_string(), BODY)
        ),
    ];
    let body = prop_oneof![3 => Just(BODY.to_vec()), 1 => bytes(8)];
    let inputs = (mistaken(&samples, 3), body);
    let now = Timestamp::from_second(NOW).unwrap();
    check("gateway: Webhook-Signature", &inputs, |(header, body)| {
        let Ok(value) = HeaderValue::from_str(&header) else {
            return Ok(());
        };
        let mut headers = HeaderMap::new();
        headers.insert("webhook-signature", value);
        let checked = signature::check("secret", &headers, &body, now);
        prop_assert_eq!(checked.is_ok(), is_right(&header, &body), "{}", header);
        if let Err(problem) = checked {
            prop_assert_eq!(problem.status, 401);
            // Nothing of what was sent, nothing of what would be right.
            prop_assert!(!problem.detail.contains("v1="), "{}", problem.detail);
        }
        Ok(())
    });
}
