//! Writes what the services say into the read model.
//!
//! One task writes. It takes everything that waits into one transaction, so
//! that hundreds of updates a second cost a few disk syncs and not hundreds,
//! and wakes the streams after the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use waybill_domain::Timestamp;
use waybill_domain::notification::Notification;
use waybill_domain::update::Update;

use super::topics::Topics;
use crate::metrics::Metrics;
use crate::storage::db::Db;
use crate::storage::read_model;

/// How many updates may wait before whoever brings more has to.
const QUEUE: usize = 8_192;
/// Most updates in one transaction: what waits for the commit waits at most
/// some tens of milliseconds.
const BATCH: usize = 512;
/// What is heard within this of the last commit shares the next one: a busy shop's
/// updates come by the hundred, each commit costs, and what is soon old again is never
/// written. After some quiet everything is written at once.
const TOGETHER: Duration = Duration::from_millis(10);
/// The same for notes alone: whoever did what they tell of has been answered already.
const NOTES_TOGETHER: Duration = LONGEST_REST;
/// The same for what somebody waits for.
const WAITED_FOR: Duration = Duration::from_millis(3);
/// A busy writer rests so many times as long as its last commit took, so that it takes
/// a part of one processor, and others read meanwhile.
const RESTS: u32 = 3;
/// The same while somebody waits.
const RESTS_WAITED_FOR: u32 = 2;
/// But not longer than this.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// The way to the writer. A cheap clone.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    queue: mpsc::Sender<Work>,
    closing: CancellationToken,
    lag: Arc<Lag>,
}

/// What was written last is remembered of so many orders and products.
const REMEMBERED: usize = 4_096;

/// How long the latest news took to get here.
#[derive(Debug, Default)]
struct Lag(Mutex<Option<Duration>>);

impl Lag {
    fn set(&self, lag: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(lag);
    }

    fn get(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing to write.
#[derive(Debug, Clone)]
enum Entry {
    Update(Update),
    Note(Notification),
    /// Nothing to write: once it is answered, all that came before it is written.
    Mark,
}

#[derive(Debug)]
struct Work {
    entry: Entry,
    written: Option<oneshot::Sender<anyhow::Result<bool>>>,
    /// Whatever has been written before: the row may have been lost since.
    anew: bool,
}

impl Work {
    fn of(entry: Entry) -> Self {
        Self {
            entry,
            written: None,
            anew: false,
        }
    }
}

impl Projection {
    /// A projection and its writer, which ends after [`Projection::close`] or
    /// when every clone is gone, with everything written.
    pub(super) fn new(
        db: Db,
        topics: Arc<Topics>,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, work) = mpsc::channel(QUEUE);
        let closing = CancellationToken::new();
        let lag = Arc::<Lag>::default();
        let writer = Writer {
            db,
            topics,
            metrics,
            lag: Arc::clone(&lag),
        };
        let running = writer.run(work, closing.clone());
        let projection = Self {
            queue,
            closing,
            lag,
        };
        (projection, running)
    }

    /// Writes an update if it is news; answers once it can be read.
    pub(super) async fn apply(&self, update: Update) -> anyhow::Result<bool> {
        self.written(Work::of(Entry::Update(update))).await
    }

    /// Writes an update that is not here, or no longer.
    pub(super) async fn restore(&self, update: Update) -> anyhow::Result<bool> {
        let work = Work::of(Entry::Update(update));
        self.written(Work { anew: true, ..work }).await
    }

    /// Hands an update over without waiting for the write.
    pub(super) async fn offer(&self, update: Update) {
        // Refused only while shutting down; the next start catches up.
        let _ = self.send(Work::of(Entry::Update(update))).await;
    }

    /// Hands a local notification over.
    pub(super) async fn note(&self, note: Notification) {
        let _ = self.send(Work::of(Entry::Note(note))).await;
    }

    /// Answers once all that was handed over before can be read, or never will be.
    pub(super) async fn settled(&self) {
        // Ends without an answer only while shutting down.
        let _ = self.written(Work::of(Entry::Mark)).await;
    }

    /// How many updates wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How long the latest news of an order took from its step to here.
    pub(super) fn lag_ms(&self) -> Option<u64> {
        let lag = self.lag.get()?;
        Some(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes no more; what waits is still written.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    async fn written(&self, work: Work) -> anyhow::Result<bool> {
        let (written, answer) = oneshot::channel();
        let written = Some(written);
        self.send(Work { written, ..work }).await?;
        answer.await.context("the gateway is shutting down")?
    }

    async fn send(&self, work: Work) -> anyhow::Result<()> {
        self.queue
            .send(work)
            .await
            .map_err(|_| anyhow!("the gateway is shutting down"))
    }
}

struct Writer {
    db: Db,
    topics: Arc<Topics>,
    metrics: Metrics,
    lag: Arc<Lag>,
}

/// When the last commit was made, and how long it took.
#[derive(Debug, Default)]
struct Rest(Option<(Instant, Duration)>);

impl Rest {
    fn after(began: Instant) -> Self {
        Self(Some((Instant::now(), began.elapsed())))
    }

    /// Until when a batch waits for more that shares its commit. `None` when it is full,
    /// or empty.
    fn until(&self, batch: &[Work]) -> Option<Instant> {
        let there_is_room = (1..BATCH).contains(&batch.len());
        let (committed, took) = self.0.filter(|_| there_is_room)?;
        let (least, rests) = if batch.iter().any(|work| work.written.is_some()) {
            (WAITED_FOR, RESTS_WAITED_FOR)
        } else if batch
            .iter()
            .all(|work| matches!(work.entry, Entry::Note(_)))
        {
            (NOTES_TOGETHER, RESTS)
        } else {
            (TOGETHER, RESTS)
        };
        Some(committed + least.max((rests * took).min(LONGEST_REST)))
    }
}

/// What an entry is about: its kind and its key.
type About<'a> = (&'static str, &'a str);
/// When it began and its version: larger is newer.
type Age = (Timestamp, u64);

/// Of what there are many versions soon after each other: what it is about, and how new
/// this one is.
fn about(entry: &Entry) -> Option<(About<'_>, Age)> {
    match entry {
        Entry::Update(Update::Order(record)) => Some((
            ("order", record.order_id.as_str()),
            (record.created_at, record.version),
        )),
        Entry::Update(Update::Stock(level)) => Some((
            ("stock", level.sku.as_str()),
            (Timestamp::UNIX_EPOCH, level.version),
        )),
        _ => None,
    }
}

/// What was written last. What a command has made is told by its answer and by the stream
/// of updates: whichever comes second costs SQLite nothing.
#[derive(Debug, Default)]
struct Latest(HashMap<(&'static str, String), Age>);

impl Latest {
    /// Whether that, or something newer, has been written.
    fn has(&self, entry: &Entry) -> bool {
        about(entry).is_some_and(|((kind, key), age)| {
            let known = self.0.get(&(kind, key.to_owned()));
            known.is_some_and(|known| age <= *known)
        })
    }

    fn note(&mut self, entry: &Entry) {
        let Some(((kind, key), age)) = about(entry) else {
            return;
        };
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let known = self.0.entry((kind, key.to_owned())).or_insert(age);
        *known = age.max(*known);
    }
}

impl Writer {
    async fn run(self, mut work: mpsc::Receiver<Work>, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut rest = Rest::default();
        let mut latest = Latest::default();
        loop {
            let received = tokio::select! {
                received = work.recv_many(&mut batch, BATCH) => received,
                () = closing.cancelled(), if !work.is_closed() => {
                    work.close();
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            self.answer_known(&mut batch, &latest);
            while let Some(until) = rest.until(&batch) {
                let more = work.recv_many(&mut batch, BATCH);
                if !matches!(timeout_at(until, more).await, Ok(more) if more > 0) {
                    break;
                }
                self.answer_known(&mut batch, &latest);
            }
            if batch.is_empty() {
                continue;
            }
            let (entries, waiting): (Vec<_>, Vec<_>) = batch
                .drain(..)
                .map(|work| (work.entry, work.written))
                .unzip();
            let began = Instant::now();
            let together = newest_only(&entries);
            let results = self.write(&together).await;
            self.metrics.written(began.elapsed());
            rest = Rest::after(began);
            let heard: Vec<_> = waiting.iter().map(Option::is_none).collect();
            self.wake(&entries, &results, &heard);
            for (entry, result) in together.iter().zip(&results) {
                if let (Some(entry), Ok(_)) = (entry, result) {
                    latest.note(entry);
                }
            }
            for (result, waiting) in results.into_iter().zip(waiting) {
                if let Some(waiting) = waiting {
                    // Whoever asked may have gone meanwhile.
                    let _ = waiting.send(result);
                }
            }
        }
    }

    /// Answers what has been written already.
    fn answer_known(&self, batch: &mut Vec<Work>, latest: &Latest) {
        let known = batch.extract_if(.., |work| !work.anew && latest.has(&work.entry));
        for work in known {
            self.count(&work.entry, false, work.written.is_none());
            if let Some(waiting) = work.written {
                // Whoever asked may have gone meanwhile.
                let _ = waiting.send(Ok(false));
            }
        }
    }

    /// Writes a batch in one transaction. If that fails, each entry alone, so
    /// that a bad one costs nobody else.
    async fn write(&self, entries: &[Option<&Entry>]) -> Vec<anyhow::Result<bool>> {
        let nothing = entries.iter().flatten().all(|it| matches!(it, Entry::Mark));
        if nothing {
            return entries.iter().map(|_| Ok(false)).collect();
        }
        let error = match self.write_together(entries).await {
            Ok(news) => return news.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        tracing::warn!(%error, updates = entries.len(), "a batch could not be written, so each is tried alone");
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            let result = match self.write_together(std::slice::from_ref(entry)).await {
                Ok(news) => Ok(news.first().copied().unwrap_or(false)),
                Err(error) => {
                    tracing::error!(%error, update = describe(*entry), "an update could not be written");
                    Err(anyhow!("the read model could not be written: {error}"))
                }
            };
            results.push(result);
        }
        results
    }

    async fn write_together(&self, entries: &[Option<&Entry>]) -> sqlx::Result<Vec<bool>> {
        let mut transaction = self.db.begin().await?;
        let notes = entries.iter().flatten().filter_map(|entry| match entry {
            Entry::Note(note) => Some(note),
            _ => None,
        });
        let mut told = read_model::insert_notifications(&mut transaction, notes).await?;
        let mut news = Vec::with_capacity(entries.len());
        for entry in entries {
            news.push(match entry {
                None | Some(Entry::Mark) => false,
                Some(Entry::Update(update)) => {
                    read_model::write_update(&mut transaction, update).await?
                }
                // Twice in one batch, it is new once.
                Some(Entry::Note(note)) => told.remove(&note.id),
            });
        }
        transaction.commit().await?;
        Ok(news)
    }

    /// `heard`: whether it came by a stream, and not by a catch-up or a command.
    fn wake(&self, entries: &[Entry], results: &[anyhow::Result<bool>], heard: &[bool]) {
        let mut any = false;
        for ((entry, result), heard) in entries.iter().zip(results).zip(heard) {
            let news = matches!(result, Ok(true));
            self.count(entry, news, *heard);
            if !news {
                continue;
            }
            any = true;
            match entry {
                Entry::Update(Update::Order(record)) => {
                    self.topics.wake_order(&record.order_id);
                    self.topics.wake_user(&record.user_id);
                }
                Entry::Update(Update::AfterSales(after)) => {
                    self.topics.wake_order(&after.order_id);
                    self.topics.wake_user(&after.user_id);
                }
                Entry::Update(Update::Late(late)) => {
                    self.topics.wake_order(&late.order_id);
                    self.topics.wake_user(&late.user_id);
                }
                Entry::Update(Update::Read(mark)) => self.topics.wake_user(&mark.user_id),
                Entry::Update(Update::Account(account)) => self.topics.wake_account(&account.user),
                Entry::Update(Update::Stock(_)) => self.topics.wake_stock(),
                Entry::Update(Update::Product(_) | Update::Zone(_)) => self.topics.wake_catalog(),
                Entry::Note(note) => self.topics.wake_user(&note.user_id),
                // Staff's pages listen to every change.
                Entry::Update(Update::Audit(_) | Update::Basket(_) | Update::Heartbeat)
                | Entry::Mark => {}
            }
        }
        if any {
            self.topics.wake_changes();
        }
    }

    fn count(&self, entry: &Entry, news: bool, heard: bool) {
        let kind = match entry {
            Entry::Update(Update::Order(record)) => {
                if news && heard {
                    let lag = crate::clock::millis_between(record.updated_at, Timestamp::now());
                    let lag = Duration::from_millis(lag);
                    self.metrics.lag(lag);
                    self.lag.set(lag);
                }
                "order"
            }
            Entry::Update(Update::AfterSales(_)) => "after_sales",
            Entry::Update(Update::Basket(_)) => "basket",
            Entry::Update(Update::Stock(_)) => "stock",
            Entry::Update(Update::Late(_)) => "late",
            Entry::Update(Update::Read(_)) => "read",
            Entry::Update(Update::Account(_)) => "account",
            Entry::Update(Update::Product(_)) => "product",
            Entry::Update(Update::Zone(_)) => "zone",
            Entry::Update(Update::Audit(_)) => "audit",
            Entry::Update(Update::Heartbeat) => "heartbeat",
            Entry::Note(_) => "note",
            Entry::Mark => return,
        };
        self.metrics.update(kind, news);
    }
}

/// The entries with those that a later one of the same batch makes old left
/// out: a burst over one SKU or order is one write.
fn newest_only(entries: &[Entry]) -> Vec<Option<&Entry>> {
    let mut newest: HashMap<About<'_>, (usize, Age)> = HashMap::new();
    for (position, entry) in entries.iter().enumerate() {
        let Some((key, age)) = about(entry) else {
            continue;
        };
        let known = newest.entry(key).or_insert((position, age));
        if age > known.1 {
            *known = (position, age);
        }
    }
    let kept: std::collections::HashSet<usize> =
        newest.into_values().map(|(position, _)| position).collect();
    entries
        .iter()
        .enumerate()
        .map(|(position, entry)| {
            let is_old = about(entry).is_some() && !kept.contains(&position);
            (!is_old).then_some(entry)
        })
        .collect()
}

fn describe(entry: Option<&Entry>) -> String {
    match entry {
        Some(Entry::Update(Update::Order(record))) => {
            format!("order {} version {}", record.order_id, record.version)
        }
        Some(Entry::Update(Update::Stock(level))) => {
            format!("stock {} version {}", level.sku, level.version)
        }
        Some(Entry::Update(Update::AfterSales(after))) => {
            format!(
                "after the delivery of {} version {}",
                after.order_id, after.version
            )
        }
        Some(Entry::Update(Update::Late(late))) => format!("late money {}", late.order_id),
        Some(Entry::Update(Update::Account(account))) => {
            format!("account {} version {}", account.user, account.version)
        }
        Some(Entry::Update(Update::Product(product))) => {
            format!("product {} version {}", product.sku, product.version)
        }
        Some(Entry::Update(Update::Zone(zone))) => {
            format!("zone {} version {}", zone.name, zone.version)
        }
        Some(Entry::Update(Update::Audit(entry))) => format!("audit entry {}", entry.id),
        Some(Entry::Update(Update::Read(mark))) => format!("read mark {}", mark.user_id),
        Some(Entry::Note(note)) => format!("note {}", note.id),
        Some(Entry::Update(Update::Basket(_) | Update::Heartbeat) | Entry::Mark) | None => {
            "nothing".to_owned()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use waybill_domain::after_sales::{
        AfterSales, AskReturn, DecideReturn, ReceiveReturn, RefundAnswer, Sold, Windows,
    };
    use waybill_domain::basket::{Line, Part, Product};
    use waybill_domain::ids::{OrderId, Sku, Username};
    use waybill_domain::money::Cents;
    use waybill_domain::order::{Compensable, OrderRecord, Step};
    use waybill_domain::payment::{LateMoney, LatePayment};
    use waybill_domain::placement::{Placement, Shipping};
    use waybill_domain::shipment::Shipment;
    use waybill_domain::stock::StockLevel;

    use waybill_domain::update::ReadMark;

    use super::*;
    use crate::storage::accounts::tests::signed_in;
    use crate::storage::catalog::tests::{kettles, moons};
    use crate::storage::rows::tests::dump;

    pub(in crate::live) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn placement(lines: u32) -> Placement {
        let line = |n: u32| {
            let product = Product {
                sku: Sku::parse(&format!("P{n}")).unwrap(),
                product_id: n.into(),
                name: format!("Thing {n}"),
                unit_price_cents: Cents(100),
            };
            Line::new(product, n + 1).unwrap()
        };
        Placement {
            lines: (0..lines).map(line).collect(),
            shipping: Shipping {
                zone: "Domestic".into(),
                cost_cents: Cents(500),
                address: "1 Main St".into(),
            },
            pay_until: at(900),
            approve_within_ms: None,
        }
    }

    pub(in crate::live) fn placed(id: &str, second: i64) -> OrderRecord {
        OrderRecord::place(OrderId::parse(id).unwrap(), placement(2), at(second))
    }

    fn walk(first: OrderRecord, steps: Vec<Step>) -> Vec<OrderRecord> {
        let mut records = vec![first];
        for step in steps {
            let last = records.last().unwrap().clone();
            let now = last.updated_at + Duration::from_millis(1500);
            records.push(last.apply(step, now).unwrap());
        }
        records
    }

    /// Two attempts to pay, then to the customer: every table is touched.
    pub(in crate::live) fn delivered(id: &str) -> Vec<OrderRecord> {
        let mut records = walk(
            placed(id, 10),
            vec![
                Step::PaymentOpened {
                    awakeable_id: format!("sign_{id}_1"),
                },
                Step::PaymentFailed {
                    reason: "declined".into(),
                },
                Step::Undone(Compensable::Reserved),
                Step::Ended,
            ],
        );
        let again = records.last().unwrap().clone();
        let again = again.retry(placement(1), at(60)).unwrap();
        records.extend(walk(
            again,
            vec![
                Step::PaymentOpened {
                    awakeable_id: format!("sign_{id}_2"),
                },
                Step::PaymentConfirmed {
                    transaction_id: format!("t-{id}"),
                },
                Step::ApprovalRequested { until: at(1000) },
                Step::Approved { by: "admin".into() },
                Step::ShipmentBooked(Shipment {
                    carrier: "FedEx".into(),
                    tracking_number: "FX1".into(),
                    eta: None,
                }),
                Step::PaymentCaptured,
                Step::InTransit { eta: at(200) },
                Step::Delivered,
            ],
        ));
        records
    }

    pub(in crate::live) fn orders(records: Vec<OrderRecord>) -> Vec<Update> {
        records
            .into_iter()
            .map(|record| Update::Order(Box::new(record)))
            .collect()
    }

    pub(in crate::live) fn levels() -> Vec<Update> {
        let mut level = StockLevel::initial(Sku::parse("P0").unwrap(), 20, at(1));
        let mut updates = vec![Update::Stock(level.clone())];
        for n in 1..6 {
            level = level.reserve(n, at(1 + i64::from(n))).unwrap();
            updates.push(Update::Stock(level.clone()));
        }
        updates
    }

    pub(in crate::live) fn late(id: &str, payments: u64) -> Vec<Update> {
        let order_id = OrderId::parse(id).unwrap();
        let payment = |n: u64| LatePayment {
            at: at(300 + i64::try_from(n).unwrap()),
            attempt: 1,
            transaction_id: format!("late-{n}"),
            amount_cents: Cents(700),
        };
        (1..=payments)
            .map(|version| {
                Update::Late(LateMoney {
                    version,
                    user_id: order_id.owner(),
                    order_id: order_id.clone(),
                    payments: (0..version).map(payment).collect(),
                })
            })
            .collect()
    }

    /// A piece comes back, and money.
    fn after_sales(order: OrderRecord) -> Vec<Update> {
        let windows = Windows {
            to_ask: Duration::from_hours(1),
            to_send: Duration::from_hours(1),
        };
        let sold = Sold::of(&order, windows).unwrap();
        let part = Part {
            sku: order.lines[0].sku.clone(),
            quantity: 1,
        };
        let ask = AskReturn {
            items: vec![part],
            reason: "too small".into(),
            at: at(400),
        };
        let decide = DecideReturn {
            number: 1,
            accepted: true,
            reason: None,
            at: at(401),
        };
        let receive = ReceiveReturn {
            number: 1,
            damaged: vec![],
            missing: vec![],
            refund_cents: None,
            at: at(402),
        };
        let by = "admin".into();
        let asked = AfterSales::new(order.order_id, sold).ask(&ask).unwrap();
        let accepted = asked.clone().decide(&decide, &by).unwrap();
        let received = accepted.clone().receive(&receive, &by).unwrap();
        let answer = RefundAnswer {
            number: 1,
            refused: None,
        };
        let refunded = received.clone().answered(&answer, at(403)).unwrap();
        let all = [asked, accepted, received, refunded];
        all.map(|it| Update::AfterSales(Box::new(it))).into()
    }

    pub(in crate::live) fn read_mark(second: i64) -> Update {
        Update::Read(ReadMark {
            user_id: Username::parse("alice").unwrap(),
            read_at: at(second),
        })
    }

    /// Somebody signs in, gets a token, and is signed out.
    fn accounts() -> Vec<Update> {
        let first = signed_in("carol");
        let mut second = first.clone();
        second.version += 1;
        second.sessions[0].seen_at = at(9);
        [first, second]
            .map(|account| Update::Account(Box::new(account)))
            .into()
    }

    /// A product and a zone, each changed once.
    fn catalog() -> Vec<Update> {
        let products = kettles().map(|product| Update::Product(Box::new(product)));
        let zones = moons().map(Update::Zone);
        products.into_iter().chain(zones).collect()
    }

    pub(in crate::live) fn run_of_updates() -> Vec<Update> {
        let mut updates = orders(delivered("alice.1"));
        updates.extend(orders(delivered("bob.2")));
        updates.extend(orders(vec![placed("alice.3", 5)]));
        updates.extend(levels());
        updates.extend(late("bob.2", 3));
        updates.extend(after_sales(delivered("bob.2").pop().unwrap()));
        updates.extend([read_mark(20), read_mark(40)]);
        updates.extend(accounts());
        updates.extend(catalog());
        updates
    }

    #[test]
    fn a_busy_writer_rests_and_keeps_nobody_waiting() {
        let committed = Instant::now();
        let rest = |took| Rest(Some((committed, took)));
        let work = |written| Work {
            written,
            ..Work::of(Entry::Update(Update::Heartbeat))
        };
        let short = Duration::from_millis(1);
        assert_eq!(Rest::default().until(&[work(None)]), None, "after quiet");
        let told = rest(short).until(&[work(None)]);
        assert_eq!(told, Some(committed + TOGETHER));
        let note = |second| {
            let user = Username::parse("alice").unwrap();
            Work::of(Entry::Note(Notification {
                id: "note".to_owned(),
                user_id: user,
                order_id: None,
                kind: "item_added".to_owned(),
                text: "Item added".to_owned(),
                at: at(second),
            }))
        };
        let notes = rest(short).until(&[note(1), note(2)]);
        assert_eq!(notes, Some(committed + NOTES_TOGETHER));
        let among_news = rest(short).until(&[note(1), work(None)]);
        assert_eq!(among_news, Some(committed + TOGETHER));
        let (answer, _waiting) = oneshot::channel();
        let waited_for = rest(short).until(&[note(1), work(Some(answer))]);
        assert_eq!(waited_for, Some(committed + WAITED_FOR));
        let long = rest(Duration::from_millis(12)).until(&[work(None)]);
        assert_eq!(long, Some(committed + Duration::from_millis(36)));
        let hangs = rest(Duration::from_secs(9)).until(&[work(None)]);
        assert_eq!(hangs, Some(committed + LONGEST_REST));
        let full: Vec<_> = (0..BATCH).map(|_| work(None)).collect();
        assert_eq!(rest(short).until(&full), None);
        assert_eq!(rest(short).until(&[]), None);
    }

    async fn apply_all(db: &Db, updates: Vec<Update>) -> Vec<bool> {
        let (projection, writer) = Projection::new(db.clone(), Arc::default(), Metrics::default());
        let writer = tokio::spawn(writer);
        let applied =
            futures::future::join_all(updates.into_iter().map(|update| projection.apply(update)));
        let applied = applied.await.into_iter().map(Result::unwrap).collect();
        projection.close();
        writer.await.unwrap();
        applied
    }

    async fn dump_after(updates: Vec<Update>) -> Vec<String> {
        let (_folder, db) = crate::storage::db::temporary().await;
        apply_all(&db, updates).await;
        dump(&db).await
    }

    #[tokio::test]
    async fn an_order_is_written_with_all_that_belongs_to_it() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let applied = apply_all(&db, orders(delivered("alice.1"))).await;
        assert_eq!(
            applied.iter().filter(|news| **news).count(),
            1,
            "one batch, one write"
        );
        let count = async |sql: &'static str| -> i64 {
            sqlx::query_scalar(sql).fetch_one(&db.read).await.unwrap()
        };
        assert_eq!(
            count("SELECT count(*) FROM order_lines").await,
            1,
            "those of the second attempt"
        );
        assert_eq!(count("SELECT count(*) FROM order_payments").await, 2);
        assert_eq!(count("SELECT count(*) FROM order_events").await, 13);
        assert_eq!(
            count("SELECT count(*) FROM notifications WHERE id = 'alice.1:13' AND text = 'Order delivered!'").await,
            1
        );
        assert_eq!(
            count("SELECT count(*) FROM orders_search WHERE orders_search MATCH 'FX1'").await,
            1
        );
    }

    /// The read model derives them from the record in SQL; what they are is said by
    /// the domain.
    #[tokio::test]
    async fn people_are_told_what_the_domain_says_however_much_was_missed() {
        let records = delivered("alice.1");
        let last = records.last().unwrap().clone();
        let told = Notification::of_order(&last).into_iter().map(|it| {
            let order = it.order_id.map(|id| id.to_string());
            let at = it.at.as_millisecond();
            (it.id, it.user_id.to_string(), order, it.kind, it.text, at)
        });
        let told: Vec<(String, String, Option<String>, String, String, i64)> = told.collect();
        for seen in [
            vec![last.clone()],
            vec![records[5].clone(), last.clone()],
            records,
        ] {
            let (_folder, db) = crate::storage::db::temporary().await;
            for record in seen {
                apply_all(&db, orders(vec![record])).await;
            }
            let rows: Vec<(String, String, Option<String>, String, String, i64)> = sqlx::query_as(
                "SELECT id, user_id, order_id, kind, text, at FROM notifications ORDER BY nr",
            )
            .fetch_all(&db.read)
            .await
            .unwrap();
            assert_eq!(rows, told);
            let events: Vec<(i64, i64, String, String)> =
                sqlx::query_as("SELECT seq, at, kind, detail FROM order_events ORDER BY seq")
                    .fetch_all(&db.read)
                    .await
                    .unwrap();
            let expected = last.events.iter().map(|it| {
                let (seq, at) = (i64::try_from(it.seq).unwrap(), it.at.as_millisecond());
                (seq, at, it.kind.as_str().to_owned(), it.detail.clone())
            });
            assert_eq!(events, expected.collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_is_old_is_not_news() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let records = delivered("alice.1");
        let (older, newer) = (records[3].clone(), records[9].clone());
        assert_eq!(apply_all(&db, orders(vec![newer.clone()])).await, [true]);
        assert_eq!(
            apply_all(&db, orders(vec![older, newer])).await,
            [false, false]
        );
        let status: String = sqlx::query_scalar("SELECT status FROM orders")
            .fetch_one(&db.read)
            .await
            .unwrap();
        assert_eq!(status, records[9].status.as_str());
    }

    #[tokio::test]
    async fn what_is_told_twice_is_written_once_and_what_was_lost_is_restored() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let (projection, writer) = Projection::new(db.clone(), Arc::default(), Metrics::default());
        tokio::spawn(writer);
        let records = delivered("alice.1");
        let version = i64::try_from(records.last().unwrap().version).unwrap();
        let last = || orders(delivered("alice.1")).pop().unwrap();
        assert!(projection.apply(last()).await.unwrap());
        let versions = async || -> Vec<i64> {
            let rows = sqlx::query_scalar("SELECT version FROM orders");
            rows.fetch_all(&db.read).await.unwrap()
        };
        assert_eq!(versions().await, [version]);

        // Somebody deletes it: who tells the same again, or what is older, does not look.
        sqlx::query("DELETE FROM orders")
            .execute(&db.write)
            .await
            .unwrap();
        assert!(!projection.apply(last()).await.unwrap());
        projection.offer(last()).await;
        let older = Update::Order(Box::new(records[4].clone()));
        assert!(!projection.apply(older).await.unwrap());
        projection.settled().await;
        assert!(versions().await.is_empty());
        // Who knows that it is missing does.
        assert!(projection.restore(last()).await.unwrap());
        assert!(!projection.restore(last()).await.unwrap());
        assert_eq!(versions().await, [version]);

        // The id is used again.
        let again = orders(vec![placed("alice.1", 9_000)]).remove(0);
        assert!(projection.apply(again).await.unwrap());
        assert!(!projection.apply(last()).await.unwrap());
        assert_eq!(versions().await, [1]);
    }

    #[tokio::test]
    async fn an_id_that_restate_has_forgotten_can_be_used_again() {
        let (_folder, db) = crate::storage::db::temporary().await;
        apply_all(&db, orders(delivered("alice.1"))).await;
        let again = placed("alice.1", 9_000);
        assert_eq!(apply_all(&db, orders(vec![again.clone()])).await, [true]);
        assert_eq!(
            apply_all(&db, orders(delivered("alice.1")))
                .await
                .iter()
                .filter(|n| **n)
                .count(),
            0
        );
        let (version, events): (i64, i64) =
            sqlx::query_as("SELECT version, (SELECT count(*) FROM order_events) FROM orders")
                .fetch_one(&db.read)
                .await
                .unwrap();
        assert_eq!((version, events), (1, 1));
    }

    #[tokio::test]
    async fn a_bad_update_costs_nobody_else() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let mut stolen = delivered("bob.2").pop().unwrap();
        stolen.payments[0].awakeable_id = Some("sign_alice.1_1".into());
        let (projection, writer) = Projection::new(db.clone(), Arc::default(), Metrics::default());
        tokio::spawn(writer);
        let (alice, bob, carol) = tokio::join!(
            projection.apply(orders(delivered("alice.1")).pop().unwrap()),
            projection.apply(Update::Order(Box::new(stolen))),
            projection.apply(orders(delivered("carol.3")).pop().unwrap()),
        );
        assert!(alice.unwrap() && carol.unwrap());
        assert!(bob.unwrap_err().to_string().contains("UNIQUE"));
    }

    #[tokio::test]
    async fn streams_are_woken_after_the_write() {
        let (_folder, db) = crate::storage::db::temporary().await;
        let topics = Arc::new(Topics::default());
        let (projection, writer) = Projection::new(db, Arc::clone(&topics), Metrics::default());
        tokio::spawn(writer);
        let order = topics.order(&OrderId::parse("alice.1").unwrap());
        let stranger = topics.user(&Username::parse("bob").unwrap());
        let (changes, stock) = (topics.changes(), topics.stock());
        projection
            .apply(Update::Order(Box::new(placed("alice.1", 1))))
            .await
            .unwrap();
        assert!(order.has_changed().unwrap() && changes.has_changed().unwrap());
        assert!(!stranger.has_changed().unwrap() && !stock.has_changed().unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Any order of arrival, with any of it twice, gives the same rows: so
        /// does a rebuild, which brings only the newest.
        #[test]
        fn arrival_does_not_matter(
            shuffled in Just(run_of_updates()).prop_shuffle(),
            twice in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            cut in 1..60usize,
        ) {
            let mut updates = shuffled;
            for index in twice {
                updates.push(index.get(&updates).clone());
            }
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (expected, found) = runtime.block_on(async {
                let expected = dump_after(run_of_updates()).await;
                let (_folder, db) = crate::storage::db::temporary().await;
                // In batches of any size.
                for batch in updates.chunks(cut) {
                    apply_all(&db, batch.to_vec()).await;
                }
                (expected, dump(&db).await)
            });
            prop_assert_eq!(expected, found);
        }
    }

    #[tokio::test]
    async fn the_newest_alone_give_the_same_rows() {
        let newest = vec![
            orders(delivered("alice.1")).pop().unwrap(),
            orders(delivered("bob.2")).pop().unwrap(),
            orders(vec![placed("alice.3", 5)]).pop().unwrap(),
            levels().pop().unwrap(),
            after_sales(delivered("bob.2").pop().unwrap())
                .pop()
                .unwrap(),
            late("bob.2", 3).pop().unwrap(),
            read_mark(40),
            accounts().pop().unwrap(),
            catalog()[1].clone(),
            catalog()[3].clone(),
        ];
        assert_eq!(dump_after(newest).await, dump_after(run_of_updates()).await);
    }
}
