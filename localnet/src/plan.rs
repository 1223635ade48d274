//! Who is where: keys, ports, folders and configuration files of every node, made before the first
//! process starts.

mod configs;
mod ports;

use crate::args::NetworkArgs;
use anyhow::{Context, Result, bail};
use directory::{Bootstrap, Network, NetworkAuthority};
use ports::Ports;
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::ids::NetworkId;
use wire::keys::{IdentityPublic, IdentitySecret};

/// Names of clients, in order.
const CLIENT_NAMES: [&str; 26] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kate",
    "liam", "mallory", "niaj", "olivia", "peggy", "quentin", "rupert", "sybil", "trent", "ursula",
    "victor", "walter", "xenia", "yves", "zoe",
];

/// A round of the votes that are held until there is a first directory: longer than a process on a busy
/// machine takes to answer.
const VOTE_ROUND: Duration = Duration::from_millis(400);

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A directory authority.
    Authority,
    /// A mix.
    Mix,
    /// A gateway.
    Gateway,
    /// A client.
    Client,
}

impl Role {
    /// The daemon that plays it.
    pub fn program(self) -> &'static str {
        match self {
            Self::Authority => "topology",
            Self::Mix => "mixnode",
            Self::Gateway => "gateway",
            Self::Client => "clientd",
        }
    }
}

/// One node of the plan.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What it does.
    pub role: Role,
    /// `authority1`, `mix3`, `gateway2`, `alice`.
    pub name: String,
    /// Its folder; its state is in `data` there, its log is `log`.
    pub folder: PathBuf,
    /// Where other nodes (or, for an authority, everybody) reach it.
    pub listen: Option<SocketAddr>,
    /// A gateway's listener for clients.
    pub client_listen: Option<SocketAddr>,
    /// A client's loopback API.
    pub api: Option<SocketAddr>,
    /// Loopback metrics and status.
    pub metrics: Option<SocketAddr>,
    /// Its identity key; none for clients, who are nobody.
    pub identity: Option<IdentityPublic>,
    /// A client's entry gateway: its index among the gateways.
    pub entry: Option<usize>,
}

impl Planned {
    /// Its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.role.program()))
    }

    /// Its state.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Wherever it listens.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let all = [self.listen, self.client_listen, self.api, self.metrics];
        all.into_iter().flatten()
    }
}

/// The whole network.
#[derive(Clone)]
pub struct Plan {
    /// All state.
    pub folder: PathBuf,
    /// Whether the folder is to be removed at the end.
    pub temporary: bool,
    /// What everybody knows beforehand.
    pub network: Network,
    /// Authorities, mixes, gateways, clients.
    pub nodes: Vec<Planned>,
    /// Whether rates are localnet's own, and no faster.
    unhurried: bool,
}

impl Plan {
    /// Draws keys, takes free ports, writes every file.
    pub fn make(args: &NetworkArgs) -> Result<Self> {
        let (folder, temporary) = make_folder(args.dir.as_deref())?;
        let mut entropy = Entropy::from_option(args.seed);
        let mut ports = Ports::new();
        let mut nodes = Vec::new();
        for (role, name) in roster(args) {
            nodes.push(plan_node(role, name, &folder, &mut ports, &mut entropy)?);
        }
        let gateways = usize::from(args.gateways);
        for (i, client) in nodes
            .iter_mut()
            .filter(|n| n.role == Role::Client)
            .enumerate()
        {
            client.entry = Some(i % gateways);
        }
        let network = make_network(args, &nodes, &mut entropy)?;
        let plan = Self {
            folder,
            temporary,
            network,
            nodes,
            unhurried: args.rate_scale <= 1.0,
        };
        plan.write_files(args)?;
        drop(ports);
        Ok(plan)
    }

    /// Nodes of one role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Planned> {
        self.nodes.iter().filter(move |n| n.role == role)
    }

    /// `network.toml`.
    pub fn network_file(&self) -> PathBuf {
        self.folder.join("network.toml")
    }

    /// A client's entry gateway.
    pub fn entry_of(&self, client: &Planned) -> Option<&Planned> {
        self.of(Role::Gateway).nth(client.entry?)
    }

    /// One mix more, which no authority admits yet.
    pub fn add_mix(&mut self, name: &str, args: &NetworkArgs) -> Result<Planned> {
        let (mut ports, mut entropy) = (Ports::beside(&self.nodes), Entropy::os());
        let name = name.to_owned();
        let node = plan_node(Role::Mix, name, &self.folder, &mut ports, &mut entropy)?;
        self.write_config(&node, args, None)?;
        self.nodes.push(node.clone());
        Ok(node)
    }

    fn write_files(&self, args: &NetworkArgs) -> Result<()> {
        write(&self.network_file(), &self.network.to_toml())?;
        let mut seed = args.seed;
        for node in &self.nodes {
            // Each process its own stream of the one seed.
            seed = seed.map(|s| s.wrapping_add(1));
            self.write_config(node, args, seed)?;
        }
        Ok(())
    }
}

fn roster(args: &NetworkArgs) -> Vec<(Role, String)> {
    let numbered =
        |role, n: u16, name: &'static str| (1..=n).map(move |i| (role, format!("{name}{i}")));
    let clients = CLIENT_NAMES.iter().take(usize::from(args.clients));
    numbered(Role::Authority, args.authorities, "authority")
        .chain(numbered(Role::Mix, 3 * args.mixes_per_layer, "mix"))
        .chain(numbered(Role::Gateway, args.gateways, "gateway"))
        .chain(clients.map(|name| (Role::Client, (*name).to_owned())))
        .collect()
}

fn plan_node(
    role: Role,
    name: String,
    folder: &Path,
    ports: &mut Ports,
    entropy: &mut Entropy,
) -> Result<Planned> {
    let node_folder = folder.join(&name);
    let data = DataDir::open(node_folder.join("data"))?;
    let identity = match role {
        Role::Client => None,
        Role::Authority | Role::Mix | Role::Gateway => {
            let seed = entropy.seed()?;
            runtime::keyfile::create(&data, "identity.key", &seed)?;
            Some(IdentitySecret::from_seed(&seed).public())
        }
    };
    let is_client = role == Role::Client;
    Ok(Planned {
        listen: if is_client { None } else { Some(ports.take()?) },
        client_listen: if role == Role::Gateway {
            Some(ports.take()?)
        } else {
            None
        },
        api: if is_client { Some(ports.take()?) } else { None },
        metrics: if is_client { None } else { Some(ports.take()?) },
        entry: None,
        role,
        name,
        folder: node_folder,
        identity,
    })
}

fn make_network(args: &NetworkArgs, nodes: &[Planned], entropy: &mut Entropy) -> Result<Network> {
    let now = Clock::start().unix();
    let of = |role| nodes.iter().filter(move |n| n.role == role);
    let authorities = of(Role::Authority)
        .map(|n| {
            let (identity, address) = (n.identity.context("identity")?, n.listen);
            Ok(NetworkAuthority {
                identity,
                address: address.context("address")?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let bootstrap = of(Role::Gateway)
        .map(|n| {
            let (identity, address) = (n.identity.context("identity")?, n.client_listen);
            Ok(Bootstrap {
                identity,
                client_addresses: vec![address.context("address")?],
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let id = NetworkId(*entropy.seed()?);
    let schedule = directory::EpochSchedule {
        genesis: now,
        length: args.epoch,
    };
    let threshold = directory::quorum(authorities.len());
    let network = Network::new(id, schedule, authorities, threshold, bootstrap)?;
    Ok(network.with_recovery_round(VOTE_ROUND)?)
}

fn make_folder(dir: Option<&Path>) -> Result<(PathBuf, bool)> {
    let Some(dir) = dir else {
        let name = format!("mizzle-localnet-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        return Ok((folder, true));
    };
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the folder {}", dir.display()))?;
    if std::fs::read_dir(dir)?.next().is_some() {
        bail!(
            "the folder {} is not empty; name another one or remove it",
            dir.display()
        );
    }
    Ok((dir.canonicalize()?, false))
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}
