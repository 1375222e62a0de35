//! A store that speaks S3, in which the nodes of a cluster keep snapshots: moto's, as in the
//! tests of the compose files, which knows conditional writes and keeps all of it in memory.

use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::process::Program;

const BUCKET: &str = "snapshots";
/// How much a partition may log until it is in a snapshot.
const RECORDS: u32 = 1_000;

/// How it is started; `packages` are those of scripts/store-requirements.txt.
pub(crate) fn program(plan: &Plan, port: u16, packages: &Path) -> Program {
    let script = crate::repository().join("scripts/stand-in-minio.py");
    // A folder of its data is a bucket.
    let data = plan.folder.join("store");
    std::fs::create_dir_all(data.join(BUCKET)).expect("the world's folder can be written");
    let arguments = [
        script.display().to_string(),
        "server".to_owned(),
        "--quiet".to_owned(),
        "--address".to_owned(),
        format!("127.0.0.1:{port}"),
        data.display().to_string(),
    ];
    Program {
        name: "store",
        binary: PathBuf::from("python3"),
        arguments: arguments.to_vec(),
        variables: vec![("PYTHONPATH".to_owned(), packages.display().to_string())],
        environment: plan.environment,
        log: plan.logs.join("store.log"),
        log_begins: 0,
        folder: plan.works_in.clone(),
    }
}

/// What a node is told of it.
pub(crate) fn variables(port: u16) -> Vec<(String, String)> {
    let settings = [
        ("DESTINATION", format!("s3://{BUCKET}/waybill")),
        ("SNAPSHOT_INTERVAL_NUM_RECORDS", RECORDS.to_string()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "waybill".to_owned()),
        (
            "AWS_SECRET_ACCESS_KEY",
            "every-password-is-right".to_owned(),
        ),
    ];
    let named = |name| format!("RESTATE_WORKER__SNAPSHOTS__{name}");
    settings.map(|(name, value)| (named(name), value)).to_vec()
}
