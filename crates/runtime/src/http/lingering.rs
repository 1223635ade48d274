//! What becomes of a request's body that nobody wants to read to its end.
//!
//! Were it left unread, the system would reset the connection when it is closed, and one who is still
//! writing would see a broken pipe in place of the answer (RFC 9112, section 9.6).

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long the rest of a body is read on, unkept.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes of it.
const LINGER_MAX: usize = 16 * 1024 * 1024;

/// A body as it comes in. When it is dropped before its end, what is left is read and thrown away, for
/// two seconds or up to 16 MiB.
pub struct Lingering(Option<Incoming>);

impl Lingering {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.0.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        // What is said to be longer than all that is read would not come to its end anyway.
        let worth = |b: &Incoming| !b.is_end_stream() && b.size_hint().lower() <= LINGER_MAX as u64;
        let left = self.0.take().filter(worth);
        if let (Some(left), Ok(runtime)) = (left, Handle::try_current()) {
            let mut left = Limited::new(left, LINGER_MAX);
            let reading = async move { while let Some(Ok(_)) = left.frame().await {} };
            runtime.spawn(tokio::time::timeout(LINGER, reading));
        }
    }
}
