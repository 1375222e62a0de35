//! The second factor: codes of an authenticator app (RFC 6238), and recovery codes for
//! when the app is gone. Whether a code is right is seen by a gateway, which alone can
//! open the secret; whether it still counts is decided here, once for all gateways.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Account, Fingerprint};
use crate::Timestamp;
use crate::refusal::Refusal;
use crate::words;

/// Recovery codes that somebody gets at a time.
pub const RECOVERY_CODES: usize = 10;
/// Wrong codes that a day takes from where nobody has shown a right one before, and as
/// many again from where somebody has. With three right ones in a million at a time, who
/// knows the password and guesses from everywhere is in by then once in 3,000 accounts.
pub const MOST_WRONG_CODES: u32 = 50;
/// How long wrong codes are counted, from the first of them on.
pub const WRONG_CODES_FOR: Duration = Duration::from_hours(24);
/// Addresses that are known by a right code; the oldest gives way.
const MOST_KNOWN: usize = 10;

/// The second factor of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// The secret that the app knows, too, encrypted by a gateway for this user alone.
    #[serde(deserialize_with = "words::kept::id")]
    pub sealed: String,
    /// Since when it is asked for. It tells this factor from one before it.
    pub since: Timestamp,
    /// The time step of the last code that was accepted: none of it or before it is again.
    pub last_step: u64,
    /// What is kept of the recovery codes that are left.
    #[serde(default)]
    pub recovery: Vec<Fingerprint>,
    /// Wrong codes of late.
    #[serde(default)]
    pub wrong: WrongCodes,
    /// From which addresses a right code has come, the latest last.
    #[serde(default, deserialize_with = "words::kept::names")]
    pub known: Vec<String>,
}

/// Wrong codes, counted for a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongCodes {
    /// When the first of them came.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// From where nobody has shown a right one before.
    #[serde(default)]
    pub elsewhere: u32,
    /// From where somebody has.
    #[serde(default)]
    pub known: u32,
}

/// What somebody shows as their second factor, as a gateway has found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Second {
    /// A right code of the app.
    Code {
        /// Of which factor: [`Factor::since`].
        of: Timestamp,
        /// Its time step.
        step: u64,
        /// The same secret, encrypted anew because its key has changed.
        #[serde(default, deserialize_with = "words::kept::an_id")]
        sealed: Option<String>,
    },
    /// Perhaps a recovery code.
    Recovery {
        /// Of what was shown.
        fingerprint: Fingerprint,
    },
    /// A wrong code.
    Wrong,
}

/// What was shown, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What.
    pub second: Second,
    /// From which network address.
    #[serde(deserialize_with = "words::kept::name")]
    pub from: String,
}

impl Shown {
    /// Whether a recovery code was tried.
    pub const fn is_recovery(&self) -> bool {
        matches!(self.second, Second::Recovery { .. })
    }
}

/// A second factor that begins: its owner has shown a first code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFactor {
    /// See [`Factor::sealed`].
    #[serde(deserialize_with = "words::kept::id")]
    pub sealed: String,
    /// The time step of the code that was shown: it is used by that.
    pub step: u64,
    /// See [`Factor::recovery`].
    pub recovery: Vec<Fingerprint>,
    /// From which network address.
    #[serde(deserialize_with = "words::kept::name")]
    pub from: String,
}

impl NewFactor {
    pub(super) fn of(self, at: Timestamp) -> Factor {
        Factor {
            sealed: self.sealed,
            since: at,
            last_step: self.step,
            recovery: self.recovery,
            wrong: WrongCodes::default(),
            known: vec![self.from],
        }
    }
}

impl Factor {
    /// The factor after something was shown, and whether that opens. A recovery code does
    /// so always: without it, whoever guesses could lock the owner out.
    pub fn shown(mut self, shown: &Shown, at: Timestamp) -> (Self, Result<(), Refusal>) {
        if self
            .wrong
            .since
            .is_none_or(|since| since + WRONG_CODES_FOR <= at)
        {
            self.wrong = WrongCodes::default();
        }
        if let Second::Recovery { fingerprint } = &shown.second
            && let Some(place) = self.recovery.iter().position(|it| it == fingerprint)
        {
            self.recovery.remove(place);
            self.remember(&shown.from);
            return (self, Ok(()));
        }
        let is_known = self.known.contains(&shown.from);
        let wrong = if is_known {
            &mut self.wrong.known
        } else {
            &mut self.wrong.elsewhere
        };
        if *wrong >= MOST_WRONG_CODES {
            return (self, Err(Refusal::TooManyCodes));
        }
        match &shown.second {
            Second::Code { of, step, .. } if *of == self.since && *step <= self.last_step => {
                (self, Err(Refusal::CodeUsed))
            }
            Second::Code { of, step, sealed } if *of == self.since => {
                self.last_step = *step;
                if let Some(sealed) = sealed {
                    self.sealed.clone_from(sealed);
                }
                self.remember(&shown.from);
                (self, Ok(()))
            }
            Second::Code { .. } | Second::Recovery { .. } | Second::Wrong => {
                *wrong += 1;
                self.wrong.since.get_or_insert(at);
                (self, Err(Refusal::WrongCode))
            }
        }
    }

    fn remember(&mut self, from: &str) {
        self.known.retain(|known| known != from);
        self.known.push(from.to_owned());
        let many = self.known.len().saturating_sub(MOST_KNOWN);
        self.known.drain(..many);
    }
}

impl Account {
    /// The account after a code was wrong: one less is left to guess. `None` when nothing
    /// is counted.
    pub fn after_wrong_code(&self, shown: &Shown, at: Timestamp) -> Option<Self> {
        match self.factor.clone()?.shown(shown, at) {
            (factor, Err(Refusal::WrongCode)) => Some(Self {
                version: self.version + 1,
                factor: Some(factor),
                ..self.clone()
            }),
            _ => None,
        }
    }

    /// Takes what was shown. Without a factor nothing needs to be.
    pub(super) fn take_second(
        &mut self,
        shown: Option<&Shown>,
        at: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(factor) = self.factor.take() else {
            return Ok(());
        };
        let shown = shown.ok_or(Refusal::CodeNeeded)?;
        let (factor, taken) = factor.shown(shown, at);
        taken?;
        self.factor = Some(factor);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn print(number: u8) -> Fingerprint {
        Fingerprint::parse(&format!("{number:02x}").repeat(32)).unwrap()
    }

    fn factor() -> Factor {
        let new = NewFactor {
            sealed: "sealed".into(),
            step: 10,
            recovery: vec![print(1), print(2)],
            from: "home".into(),
        };
        new.of(at(100))
    }

    fn code(step: u64) -> Shown {
        let (of, sealed) = (at(100), None);
        Shown {
            second: Second::Code { of, step, sealed },
            from: "home".into(),
        }
    }

    fn recovery(number: u8) -> Shown {
        let fingerprint = print(number);
        Shown {
            second: Second::Recovery { fingerprint },
            from: "home".into(),
        }
    }

    fn wrong(from: &str) -> Shown {
        Shown {
            second: Second::Wrong,
            from: from.into(),
        }
    }

    #[test]
    fn a_code_is_accepted_once_and_none_before_it() {
        // The code that has set it up is used by that.
        let (factor, used) = factor().shown(&code(10), at(300));
        assert_eq!(used, Err(Refusal::CodeUsed));
        // A clock that is ahead: the next step.
        let (factor, taken) = factor.shown(&code(12), at(330));
        assert_eq!((factor.last_step, taken), (12, Ok(())));
        for step in [12, 11, 0] {
            let (same, used) = factor.clone().shown(&code(step), at(331));
            assert_eq!((same, used), (factor.clone(), Err(Refusal::CodeUsed)));
        }
        assert_eq!(factor.shown(&code(13), at(360)).1, Ok(()));
    }

    #[test]
    fn a_code_of_another_factor_is_wrong() {
        let other = Shown {
            second: Second::Code {
                of: at(99),
                step: 50,
                sealed: Some("other".into()),
            },
            from: "home".into(),
        };
        let (after, refused) = factor().shown(&other, at(300));
        assert_eq!(refused, Err(Refusal::WrongCode));
        assert_eq!((after.sealed.as_str(), after.last_step), ("sealed", 10));
    }

    #[test]
    fn a_secret_under_a_new_key_takes_its_place() {
        let shown = Shown {
            second: Second::Code {
                of: at(100),
                step: 11,
                sealed: Some("anew".into()),
            },
            from: "home".into(),
        };
        assert_eq!(factor().shown(&shown, at(300)).0.sealed, "anew");
    }

    #[test]
    fn a_recovery_code_works_once() {
        let (factor, taken) = factor().shown(&recovery(2), at(300));
        assert_eq!((&factor.recovery[..], taken), (&[print(1)][..], Ok(())));
        let (factor, refused) = factor.shown(&recovery(2), at(301));
        assert_eq!(refused, Err(Refusal::WrongCode));
        assert_eq!(factor.shown(&recovery(1), at(302)).1, Ok(()));
    }

    #[test]
    fn guesses_are_bounded_and_lock_nobody_out_elsewhere() {
        let mut factor = factor();
        for number in 0..MOST_WRONG_CODES {
            let from = format!("192.0.2.{number}");
            let refused;
            (factor, refused) = factor.shown(&wrong(&from), at(300));
            assert_eq!(refused, Err(Refusal::WrongCode), "{number}");
        }
        // Nothing is looked at any more, not even a right one from there.
        let from_elsewhere = Shown {
            from: "bus".into(),
            ..code(20)
        };
        for guess in [wrong("bus"), from_elsewhere.clone()] {
            let (same, refused) = factor.clone().shown(&guess, at(400));
            assert_eq!(
                (same, refused),
                (factor.clone(), Err(Refusal::TooManyCodes))
            );
        }
        // At home it goes on, and with a recovery code everywhere.
        assert_eq!(factor.clone().shown(&code(20), at(400)).1, Ok(()));
        let recovered = Shown {
            from: "bus".into(),
            ..recovery(1)
        };
        let (after, taken) = factor.clone().shown(&recovered, at(400));
        assert_eq!(
            (after.known, taken),
            (vec!["home".into(), "bus".into()], Ok(()))
        );
        // A day later everybody may try again.
        let tomorrow = at(300 + 24 * 60 * 60);
        assert_eq!(factor.clone().shown(&from_elsewhere, tomorrow).1, Ok(()));
        // From home, too, they end.
        for _ in 0..MOST_WRONG_CODES {
            factor = factor.shown(&wrong("home"), at(400)).0;
        }
        assert_eq!(
            factor.shown(&code(20), at(400)).1,
            Err(Refusal::TooManyCodes)
        );
    }

    #[test]
    fn few_addresses_are_remembered() {
        let mut factor = factor();
        for number in 0..20 {
            let from = format!("192.0.2.{number}");
            factor = factor
                .shown(
                    &Shown {
                        from,
                        ..code(11 + number)
                    },
                    at(300),
                )
                .0;
        }
        assert_eq!(factor.known.len(), MOST_KNOWN);
        assert_eq!(factor.known.last().unwrap(), "192.0.2.19");
    }
}
