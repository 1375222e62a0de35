//! What can happen to an account.

use serde::{Deserialize, Serialize};

use super::{
    Account, Fingerprint, Identity, Link, MAX_EMAIL, MOST_SESSIONS, MOST_TOKENS, NewFactor, Role,
    Session, Shown, Token, Way,
};
use crate::Timestamp;
use crate::ids::Username;
use crate::refusal::Refusal;
use crate::words;

/// Somebody who is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// What they may do.
    pub role: Role,
    /// Where to write to them.
    #[serde(deserialize_with = "words::kept::id")]
    pub email: String,
    /// See [`Account::password_hash`].
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub password_hash: Option<String>,
    /// See [`Account::link`].
    #[serde(default)]
    pub link: Option<Link>,
    /// When they are made.
    pub at: Timestamp,
}

/// What somebody has shown who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Proof {
    /// The password of this hash. It must be the account's still.
    Password {
        /// See [`Account::password_hash`].
        #[serde(deserialize_with = "words::kept::id")]
        hash: String,
    },
    /// An identity provider has said who they are, and what they are there. Whoever is
    /// not known yet is made; an account that is not bound to this identity stays closed.
    Provider {
        /// Who they are there.
        identity: Identity,
        /// Where to write to them.
        #[serde(deserialize_with = "words::kept::id")]
        email: String,
        /// What their groups make of them.
        role: Role,
    },
    /// Nothing: a demo's persona.
    Nothing,
}

/// Somebody signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// What they have shown.
    pub proof: Proof,
    /// What they have shown beside a password.
    #[serde(default)]
    pub second: Option<Shown>,
    /// Where they are from now on.
    pub session: Session,
    /// The session that this browser had, which ends.
    #[serde(default)]
    pub instead_of: Option<Fingerprint>,
}

/// Which sessions end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "session", rename_all = "snake_case")]
pub enum Ended {
    /// All of them.
    All,
    /// All but this one.
    Others(Fingerprint),
    /// The one whose fingerprint begins so.
    One(#[serde(deserialize_with = "words::kept::name")] String),
}

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// Another role. They sign in again.
    Role {
        /// Which.
        role: Role,
    },
    /// Another password. Every session ends but the one named, and so does a link.
    Password {
        /// See [`Account::password_hash`].
        #[serde(deserialize_with = "words::kept::id")]
        hash: String,
        /// The password that it takes the place of, where its owner had to show it.
        #[serde(default, deserialize_with = "words::kept::an_id")]
        was: Option<String>,
        /// Whose owner changes it.
        #[serde(default)]
        keep: Option<Fingerprint>,
    },
    /// A link that lets its holder set the password, in place of an older one.
    Link {
        /// See [`Link`].
        link: Link,
    },
    /// The holder of a link sets the password.
    Redeem {
        /// Of the link's secret.
        fingerprint: Fingerprint,
        /// See [`Account::password_hash`].
        #[serde(deserialize_with = "words::kept::id")]
        hash: String,
    },
    /// They are somebody at an identity provider, or nobody there any more. They sign in
    /// again.
    Bind {
        /// Who.
        identity: Option<Identity>,
    },
    /// A second factor is asked for from now on. Every session ends but the one named.
    SetUpFactor {
        /// Which.
        factor: NewFactor,
        /// Whose owner sets it up.
        #[serde(default)]
        keep: Option<Fingerprint>,
    },
    /// No second factor is asked for any more. Every session ends but the one named.
    DropFactor {
        /// What its owner shows once more.
        shown: Shown,
        /// Whose owner drops it.
        #[serde(default)]
        keep: Option<Fingerprint>,
    },
    /// Somebody else has taken the second factor away. They sign in again.
    ResetFactor,
    /// Other recovery codes; those of before do not work any more.
    RenewRecovery {
        /// What their owner shows.
        shown: Shown,
        /// What is kept of them.
        recovery: Vec<Fingerprint>,
    },
    /// They may not sign in any more, and are signed out; their tokens do not work.
    Disable,
    /// They may again.
    Enable,
    /// One more API token.
    AddToken {
        /// Which.
        token: Token,
    },
    /// A token does not work any more.
    RevokeToken {
        /// How its fingerprint begins.
        #[serde(deserialize_with = "words::kept::name")]
        token: String,
    },
    /// They are signed out.
    EndSessions {
        /// Where.
        ended: Ended,
    },
    /// A session or a token was used.
    Seen {
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
}

impl Ended {
    fn leaves(&self, session: &Session) -> bool {
        let fingerprint = &session.fingerprint;
        match self {
            Self::All => false,
            Self::Others(keep) => fingerprint == keep,
            Self::One(beginning) => {
                beginning.is_empty() || !fingerprint.as_str().starts_with(beginning)
            }
        }
    }
}

impl NewAccount {
    /// The account that it makes.
    pub fn of(self, user: Username) -> Result<Account, Refusal> {
        let account = Account {
            version: 1,
            user,
            role: self.role,
            email: email(&self.email)?,
            address: None,
            default_zone: None,
            password_hash: self.password_hash,
            identity: None,
            factor: None,
            disabled_at: None,
            created_at: self.at,
            link: self.link,
            tokens: Vec::new(),
            sessions: Vec::new(),
        };
        Ok(account)
    }
}

/// An e-mail address, as far as can be told without writing to it.
pub fn email(raw: &str) -> Result<String, Refusal> {
    let raw = raw.trim();
    let is_one = raw.len() <= MAX_EMAIL
        && raw.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !host.contains('@')
        })
        && !raw
            .chars()
            .any(|char| char.is_whitespace() || char.is_control());
    if is_one {
        Ok(raw.to_owned())
    } else {
        Err(Refusal::invalid(
            "email",
            "it must be an e-mail address such as alice@example.com",
        ))
    }
}

impl SignIn {
    /// The account as it is afterwards. `None` stands for somebody who is not known.
    pub fn to(self, user: Username, account: Option<Account>) -> Result<Account, Refusal> {
        let at = self.session.created_at;
        let mut account = match (account, &self.proof) {
            (Some(account), _) => account,
            (
                None,
                Proof::Provider {
                    identity,
                    email,
                    role,
                },
            ) => {
                let new = NewAccount {
                    role: *role,
                    email: email.clone(),
                    password_hash: None,
                    link: None,
                    at,
                };
                Account {
                    identity: Some(identity.clone()),
                    ..new.of(user)?
                }
            }
            (None, _) => return Err(Refusal::NotSignedIn),
        };
        if let Proof::Provider { identity, .. } = &self.proof
            && account.identity.as_ref() != Some(identity)
        {
            let user = account.user;
            return Err(Refusal::OtherIdentity { user });
        }
        let is_proven = match &self.proof {
            Proof::Password { hash } => account.password_hash.as_ref() == Some(hash),
            Proof::Provider { .. } | Proof::Nothing => true,
        };
        if !is_proven || !account.is_enabled() {
            return Err(Refusal::NotSignedIn);
        }
        let way = match &self.proof {
            Proof::Password { .. } => {
                account.take_second(self.second.as_ref(), at)?;
                Way::Password
            }
            Proof::Provider { .. } => Way::Provider,
            Proof::Nothing => Way::Persona,
        };
        if let Proof::Provider { email, role, .. } = self.proof {
            if account.role != role {
                account.sessions.clear();
            }
            (account.email, account.role) = (self::email(&email)?, role);
        }
        account.sessions.retain(|session| {
            session.expires_at > at
                && Some(&session.fingerprint) != self.instead_of.as_ref()
                && session.fingerprint != self.session.fingerprint
        });
        while account.sessions.len() >= MOST_SESSIONS {
            let oldest = account.sessions.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, session)| session.seen_at);
            let Some((place, _)) = oldest else { break };
            account.sessions.remove(place);
        }
        account.sessions.push(Session {
            way,
            ..self.session
        });
        account.version += 1;
        Ok(account)
    }
}

impl Change {
    /// The second factor that was shown for it.
    pub const fn shown(&self) -> Option<&Shown> {
        match self {
            Self::DropFactor { shown, .. } | Self::RenewRecovery { shown, .. } => Some(shown),
            _ => None,
        }
    }

    /// The account as it is afterwards; `None` when it is so already.
    pub fn to(self, account: &Account, at: Timestamp) -> Result<Option<Account>, Refusal> {
        let mut after = account.clone();
        after.sessions.retain(|session| session.expires_at > at);
        match self {
            Self::Role { role } if role == account.role => return Ok(None),
            Self::Role { role } => {
                after.role = role;
                after.sessions.clear();
            }
            Self::Password { hash, was, keep } => {
                if was.is_some() && was != account.password_hash {
                    return Err(Refusal::NotSignedIn);
                }
                after.password_hash = Some(hash);
                after.link = None;
                after.end_all_but(keep.as_ref());
            }
            Self::Link { link } => after.link = Some(link),
            Self::Redeem { fingerprint, hash } => {
                let is_good = account.link.as_ref().is_some_and(|link| {
                    link.fingerprint == fingerprint && link.expires_at > at && account.is_enabled()
                });
                if !is_good {
                    return Err(Refusal::LinkOver);
                }
                after.link = None;
                after.password_hash = Some(hash);
                after.sessions.clear();
            }
            Self::Bind { identity } if identity == account.identity => return Ok(None),
            Self::Bind { identity } => {
                after.identity = identity;
                after.sessions.clear();
            }
            change @ (Self::SetUpFactor { .. }
            | Self::DropFactor { .. }
            | Self::ResetFactor
            | Self::RenewRecovery { .. }) => {
                if !change.of_factor(&mut after, at)? {
                    return Ok(None);
                }
            }
            Self::Disable if !account.is_enabled() => return Ok(None),
            Self::Disable => {
                after.disabled_at = Some(at);
                after.link = None;
                after.sessions.clear();
            }
            Self::Enable if account.is_enabled() => return Ok(None),
            Self::Enable => after.disabled_at = None,
            Self::AddToken { token } => {
                if account.token(&token.fingerprint).is_some() {
                    return Ok(None);
                }
                after
                    .tokens
                    .retain(|token| token.expires_at.is_none_or(|end| end > at));
                if after.tokens.len() >= MOST_TOKENS {
                    return Err(Refusal::invalid(
                        "token",
                        format!("there are {MOST_TOKENS} tokens already: revoke one first"),
                    ));
                }
                after.tokens.push(token);
            }
            Self::RevokeToken { token } => {
                after.tokens = without(&account.tokens, &token, |known| &known.fingerprint)
                    .ok_or_else(|| {
                        let token = words::quoted(&token, words::MAX_NAME);
                        Refusal::invalid("token", format!("there is no token {token}"))
                    })?;
            }
            Self::EndSessions { ended } => {
                after.sessions.retain(|session| ended.leaves(session));
                if after.sessions == account.sessions {
                    return Ok(None);
                }
            }
            Self::Seen { fingerprint } => {
                let mut session = after.sessions.iter_mut();
                let session = session.find(|session| session.fingerprint == fingerprint);
                let mut token = after.tokens.iter_mut();
                let token = token.find(|token| token.fingerprint == fingerprint);
                match (session, token) {
                    (Some(session), _) if session.seen_at < at => session.seen_at = at,
                    (_, Some(token)) if token.seen_at.is_none_or(|seen| seen < at) => {
                        token.seen_at = Some(at);
                    }
                    _ => return Ok(None),
                }
            }
        }
        after.version += 1;
        Ok(Some(after))
    }
}

impl Change {
    /// Those of the second factor. Answers whether anything has changed.
    fn of_factor(self, after: &mut Account, at: Timestamp) -> Result<bool, Refusal> {
        match (self, after.factor.is_some()) {
            (Self::SetUpFactor { .. }, true) => return Err(Refusal::HasFactor),
            (Self::DropFactor { .. } | Self::RenewRecovery { .. }, false) => {
                return Err(Refusal::NoFactor);
            }
            (Self::SetUpFactor { factor, keep }, false) => {
                after.factor = Some(factor.of(at));
                after.end_all_but(keep.as_ref());
            }
            (Self::DropFactor { shown, keep }, true) => {
                after.take_second(Some(&shown), at)?;
                after.factor = None;
                after.end_all_but(keep.as_ref());
            }
            (Self::RenewRecovery { shown, recovery }, true) => {
                after.take_second(Some(&shown), at)?;
                if let Some(factor) = &mut after.factor {
                    factor.recovery = recovery;
                }
            }
            (Self::ResetFactor, true) => {
                after.factor = None;
                after.sessions.clear();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Account {
    fn end_all_but(&mut self, keep: Option<&Fingerprint>) {
        self.sessions
            .retain(|session| Some(&session.fingerprint) == keep);
    }
}

/// All but the one whose fingerprint begins so. `None` when none does, or several do.
fn without<T: Clone>(
    all: &[T],
    beginning: &str,
    fingerprint: impl Fn(&T) -> &Fingerprint,
) -> Option<Vec<T>> {
    let is_it = |one: &T| beginning.len() >= 6 && fingerprint(one).as_str().starts_with(beginning);
    (all.iter().filter(|one| is_it(one)).count() == 1)
        .then(|| all.iter().filter(|one| !is_it(one)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Scope, Second};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn print(number: u8) -> Fingerprint {
        Fingerprint::parse(&format!("{number:02x}").repeat(32)).unwrap()
    }

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    fn account() -> Account {
        NewAccount {
            role: Role::Customer,
            email: "alice@example.com".into(),
            password_hash: Some("hash".into()),
            link: None,
            at: at(0),
        }
        .of(alice())
        .unwrap()
    }

    fn session(number: u8, second: i64) -> Session {
        Session {
            fingerprint: print(number),
            created_at: at(second),
            seen_at: at(second),
            expires_at: at(second + 1_000),
            address: "127.0.0.1".into(),
            agent: "curl".into(),
            way: Way::Password,
        }
    }

    fn sign_in(number: u8, second: i64) -> SignIn {
        SignIn {
            proof: Proof::Password {
                hash: "hash".into(),
            },
            second: None,
            session: session(number, second),
            instead_of: None,
        }
    }

    fn signed_in(numbers: &[u8]) -> Account {
        numbers.iter().fold(account(), |account, number| {
            let second = i64::from(*number);
            sign_in(*number, second).to(alice(), Some(account)).unwrap()
        })
    }

    fn changed(account: &Account, change: Change) -> Account {
        let after = change.to(account, at(500)).unwrap().unwrap();
        assert_eq!(after.version, account.version + 1);
        after
    }

    fn where_they_are(account: &Account) -> Vec<&Fingerprint> {
        let sessions = account.sessions.iter();
        sessions.map(|session| &session.fingerprint).collect()
    }

    #[test]
    fn an_address_without_a_host_is_none() {
        for wrong in [
            "",
            "alice",
            "@x",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\n",
            &format!("{}@x", "a".repeat(MAX_EMAIL)),
        ] {
            // Around it, white space is nobody's fault.
            assert_eq!(email(wrong).is_ok(), wrong == "a@b\n", "{wrong:?}");
        }
        assert_eq!(email(" a@b ").unwrap(), "a@b");
    }

    #[test]
    fn whoever_shows_the_password_is_signed_in_beside_the_others() {
        let account = signed_in(&[1, 2]);
        assert_eq!(where_they_are(&account), [&print(1), &print(2)]);
        assert_eq!(account.version, 3);
    }

    #[test]
    fn an_old_password_a_disabled_account_and_nobody_are_not() {
        let mut wrong = sign_in(1, 1);
        wrong.proof = Proof::Password { hash: "old".into() };
        let refused = wrong.to(alice(), Some(account()));
        assert_eq!(refused, Err(Refusal::NotSignedIn));
        let disabled = changed(&account(), Change::Disable);
        for proof in [
            Proof::Password {
                hash: "hash".into(),
            },
            Proof::Nothing,
            provided("1", Role::Admin),
        ] {
            let asked = SignIn {
                proof,
                ..sign_in(1, 1)
            };
            let disabled = Account {
                identity: Some(identity("1")),
                ..disabled.clone()
            };
            assert_eq!(asked.to(alice(), Some(disabled)), Err(Refusal::NotSignedIn));
        }
        assert_eq!(sign_in(1, 1).to(alice(), None), Err(Refusal::NotSignedIn));
        let without_password = Account {
            password_hash: None,
            ..account()
        };
        assert!(sign_in(1, 1).to(alice(), Some(without_password)).is_err());
    }

    fn identity(subject: &str) -> Identity {
        Identity::of("https://id.example", subject).unwrap()
    }

    fn provided(subject: &str, role: Role) -> Proof {
        Proof::Provider {
            identity: identity(subject),
            email: "a@b".into(),
            role,
        }
    }

    #[test]
    fn a_provider_makes_people_and_their_roles() {
        let of = |second, role| SignIn {
            proof: provided("1", role),
            ..sign_in(second, i64::from(second))
        };
        let new = of(8, Role::Support).to(alice(), None).unwrap();
        assert_eq!((new.role, new.email.as_str()), (Role::Support, "a@b"));
        assert_eq!(new.identity, Some(identity("1")));
        let beside = of(9, Role::Support).to(alice(), Some(new.clone())).unwrap();
        assert_eq!(where_they_are(&beside), [&print(8), &print(9)]);
        let known = of(9, Role::Admin).to(alice(), Some(new)).unwrap();
        assert_eq!(known.role, Role::Admin);
        // Another role: they sign in again everywhere else.
        assert_eq!(where_they_are(&known), [&print(9)]);
    }

    #[test]
    fn a_provider_takes_nobody_over() {
        let asked = |subject| SignIn {
            proof: provided(subject, Role::Admin),
            ..sign_in(9, 9)
        };
        let refused = Err(Refusal::OtherIdentity { user: alice() });
        // With a password here, or with none yet.
        let invited = Account {
            password_hash: None,
            ..account()
        };
        for local in [account(), invited, changed(&account(), Change::Disable)] {
            assert_eq!(asked("1").to(alice(), Some(local)), refused);
        }
        // Somebody else there has got the name.
        let bound = changed(
            &signed_in(&[1]),
            Change::Bind {
                identity: Some(identity("1")),
            },
        );
        assert!(bound.sessions.is_empty());
        assert_eq!(asked("2").to(alice(), Some(bound.clone())), refused);
        let mut elsewhere = bound.clone();
        elsewhere.identity = Some(Identity::of("https://other.example", "1").unwrap());
        assert_eq!(asked("1").to(alice(), Some(elsewhere)), refused);
        // Whom an admin has bound is themselves there and here.
        let signed_in = asked("1").to(alice(), Some(bound.clone())).unwrap();
        assert_eq!(where_they_are(&signed_in), [&print(9)]);
        let again = Change::Bind {
            identity: Some(identity("1")),
        };
        assert_eq!(again.to(&bound, at(500)), Ok(None));
        let loose = changed(&bound, Change::Bind { identity: None });
        assert_eq!(asked("1").to(alice(), Some(loose)), refused);
    }

    #[test]
    fn an_identity_is_never_cut() {
        for wrong in ["", "two words", "é", &"1".repeat(256)] {
            assert!(Identity::of("https://id.example", wrong).is_err());
            assert!(Identity::of(wrong, "1").is_err());
        }
        let longest = identity(&"1".repeat(255));
        let json = serde_json::to_string(&longest).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), longest);
        // Accounts of before have none.
        let mut json = serde_json::to_value(account()).unwrap();
        json.as_object_mut().unwrap().remove("identity");
        let known: Account = serde_json::from_value(json).unwrap();
        assert_eq!(known.identity, None);
    }

    #[test]
    fn the_session_of_before_ends_and_the_number_is_bounded() {
        let again = SignIn {
            instead_of: Some(print(1)),
            ..sign_in(3, 3)
        };
        let account = again.to(alice(), Some(signed_in(&[1, 2]))).unwrap();
        assert_eq!(where_they_are(&account), [&print(2), &print(3)]);

        let many: Vec<u8> = (0..=20).collect();
        let account = signed_in(&many);
        assert_eq!(account.sessions.len(), MOST_SESSIONS);
        assert!(account.session(&print(0)).is_none());
        // What is over makes room by itself.
        let late = sign_in(30, 2_000).to(alice(), Some(account)).unwrap();
        assert_eq!(where_they_are(&late), [&print(30)]);
    }

    #[test]
    fn a_new_password_ends_every_session_but_its_owners() {
        let account = signed_in(&[1, 2, 3]);
        let change = |was: Option<&str>, keep| Change::Password {
            hash: "new".into(),
            was: was.map(str::to_owned),
            keep,
        };
        let after = changed(&account, change(Some("hash"), Some(print(2))));
        assert_eq!(where_they_are(&after), [&print(2)]);
        assert_eq!(after.password_hash.as_deref(), Some("new"));
        let refused = change(Some("old"), None).to(&account, at(500));
        assert_eq!(refused, Err(Refusal::NotSignedIn));
        assert!(changed(&account, change(None, None)).sessions.is_empty());
    }

    #[test]
    fn a_link_works_once_and_for_a_while() {
        let link = Link {
            fingerprint: print(7),
            expires_at: at(600),
        };
        let account = changed(&signed_in(&[1]), Change::Link { link });
        let redeem = |number| Change::Redeem {
            fingerprint: print(number),
            hash: "new".into(),
        };
        assert_eq!(redeem(8).to(&account, at(500)), Err(Refusal::LinkOver));
        assert_eq!(redeem(7).to(&account, at(600)), Err(Refusal::LinkOver));
        let after = changed(&account, redeem(7));
        assert_eq!(after.password_hash.as_deref(), Some("new"));
        assert!(after.sessions.is_empty());
        assert_eq!(redeem(7).to(&after, at(500)), Err(Refusal::LinkOver));
        let disabled = changed(&account, Change::Disable);
        assert_eq!(redeem(7).to(&disabled, at(500)), Err(Refusal::LinkOver));
    }

    #[test]
    fn another_role_and_being_disabled_sign_out() {
        let account = signed_in(&[1, 2]);
        let promoted = changed(&account, Change::Role { role: Role::Admin });
        assert_eq!((promoted.role, promoted.sessions.len()), (Role::Admin, 0));
        let disabled = changed(&account, Change::Disable);
        assert!(disabled.sessions.is_empty() && !disabled.is_enabled());
        assert!(changed(&disabled, Change::Enable).is_enabled());
        // What is so already is no change.
        for (account, change) in [
            (
                &account,
                Change::Role {
                    role: Role::Customer,
                },
            ),
            (&account, Change::Enable),
            (&disabled, Change::Disable),
            (&disabled, Change::EndSessions { ended: Ended::All }),
        ] {
            assert_eq!(change.to(account, at(500)), Ok(None));
        }
    }

    #[test]
    fn sessions_end_one_by_one_or_together() {
        let account = signed_in(&[1, 2, 3]);
        let end = |ended| changed(&account, Change::EndSessions { ended });
        let one = end(Ended::One(print(2).short().to_owned()));
        assert_eq!(where_they_are(&one), [&print(1), &print(3)]);
        assert_eq!(where_they_are(&end(Ended::Others(print(3)))), [&print(3)]);
        assert!(end(Ended::All).sessions.is_empty());
        let nothing = Change::EndSessions {
            ended: Ended::One(String::new()),
        };
        assert_eq!(nothing.to(&account, at(500)), Ok(None));
    }

    #[test]
    fn tokens_come_and_go() {
        let token = |number, expires_at| Token {
            fingerprint: print(number),
            name: "ci".into(),
            scope: Scope::Read,
            created_at: at(1),
            expires_at,
            seen_at: None,
        };
        let add = |number, end| Change::AddToken {
            token: token(number, end),
        };
        let two = changed(&changed(&account(), add(1, None)), add(2, Some(at(400))));
        assert_eq!(add(1, None).to(&two, at(300)), Ok(None));
        // What has expired makes room.
        let three = changed(&two, add(3, None));
        assert_eq!(three.tokens.len(), 2);
        let revoke = |text: &str| Change::RevokeToken {
            token: text.to_owned(),
        };
        let left = changed(&three, revoke(print(1).short()));
        assert!(left.token(&print(1)).is_none() && left.token(&print(3)).is_some());
        for unknown in ["", "0", print(1).short()] {
            assert!(revoke(unknown).to(&left, at(500)).is_err(), "{unknown}");
        }
        let mut full = account();
        full.tokens = (0..50).map(|number| token(number, None)).collect();
        assert!(add(60, None).to(&full, at(500)).is_err());
    }

    #[test]
    fn what_is_seen_never_goes_back() {
        let account = signed_in(&[1]);
        let seen = Change::Seen {
            fingerprint: print(1),
        };
        let after = changed(&account, seen.clone());
        assert_eq!(after.session(&print(1)).unwrap().seen_at, at(500));
        assert_eq!(seen.to(&after, at(400)), Ok(None));
        let unknown = Change::Seen {
            fingerprint: print(9),
        };
        assert_eq!(unknown.to(&after, at(600)), Ok(None));
    }

    fn shown(second: Second) -> Shown {
        Shown {
            second,
            from: "127.0.0.1".into(),
        }
    }

    /// With a factor since 500, whose app has shown the code of step 10.
    fn with_factor(numbers: &[u8]) -> Account {
        let change = Change::SetUpFactor {
            factor: NewFactor {
                sealed: "sealed".into(),
                step: 10,
                recovery: vec![print(40), print(41)],
                from: "127.0.0.1".into(),
            },
            keep: Some(print(2)),
        };
        changed(&signed_in(numbers), change)
    }

    fn code(step: u64) -> Shown {
        shown(Second::Code {
            of: at(500),
            step,
            sealed: None,
        })
    }

    fn recovery(number: u8) -> Shown {
        shown(Second::Recovery {
            fingerprint: print(number),
        })
    }

    #[test]
    fn a_second_factor_is_asked_for_beside_the_password_alone() {
        let account = with_factor(&[1, 2, 3]);
        assert_eq!(where_they_are(&account), [&print(2)]);
        let asked = |second: Option<Shown>| SignIn {
            second,
            ..sign_in(5, 600)
        };
        let tried = |second| asked(second).to(alice(), Some(account.clone()));
        assert_eq!(tried(None), Err(Refusal::CodeNeeded));
        assert_eq!(tried(Some(shown(Second::Wrong))), Err(Refusal::WrongCode));
        assert_eq!(tried(Some(code(10))), Err(Refusal::CodeUsed));
        for good in [code(11), recovery(40)] {
            let account = tried(Some(good)).unwrap();
            assert_eq!(where_they_are(&account), [&print(2), &print(5)]);
            assert_eq!(account.sessions[1].way, Way::Password);
        }
        // A right code and a wrong password: nothing is used.
        let mut wrong = asked(Some(recovery(40)));
        wrong.proof = Proof::Password { hash: "old".into() };
        let refused = wrong.to(alice(), Some(account.clone()));
        assert_eq!(refused, Err(Refusal::NotSignedIn));
        // The provider has asked for what it wants; a persona shows nothing.
        let bound = Account {
            identity: Some(identity("1")),
            ..account.clone()
        };
        for (proof, way) in [
            (provided("1", Role::Customer), Way::Provider),
            (Proof::Nothing, Way::Persona),
        ] {
            let asked = SignIn {
                proof,
                ..asked(None)
            };
            let account = asked.to(alice(), Some(bound.clone())).unwrap();
            assert_eq!(account.sessions.last().unwrap().way, way);
        }
    }

    #[test]
    fn two_gateways_cannot_both_take_one_code() {
        let account = with_factor(&[2]);
        let asked = |number| SignIn {
            second: Some(code(11)),
            ..sign_in(number, 600)
        };
        let first = asked(5).to(alice(), Some(account)).unwrap();
        let second = asked(6).to(alice(), Some(first));
        assert_eq!(second, Err(Refusal::CodeUsed));
    }

    #[test]
    fn a_wrong_code_is_counted_and_nothing_else_is() {
        let account = with_factor(&[2]);
        let after = account.after_wrong_code(&shown(Second::Wrong), at(600));
        let after = after.unwrap();
        assert_eq!(after.version, account.version + 1);
        assert_eq!(after.factor.unwrap().wrong.known, 1);
        for not_wrong in [code(11), code(10), recovery(40)] {
            assert_eq!(account.after_wrong_code(&not_wrong, at(600)), None);
        }
        assert_eq!(signed_in(&[1]).after_wrong_code(&code(11), at(600)), None);
    }

    #[test]
    fn a_factor_goes_with_a_code_or_by_an_admin() {
        let account = with_factor(&[1, 2]);
        let again = Change::SetUpFactor {
            factor: new_factor(),
            keep: None,
        };
        assert_eq!(again.to(&account, at(600)), Err(Refusal::HasFactor));
        let drop = |shown| Change::DropFactor {
            shown,
            keep: Some(print(2)),
        };
        let renew = |shown| Change::RenewRecovery {
            shown,
            recovery: vec![print(50)],
        };
        for wrong in [code(9), shown(Second::Wrong), recovery(49)] {
            assert!(drop(wrong.clone()).to(&account, at(600)).is_err());
            assert!(renew(wrong).to(&account, at(600)).is_err());
        }
        let signed_in_again = SignIn {
            second: Some(code(11)),
            ..sign_in(5, 600)
        };
        let two = signed_in_again.to(alice(), Some(account.clone())).unwrap();
        let renewed = changed(&two, renew(code(12)));
        assert_eq!(renewed.sessions.len(), 2);
        let factor = renewed.factor.clone().unwrap();
        assert_eq!((factor.recovery, factor.last_step), (vec![print(50)], 12));
        let without = changed(&renewed, drop(recovery(50)));
        assert_eq!(
            (without.factor.is_some(), without.sessions.len()),
            (false, 1)
        );
        let reset = changed(&two, Change::ResetFactor);
        assert!(reset.factor.is_none() && reset.sessions.is_empty());
        assert_eq!(Change::ResetFactor.to(&reset, at(600)), Ok(None));
        for change in [drop(code(30)), renew(code(30))] {
            assert_eq!(change.to(&reset, at(600)), Err(Refusal::NoFactor));
        }
        // A password by a link takes no factor away.
        let link = Link {
            fingerprint: print(7),
            expires_at: at(900),
        };
        let redeemed = Change::Redeem {
            fingerprint: print(7),
            hash: "new".into(),
        };
        let linked = changed(&account, Change::Link { link });
        assert!(changed(&linked, redeemed).factor.is_some());
    }

    fn new_factor() -> NewFactor {
        NewFactor {
            sealed: "other".into(),
            step: 1,
            recovery: vec![],
            from: "127.0.0.1".into(),
        }
    }

    /// As `Account` was written before there was a second factor: nothing is asked for,
    /// and the sessions are good still.
    #[test]
    fn an_account_of_before_the_second_factor_is_good_still() {
        let fingerprint = print(1);
        let known: Account = serde_json::from_value(serde_json::json!({
            "version": 7, "user": "alice", "role": "admin", "email": "alice@example.com",
            "address": null, "default_zone": null, "password_hash": "hash", "identity": null,
            "disabled_at": null, "created_at": "2026-11-01T00:00:00Z", "link": null, "tokens": [],
            "sessions": [{
                "fingerprint": fingerprint, "created_at": "1970-01-01T00:00:01Z",
                "seen_at": "1970-01-01T00:00:01Z", "expires_at": "1970-01-01T01:00:00Z",
                "address": "127.0.0.1", "agent": "curl",
            }],
        }))
        .unwrap();
        assert_eq!(
            (&known.factor, known.sessions[0].way),
            (&None, Way::Password)
        );
        // And a sign-in as an older gateway asks for it.
        let mut asked = serde_json::to_value(sign_in(5, 600)).unwrap();
        asked.as_object_mut().unwrap().remove("second");
        asked["session"].as_object_mut().unwrap().remove("way");
        let asked: SignIn = serde_json::from_value(asked).unwrap();
        let signed_in = asked.clone().to(alice(), Some(known)).unwrap();
        assert_eq!(signed_in.sessions.len(), 2);
        // Once there is a factor, it comes in no more: it cannot show a code.
        let refused = asked.to(alice(), Some(with_factor(&[2])));
        assert_eq!(refused, Err(Refusal::CodeNeeded));
    }

    #[test]
    fn the_version_comes_first_and_everything_comes_back() {
        let account = signed_in(&[1]);
        let json = serde_json::to_string(&account).unwrap();
        assert!(json.starts_with("{\"version\":2,"), "{json}");
        assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), account);
    }
}
