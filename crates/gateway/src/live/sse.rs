//! Keeps one browser's view right: the whole picture first, then again
//! whenever what it shows has changed.
//!
//! A stream holds no queue. When it is woken it renders the state of now and
//! sends the parts that differ from what it sent last, at once after some quiet and
//! about ten times a second when there is none; a slow reader skips what lies between. So a stream that is opened
//! again, at any gateway and at any time, shows the truth.
//!
//! [`show`] keeps one view right; [`show_windows`] does so for several windows of
//! one browser over one connection, because a browser opens six to a site and
//! each window that is looked at needs a stream. Each view there is as alone as
//! on a connection of its own: it has its permit, its triggers and its end.
//!
//! Streams are not compressed (tower-http leaves `text/event-stream` alone):
//! each event leaves at once.

mod pace;
mod permits;
mod triggers;
mod view;
mod windows;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::http::client::ClientAddress;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;

use self::view::StreamState;

pub use self::permits::PER_USER;
pub(super) use self::permits::{Most, Streams};
pub use self::triggers::Triggers;
pub use self::view::{Frame, RenderContext};
pub use self::windows::{Render, Scene, Window, show_windows};

/// A comment is sent after this much silence, so that proxies and dead peers
/// show.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

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
    streams: &Streams,
    (caller, from): (&Caller, ClientAddress),
    LastEventId(after): LastEventId,
    mut triggers: Triggers,
    mut render: R,
) -> Result<Response, Problem>
where
    R: FnMut(RenderContext) -> F + Send + 'static,
    F: Future<Output = Result<Frame, Problem>> + Send + 'static,
{
    let permit = streams.permit(&caller.user, from)?;
    triggers.settle();
    let first = render(RenderContext {
        first: true,
        after: after.clone(),
    })
    .await?;
    let mut state = StreamState::new(triggers, render, after, permit);
    state.first = false;
    state.due = None;
    state.ready = Some(first);
    state.painted();
    // What is refused later ends the stream: it is said when it is opened again.
    let events = state
        .news()
        .take_while(|news| std::future::ready(news.is_ok()))
        .flat_map(|news| stream::iter(news.unwrap_or_default()))
        .map(|part| part.event.write_as_axum_sse_event());
    Ok(answer(streams, events))
}

/// An answer that says `events` until the gateway stops.
fn answer(
    streams: &Streams,
    events: impl futures::Stream<Item = Event> + Send + 'static,
) -> Response {
    // Ends at once when the gateway shuts down, in the middle of a wait too.
    let events = events
        .map(Ok::<_, Infallible>)
        .take_until(closed(streams.closing().clone()));
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use axum::body::BodyDataStream;
    use axum::http::StatusCode;
    use datastar::prelude::PatchElements;
    use futures::StreamExt as _;
    use tokio::time::timeout;

    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};

    use tokio::sync::watch;
    use waybill_domain::ids::Username;

    use super::pace::EACH;
    use super::permits::*;
    use super::view::*;
    use super::*;
    use crate::identity::caller::Role;
    use crate::live::LiveState;
    use crate::live::fake::{Fake, STREAMS, STREAMS_PER_ADDRESS};

    const HERE: ClientAddress = ClientAddress::OURSELVES;

    fn alice() -> Caller {
        Caller::new(Username::parse("alice").unwrap(), Role::Customer)
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
        Box::new(move |context: RenderContext| {
            let board = Arc::clone(&board);
            Box::pin(async move {
                board.painted.fetch_add(1, Ordering::SeqCst);
                board.asked_after.lock().unwrap().push(context.after);
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
        live: &LiveState,
        topic: watch::Receiver<u64>,
        board: &Arc<Board>,
        last: LastEventId,
    ) -> Result<BodyDataStream, Problem> {
        let triggers = Triggers::new().on(topic);
        let shown = show(
            live.streams(),
            (&alice(), HERE),
            last,
            triggers,
            render(board),
        )
        .await?;
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
            triggers: Triggers::new().on(topic.subscribe()),
            render: render(board),
        }
    }

    fn open_windows(live: &LiveState, last: Option<&str>, windows: Vec<Window>) -> BodyDataStream {
        let last = LastEventId(last.map(str::to_owned));
        let shown = show_windows(live.streams(), (Some(&alice()), HERE), last, windows);
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
        live: &LiveState,
        topic: &watch::Sender<u64>,
        board: &Arc<Board>,
    ) -> BodyDataStream {
        let opened = open(live, topic.subscribe(), board, LastEventId(None)).await;
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
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = open(&live, topic.subscribe(), &board, LastEventId(None))
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
        live.close().await;
    }

    #[tokio::test]
    async fn a_burst_is_painted_a_few_times_and_its_end_is_seen() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = open(&live, topic.subscribe(), &board, LastEventId(None))
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
        live.close().await;
    }

    #[tokio::test]
    async fn a_painting_that_fails_is_tried_again_without_another_change() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = watching(&live, &topic, &board).await;
        board.failing.store(2, Ordering::SeqCst);
        board.number.store(1, Ordering::SeqCst);
        topic.send_replace(1);
        let shown = heard(&mut stream).await;
        assert!(shown.contains("<p id=\"number\">1</p>"), "{shown}");
        // Nothing changes any more, and nothing is painted.
        let painted = board.painted.load(Ordering::SeqCst);
        assert_eq!(painted, 4);
        assert!(timeout(5 * EACH, stream.next()).await.is_err());
        assert_eq!(board.painted.load(Ordering::SeqCst), painted);
        live.close().await;
    }

    #[tokio::test]
    async fn the_id_of_a_former_connection_reaches_the_view() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let last = LastEventId(Some("5-42".to_owned()));
        let _stream = open(&live, topic.subscribe(), &board, last).await.unwrap();
        assert_eq!(
            *board.asked_after.lock().unwrap(),
            [Some("5-42".to_owned())]
        );
        live.close().await;
    }

    #[tokio::test]
    async fn what_the_view_refuses_is_the_answer() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let render = |_| async { Err(Problem::not_found("there is no such order")) };
        let refused = show(
            live.streams(),
            (&alice(), HERE),
            LastEventId(None),
            Triggers::new(),
            render,
        )
        .await;
        assert_eq!(refused.unwrap_err().status, StatusCode::NOT_FOUND);
        live.close().await;
    }

    #[tokio::test]
    async fn streams_end_at_once_when_the_gateway_stops() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut stream = watching(&live, &topic, &board).await;
        live.closing().cancel();
        let ended = timeout(Duration::from_millis(500), stream.next()).await;
        assert!(ended.expect("no waiting").is_none());
        live.close().await;
    }

    #[tokio::test]
    async fn all_together_are_bounded_and_whoever_comes_then_comes_again() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let mut permits = Vec::new();
        for n in 0..STREAMS {
            let user = Username::parse(&format!("user{n}")).unwrap();
            permits.push(live.streams().permit(&user, HERE).unwrap());
        }
        let late = Username::parse("late").unwrap();
        let refused = live.streams().permit(&late, HERE).err().unwrap();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        let answer = refused.into_response();
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        permits.pop();
        assert!(live.streams().permit(&late, HERE).is_ok());
        live.close().await;
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_permit() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let at = |text: &str| ClientAddress::told(text.parse().unwrap());
        let permit = |n: usize, from: &str| {
            let user = Username::parse(&format!("user{n}")).unwrap();
            live.streams().permit(&user, at(from))
        };
        let mut permits: Vec<_> = (0..STREAMS_PER_ADDRESS)
            .map(|n| permit(n, "2001:db8::1").unwrap())
            .collect();
        // Another address of the same network is the same caller.
        let refused = permit(0, "2001:db8::2").err().unwrap();
        assert_eq!(refused.kind(), "too_many_streams");
        let answer = refused.into_response();
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        assert!(permit(0, "192.0.2.1").is_ok());
        permits.pop();
        assert!(permit(0, "2001:db8::2").is_ok());
        live.close().await;
    }

    #[tokio::test]
    async fn one_user_cannot_take_every_permit() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut streams = Vec::new();
        for _ in 0..PER_USER {
            streams.push(
                open(&live, topic.subscribe(), &board, LastEventId(None))
                    .await
                    .unwrap(),
            );
        }
        let refused = open(&live, topic.subscribe(), &board, LastEventId(None)).await;
        assert_eq!(refused.err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        streams.pop();
        assert!(
            open(&live, topic.subscribe(), &board, LastEventId(None))
                .await
                .is_ok()
        );
        live.close().await;
    }

    #[tokio::test]
    async fn each_window_has_its_own_view() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let topics = [watch::Sender::new(0), watch::Sender::new(0)];
        let boards = [Arc::<Board>::default(), Arc::<Board>::default()];
        boards[1].number.store(100, Ordering::SeqCst);
        let windows = vec![
            window("a", Ok(board_of(&topics[0], &boards[0]))),
            window("b", Ok(board_of(&topics[1], &boards[1]))),
            window("c", Err(Problem::not_found("there is no such page"))),
        ];
        let mut stream = open_windows(&live, None, windows);
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
        live.closing().cancel();
        let ended = timeout(Duration::from_millis(500), stream.next()).await;
        assert!(ended.expect("no waiting").is_none());
        live.close().await;
    }

    #[tokio::test]
    async fn a_window_that_comes_back_is_sent_what_it_lacks() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let mut first = window("a", Ok(board_of(&topic, &board)));
        let mut stream = open_windows(&live, None, vec![first]);
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
        let mut stream = open_windows(&live, None, vec![first]);
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
        let mut stream = open_windows(&live, Some("windows,a:7-5,x:1-1"), vec![first]);
        let events = heard_until(&mut stream, &["<p id=\"number\">5"]).await;
        assert_eq!(events.len(), 3, "{events:?}");
        let asked = board.asked_after.lock().unwrap().last().cloned();
        assert_eq!(asked.flatten().as_deref(), Some("7-5"));
        live.close().await;
    }

    #[tokio::test]
    async fn a_window_without_a_seat_does_not_end_the_others() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let windows: Vec<_> = (0..=PER_USER)
            .map(|number| window(&number.to_string(), Ok(board_of(&topic, &board))))
            .collect();
        let mut stream = open_windows(&live, None, windows);
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
            open(&live, topic.subscribe(), &board, LastEventId(None))
                .await
                .is_ok()
        );
        live.close().await;
    }

    #[tokio::test]
    async fn nobody_sees_nothing() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        let windows = vec![window("a", Ok(board_of(&topic, &board)))];
        let shown = show_windows(live.streams(), (None, HERE), LastEventId(None), windows);
        let mut stream = shown.into_body().into_data_stream();
        heard_until(&mut stream, &["window a", "sign in"]).await;
        assert_eq!(board.painted.load(Ordering::SeqCst), 0);
        // It is not asked for again and again.
        assert!(timeout(5 * EACH, stream.next()).await.is_err());
        live.close().await;
    }

    #[tokio::test]
    async fn a_first_painting_that_fails_is_tried_again() {
        let fake = Fake::start().await;
        let (_folder, _db, live) = fake.live().await;
        let (topic, board) = (watch::Sender::new(0), Arc::<Board>::default());
        board.failing.store(2, Ordering::SeqCst);
        let mut stream = open_windows(&live, None, vec![window("a", Ok(board_of(&topic, &board)))]);
        heard_until(&mut stream, &["<p id=\"number\">0"]).await;
        assert_eq!(board.painted.load(Ordering::SeqCst), 3);
        live.close().await;
    }
}
