//! Orders: whom they may be shown, and where they are found.

use std::time::Duration;

use services::client::{Body, Failure, outcome};
use tokio::time::Instant;
use waybill_domain::Timestamp;
use waybill_domain::ids::OrderId;
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::clock::timestamp;
use crate::documents::markdown;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Infra;
use crate::storage::after_sales;
use crate::storage::orders::{self as queries, Summary, Total};

/// How long a workflow may take to write down the order that it was given.
const BEGINS_WITHIN: Duration = Duration::from_secs(2);
/// How soon it is asked again meanwhile.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The full id of what a caller names: their own orders also without their
/// name, others' for staff only. What is not theirs to see is not there.
pub fn named(caller: &Caller, raw: &str) -> Result<OrderId, Problem> {
    let unknown = || {
        Problem::not_found(format!(
            "there is no order {}: GET /api/orders lists yours",
            quoted(raw, MAX_NAME)
        ))
    };
    let id = if raw.contains('.') {
        OrderId::parse(raw)
    } else {
        OrderId::of(&caller.user, raw)
    }
    .map_err(|_| unknown())?;
    if caller.may_see(&id.owner()) {
        Ok(id)
    } else {
        Err(unknown())
    }
}

/// The order of that id. One that the read model does not have is asked of
/// Restate before it is a 404; while Restate cannot be asked, it is a 503.
pub async fn find(infra: &Infra, id: &OrderId) -> Result<OrderRecord, Problem> {
    if let Some(record) = queries::record(&infra.db, id).await? {
        return Ok(record);
    }
    infra.live.catch_up().await.map_err(cannot_tell)?;
    queries::record(&infra.db, id).await?.ok_or_else(|| {
        Refusal::UnknownOrder {
            order_id: id.clone(),
        }
        .into()
    })
}

/// Shows an order that is known here as Restate has it, wherever it is kept there: for
/// what cannot wait until it is heard of. No answer is no failure here.
pub async fn ask_restate(infra: &Infra, id: &OrderId) {
    let give_up = Instant::now() + BEGINS_WITHIN;
    loop {
        match held(infra, id).await {
            Ok(Some(record)) => return apply(infra, record).await,
            // It has been paid a moment ago: the record is on its way to the workflow.
            Ok(None) if Instant::now() < give_up => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            Ok(None) | Err(_) => return,
        }
    }
}

/// The order's record, with its session or its workflow.
async fn held(infra: &Infra, id: &OrderId) -> Result<Option<OrderRecord>, Failure> {
    let session = infra.ingress.user_session(&id.owner());
    match outcome(session.get_order(Body::from(id.clone())).call().await)? {
        Some(record) => Ok(Some(record)),
        None => outcome(
            infra
                .ingress
                .workflow(id)
                .get_record(Body::from(()))
                .call()
                .await,
        ),
    }
}

/// What is missing here may be in Restate, which does not answer.
pub fn cannot_tell(cause: impl std::fmt::Display) -> Problem {
    Problem::unavailable(
        "this is not known here, and Restate cannot be asked at the moment: try again",
    )
    .with_cause(cause)
}

/// Shows a record that a command has made, before the command is answered.
pub async fn apply(infra: &Infra, record: OrderRecord) {
    infra.live.show(Update::Order(Box::new(record))).await;
}

/// How long an order has been in its step; once ended, how long it all took.
pub fn elapsed_ms(record: &OrderRecord, now: Timestamp) -> i64 {
    let (from, to) = if record.status.is_terminal() {
        (record.created_at, record.status_since)
    } else {
        (record.status_since, now)
    };
    (to.as_millisecond() - from.as_millisecond()).max(0)
}

/// Orders as rows of a Markdown document.
pub fn rows(orders: &[Summary]) -> Vec<markdown::OrderRow<'_>> {
    orders
        .iter()
        .filter_map(|order| {
            Some(markdown::OrderRow {
                order_id: &order.order_id,
                user_id: &order.user_id,
                status: OrderStatus::parse(&order.status)?,
                total: Cents(order.total_cents),
                since: timestamp(order.status_since),
            })
        })
        .collect()
}

/// A list of orders as a Markdown document.
pub fn list_document(orders: &[Summary], total: Total) -> String {
    markdown::orders(&rows(orders), total.total, total.total_exact)
}

/// An order as a Markdown document.
pub async fn document(infra: &Infra, record: &OrderRecord) -> Result<String, Problem> {
    let user = infra.user(&record.user_id).await?;
    let email = user.as_ref().map(|user| user.email.as_str());
    let after = after_sales::of_order(&infra.db, &record.order_id).await?;
    Ok(markdown::order(record, after.as_ref(), email))
}

/// Whether an order waits for its payment.
pub fn is_pending(record: &OrderRecord) -> bool {
    record.status == OrderStatus::AwaitingPayment && record.undoing.is_none()
}
