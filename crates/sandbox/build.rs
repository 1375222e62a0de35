//! Rebuilds the crate when a migration is added: `sqlx::migrate!` alone only
//! notices changes to files it already knows.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
