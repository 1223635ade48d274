//! What a mixnode and a gateway share: everything of a node but its machine and its loop.
//!
//! ```text
//!   command ─▶ settings ─▶ foundation (keys, network, clock) ─▶ the daemon's own eventloop.rs
//!   listener ──▶ frames ──▶            │ loop │           ──▶ neighbours ──▶ outbound links
//!   directories (fetch, upload) ──▶    │      │           ──▶ board (metrics, status, alarm)
//! ```
//!
//! Reading order: [`command`] (the verbs) · [`settings`] (what a configuration must say) ·
//! [`foundation`] (what is opened before anything runs) · [`surroundings`] (what is started around
//! the loop) · [`directories`] · [`listener`] · [`neighbours`] · [`board`] · [`alarm`] · [`join`] and [`retire`]
//! (what an operator does to be let in, and to leave).

pub mod alarm;
pub mod board;
pub mod command;
pub mod directories;
mod figure;
pub mod foundation;
pub mod join;
pub mod keeper;
pub mod listener;
pub mod neighbours;
pub mod peer_clocks;
pub mod readers;
pub mod retire;
pub mod settings;
pub mod surroundings;

use crate::config::{ConfigError, exit};
use crate::data_dir::DataDirError;

/// Why a node does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is wrong; another start changes nothing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder or a key file cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The system refused something; the text says what and how to cure it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Anything else that ends a node.
    #[error("{0}")]
    Ended(String),
}

impl NodeError {
    /// What the process says to its parent.
    pub fn exit_code(&self) -> u8 {
        let code = match self {
            Self::Config(_) => exit::CONFIG,
            Self::DataDir(DataDirError::Io { .. } | DataDirError::Locked(_)) => exit::FAILED,
            Self::DataDir(
                DataDirError::NotPrivate { .. }
                | DataDirError::OtherOwner(_)
                | DataDirError::WrongLength { .. },
            ) => exit::CONFIG,
            Self::Io(_) | Self::Ended(_) => exit::FAILED,
        };
        u8::try_from(code).unwrap_or(1)
    }

    /// A value of the configuration makes no sense.
    pub fn value(key: &str, message: impl Into<String>) -> Self {
        settings::bad(key, message).into()
    }
}
