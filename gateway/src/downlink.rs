//! Writes every client's slots at their moments, all clients by one timer.
//!
//! The machine fills slots a constant lead ahead (`mizzle_core::gateway::sessions`); this thread holds
//! each until its moment, and then seals it and gives it to the client's socket. So what the loop has to
//! do meanwhile, and what the threads compute that read what clients send, does not show on any downlink.
//! The thread may be urgent: one frame for each slot is all it ever does, at rates that the directory sets.

use runtime::clock::Clock;
use runtime::link::{FrameWriter, LinkError};
use runtime::metrics::Lateness;
use runtime::node::command::loop_runtime;
use runtime::shutdown::Shutdown;
use runtime::timer::PreciseTimer;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use wire::frame::FrameBytes;
use wire::time::Instant;

/// Slots between the loop and this thread: more than 10,000 clients have within one lead. When it is
/// full, the client whose slot finds no room is closed.
pub const SLOTS_MAX: usize = 16_384;
/// Frames that wait for one client's socket. A client that does not read so many slots is closed.
pub const UNWRITTEN_MAX: usize = 16;
/// Slots taken from the channel in one turn.
const BUDGET: usize = 256;

/// The way to one connected client.
#[derive(Clone)]
pub struct Downlink {
    frames: mpsc::Sender<Due>,
    close: Arc<Notify>,
}

/// A frame whose moment has come, and that moment.
pub struct Due {
    at: Instant,
    frame: FrameBytes,
}

impl Downlink {
    /// And what its writer reads.
    pub fn new() -> (Self, mpsc::Receiver<Due>) {
        let (frames, receiver) = mpsc::channel(UNWRITTEN_MAX);
        let close = Arc::new(Notify::new());
        (Self { frames, close }, receiver)
    }

    /// Ends the client's connection.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Returns when the connection is to end.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    fn send(&self, due: Due) {
        // A client whose connection has ended is closed already; one that does not read, is now.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(due) {
            self.close();
        }
    }
}

/// A frame, its client and its moment.
pub struct Slot {
    /// Not before.
    pub at: Instant,
    /// To whom.
    pub to: Downlink,
    /// What.
    pub frame: FrameBytes,
}

/// Where clients' sockets are written: on the thread that waits for slots.
#[derive(Clone)]
pub struct Writers {
    thread: Handle,
    clock: Clock,
    lateness: Lateness,
}

impl Writers {
    /// Writes what comes from `frames`, until that ends or the client does not read. Dropping the answer
    /// ends the writer.
    pub fn start(
        &self,
        mut writer: FrameWriter,
        mut frames: mpsc::Receiver<Due>,
    ) -> JoinSet<Result<(), LinkError>> {
        let (clock, lateness) = (self.clock, self.lateness.clone());
        let work = async move {
            while let Some(due) = frames.recv().await {
                writer.send(&[due.frame]).await?;
                lateness.observe(clock.now() - due.at);
            }
            Ok(())
        };
        let mut task = JoinSet::new();
        task.spawn_on(work, &self.thread);
        task
    }
}

/// Starts the thread, with `hurry` as the first that it does. It runs until nobody fills slots any more; without its timer the node is told
/// to stop. `lateness` is how long after its moment each frame is with the system.
pub fn start(
    clock: Clock,
    slots: mpsc::Receiver<Slot>,
    lateness: Lateness,
    hurry: impl FnOnce() + Send + 'static,
    shutdown: Shutdown,
) -> std::io::Result<Writers> {
    let own = loop_runtime()?;
    let thread = own.handle().clone();
    let work = move || {
        hurry();
        if let Err(error) = own.block_on(run(clock, slots)) {
            tracing::error!(%error, "the timer of the downlinks failed");
            shutdown.trigger();
        }
    };
    std::thread::Builder::new()
        .name("downlink".into())
        .spawn(work)?;
    Ok(Writers {
        thread,
        clock,
        lateness,
    })
}

async fn run(clock: Clock, mut slots: mpsc::Receiver<Slot>) -> std::io::Result<()> {
    let mut timer = PreciseTimer::new(clock)?;
    // By moment, and in the order of filling where moments are equal.
    let mut waiting: BTreeMap<(Instant, u64), Slot> = BTreeMap::new();
    let mut filled = 0u64;
    let mut batch = Vec::with_capacity(BUDGET);
    loop {
        let next = waiting.first_key_value().map(|((at, _), _)| *at);
        tokio::select! {
            biased;
            result = timer.sleep_until(next.unwrap_or_default()), if next.is_some() => result?,
            taken = slots.recv_many(&mut batch, BUDGET) => {
                if taken == 0 {
                    return Ok(());
                }
                for slot in batch.drain(..) {
                    filled += 1;
                    waiting.insert((slot.at, filled), slot);
                }
            }
        }
        let now = clock.now();
        while let Some(entry) = waiting.first_entry().filter(|e| e.key().0 <= now) {
            let Slot { at, to, frame } = entry.remove();
            to.send(Due { at, frame });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wire::frame::Frame;

    #[tokio::test]
    async fn slots_leave_in_time_and_in_order() {
        let clock = Clock::start();
        let (sender, receiver) = mpsc::channel(64);
        let task = tokio::spawn(run(clock, receiver));
        let (to, mut frames) = Downlink::new();
        let start = clock.now() + Duration::from_millis(20);
        let moments: Vec<_> = (0..10)
            .map(|k| start + Duration::from_millis(5) * k)
            .collect();
        // Filled in another order than they leave.
        for at in moments.iter().rev() {
            let slot = Slot {
                at: *at,
                to: to.clone(),
                frame: Frame::Dummy.encode(),
            };
            sender.send(slot).await.ok().unwrap();
        }
        for at in &moments {
            frames.recv().await.unwrap();
            assert!(clock.now() >= *at, "a slot left early");
        }
        drop(sender);
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_closed() {
        let (to, _frames) = Downlink::new();
        let due = || Due {
            at: Instant::ZERO,
            frame: Frame::Dummy.encode(),
        };
        for _ in 0..UNWRITTEN_MAX {
            to.send(due());
        }
        let closed = tokio::time::timeout(Duration::from_millis(10), to.closed()).await;
        assert!(closed.is_err(), "closed with room left");
        to.send(due());
        to.closed().await;
    }
}
