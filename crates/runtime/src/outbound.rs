//! Keeps a link to one neighbour: dials, dials again, and sends what is queued.
//!
//! A packet is only queued while the link stands, and what is queued when it falls is lost: a
//! packet that waited for a new link would leave at a time that nobody drew. The listening side is
//! [`crate::inbound`].

use crate::link::{FrameWriter, LinkError, NodeLink, NodeTls};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::frame::FrameBytes;
use wire::ids::{NetworkId, NodeId};
use wire::keys::IdentityPublic;
use wire::rng::{Purpose, TrafficRng};

/// Most frames in one write.
const BATCH_MAX: usize = 32;
/// A link that stood this long was good: the next failure starts with short waits again.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Whom to dial.
#[derive(Clone)]
pub struct Neighbour {
    /// Who must answer.
    pub identity: IdentityPublic,
    /// Where; tried in turn. At least one.
    pub addresses: Vec<SocketAddr>,
    /// Of which network.
    pub network: NetworkId,
}

/// How long to wait before dialling again: `base · 2ⁿ`, at most `longest`, of which a random part
/// between one half and the whole.
#[derive(Clone)]
pub struct Backoff {
    /// After the first failure.
    pub base: Duration,
    /// After many.
    pub longest: Duration,
    /// Draws the jitter (an observer sees when a node dials).
    pub rng: TrafficRng,
}

impl Backoff {
    /// 250 ms to 30 s.
    pub fn new(rng: TrafficRng) -> Self {
        Self {
            base: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            rng,
        }
    }

    /// The wait before `attempt` (from 0) of the neighbour that `salt` names.
    pub fn wait(&self, salt: u32, failures: u32, attempt: u32) -> Duration {
        let whole = self
            .base
            .saturating_mul(1 << failures.min(16))
            .min(self.longest);
        let tick = (u64::from(salt) << 24) | u64::from(attempt & 0x00ff_ffff);
        let draw = self.rng.tick(Purpose::Reconnect, tick).draw_open01();
        whole.mul_f64(0.5 + draw / 2.0)
    }
}

/// What became of a link.
#[derive(Debug)]
pub enum OutboundEvent {
    /// It stands.
    Up(NodeId),
    /// It fell or could not be made; it will be dialled again.
    Down {
        /// To whom.
        node: NodeId,
        /// Why.
        error: LinkError,
        /// Frames that were queued or being written, and are lost; at most one batch too many.
        lost: usize,
    },
}

/// A frame was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSent {
    /// There is no link now.
    Down,
    /// The neighbour reads more slowly than we write.
    Full,
}

/// A link to one neighbour, kept up until this value is dropped.
pub struct Outbound {
    queue: mpsc::Sender<FrameBytes>,
    up: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Outbound {
    /// Begins to dial. `capacity` frames are queued at most; one more is refused as
    /// [`NotSent::Full`]. When `events` is full, the link waits for room.
    pub fn start(
        neighbour: Neighbour,
        tls: NodeTls,
        backoff: Backoff,
        capacity: usize,
        events: mpsc::Sender<OutboundEvent>,
    ) -> Self {
        let (queue, frames) = mpsc::channel(capacity.max(1));
        let up = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            node: NodeId::of(&neighbour.identity),
            neighbour,
            tls,
            backoff,
            up: up.clone(),
            frames,
            events,
        };
        let task = tokio::spawn(keeper.run());
        Self { queue, up, task }
    }

    /// Queues a frame, or says at once why not.
    pub fn try_send(&self, frame: FrameBytes) -> Result<(), NotSent> {
        if !self.is_up() {
            return Err(NotSent::Down);
        }
        self.queue.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::Full,
            mpsc::error::TrySendError::Closed(_) => NotSent::Down,
        })
    }

    /// Whether the link stands.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Frames that wait to be written.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Writes what is queued, closes the link and ends, within `limit`.
    pub async fn close(mut self, limit: Duration) {
        // Dropping the only sender tells the task.
        let (unused, _) = mpsc::channel(1);
        self.queue = unused;
        let _ = tokio::time::timeout(limit, &mut self.task).await;
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind an [`Outbound`].
struct Keeper {
    node: NodeId,
    neighbour: Neighbour,
    tls: NodeTls,
    backoff: Backoff,
    up: Arc<AtomicBool>,
    frames: mpsc::Receiver<FrameBytes>,
    events: mpsc::Sender<OutboundEvent>,
}

impl Keeper {
    async fn run(mut self) {
        let [a, b, c, d, ..] = self.node.0;
        let salt = u32::from_be_bytes([a, b, c, d]);
        let (mut failures, mut attempt) = (0u32, 0u32);
        while !self.frames.is_closed() {
            let began = Instant::now();
            let (error, in_flight) = match self.dial(attempt).await {
                Ok(link) => {
                    self.up.store(true, Ordering::Release);
                    self.report(OutboundEvent::Up(self.node)).await;
                    let ended = self.keep(link).await;
                    self.up.store(false, Ordering::Release);
                    match ended {
                        Some(failure) => failure,
                        None => return,
                    }
                }
                Err(error) => (error, 0),
            };
            failures = if began.elapsed() >= GOOD_AFTER {
                0
            } else {
                failures.saturating_add(1)
            };
            let lost = in_flight + self.discard_queue();
            let node = self.node;
            self.report(OutboundEvent::Down { node, error, lost }).await;
            let wait = self.backoff.wait(salt, failures.saturating_sub(1), attempt);
            attempt = attempt.wrapping_add(1);
            tokio::time::sleep(wait).await;
        }
    }

    async fn dial(&self, attempt: u32) -> Result<NodeLink, LinkError> {
        let addresses = &self.neighbour.addresses;
        let index = attempt as usize % addresses.len().max(1);
        let address = *addresses.get(index).ok_or(LinkError::Closed)?;
        self.tls
            .dial(address, &self.neighbour.identity, self.neighbour.network)
            .await
    }

    /// Writes until the link falls (why, and how many frames were being written) or the owner
    /// wants no more (`None`).
    async fn keep(&mut self, link: NodeLink) -> Option<(LinkError, usize)> {
        let NodeLink {
            mut reader,
            mut writer,
            peer: _,
        } = link;
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            batch.clear();
            let received = tokio::select! {
                received = self.frames.recv_many(&mut batch, BATCH_MAX) => received,
                // A neighbour has nothing to say on this link: packets go one way. Reading shows
                // that it went away before a packet is lost.
                said = reader.next() => return Some((said.err().unwrap_or(LinkError::Order), 0)),
            };
            if received == 0 {
                close_politely(writer).await;
                return None;
            }
            if let Err(error) = writer.send(&batch).await {
                return Some((error, batch.len()));
            }
        }
    }

    fn discard_queue(&mut self) -> usize {
        std::iter::from_fn(|| self.frames.try_recv().ok()).count()
    }

    async fn report(&self, event: OutboundEvent) {
        // Nobody listening is nobody's loss.
        let _ = self.events.send(event).await;
    }
}

async fn close_politely(writer: FrameWriter) {
    let _ = writer.close().await;
}

#[cfg(test)]
mod tests;
