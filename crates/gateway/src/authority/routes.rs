//! The only way to add a route, and what asks its row before the handler is run.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use process::bearer;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, SecurityRequirement};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::Allow;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Scope};
use crate::infra::{Infra, Shared};
use crate::settings::Settings;

/// Routes, each with its row. `S` is the state of the handlers.
pub struct Routes<S> {
    router: OpenApiRouter<S>,
    rows: Vec<Row>,
}

impl<S> Default for Routes<S>
where
    S: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The method; GET is HEAD, too.
    pub method: Method,
    /// The path, with `{id}` and the like.
    pub path: String,
    /// Who may.
    pub allow: Allow,
}

impl<S> Routes<S>
where
    S: Clone + Send + Sync + 'static,
{
    /// None yet.
    pub fn new() -> Self {
        Self {
            router: OpenApiRouter::new(),
            rows: Vec::new(),
        }
    }

    /// Adds what `routes!` makes of handlers: routes for programs, which describe
    /// themselves. The row is in their description, too.
    #[must_use]
    pub fn routes(mut self, allow: Allow, routes: UtoipaMethodRouter<S, Infallible>) -> Self {
        let (schemas, mut paths, handlers) = routes;
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                operation.security = Some(vec![SecurityRequirement::new(
                    allow.as_str(),
                    <[&str; 0]>::default(),
                )]);
                self.rows.push(Row {
                    method,
                    path: path.clone(),
                    allow,
                });
            }
        }
        self.router = self.router.routes((schemas, paths, handlers));
        self
    }

    /// Adds a page or a file, which is for browsers and not described.
    #[must_use]
    pub fn page<H, T>(mut self, allow: Allow, path: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.rows.push(Row {
            method: Method::GET,
            path: path.to_owned(),
            allow,
        });
        self.router = self.router.route(path, get(handler));
        self
    }

    /// Adds all of another feature's.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        self.router = self.router.merge(other.router);
        self
    }

    /// The rows, in the order in which they were declared.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A router that asks each request's row before its handler, and what the routes
    /// say of themselves. Whatever is laid around it later comes before that.
    pub fn guarded(self, infra: &Shared) -> (Router<S>, OpenApi) {
        let (router, described) = self.router.split_for_parts();
        (guard(router, &self.rows, infra), described)
    }

    /// What the routes say of themselves.
    #[cfg(test)]
    pub fn into_openapi(self) -> OpenApi {
        self.router.into_openapi()
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::OPTIONS, item.options.as_mut()),
        (Method::HEAD, item.head.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::TRACE, item.trace.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation?)))
}

/// The rows, by path and method.
#[derive(Debug)]
pub struct Table(HashMap<String, Vec<(Method, Allow)>>);

impl Table {
    /// Of these rows.
    pub fn of(rows: &[Row]) -> Self {
        let mut table: HashMap<String, Vec<_>> = HashMap::new();
        for row in rows {
            let methods = table.entry(row.path.clone()).or_default();
            methods.push((row.method.clone(), row.allow));
        }
        Self(table)
    }

    /// The row of a route. HEAD is answered by GET's handler, where it has none.
    fn row(&self, method: &Method, path: &str) -> Option<Allow> {
        let methods = self.0.get(path)?;
        let of = |method: &Method| {
            let row = methods.iter().find(|(known, _)| known == method);
            row.map(|(_, allow)| *allow)
        };
        of(method).or_else(|| (method == Method::HEAD).then(|| of(&Method::GET))?)
    }
}

/// The same router, which asks the rows before its handlers.
fn guard<S>(router: Router<S>, rows: &[Row], infra: &Shared) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let guard = Guard {
        table: Arc::new(Table::of(rows)),
        infra: Arc::clone(infra),
    };
    router.route_layer(middleware::from_fn_with_state(guard, enforce))
}

#[derive(Clone)]
struct Guard {
    table: Arc<Table>,
    infra: Shared,
}

impl FromRef<Guard> for Shared {
    fn from_ref(guard: &Guard) -> Self {
        Arc::clone(&guard.infra)
    }
}

/// Runs the handler of a route if the route's row allows it to the caller.
async fn enforce(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&guard, &mut parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refused) => refused,
    }
}

async fn admit(guard: &Guard, parts: &mut Parts) -> Result<(), Response> {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let allow = guard.table.row(&parts.method, path).ok_or_else(|| {
        let cause = format!("{} {path} has no row in the table", parts.method);
        Problem::internal(cause).into_response()
    })?;
    let is_passed = is_passed(allow, &guard.infra, &parts.headers);
    if is_passed.map_err(Problem::into_response)? {
        return Ok(());
    }
    let caller = Caller::from_request_parts(parts, guard)
        .await
        .map_err(Problem::into_response)?;
    if caller.scope == Scope::Read && !parts.method.is_safe() {
        return Err(Problem::forbidden(
            "this API token may only read: use one whose scope is full",
        )
        .into_response());
    }
    let order = if allow.is_of_an_order() {
        let params = RawPathParams::from_request_parts(parts, guard).await;
        let params = params.map_err(axum::response::IntoResponse::into_response)?;
        let id = params.iter().find(|(name, _)| *name == "id");
        id.map(|(_, id)| id.to_owned())
    } else {
        None
    };
    allow
        .check(&guard.infra.settings, &caller, order.as_deref())
        .map_err(Problem::into_response)
}

/// What a row says before anybody is asked who they are: whether all are let by.
fn is_passed(allow: Allow, infra: &Infra, headers: &HeaderMap) -> Result<bool, Problem> {
    let is_demo = infra.settings.is_demo();
    if allow.is_of_a_demo() && !is_demo {
        return Err(Problem::not_found(
            "there is no world panel: it exists in demo mode only (AUTH_MODE=demo)",
        ));
    }
    let is_operator = || is_operator(&infra.settings, headers);
    Ok(allow.is_open() || (allow == Allow::Operator && is_operator()))
}

/// Whether an operator asks: they know `INTERNAL_TOKEN`. In a demo everybody is one.
pub fn is_operator(settings: &Settings, headers: &HeaderMap) -> bool {
    let token = settings.internal_token();
    settings.is_demo() || token.is_some_and(|token| bearer::brings(headers, &[token]))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use clap::Parser;
    use tower::ServiceExt as _;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[tokio::test]
    async fn a_route_without_a_row_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}/waybill.db", folder.path().display());
        let line = [
            "gateway",
            "--auth-mode",
            "demo",
            "--database-url",
            &database,
        ];
        let infra = Infra::open(Line::try_parse_from(line).unwrap().settings)
            .await
            .unwrap();
        let router: Router = Router::new()
            .route("/forgotten", get(async || "done").post(async || "done"))
            .route("/open", get(async || "done").post(async || "done"));
        let rows = [Row {
            method: Method::GET,
            path: "/open".to_owned(),
            allow: Allow::Anybody,
        }];
        // As the whole router does: what no handler takes is not asked of the table.
        let router = guard(router, &rows, &infra)
            .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED);
        for (method, path, status) in [
            ("GET", "/forgotten", 500),
            ("POST", "/forgotten", 500),
            ("POST", "/open", 500),
            ("GET", "/open", 200),
            ("HEAD", "/open", 200),
            ("PUT", "/open", 405),
            ("GET", "/nothing", 404),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("x-user-id", "admin");
            let request = request.body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        }
    }
}
