//! Equal seeds give equal event traces with `Sphinx` and with `Transparent`: no packet format ever
//! decides when anything happens. So what is measured without cryptography holds with it.

use directory::Rate;
use simulations::{Engine, Scenario, Transparent};
use sphinx::{PacketFormat, Sphinx};
use std::time::Duration;

/// Every client has an inbox and deposits into every other's; an epoch changes under way.
fn run<F: PacketFormat>(seed: u64) -> Engine<F> {
    let mut scenario = Scenario::small(seed);
    scenario.entries = vec![0, 1, 2, 0];
    scenario.epoch_length = Duration::from_secs(12);
    scenario.parameters.key_overlap = Duration::from_secs(3);
    scenario.parameters.mix_loop_rate = Rate(1_000);
    scenario.parameters.payload_rate = Rate(5_000);
    scenario.keep_trace = true;
    let mut engine = Engine::<F>::new(scenario);
    engine.run_for(Duration::from_secs(2));
    let clients = engine.clients().len();
    let inboxes: Vec<_> = (0..clients)
        .map(|i| engine.open(i, (engine.clients()[i].entry + 1) % 3))
        .collect();
    engine.run_for(Duration::from_secs(6));
    for from in 0..clients {
        for to in (0..clients).filter(|to| *to != from) {
            engine.deposit(from, &inboxes[to]);
            engine.run_for(Duration::from_millis(37));
        }
    }
    engine.run_for(Duration::from_secs(8));
    engine
}

#[test]
fn both_formats_give_one_trace() {
    let (sphinx, transparent) = (run::<Sphinx>(11), run::<Transparent>(11));
    assert_eq!(
        sphinx.trace().first_difference(transparent.trace()),
        None,
        "the first event that differs, with Sphinx and with Transparent"
    );
    assert_eq!(sphinx.trace().hash(), transparent.trace().hash());
    assert_eq!(sphinx.trace().count(), transparent.trace().count());
    assert!(sphinx.trace().count() > 3_000, "{}", sphinx.trace().count());
    for (a, b) in sphinx.clients().iter().zip(transparent.clients()) {
        assert_eq!(a.told, b.told);
    }
    // It was a run in which something happened: most cells are there, an epoch changed.
    let cells: usize = sphinx.clients().iter().map(|c| c.told.cells.len()).sum();
    assert!(cells >= 6, "{cells}");
    let view = sphinx.mixes()[0].sut.hop();
    let epochs: Vec<_> = view.view.held().map(|d| d.epoch.0).collect();
    assert!(epochs.len() >= 2, "{epochs:?}");
    for ((_, a), (_, b)) in sphinx.discards().zip(transparent.discards()) {
        assert_eq!(a, b);
    }
}
