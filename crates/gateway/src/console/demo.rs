//! The demo's outside world: its fault switches, a crash of the services, and
//! the five scenarios of the README.

use serde::Serialize;
use serde_json::Value;
use waybill_domain::Timestamp;

use super::page::Viewer;
use super::shell::{order_href, short};
use super::views::Console;
use crate::demo::{self, Scenario};

/// Everything the panel shows.
#[derive(Debug, Clone, Serialize)]
pub struct WorldPanel {
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Whether the sandbox answers.
    pub reachable: bool,
    /// The provider's and the carrier's switches.
    pub sides: Vec<Side>,
    /// How many switches are not as they are in good times.
    pub changed: usize,
    /// The scenarios.
    pub scenarios: Vec<ScenarioCard>,
}

/// The switches of one side.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Whose they are.
    pub title: &'static str,
    /// The switches.
    pub switches: Vec<Switch>,
    /// What the customer does alone; the provider's only.
    pub auto: Option<String>,
}

/// One switch.
#[derive(Debug, Clone, Serialize)]
pub struct Switch {
    /// Its name on the wire, e.g. `carrier.down`.
    pub path: String,
    /// What is so while it is on.
    pub label: &'static str,
    /// What to expect then.
    pub hint: &'static str,
    /// Whether it is on.
    pub on: bool,
    /// What a click sets it to.
    pub next: &'static str,
}

/// A scenario with its latest run.
#[derive(Debug, Clone, Serialize)]
pub struct ScenarioCard {
    /// 1 to 5.
    pub number: u8,
    /// What it shows.
    pub title: &'static str,
    /// Whether it is running.
    pub running: bool,
    /// What has happened in the latest run.
    pub steps: Vec<StepTold>,
    /// How it ended.
    pub result: Option<ResultTold>,
    /// Its order, if the viewer may see it.
    pub order: Option<OrderLink>,
}

/// One sentence of a run.
#[derive(Debug, Clone, Serialize)]
pub struct StepTold {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
    /// Whether it is the one under way.
    pub now: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Serialize)]
pub struct ResultTold {
    /// Whether everything went as it should.
    pub passed: bool,
    /// In a sentence.
    pub text: String,
}

/// The order of a run.
#[derive(Debug, Clone, Serialize)]
pub struct OrderLink {
    /// Its page.
    pub href: String,
    /// As its customer calls it.
    pub short: String,
}

/// A switch: side, name, what is so while it is on, what to expect then, and
/// the values for on and off.
type Definition = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const PROVIDER: &[Definition] = &[
    (
        "silent",
        "Callbacks never come",
        "The payment page says paid, the order waits until its window closes.",
        "true",
        "false",
    ),
    (
        "delay_ms",
        "Callbacks come 8 s late",
        "The order moves when the callback arrives.",
        "8000",
        "0",
    ),
    (
        "duplicate",
        "Callbacks come three times",
        "The second and third change nothing.",
        "2",
        "0",
    ),
    (
        "forge",
        "A forged callback comes first",
        "It is refused: the wrong amount, or the wrong signature.",
        "true",
        "false",
    ),
    (
        "reorder",
        "Callbacks come out of order",
        "Held for a moment, then sent last first.",
        "true",
        "false",
    ),
    (
        "down",
        "The provider is down",
        "Requests are tried again until it is back.",
        "true",
        "false",
    ),
    (
        "drop_response",
        "Answers get lost",
        "The effect happens, nobody is told; the same key asks again.",
        "true",
        "false",
    ),
];

const CARRIER: &[Definition] = &[
    (
        "down",
        "The carrier is down",
        "Approved orders wait and are booked when it is back.",
        "true",
        "false",
    ),
    (
        "delay_ms",
        "The carrier is slow",
        "Each answer takes 5 s.",
        "5000",
        "0",
    ),
    (
        "fail_times",
        "The carrier is flaky",
        "Each order's first two bookings fail, the third works.",
        "2",
        "0",
    ),
    (
        "reject",
        "The carrier rejects everything",
        "Each order fails at once and is undone.",
        "true",
        "false",
    ),
    (
        "drop_response",
        "Answers get lost",
        "The parcel is booked, nobody is told; the same key asks again.",
        "true",
        "false",
    ),
];

/// The panel, in a demo.
pub(super) async fn panel(console: &Console, viewer: &Viewer) -> Option<WorldPanel> {
    let scenarios = scenarios(console, viewer)?;
    // Without a sandbox there is nothing to switch.
    let faults = match console.settings.sandbox_url() {
        Some(_) => demo::faults(console).await.ok(),
        None => None,
    };
    Some(WorldPanel::of(
        viewer.seed.clone(),
        faults.as_ref(),
        scenarios,
    ))
}

/// The scenarios, in a demo.
pub(super) fn scenarios(console: &Console, viewer: &Viewer) -> Option<Vec<ScenarioCard>> {
    let may_see = |order_id: &str| {
        viewer.caller.role.is_staff()
            || order_id.split('.').next() == Some(viewer.caller.user.as_str())
    };
    console.settings.is_demo().then(|| {
        console
            .scenarios
            .all()
            .into_iter()
            .map(|scenario| ScenarioCard::of(scenario, may_see))
            .collect()
    })
}

impl WorldPanel {
    fn of(key: String, faults: Option<&Value>, scenarios: Vec<ScenarioCard>) -> Self {
        let sides = faults.map_or_else(Vec::new, |faults| {
            let auto = faults["payments"]["auto"].as_str().unwrap_or("off");
            vec![
                side(
                    "Payment provider",
                    "payments",
                    PROVIDER,
                    faults,
                    Some(auto.to_owned()),
                ),
                side("Carrier", "carrier", CARRIER, faults, None),
            ]
        });
        Self {
            key,
            reachable: faults.is_some(),
            changed: sides
                .iter()
                .map(|side| {
                    let on = side.switches.iter().filter(|switch| switch.on).count();
                    on + usize::from(side.auto.as_deref().is_some_and(|auto| auto != "off"))
                })
                .sum(),
            sides,
            scenarios,
        }
    }
}

fn side(
    title: &'static str,
    name: &str,
    definitions: &[Definition],
    faults: &Value,
    auto: Option<String>,
) -> Side {
    let switches = definitions
        .iter()
        .map(|(switch, label, hint, on_value, off_value)| {
            let value = &faults[name][switch];
            let on =
                !matches!(value, Value::Null | Value::Bool(false)) && value.as_i64() != Some(0);
            Switch {
                path: format!("{name}.{switch}"),
                label,
                hint,
                on,
                next: if on { off_value } else { on_value },
            }
        })
        .collect();
    Side {
        title,
        switches,
        auto,
    }
}

impl ScenarioCard {
    fn of(scenario: Scenario, may_see: impl Fn(&str) -> bool) -> Self {
        let last = scenario.steps.len().saturating_sub(1);
        let order = Some(scenario.order_id).filter(|id| !id.is_empty() && may_see(id));
        Self {
            number: scenario.number,
            title: scenario.title,
            running: scenario.running,
            steps: scenario
                .steps
                .into_iter()
                .enumerate()
                .map(|(position, step)| StepTold {
                    at: step.at,
                    text: step.text,
                    now: scenario.running && position == last,
                })
                .collect(),
            result: scenario.result.map(|result| ResultTold {
                passed: result.passed,
                text: result.text,
            }),
            order: order.map(|id| OrderLink {
                href: order_href(&id),
                short: short(&id).to_owned(),
            }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::console::samples;
    use crate::demo::scenarios::{LogLine, Outcome};

    pub fn cards() -> Vec<ScenarioCard> {
        let scenario = |number, running, result| Scenario {
            number,
            title: "Happy path",
            running,
            order_id: if number == 1 {
                String::new()
            } else {
                "alice.scenario-1".into()
            },
            steps: if number == 1 {
                vec![]
            } else {
                vec![LogLine {
                    at: samples::at(1),
                    text: "<begun>".into(),
                }]
            },
            result,
        };
        let outcome = |passed| {
            Some(Outcome {
                passed,
                text: "Delivered".into(),
            })
        };
        [
            scenario(1, false, None),
            scenario(2, true, None),
            scenario(3, false, outcome(true)),
            scenario(4, false, outcome(false)),
        ]
        .map(|scenario| ScenarioCard::of(scenario, |_| true))
        .into()
    }

    pub fn panels() -> Vec<WorldPanel> {
        let faults = json!({
            "payments": { "auto": "pay", "silent": true, "delay_ms": 0, "down": "drop" },
            "carrier": { "fail_times": 2, "down": false },
        });
        vec![
            WorldPanel::of("seed".into(), Some(&faults), cards()),
            WorldPanel::of("seed".into(), None, cards()),
        ]
    }

    #[test]
    fn switches_tell_what_a_click_does() {
        let panel = &panels()[0];
        let switch = |path: &str| {
            let all = panel.sides.iter().flat_map(|side| &side.switches);
            let switch = all.into_iter().find(|switch| switch.path == path).unwrap();
            (switch.on, switch.next)
        };
        assert_eq!(switch("payments.silent"), (true, "false"));
        assert_eq!(switch("payments.delay_ms"), (false, "8000"));
        assert_eq!(switch("payments.down"), (true, "false"));
        assert_eq!(switch("carrier.fail_times"), (true, "0"));
        assert_eq!(switch("carrier.down"), (false, "true"));
        assert_eq!(panel.changed, 4);
    }
}
