//! `GET /api/approvals`: what waits for a decision.
//! `POST /api/workflow/{id}/approve`: the decision, once.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use services::client::{Body, Failure, outcome};
use tokio::time::{Instant, sleep, timeout_at};
use waybill_domain::Timestamp;
use waybill_domain::decision::{Decision, Verdict};
use waybill_domain::ids::OrderId;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::refusal::Refusal;

use crate::app::{App, Shared};
use crate::auth::Admin;
use crate::db::Db;
use crate::idempotency::IdempotencyKey;
use crate::orders;
use crate::problem::Problem;
use crate::reply::{Asker, Done, Fields, FromFields, InQuery, Input, Page, Wants};
use crate::views::markdown;

/// How long to wait for a workflow that is just being started.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long the answer waits until the decision shows.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
/// Orders on a page of the queue.
const PER_PAGE: u32 = 50;

/// The queue, longest waiting first.
#[derive(Debug, Serialize)]
struct Queue {
    approvals: Vec<Waiting>,
    total: i64,
    #[serde(flatten)]
    page: Page,
}

#[derive(Debug, Serialize)]
struct Waiting {
    order_id: OrderId,
    user_id: String,
    total_cents: i64,
    currency: String,
    since: Timestamp,
    until: Option<Timestamp>,
    lines: Vec<waybill_domain::basket::Line>,
}

pub(super) struct QueueQuery(Page);

impl FromFields for QueueQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Page::from_fields(fields, PER_PAGE).map(Self)
    }
}

pub(super) async fn list(
    State(app): State<Shared>,
    _: Admin,
    asker: Asker,
    InQuery(QueueQuery(page)): InQuery<QueueQuery>,
) -> Result<Response, Problem> {
    let records = waiting(&app.db, page).await?;
    if asker.wants == Wants::Markdown {
        let rows: Vec<_> = records.iter().map(row).collect();
        let kind = [(
            axum::http::header::CONTENT_TYPE,
            "text/markdown; charset=utf-8",
        )];
        return Ok((kind, markdown::approvals(&rows)).into_response());
    }
    let total = count(&app.db).await?;
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

/// Orders that wait for a decision, longest waiting first.
pub async fn waiting(db: &Db, page: Page) -> sqlx::Result<Vec<OrderRecord>> {
    let records: Vec<String> = sqlx::query_scalar(
        "SELECT record FROM orders
         WHERE ended_at IS NULL AND status = 'awaiting_approval' AND undoing IS NULL
         ORDER BY status_since LIMIT ? OFFSET ?",
    )
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&db.read)
    .await?;
    let read = records.iter().map(|json| serde_json::from_str(json));
    read.collect::<Result<_, _>>()
        .map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many there are.
pub async fn count(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM orders
         WHERE ended_at IS NULL AND status = 'awaiting_approval' AND undoing IS NULL",
    )
    .fetch_one(&db.read)
    .await
}

pub(super) struct Verdicted {
    approved: bool,
    reason: Option<String>,
    key: Option<IdempotencyKey>,
}

impl FromFields for Verdicted {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            approved: fields.required_flag("approved")?,
            reason: fields.text("reason", orders::cancel::MAX_REASON)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

pub(super) async fn decide(
    State(app): State<Shared>,
    Admin(admin): Admin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Verdicted>,
) -> Result<Done, Problem> {
    let key = key.or(request.key);
    // An order that nobody knows must not be asked of a workflow.
    let record = orders::find(&app, &orders::named(&admin, &id)?).await?;
    let order_id = record.order_id;
    let decision = Decision {
        id: key.of(&admin.user, "decide"),
        verdict: if request.approved {
            Verdict::Approved
        } else {
            Verdict::Rejected
        },
        by: admin.user.to_string(),
        reason: request.reason,
    };
    let decision = ask(&app, &order_id, decision).await?;
    let status = shown(&app, &order_id).await?;
    let word = if request.approved {
        "Approved"
    } else {
        "Rejected"
    };
    let body = json!({
        "order_id": order_id,
        "verdict": decision.verdict,
        "by": decision.by,
        "status": status,
    });
    Ok(Done::new(StatusCode::ACCEPTED, &body)?.saying(format!("{word} {}", order_id.short())))
}

/// Asks the workflow, and again while it is being started.
async fn ask(app: &App, id: &OrderId, decision: Decision) -> Result<Decision, Problem> {
    let give_up = Instant::now() + READY_WITHIN;
    loop {
        // No idempotency key: the decision's own id does that for workflows.
        let asked = app
            .ingress
            .workflow(id)
            .approve(Body(decision.clone()))
            .call()
            .await;
        match outcome(asked) {
            Err(Failure::Refused(Refusal::NotReady { order_id })) => {
                let record = orders::find(app, id).await?;
                if record.status.is_terminal() {
                    let status = record.status;
                    return Err(Refusal::TooLate { order_id, status }.into());
                }
                // Paid a moment ago: the workflow is about to begin.
                let begins = record.status == OrderStatus::AwaitingApproval;
                if !begins || Instant::now() >= give_up {
                    return Err(Refusal::NotReady { order_id }.into());
                }
                sleep(ASK_EVERY).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// The order's status once the decision shows in the read model. When nothing
/// is heard of it (the update stream is down), the workflow is asked.
async fn shown(app: &App, id: &OrderId) -> Result<OrderStatus, Problem> {
    let mut news = app.live.order(id);
    let give_up = Instant::now() + SHOWN_WITHIN;
    loop {
        let record = orders::find(app, id).await?;
        if record.status != OrderStatus::AwaitingApproval || record.undoing.is_some() {
            return Ok(record.status);
        }
        match timeout_at(give_up, news.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let asked = app.ingress.workflow(id).get_record().call().await;
    if let Ok(Some(record)) = outcome::<Option<OrderRecord>>(asked) {
        orders::apply(app, record).await?;
    }
    Ok(orders::find(app, id).await?.status)
}
