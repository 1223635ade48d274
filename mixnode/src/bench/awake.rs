//! Keeps the machine's cores from sleeping, at the side of a measurement.
//!
//! A core without work halts. A virtual one is then taken off its real core, and where the disk is busy at
//! the same time it was seen to come back some milliseconds after the timer that should have woken it (with a
//! hundred `fdatasync` a second and nothing else: 99 of 100 timers up to 2.5 ms late, and 0.3 ms with
//! this). That is the machine's lateness and not the node's, so a measurement shows both.

use super::process;
use runtime::urgency;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The name of its threads, whose time is nobody's.
pub const THREAD: &str = "awake";

/// One thread for each core, that gives way to everybody; they end when this is dropped.
pub struct Awake {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    /// On all cores of this process.
    pub fn start() -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |core: usize| {
            let stop = stop.clone();
            let work = move || {
                // Only where it gives way: everywhere else it would be in the way.
                if process::pin(&[core]).is_ok() && urgency::run_last() {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }
            };
            std::thread::Builder::new().name(THREAD.into()).spawn(work)
        };
        let threads = process::cores()?.into_iter().map(spin);
        let threads = threads.collect::<std::io::Result<_>>()?;
        Ok(Self { stop, threads })
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic was its end, and no reason for another.
            let _ = thread.join();
        }
    }
}
