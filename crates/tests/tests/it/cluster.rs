//! Three nodes of Restate, two services, two gateways: any of them may die, and what
//! was promised is kept.
//!
//! `just cluster-test` runs all mishaps (`CLUSTER_MISHAPS=all`) and prints a table; an
//! ordinary run has a bounded part of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use launcher::island::Island;
use reqwest::Method;
use serde_json::{Value, json};

use crate::checker;
use crate::code_change::{deployment, removed};
use crate::shop::{Answer, Client, Shop, order_form, send_anyway, text, try_send};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own_alone};

/// Customers who buy all the time, each one thing after the other.
const CUSTOMERS: usize = 4;
const SKUS: [&str; 4] = ["P001", "P002", "P003", "P004"];
/// Longest that somebody waits for an answer before they ask at the other gateway.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// Longest that an order may take: longer than any mishap.
const ARRIVES_WITHIN: Duration = Duration::from_mins(2);
/// What a cluster may take to notice and to go on.
const RECOVERS_WITHIN: Duration = Duration::from_mins(1);
/// What is looked at before a mishap and after it.
const ASIDE: Duration = Duration::from_secs(3);

const NODES: [Component; 3] = Component::NODES;
/// The node that can be cut off.
const ISLAND: Component = Component::Restate3;
const GATEWAYS: [Component; 2] = [Component::Gateway, Component::Gateway2];

#[test]
fn an_order_goes_on_at_the_other_gateway() {
    let setup = Setup::with_sessions().on_a_cluster();
    own_alone(&setup, async |shop| {
        let alice = signed_in(shop, shop.alice()).await;
        let admin = signed_in(shop, shop.admin()).await;
        let elsewhere = alice.clone().at(Component::Gateway2);
        let mut told = elsewhere.stream("/stream/notifications").await;
        let item = json!({ "product_id": shop.product("P001").id, "quantity": 1 });
        let added = alice.post_keyed("/api/cart/add", "one", &item).await;
        added.expect(200);
        let form = order_form("moved");
        let first = alice.post_keyed("/api/checkout", "two", &form).await;
        let order_id = text(&first.body["order_id"]).to_owned();
        shop.accept(&order_id);
        first.expect(202);

        shop.kill(Component::Gateway);
        // The same cookie, and the same keys: nothing happens twice.
        let again = elsewhere.post_keyed("/api/checkout", "two", &form).await;
        assert_eq!(text(&again.body["order_id"]), order_id, "{again:?}");
        assert!(matches!(again.status, 200 | 202), "{again:?}");
        elsewhere
            .post_keyed("/api/cart/add", "one", &item)
            .await
            .expect(200);
        assert_eq!(elsewhere.in_cart().await, [("P001".to_owned(), 1)]);
        let order = elsewhere.placed(&again.body);
        // Its callback finds the gateway that is there.
        order.pay().await;
        told.until("Payment confirmed!").await;
        order.until("awaiting_approval").await;
        admin.at(Component::Gateway2).approve(&order).await;
        order.until("delivered").await;
        order.has_happened_once().await;

        // Whoever comes back knows all of it.
        shop.start_again(Component::Gateway).await;
        alice.placed(&again.body).until("delivered").await;
    });
}

async fn signed_in<'a>(shop: &'a Shop, person: Client<'a>) -> Client<'a> {
    let body = json!({ "username": person.name, "password": password(&person.name) });
    let answer = shop.anonymous().post("/login", &body).await;
    let cookie = answer.cookies.first().expect("a cookie").clone();
    answer.expect(200);
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    person.with_cookie(&pair)
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// SIGKILL of the node that leads a partition; started again.
    LeaderKilled,
    /// SIGKILL of one that leads none.
    FollowerKilled,
    /// SIGKILL of the one that leads the metadata.
    MetadataLeaderKilled,
    /// SIGSTOP of a leader for so many seconds.
    LeaderFrozen(u64),
    /// A leader's network is cut off from everybody's, for so many seconds.
    LeaderCutOff(u64),
    /// SIGKILL of two nodes, for so many seconds.
    TwoAway(u64),
    /// SIGKILL, and its disk is lost: another takes its place under a new name.
    DiskLost,
    /// Each node is asked to end and started again, one after the other.
    NodesRolled,
    /// The same of services and gateways.
    OursRolled,
    /// SIGKILL of a service and of a gateway.
    OursKilled,
    /// Services of newer code take over from older ones, then gateways do.
    NewCode,
}

/// Those of an ordinary run, which must not take long.
const BOUNDED: [Mishap; 6] = [
    Mishap::LeaderKilled,
    Mishap::LeaderFrozen(6),
    Mishap::LeaderCutOff(6),
    Mishap::TwoAway(5),
    Mishap::OursKilled,
    Mishap::DiskLost,
];
const ALL: [Mishap; 10] = [
    Mishap::LeaderKilled,
    Mishap::FollowerKilled,
    Mishap::MetadataLeaderKilled,
    Mishap::LeaderFrozen(30),
    Mishap::LeaderCutOff(30),
    Mishap::TwoAway(30),
    Mishap::NodesRolled,
    Mishap::OursRolled,
    Mishap::OursKilled,
    Mishap::DiskLost,
];

impl Mishap {
    fn in_words(self) -> String {
        match self {
            Self::LeaderKilled => "SIGKILL of a partition's leader".to_owned(),
            Self::FollowerKilled => "SIGKILL of a follower".to_owned(),
            Self::MetadataLeaderKilled => "SIGKILL of the metadata's leader".to_owned(),
            Self::LeaderFrozen(seconds) => format!("SIGSTOP of a leader for {seconds} s"),
            Self::LeaderCutOff(seconds) => format!("a leader cut off for {seconds} s"),
            Self::TwoAway(seconds) => format!("two of three nodes away for {seconds} s"),
            Self::DiskLost => "a node loses its disk and is replaced".to_owned(),
            Self::NodesRolled => "rolling restart of the nodes".to_owned(),
            Self::OursRolled => "rolling restart of services and gateways".to_owned(),
            Self::OursKilled => "SIGKILL of a service and of a gateway".to_owned(),
            Self::NewCode => "new code of services and gateways, in turn".to_owned(),
        }
    }
}

#[test]
fn nothing_is_lost_whichever_node_dies() {
    let all = std::env::var("CLUSTER_MISHAPS").is_ok_and(|which| which == "all");
    let mishaps: &[Mishap] = if all { &ALL } else { &BOUNDED };
    let mut setup = Setup::default()
        .on_a_cluster()
        .lasting(Duration::from_mins(15));
    let mut mishaps = mishaps.to_vec();
    match Island::new(&[], &[]) {
        Ok(_) => setup = setup.with_an_island(ISLAND),
        Err(why) => {
            show(&format!("not tested: a leader that is cut off: {why}"));
            mishaps.retain(|mishap| !matches!(mishap, Mishap::LeaderCutOff(_)));
        }
    }
    // `just test` fetches the packages of a store (scripts/pip.mjs).
    match std::env::var_os("STORE_DIR").filter(|it| !it.is_empty()) {
        Some(packages) => setup = setup.with_snapshots(Path::new(&packages)),
        None => show("not tested: snapshots: there is no store for them (STORE_DIR)"),
    }
    own_alone(&setup, async |shop| {
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        show(
            "| what happened | accepted | ended | lost | longest gap | orders/s before | meanwhile | after |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |",
        );
        for (n, mishap) in mishaps.into_iter().enumerate() {
            for sku in SKUS {
                let path = format!("/api/products/{}/restock", shop.product(sku).id);
                let enough = json!({ "quantity": 1_000 });
                shop.admin().post(&path, &enough).await.expect(200);
            }
            show(&under_load(shop, n, mishap).await.in_words());
        }
    });
    if all {
        new_code_takes_over();
    }
}

/// Today's services and gateways take over from older ones (scripts/old-programs.mjs).
fn new_code_takes_over() {
    let old = |name| std::env::var_os(name).filter(|path| !path.is_empty());
    let (Some(services), Some(gateway)) = (old("OLD_SERVICES_BIN"), old("OLD_GATEWAY_BIN")) else {
        return show(
            "not tested: new code: there are no older programs (OLD_SERVICES_BIN, OLD_GATEWAY_BIN)",
        );
    };
    let setup = Setup::default()
        .on_a_cluster()
        .with_old_services(Path::new(&services))
        .with_old_gateway(Path::new(&gateway));
    own_alone(&setup, async |shop| {
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        show(
            &under_load(shop, ALL.len(), Mishap::NewCode)
                .await
                .in_words(),
        );
    });
}

/// What was seen around one mishap.
struct Row {
    what: String,
    accepted: usize,
    ended: usize,
    /// Longest time in which no order ended.
    gap: Duration,
    /// Orders that ended in a second, before, meanwhile and after.
    rates: [f64; 3],
}

/// Orders of one mishap: when each ended.
#[derive(Default)]
struct Book {
    accepted: Mutex<Vec<String>>,
    ended: Mutex<Vec<Instant>>,
    closes: AtomicBool,
}

impl Book {
    fn ended(&self) -> Vec<Instant> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn under_load(shop: &Shop, n: usize, mishap: Mishap) -> Row {
    let book = Book::default();
    let customers = (0..CUSTOMERS).map(|customer| buys(shop, &book, n, customer));
    let story = async {
        if matches!(mishap, Mishap::LeaderCutOff(_)) {
            is_made_leader(shop, ISLAND).await;
        }
        let began = Instant::now();
        // Whatever came before is over.
        eventually("orders go on", RECOVERS_WITHIN, async || goes_on(&book, 3)).await;
        tokio::time::sleep(ASIDE).await;
        let broken = Instant::now();
        happens(shop, mishap).await;
        let mended = Instant::now();
        let so_far = book.ended().len();
        eventually("orders go on again", RECOVERS_WITHIN, async || {
            goes_on(&book, so_far + 3)
        })
        .await;
        tokio::time::sleep(ASIDE).await;
        let over = Instant::now();
        book.closes.store(true, Ordering::Relaxed);
        [began, broken, mended, over]
    };
    let (moments, ()) = join(story, async {
        join_all(customers).await;
    })
    .await;
    checker::assert_quiet_within(shop, RECOVERS_WITHIN).await;
    let accepted = book
        .accepted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .len();
    Row::of(mishap, accepted, &book.ended(), moments)
}

fn goes_on(book: &Book, at_least: usize) -> Result<(), String> {
    let ended = book.ended().len();
    if ended >= at_least {
        Ok(())
    } else {
        Err(format!("{ended} have ended"))
    }
}

impl Row {
    fn of(mishap: Mishap, accepted: usize, ended: &[Instant], moments: [Instant; 4]) -> Self {
        let [began, broken, mended, over] = moments;
        let within = |from: Instant, to: Instant| {
            let many = ended.iter().filter(|at| (from..to).contains(at)).count();
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let many = many as f64;
            many / (to - from).as_secs_f64()
        };
        let mut marks: Vec<_> = ended
            .iter()
            .copied()
            .filter(|at| *at > broken && *at < over)
            .collect();
        marks.extend([broken, over]);
        marks.sort_unstable();
        let gaps = marks.windows(2).map(|two| two[1] - two[0]);
        Self {
            what: mishap.in_words(),
            accepted,
            ended: ended.len(),
            gap: gaps.max().unwrap_or_default(),
            rates: [
                within(began, broken),
                within(broken, mended),
                within(mended, over),
            ],
        }
    }

    fn in_words(&self) -> String {
        let [before, meanwhile, after] = self.rates;
        format!(
            "| {} | {} | {} | {} | {:.1} s | {before:.1} | {meanwhile:.1} | {after:.1} |",
            self.what,
            self.accepted,
            self.ended,
            self.accepted - self.ended,
            self.gap.as_secs_f64(),
        )
    }
}

#[expect(clippy::print_stdout, reason = "the report")]
fn show(lines: &str) {
    println!("{lines}");
}

/// Buys one thing after the other until the book closes.
async fn buys(shop: &Shop, book: &Book, n: usize, customer: usize) {
    let buyer = shop.person(&format!("customer{customer}"));
    let admin = shop.admin();
    let sku = SKUS[customer % SKUS.len()];
    let item = json!({ "product_id": shop.product(sku).id, "quantity": 1 });
    for order in 0.. {
        if book.closes.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("m{n}-{order}");
        let key = |what: &str| format!("{id}-{customer}-{what}");
        let added = insist(&buyer, "/api/cart/add", &key("add"), &item).await;
        assert_eq!(added.status, 200, "{added:?}");
        let placed = insist(&buyer, "/api/checkout", &key("checkout"), &order_form(&id)).await;
        assert!(matches!(placed.status, 200 | 202), "{placed:?}");
        let order_id = text(&placed.body["order_id"]).to_owned();
        shop.accept(&order_id);
        book.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(order_id.clone());
        until(&buyer, &order_id, "awaiting_approval").await;
        let path = format!("/api/workflow/{order_id}/approve");
        let approved = insist(&admin, &path, &key("approve"), &json!({ "approved": true })).await;
        assert!(approved.status < 300, "{approved:?}");
        until(&buyer, &order_id, "delivered").await;
        book.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
    }
}

/// Asks with the same key at one gateway and the other, until it is answered.
async fn insist(person: &Client<'_>, path: &str, key: &str, body: &Value) -> Answer {
    let mut last = String::new();
    let insisting = async {
        for gateway in GATEWAYS.into_iter().cycle() {
            let request = person.clone().at(gateway).request(Method::POST, path);
            let request = request.header("idempotency-key", key).json(body);
            match try_send(request.timeout(ANSWER_WITHIN)).await {
                Ok(answer) if answer.status < 500 && !is_too_early(&answer) => return answer,
                Ok(answer) => last = answer.text,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        unreachable!("the gateways are asked for ever")
    };
    let answered = tokio::time::timeout(ARRIVES_WITHIN, insisting).await;
    answered.unwrap_or_else(|_| panic!("{path}: no answer within {ARRIVES_WITHIN:?}; last: {last}"))
}

/// The workflow has not begun yet.
fn is_too_early(answer: &Answer) -> bool {
    answer.status == 409 && answer.text.contains("not_ready")
}

async fn until(buyer: &Client<'_>, order_id: &str, status: &str) {
    let path = format!("/api/orders/{order_id}");
    let what = format!("{order_id} becomes {status}");
    let mut gateways = GATEWAYS.into_iter().cycle();
    eventually(&what, ARRIVES_WITHIN, async || {
        let gateway = gateways.next().expect("it goes round");
        let request = buyer.clone().at(gateway).request(Method::GET, &path);
        match try_send(request.timeout(ANSWER_WITHIN)).await {
            Ok(answer) if answer.body["status"] == status => Ok(()),
            Ok(answer) => Err(answer.text),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

async fn happens(shop: &Shop, mishap: Mishap) {
    match mishap {
        Mishap::LeaderKilled => is_killed(shop, leader(shop)).await,
        Mishap::FollowerKilled => {
            let leads = Cluster::of(shop).leads;
            let follows = NODES.into_iter().find(|node| !leads.contains_key(node));
            // Two partitions may have two leaders, and then the third node follows.
            is_killed(shop, follows.expect("a node that leads nothing")).await;
        }
        Mishap::MetadataLeaderKilled => is_killed(shop, metadata_leader(shop)).await,
        Mishap::LeaderFrozen(seconds) => {
            let frozen = leader(shop);
            shop.freeze(frozen);
            // Nobody says goodbye, and connections to it stay open.
            is_missed(shop, &[frozen]).await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            shop.thaw(frozen);
        }
        Mishap::LeaderCutOff(seconds) => {
            let island = shop.island().expect("a node that can be cut off");
            island.cut();
            is_missed(shop, &[ISLAND]).await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            // It still thinks that it leads, and says so when it is heard again.
            island.mend();
        }
        Mishap::TwoAway(seconds) => {
            let away = [Component::Restate, Component::Restate2];
            for node in away {
                shop.kill(node);
            }
            is_missed(shop, &away).await;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            for node in away {
                shop.launch(node, &[]);
            }
        }
        Mishap::DiskLost => is_replaced(shop).await,
        Mishap::NodesRolled => {
            for node in NODES {
                shop.stop(node).await;
                shop.start_again(node).await;
                nobody_is_missed(shop).await;
            }
        }
        Mishap::OursRolled => {
            for part in [
                Component::Services,
                Component::Services2,
                Component::Gateway,
                Component::Gateway2,
            ] {
                shop.stop(part).await;
                shop.start_again(part).await;
            }
        }
        Mishap::NewCode => {
            let old = deployment(shop, &shop.plan().deployment(0)).await;
            shop.start_beside(Component::Services2).await;
            // What has begun there ends there.
            removed(shop, &old).await;
            shop.renew_gateways();
            for gateway in GATEWAYS {
                shop.stop(gateway).await;
                shop.start_again(gateway).await;
            }
        }
        Mishap::OursKilled => {
            shop.kill(Component::Services);
            shop.kill(Component::Gateway);
            tokio::time::sleep(Duration::from_secs(3)).await;
            shop.start_again(Component::Services).await;
            shop.start_again(Component::Gateway).await;
        }
    }
    nobody_is_missed(shop).await;
}

/// Sees to it that `node` leads something: others that lead are killed.
async fn is_made_leader(shop: &Shop, node: Component) {
    for _ in 0..5 {
        let leads = Cluster::of(shop).leads;
        let Some(other) = leads.keys().find(|leader| **leader != node) else {
            return;
        };
        if leads.contains_key(&node) {
            return;
        }
        is_killed(shop, *other).await;
        nobody_is_missed(shop).await;
    }
    panic!("{node} leads nothing: {:?}", Cluster::of(shop));
}

async fn is_killed(shop: &Shop, node: Component) {
    shop.kill(node);
    is_missed(shop, &[node]).await;
    shop.start_again(node).await;
}

/// The procedure of docs/operate.md for a node whose disk is gone.
async fn is_replaced(shop: &Shop) {
    let lost = Component::Restate3;
    let id = Cluster::of(shop).ids[&lost].clone();
    let has_snapshots = shop.plan().store.is_some();
    if has_snapshots {
        // What comes after begins in the middle: the log does not have it any more.
        restatectl(shop, &["snapshots", "create-snapshot", "--trim-log"]);
    }
    shop.kill(lost);
    let folder = shop.plan().folder.join("restate3");
    fs::remove_dir_all(folder).expect("its disk can be lost");
    is_missed(shop, &[lost]).await;
    // With its old name it would be taken for one that has forgotten what it promised.
    let begins = shop.program(lost).log_length();
    let renamed = [("RESTATE_NODE_NAME", "node-4")];
    shop.start_again_with(lost, &renamed).await;
    eventually(
        "the new node is one of the metadata's",
        RECOVERS_WITHIN,
        async || {
            let servers = restatectl(shop, &["metadata-server", "list-servers"]);
            if servers.contains("N4") {
                Ok(())
            } else {
                Err(servers)
            }
        },
    )
    .await;
    let number = id.trim_start_matches('N');
    restatectl(shop, &["metadata-server", "remove-node", number]);
    if has_snapshots {
        is_forgotten(shop, &id).await;
        eventually("it begins with a snapshot", RECOVERS_WITHIN, async || {
            let said = shop.program(lost).log_since(begins, usize::MAX);
            if said.contains("Importing partition store snapshot") {
                Ok(())
            } else {
                Err("no snapshot was read".to_owned())
            }
        })
        .await;
    }
}

/// Nobody expects anything of the lost node any more: its part of the log is in snapshots.
async fn is_forgotten(shop: &Shop, id: &str) {
    let gone = ["nodes", "set-storage-state", "--storage-state", "gone"];
    restatectl(shop, &[&gone[..], &["--force", "--nodes", id]].concat());
    let drains = ["nodes", "set-worker-state", "--worker-state", "draining"];
    restatectl(shop, &[&drains[..], &["--nodes", id]].concat());
    // What is written from now on is written to those who are there.
    let moves = ["logs", "reconfigure", "--log-id", "0-1"];
    restatectl(shop, &[&moves[..], &["--provider", "replicated"]].concat());
    eventually("the lost node is removed", RECOVERS_WITHIN, async || {
        // A node that has just begun may have no partition yet to take one of.
        shop.run_restatectl(&["snapshots", "create-snapshot", "--trim-log"]);
        let removed = shop.run_restatectl(&["nodes", "remove", "--nodes", id]);
        if removed.status.success() {
            Ok(())
        } else {
            Err(format!("{removed:?}"))
        }
    })
    .await;
    let nodes = restatectl(shop, &["nodes", "list"]);
    assert!(!nodes.contains("node-3"), "{nodes}");
}

/// Both gateways say which nodes are away, and serve unless too few are left.
async fn is_missed(shop: &Shop, away: &[Component]) {
    let at = shop.addresses();
    let goes_on = away.len() == 1;
    for gateway in GATEWAYS {
        let nobody = shop.anonymous().at(gateway);
        eventually(
            "the gateway says who is away",
            RECOVERS_WITHIN,
            async || {
                let ready = send_anyway(nobody.request(Method::GET, "/readyz")).await;
                let said = ready.body["nodes_away"].as_str().unwrap_or_default();
                let named = away
                    .iter()
                    .all(|node| said.contains(&at.ingress_of(node.copy())));
                let words = if goes_on {
                    "Orders go on at the others"
                } else {
                    "Too few are left"
                };
                let status = if goes_on { 200 } else { 503 };
                if named && said.contains(words) && ready.status == status {
                    Ok(())
                } else {
                    Err(format!("{ready:?}"))
                }
            },
        )
        .await;
        let admin = shop.admin().at(gateway);
        let page = send_anyway(
            admin
                .request(Method::GET, "/")
                .header("accept", "text/html"),
        )
        .await;
        let named = format!("{} of 3 nodes of Restate", away.len());
        assert!(page.text.contains(&named), "the dashboard does not say it");
    }
}

async fn nobody_is_missed(shop: &Shop) {
    for gateway in GATEWAYS {
        let nobody = shop.anonymous().at(gateway);
        eventually("everybody is there", RECOVERS_WITHIN, async || {
            let ready = try_send(nobody.request(Method::GET, "/readyz")).await;
            match ready {
                Ok(ready) if ready.status == 200 && ready.body["nodes_away"].is_null() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

/// Who leads what, as `restatectl` says it.
#[derive(Debug, Default)]
struct Cluster {
    /// Restate's id of each node, e.g. `N1`.
    ids: BTreeMap<Component, String>,
    /// How many partitions a node leads, if any.
    leads: BTreeMap<Component, usize>,
}

impl Cluster {
    fn of(shop: &Shop) -> Self {
        let mut cluster = Self::default();
        let nodes = restatectl(shop, &["nodes", "list"]);
        for node in NODES {
            let address = shop.addresses().node(node.copy());
            // The latest at this address: a replaced node has left its name behind.
            let line = nodes.lines().rfind(|line| line.contains(&address));
            let line = line.unwrap_or_else(|| panic!("{address} is not in {nodes}"));
            let id = line.split_whitespace().next().expect("an id");
            cluster.ids.insert(node, id.to_owned());
        }
        let partitions = restatectl(shop, &["partitions", "list"]);
        for line in partitions.lines().filter(|line| line.contains(" Leader ")) {
            let leads = |id: &String| {
                let id = format!("{id}:");
                line.split_whitespace().any(|word| word.starts_with(&id))
            };
            let leader = cluster.ids.iter().find(|(_, id)| leads(id));
            if let Some((node, _)) = leader {
                *cluster.leads.entry(*node).or_default() += 1;
            }
        }
        cluster
    }
}

fn leader(shop: &Shop) -> Component {
    let cluster = Cluster::of(shop);
    let leader = cluster.leads.keys().next().copied();
    leader.unwrap_or_else(|| panic!("nobody leads: {cluster:?}"))
}

fn metadata_leader(shop: &Shop) -> Component {
    let cluster = Cluster::of(shop);
    let servers = restatectl(shop, &["metadata-server", "list-servers"]);
    // NODE, STATUS, VERSION, LEADER, …
    let line = servers.lines().find(|line| line.contains(" Member "));
    let leader = line.and_then(|line| line.split_whitespace().nth(3));
    let node = cluster
        .ids
        .iter()
        .find(|(_, id)| Some(id.as_str()) == leader);
    *node.unwrap_or_else(|| panic!("nobody leads: {servers}")).0
}

fn restatectl(shop: &Shop, arguments: &[&str]) -> String {
    let ran = shop.run_restatectl(arguments);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{arguments:?}: {said} {ran:?}");
    said
}
