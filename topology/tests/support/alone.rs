//! One real authority on loopback, alone in its network, for the tests of its routes and of its commands.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
#![allow(dead_code, reason = "each test program uses its own part")]

use directory::testing::{self, nobodys_key};
use directory::{
    Directory, EpochSchedule, Network, NetworkAuthority, Role, SignedDescriptor, SignedDirectory,
    hex,
};
use runtime::http_client::{Answer, HttpClient, Method, StatusCode};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::ids::Epoch;
use wire::keys::IdentitySecret;
use wire::time::UnixTime;

pub(crate) const SEED: u64 = 11;
pub(crate) const MIXES: usize = 3;
pub(crate) const NODES: usize = 4;

/// A folder with everything an authority needs, and its process while it runs.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) network: Network,
    pub(crate) address: SocketAddr,
    child: Option<Child>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
        let key = data.join("identity.key");
        std::fs::write(&key, [5; 32]).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let (address, metrics) = (free_address(), free_address());
        let authority = NetworkAuthority {
            identity: IdentitySecret::from_seed(&[5; 32]).public(),
            address,
        };
        let schedule = EpochSchedule {
            genesis: now(),
            length: Duration::from_secs(600),
        };
        let id = testing::network_id(SEED);
        let network = Network::new(id, schedule, vec![authority], 1, Vec::new()).unwrap();
        std::fs::write(folder.path().join("network.toml"), network.to_toml()).unwrap();
        let mut text = format!(
            "data_dir = {data:?}\nnetwork = {:?}\nlisten = \"{address}\"\nmetrics_port = {}\n\
             profile = \"localnet\"\n",
            folder.path().join("network.toml"),
            metrics.port(),
        );
        for index in 0..NODES {
            let identity = hex::encode(&testing::node_secret(SEED, index).public().to_bytes());
            let role = if index < MIXES { "mix" } else { "gateway" };
            let _ = write!(
                text,
                "[[node]]\nidentity = \"{identity}\"\nrole = \"{role}\"\noperator = \"o{index}\"\n"
            );
        }
        std::fs::write(folder.path().join("topology.toml"), text).unwrap();
        Self {
            folder,
            network,
            address,
            child: None,
        }
    }

    pub(crate) async fn started() -> Self {
        let mut fixture = Self::new();
        fixture.start().await;
        fixture
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("topology.toml")
    }

    pub(crate) async fn start(&mut self) {
        let config = self.config();
        let mut command = program(&["run", "--die-with-parent", "--config"], Some(&config));
        self.child = Some(command.stderr(Stdio::null()).spawn().unwrap());
        let patience = Instant::now() + Duration::from_secs(20);
        while self.get("/v1/status").await.is_none() {
            assert!(Instant::now() < patience, "the authority does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Answer> {
        HttpClient::new(self.address).get(path).await.ok()
    }

    pub(crate) async fn post(&self, body: Vec<u8>) -> (StatusCode, String) {
        let client = HttpClient::new(self.address);
        let answer = client.request(Method::POST, "/v1/descriptor", &[], body);
        let answer = answer.await.unwrap();
        (
            answer.status,
            String::from_utf8(answer.body.to_vec()).unwrap(),
        )
    }

    pub(crate) async fn upload_all(&self) {
        for index in 0..NODES {
            let (status, text) = self.post(descriptor(index, now())).await;
            assert_eq!((status, &text[..]), (StatusCode::OK, "stored\n"));
        }
    }

    /// The first one, once there is one: a vote takes a second.
    pub(crate) async fn voted(&self, path: &str) -> Directory {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(directory) = self.directory(path).await {
                return directory;
            }
            assert!(Instant::now() < patience, "there is no directory");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn directory(&self, path: &str) -> Option<Directory> {
        let answer = self.get(path).await.unwrap();
        if answer.status == StatusCode::NOT_FOUND {
            return None;
        }
        let signed = SignedDirectory::decode(&answer.body).unwrap();
        Some((*signed.accept(&self.network, None, now()).unwrap()).clone())
    }
}

pub(crate) fn program(arguments: &[&str], config: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
    command.args(arguments).args(config).stdin(Stdio::null());
    command
}

pub(crate) fn output(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(arguments, Some(config)).output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).unwrap())
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime(u64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn descriptor(index: usize, published: UnixTime) -> Vec<u8> {
    let role = if index < MIXES {
        Role::Mix
    } else {
        Role::Gateway
    };
    let node = testing::node(SEED, index, role, Epoch(0), nobodys_key);
    let secret = testing::node_secret(SEED, index);
    let network = testing::network_id(SEED);
    let signed = SignedDescriptor::sign(node, published, &secret, &network);
    signed.unwrap().encode()
}
