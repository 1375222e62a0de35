//! Restate's answers, in pieces and broken.

use fuzz::check;
use fuzz::input::{cut, mistaken};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::row_stream::RowSplitter;

/// All rows of an answer that comes in these pieces, and whether it was whole.
fn rows(pieces: &[&[u8]]) -> Option<(Vec<Vec<u8>>, bool)> {
    let mut splitter = RowSplitter::default();
    let mut rows = Vec::new();
    for piece in pieces {
        splitter.push(piece);
        while let Some(row) = splitter.next_row().ok()? {
            rows.push(row);
        }
    }
    Some((rows, splitter.is_complete()))
}

#[test]
fn fuzz_rows() {
    let samples = [
        r#"{"rows":[{"a":1,"b":"x}\"]"},{"a":{"c":[1,{"d":2}]}}]}"#,
        r#"{"rows":[]}"#,
        r#"{"rows":[{"value":"{\"a\":\"\\\\\"}"},{}]}"#,
    ];
    let inputs = (mistaken(&samples, 3), vec(any::<Index>(), 0..6));
    check("gateway: rows of Restate", &inputs, |(answer, places)| {
        let whole = rows(&[answer.as_bytes()]);
        let pieces = rows(&cut(answer.as_bytes(), &places));
        prop_assert_eq!(&pieces, &whole, "in pieces it is something else");
        // Where the answer is JSON, its rows are those that serde finds.
        if let Ok(json) = serde_json::from_str::<Value>(&answer)
            && let Some(expected) = json["rows"].as_array()
            && json.as_object().is_some_and(|fields| fields.len() == 1)
            && answer.starts_with("{\"rows\":[")
            && expected.iter().all(Value::is_object)
        {
            let (rows, is_complete) = whole.expect("it is right");
            prop_assert!(is_complete);
            let rows: Vec<Value> = rows
                .iter()
                .map(|row| serde_json::from_slice(row).unwrap())
                .collect();
            prop_assert_eq!(&rows, expected);
        }
        Ok(())
    });
}
