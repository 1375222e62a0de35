//! `POST /api/orders/{id}/returns`, `…/returns/{number}/decide`, `…/withdraw`, `…/receive`,
//! `POST /api/orders/{id}/refunds`, `GET /api/returns`: what happens after delivery.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{
    AfterSales, AskReturn, DecideReturn, ReceiveReturn, Refund, RefundGoodwill, Return,
    ReturnStatus, WithdrawReturn,
};
use waybill_domain::audit::Origin;
use waybill_domain::basket::Part;
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::OrderId;
use waybill_domain::money::Cents;
use waybill_domain::order::OrderStatus;
use waybill_domain::refusal::Refusal;
use waybill_domain::words::MAX_REASON;

use crate::clock::{self, timestamp};
use crate::documents::markdown;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::origin::RequestOrigin;
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::{Markdown, Reply};
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::orders::{ask_restate, find, named};
use crate::shop::returns::{self, Asker};
use crate::storage::after_sales::{self as storage, Summary};

/// Returns on a page of the list.
const PER_PAGE: u32 = 50;
/// Most that one refund may be asked for, in cents.
const MAX_CENTS: i64 = 1_000_000_000_000;

/// What happened to an order after its delivery, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AfterDelivery {
    /// Grows with every change.
    pub version: u64,
    /// Until when a return may be asked for.
    pub return_until: Timestamp,
    /// What was captured.
    pub captured_cents: Cents,
    /// What of it has gone back, and is about to.
    pub refunded_cents: Cents,
    /// Pieces that come back, oldest first.
    pub returns: Vec<Return>,
    /// Money that goes back, oldest first.
    pub refunds: Vec<Refund>,
}

impl From<AfterSales> for AfterDelivery {
    fn from(after: AfterSales) -> Self {
        Self {
            version: after.version,
            return_until: after.sold.return_until,
            captured_cents: after.sold.captured(),
            refunded_cents: after.promised(),
            returns: after.returns,
            refunds: after.refunds,
        }
    }
}

/// Which returns are wanted.
#[derive(Debug)]
pub(super) struct ReturnQuery {
    status: Option<ReturnStatus>,
    page: Pagination,
}

impl FromFields for ReturnQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let status = match fields.word("status", 40)? {
            Some(name) => Some(ReturnStatus::parse(&name).ok_or_else(|| {
                let all = ReturnStatus::ALL.map(ReturnStatus::as_str).join(", ");
                Problem::invalid("status", format!("status must be one of {all}"))
            })?),
            None => None,
        };
        Ok(Self {
            status,
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Returns)]
struct Listing {
    returns: Vec<Listed>,
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

/// One return of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReturnSummary)]
struct Listed {
    order_id: String,
    user_id: String,
    number: i64,
    status: String,
    pieces: i64,
    since: Timestamp,
    asked_at: Timestamp,
    send_until: Option<Timestamp>,
}

impl From<Summary> for Listed {
    fn from(row: Summary) -> Self {
        Self {
            order_id: row.order_id,
            user_id: row.user_id,
            number: row.number,
            status: row.status,
            pieces: row.pieces,
            since: timestamp(row.since),
            asked_at: timestamp(row.asked_at),
            send_until: row.send_until.map(timestamp),
        }
    }
}

/// Returns, longest waiting first; those that are open unless a status is named
#[utoipa::path(
    get,
    path = "/api/returns",
    params(
        ("status" = Option<String>, Query, pattern = "^[a-z_]+$", description = "Only returns in this status."),
        PageParams,
    ),
    responses(
        (status = 200, description = "Returns", body = Listing),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    context: RequestContext,
    InQuery(query): InQuery<ReturnQuery>,
) -> Result<Response, Problem> {
    let open = [ReturnStatus::Asked, ReturnStatus::Accepted];
    let statuses = match &query.status {
        Some(status) => std::slice::from_ref(status),
        None => &open[..],
    };
    let rows = storage::returns(&infra.db, statuses, query.page).await?;
    if context.wants == ResponseFormat::Markdown {
        return Ok(Markdown(markdown::returns(&rows)).into_response());
    }
    Ok(Json(Listing {
        returns: rows.into_iter().map(Listed::from).collect(),
        total: storage::count(&infra.db, statuses).await?,
        page: query.page,
    })
    .into_response())
}

pub(super) struct AskRequest {
    items: Vec<Part>,
    reason: String,
    key: Option<IdempotencyKey>,
}

impl FromFields for AskRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            items: fields.parts("items")?,
            reason: fields.required_text("reason", MAX_REASON)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Asks to send pieces of a delivered order back
#[utoipa::path(
    post,
    path = "/api/orders/{id}/returns",
    request_body(content = inline(body::Ask)),
    responses(
        (status = 201, description = "Asked for", body = AfterDelivery),
        (status = 404, description = "No such order of the caller"),
        (status = 409, description = "Not delivered, the window is over, another return is open, or not so many pieces can come back"),
    ),
)]
pub(super) async fn ask(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<AskRequest>,
) -> Result<Reply, Problem> {
    let order = known(&infra, &caller, &id).await?;
    let key = key.or(request.key);
    let what = AskReturn {
        items: request.items,
        reason: request.reason,
        at: clock::now(),
    };
    let done = returns::ask(&infra, asker(&caller, &origin, &key), &order, what).await?;
    reply(StatusCode::CREATED, done, "The return is asked for")
}

pub(super) struct DecideRequest {
    accepted: bool,
    reason: Option<String>,
    key: Option<IdempotencyKey>,
}

impl FromFields for DecideRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            accepted: fields.required_flag("accepted")?,
            reason: fields.text("reason", MAX_REASON)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Accepts a return, or refuses it, once
#[utoipa::path(
    post,
    path = "/api/orders/{id}/returns/{number}/decide",
    request_body(content = inline(body::DecideReturn)),
    responses(
        (status = 200, description = "Decided", body = AfterDelivery),
        (status = 404, description = "No such order or return"),
        (status = 409, description = "Decided already, with where it stands"),
    ),
)]
pub(super) async fn decide(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path((id, number)): Path<(String, String)>,
    Input(request): Input<DecideRequest>,
) -> Result<Reply, Problem> {
    let order = known(&infra, &caller, &id).await?;
    let key = key.or(request.key);
    let what = DecideReturn {
        number: numbered(&order, &number)?,
        accepted: request.accepted,
        reason: request.reason,
        at: clock::now(),
    };
    let said = if what.accepted {
        "The return is accepted"
    } else {
        "The return is refused"
    };
    let done = returns::decide(&infra, asker(&caller, &origin, &key), &order, what).await?;
    reply(StatusCode::OK, done, said)
}

/// Nothing but the key of the request.
pub(super) struct WithdrawRequest(Option<IdempotencyKey>);

impl FromFields for WithdrawRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        IdempotencyKey::from_fields(fields).map(Self)
    }
}

/// Takes a return back that was asked for: until its parcel is here
#[utoipa::path(
    post,
    path = "/api/orders/{id}/returns/{number}/withdraw",
    responses(
        (status = 200, description = "Withdrawn", body = AfterDelivery),
        (status = 404, description = "No such order or return of the caller"),
        (status = 409, description = "Refused, received, withdrawn or over already, with where it stands"),
    ),
)]
pub(super) async fn withdraw(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path((id, number)): Path<(String, String)>,
    Input(WithdrawRequest(in_form)): Input<WithdrawRequest>,
) -> Result<Reply, Problem> {
    let order = known(&infra, &caller, &id).await?;
    let key = key.or(in_form);
    let what = WithdrawReturn {
        number: numbered(&order, &number)?,
        at: clock::now(),
    };
    let done = returns::withdraw(&infra, asker(&caller, &origin, &key), &order, what).await?;
    reply(StatusCode::OK, done, "The return is withdrawn")
}

pub(super) struct ReceiveRequest {
    damaged: Vec<Part>,
    missing: Vec<Part>,
    refund: Option<Cents>,
    key: Option<IdempotencyKey>,
}

impl FromFields for ReceiveRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            damaged: fields.parts("damaged")?,
            missing: fields.parts("missing")?,
            refund: fields.money("refund", 0..=MAX_CENTS)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Takes the parcel of a return in: what can be sold again is, and money goes back
///
/// Every piece of the return that is neither damaged nor missing goes back to the stock.
#[utoipa::path(
    post,
    path = "/api/orders/{id}/returns/{number}/receive",
    request_body(content = inline(body::Receive)),
    responses(
        (status = 200, description = "Received", body = AfterDelivery),
        (status = 404, description = "No such order or return"),
        (status = 409, description = "Not accepted, received already, more pieces than were asked for, or more money than was captured and has not gone back"),
    ),
)]
pub(super) async fn receive(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path((id, number)): Path<(String, String)>,
    Input(request): Input<ReceiveRequest>,
) -> Result<Reply, Problem> {
    let order = known(&infra, &caller, &id).await?;
    let key = key.or(request.key);
    let what = ReceiveReturn {
        number: numbered(&order, &number)?,
        damaged: request.damaged,
        missing: request.missing,
        refund_cents: request.refund,
        at: clock::now(),
    };
    let done = returns::receive(&infra, asker(&caller, &origin, &key), &order, what).await?;
    reply(StatusCode::OK, done, "The parcel is taken in")
}

pub(super) struct RefundRequest {
    amount: Cents,
    reason: String,
    key: Option<IdempotencyKey>,
}

impl FromFields for RefundRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            amount: fields.required_money("amount", 1..=MAX_CENTS)?,
            reason: fields.required_text("reason", MAX_REASON)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Gives money of a delivered order back without a return
#[utoipa::path(
    post,
    path = "/api/orders/{id}/refunds",
    request_body(content = inline(body::Refund)),
    responses(
        (status = 201, description = "Going back", body = AfterDelivery),
        (status = 404, description = "No such order"),
        (status = 409, description = "Not delivered, or more than was captured and has not gone back"),
    ),
)]
pub(super) async fn refund(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<RefundRequest>,
) -> Result<Reply, Problem> {
    let order = known(&infra, &caller, &id).await?;
    let key = key.or(request.key);
    let said = format!("{} goes back", request.amount);
    let what = RefundGoodwill {
        amount_cents: request.amount,
        reason: request.reason,
        at: clock::now(),
    };
    let done = returns::refund(&infra, asker(&caller, &origin, &key), &order, what).await?;
    reply(StatusCode::CREATED, done, &said)
}

/// An order that was delivered, as far as is known: an object of one that was not would be
/// made by asking it.
async fn known(infra: &Infra, caller: &Caller, id: &str) -> Result<OrderId, Problem> {
    let mut order = find(infra, &named(caller, id)?).await?;
    if order.status != OrderStatus::Delivered {
        // It may not have been heard of yet.
        ask_restate(infra, &order.order_id).await;
        order = find(infra, &order.order_id).await?;
    }
    match order.status {
        OrderStatus::Delivered => Ok(order.order_id),
        status => {
            let order_id = order.order_id;
            Err(Refusal::NotDelivered { order_id, status }.into())
        }
    }
}

fn asker<'a>(caller: &'a Caller, origin: &Origin, key: &'a IdempotencyKey) -> Asker<'a> {
    Asker {
        user: &caller.user,
        by: origin.by(&caller.user),
        key,
    }
}

fn numbered(order: &OrderId, number: &str) -> Result<u32, Problem> {
    number.parse().map_err(|_| {
        Problem::not_found(format!(
            "returns of {order} have numbers: GET /api/orders/{order} lists them"
        ))
    })
}

fn reply(status: StatusCode, done: Answered<AfterSales>, said: &str) -> Result<Reply, Problem> {
    let to = format!("/orders/{}", done.value.order_id);
    let again = done.again;
    Ok(Reply::new(status, &AfterDelivery::from(done.value))?
        .saying_once(said, again)
        .going_to(to))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;
    use waybill_domain::basket::Part;

    #[derive(ToSchema)]
    pub(super) struct Ask {
        /// Which pieces. A form sends `items.P001=1` for each product.
        #[schema(max_items = 50)]
        items: Vec<Part>,
        /// Why; at most 500 characters.
        #[schema(max_length = 500)]
        reason: String,
    }

    #[derive(ToSchema)]
    pub(super) struct DecideReturn {
        /// false refuses it.
        accepted: bool,
        /// At most 500 characters. Required for a refusal: the customer is told.
        #[schema(max_length = 500)]
        reason: Option<String>,
    }

    #[derive(ToSchema)]
    pub(super) struct Receive {
        /// Pieces that came and cannot be sold again.
        #[schema(max_items = 50)]
        damaged: Option<Vec<Part>>,
        /// Pieces that did not come.
        #[schema(max_items = 50)]
        missing: Option<Vec<Part>>,
        /// What goes back, in cents. Left out, what the pieces that came were bought for.
        /// A form sends `refund=12.50` instead.
        #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
        refund_cents: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct Refund {
        /// How much goes back, in cents. A form sends `amount=12.50` instead.
        #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
        amount_cents: i64,
        /// Why; at most 500 characters. The customer is told.
        #[schema(max_length = 500)]
        reason: String,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(
    fuzz_ask: AskRequest,
    fuzz_decide: DecideRequest,
    fuzz_withdraw: WithdrawRequest,
    fuzz_receive: ReceiveRequest,
    fuzz_refund: RefundRequest,
    fuzz_query: ReturnQuery,
);
