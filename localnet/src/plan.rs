//! Who is where: keys, ports, folders and configuration files of every node, made before the first
//! process starts.

use crate::args::NetworkArgs;
use crate::capture;
use anyhow::{Context, Result, bail};
use directory::{Bootstrap, Network, NetworkAuthority};
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::ids::{NetworkId, NodeId};
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

    fn write_config(&self, node: &Planned, args: &NetworkArgs, seed: Option<u64>) -> Result<()> {
        let mut text = String::new();
        writeln!(text, "data_dir = {}", quoted(&node.data()))?;
        writeln!(text, "log = \"{}\"", args.log)?;
        writeln!(text, "network = {}", quoted(&self.network_file()))?;
        match node.role {
            Role::Authority => self.authority_config(&mut text, node, args)?,
            Role::Mix => {
                self.node_config(&mut text, node, seed)?;
                text.push_str(&args.more.mix);
            }
            Role::Gateway => {
                self.node_config(&mut text, node, seed)?;
                if let Some(listen) = node.client_listen {
                    writeln!(text, "client_listen = [\"{listen}\"]")?;
                }
            }
            Role::Client => self.client_config(&mut text, node, args, seed)?,
        }
        write(&node.config_file(), &text)
    }

    fn authority_config(
        &self,
        text: &mut String,
        node: &Planned,
        args: &NetworkArgs,
    ) -> Result<()> {
        if let Some(listen) = node.listen {
            writeln!(text, "listen = \"{listen}\"")?;
        }
        // Everybody has the same address here.
        writeln!(text, "connections_per_address = 256")?;
        if let Some(metrics) = node.metrics {
            writeln!(text, "metrics_port = {}", metrics.port())?;
        }
        let profile = if args.wide { "wide" } else { "localnet" };
        writeln!(text, "profile = \"{profile}\"")?;
        writeln!(text, "\n[parameters]")?;
        let overlap = (args.epoch / 4).min(Duration::from_secs(5));
        writeln!(text, "key_overlap_ms = {}", overlap.as_millis())?;
        let scale = args.rate_scale;
        if (scale - 1.0).abs() > f64::EPSILON {
            let rates = directory::Parameters::localnet();
            for (name, rate) in [
                ("payload_rate", rates.payload_rate),
                ("loop_rate", rates.loop_rate),
                ("downlink_rate", rates.downlink_rate),
            ] {
                writeln!(text, "{name} = {}", rate.per_second() * scale)?;
            }
        }
        if let Some(quota) = args.more.quota(scale) {
            writeln!(text, "inbox_quota = {quota}")?;
        }
        if args.plant_rate {
            writeln!(text, "payload_rate = 11.0\nloop_rate = 2.2")?;
        }
        for peer in self
            .nodes
            .iter()
            .filter(|n| matches!(n.role, Role::Mix | Role::Gateway))
        {
            let Some(identity) = peer.identity else {
                continue;
            };
            let role = if peer.role == Role::Mix {
                "mix"
            } else {
                "gateway"
            };
            writeln!(
                text,
                "\n[[node]]\nidentity = \"{}\"",
                hex(&identity.to_bytes())
            )?;
            writeln!(
                text,
                "role = \"{role}\"\noperator = \"operator of {}\"",
                peer.name
            )?;
        }
        Ok(())
    }

    fn node_config(&self, text: &mut String, node: &Planned, seed: Option<u64>) -> Result<()> {
        shared_config(text, node, seed)?;
        if let Some(listen) = node.listen {
            writeln!(text, "listen = [\"{listen}\"]")?;
        }
        writeln!(text, "operator = \"operator of {}\"", node.name)?;
        writeln!(text, "unwrap_threads = 1")?;
        // A dozen nodes share these cores with the clients, who would come last; and a loop that is run at
        // every wake has no batches to work on.
        // Only the few gateways keep moments that an observer sees, and only at rates that leave room.
        let realtime = node.role == Role::Gateway && self.unhurried;
        writeln!(text, "realtime = {realtime}\nkeep_awake = false")?;
        Ok(())
    }

    fn client_config(
        &self,
        text: &mut String,
        node: &Planned,
        args: &NetworkArgs,
        seed: Option<u64>,
    ) -> Result<()> {
        shared_config(text, node, seed)?;
        let entry = self
            .entry_of(node)
            .context("a client without an entry gateway")?;
        let identity = entry.identity.context("a gateway without an identity")?;
        writeln!(text, "name = \"{}\"", node.name)?;
        text.push_str(&args.more.client);
        writeln!(text, "entry = \"{}\"", hex(&NodeId::of(&identity).0))?;
        if let Some(api) = node.api {
            writeln!(text, "api = \"{api}\"")?;
        }
        if let Some(captures) = &args.capture {
            std::fs::create_dir_all(captures)?;
            let gateway = entry
                .client_listen
                .context("a gateway without a client listener")?;
            let csv = captures.join(format!("{}.csv", node.name));
            let relay = capture::relay(gateway, &csv)?;
            writeln!(text, "entry_address = \"{relay}\"")?;
        }
        // Each client from an address of its own, so that a gateway that kept one would show it.
        let index = self
            .of(Role::Client)
            .position(|c| c.name == node.name)
            .unwrap_or(0);
        if args.capture.is_none() {
            writeln!(text, "source_address = \"127.77.0.{}\"", index + 1)?;
        }
        Ok(())
    }
}

/// What mixes, gateways and clients have in common.
fn shared_config(text: &mut String, node: &Planned, seed: Option<u64>) -> Result<()> {
    if let Some(seed) = seed {
        writeln!(text, "test_seed = \"{seed:x}\"")?;
    }
    if let Some(metrics) = node.metrics {
        writeln!(text, "metrics = \"{metrics}\"")?;
    }
    Ok(())
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

/// Nodes' ports: below those (32,768 and more on Linux) that the system gives to outgoing connections, one of which could
/// else take the port of a node that has not started yet.
const PORTS: std::ops::Range<u16> = 16_000..32_000;

/// Ports that were free a moment ago, all held until the plan is made so that no two are equal.
struct Ports {
    /// Which to try next, counted from the first. Every process begins elsewhere.
    next: u32,
    held: Vec<TcpListener>,
    /// Of nodes that may be down just now.
    planned: BTreeSet<u16>,
}

impl Ports {
    fn new() -> Self {
        Self {
            next: std::process::id().wrapping_mul(97),
            held: Vec::new(),
            planned: BTreeSet::new(),
        }
    }

    /// None that one of these has, whether it runs or not.
    fn beside(nodes: &[Planned]) -> Self {
        let all = nodes.iter().flat_map(Planned::addresses);
        Self {
            planned: all.map(|address| address.port()).collect(),
            ..Self::new()
        }
    }

    fn take(&mut self) -> Result<SocketAddr> {
        let count = u32::from(PORTS.end - PORTS.start);
        for _ in 0..count {
            let port = PORTS.start + (self.next % count) as u16;
            self.next = self.next.wrapping_add(1);
            if self.planned.contains(&port) {
                continue;
            }
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                let address = listener.local_addr()?;
                self.held.push(listener);
                return Ok(address);
            }
        }
        bail!(
            "no loopback port from {} to {} is free",
            PORTS.start,
            PORTS.end - 1
        )
    }
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

fn quoted(path: &Path) -> String {
    // A TOML literal string; such a path has no quote of its own.
    format!("'{}'", path.display())
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;

    #[test]
    fn a_node_that_is_added_has_no_port_of_one_that_is_down() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let args = Args::parse_from(["localnet", "--dir", dir]).network;
        // None of these is started: all their ports are free.
        let mut plan = Plan::make(&args).unwrap();
        let taken = |plan: &Plan| -> Vec<SocketAddr> {
            let all = plan.nodes.iter().flat_map(Planned::addresses);
            all.collect()
        };
        for n in 0..10 {
            plan.add_mix(&format!("more{n}"), &args).unwrap();
        }
        let (all, once) = (taken(&plan), BTreeSet::from_iter(taken(&plan)));
        assert_eq!(all.len(), once.len(), "{all:?}");
    }
}
