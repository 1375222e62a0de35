//! What there is to keep, and where each part of it is.

use std::path::{Component, Path, PathBuf};

use clap::Args;
use process::settings::sqlite_url;

use crate::settings::Settings;
use crate::storage::db;

/// The gateway's SQLite file in a backup.
pub const GATEWAY: &str = "gateway.db";
/// The sandbox's.
pub const SANDBOX: &str = "sandbox.db";
/// The folder of secrets.
pub const SECRETS: &str = "secrets";

/// Where the parts of a backup are, beside the gateway's SQLite file, which
/// `DATABASE_URL` names.
#[derive(Debug, Clone, Args)]
pub struct Places {
    /// Restate's base-dir; of a cluster, that of each node, separated by commas, in the
    /// same order when it is restored.
    #[arg(
        long,
        env = "RESTATE_BASE_DIR",
        value_delimiter = ',',
        default_value = "data/restate"
    )]
    pub restate_data: Vec<PathBuf>,
    /// SQLite file of the sandbox's ledger, where it is the payment provider.
    #[arg(long, env = "SANDBOX_DATABASE_URL", value_parser = sqlite_url)]
    pub sandbox_database: Option<String>,
    /// Files with secrets, or folders of such: keys and tokens of every process.
    #[arg(long, env = "BACKUP_SECRETS", value_delimiter = ',')]
    pub secrets: Vec<PathBuf>,
}

/// All the parts there can be.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Restate's folders.
    pub restate: Vec<PathBuf>,
    /// `SQLite` files, by their names in a backup: URL and path.
    pub databases: Vec<(&'static str, String, PathBuf)>,
    /// Secrets, by their own names.
    pub secrets: Vec<PathBuf>,
}

/// Where a file of a backup goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// It stands here until all others have come, too.
    pub waits_at: PathBuf,
    /// Then this is moved …
    pub moves: PathBuf,
    /// … to here.
    pub to: PathBuf,
}

impl Parts {
    /// Where they are, as it is set.
    ///
    /// # Errors
    /// A sentence, when an address of a database is none.
    pub fn of(settings: &Settings, places: &Places) -> anyhow::Result<Self> {
        let mut databases = vec![(GATEWAY, settings.database_url.clone())];
        let sandbox = places.sandbox_database.clone();
        databases.extend(sandbox.map(|url| (SANDBOX, url)));
        let databases = databases.into_iter().map(|(name, url)| {
            let file = db::file_of(&url)?;
            Ok((name, url, file))
        });
        Ok(Self {
            restate: places.restate_data.clone(),
            databases: databases.collect::<anyhow::Result<_>>()?,
            secrets: places.secrets.clone(),
        })
    }

    /// The name of a node's part in a backup.
    pub fn of_node(number: usize) -> String {
        format!("restate-{}", number + 1)
    }

    /// Where a file of this name in a backup goes.
    ///
    /// # Errors
    /// What is wrong with the name, or missing here, in words for whoever restores.
    pub fn place(&self, name: &str) -> Result<Place, String> {
        let parts: Option<Vec<&str>> = Path::new(name).components().map(plain).collect();
        let parts = parts.ok_or_else(|| format!("it holds a file called '{name}'"))?;
        let aside = |file: PathBuf| {
            let waits_at = with_ending(&file, ".restore");
            Place {
                moves: waits_at.clone(),
                waits_at,
                to: file,
            }
        };
        match parts[..] {
            [SECRETS, of, ref rest @ ..] => {
                let known = self.secrets.iter().find(|path| path.ends_with(of));
                let known = known.ok_or_else(|| {
                    format!("it holds the secret '{of}', so say by --secrets where that goes")
                })?;
                match rest {
                    [] => Ok(aside(known.clone())),
                    [file] => Ok(aside(known.join(file))),
                    _ => Err(format!("it holds a file called '{name}'")),
                }
            }
            [database] => {
                let known = self.databases.iter().find(|(name, ..)| *name == database);
                match known {
                    Some((.., file)) => Ok(aside(file.clone())),
                    None if database == SANDBOX => Err(
                        "it holds the sandbox's ledger, so say by SANDBOX_DATABASE_URL where that goes"
                            .to_owned(),
                    ),
                    None => Err(format!("it holds a file called '{name}'")),
                }
            }
            [part, node, ..] if part.starts_with("restate-") => {
                let mut known = self.restate.iter().enumerate();
                let known = known.find(|(number, _)| Self::of_node(*number) == part);
                let (_, folder) = known.ok_or_else(|| {
                    format!("it holds {part}, so name as many folders in RESTATE_BASE_DIR as there are nodes")
                })?;
                let aside = waiting_room(folder);
                Ok(Place {
                    waits_at: parts[1..].iter().fold(aside.clone(), |at, it| at.join(it)),
                    moves: aside.join(node),
                    to: folder.join(node),
                })
            }
            _ => Err(format!("it holds a file called '{name}'")),
        }
    }
}

/// Where Restate's data waits until all of it is there: in the same folder, which may be
/// a volume of its own.
pub fn waiting_room(folder: &Path) -> PathBuf {
    folder.join(".restore")
}

/// The same file with this behind its name.
pub fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn plain(part: Component<'_>) -> Option<&str> {
    match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    }
}
