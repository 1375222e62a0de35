//! `GET /api/orders`, `/api/orders.csv`, `/api/orders/{id}`, `/api/orders/{id}/journal`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::AfterSales;
use waybill_domain::basket::Line;
use waybill_domain::ids::Username;
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderEvent, OrderRecord, OrderStatus};
use waybill_domain::payment::PaymentStatus;
use waybill_domain::shipment::Shipment;

use super::returns::AfterDelivery;
use crate::clock::timestamp;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::Markdown;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::restate::journal::{self, Journal};
use crate::shop::export;
use crate::shop::orders::{document, elapsed_ms, find, list_document, named};
use crate::storage::after_sales;
use crate::storage::orders::{self as queries, Filter, OrderCursor, Summary, Total};

/// Orders on a page of the API.
const PER_PAGE: u32 = 25;
/// Longest search.
const MAX_QUERY: usize = 100;

/// Longest cursor.
const MAX_CURSOR: usize = 32 * 1024;

/// Which orders are wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Whose.
    user: Option<Username>,
    /// In which status.
    status: Option<OrderStatus>,
    /// Words to search for.
    q: Option<String>,
}

impl FromFields for Wanted {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let user = match fields.word("user", 64)? {
            Some(name) => Some(
                Username::parse(&name)
                    .map_err(|refusal| Problem::invalid("user", refusal.to_string()))?,
            ),
            None => None,
        };
        let status = match fields.word("status", 40)? {
            Some(name) => Some(OrderStatus::parse(&name).ok_or_else(|| {
                let all = OrderStatus::ALL.map(OrderStatus::as_str).join(", ");
                Problem::invalid("status", format!("status must be one of {all}"))
            })?),
            None => None,
        };
        Ok(Self {
            user,
            status,
            q: fields.text("q", MAX_QUERY)?,
        })
    }
}

impl Wanted {
    /// What of it `caller` may see: their own, or everything for staff.
    fn filter(self, caller: &Caller) -> Result<Filter, Problem> {
        let owner = match self.user {
            Some(user) if caller.may_see(&user) => Some(user),
            Some(_) => {
                return Err(Problem::forbidden(
                    "you see your own orders only: leave `user` out",
                ));
            }
            None => (!caller.role.is_staff()).then(|| caller.user.clone()),
        };
        Ok(Filter {
            owner,
            status: self.status,
            q: self.q,
        })
    }
}

/// Which orders are wanted, and which part of those.
#[derive(Debug)]
pub(super) struct OrderQuery {
    wanted: Wanted,
    /// Where the list goes on, instead of a page.
    cursor: Option<OrderCursor>,
    page: Pagination,
}

impl FromFields for OrderQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let cursor = match fields.word("cursor", MAX_CURSOR)? {
            Some(cursor) => Some(OrderCursor::parse(&cursor).ok_or_else(|| {
                Problem::invalid(
                    "cursor",
                    "this is no cursor: send the next_cursor of the answer before, as it was",
                )
            })?),
            None => None,
        };
        if cursor.is_some() && fields.word("page", 20)?.is_some() {
            return Err(Problem::invalid(
                "page",
                "a cursor says where the list goes on: leave page out",
            ));
        }
        Ok(Self {
            wanted: Wanted::from_fields(fields)?,
            cursor,
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Orders)]
struct Listing<'a> {
    orders: Vec<Listed<'a>>,
    #[serde(flatten)]
    total: Total,
    /// Which page this is; not there where a cursor was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    /// Most orders in an answer.
    per_page: u32,
    /// What to send as `cursor` for those that follow. `null` when this was the end, and
    /// on any page but the first.
    next_cursor: Option<String>,
}

/// One order of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = OrderSummary)]
struct Listed<'a> {
    order_id: &'a str,
    user_id: &'a str,
    status: &'a str,
    undoing: Option<&'a str>,
    total_cents: i64,
    pieces: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    status_since: Timestamp,
    wait_until: Option<Timestamp>,
}

impl<'a> From<&'a Summary> for Listed<'a> {
    fn from(summary: &'a Summary) -> Self {
        Self {
            order_id: &summary.order_id,
            user_id: &summary.user_id,
            status: &summary.status,
            undoing: summary.undoing.as_deref(),
            total_cents: summary.total_cents,
            pieces: summary.pieces,
            created_at: timestamp(summary.created_at),
            updated_at: timestamp(summary.updated_at),
            status_since: timestamp(summary.status_since),
            wait_until: summary.wait_until.map(timestamp),
        }
    }
}

/// The caller's orders, newest first; everybody's for staff
#[utoipa::path(
    get,
    path = "/api/orders",
    params(
        ("status" = Option<String>, Query, pattern = "^[a-z_]+$", description = "Only orders in this status."),
        ("q" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Words, or beginnings of words: ids, customer, products, tracking number."),
        ("user" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]+$", max_length = 64, description = "Only orders of this user; for customers, only their own name."),
        ("cursor" = Option<String>, Query, pattern = r"^[0-9]{1,12}(~[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}){0,256}$", max_length = 32768, description = "Goes on after the answer whose `next_cursor` this is, whatever is placed meanwhile, at any gateway; instead of `page`."),
        PageParams,
    ),
    responses(
        (status = 200, description = "Orders", body = Listing),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    caller: Caller,
    context: RequestContext,
    InQuery(query): InQuery<OrderQuery>,
) -> Result<Response, Problem> {
    let filter = query.wanted.filter(&caller)?;
    let per_page = query.page.per_page;
    let (found, page, next) = if let Some(cursor) = &query.cursor {
        let orders = queries::orders_after(&infra.db, &filter, cursor, per_page).await?;
        let next = OrderCursor::after(Some(cursor), &orders, per_page);
        let total = queries::count(&infra.db, &filter).await?;
        (Arc::new((orders, total)), None, next)
    } else {
        let found = infra.orders(filter, query.page).await?;
        let is_first = query.page.page == 1;
        let next = is_first
            .then(|| OrderCursor::after(None, &found.0, per_page))
            .flatten();
        (found, Some(query.page.page), next)
    };
    let (orders, total) = (&found.0, found.1);
    Ok(match context.wants {
        ResponseFormat::Markdown => Markdown(list_document(orders, total)).into_response(),
        _ => Json(Listing {
            orders: orders.iter().map(Listed::from).collect(),
            total,
            page,
            per_page,
            next_cursor: next.map(|next| next.to_string()),
        })
        .into_response(),
    })
}

/// Which orders a file is to hold, and for which program.
#[derive(Debug)]
pub(super) struct FileQuery {
    wanted: Wanted,
    /// Whether a byte order mark stands before it.
    bom: bool,
}

impl FromFields for FileQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            wanted: Wanted::from_fields(fields)?,
            bom: fields.flag("bom")?.unwrap_or(false),
        })
    }
}

/// The same orders as a CSV file, all of them, newest first
#[utoipa::path(
    get,
    path = "/api/orders.csv",
    params(
        ("status" = Option<String>, Query, pattern = "^[a-z_]+$", description = "Only orders in this status."),
        ("q" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Words, or beginnings of words: ids, customer, products, tracking number."),
        ("user" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]+$", max_length = 64, description = "Only orders of this user; for customers, only their own name."),
        ("bom" = Option<bool>, Query, description = "A byte order mark first: spreadsheets need it to read UTF-8."),
    ),
    responses(
        (status = 200, description = "A row for each order (RFC 4180). An answer that breaks off is not the whole file.", body = String, content_type = "text/csv"),
    ),
)]
pub(super) async fn file(
    State(infra): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<FileQuery>,
) -> Result<Response, Problem> {
    let filter = query.wanted.filter(&caller)?;
    let rows = export::orders(&infra, filter, query.bom).await?;
    let name = format!("orders-{}.csv", Timestamp::now().strftime("%Y-%m-%d"));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, Body::from_stream(rows)).into_response())
}

/// An order; `Accept: text/markdown` gives its document
#[utoipa::path(
    get,
    path = "/api/orders/{id}",
    responses(
        (status = 200, description = "Order", body = Order),
        (status = 404, description = "No such order of the caller"),
    ),
)]
pub(super) async fn one(
    State(infra): State<Shared>,
    caller: Caller,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&infra, &named(&caller, &id)?).await?;
    if context.wants == ResponseFormat::Markdown {
        return Ok(Markdown(document(&infra, &record).await?).into_response());
    }
    let retry_count = infra.admin_api.retry_count(&record.order_id).await;
    let after = after_sales::of_order(&infra.db, &record.order_id).await?;
    let order = Order::new(record, retry_count, Timestamp::now());
    Ok(Json(order.with(after)).into_response())
}

/// An order, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Order {
    /// Full id.
    pub order_id: String,
    /// Whose.
    pub user_id: String,
    /// Grows with every step.
    pub version: u64,
    /// Where it stands.
    pub status: OrderStatus,
    /// The end it is being undone towards, while it is.
    pub undoing: Option<OrderStatus>,
    /// Sum of the lines.
    pub subtotal_cents: Cents,
    /// What shipping costs.
    pub shipping_cents: Cents,
    /// What is to be paid.
    pub total_cents: Cents,
    /// ISO 4217.
    pub currency: String,
    /// Name of the shipping zone.
    pub zone: String,
    /// Where to.
    pub shipping_address: String,
    /// What is delivered.
    pub lines: Vec<Line>,
    /// What was bought too, and an approver took out before shipping.
    pub taken_out: Vec<Line>,
    /// The current try to pay.
    pub payment: Payment,
    /// The parcel, once booked.
    pub shipment: Option<Shipment>,
    /// Where its processing stands.
    pub workflow: Workflow,
    /// What happened, oldest first, after the delivery too.
    pub events: Vec<OrderEvent>,
    /// Returns and refunds, if there were any.
    pub after_delivery: Option<AfterDelivery>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Time of the first checkout.
    pub created_at: Timestamp,
    /// Time of the last step.
    pub updated_at: Timestamp,
}

/// The current try to pay, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = OrderPayment)]
pub struct Payment {
    /// 1 for the first try.
    pub attempt: u32,
    /// The awakeable that the payment resolves.
    pub awakeable_id: Option<String>,
    /// The provider's id of the money movement.
    pub transaction_id: Option<String>,
    /// What was asked of the customer. Less is captured of it, `total_cents`, where pieces
    /// were taken out.
    pub amount_cents: Cents,
    /// How far the money has come.
    pub status: PaymentStatus,
    /// The provider's payment page.
    pub pay_url: Option<String>,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
}

/// Where an order's processing stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Workflow {
    /// In the customer's words.
    pub step: String,
    /// How long it has been in this step; once ended, how long it all took.
    pub elapsed_ms: i64,
    /// Until when this step waits.
    pub deadline: Option<Timestamp>,
    /// Restate's retries of the order's invocations; `null` while Restate's
    /// admin API does not answer.
    pub retry_count: Option<u64>,
    /// What comes next.
    pub next_action: String,
}

impl Order {
    /// With what happened to it after its delivery.
    #[must_use]
    fn with(mut self, after: Option<AfterSales>) -> Self {
        if let Some(after) = after {
            self.events.extend(after.events.iter().cloned());
            self.after_delivery = Some(after.into());
        }
        self
    }

    /// The API's view of a record at a time.
    pub fn new(record: OrderRecord, retry_count: Option<u64>, now: Timestamp) -> Self {
        let workflow = Workflow {
            step: record.status.label().to_owned(),
            elapsed_ms: elapsed_ms(&record, now),
            deadline: record.wait_until,
            retry_count,
            next_action: record.next_action().to_owned(),
        };
        let payment = record.payment();
        let payment = Payment {
            attempt: payment.attempt,
            awakeable_id: payment.awakeable_id.clone(),
            transaction_id: payment.transaction_id.clone(),
            amount_cents: payment.amount_cents,
            status: payment.status,
            pay_url: payment.pay_url.clone(),
            expires_at: payment.expires_at,
        };
        Self {
            order_id: record.order_id.into(),
            user_id: record.user_id.into(),
            version: record.version,
            status: record.status,
            undoing: record.undoing,
            subtotal_cents: record.subtotal_cents,
            shipping_cents: record.shipping_cents,
            total_cents: record.total_cents,
            currency: record.currency,
            zone: record.zone,
            shipping_address: record.address,
            lines: record.lines,
            taken_out: record.taken_out,
            payment,
            shipment: record.shipment,
            workflow,
            events: record.events,
            after_delivery: None,
            failure_reason: record.failure_reason,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// Restate's invocations and steps of an order
#[utoipa::path(
    get,
    path = "/api/orders/{id}/journal",
    responses(
        (status = 200, description = "Journal", body = Journal),
        (status = 404, description = "No such order of the caller"),
        (status = 503, description = "Restate's admin API is not reachable"),
    ),
)]
pub(super) async fn journal(
    State(infra): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Journal>, Problem> {
    let order = find(&infra, &named(&caller, &id)?).await?;
    Ok(Json(
        journal::of_order(&infra.admin_api, &order.order_id).await?,
    ))
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_order_query: OrderQuery, fuzz_wanted: Wanted, fuzz_file_query: FileQuery);
