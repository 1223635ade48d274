//! An authority: collects descriptors and makes directories of them. `docs/spec/directory.md` §6.
//!
//! Not here: HTTP, files and the clock (`topology`), and votes among several authorities, which
//! come later: [`Authority::new`] refuses a network whose threshold is above 1. Who stands in which
//! layer is in `authority/layers.rs`.

mod admission;
pub(crate) mod layers;

pub use admission::{Accepted, Admitted, DescriptorRefused};

use crate::body;
use crate::descriptor::SignedDescriptor;
use crate::document::{Directory, NodeDescriptor, Preamble, Role};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::refused::DirectoryRefused;
use crate::signed::SignedDirectory;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::keys::IdentitySecret;
use wire::time::UnixTime;

/// Directories that an authority keeps to hand out; older ones are forgotten.
pub const KEPT_MAX: usize = 4;
/// Most nodes on an allow-list; what fits into one document with room to spare.
pub const ADMITTED_MAX: usize = 8192;

const CONTEXT_RANDOM: &str = "mizzle-shared-random-v1";
const RETRY: Duration = Duration::from_secs(1);

/// How an authority goes about it.
pub struct AuthorityConfig {
    /// Its network.
    pub network: Network,
    /// What it puts into directories.
    pub parameters: Parameters,
    /// Which nodes may take part, as what. At most [`ADMITTED_MAX`].
    pub admitted: Vec<Admitted>,
    /// With so many nodes at hand a directory that is due does not wait.
    pub expected_nodes: usize,
    /// So long a directory that is due waits for the others.
    pub grace: Duration,
}

/// Why an authority cannot start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthorityError {
    /// Its key is not among the network's authorities.
    NotListed,
    /// The network wants more signatures than one; votes are not built yet.
    NeedsVotes,
    /// A parameter is out of bounds; the name says which.
    BadParameter(&'static str),
    /// The same node is on the allow-list twice.
    AdmittedTwice(NodeId),
    /// More than [`ADMITTED_MAX`] nodes are on the allow-list.
    TooManyAdmitted,
    /// A kept directory does not hold any more under this network.
    BadKept(DirectoryRefused),
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => write!(
                f,
                "this authority's key is not in network.toml; add it there, or use the right key"
            ),
            Self::NeedsVotes => write!(
                f,
                "network.toml asks for more than one signature; only one authority is supported \
                 so far"
            ),
            Self::BadParameter(name) => write!(f, "parameter {name} is out of bounds"),
            Self::AdmittedTwice(id) => write!(f, "node {id} is on the allow-list twice"),
            Self::TooManyAdmitted => {
                write!(f, "more than {ADMITTED_MAX} nodes are on the allow-list")
            }
            Self::BadKept(why) => write!(
                f,
                "a directory kept in the data folder does not hold ({why}); the folder belongs to \
                 another network, or is damaged"
            ),
        }
    }
}

impl std::error::Error for AuthorityError {}

/// Something for the owner.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorityEvent {
    /// Make this durable, then call [`Authority::handle_persisted`]; if it cannot be done,
    /// [`Authority::handle_persist_failed`]. It must not be shown to anybody before.
    Persist(Epoch, SignedDirectory),
    /// From now on this is handed out.
    Published(Epoch, DirectoryHash),
    /// A directory is due and cannot be made: there are so many usable mixes and gateways, and at
    /// least 3 and 1 are needed. Told once for each epoch.
    Blocked {
        /// For this epoch.
        epoch: Epoch,
        /// Usable mixes.
        mixes: usize,
        /// Usable gateways.
        gateways: usize,
    },
}

struct Kept {
    directory: Arc<Directory>,
    document: Arc<[u8]>,
}

/// The machine. Call `handle_*` when something happens, then [`Authority::poll_event`] until it
/// gives nothing, then arm a timer by [`Authority::poll_timeout`]. It is asked and never sends, so
/// there is no `poll_transmit`.
///
/// It signs one directory for an epoch, ever: a signed one is handed to the owner to be kept before
/// it is shown, and what was kept is given back to [`Authority::new`].
pub struct Authority {
    config: AuthorityConfig,
    secret: IdentitySecret,
    index: u8,
    admitted: BTreeMap<NodeId, Admitted>,
    /// One for each admitted node at most.
    descriptors: BTreeMap<NodeId, SignedDescriptor>,
    /// Where mixes stood last, also of those that are away. One for each admitted node at most.
    layers: BTreeMap<NodeId, usize>,
    /// Ascending epochs, at most [`KEPT_MAX`].
    kept: VecDeque<Kept>,
    pending: Option<Pending>,
    blocked: Option<Epoch>,
    events: VecDeque<AuthorityEvent>,
    started: UnixTime,
    now: UnixTime,
}

struct Pending {
    directory: Arc<Directory>,
    signed: SignedDirectory,
    /// Hand it out to be kept again then.
    retry: Option<UnixTime>,
}

impl Authority {
    /// `kept` are the documents persisted before, in any order.
    pub fn new(
        config: AuthorityConfig,
        secret: IdentitySecret,
        kept: Vec<SignedDirectory>,
        now: UnixTime,
    ) -> Result<Self, AuthorityError> {
        let network = &config.network;
        let index = network
            .authority_index(&secret.public())
            .ok_or(AuthorityError::NotListed)?;
        if network.threshold() > 1 {
            return Err(AuthorityError::NeedsVotes);
        }
        let checked = config.parameters.check(&network.schedule());
        checked.map_err(AuthorityError::BadParameter)?;
        let admitted = admission::index(&config.admitted)?;
        let kept = restore(kept, network)?;
        let layers = kept
            .back()
            .map_or_else(BTreeMap::new, |kept| layers::of(&kept.directory));
        let mut authority = Self {
            config,
            secret,
            index,
            admitted,
            descriptors: BTreeMap::new(),
            layers,
            kept,
            pending: None,
            blocked: None,
            events: VecDeque::new(),
            started: now,
            now,
        };
        authority.handle_timeout(now);
        Ok(authority)
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

    /// The time announced by [`Authority::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: UnixTime) {
        self.now = now;
        if let Some(pending) = &mut self.pending {
            if pending.retry.is_some_and(|at| now >= at) {
                pending.retry = None;
                let event =
                    AuthorityEvent::Persist(pending.directory.epoch, pending.signed.clone());
                self.events.push_back(event);
            }
            return;
        }
        let (target, due, deadline) = self.next_publication();
        if now < due {
            return;
        }
        let usable = self.usable(target);
        if usable.len() >= self.config.expected_nodes || now >= deadline {
            self.publish(target, usable);
        }
    }

    /// The document of the last [`AuthorityEvent::Persist`] is durable.
    pub fn handle_persisted(&mut self, now: UnixTime) {
        let Some(Pending {
            directory, signed, ..
        }) = self.pending.take()
        else {
            return;
        };
        let published = AuthorityEvent::Published(directory.epoch, directory.hash());
        self.kept.push_back(Kept {
            directory,
            document: signed.encode().into(),
        });
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        self.events.push_back(published);
        self.handle_timeout(now);
    }

    /// It could not be made durable. The same document is handed out again after a second; no
    /// other one is made for its epoch.
    pub fn handle_persist_failed(&mut self, now: UnixTime) {
        if let Some(pending) = &mut self.pending {
            pending.retry = Some(now.saturating_add(RETRY));
        }
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<AuthorityEvent> {
        self.events.pop_front()
    }

    /// When to call [`Authority::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(UnixTime, &'static str)> {
        if let Some(pending) = &self.pending {
            return pending.retry.map(|at| (at, "keep again"));
        }
        let (target, due, deadline) = self.next_publication();
        if self.now < due {
            Some((due, "directory due"))
        } else if self.now < deadline {
            Some((deadline, "end of grace"))
        } else {
            // Blocked: only a descriptor or the next epoch changes that.
            let schedule = self.config.network.schedule();
            let next = schedule.start(schedule.epoch_at(self.now).next());
            Some((next.max(schedule.start(target)), "next epoch"))
        }
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

    /// Nodes on the allow-list, those with a descriptor here, and those of them that would stand in
    /// the next directory.
    pub fn counts(&self) -> (usize, usize, usize) {
        let (target, ..) = self.next_publication();
        let usable = self.usable(target).len();
        (self.admitted.len(), self.descriptors.len(), usable)
    }

    /// Which epoch is next, when its directory is due, and until when it waits for nodes.
    fn next_publication(&self) -> (Epoch, UnixTime, UnixTime) {
        let schedule = self.config.network.schedule();
        let current = schedule.epoch_at(self.now);
        let after_start = self.started.saturating_add(self.config.grace);
        let last = self.kept.back().map(|k| k.directory.epoch);
        match last {
            None => (current, self.started, after_start),
            // Nodes are waiting for this one: it is late.
            Some(last) if last < current => (current, self.started, after_start),
            // In the middle of its last epoch: half an epoch for nodes to upload new keys, half
            // for everybody to fetch the result.
            Some(last) => {
                let due = schedule.start(last).saturating_add(schedule.length / 2);
                let grace = self.config.grace.min(schedule.length / 4);
                (last.next(), due, due.saturating_add(grace).max(after_start))
            }
        }
    }

    /// Descriptors as they would stand in the directory of `epoch`, by ascending id: with keys for
    /// that epoch and the next and no others, and of the family that the allow-list says.
    fn usable(&self, epoch: Epoch) -> Vec<NodeDescriptor> {
        let node = |(id, signed): (&NodeId, &SignedDescriptor)| {
            let admitted = self.admitted.get(id)?;
            let mut node = signed.descriptor.clone();
            node.family = admitted.family;
            node.sphinx_keys
                .retain(|k| k.epoch == epoch || k.epoch == epoch.next());
            (node.sphinx_keys.len() == 2).then_some(node)
        };
        self.descriptors.iter().filter_map(node).collect()
    }

    fn publish(&mut self, epoch: Epoch, usable: Vec<NodeDescriptor>) {
        let (gateways, mixes): (Vec<_>, Vec<_>) =
            usable.into_iter().partition(|n| n.role == Role::Gateway);
        let counts = (mixes.len(), gateways.len());
        let shared_random = self.shared_random(epoch);
        let layers = layers::assign(mixes, &mut self.layers, &shared_random);
        let schedule = self.config.network.schedule();
        let last = self.kept.back().map(|k| k.directory.hash());
        let preamble = Preamble {
            network: *self.config.network.id(),
            epoch,
            schedule,
            valid_from: schedule.start(epoch),
            // Twice as long as needed: a late successor then stops no traffic, at the price that
            // a node that was thrown out is used for one epoch longer by whoever is cut off from
            // newer directories.
            valid_until: schedule.start(epoch.next().next()),
            previous: last.unwrap_or(DirectoryHash([0; 32])),
            geometry: GeometryHash::current(),
            parameters: self.config.parameters.clone(),
            shared_random,
            withheld: 0,
        };
        match Directory::new(preamble, layers, gateways) {
            Ok(directory) => {
                let signed = SignedDirectory::sign(&directory, self.index, &self.secret);
                self.events
                    .push_back(AuthorityEvent::Persist(epoch, signed.clone()));
                self.pending = Some(Pending {
                    directory: Arc::new(directory),
                    signed,
                    retry: None,
                });
            }
            Err(_) if self.blocked == Some(epoch) => {}
            Err(_) => {
                self.blocked = Some(epoch);
                let (mixes, gateways) = counts;
                self.events.push_back(AuthorityEvent::Blocked {
                    epoch,
                    mixes,
                    gateways,
                });
            }
        }
    }

    /// What no node can foresee or wish for, and this authority cannot choose: its signature over
    /// the epoch, which Ed25519 makes in one way only. Commit–reveal among several authorities
    /// takes its place with votes.
    fn shared_random(&self, epoch: Epoch) -> [u8; 32] {
        let text = [&self.config.network.id().0[..], &epoch.0.to_be_bytes()].concat();
        Sha256::digest(self.secret.sign(CONTEXT_RANDOM, &text)).into()
    }
}

/// Verifies what was kept and puts it in order; of too many, the newest stay.
fn restore(
    kept: Vec<SignedDirectory>,
    network: &Network,
) -> Result<VecDeque<Kept>, AuthorityError> {
    let mut by_epoch = BTreeMap::new();
    for signed in kept {
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

const _: () = assert!(ADMITTED_MAX * 340 <= body::BODY_MAX);
