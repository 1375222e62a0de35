//! The table of authority: every route is asked as everybody, in every form that an
//! answer has, and does what its row says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use axum::response::Response;
use waybill_domain::ids::Username;
use waybill_domain::update::Update;

use super::*;
use crate::authority::{Allow, Row};
use crate::console::samples;
use crate::identity::caller::{Caller, Credential, Role, Scope};

/// Whose order stands in the paths.
const ORDER: &str = "alice.order-123";
/// Who asks: the columns. The order is alice's.
const WHO: [(&str, Option<(&str, Role)>); 6] = [
    ("anonymous", None),
    ("owner", Some(("alice", Role::Customer))),
    ("other", Some(("bob", Role::Customer))),
    ("support", Some(("sue", Role::Support))),
    ("approver", Some(("ann", Role::Approver))),
    ("admin", Some(("admin", Role::Admin))),
];
/// In which forms.
pub(super) const FORMS: [(&str, &str); 4] = [
    ("accept", "application/json"),
    ("accept", "text/markdown"),
    HTML,
    DATASTAR,
];
/// Nobody answers there, also where a demo is running.
const NOWHERE: [&str; 2] = ["--services-updates-urls", "http://127.0.0.1:9/updates"];

const YES: &str = "yes";

/// What everybody is answered where the row says so.
fn promised(allow: Allow, is_demo: bool) -> [&'static str; 6] {
    match allow {
        Allow::Provider if !is_demo => ["signature"; 6],
        Allow::Operator if is_demo => [YES; 6],
        Allow::Anybody | Allow::Provider => [YES; 6],
        Allow::DemoVisitor | Allow::DemoAdmin if !is_demo => ["404"; 6],
        Allow::SettingUp | Allow::Customer | Allow::EachWindow | Allow::DemoVisitor => {
            ["401", YES, YES, YES, YES, YES]
        }
        Allow::OwnerOrStaff => ["401", YES, "404", YES, YES, YES],
        Allow::OwnerOrAdmin => ["401", YES, "404", "403", "403", YES],
        Allow::Staff => ["401", "403", "403", YES, YES, YES],
        Allow::Decider => ["401", "403", "403", "403", YES, YES],
        Allow::Admin | Allow::Operator | Allow::DemoAdmin => {
            ["401", "403", "403", "403", "403", YES]
        }
    }
}

impl Subject {
    /// A shop of people with passwords.
    async fn session(more: &[&str]) -> Self {
        let line = [
            "--session-key",
            "0123456789abcdef0123456789abcdef",
            "--payment-webhook-secret",
            "secret",
        ];
        let shop = Self::with(&[&line[..], &NOWHERE, more].concat()).await;
        shop.hire_all().await;
        shop.place_the_order().await;
        shop
    }

    /// A demo in which everybody of [`WHO`] is known.
    async fn demo_of_all() -> Self {
        let demo = Self::with(&[&["--auth-mode", "demo"][..], &NOWHERE].concat()).await;
        demo.hire_all().await;
        demo.place_the_order().await;
        demo
    }

    async fn hire_all(&self) {
        for (name, role) in WHO.into_iter().filter_map(|(_, who)| who) {
            self.hire(name, role).await;
        }
    }

    async fn place_the_order(&self) {
        let record = samples::awaiting_approval();
        assert_eq!(record.order_id.as_str(), ORDER);
        let update = Update::Order(Box::new(record));
        self.infra.live.apply(update).await.unwrap();
    }

    /// Gives somebody a role.
    async fn hire(&self, name: &str, role: Role) {
        sqlx::query(
            "INSERT INTO users (username, email, role) VALUES (?1, ?1 || '@example.org', ?2)
             ON CONFLICT (username) DO UPDATE SET role = excluded.role",
        )
        .bind(name)
        .bind(role.as_str())
        .execute(&self.infra.db.write)
        .await
        .unwrap();
        self.infra.live.tell_all();
    }

    /// Asks as somebody. A demo believes a name; elsewhere who it is stands in the
    /// request as if it had been found out.
    async fn ask_as(
        &self,
        who: Option<Caller>,
        method: &str,
        place: &str,
        form: (&str, &str),
    ) -> Response {
        let mut request = ask(method, place, &[form])
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .unwrap();
        if let Some(caller) = who {
            if self.infra.settings.is_demo() && caller.scope == Scope::Full {
                let name = caller.user.as_str().parse().unwrap();
                request.headers_mut().insert("x-user-id", name);
            } else {
                request.extensions_mut().insert(Some(caller));
            }
        }
        self.router.clone().oneshot(request).await.unwrap()
    }
}

fn caller(name: &str, role: Role) -> Caller {
    Caller::new(Username::parse(name).unwrap(), role)
}

/// The row's path with something in the place of each id.
pub(super) fn place(row: &Row) -> String {
    let id = if row.allow.is_of_an_order() {
        ORDER
    } else {
        "1"
    };
    let place = row.path.replace("{id}", id).replace("{number}", "1");
    let place = place.replace("{user}", "bob").replace("{sku}", "P001");
    let place = place.replace("{zone}", "Local");
    match place.as_str() {
        "/api/catalog/import/1" => format!("/api/catalog/import/{}", "0f".repeat(16)),
        "/stream/page" => "/stream/page?at=/orders".to_owned(),
        "/stream/pages" => "/stream/pages?window=a&at=/orders".to_owned(),
        place => place.replace("{*path}", "app.css"),
    }
}

/// What an answer comes to: `yes`, or how it was refused. An open stream is read until
/// it has shown something.
pub(super) async fn outcome(answer: Response) -> &'static str {
    let (parts, mut body) = answer.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let is_stream = kind.is_some_and(|kind| kind == "text/event-stream");
    let mut text = String::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            text += &String::from_utf8_lossy(&frame.into_data().unwrap_or_default());
            if is_stream && text.contains("datastar-patch-elements") && text.ends_with("\n\n") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .unwrap_or_else(|_| panic!("nothing is shown: {text}"));
    assert!(!text.contains("there is nothing at"), "{text}");
    assert_ne!(parts.status, StatusCode::METHOD_NOT_ALLOWED, "{text}");
    assert_ne!(parts.status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    let to = parts.headers.get(header::LOCATION);
    if to.is_some_and(|to| to.as_bytes().starts_with(b"/login?next=")) {
        return "401";
    }
    let is_said = |title: &str| is_stream && text.contains("id=\"toast\"") && text.contains(title);
    match parts.status.as_u16() {
        401 if text.contains("bad_signature") || text.contains("Webhook-Signature") => "signature",
        401 => "401",
        403 => "403",
        404 => "404",
        200 if is_said("Webhook-Signature") => "signature",
        200 if is_said("Not signed in") => "401",
        200 if is_said("Not allowed") => "403",
        200 if is_said("Not found") => "404",
        _ => YES,
    }
}

/// Asks a route as everybody, in every form; answers how it went, which must not
/// depend on the form.
async fn asked(gateway: &Subject, row: &Row) -> [&'static str; 6] {
    let mut found = [""; 6];
    for (column, (name, who)) in WHO.into_iter().enumerate() {
        for form in FORMS {
            let who = who.map(|(name, role)| caller(name, role));
            let place = place(row);
            let answer = gateway.ask_as(who, row.method.as_str(), &place, form).await;
            let outcome = outcome(answer).await;
            if found[column].is_empty() {
                found[column] = outcome;
            }
            let (method, path) = (&row.method, &row.path);
            assert_eq!(found[column], outcome, "{method} {path} by {name} {form:?}");
        }
    }
    found
}

/// A page's text, in which addresses are written with `&#x2f;`.
fn unescaped(page: &[u8]) -> String {
    String::from_utf8_lossy(page).replace("&#x2f;", "/")
}

pub(super) fn sorted() -> Vec<Row> {
    let mut rows = rows();
    rows.sort_by_key(|row| (row.path.clone(), row.method.to_string()));
    rows
}

/// The table as docs/authority.md has it.
fn printed(table: &[(Row, [&str; 6])]) -> String {
    let mut text = "| route | row |".to_owned();
    for (name, _) in WHO {
        write!(text, " {name} |").unwrap();
    }
    text += "\n| --- | --- |";
    text += &" --- |".repeat(WHO.len());
    for (row, outcomes) in table {
        let Row {
            method,
            path,
            allow,
        } = row;
        write!(text, "\n| `{method} {path}` | {} |", allow.as_str()).unwrap();
        for outcome in outcomes {
            write!(text, " {outcome} |").unwrap();
        }
    }
    text
}

const BEGIN: &str = "<!-- the table: UPDATE_DOCS=1 writes it -->\n\n";
const END: &str = "\n\n<!-- the end of the table -->";

/// Prints the table, and compares it with docs/authority.md, where `UPDATE_DOCS=1`
/// writes it.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the table is to be read")]
async fn every_route_does_what_its_row_says() {
    let (shop, demo) = (Subject::session(&[]).await, Subject::demo_of_all().await);
    let mut table = Vec::new();
    for row in sorted() {
        let Row {
            method,
            path,
            allow,
        } = &row;
        let found = asked(&shop, &row).await;
        assert_eq!(found, promised(*allow, false), "{method} {path}: {allow:?}");
        let in_demo = asked(&demo, &row).await;
        assert_eq!(
            in_demo,
            promised(*allow, true),
            "{method} {path}: {allow:?} in a demo"
        );
        table.push((row, found));
    }
    assert!(table.len() > 45, "{}", table.len());
    let table = printed(&table);
    println!("{table}");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/authority.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            written, table,
            "docs/authority.md has another table: run this test with UPDATE_DOCS=1"
        );
    }
}

/// What is described has a row, and what has a row but no description is a page.
#[tokio::test]
async fn every_route_is_in_the_table_and_in_the_description() {
    let gateway = Subject::demo().await;
    let api = gateway.get("/openapi.json", &[]).await.json();
    let mut described = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((path.clone(), method.to_uppercase()));
            let row = rows()
                .into_iter()
                .find(|row| row.path == *path && row.method.as_str() == method.to_uppercase())
                .unwrap_or_else(|| panic!("{method} {path} has no row"));
            let is_open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(is_open, row.allow.is_open(), "{method} {path}");
            // Every refusal of the row is described.
            for status in promised(row.allow, true)
                .into_iter()
                .filter(|_| !row.allow.is_open())
            {
                let is_described = operation["responses"].get(status).is_some();
                assert!(status == YES || is_described, "{method} {path} {status}");
            }
        }
    }
    let rows: BTreeSet<_> = rows()
        .into_iter()
        .map(|row| (row.path, row.method.to_string()))
        .collect();
    let pages: Vec<_> = rows.difference(&described).collect();
    for (path, method) in &pages {
        assert_eq!(method, "GET", "{path}");
        assert!(!path.starts_with("/api/"), "{path}");
    }
    assert_eq!(pages.len(), 22, "{pages:?}");
}

/// A stream shows no page whose own route would refuse it.
#[tokio::test]
async fn a_stream_refuses_the_pages_that_their_routes_refuse() {
    let shop = Subject::session(&[]).await;
    let mut pages = 0;
    for row in rows().iter().filter(|row| row.path != "/login") {
        let at = place(row);
        let is_page = row.method == "GET"
            && !["/api/", "/stream/", "/static/"]
                .iter()
                .any(|begin| at.starts_with(begin))
            && [
                "/",
                "/products",
                "/cart",
                "/orders",
                "/admin",
                "/audit",
                "/catalog",
                "/zones",
                "/import",
                "/people",
                "/account",
            ]
            .contains(&at.as_str())
            || row.path == "/people/{user}"
            || row.path == "/catalog/{sku}"
            || at == format!("/orders/{ORDER}");
        if !is_page {
            continue;
        }
        pages += 1;
        for (column, (name, who)) in WHO.into_iter().enumerate() {
            let who = who.map(|(name, role)| caller(name, role));
            for stream in [
                format!("/stream/page?at={at}"),
                format!("/stream/pages?window=a&at={at}"),
            ] {
                let answer = shop.ask_as(who.clone(), "GET", &stream, FORMS[0]).await;
                let expected = promised(row.allow, false)[column];
                assert_eq!(outcome(answer).await, expected, "{stream} by {name}");
            }
        }
    }
    assert_eq!(pages, 14);
}

#[tokio::test]
async fn a_token_that_may_only_read_writes_nothing() {
    let shop = Subject::session(&[]).await;
    let (kept, _) = people::new_token("reader".to_owned(), Scope::Read, None);
    let reader = Caller {
        scope: Scope::Read,
        credential: Credential::Token(kept.fingerprint.clone()),
        ..caller("admin", Role::Admin)
    };
    shop.change("admin", |account| account.tokens.push(kept))
        .await;
    let (mut reads, mut writes) = (0, 0);
    for row in rows() {
        let what = format!("{} {}", row.method, row.path);
        if row.allow.is_open() || row.allow.is_of_a_demo() {
            continue;
        }
        let answer = shop
            .ask_as(
                Some(reader.clone()),
                row.method.as_str(),
                &place(&row),
                FORMS[0],
            )
            .await;
        if row.method.is_safe() {
            reads += 1;
            assert_eq!(outcome(answer).await, YES, "{what}");
        } else {
            writes += 1;
            assert_eq!(answer.status(), 403, "{what}");
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("this API token may only read"), "{text}");
        }
    }
    assert!(reads > 15 && writes > 8, "{reads} {writes}");
}

#[tokio::test]
async fn nobody_decides_their_own_order_unless_told_so() {
    let path = format!("/api/workflow/{ORDER}/approve");
    let page = format!("/orders/{ORDER}");
    let may = async |gateway: &Subject, name: &str, role: Role| {
        let who = Some(caller(name, role));
        let decided = gateway
            .ask_as(who.clone(), "POST", &path, FORMS[0])
            .await
            .into_body();
        let decided = decided.collect().await.unwrap().to_bytes();
        let decided = String::from_utf8_lossy(&decided);
        let is_refused = decided.contains("this is your own order: another approver must");
        for place in [page.as_str(), "/admin"] {
            let shown = gateway.ask_as(who.clone(), "GET", place, HTML).await;
            let shown = shown.into_body().collect().await.unwrap().to_bytes();
            let shown = unescaped(&shown);
            assert_eq!(
                shown.contains("another approver must"),
                is_refused,
                "{place}"
            );
            assert_eq!(shown.contains(&path), !is_refused, "{place}");
        }
        // There is nothing wrong but that the body decides nothing.
        assert!(is_refused || decided.contains("approved is missing"));
        !is_refused
    };
    let shop = Subject::session(&[]).await;
    for role in [Role::Approver, Role::Admin] {
        assert!(!may(&shop, "alice", role).await, "{role}");
        assert!(may(&shop, "bob", role).await, "{role}");
        // As they call it themselves.
        let short = "/api/workflow/order-123/approve";
        let who = Some(caller("alice", role));
        let answer = shop.ask_as(who, "POST", short, FORMS[0]).await;
        assert_eq!(answer.status(), 403);
    }
    let trusting = Subject::session(&["--approve-own-orders", "true"]).await;
    assert!(may(&trusting, "alice", Role::Approver).await);
    let demo = Subject::demo_of_all().await;
    demo.hire("alice", Role::Admin).await;
    assert!(may(&demo, "alice", Role::Admin).await);
}

#[tokio::test]
async fn the_console_shows_what_ones_role_may_do() {
    let shop = Subject::session(&[]).await;
    let page = async |who: (&str, Role), place: &str| {
        let answer = shop
            .ask_as(Some(caller(who.0, who.1)), "GET", place, HTML)
            .await;
        assert_eq!(answer.status(), 200, "{place} by {who:?}");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        unescaped(&text)
    };
    let order = format!("/orders/{ORDER}");
    for (who, name, decides, restocks) in [
        (("sue", Role::Support), "Shop", false, false),
        (("ann", Role::Approver), "Approvals", true, false),
        (("admin", Role::Admin), "Admin", true, true),
    ] {
        let desk = page(who, "/admin").await;
        assert!(desk.contains(&format!("<span>{name}</span>")), "{desk}");
        assert!(desk.contains(ORDER), "the order waits");
        assert_eq!(desk.contains("/approve\""), decides, "{who:?}");
        assert_eq!(desk.contains("/restock\""), restocks, "{who:?}");
        let order = page(who, &order).await;
        assert_eq!(order.contains("/approve\""), decides, "{who:?}");
        assert_eq!(order.contains("/cancel\""), who.1 == Role::Admin, "{who:?}");
        let dashboard = page(who, "/").await;
        assert!(dashboard.contains("Needs an operator"), "{who:?}");
        // What is told of alice's order is told to all of them.
        assert!(dashboard.contains("href=\"/orders/alice.order-123\""));
    }
    let customer = page(("alice", Role::Customer), "/").await;
    assert!(!customer.contains("/admin"), "{customer}");
}

#[tokio::test]
async fn metrics_are_for_operators() {
    let shop = Subject::session(&["--internal-token", "operators-token"]).await;
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let answer = shop.get("/metrics", &[("authorization", &bearer)]).await;
        answer.status.as_u16()
    };
    assert_eq!(ask("operators-token").await, 200);
    assert_eq!(ask("operators-toke").await, 401);
    assert_eq!(ask("").await, 401);
    // It opens nothing else.
    let bearer = [("authorization", "Bearer operators-token")];
    assert_eq!(
        shop.get("/api/orders", &bearer).await.kind(401),
        "unauthenticated"
    );
}
