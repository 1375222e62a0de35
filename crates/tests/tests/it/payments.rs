//! Callbacks, direct resolutions, expiry, and money that comes too late.

use std::time::Duration;

use launcher::plan::WEBHOOK_SECRET;
use reqwest::Method;
use sandbox::webhook::{SIGNATURE_HEADER, sign};
use serde_json::{Value, json};
use waybill_domain::Timestamp;

use crate::shop::{Answer, SOON, Shop, kinds_of, send, text};
use crate::world::{Setup, eventually, own, shared};

#[test]
fn the_awakeable_can_be_resolved_at_restate_directly() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        let order = alice.checkout("direct").await;
        let receipt = order.receipt("txn-direct").await;
        let path = format!("/restate/awakeables/{}/resolve", order.awakeable().await);
        let answer = shop
            .ingress(&path, "application/json", receipt.to_string())
            .await;
        assert!(answer.status().is_success(), "{answer:?}");

        let paid = order.until("awaiting_approval").await;
        assert_eq!(paid["payment"]["transaction_id"], "txn-direct");
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        assert_eq!(order.ledger().await.payment().effects.capture, 1);
    });
}

#[test]
fn the_awakeable_can_be_rejected_at_restate_directly() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        let order = alice.checkout("refused").await;
        let path = format!("/restate/awakeables/{}/reject", order.awakeable().await);
        let answer = shop.ingress(&path, "text/plain", "card stolen").await;
        assert!(answer.status().is_success(), "{answer:?}");
        let failed = order.until("payment_failed").await;
        assert!(
            text(&failed["failure_reason"]).contains("card stolen"),
            "{failed}"
        );
        assert_eq!(order.workflow_runs().await, 0);
    });
}

#[test]
fn whatever_is_posted_to_the_awakeable_the_payment_ends() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        let rubbish: [(&str, &[u8]); 10] = [
            ("a string", b"\"hello\""),
            ("a number", b"42"),
            ("nothing", b""),
            ("null", b"null"),
            ("an empty object", b"{}"),
            ("a list", b"[1, 2]"),
            (
                "another status",
                br#"{"status": "perhaps", "transaction_id": "x", "amount": 1}"#,
            ),
            (
                "no transaction",
                br#"{"status": "success", "amount": 3500}"#,
            ),
            ("half an object", br#"{"status": "suc"#),
            ("no text at all", b"\xff\xfe\x00"),
        ];
        for (number, (what, bytes)) in rubbish.into_iter().enumerate() {
            let order = alice.checkout(&format!("rubbish-{number}")).await;
            let path = format!("/restate/awakeables/{}/resolve", order.awakeable().await);
            let answer = shop.ingress(&path, "application/json", bytes).await;
            assert!(answer.status().is_success(), "{what}: {answer:?}");
            let failed = order.until("payment_failed").await;
            assert!(
                !text(&failed["failure_reason"]).is_empty(),
                "{what}: {failed}"
            );
            assert_eq!(alice.in_cart().await.len(), 1, "{what}: the cart is kept");
        }
    });
}

#[test]
fn a_callback_counts_once() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        let order = alice.checkout("thrice").await;
        let receipt = order.receipt("txn-once").await;
        let nobody = shop.anonymous();
        let calls = (0..5).map(|_| nobody.post("/api/payment/callback", &receipt));
        for answer in futures::future::join_all(calls).await {
            answer.expect(200);
        }
        order.until("awaiting_approval").await;
        nobody
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        // A late refusal does not undo what was paid.
        let refusal = json!({
            "awakeable_id": order.awakeable().await,
            "transaction_id": "",
            "amount": 0,
            "status": "failed",
        });
        nobody
            .post("/api/payment/callback", &refusal)
            .await
            .expect(200);
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        nobody
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        assert_eq!(order.ledger().await.story(), "book authorize capture");
        assert_eq!(order.workflow_runs().await, 1);
    });
}

#[test]
fn the_providers_own_faults_change_nothing() {
    shared(async |shop| {
        let alice = shop.alice();
        let whole_id = format!("{}.noisy", alice.name);
        let faults =
            json!({ "payments": { "duplicate": 3, "reorder": true, "drop_response": true } });
        shop.faults_of(&whole_id, faults).await;
        let order = alice.buy("P004", 2, "noisy").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let ledger = order.ledger().await;
        assert_eq!(ledger.payment().effects.authorize, 1);
        assert_eq!(ledger.payment().effects.capture, 1);
    });
}

#[test]
fn a_second_payment_of_a_paid_order_goes_back() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P004", 1, "twice").await;
        let mut told = alice.stream("/stream/notifications").await;
        let second = order.receipt("txn-second").await;
        shop.anonymous()
            .post("/api/payment/callback", &second)
            .await
            .expect(200);
        told.until("too late").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let ledger = order.ledger().await;
        let second = ledger
            .payment()
            .transactions
            .iter()
            .find(|it| it.transaction_id == "txn-second");
        assert_eq!(
            second.map(|it| it.status.as_str()),
            Some("voided"),
            "{ledger:#?}"
        );
        assert_eq!(ledger.payment().effects.capture, 1);
    });
}

/// A provider that takes money and never says so: when the order fails, that
/// money goes back all the same.
#[test]
fn money_that_nobody_was_told_of_goes_back_with_its_order() {
    shared(async |shop| {
        let alice = shop.alice();
        let admin = shop.admin();
        for (id, resolved) in [("unheard", true), ("unpaid", false)] {
            alice.add("P004", 1).await;
            let whole_id = format!("{}.{id}", alice.name);
            let silent = json!({ "payments": { "silent": true } });
            shop.faults_of(&whole_id, silent).await;
            let order = alice.checkout(id).await;
            order.pay().await;
            assert_eq!(order.ledger().await.story(), "authorize");
            if resolved {
                // By somebody else: the order is paid, by other money.
                let other = order.receipt("txn-heard-of").await;
                let nobody = shop.anonymous();
                let answer = nobody.post("/api/payment/callback", &other).await;
                assert_eq!(answer.expect(200)["result"], "accepted");
                order.until("awaiting_approval").await;
                admin.reject(&order, "a test").await;
                order.until("rejected").await;
            } else {
                order.cancel().await;
                order.until("cancelled").await;
            }
            eventually("nothing is held", SOON, async || {
                let ledger = order.ledger().await;
                let all = &ledger.payment().transactions;
                if all.iter().all(|money| money.status == "voided") {
                    Ok(())
                } else {
                    Err(format!("{all:?}"))
                }
            })
            .await;
        }
    });
}

/// Its awakeable is known only afterwards: the wait ends, and the payment is closed as
/// soon as anybody knows in which words it was asked for.
#[test]
fn an_order_that_is_cancelled_before_the_provider_has_answered_cannot_be_paid() {
    shared(async |shop| {
        let buyer = shop.person("hasty");
        buyer.add("P004", 1).await;
        let whole_id = format!("{}.early", buyer.name);
        let slow = json!({ "payments": { "answer_delay_ms": 3000 } });
        shop.faults_of(&whole_id, slow).await;
        let cancels = async {
            let path = format!("/api/orders/{whole_id}");
            let pending = eventually("it is placed", SOON, async || {
                let answer = buyer.get(&path).await;
                (answer.status == 200)
                    .then_some(answer)
                    .ok_or_else(|| "it is not".to_owned())
            });
            let pending = pending.await.expect(200);
            assert_eq!(pending["payment"]["awakeable_id"], Value::Null, "{pending}");
            let cancelled = buyer.post(&format!("{path}/cancel"), &json!({})).await;
            assert_eq!(cancelled.expect(202)["status"], "cancelled");
        };
        let (placed, ()) = tokio::join!(buyer.try_checkout("early"), cancels);
        let order = buyer.accepted(&placed);
        order.until("cancelled").await;
        let wait = format!("UserSession/{}/AwaitPayment", buyer.name);
        eventually(
            "its payment is closed and its wait ended",
            SOON,
            async || {
                let (ledger, waits) = (
                    order.ledger().await,
                    shop.open_invocations(&wait, None).await,
                );
                match ledger.payments.first() {
                    Some(payment) if payment.status == "voided" && waits.is_empty() => Ok(()),
                    payment => Err(format!("{payment:?}, {waits:?}")),
                }
            },
        )
        .await;
        let order = order.json().await;
        assert!(order["payment"]["awakeable_id"].is_string(), "{order}");
    });
}

/// The same where other money had been captured for the order.
#[test]
fn money_beside_what_was_captured_goes_back_with_its_order() {
    own(&Setup::with("DELIVERY_TIME", "1h"), async |shop| {
        let order = shop.alice().buy("P004", 1, "recalled").await;
        let (_, page) = order.payment_page().await;
        shop.faults_of(&order.id, json!({ "payments": { "silent": true } }))
            .await;
        shop.use_payment_page(&page, "pay&transaction_id=txn-beside")
            .await;
        shop.admin().approve(&order).await;
        order.until("in_transit").await;
        order.recall().await;
        order.until("cancelled").await;
        let ledger = order.ledger().await;
        let money = &ledger.payment().transactions;
        let ends: Vec<_> = money.iter().map(|it| it.status.as_str()).collect();
        assert_eq!(ends, ["refunded", "voided"], "{ledger:#?}");
        // And no more is taken.
        shop.use_payment_page(&page, "pay&transaction_id=txn-after")
            .await;
        let ledger = order.ledger().await;
        assert_eq!(ledger.payment().transactions.len(), 2, "{ledger:#?}");
    });
}

/// What cannot be meant for this payment is refused for good by the webhook,
/// and is no payment when it is posted to the awakeable itself.
#[test]
fn a_receipt_of_another_amount_currency_or_order_pays_nothing() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        for (number, (field, wrong, code, told)) in [
            ("amount", json!(1), 422, "was paid instead of"),
            ("currency", json!("EUR"), 400, "EUR was paid instead of"),
            ("order_id", json!("somebody.elses"), 400, "another order"),
        ]
        .into_iter()
        .enumerate()
        {
            let order = alice.checkout(&format!("misled-{number}")).await;
            let mut receipt = order.receipt(&format!("txn-misled-{number}")).await;
            receipt["currency"] = json!("USD");
            receipt["order_id"] = json!(order.id);
            receipt[field] = wrong;
            let nobody = shop.anonymous();
            let answer = nobody.post("/api/payment/callback", &receipt).await;
            let problem = answer.refusal(code);
            let said = text(&problem["detail"]);
            assert!(said.contains("nothing was accepted"), "{problem}");
            assert_eq!(order.json().await["status"], "awaiting_payment");

            let path = format!("/restate/awakeables/{}/resolve", order.awakeable().await);
            shop.ingress(&path, "application/json", receipt.to_string())
                .await;
            let failed = order.until("payment_failed").await;
            let reason = text(&failed["failure_reason"]);
            assert!(reason.contains(told), "{field}: {reason}");
            assert_eq!(order.workflow_runs().await, 0);
        }
        // What fits is taken, whether or not it says more than it must.
        let order = alice.checkout("meant").await;
        let mut receipt = order.receipt("txn-meant").await;
        receipt["currency"] = json!("usd");
        receipt["order_id"] = json!("meant");
        let nobody = shop.anonymous();
        nobody
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        order.until("awaiting_approval").await;
        order.cancel().await;
        order.until("cancelled").await;
    });
}

#[test]
fn nobody_pays_in_time_and_money_that_comes_late_goes_back() {
    let short = Setup::with("PAYMENT_WINDOW", "2s");
    own(&short, async |shop| {
        let alice = shop.alice();
        alice.add("P005", 1).await;
        let order = alice.checkout("slow").await;
        let first = order.receipt("txn-late").await;
        let mut told = alice.stream("/stream/notifications").await;
        told.until("Payment expired").await;
        let expired = order.until("payment_expired").await;
        assert_eq!(
            kinds_of(&expired)[2..],
            ["payment_expired", "stock_released"]
        );
        assert_eq!(alice.in_cart().await, [("P005".to_owned(), 1)]);

        // The callback says success nevertheless: it is taken, and voided.
        let nobody = shop.anonymous();
        nobody
            .post("/api/payment/callback", &first)
            .await
            .expect(200);
        told.until("too late").await;
        nobody
            .post("/api/payment/callback", &first)
            .await
            .expect(200);
        assert_eq!(
            order.until("payment_expired").await["status"],
            "payment_expired"
        );

        // The same order again is a new attempt with a new payment.
        let answer = alice.try_checkout("slow").await;
        let again = alice.placed(&answer.expect(202));
        again.pay().await;
        again.until("awaiting_approval").await;
        assert_ne!(again.awakeable().await, text(&first["awakeable_id"]));
        shop.admin().approve(&again).await;
        again.until("delivered").await;
        let ledger = order.ledger().await;
        assert_eq!(ledger.payments.len(), 2);
        let captured: u32 = ledger.payments.iter().map(|it| it.effects.capture).sum();
        assert_eq!(captured, 1);
    });
}

#[test]
fn callbacks_are_signed() {
    own(
        &Setup::with("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
        async |shop| {
            let alice = shop.alice();
            alice.add("P006", 1).await;
            let order = alice.checkout("signed").await;
            let body = order.receipt("txn-signed").await.to_string();
            let now = Timestamp::now().as_second();
            let valid = sign(WEBHOOK_SECRET, now, &body);
            let (_, valid_v1) = valid.split_once(',').unwrap();
            let wrong = sign("whsec_of_somebody_else", now, &body);
            let (_, wrong_v1) = wrong.split_once(',').unwrap();

            for (what, signature) in [
                ("none", None),
                ("empty", Some(String::new())),
                ("not one", Some("hello".to_owned())),
                ("another secret's", Some(wrong.clone())),
                ("another body's", Some(sign(WEBHOOK_SECRET, now, "{}"))),
                ("old", Some(sign(WEBHOOK_SECRET, now - 400, &body))),
                (
                    "of the future",
                    Some(sign(WEBHOOK_SECRET, now + 400, &body)),
                ),
                ("without a time", Some(valid_v1.to_owned())),
                (
                    "with another time",
                    Some(format!("t={},{valid_v1}", now - 1)),
                ),
                (
                    "with two wrong",
                    Some(format!("t={now},{wrong_v1},{wrong_v1}")),
                ),
            ] {
                let answer = callback(shop, &body, signature.as_deref()).await;
                assert_eq!(answer.status, 401, "{what}: {answer:?}");
                answer.refusal(401);
            }
            assert_eq!(
                order.json().await["status"],
                "awaiting_payment",
                "nothing has changed"
            );

            // While the secret is being replaced, the provider signs with both.
            let both = format!("t={now},{wrong_v1},{valid_v1}");
            callback(shop, &body, Some(&both)).await.expect(200);
            order.until("awaiting_approval").await;
            callback(shop, &body, Some(&valid)).await.expect(200);
            shop.admin().approve(&order).await;
            order.until("delivered").await;

            // And so does the sandbox, whose page this is.
            let order = alice.buy("P006", 1, "by-page").await;
            order.cancel().await;
            order.until("cancelled").await;
        },
    );
}

async fn callback(shop: &Shop, body: &str, signature: Option<&str>) -> Answer {
    let mut request = shop
        .anonymous()
        .request(Method::POST, "/api/payment/callback")
        .header("content-type", "application/json")
        .body(body.to_owned());
    if let Some(signature) = signature {
        request = request.header(SIGNATURE_HEADER, signature);
    }
    send(request).await
}

#[test]
fn a_forged_callback_changes_nothing() {
    own(
        &Setup::with("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET),
        async |shop| {
            shop.faults(json!({ "payments": { "forge": true } })).await;
            let alice = shop.alice();
            let order = alice.buy("P006", 1, "forged").await;
            shop.admin().approve(&order).await;
            let delivered = order.until("delivered").await;
            let paid = order.ledger().await;
            assert_eq!(
                delivered["payment"]["transaction_id"],
                Value::from(paid.payment().transaction_id.clone())
            );
            // The forger gave up; the provider was heard.
            let quiet = Duration::from_secs(5);
            crate::world::eventually("callbacks are settled", quiet, async || {
                let ledger: Value = shop
                    .http
                    .get(format!("{}/ledger", shop.sandbox))
                    .send()
                    .await
                    .unwrap()
                    .json()
                    .await
                    .unwrap();
                let callbacks = &ledger["payments"][0]["callbacks"];
                if *callbacks == json!({ "waiting": 0, "delivered": 1, "dead": 1 }) {
                    Ok(())
                } else {
                    Err(callbacks.to_string())
                }
            })
            .await;
        },
    );
}
