//! Authorities, honest and not, and the network between them, over the votes of several epochs.

use crate::adversary::Adversary;
use crate::ballots::{ballot, keys, suspects};
use crate::common::{SEED, network_on};
use crate::record::Record;
use crate::schedule::{Schedule, Votes, Weather, below, draws};
use directory::testing::{authority_secret, schedule};
use directory::vote::{Fault, Phase, Statement, Vote, VoteEvent, VoteMessage, VoteTimes};
use directory::{Directory, SignedDirectory};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::ids::{DirectoryHash, Epoch};
use wire::rng::TickRng;
use wire::time::UnixTime;

pub(crate) const FIRST: Epoch = Epoch(12);

/// What is wrong with the honest ones, for a test of the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// One of them has this fault.
    One(Fault),
    /// All of them have it.
    All(Fault),
    /// After a restart all of them have forgotten what they signed.
    Forgetful,
}

/// One authority.
pub(crate) struct Seat {
    pub(crate) vote: Option<Vote>,
    /// Its clock less the true time, in ms.
    clock: i64,
    /// On its disk: what it signed for this epoch.
    disk: Option<SignedDirectory>,
    /// Stops then and comes back then.
    crash: Option<(UnixTime, UnixTime)>,
    /// What it goes by.
    held: Option<Arc<Directory>>,
}

/// One run.
pub(crate) struct World {
    pub(crate) plan: Schedule,
    pub(crate) network: directory::Network,
    pub(crate) epoch: Epoch,
    pub(crate) times: VoteTimes,
    pub(crate) rng: TickRng,
    weather: Weather,
    seats: Vec<Seat>,
    adversary: Adversary,
    plant: Option<Plant>,
    /// By time and a number, so that the order is fixed.
    letters: BTreeMap<(UnixTime, u64), (usize, VoteMessage)>,
    posted: u64,
    /// What happened, by epoch.
    pub(crate) records: Vec<Record>,
}

impl World {
    pub(crate) fn new(plan: &Schedule, plant: Option<Plant>) -> Self {
        let network = network_on(schedule(), plan.n);
        let times = VoteTimes::of(&network, FIRST);
        // As long as in a vote in its time: clocks differ by the same part of it.
        let network = network.with_recovery_round(times.round).unwrap();
        assert!(plan.n == 1 || network.recovery_round() == times.round);
        let mut rng = draws(plan.seed, 2);
        let round = times.round.as_millis() as u64;
        let seat = |i: usize| {
            let spread = below(&mut rng, round / 8) as i64 - (round / 16) as i64;
            Seat {
                vote: None,
                clock: plan.faulty.get(&i).map_or(spread, |v| v.clock),
                disk: None,
                crash: None,
                held: None,
            }
        };
        let seats = (0..plan.n).map(seat).collect();
        Self {
            plan: plan.clone(),
            epoch: FIRST,
            weather: Weather::Bounded,
            adversary: Adversary::default(),
            letters: BTreeMap::new(),
            posted: 0,
            records: Vec::new(),
            network,
            times,
            rng,
            seats,
            plant,
        }
    }

    pub(crate) fn run(&mut self) {
        for (i, votes) in self.plan.votes.clone().into_iter().enumerate() {
            self.epoch = Epoch(FIRST.0 + i as u64);
            self.letters.clear();
            self.seats.iter_mut().for_each(|s| s.disk = None);
            match votes {
                Votes::InTime(weather) => {
                    self.times = VoteTimes::of(&self.network, self.epoch);
                    self.weather = weather;
                    self.run_vote();
                }
                Votes::Again(weathers) => self.run_again(&weathers),
            }
        }
    }

    /// No valid directory is left: votes on this epoch follow each other as long as somebody honest lacks its
    /// directory. What was signed, and letters on their way, outlive each vote.
    fn run_again(&mut self, weathers: &[Weather]) {
        let mut now = self.network.schedule().start(self.epoch);
        for weather in weathers {
            self.times = VoteTimes::again(&self.network, now);
            self.weather = *weather;
            self.run_vote();
            let lacks = |i: usize| self.honest(i) && !self.has_it(i);
            if !(0..self.plan.n).any(lacks) {
                break;
            }
            let period = self.times.round * (2 * self.times.rounds + 2);
            now = self.times.start.saturating_add(period);
        }
    }

    /// Whether it goes by a directory of this epoch.
    fn has_it(&self, i: usize) -> bool {
        let held = self.seats[i].held.as_ref();
        held.is_some_and(|d| d.epoch == self.epoch)
    }

    /// What is voted on: the epoch, and which vote on it.
    pub(crate) fn vote(&self) -> (Epoch, u32) {
        (self.epoch, self.times.attempt)
    }

    pub(crate) fn honest(&self, i: usize) -> bool {
        !self.plan.faulty.contains_key(&i)
    }

    pub(crate) fn record(&mut self) -> &mut Record {
        let epoch = self.epoch;
        if self.records.last().is_none_or(|r| r.epoch != epoch) {
            let record = Record::new(epoch, self.plan.n);
            self.records.push(record);
        }
        self.records.last_mut().unwrap()
    }

    fn run_vote(&mut self) {
        let round = self.times.round.as_millis() as u64;
        self.fetch();
        let (weather, times) = (self.weather, self.times);
        self.record().begin(weather, times);
        let again = times.attempt > 1;
        let mut now = match again {
            false => UnixTime(times.start.0 - 2 * round),
            // When the vote before is over.
            true => UnixTime(times.start.0 - round / 2),
        };
        for i in 0..self.plan.n {
            self.seats[i].crash = None;
            self.seats[i].vote = None;
            if times.attempt > 0 && self.has_it(i) {
                // It has no part in further votes on this epoch.
                if self.honest(i) {
                    self.record().has.insert(i);
                }
            } else {
                self.seats[i].crash = self.draw_crash(i);
                self.start(i, now);
            }
        }
        let mut acts = self.adversary_acts();
        acts.reverse();
        let over = match times.attempt {
            0 => UnixTime(times.end.0 + 2 * round),
            _ => times.end,
        };
        loop {
            let letter = self.letters.keys().next().map(|k| k.0);
            let crash = |s: &Seat| {
                s.crash
                    .map(|(down, up)| if s.vote.is_some() { down } else { up })
            };
            let wakes = (0..self.plan.n).filter_map(|i| {
                let timeout = self.seats[i].vote.as_ref()?.poll_timeout()?;
                Some(self.true_time(i, timeout.0))
            });
            let crashes = self.seats.iter().filter_map(crash);
            let next = wakes
                .chain(crashes)
                .chain(letter)
                .chain(acts.last().copied());
            let Some(next) = next.min().filter(|next| *next <= over) else {
                break;
            };
            now = next.max(now);
            self.crash_and_restart(now);
            while let Some(entry) = self.letters.first_entry()
                && entry.key().0 <= now
            {
                let (to, message) = entry.remove();
                self.deliver(to, &message, now);
            }
            for i in 0..self.plan.n {
                let local = self.local(i, now);
                if let Some(vote) = &mut self.seats[i].vote {
                    vote.handle_timeout(local);
                }
                self.drain(i, now);
            }
            if acts.last().is_some_and(|at| *at <= now) {
                acts.pop();
                self.act(now);
            }
        }
        let phases = self.seats.iter().map(|s| s.vote.as_ref().map(Vote::phase));
        let phases: Vec<Option<Phase>> = phases.collect();
        self.record().phases = phases;
    }

    /// Between votes whoever has no directory of the last epoch asks the others, and gets it if the
    /// network is not too bad.
    fn fetch(&mut self) {
        let newest = self.seats.iter().enumerate();
        let newest = newest.filter(|(i, _)| !self.plan.faulty.contains_key(i));
        let newest = newest
            .filter_map(|(_, s)| s.held.clone())
            .max_by_key(|d| d.epoch);
        for i in 0..self.plan.n {
            let reached = match self.weather {
                Weather::Bounded => true,
                Weather::Hostile(bad) => below(&mut self.rng, 8) >= bad,
            };
            if reached {
                self.seats[i].held.clone_from(&newest);
            }
        }
    }

    fn draw_crash(&mut self, i: usize) -> Option<(UnixTime, UnixTime)> {
        // Half of it is the vote, in the rest signatures still count.
        let rounds = 2 * (2 * self.times.rounds + 1);
        let whole = (self.times.round * rounds).as_millis() as u64;
        let at = |thousandth: u64| UnixTime(self.times.start.0 + whole * thousandth / 1000);
        match (self.plan.faulty.get(&i), self.weather) {
            (Some(vices), _) => vices.crash.map(|(down, up)| (at(down), at(up))),
            (None, Weather::Hostile(bad)) if below(&mut self.rng, 16) < bad => {
                // Mostly while something is going on.
                let down = below(&mut self.rng, 700);
                let up = down + 1 + below(&mut self.rng, 150);
                Some((at(down), at(up)))
            }
            (None, _) => None,
        }
    }

    fn start(&mut self, i: usize, now: UnixTime) {
        let local = self.local(i, now);
        let seat = &self.seats[i];
        let disk = match self.plant {
            Some(Plant::Forgetful) => None,
            _ => seat.disk.clone(),
        };
        let previous = seat.held.clone();
        let mut ballot = ballot(&self.network, self.vote(), i as u64);
        ballot.suspects = suspects(i, self.epoch);
        let none = DirectoryHash([0; 32]);
        ballot.previous = previous.as_ref().map_or(none, |p| p.hash());
        let own = (i as u8, authority_secret(SEED, i));
        let when = (self.epoch, self.times);
        let mut vote = Vote::at(self.network.clone(), when, own, previous, disk);
        vote.handle_ballot(ballot, &mut keys(i, self.vote()), local);
        match self.plant {
            Some(Plant::One(fault)) if self.honest(i) => {
                if (0..i).all(|before| !self.honest(before)) {
                    vote.plant(fault);
                }
            }
            Some(Plant::All(fault)) if self.honest(i) => vote.plant(fault),
            Some(Plant::One(_) | Plant::All(_) | Plant::Forgetful) | None => {}
        }
        self.seats[i].vote = Some(vote);
    }

    fn crash_and_restart(&mut self, now: UnixTime) {
        for i in 0..self.plan.n {
            let Some((down, up)) = self.seats[i].crash else {
                continue;
            };
            if now >= up {
                self.seats[i].crash = None;
                self.seats[i].vote = None;
                self.start(i, now);
                self.record().restarts += 1;
            } else if now >= down {
                self.seats[i].vote = None;
            }
        }
    }

    fn deliver(&mut self, to: usize, message: &VoteMessage, now: UnixTime) {
        let local = self.local(to, now);
        let Some(vote) = &mut self.seats[to].vote else {
            return;
        };
        // Through the bytes, as it would go.
        match message {
            VoteMessage::Statement(statement) => {
                if let Ok(again) = Statement::decode(&statement.encode()) {
                    assert!(again == *statement);
                    let _ = vote.handle_statement(again, local);
                }
            }
            VoteMessage::Signature(signed) => {
                if let Ok(again) = SignedDirectory::decode(&signed.encode()) {
                    vote.handle_signature(again, local);
                }
            }
        }
        self.drain(to, now);
    }

    /// What an authority says and does.
    fn drain(&mut self, i: usize, now: UnixTime) {
        let local = self.local(i, now);
        let honest = self.honest(i);
        while let Some(event) = self.seats[i].vote.as_mut().and_then(Vote::poll_event) {
            match event {
                VoteEvent::Persist(signed) => {
                    // Now and then the power goes just then.
                    let dies = honest
                        && matches!(self.weather, Weather::Hostile(_))
                        && below(&mut self.rng, 40) == 0;
                    let durable = !dies || below(&mut self.rng, 2) == 0;
                    if durable {
                        self.seats[i].disk = Some(signed.clone());
                        if honest {
                            self.record().handle_signed(i, &signed);
                        }
                    }
                    if dies {
                        self.seats[i].vote = None;
                        self.seats[i].crash = Some((now, UnixTime(now.0 + 1)));
                        return;
                    }
                    if let Some(vote) = &mut self.seats[i].vote {
                        vote.handle_persisted(local);
                    }
                }
                VoteEvent::Decided(signed) => {
                    let held = signed.verify(&self.network);
                    self.record().handle_decided(i, honest, &signed, &held, now);
                    if let Ok(directory) = held {
                        self.seats[i].held = Some(directory);
                    }
                }
                event @ (VoteEvent::Equivocated(_)
                | VoteEvent::SignedTwice(_)
                | VoteEvent::Missing(_)
                | VoteEvent::Withheld(_)
                | VoteEvent::Blocked(_)
                | VoteEvent::Late) => {
                    if honest {
                        let network = self.network.clone();
                        self.record().handle_event(i, &event, &network);
                    }
                }
            }
        }
        while let Some(message) = self.seats[i].vote.as_mut().and_then(Vote::poll_transmit) {
            if honest {
                self.record().sent[i] += 1;
                self.adversary.see(&message);
                (0..self.plan.n).for_each(|to| self.post(i, to, message.clone(), now));
            } else {
                let vices = self.plan.faulty[&i];
                for (to, at) in Adversary::passes_on(self, i, vices, &message, now) {
                    match at {
                        Some(at) => self.post_at(to, message.clone(), at),
                        None => self.post(i, to, message.clone(), now),
                    }
                }
            }
        }
    }

    fn adversary_acts(&mut self) -> Vec<UnixTime> {
        let round = self.times.round.as_millis() as u64;
        let rounds = u64::from(self.times.rounds) * 2 + 3;
        let mut acts = Vec::new();
        for k in 0..rounds {
            let begin = self.times.start.0 + k * round;
            acts.push(UnixTime(begin + below(&mut self.rng, round)));
            // So that it arrives just before the round is over for the fastest clock.
            acts.push(UnixTime(begin + round - round / 16 - 2));
        }
        acts.sort_unstable();
        acts
    }

    fn act(&mut self, now: UnixTime) {
        let mut adversary = std::mem::take(&mut self.adversary);
        for (i, vices) in self.plan.faulty.clone() {
            if self.seats[i].vote.is_some() {
                for (to, message) in adversary.act(self, i, vices, now) {
                    self.post_at(to, message, UnixTime(now.0 + 1));
                }
            }
        }
        self.adversary = adversary;
    }

    fn post(&mut self, from: usize, to: usize, message: VoteMessage, now: UnixTime) {
        if from == to {
            return;
        }
        let round = self.times.round.as_millis() as u64;
        let delay = match self.weather {
            // Two clocks differ by an eighth of a round at most.
            Weather::Bounded => below(&mut self.rng, round - round / 8 - 4),
            Weather::Hostile(bad) => {
                let lost = below(&mut self.rng, 100) < bad * 2;
                let split = self.times.start.0 + round * (bad % 5);
                let span = split..split + round * (1 + bad % 3);
                let apart = bad > 2 && from % 2 != to % 2 && span.contains(&now.0);
                if lost || apart {
                    return;
                }
                below(&mut self.rng, round / 2 + round * bad / 3)
            }
        };
        self.post_at(to, message, UnixTime(now.0 + 1 + delay));
    }

    fn post_at(&mut self, to: usize, message: VoteMessage, at: UnixTime) {
        self.posted += 1;
        self.letters.insert((at, self.posted), (to, message));
    }

    /// How many whole rounds are over, from the start of the vote.
    pub(crate) fn round_of(&self, now: UnixTime) -> u64 {
        let since = now.saturating_since(self.times.start);
        (since.as_millis() / self.times.round.as_millis().max(1)) as u64
    }

    fn local(&self, i: usize, now: UnixTime) -> UnixTime {
        UnixTime(now.0.saturating_add_signed(self.seats[i].clock))
    }

    fn true_time(&self, i: usize, local: UnixTime) -> UnixTime {
        UnixTime(local.0.saturating_add_signed(-self.seats[i].clock))
    }
}
