//! `/api/catalog`: what is sold and where it is shipped, for admins.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use waybill_domain::catalog::{
    ImportDone, MAX_CATEGORY, MAX_INITIAL_STOCK, MAX_PRICE, MAX_ZONE, ProductChange, ProductFields,
    ZoneChange,
};
use waybill_domain::idempotency::Digest;
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::words::{MAX_DESCRIPTION, MAX_NAME, MAX_TITLE, quoted};

use crate::clock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::origin::RequestOrigin;
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::{Once, Reply};
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::catalog_file::{self, FilePlan, Mistake};
use crate::shop::products::{self, ProductView, ZoneView};
use crate::storage::catalog::{self as storage, Filter};

/// Products on a page of the API.
const PER_PAGE: u32 = 50;
/// Longest search.
const MAX_QUERY: usize = 100;
/// Mistakes of a file that are said in a sentence; programs are told more of them.
const SAID_MISTAKES: usize = 5;

/// Which products an admin looks for.
#[derive(Debug)]
pub(super) struct Query {
    filter: Filter,
    page: Pagination,
}

impl FromFields for Query {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            filter: Filter {
                q: fields.text("q", MAX_QUERY)?,
                category: fields.text("category", MAX_QUERY)?,
                archived: fields.flag("archived")?.unwrap_or_default(),
            },
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

/// One page of what is sold, or is no more.
#[derive(Serialize, ToSchema)]
#[schema(as = CatalogProducts)]
pub(super) struct Listed {
    products: Vec<ProductView>,
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

/// Products as admins see them: with who has changed them, and what they have cost
#[utoipa::path(
    get,
    path = "/api/catalog/products",
    params(
        ("q" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Words in name, description or SKU."),
        ("category" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Only this category."),
        ("archived" = Option<bool>, Query, description = "Those that are no longer sold, and not the others."),
        PageParams,
    ),
    responses(
        (status = 200, description = "Products", body = Listed),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    InQuery(Query { filter, page }): InQuery<Query>,
) -> Result<Json<Listed>, Problem> {
    let (products, total) = products::list(&infra, &filter, page).await?;
    let products = products.into_iter().map(|(product, _)| product.into());
    Ok(Json(Listed {
        products: products.collect(),
        total,
        page,
    }))
}

/// One product as admins see it, sold or not
#[utoipa::path(
    get,
    path = "/api/catalog/products/{sku}",
    responses(
        (status = 200, description = "ProductView", body = ProductView),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn one(
    State(infra): State<Shared>,
    Path(sku): Path<String>,
) -> Result<Json<ProductView>, Problem> {
    let product = products::one(&infra, &named(&sku)?).await?;
    Ok(Json(product.into()))
}

/// The SKU of a path: what is none is no product's.
fn named(sku: &str) -> Result<Sku, Problem> {
    Sku::parse(sku).map_err(|_| {
        let sku = quoted(sku, MAX_NAME);
        Problem::not_found(format!("there is no product {sku}: check the SKU"))
    })
}

fn fields_of(fields: &Fields) -> Result<ProductFields, Problem> {
    let description = fields.text("description", MAX_DESCRIPTION)?;
    let category = fields.text("category", MAX_CATEGORY)?;
    Ok(ProductFields {
        name: fields.required_text("name", MAX_TITLE)?,
        description: description.unwrap_or_default(),
        category: category.unwrap_or_default(),
        price_cents: fields.required_money("price", 0..=MAX_PRICE.0)?,
    }
    .checked()?)
}

fn version(fields: &Fields) -> Result<u64, Problem> {
    let version = fields.required_integer("version", 0..=i64::MAX)?;
    u64::try_from(version).map_err(Problem::internal)
}

pub(super) struct NewProduct {
    sku: Sku,
    fields: ProductFields,
    stock: u32,
    key: Option<IdempotencyKey>,
}

impl FromFields for NewProduct {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let sku = fields.required_word("sku", 64)?;
        let stock = fields.integer("stock", 0..=i64::from(MAX_INITIAL_STOCK))?;
        Ok(Self {
            sku: Sku::parse(&sku)?,
            fields: fields_of(fields)?,
            stock: u32::try_from(stock.unwrap_or_default()).map_err(Problem::internal)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Makes a product; it can be sold at once
#[utoipa::path(
    post,
    path = "/api/catalog/products",
    request_body(content = inline(body::NewProduct)),
    responses(
        (status = 201, description = "ProductView", body = ProductView),
        (status = 409, description = "The SKU is taken"),
    ),
)]
pub(super) async fn create(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Input(new): Input<NewProduct>,
) -> Result<Reply, Problem> {
    let NewProduct {
        sku,
        fields,
        stock,
        key: in_form,
    } = new;
    let by = origin.by(&caller.user);
    let change = ProductChange::Create { fields, stock };
    let made = products::change(&infra, &caller.user, by, sku, change, &key.or(in_form))
        .await
        .map_err(|problem| match problem.kind() {
            "sku_taken" => problem.with_field("sku"),
            _ => problem,
        })?;
    let said = format!(
        "{} is in the catalog",
        quoted(&made.value.fields.name, MAX_NAME)
    );
    let view = ProductView::from(made.value);
    let page = format!("/catalog/{}", view.sku);
    let reply = Reply::new(StatusCode::CREATED, &view)?;
    Ok(reply.saying_once(&said, made.again).going_to(page))
}

pub(super) struct EditProduct {
    version: u64,
    fields: ProductFields,
    key: Option<IdempotencyKey>,
}

impl FromFields for EditProduct {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            version: version(fields)?,
            fields: fields_of(fields)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Says something else of a product
///
/// All of it: what is left out is blank. `version` is the one that was looked at: when
/// somebody else has changed the product since, nothing is done, and the 409 says what
/// stands. Carts and orders keep what was agreed.
#[utoipa::path(
    post,
    path = "/api/catalog/products/{sku}",
    request_body(content = inline(body::EditProduct)),
    responses(
        (status = 200, description = "ProductView", body = ProductView),
        (status = 404, description = "No such product"),
        (status = 409, description = "Changed meanwhile: look again"),
    ),
)]
pub(super) async fn edit(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(sku): Path<String>,
    Input(edit): Input<EditProduct>,
) -> Result<Reply, Problem> {
    let EditProduct {
        version,
        fields,
        key: in_form,
    } = edit;
    let change = ProductChange::Edit { version, fields };
    let of = (&caller, RequestOrigin(origin), key.or(in_form));
    product_changed(&infra, of, &sku, change, "saved").await
}

pub(super) struct Nothing {
    key: Option<IdempotencyKey>,
}

impl FromFields for Nothing {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Sells a product no longer; orders that have it go on
#[utoipa::path(
    post,
    path = "/api/catalog/products/{sku}/archive",
    responses(
        (status = 200, description = "ProductView", body = ProductView),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn archive(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(sku): Path<String>,
    Input(Nothing { key: in_form }): Input<Nothing>,
) -> Result<Reply, Problem> {
    let of = (&caller, RequestOrigin(origin), key.or(in_form));
    product_changed(&infra, of, &sku, ProductChange::Archive, "no longer sold").await
}

/// Sells a product again
#[utoipa::path(
    post,
    path = "/api/catalog/products/{sku}/restore",
    responses(
        (status = 200, description = "ProductView", body = ProductView),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn restore(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(sku): Path<String>,
    Input(Nothing { key: in_form }): Input<Nothing>,
) -> Result<Reply, Problem> {
    let of = (&caller, RequestOrigin(origin), key.or(in_form));
    product_changed(&infra, of, &sku, ProductChange::Restore, "sold again").await
}

/// Who asks, from where, and as which write.
type Of<'a> = (&'a Caller, RequestOrigin, IdempotencyKey);

async fn product_changed(
    infra: &Infra,
    (caller, RequestOrigin(origin), key): Of<'_>,
    sku: &str,
    change: ProductChange,
    what: &str,
) -> Result<Reply, Problem> {
    let (sku, by) = (named(sku)?, origin.by(&caller.user));
    let changed = products::change(infra, &caller.user, by, sku, change, &key).await?;
    let name = quoted(&changed.value.fields.name, MAX_NAME);
    let reply = Reply::new(StatusCode::OK, &ProductView::from(changed.value))?;
    Ok(reply.saying_once(&format!("{name} is {what}"), changed.again))
}

#[derive(Serialize, ToSchema)]
#[schema(as = CatalogZones)]
pub(super) struct Zones {
    zones: Vec<ZoneView>,
}

/// Zones as admins see them, served or not
#[utoipa::path(
    get,
    path = "/api/catalog/zones",
    responses(
        (status = 200, description = "Zones", body = Zones),
    ),
)]
pub(super) async fn zones(State(infra): State<Shared>) -> Result<Json<Zones>, Problem> {
    let zones = storage::every_zone(&infra.db).await?;
    let zones = zones.into_iter().map(ZoneView::from).collect();
    Ok(Json(Zones { zones }))
}

pub(super) struct NewZone {
    zone: String,
    cost: Cents,
    key: Option<IdempotencyKey>,
}

impl FromFields for NewZone {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            zone: fields.required_text("zone", MAX_ZONE)?,
            cost: fields.required_money("cost", 0..=MAX_PRICE.0)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Makes a zone where orders can be shipped
#[utoipa::path(
    post,
    path = "/api/catalog/zones",
    request_body(content = inline(body::NewZone)),
    responses(
        (status = 201, description = "ZoneView", body = ZoneView),
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn create_zone(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Input(new): Input<NewZone>,
) -> Result<Reply, Problem> {
    let NewZone {
        zone,
        cost,
        key: in_form,
    } = new;
    let (by, key) = (origin.by(&caller.user), key.or(in_form));
    let change = ZoneChange::Create { cost_cents: cost };
    let made = products::change_zone(&infra, &caller.user, by, &zone, change, &key)
        .await
        .map_err(|problem| match problem.kind() {
            "zone_taken" => problem.with_field("zone"),
            _ => problem,
        })?;
    let said = format!(
        "Orders can be shipped to {}",
        quoted(&made.value.name, MAX_NAME)
    );
    let reply = Reply::new(StatusCode::CREATED, &ZoneView::from(made.value))?;
    Ok(reply.saying_once(&said, made.again))
}

pub(super) struct EditZone {
    version: u64,
    cost: Cents,
    key: Option<IdempotencyKey>,
}

impl FromFields for EditZone {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            version: version(fields)?,
            cost: fields.required_money("cost", 0..=MAX_PRICE.0)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Sets what shipping to a zone costs
#[utoipa::path(
    post,
    path = "/api/catalog/zones/{zone}",
    request_body(content = inline(body::EditZone)),
    responses(
        (status = 200, description = "ZoneView", body = ZoneView),
        (status = 404, description = "No such zone"),
        (status = 409, description = "Changed meanwhile: look again"),
    ),
)]
pub(super) async fn edit_zone(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(zone): Path<String>,
    Input(edit): Input<EditZone>,
) -> Result<Reply, Problem> {
    let change = ZoneChange::Edit {
        version: edit.version,
        cost_cents: edit.cost,
    };
    let of = (&caller, RequestOrigin(origin), key.or(edit.key));
    zone_changed(&infra, of, &zone, change, "saved").await
}

/// Ships nothing to a zone any more; orders that go there go on
#[utoipa::path(
    post,
    path = "/api/catalog/zones/{zone}/archive",
    responses(
        (status = 200, description = "ZoneView", body = ZoneView),
        (status = 404, description = "No such zone"),
    ),
)]
pub(super) async fn archive_zone(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(zone): Path<String>,
    Input(Nothing { key: in_form }): Input<Nothing>,
) -> Result<Reply, Problem> {
    let of = (&caller, RequestOrigin(origin), key.or(in_form));
    zone_changed(&infra, of, &zone, ZoneChange::Archive, "closed").await
}

/// Ships to a zone again
#[utoipa::path(
    post,
    path = "/api/catalog/zones/{zone}/restore",
    responses(
        (status = 200, description = "ZoneView", body = ZoneView),
        (status = 404, description = "No such zone"),
    ),
)]
pub(super) async fn restore_zone(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(zone): Path<String>,
    Input(Nothing { key: in_form }): Input<Nothing>,
) -> Result<Reply, Problem> {
    let of = (&caller, RequestOrigin(origin), key.or(in_form));
    zone_changed(&infra, of, &zone, ZoneChange::Restore, "open again").await
}

async fn zone_changed(
    infra: &Infra,
    (caller, RequestOrigin(origin), key): Of<'_>,
    zone: &str,
    change: ZoneChange,
    what: &str,
) -> Result<Reply, Problem> {
    let by = origin.by(&caller.user);
    // What is no name of a zone is none.
    let is_name = zone.chars().count() <= MAX_ZONE;
    let unknown = || waybill_domain::refusal::Refusal::UnknownZone {
        zone: zone.to_owned(),
    };
    if !is_name {
        return Err(unknown().into());
    }
    let changed = products::change_zone(infra, &caller.user, by, zone, change, &key).await?;
    let name = quoted(&changed.value.name, MAX_NAME);
    let reply = Reply::new(StatusCode::OK, &ZoneView::from(changed.value))?;
    Ok(reply.saying_once(&format!("{name} is {what}"), changed.again))
}

pub(super) struct File {
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
pub(super) async fn import(
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
    let import = products::import(&infra.ingress, by, &plan.rows).await?;
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
pub(crate) async fn planned(infra: &Infra, csv: &str, by: &str) -> Result<FilePlan, Problem> {
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
pub(super) struct Progress {
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
pub(super) async fn progress(
    State(infra): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Progress>, Problem> {
    let unknown = || Problem::not_found("there is no such import: the last 20 are remembered");
    let import = Digest::parse(&id).map_err(|_| unknown())?;
    let found = products::import_progress(&infra.ingress, import).await?;
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
pub(super) async fn export(State(infra): State<Shared>) -> Result<Response, Problem> {
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
crate::http::fuzz::fields!(
    fuzz_catalog_query: Query, fuzz_new_product: NewProduct, fuzz_edit_product: EditProduct,
    fuzz_archive: Nothing, fuzz_new_zone: NewZone, fuzz_edit_zone: EditZone, fuzz_import: File
);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct NewProduct {
        /// Stock keeping unit: letters, digits, '-' and '_'; for ever the product's own.
        #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
        sku: String,
        /// What it is called.
        #[schema(min_length = 1, max_length = 200)]
        name: String,
        /// What it is.
        #[schema(max_length = 2000)]
        description: Option<String>,
        /// Where it is found.
        #[schema(max_length = 60)]
        category: Option<String>,
        /// Price of one piece, such as 24.90.
        #[schema(pattern = "^[0-9]{1,6}([.,][0-9]{1,2})?$")]
        price: Option<String>,
        /// The same in cents.
        #[schema(minimum = 0, maximum = 100_000_000)]
        price_cents: Option<i64>,
        /// Pieces that it begins with.
        #[schema(minimum = 0, maximum = 1_000_000)]
        stock: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct EditProduct {
        /// The version that was looked at.
        #[schema(minimum = 0)]
        version: i64,
        /// What it is called.
        #[schema(min_length = 1, max_length = 200)]
        name: String,
        /// What it is.
        #[schema(max_length = 2000)]
        description: Option<String>,
        /// Where it is found.
        #[schema(max_length = 60)]
        category: Option<String>,
        /// Price of one piece, such as 24.90.
        #[schema(pattern = "^[0-9]{1,6}([.,][0-9]{1,2})?$")]
        price: Option<String>,
        /// The same in cents.
        #[schema(minimum = 0, maximum = 100_000_000)]
        price_cents: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct NewZone {
        /// Its name, as checkouts name it.
        #[schema(min_length = 1, max_length = 60)]
        zone: String,
        /// What shipping there costs, such as 4.90.
        #[schema(pattern = "^[0-9]{1,6}([.,][0-9]{1,2})?$")]
        cost: Option<String>,
        /// The same in cents.
        #[schema(minimum = 0, maximum = 100_000_000)]
        cost_cents: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct EditZone {
        /// The version that was looked at.
        #[schema(minimum = 0)]
        version: i64,
        /// What shipping there costs, such as 4.90.
        #[schema(pattern = "^[0-9]{1,6}([.,][0-9]{1,2})?$")]
        cost: Option<String>,
        /// The same in cents.
        #[schema(minimum = 0, maximum = 100_000_000)]
        cost_cents: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct File {
        /// The file's text.
        #[schema(min_length = 1, pattern = "")]
        csv: String,
        /// Whether it is only said what would change.
        dry_run: Option<bool>,
    }
}
