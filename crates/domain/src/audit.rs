//! Who has done what that matters: the entries of the audit log.
//!
//! What an order's record tells already (decisions, refunds) is a [`Deed`] of the
//! record, written with the step itself. The rest is an [`AuditEntry`] of its own,
//! which the object that has decided hands to the log. No entry holds a secret.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::{Account, Change, Ended, Shown};
use crate::ids::OrderId;
use crate::words;

/// Who stands for Waybill itself in the log.
pub const WAYBILL: &str = "waybill";
/// Who stands for whoever works at the command line.
pub const OPERATOR: &str = "operator";
/// Who stands for a caller that has not said who it is: a gateway of an older version.
const UNKNOWN: &str = "unknown";

/// From where something was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Network address.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "words::kept::an_id"
    )]
    pub address: Option<String>,
    /// What the request is called, in its answer and in the gateway's log.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "words::kept::an_id"
    )]
    pub request: Option<String>,
}

impl Origin {
    /// Somebody who asks from there.
    pub fn by(&self, who: &(impl fmt::Display + ?Sized)) -> By {
        By {
            who: who.to_string(),
            from: self.clone(),
        }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// A user's name; [`OPERATOR`], [`WAYBILL`], or `restate` for a cancellation there.
    #[serde(deserialize_with = "words::kept::name")]
    pub who: String,
    /// From where.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub from: Origin,
}

impl By {
    /// Whoever works at the command line.
    pub fn operator() -> Self {
        OPERATOR.into()
    }
}

impl Default for By {
    fn default() -> Self {
        UNKNOWN.into()
    }
}

impl From<&str> for By {
    fn from(who: &str) -> Self {
        who.to_owned().into()
    }
}

impl From<String> for By {
    fn from(who: String) -> Self {
        Self {
            who,
            from: Origin::default(),
        }
    }
}

/// Something that is asked for, and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked<T> {
    /// What.
    #[serde(flatten)]
    pub what: T,
    /// Who.
    #[serde(default)]
    pub by: By,
}

/// The kinds of acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Act {
    /// Somebody has signed in.
    SignIn,
    /// Somebody could not.
    SignInFailed,
    /// Somebody was signed out.
    SignOut,
    /// A password was set.
    PasswordSet,
    /// A link was made by which somebody sets their password.
    LinkMade,
    /// An API token was made.
    TokenMade,
    /// An API token was revoked.
    TokenRevoked,
    /// Somebody was made known.
    UserMade,
    /// Somebody has another role.
    RoleSet,
    /// Somebody is somebody at an identity provider, or no more.
    IdentityBound,
    /// A second factor was switched on.
    FactorOn,
    /// Its owner has switched it off.
    FactorOff,
    /// Somebody else has taken it away.
    FactorReset,
    /// Other recovery codes were made.
    RecoveryRenewed,
    /// A recovery code was used.
    RecoveryUsed,
    /// Who knows the password has shown a wrong code.
    CodeWrong,
    /// Somebody may not sign in any more.
    UserDisabled,
    /// Somebody may again.
    UserEnabled,
    /// An order was approved.
    Approved,
    /// Pieces were taken out of an order before it shipped.
    TakenOut,
    /// An order was rejected.
    Rejected,
    /// An order was cancelled.
    Cancelled,
    /// Money went back.
    Refunded,
    /// A return was accepted.
    ReturnAccepted,
    /// A return was refused.
    ReturnRefused,
    /// The parcel of a return was taken in.
    ReturnReceived,
    /// Pieces were added to the stock.
    Restocked,
    /// A product was made.
    ProductMade,
    /// Something else is said of a product.
    ProductChanged,
    /// A product costs something else.
    Price,
    /// A product is no longer sold.
    ProductArchived,
    /// A product is sold again.
    ProductRestored,
    /// A shipping zone was made, changed, closed or opened again.
    ZoneSet,
    /// Many products were made or changed.
    CatalogImported,
    /// `gateway reconcile --repair` has mended something.
    Reconciled,
    /// What a later version writes.
    #[serde(other)]
    Other,
}

impl Act {
    /// All that this version writes.
    pub const ALL: [Self; 35] = [
        Self::SignIn,
        Self::SignInFailed,
        Self::SignOut,
        Self::PasswordSet,
        Self::LinkMade,
        Self::TokenMade,
        Self::TokenRevoked,
        Self::UserMade,
        Self::RoleSet,
        Self::IdentityBound,
        Self::FactorOn,
        Self::FactorOff,
        Self::FactorReset,
        Self::RecoveryRenewed,
        Self::RecoveryUsed,
        Self::CodeWrong,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::Approved,
        Self::TakenOut,
        Self::Rejected,
        Self::Cancelled,
        Self::Refunded,
        Self::ReturnAccepted,
        Self::ReturnRefused,
        Self::ReturnReceived,
        Self::Restocked,
        Self::ProductMade,
        Self::ProductChanged,
        Self::Price,
        Self::ProductArchived,
        Self::ProductRestored,
        Self::ZoneSet,
        Self::CatalogImported,
        Self::Reconciled,
    ];

    /// The name on the wire, e.g. `sign_in`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::SignInFailed => "sign_in_failed",
            Self::SignOut => "sign_out",
            Self::PasswordSet => "password_set",
            Self::LinkMade => "link_made",
            Self::TokenMade => "token_made",
            Self::TokenRevoked => "token_revoked",
            Self::UserMade => "user_made",
            Self::RoleSet => "role_set",
            Self::IdentityBound => "identity_bound",
            Self::FactorOn => "factor_on",
            Self::FactorOff => "factor_off",
            Self::FactorReset => "factor_reset",
            Self::RecoveryRenewed => "recovery_renewed",
            Self::RecoveryUsed => "recovery_used",
            Self::CodeWrong => "code_wrong",
            Self::UserDisabled => "user_disabled",
            Self::UserEnabled => "user_enabled",
            Self::Approved => "approved",
            Self::TakenOut => "taken_out",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
            Self::ReturnAccepted => "return_accepted",
            Self::ReturnRefused => "return_refused",
            Self::ReturnReceived => "return_received",
            Self::Restocked => "restocked",
            Self::ProductMade => "product_made",
            Self::ProductChanged => "product_changed",
            Self::Price => "price",
            Self::ProductArchived => "product_archived",
            Self::ProductRestored => "product_restored",
            Self::ZoneSet => "zone_set",
            Self::CatalogImported => "catalog_imported",
            Self::Reconciled => "reconciled",
            Self::Other => "other",
        }
    }

    /// From its name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|act| act.as_str() == name)
    }

    const fn is_of_ones_own_account(self) -> bool {
        matches!(
            self,
            Self::SignIn
                | Self::SignInFailed
                | Self::SignOut
                | Self::PasswordSet
                | Self::FactorOn
                | Self::FactorOff
                | Self::RecoveryRenewed
                | Self::RecoveryUsed
                | Self::CodeWrong
                | Self::TokenMade
                | Self::TokenRevoked
        )
    }
}

/// Who is behind an event of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The event's number.
    pub seq: u64,
    /// Who.
    #[serde(flatten)]
    pub by: By,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The same for the same act, however often it is told.
    #[serde(deserialize_with = "words::kept::id")]
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub what: Act,
    /// Who has done it; of a failed sign-in, the name that was tried.
    #[serde(flatten)]
    pub by: By,
    /// To whom or to what: a user, an order, a SKU.
    #[serde(deserialize_with = "words::kept::id")]
    pub subject: String,
    /// What there is to say of it.
    #[serde(default, deserialize_with = "words::kept::detail")]
    pub detail: String,
    /// How often, in the minute before `at`.
    #[serde(default = "once")]
    pub count: u32,
}

const fn once() -> u32 {
    1
}

impl AuditEntry {
    /// The day whose log it is in, in UTC: `2026-11-26`.
    pub fn day(&self) -> String {
        day(self.at)
    }

    /// Whether strangers or customers can cause it as often as they like, with what is
    /// theirs alone: a log takes so many of it and no more.
    pub fn is_at_will(&self) -> bool {
        self.what.is_of_ones_own_account() && self.by.who == self.subject
    }

    /// What has become of a subject that has versions. Its time is a part of the id:
    /// where Restate's data was lost, versions begin anew.
    pub(crate) fn of_version(
        what: Act,
        by: By,
        subject: &str,
        version: u64,
        at: Timestamp,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            id: format!(
                "{}:{subject}:{version}:{}",
                what.as_str(),
                at.as_millisecond()
            ),
            at,
            what,
            by,
            subject: subject.to_owned(),
            detail: detail.into(),
            count: once(),
        }
    }

    /// What has become of an order after its delivery.
    pub(crate) fn of_order(
        what: Act,
        by: By,
        order: &OrderId,
        version: u64,
        at: Timestamp,
        detail: String,
    ) -> Self {
        Self::of_version(what, by, order.as_str(), version, at, detail)
    }

    /// Pieces were added to the stock of a product.
    pub fn restocked(level: &crate::stock::StockLevel, quantity: u32, by: By) -> Self {
        let detail = format!("{quantity} more: {} in stock", level.available);
        let (sku, at) = (level.sku.as_str(), level.updated_at);
        Self::of_version(Act::Restocked, by, sku, level.version, at, detail)
    }

    /// Somebody was made known.
    pub fn user_made(account: &Account, by: By) -> Self {
        let (user, at) = (account.user.as_str(), account.created_at);
        let role = account.role.as_str();
        Self::of_version(Act::UserMade, by, user, account.version, at, role)
    }

    /// What a sign-in has made of an account. Another role or a new account come from an
    /// identity provider.
    pub fn signed_in(
        before: Option<&Account>,
        after: &Account,
        at: Timestamp,
        by: &By,
    ) -> Vec<Self> {
        let of = |what, detail: &str| {
            let (user, version) = (after.user.as_str(), after.version);
            Self::of_version(what, by.clone(), user, version, at, detail)
        };
        let role = after.role.as_str();
        let first = match before {
            None => Some(of(Act::UserMade, role)),
            Some(before) if before.role != after.role => Some(of(Act::RoleSet, role)),
            Some(_) => None,
        };
        first.into_iter().chain([of(Act::SignIn, "")]).collect()
    }

    /// Something was shown as a second factor and taken; `None` if it was no recovery code.
    pub fn second_shown(
        shown: Option<&Shown>,
        before: &Account,
        after: &Account,
        at: Timestamp,
        by: &By,
    ) -> Option<Self> {
        let before = before.factor.as_ref()?;
        shown.filter(|shown| shown.is_recovery())?;
        let left = match before.recovery.len().saturating_sub(1) {
            0 => "none is left".to_owned(),
            left => format!("{left} left"),
        };
        let (user, version) = (after.user.as_str(), after.version);
        let what = Act::RecoveryUsed;
        Some(Self::of_version(what, by.clone(), user, version, at, left))
    }

    /// A wrong code was shown by who knows the password.
    pub fn code_wrong(after: &Account, at: Timestamp, by: By) -> Self {
        let (user, version) = (after.user.as_str(), after.version);
        Self::of_version(Act::CodeWrong, by, user, version, at, "")
    }

    /// A change of an account; `None` for what nobody needs to know.
    pub fn changed(change: &Change, after: &Account, at: Timestamp, by: By) -> Option<Self> {
        let (what, detail) = match change {
            Change::Role { role } => (Act::RoleSet, role.as_str().to_owned()),
            Change::Password { .. } => (Act::PasswordSet, String::new()),
            Change::Redeem { .. } => (Act::PasswordSet, "with a link".to_owned()),
            Change::Link { .. } => (Act::LinkMade, String::new()),
            Change::Bind { identity } => (
                Act::IdentityBound,
                if identity.is_some() {
                    "bound"
                } else {
                    "not any more"
                }
                .to_owned(),
            ),
            Change::SetUpFactor { .. } => (Act::FactorOn, String::new()),
            Change::DropFactor { .. } => (Act::FactorOff, String::new()),
            Change::ResetFactor => (Act::FactorReset, String::new()),
            Change::RenewRecovery { .. } => (Act::RecoveryRenewed, String::new()),
            Change::Disable => (Act::UserDisabled, String::new()),
            Change::Enable => (Act::UserEnabled, String::new()),
            Change::AddToken { token } => (
                Act::TokenMade,
                format!(
                    "{} '{}', {}",
                    token.fingerprint.short(),
                    words::quoted(&token.name, words::MAX_NAME),
                    token.scope
                ),
            ),
            Change::RevokeToken { token } => (Act::TokenRevoked, token.chars().take(12).collect()),
            Change::EndSessions { ended } => (
                Act::SignOut,
                match ended {
                    Ended::All => "everywhere".to_owned(),
                    Ended::Others(_) => "everywhere else".to_owned(),
                    Ended::One(_) => String::new(),
                },
            ),
            Change::Seen { .. } => return None,
        };
        let (user, version) = (after.user.as_str(), after.version);
        Some(Self::of_version(what, by, user, version, at, detail))
    }
}

/// A day in UTC.
pub fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Where a day of [`day`] begins.
pub fn begin_of(day: &str) -> Option<Timestamp> {
    format!("{day}T00:00:00Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Factor, NewAccount, Proof, Role, Second, Session, SignIn};
    use crate::ids::{Sku, Username};
    use crate::stock::StockLevel;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn by() -> By {
        By {
            who: "admin".into(),
            from: Origin {
                address: Some("192.0.2.7".into()),
                request: Some("0123456789abcdef".into()),
            },
        }
    }

    fn alice() -> Account {
        let new = NewAccount {
            role: Role::Customer,
            email: "alice@example.com".into(),
            password_hash: Some("$argon2id$secret".into()),
            link: None,
            at: at(1),
        };
        new.of(Username::parse("alice").unwrap()).unwrap()
    }

    #[test]
    fn every_act_has_one_name() {
        for act in Act::ALL {
            assert_eq!(Act::parse(act.as_str()), Some(act));
            let json = serde_json::to_value(act).unwrap();
            assert_eq!(json, act.as_str());
        }
        let later: Act = serde_json::from_str("\"teleported\"").unwrap();
        assert_eq!(later, Act::Other);
    }

    #[test]
    fn an_entry_is_the_same_when_it_is_told_again_and_comes_back_whole() {
        let level = StockLevel::initial(Sku::parse("P001").unwrap(), 3, at(9));
        let entry = AuditEntry::restocked(&level, 2, by());
        assert_eq!(entry, AuditEntry::restocked(&level, 2, by()));
        assert_eq!(entry.id, "restocked:P001:1:9000");
        assert_eq!(entry.day(), "1970-01-01");
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
        assert_eq!(begin_of("1970-01-02"), Some(at(86_400)));
        assert_eq!(begin_of("yesterday"), None);
    }

    #[test]
    fn what_matters_of_an_account_is_told_without_its_secrets() {
        let before = alice();
        let hash = "$argon2id$another".to_owned();
        let changes = [
            Change::Role { role: Role::Admin },
            Change::Password {
                hash: hash.clone(),
                was: None,
                keep: None,
            },
            Change::Disable,
            Change::Seen {
                fingerprint: crate::account::Fingerprint::parse(&"a".repeat(64)).unwrap(),
            },
        ];
        let mut told = Vec::new();
        for change in changes {
            let after = change.clone().to(&before, at(5)).unwrap();
            let after = after.unwrap_or_else(|| before.clone());
            told.extend(AuditEntry::changed(&change, &after, at(5), by()));
        }
        let acts: Vec<_> = told.iter().map(|entry| entry.what).collect();
        assert_eq!(acts, [Act::RoleSet, Act::PasswordSet, Act::UserDisabled]);
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("argon2id"), "{text}");
        assert!(text.contains("192.0.2.7") && text.contains("0123456789abcdef"));
    }

    fn identity() -> crate::account::Identity {
        crate::account::Identity::of("https://id.example", "1").unwrap()
    }

    #[test]
    fn what_one_does_to_oneself_can_be_done_at_will() {
        let entry =
            |what, who: &str| AuditEntry::of_version(what, who.into(), "alice", 1, at(1), "");
        for what in Act::ALL {
            let is_own = entry(what, "alice").is_at_will();
            assert_eq!(is_own, what.is_of_ones_own_account(), "{what:?}");
            assert!(!entry(what, "admin").is_at_will(), "{what:?}");
        }
        assert!(entry(Act::TokenMade, "alice").is_at_will());
        assert!(!entry(Act::RoleSet, "alice").is_at_will());
    }

    #[test]
    fn a_recovery_code_is_told_of_and_never_told() {
        let print = crate::account::Fingerprint::parse(&"b".repeat(64)).unwrap();
        let mut before = alice();
        before.factor = Some(Factor {
            sealed: "sealed".into(),
            since: at(1),
            last_step: 1,
            recovery: vec![print.clone()],
            wrong: crate::account::WrongCodes::default(),
            known: vec![],
        });
        let shown = |second| Shown {
            second,
            from: "192.0.2.7".into(),
        };
        let recovery = shown(Second::Recovery {
            fingerprint: print.clone(),
        });
        let told = |shown: &Shown, before: &Account| {
            AuditEntry::second_shown(Some(shown), before, before, at(2), &by())
        };
        let entry = told(&recovery, &before).unwrap();
        assert_eq!(entry.what, Act::RecoveryUsed);
        assert_eq!(entry.detail, "none is left");
        assert!(!format!("{entry:?}").contains(print.short()));
        assert_eq!(told(&shown(Second::Wrong), &before), None);
        assert_eq!(told(&recovery, &alice()), None);
        let change = Change::DropFactor {
            shown: recovery,
            keep: None,
        };
        let off = AuditEntry::changed(&change, &alice(), at(2), by()).unwrap();
        assert_eq!((off.what, off.detail.as_str()), (Act::FactorOff, ""));
    }

    #[test]
    fn a_provider_may_make_somebody_and_change_their_role() {
        let session = Session {
            fingerprint: crate::account::Fingerprint::parse(&"b".repeat(64)).unwrap(),
            created_at: at(2),
            seen_at: at(2),
            expires_at: at(9),
            address: "192.0.2.7".into(),
            agent: "curl".into(),
            way: crate::account::Way::Password,
        };
        let asked = |role| SignIn {
            proof: Proof::Provider {
                identity: identity(),
                email: "alice@example.com".into(),
                role,
            },
            second: None,
            session: session.clone(),
            instead_of: None,
        };
        let told = |before: Option<Account>, role| {
            let user = Username::parse("alice").unwrap();
            let after = asked(role).to(user, before.clone()).unwrap();
            let entries = AuditEntry::signed_in(before.as_ref(), &after, at(2), &by());
            entries.iter().map(|entry| entry.what).collect::<Vec<_>>()
        };
        assert_eq!(told(None, Role::Customer), [Act::UserMade, Act::SignIn]);
        let alice = || Account {
            identity: Some(identity()),
            ..alice()
        };
        assert_eq!(
            told(Some(alice()), Role::Support),
            [Act::RoleSet, Act::SignIn]
        );
        assert_eq!(told(Some(alice()), Role::Customer), [Act::SignIn]);
    }

    #[test]
    fn an_older_gateway_says_no_name() {
        let asked: Asked<crate::stock::Restock> = serde_json::from_str("{\"quantity\":3}").unwrap();
        assert_eq!((asked.what.quantity, asked.by.who.as_str()), (3, "unknown"));
    }
}
