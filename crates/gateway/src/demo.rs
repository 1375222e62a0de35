//! The demo's world panel: the sandbox's fault switches, a crash of the
//! services, and the five scenarios of the README as one click each.
//!
//! Only in demo mode; elsewhere none of this exists.

pub mod scenarios;
pub mod seed;

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use waybill_domain::words::{MAX_REASON, quoted};

use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::processes::beside;

pub use scenarios::{Scenario, Scenarios};

/// How long the sandbox and the services may take to answer.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// The routes of this feature.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<Scenarios>: FromRef<S>,
{
    Router::new()
        .route(
            "/api/world/faults",
            get(show_faults)
                .put(put_faults)
                .post(switch_fault)
                .delete(reset_faults),
        )
        // Forms cannot delete.
        .route("/api/world/faults/reset", post(reset_faults))
        .route("/api/world/crash", post(crash))
        .route("/api/world/scenarios", get(show_scenarios))
        .route("/api/world/scenarios/{number}", post(run_scenario))
}

/// Somebody signed in to a demo.
struct DemoUser(Caller);

impl<S> FromRequestParts<S> for DemoUser
where
    S: Send + Sync,
    Shared: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if !Shared::from_ref(state).settings.is_demo() {
            return Err(Problem::not_found(
                "there is no world panel: it exists in demo mode only (AUTH_MODE=demo)",
            ));
        }
        Caller::from_request_parts(parts, state).await.map(Self)
    }
}

async fn show_faults(State(infra): State<Shared>, _: DemoUser) -> Result<Json<Value>, Problem> {
    faults(&infra).await.map(Json)
}

/// The switches that are in force.
pub async fn faults(infra: &Infra) -> Result<Value, Problem> {
    ask_sandbox(infra, reqwest::Method::GET, None).await
}

/// Any JSON object; the sandbox says what is wrong with it.
struct Switches(Value);

impl FromFields for Switches {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.as_json()))
    }
}

async fn put_faults(
    State(infra): State<Shared>,
    _: DemoUser,
    Input(Switches(switches)): Input<Switches>,
) -> Result<Reply, Problem> {
    let faults = ask_sandbox(&infra, reqwest::Method::PUT, Some(switches)).await?;
    infra.live.tell_all();
    Ok(Reply::new(StatusCode::OK, &faults)?.saying("The outside world has changed"))
}

/// One switch, as a form sends it: `switch=carrier.down&value=true`.
struct Switch {
    side: String,
    name: String,
    value: Value,
}

impl FromFields for Switch {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let path = fields.required_word("switch", 64)?;
        let (side, name) = path.split_once('.').ok_or_else(|| {
            Problem::invalid(
                "switch",
                "switch must be a side and a name, such as carrier.down",
            )
        })?;
        let value = fields.required_word("value", 64)?;
        Ok(Self {
            side: side.to_owned(),
            name: name.to_owned(),
            // `true`, `3`, or a word such as `pay`.
            value: serde_json::from_str(&value).unwrap_or(Value::String(value)),
        })
    }
}

async fn switch_fault(
    State(infra): State<Shared>,
    _: DemoUser,
    Input(switch): Input<Switch>,
) -> Result<Reply, Problem> {
    let said = format!("{}.{} is {}", switch.side, switch.name, switch.value);
    let switches = json!({ switch.side: { switch.name: switch.value } });
    let faults = ask_sandbox(&infra, reqwest::Method::PUT, Some(switches)).await?;
    infra.live.tell_all();
    Ok(Reply::new(StatusCode::OK, &faults)?.saying(said))
}

async fn reset_faults(State(infra): State<Shared>, _: DemoUser) -> Result<Reply, Problem> {
    let faults = ask_sandbox(&infra, reqwest::Method::DELETE, None).await?;
    infra.live.tell_all();
    Ok(Reply::new(StatusCode::OK, &faults)?.saying("The outside world behaves again"))
}

async fn ask_sandbox(
    infra: &Infra,
    method: reqwest::Method,
    body: Option<Value>,
) -> Result<Value, Problem> {
    let sandbox = infra.settings.sandbox_url().ok_or_else(|| {
        Problem::unavailable(
            "there is no sandbox: set SANDBOX_URL to where `gateway sandbox` listens",
        )
    })?;
    let mut request = infra
        .http
        .request(method, format!("{sandbox}/faults"))
        .timeout(ANSWER_WITHIN);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let not_reachable = |error: reqwest::Error| {
        Problem::unavailable("the sandbox does not answer: is `gateway sandbox` running?")
            .with_cause(error)
    };
    let answer = request.send().await.map_err(not_reachable)?;
    let status = answer.status();
    let said: Value = answer.json().await.map_err(not_reachable)?;
    if status.is_success() {
        return Ok(said);
    }
    let detail = said["error"].as_str().unwrap_or("the sandbox refused this");
    let detail = quoted(detail, MAX_REASON);
    Err(Problem::new(
        StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY),
        "sandbox_refused",
        "Not a switch of the sandbox",
        detail,
    ))
}

/// The process that is to die.
struct CrashTarget;

impl FromFields for CrashTarget {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        match fields.word("process", 32)?.as_deref() {
            Some("services") | None => Ok(Self),
            Some(_) => Err(Problem::invalid("process", "process must be services")),
        }
    }
}

async fn crash(
    State(infra): State<Shared>,
    _: DemoUser,
    Input(CrashTarget): Input<CrashTarget>,
) -> Result<Reply, Problem> {
    crash_services(&infra).await?;
    let body = json!({ "process": "services", "crashed": true });
    Ok(Reply::new(StatusCode::ACCEPTED, &body)?
        .saying("The services have crashed; their supervisor starts them again"))
}

/// Makes the services abort, in the middle of whatever they do.
async fn crash_services(infra: &Infra) -> Result<(), Problem> {
    let updates = infra
        .settings
        .services_updates_urls
        .first()
        .ok_or_else(|| Problem::unavailable("SERVICES_UPDATES_URLS names no services"))?;
    let asked = infra
        .http
        .post(beside(updates, "/crash"))
        .timeout(ANSWER_WITHIN)
        .send()
        .await;
    match asked {
        Ok(answer) if answer.status() == reqwest::StatusCode::NOT_FOUND => {
            Err(Problem::unavailable(
                "the services do not let themselves be crashed: start them with ALLOW_CRASH=true",
            ))
        }
        Err(error) if error.is_connect() => Err(Problem::unavailable(
            "the services are not reachable: they may be down already",
        )
        .with_cause(error)),
        // A process that dies does not answer.
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn show_scenarios(State(scenarios): State<Arc<Scenarios>>, _: DemoUser) -> Json<Value> {
    Json(json!({ "scenarios": scenarios.all() }))
}

async fn run_scenario(
    State(infra): State<Shared>,
    State(runs): State<Arc<Scenarios>>,
    DemoUser(caller): DemoUser,
    Path(number): Path<String>,
) -> Result<Reply, Problem> {
    let scenario = scenarios::start(&infra, &runs, &caller, &number)?;
    let said = format!(
        "Scenario {} has begun: watch {}",
        scenario.number, scenario.order_id
    );
    Ok(Reply::new(StatusCode::ACCEPTED, &scenario)?.saying(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_told_by_its_path() {
        let parse = |form: &[u8]| Switch::from_fields(&Fields::from_form(form));
        let switch = parse(b"switch=carrier.down&value=true").unwrap();
        assert_eq!(
            (switch.side.as_str(), switch.name.as_str()),
            ("carrier", "down")
        );
        assert_eq!(switch.value, json!(true));
        assert_eq!(
            parse(b"switch=payments.auto&value=pay").unwrap().value,
            json!("pay")
        );
        assert_eq!(
            parse(b"switch=carrier.fail_times&value=3").unwrap().value,
            json!(3)
        );
        assert_eq!(
            parse(b"switch=carrier&value=1")
                .err()
                .unwrap()
                .field
                .as_deref(),
            Some("switch")
        );
    }
}
