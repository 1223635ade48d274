//! Files on this client's disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file that can be read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BlobView {
    /// 32 hex digits.
    pub blob: String,
    /// What it is called; possibly nothing.
    pub name: String,
    /// What it is said to be; possibly nothing.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of its content in hex.
    pub sha256: String,
}

/// Answer to `GET /v1/blobs`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Blobs {
    /// By name of the blob.
    pub blobs: Vec<BlobView>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// Body of `POST /v1/wipe`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wipe {
    /// Must be `everything`.
    pub confirm: Confirmation,
}

/// What a person must write out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// Keys, contacts, messages and files of this client.
    Everything,
}
