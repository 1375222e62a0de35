//! Passwords, hashed with argon2id. Hashing is slow on purpose, so it runs on
//! the blocking pool and only a few at a time ([`super::hash_queue`]).

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};

use super::hash_queue::HashPermit;
use crate::http::problem::Problem;

/// What is verified when there is no such user, so that both take as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// OWASP's minimum for argon2id.
fn hasher() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("constant parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The PHC string of `password`. With `salt` the same one each time, which only
/// a demo wants.
pub fn hash(password: &str, salt: Option<&[u8]>) -> anyhow::Result<String> {
    let hashed: PasswordHash = match salt {
        Some(salt) => hasher().hash_password_with_salt(password.as_bytes(), salt),
        None => hasher().hash_password(password.as_bytes()),
    }
    .map_err(|error| anyhow::anyhow!("the password could not be hashed: {error}"))?;
    Ok(hashed.to_string())
}

/// Fewest characters of a new password (OWASP ASVS 2.1.1).
pub const SHORTEST: usize = 12;
/// Most bytes of one.
pub const LONGEST: usize = 1_024;
/// As many guesses as somebody who knows what passwords people choose must need at least.
const LEAST_GUESSES: u64 = 100_000_000;

/// Whether a new password is good enough: long, and not one that is easily guessed by
/// somebody who also knows `about` its owner (name, e-mail address).
pub fn check(password: &str, about: &[&str]) -> Result<(), Problem> {
    let too = |what: String| Err(Problem::invalid("password", what));
    if password.chars().count() < SHORTEST {
        return too(format!(
            "the password is too short: it needs {SHORTEST} characters or more"
        ));
    }
    if password.len() > LONGEST {
        return too(format!(
            "the password is too long: it may have {LONGEST} bytes"
        ));
    }
    let shop = [about, &["waybill"]].concat();
    if zxcvbn::zxcvbn(password, &shop).guesses() < LEAST_GUESSES {
        return too(
            "this password is easily guessed: choose another, such as four words that have nothing to do with each other".to_owned(),
        );
    }
    Ok(())
}

/// The PHC string of a new password.
pub async fn hashed(turn: HashPermit, password: String) -> Result<String, Problem> {
    let hashing = move || {
        let _turn = turn;
        hash(&password, None)
    };
    tokio::task::spawn_blocking(hashing)
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)
}

/// Whether `password` is the one that was hashed. Takes as long when there is
/// no hash.
pub async fn verify(
    turn: HashPermit,
    password: String,
    hash: Option<String>,
) -> Result<bool, Problem> {
    let verified = tokio::task::spawn_blocking(move || {
        // Also when nobody waits for the answer any more.
        let _turn = turn;
        let matches = hasher()
            .verify_password(password.as_bytes(), hash.as_deref().unwrap_or(NOBODY))
            .is_ok();
        matches && hash.is_some()
    });
    verified.await.map_err(Problem::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::hash_queue::HashQueue;

    async fn turn() -> HashPermit {
        let here = std::net::Ipv4Addr::LOCALHOST.into();
        HashQueue::default().turn(here, false).await.unwrap()
    }

    #[tokio::test]
    async fn only_the_same_password_passes() {
        let hashed = hash("correct horse", None).unwrap();
        assert!(hashed.starts_with("$argon2id$"));
        assert!(
            verify(turn().await, "correct horse".into(), Some(hashed.clone()))
                .await
                .unwrap()
        );
        for (password, hash) in [
            ("wrong", Some(hashed.clone())),
            (" correct horse", Some(hashed)),
            ("anything", None),
        ] {
            assert!(!verify(turn().await, password.into(), hash).await.unwrap());
        }
    }

    #[test]
    fn what_everybody_guesses_is_no_password() {
        for bad in [
            "short",
            "password1234",
            "aaaaaaaaaaaa",
            "123456789012",
            "alice-alice-alice",
            "qwertyuiop123",
            &"x".repeat(LONGEST + 1),
        ] {
            let refused = check(bad, &["alice"]).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some("password"), "{bad}");
        }
        for good in [
            "Wagon-Tulip-93-north",
            "  spaces count  too ",
            "ÄpfelUndBirnen!!",
        ] {
            check(good, &["alice"]).unwrap();
        }
    }

    #[test]
    fn the_stand_in_for_nobody_costs_as_much() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let somebody = PasswordHash::new(&hash("x", None).unwrap()).unwrap();
        assert_eq!(nobody.params, somebody.params);
        assert_eq!(nobody.algorithm, somebody.algorithm);
    }
}
