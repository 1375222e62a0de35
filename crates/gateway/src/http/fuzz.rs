//! Requests that are wrong in every way. [`check_fields`] is for whatever takes
//! [`Fields`]: one line of [`fields`](macro@fields) beside each.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::http::{HeaderMap, HeaderValue, Request, Uri, header};
use futures::FutureExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use waybill_domain::idempotency::Once;
use waybill_domain::ids::Username;
use waybill_domain::words;

use fuzz::check;
use fuzz::input::{bytes, long_text, mistaken, text};

use super::idempotency::IdempotencyKey;
use super::input::{Fields, FromFields};
use super::negotiation::{RequestContext, ResponseFormat, local_path};
use super::pagination::{Page, Pagination};
use super::problem::Problem;
use super::session_cookie::{self, SessionCookie};

/// `fields!(fuzz_change: Change, …)`: a target for each type beside it that takes
/// [`Fields`].
macro_rules! fields {
    ($($name:ident: $parser:ident),+ $(,)?) => {
        mod fuzz_fields {
            $(
                #[test]
                fn $name() {
                    crate::http::fuzz::check_fields::<super::$parser>(
                        concat!(module_path!(), "::", stringify!($parser)),
                        file!(),
                    );
                }
            )+
        }
    };
}
pub(crate) use fields;

/// What fields are called that a parser takes by way of another.
const COMMON: [&str; 9] = [
    "without.P001",
    "refund_cents",
    "amount_cents",
    "page",
    "per_page",
    "idempotency_key",
    "product_id",
    "sku",
    "tab",
];

/// Values that are right somewhere.
const RIGHT: [&str; 22] = [
    "1",
    "25",
    "100",
    "true",
    "false",
    "P001",
    "alice",
    "alice.order-1",
    "order-1",
    "delivered",
    "success",
    "failed",
    "txn-1",
    "International",
    "2026-01-31T12:00:00Z",
    "/orders?q=a#b",
    "carrier.down",
    "services",
    "USD",
    "1 Main Street\nSpringfield",
    "no",
    "sign_1abc",
];

/// Names of fields that `file` asks for: `fields.word("sku", 64)`.
fn names_in(file: &str) -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let source = std::fs::read_to_string(root.join(file)).unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap();
    let mut names: Vec<String> = COMMON.map(str::to_owned).into();
    for (at, _) in source.match_indices("(\"") {
        let name: String = source[at + 2..]
            .chars()
            .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
            .collect();
        if !name.is_empty() && source[at + 2 + name.len()..].starts_with('"') {
            // Money can be sent in cents, too.
            let is_money = source[..at].ends_with("money");
            names.extend(is_money.then(|| format!("{name}_cents")));
            names.push(name);
        }
    }
    names.sort();
    names.dedup();
    names
}

fn value() -> impl Strategy<Value = Value> {
    let right = select(&RIGHT[..]).prop_map(Value::from);
    prop_oneof![
        8 => right,
        3 => mistaken(&RIGHT, 3).prop_map(Value::from),
        2 => text(8).prop_map(Value::from),
        1 => long_text().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        2 => (0..1_000_i64).prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!(null)),
        1 => Just(json!([1])),
        1 => Just(json!([{ "sku": "P001", "quantity": 1 }])),
        1 => Just(json!({ "a": "b" })),
    ]
}

/// Field by field what `T` may be sent.
pub fn check_fields<T: FromFields>(target: &str, file: &str) {
    let names = names_in(file);
    let inputs = vec((select(names.clone()), value()), 0..=10);
    check(target, &inputs, |pairs| {
        let fields: Map<String, Value> = pairs.into_iter().collect();
        let taken = take::<T>(&fields)?;
        // Twice the same, and what nobody asks for does no harm.
        prop_assert_eq!(&take::<T>(&fields)?, &taken);
        let mut with_more = fields.clone();
        with_more.insert("zz_unknown".to_owned(), json!({ "a": [1] }));
        prop_assert_eq!(&take::<T>(&with_more)?, &taken);
        // A form says the same as JSON.
        if fields.values().all(Value::is_string) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in &fields {
                form.append_pair(name, value.as_str().unwrap());
            }
            let said = refusal(T::from_fields(&Fields::from_form(form.finish().as_bytes())).err())?;
            prop_assert_eq!(&said, &taken);
        }
        if let Some((400, field)) = taken {
            let is_known = field
                .as_ref()
                .is_some_and(|field| names.contains(field) || field == "Idempotency-Key");
            prop_assert!(is_known, "no field is named: {field:?}");
        }
        Ok(())
    });
}

type Refused = Option<(u16, Option<String>)>;

fn take<T: FromFields>(fields: &Map<String, Value>) -> Result<Refused, TestCaseError> {
    let json = serde_json::to_vec(fields).unwrap();
    let fields = Fields::from_json(&json).map_err(|_| TestCaseError::fail("no JSON object"))?;
    refusal(T::from_fields(&fields).err())
}

/// Status and field of a refusal, after looking at its sentence.
fn refusal(problem: Option<Problem>) -> Result<Refused, TestCaseError> {
    let Some(problem) = problem else {
        return Ok(None);
    };
    let status = problem.status.as_u16();
    prop_assert!((400..500).contains(&status), "{status}");
    let detail = &problem.detail;
    prop_assert!(!detail.is_empty());
    prop_assert!(detail.chars().count() <= 500, "{detail}");
    prop_assert!(!detail.chars().any(char::is_control), "{detail:?}");
    Ok(Some((status, problem.field.clone())))
}

#[test]
fn fuzz_pagination() {
    check_fields::<Page<25>>("gateway: Page", "crates/gateway/src/http/pagination.rs");
    let query = mistaken(&["page=3&per_page=10", "page=100000&per_page=100"], 3);
    check("gateway: Pagination", &query, |query| {
        let fields = Fields::from_form(query.as_bytes());
        if let Ok(page) = Pagination::from_fields(&fields, 25) {
            prop_assert!((1..=100).contains(&page.limit()), "{page:?}");
            prop_assert!((0..10_000_000).contains(&page.offset()), "{page:?}");
        }
        Ok(())
    });
}

#[test]
fn fuzz_bodies() {
    let samples = [
        r#"{"quantity":3,"note":" hi ","gift":true,"more":[]}"#,
        r#"{"a":"\ud83d\ude00\u0000","b":1e400}"#,
        "[1]",
    ];
    let inputs = prop_oneof![
        mistaken(&samples, 4).prop_map(String::into_bytes),
        bytes(12),
        // As deep as a body can be.
        (1..60_000_usize).prop_map(|deep| b"{\"a\":".repeat(deep)),
    ];
    check("gateway: Fields::from_json", &inputs, |body| {
        let by_serde = serde_json::from_slice::<Value>(&body);
        match Fields::from_json(&body) {
            Ok(fields) => prop_assert_eq!(Some(fields.as_json()), by_serde.ok()),
            Err(problem) => {
                prop_assert!(!by_serde.is_ok_and(|value| value.is_object()));
                prop_assert_eq!(problem.status, 400);
                prop_assert!(problem.detail.chars().count() < 200, "{}", problem.detail);
            }
        }
        Ok(())
    });
}

#[test]
fn fuzz_forms() {
    let inputs = prop_oneof![
        mistaken(&["quantity=3&note=+hi%20&gift=true", "a=%c3%28&=&b"], 5)
            .prop_map(String::into_bytes),
        bytes(12),
    ];
    check("gateway: Fields::from_form", &inputs, |form| {
        let Value::Object(fields) = Fields::from_form(&form).as_json() else {
            return Err(TestCaseError::fail("no object"));
        };
        // Written anew it is read as the same.
        let mut again = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            again.append_pair(name, value.as_str().unwrap());
        }
        let again = Fields::from_form(again.finish().as_bytes());
        prop_assert_eq!(again.as_json(), Value::Object(fields.clone()));
        // By hand: the last of a name counts.
        for part in form
            .split(|byte| *byte == b'&')
            .filter(|part| !part.is_empty())
        {
            let name = part.split(|byte| *byte == b'=').next().unwrap();
            if name.iter().all(u8::is_ascii_alphanumeric) {
                let name = std::str::from_utf8(name).unwrap();
                prop_assert!(fields.contains_key(name), "{name}");
            }
        }
        Ok(())
    });
}

#[test]
fn fuzz_field_kinds() {
    let inputs = (value(), 0..40_usize, -5..50_i64, 0..2_000_i64);
    check("gateway: Fields", &inputs, |(value, most, low, more)| {
        let json = json!({ "it": value }).to_string();
        let fields = Fields::from_json(json.as_bytes()).ok().unwrap();
        let range = low..=low + more;
        match fields.integer("it", range.clone()) {
            Ok(Some(number)) => prop_assert!(range.contains(&number)),
            Ok(None) => {
                let blank = value.as_str().is_some_and(|text| text.trim().is_empty());
                prop_assert!(value.is_null() || blank, "{value}");
            }
            Err(problem) => drop(refusal(Some(problem))?),
        }
        if let Ok(Some(text)) = fields.text("it", most) {
            prop_assert!(
                text.chars().count() <= most && words::is_visible(&text),
                "{text:?}"
            );
            prop_assert!(!words::has_hidden(&text), "{text:?}");
        }
        if let Ok(Some(word)) = fields.word("it", most) {
            prop_assert_eq!(Some(word.as_str()), value.as_str().map(str::trim));
            prop_assert!(!words::has_hidden(&word), "{word:?}");
        }
        if let Ok(secret) = fields.required_secret("it", most) {
            prop_assert_eq!(Some(secret.as_str()), value.as_str());
        }
        for problem in [
            fields.text("it", most).err(),
            fields.word("it", most).err(),
            fields.required_secret("it", most).err(),
            fields.flag("it").err(),
        ] {
            if let Some((status, field)) = refusal(problem)? {
                prop_assert_eq!((status, field.as_deref()), (400, Some("it")));
            }
        }
        Ok(())
    });
}

fn header(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(bytes).ok()
}

fn asked(headers: &HeaderMap, path: &str) -> Option<RequestContext> {
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = headers.clone();
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    Some(RequestContext::of(&request))
}

#[test]
fn fuzz_accept() {
    let samples = [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/markdown; charset=utf-8",
        "application/json;q=0.5, text/markdown;q=0.4",
        "text/*, */*;q=0",
        "text/html",
    ];
    let lines = vec(mistaken(&samples, 3).prop_map(String::into_bytes), 0..4);
    check(
        "gateway: Accept",
        &prop_oneof![lines, vec(bytes(8), 0..3)],
        |lines| {
            let mut headers = HeaderMap::new();
            for line in lines.iter().filter_map(|line| header(line)) {
                headers.append(header::ACCEPT, line);
            }
            let wants = asked(&headers, "/").unwrap().wants;
            // Only the Datastar header makes somebody Datastar.
            prop_assert_ne!(wants, ResponseFormat::Datastar);
            // Who names no type of text and no wildcard gets none.
            let whole: String = lines
                .iter()
                .map(|line| String::from_utf8_lossy(line).to_lowercase())
                .collect();
            let names = |kind: &str| whole.contains(kind) || whole.contains("text/*");
            match wants {
                ResponseFormat::Html => prop_assert!(names("text/html") || whole.contains("*/*")),
                ResponseFormat::Markdown => {
                    prop_assert!(names("text/markdown") || whole.contains("*/*"));
                }
                _ => {}
            }
            headers.insert("datastar-request", HeaderValue::from_static("true"));
            let wants = asked(&headers, "/").unwrap().wants;
            prop_assert_eq!(wants, ResponseFormat::Datastar);
            Ok(())
        },
    );
}

/// Where a browser goes that is sent to `path` from a page of our site, as the
/// URL standard has it.
fn goes_to(path: &str) -> Option<reqwest::Url> {
    let base = reqwest::Url::parse("https://shop.example/orders").unwrap();
    base.join(path).ok()
}

#[test]
fn fuzz_redirects() {
    let samples = [
        "/orders?page=2",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/x",
        "/a/../b",
        "https://shop.example/cart?tab=output",
    ];
    let inputs = prop_oneof![mistaken(&samples, 4), text(6)];
    check("gateway: local_path, Referer", &inputs, |raw| {
        if let Some(path) = local_path(&raw) {
            let there = goes_to(path).unwrap();
            prop_assert_eq!(there.host_str(), Some("shop.example"), "{}", path);
            prop_assert!(HeaderValue::from_str(path).is_ok());
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("shop.example"));
        if let Some(referer) = header(raw.as_bytes()) {
            headers.insert(header::REFERER, referer);
        }
        let back = asked(&headers, "/").unwrap().back;
        prop_assert_eq!(local_path(&back), Some(back.as_str()));
        let there = goes_to(&back).unwrap();
        prop_assert_eq!(there.host_str(), Some("shop.example"));
        Ok(())
    });
}

#[test]
fn fuzz_cookies() {
    let other = mistaken(
        &["theme=dark", "a=\"b; c\"", "waybill_sessionx=1", "=;;="],
        3,
    );
    let genuine = "[A-Za-z0-9_.-]{1,80}";
    let inputs = (vec(other, 0..4), genuine, any::<prop::sample::Index>());
    check(
        "gateway: session cookie",
        &inputs,
        |(others, session, at)| {
            // Whatever stands around it, ours is found; nothing else is taken for it.
            let plain: Vec<_> = others
                .iter()
                .filter(|other| {
                    !other.trim().starts_with("waybill_session=") && !other.contains(';')
                })
                .cloned()
                .collect();
            let mut pairs = plain.clone();
            pairs.insert(
                at.index(pairs.len() + 1),
                format!("waybill_session={session}"),
            );
            let with = |pairs: &[String]| {
                let value = header(pairs.join("; ").as_bytes())?;
                Some(HeaderMap::from_iter([(header::COOKIE, value)]))
            };
            if let Some(headers) = with(&pairs)
                && headers[header::COOKIE].to_str().is_ok()
            {
                prop_assert_eq!(session_cookie::of(&headers, None), Some(session.as_str()));
            }
            if let Some(headers) = with(&plain) {
                prop_assert_eq!(session_cookie::of(&headers, None), None);
            }
            // What we set is one cookie of that name, and what comes back is it.
            let here = SessionCookie::at(None, &HeaderMap::new(), Some(true));
            let set = here.begin(&session, Duration::from_mins(1));
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap();
            let headers =
                HeaderMap::from_iter([(header::COOKIE, header(pair.as_bytes()).unwrap())]);
            prop_assert_eq!(session_cookie::of(&headers, None), Some(session.as_str()));
            for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
                prop_assert_eq!(set.matches(attribute).count(), 1, "{}", set);
            }
            Ok(())
        },
    );
}

#[test]
fn fuzz_host() {
    let samples = [
        "localhost:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "shop.example",
        "127.1",
        "[::0.localhost:8080",
    ];
    check("gateway: Host", &mistaken(&samples, 3), |host| {
        let Some(value) = header(host.as_bytes()) else {
            return Ok(());
        };
        let headers = HeaderMap::from_iter([(header::HOST, value)]);
        let cookie = SessionCookie::at(None, &headers, None).end();
        if !cookie.to_str().unwrap().contains("; Secure") {
            // Nobody but this machine goes without TLS: as a URL it leads here.
            let name = host.trim_start_matches('[').split([']']).next().unwrap();
            let name = name.split_once(':').filter(|_| !host.starts_with('['));
            let name = name.map_or_else(
                || {
                    host.trim_start_matches('[')
                        .split(']')
                        .next()
                        .unwrap()
                        .to_owned()
                },
                |(name, _)| name.to_owned(),
            );
            let is_here = name
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback());
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let is_localhost = name == "localhost" || name.ends_with(".localhost");
            prop_assert!(is_localhost || is_here, "{host}");
        }
        Ok(())
    });
}

#[test]
fn fuzz_idempotency_keys() {
    let alice = Username::parse("alice").unwrap();
    let inputs = prop_oneof![
        mistaken(&["5f0c4f2e-6a8e-4d7b-9d7a-0c6d1f2e3a4b", "k"], 3).prop_map(String::into_bytes),
        bytes(6),
        "[!-~]{120,136}".prop_map(String::into_bytes),
    ];
    check("gateway: Idempotency-Key", &inputs, |raw| {
        let Some(value) = header(&raw) else {
            return Ok(());
        };
        let mut request = Request::new(());
        request.headers_mut().insert("idempotency-key", value);
        let (mut parts, ()) = request.into_parts();
        let read = IdempotencyKey::from_request_parts(&mut parts, &()).now_or_never();
        let is_valid = (1..=128).contains(&raw.len()) && raw.iter().all(u8::is_ascii_graphic);
        match read.expect("it waits for nothing") {
            Ok(key) => {
                prop_assert!(is_valid);
                prop_assert_eq!(key.given().map(str::as_bytes), Some(raw.as_slice()));
                let once = key
                    .once(&alice, "cart.add", &("P001", 1))
                    .ok()
                    .flatten()
                    .unwrap();
                let read: Once = once.to_string().parse().expect("it is written so");
                prop_assert_eq!(read.to_string(), once.to_string());
            }
            Err(problem) => {
                prop_assert!(!is_valid);
                let named = refusal(Some(problem))?;
                prop_assert_eq!(named, Some((400, Some("Idempotency-Key".to_owned()))));
            }
        }
        Ok(())
    });
}
