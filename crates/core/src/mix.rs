//! A mix: delays packets, and sends loops of its own.

use crate::echo::LoopCount;
use crate::hop::{
    Arrival, HopConfig, HopNode, IntakeCounts, KeepOrder, Kept, KeptKey, KeyFor, KeyTable, Taken,
};
use crate::loops::{LoopAlarm, Loops};
use crate::transmit::Transmit;
use directory::{Directory, LoopReport, SphinxKey};
use sphinx::{DiscardReason, PacketFormat};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::ids::EpochHint;
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, WallAnchor};

/// For the owner of a mix.
pub enum MixEvent {
    /// Keep this over a restart, or destroy it; then call [`Mix::handle_kept`].
    Keep(KeepOrder),
    /// Put these keys into a fresh descriptor and upload it.
    PublishKeys(Vec<SphinxKey>),
    /// Sign this and upload it: what became of the loops.
    Report(LoopReport),
}

/// Decides what a mix does. Inputs: [`Mix::handle_directory`], [`Mix::key_for`] (or
/// [`Mix::poll_key_table`]) then [`Mix::handle_unwrapped`] for each packet, [`Mix::handle_kept`], [`Mix::handle_timeout`]. Outputs:
/// [`Mix::poll_event`], [`Mix::poll_transmit`], [`Mix::poll_timeout`].
pub struct Mix<F: PacketFormat> {
    hop: HopNode<F>,
    keys: KeyRng,
    loops: Loops<F>,
    events: VecDeque<MixEvent>,
}

impl<F: PacketFormat> Mix<F> {
    /// Takes back the keys that were `kept` over a restart, draws those that are missing, and asks
    /// for all of them to be published.
    pub fn new(
        config: HopConfig,
        kept: Vec<KeptKey>,
        anchor: WallAnchor,
        traffic: TrafficRng,
        mut keys: KeyRng,
        now: Instant,
    ) -> Self {
        let hop = HopNode::new(config, kept, anchor, now, &mut keys);
        let events = [MixEvent::PublishKeys(hop.public_keys())].into();
        let loops = Loops::new(Purpose::MixLoop, traffic);
        Self {
            hop,
            keys,
            loops,
            events,
        }
    }

    /// A verified directory. Loops start with the first one.
    pub fn handle_directory(
        &mut self,
        directory: Arc<Directory>,
        anchor: WallAnchor,
        now: Instant,
    ) {
        let rate = directory.parameters.mix_loop_rate;
        if self.hop.handle_directory(directory, anchor, now) {
            self.loops.set_rate(rate, now);
        }
    }

    /// The key to unwrap a packet with; `None` means that it was discarded.
    pub fn key_for(&mut self, hint: EpochHint, now: Instant) -> Option<KeyFor<F>> {
        self.hop.key_for(hint, now)
    }

    /// For those who unwrap: a fresh table when it says something else than the last one.
    pub fn poll_key_table(&mut self, now: Instant) -> Option<Arc<KeyTable<F>>> {
        self.hop.poll_key_table(now)
    }

    /// What an intake in front of this machine counted.
    pub fn handle_intake(&mut self, counts: &IntakeCounts) {
        self.hop.handle_intake(counts);
    }

    /// A packet that was unwrapped with a key of [`Mix::key_for`] or [`Mix::poll_key_table`].
    pub fn handle_unwrapped(&mut self, arrival: Arrival, now: Instant) {
        self.hop.handle_arrival(arrival, now);
    }

    /// What became of a [`MixEvent::Keep`].
    pub fn handle_kept(&mut self, kept: Kept) {
        if self.hop.handle_kept(kept) {
            self.publish();
        }
        while let Some(taken) = self.hop.poll_taken() {
            match taken {
                Taken::Request(..) => self.hop.discard(DiscardReason::NotAGateway),
                Taken::ToSession(..) => self.hop.discard(DiscardReason::UnknownSession),
                Taken::Reply(surb, payload) => {
                    if let Err(reason) = self.loops.handle_reply(surb, payload) {
                        self.hop.discard(reason);
                    }
                }
            }
        }
    }

    /// A node that has lost all its keys has nothing to say.
    fn publish(&mut self) {
        let keys = self.hop.public_keys();
        if !keys.is_empty() {
            self.events.push_back(MixEvent::PublishKeys(keys));
        }
    }

    /// Counts a packet that died in the shell.
    pub fn discard(&mut self, reason: DiscardReason) {
        self.hop.discard(reason);
    }

    /// A deadline of [`Mix::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.loops
            .handle_timeout(&mut self.hop, &mut self.keys, now);
        let report = self.loops.poll_report();
        self.events.extend(report.map(MixEvent::Report));
        if self.hop.handle_timeout(now, &mut self.keys) {
            self.publish();
        }
    }

    /// A frame that is due.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.hop.poll_transmit()
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<MixEvent> {
        let order = self.hop.poll_order().map(MixEvent::Keep);
        order.or_else(|| self.events.pop_front())
    }

    /// When to call [`Mix::handle_timeout`], and what for.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        self.hop
            .poll_timeout(now)
            .into_iter()
            .chain(self.loops.poll_timeout())
            .min()
    }

    /// Directories, keys, queue and counters.
    pub fn hop(&self) -> &HopNode<F> {
        &self.hop
    }

    /// Its own loops.
    pub fn loop_count(&self) -> LoopCount {
        self.loops.count()
    }

    /// Whether too many of its own loops were lost.
    pub fn loop_alarm(&self) -> &LoopAlarm {
        self.loops.alarm()
    }
}
