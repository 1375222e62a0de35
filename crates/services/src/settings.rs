//! The command line: what to do, and every setting, read once at start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use reqwest::Url;

use crate::prepare::Folders;

/// The services of Waybill: a Restate endpoint without a database.
#[derive(Debug, Clone, Parser)]
#[command(name = "services", version = VERSION, after_help = AFTER_HELP)]
pub struct CommandLine {
    /// What to do; serving, when it is not said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub settings: Settings,
}

const AFTER_HELP: &str = "A wrong setting ends the process with one sentence and the exit code 2, \
    or the one in SETTINGS_EXIT_CODE.";

/// What the binary can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve Restate (what happens without a command).
    Serve,
    /// Ask the services at `SERVICES_OPS_LISTEN` whether they are well; exit
    /// code 0 means yes.
    Health {
        /// Also whether they are registered with Restate.
        #[arg(long)]
        ready: bool,
    },
    /// Make what has to be there before Restate and the services start: the key
    /// pair of Restate's request identity and an internal token. What is there
    /// already stays.
    Prepare(Folders),
}

/// Everything that can be set.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where Restate reaches the services.
    #[arg(long, env = "SERVICES_LISTEN", default_value = "127.0.0.1:9080")]
    pub listen: SocketAddr,

    /// Where health, metrics and the update stream are.
    #[arg(long, env = "SERVICES_OPS_LISTEN", default_value = "127.0.0.1:9081")]
    pub ops_listen: SocketAddr,

    /// The address of `SERVICES_LISTEN` as Restate sees it.
    #[arg(long, env = "SERVICES_URL", default_value = "http://127.0.0.1:9080", value_parser = http_url)]
    pub url: Url,

    /// Restate's admin API: when set, the services register themselves there.
    #[arg(long, env = "RESTATE_ADMIN_URL", value_parser = http_url)]
    pub restate_admin_url: Option<Url>,

    /// The payment provider's API.
    #[arg(long, env = "PAYMENT_PROVIDER_URL", default_value = "http://127.0.0.1:8090/payments", value_parser = http_url)]
    pub payment_provider_url: Url,

    /// The carrier's API.
    #[arg(long, env = "CARRIER_URL", default_value = "http://127.0.0.1:8090/carrier", value_parser = http_url)]
    pub carrier_url: Url,

    /// How long a customer may take to pay.
    #[arg(long, env = "PAYMENT_WINDOW", default_value = "15m", value_parser = duration)]
    pub payment_window: Duration,

    /// How long an admin may take to decide.
    #[arg(long, env = "APPROVAL_WINDOW", default_value = "24h", value_parser = duration)]
    pub approval_window: Duration,

    /// How long a parcel travels.
    #[arg(long, env = "DELIVERY_TIME", default_value = "5s", value_parser = duration)]
    pub delivery_time: Duration,

    /// How long an ended order is remembered by Restate.
    #[arg(long, env = "ORDER_RETENTION", default_value = "30d", value_parser = duration)]
    pub order_retention: Duration,

    /// When set, only requests signed by that Restate server are served.
    #[arg(long, env = "RESTATE_IDENTITY_KEY", hide_env_values = true)]
    pub restate_identity_key: Option<String>,

    /// A file that holds `RESTATE_IDENTITY_KEY`.
    #[arg(long, env = "RESTATE_IDENTITY_KEY_FILE", value_parser = secret_file)]
    pub restate_identity_key_file: Option<SecretFile>,

    /// Guards the update stream: listeners must send it as a bearer token.
    /// Required when `SERVICES_OPS_LISTEN` is not on loopback.
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<String>,

    /// A file that holds `INTERNAL_TOKEN`.
    #[arg(long, env = "INTERNAL_TOKEN_FILE", value_parser = secret_file)]
    pub internal_token_file: Option<SecretFile>,

    /// Lets `POST /crash` on the ops port abort the process. For the demo and
    /// for tests.
    #[arg(long, env = "ALLOW_CRASH", default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_crash: bool,

    /// `text` or `json`.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Where traces go: an OTLP collector (HTTP), e.g. `http://127.0.0.1:4318`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = optional_http_url)]
    pub traces_endpoint: Option<OptionalUrl>,
}

/// A URL, or nothing where the variable is set to nothing.
#[derive(Debug, Clone)]
pub struct OptionalUrl(pub Option<Url>);

fn optional_http_url(raw: &str) -> Result<OptionalUrl, String> {
    if raw.trim().is_empty() {
        return Ok(OptionalUrl(None));
    }
    http_url(raw).map(|url| OptionalUrl(Some(url)))
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Version and commit, e.g. `0.1.0 (1a2b3c4)`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAYBILL_COMMIT"), ")");

/// What is in a file whose name was set; nothing, when the name is empty.
#[derive(Clone)]
pub struct SecretFile(Option<String>);

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretFile")
    }
}

impl CommandLine {
    /// Reads flags and environment; a wrong one ends the process with one
    /// sentence that names it.
    pub fn read() -> Self {
        let line = match Self::try_parse() {
            Ok(line) => line,
            Err(error) if error.use_stderr() => refuse_setting(&one_sentence(&error)),
            Err(help) => help.exit(),
        };
        if line.serves()
            && let Err(sentence) = line.settings.check()
        {
            refuse_setting(&sentence);
        }
        line
    }

    fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve))
    }
}

impl Settings {
    /// Whose signed requests alone are served, if that matters.
    pub fn restate_identity_key(&self) -> Option<&str> {
        given(
            self.restate_identity_key.as_ref(),
            self.restate_identity_key_file.as_ref(),
        )
    }

    /// What listeners must know, if anything.
    pub fn internal_token(&self) -> Option<&str> {
        given(
            self.internal_token.as_ref(),
            self.internal_token_file.as_ref(),
        )
    }

    fn check(&self) -> Result<(), String> {
        if self.internal_token().is_none() && !self.ops_listen.ip().is_loopback() {
            return Err(format!(
                "INTERNAL_TOKEN must be set because SERVICES_OPS_LISTEN={} is reachable from other machines",
                self.ops_listen
            ));
        }
        for (name, window) in [
            ("PAYMENT_WINDOW", self.payment_window),
            ("APPROVAL_WINDOW", self.approval_window),
            ("ORDER_RETENTION", self.order_retention),
        ] {
            if window.is_zero() {
                return Err(format!("{name} must be longer than nothing, e.g. 15m"));
            }
        }
        let longest = self.payment_window + self.approval_window + self.delivery_time;
        if self.order_retention < longest {
            return Err(
                "ORDER_RETENTION must be at least PAYMENT_WINDOW, APPROVAL_WINDOW and \
                 DELIVERY_TIME together: an order would be forgotten before it ends"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// A setting, or the file that holds it. Compose files set what they leave out
/// to nothing.
fn given<'a>(value: Option<&'a String>, file: Option<&'a SecretFile>) -> Option<&'a str> {
    value
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .or_else(|| file.and_then(|SecretFile(text)| text.as_deref()))
}

/// Ends the process over something that only a person can mend.
pub fn refuse_setting(sentence: &str) -> ! {
    let code = std::env::var("SETTINGS_EXIT_CODE").ok();
    refuse(
        sentence,
        code.and_then(|code| code.parse().ok()).unwrap_or(2),
    )
}

/// Ends the process with one sentence.
pub fn refuse(sentence: &str, code: i32) -> ! {
    use std::io::Write;
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "services: {sentence}");
    std::process::exit(code)
}

/// clap's first line without its "error: ", with the variable's name.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let sentence = line.trim_start_matches("error: ");
    // clap names the flag; people set the variable.
    let variable = sentence
        .split("--")
        .nth(1)
        .and_then(|rest| rest.split([' ', '\'']).next())
        .and_then(|flag| {
            use clap::CommandFactory;
            CommandLine::command()
                .get_arguments()
                .find(|arg| arg.get_long() == Some(flag))
                .and_then(|arg| arg.get_env().map(|env| env.to_string_lossy().into_owned()))
        });
    match variable {
        Some(variable) => format!("{variable}: {sentence}"),
        None => sentence.to_owned(),
    }
}

fn http_url(raw: &str) -> Result<Url, String> {
    let url: Url = raw
        .parse()
        .map_err(|_| "it must be a URL such as http://127.0.0.1:9080".to_owned())?;
    match url.scheme() {
        "http" | "https" if url.host().is_some() => Ok(url),
        _ => Err("it must start with http:// or https://".to_owned()),
    }
}

fn secret_file(raw: &str) -> Result<SecretFile, String> {
    if raw.is_empty() {
        return Ok(SecretFile(None));
    }
    match std::fs::read_to_string(PathBuf::from(raw)) {
        Ok(text) if text.trim().is_empty() => Err("this file is empty".to_owned()),
        Ok(text) => Ok(SecretFile(Some(text.trim().to_owned()))),
        Err(error) => Err(format!("this file cannot be read ({error})")),
    }
}

fn duration(raw: &str) -> Result<Duration, String> {
    humantime::parse_duration(raw)
        .map_err(|_| "it must be a time such as 500ms, 5s, 15m, 24h or 30d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Settings, String> {
        let args = std::iter::once("services").chain(args.iter().copied());
        let line = CommandLine::try_parse_from(args).map_err(|error| one_sentence(&error))?;
        line.settings.check().map(|()| line.settings)
    }

    #[test]
    fn a_wrong_setting_is_one_sentence_with_its_name() {
        let sentence = parse(&["--payment-window", "soon"]).unwrap_err();
        assert!(sentence.starts_with("PAYMENT_WINDOW: "), "{sentence}");
        assert!(sentence.contains("15m"), "{sentence}");
        assert!(!sentence.contains('\n'));
        assert!(
            parse(&["--carrier-url", "ftp://x"])
                .unwrap_err()
                .starts_with("CARRIER_URL: ")
        );
        assert!(
            parse(&["--ops-listen", "0.0.0.0:9081"])
                .unwrap_err()
                .starts_with("INTERNAL_TOKEN")
        );
        assert!(
            parse(&["--order-retention", "0s"])
                .unwrap_err()
                .starts_with("ORDER_RETENTION")
        );
        let forgets_too_early = parse(&["--order-retention", "24h"]).unwrap_err();
        assert!(
            forgets_too_early.starts_with("ORDER_RETENTION must be at least"),
            "{forgets_too_early}"
        );
    }

    #[test]
    fn the_defaults_are_fine() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.delivery_time, Duration::from_secs(5));
    }
    #[test]
    fn a_secret_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "from-the-file\n").unwrap();
        let file = file.to_str().unwrap();
        let off_loopback = ["--ops-listen", "0.0.0.0:9081", "--internal-token-file"];

        let settings = parse(&[&off_loopback[..], &[file]].concat()).unwrap();
        assert_eq!(settings.internal_token(), Some("from-the-file"));
        let settings = parse(&["--internal-token-file", file, "--internal-token", "said"]).unwrap();
        assert_eq!(settings.internal_token(), Some("said"));
        let settings = parse(&["--internal-token-file", "", "--internal-token", ""]).unwrap();
        assert_eq!(settings.internal_token(), None);

        let sentence = parse(&[&off_loopback[..], &["/nowhere/token"]].concat()).unwrap_err();
        assert!(
            sentence.starts_with("INTERNAL_TOKEN_FILE: ")
                && sentence.contains("this file cannot be read"),
            "{sentence}"
        );
    }
}
