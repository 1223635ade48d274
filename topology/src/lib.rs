//! A directory authority as a process: takes signed descriptors from nodes over HTTP, votes with the
//! other authorities, and hands out signed directories. What it decides is [`directory::Authority`];
//! here are its files, its HTTP routes, its clock and its command line. What a person asks about a network
//! (`show`, `diff`) and who may take part (`allow`) are beside it.
//!
//! ```text
//!   nodes ─────────────▶ api (HTTP) ──Command───▶ eventloop ── Authority
//!   other authorities ─▶ lanes ──────Ballotry──▶    │   │
//!   other authorities ◀─ peers ◀────────────────────┘   └── vault: durable before it is shown
//! ```
//!
//! Clients never talk to an authority; nodes do, in plain HTTP/1.1, because every document is
//! signed. Routes and documents: `docs/spec/directory.md`.

mod allow;
mod api;
mod cli;
mod config;
mod diff;
mod eventloop;
mod lanes;
mod metrics;
mod news;
mod packed;
mod peers;
mod show;
mod source;
mod status;
mod ticket;
mod vault;
mod verify;

pub use cli::main;
pub use config::{Config, NodeEntry, Overrides, Profile, RoleEntry};
pub use status::{AuthorityStatus, Status, VoteStatus};

use directory::{Authority, AuthorityError, NETWORK_TOML_MAX, Network, vote};
use runtime::clock::Clock;
use runtime::config::ConfigError;
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::http::{self, HttpLimits};
use runtime::keyfile;
use runtime::shutdown::Shutdown;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::keys::IdentityPublic;

/// The authority's identity in its data folder.
pub const KEY_FILE: &str = "identity.key";
/// Requests that wait for the event loop; one more is answered 503.
const COMMANDS_MAX: usize = 64;

/// Runs an authority until `shutdown`. Must be called within a tokio runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let network = read_network(&config.network)?;
    let dir = DataDir::open(&config.data_dir)?;
    // Before it is read, so that no change is missed.
    let watch = allow::Watch::new(config.clone());
    let secret = keyfile::load_or_create_identity(&dir, KEY_FILE, &mut Entropy::os())?;
    let secret = Arc::new(secret);
    let (kept, descriptors) = (vault::read(&dir)?, vault::read_descriptors(&dir)?);
    let clock = Clock::start();
    let admitted = allow::admitted(&config, &allow::Changes::read(&config.data_dir)?)?;
    let settings = config.authority(network.clone(), admitted)?;
    let keys = Entropy::os().key_rng()?;
    let authority = Authority::new(settings, secret.clone(), kept, keys, clock.unix());
    let authority = authority.map_err(explain)?;

    let listener = http::bind(config.listen).await?;
    let metrics_listener = http::bind_loopback(config.metrics_port).await?;
    let (metrics, registry) = metrics::Metrics::new();
    let index = authority.index();
    tracing::info!(
        listen = %listener.local_addr()?,
        metrics = %metrics_listener.local_addr()?,
        "authority {} of {} is ready", u16::from(index) + 1, network.authorities().len()
    );
    let lanes = Arc::new(lanes::Lanes::new(network.clone(), index, clock));
    let (commands, commands_rx) = mpsc::channel(COMMANDS_MAX);
    let (votes, votes_rx) = mpsc::channel(lanes::AT_ONCE * network.authorities().len());
    let (fetched, fetched_rx) = mpsc::channel(1);
    let limits = HttpLimits {
        body_max: vote::STATEMENT_MAX,
        connections_per_address: config.connections_per_address,
        ..HttpLimits::default()
    };
    let api = api::Api {
        commands,
        votes,
        lanes: lanes.clone(),
        body_timeout: limits.body_timeout,
        clock,
        packed: packed::Packed::default(),
    };
    let routes = move |request| api::answer(request, api.clone());
    let api = tokio::spawn(http::serve(listener, limits, shutdown.clone(), routes));
    let shown = runtime::metrics::serve(metrics_listener, Arc::new(registry), shutdown.clone());
    let shown = tokio::spawn(shown);
    let mut tasks = JoinSet::new();
    let us = peers::Us {
        network: network.clone(),
        index,
        secret,
        clock,
    };

    let mut eventloop = eventloop::Eventloop {
        allow: watch,
        looked: clock.now(),
        authority,
        network,
        clock,
        dir: &dir,
        metrics,
        peers: peers::Peers::start(us, fetched, &mut tasks),
        lanes,
        unsaved: None,
        complaint: None,
    };
    eventloop.restore(descriptors);
    let inputs = eventloop::Inputs {
        votes: votes_rx,
        fetched: fetched_rx,
        commands: commands_rx,
    };
    let result = eventloop.run(inputs, shutdown.clone()).await;
    shutdown.trigger();
    tasks.shutdown().await;
    let _ = tokio::join!(api, shown);
    result
}

/// Reads and checks a `network.toml`.
pub fn read_network(path: &Path) -> Result<Network, ConfigError> {
    let shown = path.display();
    let cannot = |error: std::io::Error| {
        let message = format!("cannot read {shown} ({error}); make one with `topology init`");
        config::value("network", message)
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut file = file.take(NETWORK_TOML_MAX as u64 + 1);
    file.read_to_string(&mut text).map_err(cannot)?;
    Network::from_toml(&text).map_err(|e| config::value("network", format!("{shown}: {e}")))
}

/// Whether another start would end in the same way until a person changes something.
fn explain(error: AuthorityError) -> anyhow::Error {
    match error {
        AuthorityError::BadKept(_) | AuthorityError::BadSigned => error.into(),
        AuthorityError::NotListed
        | AuthorityError::BadParameter(_)
        | AuthorityError::AdmittedTwice(_)
        | AuthorityError::TooManyAdmitted => config::value("network", error.to_string()).into(),
    }
}

/// The authority's identity, made at the first call.
pub fn identity(config: &Config) -> anyhow::Result<IdentityPublic> {
    let dir = DataDir::open(&config.data_dir)?;
    let secret = keyfile::load_or_create_identity(&dir, KEY_FILE, &mut Entropy::os())?;
    Ok(secret.public())
}
