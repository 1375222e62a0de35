//! Keeps one browser's view right: the whole picture first, then again
//! whenever what it shows has changed.
//!
//! A stream holds no queue. When it is woken it renders the state of now and
//! sends the parts that differ from what it sent last, at most about ten times
//! a second; a slow reader skips what lies between. So a stream that is opened
//! again, at any gateway and at any time, shows the truth.
//!
//! [`show`] keeps one view right; [`show_windows`] does so for several windows of
//! one browser over one connection, because a browser opens six to a site and
//! each window that is looked at needs a stream. Each view there is as alone as
//! on a connection of its own: it has its permit, its wakes and its end.
//!
//! Streams are not compressed (tower-http leaves `text/event-stream` alone):
//! each event leaves at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use datastar::DatastarEvent;
use datastar::consts::EventType;
use futures::future::{BoxFuture, select_all};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use waybill_domain::ids::Username;

use super::{Backoff, LiveState};
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::metrics::Metrics;

/// Least time between two renderings of one stream.
const COALESCE: Duration = Duration::from_millis(100);
/// A comment is sent after this much silence, so that proxies and dead peers
/// show.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after this and its client opens it again: rights are checked
/// anew, and gateways that were added get their share.
const LONGEST_LIFE: Duration = Duration::from_mins(10);
/// A connection ends this long after a window of it was refused for now.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);
/// Streams that one user may have open: windows on several devices.
pub const PER_USER: usize = 64;
/// Streams that all users together may have open.
const IN_ALL: usize = 4_000;

/// What wakes a stream.
#[derive(Debug, Default)]
pub struct Triggers {
    topics: Vec<watch::Receiver<u64>>,
    every: Option<Duration>,
}

impl Triggers {
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
    hub: &LiveState,
    caller: &Caller,
    LastEventId(after): LastEventId,
    mut wakes: Triggers,
    mut render: R,
) -> Result<Response, Problem>
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    let permit = hub.0.streams.permit(&caller.user)?;
    wakes.settle();
    let first = render(RenderContext {
        first: true,
        after: after.clone(),
    })
    .await?;
    let mut showing = StreamState::new(wakes, render, after, permit);
    showing.first = false;
    showing.due = None;
    showing.ready = Some(first);
    showing.rendered_at = Some(Instant::now());
    // What is refused later ends the stream: it is said when it is opened again.
    let events = showing
        .news()
        .take_while(|news| std::future::ready(news.is_ok()))
        .flat_map(|news| stream::iter(news.unwrap_or_default()))
        .map(|part| part.event.write_as_axum_sse_event());
    Ok(answer(hub, events))
}

/// What paints a view.
pub type Render =
    Box<dyn FnMut(RenderContext) -> BoxFuture<'static, Result<Frame, Problem>> + Send>;

/// A view, ready to be shown.
pub struct Scene {
    /// What wakes it.
    pub wakes: Triggers,
    /// What paints it.
    pub render: Render,
}

/// One window of a browser.
pub struct Window {
    /// What its browser calls it: letters and digits.
    pub id: String,
    /// The id of the last event that it has.
    pub after: Option<String>,
    /// What it shows, as the stream before this one has called it.
    pub has: HashSet<u64>,
    /// What it is to show.
    pub scene: Result<Scene, Problem>,
    /// How it is told that it may not.
    pub refuse: Box<dyn Fn(&Problem) -> DatastarEvent + Send>,
}

/// Opens a stream that keeps several windows right: the events of [`show`] for
/// each of them, wrapped in `datastar-window`, which Datastar hands on without
/// doing anything about it. A view that is refused is said to its window; the
/// others go on.
///
/// | line | says |
/// | --- | --- |
/// | `window` | whose event it is |
/// | `type` | what it is there, `datastar-open` at first |
/// | `part` | which part of the view, and what it is called |
/// | `cursor` | what the window has with it |
/// | others | the event itself |
///
/// The id of each event says where every window is, so that a client that has
/// lost its connection can go on with the same address.
pub fn show_windows(
    hub: &LiveState,
    caller: Option<&Caller>,
    LastEventId(last): LastEventId,
    windows: Vec<Window>,
) -> Response {
    let known = last.as_deref().map(cursors_of);
    let refused = Arc::new(Notify::new());
    let mut cursors = BTreeMap::new();
    let mut shown = Vec::new();
    for mut window in windows {
        if let Some(known) = &known {
            // This connection has shown it more than its address tells.
            window.has.clear();
            if let Some(cursor) = known.get(window.id.as_str()) {
                window.after = Some((*cursor).to_owned());
            }
        }
        if let Some(after) = &window.after {
            cursors.insert(window.id.clone(), after.clone());
        }
        shown.push(of_window(hub, caller, window, &refused));
    }
    let events = stream::select_all(shown).map(move |told| {
        if let Some(cursor) = &told.cursor {
            cursors.insert(told.window.to_string(), cursor.clone());
        }
        told.event(&cursors)
    });
    // The client opens it again then, and asks for all of them anew.
    let ends_soon = async move {
        refused.notified().await;
        tokio::time::sleep(REFUSED_AGAIN).await;
    };
    answer(hub, events.take_until(Box::pin(ends_soon)))
}

/// `windows,a:7-1,b:8-2`.
fn cursors_of(id: &str) -> HashMap<&str, &str> {
    id.split(',')
        .filter_map(|one| one.split_once(':'))
        .collect()
}

/// What one window is told.
struct Told {
    window: Arc<str>,
    kind: &'static str,
    part: Option<String>,
    cursor: Option<String>,
    lines: Vec<String>,
}

impl Told {
    fn event(self, cursors: &BTreeMap<String, String>) -> Event {
        // Never empty: with an id the client says that it has heard something.
        let mut id = "windows".to_owned();
        for (window, cursor) in cursors {
            let _ = write!(id, ",{window}:{cursor}");
        }
        let mut lines = vec![
            format!("window {}", self.window),
            format!("type {}", self.kind),
        ];
        lines.extend(self.part.map(|part| format!("part {part}")));
        lines.extend(self.cursor.map(|cursor| format!("cursor {cursor}")));
        lines.extend(self.lines);
        Event::default()
            .event("datastar-window")
            .id(id)
            .data(lines.join("\n"))
    }
}

/// `refused` is told when it may be shown later, but not now.
fn of_window(
    hub: &LiveState,
    caller: Option<&Caller>,
    window: Window,
    refused: &Arc<Notify>,
) -> BoxStream<'static, Told> {
    let refused = Arc::clone(refused);
    let Window {
        id,
        after,
        has,
        scene,
        refuse,
    } = window;
    let id: Arc<str> = id.into();
    let seated = match (scene, caller) {
        (Ok(scene), Some(caller)) => hub
            .0
            .streams
            .permit(&caller.user)
            .map(|permit| (scene, permit)),
        (Ok(_), None) => Err(Problem::unauthenticated("sign in at /login")),
        (Err(problem), _) => Err(problem),
    };
    let news = match seated {
        Ok((Scene { wakes, render }, permit)) => {
            let mut showing = StreamState::new(wakes, render, after, permit);
            showing.sent.clone_from(&has);
            showing.news().boxed()
        }
        // Its end would be that of the connection, which the others need.
        Err(problem) => stream::iter([Err(problem)]).boxed(),
    };
    let ends_at = Instant::now() + LONGEST_LIFE;
    let rest = stream::once(sleep_until(ends_at)).filter_map(|()| std::future::ready(None));
    let opened = Told {
        window: Arc::clone(&id),
        kind: "datastar-open",
        part: None,
        cursor: None,
        lines: Vec::new(),
    };
    let told = news.flat_map(move |news| {
        let parts = news.unwrap_or_else(|problem| {
            let passes = problem.status == StatusCode::TOO_MANY_REQUESTS;
            if passes || problem.status.is_server_error() {
                refused.notify_one();
            }
            let event = refuse(&problem);
            let hash = hash(&event);
            // It has been told before.
            let is_new = !has.contains(&hash);
            let part = Part {
                index: "refused".to_owned(),
                hash,
                cursor: None,
                event,
            };
            is_new.then_some(part).into_iter().collect()
        });
        let id = Arc::clone(&id);
        stream::iter(parts).map(move |part| Told {
            window: Arc::clone(&id),
            kind: match part.event.event {
                EventType::PatchElements => "datastar-patch-elements",
                EventType::PatchSignals => "datastar-patch-signals",
            },
            part: Some(format!("{}-{:016x}", part.index, part.hash)),
            cursor: part.cursor,
            lines: part.event.data,
        })
    });
    stream::iter([opened]).chain(told).chain(rest).boxed()
}

/// An answer that says `events` until the gateway stops.
fn answer(
    hub: &LiveState,
    events: impl futures::Stream<Item = Event> + Send + 'static,
) -> Response {
    // Ends at once when the gateway shuts down, in the middle of a wait too.
    let events = events
        .map(Ok::<_, Infallible>)
        .take_until(closed(hub.closing().clone()));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still here");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Tells nginx not to collect events before it passes them on.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

async fn closed(closing: CancellationToken) {
    closing.cancelled().await;
}

struct StreamState<R> {
    wakes: Triggers,
    render: R,
    after: Option<String>,
    /// Hashes of the events of the latest frame.
    sent: HashSet<u64>,
    ready: Option<Frame>,
    /// Whether nothing has been painted yet.
    first: bool,
    /// When it is painted without being woken.
    due: Option<Instant>,
    backoff: Backoff,
    rendered_at: Option<Instant>,
    ends_at: Instant,
    is_over: bool,
    _seat: StreamPermit,
}

/// An event of a frame.
#[derive(Debug)]
struct Part {
    /// Its place among the others.
    index: String,
    hash: u64,
    /// Where the client is when it has it.
    cursor: Option<String>,
    event: DatastarEvent,
}

/// What has changed, or why nothing more is shown.
type News = Result<Vec<Part>, Problem>;

impl<R, F> StreamState<R>
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    /// A view that is painted at once, and is over when it may not be.
    fn new(wakes: Triggers, render: R, after: Option<String>, permit: StreamPermit) -> Self {
        let now = Instant::now();
        Self {
            wakes,
            render,
            after,
            sent: HashSet::new(),
            ready: None,
            first: true,
            due: Some(now),
            backoff: Backoff::new(),
            rendered_at: None,
            ends_at: now + LONGEST_LIFE,
            is_over: false,
            _seat: permit,
        }
    }

    fn news(self) -> impl futures::Stream<Item = News> + Send {
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
                () = self.wakes.next() => {}
                () = sleep_until(self.due.unwrap_or(self.ends_at)), if self.due.is_some() => {}
                () = sleep_until(self.ends_at) => return None,
            }
            self.due = None;
            if let Some(rendered_at) = self.rendered_at {
                sleep_until(rendered_at + COALESCE).await;
            }
            self.wakes.settle();
            self.rendered_at = Some(Instant::now());
            let moment = RenderContext {
                first: self.first,
                after: self.after.clone(),
            };
            match (self.render)(moment).await {
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

    fn permit(&self, user: &Username) -> Result<StreamPermit, Problem> {
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
        Ok(StreamPermit {
            streams: self.clone(),
            user: user.clone(),
        })
    }
}

/// One open stream; given back when it ends, however it ends.
#[derive(Debug)]
struct StreamPermit {
    streams: Streams,
    user: Username,
}

impl Drop for StreamPermit {
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
    use crate::identity::caller::Role;
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

    fn render(board: &Arc<Board>) -> Render {
        let board = Arc::clone(board);
        Box::new(move |moment: RenderContext| {
            let board = Arc::clone(&board);
            Box::pin(async move {
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
            })
        })
    }

    async fn open(
        hub: &LiveState,
        topic: watch::Receiver<u64>,
        board: &Arc<Board>,
        last: LastEventId,
    ) -> Result<BodyDataStream, Problem> {
        let wakes = Triggers::new().on(topic);
        let shown = show(hub, &alice(), last, wakes, render(board)).await?;
        Ok(shown.into_body().into_data_stream())
    }

    fn window(id: &str, scene: Result<Scene, Problem>) -> Window {
        Window {
            id: id.to_owned(),
            after: None,
            has: HashSet::new(),
            scene,
            refuse: Box::new(|problem| {
                PatchElements::new(format!("<p>{}</p>", problem.detail)).into()
            }),
        }
    }

    fn board_of(topic: &watch::Sender<u64>, board: &Arc<Board>) -> Scene {
        Scene {
            wakes: Triggers::new().on(topic.subscribe()),
            render: render(board),
        }
    }

    fn open_windows(hub: &LiveState, last: Option<&str>, windows: Vec<Window>) -> BodyDataStream {
        let last = LastEventId(last.map(str::to_owned));
        let shown = show_windows(hub, Some(&alice()), last, windows);
        shown.into_body().into_data_stream()
    }

    /// Hears until something says all of `words`; answers everything up to then.
    async fn heard_until(stream: &mut BodyDataStream, words: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let event = heard(stream).await;
            let is_it = words.iter().all(|word| event.contains(word));
            all.push(event);
            if is_it {
                return all;
            }
        }
    }

    fn line<'a>(event: &'a str, name: &str) -> Option<&'a str> {
        let begin = format!("data: {name} ");
        event.lines().find_map(|line| line.strip_prefix(&begin))
    }

    /// A stream whose first picture has been heard.
    async fn watching(
        hub: &LiveState,
        topic: &watch::Sender<u64>,
        board: &Arc<Board>,
    ) -> BodyDataStream {
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
        let refused = show(&hub, &alice(), LastEventId(None), Triggers::new(), render).await;
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

    #[tokio::test]
    async fn each_window_has_its_own_view() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let topics = [watch::Sender::new(0), watch::Sender::new(0)];
        let boards = [Arc::<Board>::default(), Arc::<Board>::default()];
        boards[1].number.store(100, Ordering::SeqCst);
        let windows = vec![
            window("a", Ok(board_of(&topics[0], &boards[0]))),
            window("b", Ok(board_of(&topics[1], &boards[1]))),
            window("c", Err(Problem::not_found("there is no such page"))),
        ];
        let mut stream = open_windows(&hub, None, windows);
        let mut at_first = Vec::new();
        while at_first.len() < 8 {
            at_first.push(heard(&mut stream).await);
        }
        for (id, says) in [("a", ">0<"), ("b", ">100<"), ("c", "no such page")] {
            let its: Vec<_> = at_first
                .iter()
                .filter(|event| line(event, "window") == Some(id))
                .collect();
            assert_eq!(line(its[0], "type"), Some("datastar-open"), "{its:?}");
            assert!(its.last().unwrap().contains(says), "{its:?}");
            for event in &its[1..] {
                assert!(event.contains("event: datastar-window\n"), "{event}");
                assert_eq!(line(event, "type"), Some("datastar-patch-elements"));
                assert!(line(event, "elements").is_some(), "{event}");
            }
        }
        let last = at_first.last().unwrap();
        let all = ["a:7-0", "b:7-100"];
        assert!(all.iter().any(|cursor| last.contains(cursor)), "{last}");

        boards[1].number.store(101, Ordering::SeqCst);
        topics[1].send_replace(1);
        let event = heard(&mut stream).await;
        assert_eq!(line(&event, "window"), Some("b"));
        assert_eq!(line(&event, "cursor"), Some("7-101"));
        assert!(event.contains("id: windows,a:7-0,b:7-101\n"), "{event}");
        assert!(
            event.contains(">101<") && !event.contains("same"),
            "{event}"
        );
        hub.closing().cancel();
        let ended = timeout(Duration::from_millis(500), stream.next()).await;
        assert!(ended.expect("no waiting").is_none());
        hub.close().await;
    }

    #[tokio::test]
    async fn a_window_that_comes_back_is_sent_what_it_lacks() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut first = window("a", Ok(board_of(&topic, &board)));
        let mut stream = open_windows(&hub, None, vec![first]);
        let events = heard_until(&mut stream, &["<p id=\"number\">"]).await;
        let has: HashSet<_> = events
            .iter()
            .filter_map(|event| line(event, "part"))
            .map(|part| u64::from_str_radix(part.split_once('-').unwrap().1, 16).unwrap())
            .collect();
        assert_eq!(has.len(), 2);
        drop(stream);

        board.number.store(5, Ordering::SeqCst);
        first = window("a", Ok(board_of(&topic, &board)));
        first.after = Some("7-0".to_owned());
        first.has.clone_from(&has);
        let mut stream = open_windows(&hub, None, vec![first]);
        let events = heard_until(&mut stream, &["<p id=\"number\">5"]).await;
        assert_eq!(
            events.len(),
            2,
            "it is opened, and told what is new: {events:?}"
        );
        assert_eq!(
            *board.asked_after.lock().unwrap(),
            [None, Some("7-0".to_owned())]
        );
        drop(stream);

        // The connection was lost, and its address tells of the past.
        first = window("a", Ok(board_of(&topic, &board)));
        first.after = Some("7-0".to_owned());
        first.has = has;
        let mut stream = open_windows(&hub, Some("windows,a:7-5,x:1-1"), vec![first]);
        let events = heard_until(&mut stream, &["<p id=\"number\">5"]).await;
        assert_eq!(events.len(), 3, "{events:?}");
        let asked = board.asked_after.lock().unwrap().last().cloned();
        assert_eq!(asked.flatten().as_deref(), Some("7-5"));
        hub.close().await;
    }

    #[tokio::test]
    async fn a_window_without_a_seat_does_not_end_the_others() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let windows: Vec<_> = (0..=PER_USER)
            .map(|number| window(&number.to_string(), Ok(board_of(&topic, &board))))
            .collect();
        let mut stream = open_windows(&hub, None, windows);
        let refused = heard_until(&mut stream, &["close one and reload"]).await;
        let refused = line(refused.last().unwrap(), "window").map(str::to_owned);
        assert_eq!(refused, Some(PER_USER.to_string()));
        board.number.store(3, Ordering::SeqCst);
        topic.send_replace(1);
        let mut told = HashSet::new();
        while told.len() < PER_USER {
            let event = heard(&mut stream).await;
            if event.contains(">3<") {
                told.extend(line(&event, "window").map(str::to_owned));
            }
        }
        drop(stream);
        // Each has given its permit back.
        assert!(
            open(&hub, topic.subscribe(), &board, LastEventId(None))
                .await
                .is_ok()
        );
        hub.close().await;
    }

    #[tokio::test]
    async fn nobody_sees_nothing() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let windows = vec![window("a", Ok(board_of(&topic, &board)))];
        let shown = show_windows(&hub, None, LastEventId(None), windows);
        let mut stream = shown.into_body().into_data_stream();
        heard_until(&mut stream, &["window a", "sign in"]).await;
        assert_eq!(board.painted.load(Ordering::SeqCst), 0);
        // It is not asked for again and again.
        assert!(timeout(5 * COALESCE, stream.next()).await.is_err());
        hub.close().await;
    }

    #[tokio::test]
    async fn a_first_painting_that_fails_is_tried_again() {
        let fake = Fake::start().await;
        let (_folder, _db, hub) = fake.hub().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        board.failing.store(2, Ordering::SeqCst);
        let mut stream = open_windows(&hub, None, vec![window("a", Ok(board_of(&topic, &board)))]);
        heard_until(&mut stream, &["<p id=\"number\">0"]).await;
        assert_eq!(board.painted.load(Ordering::SeqCst), 3);
        hub.close().await;
    }
}
