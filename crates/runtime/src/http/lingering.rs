//! What becomes of a request's body that nobody wants to read to its end.
//!
//! Were it left unread, the system would reset the connection when it is closed, and one who is still
//! writing would see a broken pipe in place of the answer (RFC 9112, section 9.6).

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::error::Error;
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
            runtime.spawn(read_on(left));
        }
    }
}

/// Reads and keeps nothing: to the end, or a fault, or a limit.
async fn read_on(left: impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin) {
    let mut left = Limited::new(left, LINGER_MAX);
    let reading = async move { while let Some(Ok(_)) = left.frame().await {} };
    // Past the time the rest is dropped, as it was before there was this.
    let _ = tokio::time::timeout(LINGER, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ChannelBody;
    use std::convert::Infallible;
    use std::time::Instant;
    use tokio::sync::mpsc;

    const PIECE: usize = 64 * 1024;

    /// Gives a piece whenever it is asked, and counts; after `most` it is silent.
    struct Pieces<'a> {
        given: &'a mut usize,
        most: usize,
    }

    impl Body for Pieces<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if *self.given == self.most {
                return Poll::Pending;
            }
            *self.given += 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PIECE])))))
        }
    }

    /// Pieces that are read of so many, and how long that takes.
    async fn read(most: usize) -> (usize, Duration) {
        let (mut given, began) = (0, Instant::now());
        let given_to = &mut given;
        let body = Pieces {
            given: given_to,
            most,
        };
        read_on(body).await;
        (given, began.elapsed())
    }

    #[tokio::test]
    async fn sixteen_mebibytes_are_read_and_no_more() {
        let (given, took) = read(usize::MAX).await;
        // It stops at the piece that is one too many.
        assert_eq!(given, LINGER_MAX / PIECE + 1);
        assert!(took < LINGER, "{took:?}");
    }

    #[tokio::test]
    async fn one_who_says_nothing_more_has_two_seconds() {
        let (given, took) = read(3).await;
        assert_eq!(given, 3);
        assert!(took >= LINGER && took < 3 * LINGER, "{took:?}");
    }

    #[tokio::test]
    async fn drops_do_not_make_the_two_seconds_begin_anew() {
        let (sender, receiver) = mpsc::channel(1);
        let dripping = tokio::spawn(async move {
            while sender.send(Bytes::from_static(&[0])).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let began = Instant::now();
        read_on(ChannelBody(receiver)).await;
        let took = began.elapsed();
        assert!(took >= LINGER && took < 3 * LINGER, "{took:?}");
        dripping.await.unwrap();
    }
}
