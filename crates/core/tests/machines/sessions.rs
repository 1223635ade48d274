//! A gateway's clients: what fills a slot never moves it, and replies survive a lost connection.

use crate::world::{
    EPOCH, GATEWAY, NOW, World, anchor, document, id, keys, ms, schedule, secs, start, traffic,
};
use mizzle_core::gateway::{Gateway, GatewayConfig};
use mizzle_core::hop::{HopConfig, Source};
use mizzle_core::{Peer, Transmit};
use sphinx::{DiscardReason, PacketFormat, Sphinx, Unwrapped};
use std::time::Duration;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{Epoch, NextHop, SessionAddress};
use wire::time::Instant;

/// 20 slots a second.
const PERIOD: Duration = Duration::from_millis(50);
const LEAD: Duration = Duration::from_millis(5);

fn session(n: u8) -> SessionAddress {
    SessionAddress::from_random([n; 32])
}

/// A gateway and its clock.
struct Line {
    world: World,
    now: Instant,
}

impl Line {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(gate: impl Fn(&mut GatewayConfig)) -> Self {
        let world = World::with(|_| {}, gate);
        Self { world, now: NOW }
    }

    fn connect(&mut self, n: u8) -> bool {
        let now = self.now;
        self.world.gateway().handle_connected(session(n), now)
    }

    fn disconnect(&mut self, n: u8) {
        let now = self.now;
        self.world.gateway().handle_disconnected(&session(n), now);
    }

    /// A reply comes by the mixes; what the client is to get.
    fn reply(&mut self, n: u8) -> PacketBytes {
        let to = NextHop::Session(session(n));
        let packet = self.world.passing(GATEWAY, to, Duration::ZERO);
        let now = self.now;
        let key = self.world.gateway().key_for(EPOCH.hint(), now).unwrap();
        let Ok(Unwrapped::Forward { packet: inner, .. }) = Sphinx::unwrap(&key.secret, &packet)
        else {
            panic!("the gateway is its last hop")
        };
        self.world.give_gateway(&packet, Source::Node, now);
        inner
    }

    /// Keeps every deadline for so long; the frames for clients.
    fn pass(&mut self, time: Duration) -> Vec<Transmit> {
        let until = self.now + time;
        let mut left = Vec::new();
        loop {
            let gateway = self.world.gateway();
            let due = gateway.poll_timeout(self.now).map(|(due, _)| due);
            let Some(due) = due.filter(|due| *due <= until) else {
                break;
            };
            self.now = due.max(self.now);
            left.extend(self.wake());
        }
        self.now = until;
        left
    }

    fn wake(&mut self) -> Vec<Transmit> {
        let (gateway, now) = (&mut self.world.gateways[0], self.now);
        gateway.handle_timeout(now);
        let mut left: Vec<_> = std::iter::from_fn(|| gateway.poll_transmit()).collect();
        left.retain(|t| matches!(t.to, Peer::Session(_)));
        left
    }
}

fn of(left: &[Transmit], n: u8) -> Vec<&Transmit> {
    let to = Peer::Session(session(n));
    left.iter().filter(|t| t.to == to).collect()
}

/// The packets among the frames.
fn packets(left: &[Transmit], n: u8) -> Vec<&PacketBytes> {
    let packet = |t: &'_ Transmit| matches!(t.frame, Frame::Packet(..));
    let frames = of(left, n).into_iter().filter(|t| packet(t));
    frames.map(packet_of).collect()
}

fn packet_of(transmit: &Transmit) -> &PacketBytes {
    let Frame::Packet(_, packet) = &transmit.frame else {
        panic!("no packet")
    };
    packet
}

/// Of which epochs the pieces of directories are, and in which slots they came.
fn parts(left: &[Transmit], n: u8) -> Vec<(Instant, Epoch)> {
    let part = |t: &Transmit| match &t.frame {
        Frame::DirectoryPart(part) => Some((t.at, part.epoch)),
        Frame::Packet(..) | Frame::Dummy | Frame::Hello(_) => None,
    };
    of(left, n).into_iter().filter_map(part).collect()
}

#[test]
fn slots_keep_one_beat_whatever_fills_them() {
    let mut line = Line::new();
    line.now = NOW + ms(7);
    assert!(line.connect(1));
    let beat = |k: u32| NOW + ms(7) + LEAD + PERIOD * k;
    let mut left = line.pass(secs(1));
    let reply = line.reply(1);
    let came = line.now;
    left.extend(line.pass(secs(1)));
    for (k, transmit) in (1..).zip(&left) {
        assert_eq!(transmit.at, beat(k));
    }
    assert_eq!(left.len(), 40);
    // The directory, first; the reply in the first slot filled after δ; nothing else.
    let pieces = parts(&left, 1);
    assert!(pieces.iter().zip(1..).all(|(p, k)| *p == (beat(k), EPOCH)) && !pieces.is_empty());
    assert!(packets(&left, 1) == [&reply]);
    let carries = |t: &&Transmit| matches!(t.frame, Frame::Packet(..));
    let slot = left.iter().find(carries).unwrap().at;
    let ready = came + ms(10) + LEAD;
    assert!(slot >= ready && slot < ready + PERIOD);
    let dummies = left.iter().filter(|t| matches!(t.frame, Frame::Dummy));
    assert_eq!(dummies.count(), 40 - 1 - pieces.len());
}

#[test]
fn a_slot_is_filled_a_lead_before_it() {
    let mut line = Line::new();
    line.connect(1);
    for k in 1..10 {
        let (due, what) = line.world.gateway().poll_timeout(line.now).unwrap();
        assert_eq!((due, what), (NOW + PERIOD * k, "downlink"));
        line.now = due;
        let left = line.wake();
        assert!(left.len() == 1 && left[0].at == due + LEAD);
    }
}

#[test]
fn after_a_pause_slots_are_passed_over() {
    let mut line = Line::new();
    line.connect(1);
    line.pass(secs(1));
    let replies: Vec<_> = (0..4).map(|_| line.reply(1)).collect();
    line.now += secs(10) + ms(13);
    let burst = line.wake();
    assert!(burst.len() <= 2, "{} slots at once", burst.len());
    let mut left = burst;
    left.extend(line.pass(secs(1)));
    let on_beat = |t: &Transmit| {
        (t.at - (NOW + LEAD))
            .as_nanos()
            .is_multiple_of(PERIOD.as_nanos())
    };
    assert!(left.iter().all(on_beat));
    assert!(left.len() <= 22);
    assert!(packets(&left, 1) == replies.iter().collect::<Vec<_>>());
}

#[test]
fn a_new_directory_goes_to_all_at_one_phase() {
    let mut line = Line::new();
    line.now = NOW + secs(240);
    let next = line.world.next_directory();
    let now = line.now;
    line.world
        .gateway()
        .handle_directory(document(&next), anchor(), now);
    // A quarter of an epoch before it holds.
    let phase = start(EPOCH.next()).saturating_sub(secs(150));
    assert_eq!(phase, NOW + secs(250));
    let mut left = Vec::new();
    for n in 1..=3 {
        line.connect(n);
        left.extend(line.pass(ms(17)));
    }
    left.extend(line.pass(secs(20)));
    for n in 1..=3 {
        let (old, new): (Vec<_>, Vec<_>) = parts(&left, n)
            .into_iter()
            .partition(|(_, epoch)| *epoch == EPOCH);
        assert!(!old.is_empty() && !new.is_empty());
        assert!(old.iter().all(|(at, _)| *at < NOW + secs(242)));
        let first = new[0].0;
        assert!(
            first >= phase && first < phase + LEAD + PERIOD,
            "session {n} at {first:?}"
        );
    }
    // Whoever connects later is given both, that which holds first.
    line.connect(4);
    let left = line.pass(secs(1));
    let mut epochs: Vec<_> = parts(&left, 4).into_iter().map(|(_, e)| e).collect();
    epochs.dedup();
    assert_eq!(epochs, [EPOCH, EPOCH.next()]);
    // And once the next one holds, it alone.
    line.pass(secs(140));
    line.connect(5);
    let left = line.pass(secs(1));
    let newest = |(_, epoch): (Instant, Epoch)| epoch == EPOCH.next();
    assert!(!parts(&left, 5).is_empty() && parts(&left, 5).into_iter().all(newest));
}

#[test]
fn replies_survive_a_lost_connection_for_a_while() {
    let mut line = Line::with(|gate| gate.sessions.linger = secs(10));
    line.connect(1);
    line.pass(secs(1));
    let before = line.reply(1);
    line.pass(ms(11));
    line.disconnect(1);
    assert_eq!(line.world.gateway().sessions_connected(), 0);
    let during = line.reply(1);
    assert!(
        line.pass(secs(9)).is_empty(),
        "nothing leaves for one who is not there"
    );
    line.connect(1);
    let left = line.pass(secs(1));
    assert!(packets(&left, 1) == [&before, &during]);
    // Longer than that, and they are gone.
    line.reply(1);
    line.disconnect(1);
    line.pass(secs(10));
    line.reply(1);
    assert!(line.pass(secs(1)).is_empty());
    assert_eq!(
        line.world.gateway_discards(DiscardReason::UnknownSession),
        1
    );
    line.connect(1);
    let left = line.pass(secs(1));
    assert!(packets(&left, 1).is_empty() && left.len() == 20);
}

#[test]
fn the_end_of_one_session_holds_up_no_slot_of_another() {
    let mut line = Line::with(|gate| gate.sessions.linger = ms(500));
    line.connect(2);
    // It ends at 502 ms; the other has a slot at 505 ms, whose lead begins at 500 ms.
    line.pass(ms(2));
    line.disconnect(2);
    line.pass(ms(48));
    line.connect(1);
    let begin = line.now;
    let until = begin + secs(1);
    let mut slots = 0;
    while let Some((due, label)) = line.world.gateway().poll_timeout(line.now)
        && due <= until
    {
        line.now = due.max(line.now);
        for left in line.wake() {
            slots += 1;
            assert_eq!(left.at, begin + LEAD + PERIOD * slots);
            assert_eq!(left.at - line.now, LEAD, "filled a lead before it");
        }
        let next = line.world.gateway().poll_timeout(line.now);
        assert!(
            next.is_none_or(|(next, _)| next > line.now),
            "spins on {label}"
        );
    }
    assert_eq!(slots, 20);
}

#[test]
fn a_second_connection_takes_the_place_of_the_first() {
    let mut line = Line::new();
    line.connect(1);
    line.pass(ms(20));
    line.connect(1);
    assert_eq!(line.world.gateway().sessions_connected(), 1);
    let left = line.pass(secs(1));
    for (k, transmit) in (1..).zip(&left) {
        assert_eq!(transmit.at, NOW + ms(20) + LEAD + PERIOD * k);
    }
}

#[test]
fn the_oldest_reply_makes_room() {
    let mut line = Line::with(|gate| gate.sessions.queue_max = 2);
    line.connect(1);
    let replies: Vec<_> = (0..3).map(|_| line.reply(1)).collect();
    let left = line.pass(secs(1));
    assert_eq!(line.world.gateway_discards(DiscardReason::DownlinkFull), 1);
    assert!(packets(&left, 1) == [&replies[1], &replies[2]]);
}

#[test]
fn there_is_room_for_so_many_sessions() {
    let mut line = Line::with(|gate| {
        gate.sessions.sessions_max = 2;
        gate.sessions.linger = secs(10);
    });
    assert!(line.connect(1) && line.connect(2));
    assert!(!line.connect(3));
    assert!(line.connect(1), "it has a place");
    line.disconnect(2);
    assert!(!line.connect(3), "one that lingers takes room too");
    line.pass(secs(10));
    assert!(line.connect(3));
    assert_eq!(line.world.gateway().sessions_connected(), 2);
}

#[test]
fn before_the_first_directory_nobody_is_let_in() {
    let config = GatewayConfig::new(HopConfig::new(id(GATEWAY), schedule()));
    let (traffic, keys) = (traffic(1), keys(1));
    let (kept, stored) = (Vec::new(), Vec::new());
    let mut gateway = Gateway::<Sphinx>::new(config, kept, stored, anchor(), traffic, keys, NOW);
    assert!(!gateway.handle_connected(session(1), NOW));
    let directory = World::new().directory;
    gateway.handle_directory(document(&directory), anchor(), NOW);
    assert!(gateway.handle_connected(session(1), NOW));
}
