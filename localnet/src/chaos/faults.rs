//! What breaks, and when. Everything is `kill -9` and a new start; what differs is how long it is away.

use super::reader::Reader;
use super::texts::stream;
use crate::args::ChaosArgs;
use crate::live::Network;
use crate::plan::Role;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use wire::rng::KeyRng;

/// Faults come while this part of the messages is on its way.
const FROM: f64 = 0.02;
const TO: f64 = 0.9;
/// Longest time that a process is away, unless a fault says otherwise.
const AWAY_MAX: Duration = Duration::from_secs(2);
/// Draws of the faults; the texts have the small numbers.
const PURPOSE: u32 = u32::MAX;

/// Who breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A node or a client of the network.
    Node(String),
    /// The application that reads at one of the two clients.
    Reader(usize),
}

struct Planned {
    /// At which share of messages that have arrived.
    at: f64,
    fault: Fault,
    away: Duration,
}

/// All faults of a run.
pub(super) struct Faults {
    /// The next one is the last.
    planned: Vec<Planned>,
    /// What is away, and when it comes back.
    away: Vec<(Instant, Fault)>,
}

impl Faults {
    /// Draws who breaks when.
    pub(super) fn draw(chaos: &ChaosArgs, network: &Network) -> Self {
        let mut rng = stream(chaos.seed, PURPOSE);
        let mut planned = Vec::new();
        let mut plan = |rng: &mut KeyRng, fault, away: Option<Duration>| {
            let (at, drawn) = (unit(rng), AWAY_MAX.mul_f64(unit(rng)));
            planned.push(Planned {
                at: FROM + (TO - FROM) * at,
                fault,
                away: away.unwrap_or(drawn),
            });
        };
        let names = |role| network.plan.of(role).map(|n| n.name.clone());
        if chaos.restart_nodes {
            let nodes = names(Role::Authority).chain(names(Role::Mix));
            for name in nodes.chain(names(Role::Gateway)) {
                plan(&mut rng, Fault::Node(name), None);
            }
        }
        for _ in 0..chaos.client_kills {
            for client in ["alice", "bob"] {
                plan(&mut rng, Fault::Node(client.into()), None);
            }
        }
        for _ in 0..chaos.reader_kills {
            (0..2).for_each(|reader| plan(&mut rng, Fault::Reader(reader), None));
        }
        let gateways: Vec<String> = names(Role::Gateway).collect();
        if !chaos.gateway_down.is_zero() {
            let which = (unit(&mut rng) * gateways.len() as f64) as usize;
            let gateway = gateways[which.min(gateways.len() - 1)].clone();
            plan(&mut rng, Fault::Node(gateway), Some(chaos.gateway_down));
        }
        planned.sort_by(|a, b| b.at.total_cmp(&a.at));
        let away = Vec::new();
        Self { planned, away }
    }

    /// Faults that are still to come, or not over.
    pub(super) fn left(&self) -> usize {
        self.planned.len() + self.away.len()
    }

    /// Breaks what is due at `share`, and starts again what was away for long enough.
    pub(super) fn step(
        &mut self,
        share: f64,
        network: &mut Network,
        readers: &mut [Reader],
    ) -> Result<()> {
        let now = Instant::now();
        let (back, still) = self.away.drain(..).partition(|(at, _)| *at <= now);
        self.away = still;
        for (_, fault) in back {
            restart(&fault, network, readers)?;
        }
        while let Some(next) = self.planned.last() {
            // Nobody breaks twice at a time.
            let is_away = self.away.iter().any(|(_, fault)| *fault == next.fault);
            if next.at > share || is_away {
                break;
            }
            let Some(next) = self.planned.pop() else {
                break;
            };
            say!(
                "kill -9 {:?}, away for {:.1} s",
                next.fault,
                next.away.as_secs_f64()
            );
            match &next.fault {
                Fault::Node(name) => process(network, name)?.kill()?,
                Fault::Reader(index) => readers[*index].kill()?,
            }
            self.away.push((now + next.away, next.fault));
        }
        Ok(())
    }

    /// Starts whatever is away, so that the network can end in order.
    pub(super) fn end(&mut self, network: &mut Network) -> Result<()> {
        for (_, fault) in self.away.drain(..) {
            if let Fault::Node(name) = fault {
                process(network, &name)?.restart()?;
            }
        }
        Ok(())
    }
}

fn restart(fault: &Fault, network: &mut Network, readers: &mut [Reader]) -> Result<()> {
    match fault {
        Fault::Node(name) => process(network, name)?.restart(),
        Fault::Reader(index) => readers[*index].restart(),
    }
}

fn process<'a>(network: &'a mut Network, name: &str) -> Result<&'a mut crate::processes::Process> {
    let found = network.processes.by_name(name);
    found.with_context(|| format!("no node {name}"))
}

/// Uniform in [0, 1).
fn unit(rng: &mut KeyRng) -> f64 {
    f64::from(u32::from_be_bytes(rng.bytes())) / (f64::from(u32::MAX) + 1.0)
}
