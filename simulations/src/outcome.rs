//! What a run measures: the posterior of each tracked message, latencies, bandwidth.
//!
//! **Exact posterior, global observer.** The observer sees every packet on every link, knows what every honest node
//! holds, and sees inside the corrupt ones. Who knows what a node holds knows sooner or later what each packet was: a
//! reply or a mix's loop ends without entering another pool, and a packet that has all its hops behind it leaves. So he is
//! told at once which steps a packet still has before it (not at which nodes), and a node is to him one pool for each
//! such way. He is not told what it carries: payload, questions, cover and loops of gateways go the same way.
//!
//! Then the posterior is exact, where it would otherwise give mass to ways that the message cannot have gone
//! (`tests/calibration.rs` holds its promises to what comes true, in every design). The probability mass of one sent message
//! is followed: a pool gives each packet that leaves it its mass divided by the number of packets in it (exact for
//! exponential delays, which have no memory, and for batches that leave in random order); a corrupt node passes it on with
//! the packet. Mass that has reached a goal (left the mixes) is final: the set of these packets with their masses is
//! the posterior. A real observer knows less, so entropies are what is left at least.
//!
//! **Over users**, masses of packets are added up by who sent them, or who gets them. Loops of gateways are nobody's:
//! who asks for a user leaves them out. At which gateway each sender enters is not used, so in an echo network of very
//! few users such a guess is right a little more often than it says (by an eighth with six users at three gateways).

mod histogram;
mod ledger;

pub use histogram::Histogram;
pub use ledger::{Ledger, MISSING_MAX};

use crate::design::Packet;
use crate::message::Class;

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random follows from it.
    pub seed: u64,
    /// Seconds before the first message is tracked; `None` for eight mean ways, or more.
    pub warm_up: Option<f64>,
    /// Messages to track, at least, if the workload lasts.
    pub targets: usize,
    /// Which classes are tracked.
    pub tracked: Vec<Class>,
    /// Over whom a posterior is summed to be one over users.
    pub users: Users,
    /// Whether messages count whose posterior was completed only after the workload's end.
    pub drain: bool,
}

impl Options {
    /// Tracks payload, over messages alone.
    pub fn new(seed: u64, targets: usize) -> Self {
        Self {
            seed,
            warm_up: None,
            targets,
            tracked: vec![Class::Payload],
            users: Users::None,
            drain: false,
        }
    }
}

/// Over whom a posterior is summed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Users {
    /// Nobody.
    None,
    /// So many senders: whose packet the tracked one could be taken for.
    Senders(u32),
    /// So many receivers.
    Receivers(u32),
}

impl Users {
    /// How many users, if any.
    pub fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Senders(n) | Self::Receivers(n) => n as usize,
        }
    }
}

/// What is known of one tracked message. Entropies are in bits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tracked {
    /// Its number.
    pub id: u64,
    /// Messages tracked at the same time have the same group: they meet in the same pools, so it is
    /// groups that are independent of each other.
    pub group: u32,
    /// When it was sent.
    pub sent: f64,
    /// Who sent it.
    pub sender: u32,
    /// Whom it was for.
    pub receiver: u32,
    /// From sending to its goal.
    pub latency: f64,
    /// Shannon entropy over messages.
    pub entropy: f64,
    /// Min-entropy over messages.
    pub min_entropy: f64,
    /// The best guess's probability to be right, as the observer computes it.
    pub best: f64,
    /// Whether the best guess is right.
    pub hit: bool,
    /// Mass of the right answer.
    pub truth: f64,
    /// Shannon entropy over users.
    pub user_entropy: f64,
    /// Min-entropy over users.
    pub user_min_entropy: f64,
    /// The best guess's probability, over users.
    pub user_best: f64,
    /// Whether the best guess is right, over users.
    pub user_hit: bool,
    /// Packets that carry mass.
    pub outputs: u64,
    /// Mass that had not arrived when the posterior was closed.
    pub missing: f64,
}

impl Tracked {
    /// Whether the observer knows for certain which packet it is.
    pub fn exposed(&self) -> bool {
        self.entropy < 1e-9
    }
}

/// Somebody who looks on. Both engines tell it the same, the sweep not in the order of time.
pub trait Probe<const T: usize> {
    /// A packet has reached its goal or its end, with the mass of each tracked message.
    fn delivered(&mut self, _time: f64, _packet: &Packet, _class: Class, _mass: &[f64; T]) {}
    /// A packet has left a node (by number), in whose pool so many stay.
    fn departed(&mut self, _time: f64, _node: u32, _packet: &Packet, _stay: u32) {}
}

/// Nobody.
impl<const T: usize> Probe<T> for () {}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Tracked messages, in the order in which they were sent.
    pub tracked: Vec<Tracked>,
    /// From sending to the goal, of payload sent after the warm-up.
    pub latency: Histogram,
    /// The same until its reader has it.
    pub to_reader: Histogram,
    /// Packets sent, by class.
    pub sent: [u64; Class::ALL.len()],
    /// Packets whose whole way is done.
    pub arrived: u64,
    /// Packets lost to an adversary.
    pub dropped: u64,
    /// Entries to and departures from nodes.
    pub hop_events: u64,
    /// Seconds of virtual time.
    pub ran: f64,
    /// Tracked messages that were given up because the workload ended.
    pub cut_off: u64,
    /// Most packets under way at one time.
    pub most_under_way: u64,
}

impl Outcome {
    /// Mean of a measure over all tracked messages, and its standard error, from the means of the groups. The
    /// error is not a number below two groups.
    pub fn estimate(&self, of: impl Fn(&Tracked) -> f64) -> (f64, f64) {
        estimate(&self.tracked, of)
    }
}

/// The same of any tracked messages.
pub fn estimate(tracked: &[Tracked], of: impl Fn(&Tracked) -> f64) -> (f64, f64) {
    let n = tracked.len() as f64;
    let mean = tracked.iter().map(&of).sum::<f64>() / n;
    // A ratio of sums over groups: what a group adds to the numerator beyond its share.
    let (mut groups, mut squares, mut sum) = (0.0, 0.0, 0.0);
    for (i, t) in tracked.iter().enumerate() {
        sum += of(t) - mean;
        if tracked.get(i + 1).is_none_or(|next| next.group != t.group) {
            groups += 1.0;
            squares += sum * sum;
            sum = 0.0;
        }
    }
    if groups < 2.0 {
        return (mean, f64::NAN);
    }
    (mean, (squares * groups / (groups - 1.0)).sqrt() / n)
}
