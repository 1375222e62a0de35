//! Which secrets are good enough to start with.
//!
//! A short one can be guessed, one from a manual is known. Both are refused at
//! start, in one sentence that never shows the secret.

use crate::settings::WrongSetting;

/// Fewest bytes of any secret.
pub const SHORTEST: usize = 16;
/// Fewest different characters: below that it is one key, held down.
const FEWEST_CHARACTERS: usize = 5;
/// What makes a good one.
const ADVICE: &str = "make one with `openssl rand -hex 32`";

/// What is in examples, manuals and lists of passwords, in small letters. A
/// random secret holds none of it.
const WELL_KNOWN: [&str; 16] = [
    "0123456789",
    "1234567890",
    "a demo needs no secret",
    "abcdefgh",
    "battery staple",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "example",
    "insecure",
    "letmein",
    "password",
    "placeholder",
    "supersecret",
    "your-secret",
];

/// Whether the secret in `variable` is good enough, if it is set at all. It needs
/// at least `shortest` bytes.
///
/// # Errors
/// What is wrong with it, without showing it.
pub fn check(variable: &str, secret: Option<&str>, shortest: usize) -> Result<(), WrongSetting> {
    let Some(secret) = secret else { return Ok(()) };
    let wrong = |what: String| Err(WrongSetting(format!("{variable} {what}")));
    if secret.len() < shortest {
        return wrong(format!(
            "has {} bytes: it needs at least {shortest}, so {ADVICE}",
            secret.len()
        ));
    }
    let lower = secret.to_lowercase();
    if WELL_KNOWN.iter().any(|known| lower.contains(known)) {
        return wrong(format!(
            "holds a well-known example, which others know, too: {ADVICE}"
        ));
    }
    let mut characters: Vec<char> = secret.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < FEWEST_CHARACTERS {
        return wrong(format!(
            "has only {} different characters and can be guessed: {ADVICE}",
            characters.len()
        ));
    }
    Ok(())
}

/// [`check`] for a secret that is sent in a header.
///
/// # Errors
/// As [`check`]; when it cannot stand in a header.
pub fn check_sent(variable: &str, secret: Option<&str>) -> Result<(), WrongSetting> {
    check(variable, secret, SHORTEST)?;
    if secret.is_some_and(|secret| !secret.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(WrongSetting(format!(
            "{variable} has a space, a line break or a letter beyond ASCII, and is sent in a header: leave that out (of a file, only one line break at its end is)"
        )));
    }
    Ok(())
}

/// The settings of `command` and its subcommands that hold secrets but cannot be
/// read from a file, or are shown by `--help`. For tests: it should be empty.
pub fn badly_kept(command: &clap::Command) -> Vec<String> {
    let mut settings = Vec::new();
    collect(command, &mut settings);
    let is_there = |name: &str| settings.iter().any(|(variable, _)| variable == name);
    let mut bad = Vec::new();
    for (variable, is_hidden) in &settings {
        if let Some(of) = variable.strip_suffix("_FILE") {
            if !is_there(of) {
                bad.push(format!("{variable} is the file of nothing"));
            }
        } else if *is_hidden && !is_there(&format!("{variable}_FILE")) {
            bad.push(format!("{variable} has no {variable}_FILE"));
        } else if !is_hidden
            && ["_KEY", "_TOKEN", "_SECRET", "_PASSWORD"]
                .iter()
                .any(|end| variable.ends_with(end))
        {
            bad.push(format!("{variable} is shown by --help"));
        }
    }
    bad.sort();
    bad.dedup();
    bad
}

/// The settings of `command` and its subcommands that hold secrets. For tests.
pub fn of(command: &clap::Command) -> Vec<String> {
    let mut settings = Vec::new();
    collect(command, &mut settings);
    let mut secrets: Vec<_> = settings
        .into_iter()
        .filter_map(|(variable, is_hidden)| is_hidden.then_some(variable))
        .collect();
    secrets.sort();
    secrets.dedup();
    secrets
}

fn collect(command: &clap::Command, into: &mut Vec<(String, bool)>) {
    for argument in command.get_arguments() {
        if let Some(variable) = argument.get_env() {
            into.push((
                variable.to_string_lossy().into_owned(),
                argument.is_hide_env_values_set(),
            ));
        }
    }
    for subcommand in command.get_subcommands() {
        collect(subcommand, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "3f1c0e9a77d24b5e8a6f";

    fn refused(secret: &str) -> String {
        check("TOKEN", Some(secret), SHORTEST)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn short_known_and_repeated_secrets_are_refused_and_not_shown() {
        assert_eq!(check("TOKEN", Some(GOOD), SHORTEST), Ok(()));
        assert_eq!(check("TOKEN", None, SHORTEST), Ok(()));
        assert_eq!(
            refused("x"),
            "TOKEN has 1 bytes: it needs at least 16, so make one with `openssl rand -hex 32`"
        );
        for known in [
            "0123456789abcdef0123456789abcdef",
            "ChangeMe-ChangeMe-ChangeMe",
            "correct horse battery staple",
            "your-secret-key-goes-here",
        ] {
            let said = refused(known);
            assert!(said.contains("well-known example"), "{said}");
            assert!(!said.contains(known), "{said}");
        }
        let held_down = refused(&"k".repeat(64));
        assert!(held_down.contains("can be guessed"), "{held_down}");
        assert!(check("TOKEN", Some(GOOD), 32).is_err());
    }

    #[test]
    fn what_is_sent_in_a_header_can_stand_in_one() {
        assert_eq!(check_sent("TOKEN", Some(GOOD)), Ok(()));
        for odd in ["\n", " ", "é"] {
            let said = check_sent("TOKEN", Some(&format!("{GOOD}{odd}")));
            assert!(
                said.unwrap_err().to_string().contains("sent in a header"),
                "{odd:?}"
            );
        }
    }
}
