//! From the ballots that all hold to the directory that all sign: the same ballots, the same bytes.
//! `docs/spec/directory.md` §8.

use super::ballot::Ballot;
use super::times::VoteTimes;
use crate::authority::layers;
use crate::body;
use crate::descriptor::SignedDescriptor;
use crate::document::{Directory, Family, NodeDescriptor, Preamble, Role};
use crate::marks;
use crate::network::Network;
use crate::parameters::Parameters;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use wire::codec::Writer;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NodeId};

const RANDOM: &[u8] = b"mizzle-shared-random-v1";

/// What the ballots come to.
pub struct Outcome {
    /// To be signed.
    pub directory: Directory,
}

/// Why ballots make no directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// Fewer ballots count than signatures would be needed.
    TooFewBallots {
        /// How many do.
        ballots: usize,
    },
    /// More than half of them follow a directory that is not ours; it must be fetched first.
    Behind(DirectoryHash),
    /// No set of parameters has more than half of the ballots, and there is no directory before to
    /// take them from.
    NoParameters,
    /// A layer or the gateways would be empty.
    TooFewNodes {
        /// Usable mixes.
        mixes: usize,
        /// Usable gateways.
        gateways: usize,
    },
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewBallots { ballots } => write!(
                f,
                "only {ballots} authorities voted in time; look at those that are missing"
            ),
            Self::Behind(_) => write!(
                f,
                "most authorities follow a directory that is not here; it will be fetched"
            ),
            Self::NoParameters => write!(f, "the authorities do not agree on the parameters"),
            Self::TooFewNodes { mixes, gateways } => write!(
                f,
                "{mixes} mixes and {gateways} gateways are usable; at least 3 and 1 are needed"
            ),
        }
    }
}

impl std::error::Error for Blocked {}

/// Counts, for the directory of `epoch` and by who was alive when the vote began. `ballots` and `shares` by authority; a share counts with its ballot only.
pub fn tally(
    network: &Network,
    (epoch, times): (Epoch, VoteTimes),
    ballots: &[Option<Ballot>],
    shares: &[Option<[u8; 32]>],
    previous: Option<&Directory>,
) -> Result<Outcome, Blocked> {
    let votes: Vec<&Ballot> = ballots.iter().flatten().collect();
    if votes.len() < usize::from(network.threshold()) {
        let ballots = votes.len();
        return Err(Blocked::TooFewBallots { ballots });
    }
    let none = DirectoryHash([0; 32]);
    let ours = previous.map_or(none, Directory::hash);
    let follows = majority(votes.iter().map(|b| b.previous), votes.len());
    if let Some(other) = follows.filter(|hash| *hash != ours) {
        return Err(Blocked::Behind(other));
    }
    let parameters = parameters(&votes, previous).ok_or(Blocked::NoParameters)?;
    let usable = usable(network, (epoch, times), &votes);
    let (gateways, mixes): (Vec<_>, Vec<_>) =
        usable.into_iter().partition(|n| n.role == Role::Gateway);
    let too_few = Blocked::TooFewNodes {
        mixes: mixes.len(),
        gateways: gateways.len(),
    };
    let (shared_random, withheld) = randomness(network, epoch, ballots, shares, previous);
    let mut remembered = previous.map_or_else(BTreeMap::new, layers::of);
    let layers = layers::assign(mixes, &mut remembered, &shared_random);
    let suspects: Vec<&[NodeId]> = votes.iter().map(|b| &b.suspects[..]).collect();
    let marks = marks::of(previous, &layers, &suspects);
    let schedule = network.schedule();
    let preamble = Preamble {
        network: *network.id(),
        epoch,
        schedule,
        valid_from: schedule.start(epoch),
        // Twice as long as needed: without a successor this one holds for one epoch more.
        valid_until: schedule.start(epoch.next().next()),
        previous: ours,
        geometry: GeometryHash::current(),
        parameters,
        shared_random,
        withheld,
    };
    let directory = Directory::new(preamble, layers, gateways);
    let directory = directory.and_then(|d| d.with_marks(marks));
    let directory = directory.map_err(|_| too_few)?;
    Ok(Outcome { directory })
}

/// The value that more than half of `of` have.
fn majority<T: Ord>(values: impl Iterator<Item = T>, of: usize) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let most = counts.into_iter().find(|(_, count)| *count * 2 > of);
    most.map(|(value, _)| value)
}

fn parameters(votes: &[&Ballot], previous: Option<&Directory>) -> Option<Parameters> {
    let bytes = |p: &Parameters| {
        let mut w = Writer::default();
        body::put_parameters(&mut w, p);
        w.into_vec()
    };
    let most = majority(votes.iter().map(|b| bytes(&b.parameters)), votes.len());
    let voted = most.and_then(|most| votes.iter().find(|b| bytes(&b.parameters) == most));
    let voted = voted.map(|b| b.parameters.clone());
    voted.or_else(|| previous.map(|p| p.parameters.clone()))
}

/// Nodes that more than half of the ballots admit in one role, each by the newest descriptor that any
/// ballot has: a node is its own witness, so one honest authority that heard of it is enough.
fn usable(
    network: &Network,
    (epoch, times): (Epoch, VoteTimes),
    votes: &[&Ballot],
) -> Vec<NodeDescriptor> {
    let mut newest: BTreeMap<NodeId, Vec<&SignedDescriptor>> = BTreeMap::new();
    for signed in votes.iter().flat_map(|b| &b.descriptors) {
        let of_node = newest.entry(signed.descriptor.id()).or_default();
        if !of_node.contains(&signed) {
            of_node.push(signed);
        }
    }
    let admitted = votes.iter().flat_map(|b| &b.admitted);
    let places = admitted.map(|a| (NodeId::of(&a.identity), (role(a.role), a.family)));
    let mut places_by_node: BTreeMap<NodeId, Vec<(u8, Family)>> = BTreeMap::new();
    places.for_each(|(id, place)| places_by_node.entry(id).or_default().push(place));
    let node = |(id, mut candidates): (NodeId, Vec<&SignedDescriptor>)| {
        let places = places_by_node.remove(&id)?;
        let (voted_role, family) = majority(places.into_iter(), votes.len())?;
        // Newest first; of one moment the larger signature, so that all choose the same.
        candidates.sort_by_key(|d| std::cmp::Reverse((d.published, d.signature)));
        let good = |d: &&&SignedDescriptor| {
            let node = &d.descriptor;
            let keys = [epoch, epoch.next()].map(|e| node.sphinx_key(e).is_some());
            role(node.role) == voted_role
                && keys == [true, true]
                && times.counts(d.published)
                && d.unreachable(network).is_none()
                && d.verify(network.id()).is_ok()
        };
        let mut node = candidates.iter().find(good)?.descriptor.clone();
        node.family = family;
        let wanted = |e: Epoch| e == epoch || e == epoch.next();
        node.sphinx_keys.retain(|k| wanted(k.epoch));
        Some(node)
    };
    newest.into_iter().filter_map(node).collect()
}

/// Everybody's shares in one, and who withheld theirs as a set of bits. Whoever withheld one in the
/// directory before does not take part in this one's: a share that may be withheld again is a choice
/// between two outcomes.
fn randomness(
    network: &Network,
    epoch: Epoch,
    ballots: &[Option<Ballot>],
    shares: &[Option<[u8; 32]>],
    previous: Option<&Directory>,
) -> ([u8; 32], u64) {
    let penalised = previous.map_or(0, |p| p.withheld);
    let mut withheld = 0;
    let mut hash = Sha256::new();
    hash.update(RANDOM);
    hash.update(network.id().0);
    hash.update(epoch.0.to_be_bytes());
    hash.update(previous.map_or([0; 32], |p| p.shared_random));
    for (author, (ballot, share)) in ballots.iter().zip(shares).enumerate().take(64) {
        let bit = 1u64 << author;
        match (ballot, share) {
            (Some(_), None) => withheld |= bit,
            (Some(_), Some(share)) if penalised & bit == 0 => {
                hash.update([author as u8]);
                hash.update(share);
            }
            (Some(_), Some(_)) | (None, _) => {}
        }
    }
    (hash.finalize().into(), withheld)
}

fn role(role: Role) -> u8 {
    match role {
        Role::Mix => 0,
        Role::Gateway => 1,
    }
}
