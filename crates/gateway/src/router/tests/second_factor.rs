//! The second factor through the front door, as far as it can be had while Restate is
//! away: what opens nothing, and what opens the set-up alone.

use waybill_domain::account::{Factor, Scope, Token, Way, WrongCodes};

use super::authority::{FORMS, outcome, place, sorted};
use super::*;
use crate::authority::{Allow, Row};
use crate::identity::half_signed_in::HalfSignedIn;
use crate::identity::secret;

const KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";
const LINE: [&str; 6] = [
    "--session-key",
    KEY,
    "--payment-webhook-secret",
    "s",
    "--services-updates-urls",
    "http://127.0.0.1:9/updates",
];
/// No other site can have sent it.
const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
const STAFF: [&str; 2] = ["--second-factor", "staff"];

async fn shop(more: &[&str]) -> Subject {
    Subject::with(&[&LINE[..], more].concat()).await
}

impl Subject {
    /// Asks a route with a cookie.
    async fn ask_with(
        &self,
        row: &Row,
        cookie: &str,
        form: (&str, &str),
    ) -> axum::response::Response {
        let request = ask(
            row.method.as_str(),
            &place(row),
            &[form, ("cookie", cookie)],
        )
        .header("content-type", "application/json")
        // No other site can have sent it.
        .header("sec-fetch-site", "same-origin")
        .body(Body::from("{}"))
        .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn with_factor(&self, name: &str) {
        self.change(name, |account| {
            account.factor = Some(Factor {
                sealed: "sealed".into(),
                since: Timestamp::now(),
                last_step: 1,
                recovery: vec![secret::fingerprint("recovery")],
                wrong: WrongCodes::default(),
                known: vec![],
            });
        })
        .await;
    }
}

/// Who has shown a password, and no code, may do what anybody may.
#[tokio::test]
async fn a_password_without_its_code_opens_nothing() {
    let shop = shop(&[]).await;
    shop.with_factor("admin").await;
    let user = Username::parse("admin").unwrap();
    let hash = shop.infra.user(&user).await.unwrap().unwrap();
    let hash = hash.password_hash.unwrap();
    let kept = HalfSignedIn::new(user, &hash, Some("/orders")).seal(&shop.infra.auth.vault);
    let mut closed = 0;
    for cookie in [
        format!("waybill_half={kept}"),
        format!("waybill_session={kept}"),
        format!("waybill_session={kept}; waybill_half={kept}; waybill_set_up={kept}"),
    ] {
        for row in sorted() {
            if row.allow == Allow::Provider {
                continue;
            }
            for form in FORMS {
                let answer = shop.ask_with(&row, &cookie, form).await;
                let what = format!("{} {} {form:?}", row.method, row.path);
                let outcome = outcome(answer).await;
                match row.allow {
                    // What it is for says that the code is missing in the request.
                    Allow::Anybody => assert_ne!(outcome, "403", "{what}"),
                    Allow::DemoVisitor | Allow::DemoAdmin => assert_eq!(outcome, "404", "{what}"),
                    _ => {
                        closed += 1;
                        assert_eq!(outcome, "401", "{what}");
                    }
                }
            }
        }
    }
    assert!(closed > 400, "{closed}");
    // It leads to the page that asks for the code, and to no other account.
    let cookie = ("cookie", format!("waybill_half={kept}"));
    let cookie = (cookie.0, cookie.1.as_str());
    let page = shop.get("/login/code", &[HTML, cookie]).await;
    assert_eq!(page.status, 200);
    for said in ["autocomplete=\"one-time-code\"", "inputmode=\"numeric\""] {
        assert!(page.text.contains(said), "{}", page.text);
    }
    let without = shop.get("/login/code", &[HTML]).await;
    assert_eq!(without.status, 303);
    assert_eq!(without.header("location"), "/login");
    // A code that cannot be one is told on the same page.
    let typed = json!({ "code": "12" });
    let typed = shop
        .post("/login/code", &[HTML, cookie, OURS], &typed)
        .await;
    assert_eq!(typed.status, 400);
    assert!(typed.text.contains("id=\"wrong\""), "{}", typed.text);
    let code = json!({ "code": "123456" });
    let nobody = shop.post("/login/code", &[], &code).await;
    assert_eq!(nobody.kind(401), "sign_in_over");
    // Another password ends it.
    shop.change("admin", |account| {
        account.password_hash = Some("new".into());
    })
    .await;
    let over = shop.post("/login/code", &[cookie, OURS], &code).await;
    assert_eq!(over.kind(401), "sign_in_over");
    assert!(over.header("set-cookie").contains("Max-Age=0"));
}

/// A right password of somebody with a second factor is answered with what is missing,
/// without a session, in the form that its asker reads.
#[tokio::test]
async fn a_right_password_alone_is_told_what_is_missing() {
    let shop = Subject::with(&["--auth-mode", "demo"]).await;
    shop.with_factor("alice").await;
    let right = json!({ "username": "alice", "password": "alice-demo", "next": "/orders" });
    let api = shop.post("/login", &[], &right).await;
    assert!(!api.header("set-cookie").contains("waybill_session"));
    assert_eq!(api.kind(401), "code_needed");
    assert_eq!(api.json()["field"], "code");
    let page = shop.post("/login", &[HTML], &right).await;
    assert_eq!(page.status, 303);
    assert_eq!(page.header("location"), "/login/code");
    assert!(page.header("set-cookie").starts_with("waybill_half="));
    let wrong = json!({ "username": "alice", "password": "wrong", "code": "123456" });
    let refused = shop.post("/login", &[], &wrong).await;
    assert_eq!(refused.kind(401), "wrong_credentials");
    // What was sealed under a key that is gone cannot be checked, and is no wrong guess.
    let with_code = json!({ "username": "alice", "password": "alice-demo", "code": "123456" });
    for _ in 0..10 {
        let refused = shop.post("/login", &[], &with_code).await;
        assert_eq!(refused.kind(409), "factor_unreadable");
    }
}

/// `SECOND_FACTOR=staff`: a session of staff without one opens the set-up, in whatever
/// form it is asked.
#[tokio::test]
async fn staff_without_a_second_factor_may_set_one_up_and_nothing_else() {
    let shop = shop(&STAFF).await;
    for name in ["admin", "bob"] {
        let role = match name {
            "admin" => waybill_domain::account::Role::Admin,
            _ => waybill_domain::account::Role::Support,
        };
        shop.change(name, |account| account.role = role).await;
        let cookie = shop.cookie_of(name).await;
        let mut closed = 0;
        for row in sorted() {
            // It would sign out.
            if row.path == "/logout" || row.allow.is_of_a_demo() || row.allow == Allow::Provider {
                continue;
            }
            for form in FORMS {
                let answer = shop.ask_with(&row, &cookie, form).await;
                let what = format!("{} {} {form:?} by {name}", row.method, row.path);
                match row.allow {
                    Allow::Anybody | Allow::SettingUp => {
                        let led = answer.headers().get("location");
                        let led = led.is_some_and(|to| to == "/account/factor");
                        assert!(!led, "{what}");
                        assert_ne!(outcome(answer).await, "403", "{what}");
                    }
                    _ => {
                        closed += 1;
                        assert!(is_led_to_set_up(answer).await, "{what}");
                    }
                }
            }
        }
        assert!(closed > 130, "{closed}");
    }
    // A customer needs none.
    let alice = shop.cookie_of("alice").await;
    let page = shop.get("/orders", &[HTML, ("cookie", &alice)]).await;
    assert_eq!(page.status, 200);
}

/// Whether an answer says that a second factor is missing, and nothing more.
async fn is_led_to_set_up(answer: axum::response::Response) -> bool {
    let to = answer.headers().get("location").cloned();
    if to.is_some_and(|to| to == "/account/factor") {
        return answer.status() == 303;
    }
    let mut text = String::new();
    let (status, mut body) = (answer.status(), answer.into_body());
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            text += &String::from_utf8_lossy(&frame.into_data().unwrap_or_default());
            if text.contains("econd factor") && text.ends_with("\n\n") {
                break;
            }
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    read.unwrap_or_else(|_| panic!("nothing is said: {text}"));
    let is_said = text.contains("needs a second factor here");
    let is_clean = !text.contains("id=\"input\"");
    is_said && is_clean && [200, 403].contains(&status.as_u16())
}

#[tokio::test]
async fn who_owes_a_second_factor_is_told_by_how_they_came_in() {
    let shop = shop(&STAFF).await;
    let cookie = shop.cookie_of("admin").await;
    let cookie = [("cookie", cookie.as_str())];
    let token = "waybill_of-a-program";
    let bearer = format!("Bearer {token}");
    let bearer = [("authorization", bearer.as_str())];
    shop.change("admin", |account| {
        account.tokens.push(Token {
            fingerprint: secret::fingerprint(token),
            name: "ci".into(),
            scope: Scope::Full,
            created_at: Timestamp::now(),
            expires_at: None,
            seen_at: None,
        });
    })
    .await;
    let cart = "/api/account";
    for credential in [&cookie, &bearer] {
        assert_eq!(shop.get(cart, credential).await.kind(403), "factor_needed");
    }
    // In a browser a page leads to where it is set up, and that is shown.
    let page = shop.get("/account", &[HTML, cookie[0]]).await;
    assert_eq!(page.header("location"), "/account/factor");
    let page = shop.get("/account/factor", &[HTML, cookie[0]]).await;
    assert!(page.text.contains("Your role needs a second factor"));
    // The identity provider has asked for what it wants; a token of somebody who has no
    // password stands for nobody's password.
    shop.change("admin", |account| account.sessions[0].way = Way::Provider)
        .await;
    assert_eq!(shop.get(cart, &cookie).await.status, 200);
    assert_eq!(shop.get(cart, &bearer).await.kind(403), "factor_needed");
    let hash = "hash".to_owned();
    shop.change("admin", |account| account.password_hash = None)
        .await;
    assert_eq!(shop.get(cart, &bearer).await.status, 200);
    shop.change("admin", |account| {
        account.password_hash = Some(hash);
        account.sessions[0].way = Way::Password;
    })
    .await;
    assert_eq!(shop.get(cart, &cookie).await.kind(403), "factor_needed");
    shop.with_factor("admin").await;
    for credential in [&cookie, &bearer] {
        assert_eq!(shop.get(cart, credential).await.status, 200);
    }
    let told = shop.get(cart, &cookie).await.json();
    assert_eq!(told["factor"]["recovery_left"], 1);
    assert!(!told.to_string().contains("sealed"), "{told}");
    // A demo is what it was.
    let demo = Subject::with(&[&["--auth-mode", "demo"][..], &STAFF].concat()).await;
    let persona = demo.cookie_of("admin").await;
    let answer = demo.get(cart, &[("cookie", &persona)]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_set_up_shows_its_secret_in_the_browser_that_began_it() {
    let demo = Subject::demo().await;
    let alice = demo.cookie_of("alice").await;
    let session = ("cookie", alice.as_str());
    let path = "/api/account/factor/begin";
    let wrong = demo
        .post(path, &[session, OURS], &json!({ "password": "wrong" }))
        .await;
    assert_eq!(wrong.kind(403), "wrong_password");
    // A browser is led back to the form, which says so.
    let password = json!({ "password": "wrong" });
    let wrong = demo.post(path, &[HTML, session, OURS], &password).await;
    assert_eq!(wrong.status, 303);
    let page = demo.get(wrong.header("location"), &[HTML, session]).await;
    assert!(page.text.contains("The password is wrong"), "{}", page.text);
    let right = json!({ "password": "alice-demo" });
    let begun = demo.post(path, &[session, OURS], &right).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let told = begun.json();
    let secret = told["secret"].as_str().unwrap();
    let kept = begun.header("set-cookie").split(';').next().unwrap();
    assert!(kept.starts_with("waybill_set_up=") && !kept.contains(secret));
    let both = format!("{alice}; {kept}");
    let page = demo
        .get("/account/factor", &[HTML, ("cookie", &both)])
        .await;
    assert!(page.text.contains(secret), "{}", page.text);
    assert!(page.text.contains("data:image&#x2f;svg"), "{}", page.text);
    let other = demo.get("/account/factor", &[HTML, session]).await;
    assert!(!other.text.contains(secret));
    // It is of no use to somebody else, and a wrong first code switches nothing on.
    let bob = demo.cookie_of("bob").await;
    let bobs = format!("{bob}; {kept}");
    let code = json!({ "code": "000000" });
    let path = "/api/account/factor";
    let refused = demo.post(path, &[("cookie", &bobs), OURS], &code).await;
    assert_eq!(refused.kind(410), "set_up_over");
    let refused = demo.post(path, &[("cookie", &both), OURS], &code).await;
    assert_eq!(refused.kind(403), "wrong_code");
    // Where there is none, nothing is renewed or switched off.
    let off = json!({ "password": "alice-demo", "code": "000000" });
    for path in ["/api/account/factor/off", "/api/account/factor/recovery"] {
        let refused = demo.post(path, &[session, OURS], &off).await;
        assert_eq!(refused.kind(409), "no_factor", "{path}");
    }
}
