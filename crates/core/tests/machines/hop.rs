//! What a node does with a packet: every reason to discard, keys by epoch, moments of leaving.

use crate::world::{
    EPOCH, GATEWAY, NOW, World, anchor, arrival, id, keys, ms, node, parameters, plain, schedule,
    settle, start, traffic,
};
use mizzle_core::Peer;
use mizzle_core::hop::{HopConfig, Source};
use mizzle_core::mix::Mix;
use sphinx::{DiscardReason, Sphinx};
use std::time::Duration;
use wire::frame::{PacketBytes, boxed};
use wire::geometry::PACKET_LEN;
use wire::ids::{Epoch, NextHop, NodeId, SessionAddress};
use wire::request::Request;

#[test]
fn the_same_packet_twice_is_a_replay() {
    let mut world = World::new();
    let packet = world.passing(0, node(1), ms(20));
    for _ in 0..3 {
        world.give_mix(0, &packet, NOW);
    }
    assert_eq!(world.mix_discards(0, DiscardReason::Replayed), 2);
    assert_eq!(world.mixes[0].hop().queue_len(), 1);
}

#[test]
fn a_changed_payload_is_a_replay_too() {
    let mut world = World::new();
    let packet = world.passing(0, node(1), ms(20));
    let mut tagged = packet.clone();
    tagged[PACKET_LEN - 1] ^= 1;
    world.give_mix(0, &packet, NOW);
    world.give_mix(0, &tagged, NOW);
    assert_eq!(world.mix_discards(0, DiscardReason::Replayed), 1);
}

#[test]
fn a_packet_leaves_delta_and_its_delay_after_it_was_read() {
    let mut world = World::new();
    let packet = world.passing(0, node(1), ms(70));
    let mix = &mut world.mixes[0];
    let key = mix.key_for(EPOCH.hint(), NOW).unwrap();
    // It waited 9 ms for an unwrapping thread; that is no reason to leave later.
    mix.handle_unwrapped(arrival(&key, &packet, Source::Node, NOW), NOW + ms(9));
    settle(mix);
    let due = NOW + ms(10) + ms(70);
    assert_eq!(mix.poll_timeout(NOW + ms(9)), Some((due, "delay queue")));
    mix.handle_timeout(due.saturating_sub(Duration::from_nanos(1)));
    assert!(mix.poll_transmit().is_none());
    mix.handle_timeout(due);
    let left = mix.poll_transmit().unwrap();
    assert!(left.to == Peer::Node(id(1)) && left.at == due);
    assert!(mix.poll_transmit().is_none());
    assert_eq!(mix.hop().counters().forwarded, 1);
}

#[test]
fn only_the_next_layer_is_a_next_hop() {
    // Who may follow whom: gateway, layer 0, layer 1, layer 2, gateway.
    let may = [(0, 1), (1, 2), (2, 3), (2, 4), (2, 5), (3, 0)];
    let mut world = World::new();
    for from in 0..=GATEWAY {
        for to in 0..6 {
            let packet = world.passing(from, node(to), ms(1));
            let before = waiting(&world, from);
            if from == GATEWAY {
                world.give_gateway(&packet, Source::Node, NOW);
            } else {
                world.give_mix(from, &packet, NOW);
            }
            let taken = waiting(&world, from) - before;
            let expected = usize::from(may.contains(&(from, to)));
            assert_eq!(taken, expected, "from {from} to {to}");
        }
    }
    let refused = |w: &World, n| w.mix_discards(n, DiscardReason::NotAdjacent);
    assert_eq!(refused(&world, 0), 5);
    assert_eq!(refused(&world, 1), 5);
    assert_eq!(refused(&world, 2), 3);
    assert_eq!(world.gateway_discards(DiscardReason::NotAdjacent), 5);
}

fn waiting(world: &World, node: usize) -> usize {
    if node == GATEWAY {
        world.gateways[0].hop().queue_len()
    } else {
        world.mixes[node].hop().queue_len()
    }
}

#[test]
fn a_node_of_no_directory_is_no_next_hop() {
    let mut world = World::new();
    let nobody = NextHop::Node {
        id: NodeId([0xee; 28]),
        epoch: EPOCH.hint(),
    };
    let packet = world.passing(0, nobody, ms(1));
    world.give_mix(0, &packet, NOW);
    assert_eq!(world.mix_discards(0, DiscardReason::UnknownNextHop), 1);
}

#[test]
fn a_client_may_only_hand_in_what_passes_through() {
    let mut world = World::new();
    let session = NextHop::Session(SessionAddress::from_random([3; 32]));
    let to_session = world.passing(GATEWAY, session, ms(1));
    let asked = world.request(Request::Cover, ms(1));
    let request = world.for_node(GATEWAY, &asked.plaintext);
    let reply = world.stray_reply(GATEWAY);
    let other_gateway = world.passing(GATEWAY, node(GATEWAY + 1), ms(1));
    for packet in [&to_session, &request, &reply, &other_gateway] {
        world.give_gateway(packet, Source::Client, NOW);
    }
    assert_eq!(world.gateway_discards(DiscardReason::NotAdjacent), 4);
    let through = world.passing(GATEWAY, node(0), ms(1));
    world.give_gateway(&through, Source::Client, NOW);
    assert_eq!(waiting(&world, GATEWAY), 1);
}

#[test]
fn longer_than_any_honest_delay_is_too_long() {
    let mut world = World::new();
    let bound = parameters().delay_bound();
    let at_most = world.passing(0, node(1), bound);
    let more = world.passing(0, node(1), bound + Duration::from_nanos(1));
    let for_ever = world.passing(0, node(1), Duration::from_nanos(u64::MAX));
    for packet in [&at_most, &more, &for_ever] {
        world.give_mix(0, packet, NOW);
    }
    assert_eq!(world.mix_discards(0, DiscardReason::DelayTooLong), 2);
    assert_eq!(waiting(&world, 0), 1);
    // The delay of a reply, too.
    let asked = world.request(Request::Cover, bound + Duration::from_nanos(1));
    let packet = world.for_node(GATEWAY, &asked.plaintext);
    world.give_gateway(&packet, Source::Node, NOW);
    assert_eq!(world.gateway_discards(DiscardReason::DelayTooLong), 1);
    assert_eq!(waiting(&world, GATEWAY), 0);
}

#[test]
fn what_a_mix_does_not_do() {
    let mut world = World::new();
    let request = world.for_node(0, &plain());
    let session = NextHop::Session(SessionAddress::from_random([3; 32]));
    let to_session = world.passing(0, session, ms(1));
    let reply = world.stray_reply(0);
    for packet in [&request, &to_session, &reply] {
        world.give_mix(0, packet, NOW);
    }
    for reason in [
        DiscardReason::NotAGateway,
        DiscardReason::UnknownSession,
        DiscardReason::UnknownReply,
    ] {
        assert_eq!(world.mix_discards(0, reason), 1, "{reason:?}");
    }
}

#[test]
fn noise_and_other_nodes_packets_have_a_bad_mac() {
    let mut world = World::new();
    let for_another = world.passing(1, node(2), ms(1));
    let noise: PacketBytes = boxed(vec![0x5a; PACKET_LEN]);
    let mut flipped = world.passing(0, node(1), ms(1));
    flipped[100] ^= 4;
    for packet in [&for_another, &noise, &flipped] {
        world.give_mix(0, packet, NOW);
    }
    assert_eq!(world.mix_discards(0, DiscardReason::BadMac), 3);
}

#[test]
fn a_key_is_good_in_its_epoch_and_an_overlap_around_it() {
    let overlap = parameters().key_overlap;
    let step = ms(1);
    let (next, this_starts, next_starts) = (EPOCH.next(), start(EPOCH), start(EPOCH.next()));
    let before = |at: wire::time::Instant| at.saturating_sub(step);
    let after_next = start(next.next());
    let cases = [
        (EPOCH, this_starts, true),
        (EPOCH, before(next_starts + overlap), true),
        (EPOCH, next_starts + overlap, false),
        (next, before(next_starts.saturating_sub(overlap)), false),
        (next, next_starts.saturating_sub(overlap), true),
        (next, next_starts, true),
        (next, before(after_next + overlap), true),
        (next, after_next + overlap, false),
        (EPOCH.previous(), this_starts, false),
        (next.next(), next_starts, false),
        (Epoch(EPOCH.0 + 1000), next_starts, false),
    ];
    for (epoch, at, good) in cases {
        // A fresh machine each, for time never goes back. Its first epoch is that of its start.
        let config = HopConfig::new(id(0), schedule());
        let mut mix = Mix::<Sphinx>::new(
            config,
            Vec::new(),
            anchor(),
            traffic(0),
            keys(0),
            this_starts,
        );
        let mut world = World::new();
        mix.handle_directory(world.directory.clone(), anchor(), this_starts);
        mix.handle_directory(world.next_directory(), anchor(), this_starts);
        // The driver keeps every deadline in between.
        let mut now = this_starts;
        while let Some((due, _)) = mix.poll_timeout(now).filter(|(due, _)| *due < at) {
            now = due.max(now);
            mix.handle_timeout(now);
            while mix.poll_transmit().is_some() {}
        }
        mix.handle_timeout(at);
        let key = mix.key_for(epoch.hint(), at);
        assert_eq!(key.is_some(), good, "key of epoch {epoch} at {at:?}");
        assert!(key.is_none_or(|k| k.epoch == epoch));
        let unknown = mix
            .hop()
            .counters()
            .discards
            .of(DiscardReason::UnknownEpoch);
        assert_eq!(unknown, u64::from(!good));
        world.mixes.clear();
    }
}

#[test]
fn without_a_directory_that_holds_nothing_is_passed_on() {
    let mut world = World::new();
    let config = HopConfig::new(id(0), schedule());
    // The same keys as the world's mix 0.
    let mut mix = Mix::<Sphinx>::new(config, Vec::new(), anchor(), traffic(0), keys(0), NOW);
    let packet = world.passing(0, node(1), ms(1));
    let key = mix.key_for(EPOCH.hint(), NOW).unwrap();
    mix.handle_unwrapped(arrival(&key, &packet, Source::Node, NOW), NOW);
    let discards = |mix: &Mix<Sphinx>| mix.hop().counters().discards.of(DiscardReason::NoDirectory);
    assert_eq!(discards(&mix), 1);
    // One that has expired is none.
    mix.handle_directory(world.directory.clone(), anchor(), NOW);
    let late = start(EPOCH.next().next());
    mix.handle_timeout(late);
    let packet = world.passing_in(EPOCH.next(), 0, node(1), ms(1));
    let key = mix.key_for(EPOCH.next().hint(), late).unwrap();
    mix.handle_unwrapped(arrival(&key, &packet, Source::Node, late), late);
    assert_eq!(discards(&mix), 2);
    assert_eq!(mix.hop().queue_len(), 0);
}

#[test]
fn full_queues_and_sets_refuse_and_keep_what_they_have() {
    let mut world = World::with(|hop| hop.delay_queue_max = 2, |_| {});
    for _ in 0..3 {
        let packet = world.passing(0, node(1), ms(1));
        world.give_mix(0, &packet, NOW);
    }
    assert_eq!(world.mix_discards(0, DiscardReason::QueueFull), 1);
    assert_eq!(world.mixes[0].hop().queue_len(), 2);
    let mut world = World::with(|hop| hop.replay_tags_max = 2, |_| {});
    for _ in 0..3 {
        let packet = world.passing(0, node(1), ms(1));
        world.give_mix(0, &packet, NOW);
    }
    assert_eq!(world.mix_discards(0, DiscardReason::ReplaySetFull), 1);
    assert_eq!(world.mixes[0].hop().queue_len(), 2);
}
