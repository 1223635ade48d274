//! `gateway.toml`. The example file says what each key means; a test holds both together.

use directory::EpochSchedule;
use mizzle_core::gateway::GatewayConfig;
use mizzle_core::gateway::inboxes::InboxHashKey;
use mizzle_core::hop::HopConfig;
use runtime::config::ConfigError;
use runtime::node::settings::{Settings, bad, check_listener};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use wire::ids::NodeId;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// See [`Settings`].
    pub data_dir: PathBuf,
    /// See [`Settings`].
    pub network: PathBuf,
    /// See [`Settings`].
    pub listen: Vec<SocketAddr>,
    /// See [`Settings`].
    pub announce: Vec<SocketAddr>,
    /// Where clients connect.
    pub client_listen: Vec<SocketAddr>,
    /// What the directory says about that; empty for the same.
    pub client_announce: Vec<SocketAddr>,
    /// See [`Settings`].
    pub operator: String,
    /// See [`Settings`].
    pub metrics: Option<SocketAddr>,
    /// See [`Settings`].
    pub unwrap_threads: usize,
    /// See [`Settings`].
    pub unwrap: String,
    /// See [`Settings`].
    pub realtime: bool,
    /// See [`Settings`].
    pub keep_awake: bool,
    /// `error` to `trace`, or `tracing`'s longer syntax.
    pub log: String,
    /// See [`Settings`].
    pub test_seed: Option<String>,
    /// How much is held at most.
    pub limits: Limits,
}

/// How much is held at most, and what is lost beyond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Packets that wait out their delay.
    pub delay_queue: usize,
    /// Tags remembered for one key.
    pub replay_tags: usize,
    /// Packets that wait for a thread.
    pub unwrap_queue: usize,
    /// Frames that one link queues.
    pub link_queue: usize,
    /// Connections of nodes at a time.
    pub connections: usize,
    /// Sessions of clients, those included that linger after their connection.
    pub sessions: usize,
    /// Connections of clients from one IPv4 address or IPv6 /64.
    pub sessions_per_address: usize,
    /// Packets a second that one client may send; what is more is read later. 0: as the directory's
    /// rates say ([`crate::allowance`]).
    pub session_rate: u32,
    /// Replies that wait for a slot of one session.
    pub session_queue: usize,
    /// Inboxes.
    pub inboxes: usize,
    /// Cells in all inboxes.
    pub cells: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "gateway-data".into(),
            network: "network.toml".into(),
            listen: vec![(Ipv4Addr::LOCALHOST, 7201).into()],
            announce: Vec::new(),
            client_listen: vec![(Ipv4Addr::LOCALHOST, 7202).into()],
            client_announce: Vec::new(),
            operator: String::new(),
            metrics: None,
            unwrap_threads: 0,
            unwrap: "auto".into(),
            realtime: true,
            keep_awake: true,
            log: "info".into(),
            test_seed: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            delay_queue: 65_536,
            replay_tags: 1 << 22,
            unwrap_queue: 2048,
            link_queue: 1024,
            connections: 1024,
            sessions: 10_000,
            sessions_per_address: 64,
            session_rate: 0,
            session_queue: 64,
            inboxes: 100_000,
            cells: 65_536,
        }
    }
}

impl Config {
    /// The part that all nodes have.
    pub fn settings(&self) -> Settings {
        Settings {
            data_dir: self.data_dir.clone(),
            network: self.network.clone(),
            listen: self.listen.clone(),
            announce: self.announce.clone(),
            operator: self.operator.clone(),
            metrics: self.metrics,
            unwrap_threads: self.unwrap_threads,
            unwrap: self.unwrap.clone(),
            realtime: self.realtime,
            keep_awake: self.keep_awake,
            test_seed: self.test_seed.clone(),
        }
    }

    /// What the machine is made with.
    pub fn machine(
        &self,
        id: NodeId,
        schedule: EpochSchedule,
        hash_key: InboxHashKey,
    ) -> GatewayConfig {
        let mut machine = GatewayConfig::new(HopConfig::new(id, schedule));
        machine.hop.delay_queue_max = self.limits.delay_queue;
        machine.hop.replay_tags_max = self.limits.replay_tags;
        machine.sessions.sessions_max = self.limits.sessions;
        machine.sessions.queue_max = self.limits.session_queue;
        machine.inboxes.hash_key = hash_key;
        machine.inboxes.inboxes_max = self.limits.inboxes;
        machine.inboxes.cells_max = self.limits.cells as usize;
        machine
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings().check()?;
        check_listener(
            ("client_listen", &self.client_listen),
            ("client_announce", &self.client_announce),
        )?;
        let shared = |address: &&SocketAddr| address.port() != 0 && self.listen.contains(address);
        if let Some(address) = self.client_listen.iter().find(shared) {
            let message =
                format!("{address} is in `listen` too; clients need a listener of their own");
            return Err(bad("client_listen", message));
        }
        let l = &self.limits;
        for (key, value) in [
            ("limits.delay_queue", l.delay_queue),
            ("limits.replay_tags", l.replay_tags),
            ("limits.unwrap_queue", l.unwrap_queue),
            ("limits.link_queue", l.link_queue),
            ("limits.connections", l.connections),
            ("limits.sessions", l.sessions),
            ("limits.sessions_per_address", l.sessions_per_address),
            // 0 stands for the directory's rates.
            ("limits.session_rate", l.session_rate.max(1) as usize),
            ("limits.session_queue", l.session_queue),
            ("limits.inboxes", l.inboxes),
            ("limits.cells", l.cells as usize),
        ] {
            if !(1..=1 << 26).contains(&value) {
                return Err(bad(
                    key,
                    "use 1 to 67108864; with 0 nothing would ever pass",
                ));
            }
        }
        Ok(())
    }
}
