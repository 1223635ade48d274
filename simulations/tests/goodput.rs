//! How much gets through where three round trips in ten are lost: what ticks and loss allow, and
//! the machines shall waste little of it.

use directory::Rate;
use simulations::network::LinkModel;
use simulations::{Engine, Scenario, Transparent};
use std::collections::BTreeSet;
use std::time::Duration;
use wire::ids::{CellId, InboxAddress};

/// Lost of each packet on each of ten links: 30 % of round trips.
const LOSS: f64 = 0.035;
/// Cells that the reader has not, three quarters of a quota: `messaging`'s window.
const WINDOW: usize = 192;

/// Two people who push cells at each other as fast as they may.
struct Push {
    engine: Engine<Transparent>,
    inboxes: [InboxAddress; 2],
    given: [BTreeSet<CellId>; 2],
}

impl Push {
    fn new(loss: f64) -> Self {
        let mut scenario = Scenario::small(21);
        scenario.gateways = 4;
        scenario.entries = vec![0, 1];
        scenario.link = LinkModel {
            loss,
            ..LinkModel::plain()
        };
        let rates = &mut scenario.parameters;
        rates.payload_rate = Rate(100_000);
        rates.loop_rate = Rate(10_000);
        rates.downlink_rate = Rate(200_000);
        rates.mix_loop_rate = Rate(500);
        let mut engine = Engine::new(scenario);
        engine.run_for(Duration::from_secs(3));
        let inboxes = [engine.open(0, 2), engine.open(1, 3)];
        engine.run_for(Duration::from_secs(6));
        Self {
            engine,
            inboxes,
            given: Default::default(),
        }
    }

    /// What a client has done so far: ticks that carried cells, cells stored, fetches, cells that came.
    fn count(&self, client: usize) -> [f64; 4] {
        let client = &self.engine.clients()[client];
        let (ticks, told) = (client.sut.counters(), &client.told);
        [
            ticks.sends as f64,
            told.stored.len() as f64,
            ticks.fetches as f64,
            told.cells.len() as f64,
        ]
    }

    /// For so long both keep the window full.
    fn run(&mut self, time: Duration) {
        let end = self.engine.now() + time;
        while self.engine.now() < end {
            for writer in 0..2 {
                let came = self.engine.clients()[1 - writer].told.cells.len();
                let under_way = self.given[writer].len() - came;
                for _ in under_way..WINDOW {
                    let to = self.inboxes[1 - writer].clone();
                    let (cell, _) = self.engine.deposit(writer, &to);
                    self.given[writer].insert(cell);
                }
            }
            self.engine.run_for(Duration::from_millis(100));
        }
    }
}

/// Of what a tick could do if nothing were lost, how much it did: stored cells for each send, cells that
/// came for each fetch, for both clients.
fn yields(loss: f64) -> Vec<(f64, f64)> {
    let mut push = Push::new(loss);
    push.run(Duration::from_secs(10));
    let before = [push.count(0), push.count(1)];
    push.run(Duration::from_secs(40));
    let of = |client: usize| {
        let after = push.count(client);
        let [sends, stored, fetches, cells] = std::array::from_fn(|i| after[i] - before[client][i]);
        // Ticks: 50 + 50 a second, of the fetches three quarters for contacts, half of it empty.
        assert!((fetches / 40.0 - 18.75).abs() < 3.0, "{fetches}");
        (stored / sends, cells / fetches)
    };
    let yields = vec![of(0), of(1)];
    // Nothing came twice, and all that came was sent.
    for (reader, writer) in [(0, 1), (1, 0)] {
        let came = &push.engine.clients()[reader].told.cells;
        let names: BTreeSet<CellId> = came.iter().map(|(_, _, cell)| *cell).collect();
        assert_eq!(came.len(), names.len(), "a cell came twice");
        assert!(names.is_subset(&push.given[writer]));
    }
    yields
}

#[test]
fn without_loss_every_tick_counts() {
    for (stored, came) in yields(0.0) {
        assert!(stored > 0.95 && came > 0.95, "{stored} {came}");
    }
}

#[test]
fn with_three_round_trips_in_ten_lost_little_more_is() {
    for (stored, came) in yields(LOSS) {
        // At least nine tenths of the seven tenths that loss leaves.
        assert!(stored > 0.63 && came > 0.63, "{stored} {came}");
    }
}
