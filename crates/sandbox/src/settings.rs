//! Every setting of the sandbox. Each is an environment variable and a command
//! line option of the same name.

use std::net::SocketAddr;

use clap::Args;
use process::secrets;
use process::settings::{
    OptionalUrl, SecretFile, WrongSetting, address, base_url, check_writable, optional_url, secret,
    secret_file, sqlite_url,
};
use process::telemetry::TelemetrySettings;

/// Everything that can be set.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,

    /// SQLite file of the sandbox's ledger. The file and its folder are created.
    #[arg(long, env, default_value = "sqlite://data/sandbox.db", value_parser = sqlite_url)]
    pub sandbox_database_url: String,

    /// Where browsers reach the sandbox's payment page, when that is not where
    /// it listens.
    #[arg(long, env, value_parser = optional_url)]
    pub sandbox_public_url: Option<OptionalUrl>,

    /// Where the sandbox calls back when a payment is made or declined.
    #[arg(
        long,
        env,
        default_value = "http://127.0.0.1:8080/api/payment/callback",
        value_parser = base_url
    )]
    pub payment_callback_url: String,

    /// Shared with the shop: signs callbacks when set.
    #[arg(long, env, hide_env_values = true)]
    pub payment_webhook_secret: Option<String>,

    /// A file that holds `PAYMENT_WEBHOOK_SECRET`.
    #[arg(long, env, value_parser = secret_file)]
    pub payment_webhook_secret_file: Option<SecretFile>,

    /// When set, the payment provider answers those alone who send it as a bearer
    /// token.
    #[arg(long, env, hide_env_values = true)]
    pub payment_provider_token: Option<String>,

    /// A file that holds `PAYMENT_PROVIDER_TOKEN`.
    #[arg(long, env, value_parser = secret_file)]
    pub payment_provider_token_file: Option<SecretFile>,

    /// The same for the carrier.
    #[arg(long, env, hide_env_values = true)]
    pub carrier_token: Option<String>,

    /// A file that holds `CARRIER_TOKEN`.
    #[arg(long, env, value_parser = secret_file)]
    pub carrier_token_file: Option<SecretFile>,

    /// What the process says of itself.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Where the sandbox listens: all that its health check needs.
#[derive(Clone, Debug, Args)]
pub struct Listen {
    /// Address and port of the sandbox.
    #[arg(long, env, default_value = "127.0.0.1:8090", value_parser = address)]
    pub sandbox_listen: SocketAddr,
}

impl Settings {
    /// Where browsers reach the payment page, if that was set.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.sandbox_public_url.as_ref().and_then(OptionalUrl::get)
    }

    /// What callbacks are signed with, if anything.
    pub(crate) fn webhook_secret(&self) -> Option<&str> {
        secret(
            self.payment_webhook_secret.as_ref(),
            self.payment_webhook_secret_file.as_ref(),
        )
    }

    /// What the provider's callers must know, if anything.
    pub(crate) fn payment_provider_token(&self) -> Option<&str> {
        secret(
            self.payment_provider_token.as_ref(),
            self.payment_provider_token_file.as_ref(),
        )
    }

    /// What the carrier's callers must know, if anything.
    pub(crate) fn carrier_token(&self) -> Option<&str> {
        secret(
            self.carrier_token.as_ref(),
            self.carrier_token_file.as_ref(),
        )
    }

    /// Whether its secrets are good enough.
    pub(crate) fn check_secrets(&self) -> Result<(), WrongSetting> {
        secrets::check(
            "PAYMENT_WEBHOOK_SECRET",
            self.webhook_secret(),
            secrets::SHORTEST,
        )?;
        secrets::check_sent("PAYMENT_PROVIDER_TOKEN", self.payment_provider_token())?;
        secrets::check_sent("CARRIER_TOKEN", self.carrier_token())
    }

    /// Whether the ledger may be where `SANDBOX_DATABASE_URL` says.
    pub(crate) fn check_database(&self) -> Result<(), WrongSetting> {
        check_writable("SANDBOX_DATABASE_URL", &self.sandbox_database_url)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};
    use process::settings::one_sentence;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(arguments: &[&str]) -> Result<Settings, clap::Error> {
        Line::try_parse_from([&["sandbox"], arguments].concat()).map(|line| line.settings)
    }

    #[test]
    fn a_wrong_value_is_one_sentence_that_names_the_variable() {
        let error = parse(&["--payment-callback-url", "ftp://shop"]).unwrap_err();
        assert_eq!(
            one_sentence(&error, &Line::command()).unwrap(),
            "PAYMENT_CALLBACK_URL is 'ftp://shop': it must start with http:// or https://"
        );
        let nowhere = parse(&["--sandbox-database-url", "sqlite:///dev/null/a.db"]).unwrap();
        let refused = nowhere.check_database().unwrap_err().to_string();
        assert!(
            refused.starts_with("SANDBOX_DATABASE_URL is 'sqlite:///dev/null/a.db': "),
            "{refused}"
        );
    }

    #[test]
    fn what_is_set_to_nothing_counts_as_unset() {
        let arguments = ["--sandbox-public-url", "", "--payment-webhook-secret", ""];
        let settings = parse(&arguments).unwrap();
        assert_eq!(settings.public_url(), None);
        assert_eq!(settings.webhook_secret(), None);
    }

    #[test]
    fn every_secret_has_a_file_and_must_be_hard_to_guess() {
        let command = Line::command();
        assert_eq!(secrets::badly_kept(&command), Vec::<String>::new());
        let named = secrets::of(&command);
        assert!(named.len() >= 3, "{named:?}");
        for secret in named {
            let option = format!("--{}", secret.to_lowercase().replace('_', "-"));
            for weak in ["x", "changeme-changeme-changeme"] {
                let settings = parse(&[&option, weak]).unwrap();
                let said = settings.check_secrets().unwrap_err().to_string();
                assert!(said.starts_with(&secret), "{said}");
            }
        }
    }
}
