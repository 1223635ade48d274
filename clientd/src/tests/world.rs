//! A made-up network, clients in it, and a raw HTTP client that may be as rude as a test wants.

use crate::config::Config;
use crate::daemon::Daemon;
use crate::token::TOKEN_FILE;
use crate::vault::key::Unlock;
use directory::testing::{authority_secret, directory_on, network_id, nobodys_key};
use directory::{
    Bootstrap, Directory, EpochSchedule, Network, NetworkAuthority, NodeDescriptor, Parameters,
    SignedDirectory,
};
use runtime::clock::Clock;
use runtime::node::NodeError;
use runtime::shutdown::Shutdown;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::keys::IdentitySecret;
use wire::time::UnixTime;

const SEED: u64 = 7;

/// Files of a network whose epoch 0 began a minute ago.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) network: Network,
    pub(crate) signed: SignedDirectory,
    pub(crate) directory: Directory,
    /// Mixes first, then three gateways.
    pub(crate) secrets: Vec<IdentitySecret>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::begun(Duration::from_secs(60), Duration::from_secs(3600))
    }

    /// One that began so long ago and has epochs of this length.
    pub(crate) fn begun(ago: Duration, length: Duration) -> Self {
        let now = Clock::start().unix();
        let genesis = UnixTime(now.0 - u64::try_from(ago.as_millis()).unwrap());
        let schedule = EpochSchedule { genesis, length };
        let parameters = parameters(length);
        let (directory, secrets) = directory_on(
            schedule,
            SEED,
            (1, 3),
            wire::ids::Epoch(0),
            parameters,
            nobodys_key,
        );
        let authority = authority_secret(SEED, 0);
        let signed = SignedDirectory::sign(&directory, 0, &authority);
        let authority = NetworkAuthority {
            identity: authority.public(),
            address: "127.0.0.1:1".parse().unwrap(),
        };
        let bootstrap = |g: &NodeDescriptor| Bootstrap {
            identity: g.identity,
            // Port 1: nobody listens there.
            client_addresses: vec!["127.0.0.1:1".parse().unwrap()],
        };
        let bootstrap = directory.gateways().iter().map(bootstrap).collect();
        let id = network_id(SEED);
        let network = Network::new(id, schedule, vec![authority], 1, bootstrap).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("network.toml"), network.to_toml()).unwrap();
        Self {
            folder,
            network,
            signed,
            directory,
            secrets,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration that dials nobody. Every client enters through the first gateway.
    pub(crate) fn config(&self, name: &str) -> Config {
        Config {
            data_dir: self.path(name),
            network: self.path("network.toml"),
            api: "127.0.0.1:0".parse().unwrap(),
            name: name.to_owned(),
            entry: Some(directory::hex::encode(&self.directory.gateways()[0].id().0)),
            entry_address: Some("127.0.0.1:1".parse().unwrap()),
            ..Config::default()
        }
    }

    /// Puts the directory where an earlier run would have kept it.
    pub(crate) fn give_directory(&self, config: &Config) {
        self.give_directories(config, &[&self.signed]);
    }

    /// The same with these, oldest first.
    pub(crate) fn give_directories(&self, config: &Config, all: &[&SignedDirectory]) {
        let dir = runtime::data_dir::DataDir::open(&config.data_dir).unwrap();
        let mut bytes = Vec::new();
        for document in all.iter().map(|signed| signed.encode()) {
            bytes.extend((document.len() as u32).to_be_bytes());
            bytes.extend(document);
        }
        dir.write("directories", &bytes).unwrap();
    }

    /// A running client that knows the directory.
    pub(crate) async fn client(&self, name: &str) -> Running {
        let config = self.config(name);
        self.give_directory(&config);
        Running::start(config).await.unwrap()
    }
}

/// Those of `localnet`, for epochs of this length.
pub(crate) fn parameters(length: Duration) -> Parameters {
    let usual = Parameters::localnet();
    Parameters {
        key_overlap: usual.key_overlap.min(length / 4),
        ..usual
    }
}

/// A running daemon.
pub(crate) struct Running {
    pub(crate) config: Config,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    shutdown: Shutdown,
    daemon: Daemon,
}

impl Running {
    pub(crate) async fn start(config: Config) -> Result<Self, NodeError> {
        let shutdown = Shutdown::manual();
        let daemon = Daemon::start(&config, &Unlock::default(), shutdown.clone()).await?;
        Ok(Self {
            address: daemon.address,
            token: read(&config.data_dir.join(TOKEN_FILE)),
            config,
            shutdown,
            daemon,
        })
    }

    pub(crate) async fn stop(self) -> Config {
        self.shutdown.trigger();
        self.daemon.wait().await.unwrap();
        self.config
    }

    pub(crate) async fn restart(self) -> Self {
        let config = self.stop().await;
        Self::start(config).await.unwrap()
    }

    /// A well-behaved request.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut headers = self.good_headers();
        if body.is_some() {
            headers.push(("Content-Type".into(), "application/json".into()));
        }
        self.raw(method, path, &headers, body.unwrap_or_default())
            .await
    }

    /// As [`Running::ask`], with another token.
    pub(crate) async fn ask_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Answer {
        let mut headers = vec![
            ("Host".into(), self.address.to_string()),
            ("Authorization".into(), format!("Bearer {token}")),
        ];
        if body.is_some() {
            headers.push(("Content-Type".into(), "application/json".into()));
        }
        self.raw(method, path, &headers, body.unwrap_or_default())
            .await
    }

    /// An event stream that greeted; nothing more is read.
    pub(crate) async fn stream_as(&self, token: &str) -> Stream {
        let host = self.address;
        let request = format!(
            "GET /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        tcp.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        Stream(tcp)
    }

    /// Whether a stream opens with these headers.
    pub(crate) async fn try_stream(&self, headers: &[(String, String)]) -> bool {
        let mut text = "GET /v1/events HTTP/1.1\r\n".to_owned();
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(format!("{text}\r\n").as_bytes())
            .await
            .unwrap();
        let mut first = [0; 12];
        tcp.read_exact(&mut first).await.unwrap();
        &first == b"HTTP/1.1 200"
    }

    /// Waits until the daemon ends by itself.
    pub(crate) async fn ended(self) {
        self.daemon.wait().await.unwrap();
    }

    pub(crate) fn good_headers(&self) -> Vec<(String, String)> {
        vec![
            ("Host".into(), self.address.to_string()),
            ("Authorization".into(), format!("Bearer {}", self.token)),
        ]
    }

    /// Any request; its length is announced as it is.
    pub(crate) async fn raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        self.bytes(format!("{text}\r\n{body}").as_bytes()).await
    }

    /// Bytes as they are, on a connection of their own.
    pub(crate) async fn bytes(&self, request: &[u8]) -> Answer {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        // A server that has seen enough may close before it read all.
        let _ = tcp.write_all(request).await;
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        Answer::parse(&String::from_utf8(answer).unwrap())
    }

    /// Reads the event stream until `wanted` events are there.
    pub(crate) async fn events(
        &self,
        query: &str,
        last_event_id: Option<&str>,
        wanted: usize,
    ) -> Vec<(u64, Value)> {
        let mut headers = self.good_headers();
        headers.push(("Accept".into(), "text/event-stream".into()));
        headers.extend(last_event_id.map(|id| ("Last-Event-ID".into(), id.to_owned())));
        let mut text = format!("GET /v1/events{query} HTTP/1.1\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(format!("{text}\r\n").as_bytes())
            .await
            .unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        let reading = async {
            loop {
                let events = parse_events(&seen);
                // The greeting shows that headers and position came.
                if events.len() >= wanted && seen.contains(": mizzle") {
                    return events;
                }
                let n = tcp.read(&mut buffer).await.unwrap();
                assert!(n > 0, "the stream ended: {seen}");
                seen += std::str::from_utf8(&buffer[..n]).unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .unwrap()
    }
}

/// A connection that stays open.
pub(crate) struct Stream(TcpStream);

impl Stream {
    /// Reads to the end, which must come.
    pub(crate) async fn until_end(&mut self) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest);
        let _ = tokio::time::timeout(Duration::from_secs(10), end)
            .await
            .unwrap();
    }
}

fn parse_events(text: &str) -> Vec<(u64, Value)> {
    let mut events = Vec::new();
    let mut id = 0;
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("id: ") {
            id = number.parse().unwrap();
        } else if let Some(data) = line.strip_prefix("data: ")
            && let Ok(json) = serde_json::from_str(data)
        {
            events.push((id, json));
        }
    }
    events
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
    pub(crate) json: Value,
    /// Every byte that came.
    pub(crate) whole: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = headers
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            headers: headers.to_lowercase(),
            json: serde_json::from_str(body).unwrap_or(Value::Null),
            body: body.to_owned(),
            whole: text.to_owned(),
        }
    }

    pub(crate) fn code(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or_default())
    }
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
