//! Reading settings: each is an environment variable and a command line option.
//!
//! A wrong one ends the process with one sentence that names the variable:
//! [`read`] finds what clap refuses, a process itself what only makes sense
//! together ([`WrongSetting`]), and [`exit_code`] says either.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use reqwest::Url;

use crate::private_files;

/// Exit code for a wrong or missing setting, unless `SETTINGS_EXIT_CODE` says
/// another.
const WRONG_SETTING: u8 = 2;
/// Exit code for everything else that went wrong.
const FAILED: u8 = 1;

/// What `--help` says of wrong settings.
pub const AFTER_HELP: &str = "A wrong setting ends the process with one sentence and the exit code 2, or the one in SETTINGS_EXIT_CODE.";

/// Something that only a person can mend, as the one sentence that tells how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting(pub String);

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongSetting {}

/// Reads the command line and the environment. Help, the version and unknown
/// options end the process here, as clap says them.
///
/// # Errors
/// When a setting has a wrong value.
pub fn read<C: Parser>() -> Result<C, WrongSetting> {
    C::try_parse().map_err(|error| match one_sentence(&error, &C::command()) {
        Some(sentence) => WrongSetting(sentence),
        None if error.use_stderr() => {
            // Where stderr is closed there is nobody to tell.
            let _ = error.print();
            std::process::exit(settings_exit_code().into())
        }
        None => error.exit(),
    })
}

/// How `program` ends: with the code that it chose, or with one sentence on
/// stderr that says what went wrong.
pub fn exit_code(program: &str, done: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match done {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{program}: {error:#}");
    ExitCode::from(if error.is::<WrongSetting>() {
        settings_exit_code()
    } else {
        FAILED
    })
}

fn settings_exit_code() -> u8 {
    let code = std::env::var("SETTINGS_EXIT_CODE").ok();
    code.and_then(|code| code.parse().ok())
        .unwrap_or(WRONG_SETTING)
}

/// clap's refusal of a setting of `command` as one sentence that names the
/// variable. `None` for everything else (help, version, unknown options), which
/// clap says well itself.
pub fn one_sentence(error: &clap::Error, command: &clap::Command) -> Option<String> {
    if !matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    ) {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" or ")),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let flag = argument
        .trim_start_matches('-')
        .split([' ', '='])
        .next()?
        .to_owned();
    // clap names the flag; people set the variable.
    let name = variable_of(command, &flag).unwrap_or(flag);
    let value = without_secrets(&text(ContextKind::InvalidValue).unwrap_or_default());
    let reason = match text(ContextKind::ValidValue) {
        Some(valid) => format!("it must be {valid}"),
        None => std::error::Error::source(error)
            .map_or_else(|| "it is not valid".to_owned(), ToString::to_string),
    };
    Some(format!("{name} is '{value}': {reason}"))
}

/// A value as it may be shown: what is before the `@` or after the `?` of a URL may
/// be secret.
fn without_secrets(value: &str) -> String {
    let value = match value.split_once('?') {
        Some((address, _)) => format!("{address}?…"),
        None => value.to_owned(),
    };
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}"),
            None => value,
        },
        None => value,
    }
}

/// The environment variable that an option is also read from.
fn variable_of(command: &clap::Command, flag: &str) -> Option<String> {
    let own = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag))
        .and_then(|argument| argument.get_env())
        .map(|variable| variable.to_string_lossy().into_owned());
    own.or_else(|| {
        command
            .get_subcommands()
            .find_map(|subcommand| variable_of(subcommand, flag))
    })
}

/// A URL that may be set to nothing, as compose files do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalUrl(Option<String>);

impl OptionalUrl {
    /// The URL without a slash at its end, if there is one.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// What is in a file whose name was set; nothing, when the name is empty.
#[derive(Clone)]
pub struct SecretFile(Option<String>);

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretFile")
    }
}

/// A secret, or what is in the file that holds it. Set to nothing, it counts as
/// unset.
pub fn secret<'a>(value: Option<&'a String>, file: Option<&'a SecretFile>) -> Option<&'a str> {
    value
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .or_else(|| file.and_then(|SecretFile(text)| text.as_deref()))
}

/// Reads the file that holds a secret. One line break at its end is the editor's;
/// everything else is the secret's.
///
/// # Errors
/// When it cannot be read or is empty, in words for whoever has set it.
pub fn secret_file(raw: &str) -> Result<SecretFile, String> {
    if raw.is_empty() {
        return Ok(SecretFile(None));
    }
    match fs::read_to_string(raw) {
        Ok(text) if text.trim().is_empty() => Err("this file is empty".to_owned()),
        Ok(text) => {
            let secret = text
                .strip_suffix("\r\n")
                .or_else(|| text.strip_suffix('\n'))
                .unwrap_or(&text);
            Ok(SecretFile(Some(secret.to_owned())))
        }
        Err(error) => Err(format!("this file cannot be read ({error})")),
    }
}

/// An address to listen on.
///
/// # Errors
/// When it is none, in words for whoever has set it.
pub fn address(raw: &str) -> Result<SocketAddr, String> {
    raw.parse()
        .map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

/// A URL over HTTP.
///
/// # Errors
/// When it is none, in words for whoever has set it.
pub fn http_url(raw: &str) -> Result<Url, String> {
    const WANTED: &str = "it must be a URL, such as http://127.0.0.1:8081";
    let raw = raw.trim();
    // A parser of URLs leaves such characters out, where we would not.
    if raw
        .chars()
        .any(|letter| letter.is_control() || letter.is_whitespace())
    {
        return Err(WANTED.to_owned());
    }
    let url: Url = raw.parse().map_err(|_| WANTED.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it must start with http:// or https://".to_owned());
    }
    // Addresses are logged.
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("it must have no password and nothing after a ?, for it is logged: secrets have settings of their own".to_owned());
    }
    Ok(url)
}

/// The same as it was written, to put paths behind: without a slash at its end.
///
/// # Errors
/// See [`http_url`].
pub fn base_url(raw: &str) -> Result<String, String> {
    http_url(raw).map(|_| raw.trim().trim_end_matches('/').to_owned())
}

/// The same where nothing is fine, too.
///
/// # Errors
/// See [`http_url`].
pub fn optional_url(raw: &str) -> Result<OptionalUrl, String> {
    if raw.trim().is_empty() {
        return Ok(OptionalUrl(None));
    }
    base_url(raw).map(|url| OptionalUrl(Some(url)))
}

/// The URL of a database file.
///
/// # Errors
/// When it is none, in words for whoever has set it.
pub fn sqlite_url(raw: &str) -> Result<String, String> {
    match raw.strip_prefix("sqlite:") {
        Some(path) if !path.trim_start_matches('/').is_empty() => Ok(raw.to_owned()),
        _ => Err("it must name a file, such as sqlite://data/waybill.db".to_owned()),
    }
}

/// Whether the database file that `variable` names can be written, before it is
/// opened: "unable to open database file" helps nobody. The file and its folder
/// are created.
///
/// # Errors
/// The sentence for the operator, when it cannot.
pub fn check_writable(variable: &str, url: &str) -> Result<(), WrongSetting> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let file = Path::new(path.split('?').next().unwrap_or(path));
    private_files::keep_database_private(file)
        .map_err(|error| {
            WrongSetting(format!(
                "{variable} is '{url}': {} cannot be written ({error}), so give its folder to this user or name another file",
                file.display()
            ))
        })
}

/// The longest time that can be set: a hundred years.
const LONGEST_TIME: Duration = Duration::from_hours(100 * 366 * 24);

/// A time such as `500ms`, `15m` or `30d`, of a hundred years at most.
///
/// # Errors
/// What it should look like.
pub fn duration(raw: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(raw)
        .map_err(|_| "it must be a time such as 500ms, 5s, 15m, 24h or 30d".to_owned())?;
    // Calendars end some time, and so does arithmetic with them.
    if time > LONGEST_TIME {
        return Err("it must be a time of 100 years at most, such as 24h or 30d".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Subcommand};

    use super::*;
    use crate::telemetry::TelemetrySettings;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(subcommand)]
        command: Option<Command>,
        /// Where it listens.
        #[arg(long, env = "SETTINGS_TEST_LISTEN", default_value = "127.0.0.1:1", value_parser = address)]
        listen: SocketAddr,
        /// Another process.
        #[arg(long, env = "SETTINGS_TEST_URL", value_parser = optional_url)]
        other: Option<OptionalUrl>,
        /// Only known to both.
        #[arg(long, env = "SETTINGS_TEST_TOKEN")]
        token: Option<String>,
        /// A file that holds it.
        #[arg(long, env = "SETTINGS_TEST_TOKEN_FILE", value_parser = secret_file)]
        token_file: Option<SecretFile>,
        #[command(flatten)]
        telemetry: TelemetrySettings,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        Sub {
            /// Its books.
            #[arg(long, env = "SETTINGS_TEST_BOOKS", value_parser = sqlite_url)]
            books: String,
        },
    }

    fn parse(arguments: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["test"], arguments].concat())
    }

    fn sentence(arguments: &[&str]) -> String {
        let error = parse(arguments).unwrap_err();
        one_sentence(&error, &CommandLine::command()).unwrap()
    }

    #[test]
    fn a_wrong_value_is_one_sentence_that_names_the_variable() {
        assert_eq!(
            sentence(&["--listen", "here"]),
            "SETTINGS_TEST_LISTEN is 'here': it must be an IP address and a port, such as 127.0.0.1:8080"
        );
        assert_eq!(
            sentence(&["--other", "nonsense"]),
            "SETTINGS_TEST_URL is 'nonsense': it must be a URL, such as http://127.0.0.1:8081"
        );
        assert_eq!(
            sentence(&["--other", "http://there\u{1}"]),
            "SETTINGS_TEST_URL is 'http://there\u{1}': it must be a URL, such as http://127.0.0.1:8081"
        );
        assert_eq!(
            sentence(&["--other", "ftp://there"]),
            "SETTINGS_TEST_URL is 'ftp://there': it must start with http:// or https://"
        );
        for (url, shown) in [
            ("http://user:pa55@there:1/x", "http://…@there:1/x"),
            ("http://user@there", "http://…@there"),
            ("http://there/x?key=pa55", "http://there/x?…"),
        ] {
            let said = sentence(&["--other", url]);
            let start = format!("SETTINGS_TEST_URL is '{shown}': it must have no password");
            assert!(said.starts_with(&start), "{said}");
            assert!(!said.contains("pa55"), "{said}");
        }
        assert_eq!(
            sentence(&["--log-format", "xml"]),
            "LOG_FORMAT is 'xml': it must be text or json"
        );
        assert_eq!(
            sentence(&["--token-file", "/nowhere/token"]),
            "SETTINGS_TEST_TOKEN_FILE is '/nowhere/token': this file cannot be read (No such file or directory (os error 2))"
        );
    }

    #[test]
    fn a_wrong_value_of_a_subcommand_is_named_as_well() {
        assert_eq!(
            sentence(&["sub", "--books", "postgres://x"]),
            "SETTINGS_TEST_BOOKS is 'postgres://x': it must name a file, such as sqlite://data/waybill.db"
        );
    }

    #[test]
    fn what_is_no_setting_is_said_by_clap() {
        let error = parse(&["--unknown"]).unwrap_err();
        assert_eq!(one_sentence(&error, &CommandLine::command()), None);
    }

    #[test]
    fn what_is_set_to_nothing_counts_as_unset() {
        let line = parse(&["--other", "", "--token", "", "--token-file", ""]).unwrap();
        assert_eq!(line.other.as_ref().and_then(OptionalUrl::get), None);
        assert_eq!(secret(line.token.as_ref(), line.token_file.as_ref()), None);
        let line = parse(&["--other", "http://127.0.0.1:8090/"]).unwrap();
        let other = line.other.as_ref().and_then(OptionalUrl::get);
        assert_eq!(other, Some("http://127.0.0.1:8090"));
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "from-the-file\n").unwrap();
        let file = file.to_str().unwrap();
        let line = parse(&["--token-file", file]).unwrap();
        let token = secret(line.token.as_ref(), line.token_file.as_ref());
        assert_eq!(token, Some("from-the-file"));
        for (text, secret) in [
            ("none", "none"),
            ("two\n\n", "two\n"),
            (" spaces \n", " spaces "),
            ("of Windows\r\n", "of Windows"),
        ] {
            fs::write(file, text).unwrap();
            let line = parse(&["--token-file", file]).unwrap();
            let token = super::secret(line.token.as_ref(), line.token_file.as_ref());
            assert_eq!(token, Some(secret), "{text:?}");
        }
        let line = parse(&["--token-file", file, "--token", "said"]).unwrap();
        let token = secret(line.token.as_ref(), line.token_file.as_ref());
        assert_eq!(token, Some("said"));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_one_sentence_that_names_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a/waybill.db", folder.path().display());
        assert_eq!(check_writable("DATABASE_URL", &url), Ok(()));
        let url = format!("sqlite://{}/a/waybill.db/b.db", folder.path().display());
        let refused = check_writable("DATABASE_URL", &url).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.starts_with("DATABASE_URL is 'sqlite://"),
            "{refused}"
        );
        assert!(refused.contains("cannot be written"), "{refused}");
    }
}
