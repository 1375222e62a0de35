//! Addresses of pages, and hostile words in what the console says.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use clap::Parser as _;
use futures::{FutureExt as _, stream};
use fuzz::check;
use fuzz::input::{mistaken, text};
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use std::convert::Infallible;

use axum::response::IntoResponse as _;
use axum::response::sse::Sse;

use super::location::Location;
use super::views::Views;
use crate::http::negotiation::RequestContext;
use crate::http::problem::Problem;
use crate::http::reply::{Once, UserMessage};
use crate::settings::Settings;

#[test]
fn fuzz_locations() {
    let samples = [
        "/orders?status=delivered&tab=output&q=a+b&page=2",
        "/orders/alice.order-1?journal=1",
        "/",
        "/products?category=Tools",
        "/cart?tab=output",
        "/admin",
    ];
    check(
        "gateway: Location",
        &prop_oneof![mistaken(&samples, 4), text(8)],
        |raw| {
            let location = match Location::parse(&raw) {
                Ok(location) => location,
                Err(problem) => {
                    prop_assert!(problem.status == 404 || problem.field.as_deref() == Some("tab"));
                    prop_assert!(problem.detail.chars().count() < 300, "{}", problem.detail);
                    prop_assert!(!problem.detail.chars().any(char::is_control));
                    return Ok(());
                }
            };
            // Its own address leads to the same page, and its stream to it, too.
            let again = Location::parse(&location.with_tab(location.tab)).ok();
            let again = again.ok_or_else(|| TestCaseError::fail("not found again"))?;
            prop_assert_eq!(&again.kind, &location.kind);
            prop_assert_eq!(&again.address, &location.address);
            prop_assert_eq!(again.tab, location.tab);
            let stream = location.stream();
            prop_assert!(
                stream.bytes().all(|byte| byte.is_ascii_graphic()),
                "{stream}"
            );
            let at = stream.strip_prefix("/stream/page?").unwrap();
            let pairs: Vec<_> = form_urlencoded::parse(at.as_bytes()).collect();
            prop_assert_eq!(pairs.len(), 1);
            let there = Location::parse(&pairs[0].1).ok();
            prop_assert_eq!(
                there.map(|there| there.address),
                Some(location.address.clone())
            );
            // Filters are refused by their names.
            for (field, refused) in [
                ("status", location.status().err()),
                ("q", location.q().err()),
            ] {
                prop_assert!(refused.is_none_or(|problem| problem.field.as_deref() == Some(field)));
            }
            Ok(())
        },
    );
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// What a browser hears of `events`, as fields of lines.
fn said(events: Vec<axum::response::sse::Event>) -> String {
    let events = stream::iter(events.into_iter().map(Ok::<_, Infallible>));
    let body = Sse::new(events).into_response().into_body();
    let bytes = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Names of the tags of HTML, in their order.
fn tags(html: &str) -> Vec<String> {
    let name = |rest: &str| -> String {
        rest.chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || "/!-".contains(*letter))
            .collect()
    };
    html.match_indices('<')
        .map(|(at, _)| name(&html[at + 1..]))
        .collect()
}

#[test]
fn fuzz_problems_and_toasts() {
    let views = Views::new(&Line::parse_from(["gateway"]).settings).unwrap();
    let context = RequestContext::of(&Request::new(Body::empty()));
    let inputs = (text(14), text(5));
    check("gateway: problems and toasts", &inputs, |(words, path)| {
        // Templates escape; event streams have no line of somebody else's.
        let said_of = |words: &str, path: &str| {
            let problem = Problem::new(
                StatusCode::CONFLICT,
                "a_test",
                format!("x{words}"),
                format!("x{words}"),
            );
            let problem = problem.with_field("quantity");
            let mut toasts = views.problem_patches(&problem, &context);
            toasts.extend(views.done_patches(&UserMessage {
                text: Some(format!("x{words}")),
                goes_to: Some(format!("/{path}")),
                once: Some(Once {
                    label: format!("x{words}"),
                    secret: format!("x{words}"),
                    hint: "Copy it now".to_owned(),
                }),
            }));
            (said(toasts), views.problem_page(&problem, &context))
        };
        let (toasts, page) = said_of(&words, &path);
        let (harmless, harmless_page) = said_of("words", "orders");
        prop_assert_eq!(tags(&page), tags(&harmless_page), "{}", page);
        prop_assert_eq!(tags(&toasts), tags(&harmless), "{}", toasts);
        // A reader ends lines at CR, too.
        let fields = |stream: &str| -> Vec<String> {
            let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
            let fields = stream.split('\n').map(|line| {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let kind = value.trim_start().split(' ').next().unwrap_or_default();
                format!("{field} {kind}")
            });
            fields.collect()
        };
        let mut allowed = fields(&harmless);
        allowed.push("data elements".to_owned());
        for field in fields(&toasts) {
            prop_assert!(allowed.contains(&field), "{field}: {toasts:?}");
        }
        let ends = |stream: &str| stream.matches("\n\n").count();
        prop_assert_eq!(ends(&toasts), ends(&harmless));
        Ok(())
    });
}
