//! `GET /v1/events`: server-sent events, read from the durable log at the reader's own pace. A slow
//! reader holds up nobody; one that fell behind what is kept is told how much it missed.

use super::problem::Problem;
use super::types::ApiEvent;
use crate::history::EventReader;
use bytes::Bytes;
use hyper::Uri;
use hyper::header::HeaderMap;
use runtime::http::{Response, stream};
use runtime::shutdown::Shutdown;
use std::time::Duration;
use tokio::sync::mpsc;

/// A comment so often, so that both ends notice a dead connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events read from the store at once.
const PAGE: u64 = 32;
/// Events that wait in one connection's buffer.
const BUFFER: usize = 16;

/// Where a reader wants to go on: `Last-Event-ID`, else `?after=`, else from now on.
pub(super) fn position(uri: &Uri, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let bad = || {
        let detail = "Last-Event-ID and after are the number of an event, or 0";
        Problem::new(400, "bad_position", detail)
    };
    let header = headers
        .get("last-event-id")
        .map(|v| v.to_str().unwrap_or("-"));
    let pairs = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty());
    let mut query = None;
    for pair in pairs {
        match pair.split_once('=') {
            Some(("after", value)) if query.is_none() => query = Some(value),
            Some(_) | None => return Err(bad()),
        }
    }
    let given = header.filter(|h| !h.is_empty()).or(query);
    given
        .map(|text| text.parse().map_err(|_| bad()))
        .transpose()
}

/// Begins to tell.
pub(super) fn start(reader: EventReader, after: Option<u64>, shutdown: Shutdown) -> Response {
    let (pieces, body) = mpsc::channel(BUFFER);
    let span = reader.span();
    // A number that never was: the reader knew another store. It gets all that is new.
    let after = after.unwrap_or(u64::MAX).min(span.last());
    let teller = Teller {
        reader,
        pieces,
        after,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.wait() => {}
            _gone = teller.run() => {}
        }
    });
    stream("text/event-stream", body)
}

/// The reader is gone, or the daemon ends.
struct Gone;

struct Teller {
    reader: EventReader,
    pieces: mpsc::Sender<Bytes>,
    /// The last event that was told.
    after: u64,
}

impl Teller {
    async fn run(mut self) -> Result<(), Gone> {
        // At once, so that headers are flushed; the id lets a reader resume from here.
        self.say(format!(": mizzle\nid: {}\n\n", self.after))
            .await?;
        loop {
            let first = self.reader.span().first;
            if self.after + 1 < first {
                self.gap(first - 1).await?;
            }
            let page = self.reader.page(self.after, PAGE).await.map_err(|_| Gone)?;
            let at_end = page.is_empty();
            for (number, json) in page {
                match json {
                    Some(json) => self.event(number, &json).await?,
                    None => self.gap(number).await?,
                }
            }
            if at_end {
                self.wait().await?;
            }
        }
    }

    async fn wait(&mut self) -> Result<(), Gone> {
        loop {
            tokio::select! {
                news = self.reader.wait(self.after) => return news.map_err(|_| Gone),
                () = self.pieces.closed() => return Err(Gone),
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            self.say(": still here\n\n".to_owned()).await?;
        }
    }

    async fn gap(&mut self, until: u64) -> Result<(), Gone> {
        let event = ApiEvent::Gap {
            missed: until - self.after,
        };
        let json = serde_json::to_vec(&event).expect("a number is always JSON");
        self.tell(until, event.name(), &json).await
    }

    async fn event(&mut self, number: u64, json: &[u8]) -> Result<(), Gone> {
        // Written by us and sealed since; what a newer program wrote has the general name.
        let name = serde_json::from_slice::<ApiEvent>(json).map_or("message", |e| e.name());
        self.tell(number, name, json).await
    }

    async fn tell(&mut self, number: u64, name: &str, json: &[u8]) -> Result<(), Gone> {
        self.after = number;
        // JSON has no line breaks outside of strings, and none inside.
        let json = String::from_utf8_lossy(json);
        self.say(format!("id: {number}\nevent: {name}\ndata: {json}\n\n"))
            .await
    }

    async fn say(&self, text: String) -> Result<(), Gone> {
        self.pieces.send(text.into()).await.map_err(|_| Gone)
    }
}
