//! Restate's ingress knows no callers. Every handler there is private, or refuses what
//! no gateway has signed; and what is posted straight to an awakeable makes no money.

use std::collections::BTreeSet;

use launcher::plan::TOKEN;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use services::signed::{Call, CallKey};

use crate::restate::call_key;
use crate::shop::{Shop, kinds_of};
use crate::world::{Component, Setup, own, shared};

/// A handler, as Restate knows it from the services' own description.
#[derive(Debug)]
struct Handler {
    target: String,
    is_private: bool,
}

/// Every handler of everything that is registered, on the object or workflow `key`.
async fn handlers(shop: &Shop, key: &str) -> Vec<Handler> {
    let answer = shop
        .http
        .get(format!("{}/services", shop.admin))
        .send()
        .await
        .expect("Restate answers");
    let registered: Value = answer.json().await.expect("JSON");
    let mut found = Vec::new();
    for service in registered["services"].as_array().expect("services") {
        let name = service["name"].as_str().expect("a name");
        let place = match service["ty"].as_str() {
            Some("Service") => name.to_owned(),
            _ => format!("{name}/{key}"),
        };
        for handler in service["handlers"].as_array().expect("handlers") {
            found.push(Handler {
                target: format!("{place}/{}", handler["name"].as_str().expect("a name")),
                is_private: handler["public"] == false || service["public"] == false,
            });
        }
    }
    found
}

async fn refusal(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap_or_default())
}

/// A signature that is not for this call.
type Forgery = (&'static str, fn(Call<'_>) -> String);

const FORGERIES: [Forgery; 5] = [
    ("with another token", |call| {
        CallKey::of("a guess").sign(call)
    }),
    ("for another body", |call| {
        call_key().sign(Call { body: b"1", ..call })
    }),
    ("for another key", |call| {
        call_key().sign(Call { key: "bob", ..call })
    }),
    ("for another handler", |call| {
        let handler = "GetBaskets";
        call_key().sign(Call { handler, ..call })
    }),
    ("for a keyed write", |call| {
        let once = Some("1");
        call_key().sign(Call { once, ..call })
    }),
];

/// A handler that is written tomorrow is in Restate's list, and so in this test.
#[test]
fn every_handler_is_private_or_refuses_what_no_gateway_has_signed() {
    shared(async |shop| {
        let key = shop.alice().name;
        let handlers = handlers(shop, &key).await;
        let open: BTreeSet<_> = handlers
            .iter()
            .filter(|it| !it.is_private)
            .map(|it| it.target.replace(&format!("/{key}"), ""))
            .collect();
        assert!(
            open.contains("UserSession/ClearBasket") && open.contains("ReconcileService/Repair"),
            "{open:?}"
        );
        for Handler { target, is_private } in &handlers {
            // What each would read if it were let in does not matter: nobody reads it.
            let mut tries = vec![
                ("unsigned", shop.call(target, "{}", |_| None).await),
                ("without a body", shop.call(target, "", |_| None).await),
            ];
            for (how, sign) in FORGERIES {
                let answer = shop.call(target, "{}", |call| Some(sign(call))).await;
                tries.push((how, answer));
            }
            for (how, answer) in tries {
                let (status, said) = refusal(answer).await;
                if *is_private {
                    assert_eq!(status, 400, "{target} {how}: {said}");
                    assert!(said.contains("not public"), "{target} {how}: {said}");
                } else {
                    assert_eq!(status, 403, "{target} {how}: {said}");
                    assert!(said.contains("is not signed"), "{target} {how}: {said}");
                }
            }
            // The gateway's own reaches the handler, which does not know what to make of
            // it or answers: it is not refused at the door.
            if !is_private {
                let (status, said) = refusal(shop.call_signed(target, "[[]]").await).await;
                assert_ne!(status, 403, "{target} signed: {said}");
            }
        }
    });
}

/// The attack as it was: a page of another site empties a cart through Restate.
#[test]
fn a_web_page_of_this_machine_cannot_empty_a_cart() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P001", 2).await;
        let url = format!(
            "{}/restate/call/UserSession/{}/ClearBasket",
            shop.ingress, alice.name
        );
        let asked = shop
            .http
            .post(&url)
            .header("origin", "https://evil.example");
        let answer = asked.send().await.expect("Restate answers");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{answer:?}");
        assert_eq!(alice.in_cart().await.len(), 1);
    });
}

/// The token can be replaced while orders are under way.
#[test]
fn a_token_is_replaced_without_a_gap() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("rotated").await;

        shop.stop(Component::Services).await;
        let both = [
            ("INTERNAL_TOKEN", "the-next-token-of-this-world"),
            ("INTERNAL_TOKEN_PREVIOUS", TOKEN),
        ];
        shop.start_again_with(Component::Services, &both).await;
        // The gateway still has the old one.
        alice.add("P002", 1).await;
        shop.stop(Component::Gateway).await;
        let next = [("INTERNAL_TOKEN", "the-next-token-of-this-world")];
        shop.start_again_with(Component::Gateway, &next).await;
        alice.add("P002", 1).await;
        order.cancel().await;
        order.until("cancelled").await;

        shop.stop(Component::Services).await;
        shop.start_again_with(Component::Services, &next).await;
        alice.add("P002", 1).await;
        let (status, said) = refusal(
            shop.call_signed(&format!("UserSession/{}/GetBasket", alice.name), "")
                .await,
        )
        .await;
        assert_eq!(status, 403, "the old token: {said}");
    });
}

/// What is asked of the services' second port says who asks.
#[test]
fn the_ops_port_is_behind_the_token() {
    own(&Setup::with("ALLOW_CRASH", "true"), async |shop| {
        let ask = async |method: &Method, path: &str, token: Option<&str>| {
            let url = format!("{}{path}", shop.services_ops);
            let mut asked = shop.http.request(method.clone(), url);
            if let Some(token) = token {
                asked = asked.bearer_auth(token);
            }
            asked.send().await.expect("the services answer").status()
        };
        for (method, path) in [
            (Method::POST, "/crash?at=UserSession/Checkout%231:7:before"),
            (Method::POST, "/crash"),
            (Method::POST, "/hold?at=UserSession/Checkout%231:7:before"),
            (Method::GET, "/hold"),
            (Method::DELETE, "/hold"),
            (Method::GET, "/steps"),
            (Method::DELETE, "/steps"),
            (Method::GET, "/metrics"),
            (Method::GET, "/updates"),
        ] {
            for token in [None, Some("a guess")] {
                let status = ask(&method, path, token).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            }
            if method == Method::GET {
                let status = ask(&method, path, Some(TOKEN)).await;
                assert_eq!(status, StatusCode::OK, "{method} {path}");
            }
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(
                ask(&Method::GET, path, None).await,
                StatusCode::OK,
                "{path}"
            );
        }
    });
}

/// Restate's own door stays open: whoever knows an awakeable's id can say that it is
/// paid. That is believed until the money is taken, and nothing is delivered before: the
/// provider knows what was authorized.
#[test]
fn a_receipt_that_was_made_up_brings_neither_money_nor_goods() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P002", 1).await;
        let order = alice.checkout("made-up").await;
        let strict = json!({ "orders": { order.id.clone(): { "payments": { "strict": true } } } });
        shop.faults(strict).await;
        let receipt = order.receipt("txn-made-up").await;
        let path = format!("/restate/awakeables/{}/resolve", order.awakeable().await);
        let answer = shop
            .ingress(&path, "application/json", receipt.to_string())
            .await;
        assert!(answer.status().is_success(), "{answer:?}");
        order.until("awaiting_approval").await;
        shop.admin().approve(&order).await;

        let ended = order.until("payment_failed").await;
        let why = ended["failure_reason"].as_str().unwrap_or_default();
        assert!(why.contains("knows no transaction"), "{ended}");
        // The parcel was called back, and the payment closed.
        assert_eq!(order.ledger().await.story(), "book cancel void");
        let has = |status: &str| kinds_of(&ended).iter().any(|kind| kind == status);
        assert!(!has("in_transit") && !has("payment_captured"), "{ended}");
    });
}
