//! Tells the binary which commit it is, cargo that the migrations are part of
//! it, and puts the console's files into it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WAYBILL_COMMIT");
    let commit = std::env::var("WAYBILL_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(from_git)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=WAYBILL_COMMIT={commit}");
    embed("../../web/templates", "templates.rs");
    embed("../../web/static", "static.rs");
}

/// Writes `file`: a slice of every file below `folder` as (name, bytes). What a
/// set-up script has not fetched yet is not in it.
fn embed(folder: &str, file: &str) {
    println!("cargo::rerun-if-changed={folder}");
    let root = Path::new(folder)
        .canonicalize()
        .unwrap_or_else(|error| panic!("{folder} is not there: {error}"));
    let mut source = String::from("&[\n");
    for path in files_below(&root) {
        let name = path.strip_prefix(&root).expect("it is below the root");
        let (name, path) = (name.to_string_lossy(), path.to_string_lossy());
        writeln!(source, "({name:?}, include_bytes!({path:?})),").expect("a String takes all");
    }
    source.push(']');
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join(file), source).expect("OUT_DIR can be written");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The commit of the tree, which an image that is built without `.git` is told
/// by `WAYBILL_COMMIT` instead.
fn from_git() -> Option<String> {
    // A release says exactly what it is; a development build need not be made
    // again for every commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed=../../.git/HEAD");
        println!("cargo::rerun-if-changed=../../.git/refs/heads");
    }
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| commit.trim().to_owned())
}
