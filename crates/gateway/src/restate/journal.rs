//! An order's invocations and steps, in Restate's own words.
//!
//! Where they are found: the order's workflow by its key; of the customer's
//! session what came from outside (checkout, callback, cancellation), by the
//! order id in its input; then, from journal to journal, whatever those called.
//! Every query names keys or ids, so that none reads through all invocations.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::functions;
use services::wire::after_sales::{ASK, ASK_AGAIN, DECIDE, RECEIVE, REFUND_GOODWILL, WITHDRAW};
use services::wire::order_fulfillment::{GET_RECORD, IS_REMEMBERED, SOLD};
use services::wire::user_session::{AWAIT_PAYMENT, CANCEL_ORDER, CHECKOUT, PAYMENT_CALLBACK};
use services::wire::{AFTER_SALES, Handler, ORDER_FULFILLMENT_WORKFLOW, USER_SESSION};
use waybill_domain::Timestamp;
use waybill_domain::ids::OrderId;
use waybill_domain::words::{self, MAX_DETAIL};

use super::admin::{AdminApi, AdminError, literal, literals};

/// Most invocations that are shown of one order. Each attempt to pay costs
/// about fifteen.
const MOST_INVOCATIONS: usize = 200;
/// How deep calls are followed: checkout, payment, settling, workflow,
/// shipping.
const DEPTH: usize = 6;
/// What a customer or the provider asks of a session about an order, and the wait
/// that follows.
const FROM_OUTSIDE: [Handler; 4] = [CHECKOUT, AWAIT_PAYMENT, PAYMENT_CALLBACK, CANCEL_ORDER];

/// What is asked about an order after its delivery.
const AFTER_DELIVERY: [Handler; 6] = [ASK, DECIDE, WITHDRAW, RECEIVE, REFUND_GOODWILL, ASK_AGAIN];

/// Everything that Restate knows of an order's work, oldest first. Restate
/// forgets the journal of a finished invocation after its retention (an hour).
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Journal {
    /// The invocations.
    pub invocations: Vec<Invocation>,
    /// Tries that failed, of the invocations that are under way.
    pub retry_count: u64,
}

/// One invocation.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Invocation {
    /// Restate's id, e.g. for `restate invocations describe`.
    pub id: String,
    /// What was called, e.g. `UserSession/alice/Checkout`.
    pub target: String,
    /// The service and handler, e.g. `UserSession.Checkout`.
    pub handler: String,
    /// Restate's word: `running`, `suspended`, `backing-off`, `paused`,
    /// `completed`, `ready`, `scheduled`.
    pub status: String,
    /// Whether it ended well; `None` while it has not ended.
    pub succeeded: Option<bool>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last did something.
    pub modified_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// From asked for to ended.
    pub duration_ms: Option<u64>,
    /// Tries that failed since it last ran well.
    pub retry_count: u64,
    /// When it is tried again.
    pub next_retry_at: Option<Timestamp>,
    /// Why it failed the last time, or how it ended.
    pub last_failure: Option<String>,
    /// The invocation that asked for it.
    pub invoked_by: Option<String>,
    /// The function that performs it.
    pub source: Option<String>,
    /// What it has done so far.
    pub steps: Vec<Step>,
}

/// One step of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = JournalStep)]
pub struct Step {
    /// Its place in the journal.
    pub index: u32,
    /// What it is about, e.g. `carrier.book` or `PaymentService.Capture`.
    pub name: String,
    /// `run`, `call`, `send`, `sleep`, `promise`, `state`, `signal`, `output`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When it began.
    pub at: Option<Timestamp>,
    /// When its result came; `None` when it has none or still waits for it.
    pub completed_at: Option<Timestamp>,
    /// From begun to done.
    pub duration_ms: Option<u64>,
    /// Whether it still waits for its result.
    pub waiting: bool,
    /// Why it failed the last time it was tried, if it ever did.
    pub failure: Option<String>,
    /// The function that performs it.
    pub source: Option<String>,
}

/// Everything that Restate knows of an order's work.
pub async fn of_order(admin_api: &AdminApi, order: &OrderId) -> Result<Journal, AdminError> {
    let mut found: BTreeMap<String, InvocationRow> = BTreeMap::new();
    let mut entries: HashMap<String, Vec<EntryRow>> = HashMap::new();
    let mut failures: HashMap<String, Vec<Failed>> = HashMap::new();
    let mut next = roots(admin_api, order).await?;
    for _ in 0..DEPTH {
        next.retain(|row| !found.contains_key(&row.id));
        next.truncate(MOST_INVOCATIONS - found.len());
        if next.is_empty() {
            break;
        }
        let ids: Vec<String> = next.iter().map(|row| row.id.clone()).collect();
        found.extend(next.drain(..).map(|row| (row.id.clone(), row)));
        for failed in failures_of(admin_api, &ids).await? {
            failures.entry(failed.id.clone()).or_default().push(failed);
        }
        let mut called = HashSet::new();
        for entry in entries_of(admin_api, &ids).await? {
            called.extend(entry.called());
            entries.entry(entry.id.clone()).or_default().push(entry);
        }
        called.retain(|id| !found.contains_key(id));
        if !called.is_empty() {
            next = invocations(
                admin_api,
                &format!("id IN ({})", literals(called.iter().map(String::as_str))),
            )
            .await?;
        }
    }
    let mut invocations: Vec<_> = found
        .into_values()
        .map(|row| {
            let entries = entries.remove(&row.id).unwrap_or_default();
            let failures = failures.remove(&row.id).unwrap_or_default();
            row.invocation(&entries, &failures)
        })
        .collect();
    invocations.sort_by_key(|invocation| invocation.created_at);
    let under_way = invocations.iter().filter(|it| it.completed_at.is_none());
    Ok(Journal {
        retry_count: under_way.map(|invocation| invocation.retry_count).sum(),
        invocations,
    })
}

/// What nobody of ours called: it came from outside.
async fn roots(admin_api: &AdminApi, order: &OrderId) -> Result<Vec<InvocationRow>, AdminError> {
    let mut roots = invocations(
        admin_api,
        &format!(
            "target_service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND target_service_key = {} \
             AND target_handler_name NOT IN ({})",
            literal(order.as_str()),
            literals([GET_RECORD, IS_REMEMBERED, SOLD].map(|handler| handler.name))
        ),
    )
    .await?;
    roots.extend(
        invocations(
            admin_api,
            &format!(
                "target_service_name = '{AFTER_SALES}' AND target_service_key = {} \
                 AND target_handler_name IN ({}) \
                 ORDER BY created_at DESC LIMIT {MOST_INVOCATIONS}",
                literal(order.as_str()),
                literals(AFTER_DELIVERY.map(|handler| handler.name))
            ),
        )
        .await?,
    );
    let of_user = invocations(
        admin_api,
        &format!(
            "target_service_name = '{USER_SESSION}' AND target_service_key = {} AND target_handler_name \
             IN ({}) \
             ORDER BY created_at DESC LIMIT {MOST_INVOCATIONS}",
            literal(order.owner().as_str()),
            literals(FROM_OUTSIDE.map(|handler| handler.name))
        ),
    )
    .await?;
    if of_user.is_empty() {
        return Ok(roots);
    }
    // The input holds the order's id as a JSON string.
    let needle = hex::encode(format!("\"{order}\""));
    let ids = literals(of_user.iter().map(|row| row.id.as_str()));
    let about: Vec<IdRow> = admin_api
        .query(&format!(
            "SELECT id FROM sys_journal WHERE id IN ({ids}) AND index = 0 \
             AND strpos(encode(raw, 'hex'), '{needle}') > 0"
        ))
        .await?;
    let about: HashSet<String> = about.into_iter().map(|row| row.id).collect();
    roots.extend(of_user.into_iter().filter(|row| about.contains(&row.id)));
    Ok(roots)
}

async fn invocations(admin_api: &AdminApi, which: &str) -> Result<Vec<InvocationRow>, AdminError> {
    admin_api
        .query(&format!(
            "SELECT id, target, target_service_name, target_handler_name, status, completion_result, \
                    completion_failure, created_at, modified_at, completed_at, retry_count, \
                    next_retry_at, last_failure, invoked_by_id \
             FROM sys_invocation WHERE {which}"
        ))
        .await
}

async fn entries_of(admin_api: &AdminApi, ids: &[String]) -> Result<Vec<EntryRow>, AdminError> {
    admin_api
        .query(&format!(
            "SELECT id, index, entry_type, name, appended_at, entry_lite_json FROM sys_journal \
             WHERE id IN ({}) ORDER BY id, index",
            literals(ids.iter().map(String::as_str))
        ))
        .await
}

/// The failed tries that Restate remembers, oldest first: also of steps that
/// worked in the end, and of rounds that were given up.
async fn failures_of(admin_api: &AdminApi, ids: &[String]) -> Result<Vec<Failed>, AdminError> {
    #[derive(Deserialize)]
    struct EventRow {
        id: String,
        event_json: String,
    }
    #[derive(Deserialize)]
    struct Event {
        error_message: String,
        related_command_index: Option<usize>,
    }
    let rows: Vec<EventRow> = admin_api
        .query(&format!(
            "SELECT id, event_json FROM sys_journal_events \
             WHERE id IN ({}) AND event_type = 'TransientError' ORDER BY appended_at",
            literals(ids.iter().map(String::as_str))
        ))
        .await?;
    let read = rows.into_iter().filter_map(|row| {
        let event: Event = serde_json::from_str(&row.event_json).ok()?;
        Some(Failed {
            id: row.id,
            command: event.related_command_index,
            message: words::bounded(&event.error_message, MAX_DETAIL),
        })
    });
    Ok(read.collect())
}

/// A try that failed.
#[derive(Debug)]
struct Failed {
    /// Of which invocation.
    id: String,
    /// At which of its commands.
    command: Option<usize>,
    message: String,
}

#[derive(Debug, Deserialize)]
struct IdRow {
    id: String,
}

#[derive(Debug, Clone, Deserialize)]
struct InvocationRow {
    id: String,
    target: String,
    target_service_name: String,
    target_handler_name: String,
    status: String,
    completion_result: Option<String>,
    completion_failure: Option<String>,
    created_at: Timestamp,
    modified_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    #[serde(default)]
    retry_count: u64,
    next_retry_at: Option<Timestamp>,
    last_failure: Option<String>,
    invoked_by_id: Option<String>,
}

impl InvocationRow {
    fn invocation(self, entries: &[EntryRow], failures: &[Failed]) -> Invocation {
        let handler = format!("{}.{}", self.target_service_name, self.target_handler_name);
        Invocation {
            steps: steps(&handler, entries, failures, self.completed_at.is_some()),
            source: functions::of_handler(&handler).map(|source| source.to_string()),
            succeeded: self.completion_result.map(|result| result == "success"),
            duration_ms: self
                .completed_at
                .map(|at| crate::clock::millis_between(self.created_at, at)),
            modified_at: self.modified_at.unwrap_or(self.created_at),
            // The first try is none that failed. Asleep between two rounds it
            // has no tries, but what failed before is remembered.
            retry_count: if self.completed_at.is_some() {
                0
            } else {
                (self.retry_count.saturating_sub(1)).max(failures.len() as u64)
            },
            last_failure: self
                .last_failure
                .or(self.completion_failure)
                .or_else(|| failures.last().map(|failed| failed.message.clone()))
                .map(|failure| words::bounded(&failure, MAX_DETAIL)),
            id: self.id,
            target: self.target,
            handler,
            status: self.status,
            created_at: self.created_at,
            completed_at: self.completed_at,
            next_retry_at: self.next_retry_at,
            invoked_by: self.invoked_by_id,
        }
    }
}

/// One journal entry: a command, or the notification of its result.
#[derive(Debug, Clone, Deserialize)]
struct EntryRow {
    id: String,
    index: u32,
    entry_type: String,
    #[serde(default)]
    name: String,
    appended_at: Option<Timestamp>,
    #[serde(default)]
    entry_lite_json: Option<String>,
}

impl EntryRow {
    fn content(&self) -> Value {
        let json = self.entry_lite_json.as_deref().unwrap_or("null");
        serde_json::from_str(json).unwrap_or_default()
    }

    /// The invocation that this entry made.
    fn called(&self) -> Option<String> {
        if !self.entry_type.ends_with("Call") || !self.entry_type.starts_with("Command") {
            return None;
        }
        let content = self.content();
        let command = content["Command"].as_object()?.values().next()?;
        Some(command["invocation_id"].as_str()?.to_owned())
    }
}

/// The steps of an invocation: its commands, each with the time of its result,
/// and signals (resolved awakeables).
fn steps(handler: &str, entries: &[EntryRow], failures: &[Failed], ended: bool) -> Vec<Step> {
    // Both the id of a call and its result are notifications: the last counts.
    let mut results: HashMap<u64, Option<Timestamp>> = HashMap::new();
    for entry in entries {
        if let Some(id) = entry.content()["Notification"]["id"]["CompletionId"].as_u64() {
            results.insert(id, entry.appended_at);
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut commands = 0;
    for entry in entries {
        let command = entry.entry_type.starts_with("Command").then_some(commands);
        commands += usize::from(command.is_some());
        let Some((kind, name, completion)) = describe(entry) else {
            continue;
        };
        let completed_at = completion.and_then(|id| results.get(&id).copied().flatten());
        let before = steps.last().map(|step: &Step| step.kind);
        steps.push(Step {
            index: entry.index,
            at: entry.appended_at,
            completed_at,
            duration_ms: entry
                .appended_at
                .zip(completed_at)
                .map(|(from, to)| crate::clock::millis_between(from, to)),
            // Nobody waits for what lost a race, such as the deadline of a
            // payment that came.
            waiting: !ended && completion.is_some_and(|id| !results.contains_key(&id)),
            failure: failures
                .iter()
                .rev()
                .find(|failed| failed.command.is_some() && failed.command == command)
                .map(|failed| failed.message.clone()),
            source: functions::of_step(handler, kind, &name, before)
                .map(|source| source.to_string()),
            kind,
            name,
        });
    }
    steps
}

/// Kind, name and completion id of an entry that is a step.
fn describe(entry: &EntryRow) -> Option<(&'static str, String, Option<u64>)> {
    let content = entry.content();
    if entry.entry_type == "Notification: Signal" {
        return Some(("signal", "awakeable resolved".to_owned(), None));
    }
    let (what, command) = content["Command"].as_object()?.iter().next()?;
    let completion = command["completion_id"].as_u64();
    let key = || command["key"].as_str().unwrap_or_default().to_owned();
    Some(match what.as_str() {
        "Input" => return None,
        "Output" => ("output", "answer".to_owned(), None),
        "Run" => ("run", entry.name.clone(), completion),
        "Call" => (
            "call",
            callee(command),
            command["result_completion_id"].as_u64(),
        ),
        "OneWayCall" => ("send", callee(command), None),
        "Sleep" => ("sleep", sleep_name(command), completion),
        "GetPromise" | "PeekPromise" => ("promise", format!("await {}", key()), completion),
        "CompletePromise" => ("promise", format!("resolve {}", key()), completion),
        "CompleteAwakeable" => ("signal", "resolve awakeable".to_owned(), None),
        "SetState" => ("state", format!("write {}", key()), None),
        "ClearState" | "ClearAllState" => ("state", format!("clear {}", key()), None),
        "GetLazyState" | "GetEagerState" => ("state", format!("read {}", key()), completion),
        "GetLazyStateKeys" | "GetEagerStateKeys" => ("state", "read keys".to_owned(), completion),
        other => ("other", other.to_owned(), completion),
    })
}

/// `PaymentService.Capture`, of a call's target.
fn callee(command: &Value) -> String {
    let target = command["invocation_target"]
        .as_object()
        .and_then(|target| target.values().next());
    let part = |name: &str| {
        target
            .and_then(|target| target[name].as_str())
            .unwrap_or("?")
            .to_owned()
    };
    format!("{}.{}", part("name"), part("handler"))
}

fn sleep_name(command: &Value) -> String {
    let until = command["wake_up_time"]
        .as_i64()
        .and_then(|at| Timestamp::from_millisecond(at).ok());
    until.map_or_else(|| "sleep".to_owned(), |until| format!("until {until}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32, kind: &str, name: &str, at: i64, content: &str) -> EntryRow {
        EntryRow {
            id: "inv_1".to_owned(),
            index,
            entry_type: kind.to_owned(),
            name: name.to_owned(),
            appended_at: Timestamp::from_millisecond(at).ok(),
            entry_lite_json: Some(content.to_owned()),
        }
    }

    /// As Restate 1.7.12 writes them.
    fn entries() -> Vec<EntryRow> {
        vec![
            entry(0, "Command: Input", "", 0, r#"{"Command":{"Input":{}}}"#),
            entry(
                1,
                "Command: Run",
                "carrier.book",
                10,
                r#"{"Command":{"Run":{"completion_id":1,"name":"carrier.book"}}}"#,
            ),
            entry(
                2,
                "Notification: Run",
                "",
                14,
                r#"{"Notification":{"ty":{"Completion":"Run"},"id":{"CompletionId":1},"result":"Success"}}"#,
            ),
            entry(
                3,
                "Command: Call",
                "",
                20,
                r#"{"Command":{"Call":{"invocation_id":"inv_2","invocation_target":{"Service":{"name":"PaymentService","handler":"Capture","scope":null}},"invocation_id_completion_id":7,"result_completion_id":8}}}"#,
            ),
            entry(
                4,
                "Notification: CallInvocationId",
                "",
                21,
                r#"{"Notification":{"ty":{"Completion":"CallInvocationId"},"id":{"CompletionId":7},"result":"InvocationId"}}"#,
            ),
            entry(
                5,
                "Command: Sleep",
                "",
                30,
                r#"{"Command":{"Sleep":{"wake_up_time":60000,"completion_id":9}}}"#,
            ),
            entry(
                6,
                "Notification: Sleep",
                "",
                60000,
                r#"{"Notification":{"ty":{"Completion":"Sleep"},"id":{"CompletionId":9},"result":"Void"}}"#,
            ),
            entry(
                7,
                "Notification: Signal",
                "",
                70000,
                r#"{"Notification":{"ty":"Signal","id":{"SignalIndex":17},"result":"Success"}}"#,
            ),
            entry(
                8,
                "Command: SetState",
                "",
                70001,
                r#"{"Command":{"SetState":{"key":"record"}}}"#,
            ),
        ]
    }

    #[test]
    fn commands_meet_their_results() {
        let failed = Failed {
            id: "inv_1".into(),
            command: Some(2),
            message: "no answer".into(),
        };
        let ended = steps("OrderFulfillmentWorkflow.Run", &entries(), &[], true);
        assert!(ended.iter().all(|step| !step.waiting));
        let steps = steps("OrderFulfillmentWorkflow.Run", &entries(), &[failed], false);
        assert_eq!(steps[1].failure.as_deref(), Some("no answer"));
        assert_eq!(
            steps.iter().filter(|step| step.failure.is_some()).count(),
            1
        );
        let told: Vec<_> = steps
            .iter()
            .map(|step| {
                (
                    step.kind,
                    step.name.as_str(),
                    step.duration_ms,
                    step.waiting,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("run", "carrier.book", Some(4), false),
                ("call", "PaymentService.Capture", None, true),
                ("sleep", "until 1970-01-01T00:01:00Z", Some(59970), false),
                ("signal", "awakeable resolved", None, false),
                ("state", "write record", None, false),
            ]
        );
    }

    #[test]
    fn steps_lead_to_the_functions_that_perform_them() {
        let mut entries = entries();
        entries.push(entry(
            9,
            "Command: GetPromise",
            "",
            70002,
            r#"{"Command":{"GetPromise":{"key":"admin_approval","completion_id":10}}}"#,
        ));
        let functions = |handler| -> Vec<_> {
            let steps = steps(handler, &entries, &[], false).into_iter();
            steps.map(|step| step.source.unwrap()).collect()
        };
        let of_run = "crates/services/src/order_fulfillment.rs";
        assert_eq!(
            functions("OrderFulfillmentWorkflow.Run"),
            [
                "crates/services/src/shipping.rs initiate_shipment".to_owned(),
                format!("{of_run} capture"),
                format!("{of_run} until_done"),
                format!("{of_run} run"),
                format!("{of_run} keep"),
                format!("{of_run} await_approval"),
            ]
        );
        assert_eq!(
            functions("UserSession.AwaitPayment")[3],
            "crates/services/src/user_session/attempt.rs await_payment"
        );
    }

    #[test]
    fn calls_lead_to_the_next_invocations() {
        let called: Vec<_> = entries().iter().filter_map(EntryRow::called).collect();
        assert_eq!(called, ["inv_2"]);
    }

    #[test]
    fn entries_of_another_restate_version_are_no_reason_to_fail() {
        let strange = entry(
            1,
            "Command: Dance",
            "",
            0,
            r#"{"Command":{"Dance":{"steps":3}}}"#,
        );
        assert_eq!(describe(&strange).unwrap().0, "other");
        let unreadable = entry(1, "Command: Run", "x", 0, "no json");
        assert!(describe(&unreadable).is_none());
    }
}
