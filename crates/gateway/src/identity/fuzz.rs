//! Session cookies that nobody was given.

use fuzz::check;
use fuzz::input::{mistaken, text};
use proptest::prelude::*;
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

use super::caller::Role;
use super::sessions::Sessions;
use super::token;

#[test]
fn fuzz_sessions() {
    let sessions = Sessions::new("0123456789abcdef0123456789abcdef");
    let now = Timestamp::from_second(1_000_000).unwrap();
    let genuine: Vec<String> = ["alice", "admin"]
        .iter()
        .map(|name| sessions.begin(&Username::parse(name).unwrap(), Some("hash"), now))
        .collect();
    check(
        "gateway: session",
        &prop_oneof![mistaken(&genuine, 3), text(6)],
        |raw| {
            let claim = sessions.claim(&raw, now);
            let is_genuine = genuine.iter().any(|one| {
                // Hexadecimal has two spellings of one signature.
                let claim =
                    |session: &str| session.rsplit_once('.').map(|(claim, _)| claim.to_owned());
                claim(one) == claim(&raw) && one.eq_ignore_ascii_case(&raw)
            });
            prop_assert_eq!(claim.is_some(), is_genuine, "{}", raw);
            Ok(())
        },
    );
}

#[test]
fn fuzz_tokens_and_roles() {
    let known = token::generate();
    let samples = [known.as_str(), "admin", "customer"];
    check("gateway: token, role", &mistaken(&samples, 3), |raw| {
        prop_assert_eq!(token::hash(&raw) == token::hash(&known), raw == known);
        prop_assert_eq!(Role::parse(&raw) == Role::Admin, raw == "admin");
        Ok(())
    });
}
