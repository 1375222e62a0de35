//! The audit log: every act leaves one entry, the same at every gateway, whatever dies
//! meanwhile; and a flood leaves few.

use std::fs;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use waybill_domain::Timestamp;

use crate::reconcile::sqlite;
use crate::shop::{Answer, Client, SOON, Shop, send, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own};

/// What stands in an entry, as far as a test foresees it: what, on whom, by whom, and
/// whether it was asked for by a request.
type Foreseen = (&'static str, String, &'static str, bool);

fn foreseen(what: &'static str, on: &str, who: &'static str, is_request: bool) -> Foreseen {
    (what, on.to_owned(), who, is_request)
}

/// The whole log, as somebody sees it, oldest first.
async fn log(admin: &Client<'_>, query: &str) -> Vec<Value> {
    let path = format!("/api/audit?per_page=100&{query}");
    let mut page = admin.get(&path).await.expect(200);
    let Value::Array(mut entries) = page["entries"].take() else {
        panic!("{path} is no list: {page}");
    };
    assert!(
        page["total"].as_u64().unwrap() <= 100,
        "one page holds all of it"
    );
    entries.reverse();
    entries
}

/// The same as far as it is foreseen.
fn seen(entries: &[Value]) -> Vec<(String, String, String, bool)> {
    let mut seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let is_request = !entry["request"].is_null();
            assert_eq!(is_request, !entry["address"].is_null(), "{entry}");
            if is_request {
                assert_eq!(entry["address"], "127.0.0.1", "{entry}");
                assert_eq!(text(&entry["request"]).len(), 16, "{entry}");
            }
            let word = |name: &str| text(&entry[name]).to_owned();
            let on = match &*word("what") {
                // By its digest.
                "catalog_imported" => "a file".to_owned(),
                _ => word("subject"),
            };
            (word("what"), on, word("who"), is_request)
        })
        .collect();
    seen.sort();
    seen
}

/// Waits until a gateway shows exactly these.
async fn shows(admin: &Client<'_>, wanted: &[Foreseen]) -> Vec<Value> {
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|(what, on, who, request)| {
            ((*what).to_owned(), on.clone(), (*who).to_owned(), *request)
        })
        .collect();
    wanted.sort();
    eventually("the log holds each act once", SOON * 3, async || {
        let entries = log(admin, "").await;
        let seen = seen(&entries);
        if seen == wanted {
            return Ok(entries);
        }
        let lacks: Vec<_> = wanted.iter().filter(|it| !seen.contains(it)).collect();
        let more: Vec<_> = seen.iter().filter(|it| !wanted.contains(it)).collect();
        Err(format!(
            "{} of {}; lacks {lacks:?}; has {more:?}",
            seen.len(),
            wanted.len()
        ))
    })
    .await
}

async fn log_in(person: &Client<'_>, password: &str) -> Answer {
    let body = json!({ "username": person.name, "password": password });
    send(person.request(Method::POST, "/login").json(&body)).await
}

/// What a command has said.
fn command(shop: &Shop, arguments: &[&str]) -> String {
    let done = shop.run_gateway(arguments);
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// Entries in an order of their own.
fn by_id(mut entries: Vec<Value>) -> Vec<Value> {
    entries.sort_by_key(|entry| text(&entry["id"]).to_owned());
    entries
}

/// People, by the command line; answers a token that was revoked.
fn people(shop: &Shop, acts: &mut Vec<Foreseen>) -> String {
    let of_dora = |what| foreseen(what, "dora", "operator", false);
    let arguments = [
        "user",
        "create",
        "dora",
        "--email",
        "dora@example.com",
        "--link",
    ];
    command(shop, &arguments);
    command(shop, &["user", "role", "dora", "support"]);
    // What is so already is no act.
    command(shop, &["user", "role", "dora", "support"]);
    command(shop, &["user", "passwd", "dora", "--link"]);
    command(shop, &["user", "disable", "dora"]);
    command(shop, &["user", "enable", "dora"]);
    let doras = command(shop, &["token", "create", "--user", "dora"]);
    let listed = command(shop, &["token", "list", "--user", "dora"]);
    let id = listed.split('\t').next().unwrap();
    command(shop, &["token", "revoke", id]);
    for what in [
        "user_made",
        "role_set",
        "link_made",
        "user_disabled",
        "user_enabled",
    ] {
        acts.push(of_dora(what));
    }
    acts.extend([of_dora("token_made"), of_dora("token_revoked")]);
    doras
}

/// Bob, who does not know his old one at first.
async fn changes_his_password(shop: &Shop, acts: &mut Vec<Foreseen>) {
    let signed_in = log_in(&shop.bob(), &password("bob")).await;
    let cookie = signed_in.cookies[0].split(';').next().unwrap();
    let bob = shop.bob().with_cookie(cookie);
    let mut asked = json!({ "old_password": "wrong", "new_password": "six Lanterns at 4 am" });
    let path = "/api/account/password";
    bob.post(path, &asked).await.problem(403, "wrong_password");
    asked["old_password"] = password("bob").into();
    bob.post(path, &asked).await.expect(200);
    for what in ["sign_in", "sign_in_failed", "password_set"] {
        acts.push(foreseen(what, "bob", "bob", true));
    }
}

/// Orders: approved and then recalled, rejected, cancelled.
async fn decisions(shop: &Shop, alice: &Client<'_>, admin: &Client<'_>, acts: &mut Vec<Foreseen>) {
    let sent = alice.buy("P001", 1, "sent").await;
    let refused = alice.buy("P002", 1, "refused").await;
    alice.add("P003", 1).await;
    let unwanted = alice.checkout("unwanted").await;
    unwanted.cancel().await;
    admin.approve(&sent).await;
    // The second gateway is away meanwhile, and the first after that.
    shop.kill(Component::Gateway2);
    admin.reject(&refused, "late").await;
    sent.until("in_transit").await;
    sent.recall().await;
    sent.until("cancelled").await;
    refused.until("rejected").await;
    acts.push(foreseen("approved", &sent.id, "admin", true));
    acts.push(foreseen("cancelled", &sent.id, "restate", false));
    acts.push(foreseen("refunded", &sent.id, "restate", false));
    acts.push(foreseen("rejected", &refused.id, "admin", true));
    acts.push(foreseen("cancelled", &unwanted.id, "alice", true));
}

/// The file has each once, too, although its gateway was killed.
async fn is_filed(file: &Path, admin: &Client<'_>) {
    eventually("the file has what the table has", SOON, async || {
        let lines = fs::read_to_string(file).unwrap_or_default();
        let mut written: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        written.sort_by_key(|entry| text(&entry["id"]).to_owned());
        written.dedup_by_key(|entry| text(&entry["id"]).to_owned());
        let mut here = by_id(log(admin, "").await);
        for entry in &mut here {
            entry["target"] = json!("audit");
        }
        if written == here {
            Ok(())
        } else {
            Err(format!("{} of {}", written.len(), here.len()))
        }
    })
    .await;
}

#[test]
fn every_act_leaves_one_entry_at_both_gateways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let setup = Setup::with_sessions()
        .hearing_both()
        .and("DELIVERY_TIME", "20s")
        .only_for(Component::Gateway, "AUDIT_LOG", file.to_str().unwrap());
    own(&setup, async |shop| {
        shop.start_beside(Component::Gateway2).await;
        let token = shop.admin_token.clone().unwrap();
        let admin = shop.admin().with_token(&token);
        let mut acts = vec![foreseen("token_made", "admin", "operator", false)];
        for name in ["alice", "bob", "admin"] {
            acts.push(foreseen("user_made", name, "operator", false));
        }
        // How the shop was opened.
        for zone in ["Continental", "Domestic", "International", "Local"] {
            acts.push(foreseen("zone_set", zone, "operator", false));
        }
        acts.push(foreseen("catalog_imported", "a file", "operator", false));

        let doras = people(shop, &mut acts);

        // In and out; the services die as soon as they have answered.
        let failed = log_in(&shop.alice(), "wrong").await;
        assert_eq!(failed.status, 401, "{failed:?}");
        let signed_in = log_in(&shop.alice(), &password("alice")).await;
        assert_eq!(signed_in.status, 200, "{signed_in:?}");
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        let cookie = signed_in.cookies[0].split(';').next().unwrap();
        let alice = shop.alice().with_cookie(cookie);
        acts.push(foreseen("sign_in_failed", "alice", "alice", true));
        acts.push(foreseen("sign_in", "alice", "alice", true));

        decisions(shop, &alice, &admin, &mut acts).await;

        // The shelf, twice with one key.
        let more = json!({ "quantity": 3 });
        for _ in 0..2 {
            let again = admin
                .post_keyed("/api/products/1/restock", "shelf", &more)
                .await;
            again.expect(200);
        }
        shop.kill(Component::Gateway);
        shop.start_again(Component::Gateway).await;
        acts.push(foreseen("restocked", "P001", "admin", true));

        // A request's id is that of its answer.
        let asked = admin.request(Method::POST, "/api/products/2/restock");
        let answer = asked.json(&more).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let request_id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        acts.push(foreseen("restocked", "P002", "admin", true));

        changes_his_password(shop, &mut acts).await;
        alice.post("/logout", &json!({})).await.expect(200);
        acts.push(foreseen("sign_out", "alice", "alice", true));

        // Something is spoilt here, and mended.
        sqlite(
            shop,
            &["UPDATE order_payments SET amount_cents = 7 WHERE order_id = 'alice.sent'"],
        )
        .await;
        command(shop, &["reconcile", "--repair"]);
        acts.push(foreseen(
            "reconciled",
            "order alice.sent",
            "operator",
            false,
        ));

        shop.start_again(Component::Gateway2).await;
        let here = shows(&admin, &acts).await;
        let there = shows(&admin.clone().at(Component::Gateway2), &acts).await;
        assert_eq!(by_id(here.clone()), by_id(there), "the same at both");

        // What is asked for is found.
        let found = log(&admin, "who=operator&what=role_set").await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["detail"], "support");
        let found = log(&admin, "what=restocked&who=admin").await;
        assert_eq!(found.last().unwrap()["request"], request_id);
        assert!(log(&admin, "to=2020-01-01").await.is_empty());
        assert_eq!(log(&admin, "from=2020-01-01").await.len(), here.len());
        let told = json!(here).to_string();
        for secret in [&doras, &token, &password("alice"), "argon2"] {
            assert!(!told.contains(secret), "{secret} is in the log");
        }

        // Nobody else reads it.
        let again = log_in(&shop.alice(), &password("alice")).await;
        let cookie = again.cookies[0].split(';').next().unwrap();
        let alice = shop.alice().with_cookie(cookie);
        alice.get("/api/audit").await.problem(403, "forbidden");
        alice.get("/audit").await.refusal(403);

        is_filed(&file, &admin).await;
    });
}

#[test]
fn a_flood_of_failed_sign_ins_leaves_few_entries_and_their_number() {
    own(&Setup::with_sessions(), async |shop| {
        let admin = shop.auditor();
        let mut tried = 0;
        for round in 0..4 {
            for number in 0..25 {
                let name = format!("nobody{number}");
                let answer = log_in(&shop.person(&name), &format!("guess {round}")).await;
                tried += u32::from(matches!(answer.status, 401 | 429));
            }
        }
        assert!(tried >= 90, "{tried}");
        // What is gathered is told when the gateway stops, at the latest.
        shop.stop(Component::Gateway).await;
        shop.start_again(Component::Gateway).await;
        eventually("each try is counted", SOON, async || {
            let entries = log(&admin, "what=sign_in_failed").await;
            assert!(entries.len() <= 21, "{}", entries.len());
            let counts = entries.iter().filter_map(|entry| entry["count"].as_u64());
            match counts.sum::<u64>() {
                sum if sum == u64::from(tried) => Ok(()),
                sum => Err(format!("{sum} of {tried}")),
            }
        })
        .await;
    });
}

#[test]
fn an_old_day_is_forgotten_everywhere() {
    // A gateway looks as often as the shorter of its two asks for.
    let setup =
        Setup::with("AUDIT_RETENTION", "2d").only_for(Component::Gateway, "ORDER_RETENTION", "30s");
    own(&setup, async |shop| {
        let call =
            async |target: String, body: String| shop.call_signed(&target, body).await.status();
        let note = async |day: &str, at: &str, id: &str| {
            let entry = json!({
                "id": id, "at": at, "what": "restocked", "who": "admin", "subject": "P001",
            });
            call(format!("AuditLog/{day}/Note"), entry.to_string()).await
        };
        let now = Timestamp::now().to_string();
        let today = now.split('T').next().unwrap();
        assert_eq!(note("2020-01-01", "2020-01-01T12:00:00Z", "old").await, 200);
        assert_eq!(note(today, &now, "new").await, 200);
        // Once by its id, and in its own day.
        assert_eq!(note(today, &now, "new").await, 200);
        assert_eq!(note("2020-01-02", &now, "elsewhere").await, 400);
        // Today cannot be forgotten, whoever asks.
        let forgotten = call(format!("AuditLog/{today}/Forget"), String::new()).await;
        assert_eq!(forgotten, 400);

        eventually("only what is new is left", SOON, async || {
            let held = shop
                .sql("SELECT service_key FROM state WHERE service_name = 'AuditLog' AND key LIKE 'entry:%'")
                .await;
            let shown = log(&shop.admin(), "").await;
            let ids: Vec<_> = shown.iter().map(|entry| text(&entry["id"])).collect();
            if held.len() == 1 && ids == ["new"] {
                Ok(())
            } else {
                Err(format!("{held:?} {ids:?}"))
            }
        })
        .await;
    });
}
