//! What is set for the sign-in at an identity provider (`OpenID` Connect): which one, and
//! what its groups may do here.

use clap::{Args, ValueEnum};
use process::secrets;
use process::settings::{SecretFile, WrongSetting, http_url, secret, secret_file};
use waybill_domain::account::Role;

use super::edge::PublicUrl;
use super::on_loopback;

/// Where a provider sends browsers back to.
pub const CALLBACK: &str = "/login/oidc/callback";
/// How people's own provider is called where nothing is set.
const NAME: &str = "your organisation";

/// Who people are is said by somebody else.
#[derive(Debug, Clone, Args)]
pub struct OidcSettings {
    /// The identity provider (`OpenID` Connect), exactly as it names itself, e.g.
    /// `https://id.example/realms/shop`. Its people may then sign in here; whoever comes for
    /// the first time gets an account. Needs `PUBLIC_URL`: the redirect URI to register
    /// there is `PUBLIC_URL` with `/login/oidc/callback` behind it.
    #[arg(long, env, global = true, value_parser = issuer)]
    oidc_issuer: Option<OptionalIssuer>,

    /// What the provider knows this shop as.
    #[arg(long, env, global = true)]
    oidc_client_id: Option<String>,

    /// Shared with the identity provider: shows that it is this shop that asks.
    #[arg(long, env, global = true, hide_env_values = true)]
    oidc_client_secret: Option<String>,

    /// A file that holds `OIDC_CLIENT_SECRET`.
    #[arg(long, env, global = true, value_parser = secret_file)]
    oidc_client_secret_file: Option<SecretFile>,

    /// What is on the button, behind "Sign in with": your organisation, if nothing is set.
    #[arg(long, env, global = true, default_value = "")]
    oidc_name: String,

    /// What the provider is asked for beside `openid`, separated by spaces.
    #[arg(long, env, global = true, default_value = "profile email")]
    oidc_scopes: String,

    /// The claim that names somebody here: 1 to 64 letters, digits, '-' or '_'.
    #[arg(long, env, global = true, default_value = "preferred_username")]
    pub oidc_username_claim: String,

    /// Where that claim is an e-mail address: its domain, e.g. `shop.example`. What stands
    /// before it is the name here, with '-' for each dot; other domains are refused.
    #[arg(long, env, global = true, default_value = "")]
    oidc_username_domain: String,

    /// The claim that lists somebody's groups. Dots lead into it: `realm_access.roles`.
    #[arg(long, env, global = true, default_value = "groups")]
    pub oidc_groups_claim: String,

    /// What each group may do here, e.g. `shop-admins=admin,shop-support=support`. The
    /// highest role counts, and is set anew with each sign-in.
    #[arg(long, env, global = true, default_value = "", value_parser = group_roles)]
    oidc_roles: GroupRoles,

    /// Whoever is in none of these groups: customer, or none (they may not sign in).
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "customer"
    )]
    oidc_default_role: DefaultRole,
}

/// What somebody may do who is in no group of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DefaultRole {
    /// Buy.
    Customer,
    /// Nothing.
    None,
}

/// An identity provider that is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider<'a> {
    /// As it names itself.
    pub issuer: &'a str,
    /// What it knows this shop as.
    pub client_id: &'a str,
    /// Shows that it is this shop that asks.
    pub client_secret: &'a str,
}

/// Groups there, and what each may do here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRoles(Vec<(String, Role)>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct OptionalIssuer(Option<String>);

impl OidcSettings {
    /// As the provider names itself, if there is one.
    pub fn issuer(&self) -> Option<&str> {
        self.oidc_issuer.as_ref().and_then(|it| it.0.as_deref())
    }

    /// The provider, if it is set up.
    pub fn provider(&self) -> Option<Provider<'_>> {
        Some(Provider {
            issuer: self.issuer()?,
            client_id: self.client_id()?,
            client_secret: self.client_secret()?,
        })
    }

    /// How people call it.
    pub fn name(&self) -> &str {
        match self.oidc_name.trim() {
            "" => NAME,
            name => name,
        }
    }

    /// The domain that names there end in, if they are e-mail addresses.
    pub fn username_domain(&self) -> Option<&str> {
        let domain = self.oidc_username_domain.trim().trim_start_matches('@');
        Some(domain).filter(|domain| !domain.is_empty())
    }

    /// What it is asked for beside `openid`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scopes = self.oidc_scopes.split([' ', ',']);
        scopes.filter(|scope| !scope.is_empty() && *scope != "openid")
    }

    /// What somebody in these groups may do; `None`: not even sign in.
    pub fn role<'a>(&self, groups: impl IntoIterator<Item = &'a str>) -> Option<Role> {
        let roles = groups.into_iter().flat_map(|group| {
            let theirs = self.oidc_roles.0.iter().filter(move |(it, _)| it == group);
            theirs.map(|(_, role)| *role)
        });
        let highest = roles.max_by_key(|role| Role::ALL.iter().position(|it| it == role));
        highest.or(match self.oidc_default_role {
            DefaultRole::Customer => Some(Role::Customer),
            DefaultRole::None => None,
        })
    }

    fn client_id(&self) -> Option<&str> {
        self.oidc_client_id.as_deref().filter(|id| !id.is_empty())
    }

    fn client_secret(&self) -> Option<&str> {
        secret(
            self.oidc_client_secret.as_ref(),
            self.oidc_client_secret_file.as_ref(),
        )
    }

    /// What only makes sense together.
    pub(super) fn check(
        &self,
        public_url: Option<&PublicUrl>,
        passwords: bool,
    ) -> Result<(), WrongSetting> {
        let wrong = |what: &str| Err(WrongSetting(what.to_owned()));
        secrets::check(
            "OIDC_CLIENT_SECRET",
            self.client_secret(),
            secrets::SHORTEST,
        )?;
        let Some(issuer) = self.issuer() else {
            if !passwords {
                return wrong(
                    "PASSWORDS is off and OIDC_ISSUER is not set, so nobody could sign in: set OIDC_ISSUER to your identity provider, or PASSWORDS=on",
                );
            }
            if self.client_id().is_some() || self.client_secret().is_some() {
                return wrong(
                    "OIDC_ISSUER is missing: OIDC_CLIENT_ID or OIDC_CLIENT_SECRET is set, so set it to the identity provider that knows them, such as https://id.example/realms/shop",
                );
            }
            if !self.oidc_roles.0.is_empty() {
                return wrong(
                    "OIDC_ISSUER is missing: OIDC_ROLES names groups, so set it to the identity provider that has them",
                );
            }
            return Ok(());
        };
        if !issuer.starts_with("https://") && !on_loopback(issuer) {
            return Err(WrongSetting(format!(
                "OIDC_ISSUER is '{issuer}': it must begin with https://, because what it says of people is believed"
            )));
        }
        if self.client_id().is_none() {
            return wrong(
                "OIDC_CLIENT_ID is missing: OIDC_ISSUER is set, so register this shop there and set the id that it gets",
            );
        }
        if self.client_secret().is_none() {
            return wrong(
                "OIDC_CLIENT_SECRET is missing: OIDC_ISSUER is set, so register this shop there as a confidential client and set the secret that it gets",
            );
        }
        if public_url.is_none() {
            return wrong(
                "PUBLIC_URL is missing: with OIDC_ISSUER browsers come back from the identity provider, so set it to how they reach the shop, such as https://shop.example",
            );
        }
        for (name, claim) in [
            ("OIDC_USERNAME_CLAIM", &self.oidc_username_claim),
            ("OIDC_GROUPS_CLAIM", &self.oidc_groups_claim),
        ] {
            if claim.trim().is_empty() {
                return Err(WrongSetting(format!(
                    "{name} is empty: set it to the name of a claim, or leave it out"
                )));
            }
        }
        if self.oidc_default_role == DefaultRole::None && self.oidc_roles.0.is_empty() {
            return wrong(
                "OIDC_DEFAULT_ROLE is none and OIDC_ROLES is empty, so nobody could sign in at the identity provider: set OIDC_ROLES, such as shop-admins=admin",
            );
        }
        Ok(())
    }
}

/// An issuer is compared as it is written: nothing of it is changed.
fn issuer(raw: &str) -> Result<OptionalIssuer, String> {
    let raw = raw.trim();
    if raw.is_empty() {
        return Ok(OptionalIssuer(None));
    }
    if http_url(raw)?.fragment().is_some() {
        return Err("it must have nothing after a #".to_owned());
    }
    Ok(OptionalIssuer(Some(raw.to_owned())))
}

fn group_roles(raw: &str) -> Result<GroupRoles, String> {
    let pairs = raw
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (group, role) = pair.rsplit_once('=')?;
        let role = Role::parse(role.trim())?;
        let group = group.trim();
        (!group.is_empty()).then(|| (group.to_owned(), role))
    };
    let pairs: Option<Vec<_>> = pairs.map(pair).collect();
    pairs.map(GroupRoles).ok_or_else(|| {
        "it must be groups with roles (customer, support, approver, admin), such as shop-admins=admin,shop-support=support".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};
    use process::settings::one_sentence;

    use super::*;
    use crate::settings::Settings;

    const WHOLE: [&str; 8] = [
        "--oidc-issuer",
        "https://id.example/realms/shop",
        "--oidc-client-id",
        "waybill",
        "--oidc-client-secret",
        "9d2f7b40c16f2b9d1ec84a07",
        "--public-url",
        "https://shop.example",
    ];

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(more: &[&str]) -> Result<Settings, clap::Error> {
        let line = [&["gateway", "--auth-mode", "demo"], more].concat();
        Line::try_parse_from(line).map(|line| line.settings)
    }

    fn checked(more: &[&str]) -> Result<(), String> {
        let settings = parse(more).unwrap();
        settings.check().map_err(|wrong| wrong.to_string())
    }

    fn without(name: &str) -> Vec<&'static str> {
        let pairs = WHOLE.chunks(2).filter(|pair| pair[0] != name);
        pairs.flatten().copied().collect()
    }

    #[test]
    fn each_wrong_combination_is_one_sentence() {
        assert_eq!(checked(&[]), Ok(()));
        assert_eq!(checked(&WHOLE), Ok(()));
        assert_eq!(
            checked(&[&WHOLE[..], &["--passwords", "off"]].concat()),
            Ok(())
        );
        let with = |more: &[&'static str]| [&WHOLE[..], more].concat();
        for (line, begins) in [
            (
                vec!["--passwords", "off"],
                "PASSWORDS is off and OIDC_ISSUER",
            ),
            (
                without("--oidc-issuer"),
                "OIDC_ISSUER is missing: OIDC_CLIENT_ID",
            ),
            (
                vec!["--oidc-roles", "a=admin"],
                "OIDC_ISSUER is missing: OIDC_ROLES",
            ),
            (without("--oidc-client-id"), "OIDC_CLIENT_ID is missing"),
            (
                without("--oidc-client-secret"),
                "OIDC_CLIENT_SECRET is missing",
            ),
            (
                without("--public-url"),
                "PUBLIC_URL is missing: with OIDC_ISSUER",
            ),
            (
                with(&["--oidc-username-claim", ""]),
                "OIDC_USERNAME_CLAIM is empty",
            ),
            (
                with(&["--oidc-groups-claim", " "]),
                "OIDC_GROUPS_CLAIM is empty",
            ),
            (
                with(&["--oidc-default-role", "none"]),
                "OIDC_DEFAULT_ROLE is none",
            ),
        ] {
            let said = checked(&line).unwrap_err();
            assert!(said.starts_with(begins), "{line:?}: {said}");
            assert!(!said.contains('\n') && !said.contains("9d2f"), "{said}");
        }
        let plain = [
            &["--oidc-issuer", "http://id.example"],
            &without("--oidc-issuer")[..],
        ];
        let said = checked(&plain.concat()).unwrap_err();
        assert!(said.starts_with("OIDC_ISSUER is 'http://id.example': it must begin with https"));
        let here = [
            &["--oidc-issuer", "http://127.0.0.1:9"],
            &without("--oidc-issuer")[..],
        ];
        assert_eq!(checked(&here.concat()), Ok(()));
        // Compose sets what is not set to nothing.
        let nothing = [
            "--oidc-issuer",
            "",
            "--oidc-client-id",
            "",
            "--oidc-client-secret",
            "",
        ];
        assert_eq!(checked(&nothing), Ok(()));
    }

    #[test]
    fn a_role_that_nobody_knows_is_one_sentence() {
        for wrong in ["shop-admins", "shop-admins=boss", "=admin", "a=admin,b"] {
            let error = parse(&["--oidc-roles", wrong]).unwrap_err();
            let said = one_sentence(&error, &Line::command()).unwrap();
            let begins = format!("OIDC_ROLES is '{wrong}': it must be groups with roles");
            assert!(said.starts_with(&begins), "{said}");
        }
    }

    #[test]
    fn the_highest_role_of_all_groups_counts() {
        let roles = "helpers=support, ops team=approver,a=b=admin,buyers=customer";
        let oidc = |default| {
            let line = ["--oidc-roles", roles, "--oidc-default-role", default];
            parse(&line).unwrap().oidc
        };
        let open = oidc("customer");
        for (groups, role) in [
            (&[][..], Role::Customer),
            (&["strangers"], Role::Customer),
            (&["Helpers"], Role::Customer),
            (&["helpers"], Role::Support),
            (&["buyers", "ops team", "helpers"], Role::Approver),
            (&["ops team", "a=b"], Role::Admin),
        ] {
            let found = open.role(groups.iter().copied());
            assert_eq!(found, Some(role), "{groups:?}");
        }
        let closed = oidc("none");
        assert_eq!(closed.role(["strangers"]), None);
        assert_eq!(closed.role(["buyers"]), Some(Role::Customer));
    }

    #[test]
    fn an_issuer_stays_as_it_is_written() {
        for issuer in ["https://id.example/", "https://id.example"] {
            let settings = parse(&["--oidc-issuer", issuer]).unwrap();
            assert_eq!(settings.oidc.issuer(), Some(issuer));
        }
        let oidc = parse(&["--oidc-scopes", "openid groups, email"])
            .unwrap()
            .oidc;
        assert_eq!(oidc.scopes().collect::<Vec<_>>(), ["groups", "email"]);
        assert_eq!((oidc.name(), oidc.provider()), ("your organisation", None));
    }

    #[test]
    fn fuzz_oidc_settings() {
        use proptest::prelude::*;
        let samples = [
            "https://id.example/realms/shop",
            "http://localhost:8080/",
            "shop-admins=admin,ops team=approver",
            "cn=a=support",
            "",
        ];
        fuzz::check(
            "gateway: settings of the identity provider",
            &fuzz::input::mistaken(&samples, 3),
            |raw| {
                match issuer(&raw) {
                    Ok(OptionalIssuer(Some(kept))) => prop_assert_eq!(kept, raw.trim()),
                    Ok(OptionalIssuer(None)) => prop_assert!(raw.trim().is_empty()),
                    Err(said) => prop_assert!(said.starts_with("it must"), "{said}"),
                }
                match group_roles(&raw) {
                    Ok(GroupRoles(roles)) => {
                        // Each is found again, and written again it is the same.
                        let written: Vec<String> = (roles.iter())
                            .map(|(group, role)| format!("{group}={role}"))
                            .collect();
                        prop_assert_eq!(group_roles(&written.join(",")), Ok(GroupRoles(roles)));
                    }
                    Err(said) => prop_assert!(said.starts_with("it must"), "{said}"),
                }
                Ok(())
            },
        );
    }
}
