//! Pieces on the shelf. Tells Inventory with how many each product begins, which
//! Inventory counts the first time only, so saying it again does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt, stream};
use services::client::{Body, Failure, keyed, outcome};
use waybill_domain::audit::{Asked, By};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{Sku, Username};
use waybill_domain::stock::{InitialStock, Restock, StockLevel};
use waybill_domain::update::Update;

use super::patience::Patience;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::infra::{Infra, Shared};
use crate::storage::catalog::{self as queries, Product};

/// Calls at once.
const AT_ONCE: usize = 8;

/// Whether Inventory has been told of the catalog since this process began.
#[derive(Debug, Default)]
pub struct Announcement(AtomicBool);

impl Announcement {
    /// Whether it has.
    pub fn is_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs for as long as the gateway does: products that are seeded later are
/// told of, too.
pub async fn announce(infra: Shared, announcement: Arc<Announcement>) {
    let mut patience = Patience::new("stock is not known to Inventory yet");
    loop {
        let told = announce_missing(&infra).await;
        if told.is_ok() {
            announcement.0.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(patience.after(told)).await;
    }
}

/// Tries every product: one whose stock cannot be told (spoilt, or held by an
/// operator) is that product's trouble alone.
async fn announce_missing(infra: &Infra) -> Result<(), Problem> {
    let missing = queries::unannounced(&infra.db, None).await?;
    let Announced { told, failed } = tell_all(infra, missing).await?;
    match failed {
        Some(problem) if told == 0 => Err(problem),
        Some(problem) => {
            tracing::warn!(
                cause = problem.cause(),
                "the stock of some products cannot be told: {}",
                problem.detail
            );
            Ok(())
        }
        None => Ok(()),
    }
}

/// Tells Inventory of a product that it turns out not to know, although this
/// gateway has believed so.
pub async fn tell_anew(infra: &Infra, sku: &Sku) -> Result<(), Problem> {
    let Some(product) = queries::product_of_sku(&infra.db, sku).await? else {
        return Ok(());
    };
    let told = tell_all(infra, vec![(product.sku, product.stock_qty)]).await?;
    told.failed.map_or(Ok(()), Err)
}

/// Tells Inventory of those of these products that it has not been told of:
/// whoever sells or restocks one does not wait for the next round.
pub async fn tell_of(infra: &Infra, skus: &[&Sku]) -> Result<(), Problem> {
    let missing = infra.unannounced(skus).await?;
    let told = tell_all(infra, missing).await?;
    told.failed.map_or(Ok(()), Err)
}

/// What telling has come to.
struct Announced {
    /// How many products Inventory knows now.
    told: usize,
    /// Why another does not, if one does not.
    failed: Option<Problem>,
}

async fn tell_all(infra: &Infra, missing: Vec<(String, i64)>) -> Result<Announced, Problem> {
    let mut levels = stream::iter(missing)
        .map(|(sku, quantity)| tell(infra, sku, quantity))
        .buffer_unordered(AT_ONCE);
    let (mut told, mut failed) = (0, None);
    while let Some(level) = levels.next().await {
        match level {
            Ok(None) => {}
            Ok(Some(level)) => {
                told += 1;
                let kept = infra.live.apply(Update::Stock(level)).await;
                kept.map_err(Problem::not_kept)?;
            }
            Err(failure) => failed = Some(failure.into()),
        }
    }
    Ok(Announced { told, failed })
}

async fn tell(infra: &Infra, sku: String, quantity: i64) -> Result<Option<StockLevel>, Failure> {
    let Ok(sku) = Sku::parse(&sku) else {
        tracing::warn!(product.sku = sku, "this SKU cannot be sold: {sku}");
        return Ok(None);
    };
    let quantity = u32::try_from(quantity).unwrap_or(u32::MAX);
    let asked = infra
        .ingress
        .inventory(&sku)
        .stock(Body::from(InitialStock { quantity }))
        .call()
        .await;
    outcome(asked).map(Some)
}

/// Puts more pieces of a product on the shelf.
pub async fn restock(
    infra: &Infra,
    caller: &Username,
    by: By,
    product: &Product,
    quantity: u32,
    key: &IdempotencyKey,
) -> Result<Answered<StockLevel>, Problem> {
    let sku = Sku::parse(&product.sku)?;
    tell_of(infra, &[&sku]).await?;
    let once = key.once(caller, &format!("restock.{sku}"), &quantity)?;
    let asked = infra.ingress.inventory(&sku).restock(Body::from(Asked {
        what: Restock { quantity },
        by,
    }));
    let restocked: Answered<StockLevel> = outcome(keyed(asked, once).call().await)?;
    infra
        .live
        .show(Update::Stock(restocked.value.clone()))
        .await;
    Ok(restocked)
}
