//! The hosted payment page: where the customer pays or declines.
//!
//! Plain HTML forms and one style sheet; there is no script, and the content
//! security policy allows none.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{
        Form, Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{Html, IntoResponse, Response},
    routing::get,
};
use minijinja::{Environment, UndefinedBehavior};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{
    World,
    answer::Answer,
    payments::{self, Action, Payment, Status},
};

const MERCHANT: &str = "Waybill";
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The page's template, compiled.
pub(crate) struct PayPage {
    templates: Environment<'static>,
}

/// What the template shows.
#[derive(Serialize)]
struct View {
    merchant: &'static str,
    heading: &'static str,
    payment: Option<PaymentView>,
    /// Whether the two buttons are shown; else the state line is.
    payable: bool,
    state: &'static str,
    /// The style of the state line: waiting, done or failed.
    tone: &'static str,
    return_url: Option<String>,
}

#[derive(Serialize)]
struct PaymentView {
    order_id: String,
    transaction_id: Option<String>,
    amount: String,
}

#[derive(Deserialize)]
struct Visit {
    return_url: Option<String>,
}

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/pay/{payment_id}", get(show).post(act))
        .route("/static/pay.css", get(style_sheet))
}

async fn show(
    State(world): State<Arc<World>>,
    Path(payment_id): Path<String>,
    visit: Result<Query<Visit>, QueryRejection>,
) -> Result<Response, Answer> {
    let mut ledger = world.database.readers().acquire().await?;
    let payment = payments::load(&mut ledger, &payment_id).await?;
    drop(ledger);
    up(
        &world,
        payment.as_ref().map(|payment| payment.order_id.as_str()),
    )?;
    world.pay_page.render(payment.as_ref(), return_url(visit))
}

async fn act(
    State(world): State<Arc<World>>,
    Path(payment_id): Path<String>,
    visit: Result<Query<Visit>, QueryRejection>,
    form: Result<Form<HashMap<String, String>>, FormRejection>,
) -> Result<Response, Answer> {
    let Form(form) = form.map_err(|error| Answer::unread(&error, 400, error.body_text()))?;
    let action = match form.get("action").map(String::as_str) {
        Some("pay") => Action::Pay,
        Some("decline") => Action::Decline,
        _ => return Err(Answer::refused(422, "action must be pay or decline")),
    };
    let transaction_id = form
        .get("transaction_id")
        .map(|id| id.trim())
        .filter(|id| !id.is_empty());
    let order_id = payments::order_of(world.database.readers(), &payment_id).await?;
    up(&world, order_id.as_deref())?;
    let payment = payments::customer_acts(&world, &payment_id, action, transaction_id).await?;
    world.pay_page.render(payment.as_ref(), return_url(visit))
}

async fn style_sheet() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "max-age=3600"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, include_str!("../static/pay.css"))
}

/// Answers with the outage while the provider is down.
fn up(world: &World, order_id: Option<&str>) -> Result<(), Answer> {
    let faults = match order_id {
        Some(order_id) => world.faults.payments(order_id),
        None => world.faults.all_payments(),
    };
    match faults.down.answer() {
        Some(outage) => Err(outage),
        None => Ok(()),
    }
}

/// The way back to the shop, if it is one on this machine: the page must not
/// send customers wherever a link says.
fn return_url(visit: Result<Query<Visit>, QueryRejection>) -> Option<String> {
    let Query(visit) = visit.ok()?;
    let url = Url::parse(&visit.return_url?).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    (is_web && is_local).then(|| url.into())
}

impl PayPage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_template("pay.html", include_str!("../templates/pay.html"))?;
        Ok(Self { templates })
    }

    fn render(
        &self,
        payment: Option<&Payment>,
        return_url: Option<String>,
    ) -> Result<Response, Answer> {
        let status = match payment {
            Some(_) => StatusCode::OK,
            None => StatusCode::NOT_FOUND,
        };
        let view = minijinja::value::Serde(View::of(payment, return_url));
        let html = self
            .templates
            .get_template("pay.html")
            .and_then(|template| template.render(view))
            .map_err(anyhow::Error::from)?;
        let headers = [
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        Ok((status, headers, Html(html)).into_response())
    }
}

impl View {
    fn of(payment: Option<&Payment>, return_url: Option<String>) -> Self {
        let (heading, state, tone) = match payment.map(Payment::status) {
            None => (
                "No such payment",
                "There is no payment at this address.",
                "failed",
            ),
            Some(Status::Pending) => ("Pay Waybill", "Waiting for your payment.", "waiting"),
            Some(Status::Authorized | Status::Captured) => {
                ("Thank you", "Paid. You will hear from the shop.", "done")
            }
            Some(Status::Declined) => (
                "Payment declined",
                "Declined: insufficient funds. Nothing was charged.",
                "failed",
            ),
            Some(Status::Voided) => (
                "Payment closed",
                "This payment was closed. Nothing was charged.",
                "failed",
            ),
            Some(Status::Refunded) => (
                "Payment refunded",
                "Refunded. The money is on its way back to you.",
                "done",
            ),
        };
        Self {
            merchant: MERCHANT,
            heading,
            payable: payment.is_some_and(payments::payable),
            state,
            tone,
            return_url,
            payment: payment.map(|payment| PaymentView {
                order_id: payment.order_id.clone(),
                transaction_id: payment.transaction_id().map(str::to_owned),
                amount: dollars(payment.amount),
            }),
        }
    }
}

/// Cents as the customer reads them: 1234567 is $12,345.67.
fn dollars(cents: i64) -> String {
    let (whole, rest) = (cents / 100, cents % 100);
    let mut digits = whole.to_string();
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, ',');
    }
    format!("${digits}.{rest:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_read_as_dollars() {
        assert_eq!(dollars(5), "$0.05");
        assert_eq!(dollars(12_500), "$125.00");
        assert_eq!(dollars(99_999), "$999.99");
        assert_eq!(dollars(100_000_000), "$1,000,000.00");
    }

    #[test]
    fn only_a_shop_on_this_machine_is_linked() {
        let link = |url: &str| {
            let asked = Some(url.to_owned());
            return_url(Ok(Query(Visit { return_url: asked })))
        };
        assert!(link("http://localhost:8080/orders/1").is_some());
        assert!(link("https://127.0.0.1/").is_some());
        assert!(link("http://localhost.example.com/").is_none());
        assert!(link("http://localhost@example.com/").is_none());
        assert!(link("javascript:alert(1)").is_none());
        assert!(link("//127.0.0.1/").is_none());
    }
}
