//! A message goes through the whole network, with either packet format.

use simulations::{Engine, Scenario, Transparent};
use sphinx::{PacketFormat, Sphinx};
use std::time::Duration;

fn message_arrives<F: PacketFormat>() {
    let mut engine = Engine::<F>::new(Scenario::small(1));
    engine.run_for(Duration::from_secs(2));
    let inbox = engine.open(1, 2);
    engine.run_for(Duration::from_secs(5));
    assert!(engine.clients()[1].told.opened.contains(&inbox.inbox));
    let (cell, handle) = engine.deposit(0, &inbox);
    engine.run_for(Duration::from_secs(10));
    assert!(engine.clients()[0].told.stored.contains_key(&handle));
    let cells = &engine.clients()[1].told.cells;
    assert_eq!(cells.len(), 1);
    assert_eq!((cells[0].1, cells[0].2), (inbox.inbox, cell));
    for (actor, discards) in engine.discards() {
        assert_eq!(discards.total(), 0, "{actor:?} {discards:?}");
    }
}

#[test]
fn with_transparent() {
    message_arrives::<Transparent>();
}

#[test]
fn with_sphinx() {
    message_arrives::<Sphinx>();
}
