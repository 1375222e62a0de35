//! The gateway through its front door, while Restate is away: what needs only
//! SQLite works, and everything else says so.

mod about_orders;
mod about_people;
mod authority;
mod second_factor;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use clap::Parser;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt;

use super::*;
use crate::demo::seed;
use crate::http::input::MAX_BODY;
use crate::identity::password;
use crate::infra::Infra;
use crate::settings::Settings;
use crate::shop::people;
use crate::storage::accounts;
use waybill_domain::Timestamp;
use waybill_domain::account;
use waybill_domain::ids::Username;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

struct Subject {
    infra: Shared,
    router: Router,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The `type` of a problem, after checking that it is a whole one.
    #[track_caller]
    fn kind(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        let kind = problem["type"].as_str().unwrap();
        kind.strip_prefix("urn:waybill:problem:")
            .unwrap()
            .to_owned()
    }
}

impl Subject {
    /// A demo with its data.
    async fn demo() -> Self {
        Self::with(&["--auth-mode", "demo"]).await
    }

    /// The same people, who have to prove who they are.
    async fn with_sessions() -> Self {
        let key = "6f2b9d1ec84a07355be1d20f6a9c83e7";
        Self::with(&["--session-key", key, "--payment-webhook-secret", "s"]).await
    }

    async fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}/waybill.db", folder.path().display());
        let mut arguments = vec![
            "gateway",
            "--database-url",
            &database,
            // Nobody listens on the discard port.
            "--restate-ingress-url",
            "http://127.0.0.1:9",
            "--restate-admin-url",
            "http://127.0.0.1:9",
        ];
        arguments.extend(more);
        let settings = Line::try_parse_from(arguments).unwrap().settings;
        let infra = Infra::open(settings).await.unwrap();
        seed::demo(&infra.db, seed::What::All).await.unwrap();
        Self {
            router: router(super::Gateway::new(Arc::clone(&infra)).unwrap()),
            infra,
            _folder: folder,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(ask("GET", path, headers).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let request = ask("POST", path, headers)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// A demo persona's cookie, as a browser sends it back.
    async fn cookie_of(&self, persona: &str) -> String {
        let (cookie, fingerprint) = self.infra.auth.sessions.generate();
        let now = Timestamp::now();
        self.change(persona, |account| {
            account.sessions.push(account::Session {
                fingerprint,
                created_at: now,
                seen_at: now,
                expires_at: now + Duration::from_mins(1),
                address: String::new(),
                agent: String::new(),
                way: account::Way::Password,
            });
        })
        .await;
        format!("waybill_session={cookie}")
    }

    /// Writes a change of an account down, as if Restate had told it.
    async fn change(&self, name: &str, change: impl FnOnce(&mut account::Account)) {
        let user = Username::parse(name).unwrap();
        let known = accounts::account(&self.infra.db, &user).await.unwrap();
        let mut account = known.unwrap();
        account.version += 1;
        change(&mut account);
        let update = waybill_domain::update::Update::Account(Box::new(account));
        assert!(self.infra.live.apply(update).await.unwrap());
    }
}

fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> axum::http::request::Builder {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:8080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
}

const ALICE: (&str, &str) = ("x-user-id", "alice");
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
const DATASTAR: (&str, &str) = ("datastar-request", "true");

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let gateway = Subject::demo().await;
    assert_eq!(
        gateway.get("/api/nothing", &[]).await.kind(404),
        "not_found"
    );
    let answer = gateway.post("/api/products", &[], &json!({})).await;
    assert_eq!(answer.kind(405), "method_not_allowed");
    assert!(answer.header("allow").contains("GET"));
    assert_eq!(
        gateway.get("/api/orders/%ff", &[ALICE]).await.kind(400),
        "bad_request"
    );
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let gateway = Subject::demo().await;
    for path in ["/api/products", "/api/nothing", "/login"] {
        let answer = gateway.get(path, &[]).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("script-src 'self' 'nonce-"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let first = gateway.get("/api/products", &[]).await;
    let second = gateway.get("/api/products", &[]).await;
    assert_ne!(
        first.header("content-security-policy"),
        second.header("content-security-policy"),
        "a nonce is used once"
    );
}

#[tokio::test]
async fn products_come_as_json_and_as_a_document() {
    let gateway = Subject::demo().await;
    let list = gateway
        .get("/api/products?q=widget&per_page=2&page=1", &[])
        .await
        .json();
    assert_eq!(list["total"], 5);
    assert_eq!(
        (list["page"].clone(), list["per_page"].clone()),
        (1.into(), 2.into())
    );
    assert_eq!(
        list["products"][0],
        json!({
            "id": 1, "sku": "P001", "name": "Widget A", "category": "Widgets",
            "description": "The widget everybody starts with: anodized, 40 mm, fits every base.",
            "price_cents": 2500, "stock_qty": 500
        })
    );
    let document = gateway
        .get("/api/products?q=p001", &[("accept", "text/markdown")])
        .await;
    assert_eq!(
        document.header("content-type"),
        "text/markdown; charset=utf-8"
    );
    assert!(
        document.text.contains("| P001 | Widget A |"),
        "{}",
        document.text
    );
    assert_eq!(
        gateway.get("/api/products/2", &[]).await.json()["sku"],
        "P002"
    );
    for missing in ["999", "x", "-1", "99999999999999999999"] {
        let answer = gateway.get(&format!("/api/products/{missing}"), &[]).await;
        assert_eq!(answer.kind(404), "not_found");
    }
}

#[tokio::test]
async fn who_is_nobody_is_told_how_to_be_somebody() {
    let gateway = Subject::demo().await;
    let answer = gateway.post("/api/cart/add", &[], &json!({})).await;
    assert_eq!(answer.kind(401), "unauthenticated");
    assert!(answer.text.contains("X-User-Id"));
    // A bare load test: no user, no body.
    let bare = ask("POST", "/api/cart/add", &[("content-type", "text/html")]);
    let bare = gateway.send(bare.body(Body::empty()).unwrap()).await;
    assert_eq!(bare.kind(401), "unauthenticated");
    // A page leads to the login, and from there back.
    let page = gateway.get("/api/orders?page=2", &[HTML]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        page.header("location"),
        "/login?next=%2Fapi%2Forders%3Fpage%3D2"
    );
}

#[tokio::test]
async fn a_persona_stays_signed_in_while_restate_is_away() {
    let gateway = Subject::demo().await;
    let cookie = gateway.cookie_of("bob").await;
    let with_cookie = [("cookie", cookie.as_str())];
    let orders = async || gateway.get("/api/orders", &with_cookie).await.status;
    assert_eq!(orders().await, StatusCode::OK);
    // Nobody new signs in, and nobody is told to be signed out who is not.
    let persona = async |name: &str| {
        gateway
            .post("/login", &[], &json!({ "persona": name }))
            .await
    };
    assert_eq!(persona("alice").await.kind(503), "unavailable");
    let out = [with_cookie[0], ("sec-fetch-site", "same-origin")];
    let answer = gateway.post("/logout", &out, &json!({})).await;
    assert_eq!(answer.kind(503), "unavailable");
    assert_eq!(orders().await, StatusCode::OK);
    assert_eq!(persona("zoe").await.kind(400), "invalid");
    // Whoever is not signed in is signed out.
    let answer = gateway.post("/logout", &[], &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
}

#[tokio::test]
async fn a_session_ends_with_its_time_its_account_and_its_role() {
    let gateway = Subject::demo().await;
    let status = async |cookie: &str| {
        let answer = gateway.get("/api/orders", &[("cookie", cookie)]).await;
        answer.status.as_u16()
    };
    let long_ago = Timestamp::now() - Duration::from_hours(3);
    for change in [
        |account: &mut account::Account| account.sessions.clear(),
        |account: &mut account::Account| account.disabled_at = Some(Timestamp::now()),
        |account: &mut account::Account| account.sessions[0].expires_at = Timestamp::now(),
    ] {
        let cookie = gateway.cookie_of("bob").await;
        assert_eq!(status(&cookie).await, 200);
        gateway.change("bob", change).await;
        assert_eq!(status(&cookie).await, 401);
        gateway
            .change("bob", |account| {
                (account.disabled_at, account.sessions) = (None, vec![]);
            })
            .await;
    }
    // Whoever does nothing for two hours, which this gateway has not seen before.
    let cookie = gateway.cookie_of("bob").await;
    gateway
        .change("bob", |account| account.sessions[0].seen_at = long_ago)
        .await;
    assert_eq!(status(&cookie).await, 401);
}

#[tokio::test]
async fn a_form_without_javascript_is_led_on() {
    let gateway = Subject::demo().await;
    let form = |path: &str, body: &str| {
        ask("POST", path, &[HTML, ("origin", "http://localhost:8080")])
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let out = gateway.send(form("/logout", "")).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert_eq!(out.header("location"), "/login");
    let wrong = gateway
        .send(form("/login", "username=alice&password=wrong"))
        .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn the_page_after_a_form_shows_what_was_told_before_it() {
    let gateway = Subject::demo().await;
    let alice = Username::parse("alice").unwrap();
    // The second is told while the writer rests after the first.
    for told in 1..=2 {
        let live = &gateway.infra.live;
        live.note(&alice, "item_added", &format!("Told {told}"), None)
            .await;
        let origin = ("origin", "http://localhost:8080");
        let form = ask("POST", "/logout", &[HTML, origin]);
        let out = gateway.send(form.body(Body::empty()).unwrap()).await;
        assert_eq!(out.status, StatusCode::SEE_OTHER);
        let written: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications")
            .fetch_one(&gateway.infra.db.read)
            .await
            .unwrap();
        assert_eq!(written, told);
    }
}

#[tokio::test]
async fn datastar_reads_problems_from_a_200() {
    let gateway = Subject::demo().await;
    let answer = gateway
        .post(
            "/api/cart/add",
            &[ALICE, DATASTAR],
            &json!({ "product_id": 1 }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert!(
        answer.text.contains("is missing: send it in the body"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn other_sites_cannot_write() {
    let gateway = Subject::demo().await;
    let cookie = gateway.cookie_of("alice").await;
    for from in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ] {
        let headers = [("cookie", cookie.as_str()), from];
        let answer = gateway.post("/api/cart/clear", &headers, &json!({})).await;
        assert_eq!(answer.kind(403), "forbidden");
    }
    let bare = [("cookie", cookie.as_str())];
    let answer = gateway.post("/api/cart/clear", &bare, &json!({})).await;
    assert_eq!(answer.kind(403), "forbidden");
}

#[tokio::test]
async fn outside_a_demo_a_name_proves_nothing() {
    let gateway = Subject::with_sessions().await;
    assert_eq!(
        gateway.get("/api/orders", &[ALICE]).await.kind(401),
        "unauthenticated"
    );
    let persona = gateway
        .post("/login", &[], &json!({ "persona": "alice" }))
        .await;
    assert_eq!(persona.kind(403), "forbidden");
    // Everybody knows it, so it proves nothing either.
    let known = json!({ "username": "alice", "password": "alice-demo" });
    let login = gateway.post("/login", &[], &known).await;
    assert_eq!(login.kind(401), "wrong_credentials");
    let hash = password::hash("her own words", None).unwrap();
    sqlx::query("UPDATE users SET password_hash = ? WHERE username = 'alice'")
        .bind(hash)
        .execute(&gateway.infra.db.write)
        .await
        .unwrap();
    let proof = json!({ "username": "alice", "password": "her own words" });
    // Right, and nobody new signs in while Restate is away.
    let login = gateway.post("/login", &[], &proof).await;
    assert_eq!(login.kind(503), "unavailable");
    let unsigned = gateway.post("/api/payment/callback", &[], &json!({})).await;
    assert_eq!(unsigned.kind(401), "bad_signature");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let gateway = Subject::with_sessions().await;
    let guess = json!({ "username": "alice", "password": "guess" });
    for _ in 0..5 {
        let answer = gateway.post("/login", &[], &guess).await;
        assert_eq!(answer.kind(401), "wrong_credentials");
    }
    let answer = gateway.post("/login", &[], &guess).await;
    assert_eq!(answer.kind(429), "too_many_tries");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn an_api_token_is_as_good_as_its_user() {
    let gateway = Subject::demo().await;
    let (kept, token) = people::new_token("test".to_owned(), account::Scope::Full, None);
    let add = |account: &mut account::Account| account.tokens.push(kept);
    gateway.change("admin", add).await;
    let bearer = format!("Bearer {token}");
    let answer = gateway
        .get("/api/orders", &[("authorization", &bearer)])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = gateway
        .get("/api/orders", &[ALICE, ("authorization", "Bearer wrong")])
        .await;
    assert_eq!(answer.kind(401), "unauthenticated");
}

#[tokio::test]
async fn bad_input_is_refused_before_restate_is_asked() {
    let gateway = Subject::demo().await;
    for (path, body, status, field) in [
        ("/api/cart/add", json!({}), 400, "product_id"),
        (
            "/api/cart/add",
            json!({ "product_id": 1, "quantity": 1000 }),
            400,
            "quantity",
        ),
        (
            "/api/cart/add",
            json!({ "product_id": 77, "quantity": 1 }),
            404,
            "product_id",
        ),
        (
            "/api/cart/add",
            json!({ "sku": "NONE", "quantity": 1 }),
            404,
            "sku",
        ),
        ("/api/checkout", json!({}), 400, "order_id"),
        (
            "/api/checkout",
            json!({ "order_id": "bob.1" }),
            400,
            "order_id",
        ),
        (
            "/api/checkout",
            json!({ "order_id": "1", "zone": "Moon" }),
            400,
            "zone",
        ),
        ("/api/payment/callback", json!({}), 400, "awakeable_id"),
    ] {
        let answer = gateway.post(path, &[ALICE], &body).await;
        answer.kind(status);
        assert_eq!(answer.json()["field"], field, "{path} {body}");
    }
    let large = ask("POST", "/api/cart/add", &[ALICE])
        .header("content-type", "application/json")
        .body(Body::from(vec![b' '; MAX_BODY + 1]))
        .unwrap();
    assert_eq!(gateway.send(large).await.kind(413), "body_too_large");
}

#[tokio::test]
async fn a_zone_that_does_not_exist_is_answered_with_those_that_do() {
    let gateway = Subject::demo().await;
    let body = json!({ "order_id": "1", "zone": "Moon" });
    let answer = gateway.post("/api/checkout", &[ALICE], &body).await;
    assert_eq!(
        answer.json()["detail"],
        "there is no zone Moon: use one of Local, Domestic, Continental, International"
    );
}

#[tokio::test]
async fn what_needs_restate_says_that_it_is_away() {
    let gateway = Subject::demo().await;
    let item = json!({ "product_id": 1, "quantity": 1 });
    let answer = gateway.post("/api/cart/add", &[ALICE], &item).await;
    assert_eq!(answer.kind(503), "unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert!(!answer.text.contains("127.0.0.1"), "{}", answer.text);
    // It may be in Restate: nobody can tell.
    let receipt = json!({
        "awakeable_id": "sign_1", "transaction_id": "t", "amount": 1, "status": "success"
    });
    let answer = gateway.post("/api/payment/callback", &[], &receipt).await;
    assert_eq!(answer.kind(503), "unavailable");
    let answer = gateway.get("/api/orders/alice.1", &[ALICE]).await;
    assert_eq!(answer.kind(503), "unavailable");
    // Somebody else's is not there, whatever Restate says.
    let answer = gateway.get("/api/orders/bob.1", &[ALICE]).await;
    assert_eq!(answer.kind(404), "not_found");
}

#[tokio::test]
async fn answers_are_compressed_but_streams_are_not() {
    let gateway = Subject::demo().await;
    for encoding in ["gzip", "br"] {
        let request = ask("GET", "/api/products", &[("accept-encoding", encoding)]);
        let response = gateway
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.headers()[header::CONTENT_ENCODING], encoding);
    }
    let stream = gateway
        .post(
            "/api/cart/add",
            &[ALICE, DATASTAR, ("accept-encoding", "gzip, br")],
            &json!({}),
        )
        .await;
    assert_eq!(stream.header("content-encoding"), "");
}

/// A write that `/openapi.json` tells of, with something in the place of each id.
struct Write {
    method: String,
    path: String,
}

async fn writes(gateway: &Subject) -> Vec<Write> {
    let api = gateway.get("/openapi.json", &[]).await.json();
    let mut writes = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if method != "get" {
                writes.push(Write {
                    method: method.to_uppercase(),
                    path: path.replace("{id}", "alice.1").replace("{sku}", "P001"),
                });
            }
        }
    }
    assert!(writes.len() > 15, "{}", writes.len());
    writes
}

/// Outside of a demo only who knows `INTERNAL_TOKEN` sees figures and addresses.
#[tokio::test]
async fn only_operators_are_told_what_is_inside() {
    let session = [
        "--auth-mode",
        "session",
        "--session-key",
        "0123456789abcdef0123456789abcdef",
        "--payment-webhook-secret",
        "secret",
    ];
    let shop = Subject::with(&[&session[..], &["--internal-token", "token"]].concat()).await;
    let token = [("authorization", "Bearer token")];

    assert_eq!(shop.get("/metrics", &[]).await.status, 401);
    let wrong = [("authorization", "Bearer tokem")];
    assert_eq!(shop.get("/metrics", &wrong).await.status, 401);
    let figures = shop.get("/metrics", &token).await;
    assert_eq!(figures.status, 200);
    assert!(figures.text.ends_with("# EOF\n"), "{}", figures.text);

    let brief = shop.get("/readyz", &[]).await;
    assert_eq!(brief.status, 503);
    assert_eq!(
        brief.json(),
        json!({
            "ready": false,
            "restate": "down",
            "services": "down",
            "stock": "down",
            "database": "ok",
        })
    );
    let whole = shop.get("/readyz", &token).await.json();
    assert!(
        whole["restate"].as_str().unwrap().contains("127.0.0.1:9"),
        "{whole}"
    );

    // Without a token nobody is an operator, but in a demo.
    let tokenless = Subject::with(&session).await;
    assert_eq!(tokenless.get("/metrics", &token).await.status, 401);
    let demo = Subject::demo().await;
    assert_eq!(demo.get("/metrics", &[]).await.status, 200);
    let told = demo.get("/readyz", &[]).await.json();
    assert!(told["restate"].is_string(), "{told}");
}

#[tokio::test]
async fn encoded_bodies_are_refused_everywhere() {
    let gateway = Subject::demo().await;
    let send = async |method: &str, path: &str, coding: &str| {
        let request = ask(
            method,
            path,
            &[("x-user-id", "admin"), ("content-encoding", coding)],
        )
        .header("content-type", "application/json")
        .body(Body::from("{}"))
        .unwrap();
        gateway.send(request).await
    };
    for Write { method, path, .. } in writes(&gateway).await {
        for coding in ["gzip", "GZIP", "br", "identity, gzip", "zstd"] {
            let answer = send(&method, &path, coding).await;
            assert_eq!(
                answer.kind(415),
                "unsupported_content_encoding",
                "{method} {path} {coding}"
            );
            assert_eq!(answer.header("accept-encoding"), "identity", "{path}");
        }
        let answer = send(&method, &path, "identity").await;
        assert_ne!(answer.status.as_u16(), 415, "{method} {path}");
    }
    // In whatever form it is said.
    for form in [HTML, DATASTAR] {
        let request = ask(
            "POST",
            "/api/cart/add",
            &[ALICE, form, ("content-encoding", "gzip")],
        )
        .body(Body::from("{}"))
        .unwrap();
        let answer = gateway.send(request).await;
        assert_eq!(answer.header("accept-encoding"), "identity");
        assert!(
            answer.text.contains("without a Content-Encoding"),
            "{}",
            answer.text
        );
    }
}

/// Everything under `/static`, and something of every other kind.
async fn files(gateway: &Subject) -> Vec<String> {
    let page = gateway.get("/login", &[HTML]).await.text;
    let mut files: Vec<_> = page
        .split('"')
        .filter(|part| part.starts_with("/static/"))
        .map(str::to_owned)
        .collect();
    files.extend(["/static/app.css", "/favicon.ico"].map(str::to_owned));
    assert!(files.len() >= 4, "{files:?}");
    files
}

#[tokio::test]
async fn what_is_compressed_is_what_may_be() {
    let gateway = Subject::demo().await;
    let mut paths = files(&gateway).await;
    paths.extend(["/api/products", "/openapi.json", "/login"].map(str::to_owned));
    for path in paths {
        for (accepted, expected) in [
            ("", ""),
            ("identity", ""),
            ("gzip", "gzip"),
            ("GZip", "gzip"),
            ("gzip;q=0", ""),
            ("gzip;q=0.000", ""),
            ("gzip; q=0, br;q=0", ""),
            ("gzip;q=0, br", "br"),
            ("br;q=0.1, gzip", "gzip"),
            ("gzip, *;q=0", "gzip"),
            ("xgzip, gzipx", ""),
            // Nothing of ours may be: it comes as it is.
            ("*;q=0", ""),
            ("identity;q=0, gzip;q=0", ""),
            ("deflate, identity;q=0", ""),
        ] {
            let request = ask("GET", &path, &[("accept-encoding", accepted)]);
            let request = request.body(Body::empty()).unwrap();
            let answer = gateway.router.clone().oneshot(request).await.unwrap();
            let coding = answer.headers().get(header::CONTENT_ENCODING);
            let coding = coding.map_or("", |coding| coding.to_str().unwrap());
            assert_eq!(coding, expected, "{path} with {accepted:?}");
            assert_eq!(answer.status(), StatusCode::OK, "{path} with {accepted:?}");
            let vary = answer.headers().get_all(header::VARY);
            let vary = vary.iter().map(|value| value.to_str().unwrap());
            assert!(
                vary.flat_map(|value| value.split(", "))
                    .any(|name| name == "accept-encoding"),
                "{path} with {accepted:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_write_that_is_done_is_never_said_to_be_unacceptable() {
    let gateway = Subject::demo().await;
    let headers = [("accept-encoding", "*;q=0"), ("accept", "image/png")];
    let answer = gateway.post("/logout", &headers, &json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json(), json!({ "user": null }));
}

#[tokio::test]
async fn who_has_a_file_already_is_told_so() {
    let gateway = Subject::demo().await;
    for path in files(&gateway).await {
        let fresh = gateway.get(&path, &[]).await;
        let tag = fresh.header("etag").to_owned();
        let bare = tag.trim_start_matches("W/").to_owned();
        for known in [
            tag.clone(),
            bare.clone(),
            format!("W/{bare}"),
            "*".to_owned(),
            format!("\"other\", {tag}"),
            format!("{bare},W/\"a,b\""),
            format!("\"x\" ,\t{bare} , \"y\""),
        ] {
            for method in ["GET", "HEAD"] {
                let request = ask(method, &path, &[("if-none-match", &known)]);
                let answer = gateway.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.status.as_u16(), 304, "{method} {path} {known}");
                assert_eq!(answer.text, "", "{method} {path} {known}");
                assert_eq!(answer.header("etag"), tag);
                assert_eq!(
                    answer.header("cache-control"),
                    fresh.header("cache-control")
                );
            }
        }
        for unknown in ["\"other\"", "W/\"other\", \"more\"", "other", "\"*\""] {
            let answer = gateway.get(&path, &[("if-none-match", unknown)]).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {unknown}");
        }
    }
}

#[tokio::test]
async fn styles_and_scripts_are_small() {
    let gateway = Subject::demo().await;
    let mut sum = 0;
    for name in [
        "app.css",
        "app.js",
        "icons.svg",
        "windows.js",
        "vendor/datastar.js",
    ] {
        let path = format!("/static/{name}");
        let request = ask("GET", &path, &[("accept-encoding", "gzip")]);
        let answer = gateway
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await;
        let answer = answer.unwrap();
        // The client is not in every build: a set-up script fetches it.
        if answer.status() == StatusCode::OK {
            sum += answer.into_body().collect().await.unwrap().to_bytes().len();
        }
    }
    assert!(sum > 10_000, "{sum} bytes are not all of them");
    assert!(
        sum < 40_000,
        "{sum} bytes leave too little for the HTML of a page of 100 KB"
    );
}

/// A body that never comes whole is no caller's way to keep something of ours.
#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408_everywhere() {
    let gateway = Subject::demo().await;
    let limits = process::http::Limits {
        body: Some(Duration::from_millis(400)),
        ..process::http::Limits::STRANGERS
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let server = process::http::Server::new(limits);
    let (router, stopping) = (gateway.router.clone(), stop.clone());
    let serving = tokio::spawn(async move { server.serve(listener, router, stopping).await });
    let half = async |write: Write| {
        let Write { method, path, .. } = &write;
        let mut line = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:8080\r\nX-User-Id: admin\r\n\
             Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{\"half\":"
        );
        line.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = line.read_to_string(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), read).await;
        ended
            .unwrap_or_else(|_| panic!("{method} {path} waits for ever"))
            .unwrap();
        (write, answer)
    };
    let halves = writes(&gateway).await.into_iter().map(half);
    let mut slow = 0;
    for (write, answer) in futures::future::join_all(halves).await {
        let Write { method, path, .. } = &write;
        assert!(answer.starts_with("HTTP/1.1 "), "{method} {path}: {answer}");
        // Also who takes none.
        assert!(
            answer.starts_with("HTTP/1.1 408 "),
            "{method} {path}: {answer}"
        );
        assert!(answer.contains("urn:waybill:problem:slow_body"), "{answer}");
        slow += 1;
    }
    assert!(slow > 15, "{slow}");
    stop.cancel();
    serving.await.unwrap();
}

/// What is logged while it is there.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines since the last time that it was asked.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// Every route, asked by nobody and by a customer, with nothing and with nonsense, in
/// every form: whatever goes wrong has an id, which its lines in the log have, too.
/// And no line has what stands behind a `?`.
#[tokio::test]
async fn every_error_has_an_id_that_the_log_has_and_no_line_has_a_query() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let gateway = Subject::demo().await;
    let api = gateway.get("/openapi.json", &[]).await.json();
    let mut asked = vec![
        ("GET".to_owned(), "/api/nothing".to_owned()),
        ("PATCH".to_owned(), "/api/products".to_owned()),
        ("GET".to_owned(), "/api/orders/%ff".to_owned()),
        ("GET".to_owned(), "/orders/alice.1".to_owned()),
    ];
    for (path, methods) in api["paths"].as_object().unwrap() {
        if path.starts_with("/stream/") {
            continue;
        }
        let path = path
            .replace("{id}", "alice.1")
            .replace("{sku}", "P001")
            .replace("{number}", "1");
        let methods = methods.as_object().unwrap().keys();
        asked.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    let forms = [
        ("accept", "application/json"),
        HTML,
        DATASTAR,
        ("accept", "text/markdown"),
    ];
    let (mut seen, mut ids) = (
        std::collections::BTreeMap::new(),
        std::collections::BTreeSet::new(),
    );
    for (method, path) in &asked {
        for form in forms {
            for who in [&[form][..], &[form, ALICE]] {
                for body in ["", "{"] {
                    lines.take();
                    let uri = format!("{path}?secret=pa55word");
                    let mut headers = who.to_vec();
                    // Not believed, or two requests could have the same.
                    headers.push(("x-request-id", "mine"));
                    headers.push(("content-type", "application/json"));
                    let request = ask(method, &uri, &headers).body(Body::from(body)).unwrap();
                    let answer = gateway.send(request).await;
                    let said = lines.take();
                    let what = format!("{method} {path} {form:?} {said}");
                    assert!(!said.contains("pa55word"), "{what}");
                    let id = answer.header("x-request-id").to_owned();
                    assert!(id.len() == 16 && ids.insert(id.clone()), "{what}: {id}");
                    let problem = answer.header("content-type") == "application/problem+json";
                    if problem {
                        assert_eq!(answer.json()["request_id"], id.as_str(), "{what}");
                    }
                    let status = answer.status.as_u16();
                    if status < 400 {
                        continue;
                    }
                    *seen.entry(status).or_insert(0) += 1;
                    let is_page = answer.header("content-type").starts_with("text/html");
                    assert!(
                        problem || is_page || path == "/readyz",
                        "{what}: {}",
                        answer.text
                    );
                    if is_page && !path.starts_with("/login") {
                        assert!(answer.text.contains(&id), "{what}: {}", answer.text);
                    }
                    let is_probe = ["/healthz", "/readyz", "/metrics"].contains(&path.as_str());
                    assert!(is_probe || said.contains(&id), "{what}");
                    // A demo's scenario may ask meanwhile.
                    let own = format!(" http.path=\"{path}\" request.id=");
                    for line in said.lines().filter(|line| line.contains("problem.kind")) {
                        assert!(!line.contains(&own) || line.contains(&id), "{what}");
                    }
                }
            }
        }
    }
    for status in [400, 401, 403, 404, 405, 503] {
        assert!(
            seen.contains_key(&status),
            "no answer was {status}: {seen:?}"
        );
    }
}
/// A body of 13 MiB is refused by whoever it is sent to, also where none is taken, and
/// where files are.
#[tokio::test]
async fn a_large_body_is_refused_everywhere() {
    let gateway = Subject::demo().await;
    let large = axum::body::Bytes::from(vec![b' '; 13 * 1024 * 1024]);
    for Write { method, path, .. } in writes(&gateway).await {
        for kind in ["application/json", "text/plain"] {
            let request = ask(&method, &path, &[("x-user-id", "admin")])
                .header("content-type", kind)
                .body(Body::from(large.clone()))
                .unwrap();
            let answer = gateway.send(request).await;
            assert_eq!(answer.kind(413), "body_too_large", "{method} {path} {kind}");
        }
    }
    let read = ask("GET", "/api/cart", &[ALICE]).body(Body::from(large));
    let answer = gateway.send(read.unwrap()).await;
    assert_eq!(answer.kind(413), "body_too_large");
}

impl Subject {
    /// As a request that has come over the network.
    async fn from(
        &self,
        peer: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = process::http::Peer(format!("{peer}:4711").parse().unwrap());
        let request = request
            .header("content-type", "application/json")
            .extension(peer)
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }
}

const HOST: (&str, &str) = ("host", "127.0.0.1:8080");

#[tokio::test]
async fn by_another_name_nothing_is_served_also_in_a_demo() {
    let gateway = Subject::demo().await;
    let api = gateway.get("/openapi.json", &[]).await.json();
    let paths = api["paths"].as_object().unwrap().keys();
    for path in paths.map(String::as_str).chain(["/", "/login", "/cart"]) {
        let path = path.replace("{id}", "alice.1").replace("{number}", "1");
        let evil = [("host", "evil.example"), ("x-user-id", "admin")];
        let answer = gateway
            .from("127.0.0.1", "GET", &path, &evil, &json!({}))
            .await;
        assert_eq!(answer.status.as_u16(), 421, "{path}");
    }
    let two = [HOST, HOST, ALICE];
    let answer = gateway
        .from("127.0.0.1", "GET", "/api/orders", &two, &json!({}))
        .await;
    assert_eq!(answer.kind(400), "bad_host");
    let fine = [HOST, ALICE];
    let answer = gateway
        .from("127.0.0.1", "GET", "/api/orders", &fine, &json!({}))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.header("strict-transport-security"), "");
}

/// A shop that the internet reaches through a proxy at 10.0.0.1.
async fn shop(more: &[&str]) -> Subject {
    let settings = [
        "--auth-mode",
        "session",
        "--session-key",
        "0123456789abcdef0123456789abcdef",
        "--payment-webhook-secret",
        "secret",
        "--public-url",
        "https://shop.example",
        "--trusted-proxies",
        "10.0.0.1",
    ];
    Subject::with(&[&settings[..], more].concat()).await
}

const SHOP: (&str, &str) = ("host", "shop.example");
const OWN: (&str, &str) = ("origin", "https://shop.example");

impl Subject {
    /// Through the proxy, of somebody at `address`.
    async fn through(&self, address: &str, path: &str, body: Option<&Value>) -> Answer {
        let headers = [SHOP, OWN, ("x-forwarded-for", address)];
        let method = body.map_or("GET", |_| "POST");
        let body = body.cloned().unwrap_or_default();
        self.from("10.0.0.1", method, path, &headers, &body).await
    }
}

#[tokio::test]
async fn a_shop_with_a_name_has_it_to_itself() {
    let gateway = shop(&[]).await;
    let proof = json!({ "username": "alice", "password": "alice-demo" });
    let answer = gateway
        .through("192.0.2.1", "/logout", Some(&json!({})))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let set = answer.header("set-cookie").to_owned();
    assert!(set.starts_with("__Host-waybill_session="), "{set}");
    assert!(set.contains("; Secure") && set.contains("Path=/") && !set.contains("Domain"));
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000"
    );
    let cookie = &format!("__Host-{}", gateway.cookie_of("alice").await);
    let status = async |cookie: &str| {
        let headers = [SHOP, ("cookie", cookie)];
        let path = "/api/orders";
        let body = json!({});
        let answer = gateway.from("10.0.0.1", "GET", path, &headers, &body);
        answer.await.status.as_u16()
    };
    assert_eq!(status(cookie).await, 200);
    // Its plain name is what another site below the same domain can set.
    let plain = cookie.replace("__Host-", "");
    assert_eq!(status(&plain).await, 401);
    assert_eq!(status(&format!("{plain}; {cookie}")).await, 200);
    let tossed = format!("{cookie}; __Host-waybill_session=bob.1.x.y");
    assert_eq!(status(&tossed).await, 401);
    // Pages over plain HTTP are not its own.
    let foreign = [SHOP, ("origin", "http://shop.example")];
    let answer = gateway.from("10.0.0.1", "POST", "/login", &foreign, &proof);
    assert_eq!(answer.await.kind(403), "forbidden");
    let body = json!({});
    let probe = gateway.from("127.0.0.1", "GET", "/healthz", &[HOST], &body);
    assert_eq!(probe.await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_guesses_elsewhere_locks_nobody_out() {
    let gateway = shop(&[]).await;
    let hash = password::hash("her own words", None).unwrap();
    let set = |account: &mut account::Account| account.password_hash = Some(hash);
    gateway.change("alice", set).await;
    // Right, and nobody new signs in while Restate is away.
    let right = 503;
    let try_in = async |address: &str, name: &str, password: &str| {
        let proof = json!({ "username": name, "password": password });
        let answer = gateway.through(address, "/login", Some(&proof)).await;
        answer.status.as_u16()
    };
    assert_eq!(try_in("192.0.2.1", "alice", "her own words").await, right);
    let mut refused = 0;
    for n in 0..40 {
        let address = format!("198.51.100.{}", n / 10);
        refused += i32::from(try_in(&address, "alice", "guess").await == 429);
    }
    assert_eq!(refused, 20);
    assert_eq!(try_in("192.0.2.1", "alice", "her own words").await, right);
    assert_eq!(try_in("203.0.113.9", "alice", "her own words").await, right);
    // Whoever is no trusted proxy speaks for nobody but themselves.
    let proof = json!({ "username": "bob", "password": "guess" });
    let mut last = 0;
    for n in 0..6 {
        let made_up = format!("203.0.113.{n}");
        let headers = [SHOP, OWN, ("x-forwarded-for", made_up.as_str())];
        let answer = gateway.from("192.0.2.77", "POST", "/login", &headers, &proof);
        last = answer.await.status.as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn names_that_can_be_nobodys_cost_no_hashing_and_count() {
    let gateway = shop(&[]).await;
    let mut told = std::collections::BTreeMap::<u16, u32>::new();
    for n in 0..60 {
        let name = format!("no such: name {n}!");
        let proof = json!({ "username": name, "password": "x" });
        let answer = gateway.through("192.0.2.1", "/login", Some(&proof)).await;
        *told.entry(answer.status.as_u16()).or_default() += 1;
    }
    assert_eq!(told, [(401, 20), (429, 40)].into());
}

#[tokio::test]
async fn who_asks_too_fast_is_told_to_wait_and_others_are_not() {
    let gateway = shop(&["--writes-per-address", "1", "--reads-per-address", "2"]).await;
    let mut refused = 0;
    for _ in 0..30 {
        let answer = gateway.through("192.0.2.1", "/api/products", None).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.kind(429), "too_many_requests");
            assert!(!answer.header("retry-after").is_empty());
            refused += 1;
        }
    }
    assert!(refused > 5, "{refused}");
    let other = gateway.through("192.0.2.2", "/api/products", None).await;
    assert_eq!(other.status, StatusCode::OK);
    let metrics = gateway.infra.metrics.encode().unwrap();
    let line = format!("waybill_gateway_requests_refused_total{{by=\"address\"}} {refused}");
    assert!(metrics.contains(&line), "{metrics}");
    // A probe is asked by a machine, as often as it likes.
    for _ in 0..99 {
        let answer = gateway.through("192.0.2.1", "/healthz", None).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_user_who_asks_too_fast_waits_wherever_they_are() {
    let gateway = shop(&["--reads-per-user", "1"]).await;
    let cookie = &format!("__Host-{}", gateway.cookie_of("alice").await);
    let mut refused = 0;
    for n in 0..20 {
        let address = format!("192.0.2.{n}");
        let headers = [SHOP, ("cookie", cookie), ("x-forwarded-for", &address)];
        let body = json!({});
        let answer = gateway.from("10.0.0.1", "GET", "/api/orders", &headers, &body);
        let answer = answer.await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.kind(429), "too_many_requests");
            refused += 1;
        }
    }
    assert!(refused > 5, "{refused}");
}
