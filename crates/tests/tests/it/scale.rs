//! docs/scale.md says what the simulation computes from today's slopes.

use std::process::Command;

use launcher::repository;

#[test]
fn the_table_in_the_document_is_the_simulations() {
    let checked = Command::new("node")
        .args(["scripts/scale.mjs", "--check"])
        .current_dir(repository())
        .output()
        .expect("Node.js runs");
    let said = [checked.stdout, checked.stderr].concat();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
