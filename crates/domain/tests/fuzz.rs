//! What the domain reads from outside, with input that is wrong in every way.
//! How long, and how they are counted: the crate `fuzz`.

use std::fmt::Debug;

use fuzz::input::{long_text, mistaken, text};
use fuzz::proptest::prelude::*;
use fuzz::{Checked, check};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waybill_domain::Timestamp;
use waybill_domain::account::{Fingerprint, MAX_EMAIL, Role, Scope, email};
use waybill_domain::after_sales::ReturnStatus;
use waybill_domain::audit::Act;
use waybill_domain::decision::Decision;
use waybill_domain::idempotency::{Digest, KeyBook, Once};
use waybill_domain::ids::{AttemptId, OrderId, Sku, Username};
use waybill_domain::money::Cents;
use waybill_domain::order::OrderStatus;
use waybill_domain::payment::PaymentReceipt;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;
use waybill_domain::words::{self, MAX_DETAIL};

/// Written again without our code: what an id may look like.
fn is_word(text: &str) -> bool {
    let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (1..=64).contains(&text.len()) && text.chars().all(|letter| allowed.contains(letter))
}

/// A refusal says which field, in a sentence that repeats nothing endless.
fn names(refusal: &Refusal, field: &str) -> Checked {
    let said = refusal.to_string();
    prop_assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}");
    prop_assert!(said.contains(field), "{said}");
    prop_assert!(said.chars().count() <= 300, "{said}");
    Ok(())
}

#[test]
fn fuzz_ids() {
    let ids = mistaken(&["alice", "P001", "alice.order-1", "a_b-C.9", "x"], 3);
    check(
        "domain: ids",
        &prop_oneof![ids, text(6), long_text()],
        |raw| {
            for (parsed, field) in [
                (Username::parse(&raw).map(String::from), "user"),
                (Sku::parse(&raw).map(String::from), "sku"),
            ] {
                prop_assert_eq!(parsed.is_ok(), is_word(&raw), "{} {:?}", field, raw);
                match parsed {
                    Ok(id) => prop_assert_eq!(&id, &raw),
                    Err(refusal) => names(&refusal, field)?,
                }
            }
            let halves = raw.split_once('.');
            let is_order = halves.is_some_and(|(user, id)| is_word(user) && is_word(id));
            let quoted = serde_json::to_string(&raw).unwrap();
            let read = serde_json::from_str::<OrderId>(&quoted);
            prop_assert_eq!(read.is_ok(), is_order, "{:?}", raw);
            match OrderId::parse(&raw) {
                Ok(id) => {
                    prop_assert_eq!(format!("{}.{}", id.owner(), id.short()), raw.clone());
                    prop_assert_eq!(serde_json::to_string(&id).unwrap(), quoted);
                }
                Err(refusal) => names(&refusal, "order_id")?,
            }
            // Whoever asks gets an id of theirs, or none.
            let alice = Username::parse("alice").unwrap();
            match OrderId::of(&alice, &raw) {
                Ok(id) => prop_assert_eq!(id.owner(), alice),
                Err(refusal) => names(&refusal, "order_id")?,
            }
            Ok(())
        },
    );
}

/// JSON that is nearly `samples`.
fn nearly_json(samples: &[Value]) -> impl Strategy<Value = String> + use<> {
    let samples: Vec<String> = samples.iter().map(Value::to_string).collect();
    mistaken(&samples, 4)
}

/// What was read is written so that it is read as the same again.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(raw: &str) -> Checked {
    if let Ok(read) = serde_json::from_str::<T>(raw) {
        let written = serde_json::to_string(&read).unwrap();
        // Nothing grows on its way through, beyond what JSON escapes.
        prop_assert!(written.len() <= raw.len() * 6 + 4_096, "{}", written.len());
        let again = serde_json::from_str::<T>(&written);
        prop_assert_eq!(again.ok(), Some(read), "{}", written);
    }
    Ok(())
}

#[test]
fn fuzz_attempt_ids() {
    let inputs = nearly_json(&[json!({ "order_id": "alice.order-1", "attempt": 2 })]);
    check("domain: AttemptId", &inputs, |raw| {
        comes_back::<AttemptId>(&raw)?;
        if let Ok(id) = serde_json::from_str::<AttemptId>(&raw) {
            // It travels in a header.
            let key = id.idempotency_key("authorize");
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
        }
        Ok(())
    });
}

#[test]
fn fuzz_keys() {
    let hex = "0123456789abcdef0123456789abcdef";
    let once = format!("{hex} {hex} 1795694408766");
    let inputs = mistaken(&[once.as_str(), hex, "a b 1"], 3);
    check("domain: Digest and Once", &inputs, |raw| {
        let hexadecimal = "0123456789abcdef";
        let is_digest = raw.len() == 32 && raw.chars().all(|letter| hexadecimal.contains(letter));
        prop_assert_eq!(Digest::parse(&raw).is_ok(), is_digest, "{:?}", raw);
        match raw.parse::<Once>() {
            Ok(read) => {
                let written = read.to_string();
                prop_assert_eq!(written.parse::<Once>(), Ok(read));
                prop_assert!(raw.starts_with(&written[..65]), "{raw:?}");
            }
            Err(refusal) => {
                let said = refusal.to_string();
                prop_assert!(said.chars().count() < 200, "{said}");
            }
        }
        comes_back::<KeyBook>(&format!("{{\"{raw}\":[\"{hex}\",1]}}"))
    });
}

#[test]
fn fuzz_money() {
    let inputs = (any::<i64>(), mistaken(&["USD", "EUR", "שקל"], 4));
    check("domain: money", &inputs, |(cents, currency)| {
        // Read back by its digits and its sign.
        let back = |text: &str| {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let amount: i128 = digits.parse().unwrap();
            if text.starts_with('-') {
                -amount
            } else {
                amount
            }
        };
        let shown = Cents(cents).to_string();
        prop_assert_eq!(back(&shown), i128::from(cents));
        let end = format!(".{:02}", cents.unsigned_abs() % 100);
        prop_assert!(shown.ends_with(&end), "{shown}");
        let told = Cents(cents).in_currency(&currency);
        let (amount, _) = told.split_once(' ').unwrap();
        prop_assert_eq!(back(amount), i128::from(cents));
        prop_assert!(!told.chars().any(char::is_control), "{told:?}");
        prop_assert!(told.chars().count() <= 48, "{told:?}");
        let decimal = Cents(cents).decimal();
        prop_assert_eq!(back(&decimal), i128::from(cents));
        let is_typed = cents >= 0;
        prop_assert_eq!(Cents::parse(&decimal), is_typed.then_some(Cents(cents)));
        comes_back::<Cents>(&cents.to_string())
    });
}

#[test]
fn fuzz_amounts() {
    let samples = [
        "25",
        "24.9",
        "24,90",
        "1000000.00",
        "0",
        "-1",
        "$5",
        // The most, and one cent more.
        "92233720368547758.07",
        "92233720368547758.08",
    ];
    check(
        "domain: an amount as it is typed",
        &mistaken(&samples, 3),
        |raw| {
            // A second, slow rule: digits, one or two more behind a dot or a comma, and as cents
            // no more than 64 bits hold.
            let parts: Vec<_> = raw.trim().split(['.', ',']).collect();
            let are_digits = parts
                .iter()
                .all(|it| !it.is_empty() && it.chars().all(|c| c.is_ascii_digit()));
            let cents = parts.get(1).copied().unwrap_or_default();
            let written = format!("{}{cents:0<2}", parts[0]);
            let written = written.trim_start_matches('0');
            let most = i64::MAX.to_string();
            let fits = (written.len(), written) <= (most.len(), most.as_str());
            let is_one = parts.len() <= 2 && are_digits && cents.len() <= 2 && fits;
            prop_assert_eq!(Cents::parse(&raw).is_some(), is_one, "{}", raw);
            Ok(())
        },
    );
}

/// The order of display turns back where a text ends: embeddings and isolates
/// are closed, each within the text.
fn is_closed(text: &str) -> bool {
    let end = text.chars().try_fold(0_u32, |depth, letter| match letter {
        '\u{2066}'..='\u{2068}' => Some(depth + 1),
        '\u{2069}' => depth.checked_sub(1),
        '\u{202a}'..='\u{202e}' => None,
        _ => Some(depth),
    });
    end == Some(0)
}

#[test]
fn fuzz_words() {
    let inputs = (prop_oneof![text(20), long_text()], 0..600_usize);
    check("domain: words", &inputs, |(raw, most)| {
        let plain = words::plain(&raw);
        prop_assert_eq!(words::plain(&plain), &*plain, "plain twice is plain once");
        prop_assert!(!words::has_hidden(&plain));
        let refused = |letter: char| letter.is_control() && !"\n\r\t".contains(letter);
        prop_assert!(!plain.chars().any(refused), "{plain:?}");
        prop_assert!(plain.len() <= raw.len());

        let bounded = words::bounded(&raw, most);
        prop_assert!(bounded.chars().count() <= most.max(1), "{bounded:?}");
        prop_assert_eq!(words::bounded(&bounded, most), bounded.clone());
        let quoted = words::quoted(&raw, most);
        prop_assert!(
            !quoted.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\0']),
            "{quoted:?}"
        );
        prop_assert!(is_closed(&quoted), "{quoted:?}");
        prop_assert!(quoted.chars().count() <= most.max(1) + 2, "{quoted:?}");

        let isolated = words::isolated(&raw);
        prop_assert!(is_closed(&isolated), "{isolated:?}");
        prop_assert_eq!(words::isolated(&isolated), &*isolated);
        Ok(())
    });
}

#[test]
fn fuzz_order_status() {
    let known: Vec<_> = OrderStatus::ALL.map(OrderStatus::as_str).to_vec();
    check("domain: OrderStatus", &mistaken(&known, 2), |raw| {
        match OrderStatus::parse(&raw) {
            Some(status) => prop_assert_eq!(status.as_str(), raw.as_str()),
            None => prop_assert!(!known.contains(&raw.as_str())),
        }
        Ok(())
    });
}

#[test]
fn fuzz_return_status() {
    let known: Vec<_> = ReturnStatus::ALL.map(ReturnStatus::as_str).to_vec();
    check("domain: ReturnStatus", &mistaken(&known, 2), |raw| {
        match ReturnStatus::parse(&raw) {
            Some(status) => prop_assert_eq!(status.as_str(), raw.as_str()),
            None => prop_assert!(!known.contains(&raw.as_str())),
        }
        Ok(())
    });
}

#[test]
fn fuzz_acts() {
    let known: Vec<_> = Act::ALL.map(Act::as_str).to_vec();
    check("domain: Act", &mistaken(&known, 2), |raw| {
        match Act::parse(&raw) {
            Some(act) => prop_assert_eq!(act.as_str(), raw.as_str()),
            None => prop_assert!(!known.contains(&raw.as_str())),
        }
        Ok(())
    });
}

#[test]
fn fuzz_accounts() {
    let print = "0f".repeat(32);
    let samples = [
        print.as_str(),
        "support",
        "admin",
        "read",
        "full",
        "alice@example.com",
    ];
    check(
        "domain: fingerprint, role, scope, e-mail",
        &mistaken(&samples, 2),
        |raw| {
            let is_one = raw.len() == 64
                && raw
                    .chars()
                    .all(|letter| matches!(letter, '0'..='9' | 'a'..='f'));
            match Fingerprint::parse(&raw) {
                Ok(fingerprint) => prop_assert!(is_one && fingerprint.as_str() == raw),
                Err(refusal) => {
                    prop_assert!(!is_one && refusal.to_string().contains("fingerprint"));
                }
            }
            let role = Role::parse(&raw).map(Role::as_str);
            let scope = Scope::parse(&raw).map(Scope::as_str);
            prop_assert!(role.is_none_or(|role| role == raw));
            prop_assert!(scope.is_none_or(|scope| scope == raw));
            if let Ok(email) = email(&raw) {
                // Nothing in it ends a line or a header.
                prop_assert_eq!(email.matches('@').count(), 1);
                prop_assert!(email.len() <= MAX_EMAIL && !email.contains(char::is_whitespace));
                prop_assert!(!email.contains(char::is_control), "{:?}", email);
                prop_assert_eq!(raw.trim(), email);
            }
            Ok(())
        },
    );
}

/// A line of each kind, as the services say them.
fn updates() -> Vec<Value> {
    let at = "2026-01-01T00:00:00Z";
    let receipt = json!({
        "awakeable_id": "sign_1", "transaction_id": "txn-1", "amount": 100, "status": "success",
        "reason": "no", "currency": "EUR", "order_id": "alice.1",
    });
    let line = json!({
        "sku": "P001", "product_id": 1, "name": "Widget", "quantity": 1, "unit_price_cents": 100,
        "line_total_cents": 100,
    });
    let order = json!({
        "version": 1, "updated_at": at, "order_id": "alice.1", "user_id": "alice",
        "status": "awaiting_approval", "undoing": null, "created_at": at, "status_since": at,
        "wait_until": at, "subtotal_cents": 100, "shipping_cents": 0, "total_cents": 100,
        "currency": "USD", "zone": "Domestic", "address": "1 Main Street", "lines": [line],
        "payments": [{
            "attempt": 1, "status": "authorized", "amount_cents": 100, "expires_at": at,
            "awakeable_id": "sign_1", "payment_id": "pay_1", "pay_url": "http://provider/pay",
            "transaction_id": "txn-1", "receipt": receipt,
        }],
        "shipment": { "carrier": "FedEx", "tracking_number": "FX1", "eta": null },
        "done": ["reserved", "authorized"],
        "events": [{ "seq": 1, "at": at, "kind": "order_placed", "detail": "Order placed" }],
        "failure_reason": "Order failed",
    });
    let basket =
        json!({ "version": 3, "user_id": "alice", "items": [line], "subtotal_cents": 100 });
    let stock = json!({
        "sku": "P001", "version": 2, "initial": 500, "restocked": 0, "available": 499,
        "reserved": 1, "committed": 0, "updated_at": at,
    });
    let product = json!({
        "version": 2, "sku": "P001", "number": 1, "name": "Widget", "description": "It fits",
        "category": "Widgets", "price_cents": 100, "initial_stock": 500, "archived_at": at,
        "created_at": at, "updated_at": at, "updated_by": "admin",
        "prices": [{ "at": at, "by": "admin", "price_cents": 100 }],
    });
    let zone = json!({
        "version": 2, "name": "Local", "cost_cents": 500, "archived_at": null, "updated_at": at,
        "updated_by": "admin",
    });
    let print = "0f".repeat(32);
    let account = json!({
        "version": 4, "user": "alice", "role": "support", "email": "a@example.com",
        "address": "1 Main Street", "default_zone": "Domestic", "password_hash": "$argon2id$x",
        "disabled_at": at, "created_at": at, "link": { "fingerprint": print, "expires_at": at },
        "tokens": [{ "fingerprint": print, "name": "ci", "scope": "read", "created_at": at,
            "expires_at": at, "seen_at": at }],
        "sessions": [{ "fingerprint": print, "created_at": at, "seen_at": at, "expires_at": at,
            "address": "127.0.0.1", "agent": "curl" }],
    });
    let of = |kind: &str, value: Value| json!({ "type": kind, "value": value });
    vec![
        of("order", order),
        of("basket", basket),
        of("stock", stock),
        of("read", json!({ "user_id": "alice", "read_at": at })),
        of("account", account),
        of("product", product),
        of("zone", zone),
        json!({ "type": "heartbeat" }),
    ]
}

#[test]
fn fuzz_update_lines() {
    for sample in updates() {
        let read = serde_json::from_value::<Update>(sample.clone());
        assert!(read.is_ok(), "{sample}: {read:?}");
    }
    check("domain: Update", &nearly_json(&updates()), |raw| {
        comes_back::<Update>(&raw)?;
        if let Ok(Update::Order(order)) = serde_json::from_str(&raw) {
            // Whatever was read can be shown and goes on.
            let _ = (order.next_action(), order.may_be_paid_again());
            let told = order.failure_reason.unwrap_or_default();
            prop_assert!(told.chars().count() <= MAX_DETAIL + 2, "{}", told.len());
        }
        Ok(())
    });
}

#[test]
fn fuzz_receipts_and_decisions() {
    let samples = [
        json!({ "awakeable_id": "sign_1", "transaction_id": "txn-1", "amount": 100,
            "status": "success", "currency": "USD", "order_id": "alice.1" }),
        json!({ "awakeable_id": "sign_1", "status": "failed", "reason": "no" }),
        json!({ "id": "k", "verdict": "rejected", "by": "admin", "reason": "no" }),
    ];
    let order = OrderId::parse("alice.1").unwrap();
    check(
        "domain: PaymentReceipt, Decision",
        &nearly_json(&samples),
        |raw| {
            comes_back::<PaymentReceipt>(&raw)?;
            comes_back::<Decision>(&raw)?;
            if let Ok(receipt) = serde_json::from_str::<PaymentReceipt>(&raw) {
                // The awakeable can be told anything: it counts for its own order only.
                let outcome = receipt.outcome(&order, Cents(100));
                let named = receipt.order_id.as_deref();
                let is_ours = named.is_none_or(|id| ["alice.1", "1"].contains(&id));
                if format!("{outcome:?}").starts_with("Paid") {
                    prop_assert!(is_ours && receipt.amount == 100, "{receipt:?}");
                    prop_assert!(receipt.names_a_transaction(), "{receipt:?}");
                }
            }
            Ok(())
        },
    );
}

#[test]
fn fuzz_times() {
    let inputs = mistaken(&["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+01:00"], 3);
    check("domain: Timestamp", &inputs, |raw| {
        if let Ok(at) = raw.parse::<Timestamp>() {
            prop_assert_eq!(at.to_string().parse::<Timestamp>().ok(), Some(at));
        }
        Ok(())
    });
}
