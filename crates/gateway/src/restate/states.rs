//! What Restate holds of orders, stock, late money, read marks, people, catalog and audit log:
//! the questions to its admin API, and what their answers say.

use serde::Deserialize;
use services::wire::{
    ACCOUNT, AFTER_SALES, AUDIT_ENTRIES, AUDIT_ENTRY, AUDIT_LOG, CATALOG, INVENTORY, LATE, LEVEL,
    MARKER, ORDER_FULFILLMENT_WORKFLOW, PRODUCT, READ_MARK, RECORD, USER_SESSION, WHOLE_ACCOUNT,
    WHOLE_AFTER_SALES, ZONE, marker_key, product_key,
};
use waybill_domain::Timestamp;
use waybill_domain::account::Account;
use waybill_domain::after_sales::AfterSales;
use waybill_domain::audit::AuditEntry;
use waybill_domain::catalog::{CatalogProduct, CatalogZone};
use waybill_domain::checkout::Marker;
use waybill_domain::ids::{OrderId, Sku};
use waybill_domain::order::OrderRecord;
use waybill_domain::payment::LateMoney;
use waybill_domain::stock::StockLevel;
use waybill_domain::update::{ReadMark, Update};

use super::admin::{StateRow, literals};
use crate::storage::db::to_i64;
use crate::storage::read_model::{StateKind, StateVersion};

/// Orders that are fetched by one query. Restate reads over all keys to find
/// them (0.3 s with 100,000 orders), however many are asked for; when more than
/// a share of them is missing, everything is read in one pass.
const BY_KEY: usize = 1_000;
/// Characters at the beginning of an order's JSON that hold its version and time.
const BEGINNING: usize = 96;
/// See [`BY_KEY`].
const MOST_QUERIES_BY_KEY: usize = 10;

/// The one query that says what is newest. Small states come whole, orders and products
/// with what stands at their beginning.
pub fn versions_sql() -> String {
    format!(
        "SELECT service_name, service_key, key, \
           CASE WHEN key LIKE '{MARKER}%' OR key = '{RECORD}' OR key LIKE '{PRODUCT}%' \
             THEN substr(value_utf8, 1, {BEGINNING}) ELSE value_utf8 END AS value \
         FROM state \
         WHERE (service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}') \
            OR (service_name = '{INVENTORY}' AND key = '{LEVEL}') \
            OR (service_name = '{ACCOUNT}' AND key = '{WHOLE_ACCOUNT}') \
            OR (service_name = '{AFTER_SALES}' AND key = '{WHOLE_AFTER_SALES}') \
            OR (service_name = '{CATALOG}' AND (key LIKE '{PRODUCT}%' OR key LIKE '{ZONE}%')) \
            OR (service_name = '{AUDIT_LOG}' AND key = '{AUDIT_ENTRIES}') \
            OR (service_name = '{USER_SESSION}' AND ( \
                 (key LIKE '{MARKER}%' AND value_utf8 LIKE '{{\"version\"%') \
                 OR key LIKE '{LATE}%' OR key = '{READ_MARK}'))"
    )
}

/// The query for what sessions remember of their orders: when each was written.
pub fn markers_sql() -> String {
    format!(
        "SELECT key, substr(value_utf8, 1, {BEGINNING}) AS value FROM state \
         WHERE service_name = '{USER_SESSION}' AND key LIKE '{MARKER}%'"
    )
}

/// The query for the days that have a log.
pub fn audit_days_sql() -> String {
    format!(
        "SELECT service_key FROM state \
         WHERE service_name = '{AUDIT_LOG}' AND key = '{AUDIT_ENTRIES}'"
    )
}

/// A day that has a log.
#[derive(Debug, Deserialize)]
pub struct AuditDayRow {
    /// Such as `2026-11-26`.
    pub service_key: String,
}

/// The query for everybody.
pub fn accounts_sql() -> String {
    format!(
        "SELECT value_utf8 AS value FROM state \
         WHERE service_name = '{ACCOUNT}' AND key = '{WHOLE_ACCOUNT}'"
    )
}

/// The query for every stock level.
pub fn levels_sql() -> String {
    format!(
        "SELECT service_name, service_key, key, value_utf8 AS value FROM state \
         WHERE service_name = '{INVENTORY}' AND key = '{LEVEL}'"
    )
}

/// The query for every product and zone.
pub fn catalog_sql() -> String {
    format!(
        "SELECT service_name, service_key, key, value_utf8 AS value FROM state \
         WHERE service_name = '{CATALOG}' AND (key LIKE '{PRODUCT}%' OR key LIKE '{ZONE}%')"
    )
}

/// Somebody, as Restate holds them.
#[derive(Debug, Deserialize)]
pub struct AccountRow {
    value: String,
}

impl AccountRow {
    /// Who.
    pub fn account(&self) -> serde_json::Result<Account> {
        serde_json::from_str(&self.value)
    }
}

/// What a session remembers of an order, as far as its beginning tells.
#[derive(Debug, Deserialize)]
pub struct MarkerRow {
    key: String,
    value: String,
}

impl MarkerRow {
    /// The order, if it was written before then. What cannot be read is left alone:
    /// catching up says so.
    pub fn older_than(self, then: Timestamp) -> Option<OrderId> {
        let order = OrderId::parse(self.key.strip_prefix(MARKER)?).ok()?;
        // `"updated_at":"…"` of a record, `"paid_at":"…"` of what is left of one.
        let (_, from) = self.value.split_once("_at\":\"")?;
        let written: Timestamp = from.split_once('"')?.0.parse().ok()?;
        (written < then).then_some(order)
    }
}

/// A row of a query for whole records.
#[derive(Debug, Deserialize)]
pub struct ValueRow {
    /// Whose.
    pub service_key: String,
    /// Which of theirs.
    pub key: String,
    value: String,
}

/// One state in Restate, and how new it is.
#[derive(Debug)]
pub struct State {
    /// How new.
    pub version: StateVersion,
    /// What is at hand of it.
    pub content: Content,
}

/// What is at hand of a state, or where the rest of it is.
#[derive(Debug)]
pub enum Content {
    /// All of it.
    Value(Update),
    /// The order is with its workflow.
    InWorkflow(OrderId),
    /// The order is with its user's session.
    InSession(OrderId),
    /// The product is with the catalog.
    InCatalog(Sku),
    /// The log of a day has more entries than are here.
    InAuditLog(String),
}

impl StateRow {
    /// Whether it is a product of the catalog.
    pub fn is_product(&self) -> bool {
        self.service_name == CATALOG && self.key.starts_with(PRODUCT)
    }

    /// What it says.
    pub fn state(&self) -> serde_json::Result<State> {
        match (self.service_name.as_str(), self.key.as_str()) {
            (ORDER_FULFILLMENT_WORKFLOW, _) => {
                let (version, updated_at) = beginning(&self.value)?;
                let order = order_id(&self.service_key)?;
                Ok(State::order(
                    version,
                    updated_at,
                    Content::InWorkflow(order.clone()),
                    &order,
                ))
            }
            (INVENTORY, _) => {
                let level: StockLevel = serde_json::from_str(&self.value)?;
                Ok(State::whole(
                    StateKind::Stock,
                    level.sku.to_string(),
                    to_i64(level.version),
                    Update::Stock(level),
                ))
            }
            (AFTER_SALES, _) => {
                let after: AfterSales = serde_json::from_str(&self.value)?;
                Ok(State::whole(
                    StateKind::AfterSales,
                    after.order_id.to_string(),
                    to_i64(after.version),
                    Update::AfterSales(Box::new(after)),
                ))
            }
            (ACCOUNT, _) => {
                let account: Account = serde_json::from_str(&self.value)?;
                Ok(State::whole(
                    StateKind::Account,
                    account.user.to_string(),
                    to_i64(account.version),
                    Update::Account(Box::new(account)),
                ))
            }
            (CATALOG, key) if key.starts_with(ZONE) => {
                let zone: CatalogZone = serde_json::from_str(&self.value)?;
                Ok(State::whole(
                    StateKind::Zone,
                    zone.name.clone(),
                    to_i64(zone.version),
                    Update::Zone(zone),
                ))
            }
            (CATALOG, key) => {
                let sku = sku(key.strip_prefix(PRODUCT).unwrap_or_default())?;
                Ok(State {
                    version: StateVersion {
                        kind: StateKind::Product,
                        key: sku.to_string(),
                        version: to_i64(version_of(&self.value)?),
                        updated_at: 0,
                    },
                    content: Content::InCatalog(sku),
                })
            }
            (AUDIT_LOG, _) => Ok(State {
                version: StateVersion {
                    kind: StateKind::Audit,
                    key: self.service_key.clone(),
                    version: serde_json::from_str(&self.value)?,
                    updated_at: 0,
                },
                content: Content::InAuditLog(self.service_key.clone()),
            }),
            (_, READ_MARK) => {
                let mark: ReadMark = serde_json::from_str(&self.value)?;
                Ok(State::whole(
                    StateKind::Read,
                    mark.user_id.to_string(),
                    mark.read_at.as_millisecond(),
                    Update::Read(mark),
                ))
            }
            (_, key) => {
                if let Some(order) = key.strip_prefix(MARKER) {
                    let order = order_id(order)?;
                    let (version, updated_at) = beginning(&self.value)?;
                    Ok(State::order(
                        version,
                        updated_at,
                        Content::InSession(order.clone()),
                        &order,
                    ))
                } else {
                    let late: LateMoney = serde_json::from_str(&self.value)?;
                    Ok(State::whole(
                        StateKind::Late,
                        late.order_id.to_string(),
                        to_i64(late.version),
                        Update::Late(late),
                    ))
                }
            }
        }
    }
}

impl State {
    fn order(version: u64, updated_at: Timestamp, content: Content, order: &OrderId) -> Self {
        Self {
            version: StateVersion {
                kind: StateKind::Order,
                key: order.to_string(),
                version: to_i64(version),
                updated_at: updated_at.as_millisecond(),
            },
            content,
        }
    }

    fn whole(kind: StateKind, key: String, version: i64, update: Update) -> Self {
        Self {
            version: StateVersion {
                kind,
                key,
                version,
                updated_at: 0,
            },
            content: Content::Value(update),
        }
    }
}

impl ValueRow {
    /// What it tells; `None` when an order has been handed over meanwhile.
    pub fn update(&self) -> serde_json::Result<Option<Update>> {
        if self.key.starts_with(PRODUCT) {
            let product: CatalogProduct = serde_json::from_str(&self.value)?;
            return Ok(Some(Update::Product(Box::new(product))));
        }
        if self.key.starts_with(AUDIT_ENTRY) {
            let entry: AuditEntry = serde_json::from_str(&self.value)?;
            return Ok(Some(Update::Audit(Box::new(entry))));
        }
        let order = self.order()?;
        Ok(order.map(|order| Update::Order(Box::new(order))))
    }

    /// The order in it; `None` when it has been handed over meanwhile.
    pub fn order(&self) -> serde_json::Result<Option<OrderRecord>> {
        if self.key == RECORD {
            return serde_json::from_str(&self.value).map(Some);
        }
        match serde_json::from_str(&self.value)? {
            Marker::Here(record) => Ok(Some(*record)),
            Marker::HandedOver(_) => Ok(None),
        }
    }
}

/// Version and time of a record from the first bytes of its JSON, which
/// `domain` promises to begin with these two.
fn beginning(json: &str) -> serde_json::Result<(u64, Timestamp)> {
    #[derive(Deserialize)]
    struct Beginning {
        version: u64,
        updated_at: Timestamp,
    }
    let end = json.match_indices(',').nth(1).map(|(at, _)| at);
    let cut = format!("{}}}", &json[..end.unwrap_or(json.len())]);
    let Beginning {
        version,
        updated_at,
    } = serde_json::from_str(&cut)?;
    Ok((version, updated_at))
}

/// The version of a product from the first bytes of its JSON, which begins with it.
fn version_of(json: &str) -> serde_json::Result<u64> {
    #[derive(Deserialize)]
    struct Beginning {
        version: u64,
    }
    let cut = format!("{}}}", json.split(',').next().unwrap_or_default());
    serde_json::from_str::<Beginning>(&cut).map(|it| it.version)
}

fn sku(text: &str) -> serde_json::Result<Sku> {
    use serde::de::Error as _;
    Sku::parse(text).map_err(serde_json::Error::custom)
}

fn order_id(text: &str) -> serde_json::Result<OrderId> {
    use serde::de::Error as _;
    OrderId::parse(text).map_err(serde_json::Error::custom)
}

/// What has to be fetched, by where it is.
#[derive(Debug, Default)]
pub struct Missing {
    /// With their workflow.
    pub in_workflow: Vec<OrderId>,
    /// With their user's session.
    pub in_session: Vec<OrderId>,
    /// With the catalog.
    pub in_catalog: Vec<Sku>,
    /// Days whose log has more than is here.
    pub audit_days: Vec<String>,
}

impl Missing {
    /// The queries that fetch them.
    pub fn questions(&self, compared: usize) -> impl Iterator<Item = String> + '_ {
        // Nearly all, as in a rebuild: one pass over everything is cheaper.
        let most = MOST_QUERIES_BY_KEY * BY_KEY;
        let all = move |missing: usize| missing > most && missing * 4 > compared;
        let workflow_by_key = !all(self.in_workflow.len());
        let session_by_key = !all(self.in_session.len());
        let workflow = self
            .in_workflow
            .chunks(if workflow_by_key { BY_KEY } else { usize::MAX })
            .map(move |orders| {
                let whose = if workflow_by_key {
                    let keys = literals(orders.iter().map(OrderId::as_str));
                    format!(" AND service_key IN ({keys})")
                } else {
                    String::new()
                };
                format!(
                    "SELECT service_key, key, value_utf8 AS value FROM state \
                     WHERE service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}'{whose}"
                )
            });
        let session = self
            .in_session
            .chunks(if session_by_key { BY_KEY } else { usize::MAX })
            .map(move |orders| {
                let which = if session_by_key {
                    let users: std::collections::BTreeSet<String> =
                        orders.iter().map(|order| order.owner().into()).collect();
                    let keys: Vec<_> = orders.iter().map(marker_key).collect();
                    format!(
                        "service_key IN ({}) AND key IN ({})",
                        literals(users.iter().map(String::as_str)),
                        literals(keys.iter().map(String::as_str))
                    )
                } else {
                    format!("key LIKE '{MARKER}%' AND value_utf8 LIKE '{{\"version\"%'")
                };
                format!(
                    "SELECT service_key, key, value_utf8 AS value FROM state \
                     WHERE service_name = '{USER_SESSION}' AND {which}"
                )
            });
        let audit = self.audit_days.iter().map(|day| {
            format!(
                "SELECT service_key, key, value_utf8 AS value FROM state \
                 WHERE service_name = '{AUDIT_LOG}' AND service_key = {} AND key LIKE '{AUDIT_ENTRY}%'",
                literals(std::iter::once(day.as_str()))
            )
        });
        let catalog = self.in_catalog.chunks(BY_KEY).map(|skus| {
            let keys: Vec<_> = skus.iter().map(product_key).collect();
            format!(
                "SELECT service_key, key, value_utf8 AS value FROM state \
                 WHERE service_name = '{CATALOG}' AND key IN ({})",
                literals(keys.iter().map(String::as_str))
            )
        });
        session.chain(workflow).chain(audit).chain(catalog)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::storage::catalog::tests::kettles;

    #[test]
    fn a_product_begins_with_its_version() {
        let [_, gone] = kettles();
        let whole = serde_json::to_string(&gone).unwrap();
        assert_eq!(version_of(&whole[..BEGINNING]).unwrap(), 2);
        assert!(version_of("").is_err() && version_of("{\"sku\":1,").is_err());
    }

    fn row(service: &str, key_of: &str, key: &str, value: &str) -> StateRow {
        StateRow {
            service_name: service.to_owned(),
            service_key: key_of.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn the_beginning_of_a_record_tells_its_version() {
        let cut =
            r#"{"version":12,"updated_at":"2026-11-22T12:00:00.5Z","order_id":"alice.o-1","user_i"#;
        let (version, at) = beginning(cut).unwrap();
        assert_eq!(
            (version, at.to_string().as_str()),
            (12, "2026-11-22T12:00:00.5Z")
        );
        assert!(beginning("{\"version\":1").is_err());
        assert!(beginning("").is_err());
    }

    #[test]
    fn rows_are_told_apart() {
        let record = row(
            ORDER_FULFILLMENT_WORKFLOW,
            "alice.1",
            RECORD,
            r#"{"version":3,"updated_at":"1970-01-01T00:00:01Z","order_id":"ali"#,
        );
        let state = record.state().unwrap();
        assert_eq!(
            (
                state.version.kind,
                state.version.version,
                state.version.updated_at
            ),
            (StateKind::Order, 3, 1000)
        );
        assert!(matches!(state.content, Content::InWorkflow(_)));

        let marker = row(
            USER_SESSION,
            "alice",
            "checkout:exec:alice.2",
            r#"{"version":1,"updated_at":"1970-01-01T00:00:00Z","order_id":"ali"#,
        );
        let state = marker.state().unwrap();
        assert_eq!(
            (state.version.kind, state.version.key.as_str()),
            (StateKind::Order, "alice.2")
        );
        assert!(matches!(state.content, Content::InSession(_)));

        let read = json!({"user_id": "alice", "read_at": "1970-01-01T00:00:02Z"}).to_string();
        let state = row(USER_SESSION, "alice", READ_MARK, &read)
            .state()
            .unwrap();
        assert_eq!(
            (state.version.kind, state.version.version),
            (StateKind::Read, 2000)
        );

        let late = json!({"version": 2, "order_id": "alice.1", "user_id": "alice", "payments": []});
        let state = row(USER_SESSION, "alice", "late:alice.1", &late.to_string())
            .state()
            .unwrap();
        assert_eq!(
            (state.version.kind, state.version.version),
            (StateKind::Late, 2)
        );
    }

    #[test]
    fn what_sessions_remember_has_an_age() {
        let then: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |value: &str| {
            let (key, value) = ("checkout:exec:alice.1".to_owned(), value.to_owned());
            MarkerRow { key, value }.older_than(then)
        };
        let alice = OrderId::parse("alice.1").ok();
        let failed = r#"{"version":4,"updated_at":"2026-11-22T11:59:59.5Z","order_id":"al"#;
        assert_eq!(of(failed), alice);
        let paid = r#"{"paid_at":"2026-11-20T12:00:00Z","attempts":[{"attempt":1,"sta"#;
        assert_eq!(of(paid), alice);
        for other in [
            r#"{"paid_at":"2026-11-22T12:00:00Z","attempts":[]}"#,
            "{",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn few_are_fetched_by_key_and_most_in_one_pass() {
        let orders = |count: usize| -> Vec<OrderId> {
            (0..count)
                .map(|n| OrderId::parse(&format!("alice.{n}")).unwrap())
                .collect()
        };
        let few = Missing {
            in_workflow: orders(1001),
            in_session: orders(1),
            audit_days: vec!["2026-11-26".into()],
            in_catalog: vec![],
        };
        let questions: Vec<_> = few.questions(100_000).collect();
        assert_eq!(questions.len(), 4);
        assert!(questions[3].contains("service_key = '2026-11-26'"));
        assert!(questions[0].contains("key IN ('checkout:exec:alice.0')"));
        assert!(questions[2].ends_with("service_key IN ('alice.1000')"));

        let most = Missing {
            in_workflow: orders(15_000),
            in_session: vec![],
            audit_days: vec![],
            in_catalog: vec![],
        };
        let questions: Vec<_> = most.questions(16_000).collect();
        assert_eq!(questions.len(), 1);
        assert!(questions[0].ends_with("key = 'record'"));
    }
}
