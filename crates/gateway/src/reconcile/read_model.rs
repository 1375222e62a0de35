//! Compares the read model with Restate. What it should say is found by writing what
//! Restate holds into an empty database with the projector itself, so that
//! there is one place only that knows how rows are made.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::SqliteConnection;
use waybill_domain::ids::{OrderId, Sku, Username};
use waybill_domain::update::Update;

use super::difference::{About, Difference, Repair, Side};
use super::ledger::ArchivedOrders;
use super::snapshot::{self, RestateSnapshot};
use crate::restate::admin::AdminApi;
use crate::storage::db::{Db, to_i64};
use crate::storage::read_model::{self, write_update};
use crate::storage::rows::{
    self, AFTER_SALES, OF_ACCOUNTS, OF_AFTER_SALES, OF_ORDERS, OF_PRODUCTS, OF_STOCK, OF_USERS,
    OF_ZONES, ORDERS, Rows, Shown, Table, USERS,
};
use crate::storage::{accounts, catalog as storage};

/// Orders whose rows are compared together.
const CHUNK: usize = 500;
/// How long the projector may take.
const SHOWN_WITHIN: Duration = Duration::from_millis(300);
/// Longest value that is said in full.
const LONGEST_VALUE: usize = 240;

/// The records of these orders, as the read model has them.
pub(super) async fn records(db: &Db, shown: &[Shown]) -> anyhow::Result<ArchivedOrders> {
    let mut kept = ArchivedOrders::new();
    for chunk in shown.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(|it| it.order_id.as_str()).collect();
        let records = rows::records(db, &ids).await?;
        kept.extend(
            records
                .into_iter()
                .map(|record| (record.order_id.clone(), record)),
        );
    }
    Ok(kept)
}

/// Open orders that Restate does not hold: those whose workflow was purged are
/// undone from here, the others never were.
pub(super) async fn lost(
    db: &Db,
    shown: Vec<Shown>,
    held: &RestateSnapshot,
) -> anyhow::Result<Vec<Difference>> {
    let mut records = records(db, &shown).await?;
    let lost = shown
        .into_iter()
        .filter(|it| !held.is_worked_on(&it.order_id));
    let differences = lost.map(|it| {
        let (side, kind, words, repair) = match records.remove(&it.order_id) {
            Some(record) if held.was_handed_over(&it.order_id) => (
                Side::Restate,
                "purged",
                "its workflow is gone",
                Repair::TakeBack(Box::new(record)),
            ),
            _ => (
                Side::ReadModel,
                "invented",
                "Restate holds no such order",
                Repair::Forget(it.order_id.clone()),
            ),
        };
        Difference {
            side,
            about: About::Order(it.order_id.to_string()),
            kind: kind.to_owned(),
            words: format!("is shown as {}, but {words}", it.status),
            repair: Some(repair),
        }
    });
    Ok(differences.collect())
}

/// Every row that is missing, too much, or not as it should be.
pub(super) async fn differences(
    db: &Db,
    admin_api: &AdminApi,
    held: &RestateSnapshot,
) -> anyhow::Result<Vec<Difference>> {
    let mut scratch = Db::scratch().await?;
    let mut differences = Vec::new();
    let orders: Vec<_> = held.orders.keys().collect();
    for chunk in orders.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(ToString::to_string).collect();
        let updates: Vec<_> = chunk
            .iter()
            .flat_map(|order| updates_of(held, order))
            .collect();
        let expected = expected(&mut scratch, &OF_ORDERS, &ids, &updates).await?;
        let found = rows::in_one_moment(db, &OF_ORDERS, &ids).await?;
        let has_moved_on = |of: &str| {
            let address = (of.to_owned(), ORDERS, String::new());
            held.is_outrun(of, found.get(&address).map(version))
        };
        let compared = compare(&expected, &found, |order| About::Order(order.to_owned()));
        differences.extend(
            compared
                .into_iter()
                .filter(|it| !matches!(&it.about, About::Order(of) if has_moved_on(of))),
        );
    }
    differences.extend(after_forgotten_orders(db, &mut scratch, held).await?);
    let skus: Vec<_> = held.levels.keys().map(Sku::to_string).collect();
    let updates: Vec<_> = held.levels.values().cloned().map(Update::Stock).collect();
    let mut should = expected(&mut scratch, &OF_STOCK, &skus, &updates).await?;
    let mut found = rows::in_one_moment(db, &OF_STOCK, &skus).await?;
    // A product's stock is written by a trigger: it belongs to the level.
    let stock_alone = |cells: &Map<String, Value>| {
        Map::from_iter([("stock_qty".to_owned(), cells["stock_qty"].clone())])
    };
    for (address, cells) in rows::in_one_moment(db, &OF_PRODUCTS, &skus).await? {
        let sku = Sku::parse(&address.0)?;
        let level = &held.levels[&sku];
        let cells_due = Map::from_iter([("stock_qty".to_owned(), Value::from(level.available))]);
        should.insert(address.clone(), cells_due);
        found.insert(address, stock_alone(&cells));
    }
    let of_stock = |sku: &str| match Sku::parse(sku) {
        Ok(sku) => About::Stock(sku),
        Err(_) => About::Order(sku.to_owned()),
    };
    let compared = compare(&should, &found, of_stock);
    if !compared.is_empty() {
        let outrun = levels_outrun(db, admin_api, held).await?;
        let stands =
            |it: &Difference| !matches!(&it.about, About::Stock(of) if outrun.contains(of));
        differences.extend(compared.into_iter().filter(stands));
    }
    let users: Vec<_> = held.marks.keys().map(ToString::to_string).collect();
    let updates: Vec<_> = held.marks.values().cloned().map(Update::Read).collect();
    let should = expected(&mut scratch, &OF_USERS, &users, &updates).await?;
    let found = rows::in_one_moment(db, &OF_USERS, &users).await?;
    differences.extend(compare(&should, &found, |user| {
        Username::parse(user).map_or_else(|_| About::Order(user.to_owned()), About::User)
    }));
    differences.extend(people(db, &mut scratch, held).await?);
    differences.extend(catalog(db, &mut scratch, held).await?);
    if !held.is_partial {
        differences.extend(lost_by_restate(db, held).await?);
    }
    Ok(differences)
}

/// People, products and zones that Restate has told of once and does not hold: nothing
/// takes them away there, so its data was lost.
async fn lost_by_restate(db: &Db, held: &RestateSnapshot) -> sqlx::Result<Option<Difference>> {
    let is_user = |name: &String| held.accounts.keys().any(|it| it.as_str() == name);
    let is_product = |name: &String| held.products.keys().any(|it| it.as_str() == name);
    let is_zone = |name: &String| held.zones.keys().any(|it| it == name);
    let users = accounts::told(db).await?;
    let users = users.iter().filter(|it| !is_user(it)).count();
    let products = storage::told_products(db).await?;
    let products = products.iter().filter(|it| !is_product(it)).count();
    let zones = storage::told_zones(db).await?;
    let zones = zones.iter().filter(|it| !is_zone(it)).count();
    let lost = users + products + zones;
    Ok((lost > 0).then(|| Difference {
        side: Side::ReadModel,
        about: About::Shop,
        kind: "lost by Restate".to_owned(),
        words: format!(
            "knows {users} users, {products} products and {zones} zones that Restate does not hold: stop it, run `gateway rebuild --keep-ended`, and start it, so that it tells them anew"
        ),
        repair: None,
    }))
}

/// What Restate still holds of what came after the delivery of orders that it has
/// forgotten: of them nothing else can be compared.
async fn after_forgotten_orders(
    db: &Db,
    scratch: &mut SqliteConnection,
    held: &RestateSnapshot,
) -> anyhow::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let forgotten = held.after.keys().filter(|order| held.is_forgotten(order));
    let forgotten: Vec<_> = forgotten.collect();
    for chunk in forgotten.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(ToString::to_string).collect();
        let updates = chunk.iter().flat_map(|order| updates_of(held, order));
        let updates: Vec<_> = updates.collect();
        let mut should = expected(scratch, &OF_AFTER_SALES, &ids, &updates).await?;
        let mut found = rows::in_one_moment(db, &OF_AFTER_SALES, &ids).await?;
        // What has moved on since Restate was asked is no difference.
        let is_outrun = |address: &rows::Address| {
            let whole = (address.0.clone(), AFTER_SALES, String::new());
            let [shown, due] = [&found, &should].map(|rows| rows.get(&whole).map(version));
            shown > due
        };
        let outrun: BTreeSet<_> = found
            .keys()
            .filter(|address| is_outrun(address))
            .cloned()
            .collect();
        should.retain(|address, _| !outrun.contains(address));
        found.retain(|address, _| !outrun.contains(address));
        differences.extend(compare(&should, &found, |order| {
            About::Order(order.to_owned())
        }));
    }
    Ok(differences)
}

/// What is sold, where it can be shipped, and is not here as Restate holds it. What has
/// moved on since it was asked is no difference.
async fn catalog(
    db: &Db,
    scratch: &mut SqliteConnection,
    held: &RestateSnapshot,
) -> anyhow::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let skus: Vec<_> = held.products.keys().collect();
    for chunk in skus.chunks(CHUNK) {
        let owners: Vec<_> = chunk.iter().map(ToString::to_string).collect();
        let updates = chunk.iter().filter_map(|sku| product_of(held, sku));
        let updates: Vec<_> = updates.collect();
        let mut should = expected(scratch, &OF_PRODUCTS, &owners, &updates).await?;
        let mut found = rows::in_one_moment(db, &OF_PRODUCTS, &owners).await?;
        // How many there are is said of the level.
        for cells in should.values_mut().chain(found.values_mut()) {
            cells.remove("stock_qty");
        }
        let is_newer = newer_than(&found, &should);
        should.retain(|address, _| !is_newer.contains(address));
        found.retain(|address, _| !is_newer.contains(address));
        let about = |sku: &str| {
            Sku::parse(sku).map_or_else(|_| About::Order(sku.to_owned()), About::Product)
        };
        differences.extend(compare(&should, &found, about));
    }
    let names: Vec<_> = held.zones.keys().cloned().collect();
    let updates: Vec<_> = held.zones.values().cloned().map(Update::Zone).collect();
    let mut should = expected(scratch, &OF_ZONES, &names, &updates).await?;
    let mut found = rows::in_one_moment(db, &OF_ZONES, &names).await?;
    let is_newer = newer_than(&found, &should);
    should.retain(|address, _| !is_newer.contains(address));
    found.retain(|address, _| !is_newer.contains(address));
    let about = |zone: &str| About::Zone(zone.to_owned());
    differences.extend(compare(&should, &found, about));
    Ok(differences)
}

/// Rows that are here with a later version than they should be.
fn newer_than(found: &Rows, should: &Rows) -> BTreeSet<rows::Address> {
    let newer = found.iter().filter(|(address, cells)| {
        let due = should.get(*address);
        due.is_some_and(|due| version(cells) > version(due))
    });
    newer.map(|(address, _)| address.clone()).collect()
}

fn product_of(held: &RestateSnapshot, sku: &Sku) -> Option<Update> {
    let product = held.products.get(sku)?;
    Some(Update::Product(Box::new(product.clone())))
}

/// Whoever is not here as Restate holds them. Who has moved on since it was asked is
/// no difference.
async fn people(
    db: &Db,
    scratch: &mut SqliteConnection,
    held: &RestateSnapshot,
) -> anyhow::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (user, account) in &held.accounts {
        let (owner, update) = ([user.to_string()], account_of(held, user));
        let should = expected(scratch, &OF_ACCOUNTS, &owner, &update).await?;
        let found = rows::in_one_moment(db, &OF_ACCOUNTS, &owner).await?;
        let address = (user.to_string(), USERS, String::new());
        let shown = found.get(&address).map(version);
        if shown.is_some_and(|shown| shown > to_i64(account.version)) {
            continue;
        }
        differences.extend(compare(&should, &found, |_| About::User(user.clone())));
    }
    Ok(differences)
}

fn account_of(held: &RestateSnapshot, user: &Username) -> Vec<Update> {
    let account = held.accounts.get(user).cloned();
    Vec::from_iter(account.map(|account| Update::Account(Box::new(account))))
}

/// What Restate holds of an order, as the services would say it.
fn updates_of(held: &RestateSnapshot, order: &OrderId) -> Vec<Update> {
    let record = held
        .orders
        .get(order)
        .map(|it| Update::Order(Box::new(it.clone())));
    let late = held.late.get(order).cloned().map(Update::Late);
    let after = held.after.get(order).cloned();
    let after = after.map(|it| Update::AfterSales(Box::new(it)));
    record.into_iter().chain(after).chain(late).collect()
}

/// Products whose level has moved on since Restate was asked: it changes with
/// every sale, and what it was is no difference. One that is shown with a version
/// which Restate has not reached is.
async fn levels_outrun(
    db: &Db,
    admin_api: &AdminApi,
    held: &RestateSnapshot,
) -> anyhow::Result<BTreeSet<Sku>> {
    // What Restate held is shown by now, unless it never will be.
    tokio::time::sleep(SHOWN_WITHIN).await;
    let shown = rows::stock_versions(db).await?;
    let newer: Vec<_> = shown
        .into_iter()
        .filter_map(|(sku, version)| Some((Sku::parse(&sku).ok()?, u64::try_from(version).ok()?)))
        .filter(|(sku, shown)| held.levels.get(sku).is_some_and(|it| it.version < *shown))
        .collect();
    if newer.is_empty() {
        return Ok(BTreeSet::new());
    }
    let now = snapshot::levels(admin_api).await?;
    let is_real = |sku: &Sku, shown: u64| now.get(sku).is_some_and(|it| it.version >= shown);
    let outrun = newer
        .into_iter()
        .filter(|(sku, shown)| is_real(sku, *shown));
    Ok(outrun.map(|(sku, _)| sku).collect())
}

/// Writes what Restate holds over what is there. What has moved on since
/// Restate was asked is left alone.
pub(super) async fn rewrite(
    db: &Db,
    admin_api: &AdminApi,
    held: &RestateSnapshot,
    about: &About,
) -> anyhow::Result<()> {
    let updates = match about {
        About::Order(id) => updates_of(held, &OrderId::parse(id)?),
        About::Stock(sku) => Vec::from_iter(held.levels.get(sku).cloned().map(Update::Stock)),
        About::User(user) => {
            let mark = held.marks.get(user).cloned().map(Update::Read);
            mark.into_iter().chain(account_of(held, user)).collect()
        }
        About::Product(sku) => Vec::from_iter(product_of(held, sku)),
        About::Zone(zone) => Vec::from_iter(held.zones.get(zone).cloned().map(Update::Zone)),
        About::Shop => Vec::new(),
    };
    if let About::Stock(sku) = about
        && levels_outrun(db, admin_api, held).await?.contains(sku)
    {
        return Ok(());
    }
    let mut transaction = db.begin().await?;
    match about {
        About::Order(id) => {
            let shown = read_model::order_version(&mut transaction, id).await?;
            if held.is_outrun(id, shown) {
                return Ok(());
            }
            let order = OrderId::parse(id)?;
            if held.after.contains_key(&order) && held.is_forgotten(&order) {
                // Only Restate has forgotten the rest.
                read_model::forget_after_sales(&mut transaction, id).await?;
            } else {
                read_model::forget_order(&mut transaction, id).await?;
            }
        }
        About::Stock(sku) => read_model::forget_stock(&mut transaction, sku).await?,
        About::User(user) => {
            read_model::forget_read_mark(&mut transaction, user).await?;
            accounts::distrust(&mut transaction, user, held.accounts.get(user)).await?;
        }
        About::Product(sku) => {
            let held = held.products.get(sku).map_or(0, |held| held.version);
            storage::distrust_product(&mut transaction, sku, held).await?;
        }
        About::Zone(zone) => {
            let held = held.zones.get(zone).map_or(0, |held| held.version);
            storage::distrust_zone(&mut transaction, zone, held).await?;
        }
        About::Shop => {}
    }
    for update in &updates {
        write_update(&mut transaction, update).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Writes what Restate holds of these orders, if it is news.
pub(super) async fn catch_up(
    db: &Db,
    held: &RestateSnapshot,
    orders: &BTreeSet<OrderId>,
) -> anyhow::Result<()> {
    let mut transaction = db.begin().await?;
    for update in orders.iter().flat_map(|order| updates_of(held, order)) {
        write_update(&mut transaction, &update).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The rows that the projector makes of `updates`.
async fn expected(
    scratch: &mut SqliteConnection,
    tables: &'static [Table],
    owners: &[String],
    updates: &[Update],
) -> anyhow::Result<Rows> {
    use sqlx::Connection as _;
    let mut transaction = scratch.begin().await?;
    for update in updates {
        write_update(&mut transaction, update).await?;
    }
    let rows = rows::rows(&mut transaction, tables, owners).await?;
    transaction.rollback().await?;
    Ok(rows)
}

fn compare(should: &Rows, found: &Rows, about: impl Fn(&str) -> About) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut said_whole = BTreeSet::new();
    let addresses: BTreeSet<_> = should.keys().chain(found.keys()).collect();
    // An order that is missing or old says so once, not for each of its rows.
    for (of, table, row) in should.keys().filter(|address| address.1 == ORDERS) {
        let address = (of.clone(), *table, row.clone());
        if let Some(words) = whole(&should[&address], found.get(&address)) {
            said_whole.insert(of.as_str());
            differences.push(difference(about(of), ORDERS.to_owned(), words));
        }
    }
    for address in addresses {
        let (of, table, row) = address;
        if said_whole.contains(of.as_str()) {
            continue;
        }
        let what = if row.is_empty() {
            (*table).to_owned()
        } else {
            format!("{table} {row}")
        };
        let words = match (should.get(address), found.get(address)) {
            (Some(should), Some(found)) if should == found => continue,
            (Some(should), Some(found)) => format!("{what}: {}", in_cells(should, found)),
            (Some(should), None) => format!(
                "{what} is missing: {}",
                shortened(&Value::Object(should.clone()))
            ),
            (None, Some(found)) => format!(
                "{what} should not be there: {}",
                shortened(&Value::Object(found.clone()))
            ),
            (None, None) => continue,
        };
        differences.push(difference(about(of), what, words));
    }
    differences
}

fn difference(about: About, kind: String, words: String) -> Difference {
    Difference {
        side: Side::ReadModel,
        about,
        kind,
        words,
        repair: Some(Repair::Rewrite),
    }
}

fn version(order: &Map<String, Value>) -> i64 {
    order["version"].as_i64().unwrap_or_default()
}

/// What is wrong with an order as a whole.
fn whole(should: &Map<String, Value>, found: Option<&Map<String, Value>>) -> Option<String> {
    let said = |cells: &Map<String, Value>| {
        let status = cells["status"].as_str().unwrap_or_default();
        format!("{status} (version {})", version(cells))
    };
    match found {
        None => Some(format!("is missing; Restate holds it as {}", said(should))),
        Some(found) if version(found) < version(should) => Some(format!(
            "is stale: shown as {}, Restate holds {}",
            said(found),
            said(should)
        )),
        Some(_) => None,
    }
}

/// The cells that differ, with both values.
fn in_cells(should: &Map<String, Value>, found: &Map<String, Value>) -> String {
    let differs = |cells: &Map<String, Value>, key: &str| cells.get(key) != should.get(key);
    let words = should
        .iter()
        .filter(|(key, _)| differs(found, key))
        .map(|(key, due)| {
            let (due, has) = inner(due, &found[key]);
            format!(
                "{key} is {}, Restate holds {}",
                shortened(&has),
                shortened(&due)
            )
        });
    words.collect::<Vec<_>>().join("; ")
}

/// Of two records, only the fields that differ.
fn inner(due: &Value, has: &Value) -> (Value, Value) {
    let parsed = |value: &Value| {
        value
            .as_str()
            .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
    };
    match (parsed(due), parsed(has)) {
        (Some(mut due), Some(mut has)) => {
            let same: Vec<_> = due
                .iter()
                .filter(|(key, value)| has.get(*key) == Some(*value))
                .map(|(key, _)| key.clone())
                .collect();
            for key in same {
                due.remove(&key);
                has.remove(&key);
            }
            (Value::Object(due), Value::Object(has))
        }
        _ => (due.clone(), has.clone()),
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
