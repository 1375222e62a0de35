//! Writes the audit log into a file, an entry a line, for whatever collects such files.
//!
//! It follows the table, which has every entry once: what was missed while this gateway
//! or Restate was away comes later and is still written. How far it has come is kept in
//! SQLite; between the file and that lies nothing but a crash, after which the last lines
//! may stand there twice, with the same `id`. The file is opened anew for each batch, so
//! that it may be moved away at any time.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use process::private_files;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::core::Core;
use crate::storage::audit::{self, Row};
use crate::storage::db::Db;

/// Entries that are written together.
const BATCH: i64 = 500;
/// Least time between two looks: a busy shop changes all the time.
const SPACING: Duration = Duration::from_millis(200);
/// The table is looked at so often although nothing seems to have happened.
const EVERY: Duration = Duration::from_secs(30);
/// How long to wait when the file cannot be written.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What stands in a line.
#[derive(Serialize)]
struct Line<'a> {
    /// Tells it apart from the log, where both go to the same place.
    target: &'static str,
    #[serde(flatten)]
    row: &'a Row,
}

/// Follows the table until the gateway closes.
pub(super) async fn keep_filing(core: Arc<Core>, db: Db, file: PathBuf) {
    let closing = core.closing.clone();
    let mut changes = core.topics.changes();
    let work = async {
        let mut complained = false;
        loop {
            changes.mark_unchanged();
            match file_next(&db, &file).await {
                Ok(0) => {
                    complained = false;
                    // Woken or not, it is looked at again.
                    let _ = timeout(EVERY, changes.changed()).await;
                    sleep(SPACING).await;
                }
                Ok(_) => {}
                Err(error) => {
                    if !complained {
                        tracing::error!(
                            %error,
                            "AUDIT_LOG: {} cannot be written, so its entries wait: {error}",
                            file.display()
                        );
                    }
                    complained = true;
                    sleep(TRY_AGAIN).await;
                }
            }
        }
    };
    closing.run_until_cancelled(work).await;
}

/// Writes the next entries; answers how many.
async fn file_next(db: &Db, file: &Path) -> anyhow::Result<usize> {
    let rows = audit::not_filed(db, BATCH).await?;
    let Some(last) = rows.last().map(|row| row.nr) else {
        return Ok(0);
    };
    let (count, file) = (rows.len(), file.to_owned());
    tokio::task::spawn_blocking(move || append(&file, &rows)).await??;
    audit::filed(db, last).await?;
    Ok(count)
}

fn append(file: &Path, rows: &[Row]) -> io::Result<()> {
    let mut lines = Vec::new();
    for row in rows {
        let target = "audit";
        serde_json::to_writer(&mut lines, &Line { target, row })?;
        lines.push(b'\n');
    }
    private_files::open(file)?.write_all(&lines)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use waybill_domain::Timestamp;
    use waybill_domain::audit::{Act, AuditEntry};

    use super::*;
    use crate::storage::db;

    async fn write(db: &Db, id: &str) {
        let entry = AuditEntry {
            id: id.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            what: Act::RoleSet,
            by: "admin".into(),
            subject: "alice".to_owned(),
            detail: "two\nlines".to_owned(),
            count: 1,
        };
        let mut transaction = db.begin().await.unwrap();
        assert!(audit::write(&mut transaction, &entry).await.unwrap());
        transaction.commit().await.unwrap();
    }

    #[tokio::test]
    async fn each_entry_is_a_line_and_stands_there_once() {
        let (folder, db) = db::temporary().await;
        let file = folder.path().join("audit.jsonl");
        write(&db, "a").await;
        write(&db, "b").await;
        assert_eq!(file_next(&db, &file).await.unwrap(), 2);
        assert_eq!(file_next(&db, &file).await.unwrap(), 0);
        // It is moved away, as a rotation does.
        let old = folder.path().join("audit.jsonl.1");
        fs::rename(&file, &old).unwrap();
        write(&db, "c").await;
        assert_eq!(file_next(&db, &file).await.unwrap(), 1);

        let mut ids = Vec::new();
        for part in [&old, &file] {
            assert_eq!(
                fs::metadata(part).unwrap().permissions().mode() & 0o777,
                0o600
            );
            for line in fs::read_to_string(part).unwrap().lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["target"], "audit");
                assert_eq!(line["what"], "role_set");
                ids.push(line["id"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(ids, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn what_cannot_be_written_waits() {
        let (folder, db) = db::temporary().await;
        write(&db, "a").await;
        let nowhere = folder.path().join("missing/audit.jsonl");
        assert!(file_next(&db, &nowhere).await.is_err());
        let file = folder.path().join("audit.jsonl");
        assert_eq!(file_next(&db, &file).await.unwrap(), 1);
    }
}
