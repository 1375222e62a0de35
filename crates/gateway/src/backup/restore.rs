//! A backup is looked through, and put back.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use process::private_files::create_folder;

use super::manifest::{Entry, MAX_BYTES, Manifest, NAME};
use super::parts::{Parts, Place, Places, waiting_room, with_ending};
use super::{Counted, size};

/// What an empty folder may hold: `lost+found` is of the file system.
const NOTHING: [&str; 2] = ["lost+found", ".restore"];

/// `gateway restore`
#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// The file that `gateway backup` has made; - is the standard input.
    pub file: PathBuf,
    /// Only look whether it is whole, and what it holds. Changes nothing.
    #[arg(long)]
    pub check: bool,
    /// Where its parts go.
    #[command(flatten)]
    pub places: Places,
}

/// Puts a backup back, and answers what was in it, in a few sentences.
///
/// # Errors
/// A sentence for the operator. Nothing is put back then, unless the sentence says so.
pub fn run(parts: &Parts, file: &Path, is_check: bool) -> anyhow::Result<String> {
    let (from, shown): (Box<dyn Read>, _) = if file == Path::new("-") {
        (Box::new(io::stdin().lock()), "the backup".to_owned())
    } else {
        let shown = file.display().to_string();
        let file = File::open(file).with_context(|| format!("{shown} cannot be read"))?;
        (Box::new(BufReader::new(file)), shown)
    };
    let refused = |why: Refused| match why {
        Refused::Backup(why) => anyhow!("{shown} is no whole backup: {why}"),
        Refused::Place(why) => why,
    };
    if is_check {
        let manifest = look_through(from, |_, from| Ok(io::copy(from, &mut io::sink())?));
        return Ok(told(&manifest.map_err(refused)?, "is whole", &shown));
    }
    are_empty(parts)?;
    let mut waiting = Waiting::default();
    let manifest = look_through(from, |name, from| waiting.take(parts, name, from));
    let manifest = manifest.map_err(refused)?;
    waiting.put_back()?;
    let told = told(&manifest, "is restored", &shown);
    Ok(format!(
        "{told}\nNow start Restate with the same node-name, then the services at the address they had, then the gateway. Then `gateway reconcile`: what happened after the backup is known outside and not here (docs/operate.md)."
    ))
}

fn told(manifest: &Manifest, is: &str, shown: &str) -> String {
    let nodes = manifest.restate.iter().map(|node| {
        let (name, version) = (&node.name, &node.version);
        format!("node {name} of Restate {version}")
    });
    format!(
        "{shown} {is}: made at {} by Waybill {}, {} files, {}, {}",
        manifest.made_at,
        manifest.waybill,
        manifest.files.len(),
        size(manifest.bytes()),
        nodes.collect::<Vec<_>>().join(", ")
    )
}

/// Why a backup is not restored.
enum Refused {
    /// What is wrong with it.
    Backup(String),
    /// What is wrong here.
    Place(anyhow::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Backup("its end is missing".to_owned()),
            _ => Self::Backup(error.to_string()),
        }
    }
}

/// Reads all of it, hands each file on, and compares what came with the list at its end.
fn look_through(
    from: impl Read,
    mut take: impl FnMut(&str, &mut dyn Read) -> Result<u64, Refused>,
) -> Result<Manifest, Refused> {
    let mut came = Vec::new();
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry.map_err(|error| {
            Refused::Backup(if came.is_empty() {
                "`gateway backup` has not made it".to_owned()
            } else {
                // The reader says so in words of its own.
                format!("its end is missing ({error})")
            })
        })?;
        let bytes = entry.size();
        let name = entry.path()?.display().to_string();
        if name == NAME {
            let mut json = Vec::new();
            entry.by_ref().take(MAX_BYTES).read_to_end(&mut json)?;
            if json.len() as u64 != bytes {
                return Err(Refused::Backup("its end is missing".to_owned()));
            }
            let manifest = Manifest::read(&json).map_err(Refused::Backup)?;
            return compare(&manifest.files, &came).map(|()| manifest);
        }
        if !entry.header().entry_type().is_file() {
            return Err(Refused::Backup(format!("'{name}' is no plain file")));
        }
        let mut counted = Counted::new(&mut entry);
        take(&name, &mut counted)?;
        let (passed, sha256) = counted.passed();
        if passed != bytes {
            return Err(Refused::Backup("its end is missing".to_owned()));
        }
        came.push(Entry {
            name,
            bytes,
            sha256,
        });
    }
    Err(Refused::Backup(
        "its end is missing, so it was interrupted".to_owned(),
    ))
}

fn compare(listed: &[Entry], came: &[Entry]) -> Result<(), Refused> {
    let wrong = |name: &str| Refused::Backup(format!("{name} is not what was backed up"));
    for (listed, came) in listed.iter().zip(came) {
        if listed != came {
            return Err(wrong(&came.name));
        }
    }
    match listed.len().cmp(&came.len()) {
        std::cmp::Ordering::Equal => Ok(()),
        _ => Err(Refused::Backup("files are missing, or too many".to_owned())),
    }
}

/// Nothing is put where something is.
fn are_empty(parts: &Parts) -> anyhow::Result<()> {
    for folder in &parts.restate {
        // What an interrupted restore has left.
        let _ = fs::remove_dir_all(waiting_room(folder));
        let held = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("{} cannot be read", folder.display()))?,
        };
        for entry in held {
            let name = entry?.file_name();
            if !NOTHING.iter().any(|it| name == *it) {
                bail!(
                    "{} holds something already ({}): a backup is restored where nothing is, so move that away first",
                    folder.display(),
                    name.display()
                );
            }
        }
    }
    let logs = |file: &PathBuf| ["", "-wal", "-shm"].map(|end| with_ending(file, end));
    let databases = parts.databases.iter().flat_map(|(.., file)| logs(file));
    for file in databases {
        is_free(&file)?;
    }
    Ok(())
}

fn is_free(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        bail!(
            "{} is there already: a backup is restored where nothing is, so move that away first",
            file.display()
        );
    }
    Ok(())
}

/// What has come and stands aside. It is gone when not all of it came.
#[derive(Default)]
struct Waiting {
    moves: BTreeMap<PathBuf, PathBuf>,
    files: Vec<PathBuf>,
    /// Folders that were made for it, each behind those that it is in.
    folders: Vec<PathBuf>,
}

impl Waiting {
    fn take(&mut self, parts: &Parts, name: &str, from: &mut dyn Read) -> Result<u64, Refused> {
        let place = parts.place(name).map_err(Refused::Backup)?;
        let Place {
            waits_at,
            moves,
            to,
        } = place;
        is_free(&to).map_err(Refused::Place)?;
        let missing = waits_at.ancestors().skip(1).take_while(|it| !it.exists());
        let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
        missing.reverse();
        self.folders.append(&mut missing);
        let written = write(&waits_at, from);
        self.files.push(waits_at);
        self.moves.insert(moves, to);
        written
    }

    /// Everything is there: it goes where it belongs, Restate's data last.
    fn put_back(mut self) -> anyhow::Result<()> {
        let (restate, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.moves)
            .into_iter()
            .partition(|(from, _)| from.is_dir());
        for (from, to) in others.iter().chain(&restate) {
            let moved = fs::rename(from, to);
            moved.with_context(|| {
                format!(
                    "only a part is restored: {} cannot be put there; empty all places before you try again",
                    to.display()
                )
            })?;
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for file in &self.files {
            // It has been put back, or was never there.
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            // Unless something was put back into it.
            let _ = fs::remove_dir(folder);
        }
    }
}

fn write(file: &Path, from: &mut dyn Read) -> Result<u64, Refused> {
    let cannot = |error: io::Error| {
        let shown = file.display();
        Refused::Place(anyhow!(
            "{shown} cannot be written ({error}): nothing was restored"
        ))
    };
    create_folder(file.parent().unwrap_or(Path::new(""))).map_err(cannot)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut into = options.open(file).map_err(cannot)?;
    let mut buffer = vec![0; 128 << 10];
    let mut written = 0;
    loop {
        // Apart: which of both sides fails makes the sentence.
        let read = from.read(&mut buffer)?;
        if read == 0 {
            into.sync_all().map_err(cannot)?;
            return Ok(written);
        }
        io::Write::write_all(&mut into, &buffer[..read]).map_err(cannot)?;
        written += read as u64;
    }
}
