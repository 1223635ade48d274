//! Keeps the machine's cores from sleeping while a loop has much to do.
//!
//! A core without work halts. A virtual one is then taken off its real core, and where the disk is busy at
//! the same time it was seen to come back some milliseconds after the timer that should have woken it (with a
//! hundred `fdatasync` a second and nothing else: 99 of 100 timers up to 2.5 ms late, and 0.3 ms with
//! this). One thread for each core spins, in the class that gives way to everybody
//! ([`urgency::run_last`]), and sleeps itself while there is little to do: a node that carries
//! little costs no more than before, and one that carries much has a machine of its own.

use crate::clock::Clock;
use crate::{cores, urgency};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::time::Instant;

/// The name of its threads, whose time is nobody's.
pub const THREAD: &str = "awake";

/// How long a busy moment keeps the cores awake.
const HOLD: Duration = Duration::from_millis(500);
/// Turns are counted in pieces of this.
const WINDOW: Duration = Duration::from_millis(50);
/// So many turns in a window are much to do: 2,000 a second.
const MUCH: u32 = 100;

/// One thread for each core that this one may use; they end when this is dropped.
pub struct Awake {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    window: Window,
}

struct Shared {
    clock: Clock,
    /// Nanoseconds of the clock until which the cores are kept awake.
    until: AtomicU64,
    stop: AtomicBool,
}

impl Awake {
    /// Asleep until there is much to do.
    pub fn start(clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            clock,
            until: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut awake = Self {
            shared,
            threads: Vec::new(),
            window: Window::default(),
        };
        for core in cores::cores()? {
            let shared = awake.shared.clone();
            let thread = std::thread::Builder::new().name(THREAD.into());
            let work = move || {
                // Only where it gives way: everywhere else it would be in the way.
                if cores::pin(&[core]).is_ok() && urgency::run_last() {
                    shared.spin();
                }
            };
            awake.threads.push(thread.spawn(work)?);
        }
        Ok(awake)
    }

    /// The loop begins a turn.
    pub fn turn(&mut self, now: Instant) {
        if self.window.turn(now) {
            self.keep_until(now + HOLD);
        }
    }

    /// Keeps the cores awake until then.
    pub fn keep_until(&self, end: Instant) {
        let before = self.shared.until.swap(end.as_nanos(), Ordering::Relaxed);
        if before <= self.shared.clock.now().as_nanos() {
            self.threads.iter().for_each(|t| t.thread().unpark());
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // Its panic was its end, and no reason for another.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn spin(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.clock.now().as_nanos() < self.until.load(Ordering::Relaxed) {
                (0..64).for_each(|_| std::hint::spin_loop());
            } else {
                // A wake that comes between the look and this is not lost: the next park returns at once.
                std::thread::park();
            }
        }
    }
}

/// Whether a loop has much to do, by how often it turns.
#[derive(Default)]
struct Window {
    end: Instant,
    turns: u32,
}

impl Window {
    /// Says so once in a window at most.
    fn turn(&mut self, now: Instant) -> bool {
        if now >= self.end {
            *self = Self {
                end: now + WINDOW,
                turns: 0,
            };
        }
        self.turns = self.turns.saturating_add(1);
        self.turns == MUCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often `rate` turns a second count as much, in a second.
    fn busy(rate: u32) -> usize {
        let (mut window, mut now) = (Window::default(), Clock::start().now());
        let turns = (0..rate).filter(|_| {
            now += Duration::from_secs(1) / rate;
            window.turn(now)
        });
        turns.count()
    }

    #[test]
    fn only_a_loop_that_turns_often_is_busy() {
        assert_eq!(busy(100), 0);
        assert_eq!(busy(1500), 0);
        let often = busy(3000);
        assert!((15..=20).contains(&often), "{often}");
    }

    /// CPU time of this process' threads of that name, in nanoseconds.
    fn spun() -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let of = |task: std::path::PathBuf| -> Option<u64> {
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
            let ran = times.split_whitespace().next()?.parse().ok()?;
            (name.trim_end() == THREAD).then_some(ran)
        };
        tasks.filter_map(|task| of(task.ok()?.path())).sum()
    }

    #[test]
    fn it_sleeps_spins_and_sleeps_again() {
        let clock = Clock::start();
        let awake = Awake::start(clock).unwrap();
        let long = Duration::from_millis(100);
        std::thread::sleep(long);
        let asleep = spun();
        std::thread::sleep(long);
        assert_eq!(spun(), asleep, "nothing to do");
        awake.keep_until(clock.now() + Duration::from_secs(3600));
        // Other tests may have all the cores; then it has to give way.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while spun() < asleep + 1_000_000 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(spun() >= asleep + 1_000_000);
        drop(awake);
        assert_eq!(spun(), 0, "its threads have ended");
    }
}
