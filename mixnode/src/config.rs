//! `mixnode.toml`. The example file says what each key means; a test holds both together.

use runtime::config::ConfigError;
use runtime::node::settings::{Settings, bad};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

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
    /// Share of all packets that this mix discards on purpose; test networks only.
    pub test_loss: Option<f64>,
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "mixnode-data".into(),
            network: "network.toml".into(),
            listen: vec![(Ipv4Addr::LOCALHOST, 7101).into()],
            announce: Vec::new(),
            operator: String::new(),
            metrics: None,
            unwrap_threads: 0,
            unwrap: "auto".into(),
            realtime: true,
            keep_awake: true,
            log: "info".into(),
            test_seed: None,
            test_loss: None,
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

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings().check()?;
        if self.test_loss.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err(bad("test_loss", "use 0 to 1, or remove the key"));
        }
        let l = &self.limits;
        for (key, value) in [
            ("limits.delay_queue", l.delay_queue),
            ("limits.replay_tags", l.replay_tags),
            ("limits.unwrap_queue", l.unwrap_queue),
            ("limits.link_queue", l.link_queue),
            ("limits.connections", l.connections),
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
