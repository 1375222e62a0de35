//! The clock of the machine jumps by an hour (docs/operate.md, "A clock that jumps").
//!
//! Debian's libfaketime moves the clock of the gateway and the services while they run.
//! restate-server is linked statically and keeps the true one: so this is also what
//! happens when the clocks of two machines disagree by an hour.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use waybill_domain::Timestamp;

use crate::shop::{Order, SOON, Shop, send_anyway, text};
use crate::world::{Component, Setup, eventually, own};

/// Where Debian's package has it, on each of its machines.
const FOLDERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
/// How long a process believes the clock that it has looked at.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// The clock of the gateway and the services.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("waybill-clock-").tempdir();
        let clock = Self {
            folder: folder.expect("a temporary folder can be made"),
        };
        clock.set("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    fn set(&self, offset: &str) {
        // In one moment: a process may be reading it.
        let new = self.folder.path().join("new");
        fs::write(&new, offset).expect("the clock can be set");
        fs::rename(&new, self.file()).expect("the clock can be set");
    }

    /// A world whose own processes read it.
    fn world(&self) -> Setup {
        let library = library();
        let file = self.file();
        let mut setup = Setup::with("DELIVERY_TIME", "300ms");
        for part in [Component::Gateway, Component::Services] {
            for (name, value) in [
                ("LD_PRELOAD", library.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                // A jump moves the time of day; what is waited for is measured otherwise.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ] {
                setup = setup.only_for(part, name, &value);
            }
        }
        setup
    }
}

fn library() -> PathBuf {
    let set = std::env::var_os("FAKETIME_LIB").filter(|path| !path.is_empty());
    let usual = FOLDERS.map(|folder| Path::new(folder).join("faketime/libfaketimeMT.so.1"));
    let mut places = set.map(PathBuf::from).into_iter().chain(usual);
    places.find(|path| path.exists()).expect(
        "libfaketime moves the clock: `just test clocks` fetches it, or set FAKETIME_LIB to its path",
    )
}

/// How far the services' clock is from ours, by the time of an order's first event.
async fn seconds_ahead(order: &Order<'_>) -> i64 {
    let shown = order.json().await;
    let events = shown["events"].as_array().expect("events");
    let at = text(&events.first().expect("one")["at"]);
    let at: Timestamp = at.parse().expect("a time");
    at.as_second() - Timestamp::now().as_second()
}

/// Waits until an order that is placed now has the other clock's time.
async fn heard(shop: &Shop, minutes: i64) {
    let looks = AtomicUsize::new(0);
    eventually("the processes have the other clock", SOON, async || {
        tokio::time::sleep(HEARD_WITHIN).await;
        let look = looks.fetch_add(1, Ordering::Relaxed);
        let somebody = shop.person(&format!("looks{look}"));
        somebody.add("P009", 1).await;
        let answer = somebody.try_checkout("order").await;
        let order = somebody.accepted(&answer);
        let ahead = seconds_ahead(&order).await;
        // Or its window is over already.
        let _ = order.try_cancel().await;
        if (ahead / 60 - minutes).abs() <= 1 {
            Ok(())
        } else {
            Err(format!("{ahead} s ahead"))
        }
    })
    .await;
}

/// The times of an order's events are its order.
fn in_order(order: &Value) {
    let events = order["events"].as_array().expect("events").iter();
    let numbers: Vec<_> = events.map(|it| it["seq"].as_i64()).collect();
    assert!(numbers.is_sorted(), "{order}");
}

/// Orders that wait when the clock jumps and back go on; none is charged or shipped twice.
fn jump(offset: &str, minutes: i64) {
    let clock = Clock::new();
    own(&clock.world(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let waiting = alice.buy("P001", 1, "waiting").await;
        bob.add("P002", 1).await;
        let unpaid = bob.checkout("unpaid").await;

        clock.set(offset);
        heard(shop, minutes).await;
        // What was there before can be paid and decided.
        unpaid.pay().await;
        unpaid.until("awaiting_approval").await;
        // Pages are served.
        let page = bob.request(reqwest::Method::GET, "/orders");
        let page = send_anyway(page.header("accept", "text/html")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let ready = shop.anonymous().request(reqwest::Method::GET, "/readyz");
        assert_eq!(send_anyway(ready).await.status, 200);
        // What begins now has its times from the wrong clock, and loses nothing.
        bob.add("P003", 1).await;
        let meanwhile = bob.try_checkout("meanwhile").await;
        let meanwhile = bob.accepted(&meanwhile);

        clock.set("+0");
        tokio::time::sleep(HEARD_WITHIN).await;
        for order in [&waiting, &unpaid] {
            admin.approve(order).await;
            let delivered = order.until("delivered").await;
            in_order(&delivered);
            order.has_happened_once().await;
        }
        let shown = meanwhile.json().await;
        in_order(&shown);
        if shown["status"] == "awaiting_payment" {
            meanwhile.cancel().await;
            meanwhile.until("cancelled").await;
        }
        let after = alice.buy("P004", 1, "after").await;
        admin
            .post(
                &format!("/api/workflow/{}/approve", after.id),
                &json!({ "approved": true }),
            )
            .await
            .expect(202);
        after.until("delivered").await;
    });
}

#[test]
fn an_hour_ahead() {
    jump("+1h", 60);
}

#[test]
fn an_hour_back() {
    jump("-1h", -60);
}
