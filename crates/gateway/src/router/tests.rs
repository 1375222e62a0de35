//! The gateway through its front door, while Restate is away: what needs only
//! SQLite works, and everything else says so.

mod authority;

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
use crate::infra::Infra;
use crate::settings::Settings;
use waybill_domain::Timestamp;

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
        seed::demo(&infra.db).await.unwrap();
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
        let answer = self
            .post("/login", &[], &json!({ "persona": persona }))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let cookie = answer.header("set-cookie");
        cookie.split(';').next().unwrap().to_owned()
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
async fn a_persona_signs_in_and_out() {
    let gateway = Subject::demo().await;
    let cookie = gateway.cookie_of("bob").await;
    let with_cookie = [("cookie", cookie.as_str())];
    assert_eq!(
        gateway.get("/api/orders", &with_cookie).await.status,
        StatusCode::OK
    );
    let out = [with_cookie[0], ("sec-fetch-site", "same-origin")];
    let answer = gateway.post("/logout", &out, &json!({})).await;
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    let stranger = gateway
        .post("/login", &[], &json!({ "persona": "zoe" }))
        .await;
    assert_eq!(stranger.kind(400), "invalid");
}

#[tokio::test]
async fn a_form_without_javascript_is_led_on() {
    let gateway = Subject::demo().await;
    let form = |body: &str| {
        ask(
            "POST",
            "/login",
            &[HTML, ("origin", "http://localhost:8080")],
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .unwrap()
    };
    let answer = gateway.send(form("persona=alice&next=%2Fcart")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), "/cart");
    assert!(
        answer
            .header("set-cookie")
            .starts_with("waybill_session=alice.")
    );
    let away = gateway
        .send(form("persona=alice&next=https://evil.example"))
        .await;
    assert_eq!(away.header("location"), "/");
    let wrong = gateway.send(form("username=alice&password=wrong")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.header("content-type").starts_with("text/html"));
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
    let key = "k".repeat(32);
    let gateway = Subject::with(&["--session-key", &key, "--payment-webhook-secret", "s"]).await;
    assert_eq!(
        gateway.get("/api/orders", &[ALICE]).await.kind(401),
        "unauthenticated"
    );
    let persona = gateway
        .post("/login", &[], &json!({ "persona": "alice" }))
        .await;
    assert_eq!(persona.kind(403), "forbidden");
    let proof = json!({ "username": "alice", "password": "alice-demo" });
    let login = gateway.post("/login", &[], &proof).await;
    assert_eq!(login.json(), json!({ "user": "alice", "role": "customer" }));
    let unsigned = gateway.post("/api/payment/callback", &[], &json!({})).await;
    assert_eq!(unsigned.kind(401), "bad_signature");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let key = "k".repeat(32);
    let gateway = Subject::with(&["--session-key", &key, "--payment-webhook-secret", "s"]).await;
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
    let token = crate::identity::token::generate();
    let admin = waybill_domain::ids::Username::parse("admin").unwrap();
    let hash = crate::identity::token::hash(&token);
    crate::storage::users::add_token(&gateway.infra.db, &admin, "test", &hash, Timestamp::now())
        .await
        .unwrap();
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
    takes_body: bool,
}

async fn writes(gateway: &Subject) -> Vec<Write> {
    let api = gateway.get("/openapi.json", &[]).await.json();
    let mut writes = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method != "get" {
                writes.push(Write {
                    method: method.to_uppercase(),
                    path: path.replace("{id}", "alice.1").replace("{sku}", "P001"),
                    takes_body: operation.get("requestBody").is_some(),
                });
            }
        }
    }
    assert!(writes.len() > 15, "{}", writes.len());
    writes
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
    let answer = gateway
        .post("/login", &headers, &json!({ "persona": "alice" }))
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["user"], "alice");
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
        // Who takes no body does not wait for one.
        if write.takes_body {
            assert!(
                answer.starts_with("HTTP/1.1 408 "),
                "{method} {path}: {answer}"
            );
            assert!(answer.contains("urn:waybill:problem:slow_body"), "{answer}");
            slow += 1;
        }
    }
    assert!(slow > 8, "{slow}");
    stop.cancel();
    serving.await.unwrap();
}
