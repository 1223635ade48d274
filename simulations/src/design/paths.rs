//! The way of each packet: a design, compiled for the engines.
//!
//! A packet follows a [`Path`], which its class decides: steps through stages (the gateways, where they hold packets
//! back, then each layer of mixes), with the node of each step and the delay there drawn from what is keyed by the
//! packet's number and the step. So both engines move the same packet alike, whatever else they do.
//!
//! What a node holds is parted by what its packets have still before them ([`Step::pool`]); why, says [`crate::outcome`].

use super::weights::{Shares, heaviest};
use super::{Delivery, Design, DesignError, Mixing, Placement, Topology};
use crate::message::{Class, Message};
use crate::random::{Keyed, Purpose, below, exponential};

/// Nodes that packets enter at the same step of their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Number of its first node; nodes are numbered through.
    pub first: u32,
    /// How many nodes.
    pub width: u32,
    /// Whether they are gateways.
    pub gateways: bool,
    /// Number of the first pool; pools are numbered through as nodes are.
    pub first_pool: u32,
    /// Pools of each node: one for each way that packets in it may still have before them.
    pub pools: u32,
}

/// Which node of a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Any, uniformly.
    Any,
    /// Any but the one before.
    AnyOther,
    /// The one of the same index as before: a cascade.
    Same,
    /// The sender's entry gateway.
    Entry,
    /// The gateway of the receiver's inbox.
    Inbox,
    /// The sender itself, which is a gateway.
    Sender,
}

/// One step of a path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// Where.
    pub stage: u8,
    /// Number of the first node there.
    pub first: u32,
    /// How many.
    pub width: u32,
    /// Whether some are chosen more often than others.
    pub weighted: bool,
    /// At which node there.
    pub choice: Choice,
    /// Between leaving the node before and entering this one's pool.
    pub lag: f64,
    /// Here the packet has reached its goal; what goes on from here is an answer.
    pub goal: bool,
    /// The pool of the first node there: it holds the packets that have the same steps before them.
    pub pool: u32,
    /// From a node's pool to the next one's.
    pub stride: u32,
}

/// The way of a class of packets. After the last step the packet has arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// Whose.
    pub class: Class,
    /// All of it.
    pub steps: Vec<Step>,
    /// Between leaving the last node and having arrived.
    pub last_lag: f64,
}

/// A packet on its way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Packet {
    /// Its number: that of its message, or of a node's loop.
    pub id: u64,
    /// When it was sent.
    pub sent: f64,
    /// Who sent it: a user or, of a node's loop, the index of the node in its stage.
    pub sender: u32,
    /// Whom it is for.
    pub receiver: u32,
    /// Index of its path.
    pub path: u8,
    /// The step it is at.
    pub hop: u8,
    /// The node it is at, by index in the stage.
    pub node: u16,
    /// Where an engine keeps its mass while it is held by a node that shows it.
    pub(crate) carry: u32,
}

/// What is drawn for a step: how long the packet is held back there, and 64 bits to choose the node by.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Seconds.
    pub delay: f64,
    /// Uniform.
    pub node: u64,
}

/// No mass is kept.
pub(crate) const NO_CARRY: u32 = u32::MAX;

/// A design, compiled, with its corrupt nodes placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The design it is of.
    pub design: Design,
    /// All stages that hold packets back.
    pub stages: Vec<Stage>,
    /// The ways of all packets.
    pub paths: Vec<Path>,
    /// Nodes that show the adversary which packet is which, by number.
    pub corrupt: Vec<bool>,
    /// The adversary's gateways, also where gateways are no stage.
    pub corrupt_gateways: Vec<bool>,
    /// Sources of loops: (path, nodes of the source, rate of each).
    pub loops: Vec<(u8, u32, f64)>,
    /// What a test has broken on purpose.
    #[cfg(test)]
    pub(crate) fault: crate::verify::Fault,
    /// Of stages whose nodes are not all chosen alike.
    shares: Vec<Option<Shares>>,
    delays: Keyed,
    mean: f64,
}

/// Numbers of node loops have this bit.
pub const NODE_LOOP_BIT: u64 = 1 << 63;
/// Numbers of packets that somebody ordered while the network ran have this bit.
pub const ORDERED_BIT: u64 = 1 << 61;

impl Plan {
    /// Compiles a design and places its corrupt nodes.
    pub fn new(design: &Design, seed: u64) -> Result<Self, DesignError> {
        design.check()?;
        let widths = design.topology.stages();
        let mut corrupt_mixes = design
            .corrupt_mixes
            .place(&design.topology, &widths, seed, 0);
        let weights = &design.weights;
        let adapts = matches!(design.corrupt_mixes, Placement::Adaptive(_));
        if adapts && !weights.is_empty() {
            for layer in &mut corrupt_mixes {
                heaviest(layer, weights);
            }
        }
        let gateways = [design.gateways];
        let corrupt_gateways = design.corrupt_gateways.place(
            &Topology::stratified(1, gateways[0]),
            &gateways,
            seed,
            1,
        );
        let corrupt_gateways = corrupt_gateways.into_iter().flatten().collect::<Vec<_>>();
        let (mut stages, mut corrupt) = (Vec::new(), Vec::new());
        if design.is_echo() || design.entry_mixes {
            stages.push(Stage {
                first: 0,
                width: design.gateways,
                gateways: true,
                first_pool: 0,
                pools: 0,
            });
            corrupt.extend_from_slice(&corrupt_gateways);
        }
        for layer in &corrupt_mixes {
            stages.push(Stage {
                first: corrupt.len() as u32,
                width: layer.len() as u32,
                gateways: false,
                first_pool: 0,
                pools: 0,
            });
            corrupt.extend_from_slice(layer);
        }
        let mean = match design.mixing {
            Mixing::Poisson { mean } => mean,
            Mixing::None
            | Mixing::Threshold { .. }
            | Mixing::Timed { .. }
            | Mixing::Pool { .. } => 0.0,
        };
        let shares = |stage: &Stage| {
            let alike = stage.gateways || weights.is_empty();
            (!alike).then(|| Shares::new(weights, stage.width))
        };
        let mut plan = Self {
            design: design.clone(),
            shares: stages.iter().map(shares).collect(),
            stages,
            paths: Vec::new(),
            corrupt,
            corrupt_gateways,
            loops: Vec::new(),
            #[cfg(test)]
            fault: crate::verify::Fault::None,
            delays: Keyed::new(seed, Purpose::DELAY),
            mean,
        };
        plan.lay_paths();
        plan.part_pools();
        Ok(plan)
    }

    fn lay_paths(&mut self) {
        let classes = Class::ALL.map(|class| {
            let (entry, goal) = match class {
                Class::Payload | Class::Fetch => (Choice::Entry, Choice::Inbox),
                Class::Loop | Class::Drop => (Choice::Entry, Choice::Any),
                Class::NodeLoop => (Choice::Sender, Choice::Any),
            };
            self.path(class, entry, goal)
        });
        self.paths.extend(classes);
        let emission = self.design.emission;
        if emission.gateway_loop_rate > 0.0 {
            let path = Class::NodeLoop as u8;
            let gateways = self.design.gateways;
            self.loops
                .push((path, gateways, emission.gateway_loop_rate));
        }
        if emission.mix_loop_rate > 0.0 {
            for (layer, width) in self.design.topology.stages().into_iter().enumerate() {
                let path = self.mix_loop(layer);
                self.loops
                    .push((self.paths.len() as u8, width, emission.mix_loop_rate));
                self.paths.push(path);
            }
        }
    }

    fn first_layer(&self) -> u8 {
        u8::from(self.stages.first().is_some_and(|s| s.gateways))
    }

    /// Through the mixes once.
    fn mixes(&self) -> Vec<Step> {
        let lag = self.design.lag();
        let first = self.first_layer();
        let hops = self.design.topology.hops() as u8;
        let step = |hop: u8| {
            let (stage, choice) = match self.design.topology {
                Topology::Stratified { .. } => (first + hop, Choice::Any),
                Topology::Cascade { .. } if hop == 0 => (first, Choice::Any),
                Topology::Cascade { .. } => (first + hop, Choice::Same),
                Topology::FreeRoute { .. } if hop == 0 => (first, Choice::Any),
                Topology::FreeRoute { .. } => (first, Choice::AnyOther),
            };
            let Stage { first, width, .. } = self.stages[usize::from(stage)];
            Step {
                stage,
                first,
                width,
                weighted: self.shares[usize::from(stage)].is_some(),
                choice,
                lag,
                goal: false,
                pool: 0,
                stride: 0,
            }
        };
        (0..hops).map(step).collect()
    }

    fn gateway(&self, choice: Choice, goal: bool) -> Step {
        let Stage { first, width, .. } = self.stages[0];
        Step {
            stage: 0,
            first,
            width,
            weighted: false,
            choice,
            lag: self.design.lag(),
            goal,
            pool: 0,
            stride: 0,
        }
    }

    fn path(&self, class: Class, entry: Choice, goal: Choice) -> Path {
        let mut steps = Vec::new();
        if self.design.entry_mixes {
            steps.push(self.gateway(entry, false));
        }
        steps.extend(self.mixes());
        if self.design.gateways > 0 && !self.design.entry_mixes {
            // A gateway that only passes on is one more link.
            steps[0].lag += self.design.link;
        }
        if self.design.is_echo() {
            steps.push(self.gateway(goal, true));
            steps.extend(self.mixes());
        }
        Path {
            class,
            steps,
            last_lag: self.design.link,
        }
    }

    /// A loop of a mix: the layers after its own, a gateway, and the layers before its own.
    fn mix_loop(&self, layer: usize) -> Path {
        let mixes = self.mixes();
        let mut steps = mixes[layer + 1..].to_vec();
        let mut back = mixes[..layer].to_vec();
        if self.design.is_echo() {
            steps.push(self.gateway(Choice::Any, true));
        } else if let Some(first) = back.first_mut() {
            first.lag += self.design.link;
            first.goal = true;
        }
        steps.extend(back);
        Path {
            class: Class::NodeLoop,
            steps,
            last_lag: self.design.link,
        }
    }

    /// The same, broken on purpose.
    #[cfg(test)]
    pub(crate) fn broken(self, fault: crate::verify::Fault) -> Self {
        Self { fault, ..self }
    }

    /// The packet of a message, before its first step.
    pub fn packet(&self, id: u64, message: &Message) -> Packet {
        Packet {
            id,
            sent: message.time,
            sender: message.sender,
            receiver: message.receiver,
            path: message.class as u8,
            hop: 0,
            node: 0,
            carry: NO_CARRY,
        }
    }

    /// What is drawn for a step of a packet.
    #[inline(always)]
    pub fn draw(&self, id: u64, hop: u8) -> Draw {
        let (delay, node) = self.words(id, hop);
        Draw {
            delay: self.delay(delay),
            node,
        }
    }

    /// What is drawn for many packets, by (number, step). In two passes: the first one is busy with integers, the
    /// second one takes several logarithms at a time.
    pub fn draw_all(&self, packets: impl Iterator<Item = (u64, u8)>, out: &mut Vec<Draw>) {
        out.clear();
        out.extend(packets.map(|(id, hop)| {
            let (delay, node) = self.words(id, hop);
            let delay = f64::from_bits(delay);
            Draw { delay, node }
        }));
        for draw in out {
            draw.delay = self.delay(draw.delay.to_bits());
        }
    }

    /// 64 bits for the delay, and for the node.
    #[inline(always)]
    fn words(&self, id: u64, hop: u8) -> (u64, u64) {
        let [delay, node] = self.delays.block(id, u64::from(hop));
        #[cfg(test)]
        let node = if self.fault == crate::verify::Fault::BiasedRoute {
            node & node.rotate_left(7)
        } else {
            node
        };
        (delay, node)
    }

    /// A delay at a mix, of 64 random bits.
    #[inline(always)]
    pub(crate) fn delay(&self, word: u64) -> f64 {
        #[cfg(test)]
        if self.fault == crate::verify::Fault::TruncatedDelay {
            return exponential(word, self.mean).min(2.0 * self.mean);
        }
        if self.mean > 0.0 {
            exponential(word, self.mean)
        } else {
            0.0
        }
    }

    /// Puts a packet to the step `packet.hop`: chooses its node, and gives its delay there.
    #[inline(always)]
    pub fn enter(&self, packet: &mut Packet, step: &Step) -> f64 {
        self.enter_with(packet, step, self.draw(packet.id, packet.hop))
    }

    /// The same, but gives 64 bits for [`Plan::delay`].
    #[inline(always)]
    pub(crate) fn enter_drawing(&self, packet: &mut Packet, step: &Step) -> u64 {
        let (delay, node) = self.words(packet.id, packet.hop);
        let delay = f64::from_bits(delay);
        self.enter_with(packet, step, Draw { delay, node })
            .to_bits()
    }

    /// The same, with what was drawn for it.
    #[inline(always)]
    pub fn enter_with(&self, packet: &mut Packet, step: &Step, Draw { delay, node }: Draw) -> f64 {
        let width = u64::from(step.width);
        packet.node = match step.choice {
            Choice::Any | Choice::AnyOther if step.weighted => {
                self.choose_weighted(packet.node, step, node)
            }
            Choice::Any => below(node, width) as u16,
            Choice::AnyOther => {
                let other = below(node, width - 1) as u16;
                other + u16::from(other >= packet.node)
            }
            Choice::Same => packet.node,
            Choice::Entry => self.design.entry_of(packet.sender) as u16,
            Choice::Inbox => self.design.inbox_of(packet.receiver) as u16,
            Choice::Sender => packet.sender as u16,
        };
        delay
    }

    #[inline(never)]
    fn choose_weighted(&self, before: u16, step: &Step, word: u64) -> u16 {
        match &self.shares[usize::from(step.stage)] {
            Some(shares) if step.choice == Choice::AnyOther => shares.choose_other(word, before),
            Some(shares) => shares.choose(word),
            None => before,
        }
    }

    /// The packet of the `count`th loop of the nodes of a source, by index in `loops`.
    pub fn loop_packet(&self, source: usize, count: u64, node: u32, time: f64) -> Packet {
        Packet {
            id: NODE_LOOP_BIT | (source as u64) << 48 | count,
            sent: time,
            sender: node,
            receiver: node,
            path: self.loops[source].0,
            hop: 0,
            node: 0,
            carry: NO_CARRY,
        }
    }

    /// The path of a packet.
    #[inline]
    pub fn path_of(&self, packet: &Packet) -> &Path {
        &self.paths[usize::from(packet.path)]
    }

    /// The number of the node that a packet is at.
    #[inline]
    pub fn node_of(&self, packet: &Packet) -> u32 {
        self.path_of(packet).steps[usize::from(packet.hop)].first + u32::from(packet.node)
    }

    /// Whether a node's output shows which of its inputs it was.
    #[inline]
    pub fn shows(&self, node: u32) -> bool {
        self.corrupt[node as usize] || self.design.mixing == Mixing::None
    }

    /// Mean time that a message spends in mixes before its goal; of batches a guess, from the rate.
    pub fn mean_way(&self, rate: f64) -> f64 {
        let steps = &self.paths[0].steps;
        let forward = steps.iter().position(|s| s.goal).unwrap_or(steps.len());
        let lags: f64 = steps.iter().take(forward).map(|s| s.lag).sum();
        let width = self.stages.last().map_or(1.0, |s| f64::from(s.width));
        let each = match self.design.mixing {
            Mixing::Threshold { size } => f64::from(size) * width / (2.0 * rate.max(1e-9)),
            Mixing::Pool { size, kept } => {
                let n = f64::from(size);
                (n / 2.0 + f64::from(kept)) * width / rate.max(1e-9)
            }
            Mixing::None | Mixing::Poisson { .. } | Mixing::Timed { .. } => {
                self.design.mean_delay().unwrap_or_default()
            }
        };
        lags + forward as f64 * each
    }

    /// The shortest time from a stage back to itself or an earlier one: as far as a sweep may look
    /// ahead. Infinite where packets only go forward.
    pub fn lookahead(&self) -> f64 {
        let mut least = f64::INFINITY;
        for path in &self.paths {
            for pair in path.steps.windows(2) {
                if pair[1].stage <= pair[0].stage {
                    least = least.min(pair[1].lag);
                }
            }
        }
        least
    }

    /// Counts a message that is at a goal or at its end, the first time.
    pub(crate) fn record(&self, outcome: &mut crate::outcome::Outcome, time: f64, packet: &Packet) {
        let path = self.path_of(packet);
        let hop = usize::from(packet.hop);
        let answered = path.steps[..hop].iter().any(|s| s.goal);
        if answered {
            return;
        }
        let latency = time - packet.sent;
        outcome.latency.record(latency);
        outcome
            .to_reader
            .record(latency + self.last_mile(packet.id));
    }

    /// What a message still needs when it has reached its goal, until its reader has it.
    pub fn last_mile(&self, id: u64) -> f64 {
        let hops = self.design.topology.hops();
        let mut random = self.delays.stream(id | NODE_LOOP_BIT >> 1);
        match self.design.delivery {
            Delivery::Bare => 0.0,
            Delivery::Push => self.design.link,
            Delivery::Provider { pull_interval } => {
                2.0 * self.design.link + pull_interval * random.uniform()
            }
            Delivery::Echo {
                downlink_rate,
                places,
            } => {
                // Fetches reach an inbox as a Poisson stream; the answer comes back through the mixes.
                let emission = &self.design.emission;
                let rate = emission.payload_rate * emission.fetch_share / f64::from(places);
                let wait = random.exponential(1.0 / rate.max(1e-9));
                let back = random.erlang(hops + 1, self.mean);
                let lags = f64::from(hops + 1) * self.design.lag() + 2.0 * self.design.link;
                wait + back + lags + random.uniform() / downlink_rate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_goes_there_and_back() {
        let plan = Plan::new(&Design::mizzle(4, 3), 1).unwrap();
        let stages =
            |path: usize| -> Vec<u8> { plan.paths[path].steps.iter().map(|s| s.stage).collect() };
        assert_eq!(stages(0), [0, 1, 2, 3, 0, 1, 2, 3]);
        let goal = plan.paths[0].steps.iter().position(|s| s.goal);
        assert_eq!(goal, Some(4));
        // Loops of mixes of layer 2 (stage 2): 3, a gateway, 1.
        assert_eq!(stages(6), [3, 0, 1]);
        assert_eq!(plan.loops.len(), 4);
        assert!((plan.lookahead() - 0.040).abs() < 1e-12);
    }

    #[test]
    fn an_inbox_is_never_at_its_owners_entry() {
        let design = Design::mizzle(4, 5);
        let mut counts = [0; 5];
        for user in 0..2000 {
            assert_ne!(design.inbox_of(user), design.entry_of(user));
            counts[design.inbox_of(user) as usize] += 1;
        }
        assert!(counts.iter().all(|c| *c == 400), "{counts:?}");
        let provider = Design::loopix(3, 4);
        assert!((0..99).all(|u| provider.inbox_of(u) == provider.entry_of(u)));
    }

    #[test]
    fn known_designs_can_be_run() {
        for design in [
            Design::mizzle(3, 4),
            Design::loopix(3, 4),
            Design::nym(3, 4),
            Design::katzenpost(3, 4),
            Design::onion(3, 4),
            Design::bare(3, 3, 1.0),
        ] {
            let plan = Plan::new(&design, 1);
            assert!(plan.is_ok(), "{}: {:?}", design.name, plan.err());
        }
    }
}
