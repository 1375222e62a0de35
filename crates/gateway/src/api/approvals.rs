//! `GET /api/approvals`: what waits for a decision.
//! `POST /api/workflow/{id}/approve`: the decision, once.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use waybill_domain::Timestamp;
use waybill_domain::basket::Part;
use waybill_domain::decision::Verdict;
use waybill_domain::ids::OrderId;
use waybill_domain::order::OrderRecord;
use waybill_domain::words::MAX_REASON;

use crate::documents::markdown;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::origin::RequestOrigin;
use crate::http::pagination::{Page, PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::{Markdown, Reply};
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::decide::{self, Decided};
use crate::shop::orders;
use crate::storage::orders as storage;

/// Orders on a page of the queue.
const PER_PAGE: u32 = 50;

/// The queue, longest waiting first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Approvals)]
struct Queue {
    approvals: Vec<Waiting>,
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WaitingOrder)]
struct Waiting {
    order_id: OrderId,
    user_id: String,
    total_cents: i64,
    currency: String,
    since: Timestamp,
    until: Option<Timestamp>,
    lines: Vec<waybill_domain::basket::Line>,
}

/// Orders that wait for a decision, longest first; `Accept: text/markdown` gives a list
#[utoipa::path(
    get,
    path = "/api/approvals",
    params(
        PageParams,
    ),
    responses(
        (status = 200, description = "Approvals", body = Queue),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    context: RequestContext,
    InQuery(Page(page)): InQuery<Page<PER_PAGE>>,
) -> Result<Response, Problem> {
    let records = storage::awaiting_approval(&infra.db, page).await?;
    if context.wants == ResponseFormat::Markdown {
        let rows: Vec<_> = records.iter().map(row).collect();
        return Ok(Markdown(markdown::approvals(&rows)).into_response());
    }
    let total = storage::count_awaiting_approval(&infra.db).await?;
    let approvals = records.into_iter().map(Waiting::from).collect();
    Ok(Json(Queue {
        approvals,
        total,
        page,
    })
    .into_response())
}

fn row(record: &OrderRecord) -> markdown::OrderRow<'_> {
    markdown::OrderRow {
        order_id: record.order_id.as_str(),
        user_id: record.user_id.as_str(),
        status: record.status,
        total: record.total_cents,
        since: record.status_since,
    }
}

impl From<OrderRecord> for Waiting {
    fn from(record: OrderRecord) -> Self {
        Self {
            order_id: record.order_id,
            user_id: record.user_id.into(),
            total_cents: record.total_cents.0,
            currency: record.currency,
            since: record.status_since,
            until: record.wait_until,
            lines: record.lines,
        }
    }
}

pub(super) struct DecisionRequest {
    approved: bool,
    reason: Option<String>,
    without: Vec<Part>,
    key: Option<IdempotencyKey>,
}

impl FromFields for DecisionRequest {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            approved: fields.required_flag("approved")?,
            reason: fields.text("reason", MAX_REASON)?,
            without: fields.parts("without")?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Decides an order, once; an approval may take pieces out
#[utoipa::path(
    post,
    path = "/api/workflow/{id}/approve",
    request_body(content = inline(body::Decision)),
    responses(
        (status = 202, description = "Decided"),
        (status = 400, description = "Pieces to take out that are not in the order, or all of them; or no reason for it"),
        (status = 404, description = "No such order"),
        (status = 409, description = "Decided already, with the decision that stands; or not waiting for one"),
    ),
)]
pub(super) async fn decide(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<DecisionRequest>,
) -> Result<Reply, Problem> {
    let key = key.or(request.key);
    // An order that nobody knows must not be asked of a workflow.
    let order_id = orders::find(&infra, &orders::named(&caller, &id)?)
        .await?
        .order_id;
    let in_part = !request.without.is_empty();
    let (verdict, word) = if request.approved {
        (Verdict::Approved, "Approved")
    } else {
        (Verdict::Rejected, "Rejected")
    };
    let by = &caller.user;
    let status = decide::decide(
        &infra,
        by,
        &origin,
        &order_id,
        Decided {
            verdict,
            reason: request.reason,
            without: request.without,
        },
        &key,
    )
    .await?;
    let body = json!({ "order_id": order_id, "verdict": verdict, "by": by, "status": status });
    let in_part = if in_part { " in part" } else { "" };
    Ok(Reply::new(StatusCode::ACCEPTED, &body)?
        .saying(format!("{word} {}{in_part}", order_id.short())))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;
    use waybill_domain::basket::Part;

    #[derive(ToSchema)]
    pub(super) struct Decision {
        /// false rejects it.
        approved: bool,
        /// At most 500 characters. Required where pieces are taken out: the customer is told.
        #[schema(max_length = 500)]
        reason: Option<String>,
        /// With an approval: pieces that are not sent nor charged. Some must be left. A
        /// form sends `without.P001=1` for each product.
        #[schema(max_items = 50)]
        without: Option<Vec<Part>>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_decision: DecisionRequest);
