//! Splits a byte stream into its lines, with a limit on their length.

use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder as _, LinesCodec, LinesCodecError};

/// Longest line that is taken, in bytes. An order of 50 lines and a hundred events has
/// some 40 KB.
pub(super) const LONGEST: usize = 4 << 20;

/// Takes bytes in any pieces and gives complete lines back. What stands after
/// the last line end is no line: the stream broke off there.
#[derive(Debug)]
pub(super) struct LineSplitter {
    codec: LinesCodec,
    buffer: BytesMut,
}

impl LineSplitter {
    pub(super) fn new() -> Self {
        Self {
            codec: LinesCodec::new_with_max_length(LONGEST),
            buffer: BytesMut::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line without its end, or `None` until more is pushed. One
    /// that is too long or no text is an error, and costs only itself.
    pub(super) fn next_line(&mut self) -> Option<Result<String, LinesCodecError>> {
        self.codec.decode(&mut self.buffer).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `None` for each line that cannot be had.
    fn split(bytes: &[u8], piece: usize) -> Vec<Option<String>> {
        let mut splitter = LineSplitter::new();
        let mut lines = Vec::new();
        for piece in bytes.chunks(piece) {
            splitter.push(piece);
            while let Some(line) = splitter.next_line() {
                lines.push(line.ok());
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
            assert!(split(&bytes, piece) == [None, Some("short".to_owned())]);
        }
    }

    #[test]
    fn a_line_that_is_no_text_costs_only_itself() {
        let bytes = b"\xff\xfe\nshort\n";
        assert_eq!(split(bytes, 3), [None, Some("short".to_owned())]);
    }

    #[test]
    fn a_line_that_breaks_off_is_none() {
        assert_eq!(split(b"whole\nbrok", 4), [Some("whole".to_owned())]);
    }

    proptest! {
        #[test]
        fn lines_come_back_whole_however_they_arrive(
            lines in prop::collection::vec("[a-z]{0,9}", 0..20),
            piece in 1..30usize,
        ) {
            let bytes = lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect::<String>();
            let expected: Vec<_> = lines.into_iter().map(Some).collect();
            prop_assert_eq!(split(bytes.as_bytes(), piece), expected);
        }
    }
}
