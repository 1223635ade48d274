//! `topology.toml`. `topology.example.toml` shows every key at its default; a test holds it to that.

use directory::{Admitted, AuthorityConfig, Family, Network, Parameters, Rate, Role};
use runtime::config::ConfigError;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What an operator sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder for the identity key and signed directories; mode 0700.
    pub data_dir: PathBuf,
    /// Path of `network.toml`.
    pub network: PathBuf,
    /// Where nodes ask.
    pub listen: SocketAddr,
    /// Connections from one address at a time, of 256 in all.
    pub connections_per_address: usize,
    /// Prometheus text on loopback; 0 takes any free port.
    pub metrics_port: u16,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub log: String,
    /// Where parameters come from.
    pub profile: Profile,
    /// In a network without a valid directory it votes once so many nodes are there; 0 means all.
    pub expected_nodes: usize,
    /// So long it waits for missing nodes then.
    pub grace_ms: u64,
    /// What differs from the profile.
    pub parameters: Overrides,
    /// The allow-list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node: Vec<NodeEntry>,
}

/// A set of parameters to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A network on one machine.
    Localnet,
    /// A real network.
    Wide,
}

/// A node that may take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// 64 hex digits.
    pub identity: String,
    /// As what.
    pub role: RoleEntry,
    /// Who runs it; nodes of one operator are one family.
    pub operator: String,
}

/// [`Role`] in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleEntry {
    /// See [`Role::Mix`].
    Mix,
    /// See [`Role::Gateway`].
    Gateway,
}

/// Parameters that differ from the profile. Rates are per second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each is the field of `Parameters` of that name"
)]
pub struct Overrides {
    pub delay_mean_ms: Option<u64>,
    pub hop_allowance_ms: Option<u64>,
    pub payload_rate: Option<f64>,
    pub loop_rate: Option<f64>,
    pub mix_loop_rate: Option<f64>,
    pub downlink_rate: Option<f64>,
    pub key_overlap_ms: Option<u64>,
    pub inbox_period: Option<u32>,
    pub inbox_ttl_max_s: Option<u64>,
    pub cell_ttl_s: Option<u64>,
    pub inbox_quota: Option<u16>,
    pub puzzle_difficulty: Option<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "topology-data".into(),
            network: "network.toml".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7800)),
            connections_per_address: 32,
            metrics_port: 9780,
            log: "info".into(),
            profile: Profile::Wide,
            expected_nodes: 0,
            grace_ms: 30_000,
            parameters: Overrides::default(),
            node: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what does not need the network.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.parameters()?;
        if self.connections_per_address == 0 {
            let message = "is 0: nobody could connect; give at least 1";
            return Err(value("connections_per_address", message));
        }
        self.node.iter().try_for_each(|n| n.admitted().map(|_| ()))
    }

    /// The settings of the machine, with this allow-list.
    pub(crate) fn authority(
        &self,
        network: Network,
        admitted: Vec<Admitted>,
    ) -> Result<AuthorityConfig, ConfigError> {
        self.check()?;
        if self.expected_nodes > admitted.len() {
            let message = format!(
                "is {}, but only {} nodes are on the allow-list: lower it, or admit more",
                self.expected_nodes,
                admitted.len()
            );
            return Err(value("expected_nodes", message));
        }
        let parameters = self.parameters()?;
        parameters.check(&network.schedule()).map_err(|name| {
            let message = "out of bounds for this network: see docs/spec/directory.md, Parameters";
            value(&format!("parameters.{name}"), message)
        })?;
        Ok(AuthorityConfig {
            network,
            parameters,
            expected_nodes: self.expected(admitted.len()),
            admitted,
            grace: Duration::from_millis(self.grace_ms),
        })
    }

    /// So many nodes end the wait of a new network, when so many are on the allow-list.
    pub(crate) fn expected(&self, admitted: usize) -> usize {
        match self.expected_nodes {
            0 => admitted,
            count => count.min(admitted),
        }
    }

    fn parameters(&self) -> Result<Parameters, ConfigError> {
        let mut p = match self.profile {
            Profile::Localnet => Parameters::localnet(),
            Profile::Wide => Parameters::wide(),
        };
        let o = &self.parameters;
        set(
            &mut p.delay_mean,
            o.delay_mean_ms.map(Duration::from_millis),
        );
        set(
            &mut p.hop_allowance,
            o.hop_allowance_ms.map(Duration::from_millis),
        );
        set(&mut p.payload_rate, rate("payload_rate", o.payload_rate)?);
        set(&mut p.loop_rate, rate("loop_rate", o.loop_rate)?);
        set(
            &mut p.mix_loop_rate,
            rate("mix_loop_rate", o.mix_loop_rate)?,
        );
        set(
            &mut p.downlink_rate,
            rate("downlink_rate", o.downlink_rate)?,
        );
        set(
            &mut p.key_overlap,
            o.key_overlap_ms.map(Duration::from_millis),
        );
        set(&mut p.inbox_period, o.inbox_period);
        set(
            &mut p.inbox_ttl_max,
            o.inbox_ttl_max_s.map(Duration::from_secs),
        );
        set(&mut p.cell_ttl, o.cell_ttl_s.map(Duration::from_secs));
        set(&mut p.inbox_quota, o.inbox_quota);
        set(&mut p.puzzle_difficulty, o.puzzle_difficulty);
        Ok(p)
    }
}

impl NodeEntry {
    pub(crate) fn admitted(&self) -> Result<Admitted, ConfigError> {
        let identity = crate::allow::identity(&self.identity)?;
        if self.operator.trim().is_empty() {
            return Err(value("node.operator", "is empty: name who runs the node"));
        }
        Ok(Admitted {
            identity,
            role: match self.role {
                RoleEntry::Mix => Role::Mix,
                RoleEntry::Gateway => Role::Gateway,
            },
            family: Family::of(&self.operator),
        })
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn rate(key: &str, per_second: Option<f64>) -> Result<Option<Rate>, ConfigError> {
    let Some(per_second) = per_second else {
        return Ok(None);
    };
    if !(0.001..=directory::RATE_MAX.per_second()).contains(&per_second) {
        let message = format!("is {per_second}: give 0.001 to 10000 per second");
        return Err(value(&format!("parameters.{key}"), message));
    }
    // In range by the check above, so the cast is exact to a thousandth.
    Ok(Some(Rate((per_second * 1000.0).round() as u32)))
}

pub(crate) fn value(key: &str, message: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::hex;

    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../topology.example.toml");
        runtime::config::check_example_equals_default::<Config>(example).unwrap();
    }

    #[test]
    fn overrides_change_the_profile_and_nothing_else() {
        let mut config = Config {
            profile: Profile::Localnet,
            ..Config::default()
        };
        config.parameters.delay_mean_ms = Some(20);
        config.parameters.payload_rate = Some(2.5);
        let expected = Parameters {
            delay_mean: Duration::from_millis(20),
            payload_rate: Rate(2500),
            ..Parameters::localnet()
        };
        assert_eq!(config.parameters().unwrap(), expected);
    }

    #[test]
    fn impossible_values_are_named() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.parameters.loop_rate = Some(f64::NAN)).contains("loop_rate"));
        assert!(with(|c| c.parameters.loop_rate = Some(-1.0)).contains("loop_rate"));
        let entry = |identity: &str, operator: &str| NodeEntry {
            identity: identity.into(),
            role: RoleEntry::Mix,
            operator: operator.into(),
        };
        let mut config = Config {
            node: vec![entry("00", "a")],
            ..Config::default()
        };
        assert!(config.check().unwrap_err().to_string().contains("identity"));
        let secret = wire::keys::IdentitySecret::from_seed(&[1; 32]);
        let identity = hex::encode(&secret.public().to_bytes());
        config.node = vec![entry(&identity, " ")];
        assert!(config.check().unwrap_err().to_string().contains("operator"));
    }
}
