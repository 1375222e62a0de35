//! The whole gateway: what each feature remembers, and the one router, which
//! alone knows all of them.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tracing::Instrument as _;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::api::openapi::Document;
use crate::authority::Routes;
use crate::console::{Console, Views, present};
use crate::demo::Scenarios;
use crate::edge::{self, Edge, Working};
use crate::http::nonce::Nonce;
use crate::http::problem::{self, Problem};
use crate::infra::Shared;
use crate::shop::dashboard::Latest;
use crate::shop::payment_wait::PaymentPages;
use crate::shop::stock::Announcement;
use crate::{api, console, demo, protection};

/// What all handlers need; each takes its part by [`FromRef`]. A cheap clone, which each
/// layer around a request makes.
#[derive(Clone)]
pub struct Gateway(Arc<Parts>);

/// See [`Gateway`].
pub struct Parts {
    /// What all of it stands on.
    pub infra: Shared,
    /// Whether Inventory knows the catalog.
    pub announcement: Arc<Announcement>,
    payment_pages: Arc<PaymentPages>,
    dashboard: Arc<Latest>,
    scenarios: Arc<Scenarios>,
    console: Arc<Console>,
    edge: Arc<Edge>,
}

impl Deref for Gateway {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Gateway {
    /// Over what `infra` has opened, with memories that are empty yet.
    pub fn new(infra: Shared) -> anyhow::Result<Self> {
        let (dashboard, scenarios) = (Arc::<Latest>::default(), Arc::<Scenarios>::default());
        let console = Console::new(
            Arc::clone(&infra),
            Views::new(&infra.settings)?,
            Arc::clone(&dashboard),
            Arc::clone(&scenarios),
        );
        let gateway = Self(Arc::new(Parts {
            announcement: Arc::default(),
            payment_pages: Arc::default(),
            console: Arc::new(console),
            dashboard,
            scenarios,
            edge: Arc::new(Edge::new(&infra)),
            infra,
        }));
        // The demo's stories ask this gateway itself; they keep nobody alive.
        let itself = Arc::downgrade(&gateway.0);
        gateway
            .scenarios
            .ask_at(Box::new(move || Some(router(Self(itself.upgrade()?)))));
        Ok(gateway)
    }
}

macro_rules! part {
    ($part:ty, $field:ident) => {
        impl FromRef<Gateway> for $part {
            fn from_ref(gateway: &Gateway) -> Self {
                Arc::clone(&gateway.$field)
            }
        }
    };
}

part!(Shared, infra);
part!(Arc<Announcement>, announcement);
part!(Arc<PaymentPages>, payment_pages);
part!(Arc<Latest>, dashboard);
part!(Arc<Scenarios>, scenarios);
part!(Arc<Console>, console);

/// Every route, with who may call it; those for programs describe themselves.
fn routes() -> Routes<Gateway> {
    Routes::new()
        .merge(api::router())
        .merge(demo::router())
        .merge(console::router())
}

/// What the routes say of themselves.
#[cfg(test)]
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// The table of authority.
#[cfg(test)]
fn rows() -> Vec<crate::authority::Row> {
    routes().rows().to_vec()
}

/// Every page and every endpoint.
pub fn router(gateway: Gateway) -> Router {
    let (routes, described) = routes().guarded(&gateway.infra);
    let document = Document::of(&described, gateway.infra.settings.is_demo());
    // One layer of many, the first to see a request first. Laid on one by one, each would
    // box each route, and clone all that is within it for each request.
    let around = (
        middleware::from_fn_with_state(gateway.clone(), outside),
        CompressionLayer::new(),
        middleware::from_fn_with_state(gateway.clone(), inside),
        CatchPanicLayer::custom(problem::of_panic),
        Extension(document),
    );
    routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(around)
        .with_state(gateway)
}

/// Around everything: what a request is called, what is written down of it, and what
/// browsers are told about every answer.
async fn outside(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let access = protection::Access::begin(&mut request);
    let nonce = Nonce::fresh();
    request.extensions_mut().insert(nonce.clone());
    protection::answer_in_any_case(request.headers_mut());
    let mut response = next.run(request).instrument(access.span()).await;
    protection::secure(&gateway.infra, &nonce, response.headers_mut());
    access.end(&mut response);
    response
}

/// Lets a request in, or says why not, in the form that its asker reads.
async fn inside(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let asker = present::look(&mut request);
    let response = match admit(&gateway, request).await {
        Ok((request, _working)) => api::ops::count_request(&gateway.infra, request, next).await,
        Err(problem) => problem.into_response(),
    };
    present::present(&gateway.console, asker, response).await
}

/// The request with all that was sent with it, and its place among those at work.
async fn admit(
    gateway: &Gateway,
    mut request: Request,
) -> Result<(Request, Option<Working>), Problem> {
    let (infra, edge) = (&gateway.infra, &gateway.edge);
    edge::meet(infra, &mut request)?;
    let working = edge.bound_work(infra, &request)?;
    let request = edge.bound_rates(infra, request).await?;
    protection::refuse_cross_site_write(infra, &request)?;
    protection::refuse_encoded_body(&request)?;
    let request = protection::read_whole_body(request).await?;
    Ok((request, working))
}

async fn unknown_path(request: Request) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}: look at /openapi.json for what there is",
        quoted(request.uri().path(), MAX_NAME)
    ))
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        format!(
            "{} does not take {}: the Allow header says what it takes",
            quoted(request.uri().path(), MAX_NAME),
            request.method()
        ),
    )
}

#[cfg(test)]
mod tests;
