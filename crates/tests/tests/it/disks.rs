//! A disk that is full, and one that becomes read-only (docs/operate.md).
//!
//! The disk is a real one: ext4 in a file, mounted by a loop device. Where that is not
//! allowed, these tests say so and test nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::shop::{Order, SOON, Shop, order_form, send_anyway};
use crate::world::{Component, Setup, eventually, own};

/// Longest until a gateway looks whether it has missed something, and what that takes.
const CAUGHT_UP: Duration = Duration::from_secs(45);

/// A small disk. It is taken away with its owner, who must outlive whoever writes to it.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount(megabytes: u64) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("waybill-disk-").tempdir();
        let disk = Self {
            folder: folder.expect("a temporary folder can be made"),
        };
        let image = disk.folder.path().join("image");
        let file = File::create(&image).expect("an image can be made");
        file.set_len(megabytes << 20).expect("it has a size");
        fs::create_dir(disk.path()).expect("a folder can be made");
        let shown = image.display().to_string();
        let made = run("mkfs.ext4", &["-q", "-m", "0", &shown]).and_then(|()| {
            run(
                "mount",
                &["-o", "loop", &shown, &disk.path().display().to_string()],
            )
        });
        if let Err(why) = made {
            skip(&why);
            return None;
        }
        Some(disk)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Until not a byte more fits on it.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).expect("a file can be made");
        for size in [1 << 20, 4096, 512, 1] {
            while file.write_all(&vec![1; size]).is_ok() && file.sync_data().is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).expect("it can be removed");
    }

    /// As the kernel does when the disk fails, whoever has files open there.
    fn becomes_read_only(&self) {
        let shown = self.path().display().to_string();
        run("mount", &["-o", "remount,abort", &shown]).expect("a disk can fail");
    }

    /// As after a repair and a new start.
    fn is_mended(&self) {
        let (shown, image) = (self.path(), self.folder.path().join("image"));
        let (shown, image) = (shown.display().to_string(), image.display().to_string());
        run("umount", &[&shown]).expect("nobody uses it");
        // 1: errors were mended.
        let _ = run("e2fsck", &["-p", &image]);
        run("mount", &["-o", "loop", &image, &shown]).expect("it can be mounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached at once, gone when the last file there is closed.
        let _ = run("umount", &["--lazy", &self.path().display().to_string()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program}: {said}"))
}

#[expect(clippy::print_stderr, reason = "what is not tested is said")]
fn skip(why: &str) {
    eprintln!("NOT tested: no disk can be mounted here ({why}); it takes root and loop devices");
}

fn with_gateway_on(disk: &Disk) -> Setup {
    let url = format!("sqlite://{}/waybill.db", disk.path().display());
    Setup::default().only_for(Component::Gateway, "DATABASE_URL", &url)
}

/// What `/readyz` says of SQLite, and its status.
async fn database(shop: &Shop) -> (u16, String) {
    let ready = shop.anonymous().request(Method::GET, "/readyz");
    let ready = send_anyway(ready).await;
    (ready.status, ready.body["database"].to_string())
}

async fn until_database(shop: &Shop, status: u16, word: &str) {
    eventually("readyz says so", SOON, async || {
        match database(shop).await {
            (now, said) if now == status && said.contains(word) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// What is known is shown. What Restate decides is done and answered so; who would have to
/// look it up here first is told to come again.
async fn while_it_cannot_write<'a>(shop: &'a Shop, waiting: &Order<'_>) -> Order<'a> {
    let bob = shop.bob();
    let shown = waiting.json().await;
    assert_eq!(shown["status"], "awaiting_approval");
    let page = waiting.by.request(Method::GET, "/orders");
    let page = send_anyway(page.header("accept", "text/html")).await;
    assert_eq!(page.status, 200, "{page:?}");
    shop.admin().approve(waiting).await;
    bob.add("P002", 1).await;
    let persona = json!({ "persona": "bob" });
    let checkout = order_form("meanwhile");
    for (path, body) in [("/login", &persona), ("/api/checkout", &checkout)] {
        let asked = bob.request(Method::POST, path).json(body);
        send_anyway(asked).await.problem(503, "unavailable");
    }
    shop.accept("bob.meanwhile");
    Order {
        by: bob,
        id: "bob.meanwhile".to_owned(),
        total: 0,
    }
}

/// What was asked for meanwhile is there once, whoever asks again.
async fn once_it_can(shop: &Shop, waiting: &Order<'_>, meanwhile: &Order<'_>) {
    waiting.until_within("delivered", CAUGHT_UP).await;
    waiting.has_happened_once().await;
    let again = shop.bob().try_checkout("meanwhile").await;
    assert_eq!(again.body["order_id"], meanwhile.id.as_str(), "{again:?}");
    assert_eq!(meanwhile.ledger().await.payments.len(), 1);
    meanwhile.cancel().await;
    meanwhile.until("cancelled").await;
    let (nobody, persona) = (shop.anonymous(), json!({ "persona": "bob" }));
    nobody.post("/login", &persona).await.expect(200);
}

#[test]
fn the_gateways_disk_is_full() {
    let Some(disk) = Disk::mount(24) else { return };
    own(&with_gateway_on(&disk), async |shop| {
        let waiting = shop.alice().buy("P001", 1, "waiting").await;
        disk.fill();
        let meanwhile = while_it_cannot_write(shop, &waiting).await;
        until_database(shop, 503, "full").await;

        disk.make_room();
        until_database(shop, 200, "null").await;
        once_it_can(shop, &waiting, &meanwhile).await;
        no_room_for_a_backup(shop, &disk).await;
    });
}

/// A backup that does not fit, and one that cannot be put back, leave nothing behind.
async fn no_room_for_a_backup(shop: &Shop, disk: &Disk) {
    let restate = shop.database().with_file_name("restate");
    let (backup, elsewhere) = (disk.path().join("backup.tar"), disk.path().join("new"));
    let with = |command: &str, restate: &Path| {
        let mut gateway = shop.gateway_command();
        gateway
            .arg(command)
            .arg(&backup)
            .arg("--restate-data")
            .arg(restate);
        gateway
    };
    shop.stop(Component::Restate).await;
    let made = with("backup", &restate).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let before = names(&disk.path());
    disk.fill();
    let restored = with("restore", &elsewhere.join("restate"))
        .env(
            "DATABASE_URL",
            format!("sqlite://{}/new.db", elsewhere.display()),
        )
        .env(
            "SANDBOX_DATABASE_URL",
            format!("sqlite://{}/box.db", elsewhere.display()),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("nothing was restored"), "{said}");
    fs::rename(&backup, disk.path().join("moved.tar")).unwrap();
    let made = with("backup", &restate).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(
        said.contains("full") || said.contains("No space left"),
        "{said}"
    );
    fs::rename(disk.path().join("moved.tar"), &backup).unwrap();
    disk.make_room();
    assert_eq!(names(&disk.path()), before);
    shop.start_again(Component::Restate).await;
}

/// What is in a folder, but SQLite's own helpers.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| !name.contains("db-")).collect();
    names.sort();
    names
}

#[test]
fn the_gateways_disk_becomes_read_only() {
    let Some(disk) = Disk::mount(24) else { return };
    own(&with_gateway_on(&disk), async |shop| {
        let waiting = shop.alice().buy("P001", 1, "waiting").await;
        disk.becomes_read_only();
        let meanwhile = while_it_cannot_write(shop, &waiting).await;
        until_database(shop, 503, "attempt to write a readonly database").await;

        // Whoever starts it so is told in a sentence.
        shop.kill(Component::Gateway);
        let refused = shop.run_gateway(&["serve"]);
        assert!(!refused.status.success(), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("DATABASE_URL"), "{said}");
        assert!(said.contains("Read-only file system"), "{said}");

        disk.is_mended();
        shop.start_again(Component::Gateway).await;
        once_it_can(shop, &waiting, &meanwhile).await;
    });
}

/// Restate reserves room ahead, which lasts for long: this much of an answer that nobody
/// waits for uses it up.
const LARGE: usize = 4 << 20;

#[test]
fn restates_disk_is_full() {
    let Some(disk) = Disk::mount(320) else { return };
    let folder = disk.path().join("restate").display().to_string();
    let setup = Setup::default().only_for(Component::Restate, "RESTATE_BASE_DIR", &folder);
    own(&setup, async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let waiting = alice.buy("P001", 1, "waiting").await;
        let path = format!("/restate/awakeables/{}/resolve", waiting.awakeable().await);
        alice.add("P002", 1).await;
        disk.fill();
        let large = json!("x".repeat(LARGE)).to_string();
        eventually("Restate takes no more", SOON * 4, async || {
            let url = format!("{}{path}", shop.ingress);
            let asked = shop
                .http
                .post(url)
                .header("content-type", "application/json");
            let asked = asked.timeout(Duration::from_secs(5)).body(large.clone());
            match asked.send().await {
                Ok(answer) if answer.status().is_success() => Err("it was taken".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        let item = json!({ "product_id": shop.product("P002").id, "quantity": 1 });
        let add = alice.request(Method::POST, "/api/cart/add").json(&item);
        let refused = send_anyway(add).await;
        refused.refusal(503);
        assert_eq!(waiting.json().await["status"], "awaiting_approval");

        disk.make_room();
        // Room alone does not make 1.7.12 go on: it is started again.
        shop.kill(Component::Restate);
        shop.start_again(Component::Restate).await;
        eventually("the cart is kept", SOON, async || {
            let cart = alice.request(Method::GET, "/api/cart");
            match send_anyway(cart).await {
                answer if answer.status == 200 => Ok(()),
                answer => Err(answer.text),
            }
        })
        .await;
        let kept = alice.in_cart().await;
        assert!(kept[0].1 >= 1, "{kept:?}");
        admin.approve(&waiting).await;
        waiting.until("delivered").await;
        waiting.has_happened_once().await;
    });
}
