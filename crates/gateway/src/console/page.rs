//! What a page is made for, and what its content gives to the rest of it.

use axum::http::HeaderMap;
use waybill_domain::order::OrderRecord;

use super::location::Location;
use super::shell::{Link, Output};
use super::views::Console;
use crate::http::problem::Problem;
use crate::http::site;
use crate::identity::caller::Caller;

/// Who looks, and how they reach us.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Who is signed in.
    pub caller: Caller,
    /// This gateway as the browser names it, e.g. `http://localhost:8080`.
    pub base: String,
    /// Beginning of the idempotency keys of the forms: new for each page, the
    /// same for as long as a stream lives, so that a stream sends a form again
    /// only when it has changed.
    pub seed: String,
}

impl Viewer {
    /// Of a request.
    pub fn of(console: &Console, caller: Caller, headers: &HeaderMap) -> Self {
        Self {
            caller,
            base: site::of(console.settings.edge.public_url(), headers),
            seed: hex::encode(rand::random::<[u8; 8]>()),
        }
    }
}

/// A page's content, and what the rest of the page takes from it.
pub(super) struct PageContent {
    /// What the page is.
    pub heading: String,
    /// The order's status, for the title.
    pub status: Option<String>,
    /// The page one level up.
    pub parent: Option<Link>,
    /// `#input`
    pub input: String,
    /// `#output`
    pub output: String,
    /// The order whose workflow is shown.
    pub order: Option<OrderRecord>,
}

impl PageContent {
    /// Of a page about no order in particular.
    pub(super) fn new(heading: &str, input: String, output: String) -> Self {
        Self {
            heading: heading.to_owned(),
            status: None,
            parent: None,
            input,
            output,
            order: None,
        }
    }
}

impl Console {
    /// The Output tab of a page: a Markdown document.
    pub(super) fn output(&self, location: &Location, document: String) -> Result<String, Problem> {
        Ok(self.views.render(&Output::of(location.tab, document))?)
    }
}
