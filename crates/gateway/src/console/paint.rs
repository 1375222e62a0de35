//! What is loaded for a page, and the regions that are painted. A page's first
//! paint and its stream go the same way, so what is seen after a reload is what
//! was seen before it.

use futures::future;
use waybill_domain::basket::Basket;
use waybill_domain::order::OrderRecord;

use super::journal::Journal;
use super::location::{Kind, Location};
use super::page::{PageContent, Viewer};
use super::shell::{Announce, Bell, Link, Nav, Regions, Title, Workflow, WorkflowOrder};
use super::views::Console;
use super::{
    account, admin, audit, cart, catalog, dashboard, load, order, orders, people, products,
};
use crate::http::problem::Problem;

/// A painted page.
#[derive(Debug, Clone)]
pub struct RenderedPage {
    pub(super) heading: String,
    pub(super) parent: Option<Link>,
    /// Its regions.
    pub regions: Regions,
    /// Where a stream that is interrupted goes on with the notifications.
    pub cursor: Option<String>,
}

/// Paints a page. `after` is the cursor of the page that was painted before.
pub async fn paint(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    after: Option<&str>,
) -> Result<RenderedPage, Problem> {
    let caller = &viewer.caller;
    location.kind.check(&console.settings, caller)?;
    let (basket, pane, waiting, personas) = future::join4(
        console.live.basket_soon(&caller.user),
        load::pane(console, caller, after),
        load::waiting(console, caller),
        load::personas(console),
    )
    .await;
    let (pane, waiting) = (pane?, waiting?);
    let content = content(console, viewer, location, basket.as_ref()).await?;
    let workflow = workflow(console, viewer, content.order.as_ref()).await?;

    let views = &console.views;
    let regions = Regions {
        title: views.render(&Title {
            heading: content.heading.clone(),
            status: content.status,
            unread: pane.unread,
        })?,
        nav: views.render(&Nav {
            page: location.kind.nav(),
            user: caller.user.to_string(),
            role: caller.role.as_str(),
            desk: admin::name_for(caller.role),
            people: caller.is_admin(),
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
        input: content.input,
        output: content.output,
        notifications: pane.painted.of(&viewer.seed),
        workflow: views.render(&workflow)?,
        journal: views.render(&journal_at_first(location))?,
        announce: views.render(&Announce { text: pane.news })?,
    };
    Ok(RenderedPage {
        heading: content.heading,
        parent: content.parent,
        regions,
        cursor: pane.cursor,
    })
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
    let Some(record) = order.or(newest.as_deref()) else {
        return Ok(Workflow { order: None });
    };
    let retries = console.admin_api.retry_count(&record.order_id).await;
    Ok(Workflow {
        order: Some(WorkflowOrder::of(record, retries)),
    })
}

fn journal_at_first(location: &Location) -> Journal {
    match &location.kind {
        Kind::Order(_) => Journal {
            state: Some("loading"),
            href: format!("{}?journal=1", location.path),
            calls: Vec::new(),
        },
        _ => Journal::default(),
    }
}

async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    basket: Option<&Basket>,
) -> Result<PageContent, Problem> {
    match &location.kind {
        Kind::Dashboard => dashboard::content(console, viewer, location, basket).await,
        Kind::Products => products::content(console, viewer, location).await,
        Kind::Cart => cart::content(console, viewer, location, basket).await,
        Kind::Orders => orders::content(console, viewer, location).await,
        Kind::Order(id) => order::content(console, viewer, location, id).await,
        Kind::Admin => admin::content(console, viewer, location).await,
        Kind::Audit => audit::content(console, viewer, location).await,
        Kind::Catalog => catalog::list(console, viewer, location).await,
        Kind::Product(sku) => catalog::one(console, viewer, location, sku).await,
        Kind::Zones => catalog::zones(console, viewer, location).await,
        Kind::Import => catalog::import(console, viewer, location).await,
        Kind::People => people::list(console, viewer, location).await,
        Kind::Person(user) => people::one(console, viewer, location, user).await,
        Kind::Account => account::content(console, viewer, location).await,
    }
}
