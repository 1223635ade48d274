//! Four authorities on loopback that may run, for the tests of what they say to each other.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
#![allow(dead_code, reason = "each test program uses its own part")]

use directory::testing::{self, nobodys_key};
use directory::{
    EpochSchedule, Network, NetworkAuthority, Role, SignedDescriptor, SignedDirectory, hex, quorum,
};
use runtime::http_client::{HttpClient, Method, StatusCode};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::ids::{DirectoryHash, Epoch};
use wire::time::UnixTime;

pub(crate) const SEED: u64 = 12;
pub(crate) const AUTHORITIES: usize = 4;
const MIXES: usize = 3;
const NODES: usize = 4;
pub(crate) const EPOCH: Duration = Duration::from_secs(16);

/// All authorities, their folders and processes.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) network: Network,
    children: Vec<Option<Child>>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        (0..AUTHORITIES).for_each(|i| self.kill(i));
    }
}

impl Fixture {
    /// None of them runs.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let held: Vec<_> = (0..2 * AUTHORITIES)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let address = |i: usize| held[i].local_addr().unwrap();
        let authority = |i| NetworkAuthority {
            identity: testing::authority_secret(SEED, i).public(),
            address: address(i),
        };
        let schedule = EpochSchedule {
            genesis: now(),
            length: EPOCH,
        };
        let network = Network::new(
            testing::network_id(SEED),
            schedule,
            (0..AUTHORITIES).map(authority).collect(),
            quorum(AUTHORITIES),
            Vec::new(),
        );
        let network = network
            .and_then(|n| n.with_recovery_round(Duration::from_millis(400)))
            .unwrap();
        let file = folder.path().join("network.toml");
        std::fs::write(&file, network.to_toml()).unwrap();
        let mut nodes = String::new();
        for index in 0..NODES {
            let identity = hex::encode(&testing::node_secret(SEED, index).public().to_bytes());
            let role = if index < MIXES { "mix" } else { "gateway" };
            let _ = write!(
                nodes,
                "[[node]]\nidentity = \"{identity}\"\nrole = \"{role}\"\noperator = \"o{index}\"\n"
            );
        }
        for i in 0..AUTHORITIES {
            let data = folder.path().join(format!("data-{i}"));
            std::fs::create_dir(&data).unwrap();
            std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
            let key = data.join("identity.key");
            std::fs::write(&key, &testing::authority_secret(SEED, i).expose_seed()[..]).unwrap();
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
            let text = format!(
                "data_dir = {data:?}\nnetwork = {file:?}\nlisten = \"{}\"\nmetrics_port = {}\n\
                 profile = \"localnet\"\n[parameters]\nkey_overlap_ms = 4000\n{nodes}",
                address(i),
                address(AUTHORITIES + i).port(),
            );
            std::fs::write(folder.path().join(format!("topology-{i}.toml")), text).unwrap();
        }
        drop(held);
        let mut fixture = Self {
            folder,
            network,
            children: Vec::new(),
        };
        fixture.children.resize_with(AUTHORITIES, || None);
        fixture
    }

    /// All of them run.
    pub(crate) fn start() -> Self {
        let mut fixture = Self::new();
        (0..AUTHORITIES).for_each(|i| fixture.spawn(i));
        fixture
    }

    fn log_file(&self, i: usize) -> PathBuf {
        self.folder.path().join(format!("log-{i}"))
    }

    /// What it logged.
    pub(crate) fn log(&self, i: usize) -> String {
        std::fs::read_to_string(self.log_file(i)).unwrap()
    }

    pub(crate) fn config(&self, i: usize) -> PathBuf {
        self.folder.path().join(format!("topology-{i}.toml"))
    }

    pub(crate) fn spawn(&mut self, i: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
        command.args(["run", "--die-with-parent", "--config"]);
        command.arg(self.config(i)).stdin(Stdio::null());
        let mut log = std::fs::OpenOptions::new();
        let log = log.create(true).append(true);
        let log = log.open(self.log_file(i)).unwrap();
        self.children[i] = Some(
            command
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
    }

    pub(crate) fn kill(&mut self, i: usize) {
        if let Some(mut child) = self.children[i].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn address(&self, i: usize) -> SocketAddr {
        self.network.authorities()[i].address
    }

    pub(crate) async fn status(&self, i: usize) -> Option<Value> {
        let answer = HttpClient::new(self.address(i)).get("/v1/status").await;
        serde_json::from_slice(&answer.ok()?.body).ok()
    }

    pub(crate) fn words(&self, i: usize) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
        command.args(["status", "--config"]).arg(self.config(i));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Every node tells every authority that it lives.
    pub(crate) async fn beat(&self) {
        let epoch = self.network.schedule().epoch_at(now());
        for index in 0..NODES {
            let bytes = descriptor(index, epoch);
            for i in 0..AUTHORITIES {
                let client = HttpClient::new(self.address(i));
                let sent = client.request(Method::POST, "/v1/descriptor", &[], bytes.clone());
                // One of them may be dead.
                let _ = sent.await;
            }
        }
    }

    pub(crate) async fn hash(&self, i: usize, epoch: Epoch) -> Option<DirectoryHash> {
        let client = HttpClient::new(self.address(i));
        let answer = client.get(&format!("/v1/directory/{epoch}")).await.ok()?;
        if answer.status != StatusCode::OK {
            return None;
        }
        let signed = SignedDirectory::decode(&answer.body).unwrap();
        Some(signed.verify(&self.network).unwrap().hash())
    }

    /// Until these have the same directory of an epoch.
    pub(crate) async fn wait_for(&self, epoch: Epoch, who: &[usize]) {
        let patience = Instant::now() + EPOCH * 3;
        loop {
            self.beat().await;
            let mut hashes = Vec::new();
            for i in who {
                hashes.extend(self.hash(*i, epoch).await);
            }
            if hashes.len() == who.len() {
                assert!(hashes.iter().all(|h| *h == hashes[0]), "two directories");
                return;
            }
            let words: Vec<_> = who.iter().map(|i| self.words(*i)).collect();
            assert!(Instant::now() < patience, "{epoch}: {words:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime(u64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn descriptor(index: usize, epoch: Epoch) -> Vec<u8> {
    let role = if index < MIXES {
        Role::Mix
    } else {
        Role::Gateway
    };
    let mut node = testing::node(SEED, index, role, epoch, nobodys_key);
    let later = testing::node(SEED, index, role, epoch.next().next(), nobodys_key);
    node.sphinx_keys.extend(later.sphinx_keys.first());
    let secret = testing::node_secret(SEED, index);
    let signed = SignedDescriptor::sign(node, now(), &secret, &testing::network_id(SEED));
    signed.unwrap().encode()
}

/// The header by which one authority may send to another.
pub(crate) fn ticket(network: &Network, from: u8, to: u8, time: UnixTime, signer: usize) -> String {
    let mut text = network.id().0.to_vec();
    text.extend([from, to]);
    text.extend(time.0.to_be_bytes());
    let secret = testing::authority_secret(SEED, signer);
    let signature = secret.sign("mizzle-authority-ticket-v1", &text);
    format!("{from} {} {}", time.0, hex::encode(&signature))
}
