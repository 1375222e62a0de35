//! Every error a caller can see: a [`Problem`] (RFC 9457) with a stable `type`,
//! a sentence that says what happened and what to do, and, for bad input, the
//! field.
//!
//! Which error belongs where: `domain` says [`Refusal`] (nothing was done, 4xx);
//! Restate's absence is [`Failure::Unavailable`] (503, try again); SQLite's is
//! [`sqlx::Error`] (500, or 503 when it is only busy, or its disk is at fault). All of them become a
//! `Problem` by `?`. [`crate::console::present`] logs those that are our fault,
//! once, and writes each in the form its asker understands.

use std::ops::Deref;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use services::client::Failure;
use waybill_domain::refusal::Refusal;

/// The kind of [`Problem::wrong_password`].
pub const WRONG_PASSWORD: &str = "wrong_password";

/// The kind of [`Problem::factor_needed`].
pub const FACTOR_NEEDED: &str = "factor_needed";
/// The kind of the problem that a second factor is missing.
pub const CODE_NEEDED: &str = "code_needed";

/// What the types of problems begin with.
const TYPE_PREFIX: &str = "urn:waybill:problem:";

/// One error, as the caller sees it. Boxed, so that results stay small.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Facts>);

/// What a [`Problem`] says.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// Stable name, `urn:waybill:problem:{kind}`.
    #[serde(rename = "type")]
    type_uri: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status code.
    #[serde(serialize_with = "as_number")]
    pub status: StatusCode,
    /// What happened and what to do.
    pub detail: String,
    /// The field that was wrong, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Facts for machines, such as `sku` and `available`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[serde(skip)]
    cause: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem of `kind` (`snake_case`, stable).
    pub fn new(
        status: StatusCode,
        kind: &str,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Facts {
            type_uri: format!("{TYPE_PREFIX}{kind}"),
            title: title.into(),
            status,
            detail: detail.into(),
            field: None,
            extra: Map::new(),
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// Input that is not accepted, 400.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Refusal::invalid(field, detail).into()
    }

    /// Something that does not exist, or not for this caller, 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// Nobody is signed in, 401.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Not signed in",
            detail,
        )
        .with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"waybill\""),
        )
    }

    /// Somebody is signed in who may not do this, 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// Somebody whose role needs a second factor has none yet, 403.
    pub fn factor_needed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            FACTOR_NEEDED,
            "Second factor needed",
            "your role needs a second factor here: set one up at /account/factor first",
        )
    }

    /// The same as an answer to somebody who is not signed in yet, 401.
    #[must_use]
    pub fn before_sign_in(mut self) -> Self {
        if self.0.status == StatusCode::FORBIDDEN {
            self.0.status = StatusCode::UNAUTHORIZED;
        }
        self
    }

    /// Something that does not go with how things are, 409.
    pub fn conflict(kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title, detail)
    }

    /// User name or password is wrong, 401.
    pub fn wrong_credentials(detail: impl Into<String>) -> Self {
        let title = "Not signed in";
        Self::new(StatusCode::UNAUTHORIZED, "wrong_credentials", title, detail)
            .with_field("password")
    }

    /// Somebody is signed in and has shown a wrong password, 403: a 401 would say that
    /// they are not.
    pub fn wrong_password(detail: impl Into<String>) -> Self {
        let title = "Wrong password";
        Self::new(StatusCode::FORBIDDEN, WRONG_PASSWORD, title, detail)
    }

    /// Too many tries: again after `seconds`, 429.
    pub fn too_many_tries(seconds: u64, detail: impl Into<String>) -> Self {
        let title = "Too many tries";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tries",
            title,
            detail,
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// What was asked there failed, 502.
    pub fn bad_gateway(kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, kind, title, detail)
    }

    /// What Restate has done and cannot be written down here, where it is looked up, 503.
    pub fn not_kept(cause: impl std::fmt::Display) -> Self {
        Self::unavailable("this cannot be kept here at the moment: try again later")
            .with_cause(cause)
    }

    /// What should work in a moment, 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            detail,
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("2"))
    }

    /// A defect of ours, 500. `cause` is for the log only.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong",
            "this should not happen: try again, and tell the operator if it stays",
        )
        .with_cause(cause)
    }

    /// The same with the field that was wrong.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.0.field = Some(field.to_owned());
        self
    }

    /// The same in other words.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The same with a fact for machines.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same with a response header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same with what only the log shows.
    #[must_use]
    pub fn with_cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The stable name of its kind, e.g. `out_of_stock`.
    pub fn kind(&self) -> &str {
        &self.type_uri[TYPE_PREFIX.len()..]
    }

    /// What only the log shows.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

impl Deref for Problem {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

/// The answer as JSON. The problem itself travels along in the extensions, for
/// [`crate::console::present`].
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.code()).unwrap_or(StatusCode::BAD_REQUEST);
        let mut problem = Self::new(
            status,
            refusal.kind(),
            title_of(&refusal),
            refusal.to_string(),
        );
        if let Ok(Value::Object(facts)) = serde_json::to_value(&refusal) {
            for (name, value) in facts {
                match name.as_str() {
                    "type" | "detail" => {}
                    "field" => problem.0.field = value.as_str().map(str::to_owned),
                    // `status` is the HTTP status in a problem.
                    "status" => {
                        problem.0.extra.insert("order_status".to_owned(), value);
                    }
                    _ => {
                        problem.0.extra.insert(name, value);
                    }
                }
            }
        }
        match refusal {
            Refusal::CodeNeeded | Refusal::WrongCode | Refusal::CodeUsed => {
                problem.with_field("code")
            }
            // A day after the first of them at the latest.
            Refusal::TooManyCodes => problem
                .with_field("code")
                .with_header(header::RETRY_AFTER, HeaderValue::from_static("3600")),
            // What passes by itself.
            Refusal::NotReady { .. } | Refusal::StockUnknown { .. } => {
                problem.with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            _ => problem,
        }
    }
}

fn title_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Invalid { .. } => "Invalid input",
        Refusal::EmptyCart => "The cart is empty",
        Refusal::NotInCart { .. } => "Not in the cart",
        Refusal::OutOfStock { .. } => "Not enough stock",
        Refusal::StockUnknown { .. } => "Stock not known yet",
        Refusal::PriceChanged { .. } => "Prices have changed",
        Refusal::NotSold { .. } => "No longer sold",
        Refusal::SkuTaken { .. } => "SKU taken",
        Refusal::UnknownProduct { .. } => "Unknown product",
        Refusal::ZoneTaken { .. } => "Zone taken",
        Refusal::UnknownZone { .. } => "Unknown zone",
        Refusal::EditedMeanwhile { .. } => "Changed meanwhile",
        Refusal::ImportLost => "Import not whole",
        Refusal::CartChanged => "The cart has changed",
        Refusal::UnknownOrder { .. } => "Unknown order",
        Refusal::OtherTerms { .. } => "Placed on other terms",
        Refusal::TooManyUnpaid { .. } => "Too many unpaid orders",
        Refusal::IdempotencyKeyReused => "Idempotency key reused",
        Refusal::TooLate { .. } => "Too late",
        Refusal::NotReady { .. } => "Not ready yet",
        Refusal::AlreadyDecided { .. } | Refusal::ReturnDecided { .. } => "Already decided",
        Refusal::NotDelivered { .. } => "Not delivered",
        Refusal::NothingKept { .. } => "Too old",
        Refusal::ReturnWindowOver { .. } => "Too late to return",
        Refusal::ReturnOpen { .. } => "Another return is under way",
        Refusal::NotReturnable { .. } => "Too many pieces",
        Refusal::UnknownReturn { .. } => "Unknown return",
        Refusal::ReturnUndecided { .. } => "Not decided yet",
        Refusal::RefundTooMuch { .. } => "More than there is",
        Refusal::UserExists { .. } => "Name taken",
        Refusal::ShopOpened { .. } => "Opened already",
        Refusal::UnknownUser { .. } => "Unknown user",
        Refusal::NotSignedIn => "Not signed in",
        Refusal::OtherIdentity { .. } => "Another account",
        Refusal::LinkOver => "Link no longer works",
        Refusal::CodeNeeded => "Code needed",
        Refusal::WrongCode => "Wrong code",
        Refusal::CodeUsed => "Code used already",
        Refusal::TooManyCodes => "Too many wrong codes",
        Refusal::HasFactor => "Second factor is on",
        Refusal::NoFactor => "No second factor",
        Refusal::UnknownPayment => "Unknown payment",
        Refusal::TransactionInUse { .. } => "Transaction in use",
        Refusal::WrongAmount { .. } => "Wrong amount",
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            // Restate's own cancellation of what was asked.
            Failure::Terminal { code: 409, message } => Self::new(
                StatusCode::CONFLICT,
                "cancelled_by_operator",
                "Cancelled by an operator",
                "an operator cancelled this in Restate: look at the order, then try again",
            )
            .with_cause(message),
            Failure::Terminal { code, message } => Self::new(
                StatusCode::BAD_GATEWAY,
                "services_failed",
                "The services failed",
                "the services could not do this: try again, and tell the operator if it stays",
            )
            .with_cause(format!("terminal error {code}: {message}")),
            Failure::Unavailable(cause) => Self::unavailable(
                "Restate or the services do not answer: nothing is lost, try again in a moment",
            )
            .with_cause(cause),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => {
                Self::unavailable("the database is busy: try again in a moment").with_cause(error)
            }
            error if is_of_the_disk(&error) => {
                Self::unavailable("the database cannot be written at the moment: try again later")
                    .with_cause(error)
            }
            _ => Self::internal(error),
        }
    }
}

/// Whether SQLite says that its disk is at fault: full, read-only, or failing.
fn is_of_the_disk(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    // SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR; the higher bits say which of these.
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 8 | 10 | 13))
}

/// What a caller is told when a handler panics: a defect of ours.
pub fn of_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let cause = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other
            .downcast::<&str>()
            .map_or_else(|_| "unknown".to_owned(), |text| (*text).to_owned()),
    };
    Problem::internal(format!("panic: {cause}")).into_response()
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use waybill_domain::ids::{OrderId, Sku};
    use waybill_domain::order::OrderStatus;

    use super::*;

    fn wire(problem: &Problem) -> Value {
        serde_json::to_value(problem).unwrap()
    }

    #[test]
    fn a_shortage_keeps_its_facts() {
        let refusal = Refusal::OutOfStock {
            sku: Sku::parse("P001").unwrap(),
            available: 3,
        };
        assert_eq!(
            wire(&refusal.into()),
            json!({
                "type": "urn:waybill:problem:out_of_stock",
                "title": "Not enough stock",
                "status": 409,
                "detail": "not enough stock of P001: 3 left, so lower the quantity",
                "sku": "P001",
                "available": 3
            })
        );
    }

    #[test]
    fn bad_input_names_its_field() {
        let problem = Problem::invalid("quantity", "quantity must be 1 to 999");
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        assert_eq!(problem.kind(), "invalid");
        assert_eq!(wire(&problem)["field"], "quantity");
    }

    #[test]
    fn an_orders_status_does_not_hide_the_http_status() {
        let refusal = Refusal::TooLate {
            order_id: OrderId::parse("alice.1").unwrap(),
            status: OrderStatus::Delivered,
        };
        let wire = wire(&refusal.into());
        assert_eq!(wire["status"], 409);
        assert_eq!(wire["order_status"], "delivered");
    }

    #[test]
    fn causes_are_not_told() {
        for problem in [
            Problem::internal("disk on fire"),
            Failure::Unavailable("connection refused to 10.0.0.7".into()).into(),
            Failure::Terminal {
                code: 500,
                message: "secret".into(),
            }
            .into(),
        ] {
            let told = wire(&problem).to_string();
            let cause = problem.cause().unwrap();
            assert!(!told.contains(cause), "{told}");
        }
    }

    #[test]
    fn what_restate_cannot_do_now_is_a_503() {
        let problem = Problem::from(Failure::Unavailable("down".into()));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
