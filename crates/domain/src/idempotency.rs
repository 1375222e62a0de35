//! `Idempotency-Key`: the same write asked twice is done once, with the same
//! key but other words it is refused, and a refusal is not remembered.
//!
//! Restate's own idempotency keeps the first answer whatever it was, and never
//! compares what was asked. So the object that is written to remembers the keys
//! itself, beside what they changed: a digest of the key and one of the request
//! for a day, in one of [`BUCKETS`] small [`KeyBook`]s.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// How long a key is remembered, as public APIs commonly promise.
pub const REMEMBERED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// The same in milliseconds, as entries are kept.
const REMEMBERED_FOR_MS: i64 = REMEMBERED_FOR.as_secs() * 1_000;
/// Into how many books an object's keys are spread: each stays small, and is
/// pruned whenever it is written.
pub const BUCKETS: u8 = 64;
/// Most keys in a book: beyond that, which takes more than 64,000 keyed writes of
/// one user in a day, the oldest goes.
const MOST: usize = 1_000;
/// Characters of a [`Digest`]: 128 bits.
const DIGEST_LEN: usize = 32;

/// The beginning of a SHA-256, as 32 lower-case hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// From its text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == DIGEST_LEN && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(
                "digest",
                format!("a digest must be {DIGEST_LEN} hexadecimal characters"),
            ))
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of the [`BUCKETS`] it belongs to.
    pub fn bucket(&self) -> u8 {
        u8::from_str_radix(&self.0[..2], 16).unwrap_or_default() % BUCKETS
    }
}

impl TryFrom<String> for Digest {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// A write that its caller has given a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Of user, operation and key: no two users or operations share one.
    pub key: Digest,
    /// Of what was asked.
    pub request: Digest,
    /// When the gateway was asked.
    pub at: Timestamp,
}

/// As it travels in a header: `key request milliseconds`.
impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, request, at } = self;
        write!(f, "{} {} {}", key.0, request.0, at.as_millisecond())
    }
}

impl FromStr for Once {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let unreadable = || Refusal::invalid("once", "write it as: key request milliseconds");
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or_else(unreadable);
        let (key, request) = (Digest::parse(next()?)?, Digest::parse(next()?)?);
        let at = next()?.parse().map_err(|_| unreadable())?;
        let at = Timestamp::from_millisecond(at).map_err(|_| unreadable())?;
        match parts.next() {
            None => Ok(Self { key, request, at }),
            Some(_) => Err(unreadable()),
        }
    }
}

/// What a key has been used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that was done.
    New,
    /// The same request: it was done.
    Again,
    /// Another request.
    Reused,
}

/// The keys of one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyBook(BTreeMap<Digest, Entry>);

/// What a key was used for, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(Digest, i64);

impl KeyBook {
    /// What the key has been used for.
    pub fn look(&self, once: &Once) -> Seen {
        match self.0.get(&once.key) {
            Some(Entry(_, at)) if is_over(*at, once.at) => Seen::New,
            Some(Entry(request, _)) if *request == once.request => Seen::Again,
            Some(_) => Seen::Reused,
            None => Seen::New,
        }
    }

    /// Writes down that it was done, and forgets what is too old.
    #[must_use]
    pub fn with(mut self, once: Once) -> Self {
        self.0.retain(|_, Entry(_, at)| !is_over(*at, once.at));
        while self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, Entry(_, at))| *at);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.0.remove(&key);
        }
        let entry = Entry(once.request, once.at.as_millisecond());
        self.0.insert(once.key, entry);
        self
    }
}

fn is_over(at: i64, now: Timestamp) -> bool {
    now.as_millisecond() - at > REMEMBERED_FOR_MS
}

/// An answer, and whether it is to a request that was done before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered<T> {
    /// The answer; of a repetition, how things stand now.
    #[serde(flatten)]
    pub value: T,
    /// Whether nothing was done now, since it had been done before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

impl<T> Answered<T> {
    /// To what was done now.
    pub fn now(value: T) -> Self {
        let again = false;
        Self { value, again }
    }

    /// To what had been done before.
    pub fn again(value: T) -> Self {
        let again = true;
        Self { value, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: u8) -> Digest {
        Digest::parse(&format!("{of:02x}").repeat(16)).unwrap()
    }

    fn once(key: u8, request: u8, hours: i64) -> Once {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let (key, request) = (digest(key), digest(request));
        Once { key, request, at }
    }

    #[test]
    fn the_same_is_known_and_other_words_are_told_apart() {
        let book = KeyBook::default();
        assert_eq!(book.look(&once(1, 1, 0)), Seen::New);
        let book = book.with(once(1, 1, 0));
        assert_eq!(book.look(&once(1, 1, 1)), Seen::Again);
        assert_eq!(book.look(&once(1, 2, 1)), Seen::Reused);
        assert_eq!(book.look(&once(2, 1, 1)), Seen::New);
    }

    #[test]
    fn a_key_is_remembered_for_a_day() {
        let book = KeyBook::default().with(once(1, 1, 0));
        assert_eq!(book.look(&once(1, 1, 24)), Seen::Again);
        assert_eq!(book.look(&once(1, 2, 25)), Seen::New);
        let pruned = book.with(once(2, 1, 25));
        assert_eq!(pruned, KeyBook::default().with(once(2, 1, 25)));
        // Clocks of two gateways differ: an earlier time forgets nothing.
        let book = pruned.with(once(3, 1, 24));
        assert_eq!(book.look(&once(2, 1, 25)), Seen::Again);
    }

    #[test]
    fn a_book_has_an_end_and_the_oldest_goes_first() {
        let key = |n: usize| Once {
            key: Digest::parse(&format!("{n:032x}")).unwrap(),
            at: Timestamp::from_millisecond(i64::try_from(n).unwrap()).unwrap(),
            ..once(0, 0, 0)
        };
        let full = (1..=MOST + 5).fold(KeyBook::default(), |book, n| book.with(key(n)));
        assert_eq!(full.0.len(), MOST);
        assert_eq!(full.look(&key(5)), Seen::New);
        assert_eq!(full.look(&key(6)), Seen::Again);
        assert_eq!(full.look(&key(MOST + 5)), Seen::Again);
    }

    #[test]
    fn it_survives_its_header() {
        let sent = once(7, 8, 9);
        assert_eq!(sent.to_string().parse(), Ok(sent.clone()));
        let text = sent.to_string();
        for broken in [
            "",
            "a b 1",
            &text[..60],
            &format!("{text} 1"),
            &format!("{text}x"),
        ] {
            assert!(broken.parse::<Once>().is_err(), "{broken}");
        }
    }

    #[test]
    fn digests_are_spread_over_all_buckets() {
        let of: std::collections::BTreeSet<u8> = (0..=255).map(|n| digest(n).bucket()).collect();
        assert_eq!(of.len(), usize::from(BUCKETS));
        for wrong in ["", "abc", &"g".repeat(32), &"A".repeat(32)] {
            assert!(Digest::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_looks_as_without_a_key() {
        let now = Answered::now(digest_map("a"));
        assert_eq!(serde_json::to_string(&now).unwrap(), r#"{"x":"a"}"#);
        let again = serde_json::to_string(&Answered::again(digest_map("a"))).unwrap();
        assert_eq!(again, r#"{"x":"a","again":true}"#);
        let read: Answered<BTreeMap<String, String>> =
            serde_json::from_str(r#"{"x":"a"}"#).unwrap();
        assert!(!read.again);
    }

    fn digest_map(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("x".to_owned(), text.to_owned())])
    }
}
