//! Many files at once: what is in memory is bounded, whoever waits gets a turn, and all of them arrive.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "flow/world.rs"]
#[allow(dead_code)] // Shared with `flow`, which uses all of it.
mod world;

use messaging::transfer::{INBOXES_MAX, UNDER_WAY_MAX};
use messaging::{BlobRef, ContactId, Draft, FILE_RECORD_LEN, FileDraft, FlowKind};
use messaging::{MessageState, Order, SendError, SendOutcome};
use sha2::{Digest, Sha256};
use world::World;

const ALICE: usize = 0;
const OF_ONE_FILE: usize = INBOXES_MAX * UNDER_WAY_MAX;

struct Run {
    world: World,
    alice: Vec<ContactId>,
    others: Vec<ContactId>,
    /// Most cells of files that were with Alice at a time.
    most: usize,
}

impl Run {
    /// Alice and so many others, who know her; of their files so many go at once.
    fn new(seed: u8, others: u8, at_once: usize) -> Self {
        let entries: Vec<u8> = (0..=others).map(|n| n % 2).collect();
        let mut world = World::with(seed, 6, &entries, |c| c.files_at_once = at_once);
        let (mut alice, mut ids) = (Vec::new(), Vec::new());
        for other in 1..=usize::from(others) {
            let card = world.card(ALICE, "Alice");
            alice.push(world.add(other, &card, "other"));
            world.until(60, |w| w.clients[ALICE].added.len() == other);
            ids.push(world.id(other));
        }
        world.rounds(50);
        Self {
            world,
            alice,
            others: ids,
            most: 0,
        }
    }

    fn try_send(&mut self, to: usize, id: &str, records: usize) -> Result<SendOutcome, SendError> {
        // Each has bytes of its own.
        let salt = id.bytes().map(usize::from).sum::<usize>();
        let bytes = |i: usize| ((i * 31 + salt) / 7) as u8;
        let content: Vec<u8> = (0..records * FILE_RECORD_LEN).map(bytes).collect();
        let mut blob = BlobRef([0; 16]);
        blob.0.copy_from_slice(&Sha256::digest(id)[..16]);
        let file = FileDraft {
            blob,
            name: "f".to_owned(),
            media_type: String::new(),
            size: content.len() as u64,
            hash: Sha256::digest(&content).into(),
        };
        self.world.clients[ALICE].blobs.insert(blob, content);
        let draft = Draft {
            file: Some(file),
            ..Draft::text(id)
        };
        let contact = self.others[to - 1];
        self.world.send_draft(ALICE, &contact, id, draft)
    }

    /// Sends a file that is accepted at once.
    fn send(&mut self, to: usize, id: &str, records: usize) {
        self.try_send(to, id, records).unwrap();
        let offered = |w: &World| w.clients[to].received.iter().position(|(_, b)| b == id);
        self.world.until(600, |w| offered(w).is_some());
        let message = self.world.clients[to].received_ids[offered(&self.world).unwrap()];
        let (now, unix) = (self.world.instant(), self.world.unix());
        let alice = self.alice[to - 1];
        let machine = self.world.machine(to);
        machine
            .handle_accept_file(&alice, &message, now, unix)
            .unwrap();
        self.world.settle(to);
        self.look();
    }

    fn state(&self, id: &str) -> MessageState {
        self.world.clients[ALICE].states[id]
    }

    /// Cells of files that Alice has in memory.
    fn look(&mut self) {
        let bulk = |o: &&Order| {
            matches!(
                o,
                Order::Deposit {
                    flow: FlowKind::Bulk,
                    ..
                }
            )
        };
        let cells = self.world.clients[ALICE].orders.iter().filter(bulk).count();
        self.most = self.most.max(cells);
    }

    /// Runs until these are delivered, and gives their order.
    fn finish(&mut self, seconds: usize, ids: &[&str]) -> Vec<String> {
        let mut done: Vec<String> = Vec::new();
        for _ in 0..seconds * 10 {
            self.world.round();
            self.look();
            for id in ids {
                let new =
                    self.state(id) == MessageState::Delivered && !done.iter().any(|d| d == id);
                if new {
                    done.push((*id).to_owned());
                }
            }
            if done.len() == ids.len() {
                return done;
            }
        }
        panic!(
            "not done: {ids:?} but {done:?}, {:?}",
            self.world.machine(ALICE).files_out()
        );
    }
}

#[test]
fn what_is_in_memory_does_not_grow_with_the_number_of_files() {
    // One to each: a client of this world carries out four orders in a round, and is swamped by two at once.
    let many = ["a", "b", "c", "d"];
    let most = |at_once| {
        let mut run = Run::new(1, 4, at_once);
        for id in many {
            let to = usize::from(id.as_bytes()[0] - b'a') + 1;
            run.send(to, id, 80);
        }
        run.finish(2_000, &many);
        assert_eq!(run.world.machine(ALICE).files_out().all, 0);
        assert_eq!(run.world.refused_full, 0);
        run.most
    };
    let limited = most(1);
    assert!(limited > OF_ONE_FILE / 2, "{limited}");
    assert!(limited <= OF_ONE_FILE, "{limited}");
    // Without a limit it would be seen.
    assert!(most(usize::MAX) > 2 * OF_ONE_FILE);
}

#[test]
fn many_files_to_one_or_a_long_one_keep_nobody_waiting() {
    let mut run = Run::new(2, 3, 1);
    run.send(1, "long", 1_500);
    for id in ["b1", "b2", "b3"] {
        run.send(2, id, 300);
    }
    run.send(3, "short", 40);
    let order = run.finish(8_000, &["long", "b1", "b2", "b3", "short"]);
    assert_eq!(order[0], "short");
    assert_eq!(order[4], "long", "{order:?}");
    // Of one contact a turn each, in the order in which they began to wait; together they had no more than the long one.
    assert_eq!(order[1..4], ["b1", "b2", "b3"]);
}

#[test]
fn whoever_is_away_gives_the_turn_to_others() {
    let mut run = Run::new(3, 2, 1);
    run.send(1, "away", 1_000);
    run.world.rounds(200);
    run.world.clients[1].online = false;
    run.send(2, "here", 300);
    run.finish(4_000, &["here"]);
    assert!(run.state("away") < MessageState::Delivered);
    // Alice starts anew meanwhile, and nothing is forgotten.
    run.world.crash(ALICE);
    run.world.clients[1].online = true;
    run.finish(20_000, &["away"]);
}

#[test]
fn turns_are_counted_and_too_many_files_refused() {
    let mut run = Run::new(4, 2, 1);
    run.world = {
        let mut world = run.world;
        world.config.files_max = 4;
        world.crash(ALICE);
        world
    };
    run.send(1, "a", 600);
    run.send(1, "b", 600);
    run.send(2, "c", 600);
    run.world.rounds(100);
    let out = run.world.machine(ALICE).files_out();
    assert_eq!((out.all, out.sending, out.waiting), (3, 1, 2));
    assert_eq!(run.try_send(2, "d", 1), Ok(SendOutcome::Accepted));
    assert_eq!(run.try_send(2, "e", 1), Err(SendError::OutboxFull));
}
