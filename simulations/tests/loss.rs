//! What an inbox gateway has acknowledged reaches its reader: over key rotations, over links that
//! lose packets, over a gateway's sudden death.

use simulations::network::{Latency, LinkModel};
use simulations::{Engine, Scenario, Transparent};
use sphinx::DiscardReason;
use std::collections::BTreeSet;
use std::time::Duration;
use wire::ids::CellId;

const WRITER: usize = 0;
const READER: usize = 1;
/// Neither writer nor reader enters here.
const INBOX_GATEWAY: usize = 2;

/// Cells that were deposited, acknowledged and fetched in one run.
struct Run {
    engine: Engine<Transparent>,
    deposited: Vec<(CellId, u64)>,
}

impl Run {
    fn new(scenario: Scenario) -> Self {
        let mut engine = Engine::new(scenario);
        engine.run_for(Duration::from_secs(3));
        Self {
            engine,
            deposited: Vec::new(),
        }
    }

    /// A cell every so often, for so long.
    fn traffic(&mut self, inbox: &wire::ids::InboxAddress, every: Duration, count: usize) {
        for _ in 0..count {
            self.deposited.push(self.engine.deposit(WRITER, inbox));
            self.engine.run_for(every);
        }
    }

    /// Everything was acknowledged, and everything acknowledged has come, once.
    fn check(&self) {
        let told = &self.engine.clients()[WRITER].told;
        for (_, handle) in &self.deposited {
            assert!(
                told.stored.contains_key(handle),
                "a deposit was never acknowledged"
            );
        }
        let came = &self.engine.clients()[READER].told.cells;
        let names: BTreeSet<CellId> = came.iter().map(|(_, _, cell)| *cell).collect();
        let expected: BTreeSet<CellId> = self.deposited.iter().map(|(cell, _)| *cell).collect();
        assert_eq!(names, expected);
        assert_eq!(came.len(), expected.len(), "a cell came twice");
    }
}

#[test]
fn nothing_is_lost_for_key_rotation() {
    let epoch_length = Duration::from_secs(30);
    let mut run = Run::new(Scenario {
        epoch_length,
        ..Scenario::small(11)
    });
    let inbox = run.engine.open(READER, INBOX_GATEWAY);
    run.engine.run_for(Duration::from_secs(5));
    run.traffic(&inbox, Duration::from_millis(800), 130);
    run.engine.run_for(Duration::from_secs(15));
    run.check();
    for (actor, discards) in run.engine.discards() {
        assert_eq!(discards.total(), 0, "{actor:?} {discards:?}");
    }
}

#[test]
fn links_that_lose_and_reorder_cost_time_and_no_cell() {
    let mean = Duration::from_millis(10);
    let link = LinkModel {
        latency: Latency::Exponential {
            least: Duration::from_millis(1),
            mean,
        },
        loss: 0.05,
        reorder: true,
    };
    let mut run = Run::new(Scenario {
        link,
        ..Scenario::small(12)
    });
    let inbox = run.engine.open(READER, INBOX_GATEWAY);
    run.engine.run_for(Duration::from_secs(15));
    run.traffic(&inbox, Duration::from_millis(900), 60);
    run.engine.run_for(Duration::from_secs(90));
    run.check();
    assert!(run.engine.lost() > 1_000, "the links lost next to nothing");
}

#[test]
fn a_gateway_that_dies_keeps_what_it_acknowledged() {
    let epoch_length = Duration::from_secs(20);
    let mut run = Run::new(Scenario {
        epoch_length,
        ..Scenario::small(13)
    });
    let inbox = run.engine.open(READER, INBOX_GATEWAY);
    run.engine.run_for(Duration::from_secs(5));
    for _ in 0..3 {
        run.traffic(&inbox, Duration::from_millis(300), 10);
        run.engine.kill(INBOX_GATEWAY);
        run.engine.run_for(Duration::from_secs(2));
        run.engine.restart(INBOX_GATEWAY);
        // Its new keys are in no directory before the next but one epoch at worst.
        run.engine.run_for(Duration::from_secs(45));
    }
    run.engine.run_for(Duration::from_secs(30));
    run.check();
    let old_keys = |(_, d): (_, &sphinx::Discards)| d.of(DiscardReason::BadMac);
    assert!(
        run.engine.discards().map(old_keys).sum::<u64>() > 0,
        "the kill was not noticed"
    );
}

#[test]
fn what_is_for_a_dead_gateway_keeps_nothing_else_from_leaving() {
    let mut run = Run::new(Scenario {
        entries: vec![0, 0, 0],
        ..Scenario::small(14)
    });
    let (dead, live) = (
        run.engine.open(2, 1),
        run.engine.open(READER, INBOX_GATEWAY),
    );
    run.engine.run_for(Duration::from_secs(5));
    run.engine.kill(1);
    // More than are on their way at once before the first of them counts as lost.
    for _ in 0..60 {
        run.engine.deposit(WRITER, &dead);
    }
    run.traffic(&live, Duration::from_millis(10), 20);
    run.engine.run_for(Duration::from_secs(60));
    run.check();
}
