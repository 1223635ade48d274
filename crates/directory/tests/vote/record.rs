//! What happened in one epoch, and what must never happen.

use crate::ballots::{share, suspects};
use crate::schedule::Weather;
use crate::world::World;
use directory::marks::{self, MARK_EPOCHS};
use directory::vote::{Phase, VoteEvent, VoteTimes};
use directory::{Directory, DirectoryRefused, LAYERS, Network, SignedDirectory};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::time::UnixTime;

/// A vote on the epoch.
pub(crate) struct Held {
    pub(crate) weather: Weather,
    times: VoteTimes,
    /// Whether somebody honest had signed for the epoch before it.
    is_clean: bool,
}

/// One epoch. What is kept by authority is kept by vote and authority, where each vote has its own.
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) votes: Vec<Held>,
    /// Honest ones that had the epoch's directory before the last vote on it.
    pub(crate) has: BTreeSet<usize>,
    /// In which vote each honest one signed.
    signed_in: BTreeMap<usize, u32>,
    /// Honest signers by directory, whoever saw their signature.
    signed: BTreeMap<DirectoryHash, BTreeSet<usize>>,
    pub(crate) documents: BTreeMap<DirectoryHash, SignedDirectory>,
    /// Who decided on what, honest or not, and when.
    decided: Vec<(usize, bool, DirectoryHash, UnixTime)>,
    valid: BTreeMap<DirectoryHash, Arc<Directory>>,
    invalid: Vec<DirectoryRefused>,
    missing: BTreeMap<(u32, usize), Vec<u8>>,
    withheld: BTreeMap<(u32, usize), Vec<u8>>,
    /// Those who signed what they had not counted themselves.
    could_not_count: BTreeSet<(u32, usize)>,
    pub(crate) equivocations: usize,
    pub(crate) signed_twice: usize,
    /// Who was proved to have signed two.
    culprits: BTreeSet<u8>,
    pub(crate) restarts: usize,
    pub(crate) sent: Vec<usize>,
    pub(crate) phases: Vec<Option<Phase>>,
}

impl Record {
    pub(crate) fn new(epoch: Epoch, n: usize) -> Self {
        Self {
            epoch,
            votes: Vec::new(),
            has: BTreeSet::new(),
            signed_in: BTreeMap::new(),
            signed: BTreeMap::new(),
            documents: BTreeMap::new(),
            decided: Vec::new(),
            valid: BTreeMap::new(),
            invalid: Vec::new(),
            missing: BTreeMap::new(),
            withheld: BTreeMap::new(),
            could_not_count: BTreeSet::new(),
            equivocations: 0,
            signed_twice: 0,
            culprits: BTreeSet::new(),
            restarts: 0,
            sent: vec![0; n],
            phases: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self, weather: Weather, times: VoteTimes) {
        self.votes.push(Held {
            weather,
            times,
            is_clean: self.signed.is_empty(),
        });
    }

    /// The vote that goes on.
    fn attempt(&self) -> u32 {
        self.votes.last().map_or(0, |held| held.times.attempt)
    }

    pub(crate) fn handle_signed(&mut self, i: usize, signed: &SignedDirectory) {
        self.signed_in.insert(i, self.attempt());
        self.signed.entry(signed.hash()).or_default().insert(i);
        self.documents.insert(signed.hash(), signed.clone());
    }

    pub(crate) fn handle_decided(
        &mut self,
        i: usize,
        honest: bool,
        signed: &SignedDirectory,
        held: &Result<Arc<Directory>, DirectoryRefused>,
        now: UnixTime,
    ) {
        match held {
            Ok(directory) => {
                self.valid.insert(signed.hash(), directory.clone());
                self.decided.push((i, honest, signed.hash(), now));
            }
            Err(why) => self.invalid.push(*why),
        }
    }

    pub(crate) fn handle_event(&mut self, i: usize, event: &VoteEvent, network: &Network) {
        match event {
            VoteEvent::Equivocated(proof) => {
                assert!(proof.one.verify(network).is_ok());
                assert!(proof.other.verify(network).is_ok());
                assert_eq!(proof.one.author, proof.other.author);
                assert!(proof.one.payload != proof.other.payload);
                self.equivocations += 1;
            }
            VoteEvent::SignedTwice(proof) => {
                let split = proof.verify(network).unwrap();
                assert_eq!(split.epoch, self.epoch);
                self.culprits.extend(split.culprits);
                self.signed_twice += 1;
            }
            VoteEvent::Missing(who) => {
                self.missing.insert((self.attempt(), i), who.clone());
            }
            VoteEvent::Withheld(who) => {
                self.withheld.insert((self.attempt(), i), who.clone());
            }
            VoteEvent::Late | VoteEvent::Blocked(_) => {
                self.could_not_count.insert((self.attempt(), i));
            }
            VoteEvent::Persist(_) | VoteEvent::Decided(_) => {}
        }
    }

    /// How many directories could have so many signatures, if every faulty authority signed all.
    pub(crate) fn possible(&self, faulty: usize, signatures: usize) -> usize {
        let enough = |honest: &&BTreeSet<usize>| honest.len() + faulty >= signatures;
        self.signed.values().filter(enough).count()
    }

    /// Honest ones that decided.
    pub(crate) fn honest_decided(&self) -> usize {
        let honest = self.decided.iter().filter(|d| d.1).map(|d| d.0);
        honest.collect::<BTreeSet<usize>>().len()
    }

    /// Faulty ones that decided, which only those do that are not too bad.
    pub(crate) fn faulty_decided(&self) -> usize {
        let faulty = self.decided.iter().filter(|d| !d.1).map(|d| d.0);
        faulty.collect::<BTreeSet<usize>>().len()
    }

    pub(crate) fn adopted(&self) -> usize {
        let signed = |(attempt, i): &&(u32, usize)| self.signed_in.get(i) == Some(attempt);
        self.could_not_count.iter().filter(signed).count()
    }

    /// Whether votes were held because there was no directory.
    pub(crate) fn is_again(&self) -> bool {
        self.attempt() > 0
    }

    /// Whether the epoch had its directory by a vote that was held again after another.
    pub(crate) fn decided_again(&self) -> bool {
        let first = self.votes.first().map(|held| held.times.end);
        self.is_again() && self.decided.iter().any(|d| d.1 && Some(d.3) > first)
    }

    /// Mixes that are marked in what was decided.
    pub(crate) fn marked(&self) -> usize {
        self.valid.values().map(|d| d.marks().len()).sum()
    }

    pub(crate) fn withheld_by(&self) -> usize {
        self.withheld.values().filter(|w| !w.is_empty()).count()
    }

    pub(crate) fn says_who_is_missing(&self, who: &[u8]) -> bool {
        let honest = self.sent.len() - who.len();
        self.missing.len() == honest && self.missing.values().all(|m| m == who)
    }

    /// What went wrong, if anything; `before` is the epoch before.
    pub(crate) fn violation(&self, world: &World, before: Option<&Self>) -> Option<&'static str> {
        let faulty = world.plan.faulty.len();
        let threshold = usize::from(world.network.threshold());
        if self.possible(faulty, threshold) > 1 {
            return Some("two directories can be valid");
        }
        if self.culprits.iter().any(|c| world.honest(usize::from(*c))) {
            return Some("an honest one signed two");
        }
        if !self.invalid.is_empty() {
            return Some("decided on what is not valid");
        }
        if self.valid.len() > 1 {
            return Some("decided on two directories");
        }
        // A flood is answered by nothing: two statements of each author and kind at most, the
        // directory, and our signature once in a round until the end.
        let rounds = |t: &VoteTimes| (t.end.0 - t.start.0) / t.round.as_millis() as u64;
        let most = |held: &Held| 4 * world.plan.n + 2 + rounds(&held.times) as usize;
        let most: usize = self.votes.iter().map(most).sum();
        if self
            .sent
            .iter()
            .any(|sent| *sent > most * (1 + self.restarts))
        {
            return Some("sent more than a vote takes");
        }
        let decided = self.valid.values().next();
        if let Some(directory) = decided {
            if !self.random_is_right(directory, before) {
                return Some("the shared random is not that of the shares");
            }
            if !self.marks_are_right(world, directory, before) {
                return Some("the marks are not those of the ballots");
            }
        }
        // In the first vote in which all is well and nobody is bound by what it signed in another before.
        let well = |held: &&Held| held.weather == Weather::Bounded && held.is_clean;
        let held = self.votes.iter().find(well)?;
        self.violation_when_bounded(world, held, before)
    }

    fn violation_when_bounded(
        &self,
        world: &World,
        held: &Held,
        before: Option<&Self>,
    ) -> Option<&'static str> {
        let (times, attempt) = (held.times, held.times.attempt);
        let in_time = |at: UnixTime| match attempt {
            0 => at.0 + 1000 <= times.end.0,
            _ => at <= times.end,
        };
        let honest: Vec<usize> = (0..world.plan.n).filter(|i| world.honest(*i)).collect();
        for i in &honest {
            let decided = self.decided.iter().find(|d| d.0 == *i);
            if decided.is_none_or(|d| !in_time(d.3)) {
                return Some("no directory in time");
            }
            let is_honest = |who: &u8| honest.contains(&usize::from(*who));
            let blamed = [&self.missing, &self.withheld];
            let said = blamed.map(|m| m.get(&(attempt, *i)));
            if said.iter().flatten().any(|who| who.iter().any(is_honest)) {
                return Some("an honest word did not count");
            }
        }
        let directory = self.valid.values().next()?;
        let known = before.map(|b| b.valid.keys().next().filter(|_| b.honest_decided() > 0));
        let follows = known.flatten().copied().unwrap_or(DirectoryHash([0; 32]));
        (directory.previous != follows).then_some("does not follow the directory before")
    }

    /// The shared random, computed once more from what the schedule says that each share was.
    fn random_is_right(&self, directory: &Directory, before: Option<&Self>) -> bool {
        let Some((attempt, missing)) = self.counted(directory) else {
            return true;
        };
        let before = before.and_then(|b| b.valid.get(&directory.previous));
        let penalised = before.map_or(0, |b| b.withheld);
        let mut hash = Sha256::new();
        hash.update(b"mizzle-shared-random-v1");
        hash.update(directory.network.0);
        hash.update(directory.epoch.0.to_be_bytes());
        hash.update(before.map_or([0; 32], |b| b.shared_random));
        for author in 0..self.sent.len() {
            let out = directory.withheld | penalised;
            if out >> author & 1 == 0 && !missing.contains(&(author as u8)) {
                hash.update([author as u8]);
                hash.update(share(author, (directory.epoch, attempt)));
            }
        }
        directory.shared_random == <[u8; 32]>::from(hash.finalize())
    }

    /// The vote in which somebody honest counted and came to this, and whose ballots were missing there. None where only
    /// those signed who had not counted; whom they believed is not known here.
    fn counted(&self, directory: &Directory) -> Option<(u32, Vec<u8>)> {
        let signers = self.signed.get(&directory.hash())?;
        let places = signers
            .iter()
            .filter_map(|i| Some((*self.signed_in.get(i)?, *i)));
        let mut counted = places.filter(|place| !self.could_not_count.contains(place));
        let witness = counted.next()?;
        let missing = self.missing.get(&witness).cloned();
        Some((witness.0, missing.unwrap_or_default()))
    }

    /// Marks by the rule, from what the schedule says that honest ballots held; faulty ones may have held anything.
    fn marks_are_right(&self, world: &World, directory: &Directory, before: Option<&Self>) -> bool {
        let Some((_, missing)) = self.counted(directory) else {
            return true;
        };
        let before = before.and_then(|b| b.valid.get(&directory.previous));
        let had = |id: &NodeId| before.and_then(|b| b.marks().get(id)).copied().unwrap_or(0);
        let voted: Vec<usize> = (0..self.sent.len())
            .filter(|i| !missing.contains(&(*i as u8)))
            .collect();
        let honest: Vec<usize> = voted.iter().copied().filter(|i| world.honest(*i)).collect();
        (0..LAYERS).all(|layer| {
            let ids = directory.layer_ids(layer);
            let mark = |id: &NodeId| directory.marks().get(id).copied().unwrap_or(0);
            let marked: Vec<u8> = ids.iter().map(mark).filter(|left| *left > 0).collect();
            let most = marks::most(ids.len());
            let full = marked.len() == most && marked.iter().all(|left| *left == MARK_EPOCHS);
            marked.len() <= most
                && ids.iter().all(|id| {
                    let say = |i: &&usize| suspects(**i, directory.epoch).contains(id);
                    let least = honest.iter().filter(say).count();
                    let most_say = least + voted.len() - honest.len();
                    let must = 2 * least > voted.len();
                    match mark(id) {
                        MARK_EPOCHS => 2 * most_say > voted.len(),
                        0 if must => full,
                        0 => had(id) <= 1 || marked.len() == most,
                        left => !must && had(id) == left + 1,
                    }
                })
        })
    }
}
