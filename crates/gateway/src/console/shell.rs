//! What stands around the content of every page: navigation, bell, notifications,
//! workflow metadata, and the tabs' Output.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::order::OrderRecord;

use super::status_style::{self, Chip};
use super::views::View;
use crate::documents::markdown;
use crate::storage::notifications::NotificationView;

/// The document around a page's regions.
#[derive(Debug, Serialize)]
pub struct Layout<'a> {
    /// For `<script nonce>`.
    pub nonce: &'a str,
    /// Whether clicks begin traces: somebody collects them.
    pub is_traced: bool,
    /// The server's clock, for those who have a wrong one.
    pub now_ms: i64,
    /// Where the page's stream is.
    pub stream: String,
    /// The page one level up.
    pub parent: Option<Link>,
    /// What the page is.
    pub heading: &'a str,
    /// Which tab is open: `input` or `output`.
    pub tab: &'static str,
    /// The page with its Input open.
    pub input_href: String,
    /// The page with its Output open.
    pub output_href: String,
    /// The page's parts, rendered.
    pub regions: &'a Regions,
}

/// A page's parts, each of which a stream can replace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Regions {
    /// `<title>`
    pub title: String,
    /// `#nav`
    pub nav: String,
    /// `#bell`
    pub bell: String,
    /// `#input`
    pub input: String,
    /// `#output`
    pub output: String,
    /// `#notifications`
    pub notifications: String,
    /// `#workflow`
    pub workflow: String,
    /// `#journal`
    pub journal: String,
    /// `#announce`
    pub announce: String,
}

/// A link.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    /// Where it leads.
    pub href: String,
    /// What it says.
    pub label: String,
}

/// The document's title, which tells the status too.
#[derive(Debug, Clone, Serialize)]
pub struct Title {
    /// What the page is.
    pub heading: String,
    /// The order's status, on an order's page.
    pub status: Option<String>,
    /// Unread notifications.
    pub unread: i64,
}

/// The navigation.
#[derive(Debug, Clone, Serialize)]
pub struct Nav {
    /// The page that is open, by its icon's name.
    pub page: &'static str,
    /// Who is signed in.
    pub user: String,
    /// Their role.
    pub role: &'static str,
    /// What the page of the shop's staff is called for them; customers have none.
    pub desk: Option<&'static str>,
    /// Whether they look after the people.
    pub people: bool,
    /// Pieces in the cart.
    pub cart: u32,
    /// Orders that wait for a decision.
    pub waiting: i64,
    /// Whom a demo's visitor can be instead.
    pub personas: Vec<Persona>,
}

/// Somebody a demo's visitor can be with one click.
#[derive(Debug, Clone, Serialize)]
pub struct Persona {
    /// User name.
    pub username: String,
    /// What their role lets one try.
    pub does: &'static str,
}

/// The button that opens the right pane on small screens.
#[derive(Debug, Clone, Serialize)]
pub struct Bell {
    /// Unread notifications.
    pub unread: i64,
}

/// What screen readers are told when something has happened.
#[derive(Debug, Clone, Serialize)]
pub struct Announce {
    /// The words; empty at first.
    pub text: String,
}

/// The notification pane.
#[derive(Debug, Clone, Serialize)]
pub struct Notifications {
    /// Newest first.
    pub items: Vec<NotificationItem>,
    /// How many are not read.
    pub unread: i64,
    /// Idempotency key of the form.
    pub key: String,
}

/// One notification.
#[derive(Debug, Clone, Serialize)]
pub struct NotificationItem {
    /// Its id.
    pub id: String,
    /// The words.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Whether it was marked as read.
    pub read: bool,
    /// The order's page.
    pub href: Option<String>,
    /// The order's id, full.
    pub order_id: Option<String>,
    /// The order's id as its customer calls it.
    pub order: Option<String>,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
}

impl NotificationItem {
    /// As the pane shows it.
    pub fn of(told: NotificationView) -> Self {
        let (family, icon) = status_style::of_kind(&told.kind);
        Self {
            id: told.id,
            text: told.text,
            at: told.at,
            read: told.read,
            href: told.order_id.as_deref().map(order_href),
            order: told.order_id.as_deref().map(|id| short(id).to_owned()),
            order_id: told.order_id,
            family,
            icon,
        }
    }
}

/// The workflow metadata of an order.
#[derive(Debug, Clone, Serialize)]
pub struct Workflow {
    /// Of which order, if one is under way.
    pub order: Option<WorkflowOrder>,
}

/// Where an order's workflow stands.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowOrder {
    /// Full id.
    pub id: String,
    /// As its customer calls it.
    pub short: String,
    /// Its page.
    pub href: String,
    /// The current step.
    pub status: Chip,
    /// Since when it is in this step.
    pub since: Timestamp,
    /// How long it all took, once it has ended.
    pub took: Option<String>,
    /// When what it waits for runs out.
    pub wait_until: Option<Timestamp>,
    /// How often Restate had to try again; `None` when nobody knows.
    pub retries: Option<u64>,
    /// What comes next.
    pub next_action: &'static str,
}

impl WorkflowOrder {
    /// From an order's record and Restate's retry count.
    pub fn of(record: &OrderRecord, retries: Option<u64>) -> Self {
        Self {
            id: record.order_id.to_string(),
            short: record.order_id.short().to_owned(),
            href: order_href(record.order_id.as_str()),
            status: Chip::of(record.status, record.undoing),
            since: record.status_since,
            took: took(record),
            wait_until: record.wait_until,
            retries,
            next_action: record.next_action(),
        }
    }
}

/// How long an ended order took, e.g. `1m 12s`.
pub fn took(record: &OrderRecord) -> Option<String> {
    record.status.is_terminal().then(|| {
        span(
            record
                .status_since
                .duration_since(record.created_at)
                .as_millis(),
        )
    })
}

/// A length of time in its two largest units, e.g. `2m 34s`.
pub fn span(millis: i128) -> String {
    let millis = millis.max(0);
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => format!("{millis}ms"),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// The page of an order.
pub fn order_href(id: &str) -> String {
    format!("/orders/{id}")
}

/// An order's id without its owner.
pub fn short(id: &str) -> &str {
    id.split_once('.').map_or(id, |(_, short)| short)
}

/// The Output tab: a Markdown document, rendered and as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Output {
    /// Which tab is open.
    pub tab: &'static str,
    /// The document.
    pub source: String,
    /// The document, rendered.
    pub html: String,
}

impl Output {
    /// Renders a document.
    pub fn of(tab: &'static str, source: String) -> Self {
        Self {
            tab,
            html: markdown::to_html(&source),
            source,
        }
    }
}

impl View for Layout<'_> {
    const TEMPLATE: &'static str = "layout.html";
}
impl View for Title {
    const TEMPLATE: &'static str = "title.html";
}
impl View for Nav {
    const TEMPLATE: &'static str = "nav.html";
}
impl View for Bell {
    const TEMPLATE: &'static str = "bell.html";
}
impl View for Announce {
    const TEMPLATE: &'static str = "announce.html";
}
impl View for Notifications {
    const TEMPLATE: &'static str = "notifications.html";
}
impl View for Workflow {
    const TEMPLATE: &'static str = "workflow.html";
}
impl View for Output {
    const TEMPLATE: &'static str = "output.html";
}

/// Details are written to stand after a colon; alone they begin like a sentence.
pub(super) fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    match letters.next() {
        Some(first)
            if !detail
                .split(' ')
                .next()
                .is_some_and(|word| word.contains('_')) =>
        {
            first.to_uppercase().chain(letters).collect()
        }
        _ => detail.to_owned(),
    }
}

#[cfg(test)]
mod samples_of_views {
    use waybill_domain::notification::Notification;

    use super::*;
    use crate::console::{Sample, samples};

    impl Sample for Layout<'static> {
        fn samples() -> Vec<Self> {
            let regions: &'static Regions = Box::leak(Box::new(Regions {
                input: "<section id=\"input\"></section>".to_owned(),
                ..Regions::default()
            }));
            let layout = |parent: Option<Link>| Layout {
                nonce: "n0nce",
                is_traced: parent.is_some(),
                now_ms: 1,
                stream: "/stream/page?at=%2Forders".into(),
                parent,
                heading: "Orders",
                tab: "input",
                input_href: "/orders".into(),
                output_href: "/orders?tab=output".into(),
                regions,
            };
            vec![
                layout(None),
                layout(Some(Link {
                    href: "/orders".into(),
                    label: "Orders".into(),
                })),
            ]
        }
    }
    impl Sample for Title {
        fn samples() -> Vec<Self> {
            vec![
                Self {
                    heading: "Orders".into(),
                    status: None,
                    unread: 0,
                },
                Self {
                    heading: "order-1".into(),
                    status: Some("Delivered".into()),
                    unread: 3,
                },
            ]
        }
    }
    impl Sample for Nav {
        fn samples() -> Vec<Self> {
            let customer = Self {
                page: "cart",
                user: "alice".into(),
                role: "customer",
                desk: None,
                people: false,
                cart: 0,
                waiting: 0,
                personas: vec![],
            };
            let admin = Self {
                role: "admin",
                desk: Some("Admin"),
                people: true,
                cart: 120,
                waiting: 2,
                personas: vec![Persona {
                    username: "bob".into(),
                    does: "buys things",
                }],
                ..customer.clone()
            };
            vec![customer, admin]
        }
    }
    impl Sample for Bell {
        fn samples() -> Vec<Self> {
            vec![Self { unread: 0 }, Self { unread: 300 }]
        }
    }
    impl Sample for Announce {
        fn samples() -> Vec<Self> {
            vec![Self {
                text: "Order delivered!".into(),
            }]
        }
    }
    impl Sample for Notifications {
        fn samples() -> Vec<Self> {
            let record = samples::rejected();
            let items = Notification::of_order(&record)
                .into_iter()
                .enumerate()
                .map(|(n, told)| {
                    NotificationItem::of(NotificationView {
                        id: told.id,
                        user_id: told.user_id.to_string(),
                        order_id: (n > 0).then(|| record.order_id.to_string()),
                        kind: told.kind,
                        text: told.text,
                        at: told.at,
                        read: n % 2 == 0,
                        is_new: false,
                    })
                })
                .collect();
            vec![
                Self {
                    items,
                    unread: 4,
                    key: "seed-read".into(),
                },
                Self {
                    items: vec![],
                    unread: 0,
                    key: "seed-read".into(),
                },
                // One came between two queries.
                Self {
                    items: vec![],
                    unread: 1,
                    key: "seed-read".into(),
                },
            ]
        }
    }
    impl Sample for Workflow {
        fn samples() -> Vec<Self> {
            samples::every_order()
                .iter()
                .zip([None, Some(0), Some(3)].into_iter().cycle())
                .map(|(record, retries)| Self {
                    order: Some(WorkflowOrder::of(record, retries)),
                })
                .chain([Self { order: None }])
                .collect()
        }
    }
    impl Sample for Output {
        fn samples() -> Vec<Self> {
            vec![
                Self::of("input", markdown::cart(&samples::basket())),
                Self::of("output", "# x".into()),
            ]
        }
    }

    #[test]
    fn spans_have_two_units() {
        for (millis, text) in [
            (-5, "0ms"),
            (12, "12ms"),
            (5_000, "5s"),
            (154_000, "2m 34s"),
            (3_700_000, "1h 1m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
