//! The accept loop of every HTTP listener of ours, with the time limits that
//! hyper and axum leave to their users.
//!
//! | what | may take | then |
//! | --- | --- | --- |
//! | the head of a request | [`Limits::head`] from its first byte | the connection is closed |
//! | its whole body | [`Limits::body`] from its head | reading it fails with [`SlowBody`], which a handler answers with 408 |
//! | nothing at all | [`Limits::idle`] | the connection is closed |
//! | a caller that does not read | [`Limits::unread`] without a byte taken | the connection is closed |
//!
//! (Over HTTP/2 that is seen of the connection as a whole: a caller that answers
//! pings and grants a stream no window keeps what it does not read.)
//!
//! No limit counts from one byte to the next: what drips ends as what stands
//! still does. An answer may last as long as it likes, so streams stay open. How many
//! connections there may be is in [`Caps`].

mod connections;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};

use self::connections::Connections;
pub use self::connections::{Caps, caller_of};

/// After an accept error, e.g. too many open files: it passes when a connection
/// ends, and asking again at once would take a whole processor until then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// A silent HTTP/2 peer is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long it may take to answer that.
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// An HTTP/2 peer is told before its idle connection is closed: a request that
/// it has sent meanwhile is still answered.
const GOODBYE: Duration = Duration::from_secs(2);
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a caller may keep us waiting.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// For its whole body, from the end of its head; `None` where bodies are
    /// conversations.
    pub body: Option<Duration>,
    /// Between two requests, and before the first.
    pub idle: Duration,
    /// Without taking a byte of what is written to it.
    pub unread: Duration,
}

impl Limits {
    /// For callers whom nobody knows. A head is a few hundred bytes and a body at
    /// most 64 KiB: even over a bad line both take a second. Browsers and proxies
    /// use a connection again within a minute or open a new one. Who takes
    /// nothing for half a minute is gone, or wants to hold our memory.
    pub const STRANGERS: Self = Self {
        head: Duration::from_secs(10),
        body: Some(Duration::from_secs(15)),
        idle: Duration::from_mins(1),
        unread: Duration::from_secs(30),
    };

    /// The same, but a body may last as long as its request: Restate's
    /// invocations are conversations.
    #[must_use]
    pub const fn with_lasting_bodies(mut self) -> Self {
        self.body = None;
        self
    }
}

/// The other end of a connection: an extension of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) on a listener.
#[derive(Debug, Clone)]
pub struct Server {
    limits: Limits,
    caps: Option<Caps>,
    http2_only: bool,
}

impl Server {
    /// A server with these limits.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            caps: None,
            http2_only: false,
        }
    }

    /// The same with no more connections than these.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.caps = Some(caps);
        self
    }

    /// The same for HTTP/2 alone.
    #[must_use]
    pub const fn http2_only(mut self) -> Self {
        self.http2_only = true;
        self
    }

    /// Serves `service` until `stop`, then finishes the requests under way: see
    /// [`Server::serve_each`].
    pub async fn serve<S, B>(&self, listener: TcpListener, service: S, stop: CancellationToken)
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        self.serve_each(listener, stop, move |stream| (stream, service.clone()))
            .await;
    }

    /// Serves what `plug` makes of each accepted connection until `stop`, then
    /// finishes the requests under way, however long they take: whoever calls
    /// says how long it waits. No accept error ends it.
    pub async fn serve_each<I, S, B>(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
        plug: impl Fn(TcpStream) -> (I, S) + Clone + Send + 'static,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let protocols = Arc::new(Protocols::of(self));
        let connections = TaskTracker::new();
        let places = Arc::new(Connections::new(self.caps.clone()));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let line = Arc::new(Line::new());
                    let Some(place) = places.place(peer.ip(), &line) else {
                        tracing::debug!("a connection was turned away: all places are taken");
                        continue;
                    };
                    // Small answers must not wait for the acknowledgement of earlier ones.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY cannot be set");
                    }
                    let (protocols, limits) = (Arc::clone(&protocols), self.limits);
                    let (stop, plug) = (stop.clone(), plug.clone());
                    connections.spawn(async move {
                        let served = async move {
                            let spoken = protocols.spoken_on(&stream, &limits, &stop).await;
                            if let Some(builder) = spoken {
                                let (io, service) = plug(stream);
                                attend(builder, limits, (io, peer, line), service, stop).await;
                            }
                        };
                        tokio::select! {
                            () = served => {}
                            () = place.leave.notified() => {}
                        }
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed: going on");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }
}

/// What is spoken on a connection. Hyper finds that out itself, but reads the first
/// bytes on their own for it, after which the buffer of an HTTP/1.1 connection is
/// twice as large (16 KiB): most of what an open stream holds.
struct Protocols {
    http1: Option<auto::Builder<TokioExecutor>>,
    /// HTTP/2 alone, or whichever it is.
    other: auto::Builder<TokioExecutor>,
}

impl Protocols {
    fn of(server: &Server) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // Ours tells an idle connection from half a head; hyper's does not.
            .header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        if server.http2_only {
            return Self {
                http1: None,
                other: builder.http2_only(),
            };
        }
        Self {
            http1: Some(builder.clone().http1_only()),
            other: builder,
        }
    }

    /// `None` when nothing is said on it.
    async fn spoken_on(
        &self,
        stream: &TcpStream,
        limits: &Limits,
        stop: &CancellationToken,
    ) -> Option<&auto::Builder<TokioExecutor>> {
        let Some(http1) = &self.http1 else {
            return Some(&self.other);
        };
        // `POST` and `PRI` begin alike.
        let mut first = [0; 3];
        let peeked = tokio::select! {
            peeked = timeout(limits.idle, stream.peek(&mut first)) => peeked.ok()?.ok()?,
            () = stop.cancelled() => return None,
        };
        let is_http1 = peeked > 0 && !PREFACE.starts_with(&first[..peeked]);
        Some(if is_http1 { http1 } else { &self.other })
    }
}

/// An error of the connection that would have been accepted, not of ours.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// One connection, to its end.
async fn attend<I, S, B>(
    builder: &auto::Builder<TokioExecutor>,
    limits: Limits,
    (io, peer, line): (I, SocketAddr, Arc<Line>),
    service: S,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let called = Arc::clone(&line);
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = UnderWay::on(&called);
        let mut request = request.map(|body| RequestBody::new(body, limits.body));
        request.extensions_mut().insert(Peer(peer));
        let answer = service.clone().oneshot(request);
        async move {
            let answer = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| AnswerBody {
                body,
                _under_way: under_way,
            }))
        }
    });
    let io = TokioIo::new(Watched {
        io,
        line: Arc::clone(&line),
        unread: limits.unread,
        stalled: None,
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = line.out_of_patience(&limits) => {
                if !line.is_http2() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                if let Ok(ended) = timeout(GOODBYE, connection.as_mut()).await {
                    break ended;
                }
                if line.is_silent() {
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection ended");
    }
}

/// What happens on a connection, as far as patience goes.
#[derive(Debug)]
struct Line {
    state: Mutex<State>,
    /// Told when [`State::phase`] becomes another.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    speaks: Speaks,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// So many bytes of HTTP/2's preface have come, and nothing else.
    Unknown(usize),
    Http1,
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked.
    Idle { since: Instant },
    /// A head has begun (HTTP/1.1, or the preface of HTTP/2).
    Head { since: Instant },
    /// So many requests are under way.
    Busy(usize),
}

impl Line {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                speaks: Speaks::Unknown(0),
                phase: Phase::Idle {
                    since: Instant::now(),
                },
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, mut state: MutexGuard<'_, State>, phase: Phase) {
        state.phase = phase;
        drop(state);
        self.changed.notify_one();
    }

    /// The caller has said something.
    fn heard(&self, bytes: &[u8]) {
        let now = Instant::now();
        let mut state = self.state();
        if let Speaks::Unknown(known) = state.speaks {
            let expected = &PREFACE[known..];
            let compared = expected.len().min(bytes.len());
            state.speaks = if bytes[..compared] != expected[..compared] {
                Speaks::Http1
            } else if compared == expected.len() {
                // Its frames come and go without anything being asked.
                state.speaks = Speaks::Http2;
                return self.enter(state, Phase::Idle { since: now });
            } else {
                Speaks::Unknown(known + compared)
            };
        }
        if state.speaks != Speaks::Http2 && matches!(state.phase, Phase::Idle { .. }) {
            self.enter(state, Phase::Head { since: now });
        }
    }

    /// The caller has taken something. The end of an answer is on its way after
    /// its request has left us.
    fn taken(&self) {
        let mut state = self.state();
        if state.speaks != Speaks::Http2
            && let Phase::Idle { since } = &mut state.phase
        {
            *since = Instant::now();
        }
    }

    fn is_http2(&self) -> bool {
        self.state().speaks == Speaks::Http2
    }

    /// Since when no request has been whole, if none is under way.
    fn waits_since(&self) -> Option<Instant> {
        match self.state().phase {
            Phase::Idle { since } | Phase::Head { since } => Some(since),
            Phase::Busy(_) => None,
        }
    }

    fn is_silent(&self) -> bool {
        !matches!(self.state().phase, Phase::Busy(_))
    }

    /// Resolves when a limit is over.
    async fn out_of_patience(&self, limits: &Limits) {
        loop {
            let until = match self.state().phase {
                Phase::Idle { since } => Some(since + limits.idle),
                Phase::Head { since } => Some(since + limits.head),
                Phase::Busy(_) => None,
            };
            match until {
                Some(until) if until <= Instant::now() => return,
                Some(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }
}

/// One request, until the last of its answer is written.
#[derive(Debug)]
struct UnderWay(Arc<Line>);

impl UnderWay {
    fn on(line: &Arc<Line>) -> Self {
        let state = line.state();
        let others = match state.phase {
            Phase::Busy(others) => others,
            _ => 0,
        };
        line.enter(state, Phase::Busy(others + 1));
        Self(Arc::clone(line))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let state = self.0.state();
        let left = match state.phase {
            Phase::Busy(here) if here > 1 => Phase::Busy(here - 1),
            _ => Phase::Idle {
                since: Instant::now(),
            },
        };
        self.0.enter(state, left);
    }
}

/// A body did not arrive in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowBody;

impl std::fmt::Display for SlowBody {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("the body did not arrive in time")
    }
}

impl Error for SlowBody {}

impl SlowBody {
    /// Whether it is what lies below `error`.
    #[must_use]
    pub fn is_behind(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// The body of a request. Reading it fails with [`SlowBody`] when it takes
/// longer than [`Limits::body`] as a whole.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    patience: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    fn new(body: Incoming, limit: Option<Duration>) -> Self {
        let limit = limit.filter(|_| !body.is_end_stream());
        Self {
            patience: limit.map(|limit| Box::pin(sleep(limit))),
            body,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // What has arrived is read, however late it is asked for.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if let Some(patience) = &mut self.patience {
            ready!(patience.as_mut().poll(context));
            return Poll::Ready(Some(Err(SlowBody.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, and with it the request that is under way.
struct AnswerBody<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose bytes are watched.
struct Watched<I> {
    io: I,
    line: Arc<Line>,
    unread: Duration,
    /// Runs while the caller takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            self.line.taken();
            return written;
        }
        let unread = self.unread;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(unread)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            self.line.heard(bytes);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
