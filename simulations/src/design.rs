//! A mix network as one value: what messages pass, how long they wait, who emits cover, how they are
//! delivered and which nodes are the adversary's. Both engines run the same value, and so do the closed forms.
//!
//! Times are seconds, rates are per second. The ready-made designs are in `design/known.rs`, where
//! corrupt nodes sit in `design/placement.rs`, the way of each packet in `design/paths.rs`, and what of it can be told apart in
//! `design/pools.rs`.

mod known;
mod paths;
mod placement;
mod pools;
mod weights;

pub(crate) use paths::NO_CARRY;
pub use paths::{Choice, Draw, NODE_LOOP_BIT, ORDERED_BIT, Packet, Path, Plan, Stage, Step};
pub use placement::Placement;

use std::fmt;

/// A network.
#[derive(Clone, PartialEq, Debug)]
pub struct Design {
    /// For titles and tables.
    pub name: String,
    /// Which mixes there are, and how routes run through them.
    pub topology: Topology,
    /// How much routes prefer the mixes of each stage, one after the other and again from the first; none where all are
    /// alike.
    pub weights: Vec<f64>,
    /// What a mix does with a packet.
    pub mixing: Mixing,
    /// δ: what every hop adds to each delay.
    pub allowance: f64,
    /// What every link takes.
    pub link: f64,
    /// Where users connect; 0 for a bare network, in which users send to mixes.
    pub gateways: u32,
    /// Whether the entry gateway holds packets back as mixes do.
    pub entry_mixes: bool,
    /// Who emits how much.
    pub emission: Emission,
    /// How messages get from the last mix to their reader.
    pub delivery: Delivery,
    /// Bytes of a packet on a link.
    pub packet_len: u32,
    /// The adversary's mixes.
    pub corrupt_mixes: Placement,
    /// The adversary's gateways.
    pub corrupt_gateways: Placement,
}

/// Which mixes there are, and how routes run through them.
#[derive(Clone, PartialEq, Debug)]
pub enum Topology {
    /// A mix of each layer, each uniformly.
    Stratified {
        /// Mixes of each layer.
        widths: Vec<u32>,
    },
    /// One of several rows of mixes, each passed from its first to its last.
    Cascade {
        /// Mixes of a cascade.
        length: u32,
        /// How many there are.
        cascades: u32,
    },
    /// Any mixes, but none twice in a row.
    FreeRoute {
        /// How many there are.
        mixes: u32,
        /// Mixes of a route.
        hops: u32,
    },
}

impl Topology {
    /// Layers of one width.
    pub fn stratified(layers: u32, width: u32) -> Self {
        let widths = vec![width; layers as usize];
        Self::Stratified { widths }
    }

    /// Mixes that a packet passes.
    pub fn hops(&self) -> u32 {
        match self {
            Self::Stratified { widths } => widths.len() as u32,
            Self::Cascade { length, .. } => *length,
            Self::FreeRoute { hops, .. } => *hops,
        }
    }

    /// Mixes of each stage: of a layer, of one place in all cascades, or all.
    pub fn stages(&self) -> Vec<u32> {
        match self {
            Self::Stratified { widths } => widths.clone(),
            Self::Cascade { length, cascades } => vec![*cascades; *length as usize],
            Self::FreeRoute { mixes, .. } => vec![*mixes],
        }
    }
}

/// What a mix does with a packet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mixing {
    /// Passes it on at once, in order: onion routing.
    None,
    /// Holds each one back for an exponential time of its own.
    Poisson {
        /// 1/μ.
        mean: f64,
    },
    /// Sends all as soon as there are `size`, in random order.
    Threshold {
        /// How many.
        size: u32,
    },
    /// Sends all whenever a period is over, in random order.
    Timed {
        /// Length of a period; each mix has a phase of its own.
        period: f64,
    },
    /// As soon as there are `size + kept`, sends a random `size` of them.
    Pool {
        /// How many leave.
        size: u32,
        /// How many stay.
        kept: u32,
    },
}

/// Who emits how much.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Emission {
    /// λP: a client's payload stream.
    pub payload_rate: f64,
    /// Of its ticks, how many ask an inbox instead of sending.
    pub fetch_share: f64,
    /// λL: a client's loops.
    pub loop_rate: f64,
    /// λD: a client's drop cover.
    pub drop_rate: f64,
    /// What happens to a tick with nothing waiting, and to a message with no tick.
    pub cover: Cover,
    /// λM of each mix.
    pub mix_loop_rate: f64,
    /// λM of each gateway.
    pub gateway_loop_rate: f64,
}

/// How real messages and cover share a client's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cover {
    /// A message leaves when it is written; there is no payload stream.
    None,
    /// A message waits for a tick; a tick without a message carries cover.
    #[default]
    Substitute,
    /// A message leaves when it is written, and the payload stream carries cover beside it.
    Add,
}

/// How messages get from the last mix to their reader.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Delivery {
    /// They leave the last mix, and that is all: a bare network.
    Bare,
    /// Requests that are answered: through an inbox at a gateway that is never the reader's own entry, which
    /// answers every request by one reply packet; frames down at a constant rate.
    Echo {
        /// Frames to each client.
        downlink_rate: f64,
        /// Among how many places a fetch tick draws.
        places: u32,
    },
    /// The reader's entry gateway holds the inbox; the reader pulls at a constant interval.
    Provider {
        /// Between two pulls.
        pull_interval: f64,
    },
    /// The reader's gateway passes them on at once.
    Push,
}

/// Why a design cannot be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesignError(pub String);

impl fmt::Display for DesignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DesignError {}

fn refuse<T>(why: impl Into<String>) -> Result<T, DesignError> {
    Err(DesignError(why.into()))
}

impl Design {
    /// Whether it can be run at all; says what is wrong.
    pub fn check(&self) -> Result<(), DesignError> {
        self.check_shape()?;
        self.check_emission()?;
        self.check_delivery()?;
        self.corrupt_mixes.check("corrupt mixes")?;
        self.corrupt_gateways.check("corrupt gateways")
    }

    pub(crate) fn check_shape(&self) -> Result<(), DesignError> {
        let stages = self.topology.stages();
        if stages.is_empty() || stages.contains(&0) || self.topology.hops() == 0 {
            return refuse("a topology needs at least one layer, and every layer a mix");
        }
        if stages.len() > 30 || self.topology.hops() > 30 || stages.iter().any(|w| *w > 60_000) {
            return refuse("at most 30 layers of at most 60000 mixes");
        }
        if matches!(self.topology, Topology::FreeRoute { mixes: 1, hops } if hops > 1) {
            return refuse("free routes of several hops need at least two mixes");
        }
        if !self.weights.iter().all(|w| (1e-6..=1e6).contains(w)) {
            return refuse("weights lie between 1e-6 and 1e6");
        }
        for (name, x) in [("allowance", self.allowance), ("link", self.link)] {
            if !(0.0..=3600.0).contains(&x) {
                return refuse(format!("{name} must lie between 0 and an hour"));
            }
        }
        match self.mixing {
            Mixing::None => {}
            Mixing::Poisson { mean: time } | Mixing::Timed { period: time } => {
                if !(1e-6..=1e6).contains(&time) {
                    return refuse("a mix's mean delay or period must lie between 1us and 1e6s");
                }
            }
            Mixing::Threshold { size } | Mixing::Pool { size, .. } => {
                if !(1..=1_000_000).contains(&size) {
                    return refuse("a batch has between 1 and 1000000 packets");
                }
            }
        }
        Ok(())
    }

    pub(crate) fn check_emission(&self) -> Result<(), DesignError> {
        let e = &self.emission;
        let rates = [
            ("payload_rate", e.payload_rate),
            ("loop_rate", e.loop_rate),
            ("drop_rate", e.drop_rate),
            ("mix_loop_rate", e.mix_loop_rate),
            ("gateway_loop_rate", e.gateway_loop_rate),
        ];
        for (name, rate) in rates {
            if !(0.0..=1e6).contains(&rate) {
                return refuse(format!("{name} must lie between 0/s and 1e6/s"));
            }
        }
        if !(0.0..1.0).contains(&e.fetch_share) {
            return refuse("fetch_share must be at least 0 and below 1");
        }
        if e.cover == Cover::Substitute && e.payload_rate == 0.0 {
            return refuse(
                "cover = \"substitute\" needs a payload_rate: nothing would ever be sent",
            );
        }
        if e.cover == Cover::None && e.payload_rate > 0.0 {
            return refuse("cover = \"none\" has no payload stream: leave payload_rate out");
        }
        Ok(())
    }

    pub(crate) fn check_delivery(&self) -> Result<(), DesignError> {
        match self.delivery {
            Delivery::Bare => {
                if self.gateways > 0 || self.emission.gateway_loop_rate > 0.0 {
                    return refuse("delivery = \"bare\" has no gateways");
                }
                if self.emission.mix_loop_rate > 0.0 || self.entry_mixes {
                    return refuse("loops of mixes, and an entry that mixes, need gateways");
                }
                return Ok(());
            }
            Delivery::Echo {
                downlink_rate,
                places,
            } => {
                let up = self.emission.payload_rate + self.emission.loop_rate;
                if downlink_rate <= up {
                    return refuse(
                        "downlink_rate must exceed payload_rate + loop_rate: replies would pile up",
                    );
                }
                if self.gateways < 2 || places == 0 {
                    return refuse(
                        "delivery = \"echo\" needs two gateways, and at least one place",
                    );
                }
                if !matches!(self.topology, Topology::Stratified { .. }) {
                    return refuse("delivery = \"echo\" runs over a stratified topology");
                }
            }
            Delivery::Provider { pull_interval } => {
                if !(1e-6..=1e6).contains(&pull_interval) {
                    return refuse("pull_interval must lie between 1us and 1e6s");
                }
            }
            Delivery::Push => {}
        }
        if !(1..=60_000).contains(&self.gateways) {
            return refuse("this delivery needs between 1 and 60000 gateways");
        }
        if self.entry_mixes && !matches!(self.mixing, Mixing::Poisson { .. }) {
            return refuse("an entry gateway that mixes goes with mixing = \"poisson\"");
        }
        let loops = self.emission.mix_loop_rate > 0.0;
        if loops && !matches!(self.topology, Topology::Stratified { .. }) {
            return refuse("loops of mixes run over a stratified topology");
        }
        Ok(())
    }

    /// Whether replies run through the mixes.
    pub fn is_echo(&self) -> bool {
        matches!(self.delivery, Delivery::Echo { .. })
    }

    /// δ and a link: what lies between leaving one pool and entering the next.
    pub fn lag(&self) -> f64 {
        self.allowance + self.link
    }

    /// Mean time that one mix holds a packet back; of batches, `None`: it depends on the traffic.
    pub fn mean_delay(&self) -> Option<f64> {
        match self.mixing {
            Mixing::None => Some(0.0),
            Mixing::Poisson { mean } => Some(mean),
            Mixing::Timed { period } => Some(period / 2.0),
            Mixing::Threshold { .. } | Mixing::Pool { .. } => None,
        }
    }

    /// Packets that one client sends in a second, real messages of `Cover::None` and `Add` left out.
    pub fn client_rate(&self) -> f64 {
        let e = &self.emission;
        e.payload_rate + e.loop_rate + e.drop_rate
    }

    /// The gateway that a user connects to.
    pub fn entry_of(&self, user: u32) -> u32 {
        user % self.gateways.max(1)
    }

    /// The gateway that holds a user's inbox. In the echo design it is another one than the entry.
    pub fn inbox_of(&self, user: u32) -> u32 {
        let gateways = self.gateways.max(1);
        let entry = self.entry_of(user);
        if !self.is_echo() || gateways < 2 {
            return entry;
        }
        // The users of one entry spread evenly over all the others.
        (entry + 1 + (user / gateways) % (gateways - 1)) % gateways
    }
}
