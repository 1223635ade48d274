//! Packets to be sent: a header of its own for each, and a payload out of a small pool.
//!
//! A packet takes 348 bytes here until it is sent, not 2,834. What a node reads of a payload is noise to
//! it, so that sixty-four different ones are as good as a million.

use super::failed;
use super::ledger::Ledger;
use runtime::node::NodeError;
use sphinx::{Probe, ProbeHeader, ProbeMaker};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use wire::frame::{Frame, FrameBytes};
use wire::geometry::{FRAME_HEADER_LEN, PACKET_LEN, SPHINX_HEADER_LEN};
use wire::ids::{EpochHint, NextHop};
use wire::keys::SphinxPublic;
use wire::rng::{KeyRng, Purpose, Rng, TickRng, TrafficRng, pick};

/// Payloads in the pool.
const PAYLOADS: usize = 64;
/// Headers that are made at once.
const BATCH: usize = 512;
/// Where a packet's MAC stands in its frame.
const MAC_AT: usize = FRAME_HEADER_LEN + 32;

/// Where a frame's epoch hint stands.
const HINT_AT: usize = 2;

/// Makes packets and keeps their headers.
pub struct Stock {
    maker: ProbeMaker,
    rng: KeyRng,
    draws: TickRng,
    delay_mean: Duration,
    next: Vec<NextHop>,
    ledger: Arc<Ledger>,
    /// Whole frames whose headers are overwritten.
    templates: Vec<FrameBytes>,
    headers: Vec<ProbeHeader>,
    /// The number of the first of `headers`.
    first: usize,
}

/// What a stock is made of.
pub struct StockConfig {
    /// The node's key.
    pub key: SphinxPublic,
    /// Its epoch.
    pub hint: EpochHint,
    /// 1/μ of the delays that are drawn.
    pub delay_mean: Duration,
    /// Where packets go from the node; each goes to one at random.
    pub next: Vec<NextHop>,
    /// Where they are written down.
    pub ledger: Arc<Ledger>,
    /// Of everything that is drawn.
    pub seed: [u8; 32],
}

impl Stock {
    /// Empty.
    pub fn new(config: StockConfig) -> Result<Self, NodeError> {
        let StockConfig {
            key,
            hint,
            delay_mean,
            next,
            ledger,
            seed,
        } = config;
        let mut rng = KeyRng::from_seed(seed);
        let maker = ProbeMaker::new(&key, &mut rng).map_err(failed("make packets"))?;
        let draws = TrafficRng::from_seed(seed).tick(Purpose::Simulation, 0);
        let mut template = || {
            let mut packet = Box::new([0; PACKET_LEN]);
            rng.fill_bytes(&mut packet[..]);
            Frame::Packet(hint, packet).encode()
        };
        let templates = (0..PAYLOADS).map(|_| template()).collect();
        Ok(Self {
            maker,
            rng,
            draws,
            delay_mean,
            next,
            ledger,
            templates,
            headers: Vec::new(),
            first: 0,
        })
    }

    /// Makes `packets` more, as far as the ledger has room; their numbers.
    pub fn make(&mut self, packets: usize) -> Range<usize> {
        let from = self.first + self.headers.len();
        let to = (from + packets).min(self.ledger.most());
        for start in (from..to).step_by(BATCH) {
            let numbers = start..(start + BATCH).min(to);
            let probes: Vec<_> = numbers.map(|number| self.probe(number)).collect();
            let headers = self.maker.headers(&probes, &mut self.rng);
            self.headers.extend(headers);
        }
        from..to
    }

    fn probe(&mut self, number: usize) -> Probe {
        let delay = self.draws.draw_exponential(self.delay_mean);
        self.ledger.made(number, delay);
        let at = pick(self.draws.draw_u64(), self.next.len()).unwrap_or(0);
        Probe {
            next: self.next[at].clone(),
            delay,
            mark: self.ledger.mark(number),
        }
    }

    /// The headers of all packets so far are of no more use.
    pub fn forget(&mut self) {
        self.first += self.headers.len();
        self.headers.clear();
    }

    /// Where packets are written down.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// A packet, framed.
    pub fn frame(&self, number: usize) -> FrameBytes {
        let mut frame = self.templates[number % PAYLOADS].clone();
        let header = &self.headers[number - self.first];
        frame[FRAME_HEADER_LEN..][..SPHINX_HEADER_LEN].copy_from_slice(header);
        frame
    }

    /// The same with one bit of its MAC changed: what a flood of junk costs a node.
    pub fn junk(&self, number: usize) -> FrameBytes {
        let mut frame = self.frame(number);
        frame[MAC_AT] ^= 1;
        frame
    }

    /// The same for an epoch of which the node has no key.
    pub fn of_other_epoch(&self, number: usize) -> FrameBytes {
        let mut frame = self.frame(number);
        frame[HINT_AT] ^= 0x40;
        frame
    }
}
