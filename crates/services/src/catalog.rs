//! What is sold, and where it can be shipped: virtual object, with one key for the shop.
//!
//! Each product and each zone is a state key of its own, and so is each number that a
//! product has: none of it is read but what a call is about (lazy state), so ten thousand
//! products cost a call what one does. One object and not one for each product, since
//! numbers and the names of zones must be unique, and since nothing on an order's way
//! passes here: gateways read their copies, and what is said aloud changes those.
//!
//! An import is staged in chunks, which are nothing yet; it begins when all of them are
//! here, and is then written chunk by chunk by one-way calls of its own, each of which
//! sends the next. So it ends whatever dies, and a price that is set by hand meanwhile
//! waits for a chunk and not for all.

use restate_sdk::prelude::*;
use waybill_domain::audit::{Asked, AuditEntry};
use waybill_domain::catalog::{
    Adopt, Adopted, CatalogProduct, CatalogZone, ChangeProduct, ChangeZone, ContinueImport, Import,
    ImportRow, Known, MAX_IMPORT_ROWS, Outcome, ProductChange, ROWS_IN_A_CHUNK, StageRows,
    StartImport, zone_key,
};
use waybill_domain::idempotency::{Answered, Digest};
use waybill_domain::ids::Sku;
use waybill_domain::refusal::Refusal;
use waybill_domain::stock::InitialStock;
use waybill_domain::update::Update;

use crate::audit_log;
use crate::broadcast::UpdateBroadcaster;
use crate::inventory::InventoryClient;
use crate::once::{Begun, Write};
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::catalog as wire;
use crate::wire::{
    CATALOG_KEY, IMPORTS, NEXT_NUMBER, chunk_key, import_key, number_key, product_key,
    zone_state_key,
};

/// Most chunks of an import.
const MAX_CHUNKS: u32 = MAX_IMPORT_ROWS.div_ceil(ROWS_IN_A_CHUNK);
/// Imports that are remembered, staged or done: the oldest goes for one more.
const MOST_IMPORTS: usize = 20;

/// See the module.
pub struct Catalog {
    /// Products and zones are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
}

#[restate_sdk::object(name = "Catalog", lazy_state)]
impl Catalog {
    /// Makes a product, changes it, archives or restores it. What is so already stays.
    #[handler(name = "ChangeProduct")]
    async fn change_product(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<ChangeProduct>>,
    ) -> HandlerResult<Json<Answered<CatalogProduct>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::CHANGE_PRODUCT)?;
        let ChangeProduct { sku, change, at } = what;
        let begun = Write::begin(&ctx).await?;
        let known = product(&ctx, &sku).await?;
        let Begun::New(write) = begun else {
            let known = known.ok_or_else(|| refuse(Refusal::UnknownProduct { sku }))?;
            return Ok(Json(Answered::again(known)));
        };
        let is_new = known.is_none() && matches!(change, ProductChange::Create { .. });
        let next = if is_new { next_number(&ctx).await? } else { 0 };
        let changed = change
            .to(&sku, Known(known.as_ref()), next, &by.who, at)
            .map_err(refuse)?;
        write.keep(&ctx);
        let Some(changed) = changed.or(known.clone()) else {
            return Err(refuse(Refusal::UnknownProduct { sku }));
        };
        if known.as_ref() != Some(&changed) {
            for entry in AuditEntry::of_product(known.as_ref(), &changed, &by) {
                audit_log::hand_over(&ctx, entry);
            }
            if is_new {
                self.number(&ctx, &changed);
                begin_stock(&ctx, &changed);
            }
            self.keep(&ctx, &changed);
        }
        Ok(Json(Answered::now(changed)))
    }

    /// Makes a zone, changes it, archives or restores it. What is so already stays.
    #[handler(name = "ChangeZone")]
    async fn change_zone(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<ChangeZone>>,
    ) -> HandlerResult<Json<Answered<CatalogZone>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::CHANGE_ZONE)?;
        let ChangeZone { name, change, at } = what;
        let begun = Write::begin(&ctx).await?;
        let known: Option<CatalogZone> = ctx.read(&zone_state_key(&zone_key(name.trim()))).await?;
        let unknown = || refuse(Refusal::UnknownZone { zone: name.clone() });
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(known.ok_or_else(unknown)?)));
        };
        let changed = change.to(&name, Known(known.as_ref()), &by.who, at);
        let changed = changed.map_err(refuse)?;
        write.keep(&ctx);
        if let Some(changed) = &changed {
            audit_log::hand_over(&ctx, AuditEntry::of_zone(known.as_ref(), changed, by));
            self.keep_zone(&ctx, changed);
        }
        let zone = changed.or(known).ok_or_else(unknown)?;
        Ok(Json(Answered::now(zone)))
    }

    /// Takes over what a gateway knows from its own file: the demo's catalog, and that of
    /// an older version. What is known here stays as it is; a number that is another
    /// product's is given anew.
    #[handler(name = "Adopt")]
    async fn adopt(
        &self,
        ctx: ObjectContext<'_>,
        known: Signed<Adopt>,
    ) -> HandlerResult<Json<Adopted>> {
        let Adopt { products, zones } = known.open(&ctx, &self.doors, wire::ADOPT)?;
        let most = ROWS_IN_A_CHUNK as usize;
        if products.len() > most || zones.len() > most {
            return Err(refuse(Refusal::invalid(
                "products",
                format!("at most {ROWS_IN_A_CHUNK} products and zones are taken over at a time"),
            )));
        }
        let mut adopted = Adopted::default();
        let mut fresh = Vec::new();
        let mut next = next_number(&ctx).await?;
        for theirs in products {
            if let Some(product) = product(&ctx, &theirs.sku).await? {
                adopted.products.push(product);
                continue;
            }
            if fresh.iter().any(|it: &CatalogProduct| it.sku == theirs.sku) {
                continue;
            }
            let is_free = theirs.number > 0
                && !fresh.iter().any(|it| it.number == theirs.number)
                && match ctx.read::<Sku>(&number_key(theirs.number)).await? {
                    None => true,
                    Some(owner) => owner == theirs.sku,
                };
            let number = if is_free { theirs.number } else { next };
            next = next.max(number + 1);
            let version = theirs.version.max(1);
            fresh.push(CatalogProduct {
                version,
                number,
                ..theirs
            });
        }
        let mut opened: Vec<CatalogZone> = Vec::new();
        for theirs in zones {
            match ctx
                .read::<CatalogZone>(&zone_state_key(&theirs.key()))
                .await?
            {
                Some(zone) => adopted.zones.push(zone),
                None if opened.iter().any(|it| it.key() == theirs.key()) => {}
                None => opened.push(CatalogZone {
                    version: theirs.version.max(1),
                    ..theirs
                }),
            }
        }
        // No await from here on.
        for product in fresh {
            self.number(&ctx, &product);
            begin_stock(&ctx, &product);
            self.keep(&ctx, &product);
            adopted.products.push(product);
        }
        ctx.set(NEXT_NUMBER, next);
        for zone in opened {
            self.keep_zone(&ctx, &zone);
            adopted.zones.push(zone);
        }
        Ok(Json(adopted))
    }

    /// Keeps some rows of an import that has not begun: they are nothing yet.
    #[handler(name = "Stage")]
    async fn stage(
        &self,
        ctx: ObjectContext<'_>,
        staged: Signed<StageRows>,
    ) -> HandlerResult<Json<()>> {
        let StageRows {
            import,
            chunk,
            rows,
        } = staged.open(&ctx, &self.doors, wire::STAGE)?;
        if chunk >= MAX_CHUNKS || rows.is_empty() || rows.len() > ROWS_IN_A_CHUNK as usize {
            return Err(refuse(Refusal::invalid(
                "rows",
                format!(
                    "an import has at most {MAX_IMPORT_ROWS} rows, {ROWS_IN_A_CHUNK} in a chunk"
                ),
            )));
        }
        if ctx.read::<Import>(&import_key(&import)).await?.is_some() {
            return Ok(Json(()));
        }
        let imports: Vec<Digest> = ctx.read(IMPORTS).await?.unwrap_or_default();
        if chunk == 0 && !imports.contains(&import) {
            remember(&ctx, imports, &import).await?;
        }
        ctx.set(&chunk_key(&import, chunk), Json(rows));
        Ok(Json(()))
    }

    /// Begins an import whose chunks are all here. From here on it is written to its end.
    #[handler(name = "Import")]
    async fn import(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<StartImport>>,
    ) -> HandlerResult<Json<Import>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::IMPORT)?;
        let StartImport { import, chunks, at } = what;
        if let Some(begun) = ctx.read::<Import>(&import_key(&import)).await? {
            return Ok(Json(begun));
        }
        for chunk in 0..chunks.min(MAX_CHUNKS) {
            let rows = ctx
                .read::<Vec<ImportRow>>(&chunk_key(&import, chunk))
                .await?;
            // What cannot be written is refused before anything is.
            for row in rows.ok_or_else(|| refuse(Refusal::ImportLost))? {
                row.to(None, 0, &by.who, at).map_err(refuse)?;
            }
        }
        if chunks == 0 || chunks > MAX_CHUNKS {
            return Err(refuse(Refusal::ImportLost));
        }
        let begun = Import {
            chunks,
            written: 0,
            done: waybill_domain::catalog::ImportDone::default(),
            by,
            at,
        };
        ctx.set(&import_key(&import), Json(begun.clone()));
        go_on(&ctx, import, 0);
        Ok(Json(begun))
    }

    /// Writes a chunk of an import, and sends the next.
    #[handler(name = "ContinueImport", ingress_private = true)]
    async fn continue_import(
        &self,
        ctx: ObjectContext<'_>,
        Json(next): Json<ContinueImport>,
    ) -> HandlerResult<()> {
        let ContinueImport { import, chunk } = next;
        let Some(mut begun) = ctx.read::<Import>(&import_key(&import)).await? else {
            return Ok(());
        };
        if begun.written != chunk {
            return Ok(());
        }
        let staged = chunk_key(&import, chunk);
        let rows = ctx
            .read::<Vec<ImportRow>>(&staged)
            .await?
            .unwrap_or_default();
        let mut number = next_number(&ctx).await?;
        let (mut fresh, mut changed) = (Vec::new(), Vec::new());
        for row in rows {
            let known = product(&ctx, &row.sku).await?;
            // Each row was tried before the import began.
            let outcome = row.to(known.as_ref(), number, &begun.by.who, begun.at);
            let outcome = outcome.map_err(refuse)?;
            begun.done.count(&outcome);
            match outcome {
                Outcome::Added(product) => {
                    number += 1;
                    fresh.push(product);
                }
                Outcome::Changed(product) => changed.push((known, product)),
                Outcome::Unchanged => {}
            }
        }
        // No await from here on: all of the chunk is written or none.
        for product in &fresh {
            self.number(&ctx, product);
            begin_stock(&ctx, product);
            self.keep(&ctx, product);
        }
        for (known, product) in &changed {
            for entry in AuditEntry::of_product(known.as_ref(), product, &begun.by) {
                audit_log::hand_over(&ctx, entry);
            }
            self.keep(&ctx, product);
        }
        begun.written += 1;
        ctx.clear(&staged);
        ctx.set(&import_key(&import), Json(begun.clone()));
        if begun.is_over() {
            audit_log::hand_over(&ctx, AuditEntry::imported(&begun, import.as_str()));
        } else {
            go_on(&ctx, import, chunk + 1);
        }
        Ok(())
    }

    /// How far an import is, if it has begun.
    #[handler(name = "Progress")]
    async fn progress(
        &self,
        ctx: SharedObjectContext<'_>,
        import: Signed<Digest>,
    ) -> HandlerResult<Json<Option<Import>>> {
        let import = import.open(&ctx, &self.doors, wire::PROGRESS)?;
        Ok(Json(ctx.read(&import_key(&import)).await?))
    }
}

impl Catalog {
    fn keep(&self, ctx: &ObjectContext<'_>, product: &CatalogProduct) {
        ctx.set(&product_key(&product.sku), Json(product.clone()));
        self.updates
            .publish(&Update::Product(Box::new(product.clone())));
    }

    fn keep_zone(&self, ctx: &ObjectContext<'_>, zone: &CatalogZone) {
        ctx.set(&zone_state_key(&zone.key()), Json(zone.clone()));
        self.updates.publish(&Update::Zone(zone.clone()));
    }

    /// The number of a product that is new is nobody else's any more.
    #[expect(clippy::unused_self, reason = "beside `keep`, which goes with it")]
    fn number(&self, ctx: &ObjectContext<'_>, product: &CatalogProduct) {
        ctx.set(&number_key(product.number), Json(product.sku.clone()));
        ctx.set(NEXT_NUMBER, product.number + 1);
    }
}

async fn product(ctx: &ObjectContext<'_>, sku: &Sku) -> HandlerResult<Option<CatalogProduct>> {
    Ok(ctx.read(&product_key(sku)).await?)
}

/// The number that no product has had.
async fn next_number(ctx: &ObjectContext<'_>) -> HandlerResult<i64> {
    Ok(ctx.read(NEXT_NUMBER).await?.unwrap_or(1))
}

/// Inventory is told at once with how many pieces a product begins: it can be sold in the
/// next moment, whichever gateway is away.
fn begin_stock(ctx: &ObjectContext<'_>, product: &CatalogProduct) {
    ctx.object_client::<InventoryClient>(product.sku.as_str())
        .begin(Json(InitialStock {
            quantity: product.initial_stock,
        }))
        .send();
}

/// Remembers an import, and forgets what is left of the oldest. One that is being written
/// is to end first.
async fn remember(
    ctx: &ObjectContext<'_>,
    mut imports: Vec<Digest>,
    import: &Digest,
) -> HandlerResult<()> {
    imports.push(import.clone());
    if imports.len() > MOST_IMPORTS {
        let oldest = imports.remove(0);
        match ctx.read::<Import>(&import_key(&oldest)).await? {
            Some(begun) if !begun.is_over() => imports.push(oldest),
            Some(_) => ctx.clear(&import_key(&oldest)),
            None => {
                for chunk in 0..MAX_CHUNKS {
                    ctx.clear(&chunk_key(&oldest, chunk));
                }
            }
        }
    }
    ctx.set(IMPORTS, Json(imports));
    Ok(())
}

fn go_on(ctx: &ObjectContext<'_>, import: Digest, chunk: u32) {
    ctx.object_client::<CatalogClient>(CATALOG_KEY)
        .continue_import(Json(ContinueImport { import, chunk }))
        .send();
}
