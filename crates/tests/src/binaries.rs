//! Where the programs are: ours from cargo, Restate's from npm.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::repository;

/// What has to be built, and how, in a word.
const BUILD: &str = "run `cargo build --bins` first (`just test` does)";

/// One of our programs: from `WAYBILL_BIN_DIR`, or from where cargo has put the
/// running program (a test, the benchmark, the launcher).
pub fn ours(name: &str) -> Result<PathBuf, String> {
    let path = folder().join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is missing: {BUILD}", path.display()))
}

/// The same, and not older than what it was made from: cargo builds no program
/// for another crate's tests. Who names the folder has built it.
pub fn ours_up_to_date(name: &str) -> Result<PathBuf, String> {
    let path = ours(name)?;
    if named_folder().is_some() {
        return Ok(path);
    }
    must_be_up_to_date(&path)?;
    Ok(path)
}

fn must_be_up_to_date(program: &Path) -> Result<(), String> {
    let built = modified(program);
    let sources = sources(program)?;
    match sources.iter().find(|source| newest(source) > built) {
        None => Ok(()),
        Some(source) => Err(format!(
            "{} is older than {}: {BUILD}",
            program.display(),
            source.display()
        )),
    }
}

/// The Restate server.
pub fn restate_server() -> Result<PathBuf, String> {
    from_npm("RESTATE_SERVER_BIN", "restate-server")
}

/// Restate's command line.
pub fn restate_cli() -> Result<PathBuf, String> {
    from_npm("RESTATE_CLI_BIN", "restate")
}

/// The command line of a cluster's operator.
pub fn restatectl() -> Result<PathBuf, String> {
    from_npm("RESTATECTL_BIN", "restatectl")
}

fn named_folder() -> Option<PathBuf> {
    let folder = env::var_os("WAYBILL_BIN_DIR").filter(|folder| !folder.is_empty())?;
    // A relative name is meant from here, wherever the process then works.
    Some(std::path::absolute(folder).expect("there is a working folder"))
}

fn folder() -> PathBuf {
    named_folder().unwrap_or_else(|| {
        let program = env::current_exe().expect("a program knows where it is");
        let folder = program.parent().expect("a file is in a folder");
        // Tests and benchmarks are one deeper than programs.
        let is_a_test = folder.file_name().is_some_and(|name| name == "deps");
        let up = folder.parent().filter(|_| is_a_test);
        up.unwrap_or(folder).to_owned()
    })
}

/// What the program was made from, as cargo has noted beside it: the sources of
/// our crates, and what they include.
fn sources(program: &Path) -> Result<Vec<PathBuf>, String> {
    let notes = program.with_extension("d");
    let text = fs::read_to_string(&notes)
        .map_err(|error| format!("{} cannot be read ({error}): {BUILD}", notes.display()))?;
    let (_, listed) = text.split_once(": ").unwrap_or_default();
    // A space in a name is written "\ ".
    let listed = listed.replace("\\ ", "\0");
    let names = listed.split_whitespace();
    Ok(names.map(|name| name.replace('\0', " ").into()).collect())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// When it was last changed, or anything in it; none when it is not there.
fn newest(path: &Path) -> Option<SystemTime> {
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    let inside = inside.filter_map(|entry| newest(&entry.path())).max();
    inside.max(modified(path))
}

fn from_npm(variable: &str, name: &str) -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let os = match env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let path = repository()
        .join("node_modules/@restatedev")
        .join(format!("{name}-{os}-{processor}"))
        .join("bin")
        .join(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!(
        "{} is missing: run `just setup`, or set {variable}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_is_compared_with_what_it_was_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let now = SystemTime::now();
        let change = |name: &str, seconds_ago| {
            let file = File::options().append(true).create(true).open(at(name));
            let when = now - Duration::from_secs(seconds_ago);
            file.unwrap().set_modified(when).unwrap();
        };
        let program = at("program");
        change("program", 10);
        let unknown = must_be_up_to_date(&program).unwrap_err();
        assert!(unknown.contains("program.d cannot be read"), "{unknown}");

        let listed = format!(
            "{}: {} {}/a\\ name.rs {}\n",
            program.display(),
            at("gone.rs").display(),
            folder.path().display(),
            at("templates").display(),
        );
        fs::write(at("program.d"), listed).unwrap();
        change("a name.rs", 20);
        assert_eq!(must_be_up_to_date(&program), Ok(()));
        change("a name.rs", 5);
        let old = must_be_up_to_date(&program).unwrap_err();
        assert!(old.contains("/a name.rs: run `cargo build"), "{old}");

        change("program", 4);
        assert_eq!(must_be_up_to_date(&program), Ok(()));
        fs::create_dir(at("templates")).unwrap();
        let old = must_be_up_to_date(&program).unwrap_err();
        assert!(old.contains("/templates: run `cargo build"), "{old}");
    }
}
