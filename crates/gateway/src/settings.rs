//! Every setting of the gateway. Each is an environment
//! variable and a command line option of the same name.
//!
//! What each must look like is in [`process::settings`]; [`Settings::check`] is
//! for what only makes sense together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use process::settings::{
    OptionalUrl, SecretFile, WrongSetting, address, base_url, check_writable, duration,
    optional_url, secret, secret_file, sqlite_url,
};
use process::telemetry::TelemetrySettings;

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
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:8081", value_parser = base_url)]
    pub restate_ingress_url: String,

    /// Restate's admin API, asked for what this gateway has missed.
    #[arg(long, env, global = true, default_value = "http://127.0.0.1:9070", value_parser = base_url)]
    pub restate_admin_url: String,

    /// Update streams of every `services` process, separated by commas.
    #[arg(
        long,
        env,
        global = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9081/updates",
        value_parser = base_url
    )]
    pub services_updates_urls: Vec<String>,

    /// How long an ended order is remembered by Restate: the services' own setting. A
    /// gateway that says another time only asks too early, or too late.
    #[arg(long, env, global = true, default_value = "30d", value_parser = duration)]
    pub order_retention: Duration,

    /// Live pages and streams that may be open at a time. One holds some 20 KB; whoever
    /// comes when all are taken is told to come again (503 with Retry-After).
    #[arg(long, env, global = true, default_value_t = 4_000, value_parser = max_streams)]
    pub max_streams: usize,

    /// The sandbox, for the demo's world panel. Without it there is no panel.
    #[arg(long, env, global = true, value_parser = optional_url)]
    pub sandbox_url: Option<OptionalUrl>,

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

    /// Folder with `templates` and `static` that are read anew for each page,
    /// for people who work on them. Without it the binary's own are used.
    #[arg(long, env, global = true)]
    pub web_dir: Option<PathBuf>,

    /// What the process says of itself.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Whether this is a demo.
    pub fn is_demo(&self) -> bool {
        self.auth_mode == AuthMode::Demo
    }

    /// The sandbox's address, if there is one.
    pub fn sandbox_url(&self) -> Option<&str> {
        self.sandbox_url.as_ref().and_then(OptionalUrl::get)
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
    pub fn check(&self) -> Result<(), WrongSetting> {
        match self.given_session_key() {
            None if !self.is_demo() => {
                return Err(WrongSetting("SESSION_KEY is missing: set it to at least 32 random bytes (for example `openssl rand -hex 32`), or set AUTH_MODE=demo to try Waybill without accounts".to_owned()));
            }
            Some(key) if key.len() < MIN_SESSION_KEY => {
                return Err(WrongSetting(format!(
                    "SESSION_KEY has {} bytes: it needs at least {MIN_SESSION_KEY} (for example `openssl rand -hex 32`)",
                    key.len()
                )));
            }
            _ => {}
        }
        if self.payment_webhook_secret().is_none() && !self.is_demo() {
            return Err(WrongSetting("PAYMENT_WEBHOOK_SECRET is missing: set it to the secret that the payment provider signs its callbacks with".to_owned()));
        }
        if self.internal_token().is_none()
            && let Some(url) = self
                .services_updates_urls
                .iter()
                .find(|url| !on_loopback(url))
        {
            return Err(WrongSetting(format!(
                "INTERNAL_TOKEN is missing: {url} in SERVICES_UPDATES_URLS is not on loopback, so set the same token here and for the services"
            )));
        }
        if self.seed_demo && !self.is_demo() {
            return Err(WrongSetting("SEED_DEMO is true outside demo mode: its users have well-known passwords, so set SEED_DEMO=false".to_owned()));
        }
        Ok(())
    }

    /// Whether the process may keep its data where `DATABASE_URL` says.
    pub fn check_database(&self) -> Result<(), WrongSetting> {
        check_writable("DATABASE_URL", &self.database_url)
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

fn max_streams(raw: &str) -> Result<usize, String> {
    let number = raw.parse().ok();
    number
        .filter(|number| (1..=100_000).contains(number))
        .ok_or_else(|| "it must be a number from 1 to 100000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};
    use process::settings::one_sentence;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Line::try_parse_from([&["gateway"], arguments].concat()).map(|line| line.settings)
    }

    /// What is wrong with settings that can be read.
    fn refused(arguments: &[&str]) -> String {
        parse(arguments).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_value_is_one_sentence_that_names_the_variable() {
        let sentence = |arguments: &[&str]| {
            one_sentence(&parse(arguments).unwrap_err(), &Line::command()).unwrap()
        };
        assert_eq!(
            sentence(&["--auth-mode", "none"]),
            "AUTH_MODE is 'none': it must be session or demo"
        );
        assert_eq!(
            sentence(&["--services-updates-urls", "http://a/updates,b"]),
            "SERVICES_UPDATES_URLS is 'b': it must be a URL, such as http://127.0.0.1:8081"
        );
    }

    #[test]
    fn outside_a_demo_the_secrets_are_required() {
        let key = "k".repeat(MIN_SESSION_KEY);
        assert!(refused(&[]).starts_with("SESSION_KEY is missing"));
        assert!(refused(&["--session-key", ""]).starts_with("SESSION_KEY is missing"));
        assert!(refused(&["--session-key", "short"]).starts_with("SESSION_KEY has 5 bytes"));
        assert!(refused(&["--session-key", &key]).starts_with("PAYMENT_WEBHOOK_SECRET is missing"));
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
        let sentence = refused(&remote);
        assert!(sentence.starts_with("INTERNAL_TOKEN is missing: http://services:9081"));
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
        std::fs::write(&file, format!("{}\n", "k".repeat(MIN_SESSION_KEY))).unwrap();
        let arguments = [
            "--session-key-file",
            file.to_str().unwrap(),
            "--payment-webhook-secret",
            "s",
        ];
        let settings = parse(&arguments).unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.session_key(), "k".repeat(MIN_SESSION_KEY));
    }

    #[test]
    fn well_known_passwords_stay_in_the_demo() {
        let key = "k".repeat(MIN_SESSION_KEY);
        let session = ["--session-key", &key, "--payment-webhook-secret", "s"];
        let sentence = refused(&[&session[..], &["--seed-demo", "true"]].concat());
        assert!(sentence.starts_with("SEED_DEMO is true"), "{sentence}");
        let demo = parse(&["--auth-mode", "demo", "--seed-demo", "true"]).unwrap();
        assert_eq!(demo.check(), Ok(()));
    }

    #[test]
    fn fuzz_max_streams() {
        let numbers = [
            "1",
            "4000",
            "100000",
            "100001",
            "http://127.0.0.1:1",
            "http://[::1]/",
        ];
        let inputs = fuzz::input::mistaken(&numbers, 3);
        fuzz::check("gateway: max_streams, on_loopback", &inputs, |raw| {
            match max_streams(&raw) {
                Ok(number) => prop_assert!((1..=100_000).contains(&number)),
                Err(said) => prop_assert!(said.contains("1 to 100000"), "{said}"),
            }
            // Whoever is on loopback is named so, or by its number.
            if on_loopback(&raw) {
                let url: reqwest::Url = raw.parse().expect("it was one");
                let host = url.host_str().unwrap_or_default();
                let is_here = ["localhost", "[::1]"].contains(&host) || host.starts_with("127.");
                let is_mapped = host.starts_with("[::ffff:7f");
                prop_assert!(is_here && !is_mapped, "{raw}: {host}");
            }
            Ok(())
        });
    }
}
