//! Over random sequences: nothing leaves early, and every packet is somewhere.

use crate::world::{EPOCH, NOW, World, arrival, ms, node, settle};
use mizzle_core::hop::{DelayQueue, Source};
use mizzle_core::{Peer, Transmit};
use proptest::prelude::*;
use std::time::Duration;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{NextHop, NodeId};
use wire::time::Instant;

#[derive(Clone, Debug)]
enum Op {
    Push(u64),
    Pop(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..1_000u64).prop_map(Op::Push),
        (0..200u64).prop_map(Op::Pop)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a sorted list: the same frames, in order of (moment, arrival), none early.
    #[test]
    fn a_delay_queue_is_a_sorted_list_with_a_capacity(ops in proptest::collection::vec(op(), 1..200)) {
        let capacity = 20;
        let (mut queue, mut model) = (DelayQueue::new(capacity), Vec::<(Instant, u64)>::new());
        let (mut now, mut arrived) = (Instant::ZERO, 0u64);
        for op in ops {
            match op {
                Op::Push(after) => {
                    let at = now + ms(after);
                    let mut id = [0; 28];
                    id[..8].copy_from_slice(&arrived.to_be_bytes());
                    let to = Peer::Node(NodeId(id));
                    let taken = queue.push(Transmit { to, at, frame: Frame::Dummy }).is_ok();
                    prop_assert_eq!(taken, model.len() < capacity);
                    if taken {
                        model.push((at, arrived));
                        model.sort_unstable();
                    }
                    arrived += 1;
                }
                Op::Pop(passes) => {
                    now += ms(passes);
                    while let Some(left) = queue.pop_due(now) {
                        let (at, number) = model.remove(0);
                        prop_assert!(at <= now && left.at == at);
                        let Peer::Node(id) = left.to else { panic!() };
                        prop_assert_eq!(&id.0[..8], &number.to_be_bytes()[..]);
                    }
                    prop_assert!(model.first().is_none_or(|(at, _)| *at > now));
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.poll_timeout(), model.first().map(|(at, _)| *at));
        }
    }
}

/// Packets good and bad, built once, for a mix of layer 0.
fn pool(world: &mut World) -> Vec<(PacketBytes, Duration)> {
    let unknown = NextHop::Node {
        id: NodeId([7; 28]),
        epoch: EPOCH.hint(),
    };
    let mut pool = Vec::new();
    for delay in [0, 1, 30, 30, 200, 1_300] {
        pool.push((world.passing(0, node(1), ms(delay)), ms(delay)));
    }
    for bad in [node(2), unknown] {
        pool.push((world.passing(0, bad, ms(1)), ms(1)));
    }
    pool.push((world.passing(0, node(1), Duration::from_secs(9)), ms(0)));
    pool.push((world.passing(1, node(2), ms(1)), ms(1)));
    pool
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 24,
        ..ProptestConfig::default()
    })]

    /// Received = forwarded + discarded + waiting, after every step; and a packet that leaves does
    /// so δ and its delay after it came, at the moment that was announced.
    #[test]
    fn every_packet_is_somewhere(steps in proptest::collection::vec((0..10usize, 0..80u64), 1..25)) {
        let mut world = World::with(|hop| hop.delay_queue_max = 4, |_| {});
        let pool = pool(&mut world);
        let (mut now, mut dues, mut left) = (NOW, Vec::new(), 0u64);
        let mix = &mut world.mixes[0];
        for (which, passes) in steps {
            let (packet, delay) = &pool[which];
            if let Some(key) = mix.key_for(EPOCH.hint(), now) {
                let before = mix.hop().queue_len();
                mix.handle_unwrapped(arrival(&key, packet, Source::Node, now), now);
                settle(mix);
                if mix.hop().queue_len() > before {
                    dues.push(now + ms(10) + *delay);
                    dues.sort_unstable();
                }
            }
            let until = now + ms(passes);
            while let Some((due, _)) = mix.poll_timeout(now).filter(|(due, _)| *due <= until) {
                now = due.max(now);
                mix.handle_timeout(now);
                while let Some(transmit) = mix.poll_transmit() {
                    prop_assert_eq!(transmit.at, dues.remove(0));
                    prop_assert_eq!(transmit.at, now);
                    left += 1;
                }
            }
            now = until;
            let counters = mix.hop().counters();
            prop_assert_eq!(counters.forwarded, left);
            let somewhere = left + counters.discards.total() + mix.hop().queue_len() as u64;
            prop_assert_eq!(counters.received, somewhere);
            prop_assert_eq!(mix.loop_count().sent, 0);
        }
    }
}
