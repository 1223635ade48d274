//! The shipped machines in made-up surroundings. Each machine is the field `sut`, the system under
//! test; what is beside it is what a daemon has around it.

mod store;

pub use store::MemoryStore;

use crate::engine::Actor;
use directory::{
    Authority, DirectoryAssembler, Family, Network, NodeDescriptor, Role, SignedDescriptor,
    SphinxKey,
};
use mizzle_core::client::{Client, ClientEvent};
use mizzle_core::gateway::Gateway;
use mizzle_core::mix::Mix;
use sphinx::PacketFormat;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use wire::ids::{CellId, InboxId, NetworkId, NodeId};
use wire::keys::IdentitySecret;
use wire::time::{Instant, UnixTime};

/// More deadlines than this at one moment, and the machine asks to be woken for nothing.
const WAKES_AT_ONCE_MAX: u32 = 100_000;

/// When a machine is to be woken.
#[derive(Default)]
pub struct Alarm {
    armed: Option<Instant>,
    last: Option<Instant>,
    wakes: u32,
}

impl Alarm {
    /// Sets it to what the machine asks for. Returns when to wake, if that is news.
    pub(crate) fn arm(&mut self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        let due = due.map(|at| at.max(now));
        if due == self.armed {
            return None;
        }
        self.armed = due;
        due
    }

    /// Whether a wake-up that came is the one that is armed. Panics where a machine spins, and says with what.
    pub(crate) fn ring(
        &mut self,
        now: Instant,
        actor: Actor,
        label: impl FnOnce() -> Option<&'static str>,
    ) -> bool {
        if self.armed != Some(now) {
            return false;
        }
        self.armed = None;
        self.wakes = if self.last == Some(now) {
            self.wakes + 1
        } else {
            0
        };
        self.last = Some(now);
        assert!(
            self.wakes < WAKES_AT_ONCE_MAX,
            "{actor:?} asks to be woken at {now:?} again and again, for {:?}",
            label()
        );
        true
    }
}

/// Who a node is.
pub struct Identity {
    secret: IdentitySecret,
    role: Role,
    index: usize,
}

impl Identity {
    pub(crate) fn new(seed: [u8; 32], role: Role, index: usize) -> Self {
        let secret = IdentitySecret::from_seed(&seed);
        Self {
            secret,
            role,
            index,
        }
    }

    /// What routing headers call it.
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.secret.public())
    }

    /// For the authority's allow-list. Every node is of another family.
    pub(crate) fn admitted(&self) -> directory::Admitted {
        directory::Admitted {
            identity: self.secret.public(),
            role: self.role,
            family: self.family(),
        }
    }

    fn family(&self) -> Family {
        let mut family = [self.role as u8; 16];
        family[..8].copy_from_slice(&(self.index as u64).to_be_bytes());
        Family(family)
    }

    /// The descriptor it uploads.
    pub(crate) fn descriptor(
        &self,
        sphinx_keys: Vec<SphinxKey>,
        published: UnixTime,
        network: &NetworkId,
    ) -> SignedDescriptor {
        let listener = |port: u16| {
            let port = port + self.index as u16;
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
        };
        let (node, clients) = match self.role {
            Role::Mix => (listener(20_000), Vec::new()),
            Role::Gateway => (listener(30_000), listener(40_000)),
        };
        let descriptor = NodeDescriptor {
            identity: self.secret.public(),
            role: self.role,
            family: self.family(),
            addresses: node,
            client_addresses: clients,
            sphinx_keys,
        };
        SignedDescriptor::sign(descriptor, published, &self.secret, network)
            .expect("a made-up node has possible addresses and its own key")
    }
}

/// An authority without HTTP and files.
pub struct SimAuthority {
    /// The shipped machine.
    pub sut: Authority,
    /// What everybody knows beforehand.
    pub network: Network,
    pub(crate) alarm: Alarm,
}

/// A mixnode without sockets.
pub struct SimMix<F: PacketFormat> {
    /// The shipped machine.
    pub sut: Mix<F>,
    /// Who it is.
    pub identity: Identity,
    pub(crate) alarm: Alarm,
}

/// A gateway without sockets, on a made-up disk.
pub struct SimGateway<F: PacketFormat> {
    /// The shipped machine; `None` while its process is dead.
    pub sut: Option<Gateway<F>>,
    /// Who it is.
    pub identity: Identity,
    /// Survives the process.
    pub store: MemoryStore,
    /// Counts processes, so that what was on its way to a dead one reaches no later one.
    pub incarnation: u64,
    pub(crate) alarm: Alarm,
    /// Packets that died in processes before this one.
    pub(crate) discarded_before: u64,
}

/// A client without sockets, whose owner keeps everything and acknowledges it at once, or is somebody
/// else who takes the mail.
pub struct SimClient<F: PacketFormat> {
    /// The shipped machine.
    pub sut: Client<F>,
    /// Index of its entry gateway.
    pub entry: usize,
    /// What its owner was told.
    pub told: Told,
    /// What its owner has not taken yet; `None` where the owner is this simulation.
    pub(crate) mail: Option<Vec<ClientEvent>>,
    pub(crate) assembler: DirectoryAssembler,
    /// Counts processes.
    pub(crate) incarnation: u64,
    pub(crate) alarm: Alarm,
}

/// What the owner of a client was told.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Told {
    /// Deposits by handle, and when they left first.
    pub mixing: BTreeMap<u64, Instant>,
    /// Deposits by handle, and when they were known to be stored.
    pub stored: BTreeMap<u64, Instant>,
    /// Deposits that a gateway refused.
    pub refused: Vec<u64>,
    /// Inboxes that stand.
    pub opened: BTreeSet<InboxId>,
    /// Inboxes that a gateway refused to open or to read.
    pub inbox_refused: Vec<InboxId>,
    /// Every cell as it was handed to the owner, and when. One that comes twice is here twice.
    pub cells: Vec<(Instant, InboxId, CellId)>,
    /// How often a gateway went by another directory.
    pub split_views: u64,
    /// Gateways that were failing (`true`) or back, in the order of the news, and when.
    pub gateways: Vec<(Instant, NodeId, bool)>,
}

impl Told {
    pub(crate) fn record(&mut self, event: &ClientEvent, now: Instant) {
        match event {
            ClientEvent::Mixing(handle) => {
                self.mixing.insert(*handle, now);
            }
            ClientEvent::Stored(handle) => {
                self.stored.insert(*handle, now);
            }
            ClientEvent::Refused(handle) => self.refused.push(*handle),
            ClientEvent::Opened(inbox, _) => {
                self.opened.insert(*inbox);
            }
            ClientEvent::InboxRefused(inbox) => self.inbox_refused.push(*inbox),
            ClientEvent::Cell(inbox, cell, _) => self.cells.push((now, *inbox, *cell)),
            ClientEvent::SplitView { .. } => self.split_views += 1,
            ClientEvent::OtherDirectory { .. } | ClientEvent::SplitUnproven { .. } => {}
            ClientEvent::GatewayFailing(gateway) => self.gateways.push((now, *gateway, true)),
            ClientEvent::GatewayBack(gateway) => self.gateways.push((now, *gateway, false)),
        }
    }
}
