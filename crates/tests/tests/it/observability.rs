//! Alerts, the dashboard and the figures of the running processes fit together: each
//! name stands for a figure that there is, each figure is shown, and each alert says
//! what to do.
//!
//! `just test` has promtool installed (`scripts/promtool.mjs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use launcher::plan::TOKEN;
use launcher::repository;
use serde::Deserialize;
use serde_json::Value;

use crate::shop::{SOON, Shop};
use crate::world::{Component, Setup, eventually, own};

fn file(name: &str) -> PathBuf {
    repository().join("scripts/observability").join(name)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "name")]
    _name: String,
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    #[serde(rename = "alert")]
    name: String,
    expr: String,
    #[serde(rename = "for")]
    _lasts: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_saphyr::from_str(&text(&file("alerts.yml"))).expect("alerts.yml");
    rules.groups.into_iter().flat_map(|it| it.rules).collect()
}

/// What the dashboard asks for.
fn shown() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&text(&file("grafana/dashboards/waybill.json"))).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().expect("a question").to_owned())
        .collect()
}

/// Our figures that an expression names.
fn named(expression: &str) -> impl Iterator<Item = String> {
    expression
        .split(|it: char| !(it.is_ascii_alphanumeric() || it == '_'))
        .filter(|word| word.starts_with("waybill_"))
        .map(str::to_owned)
}

/// The name that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_alert_says_what_to_do() {
    let operate = text(&repository().join("docs/operate.md"));
    let headings: BTreeSet<String> = operate
        .lines()
        .filter(|line| line.starts_with("##"))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let Alert {
            name,
            expr,
            labels,
            annotations,
            ..
        } = alert;
        assert!(names.insert(name.clone()), "{name} is there twice");
        assert!(
            ["page", "ticket", "info"].contains(&labels["severity"].as_str()),
            "{name}"
        );
        assert!(!annotations["summary"].is_empty(), "{name}");
        let heading = annotations["runbook_url"]
            .strip_prefix("docs/operate.md#")
            .unwrap_or_else(|| panic!("{name}: it names no heading of docs/operate.md"));
        assert!(
            headings.contains(heading),
            "{name}: there is no heading #{heading}"
        );
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |bracket| expr.matches(bracket).count();
            assert_eq!(count(open), count(close), "{name}: {expr}");
        }
        assert!(
            operate.contains(&format!("`{name}`")),
            "{name} is not in docs/operate.md"
        );
    }
    // Tests are of alerts that there are.
    let tested = text(&file("alerts.test.yml"));
    let tested: Vec<_> = tested
        .lines()
        .filter_map(|line| line.trim().strip_prefix("alertname: "))
        .collect();
    assert!(!tested.is_empty());
    for name in tested {
        assert!(names.contains(name), "{name} is tested, and is no alert");
    }
}

#[test]
fn promtool_is_content() {
    let promtool = std::env::var_os("PROMTOOL_BIN").filter(|path| !path.is_empty());
    let promtool = promtool.unwrap_or_else(|| "promtool".into());
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let run = Command::new(&promtool)
            .args(arguments)
            .current_dir(file(""))
            .output();
        let run = run.unwrap_or_else(|error| {
            panic!("promtool cannot be run ({error}): `just test observability` fetches it, or set PROMTOOL_BIN")
        });
        let said = [run.stdout, run.stderr].concat();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

/// The figures of a process: the families, each with the names that Prometheus knows
/// its samples by.
async fn figures(shop: &Shop, of: &str) -> BTreeMap<String, BTreeSet<String>> {
    let asked = shop.http.get(format!("{of}/metrics")).bearer_auth(TOKEN);
    let answer = asked.send().await.expect("it answers");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("text");
    let (mut families, mut family) = (BTreeMap::<_, BTreeSet<_>>::new(), String::new());
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            let (name, help) = described.split_once(' ').expect("a name and what it means");
            assert!(help.len() > 10, "{line}");
            name.clone_into(&mut family);
        } else if !line.starts_with('#') {
            let sample = line.split(['{', ' ']).next().unwrap_or_default();
            let samples = families.entry(family.clone()).or_default();
            samples.insert(sample.to_owned());
        }
    }
    families
}

#[test]
fn every_figure_is_shown_and_every_name_is_a_figure() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "good").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let refused = alice.buy("P001", 1, "FAIL_SHIP").await;
        shop.admin().approve(&refused).await;
        refused.until("shipping_failed").await;

        let questions: Vec<_> = shown()
            .into_iter()
            .chain(alerts().into_iter().map(|alert| alert.expr))
            .collect();
        eventually("the figures of one order", SOON, async || {
            let mut families = figures(shop, &shop.gateway).await;
            families.extend(figures(shop, &shop.services_ops).await);
            let samples: BTreeSet<_> = families.values().flatten().cloned().collect();
            for sample in &samples {
                assert!(sample.starts_with("waybill_"), "{sample}");
            }
            let asked: BTreeSet<_> = questions.iter().flat_map(|it| named(it)).collect();
            let unknown: Vec<_> = asked.difference(&samples).collect();
            if !unknown.is_empty() {
                return Err(format!("no process has {unknown:?}"));
            }
            let by_panels: BTreeSet<_> = shown().iter().flat_map(|it| named(it)).collect();
            let unseen: Vec<_> = families
                .iter()
                .filter(|(_, samples)| samples.is_disjoint(&by_panels))
                .map(|(family, _)| family)
                .collect();
            assert_eq!(
                unseen,
                Vec::<&String>::new(),
                "the dashboard does not show these"
            );
            Ok(())
        })
        .await;
    });
}

/// Reads one figure.
async fn figure(shop: &Shop, of: &str, line: &str) -> Option<f64> {
    let asked = shop.http.get(format!("{of}/metrics")).bearer_auth(TOKEN);
    let text = asked.send().await.ok()?.text().await.ok()?;
    let value = text.lines().find_map(|it| it.strip_prefix(line))?;
    value.trim().parse().ok()
}

#[test]
fn what_happens_to_orders_is_counted_once() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        for id in ["one", "two"] {
            let order = alice.buy("P001", 1, id).await;
            shop.admin().approve(&order).await;
            order.until("delivered").await;
        }
        let failed = alice.buy("P001", 1, "FAIL_SHIP").await;
        shop.admin().approve(&failed).await;
        failed.until("shipping_failed").await;
        let services = &shop.services_ops;
        for (line, expected) in [
            (
                r#"waybill_services_orders_entered_total{status="awaiting_payment"}"#,
                3.0,
            ),
            (
                r#"waybill_services_orders_entered_total{status="awaiting_approval"}"#,
                3.0,
            ),
            (
                r#"waybill_services_orders_entered_total{status="delivered"}"#,
                2.0,
            ),
            (
                r#"waybill_services_orders_entered_total{status="shipping_failed"}"#,
                1.0,
            ),
            (
                r#"waybill_services_order_status_duration_seconds_count{status="awaiting_payment"}"#,
                3.0,
            ),
            (
                r#"waybill_services_order_status_duration_seconds_count{status="in_transit"}"#,
                2.0,
            ),
            (
                "waybill_services_order_paid_to_delivered_duration_seconds_count",
                2.0,
            ),
            (
                r#"waybill_services_compensations_total{what="authorized"}"#,
                1.0,
            ),
            (
                r#"waybill_services_compensations_total{what="reserved"}"#,
                1.0,
            ),
            (
                r#"waybill_services_compensations_total{what="booked"}"#,
                0.0,
            ),
            (
                r#"waybill_services_outside_request_duration_seconds_count{step="provider.capture",answer="yes"}"#,
                2.0,
            ),
            (
                r#"waybill_services_outside_request_duration_seconds_count{step="carrier.book",answer="not_now"}"#,
                4.0,
            ),
            (
                r#"waybill_services_invocation_try_duration_seconds_count{service="OrderFulfillmentWorkflow",handler="Run",outcome="done"}"#,
                2.0,
            ),
            (
                r#"waybill_services_invocation_try_duration_seconds_count{service="OrderFulfillmentWorkflow",handler="Run",outcome="refused"}"#,
                1.0,
            ),
        ] {
            eventually(line, SOON, async || {
                let found = figure(shop, services, line).await;
                if found == Some(expected) {
                    Ok(())
                } else {
                    Err(format!("{found:?} and not {expected}"))
                }
            })
            .await;
        }
        for (line, expected) in [
            (r#"waybill_shop_orders{status="delivered"}"#, 2.0),
            (r#"waybill_shop_orders{status="shipping_failed"}"#, 1.0),
            (r#"waybill_shop_needs_operator{kind="paused"}"#, 0.0),
            ("waybill_gateway_read_model_readable", 1.0),
        ] {
            eventually(line, SOON, async || {
                let found = figure(shop, &shop.gateway, line).await;
                (found == Some(expected))
                    .then_some(())
                    .ok_or_else(|| format!("{found:?}"))
            })
            .await;
        }
    });
}

/// By the SDK's own span: whether it still is the one that knows what is a replay.
#[test]
fn what_is_replayed_is_counted_and_told_once() {
    let replayed = Setup::with("DELIVERY_TIME", "1s").only_for(
        Component::Restate,
        "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT",
        "50ms",
    );
    own(&replayed, async |shop| {
        let order = shop.alice().buy("P001", 1, "replayed").await;
        // Each wait is long enough to be taken away in, and comes back as a replay.
        let run = |outcome: &str| {
            format!(
                r#"waybill_services_invocation_try_duration_seconds_count{{service="OrderFulfillmentWorkflow",handler="Run",outcome="{outcome}"}}"#
            )
        };
        let suspended = async |times: f64| {
            eventually("the wait is taken away", SOON, async || {
                let found = figure(shop, &shop.services_ops, &run("suspended")).await;
                (found >= Some(times))
                    .then_some(())
                    .ok_or_else(|| format!("{found:?} of {times}"))
            })
            .await;
        };
        suspended(1.0).await;
        shop.admin().approve(&order).await;
        suspended(2.0).await;
        order.until("delivered").await;
        let log = shop.log(Component::Services);
        for status in ["awaiting_approval", "in_transit", "delivered"] {
            let entered = format!(r#"waybill_services_orders_entered_total{{status="{status}"}}"#);
            let counted = figure(shop, &shop.services_ops, &entered).await;
            assert_eq!(counted, Some(1.0), "{status}");
            let told = format!(r#"order.entered="{status}""#);
            assert_eq!(log.matches(&told).count(), 1, "{told}");
        }
    });
}
