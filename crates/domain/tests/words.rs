//! Words of others are bounded wherever they come in: at every field of every
//! type that is read from JSON, and in what an order's record makes of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waybill_domain::Timestamp;
use waybill_domain::after_sales::AfterSales;
use waybill_domain::decision::Decision;
use waybill_domain::ids::OrderId;
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, Step};
use waybill_domain::payment::{PaymentOutcome, PaymentReceipt};
use waybill_domain::shipment::Booking;
use waybill_domain::words::{self, MAX_DETAIL, MAX_URL};

/// The fields of text of the types in `source` that are read from JSON, each
/// with the attributes before it.
fn text_fields(source: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let (mut derives, mut inside, mut attributes) = (String::new(), false, String::new());
    for line in source.lines() {
        let text = line.trim();
        if line.starts_with("#[derive(") || (!derives.is_empty() && !derives.contains(")]")) {
            derives.push_str(text);
        } else if line.starts_with("pub struct ") || line.starts_with("pub enum ") {
            inside = derives.contains("Deserialize") && line.ends_with('{');
            derives.clear();
        } else if line == "}" {
            inside = false;
        } else if inside && !text.starts_with("//") {
            attributes.push_str(text);
            let is_field = text.contains(": ") && text.ends_with(',') && !text.starts_with('#');
            let is_attribute = text.starts_with("#[serde") || text.ends_with(")]");
            if is_field && !text.contains(" = ") && text.contains("String") {
                fields.push((text.to_owned(), attributes.clone()));
            }
            if !is_attribute && !text.starts_with("default") && !text.contains(" = ") {
                attributes.clear();
            }
        }
    }
    fields
}

/// Every file below `folder`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_field_of_text_is_bounded_where_it_is_read() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut seen = 0;
    for path in files {
        for (field, attributes) in text_fields(&fs::read_to_string(&path).unwrap()) {
            seen += 1;
            assert!(
                attributes.contains("deserialize_with = \"words::kept::"),
                "{}: `{field}` keeps whatever length it is sent: give it a bound of words::kept",
                path.display()
            );
        }
    }
    assert!(seen > 40, "only {seen} fields were found");
}

/// Every string of a JSON document, by its place.
fn strings(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                strings(item, &format!("{at}/{n}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                strings(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Blows up each text of `sample` in turn: it is refused, or it is kept short.
/// Answers how many were kept.
fn blown_up<T: Serialize + DeserializeOwned>(sample: &T) -> usize {
    let sample = serde_json::to_value(sample).unwrap();
    let mut places = Vec::new();
    strings(&sample, "", &mut places);
    let mut kept = 0;
    for place in places {
        for long in ["x".repeat(200_000), "\u{202E}א é\n".repeat(50_000)] {
            let mut document = sample.clone();
            *document.pointer_mut(&place).unwrap() = Value::String(long);
            // Ids, names of variants, times: no such one exists.
            let Ok(read) = serde_json::from_value::<T>(document) else {
                continue;
            };
            kept += 1;
            let written = serde_json::to_value(&read).unwrap();
            // The address of a page that is too long is none.
            let text = written.pointer(&place).unwrap().as_str().unwrap_or("");
            assert!(text.chars().count() <= MAX_URL, "{place}: {}", text.len());
            let again: T = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(serde_json::to_value(&again).unwrap(), written, "{place}");
        }
    }
    kept
}

fn receipt() -> PaymentReceipt {
    serde_json::from_value(json!({
        "awakeable_id": "sign_1", "transaction_id": "txn-1", "amount": 100, "status": "failed",
        "reason": "no", "currency": "EUR", "order_id": "alice.1",
    }))
    .unwrap()
}

fn record() -> OrderRecord {
    let record: OrderRecord = serde_json::from_value(json!({
        "version": 1, "updated_at": "2026-01-01T00:00:00Z", "order_id": "alice.1",
        "user_id": "alice", "status": "awaiting_approval", "undoing": null,
        "created_at": "2026-01-01T00:00:00Z", "status_since": "2026-01-01T00:00:00Z",
        "wait_until": "2026-01-01T00:00:00Z", "subtotal_cents": 100, "shipping_cents": 0,
        "total_cents": 100, "currency": "USD", "zone": "Domestic", "address": "1 Main Street",
        "lines": [{"sku": "P001", "product_id": 1, "name": "Widget", "quantity": 1,
            "unit_price_cents": 100, "line_total_cents": 100}],
        "payments": [{"attempt": 1, "status": "authorized", "amount_cents": 100,
            "expires_at": "2026-01-01T00:00:00Z", "awakeable_id": "sign_1", "payment_id": "pay_1",
            "pay_url": "http://provider/pay", "transaction_id": "txn-1", "receipt": receipt()}],
        "shipment": {"carrier": "FedEx", "tracking_number": "FX1", "eta": null},
        "done": ["reserved", "authorized"],
        "events": [{"seq": 1, "at": "2026-01-01T00:00:00Z", "kind": "order_placed", "detail": "Order placed"}],
        "failure_reason": "Order failed",
    }))
    .unwrap();
    record
}

#[test]
fn two_hundred_kilobytes_are_refused_or_cut() {
    assert!(blown_up(&receipt()) >= 2 * 5);
    assert!(blown_up(&record()) >= 2 * 15);
    let decision: Decision = serde_json::from_value(
        json!({"id": "k", "verdict": "rejected", "by": "admin", "reason": "no"}),
    )
    .unwrap();
    assert!(blown_up(&decision) >= 2 * 3);
    let after: AfterSales = serde_json::from_value(json!({
        "version": 1, "updated_at": "2026-01-01T00:00:00Z", "order_id": "alice.1", "user_id": "alice",
        "sold": {"placed_at": "2026-01-01T00:00:00Z", "delivered_at": "2026-01-01T00:00:00Z",
            "return_until": "2026-01-01T00:00:00Z", "send_within_ms": 1, "events": 1,
            "lines": record().lines, "payment": record().payment_order()},
        "returns": [{"number": 1, "status": "refused", "since": "2026-01-01T00:00:00Z",
            "items": [{"sku": "P001", "quantity": 1}], "reason": "no",
            "asked_at": "2026-01-01T00:00:00Z", "send_until": null, "by": "admin",
            "refused_because": "worn"}],
        "refunds": [{"number": 1, "status": "pending", "amount_cents": 1, "reason": "sorry",
            "of_return": null, "by": "admin", "at": "2026-01-01T00:00:00Z"}],
        "events": [{"seq": 2, "at": "2026-01-01T00:00:00Z", "kind": "return_asked", "detail": "x"}],
    }))
    .unwrap();
    assert!(blown_up(&after) >= 2 * 6);
    let refused = Booking::Refused {
        reason: "no".into(),
    };
    assert!(blown_up(&refused) >= 2);
}

#[test]
fn a_record_makes_short_sentences_of_long_words() {
    let long = "\u{202E}לא ".repeat(50_000);
    let steps = [
        Step::Rejected {
            by: long.clone().into(),
            reason: Some(long.clone()),
        },
        Step::Cancelled {
            by: long.clone().into(),
            reason: Some(long.clone()),
        },
    ];
    for step in steps {
        let record = record().apply(step, Timestamp::UNIX_EPOCH).unwrap();
        let told = record.failure_reason.unwrap();
        assert!(told.chars().count() <= MAX_DETAIL, "{}", told.len());
        assert_eq!(record.events.last().unwrap().detail, told);
        assert!(!told.contains('\u{202E}'));
        assert!(
            told.starts_with("Order canceled by admin (\u{2068}לא")
                || told.starts_with("Order cancelled by \u{2068}לא"),
            "{told:.60}"
        );
        assert!(told.ends_with('\u{2069}'));
    }
}

#[test]
fn a_reason_without_anything_to_see_is_none() {
    let mut blank = receipt();
    blank.reason = Some("\u{200B}\u{3164}".into());
    let order = OrderId::parse("alice.1").unwrap();
    assert_eq!(
        blank.outcome(&order, Cents(100)),
        PaymentOutcome::Declined {
            reason: "insufficient funds".to_owned()
        }
    );
    let step = Step::Rejected {
        by: "admin".into(),
        reason: Some("\u{2060}".into()),
    };
    let record = record().apply(step, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(
        record.failure_reason.as_deref(),
        Some("Order canceled by admin (admin)")
    );
}

#[test]
fn the_currency_of_others_does_not_turn_our_sentence() {
    let told = Cents(1234).in_currency("\u{202E}שקל");
    assert_eq!(told, "12.34 \u{2068}שקל\u{2069}");
    assert!(words::is_visible(&told));
}
