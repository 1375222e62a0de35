//! `/api/catalog/products`: what is sold, for admins. Beside it, where it is shipped
//! ([`zones`]) and the catalog as a file ([`files`]).

pub mod files;
pub mod zones;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use waybill_domain::catalog::{
    MAX_CATEGORY, MAX_INITIAL_STOCK, MAX_PRICE, ProductChange, ProductFields,
};
use waybill_domain::ids::Sku;
use waybill_domain::words::{MAX_DESCRIPTION, MAX_NAME, MAX_TITLE, quoted};

use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::origin::RequestOrigin;
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::catalog::{self, ProductView};
use crate::storage::catalog::Filter;

/// Products on a page of the API.
const PER_PAGE: u32 = 50;
/// Longest search.
const MAX_QUERY: usize = 100;

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
    let (products, total) = catalog::list(&infra, &filter, page).await?;
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
    let product = catalog::one(&infra, &named(&sku)?).await?;
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
    let made = catalog::change(&infra, &caller.user, by, sku, change, &key.or(in_form))
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
            version: fields
                .required_integer("version", 0..=i64::MAX)?
                .unsigned_abs(),
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
    let changed = catalog::change(infra, &caller.user, by, sku, change, &key).await?;
    let name = quoted(&changed.value.fields.name, MAX_NAME);
    let reply = Reply::new(StatusCode::OK, &ProductView::from(changed.value))?;
    Ok(reply.saying_once(&format!("{name} is {what}"), changed.again))
}

#[cfg(test)]
crate::http::fuzz::fields!(
    fuzz_catalog_query: Query, fuzz_new_product: NewProduct, fuzz_edit_product: EditProduct,
    fuzz_archive: Nothing
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
}
