//! Keeps one browser's view right: the whole picture first, then again
//! whenever what it shows has changed.
//!
//! A stream holds no queue. When it is woken it renders the state of now and
//! sends the parts that differ from what it sent last, at most about ten times
//! a second; a slow reader skips what lies between. So a stream that is opened
//! again, at any gateway and at any time, shows the truth.
//!
//! Streams are not compressed (tower-http leaves `text/event-stream` alone):
//! each event leaves at once.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use datastar::DatastarEvent;
use futures::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use waybill_domain::ids::Username;

use super::{Backoff, Hub};
use crate::auth::Caller;
use crate::ops::Metrics;
use crate::problem::Problem;

/// Least time between two renderings of one stream.
const COALESCE: Duration = Duration::from_millis(100);
/// A comment is sent after this much silence, so that proxies and dead peers
/// show.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after this and its client opens it again: rights are checked
/// anew, and gateways that were added get their share.
const LONGEST_LIFE: Duration = Duration::from_mins(10);
/// Streams that one user may have open: windows on several devices.
const PER_USER: usize = 64;
/// Streams that all users together may have open.
const IN_ALL: usize = 4_000;

/// What wakes a stream.
#[derive(Debug, Default)]
pub struct Wakes {
    topics: Vec<watch::Receiver<u64>>,
    every: Option<Duration>,
}

impl Wakes {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also whatever `topic` tells.
    #[must_use]
    pub fn on(mut self, topic: watch::Receiver<u64>) -> Self {
        self.topics.push(topic);
        self
    }

    /// Also the clock, for what changes without anybody saying so, such as
    /// Restate's retry count.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.every = Some(period);
        self
    }

    /// Forgets what has been told so far: it is about to be rendered.
    fn settle(&mut self) {
        for topic in &mut self.topics {
            topic.mark_unchanged();
        }
    }

    async fn next(&mut self) {
        let period = self.every;
        let clock = async move {
            match period {
                Some(period) => tokio::time::sleep(period).await,
                None => std::future::pending().await,
            }
        };
        // A topic whose sender is gone never tells anything again.
        self.topics.retain(|topic| topic.has_changed().is_ok());
        if self.topics.is_empty() {
            return clock.await;
        }
        let told = select_all(
            self.topics
                .iter_mut()
                .map(|topic| Box::pin(topic.changed())),
        );
        tokio::select! {
            _ = told => {}
            () = clock => {}
        }
    }
}

/// What is asked of a renderer.
#[derive(Debug, Clone)]
pub struct Moment {
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

/// The header `Last-Event-ID`.
#[derive(Debug, Clone, Default)]
pub struct LastEventId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let id = parts
            .headers
            .get("last-event-id")
            .and_then(|value| value.to_str().ok());
        Ok(Self(id.map(str::to_owned)))
    }
}

/// Opens a stream that shows what `render` paints. What `render` refuses the
/// first time (an unknown order, another user's) is the answer.
pub async fn show<R, F>(
    hub: &Hub,
    caller: &Caller,
    LastEventId(after): LastEventId,
    mut wakes: Wakes,
    mut render: R,
) -> Result<Response, Problem>
where
    R: FnMut(Moment) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    let seat = hub.0.streams.take_seat(&caller.user)?;
    wakes.settle();
    let first = render(Moment {
        first: true,
        after: after.clone(),
    })
    .await?;
    let closing = hub.closing().clone();
    let showing = Showing {
        wakes,
        render,
        after,
        sent: HashSet::new(),
        ready: Some(first),
        rendered_at: Instant::now(),
        ends_at: Instant::now() + LONGEST_LIFE,
        _seat: seat,
    };
    let events = futures::stream::unfold(showing, Showing::next_frame);
    let events = futures::StreamExt::flat_map(events, futures::stream::iter);
    // Ends at once when the gateway shuts down, in the middle of a wait too.
    let events = futures::StreamExt::take_until(events, closed(closing));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Tells nginx not to collect events before it passes them on.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

async fn closed(closing: CancellationToken) {
    closing.cancelled().await;
}

struct Showing<R> {
    wakes: Wakes,
    render: R,
    after: Option<String>,
    /// Hashes of the events of the latest frame.
    sent: HashSet<u64>,
    ready: Option<Frame>,
    rendered_at: Instant,
    ends_at: Instant,
    _seat: Seat,
}

type Events = Vec<Result<Event, Infallible>>;

impl<R, F> Showing<R>
where
    R: FnMut(Moment) -> F + Send,
    F: Future<Output = Result<Frame, Problem>> + Send,
{
    async fn next_frame(mut self) -> Option<(Events, Self)> {
        let mut backoff = Backoff::new();
        let mut again_at = None;
        loop {
            if let Some(frame) = self.ready.take() {
                let events = self.changed(frame);
                if !events.is_empty() {
                    return Some((events, self));
                }
            }
            tokio::select! {
                () = self.wakes.next() => {}
                () = sleep_until(again_at.unwrap_or(self.ends_at)), if again_at.is_some() => {}
                () = sleep_until(self.ends_at) => return None,
            }
            again_at = None;
            sleep_until(self.rendered_at + COALESCE).await;
            self.wakes.settle();
            self.rendered_at = Instant::now();
            let moment = Moment {
                first: false,
                after: self.after.clone(),
            };
            match (self.render)(moment).await {
                Ok(frame) => self.ready = Some(frame),
                // What has changed is still to be shown.
                Err(problem) if problem.status.is_server_error() => {
                    tracing::warn!(
                        cause = problem.cause(),
                        "a stream could not be rendered: {}",
                        problem.detail
                    );
                    again_at = Some(Instant::now() + backoff.next());
                }
                Err(_) => return None,
            }
        }
    }

    /// What of `frame` the client does not have.
    fn changed(&mut self, mut frame: Frame) -> Events {
        if let Some(last) = frame.events.last_mut()
            && let Some(id) = &frame.id
        {
            last.id = Some(id.clone());
        }
        let hashes: Vec<_> = frame.events.iter().map(hash).collect();
        let events = frame
            .events
            .iter()
            .zip(&hashes)
            .filter(|(_, hash)| !self.sent.contains(hash))
            .map(|(event, _)| Ok(event.write_as_axum_sse_event()))
            .collect();
        self.sent = hashes.into_iter().collect();
        if frame.id.is_some() {
            self.after = frame.id;
        }
        events
    }
}

fn hash(event: &DatastarEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}

/// Who has how many streams open.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: Arc<Mutex<HashMap<Username, usize>>>,
    metrics: Metrics,
}

impl Streams {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            open: Arc::default(),
            metrics,
        }
    }

    fn take_seat(&self, user: &Username) -> Result<Seat, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= IN_ALL {
            return Err(Problem::unavailable(
                "too many live pages are open on this gateway: reload in a moment",
            ));
        }
        let mine = open.entry(user.clone()).or_default();
        if *mine >= PER_USER {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_streams",
                "Too many live pages",
                format!("{PER_USER} live pages of {user} are open: close one and reload"),
            ));
        }
        *mine += 1;
        self.metrics.stream_opened();
        Ok(Seat {
            streams: self.clone(),
            user: user.clone(),
        })
    }
}

/// One open stream; given back when it ends, however it ends.
#[derive(Debug)]
struct Seat {
    streams: Streams,
    user: Username,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self
            .streams
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.user) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.user);
            }
        }
        drop(open);
        self.streams.metrics.stream_closed();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use axum::body::BodyDataStream;
    use datastar::prelude::PatchElements;
    use futures::StreamExt as _;
    use tokio::time::timeout;

    use super::*;
    use crate::auth::Role;
    use crate::live::fake::Fake;

    fn alice() -> Caller {
        Caller {
            user: Username::parse("alice").unwrap(),
            role: Role::Customer,
        }
    }

    /// What the tests' view shows, and how often it was painted.
    #[derive(Default)]
    struct Board {
        number: AtomicU64,
        painted: AtomicUsize,
        asked_after: Mutex<Vec<Option<String>>>,
        /// How many paintings fail from now on.
        failing: AtomicUsize,
    }

    async fn open(
        hub: &Hub,
        topic: watch::Receiver<u64>,
        board: &Arc<Board>,
        last: LastEventId,
    ) -> Result<BodyDataStream, Problem> {
        let board = Arc::clone(board);
        let render = move |moment: Moment| {
            let board = Arc::clone(&board);
            async move {
                board.painted.fetch_add(1, Ordering::SeqCst);
                board.asked_after.lock().unwrap().push(moment.after);
                let fails = |left: usize| left.checked_sub(1);
                let failed = board
                    .failing
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails);
                if failed.is_ok() {
                    return Err(Problem::internal("a test"));
                }
                let number = board.number.load(Ordering::SeqCst);
                let frame = Frame::of([
                    PatchElements::new("<p id=\"same\">always the same</p>"),
                    PatchElements::new(format!("<p id=\"number\">{number}</p>")),
                ]);
                Ok(frame.with_id(Some(format!("7-{number}"))))
            }
        };
        let shown = show(hub, &alice(), last, Wakes::new().on(topic), render).await?;
        Ok(shown.into_body().into_data_stream())
    }

    /// A stream whose first picture has been heard.
    async fn watching(hub: &Hub, topic: &watch::Sender<u64>, board: &Arc<Board>) -> BodyDataStream {
        let opened = open(hub, topic.subscribe(), board, LastEventId(None)).await;
        let mut stream = opened.unwrap();
        heard(&mut stream).await;
        heard(&mut stream).await;
        stream
    }

    async fn heard(stream: &mut BodyDataStream) -> String {
        let bytes = timeout(Duration::from_secs(5), stream.next()).await;
        let bytes = bytes.expect("an event in time").expect("an open stream");
        String::from_utf8(bytes.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_whole_first_then_only_what_has_changed() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = open(&hub, topic.subscribe(), &board, LastEventId(None))
            .await
            .unwrap();
        assert!(heard(&mut stream).await.contains("always the same"));
        let second = heard(&mut stream).await;
        assert!(
            second.contains("event: datastar-patch-elements"),
            "{second}"
        );
        assert!(second.contains("<p id=\"number\">0</p>"), "{second}");
        assert!(second.contains("id: 7-0"), "{second}");

        board.number.store(1, Ordering::SeqCst);
        topic.send_replace(1);
        let third = heard(&mut stream).await;
        assert!(third.contains("<p id=\"number\">1</p>"), "{third}");
        assert_eq!(
            *board.asked_after.lock().unwrap(),
            [None, Some("7-0".to_owned())]
        );
        hub.close().await;
    }

    #[tokio::test]
    async fn a_burst_is_painted_a_few_times_and_its_end_is_seen() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = open(&hub, topic.subscribe(), &board, LastEventId(None))
            .await
            .unwrap();
        let burst = async {
            for number in 1..=300 {
                board.number.store(number, Ordering::SeqCst);
                topic.send_replace(number);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reading = async {
            while !heard(&mut stream)
                .await
                .contains("<p id=\"number\">300</p>")
            {}
        };
        tokio::join!(burst, reading);
        let painted = board.painted.load(Ordering::SeqCst);
        assert!(
            painted < 15,
            "painted {painted} times in about half a second"
        );
        hub.close().await;
    }

    #[tokio::test]
    async fn a_painting_that_fails_is_tried_again_without_another_change() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = watching(&hub, &topic, &board).await;
        board.failing.store(2, Ordering::SeqCst);
        board.number.store(1, Ordering::SeqCst);
        topic.send_replace(1);
        let shown = heard(&mut stream).await;
        assert!(shown.contains("<p id=\"number\">1</p>"), "{shown}");
        // Nothing changes any more, and nothing is painted.
        let painted = board.painted.load(Ordering::SeqCst);
        assert_eq!(painted, 4);
        assert!(timeout(5 * COALESCE, stream.next()).await.is_err());
        assert_eq!(board.painted.load(Ordering::SeqCst), painted);
        hub.close().await;
    }

    #[tokio::test]
    async fn the_id_of_a_former_connection_reaches_the_view() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let last = LastEventId(Some("5-42".to_owned()));
        let _stream = open(&hub, topic.subscribe(), &board, last).await.unwrap();
        assert_eq!(
            *board.asked_after.lock().unwrap(),
            [Some("5-42".to_owned())]
        );
        hub.close().await;
    }

    #[tokio::test]
    async fn what_the_view_refuses_is_the_answer() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let render = |_| async { Err(Problem::not_found("there is no such order")) };
        let refused = show(&hub, &alice(), LastEventId(None), Wakes::new(), render).await;
        assert_eq!(refused.unwrap_err().status, StatusCode::NOT_FOUND);
        hub.close().await;
    }

    #[tokio::test]
    async fn streams_end_at_once_when_the_gateway_stops() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = watching(&hub, &topic, &board).await;
        hub.closing().cancel();
        let ended = timeout(Duration::from_millis(500), stream.next()).await;
        assert!(ended.expect("no waiting").is_none());
        hub.close().await;
    }

    #[tokio::test]
    async fn one_user_cannot_take_every_seat() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut streams = Vec::new();
        for _ in 0..PER_USER {
            streams.push(
                open(&hub, topic.subscribe(), &board, LastEventId(None))
                    .await
                    .unwrap(),
            );
        }
        let refused = open(&hub, topic.subscribe(), &board, LastEventId(None)).await;
        assert_eq!(refused.err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        streams.pop();
        assert!(
            open(&hub, topic.subscribe(), &board, LastEventId(None))
                .await
                .is_ok()
        );
        hub.close().await;
    }
}
