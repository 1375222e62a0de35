//! The command line: what to do, and every setting, read once at start.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use process::secrets;
use process::settings::{
    AFTER_HELP, SecretFile, WrongSetting, address, duration, http_url, secret, secret_file,
};
use process::telemetry::TelemetrySettings;
use reqwest::Url;
use waybill_domain::after_sales::Windows;

use crate::outside::{Credential, CredentialHeader};
use crate::prepare::Folders;
use crate::signed::Doors;

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

/// Who may call the gateway. Here it says only whether this is a demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthMode {
    /// No demo.
    Session,
    /// A demo.
    Demo,
}

/// Whether the services die on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AllowCrash {
    /// Never.
    False,
    /// Always; in a demo only.
    True,
    /// In a demo.
    Demo,
}

/// Everything that can be set.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Where Restate reaches the services.
    #[arg(long, env = "SERVICES_LISTEN", default_value = "127.0.0.1:9080", value_parser = address)]
    pub listen: SocketAddr,

    /// Where health, metrics and the update stream are.
    #[arg(long, env = "SERVICES_OPS_LISTEN", default_value = "127.0.0.1:9081", value_parser = address)]
    pub ops_listen: SocketAddr,

    /// The address of `SERVICES_LISTEN` as Restate sees it.
    #[arg(long, env = "SERVICES_URL", default_value = "http://127.0.0.1:9080", value_parser = http_url)]
    pub url: Url,

    /// Restate's admin API: when set, the services register themselves there. Of a
    /// cluster, the addresses of all its nodes, separated by commas.
    #[arg(long, env = "RESTATE_ADMIN_URL", value_delimiter = ',', value_parser = http_url)]
    pub restate_admin_url: Vec<Url>,

    /// The payment provider's API.
    #[arg(long, env = "PAYMENT_PROVIDER_URL", default_value = "http://127.0.0.1:8090/payments", value_parser = http_url)]
    pub payment_provider_url: Url,

    /// What the payment provider knows us by. Without it nothing is sent.
    #[arg(long, env = "PAYMENT_PROVIDER_TOKEN", hide_env_values = true)]
    pub payment_provider_token: Option<String>,

    /// A file that holds `PAYMENT_PROVIDER_TOKEN`.
    #[arg(long, env = "PAYMENT_PROVIDER_TOKEN_FILE", value_parser = secret_file)]
    pub payment_provider_token_file: Option<SecretFile>,

    /// The header that it is sent in, and what stands before it there: e.g.
    /// `Authorization: Basic` or `X-API-Key`.
    #[arg(long, env = "PAYMENT_PROVIDER_HEADER", default_value = "Authorization: Bearer", value_parser = CredentialHeader::parse)]
    pub payment_provider_header: CredentialHeader,

    /// The carrier's API.
    #[arg(long, env = "CARRIER_URL", default_value = "http://127.0.0.1:8090/carrier", value_parser = http_url)]
    pub carrier_url: Url,

    /// What the carrier knows us by. Without it nothing is sent.
    #[arg(long, env = "CARRIER_TOKEN", hide_env_values = true)]
    pub carrier_token: Option<String>,

    /// A file that holds `CARRIER_TOKEN`.
    #[arg(long, env = "CARRIER_TOKEN_FILE", value_parser = secret_file)]
    pub carrier_token_file: Option<SecretFile>,

    /// The header that it is sent in, and what stands before it there.
    #[arg(long, env = "CARRIER_HEADER", default_value = "Authorization: Bearer", value_parser = CredentialHeader::parse)]
    pub carrier_header: CredentialHeader,

    /// How long a customer may take to pay.
    #[arg(long, env = "PAYMENT_WINDOW", default_value = "15m", value_parser = duration)]
    pub payment_window: Duration,

    /// How long an approver may take to decide.
    #[arg(long, env = "APPROVAL_WINDOW", default_value = "24h", value_parser = duration)]
    pub approval_window: Duration,

    /// How long a parcel travels.
    #[arg(long, env = "DELIVERY_TIME", default_value = "5s", value_parser = duration)]
    pub delivery_time: Duration,

    /// How long an ended order is remembered by Restate.
    #[arg(long, env = "ORDER_RETENTION", default_value = "30d", value_parser = duration)]
    pub order_retention: Duration,

    /// How long after its delivery a customer may ask to return pieces of an order; not
    /// longer than `ORDER_RETENTION`.
    #[arg(long, env = "RETURN_WINDOW", default_value = "30d", value_parser = duration)]
    pub return_window: Duration,

    /// How long after a return was accepted its parcel may take: then the return ends.
    #[arg(long, env = "RETURN_SEND_WITHIN", default_value = "14d", value_parser = duration)]
    pub return_send_within: Duration,

    /// Only requests signed by that Restate server are served. Required when
    /// `SERVICES_LISTEN` is not on loopback.
    #[arg(long, env = "RESTATE_IDENTITY_KEY", hide_env_values = true)]
    pub restate_identity_key: Option<String>,

    /// A file that holds `RESTATE_IDENTITY_KEY`.
    #[arg(long, env = "RESTATE_IDENTITY_KEY_FILE", value_parser = secret_file)]
    pub restate_identity_key_file: Option<SecretFile>,

    /// Shared with the gateways: they sign their calls with it, and whoever asks the
    /// ops port for more than health must send it as a bearer token. Required when
    /// `SERVICES_LISTEN` or `SERVICES_OPS_LISTEN` is not on loopback; without it Restate's
    /// ingress lets everybody call.
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<String>,

    /// A file that holds `INTERNAL_TOKEN`.
    #[arg(long, env = "INTERNAL_TOKEN_FILE", value_parser = secret_file)]
    pub internal_token_file: Option<SecretFile>,

    /// The `INTERNAL_TOKEN` of before, while it is being replaced: it is taken, too.
    #[arg(long, env = "INTERNAL_TOKEN_PREVIOUS", hide_env_values = true)]
    pub internal_token_previous: Option<String>,

    /// A file that holds `INTERNAL_TOKEN_PREVIOUS`.
    #[arg(long, env = "INTERNAL_TOKEN_PREVIOUS_FILE", value_parser = secret_file)]
    pub internal_token_previous_file: Option<SecretFile>,

    /// Whether this is a demo: the gateway's own setting.
    #[arg(
        long,
        env = "AUTH_MODE",
        value_enum,
        ignore_case = true,
        default_value = "session"
    )]
    pub auth_mode: AuthMode,

    /// Lets `POST /crash` on the ops port abort the process: `true` or `false`, or `demo`
    /// for what `AUTH_MODE` says. Refused outside demo mode.
    #[arg(long, env = "ALLOW_CRASH", value_enum, default_value = "false")]
    pub allow_crash: AllowCrash,

    /// What the process says of itself.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Version and commit, e.g. `0.1.0 (1a2b3c4)`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAYBILL_COMMIT"), ")");

impl Settings {
    /// Whose signed requests alone are served, if that matters.
    pub fn restate_identity_key(&self) -> Option<&str> {
        secret(
            self.restate_identity_key.as_ref(),
            self.restate_identity_key_file.as_ref(),
        )
    }

    /// What gateways and operators must know, if anything.
    pub fn internal_token(&self) -> Option<&str> {
        secret(
            self.internal_token.as_ref(),
            self.internal_token_file.as_ref(),
        )
    }

    fn payment_provider_token(&self) -> Option<&str> {
        secret(
            self.payment_provider_token.as_ref(),
            self.payment_provider_token_file.as_ref(),
        )
    }

    fn carrier_token(&self) -> Option<&str> {
        secret(
            self.carrier_token.as_ref(),
            self.carrier_token_file.as_ref(),
        )
    }

    /// What proves to the payment provider who asks, if it wants to know.
    pub fn payment_provider_credential(&self) -> Result<Option<Credential>, WrongSetting> {
        credential(
            "PAYMENT_PROVIDER_TOKEN",
            &self.payment_provider_header,
            self.payment_provider_token(),
        )
    }

    /// The same for the carrier.
    pub fn carrier_credential(&self) -> Result<Option<Credential>, WrongSetting> {
        credential("CARRIER_TOKEN", &self.carrier_header, self.carrier_token())
    }

    /// Every token that is taken: the one of now, then that of before. None: everybody
    /// is let in.
    pub fn internal_tokens(&self) -> Vec<&str> {
        let Some(token) = self.internal_token() else {
            return Vec::new();
        };
        std::iter::once(token)
            .chain(self.previous_token())
            .collect()
    }

    fn previous_token(&self) -> Option<&str> {
        secret(
            self.internal_token_previous.as_ref(),
            self.internal_token_previous_file.as_ref(),
        )
    }

    /// How long pieces can be sent back: an order that is forgotten has nothing to return.
    pub fn return_windows(&self) -> Windows {
        Windows {
            to_ask: self.return_window.min(self.order_retention),
            to_send: self.return_send_within,
        }
    }

    /// Whose calls at Restate's ingress are let in.
    pub fn doors(&self) -> Doors {
        Doors::of(self.internal_tokens())
    }

    /// Whether the services die on request.
    pub fn dies_on_request(&self) -> bool {
        self.auth_mode == AuthMode::Demo && self.allow_crash != AllowCrash::False
    }

    /// What serving needs beyond what clap has checked.
    pub fn check(&self) -> Result<(), WrongSetting> {
        secrets::check_sent("INTERNAL_TOKEN", self.internal_token())?;
        secrets::check_sent("INTERNAL_TOKEN_PREVIOUS", self.previous_token())?;
        // A public key, which others may know.
        let identity = self.restate_identity_key();
        if identity.is_some_and(|key| !key.starts_with("publickeyv1_")) {
            return Err(WrongSetting(
                "RESTATE_IDENTITY_KEY is no public key of Restate: it begins with publickeyv1_, and Restate says it at its start"
                    .to_owned(),
            ));
        }
        self.payment_provider_credential()?;
        self.carrier_credential()?;
        for (name, listen) in [
            ("SERVICES_LISTEN", self.listen),
            ("SERVICES_OPS_LISTEN", self.ops_listen),
        ] {
            if self.internal_token().is_none() && !listen.ip().is_loopback() {
                return Err(WrongSetting(format!(
                    "INTERNAL_TOKEN must be set because {name}={listen} is reachable from other machines: set the same one for the gateways"
                )));
            }
        }
        if self.restate_identity_key().is_none() && !self.listen.ip().is_loopback() {
            return Err(WrongSetting(format!(
                "RESTATE_IDENTITY_KEY must be set because SERVICES_LISTEN={} is reachable from other machines: set it to the public key that Restate signs its requests with (`services prepare` makes a pair)",
                self.listen
            )));
        }
        if self.internal_token().is_none() && self.previous_token().is_some() {
            return Err(WrongSetting("INTERNAL_TOKEN_PREVIOUS is set and INTERNAL_TOKEN is not: set the token of now, too".to_owned()));
        }
        if self.allow_crash == AllowCrash::True && self.auth_mode != AuthMode::Demo {
            return Err(WrongSetting("ALLOW_CRASH is true outside demo mode: whoever reaches the ops port could end the services, so set ALLOW_CRASH=false".to_owned()));
        }
        for (name, window) in [
            ("PAYMENT_WINDOW", self.payment_window),
            ("APPROVAL_WINDOW", self.approval_window),
            ("ORDER_RETENTION", self.order_retention),
            ("RETURN_WINDOW", self.return_window),
            ("RETURN_SEND_WITHIN", self.return_send_within),
        ] {
            if window.is_zero() {
                return Err(WrongSetting(format!(
                    "{name} must be longer than nothing, e.g. 15m"
                )));
            }
        }
        let longest = self.payment_window + self.approval_window + self.delivery_time;
        if self.order_retention < longest {
            return Err(WrongSetting(
                "ORDER_RETENTION must be at least PAYMENT_WINDOW, APPROVAL_WINDOW and \
                 DELIVERY_TIME together: an order would be forgotten before it ends"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn credential(
    variable: &str,
    header: &CredentialHeader,
    token: Option<&str>,
) -> Result<Option<Credential>, WrongSetting> {
    secrets::check_sent(variable, token)?;
    Ok(token.and_then(|token| header.with(token)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use process::settings::one_sentence;

    use super::*;

    const TOKEN: &str = "5f0c9e2b7a41d836";
    const OLD_TOKEN: &str = "e81d47c06ba3952f";

    fn parse(args: &[&str]) -> Result<Settings, String> {
        let args = std::iter::once("services").chain(args.iter().copied());
        let line = CommandLine::try_parse_from(args)
            .map_err(|error| one_sentence(&error, &CommandLine::command()).unwrap())?;
        let checked = line.settings.check().map(|()| line.settings);
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_setting_is_one_sentence_with_its_name() {
        assert_eq!(
            parse(&["--payment-window", "soon"]).unwrap_err(),
            "PAYMENT_WINDOW is 'soon': it must be a time such as 500ms, 5s, 15m, 24h or 30d"
        );
        // Its option has another name.
        assert_eq!(
            parse(&["--ops-listen", "here"]).unwrap_err(),
            "SERVICES_OPS_LISTEN is 'here': it must be an IP address and a port, such as 127.0.0.1:8080"
        );
        assert!(
            parse(&["--ops-listen", "0.0.0.0:9081"])
                .unwrap_err()
                .starts_with("INTERNAL_TOKEN must be set because SERVICES_OPS_LISTEN")
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
    fn every_secret_has_a_file_and_must_be_hard_to_guess() {
        let command = CommandLine::command();
        assert_eq!(secrets::badly_kept(&command), Vec::<String>::new());
        let named = secrets::of(&command);
        assert!(named.len() >= 4, "{named:?}");
        for secret in named {
            let option = format!("--{}", secret.to_lowercase().replace('_', "-"));
            for weak in ["x", "changeme-changeme-changeme"] {
                let said = parse(&[&option, weak]).unwrap_err();
                assert!(said.starts_with(&secret), "{said}");
            }
        }
    }

    #[test]
    fn off_loopback_restate_must_be_known_and_calls_signed() {
        let remote = ["--listen", "0.0.0.0:9080"];
        let sentence = parse(&remote).unwrap_err();
        assert!(
            sentence.starts_with("INTERNAL_TOKEN must be set because SERVICES_LISTEN=0.0.0.0:9080"),
            "{sentence}"
        );
        let with_token = [&remote[..], &["--internal-token", TOKEN]].concat();
        let sentence = parse(&with_token).unwrap_err();
        assert!(
            sentence.starts_with("RESTATE_IDENTITY_KEY must be set"),
            "{sentence}"
        );
        let with_both = [
            &with_token[..],
            &["--restate-identity-key", "publickeyv1_x"],
        ]
        .concat();
        assert!(parse(&with_both).is_ok());
    }

    #[test]
    fn only_a_demo_dies_on_request() {
        let dies = |args: &[&str]| parse(args).map(|settings| settings.dies_on_request());
        assert_eq!(dies(&[]), Ok(false));
        assert_eq!(dies(&["--allow-crash", "demo"]), Ok(false));
        let demo = ["--auth-mode", "demo"];
        assert_eq!(dies(&demo), Ok(false));
        for allowed in ["demo", "true"] {
            let both = [&demo[..], &["--allow-crash", allowed]].concat();
            assert_eq!(dies(&both), Ok(true));
        }
        let refused = dies(&["--allow-crash", "true"]).unwrap_err();
        assert!(
            refused.starts_with("ALLOW_CRASH is true outside demo mode"),
            "{refused}"
        );
    }

    #[test]
    fn the_token_of_before_is_taken_beside_the_one_of_now() {
        let previous = ["--internal-token-previous", OLD_TOKEN];
        let both = [&previous[..], &["--internal-token", TOKEN]].concat();
        assert_eq!(parse(&both).unwrap().internal_tokens(), [TOKEN, OLD_TOKEN]);
        // Alone it closes nothing, and must not look as if it did.
        assert!(
            parse(&previous)
                .unwrap_err()
                .starts_with("INTERNAL_TOKEN_PREVIOUS")
        );
    }

    #[test]
    fn the_defaults_are_fine() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.delivery_time, Duration::from_secs(5));
    }

    #[test]
    fn off_loopback_the_update_stream_needs_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "from-the-file-2f9c\n").unwrap();
        let file = file.to_str().unwrap();
        let settings = parse(&[
            "--ops-listen",
            "0.0.0.0:9081",
            "--internal-token-file",
            file,
        ]);
        assert_eq!(
            settings.unwrap().internal_token(),
            Some("from-the-file-2f9c")
        );
    }
}
