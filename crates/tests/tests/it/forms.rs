//! In which form an answer comes: what `Accept` says, on every address that
//! `/openapi.json` tells of.

use reqwest::{Method, header};
use serde_json::Value;

use crate::shop::{Client, Shop, send};
use crate::world::shared;

const JSON: &str = "application/json";
const MARKDOWN: &str = "text/markdown";
const HTML: &str = "text/html";
const PROBLEM: &str = "application/problem+json";

/// What is accepted, and what comes where JSON and Markdown can be had.
const OF_DOCUMENTS: [(&str, &str); 9] = [
    ("*/*", JSON),
    ("text/markdown", MARKDOWN),
    ("Text/MARKDOWN; charset=UTF-8", MARKDOWN),
    ("text/markdown;q=0", JSON),
    ("text/markdown; q=0.0, */*", JSON),
    ("application/json, text/markdown;q=0.5", JSON),
    ("application/json;q=0.5, text/markdown", MARKDOWN),
    ("text/*, application/json;q=0.9", MARKDOWN),
    ("image/png", JSON),
];

/// The same where a problem can be had, as JSON and as a page.
const OF_PROBLEMS: [(&str, &str); 8] = [
    ("*/*", PROBLEM),
    (
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        HTML,
    ),
    ("TEXT/HTML", HTML),
    ("application/json, text/html;q=0.1", PROBLEM),
    ("text/html;q=0", PROBLEM),
    ("text/html;q=0.1, application/json", PROBLEM),
    ("text/html, application/json;q=0.5", HTML),
    ("application/problem+json", PROBLEM),
];

/// Status and media type.
async fn form(person: &Client<'_>, method: Method, path: &str, accept: &str) -> (u16, String) {
    let request = person.request(method, path).header(header::ACCEPT, accept);
    let answer = send(request).await;
    let kind = answer.content_type.split(';').next().unwrap_or_default();
    (answer.status, kind.to_owned())
}

/// Every address of the API that can be read, with an order and a product of
/// this test in the place of an id.
async fn readable(shop: &Shop, order_id: &str) -> Vec<String> {
    let api: Value = shop.anonymous().get("/openapi.json").await.expect(200);
    let paths = api["paths"].as_object().expect("paths");
    let read = paths.iter().filter(|(path, operations)| {
        operations.get("get").is_some() && !path.starts_with("/stream/")
    });
    read.map(|(path, _)| {
        let id = if path.contains("/products/") {
            shop.product("P001").id.to_string()
        } else {
            order_id.to_owned()
        };
        path.replace("{id}", &id).replace("{sku}", "P001")
    })
    .collect()
}

#[test]
fn every_form_is_negotiated() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "forms").await;
        let admin = shop.admin();
        let mut documents = 0;
        for path in readable(shop, &order.id).await {
            let (status, kind) = form(&admin, Method::GET, &path, MARKDOWN).await;
            assert!(status < 500, "{path}: {status}");
            let expected: &[_] = match kind.as_str() {
                MARKDOWN => &OF_DOCUMENTS,
                PROBLEM => &OF_PROBLEMS,
                // Comes in one form.
                _ => continue,
            };
            documents += usize::from(kind == MARKDOWN);
            for (accept, expected) in expected {
                for method in [Method::GET, Method::HEAD] {
                    let what = format!("{method} {path} as {accept}");
                    let (_, kind) = form(&admin, method, &path, accept).await;
                    assert_eq!(kind, *expected, "{what}");
                }
            }
        }
        assert!(documents >= 6, "only {documents} addresses have a document");
        // A read that is refused, and a write.
        for (method, path) in [
            (Method::GET, "/api/orders/alice.nothing"),
            (Method::POST, "/api/checkout"),
            (Method::DELETE, "/api/products"),
        ] {
            for (accept, expected) in OF_PROBLEMS {
                let (status, kind) = form(&alice, method.clone(), path, accept).await;
                assert!((400..500).contains(&status), "{method} {path}: {status}");
                assert_eq!(kind, expected, "{method} {path} as {accept}");
            }
        }
        admin.reject(&order, "only looked at").await;
    });
}
