//! Templates, each with one typed context, and what every page has at hand.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use waybill_domain::order::OrderRecord;

use super::assets::Assets;
use super::environment;
use super::painted::{Eyes, Pane, Place, Shelf};
use crate::demo::Scenarios;
use crate::http::problem::Problem;
use crate::identity::caller::Role;
use crate::infra::{Infra, Shared};
use crate::live::{Remembered, Subject};
use crate::settings::Settings;
use crate::shop::dashboard::Latest;

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

/// What pages and streams need: the templates, what every feature stands on, and
/// the memories that they show.
pub struct Console {
    /// What every feature stands on.
    pub infra: Shared,
    /// Templates and static files.
    pub views: Views,
    /// The numbers of the dashboard, shared by all who look.
    pub dashboard: Arc<Latest>,
    /// The demo's scenarios.
    pub scenarios: Arc<Scenarios>,
    /// Pages of the product list, painted.
    pub(super) shelves: Remembered<Place, Shelf>,
    /// Panes of notifications, painted.
    pub(super) panes: Remembered<Eyes, Pane>,
    /// The newest order under way, of whoever looks.
    pub(super) open_orders: Remembered<Eyes, Option<Arc<OrderRecord>>>,
    /// Whom a demo's visitor can be: user name and role.
    pub(super) personas: Remembered<(), Arc<[(String, Role)]>>,
    /// Grows with each page while somebody works on the templates.
    edited: AtomicU64,
}

/// Pages of the product list that are remembered: some hundred KB each.
const SHELVES: usize = 64;
/// Panes and orders that are remembered: some dozen KB each.
const REMEMBERED: usize = 256;

impl Console {
    /// With memories of its own that are empty.
    pub fn new(
        infra: Shared,
        views: Views,
        dashboard: Arc<Latest>,
        scenarios: Arc<Scenarios>,
    ) -> Self {
        Self {
            infra,
            views,
            dashboard,
            scenarios,
            shelves: Remembered::of(SHELVES),
            panes: Remembered::of(REMEMBERED),
            open_orders: Remembered::of(REMEMBERED),
            personas: Remembered::of(1),
            edited: AtomicU64::new(0),
        }
    }

    /// What was painted of `subject` is good as long as this stays the same.
    pub(super) fn version(&self, subject: Subject<'_>) -> u64 {
        if self.views.folder.is_some() {
            return self.edited.fetch_add(1, Ordering::Relaxed);
        }
        self.live.version(subject)
    }
}

impl Deref for Console {
    type Target = Infra;

    fn deref(&self) -> &Infra {
        &self.infra
    }
}

/// The templates and the static files.
#[derive(Debug)]
pub struct Views {
    assets: Arc<Assets>,
    environment: Environment<'static>,
    folder: Option<PathBuf>,
    /// Whether passwords are on.
    passwords: bool,
    /// How people call the identity provider, if there is one.
    provider: Option<String>,
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
        let provider = settings.oidc.provider();
        Ok(Self {
            passwords: settings.passwords,
            provider: provider.map(|_| settings.oidc.name().to_owned()),
            ..Self::over(folder)
        })
    }

    /// Whether one may sign in with a password, and at which identity provider.
    pub(super) fn sign_ins(&self) -> (bool, Option<&str>) {
        (self.passwords, self.provider.as_deref())
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
            passwords: true,
            provider: None,
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
    pub(super) fn assets(&self) -> &Assets {
        &self.assets
    }
}

impl From<minijinja::Error> for Problem {
    fn from(error: minijinja::Error) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::console::*;

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
    const PARTS: [&str; 8] = [
        "after_delivery.html",
        "alone.html",
        "paper.html",
        "parts.html",
        "scenarios.html",
        "sessions.html",
        "tokens.html",
        "world.html",
    ];

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
            assert_words_are_isolated(views, &sample);
        }
    }

    /// What somebody writes to turn our words around.
    const HOSTILE: &str = "\u{5D0}hostile\u{202E}";
    /// Fields of contexts whose text is ours, or ASCII by its type. All others
    /// are taken for somebody's words, also those of a page that comes later.
    const OURS: &[&str] = &[
        // What templates ask, and never show.
        "tab",
        "page",
        "state",
        "waiting",
        "family",
        "icon",
        "auto",
        "next",
        "value",
        // Machines read these.
        "key",
        "nonce",
        "stream",
        "path",
        "action",
        "all_href",
        "approve_action",
        "cancel_action",
        "href",
        "goes_to",
        "pay_url",
        "previous",
        "back",
        "input_href",
        "output_href",
        "next_href",
        // Ids are ASCII: crates/domain/src/ids.rs. So are what Restate makes.
        "id",
        "short",
        "order",
        "order_id",
        "user",
        "username",
        "sku",
        "awakeable_id",
        "source",
        // Constants of ours.
        "label",
        "currency",
        "role",
        "desk",
        "does",
        "stock_text",
        "word",
        "title",
        "hint",
        "took",
        "behind",
        "more",
        "next_action",
        "undoes",
        "meaning",
        // Rendered from Markdown, which has a test of its own.
        "html",
        "regions",
    ];
    /// The same, where another context has somebody's words in a field of that name.
    const OURS_IN: &[(&str, &str)] = &[
        ("title.html", "status"),
        ("packing_slip.html", "not_yet"),
        ("order.html", "worth_text"),
        ("order.html", "refundable_text"),
        ("problem.html", "request_id"),
        ("new_password.html", "request_id"),
        ("factor.html", "picture"),
        ("factor.html", "uri"),
        ("journal.html", "status"),
        ("order.html", "/progress/steps/*/name"),
        ("order.html", "/status/name"),
        ("audit.html", "/acts/*/name"),
        ("audit.html", "/asked/what"),
        ("audit.html", "/asked/from"),
        ("audit.html", "/asked/to"),
        ("audit.html", "/entries/*/what"),
        ("audit.html", "address"),
        ("audit.html", "request"),
        ("*", "/statuses/*/name"),
        ("*", "/status/name"),
        ("*", "/tiles/*/value"),
        ("dashboard.html", "/health/*/name"),
        ("order.html", "/commands/*/text"),
    ];

    fn is_ours(template: &str, place: &str, value: &str) -> bool {
        let name = place
            .rsplit('/')
            .find(|part| part.parse::<usize>().is_err());
        let pattern: String = place
            .split('/')
            .map(|part| {
                if part.parse::<usize>().is_ok() {
                    "*"
                } else {
                    part
                }
            })
            .collect::<Vec<_>>()
            .join("/");
        name.is_some_and(|name| OURS.contains(&name))
            || place.starts_with("/regions/")
            || value.parse::<waybill_domain::Timestamp>().is_ok()
            || OURS_IN.iter().any(|(of, field)| {
                (*of == "*" || *of == template)
                    && (pattern.ends_with(field) && field.starts_with('/') || name == Some(*field))
            })
    }

    fn make_hostile(template: &str, value: &mut serde_json::Value, place: &str) -> usize {
        use serde_json::Value;
        match value {
            Value::String(text) if !text.is_empty() && !is_ours(template, place, text) => {
                HOSTILE.clone_into(text);
                1
            }
            Value::Array(items) => items
                .iter_mut()
                .enumerate()
                .map(|(n, item)| make_hostile(template, item, &format!("{place}/{n}")))
                .sum(),
            Value::Object(fields) => fields
                .iter_mut()
                .map(|(name, field)| make_hostile(template, field, &format!("{place}/{name}")))
                .sum(),
            _ => 0,
        }
    }

    /// Somebody's words, wherever a template shows them, keep to themselves: in
    /// an element that isolates them, or between isolates.
    fn assert_words_are_isolated<V: View>(views: &Views, sample: &V) {
        let mut context = serde_json::to_value(sample).unwrap();
        make_hostile(V::TEMPLATE, &mut context, "");
        let html = views
            .environment
            .get_template(V::TEMPLATE)
            .and_then(|template| template.render(Serde(&context)))
            .unwrap_or_else(|error| panic!("{}: {error:#}", V::TEMPLATE));
        let exposed = exposed(&html);
        assert!(
            exposed.is_empty(),
            "{} shows somebody's words beside ours: {exposed:#?}\n\
             put them into <bdi>, or into |isolate where no element can be; \
             words of ours are named in OURS",
            V::TEMPLATE
        );
    }

    /// Attributes that no person reads, or that hold what is typed in again.
    const NOT_READ: [&str; 13] = [
        "id",
        "for",
        "href",
        "class",
        "name",
        "datetime",
        "action",
        "data-at",
        "data-copy",
        "data-go",
        "data-url",
        "aria-describedby",
        "data-field",
    ];

    /// Where [`HOSTILE`] stands open in a document.
    fn exposed(html: &str) -> Vec<String> {
        const VOID: [&str; 6] = ["input", "br", "img", "meta", "link", "wbr"];
        let mut found = Vec::new();
        let mut open: Vec<(String, bool)> = Vec::new();
        let mut rest = html;
        while let Some(start) = rest.find('<') {
            let (text, tag) = rest.split_at(start);
            if text.contains("hostile")
                && !open.iter().any(|(_, isolates)| *isolates)
                && !stands_alone(text)
            {
                let within: Vec<_> = open.iter().map(|(name, _)| name.as_str()).collect();
                found.push(format!("{} > {text:?}", within.join(" > ")));
            }
            let end = end_of_tag(tag);
            let inner = &tag[1..end];
            rest = &tag[end + 1..];
            if let Some(closed) = inner.strip_prefix('/') {
                while let Some((name, _)) = open.pop() {
                    if name == closed.trim() {
                        break;
                    }
                }
                continue;
            }
            let (name, attributes) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
            let own_direction = attributes.contains("dir=\"auto\"");
            for (attribute, value) in attributes_of(attributes) {
                let is_input = attribute == "value"
                    && (own_direction
                        || ["hidden", "radio"]
                            .iter()
                            .any(|kind| attributes.contains(&format!("type=\"{kind}\"")))
                        || name == "button");
                if value.contains("hostile")
                    && !NOT_READ.contains(&attribute)
                    && !is_input
                    && !stands_alone(value)
                {
                    found.push(format!("<{name} {attribute}={value:?}>"));
                }
            }
            if !VOID.contains(&name) && !inner.ends_with('/') && !inner.starts_with('!') {
                open.push((name.to_owned(), name == "bdi" || own_direction));
            }
        }
        found
    }

    /// Whether each hostile word in a text is between isolates.
    fn stands_alone(text: &str) -> bool {
        let outside = text
            .split('\u{2068}')
            .map(|part| part.split_once('\u{2069}').map_or(part, |(_, after)| after));
        !text.contains('\u{202E}') && !outside.collect::<String>().contains("hostile")
    }

    /// Where a tag ends: values may hold a `>`.
    fn end_of_tag(tag: &str) -> usize {
        let mut quoted = false;
        tag.find(|letter| {
            quoted ^= letter == '"';
            letter == '>' && !quoted
        })
        .expect("a tag has an end")
    }

    fn attributes_of(tag: &str) -> Vec<(&str, &str)> {
        let mut parts = tag.split('"');
        let mut found = Vec::new();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let name = name
                .trim_end_matches('=')
                .rsplit(char::is_whitespace)
                .next();
            found.push((name.unwrap_or_default(), value));
        }
        found
    }

    #[test]
    fn the_search_for_open_words_finds_them() {
        for open in [
            "<p>by \u{5D0}hostile\u{202E}</p>",
            "<p><b>x</b>hostile</p>",
            "<p title=\"a > hostile\">x</p>",
            "<bdi>x</bdi>hostile<br>",
            "<input value=\"hostile\">",
            "<p>\u{2068}a\u{2069} hostile</p>",
            "<p title=\"\u{2068}hostile\u{202E}\u{2069}\">",
        ] {
            assert_eq!(exposed(open).len(), 1, "{open}");
        }
        for closed in [
            "<p>by <bdi>hostile</bdi>: no</p>",
            "<p title=\"by \u{2068}hostile\u{2069}\">x</p>",
            "<textarea dir=\"auto\">hostile</textarea>",
            "<input dir=\"auto\" value=\"hostile\"><a href=\"hostile\">x</a>",
        ] {
            assert_eq!(exposed(closed), Vec::<String>::new(), "{closed}");
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
        check::<account::AccountPage>(&views, &mut seen);
        check::<admin::AdminPage>(&views, &mut seen);
        check::<audit::AuditPage>(&views, &mut seen);
        check::<catalog::CatalogPage>(&views, &mut seen);
        check::<catalog::ProductPage>(&views, &mut seen);
        check::<catalog::ZonesPage>(&views, &mut seen);
        check::<catalog::ImportPage>(&views, &mut seen);
        check::<people::PeoplePage>(&views, &mut seen);
        check::<people::PersonPage>(&views, &mut seen);
        check::<responses::NewPasswordPage>(&views, &mut seen);
        check::<factor::CodePage>(&views, &mut seen);
        check::<factor::FactorPage>(&views, &mut seen);
        check::<crate::http::reply::Once>(&views, &mut seen);
        check::<responses::OncePage>(&views, &mut seen);
        check::<responses::LoginPage>(&views, &mut seen);
        check::<responses::ProblemPage>(&views, &mut seen);
        check::<responses::Toast>(&views, &mut seen);
        check::<cart::CartPage>(&views, &mut seen);
        check::<dashboard::DashboardPage>(&views, &mut seen);
        check::<journal::Journal>(&views, &mut seen);
        check::<order::OrderPage>(&views, &mut seen);
        check::<orders::OrderList>(&views, &mut seen);
        check::<orders::OrdersPage>(&views, &mut seen);
        check::<products::ProductList>(&views, &mut seen);
        check::<products::ProductsPage>(&views, &mut seen);
        check::<paper::Invoice>(&views, &mut seen);
        check::<paper::PackingSlip>(&views, &mut seen);
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
