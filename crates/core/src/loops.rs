//! A node's own loops: cover requests whose replies come back to it. Loss of loops is the alarm for
//! dropping attacks ([`LoopAlarm`]), and authorities are told of it. Clients' loops are a stream of their own in [`crate::client`].

mod alarm;
mod tally;

pub use alarm::{EVIDENCE, LoopAlarm, NATURAL, false_alarms, natural};

use crate::echo::{self, Address, Asker, LoopCount, Pending, Plan, Waiting, Ways};
use crate::hop::HopNode;
use crate::stream::{PoissonStream, Tick};
use crate::transmit::{Peer, Transmit};
use directory::{LoopReport, Position, Rate};
use sphinx::{DiscardReason, PacketFormat, PayloadBytes};
use std::time::Duration;
use tally::Tally;
use wire::ids::{NodeId, SurbId};
use wire::request::Request;
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::Instant;

/// A loop that is not back so long after it was due counts as lost.
pub const SLACK: Duration = Duration::from_secs(2);
/// Loops of so long a time after the first directory are not judged: neighbours start too.
pub const SETTLE: Duration = Duration::from_secs(30);
/// Links that the loop of a mix crosses, in whichever layer it stands, and that of a gateway.
const LINKS: [u32; 2] = [4, 8];
/// A loop is built so long before its tick, so that building it makes nothing late.
const LEAD: Duration = Duration::from_millis(20);
/// Most loops on their way; at λM = 10/s and a minute of delays, 600.
const PENDING_MAX: usize = 4096;

/// A loop on its way.
struct Sent {
    /// Whether what becomes of it is judged.
    judged: bool,
    /// All other nodes on its way.
    through: Vec<NodeId>,
}

/// The loops of one mix or gateway.
pub(crate) struct Loops<F: PacketFormat> {
    purpose: Purpose,
    traffic: TrafficRng,
    stream: Option<PoissonStream>,
    pending: Pending<F, Sent>,
    count: LoopCount,
    alarm: LoopAlarm,
    tally: Tally,
    report: Option<LoopReport>,
    /// Since when loops are judged.
    settled: Option<Instant>,
}

impl<F: PacketFormat> Loops<F> {
    /// None before the first directory.
    pub(crate) fn new(purpose: Purpose, traffic: TrafficRng) -> Self {
        let (pending, count) = (Pending::new(PENDING_MAX), LoopCount::default());
        let links = LINKS[usize::from(purpose != Purpose::MixLoop)];
        Self {
            purpose,
            traffic,
            stream: None,
            pending,
            count,
            alarm: LoopAlarm::new(links),
            tally: Tally::default(),
            report: None,
            settled: None,
        }
    }

    /// A directory's rate λM.
    pub(crate) fn set_rate(&mut self, rate: Rate, now: Instant) {
        match &mut self.stream {
            Some(stream) => stream.set_rate(rate),
            None => {
                let start = now + LEAD;
                self.stream = Some(PoissonStream::new(self.purpose, rate, &self.traffic, start));
                self.settled = Some(now + SETTLE);
            }
        }
    }

    /// A reply to one of this node's reply blocks; each is good once.
    pub(crate) fn handle_reply(
        &mut self,
        surb: SurbId,
        payload: PayloadBytes,
    ) -> Result<(), DiscardReason> {
        let waiting = self
            .pending
            .take(&surb)
            .ok_or(DiscardReason::UnknownReply)?;
        F::open_reply(&waiting.recovery, payload)?;
        self.handle_outcome(false, &waiting.what);
        Ok(())
    }

    fn handle_outcome(&mut self, lost: bool, sent: &Sent) {
        self.count.lost += u64::from(lost);
        self.count.returned += u64::from(!lost);
        if sent.judged {
            self.alarm.handle_outcome(lost);
            self.tally.handle_outcome(lost, &sent.through);
        }
    }

    /// Builds the loops that are due within the lead and hands them to `hop`.
    pub(crate) fn handle_timeout(&mut self, hop: &mut HopNode<F>, keys: &mut KeyRng, now: Instant) {
        while let Some(sent) = self.pending.pop_lost(now) {
            self.handle_outcome(true, &sent);
        }
        // Whenever a loop is due, which is often enough.
        let made = self.tally.poll_report(&hop.view, &hop.id(), keys, now);
        self.report = made.or(self.report.take());
        while let Some(tick) = self.pop_tick(now) {
            self.send(&tick, hop, keys, now);
        }
    }

    fn pop_tick(&mut self, now: Instant) -> Option<Tick> {
        self.stream.as_mut()?.pop(&self.traffic, now + LEAD, now)
    }

    fn send(&mut self, tick: &Tick, hop: &mut HopNode<F>, keys: &mut KeyRng, now: Instant) {
        let Some(directory) = hop.view.current(now).cloned() else {
            return;
        };
        let id = hop.id();
        let draw = |except| echo::draw_gateway(&directory, tick.draws.gateway, except);
        let known = (&*directory, hop.view.leaving(&directory, tick.at));
        let ways = match directory.position(&id) {
            None => return,
            Some(Position::Mix { layer, .. }) => {
                draw(None).map(|answering| Ways::of_mix(known, &tick.draws, layer, answering))
            }
            Some(Position::Gateway { .. }) => {
                draw(Some(id)).map(|answering| Ways::of_gateway(known, &tick.draws, answering))
            }
        };
        let Some(ways) = ways else { return };
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
        let Ok(built) = echo::build::<F>(&hop.view, &directory, plan, keys) else {
            return;
        };
        let transmit = Transmit {
            to: Peer::Node(built.to),
            at: tick.at,
            frame: built.frame,
        };
        if let Err(reason) = hop.send_at(transmit) {
            return hop.discard(reason);
        }
        self.count.sent += 1;
        let (expected, deadline) = (built.expected, built.expected + SLACK);
        let waiting = Waiting {
            recovery: built.recovery,
            expected,
            deadline,
            what: Sent {
                judged: self.settled.is_some_and(|from| tick.at >= from),
                through: [ways.forward, ways.back].concat(),
            },
        };
        if let Some(sent) = self.pending.insert(built.surb, waiting) {
            self.handle_outcome(true, &sent);
        }
    }

    /// For the authorities, once in an epoch.
    pub(crate) fn poll_report(&mut self) -> Option<LoopReport> {
        self.report.take()
    }

    /// When the next loop is to be built, or one counts as lost.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let next = self
            .stream
            .as_ref()
            .map(|s| (s.peek().saturating_sub(LEAD), "loop stream"));
        let lost = self.pending.poll_timeout().map(|at| (at, "loop lost"));
        next.into_iter().chain(lost).min()
    }

    /// Sent, returned, lost.
    pub(crate) fn count(&self) -> LoopCount {
        self.count
    }

    /// Whether too many were lost.
    pub(crate) fn alarm(&self) -> &LoopAlarm {
        &self.alarm
    }
}
