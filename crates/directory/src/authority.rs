//! An authority: collects descriptors, takes part in the vote of each epoch, keeps what was decided.
//! `docs/spec/directory.md` §6 and §8.
//!
//! A single authority is the same machine with nobody to wait for. Not here: HTTP, files and the clock
//! (`topology`), and how a vote goes ([`crate::vote`]). Who stands in which layer is in
//! `authority/layers.rs`.

mod admission;
mod config;
mod events;
pub(crate) mod layers;

pub use admission::{Accepted, Admitted, DescriptorRefused};
pub use config::{ADMITTED_MAX, AuthorityConfig, AuthorityError, KEPT_MAX};
pub use events::{AuthorityEvent, Record};

use crate::descriptor::SignedDescriptor;
use crate::document::{Directory, LAYERS, NodeDescriptor, Role};
use crate::marks;
use crate::network::Network;
use crate::refused::DirectoryRefused;
use crate::report::{LoopReport, ReportRefused, SignedReport};
use crate::signed::SignedDirectory;
use crate::vote::{Ballot, Statement, Taken, Vote, VoteEvent, VoteMessage, VoteTimes, is_fresh};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;

const RETRY: Duration = Duration::from_secs(1);

struct Kept {
    directory: Arc<Directory>,
    document: Arc<[u8]>,
}

/// The machine. Call `handle_*` when something happens, then [`Authority::poll_event`] and
/// [`Authority::poll_transmit`] until they give nothing, then arm a timer by
/// [`Authority::poll_timeout`].
///
/// It signs one directory for an epoch, ever: a signature is handed to the owner to be made durable
/// before anybody sees it, and what was kept is given back to [`Authority::new`].
pub struct Authority {
    config: AuthorityConfig,
    secret: Arc<IdentitySecret>,
    index: u8,
    admitted: BTreeMap<NodeId, Admitted>,
    /// One for each admitted node at most.
    descriptors: BTreeMap<NodeId, SignedDescriptor>,
    /// On loops, by the directory of their epoch; one of each of its nodes at most.
    reports: (Epoch, BTreeMap<NodeId, LoopReport>),
    /// Decided directories by ascending epoch, at most [`KEPT_MAX`].
    kept: VecDeque<Kept>,
    /// The newest that this authority signed, and for which epoch.
    signed: Option<(Epoch, SignedDirectory)>,
    vote: Vote,
    /// Whether we have a ballot in it.
    voted: bool,
    keys: KeyRng,
    /// To be made durable; the owner has the first, unless that is to be handed out again at `retry`.
    records: VecDeque<Record>,
    retry: Option<UnixTime>,
    /// The last epoch for which it was told that there are too few nodes.
    told: Option<Epoch>,
    transmits: VecDeque<VoteMessage>,
    events: VecDeque<AuthorityEvent>,
    started: UnixTime,
    now: UnixTime,
}

impl Authority {
    /// `kept` are the documents persisted before, in any order; `keys` draws shares of the randomness.
    pub fn new(
        config: AuthorityConfig,
        secret: impl Into<Arc<IdentitySecret>>,
        kept: Vec<Record>,
        keys: KeyRng,
        now: UnixTime,
    ) -> Result<Self, AuthorityError> {
        let secret = secret.into();
        let network = &config.network;
        let index = network
            .authority_index(&secret.public())
            .ok_or(AuthorityError::NotListed)?;
        let checked = config.parameters.check(&network.schedule());
        checked.map_err(AuthorityError::BadParameter)?;
        let admitted = admission::index(&config.admitted)?;
        let (signed, decided): (Vec<_>, Vec<_>) = kept
            .into_iter()
            .partition(|r| matches!(r, Record::Signature(..)));
        let kept = restore(decided, network)?;
        let signed = newest_signed(signed, index, network)?;
        let mut authority = Self {
            vote: Vote::new(
                network.clone(),
                Epoch(0),
                (index, secret.clone()),
                None,
                None,
            ),
            config,
            secret,
            index,
            admitted,
            descriptors: BTreeMap::new(),
            reports: (Epoch(0), BTreeMap::new()),
            kept,
            signed,
            voted: false,
            keys,
            records: VecDeque::new(),
            retry: None,
            told: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            started: now,
            now,
        };
        authority.next_vote();
        authority.handle_timeout(now);
        Ok(authority)
    }

    /// Another allow-list, for ballots from the next one on; what nodes said that are not on it in their role is
    /// forgotten. `expected` as in [`AuthorityConfig::expected_nodes`].
    pub fn handle_admitted(
        &mut self,
        list: &[Admitted],
        expected: usize,
        now: UnixTime,
    ) -> Result<(), AuthorityError> {
        self.admitted = admission::index(list)?;
        self.config.expected_nodes = expected;
        let admitted = &self.admitted;
        self.descriptors.retain(|id, signed| {
            let listed = admitted.get(id);
            listed.is_some_and(|node| node.role == signed.descriptor.role)
        });
        self.handle_timeout(now);
        Ok(())
    }

    /// A node uploaded its descriptor.
    pub fn handle_descriptor(
        &mut self,
        signed: SignedDescriptor,
        now: UnixTime,
    ) -> Result<Accepted, DescriptorRefused> {
        let epoch = self.config.network.schedule().epoch_at(now);
        let id = signed.descriptor.id();
        let held = self.descriptors.get(&id);
        let accepted = admission::admit(
            &signed,
            held,
            &self.admitted,
            &self.config.network,
            (epoch, now),
        )?;
        if accepted == Accepted::Stored {
            self.descriptors.insert(id, signed);
        }
        self.handle_timeout(now);
        Ok(accepted)
    }

    /// A node uploaded what became of its loops. It counts in the next vote, and in no other.
    pub fn handle_report(
        &mut self,
        signed: SignedReport,
        now: UnixTime,
    ) -> Result<Accepted, ReportRefused> {
        self.handle_timeout(now);
        let epoch = self.config.network.schedule().epoch_at(now);
        if signed.report.epoch != epoch {
            return Err(ReportRefused::WrongEpoch);
        }
        let known = self.directory(epoch).ok_or(ReportRefused::WrongDirectory)?;
        let directory = known.0.clone();
        if self.reports.0 != epoch {
            self.reports = (epoch, BTreeMap::new());
        }
        let reporter = NodeId::of(&signed.reporter);
        match self.reports.1.get(&reporter) {
            Some(first) if *first == signed.report => return Ok(Accepted::Unchanged),
            Some(_) => return Err(ReportRefused::Second),
            None => {}
        }
        signed.verify(self.config.network.id(), &directory)?;
        self.reports.1.insert(reporter, signed.report);
        Ok(Accepted::Stored)
    }

    /// Reports of this epoch so far.
    pub fn reports(&self) -> usize {
        self.reports.1.len()
    }

    /// Mixes that lose traffic by the reports that came in this epoch.
    fn suspects(&self) -> Vec<NodeId> {
        let (epoch, reports) = &self.reports;
        let current = self.config.network.schedule().epoch_at(self.now);
        let directory = self.directory(*epoch).filter(|_| *epoch == current);
        directory.map_or_else(Vec::new, |(d, _)| marks::suspects(d, reports))
    }

    /// Another authority passed a statement on, of whichever author.
    pub fn handle_statement(&mut self, statement: Statement, now: UnixTime) -> Taken {
        self.handle_timeout(now);
        let taken = self.vote.handle_statement(statement, now);
        self.drain_vote();
        taken
    }

    /// Another authority's signature. Returns whether it was of use.
    pub fn handle_signature(&mut self, signed: SignedDirectory, now: UnixTime) -> bool {
        self.handle_timeout(now);
        let useful = self.vote.handle_signature(signed, now);
        self.drain_vote();
        useful
    }

    /// A decided directory that another authority had ([`Authority::wanted`]). Returns whether it was
    /// news.
    pub fn handle_fetched(
        &mut self,
        signed: SignedDirectory,
        now: UnixTime,
    ) -> Result<bool, DirectoryRefused> {
        self.handle_timeout(now);
        let directory = signed.verify(&self.config.network)?;
        directory.check_not_expired(now)?;
        let epoch = directory.epoch;
        if epoch > self.config.network.schedule().epoch_at(now).next() {
            return Err(DirectoryRefused::NotYetValid);
        }
        if let Some(held) = self.kept.iter().find(|k| k.directory.epoch == epoch) {
            let same = held.directory.hash() == directory.hash();
            let conflicting = Err(DirectoryRefused::Conflicting(epoch));
            return if same { Ok(false) } else { conflicting };
        }
        let newest = self.kept.back().map(|k| k.directory.epoch);
        let on_its_way = |r: &Record| matches!(r, Record::Directory(e, _) if *e >= epoch);
        if newest > Some(epoch) || self.records.iter().any(on_its_way) {
            return Ok(false);
        }
        self.record(Record::Directory(epoch, signed));
        Ok(true)
    }

    /// The time announced by [`Authority::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        self.now = now;
        if self.retry.is_some_and(|at| now >= at) {
            self.retry = None;
            self.hand_out_record();
        }
        self.move_on();
        if !self.voted && (self.ballot_at()..self.vote.times().start).contains(&now) {
            self.hand_in_ballot();
        }
        self.vote.handle_timeout(now);
        self.drain_vote();
        self.move_on();
    }

    /// What the last [`AuthorityEvent::Persist`] named is durable.
    pub fn handle_persisted(&mut self, now: UnixTime) {
        self.retry = None;
        match self.records.pop_front() {
            None => {}
            Some(Record::Signature(epoch, signed)) => {
                self.signed = Some((epoch, signed));
                if self.vote.epoch() == epoch {
                    self.vote.handle_persisted(now);
                }
            }
            Some(Record::Directory(epoch, signed)) => self.publish(epoch, &signed),
        }
        if !self.records.is_empty() {
            self.hand_out_record();
        }
        self.handle_timeout(now);
    }

    /// It could not be made durable. The same is handed out again after a second; nothing else is signed
    /// for its epoch.
    pub fn handle_persist_failed(&mut self, now: UnixTime) {
        if !self.records.is_empty() {
            self.retry = Some(now.saturating_add(RETRY));
        }
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<AuthorityEvent> {
        self.events.pop_front()
    }

    /// Something for all other authorities.
    pub fn poll_transmit(&mut self) -> Option<VoteMessage> {
        self.transmits.pop_front()
    }

    /// When to call [`Authority::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(UnixTime, &'static str)> {
        let retry = self.retry.map(|at| (at, "keep again"));
        let ballot = Some((self.ballot_at(), "ballot")).filter(|b| b.0 > self.now);
        let over = Some((self.vote.times().end, "next vote"));
        let vote = self.vote.poll_timeout();
        let all = [retry, ballot, vote, over].into_iter().flatten();
        all.min_by_key(|t| t.0)
    }

    /// When our ballot is fixed: shortly before the vote begins.
    fn ballot_at(&self) -> UnixTime {
        let times = self.vote.times();
        let lead = u64::try_from((times.round / 4).as_millis()).unwrap_or(0);
        UnixTime(times.start.0.saturating_sub(lead.clamp(1, 1000)))
    }

    /// An epoch whose directory the others have or should have, and this authority lacks: it is to be
    /// fetched from one of them ([`Authority::handle_fetched`]), again and again.
    pub fn wanted(&self, now: UnixTime) -> Option<Epoch> {
        let network = &self.config.network;
        if network.authorities().len() == 1 {
            return None;
        }
        let epoch = network.schedule().epoch_at(now);
        let newest = self.kept.back().map(|k| k.directory.epoch);
        if newest < Some(epoch) {
            return Some(epoch);
        }
        let times = VoteTimes::of(network, epoch.next());
        let overdue = times.signatures().saturating_add(times.round);
        (newest == Some(epoch) && now >= overdue).then_some(epoch.next())
    }

    /// The vote that goes on, or comes next.
    pub fn vote(&self) -> &Vote {
        &self.vote
    }

    /// Whether this authority has a ballot in it.
    pub fn has_voted(&self) -> bool {
        self.voted
    }

    /// Its place in `Network::authorities`.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// The newest directory, perhaps of the next epoch.
    pub fn newest(&self) -> Option<(&Arc<Directory>, &Arc<[u8]>)> {
        self.kept.back().map(|k| (&k.directory, &k.document))
    }

    /// The directory of one epoch, while it is kept.
    pub fn directory(&self, epoch: Epoch) -> Option<(&Arc<Directory>, &Arc<[u8]>)> {
        let kept = self.kept.iter().find(|k| k.directory.epoch == epoch)?;
        Some((&kept.directory, &kept.document))
    }

    /// The newest descriptor of each node, to be handed in again after a restart.
    pub fn descriptors(&self) -> impl Iterator<Item = &SignedDescriptor> {
        self.descriptors.values()
    }

    /// Nodes on the allow-list, those with a descriptor here, and those of them that could stand in the
    /// directory that is voted on.
    pub fn counts(&self) -> (usize, usize, usize) {
        let usable = self.usable(self.vote.epoch()).count();
        (self.admitted.len(), self.descriptors.len(), usable)
    }

    /// Goes on to the next vote when one is over.
    fn move_on(&mut self) {
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

    fn next_vote(&mut self) {
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
    fn hand_in_ballot(&mut self) {
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
    fn usable(&self, epoch: Epoch) -> impl Iterator<Item = &NodeDescriptor> {
        let length = self.config.network.schedule().length;
        let frozen = self.now.min(self.vote.times().start);
        let good = move |(id, signed): (&NodeId, &SignedDescriptor)| {
            let keys = [epoch, epoch.next()];
            self.admitted.contains_key(id)
                && is_fresh(signed.published, frozen, length)
                && keys
                    .iter()
                    .all(|e| signed.descriptor.sphinx_key(*e).is_some())
        };
        let good = self.descriptors.iter().filter(move |d| good(*d));
        good.map(|(_, signed)| &signed.descriptor)
    }

    fn drain_vote(&mut self) {
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

    fn record(&mut self, record: Record) {
        self.records.push_back(record);
        if self.records.len() == 1 {
            self.hand_out_record();
        }
    }

    fn hand_out_record(&mut self) {
        let first = self.records.front().cloned();
        self.events.extend(first.map(AuthorityEvent::Persist));
    }

    fn publish(&mut self, epoch: Epoch, signed: &SignedDirectory) {
        let newest = self.kept.back().map(|k| k.directory.epoch);
        let Ok(directory) = signed.verify(&self.config.network) else {
            return;
        };
        if newest >= Some(epoch) {
            return;
        }
        let published = AuthorityEvent::Published(epoch, directory.hash());
        self.kept.push_back(Kept {
            directory,
            document: signed.encode().into(),
        });
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        self.events.push_back(published);
    }
}

/// Verifies what was decided and puts it in order; of too many, the newest stay.
fn restore(kept: Vec<Record>, network: &Network) -> Result<VecDeque<Kept>, AuthorityError> {
    let mut by_epoch = BTreeMap::new();
    for record in kept {
        let signed = record.document();
        let directory = signed.verify(network).map_err(AuthorityError::BadKept)?;
        let document = signed.encode().into();
        by_epoch.insert(
            directory.epoch,
            Kept {
                directory,
                document,
            },
        );
    }
    let surplus = by_epoch.len().saturating_sub(KEPT_MAX);
    Ok(by_epoch.into_values().skip(surplus).collect())
}

/// The newest directory that this authority signed. One that is not by its key would let it sign twice.
fn newest_signed(
    kept: Vec<Record>,
    index: u8,
    network: &Network,
) -> Result<Option<(Epoch, SignedDirectory)>, AuthorityError> {
    let mut newest: Option<(Epoch, SignedDirectory)> = None;
    for record in kept {
        let signed = record.document();
        let epoch = signed.epoch();
        let ours = signed.signers().any(|i| i == index) && signed.verify_signers(network).is_ok();
        let epoch = epoch.filter(|_| ours);
        let epoch = epoch.ok_or(AuthorityError::BadSigned)?;
        if newest.as_ref().is_none_or(|(e, _)| *e < epoch) {
            newest = Some((epoch, signed.clone()));
        }
    }
    Ok(newest)
}
