//! Which function of the services performs what the journal shows. The one
//! table; a test reads the services' sources and finds each function there.

use std::fmt;

/// Where a handler or a step is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    file: &'static str,
    function: &'static str,
}

/// `crates/services/src/shipping.rs book`
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crates/services/src/{} {}", self.file, self.function)
    }
}

const WORKFLOW: &str = "order_fulfillment.rs";
const SESSION: &str = "user_session/mod.rs";
const CHECKOUT: &str = "user_session/checkout.rs";
const ATTEMPT: &str = "user_session/attempt.rs";

/// Handlers, by what they are called on the wire.
const HANDLERS: &[(&str, &str, &str)] = &[
    ("OrderFulfillmentWorkflow.Run", WORKFLOW, "run"),
    ("OrderFulfillmentWorkflow.Approve", WORKFLOW, "approve"),
    ("OrderFulfillmentWorkflow.Cancel", WORKFLOW, "cancel"),
    ("UserSession.Checkout", CHECKOUT, "place"),
    ("UserSession.AwaitPayment", ATTEMPT, "await_payment"),
    ("UserSession.PaymentOpened", ATTEMPT, "opened"),
    ("UserSession.PaymentCallback", ATTEMPT, "called_back"),
    ("UserSession.Settle", ATTEMPT, "settle"),
    ("UserSession.CancelOrder", CHECKOUT, "cancel"),
    ("UserSession.HandedOver", CHECKOUT, "handed_over"),
    ("UserSession.TakeBack", CHECKOUT, "take_back"),
    ("UserSession.Forget", CHECKOUT, "forget"),
    ("Inventory.Reserve", "inventory.rs", "reserve"),
    ("Inventory.Release", "inventory.rs", "release"),
    ("Inventory.Commit", "inventory.rs", "commit"),
    ("Inventory.Recount", "inventory.rs", "recount"),
    ("PaymentTransaction.Claim", "transaction.rs", "claim"),
    (
        "PaymentService.RequestPayment",
        "payment.rs",
        "request_payment",
    ),
    ("PaymentService.Capture", "payment.rs", "capture"),
    ("PaymentService.Void", "payment.rs", "void"),
    ("PaymentService.Refund", "payment.rs", "refund"),
    ("PaymentService.Close", "payment.rs", "close"),
    (
        "ShippingService.InitiateShipment",
        "shipping.rs",
        "initiate_shipment",
    ),
    (
        "ShippingService.CancelShipment",
        "shipping.rs",
        "cancel_shipment",
    ),
];

/// Named steps, wherever they happen.
const NAMED: &[(&str, &str, &str)] = &[
    ("now", "clock.rs", "now"),
    ("carrier.book", "shipping.rs", "book"),
    ("carrier.find_out", "shipping.rs", "leave_nothing_behind"),
    ("carrier.cancel", "shipping.rs", "call_back"),
    ("provider.request", "payment.rs", "request_payment"),
    ("provider.find_out", "payment.rs", "known_id"),
    ("provider.capture", "payment.rs", "take"),
    ("provider.void", "payment.rs", "undo"),
    ("provider.refund", "payment.rs", "undo"),
];

/// Steps of a handler that one of its verbs performs.
const VERBS: &[(&str, &str, &str, &str)] = &[
    (
        "OrderFulfillmentWorkflow.Run",
        "ShippingService.InitiateShipment",
        WORKFLOW,
        "ship",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "ShippingService.CancelShipment",
        WORKFLOW,
        "cancel_shipment",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "PaymentService.Capture",
        WORKFLOW,
        "capture",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "PaymentService.Refund",
        WORKFLOW,
        "refund",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "PaymentService.Void",
        WORKFLOW,
        "void",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "Inventory.Release",
        WORKFLOW,
        "release",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "Inventory.Commit",
        WORKFLOW,
        "deliver",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "UserSession.HandedOver",
        WORKFLOW,
        "await_approval",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "await admin_approval",
        WORKFLOW,
        "await_approval",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "resolve admin_approval",
        WORKFLOW,
        "decide",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "write record",
        WORKFLOW,
        "write",
    ),
    (
        "OrderFulfillmentWorkflow.Run",
        "write head",
        WORKFLOW,
        "write",
    ),
    (
        "OrderFulfillmentWorkflow.Approve",
        "await admin_approval",
        WORKFLOW,
        "decide",
    ),
    (
        "OrderFulfillmentWorkflow.Approve",
        "resolve admin_approval",
        WORKFLOW,
        "decide",
    ),
    (
        "OrderFulfillmentWorkflow.Cancel",
        "await admin_approval",
        WORKFLOW,
        "decide",
    ),
    (
        "OrderFulfillmentWorkflow.Cancel",
        "resolve admin_approval",
        WORKFLOW,
        "decide",
    ),
    (
        "UserSession.Checkout",
        "Inventory.Reserve",
        CHECKOUT,
        "reserve",
    ),
    (
        "UserSession.Checkout",
        "Inventory.Release",
        CHECKOUT,
        "release",
    ),
    (
        "UserSession.AwaitPayment",
        "PaymentService.RequestPayment",
        ATTEMPT,
        "await_outcome",
    ),
    (
        "UserSession.AwaitPayment",
        "UserSession.PaymentOpened",
        ATTEMPT,
        "await_outcome",
    ),
    (
        "UserSession.AwaitPayment",
        "awakeable resolved",
        ATTEMPT,
        "await_outcome",
    ),
    (
        "UserSession.PaymentCallback",
        "PaymentTransaction.Claim",
        ATTEMPT,
        "claim_transaction",
    ),
    (
        "UserSession.PaymentCallback",
        "PaymentService.Void",
        SESSION,
        "perform",
    ),
    (
        "UserSession.PaymentCallback",
        "OrderFulfillmentWorkflow.Run",
        SESSION,
        "perform",
    ),
    (
        "UserSession.Settle",
        "PaymentTransaction.Claim",
        ATTEMPT,
        "claim_transaction",
    ),
    (
        "UserSession.Settle",
        "OrderFulfillmentWorkflow.Run",
        SESSION,
        "perform",
    ),
];

/// The function that performs a handler.
pub(super) fn of_handler(handler: &str) -> Option<Source> {
    let (_, file, function) = HANDLERS.iter().find(|(name, ..)| *name == handler)?;
    Some(Source { file, function })
}

/// The function that performs a step; `before` is the kind of the step before.
pub(super) fn of_step(
    handler: &str,
    kind: &str,
    name: &str,
    before: Option<&str>,
) -> Option<Source> {
    if kind == "run" {
        let (_, file, function) = NAMED.iter().find(|(named, ..)| *named == name)?;
        return Some(Source { file, function });
    }
    if kind == "sleep" {
        return of_sleep(handler, before);
    }
    let verb = VERBS
        .iter()
        .find(|(of, named, ..)| *of == handler && *named == name)
        .map(|(_, _, file, function)| Source { file, function });
    if verb.is_none() && kind == "state" && handler.starts_with("UserSession.") {
        return Some(Source {
            file: SESSION,
            function: if name.starts_with("read") {
                "marker"
            } else {
                "write"
            },
        });
    }
    verb.or_else(|| of_handler(handler))
}

/// Sleeps have no names: the one that runs against the approval comes right
/// after it is awaited, the one between tries after the call that failed.
fn of_sleep(handler: &str, before: Option<&str>) -> Option<Source> {
    let (file, function) = match (handler, before) {
        ("OrderFulfillmentWorkflow.Run", Some("promise")) => (WORKFLOW, "await_approval"),
        ("OrderFulfillmentWorkflow.Run", Some("call")) => (WORKFLOW, "until_done"),
        ("OrderFulfillmentWorkflow.Run", _) => (WORKFLOW, "deliver"),
        ("UserSession.AwaitPayment", _) => (ATTEMPT, "await_outcome"),
        (handler, _)
            if handler.starts_with("PaymentService.")
                || handler.starts_with("ShippingService.") =>
        {
            ("outside.rs", "ask")
        }
        (handler, _) => return of_handler(handler),
    };
    Some(Source { file, function })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn every_source() -> Vec<Source> {
        let named = HANDLERS.iter().chain(NAMED);
        let named = named.map(|(_, file, function)| Source { file, function });
        let verbs = VERBS
            .iter()
            .map(|(_, _, file, function)| Source { file, function });
        let sleeps = [
            ("OrderFulfillmentWorkflow.Run", Some("promise")),
            ("OrderFulfillmentWorkflow.Run", Some("call")),
            ("OrderFulfillmentWorkflow.Run", Some("state")),
            ("UserSession.AwaitPayment", None),
            ("PaymentService.Capture", None),
        ];
        let sleeps = sleeps
            .into_iter()
            .filter_map(|(handler, before)| of_sleep(handler, before));
        let states = ["read x", "write x"];
        let states = states
            .into_iter()
            .filter_map(|name| of_step("UserSession.Checkout", "state", name, None));
        named.chain(verbs).chain(sleeps).chain(states).collect()
    }

    #[test]
    fn every_function_is_where_the_table_says() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/src");
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
    fn every_named_step_of_the_services_is_in_the_table() {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/src");
        for file in ["payment.rs", "shipping.rs", "clock.rs"] {
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
