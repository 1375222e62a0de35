//! Pages, fragments, streams, Markdown.
//!
//! | module | holds |
//! | --- | --- |
//! | [`page`] | loads what a page shows and paints its regions |
//! | [`streams`] | the same regions, kept right |
//! | [`shell`] | what stands around the middle of every page |
//! | [`dashboard`], [`products`], [`cart`], [`orders`], [`order`], [`admin`], [`journal`] | the middles |
//! | [`answers`] | toasts, error pages, the login page |
//! | [`markdown`] | the documents of the Output tab |
//! | [`progress`], [`tone`], [`lists`] | what several of them tell the same way |
//! | [`assets`], [`environment`] | files and templates |
//!
//! Every template has one typed context ([`View`]) with samples, which a test
//! renders in strict mode. Templates never compute money.

pub mod admin;
pub mod answers;
pub mod assets;
pub mod cart;
pub mod dashboard;
mod environment;
pub mod journal;
pub mod lists;
mod load;
pub mod markdown;
pub mod order;
pub mod orders;
pub mod page;
pub mod products;
pub mod progress;
#[cfg(test)]
pub(crate) mod samples;
pub mod shell;
pub mod streams;
pub mod tone;
pub mod world;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use axum::Router;
use axum::routing::get;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use self::assets::Assets;
use crate::app::Shared;
use crate::problem::Problem;
use crate::settings::Settings;

/// What a template shows.
pub trait View: Serialize {
    /// The template's file name.
    const TEMPLATE: &'static str;
}

/// Views that together make their template take every turn.
#[cfg(test)]
pub trait Sample: View + Sized {
    /// The samples.
    fn samples() -> Vec<Self>;
}

/// The templates and the static files.
#[derive(Debug)]
pub struct Views {
    assets: Arc<Assets>,
    environment: Environment<'static>,
    folder: Option<PathBuf>,
}

impl Views {
    /// The binary's own, or those in `WEB_DIR`.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let folder = settings.web_dir.clone();
        if let Some(folder) = &folder {
            ensure!(
                folder.join("templates").is_dir() && folder.join("static").is_dir(),
                "WEB_DIR is '{}': it must be a folder with `templates` and `static`",
                folder.display()
            );
        }
        Ok(Self::over(folder))
    }

    fn over(folder: Option<PathBuf>) -> Self {
        let assets = Arc::new(Assets::new(folder.as_deref()));
        if !assets.has("vendor/datastar.js") {
            tracing::warn!(
                "the Datastar client is not in this build: pages work, but show changes only when they are loaded again; `just setup` fetches it"
            );
        }
        Self {
            environment: environment::environment(&assets, folder.clone()),
            assets,
            folder,
        }
    }

    /// The template of `view`, filled in. Ends of lines are `\n` alone: a lone
    /// `\r` in somebody's words would end a line of a server-sent event, and
    /// what follows would be read as Datastar's own instructions.
    pub fn render<V: View>(&self, view: &V) -> Result<String, minijinja::Error> {
        let html = self.fill_in(view)?;
        Ok(if html.contains('\r') {
            html.replace("\r\n", "\n").replace('\r', "\n")
        } else {
            html
        })
    }

    fn fill_in<V: View>(&self, view: &V) -> Result<String, minijinja::Error> {
        // While somebody works on the templates, each page reads them anew.
        if self.folder.is_some() {
            return environment::environment(&self.assets, self.folder.clone())
                .get_template(V::TEMPLATE)?
                .render(Serde(view));
        }
        self.environment
            .get_template(V::TEMPLATE)?
            .render(Serde(view))
    }

    /// The static files.
    pub(crate) fn assets(&self) -> &Assets {
        &self.assets
    }
}

impl From<minijinja::Error> for Problem {
    fn from(error: minijinja::Error) -> Self {
        Self::internal(error)
    }
}

/// Every page, stream and static file.
pub fn router() -> Router<Shared> {
    page::router()
        .merge(streams::router())
        .route("/static/{*path}", get(assets::serve))
        .route("/favicon.ico", get(assets::favicon))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A line of a server-sent event ends at a lone `\r`, too: Datastar would
    /// take what follows for its own.
    #[test]
    fn nobodys_words_end_a_line_of_an_event() {
        let views = Views::over(None);
        let html = views
            .render(&shell::Announce {
                text: "no\rmode remove\r\nselector body".to_owned(),
            })
            .unwrap();
        assert!(html.contains("no\nmode remove\nselector body"), "{html}");
        assert!(!html.contains('\r'));
    }

    /// Templates that are only parts of others.
    const PARTS: [&str; 4] = ["alone.html", "parts.html", "scenarios.html", "world.html"];

    fn check<V: Sample>(views: &Views, seen: &mut BTreeSet<&'static str>) {
        seen.insert(V::TEMPLATE);
        let samples = V::samples();
        assert!(!samples.is_empty(), "{} has no sample", V::TEMPLATE);
        for sample in samples {
            let html = views
                .render(&sample)
                .unwrap_or_else(|error| panic!("{}: {error:#}", V::TEMPLATE));
            assert!(!html.contains("&lt;wbr"), "{} shows markup", V::TEMPLATE);
            assert!(
                !html.contains("<b>bold</b>"),
                "{} lets markup through",
                V::TEMPLATE
            );
            for forbidden in [" style=\"", " onclick=", " onsubmit=", "javascript:"] {
                assert!(
                    !html.contains(forbidden),
                    "{} has '{forbidden}', which the CSP forbids",
                    V::TEMPLATE
                );
            }
            assert_ids_are_unique(V::TEMPLATE, &html);
        }
    }

    fn assert_ids_are_unique(template: &str, html: &str) {
        let mut ids = BTreeSet::new();
        for id in html.split(" id=\"").skip(1) {
            let id = id.split('"').next().unwrap();
            assert!(
                ids.insert(id),
                "{template} has two elements with the id {id}"
            );
        }
    }

    #[test]
    fn every_template_renders_its_samples_in_strict_mode() {
        let views = Views::over(None);
        let mut seen = BTreeSet::new();
        check::<admin::AdminPage>(&views, &mut seen);
        check::<answers::LoginPage>(&views, &mut seen);
        check::<answers::ProblemPage>(&views, &mut seen);
        check::<answers::Toast>(&views, &mut seen);
        check::<cart::CartPage>(&views, &mut seen);
        check::<dashboard::DashboardPage>(&views, &mut seen);
        check::<journal::Journal>(&views, &mut seen);
        check::<order::OrderPage>(&views, &mut seen);
        check::<orders::OrderList>(&views, &mut seen);
        check::<orders::OrdersPage>(&views, &mut seen);
        check::<products::ProductList>(&views, &mut seen);
        check::<products::ProductsPage>(&views, &mut seen);
        check::<shell::Announce>(&views, &mut seen);
        check::<shell::Bell>(&views, &mut seen);
        check::<shell::Layout<'_>>(&views, &mut seen);
        check::<shell::Nav>(&views, &mut seen);
        check::<shell::Notifications>(&views, &mut seen);
        check::<shell::Output>(&views, &mut seen);
        check::<shell::Title>(&views, &mut seen);
        check::<shell::Workflow>(&views, &mut seen);
        let all: BTreeSet<_> = assets::template_names()
            .filter(|name| !PARTS.contains(name))
            .collect();
        assert_eq!(seen, all, "a template has no view, or a view no sample");
    }
}
