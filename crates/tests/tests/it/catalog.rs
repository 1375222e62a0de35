//! What is sold and where it is shipped: changed by admins, imported as a file, and the
//! same at every gateway, whatever was away or is lost.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::shop::{Client, SOON, Shop, order_form, send, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own};

/// Waits until what is there is what it should be.
async fn shows(who: &Client<'_>, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{path} is as it should be"), SOON, async || {
        let answer = who.get(path).await;
        if answer.status == 200 && is_it(&answer.body) {
            Ok(answer.body)
        } else {
            Err(format!("{} {}", answer.status, answer.text))
        }
    })
    .await
}

fn kettle(cents: i64) -> Value {
    json!({ "sku": "K-1", "name": "Kettle", "category": "Kitchen", "price_cents": cents,
        "stock": 5 })
}

fn edit(version: i64, cents: i64) -> Value {
    json!({ "version": version, "name": "Kettle", "category": "Kitchen", "price_cents": cents })
}

/// Takes a gateway's file away, as a new machine would begin.
async fn lose_the_file(shop: &Shop) {
    shop.kill(Component::Gateway);
    let file = shop.database();
    for end in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(end);
        let _ = fs::remove_file(name);
    }
    shop.start_again(Component::Gateway).await;
}

const AT_KETTLE: &str = "/api/catalog/products/K-1";

#[test]
fn a_product_is_the_same_at_every_gateway_and_after_every_loss() {
    own(
        &Setup::default().lasting(Duration::from_mins(5)),
        async |shop| {
            shop.start_beside(Component::Gateway2).await;
            let (admin, alice) = (shop.admin(), shop.alice());
            let there = shop.admin().at(Component::Gateway2);
            // Nobody else may.
            for path in ["/api/catalog/products", "/api/catalog/zones"] {
                alice.get(path).await.problem(403, "forbidden");
            }
            let made = admin.post("/api/catalog/products", &kettle(2_500)).await;
            let made = made.expect(201);
            assert_eq!(made["id"], 29, "the demo's have 1 to 28: {made}");
            let taken = admin.post("/api/catalog/products", &kettle(1)).await;
            assert_eq!(taken.problem(409, "sku_taken")["field"], "sku");

            // It can be sold at once, and at the other gateway a moment later.
            let one = json!({ "sku": "K-1", "quantity": 1 });
            alice.post("/api/cart/add", &one).await.expect(200);
            let order = alice.checkout("kettle").await;
            order.cancel().await;
            order.until("cancelled").await;
            shows(&there, "/api/products/29", |it| it["stock_qty"] == 5).await;

            // Two edit it: the second is told what stands.
            let dearer = there.post(AT_KETTLE, &edit(1, 3_000)).await.expect(200);
            assert_eq!(dearer["prices"][0]["by"], "admin", "{dearer}");
            assert_eq!(dearer["prices"][1]["price_cents"], 2_500, "{dearer}");
            let late = admin.post(AT_KETTLE, &edit(1, 2_000)).await;
            let late = late.problem(409, "edited_meanwhile");
            let said = text(&late["detail"]);
            assert!(said.contains("price is $30.00 and not $20.00"), "{said}");

            // The cart keeps what was agreed; the checkout says what has changed, by line.
            let mut form = order_form("agreed");
            form["zone"] = json!("Local");
            form["expected_total_cents"] = json!(2 * 3_000 + 500);
            alice.post("/api/cart/add", &one).await.expect(200);
            admin.post(AT_KETTLE, &edit(2, 3_500)).await.expect(200);
            let changed = alice.post("/api/checkout", &form).await;
            let changed = changed.problem(409, "price_changed");
            assert_eq!(changed["total_cents"], 2 * 3_500 + 500, "{changed}");
            let line =
                json!({ "sku": "K-1", "name": "Kettle", "was_cents": 3_000, "now_cents": 3_500 });
            assert_eq!(changed["lines"], json!([line]), "{changed}");

            // Archived: not listed, not added, and named where it is in a cart.
            let archive = format!("{AT_KETTLE}/archive");
            admin.post(&archive, &json!({})).await.expect(200);
            let listed = alice.get("/api/products?q=Kettle").await.expect(200);
            assert_eq!(listed["total"], 0, "{listed}");
            let add = json!({ "product_id": 29, "quantity": 1 });
            let gone = alice.post("/api/cart/add", &add).await;
            let gone = gone.problem(409, "not_sold");
            assert!(
                text(&gone["detail"]).contains("Kettle is no longer sold"),
                "{gone}"
            );
            form["expected_total_cents"] = Value::Null;
            let gone = alice.post("/api/checkout", &form).await;
            let gone = gone.problem(409, "not_sold");
            assert_eq!(gone["products"][0]["sku"], "K-1", "{gone}");

            // One gateway is away, and the other loses its file.
            shop.kill(Component::Gateway2);
            admin
                .post(&format!("{AT_KETTLE}/restore"), &json!({}))
                .await
                .expect(200);
            let moon = json!({ "zone": "Moon", "cost_cents": 99 });
            admin.post("/api/catalog/zones", &moon).await.expect(201);
            let shouted = json!({ "zone": "MOON", "cost": "1.00" });
            let shouted = admin.post("/api/catalog/zones", &shouted).await;
            assert_eq!(shouted.problem(409, "zone_taken")["field"], "zone");
            let closed = "/api/catalog/zones/Local/archive";
            admin.post(closed, &json!({})).await.expect(200);
            let before = admin.get(AT_KETTLE).await.expect(200);
            lose_the_file(shop).await;
            shop.start_again(Component::Gateway2).await;
            for gateway in [&admin, &there] {
                shows(gateway, AT_KETTLE, |it| *it == before).await;
                let zones = shows(gateway, "/api/zones", |it| {
                    it["zones"].as_array().is_some_and(|zones| zones.len() == 4)
                });
                let zones = zones.await.to_string();
                assert!(
                    zones.contains("Moon") && !zones.contains("Local"),
                    "{zones}"
                );
                let first = shows(gateway, "/api/products/1", |it| it["sku"] == "P001").await;
                assert_eq!(first["price_cents"], 2_500, "{first}");
            }
            // Who has done what is in the audit log.
            let log = shows(&admin, "/api/audit?what=price", |it| it["total"] == 2).await;
            assert_eq!(log["entries"][0]["subject"], "K-1", "{log}");
            alice.post("/api/cart/clear", &json!({})).await.expect(200);
        },
    );
}

/// A file of so many products.
fn file(count: u32, cents: u32) -> String {
    let mut file = "sku,name,price,stock\n".to_owned();
    for n in 0..count {
        let _ = writeln!(file, "S-{n},Thing {n},{}.{:02},7", cents / 100, cents % 100);
    }
    file
}

#[test]
fn an_import_is_all_or_nothing_and_is_written_whatever_dies() {
    own(
        &Setup::default().lasting(Duration::from_mins(5)),
        async |shop| {
            let admin = shop.admin();
            let import = async |csv: &str, is_dry_run: bool| {
                let body = json!({ "csv": csv, "dry_run": is_dry_run });
                admin.post("/api/catalog/import", &body).await
            };
            let wrong = import("sku;name;price\nA;Apple;1,50\nB C;Pear;x\n", false).await;
            let wrong = wrong.refusal(400);
            let places = wrong["mistakes"].as_array().expect("a list").iter();
            let places: Vec<_> = places
                .map(|it| (&it["line"], text(&it["column"])))
                .collect();
            assert_eq!(
                places,
                [(&json!(3), "sku"), (&json!(3), "price")],
                "{wrong}"
            );
            let plan = import(&file(450, 150), true).await.expect(200);
            assert_eq!(plan["done"]["added"], 450, "{plan}");
            let none = admin.get("/api/products?q=S-").await.expect(200);
            assert_eq!(none["total"], 0, "nothing was done yet");

            // The services die while it is written, and Restate goes on with them.
            let begun = import(&file(450, 150), false).await.expect(202);
            shop.kill(Component::Services);
            shop.start_again(Component::Services).await;
            let path = format!("/api/catalog/import/{}", text(&begun["import"]));
            let done = shows(&admin, &path, |it| it["is_over"] == true).await;
            let all = json!({ "added": 450, "changed": 0, "unchanged": 0 });
            assert_eq!(done["done"], all, "{done}");
            let listed = "/api/products?q=Thing&per_page=1";
            shows(&admin, listed, |it| it["total"] == 450).await;
            let last = "/api/products?q=S-449";
            shows(&admin, last, |it| it["products"][0]["stock_qty"] == 7).await;
            let level = shop.state("Inventory", "S-449", "level").await;
            assert_eq!(level.expect("it is announced")["available"], 7);

            // The same again changes nothing, and what is exported comes back the same.
            let same = import(&file(450, 150), true).await.expect(200);
            assert_eq!(same["done"]["unchanged"], 450, "{same}");
            let exported = admin.get("/api/catalog/export").await;
            assert_eq!(exported.status, 200);
            let again = import(&exported.text, true).await.expect(200);
            assert_eq!(again["done"]["unchanged"], 450 + 28, "{again}");

            // By the command line, which needs no gateway; prices keep who and when.
            let path = shop.database().with_file_name("prices.csv");
            fs::write(&path, file(3, 200)).expect("a file");
            let name = path.display().to_string();
            let said = |arguments: &[&str]| {
                let done = shop.run_gateway(arguments);
                let said = String::from_utf8_lossy(&done.stdout).into_owned();
                assert!(done.status.success(), "{said} {done:?}");
                said
            };
            let dry = said(&["catalog", "import", &name, "--dry-run"]);
            assert!(dry.contains("line 2: S-0: price $1.50 → $2.00"), "{dry}");
            let imported = said(&["catalog", "import", &name]);
            assert!(
                imported.contains("0 new, 3 changed, 0 as they were"),
                "{imported}"
            );
            let one = "/api/catalog/products/S-0";
            let one = shows(&admin, one, |it| it["price_cents"] == 200).await;
            assert_eq!(one["prices"][0]["by"], "operator", "{one}");
            let out = said(&["catalog", "export"]);
            assert!(out.starts_with("\u{FEFF}sku,name,"), "{out:.60}");
            fs::write(&path, "sku,name,price\n,,\nX,,1\n").expect("a file");
            let refused = shop.run_gateway(&["catalog", "import", &name]);
            let why = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                !refused.status.success() && why.contains("line 3, name:"),
                "{why}"
            );
        },
    );
}

/// As many rows as `IMPORT_ROWS` says; docs/shop.md has the figures of 10,000. A file is
/// larger than what any other route reads.
#[test]
#[expect(clippy::print_stdout, reason = "figures, for whoever asks for them")]
fn a_large_import_shows_how_far_it_is_and_ends_whole() {
    let rows = std::env::var("IMPORT_ROWS").map_or(3_500, |rows| {
        rows.parse()
            .unwrap_or_else(|_| panic!("IMPORT_ROWS must be a number, not {rows}"))
    });
    let within = Duration::from_mins(10);
    own(&Setup::default().lasting(within * 2), async |shop| {
        let admin = shop.admin();
        let csv = file(rows, 150);
        let bytes = csv.len();
        let began = Instant::now();
        let body = json!({ "csv": csv });
        let asked = admin
            .request(Method::POST, "/api/catalog/import")
            .json(&body);
        let answer = send(asked.timeout(within)).await.expect(202);
        let accepted = began.elapsed();
        let id = text(&answer["import"]).to_owned();
        let chunks = i64::from(rows.div_ceil(100));

        // How far it is only grows; the page for people says the same.
        let (mut written, mut seen) = (0, 0);
        let path = format!("/api/catalog/import/{id}");
        loop {
            let page = admin.request(Method::GET, &format!("/import?id={id}"));
            let page = send(page.header("accept", "text/html")).await;
            assert_eq!(page.status, 200, "{page:?}");
            let now = admin.get(&path).await.expect(200);
            let parts = now["written"].as_i64().expect("a number");
            assert!((written..=chunks).contains(&parts), "{now}");
            assert_eq!(now["parts"], chunks, "{now}");
            written = parts;
            if page.text.contains("The import goes on") {
                let shown = page.text.contains("<progress max=");
                assert!(shown, "{}", page.text);
                seen += 1;
            }
            if now["is_over"] == true {
                assert_eq!(
                    (written, &now["done"]["added"]),
                    (chunks, &json!(rows)),
                    "{now}"
                );
                break;
            }
            assert!(began.elapsed() < within, "{now}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let over = began.elapsed();
        assert!(seen > 0, "it was over before anybody could look");

        // Every one of them can be bought.
        let listed = "/api/products?q=Thing&per_page=1";
        let last = format!("/api/products?q=S-{}", rows - 1);
        eventually("all of it is shown", within, async || {
            let all = admin.get(listed).await.expect(200);
            let one = admin.get(&last).await.expect(200);
            if all["total"] == rows && one["products"][0]["stock_qty"] == 7 {
                Ok(())
            } else {
                Err(format!("{} {one}", all["total"]))
            }
        })
        .await;
        let shown = began.elapsed();
        let levels = eventually("Inventory has them all", within, async || {
            let sql = "SELECT count(*) AS n FROM state \
                       WHERE service_name = 'Inventory' AND key = 'level' AND service_key LIKE 'S-%'";
            let count = shop.sql(sql).await[0]["n"].clone();
            if count == rows { Ok(count) } else { Err(count.to_string()) }
        })
        .await;
        println!(
            "{rows} rows, {bytes} bytes: accepted after {accepted:.1?}, written after {over:.1?} \
             ({seen} looks saw it under way), shown after {shown:.1?}, levels {levels} after {:.1?}",
            began.elapsed()
        );
        let again = Instant::now();
        let path = shop.database().with_file_name("many.csv");
        fs::write(&path, file(rows, 150)).expect("a file");
        let same = shop.run_gateway(&["catalog", "import", &path.display().to_string()]);
        let said = String::from_utf8_lossy(&same.stdout).into_owned();
        assert!(
            said.contains(&format!("0 new, 0 changed, {rows} as they were")),
            "{said} {same:?}"
        );
        println!(
            "the same again by the command line: {:.1?}\n{said}",
            again.elapsed()
        );
    });
}

#[test]
fn a_shop_is_opened_once() {
    own(&Setup::with_sessions(), async |shop| {
        // The world was made so: see `world`. A second first admin is refused.
        let again = shop.run_gateway(&["init", "eve", "--email", "eve@example.com", "--link"]);
        let why = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(!again.status.success(), "{again:?}");
        assert!(why.contains("has an admin already, admin"), "{why}");
        // Who was made by it signs in, and sells what was imported.
        let zones = shop.auditor().get("/api/zones").await.expect(200);
        assert_eq!(zones["zones"].as_array().map(Vec::len), Some(4), "{zones}");
        let sign_in = json!({ "username": "admin", "password": password("admin") });
        shop.anonymous().post("/login", &sign_in).await.expect(200);
    });
}

/// Neither sees an admin when it looks: who is first is decided in one place, and stays
/// so when the services die meanwhile.
#[test]
fn two_who_open_a_shop_at_once_make_one_admin() {
    own(&Setup::with_sessions(), async |shop| {
        // A shop whose admin is none any more can be opened again.
        let disabled = shop.run_gateway(&["user", "disable", "admin"]);
        assert!(disabled.status.success(), "{disabled:?}");
        let opens = |name: &str| {
            let email = format!("{name}@example.com");
            let mut init = shop.gateway_command();
            init.args(["init", name, "--email", &email, "--link"]);
            init.stdout(Stdio::piped()).stderr(Stdio::piped());
            init.spawn().expect("the gateway can be started")
        };
        shop.kill(Component::Services);
        let both = ["eve", "ida"].map(opens);
        // Both have looked, and ask; nobody answers them yet.
        eventually("both ask", SOON, async || {
            let asked = shop
                .sql(
                    "SELECT id FROM sys_invocation \
                     WHERE target = 'Shop/shop/Open' AND status <> 'completed'",
                )
                .await;
            (asked.len() == 2)
                .then_some(())
                .ok_or_else(|| format!("{asked:?}"))
        })
        .await;
        shop.start_again(Component::Services).await;
        let both = both.map(|init| init.wait_with_output().expect("it ends"));
        let made: Vec<_> = both.iter().filter(|it| it.status.success()).collect();
        assert_eq!(made.len(), 1, "{both:?}");
        let refused = both.iter().find(|it| !it.status.success());
        let why = refused.map(|it| String::from_utf8_lossy(&it.stderr).into_owned());
        let why = why.unwrap_or_default();
        assert!(why.contains("has an admin already"), "{why}");
        let accounts = shop
            .sql("SELECT service_key FROM state WHERE service_name = 'Account' AND key = 'account'")
            .await;
        let new = accounts
            .iter()
            .filter(|it| ["eve", "ida"].contains(&text(&it["service_key"])));
        assert_eq!(new.count(), 1, "{accounts:?}");
        let enabled = shop.run_gateway(&["user", "enable", "admin"]);
        assert!(enabled.status.success(), "{enabled:?}");
    });
}
