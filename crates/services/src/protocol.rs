//! Restate's service protocol, as far as somebody listens in: which messages pass
//! between the server and the SDK, whole or as they begin.

/// Type, flags and length stand before each message.
const HEADER: usize = 8;
/// The first message to us: which invocation this is.
pub const START: u16 = 0x0000;
/// The invocation waits, and this try of it is over.
pub const SUSPENSION: u16 = 0x0001;
/// This try has failed; Restate makes another.
pub const ERROR: u16 = 0x0002;
/// The end of an invocation.
pub const END: u16 = 0x0003;
/// The result of a `run`.
pub const RUN_RESULT: u16 = 0x0005;
/// What an invocation was given.
pub const INPUT: u16 = 0x0400;
/// What it answers.
pub const OUTPUT: u16 = 0x0401;

/// An answer, as far as it is of interest: whether it is an error for good.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Output {
    /// The error.
    #[prost(bytes = "vec", optional, tag = "15")]
    pub failure: Option<Vec<u8>>,
}

/// Messages, as they pass in pieces of any size.
#[derive(Debug, Default)]
pub struct Messages {
    buffer: Vec<u8>,
}

/// A part of a message that has just become known.
pub enum ProtocolPart {
    /// Its header: kind, and where in the piece it begins.
    Header(u16, usize),
    /// All of it: kind, payload, and where in the piece it ends.
    Whole(u16, Vec<u8>, usize),
}

impl Messages {
    /// Reads one part on; `at` moves along the piece.
    pub fn next(&mut self, piece: &[u8], at: &mut usize) -> Option<ProtocolPart> {
        let kind = |header: &[u8]| u16::from_be_bytes([header[0], header[1]]);
        if self.buffer.len() < HEADER {
            let begins = *at;
            let taken = (HEADER - self.buffer.len()).min(piece.len() - *at);
            self.buffer.extend_from_slice(&piece[*at..*at + taken]);
            *at += taken;
            return (self.buffer.len() == HEADER)
                .then(|| ProtocolPart::Header(kind(&self.buffer), begins));
        }
        let length: [u8; 4] = self.buffer[4..HEADER].try_into().unwrap_or_default();
        let whole = HEADER + u32::from_be_bytes(length) as usize;
        let taken = (whole - self.buffer.len()).min(piece.len() - *at);
        self.buffer.extend_from_slice(&piece[*at..*at + taken]);
        *at += taken;
        if self.buffer.len() < whole {
            return None;
        }
        let message = std::mem::take(&mut self.buffer);
        Some(ProtocolPart::Whole(
            kind(&message),
            message[HEADER..].to_vec(),
            *at,
        ))
    }
}
