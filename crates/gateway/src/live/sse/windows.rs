//! Several windows of one browser over one connection.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::Event;
use datastar::DatastarEvent;
use datastar::consts::EventType;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::permits::Streams;
use super::triggers::Triggers;
use super::view::{Frame, LONGEST_LIFE, Part, RenderContext, StreamState, hash};
use super::{LastEventId, answer};
use crate::http::client::ClientAddress;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;

/// A connection ends this long after a window of it was refused for now.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// What paints a view.
pub type Render =
    Box<dyn FnMut(RenderContext) -> BoxFuture<'static, Result<Frame, Problem>> + Send>;

/// A view, ready to be shown.
pub struct Scene {
    /// What wakes it.
    pub triggers: Triggers,
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
    /// What it is told when it may not see that.
    pub refuse: Box<dyn Fn(&Problem) -> DatastarEvent + Send>,
}

/// Opens a stream that keeps several windows right: the events of [`super::show`] for
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
    streams: &Streams,
    (caller, from): (Option<&Caller>, ClientAddress),
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
        shown.push(of_window(streams, (caller, from), window, &refused));
    }
    let events = stream::select_all(shown).map(move |event| {
        if let Some(cursor) = &event.cursor {
            cursors.insert(event.window.to_string(), cursor.clone());
        }
        event.into_sse(&cursors)
    });
    // The client opens it again then, and asks for all of them anew.
    let ends_soon = async move {
        refused.notified().await;
        tokio::time::sleep(REFUSED_AGAIN).await;
    };
    answer(streams, events.take_until(Box::pin(ends_soon)))
}

/// `windows,a:7-1,b:8-2`.
fn cursors_of(id: &str) -> HashMap<&str, &str> {
    id.split(',')
        .filter_map(|one| one.split_once(':'))
        .collect()
}

/// An event for one window.
struct WindowEvent {
    window: Arc<str>,
    kind: &'static str,
    part: Option<String>,
    cursor: Option<String>,
    lines: Vec<String>,
}

impl WindowEvent {
    fn into_sse(self, cursors: &BTreeMap<String, String>) -> Event {
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
    streams: &Streams,
    (caller, from): (Option<&Caller>, ClientAddress),
    window: Window,
    refused: &Arc<Notify>,
) -> BoxStream<'static, WindowEvent> {
    let refused = Arc::clone(refused);
    let Window {
        id,
        after,
        has,
        scene,
        refuse,
    } = window;
    let id: Arc<str> = id.into();
    let allowed = match (scene, caller) {
        (Ok(scene), Some(caller)) => streams
            .permit(&caller.user, from)
            .map(|permit| (scene, permit)),
        (Ok(_), None) => Err(Problem::unauthenticated("sign in at /login")),
        (Err(problem), _) => Err(problem),
    };
    let news = match allowed {
        Ok((Scene { triggers, render }, permit)) => {
            let mut state = StreamState::new(triggers, render, after, permit);
            state.sent.clone_from(&has);
            state.news().boxed()
        }
        // Its end would be that of the connection, which the others need.
        Err(problem) => stream::iter([Err(problem)]).boxed(),
    };
    let ends_at = Instant::now() + LONGEST_LIFE;
    let rest = stream::once(sleep_until(ends_at)).filter_map(|()| std::future::ready(None));
    let opened = WindowEvent {
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
        stream::iter(parts).map(move |part| WindowEvent {
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
