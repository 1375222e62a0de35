//! Every setting of the gateway and the sandbox. Each is an environment
//! variable and a command line option of the same name.
//!
//! A wrong or missing one stops the process with one sentence that names it:
//! [`one_sentence`] for what clap refuses, [`Settings::check`] for what only
//! makes sense together.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, ValueEnum};

/// Shortest accepted `SESSION_KEY`, in bytes.
const MIN_SESSION_KEY: usize = 32;

/// Signs the sessions of a demo that has no `SESSION_KEY`. It protects nothing,
/// and need not: in a demo everybody may be anybody.
const DEMO_SESSION_KEY: &str = "a demo needs no secret: every persona is one click away";

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// A signed session cookie or an API token.
    Session,
    /// Also the header `X-User-Id`, and personas by one click. For demos.
    Demo,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Everything that can be set.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address and port of the pages and the API.
    #[arg(long, env, global = true, default_value = "127.0.0.1:8080", value_parser = address)]
    pub gateway_listen: SocketAddr,

    /// SQLite file of the catalog and the read model. The file and its folder
    /// are created.
    #[arg(long, env, global = true, default_value = "sqlite://data/waybill.db", value_parser = sqlite_url)]
    pub database_url: String,

    /// Restate's ingress, where commands go.
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:8081", value_parser = http_url)]
    pub restate_ingress_url: String,

    /// Restate's admin API, asked for what this gateway has missed.
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:9070", value_parser = http_url)]
    pub restate_admin_url: String,

    /// Update streams of every `services` process, separated by commas.
    #[arg(
        long,
        env,
        global = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9081/updates",
        value_parser = http_url
    )]
    pub services_updates_urls: Vec<String>,

    /// The sandbox, for the demo's world panel. Without it there is no panel.
    #[arg(long, env, global = true, value_parser = optional_http_url)]
    pub sandbox_url: Option<Optional>,

    /// Shared with the services: guards their update stream. Required when a
    /// stream is not on loopback.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub internal_token: Option<String>,

    /// A file that holds `INTERNAL_TOKEN`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub internal_token_file: Option<SecretFile>,

    /// Who may call.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "session"
    )]
    pub auth_mode: AuthMode,

    /// Signs session cookies: at least 32 bytes, kept secret, the same in every
    /// gateway. Required outside demo mode.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub session_key: Option<String>,

    /// A file that holds `SESSION_KEY`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub session_key_file: Option<SecretFile>,

    /// Shared with the payment provider: signs its webhook. Required outside
    /// demo mode.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,

    /// A file that holds `PAYMENT_WEBHOOK_SECRET`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub payment_webhook_secret_file: Option<SecretFile>,

    /// Load the demo's products, zones and users before serving, as `gateway
    /// seed-demo` does. Only in demo mode: the passwords are well known.
    #[arg(long, env, global = true, default_value_t = false, action = ArgAction::Set)]
    pub seed_demo: bool,

    /// Address and port of the sandbox.
    #[arg(long, env, global = true, default_value = "127.0.0.1:8090", value_parser = address)]
    pub sandbox_listen: SocketAddr,

    /// SQLite file of the sandbox's ledger.
    #[arg(long, env, global = true, default_value = "sqlite://data/sandbox.db", value_parser = sqlite_url)]
    pub sandbox_database_url: String,

    /// Where browsers reach the sandbox's payment page, when that is not where
    /// it listens.
    #[arg(long, env, global = true, value_parser = optional_http_url)]
    pub sandbox_public_url: Option<Optional>,

    /// Where the sandbox calls back when a payment is made or declined.
    #[arg(
        long,
        env,
        global = true,
        default_value = "http://127.0.0.1:8080/api/payment/callback",
        value_parser = http_url
    )]
    pub payment_callback_url: String,

    /// Folder with `templates` and `static` that are read anew for each page,
    /// for people who work on them. Without it the binary's own are used.
    #[arg(long, env, global = true)]
    pub web_dir: Option<PathBuf>,

    /// How log lines look.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// Where traces go: an OTLP collector (HTTP), e.g. `http://127.0.0.1:4318`.
    #[arg(long, env, global = true, value_parser = optional_http_url)]
    pub otel_exporter_otlp_endpoint: Option<Optional>,
}

/// A value that may be set to nothing, as compose files do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optional(Option<String>);

/// What is in a file whose name was set; nothing, when the name is empty.
#[derive(Clone)]
pub struct SecretFile(Option<String>);

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretFile")
    }
}

impl Settings {
    /// Whether this is a demo.
    pub fn is_demo(&self) -> bool {
        self.auth_mode == AuthMode::Demo
    }

    /// The sandbox's address, if there is one.
    pub fn sandbox_url(&self) -> Option<&str> {
        given(self.sandbox_url.as_ref())
    }

    /// Where browsers reach the sandbox's payment page, if that was set.
    pub fn sandbox_public_url(&self) -> Option<&str> {
        given(self.sandbox_public_url.as_ref())
    }

    /// The collector of traces, if there is one.
    pub fn traces_endpoint(&self) -> Option<&str> {
        given(self.otel_exporter_otlp_endpoint.as_ref())
    }

    /// The token of the update stream, if there is one.
    pub fn internal_token(&self) -> Option<&str> {
        secret(
            self.internal_token.as_ref(),
            self.internal_token_file.as_ref(),
        )
    }

    /// The webhook's secret, if there is one.
    pub fn payment_webhook_secret(&self) -> Option<&str> {
        secret(
            self.payment_webhook_secret.as_ref(),
            self.payment_webhook_secret_file.as_ref(),
        )
    }

    /// What session cookies are signed with.
    pub fn session_key(&self) -> &str {
        self.given_session_key().unwrap_or(DEMO_SESSION_KEY)
    }

    fn given_session_key(&self) -> Option<&str> {
        secret(self.session_key.as_ref(), self.session_key_file.as_ref())
    }

    /// What serving needs beyond what clap has checked. The error is the one
    /// sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        match self.given_session_key() {
            None if !self.is_demo() => {
                return Err("SESSION_KEY is missing: set it to at least 32 random bytes (for example `openssl rand -hex 32`), or set AUTH_MODE=demo to try Waybill without accounts".to_owned());
            }
            Some(key) if key.len() < MIN_SESSION_KEY => {
                return Err(format!(
                    "SESSION_KEY has {} bytes: it needs at least {MIN_SESSION_KEY} (for example `openssl rand -hex 32`)",
                    key.len()
                ));
            }
            _ => {}
        }
        if self.payment_webhook_secret().is_none() && !self.is_demo() {
            return Err("PAYMENT_WEBHOOK_SECRET is missing: set it to the secret that the payment provider signs its callbacks with".to_owned());
        }
        if self.internal_token().is_none()
            && let Some(url) = self
                .services_updates_urls
                .iter()
                .find(|url| !on_loopback(url))
        {
            return Err(format!(
                "INTERNAL_TOKEN is missing: {url} in SERVICES_UPDATES_URLS is not on loopback, so set the same token here and for the services"
            ));
        }
        if self.seed_demo && !self.is_demo() {
            return Err("SEED_DEMO is true outside demo mode: its users have well-known passwords, so set SEED_DEMO=false".to_owned());
        }
        Ok(())
    }

    /// Whether the process may keep its data where `DATABASE_URL` says.
    pub fn check_database(&self) -> Result<(), String> {
        check_writable("DATABASE_URL", &self.database_url)
    }

    /// The same for the sandbox.
    pub fn check_sandbox_database(&self) -> Result<(), String> {
        check_writable("SANDBOX_DATABASE_URL", &self.sandbox_database_url)
    }
}

/// A secret, or the file that holds it.
fn secret<'a>(value: Option<&'a String>, file: Option<&'a SecretFile>) -> Option<&'a str> {
    value
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .or_else(|| file.and_then(|SecretFile(text)| text.as_deref()))
}

/// Before SQLite is asked, whose "unable to open database file" helps nobody.
fn check_writable(variable: &str, url: &str) -> Result<(), String> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let file = Path::new(path.split('?').next().unwrap_or(path));
    let folder = file.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)
        .and_then(|()| OpenOptions::new().append(true).create(true).open(file))
        .map(drop)
        .map_err(|error| {
            format!(
                "{variable} is '{url}': {} cannot be written ({error}), so give its folder to this user or name another file",
                file.display()
            )
        })
}

fn given(value: Option<&Optional>) -> Option<&str> {
    value.and_then(|Optional(inner)| inner.as_deref())
}

/// Turns clap's refusal of a setting into one sentence that names the variable.
/// `None` for everything else (help, version, unknown options), which clap says
/// well itself.
pub fn one_sentence(error: &clap::Error) -> Option<String> {
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
    let name = argument
        .trim_start_matches('-')
        .split([' ', '='])
        .next()?
        .to_uppercase()
        .replace('-', "_");
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let reason = match text(ContextKind::ValidValue) {
        Some(valid) => format!("it must be {valid}"),
        None => std::error::Error::source(error)
            .map_or_else(|| "it is not valid".to_owned(), ToString::to_string),
    };
    Some(format!("{name} is '{value}': {reason}"))
}

fn address(raw: &str) -> Result<SocketAddr, String> {
    raw.parse()
        .map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

fn sqlite_url(raw: &str) -> Result<String, String> {
    match raw.strip_prefix("sqlite:") {
        Some(path) if !path.trim_start_matches('/').is_empty() => Ok(raw.to_owned()),
        _ => Err("it must name a file, such as sqlite://data/waybill.db".to_owned()),
    }
}

fn http_url(raw: &str) -> Result<String, String> {
    let url = raw
        .trim()
        .parse::<reqwest::Url>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(_) => Ok(raw.trim().trim_end_matches('/').to_owned()),
        None => Err("it must be a URL, such as http://127.0.0.1:8081".to_owned()),
    }
}

fn optional_http_url(raw: &str) -> Result<Optional, String> {
    if raw.trim().is_empty() {
        Ok(Optional(None))
    } else {
        http_url(raw).map(|url| Optional(Some(url)))
    }
}

fn secret_file(raw: &str) -> Result<SecretFile, String> {
    if raw.is_empty() {
        return Ok(SecretFile(None));
    }
    match fs::read_to_string(raw) {
        Ok(text) if text.trim().is_empty() => Err("this file is empty".to_owned()),
        Ok(text) => Ok(SecretFile(Some(text.trim().to_owned()))),
        Err(error) => Err(format!("this file cannot be read ({error})")),
    }
}

/// Whether `url` stays on this machine.
fn on_loopback(url: &str) -> bool {
    url.parse::<reqwest::Url>().ok().is_some_and(|url| {
        url.host_str().is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Line::try_parse_from([&["gateway"], arguments].concat()).map(|line| line.settings)
    }

    fn sentence(arguments: &[&str]) -> String {
        one_sentence(&parse(arguments).unwrap_err()).unwrap()
    }

    #[test]
    fn a_wrong_value_is_one_sentence_that_names_the_variable() {
        assert_eq!(
            sentence(&["--gateway-listen", "here"]),
            "GATEWAY_LISTEN is 'here': it must be an IP address and a port, such as 127.0.0.1:8080"
        );
        assert_eq!(
            sentence(&["--auth-mode", "none"]),
            "AUTH_MODE is 'none': it must be session or demo"
        );
        assert_eq!(
            sentence(&["--database-url", "postgres://x"]),
            "DATABASE_URL is 'postgres://x': it must name a file, such as sqlite://data/waybill.db"
        );
        assert_eq!(
            sentence(&["--services-updates-urls", "http://a/updates,b"]),
            "SERVICES_UPDATES_URLS is 'b': it must be a URL, such as http://127.0.0.1:8081"
        );
    }

    #[test]
    fn outside_a_demo_the_secrets_are_required() {
        let key = "k".repeat(MIN_SESSION_KEY);
        let missing = |arguments: &[&str]| parse(arguments).unwrap().check().unwrap_err();
        assert!(missing(&[]).starts_with("SESSION_KEY is missing"));
        assert!(missing(&["--session-key", ""]).starts_with("SESSION_KEY is missing"));
        assert!(missing(&["--session-key", "short"]).starts_with("SESSION_KEY has 5 bytes"));
        assert!(missing(&["--session-key", &key]).starts_with("PAYMENT_WEBHOOK_SECRET is missing"));
        let complete = ["--session-key", &key, "--payment-webhook-secret", "s"];
        assert_eq!(parse(&complete).unwrap().check(), Ok(()));
        assert_eq!(parse(&["--auth-mode", "demo"]).unwrap().check(), Ok(()));
    }

    #[test]
    fn off_loopback_the_update_stream_needs_its_token() {
        let remote = [
            "--auth-mode",
            "demo",
            "--services-updates-urls",
            "http://127.0.0.1:9081/updates,http://services:9081/updates",
        ];
        let refused = parse(&remote).unwrap().check().unwrap_err();
        assert!(refused.starts_with("INTERNAL_TOKEN is missing: http://services:9081"));
        let with_token = [&remote[..], &["--internal-token", "t"]].concat();
        assert_eq!(parse(&with_token).unwrap().check(), Ok(()));
    }

    #[test]
    fn an_empty_optional_value_counts_as_unset() {
        assert_eq!(parse(&["--sandbox-url", ""]).unwrap().sandbox_url(), None);
        assert_eq!(
            parse(&["--sandbox-url", "http://127.0.0.1:8090/"])
                .unwrap()
                .sandbox_url(),
            Some("http://127.0.0.1:8090")
        );
    }
    #[test]
    fn a_secret_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, format!("{}\n", "k".repeat(MIN_SESSION_KEY))).unwrap();
        let arguments = [
            "--session-key-file",
            file.to_str().unwrap(),
            "--payment-webhook-secret",
            "s",
        ];
        let settings = parse(&arguments).unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.session_key(), "k".repeat(MIN_SESSION_KEY));
        assert_eq!(
            sentence(&["--internal-token-file", "/nowhere/token"]),
            "INTERNAL_TOKEN_FILE is '/nowhere/token': this file cannot be read (No such file or directory (os error 2))"
        );
        let unset = parse(&["--internal-token-file", ""]).unwrap();
        assert_eq!(unset.internal_token(), None);
    }

    #[test]
    fn well_known_passwords_stay_in_the_demo() {
        let key = "k".repeat(MIN_SESSION_KEY);
        let session = ["--session-key", &key, "--payment-webhook-secret", "s"];
        let refused = parse(&[&session[..], &["--seed-demo", "true"]].concat());
        let sentence = refused.unwrap().check().unwrap_err();
        assert!(sentence.starts_with("SEED_DEMO is true"), "{sentence}");
        let demo = parse(&["--auth-mode", "demo", "--seed-demo", "true"]).unwrap();
        assert_eq!(demo.check(), Ok(()));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_one_sentence_that_names_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a/waybill.db", folder.path().display());
        let settings = parse(&["--database-url", &url]).unwrap();
        assert_eq!(settings.check_database(), Ok(()));
        let url = format!("sqlite://{}/a/waybill.db/b.db", folder.path().display());
        let settings = parse(&["--sandbox-database-url", &url]).unwrap();
        let refused = settings.check_sandbox_database().unwrap_err();
        assert!(
            refused.starts_with("SANDBOX_DATABASE_URL is 'sqlite://"),
            "{refused}"
        );
        assert!(refused.contains("cannot be written"), "{refused}");
    }
}
