//! Products and zones in SQLite: a copy of what the object `Catalog` owns.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};
use waybill_domain::Timestamp;
use waybill_domain::basket;
use waybill_domain::catalog::{CatalogProduct, CatalogZone, PriceSet, ProductFields};
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::placement::Shipping;
use waybill_domain::refusal::Refusal;

use super::db::{Db, to_i64};
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
    /// Those that are no longer sold, and not the others.
    pub archived: bool,
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
           AND (?2 IS NULL OR category = ?2) AND (archived_at IS NOT NULL) = ?3"
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
        .bind(filter.archived)
        .fetch_one(&db.read)
        .await?;
    let products = sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " ",
        filtered!(),
        " ORDER BY id LIMIT ?4 OFFSET ?5"
    ))
    .bind(pattern.as_deref())
    .bind(filter.category.as_deref())
    .bind(filter.archived)
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

/// The product of that number, if it is sold.
pub async fn product(db: &Db, id: i64) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " FROM products WHERE id = ? AND archived_at IS NULL"
    ))
    .bind(id)
    .fetch_optional(&db.read)
    .await
}

/// The product of that SKU, if it is sold.
pub async fn product_of_sku(db: &Db, sku: &Sku) -> sqlx::Result<Option<Product>> {
    sqlx::query_as(concat!(
        "SELECT ",
        product_columns!(),
        " FROM products WHERE sku = ? AND archived_at IS NULL"
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
    sqlx::query_as(
        "SELECT category, count(*) FROM products WHERE archived_at IS NULL
         GROUP BY category ORDER BY min(id)",
    )
    .fetch_all(&db.read)
    .await
}

/// The products with the least stock: number, SKU, name, pieces.
pub async fn least_stock(db: &Db, limit: i64) -> sqlx::Result<Vec<(i64, String, String, i64)>> {
    sqlx::query_as(
        "SELECT id, sku, name, coalesce(stock_qty, 0) FROM products WHERE archived_at IS NULL
         ORDER BY stock_qty, id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(&db.read)
    .await
}

/// How many products are sold.
pub async fn count(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM products WHERE archived_at IS NULL")
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

/// Every zone that is served, cheapest first.
pub async fn zones(db: &Db) -> sqlx::Result<Vec<Zone>> {
    sqlx::query_as(
        "SELECT zone_name, base_cost_cents FROM shipping_zones
         WHERE archived_at IS NULL ORDER BY base_cost_cents, id",
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

/// Those of `skus` that were sold and are no more.
pub async fn not_sold(db: &Db, skus: &[&Sku]) -> sqlx::Result<Vec<Sku>> {
    let skus: Vec<_> = skus.iter().map(|sku| sku.as_str()).collect();
    let gone: Vec<String> = sqlx::query_scalar(
        "SELECT sku FROM products WHERE archived_at IS NOT NULL
           AND sku IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::Value::from(skus).to_string())
    .fetch_all(&db.read)
    .await?;
    Ok(gone.iter().filter_map(|sku| Sku::parse(sku).ok()).collect())
}

/// The product of that name that was sold and is no more: SKU and name.
pub async fn gone(db: &Db, name: &ProductName) -> sqlx::Result<Option<(String, String)>> {
    let (id, sku) = match name {
        ProductName::Number(id) => (Some(*id), None),
        ProductName::Sku(sku) => (None, Some(sku.as_str())),
    };
    sqlx::query_as(
        "SELECT sku, name FROM products WHERE (id = ?1 OR sku = ?2) AND archived_at IS NOT NULL",
    )
    .bind(id)
    .bind(sku)
    .fetch_optional(&db.read)
    .await
}

/// Writes a product, if it is news.
pub async fn write_product(
    db: &mut SqliteConnection,
    product: &CatalogProduct,
) -> sqlx::Result<bool> {
    // A number is one product's in Restate. Here another may hold it that Restate has not
    // been told of: it steps aside, and is given one of its own when it is told.
    sqlx::query(
        "UPDATE products SET id = (SELECT max(max(id), ?1) + 1 FROM products)
         WHERE id = ?1 AND sku <> ?2 AND version < 1",
    )
    .bind(product.number)
    .bind(product.sku.as_str())
    .execute(&mut *db)
    .await?;
    let record = to_json(product)?;
    let written = sqlx::query(
        "INSERT INTO products (id, sku, name, description, price_cents, category, stock_qty,
                               archived_at, version, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6,
                 coalesce((SELECT available FROM stock_levels WHERE sku = ?2), ?7), ?8, ?9, ?10)
         ON CONFLICT (sku) DO UPDATE SET
             id = ?1, name = ?3, description = ?4, price_cents = ?5, category = ?6,
             stock_qty = coalesce((SELECT available FROM stock_levels WHERE sku = ?2), ?7),
             archived_at = ?8, version = ?9, record = ?10
         WHERE version < ?9",
    )
    .bind(product.number)
    .bind(product.sku.as_str())
    .bind(&product.fields.name)
    .bind(&product.fields.description)
    .bind(product.fields.price_cents.0)
    .bind(&product.fields.category)
    .bind(product.initial_stock)
    .bind(product.archived_at.map(Timestamp::as_millisecond))
    .bind(to_i64(product.version))
    .bind(record)
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// Writes a zone, if it is news.
pub async fn write_zone(db: &mut SqliteConnection, zone: &CatalogZone) -> sqlx::Result<bool> {
    let record = to_json(zone)?;
    let (archived, version) = (zone.archived_at, to_i64(zone.version));
    let archived = archived.map(Timestamp::as_millisecond);
    let known: Option<(i64, i64)> =
        sqlx::query_as("SELECT id, version FROM shipping_zones WHERE zone_name = ? COLLATE NOCASE")
            .bind(&zone.name)
            .fetch_optional(&mut *db)
            .await?;
    match known {
        Some((_, known)) if known >= version => return Ok(false),
        Some((id, _)) => {
            sqlx::query(
                "UPDATE shipping_zones SET zone_name = ?2, base_cost_cents = ?3, archived_at = ?4,
                                           version = ?5, record = ?6
                 WHERE id = ?1",
            )
            .bind(id)
        }
        None => sqlx::query(
            "INSERT INTO shipping_zones (id, zone_name, base_cost_cents, archived_at, version, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(None::<i64>),
    }
    .bind(&zone.name)
    .bind(zone.cost_cents.0)
    .bind(archived)
    .bind(version)
    .bind(record)
    .execute(db)
    .await?;
    Ok(true)
}

fn to_json(value: &impl Serialize) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A product with who has changed it and what it has cost, sold or not.
pub async fn whole_product(db: &Db, sku: &Sku) -> sqlx::Result<Option<CatalogProduct>> {
    Ok(whole_products(db, "sku = ?", sku.as_str()).await?.pop())
}

/// The same of those with one of `skus`, by number.
pub async fn whole_products_of(db: &Db, skus: &[&str]) -> sqlx::Result<Vec<CatalogProduct>> {
    let skus = serde_json::Value::from(skus).to_string();
    whole_products(db, "sku IN (SELECT value FROM json_each(?))", &skus).await
}

/// What can be sold of a product.
pub async fn stock_of(db: &Db, sku: &Sku) -> sqlx::Result<i64> {
    let stock: Option<i64> = sqlx::query_scalar("SELECT stock_qty FROM products WHERE sku = ?")
        .bind(sku.as_str())
        .fetch_optional(&db.read)
        .await?
        .flatten();
    Ok(stock.unwrap_or_default())
}

/// Every product, sold or not, by number.
pub async fn every_product(db: &Db) -> sqlx::Result<Vec<CatalogProduct>> {
    whole_products(db, "? = ''", "").await
}

/// Every product with what can be sold of it, for a file.
pub async fn every_product_with_stock(db: &Db) -> sqlx::Result<Vec<(CatalogProduct, i64)>> {
    let stock: HashMap<String, i64> =
        sqlx::query_as("SELECT sku, coalesce(stock_qty, 0) FROM products")
            .fetch_all(&db.read)
            .await?
            .into_iter()
            .collect();
    let with = |product: CatalogProduct| {
        let stock = stock.get(product.sku.as_str()).copied();
        (product, stock.unwrap_or_default())
    };
    Ok(every_product(db).await?.into_iter().map(with).collect())
}

/// Products that Restate has not been told of.
pub async fn untold_products(db: &Db) -> sqlx::Result<Vec<CatalogProduct>> {
    whole_products(db, "version < 1 AND ? = ''", "").await
}

/// SKUs of the products that Restate has told of, or been told.
pub async fn told_products(db: &Db) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT sku FROM products WHERE version > 0")
        .fetch_all(&db.read)
        .await
}

/// The same of zones: their names.
pub async fn told_zones(db: &Db) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT zone_name FROM shipping_zones WHERE version > 0")
        .fetch_all(&db.read)
        .await
}

async fn whole_products(
    db: &Db,
    condition: &str,
    parameter: &str,
) -> sqlx::Result<Vec<CatalogProduct>> {
    let sql = format!(
        "SELECT id, sku, name, coalesce(description, '') AS description, category, price_cents,
                coalesce(stock_qty, 0) AS stock_qty, archived_at, version, record
         FROM products WHERE {condition} ORDER BY id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(parameter)
        .fetch_all(&db.read)
        .await?;
    let mut products = Vec::with_capacity(rows.len());
    for row in &rows {
        // A SKU that no cart can hold is none.
        if let Ok(sku) = Sku::parse(row.try_get("sku")?) {
            products.push(product_of_row(row, sku)?);
        }
    }
    Ok(products)
}

/// From its record, or from its columns as long as nobody has told of it.
fn product_of_row(row: &SqliteRow, sku: Sku) -> sqlx::Result<CatalogProduct> {
    let version: i64 = row.try_get("version")?;
    let record: Option<String> = row.try_get("record")?;
    if let Some(Ok(product)) = record.map(|record| serde_json::from_str(&record))
        && version > 0
    {
        return Ok(product);
    }
    let archived_at: Option<i64> = row.try_get("archived_at")?;
    let price_cents = Cents(row.try_get("price_cents")?);
    let at = Timestamp::UNIX_EPOCH;
    Ok(CatalogProduct {
        version: 0,
        sku,
        number: row.try_get("id")?,
        fields: ProductFields {
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            category: row.try_get("category")?,
            price_cents,
        },
        initial_stock: u32::try_from(row.try_get::<i64, _>("stock_qty")?).unwrap_or(u32::MAX),
        archived_at: archived_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
        created_at: at,
        updated_at: at,
        updated_by: String::new(),
        prices: vec![PriceSet {
            at,
            by: String::new(),
            price_cents,
        }],
    })
}

/// Every zone, served or not, cheapest first.
pub async fn every_zone(db: &Db) -> sqlx::Result<Vec<CatalogZone>> {
    let rows = sqlx::query(
        "SELECT zone_name, base_cost_cents, archived_at, version, record FROM shipping_zones
         ORDER BY base_cost_cents, id",
    )
    .fetch_all(&db.read)
    .await?;
    rows.iter().map(zone_of_row).collect()
}

fn zone_of_row(row: &SqliteRow) -> sqlx::Result<CatalogZone> {
    let version: i64 = row.try_get("version")?;
    let record: Option<String> = row.try_get("record")?;
    if let Some(Ok(zone)) = record.map(|record| serde_json::from_str(&record))
        && version > 0
    {
        return Ok(zone);
    }
    let archived_at: Option<i64> = row.try_get("archived_at")?;
    Ok(CatalogZone {
        version: 0,
        name: row.try_get("zone_name")?,
        cost_cents: Cents(row.try_get("base_cost_cents")?),
        archived_at: archived_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
        updated_at: Timestamp::UNIX_EPOCH,
        updated_by: String::new(),
    })
}

/// Takes what is here of a product for older than what Restate holds, unless it is newer.
pub async fn distrust_product(db: &mut SqliteConnection, sku: &Sku, held: u64) -> sqlx::Result<()> {
    sqlx::query("UPDATE products SET version = 0 WHERE sku = ? AND version <= ?")
        .bind(sku.as_str())
        .bind(to_i64(held))
        .execute(db)
        .await?;
    Ok(())
}

/// The same of a zone.
pub async fn distrust_zone(db: &mut SqliteConnection, name: &str, held: u64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE shipping_zones SET version = 0
         WHERE zone_name = ? COLLATE NOCASE AND version <= ?",
    )
    .bind(name)
    .bind(to_i64(held))
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets that Restate has told of it. What is sold stays until it does again.
pub async fn empty(db: &mut SqliteConnection) -> sqlx::Result<()> {
    for statement in [
        "UPDATE products SET version = 0",
        "UPDATE shipping_zones SET version = 0",
    ] {
        sqlx::query(statement).execute(&mut *db).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::demo::seed;

    /// A product at its first price, then dearer and no longer sold.
    pub(crate) fn kettles() -> [CatalogProduct; 2] {
        let at = |second| Timestamp::from_second(second).unwrap();
        let price = |second, cents| PriceSet {
            at: at(second),
            by: "ann".into(),
            price_cents: Cents(cents),
        };
        let kettle = CatalogProduct {
            version: 1,
            sku: Sku::parse("K-1").unwrap(),
            number: 7,
            fields: ProductFields {
                name: "Kettle".into(),
                description: "Boils".into(),
                category: "Kitchen".into(),
                price_cents: Cents(100),
            },
            initial_stock: 5,
            archived_at: None,
            created_at: at(1),
            updated_at: at(1),
            updated_by: "ann".into(),
            prices: vec![price(1, 100)],
        };
        let mut gone = kettle.clone();
        gone.version = 2;
        gone.fields.price_cents = Cents(200);
        gone.prices.insert(0, price(2, 200));
        gone.archived_at = Some(at(2));
        [kettle, gone]
    }

    /// A zone, then a dearer one.
    pub(crate) fn moons() -> [CatalogZone; 2] {
        let moon = CatalogZone {
            version: 1,
            name: "Moon".into(),
            cost_cents: Cents(900),
            archived_at: None,
            updated_at: Timestamp::UNIX_EPOCH,
            updated_by: "ann".into(),
        };
        let dearer = CatalogZone {
            version: 2,
            cost_cents: Cents(1_000),
            ..moon.clone()
        };
        [moon, dearer]
    }

    #[tokio::test]
    async fn a_product_comes_back_whole_and_what_is_archived_is_not_sold() {
        let (_folder, db) = shop().await;
        let [kettle, gone] = kettles();
        let write = async |product: &CatalogProduct| {
            let mut transaction = db.begin().await.unwrap();
            let news = write_product(&mut transaction, product).await.unwrap();
            transaction.commit().await.unwrap();
            news
        };
        assert!(write(&kettle).await);
        assert!(!write(&kettle).await);
        // Number 7 was a seeded product's, which nobody has told of: it steps aside.
        assert_eq!(product(&db, 7).await.unwrap().unwrap().sku, "K-1");
        let aside = product_of_sku(&db, &Sku::parse("P007").unwrap()).await;
        assert_eq!(aside.unwrap().unwrap().id, 29);
        let found = whole_product(&db, &kettle.sku).await.unwrap();
        assert_eq!(found, Some(kettle.clone()));
        assert_eq!(untold_products(&db).await.unwrap().len(), 28);
        assert!(write(&gone).await);
        assert!(!write(&kettle).await);
        assert_eq!(product(&db, 7).await.unwrap(), None);
        let name = ProductName::Number(7);
        assert_eq!(named(&db, &name).await.unwrap(), None);
        let named = super::gone(&db, &name).await.unwrap();
        assert_eq!(named, Some(("K-1".to_owned(), "Kettle".to_owned())));
        let left = not_sold(&db, &[&gone.sku, &Sku::parse("P001").unwrap()]).await;
        assert_eq!(left.unwrap(), std::slice::from_ref(&gone.sku));
        let archived = Filter {
            archived: true,
            ..Filter::default()
        };
        let page = Pagination {
            page: 1,
            per_page: 100,
        };
        assert_eq!(products(&db, &archived, page).await.unwrap().1, 1);
        assert_eq!(count(&db).await.unwrap(), 28);
    }

    #[tokio::test]
    async fn a_zone_is_one_whatever_its_case() {
        let (_folder, db) = shop().await;
        let [moon, dearer] = moons();
        let write = async |zone: &CatalogZone| {
            let mut transaction = db.begin().await.unwrap();
            let news = write_zone(&mut transaction, zone).await.unwrap();
            transaction.commit().await.unwrap();
            news
        };
        assert!(write(&dearer).await);
        assert!(!write(&moon).await);
        let shouted = CatalogZone {
            version: 3,
            name: "LOCAL".into(),
            archived_at: Some(Timestamp::UNIX_EPOCH),
            ..dearer.clone()
        };
        assert!(write(&shouted).await);
        let names = zones(&db).await.unwrap().into_iter().map(|zone| zone.zone);
        let names: Vec<_> = names.collect();
        assert_eq!(names, ["Domestic", "Moon", "Continental", "International"]);
        let all = every_zone(&db).await.unwrap();
        assert!(all.contains(&shouted) && all.contains(&dearer) && all.len() == 5);
    }
    use crate::storage::db;

    async fn shop() -> (tempfile::TempDir, Db) {
        let (folder, db) = db::temporary().await;
        seed::demo(&db, seed::What::All).await.unwrap();
        (folder, db)
    }

    async fn found(db: &Db, q: &str) -> Vec<String> {
        let filter = Filter {
            q: Some(q.to_owned()),
            ..Filter::default()
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
            category: Some("Widgets".into()),
            ..Filter::default()
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
