//! `network.toml`: [`Network`] as text. Reads and writes strings; files are the daemons' business.
//!
//! An example with every key stands in `docs/spec/directory.md` §5.

use crate::hex;
use crate::network::{Bootstrap, Network, NetworkAuthority, NetworkError, RECOVERY_ROUND};
use crate::parameters::EpochSchedule;
use serde::Deserialize;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use wire::ids::NetworkId;
use wire::keys::IdentityPublic;
use wire::time::UnixTime;

/// Most bytes of a `network.toml` that [`Network::from_toml`] reads.
pub const NETWORK_TOML_MAX: usize = 1 << 20;

/// Why a text is no `network.toml`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkTomlError {
    /// Longer than [`NETWORK_TOML_MAX`].
    TooLong,
    /// Not TOML, an unknown key, a missing key, or a value of another type; with the place.
    Syntax(String),
    /// This key is not hex of the right length, or no public key.
    Key(&'static str),
    /// The values do not fit each other.
    Network(NetworkError),
}

impl fmt::Display for NetworkTomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "network.toml is longer than 1 MiB; is it the right file?"
            ),
            Self::Syntax(why) => write!(f, "network.toml cannot be read: {why}"),
            Self::Key(name) => write!(
                f,
                "network.toml: {name} must be 64 hex digits, and a key a valid one; copy it again"
            ),
            Self::Network(why) => write!(f, "network.toml: {why}"),
        }
    }
}

impl std::error::Error for NetworkTomlError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkToml {
    network_id: String,
    genesis: u64,
    epoch_ms: u64,
    threshold: u8,
    recovery_round_ms: Option<u64>,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    authority: Vec<AuthorityToml>,
    #[serde(default)]
    bootstrap: Vec<BootstrapToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityToml {
    identity: String,
    address: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootstrapToml {
    identity: String,
    addresses: Vec<SocketAddr>,
}

impl Network {
    /// Reads the text of a `network.toml`.
    pub fn from_toml(text: &str) -> Result<Self, NetworkTomlError> {
        if text.len() > NETWORK_TOML_MAX {
            return Err(NetworkTomlError::TooLong);
        }
        let raw: NetworkToml =
            toml::from_str(text).map_err(|e| NetworkTomlError::Syntax(e.to_string()))?;
        let id = hex::decode(&raw.network_id).ok_or(NetworkTomlError::Key("network_id"))?;
        let schedule = EpochSchedule {
            genesis: UnixTime(raw.genesis),
            length: Duration::from_millis(raw.epoch_ms),
        };
        let authorities = raw.authority.into_iter().map(|a| {
            Ok(NetworkAuthority {
                identity: identity(&a.identity, "identity of an [[authority]]")?,
                address: a.address,
            })
        });
        let bootstrap = raw.bootstrap.into_iter().map(|b| {
            Ok(Bootstrap {
                identity: identity(&b.identity, "identity of a [[bootstrap]]")?,
                client_addresses: b.addresses,
            })
        });
        let network = Self::new(
            NetworkId(id),
            schedule,
            authorities.collect::<Result<_, _>>()?,
            raw.threshold,
            bootstrap.collect::<Result<_, _>>()?,
        );
        let round = raw.recovery_round_ms.map(Duration::from_millis);
        network
            .and_then(|n| match round {
                Some(round) => n.with_recovery_round(round),
                None => Ok(n),
            })
            .and_then(|n| match raw.public {
                true => n.with_public_addresses(),
                false => Ok(n),
            })
            .map_err(NetworkTomlError::Network)
    }

    /// The text that [`Network::from_toml`] reads back to the same value.
    pub fn to_toml(&self) -> String {
        let mut out = String::from("# What every program of this network must know beforehand.\n");
        let schedule = self.schedule();
        let mut line = |key: &str, value: &dyn fmt::Display| {
            let _ = writeln!(out, "{key} = {value}");
        };
        line("network_id", &quoted(&self.id().0));
        line("genesis", &schedule.genesis.0);
        line("epoch_ms", &schedule.length.as_millis());
        line("threshold", &self.threshold());
        if self.stated_recovery_round() != RECOVERY_ROUND {
            let round = self.stated_recovery_round().as_millis();
            line("recovery_round_ms", &round);
        }
        if self.is_public() {
            line("public", &true);
        }
        for authority in self.authorities() {
            line(
                "\n[[authority]]\nidentity",
                &quoted(&authority.identity.to_bytes()),
            );
            line("address", &format_args!("\"{}\"", authority.address));
        }
        for gateway in self.bootstrap() {
            line(
                "\n[[bootstrap]]\nidentity",
                &quoted(&gateway.identity.to_bytes()),
            );
            let addresses = gateway.client_addresses.iter();
            let addresses: Vec<_> = addresses.map(|a| format!("\"{a}\"")).collect();
            line("addresses", &format_args!("[{}]", addresses.join(", ")));
        }
        out
    }
}

fn identity(text: &str, name: &'static str) -> Result<IdentityPublic, NetworkTomlError> {
    let bytes = hex::decode(text).ok_or(NetworkTomlError::Key(name))?;
    IdentityPublic::from_bytes(&bytes).map_err(|_| NetworkTomlError::Key(name))
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(bytes))
}
