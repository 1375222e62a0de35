//! Dying on purpose, exactly before or after a chosen durable step.
//!
//! Every durable step of every handler leaves this process as one message of
//! Restate's service protocol (a run and its result, a call, a send, a promise,
//! a timer, a state read or write, the output). [`Watched`] sits between the
//! SDK and the connection, counts those messages, and ends the process before
//! the chosen one is sent or after it is: nothing in the handlers knows of it,
//! and a new step is covered the moment it exists.
//!
//! For the demo and for tests: unless `ALLOW_CRASH` is set nothing is watched.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;

/// What was sent before the chosen step reaches Restate within this.
const FLUSH: Duration = Duration::from_millis(50);
/// Type, flags and length stand before each message.
const HEADER: usize = 8;

/// On which side of the step to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Restate never hears of the step.
    Before,
    /// Restate has heard of the step; we do not hear what comes of it.
    After,
}

/// One durable step: the `number`th message of the `invocation`th invocation
/// of a handler, counted from 1 since the last [`Crash::forget`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct StepId {
    /// E.g. `UserSession/Checkout`.
    pub handler: String,
    /// Which invocation of it.
    pub invocation: u32,
    /// Which message of that.
    pub number: u32,
}

/// `UserSession/Checkout#1:7`
impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}:{}", self.handler, self.invocation, self.number)
    }
}

/// A step that was seen, and what it was.
#[derive(Debug, Clone, Serialize)]
pub struct SeenStep {
    /// [`StepId`] as text: what [`At`] reads.
    pub id: String,
    /// E.g. `run`, `call`, `set_state`.
    pub kind: &'static str,
}

/// Where to die: `UserSession/Checkout#1:7:before`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    step: StepId,
    side: Side,
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (rest, side) = text.rsplit_once(':')?;
            let (rest, number) = rest.rsplit_once(':')?;
            let (handler, invocation) = rest.rsplit_once('#')?;
            Some(Self {
                step: StepId {
                    handler: handler.to_owned(),
                    invocation: invocation.parse().ok()?,
                    number: number.parse().ok()?,
                },
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
    at: Option<At>,
    invocations: BTreeMap<String, u32>,
    seen: Vec<SeenStep>,
}

impl Crash {
    /// Watches when `allowed`.
    pub fn allowed(allowed: bool) -> Self {
        Self(allowed.then(Arc::default))
    }

    /// Forgets what was seen and what was planned, and counts anew.
    pub fn forget(&self) {
        if let Some(mut plan) = self.plan() {
            *plan = Plan::default();
        }
    }

    /// Plans to die there, counted from now.
    pub fn plan_at(&self, at: At) {
        self.forget();
        if let Some(mut plan) = self.plan() {
            plan.at = Some(at);
        }
    }

    /// Every step since the last [`forget`](Self::forget), in the order sent.
    pub fn seen(&self) -> Vec<SeenStep> {
        self.plan()
            .map(|plan| plan.seen.clone())
            .unwrap_or_default()
    }

    /// Watches the answer to an invocation; `path` is the request's.
    pub fn watch<B>(&self, path: &str, body: B) -> Watched<B> {
        Watched {
            body,
            messages: self.invocation(path),
            doomed: false,
        }
    }

    fn invocation(&self, path: &str) -> Option<Messages> {
        let mut plan = self.plan()?;
        let (_, handler) = path.split_once("/invoke/")?;
        let invocation = plan.invocations.entry(handler.to_owned()).or_default();
        *invocation += 1;
        Some(Messages {
            crash: self.clone(),
            handler: handler.to_owned(),
            invocation: *invocation,
            count: 0,
            header: Vec::with_capacity(HEADER),
            payload_left: 0,
            dies_after_this: false,
        })
    }

    fn plan(&self) -> Option<MutexGuard<'_, Plan>> {
        let plan = self.0.as_ref()?;
        Some(plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a step; answers on which side of it to die, if so planned.
    fn step(&self, id: &StepId, kind: &'static str) -> Option<Side> {
        let mut plan = self.plan()?;
        plan.seen.push(SeenStep {
            id: id.to_string(),
            kind,
        });
        let at = plan.at.as_ref()?;
        (at.step == *id).then_some(at.side)
    }
}

/// The answer to an invocation, on its way to Restate.
#[derive(Debug)]
pub struct Watched<B> {
    body: B,
    messages: Option<Messages>,
    doomed: bool,
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.doomed {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled;
        };
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let bytes = match frame.into_data() {
            Ok(bytes) => bytes,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let Some(last) = messages.read(&bytes) else {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        };
        self.doomed = true;
        die_soon();
        Poll::Ready(Some(Ok(Frame::data(bytes.slice(..last)))))
    }

    fn is_end_stream(&self) -> bool {
        !self.doomed && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
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

/// The messages of one answer, as they pass in pieces of any size.
#[derive(Debug)]
struct Messages {
    crash: Crash,
    handler: String,
    invocation: u32,
    count: u32,
    header: Vec<u8>,
    payload_left: usize,
    dies_after_this: bool,
}

impl Messages {
    /// Reads on; answers how many of `bytes` may still be sent when the chosen
    /// step is among them.
    fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let skipped = self.payload_left.min(bytes.len() - at);
            at += skipped;
            self.payload_left -= skipped;
            if self.payload_left == 0 && self.dies_after_this {
                return Some(at);
            }
            if at == bytes.len() {
                return None;
            }
            let starts_at = at;
            let missing = (HEADER - self.header.len()).min(bytes.len() - at);
            self.header.extend_from_slice(&bytes[at..at + missing]);
            at += missing;
            if self.header.len() < HEADER {
                return None;
            }
            let kind = u16::from_be_bytes([self.header[0], self.header[1]]);
            let length: [u8; 4] = self.header[4..].try_into().unwrap_or_default();
            self.header.clear();
            self.payload_left = u32::from_be_bytes(length) as usize;
            if let Some(kind) = durable(kind) {
                self.count += 1;
                let id = StepId {
                    handler: self.handler.clone(),
                    invocation: self.invocation,
                    number: self.count,
                };
                match self.crash.step(&id, kind) {
                    Some(Side::Before) => return Some(starts_at),
                    Some(Side::After) => self.dies_after_this = true,
                    None => {}
                }
            }
        }
    }
}

/// The name of a message that makes something durable; others (suspensions,
/// acknowledgements) are no steps.
fn durable(message: u16) -> Option<&'static str> {
    Some(match message {
        0x0003 => "end",
        0x0005 => "run_result",
        0x0401 => "output",
        0x0402 | 0x0407 => "get_state",
        0x0403 => "set_state",
        0x0404 | 0x0405 => "clear_state",
        0x0409 | 0x040A => "get_promise",
        0x040B => "complete_promise",
        0x040C => "sleep",
        0x040D => "call",
        0x040E => "send",
        0x0410 => "signal",
        0x0411 => "run",
        0x0412 => "attach",
        0x0414 => "complete_awakeable",
        0x0400..=0x07FF => "other",
        _ => return None,
    })
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

    fn answer() -> Vec<u8> {
        [
            message(0x0411, b"now"),
            message(0x0005, b"12:00"),
            message(0x0006, b"not durable"),
            message(0x0403, b"basket"),
        ]
        .concat()
    }

    /// How much of the answer is sent, in pieces of `piece` bytes.
    fn sent(crash: &Crash, piece: usize) -> Vec<u8> {
        let mut messages = crash.invocation("/invoke/UserSession/AddItem").unwrap();
        let mut sent = Vec::new();
        for piece in answer().chunks(piece) {
            match messages.read(piece) {
                None => sent.extend(piece),
                Some(last) => {
                    sent.extend(&piece[..last]);
                    return sent;
                }
            }
        }
        sent
    }

    #[test]
    fn steps_are_counted_whatever_the_pieces() {
        for piece in 1..=answer().len() {
            let crash = Crash::allowed(true);
            assert_eq!(sent(&crash, piece), answer());
            let seen: Vec<_> = crash
                .seen()
                .into_iter()
                .map(|step| (step.id, step.kind))
                .collect();
            assert_eq!(
                seen,
                [
                    ("UserSession/AddItem#1:1".to_owned(), "run"),
                    ("UserSession/AddItem#1:2".to_owned(), "run_result"),
                    ("UserSession/AddItem#1:3".to_owned(), "set_state"),
                ]
            );
        }
    }

    #[test]
    fn before_keeps_the_step_back_and_after_lets_it_out() {
        let whole = answer();
        let (first, last) = (11, whole.len() - 14);
        for (at, length) in [
            ("UserSession/AddItem#1:1:before", 0),
            ("UserSession/AddItem#1:1:after", first),
            ("UserSession/AddItem#1:3:before", last),
            ("UserSession/AddItem#1:3:after", whole.len()),
        ] {
            let crash = Crash::allowed(true);
            crash.plan_at(at.parse().unwrap());
            assert_eq!(sent(&crash, whole.len()).len(), length, "{at}");
        }
    }

    #[test]
    fn only_the_chosen_invocation_dies() {
        let crash = Crash::allowed(true);
        crash.plan_at("UserSession/AddItem#2:1:before".parse().unwrap());
        assert_eq!(sent(&crash, 5), answer());
        assert!(sent(&crash, 64).is_empty());
    }

    #[test]
    fn nothing_is_watched_unless_allowed() {
        let crash = Crash::allowed(false);
        assert!(crash.invocation("/invoke/UserSession/AddItem").is_none());
        assert!("UserSession/AddItem:1".parse::<At>().is_err());
    }
}
