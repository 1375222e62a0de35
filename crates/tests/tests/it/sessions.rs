//! `AUTH_MODE=session`: who gets in, and what they may do.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use reqwest::Method;
use serde_json::json;

use crate::shop::{Answer, Client, Shop, order_form};
use crate::world::people::{password, type_into};
use crate::world::{Setup, own};

async fn log_in(shop: &Shop, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    shop.anonymous().post("/login", &body).await
}

/// The person with the cookie that the login has set.
async fn logged_in<'a>(shop: &'a Shop, person: Client<'a>) -> Client<'a> {
    let password = password(&person.name);
    let answer = log_in(shop, &person.name, &password).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.cookies.first().expect("a cookie").clone();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    person.with_cookie(&pair)
}

#[test]
fn people_log_in_and_do_what_their_role_allows() {
    own(&Setup::with_sessions(), async |shop| {
        // A name alone proves nothing here.
        shop.alice()
            .get("/api/cart")
            .await
            .problem(401, "unauthenticated");
        shop.anonymous()
            .get("/api/orders")
            .await
            .problem(401, "unauthenticated");
        for (name, password) in [
            ("alice", "wrong"),
            ("nobody", &password("nobody")),
            ("alice", &password("bob")),
            ("alice", "alice-demo"),
        ] {
            log_in(shop, name, password).await.refusal(401);
        }
        let persona = shop
            .anonymous()
            .post("/login", &json!({ "persona": "alice" }))
            .await;
        persona.refusal(403);

        let alice = logged_in(shop, shop.alice()).await;
        let bob = logged_in(shop, shop.bob()).await;
        let admin = logged_in(shop, shop.admin()).await;
        alice.add("P001", 1).await;
        let order = alice.checkout("mine").await;
        order.pay().await;
        order.until("awaiting_approval").await;

        let path = format!("/api/orders/{}", order.id);
        bob.get(&path).await.refusal(404);
        bob.post(&format!("{path}/cancel"), &json!({}))
            .await
            .refusal(404);
        let bobs = bob.get("/api/orders").await.expect(200);
        assert_eq!(bobs["total"], 0, "{bobs}");
        for customer in [&alice, &bob] {
            let yes = json!({ "approved": true });
            customer
                .try_decide(&order.id, &yes)
                .await
                .problem(403, "forbidden");
            customer
                .get("/api/dashboard")
                .await
                .problem(403, "forbidden");
            let restock = json!({ "quantity": 1 });
            customer
                .post("/api/products/1/restock", &restock)
                .await
                .problem(403, "forbidden");
        }
        admin.get("/api/dashboard").await.expect(200);
        admin.approve(&order).await;
        order.until("delivered").await;
    });
}

#[test]
fn a_session_ends_and_cannot_be_forged() {
    own(&Setup::with_sessions(), async |shop| {
        let alice = logged_in(shop, shop.alice()).await;
        alice.get("/api/cart").await.expect(200);
        let out = alice.post("/logout", &json!({})).await;
        assert_eq!(out.status, 200, "{out:?}");
        assert!(
            out.cookies[0].contains("Max-Age=0") || out.cookies[0].contains("Expires"),
            "{out:?}"
        );

        let forged = shop
            .alice()
            .with_cookie("waybill_session=alice.9999999999.x.y");
        forged
            .get("/api/cart")
            .await
            .problem(401, "unauthenticated");
        // A browser that another site sends here: the cookie is not enough.
        let alice = logged_in(shop, shop.alice()).await;
        let lured = alice.request(Method::POST, "/api/cart/add");
        let lured = lured
            .header("origin", "https://evil.example")
            .json(&json!({ "product_id": 1, "quantity": 1 }));
        let lured = lured.build().map(|mut request| {
            request.headers_mut().remove("sec-fetch-site");
            request
        });
        let answer = shop.http.execute(lured.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 403);
        assert!(alice.in_cart().await.is_empty());
    });
}

#[test]
fn an_api_token_is_as_good_as_a_session() {
    own(&Setup::with_sessions(), async |shop| {
        let made = shop.run_gateway(&["token", "create", "--user", "alice"]);
        assert!(made.status.success(), "{made:?}");
        let token = String::from_utf8(made.stdout).unwrap();
        let alice = shop.alice().with_token(token.trim());
        alice.add("P001", 1).await;
        let answer = alice.post("/api/checkout", &order_form("by-token")).await;
        let order = alice.placed(&answer.expect(202));
        order.cancel().await;
        order.until("cancelled").await;
        let unknown = shop.alice().with_token("waybill_0000");
        unknown
            .get("/api/cart")
            .await
            .problem(401, "unauthenticated");
    });
}

#[test]
fn guessing_passwords_is_slowed_down() {
    own(&Setup::with_sessions(), async |shop| {
        let mut last = 0;
        for _ in 0..12 {
            last = log_in(shop, "alice", "guess").await.status;
        }
        assert_eq!(last, 429);
        // Somebody else is not kept out by that.
        assert_eq!(log_in(shop, "bob", &password("bob")).await.status, 200);
    });
}

#[test]
fn without_a_session_key_it_does_not_start() {
    own(&Setup::with("SESSION_KEY", ""), async |shop| {
        let mut refused = shop.gateway_command();
        let refused = refused
            .arg("serve")
            .env("AUTH_MODE", "session")
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        let sentence = said.lines().last().unwrap_or_default();
        assert!(sentence.contains("SESSION_KEY"), "{said}");
    });
}

#[test]
fn passwords_from_the_readme_open_nothing_outside_the_demo() {
    own(&Setup::with_sessions(), async |shop| {
        let seeded = shop.run_gateway(&["seed-demo"]);
        let said = String::from_utf8_lossy(&seeded.stderr);
        assert_eq!(seeded.status.code(), Some(2), "{seeded:?}");
        assert!(
            said.contains("seed-demo") && said.contains("AUTH_MODE=demo"),
            "{said}"
        );

        // Somebody has done it all the same, as a demo, in a file of its own.
        let file = shop.database().with_file_name("known.db");
        let gateway = |arguments: &[&str], mode: &str| {
            let mut gateway = shop.gateway_command();
            let file = format!("sqlite://{}", file.display());
            gateway.args(arguments).env("DATABASE_URL", file);
            gateway.env("GATEWAY_LISTEN", "127.0.0.1:0");
            gateway.env("AUTH_MODE", mode);
            gateway
        };
        let seeded = gateway(&["seed-demo"], "demo").output().unwrap();
        assert!(seeded.status.success(), "{seeded:?}");
        let refused = gateway(&["serve"], "session").output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        let sentence = said.lines().last().unwrap_or_default();
        assert!(
            sentence.contains("alice, bob and admin have the demo's password"),
            "{said}"
        );
        // What the sentence says to do helps, whether or not a gateway runs.
        for name in ["alice", "bob", "admin"] {
            let mut command = gateway(&["user", "passwd", name], "session");
            type_into(&mut command, "seven Tulips by the depot");
        }
        let mut serving = gateway(&["serve"], "session");
        let mut serving = serving.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(serving.stderr.take().unwrap()).lines();
        let mut said = lines.map_while(Result::ok);
        let listens = said.any(|line| line.contains("gateway listens on"));
        serving.kill().unwrap();
        serving.wait().unwrap();
        assert!(listens, "it has ended before");
    });
}

#[test]
fn a_demo_is_not_opened_to_the_network_by_accident() {
    own(&Setup::default(), async |shop| {
        let mut gateway = shop.gateway_command();
        let gateway = gateway.arg("serve").env("GATEWAY_LISTEN", "0.0.0.0:0");
        let refused = gateway.output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("DEMO_ON_NETWORK=yes"), "{said}");
    });
}

#[test]
fn off_loopback_it_does_not_start_without_its_public_address() {
    own(&Setup::with_sessions(), async |shop| {
        let start = |variables: &[(&str, &str)]| {
            let mut command = shop.gateway_command();
            command.arg("serve").env("GATEWAY_LISTEN", "0.0.0.0:0");
            command.envs(variables.iter().copied());
            let refused = command.output().unwrap();
            assert_eq!(refused.status.code(), Some(2), "{refused:?}");
            let said = String::from_utf8_lossy(&refused.stderr);
            said.lines().last().unwrap_or_default().to_owned()
        };
        let sentence = start(&[]);
        assert!(sentence.contains("PUBLIC_URL is missing"), "{sentence}");
        let sentence = start(&[("PUBLIC_URL", "http://shop.example")]);
        assert!(sentence.contains("must begin with https"), "{sentence}");
    });
}
