//! Which gateway is the entry, and where it listens: the guards of `mizzle_core::guard`, kept in the
//! data folder, beside what the configuration pins.

use crate::config::Config;
use directory::{Directory, Network};
use mizzle_core::guard::{Guard, Guards};
use runtime::data_dir::{DataDir, DataDirError, write_atomic};
use runtime::entropy::Entropy;
use runtime::node::NodeError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use wire::ids::NodeId;
use wire::keys::IdentityPublic;
use wire::rng::KeyRng;
use wire::time::{Instant, UnixTime};

const FILE: &str = "entry";
/// Three lines, with room.
const FILE_MAX: u64 = 1_024;

/// The entry gateway.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) identity: IdentityPublic,
    /// Where it listens for clients.
    pub(crate) addresses: Vec<SocketAddr>,
    /// How long it has been the entry and will be; `None` where the configuration pins it.
    pub(crate) guard: Option<Guard>,
}

/// The newest directory, for whoever has to look up the entry gateway.
pub(crate) type Newest = watch::Receiver<Option<Arc<Directory>>>;

/// Chooses, and keeps what was chosen.
pub(crate) struct Entries {
    file: PathBuf,
    network: Arc<Network>,
    newest: Newest,
    pinned: Option<NodeId>,
    address: Option<SocketAddr>,
    guards: Guards,
    keys: KeyRng,
}

impl Entries {
    /// With what earlier runs chose.
    pub(crate) fn open(
        config: &Config,
        dir: &DataDir,
        network: Arc<Network>,
        newest: Newest,
        unix: UnixTime,
    ) -> Result<Self, NodeError> {
        let text = dir.read(FILE, FILE_MAX)?.unwrap_or_default();
        let mut keys = Entropy::os().key_rng()?;
        let guards = Guards::from_text(&String::from_utf8_lossy(&text), unix, &mut keys);
        Ok(Self {
            file: dir.file(FILE),
            network,
            newest,
            pinned: config.entry_id()?,
            address: config.entry_address,
            guards,
            keys,
        })
    }

    /// The gateway to dial. Blocks for as long as writing a small file takes, when another one was
    /// drawn.
    pub(crate) fn current(&mut self, unix: UnixTime) -> Result<Entry, NodeError> {
        let mut guard = None;
        let id = match self.pinned {
            Some(id) => id,
            None => {
                let candidates = self.candidates();
                let (chosen, changed) = self.guards.current(&candidates, unix, &mut self.keys);
                if changed {
                    self.keep()?;
                }
                guard = chosen;
                let none = "neither network.toml nor a directory has a gateway for clients";
                chosen
                    .ok_or_else(|| NodeError::value("network", none))?
                    .gateway
            }
        };
        let none = "neither network.toml nor the directory has this gateway";
        let found = self
            .find(&id)
            .ok_or_else(|| NodeError::value("entry", none));
        let (identity, addresses) = found?;
        Ok(Entry {
            id,
            identity,
            addresses: self.address.map_or(addresses, |pinned| vec![pinned]),
            guard,
        })
    }

    /// A link to it stands.
    pub(crate) fn handle_connected(&mut self) {
        self.guards.handle_connected(&mut self.keys);
    }

    /// It could not be reached.
    pub(crate) fn handle_failed(&mut self, now: Instant, unix: UnixTime) -> Result<(), NodeError> {
        if self.pinned.is_some() {
            return Ok(());
        }
        let candidates = self.candidates();
        let moved = self
            .guards
            .handle_failed(&candidates, now, unix, &mut self.keys);
        if moved {
            tracing::warn!("the entry gateway has failed for hours; another one takes its place");
            self.keep()?;
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), DataDirError> {
        write_atomic(&self.file, self.guards.to_text().as_bytes())
    }

    /// Every gateway that clients can enter through; before the first directory those that
    /// `network.toml` names.
    fn candidates(&self) -> Vec<NodeId> {
        let newest = self.newest.borrow();
        match newest.as_ref() {
            Some(directory) => {
                let listens = directory.gateways().iter();
                let listens = listens.filter(|g| !g.client_addresses.is_empty());
                listens.map(directory::NodeDescriptor::id).collect()
            }
            None => {
                let bootstrap = self.network.bootstrap().iter();
                bootstrap.map(|b| NodeId::of(&b.identity)).collect()
            }
        }
    }

    /// What is known of a gateway; the directory knows better than `network.toml`.
    fn find(&self, id: &NodeId) -> Option<(IdentityPublic, Vec<SocketAddr>)> {
        let newest = self.newest.borrow();
        let published = newest.as_ref().and_then(|d| d.node(id));
        let published = published.filter(|n| !n.client_addresses.is_empty());
        let published = published.map(|n| (n.identity, n.client_addresses.clone()));
        let bootstrap = || {
            let mut known = self.network.bootstrap().iter();
            let found = known.find(|b| NodeId::of(&b.identity) == *id)?;
            Some((found.identity, found.client_addresses.clone()))
        };
        published.or_else(bootstrap)
    }
}
