//! The shop, or one customer's part of it, at a glance.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::basket::Basket;
use waybill_domain::ids::Username;
use waybill_domain::money::Cents;
use waybill_domain::order::OrderStatus;
use waybill_domain::words::{self, MAX_DETAIL};

use super::demo::{self, ScenarioCard};
use super::lists::{self, OrderRow};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::shell::{order_href, span};
use super::status_style::{self, Chip};
use super::views::Console;
use super::views::View;
use crate::documents::markdown;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::live::LiveHealth;
use crate::shop::dashboard::{self, Dashboard};
use crate::shop::operator::Need;
use crate::shop::processes::{self, Process};
use crate::storage::orders as queries;

/// The newest orders that are listed.
const LATEST: Pagination = Pagination {
    page: 1,
    per_page: 8,
};

/// Everything the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct DashboardPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Whether Restate does not answer.
    pub restate_down: bool,
    /// Which nodes of Restate are away, and what that means, for staff.
    pub nodes_away: Option<String>,
    /// The numbers that matter.
    pub tiles: Vec<Tile>,
    /// Orders by status.
    pub statuses: Vec<StatusBar>,
    /// Whether the reader adds to the stock.
    pub may_restock: bool,
    /// What only staff sees.
    pub shop: Option<Shop>,
    /// The scenarios, in a demo.
    pub scenarios: Option<Vec<ScenarioCard>>,
    /// The newest orders.
    pub latest: Vec<OrderRow>,
}

/// One number.
#[derive(Debug, Clone, Serialize)]
pub struct Tile {
    /// What it counts.
    pub label: &'static str,
    /// The number, in words.
    pub value: String,
    /// What else is to say.
    pub more: Option<String>,
    /// Where more of it is.
    pub href: Option<String>,
}

/// How many orders have a status.
#[derive(Debug, Clone, Serialize)]
pub struct StatusBar {
    /// The status.
    pub status: Chip,
    /// How many.
    pub count: i64,
    /// Length of the bar, 0 to 100.
    pub share: i64,
    /// The list of them.
    pub href: String,
}

/// How the whole shop does.
#[derive(Debug, Clone, Serialize)]
pub struct Shop {
    /// Orders placed in each of the last minutes, oldest first.
    pub minutes: Vec<MinuteBar>,
    /// The most in one minute.
    pub peak: i64,
    /// How many in all these minutes.
    pub placed: i64,
    /// Whether Restate could be asked what is stuck.
    pub asked: bool,
    /// What needs an operator.
    pub needs: Vec<NeedRow>,
    /// How far the read model is behind, in words.
    pub behind: String,
    /// Each process.
    pub health: Vec<HealthRow>,
    /// Products with little stock.
    pub low_stock: Vec<StockRow>,
}

/// Orders placed in one minute.
#[derive(Debug, Clone, Serialize)]
pub struct MinuteBar {
    /// Its beginning.
    pub at: Timestamp,
    /// How many.
    pub count: i64,
    /// Height of the bar, 0 to 100.
    pub height: i64,
}

/// Something for an operator.
#[derive(Debug, Clone, Serialize)]
pub struct NeedRow {
    /// What is the matter.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// Why it failed the last time.
    pub failure: Option<String>,
    /// The order's page.
    pub href: Option<String>,
}

/// How well a process is.
#[derive(Debug, Clone, Serialize)]
pub struct HealthRow {
    /// Which.
    pub name: String,
    /// In a word.
    pub word: &'static str,
    /// In a few more.
    pub detail: String,
    /// Which colour.
    pub family: &'static str,
}

/// A product and its stock.
#[derive(Debug, Clone, Serialize)]
pub struct StockRow {
    /// The catalog's number.
    pub id: i64,
    /// Stock keeping unit.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces that can be sold.
    pub stock: i64,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
}

impl StockRow {
    /// As tables show it.
    pub fn of(id: i64, sku: String, name: String, stock: i64) -> Self {
        let (_, family, icon) = status_style::of_stock(stock);
        Self {
            id,
            sku,
            name,
            stock,
            family,
            icon,
        }
    }
}

/// Bars for counts by status, in the order of an order's life. `list` is the
/// page with the list of orders.
pub fn status_bars(counts: &[(OrderStatus, i64)], list: &str) -> Vec<StatusBar> {
    let most = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    OrderStatus::ALL
        .into_iter()
        .filter_map(|status| {
            let count = counts.iter().find(|(known, _)| *known == status)?.1;
            (count > 0).then(|| StatusBar {
                status: Chip::of(status, None),
                count,
                // What is there is seen, however little it is.
                share: (count * 100 / most).max(1),
                href: lists::href(list, &[("status", status.as_str())]),
            })
        })
        .collect()
}

/// Bars for counts per minute.
pub fn minute_bars(counts: &[(Timestamp, i64)]) -> Vec<MinuteBar> {
    let peak = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    counts
        .iter()
        .map(|(at, count)| MinuteBar {
            at: *at,
            count: *count,
            height: count * 100 / peak,
        })
        .collect()
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    basket: Option<&Basket>,
) -> Result<PageContent, Problem> {
    let page = if viewer.caller.role.is_staff() {
        of_shop(console, viewer, location).await?
    } else {
        of_customer(console, viewer, location, basket).await?
    };
    let document = document(&page);
    Ok(PageContent::new(
        "Dashboard",
        console.views.render(&page)?,
        console.output(location, document)?,
    ))
}

async fn of_customer(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    basket: Option<&Basket>,
) -> Result<DashboardPage, Problem> {
    let user = &viewer.caller.user;
    let counts: Vec<_> = queries::counts(&console.db, Some(user))
        .await?
        .into_iter()
        .filter_map(|(name, count)| Some((OrderStatus::parse(&name)?, count)))
        .collect();
    Ok(DashboardPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        restate_down: basket.is_none() || console.ingress.nodes().majority_is_away(),
        nodes_away: None,
        tiles: tiles_of_customer(&counts, basket),
        statuses: status_bars(&counts, "/orders"),
        may_restock: false,
        shop: None,
        scenarios: demo::scenarios(console, viewer),
        latest: latest(console, Some(user)).await?,
    })
}

async fn of_shop(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<DashboardPage, Problem> {
    let shop = dashboard::current(console, &console.dashboard).await?;
    let counts: Vec<_> = shop
        .orders
        .iter()
        .map(|row| (row.status, row.count))
        .collect();
    let mut nodes = shop.processes.iter().filter(|process| process.is_ingress());
    let nodes_away = processes::nodes_away(console.ingress.nodes());
    let restate_down = nodes.all(|node| !node.up) || console.ingress.nodes().majority_is_away();
    Ok(DashboardPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        restate_down,
        nodes_away,
        tiles: tiles_of_shop(&shop),
        statuses: status_bars(&counts, "/admin"),
        may_restock: viewer.caller.is_admin(),
        shop: Some(Shop::of(&shop)),
        scenarios: demo::scenarios(console, viewer),
        latest: latest(console, None).await?,
    })
}

async fn latest(console: &Console, owner: Option<&Username>) -> Result<Vec<OrderRow>, Problem> {
    let filter = queries::Filter {
        owner: owner.cloned(),
        ..queries::Filter::default()
    };
    let latest = console.orders(filter, LATEST).await?;
    Ok(latest.0.iter().filter_map(OrderRow::of_summary).collect())
}

fn tiles_of_shop(shop: &Dashboard) -> Vec<Tile> {
    let of = |status| {
        let row = shop.orders.iter().find(|row| row.status == status);
        row.map_or(0, |row| row.count)
    };
    let under_way: i64 = shop
        .orders
        .iter()
        .filter(|row| !row.status.is_terminal())
        .map(|row| row.count)
        .sum();
    vec![
        Tile {
            label: "Revenue",
            value: Cents(shop.revenue.captured_cents).to_string(),
            more: Some(format!("{}, captured", shop.revenue.currency)),
            href: None,
        },
        Tile {
            label: "Orders",
            value: shop.total.to_string(),
            more: Some(format!("{under_way} under way")),
            href: Some("/admin#all-orders".to_owned()),
        },
        Tile {
            label: "Waiting for approval",
            value: of(OrderStatus::AwaitingApproval).to_string(),
            more: None,
            href: Some("/admin".to_owned()),
        },
        Tile {
            label: "Median time to deliver",
            value: shop
                .delivery
                .median_ms
                .map_or_else(|| "–".to_owned(), |ms| span(ms.into())),
            more: Some(match shop.delivery.p95_ms {
                Some(ms) => format!("95 of 100 within {}", span(ms.into())),
                None => "nothing delivered yet".to_owned(),
            }),
            href: Some("/admin?status=delivered#all-orders".to_owned()),
        },
    ]
}

impl Shop {
    fn of(shop: &Dashboard) -> Self {
        let counts: Vec<_> = shop
            .orders_per_minute
            .iter()
            .map(|minute| (minute.at, minute.orders))
            .collect();
        Self {
            minutes: minute_bars(&counts),
            peak: counts.iter().map(|(_, count)| *count).max().unwrap_or(0),
            placed: counts.iter().map(|(_, count)| count).sum(),
            asked: shop.restate_asked,
            needs: shop.needs_operator.iter().map(NeedRow::of).collect(),
            behind: behind(&shop.read_model),
            health: shop.processes.iter().map(HealthRow::of).collect(),
            low_stock: shop
                .low_stock
                .iter()
                .map(|row| StockRow::of(row.id, row.sku.clone(), row.name.clone(), row.stock_qty))
                .collect(),
        }
    }
}

/// How far the read model is behind, in words.
fn behind(live: &LiveHealth) -> String {
    match live.behind_ms {
        None => "not compared with Restate yet".to_owned(),
        Some(..1_000) if live.sources.iter().all(|source| source.connected) => {
            "up to date".to_owned()
        }
        Some(millis) => format!("{} behind", span(millis.into())),
    }
}

impl NeedRow {
    fn of(need: &Need) -> Self {
        let failure = need
            .invocation
            .as_ref()
            .and_then(|it| it.last_failure.as_deref())
            .map(|failure| words::bounded(failure, MAX_DETAIL));
        Self {
            what: need.what.clone(),
            todo: need.todo.clone(),
            failure,
            href: need.order_id.as_deref().map(order_href),
        }
    }
}

impl HealthRow {
    fn of(process: &Process) -> Self {
        Self {
            name: {
                let (name, number) = match process.name.split_once(' ') {
                    Some((name, number)) => (name, format!(" {number}")),
                    None => (process.name.as_str(), String::new()),
                };
                let name = match name {
                    "gateway" => "Gateway",
                    "restate" => "Restate",
                    "restate-admin" => "Restate's admin API",
                    "services" => "Services",
                    "sandbox" => "Sandbox",
                    other => other,
                };
                format!("{name}{number}")
            },
            word: if process.up { "well" } else { "down" },
            detail: process
                .detail
                .clone()
                .unwrap_or_else(|| process.url.clone()),
            family: if process.up { "done" } else { "failed" },
        }
    }
}

fn tiles_of_customer(counts: &[(OrderStatus, i64)], basket: Option<&Basket>) -> Vec<Tile> {
    let sum = |wanted: fn(OrderStatus) -> bool| -> i64 {
        counts
            .iter()
            .filter(|(status, _)| wanted(*status))
            .map(|(_, count)| count)
            .sum()
    };
    let tile = |label, value: i64, href: &str| Tile {
        label,
        value: value.to_string(),
        more: None,
        href: Some(href.to_owned()),
    };
    let mut tiles = vec![
        tile(
            "To be paid",
            sum(|status| status == OrderStatus::AwaitingPayment),
            "/orders?status=awaiting_payment",
        ),
        tile("Under way", sum(|status| !status.is_terminal()), "/orders"),
        tile(
            "Delivered",
            sum(|status| status == OrderStatus::Delivered),
            "/orders?status=delivered",
        ),
    ];
    if let Some(basket) = basket {
        tiles.push(Tile {
            label: "In the cart",
            value: basket.subtotal_cents.to_string(),
            more: Some(match basket.pieces() {
                1 => "1 piece".to_owned(),
                pieces => format!("{pieces} pieces"),
            }),
            href: Some("/cart".to_owned()),
        });
    }
    tiles
}

/// The dashboard as a Markdown document.
fn document(page: &DashboardPage) -> String {
    let tiles = page
        .tiles
        .iter()
        .map(|tile| (tile.label, tile.value.as_str()));
    let bars = page
        .statuses
        .iter()
        .map(|bar| (bar.status.label.as_str(), bar.count));
    markdown::dashboard(tiles, bars)
}

impl View for DashboardPage {
    const TEMPLATE: &'static str = "dashboard.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Sample, orders, samples};

    impl Sample for DashboardPage {
        fn samples() -> Vec<Self> {
            let tile = |href: Option<&str>| Tile {
                label: "Delivered",
                value: "12".into(),
                more: href.map(|_| "today".to_owned()),
                href: href.map(str::to_owned),
            };
            let minutes: Vec<_> = (0..30).map(|n| (samples::at(n * 60), n % 5)).collect();
            let shop = |asked, needs| Shop {
                minutes: minute_bars(&minutes),
                peak: 4,
                placed: 60,
                asked,
                needs,
                behind: "up to date".into(),
                health: vec![HealthRow {
                    name: "Gateway".into(),
                    word: "well",
                    detail: "0.1.0".into(),
                    family: "done",
                }],
                low_stock: vec![StockRow::of(1, "P001".into(), "Kettle".into(), 2)],
            };
            let need = NeedRow {
                what: "UserSession/alice/Settle is paused".into(),
                todo: "mend it, then run `restate invocations resume inv_1`".into(),
                failure: Some("<boom>".into()),
                href: Some("/orders/alice.1".into()),
            };
            let customer = Self {
                tab: "input",
                key: "seed".into(),
                restate_down: true,
                nodes_away: None,
                tiles: vec![tile(None), tile(Some("/orders"))],
                statuses: status_bars(
                    &[(OrderStatus::Delivered, 300), (OrderStatus::Shipping, 1)],
                    "/orders",
                ),
                may_restock: false,
                shop: None,
                scenarios: None,
                latest: orders::tests::rows(),
            };
            let plain = NeedRow {
                failure: None,
                href: None,
                ..need.clone()
            };
            let shops = [(false, vec![]), (true, vec![]), (true, vec![need, plain])].map(
                |(asked, needs)| Self {
                    restate_down: false,
                    nodes_away: Some("1 of 3 nodes of Restate is away: http://127.0.0.1:8082 (it does not answer). Orders go on at the others: start it again before another fails.".to_owned()),
                    may_restock: asked,
                    shop: Some(shop(asked, needs)),
                    scenarios: Some(demo::tests::cards()),
                    ..customer.clone()
                },
            );
            let empty = Self {
                statuses: vec![],
                latest: vec![],
                ..customer.clone()
            };
            [customer, empty].into_iter().chain(shops).collect()
        }
    }

    #[test]
    fn bars_are_in_the_order_of_an_orders_life_and_never_invisible() {
        let bars = status_bars(
            &[
                (OrderStatus::Delivered, 1000),
                (OrderStatus::AwaitingPayment, 1),
                (OrderStatus::Cancelled, 0),
            ],
            "/orders",
        );
        let seen: Vec<_> = bars
            .iter()
            .map(|bar| (bar.status.name, bar.share))
            .collect();
        assert_eq!(seen, [("awaiting_payment", 1), ("delivered", 100)]);
        assert_eq!(bars[0].href, "/orders?status=awaiting_payment");
    }
}
