//! What a run is asked to be. The same scenario gives the same run.

use crate::network::LinkModel;
use directory::Parameters;
use std::time::Duration;
use wire::rng::{Purpose, TrafficRng};

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Everything random follows from it.
    pub seed: u64,
    /// Mixes in each of the three layers.
    pub mixes_per_layer: usize,
    /// Gateways, each of another operator.
    pub gateways: usize,
    /// For each client, which gateway it connects to.
    pub entries: Vec<usize>,
    /// Rates and limits.
    pub parameters: Parameters,
    /// Length of an epoch, in whole milliseconds.
    pub epoch_length: Duration,
    /// All links.
    pub link: LinkModel,
    /// How long a gateway's disk takes.
    pub store_latency: Duration,
    /// Whether the trace keeps every event.
    pub keep_trace: bool,
    /// Faults planted by a test.
    pub faults: Faults,
}

/// Faults that no machine has: a test plants one around it and must find it again.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// A client sends a packet whenever its owner gives it something to send.
    pub send_on_type: bool,
    /// From so long after the start on, a client that has something to send or on its way writes each frame a
    /// microsecond late.
    pub late_when_busy: Option<Duration>,
    /// A client that is given a cell sends a packet at once.
    pub ack_off_clock: bool,
    /// A gateway leaves out what would be a dummy.
    pub no_dummies: bool,
}

impl Scenario {
    /// Six mixes, three gateways, four clients, at localnet's rates, epochs of ten minutes.
    pub fn small(seed: u64) -> Self {
        let mut parameters = Parameters::localnet();
        // Work is real also in virtual time.
        parameters.puzzle_difficulty = 2;
        Self {
            seed,
            mixes_per_layer: 2,
            gateways: 3,
            entries: vec![0, 1, 2, 0],
            parameters,
            epoch_length: Duration::from_secs(600),
            link: LinkModel::plain(),
            store_latency: Duration::from_millis(5),
            keep_trace: false,
            faults: Faults::default(),
        }
    }

    /// 32 bytes that belong to (seed, what, index) and to nothing else.
    pub fn derive(&self, what: Secret, index: u64) -> [u8; 32] {
        let mut root = [0; 32];
        root[..8].copy_from_slice(&self.seed.to_be_bytes());
        let tick = ((what as u64) << 48) | (index & 0xffff_ffff_ffff);
        let mut draws = TrafficRng::from_seed(root).tick(Purpose::Simulation, tick);
        let mut out = [0; 32];
        for word in out.chunks_mut(8) {
            word.copy_from_slice(&draws.draw_u64().to_be_bytes());
        }
        out
    }
}

/// What [`Scenario::derive`] is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Secret {
    /// A node's or the authority's identity.
    Identity = 1,
    /// What an observer sees of a machine.
    Traffic = 2,
    /// A machine's keys.
    Keys = 3,
    /// A client's session address.
    Session = 4,
    /// The links.
    Links = 5,
    /// An inbox' id.
    Inbox = 6,
    /// An inbox' reading key.
    Reader = 7,
    /// An inbox' write token.
    Token = 8,
    /// A cell's id.
    Cell = 9,
    /// A gateway's key for inbox ids.
    InboxHash = 10,
    /// The network's id.
    Network = 11,
    /// What the workload does.
    Workload = 12,
}
