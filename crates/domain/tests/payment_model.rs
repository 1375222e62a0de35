//! Every interleaving of what can happen to a payment, over the decisions that
//! `UserSession`'s handlers really take ([`waybill_domain::session`]).
//!
//! Around them stands a small model of everything else: the provider with its
//! ledger, the stock, the waits for the payments, and the messages under way.
//! Each handler is one atomic step, as Restate's exclusive handlers are. A bag
//! of events may come in any order and at any time between them; messages to
//! the provider and from it may take any time; the payment window may end
//! at any time while its payment is waited for. A depth-first search visits
//! every state that can be reached; interleavings are counted as the paths
//! through these states. Where nothing more can happen, [`World::violations`]
//! says what is wrong.
//!
//! `PAYMENT_MODEL_EVENTS=4` puts more events into a bag (ordinarily 3).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use waybill_domain::Timestamp;
use waybill_domain::audit::Origin;
use waybill_domain::basket::{Basket, Product};
use waybill_domain::checkout::{
    AwaitPayment, CallbackAnswer, CancelOrder, Checkout, CheckoutAnswer, HandedOver, Marker,
    NamedTerms, PaymentCallback, PaymentOpened, Settle,
};
use waybill_domain::ids::{AttemptId, OrderId, Sku, Username};
use waybill_domain::money::Cents;
use waybill_domain::notification::Notification;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::payment::{
    Claimed, LateMoney, PaymentOrder, PaymentOutcome, PaymentReceipt, ReceiptStatus,
    TransactionClaim, TransactionOwner,
};
use waybill_domain::placement::{Placement, ProviderPage, Shipping};
use waybill_domain::session::{
    self, Callback, Cancelling, CheckoutFinds, Effect, Heard, Settling, Stray,
};

/// What can happen from outside. A number is the attempt it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Event {
    /// The customer checks out again with the same id.
    ChecksOutAgain,
    /// The customer pays on the provider's page, which then calls back.
    Pays(u32),
    /// The same, and the callback is sent twice.
    PaysTwiceTold(u32),
    /// The same, and nobody is ever told.
    PaysInSilence(u32),
    /// The customer declines there.
    Declines(u32),
    /// A callback of another transaction says that it is paid.
    OtherCallback(u32),
    /// The same with the transaction of the other attempt's such callback.
    BorrowedCallback(u32),
    /// A callback says that nothing was paid.
    FailedCallback(u32),
    /// A callback of another amount.
    WrongCallback(u32),
    /// A receipt is posted to the awakeable.
    Resolves(u32),
    /// A receipt of another amount is.
    ResolvesWrongly(u32),
    /// Something that is no receipt is, or the awakeable is rejected.
    Rejects(u32),
    /// The customer takes the order back.
    Cancels,
    /// The provider does not take the payment.
    ProviderRefuses(u32),
    /// An operator cancels the wait in Restate.
    WaitIsCancelled(u32),
}

use Event::{
    BorrowedCallback, Cancels, ChecksOutAgain, Declines, FailedCallback, OtherCallback, Pays,
    PaysInSilence, PaysTwiceTold, ProviderRefuses, Rejects, Resolves, ResolvesWrongly,
    WaitIsCancelled, WrongCallback,
};

/// Everything that may happen in a bag. To the second attempt less: what
/// differs there is that there was a first.
const EVENTS: [Event; 20] = [
    ChecksOutAgain,
    Pays(1),
    PaysTwiceTold(1),
    PaysInSilence(1),
    Declines(1),
    OtherCallback(1),
    FailedCallback(1),
    WrongCallback(1),
    Resolves(1),
    ResolvesWrongly(1),
    Rejects(1),
    Cancels,
    ProviderRefuses(1),
    WaitIsCancelled(1),
    Pays(2),
    OtherCallback(2),
    BorrowedCallback(2),
    Resolves(2),
    Rejects(2),
    WaitIsCancelled(2),
];

/// The wait for one attempt's payment: `AwaitPayment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Wait {
    /// The provider is being asked, or has answered.
    Waiting(Keyed<AwaitPayment>),
    /// Has heard how it ended.
    Settling(Keyed<PaymentOutcome>),
    Done,
}

/// Wire types know no hash: their debug text stands for them.
#[derive(Debug)]
struct Keyed<T> {
    value: Rc<T>,
    text: Rc<str>,
    hash: u64,
}

impl<T: std::fmt::Debug> Keyed<T> {
    fn new(value: T) -> Self {
        let text: Rc<str> = format!("{value:?}").into();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            value: Rc::new(value),
            text,
            hash: hasher.finish(),
        }
    }
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self {
            value: Rc::clone(&self.value),
            text: Rc::clone(&self.text),
            hash: self.hash,
        }
    }
}

impl<T> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl<T> Eq for Keyed<T> {}

impl<T> Hash for Keyed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    /// `PaymentService.RequestPayment`.
    Request(u32),
    /// `PaymentService.Void`: attempt, transaction.
    Void(u32, String),
    /// `PaymentService.Close`: attempt, transaction if it is known.
    Close(u32, Option<String>),
    /// `UserSession.PaymentOpened`: attempt, and whether with the provider's page.
    Opened(u32, bool),
    /// `UserSession.Settle`, after the provider has refused.
    Refused(u32),
    /// The provider's webhook: attempt, transaction, paid or declined.
    Callback(u32, String, bool),
}

/// One payment at the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Payment {
    closed: bool,
    /// Transactions, and whether their money is held still.
    held: BTreeMap<String, bool>,
    declined: bool,
}

/// A defect that is planted, to see that the model finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Planted {
    Nothing,
    /// Late money is noted, but not voided.
    ForgetsToVoid,
    /// Failed attempts keep their stock.
    ForgetsToRelease,
    /// Failed attempts are not closed at the provider.
    ForgetsToClose,
    /// A transaction may be claimed by everybody.
    ForgetsClaims,
    /// Late money is voided, but nobody is told.
    TellsNobody,
    /// Paying does not empty the cart.
    KeepsTheCart,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    planted: Planted,
    bag: Vec<Event>,
    marker: Option<Keyed<Marker>>,
    late: Option<Keyed<LateMoney>>,
    /// Whose each transaction is: the attempt's number.
    claimed: BTreeMap<String, u32>,
    basket: Keyed<Basket>,
    waits: BTreeMap<u32, Wait>,
    /// What each awakeable was resolved with first.
    awakeables: BTreeMap<u32, Keyed<Result<PaymentReceipt, String>>>,
    provider: BTreeMap<u32, Payment>,
    /// Attempts that stock is reserved for.
    reserved: BTreeSet<u32>,
    /// In no order.
    under_way: Vec<Message>,
    /// The transactions that the workflow was started with.
    runs: Vec<String>,
    /// Successes that the webhook has accepted.
    accepted: Vec<String>,
    /// What is wrong with the way here.
    wrong: Vec<String>,
}

const DUE: i64 = 6_500;

fn at() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn order_id() -> OrderId {
    OrderId::parse("alice.1").unwrap()
}

fn attempt_id(attempt: u32) -> AttemptId {
    AttemptId {
        order_id: order_id(),
        attempt,
    }
}

fn basket() -> Basket {
    let product = Product {
        sku: Sku::parse("P001").unwrap(),
        product_id: 1,
        name: "Widget".into(),
        unit_price_cents: Cents(6_000),
    };
    let empty = Basket::empty(Username::parse("alice").unwrap());
    empty.add(product, 1).unwrap()
}

fn placement() -> Placement {
    Placement {
        lines: basket().items,
        shipping: Shipping {
            zone: "Domestic".into(),
            cost_cents: Cents(500),
            address: "1 Main St".into(),
        },
        pay_until: at(),
        approve_within_ms: Some(0),
    }
}

/// A checkout that names no terms.
fn asked() -> Checkout {
    Checkout {
        order_id: order_id(),
        prices: Vec::new(),
        not_sold: Vec::new(),
        shipping: placement().shipping,
        expected_total_cents: None,
        named: NamedTerms::default(),
        known_as_paid: false,
        provider_is_away: false,
        unpaid: None,
        at: None,
    }
}

fn awakeable(attempt: u32) -> String {
    format!("sign_{attempt}")
}

fn attempt_of(awakeable_id: &str) -> u32 {
    awakeable_id.trim_start_matches("sign_").parse().unwrap()
}

fn receipt(attempt: u32, transaction: &str, amount: i64) -> PaymentReceipt {
    PaymentReceipt {
        awakeable_id: awakeable(attempt),
        transaction_id: transaction.to_owned(),
        amount,
        status: if amount > 0 {
            ReceiptStatus::Success
        } else {
            ReceiptStatus::Failed
        },
        reason: None,
        currency: None,
        order_id: None,
    }
}

/// What happens.
impl World {
    fn new(bag: Vec<Event>, planted: Planted) -> Self {
        let mut world = Self {
            planted,
            bag,
            marker: None,
            late: None,
            claimed: BTreeMap::new(),
            basket: Keyed::new(basket()),
            waits: BTreeMap::new(),
            awakeables: BTreeMap::new(),
            provider: BTreeMap::new(),
            reserved: BTreeSet::new(),
            under_way: Vec::new(),
            runs: Vec::new(),
            accepted: Vec::new(),
            wrong: Vec::new(),
        };
        world.check_out();
        world
    }

    /// Every way on from here.
    fn next(&self) -> Vec<World> {
        let mut ways = Vec::new();
        let mut way = |step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            next.under_way.sort();
            ways.push(next);
        };
        for (n, event) in self.bag.iter().enumerate() {
            if self.can_happen(*event) {
                way(&|world: &mut World| {
                    world.bag.remove(n);
                    world.happen(*event);
                });
            }
        }
        for (n, message) in self.under_way.iter().enumerate() {
            // A callback for an awakeable that is not known is refused, and comes again.
            if let Message::Callback(attempt, ..) = message
                && !self.attempts().contains(&(*attempt, true))
            {
                continue;
            }
            // Before it has an answer, the awakeable alone may be told of.
            if let Message::Request(attempt) = *message
                && self.attempts().contains(&(attempt, false))
                && !self.under_way.contains(&Message::Opened(attempt, false))
            {
                way(&|world: &mut World| {
                    world.under_way.push(Message::Opened(attempt, false));
                });
            }
            // Two of the same are one way on.
            if n == 0 || self.under_way[n - 1] != *message {
                way(&|world: &mut World| {
                    let message = world.under_way.remove(n);
                    world.arrive(message);
                });
            }
        }
        for (attempt, wait) in &self.waits {
            let attempt = *attempt;
            match wait {
                Wait::Done => {}
                Wait::Settling(outcome) => way(&|world: &mut World| {
                    world.waits.insert(attempt, Wait::Done);
                    world.settle(attempt, PaymentOutcome::clone(&outcome.value));
                }),
                Wait::Waiting(_) => {
                    way(&|world: &mut World| world.hear(attempt, Heard::Deadline));
                    if let Some(resolved) = self.awakeables.get(&attempt) {
                        way(&|world: &mut World| {
                            world.hear(attempt, Heard::Receipt(Result::clone(&resolved.value)));
                        });
                    }
                }
            }
        }
        ways
    }

    fn can_happen(&self, event: Event) -> bool {
        match event {
            ChecksOutAgain | Cancels => true,
            Pays(n) | PaysTwiceTold(n) | PaysInSilence(n) | Declines(n) => {
                self.provider.contains_key(&n)
            }
            OtherCallback(n) | BorrowedCallback(n) | FailedCallback(n) | WrongCallback(n)
            | Resolves(n) | ResolvesWrongly(n) | Rejects(n) => self.attempts().contains(&(n, true)),
            ProviderRefuses(n) => self.under_way.contains(&Message::Request(n)),
            WaitIsCancelled(n) => matches!(self.waits.get(&n), Some(Wait::Waiting(_))),
        }
    }

    /// Number of each attempt, and whether its awakeable is known.
    fn attempts(&self) -> Vec<(u32, bool)> {
        let attempts = match self.marker.as_ref().map(|it| &*it.value) {
            None => return Vec::new(),
            Some(Marker::Here(record)) => &record.payments,
            Some(Marker::HandedOver(marker)) => &marker.attempts,
        };
        let known = attempts.iter();
        known
            .map(|it| (it.attempt, it.awakeable_id.is_some()))
            .collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            ChecksOutAgain => self.check_out(),
            Pays(n) => self.pay(n, &format!("page-{n}"), 1),
            PaysTwiceTold(n) => self.pay(n, &format!("page-{n}"), 2),
            PaysInSilence(n) => self.pay(n, &format!("silent-{n}"), 0),
            Declines(n) => {
                let payment = self.provider.entry(n).or_default();
                if !payment.closed && payment.held.is_empty() && !payment.declined {
                    payment.declined = true;
                    let told = Message::Callback(n, format!("no-{n}"), false);
                    self.under_way.push(told);
                }
            }
            OtherCallback(n) => self.call_back(receipt(n, &format!("other-{n}"), DUE)),
            BorrowedCallback(n) => self.call_back(receipt(n, &format!("other-{}", 3 - n), DUE)),
            FailedCallback(n) => self.call_back(receipt(n, "", 0)),
            WrongCallback(n) => self.call_back(receipt(n, &format!("less-{n}"), DUE - 1)),
            Resolves(n) => self.resolve(n, Ok(receipt(n, &format!("direct-{n}"), DUE))),
            ResolvesWrongly(n) => self.resolve(n, Ok(receipt(n, &format!("wrong-{n}"), DUE - 1))),
            Rejects(n) => self.resolve(n, Err("card stolen".into())),
            Cancels => self.cancel(),
            ProviderRefuses(n) => {
                self.under_way.retain(|it| *it != Message::Request(n));
                self.under_way.push(Message::Refused(n));
            }
            WaitIsCancelled(n) => {
                let outcome = PaymentOutcome::Cancelled {
                    by: "restate".into(),
                    reason: None,
                    from: Origin::default(),
                };
                self.waits.insert(n, Wait::Settling(Keyed::new(outcome)));
            }
        }
    }

    /// The provider's page takes money, unless it is closed or has taken some.
    fn pay(&mut self, attempt: u32, transaction: &str, told: usize) {
        let payment = self.provider.entry(attempt).or_default();
        if payment.closed || payment.declined || !payment.held.is_empty() {
            return;
        }
        payment.held.insert(transaction.to_owned(), true);
        let callback = Message::Callback(attempt, transaction.to_owned(), true);
        self.under_way.extend(vec![callback; told]);
    }

    /// The first resolution counts; Restate ignores the others.
    fn resolve(&mut self, attempt: u32, with: Result<PaymentReceipt, String>) {
        let ended = matches!(
            self.waits.get(&attempt),
            Some(Wait::Settling(_) | Wait::Done)
        );
        if !ended {
            let first = self.awakeables.entry(attempt);
            first.or_insert_with(|| Keyed::new(with));
        }
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Request(n) => {
                self.provider.entry(n).or_default();
                self.under_way.push(Message::Opened(n, true));
            }
            Message::Opened(n, with_page) => self.opened(n, with_page.then(page)),
            Message::Refused(n) => {
                let reason = "the card is not accepted".into();
                self.settle(n, PaymentOutcome::Declined { reason });
            }
            Message::Void(n, transaction) => {
                let payment = self.provider.entry(n).or_default();
                payment.held.insert(transaction, false);
            }
            Message::Close(n, transaction) => {
                let payment = self.provider.entry(n).or_default();
                payment.closed = true;
                payment.held.extend(transaction.map(|it| (it, false)));
                payment.held.values_mut().for_each(|held| *held = false);
            }
            Message::Callback(n, transaction, paid) => {
                self.call_back(receipt(n, &transaction, if paid { DUE } else { 0 }));
            }
        }
    }
}

fn page() -> ProviderPage {
    ProviderPage {
        payment_id: "pay_1".into(),
        pay_url: "http://provider/pay_1".into(),
    }
}

/// The handlers: read, ask `session`, do what follows.
impl World {
    fn marker(&self) -> Option<Marker> {
        self.marker.as_ref().map(|it| Marker::clone(&it.value))
    }

    fn cart(&self) -> Basket {
        Basket::clone(&self.basket.value)
    }

    /// `Checkout`.
    fn check_out(&mut self) {
        let Ok(CheckoutFinds::Next(next)) = session::look(self.marker(), &asked()) else {
            return;
        };
        if self.basket.value.items.is_empty() {
            return self.wrong.push("a second attempt finds no cart".into());
        }
        self.reserved.insert(next.id.attempt);
        let placed = next.place(placement(), false, at());
        let decided = placed.expect("it was looked at");
        assert!(matches!(decided.answer, CheckoutAnswer::Placed { .. }));
        self.perform(decided.effects);
    }

    /// `PaymentCallback`.
    fn call_back(&mut self, receipt: PaymentReceipt) {
        let callback = PaymentCallback {
            order_id: order_id(),
            receipt,
            at: None,
        };
        let Ok(callback) = session::called_back(self.marker(), callback) else {
            return;
        };
        if !callback.claim().is_none_or(|claim| self.claims(&claim)) {
            return;
        }
        match callback {
            Callback::Repeated => {}
            Callback::News(attempt, receipt) => {
                if receipt.status == ReceiptStatus::Success {
                    self.accepted.push(receipt.transaction_id.clone());
                }
                let cart = self.cart();
                let decided = attempt.receive(receipt, cart, at()).expect("it fits");
                assert!(matches!(decided.answer, CallbackAnswer::Accepted { .. }));
                self.perform(decided.effects);
            }
            Callback::Stray(stray) => self.send_back(Some(stray)),
        }
    }

    /// `PaymentTransaction.Claim`: whether it is theirs.
    fn claims(&mut self, claim: &TransactionClaim) -> bool {
        let owner_of = |attempt: u32| TransactionOwner {
            attempt: attempt_id(attempt),
            awakeable_id: awakeable(attempt),
        };
        let held = self.claimed.get(&claim.transaction_id).copied();
        let attempt = claim.owner.attempt.attempt;
        match claim.owner.claims(held.map(owner_of).as_ref()) {
            Claimed::Now => {
                self.claimed.insert(claim.transaction_id.clone(), attempt);
                true
            }
            Claimed::Before => true,
            Claimed::Refused => self.planted == Planted::ForgetsClaims,
        }
    }

    fn send_back(&mut self, stray: Option<Stray>) {
        let late = self.late.as_ref().map(|it| LateMoney::clone(&it.value));
        if let Some(stray) = stray {
            self.perform(stray.send_back(late, at()).effects);
        }
    }

    /// `CancelOrder`.
    fn cancel(&mut self) {
        let cancel = CancelOrder {
            order_id: order_id(),
            by: "alice".into(),
            reason: None,
            at: None,
            from: Origin::default(),
        };
        if let Ok(Cancelling::Ends(attempt, cancel)) = session::cancel(self.marker(), cancel) {
            let decided = attempt.cancel(cancel, self.cart(), at()).expect("it fits");
            self.perform(decided.effects);
        }
    }

    /// `PaymentOpened`.
    fn opened(&mut self, attempt: u32, provider: Option<ProviderPage>) {
        let opened = PaymentOpened {
            attempt: attempt_id(attempt),
            awakeable_id: awakeable(attempt),
            provider,
            at: None,
        };
        let decided = session::opened(self.marker(), opened, at()).expect("it fits");
        self.perform(decided.effects);
    }

    /// `AwaitPayment` hears something.
    fn hear(&mut self, attempt: u32, heard: Heard) {
        let Some(Wait::Waiting(wait)) = self.waits.get(&attempt) else {
            unreachable!("only who waits hears");
        };
        let settling = Wait::Settling(Keyed::new(wait.value.hear(heard)));
        self.waits.insert(attempt, settling);
    }

    /// `Settle`.
    fn settle(&mut self, attempt: u32, outcome: PaymentOutcome) {
        let asked = Settle {
            attempt: attempt_id(attempt),
            outcome,
            awakeable_id: Some(awakeable(attempt)),
            at: None,
        };
        let marker = self.marker();
        let number = attempt;
        let settling = session::settle(self.marker(), asked);
        let settling = match settling.claim() {
            Some(claim) if !self.claims(&claim) => settling.without_money(),
            _ => settling,
        };
        match settling {
            Settling::Ends(attempt, outcome) => {
                let stray = attempt.stray(&outcome);
                let ended = attempt.end(outcome, self.cart(), at()).expect("it fits");
                self.send_back(stray);
                self.perform(ended.effects);
            }
            Settling::Ended { stray, .. } => {
                self.send_back(stray);
                let (attempt, awakeable) = (attempt_id(number), awakeable(number));
                self.perform(session::told_too_late(marker, &attempt, awakeable, at()));
            }
        }
        self.resolve(number, Err("it has ended".into()));
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let planted = self.planted;
        for effect in effects {
            match effect {
                Effect::NoteLate(_) if planted == Planted::TellsNobody => {}
                Effect::Release { .. } if planted == Planted::ForgetsToRelease => {}
                Effect::Void(_) if planted == Planted::ForgetsToVoid => {}
                Effect::Close(_) if planted == Planted::ForgetsToClose => {}
                Effect::Keep(_) if planted == Planted::KeepsTheCart => {}
                Effect::Write(record) => self.write(record),
                Effect::Keep(basket) => self.basket = Keyed::new(basket),
                Effect::HandOver(record) => {
                    let marker = HandedOver::from(&*record);
                    self.marker = Some(Keyed::new(Marker::HandedOver(marker)));
                }
                Effect::Remember(_, marker) => {
                    self.marker = Some(Keyed::new(Marker::HandedOver(marker)));
                }
                Effect::NoteLate(late) => self.late = Some(Keyed::new(late)),
                Effect::Await(wait) => {
                    let attempt = wait.attempt.attempt;
                    self.waits.insert(attempt, Wait::Waiting(Keyed::new(wait)));
                    self.under_way.push(Message::Request(attempt));
                }
                Effect::Resolve(receipt) => {
                    self.resolve(attempt_of(&receipt.awakeable_id), Ok(receipt));
                }
                Effect::Reject {
                    awakeable_id,
                    reason,
                } => self.resolve(attempt_of(&awakeable_id), Err(reason)),
                // At once: nothing else here depends on when it arrives.
                Effect::Release { attempt, .. } => {
                    self.reserved.remove(&attempt.attempt);
                }
                Effect::Void(order) => self.under_way.push(void(order)),
                Effect::Close(order) => {
                    if order.awakeable_id != awakeable(order.attempt.attempt) {
                        let words = "the provider is asked in other words than at first";
                        self.wrong.push(words.into());
                    }
                    let close = Message::Close(order.attempt.attempt, order.transaction_id);
                    self.under_way.push(close);
                }
                Effect::Run(record) => {
                    let paid_by = record.payment().transaction_id.clone();
                    self.runs.push(paid_by.unwrap_or_default());
                }
                Effect::Forget(_) => {}
            }
        }
    }

    fn write(&mut self, record: Box<OrderRecord>) {
        let before = match self.marker.as_ref().map(|it| &*it.value) {
            Some(Marker::Here(before)) => before.version,
            Some(Marker::HandedOver(_)) => u64::MAX,
            None => 0,
        };
        if record.version <= before {
            self.wrong.push("a version does not grow".into());
        }
        self.marker = Some(Keyed::new(Marker::Here(record)));
    }
}

fn void(order: PaymentOrder) -> Message {
    let transaction = order.transaction_id.expect("a void names its money");
    Message::Void(order.attempt.attempt, transaction)
}

/// The laws.
impl World {
    /// What is wrong where nothing more can happen.
    fn violations(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let mut law = |holds: bool, words: &str| {
            if !holds {
                wrong.push(words.to_owned());
            }
        };
        let winner = self.runs.first();
        law(self.runs.len() <= 1, "handed over more than once");
        let ended = self.waits.values().all(|wait| *wait == Wait::Done);
        law(ended, "a wait has not ended");
        law(self.under_way.is_empty(), "a callback is refused for ever");
        match (self.marker.as_ref().map(|it| &*it.value), winner) {
            (None, _) => law(false, "the marker is lost"),
            (Some(Marker::HandedOver(marker)), Some(winner)) => {
                let attempts = marker.attempts.iter();
                let paid: Vec<_> = attempts
                    .filter_map(|it| it.transaction_id.as_ref())
                    .collect();
                law(paid == [winner], "the marker forgets what paid");
            }
            (Some(Marker::Here(record)), None) => {
                let failed = record.status.is_terminal() && record.status != OrderStatus::Delivered;
                law(failed, "neither paid nor failed");
                law(record.done.is_empty(), "ended with something not undone");
            }
            _ => law(false, "paid, and the marker does not say so"),
        }
        let paid_attempt = winner.and(self.waits.keys().max().copied());
        let kept: Vec<u32> = self.reserved.iter().copied().collect();
        let due: Vec<u32> = paid_attempt.into_iter().collect();
        law(kept == due, "stock is not kept for exactly what is paid");
        let is_empty = self.basket.value.items.is_empty();
        law(
            is_empty == winner.is_some(),
            "the cart is not emptied by exactly what is paid",
        );
        for accepted in &self.accepted {
            let counts = Some(accepted) == winner;
            law(counts, "a success was accepted and does not count");
        }
        for (attempt, _) in self.attempts() {
            let open = self.provider.get(&attempt).is_some_and(|it| !it.closed);
            let failed = paid_attempt != Some(attempt);
            law(!(failed && open), "a failed attempt can still be paid");
        }
        let mut attempts_of = BTreeMap::<&String, BTreeSet<u32>>::new();
        for (attempt, payment) in &self.provider {
            for transaction in payment.held.keys() {
                attempts_of.entry(transaction).or_default().insert(*attempt);
            }
        }
        let paid = winner.into_iter().zip(paid_attempt);
        for (transaction, attempt) in paid {
            attempts_of.entry(transaction).or_default().insert(attempt);
        }
        for attempts in attempts_of.values() {
            law(attempts.len() == 1, "one transaction counts twice");
        }
        self.judge_money(winner, &mut law);
        wrong
    }

    fn judge_money(&self, winner: Option<&String>, law: &mut impl FnMut(bool, &str)) {
        let late = self.late.as_ref();
        let told: Vec<_> = late
            .map(|late| Notification::of_late_money(&late.value))
            .unwrap_or_default();
        let is_told = |transaction: &str| {
            let named = format!("(transaction {transaction})");
            told.iter().any(|it| it.text.contains(&named))
        };
        if let Some(winner) = winner {
            law(!is_told(winner), "told that the money that pays goes back");
        }
        let all = self.provider.values().flat_map(|it| &it.held);
        for (transaction, held) in all {
            if Some(transaction) == winner {
                law(*held, "the money that pays was voided");
                continue;
            }
            // Of what nobody was told of nothing is known while the order goes
            // on; when it fails, its payment is closed as a whole.
            let silent = transaction.starts_with("silent");
            let unknowable = silent && winner.is_some();
            law(!held || unknowable, "money is held that pays for nothing");
            // A wrong amount is the reason of the failure, in its own words.
            let told_otherwise = transaction.starts_with("wrong");
            law(
                is_told(transaction) || silent || told_otherwise,
                "money goes back and the customer is not told",
            );
        }
    }
}

/// What a search has found.
#[derive(Debug, Default)]
struct Found {
    ends: usize,
    interleavings: u128,
    wrong: BTreeMap<String, World>,
    /// How many ways lead on from each state.
    ways: HashMap<World, u128>,
}

impl Found {
    /// Everything that a bag of events can lead to.
    fn explore(bag: Vec<Event>, planted: Planted) -> Self {
        let mut found = Self::default();
        found.interleavings = found.ways_from(World::new(bag, planted));
        found
    }

    fn ways_from(&mut self, world: World) -> u128 {
        if let Some(ways) = self.ways.get(&world) {
            return *ways;
        }
        let next = world.next();
        let ways = if next.is_empty() {
            self.ends += 1;
            for words in world.violations() {
                self.wrong.entry(words).or_insert_with(|| world.clone());
            }
            1
        } else {
            next.into_iter().map(|next| self.ways_from(next)).sum()
        };
        self.ways.insert(world, ways);
        ways
    }
}

/// Every choice of `size` of the events.
fn bags(size: usize, events: &[Event]) -> Vec<Vec<Event>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (n, event) in events.iter().enumerate() {
        for mut rest in bags(size - 1, &events[n + 1..]) {
            rest.insert(0, *event);
            all.push(rest);
        }
    }
    all
}

/// Nothing happens to a second attempt that nobody makes.
fn makes_sense(bag: &[Event]) -> bool {
    bag.contains(&ChecksOutAgain)
        || !bag.iter().any(|event| {
            [
                Pays(2),
                OtherCallback(2),
                BorrowedCallback(2),
                Resolves(2),
                Rejects(2),
                WaitIsCancelled(2),
            ]
            .contains(event)
        })
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was explored")]
fn whatever_comes_in_whatever_order_money_counts_once_or_goes_back() {
    let size = std::env::var("PAYMENT_MODEL_EVENTS").map_or(3, |text| text.parse().unwrap());
    let (mut states, mut ends, mut interleavings, mut number) = (0, 0, 0_u128, 0);
    for bag in bags(size, &EVENTS)
        .into_iter()
        .filter(|bag| makes_sense(bag))
    {
        let found = Found::explore(bag.clone(), Planted::Nothing);
        assert!(found.wrong.is_empty(), "{bag:?}: {:#?}", found.wrong);
        number += 1;
        states += found.ways.len();
        ends += found.ends;
        interleavings += found.interleavings;
    }
    println!(
        "{number} bags of {size} events: {interleavings} interleavings \
         through {states} states to {ends} ends"
    );
}

#[test]
fn planted_defects_are_found() {
    for (planted, bag, words) in [
        (
            Planted::ForgetsToVoid,
            vec![Pays(1), OtherCallback(1)],
            "money is held",
        ),
        (
            Planted::ForgetsToRelease,
            vec![Declines(1)],
            "stock is not kept",
        ),
        (Planted::ForgetsToClose, vec![Cancels], "can still be paid"),
        (
            Planted::ForgetsClaims,
            vec![
                Declines(1),
                OtherCallback(1),
                ChecksOutAgain,
                BorrowedCallback(2),
            ],
            "counts twice",
        ),
        (
            Planted::TellsNobody,
            vec![Pays(1), OtherCallback(1)],
            "is not told",
        ),
        (Planted::KeepsTheCart, vec![Pays(1)], "the cart is not"),
    ] {
        let found = Found::explore(bag.clone(), planted);
        let seen = found.wrong.keys().any(|wrong| wrong.contains(words));
        assert!(seen, "{planted:?}: {:?}", found.wrong.keys());
        let honest = Found::explore(bag, Planted::Nothing);
        assert!(honest.wrong.is_empty(), "{:#?}", honest.wrong);
    }
}
