//! What a seed plans: who comes, what they do, and what goes wrong meanwhile.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::world::Component;

/// Orders of one shopper, on average.
const ORDERS_EACH: usize = 4;
/// Shoppers come within this time for each order of the day.
const MILLIS_FOR_AN_ORDER: u64 = 80;
/// More than any day needs.
const MISHAPS: usize = 400;
/// What is bought.
pub const SKUS: [&str; 8] = [
    "P001", "P002", "P003", "P004", "P005", "P009", "P013", "P019",
];

/// A day in the shop.
#[derive(Debug)]
pub struct Day {
    pub seed: u64,
    pub shoppers: Vec<Shopper>,
    pub mishaps: Vec<Mishap>,
}

/// Somebody who comes and orders, one order after the other.
#[derive(Debug)]
pub struct Shopper {
    pub name: String,
    pub comes_after: Duration,
    pub orders: Vec<PlannedOrder>,
}

/// An order, if it comes to that.
#[derive(Debug)]
pub struct PlannedOrder {
    pub id: String,
    pub cart: Vec<Cart>,
    pub double_click: bool,
    pub paying: Paying,
    pub deciding: Deciding,
    /// An operator cancels the workflow so long after the decision.
    pub recalled_after: Option<Duration>,
    /// An approval takes a piece out.
    pub in_part: bool,
    /// What comes after the delivery.
    pub then: Then,
    /// Faults of the outside world for this order.
    faults: Value,
}

/// A change of the cart.
#[derive(Debug)]
pub struct Cart {
    pub sku: &'static str,
    pub basket: Basket,
}

#[derive(Debug)]
pub enum Basket {
    Add(i64),
    Update(i64),
    Remove,
}

/// How somebody pays.
#[derive(Debug, Clone, Copy)]
pub enum Paying {
    Never,
    OnThePage,
    Declined,
    AtTheSecondTry,
    ByHand { copies: usize },
    TwoTransactions,
    TheWrongAmount,
    AtRestate { garbage: bool },
    WhileCancelling,
    AfterCancelling,
}

/// Who decides, and how.
#[derive(Debug, Clone, Copy)]
pub enum Deciding {
    Approve,
    Reject,
    ApproveAndReject,
    ApproveAndCancel,
    Cancel,
    Nobody,
}

/// What somebody does after the delivery.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    Nothing,
    /// A piece comes back: sellable or damaged, and is paid back as a whole or in part.
    Return {
        damaged: bool,
        refund_cents: Option<i64>,
    },
    /// A return is refused.
    Refused,
    /// A return is asked for, and nobody decides.
    Asked,
    /// Money goes back without a return.
    Goodwill(i64),
}

/// Something that happens to our own processes.
#[derive(Debug)]
pub enum Mishap {
    /// SIGKILL, and a start some time later.
    Kill {
        after: Duration,
        parts: Vec<Component>,
        away: Duration,
    },
    /// SIGSTOP, and SIGCONT some time later.
    Freeze {
        after: Duration,
        part: Component,
        away: Duration,
    },
}

impl Mishap {
    /// How long after the one before.
    pub fn after(&self) -> Duration {
        match self {
            Self::Kill { after, .. } | Self::Freeze { after, .. } => *after,
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { parts, .. } => write!(f, "SIGKILL {parts:?}"),
            Self::Freeze { part, .. } => write!(f, "SIGSTOP {part:?}"),
        }
    }
}

impl Day {
    /// The day of a seed.
    pub fn plan(seed: u64, orders: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let people = orders.div_ceil(ORDERS_EACH);
        let within = MILLIS_FOR_AN_ORDER * orders as u64;
        let mut shoppers: Vec<_> = (0..people)
            .map(|n| Shopper {
                name: format!("shopper{n}"),
                comes_after: Duration::from_millis(dice.random_range(0..=within)),
                orders: Vec::new(),
            })
            .collect();
        for n in 0..orders {
            let order = PlannedOrder::plan(&mut dice, n);
            let whose = dice.random_range(0..people);
            shoppers[whose].orders.push(order);
        }
        Self {
            seed,
            shoppers,
            mishaps: (0..MISHAPS).map(|_| Mishap::plan(&mut dice)).collect(),
        }
    }

    /// The outside world's switches for every order of the day.
    pub fn faults(&self) -> Value {
        let mut orders = Map::new();
        for shopper in &self.shoppers {
            for order in &shopper.orders {
                orders.insert(
                    format!("{}.{}", shopper.name, order.id),
                    order.faults.clone(),
                );
            }
        }
        json!({ "orders": orders })
    }
}

impl PlannedOrder {
    fn plan(dice: &mut StdRng, n: usize) -> Self {
        let changes = dice.random_range(1..=4);
        let mut cart = vec![Cart {
            sku: a_sku(dice),
            basket: Basket::Add(dice.random_range(1..=3)),
        }];
        cart.extend((1..changes).map(|_| Cart {
            sku: a_sku(dice),
            basket: match dice.random_range(0..5) {
                0 => Basket::Remove,
                1 => Basket::Update(dice.random_range(1..=4)),
                _ => Basket::Add(dice.random_range(1..=2)),
            },
        }));
        Self {
            id: format!("o{n}"),
            cart,
            double_click: dice.random_ratio(1, 5),
            paying: match dice.random_range(0..20) {
                0 => Paying::Never,
                1 => Paying::Declined,
                2 | 3 => Paying::AtTheSecondTry,
                4 | 5 => Paying::ByHand {
                    copies: dice.random_range(1..=3),
                },
                6 => Paying::TwoTransactions,
                7 => Paying::TheWrongAmount,
                8 => Paying::AtRestate {
                    garbage: dice.random_bool(0.5),
                },
                9 => Paying::WhileCancelling,
                10 => Paying::AfterCancelling,
                _ => Paying::OnThePage,
            },
            deciding: match dice.random_range(0..12) {
                0 => Deciding::Reject,
                1 => Deciding::ApproveAndReject,
                2 => Deciding::ApproveAndCancel,
                3 => Deciding::Cancel,
                4 => Deciding::Nobody,
                _ => Deciding::Approve,
            },
            recalled_after: dice
                .random_ratio(1, 6)
                .then(|| Duration::from_millis(dice.random_range(0..1_000))),
            in_part: dice.random_ratio(1, 5),
            then: match dice.random_range(0..8) {
                0..=2 => Then::Return {
                    damaged: dice.random_bool(0.5),
                    refund_cents: dice.random_bool(0.5).then(|| dice.random_range(0..500)),
                },
                3 => Then::Refused,
                4 => Then::Asked,
                5 => Then::Goodwill(dice.random_range(1..800)),
                _ => Then::Nothing,
            },
            faults: json!({ "payments": payment_faults(dice), "carrier": carrier_faults(dice) }),
        }
    }
}

fn a_sku(dice: &mut StdRng) -> &'static str {
    SKUS.choose(dice).expect("there are some")
}

fn payment_faults(dice: &mut StdRng) -> Value {
    let mut faults = json!({});
    let mut maybe = |dice: &mut StdRng, name: &str, value: Value| {
        if dice.random_ratio(1, 8) {
            faults[name] = value;
        }
    };
    let (late, slow) = (dice.random_range(50..2_000), dice.random_range(50..1_500));
    maybe(dice, "delay_ms", json!(late));
    maybe(dice, "answer_delay_ms", json!(slow));
    maybe(dice, "silent", json!(true));
    let copies = dice.random_range(1..=3);
    maybe(dice, "duplicate", json!(copies));
    maybe(dice, "reorder", json!(true));
    maybe(dice, "forge", json!(true));
    maybe(dice, "drop_response", json!(true));
    if dice.random_ratio(1, 12) {
        let down = dice.random_bool(0.5);
        faults["down"] = if down { json!(true) } else { json!("drop") };
    }
    faults
}

fn carrier_faults(dice: &mut StdRng) -> Value {
    match dice.random_range(0..10) {
        0 => json!({ "reject": true }),
        1 => json!({ "fail_times": dice.random_range(1..=5) }),
        2 => json!({ "drop_response": true }),
        3 => json!({ "down": true }),
        4 => json!({ "down": "drop" }),
        5 => json!({ "delay_ms": dice.random_range(100..2_000) }),
        _ => json!({}),
    }
}

impl Mishap {
    fn plan(dice: &mut StdRng) -> Self {
        let after = Duration::from_millis(dice.random_range(300..2_500));
        let away = Duration::from_millis(dice.random_range(0..1_500));
        let mut parts = vec![
            Component::Restate,
            Component::Services,
            Component::Sandbox,
            Component::Gateway,
        ];
        let one = *parts.choose(dice).expect("there are some");
        if dice.random_bool(0.4) {
            return Self::Freeze {
                after,
                part: one,
                away,
            };
        }
        let another = *parts.choose(dice).expect("there are some");
        // In the order in which they need each other.
        parts.retain(|part| *part == one || (dice.random_bool(0.3) && *part == another));
        Self::Kill { after, parts, away }
    }
}
