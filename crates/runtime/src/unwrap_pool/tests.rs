//! The pool with a made-up format: what goes in comes out once, and what is too much comes back.

use super::*;
use sphinx::{BuildError, Hop, PayloadBytes, ReplayTag};
use std::collections::BTreeSet;
use wire::geometry::PACKET_LEN;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;

/// Forwards everything; the tag is the packet's first bytes. A packet of `0xff` panics.
struct Echo;

impl PacketFormat for Echo {
    type Secret = Mutex<()>;
    type Recovery = ();

    fn generate(_rng: &mut KeyRng) -> Mutex<()> {
        Mutex::new(())
    }
    fn public(_secret: &Mutex<()>) -> SphinxPublic {
        SphinxPublic([0; 32])
    }
    fn build(_: &[Hop], _: &Plaintext, _: &mut KeyRng) -> Result<PacketBytes, BuildError> {
        Err(BuildError::RouteLength)
    }
    fn build_surb(_: &[Hop], _: SurbId, _: &mut KeyRng) -> Result<(SurbBytes, ()), BuildError> {
        Err(BuildError::RouteLength)
    }
    fn unwrap(gate: &Mutex<()>, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(packet[0] != 0xff, "made-up panic");
        let mut tag = [0; 32];
        tag.copy_from_slice(&packet[..32]);
        Ok(Unwrapped::Request {
            tag: ReplayTag(tag),
            plaintext: None,
        })
    }
    fn use_surb(_: &SurbBytes, _: &Plaintext) -> Result<(NextHop, PacketBytes), DiscardReason> {
        Err(DiscardReason::BadSurb)
    }
    fn open_reply(_: &(), _: PayloadBytes) -> Result<Plaintext, DiscardReason> {
        Err(DiscardReason::BadPayload)
    }
}

fn received(key: &Arc<Mutex<()>>, first: u8, context: usize) -> Received<Echo, usize> {
    let mut packet = Box::new([0; PACKET_LEN]);
    packet[0] = first;
    Received {
        key: key.clone(),
        packet,
        received_at: Instant::ZERO,
        context,
    }
}

#[test]
fn every_packet_comes_out_once_with_its_own_result() {
    let (sender, mut results) = mpsc::channel(8);
    let pool = UnwrapPool::<Echo, usize>::start(3, 1000, sender).unwrap();
    let key = Arc::new(Mutex::new(()));
    let submitter = pool.submitter();
    for context in 0..500 {
        let submitted = submitter.submit(received(&key, (context % 200) as u8, context));
        assert!(submitted.is_ok());
    }
    let mut seen = BTreeSet::new();
    for _ in 0..500 {
        let done = results.blocking_recv().unwrap();
        let tag = done.result.ok().unwrap().tag();
        assert_eq!(usize::from(tag.0[0]), done.context % 200);
        assert!(seen.insert(done.context));
    }
    pool.close();
    assert!(results.blocking_recv().is_none());
    assert!(submitter.submit(received(&key, 0, 0)).is_err());
}

#[test]
fn too_much_comes_back() {
    let (sender, _results) = mpsc::channel(8);
    let pool = UnwrapPool::<Echo, usize>::start(1, 10, sender).unwrap();
    let key = Arc::new(Mutex::new(()));
    let gate = key.lock().unwrap();
    let submitter = pool.submitter();
    let refused = (0..100)
        .filter_map(|context| submitter.submit(received(&key, 0, context)).err())
        .count();
    // Ten wait, and the thread took between none and two batches of at most 10.
    assert!((70..=90).contains(&refused), "{refused}");
    drop(gate);
}

#[test]
fn a_packet_that_panics_costs_itself_alone() {
    let (sender, mut results) = mpsc::channel(64);
    let pool = UnwrapPool::<Echo, usize>::start(1, 100, sender).unwrap();
    let key = Arc::new(Mutex::new(()));
    for context in 0..30 {
        let first = if context == 7 { 0xff } else { 1 };
        assert!(
            pool.submitter()
                .submit(received(&key, first, context))
                .is_ok()
        );
    }
    for _ in 0..30 {
        let done = results.blocking_recv().unwrap();
        assert_eq!(done.result.is_err(), done.context == 7);
    }
}
