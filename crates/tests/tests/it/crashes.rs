//! Each process dies before and after each durable step, and every order ends
//! well all the same.
//!
//! The list of steps is the services' own: `GET /steps` tells every message
//! that they sent to Restate while two orders of each story went through, so a
//! new step is covered without anyone remembering it. One case kills one
//! process at one of them: the services die there by themselves; for the
//! gateway and restate-server the services hold still there until it is dead.
//! What both orders did must be reached; what only one of them did (events do
//! not come in the same order every time) is tried, and shown by itself.
//!
//! Windows that end need a world of their own, so there are four tests.
//!
//! `CRASH_CASES` says how many cases each test runs for each process: a number
//! (spread evenly over the list), or `all`; `CRASH_OF` names one process,
//! `CRASH_AT` a step or a part of its name, and `CRASH_FIRST` moves the choice
//! by some cases.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use launcher::plan::TOKEN;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::checker;
use crate::shop::{Answer, Client, Shop, order_form, text, try_send};
use crate::world::{Component, Setup, World, eventually, own_alone};

/// Longest that one order may take through one crash.
const STORY_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const RESTATE_IS_TOLD_AFTER: Duration = Duration::from_secs(1);
/// A step that comes after its order has ended comes within this.
const LATE_STEP: Duration = Duration::from_secs(1);
/// Even a step that came twice may not come in the next order.
const TRIES: usize = 6;
/// As `MOST_IMPORTS` in the services' catalog.
const REMEMBERED_IMPORTS: usize = 20;
/// A rare one comes or does not.
const TRIES_IF_RARE: usize = 2;

/// Who dies.
const VICTIMS: [Component; 3] = [Component::Services, Component::Gateway, Component::Restate];

/// What becomes of an order.
#[derive(Debug, Clone, Copy)]
enum Story {
    Delivered,
    PaidAtTheSecondTry,
    Rejected,
    NotShipped,
    NotCaptured,
    TakenBack,
    PaidTooLate,
    Recalled,
    /// Its invocation is killed, and `gateway reconcile` cleans up.
    Killed,
    /// A piece is taken out before it ships.
    InPart,
    /// A piece comes back after it was delivered, and some money more.
    Returned,
    /// No order at all: what is sold changes, also by a file.
    Stocked,
    NeverPaid,
    NeverDecided,
    /// A return is accepted, and its parcel never comes.
    NeverSent,
}

/// A durable step, and the story that comes to it.
#[derive(Debug, Clone)]
struct Step {
    story: Story,
    id: String,
    what: String,
    /// It came in one of two orders only.
    is_rare: bool,
}

/// One death: at which step, on which side of it, whose.
#[derive(Debug, Clone, Copy)]
struct Case {
    step: usize,
    side: &'static str,
    victim: Component,
}

const SIDES: [&str; 2] = ["before", "after"];

#[test]
fn whoever_dies_at_whatever_step_every_order_ends_well() {
    let stories = [
        Story::Delivered,
        Story::PaidAtTheSecondTry,
        Story::Rejected,
        Story::NotShipped,
        Story::NotCaptured,
        Story::TakenBack,
        Story::PaidTooLate,
        Story::Recalled,
        Story::Killed,
        Story::InPart,
        Story::Returned,
        Story::Stocked,
    ];
    die_at_every_step(Setup::default(), &stories, 12);
}

#[test]
fn whoever_dies_while_nobody_pays_the_order_ends_well() {
    let short = Setup::with("PAYMENT_WINDOW", "2s");
    die_at_every_step(short, &[Story::NeverPaid], 2);
}

#[test]
fn whoever_dies_while_nobody_decides_the_order_ends_well() {
    let short = Setup::with("APPROVAL_WINDOW", "2s");
    die_at_every_step(short, &[Story::NeverDecided], 2);
}

#[test]
fn whoever_dies_while_no_parcel_comes_back_the_return_ends_well() {
    let short = Setup::with("RETURN_SEND_WITHIN", "2s");
    die_at_every_step(short, &[Story::NeverSent], 2);
}

/// The services say a delivery aloud when they hand it to Restate. Whoever sees it, and asks
/// for something before Restate knows, is not refused: the services hold still in between.
#[test]
fn what_is_shown_as_delivered_can_be_sent_back_although_restate_does_not_know_yet() {
    let setup = Setup::with("ALLOW_CRASH", "true").and("DELIVERY_TIME", "100ms");
    own_alone(&setup, async |shop| {
        let world = shop.world();
        let steps = steps_of(world, Story::Delivered, [1, 2]).await;
        let is_written = |step: &&Step| {
            step.id.starts_with("OrderFulfillmentWorkflow/Run#1:") && step.what == "set record"
        };
        let delivery = steps.iter().rfind(is_written).expect("its last record");
        let items = json!([{ "sku": "P001", "quantity": 1 }]);
        let asked = [
            ("returns", json!({ "items": items, "reason": "too small" })),
            ("refunds", json!({ "amount_cents": 10, "reason": "sorry" })),
        ];
        for (number, (what, body)) in (3..).zip(asked) {
            let hold = format!("/hold?at={}:before", delivery.id);
            ops(world, Method::DELETE, "/steps").await;
            ops(world, Method::POST, &hold).await;
            let shop = Shop::beside_others(Arc::clone(world), number);
            tell(&shop, Story::Delivered).await;
            assert_eq!(ops(world, Method::GET, "/hold").await["holding"], true);
            let buyer = shop.person("delivered");
            let person = if what == "returns" {
                &buyer
            } else {
                &shop.admin()
            };
            let path = format!("/api/orders/{}.order/{what}", buyer.name);
            let told = async {
                tokio::time::sleep(RESTATE_IS_TOLD_AFTER).await;
                ops(world, Method::DELETE, "/hold").await;
            };
            let (answer, ()) = tokio::join!(person.post(&path, &body), told);
            answer.expect(201);
            checker::assert_quiet(&shop).await;
        }
    });
}

/// An ordinary run has this many cases for each process.
fn die_at_every_step(setup: Setup, stories: &[Story], cases: usize) {
    let setup = setup
        .and("ALLOW_CRASH", "true")
        .and("DELIVERY_TIME", "500ms")
        .lasting(Duration::from_hours(3));
    own_alone(&setup, async |shop| {
        let world = shop.world();
        let path = format!("/api/products/{}/restock", shop.product("P001").id);
        let enough = json!({ "quantity": 10_000 });
        shop.admin().post(&path, &enough).await.expect(200);
        if stories.iter().any(|story| matches!(story, Story::Stocked)) {
            remember_imports(shop).await;
        }
        // The first catalog is made meanwhile: its steps are no order's.
        world.nothing_is_under_way().await;
        let mut numbers = 1..;
        let mut steps = Vec::new();
        for story in stories {
            let tellings = [numbers.next(), numbers.next()].map(|number| number.expect("a number"));
            steps.extend(steps_of(world, *story, tellings).await);
        }
        // Stories begin alike, and what is rare in one may be sure in another.
        steps.sort_by_key(|step| step.is_rare);
        let mut known = BTreeSet::new();
        steps.retain(|step| known.insert((step.id.clone(), step.what.clone())));
        assert!(!steps.is_empty(), "the services told no step");
        let mut outcomes = Vec::new();
        for case in choose(&steps, cases) {
            let step = &steps[case.step];
            say(step, case);
            let tries = if step.is_rare { TRIES_IF_RARE } else { TRIES };
            let mut reached = false;
            for number in numbers.by_ref().take(tries) {
                reached = run(world, number, step, case).await;
                if reached {
                    break;
                }
            }
            outcomes.push((case, reached));
        }
        show(&steps, &outcomes);
        let missed: Vec<_> = outcomes
            .iter()
            .filter(|(case, reached)| !reached && !steps[case.step].is_rare)
            .map(|(case, _)| format!("{} {case:?}", steps[case.step].id))
            .collect();
        assert!(missed.is_empty(), "nobody died at {missed:#?}");
    });
}

/// Every step of two orders, in the order of the first time.
async fn steps_of(world: &Arc<World>, story: Story, numbers: [u32; 2]) -> Vec<Step> {
    let mut tellings = Vec::new();
    for number in numbers {
        ops(world, Method::DELETE, "/steps").await;
        let shop = Shop::beside_others(Arc::clone(world), number);
        tell(&shop, story).await;
        checker::assert_quiet(&shop).await;
        let seen = ops(world, Method::GET, "/steps").await;
        let seen = seen.as_array().expect("a list of steps").iter();
        let steps = seen.map(|step| (text(&step["id"]).to_owned(), text(&step["what"]).to_owned()));
        tellings.push(steps.collect::<Vec<_>>());
    }
    let step = |(id, what): &(String, String)| Step {
        story,
        id: id.clone(),
        what: what.clone(),
        is_rare: !tellings
            .iter()
            .all(|telling| telling.iter().any(|(it, _)| it == id)),
    };
    tellings.iter().flatten().map(step).collect()
}

/// Asks the services' ops port.
async fn ops(world: &World, method: Method, path: &str) -> Value {
    let url = format!("{}{}", world.services_ops, path.replace('#', "%23"));
    let asked = world.http.request(method, &url).bearer_auth(TOKEN);
    let answer = asked.send().await;
    let answer = answer.expect("the services answer");
    assert!(answer.status().is_success(), "{url}: {answer:?}");
    let body = answer.text().await.expect("an answer is text");
    serde_json::from_str(&body).unwrap_or_default()
}

/// The cases of this run.
fn choose(steps: &[Step], ordinarily: usize) -> Vec<Case> {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).map_or(otherwise, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} must be a number, not {text}"))
        })
    };
    let victims = VICTIMS.into_iter().filter(|victim| {
        std::env::var("CRASH_OF").map_or(true, |of| of == format!("{victim:?}").to_lowercase())
    });
    let all_of = |victim| {
        (0..steps.len()).flat_map(move |step| SIDES.map(|side| Case { step, side, victim }))
    };
    if let Ok(at) = std::env::var("CRASH_AT") {
        let is_meant = |case: &Case| steps[case.step].id.contains(&at);
        return victims.flat_map(all_of).filter(is_meant).collect();
    }
    if std::env::var("CRASH_CASES").is_ok_and(|cases| cases == "all") {
        return victims.flat_map(all_of).collect();
    }
    let sure = steps.iter().filter(|step| !step.is_rare).count();
    let stride = (sure * SIDES.len() / number("CRASH_CASES", ordinarily).max(1)).max(1);
    let first = number("CRASH_FIRST", 0);
    // Each victim begins elsewhere, so that together they die at more steps.
    victims
        .enumerate()
        .flat_map(|(nth, victim)| {
            all_of(victim)
                .take(sure * SIDES.len())
                .skip((first + nth * stride / VICTIMS.len()) % stride)
                .step_by(stride)
        })
        .collect()
}

/// One order whose story comes to the step, and one death there. Whether the
/// step was reached.
async fn run(world: &Arc<World>, number: u32, step: &Step, case: Case) -> bool {
    let Case { side, victim, .. } = case;
    let how = match victim {
        Component::Services => "crash",
        _ => "hold",
    };
    ops(
        world,
        Method::POST,
        &format!("/{how}?at={}:{side}", step.id),
    )
    .await;
    let shop = Shop::beside_others(Arc::clone(world), number);
    let story = async {
        tell(&shop, step.story).await;
        tokio::time::sleep(LATE_STEP).await;
    };
    let reached = match select(std::pin::pin!(story), std::pin::pin!(death(world, victim))).await {
        Either::Left(_) => false,
        Either::Right(((), story)) => {
            story.await;
            true
        }
    };
    if !reached {
        ops(world, Method::DELETE, "/steps").await;
    }
    checker::assert_quiet(&shop).await;
    assert!(
        !VICTIMS.iter().any(|part| world.has_ended(*part)),
        "{step:?} {case:?}: somebody died a second time"
    );
    reached
}

/// Waits until the step is reached, lets the victim die there, and starts it
/// again.
async fn death(world: &World, victim: Component) {
    let reached = async || match victim {
        Component::Services => world.has_ended(Component::Services),
        _ => ops(world, Method::GET, "/hold").await["holding"] == true,
    };
    while !reached().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    world.kill(victim);
    // Meanwhile the order goes on without the gateway; without Restate it cannot.
    if victim == Component::Gateway {
        ops(world, Method::DELETE, "/hold").await;
    }
    world.start_again(victim).await;
    if victim == Component::Restate {
        ops(world, Method::DELETE, "/hold").await;
    }
}

/// One order, by people who ask again until they are answered.
#[expect(clippy::too_many_lines, reason = "the stories, told side by side")]
async fn tell(shop: &Shop, story: Story) {
    if let Story::Stocked = story {
        change_the_catalog(shop).await;
        return;
    }
    let buyer = shop.person(&format!("{story:?}").to_lowercase());
    let admin = shop.admin();
    let id = match story {
        Story::NotShipped => "FAIL_SHIP",
        _ => "order",
    };
    let pieces = match story {
        Story::InPart | Story::Returned => 2,
        _ => 1,
    };
    let product = json!({ "product_id": shop.product("P001").id, "quantity": pieces });
    surely(&buyer, "/api/cart/add", "first", &product).await;
    let order_id = {
        let placed = surely(&buyer, "/api/checkout", "first", &order_form(id)).await;
        text(&placed["order_id"]).to_owned()
    };
    shop.accept(&order_id);
    let cancel = format!("/api/orders/{order_id}/cancel");
    let decide = format!("/api/workflow/{order_id}/approve");
    let approved = json!({ "approved": true });

    if let Story::NeverPaid = story {
        until_status(&buyer, &order_id, &["payment_expired"]).await;
        return;
    }
    let page = page_of(&buyer, &order_id, 1).await;
    let receipt = |transaction: &str| {
        json!({
            "awakeable_id": page.awakeable,
            "transaction_id": format!("{transaction}-{order_id}"),
            "amount": page.total,
            "status": "success",
        })
    };
    match story {
        Story::PaidTooLate => {
            surely(&buyer, &cancel, "only", &json!({})).await;
            until_status(&buyer, &order_id, &["cancelled"]).await;
            surely(&buyer, "/api/payment/callback", "only", &receipt("late")).await;
            return;
        }
        Story::PaidAtTheSecondTry => {
            shop.use_payment_page(&page.url, "decline").await;
            until_status(&buyer, &order_id, &["payment_failed"]).await;
            surely(&buyer, "/api/checkout", "second", &order_form(id)).await;
            let page = page_of(&buyer, &order_id, 2).await;
            shop.use_payment_page(&page.url, "pay").await;
        }
        // Paid, says somebody; the provider knows better and will not capture.
        Story::NotCaptured => {
            surely(&buyer, "/api/payment/callback", "only", &receipt("made-up")).await;
            shop.use_payment_page(&page.url, "decline").await;
        }
        _ => shop.use_payment_page(&page.url, "pay").await,
    }
    // Earlier the workflow may not have begun: an approval is asked twice then.
    until(&buyer, &order_id, |order| {
        let waits = order["status"] == "awaiting_approval";
        let has_begun = waits && !order["workflow"]["deadline"].is_null();
        (has_begun || order["status"] == "approval_expired").then_some(())
    })
    .await;
    let end = match story {
        Story::Rejected => {
            let rejected = json!({ "approved": false, "reason": "no" });
            surely(&admin, &decide, &order_id, &rejected).await;
            "rejected"
        }
        Story::TakenBack => {
            surely(&buyer, &cancel, "only", &json!({})).await;
            "cancelled"
        }
        Story::NotShipped => {
            surely(&admin, &decide, &order_id, &approved).await;
            "shipping_failed"
        }
        Story::NotCaptured => {
            surely(&admin, &decide, &order_id, &approved).await;
            "payment_failed"
        }
        Story::Recalled => {
            surely(&admin, &decide, &order_id, &approved).await;
            until_status(&buyer, &order_id, &["in_transit", "delivered"]).await;
            end_run(shop, &order_id, "cancel").await;
            until_status(&buyer, &order_id, &["cancelled", "delivered"]).await;
            return;
        }
        Story::Killed => {
            let carrier = |down| json!({ "carrier": { "down": down } });
            shop.faults_of(&order_id, carrier(true)).await;
            surely(&admin, &decide, &order_id, &approved).await;
            until_status(&buyer, &order_id, &["shipping"]).await;
            end_run(shop, &order_id, "kill").await;
            shop.faults_of(&order_id, carrier(false)).await;
            clean_up(shop, &order_id).await;
            "cancelled"
        }
        Story::NeverDecided => "approval_expired",
        Story::InPart => {
            let without = json!([{ "sku": "P001", "quantity": 1 }]);
            let in_part = json!({ "approved": true, "reason": "broken", "without": without });
            surely(&admin, &decide, &order_id, &in_part).await;
            "delivered"
        }
        Story::Delivered
        | Story::Returned
        | Story::NeverSent
        | Story::Stocked
        | Story::PaidAtTheSecondTry
        | Story::PaidTooLate
        | Story::NeverPaid => {
            surely(&admin, &decide, &order_id, &approved).await;
            "delivered"
        }
    };
    until_status(&buyer, &order_id, &[end]).await;
    match story {
        Story::Returned => send_back(&buyer, &admin, &order_id).await,
        Story::NeverSent => {
            accept_a_return(&buyer, &admin, &order_id).await;
            until(&buyer, &order_id, |order| {
                let status = &order["after_delivery"]["returns"][0]["status"];
                (*status == "not_sent").then_some(())
            })
            .await;
        }
        _ => {}
    }
}

/// As many imports as are remembered: each further one forgets another, and so all of
/// them take the same steps.
async fn remember_imports(shop: &Shop) {
    let import = json!({ "csv": "sku,name,price\nP001,Widget A,25.00\n" });
    for _ in 0..=REMEMBERED_IMPORTS {
        let begun = shop.admin().post("/api/catalog/import", &import).await;
        begun.expect(202);
    }
}

/// A product and a zone are made and changed, and a file of two is imported.
async fn change_the_catalog(shop: &Shop) {
    let (admin, mark) = (shop.admin(), shop.person("stock").name);
    let products = "/api/catalog/products";
    let kettle = json!({ "sku": mark, "name": "Kettle", "price_cents": 2_490, "stock": 5 });
    let made = surely(&admin, products, &mark, &kettle).await;
    let dearer = json!({ "version": made["version"], "name": "Kettle", "price_cents": 2_590 });
    let one = format!("{products}/{mark}");
    surely(&admin, &one, &mark, &dearer).await;
    for act in ["archive", "restore"] {
        surely(&admin, &format!("{one}/{act}"), &mark, &json!({})).await;
    }
    let zone = json!({ "zone": mark, "cost_cents": 490 });
    surely(&admin, "/api/catalog/zones", &mark, &zone).await;
    let csv = format!("sku,name,price,stock\n{mark},Kettle,26.90,5\n{mark}-pan,Pan,9.00,3\n");
    let import = json!({ "csv": csv });
    let begun = surely(&admin, "/api/catalog/import", &mark, &import).await;
    let progress = format!("/api/catalog/import/{}", text(&begun["import"]));
    eventually("it is imported", STORY_WITHIN, async || {
        let answer = answered(admin.request(Method::GET, &progress)).await?;
        (answer.body["is_over"] == true)
            .then_some(())
            .ok_or_else(|| format!("{answer:?}"))
    })
    .await;
    for (sku, cents, pieces) in [(mark.clone(), 2_690, 5), (format!("{mark}-pan"), 900, 3)] {
        let of_it = format!("{products}/{sku}");
        eventually("it is sold so", STORY_WITHIN, async || {
            let answer = answered(admin.request(Method::GET, &of_it)).await?;
            let level = shop.state("Inventory", &sku, "level").await;
            let available = level.map(|it| it["available"].clone());
            let is_so = answer.body["price_cents"] == cents && available == Some(json!(pieces));
            is_so
                .then_some(())
                .ok_or_else(|| format!("{answer:?} {available:?}"))
        })
        .await;
    }
}

async fn accept_a_return(buyer: &Client<'_>, admin: &Client<'_>, order_id: &str) {
    let returns = format!("/api/orders/{order_id}/returns");
    let items = json!([{ "sku": "P001", "quantity": 1 }]);
    let ask = json!({ "items": items, "reason": "too small" });
    surely(buyer, &returns, "only", &ask).await;
    let accept = json!({ "accepted": true });
    surely(admin, &format!("{returns}/1/decide"), order_id, &accept).await;
}

/// A piece comes back, its money goes back, and a little more.
async fn send_back(buyer: &Client<'_>, admin: &Client<'_>, order_id: &str) {
    accept_a_return(buyer, admin, order_id).await;
    let receive = format!("/api/orders/{order_id}/returns/1/receive");
    surely(admin, &receive, order_id, &json!({})).await;
    let goodwill = json!({ "amount_cents": 10, "reason": "sorry" });
    let refunds = format!("/api/orders/{order_id}/refunds");
    surely(admin, &refunds, order_id, &goodwill).await;
    until(buyer, order_id, |order| {
        let refunds = order["after_delivery"]["refunds"].as_array()?;
        let all_back = refunds.iter().all(|it| it["status"] == "refunded");
        (refunds.len() == 2 && all_back).then_some(())
    })
    .await;
    // The other piece is kept after all.
    let returns = format!("/api/orders/{order_id}/returns");
    let items = json!([{ "sku": "P001", "quantity": 1 }]);
    let ask = json!({ "items": items, "reason": "too small, too" });
    surely(buyer, &returns, "again", &ask).await;
    surely(buyer, &format!("{returns}/2/withdraw"), "only", &json!({})).await;
}

/// Where to pay.
struct Page {
    url: String,
    awakeable: String,
    total: i64,
}

/// The payment page of that attempt.
async fn page_of(buyer: &Client<'_>, order_id: &str, attempt: i64) -> Page {
    until(buyer, order_id, |order| {
        let payment = &order["payment"];
        (payment["attempt"] == attempt).then_some(())?;
        Some(Page {
            url: payment["pay_url"].as_str()?.to_owned(),
            awakeable: payment["awakeable_id"].as_str()?.to_owned(),
            total: order["total_cents"].as_i64()?,
        })
    })
    .await
}

/// An operator ends the workflow's invocation: `cancel` or `kill`.
async fn end_run(shop: &Shop, order_id: &str, how: &str) {
    let query = format!(
        "SELECT id FROM sys_invocation WHERE target = 'OrderFulfillmentWorkflow/{order_id}/Run'"
    );
    let rows = eventually("Restate tells the invocation", STORY_WITHIN, async || {
        shop.try_sql(&query).await
    })
    .await;
    for row in rows {
        let url = format!("{}/invocations/{}/{how}", shop.admin, text(&row["id"]));
        eventually("Restate takes it", STORY_WITHIN, async || {
            answered(shop.http.patch(&url)).await
        })
        .await;
    }
}

/// `gateway reconcile ORDER --repair`, until nothing is left to mend.
async fn clean_up(shop: &Shop, order_id: &str) {
    eventually("the order is cleaned up", STORY_WITHIN, async || {
        let (world, order_id) = (Arc::clone(shop.world()), order_id.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            world.run_gateway(&["reconcile", &order_id, "--repair"])
        });
        let said = asked.await.expect("the gateway was run");
        if said.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&said.stdout).into_owned())
        }
    })
    .await;
}

/// Asks until there is an answer that is not an outage's. `key` tells one
/// request from the next; the same one is sent again with the same key.
async fn surely(person: &Client<'_>, path: &str, key: &str, body: &Value) -> Value {
    let key = format!("{}-{}-{key}", path.replace('/', "-"), person.name);
    eventually(path, STORY_WITHIN, async || {
        let request = person
            .request(Method::POST, path)
            .header("idempotency-key", &key);
        let answer = answered(request.json(body)).await?;
        assert!(answer.status < 300, "{path}: {answer:?}");
        Ok(answer.body)
    })
    .await
}

/// An answer, or an outage in words.
async fn answered(request: RequestBuilder) -> Result<Answer, String> {
    match try_send(request).await {
        Ok(answer) if answer.status < 500 => Ok(answer),
        Ok(answer) => Err(format!("{answer:?}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn until<T>(person: &Client<'_>, order_id: &str, look: impl Fn(&Value) -> Option<T>) -> T {
    let path = format!("/api/orders/{order_id}");
    eventually(&path, STORY_WITHIN, async || {
        let answer = answered(person.request(Method::GET, &path)).await?;
        look(&answer.body).ok_or_else(|| format!("{answer:?}"))
    })
    .await
}

async fn until_status(person: &Client<'_>, order_id: &str, statuses: &[&str]) {
    until(person, order_id, |order| {
        let status = order["status"].as_str()?;
        statuses.contains(&status).then_some(())
    })
    .await;
}

/// Where a failed run has come to.
#[expect(clippy::print_stdout, reason = "shown when the test fails")]
fn say(step: &Step, case: Case) {
    let Case { side, victim, .. } = case;
    println!("{victim:?} dies {side} {} ({})", step.id, step.what);
}

/// The matrix: a row for each step, a column for each process and side.
#[expect(
    clippy::print_stdout,
    reason = "the matrix is what the test is run for"
)]
fn show(steps: &[Step], outcomes: &[(Case, bool)]) {
    for is_rare in [false, true] {
        let of_kind = || {
            outcomes
                .iter()
                .filter(|(case, _)| steps[case.step].is_rare == is_rare)
        };
        let missed = of_kind().filter(|(_, reached)| !reached).count();
        println!(
            "{} steps that came in {}, {} cases: {} ok, {missed} not reached, 0 failed",
            steps.iter().filter(|step| step.is_rare == is_rare).count(),
            if is_rare {
                "one of two orders"
            } else {
                "both orders"
            },
            of_kind().count(),
            of_kind().count() - missed,
        );
    }
    println!(
        "{:<92}{:^16}{:^16}{:^16}",
        "", "services", "gateway", "restate-server"
    );
    println!("{:<92}{}", "step", "before   after ".repeat(VICTIMS.len()));
    for (number, step) in steps.iter().enumerate() {
        let rare = if step.is_rare { "(rare) " } else { "" };
        let mut row = format!("{:<46} {:<45}", step.id, format!("{rare}{}", step.what));
        let mut is_told = false;
        for victim in VICTIMS {
            for side in SIDES {
                let outcome = outcomes.iter().find(|(case, _)| {
                    case.step == number && case.side == side && case.victim == victim
                });
                is_told |= outcome.is_some();
                let cell = match outcome {
                    Some((_, true)) => "ok",
                    Some((_, false)) => "missed",
                    None => "-",
                };
                let _ = write!(row, "{cell:<8}");
            }
        }
        if is_told {
            println!("{row}");
        }
    }
}
