//! Which lines are news: what an invocation has said before, its replay does not say
//! again.
//!
//! The SDK's own [`ReplayAwareFilter`] decides it, from a field of the span around each
//! try. Alone it asks for every span and line that there is, and the SDK makes a span for
//! each step of a journal: half of the services' own work of an order. [`News`] asks for
//! that one span, and for the lines that somebody wants.

use restate_sdk::filter::ReplayAwareFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::story;

/// The lines that `wanted` lets through and that are news.
pub struct News<F> {
    wanted: F,
    replays: ReplayAwareFilter,
}

impl<F> News<F> {
    /// Those of these.
    pub const fn of(wanted: F) -> Self {
        Self {
            wanted,
            replays: ReplayAwareFilter,
        }
    }
}

/// The span that knows whether a try replays (SDK 0.13).
fn is_of_a_try(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == "restate_sdk_endpoint_handle"
}

impl<S, F> Filter<S> for News<F>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    F: Filter<S>,
{
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_of_a_try(metadata) || metadata.is_event() && self.wanted.enabled(metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Never `always`: what is decided anew for each event begins with `enabled`.
        let is_wanted = metadata.is_event() && !self.wanted.callsite_enabled(metadata).is_never();
        if is_wanted || is_of_a_try(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        // What a `run` says has run just now.
        let is_news = event.metadata().target() == story::OUTSIDE
            || Filter::event_enabled(&self.replays, event, context);
        is_news && self.wanted.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The span's level is INFO.
        Some(self.wanted.max_level_hint()?.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.replays, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.replays, id, values, context);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::FilterFn;
    use tracing_subscriber::prelude::*;

    use super::*;

    /// Names of the spans and lines that pass.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl Seen {
        fn note(&self, of: &'static str) {
            self.0.lock().unwrap().push(of);
        }
    }

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_new_span(&self, attributes: &Attributes<'_>, _id: &Id, _: Context<'_, S>) {
            self.note(attributes.metadata().name());
        }

        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.note(event.metadata().target());
        }
    }

    fn seen_while(is_replaying: bool) -> Vec<&'static str> {
        let seen = Seen::default();
        let wanted = FilterFn::new(|metadata| metadata.target() != "unwanted")
            .with_max_level_hint(LevelFilter::WARN);
        let layer = seen.clone().with_filter(News::of(wanted));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!(
                "restate_sdk_endpoint_handle",
                "restate.sdk.is_replaying" = is_replaying
            );
            let _inside = span.enter();
            // As the SDK makes for each step.
            let step = tracing::error_span!("CoreVM::sys_state_get");
            assert!(step.is_disabled());
            tracing::warn!(target: "story", "a line");
            tracing::warn!(target: "unwanted", "a line");
            tracing::warn!(target: story::OUTSIDE, "an answer");
        });
        std::mem::take(&mut seen.0.lock().unwrap())
    }

    #[test]
    fn a_replay_says_nothing_again_but_what_ran_just_now() {
        let span = "restate_sdk_endpoint_handle";
        assert_eq!(seen_while(false), [span, "story", story::OUTSIDE]);
        assert_eq!(seen_while(true), [span, story::OUTSIDE]);
    }

    #[test]
    fn nothing_finer_than_what_is_wanted_and_the_span_of_a_try_is_asked_for() {
        let hint = |wanted: LevelFilter| {
            Filter::<tracing_subscriber::Registry>::max_level_hint(&News::of(wanted))
        };
        assert_eq!(hint(LevelFilter::ERROR), Some(LevelFilter::INFO));
        assert_eq!(hint(LevelFilter::DEBUG), Some(LevelFilter::DEBUG));
    }
}
