//! `services prepare`: what has to be there before the first start, where
//! nobody brings it along, as in `docker compose up`.
//!
//! Restate signs its requests with a private key and the services know the
//! public one, so that nobody but this Restate can invoke them. The private key
//! goes to a folder of Restate's own.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use tempfile::NamedTempFile;

const PRIVATE_KEY: &str = "request-identity.pem";
const PUBLIC_KEY: &str = "request-identity.pub";
const INTERNAL_TOKEN: &str = "internal-token";
const SESSION_KEY: &str = "session-key";
const WEBHOOK_SECRET: &str = "payment-webhook-secret";

/// Where it goes.
#[derive(Debug, Clone, Args)]
pub struct Folders {
    /// Restate's data: only looked at, whether it can be written.
    #[arg(long)]
    pub restate_data: PathBuf,
    /// Gets Restate's private key, `request-identity.pem`.
    #[arg(long)]
    pub restate_keys: PathBuf,
    /// Gets what the other processes may know: `request-identity.pub` and
    /// `internal-token`.
    #[arg(long)]
    pub shared: PathBuf,
    /// Gets what the gateway alone may know: `session-key`, and
    /// `payment-webhook-secret` for a payment provider of one's own, such as the
    /// sandbox.
    #[arg(long)]
    pub gateway_secrets: Option<PathBuf>,
}

/// Makes what is missing, and answers what there is now. An error is the one
/// sentence for the operator.
///
/// # Errors
/// When a folder cannot be written, or holds something else than it should.
pub fn prepare(folders: &Folders) -> anyhow::Result<String> {
    for folder in [
        Some(&folders.restate_data),
        Some(&folders.restate_keys),
        Some(&folders.shared),
        folders.gateway_secrets.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        check_writable(folder)?;
    }
    let key = identity(&folders.restate_keys.join(PRIVATE_KEY))?;
    let public = public_key(&key);
    // Written each time: a folder from elsewhere must not hold another's.
    write(&folders.shared.join(PUBLIC_KEY), &public)?;
    let secrets = folders.gateway_secrets.iter().flat_map(|folder| {
        let secrets = [SESSION_KEY, WEBHOOK_SECRET];
        secrets.map(|secret| folder.join(secret))
    });
    for secret in std::iter::once(folders.shared.join(INTERNAL_TOKEN)).chain(secrets) {
        kept_or(&secret, &bs58::encode(random()).into_string())?;
    }
    Ok(format!("Restate signs its requests as {public}"))
}

fn check_writable(folder: &Path) -> anyhow::Result<()> {
    let probe = tempfile::tempfile_in(folder);
    probe.map(drop).map_err(|error| {
        anyhow!(
            "the folder {} cannot be written ({error}): it is a volume that this user must own, so remove it, or give it to the user and group that this container runs as",
            folder.display()
        )
    })
}

/// The private key in `file`, made now if there is none.
fn identity(file: &Path) -> anyhow::Result<SigningKey> {
    let new = SigningKey::from_bytes(&random());
    let pem = kept_or(file, &pem(&new)?)?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|error| {
        anyhow!(
            "{} is no private Ed25519 key in PEM ({error}): remove it to get a new one",
            file.display()
        )
    })
}

/// As `openssl genpkey -algorithm ed25519` writes it: without the public half,
/// about whose place in the file implementations disagree.
fn pem(key: &SigningKey) -> anyhow::Result<String> {
    let keypair = KeypairBytes {
        secret_key: key.to_bytes(),
        public_key: None,
    };
    let pem = keypair.to_pkcs8_pem(LineEnding::LF);
    Ok(pem.context("the key cannot be written as PEM")?.to_string())
}

/// In the form that Restate logs and its SDKs take.
fn public_key(key: &SigningKey) -> String {
    let bytes = key.verifying_key().to_bytes();
    format!("publickeyv1_{}", bs58::encode(bytes).into_string())
}

#[expect(
    clippy::disallowed_methods,
    reason = "before the start, not a handler: nothing here is replayed"
)]
fn random() -> [u8; 32] {
    rand::random()
}

/// What is in `file`; `new` if there is none, which is then kept in it. Of some who do this at
/// once, all get the same.
fn kept_or(file: &Path, new: &str) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Ok(kept) => return Ok(kept),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow!("{} cannot be read ({error})", file.display())),
    }
    let kept = unfinished(file, new).and_then(|it| match it.persist_noclobber(file) {
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(file),
        kept => kept.map_err(|lost| lost.error).map(|_| new.to_owned()),
    });
    kept.map_err(|error| cannot_write(file, &error))
}

/// Whole or not at all, and for its owner's eyes only.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let written = unfinished(file, text).and_then(|it| Ok(it.persist(file)?));
    written
        .map(drop)
        .map_err(|error| cannot_write(file, &error))
}

/// Beside `file`, under a name that nobody else has: the nodes of a cluster are prepared at
/// once, and share folders.
fn unfinished(file: &Path, text: &str) -> io::Result<NamedTempFile> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut unfinished = NamedTempFile::new_in(folder)?;
    unfinished.write_all(text.as_bytes())?;
    unfinished.as_file().sync_all()?;
    Ok(unfinished)
}

fn cannot_write(file: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("{} cannot be written ({error})", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(root: &Path) -> Folders {
        let folder = |name| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            folder
        };
        Folders {
            restate_data: folder("data"),
            restate_keys: folder("keys"),
            shared: folder("shared"),
            gateway_secrets: Some(folder("gateway")),
        }
    }

    #[test]
    fn nodes_that_are_prepared_at_once_agree() {
        for _ in 0..20 {
            let root = tempfile::tempdir().unwrap();
            let folders = folders(root.path());
            let said: Vec<_> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| prepare(&folders))).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let public = fs::read_to_string(folders.shared.join(PUBLIC_KEY)).unwrap();
            for said in said {
                let said = said.unwrap();
                assert!(said.ends_with(&public), "{said}: {public}");
            }
            // Nothing unfinished is left.
            assert_eq!(fs::read_dir(&folders.shared).unwrap().count(), 2);
        }
    }

    #[test]
    fn what_is_made_once_stays() {
        let root = tempfile::tempdir().unwrap();
        let folders = folders(root.path());
        let gateway = root.path().join("gateway");
        let read = || {
            [
                folders.restate_keys.join(PRIVATE_KEY),
                folders.shared.join(PUBLIC_KEY),
                folders.shared.join(INTERNAL_TOKEN),
                gateway.join(SESSION_KEY),
                gateway.join(WEBHOOK_SECRET),
            ]
            .map(|file| fs::read_to_string(file).unwrap())
        };
        let said = prepare(&folders).unwrap();
        let first = read();
        assert!(said.ends_with(&first[1]), "{said}");
        assert!(first[0].starts_with("-----BEGIN PRIVATE KEY-----\n"));
        for secret in &first[2..] {
            process::secrets::check("it", Some(secret), 32).unwrap();
        }
        assert_ne!(first[3], first[4]);
        assert_eq!(prepare(&folders).unwrap(), said);
        assert_eq!(read(), first);
        // The SDK takes it.
        restate_sdk::prelude::Endpoint::builder()
            .identity_key(&first[1])
            .unwrap();

        fs::remove_file(folders.restate_keys.join(PRIVATE_KEY)).unwrap();
        prepare(&folders).unwrap();
        assert_ne!(
            read()[1],
            first[1],
            "another private key has another public one"
        );
    }

    #[test]
    fn the_key_is_the_one_that_openssl_knows() {
        // Its public half from `openssl pkey -pubout`, for the private bytes 0, 1, 2, … 31.
        let key =
            SigningKey::from_bytes(&std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(
            pem(&key).unwrap(),
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n"
        );
        assert_eq!(
            public_key(&key),
            "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF"
        );
    }

    #[test]
    fn what_cannot_be_done_is_one_sentence() {
        let root = tempfile::tempdir().unwrap();
        let mut folders = folders(root.path());
        fs::write(folders.restate_keys.join(PRIVATE_KEY), "nonsense").unwrap();
        let error = prepare(&folders).unwrap_err().to_string();
        assert!(error.contains("is no private Ed25519 key"), "{error}");
        folders.restate_data = root.path().join("missing");
        let error = prepare(&folders).unwrap_err().to_string();
        assert!(error.contains("missing cannot be written"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
