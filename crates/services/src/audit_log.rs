//! Who has done what that matters: virtual object, key = a day in UTC.
//!
//! An object that decides hands its entry over in the same invocation (`Keep`, one
//! way), so there is no act without its entry, and none without its act. What no object
//! decides, a gateway notes (`Note`): sign-ins that failed, and what an operator has
//! mended. What an order's record tells, the gateways take from there.
//!
//! Each entry has a state key of its own and is kept once by its id. Beside them stand
//! their number, by which gateways find out which days they lack something of, and how
//! many of them each user could cause at will.

use restate_sdk::prelude::*;
use waybill_domain::audit::{self, AuditEntry};
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use crate::broadcast::UpdateBroadcaster;
use crate::clock::Clock as _;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::{AUDIT_ENTRIES, audit_count_key, audit_entry_key, audit_log as wire};

/// Entries of one day after which what people do at will (signing in and out, tokens) is
/// not kept any more: a flood of it must not grow without end.
const MOST_AT_WILL: u64 = 50_000;
/// Of these, about one user: nobody fills everybody's log alone.
const MOST_OF_ONE: u64 = 500;
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
        let of_one = if entry.is_at_will() {
            let key = audit_count_key(&entry.subject);
            let count = ctx.read::<u64>(&key).await?.unwrap_or_default();
            Some((key, count))
        } else {
            None
        };
        let is_too_much = of_one
            .as_ref()
            .is_some_and(|(_, count)| *count >= MOST_OF_ONE || entries >= MOST_AT_WILL);
        if entries >= MOST || is_too_much {
            tracing::error!(
                audit.what = entry.what.as_str(),
                audit.subject = entry.subject,
                entries,
                "the audit log of {} is full of this: an entry is not kept",
                ctx.key()
            );
            return Ok(());
        }
        ctx.set(&key, Json(entry.clone()));
        ctx.set(AUDIT_ENTRIES, entries + 1);
        if let Some((key, count)) = of_one {
            ctx.set(&key, count + 1);
        }
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
