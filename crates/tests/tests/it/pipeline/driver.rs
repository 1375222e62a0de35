//! Drives whole orders for the benchmark, without asking the gateway how far they
//! are: it hears the services' updates, as a gateway does, approves what waits, and
//! counts what is delivered. What each process works for it is read from the kernel.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use launcher::plan::TOKEN;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::shop::Shop;
use crate::world::Component;

/// Ticks of the processor's time in `/proc/{pid}/stat` (Linux, everywhere).
const TICK_MS: f64 = 10.0;
/// The processes whose work is told.
const PROCESSES: [(&str, Component); 4] = [
    ("restate", Component::Restate),
    ("gateway", Component::Gateway),
    ("services", Component::Services),
    ("sandbox", Component::Sandbox),
];

/// From an order's being said until an approver decides. A person takes longer. Whoever
/// decides before the workflow has begun makes the gateway ask twice, and read between.
const APPROVER_LOOKS: Duration = Duration::from_millis(100);

/// What a run of orders came to.
pub struct Driven {
    /// From the first checkout to the last delivery.
    pub per_second: f64,
    /// What each of them has cost.
    pub work: Work,
}

/// Milliseconds of a processor for each order or call, by process; `driver` is this one.
pub struct Work(pub Vec<(&'static str, f64)>);

impl Work {
    /// Of all processes together.
    pub fn all_ms(&self) -> f64 {
        self.0.iter().map(|(_, ms)| ms).sum()
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each: Vec<_> = self
            .0
            .iter()
            .map(|(name, ms)| format!("{name} {ms:.2}"))
            .collect();
        write!(
            f,
            "{:.2} ms of a processor ({})",
            self.all_ms(),
            each.join(", ")
        )
    }
}

/// What the processes have worked from here on.
pub struct Stopwatch(Vec<(&'static str, f64)>);

impl Stopwatch {
    /// From now on.
    pub fn start(shop: &Shop) -> Self {
        Self(processor_times(shop))
    }

    /// For each of so many orders or calls since then.
    pub fn per(&self, shop: &Shop, count: f64) -> Work {
        let now = processor_times(shop).into_iter();
        let each = |((name, now), (_, then)): ((_, f64), &(_, f64))| (name, (now - then) / count);
        Work(now.zip(&self.0).map(each).collect())
    }
}

/// Somebody's updates, as they come.
struct Heard {
    approved: mpsc::UnboundedReceiver<String>,
    delivered: mpsc::UnboundedReceiver<String>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn hear(shop: &Shop) -> Heard {
    let (to_approve, approved) = mpsc::unbounded_channel();
    let (arrived, delivered) = mpsc::unbounded_channel();
    let answer = shop
        .http
        .get(format!("{}/updates", shop.services_ops))
        .bearer_auth(TOKEN)
        .timeout(Duration::from_hours(1))
        .send()
        .await
        .expect("the services say their updates");
    let reading = tokio::spawn(async move {
        let mut bytes = answer.bytes_stream();
        let mut unread = Vec::new();
        while let Some(Ok(more)) = bytes.next().await {
            unread.extend_from_slice(&more);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let Ok(update) = serde_json::from_slice::<Value>(&line) else {
                    continue;
                };
                if update["type"] != "order" {
                    continue;
                }
                let order = &update["value"];
                let id = order["order_id"].as_str().unwrap_or_default().to_owned();
                // Waits for an admin only when it is said until when.
                if order["status"] == "awaiting_approval" && order["wait_until"].is_string() {
                    let _ = to_approve.send(id);
                } else if order["status"] == "delivered" {
                    let _ = arrived.send(id);
                }
            }
        }
    });
    Heard {
        approved,
        delivered,
        reading,
    }
}

/// Places `count` orders, `callers` at a time, each of one piece of one of `skus` in
/// turn, approves them as they are paid, and waits until all are delivered.
pub async fn drive(
    shop: &Shop,
    name: &str,
    count: usize,
    callers: usize,
    skus: &[&str],
    within: Duration,
) -> Driven {
    let mut heard = hear(shop).await;
    let watch = Stopwatch::start(shop);
    let began = Instant::now();
    let placed = futures::stream::iter(0..count)
        .map(|n| async move {
            // One cart for each order: carts are shared by nobody.
            let buyer = shop.person(&format!("{name}{n}"));
            buyer.add(skus[n % skus.len()], 1).await;
            buyer.try_checkout("bench").await.expect(202);
        })
        .buffer_unordered(callers)
        .collect::<Vec<()>>();
    let mut delivered = HashSet::new();
    let (mut approved, mut seen) = (0, HashSet::new());
    let (mut approvals, mut deliveries) = (
        std::mem::replace(&mut heard.approved, mpsc::unbounded_channel().1),
        std::mem::replace(&mut heard.delivered, mpsc::unbounded_channel().1),
    );
    let approve = async {
        let waiting = futures::stream::poll_fn(|context| approvals.poll_recv(context))
            .filter(|id| {
                let is_new = seen.insert(id.clone());
                std::future::ready(is_new)
            })
            .take(count)
            .map(|id| async move {
                tokio::time::sleep(APPROVER_LOOKS).await;
                let decision = json!({ "approved": true });
                shop.admin().try_decide(&id, &decision).await.expect(202);
            })
            // Those who look are not yet callers.
            .buffer_unordered(16 * callers);
        let mut waiting = std::pin::pin!(waiting);
        while waiting.next().await.is_some() {
            approved += 1;
        }
    };
    let arrive = async {
        while delivered.len() < count {
            match deliveries.recv().await {
                Some(id) => delivered.insert(id),
                None => break,
            };
        }
    };
    let all = async { tokio::join!(placed, approve, arrive) };
    let in_time = tokio::time::timeout(within, all).await.is_ok();
    assert!(
        in_time,
        "of {count} orders not all were delivered in {within:?}"
    );
    let took = began.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let orders = count as f64;
    Driven {
        per_second: orders / took.as_secs_f64(),
        work: watch.per(shop, orders),
    }
}

/// Milliseconds of a processor that each process has used so far, this one last.
fn processor_times(shop: &Shop) -> Vec<(&'static str, f64)> {
    let own = ("driver", processor_ms(std::process::id()));
    let theirs =
        PROCESSES.map(|(name, component)| (name, processor_ms(shop.process_id(component))));
    theirs.into_iter().chain([own]).collect()
}

fn processor_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name, in parentheses, may hold spaces; after it come state, parent, …
    let (_, fields) = stat.rsplit_once(')').expect("a stat line");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) * TICK_MS
}
