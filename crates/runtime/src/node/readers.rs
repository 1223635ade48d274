//! One thread that reads what the layer before sends, and does nothing else.
//!
//! A packet's time counts from when it is read, so where a reader has to wait for a core, packets
//! leave late by that much and the node itself does not know. This thread is urgent where the others are not
//! ([`crate::urgency`]): for a packet it only opens a record. Handshakes, which anybody can ask for
//! and each of which costs as much as many packets, stay with the ordinary tasks, and so do links of clients.

use super::command::loop_runtime;
use std::future::Future;
use std::pin::Pin;
use std::thread;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Links that wait to be taken over; more wait where they are.
const WAITING_MAX: usize = 64;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way to the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Readers(mpsc::Sender<Job>);

impl Readers {
    /// Starts the thread, with `hurry` as the first that it does.
    pub fn start(hurry: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let runtime = loop_runtime()?;
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let work = move || {
            hurry();
            runtime.block_on(run(queue));
        };
        thread::Builder::new().name("readers".into()).spawn(work)?;
        Ok(Self(jobs))
    }

    /// Runs `job` there, and returns when it has ended. Dropping this ends the job.
    pub async fn run(&self, job: impl Future<Output = ()> + Send + 'static) {
        let (mut running, ended) = oneshot::channel::<()>();
        let job = Box::pin(async move {
            tokio::select! {
                () = job => {}
                () = running.closed() => {}
            }
        });
        if self.0.send(job).await.is_ok() {
            // Nothing is ever said: the job has ended when its end of this is gone.
            let _ = ended.await;
        }
    }
}

async fn run(mut queue: mpsc::Receiver<Job>) {
    let mut jobs = JoinSet::new();
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => {
                    jobs.spawn(job);
                }
                None => return,
            },
            Some(_) = jobs.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Counts those that are alive.
    struct Alive(Arc<AtomicUsize>);

    impl Alive {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::SeqCst);
            Self(count.clone())
        }
    }

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn until_none(count: &AtomicUsize) {
        let gone = async {
            while count.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_job_runs_there_and_ends_with_whoever_waits_for_it() {
        let readers = Readers::start(|| ()).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (tell, told) = oneshot::channel();
        readers
            .run(async move {
                let name = thread::current().name().map(str::to_owned);
                tell.send(name).unwrap();
            })
            .await;
        assert_eq!(told.await.unwrap().as_deref(), Some("readers"));

        let alive = Alive::new(&count);
        let endless = readers.run(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        let soon = tokio::time::timeout(Duration::from_millis(20), endless);
        assert!(soon.await.is_err(), "it does not end by itself");
        until_none(&count).await;
    }

    #[tokio::test]
    async fn a_job_that_panics_takes_no_other_with_it() {
        let readers = Readers::start(|| ()).unwrap();
        readers.run(async { panic!("on purpose") }).await;
        let (tell, told) = oneshot::channel();
        readers.run(async move { tell.send(7).unwrap() }).await;
        assert_eq!(told.await, Ok(7));
    }
}
