//! When each packet was handed over and when it came back, by its number.
//!
//! Written by the source and the sink at once, without a lock; read when both are done.

use runtime::clock::Clock;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One line for each packet that may be sent.
pub struct Ledger {
    clock: Clock,
    /// Tells our packets from the node's own loops.
    nonce: [u8; 8],
    lines: Box<[Line]>,
    passed: AtomicU64,
    strangers: AtomicU64,
}

#[derive(Default)]
struct Line {
    /// Nanoseconds; of the clock for `sent` and `came`, 0 for not yet.
    delay: AtomicU64,
    sent: AtomicU64,
    came: AtomicU64,
    times: AtomicU32,
}

/// How late packets came, ascending, in nanoseconds; below zero is early.
pub struct Lateness(Vec<i64>);

impl Ledger {
    /// For packets 0 to `most` − 1.
    pub fn new(most: usize, clock: Clock, nonce: [u8; 8]) -> Self {
        Self {
            clock,
            nonce,
            lines: (0..most).map(|_| Line::default()).collect(),
            passed: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
        }
    }

    /// How many packets it has room for.
    pub fn most(&self) -> usize {
        self.lines.len()
    }

    /// What packet `number` carries to the sink.
    pub fn mark(&self, number: usize) -> [u8; 16] {
        let mut mark = [0; 16];
        mark[..8].copy_from_slice(&(number as u64).to_be_bytes());
        mark[8..].copy_from_slice(&self.nonce);
        mark
    }

    /// The packet was made with this delay.
    pub fn made(&self, number: usize, delay: Duration) {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.lines[number].delay.store(nanos, Ordering::Relaxed);
    }

    /// The packet is about to be handed over. The first time counts.
    pub fn sent(&self, number: usize) {
        set_once(&self.lines[number].sent, self.clock.now().as_nanos());
    }

    /// A packet with this mark came out, just before now. The first time counts; how often is counted too.
    pub fn came(&self, mark: &[u8; 16], at: Instant) {
        let at = self.clock.instant_of_std(at).as_nanos();
        let (number, nonce) = mark.split_at(8);
        let number = number.try_into().map_or(u64::MAX, u64::from_be_bytes);
        let line = usize::try_from(number).ok().and_then(|n| self.lines.get(n));
        match line {
            Some(line) if nonce == self.nonce => {
                set_once(&line.came, at);
                line.times.fetch_add(1, Ordering::Relaxed);
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.strangers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Packets that came out, doubles included.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Packets that are none of ours: the node's loops.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// How many of these came out at all.
    pub fn passed_of(&self, numbers: Range<usize>) -> usize {
        self.count(numbers, |times| times > 0)
    }

    /// How many of these came out more than once.
    pub fn doubles_of(&self, numbers: Range<usize>) -> usize {
        self.count(numbers, |times| times > 1)
    }

    fn count(&self, numbers: Range<usize>, of: impl Fn(u32) -> bool) -> usize {
        let times = self.lines[numbers].iter();
        times
            .filter(|line| of(line.times.load(Ordering::Relaxed)))
            .count()
    }

    /// Whether packet `number` came out.
    pub fn has_passed(&self, number: usize) -> bool {
        self.lines[number].times.load(Ordering::Relaxed) > 0
    }

    /// When packet `number` was due, on the clock, if it was sent.
    pub fn due(&self, number: usize, allowance: Duration) -> Option<u64> {
        let line = &self.lines[number];
        let sent = line.sent.load(Ordering::Relaxed);
        let allowance = u64::try_from(allowance.as_nanos()).unwrap_or(u64::MAX);
        let wait = line.delay.load(Ordering::Relaxed).saturating_add(allowance);
        (sent > 0).then(|| sent.saturating_add(wait))
    }

    /// How late those of `numbers` came that came: after sent + δ + delay.
    pub fn lateness(&self, numbers: Range<usize>, allowance: Duration) -> Lateness {
        let late = self.late(numbers, allowance);
        let mut late: Vec<i64> = late.map(|(_, late)| late).collect();
        late.sort_unstable();
        Lateness(late)
    }

    /// When each of those of `numbers` that came was due, on the clock, and how late it was; in nanoseconds.
    pub fn late(
        &self,
        numbers: Range<usize>,
        allowance: Duration,
    ) -> impl Iterator<Item = (u64, i64)> {
        numbers.filter_map(move |number| {
            let due = self.due(number, allowance)?;
            let came = self.lines[number].came.load(Ordering::Relaxed);
            (came > 0).then(|| (due, came as i64 - due as i64))
        })
    }

    /// How long those of `numbers` that came were on their way, less δ: what should be the drawn
    /// delays. In seconds, in no order.
    pub fn delays(&self, numbers: Range<usize>, allowance: Duration) -> Vec<f64> {
        let took = numbers.filter_map(|number| {
            let line = &self.lines[number];
            let came = line.came.load(Ordering::Relaxed);
            let sent = line.sent.load(Ordering::Relaxed);
            let took = Duration::from_nanos(came.checked_sub(sent)?).as_secs_f64();
            (sent > 0).then_some(took - allowance.as_secs_f64())
        });
        took.collect()
    }
}

fn set_once(line: &AtomicU64, value: u64) {
    let _ = line.compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed);
}

impl Lateness {
    /// How many packets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lateness that a share of `p` of the packets does not exceed, in microseconds.
    pub fn quantile(&self, p: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (p * self.0.len() as f64).ceil() as usize;
        let nanos = self.0.get(at.saturating_sub(1).min(last));
        nanos.map_or(f64::NAN, |n| *n as f64 / 1e3)
    }

    /// How many came before their time.
    pub fn early(&self) -> usize {
        self.0.partition_point(|late| *late < 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_counts_from_sent_and_delay_and_doubles_are_seen() {
        let clock = Clock::start();
        let ledger = Ledger::new(3, clock, [7; 8]);
        ledger.made(0, Duration::ZERO);
        ledger.made(1, Duration::from_secs(1000));
        (0..2).for_each(|n| ledger.sent(n));
        for n in [0, 0, 1] {
            ledger.came(&ledger.mark(n), Instant::now());
        }
        let mut other = ledger.mark(2);
        other[15] ^= 1;
        ledger.came(&other, Instant::now());
        assert_eq!((ledger.passed(), ledger.strangers()), (3, 1));
        assert_eq!(ledger.passed_of(0..3), 2);
        assert_eq!(ledger.doubles_of(0..3), 1);
        let late = ledger.lateness(0..3, Duration::ZERO);
        assert_eq!((late.len(), late.early()), (2, 1));
        assert!(late.quantile(0.5) < -999e6 && late.quantile(1.0) >= 0.0);
    }
}
