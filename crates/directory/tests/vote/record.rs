//! What happened in one epoch, and what must never happen.

use crate::ballots::share;
use crate::schedule::Weather;
use crate::world::World;
use directory::vote::{Phase, VoteEvent};
use directory::{Directory, DirectoryRefused, Network, SignedDirectory};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::ids::{DirectoryHash, Epoch};
use wire::time::UnixTime;

/// One epoch.
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) weather: Weather,
    /// Honest signers by directory, whoever saw their signature.
    signed: BTreeMap<DirectoryHash, BTreeSet<usize>>,
    pub(crate) documents: BTreeMap<DirectoryHash, SignedDirectory>,
    /// Who decided on what, honest or not, and when.
    decided: Vec<(usize, bool, DirectoryHash, UnixTime)>,
    valid: BTreeMap<DirectoryHash, Arc<Directory>>,
    invalid: Vec<DirectoryRefused>,
    missing: BTreeMap<usize, Vec<u8>>,
    withheld: BTreeMap<usize, Vec<u8>>,
    /// Those who signed what they had not counted themselves.
    could_not_count: BTreeSet<usize>,
    pub(crate) equivocations: usize,
    pub(crate) signed_twice: usize,
    /// Who was proved to have signed two.
    culprits: BTreeSet<u8>,
    pub(crate) restarts: usize,
    pub(crate) sent: Vec<usize>,
    pub(crate) phases: Vec<Option<Phase>>,
}

impl Record {
    pub(crate) fn new(epoch: Epoch, weather: Weather, n: usize) -> Self {
        Self {
            epoch,
            weather,
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

    pub(crate) fn handle_signed(&mut self, i: usize, signed: &SignedDirectory) {
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
                self.missing.insert(i, who.clone());
            }
            VoteEvent::Withheld(who) => {
                self.withheld.insert(i, who.clone());
            }
            VoteEvent::Late | VoteEvent::Blocked(_) => {
                self.could_not_count.insert(i);
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
        let signed = |i: &&usize| self.signed.values().any(|s| s.contains(i));
        self.could_not_count.iter().filter(signed).count()
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
        let rounds =
            (world.times.end.0 - world.times.start.0) / world.times.round.as_millis() as u64;
        let most = 4 * world.plan.n + 2 + rounds as usize;
        if self
            .sent
            .iter()
            .any(|sent| *sent > most * (1 + self.restarts))
        {
            return Some("sent more than a vote takes");
        }
        let decided = self.valid.values().next();
        if let Some(directory) = decided
            && !self.random_is_right(directory, before)
        {
            return Some("the shared random is not that of the shares");
        }
        if self.weather == Weather::Bounded {
            return self.violation_when_bounded(world, before);
        }
        None
    }

    fn violation_when_bounded(&self, world: &World, before: Option<&Self>) -> Option<&'static str> {
        let honest: Vec<usize> = (0..world.plan.n).filter(|i| world.honest(*i)).collect();
        for i in &honest {
            let decided = self.decided.iter().find(|d| d.0 == *i);
            if decided.is_none_or(|d| !world.in_time(d.3, self.epoch)) {
                return Some("no directory in time");
            }
            let is_honest = |who: &u8| honest.contains(&usize::from(*who));
            let blamed = [&self.missing, &self.withheld];
            let blamed = blamed.map(|m| m.get(i).is_some_and(|who| who.iter().any(is_honest)));
            if blamed != [false, false] {
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
        let counted = |i: &&usize| !self.could_not_count.contains(i);
        let signers = self.signed.get(&directory.hash());
        let Some(witness) = signers.and_then(|s| s.iter().find(counted)) else {
            // Only those signed who had not counted; whom they believed is not known here.
            return true;
        };
        let before = before.and_then(|b| b.valid.get(&directory.previous));
        let penalised = before.map_or(0, |b| b.withheld);
        let missing = self.missing.get(witness).cloned().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(b"mizzle-shared-random-v1");
        hash.update(directory.network.0);
        hash.update(directory.epoch.0.to_be_bytes());
        hash.update(before.map_or([0; 32], |b| b.shared_random));
        for author in 0..self.sent.len() {
            let out = directory.withheld | penalised;
            if out >> author & 1 == 0 && !missing.contains(&(author as u8)) {
                hash.update([author as u8]);
                hash.update(share(author, directory.epoch));
            }
        }
        directory.shared_random == <[u8; 32]>::from(hash.finalize())
    }
}
