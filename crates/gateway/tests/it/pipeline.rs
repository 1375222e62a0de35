//! `just bench`: how much of bare Restate's speed the shop keeps.
//!
//! A benchmark beside the integration tests because its world is theirs: a real Restate server, the
//! real `services`, `gateway` and sandbox. Beside it, on the same Restate, this
//! process serves a bare virtual object whose one handler reads a number and
//! writes it back. Each figure is a ratio to that handler under the same load
//! (the same number of callers and of keys) in the same run, measured in
//! alternation, so that a busy machine slows both:
//!
//! - **cart**: `POST /api/cart/add` against the bare handler;
//! - **orders**: cart, checkout, payment (the sandbox pays by itself), approval,
//!   booking, capture, delivery, against one bare call for each order.
//!
//! Arguments: `--seconds N` for each cart measurement (default 5), `--orders N`
//! for each order measurement (default 200), `--rounds N` (default 3).

// The tests' world is used in part.
#![allow(dead_code, clippy::print_stdout, missing_docs)]

mod checker;
mod outside;
mod restate;
mod shop;
mod stream;
mod world;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream as futures_stream;
use restate_sdk::prelude::*;
use serde_json::json;

use crate::shop::Shop;
use crate::world::{Setup, World, eventually, own_alone};

/// Callers at a time, and users: each caller is a user of its own.
const CALLERS: usize = 16;
/// Longest that a batch of orders may take.
const BATCH_WITHIN: Duration = Duration::from_secs(120);

/// The least that Restate can do for a key: read, add, write.
struct Bare;

#[restate_sdk::object]
impl Bare {
    #[handler(name = "Add")]
    async fn add(&self, ctx: ObjectContext<'_>, pieces: u64) -> HandlerResult<u64> {
        let sum = ctx.get::<u64>("sum").await?.unwrap_or_default() + pieces;
        ctx.set("sum", sum);
        Ok(sum)
    }
}

struct Arguments {
    seconds: u64,
    orders: usize,
    rounds: usize,
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
        Self {
            seconds: number("--seconds", 5),
            orders: usize::try_from(number("--orders", 200)).expect("a number of orders"),
            rounds: usize::try_from(number("--rounds", 3)).expect("a number of rounds"),
        }
    }
}

fn main() {
    let arguments = Arguments::read();
    let setup = Setup::with("DELIVERY_TIME", "100ms").and("RUST_LOG", "warn");
    own_alone(&setup, async |shop| measure(shop, &arguments).await);
}

async fn measure(shop: &Shop, arguments: &Arguments) {
    serve_bare(shop).await;
    shop.faults(json!({ "payments": { "auto": "pay" } })).await;
    restock(shop, arguments).await;

    let mut cart = Ratios::default();
    let mut orders = Ratios::default();
    let time = Duration::from_secs(arguments.seconds);
    // Warm up: connections, caches, the first page of every file.
    calls_for(Duration::from_secs(1), |caller| bare_call(shop, caller)).await;
    calls_for(Duration::from_secs(1), |caller| cart_call(shop, caller)).await;
    for round in 1..=arguments.rounds {
        let bare = calls_for(time, |caller| bare_call(shop, caller)).await;
        let ours = calls_for(time, |caller| cart_call(shop, caller)).await;
        println!("round {round}: cart additions {ours:.0}/s, bare handler {bare:.0}/s");
        cart.add(ours, bare);

        let started = Instant::now();
        batch(arguments.orders, |n| bare_call(shop, n % CALLERS)).await;
        let bare = rate(arguments.orders, started.elapsed());
        let started = Instant::now();
        order_batch(shop, round, arguments.orders).await;
        let ours = rate(arguments.orders, started.elapsed());
        println!("round {round}: orders {ours:.1}/s, bare handler {bare:.0}/s");
        orders.add(ours, bare);
    }
    println!();
    println!("{CALLERS} callers, {} rounds, medians:", arguments.rounds);
    println!("cart additions: {cart}");
    println!("whole orders:   {orders}");
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
            "{:.1}/s, {:.3} of the bare handler's {:.0}/s",
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
    let endpoint = Endpoint::builder().bind(Bare).build();
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
    tokio::spawn(services::endpoint::serve(
        listener,
        endpoint,
        services::crash::Crash::default(),
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
    let id = shop.product("P001").id;
    let pieces = arguments.orders * (arguments.rounds + 1);
    shop.admin()
        .post(
            &format!("/api/products/{id}/restock"),
            &json!({ "quantity": pieces }),
        )
        .await
        .expect(200);
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

/// Calls per second of [`CALLERS`] callers, each waiting for its answer.
async fn calls_for<F>(time: Duration, call: impl Fn(usize) -> F) -> f64
where
    F: Future<Output = ()>,
{
    let started = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let call = &call;
        async move {
            let mut calls = 0;
            while started.elapsed() < time {
                call(caller).await;
                calls += 1;
            }
            calls
        }
    });
    let calls: usize = futures::future::join_all(callers).await.into_iter().sum();
    rate(calls, started.elapsed())
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

/// Places orders, approves them as they are paid, and waits for the last
/// delivery.
async fn order_batch(shop: &Shop, round: usize, count: usize) {
    let placed = batch(count, |n| place(shop, round, n));
    let approved = approve_all(shop, count);
    futures::future::join(placed, approved).await;
    eventually("every order is delivered", BATCH_WITHIN, async || {
        let list = shop
            .admin()
            .get("/api/orders?status=delivered&per_page=1")
            .await
            .expect(200);
        let delivered = list["total"].as_u64().unwrap_or_default();
        if delivered >= (count * round) as u64 {
            Ok(())
        } else {
            Err(format!("{delivered} delivered"))
        }
    })
    .await;
}

async fn place(shop: &Shop, round: usize, n: usize) {
    // One cart for each order: carts are shared by nobody.
    let buyer = shop.person(&format!("buyer{round}x{n}"));
    buyer.add("P001", 1).await;
    buyer.try_checkout("bench").await.expect(202);
}

async fn approve_all(shop: &Shop, count: usize) {
    let admin = shop.admin();
    let mut approved = 0;
    let deadline = Instant::now() + BATCH_WITHIN;
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
