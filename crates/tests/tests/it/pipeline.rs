//! `just bench`: how much of bare Restate's speed the shop keeps.
//!
//! A benchmark beside the integration tests because its world is theirs: a real Restate server, the
//! real `services`, `gateway` and sandbox. Beside it, on the same Restate, this
//! process serves a bare virtual object whose one handler reads a number and
//! writes it back. Each figure is a ratio to that handler under the same load
//! (the same number of callers and of keys) in the same run, measured in
//! alternation, so that a busy machine slows both:
//!
//! - **cart**: `POST /api/cart/add` against the handler that it calls, asked at
//!   Restate's ingress, and against the bare one; with the processor time of each
//!   process;
//! - **orders**: cart, checkout, payment (the sandbox pays by itself), approval,
//!   booking, capture, delivery, against orders of as many durable operations without
//!   any of our rules (`pipeline/bare.rs`): all of one SKU, and spread over all of them, the
//!   bare ones alike; with the processor time of each process;
//! - **pages**: lists and pages against the gateway's own `/healthz`;
//! - **streams**: what `--streams N` (default 1,000) open ones hold of memory, and how
//!   soon a callback shows on an order's own;
//! - **kill**: the services die with `--orders` orders half approved: how long until all
//!   are delivered, against the same without;
//! - **growth**: `--growth 1000,100000` delivered orders (`pipeline/growth.rs`), in a world
//!   of its own;
//! - **apart**: cart and orders once more, in a world of its own: Restate has one half of
//!   the processors, all else the other (`pipeline/processors.rs`);
//! - **outage**: the carrier and the provider go away, with orders waiting for each:
//!   what everybody else does takes as long as before and after, in the same run.
//!
//! Arguments: `--json FILE` for the figures, `--parts` (all, or some with commas between), `--seconds N` for each cart measurement (default 5), `--orders N`
//! for each order measurement (default 200), `--rounds N` (default 3),
//! `--outage N` seconds (default 30), `--waiting N` orders in it (default 200),
//! `--restate NAME=VALUE` (some with spaces between) for settings of Restate other than
//! those of restate.toml: `--restate DEFAULT_NUM_PARTITIONS=1`.

// The tests' world is used in part.
#![allow(dead_code, clippy::print_stdout, missing_docs)]

#[path = "pipeline/bare.rs"]
mod bare;
mod checker;
#[path = "pipeline/driver.rs"]
mod driver;
#[path = "pipeline/growth.rs"]
mod growth;
mod outside;
#[path = "pipeline/processors.rs"]
mod processors;
mod restate;
mod shop;
mod stream;
mod world;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream as futures_stream;
use launcher::plan::LOGS;
use restate_sdk::prelude::*;
use serde_json::{Value, json};

use crate::bare::{
    Bare, BareOrder, BareProvider, BareSession, BareStock, BareTransaction, Reached,
};
use crate::driver::{Driven, Stopwatch, Work, drive};
use crate::processors::Halves;
use crate::shop::Shop;
use crate::world::{Component, Setup, World, eventually, own_alone, own_unchecked};

/// Callers at a time, and users: each caller is a user of its own.
const CALLERS: usize = 16;
/// Callers of the cart: as many as a busy gateway has.
const MANY_CALLERS: usize = 64;
/// How long closed streams' memory may stay: the allocator keeps it for ten seconds.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(20);
/// Orders that are looked at while streams are open.
const LOOKS: usize = 40;

/// Longest that a batch of orders may take.
fn batch_within(orders: usize) -> Duration {
    Duration::from_secs(120 + orders as u64 / 2)
}

/// What can be measured, in this order.
const PARTS: [&str; 8] = [
    "cart", "orders", "pages", "streams", "kill", "outage", "growth", "apart",
];
/// Those that need a world unlike the others'.
const WORLDS_OF_THEIR_OWN: [&str; 2] = ["growth", "apart"];

struct Arguments {
    parts: Vec<String>,
    json: Option<String>,
    streams: usize,
    seconds: u64,
    orders: usize,
    rounds: usize,
    outage: Duration,
    waiting: usize,
    growth: Vec<usize>,
    /// Names of variables, and their values.
    restate: Vec<(String, String)>,
}

impl Arguments {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str, default: u64| {
            let Some(at) = words.iter().position(|word| word == name) else {
                return default;
            };
            words
                .get(at + 1)
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("{name} needs a number, e.g. {name} {default}"))
        };
        let count = |name: &str, default: u64| {
            usize::try_from(number(name, default)).expect("a number that fits")
        };
        let parts = words
            .iter()
            .position(|word| word == "--parts")
            .map_or_else(|| PARTS.join(","), |at| words[at + 1].clone());
        let parts: Vec<String> = parts.split(',').map(str::to_owned).collect();
        for part in &parts {
            assert!(PARTS.contains(&&part[..]), "--parts are some of {PARTS:?}");
        }
        let growth = words.iter().position(|word| word == "--growth");
        let growth = growth.map_or("1000,100000", |at| &words[at + 1]);
        let json = words.iter().position(|word| word == "--json");
        let restate = words.iter().position(|word| word == "--restate");
        let restate = restate.map_or("", |at| &words[at + 1]).split_whitespace();
        Self {
            parts,
            json: json.map(|at| words.get(at + 1).expect("--json FILE").clone()),
            streams: count("--streams", 1_000),
            seconds: number("--seconds", 5),
            orders: count("--orders", 200),
            rounds: count("--rounds", 3),
            outage: Duration::from_secs(number("--outage", 30)),
            waiting: count("--waiting", 200),
            growth: growth
                .split(',')
                .map(|size| size.parse().expect("--growth 1000,100000"))
                .collect(),
            restate: restate
                .map(|setting| setting.split_once('=').expect("--restate NAME=VALUE"))
                .map(|(name, value)| (format!("RESTATE_{name}"), value.to_owned()))
                .collect(),
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|it| it == part)
    }
}

fn main() {
    let arguments = Arguments::read();
    let setup = Setup::with("DELIVERY_TIME", "100ms")
        .and("RUST_LOG", "warn")
        .and("MAX_STREAMS", "12000")
        .and("MAX_CONNECTIONS", "16000")
        .lasting(Duration::from_hours(1));
    // As it is shipped, whichever log is asked for: other tests do not wait for the disk.
    let waits_for_the_disk = LOGS.map(|log| {
        let name = format!("RESTATE_{log}__ROCKSDB_DISABLE_WAL_FSYNC");
        (name, "false".to_owned())
    });
    let settings = waits_for_the_disk.iter().chain(&arguments.restate);
    let setup = settings.fold(setup, |setup, (name, value)| {
        setup.only_for(Component::Restate, name, value)
    });
    // What cannot be measured here is said before hours are spent on the rest.
    let halves = arguments.wants("apart").then(Halves::of_all);
    let mut report = Report::default();
    let in_one_world = |part: &String| !WORLDS_OF_THEIR_OWN.contains(&&part[..]);
    if arguments.parts.iter().any(in_one_world) {
        own_alone(&setup, async |shop| {
            measure(shop, &arguments, &mut report).await;
        });
    }
    if arguments.wants("growth") {
        own_unchecked(&setup, async |shop| {
            growth::growth(shop, &arguments.growth, &mut report).await;
        });
    }
    if let Some(halves) = halves {
        // Each process sees at its start how many processors are its own.
        halves.take_second();
        own_alone(&setup, async |shop| {
            halves.give_first(shop.process_id(Component::Restate));
            report.prefix = "apart, ";
            ready(shop, &arguments).await;
            cart(shop, &arguments, &mut report).await;
            orders(shop, &arguments, &mut report).await;
        });
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report.figures).expect("figures are JSON");
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

/// What was measured, said at once and kept for a file.
#[derive(Default)]
struct Report {
    figures: serde_json::Map<String, Value>,
    /// What every name begins with.
    prefix: &'static str,
}

impl Report {
    fn say(&mut self, name: &str, words: &str, figures: Value) {
        let name = format!("{}{name}", self.prefix);
        println!("{name}: {words}");
        self.figures.insert(name, figures);
    }

    /// The median round's work.
    fn work(&mut self, name: &str, mut rounds: Vec<Work>) {
        rounds.sort_by(|one, other| one.all_ms().total_cmp(&other.all_ms()));
        let median = &rounds[rounds.len() / 2];
        let figures: serde_json::Map<_, _> = median
            .0
            .iter()
            .map(|(name, ms)| ((*name).to_owned(), json!(ms)))
            .collect();
        self.say(name, &median.to_string(), figures.into());
    }

    /// Medians of ours and of what it is measured against.
    fn ratios(&mut self, name: &str, against: &str, ratios: &Ratios) {
        let figures = json!({
            "per_second": ratios.median(|(ours, _)| *ours),
            "against": against,
            "against_per_second": ratios.median(|(_, other)| *other),
            "ratio": ratios.median(|(ours, other)| ours / other),
        });
        self.say(name, &format!("{ratios} ({against})"), figures);
    }
}

async fn measure(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    let wanted = |part: &str| arguments.wants(part);
    let idle = resident_mb(shop);
    report.say(
        "gateway, idle",
        &format!("{idle:.0} MB"),
        json!({ "mb": idle }),
    );
    ready(shop, arguments).await;
    if wanted("cart") {
        cart(shop, arguments, report).await;
    }
    if wanted("orders") {
        orders(shop, arguments, report).await;
    }
    if wanted("pages") {
        pages(shop, arguments, report).await;
    }
    if wanted("streams") {
        streams(shop, arguments, report).await;
    }
    if wanted("kill") {
        kill(shop, arguments, report).await;
    }
    if wanted("outage") {
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        outage(shop, arguments).await;
    }
}

/// Enough on the shelves, the bare components served, and all of it warm: connections,
/// caches, the first page of every file.
async fn ready(shop: &Shop, arguments: &Arguments) {
    serve_bare(shop).await;
    restock(shop, arguments).await;
    calls_for(Duration::from_secs(1), CALLERS, |n| bare_call(shop, n)).await;
    calls_for(Duration::from_secs(1), CALLERS, |n| cart_call(shop, n)).await;
}

/// Additions to carts through the gateway, against the same handler at Restate's
/// ingress and against the bare one.
async fn cart(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    let time = Duration::from_secs(arguments.seconds);
    let (mut at_ingress, mut bare) = (Ratios::default(), Ratios::default());
    let mut later = Ratios::default();
    let mut work_of: [Vec<Work>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=arguments.rounds {
        let least = calls_for(time, MANY_CALLERS, |n| bare_call(shop, n)).await;
        let (handler, for_handler) = watched(shop, time, |n| handler_call(shop, n)).await;
        let (ours, for_ours) = watched(shop, time, |n| cart_call(shop, n)).await;
        println!(
            "round {round}: cart additions {ours}, {for_ours}; their handler at the \
             ingress {handler}, {for_handler}; bare handler {least}"
        );
        at_ingress.add(ours.per_second, handler.per_second);
        bare.add(ours.per_second, least.per_second);
        later.add(ours.p50_ms, handler.p50_ms);
        work_of[0].push(for_ours);
        work_of[1].push(for_handler);
    }
    report.ratios(
        "cart additions",
        "their handler at the ingress",
        &at_ingress,
    );
    report.ratios("cart additions, too", "a bare handler", &bare);
    let (p50, more) = (
        later.median(|(ours, _)| *ours),
        later.median(|(ours, other)| ours - other),
    );
    let words = format!("p50 {p50:.1} ms, {more:+.1} ms on that of their handler");
    report.say(
        "answer to an addition",
        &words,
        json!({ "p50_ms": p50, "more_ms": more }),
    );
    let [ours, handler] = work_of;
    report.work("work of an addition", ours);
    report.work("work of its handler at the ingress", handler);
}

/// Whole orders, on one SKU and spread over all.
async fn orders(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    shop.faults(json!({ "payments": { "auto": "pay" } })).await;
    let catalog = shop.catalog.iter();
    let skus: Vec<&str> = catalog.map(|product| &product.sku[..]).collect();
    let mut one_sku = OnShelves::of("one SKU", &skus[..1]);
    let mut spread = OnShelves::of("all SKUs", &skus);
    for round in 1..=arguments.rounds {
        for orders in [&mut one_sku, &mut spread] {
            orders.measure(shop, arguments, round).await;
        }
    }
    for OnShelves {
        what,
        ratios,
        work,
        of_bare,
        ..
    } in [one_sku, spread]
    {
        let bare = format!("bare orders of {what}");
        report.ratios(&format!("orders of {what}"), &bare, &ratios);
        report.work(&format!("work of an order, {what}"), work);
        report.work(&format!("work of a bare order, {what}"), of_bare);
    }
}

/// Orders of so many products, against bare ones of as many.
struct OnShelves<'a> {
    what: &'static str,
    skus: &'a [&'a str],
    ratios: Ratios,
    work: Vec<Work>,
    of_bare: Vec<Work>,
}

impl<'a> OnShelves<'a> {
    fn of(what: &'static str, skus: &'a [&'a str]) -> Self {
        Self {
            what,
            skus,
            ratios: Ratios::default(),
            work: Vec::new(),
            of_bare: Vec::new(),
        }
    }

    async fn measure(&mut self, shop: &Shop, arguments: &Arguments, round: usize) {
        let (what, skus, count) = (self.what, self.skus, arguments.orders);
        let name = format!("{round}x{}x", skus.len());
        let bare = bare_orders(shop, &name, count, skus).await;
        println!(
            "round {round}: bare orders of {what} {:.1}/s; {} an order",
            bare.per_second, bare.work
        );
        let name = format!("buyer{name}");
        let driven = drive(shop, &name, count, CALLERS, skus, batch_within(count)).await;
        println!(
            "round {round}: orders of {what} {:.1}/s; {} an order",
            driven.per_second, driven.work
        );
        self.ratios.add(driven.per_second, bare.per_second);
        self.work.push(driven.work);
        self.of_bare.push(bare.work);
    }
}

/// Orders of the bare components ([`bare`]), one user each, each of one of `skus` in turn.
/// They run in this process, so `driver` is what they and their driver work.
async fn bare_orders(shop: &Shop, name: &str, count: usize, skus: &[&str]) -> Driven {
    let mut told = bare::hear();
    let ask = async |path: String| {
        let answer = shop.http.post(format!("{}/{path}", shop.ingress)).send();
        let answer = answer.await.expect("Restate answers");
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    };
    let began = Instant::now();
    let watch = Stopwatch::start(shop);
    let placed = batch(count, |n| async move {
        let session = format!("BareSession/{}", bare::key(skus[n % skus.len()], name, n));
        ask(format!("{session}/AddItem")).await;
        ask(format!("{session}/Checkout")).await;
    });
    let mut delivered = 0;
    let steps = futures_stream::poll_fn(|context| told.poll_recv(context))
        .map(|reached| async move {
            match reached {
                Reached::Opened(of) => ask(format!("BareSession/{of}/PaymentCallback")).await,
                Reached::Approvable(of) => ask(format!("BareOrder/{of}/Approve")).await,
                Reached::Delivered(_) => return true,
            }
            false
        })
        .buffer_unordered(2 * CALLERS);
    let driven = async {
        let mut steps = std::pin::pin!(steps);
        while delivered < count {
            delivered += usize::from(steps.next().await.expect("it goes on"));
        }
    };
    let all = async { tokio::join!(placed, driven) };
    let in_time = tokio::time::timeout(batch_within(count), all).await.is_ok();
    assert!(in_time, "{delivered} of {count} bare orders were delivered");
    Driven {
        per_second: rate(count, began.elapsed()),
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        work: watch.per(shop, count as f64),
    }
}

/// Lists and pages against the gateway's own `/healthz`.
async fn pages(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    let time = Duration::from_secs(arguments.seconds);
    let page = async |path: &str, caller: usize| {
        let buyer = shop.person(&user(caller));
        let accept = if path.starts_with("/api") {
            "application/json"
        } else {
            "text/html"
        };
        let request = buyer
            .request(reqwest::Method::GET, path)
            .header("accept", accept);
        assert_eq!(shop::send(request).await.status, 200, "{path}");
    };
    for path in ["/api/products", "/products", "/orders"] {
        let mut ratios = Ratios::default();
        for _ in 0..arguments.rounds {
            let least = calls_for(time, CALLERS, |n| page("/healthz", n)).await;
            let ours = calls_for(time, CALLERS, |n| page(path, n)).await;
            ratios.add(ours.per_second, least.per_second);
        }
        report.ratios(path, "/healthz", &ratios);
    }
}

/// What open streams hold, and how soon an order's own says that it is paid while
/// all the others are open.
async fn streams(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    shop.faults(json!({ "payments": { "auto": "off" } })).await;
    let before = resident_mb(shop);
    let mut open = Vec::new();
    for n in 0..arguments.streams {
        let watcher = shop.person(&format!("watcher{n}"));
        open.push(watcher.stream("/stream/notifications").await);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let each = (resident_mb(shop) - before) * 1_024.0 / open.len() as f64;
    let mut times = Vec::new();
    for n in 0..LOOKS {
        let buyer = shop.person(&format!("looker{n}"));
        buyer.add("P001", 1).await;
        let order = buyer.checkout("look").await;
        let mut stream = buyer
            .stream(&format!("/stream/workflow/{}", order.id))
            .await;
        stream.until("awaiting_payment").await;
        let called = Instant::now();
        order.call_back(&format!("look-{n}")).await.expect(200);
        let event = stream.until("awaiting_approval").await;
        times.push(event.at.expect("it is heard").duration_since(called));
        shop.admin().reject(&order, "it was only looked at").await;
        order.until("rejected").await;
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    let count = open.len();
    let words = format!(
        "{each:.0} KB each; a callback is shown after {:.1} ms (p50), {:.1} ms (p95)",
        at(50),
        at(95)
    );
    let figures = json!({ "streams": count, "kb": each, "p50_ms": at(50), "p95_ms": at(95) });
    report.say("streams", &format!("{count} of {words}"), figures);
    drop(open);
    tokio::time::sleep(GIVEN_BACK_WITHIN).await;
    let after = resident_mb(shop);
    let words = format!("{after:.0} MB; it had {before:.0} MB before them");
    let figures = json!({ "mb": after, "before_mb": before });
    report.say("gateway, streams closed", &words, figures);
}

/// Orders that wait for their approval, approved all together, without and with a
/// death of the services after the first half.
async fn kill(shop: &Shop, arguments: &Arguments, report: &mut Report) {
    shop.faults(json!({ "payments": { "auto": "pay" } })).await;
    let count = arguments.orders;
    let mut took = Vec::new();
    for dies in [false, true] {
        let name = format!("victim{dies}x");
        let before = listed(shop, "delivered").await;
        batch(count, |n| place(shop, &name, n)).await;
        eventually("all wait", batch_within(count), async || {
            match listed(shop, "awaiting_approval").await {
                waiting if waiting >= count as u64 => Ok(()),
                waiting => Err(format!("{waiting} of {count} wait")),
            }
        })
        .await;
        let began = Instant::now();
        approve_all(shop, count / 2).await;
        if dies {
            shop.kill(Component::Services);
            shop.start_again(Component::Services).await;
        }
        approve_all(shop, count - count / 2).await;
        eventually(
            "all are delivered",
            batch_within(count),
            async || match listed(shop, "delivered").await {
                now if now >= before + count as u64 => Ok(()),
                now => Err(format!("{} of {count}", now - before)),
            },
        )
        .await;
        took.push(began.elapsed().as_secs_f64());
    }
    let words = format!(
        "{count} orders are all delivered {:.1} s after the first approval, {:.1} s without",
        took[1], took[0]
    );
    let figures = json!({ "orders": count, "seconds": took[1], "without": took[0] });
    report.say("services killed", &words, figures);
}

/// Memory that the gateway holds.
fn resident_mb(shop: &Shop) -> f64 {
    let pid = shop.process_id(Component::Gateway);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kb.expect("its memory").parse::<f64>().expect("a number") / 1_024.0
}

/// What everybody else does takes as long as before while others are away.
async fn outage(shop: &Shop, arguments: &Arguments) {
    let away = json!({ "down": true });
    let back = json!({ "down": false });
    let (for_carrier, for_provider) = (arguments.waiting / 2, arguments.waiting.div_ceil(2));
    println!();
    visits(shop, "warm", VISITS).await;
    let before = visits(shop, "before", VISITS).await;

    shop.faults(json!({ "carrier": away })).await;
    let placed = batch(for_carrier, |n| place(shop, "parcel", n));
    futures::future::join(placed, approve_all(shop, for_carrier)).await;
    let without_carrier = visits(shop, "carrier", VISITS).await;
    shop.faults(json!({ "payments": away })).await;
    batch(for_provider, |n| place(shop, "payer", n)).await;
    let began = Instant::now();
    let waiting = [
        listed(shop, "shipping").await,
        listed(shop, "awaiting_payment").await,
    ];
    tokio::time::sleep(arguments.outage.saturating_sub(began.elapsed())).await;
    let without_both = visits(shop, "both", VISITS).await;

    let open = waiting.iter().sum::<u64>() + VISITS as u64;
    let delivered = listed(shop, "delivered").await;
    shop.faults(json!({ "carrier": back, "payments": back }))
        .await;
    let back_since = Instant::now();
    let rest = usize::try_from(waiting[1]).expect("a number of orders");
    let all_are_back = eventually(
        "every order is delivered",
        batch_within(2 * arguments.waiting),
        async || match listed(shop, "delivered").await {
            now if now >= delivered + open => Ok(()),
            now => Err(format!("{now} delivered of {}", delivered + open)),
        },
    );
    futures::future::join(approve_all(shop, rest), all_are_back).await;
    println!(
        "{} orders wait for the carrier, {} for the provider; {:.0} s with both away; all are \
         delivered {:.0} s after they are back",
        waiting[0],
        waiting[1],
        arguments.outage.as_secs_f64(),
        back_since.elapsed().as_secs_f64(),
    );
    let after = visits(shop, "after", VISITS).await;
    println!(
        "{:<16}{:>10}{:>22}{:>22}{:>22}",
        "median", "before", "carrier away", "both away", "after"
    );
    for (nth, what) in VISIT.iter().enumerate() {
        let ms = |of: &Visits| of.0[nth].as_secs_f64() * 1_000.0;
        let one = |of: &Visits| format!("{:.1} ms, ratio {:.2}", ms(of), ms(of) / ms(&before));
        println!(
            "{what:<16}{:>7.1} ms{:>22}{:>22}{:>22}",
            ms(&before),
            one(&without_carrier),
            one(&without_both),
            one(&after),
        );
    }
}

/// How many orders have this status.
async fn listed(shop: &Shop, status: &str) -> u64 {
    let path = format!("/api/orders?status={status}&per_page=1");
    let list = shop.admin().get(&path).await.expect(200);
    list["total"].as_u64().expect("a number of orders")
}

const VISITS: usize = 60;
const VISITORS: usize = 4;
const VISIT: [&str; 6] = [
    "add to cart",
    "checkout",
    "approve",
    "orders page",
    "dashboard",
    "admin page",
];

/// Medians of what is timed in a visit.
struct Visits([Duration; VISIT.len()]);

/// Customers who buy something and pay by a callback, and an admin who approves.
async fn visits(shop: &Shop, name: &str, count: usize) -> Visits {
    let times: Vec<[Duration; VISIT.len()]> = futures_stream::iter(0..count)
        .map(|n| visit(shop, format!("{name}{n}")))
        .buffer_unordered(VISITORS)
        .collect()
        .await;
    Visits(std::array::from_fn(|nth| {
        let mut column: Vec<_> = times.iter().map(|row| row[nth]).collect();
        column.sort();
        column[column.len() / 2]
    }))
}

async fn visit(shop: &Shop, name: String) -> [Duration; VISIT.len()] {
    let (buyer, admin) = (shop.person(&name), shop.admin());
    let page = async |person: &shop::Client<'_>, path: &str| {
        let request = person.request(reqwest::Method::GET, path);
        let answer = shop::send(request.header("accept", "text/html")).await;
        assert_eq!(answer.status, 200, "{path}");
    };
    // This customer does not pay by themselves.
    let by_hand = json!({ "payments": { "auto": "off" } });
    shop.faults_of(&format!("{name}.visit"), by_hand).await;
    let ((), add) = timed(async {
        buyer.add("P001", 1).await;
    })
    .await;
    let (answer, checkout) = timed(buyer.try_checkout("visit")).await;
    let order = buyer.accepted(&answer);
    let placed = answer.expect(202);
    let receipt = json!({
        "awakeable_id": placed["payment"]["awakeable_id"],
        "transaction_id": format!("visit-{name}"),
        "amount": placed["total_cents"],
        "status": "success",
    });
    buyer
        .post("/api/payment/callback", &receipt)
        .await
        .expect(200);
    order.until("awaiting_approval").await;
    let ((), approve) = timed(admin.approve(&order)).await;
    let ((), orders) = timed(page(&buyer, "/orders")).await;
    let ((), dashboard) = timed(page(&admin, "/")).await;
    let ((), admins) = timed(page(&admin, "/admin")).await;
    [add, checkout, approve, orders, dashboard, admins]
}

async fn timed<T>(what: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let value = what.await;
    (value, began.elapsed())
}

/// Figures of ours and of the bare handler, a pair for each round.
#[derive(Default)]
struct Ratios(Vec<(f64, f64)>);

impl Ratios {
    fn add(&mut self, ours: f64, bare: f64) {
        self.0.push((ours, bare));
    }

    fn median(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.0.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }
}

impl std::fmt::Display for Ratios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.1}/s, {:.3} of {:.0}/s",
            self.median(|(ours, _)| *ours),
            self.median(|(ours, bare)| ours / bare),
            self.median(|(_, bare)| *bare),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Serves [`Bare`] from this process and tells Restate of it.
async fn serve_bare(shop: &Shop) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .set_nonblocking(true)
        .expect("a listener for tokio");
    let port = listener.local_addr().expect("an address").port();
    let endpoint = Endpoint::builder()
        .bind(Bare)
        .bind(BareSession)
        .bind(BareOrder)
        .bind(BareProvider)
        .bind(BareTransaction)
        .bind(BareStock)
        .build();
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    tokio::spawn(services::endpoint::serve(
        listener,
        endpoint,
        services::crash::Crash::default(),
        services::metrics::Metrics::new(services::broadcast::UpdateBroadcaster::new()),
        tokio_util::sync::CancellationToken::new(),
    ));
    let registered = shop
        .http
        .post(format!("{}/deployments", shop.admin))
        .json(&json!({ "uri": format!("http://127.0.0.1:{port}"), "force": true }))
        .send()
        .await
        .expect("Restate answers");
    assert!(registered.status().is_success(), "{registered:?}");
}

async fn restock(shop: &Shop, arguments: &Arguments) {
    let pieces = arguments.orders * (2 * arguments.rounds + 1) + arguments.waiting + 5 * VISITS;
    for product in &shop.catalog {
        let path = format!("/api/products/{}/restock", product.id);
        let body = json!({ "quantity": pieces });
        shop.admin().post(&path, &body).await.expect(200);
    }
}

fn user(caller: usize) -> String {
    format!("bench{caller}")
}

async fn bare_call(shop: &World, caller: usize) {
    let answer = shop
        .http
        .post(format!(
            "{}/restate/call/Bare/{}/Add",
            shop.ingress,
            user(caller)
        ))
        .json(&1)
        .send()
        .await
        .expect("Restate answers");
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn cart_call(shop: &Shop, caller: usize) {
    // At most 999 pieces fit: the quantity is set, then added to again.
    let answer = shop.person(&user(caller)).try_add("P002", 1).await;
    if answer.status == 400 {
        let id = shop.product("P002").id;
        let body = json!({ "product_id": id });
        shop.person(&user(caller))
            .post("/api/cart/remove", &body)
            .await
            .expect(200);
    } else {
        answer.expect(200);
    }
}

/// The handler behind [`cart_call`], asked at Restate's ingress.
async fn handler_call(shop: &Shop, caller: usize) {
    let session = format!("UserSession/direct{caller}");
    let product = shop.product("P002");
    let item = json!({
        "product": {
            "sku": product.sku,
            "product_id": product.id,
            "name": product.sku,
            "unit_price_cents": product.price_cents,
        },
        "quantity": 1,
    });
    let added = shop
        .call_signed(&format!("{session}/AddItem"), item.to_string())
        .await;
    if !added.status().is_success() {
        // At most 999 pieces fit.
        let cleared = shop
            .call_signed(&format!("{session}/ClearBasket"), "")
            .await;
        assert!(cleared.status().is_success(), "{cleared:?}");
    }
}

/// What calls for a while have come to.
struct Called {
    per_second: f64,
    /// From asking to the answer.
    p50_ms: f64,
}

impl std::fmt::Display for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s (p50 {:.1} ms)", self.per_second, self.p50_ms)
    }
}

/// Calls per second of so many callers, each waiting for its answer.
async fn calls_for<F>(time: Duration, callers: usize, call: impl Fn(usize) -> F) -> Called
where
    F: Future<Output = ()>,
{
    let started = Instant::now();
    let callers = (0..callers).map(|caller| {
        let call = &call;
        async move {
            let mut took = Vec::new();
            while started.elapsed() < time {
                let asked = Instant::now();
                call(caller).await;
                took.push(asked.elapsed());
            }
            took
        }
    });
    let mut took = futures::future::join_all(callers).await.concat();
    let per_second = rate(took.len(), started.elapsed());
    let middle = took.len() / 2;
    let (_, p50, _) = took.select_nth_unstable(middle);
    Called {
        per_second,
        p50_ms: p50.as_secs_f64() * 1_000.0,
    }
}

/// The same of many callers, and what each call has cost.
async fn watched<F>(shop: &Shop, time: Duration, call: impl Fn(usize) -> F) -> (Called, Work)
where
    F: Future<Output = ()>,
{
    let watch = Stopwatch::start(shop);
    let called = calls_for(time, MANY_CALLERS, call).await;
    let calls = called.per_second * time.as_secs_f64();
    (called, watch.per(shop, calls))
}

/// Does something `count` times, [`CALLERS`] at a time.
async fn batch<F>(count: usize, call: impl Fn(usize) -> F)
where
    F: Future<Output = ()>,
{
    futures_stream::iter(0..count)
        .map(call)
        .buffer_unordered(CALLERS)
        .collect::<Vec<()>>()
        .await;
}

async fn place(shop: &Shop, name: &str, n: usize) {
    // One cart for each order: carts are shared by nobody.
    let buyer = shop.person(&format!("{name}{n}"));
    buyer.add("P001", 1).await;
    buyer.try_checkout("bench").await.expect(202);
}

async fn approve_all(shop: &Shop, count: usize) {
    let admin = shop.admin();
    let mut approved = 0;
    let deadline = Instant::now() + batch_within(count);
    while approved < count {
        assert!(
            Instant::now() < deadline,
            "{approved} of {count} orders were approved"
        );
        let queue = admin.get("/api/approvals?per_page=100").await.expect(200);
        let waiting: Vec<String> = queue["approvals"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|order| order["order_id"].as_str().map(str::to_owned))
            .take(count - approved)
            .collect();
        let decided = futures_stream::iter(waiting)
            .map(|order_id| async move {
                let answer = shop
                    .admin()
                    .try_decide(&order_id, &json!({ "approved": true }))
                    .await;
                usize::from(answer.status == 202)
            })
            .buffer_unordered(CALLERS)
            .collect::<Vec<usize>>()
            .await;
        approved += decided.iter().sum::<usize>();
        if decided.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
