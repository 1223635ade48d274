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
//! Not here: sockets, files and clocks (`topology`), and which descriptors an authority holds
//! ([`crate::Authority`]).

mod ballot;
mod broadcast;
mod statement;
mod tally;

pub use ballot::{BALLOT_MAX, Ballot, commitment};
pub use broadcast::{Equivocation, Taken};
pub use statement::{STATEMENT_MAX, Statement, StatementKind, StatementRefused};
pub use tally::{Blocked, Outcome, tally};

use crate::document::Directory;
use crate::network::Network;
use crate::signed::SignedDirectory;
use broadcast::Broadcast;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::ids::Epoch;
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// The parts of half an epoch: ballots, reveals and one round for signatures take this much of it.
const SHARE: u32 = 2;

/// When an epoch's vote does what. All authorities of a network compute the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteTimes {
    /// First round of ballots.
    pub start: UnixTime,
    /// Length of a round, Δ: longer than a message takes plus what two clocks differ by.
    pub round: Duration,
    /// Rounds of each of the two broadcasts, f + 1.
    pub rounds: u32,
    /// After this no signature is of use any more.
    pub end: UnixTime,
}

impl VoteTimes {
    /// The vote on `epoch`'s directory begins in the middle of the epoch before, and the two broadcasts
    /// and one round of signatures take half of what is left then.
    pub fn of(network: &Network, epoch: Epoch) -> Self {
        let schedule = network.schedule();
        let faulty = network.authorities().len().saturating_sub(1) / 3;
        let rounds = u32::try_from(faulty + 1).unwrap_or(u32::MAX);
        let end = schedule.start(epoch);
        let half = schedule.length / 2;
        let before = UnixTime(end.0.saturating_sub(millis(half)));
        Self {
            start: before,
            round: half / SHARE / (2 * rounds + 1),
            rounds,
            end,
        }
    }

    fn reveals(&self) -> UnixTime {
        self.start.saturating_add(self.round * self.rounds)
    }

    fn signatures(&self) -> UnixTime {
        self.start.saturating_add(self.round * self.rounds * 2)
    }
}

/// Something for the owner.
#[derive(Clone, PartialEq, Eq)]
pub enum VoteEvent {
    /// Make this durable, then call [`Vote::handle_persisted`]: our only signature for this epoch. It
    /// must not be shown to anybody before.
    Persist(SignedDirectory),
    /// Enough authorities signed.
    Decided(SignedDirectory),
    /// These authorities sent no ballot that counts, or none at all.
    Missing(Vec<u8>),
    /// An authority said two things; both, with its signatures, are the proof.
    Equivocated(Box<Equivocation>),
    /// These authorities sent a ballot and withheld their share of the randomness.
    Withheld(Vec<u8>),
    /// The ballots make no directory.
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
    /// There is none, and it is too late for one.
    Failed,
}

/// One authority's part in the vote of one epoch.
pub struct Vote {
    network: Network,
    epoch: Epoch,
    times: VoteTimes,
    secret: IdentitySecret,
    index: u8,
    previous: Option<Arc<Directory>>,
    phase: Phase,
    own: Option<(Ballot, Zeroizing<[u8; 32]>)>,
    ballots: Broadcast,
    reveals: Broadcast,
    agreed: Vec<Option<Ballot>>,
    /// What we computed and signed; shown once it is durable.
    signed: Option<SignedDirectory>,
    shown: bool,
    /// Signatures of others that came before we had ours; one for each authority at most.
    early: Vec<SignedDirectory>,
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
    /// The last share counts twice, the second time for nobody's.
    ShareCountedTwice,
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
    }

    /// The vote on `epoch`'s directory. `previous` is the directory that the new one follows, as far as
    /// we know; `signed` what we signed for this epoch before a restart, if anything: then we collect
    /// signatures for it and sign nothing else.
    pub fn new(
        network: Network,
        epoch: Epoch,
        (index, secret): (u8, IdentitySecret),
        previous: Option<Arc<Directory>>,
        signed: Option<SignedDirectory>,
    ) -> Self {
        let times = VoteTimes::of(&network, epoch);
        let broadcast = |kind| Broadcast::new(kind, epoch, index, &network, times.rounds);
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
            shown: signed.is_some(),
            signed,
            early: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            #[cfg(feature = "testing")]
            planted: None,
            network,
        }
    }

    /// What we vote for. Without it, or when it comes after the start, we take part in everything but
    /// have no ballot of our own. The share of the randomness is drawn here, and hidden in the
    /// ballot's commitment.
    pub fn handle_ballot(&mut self, mut ballot: Ballot, keys: &mut KeyRng) {
        if self.phase == Phase::Waiting {
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
        let Some(own) = &mut self.signed else {
            let room = self.early.len() < self.network.authorities().len();
            let new = room && !self.early.contains(&signed);
            if new {
                self.early.push(signed);
            }
            return new;
        };
        let before = own.signatures();
        let good = signed.verify_any(&self.network) && own.merge(&signed);
        let news = good && own.signatures() > before;
        self.decide();
        news
    }

    /// Our signature of the last [`VoteEvent::Persist`] is durable.
    pub fn handle_persisted(&mut self, now: UnixTime) {
        if let Some(signed) = self.signed.clone().filter(|_| !self.shown) {
            self.shown = true;
            self.transmits.push_back(VoteMessage::Signature(signed));
            for early in std::mem::take(&mut self.early) {
                self.handle_signature(early, now);
            }
            self.decide();
        }
    }

    /// The time announced by [`Vote::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        if self.phase == Phase::Waiting && now >= self.times.start {
            self.phase = Phase::Ballots;
            let own = self.own.as_ref().map(|(ballot, _)| ballot.encode());
            self.say(StatementKind::Ballot, own);
        }
        if self.phase == Phase::Ballots && now >= self.times.reveals() {
            self.phase = Phase::Reveals;
            self.count_ballots();
            let own = self.own.as_ref().map(|(_, share)| share.to_vec());
            self.say(StatementKind::Reveal, own);
        }
        if self.phase == Phase::Reveals && now >= self.times.signatures() {
            self.phase = Phase::Signatures;
            self.sign();
        }
        if self.phase == Phase::Signatures && now >= self.times.end {
            self.phase = Phase::Failed;
        }
    }

    /// When to call [`Vote::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(UnixTime, &'static str)> {
        match self.phase {
            Phase::Waiting => Some((self.times.start, "ballots")),
            Phase::Ballots => Some((self.times.reveals(), "reveals")),
            Phase::Reveals => Some((self.times.signatures(), "signatures")),
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
            && let (Some(Some(last)), Some(free)) = (
                shares.iter().rev().find(|s| s.is_some()).copied(),
                shares.iter().position(Option::is_none),
            )
        {
            shares[free] = Some(last);
            self.agreed[free] = self.agreed.iter().flatten().next().cloned();
        }
        // After a restart we stand by what we signed before.
        if self.signed.is_some() {
            return self.decide();
        }
        let outcome = tally(
            &self.network,
            self.epoch,
            &self.agreed,
            &shares,
            self.previous.as_deref(),
        );
        match outcome {
            Ok(Outcome { directory }) => {
                let signed = SignedDirectory::sign(&directory, self.index, &self.secret);
                self.events.push_back(VoteEvent::Persist(signed.clone()));
                self.signed = Some(signed);
            }
            Err(blocked) => self.events.push_back(VoteEvent::Blocked(blocked)),
        }
    }

    fn decide(&mut self) {
        let enough = usize::from(self.network.threshold());
        let open = matches!(self.phase, Phase::Signatures);
        if let Some(signed) = &self.signed
            && (open && self.shown && signed.signatures() >= enough)
        {
            self.phase = Phase::Decided;
            self.events.push_back(VoteEvent::Decided(signed.clone()));
        }
    }
}

fn indices(flags: impl Iterator<Item = bool>) -> Vec<u8> {
    let set = flags.enumerate().filter(|(_, flag)| *flag);
    set.filter_map(|(i, _)| u8::try_from(i).ok()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
