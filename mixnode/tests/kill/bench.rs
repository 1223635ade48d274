//! One mixnode in the middle layer, with this test on both sides of it.

use directory::testing::{GENESIS, authority_secret, network_id, nobodys_key, node, node_secret};
use directory::{
    Directory, EpochSchedule, Network, NetworkAuthority, NodeDescriptor, Parameters, Preamble,
    Rate, Role, SignedDirectory,
};
use mizzle_core::hop::Received;
use runtime::clock::Clock;
use runtime::http_client::HttpClient;
use runtime::inbound::{InboundCounters, InboundLimits};
use runtime::link::{NodeLink, NodeTls};
use runtime::node::listener::NodeListener;
use runtime::shutdown::Shutdown;
use runtime::stages::Stages;
use runtime::tag_log::TagLog;
use serde_json::Value;
use sphinx::{Hop, PacketFormat, Sphinx};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wire::frame::{Frame, FrameBytes};
use wire::geometry::{GeometryHash, PLAINTEXT_LEN};
use wire::ids::{DirectoryHash, Epoch, NextHop, NodeId};
use wire::keys::{IdentityPublic, IdentitySecret, SphinxPublic};
use wire::rng::KeyRng;

const SEED: u64 = 11;
/// The mixnode's place; 0 and 2 are the layers around it, 3 a gateway.
const US: usize = 1;
const PATIENCE: Duration = Duration::from_secs(20);
/// One packet each, in the load.
const PACE: Duration = Duration::from_millis(1);

/// What came of all that was sent.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Different packets.
    pub(crate) sent: usize,
    /// Different packets that came out.
    pub(crate) passed: usize,
    /// Packets that came out more than once.
    pub(crate) doubles: usize,
    /// Discards of the last process for want of the right key.
    pub(crate) unusable: u64,
    /// Discards of the last process as replays.
    pub(crate) replayed: u64,
}

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) epoch: Epoch,
    mix: IdentityPublic,
    key: SphinxPublic,
    listen: SocketAddr,
    metrics: SocketAddr,
    child: Option<Child>,
    link: Option<NodeLink>,
    sent: Vec<FrameBytes>,
    out: BTreeMap<Vec<u8>, usize>,
    frames: mpsc::Receiver<Received>,
    rng: KeyRng,
    /// The listener of the layer after; ends with the test.
    _listener: Option<Listener>,
}

type Listener = (
    watch::Sender<Arc<BTreeSet<IdentityPublic>>>,
    Shutdown,
    JoinSet<()>,
);

fn schedule() -> EpochSchedule {
    // Nothing rotates while the test runs.
    EpochSchedule {
        genesis: GENESIS,
        length: Duration::from_secs(30 * 24 * 3600),
    }
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

impl Bench {
    /// Starts the mixnode once, so that it draws its keys, and makes a directory that names them.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (listen, metrics) = (free_address().await, free_address().await);
        let after = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let after_address = after.local_addr().unwrap();
        write_files(&folder, listen, metrics);
        let epoch = schedule().epoch_at(Clock::start().unix());
        let mut tasks = JoinSet::new();
        let mut bench = Self {
            epoch,
            mix: node_secret(SEED, US).public(),
            key: SphinxPublic([0; 32]),
            listen,
            metrics,
            child: None,
            link: None,
            sent: Vec::new(),
            out: BTreeMap::new(),
            frames: mpsc::channel(1).1,
            rng: KeyRng::from_seed([3; 32]),
            folder,
            _listener: None,
        };
        let keys = bench.first_keys().await;
        bench.key = keys[&epoch];
        bench.write_directory(&keys, after_address);
        let (frames_tx, frames) = mpsc::channel(1 << 16);
        let (held, allowed) = watch::channel(Arc::new(BTreeSet::from([bench.mix])));
        let listener = NodeListener {
            tls: NodeTls::new(&node_secret(SEED, 2)).unwrap(),
            network: network_id(SEED),
            allowed,
            lanes: Arc::new(move || {
                let frames = frames_tx.clone();
                Box::new(move |packets| {
                    packets.drain(..).for_each(|p| frames.try_send(p).unwrap());
                })
            }),
            stages: Stages::default(),
            clock: Clock::start(),
        };
        let shutdown = Shutdown::manual();
        let (limits, counters) = (InboundLimits::default(), Arc::<InboundCounters>::default());
        listener.start(vec![after], &limits, &counters, &shutdown, &mut tasks);
        bench.frames = frames;
        bench._listener = Some((held, shutdown, tasks));
        bench
    }

    /// Where the node keeps its keys.
    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.path().join("data/sphinx-keys")
    }

    async fn first_keys(&mut self) -> BTreeMap<Epoch, SphinxPublic> {
        self.spawn();
        let epochs = [self.epoch, self.epoch.next(), self.epoch.next().next()];
        let deadline = Instant::now() + PATIENCE;
        let all_there = |logs: &PathBuf| {
            let there = |epoch: &Epoch| runtime::tag_log::path(logs, *epoch).exists();
            epochs.iter().all(there)
        };
        while !all_there(&self.logs()) {
            assert!(Instant::now() < deadline, "no keys");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill();
        let id = NodeId::of(&self.mix);
        let key = |epoch: Epoch| {
            let opened = TagLog::open(&self.logs(), &id, epoch, 10).unwrap();
            (epoch, opened.ok().unwrap().1.key.public)
        };
        epochs.into_iter().map(key).collect()
    }

    fn write_directory(&self, keys: &BTreeMap<Epoch, SphinxPublic>, after: SocketAddr) {
        let (epoch, schedule) = (self.epoch, schedule());
        let described = |index, role, address: SocketAddr| -> NodeDescriptor {
            let key = |index, epoch: Epoch| match index {
                US => keys[&epoch],
                other => nobodys_key(other, epoch),
            };
            let mut described = node(SEED, index, role, epoch, key);
            described.addresses = vec![address];
            described
        };
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let places = [(0, nowhere), (US, self.listen), (2, after)];
        let layers = places.map(|(index, at)| vec![described(index, Role::Mix, at)]);
        let gateways = vec![described(3, Role::Gateway, nowhere)];
        let preamble = Preamble {
            network: network_id(SEED),
            epoch,
            schedule,
            valid_from: schedule.start(epoch),
            valid_until: schedule.start(epoch.next().next()),
            previous: DirectoryHash([0; 32]),
            geometry: GeometryHash::current(),
            // No loops of its own among what comes out.
            parameters: Parameters {
                mix_loop_rate: Rate(1),
                ..Parameters::localnet()
            },
            shared_random: [5; 32],
            withheld: 0,
        };
        let directory = Directory::new(preamble, layers, gateways).unwrap();
        let signed = SignedDirectory::sign(&directory, 0, &authority_secret(SEED, 0));
        for name in ["directory-even.bin", "directory-odd.bin"] {
            let path = self.folder.path().join("data").join(name);
            std::fs::write(&path, signed.encode()).unwrap();
            close_to_others(&path);
        }
    }

    fn spawn(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mixnode"));
        command.args(["run", "--die-with-parent"]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the node and waits until it takes packets and passes them on.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.status().await.is_some_and(|s| s["ready"] == true) {
                break;
            }
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(Instant::now() < deadline, "not ready:\n{}", log().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let tls = NodeTls::new(&node_secret(SEED, 0)).unwrap();
        let dialled = tls.dial(self.listen, &self.mix, network_id(SEED)).await;
        self.link = Some(dialled.unwrap());
    }

    async fn status(&self) -> Option<Value> {
        let answer = HttpClient::new(self.metrics).get("/status").await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// A packet that waits 0 to 20 ms on top of δ.
    fn build(&mut self) -> FrameBytes {
        let after = NextHop::Node {
            id: NodeId::of(&node_secret(SEED, 2).public()),
            epoch: self.epoch.hint(),
        };
        let hop = |address, key, delay| Hop {
            address,
            key,
            delay,
        };
        let delay = Duration::from_millis(self.draw(20));
        let first = hop(after.clone(), self.key, delay);
        let last = hop(after, nobodys_key(2, self.epoch), Duration::ZERO);
        let plain = Box::new([0; PLAINTEXT_LEN]);
        let packet = Sphinx::build(&[first, last], &plain, &mut self.rng).unwrap();
        Frame::Packet(self.epoch.hint(), packet).encode()
    }

    /// Sends new packets at a steady pace; after `time`, kills the node in their midst.
    pub(crate) async fn load_until_killed(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let frame = self.build();
            self.sent.push(frame.clone());
            self.send(&[frame]).await;
            self.collect();
            tokio::time::sleep(PACE).await;
        }
        self.kill();
        self.link = None;
        self.settle().await;
    }

    /// Sends everything that was ever sent once more, in the same order.
    pub(crate) async fn replay_all(&mut self) {
        let all = self.sent.clone();
        for some in all.chunks(64) {
            self.send(some).await;
            self.collect();
            // Slower than it unwraps, so that nothing is shed.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.settle().await;
    }

    async fn send(&mut self, frames: &[FrameBytes]) {
        let link = self.link.as_mut().unwrap();
        link.writer.send(frames).await.unwrap();
    }

    /// Long enough for every delay and every commit.
    async fn settle(&mut self) {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.collect();
        }
    }

    fn collect(&mut self) {
        while let Ok(frame) = self.frames.try_recv() {
            *self.out.entry(frame.packet.to_vec()).or_default() += 1;
        }
    }

    pub(crate) async fn seen(&mut self) -> Seen {
        // The loop copies its counts twice a second.
        if self.child.is_some() {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        self.collect();
        let status = self.status().await.unwrap_or_default();
        let of = |reason: &str| status["discards"][reason].as_u64().unwrap_or(0);
        Seen {
            sent: self.sent.len(),
            passed: self.out.len(),
            doubles: self.out.values().filter(|n| **n > 1).count(),
            unusable: of("bad_mac") + of("unknown_epoch"),
            replayed: of("replayed"),
        }
    }

    /// A number below `limit`.
    pub(crate) fn draw(&mut self, limit: u64) -> u64 {
        u64::from_be_bytes(self.rng.bytes()) % limit
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM; it must end well.
    pub(crate) fn terminate(&mut self) {
        let mut child = self.child.take().unwrap();
        let id = child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.unwrap().success());
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write_files(folder: &tempfile::TempDir, listen: SocketAddr, metrics: SocketAddr) {
    let authorities = vec![NetworkAuthority {
        identity: authority_secret(SEED, 0).public(),
        // Nobody listens there: the node lives on the directory that it finds in its folder.
        address: "127.0.0.1:9".parse().unwrap(),
    }];
    let network = Network::new(network_id(SEED), schedule(), authorities, 1, Vec::new()).unwrap();
    std::fs::write(folder.path().join("network.toml"), network.to_toml()).unwrap();
    let config = format!(
        "data_dir = \"data\"\nlisten = [\"{listen}\"]\nmetrics = \"{metrics}\"\nlog = \"debug\"\n"
    );
    std::fs::write(folder.path().join("mixnode.toml"), config).unwrap();
    let data = runtime::data_dir::DataDir::open(folder.path().join("data")).unwrap();
    let secret: IdentitySecret = node_secret(SEED, US);
    runtime::keyfile::create(&data, "identity.key", &secret.expose_seed()).unwrap();
}

fn close_to_others(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}
