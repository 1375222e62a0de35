//! Splits `{"rows":[{…},{…}]}` into its rows while it arrives, so that an
//! answer of any length is read in the memory of one row.

/// Takes bytes in any pieces and gives complete rows back.
#[derive(Debug, Default)]
pub(super) struct RowSplitter {
    buffer: Vec<u8>,
    /// Up to where `buffer` has been looked at.
    looked_at: usize,
    /// Where the current row begins in `buffer`.
    row_from: Option<usize>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the `[` that opens the rows.
    #[default]
    Before,
    /// Between rows.
    Between,
    /// In a row, `depth` braces and brackets deep.
    Row { depth: u32 },
    /// In a string of a row.
    Text { depth: u32, escaped: bool },
    /// After the `]` that ends the rows.
    After,
}

impl RowSplitter {
    /// Takes the next bytes of the answer.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the answer has come to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::After
    }

    /// The next complete row, or `None` until more bytes are pushed. An error
    /// says what stands where no row can begin.
    pub(super) fn next_row(&mut self) -> Result<Option<Vec<u8>>, String> {
        while let Some(&byte) = self.buffer.get(self.looked_at) {
            self.looked_at += 1;
            self.state = match (self.state, byte) {
                (State::Before, b'[') => State::Between,
                (State::Between, b'{') => {
                    self.row_from = Some(self.looked_at - 1);
                    State::Row { depth: 1 }
                }
                (State::Between, b']') => State::After,
                (State::Between, byte) if byte != b',' && !byte.is_ascii_whitespace() => {
                    return Err(format!("unexpected {:?} between rows", char::from(byte)));
                }
                (State::Row { depth }, b'{' | b'[') => State::Row { depth: depth + 1 },
                (State::Row { depth: 1 }, b'}') => {
                    self.state = State::Between;
                    return Ok(Some(self.take_row()));
                }
                (State::Row { depth: 1 }, b']') => {
                    return Err("unexpected ']' in a row".to_owned());
                }
                (State::Row { depth }, b'}' | b']') => State::Row { depth: depth - 1 },
                (State::Row { depth }, b'"') => State::Text {
                    depth,
                    escaped: false,
                },
                (
                    State::Text {
                        depth,
                        escaped: false,
                    },
                    b'"',
                ) => State::Row { depth },
                (State::Text { depth, escaped }, byte) => State::Text {
                    depth,
                    escaped: byte == b'\\' && !escaped,
                },
                (same, _) => same,
            };
        }
        if self.row_from.is_none() {
            self.buffer.clear();
            self.looked_at = 0;
        }
        Ok(None)
    }

    fn take_row(&mut self) -> Vec<u8> {
        let from = self.row_from.take().unwrap_or_default();
        let row = self.buffer[from..self.looked_at].to_vec();
        // Moving what is left to the front costs; it is done when half of the
        // buffer has been given away.
        if self.looked_at > self.buffer.len() / 2 {
            self.buffer.drain(..self.looked_at);
            self.looked_at = 0;
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(answer: &[u8], piece: usize) -> (Vec<Value>, bool) {
        let mut splitter = RowSplitter::default();
        let mut rows = Vec::new();
        for bytes in answer.chunks(piece) {
            splitter.push(bytes);
            while let Some(row) = splitter.next_row().unwrap() {
                rows.push(serde_json::from_slice(&row).unwrap());
            }
        }
        (rows, splitter.is_complete())
    }

    #[test]
    fn an_answer_without_rows() {
        assert_eq!(split(br#"{"rows":[]}"#, 3), (vec![], true));
    }

    #[test]
    fn an_answer_that_breaks_off_is_not_complete() {
        assert_eq!(
            split(br#"{"rows":[{"a":1},{"a":"#, 5),
            (vec![json!({"a": 1})], false)
        );
    }

    #[test]
    fn a_row_that_ends_as_a_list_is_an_error() {
        // Found by fuzzing: it was an overflow.
        let mut splitter = RowSplitter::default();
        splitter.push(br#"{"rows":[{"a":1]},{}]}"#);
        assert!(splitter.next_row().is_err());
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        let mut splitter = RowSplitter::default();
        splitter.push(br#"{"rows":[{"a":1},oops"#);
        assert!(splitter.next_row().unwrap().is_some());
        assert!(splitter.next_row().is_err());
    }

    proptest! {
        #[test]
        fn rows_come_back_whole_however_they_arrive(
            texts in prop::collection::vec("[a-z{}\\[\\]\",\\\\é]{0,12}", 0..20),
            piece in 1..40usize,
        ) {
            let rows: Vec<Value> = texts
                .iter()
                .map(|text| json!({"key": text, "value": {"nested": [text]}}))
                .collect();
            let answer = serde_json::to_vec(&json!({ "rows": rows })).unwrap();
            prop_assert_eq!(split(&answer, piece), (rows, true));
        }
    }
}
