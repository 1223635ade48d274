//! What a node opens before anything runs: data folder, identity, network, randomness, clock.
//!
//! Nothing here listens yet; a wrong file ends the start before anybody could connect.

use super::NodeError;
use super::settings::Settings;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::entropy::Entropy;
use crate::keyfile;
use directory::{Family, NETWORK_TOML_MAX, Network, NodeDescriptor, Role, SphinxKey};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use wire::ids::NodeId;
use wire::keys::{IdentityPublic, IdentitySecret};

/// The identity's file in the data folder.
pub const IDENTITY_FILE: &str = "identity.key";

/// Opened and checked.
pub struct Foundation {
    /// The one clock of the process.
    pub clock: Clock,
    /// Locked against a second process.
    pub dir: Arc<DataDir>,
    /// Signs descriptors, proves the node in TLS.
    pub identity: Arc<IdentitySecret>,
    /// What everybody knows of the network.
    pub network: Arc<Network>,
    /// Seeds.
    pub entropy: Entropy,
}

impl Foundation {
    /// Opens everything; makes folder and identity at the first start.
    pub fn open(settings: &Settings) -> Result<Self, NodeError> {
        let network = Arc::new(read_network(&settings.network)?);
        let mut entropy = Entropy::from_option(settings.seed()?);
        let dir = DataDir::open(&settings.data_dir)?;
        let identity = keyfile::load_or_create_identity(&dir, IDENTITY_FILE, &mut entropy)?;
        Ok(Self {
            clock: Clock::start(),
            dir: Arc::new(dir),
            identity: Arc::new(identity),
            network,
            entropy,
        })
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.identity.public())
    }
}

/// What a node says about itself, less its Sphinx keys.
#[derive(Clone)]
pub struct SelfDescription {
    /// What it does.
    pub role: Role,
    /// Who runs it; empty for a family of its own.
    pub operator: String,
    /// The listener for nodes.
    pub addresses: Vec<SocketAddr>,
    /// The listener for clients.
    pub client_addresses: Vec<SocketAddr>,
}

impl SelfDescription {
    /// The whole descriptor.
    pub fn with_keys(&self, identity: &IdentitySecret, keys: Vec<SphinxKey>) -> NodeDescriptor {
        let identity = identity.public();
        NodeDescriptor {
            identity,
            role: self.role,
            family: Family::of(&operator_name(&identity, &self.operator)),
            addresses: self.addresses.clone(),
            client_addresses: self.client_addresses.clone(),
            sphinx_keys: keys,
        }
    }
}

/// Who runs a node, by the name that makes its family; whoever gave none is alone under its identity.
pub(crate) fn operator_name(identity: &IdentityPublic, operator: &str) -> String {
    match operator {
        "" => directory::hex::encode(&identity.to_bytes()),
        name => name.to_owned(),
    }
}

/// Reads `network.toml`.
pub fn read_network(path: &Path) -> Result<Network, NodeError> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let message = format!(
            "cannot read {shown} ({error}); ask the network's operators for the \
             file and name it here"
        );
        NodeError::value("network", message)
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut text = String::new();
    let limit = NETWORK_TOML_MAX as u64 + 1;
    file.take(limit).read_to_string(&mut text).map_err(cannot)?;
    Network::from_toml(&text).map_err(|e| NodeError::value("network", format!("{shown}: {e}")))
}
