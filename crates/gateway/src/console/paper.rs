//! Papers of an order, to be printed: its invoice, and the slip that goes into the
//! parcel. They are pages of their own, painted once.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Html;
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{AfterSales, RefundStatus};
use waybill_domain::order::{EventKind, OrderRecord, OrderStatus};

use super::order::{LineRow, Parcel, line_rows};
use super::shell::order_href;
use super::views::{Console, View};
use crate::http::nonce::Nonce;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::settings::shop::ShopSettings;
use crate::shop::orders;
use crate::storage::after_sales;

/// What every paper has on it.
#[derive(Debug, Clone, Serialize)]
pub struct Paper {
    /// For `<script nonce>`.
    pub nonce: String,
    /// The order's page.
    pub back: String,
    /// Who sells.
    pub seller: String,
    /// Where they are, line by line.
    pub seller_address: Vec<String>,
    /// The order's full id.
    pub order_id: String,
    /// Who has bought.
    pub customer: String,
    /// Where it goes, line by line.
    pub address: Vec<String>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// What is in it.
    pub lines: Vec<LineRow>,
    /// The parcel, once booked.
    pub parcel: Option<Parcel>,
}

/// The invoice: there is one from when the money was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Invoice {
    /// What every paper has on it.
    #[serde(flatten)]
    pub paper: Paper,
    /// What the law wants to be named of the seller; empty for nothing.
    pub tax_number: String,
    /// When the money was taken: the invoice's date.
    pub issued_at: Timestamp,
    /// ISO 4217.
    pub currency: String,
    /// Shipping zone.
    pub zone: String,
    /// Cents.
    pub subtotal: i64,
    /// Cents.
    pub shipping: i64,
    /// Cents.
    pub total: i64,
    /// The provider's id of the payment.
    pub transaction_id: Option<String>,
    /// When all of the money went back because the order did not come about, if it did.
    pub undone_at: Option<Timestamp>,
    /// What went back after the delivery.
    pub refunds: Vec<GivenBack>,
}

/// A part of the money that went back after the delivery.
#[derive(Debug, Clone, Serialize)]
pub struct GivenBack {
    /// When it was decided.
    pub at: Timestamp,
    /// Cents.
    pub amount: i64,
    /// Why.
    pub reason: String,
}

/// The slip in the parcel. It names no price: a parcel may be a present.
#[derive(Debug, Clone, Serialize)]
pub struct PackingSlip {
    /// What every paper has on it.
    #[serde(flatten)]
    pub paper: Paper,
    /// Shipping zone.
    pub zone: String,
    /// Pieces in all.
    pub pieces: u64,
    /// Why nothing is to be packed, if so.
    pub not_yet: Option<&'static str>,
}

impl Paper {
    fn of(record: &OrderRecord, shop: &ShopSettings, nonce: &Nonce) -> Self {
        let lines_of = |text: &str| text.lines().map(str::to_owned).collect();
        Self {
            nonce: nonce.as_str().to_owned(),
            back: order_href(record.order_id.as_str()),
            seller: shop.name().to_owned(),
            seller_address: lines_of(&shop.shop_address),
            order_id: record.order_id.to_string(),
            customer: record.user_id.to_string(),
            address: lines_of(&record.address),
            placed_at: record.created_at,
            lines: line_rows(&record.lines),
            parcel: record.shipment.as_ref().map(Parcel::of),
        }
    }
}

impl Invoice {
    /// Of an order whose money was taken.
    fn of(
        record: &OrderRecord,
        after: Option<&AfterSales>,
        shop: &ShopSettings,
        nonce: &Nonce,
    ) -> Option<Self> {
        let when = |kind| {
            let event = record.events.iter().rfind(|event| event.kind == kind);
            event.map(|event| event.at)
        };
        Some(Self {
            issued_at: when(EventKind::PaymentCaptured)?,
            undone_at: when(EventKind::PaymentRefunded),
            refunds: after.map_or_else(Vec::new, given_back),
            tax_number: shop.shop_tax_number.clone(),
            currency: record.currency.clone(),
            zone: record.zone.clone(),
            subtotal: record.subtotal_cents.0,
            shipping: record.shipping_cents.0,
            total: record.total_cents.0,
            transaction_id: record.payment().transaction_id.clone(),
            paper: Paper::of(record, shop, nonce),
        })
    }

    /// Whether an order has one.
    pub(super) fn exists(record: &OrderRecord) -> bool {
        let mut events = record.events.iter();
        events.any(|event| event.kind == EventKind::PaymentCaptured)
    }
}

fn given_back(after: &AfterSales) -> Vec<GivenBack> {
    let gone = after
        .refunds
        .iter()
        .filter(|refund| refund.status == RefundStatus::Refunded);
    gone.map(|refund| GivenBack {
        at: refund.at,
        amount: refund.amount_cents.0,
        reason: refund.reason.clone(),
    })
    .collect()
}

impl PackingSlip {
    fn of(record: &OrderRecord, shop: &ShopSettings, nonce: &Nonce) -> Self {
        let not_yet = match record.status {
            _ if record.undoing.is_some() => Some("This order is being undone: do not pack it."),
            OrderStatus::Shipping | OrderStatus::InTransit | OrderStatus::Delivered => None,
            OrderStatus::AwaitingPayment => Some("This order is not paid: do not pack it yet."),
            OrderStatus::AwaitingApproval => {
                Some("This order is not approved: do not pack it yet.")
            }
            _ => Some("This order has ended without a delivery: do not pack it."),
        };
        Self {
            zone: record.zone.clone(),
            pieces: record.lines.iter().map(|it| u64::from(it.quantity)).sum(),
            not_yet,
            paper: Paper::of(record, shop, nonce),
        }
    }
}

/// `/orders/{id}/invoice`
pub(super) async fn invoice(
    State(console): State<Arc<Console>>,
    caller: Caller,
    nonce: Nonce,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    let record = orders::find(&console, &orders::named(&caller, &id)?).await?;
    let after = after_sales::of_order(&console.db, &record.order_id).await?;
    let invoice = Invoice::of(&record, after.as_ref(), &console.settings.shop, &nonce).ok_or_else(|| {
        Problem::conflict(
            "no_invoice",
            "No invoice yet",
            "an invoice is made when the money is taken, which is after the approval: come back then",
        )
    })?;
    Ok(Html(console.views.render(&invoice)?))
}

/// `/orders/{id}/packing-slip`
pub(super) async fn packing_slip(
    State(console): State<Arc<Console>>,
    caller: Caller,
    nonce: Nonce,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    let record = orders::find(&console, &orders::named(&caller, &id)?).await?;
    let slip = PackingSlip::of(&record, &console.settings.shop, &nonce);
    Ok(Html(console.views.render(&slip)?))
}

impl View for Invoice {
    const TEMPLATE: &'static str = "invoice.html";
}
impl View for PackingSlip {
    const TEMPLATE: &'static str = "packing_slip.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Sample, samples};

    fn shop() -> ShopSettings {
        ShopSettings {
            shop_name: "Ana's <Tea>".into(),
            shop_address: "1 Main St\nTown".into(),
            shop_tax_number: "VAT ID DE1".into(),
        }
    }

    fn nameless() -> ShopSettings {
        ShopSettings {
            shop_name: String::new(),
            shop_address: String::new(),
            shop_tax_number: String::new(),
        }
    }

    impl Sample for Invoice {
        fn samples() -> Vec<Self> {
            let nonce = Nonce::default();
            let orders = samples::every_order();
            let undone = orders.iter().map(|order| (order, None));
            let delivered = samples::delivered();
            let after = samples::after_sales();
            let returned = after.iter().map(|after| (&delivered, Some(after)));
            undone
                .chain(returned)
                .flat_map(|(order, after)| {
                    [shop(), nameless()].map(|shop| Self::of(order, after, &shop, &nonce))
                })
                .flatten()
                .collect()
        }
    }
    impl Sample for PackingSlip {
        fn samples() -> Vec<Self> {
            let of = |record: &OrderRecord| {
                [shop(), nameless()].map(|shop| Self::of(record, &shop, &Nonce::default()))
            };
            samples::every_order().iter().flat_map(of).collect()
        }
    }

    #[test]
    fn an_invoice_begins_with_the_money() {
        for record in samples::every_order() {
            let is_taken = record
                .events
                .iter()
                .any(|event| event.kind == EventKind::PaymentCaptured);
            let invoice = Invoice::of(&record, None, &shop(), &Nonce::default());
            assert_eq!(invoice.is_some(), is_taken, "{:?}", record.status);
            assert_eq!(Invoice::exists(&record), is_taken);
            if let Some(invoice) = invoice {
                let sum: i64 = invoice.paper.lines.iter().map(|line| line.line_total).sum();
                assert_eq!(sum, invoice.subtotal);
                assert_eq!(sum + invoice.shipping, invoice.total);
            }
        }
    }

    #[test]
    fn an_invoice_names_what_went_back() {
        let given_back = |after: &AfterSales| -> i64 {
            let order = samples::delivered();
            let invoice = Invoice::of(&order, Some(after), &shop(), &Nonce::default());
            let refunds = invoice.expect("it was delivered").refunds;
            refunds.iter().map(|refund| refund.amount).sum()
        };
        let after = samples::after_sales();
        let sums: Vec<_> = after.iter().map(given_back).collect();
        assert!(sums.iter().any(|sum| *sum > 0), "{sums:?}");
        for (after, sum) in after.iter().zip(sums) {
            let gone = after.refunds.iter();
            let gone = gone.filter(|refund| refund.status == RefundStatus::Refunded);
            let gone: i64 = gone.map(|refund| refund.amount_cents.0).sum();
            assert_eq!(sum, gone);
        }
    }

    #[test]
    fn a_slip_says_when_nothing_is_to_be_packed() {
        for record in samples::every_order() {
            let slip = PackingSlip::of(&record, &shop(), &Nonce::default());
            let goes = record.undoing.is_none()
                && matches!(
                    record.status,
                    OrderStatus::Shipping | OrderStatus::InTransit | OrderStatus::Delivered
                );
            assert_eq!(slip.not_yet.is_none(), goes, "{:?}", record.status);
        }
    }
}
