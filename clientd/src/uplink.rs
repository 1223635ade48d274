//! Writes each frame at its moment. Nothing else happens on this thread, so that nothing a person does
//! can change when a frame leaves.
//!
//! Frames were fixed a constant lead before (`mizzle_core::client`). Where there is no link they
//! are dropped: a frame that waited for a link would leave at a time that nobody drew.

use runtime::clock::Clock;
use runtime::link::FrameWriter;
use runtime::metrics::NodeMetrics;
use runtime::timer::PreciseTimer;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use wire::frame::FrameBytes;
use wire::time::Instant;

/// Frames that wait for their moment; one more is dropped. Far above what rates and lead allow, so
/// only a writer that is stuck fills it.
pub(crate) const QUEUE_MAX: usize = 256;
/// A frame that could not be written so long after its moment is dropped, so that a link that was
/// stuck is not followed by a burst.
const LATE_MAX: Duration = Duration::from_secs(1);

/// A frame and its moment.
pub(crate) struct Due {
    pub(crate) at: Instant,
    pub(crate) frame: FrameBytes,
}

/// What the uplink works with.
pub(crate) struct Uplink {
    pub(crate) clock: Clock,
    pub(crate) frames: mpsc::Receiver<Due>,
    /// The link that stands, or `None` when it fell.
    pub(crate) links: mpsc::Receiver<Option<FrameWriter>>,
    /// Told when a write failed.
    pub(crate) broken: Arc<Notify>,
    pub(crate) metrics: NodeMetrics,
}

impl Uplink {
    /// Runs on a thread of its own: on a shared one a frame could wait for whatever a message or an
    /// application makes the others do. Ends when the loop drops its end.
    pub(crate) fn start(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = move || {
            runtime.block_on(async {
                match PreciseTimer::new(self.clock) {
                    Ok(timer) => self.run(timer).await,
                    Err(error) => tracing::error!(%error, "no timer; the uplink stops"),
                }
            });
        };
        std::thread::Builder::new()
            .name("uplink".into())
            .spawn(run)
            .map(|_| ())
    }

    async fn run(mut self, mut timer: PreciseTimer) {
        let mut writer = None;
        loop {
            let due = tokio::select! {
                biased;
                Some(link) = self.links.recv() => {
                    writer = link;
                    continue;
                }
                due = self.frames.recv() => due,
            };
            let Some(Due { at, frame }) = due else { return };
            if let Err(error) = timer.sleep_until(at).await {
                tracing::error!(%error, "the timer failed; the uplink stops");
                return;
            }
            while let Ok(link) = self.links.try_recv() {
                writer = link;
            }
            let late = self.clock.now() - at;
            let Some(link) = writer.as_mut().filter(|_| late <= LATE_MAX) else {
                continue;
            };
            self.metrics.lateness.observe(late);
            if link.send(&[frame]).await.is_err() {
                writer = None;
                self.broken.notify_one();
            } else {
                self.metrics.packets_sent.inc();
            }
        }
    }
}
