//! Splits a byte stream into its lines, with a limit on their length.

/// Longest line that is taken. An order of 50 lines and a hundred events has
/// some 40 KB.
const LONGEST: usize = 4 << 20;

/// Takes bytes in any pieces and gives complete lines back.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    buffer: Vec<u8>,
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
        self.buffer.drain(..self.looked_at);
        self.looked_at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line without its end, or `None` until more is pushed.
    pub(super) fn next_line(&mut self) -> Option<Line> {
        let rest = &self.buffer[self.looked_at..];
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            if rest.len() > LONGEST {
                self.skipping = true;
                self.looked_at = self.buffer.len();
            }
            return None;
        };
        let line = rest[..length].trim_ascii_end().to_vec();
        self.looked_at += length + 1;
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        Some(Line::Complete(line))
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
        assert_eq!(
            split(&bytes, 64 * 1024),
            [Line::TooLong, Line::Complete(b"short".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn lines_come_back_whole_however_they_arrive(
            lines in prop::collection::vec("[a-z]{0,9}", 0..20),
            piece in 1..30usize,
        ) {
            let bytes: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let expected: Vec<_> = lines.into_iter().map(|line| Line::Complete(line.into_bytes())).collect();
            prop_assert_eq!(split(bytes.as_bytes(), piece), expected);
        }
    }
}
