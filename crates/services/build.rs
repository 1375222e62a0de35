//! Hands the commit to `--version`. A build outside git says "unknown".

use std::process::Command;

fn main() {
    let commit = std::env::var("WAYBILL_COMMIT").ok().or_else(|| {
        let output = Command::new("git")
            .args(["rev-parse", "--short=9", "HEAD"])
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    let commit = commit.filter(|commit| !commit.is_empty());
    println!(
        "cargo::rustc-env=WAYBILL_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    println!("cargo::rerun-if-env-changed=WAYBILL_COMMIT");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
}
