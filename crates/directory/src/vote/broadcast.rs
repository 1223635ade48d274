//! Signed broadcast: whatever up to f authorities do, all honest ones end with the same statement of
//! each author, or with none. See [`super`] for the source.
//!
//! The rule that carries the proof: in round k a statement counts with at least k signatures. One that
//! an honest authority takes up in its last round has f + 1 of them, so an honest one signed it
//! earlier, and passed it on to everybody in time.

use super::VoteTimes;
use super::statement::{Statement, StatementKind, StatementRefused};
use crate::network::Network;
use std::collections::VecDeque;
use wire::ids::Epoch;
use wire::keys::IdentitySecret;

/// Different statements of one author that are passed on: two prove that it cheats, more prove nothing more.
const PASSED_ON_MAX: usize = 2;

/// Two statements of one author about the same thing.
#[derive(Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// One.
    pub one: Statement,
    /// The other.
    pub other: Statement,
}

/// What became of a statement.
pub type Taken = Result<bool, StatementRefused>;

/// One kind of statement in one epoch.
pub(super) struct Broadcast {
    kind: StatementKind,
    epoch: Epoch,
    attempt: u32,
    index: u8,
    rounds: u32,
    /// By author: what was taken up, at most [`PASSED_ON_MAX`].
    extracted: Vec<Vec<Statement>>,
    transmits: VecDeque<Statement>,
    equivocations: VecDeque<Equivocation>,
    /// A planted fault, see [`super::Fault`].
    #[cfg(feature = "testing")]
    pub(super) lenient: bool,
    /// Another.
    #[cfg(feature = "testing")]
    pub(super) first_counts: bool,
}

impl Broadcast {
    pub(super) fn new(
        kind: StatementKind,
        (epoch, times): (Epoch, VoteTimes),
        index: u8,
        network: &Network,
    ) -> Self {
        Self {
            kind,
            epoch,
            attempt: times.attempt,
            index,
            rounds: times.rounds,
            extracted: vec![Vec::new(); network.authorities().len()],
            transmits: VecDeque::new(),
            equivocations: VecDeque::new(),
            #[cfg(feature = "testing")]
            lenient: false,
            #[cfg(feature = "testing")]
            first_counts: false,
        }
    }

    /// Says something of one's own, in round 1.
    pub(super) fn say(&mut self, payload: Vec<u8>, network: &Network, secret: &IdentitySecret) {
        let own = (self.index, secret);
        let about = (self.kind, self.epoch, self.attempt);
        let statement = Statement::by(about, payload.into(), network, own);
        if let Some(extracted) = self.extracted.get_mut(usize::from(self.index)) {
            extracted.push(statement.clone());
            self.transmits.push_back(statement);
        }
    }

    /// Takes up a statement that came in `round` (from 1); true when it is news.
    pub(super) fn handle(
        &mut self,
        mut statement: Statement,
        round: u32,
        network: &Network,
        secret: &IdentitySecret,
    ) -> Taken {
        if (statement.epoch, statement.attempt) != (self.epoch, self.attempt) {
            return Err(StatementRefused::OtherEpoch);
        }
        let known = self.extracted.get(usize::from(statement.author));
        let known = known.ok_or(StatementRefused::UnknownAuthority)?;
        // Cheap checks first; most of what comes is what we have.
        let same = |k: &Statement| k.payload == statement.payload;
        if known.len() >= PASSED_ON_MAX || known.iter().any(same) {
            return Ok(false);
        }
        let signed = u32::try_from(statement.signatures.len()).unwrap_or(u32::MAX);
        #[cfg(feature = "testing")]
        let signed = signed + u32::from(self.lenient);
        if round > self.rounds || signed < round {
            return Err(StatementRefused::TooLate);
        }
        statement.verify(network)?;
        let passed_on = {
            let mut next = statement.clone();
            next.countersign(network, self.index, secret);
            next
        };
        statement.signatures.clone_from(&passed_on.signatures);
        let Some(extracted) = self.extracted.get_mut(usize::from(statement.author)) else {
            return Err(StatementRefused::UnknownAuthority);
        };
        extracted.push(statement);
        if let [one, other] = &extracted[..] {
            self.equivocations.push_back(Equivocation {
                one: one.clone(),
                other: other.clone(),
            });
        }
        // In the last round nobody could take it up any more.
        if round < self.rounds {
            self.transmits.push_back(passed_on);
        }
        Ok(true)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Statement> {
        self.transmits.pop_front()
    }

    pub(super) fn poll_equivocation(&mut self) -> Option<Equivocation> {
        self.equivocations.pop_front()
    }

    /// After the last round: what an author said, if it said one thing.
    pub(super) fn agreed(&self, author: usize) -> Option<&[u8]> {
        match self.extracted.get(author).map(Vec::as_slice) {
            Some([one]) => Some(&one.payload),
            #[cfg(feature = "testing")]
            Some([one, _]) if self.first_counts => Some(&one.payload),
            Some(_) | None => None,
        }
    }

    /// Authors of whom there is something.
    pub(super) fn heard(&self) -> Vec<u8> {
        super::indices(self.extracted.iter().map(|e| !e.is_empty()))
    }
}
