//! Restate's data, while nobody writes it.
//!
//! Its databases are `RocksDB`'s, which lets one process open each: that one holds a lock on
//! the file `LOCK` beside it. Whoever copies them takes the same locks first. So a Restate
//! that runs is noticed, in another container, too, and none can start meanwhile: it says
//! `db is locked` and ends.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use rustix::fs::{FlockOperation, fcntl_lock};
use serde::Deserialize;

use super::manifest::Node;

/// What Restate says of its data, in each node's folder.
const MARKER: &str = ".cluster-marker";
/// `RocksDB` has one of these in each of its folders.
const CURRENT: &str = "CURRENT";
/// And this one, which is locked; it is empty, and made anew where it is missing.
const LOCK: &str = "LOCK";

/// A folder of Restate's that no Restate has open, for as long as this lives.
///
/// Its locks are of this process and not of a handle: a file that is called `LOCK` must
/// not be opened again meanwhile.
#[derive(Debug)]
pub struct Stopped {
    /// The nodes whose data it holds; nearly always one.
    pub nodes: Vec<Node>,
    /// Everything to be kept, by its path from the folder.
    pub files: Vec<PathBuf>,
    _locks: Vec<File>,
}

#[derive(Debug, Deserialize)]
struct Marker {
    cluster_name: String,
    current_version: String,
}

impl Stopped {
    /// Takes the locks, and looks what there is.
    ///
    /// # Errors
    /// A sentence for the operator: Restate runs, or this is none of its folders.
    pub fn take(folder: &Path, part: &str) -> anyhow::Result<Self> {
        let unreadable = || format!("{} cannot be read", folder.display());
        let mut files = Vec::new();
        list(folder, folder, &mut files).with_context(unreadable)?;
        let mut nodes = Vec::new();
        for marker in files.iter().filter(|file| file.ends_with(MARKER)) {
            let json = fs::read(folder.join(marker)).with_context(unreadable)?;
            let marked: Marker = serde_json::from_slice(&json)
                .with_context(|| format!("{} is no mark of Restate's", marker.display()))?;
            let name = marker.parent().unwrap_or(Path::new(""));
            nodes.push(Node {
                part: part.to_owned(),
                name: name.display().to_string(),
                cluster: marked.cluster_name,
                version: marked.current_version,
            });
        }
        if nodes.is_empty() {
            bail!(
                "RESTATE_BASE_DIR: {} holds no data of Restate, so name the base-dir that it was started with",
                folder.display()
            );
        }
        let databases = files.iter().filter(|file| file.ends_with(CURRENT));
        let locks = databases.map(|file| lock(&folder.join(file).with_file_name(LOCK)));
        let locks = locks.collect::<anyhow::Result<Vec<_>>>()?;
        if locks.is_empty() {
            bail!(
                "RESTATE_BASE_DIR: {} holds no database of Restate",
                folder.display()
            );
        }
        // Once more: until now it could be written.
        files.clear();
        list(folder, folder, &mut files).with_context(unreadable)?;
        Ok(Self {
            nodes,
            files,
            _locks: locks,
        })
    }
}

fn lock(file: &Path) -> anyhow::Result<File> {
    let opened = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(file);
    let opened = opened.map_err(|error| {
        anyhow!(
            "{} cannot be opened for writing ({error}), so do this as the user that Restate runs as",
            file.display()
        )
    })?;
    match fcntl_lock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(opened),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::PermissionDenied
            ) =>
        {
            bail!(
                "Restate runs on {}: stop it, and start it again when this is done; gateway and services may run on",
                file.parent().unwrap_or(file).display()
            )
        }
        Err(error) => Err(anyhow!("{} cannot be locked ({error})", file.display())),
    }
}

/// Every file below `folder`, sorted, by its path from `from`.
fn list(folder: &Path, from: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            list(&path, from, into)?;
        } else if kind.is_symlink() {
            bail!(
                "{} leads elsewhere: put what it leads to in its place",
                path.display()
            );
        } else if kind.is_file() && entry.file_name() != LOCK {
            into.push(path.strip_prefix(from)?.to_owned());
        }
    }
    Ok(())
}
