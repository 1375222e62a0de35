//! Words of others, through the front door: what cannot be seen, what turns
//! text around, what has no end. Which fields there are is read from
//! `/openapi.json`, so that a new one is covered the day it is described.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::shop::{Client, Order, SOON, Shop, send, text};
use crate::world::{Setup, eventually, own, shared};

/// What the eye does not see, alone: in a line of text there is nothing.
const INVISIBLE: [&str; 15] = [
    "\u{200B}",
    "\u{2060}",
    "\u{FEFF}",
    "\u{00AD}",
    "\u{3164}",
    "\u{115F}",
    "\u{FFA0}",
    "\u{2800}",
    "\u{180E}",
    "\u{202E}",
    "\u{2066}",
    "\u{200F}",
    "\u{E0041}",
    "\u{FE0F}",
    "\u{200D}\u{200C}",
];
/// Every character of a password counts.
const SECRET: [&str; 3] = ["password", "old_password", "new_password"];

/// A field of text of an endpoint.
#[derive(Debug)]
struct TextField {
    method: Method,
    path: String,
    name: String,
    in_query: bool,
    /// Every field of the body with something that could be meant.
    others: Map<String, Value>,
}

/// Every field of text in the API's own description.
async fn text_fields(shop: &Shop, awakeable: &str, order: &str) -> Vec<TextField> {
    let document = shop.anonymous().get("/openapi.json").await.expect(200);
    let mut fields = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = if path.starts_with("/api/products") {
                "1"
            } else {
                order
            };
            let path = path.replace("{id}", id).replace("{number}", "1");
            let method = method.to_uppercase().parse::<Method>().unwrap();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let empty = Map::new();
            let body = schema["properties"].as_object().unwrap_or(&empty);
            let others: Map<_, _> = body
                .iter()
                .map(|(name, of)| (name.clone(), meant(name, &of["type"], awakeable)))
                .map(|(name, meant)| match (path.as_str(), name.as_str()) {
                    // Here it stands for nothing else.
                    ("/api/catalog/products", "sku") => (name, json!("NEW-1")),
                    _ => (name, meant),
                })
                .collect();
            let of_body = body.iter().map(|(name, of)| (name, of, false));
            let parameters = operation["parameters"].as_array().cloned();
            let query: Vec<_> = parameters
                .unwrap_or_default()
                .into_iter()
                .filter(|parameter| parameter["in"] == "query")
                .map(|parameter| (text(&parameter["name"]).to_owned(), parameter))
                .collect();
            let of_query = query
                .iter()
                .map(|(name, parameter)| (name, &parameter["schema"], true));
            for (name, of, in_query) in of_body.chain(of_query) {
                // What is wrong with one window's is told in that window: the answer
                // is a stream for all of them (`console::streams` tests it).
                if path == "/stream/pages" {
                    continue;
                }
                if of["type"] == "string" && !SECRET.contains(&name.as_str()) {
                    fields.push(TextField {
                        method: method.clone(),
                        path: path.clone(),
                        name: name.clone(),
                        in_query,
                        others: others.clone(),
                    });
                }
            }
        }
    }
    fields
}

/// Something that could be meant by a field.
fn meant(name: &str, kind: &Value, awakeable: &str) -> Value {
    match (name, kind.as_str().unwrap_or_default()) {
        ("status", _) => json!("failed"),
        ("items" | "without" | "damaged" | "missing", _) => {
            json!([{ "sku": "P001", "quantity": 1 }])
        }
        ("awakeable_id", _) => json!(awakeable),
        ("switch", _) => json!("carrier.down"),
        ("value", _) => json!("false"),
        ("zone", _) => json!("Domestic"),
        ("scope", _) => json!("read"),
        ("code", _) => json!("123456"),
        // Left out where it stands for something else.
        ("sku" | "persona" | "up_to" | "process", _) => Value::Null,
        (_, "integer") => json!(1),
        (_, "boolean") => json!(false),
        (_, "object") => json!({}),
        _ => json!("new"),
    }
}

impl TextField {
    fn request(&self, by: &Client<'_>, words: &str) -> reqwest::RequestBuilder {
        if self.in_query {
            let words: String = form_urlencoded::byte_serialize(words.as_bytes()).collect();
            let path = format!("{}?{}={words}", self.path, self.name);
            return by.request(self.method.clone(), &path);
        }
        let request = by.request(self.method.clone(), &self.path);
        let mut body = self.others.clone();
        body.insert(self.name.clone(), json!(words));
        request.json(&body)
    }
}

#[test]
fn no_field_takes_what_has_nothing_to_see() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("seen").await;
        let fields = text_fields(shop, &order.awakeable().await, &order.id).await;
        assert!(fields.len() > 20, "{fields:?}");
        let before = order.json().await;
        let mut wrong = Vec::new();
        for field in &fields {
            for invisible in INVISIBLE {
                for words in [invisible.to_owned(), format!(" {} ", invisible.repeat(9))] {
                    let answer = send(field.request(&shop.admin(), &words)).await;
                    if answer.status != 400 || answer.body["field"] != field.name.as_str() {
                        wrong.push(format!(
                            "{} {} takes {words:?} for {}: {} {:.120}",
                            field.method, field.path, field.name, answer.status, answer.text
                        ));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(order.json().await["version"], before["version"]);
        for header in ["x-user-id", "idempotency-key"] {
            let request = alice.request(Method::POST, "/api/cart/clear");
            let request = if header == "x-user-id" {
                shop.anonymous().request(Method::POST, "/api/cart/clear")
            } else {
                request
            };
            send(request.header(header, "alice\u{200B}"))
                .await
                .refusal(400);
        }
        order.cancel().await;
    });
}

/// What a problem echoes of a request stands between isolates.
#[test]
fn no_refusal_is_turned_around_by_what_it_is_about() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("echoed").await;
        let fields = text_fields(shop, &order.awakeable().await, &order.id).await;
        let mut requests: Vec<_> = fields
            .iter()
            .map(|field| field.request(&shop.admin(), "אבג"))
            .collect();
        let document = shop.anonymous().get("/openapi.json").await.expect(200);
        for path in document["paths"].as_object().unwrap().keys() {
            if path.contains('{') {
                let path = path.replace("{id}", "אבג").replace("{number}", "אבג");
                for method in [Method::GET, Method::POST] {
                    requests.push(shop.admin().request(method, &path).json(&json!({})));
                }
            }
        }
        for path in ["/אבג", "/orders/אבג", "/static/אבג", "/orders?status=אבג"] {
            requests.push(shop.admin().request(Method::GET, path));
        }
        let mut echoed = 0;
        for request in requests {
            let answer = send(request).await;
            if !answer.content_type.starts_with("application/problem+json") {
                continue;
            }
            let detail = text(&answer.body["detail"]);
            let open = detail.replace("\u{2068}אבג\u{2069}", "");
            assert!(!open.contains('א'), "{detail}");
            echoed += usize::from(open != detail);
        }
        assert!(echoed > 2, "only {echoed} problems say what they are about");
        order.cancel().await;
    });
}

#[test]
fn what_people_write_is_kept_as_they_meant_it() {
    shared(async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        for (number, (written, kept)) in [
            (
                "1 Main\u{200B} Str\u{AD}eet\u{202E}\nSpringfield",
                "1 Main Street\nSpringfield",
            ),
            (
                "רחוב הרצל 12\u{202E}, תל אביב",
                "רחוב הרצל 12, תל אביב",
            ),
            (
                "شارع می\u{200C}خواهم 👩🏽\u{200D}🚀 🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
                "شارع می\u{200C}خواهم 👩🏽\u{200D}🚀 🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            alice.add("P001", 1).await;
            let form = json!({
                "order_id": format!("written-{number}"),
                "zone": "Domestic", "shipping_address": written,
            });
            let placed = alice.post("/api/checkout", &form).await.expect(202);
            let order = alice.placed(&placed);
            shop.accept(&order.id);
            assert_eq!(order.json().await["shipping_address"], kept);
            order.pay().await;
            order.until("awaiting_approval").await;

            let reason = format!("not to {written}");
            admin.reject(&order, &reason).await;
            let rejected = order.until("rejected").await;
            let told = text(&rejected["failure_reason"]);
            assert!(!told.contains('\u{202E}'), "{told:?}");
            let one_line = kept.replace('\n', " ");
            let isolated = kept.contains('ر') || kept.contains('ר');
            let words = if isolated {
                format!("\u{2068}not to {one_line}\u{2069}")
            } else {
                format!("not to {one_line}")
            };
            assert_eq!(told, format!("Order canceled by admin (admin): {words}"));

            // Whoever reads it, as a document or as a page, reads our words straight.
            let document = admin.markdown(&format!("/api/orders/{}", order.id)).await;
            assert!(!document.contains('\u{202E}'), "{document:?}");
            let shipped = document.lines().find(|line| line.starts_with("Shipping to")).unwrap();
            let address = if isolated { format!("\u{2068}{one_line}\u{2069}") } else { one_line };
            assert_eq!(shipped, format!("Shipping to {address} (Domestic): $10.00"));
            let page = admin.get(&format!("/orders/{}", order.id)).await.text;
            let first = kept.lines().next().unwrap();
            assert!(page.contains(&format!("<bdi>{first}</bdi>")), "{first}");
        }
    });
}

/// How long an order's story may be in all, however long the words in it.
const SHORT: usize = 16_000;

/// How 200 KB reach an order that waits for its payment.
enum How {
    Resolve(String),
    Reject(String),
    CancelOrder(String),
    PaymentCallback(String),
}

/// Every way past the gateway, and every field of a receipt.
fn ways_of(long: &str) -> Vec<(String, How)> {
    let receipt = json!({ "transaction_id": "", "amount": 0, "status": "failed" });
    let fields = [
        "reason",
        "transaction_id",
        "currency",
        "order_id",
        "awakeable_id",
        "status",
    ];
    let mut ways: Vec<_> = fields
        .into_iter()
        .map(|name| {
            let mut receipt = receipt.clone();
            receipt[name] = json!(long);
            let what = format!("a receipt's {name}");
            (what, How::Resolve(receipt.to_string()))
        })
        .collect();
    let foreign = json!({
        "transaction_id": "txn-foreign", "amount": 1, "status": "success", "currency": long,
    });
    ways.extend([
        (
            "money of another currency".to_owned(),
            How::Resolve(foreign.to_string()),
        ),
        (
            "no receipt".to_owned(),
            How::Resolve(json!(long).to_string()),
        ),
        ("a rejection".to_owned(), How::Reject(long.to_owned())),
        (
            "a cancellation".to_owned(),
            How::CancelOrder(long.to_owned()),
        ),
        (
            "a callback".to_owned(),
            How::PaymentCallback(long.to_owned()),
        ),
    ]);
    ways
}

/// Posts it, and answers the status that the order then ends in.
async fn post_past_the_gateway(order: &Order<'_>, how: &How) -> &'static str {
    let awakeable = order.awakeable().await;
    let session = format!("/restate/call/UserSession/{}", order.by.name);
    let json = "application/json";
    let (path, kind, body, end) = match how {
        How::Resolve(receipt) => (
            format!("/restate/awakeables/{awakeable}/resolve"),
            json,
            receipt.clone(),
            "payment_failed",
        ),
        How::Reject(words) => (
            format!("/restate/awakeables/{awakeable}/reject"),
            "text/plain",
            words.clone(),
            "payment_failed",
        ),
        How::CancelOrder(words) => (
            format!("{session}/CancelOrder"),
            json,
            json!({ "order_id": order.id, "by": words, "reason": words }).to_string(),
            "cancelled",
        ),
        How::PaymentCallback(words) => {
            let receipt = json!({ "awakeable_id": awakeable, "status": "failed", "reason": words });
            (
                format!("{session}/PaymentCallback"),
                json,
                json!({ "order_id": order.id, "receipt": receipt }).to_string(),
                "payment_failed",
            )
        }
    };
    let shop = order.by.shop;
    let answer = match path.strip_prefix("/restate/call/") {
        Some(target) => shop.call_signed(target, body).await,
        None => shop.ingress(&path, kind, body).await,
    };
    assert!(answer.status().is_success(), "{path}: {answer:?}");
    end
}

#[test]
fn two_hundred_kilobytes_stay_in_no_record_and_on_no_page() {
    shared(async |shop| {
        let alice = shop.alice();
        let ways = ways_of(&"x\u{202E}ש".repeat(50_000));
        for (number, (what, how)) in ways.into_iter().enumerate() {
            if alice.in_cart().await.is_empty() {
                alice.add("P002", 1).await;
            }
            let order = alice.checkout(&format!("long-{number}")).await;
            let end = post_past_the_gateway(&order, &how).await;
            let ended = order.until(end).await.to_string();
            assert!(ended.len() < SHORT, "{what}: {}", ended.len());
            let key = format!("checkout:exec:{}", order.id);
            let kept = shop.state("UserSession", &alice.name, &key).await;
            let kept = kept.expect("a record").to_string();
            assert!(kept.len() < SHORT, "{what}: {}", kept.len());
            for told in alice.told_of(&order.id).await {
                assert!(told.chars().count() <= 1_000, "{what}: {}", told.len());
                assert!(!told.contains('\u{202E}'), "{what}: {told:?}");
            }
        }
        for path in ["/", "/orders", "/cart"] {
            let page = alice.get(path).await.text;
            assert!(page.len() < 100_000, "{path} has {} bytes", page.len());
        }
        let listed = alice.get("/api/notifications").await.text;
        assert!(listed.len() < 60_000, "{} bytes", listed.len());
    });
}

/// Waits until somebody is told of exactly these people's acts.
async fn acts_of(who: &Client<'_>, whose: &[&str]) {
    eventually("the acts are told", SOON, async || {
        let told = who.get("/api/notifications").await.expect(200);
        let list = told["notifications"].as_array().unwrap().iter();
        let acts: Vec<_> = list
            .filter(|it| it["order_id"].is_null())
            .map(|it| text(&it["user_id"]))
            .collect();
        if acts == whose {
            Ok(())
        } else {
            Err(told.to_string())
        }
    })
    .await;
}

#[test]
fn admins_are_told_of_orders_and_of_their_own_acts() {
    own(&Setup::default(), async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let order = alice.buy("P001", 1, "told").await;
        alice.add("P002", 1).await;
        admin.add("P003", 2).await;

        // Acts are written down soon after the answer, one after the other: when the
        // later one is there, the others are.
        acts_of(&alice, &["alice", "alice"]).await;
        acts_of(&admin, &["admin"]).await;
        let told = admin.get("/api/notifications").await.expect(200);
        let list = told["notifications"].as_array().unwrap();
        assert!(list.iter().any(|it| it["kind"] == "approval_requested"));
        assert_eq!(told["unread"], list.len(), "{told}");

        // The pane, its count, and the stream say the same.
        let page = admin.get("/").await.text;
        assert_eq!(page.matches("Item added").count(), 1, "{page}");
        let mut stream = admin.stream("/stream/notifications").await;
        stream.until("Admin approval needed").await;
        alice.add("P004", 7).await;
        admin.add("P004", 3).await;
        stream.until("Item added: 3 ×").await;
        let mut heard = stream.events();
        heard.retain(|event| event.data.contains("Item added: 7 ×"));
        assert!(heard.is_empty(), "{heard:?}");

        let read = admin.post("/api/notifications/read", &json!({})).await;
        assert_eq!(read.expect(200)["unread"], 0);
        alice.add("P005", 1).await;
        acts_of(&alice, &["alice"; 4]).await;
        let told = admin.get("/api/notifications").await.expect(200);
        assert_eq!(told["unread"], 0, "what others do is no news: {told}");
        admin.reject(&order, "a test").await;
        order.until("rejected").await;
    });
}

#[test]
fn a_page_past_the_end_leads_to_the_last() {
    own(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        alice.add("P001", 1).await;
        let order = alice.checkout("paged").await;

        // Every page of the navigation: those with a list know its end.
        let mut paged = Vec::new();
        for path in ["/", "/products", "/cart", "/orders", "/admin", "/audit"] {
            let who = if path == "/orders" { &alice } else { &admin };
            let page = who.get(&format!("{path}?page=999")).await;
            assert_eq!(page.status, 200, "{path}");
            for untrue in [
                "The catalog is empty",
                "No order matches",
                "No product matches",
            ] {
                assert!(!page.text.contains(untrue), "{path} says: {untrue}");
            }
            let Some((_, past)) = page.text.split_once("Page 999 is past the end") else {
                continue;
            };
            let (_, link) = past.split_once("href=\"").unwrap();
            let (link, after) = link.split_once('"').unwrap();
            assert!(after.starts_with(">Go to the last page"), "{after:.80}");
            assert!(!page.text.contains("No orders yet"), "{path}");
            let last = who.get(&unescaped(link)).await;
            assert!(!last.text.contains("past the end"), "{link}");
            assert!(
                !last.text.contains("rel=\"next\""),
                "{link} is not the last"
            );
            paged.push(path);
        }
        assert_eq!(paged, ["/products", "/orders", "/admin"]);

        // A filter keeps its place; one that matches nothing can be cleared.
        let filtered = alice
            .get("/orders?status=awaiting_payment&page=9")
            .await
            .text;
        assert!(unescaped(&filtered).contains("\"/orders?status=awaiting_payment&page=1\""));
        for path in [
            "/orders?q=nothinglikeit",
            "/orders?status=delivered&page=3",
            "/admin?q=nothinglikeit",
            "/products?q=nothinglikeit&page=2",
            "/products?category=Nothing",
        ] {
            let page = if path.starts_with("/orders") {
                alice.get(path)
            } else {
                admin.get(path)
            };
            let page = page.await.text;
            assert!(
                page.contains("No order matches") || page.contains("No product matches"),
                "{path}"
            );
            assert!(page.contains(">Show all "), "{path} cannot be cleared");
        }
        // Empty is empty, on every page of nothing.
        for path in ["/orders", "/orders?page=2"] {
            assert!(bob.get(path).await.text.contains("No orders yet"), "{path}");
        }

        // The API: every list that has pages says what there is in all.
        let document = shop.anonymous().get("/openapi.json").await.expect(200);
        let mut lists = 0;
        for (path, operations) in document["paths"].as_object().unwrap() {
            let parameters = operations["get"]["parameters"].as_array();
            if !parameters.is_some_and(|all| all.iter().any(|it| it["name"] == "page")) {
                continue;
            }
            lists += 1;
            let list = admin.get(&format!("{path}?page=999")).await.expect(200);
            assert_eq!(list["page"], 999, "{path}: {list}");
            let rows = list.as_object().unwrap().values().find_map(Value::as_array);
            assert_eq!(rows.map(Vec::len), Some(0), "{path}: {list}");
            let first = admin.get(path).await.expect(200);
            assert_eq!(list["total"], first["total"], "{path}");
            assert!(list["more"] != true, "{path}: {list}");
        }
        assert!(lists >= 4, "{lists} lists have pages");
        let document = alice.markdown("/api/orders?page=9").await;
        assert!(
            document.contains("past the end: [back to the first](/orders)"),
            "{document}"
        );
        order.cancel().await;
    });
}

/// An attribute of a template's, as a browser reads it.
fn unescaped(html: &str) -> String {
    html.replace("&#x2f;", "/").replace("&amp;", "&")
}
