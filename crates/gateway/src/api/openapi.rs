//! `GET /openapi.json`: the API as OpenAPI 3.1. Each route is described where its
//! handler is; what is the same for many is added here.

use std::sync::Arc;

use axum::{Extension, Json};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa::{PartialSchema as _, ToSchema};

use crate::authority::Allow;

/// Every error (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, and never made")]
struct Problem {
    /// Stable: urn:waybill:problem:…
    #[schema(rename = "type")]
    kind: String,
    /// The kind in a few words.
    title: String,
    /// The HTTP status code.
    status: u16,
    /// What happened and what to do.
    detail: String,
    /// The field that was wrong, if it was one.
    #[schema(nullable = false)]
    field: Option<String>,
    /// What the log calls this request; `X-Request-Id` says it, too.
    request_id: String,
}

/// The finished document.
#[derive(Clone)]
pub struct Document(Arc<Value>);

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses(
        (status = 200, description = "OpenAPI 3.1"),
    ),
)]
pub(super) async fn show(Extension(Document(document)): Extension<Document>) -> Json<Arc<Value>> {
    Json(document)
}

/// Writes that take no Idempotency-Key. The provider's callback is recognized by its
/// transaction; signing in, accounts, the demo's switches and an import do nothing twice,
/// but for the secrets that are shown once: those are not kept to be answered again.
const UNKEYED: [&str; 6] = [
    "/api/catalog/import",
    "/api/payment/callback",
    "/login",
    "/login/code",
    "/logout",
    "/password/new",
];
/// The same for all that is below.
const UNKEYED_BELOW: [&str; 3] = ["/api/world/", "/api/account", "/api/people"];
/// Fields of which one set must be there: no single one of them must.
const EITHER: [(&str, &[&[&str]]); 8] = [
    ("/api/catalog/products", &[&["price"], &["price_cents"]]),
    (
        "/api/catalog/products/{sku}",
        &[&["price"], &["price_cents"]],
    ),
    ("/api/catalog/zones", &[&["cost"], &["cost_cents"]]),
    ("/api/catalog/zones/{zone}", &[&["cost"], &["cost_cents"]]),
    ("/api/cart/add", &[&["product_id"], &["sku"]]),
    ("/api/cart/update", &[&["product_id"], &["sku"]]),
    ("/api/cart/remove", &[&["product_id"], &["sku"]]),
    ("/login", &[&["username", "password"], &["persona"]]),
];
/// No text has control characters, but for ends of lines and tabs
/// ([`crate::http::input`]).
const NO_CONTROLS: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";
/// What no form is read at: its sender signs bytes of JSON.
const JSON_ALONE: [&str; 1] = ["/api/payment/callback"];
const NOBODY: (&str, &str) = ("401", "Nobody is signed in");
/// How somebody proves who they are.
const PROOFS: &[&str] = &["session", "token", "demo"];

/// How they who may call a route prove who they are, and how others are refused:
/// status, and why.
fn audience(
    allow: Allow,
) -> (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
) {
    match allow {
        Allow::Anybody | Allow::EachWindow | Allow::Provider => (&[], &[]),
        // A demo gives them to everybody.
        Allow::Operator => (
            &["token", "session"],
            &[NOBODY, ("403", "Only an operator or an admin may see this")],
        ),
        Allow::SettingUp | Allow::Customer | Allow::OwnerOrStaff => (PROOFS, &[NOBODY]),
        Allow::OwnerOrAdmin => (
            PROOFS,
            &[NOBODY, ("403", "Only its customer or an admin may do this")],
        ),
        Allow::Staff => (PROOFS, &[NOBODY, ("403", "Only staff may see this")]),
        Allow::Decider => (
            PROOFS,
            &[
                NOBODY,
                (
                    "403",
                    "Only an approver or an admin may do this, and not with their own order",
                ),
            ],
        ),
        Allow::Admin => (PROOFS, &[NOBODY, ("403", "Only an admin may do this")]),
        Allow::DemoVisitor => (PROOFS, &[NOBODY, ("404", "Not in demo mode")]),
        Allow::DemoAdmin => (
            PROOFS,
            &[
                NOBODY,
                ("403", "Only an admin may do this"),
                ("404", "Not in demo mode"),
            ],
        ),
    }
}

impl Document {
    /// Of what the routes say of themselves: all of them in a demo, elsewhere
    /// those that answer there.
    pub fn of(described: &OpenApi, is_demo: bool) -> Self {
        let mut document = serde_json::to_value(described).unwrap_or_default();
        document["openapi"] = json!("3.1.0");
        document["info"] = json!({
            "title": "Waybill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Order fulfilment that cannot lose an order. Money is integer cents, times are RFC 3339. Every write of somebody who is signed in, but of accounts, takes an Idempotency-Key: the same key again does nothing twice, the same key with another request is 422, and a refusal is not remembered. A field that is blank or null counts as left out; numbers, true and false may be written as text. Text must have something to see and no control characters.",
        });
        document["components"]["schemas"]["Problem"] =
            serde_json::to_value(Problem::schema()).unwrap_or_default();
        document["components"]["securitySchemes"] = json!({
            "session": { "type": "apiKey", "in": "cookie", "name": "waybill_session", "description": "From POST /login." },
            "token": { "type": "http", "scheme": "bearer", "description": "From `gateway token create`." },
            "demo": { "type": "apiKey", "in": "header", "name": "X-User-Id", "description": "In demo mode only." },
        });
        if !is_demo {
            without_demo(&mut document);
        }
        let paths = document["paths"].as_object_mut();
        for (path, methods) in paths.into_iter().flatten() {
            for (method, operation) in methods.as_object_mut().into_iter().flatten() {
                complete(operation, path, method, is_demo);
            }
        }
        without_links(&mut document);
        Self(Arc::new(document))
    }
}

/// Takes out what answers in a demo only.
fn without_demo(document: &mut Value) {
    if let Some(schemes) = document["components"]["securitySchemes"].as_object_mut() {
        schemes.remove("demo");
    }
    if let Some(paths) = document["paths"].as_object_mut() {
        for methods in paths.values_mut().filter_map(Value::as_object_mut) {
            methods.retain(|_, operation| !row(operation).is_some_and(Allow::is_of_a_demo));
        }
        paths.retain(|_, methods| methods.as_object().is_some_and(|all| !all.is_empty()));
    }
}

/// A route's row: the router has put it there.
fn row(operation: &Value) -> Option<Allow> {
    let named = operation["security"][0].as_object()?;
    Allow::parse(named.keys().next()?)
}

/// Adds what follows from a route's path, method, parameters and row.
fn complete(operation: &mut Value, path: &str, method: &str, is_demo: bool) {
    let (schemes, refusals) = row(operation).map_or((&[][..], &[][..]), audience);
    let mut refusals = refusals.to_vec();
    operation["security"] = schemes
        .iter()
        .filter(|name| is_demo || **name != "demo")
        .map(|name| json!({ *name: [] }))
        .collect();
    operation["tags"] = json!([tag(path)]);
    // Handlers of different features have the same names; path and method are enough.
    if let Some(operation) = operation.as_object_mut() {
        operation.remove("operationId");
    }

    let given = operation["parameters"].as_array().cloned();
    let mut given = given.unwrap_or_default();
    if given.iter().any(|parameter| parameter["in"] == "query")
        || !operation["requestBody"].is_null()
    {
        refusals.push(("400", "A field is missing or wrong: `field` names it"));
    }
    // The edge bounds how much one caller may ask (`READS_PER_USER` and the like).
    if tag(path) != "operation" {
        refusals.push(("429", "Too many requests: again after Retry-After"));
    }
    if method != "get" {
        if schemes.contains(&"token") {
            refusals.push(("403", "The API token may only read"));
        }
        refusals.push(("403", "A browser sent it for another site"));
        refusals.push((
            "503",
            "Restate or the services do not answer: try again with the same Idempotency-Key",
        ));
    }
    if method != "get"
        && !UNKEYED.contains(&path)
        && !UNKEYED_BELOW.iter().any(|begin| path.starts_with(begin))
    {
        given.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "1 to 128 visible ASCII characters, remembered for a day once something was done with it.",
            "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
        }));
        refusals.push((
            "422",
            "The Idempotency-Key was used for another request: nothing was done",
        ));
        refusals.push(("400", "The Idempotency-Key cannot be read"));
    }
    let in_path = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    operation["parameters"] = in_path
        .chain(given)
        .map(without_null)
        .map(with_blank)
        .collect();

    if let Some(body) = operation.get_mut("requestBody") {
        let form = &mut body["content"]["application/json"];
        // A field that is left out is not sent as null.
        let properties = form["schema"]["properties"].as_object_mut();
        for (_, property) in properties.into_iter().flatten() {
            *property = without_null(property.take());
            let is_text = property["type"] == "string";
            if is_text && property["pattern"].is_null() && property["format"].is_null() {
                property["pattern"] = json!(NO_CONTROLS);
            }
        }
        let either = EITHER.iter().find(|(at, _)| *at == path);
        if let Some((_, sets)) = either {
            form["schema"]["anyOf"] = sets.iter().map(|set| json!({ "required": set })).collect();
        }
        let form = form.clone();
        let is_needed = either.is_some() || form["schema"]["required"].is_array();
        body["required"] = json!(is_needed);
        if !JSON_ALONE.contains(&path) {
            body["content"]["application/x-www-form-urlencoded"] = form;
        }
    }

    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, what) in refusals {
            responses
                .entry(status)
                .or_insert_with(|| json!({ "description": what }));
        }
        for (status, response) in responses {
            if status.as_str() >= "400" && response["content"].is_null() {
                response["content"] = json!({
                    "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                });
            }
        }
    }
}

/// Comments of the types link to each other: outside they are plain names.
fn without_links(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => {
                        *text = text.replace("[`", "`").replace("`]", "`");
                    }
                    field => without_links(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_links),
        _ => {}
    }
}

/// The feature: `/api/cart/add` is of `cart`.
fn tag(path: &str) -> &str {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("api") => parts.next().unwrap_or("api"),
        Some("stream") => "stream",
        Some("login" | "logout" | "password") => "session",
        _ => "operation",
    }
}

/// A parameter of a query that may be left out may also be there and blank, as
/// forms send it.
fn with_blank(mut parameter: Value) -> Value {
    if parameter["in"] == "query" && parameter["required"] != true {
        parameter["allowEmptyValue"] = json!(true);
    }
    parameter
}

/// The same parameter or property, of one type instead of that or null.
fn without_null(mut of: Value) -> Value {
    for place in ["/type", "/schema/type"] {
        if let Some(kind) = of.pointer_mut(place)
            && let Some(kinds) = kind.as_array()
            && let Some(one) = kinds.iter().find(|kind| **kind != "null")
        {
            *kind = one.clone();
        }
    }
    of
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;
    use serde_json::Map;

    use super::*;
    use crate::router::described;

    fn document() -> Value {
        Document::of(&described(), true).0.as_ref().clone()
    }

    #[test]
    fn outside_a_demo_nothing_is_said_of_one() {
        let document = Document::of(&described(), false).0;
        let text = document.to_string();
        for word in ["X-User-Id", "/api/world/", "visitor"] {
            assert!(!text.contains(word), "{word}");
        }
        let cart = &document["paths"]["/api/cart"]["get"]["security"];
        assert_eq!(*cart, json!([{ "session": [] }, { "token": [] }]));
    }

    #[test]
    fn a_live_stream_is_described_by_its_events() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let streams: Vec<_> = paths
            .keys()
            .filter(|at| at.starts_with("/stream/"))
            .collect();
        assert_eq!(streams.len(), 5);
        for at in streams {
            let said = &paths[at]["get"]["responses"]["200"]["content"]["text/event-stream"];
            assert_eq!(said["schema"]["type"], "array", "{at}");
            let event = &said["schema"]["items"]["$ref"];
            assert_eq!(*event, "#/components/schemas/StreamEvent", "{at}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        assert!(!text.contains("[`"), "a link of a comment");
        assert!(!text.contains("operationId"), "it must be unique");
        for (at, _) in text.match_indices("#/components/schemas/") {
            let name: String = text[at + 21..].chars().take_while(|c| *c != '"').collect();
            assert!(
                document["components"]["schemas"].get(&name).is_some(),
                "{name}"
            );
        }
        assert_eq!(
            document["paths"]["/api/orders/{id}"]["get"]["parameters"][0]["name"],
            "id"
        );
        assert_eq!(
            document["paths"]["/api/dashboard"]["get"]["responses"]["403"]["description"],
            "Only staff may see this"
        );
    }

    #[tokio::test]
    async fn a_problem_is_what_it_is_said_to_be() {
        // The id comes with the answer, where the request is known.
        let problem = crate::http::problem::Problem::invalid("zone", "zone is missing")
            .with("request_id", "0123456789abcdef");
        let body = problem.into_response().into_body().collect().await.unwrap();
        let body: Map<String, Value> = serde_json::from_slice(&body.to_bytes()).unwrap();
        let said: BTreeSet<_> = body.keys().cloned().collect();
        let document = document();
        let schema = &document["components"]["schemas"]["Problem"]["properties"];
        let described: BTreeSet<_> = schema.as_object().unwrap().keys().cloned().collect();
        assert_eq!(said, described);
    }

    #[test]
    fn what_is_common_follows_from_the_route() {
        let document = document();
        let cancel = &document["paths"]["/api/orders/{id}/cancel"]["post"];
        let statuses: Vec<_> = cancel["responses"].as_object().unwrap().keys().collect();
        assert_eq!(
            statuses,
            [
                "202", "400", "401", "403", "404", "409", "422", "429", "503"
            ]
        );
        let content = &cancel["requestBody"]["content"];
        assert_eq!(
            content["application/json"],
            content["application/x-www-form-urlencoded"]
        );
        assert_eq!(
            content["application/json"]["schema"]["properties"]["reason"]["type"],
            "string"
        );
        let open = &document["paths"]["/healthz"]["get"];
        assert_eq!(open["security"], json!([]));
        assert_eq!(open["responses"].as_object().unwrap().len(), 1);
    }
}
