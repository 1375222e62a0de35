//! The catalog as a file: CSV that spreadsheets read and write.
//!
//! A file is read whole before anything is asked of anybody: every mistake is named by
//! line and column, and one mistake is enough for nothing to be done. What it would change
//! is found out by the same function that changes it ([`ImportRow::to`]).
//!
//! A cell of text that begins like a formula is written with a `'` before it, as
//! spreadsheets want it, and read without.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

use csv::{ReaderBuilder, StringRecord, Writer};
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::catalog::{
    CatalogProduct, ImportDone, ImportRow, MAX_IMPORT_ROWS, MAX_INITIAL_STOCK, NO_CATEGORY,
    Outcome, ProductFields, price_in_words,
};
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::refusal::Refusal;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::documents::csv::{self as table, guarded, unguarded};

/// Largest file, in bytes.
pub const MAX_FILE: usize = 4 * 1024 * 1024;
/// Mistakes that are named; the others are counted.
const NAMED_MISTAKES: usize = 100;
/// Rows of a plan that are shown.
const SHOWN_ROWS: usize = 200;
/// The columns, as an export has them. `sku`, `name` and `price` must be there.
const COLUMNS: [&str; 7] = [
    "sku",
    "name",
    "description",
    "category",
    "price",
    "stock",
    "archived",
];
/// Those that must be there.
const NEEDED: [&str; 3] = ["sku", "name", "price"];

/// A mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Mistake {
    /// In which line, from 1.
    #[schema(minimum = 1)]
    pub line: u64,
    /// In which column, by its name; empty for the line as a whole.
    pub column: String,
    /// What is wrong, and what is accepted.
    pub detail: String,
}

/// A file that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The first of them.
    pub named: Vec<Mistake>,
    /// How many there are.
    pub total: usize,
}

/// What a file would change.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FilePlan {
    /// How many products would be new, changed, or stay.
    pub done: ImportDone,
    /// What would change, in the order of the file: the first of it.
    pub changes: Vec<FileChange>,
    /// How many changes there are in all.
    #[schema(minimum = 0)]
    pub total: usize,
    /// The rows, resolved.
    #[serde(skip)]
    pub rows: Vec<ImportRow>,
}

/// What a line would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FileChange {
    /// Which line.
    #[schema(minimum = 1)]
    pub line: u64,
    /// Which product.
    pub sku: String,
    /// Whether it is new.
    pub is_new: bool,
    /// What would be different, in words.
    pub detail: String,
}

/// `line 3, price: …`
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.column.is_empty() {
            write!(f, ", {}", self.column)?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl Mistakes {
    fn add(&mut self, line: u64, column: &str, detail: impl Into<String>) {
        self.total += 1;
        if self.named.len() < NAMED_MISTAKES {
            self.named.push(Mistake {
                line,
                column: column.to_owned(),
                detail: detail.into(),
            });
        }
    }

    fn refused(&mut self, line: u64, column: &str, refusal: &Refusal) {
        self.add(line, column, refusal.to_string());
    }

    /// One line each, for a terminal.
    pub fn in_lines(&self) -> String {
        let mut said = String::new();
        for mistake in &self.named {
            let _ = writeln!(said, "{mistake}");
        }
        if self.total > self.named.len() {
            let _ = writeln!(said, "and {} more", self.total - self.named.len());
        }
        let _ = write!(said, "nothing was imported");
        said
    }
}

/// A line of a file: what a column does not say stays as it is.
struct FileRow {
    line: u64,
    sku: Sku,
    name: String,
    description: Option<String>,
    category: Option<String>,
    price: Cents,
    stock: u32,
    is_archived: Option<bool>,
}

/// Reads a file, and finds out what it would change of `known`.
pub fn plan(
    file: &[u8],
    known: &[CatalogProduct],
    by: &str,
    at: Timestamp,
) -> Result<FilePlan, Mistakes> {
    let lines = read(file)?;
    let known: HashMap<_, _> = known.iter().map(|it| (it.sku.as_str(), it)).collect();
    let mut mistakes = none();
    let mut plan = FilePlan {
        done: ImportDone::default(),
        changes: Vec::new(),
        total: 0,
        rows: Vec::with_capacity(lines.len()),
    };
    for line in lines {
        let before = known.get(line.sku.as_str()).copied();
        let number = line.line;
        let row = line.over(before);
        let outcome = match row.to(before, 0, by, at) {
            Ok(outcome) => outcome,
            Err(Refusal::Invalid { field, detail }) => {
                mistakes.add(number, &field, detail);
                continue;
            }
            Err(refusal) => {
                mistakes.refused(number, "", &refusal);
                continue;
            }
        };
        plan.done.count(&outcome);
        let detail = match (&outcome, before) {
            (Outcome::Changed(after), Some(before)) => Some((false, differences(before, after))),
            (Outcome::Added(after), _) => {
                let (price, stock) = (after.fields.price_cents, after.initial_stock);
                Some((true, format!("new: {price}, {stock} in stock")))
            }
            _ => None,
        };
        if let Some((is_new, detail)) = detail {
            plan.total += 1;
            if plan.changes.len() < SHOWN_ROWS {
                plan.changes.push(FileChange {
                    line: number,
                    sku: row.sku.to_string(),
                    is_new,
                    detail,
                });
            }
        }
        plan.rows.push(row);
    }
    if mistakes.total > 0 {
        return Err(mistakes);
    }
    Ok(plan)
}

fn none() -> Mistakes {
    Mistakes {
        named: Vec::new(),
        total: 0,
    }
}

fn differences(before: &CatalogProduct, after: &CatalogProduct) -> String {
    let fields = before.fields.differences(&after.fields);
    let said = fields.iter().map(|(field, was, now)| {
        format!(
            "{field} {} → {}",
            quoted(was, MAX_NAME),
            quoted(now, MAX_NAME)
        )
    });
    let sold = match (before.is_sold(), after.is_sold()) {
        (true, false) => Some("archived".to_owned()),
        (false, true) => Some("restored".to_owned()),
        _ => None,
    };
    said.chain(sold).collect::<Vec<_>>().join("; ")
}

impl FileRow {
    fn over(self, known: Option<&CatalogProduct>) -> ImportRow {
        let fields = known.map(|known| &known.fields);
        let kept = |of: fn(&ProductFields) -> &String| fields.map(|it| of(it).clone());
        ImportRow {
            sku: self.sku,
            fields: ProductFields {
                name: self.name,
                description: self
                    .description
                    .or_else(|| kept(|it| &it.description))
                    .unwrap_or_default(),
                category: self
                    .category
                    .or_else(|| kept(|it| &it.category))
                    .unwrap_or_else(|| NO_CATEGORY.to_owned()),
                price_cents: self.price,
            },
            stock: self.stock,
            is_archived: self.is_archived,
        }
    }
}

fn read(file: &[u8]) -> Result<Vec<FileRow>, Mistakes> {
    let mut mistakes = none();
    if file.len() > MAX_FILE {
        let most = MAX_FILE / 1024 / 1024;
        mistakes.add(1, "", format!("the file must be at most {most} MiB"));
        return Err(mistakes);
    }
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let text = match std::str::from_utf8(file) {
        Ok(text) => text,
        Err(error) => {
            let before = &file[..error.valid_up_to()];
            let line = 1 + before.split(|byte| *byte == b'\n').count() as u64 - 1;
            mistakes.add(
                line,
                "",
                "this is not UTF-8: save the file as \"CSV UTF-8\"",
            );
            return Err(mistakes);
        }
    };
    // Lines are counted by their `\n`: with `\r\n` the reader would be one behind.
    let text = &text.replace("\r\n", "\n").replace('\r', "\n");
    let head = text.lines().next().unwrap_or_default();
    let is_semicolon = head.matches(';').count() > head.matches(',').count();
    let mut reader = ReaderBuilder::new()
        .delimiter(if is_semicolon { b';' } else { b',' })
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let Some(Ok(header)) = records.next() else {
        mistakes.add(
            1,
            "",
            "the file is empty: its first line must name the columns",
        );
        return Err(mistakes);
    };
    let columns = columns(&header, &mut mistakes);
    if mistakes.total > 0 {
        return Err(mistakes);
    }
    let mut rows: Vec<FileRow> = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                mistakes.add(line, "", "this line cannot be read: look at its quotes");
                break;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if rows.len() >= MAX_IMPORT_ROWS as usize {
            mistakes.add(
                line,
                "",
                format!("a file has at most {MAX_IMPORT_ROWS} products"),
            );
            break;
        }
        if record.len() > columns.len() {
            let cells = record.len();
            let named = columns.len();
            mistakes.add(
                line,
                "",
                format!("there are {cells} cells and only {named} columns: is text with a comma without quotes?"),
            );
            continue;
        }
        let cell = |name: &str| {
            let place = columns.iter().position(|column| column == name)?;
            record.get(place).map(unguarded)
        };
        if let Some(row) = row(line, cell, &mut mistakes) {
            if let Some(first) = seen.insert(row.sku.to_string(), line) {
                let sku = &row.sku;
                mistakes.add(line, "sku", format!("{sku} stands in line {first} already"));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() && mistakes.total == 0 {
        mistakes.add(2, "", "there is no product in the file");
    }
    if mistakes.total > 0 {
        return Err(mistakes);
    }
    Ok(rows)
}

fn columns(header: &StringRecord, mistakes: &mut Mistakes) -> Vec<String> {
    let names: Vec<_> = header
        .iter()
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (place, name) in names.iter().enumerate() {
        let shown = quoted(name, MAX_NAME);
        if !COLUMNS.contains(&name.as_str()) {
            let all = COLUMNS.join(", ");
            mistakes.add(1, &shown, format!("there is no column {shown}: use {all}"));
        } else if names[..place].contains(name) {
            mistakes.add(1, &shown, "this column is there twice");
        }
    }
    for needed in NEEDED {
        if !names.iter().any(|name| name == needed) {
            mistakes.add(1, needed, format!("the column {needed} is missing"));
        }
    }
    names
}

fn row<'a>(
    line: u64,
    cell: impl Fn(&str) -> Option<&'a str>,
    mistakes: &mut Mistakes,
) -> Option<FileRow> {
    let before = mistakes.total;
    let said = |name: &str| cell(name).map(str::trim).filter(|text| !text.is_empty());
    let sku = match Sku::parse(said("sku").unwrap_or_default()) {
        Ok(sku) => Some(sku),
        Err(refusal) => {
            mistakes.refused(line, "sku", &refusal);
            None
        }
    };
    let name = said("name");
    if name.is_none() {
        mistakes.add(line, "name", "name is missing: say what it is called");
    }
    let price = match price_in_words("price", said("price").unwrap_or_default()) {
        Ok(price) => Some(price),
        Err(refusal) => {
            mistakes.refused(line, "price", &refusal);
            None
        }
    };
    let stock = match said("stock").map(str::parse::<u32>) {
        None => 0,
        Some(Ok(stock)) if stock <= MAX_INITIAL_STOCK => stock,
        Some(_) => {
            let wanted = format!("stock must be a whole number, 0 to {MAX_INITIAL_STOCK}");
            mistakes.add(line, "stock", wanted);
            0
        }
    };
    let is_archived = match said("archived").map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("yes" | "true" | "1") => Some(true),
        Some("no" | "false" | "0") => Some(false),
        Some(_) => {
            mistakes.add(line, "archived", "archived must be yes or no");
            None
        }
    };
    if mistakes.total > before {
        return None;
    }
    Some(FileRow {
        line,
        sku: sku?,
        name: name?.to_owned(),
        // A column that is there says that there is none.
        description: cell("description").map(str::to_owned),
        category: said("category").map(str::to_owned),
        price: price?,
        stock,
        is_archived,
    })
}

/// A file of these products, with what can be sold of each. It begins with a byte order
/// mark, without which spreadsheets read accents as something else.
pub fn write(products: &[(CatalogProduct, i64)]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = Writer::from_writer(table::BYTE_ORDER_MARK.as_bytes().to_vec());
    writer.write_record(COLUMNS)?;
    for (product, stock) in products {
        let fields = &product.fields;
        writer.write_record([
            &*guarded(product.sku.as_str()),
            &*guarded(&fields.name),
            &*guarded(&fields.description),
            &*guarded(&fields.category),
            &*fields.price_cents.decimal(),
            &*(*stock).clamp(0, MAX_INITIAL_STOCK.into()).to_string(),
            if product.is_sold() { "no" } else { "yes" },
        ])?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use fuzz::input::{mistaken, text};
    use fuzz::proptest::prelude::*;

    use super::*;
    use crate::storage::catalog::tests::kettles;

    fn of(file: &str, known: &[CatalogProduct]) -> Result<FilePlan, Mistakes> {
        plan(file.as_bytes(), known, "ann", Timestamp::UNIX_EPOCH)
    }

    fn mistakes(file: &str) -> Vec<(u64, String)> {
        let wrong = of(file, &[]).unwrap_err().named.into_iter();
        wrong.map(|it| (it.line, it.column)).collect()
    }

    #[test]
    fn commas_and_semicolons_with_and_without_a_mark_are_the_same() {
        let comma = "sku,name,price,stock\nK-1,\"Kettle, big\",24.90,5\nK-2,Pan,3,\n";
        let semicolon = "\u{FEFF}SKU;Name;Price;Stock\r\nK-1;Kettle, big;24,90;5\r\nK-2;Pan;3;\r\n";
        let (a, b) = (of(comma, &[]).unwrap(), of(semicolon, &[]).unwrap());
        assert_eq!(a, b);
        assert_eq!((a.done.added, a.rows[0].stock), (2, 5));
        assert_eq!(a.rows[0].fields.price_cents, Cents(2_490));
        assert_eq!(a.rows[0].fields.name, "Kettle, big");
        assert_eq!(a.rows[1].fields.category, "Other");
    }

    #[test]
    fn every_mistake_is_named_by_line_and_column() {
        let file = "sku,name,price,stock,archived\n\
                    K 1,Kettle,1,1,no\n\
                    K-2,,x,-1,perhaps\n\
                    K-3,\"two\nlines\",1,1,no\n\
                    K-3,Again,1,1,\n\
                    K-4,Four,1,1,no,more\n";
        let found = mistakes(file);
        let expected = [
            (2, "sku"),
            (3, "name"),
            (3, "price"),
            (3, "stock"),
            (3, "archived"),
            (6, "sku"),
            (7, ""),
        ];
        assert_eq!(
            found,
            expected.map(|(line, column)| (line, column.to_owned()))
        );
        assert_eq!(mistakes(""), [(1, String::new())]);
        assert_eq!(mistakes("sku,name,price\n\n"), [(2, String::new())]);
        let named: Vec<_> = mistakes("sku,nmae\n").into_iter().map(|it| it.1).collect();
        assert_eq!(named, ["nmae", "name", "price"]);
        let latin = plan(
            b"sku,name,price\nK,Caf\xe9,1\n",
            &[],
            "ann",
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(latin.unwrap_err().named[0].line, 2);
        let long = format!("sku,name,price\nK,{},1\n", "x".repeat(201));
        assert_eq!(mistakes(&long), [(2, "name".to_owned())]);
        let many = format!("sku,name,price\n{}", "?,?,?\n".repeat(200));
        let wrong = of(&many, &[]).unwrap_err();
        assert_eq!((wrong.named.len(), wrong.total), (NAMED_MISTAKES, 400));
        assert!(
            wrong
                .in_lines()
                .ends_with("and 300 more\nnothing was imported")
        );
    }

    #[test]
    fn a_plan_says_what_would_change_and_what_is_left_out_stays() {
        let [kettle, gone] = kettles();
        let file = "sku,name,price,archived\nK-1,Kettle,3,no\n";
        let plan = of(file, std::slice::from_ref(&gone)).unwrap();
        assert_eq!(plan.changes[0].detail, "price $2.00 → $3.00; restored");
        assert_eq!(plan.rows[0].fields.description, "Boils");
        let same = of("sku,name,price\nK-1,Kettle,1\n", &[kettle]).unwrap();
        assert_eq!((same.done.unchanged, same.total), (1, 0));
    }

    #[test]
    fn ten_thousand_are_read_and_one_more_is_not() {
        let rows = |count: u32| {
            let rows = (0..count).map(|n| format!("S-{n},Thing {n},1.50\n"));
            format!("sku,name,price\n{}", rows.collect::<String>())
        };
        let most = of(&rows(MAX_IMPORT_ROWS), &[]).unwrap();
        assert_eq!((most.rows.len(), most.changes.len()), (10_000, SHOWN_ROWS));
        assert_eq!(
            mistakes(&rows(MAX_IMPORT_ROWS + 1)),
            [(10_002, String::new())]
        );
    }

    /// Whatever a product is called, it comes back, and is no formula meanwhile.
    #[test]
    fn fuzz_catalog_files() {
        let [kettle, _] = kettles();
        let samples = ["=1+1", "'=x", "''", "-3", "@a", "a;b,\"c\"\nd", "ä"];
        let words = prop_oneof![mistaken(&samples, 3), text(5)];
        fuzz::check("gateway: catalog files", &words, |word| {
            // As a file.
            let _ = plan(word.as_bytes(), &[], "ann", Timestamp::UNIX_EPOCH);
            let mut product = kettle.clone();
            let named = ProductFields {
                name: word.clone(),
                description: word.clone(),
                category: word.chars().take(20).collect(),
                price_cents: Cents(7),
            };
            let Ok(fields) = named.checked() else {
                return Ok(());
            };
            product.fields = fields;
            let file = write(&[(product.clone(), 3)]).unwrap();
            let cells = csv::Reader::from_reader(&file[3..]).records().next();
            for cell in cells.unwrap().unwrap().iter().take(4) {
                prop_assert!(
                    !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                    "{cell:?}"
                );
            }
            let again = plan(&file, &[product], "ann", Timestamp::UNIX_EPOCH);
            let again = again.map(|it| it.done.unchanged);
            prop_assert_eq!(again, Ok(1), "{:?}", word);
            Ok(())
        });
    }
}
