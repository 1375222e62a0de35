//! Writes that their callers have given a key: done once.
//!
//! The gateway says key and request in a header ([`HEADER`]); the object that is
//! written to keeps them in one of its [`KeyBook`]s, in the same moment as what
//! they changed. So a write that was refused leaves nothing behind, and a
//! repetition is answered with how things stand now.

use restate_sdk::prelude::*;
use waybill_domain::idempotency::{KeyBook, Once, Seen};
use waybill_domain::refusal::Refusal;

use crate::refuse::refuse;
use crate::state::ReadState;
use crate::wire::key_book_key;

/// The header that carries a [`Once`], in its text form.
pub const HEADER: &str = "x-waybill-once";

/// A write under way, with the book that it will be written down in.
pub(crate) struct Write(Option<(Once, KeyBook)>);

/// What a write is.
pub(crate) enum Begun {
    /// Nothing that was done: it is to be [`kept`](Write::keep) when it is.
    New(Write),
    /// Done before: nothing is to be done.
    Again,
}

impl Write {
    /// Looks the caller's key up. Refused when it was used for something else.
    pub(crate) async fn begin(ctx: &ObjectContext<'_>) -> HandlerResult<Begun> {
        let Some(once) = ctx.headers().get(HEADER) else {
            return Ok(Begun::New(Self(None)));
        };
        let once: Once = once.parse().map_err(refuse)?;
        let book = ctx.read::<KeyBook>(&key_book_key(&once.key)).await?;
        let book = book.unwrap_or_default();
        match book.look(&once) {
            Seen::New => Ok(Begun::New(Self(Some((once, book))))),
            Seen::Again => Ok(Begun::Again),
            Seen::Reused => Err(refuse(Refusal::IdempotencyKeyReused)),
        }
    }

    /// Remembers that it was done. No await: it is written with what it did.
    pub(crate) fn keep(self, ctx: &ObjectContext<'_>) {
        if let Some((once, book)) = self.0 {
            let key = key_book_key(&once.key);
            ctx.set(&key, Json(book.with(once)));
        }
    }
}
