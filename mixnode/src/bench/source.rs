//! The layer before: sends packets over its links at a rate, as a Poisson process.
//!
//! It hands over what is due in turns, as the loop of a node does ([`runtime::pace`]). The load is open:
//! packets are due when the process says, whether the node keeps up or not. Where it does not take them,
//! the source falls behind, and says by how much.

use super::stock::Stock;
use runtime::clock::Clock;
use runtime::link::{FrameReader, FrameWriter, LinkError, NodeLink};
use runtime::pace::TURN;
use runtime::urgency;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wire::frame::FrameBytes;
use wire::rng::{Purpose, TickRng, TrafficRng, pick};

/// Most frames of one write.
const BATCH_MAX: usize = 32;

/// Links to the node, on this thread.
pub struct Source {
    runtime: Runtime,
    writers: Vec<FrameWriter>,
    /// Kept so that the links stay open.
    _readers: Vec<FrameReader>,
    draws: TickRng,
}

/// What is sent.
pub struct Offer {
    /// Numbers of packets in the stock; the rest is not sent.
    pub numbers: Range<usize>,
    /// Packets a second; infinite for as fast as they are taken.
    pub rate: f64,
    /// Not after this.
    pub until: Option<Instant>,
}

/// What was sent.
pub struct Offered {
    /// These.
    pub numbers: Range<usize>,
    /// Packets that were due by the end and could not be handed over.
    pub behind: usize,
    /// Why it ended before its time.
    pub broken: Option<LinkError>,
}

impl Source {
    /// With these links.
    pub fn new(runtime: Runtime, links: Vec<NodeLink>, seed: [u8; 32]) -> Self {
        let halves = links.into_iter().map(|link| (link.writer, link.reader));
        let (writers, readers) = halves.unzip();
        let draws = TrafficRng::from_seed(seed).tick(Purpose::Simulation, 1);
        Self {
            runtime,
            writers,
            _readers: readers,
            draws,
        }
    }

    /// Sends frames over the first link, as fast as they are taken.
    pub fn send_frames(&mut self, frames: &[FrameBytes]) -> Result<(), LinkError> {
        match self.writers.first_mut() {
            Some(writer) => self.runtime.block_on(writer.send(frames)),
            None => Ok(()),
        }
    }

    /// Sends packets of the stock, each over a link at random.
    pub fn offer(&mut self, stock: &Stock, offer: Offer) -> Offered {
        self.offer_frames(stock, offer, Stock::frame)
    }

    /// The same with what `frame` makes of each.
    ///
    /// On a thread of its own, which runs first where the system allows it: between the moment at which a
    /// packet counts as sent and the socket there must be no wait for a core.
    pub fn offer_frames(
        &mut self,
        stock: &Stock,
        offer: Offer,
        frame: impl Fn(&Stock, usize) -> FrameBytes + Send,
    ) -> Offered {
        // As fast as it goes, there is no moment to be kept, and urgency would starve whoever takes it.
        let punctual = offer.rate.is_finite();
        let work = || {
            if punctual {
                urgency::run_first();
            }
            self.offer_here(stock, offer, frame)
        };
        let ended = std::thread::scope(|scope| scope.spawn(work).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn offer_here(
        &mut self,
        stock: &Stock,
        offer: Offer,
        frame: impl Fn(&Stock, usize) -> FrameBytes,
    ) -> Offered {
        let start = Instant::now();
        let mut schedule = Schedule {
            gap: 1.0 / offer.rate,
            due: 0.0,
        };
        let mut next = offer.numbers.start;
        let mut batches: Vec<Vec<FrameBytes>> = vec![Vec::new(); self.writers.len()];
        let mut numbers: Vec<Vec<usize>> = vec![Vec::new(); self.writers.len()];
        let ended = |next, behind, broken| Offered {
            numbers: offer.numbers.start..next,
            behind,
            broken,
        };
        loop {
            let now = Instant::now();
            let over = offer.until.is_some_and(|until| now >= until);
            if over || next >= offer.numbers.end {
                let elapsed = (now - start).as_secs_f64();
                let behind = schedule.missed(elapsed, offer.numbers.end - next);
                return ended(next, behind, None);
            }
            let elapsed = (now - start).as_secs_f64();
            let mut most = BATCH_MAX * self.writers.len();
            while next < offer.numbers.end && schedule.due <= elapsed && most > 0 {
                let link = pick(self.draws.draw_u64(), self.writers.len()).unwrap_or(0);
                batches[link].push(frame(stock, next));
                numbers[link].push(next);
                schedule.step(&mut self.draws);
                next += 1;
                most -= 1;
            }
            for ((writer, batch), numbers) in
                self.writers.iter_mut().zip(&mut batches).zip(&mut numbers)
            {
                if batch.is_empty() {
                    continue;
                }
                numbers.drain(..).for_each(|n| stock.ledger().sent(n));
                if let Err(error) = self.runtime.block_on(writer.send(batch)) {
                    return ended(next, 0, Some(error));
                }
                batch.clear();
            }
            let wait =
                Duration::from_secs_f64(schedule.due.min(1e6)).saturating_sub(start.elapsed());
            if wait > Duration::ZERO && next < offer.numbers.end {
                let rest = TURN.saturating_sub(now.elapsed());
                std::thread::sleep(wait.max(rest));
            }
        }
    }
}

/// When the next packet is due, in seconds since the start.
struct Schedule {
    gap: f64,
    due: f64,
}

impl Schedule {
    fn step(&mut self, draws: &mut TickRng) {
        if self.gap > 0.0 {
            self.due -= draws.draw_open01().ln() * self.gap;
        }
    }

    fn missed(&self, elapsed: f64, left: usize) -> usize {
        if self.gap > 0.0 && self.due < elapsed {
            (((elapsed - self.due) / self.gap) as usize).min(left)
        } else {
            0
        }
    }
}

/// A thread that does nothing but wake up at random moments, as urgent as a node's loop: how late the
/// machine itself lets anybody be, at the side of a measurement.
pub struct Metronome {
    thread: std::thread::JoinHandle<Vec<f64>>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Metronome {
    /// Begins; some two hundred times a second.
    pub fn start(clock: Clock) -> Self {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            urgency::run_first();
            let mut draws = TrafficRng::from_seed([1; 32]).tick(Purpose::Simulation, 2);
            let mut late = Vec::new();
            while !switch.load(std::sync::atomic::Ordering::Relaxed) {
                let due = clock.now() + draws.draw_exponential(Duration::from_millis(5));
                std::thread::sleep(due - clock.now());
                late.push((clock.now() - due).as_secs_f64() * 1e6);
            }
            late
        });
        Self { thread, stop }
    }

    /// Ends; the lateness that 99 of 100 wake-ups did not exceed, in microseconds.
    pub fn p99(self) -> f64 {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut late = self.thread.join().unwrap_or_default();
        late.sort_by(f64::total_cmp);
        let at = late.len() * 99 / 100;
        late.get(at).copied().unwrap_or(f64::NAN)
    }
}
