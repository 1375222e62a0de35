//! Files that are for this user's eyes only: databases, which hold names,
//! addresses and hashes of passwords.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Its owner reads and writes it.
const FILE: u32 = 0o600;
/// Its owner enters it.
const FOLDER: u32 = 0o700;
/// What everybody else might do with it.
const OTHERS: u32 = 0o077;
/// The files of a `SQLite` database, by what they are called beyond its name.
const SQLITE: [&str; 3] = ["", "-wal", "-shm"];

/// Makes `folder` and those above it where they are missing, for this user alone.
/// One that is there stays as it is: it may be somebody else's, too.
///
/// # Errors
/// When it cannot be made.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)
}

/// Opens `file` for appending and makes it, for this user alone, where it is
/// missing.
///
/// # Errors
/// When it cannot be written.
pub fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE)
        .open(file)
}

/// Makes the `SQLite` database `file` where it is missing, and takes away what
/// others may do with it and its log, with one line for both. `SQLite` gives its
/// later files the mode of the first.
///
/// # Errors
/// When the folder or the file cannot be made.
pub fn keep_database_private(file: &Path) -> io::Result<()> {
    create_folder(file.parent().unwrap_or(Path::new("")))?;
    drop(open(file)?);
    let tightened: Vec<_> = SQLITE
        .iter()
        .map(|end| {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        })
        .filter(|file| tighten(file))
        .map(|file| file.display().to_string())
        .collect();
    if !tightened.is_empty() {
        tracing::info!(
            "only this user may read {} from now on: others could",
            tightened.join(", ")
        );
    }
    Ok(())
}

/// Whether others could do something with `file` and now cannot any more.
fn tighten(file: &Path) -> bool {
    let Ok(found) = fs::metadata(file) else {
        return false;
    };
    let mode = found.permissions().mode();
    if mode & OTHERS == 0 {
        return false;
    }
    match fs::set_permissions(file, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "others may read {}, and this user cannot change that ({error}): run chmod 600 as its owner",
                file.display()
            );
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_this_user_alone_and_what_is_there_is_tightened() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let file = folder.join("waybill.db");
        keep_database_private(&file).unwrap();
        assert_eq!((mode(&folder), mode(&file)), (FOLDER, FILE));

        let log = folder.join("waybill.db-wal");
        fs::write(&log, "").unwrap();
        for open in [&file, &log] {
            fs::set_permissions(open, Permissions::from_mode(0o664)).unwrap();
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        keep_database_private(&file).unwrap();
        assert_eq!((mode(&file), mode(&log)), (FILE, FILE));
        assert_eq!(mode(&folder), 0o755, "a folder may hold others' files");
    }
}
