//! A directory authority as a process: takes signed descriptors from nodes over HTTP and hands out
//! signed directories. What it decides is [`directory::Authority`]; here are its files, its HTTP
//! routes, its clock and its command line.
//!
//! ```text
//!   api (HTTP handlers) ──Command──▶ eventloop ── Authority
//!                                        │
//!                                        └── vault: directories, durable before they are shown
//! ```
//!
//! Clients never talk to an authority; nodes do, in plain HTTP/1.1, because every document is
//! signed. Routes and documents: `docs/spec/directory.md`.

mod api;
mod cli;
mod config;
mod eventloop;
mod metrics;
mod vault;

pub use cli::main;
pub use config::{Config, NodeEntry, Overrides, Profile, RoleEntry};

use directory::{Authority, AuthorityError, NETWORK_TOML_MAX, Network};
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
use wire::keys::IdentityPublic;

/// The authority's identity in its data folder.
pub const KEY_FILE: &str = "identity.key";
/// Requests that wait for the event loop; one more is answered 503.
const COMMANDS_MAX: usize = 64;

/// Runs an authority until `shutdown`. Must be called within a tokio runtime.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let network = read_network(&config.network)?;
    let dir = DataDir::open(&config.data_dir)?;
    let secret = keyfile::load_or_create_identity(&dir, KEY_FILE, &mut Entropy::os())?;
    let (kept, descriptors) = (vault::read(&dir)?, vault::read_descriptors(&dir)?);
    let clock = Clock::start();
    let settings = config.authority(network.clone())?;
    let authority = Authority::new(settings, secret, kept, clock.unix()).map_err(explain)?;

    let listener = http::bind(config.listen).await?;
    let metrics_listener = http::bind_loopback(config.metrics_port).await?;
    let (metrics, registry) = metrics::Metrics::new();
    tracing::info!(
        listen = %listener.local_addr()?,
        metrics = %metrics_listener.local_addr()?,
        "the authority is ready"
    );
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let limits = HttpLimits {
        body_max: directory::DESCRIPTOR_MAX,
        ..HttpLimits::default()
    };
    let body_timeout = limits.body_timeout;
    let routes = move |request| api::answer(request, commands.clone(), body_timeout);
    let api = tokio::spawn(http::serve(listener, limits, shutdown.clone(), routes));
    let shown = runtime::metrics::serve(metrics_listener, Arc::new(registry), shutdown.clone());
    let shown = tokio::spawn(shown);

    let mut eventloop = eventloop::Eventloop {
        authority,
        network,
        clock,
        dir: &dir,
        metrics,
        unsaved: None,
    };
    eventloop.restore(descriptors);
    let result = eventloop.run(inbox, shutdown.clone()).await;
    shutdown.trigger();
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
        AuthorityError::BadKept(_) => error.into(),
        AuthorityError::NotListed
        | AuthorityError::NeedsVotes
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
