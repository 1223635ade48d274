//! Some authorities that talk to each other, with a disk each, under a virtual clock.

use crate::common::{SEED, network_on};
use directory::testing::{self, nobodys_key};
use directory::vote::{VoteMessage, next_sign, republish_after};
use directory::{
    Accepted, Admitted, Authority, AuthorityConfig, AuthorityEvent, Directory, EpochSchedule,
    Family, NodeDescriptor, Parameters, Position, Record, Role, SignedDescriptor, SphinxKey,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::geometry::FORMAT_SPHINX;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::rng::KeyRng;
use wire::time::UnixTime;

pub(crate) const MIXES: usize = 6;
pub(crate) const NODES: usize = 9;
pub(crate) const EPOCH_MS: u64 = 60_000;
/// What a message takes.
const DELAY_MS: u64 = 20;

fn schedule() -> EpochSchedule {
    EpochSchedule {
        genesis: testing::GENESIS,
        length: Duration::from_millis(EPOCH_MS),
    }
}

/// `ms` after genesis.
pub(crate) fn at(ms: u64) -> UnixTime {
    UnixTime(testing::GENESIS.0 + ms)
}

fn role(index: usize) -> Role {
    if index < MIXES {
        Role::Mix
    } else {
        Role::Gateway
    }
}

pub(crate) fn config(n: usize) -> AuthorityConfig {
    let admitted = (0..NODES).map(|i| Admitted {
        identity: testing::node_secret(SEED, i).public(),
        role: role(i),
        family: Family::of(&format!("operator {}", i % 3)),
    });
    let network = network_on(schedule(), n);
    AuthorityConfig {
        network: network
            .with_recovery_round(Duration::from_millis(300))
            .unwrap(),
        parameters: Parameters::localnet(),
        admitted: admitted.collect(),
        expected_nodes: NODES,
        grace: Duration::from_secs(10),
    }
}

pub(crate) fn start(n: usize, index: usize, kept: Vec<Record>, now: UnixTime) -> Authority {
    let secret = testing::authority_secret(SEED, index);
    // Another process, other draws.
    let mut seed = [index as u8 + 1; 32];
    seed[..8].copy_from_slice(&now.0.to_be_bytes());
    Authority::new(config(n), secret, kept, KeyRng::from_seed(seed), now).unwrap()
}

/// As a node that runs in `epoch` uploads it: keys for this epoch and the next two.
pub(crate) fn descriptor(index: usize, epoch: Epoch, published: UnixTime) -> SignedDescriptor {
    let mut node = testing::node(SEED, index, role(index), epoch, nobodys_key);
    let third = epoch.next().next();
    node.sphinx_keys.push(SphinxKey {
        epoch: third,
        format: FORMAT_SPHINX,
        key: nobodys_key(index, third),
    });
    let secret = testing::node_secret(SEED, index);
    SignedDescriptor::sign(node, published, &secret, &testing::network_id(SEED)).unwrap()
}

pub(crate) fn upload(
    authority: &mut Authority,
    indices: impl IntoIterator<Item = usize>,
    now: UnixTime,
) {
    for index in indices {
        let signed = descriptor(index, schedule().epoch_at(now), now);
        assert_eq!(
            authority.handle_descriptor(signed, now),
            Ok(Accepted::Stored)
        );
    }
}

pub(crate) fn places(directory: &Directory) -> BTreeMap<NodeId, usize> {
    let place = |(node, position): (&NodeDescriptor, Position)| match position {
        Position::Mix { layer, .. } => Some((node.id(), layer)),
        Position::Gateway { .. } => None,
    };
    directory.nodes().filter_map(place).collect()
}

pub(crate) fn id(index: usize) -> NodeId {
    NodeId::of(&testing::node_secret(SEED, index).public())
}

struct Member {
    /// `None` while it is dead.
    process: Option<Authority>,
    disk: Vec<Record>,
    events: Vec<AuthorityEvent>,
    shown: BTreeMap<Epoch, DirectoryHash>,
}

/// All of them.
pub(crate) struct Cluster {
    members: Vec<Member>,
    /// By time and number: to whom, what.
    letters: BTreeMap<(UnixTime, u64), (usize, VoteMessage)>,
    sent: u64,
    /// Nodes that upload a descriptor again and again.
    alive: BTreeSet<usize>,
    next_beat: UnixTime,
    now: UnixTime,
}

impl Cluster {
    /// From now on this member's allow-list has only these nodes.
    pub(crate) fn admit(&mut self, i: usize, nodes: impl IntoIterator<Item = usize>) {
        let all = config(self.members.len()).admitted;
        let list: Vec<_> = nodes.into_iter().map(|node| all[node]).collect();
        let process = self.members[i].process.as_mut().unwrap();
        process
            .handle_admitted(&list, list.len(), self.now)
            .unwrap();
        self.drain(i);
    }

    /// All start at the same moment.
    pub(crate) fn start(n: usize, ms: u64) -> Self {
        let member = |i| Member {
            process: Some(start(n, i, Vec::new(), at(ms))),
            disk: Vec::new(),
            events: Vec::new(),
            shown: BTreeMap::new(),
        };
        Self {
            members: (0..n).map(member).collect(),
            letters: BTreeMap::new(),
            sent: 0,
            alive: BTreeSet::new(),
            next_beat: at(ms),
            now: at(ms),
        }
    }

    pub(crate) fn authority(&self, i: usize) -> &Authority {
        self.members[i].process.as_ref().unwrap()
    }

    pub(crate) fn newest(&self, i: usize) -> Option<Arc<Directory>> {
        Some(self.authority(i).newest()?.0.clone())
    }

    /// How many events of a kind one had.
    pub(crate) fn told(&self, i: usize, kind: impl Fn(&AuthorityEvent) -> bool) -> usize {
        self.members[i].events.iter().filter(|e| kind(e)).count()
    }

    /// From now on these nodes are there too.
    pub(crate) fn upload(&mut self, nodes: impl IntoIterator<Item = usize>, ms: u64) {
        self.run_to(ms);
        self.alive.extend(nodes);
        self.beat();
    }

    /// They fall silent.
    pub(crate) fn silence(&mut self, nodes: impl IntoIterator<Item = usize>) {
        nodes
            .into_iter()
            .for_each(|n| assert!(self.alive.remove(&n)));
    }

    /// Nodes upload to everybody who is there.
    fn beat(&mut self) {
        let now = self.now;
        let beat = now.saturating_add(republish_after(schedule().length));
        let network = config(self.members.len()).network;
        self.next_beat = beat.min(next_sign(&network, now, |_, _| 0.5));
        for i in 0..self.members.len() {
            if let Some(process) = &mut self.members[i].process {
                for node in &self.alive {
                    let signed = descriptor(*node, schedule().epoch_at(now), now);
                    let _ = process.handle_descriptor(signed, now);
                }
            }
            self.drain(i);
        }
    }

    /// Nothing but the disk is left.
    pub(crate) fn kill(&mut self, i: usize) {
        self.members[i].process = None;
    }

    pub(crate) fn restart(&mut self, i: usize) {
        let (n, disk) = (self.members.len(), self.members[i].disk.clone());
        self.members[i].process = Some(start(n, i, disk, self.now));
        self.drain(i);
    }

    /// The clock of the whole machine is put somewhere else.
    pub(crate) fn turn_clock(&mut self, ms: u64) {
        self.now = at(ms);
        self.next_beat = at(ms);
    }

    /// What time it is.
    pub(crate) fn ms(&self) -> u64 {
        self.now.0 - testing::GENESIS.0
    }

    pub(crate) fn run_to(&mut self, ms: u64) {
        let end = at(ms);
        while self.now < end {
            let deadline = |m: &Member| m.process.as_ref()?.poll_timeout().map(|t| t.0);
            let deadlines = self.members.iter().filter_map(deadline);
            let letters = self.letters.keys().next().map(|k| k.0);
            let next = deadlines.chain(letters).min().unwrap_or(end);
            // A fetch takes place every second at least.
            let next = next.min(UnixTime(self.now.0 + 1000)).min(end);
            self.now = next.max(UnixTime(self.now.0 + 1));
            if self.now >= self.next_beat {
                self.beat();
            }
            while let Some(entry) = self.letters.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, message) = entry.remove();
                if let Some(process) = &mut self.members[to].process {
                    match message {
                        VoteMessage::Statement(s) => {
                            let _ = process.handle_statement(s, self.now);
                        }
                        VoteMessage::Signature(s) => {
                            process.handle_signature(s, self.now);
                        }
                    }
                }
                self.drain(to);
            }
            for i in 0..self.members.len() {
                if let Some(process) = &mut self.members[i].process {
                    process.handle_timeout(self.now);
                }
                self.drain(i);
                self.fetch(i);
            }
        }
    }

    fn fetch(&mut self, i: usize) {
        let process = self.members[i].process.as_ref();
        let Some(epoch) = process.and_then(|p| p.wanted(self.now)) else {
            return;
        };
        let others = self.members.iter().filter_map(|m| m.process.as_ref());
        let found = others.filter_map(|p| p.directory(epoch)).next();
        let Some(document) = found.map(|(_, document)| document.clone()) else {
            return;
        };
        let signed = directory::SignedDirectory::decode(&document).unwrap();
        if let Some(process) = &mut self.members[i].process {
            let _ = process.handle_fetched(signed, self.now).unwrap();
        }
        self.drain(i);
    }

    /// Plays the owner: keeps what is to be kept, carries letters away.
    fn drain(&mut self, i: usize) {
        let (now, n) = (self.now, self.members.len());
        let Some(process) = &mut self.members[i].process else {
            return;
        };
        let (mut events, mut kept, mut letters) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(event) = process.poll_event() {
            if let AuthorityEvent::Persist(record) = &event {
                kept.push(record.clone());
                process.handle_persisted(now);
            }
            events.push(event);
        }
        while let Some(message) = process.poll_transmit() {
            letters.push(message);
        }
        let member = &mut self.members[i];
        member.disk.extend(kept);
        member.events.extend(events);
        for message in letters {
            if let VoteMessage::Signature(signed) = &message {
                let epoch = signed.epoch().unwrap();
                let hash = self.members[i].shown.insert(epoch, signed.hash());
                assert!(hash.is_none_or(|h| h == signed.hash()), "signed two");
            }
            for to in (0..n).filter(|to| *to != i) {
                self.sent += 1;
                let key = (UnixTime(now.0 + DELAY_MS), self.sent);
                self.letters.insert(key, (to, message.clone()));
            }
        }
    }

    /// No disk holds two signed directories of one epoch.
    pub(crate) fn check_signed_once(&self) {
        for member in &self.members {
            let mut signed = BTreeMap::new();
            for record in &member.disk {
                if let Record::Signature(epoch, document) = record {
                    let hash = signed.insert(*epoch, document.hash());
                    assert!(hash.is_none_or(|h| h == document.hash()), "signed two");
                }
            }
        }
    }
}
