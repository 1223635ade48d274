//! Random orders, reopening at random moments, against a map.

use crate::common::*;
use mizzle_core::stored::{StoreOp, StoredInbox};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use store::{InboxStore, StoreConfig, StoreError};
use wire::time::UnixTime;

const CELLS_MAX: usize = 12;
const INBOXES: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    PutInbox { n: u8, ttl: u64 },
    PutCell { n: u8, ttl: u64 },
    RemoveCell { n: u8, pick: usize },
    RemoveInbox { n: u8 },
    Expire { by: u64 },
    Commit,
    Reopen { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..INBOXES;
    let ttl = 1..60_000u64;
    prop_oneof![
        2 => (n.clone(), ttl.clone()).prop_map(|(n, ttl)| Step::PutInbox { n, ttl: ttl * 2 }),
        8 => (n.clone(), ttl).prop_map(|(n, ttl)| Step::PutCell { n, ttl }),
        3 => (n.clone(), any::<usize>()).prop_map(|(n, pick)| Step::RemoveCell { n, pick }),
        1 => n.prop_map(|n| Step::RemoveInbox { n }),
        2 => (0..20_000u64).prop_map(|by| Step::Expire { by }),
        2 => Just(Step::Commit),
        2 => (0..20_000u64).prop_map(|by| Step::Reopen { by }),
    ]
}

#[derive(Default)]
struct Model {
    now: u64,
    inboxes: BTreeMap<u8, (u64, BTreeMap<u64, u64>)>,
    next: u64,
}

impl Model {
    fn cells(&self) -> usize {
        self.inboxes.values().map(|(_, cells)| cells.len()).sum()
    }

    fn pass(&mut self, by: u64) {
        self.now += by;
        let now = self.now;
        self.inboxes.retain(|_, (expires, _)| *expires > now);
        for (_, cells) in self.inboxes.values_mut() {
            cells.retain(|_, expires| *expires > now);
        }
    }

    fn same(&self, index: &[StoredInbox]) -> bool {
        let theirs: BTreeMap<u8, (u64, BTreeMap<u64, u64>)> = index
            .iter()
            .map(|i| {
                let cells = i.cells.iter().map(|c| (c.sequence, c.expires.0)).collect();
                (i.key.0[0], (i.record.expires.0, cells))
            })
            .collect();
        theirs == self.inboxes
    }
}

fn open_at(folder: &Path, now: u64) -> (InboxStore, Vec<StoredInbox>) {
    let config = StoreConfig {
        cells_max: CELLS_MAX as u32,
        ..config()
    };
    InboxStore::open_with(folder, master(), UnixTime(now), fresh_rng(), config).unwrap()
}

fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let (mut store, _) = open_at(folder.path(), 0);
    for step in steps {
        match step {
            Step::PutInbox { n, ttl } => {
                let expires = model.now + ttl;
                store.apply(&put_inbox(n, UnixTime(expires))).unwrap();
                model.inboxes.entry(n).or_default().0 = expires;
            }
            Step::PutCell { n, ttl } => {
                model.next += 1;
                let expires = model.now + ttl;
                let done = store.apply(&put_cell(n, model.next, UnixTime(expires)));
                let full = model.cells() >= CELLS_MAX;
                match (model.inboxes.get_mut(&n), done) {
                    (None, Err(StoreError::NoInbox)) => {}
                    (Some(_), Err(StoreError::Full)) => assert!(full),
                    (Some((_, cells)), Ok(())) if !full => {
                        cells.insert(model.next, expires);
                    }
                    (_, done) => panic!("the model disagrees: {done:?}"),
                }
            }
            Step::RemoveCell { n, pick } => {
                let Some((_, cells)) = model.inboxes.get_mut(&n).filter(|i| !i.1.is_empty()) else {
                    // Orders about what is not there change nothing.
                    store.apply(&remove_cell(n, pick as u64 | 1 << 63)).unwrap();
                    continue;
                };
                let sequence = *cells.keys().nth(pick % cells.len()).unwrap();
                cells.remove(&sequence);
                store.apply(&remove_cell(n, sequence)).unwrap();
                assert!(store.read_cell(inbox(n), sequence).unwrap().is_none());
            }
            Step::RemoveInbox { n } => {
                model.inboxes.remove(&n);
                store
                    .apply(&StoreOp::RemoveInbox { key: inbox(n) })
                    .unwrap();
            }
            Step::Expire { by } => {
                model.pass(by);
                assert!(!store.expire(UnixTime(model.now)).unwrap().more);
            }
            Step::Commit => store.commit().unwrap(),
            Step::Reopen { by } => {
                drop(store);
                model.pass(by);
                let (reopened, index) = open_at(folder.path(), model.now);
                store = reopened;
                assert!(model.same(&index));
                assert_contents(&mut store, &index);
                let swept = store.swept();
                assert_eq!(swept.slots_without_cell + swept.cells_without_slot, 0);
            }
        }
        assert_eq!(store.cells(), model.cells());
    }
    drop(store);
    let (mut store, index) = open_at(folder.path(), model.now);
    assert!(model.same(&index));
    assert_contents(&mut store, &index);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]
    #[test]
    fn does_what_a_map_would_do(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

#[test]
fn grows_past_a_chunk_and_reuses_slots() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    for sequence in 0..1200 {
        store.apply(&put_cell(1, sequence, FAR)).unwrap();
        if sequence >= 600 {
            store.apply(&remove_cell(1, sequence - 600)).unwrap();
        }
    }
    store.commit().unwrap();
    drop(store);
    let (mut store, index) = open(folder.path()).unwrap();
    assert_eq!(sequences(&index)[&1], (600..1200).collect::<Vec<_>>());
    assert_contents(&mut store, &index);
    // 601 lived at most: two chunks of 512, never three.
    let len = std::fs::metadata(folder.path().join("slots"))
        .unwrap()
        .len();
    assert_eq!(len, 4096 + 1024 * 128);
}

#[test]
fn expiry_comes_in_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path()).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    for sequence in 0..300 {
        store
            .apply(&put_cell(1, sequence, UnixTime(5_000)))
            .unwrap();
    }
    let first = store.expire(UnixTime(10_000)).unwrap();
    assert_eq!((first.buckets, first.cells, first.more), (1, 256, true));
    // Those that still wait to be removed are out of reach already.
    assert!(store.read_cell(inbox(1), 299).unwrap().is_none());
    let rest = store.expire(UnixTime(10_000)).unwrap();
    assert_eq!((rest.buckets, rest.cells, rest.more), (0, 44, false));
}
