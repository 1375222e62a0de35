//! What each crate may know, read from its manifest and its sources.

use std::collections::{BTreeMap, BTreeSet};
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
    // utoipa describes types, and is built for the gateway only.
    let pure = ["icu_properties", "jiff", "serde", "thiserror", "utoipa"];
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

/// Cargo cannot say so: what the binary depends on, its library may use.
#[test]
fn of_the_sandbox_only_the_gateways_main_knows() {
    let sources = repository().join("crates/gateway/src");
    let main = sources.join("main.rs").display().to_string();
    assert_eq!(sources_with(&sources, &["sandbox::"]), [main]);
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
const LAYERS: [&str; 23] = [
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
    "shop",
    "auth",
    "authority",
    "api",
    "demo",
    "console",
    "edge",
    "protection",
    "command",
    "reconcile",
    "backup",
    "router",
    "main",
];

/// Files that are compiled for tests only, by the ends of their names.
const FOR_TESTS: [&str; 5] = [
    "backup/tests.rs",
    "router/tests.rs",
    "live/fake.rs",
    "console/samples.rs",
    "/fuzz.rs",
];

fn is_for_tests(file: &str) -> bool {
    file.contains("/tests/") || FOR_TESTS.iter().any(|name| file.ends_with(name))
}

/// The modules of its own crate that a source names after `crate::`, its tests and
/// comments left out.
fn known_modules(source: &str) -> BTreeSet<String> {
    let code = without_tests(source);
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
        if file == "lib.rs" || is_for_tests(file) {
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

/// Modules that do not name the web framework. The shop knows `http::problem`, which
/// can turn itself into an answer; what a request is none of these can say.
const WITHOUT_HTTP: [&str; 6] = [
    "identity",
    "storage",
    "restate",
    "documents",
    "shop",
    "live/catch_up",
];

#[test]
fn the_shop_does_not_name_the_web_framework() {
    let folder = repository().join("crates/gateway/src");
    let mut sources = Vec::new();
    sources_below(&folder, &folder, &mut sources);
    let knowing: Vec<_> = sources
        .iter()
        .filter(|(file, source)| {
            WITHOUT_HTTP.iter().any(|module| file.starts_with(module))
                && !is_for_tests(file)
                && source.contains("axum::")
        })
        .map(|(file, _)| file)
        .collect();
    assert!(knowing.is_empty(), "these name axum: {knowing:?}");
}

#[test]
fn all_sql_is_in_storage() {
    let folder = repository().join("crates/gateway/src");
    let mut sources = Vec::new();
    sources_below(&folder, &folder, &mut sources);
    let asking: Vec<_> = sources
        .iter()
        .filter(|(file, _)| !file.starts_with("storage/") && !is_for_tests(file))
        .filter(|(_, source)| without_tests(source).contains("sqlx::query"))
        .map(|(file, _)| file)
        .collect();
    assert!(
        asking.is_empty(),
        "their SQL belongs to storage: {asking:?}"
    );
}

/// Where routes may be made without a description: pages and files, which are for
/// browsers and not for programs.
const UNDESCRIBED: [&str; 2] = ["console.rs", "console/pages.rs"];

#[test]
fn every_route_for_programs_describes_itself() {
    let folder = repository().join("crates/gateway/src");
    let mut sources = Vec::new();
    sources_below(&folder, &folder, &mut sources);
    let naming = |words: &[&str]| -> BTreeSet<_> {
        sources
            .iter()
            .filter(|(file, _)| !is_for_tests(file))
            .filter(|(_, source)| {
                let code = without_tests(source);
                words.iter().any(|word| code.contains(word))
            })
            .map(|(file, _)| file.as_str())
            .collect()
    };
    let routing = [
        ".route(",
        ".route_service(",
        ".nest(",
        ".nest_service(",
        "OpenApiRouter::",
        "Router::new(",
        "MethodRouter::",
    ];
    assert_eq!(
        naming(&routing),
        BTreeSet::from(["authority/routes.rs"]),
        "add routes to `Routes`, which takes along who may call them"
    );
    assert_eq!(
        naming(&[".page("]),
        BTreeSet::from(UNDESCRIBED),
        "register what programs ask with `routes!`, which takes its description along"
    );
    let pages = sources.iter().find(|(file, _)| file == UNDESCRIBED[1]);
    let pages = without_tests(&pages.unwrap().1);
    for program in ["/api/", "/stream/", ".json", "post(", "put(", "delete("] {
        assert!(!pages.contains(program), "{program} is for programs");
    }
}

/// The module of a file: `live/sse.rs` is `live::sse`, `lib.rs` nothing.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// A source without its tests, which stand at its end, and without comments.
fn without_tests(source: &str) -> String {
    let is_test = |at: usize| {
        let module = source[at..].lines().nth(1).unwrap_or_default();
        module.contains("mod ") && module.contains('{')
    };
    let end = source
        .match_indices("#[cfg(test)]\n")
        .map(|(at, _)| at)
        .find(|at| is_test(*at));
    source[..end.unwrap_or(source.len())]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths that a use tree names: `a::{b, c::D}` is `a::b` and `a::c::D`.
fn paths_of(tree: &str, before: &[String], into: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if tree.is_empty() {
        // Behind the last comma.
        return;
    }
    if let Some(list) = tree.strip_prefix('{') {
        let (mut depth, mut begun) = (0, 0);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    paths_of(&list[begun..at], before, into);
                    begun = at + 1;
                    if letter == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = tree
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(tree.len());
    let mut path = before.to_vec();
    path.extend((end > 0).then(|| tree[..end].to_owned()));
    match tree[end..].strip_prefix("::") {
        Some(rest) => paths_of(rest, &path, into),
        None => into.push(path),
    }
}

/// The files of its own crate that a source in `module` names, by
/// `crate::`, `super::` and `self::`. Its tests and comments are left out.
fn known_files(
    source: &str,
    module: &[String],
    files: &BTreeSet<Vec<String>>,
) -> BTreeSet<Vec<String>> {
    let code = without_tests(source);
    // `child::f()` of a file with `mod child;`.
    let children = files.iter().filter(|file| {
        let child = file.strip_prefix(module).unwrap_or_default();
        let [name] = child else { return false };
        let named = format!("{name}::");
        code.match_indices(&named).any(|(at, _)| {
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter))
        })
    });
    let mut known: BTreeSet<_> = children.filter(|_| !module.is_empty()).cloned().collect();
    for (root, up) in [("crate::", None), ("super::", Some(1)), ("self::", Some(0))] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            // `a::self::b` is no path from there, nor is `pub(in crate::a)`.
            if before.ends_with("::")
                || before.ends_with(char::is_alphanumeric)
                || before.ends_with("pub(in ")
            {
                continue;
            }
            let mut rest = &code[at + root.len()..];
            let mut depth = up.map_or(0, |up| module.len().saturating_sub(up));
            while let Some(further) = rest.strip_prefix("super::") {
                (rest, depth) = (further, depth.saturating_sub(1));
            }
            let mut paths = Vec::new();
            paths_of(rest, &module[..depth], &mut paths);
            for path in paths {
                // What a component of Restate's is asked by, which the SDK makes of
                // its handlers: its address, and nothing of what is in it.
                if path.last().is_some_and(|name| name.ends_with("Client")) {
                    continue;
                }
                let file = (1..=path.len())
                    .rev()
                    .map(|length| path[..length].to_vec())
                    .find(|path| files.contains(path));
                known.extend(file.filter(|file| file != module));
            }
        }
    }
    known
}

/// Everything that can be come to from `from`.
fn reached(
    from: &[String],
    known: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
) -> BTreeSet<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ahead = vec![from.to_vec()];
    while let Some(file) = ahead.pop() {
        for next in known.get(&file).into_iter().flatten() {
            if seen.insert(next.clone()) {
                ahead.push(next.clone());
            }
        }
    }
    seen
}

/// Sets of files of which each comes to each other, larger than one.
fn circles(sources: &[(String, String)]) -> BTreeSet<Vec<String>> {
    let files: BTreeSet<_> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let known: BTreeMap<_, _> = sources
        .iter()
        .filter(|(file, _)| !is_for_tests(file))
        .map(|(file, source)| {
            let module = module_of(file);
            let known = known_files(source, &module, &files);
            (module, known)
        })
        .collect();
    let reach: BTreeMap<_, _> = known
        .keys()
        .map(|file| (file, reached(file, &known)))
        .collect();
    known
        .keys()
        .map(|file| {
            let back = |other: &&Vec<String>| {
                reach[file].contains(*other)
                    && reach.get(*other).is_some_and(|it| it.contains(file))
            };
            known
                .keys()
                .filter(back)
                .map(|module| module.join("::"))
                .collect::<Vec<_>>()
        })
        .filter(|circle| circle.len() > 1)
        .collect()
}

#[test]
fn at_most_three_files_go_in_a_circle() {
    for of in ["domain", "process", "services", "sandbox", "gateway"] {
        let folder = repository().join("crates").join(of).join("src");
        let mut sources = Vec::new();
        sources_below(&folder, &folder, &mut sources);
        sources.retain(|(file, _)| file != "main.rs");
        assert!(sources.len() > 3, "{of}: {} sources", sources.len());
        let wide: Vec<_> = circles(&sources)
            .into_iter()
            .filter(|circle| circle.len() > 3)
            .collect();
        assert!(wide.is_empty(), "{of}: these know each other: {wide:#?}");
    }
}

#[test]
fn circles_are_found() {
    let file = |name: &str, source: &str| (name.to_owned(), source.to_owned());
    let sources = [
        file(
            "lib.rs",
            "#[cfg(test)]\nmod fake;\nmod a;\nmod b;\nmod c;\nmod d;",
        ),
        file(
            "a.rs",
            "#[cfg(test)]\nmod fake;\nmod inner;\nuse crate::{b::{B, self}, d};",
        ),
        file("a/inner.rs", "use super::Outer;\nfn f() { crate::c::g() }"),
        file("b.rs", "pub(super) use crate::a::inner::X;"),
        file(
            "c.rs",
            "// crate::a\n#[cfg(test)]\nmod tests { use crate::a; }",
        ),
        file("d.rs", "use std::fmt;"),
    ];
    let found: Vec<_> = circles(&sources).into_iter().collect();
    assert_eq!(found, [["a", "a::inner", "b"]]);
}
