//! Which function performs what Restate's journal shows. The one table; tests
//! find each function in the sources, and each handler of the endpoint here.

use std::fmt;

use crate::wire::{
    DECISION, Handler, PAYMENT_SERVICE, RECORD, SHIPPING_SERVICE, USER_SESSION, account,
    after_sales, audit_log, catalog, inventory, order_fulfillment, payment, reconcile, shipping,
    shop, transaction, user_session,
};

/// Where a handler or a step is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    file: &'static str,
    function: &'static str,
}

/// `crates/services/src/shipping.rs book`
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crates/services/src/{} {}", self.file, self.function)
    }
}

/// What a step of a handler is about, as the journal names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Call(Handler),
    Await(&'static str),
    Resolve(&'static str),
    Write(&'static str),
    Receipt,
}

const WORKFLOW: &str = "order_fulfillment.rs";
const SESSION: &str = "user_session/mod.rs";
const CHECKOUT: &str = "user_session/checkout.rs";
const ATTEMPT: &str = "user_session/attempt.rs";
const AFTER_SALES: &str = "after_sales.rs";
const ACCOUNT: &str = "account.rs";
const SHOP: &str = "shop.rs";
const CATALOG: &str = "catalog.rs";
const AUDIT: &str = "audit_log.rs";
const INVENTORY: &str = "inventory.rs";
const TRANSACTION: &str = "transaction.rs";
const PAYMENT: &str = "payment.rs";
const SHIPPING: &str = "shipping.rs";
const RECONCILE: &str = "reconcile.rs";

/// Every handler.
const HANDLERS: &[(Handler, &str, &str)] = &[
    (order_fulfillment::RUN, WORKFLOW, "run"),
    (order_fulfillment::APPROVE, WORKFLOW, "approve"),
    (order_fulfillment::CANCEL, WORKFLOW, "cancel"),
    (order_fulfillment::GET_RECORD, WORKFLOW, "get_record"),
    (order_fulfillment::IS_REMEMBERED, WORKFLOW, "is_remembered"),
    (order_fulfillment::SOLD, WORKFLOW, "sold"),
    (after_sales::ASK, AFTER_SALES, "ask"),
    (after_sales::DECIDE, AFTER_SALES, "decide"),
    (after_sales::WITHDRAW, AFTER_SALES, "withdraw"),
    (after_sales::RECEIVE, AFTER_SALES, "receive"),
    (after_sales::REFUND_GOODWILL, AFTER_SALES, "refund_goodwill"),
    (after_sales::ASK_AGAIN, AFTER_SALES, "ask_again"),
    (after_sales::REFUNDED, AFTER_SALES, "refunded"),
    (after_sales::PARCEL_OVERDUE, AFTER_SALES, "parcel_overdue"),
    (after_sales::FORGET, AFTER_SALES, "forget"),
    (user_session::ADD_ITEM, SESSION, "add_item"),
    (user_session::UPDATE_ITEM, SESSION, "update_item"),
    (user_session::REMOVE_ITEM, SESSION, "remove_item"),
    (user_session::CLEAR_BASKET, SESSION, "clear_basket"),
    (user_session::GET_BASKET, SESSION, "get_basket"),
    (user_session::GET_ORDER, SESSION, "get_order"),
    (user_session::MARK_READ, SESSION, "mark_read"),
    (user_session::CHECKOUT, CHECKOUT, "place"),
    (user_session::AWAIT_PAYMENT, ATTEMPT, "await_payment"),
    (user_session::PAYMENT_OPENED, ATTEMPT, "opened"),
    (user_session::PAYMENT_CALLBACK, ATTEMPT, "called_back"),
    (user_session::SETTLE, ATTEMPT, "settle"),
    (user_session::CANCEL_ORDER, CHECKOUT, "cancel"),
    (user_session::HANDED_OVER, CHECKOUT, "handed_over"),
    (user_session::TAKE_BACK, CHECKOUT, "take_back"),
    (user_session::FORGET, CHECKOUT, "forget"),
    (account::CREATE, ACCOUNT, "create"),
    (account::ADOPT, ACCOUNT, "adopt"),
    (account::SIGN_IN, ACCOUNT, "sign_in"),
    (account::CHANGE, ACCOUNT, "change"),
    (account::APPOINT, ACCOUNT, "appoint"),
    (account::IS_ADMIN, ACCOUNT, "is_admin"),
    (shop::OPEN, SHOP, "open"),
    (catalog::CHANGE_PRODUCT, CATALOG, "change_product"),
    (catalog::CHANGE_ZONE, CATALOG, "change_zone"),
    (catalog::ADOPT, CATALOG, "adopt"),
    (catalog::STAGE, CATALOG, "stage"),
    (catalog::IMPORT, CATALOG, "import"),
    (catalog::CONTINUE_IMPORT, CATALOG, "continue_import"),
    (catalog::PROGRESS, CATALOG, "progress"),
    (audit_log::KEEP, AUDIT, "keep"),
    (audit_log::NOTE, AUDIT, "note"),
    (audit_log::FORGET, AUDIT, "forget"),
    (inventory::STOCK, INVENTORY, "stock"),
    (inventory::BEGIN, INVENTORY, "begin"),
    (inventory::RESERVE, INVENTORY, "reserve"),
    (inventory::RELEASE, INVENTORY, "release"),
    (inventory::COMMIT, INVENTORY, "commit"),
    (inventory::RESTOCK, INVENTORY, "restock"),
    (inventory::RETURNED, INVENTORY, "returned"),
    (inventory::FORGET_RETURN, INVENTORY, "forget_return"),
    (inventory::RECOUNT, INVENTORY, "recount"),
    (inventory::AVAILABLE, INVENTORY, "available"),
    (transaction::CLAIM, TRANSACTION, "claim"),
    (payment::REQUEST_PAYMENT, PAYMENT, "request_payment"),
    (payment::CAPTURE, PAYMENT, "capture"),
    (payment::VOID, PAYMENT, "void"),
    (payment::REFUND, PAYMENT, "refund"),
    (payment::REFUND_PART, PAYMENT, "refund_part"),
    (payment::CLOSE, PAYMENT, "close"),
    (shipping::INITIATE_SHIPMENT, SHIPPING, "initiate_shipment"),
    (shipping::CANCEL_SHIPMENT, SHIPPING, "cancel_shipment"),
    (reconcile::REPAIR, RECONCILE, "repair"),
];

/// Named steps, wherever they happen.
const NAMED: &[(&str, &str, &str)] = &[
    ("now", "clock.rs", "now"),
    ("carrier.book", SHIPPING, "initiate_shipment"),
    ("carrier.find_out", SHIPPING, "leave_nothing_behind"),
    ("carrier.cancel", SHIPPING, "call_back"),
    ("provider.request", PAYMENT, "request_payment"),
    ("provider.find_out", PAYMENT, "known_id"),
    ("provider.capture", PAYMENT, "take"),
    ("provider.void", PAYMENT, "undo"),
    ("provider.refund", PAYMENT, "undo"),
    ("provider.refund_part", PAYMENT, "refund_part"),
];

/// Steps of a handler that one of its verbs performs.
const VERBS: &[(Handler, About, &str, &str)] = &[
    (
        order_fulfillment::RUN,
        About::Call(shipping::INITIATE_SHIPMENT),
        WORKFLOW,
        "ship",
    ),
    (
        order_fulfillment::RUN,
        About::Call(shipping::CANCEL_SHIPMENT),
        WORKFLOW,
        "cancel_shipment",
    ),
    (
        order_fulfillment::RUN,
        About::Call(payment::CAPTURE),
        WORKFLOW,
        "capture",
    ),
    (
        order_fulfillment::RUN,
        About::Call(payment::REFUND),
        WORKFLOW,
        "refund",
    ),
    (
        order_fulfillment::RUN,
        About::Call(payment::VOID),
        WORKFLOW,
        "void",
    ),
    (
        order_fulfillment::RUN,
        About::Call(inventory::RELEASE),
        WORKFLOW,
        "release",
    ),
    (
        order_fulfillment::RUN,
        About::Call(inventory::COMMIT),
        WORKFLOW,
        "deliver",
    ),
    (
        order_fulfillment::RUN,
        About::Call(user_session::HANDED_OVER),
        WORKFLOW,
        "hand_over",
    ),
    (
        order_fulfillment::RUN,
        About::Await(DECISION),
        WORKFLOW,
        "await_approval",
    ),
    (
        order_fulfillment::RUN,
        About::Resolve(DECISION),
        WORKFLOW,
        "decide",
    ),
    (
        order_fulfillment::RUN,
        About::Write(RECORD),
        WORKFLOW,
        "keep",
    ),
    (
        order_fulfillment::APPROVE,
        About::Await(DECISION),
        WORKFLOW,
        "decide",
    ),
    (
        order_fulfillment::APPROVE,
        About::Resolve(DECISION),
        WORKFLOW,
        "decide",
    ),
    (
        order_fulfillment::CANCEL,
        About::Await(DECISION),
        WORKFLOW,
        "decide",
    ),
    (
        order_fulfillment::CANCEL,
        About::Resolve(DECISION),
        WORKFLOW,
        "decide",
    ),
    (
        after_sales::ASK,
        About::Call(order_fulfillment::SOLD),
        AFTER_SALES,
        "of_order",
    ),
    (
        after_sales::RECEIVE,
        About::Call(inventory::RETURNED),
        AFTER_SALES,
        "put_back",
    ),
    (
        after_sales::RECEIVE,
        About::Call(payment::REFUND_PART),
        AFTER_SALES,
        "ask_provider",
    ),
    (
        after_sales::REFUND_GOODWILL,
        About::Call(payment::REFUND_PART),
        AFTER_SALES,
        "ask_provider",
    ),
    (
        user_session::CHECKOUT,
        About::Call(inventory::RESERVE),
        CHECKOUT,
        "reserve",
    ),
    (
        user_session::CHECKOUT,
        About::Call(inventory::RELEASE),
        CHECKOUT,
        "release",
    ),
    (
        user_session::AWAIT_PAYMENT,
        About::Call(payment::REQUEST_PAYMENT),
        ATTEMPT,
        "await_payment",
    ),
    (
        user_session::AWAIT_PAYMENT,
        About::Call(user_session::PAYMENT_OPENED),
        ATTEMPT,
        "await_payment",
    ),
    (
        user_session::AWAIT_PAYMENT,
        About::Call(user_session::SETTLE),
        ATTEMPT,
        "ended",
    ),
    (
        user_session::AWAIT_PAYMENT,
        About::Receipt,
        ATTEMPT,
        "await_payment",
    ),
    (
        user_session::PAYMENT_CALLBACK,
        About::Call(transaction::CLAIM),
        ATTEMPT,
        "claim_transaction",
    ),
    (
        user_session::PAYMENT_CALLBACK,
        About::Call(payment::VOID),
        SESSION,
        "perform",
    ),
    (
        user_session::PAYMENT_CALLBACK,
        About::Call(order_fulfillment::RUN),
        SESSION,
        "perform",
    ),
    (
        user_session::SETTLE,
        About::Call(transaction::CLAIM),
        ATTEMPT,
        "claim_transaction",
    ),
    (
        user_session::SETTLE,
        About::Call(order_fulfillment::RUN),
        SESSION,
        "perform",
    ),
];

impl About {
    fn is(self, step: &str) -> bool {
        match self {
            Self::Call(handler) => is(handler, step),
            Self::Await(promise) => step.strip_prefix("await ") == Some(promise),
            Self::Resolve(promise) => step.strip_prefix("resolve ") == Some(promise),
            Self::Write(key) => step.strip_prefix("write ") == Some(key),
            Self::Receipt => step == "awakeable resolved",
        }
    }
}

/// Whether a handler is written so: `UserSession.Checkout`.
fn is(handler: Handler, written: &str) -> bool {
    written.split_once('.') == Some((handler.service, handler.name))
}

fn handler(written: &str) -> Option<&'static (Handler, &'static str, &'static str)> {
    HANDLERS.iter().find(|(handler, ..)| is(*handler, written))
}

/// The function that performs a handler, e.g. `UserSession.Checkout`.
pub fn of_handler(written: &str) -> Option<Source> {
    let (_, file, function) = handler(written)?;
    Some(Source { file, function })
}

/// The function that performs a step of a handler; `before` is the kind of the
/// step before. Kinds and names are those that the journal panel shows.
pub fn of_step(written: &str, kind: &str, name: &str, before: Option<&str>) -> Option<Source> {
    if kind == "run" {
        let (_, file, function) = NAMED.iter().find(|(named, ..)| *named == name)?;
        return Some(Source { file, function });
    }
    let (handler, ..) = *handler(written)?;
    if kind == "sleep" {
        return of_sleep(handler, before).or_else(|| of_handler(written));
    }
    let verb = VERBS
        .iter()
        .find(|(of, about, ..)| *of == handler && about.is(name))
        .map(|(_, _, file, function)| Source { file, function });
    if verb.is_none() && kind == "state" && handler.service == USER_SESSION {
        return Some(Source {
            file: SESSION,
            function: if name.starts_with("read") {
                "marker"
            } else {
                "write"
            },
        });
    }
    verb.or_else(|| of_handler(written))
}

/// Sleeps have no names: the one that runs against the approval comes right
/// after it is awaited, the one between tries after the call that failed.
fn of_sleep(handler: Handler, before: Option<&str>) -> Option<Source> {
    let (file, function) = match (handler, before) {
        (order_fulfillment::RUN, Some("promise")) => (WORKFLOW, "await_approval"),
        (order_fulfillment::RUN, Some("call")) => (WORKFLOW, "until_done"),
        (order_fulfillment::RUN, _) => (WORKFLOW, "deliver"),
        (user_session::AWAIT_PAYMENT, _) => (ATTEMPT, "await_payment"),
        (handler, _) if matches!(handler.service, PAYMENT_SERVICE | SHIPPING_SERVICE) => {
            ("outside.rs", "ask_when")
        }
        _ => return None,
    };
    Some(Source { file, function })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use clap::Parser as _;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Bytes;

    use super::*;
    use crate::broadcast::UpdateBroadcaster;
    use crate::client::HARMLESS;
    use crate::settings::CommandLine;

    fn every_source() -> Vec<Source> {
        let handlers = HANDLERS.iter();
        let handlers = handlers.map(|(_, file, function)| Source { file, function });
        let named = NAMED.iter();
        let named = named.map(|(_, file, function)| Source { file, function });
        let verbs = VERBS
            .iter()
            .map(|(_, _, file, function)| Source { file, function });
        let sleeps = [
            (order_fulfillment::RUN, Some("promise")),
            (order_fulfillment::RUN, Some("call")),
            (order_fulfillment::RUN, Some("state")),
            (user_session::AWAIT_PAYMENT, None),
            (payment::CAPTURE, None),
        ];
        let sleeps = sleeps
            .into_iter()
            .filter_map(|(handler, before)| of_sleep(handler, before));
        let states = ["read x", "write x"];
        let states = states
            .into_iter()
            .filter_map(|name| of_step("UserSession.Checkout", "state", name, None));
        handlers
            .chain(named)
            .chain(verbs)
            .chain(sleeps)
            .chain(states)
            .collect()
    }

    #[test]
    fn every_function_is_where_the_table_says() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for source in every_source() {
            let text = std::fs::read_to_string(services.join(source.file))
                .unwrap_or_else(|error| panic!("{source}: {error}"));
            let definitions = [
                format!("fn {}(", source.function),
                format!("fn {}<", source.function),
            ];
            assert!(
                definitions
                    .iter()
                    .any(|definition| text.contains(definition)),
                "there is no fn {} in {}",
                source.function,
                source.file
            );
        }
    }

    #[test]
    fn every_named_step_is_in_the_table() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in [PAYMENT, SHIPPING] {
            let text = std::fs::read_to_string(services.join(file)).unwrap();
            for prefix in ["\"provider.", "\"carrier."] {
                for (at, _) in text.match_indices(prefix) {
                    let name: String = text[at + 1..].chars().take_while(|c| *c != '"').collect();
                    if !name.contains('{') {
                        assert!(
                            NAMED.iter().any(|(named, ..)| *named == name),
                            "{name} in {file}"
                        );
                    }
                }
            }
        }
    }

    /// What the endpoint tells Restate of its handlers: `UserSession.Checkout`, and more.
    async fn described() -> Vec<(String, serde_json::Value)> {
        let settings = CommandLine::parse_from(["services"]).settings;
        let endpoint = crate::endpoint::endpoint(&settings, &UpdateBroadcaster::new()).unwrap();
        let question = hyper::Request::get("/discover")
            .header("accept", "application/vnd.restate.endpointmanifest.v4+json")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = endpoint.handle(question).into_body().collect().await;
        let manifest: serde_json::Value =
            serde_json::from_slice(&answer.unwrap().to_bytes()).unwrap();
        let mut found = Vec::new();
        for service in manifest["services"].as_array().unwrap() {
            for handler in service["handlers"].as_array().unwrap() {
                let word = |it: &serde_json::Value| it["name"].as_str().unwrap().to_owned();
                let name = format!("{}.{}", word(service), word(handler));
                found.push((name, handler.clone()));
            }
        }
        found
    }

    async fn discovered() -> BTreeSet<String> {
        described()
            .await
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    /// Also one that is written tomorrow: what only reads is asked at another node.
    #[tokio::test]
    async fn what_a_gateway_only_reads_may_be_asked_again() {
        let harmless: BTreeSet<_> = HARMLESS.iter().map(ToString::to_string).collect();
        let shared = described()
            .await
            .into_iter()
            .filter(|(_, handler)| handler["ty"] == "SHARED" && handler["ingressPrivate"] != true);
        let shared: BTreeSet<_> = shared.map(|(name, _)| name).collect();
        assert!(shared.contains("Catalog.Progress"), "{shared:?}");
        assert!(shared.is_subset(&harmless), "{shared:?} {harmless:?}");
    }

    #[tokio::test]
    async fn the_endpoint_has_these_handlers_and_no_others() {
        let known: BTreeSet<_> = HANDLERS.iter().map(|it| it.0.to_string()).collect();
        assert_eq!(discovered().await, known);
        assert_eq!(known.len(), HANDLERS.len(), "one is in the table twice");
    }

    #[test]
    fn a_sleep_is_told_by_what_stands_before_it() {
        let name = |before| of_step("OrderFulfillmentWorkflow.Run", "sleep", "until …", before);
        assert_eq!(name(Some("promise")).unwrap().function, "await_approval");
        assert_eq!(name(Some("state")).unwrap().function, "deliver");
        assert_eq!(
            of_step(
                "OrderFulfillmentWorkflow.Run",
                "call",
                "PaymentService.Capture",
                None
            )
            .unwrap()
            .to_string(),
            "crates/services/src/order_fulfillment.rs capture"
        );
    }
}
