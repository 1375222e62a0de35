//! Rebuilds the crate when a migration is added: `sqlx::migrate!` alone only
//! notices changes to files it already knows.
#![expect(
    clippy::print_stdout,
    reason = "a build script speaks to cargo on standard output"
)]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
