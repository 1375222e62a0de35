//! The demo's world panel: the sandbox's fault switches and a crash of the
//! services. Its routes answer in demo mode only.
//!
//! | module | does |
//! | --- | --- |
//! | [`scenarios`] | runs the five scenarios of the README, one click each |
//! | [`seed`] | puts the demo's products, zones and users into SQLite, for `gateway seed-demo` |

pub mod scenarios;
pub mod seed;

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa_axum::routes;
use waybill_domain::words::{MAX_REASON, quoted};

use crate::authority::{Allow, Routes};
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
pub fn router<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<Scenarios>: FromRef<S>,
{
    Routes::new()
        .routes(
            Allow::DemoAdmin,
            routes!(show_faults, put_faults, switch_fault, reset_faults),
        )
        // Forms cannot delete.
        .routes(Allow::DemoAdmin, routes!(reset_by_form))
        .routes(Allow::DemoAdmin, routes!(crash))
        .routes(Allow::DemoVisitor, routes!(show_scenarios))
        .routes(Allow::DemoVisitor, routes!(run_scenario))
}

/// The sandbox's fault switches
#[utoipa::path(
    get,
    path = "/api/world/faults",
    responses(
        (status = 200, description = "Faults", body = Object),
        (status = 503, description = "The sandbox is not reachable"),
    ),
)]
async fn show_faults(State(infra): State<Shared>) -> Result<Json<Value>, Problem> {
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

/// Sets some of the switches; null unsets one
#[utoipa::path(
    put,
    path = "/api/world/faults",
    request_body(content = inline(body::Faults)),
    responses(
        (status = 200, description = "Faults", body = Object),
        (status = 400, description = "An unknown switch"),
        (status = 503, description = "The sandbox is not reachable"),
    ),
)]
async fn put_faults(
    State(infra): State<Shared>,
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

/// Sets one switch, as a form does
#[utoipa::path(
    post,
    path = "/api/world/faults",
    request_body(content = inline(body::Switch)),
    responses(
        (status = 200, description = "Faults", body = Object),
        (status = 400, description = "An unknown switch"),
        (status = 503, description = "The sandbox is not reachable"),
    ),
)]
async fn switch_fault(
    State(infra): State<Shared>,
    Input(switch): Input<Switch>,
) -> Result<Reply, Problem> {
    let said = format!("{}.{} is {}", switch.side, switch.name, switch.value);
    let switches = json!({ switch.side: { switch.name: switch.value } });
    let faults = ask_sandbox(&infra, reqwest::Method::PUT, Some(switches)).await?;
    infra.live.tell_all();
    Ok(Reply::new(StatusCode::OK, &faults)?.saying(said))
}

/// Lets the outside world behave again
#[utoipa::path(
    delete,
    path = "/api/world/faults",
    responses(
        (status = 200, description = "Faults", body = Object),
        (status = 503, description = "The sandbox is not reachable"),
    ),
)]
async fn reset_faults(State(infra): State<Shared>) -> Result<Reply, Problem> {
    let faults = ask_sandbox(&infra, reqwest::Method::DELETE, None).await?;
    infra.live.tell_all();
    Ok(Reply::new(StatusCode::OK, &faults)?.saying("The outside world behaves again"))
}

/// Lets the outside world behave again, as a form does
#[utoipa::path(
    post,
    path = "/api/world/faults/reset",
    responses(
        (status = 200, description = "Faults", body = Object),
        (status = 503, description = "The sandbox is not reachable"),
    ),
)]
async fn reset_by_form(infra: State<Shared>) -> Result<Reply, Problem> {
    reset_faults(infra).await
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

/// Crashes the services now
#[utoipa::path(
    post,
    path = "/api/world/crash",
    request_body(content = inline(body::Crash)),
    responses(
        (status = 202, description = "Crashed"),
        (status = 503, description = "They cannot be crashed"),
    ),
)]
async fn crash(
    State(infra): State<Shared>,
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
    let mut asked = infra
        .http
        .post(beside(updates, "/crash"))
        .timeout(ANSWER_WITHIN);
    if let Some(token) = infra.settings.internal_token() {
        asked = asked.bearer_auth(token);
    }
    match asked.send().await {
        Ok(answer) if answer.status() == reqwest::StatusCode::UNAUTHORIZED => Err(
            Problem::unavailable("the services have another INTERNAL_TOKEN: set the same one here"),
        ),
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

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Scenarios)]
struct AllScenarios {
    scenarios: Vec<Scenario>,
}

/// The README's five scenarios, and where their latest runs stand
#[utoipa::path(
    get,
    path = "/api/world/scenarios",
    responses(
        (status = 200, description = "Scenarios", body = AllScenarios),
    ),
)]
async fn show_scenarios(State(scenarios): State<Arc<Scenarios>>) -> Json<AllScenarios> {
    let scenarios = scenarios.all();
    Json(AllScenarios { scenarios })
}

/// Begins a scenario, 1 to 5
#[utoipa::path(
    post,
    path = "/api/world/scenarios/{number}",
    responses(
        (status = 202, description = "Begun"),
        (status = 404, description = "No such scenario"),
        (status = 409, description = "It is running"),
    ),
)]
async fn run_scenario(
    State(infra): State<Shared>,
    State(scenarios): State<Arc<Scenarios>>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Reply, Problem> {
    let scenario = scenarios::start(&infra, &scenarios, &caller, &number)?;
    let said = format!(
        "Scenario {} has begun: watch {}",
        scenario.number, scenario.order_id
    );
    Ok(Reply::new(StatusCode::ACCEPTED, &scenario)?.saying(said))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use serde_json::Value;
    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Faults {
        /// auto, `delay_ms`, `answer_delay_ms`, `lag_ms`, silent, duplicate, reorder, forge, down, `drop_response`, strict.
        #[schema(value_type = Option<Object>)]
        payments: Option<Value>,
        /// down, `fail_times`, `delay_ms`, `lag_ms`, reject, `drop_response`.
        #[schema(value_type = Option<Object>)]
        carrier: Option<Value>,
        /// The same per order id.
        #[schema(value_type = Option<Object>)]
        orders: Option<Value>,
    }

    #[derive(ToSchema)]
    pub(super) struct Switch {
        /// Such as carrier.down.
        switch: String,
        /// Such as true, 3 or pay.
        value: String,
    }

    #[derive(ToSchema)]
    pub(super) struct Crash {
        /// services.
        process: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_switches: Switches, fuzz_switch: Switch, fuzz_crash_target: CrashTarget);

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
