//! One thread that reads what the layer before sends, and does nothing else.
//!
//! A packet's time counts from when the system had it ([`crate::link::FrameReader::arrived`]), which hides a reader's wait for a core in
//! δ, but only some milliseconds of it, and of bytes that are read at once the last ones count for all. So this thread is urgent where the others are not
//! ([`crate::urgency`]): for a packet it only opens a record. Handshakes, which anybody can ask for
//! and each of which costs as much as many packets, stay with the ordinary tasks, and so do links of clients.
//!
//! An urgent thread that neighbours flood would leave nothing to those that unwrap, so it takes half of a core for long
//! and no more ([`breathe`]): some seventy thousand packets a second. What comes faster waits in its link.

use super::command::loop_runtime;
use crate::stages::thread_time;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Links that wait to be taken over; more wait where they are.
const WAITING_MAX: usize = 64;

/// What the thread may take at once beyond its half.
const BURST: Duration = Duration::from_millis(2);

thread_local! {
    static SHARE: RefCell<Share> = RefCell::new(Share::default());
}

/// Called by a reader after each read: rests where this thread has taken more than its share. Blocks the thread, and
/// so all links: a flood from one neighbour must not become urgent because it is spread over others.
pub fn breathe() {
    let left = SHARE.with_borrow_mut(|share| share.over(thread_time(), Instant::now()));
    if left > Duration::ZERO {
        thread::sleep(left);
    }
}

/// How far a thread is beyond half of a core.
#[derive(Default)]
struct Share {
    last: Option<(Duration, Instant)>,
    ahead: Duration,
}

impl Share {
    /// With what the thread has used of a processor until now; how long to rest.
    fn over(&mut self, used: Duration, now: Instant) -> Duration {
        let (used_before, before) = self.last.replace((used, now)).unwrap_or((used, now));
        let more = self.ahead + used.saturating_sub(used_before);
        self.ahead = more.saturating_sub(now.saturating_duration_since(before) / 2);
        2 * self.ahead.saturating_sub(BURST)
    }
}

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

    #[test]
    fn a_busy_thread_gets_half_of_a_core_and_an_idle_one_never_rests() {
        let (ms, start) = (Duration::from_millis, Instant::now());
        // Ever busy: what it works and what it rests come to the same.
        let (mut share, mut used, mut now) = (Share::default(), ms(0), start);
        for _ in 0..1000 {
            (used, now) = (used + ms(1), now + ms(1));
            now += share.over(used, now);
        }
        let part = used.as_secs_f64() / (now - start).as_secs_f64();
        assert!((0.49..0.51).contains(&part), "{part}");
        // Busy for four tenths of the time, in pieces shorter than the burst.
        let (mut share, mut used, mut now) = (Share::default(), ms(0), start);
        for _ in 0..1000 {
            (used, now) = (used + ms(1), now + Duration::from_micros(2500));
            assert_eq!(share.over(used, now), ms(0));
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
