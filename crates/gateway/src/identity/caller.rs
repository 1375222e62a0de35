//! Who is calling, and what they may do.

use waybill_domain::account::Fingerprint;
use waybill_domain::ids::Username;

pub use waybill_domain::account::{Role, Scope};

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: Username,
    /// What they may do.
    pub role: Role,
    /// How much of it.
    pub scope: Scope,
    /// What they have shown.
    pub credential: Credential,
    /// Whether their role needs a second factor that they have not set up: until then
    /// they may do nothing else.
    pub owes_factor: bool,
}

/// What somebody shows to say who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A demo's header: their name.
    Name,
    /// The session in their cookie.
    Session(Fingerprint),
    /// An API token.
    Token(Fingerprint),
}

impl Caller {
    /// Somebody who may do all that their role may, because they say so.
    pub const fn new(user: Username, role: Role) -> Self {
        Self {
            user,
            role,
            scope: Scope::Full,
            credential: Credential::Name,
            owes_factor: false,
        }
    }

    /// Whether this is an admin.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether they may cancel an order of `owner`.
    pub fn may_cancel(&self, owner: &Username) -> bool {
        self.is_admin() || self.user == *owner
    }

    /// Whether they may approve or reject an order of `owner`; one of their own only
    /// if `own_too`.
    pub fn may_decide(&self, owner: &Username, own_too: bool) -> bool {
        self.role.decides() && (own_too || self.user != *owner)
    }

    /// Whether what belongs to `owner` is this caller's business.
    pub fn may_see(&self, owner: &Username) -> bool {
        self.role.is_staff() || self.user == *owner
    }
}
