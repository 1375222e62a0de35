//! Every setting of the gateway. Each is an environment
//! variable and a command line option of the same name.
//!
//! What each must look like is in [`process::settings`]; [`Settings::check`] is
//! for what only makes sense together.

pub mod edge;
pub mod oidc;
pub mod shop;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use process::nodes::Nodes;
use process::settings::{
    OptionalUrl, SecretFile, WrongSetting, address, base_url, check_writable, duration,
    optional_url, secret, secret_file, sqlite_url,
};
use process::telemetry::TelemetrySettings;
use process::{private_files, secrets};

use self::edge::EdgeSettings;
use self::oidc::OidcSettings;
use self::shop::ShopSettings;

/// Live pages and streams, where nothing is set and memory suffices.
const MAX_STREAMS: usize = 4_000;
/// What one of them holds, with something to spare (docs/benchmark.md).
const STREAM_BYTES: u64 = 24 * 1024;
/// Of all memory, what they may take together: one part in so many.
const STREAMS_PART: u64 = 4;

/// Shortest accepted `SESSION_KEY`, in bytes.
const MIN_SESSION_KEY: usize = 32;

/// Shortest accepted time of a session.
const SHORTEST_SESSION: Duration = Duration::from_mins(1);

/// Shortest accepted time for which the audit log is kept: `AuditLog.Forget` keeps as
/// much whoever asks.
const SHORTEST_AUDIT: Duration = Duration::from_hours(48);

/// Guards the sessions of a demo that has no `SESSION_KEY`. It protects nothing,
/// and need not: in a demo everybody may be anybody.
const DEMO_SESSION_KEY: &str = "a demo needs no secret: every persona is one click away";

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// A session cookie or an API token.
    Session,
    /// Also the header `X-User-Id`, and personas by one click. For demos.
    Demo,
}

/// Whether the demo's data is loaded at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeedDemo {
    /// Yes.
    True,
    /// No.
    False,
    /// In demo mode.
    Auto,
}

/// Whether somebody may approve or reject an order of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OwnOrders {
    /// In a demo only.
    Auto,
    /// Yes.
    True,
    /// No: somebody else must.
    False,
}

/// Who must have a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SecondFactor {
    /// Nobody: whoever wants one sets it up.
    Optional,
    /// Support, approvers and admins who sign in with a password.
    Staff,
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

    /// Restate's ingress, where commands go. Of a cluster, the addresses of all its nodes,
    /// separated by commas: the first is asked while it answers, then the next.
    #[arg(
        long,
        env,
        global = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8081",
        value_parser = base_url
    )]
    pub restate_ingress_url: Vec<String>,

    /// Restate's admin API, asked for what this gateway has missed. Of a cluster, the
    /// addresses of all its nodes, separated by commas.
    #[arg(
        long,
        env,
        global = true,
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9070",
        value_parser = base_url
    )]
    pub restate_admin_url: Vec<String>,

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

    /// How long after its delivery a return may be asked for: the services' own setting,
    /// by which they decide. A gateway that says another time shows another one, until the
    /// order's first return.
    #[arg(long, env, global = true, default_value = "30d", value_parser = duration)]
    pub return_window: Duration,

    /// How long the audit log is kept, in Restate and in this gateway's file: 2d at least,
    /// and the same in every gateway.
    #[arg(long, env, global = true, default_value = "400d", value_parser = duration)]
    pub audit_retention: Duration,

    /// A file to which each entry of the audit log is appended as a line of JSON, for a
    /// collector. Made for this user alone. Without it, the log is at /audit only.
    #[arg(long, env, global = true)]
    audit_log: Option<String>,

    /// Live pages and streams that may be open at a time. One holds some 20 KB; whoever
    /// comes when all are taken is told to come again (503 with Retry-After). 4000, or
    /// as many as fit into a quarter of the memory that the process may take.
    #[arg(long, env, global = true, value_parser = max_streams)]
    max_streams: Option<usize>,

    /// The way in: names, proxies, limits.
    #[command(flatten)]
    pub edge: EdgeSettings,

    /// What stands on the shop's papers.
    #[command(flatten)]
    pub shop: ShopSettings,

    /// The sandbox, for the demo's world panel. Without it there is no panel.
    #[arg(long, env, global = true, value_parser = optional_url)]
    pub sandbox_url: Option<OptionalUrl>,

    /// Shared with the services: signs what is asked of them, and opens their ops port.
    /// Whoever sends it as a bearer token may read `/metrics` and the reasons in `/readyz`.
    /// Required when an update stream is not on loopback.
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

    /// Lets demo mode be reached from other machines, where everybody may then act as
    /// anybody: yes or no.
    #[arg(
        long,
        env,
        global = true,
        default_value = "no",
        value_parser = BoolishValueParser::new(),
        action = ArgAction::Set
    )]
    pub demo_on_network: bool,

    /// In a container: the address of the machine at which `GATEWAY_LISTEN` is
    /// published. Without it, that is where this gateway is reached.
    #[arg(long, env, global = true, value_parser = published_address)]
    pub published_address: Option<PublishedAddress>,

    /// Whether approvers and admins may approve and reject their own orders. `auto` is
    /// true in demo mode and false otherwise.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "auto"
    )]
    pub approve_own_orders: OwnOrders,

    /// Guards what is kept of sessions: at least 32 bytes, kept secret, the same in every
    /// gateway. Another key signs everybody out. Required outside demo mode.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub session_key: Option<String>,

    /// A file that holds `SESSION_KEY`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub session_key_file: Option<SecretFile>,

    /// The `SESSION_KEY` of before, while it is replaced: second factors that were set up
    /// under it are read, and are kept under the new one from their next use on.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub session_key_previous: Option<String>,

    /// A file that holds `SESSION_KEY_PREVIOUS`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub session_key_previous_file: Option<SecretFile>,

    /// How long somebody stays signed in, whatever they do.
    #[arg(long, env, global = true, default_value = "12h", value_parser = duration)]
    pub session_lifetime: Duration,

    /// How long somebody stays signed in who does nothing. A page that is only looked at
    /// does nothing.
    #[arg(long, env, global = true, default_value = "2h", value_parser = duration)]
    pub session_idle: Duration,

    /// Whether people may sign in with user name and password: on or off. Off needs
    /// `OIDC_ISSUER`.
    #[arg(
        long,
        env,
        global = true,
        default_value = "on",
        value_parser = BoolishValueParser::new(),
        action = ArgAction::Set
    )]
    pub passwords: bool,

    /// Who must have a second factor, a code of an authenticator app, beside the password:
    /// `optional` lets people choose; with `staff`, support, approvers and admins who sign
    /// in with a password set one up before anything else.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "optional"
    )]
    pub second_factor: SecondFactor,

    /// Sign-in at an identity provider.
    #[command(flatten)]
    pub oidc: OidcSettings,

    /// Shared with the payment provider: signs its webhook. Required outside
    /// demo mode.
    #[arg(long, env, global = true, hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,

    /// A file that holds `PAYMENT_WEBHOOK_SECRET`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    pub payment_webhook_secret_file: Option<SecretFile>,

    /// Load the demo's products, zones and users before serving, as `gateway
    /// seed-demo` does; `auto` does so in demo mode. Refused outside it: the
    /// passwords are well known.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "false"
    )]
    pub seed_demo: SeedDemo,

    /// Folder with `templates` and `static` that are read anew for each page,
    /// for people who work on them. Without it the binary's own are used.
    #[arg(long, env, global = true)]
    pub web_dir: Option<PathBuf>,

    /// What the process says of itself.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// The file of the audit log, if there is one. Set to nothing, there is none.
    pub fn audit_log(&self) -> Option<&Path> {
        let path = self.audit_log.as_deref()?.trim();
        (!path.is_empty()).then(|| Path::new(path))
    }

    /// Whether the file of the audit log can be written, before it must be.
    pub fn check_audit_log(&self) -> Result<(), WrongSetting> {
        let Some(file) = self.audit_log() else {
            return Ok(());
        };
        let folder = file.parent().unwrap_or(Path::new(""));
        private_files::create_folder(folder)
            .and_then(|()| private_files::open(file))
            .map(drop)
            .map_err(|error| {
                WrongSetting(format!(
                    "AUDIT_LOG: {} cannot be written ({error}), so name a file in a folder that this user may write to",
                    file.display()
                ))
            })
    }

    /// Where Restate's ingress is.
    pub fn restate_ingress(&self) -> Nodes {
        Nodes::of(&self.restate_ingress_url)
    }

    /// Where Restate's admin API is.
    pub fn restate_admin(&self) -> Nodes {
        Nodes::of(&self.restate_admin_url)
    }

    /// Whether this is a demo.
    pub fn is_demo(&self) -> bool {
        self.auth_mode == AuthMode::Demo
    }

    /// Whether the demo's data is loaded before serving.
    pub fn seeds_demo(&self) -> bool {
        match self.seed_demo {
            SeedDemo::True => true,
            SeedDemo::False => false,
            SeedDemo::Auto => self.is_demo(),
        }
    }

    /// Live pages and streams that may be open at a time.
    pub fn max_streams(&self) -> usize {
        self.max_streams
            .unwrap_or_else(|| streams_within(process::memory_limit::allowed()))
    }

    /// Whether so many streams may take more memory than streams should.
    pub fn has_too_many_streams(&self) -> bool {
        self.max_streams() > streams_that_fit(process::memory_limit::allowed())
    }

    /// Orders of one user that may wait for their payment at a time.
    pub fn max_unpaid_orders(&self) -> usize {
        self.edge.max_unpaid_orders(self.is_demo())
    }

    /// Whether who decides orders may decide their own.
    pub fn approves_own_orders(&self) -> bool {
        match self.approve_own_orders {
            OwnOrders::Auto => self.is_demo(),
            OwnOrders::True => true,
            OwnOrders::False => false,
        }
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

    /// What guards what is kept of sessions.
    pub fn session_key(&self) -> &str {
        self.given_session_key().unwrap_or(DEMO_SESSION_KEY)
    }

    fn given_session_key(&self) -> Option<&str> {
        secret(self.session_key.as_ref(), self.session_key_file.as_ref())
    }

    /// What guarded that before.
    pub fn previous_session_key(&self) -> Option<&str> {
        secret(
            self.session_key_previous.as_ref(),
            self.session_key_previous_file.as_ref(),
        )
    }

    /// Whether staff must have a second factor beside a password.
    pub fn staff_needs_factor(&self) -> bool {
        self.second_factor == SecondFactor::Staff && !self.is_demo()
    }

    /// What serving needs beyond what clap has checked. The error is the one
    /// sentence for the operator.
    pub fn check(&self) -> Result<(), WrongSetting> {
        match self.given_session_key() {
            None if !self.is_demo() => {
                return Err(WrongSetting("SESSION_KEY is missing: set it to at least 32 random bytes (for example `openssl rand -hex 32`), or set AUTH_MODE=demo to try Waybill without accounts".to_owned()));
            }
            key => secrets::check("SESSION_KEY", key, MIN_SESSION_KEY)?,
        }
        let previous = self.previous_session_key();
        secrets::check("SESSION_KEY_PREVIOUS", previous, MIN_SESSION_KEY)?;
        for (name, time) in [
            ("SESSION_LIFETIME", self.session_lifetime),
            ("SESSION_IDLE", self.session_idle),
        ] {
            if time < SHORTEST_SESSION {
                return Err(WrongSetting(format!(
                    "{name} is shorter than a minute: nobody could work, so set it to 2h or so"
                )));
            }
        }
        if self.audit_retention < SHORTEST_AUDIT {
            return Err(WrongSetting("AUDIT_RETENTION is shorter than two days: nobody could look into what happened, so set it to 400d or so".to_owned()));
        }
        if self.payment_webhook_secret().is_none() && !self.is_demo() {
            return Err(WrongSetting("PAYMENT_WEBHOOK_SECRET is missing: set it to the secret that the payment provider signs its callbacks with".to_owned()));
        }
        secrets::check(
            "PAYMENT_WEBHOOK_SECRET",
            self.payment_webhook_secret(),
            secrets::SHORTEST,
        )?;
        secrets::check_sent("INTERNAL_TOKEN", self.internal_token())?;
        self.edge
            .check(self.is_demo(), self.gateway_listen.ip().is_loopback())?;
        self.oidc.check(self.edge.public_url(), self.passwords)?;
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
        if self.seeds_demo() && !self.is_demo() {
            return Err(WrongSetting("SEED_DEMO is true outside demo mode: its users have well-known passwords, so set SEED_DEMO=false".to_owned()));
        }
        self.check_demo_stays_here()
    }

    /// In a demo everybody may be anybody, so strangers must not reach it by
    /// accident.
    fn check_demo_stays_here(&self) -> Result<(), WrongSetting> {
        let published = self.published_address.and_then(|address| address.0);
        let reached_at = published.unwrap_or_else(|| self.gateway_listen.ip());
        if !self.is_demo() || self.demo_on_network || reached_at.is_loopback() {
            return Ok(());
        }
        let setting = match published {
            Some(_) => "PUBLISHED_ADDRESS (with Docker: GATEWAY_ADDRESS)",
            None => "GATEWAY_LISTEN",
        };
        Err(WrongSetting(format!(
            "AUTH_MODE=demo lets everybody act as anybody, and {setting} opens it to other machines at {reached_at}: use 127.0.0.1 there, or AUTH_MODE=session, or DEMO_ON_NETWORK=yes if all who can reach it may do everything"
        )))
    }

    /// Whether the process may keep its data where `DATABASE_URL` says.
    pub fn check_database(&self) -> Result<(), WrongSetting> {
        check_writable("DATABASE_URL", &self.database_url)
    }
}

/// Where a container's port is published, which may be set to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedAddress(Option<IpAddr>);

fn published_address(raw: &str) -> Result<PublishedAddress, String> {
    let address = raw.trim().trim_matches(['[', ']']);
    match address {
        "" => Ok(PublishedAddress(None)),
        "localhost" => Ok(PublishedAddress(Some(IpAddr::from([127, 0, 0, 1])))),
        address => (address.parse().map(Some).map(PublishedAddress))
            .map_err(|_| "it must be an IP address, such as 127.0.0.1".to_owned()),
    }
}

/// Whether `url` stays on this machine.
pub fn on_loopback(url: &str) -> bool {
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

fn streams_within(memory: Option<u64>) -> usize {
    streams_that_fit(memory).clamp(1, MAX_STREAMS)
}

fn streams_that_fit(memory: Option<u64>) -> usize {
    memory.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes / STREAMS_PART / STREAM_BYTES).unwrap_or(usize::MAX)
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

    const KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";
    const SECRET: &str = "whsec_9d2f7b40c1";

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
        assert!(refused(&[]).starts_with("SESSION_KEY is missing"));
        assert!(refused(&["--session-key", ""]).starts_with("SESSION_KEY is missing"));
        assert!(refused(&["--session-key", "short"]).starts_with("SESSION_KEY has 5 bytes"));
        assert!(refused(&["--session-key", KEY]).starts_with("PAYMENT_WEBHOOK_SECRET is missing"));
        let complete = ["--session-key", KEY, "--payment-webhook-secret", SECRET];
        assert_eq!(parse(&complete).unwrap().check(), Ok(()));
        assert_eq!(parse(&["--auth-mode", "demo"]).unwrap().check(), Ok(()));
    }

    #[test]
    fn every_secret_has_a_file_and_must_be_hard_to_guess_also_in_a_demo() {
        let command = Line::command();
        assert_eq!(secrets::badly_kept(&command), Vec::<String>::new());
        let named = secrets::of(&command);
        assert_eq!(
            named,
            [
                "INTERNAL_TOKEN",
                "OIDC_CLIENT_SECRET",
                "PAYMENT_WEBHOOK_SECRET",
                "SESSION_KEY",
                "SESSION_KEY_PREVIOUS"
            ]
        );
        for secret in named {
            let option = format!("--{}", secret.to_lowercase().replace('_', "-"));
            for weak in [
                "x",
                "k".repeat(64).as_str(),
                "changeme-changeme-changeme-changeme",
            ] {
                let said = refused(&["--auth-mode", "demo", &option, weak]);
                assert!(said.starts_with(&secret), "{said}");
                assert!(weak == "x" || !said.contains(weak), "{said}");
            }
        }
    }

    #[test]
    fn a_demo_stays_on_this_machine_unless_it_is_told_not_to() {
        let demo = |arguments: &[&str]| {
            let all = [&["--auth-mode", "demo"], arguments].concat();
            parse(&all)
                .unwrap()
                .check()
                .map_err(|wrong| wrong.to_string())
        };
        let open = ["--gateway-listen", "0.0.0.0:8080"];
        let said = demo(&open).unwrap_err();
        assert!(
            said.contains("GATEWAY_LISTEN opens it to other machines at 0.0.0.0"),
            "{said}"
        );
        assert!(said.contains("DEMO_ON_NETWORK=yes"), "{said}");
        assert!(demo(&["--gateway-listen", "[::]:8080"]).is_err());
        assert_eq!(demo(&["--gateway-listen", "[::1]:8080"]), Ok(()));
        assert_eq!(
            demo(&[&open[..], &["--demo-on-network", "yes"]].concat()),
            Ok(())
        );
        // A container: what counts is where its port is published.
        for (published, is_here) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("0.0.0.0", false),
            ("192.0.2.7", false),
            ("", false),
        ] {
            let set = [&open[..], &["--published-address", published]].concat();
            assert_eq!(demo(&set).is_ok(), is_here, "{published}");
        }
        let session = [
            "--session-key",
            KEY,
            "--payment-webhook-secret",
            SECRET,
            "--gateway-listen",
            "0.0.0.0:8080",
            "--public-url",
            "https://shop.example",
        ];
        assert_eq!(parse(&session).unwrap().check(), Ok(()));
    }

    #[test]
    fn outside_a_demo_nobody_decides_their_own_order() {
        let own = |arguments: &[&str]| parse(arguments).unwrap().approves_own_orders();
        assert!(!own(&[]));
        assert!(own(&["--auth-mode", "demo"]));
        assert!(own(&["--approve-own-orders", "true"]));
        assert!(!own(&[
            "--auth-mode",
            "demo",
            "--approve-own-orders",
            "false"
        ]));
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
        let with_token = [&remote[..], &["--internal-token", KEY]].concat();
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
        std::fs::write(&file, format!("{KEY}\n")).unwrap();
        let arguments = [
            "--session-key-file",
            file.to_str().unwrap(),
            "--payment-webhook-secret",
            SECRET,
        ];
        let settings = parse(&arguments).unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.session_key(), KEY);
    }

    #[test]
    fn streams_fit_into_memory() {
        assert_eq!(streams_within(Some(256 << 20)), 2_730);
        assert_eq!(streams_within(Some(8 << 30)), MAX_STREAMS);
        assert_eq!(streams_within(None), MAX_STREAMS);
        assert_eq!(streams_within(Some(1)), 1);
        let set = parse(&["--max-streams", "7"]).unwrap();
        assert_eq!(set.max_streams(), 7);
    }

    #[test]
    fn well_known_passwords_stay_in_the_demo() {
        let session = ["--session-key", KEY, "--payment-webhook-secret", SECRET];
        let sentence = refused(&[&session[..], &["--seed-demo", "true"]].concat());
        assert!(sentence.starts_with("SEED_DEMO is true"), "{sentence}");
        let demo = parse(&["--auth-mode", "demo", "--seed-demo", "true"]).unwrap();
        assert_eq!(demo.check(), Ok(()));
        let auto = ["--seed-demo", "auto"];
        let session = parse(&[&session[..], &auto].concat()).unwrap();
        assert_eq!((session.check(), session.seeds_demo()), (Ok(()), false));
        let demo = parse(&[&["--auth-mode", "demo"], &auto[..]].concat()).unwrap();
        assert!(demo.seeds_demo());
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

    #[test]
    fn fuzz_published_addresses() {
        let samples = ["127.0.0.1", "[::1]", "localhost", "0.0.0.0", ""];
        let inputs = fuzz::input::mistaken(&samples, 3);
        fuzz::check("gateway: PUBLISHED_ADDRESS", &inputs, |raw| {
            match published_address(&raw) {
                Ok(PublishedAddress(Some(address))) => {
                    let again = published_address(&address.to_string());
                    prop_assert!(again.is_ok_and(|again| again.0 == Some(address)));
                }
                Ok(PublishedAddress(None)) => {
                    prop_assert!(raw.trim().trim_matches(['[', ']']).is_empty());
                }
                Err(said) => prop_assert!(said.contains("an IP address"), "{said}"),
            }
            Ok(())
        });
    }
}
