//! Money is integer cents of one currency.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

use crate::words::{self, MAX_CURRENCY, quoted};

/// The one currency of the shop, ISO 4217.
pub const CURRENCY: &str = "USD";

/// An amount in cents. Additions saturate: with the limits on quantities and
/// prices no basket comes near, and a wrong total must never wrap round.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cents(pub i64);

impl Cents {
    /// Nothing.
    pub const ZERO: Cents = Cents(0);

    /// From what people type: `25`, `24.9`, `24.90`, `24,90`. Nothing else is an amount:
    /// no sign, no currency, no separator of thousands.
    pub fn parse(typed: &str) -> Option<Self> {
        let typed = typed.trim();
        let (whole, part) = typed.split_once(['.', ',']).unwrap_or((typed, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        if !is_number(whole) || !is_number(part) || part.len() > 2 {
            return None;
        }
        let part: i64 = format!("{part:0<2}").parse().ok()?;
        let whole: i64 = whole.parse().ok()?;
        whole.checked_mul(100)?.checked_add(part).map(Self)
    }

    /// As a field of a form or a table holds it: `1234.50`.
    #[must_use]
    pub fn decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        format!("{sign}{}.{:02}", cents / 100, cents % 100)
    }

    /// An amount of another currency, e.g. `1234.50 EUR`.
    #[must_use]
    pub fn in_currency(self, currency: &str) -> String {
        format!("{} {}", self.decimal(), quoted(currency, MAX_CURRENCY))
    }

    /// The price of `quantity` pieces.
    #[must_use]
    pub fn times(self, quantity: u32) -> Self {
        Self(self.0.saturating_mul(i64::from(quantity)))
    }
}

impl Add for Cents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// `$1,234.50`
impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        let whole = words::thousands(amount / 100);
        write!(f, "{sign}${whole}.{:02}", amount % 100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_as_dollars() {
        assert_eq!(Cents(12500).to_string(), "$125.00");
        assert_eq!(Cents(5).to_string(), "$0.05");
        assert_eq!(Cents(123_456_789).to_string(), "$1,234,567.89");
        assert_eq!(Cents(-250).to_string(), "-$2.50");
    }

    proptest! {
        #[test]
        fn text_keeps_every_cent(cents in any::<i64>()) {
            let digits: String = Cents(cents).to_string().chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits.parse::<u128>().unwrap(), u128::from(cents.unsigned_abs()));
        }

        #[test]
        fn times_is_repeated_addition(price in 0..1_000_000i64, quantity in 0..50u32) {
            let sum: Cents = std::iter::repeat_n(Cents(price), quantity as usize).sum();
            prop_assert_eq!(Cents(price).times(quantity), sum);
        }
    }
}
