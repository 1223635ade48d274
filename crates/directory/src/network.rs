//! What everybody knows of a network beforehand, as a value. Its text form is `network.toml`
//! ([`crate::network_toml`]).

use crate::parameters::EpochSchedule;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use wire::ids::NetworkId;
use wire::keys::IdentityPublic;

/// Most authorities of a network.
pub const AUTHORITIES_MAX: usize = 64;
/// Most bootstrap gateways in `network.toml`.
pub const BOOTSTRAP_MAX: usize = 256;
/// No epoch is shorter.
pub const EPOCH_MIN: Duration = Duration::from_secs(1);
/// No epoch is longer.
pub const EPOCH_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Length of a round of the votes that are held when no valid directory is left, where
/// `network.toml` says nothing.
pub const RECOVERY_ROUND: Duration = Duration::from_secs(5);
/// No such round is shorter.
pub const RECOVERY_ROUND_MIN: Duration = Duration::from_millis(10);

const ALONE_ROUND_MAX: Duration = Duration::from_millis(250);

/// Who signs directories, and where to ask it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkAuthority {
    /// Signs.
    pub identity: IdentityPublic,
    /// HTTP, for nodes; clients never ask an authority.
    pub address: SocketAddr,
}

/// A gateway that a client without any directory may connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bootstrap {
    /// Proves the gateway in TLS.
    pub identity: IdentityPublic,
    /// Its listener for clients, 1 to 4.
    pub client_addresses: Vec<SocketAddr>,
}

/// A network, known to be possible: [`Network::new`] is the only way to one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    id: NetworkId,
    schedule: EpochSchedule,
    authorities: Vec<NetworkAuthority>,
    threshold: u8,
    bootstrap: Vec<Bootstrap>,
    recovery_round: Duration,
    public: bool,
}

/// Why these values make no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkError {
    /// No authority, or more than [`AUTHORITIES_MAX`].
    Authorities,
    /// The same authority or bootstrap gateway twice.
    Duplicate,
    /// The threshold must lie in this range.
    Threshold {
        /// ⌊(n + f)/2⌋ + 1.
        least: u8,
        /// All of them.
        most: u8,
    },
    /// The epoch is shorter than [`EPOCH_MIN`], longer than [`EPOCH_MAX`], or not in whole ms.
    EpochLength,
    /// A round of a recovery vote is shorter than [`RECOVERY_ROUND_MIN`], longer than a day, or not in
    /// whole ms.
    RecoveryRound,
    /// A bootstrap gateway has no address or more than four, or there are too many gateways.
    Bootstrap,
    /// An address has port 0 or names no single host.
    Address,
    /// This address cannot be reached by everybody, and the network is public.
    NotPublic(SocketAddr),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities => {
                write!(
                    f,
                    "a network needs 1 to {AUTHORITIES_MAX} authorities; list them"
                )
            }
            Self::Duplicate => write!(f, "an identity stands in a list twice; remove one"),
            Self::Threshold { least, most } => write!(
                f,
                "threshold must be {least} to {most} for so many authorities"
            ),
            Self::EpochLength => write!(
                f,
                "an epoch lasts 1 second to 30 days, in whole milliseconds"
            ),
            Self::RecoveryRound => write!(
                f,
                "recovery_round_ms is 10 to 86400000: longer than a message takes between two \
                 authorities plus what their clocks differ by"
            ),
            Self::Bootstrap => write!(
                f,
                "at most {BOOTSTRAP_MAX} bootstrap gateways, each with 1 to 4 addresses"
            ),
            Self::Address => write!(
                f,
                "an address is no address of one listener: give ip:port, port not 0"
            ),
            Self::NotPublic(address) => write!(
                f,
                "{address} is loopback, private or reserved, and `public = true` says that everybody reaches \
                 everybody; give a public address, or remove that line for a network of your own"
            ),
        }
    }
}

impl std::error::Error for NetworkError {}

impl Network {
    /// Checks the values against each other.
    pub fn new(
        id: NetworkId,
        schedule: EpochSchedule,
        authorities: Vec<NetworkAuthority>,
        threshold: u8,
        bootstrap: Vec<Bootstrap>,
    ) -> Result<Self, NetworkError> {
        if !(1..=AUTHORITIES_MAX).contains(&authorities.len()) {
            return Err(NetworkError::Authorities);
        }
        let (least, most) = (quorum(authorities.len()), authorities.len() as u8);
        if !(least..=most).contains(&threshold) {
            return Err(NetworkError::Threshold { least, most });
        }
        let length = schedule.length;
        let whole_ms = length.subsec_nanos().is_multiple_of(1_000_000);
        if !(EPOCH_MIN..=EPOCH_MAX).contains(&length) || !whole_ms {
            return Err(NetworkError::EpochLength);
        }
        let possible = |b: &Bootstrap| (1..=4).contains(&b.client_addresses.len());
        if bootstrap.len() > BOOTSTRAP_MAX || !bootstrap.iter().all(possible) {
            return Err(NetworkError::Bootstrap);
        }
        if has_double(authorities.iter().map(|a| a.identity))
            || has_double(bootstrap.iter().map(|b| b.identity))
        {
            return Err(NetworkError::Duplicate);
        }
        let listeners = bootstrap.iter().flat_map(|b| &b.client_addresses);
        let mut all = authorities.iter().map(|a| &a.address).chain(listeners);
        if all.any(|a| a.port() == 0 || a.ip().is_unspecified() || a.ip().is_multicast()) {
            return Err(NetworkError::Address);
        }
        Ok(Self {
            id,
            schedule,
            authorities,
            threshold,
            bootstrap,
            recovery_round: RECOVERY_ROUND,
            public: false,
        })
    }

    /// The same as a network of the Internet: every address of authorities and bootstrap gateways must be public
    /// ([`crate::is_public`]), and authorities refuse nodes whose addresses are not.
    pub fn with_public_addresses(mut self) -> Result<Self, NetworkError> {
        let listeners = self.bootstrap.iter().flat_map(|b| &b.client_addresses);
        let mut all = self.authorities.iter().map(|a| &a.address).chain(listeners);
        if let Some(private) = all.find(|a| !crate::is_public(a)) {
            return Err(NetworkError::NotPublic(*private));
        }
        self.public = true;
        Ok(self)
    }

    /// Whether all addresses are to be public ones.
    pub fn is_public(&self) -> bool {
        self.public
    }

    /// The same with recovery votes of this pace.
    pub fn with_recovery_round(mut self, round: Duration) -> Result<Self, NetworkError> {
        let whole_ms = round.subsec_nanos().is_multiple_of(1_000_000);
        let day = Duration::from_secs(86_400);
        if !(RECOVERY_ROUND_MIN..=day).contains(&round) || !whole_ms {
            return Err(NetworkError::RecoveryRound);
        }
        self.recovery_round = round;
        Ok(self)
    }

    /// Drawn once; part of every handshake and every signature.
    pub fn id(&self) -> &NetworkId {
        &self.id
    }

    /// How time is cut.
    pub fn schedule(&self) -> EpochSchedule {
        self.schedule
    }

    /// Who signs, in the order that signatures count them.
    pub fn authorities(&self) -> &[NetworkAuthority] {
        &self.authorities
    }

    /// So many of them must sign a directory.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Length of a round of a vote that is held when no valid directory is left: longer than a message
    /// takes plus what two clocks differ by. A whole vote takes half an epoch at most, and who is alone
    /// waits for nobody.
    pub fn recovery_round(&self) -> Duration {
        let stated = match self.authorities.len() {
            1 => self.recovery_round.min(ALONE_ROUND_MAX),
            _ => self.recovery_round,
        };
        let rounds = u32::try_from(2 * (self.authorities.len().saturating_sub(1) / 3) + 4);
        let most = self.schedule.length / 2 / rounds.unwrap_or(u32::MAX);
        // Whole milliseconds: all authorities compute the same moments.
        let most = Duration::from_millis(u64::try_from(most.as_millis()).unwrap_or(u64::MAX));
        stated.min(most)
    }

    pub(crate) fn stated_recovery_round(&self) -> Duration {
        self.recovery_round
    }

    /// Where a new client connects.
    pub fn bootstrap(&self) -> &[Bootstrap] {
        &self.bootstrap
    }

    /// The place of an authority in the list.
    pub fn authority_index(&self, identity: &IdentityPublic) -> Option<u8> {
        let at = self
            .authorities
            .iter()
            .position(|a| a.identity == *identity)?;
        u8::try_from(at).ok()
    }
}

/// The least threshold for `n` authorities: ⌊(n + f)/2⌋ + 1 with f = ⌊(n − 1)/3⌋. Two directories
/// of one epoch then share an honest signer, who signs only one, as long as at most f cheat. With
/// fewer than 4, f is 0: uniqueness is not promised, only that two of them prove who signed both.
pub fn quorum(n: usize) -> u8 {
    let f = n.saturating_sub(1) / 3;
    u8::try_from((n + f) / 2 + 1).unwrap_or(u8::MAX)
}

fn has_double(identities: impl Iterator<Item = IdentityPublic>) -> bool {
    let mut all: Vec<_> = identities.collect();
    all.sort_unstable();
    all.windows(2).any(|pair| pair[0] == pair[1])
}
