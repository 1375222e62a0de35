//! Who has done what that matters: virtual object, key = a day in UTC.
//!
//! An object that decides hands its entry over in the same invocation (`Keep`, one
//! way), so there is no act without its entry, and none without its act. What no object
//! decides, a gateway notes (`Note`): sign-ins that failed, and what an operator has
//! mended. What an order's record tells, the gateways take from there.
//!
//! Each entry has a state key of its own and is kept once by its id. Beside them stands
//! only their number, by which gateways find out which days they lack something of.

use restate_sdk::prelude::*;
use waybill_domain::audit::{self, AuditEntry};
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use crate::broadcast::UpdateBroadcaster;
use crate::clock::Clock as _;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::{AUDIT_ENTRIES, audit_entry_key, audit_log as wire};

/// Entries of one day after which sign-ins, sign-outs and failed sign-ins are not kept
/// any more: a flood of them must not grow without end.
const MOST_SIGN_INS: u64 = 50_000;
/// Entries of one day after which nothing is kept: more than people can do.
const MOST: u64 = 500_000;
/// A day is forgotten at the earliest this long after it began.
const SHORTEST_MEMORY: std::time::Duration = std::time::Duration::from_hours(48);

/// See the module.
pub struct AuditLog {
    /// Entries are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
}

#[restate_sdk::object(name = "AuditLog", lazy_state)]
impl AuditLog {
    /// Keeps what another object has decided.
    #[handler(name = "Keep", ingress_private = true)]
    async fn keep(
        &self,
        ctx: ObjectContext<'_>,
        Json(entry): Json<AuditEntry>,
    ) -> HandlerResult<()> {
        self.write(&ctx, entry).await
    }

    /// Keeps what a gateway has seen.
    #[handler(name = "Note")]
    async fn note(&self, ctx: ObjectContext<'_>, entry: Signed<AuditEntry>) -> HandlerResult<()> {
        let entry = entry.open(&ctx, &self.doors, wire::NOTE)?;
        self.write(&ctx, entry).await
    }

    /// Forgets a day that is long over; answers whether there was something.
    #[handler(name = "Forget")]
    async fn forget(
        &self,
        ctx: ObjectContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<bool>> {
        nothing.open(&ctx, &self.doors, wire::FORGET)?;
        let begin = audit::begin_of(ctx.key()).ok_or_else(|| not_its_day(ctx.key()))?;
        if !ctx.has_passed(SHORTEST_MEMORY, begin).await? {
            return Err(not_its_day(ctx.key()));
        }
        let entries: Option<u64> = ctx.read(AUDIT_ENTRIES).await?;
        if entries.is_some() {
            ctx.clear_all();
        }
        Ok(Json(entries.is_some()))
    }
}

impl AuditLog {
    async fn write(&self, ctx: &ObjectContext<'_>, entry: AuditEntry) -> HandlerResult<()> {
        if entry.day() != ctx.key() {
            return Err(not_its_day(ctx.key()));
        }
        let key = audit_entry_key(&entry.id);
        if ctx.read::<AuditEntry>(&key).await?.is_some() {
            return Ok(());
        }
        let entries = ctx.read::<u64>(AUDIT_ENTRIES).await?.unwrap_or_default();
        if entries >= MOST || entries >= MOST_SIGN_INS && entry.what.is_of_sign_in() {
            tracing::error!(
                audit.what = entry.what.as_str(),
                entries,
                "the audit log of {} is full: an entry is not kept",
                ctx.key()
            );
            return Ok(());
        }
        ctx.set(&key, Json(entry.clone()));
        ctx.set(AUDIT_ENTRIES, entries + 1);
        self.updates.publish(&Update::Audit(Box::new(entry)));
        Ok(())
    }
}

fn not_its_day(day: &str) -> HandlerError {
    refuse(Refusal::invalid(
        "day",
        format!(
            "this is not for the log of {day}: name the day of the entry, or one that is two days over"
        ),
    ))
}

/// Hands an entry to the log. One way, and durable with the invocation that decides.
pub(crate) fn hand_over(ctx: &ObjectContext<'_>, entry: AuditEntry) {
    ctx.object_client::<AuditLogClient>(entry.day())
        .keep(Json(entry))
        .send();
}
