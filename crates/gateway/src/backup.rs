//! `gateway backup` and `gateway restore`: what nobody can make again, in one file.
//!
//! | module | holds |
//! | --- | --- |
//! | [`parts`] | what there is to keep, and where each part of it is |
//! | [`stopped`] | that nobody writes Restate's data while it is read |
//! | [`manifest`] | the list of everything, which is the end of a backup |
//! | [`make`] | a backup is made |
//! | [`restore`] | a backup is looked through, and put back |
//!
//! A backup is a tar file of plain files, whose last one is the manifest. What always
//! holds:
//!
//! - Restate's data is read only while no Restate has it open, and none can open it
//!   meanwhile. `SQLite` may be written all the time.
//! - A file under its final name is a whole backup; one that ends early is refused.
//! - Nothing is put where something is, and nothing at all of a backup that is not whole.
//! - What is written is for its user alone: it holds names, addresses and secrets.

pub mod make;
pub mod manifest;
pub mod parts;
pub mod restore;
pub mod stopped;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// Reads on, and knows what has passed.
struct Counted<R> {
    from: R,
    bytes: u64,
    hash: Sha256,
}

impl<R: Read> Counted<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// How many bytes have passed, and their SHA-256 in hexadecimal digits.
    fn passed(self) -> (u64, String) {
        (self.bytes, hex::encode(self.hash.finalize()))
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
