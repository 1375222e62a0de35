use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use waybill_domain::Timestamp;

use super::make;
use super::manifest::{FORMAT, Manifest, NAME, Node};
use super::parts::{GATEWAY, Parts, SANDBOX};
use super::restore;
use crate::storage::db::{Db, to_i64};

const MARKER: &str = r#"{"cluster_name":"waybill","cluster_fingerprint":1,"max_version":"1.7.12",
    "current_version":"1.7.12","min_forward_compatible_version":"1.6.0","is_provisioned":true}"#;
const ZONES: &str = "shipping_zones";

/// The files of a shop: some as Restate has them, a real SQLite file, secrets.
struct Shop {
    folder: tempfile::TempDir,
    parts: Parts,
}

fn empty_machine() -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let database = |name: &'static str, file: &str| {
        let url = format!("sqlite://{}", at(file).display());
        (name, url, at(file))
    };
    let parts = Parts {
        restate: vec![at("restate")],
        databases: vec![database(GATEWAY, "waybill.db"), database(SANDBOX, "box.db")],
        secrets: vec![at("internal-token"), at("keys")],
    };
    Shop { folder, parts }
}

async fn shop() -> Shop {
    let shop = empty_machine();
    for (name, text) in [
        ("restate/waybill/.cluster-marker", MARKER),
        ("restate/waybill/db/CURRENT", "MANIFEST-000005\n"),
        ("restate/waybill/db/LOCK", ""),
        ("restate/waybill/db/000004.log", "an order"),
        ("internal-token", "a token"),
        ("keys/session-key", "a key"),
    ] {
        let file = shop.at(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let db = Db::open(&shop.parts.databases[0].1).await.unwrap();
    let zone = format!("INSERT INTO {ZONES} (zone_name, base_cost_cents) VALUES ('Moon', 99)");
    sqlx::query(sqlx::AssertSqlSafe(zone))
        .execute(&db.write)
        .await
        .unwrap();
    // It serves on while it is backed up: what it has written is in its log alone.
    std::mem::forget(db);
    shop
}

impl Shop {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn back_up(&self) -> Result<(PathBuf, String), String> {
        let file = self.at("backup.tar");
        let made = make::run(&self.parts, &file, "0.0.1 (test)", Timestamp::UNIX_EPOCH).await;
        made.map(|said| (file, said))
            .map_err(|error| sentence(&error))
    }

    fn restore(&self, file: &Path) -> Result<String, String> {
        restore::run(&self.parts, file, false).map_err(|error| sentence(&error))
    }

    /// What is there, by its path, sorted.
    fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.folder.path()).unwrap();
                found.push(name.display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

fn sentence(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

/// A tar file of these, as it was not made by `gateway backup`.
fn tar_of(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.tar");
    let mut tar = tar::Builder::new(fs::File::create(&file).unwrap());
    for (name, text) in files {
        let mut header = tar::Header::new_old();
        header.set_size(text.len() as u64);
        // Past the library, which writes no name that leads elsewhere.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.finish().unwrap();
    (folder, file)
}

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        made_at: Timestamp::UNIX_EPOCH,
        waybill: "0.0.1 (test)".to_owned(),
        restate: vec![Node {
            part: "restate-1".to_owned(),
            name: "waybill".to_owned(),
            cluster: "waybill".to_owned(),
            version: "1.7.12".to_owned(),
        }],
        files: Vec::new(),
    }
}

#[tokio::test]
async fn everything_comes_back_on_an_empty_machine_and_is_private() {
    let shop = shop().await;
    let (backup, said) = shop.back_up().await.unwrap();
    assert!(
        said.contains("node waybill of cluster waybill, version 1.7.12"),
        "{said}"
    );
    assert!(said.contains("box.db is not there and left out"), "{said}");
    assert!(said.contains("2 secrets"), "{said}");
    let there = empty_machine();
    let said = there.restore(&backup).unwrap();
    assert!(said.contains("node waybill of Restate 1.7.12"), "{said}");
    assert_eq!(
        there.files(),
        [
            "internal-token",
            "keys",
            "keys/session-key",
            "restate",
            "restate/waybill",
            "restate/waybill/.cluster-marker",
            "restate/waybill/db",
            "restate/waybill/db/000004.log",
            "restate/waybill/db/CURRENT",
            "waybill.db",
        ]
    );
    let order = fs::read_to_string(there.at("restate/waybill/db/000004.log"));
    assert_eq!(order.unwrap(), "an order");
    let db = Db::open(&there.parts.databases[0].1).await.unwrap();
    let zones = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!(
        "SELECT count(*) FROM {ZONES} WHERE zone_name = 'Moon'"
    )));
    assert_eq!(zones.fetch_one(&db.read).await.unwrap(), to_i64(1));
    db.close().await;
    for file in [
        &backup,
        &there.at("keys/session-key"),
        &there.at("waybill.db"),
    ] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
    // Once is enough, and nothing is written over.
    let again = there.restore(&backup).unwrap_err();
    assert!(
        again.contains("holds something already (waybill)"),
        "{again}"
    );
    let again = shop.back_up().await.unwrap_err();
    assert!(again.contains("is there already"), "{again}");
    assert!(
        restore::run(&there.parts, &backup, true)
            .unwrap()
            .contains("is whole")
    );
}

#[tokio::test]
async fn half_a_backup_is_refused_and_leaves_nothing() {
    let shop = shop().await;
    let (backup, _) = shop.back_up().await.unwrap();
    let whole = fs::read(&backup).unwrap();
    let cut = shop.at("cut.tar");
    // A block is 512 bytes: at its edge, and within.
    for length in (0..whole.len() - 2048).step_by(256 * 37) {
        fs::write(&cut, &whole[..length]).unwrap();
        let there = empty_machine();
        let refused = there.restore(&cut).unwrap_err();
        assert!(
            refused.contains("is no whole backup"),
            "{length}: {refused}"
        );
        assert!(refused.lines().count() == 1, "{length}: {refused}");
        assert_eq!(there.files(), ["keys"; 0], "{length}");
    }
    for damaged in ["an order", "a key", "MANIFEST-000005"] {
        let at = whole
            .windows(damaged.len())
            .position(|it| it == damaged.as_bytes());
        let mut bytes = whole.clone();
        bytes[at.unwrap()] ^= 1;
        fs::write(&cut, &bytes).unwrap();
        let there = empty_machine();
        let refused = there.restore(&cut).unwrap_err();
        assert!(refused.contains("is not what was backed up"), "{refused}");
        assert!(restore::run(&there.parts, &cut, true).is_err());
        assert_eq!(there.files(), ["keys"; 0]);
    }
}

#[test]
fn what_is_no_backup_or_anothers_is_one_sentence() {
    let there = empty_machine();
    let newer = serde_json::json!({ "format": 2, "waybill": "9.0.0", "new": true }).to_string();
    let listed = serde_json::to_string(&manifest()).unwrap();
    for (files, said) in [
        (vec![(NAME, newer.as_str())], "restore it with that version"),
        (vec![(NAME, "{}")], "its list of files cannot be read"),
        (vec![("restate-2/node-2/x", "")], "name as many folders"),
        (
            vec![("secrets/other", "")],
            "the secret 'other', so say by --secrets",
        ),
        (
            vec![("../outside", "")],
            "it holds a file called '../outside'",
        ),
        (vec![("/outside", "")], "it holds a file called"),
        (vec![("secrets/keys/a/b", "")], "it holds a file called"),
        (
            vec![("waybill.db", "x")],
            "it holds a file called 'waybill.db'",
        ),
        (
            vec![("gateway.db", "x"), (NAME, &listed)],
            "files are missing, or too many",
        ),
    ] {
        let (_folder, file) = tar_of(&files);
        let refused = there.restore(&file).unwrap_err();
        assert!(refused.contains(said), "{files:?}: {refused}");
        assert_eq!(there.files(), ["keys"; 0], "{files:?}");
    }
    let nothing = there.restore(Path::new("/nowhere.tar")).unwrap_err();
    assert!(nothing.contains("/nowhere.tar cannot be read"), "{nothing}");
    let (_folder, file) = tar_of(&[]);
    let text = file.with_extension("txt");
    fs::write(&text, "no tar file at all, but a text").unwrap();
    let nothing = there.restore(&text).unwrap_err();
    assert!(nothing.contains("is no whole backup"), "{nothing}");
}

#[tokio::test]
async fn what_cannot_be_backed_up_is_one_sentence_and_leaves_nothing() {
    let there = empty_machine();
    let missing = there.back_up().await.unwrap_err();
    assert!(missing.contains("restate cannot be read"), "{missing}");
    fs::create_dir(there.at("restate")).unwrap();
    let none = there.back_up().await.unwrap_err();
    assert!(none.contains("holds no data of Restate"), "{none}");
    let mut shop = shop().await;
    std::os::unix::fs::symlink("/tmp", shop.at("restate/waybill/elsewhere")).unwrap();
    let leads = shop.back_up().await.unwrap_err();
    assert!(leads.contains("leads elsewhere"), "{leads}");
    fs::remove_file(shop.at("restate/waybill/elsewhere")).unwrap();
    shop.parts.secrets.push(shop.at("no-such-key"));
    let secret = shop.back_up().await.unwrap_err();
    assert!(secret.contains("no-such-key cannot be read"), "{secret}");
    let left = shop.files();
    let left: Vec<_> = left
        .iter()
        .filter(|name| name.contains("backup") || name.contains("copy"))
        .collect();
    assert_eq!(left, Vec::<&String>::new());
}
