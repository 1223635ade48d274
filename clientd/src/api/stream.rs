//! Server-sent events, read from the durable log at the reader's own pace. A slow reader holds up
//! nobody; one that takes nothing at all for a minute is let go, and finds everything where it was.

use super::Api;
use super::gate::Caller;
use super::problem::Problem;
use crate::history::{EventReader, Told};
use bytes::Bytes;
use runtime::http::{Response, stream};
use std::time::Duration;
use tokio::sync::mpsc;

/// A comment so often, so that both ends notice a dead connection.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// A reader that takes nothing for so long is let go.
pub(super) const STUCK: Duration = Duration::from_secs(60);
/// Events read from the store at once.
pub(super) const PAGE: usize = 32;
/// Events that wait in one connection's buffer.
const BUFFER: usize = 16;

/// Begins to tell.
pub(super) fn start(api: &Api, caller: &Caller, after: u64) -> Result<Response, Problem> {
    let room = api.streams.clone().try_acquire_owned();
    let room = room.map_err(|_| too_many())?;
    let (pieces, body) = mpsc::channel(BUFFER);
    let teller = Teller {
        reader: api.events.clone(),
        caller: caller.clone(),
        pieces,
        after,
    };
    let (shutdown, mut watcher, app) = (api.shutdown.clone(), api.events.clone(), caller.0.clone());
    tokio::spawn(async move {
        let revoked = async {
            match &app {
                Some(app) => watcher.revoked(app).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.wait() => {}
            () = revoked => {}
            _gone = teller.run() => {}
        }
        drop(room);
    });
    Ok(stream("text/event-stream", body))
}

pub(super) fn too_many() -> Problem {
    let detail = "too many readers; end one, or raise limits.streams_max";
    Problem::new("too_many_streams", detail)
}

/// The reader is gone, or the daemon ends.
struct Gone;

struct Teller {
    reader: EventReader,
    caller: Caller,
    pieces: mpsc::Sender<Bytes>,
    /// The last event that was told or passed over.
    after: u64,
}

impl Teller {
    async fn run(mut self) -> Result<(), Gone> {
        // At once, so that headers are flushed; the id lets a reader resume from here.
        self.say(format!(": mizzle\nid: {}\n\n", self.after))
            .await?;
        loop {
            let page = self.reader.page(self.caller.0.clone(), self.after, PAGE);
            let page = page.await.map_err(|_| Gone)?;
            for told in page.events {
                self.tell(&told).await?;
            }
            self.after = self.after.max(page.through);
            if self.after >= self.reader.span().last() {
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

    async fn tell(&mut self, told: &Told) -> Result<(), Gone> {
        self.after = told.number;
        // JSON has no line breaks outside of strings, and none inside.
        let (number, name, json) = (told.number, &told.name, told.json.as_str());
        self.say(format!("id: {number}\nevent: {name}\ndata: {json}\n\n"))
            .await
    }

    async fn say(&self, text: String) -> Result<(), Gone> {
        let sending = self.pieces.send_timeout(text.into(), STUCK);
        sending.await.map_err(|_| Gone)
    }
}
