//! What faulty authorities do. They know each other's keys, everything that honest ones ever said, and the
//! time; they have no honest one's key.

use crate::ballots::{all_suspects, ballot, share};
use crate::common::SEED;
use crate::schedule::{Vices, below};
use crate::world::World;
use directory::SignedDirectory;
use directory::testing::authority_secret;
use directory::vote::{Statement, StatementKind, VoteMessage, commitment};
use std::sync::Arc;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// So many things said are remembered, for replays.
const SEEN_MAX: usize = 400;

/// What all of them together know.
#[derive(Default)]
pub(crate) struct Adversary {
    seen: Vec<VoteMessage>,
}

impl Adversary {
    pub(crate) fn see(&mut self, message: &VoteMessage) {
        if self.seen.len() < SEEN_MAX {
            self.seen.push(message.clone());
        }
    }

    /// To whom a faulty one passes on what its inner, honest part would have said, and when, if not now.
    pub(crate) fn passes_on(
        world: &mut World,
        i: usize,
        vices: Vices,
        message: &VoteMessage,
        now: UnixTime,
    ) -> Vec<(usize, Option<UnixTime>)> {
        let own = |kind| {
            matches!(message, VoteMessage::Statement(s)
                if usize::from(s.author) == i && s.kind == kind)
        };
        let another_way = vices.equivocates || vices.last_moment.is_some();
        if vices.silent
            || (own(StatementKind::Ballot) && another_way)
            || (own(StatementKind::Reveal) && vices.withholds.is_some())
        {
            return Vec::new();
        }
        let round = world.times.round.as_millis() as u64;
        let later = world.round_of(now) + below(&mut world.rng, 3);
        let edge = world.times.start.0 + (later + 1) * round - round / 16 - 2;
        let at = vices.holds_back.then(|| UnixTime(edge.max(now.0 + 1)));
        let mut says = |_: &usize| !vices.selective || below(&mut world.rng, 2) == 0;
        let to: Vec<usize> = (0..world.plan.n).filter(&mut says).collect();
        to.into_iter().map(|to| (to, at)).collect()
    }

    /// What it does of its own accord at this moment.
    pub(crate) fn act(
        &mut self,
        world: &mut World,
        i: usize,
        vices: Vices,
        now: UnixTime,
    ) -> Vec<(usize, VoteMessage)> {
        let mut out = Vec::new();
        if vices.silent {
            return out;
        }
        let (n, k) = (world.plan.n as u64, world.round_of(now));
        let rounds = u64::from(world.times.rounds);
        let edge = now.saturating_since(world.times.start).as_millis() as u64;
        let round = world.times.round.as_millis() as u64;
        let edge = edge % round.max(1) == round - round / 16 - 2;
        let anybody = |world: &mut World| below(&mut world.rng, n) as usize;
        if vices.equivocates && k == 0 && edge {
            for to in 0..world.plan.n {
                let variant = below(&mut world.rng, 4);
                if variant < 3 {
                    let statement = ballot_of(world, i, variant);
                    let statement = by_all_faulty(world, statement);
                    out.push((to, VoteMessage::Statement(statement)));
                }
            }
        }
        if vices.last_moment == Some(k) && edge {
            let statement = ballot_of(world, i, 5);
            let statement = by_all_faulty(world, statement);
            out.push((anybody(world), VoteMessage::Statement(statement)));
        }
        if vices.withholds == Some(true) && (rounds..2 * rounds).contains(&k) && edge {
            let words = share(i, world.vote()).to_vec();
            let statement = say(world, StatementKind::Reveal, world.vote(), i, words);
            let statement = by_all_faulty(world, statement);
            out.push((anybody(world), VoteMessage::Statement(statement)));
        }
        if vices.two_shares && k + 1 >= rounds {
            let words = vec![below(&mut world.rng, 200) as u8; 32];
            let statement = say(world, StatementKind::Reveal, world.vote(), i, words);
            let statement = by_all_faulty(world, statement);
            out.push((anybody(world), VoteMessage::Statement(statement)));
        }
        if vices.forges {
            let mut forged = ballot_of(world, i, 3);
            forged.author = anybody(world) as u8;
            let before = match world.vote() {
                (epoch, attempt) if attempt > 1 => (epoch, attempt - 1),
                (epoch, _) => (epoch.previous(), 0),
            };
            let words = forged.payload.to_vec();
            let old = say(world, StatementKind::Ballot, before, i, words);
            let mut twice = ballot_of(world, i, 3);
            twice.signatures = vec![twice.signatures[0]; 3];
            for letter in [forged, old, twice] {
                out.push((anybody(world), VoteMessage::Statement(letter)));
            }
        }
        if vices.replays && !self.seen.is_empty() {
            for _ in 0..3 {
                let which = below(&mut world.rng, self.seen.len() as u64) as usize;
                let mut again = self.seen[which].clone();
                if let VoteMessage::Statement(statement) = &mut again {
                    // Under its own name, or stripped of what others added, or as it was.
                    match below(&mut world.rng, 4) {
                        0 => statement.author = i as u8,
                        1 => statement.signatures.truncate(1),
                        2 => *statement = by_all_faulty(world, statement.clone()),
                        _ => {}
                    }
                }
                out.push((anybody(world), again));
            }
        }
        if vices.floods {
            out.extend(flood(world, i));
        }
        if vices.signs_all {
            let of_now = |m: &VoteMessage| match m {
                VoteMessage::Signature(s) => (s.epoch() == Some(world.epoch)).then(|| s.clone()),
                VoteMessage::Statement(_) => None,
            };
            let signed: Vec<_> = self.seen.iter().rev().filter_map(of_now).collect();
            let mut documents: Vec<SignedDirectory> = Vec::new();
            for document in signed {
                if documents.iter().all(|d| d.hash() != document.hash()) {
                    documents.push(document);
                }
            }
            for mut document in documents {
                for by in world.plan.faulty.keys() {
                    let secret = authority_secret(SEED, *by);
                    document.sign_for_test(world.network.id(), *by as u8, &secret);
                }
                let to = anybody(world);
                out.push((to, VoteMessage::Signature(document)));
            }
        }
        out
    }
}

/// Garbage: its own words by the dozen, wrong signatures, and directories that nobody else signed.
fn flood(world: &mut World, i: usize) -> Vec<(usize, VoteMessage)> {
    let mut out = Vec::new();
    for _ in 0..12 {
        let to = below(&mut world.rng, world.plan.n as u64) as usize;
        let words = vec![below(&mut world.rng, 256) as u8; 40];
        let kind = match below(&mut world.rng, 2) {
            0 => StatementKind::Ballot,
            _ => StatementKind::Reveal,
        };
        let words = match kind {
            StatementKind::Ballot => words,
            StatementKind::Reveal => words[..32].to_vec(),
        };
        let mut statement = say(world, kind, world.vote(), i, words);
        if below(&mut world.rng, 2) == 0 {
            statement.signatures[0].1[5] ^= 1;
        }
        out.push((to, VoteMessage::Statement(statement)));
        // The beginning of a body of this epoch, and then nothing.
        let mut body = b"MZDR\x01".to_vec();
        body.extend_from_slice(&world.network.id().0);
        body.extend_from_slice(&world.epoch.0.to_be_bytes());
        body.push(below(&mut world.rng, 256) as u8);
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes.push(0);
        let mut document = SignedDirectory::decode(&bytes).unwrap();
        let secret = authority_secret(SEED, i);
        document.sign_for_test(world.network.id(), i as u8, &secret);
        out.push((to, VoteMessage::Signature(document)));
    }
    out
}

fn ballot_of(world: &World, i: usize, variant: u64) -> Statement {
    let vote = world.vote();
    let mut ballot = ballot(&world.network, vote, variant);
    ballot.commitment = commitment(&world.network, vote.0, i as u8, &share(i, vote));
    ballot.suspects = all_suspects();
    say(world, StatementKind::Ballot, vote, i, ballot.encode())
}

fn say(
    world: &World,
    kind: StatementKind,
    (epoch, attempt): (Epoch, u32),
    by: usize,
    words: Vec<u8>,
) -> Statement {
    let mut statement = Statement {
        kind,
        epoch,
        attempt,
        author: by as u8,
        payload: Arc::from(words),
        signatures: Vec::new(),
    };
    let secret = authority_secret(SEED, by);
    statement.sign_for_test(&world.network, by as u8, &secret);
    statement
}

/// Accomplices sign whatever it says.
fn by_all_faulty(world: &World, mut statement: Statement) -> Statement {
    for by in world.plan.faulty.keys() {
        let secret = authority_secret(SEED, *by);
        statement.sign_for_test(&world.network, *by as u8, &secret);
    }
    statement
}
