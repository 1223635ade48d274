//! An authority: collects descriptors, takes part in the vote of each epoch, keeps what was decided.
//! `docs/spec/directory.md` §6 and §8.
//!
//! A single authority is the same machine with nobody to wait for. Not here: HTTP, files and the clock
//! (`topology`), and how a vote goes ([`crate::vote`]). Who stands in which layer is in
//! `authority/layers.rs`, what nodes report of their loops in `authority/reports.rs`.

mod admission;
mod config;
mod events;
mod kept;
pub(crate) mod layers;
mod reports;
mod voting;

pub use admission::{Accepted, Admitted, DescriptorRefused};
pub use config::{ADMITTED_MAX, AuthorityConfig, AuthorityError, KEPT_MAX};
pub use events::{AuthorityEvent, Record};

use crate::descriptor::SignedDescriptor;
use crate::document::Directory;
use crate::refused::DirectoryRefused;
use crate::report::{ReportRefused, SignedReport};
use crate::signed::SignedDirectory;
use crate::vote::{Statement, Taken, Vote, VoteMessage, VoteTimes};
use kept::{Kept, newest_signed, restore};
use reports::Reports;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{Epoch, NodeId};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;

const RETRY: Duration = Duration::from_secs(1);

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
    reports: Reports,
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
            reports: Reports::default(),
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
        let network = &self.config.network;
        let epoch = network.schedule().epoch_at(now);
        let known = self.directory(epoch).map(|(d, _)| d.clone());
        self.reports
            .handle(signed, network.id(), (epoch, known.as_deref()))
    }

    /// Reports of this epoch so far.
    pub fn reports(&self) -> usize {
        self.reports.len()
    }

    /// Mixes that lose traffic by the reports that came in this epoch.
    fn suspects(&self) -> Vec<NodeId> {
        let epoch = self.config.network.schedule().epoch_at(self.now);
        let directory = self.directory(epoch);
        directory.map_or_else(Vec::new, |(d, _)| self.reports.suspects(d))
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
        let lead = u64::try_from(times.lead().as_millis()).unwrap_or(0);
        UnixTime(times.start.0.saturating_sub(lead))
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
