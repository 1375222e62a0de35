//! `/api/catalog/zones`: where orders can be shipped, for admins.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use waybill_domain::catalog::{MAX_PRICE, MAX_ZONE, ZoneChange};
use waybill_domain::money::Cents;
use waybill_domain::refusal::Refusal;
use waybill_domain::words::{MAX_NAME, quoted};

use super::{Nothing, Of};
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::origin::RequestOrigin;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::catalog::{self, ZoneView};
use crate::storage::catalog as storage;

#[derive(Serialize, ToSchema)]
#[schema(as = CatalogZones)]
pub(in crate::api) struct Zones {
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
pub(in crate::api) async fn list(State(infra): State<Shared>) -> Result<Json<Zones>, Problem> {
    let zones = storage::every_zone(&infra.db).await?;
    let zones = zones.into_iter().map(ZoneView::from).collect();
    Ok(Json(Zones { zones }))
}

pub(in crate::api) struct NewZone {
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
pub(in crate::api) async fn create(
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
    let made = catalog::change_zone(&infra, &caller.user, by, &zone, change, &key)
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

pub(in crate::api) struct EditZone {
    version: u64,
    cost: Cents,
    key: Option<IdempotencyKey>,
}

impl FromFields for EditZone {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            version: fields
                .required_integer("version", 0..=i64::MAX)?
                .unsigned_abs(),
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
pub(in crate::api) async fn edit(
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
pub(in crate::api) async fn archive(
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
pub(in crate::api) async fn restore(
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
    let unknown = || Refusal::UnknownZone {
        zone: zone.to_owned(),
    };
    if !is_name {
        return Err(unknown().into());
    }
    let changed = catalog::change_zone(infra, &caller.user, by, zone, change, &key).await?;
    let name = quoted(&changed.value.name, MAX_NAME);
    let reply = Reply::new(StatusCode::OK, &ZoneView::from(changed.value))?;
    Ok(reply.saying_once(&format!("{name} is {what}"), changed.again))
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_new_zone: NewZone, fuzz_edit_zone: EditZone);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

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
}
