//! Sign-in at an identity provider (`OpenID` Connect): the code flow with PKCE, state and
//! nonce. A browser is sent there ([`Oidc::begin`]) and comes back with a code, for which
//! the provider tells this gateway who it was ([`Oidc::finish`]).
//!
//! | module | holds |
//! | --- | --- |
//! | [`pending`] | what the browser keeps meanwhile, so that any gateway can finish |
//! | [`provider`] | what is known of the provider, and how it is asked |
//! | [`claims`] | what it says of somebody, and who that is here |
//!
//! Nothing is asked before somebody wants to sign in, and a provider that is away
//! stops nothing else. What it answers is in no log: tokens are in it.

pub mod claims;
pub mod pending;
mod provider;

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreTokenResponse};
use openidconnect::http::StatusCode;
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, LogoutRequest, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    PostLogoutRedirectUrl, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    TokenResponse as _,
};
use serde_json::{Map, Value};
use waybill_domain::words::{MAX_NAME, quoted};

use self::claims::Person;
use self::pending::{Pending, Sealer};
use self::provider::{Known, Provider};
use super::secret;
use crate::http::problem::Problem;
use crate::settings::Settings;
use crate::settings::oidc::{CALLBACK, OidcSettings};

/// The sign-in at the provider that is set.
#[derive(Debug)]
pub struct Oidc {
    settings: OidcSettings,
    client_id: ClientId,
    client_secret: ClientSecret,
    redirect: RedirectUrl,
    sign_in_page: PostLogoutRedirectUrl,
    sealer: Sealer,
    provider: Provider,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub to: String,
    /// What it keeps meanwhile.
    pub kept: String,
}

/// What a browser brings back: the query of the callback.
#[derive(Debug, Default)]
pub struct Brought {
    /// Which sign-in it was.
    pub state: Option<String>,
    /// What the provider is asked with.
    pub code: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// Who has sent it (RFC 9207).
    pub issuer: Option<String>,
}

impl Oidc {
    /// At the provider that is set, if there is one. Nothing is asked of it yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let (Some(provider), Some(url)) = (settings.oidc.provider(), settings.edge.public_url())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            client_id: ClientId::new(provider.client_id.to_owned()),
            client_secret: ClientSecret::new(provider.client_secret.to_owned()),
            redirect: RedirectUrl::new(format!("{url}{CALLBACK}"))?,
            sign_in_page: PostLogoutRedirectUrl::new(format!("{url}/login"))?,
            sealer: Sealer::new(settings.session_key()),
            provider: Provider::new(provider.issuer)?,
            settings: settings.oidc.clone(),
        }))
    }

    /// How people call the provider.
    pub fn name(&self) -> &str {
        self.settings.name()
    }

    /// Begins a sign-in that leads to `next`, a path on this site.
    pub async fn begin(&self, next: &str) -> Result<Begun, Problem> {
        let known = self.provider.known().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let pending = Pending::new(verifier.secret(), next);
        let client = self.client(&known)?;
        let (state, nonce) = (pending.state.clone(), pending.nonce.clone());
        let mut asked = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state.clone()),
                move || Nonce::new(nonce.clone()),
            )
            .set_pkce_challenge(challenge);
        for scope in self.settings.scopes() {
            asked = asked.add_scope(Scope::new(scope.to_owned()));
        }
        let (to, ..) = asked.url();
        Ok(Begun {
            to: to.into(),
            kept: self.sealer.seal(&pending),
        })
    }

    /// Where people sign out of the provider itself, and come back from to the sign-in: if it
    /// has such a page, as far as is known here.
    pub async fn way_out(&self) -> Option<String> {
        let known = self.provider.remembered().await?;
        let asked = LogoutRequest::from(known.way_out()?.clone())
            .set_client_id(self.client_id.clone())
            .set_post_logout_redirect_uri(self.sign_in_page.clone());
        Some(asked.http_get_url().into())
    }

    /// The sign-in that a browser has begun, if what it keeps is genuine and it brings that
    /// sign-in back.
    pub fn begun(&self, kept: Option<&str>, brought: &Brought) -> Result<Pending, Problem> {
        let pending = kept.and_then(|kept| self.sealer.open(kept));
        let state = brought.state.as_deref().unwrap_or_default();
        pending
            .filter(|it| secret::fingerprint(&it.state) == secret::fingerprint(state))
            .ok_or_else(|| {
                failed("this sign-in was begun in another browser, or too long ago: begin it again")
            })
    }

    /// Asks the provider who has signed in there.
    pub async fn finish(&self, pending: &Pending, brought: Brought) -> Result<Person, Problem> {
        if let Some(error) = brought.error {
            return Err(refused(&error));
        }
        let issuer = brought.issuer.as_deref();
        if issuer.is_some_and(|issuer| issuer != self.provider.issuer()) {
            return Err(failed(
                "the answer came from another identity provider: begin the sign-in again",
            ));
        }
        let code = brought
            .code
            .ok_or_else(|| failed("the identity provider has sent no code: begin again"))?;
        let mut known = self.provider.known().await?;
        let answer = self.exchange(&known, pending, code).await?;
        let verified = match self.verified(&known, pending, &answer) {
            // It signs with a new key.
            Err(Untrusted::Key) => {
                known = self.provider.known_anew(&known).await?;
                self.verified(&known, pending, &answer)
            }
            verified => verified,
        };
        let mut claims = verified.map_err(|untrusted| match untrusted {
            Untrusted::Key => bad_token("no key of the provider fits its signature"),
            Untrusted::Other(why) => bad_token(why),
        })?;
        if claims::lacks_any(&claims, &self.settings) {
            let more = self
                .provider
                .more_about(&known, answer.access_token().secret())
                .await?;
            claims::complete(&mut claims, more)?;
        }
        claims::person(&claims, self.provider.issuer(), &self.settings)
    }

    async fn exchange(
        &self,
        known: &Known,
        pending: &Pending,
        code: String,
    ) -> Result<CoreTokenResponse, Problem> {
        let client = self.client(known)?;
        let asked = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        let http = self.provider.http();
        // Of these errors only what names no answer may be said.
        asked.request_async(&http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => {
                let code = said.error().to_string();
                tracing::warn!(
                    error = quoted(&code, MAX_NAME),
                    "the identity provider has refused a code"
                );
                failed("the identity provider does not take the code (any more): begin the sign-in again")
            }
            RequestTokenError::Request(error) => provider::away(error),
            RequestTokenError::Parse(..) => bad_token("its token response cannot be read"),
            RequestTokenError::Other(what) => bad_token(what),
        })
    }

    /// The claims of the ID token, if it is for this sign-in, and from the provider.
    fn verified(
        &self,
        known: &Known,
        pending: &Pending,
        answer: &CoreTokenResponse,
    ) -> Result<Map<String, Value>, Untrusted> {
        let id_token = answer.id_token().ok_or("it has sent no ID token")?;
        let client = self.client(known).map_err(|_| "its addresses are wrong")?;
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(known.algorithms());
        let nonce = Nonce::new(pending.nonce.clone());
        let claims = id_token
            .claims(&verifier, &nonce)
            .map_err(|error| match error {
                ClaimsVerificationError::SignatureVerification(
                    SignatureVerificationError::NoMatchingKey,
                ) => Untrusted::Key,
                error => Untrusted::Other(why(&error)),
            })?;
        if let Some(expected) = claims.access_token_hash() {
            let of = |alg| {
                let key = id_token.signing_key(&verifier).ok()?;
                AccessTokenHash::from_token(answer.access_token(), alg, key).ok()
            };
            let is = id_token.signing_alg().ok().and_then(of);
            if is.as_ref() != Some(expected) {
                return Err("its access token belongs to another ID token".into());
            }
        }
        // As they stand in the token that has just been verified, whatever they are called.
        claims::of_token(&id_token.to_string()).ok_or_else(|| "its ID token cannot be read".into())
    }

    fn client(&self, known: &Known) -> Result<Client, Problem> {
        let token_endpoint = known.token_endpoint()?;
        let client = CoreClient::from_provider_metadata(
            known.metadata.clone(),
            self.client_id.clone(),
            Some(self.client_secret.clone()),
        )
        .set_token_uri(token_endpoint)
        .set_redirect_uri(self.redirect.clone())
        .set_auth_type(if known.wants_secret_in_body() {
            AuthType::RequestBody
        } else {
            AuthType::BasicAuth
        });
        Ok(client)
    }
}

/// A client of which everything is known that is needed here.
type Client = CoreClient<
    openidconnect::EndpointSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointSet,
    openidconnect::EndpointMaybeSet,
>;

/// Why an ID token is not believed.
enum Untrusted {
    /// No known key of the provider fits.
    Key,
    /// For the log.
    Other(String),
}

impl From<&str> for Untrusted {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

/// Without what the token says: that is a stranger's until it is verified.
fn why(error: &ClaimsVerificationError) -> String {
    let what = match error {
        ClaimsVerificationError::Expired(_) => "it has expired",
        ClaimsVerificationError::InvalidAudience(_) => "it is for another client",
        ClaimsVerificationError::InvalidIssuer(_) => "it is from another issuer",
        ClaimsVerificationError::InvalidNonce(_) => "it has another nonce",
        ClaimsVerificationError::SignatureVerification(_) => "its signature is wrong",
        ClaimsVerificationError::Unsupported(_) => "its form is not supported",
        _ => "its claims are wrong",
    };
    format!("the ID token is refused: {what}")
}

/// A sign-in that has to be begun again.
fn failed(detail: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "sign_in_failed",
        "Not signed in",
        detail,
    )
}

/// What the provider says instead of a code. Its own words are a stranger's: the browser
/// has brought them.
fn refused(error: &str) -> Problem {
    tracing::info!(
        error = quoted(error, MAX_NAME),
        "the identity provider has signed nobody in"
    );
    match error {
        "access_denied" => Problem::forbidden(
            "the identity provider says no: you have declined there, or may not use this shop. Begin again, or ask who runs it",
        ),
        "temporarily_unavailable" | "server_error" => Problem::unavailable(
            "the identity provider cannot sign you in now: try again in a moment",
        ),
        "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => {
            failed("you are not signed in at the identity provider: begin again and sign in there")
        }
        _ => failed(
            "the identity provider has refused this sign-in: begin again, and tell the operator if it stays",
        ),
    }
}

/// An answer that cannot be trusted; why is for the log.
fn bad_token(why: impl std::fmt::Display) -> Problem {
    Problem::bad_gateway(
        "bad_identity",
        "Not signed in",
        "what the identity provider says of you cannot be trusted: begin again, and tell the operator if it stays",
    )
    .with_cause(why)
}
