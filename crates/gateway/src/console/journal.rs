//! The journal panel: an order's invocations and their steps, in Restate's own
//! words, each explained.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::ids::OrderId;

use super::shell::{order_href, span};
use super::views::Console;
use super::views::View;
use crate::restate::admin::AdminError;
use crate::restate::journal::{self, Invocation, Step};

/// `#journal`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Journal {
    /// `loading`, `shown`, `unreachable`; nothing on pages without an order.
    pub state: Option<&'static str>,
    /// The page that shows it without JavaScript.
    pub href: String,
    /// Every invocation, newest first.
    pub calls: Vec<CallRow>,
}

/// One invocation.
#[derive(Debug, Clone, Serialize)]
pub struct CallRow {
    /// Restate's id.
    pub id: String,
    /// What was called, whole.
    pub target: String,
    /// Service and handler.
    pub name: String,
    /// Restate's word for how it stands.
    pub status: String,
    /// What that word means.
    pub meaning: &'static str,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
    /// When it began.
    pub began: Timestamp,
    /// How long it took, once it has ended.
    pub took: Option<String>,
    /// Tries that failed.
    pub tries: u64,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// File that holds the function.
    pub source: Option<String>,
    /// Why it failed the last time.
    pub failure: Option<String>,
    /// Whether it is under way.
    pub open: bool,
    /// Its steps, oldest first.
    pub steps: Vec<StepRow>,
}

/// One step of an invocation.
#[derive(Debug, Clone, Serialize)]
pub struct StepRow {
    /// What it does.
    pub name: String,
    /// How long it took, or how it stands.
    pub took: String,
    /// Which colour.
    pub family: &'static str,
    /// The function that performs it: file and name.
    pub source: Option<String>,
}

/// The journal of an order, as far as Restate can be asked.
pub async fn of_order(console: &Console, id: &OrderId) -> Journal {
    let (state, calls) = match journal::of_order(&console.admin_api, id).await {
        Ok(journal) => (
            "shown",
            journal.invocations.iter().rev().map(CallRow::of).collect(),
        ),
        Err(error) => {
            if let AdminError::Refused(_) = error {
                tracing::warn!(order.id = %id, cause = %error, "the journal of {id} cannot be shown");
            }
            ("unreachable", Vec::new())
        }
    };
    Journal {
        state: Some(state),
        href: order_href(id.as_str()),
        calls,
    }
}

impl CallRow {
    fn of(call: &Invocation) -> Self {
        let failed = call.succeeded == Some(false);
        let (family, icon) = tone(&call.status, failed);
        Self {
            id: call.id.clone(),
            target: call.target.clone(),
            name: call.handler.clone(),
            status: call.status.clone(),
            meaning: meaning(&call.status),
            family,
            icon,
            began: call.created_at,
            took: call.duration_ms.map(|duration| span(duration.into())),
            tries: call.retry_count,
            next_try: call.next_retry_at,
            source: call.source.as_deref().map(in_services),
            open: !matches!(call.status.as_str(), "completed" | "scheduled"),
            failure: call.last_failure.clone(),
            steps: call.steps.iter().map(StepRow::of).collect(),
        }
    }
}

impl StepRow {
    fn of(step: &Step) -> Self {
        let took = match step.duration_ms {
            Some(duration) => span(duration.into()),
            None if step.waiting => "waiting".to_owned(),
            None => String::new(),
        };
        Self {
            name: step.name.clone(),
            took,
            family: if step.waiting { "waiting" } else { "done" },
            source: step.source.as_deref().map(in_services),
        }
    }
}

/// A place in the services' sources: all of them have the same beginning.
fn in_services(source: &str) -> String {
    source
        .strip_prefix("crates/services/src/")
        .unwrap_or(source)
        .to_owned()
}

/// What Restate's words mean, for people who do not know them.
pub fn meaning(status: &str) -> &'static str {
    match status {
        "pending" => "accepted, waiting for its turn",
        "scheduled" => "will start at a later time",
        "ready" => "about to run",
        "running" => "its code runs right now",
        "suspended" => "waits durably for an answer or a timer; costs nothing meanwhile",
        "backing-off" => "its last try failed; Restate tries again by itself",
        "paused" => "failed too often; an operator has to resume it",
        "completed" => "ended; kept for a while to be looked at",
        _ => "Restate's own word",
    }
}

/// Colour and icon of Restate's words.
pub fn tone(status: &str, failed: bool) -> (&'static str, &'static str) {
    match status {
        "completed" if failed => ("failed", "failed"),
        "completed" => ("done", "done"),
        "running" | "ready" => ("working", "working"),
        "backing-off" => ("waiting", "alert"),
        "paused" => ("failed", "pause"),
        "suspended" | "scheduled" | "pending" => ("waiting", "waiting"),
        _ => ("neutral", "ahead"),
    }
}

impl View for Journal {
    const TEMPLATE: &'static str = "journal.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Sample, samples};

    impl Sample for Journal {
        fn samples() -> Vec<Self> {
            let call = CallRow {
                id: "inv_1abc".into(),
                target: "OrderFulfillmentWorkflow/alice.1/Run".into(),
                name: "OrderFulfillmentWorkflow.Run".into(),
                status: "suspended".into(),
                meaning: meaning("suspended"),
                family: "waiting",
                icon: "waiting",
                began: samples::at(0),
                took: Some("5s".into()),
                tries: 2,
                next_try: Some(samples::at(9)),
                source: Some("order_fulfillment.rs".into()),
                open: true,
                failure: Some("<boom>".into()),
                steps: vec![StepRow {
                    name: "Sleep".into(),
                    took: "5s".into(),
                    family: "done",
                    source: Some("order_fulfillment.rs, run".into()),
                }],
            };
            let shown = Self {
                state: Some("shown"),
                href: "/orders/x".into(),
                calls: vec![call],
            };
            vec![
                Self::default(),
                Self {
                    state: Some("loading"),
                    ..shown.clone()
                },
                Self {
                    state: Some("unreachable"),
                    ..shown.clone()
                },
                Self {
                    calls: vec![],
                    ..shown.clone()
                },
                shown,
            ]
        }
    }

    #[test]
    fn restates_words_are_explained() {
        for status in ["running", "suspended", "backing-off", "paused", "completed"] {
            assert_ne!(meaning(status), meaning("?"), "{status}");
        }
    }
}
