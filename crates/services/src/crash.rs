//! Dying, or holding still, exactly before or after a chosen durable step.
//!
//! Every durable step of every handler leaves this process as one message of
//! Restate's service protocol (a run and its result, a call, a send, a promise,
//! a timer, a state read or write, the output). [`Answered`] sits between the
//! SDK and the connection, counts those messages, and stops before the chosen
//! one is sent or after it is: nothing in the handlers knows of it, and a new
//! step is covered the moment it exists. [`Asked`] listens to the other
//! direction, where Restate tells which invocation this is and replays what it
//! has done already, so that a step has the same name however often the
//! invocation was suspended, retried or moved.
//!
//! For the demo and for tests: unless `ALLOW_CRASH` is set nothing is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use prost::Message as _;
use serde::Serialize;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::protocol::{END, INPUT, Messages, OUTPUT, ProtocolPart, RUN_RESULT, START};

/// What was sent before the chosen step reaches Restate within this.
const FLUSH: Duration = Duration::from_millis(50);

/// On which side of the step to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Restate has not heard of the step.
    Before,
    /// Restate has heard of the step; we do not hear what comes of it.
    After,
}

/// What to do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// End the process.
    Die,
    /// Say nothing more of that invocation until [`Crash::release`].
    Hold,
}

/// A step that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenStep {
    /// `UserSession/Checkout#1:7`: the seventh command of the first invocation
    /// of that handler since [`Crash::forget`], or its result (`#1:7.result`).
    pub id: String,
    /// E.g. `run provider.capture`, `call Inventory/Reserve`, `set basket`.
    pub what: String,
}

/// Where to stop: `UserSession/Checkout#1:7:before`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    step: String,
    side: Side,
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (step, side) = text.rsplit_once(':')?;
            let (handler, number) = step.rsplit_once('#')?;
            let (invocation, command) = number.split_once(':')?;
            let command = command.split('.').next()?;
            handler.split_once('/')?;
            invocation.parse::<u32>().ok()?;
            command.parse::<u32>().ok()?;
            Some(Self {
                step: step.to_owned(),
                side: match side {
                    "before" => Side::Before,
                    "after" => Side::After,
                    _ => return None,
                },
            })
        };
        read().ok_or("write it as UserSession/Checkout#1:7:before (or :after)")
    }
}

/// The plan and what was seen. Cheap to clone; `None` watches nothing.
#[derive(Debug, Clone, Default)]
pub struct Crash(Option<Arc<Mutex<Plan>>>);

#[derive(Debug, Default)]
struct Plan {
    at: Option<(At, Stop)>,
    /// Set while an invocation is held; cancelled to let it go on.
    held: Option<CancellationToken>,
    /// By handler: the ids of its invocations, in the order they came.
    invocations: BTreeMap<String, Vec<String>>,
    known: BTreeSet<String>,
    seen: Vec<SeenStep>,
}

impl Crash {
    /// Watches when `allowed`.
    pub fn allowed(allowed: bool) -> Self {
        Self(allowed.then(Arc::default))
    }

    /// Forgets what was seen and what was planned, lets go of what is held, and
    /// counts anew.
    pub fn forget(&self) {
        self.release();
        if let Some(mut plan) = self.plan() {
            *plan = Plan::default();
        }
    }

    /// Plans to stop there, counted from now.
    pub fn plan_at(&self, at: At, stop: Stop) {
        self.forget();
        if let Some(mut plan) = self.plan() {
            plan.at = Some((at, stop));
        }
    }

    /// Whether an invocation is held at the chosen step.
    pub fn is_holding(&self) -> bool {
        self.plan().is_some_and(|plan| plan.held.is_some())
    }

    /// Lets the held invocation go on.
    pub fn release(&self) {
        if let Some(held) = self.plan().and_then(|mut plan| plan.held.take()) {
            held.cancel();
        }
    }

    /// Every step since the last [`forget`](Self::forget), in the order sent.
    pub fn seen(&self) -> Vec<SeenStep> {
        self.plan()
            .map(|plan| plan.seen.clone())
            .unwrap_or_default()
    }

    /// Watches one try of an invocation: what Restate says, and what we answer.
    /// `path` is the request's.
    pub fn watch(&self, path: &str) -> Watch {
        let invocation = self
            .0
            .as_ref()
            .and_then(|_| path.split_once("/invoke/"))
            .map(|(_, handler)| {
                Arc::new(Mutex::new(Invocation {
                    crash: self.clone(),
                    handler: handler.to_owned(),
                    number: 0,
                    commands: 0,
                    last_run: String::new(),
                }))
            });
        Watch(invocation)
    }

    fn plan(&self) -> Option<MutexGuard<'_, Plan>> {
        self.0.as_ref().map(lock)
    }
}

fn lock<T>(mutex: &Arc<Mutex<T>>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One try of an invocation.
#[derive(Debug, Clone)]
pub struct Watch(Option<Arc<Mutex<Invocation>>>);

#[derive(Debug)]
struct Invocation {
    crash: Crash,
    handler: String,
    /// Which invocation of the handler.
    number: usize,
    /// Commands so far, those of earlier tries included.
    commands: u32,
    /// What the last `run` is called.
    last_run: String,
}

impl Watch {
    /// Listens to what Restate says.
    pub fn asked<B>(&self, body: B) -> Asked<B> {
        Asked {
            body,
            invocation: self.0.clone(),
            messages: Messages::default(),
        }
    }

    /// Watches what we answer.
    pub fn answered<B>(&self, body: B) -> Answered<B> {
        Answered {
            body,
            invocation: self.0.clone(),
            messages: Messages::default(),
            passing: None,
            stopped: None,
        }
    }
}

impl Invocation {
    /// What Restate says: who this is, and what it has done already.
    fn heard(&mut self, kind: u16, payload: &[u8]) {
        match kind {
            START => {
                let id = Start::decode(payload).unwrap_or_default().debug_id;
                self.number = self.number_of(id);
            }
            INPUT => {}
            0x0401..=0x07FF => {
                self.commands += 1;
                self.last_run = Named::decode(payload).unwrap_or_default().name;
            }
            _ => {}
        }
    }

    fn number_of(&self, id: String) -> usize {
        let Some(mut plan) = self.crash.plan() else {
            return 0;
        };
        let known = plan.invocations.entry(self.handler.clone()).or_default();
        let at = known.iter().position(|other| *other == id);
        at.unwrap_or_else(|| {
            known.push(id);
            known.len() - 1
        }) + 1
    }

    /// The id of the step that a message of this kind takes, if it takes one.
    fn step(&mut self, kind: u16) -> Option<String> {
        let suffix = match kind {
            RUN_RESULT => ".result",
            END => ".end",
            0x0401..=0x07FF => {
                self.commands += 1;
                ""
            }
            _ => return None,
        };
        let Self {
            handler,
            number,
            commands,
            ..
        } = self;
        Some(format!("{handler}#{number}:{commands}{suffix}"))
    }

    /// What to do at a step, if anything was planned for it. Once only.
    fn planned(&self, step: &str) -> Option<(Side, Stop)> {
        let mut plan = self.crash.plan()?;
        let (at, then) = plan.at.take_if(|(at, _)| at.step == step)?;
        Some((at.side, then))
    }

    fn note(&mut self, id: String, kind: u16, payload: &[u8]) {
        let what = self.what(kind, payload);
        if let Some(mut plan) = self.crash.plan()
            && plan.known.insert(id.clone())
        {
            plan.seen.push(SeenStep { id, what });
        }
    }

    /// A step in words.
    fn what(&mut self, kind: u16, payload: &[u8]) -> String {
        let named = Named::decode(payload).unwrap_or_default();
        let first = String::from_utf8_lossy(&named.first);
        // `checkout:exec:alice.1` is one of many of its kind.
        let key: Vec<_> = first
            .split(':')
            .take_while(|word| !word.contains('.'))
            .collect();
        let key = key.join(":");
        match kind {
            END => "end".to_owned(),
            RUN_RESULT => format!("result of {}", self.last_run),
            OUTPUT => "output".to_owned(),
            0x0402 | 0x0407 => format!("get {key}"),
            0x0403 => format!("set {key}"),
            0x0404 | 0x0405 => format!("clear {key}"),
            0x0409 | 0x040A => format!("promise {key}"),
            0x040B => format!("resolve {key}"),
            0x040C => "sleep".to_owned(),
            0x040D | 0x040E => {
                let verb = if kind == 0x040D { "call" } else { "send" };
                format!("{verb} {first}/{}", String::from_utf8_lossy(&named.second))
            }
            0x0410 => "signal".to_owned(),
            0x0411 => {
                self.last_run = named.name;
                format!("run {}", self.last_run)
            }
            0x0412 => "attach".to_owned(),
            0x0414 => "complete awakeable".to_owned(),
            other => format!("command {other:#06x}"),
        }
    }
}

/// `StartMessage`, as far as it is of interest.
#[derive(Clone, PartialEq, prost::Message)]
struct Start {
    #[prost(string, tag = "2")]
    debug_id: String,
}

/// What commands have in common: a key, or a service and its handler; a name.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(bytes = "vec", tag = "1")]
    first: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    second: Vec<u8>,
    #[prost(string, tag = "12")]
    name: String,
}

/// What Restate says of an invocation, on its way to the SDK.
#[derive(Debug)]
pub struct Asked<B> {
    body: B,
    invocation: Option<Arc<Mutex<Invocation>>>,
    messages: Messages,
}

impl<B> Body for Asked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(invocation) = &this.invocation
            && let Some(Ok(frame)) = &polled
            && let Some(piece) = frame.data_ref()
        {
            let mut at = 0;
            while let Some(part) = this.messages.next(piece, &mut at) {
                if let ProtocolPart::Whole(kind, payload, _) = part {
                    lock(invocation).heard(kind, &payload);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The answer to an invocation, on its way to Restate.
#[derive(Debug)]
pub struct Answered<B> {
    body: B,
    invocation: Option<Arc<Mutex<Invocation>>>,
    messages: Messages,
    /// The step whose message is passing, and whether to stop after it.
    passing: Option<(String, Option<Stop>)>,
    stopped: Option<Stopped>,
}

/// What is kept back, and what it waits for.
#[derive(Debug)]
struct Stopped {
    rest: Bytes,
    /// `None`: the process dies.
    until: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<B> Answered<B> {
    /// Reads a piece; answers how much of it may be sent when the chosen step
    /// is in it, and what to do then.
    fn read(&mut self, piece: &[u8]) -> Option<(usize, Stop)> {
        let mut invocation = lock(self.invocation.as_ref()?);
        let mut found = None;
        let mut at = 0;
        while let Some(part) = self.messages.next(piece, &mut at) {
            match part {
                ProtocolPart::Header(kind, begins) => {
                    self.passing = invocation.step(kind).map(|id| {
                        let stop_after = match invocation.planned(&id) {
                            Some((Side::Before, stop)) => {
                                found = Some((begins, stop));
                                None
                            }
                            Some((Side::After, stop)) => Some(stop),
                            None => None,
                        };
                        (id, stop_after)
                    });
                }
                ProtocolPart::Whole(kind, payload, ends) => {
                    if let Some((id, stop_after)) = self.passing.take() {
                        invocation.note(id, kind, &payload);
                        found = found.or(stop_after.map(|stop| (ends, stop)));
                    }
                }
            }
        }
        found
    }

    /// Stops, and keeps the rest of the piece back.
    fn stop(&mut self, rest: Bytes, stop: Stop) {
        let until = match stop {
            Stop::Die => {
                die_soon();
                None
            }
            Stop::Hold => self.invocation.as_ref().and_then(|invocation| {
                let held = CancellationToken::new();
                lock(invocation).crash.plan()?.held = Some(held.clone());
                Some(Box::pin(held.cancelled_owned()))
            }),
        };
        self.stopped = Some(Stopped { rest, until });
    }
}

impl<B> Body for Answered<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(stopped) = &mut this.stopped {
            let Some(until) = &mut stopped.until else {
                return Poll::Pending;
            };
            ready!(until.as_mut().poll(cx));
            let rest = std::mem::take(&mut stopped.rest);
            this.stopped = None;
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let Some(Ok(frame)) = polled else {
            return Poll::Ready(polled);
        };
        let piece = match frame.into_data() {
            Ok(piece) => piece,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let Some((sent, stop)) = this.read(&piece) else {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        };
        this.stop(piece.slice(sent..), stop);
        Poll::Ready(Some(Ok(Frame::data(piece.slice(..sent)))))
    }

    fn is_end_stream(&self) -> bool {
        self.stopped.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.stopped.is_some() {
            return SizeHint::default();
        }
        self.body.size_hint()
    }
}

/// From a thread: the runtime must stay free to send what was sent before.
fn die_soon() {
    std::thread::spawn(|| {
        std::thread::sleep(FLUSH);
        tracing::error!("crashing at the chosen step");
        std::process::abort();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn named(first: &str, name: &str) -> Vec<u8> {
        Named {
            first: first.into(),
            second: Vec::new(),
            name: name.to_owned(),
        }
        .encode_to_vec()
    }

    /// What Restate says of invocation `id`, which has done `done` already.
    fn question(id: &str, done: &[Vec<u8>]) -> Vec<u8> {
        let start = Start {
            debug_id: id.to_owned(),
        };
        let mut question = message(START, &start.encode_to_vec());
        question.extend(message(INPUT, b"input"));
        question.extend(done.concat());
        question
    }

    fn answer() -> [Vec<u8>; 4] {
        [
            message(0x0411, &named("", "now")),
            message(RUN_RESULT, b"12:00"),
            message(0x0006, b"not durable"),
            message(0x0403, &named("checkout:exec:alice.1", "")),
        ]
    }

    fn body(
        bytes: &[u8],
        piece: usize,
    ) -> impl Body<Data = Bytes, Error = std::convert::Infallible> {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        http_body_util::StreamBody::new(futures::stream::iter(pieces))
    }

    /// Everything that comes before the body ends or stops.
    fn read_on(body: &mut (impl Body<Data = Bytes> + Unpin)) -> Vec<u8> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut read = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut cx) {
            read.extend(frame.into_data().unwrap());
        }
        read
    }

    /// How much of the answer to invocation `id` is sent.
    fn sent(crash: &Crash, id: &str, piece: usize) -> Vec<u8> {
        let watch = crash.watch("/invoke/UserSession/AddItem");
        read_on(&mut watch.asked(body(&question(id, &[]), piece)));
        read_on(&mut watch.answered(body(&answer().concat(), piece)))
    }

    fn seen(crash: &Crash) -> Vec<(String, String)> {
        let seen = crash.seen().into_iter();
        seen.map(|step| (step.id, step.what)).collect()
    }

    #[test]
    fn steps_are_counted_whatever_the_pieces() {
        let whole = answer().concat();
        for piece in 1..=whole.len() {
            let crash = Crash::allowed(true);
            assert_eq!(sent(&crash, "inv_1", piece), whole);
            let expected = [
                ("UserSession/AddItem#1:1", "run now"),
                ("UserSession/AddItem#1:1.result", "result of now"),
                ("UserSession/AddItem#1:2", "set checkout:exec"),
            ]
            .map(|(id, what)| (id.to_owned(), what.to_owned()));
            assert_eq!(seen(&crash), expected);
        }
    }

    #[test]
    fn a_step_has_the_same_name_in_the_next_try() {
        let crash = Crash::allowed(true);
        let [run, result, _, set] = answer();
        sent(&crash, "inv_1", 64);
        let before = seen(&crash);
        let watch = crash.watch("/invoke/UserSession/AddItem");
        read_on(&mut watch.asked(body(&question("inv_1", &[run]), 7)));
        read_on(&mut watch.answered(body(&[result, set].concat(), 7)));
        assert_eq!(seen(&crash), before);
    }

    #[test]
    fn before_keeps_the_step_back_and_after_lets_it_out() {
        let whole = answer().concat();
        let first = answer()[0].len();
        let last = whole.len() - answer()[3].len();
        for (at, length) in [
            ("UserSession/AddItem#1:1:before", 0),
            ("UserSession/AddItem#1:1:after", first),
            ("UserSession/AddItem#1:2:before", last),
            ("UserSession/AddItem#1:2:after", whole.len()),
        ] {
            let crash = Crash::allowed(true);
            crash.plan_at(at.parse().unwrap(), Stop::Hold);
            let watch = crash.watch("/invoke/UserSession/AddItem");
            read_on(&mut watch.asked(body(&question("inv_1", &[]), 64)));
            let mut answered = watch.answered(body(&whole, whole.len()));
            assert_eq!(read_on(&mut answered).len(), length, "{at}");
            assert!(crash.is_holding(), "{at}");
            crash.release();
            assert!(!crash.is_holding(), "{at}");
            assert_eq!(read_on(&mut answered), whole[length..], "{at}");
        }
    }

    #[test]
    fn only_the_chosen_invocation_stops_and_once_only() {
        let crash = Crash::allowed(true);
        crash.plan_at(
            "UserSession/AddItem#2:1:before".parse().unwrap(),
            Stop::Hold,
        );
        let whole = answer().concat();
        assert_eq!(sent(&crash, "inv_1", 5), whole);
        assert!(sent(&crash, "inv_2", 64).is_empty());
        assert_eq!(sent(&crash, "inv_2", 64), whole);
    }

    #[test]
    fn nothing_is_watched_unless_allowed() {
        let crash = Crash::allowed(false);
        assert_eq!(sent(&crash, "inv_1", 5), answer().concat());
        assert!(crash.seen().is_empty());
        assert!("UserSession/AddItem:1".parse::<At>().is_err());
        assert!("UserSession/AddItem#1:1.result:after".parse::<At>().is_ok());
    }
}
