//! The list of everything in a backup, which is its last entry: a backup without it was
//! interrupted.

use serde::{Deserialize, Serialize};
use waybill_domain::Timestamp;

/// Its name in the tar file.
pub const NAME: &str = "manifest.json";
/// What this program writes and reads.
pub const FORMAT: u32 = 1;
/// Longest that one is read.
pub const MAX_BYTES: u64 = 64 << 20;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How the rest is to be read: [`FORMAT`].
    pub format: u32,
    /// When it was begun.
    pub made_at: Timestamp,
    /// Version and commit of the program that made it.
    pub waybill: String,
    /// The nodes of Restate.
    pub restate: Vec<Node>,
    /// Everything else in the tar file, in its order.
    pub files: Vec<Entry>,
}

/// A node of Restate, as its data says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Which part its data is, such as `restate-1`.
    pub part: String,
    /// Its `node-name`: under another it does not know its data.
    pub name: String,
    /// The `cluster-name`.
    pub cluster: String,
    /// The version that has written last: an older one may refuse it.
    pub version: String,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the tar file.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// Of every format; the rest may be another's.
#[derive(Debug, Deserialize)]
struct AnyFormat {
    format: u32,
    #[serde(default)]
    waybill: String,
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// In words for whoever restores, when it is none or of another format.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let none = |error| format!("its list of files cannot be read ({error})");
        let AnyFormat { format, waybill } = serde_json::from_slice(json).map_err(none)?;
        if format != FORMAT {
            return Err(format!(
                "Waybill {waybill} has made it in format {format} and this one knows format {FORMAT}: restore it with that version"
            ));
        }
        serde_json::from_slice(json).map_err(none)
    }

    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
