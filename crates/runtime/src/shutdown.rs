//! When to stop: SIGINT, SIGTERM, the end of the parent, or the daemon's own wish.
//!
//! One [`Shutdown`] is made at the start and cloned into every task.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often [`Shutdown::follow_parent`] looks.
const PARENT_POLL: Duration = Duration::from_millis(250);

/// Tells tasks to stop. All clones are one switch.
#[derive(Clone)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Shutdown {
    /// Stops by [`Shutdown::trigger`] alone; for tests and for parts of a process.
    pub fn manual() -> Self {
        Self {
            sender: watch::Sender::new(false),
        }
    }

    /// Stops at SIGINT and SIGTERM. Must be called within a tokio runtime.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::manual();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let switch = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            switch.trigger();
        });
        Ok(shutdown)
    }

    /// Stops when process `parent` is no longer this one's parent.
    ///
    /// The parent hands over its own id, so that its death before this call is noticed too. Polled:
    /// the kernel's own signal follows the *thread* that started the child, and threads of a
    /// runtime come and go.
    pub fn follow_parent(&self, parent: u32) {
        let switch = self.clone();
        tokio::spawn(async move {
            loop {
                let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
                if now.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
                    switch.trigger();
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(PARENT_POLL) => {}
                    () = switch.wait() => return,
                }
            }
        });
    }

    /// Stops.
    pub fn trigger(&self) {
        self.sender.send_replace(true);
    }

    /// Whether to stop.
    pub fn is_triggered(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns when to stop; at once if that was before. Cancel safe.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|stop| *stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_it_even_late() {
        let shutdown = Shutdown::manual();
        let early = shutdown.clone();
        let task = tokio::spawn(async move { early.wait().await });
        shutdown.trigger();
        task.await.unwrap();
        shutdown.clone().wait().await;
        assert!(shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_process_without_its_parent_stops() {
        let with_parent = Shutdown::manual();
        let parent = std::os::unix::process::parent_id();
        with_parent.follow_parent(parent);
        tokio::time::sleep(PARENT_POLL * 2).await;
        assert!(!with_parent.is_triggered());
        let orphan = Shutdown::manual();
        orphan.follow_parent(parent + 1);
        orphan.wait().await;
    }
}
