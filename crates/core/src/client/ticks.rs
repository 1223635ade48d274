//! What a tick carries: content if there is any for it, cover otherwise. Its moment, route and delays
//! are given; nothing here can change them.

use super::inboxes::FetchPlan;
use super::outbox::Outgoing;
use super::{Client, ClientEvent, Echo, Errand};
use crate::echo::{self, Address, Asker, Plan, Waiting, Ways};
use crate::stream::TickDraws;
use crate::transmit::{Peer, Transmit};
use directory::{Directory, Position};
use sphinx::PacketFormat;
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{NodeId, SurbId};
use wire::request::{Place, Request};
use wire::time::Instant;

/// Hashes of one step at an admission puzzle: about a millisecond, far below the lead.
const PUZZLE_STEP: u32 = 2_048;
/// A reply that counts as lost is still known for so many times the longest slack.
const OVERDUE: u32 = 4;

impl Errand {
    /// What a reply is still good for once its request counts as lost.
    fn for_straggler(&self) -> Self {
        match self {
            Self::Cover => Self::Cover,
            Self::Loop => Self::Loop,
            Self::Send(outgoing) => Self::Send(outgoing.clone()),
            // What it acknowledges is said again by another.
            Self::Fetch { inbox, .. } => Self::Fetch {
                inbox: *inbox,
                acks: Vec::new(),
            },
        }
    }
}

impl<F: PacketFormat> Client<F> {
    /// A step of work on admission puzzles; more of it as soon as the owner has time.
    pub(super) fn solve_puzzles(&mut self, now: Instant) {
        let Some(directory) = self.view.current(now) else {
            self.puzzle_wake = None;
            return;
        };
        let difficulty = directory.parameters.puzzle_difficulty;
        let more = self
            .outbox
            .solve(self.view.epoch_at(now), difficulty, PUZZLE_STEP);
        self.puzzle_wake = more.then_some(now);
    }

    /// The sooner tick of the two streams; at a tie the payload stream's.
    pub(super) fn pop_tick(
        &mut self,
        until: Instant,
        now: Instant,
    ) -> Option<(Instant, TickDraws, bool)> {
        let streams = self.streams.as_mut()?;
        let payload_first = streams.payload.peek() <= streams.loops.peek();
        let stream = if payload_first {
            &mut streams.payload
        } else {
            &mut streams.loops
        };
        let tick = stream.pop(&self.traffic, until, now)?;
        Some((tick.at, tick.draws, payload_first))
    }

    pub(super) fn payload_tick(&mut self, at: Instant, draws: &TickDraws, now: Instant) {
        let Some(directory) = self.ready(now) else {
            return;
        };
        self.inboxes.settle(now, &mut self.keys);
        let (entry, losses) = (self.entry, &self.losses);
        let cover = echo::draw_gateway(&directory, draws.gateway, Some(entry));
        // A failing gateway is asked when cover would have asked it, and at no other time.
        let may = |gateway: &NodeId| {
            reachable(&directory, &entry, gateway)
                && (!losses.failing(gateway) || cover == Some(*gateway))
        };
        if draws.coin {
            if let Some(outgoing) = self.outbox.pop(may) {
                return self.send_tick(at, draws, outgoing, &directory);
            }
        } else if let Some(plan) = self.inboxes.pick(draws.inbox, may) {
            return self.fetch_tick(at, draws, plan, &directory);
        }
        self.cover_tick(at, draws, Errand::Cover, now);
    }

    fn send_tick(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        outgoing: Outgoing,
        directory: &Arc<Directory>,
    ) {
        self.counters.sends += 1;
        let gateway = outgoing.gateway();
        let place = Place {
            network: &directory.network,
            gateway: &gateway,
        };
        let request = self.outbox.request(&outgoing, place);
        if let Outgoing::Deposit(deposit) = &outgoing
            && self.outbox.first_time(deposit.handle)
        {
            self.events.push_back(ClientEvent::Mixing(deposit.handle));
        }
        self.emit(
            at,
            draws,
            gateway,
            Errand::Send(outgoing),
            request,
            directory,
        );
    }

    fn fetch_tick(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        plan: FetchPlan,
        directory: &Arc<Directory>,
    ) {
        let FetchPlan { order, acks } = plan;
        self.counters.fetches += 1;
        let place = Place {
            network: &directory.network,
            gateway: &order.gateway,
        };
        let request = Request::Fetch(order.fetch(place, &acks));
        let errand = Errand::Fetch {
            inbox: order.inbox,
            acks,
        };
        self.emit(at, draws, order.gateway, errand, request, directory);
    }

    pub(super) fn cover_tick(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        errand: Errand,
        now: Instant,
    ) {
        let Some(directory) = self.ready(now) else {
            return;
        };
        let Some(gateway) = echo::draw_gateway(&directory, draws.gateway, Some(self.entry)) else {
            return;
        };
        self.counters.covers += 1;
        self.emit(at, draws, gateway, errand, Request::Cover, &directory);
    }

    /// The directory to build by, if there is anybody to send to.
    fn ready(&mut self, now: Instant) -> Option<Arc<Directory>> {
        let directory = self.view.current(now).filter(|_| self.connected).cloned();
        if directory.is_none() {
            self.counters.idle_ticks += 1;
        }
        directory
    }

    fn emit(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        gateway: NodeId,
        errand: Errand,
        request: Request,
        directory: &Arc<Directory>,
    ) {
        let leaving = self.view.leaving(directory, at);
        let ways = Ways::of_client((directory, leaving), draws, self.entry, gateway);
        let address = Address::Session(self.session.clone());
        let asker = Asker {
            address,
            key: Some(F::public(&self.secret)),
        };
        let plan = Plan {
            at,
            draws,
            ways: &ways,
            asker,
            request,
        };
        let Ok(built) = echo::build::<F>(&self.view, directory, plan, &mut self.keys) else {
            // The directory lacks our own entry gateway, or a key in it is no key.
            self.counters.idle_ticks += 1;
            return self.put_back(errand);
        };
        self.counters.sent += 1;
        self.losses.sent(gateway);
        let to = Peer::Node(built.to);
        self.transmits.push_back(Transmit {
            to,
            at,
            frame: built.frame,
        });
        let (expected, deadline) = (built.expected, built.expected + self.slack());
        let what = Echo {
            gateway,
            errand,
            connection: self.connection,
        };
        let waiting = Waiting {
            recovery: built.recovery,
            expected,
            deadline,
            what,
        };
        if let Some(evicted) = self.pending.insert(built.surb, waiting) {
            self.count_loss(&evicted);
            self.put_back(evicted.errand);
        }
    }

    /// A reply that is not back so long after its drawn delays counts as lost.
    fn slack(&self) -> Duration {
        self.queue_slack + self.lateness.allowed(self.config.transport)
    }

    /// A request that got no reply in time: count it, and let its content wait for another tick.
    /// Should the reply come after all, that is as good.
    pub(super) fn give_back(&mut self, surb: SurbId, waiting: Waiting<F, Echo>, now: Instant) {
        self.count_loss(&waiting.what);
        let Waiting {
            recovery,
            expected,
            what,
            ..
        } = waiting;
        let Echo {
            gateway,
            errand,
            connection,
        } = what;
        let errand_too = errand.for_straggler();
        self.put_back(errand);
        let overdue = Waiting {
            recovery,
            expected,
            deadline: now + (self.queue_slack + self.config.transport) * OVERDUE,
            what: Echo {
                gateway,
                errand: errand_too,
                connection,
            },
        };
        // One that is evicted is forgotten: its content waits already.
        self.overdue.insert(surb, overdue);
    }

    pub(super) fn count_loss(&mut self, echo: &Echo) {
        let broken = !self.connected || echo.connection != self.connection;
        let news = self.losses.lost(echo.gateway, broken);
        self.tell(echo.gateway, news);
    }

    /// Whether a gateway is failing, where that is news.
    pub(super) fn tell(&mut self, gateway: NodeId, news: Option<bool>) {
        self.events.extend(news.map(|failing| match failing {
            true => ClientEvent::GatewayFailing(gateway),
            false => ClientEvent::GatewayBack(gateway),
        }));
    }

    pub(super) fn put_back(&mut self, errand: Errand) {
        match errand {
            Errand::Cover | Errand::Loop => {}
            Errand::Send(Outgoing::Part(order)) => self.miss_part(order),
            Errand::Send(outgoing) => self.outbox.push_again(&outgoing),
            Errand::Fetch { inbox, acks } => self.inboxes.fetch_lost(&inbox, &acks),
        }
    }
}

/// No request for content ever goes to the own entry gateway: it would see both ends.
fn reachable(directory: &Directory, entry: &NodeId, gateway: &NodeId) -> bool {
    gateway != entry && matches!(directory.position(gateway), Some(Position::Gateway { .. }))
}
