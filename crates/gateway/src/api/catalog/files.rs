//! `/api/catalog/import` and `export`: the catalog as a CSV file, for admins.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use waybill_domain::catalog::ImportDone;
use waybill_domain::idempotency::Digest;

use crate::clock;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::origin::RequestOrigin;
use crate::http::problem::Problem;
use crate::http::reply::{Once, Reply};
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::catalog;
use crate::shop::catalog_file::{self, FilePlan, Mistake};
use crate::storage::catalog as storage;

/// Mistakes of a file that are said in a sentence; programs are told more of them.
const SAID_MISTAKES: usize = 5;

pub(in crate::api) struct File {
    csv: String,
    is_dry_run: bool,
}

impl FromFields for File {
    // A form writes a byte in up to three.
    const MAX_BODY: usize = 3 * catalog_file::MAX_FILE;

    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            csv: fields.required_file("csv", catalog_file::MAX_FILE)?,
            is_dry_run: fields.flag("dry_run")?.unwrap_or_default(),
        })
    }
}

/// An import that has begun.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportStarted)]
struct Started {
    /// Its id, for `GET /api/catalog/import/{id}`.
    import: String,
    #[serde(flatten)]
    plan: FilePlan,
}

/// Makes and changes many products by a CSV file; with `dry_run` only says what would change
///
/// Columns: sku, name, price, and if you like description, category, stock (of new
/// products) and archived (yes or no), separated by commas or semicolons, in UTF-8. Any
/// mistake, and nothing is done: the 400 names each by line and column. A file that is
/// accepted is written to its end, whatever dies meanwhile; until then some rows are
/// older than others. The same file again changes nothing more.
#[utoipa::path(
    post,
    path = "/api/catalog/import",
    request_body(content = inline(body::File)),
    responses(
        (status = 200, description = "What would change", body = FilePlan),
        (status = 202, description = "It has begun", body = Started),
        (status = 400, description = "The file has mistakes: `mistakes` names them"),
        (status = 413, description = "The file is too large"),
    ),
)]
pub(in crate::api) async fn import(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    Input(File { csv, is_dry_run }): Input<File>,
) -> Result<Reply, Problem> {
    let plan = planned(&infra, &csv, caller.user.as_str()).await?;
    if is_dry_run {
        let shown = Once {
            label: "What this file would change".to_owned(),
            secret: in_lines(&plan),
            hint: "Nothing is changed yet: press Import to do it".to_owned(),
        };
        let reply = Reply::new(StatusCode::OK, &plan)?;
        return Ok(reply.saying("Nothing is changed yet").showing(shown));
    }
    let by = origin.by(&caller.user);
    let import = catalog::import(&infra.ingress, by, &plan.rows).await?;
    let page = format!("/import?id={}", import.as_str());
    let started = Started {
        import: import.as_str().to_owned(),
        plan,
    };
    let reply = Reply::new(StatusCode::ACCEPTED, &started)?;
    Ok(reply.saying("The import has begun").going_to(page))
}

/// A plan, for a person.
fn in_lines(plan: &FilePlan) -> String {
    let ImportDone {
        added,
        changed,
        unchanged,
    } = plan.done;
    let mut lines = vec![format!(
        "{added} new, {changed} changed, {unchanged} as they are"
    )];
    let changes = plan.changes.iter();
    lines.extend(changes.map(|it| format!("line {}: {}: {}", it.line, it.sku, it.detail)));
    if plan.total > plan.changes.len() {
        lines.push(format!("and {} more", plan.total - plan.changes.len()));
    }
    lines.join("\n")
}

/// What a file would change, or why it cannot be imported.
async fn planned(infra: &Infra, csv: &str, by: &str) -> Result<FilePlan, Problem> {
    let known = storage::every_product(&infra.db).await?;
    let plan = catalog_file::plan(csv.as_bytes(), &known, by, clock::now());
    plan.map_err(|mistakes| {
        let said = mistakes.named.iter().take(SAID_MISTAKES);
        let said: Vec<_> = said.map(Mistake::to_string).collect();
        let more = match mistakes.total.saturating_sub(said.len()) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let detail = format!("{}{more}. Nothing was imported", said.join("; "));
        Problem::invalid("csv", detail)
            .with("mistakes", json!(mistakes.named))
            .with("total_mistakes", mistakes.total)
    })
}

/// How far an import is
#[derive(Serialize, ToSchema)]
#[schema(as = ImportProgress)]
pub(in crate::api) struct Progress {
    /// Whether all of it is written.
    is_over: bool,
    /// Parts of the file that are written.
    written: u32,
    /// Parts that it has.
    parts: u32,
    /// What has become of their rows.
    done: ImportDone,
}

/// How far an import is; the last 20 are remembered
#[utoipa::path(
    get,
    path = "/api/catalog/import/{id}",
    responses(
        (status = 200, description = "Progress", body = Progress),
        (status = 404, description = "No such import"),
    ),
)]
pub(in crate::api) async fn progress(
    State(infra): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Progress>, Problem> {
    let unknown = || Problem::not_found("there is no such import: the last 20 are remembered");
    let import = Digest::parse(&id).map_err(|_| unknown())?;
    let found = catalog::import_progress(&infra.ingress, import).await?;
    let found = found.ok_or_else(unknown)?;
    Ok(Json(Progress {
        is_over: found.is_over(),
        written: found.written,
        parts: found.chunks,
        done: found.done,
    }))
}

/// Every product as a CSV file that can be imported again
#[utoipa::path(
    get,
    path = "/api/catalog/export",
    responses(
        (status = 200, description = "CSV, in UTF-8 with a byte order mark", body = String, content_type = "text/csv"),
    ),
)]
pub(in crate::api) async fn export(State(infra): State<Shared>) -> Result<Response, Problem> {
    let products = storage::every_product_with_stock(&infra.db).await?;
    let file = catalog_file::write(&products).map_err(Problem::internal)?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"catalog.csv\"",
        ),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((headers, file).into_response())
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_import: File);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct File {
        /// The file's text.
        #[schema(min_length = 1, pattern = "")]
        csv: String,
        /// Whether it is only said what would change.
        dry_run: Option<bool>,
    }
}
