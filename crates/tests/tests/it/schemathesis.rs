//! The API against its own description: schemathesis makes requests of
//! `/openapi.json`, right ones and wrong ones, sends them as an admin, and
//! compares every answer with what the description promises.
//!
//! `just test` has it installed (`scripts/pip.mjs`); its settings are in
//! `crates/tests/schemathesis`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use launcher::plan::WEBHOOK_SECRET;
use launcher::repository;
use tokio::process::Command;

use crate::world::{Setup, own};

/// How long requests are made, in seconds, unless `SCHEMATHESIS_SECONDS` says another.
const SECONDS: u64 = 90;

/// Where `scripts/pip.mjs` has put it.
fn installed() -> PathBuf {
    let folder = std::env::var_os("SCHEMATHESIS_DIR").filter(|folder| !folder.is_empty());
    folder.map(PathBuf::from).expect(
        "SCHEMATHESIS_DIR is not set: `just test schemathesis` fetches schemathesis and runs this",
    )
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(otherwise, |said| {
        said.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number"))
    })
}

#[test]
fn every_answer_is_as_the_description_says() {
    let seconds = number("SCHEMATHESIS_SECONDS", SECONDS);
    // Whatever it orders ends soon after it, by itself.
    let setup = Setup::with_sessions()
        .and("PAYMENT_WINDOW", "2s")
        .and("APPROVAL_WINDOW", "2s")
        // One caller asks all of it, without a pause.
        .and("WRITES_PER_USER", "0")
        .and("READS_PER_USER", "0")
        .and("WRITES_PER_ADDRESS", "0")
        .and("READS_PER_ADDRESS", "0")
        .lasting(Duration::from_secs(seconds + 150));
    own(&setup, async |shop| {
        let token = shop.admin_token.as_deref().expect("the admin has a token");
        // Something to find: an order that waits, and one that was taken back.
        let admin = shop.auditor();
        admin.add("P001", 2).await;
        let order = admin.checkout("taken-back").await;
        order.cancel().await;
        admin.add("P002", 1).await;
        admin.checkout("left-alone").await;
        let settings = repository().join("crates/tests/schemathesis");
        let said = run(&shop.gateway, token, &settings, seconds).await;
        let said = said.unwrap_or_else(|failure| panic!("{failure}"));
        let streams = said.lines().find(|line| line.starts_with("live streams: "));
        assert!(
            streams.is_some_and(|line| !line.contains(" 0 with events")),
            "no stream has said anything: {streams:?}"
        );
        for part in shop.programs().map(|(part, _)| part) {
            assert!(!shop.has_ended(part), "{part} has ended");
        }
    });
}

/// Runs it; what it has said, when something is wrong.
async fn run(gateway: &str, token: &str, settings: &Path, seconds: u64) -> Result<String, String> {
    let reports = tempfile::tempdir().expect("a folder can be made");
    let done = Command::new("python3")
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(settings.join("schemathesis.toml"))
        .args(["run", &format!("{gateway}/openapi.json")])
        .args(["--max-time", &seconds.to_string()])
        // The same requests each time; another number makes others.
        .args(["--seed", &number("SCHEMATHESIS_SEED", 1).to_string()])
        .current_dir(reports.path())
        .env("PYTHONPATH", installed())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", settings.join("hooks.py"))
        .env("WAYBILL_TOKEN", token)
        .env("WAYBILL_WEBHOOK_SECRET", WEBHOOK_SECRET)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("python3 cannot be started: {error}"))?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    show(&said);
    if done.status.success() {
        Ok(said)
    } else {
        Err(format!("schemathesis ended with {}:\n{said}", done.status))
    }
}

#[expect(clippy::print_stderr, reason = "figures for whoever wants to see them")]
fn show(said: &str) {
    eprintln!("{said}");
}
