//! Tables for spreadsheets and bookkeeping: CSV by RFC 4180. That of orders has a row for
//! each order, UTF-8, lines that end with CR and LF. Times are ISO 8601 in UTC, amounts are
//! decimal numbers of the column `currency`.

use std::borrow::Cow;

use csv::{Terminator, Writer, WriterBuilder};
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::payment::PaymentStatus;

/// What stands before the first row for a spreadsheet that takes a file without it for
/// one of its country's old encoding.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The first row.
pub const COLUMNS: [&str; 21] = [
    "order_id",
    "customer",
    "status",
    "placed_at",
    "status_since",
    "currency",
    "subtotal",
    "shipping",
    "total",
    "refunded",
    "pieces",
    "items",
    "payment_status",
    "transaction_id",
    "zone",
    "address",
    "carrier",
    "tracking_number",
    "delivered_at",
    "being_undone_to",
    "failure_reason",
];

/// The first row, as text.
pub fn head() -> Result<Vec<u8>, csv::Error> {
    let mut table = table();
    table.write_record(COLUMNS)?;
    finished(table)
}

/// A row for each order, with what went back of its money after its delivery.
pub fn rows(sales: &[(OrderRecord, Cents)]) -> Result<Vec<u8>, csv::Error> {
    let mut table = table();
    for (order, refunded) in sales {
        let cells = row(order, *refunded);
        table.write_record(cells.iter().map(|cell| guarded(cell).into_owned()))?;
    }
    finished(table)
}

fn table() -> Writer<Vec<u8>> {
    WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new())
}

fn finished(table: Writer<Vec<u8>>) -> Result<Vec<u8>, csv::Error> {
    table
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))
}

fn row(order: &OrderRecord, refunded: Cents) -> [String; COLUMNS.len()] {
    let items: Vec<_> = order
        .lines
        .iter()
        .map(|line| format!("{} x {} {}", line.quantity, line.sku, line.name))
        .collect();
    let pieces: u64 = order
        .lines
        .iter()
        .map(|line| u64::from(line.quantity))
        .sum();
    let shipment = order.shipment.as_ref();
    let is_delivered = order.status == OrderStatus::Delivered;
    let delivered_at = is_delivered.then(|| order.status_since.to_string());
    let payment = order.payment();
    // What was undone went back as a whole.
    let refunded = match payment.status {
        PaymentStatus::Refunded => order.total_cents,
        _ => refunded,
    };
    [
        order.order_id.to_string(),
        order.user_id.to_string(),
        order.status.as_str().to_owned(),
        order.created_at.to_string(),
        order.status_since.to_string(),
        order.currency.clone(),
        order.subtotal_cents.decimal(),
        order.shipping_cents.decimal(),
        order.total_cents.decimal(),
        refunded.decimal(),
        pieces.to_string(),
        items.join("; "),
        payment.status.as_str().to_owned(),
        payment.transaction_id.clone().unwrap_or_default(),
        order.zone.clone(),
        order.address.replace('\n', ", "),
        shipment.map(|it| it.carrier.clone()).unwrap_or_default(),
        shipment
            .map(|it| it.tracking_number.clone())
            .unwrap_or_default(),
        delivered_at.unwrap_or_default(),
        order
            .undoing
            .map(|end| end.as_str().to_owned())
            .unwrap_or_default(),
        order.failure_reason.clone().unwrap_or_default(),
    ]
}

/// What a spreadsheet takes for the beginning of a formula (OWASP, "CSV injection").
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// What people typed, as text that no spreadsheet takes for a formula: an apostrophe
/// before it says that it is none.
pub fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA) || unguarded(text) != text {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The same without its guard, for a file that is read again.
pub fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA) || rest.starts_with('\'') => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::samples;

    fn read(csv: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(csv);
        reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn an_order_is_a_row() {
        let written =
            String::from_utf8(rows(&[(samples::delivered(), Cents(1_250))]).unwrap()).unwrap();
        insta::assert_snapshot!(written);
    }

    #[test]
    fn every_order_has_every_column() {
        let orders = samples::every_order();
        let sales: Vec<_> = orders.iter().cloned().map(|it| (it, Cents::ZERO)).collect();
        let read = read(&[head().unwrap(), rows(&sales).unwrap()].concat());
        assert_eq!(read[0], COLUMNS);
        assert_eq!(read.len(), orders.len() + 1);
        let column = |name| COLUMNS.iter().position(|column| *column == name).unwrap();
        for (row, order) in read[1..].iter().zip(&orders) {
            assert_eq!(row.len(), COLUMNS.len());
            assert_eq!(row[column("status")], order.status.as_str());
            let undone = order.payment().status == PaymentStatus::Refunded;
            let refunded = if undone {
                order.total_cents
            } else {
                Cents::ZERO
            };
            assert_eq!(row[column("refunded")], refunded.decimal());
            let reason = order.failure_reason.clone().unwrap_or_default();
            assert_eq!(row[column("failure_reason")], reason);
        }
    }

    #[test]
    fn words_of_people_are_neither_formulas_nor_cells() {
        for (typed, cell) in [
            (
                "=HYPERLINK(\"http://evil\")",
                "'=HYPERLINK(\"http://evil\")",
            ),
            ("+1 Street", "'+1 Street"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            (
                "1 \"Main\" St, Springfield;\nUSA",
                "1 \"Main\" St, Springfield;, USA",
            ),
        ] {
            let mut order = samples::delivered();
            order.address = typed.to_owned();
            let row = read(&rows(&[(order, Cents::ZERO)]).unwrap()).remove(0);
            assert_eq!(row.len(), COLUMNS.len(), "{typed}");
            assert_eq!(row[15], cell, "{typed}");
        }
    }

    #[test]
    fn a_guard_is_taken_off_again() {
        for text in [
            "", "plain", "'quoted'", "=1", "'=1", "''=1", "-", "'", "''", "\t", "@a",
        ] {
            let cell = guarded(text);
            assert!(!cell.starts_with(FORMULA), "{text:?}");
            assert_eq!(unguarded(&cell), text, "{text:?}");
        }
    }
}
