//! Who is calling, and what they may do.

use serde::Serialize;
use waybill_domain::ids::Username;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own cart and orders.
    Customer,
    /// Everybody's orders, approvals, stock.
    Admin,
}

impl Role {
    /// The role of that name; unknown names may do least.
    pub fn parse(name: &str) -> Self {
        match name {
            "admin" => Self::Admin,
            _ => Self::Customer,
        }
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: Username,
    /// What they may do.
    pub role: Role,
}

impl Caller {
    /// Whether this is an admin.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whether what belongs to `owner` is this caller's business.
    pub fn may_see(&self, owner: &Username) -> bool {
        self.is_admin() || self.user == *owner
    }
}
