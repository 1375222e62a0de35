//! The whole gateway: what each feature remembers, and the one router, which
//! alone knows all of them.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, Request};
use axum::http::StatusCode;
use axum::{Extension, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::api::openapi::Document;
use crate::authority::Routes;
use crate::console::{Console, Views};
use crate::demo::Scenarios;
use crate::edge::{self, Edge};
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
part!(Arc<Edge>, edge);

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
    let state = || gateway.clone();
    // One layer of many, the first to see a request first. Laid on one by one, each would
    // box each route, and clone all that is within it for each request.
    let around = (
        middleware::from_fn(protection::log_access),
        middleware::from_fn_with_state(state(), protection::secure),
        middleware::from_fn(protection::answer_in_any_case),
        CompressionLayer::new(),
        middleware::from_fn_with_state(state(), console::present::present),
        middleware::from_fn_with_state(state(), edge::meet),
        middleware::from_fn_with_state(state(), edge::bound_work),
        middleware::from_fn_with_state(state(), edge::bound_rates::<Gateway>),
        middleware::from_fn_with_state(state(), protection::refuse_cross_site_writes),
        middleware::from_fn(protection::refuse_encoded_bodies),
        middleware::from_fn(protection::read_whole_bodies),
        middleware::from_fn_with_state(state(), api::ops::count_request),
        CatchPanicLayer::custom(problem::of_panic),
        Extension(document),
    );
    routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(around)
        .with_state(gateway)
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
