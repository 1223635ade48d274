//! Four real authorities on loopback that vote with each other: one is killed, strangers and wrong
//! messages are refused by name, and what an operator reads.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

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

const SEED: u64 = 12;
const AUTHORITIES: usize = 4;
const MIXES: usize = 3;
const NODES: usize = 4;
const EPOCH: Duration = Duration::from_secs(16);

/// All authorities, their folders and processes.
struct Fixture {
    folder: tempfile::TempDir,
    network: Network,
    children: Vec<Option<Child>>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        (0..AUTHORITIES).for_each(|i| self.kill(i));
    }
}

impl Fixture {
    fn start() -> Self {
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
        (0..AUTHORITIES).for_each(|i| fixture.spawn(i));
        fixture
    }

    fn config(&self, i: usize) -> PathBuf {
        self.folder.path().join(format!("topology-{i}.toml"))
    }

    fn spawn(&mut self, i: usize) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
        command.args(["run", "--die-with-parent", "--config"]);
        command.arg(self.config(i)).stdin(Stdio::null());
        self.children[i] = Some(command.stderr(Stdio::null()).spawn().unwrap());
    }

    fn kill(&mut self, i: usize) {
        if let Some(mut child) = self.children[i].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn address(&self, i: usize) -> SocketAddr {
        self.network.authorities()[i].address
    }

    async fn status(&self, i: usize) -> Option<Value> {
        let answer = HttpClient::new(self.address(i)).get("/v1/status").await;
        serde_json::from_slice(&answer.ok()?.body).ok()
    }

    fn words(&self, i: usize) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
        command.args(["status", "--config"]).arg(self.config(i));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Every node tells every authority that it lives.
    async fn beat(&self) {
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

    async fn hash(&self, i: usize, epoch: Epoch) -> Option<DirectoryHash> {
        let client = HttpClient::new(self.address(i));
        let answer = client.get(&format!("/v1/directory/{epoch}")).await.ok()?;
        if answer.status != StatusCode::OK {
            return None;
        }
        let signed = SignedDirectory::decode(&answer.body).unwrap();
        Some(signed.verify(&self.network).unwrap().hash())
    }

    /// Until these have the same directory of an epoch.
    async fn wait_for(&self, epoch: Epoch, who: &[usize]) {
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

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime(u64::try_from(since.as_millis()).unwrap())
}

fn descriptor(index: usize, epoch: Epoch) -> Vec<u8> {
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

#[tokio::test]
#[ignore = "real time: half a minute of epochs"]
async fn four_vote_while_one_is_killed_and_comes_back() {
    let mut fixture = Fixture::start();
    let all = [0, 1, 2, 3];
    fixture.wait_for(Epoch(0), &all).await;
    fixture.kill(3);
    let next = fixture.network.schedule().epoch_at(now()).next();
    fixture.wait_for(next, &[0, 1, 2]).await;
    let words = fixture.words(0);
    assert!(words.contains("CANNOT BE REACHED"), "{words}");
    // Back in the middle of an epoch: it fetches what the others decided, and votes again.
    fixture.spawn(3);
    fixture.wait_for(next, &all).await;
    let later = fixture.network.schedule().epoch_at(now()).next().next();
    fixture.wait_for(later, &all).await;
    let status = fixture.status(0).await.unwrap();
    let authorities = status["authorities"].as_array().unwrap().clone();
    assert!(
        authorities
            .iter()
            .all(|a| a["own"] == true || a["reached"] == true)
    );
    let words = fixture.words(0);
    assert!(!words.contains("CANNOT"), "{words}");
}

#[tokio::test]
async fn strangers_have_no_say() {
    let fixture = Fixture::start();
    let patience = Instant::now() + Duration::from_secs(20);
    while fixture.status(0).await.is_none() {
        assert!(Instant::now() < patience, "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = HttpClient::new(fixture.address(0));
    let post = |headers: Vec<(&'static str, String)>| {
        let client = client.clone();
        async move {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, &v[..])).collect();
            let answer = client.request(Method::POST, "/v1/vote/statement", &headers, vec![7; 64]);
            answer.await.unwrap().status
        }
    };
    assert_eq!(post(Vec::new()).await, StatusCode::FORBIDDEN);
    for ticket in ["", "1", "1 2 3", "9 1 00", "-1 0 zz"] {
        let status = post(vec![("mizzle-authority", ticket.to_owned())]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{ticket}");
    }
    // By the key of another authority, at the right time, for the right one: but no message.
    let time = now();
    let ticket = |from: u8, to: u8, signer: usize| {
        let mut text = fixture.network.id().0.to_vec();
        text.extend([from, to]);
        text.extend(time.0.to_be_bytes());
        let secret = testing::authority_secret(SEED, signer);
        let signature = secret.sign("mizzle-authority-ticket-v1", &text);
        format!("{from} {} {}", time.0, hex::encode(&signature))
    };
    let header = |value: String| vec![("mizzle-authority", value)];
    let wrong = post(header(ticket(1, 2, 1))).await;
    assert_eq!(wrong, StatusCode::FORBIDDEN, "for another one");
    let wrong = post(header(ticket(1, 0, 2))).await;
    assert_eq!(wrong, StatusCode::FORBIDDEN, "in another's name");
    let garbage = post(header(ticket(1, 0, 1))).await;
    assert_eq!(garbage, StatusCode::BAD_REQUEST);
    // A longer body than any statement is not read.
    let huge = vec![0; directory::vote::STATEMENT_MAX + 1];
    let value = ticket(1, 0, 1);
    let headers = [("mizzle-authority", &value[..])];
    let answer = client.request(Method::POST, "/v1/vote/statement", &headers, huge);
    assert_eq!(answer.await.unwrap().status, StatusCode::PAYLOAD_TOO_LARGE);
}
