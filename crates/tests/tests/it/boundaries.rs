//! What each crate may know, read from its manifest and its sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use launcher::repository;

fn manifest(of: &str) -> String {
    let path = repository().join("crates").join(of).join("Cargo.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates that `of` depends on, other than for its tests.
fn dependencies(of: &str) -> Vec<String> {
    manifest(of)
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The sources below `folder` that contain one of `words`.
fn sources_with(folder: &Path, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources_with(&path, words));
        } else {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if words.iter().any(|word| text.contains(word)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn the_domain_performs_no_io() {
    let pure = ["icu_properties", "jiff", "serde", "thiserror"];
    assert_eq!(dependencies("domain"), pure);
    let sources = repository().join("crates/domain/src");
    let io = [
        "std::fs",
        "std::net",
        "std::time",
        "std::env",
        "async fn",
        "Timestamp::now",
    ];
    assert_eq!(sources_with(&sources, &io), Vec::<String>::new());
}

#[test]
fn the_services_open_no_database() {
    let known = dependencies("services");
    assert!(!known.is_empty());
    for database in ["sqlx", "rusqlite", "waybill-gateway", "waybill-sandbox"] {
        assert!(
            !known.iter().any(|name| name == database),
            "services know {database}"
        );
    }
}

#[test]
fn the_outside_world_knows_nothing_of_ours() {
    let known = dependencies("sandbox");
    assert!(!known.is_empty());
    // What every process does alike says nothing of the shop.
    let ours: Vec<_> = known
        .iter()
        .filter(|name| name.starts_with("waybill") && *name != "waybill-process")
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    assert!(
        !dependencies("process")
            .iter()
            .any(|name| name.starts_with("waybill")),
        "what every process does alike knows a part of the shop"
    );
    assert!(!known.iter().any(|name| name == "restate-sdk"), "{known:?}");
}

#[test]
fn the_tests_are_known_by_nobody_and_not_shipped() {
    for of in ["domain", "gateway", "process", "sandbox", "services"] {
        assert!(
            !manifest(of).contains("waybill-tests"),
            "{of} knows the tests"
        );
    }
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).unwrap();
    let built = dockerfile
        .lines()
        .filter(|line| line.contains("cargo build"));
    for line in built {
        assert!(!line.contains("--workspace"), "the image has all: {line}");
    }
}

#[test]
fn only_the_services_client_knows_restates_ingress() {
    let sources = repository().join("crates/gateway/src");
    let paths = ["/restate/call", "/restate/send", "/restate/attach"];
    assert_eq!(sources_with(&sources, &paths), Vec::<String>::new());
}

#[test]
fn templates_never_compute_money() {
    let templates = repository().join("web/templates");
    let computing = [
        "cents *", "cents /", "cents +", "cents -", "/ 100", "* 100", "|round",
    ];
    assert_eq!(sources_with(&templates, &computing), Vec::<String>::new());
}

/// Below `folder`, the lines that spell the other way: `canceled`, `canceling`.
fn spelt_otherwise(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "vendor" {
                spelt_otherwise(&path, found);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            let other = line.contains("cancele") || line.contains("cancelin");
            // People are told so, and tests and clients look for that sentence.
            if other && !line.contains("order canceled by admin") {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
}

#[test]
fn cancelled_has_one_spelling() {
    let mut found = Vec::new();
    for folder in [
        "crates/domain/src",
        "crates/services/src",
        "crates/gateway/src",
        "crates/sandbox/src",
        "crates/sandbox/templates",
        "web/templates",
        "web/static",
        "docs",
    ] {
        spelt_otherwise(&repository().join(folder), &mut found);
    }
    for file in ["README.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(repository().join(file)).unwrap();
        assert!(!text.contains("canceled"), "{file} says canceled");
    }
    assert_eq!(
        found,
        Vec::<String>::new(),
        "write cancelled, as everywhere"
    );
}

/// The gateway's modules, from the ground up: each may know those above it in
/// this list, and no other.
const LAYERS: [&str; 26] = [
    "settings",
    "clock",
    "http",
    "identity",
    "storage",
    "restate",
    "documents",
    "metrics",
    "live",
    "infra",
    "auth",
    "catalog",
    "orders",
    "notifications",
    "payments",
    "cart",
    "admin",
    "dashboard",
    "ops",
    "world",
    "views",
    "protection",
    "seed",
    "reconcile",
    "router",
    "main",
];

/// Files that are compiled for tests only.
const FOR_TESTS: [&str; 3] = ["router/tests.rs", "live/fake.rs", "views/samples.rs"];

/// The modules of its own crate that a source names after `crate::`, its tests and
/// comments left out.
fn known_modules(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
            .collect()
    };
    let mut known = BTreeSet::new();
    for named in code.split("crate::").skip(1) {
        match named.strip_prefix('{') {
            // `use crate::{a, b::c};`
            Some(list) => known.extend(list.split(['}', ';']).next().unwrap().split(',').map(word)),
            None => drop(known.insert(word(named))),
        }
    }
    known.remove("");
    known
}

/// Every source below `folder`, by its path from there.
fn sources_below(folder: &Path, from: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources_below(&path, from, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(from).unwrap().display().to_string();
            into.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_gateways_modules_know_only_what_is_above_them() {
    let folder = repository().join("crates/gateway/src");
    let mut sources = Vec::new();
    sources_below(&folder, &folder, &mut sources);
    assert!(
        sources.len() > 70,
        "only {} sources were read",
        sources.len()
    );
    let place = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    let mut down = BTreeSet::new();
    for (file, source) in &sources {
        if file == "lib.rs" || FOR_TESTS.contains(&file.as_str()) {
            continue;
        }
        let own = file.split(['/', '.']).next().unwrap();
        let here = place(own).unwrap_or_else(|| panic!("{own} has no place in LAYERS"));
        for module in known_modules(source).iter().filter(|module| *module != own) {
            let there = place(module).unwrap_or_else(|| panic!("{module} has no place in LAYERS"));
            if there >= here {
                down.insert((file.clone(), module.clone()));
            }
        }
    }
    assert!(down.is_empty(), "these know what is below them: {down:#?}");
}

#[test]
fn modules_are_found_however_they_are_named() {
    let source = "use crate::{a, b::c};\nuse crate::d::E;\n// crate::comment\n\
                  fn f() { crate::inline::g() }\n#[cfg(test)]\nmod tests { use crate::test; }";
    let found: Vec<_> = known_modules(source).into_iter().collect();
    assert_eq!(found, ["a", "b", "d", "inline"]);
}
