//! Bearer tokens, as `Authorization` carries them.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// Whether a request brings one of `tokens`. Takes the same time wherever the first
/// difference is.
pub fn brings(headers: &HeaderMap, tokens: &[&str]) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, token)| token);
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return false;
    };
    let known = tokens.iter().fold(0, |known, token| {
        known | given.ct_eq(token.as_bytes()).unwrap_u8()
    });
    known == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brings_it(authorization: &str, tokens: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        brings(&headers, tokens)
    }

    #[test]
    fn one_of_the_tokens_opens() {
        assert!(brings_it("Bearer new", &["new", "old"]));
        assert!(brings_it("bearer old", &["new", "old"]));
        for other in [
            "Bearer ol",
            "Bearer olds",
            "Bearer ",
            "Bearer",
            "new",
            "Basic new",
        ] {
            assert!(!brings_it(other, &["new", "old"]), "{other}");
        }
        assert!(!brings_it("Bearer ", &[""]));
        assert!(!brings(&HeaderMap::new(), &["new"]));
        assert!(!brings_it("Bearer new", &[]));
    }
}
