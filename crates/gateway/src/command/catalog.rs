//! What `gateway catalog …` does: the catalog as a file, in and out. It asks Restate, which
//! tells every gateway that serves; none has to run for it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use futures::TryStreamExt as _;
use process::say;
use waybill_domain::audit::{By, OPERATOR};
use waybill_domain::catalog::{CatalogProduct, ImportDone};
use waybill_domain::stock::StockLevel;

use super::{ingress, said};
use crate::clock;
use crate::restate::admin::{AdminApi, StateRow};
use crate::restate::states::{catalog_sql, levels_sql};
use crate::settings::Settings;
use crate::shop::catalog;
use crate::shop::catalog_file::{self, FilePlan};

/// How often it is looked how far an import is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often that is said.
const SAY_EVERY: u32 = 8;

/// `gateway catalog …`
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Make and change products by a CSV file: sku, name, price, and if you like
    /// description, category, stock (of new products), archived (yes or no). With any
    /// mistake in it nothing is done; without, all of it is, whatever dies meanwhile.
    Import {
        /// The file, in UTF-8, with commas or semicolons; - is the standard input.
        file: PathBuf,
        /// Only say what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Write every product as a CSV file that can be imported again.
    Export {
        /// The file; without it, the standard output.
        file: Option<PathBuf>,
    },
}

/// Runs a command about the catalog.
///
/// # Errors
/// A sentence for the operator; for a file with mistakes, one line for each.
pub async fn run(settings: &Settings, command: CatalogCommand) -> anyhow::Result<()> {
    match command {
        CatalogCommand::Import { file, dry_run } => import(settings, &file, dry_run).await,
        CatalogCommand::Export { file } => export(settings, file.as_deref()).await,
    }
}

async fn import(settings: &Settings, file: &Path, is_dry_run: bool) -> anyhow::Result<()> {
    let bytes = read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let known = held(settings).await?;
    let plan = catalog_file::plan(&bytes, &known, OPERATOR, clock::now());
    let plan = plan.map_err(|mistakes| anyhow!("{}", mistakes.in_lines()))?;
    if is_dry_run {
        return say_plan(&plan);
    }
    let ingress = ingress(settings)?;
    let begun = catalog::import(&ingress, By::operator(), &plan.rows).await;
    let import = begun.map_err(said)?;
    let (mut looks, all) = (0_u32, plan.rows.len());
    loop {
        let progress = catalog::import_progress(&ingress, import.clone()).await;
        match progress {
            Ok(Some(progress)) if progress.is_over() => {
                return say(&format!("Imported: {}", counted(progress.done)));
            }
            Ok(Some(progress)) if looks.is_multiple_of(SAY_EVERY) => {
                say(&format!("{} of {all} products", progress.done.rows()))?;
            }
            // It goes on without us.
            Err(problem) if looks.is_multiple_of(SAY_EVERY) => {
                say(&format!("{}: the import goes on", problem.detail))?;
            }
            Ok(_) | Err(_) => {}
        }
        looks += 1;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    // One more than may be, so that too much is seen.
    let most = catalog_file::MAX_FILE as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn say_plan(plan: &FilePlan) -> anyhow::Result<()> {
    for change in &plan.changes {
        say(&format!(
            "line {}: {}: {}",
            change.line, change.sku, change.detail
        ))?;
    }
    if plan.total > plan.changes.len() {
        say(&format!("and {} more", plan.total - plan.changes.len()))?;
    }
    say(&format!("Would be: {}", counted(plan.done)))
}

fn counted(done: ImportDone) -> String {
    let ImportDone {
        added,
        changed,
        unchanged,
    } = done;
    format!("{added} new, {changed} changed, {unchanged} as they were")
}

/// Every product, as Restate holds it.
async fn held(settings: &Settings) -> anyhow::Result<Vec<CatalogProduct>> {
    let admin_api = AdminApi::new(settings.restate_admin(), reqwest::Client::new());
    let rows: Vec<StateRow> = admin_api.query_rows(catalog_sql()).try_collect().await?;
    let products = rows.iter().filter(|row| row.is_product());
    let products: Result<Vec<CatalogProduct>, _> = products
        .map(|row| serde_json::from_str(&row.value))
        .collect();
    let mut products = products.context("Restate holds a product that cannot be read")?;
    products.sort_by_key(|product| product.number);
    Ok(products)
}

async fn export(settings: &Settings, file: Option<&Path>) -> anyhow::Result<()> {
    let products = held(settings).await?;
    let admin_api = AdminApi::new(settings.restate_admin(), reqwest::Client::new());
    let rows: Vec<StateRow> = admin_api.query_rows(levels_sql()).try_collect().await?;
    let levels = rows
        .iter()
        .filter_map(|row| serde_json::from_str::<StockLevel>(&row.value).ok());
    let levels: HashMap<_, _> = levels.map(|level| (level.sku, level.available)).collect();
    let with_stock = products.into_iter().map(|product| {
        let stock = levels.get(&product.sku).copied();
        let stock = stock.unwrap_or_else(|| product.initial_stock.into());
        (product, i64::try_from(stock).unwrap_or(i64::MAX))
    });
    let with_stock: Vec<_> = with_stock.collect();
    let bytes = catalog_file::write(&with_stock)?;
    match file {
        None => io::stdout().lock().write_all(&bytes)?,
        Some(file) => {
            std::fs::write(file, bytes)
                .with_context(|| format!("{} cannot be written", file.display()))?;
            let (count, file) = (with_stock.len(), file.display());
            say(&format!("{count} products are in {file}"))?;
        }
    }
    Ok(())
}
