//! Where a return stands.

use serde::{Deserialize, Serialize};

/// Where a return stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReturnStatus {
    /// Somebody must decide.
    Asked,
    /// The parcel is waited for.
    Accepted,
    /// It was not accepted.
    Refused,
    /// The parcel is here.
    Received,
    /// The parcel never came.
    NotSent,
    /// The customer has thought better of it.
    Withdrawn,
}

impl ReturnStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Asked,
        Self::Accepted,
        Self::Refused,
        Self::Received,
        Self::NotSent,
        Self::Withdrawn,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::NotSent => "not_sent",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The word that stands in a sentence, e.g. "already accepted".
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::NotSent => "over, since no parcel came,",
            other => other.as_str(),
        }
    }

    /// From its name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Whether something is still to come.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Asked | Self::Accepted)
    }
}
