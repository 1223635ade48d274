//! People who write to each other: the workload of `simulations run`, and what came of it.

use crate::engine::{Actor, Engine};
use crate::scenario::{Scenario, Secret};
use sphinx::PacketFormat;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::{CellId, InboxAddress};
use wire::rng::{Purpose, TrafficRng, pick};
use wire::time::Instant;

/// Until then everybody has a directory and open inboxes.
const WARM_UP: Duration = Duration::from_secs(15);
/// Time for the last messages to arrive.
const SETTLE: Duration = Duration::from_secs(30);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How long messages are written.
    pub duration: Duration,
    /// Each client writes one in this time on average, to one of the others.
    pub mean_gap: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Messages written.
    pub written: usize,
    /// Those whose gateway is known to have them.
    pub stored: usize,
    /// Those that arrived, each counted once.
    pub arrived: usize,
    /// How often a message was handed to its reader again.
    pub doubles: usize,
    /// From writing to arrival, ascending.
    pub latencies: Vec<Duration>,
    /// Frames up and down, for each client.
    pub frames: Vec<(usize, usize)>,
    /// Requests of all machines, and how many of them are answered.
    pub echoes: (usize, usize),
    /// Packets that died in machines.
    pub discarded: u64,
    /// Packets that died on links.
    pub lost: u64,
    /// How long the network ran.
    pub ran: Duration,
    /// The run's fingerprint, and of how many events.
    pub trace: (u64, u64),
}

impl Summary {
    /// The latency that a share of messages did not exceed; `None` where none arrived.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.latencies.get(at).copied()
    }
}

/// Runs a scenario under a workload; tells once in a virtual second which share of it is over.
pub fn run<F: PacketFormat>(scenario: Scenario, workload: Workload, tell: &dyn Fn(f64)) -> Summary {
    let mut engine = Engine::<F>::new(scenario);
    let begin = engine.now();
    let end = begin + WARM_UP + workload.duration + SETTLE;
    let advance = |engine: &mut Engine<F>, to: Instant| {
        while engine.now() < to {
            let next = engine.now() + Duration::from_secs(1);
            engine.run_until(next.min(to));
            let whole = (end - begin).as_secs_f64();
            tell((engine.now() - begin).as_secs_f64() / whole);
        }
    };
    engine.run_for(Duration::from_secs(2));
    let inboxes = open_inboxes(&mut engine);
    advance(&mut engine, begin + WARM_UP);
    let mut written = BTreeMap::new();
    for (at, from, to) in messages(engine.scenario(), workload, begin + WARM_UP) {
        advance(&mut engine, at);
        let entry = engine.gateways()[engine.clients()[from].entry]
            .identity
            .id();
        // No message goes through an inbox at its writer's own entry gateway.
        let inbox = inboxes[to].iter().find(|inbox| inbox.gateway != entry);
        if let Some(inbox) = inbox {
            let (cell, handle) = engine.deposit(from, inbox);
            written.insert(cell, (at, from, handle));
        }
    }
    advance(&mut engine, end);
    summarise(&engine, begin, &written)
}

/// Two for each client, at the two gateways after its entry.
fn open_inboxes<F: PacketFormat>(engine: &mut Engine<F>) -> Vec<Vec<InboxAddress>> {
    let gateways = engine.gateways().len();
    let entries: Vec<usize> = engine.clients().iter().map(|c| c.entry).collect();
    let open = |(client, entry): (usize, usize)| {
        let others = (1..gateways).take(2).map(|n| (entry + n) % gateways);
        others.map(|g| engine.open(client, g)).collect()
    };
    entries.into_iter().enumerate().map(open).collect()
}

/// Who writes to whom and when, by time.
fn messages(
    scenario: &Scenario,
    workload: Workload,
    begin: Instant,
) -> Vec<(Instant, usize, usize)> {
    let clients = scenario.entries.len();
    let mut out = Vec::new();
    for from in 0..clients {
        let rng = TrafficRng::from_seed(scenario.derive(Secret::Workload, from as u64));
        let (mut at, mut tick) = (begin, 0);
        loop {
            let mut draws = rng.tick(Purpose::Simulation, tick);
            tick += 1;
            at += draws.draw_exponential(workload.mean_gap);
            if at > begin + workload.duration {
                break;
            }
            // One of the others: none where there is but one client.
            if let Some(other) = pick(draws.draw_u64(), clients.saturating_sub(1)) {
                out.push((at, from, (from + 1 + other) % clients));
            }
        }
    }
    out.sort_unstable();
    out
}

fn summarise<F: PacketFormat>(
    engine: &Engine<F>,
    begin: Instant,
    written: &BTreeMap<CellId, (Instant, usize, u64)>,
) -> Summary {
    let mut arrived = BTreeMap::new();
    let mut handed_over = 0;
    for (at, _, cell) in engine.clients().iter().flat_map(|c| &c.told.cells) {
        handed_over += 1;
        arrived.entry(*cell).or_insert(*at);
    }
    let latency = |(cell, at): (&CellId, &Instant)| Some(*at - written.get(cell)?.0);
    let mut latencies: Vec<_> = arrived.iter().filter_map(latency).collect();
    latencies.sort_unstable();
    let stored = written.values();
    let stored = stored.filter(|(_, from, h)| engine.clients()[*from].told.stored.contains_key(h));
    let frames = engine.clients().iter().enumerate().map(|(i, client)| {
        let (client, entry) = (Actor::Client(i), Actor::Gateway(client.entry));
        let count = |from, to| engine.observer().link(from, to).len();
        (count(client, entry), count(entry, client))
    });
    Summary {
        written: written.len(),
        stored: stored.count(),
        arrived: arrived.len(),
        doubles: handed_over - arrived.len(),
        latencies,
        frames: frames.collect(),
        echoes: engine.observer().echo_counts(),
        discarded: engine.discards().map(|(_, d)| d.total()).sum(),
        lost: engine.lost(),
        ran: engine.now() - begin,
        trace: (engine.trace().hash(), engine.trace().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transparent;

    #[test]
    fn every_message_of_a_small_workload_arrives_once() {
        let workload = Workload {
            duration: Duration::from_secs(20),
            mean_gap: Duration::from_secs(4),
        };
        let summary = run::<Transparent>(Scenario::small(5), workload, &|_| {});
        assert!(summary.written > 8, "{}", summary.written);
        assert_eq!(summary.arrived, summary.written);
        assert_eq!(summary.stored, summary.written);
        assert_eq!(
            (summary.doubles, summary.discarded, summary.lost),
            (0, 0, 0)
        );
        let (median, worst) = (summary.quantile(0.5), summary.quantile(1.0));
        assert!(median > Some(Duration::from_millis(100)) && median < worst);
        // Twelve frames a second up, within six standard deviations; a dozen and eight down.
        let seconds = summary.ran.as_secs_f64() - 1.5;
        for (up, down) in summary.frames {
            assert!(
                (up as f64 - 12.0 * seconds).abs() < 6.0 * (12.0 * seconds).sqrt(),
                "{up}"
            );
            assert!((down as f64 - 20.0 * seconds).abs() < 40.0, "{down}");
        }
    }
}
