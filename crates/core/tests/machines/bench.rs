//! A gateway with a disk, for tests of its inboxes.

use crate::world::{Asked, EPOCH, GATEWAY, NOW, World, id, settle_gateway};
use mizzle_core::gateway::{GatewayConfig, GatewayEvent};
use mizzle_core::hop::Source;
use mizzle_core::stored::{InboxKey, StoreOp};
use mizzle_core::{Peer, Transmit};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::request::{Answer, Cell, Request};
use wire::time::Instant;

pub(crate) const REPLY_DELAY: Duration = Duration::from_millis(40);
/// δ and the drawn delay: when a reply leaves after its request came.
pub(crate) const DUE: Duration = Duration::from_millis(50);

/// A gateway with a disk that works when it is told to.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) disk: BTreeMap<(InboxKey, u64), Cell>,
    /// What the disk has been asked.
    pub(crate) waiting: Vec<GatewayEvent>,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(gate: impl Fn(&mut GatewayConfig)) -> Self {
        Self {
            world: World::with(|_| {}, gate),
            disk: BTreeMap::new(),
            waiting: Vec::new(),
            now: NOW,
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Asked {
        let asked = self.world.request(request, REPLY_DELAY);
        self.give(&asked);
        asked
    }

    pub(crate) fn give(&mut self, asked: &Asked) {
        let packet = self.world.for_node(GATEWAY, &asked.plaintext);
        self.world.give_gateway(&packet, Source::Node, self.now);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        self.waiting.append(&mut self.world.told);
        let events = settle_gateway(self.world.gateway(), self.now);
        self.waiting.extend(events);
    }

    /// The disk does all it was asked, or fails at it.
    pub(crate) fn work(&mut self, works: bool) {
        for event in std::mem::take(&mut self.waiting) {
            let gateway = &mut self.world.gateways[0];
            match event {
                GatewayEvent::Store { ticket, op } => {
                    match op {
                        StoreOp::PutCell { key, cell, content } if works => {
                            let before = self.disk.insert((key, cell.sequence), content);
                            assert!(before.is_none(), "a sequence is used once");
                        }
                        StoreOp::RemoveCell { key, sequence } => {
                            assert!(self.disk.remove(&(key, sequence)).is_some());
                        }
                        StoreOp::RemoveInbox { key } => self.disk.retain(|(k, _), _| *k != key),
                        StoreOp::PutInbox { .. } | StoreOp::PutCell { .. } => {}
                    }
                    gateway.handle_stored(ticket, works, self.now);
                }
                GatewayEvent::Read {
                    ticket,
                    key,
                    sequence,
                } => {
                    let cell = self.disk.get(&(key, sequence)).cloned();
                    gateway.handle_read(ticket, cell, self.now);
                }
                GatewayEvent::Keep(_)
                | GatewayEvent::Expire(_)
                | GatewayEvent::PublishKeys(_)
                | GatewayEvent::Report(_) => {}
            }
        }
        self.collect();
    }

    /// Keeps every deadline for so long; what left.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Transmit> {
        let until = self.now + time;
        let mut left = Vec::new();
        loop {
            let gateway = &mut self.world.gateways[0];
            let Some((due, _)) = gateway.poll_timeout(self.now).filter(|(d, _)| *d <= until) else {
                break;
            };
            self.now = due.max(self.now);
            gateway.handle_timeout(self.now);
            left.extend(std::iter::from_fn(|| gateway.poll_transmit()));
            self.collect();
        }
        self.now = until;
        left.retain(|t| t.to == Peer::Node(id(0)));
        left
    }

    /// The one answer, after δ and its delay and not before.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Answer {
        let due = self.now + DUE;
        let left = self.pass(DUE);
        let mut answers = left
            .iter()
            .filter_map(|t| Some((t.at, self.world.open(asked, t)?)));
        let (at, reply) = answers.next().expect("every request gets a reply");
        assert_eq!(at, due);
        assert!(answers.next().is_none(), "and one only");
        assert!(reply.epoch == EPOCH && reply.directory == self.world.directory.hash());
        reply.answer
    }

    /// Asks, with a disk that takes no time.
    pub(crate) fn does(&mut self, request: Request) -> Answer {
        let asked = self.ask(request);
        self.work(true);
        self.answer(&asked)
    }

    /// Asks while the disk is busy.
    pub(crate) fn does_without_disk(&mut self, request: Request) -> Answer {
        let asked = self.ask(request);
        self.answer(&asked)
    }

    pub(crate) fn kept(&mut self) -> (usize, usize) {
        self.world.gateway().kept()
    }
}
