//! Bad input, endpoint by endpoint: the right 4xx, a sentence that says what to
//! do, nothing changed.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::shop::{Client, Order, Shop, send};
use crate::world::{Setup, own};

const CALLBACK: &str = "/api/payment/callback";

/// A request that must be refused, what it is, and how.
struct Refused {
    what: String,
    request: RequestBuilder,
    status: u16,
    /// The field that the problem names.
    field: Option<&'static str>,
}

/// The people and the orders that the requests are about.
struct Scene<'a> {
    shop: &'a Shop,
    alice: Client<'a>,
    bob: Client<'a>,
    admin: Client<'a>,
    pending: Order<'a>,
    approvable: Order<'a>,
    refused: Vec<Refused>,
}

impl<'a> Scene<'a> {
    async fn set(shop: &'a Shop) -> Self {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let approvable = alice.buy("P001", 1, "approvable").await;
        alice.add("P002", 1).await;
        let pending = alice.checkout("pending").await;
        Self {
            shop,
            alice,
            bob,
            admin,
            pending,
            approvable,
            refused: Vec::new(),
        }
    }

    fn no(
        &mut self,
        what: &str,
        request: RequestBuilder,
        status: u16,
        field: Option<&'static str>,
    ) {
        self.refused.push(Refused {
            what: what.to_owned(),
            request,
            status,
            field,
        });
    }

    fn alice_posts(&mut self, path: &str, body: &Value, status: u16, field: Option<&'static str>) {
        let request = self.alice.request(Method::POST, path).json(body);
        self.no(
            &format!("alice: POST {path} {body}"),
            request,
            status,
            field,
        );
    }

    fn admin_posts(&mut self, path: &str, body: &Value, status: u16, field: Option<&'static str>) {
        let request = self.admin.request(Method::POST, path).json(body);
        self.no(
            &format!("admin: POST {path} {body}"),
            request,
            status,
            field,
        );
    }

    fn alice_gets(&mut self, path: &str, status: u16) {
        let request = self.alice.request(Method::GET, path);
        self.no(&format!("alice: GET {path}"), request, status, None);
    }

    /// Bodies that no endpoint with a body can read.
    fn unreadable(&mut self, person: &Client<'_>, path: &str) {
        let post = || person.request(Method::POST, path);
        let json = |body: Vec<u8>| post().header("content-type", "application/json").body(body);
        let huge = format!(r#"{{"quantity": 1, "padding": "{}"}}"#, "x".repeat(100_000));
        self.no(
            &format!("{path}: half a body"),
            json(b"{\"a\": ".to_vec()),
            400,
            None,
        );
        self.no(&format!("{path}: a list"), json(b"[]".to_vec()), 400, None);
        self.no(
            &format!("{path}: a string"),
            json(b"\"x\"".to_vec()),
            400,
            None,
        );
        self.no(
            &format!("{path}: no text"),
            json(vec![0xff, 0xfe, 0x00]),
            400,
            None,
        );
        self.no(
            &format!("{path}: deep"),
            json("[".repeat(10_000).into_bytes()),
            400,
            None,
        );
        self.no(&format!("{path}: huge"), json(huge.into_bytes()), 413, None);
        let xml = post().header("content-type", "text/xml").body("<a/>");
        // The webhook reads raw bytes, which may be signed, whatever they are called.
        let status = if path == CALLBACK { 400 } else { 415 };
        self.no(&format!("{path}: XML"), xml, status, None);
    }

    fn carts(&mut self) {
        let alice = self.alice.clone();
        for path in ["/api/cart/add", "/api/cart/update"] {
            self.unreadable(&alice, path);
            self.no(
                &format!("{path}: nothing"),
                alice.request(Method::POST, path),
                400,
                Some("product_id"),
            );
            self.alice_posts(path, &json!({}), 400, Some("product_id"));
            self.alice_posts(path, &json!({ "quantity": 1 }), 400, Some("product_id"));
            self.alice_posts(path, &json!({ "product_id": 1 }), 400, Some("quantity"));
            for quantity in [
                json!(0),
                json!(-1),
                json!(1_000),
                json!(i64::MAX),
                json!(1e300),
                json!(1.5),
                json!("two"),
                json!([1]),
            ] {
                let body = json!({ "product_id": 1, "quantity": quantity });
                self.alice_posts(path, &body, 400, Some("quantity"));
            }
            for product in [
                json!(0),
                json!(-1),
                json!("x"),
                json!({}),
                json!(true),
                json!(1.5),
            ] {
                let body = json!({ "product_id": product, "quantity": 1 });
                self.alice_posts(path, &body, 400, Some("product_id"));
            }
            let body = json!({ "product_id": 999_999, "quantity": 1 });
            self.alice_posts(path, &body, 404, Some("product_id"));
        }
        // P004 is in the catalog, but not in her cart.
        self.alice_posts(
            "/api/cart/update",
            &json!({ "product_id": 4, "quantity": 1 }),
            404,
            None,
        );
        self.unreadable(&alice, "/api/cart/remove");
        self.alice_posts("/api/cart/remove", &json!({}), 400, Some("product_id"));
        self.alice_posts(
            "/api/cart/remove",
            &json!({ "product_id": "x" }),
            400,
            Some("product_id"),
        );
        for key in ["", "two words", &"k".repeat(500)] {
            let request = alice
                .request(Method::POST, "/api/cart/add")
                .header("idempotency-key", key);
            let request = request.json(&json!({ "product_id": 1, "quantity": 1 }));
            self.no(
                &format!("key {key:.20?}"),
                request,
                400,
                Some("Idempotency-Key"),
            );
        }
    }

    fn checkouts(&mut self) {
        let path = "/api/checkout";
        let alice = self.alice.clone();
        self.unreadable(&alice, path);
        self.no(
            "checkout of nothing",
            alice.request(Method::POST, path),
            400,
            Some("order_id"),
        );
        for id in [
            "a b",
            "../../etc",
            "a/b",
            "bob.order-1",
            "alice.x.y",
            "ä",
            "%00",
            &"x".repeat(65),
        ] {
            self.alice_posts(path, &json!({ "order_id": id }), 400, Some("order_id"));
        }
        self.alice_posts(path, &json!({ "order_id": 7 }), 400, Some("order_id"));
        self.alice_posts(
            path,
            &json!({ "order_id": "new", "zone": "The Moon" }),
            400,
            Some("zone"),
        );
        let address = "x".repeat(501);
        let body = json!({ "order_id": "new", "shipping_address": address });
        self.alice_posts(path, &body, 400, Some("shipping_address"));
        let body = json!({ "order_id": "new", "expected_total_cents": -1 });
        self.alice_posts(path, &body, 400, Some("expected_total_cents"));
        let body = json!({ "order_id": "new", "expected_total_cents": 1 });
        self.alice_posts(path, &body, 409, None);
        let empty = self
            .bob
            .request(Method::POST, path)
            .json(&json!({ "order_id": "new" }));
        self.no("bob's empty cart", empty, 400, None);
        let homeless = self.shop.person("carol").request(Method::POST, path);
        let homeless = homeless.json(&json!({ "order_id": "new", "zone": "Local" }));
        self.no("nowhere to ship", homeless, 400, Some("shipping_address"));
    }

    async fn callbacks(&mut self) {
        let path = CALLBACK;
        let nobody = self.shop.anonymous();
        let receipt = self.pending.receipt("txn-1").await;
        let with = |name: &str, value: Value| {
            let mut body = receipt.clone();
            body[name] = value;
            body
        };
        let without = |name: &str| {
            let mut body = receipt.clone();
            body.as_object_mut().unwrap().remove(name);
            body
        };
        let post = |body: &Value| nobody.request(Method::POST, path).json(body);
        self.unreadable(&nobody, path);
        self.no(
            "an empty callback",
            nobody.request(Method::POST, path),
            400,
            None,
        );
        for name in ["awakeable_id", "status", "amount", "transaction_id"] {
            self.no(
                &format!("callback without {name}"),
                post(&without(name)),
                400,
                Some(name),
            );
        }
        for (name, value) in [
            ("status", json!("perhaps")),
            ("status", json!(1)),
            ("amount", json!("much")),
            ("amount", json!(1.5)),
            ("transaction_id", json!("two words")),
            ("transaction_id", json!("x".repeat(129))),
            ("awakeable_id", json!(7)),
        ] {
            let request = post(&with(name, value.clone()));
            self.no(
                &format!("callback with {name} {value:.40}"),
                request,
                400,
                Some(name),
            );
        }
        for amount in [0, 1, self.pending.total - 1, self.pending.total + 1] {
            let request = post(&with("amount", json!(amount)));
            self.no(&format!("callback of {amount}"), request, 422, None);
        }
        let unknown = [
            json!("sign_1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            json!("nonsense"),
            json!("' OR 1=1 --"),
        ];
        for id in unknown {
            let request = post(&with("awakeable_id", id.clone()));
            self.no(&format!("callback for {id}"), request, 404, None);
        }
    }

    fn orders(&mut self) {
        let of_alice = self.pending.id.clone();
        let bob = self.bob.clone();
        for path in [
            format!("/api/orders/{of_alice}"),
            format!("/api/orders/{of_alice}/journal"),
            format!("/stream/workflow/{of_alice}"),
        ] {
            let request = bob.request(Method::GET, &path);
            self.no(&format!("bob: GET {path}"), request, 404, None);
            let request = self.shop.anonymous().request(Method::GET, &path);
            self.no(&format!("nobody: GET {path}"), request, 401, None);
        }
        let path = format!("/api/orders/{of_alice}/cancel");
        self.no(
            "bob cancels alice's",
            bob.request(Method::POST, &path).json(&json!({})),
            404,
            None,
        );
        self.no(
            "nobody cancels alice's",
            self.shop.anonymous().request(Method::POST, &path),
            401,
            None,
        );
        self.alice_posts(
            &path,
            &json!({ "reason": "x".repeat(501) }),
            400,
            Some("reason"),
        );
        for id in [
            "alice.nothing",
            "nothing",
            "alice.%2e%2e",
            "%00",
            "%F0%9F%92%A9",
            "a.b.c",
        ] {
            self.alice_gets(&format!("/api/orders/{id}"), 404);
            self.alice_gets(&format!("/api/orders/{id}/journal"), 404);
            self.alice_gets(&format!("/stream/workflow/{id}"), 404);
            self.alice_posts(&format!("/api/orders/{id}/cancel"), &json!({}), 404, None);
        }
        for query in [
            "status=flying",
            "page=0",
            "page=x",
            "page=-1",
            "per_page=0",
            "per_page=100000",
        ] {
            self.alice_gets(&format!("/api/orders?{query}"), 400);
        }
        self.alice_gets(&format!("/api/orders?q={}", "x".repeat(500)), 400);
    }

    fn decisions(&mut self) {
        let path = format!("/api/workflow/{}/approve", self.approvable.id);
        let yes = json!({ "approved": true });
        let admin = self.admin.clone();
        self.alice_posts(&path, &yes, 403, None);
        self.no(
            "nobody approves",
            self.shop
                .anonymous()
                .request(Method::POST, &path)
                .json(&yes),
            401,
            None,
        );
        self.unreadable(&admin, &path);
        self.no(
            "an empty decision",
            admin.request(Method::POST, &path),
            400,
            Some("approved"),
        );
        for approved in [json!("perhaps"), json!(7), json!([true]), json!(null)] {
            let body = json!({ "approved": approved });
            self.admin_posts(&path, &body, 400, Some("approved"));
        }
        let body = json!({ "approved": false, "reason": "x".repeat(501) });
        self.admin_posts(&path, &body, 400, Some("reason"));
        for id in ["alice.nothing", "nothing", "%20", "a.b.c"] {
            self.admin_posts(&format!("/api/workflow/{id}/approve"), &yes, 404, None);
        }
        // Not paid yet: nothing to decide.
        let path = format!("/api/workflow/{}/approve", self.pending.id);
        self.admin_posts(&path, &yes, 409, None);
    }

    fn the_rest(&mut self) {
        for path in [
            "/api/products/999999",
            "/api/products/x",
            "/api/products/-1",
            "/api/products/1.5",
        ] {
            self.alice_gets(path, 404);
        }
        for query in ["page=0", "page=x", "per_page=101"] {
            self.alice_gets(&format!("/api/products?{query}"), 400);
        }
        self.alice_gets("/api/dashboard", 403);
        let restock = "/api/products/1/restock";
        self.alice_posts(restock, &json!({ "quantity": 1 }), 403, None);
        for quantity in [
            json!(0),
            json!(-5),
            json!(1_000_001),
            json!("many"),
            json!(0.5),
        ] {
            self.admin_posts(
                restock,
                &json!({ "quantity": quantity }),
                400,
                Some("quantity"),
            );
        }
        self.admin_posts(restock, &json!({}), 400, Some("quantity"));
        self.admin_posts(
            "/api/products/999999/restock",
            &json!({ "quantity": 1 }),
            404,
            None,
        );
        self.alice_posts(
            "/api/notifications/read",
            &json!({ "up_to": "yesterday" }),
            400,
            Some("up_to"),
        );
        self.alice_gets("/api/notifications?page=x", 400);
        self.alice_gets("/api/nothing", 404);
        self.alice_posts("/api/products", &json!({}), 405, None);
        for path in [
            "/api/cart",
            "/api/orders",
            "/api/notifications",
            "/api/dashboard",
            "/stream/notifications",
        ] {
            let request = self.shop.anonymous().request(Method::GET, path);
            self.no(&format!("nobody: GET {path}"), request, 401, None);
        }
        for name in ["", "a b", "al.ice", &"x".repeat(65), "../x"] {
            let request = self.shop.anonymous().request(Method::GET, "/api/cart");
            let request = request.header("x-user-id", name);
            self.no(
                &format!("X-User-Id {name:.10?}"),
                request,
                400,
                Some("X-User-Id"),
            );
        }
        let nobody = self.shop.anonymous();
        self.unreadable(&nobody, "/login");
        let login = |body: Value| nobody.request(Method::POST, "/login").json(&body);
        self.no(
            "login without a name",
            login(json!({ "password": "x" })),
            400,
            Some("username"),
        );
        self.no(
            "login without a password",
            login(json!({ "username": "x" })),
            400,
            Some("password"),
        );
        self.no(
            "login as a stranger",
            login(json!({ "persona": "zoe" })),
            400,
            Some("persona"),
        );
    }
}

/// Everything that a refused request could have changed.
async fn everything(shop: &Shop) -> Value {
    let state = shop
        .sql("SELECT service_name, service_key, key, value_utf8 FROM state ORDER BY service_name, service_key, key")
        .await;
    let unfinished = shop
        .sql("SELECT target FROM sys_invocation WHERE status <> 'completed' ORDER BY target")
        .await;
    let ledger = shop.whole_ledger().await;
    json!({
        "state": state,
        "unfinished": unfinished,
        "ledger": ledger.story(),
        "products": shop.admin().get("/api/products?per_page=100").await.expect(200)["products"],
        "notifications": shop.admin().get("/api/notifications").await.expect(200),
    })
}

/// The same, once what was sent without waiting has been done.
async fn settled(shop: &Shop) -> Value {
    let mut before = everything(shop).await;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = everything(shop).await;
        if now == before {
            return now;
        }
        before = now;
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    own(&Setup::default(), async |shop| {
        let mut scene = Scene::set(shop).await;
        scene.carts();
        scene.checkouts();
        scene.callbacks().await;
        scene.orders();
        scene.decisions();
        scene.the_rest();
        let before = settled(shop).await;

        let mut wrong = Vec::new();
        for refused in std::mem::take(&mut scene.refused) {
            if let Err(complaint) = try_it(refused).await {
                wrong.push(complaint);
            }
        }
        assert!(
            wrong.is_empty(),
            "{} are not as they should be:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert_eq!(everything(shop).await, before, "something has changed");

        scene.pending.cancel().await;
        shop.admin().reject(&scene.approvable, "a test").await;
        scene.approvable.until("rejected").await;
    });
}

async fn try_it(refused: Refused) -> Result<(), String> {
    let Refused {
        what,
        request,
        status,
        field,
    } = refused;
    let answer = crate::shop::send_anyway(request).await;
    let complain = |about: &str| {
        Err(format!(
            "{what}: {about}, but {} {}: {:.300}",
            answer.status, answer.content_type, answer.text
        ))
    };
    if answer.status != status {
        return complain(&format!("expected {status}"));
    }
    if answer.content_type != "application/problem+json" {
        return complain("expected problem+json");
    }
    let is_text = |name: &str, words: usize| {
        let text = answer.body[name].as_str().unwrap_or_default();
        text.split_whitespace().count() >= words
    };
    if !is_text("title", 1) || !is_text("type", 1) || !is_text("detail", 4) {
        return complain("expected a title, a type and a sentence");
    }
    if let Some(field) = field
        && answer.body["field"] != field
    {
        return complain(&format!("expected the field {field}"));
    }
    Ok(())
}

/// To Datastar each is a 200 with a patch of `#toast`: its client reads no
/// other status.
#[test]
fn to_the_page_a_refusal_is_a_toast() {
    own(&Setup::default(), async |shop| {
        let request = shop.alice().request(Method::POST, "/api/cart/add");
        let request = request
            .header("datastar-request", "true")
            .json(&json!({ "product_id": 1, "quantity": -1 }));
        let answer = send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.content_type, "text/event-stream");
        assert!(answer.text.contains("toast"), "{}", answer.text);
        assert!(answer.text.contains("uantity must be"), "{}", answer.text);
        assert!(shop.alice().in_cart().await.is_empty());
    });
}
