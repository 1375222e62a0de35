//! Session cookies that nobody was given.

use fuzz::check;
use fuzz::input::{mistaken, text};
use proptest::prelude::*;

use super::caller::Role;
use super::oidc::claims;
use super::oidc::pending::{Pending, Sealer};
use super::sessions::Sessions;
use super::{secret, token};

#[test]
fn fuzz_sessions() {
    let sessions = Sessions::new("0123456789abcdef0123456789abcdef");
    let given: Vec<_> = (0..2).map(|_| sessions.generate()).collect();
    let cookies: Vec<String> = given.iter().map(|(cookie, _)| cookie.clone()).collect();
    check(
        "gateway: session",
        &prop_oneof![mistaken(&cookies, 3), text(6)],
        |raw| {
            let fingerprint = sessions.fingerprint(&raw);
            let is_kept = given
                .iter()
                .any(|(_, kept)| fingerprint.as_ref() == Some(kept));
            prop_assert_eq!(is_kept, cookies.contains(&raw), "{}", raw);
            Ok(())
        },
    );
}

#[test]
fn fuzz_tokens_and_roles() {
    let known = token::generate();
    let samples = [known.as_str(), "admin", "customer"];
    check("gateway: token, role", &mistaken(&samples, 3), |raw| {
        let is_known = secret::fingerprint(&raw) == secret::fingerprint(&known);
        prop_assert_eq!(is_known, raw == known);
        prop_assert_eq!(Role::parse(&raw) == Some(Role::Admin), raw == "admin");
        Ok(())
    });
}

#[test]
fn fuzz_begun_sign_ins() {
    let sealer = Sealer::new("0123456789abcdef0123456789abcdef");
    let given = Pending::new("verifier", "/orders?q=a");
    let kept = sealer.seal(&given);
    let samples = [kept.as_str()];
    check(
        "gateway: a sign-in that has begun",
        &prop_oneof![mistaken(&samples, 3), text(6)],
        |raw| {
            let is_given = sealer.open(&raw).is_some_and(|it| it.state == given.state);
            prop_assert_eq!(is_given, raw == kept, "{}", raw);
            Ok(())
        },
    );
}

#[test]
fn fuzz_claims_of_tokens() {
    let samples = ["e30.eyJzdWIiOiIxIiwieCI6WzFdfQ.sig", "e30.W10.x", "a..b"];
    check(
        "gateway: claims of a token",
        &prop_oneof![mistaken(&samples, 3), text(6)],
        |raw| {
            // Read or not: what is read has been in its second part alone.
            let second = raw.split('.').nth(1).unwrap_or_default();
            let alone = claims::of_token(&format!(".{second}."));
            prop_assert_eq!(claims::of_token(&raw), alone);
            Ok(())
        },
    );
}
