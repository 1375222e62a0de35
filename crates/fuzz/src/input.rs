//! Input for parsers: pieces that mean something to some reader, put together
//! at random, and right input with mistakes in it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What means something to somebody: to HTTP, event streams, Markdown, HTML,
/// JSON, forms, templates, numbers, Unicode.
pub const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\n\n",
    "\r\r",
    "\0",
    "\t",
    " ",
    "\u{b}",
    "\u{1b}[31m",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{a0}",
    "data: ",
    "\ndata: x",
    "event: x\n",
    "\nid: 1\n",
    "retry: 0\n",
    ": still here\n",
    ":",
    "|",
    "\\",
    "\\|",
    "`",
    "```\n",
    "*",
    "**",
    "_",
    "__",
    "[",
    "]",
    "(",
    ")",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/)",
    "<",
    ">",
    "<script>",
    "</script>",
    "</div>",
    "<!--",
    "-->",
    "<http://evil.example>",
    "&",
    "&lt;",
    "&#10;",
    "#",
    "\n# ",
    "\n> ",
    "\n- ",
    "\n1. ",
    "\n---\n",
    "\n===\n",
    "    ",
    "~~",
    "~",
    "$",
    "!",
    "\"",
    "'",
    "{",
    "}",
    "{{",
    "{%",
    "%}",
    "%",
    "%00",
    "%0a",
    "%0D%0A",
    "%c3%28",
    "+",
    "=",
    ";",
    ",",
    ".",
    "..",
    "/",
    "//",
    "/\\",
    "@",
    "?",
    "https://evil.example",
    "javascript:",
    "\\u0000",
    "\\n",
    "\u{202e}",
    "\u{202c}",
    "\u{2066}",
    "\u{2068}",
    "\u{2069}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{fe0f}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{e0067}",
    "\u{e007f}",
    "\u{1f3f4}",
    "é",
    "א",
    "ش",
    "東",
    "👩\u{200d}👧",
    "İ",
    "ß",
    "0",
    "-1",
    "+1",
    "007",
    "1.0",
    "1e9",
    "1e400",
    "NaN",
    "9223372036854775807",
    "9223372036854775808",
    "null",
    "true",
    "false",
    "on",
    "q=",
    ";q=0.5",
    "*/*",
    "t=",
    "v1=",
    "Bearer ",
    "waybill_session=",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(PIECES).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9_.-]{1,8}",
        1 => any::<char>().prop_map(String::from),
    ]
}

/// Up to `most` pieces in a row.
pub fn text(most: usize) -> impl Strategy<Value = String> {
    vec(piece(), 0..=most).prop_map(|pieces| pieces.concat())
}

/// The same, with what is long.
pub fn long_text() -> impl Strategy<Value = String> {
    (text(12), 1..300_usize).prop_map(|(text, times)| text.repeat(times))
}

#[derive(Debug, Clone)]
enum Mistake {
    Insert(String),
    Delete(usize),
    Repeat(usize),
    /// The rest is another sample's.
    Splice(Index, Index),
}

fn mistake() -> impl Strategy<Value = (Index, Mistake)> {
    let kind = prop_oneof![
        3 => piece().prop_map(Mistake::Insert),
        2 => (1..8_usize).prop_map(Mistake::Delete),
        1 => (1..40_usize).prop_map(Mistake::Repeat),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(one, at)| Mistake::Splice(one, at)),
    ];
    (any::<Index>(), kind)
}

/// One of `samples` with up to `most` mistakes; now and then with none.
pub fn mistaken<S: AsRef<str>>(
    samples: &[S],
    most: usize,
) -> impl Strategy<Value = String> + use<S> {
    let samples: Vec<String> = samples.iter().map(|one| one.as_ref().to_owned()).collect();
    let made = (any::<Index>(), vec(mistake(), 0..=most));
    made.prop_map(move |(first, mistakes)| {
        let mut letters: Vec<char> = first.get(&samples).chars().collect();
        for (at, mistake) in mistakes {
            let at = at.index(letters.len() + 1);
            match mistake {
                Mistake::Insert(piece) => drop(letters.splice(at..at, piece.chars())),
                Mistake::Delete(count) => {
                    let end = (at + count).min(letters.len());
                    letters.drain(at..end);
                }
                Mistake::Repeat(count) => {
                    let end = (at + count).min(letters.len());
                    let again = letters[at..end].to_vec();
                    letters.splice(at..at, again);
                }
                Mistake::Splice(other, from) => {
                    let other: Vec<char> = other.get(&samples).chars().collect();
                    letters.truncate(at);
                    letters.extend(&other[from.index(other.len() + 1)..]);
                }
            }
        }
        letters.into_iter().collect()
    })
}

/// Bytes that are text for the most part.
pub fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        4 => piece().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..6),
    ];
    vec(pieces, 0..=most).prop_map(|pieces| pieces.concat())
}

/// `bytes` in the pieces that end at these places.
pub fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut from = 0;
    let mut pieces: Vec<&[u8]> = Vec::new();
    for at in places {
        pieces.push(&bytes[from..at]);
        from = at;
    }
    pieces.push(&bytes[from..]);
    pieces
}
