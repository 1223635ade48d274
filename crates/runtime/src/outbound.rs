//! Keeps a link to one neighbour: dials, dials again, and sends what is queued.
//!
//! A packet is only queued while the link stands, and what is queued when it falls is lost: a
//! packet that waited for a new link would leave at a time that nobody drew. The listening side is
//! [`crate::inbound`].
//!
//! The loop gathers the frames of one turn, and [`Outbound::flush`] writes them on the loop's own
//! thread as long as the socket takes them at once: a packet whose time has come waits for no other
//! thread. Otherwise they are handed over, all of a turn with one lock and one wake-up, and the link's
//! task writes all that it finds.

use crate::buffers;
use crate::link::{FrameReader, FrameWriter, LinkError, NodeLink, NodeTls};
use crate::stages::{Stage, Stages};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::frame::Frame;
use wire::ids::{NetworkId, NodeId};
use wire::keys::IdentityPublic;
use wire::rng::{Purpose, TrafficRng};

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
    queue: Arc<Queue>,
    /// Frames of this turn, which the link does not see yet.
    gathered: Vec<Frame>,
    capacity: usize,
    task: JoinHandle<()>,
}

/// What the loop and the link share.
#[derive(Default)]
struct Queue {
    desk: Mutex<Desk>,
    /// Frames gathered, queued or being written.
    waiting: AtomicUsize,
    up: AtomicBool,
    /// The owner wants no more.
    closed: AtomicBool,
    changed: Notify,
}

/// Who writes.
#[derive(Default)]
struct Desk {
    /// For the link's task to write.
    frames: Vec<Frame>,
    /// Here while the task has nothing to write: then the loop does.
    writer: Option<FrameWriter>,
    /// What the loop could not finish.
    handed: Option<Handed>,
}

/// A writer that the task must go on with.
struct Handed {
    writer: FrameWriter,
    /// Frames that were given to it last.
    frames: usize,
    /// It failed.
    error: Option<LinkError>,
}

impl Desk {
    /// For the task: the writer, if there is anything to do.
    fn take(&mut self) -> Option<Handed> {
        let idle = self.frames.is_empty();
        self.handed.take().or_else(|| {
            let writer = self.writer.take_if(|_| !idle)?;
            Some(Handed {
                writer,
                frames: 0,
                error: None,
            })
        })
    }
}

/// What a link is started with, beside its neighbour.
#[derive(Clone)]
pub struct OutboundConfig {
    /// Proves who we are.
    pub tls: NodeTls,
    /// When to dial again.
    pub backoff: Backoff,
    /// Frames that wait to be written at most; one more is refused as [`NotSent::Full`].
    pub capacity: usize,
    /// Counts what writing costs.
    pub stages: Stages,
}

impl Outbound {
    /// Begins to dial. When `events` is full, the link waits for room.
    pub fn start(
        neighbour: Neighbour,
        config: OutboundConfig,
        events: mpsc::Sender<OutboundEvent>,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let OutboundConfig {
            tls,
            backoff,
            capacity,
            stages,
        } = config;
        let keeper = Keeper {
            node: NodeId::of(&neighbour.identity),
            neighbour,
            tls,
            backoff,
            queue: queue.clone(),
            events,
            stages,
        };
        let task = tokio::spawn(keeper.run());
        Self {
            queue,
            gathered: Vec::new(),
            capacity,
            task,
        }
    }

    /// Gathers a frame, or says at once why not. It leaves with [`Outbound::flush`].
    pub fn try_send(&mut self, frame: Frame) -> Result<(), NotSent> {
        if !self.is_up() {
            return Err(NotSent::Down);
        }
        if self.queued() >= self.capacity {
            return Err(NotSent::Full);
        }
        self.queue.waiting.fetch_add(1, Ordering::Relaxed);
        self.gathered.push(frame);
        Ok(())
    }

    /// Writes what was gathered, or hands it over.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let mut desk = self.queue.lock();
        if let Some(mut writer) = desk.writer.take() {
            let all = self.gathered.len();
            let (written, error) = match writer.send_now(&self.gathered) {
                Ok(written) => (written, None),
                Err(error) => (all, Some(error)),
            };
            give_back(self.gathered.drain(..written));
            if error.is_none() && !writer.is_stuck() {
                desk.writer = Some(writer);
                drop(desk);
                self.queue.done(written);
                return;
            }
            desk.handed = Some(Handed {
                writer,
                frames: written,
                error,
            });
        }
        desk.frames.append(&mut self.gathered);
        drop(desk);
        self.queue.changed.notify_one();
    }

    /// Whether the link stands.
    pub fn is_up(&self) -> bool {
        self.queue.up.load(Ordering::Acquire)
    }

    /// Frames that wait to be written, or are being written.
    pub fn queued(&self) -> usize {
        self.queue.waiting.load(Ordering::Relaxed)
    }

    /// Writes what is queued, closes the link and ends, within `limit`.
    pub async fn close(mut self, limit: Duration) {
        self.flush();
        self.queue.closed.store(true, Ordering::Release);
        self.queue.changed.notify_one();
        let _ = tokio::time::timeout(limit, &mut self.task).await;
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Frames that were queued or being written are not waiting any more.
    fn done(&self, frames: usize) {
        self.waiting.fetch_sub(frames, Ordering::Relaxed);
    }

    fn discard(&self) -> usize {
        let desk = std::mem::take(&mut *self.lock());
        let lost = desk.frames.len() + desk.handed.map_or(0, |handed| handed.frames);
        self.done(lost);
        lost
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
    queue: Arc<Queue>,
    events: mpsc::Sender<OutboundEvent>,
    stages: Stages,
}

impl Keeper {
    async fn run(self) {
        let [a, b, c, d, ..] = self.node.0;
        let salt = u32::from_be_bytes([a, b, c, d]);
        let (mut failures, mut attempt, mut stale) = (0u32, 0u32, 0);
        while !self.queue.is_closed() {
            let began = Instant::now();
            let (error, in_flight) = match self.dial(attempt).await {
                Ok(link) => {
                    let NodeLink {
                        reader,
                        mut writer,
                        peer: _,
                    } = link;
                    writer.measure(self.stages.turns(Stage::Write));
                    // Handed over when the last link had just fallen.
                    stale += self.queue.discard();
                    self.queue.lock().writer = Some(writer);
                    self.queue.up.store(true, Ordering::Release);
                    self.report(OutboundEvent::Up(self.node)).await;
                    let ended = self.keep(reader).await;
                    self.queue.up.store(false, Ordering::Release);
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
            let lost = std::mem::take(&mut stale) + in_flight + self.queue.discard();
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

    /// Sees to it that frames are written until the link falls (why, and how many frames were being
    /// written) or the owner wants no more (`None`).
    async fn keep(&self, mut reader: FrameReader) -> Option<(LinkError, usize)> {
        loop {
            tokio::select! {
                () = self.queue.changed.notified() => {}
                // A neighbour has nothing to say on this link: packets go one way. Reading shows
                // that it went away before a packet is lost.
                said = reader.next() => return Some((said.err().unwrap_or(LinkError::Order), 0)),
            }
            let handed = self.queue.lock().take();
            if let Some(handed) = handed
                && let Err(failure) = self.catch_up(handed).await
            {
                return Some(failure);
            }
            if self.queue.is_closed() {
                let writer = self.queue.lock().writer.take();
                if let Some(writer) = writer {
                    close_politely(writer).await;
                }
                return None;
            }
        }
    }

    /// Writes what waits, and gives the writer back to the loop when nothing does.
    async fn catch_up(&self, handed: Handed) -> Result<(), (LinkError, usize)> {
        let Handed {
            mut writer,
            frames,
            error,
        } = handed;
        let finished = match error {
            Some(error) => Err(error),
            None => writer.finish().await,
        };
        self.queue.done(frames);
        finished.map_err(|error| (error, frames))?;
        let mut batch = Vec::new();
        loop {
            // Also what came while the last batch was written.
            {
                let mut desk = self.queue.lock();
                if desk.frames.is_empty() {
                    desk.writer = Some(writer);
                    return Ok(());
                }
                std::mem::swap(&mut batch, &mut desk.frames);
            }
            let sent = writer.send_frames(&batch).await;
            self.queue.done(batch.len());
            sent.map_err(|error| (error, batch.len()))?;
            give_back(batch.drain(..));
        }
    }

    async fn report(&self, event: OutboundEvent) {
        // Nobody listening is nobody's loss.
        let _ = self.events.send(event).await;
    }
}

/// Buffers of packets that were written are used again.
fn give_back(written: impl Iterator<Item = Frame>) {
    let mut unused = buffers::Batch::default();
    for frame in written {
        if let Frame::Packet(_, packet) = frame {
            unused.give_back(packet);
        }
    }
}

async fn close_politely(writer: FrameWriter) {
    let _ = writer.close().await;
}

#[cfg(test)]
mod tests;
