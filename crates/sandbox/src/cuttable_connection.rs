//! Connections that can be cut: how an answer gets lost on the way.
//!
//! A handler cannot close its connection in HTTP terms, so each is served over a
//! stream that refuses to write once it has been cut. The caller sees
//! what it would see of a crashed machine: the end of the stream.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Extension, extract::Request, middleware::Next, response::Response};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::answer::LostAnswer;

/// One accepted connection.
pub(crate) struct CuttableConnection {
    stream: TcpStream,
    cutter: Cutter,
}

/// Cuts the connection it came with.
#[derive(Clone, Default)]
pub(crate) struct Cutter(Arc<AtomicBool>);

impl CuttableConnection {
    /// `stream`, and what cuts it.
    pub(crate) fn over(stream: TcpStream) -> (Self, Cutter) {
        let cutter = Cutter::default();
        let connection = Self {
            stream,
            cutter: cutter.clone(),
        };
        (connection, cutter)
    }
}

/// Middleware: cuts the connection instead of sending an [`Answer::Lost`].
///
/// [`Answer::Lost`]: crate::answer::Answer::Lost
pub(crate) async fn cut_lost_answers(
    Extension(cutter): Extension<Cutter>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<LostAnswer>().is_some() {
        cutter.cut();
    }
    response
}

impl Cutter {
    fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn intact(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for CuttableConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cutter.intact()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cutter.intact()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
