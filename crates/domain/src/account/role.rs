//! What somebody may do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a user may do. Each may also do what a customer may: have a cart and orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Their own cart and orders.
    Customer,
    /// Sees everybody's orders, and changes none.
    Support,
    /// Sees everybody's orders, and decides those that wait for a decision.
    Approver,
    /// Everything: orders, stock, people.
    Admin,
}

impl Role {
    /// Every role, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Customer, Self::Support, Self::Approver, Self::Admin];

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Support => "support",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// Whether they work for the shop, and so see everybody's orders.
    pub const fn is_staff(self) -> bool {
        !matches!(self, Self::Customer)
    }

    /// Whether they decide orders that wait for a decision.
    pub const fn decides(self) -> bool {
        matches!(self, Self::Approver | Self::Admin)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of what its owner may do an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Scope {
    /// Look at things.
    Read,
    /// All of it.
    Full,
}

impl Scope {
    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Full]
            .into_iter()
            .find(|scope| scope.as_str() == name)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            let json = serde_json::to_value(role).unwrap();
            assert_eq!(json, role.as_str());
        }
        for scope in [Scope::Read, Scope::Full] {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(Role::parse("root"), None);
        assert_eq!(Scope::parse(""), None);
    }
}
