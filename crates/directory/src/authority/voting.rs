//! An authority's part in votes: which one comes next, what it has to say in it, and what comes of it.

use super::{Authority, AuthorityEvent, Record};
use crate::descriptor::SignedDescriptor;
use crate::document::{LAYERS, NodeDescriptor, Role};
use crate::vote::{Ballot, Vote, VoteEvent, VoteTimes, is_present};
use wire::ids::{DirectoryHash, Epoch, NodeId};

impl Authority {
    /// Goes on to the next vote when one is over.
    pub(super) fn move_on(&mut self) {
        let (epoch, times) = (self.vote.epoch(), self.vote.times());
        if self.now < times.end {
            return;
        }
        let newest = self.kept.back().map(|k| k.directory.epoch);
        let decided = |r: &Record| matches!(r, Record::Directory(e, _) if *e == epoch);
        let settled = newest >= Some(epoch) || self.records.iter().any(decided);
        if times.attempt == 0 && !settled {
            let until = self.kept.back().map(|k| k.directory.valid_until);
            self.events
                .push_back(AuthorityEvent::Failed { epoch, until });
        }
        self.next_vote();
    }

    fn holds_valid(&self) -> bool {
        let newest = self.kept.back().map(|k| &k.directory);
        newest.is_some_and(|d| self.now < d.valid_until)
    }

    pub(super) fn next_vote(&mut self) {
        let network = &self.config.network;
        let current = network.schedule().epoch_at(self.now);
        let newest = self.kept.back().map(|k| k.directory.clone());
        let (epoch, times) = if self.holds_valid() {
            let newest = newest.as_ref().map_or(current, |d| d.epoch);
            let epoch = newest.max(current).next();
            (epoch, VoteTimes::of(network, epoch))
        } else {
            (current, VoteTimes::again(network, self.now))
        };
        let signed = self.signed.as_ref().filter(|(e, _)| *e == epoch);
        let signed = signed.map(|(_, s)| s.clone());
        let own = (self.index, self.secret.clone());
        self.vote = Vote::at(network.clone(), (epoch, times), own, newest, signed);
        self.voted = false;
    }

    /// Shortly before a vote. Who has signed for a later epoch, or waits for nodes, has no ballot.
    pub(super) fn hand_in_ballot(&mut self) {
        let (epoch, times) = (self.vote.epoch(), self.vote.times());
        let turned_back = self.signed.as_ref().is_some_and(|(e, _)| *e > epoch);
        if turned_back || !self.is_ready(epoch, times.attempt > 0) {
            return;
        }
        let ballot = Ballot {
            epoch,
            previous: self
                .kept
                .back()
                .map_or(DirectoryHash([0; 32]), |k| k.directory.hash()),
            parameters: self.config.parameters.clone(),
            commitment: [0; 32],
            admitted: self.admitted.values().copied().collect(),
            descriptors: self.descriptors.values().cloned().collect(),
            suspects: self.suspects(),
        };
        self.vote.handle_ballot(ballot, &mut self.keys, self.now);
        self.voted = true;
    }

    /// A vote in its time waits for nobody; one that can be held again waits for all expected nodes or
    /// the grace, and for a whole path.
    fn is_ready(&mut self, epoch: Epoch, again: bool) -> bool {
        let all = self.usable(epoch).count();
        let mixes = self.usable(epoch).filter(|n| n.role == Role::Mix).count();
        let gateways = all - mixes;
        let whole = mixes >= LAYERS && gateways > 0;
        let waited = self.now >= self.started.saturating_add(self.config.grace);
        if again && !whole && waited && self.told != Some(epoch) {
            self.told = Some(epoch);
            self.events.push_back(AuthorityEvent::TooFewNodes {
                epoch,
                mixes,
                gateways,
            });
        }
        !again || whole && (waited || all >= self.config.expected_nodes)
    }

    /// Nodes on the allow-list that are alive, with keys for that epoch and the next.
    pub(super) fn usable(&self, epoch: Epoch) -> impl Iterator<Item = &NodeDescriptor> {
        let (length, times) = (self.config.network.schedule().length, self.vote.times());
        let alive = move |published| {
            if self.now < times.start {
                // What counts in the vote is yet to come.
                is_present(published, self.now, length)
            } else {
                times.counts(published)
            }
        };
        let good = move |(id, signed): (&NodeId, &SignedDescriptor)| {
            let keys = [epoch, epoch.next()];
            self.admitted.contains_key(id)
                && alive(signed.published)
                && keys
                    .iter()
                    .all(|e| signed.descriptor.sphinx_key(*e).is_some())
        };
        let good = self.descriptors.iter().filter(move |d| good(*d));
        good.map(|(_, signed)| &signed.descriptor)
    }

    pub(super) fn drain_vote(&mut self) {
        let epoch = self.vote.epoch();
        while let Some(message) = self.vote.poll_transmit() {
            self.transmits.push_back(message);
        }
        while let Some(event) = self.vote.poll_event() {
            match event {
                VoteEvent::Persist(signed) => {
                    let before = self.signed.as_ref().map(|(e, _)| *e);
                    let in_hand = |r: &Record| matches!(r, Record::Signature(e, _) if *e >= epoch);
                    // Once only, whatever the clock does.
                    if before < Some(epoch) && !self.records.iter().any(in_hand) {
                        self.record(Record::Signature(epoch, signed));
                    }
                }
                VoteEvent::Decided(signed) => {
                    let newest = self.kept.back().map(|k| k.directory.epoch);
                    if newest < Some(epoch) {
                        self.record(Record::Directory(epoch, signed));
                    }
                }
                VoteEvent::Equivocated(proof) => self
                    .events
                    .push_back(AuthorityEvent::Equivocated(epoch, proof)),
                // Who waits for nodes has no opinion on the others.
                VoteEvent::Missing(_) | VoteEvent::Blocked(_) if !self.voted => {}
                // Told by its having no ballot.
                VoteEvent::Late => {}
                VoteEvent::SignedTwice(proof) => self
                    .events
                    .push_back(AuthorityEvent::SignedTwice(epoch, proof)),
                VoteEvent::Missing(who) => {
                    self.events.push_back(AuthorityEvent::Missing(epoch, who))
                }
                VoteEvent::Withheld(who) => {
                    self.events.push_back(AuthorityEvent::Withheld(epoch, who))
                }
                VoteEvent::Blocked(why) => {
                    self.events.push_back(AuthorityEvent::Blocked(epoch, why))
                }
            }
        }
    }
}
