//! What is sold, and where it can be shipped. The object `Catalog` in Restate owns that;
//! here it is asked, and what it answers is written down before anybody is told.

use serde::Serialize;
use services::client::{Body, Ingress, keyed, outcome};
use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::audit::{Asked, By, WAYBILL};
use waybill_domain::catalog::{
    Adopt, Adopted, CatalogProduct, CatalogZone, ChangeProduct, ChangeZone, Import, ImportRow,
    PriceSet, ProductChange, ROWS_IN_A_CHUNK, StageRows, StartImport, ZoneChange,
};
use waybill_domain::idempotency::{Answered, Digest, Once};
use waybill_domain::ids::{Sku, Username};
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use super::patience::Patience;
use super::stock;
use crate::clock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::infra::{Infra, Shared};
use crate::storage::catalog::{self as storage, Filter};

/// Products and zones that are taken over together.
const TOGETHER: usize = ROWS_IN_A_CHUNK as usize;

/// Tells Restate of the products and zones that this gateway's own file knows: the demo's,
/// and those of an older version. Runs for as long as the gateway does.
pub async fn announce(infra: Shared) {
    let mut patience = Patience::new("Restate does not know the catalog yet");
    loop {
        let told = announce_untold(&infra).await;
        tokio::time::sleep(patience.after(told)).await;
    }
}

async fn announce_untold(infra: &Infra) -> Result<(), Problem> {
    let products = storage::untold_products(&infra.db).await?;
    let zones = storage::every_zone(&infra.db).await?.into_iter();
    let mut zones = zones.filter(|zone| zone.version == 0).collect();
    let mut products = products.into_iter().peekable();
    while products.peek().is_some() || !Vec::is_empty(&zones) {
        let some: Vec<_> = products.by_ref().take(TOGETHER).collect();
        let later = zones.split_off(zones.len().min(TOGETHER));
        let adopted = adopted(&infra.ingress, some, std::mem::replace(&mut zones, later)).await?;
        keep_all(infra, adopted).await?;
    }
    Ok(())
}

/// Tells Restate of what it may not know; answers how it knows it.
async fn adopted(
    ingress: &Ingress,
    products: Vec<CatalogProduct>,
    zones: Vec<CatalogZone>,
) -> Result<Adopted, Problem> {
    let at = clock::now();
    let products = products.into_iter().map(|product| CatalogProduct {
        created_at: at,
        updated_at: at,
        updated_by: WAYBILL.to_owned(),
        prices: vec![PriceSet {
            at,
            by: WAYBILL.to_owned(),
            price_cents: product.fields.price_cents,
        }],
        ..product
    });
    let zones = zones.into_iter().map(|zone| CatalogZone {
        updated_at: at,
        updated_by: WAYBILL.to_owned(),
        ..zone
    });
    let known = Adopt {
        products: products.collect(),
        zones: zones.collect(),
    };
    Ok(outcome(ingress.catalog().adopt(known.into()).call().await)?)
}

async fn keep_all(infra: &Infra, adopted: Adopted) -> Result<(), Problem> {
    let products = adopted.products.into_iter();
    let products = products.map(|product| Update::Product(Box::new(product)));
    let updates = products.chain(adopted.zones.into_iter().map(Update::Zone));
    for update in updates {
        infra.live.apply(update).await.map_err(Problem::not_kept)?;
    }
    Ok(())
}

/// A product, as admins see it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ProductView {
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
    /// Pieces that it began with.
    pub initial_stock: u32,
    /// Grows with each change: name it when you change the product.
    #[schema(minimum = 0)]
    pub version: u64,
    /// Since when it is no longer sold.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
    /// Its prices, newest first, with who has set them and when.
    pub prices: Vec<PriceSet>,
}

impl From<CatalogProduct> for ProductView {
    fn from(product: CatalogProduct) -> Self {
        Self {
            id: product.number,
            sku: product.sku.to_string(),
            name: product.fields.name,
            description: product.fields.description,
            category: product.fields.category,
            price_cents: product.fields.price_cents.0,
            initial_stock: product.initial_stock,
            version: product.version,
            archived_at: product.archived_at,
            updated_at: product.updated_at,
            updated_by: product.updated_by,
            prices: product.prices,
        }
    }
}

/// A zone, as admins see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ZoneView {
    /// Its name, as checkouts name it.
    pub zone: String,
    /// What shipping there costs.
    pub cost_cents: i64,
    /// Grows with each change: name it when you change the zone.
    #[schema(minimum = 0)]
    pub version: u64,
    /// Since when nothing is shipped there any more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

impl From<CatalogZone> for ZoneView {
    fn from(zone: CatalogZone) -> Self {
        Self {
            zone: zone.name,
            cost_cents: zone.cost_cents.0,
            version: zone.version,
            archived_at: zone.archived_at,
            updated_at: zone.updated_at,
            updated_by: zone.updated_by,
        }
    }
}

/// One page of the products that a filter lets through, each with what can be sold of it,
/// and how many there are.
pub async fn list(
    infra: &Infra,
    filter: &Filter,
    page: Pagination,
) -> Result<(Vec<(CatalogProduct, i64)>, i64), Problem> {
    let (found, total) = storage::products(&infra.db, filter, page).await?;
    let skus: Vec<_> = found.iter().map(|row| row.sku.as_str()).collect();
    let whole = storage::whole_products_of(&infra.db, &skus).await?;
    let with_stock = whole.into_iter().filter_map(|product| {
        let row = found.iter().find(|row| row.sku == product.sku.as_str())?;
        Some((product, row.stock_qty))
    });
    Ok((with_stock.collect(), total))
}

/// The product of that SKU, sold or not.
pub async fn one(infra: &Infra, sku: &Sku) -> Result<CatalogProduct, Problem> {
    let found = storage::whole_product(&infra.db, sku).await?;
    found.ok_or_else(|| Refusal::UnknownProduct { sku: sku.clone() }.into())
}

/// Changes a product; once this has answered, it can be read here, and one that is new can
/// be sold.
pub async fn change(
    infra: &Infra,
    caller: &Username,
    by: By,
    sku: Sku,
    change: ProductChange,
    key: &IdempotencyKey,
) -> Result<Answered<CatalogProduct>, Problem> {
    tell_of(infra, &sku).await?;
    let operation = match change {
        // Which it is to be is a part of what is asked for.
        ProductChange::Create { .. } => "product.create".to_owned(),
        ProductChange::Edit { .. } => format!("product.edit.{sku}"),
        ProductChange::Archive => format!("product.archive.{sku}"),
        ProductChange::Restore => format!("product.restore.{sku}"),
    };
    let once = key.once(caller, &operation, &(&sku, &change))?;
    let changed = changed(&infra.ingress, by, sku, change, once).await?;
    let product = changed.value.clone();
    infra
        .live
        .show(Update::Product(Box::new(product.clone())))
        .await;
    stock::tell_of(infra, &[&product.sku]).await?;
    Ok(changed)
}

/// Tells Restate of a product that only this gateway's file knows.
async fn tell_of(infra: &Infra, sku: &Sku) -> Result<(), Problem> {
    let known = storage::whole_product(&infra.db, sku).await?;
    if let Some(untold) = known.filter(|known| known.version == 0) {
        let adopted = adopted(&infra.ingress, vec![untold], Vec::new()).await?;
        keep_all(infra, adopted).await?;
    }
    Ok(())
}

/// The same without a gateway that serves: those hear of it from the services.
pub async fn changed(
    ingress: &Ingress,
    by: By,
    sku: Sku,
    change: ProductChange,
    once: Option<Once>,
) -> Result<Answered<CatalogProduct>, Problem> {
    let at = clock::now();
    let what = ChangeProduct { sku, change, at };
    let asked = ingress.catalog().change_product(Asked { what, by }.into());
    Ok(outcome(keyed(asked, once).call().await)?)
}

/// Changes a zone; once this has answered, it can be read here.
pub async fn change_zone(
    infra: &Infra,
    caller: &Username,
    by: By,
    name: &str,
    change: ZoneChange,
    key: &IdempotencyKey,
) -> Result<Answered<CatalogZone>, Problem> {
    let zones = storage::every_zone(&infra.db).await?;
    let is_it = |zone: &CatalogZone| zone.version == 0 && zone.name.eq_ignore_ascii_case(name);
    if let Some(untold) = zones.into_iter().find(is_it) {
        let adopted = adopted(&infra.ingress, Vec::new(), vec![untold]).await?;
        keep_all(infra, adopted).await?;
    }
    let operation = match change {
        ZoneChange::Create { .. } => "zone.create".to_owned(),
        ZoneChange::Edit { .. } => format!("zone.edit.{name}"),
        ZoneChange::Archive => format!("zone.archive.{name}"),
        ZoneChange::Restore => format!("zone.restore.{name}"),
    };
    let once = key.once(caller, &operation, &(name, &change))?;
    let changed = zone_changed(&infra.ingress, by, name, change, once).await?;
    infra.live.show(Update::Zone(changed.value.clone())).await;
    Ok(changed)
}

/// The same without a gateway that serves.
pub async fn zone_changed(
    ingress: &Ingress,
    by: By,
    name: &str,
    change: ZoneChange,
    once: Option<Once>,
) -> Result<Answered<CatalogZone>, Problem> {
    let what = ChangeZone {
        name: name.to_owned(),
        change,
        at: clock::now(),
    };
    let asked = ingress.catalog().change_zone(Asked { what, by }.into());
    Ok(outcome(keyed(asked, once).call().await)?)
}

/// Begins an import: stages all of it, which is nothing yet, and says that it is whole.
/// Whatever dies after this has answered, it is written to its end.
pub async fn import(ingress: &Ingress, by: By, rows: &[ImportRow]) -> Result<Digest, Problem> {
    let import = Digest::parse(&Uuid::new_v4().simple().to_string())?;
    let mut chunks = 0;
    for rows in rows.chunks(TOGETHER) {
        let staged = StageRows {
            import: import.clone(),
            chunk: chunks,
            rows: rows.to_vec(),
        };
        outcome(ingress.catalog().stage(staged.into()).call().await)?;
        chunks += 1;
    }
    let what = StartImport {
        import: import.clone(),
        chunks,
        at: clock::now(),
    };
    let asked = ingress.catalog().import(Body::from(Asked { what, by }));
    let _: Import = outcome(asked.call().await)?;
    Ok(import)
}

/// How far an import is, if it has begun and is not forgotten.
pub async fn import_progress(ingress: &Ingress, import: Digest) -> Result<Option<Import>, Problem> {
    let asked = ingress.catalog().progress(Body::from(import));
    Ok(outcome(asked.call().await)?)
}
