//! The provider's webhook, `POST /api/payment/callback`.
//!
//! | module | is |
//! | --- | --- |
//! | [`signature`] | whether the provider sent it |

pub mod signature;

use axum::body::Body as RawBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;
use waybill_domain::Timestamp;
use waybill_domain::payment::{PaymentReceipt, ReceiptStatus};

use crate::http::input::{self, Fields, FromFields};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::infra::{Infra, Shared};
use crate::shop::payment_callback;

/// Longest accepted ids and reasons, in characters.
const MAX_TEXT: usize = 500;
/// Largest amount, in cents.
const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// The provider's words. Its own rules come with parsing, also when no
/// signature vouches for them.
struct Receipt(PaymentReceipt);

impl FromFields for Receipt {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let awakeable_id = fields.required_word("awakeable_id", MAX_TEXT)?;
        let status = match fields.required_word("status", 20)?.as_str() {
            "success" => ReceiptStatus::Success,
            "failed" => ReceiptStatus::Failed,
            _ => {
                return Err(Problem::invalid(
                    "status",
                    "status must be success or failed",
                ));
            }
        };
        let paid = status == ReceiptStatus::Success;
        let amount = fields.integer("amount", 0..=MAX_AMOUNT)?;
        if paid && amount.is_none() {
            return Err(Problem::invalid(
                "amount",
                "amount is missing: say how many cents were paid",
            ));
        }
        let receipt = PaymentReceipt {
            awakeable_id,
            transaction_id: fields.word("transaction_id", MAX_TEXT)?.unwrap_or_default(),
            amount: amount.unwrap_or(0),
            status,
            reason: fields.text("reason", MAX_TEXT)?,
            currency: fields.word("currency", MAX_TEXT)?,
            order_id: fields.word("order_id", MAX_TEXT)?,
        };
        if (paid || !receipt.transaction_id.is_empty()) && !receipt.names_a_transaction() {
            return Err(Problem::invalid(
                "transaction_id",
                "transaction_id must be 1 to 100 visible ASCII characters: say which payment this was",
            ));
        }
        Ok(Self(receipt))
    }
}

/// The payment provider's webhook; signed with Webhook-Signature
#[utoipa::path(
    post,
    path = "/api/payment/callback",
    request_body(content = inline(body::Receipt)),
    responses(
        (status = 200, description = "Written down durably"),
        (status = 400, description = "Of another order or currency, or not readable"),
        (status = 401, description = "The signature is missing or wrong"),
        (status = 404, description = "No payment waits under this awakeable_id"),
        (status = 409, description = "The transaction belongs to another payment"),
        (status = 422, description = "A successful payment of another amount"),
    ),
)]
pub(super) async fn callback(
    State(infra): State<Shared>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Reply, Problem> {
    let body = input::read(body).await?;
    check_sender(&infra, &headers, &body)?;
    let fields = if body.trim_ascii().is_empty() {
        Fields::default()
    } else {
        Fields::from_json(&body)?
    };
    let Receipt(receipt) = Receipt::from_fields(&fields)?;
    let callback = payment_callback::receive(&infra, receipt).await?;
    Reply::new(
        StatusCode::OK,
        &json!({ "order_id": callback.order_id, "result": callback.result }),
    )
}

fn check_sender(infra: &Infra, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    match infra.settings.payment_webhook_secret() {
        Some(secret) => signature::check(secret, headers, body, Timestamp::now()),
        None if infra.settings.is_demo() => Ok(()),
        // `Settings::check` lets no gateway come to this.
        None => Err(Problem::internal("no PAYMENT_WEBHOOK_SECRET")),
    }
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Receipt {
        /// As the checkout answered it.
        #[schema(max_length = 500, pattern = r"\S")]
        awakeable_id: String,
        /// The provider's: 1 to 100 visible ASCII characters; empty when nothing moved.
        #[schema(max_length = 100, pattern = r"^\s*[!-~]*\s*$")]
        transaction_id: Option<String>,
        /// Cents; checked for success only.
        #[schema(minimum = 0, maximum = 1_000_000_000_000_u64)]
        amount: Option<i64>,
        /// success or failed.
        #[schema(pattern = r"^\s*(success|failed)\s*$")]
        status: String,
        /// Why it failed.
        #[schema(max_length = 500)]
        reason: Option<String>,
        /// Checked if it is there: USD.
        #[schema(max_length = 500)]
        currency: Option<String>,
        /// Checked if it is there: the order that `awakeable_id` waits for.
        #[schema(max_length = 500)]
        order_id: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_receipt: Receipt);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<PaymentReceipt, Option<String>> {
        let fields = Fields::from_json(json.as_bytes()).unwrap();
        Receipt::from_fields(&fields)
            .map(|Receipt(receipt)| receipt)
            .map_err(|problem| problem.field.clone())
    }

    #[test]
    fn the_proposals_callbacks_are_read_as_they_are() {
        let paid = parsed(
            r#"{"awakeable_id": "sign_1", "transaction_id": "txn-123", "amount": 12500, "status": "success"}"#,
        )
        .unwrap();
        assert_eq!((paid.amount, paid.status), (12_500, ReceiptStatus::Success));
        let failed = parsed(
            r#"{"awakeable_id": "sign_1", "transaction_id": "", "amount": 0, "status": "failed"}"#,
        )
        .unwrap();
        assert_eq!(failed.transaction_id, "");
        assert_eq!(failed.status, ReceiptStatus::Failed);
    }

    #[test]
    fn a_failure_needs_no_amount_and_unknown_fields_do_no_harm() {
        let failed = parsed(
            r#"{"awakeable_id":"a","status":"failed","reason":"no funds","risk":{"score":9}}"#,
        )
        .unwrap();
        assert_eq!(
            (failed.amount, failed.reason.as_deref()),
            (0, Some("no funds"))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, field) in [
            ("{}", "awakeable_id"),
            (r#"{"awakeable_id":"a"}"#, "status"),
            (r#"{"awakeable_id":"a","status":"paid"}"#, "status"),
            (
                r#"{"awakeable_id":"a","status":"success","transaction_id":"t"}"#,
                "amount",
            ),
            (
                r#"{"awakeable_id":"a","status":"success","transaction_id":"t","amount":-1}"#,
                "amount",
            ),
            (
                r#"{"awakeable_id":"a","status":"success","amount":1}"#,
                "transaction_id",
            ),
            (
                r#"{"awakeable_id":"a","status":"failed","transaction_id":"a b"}"#,
                "transaction_id",
            ),
            (r#"{"awakeable_id":{},"status":"failed"}"#, "awakeable_id"),
        ] {
            assert_eq!(parsed(json).unwrap_err().as_deref(), Some(field), "{json}");
        }
    }
}
