//! People from their first link to their end: who they are and where they are signed in
//! is the same in every gateway.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::shop::{Answer, Client, SOON, Shop, send, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own};

const FIRST: &str = "eleven green kettles sing";
const SECOND: &str = "twelve blue ladders hum";

async fn try_sign_in(by: &Client<'_>, name: &str, password: &str, agent: &str) -> Answer {
    let request = by
        .request(Method::POST, "/login")
        .header(header::USER_AGENT, agent)
        .json(&json!({ "username": name, "password": password }));
    send(request).await
}

/// Somebody with the cookie of a new session, at one of the gateways.
async fn signed_in<'a>(
    shop: &'a Shop,
    at: Component,
    name: &str,
    password: &str,
    agent: &str,
) -> Client<'a> {
    let nobody = shop.anonymous().at(at);
    let answer = try_sign_in(&nobody, name, password, agent).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    let cookie = answer.cookies.first().expect("a cookie");
    let pair = cookie.split(';').next().unwrap_or_default();
    shop.person(name).at(at).with_cookie(pair)
}

/// Waits until somebody is answered so: another gateway hears of a change a moment later.
async fn answers(person: &Client<'_>, path: &str, status: u16) {
    eventually(
        &format!("{} is answered {status} at {path}", person.name),
        SOON,
        async || match person.get(path).await {
            answer if answer.status == status => Ok(()),
            answer => Err(format!("{} {}", answer.status, answer.text)),
        },
    )
    .await;
}

/// The account as it says itself, once it has so many sessions.
async fn account_with(person: &Client<'_>, sessions: usize) -> Value {
    eventually("the account has its sessions", SOON, async || {
        let account = person.get("/api/account").await.expect(200);
        if account["sessions"].as_array().map(Vec::len) == Some(sessions) {
            Ok(account)
        } else {
            Err(account.to_string())
        }
    })
    .await
}

fn list(of: &Value) -> &Vec<Value> {
    of.as_array().expect("a list")
}

/// Nothing by which anybody could sign in, or find out who does.
#[track_caller]
fn tells_no_secret(answer: &Answer) {
    assert!(!answer.text.contains("argon2"), "{}", answer.text);
    let longest = answer
        .text
        .split(|letter: char| !letter.is_ascii_hexdigit());
    let longest = longest.map(str::len).max().unwrap_or_default();
    assert!(longest <= 12, "{}", answer.text);
}

/// Sets a password by a link's secret.
async fn redeem(shop: &Shop, user: &str, secret: &str, password: &str) -> Answer {
    let body = json!({ "user": user, "secret": secret, "password": password });
    shop.anonymous().post("/password/new", &body).await
}

#[test]
fn somebody_comes_by_a_link_and_is_the_same_at_every_gateway() {
    own(&Setup::with_sessions(), async |shop| {
        shop.start_beside(Component::Gateway2).await;
        let admin = signed_in(shop, Component::Gateway, "admin", &password("admin"), "x").await;
        let new = json!({ "user": "sue", "email": "sue@example.com", "role": "support" });
        let made = admin.post("/api/people", &new).await.expect(201);
        let link = text(&made["link"]).to_owned();
        let (page, secret) = link.split_once('#').expect("a secret behind the #");
        assert!(page.ends_with("/password/new?user=sue"), "{link}");
        assert!(page.starts_with(&shop.gateway), "{link}");
        admin
            .post("/api/people", &new)
            .await
            .problem(409, "user_exists");
        let shown = shop.anonymous().get("/password/new?user=sue").await;
        assert_eq!(shown.status, 200);

        // The link works once, for whom it is, and nobody learns by it who is known.
        redeem(shop, "sue", &"0".repeat(64), FIRST)
            .await
            .problem(410, "link_over");
        redeem(shop, "nobody", secret, FIRST)
            .await
            .problem(410, "link_over");
        let weak = redeem(shop, "sue", secret, "short").await.refusal(400);
        assert_eq!(weak["field"], "password", "{weak}");
        redeem(shop, "sue", secret, FIRST).await.expect(200);
        redeem(shop, "sue", secret, SECOND)
            .await
            .problem(410, "link_over");

        // Two places at two gateways, and both tell of both.
        let laptop = signed_in(shop, Component::Gateway, "sue", FIRST, "Laptop/1").await;
        let phone = signed_in(shop, Component::Gateway2, "sue", FIRST, "Phone/1").await;
        for (here, agent) in [(&laptop, "Laptop/1"), (&phone, "Phone/1")] {
            let account = account_with(here, 2).await;
            assert_eq!(account["role"], "support");
            let sessions = list(&account["sessions"]);
            let this = sessions.iter().filter(|it| it["is_this"] == true);
            let this: Vec<_> = this.map(|it| text(&it["agent"])).collect();
            assert_eq!(this, [agent], "{account}");
            tells_no_secret(&here.get("/api/account").await);
        }

        // One signs the other out: its cookie is worth nothing, its open stream ends.
        let mut stream = phone.stream("/stream/notifications").await;
        let account = laptop.get("/api/account").await.expect(200);
        let other = list(&account["sessions"])
            .iter()
            .find(|it| it["is_this"] == false);
        let other = json!({ "session": other.expect("the phone")["id"] });
        laptop
            .post("/api/account/sign-out", &other)
            .await
            .expect(200);
        stream.until_closed().await;
        answers(&phone, "/api/cart", 401).await;
        laptop
            .post("/api/account/sign-out", &other)
            .await
            .problem(404, "not_found");

        // Another password ends every other session.
        let phone = signed_in(shop, Component::Gateway2, "sue", FIRST, "Phone/1").await;
        account_with(&laptop, 2).await;
        let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
        let wrong = laptop
            .post("/api/account/password", &change(SECOND, SECOND))
            .await;
        let wrong = wrong.problem(403, "wrong_password");
        assert_eq!(wrong["field"], "old_password");
        let weak = laptop
            .post("/api/account/password", &change(FIRST, "short"))
            .await;
        assert_eq!(weak.refusal(400)["field"], "new_password");
        let changed = laptop
            .post("/api/account/password", &change(FIRST, SECOND))
            .await;
        changed.expect(200);
        answers(&phone, "/api/cart", 401).await;
        laptop.get("/api/cart").await.expect(200);
        let old = try_sign_in(&shop.anonymous(), "sue", FIRST, "x").await;
        old.refusal(401);

        // The list, and its search.
        let people = admin.get("/api/people?q=SUE@").await;
        tells_no_secret(&people);
        let people = people.expect(200);
        assert_eq!(
            (&people["total"], &people["people"][0]["user"]),
            (&json!(1), &json!("sue"))
        );
    });
}

#[test]
fn a_role_and_being_disabled_count_at_once_at_every_gateway() {
    own(&Setup::with_sessions(), async |shop| {
        shop.start_beside(Component::Gateway2).await;
        let admin = signed_in(shop, Component::Gateway, "admin", &password("admin"), "x").await;
        let own = password("alice");
        let laptop = signed_in(shop, Component::Gateway, "alice", &own, "Laptop/1").await;

        // A token is good at every gateway, and makes no other.
        let made = laptop
            .post(
                "/api/account/tokens",
                &json!({ "name": "ci", "scope": "full", "days": 1 }),
            )
            .await
            .expect(201);
        let program = shop.person("alice").with_token(text(&made["token"]));
        let elsewhere = program.clone().at(Component::Gateway2);
        answers(&elsewhere, "/api/account", 200).await;
        let more = json!({ "name": "more", "scope": "full" });
        let refused = program.post("/api/account/tokens", &more).await;
        refused.problem(403, "forbidden");

        // Another role: they sign in again, and it counts at once everywhere.
        let seen = admin.get("/api/people/alice").await;
        tells_no_secret(&seen);
        assert_eq!(seen.expect(200)["role"], "customer");
        let role = json!({ "role": "approver" });
        admin
            .post("/api/people/alice/role", &role)
            .await
            .expect(200);
        answers(&laptop, "/api/cart", 401).await;
        let laptop = signed_in(shop, Component::Gateway2, "alice", &own, "Laptop/1").await;
        assert_eq!(
            laptop.get("/api/account").await.expect(200)["role"],
            "approver"
        );

        // Disabled: neither cookie nor token nor password opens anything, until enabled.
        let nothing = json!({});
        admin
            .post("/api/people/alice/disable", &nothing)
            .await
            .expect(200);
        for person in [&laptop, &program, &elsewhere] {
            answers(person, "/api/cart", 401).await;
        }
        for at in [Component::Gateway, Component::Gateway2] {
            let refused = try_sign_in(&shop.anonymous().at(at), "alice", &own, "x").await;
            refused.refusal(401);
        }
        admin
            .post("/api/people/alice/enable", &nothing)
            .await
            .expect(200);
        answers(&elsewhere, "/api/cart", 200).await;
        let id = json!({ "id": made["id"] });
        program
            .post("/api/account/tokens/revoke", &id)
            .await
            .expect(200);
        answers(&elsewhere, "/api/cart", 401).await;
        signed_in(shop, Component::Gateway, "alice", &own, "Laptop/1").await;
    });
}

#[test]
fn nobody_locks_themselves_out() {
    own(&Setup::with_sessions(), async |shop| {
        let admin = signed_in(shop, Component::Gateway, "admin", &password("admin"), "x").await;
        let nothing = json!({});
        for (path, body) in [
            ("/api/people/admin/role", json!({ "role": "customer" })),
            ("/api/people/admin/disable", nothing.clone()),
            ("/api/people/admin/link", nothing.clone()),
        ] {
            admin.post(path, &body).await.problem(409, "own_account");
        }
        for path in ["role", "disable", "enable", "link", "sign-out"] {
            let path = format!("/api/people/nobody/{path}");
            let body = json!({ "role": "customer" });
            admin.post(&path, &body).await.refusal(404);
        }
        // Everywhere else, and never here.
        let other = signed_in(shop, Component::Gateway, "admin", &password("admin"), "y").await;
        admin
            .post("/api/account/sign-out", &nothing)
            .await
            .expect(200);
        answers(&other, "/api/cart", 401).await;
        let account = account_with(&admin, 1).await;
        // This one, by its id: the browser is told to forget its cookie.
        let here = json!({ "session": account["sessions"][0]["id"] });
        let out = admin.post("/api/account/sign-out", &here).await;
        assert!(out.cookies[0].contains("Max-Age=0"), "{out:?}");
        answers(&admin, "/api/cart", 401).await;
        // Guessing the old password is slowed down like guessing at the sign-in.
        let alice = signed_in(shop, Component::Gateway, "alice", &password("alice"), "x").await;
        let guess = json!({ "old_password": "guess", "new_password": SECOND });
        let mut last = 0;
        for _ in 0..12 {
            last = alice.post("/api/account/password", &guess).await.status;
        }
        assert_eq!(last, 429);
    });
}

#[test]
fn a_command_prints_the_whole_link_where_the_shop_has_an_address() {
    own(&Setup::with_sessions(), async |shop| {
        let printed = |name: &str, public_url: &str| {
            let mut gateway = shop.gateway_command();
            let email = format!("{name}@example.com");
            gateway.args(["user", "create", name, "--email", &email, "--link"]);
            let made = gateway.env("PUBLIC_URL", public_url).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        };
        let whole = printed("ann", "https://shop.example");
        let begin = "https://shop.example/password/new?user=ann#";
        assert!(whole.starts_with(begin), "{whole}");
        let path = printed("zoe", "");
        assert!(path.starts_with("/password/new?user=zoe#"), "{path}");
        // And it works.
        let (_, secret) = path.split_once('#').unwrap();
        redeem(shop, "zoe", secret, FIRST).await.expect(200);
        signed_in(shop, Component::Gateway, "zoe", FIRST, "x").await;
    });
}

#[test]
fn in_a_demo_a_name_is_no_account() {
    own(&Setup::default(), async |shop| {
        let visitor = shop.person("visitor");
        let account = visitor.get("/api/account").await.expect(200);
        assert_eq!(account["email"], Value::Null);
        assert!(list(&account["sessions"]).is_empty());
        let token = json!({ "name": "ci", "scope": "read" });
        let refused = visitor.post("/api/account/tokens", &token).await;
        refused.problem(404, "unknown_user");
        let guess = json!({ "old_password": "a", "new_password": FIRST });
        let refused = visitor.post("/api/account/password", &guess).await;
        refused.problem(409, "no_password");

        // A persona has one, also by its name alone.
        let made = shop
            .alice()
            .post("/api/account/tokens", &token)
            .await
            .expect(201);
        let program = shop.alice().with_token(text(&made["token"]));
        let account = program.get("/api/account").await.expect(200);
        assert_eq!(account["tokens"][0]["name"], "ci", "{account}");
        program
            .post("/api/cart/clear", &json!({}))
            .await
            .refusal(403);
    });
}
