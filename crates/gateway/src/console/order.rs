//! The page of one order.

use std::time::Duration;

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::AfterSales;
use waybill_domain::basket::Line;
use waybill_domain::money::CURRENCY;
use waybill_domain::order::{Compensable, OrderRecord, OrderStatus};
use waybill_domain::payment::PaymentAttempt;
use waybill_domain::shipment::Shipment;

use super::after_delivery::AfterDelivery;
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::paper::Invoice;
use super::shell::{self, Link};
use super::status_style::{self, Chip};
use super::views::Console;
use super::views::View;
use crate::documents::progress::{Progress, Step, StepName, StepState};
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::shop::orders;
use crate::storage;
use waybill_domain::ids::OrderId;

/// Everything the page shows.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "a template asks yes or no")]
pub struct OrderPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Full id.
    pub id: String,
    /// As its customer calls it.
    pub short: String,
    /// Whose.
    pub user: String,
    /// Whether the reader is that customer.
    pub is_own: bool,
    /// Whether the customer is worth naming.
    pub with_user: bool,
    /// Where it stands.
    pub status: Chip,
    /// Since when.
    pub status_since: Timestamp,
    /// Time of the first checkout.
    pub created_at: Timestamp,
    /// When what it waits for runs out.
    pub wait_until: Option<Timestamp>,
    /// How long it took, once it has ended.
    pub took: Option<String>,
    /// What it waits for: `payment`, `approval`, `shipping`, `delivery` or nothing.
    pub waiting: &'static str,
    /// Whether it is being undone.
    pub undoing: bool,
    /// What comes next.
    pub next_action: &'static str,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Whether the reader may approve or reject it now.
    pub may_decide: bool,
    /// Where that goes.
    pub approve_action: String,
    /// Whether the reader decides orders, and not this one: it is their own.
    pub needs_another: bool,
    /// Whether the reader may pay for it.
    pub may_pay: bool,
    /// Whether it can be cancelled by the reader.
    pub may_cancel: bool,
    /// Where that goes.
    pub cancel_action: String,
    /// What a cancellation undoes, in words.
    pub undoes: String,
    /// Whether the same order can be paid again.
    pub may_retry: bool,
    /// The tracker.
    pub progress: Track,
    /// What is delivered.
    pub lines: Vec<LineRow>,
    /// What was bought too, and taken out before shipping.
    pub taken_out: Vec<LineRow>,
    /// What the reader may take out now.
    pub takeable: Vec<LineRow>,
    /// Cents.
    pub shipping: i64,
    /// Cents.
    pub total: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// Shipping zone.
    pub zone: String,
    /// The address, line by line.
    pub address: Vec<String>,
    /// Every try to pay.
    pub payments: Vec<PaymentRow>,
    /// The current try.
    pub payment: PaymentNow,
    /// The parcel.
    pub shipment: Option<Parcel>,
    /// Whether there is an invoice.
    pub has_invoice: bool,
    /// Whether the reader may pack it.
    pub may_pack: bool,
    /// What happened, newest first.
    pub events: Vec<EventRow>,
    /// How to pay from a terminal, in a demo.
    pub commands: Vec<Command>,
    /// Returns and refunds.
    pub after: AfterDelivery,
}

/// The tracker: what was done, and what is undone below it.
#[derive(Debug, Clone, Serialize)]
pub struct Track {
    /// Steps done.
    pub done: usize,
    /// The six steps.
    pub steps: Vec<Step>,
    /// What is undone, newest first.
    pub undone: Vec<UndoRow>,
    /// Column of the step where the order turned, from 2.
    pub turned_at: usize,
}

/// A compensation, below the step it takes back.
#[derive(Debug, Clone, Serialize)]
pub struct UndoRow {
    /// Column of that step, from 1.
    pub column: usize,
    /// What happened.
    pub label: String,
    /// When; `None` while it is still to do.
    pub at: Option<Timestamp>,
}

/// One product of the order.
#[derive(Debug, Clone, Serialize)]
pub struct LineRow {
    /// Stock keeping unit.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces.
    pub quantity: u32,
    /// Cents.
    pub unit_price: i64,
    /// Cents.
    pub line_total: i64,
}

/// One try to pay.
#[derive(Debug, Clone, Serialize)]
pub struct PaymentRow {
    /// 1 for the first.
    pub attempt: u32,
    /// In words.
    pub label: &'static str,
    /// Which colour.
    pub family: &'static str,
    /// Cents.
    pub amount: i64,
    /// The provider's id.
    pub transaction_id: Option<String>,
}

/// What is needed to pay now.
#[derive(Debug, Clone, Serialize)]
pub struct PaymentNow {
    /// The awakeable that the payment resolves.
    pub awakeable_id: Option<String>,
    /// The provider's page.
    pub pay_url: Option<String>,
}

/// The parcel.
#[derive(Debug, Clone, Serialize)]
pub struct Parcel {
    /// Who carries it.
    pub carrier: String,
    /// The carrier's number.
    pub tracking_number: String,
}

impl Parcel {
    pub(super) fn of(shipment: &Shipment) -> Self {
        Self {
            carrier: shipment.carrier.clone(),
            tracking_number: shipment.tracking_number.clone(),
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The words.
    pub detail: String,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
    /// Whether it undid something.
    pub is_compensation: bool,
}

/// A line to copy into a terminal.
#[derive(Debug, Clone, Serialize)]
pub struct Command {
    /// What it does.
    pub label: &'static str,
    /// The line.
    pub text: String,
}

/// Where a terminal reaches things.
#[derive(Debug, Clone)]
pub struct Addresses<'a> {
    /// This gateway, as the browser reaches it.
    pub gateway: &'a str,
    /// Restate's ingress.
    pub ingress: &'a str,
}

/// What the shop's settings say about orders.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether approvers decide about their own, too.
    pub own_too: bool,
    /// How long after its delivery a return may be asked for.
    pub return_window: Duration,
}

impl OrderPage {
    /// The page as `caller` sees it. `addresses` adds the curl lines.
    pub fn of(
        record: &OrderRecord,
        after: Option<&AfterSales>,
        caller: &Caller,
        rules: Rules,
        tab: &'static str,
        key: String,
        addresses: Option<&Addresses<'_>>,
    ) -> Self {
        let is_own = caller.user == record.user_id;
        let undoing = record.undoing.is_some();
        let open = !undoing && !record.status.is_terminal();
        let id = record.order_id.to_string();
        let waits =
            open && record.status == OrderStatus::AwaitingApproval && record.wait_until.is_some();
        let may_decide = waits && caller.may_decide(&record.user_id, rules.own_too);
        let may_cancel = caller.may_cancel(&record.user_id);
        Self {
            tab,
            key,
            short: record.order_id.short().to_owned(),
            user: record.user_id.to_string(),
            is_own,
            with_user: !is_own,
            status: Chip::of(record.status, record.undoing),
            status_since: record.status_since,
            created_at: record.created_at,
            wait_until: record.wait_until,
            took: shell::took(record),
            waiting: if undoing { "" } else { waiting(record.status) },
            undoing,
            next_action: record.next_action(),
            failure_reason: record.failure_reason.clone(),
            may_decide,
            needs_another: waits && caller.role.decides() && !may_decide,
            approve_action: format!("/api/workflow/{id}/approve"),
            may_pay: may_cancel,
            may_cancel: open
                && may_cancel
                && matches!(
                    record.status,
                    OrderStatus::AwaitingPayment | OrderStatus::AwaitingApproval
                ),
            cancel_action: format!("/api/orders/{id}/cancel"),
            undoes: undoes(record),
            may_retry: record.may_be_paid_again(),
            progress: track(record),
            lines: line_rows(&record.lines),
            taken_out: line_rows(&record.taken_out),
            takeable: if may_decide {
                line_rows(&record.lines)
            } else {
                Vec::new()
            },
            shipping: record.shipping_cents.0,
            total: record.total_cents.0,
            currency: CURRENCY,
            zone: record.zone.clone(),
            address: record.address.lines().map(str::to_owned).collect(),
            payments: record.payments.iter().rev().map(payment_row).collect(),
            payment: PaymentNow {
                awakeable_id: record.payment().awakeable_id.clone(),
                pay_url: record.payment().pay_url.clone().filter(|url| is_web(url)),
            },
            shipment: record.shipment.as_ref().map(Parcel::of),
            has_invoice: Invoice::exists(record),
            may_pack: caller.role.is_staff(),
            after: AfterDelivery::of(record, after, caller, rules, Timestamp::now()),
            events: record
                .events
                .iter()
                .chain(after.iter().flat_map(|it| &it.events))
                .rev()
                .map(|event| {
                    let (family, icon) = status_style::of_event(event.kind);
                    EventRow {
                        seq: event.seq,
                        at: event.at,
                        detail: event.detail.clone(),
                        family,
                        icon,
                        is_compensation: event.kind.is_compensation(),
                    }
                })
                .collect(),
            commands: addresses.map_or_else(Vec::new, |addresses| commands(record, addresses)),
            id,
        }
    }
}

/// Products of an order, for its page and its papers.
pub(super) fn line_rows(lines: &[Line]) -> Vec<LineRow> {
    let row = |line: &Line| LineRow {
        sku: line.sku.to_string(),
        name: line.name.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price_cents.0,
        line_total: line.line_total_cents.0,
    };
    lines.iter().map(row).collect()
}

/// A provider's page is a web page, whatever the provider says.
fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn waiting(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::AwaitingPayment => "payment",
        OrderStatus::AwaitingApproval => "approval",
        OrderStatus::Shipping => "shipping",
        OrderStatus::InTransit => "delivery",
        _ => "",
    }
}

fn undoes(record: &OrderRecord) -> String {
    let words: Vec<_> = record
        .done
        .iter()
        .rev()
        .map(|done| match done {
            Compensable::Captured => "the payment is refunded",
            Compensable::Booked => "the parcel is called back",
            Compensable::Authorized => "the hold on the money is given up",
            Compensable::Reserved => "the stock is released",
        })
        .collect();
    words.join(", ")
}

fn track(record: &OrderRecord) -> Track {
    let progress = Progress::of(record);
    let column = |name: StepName| {
        progress
            .steps
            .iter()
            .position(|step| step.name == name)
            .unwrap_or(0)
            + 1
    };
    Track {
        done: progress.done,
        undone: progress
            .undone
            .iter()
            .map(|undo| UndoRow {
                column: column(undo.step),
                label: undo.label.clone(),
                at: undo.at,
            })
            .collect(),
        turned_at: progress
            .steps
            .iter()
            .position(|step| step.state == StepState::Failed)
            .map_or(2, |position| (position + 1).max(2)),
        steps: progress.steps,
    }
}

fn payment_row(payment: &PaymentAttempt) -> PaymentRow {
    let (label, family) = status_style::of_payment(payment.status);
    PaymentRow {
        attempt: payment.attempt,
        label,
        family,
        amount: payment.amount_cents.0,
        transaction_id: payment.transaction_id.clone().filter(|id| !id.is_empty()),
    }
}

fn commands(record: &OrderRecord, addresses: &Addresses<'_>) -> Vec<Command> {
    let payment = record.payment();
    let Some(awakeable) = payment
        .awakeable_id
        .as_deref()
        .filter(|_| payment.is_open())
    else {
        return Vec::new();
    };
    let amount = payment.amount_cents.0;
    let callback = |body: String| {
        format!(
            "curl -X POST {}/api/payment/callback \\\n  -H \"Content-Type: application/json\" \\\n  -d '{body}'",
            addresses.gateway
        )
    };
    let id = record.order_id.short();
    vec![
        Command {
            label: "Pay, as the provider's callback",
            text: callback(format!(
                "{{\"awakeable_id\": \"{awakeable}\", \"transaction_id\": \"txn-{id}\", \"amount\": {amount}, \"status\": \"success\"}}"
            )),
        },
        Command {
            label: "Decline, as the provider's callback",
            text: callback(format!(
                "{{\"awakeable_id\": \"{awakeable}\", \"transaction_id\": \"\", \"amount\": 0, \"status\": \"failed\"}}"
            )),
        },
        Command {
            label: "Pay by resolving the awakeable at Restate itself",
            text: format!(
                "curl -X POST {}/restate/awakeables/{awakeable}/resolve \\\n  -H \"Content-Type: application/json\" \\\n  -d '{{\"transaction_id\": \"txn-{id}\", \"amount\": {amount}, \"status\": \"success\"}}'",
                addresses.ingress
            ),
        },
    ]
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    id: &OrderId,
) -> Result<PageContent, Problem> {
    let id = orders::named(&viewer.caller, id.as_str())?;
    let record = orders::find(console, &id).await?;
    // Signed callbacks cannot be typed by hand.
    let by_hand = console.settings.is_demo() && console.settings.payment_webhook_secret().is_none();
    let addresses = by_hand.then(|| Addresses {
        gateway: &viewer.base,
        ingress: console.ingress.nodes().chosen(),
    });
    let after = storage::after_sales::of_order(&console.db, &id).await?;
    let page = OrderPage::of(
        &record,
        after.as_ref(),
        &viewer.caller,
        Rules {
            own_too: console.settings.approves_own_orders(),
            return_window: console.settings.return_window,
        },
        location.tab,
        viewer.seed.clone(),
        addresses.as_ref(),
    );
    let document = orders::document(console, &record).await?;
    let list = if page.is_own { "/orders" } else { "/admin" };
    Ok(PageContent {
        heading: page.short.clone(),
        status: Some(page.status.label.clone()),
        parent: Some(Link {
            href: list.to_owned(),
            label: "Orders".to_owned(),
        }),
        input: console.views.render(&page)?,
        output: console.output(location, document)?,
        order: Some(record),
    })
}

impl View for OrderPage {
    const TEMPLATE: &'static str = "order.html";
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use waybill_domain::ids::Username;

    use super::*;
    use crate::console::{Sample, samples};
    use crate::identity::caller::Role;

    fn caller(name: &str, role: Role) -> Caller {
        Caller::new(Username::parse(name).unwrap(), role)
    }

    const ADDRESSES: Addresses<'static> = Addresses {
        gateway: "http://localhost:8080",
        ingress: "http://127.0.0.1:8081",
    };

    /// Whatever was delivered may come back.
    const RULES: Rules = Rules {
        own_too: false,
        return_window: Duration::MAX,
    };

    impl Sample for OrderPage {
        fn samples() -> Vec<Self> {
            let readers = [
                caller("alice", Role::Customer),
                caller("alice", Role::Approver),
                caller("carol", Role::Support),
                caller("admin", Role::Admin),
            ];
            samples::every_order()
                .iter()
                .flat_map(|record| {
                    readers.iter().flat_map(move |reader| {
                        [None, Some(&ADDRESSES)].map(|addresses| {
                            Self::of(
                                record,
                                None,
                                reader,
                                RULES,
                                "input",
                                "seed".into(),
                                addresses,
                            )
                        })
                    })
                })
                .chain(samples::after_sales().iter().flat_map(|after| {
                    readers.iter().map(move |reader| {
                        let record = samples::delivered();
                        let key = "seed".into();
                        Self::of(&record, Some(after), reader, RULES, "input", key, None)
                    })
                }))
                .collect()
        }
    }

    #[test]
    fn who_decides_decides_what_waits_and_their_own_only_if_told_so() {
        let page = |record: &OrderRecord, name, role, own_too| {
            let caller = caller(name, role);
            let rules = Rules { own_too, ..RULES };
            OrderPage::of(record, None, &caller, rules, "input", String::new(), None)
        };
        let may = |name, role, own_too| {
            let page = page(&samples::awaiting_approval(), name, role, own_too);
            (page.may_decide, page.needs_another, page.may_cancel)
        };
        assert_eq!(may("admin", Role::Admin, false), (true, false, true));
        assert_eq!(may("carol", Role::Approver, false), (true, false, false));
        assert_eq!(may("carol", Role::Support, false), (false, false, false));
        assert_eq!(may("alice", Role::Customer, false), (false, false, true));
        for role in [Role::Approver, Role::Admin] {
            assert_eq!(may("alice", role, false), (false, true, true));
            assert_eq!(may("alice", role, true), (true, false, true));
        }
        let shipping = page(&samples::shipping(), "alice", Role::Admin, false);
        assert!(!shipping.may_decide && !shipping.needs_another && !shipping.may_cancel);
    }

    #[test]
    fn the_curl_line_is_the_proposals_with_the_real_id_and_amount() {
        let page = OrderPage::of(
            &samples::awaiting_payment(),
            None,
            &caller("alice", Role::Customer),
            RULES,
            "input",
            String::new(),
            Some(&ADDRESSES),
        );
        assert_snapshot!(page.commands[0].text, @r#"
        curl -X POST http://localhost:8080/api/payment/callback \
          -H "Content-Type: application/json" \
          -d '{"awakeable_id": "sign_1abcDEF", "transaction_id": "txn-order-123", "amount": 13000, "status": "success"}'
        "#);
        assert_snapshot!(page.commands[2].text, @r#"
        curl -X POST http://127.0.0.1:8081/restate/awakeables/sign_1abcDEF/resolve \
          -H "Content-Type: application/json" \
          -d '{"transaction_id": "txn-order-123", "amount": 13000, "status": "success"}'
        "#);
    }

    #[test]
    fn compensations_stand_below_what_they_take_back() {
        let track = track(&samples::undoing_in_transit());
        let columns: Vec<_> = track.undone.iter().map(|undo| undo.column).collect();
        assert_eq!(columns, [5, 4, 1]);
    }
}
