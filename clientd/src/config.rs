//! What a person can set. Nothing here changes what an observer of the network sees: rates come from
//! the signed directory.
//!
//! `clientd.example.toml` shows every key with its default. Reading the file and the environment is
//! `runtime::config`.

use runtime::config::{ConfigError, load};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use wire::ids::NodeId;

/// Longest display name in bytes.
pub const NAME_MAX: usize = 32;

/// The configuration of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Private folder for keys, messages and the API token. Relative to the configuration file.
    pub data_dir: PathBuf,
    /// The network's description, `network.toml`. Relative to the configuration file.
    pub network: PathBuf,
    /// Address of the API; port 0 takes a free one. At 127.0.0.1 the same port of ::1 is taken too.
    /// Beyond loopback only with `api_tls` and `api_beyond_loopback`.
    pub api: SocketAddr,
    /// Unix socket of the API; `api.sock` in the data folder where absent. Relative to the
    /// configuration file.
    pub api_socket: Option<PathBuf>,
    /// Says that other machines shall reach the API.
    pub api_beyond_loopback: bool,
    /// TLS of the API, and its names.
    pub api_tls: Option<ApiTls>,
    /// Whether events wait for the owner (`clientd listen`), and not for applications alone.
    pub owner_listens: bool,
    /// What we call ourselves to new contacts.
    pub name: String,
    /// Node id of the entry gateway in hex; drawn once and kept where absent.
    pub entry: Option<String>,
    /// Where to dial the entry gateway instead of at its published address.
    pub entry_address: Option<SocketAddr>,
    /// Local address to dial from.
    pub source_address: Option<IpAddr>,
    /// Loopback address of Prometheus text.
    pub metrics: Option<SocketAddr>,
    /// Log level, in `tracing`'s syntax.
    pub log: String,
    /// Capacities.
    pub limits: Limits,
    /// **Test networks only**: fixes every draw that an observer can see. Keys stay random.
    pub test_seed: Option<TestSeed>,
}

/// A fixed seed: a number, or 1 to 16 hex digits as the nodes take it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TestSeed {
    /// As a number.
    Number(u64),
    /// As hex digits.
    Hex(String),
}

impl TestSeed {
    /// The number it means.
    pub fn value(&self) -> Option<u64> {
        match self {
            Self::Number(seed) => Some(*seed),
            Self::Hex(text) if text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                u64::from_str_radix(text, 16).ok()
            }
            Self::Hex(_) => None,
        }
    }
}

/// TLS of an API that other machines reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiTls {
    /// Chain of certificates, PEM. Relative to the configuration file.
    pub certificate: PathBuf,
    /// Key of the first certificate, PEM. Relative to the configuration file.
    pub key: PathBuf,
    /// Names and addresses that a `Host` may have, besides those of loopback.
    pub names: Vec<String>,
}

/// Capacities of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time to each listener of the API; one more is answered 503.
    pub connections_max: usize,
    /// Event streams and WebSockets at a time; one more is answered 503.
    pub streams_max: usize,
    /// Events kept for those who have not acknowledged them; the oldest go first.
    pub events_max: u64,
    /// Bytes of them.
    pub events_bytes_max: u64,
    /// Days that they are kept.
    pub events_days_max: u64,
    /// Contacts; one more is refused.
    pub contacts_max: usize,
    /// Cells and orders that wait for a tick or a reply.
    pub outbox_max: usize,
    /// Files whose records go out at once; others wait for their turn. Each has up to 64 cells of 2 KB in memory.
    pub files_at_once: usize,
    /// Bytes of one file; a longer one is refused.
    pub file_max: u64,
    /// Bytes of all files on the disk, uploads too; what would be more is refused.
    pub files_bytes_max: u64,
    /// A contact's file of so many bytes is fetched without asking; 0 always asks.
    pub auto_accept_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "clientd-data".into(),
            network: "network.toml".into(),
            api: SocketAddr::from(([127, 0, 0, 1], 7654)),
            api_socket: None,
            api_beyond_loopback: false,
            api_tls: None,
            owner_listens: true,
            name: "somebody".into(),
            entry: None,
            entry_address: None,
            source_address: None,
            metrics: None,
            log: "info".into(),
            limits: Limits::default(),
            test_seed: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 128,
            streams_max: 64,
            events_max: 10_000,
            events_bytes_max: 64 << 20,
            events_days_max: 30,
            contacts_max: 256,
            outbox_max: 4_096,
            files_at_once: 32,
            file_max: 1 << 30,
            files_bytes_max: 4 << 30,
            auto_accept_max: 25 << 20,
        }
    }
}

impl Config {
    /// Reads the file and the environment (`MIZZLE_CLIENTD_…`), makes paths absolute to the file's
    /// folder, and checks every value.
    pub fn load(path: Option<&Path>, data_dir: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config: Self = load(path, "clientd")?;
        if let Some(folder) = path.and_then(Path::parent) {
            config.data_dir = folder.join(&config.data_dir);
            config.network = folder.join(&config.network);
            config.api_socket = config.api_socket.map(|socket| folder.join(socket));
            if let Some(tls) = &mut config.api_tls {
                tls.certificate = folder.join(&tls.certificate);
                tls.key = folder.join(&tls.key);
            }
        }
        if let Some(data_dir) = data_dir {
            config.data_dir = data_dir.to_owned();
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses impossible values.
    pub fn check(&self) -> Result<(), ConfigError> {
        let asked = self.api_beyond_loopback && self.api_tls.is_some();
        if !(self.api.ip().is_loopback() || asked) {
            return bad(
                "api",
                "must be a loopback address such as 127.0.0.1:7654; for other machines set \
                 api_beyond_loopback = true and [api_tls]",
            );
        }
        if self.metrics.is_some_and(|m| !m.ip().is_loopback()) {
            return bad("metrics", "must be a loopback address");
        }
        let name_fits = (1..=NAME_MAX).contains(&self.name.len());
        if !name_fits || self.name.chars().any(char::is_control) {
            return bad("name", "must have 1 to 32 bytes and no control characters");
        }
        self.entry_id()?;
        if self.test_seed.as_ref().is_some_and(|s| s.value().is_none()) {
            return bad("test_seed", "must be a number or 1 to 16 hex digits");
        }
        if let (Some(source), Some(entry)) = (self.source_address, self.entry_address)
            && source.is_ipv4() != entry.is_ipv4()
        {
            return bad(
                "source_address",
                "must be of the same kind as entry_address",
            );
        }
        let within = |key: &str, value: u64, most: u64| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            bad(
                &format!("limits.{key}"),
                &format!("must lie between 1 and {most}"),
            )
        };
        let limits = &self.limits;
        within("connections_max", limits.connections_max as u64, 1_024)?;
        within("streams_max", limits.streams_max as u64, 1_024)?;
        within("events_max", limits.events_max, 100_000)?;
        within("events_bytes_max", limits.events_bytes_max, 4 << 30)?;
        within("events_days_max", limits.events_days_max, 3_650)?;
        within("contacts_max", limits.contacts_max as u64, 512)?;
        within("files_at_once", limits.files_at_once as u64, 1_024)?;
        within("outbox_max", limits.outbox_max as u64, 65_536)
    }

    /// The configured entry gateway.
    pub fn entry_id(&self) -> Result<Option<NodeId>, ConfigError> {
        let Some(text) = &self.entry else {
            return Ok(None);
        };
        match directory::hex::decode(text) {
            Some(id) => Ok(Some(NodeId(id))),
            None => bad("entry", "must be a gateway's id: 56 hex digits"),
        }
    }
}

fn bad<T>(key: &str, message: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        key: key.to_owned(),
        message: message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../clientd.example.toml");
        runtime::config::check_example_equals_default::<Config>(example).unwrap();
    }

    #[test]
    fn the_defaults_are_possible() {
        Config::default().check().unwrap();
    }

    fn tls() -> ApiTls {
        ApiTls {
            certificate: "c.pem".into(),
            key: "k.pem".into(),
            names: vec!["box.example".into()],
        }
    }

    #[test]
    fn other_machines_need_tls_and_a_word() {
        let mut config = Config {
            api: "0.0.0.0:7654".parse().unwrap(),
            api_beyond_loopback: true,
            api_tls: Some(tls()),
            ..Config::default()
        };
        config.check().unwrap();
        config.api_beyond_loopback = false;
        assert!(config.check().is_err());
    }

    #[test]
    fn impossible_values_name_their_key() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 12] = [
            ("api", |c| c.api = "0.0.0.0:7654".parse().unwrap()),
            ("api", |c| {
                c.api = "192.168.1.2:7654".parse().unwrap();
                c.api_beyond_loopback = true;
            }),
            ("api", |c| {
                c.api = "[::]:7654".parse().unwrap();
                c.api_tls = Some(tls());
            }),
            ("limits.streams_max", |c| c.limits.streams_max = 0),
            ("metrics", |c| {
                c.metrics = Some("10.0.0.1:1".parse().unwrap())
            }),
            ("name", |c| c.name = String::new()),
            ("name", |c| c.name = "a\u{7}b".into()),
            ("entry", |c| c.entry = Some("zz".into())),
            ("limits.connections_max", |c| c.limits.connections_max = 0),
            ("limits.events_max", |c| c.limits.events_max = 0),
            ("limits.files_at_once", |c| c.limits.files_at_once = 0),
            ("source_address", |c| {
                c.source_address = Some("::1".parse().unwrap());
                c.entry_address = Some("127.0.0.1:1".parse().unwrap());
            }),
        ];
        for (key, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: ")), "{error}");
        }
    }

    #[test]
    fn paths_lie_beside_the_file_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clientd.toml");
        std::fs::write(&file, "data_dir = \"d\"\n").unwrap();
        let config = Config::load(Some(&file), None).unwrap();
        assert_eq!(config.data_dir, folder.path().join("d"));
        assert_eq!(config.network, folder.path().join("network.toml"));
        std::fs::write(&file, "datadir = \"d\"\n").unwrap();
        let error = Config::load(Some(&file), None).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("datadir"),
            "{error}"
        );
    }
}
