//! From Restate to the screen: Restate holds the truth, the services say it
//! aloud, and what this gateway missed it asks for. The whole way is in
//! docs/architecture.md.
//!
//! | module | does |
//! | --- | --- |
//! | [`state`] | ties all of it together |
//! | [`listener`] | hears the services' update streams |
//! | `lines`, `backoff` | takes such a stream apart; waits before the next try |
//! | [`projector`] | writes what is newer into the read model, then wakes the streams |
//! | `topics` | who is woken by what |
//! | `core` | what those who bring news and those who wait for it share |
//! | `baskets` | remembers the newest basket of each user |
//! | `others` | notices what other programs write into the file |
//! | [`remembered`] | keeps answers of SQLite until news comes of what they are about |
//! | `health` | how well all this is |
//! | [`catch_up`] | compares the read model with Restate and fetches what is missing |
//! | `retention` | lets sessions forget what ended long ago |
//! | [`sse`] | keeps one browser's view right |
//!
//! Invariants: an update is applied by its own version, so duplicates and
//! reordering change nothing; a catch-up never deletes; a stream renders the
//! current state, so a slow reader skips steps and no queue grows.

mod backoff;
mod baskets;
pub mod catch_up;
mod core;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fuzz;
mod health;
mod lines;
pub mod listener;
mod others;
pub mod projector;
pub mod remembered;
mod retention;
pub mod sse;
pub mod state;
mod topics;

pub use self::health::{CatchUpHealth, LiveHealth, SourceHealth};
pub use self::remembered::Remembered;
pub use self::state::{Bounds, LiveState};
pub use self::topics::Subject;
