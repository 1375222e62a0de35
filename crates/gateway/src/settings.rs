//! Every setting of the gateway and the sandbox. Each is an environment
//! variable and a command line option of the same name.
//!
//! A wrong or missing one stops the process with one sentence that names it:
//! [`one_sentence`] for what clap refuses, [`Settings::check`] for what only
//! makes sense together.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, ValueEnum};

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

    /// Shared with the payment provider: signs its webhook. Required outside
    /// demo mode.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,

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
        filled(self.internal_token.as_ref())
    }

    /// The webhook's secret, if there is one.
    pub fn payment_webhook_secret(&self) -> Option<&str> {
        filled(self.payment_webhook_secret.as_ref())
    }

    /// What session cookies are signed with.
    pub fn session_key(&self) -> &str {
        filled(self.session_key.as_ref()).unwrap_or(DEMO_SESSION_KEY)
    }

    /// What serving needs beyond what clap has checked. The error is the one
    /// sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        match filled(self.session_key.as_ref()) {
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
        Ok(())
    }
}

fn filled(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|text| !text.is_empty())
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
}
