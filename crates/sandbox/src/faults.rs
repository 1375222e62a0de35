//! The switches that make the outside world misbehave.
//!
//! Switches are kept sparse, as they were put. What holds for an order is the
//! defaults, overlaid with the global switches, overlaid with the order's own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, RwLock},
};

use anyhow::Context as _;
use axum::{Router, extract::State, routing::get};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    World,
    answer::{Answer, Body, Reply},
    carrier,
    database::Database,
};

/// Faults of the payment provider, as they hold for one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, any of which may be on with any other"
)]
pub(crate) struct PaymentFaults {
    /// The customer acts alone, right after the payment was opened.
    pub(crate) auto: Auto,
    /// How late the customer of `auto` acts, and callbacks are sent.
    pub(crate) delay_ms: u32,
    /// How late the API answers; its effects are not late.
    pub(crate) answer_delay_ms: u32,
    /// How late requests arrive, and their effects with them: also when the
    /// caller has hung up meanwhile.
    pub(crate) lag_ms: u32,
    /// Callbacks are never sent.
    pub(crate) silent: bool,
    /// How many more times each callback is sent.
    pub(crate) duplicate: u8,
    /// Callbacks are held for a moment, then sent last first.
    pub(crate) reorder: bool,
    /// A forged callback is sent before each real one.
    pub(crate) forge: bool,
    /// Nothing is served.
    pub(crate) down: Down,
    /// A request that has an effect gets no answer.
    pub(crate) drop_response: bool,
    /// Money that no customer has authorized here cannot be captured or voided: callbacks
    /// written by hand are not believed. No fault, but what a real provider does.
    pub(crate) strict: bool,
}

/// Faults of the carrier, as they hold for one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CarrierFaults {
    /// Nothing is served.
    pub(crate) down: Down,
    /// How many bookings of each order fail before one works.
    pub(crate) fail_times: u32,
    /// How late the API answers; its effects are not late.
    pub(crate) delay_ms: u32,
    /// How late requests arrive, and their effects with them: also when the
    /// caller has hung up meanwhile.
    pub(crate) lag_ms: u32,
    /// Every booking is definitely refused.
    pub(crate) reject: bool,
    /// A request that has an effect gets no answer.
    pub(crate) drop_response: bool,
}

/// What the customer does without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auto {
    #[default]
    Off,
    Pay,
    Decline,
}

/// How one side is down. On the wire `false`, `true` or `"drop"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub(crate) enum Down {
    #[default]
    No,
    /// A bare 503.
    Unavailable,
    /// Connections are closed without an answer.
    Drop,
}

/// The switches in force, and their durable copy.
pub(crate) struct Faults {
    current: RwLock<Arc<InForce>>,
    /// Held while switches are changed, so that no change overwrites another.
    changing: tokio::sync::Mutex<()>,
}

/// The switches as they were put.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Switches {
    #[serde(flatten)]
    global: Sides,
    #[serde(default)]
    orders: BTreeMap<String, Sides>,
}

/// The switches of both sides; only what was put is in here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sides {
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    payments: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    carrier: Map<String, Value>,
}

/// Switches with what follows from them, so that requests only look it up.
struct InForce {
    switches: Switches,
    global: OrderFaults,
    orders: HashMap<String, OrderFaults>,
}

struct OrderFaults {
    payments: Arc<PaymentFaults>,
    carrier: Arc<CarrierFaults>,
}

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/faults", get(show).put(put).delete(reset))
}

async fn show(State(world): State<Arc<World>>) -> Reply {
    Ok(Answer::json(200, world.faults.in_force().shown()?))
}

async fn put(State(world): State<Arc<World>>, Body(given): Body<Map<String, Value>>) -> Reply {
    let _alone = world.faults.changing.lock().await;
    let mut switches = world.faults.in_force().switches.clone();
    let fresh_counts = switches
        .merge(given)
        .map_err(|error| Answer::refused(400, error))?;
    let in_force = InForce::new(switches)?;
    let mut ledger = world.database.write().await?;
    queries::save(&mut ledger, &serde_json::to_string(&in_force.switches)?).await?;
    for order_id in fresh_counts {
        carrier::forget_failed_tries(&mut ledger, order_id.as_deref()).await?;
    }
    ledger.commit().await?;
    let shown = in_force.shown()?;
    world.faults.replace(in_force);
    Ok(Answer::json(200, shown))
}

async fn reset(State(world): State<Arc<World>>) -> Reply {
    let _alone = world.faults.changing.lock().await;
    let in_force = InForce::new(Switches::default())?;
    let mut ledger = world.database.write().await?;
    queries::save(&mut ledger, &serde_json::to_string(&in_force.switches)?).await?;
    carrier::forget_failed_tries(&mut ledger, None).await?;
    ledger.commit().await?;
    let shown = in_force.shown()?;
    world.faults.replace(in_force);
    Ok(Answer::json(200, shown))
}

impl Faults {
    pub(crate) async fn load(database: &Database) -> anyhow::Result<Self> {
        let switches = match queries::load(database).await? {
            Some(saved) => serde_json::from_str(&saved)
                .context("the ledger's faults cannot be read: delete the row in `faults`")?,
            None => Switches::default(),
        };
        Ok(Self {
            current: RwLock::new(Arc::new(InForce::new(switches)?)),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// What holds for this order's payments.
    pub(crate) fn payments(&self, order_id: &str) -> Arc<PaymentFaults> {
        Arc::clone(&self.in_force().of(order_id).payments)
    }

    /// What holds for this order's shipments.
    pub(crate) fn carrier(&self, order_id: &str) -> Arc<CarrierFaults> {
        Arc::clone(&self.in_force().of(order_id).carrier)
    }

    /// What holds for payments that are of no known order.
    pub(crate) fn all_payments(&self) -> Arc<PaymentFaults> {
        Arc::clone(&self.in_force().global.payments)
    }

    /// Whether no order has switches of its own.
    pub(crate) fn are_the_same_for_all(&self) -> bool {
        self.in_force().orders.is_empty()
    }

    fn in_force(&self) -> Arc<InForce> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn replace(&self, in_force: InForce) {
        let current = self.current.write();
        *current.unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(in_force);
    }
}

impl InForce {
    fn new(switches: Switches) -> serde_json::Result<Self> {
        let global = OrderFaults::of(&[&switches.global])?;
        let orders = switches
            .orders
            .iter()
            .map(|(order_id, own)| {
                let faults = OrderFaults::of(&[&switches.global, own])?;
                Ok((order_id.clone(), faults))
            })
            .collect::<serde_json::Result<_>>()?;
        Ok(Self {
            switches,
            global,
            orders,
        })
    }

    fn of(&self, order_id: &str) -> &OrderFaults {
        self.orders.get(order_id).unwrap_or(&self.global)
    }

    /// Every global switch, and of each order what was put for it.
    fn shown(&self) -> serde_json::Result<Value> {
        Ok(json!({
            "payments": *self.global.payments,
            "carrier": *self.global.carrier,
            "orders": serde_json::to_value(&self.switches.orders)?,
        }))
    }
}

impl OrderFaults {
    fn of(layers: &[&Sides]) -> serde_json::Result<Self> {
        Ok(Self {
            payments: Arc::new(overlaid(layers.iter().map(|sides| &sides.payments))?),
            carrier: Arc::new(overlaid(layers.iter().map(|sides| &sides.carrier))?),
        })
    }
}

/// The defaults of `T`, overlaid with each layer in turn.
fn overlaid<'a, T: DeserializeOwned>(
    layers: impl Iterator<Item = &'a Map<String, Value>>,
) -> serde_json::Result<T> {
    let mut all = Map::new();
    for layer in layers {
        all.extend(layer.clone());
    }
    serde_json::from_value(Value::Object(all))
}

impl Switches {
    /// Puts the given parts in, a null taking its part out. Answers for which
    /// orders `fail_times` was put, `None` meaning all of them; or, in one
    /// sentence, what is wrong with which field.
    fn merge(&mut self, given: Map<String, Value>) -> Result<Vec<Option<String>>, String> {
        let mut fresh_counts = Vec::new();
        for (part, value) in given {
            if part != "orders" {
                if self.global.merge(&part, value, "")? {
                    fresh_counts.push(None);
                }
                continue;
            }
            if value.is_null() {
                self.orders.clear();
                continue;
            }
            for (order_id, sides) in object(value, "orders")? {
                if sides.is_null() {
                    self.orders.remove(&order_id);
                    continue;
                }
                let path = format!("orders.{order_id}");
                let own = self.orders.entry(order_id.clone()).or_default();
                for (side, switches) in object(sides, &path)? {
                    if own.merge(&side, switches, &format!("{path}."))? {
                        fresh_counts.push(Some(order_id.clone()));
                    }
                }
            }
        }
        Ok(fresh_counts)
    }
}

impl Sides {
    /// Puts the switches of one side in; answers whether `fail_times` was put.
    fn merge(&mut self, side: &str, given: Value, path: &str) -> Result<bool, String> {
        let path = format!("{path}{side}");
        match side {
            "payments" => merge_side::<PaymentFaults>(&mut self.payments, given, &path),
            "carrier" => merge_side::<CarrierFaults>(&mut self.carrier, given, &path),
            _ => Err(format!(
                "unknown field `{path}`: faults have `payments`, `carrier` and, at the top, `orders`"
            )),
        }
    }
}

fn merge_side<T: DeserializeOwned>(
    switches: &mut Map<String, Value>,
    given: Value,
    path: &str,
) -> Result<bool, String> {
    if given.is_null() {
        switches.clear();
        return Ok(false);
    }
    let given = object(given, path)?;
    let puts_fail_times = given.contains_key("fail_times");
    for (field, value) in given {
        let unset = value.is_null();
        // A null still has to name a field that exists.
        let tried = Map::from_iter([(field.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<T>(Value::Object(tried))
            && (!unset || error.to_string().starts_with("unknown field"))
        {
            return Err(format!("{path}.{field}: {error}"));
        }
        if unset {
            switches.remove(&field);
        } else {
            switches.insert(field, value);
        }
    }
    Ok(puts_fail_times)
}

fn object(value: Value, path: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(format!("{path}: must be an object")),
    }
}

impl Down {
    /// The answer while this side is down.
    pub(crate) fn answer(self) -> Option<Answer> {
        match self {
            Self::No => None,
            Self::Unavailable => Some(Answer::bare(503)),
            Self::Drop => Some(Answer::Lost),
        }
    }
}

impl TryFrom<Value> for Down {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::Bool(false) => Ok(Self::No),
            Value::Bool(true) => Ok(Self::Unavailable),
            Value::String(word) if word == "drop" => Ok(Self::Drop),
            _ => Err("must be false, true or \"drop\""),
        }
    }
}

impl From<Down> for Value {
    fn from(down: Down) -> Self {
        match down {
            Down::No => false.into(),
            Down::Unavailable => true.into(),
            Down::Drop => "drop".into(),
        }
    }
}

mod queries {
    use sqlx::SqliteConnection;

    use crate::database::Database;

    pub(super) async fn load(database: &Database) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar("SELECT switches FROM faults WHERE id = 1")
            .fetch_optional(database.readers())
            .await
    }

    pub(super) async fn save(ledger: &mut SqliteConnection, switches: &str) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO faults (id, switches) VALUES (1, ?)
             ON CONFLICT (id) DO UPDATE SET switches = excluded.switches",
        )
        .bind(switches)
        .execute(ledger)
        .await?;
        Ok(())
    }
}
