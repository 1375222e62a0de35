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
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Checkout)]
struct Answer {
    order_id: OrderId,
    status: OrderStatus,
    total_cents: Cents,
    payment: Payment,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_processed: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CheckoutPayment)]
struct Payment {
    awakeable_id: Option<String>,
    pay_url: Option<String>,
}

/// Makes an order of the cart. Needs `order_id` or an Idempotency-Key; the same again finds the same order
#[utoipa::path(
    post,
    path = "/api/checkout",
    request_body(content = inline(body::Checkout)),
    responses(
        (status = 200, description = "Checkout", body = Answer),
        (status = 202, description = "Checkout", body = Answer),
        (status = 400, description = "The cart is empty, or a field is wrong"),
        (status = 409, description = "Not enough stock, another price, an order that waits on other terms (which stand in the answer), or a cancelled one"),
    ),
)]
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

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Checkout {
        /// 1 to 64 letters, digits, '-' or '_'; your name and a dot may stand before it.
        #[schema(pattern = r"^\s*[A-Za-z0-9_-]{1,64}\s*$")]
        order_id: Option<String>,
        /// Name of a shipping zone.
        #[schema(max_length = 64)]
        zone: Option<String>,
        /// At most 500 characters, with something to see; invisible ones are left out.
        #[schema(max_length = 500)]
        shipping_address: Option<String>,
        /// What the customer agreed to pay.
        #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
        expected_total_cents: Option<i64>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_checkout: Request);
