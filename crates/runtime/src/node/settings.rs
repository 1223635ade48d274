//! What the configurations of mixnode and gateway have in common, checked.
//!
//! The TOML types are each daemon's own (`mixnode/src/config.rs`, `gateway/src/config.rs`); here are
//! the checks that both call, so that both refuse in the same words.

use crate::awake::Awake;
use crate::clock::Clock;
use crate::config::ConfigError;
use crate::pace::Pace;
use crate::stages::Stages;
use crate::unwrap_pool::PoolConfig;
use crate::urgency;
use sphinx::{Backend, Unavailable, UnknownBackend};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Most addresses of one listener; as many as a descriptor holds.
const ADDRESSES_MAX: usize = directory::LIST_MAX;
/// Most threads that unwrap.
const THREADS_MAX: usize = 64;

/// The common part.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys and documents; created with mode 0700.
    pub data_dir: PathBuf,
    /// `network.toml`.
    pub network: PathBuf,
    /// Where nodes connect.
    pub listen: Vec<SocketAddr>,
    /// What the directory says about that; empty for the same.
    pub announce: Vec<SocketAddr>,
    /// Who runs the node; empty for a family of its own.
    pub operator: String,
    /// Metrics and status; loopback.
    pub metrics: Option<SocketAddr>,
    /// Threads that unwrap; 0 for two, or one where there is one core.
    pub unwrap_threads: usize,
    /// Who does the public-key work: `auto`, or the name of a [`Backend`].
    pub unwrap: String,
    /// Whether threads that keep moments may ask the system to run them first.
    pub realtime: bool,
    /// Whether the cores may be kept from sleeping while there is much to do.
    pub keep_awake: bool,
    /// Hex; test networks only.
    pub test_seed: Option<String>,
}

/// A value that makes no sense.
pub fn bad(key: &str, message: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        message: message.into(),
    }
}

impl Settings {
    /// Refuses what cannot work, before anything is opened.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(bad("data_dir", "name a folder"));
        }
        if self.network.as_os_str().is_empty() {
            return Err(bad("network", "name the file network.toml of the network"));
        }
        check_listener(("listen", &self.listen), ("announce", &self.announce))?;
        if let Some(address) = self.metrics.filter(|a| !a.ip().is_loopback()) {
            let message = format!(
                "{address} is not on loopback; metrics are for this machine \
                 alone: use 127.0.0.1 and, to see them from elsewhere, a tunnel"
            );
            return Err(bad("metrics", message));
        }
        if self.unwrap_threads > THREADS_MAX {
            return Err(bad(
                "unwrap_threads",
                format!("use 0 (by itself) to {THREADS_MAX}"),
            ));
        }
        self.backend()?;
        if self.operator.len() > 256 || self.operator.chars().any(char::is_control) {
            return Err(bad(
                "operator",
                "use a name of at most 256 printable characters",
            ));
        }
        self.seed().map(|_| ())
    }

    /// The fixed seed of a test network.
    pub fn seed(&self) -> Result<Option<u64>, ConfigError> {
        let Some(text) = &self.test_seed else {
            return Ok(None);
        };
        let digits = text.len();
        if !(1..=64).contains(&digits) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad(
                "test_seed",
                "use 1 to 64 hex digits, or remove the key",
            ));
        }
        // Longer seeds are folded: it is about repeating a test, not about secrecy.
        let folded = text.as_bytes().chunks(16).fold(0u64, |seed, chunk| {
            let part = std::str::from_utf8(chunk).unwrap_or_default();
            seed ^ u64::from_str_radix(part, 16).unwrap_or(0)
        });
        Ok(Some(folded))
    }

    /// Who does the public-key work on this machine.
    pub fn backend(&self) -> Result<Backend, ConfigError> {
        if self.unwrap == "auto" {
            return Ok(Backend::best());
        }
        let refused = |why: String| bad("unwrap", format!("{why}, or \"auto\""));
        let named: Backend = self
            .unwrap
            .parse()
            .map_err(|e: UnknownBackend| refused(e.to_string()))?;
        if named.is_available() {
            Ok(named)
        } else {
            Err(refused(Unavailable(named).to_string()))
        }
    }

    /// Makes that backend the one of this process, and says what a pool of threads needs of it.
    pub fn pool(
        &self,
        capacity: usize,
        clock: Clock,
        stages: &Stages,
    ) -> Result<PoolConfig, ConfigError> {
        let backend = self.backend()?;
        backend.select().map_err(|e| bad("unwrap", e.to_string()))?;
        tracing::info!(
            backend = backend.name(),
            threads = self.threads(),
            "packets are unwrapped"
        );
        Ok(PoolConfig {
            threads: self.threads(),
            capacity,
            lanes: PoolConfig::lanes_of(backend),
            clock,
            stages: stages.clone(),
        })
    }

    /// Lets this thread run before those that compute, where that is wanted and the system allows it; and
    /// the threads that it starts from now on. Says whether it is as wanted.
    pub fn hurry(&self) -> bool {
        !self.realtime || urgency::run_first()
    }

    /// [`Self::hurry`] for a thread that somebody else starts.
    pub fn hurrying(&self) -> impl FnOnce() + Send + 'static {
        let settings = self.clone();
        move || {
            settings.hurry();
        }
    }

    /// The same, and before the others that hurry.
    pub fn hurrying_most(&self) -> impl FnOnce() + Send + 'static {
        let realtime = self.realtime;
        move || {
            if realtime {
                urgency::run_very_first();
            }
        }
    }

    /// The same for the loop, which tells the operator once for all threads.
    pub fn hurry_loop(&self) {
        if !self.hurry() {
            tracing::info!(
                "the system does not let threads be urgent: under load, packets leave some milliseconds \
                 late; RLIMIT_RTPRIO of 2 would do"
            );
        }
    }

    /// What spaces the turns of the loop, and keeps the cores awake meanwhile where that is wanted.
    pub fn pace(&self, clock: Clock) -> io::Result<Pace> {
        let awake = self.keep_awake.then(|| Awake::start(clock)).transpose()?;
        Ok(Pace::new(clock, awake))
    }

    /// How many threads unwrap.
    pub fn threads(&self) -> usize {
        match self.unwrap_threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(2)),
            given => given,
        }
    }
}

/// One listener's addresses and what is announced of them; each with the key's name.
pub fn check_listener(
    listen: (&str, &[SocketAddr]),
    announce: (&str, &[SocketAddr]),
) -> Result<(), ConfigError> {
    let (key, addresses) = listen;
    if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
        return Err(bad(
            key,
            format!("give 1 to {ADDRESSES_MAX} addresses, as ip:port"),
        ));
    }
    let doubled = (1..addresses.len()).any(|i| addresses[..i].contains(&addresses[i]));
    if doubled {
        return Err(bad(key, "an address stands here twice"));
    }
    let (announce_key, announced) = announce;
    if announced.len() > ADDRESSES_MAX {
        return Err(bad(
            announce_key,
            format!("give at most {ADDRESSES_MAX} addresses"),
        ));
    }
    if let Some(address) = announced
        .iter()
        .find(|a| a.port() == 0 || !is_of_one_host(a.ip()))
    {
        let message = format!(
            "{address} is no address that others can connect to; give the \
             public one"
        );
        return Err(bad(announce_key, message));
    }
    if announced.is_empty() && addresses.iter().any(|a| !is_of_one_host(a.ip())) {
        let message = format!(
            "{key} names no single address, so say here at which address others \
             reach this node"
        );
        return Err(bad(announce_key, message));
    }
    Ok(())
}

fn is_of_one_host(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            data_dir: "data".into(),
            network: "network.toml".into(),
            listen: vec!["127.0.0.1:7101".parse().unwrap()],
            announce: Vec::new(),
            operator: String::new(),
            metrics: None,
            unwrap_threads: 0,
            unwrap: "auto".into(),
            realtime: true,
            keep_awake: true,
            test_seed: None,
        }
    }

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = settings();
        settings.check().unwrap();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn impossible_values_are_refused_with_their_key() {
        let any = || vec!["0.0.0.0:7101".parse().unwrap()];
        assert!(refused(|s| s.listen.clear()).starts_with("listen: "));
        assert!(refused(|s| s.listen = any()).starts_with("announce: "));
        assert!(refused(|s| s.announce = any()).starts_with("announce: "));
        assert!(refused(|s| s.listen.extend(s.listen.clone())).contains("twice"));
        let public = "192.0.2.1:9000".parse().unwrap();
        assert!(refused(|s| s.metrics = Some(public)).contains("loopback"));
        assert!(refused(|s| s.unwrap_threads = 65).starts_with("unwrap_threads: "));
        assert!(refused(|s| s.unwrap = "avx".into()).starts_with("unwrap: "));
        assert!(refused(|s| s.test_seed = Some("xyz".into())).starts_with("test_seed: "));
        assert!(refused(|s| s.operator = "a\nb".into()).starts_with("operator: "));
    }

    #[test]
    fn nobody_hurries_who_was_told_not_to() {
        let mut settings = settings();
        settings.realtime = false;
        let hurried = move || (settings.hurry(), urgency::tests::policy());
        let (as_wanted, policy) = std::thread::spawn(hurried).join().unwrap();
        assert!(as_wanted);
        assert_eq!(policy, urgency::tests::policy(), "as every other thread");
    }

    #[test]
    fn a_short_seed_is_the_number_it_spells() {
        let mut settings = settings();
        settings.test_seed = Some("2a".into());
        assert_eq!(settings.seed().unwrap(), Some(42));
    }
}
