//! The Markdown documents of the Output tab, which `Accept: text/markdown`
//! gets too. Pure functions: the same input gives the same document.

use std::fmt::Write as _;

use pulldown_cmark::{Event, Options, Parser, html};
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{AfterSales, RefundStatus};
use waybill_domain::basket::{Basket, Line};
use waybill_domain::money::Cents;
use waybill_domain::order::{EventKind, OrderRecord, OrderStatus};
use waybill_domain::words;

use crate::clock::timestamp;
use crate::storage::after_sales::Summary;
use crate::storage::audit::Row;

use super::progress::{Progress, Step, StepName, StepState};

/// A product as the product list shows it.
#[derive(Debug, Clone)]
pub struct ProductRow<'a> {
    /// Stock keeping unit.
    pub sku: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Price of one piece.
    pub price: Cents,
    /// Pieces that can be bought.
    pub stock: i64,
}

/// An order as a list shows it.
#[derive(Debug, Clone)]
pub struct OrderRow<'a> {
    /// Full id.
    pub order_id: &'a str,
    /// Whose.
    pub user_id: &'a str,
    /// Where it stands.
    pub status: OrderStatus,
    /// What is to be paid.
    pub total: Cents,
    /// Since when it has this status.
    pub since: Timestamp,
}

/// One order: status, items, progress, shipment log, and why it failed.
pub fn order(record: &OrderRecord, after: Option<&AfterSales>, email: Option<&str>) -> String {
    let mut out = String::new();
    let progress = Progress::of(record);
    let status = match record.undoing {
        Some(end) => format!("{} (undoing)", title_case(end.label())),
        None => title_case(record.status.label()),
    };
    line(
        &mut out,
        format_args!("# Order #{}\n", text(record.order_id.short())),
    );
    line(&mut out, format_args!("**Status**: {status}  "));
    line(
        &mut out,
        format_args!(
            "**User**: {}  ",
            text(email.unwrap_or(record.user_id.as_str()))
        ),
    );
    line(&mut out, format_args!("**Total**: {}", record.total_cents));

    if let Some(reason) = &record.failure_reason {
        line(
            &mut out,
            format_args!("\n## Why It Was Not Delivered\n\n> {}", text(reason)),
        );
        if record.may_be_paid_again() {
            line(
                &mut out,
                "\nThe cart is kept: checking out again starts a new payment.",
            );
        }
    }

    line(
        &mut out,
        "\n## Items\n| SKU | Product | Qty | Price |\n|-----|---------|----:|------:|",
    );
    items(&mut out, &record.lines);
    if !record.taken_out.is_empty() {
        line(
            &mut out,
            "\n### Taken Out Before Shipping\n| SKU | Product | Qty | Not Charged |\n|-----|---------|----:|------:|",
        );
        items(&mut out, &record.taken_out);
    }
    line(
        &mut out,
        format_args!(
            "\nShipping to {} ({}): {}",
            text(&record.address),
            text(&record.zone),
            record.shipping_cents
        ),
    );

    line(&mut out, "\n## Workflow Progress");
    for step in progress.steps.iter().filter(|step| is_listed(step.name)) {
        line(
            &mut out,
            format_args!("- {} {}", mark(step, &progress), step_text(step, record)),
        );
    }

    if !progress.undone.is_empty() {
        line(&mut out, "\n## Compensations\nUndone in reverse order:\n");
        for undo in &progress.undone {
            match undo.at {
                Some(at) => line(
                    &mut out,
                    format_args!("- ↩ {} at {}", text(&undo.label), exact(at)),
                ),
                None => line(&mut out, format_args!("- ⏳ {}", text(&undo.label))),
            }
        }
    }

    let log: Vec<_> = record
        .events
        .iter()
        .filter(|event| is_shipping(event.kind))
        .collect();
    if !log.is_empty() {
        line(&mut out, "\n## Shipment Log");
        for event in log {
            line(
                &mut out,
                format_args!("- {}: {}", exact(event.at), text(&event.detail)),
            );
        }
    }
    if record.status == OrderStatus::Delivered {
        line(&mut out, "\n**Order delivered!** Thank you.");
    }
    if let Some(after) = after {
        since_delivery(&mut out, after);
    }
    out
}

/// Returns, refunds and what happened about them.
fn since_delivery(out: &mut String, after: &AfterSales) {
    line(out, "\n## After Delivery");
    for event in &after.events {
        line(
            out,
            format_args!("- {}: {}", exact(event.at), text(&event.detail)),
        );
    }
    let back = after.refunds.iter();
    let back = back.filter(|refund| refund.status == RefundStatus::Refunded);
    let back: Cents = back.map(|refund| refund.amount_cents).sum();
    line(
        out,
        format_args!("\n**Refunded**: {back} of {}", after.sold.captured()),
    );
}

/// Returns, longest waiting first.
pub fn returns(rows: &[Summary]) -> String {
    let mut out = String::from("# Returns\n\n");
    if rows.is_empty() {
        line(&mut out, "No return is under way.");
    }
    for row in rows {
        line(
            &mut out,
            format_args!(
                "- **[{}](/orders/{})** return {} of {}: {} since {}, {} pieces",
                text(&row.order_id),
                row.order_id,
                row.number,
                text(&row.user_id),
                text(&row.status),
                exact(timestamp(row.since)),
                row.pieces
            ),
        );
    }
    out
}

fn items(out: &mut String, lines: &[Line]) {
    for item in lines {
        line(
            out,
            format_args!(
                "| {} | {} | {} | {} |",
                text(item.sku.as_str()),
                text(&item.name),
                item.quantity,
                item.line_total_cents
            ),
        );
    }
}

/// The cart: a table of what is in it.
pub fn cart(basket: &Basket) -> String {
    let mut out = String::from("# Cart\n\n");
    if basket.items.is_empty() {
        line(
            &mut out,
            "The cart is empty. Add something on the [products page](/products).",
        );
        return out;
    }
    line(
        &mut out,
        "| SKU | Product | Qty | Unit Price | Price |\n|-----|---------|----:|-----------:|------:|",
    );
    for item in &basket.items {
        line(
            &mut out,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                text(item.sku.as_str()),
                text(&item.name),
                item.quantity,
                item.unit_price_cents,
                item.line_total_cents
            ),
        );
    }
    line(
        &mut out,
        format_args!("\n**Subtotal**: {}", basket.subtotal_cents),
    );
    out
}

/// The catalog, or the part of it that was asked for.
pub fn products(rows: &[ProductRow<'_>], total: i64) -> String {
    let mut out = format!("# Products\n\n{} of {total} shown.\n\n", rows.len());
    past_end(&mut out, rows.len(), total, "/products");
    line(
        &mut out,
        "| SKU | Product | Price | Stock |\n|-----|---------|------:|------:|",
    );
    for row in rows {
        line(
            &mut out,
            format_args!(
                "| {} | {} | {} | {} |",
                text(row.sku),
                text(row.name),
                row.price,
                row.stock
            ),
        );
    }
    out
}

/// Orders that wait for an approver, oldest first.
pub fn approvals(rows: &[OrderRow<'_>]) -> String {
    let mut out = String::from("# Pending Approvals\n\n");
    if rows.is_empty() {
        line(&mut out, "Nothing waits for a decision.");
    }
    for row in rows {
        line(
            &mut out,
            format_args!(
                "- ⏳ **[{}](/orders/{})** of {}, {}, waiting since {}",
                text(row.order_id),
                row.order_id,
                text(row.user_id),
                row.total,
                exact(row.since)
            ),
        );
    }
    out
}

/// The audit log.
pub fn audit(rows: &[Row], total: i64, is_exact: bool) -> String {
    let more = if is_exact { "" } else { "more than " };
    let mut out = format!("# Audit log\n\n{} of {more}{total} shown.\n\n", rows.len());
    past_end(&mut out, rows.len(), total, "/audit");
    for row in rows {
        let said = [
            Some(format!("**{}** {}", text(&row.what), text(&row.subject))),
            (row.count > 1).then(|| format!("{} times", row.count)),
            Some(format!("by {}", text(&row.who))),
            (row.address.as_deref()).map(|address| format!("from {}", text(address))),
            (row.request.as_deref()).map(|request| format!("request {}", text(request))),
        ];
        let said: Vec<_> = said.into_iter().flatten().collect();
        let detail = match row.detail.as_str() {
            "" => String::new(),
            detail => format!(": {}", text(detail)),
        };
        let when = exact(timestamp(row.at));
        line(
            &mut out,
            format_args!("- {when} {}{detail}", said.join(", ")),
        );
    }
    out
}

/// What stands in a list's place past its end.
pub(super) fn past_end(out: &mut String, shown: usize, total: i64, list: &str) {
    if shown == 0 && total > 0 {
        line(
            out,
            format_args!("This page is past the end: [back to the first]({list}).\n"),
        );
    }
}

/// A list of orders.
pub fn orders(rows: &[OrderRow<'_>], total: i64, is_exact: bool) -> String {
    let more = if is_exact { "" } else { "more than " };
    let mut out = format!("# Orders\n\n{} of {more}{total} shown.\n\n", rows.len());
    past_end(&mut out, rows.len(), total, "/orders");
    line(
        &mut out,
        "| Order | User | Status | Total | Since |\n|---|---|---|--:|---|",
    );
    for row in rows {
        line(
            &mut out,
            format_args!(
                "| [{}](/orders/{}) | {} | {} | {} | {} |",
                text(row.order_id),
                row.order_id,
                text(row.user_id),
                title_case(row.status.label()),
                row.total,
                exact(row.since)
            ),
        );
    }
    out
}

/// The numbers of a dashboard.
pub fn dashboard<'a>(
    tiles: impl Iterator<Item = (&'a str, &'a str)>,
    statuses: impl Iterator<Item = (&'a str, i64)>,
) -> String {
    let mut out = String::from("# Dashboard\n\n| What | Now |\n|---|--:|\n");
    for (label, value) in tiles {
        line(
            &mut out,
            format_args!("| {} | {} |", text(label), text(value)),
        );
    }
    line(
        &mut out,
        "\n## Orders by Status\n\n| Status | Orders |\n|---|--:|",
    );
    for (label, count) in statuses {
        line(
            &mut out,
            format_args!("| {} | {count} |", title_case(label)),
        );
    }
    out
}

/// A document as HTML. Raw HTML in it stays text, and links lead only to this
/// site or to the web.
pub fn to_html(document: &str) -> String {
    let parser = Parser::new_ext(document, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(pulldown_cmark::Tag::Link { dest_url, .. }) if !is_safe(&dest_url) => {
            Event::Start(pulldown_cmark::Tag::Emphasis)
        }
        Event::Start(pulldown_cmark::Tag::Image { .. }) => {
            Event::Start(pulldown_cmark::Tag::Emphasis)
        }
        Event::End(pulldown_cmark::TagEnd::Image) => Event::End(pulldown_cmark::TagEnd::Emphasis),
        other => other,
    });
    let mut out = String::with_capacity(document.len() * 2);
    html::push_html(&mut out, parser);
    // The renderer aligns columns by inline styles, which our pages forbid. In
    // text the quotes are escaped, so this finds the renderer's only.
    out.replace(" style=\"text-align: right\"", " class=\"num\"")
        .replace(" style=\"text-align: left\"", "")
}

fn is_safe(url: &str) -> bool {
    url.starts_with('/') || url.starts_with("https://") || url.starts_with("http://")
}

fn is_listed(name: StepName) -> bool {
    !matches!(name, StepName::Placed | StepName::OnItsWay)
}

fn is_shipping(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::ShipmentInitiated
            | EventKind::ShippingFailed
            | EventKind::InTransit
            | EventKind::Delivered
            | EventKind::ShipmentCancelled
    )
}

/// The document lists delivery as one step: being on the way is its waiting,
/// and turning on the way its failure.
fn delivery_state(step: &Step, progress: &Progress) -> StepState {
    let moving = progress
        .steps
        .iter()
        .find(|other| other.name == StepName::OnItsWay);
    match (step.name, moving.map(|moving| moving.state)) {
        (StepName::Delivered, Some(state @ (StepState::Working | StepState::Failed))) => state,
        _ => step.state,
    }
}

fn mark(step: &Step, progress: &Progress) -> &'static str {
    match delivery_state(step, progress) {
        StepState::Done => "✅",
        StepState::Waiting | StepState::Working => "⏳",
        StepState::Ahead | StepState::Never => "⬜",
        StepState::Failed => "❌",
    }
}

fn step_text(step: &Step, record: &OrderRecord) -> String {
    let progress = Progress::of(record);
    let state = delivery_state(step, &progress);
    let note = || step.note.as_deref().map(text).unwrap_or_default();
    match (step.name, state) {
        (StepName::Paid, StepState::Done) => format!("Payment Confirmed (Transaction: {})", note()),
        (StepName::Paid, StepState::Waiting) => "Awaiting Payment".to_owned(),
        (StepName::Paid, StepState::Failed) => format!("Payment: {}", note()),
        (StepName::Paid, _) => "Payment Confirmation".to_owned(),
        (StepName::Approved, StepState::Done) => record
            .events
            .iter()
            .rfind(|event| event.kind == EventKind::Approved)
            .map_or_else(|| "Approved".to_owned(), |event| text(&event.detail)),
        (StepName::Approved, StepState::Waiting) => "Awaiting Admin Approval".to_owned(),
        (StepName::Approved, StepState::Failed) => format!("Admin Approval: {}", note()),
        (StepName::Approved, _) => "Admin Approval".to_owned(),
        (StepName::Shipped, StepState::Done) => format!("Shipment Initiated ({})", note()),
        (StepName::Shipped, StepState::Failed) => format!("Shipping: {}", note()),
        (StepName::Shipped, _) => "Shipping Initiation".to_owned(),
        (StepName::Delivered, StepState::Done) => "Delivered".to_owned(),
        (StepName::Delivered, StepState::Working) => match record.wait_until {
            Some(eta) => format!("On Its Way (expected {})", exact(eta)),
            None => "Delivery Confirmation".to_owned(),
        },
        (StepName::Delivered, StepState::Failed) => format!(
            "Delivery: {}",
            text(record.failure_reason.as_deref().unwrap_or("not delivered"))
        ),
        _ => "Delivery Confirmation".to_owned(),
    }
}

/// `2026-05-09 07:15:00 UTC`
pub fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `Awaiting Approval`: how the documents write statuses.
fn title_case(words: &str) -> String {
    words
        .split(' ')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect::<String>())
                .unwrap_or_default()
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Makes people's words mean themselves in Markdown, on one line, and keeps
/// those that do not run from left to right to themselves.
pub(super) fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    // A line end would end an isolate, too.
    let one_line = raw
        .trim()
        .replace(|c: char| c.is_whitespace() || c.is_control(), " ");
    let letters: Vec<char> = words::isolated(&one_line).chars().collect();
    for (place, letter) in letters.iter().copied().enumerate() {
        let inside_word = place > 0
            && letters[place - 1].is_alphanumeric()
            && letters
                .get(place + 1)
                .is_some_and(|next| next.is_alphanumeric());
        match letter {
            // Underscores inside words mean nothing in CommonMark; ids stay readable.
            '_' if inside_word => out.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~' | '!'
                if !(letter == '!' && letters.get(place + 1) != Some(&'[')) =>
            {
                out.push('\\');
                out.push(letter);
            }
            letter => out.push(letter),
        }
    }
    out
}

pub(super) fn line(out: &mut String, text: impl std::fmt::Display) {
    writeln!(out, "{text}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::console::samples;

    #[test]
    fn an_order_that_waits_reads_as_the_proposal_prints_it() {
        let document = order(
            &samples::awaiting_approval(),
            None,
            Some("alice@example.com"),
        );
        assert_snapshot!(document, @r"
        # Order #order-123

        **Status**: Awaiting Approval  
        **User**: alice@example.com  
        **Total**: $130.00

        ## Items
        | SKU | Product | Qty | Price |
        |-----|---------|----:|------:|
        | P001 | Widget A | 2 | $50.00 |
        | P002 | Widget B \| \<b\>bold\</b\> | 1 | $75.00 |

        Shipping to 1 Main Street Springfield (Domestic): $5.00

        ## Workflow Progress
        - ✅ Payment Confirmed (Transaction: txn-456)
        - ⏳ Awaiting Admin Approval
        - ⬜ Shipping Initiation
        - ⬜ Delivery Confirmation
        ");
    }

    #[test]
    fn a_failed_order_says_why_and_what_was_undone() {
        let document = order(&samples::rejected(), None, None);
        let told = document.split("## Items").next().unwrap();
        assert_snapshot!(told, @r"
        # Order #order-123

        **Status**: Rejected  
        **User**: alice  
        **Total**: $130.00

        ## Why It Was Not Delivered

        > Order canceled by admin (admin): address is \*not\* served
        ");
        let (_, undone) = document.split_once("## Compensations\n").unwrap();
        assert_snapshot!(undone, @r"
        Undone in reverse order:

        - ↩ Payment voided: nothing is charged at 2026-05-09 07:15:06 UTC
        - ↩ Stock released at 2026-05-09 07:15:07 UTC
        ");
    }

    #[test]
    fn a_delivered_order_has_a_shipment_log() {
        let document = order(&samples::delivered(), None, None);
        let (_, log) = document.split_once("## Shipment Log\n").unwrap();
        assert_snapshot!(log, @r"
        - 2026-05-09 07:15:06 UTC: Shipment initiated with FedEx (FX1001)
        - 2026-05-09 07:15:08 UTC: Estimated delivery: 5s
        - 2026-05-09 07:15:09 UTC: Order delivered!

        **Order delivered!** Thank you.
        ");
    }

    #[test]
    fn undoing_shows_what_is_still_to_do() {
        let document = order(&samples::undoing_in_transit(), None, None);
        assert!(
            document.contains("- ↩ Payment of $130.00 refunded at "),
            "{document}"
        );
        assert!(document.contains("- ⏳ Cancel the shipment"), "{document}");
        assert!(
            document.contains("- ❌ Delivery: Order cancelled by restate"),
            "{document}"
        );
    }

    #[test]
    fn the_cart_is_a_table() {
        assert_snapshot!(cart(&samples::basket()), @r"
        # Cart

        | SKU | Product | Qty | Unit Price | Price |
        |-----|---------|----:|-----------:|------:|
        | P001 | Widget A | 2 | $25.00 | $50.00 |
        | P002 | Widget B \| \<b\>bold\</b\> | 1 | $75.00 | $75.00 |

        **Subtotal**: $125.00
        ");
    }

    /// What somebody writes to turn our words around.
    const HOSTILE: &str = "\u{202E}\u{5D0}hostile\nand on";

    /// Words of others that stand open in a document.
    fn assert_isolated(document: &str) {
        assert!(document.contains("hostile"), "{document}");
        assert!(!document.contains('\u{202E}'), "{document:?}");
        for line in document.lines() {
            let mut depth = 0_i32;
            for (place, letter) in line.char_indices() {
                match letter {
                    '\u{2068}' => depth += 1,
                    '\u{2069}' => depth -= 1,
                    _ => {}
                }
                let stands_open = line[place..].starts_with("hostile") && depth == 0;
                assert!(!stands_open, "{line:?}");
            }
            assert_eq!(depth, 0, "an isolate ends where its line ends: {line:?}");
        }
    }

    /// An order with `HOSTILE` in each field in turn that takes it.
    fn hostile_orders(record: &OrderRecord) -> Vec<OrderRecord> {
        fn places(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
            match value {
                serde_json::Value::String(_) => found.push(at.to_owned()),
                serde_json::Value::Array(items) => {
                    for (n, item) in items.iter().enumerate() {
                        places(item, &format!("{at}/{n}"), found);
                    }
                }
                serde_json::Value::Object(fields) => {
                    for (name, field) in fields {
                        places(field, &format!("{at}/{name}"), found);
                    }
                }
                _ => {}
            }
        }
        let record = serde_json::to_value(record).unwrap();
        let mut found = Vec::new();
        places(&record, "", &mut found);
        let with = |place: &String| {
            let mut record = record.clone();
            *record.pointer_mut(place).unwrap() = HOSTILE.into();
            serde_json::from_value(record).ok()
        };
        found.iter().filter_map(with).collect()
    }

    #[test]
    fn nobodys_words_turn_ours_around() {
        let mut shown = 0;
        for record in samples::every_order() {
            for hostile in hostile_orders(&record) {
                let document = order(&hostile, None, None);
                if document.contains("hostile") {
                    shown += 1;
                    assert_isolated(&document);
                    // It says the same when it is rendered.
                    assert!(to_html(&document).contains('\u{2068}'));
                }
            }
        }
        assert!(shown > 50, "only {shown} documents show what was written");
        assert_isolated(&order(&samples::delivered(), None, Some(HOSTILE)));
        let mut basket = samples::basket();
        HOSTILE.clone_into(&mut basket.items[0].name);
        assert_isolated(&cart(&basket));
        let row = ProductRow {
            sku: HOSTILE,
            name: HOSTILE,
            price: Cents(1),
            stock: 1,
        };
        assert_isolated(&products(&[row], 1));
        let row = || OrderRow {
            order_id: "alice.1",
            user_id: HOSTILE,
            status: OrderStatus::Delivered,
            total: Cents(1),
            since: samples::at(0),
        };
        assert_isolated(&orders(&[row()], 1, true));
        assert_isolated(&approvals(&[row()]));
        let tiles = [(HOSTILE, HOSTILE)];
        assert_isolated(&dashboard(tiles.into_iter(), std::iter::empty()));
    }

    #[test]
    fn what_runs_from_left_to_right_is_written_as_it_is() {
        for words in ["Widget A", "Straße 5", "東京", "👍🏿"] {
            assert_eq!(text(words), words);
        }
    }

    #[test]
    fn a_page_past_the_end_leads_back() {
        assert!(orders(&[], 26, true).contains("[back to the first](/orders)"));
        assert!(products(&[], 26).contains("[back to the first](/products)"));
        assert!(orders(&[], 10, false).contains("0 of more than 10 shown"));
        assert!(!orders(&[], 0, true).contains("past the end"));
    }

    #[test]
    fn html_in_words_stays_words() {
        let html = to_html(&cart(&samples::basket()));
        assert!(
            html.contains("Widget B | &lt;b&gt;bold&lt;/b&gt;"),
            "{html}"
        );
        let html = to_html("<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![y](http://z/)");
        assert!(
            !html.contains("<script")
                && !html.contains("href=\"javascript")
                && !html.contains("<img"),
            "{html}"
        );
    }

    proptest! {
        #[test]
        fn no_words_get_out_of_their_cell(words in "\\PC{1,60}") {
            let html = to_html(&format!("| a | b |\n|---|---|\n| {} | end |\n", text(&words)));
            prop_assert_eq!(html.matches("<td>").count(), 2, "{}", html);
            for tag in ["<a", "<em", "<strong", "<code", "<img", "<del"] {
                prop_assert!(!html.contains(tag), "{}", html);
            }
        }
    }

    #[test]
    fn the_audit_log_is_a_list_that_nobody_writes_into() {
        let row = Row {
            nr: 1,
            id: "a".into(),
            at: 0,
            what: "sign_in_failed".into(),
            who: "(many names)".into(),
            subject: "alice".into(),
            detail: "a\n# heading".into(),
            address: Some("192.0.2.7".into()),
            request: None,
            count: 3,
        };
        let document = audit(&[row], 1, true);
        let last = document.lines().last().unwrap();
        assert!(last.starts_with("- "), "{document}");
        assert!(
            last.contains("3 times, by") && last.contains("from 192.0.2.7"),
            "{last}"
        );
        assert!(!document.contains("\n# heading"), "{document}");
    }
}
