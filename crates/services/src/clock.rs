//! Time, the same for every replay.
//!
//! A time that a message brings costs nothing: whoever asks has stamped it, and a
//! stranger's answer is stamped in the `run` that fetched it ([`stamp`]). Only where
//! nobody has, the clock is read into the journal, which costs two of its entries.

use std::future::Future;
use std::time::Duration;

use restate_sdk::prelude::*;
use waybill_domain::Timestamp;

/// Contexts that tell the time.
pub trait Clock {
    /// The time of now, in whole milliseconds. An error means only that the
    /// invocation is cancelled.
    fn now(&self) -> impl Future<Output = Result<Timestamp, TerminalError>> + Send;

    /// The time that a message brings, or else that of now.
    fn time_of(
        &self,
        said: Option<Timestamp>,
    ) -> impl Future<Output = Result<Timestamp, TerminalError>> + Send;

    /// The time after `wait` from now. Journaled as a whole: services that come
    /// back with another setting must not compute another end of the wait.
    fn later(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<Timestamp, TerminalError>> + Send;

    /// Whether `wait` has passed since then. Journaled as a whole, too.
    fn has_passed(
        &self,
        wait: Duration,
        since: Timestamp,
    ) -> impl Future<Output = Result<bool, TerminalError>> + Send;
}

// The SDK's context traits are generic over the context's lifetime in a way
// that hides from the compiler that their futures are Send: so, one by one.
macro_rules! clock {
    ($($context:ident),*) => {$(
        impl Clock for $context<'_> {
            async fn now(&self) -> Result<Timestamp, TerminalError> {
                self.run(|| async { Ok(Json(stamp())) })
                    .name("now")
                    .await
                    .map(Json::into_inner)
            }

            async fn time_of(
                &self,
                said: Option<Timestamp>,
            ) -> Result<Timestamp, TerminalError> {
                match said {
                    Some(said) => Ok(said),
                    None => self.now().await,
                }
            }

            async fn later(&self, wait: Duration) -> Result<Timestamp, TerminalError> {
                self.run(|| async move { Ok(Json(stamp() + wait)) })
                    .name("later")
                    .await
                    .map(Json::into_inner)
            }

            async fn has_passed(
                &self,
                wait: Duration,
                since: Timestamp,
            ) -> Result<bool, TerminalError> {
                self.run(|| async move { Ok(stamp() >= since + wait) })
                    .name("has_passed")
                    .await
            }
        }
    )*};
}

clock!(ObjectContext, SharedObjectContext, WorkflowContext);

/// The time of now, in whole milliseconds: for what is journaled, and nowhere else.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock; its callers journal the answer"
)]
pub(crate) fn stamp() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// How long to sleep until `end`. Not journaled, and need not be: Restate keeps the
/// end of the first sleep, whatever a replay computes.
pub(crate) fn left_until(end: Timestamp) -> Duration {
    end.duration_since(stamp()).try_into().unwrap_or_default()
}
