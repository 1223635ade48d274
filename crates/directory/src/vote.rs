//! How several authorities come to one directory: the vote of one epoch, as a pure machine.
//! `docs/spec/directory.md` §8.
//!
//! ```text
//!   start        + (f+1)Δ          + 2(f+1)Δ                                  epoch begins
//!     │ ballots, in f+1 rounds │ reveals, in f+1 rounds │ signatures … until they are enough │
//! ```
//!
//! Ballots and reveals go by *signed broadcast* (Dolev and Strong, "Authenticated algorithms for
//! Byzantine agreement", SIAM J. Comput. 12(4), 1983): a statement counts in round k only with k
//! different signatures, and whoever takes it up signs it and passes it on. As long as messages arrive
//! within Δ, after f + 1 rounds every honest authority holds the same statements, whatever up to
//! f others do; of an author with two different statements none counts, and the two are the proof.
//! So all compute the same bytes ([`tally`]) and sign them.
//!
//! When messages are slower than Δ, authorities may compute different directories. Nobody is harmed:
//! each signs one directory for an epoch, ever, and two of them cannot both reach the threshold
//! ([`crate::quorum`]). There is then none for this epoch, and the one before holds for one longer.
//!
//! Signatures, and then the directory, are shown again each Δ until its epoch begins. Who could not count,
//! because it started in the middle or its ballots make nothing, signs what f + 1 others signed: one of
//! them is honest, and still nobody signs twice.
//!
//! Not here: sockets, files and clocks (`topology`), and which descriptors an authority holds
//! ([`crate::Authority`]).

mod ballot;
mod broadcast;
mod signatures;
mod statement;
mod tally;
mod times;

pub use ballot::{BALLOT_MAX, Ballot, commitment};
pub use broadcast::{Equivocation, Taken};
pub use statement::{STATEMENT_MAX, Statement, StatementKind, StatementRefused};
pub use tally::{Blocked, Outcome, tally};
pub(crate) use times::is_present;
pub use times::{SIGNS, VoteTimes, ahead, next_sign, republish_after};

use crate::document::Directory;
use crate::network::Network;
use crate::signed::SignedDirectory;
use crate::split::SplitProof;
use broadcast::Broadcast;
use signatures::Signatures;
use std::collections::VecDeque;
use std::sync::Arc;
use wire::ids::{DirectoryHash, Epoch};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Something for the owner.
#[derive(Clone, PartialEq, Eq)]
pub enum VoteEvent {
    /// Make this durable, then call [`Vote::handle_persisted`]: our only signature for this epoch. It
    /// must not be shown to anybody before. If it cannot be made durable, try again; there is no other.
    Persist(SignedDirectory),
    /// Enough authorities signed, perhaps without us.
    Decided(SignedDirectory),
    /// These authorities sent no ballot that counts, or none at all.
    Missing(Vec<u8>),
    /// An authority said two things; both, with its signatures, are the proof.
    Equivocated(Box<Equivocation>),
    /// These authorities sent a ballot and withheld their share of the randomness.
    Withheld(Vec<u8>),
    /// An authority signed two directories of this epoch; the two are the proof.
    SignedTwice(Box<SplitProof>),
    /// We started when the vote was under way. We vote for nothing and sign what most others sign.
    Late,
    /// The ballots make no directory. We sign what most others sign, if they do.
    Blocked(Blocked),
}

/// Something for all other authorities.
#[derive(Clone, PartialEq, Eq)]
pub enum VoteMessage {
    /// Pass this on.
    Statement(Statement),
    /// Our signature.
    Signature(SignedDirectory),
}

/// Where the vote is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Before the start.
    Waiting,
    /// Ballots go around.
    Ballots,
    /// Shares of the randomness go around.
    Reveals,
    /// Signatures are collected.
    Signatures,
    /// There is a directory.
    Decided,
    /// There is none in time. Signatures that come now still make one.
    Failed,
}

/// One authority's part in the vote of one epoch.
pub struct Vote {
    network: Network,
    epoch: Epoch,
    times: VoteTimes,
    secret: Arc<IdentitySecret>,
    index: u8,
    previous: Option<Arc<Directory>>,
    phase: Phase,
    own: Option<(Ballot, Zeroizing<[u8; 32]>)>,
    ballots: Broadcast,
    reveals: Broadcast,
    agreed: Vec<Option<Ballot>>,
    /// The vote was under way when we came.
    late: bool,
    signatures: Signatures,
    /// What we signed. Its signature counts among the others once it is durable, and not before.
    signed: Option<DirectoryHash>,
    pending: Option<SignedDirectory>,
    /// When to show our signature again, or the directory.
    repeat: UnixTime,
    transmits: VecDeque<VoteMessage>,
    events: VecDeque<VoteEvent>,
    #[cfg(feature = "testing")]
    planted: Option<Fault>,
}

/// A fault to be found by tests (feature `testing`).
#[cfg(feature = "testing")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A statement counts with one signature fewer than its round asks for.
    OneSignatureFewer,
    /// The last share counts twice, the second time as that of an authority that is not there.
    ShareCountedTwice,
    /// Of an author with two ballots the first counts.
    FirstOfTwoCounts,
    /// A directory with one signature fewer than the threshold is taken for decided.
    ThresholdOneLess,
    /// What one ballot suspects, all do.
    OneSuspicionMarks,
}

impl Vote {
    /// Makes this authority wrong.
    #[cfg(feature = "testing")]
    pub fn plant(&mut self, fault: Fault) {
        self.planted = Some(fault);
        if fault == Fault::OneSignatureFewer {
            self.ballots.lenient = true;
            self.reveals.lenient = true;
        }
        let first = fault == Fault::FirstOfTwoCounts;
        self.ballots.first_counts = first;
        self.reveals.first_counts = first;
    }

    /// The vote on `epoch`'s directory in the epoch before. `previous` is the directory
    /// that the new one follows, as far as we know; `signed` what we signed for this epoch before a restart, if anything: then we show it,
    /// collect signatures for it and sign nothing else.
    pub fn new(
        network: Network,
        epoch: Epoch,
        own: (u8, impl Into<Arc<IdentitySecret>>),
        previous: Option<Arc<Directory>>,
        signed: Option<SignedDirectory>,
    ) -> Self {
        let times = VoteTimes::of(&network, epoch);
        Self::at(network, (epoch, times), own, previous, signed)
    }

    /// The same, held at these times.
    pub fn at(
        network: Network,
        (epoch, times): (Epoch, VoteTimes),
        (index, secret): (u8, impl Into<Arc<IdentitySecret>>),
        previous: Option<Arc<Directory>>,
        signed: Option<SignedDirectory>,
    ) -> Self {
        let secret = secret.into();
        let broadcast = |kind| Broadcast::new(kind, (epoch, times), index, &network);
        let mut signatures = Signatures::new(epoch, &network);
        let hash = signed.as_ref().map(SignedDirectory::hash);
        let known = signed.is_some_and(|own| signatures.handle(own, &network));
        let signed = hash.filter(|_| known);
        Self {
            ballots: broadcast(StatementKind::Ballot),
            reveals: broadcast(StatementKind::Reveal),
            agreed: Vec::new(),
            epoch,
            times,
            secret,
            index,
            previous,
            phase: Phase::Waiting,
            own: None,
            pending: None,
            signed,
            signatures,
            late: false,
            repeat: times.start,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            #[cfg(feature = "testing")]
            planted: None,
            network,
        }
    }

    /// What we vote for. Without it, or when it comes after the start, we take part in everything but
    /// have no ballot of our own: who starts anew in the middle of a vote does not say a second thing.
    /// The share of the randomness is drawn here, and hidden in the ballot's commitment.
    pub fn handle_ballot(&mut self, mut ballot: Ballot, keys: &mut KeyRng, now: UnixTime) {
        if self.phase == Phase::Waiting && now < self.times.start {
            let share = Zeroizing::new(keys.bytes());
            ballot.commitment = commitment(&self.network, self.epoch, self.index, &share);
            self.own = Some((ballot, share));
        }
    }

    /// A statement from another authority, of whichever author.
    pub fn handle_statement(&mut self, statement: Statement, now: UnixTime) -> Taken {
        self.handle_timeout(now);
        // Another clock may be a little ahead of ours: what comes early counts as in round 1.
        let (broadcast, start) = match statement.kind {
            StatementKind::Ballot => (&mut self.ballots, self.times.start),
            StatementKind::Reveal => (&mut self.reveals, self.times.reveals()),
        };
        let since = now.saturating_since(start).as_nanos();
        let round = since / self.times.round.as_nanos().max(1) + 1;
        let round = u32::try_from(round).unwrap_or(u32::MAX);
        let taken = broadcast.handle(statement, round, &self.network, &self.secret);
        while let Some(next) = broadcast.poll_transmit() {
            self.transmits.push_back(VoteMessage::Statement(next));
        }
        while let Some(proof) = broadcast.poll_equivocation() {
            self.events
                .push_back(VoteEvent::Equivocated(Box::new(proof)));
        }
        taken
    }

    /// Another authority's signature, perhaps with more of them. Returns whether it was of use.
    pub fn handle_signature(&mut self, signed: SignedDirectory, now: UnixTime) -> bool {
        self.handle_timeout(now);
        let news = self.signatures.handle(signed, &self.network);
        while let Some(proof) = self.signatures.poll_proof() {
            let event = VoteEvent::SignedTwice(Box::new(proof));
            self.events.push_back(event);
        }
        self.adopt();
        self.decide(now);
        news
    }

    /// Our signature of the last [`VoteEvent::Persist`] is durable.
    pub fn handle_persisted(&mut self, now: UnixTime) {
        if let Some(own) = self.pending.take() {
            self.signatures.handle(own, &self.network);
            self.show(now);
            self.decide(now);
        }
    }

    /// The time announced by [`Vote::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        if self.phase == Phase::Waiting && now >= self.times.start {
            self.phase = Phase::Ballots;
            self.late = now >= self.times.start.saturating_add(self.times.round);
            if self.late {
                self.own = None;
                self.events.push_back(VoteEvent::Late);
            }
            let own = self.own.as_ref().map(|(ballot, _)| ballot.encode());
            self.say(StatementKind::Ballot, own);
        }
        if self.phase == Phase::Ballots && now >= self.times.reveals() {
            self.phase = Phase::Reveals;
            self.count_ballots();
            // After the first round nobody takes it from us any more, so it does not count here either.
            let in_time = now < self.times.reveals().saturating_add(self.times.round);
            let own = self.own.as_ref().filter(|_| in_time);
            let own = own.map(|(_, share)| share.to_vec());
            self.say(StatementKind::Reveal, own);
        }
        if self.phase == Phase::Reveals && now >= self.times.signatures() {
            self.phase = Phase::Signatures;
            if self.signed.is_some() {
                // From before a restart; we stand by it.
                self.show(now);
            } else if !self.late {
                self.sign();
            }
            self.adopt();
            self.decide(now);
        }
        if self.phase == Phase::Signatures && now >= self.times.end {
            self.phase = Phase::Failed;
        }
        if self.shows() && (self.repeat..self.times.end).contains(&now) {
            self.show(now);
        }
    }

    /// When to call [`Vote::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(UnixTime, &'static str)> {
        match self.phase {
            Phase::Waiting => Some((self.times.start, "ballots")),
            Phase::Ballots => Some((self.times.reveals(), "reveals")),
            Phase::Reveals => Some((self.times.signatures(), "signatures")),
            Phase::Signatures | Phase::Decided if self.shows() && self.repeat < self.times.end => {
                Some((self.repeat, "signatures again"))
            }
            Phase::Signatures => Some((self.times.end, "end of the vote")),
            Phase::Decided | Phase::Failed => None,
        }
    }

    /// Something for all other authorities.
    pub fn poll_transmit(&mut self) -> Option<VoteMessage> {
        self.transmits.pop_front()
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<VoteEvent> {
        self.events.pop_front()
    }

    /// Where the vote is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// For which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When it does what.
    pub fn times(&self) -> VoteTimes {
        self.times
    }

    /// Authorities whose ballot is here, ascending.
    pub fn heard(&self) -> Vec<u8> {
        self.ballots.heard()
    }

    fn say(&mut self, kind: StatementKind, payload: Option<Vec<u8>>) {
        let Some(payload) = payload else {
            return;
        };
        let broadcast = match kind {
            StatementKind::Ballot => &mut self.ballots,
            StatementKind::Reveal => &mut self.reveals,
        };
        broadcast.say(payload, &self.network, &self.secret);
        while let Some(next) = broadcast.poll_transmit() {
            self.transmits.push_back(VoteMessage::Statement(next));
        }
    }

    fn count_ballots(&mut self) {
        let epoch = self.epoch;
        let read = |payload: Option<&[u8]>| {
            let ballot = payload.and_then(|bytes| Ballot::decode(bytes).ok());
            ballot.filter(|b| b.epoch == epoch)
        };
        let authorities = 0..self.network.authorities().len();
        self.agreed = authorities.map(|i| read(self.ballots.agreed(i))).collect();
        if self.late {
            return;
        }
        let missing = indices(self.agreed.iter().map(Option::is_none));
        if !missing.is_empty() {
            self.events.push_back(VoteEvent::Missing(missing));
        }
    }

    fn sign(&mut self) {
        let mut shares: Vec<Option<[u8; 32]>> = Vec::new();
        for (i, ballot) in self.agreed.iter().enumerate() {
            let author = u8::try_from(i).unwrap_or(u8::MAX);
            let share = self.reveals.agreed(i).and_then(|s| s.try_into().ok());
            let kept = |share: &[u8; 32]| {
                let made = commitment(&self.network, self.epoch, author, share);
                ballot.as_ref().is_some_and(|b| b.commitment == made)
            };
            shares.push(share.filter(kept));
        }
        let pairs = self.agreed.iter().zip(&shares);
        let withheld = indices(pairs.map(|(ballot, share)| ballot.is_some() && share.is_none()));
        if !withheld.is_empty() {
            self.events.push_back(VoteEvent::Withheld(withheld));
        }
        #[cfg(feature = "testing")]
        if self.planted == Some(Fault::ShareCountedTwice)
            && let Some(last) = shares.iter().rposition(Option::is_some)
        {
            shares.push(shares[last]);
            self.agreed.push(self.agreed[last].clone());
        }
        #[cfg(feature = "testing")]
        if self.planted == Some(Fault::OneSuspicionMarks) {
            let all = self.agreed.iter().flatten();
            let mut all: Vec<_> = all.flat_map(|b| b.suspects.clone()).collect();
            all.sort_unstable();
            all.dedup();
            let ballots = self.agreed.iter_mut().flatten();
            ballots.for_each(|b| b.suspects.clone_from(&all));
        }
        let outcome = tally(
            &self.network,
            (self.epoch, self.times),
            &self.agreed,
            &shares,
            self.previous.as_deref(),
        );
        match outcome {
            Ok(Outcome { directory }) => self.sign_this(&directory),
            Err(blocked) => self.events.push_back(VoteEvent::Blocked(blocked)),
        }
    }

    /// Our one signature.
    fn sign_this(&mut self, directory: &Directory) {
        let signed = SignedDirectory::sign(directory, self.index, &self.secret);
        self.signed = Some(signed.hash());
        self.pending = Some(signed.clone());
        self.events.push_back(VoteEvent::Persist(signed));
    }

    /// Whether there is something to show again and again.
    fn shows(&self) -> bool {
        let shown = self.signed.is_some() && self.pending.is_none();
        self.phase == Phase::Decided || (self.phase == Phase::Signatures && shown)
    }

    /// Who could not count takes the word of more than f others.
    fn adopt(&mut self) {
        if self.phase < Phase::Signatures || self.phase == Phase::Decided || self.signed.is_some() {
            return;
        }
        let least = usize::try_from(self.times.rounds).unwrap_or(usize::MAX);
        let read = |s: &SignedDirectory| s.read(&self.network).ok();
        let directory = self.signatures.signed_by(least).find_map(read);
        if let Some(directory) = directory {
            self.sign_this(&directory);
        }
    }

    /// Our signature with all others that came for the same; or, once there is one, the directory.
    fn show(&mut self, now: UnixTime) {
        self.repeat = now.saturating_add(self.times.round);
        let least = self.enough();
        let decided = self.phase == Phase::Decided;
        let decided = decided.then(|| self.signatures.signed_by(least).next());
        let own = self.signed.and_then(|hash| self.signatures.document(&hash));
        if let Some(signed) = decided.flatten().or(own) {
            let message = VoteMessage::Signature(signed.clone());
            self.transmits.push_back(message);
        }
    }

    fn enough(&self) -> usize {
        let threshold = usize::from(self.network.threshold());
        #[cfg(feature = "testing")]
        let threshold = threshold - usize::from(self.planted == Some(Fault::ThresholdOneLess));
        threshold
    }

    fn decide(&mut self, now: UnixTime) {
        if self.phase < Phase::Signatures || self.phase == Phase::Decided {
            return;
        }
        let makes_sense = |s: &&SignedDirectory| s.read(&self.network).is_ok();
        let enough = self.signatures.signed_by(self.enough()).find(makes_sense);
        let decided = enough.cloned();
        if let Some(signed) = decided {
            self.phase = Phase::Decided;
            self.events.push_back(VoteEvent::Decided(signed));
            self.show(now);
        }
    }
}

fn indices(flags: impl Iterator<Item = bool>) -> Vec<u8> {
    let set = flags.enumerate().filter(|(_, flag)| *flag);
    set.filter_map(|(i, _)| u8::try_from(i).ok()).collect()
}
