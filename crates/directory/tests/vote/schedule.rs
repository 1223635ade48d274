//! Everything random about one run, drawn from its seed.

use std::collections::BTreeMap;
use wire::rng::{Purpose, TickRng, TrafficRng};

/// What the network does in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weather {
    /// Every message between honest authorities arrives within a round, clocks' differences included.
    Bounded,
    /// Messages are lost, late by rounds; for a time two halves cannot hear each other; honest
    /// authorities crash and come back. The number, 0 to 7, says how bad it is.
    Hostile(u64),
}

/// What a faulty authority does; any of these together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Vices {
    /// Says nothing at all.
    pub(crate) silent: bool,
    /// Stops at this thousandth of the vote and comes back at that one.
    pub(crate) crash: Option<(u64, u64)>,
    /// Has a clock so many milliseconds off.
    pub(crate) clock: i64,
    /// Signs two or three ballots and shows each to some.
    pub(crate) equivocates: bool,
    /// Holds its ballot back and lets it go, with every accomplice's signature, at the end of this
    /// round, to one.
    pub(crate) last_moment: Option<u64>,
    /// Holds its share back; if true, shows it to one at the end of a round.
    pub(crate) withholds: Option<bool>,
    /// Shows a second share that fits no commitment.
    pub(crate) two_shares: bool,
    /// Passes each thing on to some only.
    pub(crate) selective: bool,
    /// Passes things on at the last moment of some later round.
    pub(crate) holds_back: bool,
    /// Says things in others' names and about other epochs.
    pub(crate) forges: bool,
    /// Sends again what it once got, in this epoch or before.
    pub(crate) replays: bool,
    /// Sends garbage by the hundred, some of it with good signatures of its own.
    pub(crate) floods: bool,
    /// Signs every directory that it sees signed, and shows that to some.
    pub(crate) signs_all: bool,
}

/// Which votes are held on an epoch, and the weather in each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Votes {
    /// One, in the epoch before.
    InTime(Weather),
    /// No valid directory is left: in the epoch itself one after the other, as long as somebody lacks a directory.
    Again(Vec<Weather>),
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) n: usize,
    pub(crate) seed: u64,
    pub(crate) faulty: BTreeMap<usize, Vices>,
    /// One for each epoch in turn.
    pub(crate) votes: Vec<Votes>,
}

impl Schedule {
    /// Up to f faulty authorities, two epochs, of which the second is mostly calm: what the first broke
    /// must heal. In a third of the epochs no valid directory is left.
    pub(crate) fn draw(n: usize, seed: u64) -> Self {
        let mut rng = draws(seed, 1);
        let mut faulty = BTreeMap::new();
        for _ in 0..(n - 1) / 3 {
            // Sometimes the same twice: then there are fewer.
            faulty.insert(below(&mut rng, n as u64) as usize, Vices::draw(&mut rng));
        }
        let mut weather = |hostile: u64| match below(&mut rng, 4) < hostile {
            true => Weather::Hostile(below(&mut rng, 8)),
            false => Weather::Bounded,
        };
        let epochs = [[weather(2), weather(2), weather(1)], [weather(1); 3]];
        let votes = epochs.map(|all| match below(&mut rng, 3) {
            0 => Votes::Again(all.to_vec()),
            _ => Votes::InTime(all[0]),
        });
        Self {
            n,
            seed,
            faulty,
            votes: votes.to_vec(),
        }
    }

    /// Nobody is faulty and nothing is lost.
    pub(crate) fn calm(n: usize) -> Self {
        Self {
            n,
            seed: 0,
            faulty: BTreeMap::new(),
            votes: vec![Votes::InTime(Weather::Bounded); 2],
        }
    }

    /// The same with these vices.
    pub(crate) fn with(mut self, faulty: impl IntoIterator<Item = (usize, Vices)>) -> Self {
        self.faulty.extend(faulty);
        self
    }
}

impl Vices {
    fn draw(rng: &mut TickRng) -> Self {
        let mut one_in = |n| below(rng, n) == 0;
        let (silent, crash, clock) = (one_in(14), one_in(5), one_in(8));
        let (last_moment, withholds, late) = (one_in(5), one_in(4), one_in(2));
        let flags: [bool; 8] = std::array::from_fn(|_| one_in(4));
        let [
            equivocates,
            two_shares,
            selective,
            holds_back,
            forges,
            replays,
            signs_all,
            floods,
        ] = flags;
        let stops = below(rng, 950);
        Self {
            silent,
            crash: crash.then(|| (stops, stops + 1 + below(rng, 1000 - stops))),
            clock: match clock {
                // Up to two hours to either side, or ten minutes.
                true => [-7_200_000, -600_000, -60_000, 60_000, 600_000, 7_200_000]
                    [below(rng, 6) as usize],
                false => 0,
            },
            equivocates,
            last_moment: last_moment.then(|| below(rng, 3)),
            withholds: withholds.then_some(late),
            two_shares,
            selective,
            holds_back,
            forges,
            replays,
            floods,
            signs_all,
        }
    }
}

pub(crate) fn draws(seed: u64, stream: u64) -> TickRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    TrafficRng::from_seed(bytes).tick(Purpose::Simulation, stream)
}

pub(crate) fn below(rng: &mut TickRng, n: u64) -> u64 {
    wire::rng::pick(rng.draw_u64(), n as usize).unwrap() as u64
}
