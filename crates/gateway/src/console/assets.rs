//! The console's files: templates and what is under `/static`. They are part of
//! the binary; `WEB_DIR` names a folder to read instead while working on them.
//!
//! A page refers to a static file by its content's hash, so browsers may keep
//! it for ever and still see a new one at once. How it is compressed is the
//! business of the layer around every answer, which reads `Accept-Encoding`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headers::{ETag, HeaderMapExt as _, IfNoneMatch};
use sha2::{Digest as _, Sha256};
use waybill_domain::words::{MAX_NAME, quoted};

use std::sync::Arc;

use super::views::Console;
use crate::http::problem::Problem;

const TEMPLATES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));
const STATIC: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/static.rs"));

/// Bytes of a hash that stand in a URL, in hexadecimal digits.
const HASH_DIGITS: usize = 12;
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// The static files.
#[derive(Debug)]
pub struct Assets {
    embedded: BTreeMap<&'static str, File>,
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct File {
    bytes: Cow<'static, [u8]>,
    hash: String,
}

impl File {
    fn new(bytes: Cow<'static, [u8]>) -> Self {
        let mut hash = hex::encode(Sha256::digest(&bytes));
        hash.truncate(HASH_DIGITS);
        Self { bytes, hash }
    }
}

impl Assets {
    /// The binary's own files, or those of `folder`.
    pub fn new(folder: Option<&Path>) -> Self {
        let embedded = STATIC
            .iter()
            .map(|(name, bytes)| (*name, File::new(Cow::Borrowed(*bytes))))
            .collect();
        Self {
            embedded,
            folder: folder.map(|folder| folder.join("static")),
        }
    }

    /// Where a browser gets the file of that name.
    pub fn url(&self, name: &str) -> String {
        match self.file(name) {
            Some(file) => format!("/static/{}/{name}", file.hash),
            None => format!("/static/{name}"),
        }
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    fn file(&self, name: &str) -> Option<Cow<'_, File>> {
        match &self.folder {
            None => self.embedded.get(name).map(Cow::Borrowed),
            Some(folder) => {
                let safe = !name
                    .split('/')
                    .any(|part| part.is_empty() || part.starts_with('.'));
                let bytes = safe
                    .then(|| std::fs::read(folder.join(name)).ok())
                    .flatten()?;
                Some(Cow::Owned(File::new(Cow::Owned(bytes))))
            }
        }
    }
}

/// The source of a template: the binary's, or that in `folder`.
pub(super) fn template(folder: Option<&Path>, name: &str) -> Option<String> {
    if let Some(folder) = folder {
        return std::fs::read_to_string(folder.join("templates").join(name)).ok();
    }
    let (_, bytes) = TEMPLATES.iter().find(|(known, _)| *known == name)?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// The names of all templates of the binary.
#[cfg(test)]
pub(super) fn template_names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// `GET /static/{hash}/{name}`, kept for ever, and `GET /static/{name}`.
pub(super) async fn serve(
    State(console): State<Arc<Console>>,
    UrlPath(path): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let assets = console.views.assets();
    let hashed = path.split_once('/').and_then(|(hash, name)| {
        let file = assets.file(name)?;
        (file.hash == hash).then_some((file, name, FOR_EVER))
    });
    let (file, name, caching) = if let Some(found) = hashed {
        found
    } else {
        // A page of an older gateway asks with an older hash: the newest will do.
        let name = match path.split_once('/') {
            Some((hash, name))
                if hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                name
            }
            _ => path.as_str(),
        };
        let file = assets.file(name).ok_or_else(|| {
            let name = quoted(name, MAX_NAME);
            Problem::not_found(format!("there is no file {name}"))
        })?;
        (file, name, ASK_AGAIN)
    };
    // Weak: it is the same however the file is compressed.
    let tag: ETag = format!("W/\"{}\"", file.hash)
        .parse()
        .map_err(Problem::internal)?;
    let has_it = headers
        .typed_get::<IfNoneMatch>()
        .is_some_and(|known| !known.precondition_passes(&tag));
    let mut response = if has_it {
        let vary = [(header::VARY, "accept-encoding")];
        (StatusCode::NOT_MODIFIED, vary).into_response()
    } else {
        body(&file, name)
    };
    let out = response.headers_mut();
    out.typed_insert(tag);
    out.insert(header::CACHE_CONTROL, caching);
    Ok(response)
}

/// `GET /favicon.ico`, which browsers ask for unasked.
pub(super) async fn favicon(
    state: State<Arc<Console>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    serve(state, UrlPath("favicon.svg".to_owned()), headers).await
}

fn body(file: &File, name: &str) -> Response {
    let bytes = match &file.bytes {
        Cow::Borrowed(bytes) => Body::from(*bytes),
        Cow::Owned(bytes) => Body::from(bytes.clone()),
    };
    let kind = [(header::CONTENT_TYPE, media_type(name))];
    (kind, bytes).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_carry_the_contents_hash() {
        let assets = Assets::new(None);
        let url = assets.url("app.css");
        let hash = url
            .strip_prefix("/static/")
            .unwrap()
            .strip_suffix("/app.css")
            .unwrap();
        assert_eq!(hash.len(), HASH_DIGITS);
        assert_eq!(assets.url("missing.css"), "/static/missing.css");
        assert!(!assets.has("../templates/nav.html"));
    }

    #[test]
    fn a_folder_gives_its_files_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("static/vendor")).unwrap();
        std::fs::write(folder.path().join("static/vendor/a.js"), "1").unwrap();
        std::fs::write(folder.path().join("secret"), "2").unwrap();
        let assets = Assets::new(Some(folder.path()));
        assert!(assets.has("vendor/a.js"));
        for name in ["../secret", "/etc/passwd", "vendor/../../secret", ".", ""] {
            assert!(!assets.has(name), "{name}");
        }
    }
}
