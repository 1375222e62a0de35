//! `POST /api/checkout`: the cart becomes an order that waits for its payment.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use waybill_domain::checkout::MAX_ADDRESS;
use waybill_domain::ids::OrderId;
use waybill_domain::money::Cents;
use waybill_domain::order::OrderStatus;

use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::checkout::{self, Placed, Wanted};
use crate::shop::orders::is_pending;
use crate::shop::payment_wait::PaymentPages;

/// Largest total that anybody can agree to.
const MAX_TOTAL: i64 = 1_000_000_000_000;

/// What a checkout may say. All of it can be left out with an Idempotency-Key.
#[derive(Debug)]
pub(super) struct Request {
    wanted: Wanted,
    key: Option<IdempotencyKey>,
}

impl FromFields for Request {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let wanted = Wanted {
            // An id with the user's name before it; its rules come with parsing.
            order_id: fields.word("order_id", 200)?,
            zone: fields.word("zone", 64)?,
            address: fields.text("shipping_address", MAX_ADDRESS)?,
            expected_total_cents: fields
                .integer("expected_total_cents", 0..=MAX_TOTAL)?
                .map(Cents),
        };
        Ok(Self {
            wanted,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// What a checkout answers.
#[derive(Debug, Serialize)]
struct Answer {
    order_id: OrderId,
    status: OrderStatus,
    total_cents: Cents,
    payment: Payment,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_processed: bool,
}

#[derive(Debug, Serialize)]
struct Payment {
    awakeable_id: Option<String>,
    pay_url: Option<String>,
}

pub(super) async fn checkout(
    State(infra): State<Shared>,
    State(pages): State<Arc<PaymentPages>>,
    caller: Caller,
    key: IdempotencyKey,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    let Request {
        wanted,
        key: in_form,
    } = request;
    let key = key.or(in_form);
    reply(checkout::checkout(&infra, &pages, &caller, &wanted, &key).await?)
}

fn reply(
    Placed {
        record,
        already_processed,
    }: Placed,
) -> Result<Reply, Problem> {
    let payment = record.payment();
    let answer = Answer {
        order_id: record.order_id.clone(),
        status: record.status,
        total_cents: record.total_cents,
        payment: Payment {
            awakeable_id: payment.awakeable_id.clone(),
            pay_url: payment.pay_url.clone(),
        },
        already_processed,
    };
    let (status, text) = if already_processed {
        (StatusCode::OK, "Already processed")
    } else if is_pending(&record) {
        (StatusCode::ACCEPTED, "Awaiting payment…")
    } else {
        (StatusCode::ACCEPTED, "Order placed")
    };
    Ok(Reply::new(status, &answer)?
        .saying(text)
        .going_to(format!("/orders/{}", record.order_id)))
}
