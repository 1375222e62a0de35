//! How our parsers are fuzzed. Each crate has its targets beside its parsers
//! (tests whose names begin with `fuzz_`); what they have in common is here.
//!
//! | module | holds |
//! | --- | --- |
//! | [`input`] | input that is nearly right, or meant to break out of its place |
//!
//! [`check`] runs a target: a few hundred executions in every test run, and for
//! `FUZZ_SECONDS` each with `just fuzz`, which prints a table
//! (docs/fuzzing.md). `tests/every_parser.rs` fails when a parser has no target.

pub mod input;

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Duration, Instant};

pub use proptest;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// What a property answers.
pub type Checked = Result<(), TestCaseError>;

/// Executions between two looks at the clock.
const BATCH: u32 = 1_000;

/// Runs `property` with what `inputs` makes: as often as proptest does by itself
/// (`PROPTEST_CASES`), or for `FUZZ_SECONDS`. A failure shows the smallest input
/// that was found for it.
///
/// # Panics
/// When the property does not hold, or the parser panics.
pub fn check<S: Strategy>(target: &str, inputs: &S, property: impl Fn(S::Value) -> Checked) {
    let began = Instant::now();
    let long = std::env::var("FUZZ_SECONDS").ok().map(|seconds| {
        let seconds = seconds.parse().expect("FUZZ_SECONDS is a number");
        Duration::from_secs(seconds)
    });
    let executions = Cell::new(0_u64);
    loop {
        let mut config = Config {
            // A failure becomes a test of its own, with its input written out.
            failure_persistence: None,
            ..Config::default()
        };
        if long.is_some() {
            config.cases = BATCH;
        }
        let ran = TestRunner::new(config).run(inputs, |input| {
            executions.set(executions.get() + 1);
            property(input)
        });
        if let Err(failure) = ran {
            panic!("{target}, execution {}: {failure}", executions.get());
        }
        if long.is_none_or(|long| began.elapsed() >= long) {
            break;
        }
    }
    if long.is_some() {
        report(target, executions.get(), began.elapsed());
    }
}

/// A line for the table of `just fuzz`, which says where in `FUZZ_REPORT`.
fn report(target: &str, executions: u64, took: Duration) {
    let Some(path) = std::env::var_os("FUZZ_REPORT") else {
        return;
    };
    let line = format!("{target}\t{executions}\t{}\n", took.as_secs());
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("FUZZ_REPORT can be written");
    file.write_all(line.as_bytes())
        .expect("FUZZ_REPORT can be written");
}
