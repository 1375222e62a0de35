//! Stock levels of one SKU.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, Sku};
use crate::placement::Hold;
use crate::refusal::Refusal;

/// Most pieces that one restock may add.
pub const MAX_RESTOCK: u32 = 1_000_000;

/// How much of a SKU there is and where it is:
/// `initial + restocked + returned = available + reserved + committed`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StockLevel {
    /// Grows by one with every change.
    pub version: u64,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Which product.
    pub sku: Sku,
    /// Pieces there were at first.
    pub initial: u64,
    /// Pieces added since.
    pub restocked: u64,
    /// Pieces that customers have sent back, and that can be sold again.
    #[serde(default)]
    pub returned: u64,
    /// Pieces that can be sold.
    pub available: u64,
    /// Pieces promised to open orders.
    pub reserved: u64,
    /// Pieces delivered to customers.
    pub committed: u64,
}

impl StockLevel {
    /// The first level of a SKU.
    pub fn initial(sku: Sku, quantity: u32, at: Timestamp) -> Self {
        Self {
            version: 1,
            updated_at: at,
            sku,
            initial: quantity.into(),
            restocked: 0,
            returned: 0,
            available: quantity.into(),
            reserved: 0,
            committed: 0,
        }
    }

    /// Promises pieces to an order; a shortage says what is left.
    pub fn reserve(mut self, quantity: u32, at: Timestamp) -> Result<Self, Refusal> {
        let wanted = u64::from(quantity);
        self.available = self
            .available
            .checked_sub(wanted)
            .ok_or_else(|| Refusal::OutOfStock {
                sku: self.sku.clone(),
                available: self.available,
            })?;
        self.reserved += wanted;
        Ok(self.changed(at))
    }

    /// Takes a promise back.
    #[must_use]
    pub fn release(mut self, quantity: u32, at: Timestamp) -> Self {
        self.reserved -= u64::from(quantity);
        self.available += u64::from(quantity);
        self.changed(at)
    }

    /// Turns a promise into a delivery.
    #[must_use]
    pub fn commit(mut self, quantity: u32, at: Timestamp) -> Self {
        self.reserved -= u64::from(quantity);
        self.committed += u64::from(quantity);
        self.changed(at)
    }

    /// Puts pieces back that a customer has returned.
    #[must_use]
    pub fn take_back(mut self, quantity: u32, at: Timestamp) -> Self {
        self.returned += u64::from(quantity);
        self.available += u64::from(quantity);
        self.changed(at)
    }

    /// Adds pieces.
    pub fn restock(mut self, quantity: u32, at: Timestamp) -> Result<Self, Refusal> {
        if !(1..=MAX_RESTOCK).contains(&quantity) {
            return Err(Refusal::invalid(
                "quantity",
                format!("quantity must be 1 to {MAX_RESTOCK}"),
            ));
        }
        self.restocked += u64::from(quantity);
        self.available += u64::from(quantity);
        Ok(self.changed(at))
    }

    /// The level with `reserved` pieces kept, as counted, and what is left of
    /// the rest available; `None` when that is less than nothing.
    pub fn recounted(mut self, reserved: u64, at: Timestamp) -> Option<Self> {
        let gone = reserved.checked_add(self.committed)?;
        self.available = (self.initial + self.restocked + self.returned).checked_sub(gone)?;
        self.reserved = reserved;
        Some(self.changed(at))
    }

    /// Whether no piece came from nowhere or vanished.
    pub fn adds_up(&self) -> bool {
        self.initial + self.restocked + self.returned
            == self.available + self.reserved + self.committed
    }

    fn changed(mut self, at: Timestamp) -> Self {
        self.version += 1;
        self.updated_at = at;
        self
    }
}

/// Input of `Inventory.Stock`: the catalog's initial quantity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialStock {
    /// Pieces, counted only the first time.
    pub quantity: u32,
}

/// Input of `Inventory.Restock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restock {
    /// Pieces to add.
    pub quantity: u32,
}

/// Input of `Inventory.Reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// For whom.
    pub attempt: AttemptId,
    /// Pieces.
    pub quantity: u32,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Input of `Inventory.Release` and `Inventory.Commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReservation {
    /// Whose pieces.
    #[serde(flatten)]
    pub attempt: AttemptId,
    /// Pieces that stay reserved: those of a line that is taken out in part.
    #[serde(default, skip_serializing_if = "is_none")]
    pub keep: u32,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_none(pieces: &u32) -> bool {
    *pieces == 0
}

/// What `Inventory.Reserve` answers: a shortage is a value, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Reservation {
    /// The pieces are kept for the order.
    Reserved {
        /// How long. Services that are older than this field do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<Hold>,
    },
    /// There are not enough.
    Short {
        /// What is left.
        available: u64,
        /// Nobody has said yet how many there are. (A field and no result of
        /// its own: a checkout that began on older services can read it.)
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unknown: bool,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(quantity: u32) -> StockLevel {
        StockLevel::initial(Sku::parse("A").unwrap(), quantity, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_shortage_names_the_sku_and_what_is_left() {
        let refusal = level(3).reserve(4, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::OutOfStock {
                sku: Sku::parse("A").unwrap(),
                available: 3
            }
        );
    }

    #[test]
    fn a_recount_makes_a_level_fit_its_reservations() {
        let mut spoilt = level(10).reserve(2, Timestamp::UNIX_EPOCH).unwrap();
        spoilt.available = 99;
        assert!(!spoilt.adds_up());
        let recounted = spoilt.clone().recounted(3, Timestamp::UNIX_EPOCH).unwrap();
        assert!(recounted.adds_up());
        assert_eq!((recounted.available, recounted.reserved), (7, 3));
        assert!(recounted.version > spoilt.version);
        assert_eq!(spoilt.recounted(11, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_restock_has_limits() {
        assert!(level(0).restock(0, Timestamp::UNIX_EPOCH).is_err());
        assert!(
            level(0)
                .restock(MAX_RESTOCK + 1, Timestamp::UNIX_EPOCH)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn it_always_adds_up(initial in 0..100u32, actions in prop::collection::vec((0..5u8, 1..30u32), 0..60)) {
            let mut level = level(initial);
            let mut open = Vec::new();
            for (what, quantity) in actions {
                match what {
                    0 => if let Ok(next) = level.clone().reserve(quantity, Timestamp::UNIX_EPOCH) {
                        open.push(quantity);
                        level = next;
                    },
                    1 => if let Some(quantity) = open.pop() {
                        level = level.release(quantity, Timestamp::UNIX_EPOCH);
                    },
                    2 => if let Some(quantity) = open.pop() {
                        level = level.commit(quantity, Timestamp::UNIX_EPOCH);
                    },
                    3 => level = level.take_back(quantity, Timestamp::UNIX_EPOCH),
                    _ => level = level.restock(quantity, Timestamp::UNIX_EPOCH).unwrap(),
                }
                prop_assert!(level.adds_up());
                prop_assert_eq!(level.reserved, open.iter().copied().map(u64::from).sum::<u64>());
            }
        }
    }
}
