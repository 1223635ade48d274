//! Durable tags: nothing that follows from a packet happens before its tag is on the disk, and no
//! packet passes twice, whenever the node dies.

use crate::world::{
    EPOCH, GATEWAY, NOW, World, anchor, arrival, id, keys, ms, node, schedule, start, traffic,
};
use mizzle_core::gateway::GatewayEvent;
use mizzle_core::hop::{HopConfig, KeepOrder, Kept, KeptKey, NodeKey, ShortTag, Source, TagBatch};
use mizzle_core::mix::{Mix, MixEvent};
use proptest::prelude::*;
use sphinx::{DiscardReason, Sphinx};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::frame::{Frame, PacketBytes};
use wire::ids::Epoch;
use wire::request::Request;
use wire::time::Instant;

/// The disk of a mix: what was ordered, and what of it is done.
#[derive(Default)]
struct Disk {
    keys: BTreeMap<Epoch, (NodeKey, Vec<ShortTag>)>,
    ordered: VecDeque<TagBatch>,
    forgotten: Vec<Epoch>,
}

impl Disk {
    /// Takes all orders of a mix; the keys that it published meanwhile.
    fn collect(&mut self, mix: &mut Mix<Sphinx>) -> Option<Vec<Epoch>> {
        let mut published = None;
        while let Some(event) = mix.poll_event() {
            match event {
                MixEvent::Keep(KeepOrder::Key(key)) => {
                    let other = self.keys.insert(key.epoch, (key, Vec::new()));
                    assert!(other.is_none(), "a key is made where there is none");
                }
                MixEvent::Keep(KeepOrder::Tags(batch)) => {
                    assert!(!batch.tags.is_empty() && self.keys.contains_key(&batch.epoch));
                    self.ordered.push_back(batch);
                }
                MixEvent::Keep(KeepOrder::Forget(epoch)) => {
                    assert!(self.keys.remove(&epoch).is_some());
                    self.forgotten.push(epoch);
                }
                MixEvent::Report(_) => {}
                MixEvent::PublishKeys(keys) => {
                    published = Some(keys.iter().map(|k| k.epoch).collect());
                }
            }
        }
        published
    }

    /// Makes the oldest batch durable, or fails at it.
    fn answer(&mut self, mix: &mut Mix<Sphinx>, durable: bool) {
        let Some(batch) = self.ordered.pop_front() else {
            return;
        };
        let ticket = batch.ticket;
        if durable {
            let tags = &mut self.keys.get_mut(&batch.epoch).unwrap().1;
            tags.extend(&batch.tags);
            mix.handle_kept(Kept::Durable { ticket });
        } else {
            mix.handle_kept(Kept::Failed { ticket });
        }
    }

    fn kept(&self) -> Vec<KeptKey> {
        let kept = self.keys.values().map(|(key, tags)| KeptKey {
            key: key.clone(),
            tags: tags.clone(),
        });
        kept.collect()
    }
}

/// Mix 0 of the world, started with what a disk holds; its first keys are the world's.
fn start_mix(world: &World, disk: &Disk, now: Instant) -> Mix<Sphinx> {
    let config = HopConfig::new(id(0), schedule());
    let mut mix = Mix::new(config, disk.kept(), anchor(), traffic(0), keys(0), now);
    mix.handle_directory(world.directory.clone(), anchor(), now);
    mix
}

fn give(mix: &mut Mix<Sphinx>, packet: &PacketBytes, now: Instant) {
    let key = mix.key_for(EPOCH.hint(), now).unwrap();
    mix.handle_unwrapped(arrival(&key, packet, Source::Node, now), now);
}

fn leave(mix: &mut Mix<Sphinx>, now: Instant) -> Vec<(Instant, PacketBytes)> {
    mix.handle_timeout(now);
    std::iter::from_fn(|| mix.poll_transmit())
        .map(|t| match t.frame {
            Frame::Packet(_, packet) => (t.at, packet),
            Frame::Dummy | Frame::Hello(_) | Frame::DirectoryPart(_) => panic!("a packet"),
        })
        .collect()
}

fn discards(mix: &Mix<Sphinx>, reason: DiscardReason) -> u64 {
    mix.hop().counters().discards.of(reason)
}

fn new_mix() -> (World, Disk, Mix<Sphinx>) {
    let (world, mut disk) = (World::new(), Disk::default());
    let mut mix = start_mix(&world, &disk, NOW);
    let published = disk.collect(&mut mix).unwrap();
    assert_eq!(published, [EPOCH, EPOCH.next(), EPOCH.next().next()]);
    assert!(disk.keys.keys().eq(&published));
    (world, disk, mix)
}

#[test]
fn no_packet_leaves_before_its_tag_is_durable() {
    let (mut world, mut disk, mut mix) = new_mix();
    let packet = world.passing(0, node(1), ms(20));
    give(&mut mix, &packet, NOW);
    disk.collect(&mut mix);
    assert_eq!(mix.hop().queue_len(), 1);
    let due = NOW + ms(30);
    assert!(leave(&mut mix, due + ms(40)).is_empty());
    assert!(mix.poll_timeout(due).unwrap().0 > due, "no busy waiting");
    // A slow disk makes it late, and its lateness is counted from when it was due.
    disk.answer(&mut mix, true);
    let left = leave(&mut mix, due + ms(41));
    assert!(left.len() == 1 && left[0].0 == due);
    assert_eq!(mix.hop().queue_len(), 0);
    // A quick one is not seen at all.
    let packet = world.passing(0, node(1), ms(20));
    give(&mut mix, &packet, NOW + ms(100));
    disk.collect(&mut mix);
    disk.answer(&mut mix, true);
    let due = NOW + ms(130);
    assert_eq!(mix.poll_timeout(NOW + ms(100)), Some((due, "delay queue")));
}

#[test]
fn tags_of_one_turn_are_one_batch_and_tickets_are_answered_up_to() {
    let (mut world, mut disk, mut mix) = new_mix();
    for turn in [3, 1, 2] {
        for _ in 0..turn {
            let packet = world.passing(0, node(1), ms(0));
            give(&mut mix, &packet, NOW);
        }
        disk.collect(&mut mix);
    }
    let sizes: Vec<_> = disk.ordered.iter().map(|b| b.tags.len()).collect();
    assert_eq!(sizes, [3, 1, 2]);
    let tickets: Vec<_> = disk.ordered.iter().map(|b| b.ticket).collect();
    assert!(tickets.is_sorted_by(|a, b| a < b));
    // One that failed does not come back with those after it.
    mix.handle_kept(Kept::Failed { ticket: tickets[1] });
    assert_eq!(discards(&mix, DiscardReason::TagNotDurable), 1);
    mix.handle_kept(Kept::Durable { ticket: tickets[0] });
    assert_eq!(leave(&mut mix, NOW + ms(10)).len(), 3);
    mix.handle_kept(Kept::Durable { ticket: tickets[2] });
    assert_eq!(leave(&mut mix, NOW + ms(10)).len(), 2);
    mix.handle_kept(Kept::Durable { ticket: tickets[2] });
    mix.handle_kept(Kept::Failed { ticket: tickets[0] });
    assert!(leave(&mut mix, NOW + ms(10)).is_empty());
    assert_eq!(mix.hop().queue_len(), 0);
}

#[test]
fn a_tag_that_failed_is_remembered_all_the_same() {
    let (mut world, mut disk, mut mix) = new_mix();
    let packet = world.passing(0, node(1), ms(0));
    give(&mut mix, &packet, NOW);
    disk.collect(&mut mix);
    disk.answer(&mut mix, false);
    give(&mut mix, &packet, NOW);
    assert_eq!(discards(&mix, DiscardReason::TagNotDurable), 1);
    assert_eq!(discards(&mix, DiscardReason::Replayed), 1);
    assert!(leave(&mut mix, NOW + ms(10)).is_empty());
}

#[test]
fn what_dies_anyway_costs_no_write_and_what_waits_has_a_limit() {
    let mut world = World::with(|hop| hop.delay_queue_max = 2, |_| {});
    let refused = world.passing(0, node(2), ms(0));
    let packets: Vec<_> = (0..3).map(|_| world.passing(0, node(1), ms(0))).collect();
    let mix = &mut world.mixes[0];
    give(mix, &refused, NOW);
    assert!(mix.poll_event().is_none());
    packets.iter().for_each(|packet| give(mix, packet, NOW));
    assert_eq!(discards(mix, DiscardReason::QueueFull), 1);
    assert_eq!(mix.hop().queue_len(), 2);
}

#[test]
fn a_lost_key_is_not_used_published_or_drawn_again() {
    let (mut world, mut disk, mut mix) = new_mix();
    let packet = world.passing(0, node(1), ms(0));
    let key = mix.key_for(EPOCH.hint(), NOW).unwrap();
    mix.handle_kept(Kept::KeyLost(EPOCH));
    let published = disk.collect(&mut mix).unwrap();
    assert_eq!(published, [EPOCH.next(), EPOCH.next().next()]);
    // One that a thread was unwrapping, and one that comes now.
    mix.handle_unwrapped(arrival(&key, &packet, Source::Node, NOW), NOW);
    assert!(mix.key_for(EPOCH.hint(), NOW).is_none());
    assert_eq!(discards(&mix, DiscardReason::TagNotDurable), 2);
    mix.handle_timeout(NOW);
    assert_eq!(disk.collect(&mut mix), None);
    assert!(disk.ordered.is_empty());
    // The epochs after it go on.
    let next = start(EPOCH.next());
    mix.handle_timeout(next);
    assert!(disk.collect(&mut mix).is_some());
    assert!(mix.key_for(EPOCH.next().hint(), next).is_some());
    for epoch in [1, 2, 3].map(|n| Epoch(EPOCH.0 + n)) {
        mix.handle_kept(Kept::KeyLost(epoch));
    }
    disk.collect(&mut mix);
    mix.handle_kept(Kept::KeyLost(EPOCH.next()));
    assert_eq!(disk.collect(&mut mix), None, "no keys are no descriptor");
}

#[test]
fn keys_and_tags_outlive_the_process_and_die_together() {
    let (mut world, mut disk, mut mix) = new_mix();
    let (seen, unseen) = (
        world.passing(0, node(1), ms(0)),
        world.passing(0, node(1), ms(0)),
    );
    give(&mut mix, &seen, NOW);
    disk.collect(&mut mix);
    disk.answer(&mut mix, true);
    let public: Vec<_> = mix.hop().public_keys();
    let mut mix = start_mix(&world, &disk, NOW + ms(500));
    assert!(mix.hop().public_keys() == public, "the same keys");
    disk.collect(&mut mix);
    give(&mut mix, &seen, NOW + ms(500));
    assert_eq!(discards(&mix, DiscardReason::Replayed), 1);
    give(&mut mix, &unseen, NOW + ms(500));
    disk.collect(&mut mix);
    disk.answer(&mut mix, true);
    assert_eq!(leave(&mut mix, NOW + ms(510)).len(), 1);
    // The last epoch's key goes when the overlap is over, and a new one is made.
    let over = start(EPOCH.next()) + world.directory.parameters.key_overlap;
    mix.handle_directory(world.next_directory(), anchor(), NOW + ms(510));
    mix.handle_timeout(start(EPOCH.next()));
    disk.collect(&mut mix);
    assert!(disk.forgotten.is_empty() && disk.keys.contains_key(&Epoch(EPOCH.0 + 3)));
    mix.handle_timeout(over);
    disk.collect(&mut mix);
    assert_eq!(disk.forgotten, [EPOCH]);
}

#[test]
fn keys_of_other_epochs_and_seeds_that_give_another_key_are_destroyed() {
    let (mut world, disk, _) = new_mix();
    // Long after, all are old.
    let mut old = Disk::default();
    old.keys.clone_from(&disk.keys);
    let mut mix = start_mix(&world, &old, start(Epoch(EPOCH.0 + 9)));
    old.collect(&mut mix);
    assert_eq!(old.forgotten, [0, 1, 2].map(|n| Epoch(EPOCH.0 + n)));
    // Just after an overlap that only the directory tells.
    let mut last = Disk::default();
    last.keys.clone_from(&disk.keys);
    world.directory = world.next_directory();
    let late = start(EPOCH.next()) + world.directory.parameters.key_overlap;
    let mut mix = start_mix(&world, &last, late);
    assert_eq!(mix.poll_timeout(late), Some((late, "key rotation")));
    mix.handle_timeout(late);
    last.collect(&mut mix);
    assert_eq!(last.forgotten, [EPOCH]);
    assert!(mix.poll_timeout(late).unwrap().0 > late);
    // A program that draws otherwise.
    let mut other = Disk::default();
    other.keys.clone_from(&disk.keys);
    other.keys.get_mut(&EPOCH).unwrap().0.public.0[0] ^= 1;
    let mix = start_mix(&world, &other, NOW);
    assert_eq!(mix.hop().public_keys().len(), 3);
    let mut mix = mix;
    let orders: Vec<_> = std::iter::from_fn(|| mix.poll_event()).take(2).collect();
    assert!(matches!(
        orders[..],
        [
            MixEvent::Keep(KeepOrder::Forget(EPOCH)),
            MixEvent::Keep(KeepOrder::Key(NodeKey { epoch: EPOCH, .. })),
        ]
    ));
}

#[test]
fn a_gateway_does_nothing_for_a_request_before_its_tag_is_durable() {
    let mut world = World::new();
    let asked = world.request(Request::Cover, ms(40));
    let packet = world.for_node(GATEWAY, &asked.plaintext);
    let gateway = world.gateway();
    let key = gateway.key_for(EPOCH.hint(), NOW).unwrap();
    gateway.handle_unwrapped(arrival(&key, &packet, Source::Node, NOW), NOW);
    let Some(GatewayEvent::Keep(KeepOrder::Tags(batch))) = gateway.poll_event() else {
        panic!("its tag comes first")
    };
    assert!(gateway.poll_event().is_none());
    gateway.handle_timeout(NOW + ms(60));
    assert!(gateway.poll_transmit().is_none());
    let ticket = batch.ticket;
    gateway.handle_kept(Kept::Durable { ticket }, NOW + ms(8));
    // δ and the drawn delay count from when it was read, not from the disk's answer.
    let due = gateway.poll_timeout(NOW + ms(8)).unwrap();
    assert_eq!(due, (NOW + ms(50), "delay queue"));
}

/// What happens in one step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Give(usize),
    Answer(bool),
    Pass(u64),
    /// The process dies; of what was ordered and not answered, so many batches are on the disk.
    Die(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6usize).prop_map(Step::Give),
        4 => proptest::bool::weighted(0.85).prop_map(Step::Answer),
        3 => (0..40u64).prop_map(Step::Pass),
        1 => (0..4usize).prop_map(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 48,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_passes_twice_whenever_the_node_dies(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (mut world, mut disk, mut mix) = new_mix();
        let pool: Vec<_> = (0..6).map(|i| world.passing(0, node(1), ms(7 * i))).collect();
        let (mut now, mut left, mut durable) = (NOW, BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Give(which) => {
                    give(&mut mix, &pool[which], now);
                    disk.collect(&mut mix);
                }
                Step::Answer(works) => disk.answer(&mut mix, works),
                Step::Pass(time) => now += ms(time),
                Step::Die(written) => {
                    let written = disk.ordered.drain(..).take(written).collect::<Vec<_>>();
                    for batch in written {
                        disk.keys.get_mut(&batch.epoch).unwrap().1.extend(batch.tags);
                    }
                    mix = start_mix(&world, &disk, now);
                    disk.collect(&mut mix);
                }
            }
            durable.extend(disk.keys.values().flat_map(|(_, tags)| tags.iter().copied()));
            for (at, packet) in leave(&mut mix, now) {
                prop_assert!(at <= now);
                prop_assert!(left.insert(packet.to_vec()), "a packet left twice");
            }
            prop_assert!(left.len() <= durable.len(), "a packet left before its tag");
        }
    }
}
