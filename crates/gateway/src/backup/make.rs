//! A backup is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use waybill_domain::Timestamp;

use super::manifest::{Entry, FORMAT, Manifest, NAME};
use super::parts::{Parts, Places, SECRETS, with_ending};
use super::stopped::Stopped;
use super::{Counted, size};
use crate::storage::db;

/// `gateway backup`
#[derive(Debug, Clone, Args)]
pub struct Make {
    /// The file that is made, such as `waybill-2026-11-26.tar`; - is the standard output.
    pub file: PathBuf,
    /// Where its parts are.
    #[command(flatten)]
    pub places: Places,
}

/// Makes a backup, and answers what is in it, in a few sentences.
///
/// # Errors
/// A sentence for the operator; no file of that name is there then.
pub async fn run(
    parts: &Parts,
    file: &Path,
    version: &str,
    now: Timestamp,
) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        let made = write(parts, &mut out, version, now).await?;
        out.flush().context("the standard output is closed")?;
        return Ok(made);
    }
    let shown = file.display();
    if file.exists() {
        bail!("{shown} is there already: name another file");
    }
    let unfinished = Unfinished(with_ending(file, ".unfinished"));
    let cannot = || format!("{shown} cannot be written");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = BufWriter::new(options.open(&unfinished.0).with_context(cannot)?);
    let made = write(parts, &mut out, version, now).await?;
    let written = out.into_inner().map_err(io::IntoInnerError::into_error);
    let synced = written.and_then(|written| written.sync_all());
    synced.with_context(cannot)?;
    fs::rename(&unfinished.0, file).with_context(cannot)?;
    Ok(format!(
        "{made}\nAll of it is in {shown}, secrets too: keep it as one."
    ))
}

/// A file that is gone when it was not finished.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has its final name by then, or was never there.
        let _ = fs::remove_file(&self.0);
    }
}

async fn write(
    parts: &Parts,
    out: &mut impl Write,
    version: &str,
    now: Timestamp,
) -> anyhow::Result<String> {
    let named = |number: usize| Parts::of_node(number);
    let restate = parts.restate.iter().enumerate();
    let restate = restate.map(|(number, folder)| {
        let stopped = Stopped::take(folder, &named(number))?;
        Ok((named(number), folder, stopped))
    });
    // All at once: the nodes of a cluster belong to one moment.
    let restate = restate.collect::<anyhow::Result<Vec<_>>>()?;
    let mut tar = Tar {
        builder: tar::Builder::new(out),
        written: Vec::new(),
        time: now.as_second().try_into().unwrap_or(0),
    };
    let mut said = Vec::new();
    for (part, folder, stopped) in &restate {
        let before = tar.bytes();
        for file in &stopped.files {
            tar.add_file(&format!("{part}/{}", file.display()), &folder.join(file))?;
        }
        for node in &stopped.nodes {
            said.push(format!(
                "Restate's data: node {} of cluster {}, version {}, {}",
                node.name,
                node.cluster,
                node.version,
                size(tar.bytes() - before)
            ));
        }
    }
    for (name, url, file) in &parts.databases {
        if !file.exists() {
            said.push(format!("{} is not there and left out", file.display()));
            continue;
        }
        let before = tar.bytes();
        let copy = Unfinished(with_ending(file, ".copy"));
        db::copy(url, &copy.0).await?;
        tar.add_file(name, &copy.0)?;
        let bytes = size(tar.bytes() - before);
        said.push(format!("{}: {bytes}", file.display()));
    }
    let secrets = secrets(&parts.secrets)?;
    for (name, file) in &secrets {
        tar.add_file(&format!("{SECRETS}/{name}"), file)?;
    }
    said.push(match secrets.len() {
        0 => "No secrets: --secrets names them, and without the session key nobody's second factor can be read".to_owned(),
        1 => "1 secret".to_owned(),
        many => format!("{many} secrets"),
    });
    let nodes = restate.iter().flat_map(|(.., stopped)| &stopped.nodes);
    let manifest = Manifest {
        format: FORMAT,
        made_at: now,
        waybill: version.to_owned(),
        restate: nodes.cloned().collect(),
        files: std::mem::take(&mut tar.written),
    };
    let json = serde_json::to_vec_pretty(&manifest).context("the list of files")?;
    tar.add(NAME, json.len() as u64, &json[..])?;
    tar.builder
        .finish()
        .context("the backup cannot be written")?;
    Ok(said.join("\n"))
}

/// Names in the backup, and files.
fn secrets(named: &[PathBuf]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for path in named {
        let unreadable = || format!("--secrets: {} cannot be read", path.display());
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(unreadable)?;
        if fs::metadata(path).with_context(unreadable)?.is_file() {
            found.push((name.to_owned(), path.clone()));
            continue;
        }
        let mut inside = fs::read_dir(path)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .with_context(unreadable)?;
        inside.sort_by_key(fs::DirEntry::file_name);
        for entry in inside {
            let file = entry.path();
            let named = entry.file_name().into_string().ok();
            if let (true, Some(file_name)) = (file.is_file(), named) {
                found.push((format!("{name}/{file_name}"), file));
            }
        }
    }
    Ok(found)
}

/// What is written by now.
struct Tar<W: Write> {
    builder: tar::Builder<W>,
    written: Vec<Entry>,
    /// Of every file, in seconds since 1970.
    time: u64,
}

impl<W: Write> Tar<W> {
    fn bytes(&self) -> u64 {
        self.written.iter().map(|it| it.bytes).sum()
    }

    fn add_file(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.with_context(|| format!("{} cannot be read", path.display()))?;
        self.add(name, bytes, file)
    }

    fn add(&mut self, name: &str, bytes: u64, from: impl Read) -> anyhow::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.time);
        let mut counted = Counted::new(from.take(bytes));
        self.builder
            .append_data(&mut header, name, &mut counted)
            .with_context(|| format!("{name} cannot be put into the backup"))?;
        let (passed, sha256) = counted.passed();
        if passed != bytes {
            bail!("{name} became shorter while it was read: somebody writes it");
        }
        self.written.push(Entry {
            name: name.to_owned(),
            bytes,
            sha256,
        });
        Ok(())
    }
}
