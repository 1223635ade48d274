//! A mix: delays packets, and sends loops of its own.

use crate::echo::{self, Address, Asker, LoopCount, Pending, Plan, Waiting, Ways};
use crate::hop::{Arrival, HopConfig, HopNode, KeyFor, Taken};
use crate::stream::{PoissonStream, Tick};
use crate::transmit::{Peer, Transmit};
use directory::{Directory, Position, SphinxKey};
use sphinx::{DiscardReason, PacketFormat};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::ids::EpochHint;
use wire::request::Request;
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, WallAnchor};

/// A loop that is not back so long after it was due counts as lost.
pub(crate) const LOOP_SLACK: Duration = Duration::from_secs(2);
/// A loop is built so long before its tick, so that building it makes nothing late.
pub(crate) const LOOP_LEAD: Duration = Duration::from_millis(20);
/// Most loops on their way; at λM = 10/s and a minute of delays, 600.
pub(crate) const LOOPS_MAX: usize = 4096;

/// For the owner of a mix.
#[derive(Clone, Debug, PartialEq)]
pub enum MixEvent {
    /// Put these keys into a fresh descriptor and upload it.
    PublishKeys(Vec<SphinxKey>),
}

/// Decides what a mix does. Inputs: [`Mix::handle_directory`], [`Mix::key_for`] then
/// [`Mix::handle_unwrapped`] for each packet, [`Mix::handle_timeout`]. Outputs:
/// [`Mix::poll_event`], [`Mix::poll_transmit`], [`Mix::poll_timeout`].
pub struct Mix<F: PacketFormat> {
    hop: HopNode<F>,
    traffic: TrafficRng,
    keys: KeyRng,
    loops: Option<PoissonStream>,
    pending: Pending<F, ()>,
    loop_count: LoopCount,
    events: VecDeque<MixEvent>,
}

impl<F: PacketFormat> Mix<F> {
    /// Draws its first keys and asks for them to be published.
    pub fn new(
        config: HopConfig,
        anchor: WallAnchor,
        traffic: TrafficRng,
        mut keys: KeyRng,
        now: Instant,
    ) -> Self {
        let hop = HopNode::new(config, anchor, now, &mut keys);
        let events = [MixEvent::PublishKeys(hop.public_keys())].into();
        let loop_count = LoopCount::default();
        let pending = Pending::new(LOOPS_MAX);
        Self {
            hop,
            traffic,
            keys,
            loops: None,
            pending,
            loop_count,
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
        if !self.hop.handle_directory(directory, anchor, now) {
            return;
        }
        match &mut self.loops {
            Some(loops) => loops.set_rate(rate),
            None => {
                self.loops = Some(PoissonStream::new(
                    Purpose::MixLoop,
                    rate,
                    &self.traffic,
                    now,
                ));
            }
        }
    }

    /// The key to unwrap a packet with; `None` means that it was discarded.
    pub fn key_for(&mut self, hint: EpochHint, now: Instant) -> Option<KeyFor<F>> {
        self.hop.key_for(hint, now)
    }

    /// A packet that was unwrapped with [`Mix::key_for`]'s key.
    pub fn handle_unwrapped(&mut self, arrival: Arrival, now: Instant) {
        match self.hop.handle_arrival(arrival, now) {
            None => {}
            Some(Taken::Request(_)) => self.hop.discard(DiscardReason::NotAGateway),
            Some(Taken::ToSession(..)) => self.hop.discard(DiscardReason::UnknownSession),
            Some(Taken::Reply(surb, payload)) => match self.pending.take(&surb) {
                None => self.hop.discard(DiscardReason::UnknownReply),
                Some(waiting) => match F::open_reply(&waiting.recovery, payload) {
                    Ok(_) => self.loop_count.returned += 1,
                    Err(reason) => self.hop.discard(reason),
                },
            },
        }
    }

    /// Counts a packet that died in the shell.
    pub fn discard(&mut self, reason: DiscardReason) {
        self.hop.discard(reason);
    }

    /// A deadline of [`Mix::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.pending.pop_lost(now).is_some() {
            self.loop_count.lost += 1;
        }
        while let Some(tick) = self
            .loops
            .as_mut()
            .and_then(|loops| loops.pop(&self.traffic, now + LOOP_LEAD, now))
        {
            self.send_loop(&tick, now);
        }
        // After the loops, so that one that is due now leaves now.
        if self.hop.handle_timeout(now, &mut self.keys) {
            self.events
                .push_back(MixEvent::PublishKeys(self.hop.public_keys()));
        }
    }

    fn send_loop(&mut self, tick: &Tick, now: Instant) {
        let Some(directory) = self.hop.view.current(now).cloned() else {
            return;
        };
        let id = self.hop.id();
        let Some(Position::Mix { layer, .. }) = directory.position(&id) else {
            return;
        };
        let Some(answering) = echo::draw_gateway(&directory, tick.draws.gateway, None) else {
            return;
        };
        let ways = Ways::of_mix(&directory, &tick.draws, layer, answering);
        let asker = Asker {
            address: Address::Node(id),
            key: None,
        };
        let request = Request::Cover;
        let plan = Plan {
            at: tick.at,
            draws: &tick.draws,
            ways: &ways,
            asker,
            request,
        };
        let Ok(built) = echo::build::<F>(&self.hop.view, &directory, plan, &mut self.keys) else {
            return;
        };
        let transmit = Transmit {
            to: Peer::Node(built.to),
            at: tick.at,
            frame: built.frame,
        };
        if self.hop.send_at(transmit).is_err() {
            self.hop.discard(DiscardReason::QueueFull);
            return;
        }
        self.loop_count.sent += 1;
        let (expected, deadline) = (built.expected, built.expected + LOOP_SLACK);
        let waiting = Waiting {
            recovery: built.recovery,
            expected,
            deadline,
            what: (),
        };
        if self.pending.insert(built.surb, waiting).is_some() {
            self.loop_count.lost += 1;
        }
    }

    /// A frame that is due.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.hop.poll_transmit()
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<MixEvent> {
        self.events.pop_front()
    }

    /// When to call [`Mix::handle_timeout`], and what for.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let hop = self.hop.poll_timeout(now);
        let loops = self
            .loops
            .as_ref()
            .map(|l| (l.peek().saturating_sub(LOOP_LEAD), "loop stream"));
        let lost = self.pending.poll_timeout().map(|at| (at, "loop lost"));
        hop.into_iter().chain(loops).chain(lost).min()
    }

    /// Directories, keys, queue and counters.
    pub fn hop(&self) -> &HopNode<F> {
        &self.hop
    }

    /// Its own loops.
    pub fn loop_count(&self) -> LoopCount {
        self.loop_count
    }
}
