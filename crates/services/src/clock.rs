//! Time, journaled: a replay sees the time of the first run.

use std::future::Future;
use std::time::Duration;

use restate_sdk::prelude::*;
use waybill_domain::Timestamp;

/// Contexts that tell the time.
pub trait Clock {
    /// The time of now, in whole milliseconds. An error means only that the
    /// invocation is cancelled.
    fn now(&self) -> impl Future<Output = Result<Timestamp, TerminalError>> + Send;

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
                self.run(|| async { Ok(Json(wall_clock())) })
                    .name("now")
                    .await
                    .map(Json::into_inner)
            }

            async fn later(&self, wait: Duration) -> Result<Timestamp, TerminalError> {
                self.run(|| async move { Ok(Json(wall_clock() + wait)) })
                    .name("later")
                    .await
                    .map(Json::into_inner)
            }

            async fn has_passed(
                &self,
                wait: Duration,
                since: Timestamp,
            ) -> Result<bool, TerminalError> {
                self.run(|| async move { Ok(wall_clock() >= since + wait) })
                    .name("has_passed")
                    .await
            }
        }
    )*};
}

clock!(ObjectContext, SharedObjectContext, WorkflowContext);

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock; its callers journal the answer"
)]
fn wall_clock() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
