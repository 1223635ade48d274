//! The shipped `Client`, `Gateway` and `Mix` under virtual time, driven by people, and what is seen of them.

use super::links::{self, Watched};
use crate::engine::{Actor, Engine, Fate, Passing};
use crate::network::Latency;
use crate::observer::{Inside, Observer, RECORD_LEN};
use crate::replay::Conversation;
use crate::scenario::{Faults, Scenario};
use directory::Parameters;
use sphinx::PacketFormat;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::{CellId, InboxAddress, InboxId};
use wire::time::Instant;

/// Until then everybody is connected, and asks to open inboxes.
const CONNECTED: Duration = Duration::from_secs(3);

/// A network and what people do in it.
#[derive(Clone, Debug)]
pub struct Rig {
    /// Everything random follows from it.
    pub seed: u64,
    /// Who writes to whom.
    pub people: Conversation,
    /// Rates and limits.
    pub parameters: Parameters,
    /// Gateways; five at least, so that a pair has three to choose from.
    pub gateways: usize,
    /// Mixes in each of the three layers.
    pub mixes_per_layer: usize,
    /// Length of an epoch.
    pub epoch: Duration,
    /// Faults planted on purpose.
    pub faults: Faults,
    /// Whether anybody writes. If not, no inbox is opened either: clients that only run.
    pub busy: bool,
}

impl Rig {
    /// Five gateways and 3×3 mixes at the rates of a real network.
    pub fn wide(seed: u64, people: Conversation) -> Self {
        Self {
            seed,
            people,
            parameters: Parameters::wide(),
            gateways: 5,
            mixes_per_layer: 3,
            epoch: Duration::from_secs(3_600),
            faults: Faults::default(),
            busy: true,
        }
    }

    /// The same at localnet's rates.
    pub fn local(seed: u64, people: Conversation) -> Self {
        Self {
            parameters: Parameters::localnet(),
            ..Self::wide(seed, people)
        }
    }

    /// The same people, who do nothing.
    pub fn idle(&self) -> Self {
        Self {
            busy: false,
            ..self.clone()
        }
    }

    /// The gateway that a client enters by.
    pub fn entry(&self, client: usize) -> usize {
        client % self.gateways
    }

    /// Where a reader's inbox for a writer lies: at neither's entry.
    pub fn inbox_gateway(&self, writer: usize, reader: usize) -> usize {
        let taken = [self.entry(writer), self.entry(reader)];
        let free: Vec<usize> = (0..self.gateways).filter(|g| !taken.contains(g)).collect();
        free[(writer * 7 + reader * 3) % free.len()]
    }

    /// Time for orders about inboxes to get through: some ticks of the send kind and a round trip.
    fn warm_up(&self) -> Duration {
        let p = &self.parameters;
        CONNECTED + p.payload_rate.mean_gap() * 40 + (p.delay_mean + p.hop_allowance) * 30
    }

    /// The network at its beginning.
    pub fn start<F: PacketFormat>(&self) -> Running<F> {
        let mut scenario = Scenario::small(self.seed);
        scenario.gateways = self.gateways;
        scenario.mixes_per_layer = self.mixes_per_layer;
        scenario.entries = (0..self.people.users).map(|c| self.entry(c)).collect();
        scenario.parameters = self.parameters.clone();
        scenario.parameters.puzzle_difficulty = 1;
        scenario.epoch_length = self.epoch;
        scenario.faults = self.faults;
        // Who holds one packet back holds back no other.
        scenario.link.reorder = true;
        let mut engine = Engine::new(scenario);
        let warm = engine.now() + self.warm_up();
        engine.run_for(CONNECTED);
        let mut inboxes = BTreeMap::new();
        if self.busy {
            for (writer, reader) in self.people.pairs() {
                let at = self.inbox_gateway(writer, reader);
                inboxes.insert((writer, reader), engine.open(reader, at));
            }
        }
        engine.run_until(warm);
        Running {
            rig: self.clone(),
            engine,
            begin: warm,
            inboxes,
            written: BTreeMap::new(),
        }
    }

    /// The whole conversation, and a while for its last messages.
    pub fn run<F: PacketFormat>(&self) -> Running<F> {
        let mut running = self.start();
        running.talk();
        running
    }
}

/// A network that runs.
pub struct Running<F: PacketFormat> {
    rig: Rig,
    /// The network.
    pub engine: Engine<F>,
    /// The conversation's first moment.
    pub begin: Instant,
    /// By (writer, reader).
    pub inboxes: BTreeMap<(usize, usize), InboxAddress>,
    /// By cell: when it was written, and to whom.
    pub written: BTreeMap<CellId, (f64, usize)>,
}

impl<F: PacketFormat> Running<F> {
    /// An adversary on the links, who counts time from the conversation's beginning.
    pub fn tamper(&mut self, mut with: impl FnMut(f64, &Passing, &Observer) -> Fate + 'static) {
        let begin = self.begin;
        self.engine
            .tamper(move |passing, truth| with(seconds(begin, passing.at), passing, truth));
    }

    /// The conversation happens.
    pub fn talk(&mut self) {
        let begin = self.begin;
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        if self.rig.busy {
            for message in self.rig.people.messages.clone() {
                self.engine.run_until(at(message.at));
                if let Some(inbox) = self.inboxes.get(&(message.from, message.to)) {
                    let (cell, _) = self.engine.deposit(message.from, inbox);
                    self.written.insert(cell, (message.at, message.to));
                }
            }
        }
        let settle = self.rig.parameters.delay_mean * 40;
        self.engine.run_until(at(self.rig.people.length) + settle);
    }

    /// Seconds since the conversation's beginning; negative before it.
    pub fn seconds(&self, at: Instant) -> f64 {
        seconds(self.begin, at)
    }

    /// What is seen of every client while the conversation lasts.
    pub fn watched(&self) -> Vec<Watched> {
        let people = &self.rig.people;
        let mut out: Vec<Watched> = (0..people.users)
            .map(|user| Watched {
                wrote: people.written_by(user),
                written_to: people.written_to(user),
                link: self.link(),
                ..Watched::default()
            })
            .collect();
        let mut around = vec![Vec::new(); self.rig.gateways];
        for crossing in self.engine.observer().crossings() {
            let at = self.seconds(crossing.at);
            if !(0.0..people.length).contains(&at) {
                continue;
            }
            match (crossing.from, crossing.to) {
                (Actor::Mix(_), Actor::Gateway(gateway)) => around[gateway].push(at),
                (Actor::Client(client), _) => out[client].up.push(at),
                (_, Actor::Client(client)) => out[client].down.push(at),
                _ => continue,
            }
        }
        for inside in self.engine.observer().insides() {
            if let crate::observer::Sight::Returning(Some(client)) = inside.sight {
                let at = self.seconds(inside.at);
                if (0.0..people.length).contains(&at) {
                    out[client].inside.push(at);
                }
            }
        }
        // Clients enter by gateways in turn.
        links::share(around, &mut out);
        for (client, watched) in out.iter_mut().enumerate() {
            watched.up.sort_by(f64::total_cmp);
            watched.down.sort_by(f64::total_cmp);
            watched.bytes = ((watched.up.len() + watched.down.len()) * RECORD_LEN) as f64;
            for (at, _, cell) in &self.engine.clients()[client].told.cells {
                if let Some((written, _)) = self.written.get(cell) {
                    watched.latencies.push(self.seconds(*at) - written);
                }
            }
            // The own gateway has it a link and less than a tick earlier.
            watched.lags.clone_from(&watched.latencies);
        }
        out
    }

    /// What a frame takes over a link, at least.
    fn link(&self) -> f64 {
        match self.engine.scenario().link.latency {
            Latency::Constant(takes) => takes.as_secs_f64(),
            Latency::Exponential { least, .. } => least.as_secs_f64(),
        }
    }

    /// What gateways saw inside themselves.
    pub fn insides(&self) -> impl Iterator<Item = (f64, &Inside)> {
        let all = self.engine.observer().insides().iter();
        all.map(|inside| (self.seconds(inside.at), inside))
    }

    /// Every inbox with its writer, its reader and its gateway.
    pub fn inbox_list(&self) -> Vec<(InboxId, usize, usize, usize)> {
        let of = |(pair, address): (&(usize, usize), &InboxAddress)| {
            let gateway = self.rig.inbox_gateway(pair.0, pair.1);
            (address.inbox, pair.0, pair.1, gateway)
        };
        self.inboxes.iter().map(of).collect()
    }
}

fn seconds(begin: Instant, at: Instant) -> f64 {
    if at >= begin {
        (at - begin).as_secs_f64()
    } else {
        -(begin - at).as_secs_f64()
    }
}

/// When the first frame on a client's link differs between two runs of equal seeds.
pub fn first_difference(a: &[Watched], b: &[Watched]) -> Option<f64> {
    let mut first: Option<f64> = None;
    for (a, b) in a.iter().zip(b) {
        for (a, b) in [(&a.up, &b.up), (&a.down, &b.down)] {
            let same = a
                .iter()
                .zip(b.iter())
                .take_while(|(x, y)| (*x - *y).abs() <= 1e-9);
            let same = same.count();
            let next = [a.get(same), b.get(same)].into_iter().flatten().copied();
            first = next.chain(first).min_by(f64::total_cmp);
        }
    }
    first
}

/// Frames in which two runs of equal seeds differ on clients' links, and how many were compared.
pub fn difference(a: &[Watched], b: &[Watched]) -> (u64, u64) {
    let (mut differ, mut compared) = (0, 0);
    for (a, b) in a.iter().zip(b) {
        for (a, b) in [(&a.up, &b.up), (&a.down, &b.down)] {
            let both = a.iter().zip(b.iter());
            differ += both.filter(|(x, y)| (*x - *y).abs() > 1e-9).count();
            differ += a.len().abs_diff(b.len());
            compared += a.len().max(b.len());
        }
    }
    (differ as u64, compared as u64)
}
