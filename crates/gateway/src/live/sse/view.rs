//! One view: it is painted when something wakes it, and only what differs from
//! what was sent last is sent.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use datastar::DatastarEvent;
use futures::stream;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::permits::StreamPermit;
use super::triggers::Triggers;
use crate::http::problem::Problem;
use crate::live::backoff::Backoff;

/// A stream ends after this and its client opens it again: rights are checked
/// anew, and gateways that were added get their share.
pub(super) const LONGEST_LIFE: Duration = Duration::from_mins(10);

/// What is asked of a renderer.
#[derive(Debug, Clone)]
pub struct RenderContext {
    /// Whether nothing has been sent on this connection yet.
    pub first: bool,
    /// The id of the last event that the client has: of a former connection
    /// (`Last-Event-ID`) at first, then of this one.
    pub after: Option<String>,
}

/// The whole picture, as the events that paint it.
#[derive(Debug, Default)]
pub struct Frame {
    /// In the order in which they are sent. Each must be complete in itself:
    /// one that is the same as in the frame before is not sent again.
    pub events: Vec<DatastarEvent>,
    /// What the client says as `Last-Event-ID` when it comes back.
    pub id: Option<String>,
}

impl Frame {
    /// A frame of these events.
    pub fn of(events: impl IntoIterator<Item = impl Into<DatastarEvent>>) -> Self {
        Self {
            events: events.into_iter().map(Into::into).collect(),
            id: None,
        }
    }

    /// The same with an id.
    #[must_use]
    pub fn with_id(mut self, id: Option<String>) -> Self {
        self.id = id;
        self
    }
}

/// A view that is shown, and what its client has of it.
pub(super) struct StreamState<R> {
    triggers: Triggers,
    render: R,
    after: Option<String>,
    /// Hashes of the events of the latest frame.
    pub(super) sent: HashSet<u64>,
    pub(super) ready: Option<Frame>,
    /// Whether nothing has been painted yet.
    pub(super) first: bool,
    /// When it is painted without being woken.
    pub(super) due: Option<Instant>,
    backoff: Backoff,
    pace: Option<Pace>,
    ends_at: Instant,
    is_over: bool,
    _permit: StreamPermit,
}

/// An event of a frame.
#[derive(Debug)]
pub(super) struct Part {
    /// Its place among the others.
    pub(super) index: String,
    pub(super) hash: u64,
    /// Where the client is when it has it.
    pub(super) cursor: Option<String>,
    pub(super) event: DatastarEvent,
}

/// What has changed, or why nothing more is shown.
pub(super) type News = Result<Vec<Part>, Problem>;

impl<R, F> StreamState<R>
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    /// A view that is painted at once, and is over when it may not be.
    pub(super) fn new(
        triggers: Triggers,
        render: R,
        after: Option<String>,
        permit: StreamPermit,
    ) -> Self {
        let now = Instant::now();
        Self {
            triggers,
            render,
            after,
            sent: HashSet::new(),
            ready: None,
            first: true,
            due: Some(now),
            backoff: Backoff::new(),
            pace: None,
            ends_at: now + LONGEST_LIFE,
            is_over: false,
            _permit: permit,
        }
    }

    pub(super) fn news(self) -> impl futures::Stream<Item = News> + Send {
        stream::unfold(self, Self::next_news)
    }

    async fn next_news(mut self) -> Option<(News, Self)> {
        loop {
            if self.is_over {
                return None;
            }
            if let Some(frame) = self.ready.take() {
                let parts = self.changed(frame);
                if !parts.is_empty() {
                    return Some((Ok(parts), self));
                }
            }
            tokio::select! {
                () = self.triggers.next() => {}
                () = sleep_until(self.due.unwrap_or(self.ends_at)), if self.due.is_some() => {}
                () = sleep_until(self.ends_at) => return None,
            }
            self.due = None;
            if let Some(pace) = &self.pace {
                sleep_until(pace.next(Instant::now())).await;
            }
            self.triggers.settle();
            self.painted();
            let context = RenderContext {
                first: self.first,
                after: self.after.clone(),
            };
            // On the heap while it paints: a stream that waits holds none of it.
            match Box::pin((self.render)(context)).await {
                Ok(frame) => {
                    self.first = false;
                    self.backoff.reset();
                    self.ready = Some(frame);
                }
                // What has changed is still to be shown.
                Err(problem) if problem.status.is_server_error() => {
                    tracing::warn!(
                        cause = problem.cause(),
                        "a stream could not be rendered: {}",
                        problem.detail
                    );
                    self.due = Some(Instant::now() + self.backoff.next());
                }
                Err(problem) => {
                    self.is_over = true;
                    return Some((Err(problem), self));
                }
            }
        }
    }

    /// It is painted now.
    pub(super) fn painted(&mut self) {
        let now = Instant::now();
        match &mut self.pace {
            Some(pace) => pace.painted(now),
            None => self.pace = Some(Pace::from(now)),
        }
    }

    /// What of `frame` the client does not have.
    fn changed(&mut self, mut frame: Frame) -> Vec<Part> {
        if let Some(last) = frame.events.last_mut()
            && let Some(id) = &frame.id
        {
            last.id = Some(id.clone());
        }
        let hashes: HashSet<_> = frame.events.iter().map(hash).collect();
        let parts = frame
            .events
            .into_iter()
            .enumerate()
            .map(|(index, event)| Part {
                index: index.to_string(),
                hash: hash(&event),
                cursor: event.id.clone(),
                event,
            })
            .filter(|part| !self.sent.contains(&part.hash))
            .collect();
        self.sent = hashes;
        if frame.id.is_some() {
            self.after = frame.id;
        }
        parts
    }
}

pub(super) fn hash(event: &DatastarEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}
