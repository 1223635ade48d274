//! What the daemons share of the real world: time, randomness of the operating system, key files,
//! TLS links, threads for unwrapping, HTTP, metrics, configuration, logs and signals.
//!
//! What is not here: anything that *decides*. The machines of `mizzle-core` are told the time and
//! given their randomness; the daemons drive them with the parts below.
//!
//! ```text
//!   listeners ─▶ inbound ─▶ link::FrameReader ─▶ unwrap_pool ─▶ the daemon's loop
//!   clock, timer, pace ─────────────────────────────────────▶   (one task, one machine)
//!   neighbours ◀─ link::FrameWriter ◀─ outbound ◀──────────────
//!
//!   packets change hands in batches; buffers are used again; stages says what each part costs
//! ```
//!
//! Links are specified in `docs/spec/link.md`. Every queue here is bounded, and the doc of what
//! creates it says what happens when it is full.

pub mod awake;
pub mod buffers;
pub mod clock;
pub mod config;
pub mod cores;
pub mod data_dir;
pub mod directory_client;
pub mod entropy;
pub mod gzip;
pub mod http;
pub mod http_client;
pub mod inbound;
pub mod keyfile;
pub mod link;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod outbound;
pub mod pace;
pub mod shutdown;
pub mod stages;
pub mod tag_log;
pub mod timer;
pub mod unwrap_pool;
pub mod urgency;
