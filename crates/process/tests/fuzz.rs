//! Values of settings that are wrong in every way: each is refused in words for
//! whoever has set it, and never ends the process otherwise.

use std::net::SocketAddr;

use clap::{CommandFactory as _, Parser};
use fuzz::check;
use fuzz::input::{mistaken, text};
use fuzz::proptest::prelude::*;
use process::settings::{
    OptionalUrl, address, base_url, duration, http_url, one_sentence, optional_url, secret_file,
    sqlite_url,
};

/// A sentence for a person: it repeats nothing of what was set.
fn is_a_sentence(said: &str) -> fuzz::Checked {
    prop_assert!((5..200).contains(&said.len()), "{said}");
    prop_assert!(!said.chars().any(char::is_control), "{said:?}");
    Ok(())
}

#[test]
fn fuzz_durations() {
    let samples = [
        "500ms",
        "5s",
        "15m",
        "24h",
        "30d",
        "1h 30m",
        "0s",
        "18446744073709551615s",
    ];
    check(
        "process: duration",
        &prop_oneof![mistaken(&samples, 3), text(4)],
        |raw| {
            match duration(&raw) {
                Ok(time) => {
                    prop_assert!(raw.chars().any(|letter| letter.is_ascii_digit()), "{raw:?}");
                    let written = format!("{}s", time.as_secs());
                    let back = duration(&written).map(|time| time.as_secs());
                    prop_assert_eq!(back, Ok(time.as_secs()));
                }
                Err(said) => is_a_sentence(&said)?,
            }
            Ok(())
        },
    );
}

#[test]
fn fuzz_urls() {
    let samples = [
        "http://127.0.0.1:8081",
        "https://shop.example/a/?b#c",
        "http://[::1]:1/",
        "http://user:pw@host",
        "ftp://there",
    ];
    check(
        "process: URLs",
        &prop_oneof![mistaken(&samples, 3), text(5)],
        |raw| {
            match base_url(&raw) {
                Ok(base) => {
                    let url = http_url(&raw).expect("it was one");
                    prop_assert!(["http", "https"].contains(&url.scheme()) && url.has_host());
                    prop_assert!(!base.ends_with('/'), "{base}");
                    // With a path behind it, it leads to the same place.
                    if url.query().is_none() && url.fragment().is_none() {
                        let asked = http_url(&format!("{base}/x"));
                        let asked = asked.map_err(TestCaseError::fail)?;
                        prop_assert_eq!(asked.host_str(), url.host_str(), "{}", base);
                        prop_assert_eq!(asked.port_or_known_default(), url.port_or_known_default());
                    }
                    let optional = optional_url(&raw).expect("it was one");
                    prop_assert_eq!(optional.get(), Some(base.as_str()));
                }
                Err(said) => {
                    is_a_sentence(&said)?;
                    let optional = optional_url(&raw);
                    prop_assert_eq!(optional.is_ok(), raw.trim().is_empty());
                    prop_assert!(
                        optional.is_ok_and(|url| url.get().is_none()) || !raw.trim().is_empty()
                    );
                }
            }
            Ok(())
        },
    );
}

#[test]
fn fuzz_addresses_and_files() {
    let samples = [
        "127.0.0.1:8080",
        "[::1]:0",
        "0.0.0.0:65535",
        "sqlite://data/waybill.db",
    ];
    check(
        "process: address, sqlite_url, secret_file",
        &mistaken(&samples, 3),
        |raw| {
            match address(&raw) {
                Ok(read) => prop_assert_eq!(address(&read.to_string()), Ok(read)),
                Err(said) => is_a_sentence(&said)?,
            }
            match sqlite_url(&raw) {
                Ok(read) => prop_assert!(read == raw && raw.len() > "sqlite:".len()),
                Err(said) => is_a_sentence(&said)?,
            }
            // There is no such folder; what is not there is refused, whatever it is called.
            let name = format!("/nowhere/x{raw}");
            let said = secret_file(&name)
                .map(|_| ())
                .expect_err("there is no such file");
            is_a_sentence(&said)
        },
    );
}

#[derive(Debug, Parser)]
struct Line {
    #[arg(long, env = "FUZZ_TEST_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    #[arg(long, env = "FUZZ_TEST_URL", value_parser = optional_url)]
    other: Option<OptionalUrl>,
}

#[test]
fn fuzz_command_lines() {
    let samples = ["127.0.0.1:8080", "http://127.0.0.1:8081", "", "--help", "-"];
    let inputs = (any::<bool>(), mistaken(&samples, 3));
    check("process: one_sentence", &inputs, |(listen, raw)| {
        let (flag, name) = if listen {
            ("--listen", "FUZZ_TEST_LISTEN")
        } else {
            ("--other", "FUZZ_TEST_URL")
        };
        match Line::try_parse_from(["fuzz", &format!("{flag}={raw}")]) {
            Ok(line) => prop_assert!(line.listen.is_some() == listen || line.other.is_some()),
            Err(error) => {
                let said = one_sentence(&error, &Line::command());
                let said = said.ok_or_else(|| TestCaseError::fail("clap's own words"))?;
                prop_assert!(said.starts_with(&format!("{name} is '")), "{said}");
            }
        }
        Ok(())
    });
}
