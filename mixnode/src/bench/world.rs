//! A network in which only one mix is real: a child process in the middle layer, with this process on
//! both sides of it.
//!
//! Directory, identities and the node's Sphinx keys are made here and put where a node looks for
//! them, so that a single start is enough and the keys are known beforehand.

use super::failed;
use super::ledger::Ledger;
use super::process::Usage;
use super::sink::Sink;
use super::source::Source;
use super::stock::{Stock, StockConfig};
use directory::{
    Directory, EpochSchedule, Family, Network, NetworkAuthority, NodeDescriptor, Parameters,
    Preamble, Role, SignedDirectory, SphinxKey,
};
use mizzle_core::hop::{KeySeed, NodeKey};
use runtime::clock::Clock;
use runtime::cores;
use runtime::data_dir::DataDir;
use runtime::http_client::HttpClient;
use runtime::keyfile;
use runtime::link::NodeTls;
use runtime::node::NodeError;
use runtime::node::foundation::IDENTITY_FILE;
use runtime::tag_log::{self, TagLog};
use serde_json::Value;
use sphinx::{PacketFormat, Sphinx};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wire::geometry::{FORMAT_SPHINX, GeometryHash};
use wire::ids::{DirectoryHash, Epoch, NetworkId, NextHop, NodeId};
use wire::keys::{IdentityPublic, IdentitySecret, SphinxPublic};
use wire::rng::KeyRng;
use wire::time::UnixTime;

/// How long a node may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing rotates while a world stands.
const EPOCH_LENGTH: Duration = Duration::from_secs(30 * 24 * 3600);
const LOGS: &str = "sphinx-keys";

/// What a world is made of.
#[derive(Clone)]
pub struct Setup {
    /// The program `mixnode`.
    pub program: PathBuf,
    /// A folder of the world's own is made in here, and removed at its end.
    pub folder: PathBuf,
    /// Rates; the node's own loops are left out.
    pub parameters: Parameters,
    /// More lines of `mixnode.toml`, top-level keys first.
    pub config: String,
    /// The node's cores; all of this process' if empty.
    pub node_cores: Vec<usize>,
    /// Those of generator and sink; all of this process' if empty.
    pub own_cores: Vec<usize>,
    /// Mixes of the layer before, each with a link.
    pub sources: usize,
    /// Mixes of the layer after.
    pub sinks: usize,
    /// Most packets in all.
    pub packets: usize,
    /// Of everything that is drawn.
    pub seed: u64,
}

impl Setup {
    /// `program` in `folder`: four neighbours on each side, all cores for all.
    pub fn new(program: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            folder: folder.into(),
            parameters: Parameters::localnet(),
            config: String::new(),
            node_cores: Vec::new(),
            own_cores: Vec::new(),
            sources: 4,
            sinks: 4,
            packets: 1 << 20,
            seed: 1,
        }
    }
}

/// The node, and what stands around it.
pub struct World {
    setup: Setup,
    /// First: it ends the node before its folder goes.
    node: Node,
    folder: Folder,
    network: NetworkId,
    epoch: Epoch,
    identity: IdentityPublic,
    key: SphinxPublic,
    listen: SocketAddr,
    metrics: SocketAddr,
    before: Vec<IdentitySecret>,
    after: Vec<NextHop>,
    clock: Clock,
    ledger: Arc<Ledger>,
    runtime: Runtime,
    /// Stays as long as the world.
    _sink: Sink,
}

/// A child process that does not outlive its owner.
#[derive(Default)]
struct Node(Option<Child>);

impl Node {
    fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A folder that is removed on drop.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Draws what must be different in each world of a seed.
struct Draws(KeyRng);

impl Draws {
    fn identity(&mut self) -> IdentitySecret {
        IdentitySecret::from_seed(&self.0.bytes())
    }

    fn key(&mut self, epoch: Epoch) -> NodeKey {
        let seed = KeySeed(self.0.bytes());
        let secret = Sphinx::generate(&mut KeyRng::from_seed(seed.0));
        NodeKey {
            epoch,
            public: Sphinx::public(&secret),
            seed,
        }
    }
}

impl World {
    /// Makes everything but starts no node yet.
    pub fn new(setup: Setup) -> Result<Self, NodeError> {
        let clock = Clock::start();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&setup.seed.to_be_bytes());
        let mut draws = Draws(KeyRng::from_seed(seed));
        let folder = new_folder(&setup.folder)?;
        let schedule = EpochSchedule {
            genesis: UnixTime(clock.unix().0.saturating_sub(3_600_000)),
            length: EPOCH_LENGTH,
        };
        let network_id = NetworkId(draws.0.bytes());
        let epoch = schedule.epoch_at(clock.unix());
        let (us, authority) = (draws.identity(), draws.identity());
        let before: Vec<_> = (0..setup.sources).map(|_| draws.identity()).collect();
        let after: Vec<_> = (0..setup.sinks).map(|_| draws.identity()).collect();
        let ledger = Arc::new(Ledger::new(setup.packets, clock, draws.0.bytes()));
        pin(&setup.own_cores)?;
        let sink = Sink::start(&after, network_id, us.public(), &ledger)?;
        let (listen, metrics) = (free_address()?, free_address()?);

        let authorities = vec![NetworkAuthority {
            identity: authority.public(),
            // Nobody listens there: the node lives on the directory that it finds in its folder.
            address: nowhere(),
        }];
        let network = Network::new(network_id, schedule, authorities, 1, Vec::new());
        let network = network.map_err(failed("make a network"))?;
        std::fs::write(folder.0.join("network.toml"), network.to_toml())?;
        std::fs::write(
            folder.0.join("mixnode.toml"),
            format!(
                "data_dir = \"data\"\nlisten = [\"{listen}\"]\nmetrics = \"{metrics}\"\n{}\n",
                setup.config
            ),
        )?;
        let data = DataDir::open(folder.0.join("data"))?;
        keyfile::create(&data, IDENTITY_FILE, &us.expose_seed())?;
        let keys = make_logs(&data, &NodeId::of(&us.public()), epoch, &mut draws)?;
        let directory = {
            let describe = |identity: &IdentitySecret, role, address, keys: Vec<SphinxKey>| {
                describe(identity, role, address, keys)
            };
            let mut other = |identity: &IdentitySecret, role, address| {
                let keys = [epoch, epoch.next()].map(|e| sphinx_key(&draws.key(e)));
                describe(identity, role, address, keys.to_vec())
            };
            let first = before.iter().map(|i| other(i, Role::Mix, nowhere()));
            let first = first.collect();
            let last = after.iter().zip(sink.addresses());
            let last = last.map(|(i, at)| other(i, Role::Mix, *at)).collect();
            let gateway = IdentitySecret::from_seed(&[9; 32]);
            let gateways = vec![other(&gateway, Role::Gateway, nowhere())];
            let ours = keys.values().take(2).map(sphinx_key).collect();
            let middle = vec![describe(&us, Role::Mix, listen, ours)];
            let preamble = preamble(network_id, epoch, schedule, &setup.parameters);
            Directory::new(preamble, [first, middle, last], gateways)
                .map_err(failed("make a directory"))?
        };
        let signed = SignedDirectory::sign(&directory, 0, &authority).encode();
        data.write("directory-even.bin", &signed)?;
        data.write("directory-odd.bin", &signed)?;
        let after = after.iter().map(|identity| NextHop::Node {
            id: NodeId::of(&identity.public()),
            epoch: epoch.hint(),
        });
        Ok(Self {
            node: Node::default(),
            network: network_id,
            epoch,
            identity: us.public(),
            key: keys[&epoch].public,
            listen,
            metrics,
            before,
            after: after.collect(),
            clock,
            ledger,
            runtime: current_thread()?,
            _sink: sink,
            folder,
            setup,
        })
    }

    /// Starts the node and waits until it takes packets and passes them on.
    pub fn start(&mut self) -> Result<(), NodeError> {
        let log = self.folder.0.join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.setup.program);
        command.args(["run", "--config", "mixnode.toml"]);
        command.arg(format!("--die-with-parent={}", std::process::id()));
        command.stdout(file.try_clone()?).stderr(file);
        command.stdin(Stdio::null()).current_dir(&self.folder.0);
        // A child has the cores of the thread that starts it.
        pin(&self.setup.node_cores)?;
        let child = command.spawn();
        pin(&self.setup.own_cores)?;
        self.node = Node(Some(child.map_err(failed("start a mixnode"))?));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.status().is_some_and(|s| s["ready"] == true) {
                return Ok(());
            }
            let ended = match &mut self.node.0 {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(5).collect();
                let last: Vec<_> = last.into_iter().rev().collect();
                return Err(NodeError::Ended(format!(
                    "the node is not ready: {}",
                    last.join("\n")
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.node.kill();
    }

    /// SIGTERM; says whether it ended well.
    pub fn terminate(&mut self) -> bool {
        let Some(mut child) = self.node.0.take() else {
            return false;
        };
        let id = child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        asked.is_ok_and(|s| s.success()) && child.wait().is_ok_and(|s| s.success())
    }

    /// The node's process.
    pub fn pid(&self) -> Option<u32> {
        self.node.0.as_ref().map(Child::id)
    }

    /// What the node has used so far.
    pub fn usage(&self) -> Result<Usage, NodeError> {
        let pid = self.pid();
        let pid = pid.ok_or_else(|| NodeError::Ended("the node does not run".into()))?;
        Usage::of(pid).map_err(failed("see what the node uses"))
    }

    /// What the node says of itself; its loop copies that twice a second.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.ask("/status")?).ok()
    }

    /// The node's metrics, as text.
    pub fn metrics(&self) -> Option<String> {
        self.ask("/metrics")
    }

    fn ask(&self, path: &str) -> Option<String> {
        let client = HttpClient::new(self.metrics);
        let answer = self.runtime.block_on(client.get(path)).ok()?;
        String::from_utf8(answer.body.to_vec()).ok()
    }

    /// Dials the node from every mix of the layer before.
    pub fn source(&self) -> Result<Source, NodeError> {
        self.dial(&self.before)
    }

    /// Dials the node from one mix of the layer before, beside whatever links it has.
    pub fn source_of(&self, mix: usize) -> Result<Source, NodeError> {
        self.dial(&self.before[mix..=mix])
    }

    fn dial(&self, from: &[IdentitySecret]) -> Result<Source, NodeError> {
        let runtime = current_thread()?;
        let links = from.iter().map(|identity| {
            let tls = NodeTls::new(identity)?;
            runtime.block_on(tls.dial(self.listen, &self.identity, self.network))
        });
        let links: Result<Vec<_>, _> = links.collect();
        let links = links.map_err(failed("dial the node"))?;
        Ok(Source::new(runtime, links, [self.setup.seed as u8; 32]))
    }

    /// Packets for the node.
    pub fn stock(&self) -> Result<Stock, NodeError> {
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&self.setup.seed.to_be_bytes());
        Stock::new(StockConfig {
            key: self.key,
            hint: self.epoch.hint(),
            delay_mean: self.setup.parameters.delay_mean,
            next: self.after.clone(),
            ledger: self.ledger.clone(),
            seed,
        })
    }

    /// When packets were sent and came out.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The one clock of this process.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// δ.
    pub fn allowance(&self) -> Duration {
        self.setup.parameters.hop_allowance
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where the node keeps the key and the tags of the epoch.
    pub fn log(&self) -> PathBuf {
        tag_log::path(&self.folder.0.join("data").join(LOGS), self.epoch)
    }
}

fn current_thread() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn pin(cores: &[usize]) -> std::io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    cores::pin(cores)
}

fn new_folder(within: &Path) -> std::io::Result<Folder> {
    for number in 0.. {
        let path = within.join(format!("mixnode-bench-{}-{number}", std::process::id()));
        match DirBuilder::new().recursive(false).mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| Folder(path)),
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn nowhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 9).into()
}

/// As a node that drew these keys would have left them.
fn make_logs(
    data: &DataDir,
    node: &NodeId,
    epoch: Epoch,
    draws: &mut Draws,
) -> Result<BTreeMap<Epoch, NodeKey>, NodeError> {
    let folder = data.file(LOGS);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let mut keys = BTreeMap::new();
    for epoch in [epoch, epoch.next(), epoch.next().next()] {
        let key = draws.key(epoch);
        TagLog::create(&folder, node, &key)?;
        keys.insert(epoch, key);
    }
    Ok(keys)
}

fn sphinx_key(key: &NodeKey) -> SphinxKey {
    SphinxKey {
        epoch: key.epoch,
        format: FORMAT_SPHINX,
        key: key.public,
    }
}

fn describe(
    identity: &IdentitySecret,
    role: Role,
    address: SocketAddr,
    sphinx_keys: Vec<SphinxKey>,
) -> NodeDescriptor {
    let identity = identity.public();
    let client_addresses = match role {
        Role::Mix => Vec::new(),
        Role::Gateway => vec![nowhere()],
    };
    NodeDescriptor {
        identity,
        role,
        family: Family::of(&directory::hex::encode(&identity.to_bytes())),
        addresses: vec![address],
        client_addresses,
        sphinx_keys,
    }
}

fn preamble(
    network: NetworkId,
    epoch: Epoch,
    schedule: EpochSchedule,
    parameters: &Parameters,
) -> Preamble {
    Preamble {
        network,
        epoch,
        schedule,
        valid_from: schedule.start(epoch),
        valid_until: schedule.start(epoch.next().next()),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        // No loops of its own among what comes out.
        parameters: Parameters {
            mix_loop_rate: directory::Rate(1),
            ..parameters.clone()
        },
        shared_random: [5; 32],
        withheld: 0,
    }
}
