//! The handlers of the pages.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use utoipa_axum::routes;
use waybill_domain::Timestamp;

use super::location::{Kind, Location, PAGES};
use super::page::Viewer;
use super::paint::paint;
use super::responses::{LoginPage, NewPasswordPage};
use super::shell::Layout;
use super::views::Console;
use super::{factor, journal, load, oidc, paper};
use crate::api::factor::PAGE;
use crate::auth::OptionalCaller;
use crate::authority::{Allow, Routes};
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::local_path;
use crate::http::nonce::Nonce;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::storage::accounts;

/// Every page.
pub(super) fn router<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Console>: FromRef<S>,
    Shared: FromRef<S>,
{
    let open = Routes::new()
        .routes(Allow::Anybody, routes!(login))
        .routes(Allow::Anybody, routes!(new_password))
        .routes(Allow::Anybody, routes!(factor::code))
        .page(Allow::SettingUp, PAGE, factor::show)
        .page(Allow::Anybody, "/login/oidc", oidc::begin)
        .page(Allow::Anybody, "/login/oidc/callback", oidc::callback)
        .page(Allow::Anybody, "/login/oidc/leave", oidc::leave)
        .page(Allow::OwnerOrStaff, "/orders/{id}/invoice", paper::invoice)
        .page(
            Allow::Staff,
            "/orders/{id}/packing-slip",
            paper::packing_slip,
        );
    PAGES
        .into_iter()
        .fold(open, |routes, (path, allow)| routes.page(allow, path, show))
}

async fn show(
    State(console): State<Arc<Console>>,
    caller: Caller,
    nonce: Nonce,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Html<String>, Problem> {
    let address = uri.path_and_query().map_or("/", |address| address.as_str());
    let location = Location::parse(address)?;
    let viewer = Viewer::of(&console, caller, &headers);
    let mut page = paint(&console, &viewer, &location, None).await?;
    // Without JavaScript nobody fetches the journal later.
    if let Kind::Order(id) = &location.kind
        && location.query.word("journal", 8)?.is_some()
    {
        page.regions.journal = console
            .views
            .render(&journal::of_order(&console, id).await)?;
    }
    let html = console.views.render(&Layout {
        nonce: nonce.as_str(),
        is_traced: console.settings.telemetry.collector().is_some(),
        now_ms: Timestamp::now().as_millisecond(),
        stream: location.stream(),
        parent: page.parent,
        heading: &page.heading,
        tab: location.tab,
        input_href: location.address.clone(),
        output_href: location.with_tab("output"),
        regions: &page.regions,
    })?;
    Ok(Html(html))
}

/// Where somebody goes once they are signed in: a path on this site.
pub(super) struct Next(pub(super) String);

impl FromFields for Next {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let next = fields.word("next", 2048)?;
        Ok(Self(
            next.as_deref()
                .and_then(local_path)
                .unwrap_or("/")
                .to_owned(),
        ))
    }
}

/// Whether somebody has just signed out.
struct Left(bool);

impl FromFields for Left {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.word("left", 8)?.is_some()))
    }
}

/// The page to sign in at; who is signed in is sent on
#[utoipa::path(
    get,
    path = "/login",
    params(
        ("next" = Option<String>, Query, max_length = 2048, description = "The page of this site that a browser goes to after that."),
    ),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 303, description = "Signed in already"),
    ),
)]
async fn login(
    State(console): State<Arc<Console>>,
    OptionalCaller(caller): OptionalCaller,
    nonce: Nonce,
    InQuery(Next(next)): InQuery<Next>,
    InQuery(Left(left)): InQuery<Left>,
) -> Result<Response, Problem> {
    if caller.is_some() {
        return Ok(Redirect::to(&next).into_response());
    }
    let mut ways = console.views.ways(&next);
    if let (true, Some(oidc)) = (left, &console.auth.oidc) {
        ways.leave = oidc.way_out().await.is_some();
    }
    // At a provider everybody comes by themselves.
    let is_unopened = ways.provider.is_none() && accounts::nobody_is_known(&console.db).await?;
    let html = console.views.render(&LoginPage {
        nonce: nonce.as_str().to_owned(),
        problem: None,
        of_password: false,
        is_unopened,
        ways,
        personas: load::personas(&console).await?,
        next,
        username: String::new(),
    })?;
    Ok(Html(html).into_response())
}

struct Whose(String);

impl FromFields for Whose {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.word("user", 64)?.unwrap_or_default()))
    }
}

/// The page of a link by which somebody sets a password
///
/// The link's secret is behind the `#`, so it is in no request and no log: the page's
/// script takes it from there, and without one it is typed in.
#[utoipa::path(
    get,
    path = "/password/new",
    params(
        ("user" = Option<String>, Query, max_length = 64, description = "Whose link it is."),
    ),
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
    ),
)]
async fn new_password(
    State(console): State<Arc<Console>>,
    nonce: Nonce,
    InQuery(Whose(user)): InQuery<Whose>,
) -> Result<Html<String>, Problem> {
    Ok(Html(console.views.render(&NewPasswordPage {
        nonce: nonce.as_str().to_owned(),
        user,
        problem: None,
        field: None,
        request_id: String::new(),
    })?))
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_next: Next, fuzz_whose: Whose, fuzz_left: Left);
