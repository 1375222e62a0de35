//! No parser of ours is left out: the sources are read, and whatever looks like
//! one must be in the table, beside a target that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What looks like a parser, by its file and how it begins, and its target.
/// `FromFields` is not here: its target is a line of `fields!` beside it.
const PARSERS: &[(&str, &str, &str)] = &[
    ("domain/src/ids.rs", "fn parse", "fuzz_ids"),
    ("domain/src/ids.rs", "TryFrom<String> for $name", "fuzz_ids"),
    ("domain/src/idempotency.rs", "fn parse", "fuzz_keys"),
    ("domain/src/idempotency.rs", "FromStr for Once", "fuzz_keys"),
    (
        "domain/src/idempotency.rs",
        "TryFrom<String> for Digest",
        "fuzz_keys",
    ),
    (
        "domain/src/order/status.rs",
        "fn parse",
        "fuzz_order_status",
    ),
    ("services/src/crash.rs", "FromStr for At", "fuzz_at"),
    ("gateway/src/main.rs", "value_parser order_id", "fuzz_ids"),
    (
        "gateway/src/settings.rs",
        "value_parser max_streams",
        "fuzz_max_streams",
    ),
    ("gateway/src/http/input.rs", "fn from_form", "fuzz_forms"),
    ("gateway/src/http/input.rs", "fn from_json", "fuzz_bodies"),
    (
        "gateway/src/http/pagination.rs",
        "fn from_fields",
        "fuzz_pagination",
    ),
    (
        "gateway/src/http/pagination.rs",
        "FromFields for Page",
        "fuzz_pagination",
    ),
    (
        "gateway/src/http/idempotency.rs",
        "fn from_fields",
        "fuzz_change",
    ),
    (
        "gateway/src/http/idempotency.rs",
        "fn parse",
        "fuzz_idempotency_keys",
    ),
    (
        "gateway/src/storage/notifications.rs",
        "fn parse",
        "fuzz_cursors",
    ),
    (
        "gateway/src/console/location.rs",
        "fn parse",
        "fuzz_locations",
    ),
    (
        "gateway/src/storage/orders.rs",
        "fn parse",
        "fuzz_order_cursors",
    ),
    ("gateway/src/console/streams.rs", "fn parse", "fuzz_windows"),
    ("domain/src/account.rs", "fn parse", "fuzz_accounts"),
    (
        "domain/src/after_sales/status.rs",
        "fn parse",
        "fuzz_return_status",
    ),
    (
        "gateway/src/identity/authenticator.rs",
        "FromStr for Code",
        "fuzz_codes",
    ),
    ("domain/src/money.rs", "fn parse", "fuzz_amounts"),
    ("domain/src/audit.rs", "fn parse", "fuzz_acts"),
    (
        "domain/src/account.rs",
        "TryFrom<String> for Fingerprint",
        "fuzz_accounts",
    ),
    ("domain/src/account/role.rs", "fn parse", "fuzz_accounts"),
    (
        "gateway/src/command.rs",
        "value_parser username",
        "fuzz_ids",
    ),
    (
        "gateway/src/command.rs",
        "value_parser role",
        "fuzz_accounts",
    ),
    (
        "gateway/src/command.rs",
        "value_parser scope",
        "fuzz_accounts",
    ),
    (
        "gateway/src/command/init.rs",
        "value_parser username",
        "fuzz_ids",
    ),
    (
        "gateway/src/command/init.rs",
        "value_parser zone_and_cost",
        "fuzz_zone_arguments",
    ),
    ("gateway/src/http/client.rs", "fn parse", "fuzz_forwarded"),
    (
        "gateway/src/settings.rs",
        "value_parser published_address",
        "fuzz_published_addresses",
    ),
    (
        "gateway/src/settings/shop.rs",
        "value_parser shop_line",
        "fuzz_shop_settings",
    ),
    (
        "gateway/src/settings/shop.rs",
        "value_parser shop_address",
        "fuzz_shop_settings",
    ),
    (
        "gateway/src/settings/edge.rs",
        "value_parser public_url",
        "fuzz_edge_settings",
    ),
    (
        "gateway/src/settings/edge.rs",
        "value_parser networks",
        "fuzz_edge_settings",
    ),
    (
        "gateway/src/settings/edge.rs",
        "value_parser count",
        "fuzz_edge_settings",
    ),
    (
        "gateway/src/settings/edge.rs",
        "value_parser optional_count",
        "fuzz_edge_settings",
    ),
    (
        "gateway/src/settings/oidc.rs",
        "value_parser issuer",
        "fuzz_oidc_settings",
    ),
    (
        "gateway/src/settings/oidc.rs",
        "value_parser group_roles",
        "fuzz_oidc_settings",
    ),
    (
        "services/src/outside.rs",
        "fn parse",
        "fuzz_credential_headers",
    ),
    (
        "services/src/settings.rs",
        "value_parser CredentialHeader",
        "fuzz_credential_headers",
    ),
    ("*", "value_parser address", "fuzz_addresses_and_files"),
    ("*", "value_parser sqlite_url", "fuzz_addresses_and_files"),
    ("*", "value_parser secret_file", "fuzz_addresses_and_files"),
    ("*", "value_parser base_url", "fuzz_urls"),
    ("*", "value_parser http_url", "fuzz_urls"),
    ("*", "value_parser optional_url", "fuzz_urls"),
    ("*", "value_parser duration", "fuzz_durations"),
];

/// Targets of what does not look like a parser and is one, or writes what others
/// parse.
const OTHERS: &[&str] = &[
    "fuzz_accept",
    "fuzz_attempt_ids",
    "fuzz_begun_sign_ins",
    "fuzz_catalog_files",
    "fuzz_claims_of_tokens",
    "fuzz_command_lines",
    "fuzz_cookies",
    "fuzz_event_streams",
    "fuzz_field_kinds",
    "fuzz_host",
    "fuzz_html_of_documents",
    "fuzz_lines",
    "fuzz_list_documents",
    "fuzz_messages",
    "fuzz_money",
    "fuzz_order_documents",
    "fuzz_problems_and_toasts",
    "fuzz_receipts_and_decisions",
    "fuzz_redirects",
    "fuzz_rows",
    "fuzz_sessions",
    "fuzz_signatures",
    "fuzz_times",
    "fuzz_tokens_and_roles",
    "fuzz_update_lines",
    "fuzz_words",
];

/// Not reached by anybody's words.
const TRUSTED: &[(&str, &str, &str)] = &[
    (
        "services/src/state.rs",
        "fn parse",
        "serde, over what these services have written",
    ),
    (
        "gateway/src/authority/allow.rs",
        "fn parse",
        "our own names of rows, from the description that we have made",
    ),
    (
        "gateway/src/settings.rs",
        "value_parser BoolishValueParser",
        "clap's own",
    ),
    (
        "sandbox/src/faults.rs",
        "TryFrom<Value> for Down",
        "a switch of the simulated world",
    ),
];

/// Crates whose parsers are looked for: what is shipped.
const CRATES: [&str; 5] = ["domain", "process", "services", "gateway", "sandbox"];

/// Every Rust source of `folder`, by its path from `crates`.
fn sources(folder: &Path, crates: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(files) = fs::read_dir(folder) else {
        return;
    };
    for path in files.map(|file| file.unwrap().path()) {
        if path.is_dir() {
            sources(&path, crates, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(crates).unwrap().display().to_string();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// All of it, tests of crates included.
fn all_sources() -> BTreeMap<String, String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for of in CRATES {
        for folder in ["src", "tests"] {
            sources(&crates.join(of).join(folder), &crates, &mut found);
        }
    }
    found
}

/// The code before a file's tests.
fn shipped(source: &str) -> &str {
    source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(source)
}

/// What looks like a parser in a line of code.
fn looks_like_one(line: &str) -> Option<String> {
    let line = line.trim();
    let name = |from: &str| -> String {
        let until = |letter: &char| letter.is_ascii_alphanumeric() || "_$".contains(*letter);
        from.chars().take_while(until).collect()
    };
    if line.starts_with("//") {
        return None;
    }
    for conversion in [
        "FromFields for ",
        "FromStr for ",
        "TryFrom<String> for ",
        "TryFrom<&str> for ",
        "TryFrom<Value> for ",
        "TryFrom<&[u8]> for ",
    ] {
        if line.starts_with("impl")
            && let Some((_, of)) = line.split_once(conversion)
        {
            return Some(format!("{conversion}{}", name(of)));
        }
    }
    if let Some((_, of)) = line.split_once("value_parser = ") {
        return Some(format!("value_parser {}", name(of)));
    }
    let (_, of) = line.split_once("fn ")?;
    let of = name(of);
    let is_public = line.starts_with("pub") || line.starts_with("fn ");
    let parses = [
        "parse",
        "from_form",
        "from_json",
        "from_header",
        "from_query",
        "from_fields",
    ];
    let is_one = parses.contains(&of.as_str()) || of.starts_with("parse_");
    (is_one && is_public).then(|| format!("fn {of}"))
}

#[test]
fn every_parser_has_a_target() {
    let all = all_sources();
    let tests: BTreeSet<&str> = all
        .values()
        .flat_map(|source| source.split("fn fuzz_").skip(1))
        .filter_map(|rest| rest.split('(').next())
        .collect();
    let by_line: BTreeSet<String> = all
        .values()
        .flat_map(|source| source.split("::fields!(").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .flat_map(|list| list.split(',').map(str::trim))
        .filter_map(|entry| entry.split(':').next())
        .map(str::to_owned)
        .collect();
    let exists = |target: &str| {
        target
            .strip_prefix("fuzz_")
            .is_some_and(|name| tests.contains(name))
            || by_line.contains(target)
    };
    let mut used = BTreeSet::new();
    let mut without = Vec::new();
    let mut looked_at = 0;
    for (file, source) in &all {
        if !file.contains("/src/") || file.ends_with("/fuzz.rs") || file.ends_with("/tests.rs") {
            continue;
        }
        let code = shipped(source);
        let mut of_trait = false;
        for line in code.lines() {
            if line.starts_with("impl") || line.starts_with("pub trait") {
                of_trait = line.contains("FromFields");
            }
            let Some(parser) = looks_like_one(line) else {
                continue;
            };
            // The method of the trait is not another one.
            if parser == "fn from_fields" && of_trait {
                continue;
            }
            looked_at += 1;
            if let Some(kind) = parser.strip_prefix("FromFields for ")
                && source.split("::fields!(").skip(1).any(|rest| {
                    let list = rest.split(')').next().unwrap_or_default();
                    list.split([',', ':', ' ', '\n']).any(|word| word == kind)
                })
            {
                continue;
            }
            let mut rows = PARSERS.iter().chain(TRUSTED).enumerate();
            match rows.find(|(_, (of, what, _))| (*of == "*" || of == file) && *what == parser) {
                Some((row, _)) => drop(used.insert(row)),
                None => without.push(format!("{file}: {parser}")),
            }
        }
    }
    assert!(looked_at > 60, "only {looked_at} parsers were found");
    assert!(
        without.is_empty(),
        "no target: write one (docs/fuzzing.md), and name it in this table: {without:#?}"
    );
    let unused: Vec<_> = PARSERS
        .iter()
        .chain(TRUSTED)
        .enumerate()
        .filter(|(row, _)| !used.contains(row))
        .map(|(_, row)| row)
        .collect();
    assert!(unused.is_empty(), "these are gone: {unused:#?}");
    let named = PARSERS.iter().map(|(_, _, target)| *target);
    let missing: Vec<_> = named
        .chain(OTHERS.iter().copied())
        .filter(|target| !exists(target))
        .collect();
    assert!(
        missing.is_empty(),
        "these targets do not exist: {missing:#?}"
    );
}

#[test]
fn parsers_are_found_however_they_are_written() {
    for (line, found) in [
        ("impl FromFields for Change {", "FromFields for Change"),
        (
            "impl<const N: u32> FromFields for Page<N> {",
            "FromFields for Page",
        ),
        ("impl FromStr for At {", "FromStr for At"),
        (
            "impl TryFrom<String> for $name {",
            "TryFrom<String> for $name",
        ),
        ("    pub fn parse(raw: &str) -> Self {", "fn parse"),
        ("    fn parse_header(raw: &[u8]) {", "fn parse_header"),
        ("    pub(super) fn from_json(json: &[u8]) {", "fn from_json"),
        (
            "    #[arg(long, value_parser = duration)]",
            "value_parser duration",
        ),
    ] {
        assert_eq!(looks_like_one(line).as_deref(), Some(found), "{line}");
    }
    for line in [
        "// fn parse(",
        "let parsed = raw.parse();",
        "fn sparse(raw: &str) {",
    ] {
        assert_eq!(looks_like_one(line), None, "{line}");
    }
}
