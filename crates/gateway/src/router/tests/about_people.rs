//! Accounts through the front door, as far as they can be had while Restate is away.

use waybill_domain::account::{Scope, Token};

use super::*;
use crate::identity::secret;

const ADMIN: (&str, &str) = ("x-user-id", "admin");

/// Nothing by which anybody could sign in, or find out who does.
#[track_caller]
fn tells_no_secret(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    for secret in ["argon2", "$m=", "salt"] {
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    let longest = answer
        .text
        .split(|letter: char| !letter.is_ascii_hexdigit());
    // A page has a nonce of 32.
    let is_page = answer.header("content-type").starts_with("text/html");
    let most = if is_page { 32 } else { 12 };
    let longest = longest.map(str::len).max().unwrap_or_default();
    assert!(longest <= most, "{}", answer.text);
    for known in ["phone", "ci"] {
        let fingerprint = secret::fingerprint(known);
        assert!(!answer.text.contains(&fingerprint.as_str()[..13]));
    }
}

#[tokio::test]
async fn what_is_over_is_listed_nowhere_and_no_secret_is_told() {
    let gateway = Subject::with_sessions().await;
    let cookie = gateway.cookie_of("alice").await;
    let now = Timestamp::now();
    let day = Duration::from_hours(24);
    gateway
        .change("alice", |account| {
            let here = account.sessions[0].clone();
            let over = |print: &str, seen_at, expires_at| account::Session {
                fingerprint: secret::fingerprint(print),
                created_at: now + Duration::from_secs(1),
                seen_at,
                expires_at,
                ..here.clone()
            };
            account.sessions.push(over("too long ago", now, now));
            account
                .sessions
                .push(over("idle", now - 2 * day, now + day));
            account.sessions.push(over("phone", now, now + day));
            for (name, expires_at) in [("ended", Some(now)), ("ci", Some(now + day))] {
                account.tokens.push(Token {
                    fingerprint: secret::fingerprint(name),
                    name: name.to_owned(),
                    scope: Scope::Read,
                    created_at: now,
                    expires_at,
                    seen_at: None,
                });
            }
        })
        .await;
    let with_cookie = [("cookie", cookie.as_str())];
    let answer = gateway.get("/api/account", &with_cookie).await;
    tells_no_secret(&answer);
    let told = answer.json();
    let ids = |list: &str, field: &str| -> Vec<_> {
        let list = told[list].as_array().unwrap().iter();
        list.map(|it| (it["id"].clone(), it[field].clone()))
            .collect()
    };
    let short = |of: &str| json!(secret::fingerprint(of).short());
    let sessions = ids("sessions", "is_this");
    assert_eq!(sessions.len(), 2, "{told}");
    assert_eq!(sessions[0], (short("phone"), json!(false)));
    assert_eq!(sessions[1].1, true);
    assert_eq!(ids("tokens", "name"), [(short("ci"), json!("ci"))]);

    // The page shows the same, with a way out of the other place alone.
    let page = gateway.get("/account", &[with_cookie[0], HTML]).await;
    tells_no_secret(&page);
    assert_eq!(page.text.matches("name=\"session\"").count(), 1);
    assert!(page.text.contains("This browser"), "{}", page.text);
    assert!(page.text.contains("Sign out everywhere else"));
    // An admin's view tells no more.
    let admin = gateway.cookie_of("admin").await;
    let admin = ("cookie", admin.as_str());
    for path in [
        "/api/people",
        "/api/people/alice",
        "/people",
        "/people/alice",
    ] {
        tells_no_secret(&gateway.get(path, &[admin, HTML]).await);
    }
}

#[tokio::test]
async fn nobody_changes_their_own_role_and_nobody_unknown_is_found() {
    let gateway = Subject::demo().await;
    let role = json!({ "role": "customer" });
    for (path, body) in [
        ("role", &role),
        ("disable", &json!({})),
        ("link", &json!({})),
    ] {
        let path = format!("/api/people/admin/{path}");
        let refused = gateway.post(&path, &[ADMIN], body).await;
        assert_eq!(refused.kind(409), "own_account", "{path}");
    }
    for path in ["/api/people/nobody", "/api/people/no%20name"] {
        assert_eq!(gateway.get(path, &[ADMIN]).await.kind(404), "not_found");
    }
    let page = gateway.get("/people/nobody", &[ADMIN, HTML]).await;
    assert_eq!(page.status, 404);
    let own = gateway.get("/people/admin", &[ADMIN, HTML]).await;
    assert!(own.text.contains("This is you."), "{}", own.text);
    let own_forms = own.text.replace("&#x2f;", "/");
    assert!(!own_forms.contains("/api/people/admin/role"));
    for (body, field) in [
        (json!({ "email": "a@b", "role": "admin" }), "user"),
        (
            json!({ "user": "a.b", "email": "a@b", "role": "admin" }),
            "user",
        ),
        (json!({ "user": "ann", "role": "admin" }), "email"),
        (
            json!({ "user": "ann", "email": "a@b", "role": "root" }),
            "role",
        ),
    ] {
        let refused = gateway.post("/api/people", &[ADMIN], &body).await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.json()["field"], field, "{body}");
    }
}

#[tokio::test]
async fn people_are_found_a_page_at_a_time() {
    let gateway = Subject::demo().await;
    let found = async |query: &str| {
        let answer = gateway.get(&format!("/api/people?{query}"), &[ADMIN]).await;
        let told = answer.json();
        let people = told["people"].as_array().unwrap().iter();
        let people: Vec<_> = people
            .map(|it| it["user"].as_str().unwrap().to_owned())
            .collect();
        (people, told["total"].as_i64().unwrap())
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found("").await, (names(&["admin", "alice", "bob"]), 3));
    assert_eq!(found("per_page=1&page=2").await, (names(&["alice"]), 3));
    assert_eq!(found("q=BOB@").await, (names(&["bob"]), 1));
    assert_eq!(found("q=%25").await, (names(&[]), 0));
    let page = gateway.get("/people?q=nobody-at-all", &[ADMIN, HTML]).await;
    assert!(page.text.contains("Nobody matches"), "{}", page.text);
}

#[tokio::test]
async fn a_link_that_cannot_be_tried_is_told_where_it_was_typed() {
    let gateway = Subject::with_sessions().await;
    let place = "/password/new?user=sue";
    let page = gateway.get(place, &[HTML]).await;
    assert!(page.text.contains("value=\"sue\""), "{}", page.text);
    let weak = json!({ "user": "sue", "secret": "0".repeat(64), "password": "short" });
    let refused = gateway.post(place, &[], &weak).await;
    assert_eq!(refused.json()["field"], "password");
    let page = gateway.post(place, &[HTML], &weak).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("id=\"wrong\"") && page.text.contains("value=\"sue\""));
    // What was typed is not in the answer.
    assert!(!page.text.contains(&"0".repeat(64)));
    let good =
        json!({ "user": "sue", "secret": "0".repeat(64), "password": "eleven green kettles" });
    let away = gateway.post(place, &[], &good).await;
    assert_eq!(away.kind(503), "unavailable");
}
