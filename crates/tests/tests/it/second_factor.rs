//! The second factor from its set-up to its end: the same at every gateway, each code
//! accepted once, whatever dies meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::shop::{Answer, Client, SOON, Shop, send, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own};

/// Seconds of a code.
const STEP: u64 = 30;

/// What an authenticator app shows, so many steps from now.
fn code(secret: &str, steps: i64) -> String {
    let secret = Secret::try_from_base32(secret.replace('-', "")).expect("base32");
    let app = Builder::new().with_secret(secret).build().expect("an app");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = now
        .as_secs()
        .saturating_add_signed(steps * STEP.cast_signed());
    app.generate(at).to_string()
}

/// Signs in with the password, and what is shown beside it.
async fn try_sign_in(by: &Client<'_>, name: &str, code: Option<&str>) -> Answer {
    let body = json!({ "username": name, "password": password(name), "code": code });
    send(by.request(Method::POST, "/login").json(&body)).await
}

fn cookie(answer: &Answer) -> String {
    let cookie = answer.cookies.first().expect("a cookie");
    cookie.split(';').next().unwrap_or_default().to_owned()
}

async fn signed_in<'a>(
    shop: &'a Shop,
    at: Component,
    name: &str,
    code: Option<&str>,
) -> Client<'a> {
    let answer = try_sign_in(&shop.anonymous().at(at), name, code).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    shop.person(name).at(at).with_cookie(&cookie(&answer))
}

/// Sets it up; answers the secret, the recovery codes, and what has confirmed it.
async fn set_up(person: &Client<'_>) -> (String, Vec<String>, String) {
    let own = json!({ "password": password(&person.name) });
    let begun = person.post("/api/account/factor/begin", &own).await;
    let begun = begun.expect(200);
    let secret = text(&begun["secret"]).to_owned();
    let uri = text(&begun["uri"]);
    assert!(uri.contains(&secret.replace('-', "")), "{uri}");
    let first = code(&secret, 0);
    let wrong = code(&secret, -9);
    let path = "/api/account/factor";
    let confirm = |code: &str| json!({ "code": code, "set_up": begun["set_up"] });
    let refused = person.post(path, &confirm(&wrong)).await;
    refused.problem(403, "wrong_code");
    let on = person.post(path, &confirm(&first)).await.expect(200);
    let codes = on["recovery_codes"].as_array().expect("codes").iter();
    let codes: Vec<_> = codes.map(|code| text(code).to_owned()).collect();
    assert_eq!(codes.len(), 10);
    let again = person.post(path, &confirm(&first)).await;
    again.problem(409, "has_factor");
    (secret, codes, first)
}

/// Waits until a gateway has heard of it.
async fn asks_for_a_code(shop: &Shop, at: Component, name: &str) {
    eventually("a code is asked for", SOON, async || {
        match try_sign_in(&shop.anonymous().at(at), name, None).await {
            answer if answer.status == 401 => {
                answer.problem(401, "code_needed");
                Ok(())
            }
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}

async fn answers(person: &Client<'_>, path: &str, status: u16) -> Answer {
    eventually(
        &format!("{} is answered {status} at {path}", person.name),
        SOON,
        async || match person.get(path).await {
            answer if answer.status == status => Ok(answer),
            answer => Err(format!("{} {}", answer.status, answer.text)),
        },
    )
    .await
}

/// How often each act of the second factor is in the log.
async fn noted(shop: &Shop, wanted: &[(&str, usize)]) {
    let auditor = shop.auditor();
    eventually("the log has each act", SOON * 2, async || {
        for (what, count) in wanted {
            let page = auditor.get(&format!("/api/audit?what={what}")).await;
            let page: Value = page.expect(200);
            if page["total"] != json!(count) {
                return Err(format!("{count} {what}: {page}"));
            }
            let text = page.to_string();
            for secret in ["sealed", "recovery code"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        Ok(())
    })
    .await;
}

#[test]
fn a_code_counts_once_at_two_gateways_and_after_a_crash() {
    own(&Setup::with_sessions(), async |shop| {
        shop.start_beside(Component::Gateway2).await;
        let laptop = signed_in(shop, Component::Gateway, "alice", None).await;
        let phone = signed_in(shop, Component::Gateway2, "alice", None).await;
        let (secret, recovery, first) = set_up(&laptop).await;
        // It stays signed in where it was switched on, and nowhere else.
        laptop.get("/api/cart").await.expect(200);
        answers(&phone, "/api/cart", 401).await;
        for at in [Component::Gateway, Component::Gateway2] {
            asks_for_a_code(shop, at, "alice").await;
        }
        let here = shop.anonymous();
        let there = shop.anonymous().at(Component::Gateway2);
        let used = try_sign_in(&here, "alice", Some(&first)).await;
        used.problem(401, "code_used");

        // The next one at both gateways at once: one of them takes it.
        let next = code(&secret, 1);
        let (one, other) = futures::join!(
            try_sign_in(&here, "alice", Some(&next)),
            try_sign_in(&there, "alice", Some(&next)),
        );
        let (taken, refused) = if one.status == 200 {
            (one, other)
        } else {
            (other, one)
        };
        assert_eq!(taken.status, 200, "{taken:?} {refused:?}");
        refused.problem(401, "code_used");
        // It stays used, also after the services have died.
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        for gateway in [&here, &there] {
            let used = try_sign_in(gateway, "alice", Some(&next)).await;
            used.problem(401, "code_used");
        }

        // A wrong one is wrong; a recovery code is good once, wherever.
        let wrong = try_sign_in(&there, "alice", Some("000000")).await;
        wrong.problem(401, "wrong_code");
        let code = recovery[0].to_lowercase().replace('-', " ");
        let tablet = signed_in(shop, Component::Gateway2, "alice", Some(&code)).await;
        let again = try_sign_in(&here, "alice", Some(&recovery[0])).await;
        again.problem(401, "wrong_code");
        let told = tablet.get("/api/account").await.expect(200);
        assert_eq!(told["factor"]["recovery_left"], 9, "{told}");

        // As a browser does it, begun at one gateway and ended at the other: what it holds
        // meanwhile opens nothing.
        let half = try_sign_in(&here, "alice", None).await;
        let half = cookie(&half);
        assert!(half.starts_with("waybill_half="), "{half}");
        let browser = shop.person("alice").at(Component::Gateway2);
        let browser = browser.with_cookie(&half);
        browser.get("/api/cart").await.refusal(401);
        let shown = json!({ "code": recovery[1] });
        let whole = browser.post("/login/code", &shown).await;
        assert_eq!(whole.status, 200, "{whole:?}");
        let whole = shop
            .person("alice")
            .at(Component::Gateway2)
            .with_cookie(&cookie(&whole));
        whole.get("/api/cart").await.expect(200);

        // Other recovery codes; then off, which signs out elsewhere.
        let own = |code: &str| json!({ "password": password("alice"), "code": code });
        let path = "/api/account/factor/recovery";
        let renewed = whole.post(path, &own(&recovery[2])).await.expect(200);
        let stale = try_sign_in(&here, "alice", Some(&recovery[3])).await;
        stale.problem(401, "wrong_code");
        let path = "/api/account/factor/off";
        let wrong = whole.post(path, &own("000000")).await;
        wrong.problem(403, "wrong_code");
        let wrong = json!({ "password": "wrong", "code": "000000" });
        let wrong = whole.post(path, &wrong).await;
        wrong.problem(403, "wrong_password");
        let fresh = text(&renewed["recovery_codes"][0]);
        whole.post(path, &own(fresh)).await.expect(200);
        whole.get("/api/cart").await.expect(200);
        answers(&tablet, "/api/cart", 401).await;
        answers(&laptop, "/api/cart", 401).await;
        signed_in(shop, Component::Gateway2, "alice", None).await;
        let acts = [
            ("factor_on", 1),
            ("recovery_renewed", 1),
            ("factor_off", 1),
            ("recovery_used", 4),
            // At the sign-in, used twice, from before others were made, and to switch it off.
            ("code_wrong", 4),
        ];
        noted(shop, &acts).await;
    });
}

#[test]
fn guesses_end_and_the_owner_gets_in() {
    own(&Setup::with_sessions(), async |shop| {
        let alice = signed_in(shop, Component::Gateway, "alice", None).await;
        let (_, recovery, _) = set_up(&alice).await;
        // The password is right each time, which makes the next guess no cheaper.
        let mut statuses = Vec::new();
        for number in 0..12 {
            let guess = format!("{number:06}");
            let tried = try_sign_in(&shop.anonymous(), "alice", Some(&guess)).await;
            statuses.push(tried.status);
        }
        assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
        // Where the owner is, they stay; and from elsewhere a recovery code lets them in.
        alice.get("/api/cart").await.expect(200);
        let elsewhere = shop.anonymous();
        let body = json!({
            "username": "alice", "password": password("alice"), "code": recovery[0],
        });
        let tried = eventually("the throttle lets go", Duration::from_mins(2), async || {
            let asked = elsewhere.request(Method::POST, "/login").json(&body);
            match send(asked).await {
                answer if answer.status == 429 => Err(answer.text),
                answer => Ok(answer),
            }
        });
        assert_eq!(tried.await.status, 200);
    });
}

#[test]
fn staff_set_it_up_first_and_an_admin_takes_it_away() {
    let setup = Setup::with_sessions().only_for(Component::Gateway2, "SECOND_FACTOR", "staff");
    own(&setup, async |shop| {
        shop.start_beside(Component::Gateway2).await;
        shop.add_person("sue", "support");
        let strict = Component::Gateway2;
        let sue = signed_in(shop, strict, "sue", None).await;
        for path in ["/api/account", "/api/orders", "/api/approvals"] {
            sue.get(path).await.problem(403, "factor_needed");
        }
        // A customer is asked for nothing, and a program of staff is refused.
        let alice = signed_in(shop, strict, "alice", None).await;
        alice.get("/api/orders").await.expect(200);
        let made = shop.run_gateway(&["token", "create", "--user", "sue"]);
        let token = String::from_utf8(made.stdout).unwrap();
        let program = shop.person("sue").at(strict).with_token(token.trim());
        let refused = answers(&program, "/api/orders", 403).await;
        refused.problem(403, "factor_needed");
        let (_, recovery, _) = set_up(&sue).await;
        sue.get("/api/approvals").await.expect(200);
        program.get("/api/orders").await.expect(200);
        // A program changes nothing of it.
        let own = json!({ "password": password("sue"), "code": recovery[0] });
        let refused = program.post("/api/account/factor/off", &own).await;
        refused.problem(403, "forbidden");

        // An admin takes it away, not their own; so does a command.
        let admin = signed_in(shop, Component::Gateway, "admin", None).await;
        let nothing = json!({});
        let own = admin.post("/api/people/admin/factor/reset", &nothing).await;
        own.problem(409, "own_account");
        let sues = admin.get("/api/people/sue").await.expect(200);
        assert_eq!(sues["factor"]["recovery_left"], 10, "{sues}");
        let path = "/api/people/sue/factor/reset";
        admin.post(path, &nothing).await.expect(200);
        answers(&sue, "/api/account", 401).await;
        let sue = signed_in(shop, strict, "sue", None).await;
        sue.get("/api/orders").await.problem(403, "factor_needed");
        set_up(&sue).await;
        let reset = shop.run_gateway(&["user", "reset-factor", "sue"]);
        assert!(reset.status.success(), "{reset:?}");
        answers(&sue, "/api/account", 401).await;
        let sue = signed_in(shop, strict, "sue", None).await;
        sue.get("/api/orders").await.problem(403, "factor_needed");
        noted(shop, &[("factor_on", 2), ("factor_reset", 2)]).await;
    });
}

/// The key of before is named while it is replaced: whoever comes with a code is under the
/// new one from then on. Without that, recovery codes open.
#[test]
fn another_session_key_loses_no_second_factor() {
    const OLD: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";
    const NEW: &str = "d81c3f60b7e94a25a1c07f5e92b46d38";
    let setup = Setup::with_sessions()
        .only_for(Component::Gateway2, "SESSION_KEY", NEW)
        .only_for(Component::Gateway2, "SESSION_KEY_PREVIOUS", OLD);
    own(&setup, async |shop| {
        shop.start_beside(Component::Gateway2).await;
        let alice = signed_in(shop, Component::Gateway, "alice", None).await;
        let (secret, recovery, _) = set_up(&alice).await;
        asks_for_a_code(shop, Component::Gateway2, "alice").await;
        let next = code(&secret, 1);
        signed_in(shop, Component::Gateway2, "alice", Some(&next)).await;
        // The old gateway cannot read what is kept under the new key, and says so.
        let old = shop.anonymous();
        eventually(
            "the old gateway hears of it",
            SOON,
            async || match try_sign_in(&old, "alice", Some(&next)).await {
                answer if answer.status == 409 => {
                    answer.problem(409, "factor_unreadable");
                    Ok(())
                }
                answer => Err(format!("{answer:?}")),
            },
        )
        .await;
        signed_in(shop, Component::Gateway, "alice", Some(&recovery[0])).await;
    });
}
