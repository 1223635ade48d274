//! Authorities, honest and not, and the network between them.

use crate::common::network_on;
use directory::testing::{authority_secret, nobodys_key, node, node_secret, schedule};
use directory::vote::{
    Ballot, Fault, Phase, Statement, StatementKind, Vote, VoteEvent, VoteMessage, VoteTimes,
};
use directory::{Admitted, LAYERS, Parameters, Role, SignedDescriptor, quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::rng::{KeyRng, Purpose, TickRng, TrafficRng};
use wire::time::UnixTime;

use crate::common::SEED;

const EPOCH: Epoch = Epoch(12);

/// What the network does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// Every message arrives within a round.
    Bounded,
    /// Messages are lost, late by rounds, and for a time two halves cannot hear each other.
    Hostile,
}

/// What a faulty authority does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vice {
    /// Nothing at all.
    Silent,
    /// Is honest until this many tenths of the vote, then nothing.
    Crash(u8),
    /// Signs two ballots and shows each to some; passes on what it likes.
    Equivocate,
    /// Holds its ballot back and lets it go, with every accomplice's signature, at the end of a
    /// round, to one.
    LastMoment(u8),
    /// Votes, and shows its share to some only, late.
    Withhold,
    /// Says things in others' names, about other epochs, and garbage.
    Forge,
}

/// Everything random about one run.
pub(crate) struct Schedule {
    n: usize,
    vices: BTreeMap<usize, Vice>,
    network: Network,
    seed: u64,
}

impl Schedule {
    pub(crate) fn draw(n: usize, seed: u64, network: Network) -> Self {
        let mut rng = draws(seed, 1);
        let f = (n - 1) / 3;
        let mut vices = BTreeMap::new();
        while vices.len() < f {
            let who = below(&mut rng, n);
            let vice = match below(&mut rng, 6) {
                0 => Vice::Silent,
                1 => Vice::Crash(below(&mut rng, 10) as u8),
                2 => Vice::Equivocate,
                3 => Vice::LastMoment(below(&mut rng, 2) as u8 + 1),
                4 => Vice::Withhold,
                _ => Vice::Forge,
            };
            vices.insert(who, vice);
        }
        Self {
            n,
            vices,
            network,
            seed,
        }
    }

    pub(crate) fn calm(n: usize) -> Self {
        Self {
            n,
            vices: BTreeMap::new(),
            network: Network::Bounded,
            seed: 0,
        }
    }

    pub(crate) fn silent(n: usize, from: usize) -> Self {
        let vices = (from..n).map(|i| (i, Vice::Silent)).collect();
        Self {
            vices,
            ..Self::calm(n)
        }
    }

    pub(crate) fn equivocator_of_three(seed: u64) -> Self {
        Self {
            vices: BTreeMap::from([(2, Vice::Equivocate)]),
            seed,
            ..Self::calm(3)
        }
    }
}

enum Letter {
    Message(VoteMessage),
}

/// One run.
pub(crate) struct World {
    n: usize,
    network: directory::Network,
    kind: Network,
    times: VoteTimes,
    honest: BTreeMap<usize, Vote>,
    faulty: BTreeMap<usize, Faulty>,
    rng: TickRng,
    /// How hostile the network is, 0 to 7.
    badness: usize,
    /// By time and a number, so that the order is fixed.
    letters: BTreeMap<(UnixTime, u64), (usize, Letter)>,
    sent: u64,
    decided: BTreeMap<usize, DirectoryHash>,
    /// Honest signers by directory.
    signed: BTreeMap<DirectoryHash, BTreeSet<usize>>,
    equivocation: bool,
    missing: Vec<Vec<u8>>,
}

struct Faulty {
    vice: Vice,
    /// Runs along to have something to be wrong about.
    inner: Vote,
    done: bool,
}

impl World {
    pub(crate) fn new(schedule: &Schedule) -> Self {
        let network = network_on(self::schedule(), schedule.n);
        let times = VoteTimes::of(&network, EPOCH);
        let vote = |index: usize| {
            let secret = authority_secret(SEED, index);
            let mut vote = Vote::new(network.clone(), EPOCH, (index as u8, secret), None, None);
            let mut keys = KeyRng::from_seed([index as u8 + 1; 32]);
            vote.handle_ballot(ballot(&network, index as u64), &mut keys);
            vote
        };
        let is_faulty = |i: &usize| schedule.vices.contains_key(i);
        let honest = (0..schedule.n).filter(|i| !is_faulty(i));
        let faulty = schedule.vices.iter().map(|(i, vice)| {
            let (vice, inner, done) = (*vice, vote(*i), false);
            (*i, Faulty { vice, inner, done })
        });
        Self {
            n: schedule.n,
            honest: honest.map(|i| (i, vote(i))).collect(),
            faulty: faulty.collect(),
            kind: schedule.network,
            times,
            rng: draws(schedule.seed, 2),
            badness: below(&mut draws(schedule.seed, 3), 8),
            letters: BTreeMap::new(),
            sent: 0,
            decided: BTreeMap::new(),
            signed: BTreeMap::new(),
            equivocation: false,
            missing: Vec::new(),
            network,
        }
    }

    /// One honest authority is wrong from now on.
    pub(crate) fn plant(&mut self, fault: Fault) {
        if let Some(vote) = self.honest.values_mut().next() {
            vote.plant(fault);
        }
    }

    pub(crate) fn run(&mut self) {
        let mut now = UnixTime(self.times.start.0 - 1);
        let over = self.times.end.saturating_add(Duration::from_secs(1));
        while now <= over {
            let next_letter = self.letters.keys().next().map(|k| k.0);
            let deadlines = self.honest.values().filter_map(|v| v.poll_timeout());
            let inner = self.faulty.values().filter_map(|f| f.inner.poll_timeout());
            let next_deadline = deadlines.chain(inner).map(|d| d.0).min();
            // Faulty ones act at the edges of rounds, just before their end.
            let act = self.next_edge(now);
            let next = [next_letter, next_deadline, Some(act)]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|n| *n <= over) else {
                break;
            };
            now = next.max(now);
            while let Some(entry) = self.letters.first_entry()
                && entry.key().0 <= now
            {
                let (to, Letter::Message(message)) = entry.remove();
                self.deliver(to, message, now);
            }
            self.tick(now);
            if now >= act {
                self.misbehave(now);
                now = UnixTime(now.0 + 1);
            }
        }
    }

    /// A moment shortly before the end of the round that `now` is in.
    fn next_edge(&self, now: UnixTime) -> UnixTime {
        let round = self.times.round.as_millis() as u64;
        let since = now.0.saturating_sub(self.times.start.0);
        let edge = |k: u64| self.times.start.0 + k * round - round / 50 - 2;
        let k = since / round + 1;
        UnixTime(if now.0 < edge(k) {
            edge(k)
        } else {
            edge(k + 1)
        })
    }

    fn tick(&mut self, now: UnixTime) {
        let who: Vec<usize> = self.honest.keys().copied().collect();
        for i in who {
            if let Some(vote) = self.honest.get_mut(&i) {
                vote.handle_timeout(now);
            }
            self.drain(i, now);
        }
        let who: Vec<usize> = self.faulty.keys().copied().collect();
        for i in who {
            if let Some(faulty) = self.faulty.get_mut(&i) {
                faulty.inner.handle_timeout(now);
            }
            self.drain_faulty(i, now);
        }
    }

    fn deliver(&mut self, to: usize, message: VoteMessage, now: UnixTime) {
        let vote = match (self.honest.get_mut(&to), self.faulty.get_mut(&to)) {
            (Some(vote), _) => vote,
            (None, Some(faulty)) => &mut faulty.inner,
            (None, None) => return,
        };
        match message {
            // Through the bytes, as it would go.
            VoteMessage::Statement(statement) => {
                let again = Statement::decode(&statement.encode()).unwrap();
                assert!(again == statement);
                let _ = vote.handle_statement(again, now);
            }
            VoteMessage::Signature(signed) => {
                vote.handle_signature(signed, now);
            }
        }
        self.drain(to, now);
        self.drain_faulty(to, now);
    }

    /// What an honest authority says and does.
    fn drain(&mut self, i: usize, now: UnixTime) {
        let Some(vote) = self.honest.get_mut(&i) else {
            return;
        };
        let mut out = Vec::new();
        while let Some(event) = vote.poll_event() {
            match event {
                VoteEvent::Persist(signed) => {
                    self.signed.entry(signed.hash()).or_default().insert(i);
                    vote.handle_persisted(now);
                }
                VoteEvent::Decided(signed) => {
                    assert!(signed.verify(&self.network).is_ok());
                    assert!(self.decided.insert(i, signed.hash()).is_none());
                }
                VoteEvent::Equivocated(proof) => {
                    assert!(proof.one.verify(&self.network).is_ok());
                    assert!(proof.other.verify(&self.network).is_ok());
                    assert_eq!(proof.one.author, proof.other.author);
                    assert!(proof.one.payload != proof.other.payload);
                    self.equivocation = true;
                }
                VoteEvent::Missing(missing) => self.missing.push(missing),
                VoteEvent::Withheld(_) | VoteEvent::Blocked(_) => {}
            }
        }
        while let Some(message) = vote.poll_transmit() {
            out.push(message);
        }
        for message in out {
            (0..self.n).for_each(|to| self.post(i, to, message.clone(), now));
        }
    }

    /// What a faulty one passes on of what it honestly would have said.
    fn drain_faulty(&mut self, i: usize, now: UnixTime) {
        let Some(faulty) = self.faulty.get_mut(&i) else {
            return;
        };
        while let Some(event) = faulty.inner.poll_event() {
            if let VoteEvent::Persist(_) = event {
                faulty.inner.handle_persisted(now);
            }
        }
        let mut out = Vec::new();
        while let Some(message) = faulty.inner.poll_transmit() {
            out.push(message);
        }
        let vice = faulty.vice;
        let whole = self.times.end.0 - self.times.start.0;
        let tenths = (now.0.saturating_sub(self.times.start.0)) * 10 / whole.max(1);
        for message in out {
            let own_ballot = matches!(&message, VoteMessage::Statement(s)
                if usize::from(s.author) == i && s.kind == StatementKind::Ballot);
            let own_share = matches!(&message, VoteMessage::Statement(s)
                if usize::from(s.author) == i && s.kind == StatementKind::Reveal);
            for to in 0..self.n {
                let says = match vice {
                    Vice::Silent => false,
                    Vice::Crash(at) => tenths < u64::from(at),
                    Vice::Equivocate => !own_ballot && below(&mut self.rng, 2) == 0,
                    Vice::LastMoment(_) => !own_ballot,
                    Vice::Withhold => !own_share,
                    Vice::Forge => true,
                };
                if says {
                    self.post(i, to, message.clone(), now);
                }
            }
        }
    }

    /// What faulty ones do at the end of a round.
    fn misbehave(&mut self, now: UnixTime) {
        let round =
            (now.0.saturating_sub(self.times.start.0)) / self.times.round.as_millis() as u64;
        let who: Vec<usize> = self.faulty.keys().copied().collect();
        for i in who {
            let Some(faulty) = self.faulty.get_mut(&i) else {
                continue;
            };
            let (vice, done) = (faulty.vice, faulty.done);
            match vice {
                Vice::Equivocate if round == 0 && !done => {
                    let pair =
                        [10, 11].map(|v| self.statement(i, ballot(&self.network, v).encode()));
                    for to in 0..self.n {
                        let which = below(&mut self.rng, 3);
                        if let Some(statement) = pair.get(which) {
                            // Its accomplices sign whatever it says.
                            let statement = self.sign_by_all_faulty(statement.clone());
                            self.post_now(to, VoteMessage::Statement(statement), now);
                        }
                    }
                    self.faulty.get_mut(&i).unwrap().done = true;
                }
                Vice::LastMoment(k) if round + 1 == u64::from(k) && !done => {
                    let statement = self.statement(i, ballot(&self.network, 20).encode());
                    let statement = self.sign_by_all_faulty(statement);
                    let to = below(&mut self.rng, self.n);
                    self.post_now(to, VoteMessage::Statement(statement), now);
                    self.faulty.get_mut(&i).unwrap().done = true;
                }
                Vice::Withhold if round == u64::from(self.times.rounds) && !done => {
                    let share = KeyRng::from_seed([i as u8 + 1; 32]).bytes::<32>();
                    let mut statement = self.statement(i, share.to_vec());
                    statement.kind = StatementKind::Reveal;
                    statement.signatures.clear();
                    self.sign(&mut statement, i);
                    let to = below(&mut self.rng, self.n);
                    self.post_now(to, VoteMessage::Statement(statement), now);
                    self.faulty.get_mut(&i).unwrap().done = true;
                }
                Vice::Forge => {
                    let victim = below(&mut self.rng, self.n);
                    let mut forged = self.statement(i, ballot(&self.network, 30).encode());
                    forged.author = victim as u8;
                    let mut old = self.statement(i, ballot(&self.network, 31).encode());
                    old.epoch = Epoch(EPOCH.0 - 1);
                    let mut garbage = self.statement(i, vec![7; 100]);
                    garbage.signatures[0].1[3] ^= 1;
                    for letter in [forged, old, garbage] {
                        let to = below(&mut self.rng, self.n);
                        self.post_now(to, VoteMessage::Statement(letter), now);
                    }
                }
                Vice::Silent
                | Vice::Crash(_)
                | Vice::Equivocate
                | Vice::LastMoment(_)
                | Vice::Withhold => {}
            }
        }
    }

    fn statement(&self, author: usize, payload: Vec<u8>) -> Statement {
        let mut statement = Statement {
            kind: StatementKind::Ballot,
            epoch: EPOCH,
            author: author as u8,
            payload: Arc::from(payload),
            signatures: Vec::new(),
        };
        self.sign(&mut statement, author);
        statement
    }

    fn sign(&self, statement: &mut Statement, by: usize) {
        let secret = authority_secret(SEED, by);
        statement.sign_for_test(&self.network, by as u8, &secret);
    }

    fn sign_by_all_faulty(&self, mut statement: Statement) -> Statement {
        self.faulty
            .keys()
            .for_each(|i| self.sign(&mut statement, *i));
        statement
    }

    fn post(&mut self, from: usize, to: usize, message: VoteMessage, now: UnixTime) {
        if from == to {
            return;
        }
        let round = self.times.round.as_millis() as u64;
        let delay = match self.kind {
            Network::Bounded => below(&mut self.rng, (round - round / 40) as usize) as u64,
            Network::Hostile => {
                let lost = below(&mut self.rng, 100) < self.badness * 2;
                // Two halves cannot hear each other for a round or two.
                let split = self.times.start.0 + round * (self.badness % 5) as u64;
                let span = split..split + round * (1 + self.badness as u64 % 2);
                let apart = self.badness > 2 && from % 2 != to % 2 && span.contains(&now.0);
                if lost || apart {
                    return;
                }
                let slowest = round / 2 + round * self.badness as u64 / 3;
                below(&mut self.rng, slowest as usize) as u64
            }
        };
        self.post_at(to, message, UnixTime(now.0 + 1 + delay));
    }

    /// The adversary's own messages arrive when it likes.
    fn post_now(&mut self, to: usize, message: VoteMessage, now: UnixTime) {
        self.post_at(to, message, UnixTime(now.0 + 1));
    }

    fn post_at(&mut self, to: usize, message: VoteMessage, at: UnixTime) {
        self.sent += 1;
        self.letters
            .insert((at, self.sent), (to, Letter::Message(message)));
    }

    pub(crate) fn all_honest_decided_alike(&self) -> bool {
        let mut hashes: Vec<_> = self.decided.values().collect();
        hashes.dedup();
        self.decided.len() == self.honest.len() && hashes.len() == 1
    }

    /// How many directories could get a threshold of signatures (less `slack`) if every faulty
    /// authority signed all.
    pub(crate) fn directories_possible(&self, slack: usize) -> usize {
        let threshold = usize::from(quorum(self.n)) - slack;
        let enough = |honest: &&BTreeSet<usize>| honest.len() + self.faulty.len() >= threshold;
        self.signed.values().filter(enough).count()
    }

    pub(crate) fn culprit_signed_both(&self) -> bool {
        // Two directories of a threshold of 2 of 3 with two honest ones that each signed one: both
        // carry the third one's signature.
        let both: BTreeSet<usize> = self.signed.values().flatten().copied().collect();
        both.len() == self.honest.len() && self.faulty.len() == 1
    }

    pub(crate) fn equivocation_seen(&self) -> bool {
        self.equivocation
    }

    pub(crate) fn phases(&self) -> impl Iterator<Item = Phase> {
        self.honest.values().map(Vote::phase)
    }

    pub(crate) fn says_who_is_missing(&self, who: &[u8]) -> bool {
        self.missing.len() == self.honest.len() && self.missing.iter().all(|m| m == who)
    }
}

/// A ballot of a small network; `variant` makes it differ from others without making it invalid.
fn ballot(network: &directory::Network, variant: u64) -> Ballot {
    let start = network.schedule().start(EPOCH);
    let role = |i: usize| if i < LAYERS { Role::Mix } else { Role::Gateway };
    let mut admitted = Vec::new();
    let mut descriptors = Vec::new();
    for i in 0..LAYERS + 1 {
        let descriptor = node(SEED, i, role(i), EPOCH, nobodys_key);
        admitted.push(Admitted {
            identity: descriptor.identity,
            role: role(i),
            family: descriptor.family,
        });
        // Each authority may have heard of another version.
        let published = UnixTime(start.0 - 10_000_000 + (variant % 7 + i as u64) * 1_000);
        let secret = node_secret(SEED, i);
        descriptors
            .push(SignedDescriptor::sign(descriptor, published, &secret, network.id()).unwrap());
    }
    admitted.sort_by_key(|a| NodeId::of(&a.identity));
    descriptors.sort_by_key(|d| d.descriptor.id());
    Ballot {
        epoch: EPOCH,
        previous: DirectoryHash([0; 32]),
        parameters: Parameters::localnet(),
        commitment: [variant as u8; 32],
        admitted,
        descriptors,
    }
}

fn draws(seed: u64, stream: u64) -> TickRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    TrafficRng::from_seed(bytes).tick(Purpose::Simulation, stream)
}

fn below(rng: &mut TickRng, n: usize) -> usize {
    wire::rng::pick(rng.draw_u64(), n).unwrap()
}
