//! An import: many products at once. It is staged chunk by chunk, begun as a whole, and
//! then written row by row to its end, whatever dies meanwhile.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::made;
use super::{CatalogProduct, ProductFields};
use crate::audit::{Act, AuditEntry, By};
use crate::idempotency::Digest;
use crate::ids::Sku;
use crate::refusal::Refusal;

/// Most rows of one import.
pub const MAX_IMPORT_ROWS: u32 = 10_000;
/// Rows that are staged and written together.
pub const ROWS_IN_A_CHUNK: u32 = 100;

/// A row of an import: how a product is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// Which.
    pub sku: Sku,
    /// What is said of it.
    #[serde(flatten)]
    pub fields: ProductFields,
    /// Pieces that it begins with, if it is new.
    pub stock: u32,
    /// Whether it is no longer sold. Not said, it stays as it is.
    #[serde(default)]
    pub is_archived: Option<bool>,
}

/// Some rows of an import that has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRows {
    /// Which import.
    pub import: Digest,
    /// Which chunk of it, from 0.
    pub chunk: u32,
    /// At most [`ROWS_IN_A_CHUNK`].
    pub rows: Vec<ImportRow>,
}

/// An import whose chunks are all staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartImport {
    /// Which.
    pub import: Digest,
    /// How many chunks it has.
    pub chunks: u32,
    /// When.
    pub at: Timestamp,
}

/// The next chunk of an import is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContinueImport {
    /// Which.
    pub import: Digest,
    /// Which chunk of it.
    pub chunk: u32,
}

/// An import that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// How many chunks it has.
    pub chunks: u32,
    /// How many of them are written.
    pub written: u32,
    /// What has become of their rows.
    pub done: ImportDone,
    /// Who has begun it.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// What has become of the rows of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportDone {
    /// Products that are new.
    pub added: u32,
    /// Products that were changed.
    pub changed: u32,
    /// Products that were so already.
    pub unchanged: u32,
}

/// What a row makes of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Added(CatalogProduct),
    /// It is another.
    Changed(CatalogProduct),
    /// It is so already.
    Unchanged,
}

impl Import {
    /// Whether every chunk is written.
    pub const fn is_over(&self) -> bool {
        self.written >= self.chunks
    }
}

impl ImportDone {
    /// With one more row.
    pub const fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Added(_) => self.added += 1,
            Outcome::Changed(_) => self.changed += 1,
            Outcome::Unchanged => self.unchanged += 1,
        }
    }

    /// How many rows.
    pub const fn rows(&self) -> u32 {
        self.added + self.changed + self.unchanged
    }
}

impl ImportRow {
    /// What it makes of the product: the same for a dry run and for the import. `number`
    /// is for one that is new. The row wins over whatever was edited meanwhile.
    pub fn to(
        &self,
        known: Option<&CatalogProduct>,
        number: i64,
        by: &str,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let archive = |product: &mut CatalogProduct| match self.is_archived {
            Some(true) => product.archived_at = product.archived_at.or(Some(at)),
            Some(false) => product.archived_at = None,
            None => {}
        };
        let Some(known) = known else {
            let (sku, fields) = (self.sku.clone(), self.fields.clone());
            let mut product = made(sku, number, fields, self.stock, by, at)?;
            archive(&mut product);
            return Ok(Outcome::Added(product));
        };
        let mut next = known.clone();
        next.set(self.fields.clone().checked()?, by, at);
        archive(&mut next);
        let changed = next.changed_from(known, by, at);
        Ok(changed.map_or(Outcome::Unchanged, Outcome::Changed))
    }
}

impl AuditEntry {
    /// An import is over.
    pub fn imported(import: &Import, id: &str) -> Self {
        let done = import.done;
        let detail = format!(
            "{} products: {} new, {} changed, {} as they were",
            done.rows(),
            done.added,
            done.changed,
            done.unchanged
        );
        let id = &id[..id.len().min(12)];
        Self::of_version(
            Act::CatalogImported,
            import.by.clone(),
            id,
            1,
            import.at,
            detail,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Cents;

    fn row(cents: i64, is_archived: Option<bool>) -> ImportRow {
        ImportRow {
            sku: Sku::parse("K-1").unwrap(),
            fields: ProductFields {
                name: "Kettle".into(),
                description: String::new(),
                category: "Kitchen".into(),
                price_cents: Cents(cents),
            },
            stock: 5,
            is_archived,
        }
    }

    #[test]
    fn a_row_adds_changes_and_leaves_what_is_so() {
        let at = Timestamp::UNIX_EPOCH;
        let mut done = ImportDone::default();
        let mut to = |row: ImportRow, known: Option<&CatalogProduct>| {
            let outcome = row.to(known, 3, "ann", at).unwrap();
            done.count(&outcome);
            outcome
        };
        let Outcome::Added(kettle) = to(row(100, None), None) else {
            panic!("it is new");
        };
        assert_eq!((kettle.number, kettle.initial_stock), (3, 5));
        assert_eq!(to(row(100, None), Some(&kettle)), Outcome::Unchanged);
        assert_eq!(to(row(100, Some(false)), Some(&kettle)), Outcome::Unchanged);
        let Outcome::Changed(gone) = to(row(200, Some(true)), Some(&kettle)) else {
            panic!("it is another");
        };
        assert!(!gone.is_sold() && gone.prices.len() == 2 && gone.version == 2);
        let Outcome::Changed(back) = to(row(200, Some(false)), Some(&gone)) else {
            panic!("it is another");
        };
        assert!(back.is_sold());
        assert_eq!((done.added, done.changed, done.unchanged), (1, 2, 2));
        assert_eq!(done.rows(), 5);
    }
}
