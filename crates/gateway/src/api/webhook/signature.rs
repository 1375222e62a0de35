//! `Webhook-Signature: t=<unix>,v1=<hex hmac-sha256(secret, t.rawbody)>`.
//! Several `v1` let a secret be changed without a gap.

use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waybill_domain::Timestamp;

use crate::http::problem::Problem;

/// The header's name.
const HEADER: &str = "webhook-signature";
/// How far the sender's clock may be from ours, in seconds.
const TOLERANCE: i64 = 300;

/// Accepts a body that somebody with `secret` has signed within the tolerance
/// around `now`.
pub fn check(
    secret: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Problem> {
    let header = headers
        .get(HEADER)
        .ok_or_else(|| bad("the Webhook-Signature header is missing: sign the body"))?
        .to_str()
        .unwrap_or_default();
    let (mut time, mut signatures) = (None, Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) => signatures.push(value),
            _ => {}
        }
    }
    let time = time.ok_or_else(|| bad("the Webhook-Signature header has no t=<unix time>"))?;
    let seconds: i64 = time
        .parse()
        .map_err(|_| bad("t in the Webhook-Signature header must be a unix time in seconds"))?;
    if now.as_second().abs_diff(seconds) > TOLERANCE.unsigned_abs() {
        return Err(bad(
            "the Webhook-Signature is more than 300 s old: sign again, and check the sender's clock",
        ));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .map_err(|error| Problem::internal(format!("HMAC: {error}")))?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let genuine = signatures
        .iter()
        .filter_map(|signature| hex::decode(signature).ok())
        // Takes the same time wherever the first difference is.
        .any(|signature| mac.clone().verify_slice(&signature).is_ok());
    if genuine {
        Ok(())
    } else {
        Err(bad(
            "the Webhook-Signature does not fit the body: check the secret and sign the raw bytes",
        ))
    }
}

fn bad(detail: &str) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "bad_signature",
        "Bad signature",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const NOW: i64 = 1_700_000_000;
    const BODY: &[u8] = br#"{"awakeable_id":"a","status":"success"}"#;

    fn sign(secret: &str, time: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.").as_bytes());
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn checked(header: &str) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(header).unwrap());
        let now = Timestamp::from_second(NOW).unwrap();
        check("secret", &headers, BODY, now).map_err(|problem| {
            assert_eq!(problem.status, StatusCode::UNAUTHORIZED);
            problem.detail.clone()
        })
    }

    #[test]
    fn a_known_signature_is_reproduced() {
        // `printf '1700000000.{"awakeable_id":"a","status":"success"}' |
        // openssl dgst -sha256 -hmac secret`
        assert_eq!(sign("secret", NOW, BODY), KNOWN);
    }

    const KNOWN: &str = "70b775d3ef60b75801af5305490db5977d48daa4811a087e6e8079a5930f7923";

    #[test]
    fn the_senders_signature_is_accepted_also_beside_an_old_one() {
        let good = sign("secret", NOW, BODY);
        let old = sign("old secret", NOW, BODY);
        assert!(checked(&format!("t={NOW},v1={good}")).is_ok());
        assert!(checked(&format!("t={NOW}, v1={old}, v1={good}")).is_ok());
        assert!(checked(&format!("v0=x,v1={good},t={NOW}")).is_ok());
    }

    #[test]
    fn anything_else_is_refused() {
        let good = sign("secret", NOW, BODY);
        let at = |time: i64| format!("t={time},v1={}", sign("secret", time, BODY));
        for (header, why) in [
            (String::new(), "no t="),
            (format!("v1={good}"), "no t="),
            (format!("t={NOW}"), "does not fit"),
            (format!("t=soon,v1={good}"), "unix time"),
            (format!("t={},v1={good}", NOW + 1), "does not fit"),
            (
                format!("t={NOW},v1={}", sign("other", NOW, BODY)),
                "does not fit",
            ),
            (
                format!("t={NOW},v1={}", sign("secret", NOW, b"{}")),
                "does not fit",
            ),
            (format!("t={NOW},v1=zz"), "does not fit"),
            (at(NOW - 301), "300 s"),
            (at(NOW + 301), "300 s"),
            (at(i64::MIN), "300 s"),
        ] {
            let detail = checked(&header).unwrap_err();
            assert!(detail.contains(why), "{header}: {detail}");
        }
        assert!(checked(&at(NOW - 300)).is_ok());
    }

    #[test]
    fn without_the_header_nothing_is_accepted() {
        let now = Timestamp::from_second(NOW).unwrap();
        assert!(check("secret", &HeaderMap::new(), BODY, now).is_err());
    }
}
