//! Products and zones in SQLite.

use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use waybill_domain::basket;
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::placement::Shipping;
use waybill_domain::refusal::Refusal;

use super::db::Db;
use crate::http::pagination::Pagination;

/// A product, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow, utoipa::ToSchema)]
pub struct Product {
    /// Number, as carts name it.
    pub id: i64,
    /// Stock keeping unit.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Where it is found.
    pub category: String,
    /// Price of one piece.
    pub price_cents: i64,
    /// Pieces that can be sold, as far as this gateway has heard.
    pub stock_qty: i64,
}

impl Product {
    /// What carts and checkouts need to know of it.
    pub fn for_cart(&self) -> Result<basket::Product, Refusal> {
        Ok(basket::Product {
            sku: Sku::parse(&self.sku)?,
            product_id: self.id,
            name: self.name.clone(),
            unit_price_cents: Cents(self.price_cents),
        })
    }
}

/// A product as callers name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProductName {
    /// By its number in the catalog.
    Number(i64),
    /// By its SKU.
    Sku(Sku),
}

/// Which products are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Part of a SKU, name, description or category.
    pub q: Option<String>,
    /// A category, whole.
    pub category: Option<String>,
}

/// Columns of [`Product`], in its order.
macro_rules! product_columns {
    () => {
        "id, sku, name, coalesce(description, '') AS description, category, price_cents, coalesce(stock_qty, 0) AS stock_qty"
    };
}

/// What [`Filter`] means: `?1` is a LIKE pattern or NULL, `?2` a category or NULL.
macro_rules! filtered {
    () => {
        "FROM products
         WHERE (?1 IS NULL OR sku LIKE ?1 ESCAPE '\\' OR name LIKE ?1 ESCAPE '\\'
                OR description LIKE ?1 ESCAPE '\\' OR category LIKE ?1 ESCAPE '\\')
           AND (?2 IS NULL OR category = ?2)"
    };
}

/// One page of the products that `filter` lets through, and how many there are.
pub async fn products(
    db: &Db,
    filter: &Filter,
    page: Pagination,
) -> sqlx::Result<(Vec<Product>, i64)> {
    let pattern = filter.q.as_deref().map(like_pattern);
    let total = sqlx::query_scalar(concat!("SELECT count(*) ", filtered!()))
        .bind(pattern.as_deref())
        .bind(filter.category.as_deref())
        .fetch_one(&db.read)
        .await?;
    let products = sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " ",
        filtered!(),
        " ORDER BY id LIMIT ?3 OFFSET ?4"
    ))
    .bind(pattern.as_deref())
    .bind(filter.category.as_deref())
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&db.read)
    .await?;
    Ok((products, total))
}

/// A LIKE pattern for texts that contain `q`, in which nothing is a wildcard.
fn like_pattern(q: &str) -> String {
    let mut pattern = String::with_capacity(q.len() + 2);
    pattern.push('%');
    for character in q.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// The product of that number.
pub async fn product(db: &Db, id: i64) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " FROM products WHERE id = ?"
    ))
    .bind(id)
    .fetch_optional(&db.read)
    .await
}

/// The product of that SKU.
pub async fn product_of_sku(db: &Db, sku: &Sku) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " FROM products WHERE sku = ?"
    ))
    .bind(sku.as_str())
    .fetch_optional(&db.read)
    .await
}

/// The product of that name at today's price. One whose SKU no cart can hold is none.
pub async fn named(db: &Db, name: &ProductName) -> sqlx::Result<Option<basket::Product>> {
    let found = match name {
        ProductName::Number(id) => product(db, *id).await?,
        ProductName::Sku(sku) => product_of_sku(db, sku).await?,
    };
    Ok(found.and_then(|product| product.for_cart().ok()))
}

/// Every category and how many products it has.
pub async fn categories(db: &Db) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("SELECT category, count(*) FROM products GROUP BY category ORDER BY min(id)")
        .fetch_all(&db.read)
        .await
}

/// The products with the least stock: number, SKU, name, pieces.
pub async fn least_stock(db: &Db, limit: i64) -> sqlx::Result<Vec<(i64, String, String, i64)>> {
    sqlx::query_as(
        "SELECT id, sku, name, coalesce(stock_qty, 0) FROM products
         ORDER BY stock_qty, id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(&db.read)
    .await
}

/// How many products there are.
pub async fn count(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM products")
        .fetch_one(&db.read)
        .await
}

/// Products that Inventory has said nothing about yet, of all or of `skus`: SKU
/// and initial stock.
pub async fn unannounced(db: &Db, skus: Option<&[&Sku]>) -> sqlx::Result<Vec<(String, i64)>> {
    let skus = skus.map(|skus| skus.iter().map(|sku| sku.as_str()).collect::<Vec<_>>());
    sqlx::query_as(
        "SELECT sku, coalesce(stock_qty, 0) FROM products
         WHERE (?1 IS NULL OR sku IN (SELECT value FROM json_each(?1)))
           AND sku NOT IN (SELECT sku FROM stock_levels) ORDER BY id",
    )
    .bind(skus.map(|skus| serde_json::Value::from(skus).to_string()))
    .fetch_all(&db.read)
    .await
}

/// A shipping zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow, utoipa::ToSchema)]
pub struct Zone {
    /// Its name, as checkouts name it.
    #[sqlx(rename = "zone_name")]
    pub zone: String,
    /// What shipping there costs.
    #[sqlx(rename = "base_cost_cents")]
    pub cost_cents: i64,
}

impl Zone {
    /// Shipping to an address in this zone.
    pub fn to(self, address: String) -> Shipping {
        Shipping {
            zone: self.zone,
            cost_cents: Cents(self.cost_cents),
            address,
        }
    }
}

/// Every zone, cheapest first.
pub async fn zones(db: &Db) -> sqlx::Result<Vec<Zone>> {
    sqlx::query_as(
        "SELECT zone_name, base_cost_cents FROM shipping_zones ORDER BY base_cost_cents, id",
    )
    .fetch_all(&db.read)
    .await
}

/// A product that is not in the catalog yet.
#[derive(Debug)]
pub struct NewProduct<'a> {
    /// The catalog's number.
    pub id: i64,
    /// Stock keeping unit.
    pub sku: &'a str,
    /// What it is called.
    pub name: &'a str,
    /// Where it is listed.
    pub category: &'a str,
    /// Price of one piece, in cents.
    pub price_cents: i64,
    /// Pieces that it begins with.
    pub stock_qty: i64,
    /// What it is.
    pub description: &'a str,
}

/// Adds a product; one that is there stays as it is. Answers whether it is new.
pub async fn add_product(
    db: &mut SqliteConnection,
    product: &NewProduct<'_>,
) -> sqlx::Result<bool> {
    // Inventory may have been heard of before the catalog was loaded again.
    let added = sqlx::query(
        "INSERT INTO products (id, sku, name, category, price_cents, stock_qty, description)
         VALUES (?1, ?2, ?3, ?4, ?5,
                 coalesce((SELECT available FROM stock_levels WHERE sku = ?2), ?6), ?7)
         ON CONFLICT DO NOTHING",
    )
    .bind(product.id)
    .bind(product.sku)
    .bind(product.name)
    .bind(product.category)
    .bind(product.price_cents)
    .bind(product.stock_qty)
    .bind(product.description)
    .execute(db)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Adds a shipping zone; one that is there stays as it is. Answers whether it is
/// new.
pub async fn add_zone(
    db: &mut SqliteConnection,
    name: &str,
    base_cost_cents: i64,
) -> sqlx::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO shipping_zones (zone_name, base_cost_cents) VALUES (?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(base_cost_cents)
    .execute(db)
    .await?;
    Ok(added.rows_affected() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::seed;
    use crate::storage::db;

    async fn shop() -> (tempfile::TempDir, Db) {
        let (folder, db) = db::temporary().await;
        seed::demo(&db, seed::What::All).await.unwrap();
        (folder, db)
    }

    async fn found(db: &Db, q: &str) -> Vec<String> {
        let filter = Filter {
            q: Some(q.to_owned()),
            category: None,
        };
        let page = Pagination {
            page: 1,
            per_page: 100,
        };
        let (products, total) = products(db, &filter, page).await.unwrap();
        assert_eq!(products.len(), usize::try_from(total).unwrap());
        products.into_iter().map(|product| product.sku).collect()
    }

    #[tokio::test]
    async fn search_looks_into_sku_name_category_and_description() {
        let (_folder, db) = shop().await;
        assert_eq!(found(&db, "p019").await, ["P019"]);
        assert_eq!(found(&db, "keyboard").await, ["P019"]);
        assert_eq!(found(&db, "flicker").await, ["P018"]);
        assert_eq!(found(&db, "outdoor").await.len(), 6);
    }

    #[tokio::test]
    async fn nothing_in_a_search_is_a_wildcard() {
        let (_folder, db) = shop().await;
        for q in ["%", "_", "\\", "P%1", "' OR 1=1 --"] {
            assert!(found(&db, q).await.is_empty(), "{q}");
        }
    }

    #[tokio::test]
    async fn categories_and_pages_narrow() {
        let (_folder, db) = shop().await;
        let categories = categories(&db).await.unwrap();
        assert_eq!(categories[0], ("Widgets".to_owned(), 5));
        assert_eq!(categories.iter().map(|(_, count)| count).sum::<i64>(), 28);
        let filter = Filter {
            q: None,
            category: Some("Widgets".into()),
        };
        let page = Pagination {
            page: 2,
            per_page: 3,
        };
        let (products, total) = products(&db, &filter, page).await.unwrap();
        let skus: Vec<_> = products
            .iter()
            .map(|product| product.sku.as_str())
            .collect();
        assert_eq!((skus.as_slice(), total), (&["P004", "P005"][..], 5));
    }

    #[tokio::test]
    async fn the_cheapest_zone_comes_first() {
        let (_folder, db) = shop().await;
        let zones = zones(&db).await.unwrap();
        assert!(zones.is_sorted_by_key(|zone| zone.cost_cents));
        assert_eq!(zones.len(), 4);
    }

    #[tokio::test]
    async fn the_catalog_shows_what_inventory_says() {
        let (_folder, db) = shop().await;
        assert_eq!(unannounced(&db, None).await.unwrap().len(), 28);
        sqlx::query(
            "INSERT INTO stock_levels (sku, version, updated_at, initial, restocked, available, reserved, committed)
             VALUES ('P001', 1, 0, 500, 0, 500, 0, 0)",
        )
        .execute(&db.write)
        .await
        .unwrap();
        sqlx::query("UPDATE stock_levels SET version = 2, available = 498, reserved = 2")
            .execute(&db.write)
            .await
            .unwrap();
        assert_eq!(product(&db, 1).await.unwrap().unwrap().stock_qty, 498);
        assert_eq!(unannounced(&db, None).await.unwrap().len(), 27);
        let asked = ["P001", "P002", "GONE"].map(|sku| Sku::parse(sku).unwrap());
        let asked: Vec<_> = asked.iter().collect();
        let missing = unannounced(&db, Some(&asked)).await.unwrap();
        let missing: Vec<_> = missing.into_iter().map(|(sku, _)| sku).collect();
        assert_eq!(missing, ["P002"]);
    }

    #[tokio::test]
    async fn a_product_is_found_by_number_and_by_sku() {
        let (_folder, db) = shop().await;
        let sku = |sku| ProductName::Sku(Sku::parse(sku).unwrap());
        let by_number = named(&db, &ProductName::Number(2)).await.unwrap().unwrap();
        assert_eq!(by_number.sku.as_str(), "P002");
        assert_eq!(named(&db, &sku("P002")).await.unwrap(), Some(by_number));
        assert_eq!(named(&db, &sku("GONE")).await.unwrap(), None);
        assert_eq!(named(&db, &ProductName::Number(-1)).await.unwrap(), None);
    }
}
