//! Splits a byte stream into its lines, with a limit on their length.

/// Longest line that is taken. An order of 50 lines and a hundred events has
/// some 40 KB.
const LONGEST: usize = 4 << 20;

/// Takes bytes in any pieces and gives complete lines back.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the current line begins.
    line_from: usize,
    /// Up to where it has been looked for its end.
    looked_at: usize,
    /// In a line that is too long: everything up to its end is dropped.
    skipping: bool,
}

/// A line, or that one was too long to keep.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Complete(Vec<u8>),
    TooLong,
}

impl LineSplitter {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.line_from);
        self.looked_at -= self.line_from;
        self.line_from = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line without its end, or `None` until more is pushed.
    pub(super) fn next_line(&mut self) -> Option<Line> {
        let unseen = &self.buffer[self.looked_at..];
        let Some(length) = unseen.iter().position(|byte| *byte == b'\n') else {
            self.looked_at = self.buffer.len();
            if self.looked_at - self.line_from > LONGEST {
                self.skipping = true;
                self.line_from = self.looked_at;
            }
            return None;
        };
        let end = self.looked_at + length;
        let line = &self.buffer[std::mem::replace(&mut self.line_from, end + 1)..end];
        self.looked_at = end + 1;
        if std::mem::take(&mut self.skipping) || line.len() > LONGEST {
            return Some(Line::TooLong);
        }
        Some(Line::Complete(line.trim_ascii_end().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(bytes: &[u8], piece: usize) -> Vec<Line> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in bytes.chunks(piece) {
            splitter.push(piece);
            while let Some(line) = splitter.next_line() {
                lines.push(line);
            }
        }
        lines
    }

    #[test]
    fn a_line_that_is_too_long_costs_only_itself() {
        let mut bytes = vec![b'x'; LONGEST + 10];
        bytes.extend_from_slice(b"\nshort\n");
        for piece in [1024, 64 * 1024, bytes.len()] {
            // Not assert_eq: four megabytes tell nobody anything.
            assert!(split(&bytes, piece) == [Line::TooLong, Line::Complete(b"short".to_vec())]);
        }
    }

    proptest! {
        #[test]
        fn lines_come_back_whole_however_they_arrive(
            lines in prop::collection::vec("[a-z]{0,9}", 0..20),
            piece in 1..30usize,
        ) {
            let bytes = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect::<String>();
            let expected: Vec<_> = lines.into_iter().map(|line| Line::Complete(line.into_bytes())).collect();
            prop_assert_eq!(split(bytes.as_bytes(), piece), expected);
        }
    }
}
