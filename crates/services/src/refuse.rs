//! The one place where a domain refusal becomes a terminal error, and where a
//! terminal error is recognized as Restate's own cancellation.
//!
//! | what happened | becomes |
//! | --- | --- |
//! | a [`Refusal`] facing the ingress | a terminal error: code = its HTTP status, message = its JSON |
//! | a step that does not fit the order (a defect) | a terminal error 500: retrying would not help |
//! | Restate cancels an invocation | terminal error 409 out of the next await ([`is_cancellation`]) |
//! | anything else | retried by Restate |

use restate_sdk::errors::{HandlerError, TerminalError};
use waybill_domain::order::IllegalStep;
use waybill_domain::refusal::Refusal;

/// Facing the ingress.
#[expect(clippy::needless_pass_by_value, reason = "handed over by map_err")]
pub fn refuse(refusal: Refusal) -> HandlerError {
    let message = serde_json::to_string(&refusal).unwrap_or_else(|_| refusal.to_string());
    TerminalError::new_with_code(refusal.code(), message).into()
}

/// A defect of ours that no retry mends.
#[expect(clippy::needless_pass_by_value, reason = "handed over by map_err")]
pub fn defect(illegal: IllegalStep) -> HandlerError {
    tracing::error!(error = %illegal, "a step does not fit its order");
    TerminalError::new(illegal.to_string()).into()
}

/// Whether a terminal error out of an await is Restate's cancellation (or the
/// end of a callee that was killed). Inside, nothing of ours answers 409.
pub fn is_cancellation(error: &TerminalError) -> bool {
    error.code() == 409
}
