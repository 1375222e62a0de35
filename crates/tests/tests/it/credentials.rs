//! What proves to the payment provider and the carrier who asks: sent to them, and
//! to be found nowhere else.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::world::{Setup, own};

const PROVIDER: &str = "sk_of_the_tests_2f9c41d8";
const CARRIER: &str = "ck_of_the_tests_7b03e5a6";

/// The files below `folder` that hold one of `words`.
fn files_with(folder: &Path, words: &[&str], into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files_with(&path, words, into);
            continue;
        }
        // Restate takes files away while we look.
        let bytes = fs::read(&path).unwrap_or_default();
        let holds = |word: &&str| {
            bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes())
        };
        if words.iter().any(holds) {
            into.push(path.display().to_string());
        }
    }
}

fn hex(text: &str) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    text.bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[test]
fn the_outside_world_is_told_who_asks_and_nobody_else_is() {
    let setup = Setup::with("PAYMENT_PROVIDER_TOKEN", PROVIDER).and("CARRIER_TOKEN", CARRIER);
    own(&setup, async |shop| {
        // A stranger without them gets nothing.
        for path in ["payments", "carrier/shipments"] {
            let asked = shop.http.post(format!("{}/{path}", shop.sandbox));
            let asked = asked.header("idempotency-key", "k").json(&json!({}));
            assert_eq!(asked.send().await.unwrap().status(), 401, "{path}");
        }
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("with-keys").await;
        order.pay().await;
        order.until("awaiting_approval").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;

        // No journal has them: each entry of the order, as Restate keeps it.
        let entries = shop
            .sql("SELECT name, encode(raw, 'hex') AS raw FROM sys_journal")
            .await;
        let entries = serde_json::to_string(&entries).unwrap();
        assert!(entries.contains("carrier.book"), "{entries:.300}");
        assert!(entries.contains(&hex(&order.id)), "{entries:.300}");
        for secret in [PROVIDER, CARRIER] {
            assert!(!entries.contains(&hex(secret)) && !entries.contains(secret));
        }
        // Nor has a log or a database.
        let folder = shop.database();
        let folder = folder.parent().unwrap();
        let mut files = Vec::new();
        files_with(folder, &[order.id.as_str()], &mut files);
        for kept in ["services.log", "gateway.log", "waybill.db", "sandbox.db"] {
            let is_there = files.iter().any(|file| file.contains(kept));
            assert!(is_there, "the order is not in {kept}: {files:?}");
        }
        let mut files = Vec::new();
        files_with(folder, &[PROVIDER, CARRIER], &mut files);
        assert_eq!(files, Vec::<String>::new());
    });
}
