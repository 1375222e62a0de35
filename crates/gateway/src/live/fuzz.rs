//! Lines that come in, and event streams that go out. What goes out is read
//! back by the rules of the HTML standard, written here once more.

use std::convert::Infallible;

use axum::response::IntoResponse as _;
use axum::response::sse::Sse;
use datastar::DatastarEvent;
use datastar::prelude::{PatchElements, PatchSignals};
use futures::{FutureExt as _, stream};
use http_body_util::BodyExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use fuzz::check;
use fuzz::input::{bytes, cut, text};

use super::lines::LineSplitter;

#[test]
fn fuzz_lines() {
    let inputs = (bytes(30), vec(any::<Index>(), 0..8));
    check("gateway: lines of updates", &inputs, |(bytes, places)| {
        let mut splitter = LineSplitter::new();
        let mut lines = Vec::new();
        for piece in cut(&bytes, &places) {
            splitter.push(piece);
            while let Some(line) = splitter.next_line() {
                lines.push(line.ok());
            }
        }
        // All at once, by hand.
        let mut expected: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
        expected.pop();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .map(|line| String::from_utf8(line.to_vec()).ok())
            .collect();
        prop_assert_eq!(lines, expected);
        Ok(())
    });
}

/// An event as a browser's `EventSource` would hand it on.
#[derive(Debug, PartialEq)]
struct Heard {
    event: String,
    data: String,
    id: Option<String>,
}

/// The HTML standard, 9.2.6: interpreting an event stream.
fn interpret(stream: &str) -> Vec<Heard> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let (mut all, mut event, mut data, mut id) = (Vec::new(), String::new(), String::new(), None);
    let mut lines: Vec<_> = stream.split('\n').collect();
    // What stands after the last line end is no line.
    lines.pop();
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                all.push(Heard {
                    event,
                    data,
                    id: id.clone(),
                });
            }
            (event, data) = (String::new(), String::new());
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            "id" if !value.contains('\0') => id = Some(value.to_owned()),
            // Comments, retry, and what nobody knows.
            _ => {}
        }
    }
    all
}

/// Events as they leave.
fn said(events: Vec<DatastarEvent>) -> String {
    let events = events
        .into_iter()
        .map(|event| Ok::<_, Infallible>(event.write_as_axum_sse_event()));
    let body = Sse::new(stream::iter(events)).into_response().into_body();
    let bytes = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn fuzz_event_streams() {
    let inputs = (text(16), text(8));
    check("gateway: event streams", &inputs, |(words, more)| {
        // As templates and serde write them: tested where they are; here it is
        // lines and fields that words must not make.
        let html = words.replace('\r', " ").replace('\0', "");
        let signals =
            json!({ "workflow": { "failureReason": words, more.clone(): 1 } }).to_string();
        let heard = interpret(&said(vec![
            PatchElements::new(format!("<p id=\"a\">{html}</p>")).into(),
            PatchSignals::new(signals.clone()).into(),
            PatchElements::new("<p id=\"end\"></p>").into(),
        ]));
        let names: Vec<_> = heard.iter().map(|heard| heard.event.as_str()).collect();
        prop_assert_eq!(
            names,
            [
                "datastar-patch-elements",
                "datastar-patch-signals",
                "datastar-patch-elements"
            ]
        );
        prop_assert!(heard.iter().all(|heard| heard.id.is_none()), "{heard:?}");
        // Every line of data is an element's or a signal's, and together they
        // are what was said.
        let of = |heard: &Heard, name: &str| -> Option<String> {
            let lines = heard.data.split('\n').map(|line| line.strip_prefix(name));
            lines
                .collect::<Option<Vec<_>>>()
                .map(|lines| lines.join("\n"))
        };
        let signals_back = of(&heard[1], "signals ").unwrap_or_default();
        let back: serde_json::Value = serde_json::from_str(&signals_back).unwrap_or_default();
        let sent: serde_json::Value = serde_json::from_str(&signals).unwrap();
        prop_assert_eq!(back, sent);
        let elements = of(&heard[0], "elements ");
        prop_assert!(elements.is_some(), "{:?}", heard[0]);
        Ok(())
    });
}
