//! Checkout, orders, cancellation.
//!
//! | module | is |
//! | --- | --- |
//! | [`checkout`] | `POST /api/checkout` |
//! | [`cancel`] | `POST /api/orders/{id}/cancel` |
//! | [`decide`] | the one decision of an order, asked of its workflow |
//! | [`show`] | lists and single orders, as JSON and Markdown |

pub mod cancel;
pub mod checkout;
pub mod decide;
pub mod show;

use axum::Router;
use std::sync::Arc;

use axum::extract::FromRef;
use axum::routing::{get, post};
use services::client::{Body, outcome};
use waybill_domain::ids::OrderId;
use waybill_domain::order::OrderRecord;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::storage::orders as queries;

/// `/api/checkout` and `/api/orders`.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<checkout::PaymentPages>: FromRef<S>,
{
    Router::new()
        .route("/api/checkout", post(checkout::checkout))
        .route("/api/orders", get(show::list))
        .route("/api/orders/{id}", get(show::one))
        .route("/api/orders/{id}/cancel", post(cancel::cancel))
        .route("/api/orders/{id}/journal", get(show::journal))
}

/// The full id of what a caller names: their own orders also without their
/// name, others' for admins only. What is not theirs to see is not there.
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

/// Shows an order as Restate has it, wherever it is kept there: for what cannot
/// wait until it is heard of. No answer is no failure here.
pub async fn ask_restate(infra: &Infra, id: &OrderId) -> Result<(), Problem> {
    let session = infra.ingress.user_session(&id.owner());
    let asked = session.get_order(Body(id.clone())).call().await;
    let record = match outcome(asked) {
        Ok(Some(record)) => Ok(Some(record)),
        // Paid, or never placed.
        Ok(None) => outcome(infra.ingress.workflow(id).get_record().call().await),
        Err(failure) => Err(failure),
    };
    if let Ok(Some(record)) = record {
        apply(infra, record).await?;
    }
    Ok(())
}

/// What is missing here may be in Restate, which does not answer.
pub fn cannot_tell(cause: impl std::fmt::Display) -> Problem {
    Problem::unavailable(
        "this is not known here, and Restate cannot be asked at the moment: try again",
    )
    .with_cause(cause)
}

/// Shows a record that a command has made, before the command is answered.
pub async fn apply(infra: &Infra, record: OrderRecord) -> Result<(), Problem> {
    infra
        .live
        .apply(Update::Order(Box::new(record)))
        .await
        .map_err(Problem::internal)?;
    Ok(())
}
