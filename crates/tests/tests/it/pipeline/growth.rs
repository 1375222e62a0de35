//! What grows with the shop: lists, search, feed, dashboard and start over an SQLite
//! file of many delivered orders; catch-up and rebuild over as many in Restate; a
//! product with many reservations and a customer with many orders.
//!
//! The orders are copies of one that was really delivered, with ids, customers, times
//! and search words of their own. In SQLite they are written by the gateway's schema
//! (its triggers), in Restate by its admin API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::json;
use services::wire::{
    INVENTORY, LEVEL, MARKER, ORDER_FULFILLMENT_WORKFLOW, RECORD, RESERVATION, USER_SESSION,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use waybill_domain::Timestamp;

use crate::shop::{self, Shop};
use crate::world::{Component, eventually};
use crate::{Report, resident_mb};

/// Samples of each figure.
const SAMPLES: usize = 9;
/// Customers, each with the same share of the orders.
const CUSTOMERS: usize = 5_000;
/// Longest that another program's write goes unnoticed by the gateway.
const NOTICED: Duration = Duration::from_millis(300);
/// Longest that the file of all orders may take.
const FILE_WITHIN: Duration = Duration::from_mins(10);
/// More orders than that are not put into Restate: each is a request.
const MOST_IN_RESTATE: usize = 100_000;
/// Reservations of one product, and orders of one customer, few and many.
const FEW_AND_MANY: [usize; 2] = [10, 10_000];

/// What is asked of the gateway: what it is called, by whom, where.
const QUESTIONS: [(&str, &str, &str); 6] = [
    ("first page of orders", "admin", "/api/orders"),
    ("a common word", "admin", "/api/orders?q=lamp"),
    (
        "status and word",
        "admin",
        "/api/orders?status=delivered&q=lamp",
    ),
    ("one customer's word", "grown17", "/api/orders?q=lamp"),
    ("feed", "admin", "/api/notifications"),
    ("dashboard", "admin", "/api/dashboard"),
];

/// An order that was really delivered, as SQLite and Restate hold it.
struct Template {
    id: String,
    user: String,
    awakeable: String,
    record: String,
    /// The times in it, as they are written and as they are.
    times: Vec<(String, Timestamp)>,
}

pub async fn growth(shop: &Shop, sizes: &[usize], report: &mut Report) {
    let template = template(shop).await;
    let mut filled = 0;
    let mut first = First::default();
    for &size in sizes {
        fill(shop, &template, filled..size).await;
        filled = size;
        for (what, who, path) in QUESTIONS {
            first.say(report, size, what, asked(shop, who, path).await);
        }
        let took = file(shop, size, report).await;
        first.say(report, size, "all orders as CSV", took);
        shop.kill(Component::Gateway);
        let began = Instant::now();
        shop.start_again(Component::Gateway).await;
        first.say(report, size, "gateway, start to ready", ms(began.elapsed()));
        if size <= MOST_IN_RESTATE {
            put_into_restate(shop, &template, size).await;
            first.say(report, size, "rebuild", rebuild(shop, size));
            let took = catch_up(shop, size).await;
            first.say(report, size, "catch-up, nothing new", took);
        }
    }
    reservations(shop, report).await;
    sessions(shop, report).await;
}

/// What each took in the smallest shop.
#[derive(Default)]
struct First(BTreeMap<&'static str, f64>);

impl First {
    fn say(&mut self, report: &mut Report, size: usize, what: &'static str, ms: f64) {
        let ratio = ms / *self.0.entry(what).or_insert(ms);
        report.say(
            &format!("{size} orders: {what}"),
            &format!("{ms:.1} ms, {ratio:.2} of the smallest shop's"),
            json!({ "ms": ms, "ratio": ratio, "orders": size }),
        );
    }
}

async fn template(shop: &Shop) -> Template {
    let buyer = shop.person("template");
    let order = buyer.buy("P003", 1, "t0").await;
    shop.admin().approve(&order).await;
    order.until("delivered").await;
    let (record,): (String,) = sqlx::query_as("SELECT record FROM orders WHERE order_id = ?")
        .bind(&order.id)
        .fetch_one(&mut open(shop).await)
        .await
        .expect("it is in SQLite");
    let parsed: serde_json::Value = serde_json::from_str(&record).expect("a record is JSON");
    let awakeable = parsed["payments"][0]["awakeable_id"].as_str();
    Template {
        user: "template".to_owned(),
        awakeable: awakeable.expect("it was paid").to_owned(),
        times: times_in(&record),
        record,
        id: order.id,
    }
}

fn times_in(record: &str) -> Vec<(String, Timestamp)> {
    let strings: BTreeSet<&str> = record.split('"').collect();
    let times = strings
        .into_iter()
        .filter_map(|text| Some((text.to_owned(), text.parse().ok()?)));
    times.collect()
}

/// How much earlier than the template the order of this number was placed.
fn earlier(n: usize) -> Duration {
    Duration::from_millis(365 * 24 * 3_600_000 - 30 * n as u64)
}

impl Template {
    /// Id, customer and record of the order of this number.
    fn of(&self, n: usize) -> (String, String, String) {
        let user = format!("grown{}", n % CUSTOMERS);
        let id = format!("{user}.g{n}");
        let mut text = self
            .record
            .replace(&self.id, &id)
            .replace(&self.awakeable, &format!("sign_{id}"))
            .replace(&format!("\"{}\"", self.user), &format!("\"{user}\""));
        for (written, at) in &self.times {
            text = text.replace(written, &(*at - earlier(n)).to_string());
        }
        (id, user, text)
    }
}

async fn open(shop: &Shop) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(shop.database())
        .busy_timeout(Duration::from_secs(30))
        .foreign_keys(true);
    options.connect().await.expect("the gateway's file opens")
}

/// Writes orders of these numbers into SQLite, a year of them.
async fn fill(shop: &Shop, template: &Template, numbers: std::ops::Range<usize>) {
    let mut database = open(shop).await;
    let names = ["Walnut desk", "Copper lamp", "Wool blanket"];
    let numbers: Vec<usize> = numbers.collect();
    for chunk in numbers.chunks(5_000) {
        let mut transaction = database.begin().await.expect("a transaction");
        for &n in chunk {
            let (id, user, record) = template.of(n);
            let earlier = i64::try_from(earlier(n).as_millis()).expect("a year");
            let words = format!(
                "{id} g{n} {user} Domestic P003 {} t-{n} TRK{n}",
                names[n % 3]
            );
            sqlx::query(
                "INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at,
                                     status_since, ended_at, total_cents, pieces, search_text, record)
                 SELECT (created_at - ?2) << 20, ?1, ?3, version, status, created_at - ?2,
                        updated_at - ?2, status_since - ?2, ended_at - ?2, total_cents, pieces, ?4, ?5
                 FROM orders WHERE order_id = ?6",
            )
            .bind(&id)
            .bind(earlier)
            .bind(&user)
            .bind(&words)
            .bind(&record)
            .bind(&template.id)
            .execute(&mut *transaction)
            .await
            .expect("an order is written");
        }
        transaction.commit().await.expect("they are written");
    }
    database.close().await.expect("it closes");
}

/// The median of some answers, none of which is remembered.
async fn asked(shop: &Shop, who: &str, path: &str) -> f64 {
    let mut database = open(shop).await;
    let person = shop.person(who);
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        // A write of another program: what was remembered is forgotten.
        sqlx::query("UPDATE users SET email = email WHERE username = 'alice'")
            .execute(&mut database)
            .await
            .expect("a write");
        tokio::time::sleep(NOTICED).await;
        let began = Instant::now();
        let answer = shop::send(person.request(Method::GET, path)).await;
        times.push(ms(began.elapsed()));
        assert_eq!(answer.status, 200, "{path}");
    }
    median(times)
}

/// Every order as a file, and what the gateway's memory has grown by meanwhile.
async fn file(shop: &Shop, size: usize, report: &mut Report) -> f64 {
    let admin = shop.person("admin");
    let before = resident_mb(shop);
    let began = Instant::now();
    let request = admin
        .request(Method::GET, "/api/orders.csv")
        .timeout(FILE_WITHIN);
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 200);
    let mut pieces = answer.bytes_stream();
    let (mut rows, mut bytes, mut most) = (0, 0, before);
    while let Some(piece) = pieces.next().await {
        let piece = piece.expect("the file does not break off");
        rows += piece.split(|byte| *byte == b'\n').count() - 1;
        bytes += piece.len();
        most = most.max(resident_mb(shop));
    }
    let took = ms(began.elapsed());
    // The head, and the order of which the others are copies.
    assert_eq!(rows, size + 2);
    let bytes = u32::try_from(bytes).expect("some MB");
    let (mb, grown) = (f64::from(bytes) / 1_048_576.0, most - before);
    report.say(
        &format!("{size} orders: memory for their file"),
        &format!("{grown:.1} MB more at most, for {mb:.1} MB of {size} orders"),
        json!({ "mb": grown, "file_mb": mb, "orders": size }),
    );
    took
}

/// Gives Restate the workflows' records of so many orders.
async fn put_into_restate(shop: &Shop, template: &Template, count: usize) {
    stream::iter(0..count)
        .map(|n| async move {
            let (id, _, record) = template.of(n);
            shop.put_state(
                ORDER_FULFILLMENT_WORKFLOW,
                &id,
                &BTreeMap::from([(RECORD.to_owned(), record)]),
            )
            .await;
        })
        .buffer_unordered(32)
        .collect::<Vec<()>>()
        .await;
    let all = format!(
        "SELECT count(*) AS n FROM state WHERE service_name = '{ORDER_FULFILLMENT_WORKFLOW}'"
    );
    eventually("Restate has them all", Duration::from_mins(2), async || {
        let rows = shop.sql(&all).await;
        let held = rows[0]["n"].as_u64().unwrap_or_default();
        if held > count as u64 {
            Ok(())
        } else {
            Err(held.to_string())
        }
    })
    .await;
}

/// `gateway rebuild` of a file of its own.
fn rebuild(shop: &Shop, size: usize) -> f64 {
    let file = shop.database().with_file_name(format!("rebuilt-{size}.db"));
    let mut command = shop.gateway_command();
    command
        .arg("rebuild")
        .env("DATABASE_URL", format!("sqlite://{}", file.display()));
    let began = Instant::now();
    let done = command.output().expect("the gateway can be started");
    assert!(done.status.success(), "{done:?}");
    ms(began.elapsed())
}

/// A comparison that finds nothing new. The gateway makes one every thirty seconds.
async fn catch_up(shop: &Shop, size: usize) -> f64 {
    let within = Duration::from_mins(10);
    eventually("a catch-up with nothing new", within, async || {
        let dashboard = shop.admin().get("/api/dashboard").await.expect(200);
        let last = dashboard["read_model"]["last_catch_up"].clone();
        let compared = last["compared"].as_u64().unwrap_or_default();
        if last["closed"] == 0 && last["error"].is_null() && compared > size as u64 {
            return Ok(last["took_ms"].as_f64().unwrap_or_default());
        }
        Err(last.to_string())
    })
    .await
}

/// Orders of a product that few and many have reserved.
async fn reservations(shop: &Shop, report: &mut Report) {
    let skus = ["P005", "P006"];
    for (sku, reserved) in skus.into_iter().zip(FEW_AND_MANY) {
        let level = shop.state(INVENTORY, sku, LEVEL).await;
        let mut level = level.expect("Inventory knows it");
        for (field, add) in [("reserved", reserved), ("restocked", reserved + 1_000)] {
            level[field] = json!(level[field].as_u64().expect("pieces") + add as u64);
        }
        level["available"] = json!(level["available"].as_u64().expect("pieces") + 1_000);
        level["version"] = json!(level["version"].as_u64().expect("a number") + 1);
        let mut state = BTreeMap::from([(LEVEL.to_owned(), level.to_string())]);
        state.extend((0..reserved).map(|n| (format!("{RESERVATION}grown{n}.r{n}#1"), "1".into())));
        shop.put_state(INVENTORY, sku, &state).await;
    }
    let [few, many] = checkouts(shop, "reserver", |n| (format!("reserver{n}"), skus[n % 2])).await;
    say(report, "checkout, reservations of its product", few, many);
}

/// Orders of customers who have few and many.
async fn sessions(shop: &Shop, report: &mut Report) {
    let users = ["fewer", "older"];
    for (user, orders) in users.into_iter().zip(FEW_AND_MANY) {
        // Paid long ago; without their payments, all of them fit into one request.
        let marker = json!({ "paid_at": "2026-01-01T00:00:00Z", "attempts": [] }).to_string();
        let state: BTreeMap<_, _> = (0..orders)
            .map(|n| (format!("{MARKER}{user}.s{n}"), marker.clone()))
            .collect();
        shop.put_state(USER_SESSION, user, &state).await;
    }
    let [few, many] = checkouts(shop, "old", |n| (users[n % 2].to_owned(), "P005")).await;
    say(report, "checkout, orders of its customer", few, many);
}

/// Medians of additions with their checkouts, of the even numbers and of the odd.
async fn checkouts(
    shop: &Shop,
    name: &str,
    of: impl Fn(usize) -> (String, &'static str),
) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..4 * SAMPLES {
        let (user, sku) = of(n);
        let buyer = shop.person(&user);
        let began = Instant::now();
        buyer.add(sku, 1).await;
        buyer.try_checkout(&format!("{name}{n}")).await.expect(202);
        times[n % 2].push(ms(began.elapsed()));
    }
    times.map(median)
}

fn say(report: &mut Report, what: &str, few: f64, many: f64) {
    let words = format!(
        "{few:.1} ms with {} and {many:.1} ms with {}: {:.2}",
        FEW_AND_MANY[0],
        FEW_AND_MANY[1],
        many / few
    );
    report.say(
        what,
        &words,
        json!({ "ms": [few, many], "ratio": many / few }),
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
