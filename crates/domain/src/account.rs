//! Who somebody is to the shop: their role, how they prove who they are, and where
//! they are signed in. One [`Account`] holds all of it; secrets are in it as hashes
//! only, or encrypted where a hash cannot do, so whoever reads it can sign in as nobody.

mod change;
mod factor;
mod role;

use serde::{Deserialize, Serialize};

pub use change::{Change, Ended, NewAccount, Proof, SignIn, email};
pub use factor::{
    Factor, MOST_WRONG_CODES, NewFactor, RECOVERY_CODES, Second, Shown, WRONG_CODES_FOR, WrongCodes,
};
pub use role::{Role, Scope};

use crate::Timestamp;
use crate::ids::Username;
use crate::refusal::Refusal;
use crate::words;

/// Most places where somebody is signed in. Whoever signs in once more is signed out
/// where they were not seen for the longest.
pub const MOST_SESSIONS: usize = 20;
/// Most API tokens of one user.
pub const MOST_TOKENS: usize = 50;
/// Longest e-mail address, in bytes (RFC 5321).
pub const MAX_EMAIL: usize = 254;
/// Longest issuer or subject of an [`Identity`], in bytes.
const MAX_IDENTITY: usize = 255;
/// Characters of a [`Fingerprint`]: a whole SHA-256.
const FINGERPRINT_LEN: usize = 64;

/// The SHA-256 of a secret that nobody can guess, as 64 lower-case hexadecimal
/// characters. It finds the secret's owner and does not give it away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// From its text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == FINGERPRINT_LEN && text.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::invalid(
                "fingerprint",
                format!("a fingerprint must be {FINGERPRINT_LEN} hexadecimal characters"),
            ))
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its beginning: enough to tell the few secrets of one user apart.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        Self::parse(&text)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

/// A user of the shop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Grows with each change.
    pub version: u64,
    /// Who.
    pub user: Username,
    /// What they may do.
    pub role: Role,
    /// Where to write to them.
    #[serde(deserialize_with = "words::kept::id")]
    pub email: String,
    /// Where their orders go unless they say otherwise.
    #[serde(default, deserialize_with = "words::kept::an_address")]
    pub address: Option<String>,
    /// The shipping zone of that address.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub default_zone: Option<String>,
    /// Their password, as argon2id in PHC form. Without one they sign in by a link, or
    /// somewhere else.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub password_hash: Option<String>,
    /// Who they are at an identity provider, if one may sign them in.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// What they show beside a password, if they have set that up.
    #[serde(default)]
    pub factor: Option<Factor>,
    /// Since when they may not sign in.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    /// Since when they are known.
    pub created_at: Timestamp,
    /// A link that lets its holder set the password, once.
    #[serde(default)]
    pub link: Option<Link>,
    /// What programs of theirs show.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// Where they are signed in.
    #[serde(default)]
    pub sessions: Vec<Session>,
}

/// Who somebody is at an identity provider. Names there can change hands, this cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The provider: its issuer, a URL.
    #[serde(deserialize_with = "words::kept::id")]
    pub issuer: String,
    /// Who they are to it: `sub`.
    #[serde(deserialize_with = "words::kept::id")]
    pub subject: String,
}

impl Identity {
    /// Both have 1 to 255 visible ASCII characters, as `OpenID` Connect has it: nothing of
    /// them is ever cut.
    pub fn of(issuer: &str, subject: &str) -> Result<Self, Refusal> {
        for (field, text) in [("issuer", issuer), ("subject", subject)] {
            let is_good = (1..=MAX_IDENTITY).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_good {
                return Err(Refusal::invalid(
                    field,
                    format!("it must be 1 to {MAX_IDENTITY} visible ASCII characters"),
                ));
            }
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        })
    }
}

/// A link that was sent to somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Of the secret in it.
    pub fingerprint: Fingerprint,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Of the token.
    pub fingerprint: Fingerprint,
    /// What its maker called it.
    #[serde(deserialize_with = "words::kept::name")]
    pub name: String,
    /// How much it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it works.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was last shown, as far as is told: some minutes late.
    #[serde(default)]
    pub seen_at: Option<Timestamp>,
}

/// A place where somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Of the secret in the browser's cookie.
    pub fingerprint: Fingerprint,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When they last did something there, as far as is told: some minutes late.
    pub seen_at: Timestamp,
    /// When it ends, whatever they do.
    pub expires_at: Timestamp,
    /// From which network address they signed in.
    #[serde(deserialize_with = "words::kept::name")]
    pub address: String,
    /// Which browser says it is there.
    #[serde(deserialize_with = "words::kept::name")]
    pub agent: String,
    /// How they have signed in.
    #[serde(default)]
    pub way: Way,
}

/// How somebody has signed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// With a password, and the second factor if they had one. So count the sessions of
    /// before this was written down.
    #[default]
    Password,
    /// At an identity provider, which asks for as much as it likes.
    Provider,
    /// As a demo's persona.
    Persona,
}

impl Way {
    /// The way of that name; of another, one that proves least.
    pub fn parse(name: &str) -> Self {
        [Self::Provider, Self::Persona]
            .into_iter()
            .find(|way| way.as_str() == name)
            .unwrap_or_default()
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Provider => "provider",
            Self::Persona => "persona",
        }
    }
}

impl Account {
    /// Whether they may do anything.
    pub const fn is_enabled(&self) -> bool {
        self.disabled_at.is_none()
    }

    /// The token of that fingerprint.
    pub fn token(&self, fingerprint: &Fingerprint) -> Option<&Token> {
        self.tokens
            .iter()
            .find(|token| token.fingerprint == *fingerprint)
    }

    /// The session of that fingerprint.
    pub fn session(&self, fingerprint: &Fingerprint) -> Option<&Session> {
        self.sessions
            .iter()
            .find(|session| session.fingerprint == *fingerprint)
    }
}
