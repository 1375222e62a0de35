//! The services die before and after their durable steps, and every order ends
//! well all the same.
//!
//! The list of steps is the services' own: `GET /steps` tells every message
//! that they sent to Restate while one order of each story went through, so a
//! new step is covered without anyone remembering it. One case kills the
//! services at one of them while one order of each story is under way.
//!
//! `CRASH_CASES` says how many cases to run: a number (spread evenly over the
//! list), or `all`. `CRASH_FIRST` moves the choice by some steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use reqwest::Method;
use serde_json::{Value, json};

use crate::checker;
use crate::shop::{Answer, Person, Shop, order_form, send_anyway, text};
use crate::world::{Part, Setup, World, eventually, own_alone};

/// Cases of an ordinary run.
const CASES: usize = 24;
/// Longest that one order may take through one crash.
const STORY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What becomes of an order.
#[derive(Debug, Clone, Copy)]
enum Story {
    Delivered,
    Declined,
    Rejected,
    NotShipped,
    TakenBack,
    Recalled,
}

const STORIES: [Story; 6] = [
    Story::Delivered,
    Story::Declined,
    Story::Rejected,
    Story::NotShipped,
    Story::TakenBack,
    Story::Recalled,
];

#[test]
fn whatever_step_the_services_die_at_every_order_ends_well() {
    let setup = Setup::with("ALLOW_CRASH", "true")
        .and("DELIVERY_TIME", "700ms")
        .lasting(Duration::from_secs(3600));
    own_alone(&setup, async |shop| {
        let world = shop.world();
        let steps = list_steps(world).await;
        let cases = choose(&steps);
        let mut table = Vec::new();
        for (number, (step, kind, side)) in (2..).zip(&cases) {
            let ordered = case(world, number, &format!("{step}:{side}")).await;
            table.push(format!("{side:>6}  {kind:<18} {step:<50} {ordered}"));
        }
        show(&steps, &table);
    });
}

/// Every step of one order of each story, and its kind.
async fn list_steps(world: &Arc<World>) -> Vec<(String, String)> {
    let url = format!("{}/steps", world.services_ops);
    world
        .http
        .delete(&url)
        .send()
        .await
        .expect("the services answer");
    let shop = Shop::beside_others(Arc::clone(world), 1);
    tell_all(&shop).await;
    checker::assert_quiet(&shop).await;
    let seen = world
        .http
        .get(&url)
        .send()
        .await
        .expect("the services answer");
    let seen: Vec<Value> = seen.json().await.expect("a list of steps");
    seen.iter()
        .map(|step| (text(&step["id"]).to_owned(), text(&step["kind"]).to_owned()))
        // The ways in, of the admin and of the catalog, are not the order's.
        .filter(|(id, _)| !id.starts_with("Inventory/Stock"))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The cases of this run: step, kind, side.
fn choose(steps: &[(String, String)]) -> Vec<(String, String, &'static str)> {
    let all: Vec<_> = steps
        .iter()
        .flat_map(|(step, kind)| ["before", "after"].map(|side| (step.clone(), kind.clone(), side)))
        .collect();
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).map_or(otherwise, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} must be a number, not {text}"))
        })
    };
    if std::env::var("CRASH_CASES").is_ok_and(|cases| cases == "all") {
        return all;
    }
    let stride = (all.len() / number("CRASH_CASES", CASES).max(1)).max(1);
    let first = number("CRASH_FIRST", 0) % stride;
    all.into_iter().skip(first).step_by(stride).collect()
}

/// One crash while one order of each story is under way.
async fn case(world: &Arc<World>, number: u32, at: &str) -> &'static str {
    let planned = world
        .http
        .post(format!(
            "{}/crash?at={}",
            world.services_ops,
            at.replace('#', "%23")
        ))
        .send()
        .await
        .expect("the services answer");
    assert!(planned.status().is_success(), "{at}: {planned:?}");
    let shop = Shop::beside_others(Arc::clone(world), number);
    let deaths = AtomicU32::new(0);
    let told = std::pin::pin!(tell_all(&shop));
    let revived = std::pin::pin!(revive(world, &deaths));
    match select(told, revived).await {
        Either::Left(_) => {}
        Either::Right((never, _)) => match never {},
    }
    // A step late in the orders' lives may be reached after they have ended.
    let quiet = std::pin::pin!(checker::assert_quiet(&shop));
    let revived = std::pin::pin!(revive(world, &deaths));
    match select(quiet, revived).await {
        Either::Left(_) => {}
        Either::Right((never, _)) => match never {},
    }
    match deaths.load(Ordering::Relaxed) {
        0 => {
            // Not every order of events repeats; then nothing has died.
            let steps = format!("{}/steps", world.services_ops);
            world
                .http
                .delete(steps)
                .send()
                .await
                .expect("the services answer");
            "not reached"
        }
        1 => "ok",
        more => panic!("{at}: the services died {more} times"),
    }
}

/// Starts the services again whenever they have died.
async fn revive(world: &World, deaths: &AtomicU32) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if world.has_ended(Part::Services) {
            deaths.fetch_add(1, Ordering::Relaxed);
            world.kill(Part::Services);
            world.start_again(Part::Services).await;
        }
    }
}

async fn tell_all(shop: &Shop) {
    futures::future::join_all(STORIES.map(|story| tell(shop, story))).await;
}

/// One order, by people who ask again until they are answered.
async fn tell(shop: &Shop, story: Story) {
    let buyer = shop.person(&format!("{story:?}").to_lowercase());
    let product = shop.product("P001").id;
    let id = match story {
        Story::NotShipped => "FAIL_SHIP",
        _ => "order",
    };
    surely(
        &buyer,
        "/api/cart/add",
        &json!({ "product_id": product, "quantity": 1 }),
    )
    .await;
    let order_id = {
        let placed = surely(&buyer, "/api/checkout", &order_form(id)).await;
        text(&placed["order_id"]).to_owned()
    };
    shop.accept(&order_id);

    let page = until(&buyer, &order_id, |order| {
        order["payment"]["pay_url"].as_str().map(str::to_owned)
    })
    .await;
    let action = if matches!(story, Story::Declined) {
        "decline"
    } else {
        "pay"
    };
    shop.use_payment_page(&page, action).await;
    let path = format!("/api/workflow/{order_id}/approve");
    if !matches!(story, Story::Declined) {
        until_status(&buyer, &order_id, &["awaiting_approval"]).await;
    }
    let end = match story {
        Story::Declined => "payment_failed",
        Story::Rejected => {
            surely(
                &shop.admin(),
                &path,
                &json!({ "approved": false, "reason": "no" }),
            )
            .await;
            "rejected"
        }
        Story::TakenBack => {
            surely(
                &buyer,
                &format!("/api/orders/{order_id}/cancel"),
                &json!({}),
            )
            .await;
            "cancelled"
        }
        Story::Delivered | Story::NotShipped | Story::Recalled => {
            surely(&shop.admin(), &path, &json!({ "approved": true })).await;
            match story {
                Story::Delivered => "delivered",
                Story::NotShipped => "shipping_failed",
                _ => {
                    until_status(&buyer, &order_id, &["in_transit", "delivered"]).await;
                    recall(shop, &order_id).await;
                    until_status(&buyer, &order_id, &["cancelled", "delivered"]).await;
                    return;
                }
            }
        }
    };
    until_status(&buyer, &order_id, &[end]).await;
}

/// An operator cancels the workflow's invocation.
async fn recall(shop: &Shop, order_id: &str) {
    let query = format!(
        "SELECT id FROM sys_invocation WHERE target = 'OrderFulfillmentWorkflow/{order_id}/Run'"
    );
    for row in shop.sql(&query).await {
        let url = format!("{}/invocations/{}/cancel", shop.admin, text(&row["id"]));
        shop.http.patch(url).send().await.expect("Restate answers");
    }
}

/// Asks until there is an answer that is not an outage's.
async fn surely(person: &Person<'_>, path: &str, body: &Value) -> Value {
    let key = format!("{}-{}", path.replace('/', "-"), person.name);
    eventually(path, STORY_WITHIN, async || {
        let request = person
            .request(Method::POST, path)
            .header("idempotency-key", &key);
        let answer: Answer = send_anyway(request.json(body)).await;
        if answer.status < 500 {
            assert!(answer.status < 300, "{path}: {answer:?}");
            Ok(answer.body)
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await
}

async fn until<T>(person: &Person<'_>, order_id: &str, look: impl Fn(&Value) -> Option<T>) -> T {
    let path = format!("/api/orders/{order_id}");
    eventually(&path, STORY_WITHIN, async || {
        let answer = send_anyway(person.request(Method::GET, &path)).await;
        look(&answer.body).ok_or_else(|| format!("{answer:?}"))
    })
    .await
}

async fn until_status(person: &Person<'_>, order_id: &str, statuses: &[&str]) {
    until(person, order_id, |order| {
        let status = order["status"].as_str()?;
        statuses.contains(&status).then_some(())
    })
    .await;
}

#[expect(
    clippy::print_stdout,
    reason = "the matrix is what the test is run for"
)]
fn show(steps: &[(String, String)], table: &[String]) {
    println!("{} steps, {} cases:", steps.len(), table.len());
    for line in table {
        println!("{line}");
    }
}
