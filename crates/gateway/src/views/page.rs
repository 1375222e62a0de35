//! Pages: where a browser is, what is loaded for it, and the regions that are
//! painted. A page's first paint and its stream go the same way, so what is
//! seen after a reload is what was seen before it.

use axum::Router;
use axum::extract::FromRef;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::future;
use waybill_domain::Timestamp;
use waybill_domain::basket::Basket;
use waybill_domain::ids::OrderId;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::words::{MAX_NAME, quoted};

use super::journal::{self, Journal};
use super::responses::LoginPage;
use super::shell::{
    Announce, Bell, Layout, Link, Nav, NotificationItem, Notifications, Output, Persona, Regions,
    Title, Workflow, WorkflowOrder,
};
use super::{admin, cart, dashboard, load, order, orders, products};
use std::sync::Arc;

use super::Console;
use crate::auth::OptionalCaller;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::local_path;
use crate::http::nonce::Nonce;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::notifications;

/// Longest text to search for.
const MAX_Q: usize = 100;

/// Where a browser is.
#[derive(Debug, Clone)]
pub struct Location {
    /// Which page.
    pub kind: Kind,
    /// Its address without a query.
    path: String,
    /// Its address with its query, but without the tab.
    address: String,
    query: Fields,
    /// Which tab is open.
    pub tab: &'static str,
}

/// The pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `/`
    Dashboard,
    /// `/products`
    Products,
    /// `/cart`
    Cart,
    /// `/orders`
    Orders,
    /// `/orders/{id}`
    Order(OrderId),
    /// `/admin`
    Admin,
}

impl Kind {
    fn of(path: &str) -> Result<Self, Problem> {
        Ok(match path {
            "/" => Self::Dashboard,
            "/products" => Self::Products,
            "/cart" => Self::Cart,
            "/orders" => Self::Orders,
            "/admin" => Self::Admin,
            other => match other.strip_prefix("/orders/").map(OrderId::parse) {
                Some(Ok(id)) => Self::Order(id),
                Some(Err(refusal)) => {
                    return Err(Problem::not_found(format!(
                        "there is no such order: {refusal}"
                    )));
                }
                None => {
                    let other = quoted(other, MAX_NAME);
                    return Err(Problem::not_found(format!("there is no page {other}")));
                }
            },
        })
    }

    /// The navigation's name for it.
    fn nav(&self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Products => "products",
            Self::Cart => "cart",
            Self::Orders | Self::Order(_) => "orders",
            Self::Admin => "admin",
        }
    }
}

impl Location {
    /// From path and query, e.g. `/orders?status=delivered&tab=output`.
    pub fn parse(address: &str) -> Result<Self, Problem> {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let fields = Fields::from_form(query.as_bytes());
        let mut kept = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "tab" && name != "journal" {
                kept.append_pair(&name, &value);
            }
        }
        let kept = kept.finish();
        let tab = match fields.word("tab", 16)?.as_deref() {
            Some("output") => "output",
            _ => "input",
        };
        Ok(Self {
            kind: Kind::of(path)?,
            path: path.to_owned(),
            address: if kept.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{kept}")
            },
            query: fields,
            tab,
        })
    }

    /// The product list that a query asks for.
    pub(super) fn of_products(query: Fields) -> Self {
        let path = "/products".to_owned();
        Self {
            kind: Kind::Products,
            address: path.clone(),
            path,
            query,
            tab: "input",
        }
    }

    fn with_tab(&self, tab: &str) -> String {
        let joint = if self.address.contains('?') { '&' } else { '?' };
        format!("{}{joint}tab={tab}", self.address)
    }

    /// The page's stream.
    fn stream(&self) -> String {
        let at = if self.tab == "output" {
            self.with_tab("output")
        } else {
            self.address.clone()
        };
        let at: String = form_urlencoded::byte_serialize(at.as_bytes()).collect();
        format!("/stream/page?at={at}")
    }

    /// What is searched for.
    pub(super) fn q(&self) -> Result<Option<String>, Problem> {
        self.word("q")
    }

    /// A short text of the query.
    pub(super) fn word(&self, name: &str) -> Result<Option<String>, Problem> {
        self.query.text(name, MAX_Q)
    }

    /// The page of a list.
    pub(super) fn number(&self, per_page: u32) -> Result<Pagination, Problem> {
        let mut page = Pagination::from_fields(&self.query, per_page)?;
        // Pages have one length; only the API chooses.
        page.per_page = per_page;
        Ok(page)
    }

    /// The status that is shown.
    pub(super) fn status(&self) -> Result<Option<OrderStatus>, Problem> {
        let name = self.query.word("status", 32)?;
        name.map(|name| {
            OrderStatus::parse(&name).ok_or_else(|| {
                let name = quoted(&name, MAX_NAME);
                Problem::invalid(
                    "status",
                    format!("there is no status '{name}': choose one of the list"),
                )
            })
        })
        .transpose()
    }
}

/// Who looks, and how they reach us.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Who is signed in.
    pub caller: Caller,
    /// This gateway as the browser names it, e.g. `http://localhost:8080`.
    pub base: String,
    /// Beginning of the idempotency keys of the forms: new for each page, the
    /// same for as long as a stream lives, so that a stream sends a form again
    /// only when it has changed.
    pub seed: String,
}

impl Viewer {
    /// Of a request.
    pub fn of(caller: Caller, headers: &HeaderMap) -> Self {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost:8080");
        let scheme = match headers.get("x-forwarded-proto") {
            Some(scheme) if scheme == "https" => "https",
            _ => "http",
        };
        Self {
            caller,
            base: format!("{scheme}://{host}"),
            seed: hex::encode(rand::random::<[u8; 8]>()),
        }
    }
}

/// A page's middle, and what the rest of the page takes from it.
pub(super) struct PageContent {
    /// What the page is.
    pub heading: String,
    /// The order's status, for the title.
    pub status: Option<String>,
    /// The page one level up.
    pub parent: Option<Link>,
    /// `#input`
    pub input: String,
    /// The Markdown document of the Output tab.
    pub document: String,
    /// The order whose workflow is shown.
    pub order: Option<OrderRecord>,
}

impl PageContent {
    /// Of a page about no order in particular.
    pub(super) fn new(heading: &str, input: String, document: String) -> Self {
        Self {
            heading: heading.to_owned(),
            status: None,
            parent: None,
            input,
            document,
            order: None,
        }
    }
}

/// A painted page.
#[derive(Debug, Clone)]
pub struct RenderedPage {
    heading: String,
    parent: Option<Link>,
    /// Its regions.
    pub regions: Regions,
    /// Where a stream that is interrupted goes on with the notifications.
    pub cursor: Option<String>,
}

/// Paints a page. `after` is the cursor of the picture before it.
pub async fn paint(
    console: &Console,
    viewer: &Viewer,
    place: &Location,
    after: Option<&str>,
) -> Result<RenderedPage, Problem> {
    let caller = &viewer.caller;
    if place.kind == Kind::Admin && !caller.is_admin() {
        return Err(Problem::forbidden(
            "this page is for admins: sign in as one",
        ));
    }
    let (basket, pane, waiting, personas) = future::join4(
        console.live.basket_soon(&caller.user),
        notifications::pane(console, caller, after),
        load::waiting(console, caller),
        personas(console),
    )
    .await;
    let (pane, waiting) = (pane?, waiting?);
    let middle = middle(console, viewer, place, basket.as_ref()).await?;
    let workflow = workflow(console, viewer, middle.order.as_ref()).await?;
    let announced = pane
        .notifications
        .iter()
        .find(|told| told.is_new)
        .map(|told| told.text.clone());

    let views = &console.views;
    let regions = Regions {
        title: views.render(&Title {
            heading: middle.heading.clone(),
            status: middle.status,
            unread: pane.unread,
        })?,
        nav: views.render(&Nav {
            page: place.kind.nav(),
            user: caller.user.to_string(),
            is_admin: caller.is_admin(),
            cart: basket.as_ref().map_or(0, Basket::pieces),
            waiting,
            personas: personas?
                .into_iter()
                .filter(|persona| persona.username != caller.user.as_str())
                .collect(),
        })?,
        bell: views.render(&Bell {
            unread: pane.unread,
        })?,
        input: middle.input,
        output: views.render(&Output::of(place.tab, middle.document))?,
        notifications: views.render(&Notifications {
            unread: pane.unread,
            items: pane
                .notifications
                .into_iter()
                .map(NotificationItem::of)
                .collect(),
            key: format!("{}-read", viewer.seed),
        })?,
        workflow: views.render(&workflow)?,
        journal: views.render(&journal_at_first(place))?,
        announce: views.render(&Announce {
            text: announced.unwrap_or_default(),
        })?,
    };
    Ok(RenderedPage {
        heading: middle.heading,
        parent: middle.parent,
        regions,
        cursor: pane.cursor,
    })
}

async fn personas(console: &Console) -> Result<Vec<Persona>, Problem> {
    if !console.settings.is_demo() {
        return Ok(Vec::new());
    }
    let personas = crate::storage::users::personas(&console.db).await?;
    Ok(personas
        .into_iter()
        .map(|(username, role)| Persona {
            username,
            is_admin: role == crate::identity::caller::Role::Admin,
        })
        .collect())
}

/// The workflow of the page's order; elsewhere of the newest one under way.
async fn workflow(
    console: &Console,
    viewer: &Viewer,
    order: Option<&OrderRecord>,
) -> Result<Workflow, Problem> {
    let newest = match order {
        Some(_) => None,
        None => load::newest_open(console, &viewer.caller).await?,
    };
    let Some(record) = order.or(newest.as_ref()) else {
        return Ok(Workflow { order: None });
    };
    let retries = console.admin_api.retry_count(&record.order_id).await;
    Ok(Workflow {
        order: Some(WorkflowOrder::of(record, retries)),
    })
}

fn journal_at_first(place: &Location) -> Journal {
    match &place.kind {
        Kind::Order(_) => Journal {
            state: Some("loading"),
            href: format!("{}?journal=1", place.path),
            calls: Vec::new(),
        },
        _ => Journal::default(),
    }
}

async fn middle(
    console: &Console,
    viewer: &Viewer,
    place: &Location,
    basket: Option<&Basket>,
) -> Result<PageContent, Problem> {
    match &place.kind {
        Kind::Dashboard => dashboard::middle(console, viewer, place, basket).await,
        Kind::Products => products::middle(console, viewer, place).await,
        Kind::Cart => cart::middle(console, viewer, place, basket).await,
        Kind::Orders => orders::middle(console, viewer, place).await,
        Kind::Order(id) => order::middle(console, viewer, place, id).await,
        Kind::Admin => admin::middle(console, viewer, place).await,
    }
}

/// Every page.
pub(super) fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Console>: FromRef<S>,
    Shared: FromRef<S>,
{
    Router::new()
        .route("/", get(show))
        .route("/products", get(show))
        .route("/cart", get(show))
        .route("/orders", get(show))
        .route("/orders/{id}", get(show))
        .route("/admin", get(show))
        .route("/login", get(login))
}

async fn show(
    State(console): State<Arc<Console>>,
    caller: Caller,
    nonce: Nonce,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Html<String>, Problem> {
    let address = uri.path_and_query().map_or("/", |address| address.as_str());
    let place = Location::parse(address)?;
    let viewer = Viewer::of(caller, &headers);
    let mut picture = paint(&console, &viewer, &place, None).await?;
    // Without JavaScript nobody fetches the journal later.
    if let Kind::Order(id) = &place.kind
        && place.query.word("journal", 8)?.is_some()
    {
        picture.regions.journal = console
            .views
            .render(&journal::of_order(&console, id).await)?;
    }
    let html = console.views.render(&Layout {
        nonce: nonce.as_str(),
        now_ms: Timestamp::now().as_millisecond(),
        stream: place.stream(),
        parent: picture.parent,
        heading: &picture.heading,
        tab: place.tab,
        input_href: place.address.clone(),
        output_href: place.with_tab("output"),
        regions: &picture.regions,
    })?;
    Ok(Html(html))
}

struct Next(String);

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

async fn login(
    State(console): State<Arc<Console>>,
    OptionalCaller(caller): OptionalCaller,
    nonce: Nonce,
    InQuery(Next(next)): InQuery<Next>,
) -> Result<Response, Problem> {
    if caller.is_some() {
        return Ok(Redirect::to(&next).into_response());
    }
    let html = console.views.render(&LoginPage {
        nonce: nonce.as_str().to_owned(),
        problem: None,
        personas: personas(&console).await?,
        next,
        username: String::new(),
    })?;
    Ok(Html(html).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_place() {
        let place = Location::parse("/orders?status=delivered&tab=output&q=a+b").unwrap();
        assert_eq!(place.kind, Kind::Orders);
        assert_eq!(place.tab, "output");
        assert_eq!(place.address, "/orders?status=delivered&q=a+b");
        assert_eq!(place.status().unwrap(), Some(OrderStatus::Delivered));
        assert_eq!(
            place.stream(),
            "/stream/page?at=%2Forders%3Fstatus%3Ddelivered%26q%3Da%2Bb%26tab%3Doutput"
        );
        let place = Location::parse("/orders/alice.order-1").unwrap();
        assert_eq!(place.kind.nav(), "orders");
        assert_eq!(place.stream(), "/stream/page?at=%2Forders%2Falice.order-1");
    }

    #[test]
    fn no_page_is_a_404_and_a_wrong_filter_a_400() {
        for address in ["/nothing", "//evil", "/orders/no-owner", ""] {
            assert_eq!(
                Location::parse(address).err().unwrap().status,
                404,
                "{address}"
            );
        }
        let place = Location::parse("/orders?status=lost&page=0").unwrap();
        assert_eq!(
            place.status().err().unwrap().field.as_deref(),
            Some("status")
        );
        assert_eq!(
            place.number(25).err().unwrap().field.as_deref(),
            Some("page")
        );
    }
}
