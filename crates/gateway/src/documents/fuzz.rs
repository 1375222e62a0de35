//! Words of others in documents: whatever they are, the document keeps its form.
//! pulldown-cmark reads it back.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};

use fuzz::check;
use fuzz::input::text;

use super::markdown::{self, OrderRow, ProductRow};
use crate::console::samples;

/// The form of a document: its blocks and links, and nothing of its words.
fn form(document: &str) -> Vec<String> {
    // More than our own reader knows, in case another one reads it.
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES;
    Parser::new_ext(document, options)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => Some(format!("link to {dest_url}")),
            Event::Start(tag) => Some(format!("{tag:?}")),
            Event::End(TagEnd::Link) => Some("end of link".to_owned()),
            Event::End(tag) => Some(format!("end of {tag:?}")),
            Event::Text(_) | Event::SoftBreak => None,
            other => Some(format!("{other:?}")),
        })
        .collect()
}

/// Every string of a record that may be anything, by its place.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{n}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

fn with(record: &Value, place: &str, words: &str) -> Option<OrderRecord> {
    let mut record = record.clone();
    *record.pointer_mut(place)? = words.into();
    serde_json::from_value(record).ok()
}

#[test]
fn fuzz_order_documents() {
    // Where words of others can stand at all; ids and statuses refuse them.
    let mut all = Vec::new();
    for record in samples::every_order() {
        let record = serde_json::to_value(&record).unwrap();
        let mut found = Vec::new();
        places(&record, "", &mut found);
        found.retain(|place| with(&record, place, "some words").is_some());
        all.extend(found.into_iter().map(|place| (record.clone(), place)));
    }
    assert!(all.len() > 50, "only {} places were found", all.len());
    let inputs = (prop::sample::select(all), text(10), any::<bool>());
    check(
        "gateway: Markdown of an order",
        &inputs,
        |((record, place), words, ends)| {
            // Blank words are not shown, so the two must be alike in that.
            let words = if ends {
                format!("x{words}x")
            } else {
                format!("x{words}")
            };
            let (Some(harmless), Some(hostile)) = (
                with(&record, &place, "x words"),
                with(&record, &place, &words),
            ) else {
                return Ok(());
            };
            let document = markdown::order(&hostile, None, Some(&words));
            let expected = markdown::order(&harmless, None, Some("x words"));
            prop_assert_eq!(form(&document), form(&expected), "{}\n{}", place, document);
            prop_assert_eq!(document.lines().count(), expected.lines().count());
            Ok(())
        },
    );
}

#[test]
fn fuzz_list_documents() {
    let inputs = (text(10), text(6));
    check("gateway: Markdown of lists", &inputs, |(one, other)| {
        let of = |one: &str, other: &str| {
            let mut basket = samples::basket();
            one.clone_into(&mut basket.items[0].name);
            let goods = [ProductRow {
                sku: other,
                name: one,
                price: Cents(1),
                stock: 1,
            }];
            let row = |user_id| OrderRow {
                order_id: "alice.1",
                user_id,
                status: OrderStatus::Delivered,
                total: Cents(1),
                since: samples::at(0),
            };
            [
                markdown::cart(&basket),
                markdown::products(&goods, 1),
                markdown::orders(&[row(one)], 1, true),
                markdown::approvals(&[row(one)]),
                markdown::dashboard([(one, other)].into_iter(), std::iter::empty()),
            ]
        };
        let one = format!("x{one}");
        let other = format!("x{other}");
        for (document, expected) in of(&one, &other).iter().zip(of("x words", "x words")) {
            prop_assert_eq!(form(document), form(&expected), "{}", document);
        }
        Ok(())
    });
}

#[test]
fn fuzz_html_of_documents() {
    check("gateway: Markdown to HTML", &text(30), |document| {
        let html = markdown::to_html(&document).to_lowercase();
        // Only what the renderer itself writes is a tag.
        for (at, _) in html.match_indices('<') {
            let name: String = html[at + 1..]
                .trim_start_matches('/')
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            let known = [
                "p",
                "h1",
                "h2",
                "h3",
                "h4",
                "h5",
                "h6",
                "ul",
                "ol",
                "li",
                "table",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
                "em",
                "strong",
                "code",
                "pre",
                "blockquote",
                "hr",
                "br",
                "a",
            ];
            prop_assert!(known.contains(&name.as_str()), "{name}: {html}");
        }
        for (at, _) in html.match_indices("<a href=\"") {
            let to = &html[at + 9..];
            let is_safe = ["/", "http://", "https://"]
                .iter()
                .any(|way| to.starts_with(way));
            prop_assert!(is_safe, "{html}");
        }
        prop_assert!(!html.contains(" on") || !html.contains("<img"), "{html}");
        Ok(())
    });
}
