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

use anyhow::Context as _;
use directory::{Authority, Network};
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::http::{self, HttpLimits};
use runtime::keyfile;
use runtime::shutdown::Shutdown;
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
    let kept = vault::read(&dir)?;
    let clock = Clock::start();
    let settings = config.authority(network.clone())?;
    let authority = Authority::new(settings, secret, kept, clock.unix())?;

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

    let result = eventloop::Eventloop {
        authority,
        network,
        clock,
        dir: &dir,
        metrics,
    }
    .run(inbox, shutdown.clone())
    .await;
    shutdown.trigger();
    let _ = tokio::join!(api, shown);
    result
}

/// Reads and checks a `network.toml`.
pub fn read_network(path: &Path) -> anyhow::Result<Network> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}: check the key `network`, or make one with `topology init`",
            path.display()
        )
    })?;
    Network::from_toml(&text).with_context(|| path.display().to_string())
}

/// The authority's identity, made at the first call.
pub fn identity(config: &Config) -> anyhow::Result<IdentityPublic> {
    let dir = DataDir::open(&config.data_dir)?;
    let secret = keyfile::load_or_create_identity(&dir, KEY_FILE, &mut Entropy::os())?;
    Ok(secret.public())
}
