//! Session cookies that nobody was given.

use fuzz::check;
use fuzz::input::{mistaken, text};
use proptest::prelude::*;

use waybill_domain::ids::Username;

use super::authenticator::{self, Code, Secret};
use super::caller::Role;
use super::half_signed_in::{self, HalfSignedIn};
use super::oidc::claims;
use super::oidc::pending::{Pending, Sealer};
use super::sessions::Sessions;
use super::vault::Vault;
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
    let given = Pending::new("verifier", "/orders?q=a").for_long();
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
fn fuzz_codes() {
    let (shown, kept) = authenticator::recovery_codes();
    let samples = ["012345", "012 345", shown[0].as_str(), shown[1].as_str()];
    check(
        "gateway: a code of a second factor",
        &prop_oneof![mistaken(&samples, 3), text(6)],
        |raw| {
            let plain: String = raw.chars().filter(char::is_ascii_alphanumeric).collect();
            match raw.parse::<Code>() {
                Ok(Code::App(digits)) => {
                    prop_assert!(digits.len() == 6 && digits.bytes().all(|it| it.is_ascii_digit()));
                    prop_assert!(plain.contains(&digits), "{raw}");
                }
                // One that is kept was meant.
                Ok(Code::Recovery(print)) => {
                    let meant = |shown: &String| {
                        let read = plain.to_uppercase().replace('0', "O");
                        let read = read.replace('1', "I").replace('8', "B");
                        shown.replace('-', "") == read
                    };
                    let is_known = kept.iter().position(|kept| *kept == print);
                    prop_assert_eq!(shown.iter().position(meant), is_known, "{}", raw);
                }
                Err(problem) => prop_assert_eq!(problem.field.as_deref(), Some("code")),
            }
            Ok(())
        },
    );
}

#[test]
fn fuzz_sealed() {
    let vault = Vault::new("0123456789abcdef0123456789abcdef", None);
    let alice = Username::parse("alice").unwrap();
    let half = HalfSignedIn::new(alice.clone(), "hash", Some("/orders")).for_long();
    let set_up = half_signed_in::seal_set_up(&vault, &alice, &Secret::generate());
    let sealed = half.seal(&vault);
    let samples = [sealed.as_str(), set_up.as_str()];
    check(
        "gateway: what a browser holds between two steps",
        &prop_oneof![mistaken(&samples, 3), text(6)],
        |raw| {
            let is_half = HalfSignedIn::open(&vault, &raw).is_some();
            prop_assert_eq!(is_half, raw == sealed, "{}", raw);
            let is_set_up = half_signed_in::open_set_up(&vault, &alice, &raw).is_some();
            prop_assert_eq!(is_set_up, raw == set_up, "{}", raw);
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
