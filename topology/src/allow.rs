//! The allow-list: the `[[node]]`s of the configuration, and what `topology admit` and `topology ban` changed
//! since, which stands in `nodes.toml` of the data folder.
//!
//! The commands write that file and an authority that runs reads it when it has changed ([`Watch`]), so nobody
//! restarts anything. Who may write into the data folder decides who is in the network, as with the
//! configuration.

use crate::config::{Config, NodeEntry, value};
use anyhow::Context as _;
use directory::{ADMITTED_MAX, Admitted, Family, JoinRequest, Network, Role, hex};
use runtime::config::ConfigError;
use runtime::data_dir::write_atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wire::ids::NodeId;
use wire::keys::IdentityPublic;

/// In the data folder.
const FILE: &str = "nodes.toml";
/// Held while a command changes it.
const LOCK: &str = "nodes.lock";
/// Room for all nodes there may be, with long names.
const LEN_MAX: u64 = (ADMITTED_MAX * 512) as u64;
const HEAD: &str = "# Written by `topology admit` and `topology ban`; comes after the [[node]]s of the configuration.\n";

/// What changed since the configuration was written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Changes {
    /// Admitted; counts before an entry of the configuration for the same node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node: Vec<NodeEntry>,
    /// Not admitted, whatever the configuration says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ban: Vec<Ban>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    identity: String,
}

impl Changes {
    /// None where there is no file.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).context(format!("cannot open {}", path.display())),
        };
        let mut text = String::new();
        let read = file.take(LEN_MAX + 1).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {}", path.display()))?;
        let damaged = || {
            let shown = path.display();
            format!("{shown} is damaged: mend it, or remove it to go by the configuration alone")
        };
        anyhow::ensure!(text.len() as u64 <= LEN_MAX, damaged());
        toml::from_str(&text).with_context(damaged)
    }

    fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self).context("the allow-list cannot be written down")?;
        write_atomic(&data_dir.join(FILE), format!("{HEAD}{text}").as_bytes())?;
        Ok(())
    }

    /// The whole allow-list. A node that the configuration names twice stands twice, and is refused where the list is used.
    pub(crate) fn applied(&self, config: &Config) -> Result<Vec<NodeEntry>, ConfigError> {
        let ours: BTreeMap<[u8; 32], &NodeEntry> = self
            .node
            .iter()
            .map(|n| Ok((identity(&n.identity)?.to_bytes(), n)))
            .collect::<Result<_, ConfigError>>()?;
        let mut banned = Vec::new();
        for ban in &self.ban {
            banned.push(identity(&ban.identity)?.to_bytes());
        }
        let mut all = Vec::new();
        for entry in &config.node {
            let key = identity(&entry.identity)?.to_bytes();
            if !ours.contains_key(&key) && !banned.contains(&key) {
                all.push(entry.clone());
            }
        }
        let ours = ours.into_iter().filter(|(key, _)| !banned.contains(key));
        all.extend(ours.map(|(_, entry)| entry.clone()));
        Ok(all)
    }
}

/// An identity as it stands in a file.
pub(crate) fn identity(text: &str) -> Result<IdentityPublic, ConfigError> {
    hex::decode(text)
        .and_then(|bytes| IdentityPublic::from_bytes(&bytes).ok())
        .ok_or_else(|| {
            let message = format!(
                "`{text}` is no identity: copy the 64 hex digits that the node's `init` printed"
            );
            value("node.identity", message)
        })
}

/// The list as a machine takes it.
pub(crate) fn admitted(config: &Config, changes: &Changes) -> Result<Vec<Admitted>, ConfigError> {
    changes
        .applied(config)?
        .iter()
        .map(NodeEntry::admitted)
        .collect()
}

/// Names of operators on the list, by what stands in a directory for them.
pub(crate) fn operators(config: &Config, changes: &Changes) -> BTreeMap<Family, String> {
    let all = changes.applied(config).unwrap_or_default();
    all.into_iter()
        .map(|n| (Family::of(&n.operator), n.operator))
        .collect()
}

/// What became of `topology admit`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    New,
    /// It stands there already, with this role and operator.
    Unchanged,
    /// It stood there in another role or of another operator.
    Changed,
    /// It was banned.
    NoLongerBanned,
}

/// Takes up a node that asked for it. The request must be verified.
pub(crate) fn admit(config: &Config, request: &JoinRequest) -> anyhow::Result<Admission> {
    let entry = NodeEntry {
        identity: hex::encode(&request.identity.to_bytes()),
        role: match request.role {
            Role::Mix => crate::config::RoleEntry::Mix,
            Role::Gateway => crate::config::RoleEntry::Gateway,
        },
        operator: request.operator.clone(),
    };
    change(config, |changes| {
        let is_it = |text: &str| identity(text).is_ok_and(|i| i == request.identity);
        let stood = changes
            .applied(config)?
            .into_iter()
            .find(|n| is_it(&n.identity));
        let bans = changes.ban.len();
        changes.ban.retain(|b| !is_it(&b.identity));
        let was_banned = changes.ban.len() < bans;
        let same = stood
            .as_ref()
            .is_some_and(|n| n.admitted().ok() == entry.admitted().ok());
        if !same {
            changes.node.retain(|n| !is_it(&n.identity));
            changes.node.push(entry.clone());
        }
        let len = changes.applied(config)?.len();
        anyhow::ensure!(
            len <= ADMITTED_MAX,
            "{ADMITTED_MAX} nodes are on the allow-list, and a directory has no room for more"
        );
        Ok(match (was_banned, stood, same) {
            (true, _, _) => Admission::NoLongerBanned,
            (false, Some(_), true) => Admission::Unchanged,
            (false, Some(_), false) => Admission::Changed,
            (false, None, _) => Admission::New,
        })
    })
}

/// Takes a node off the list: by its identity, its id, or a beginning of one of them with at least 8 digits that
/// fits one node of the list alone. Returns whose it was, if it stood there.
pub(crate) fn ban(config: &Config, name: &str) -> anyhow::Result<(NodeId, Option<NodeEntry>)> {
    change(config, |changes| {
        let name = name.trim().trim_end_matches('…').to_ascii_lowercase();
        let is_hex = name.bytes().all(|b| b.is_ascii_hexdigit());
        anyhow::ensure!(
            is_hex && name.len() >= 8,
            "`{name}` is no node: give its identity or id in hex, or at least the first 8 digits"
        );
        let mut found = Vec::new();
        for entry in changes.applied(config)? {
            let identity = identity(&entry.identity)?;
            let id = hex::encode(&NodeId::of(&identity).0);
            if hex::encode(&identity.to_bytes()).starts_with(&name) || id.starts_with(&name) {
                found.push((identity, Some(entry)));
            }
        }
        if found.is_empty()
            && let Ok(stranger) = identity(&name)
        {
            found.push((stranger, None));
        }
        let (identity, entry) = match <[_; 1]>::try_from(found) {
            Ok([one]) => one,
            Err(found) if found.is_empty() => anyhow::bail!(
                "no node on the allow-list begins with {name}; a node that is not on it is banned by its whole \
                 identity"
            ),
            Err(found) => {
                anyhow::bail!("{} nodes begin with {name}: give more digits", found.len())
            }
        };
        let text = hex::encode(&identity.to_bytes());
        changes
            .node
            .retain(|n| !n.identity.eq_ignore_ascii_case(&text));
        if !changes.ban.iter().any(|b| b.identity == text) {
            changes.ban.push(Ban { identity: text });
        }
        Ok((NodeId::of(&identity), entry))
    })
}

/// One command at a time.
fn change<T>(
    config: &Config,
    change: impl FnOnce(&mut Changes) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = &config.data_dir;
    anyhow::ensure!(
        folder.is_dir(),
        "there is no folder {}: is this the right configuration? `topology init` makes it",
        folder.display()
    );
    let lock = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(LOCK))
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    lock.lock().context("cannot lock the allow-list")?;
    let before = Changes::read(folder)?;
    let mut changes = before.clone();
    let done = change(&mut changes)?;
    if changes != before {
        changes.write(folder)?;
    }
    Ok(done)
}

/// Looks whether the file is another one.
pub(crate) struct Watch {
    config: Config,
    seen: Option<(SystemTime, u64)>,
}

impl Watch {
    /// From now on.
    pub(crate) fn new(config: Config) -> Self {
        let seen = stamp(&config.data_dir.join(FILE));
        Self { config, seen }
    }

    /// The list, when it has changed since the last call; an error once for each change that cannot be read.
    pub(crate) fn look(&mut self) -> Option<anyhow::Result<Vec<Admitted>>> {
        let seen = stamp(&self.config.data_dir.join(FILE));
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        let read = Changes::read(&self.config.data_dir);
        Some(read.and_then(|changes| Ok(admitted(&self.config, &changes)?)))
    }

    /// So many nodes end the wait of a new network.
    pub(crate) fn expected(&self, admitted: usize) -> usize {
        self.config.expected(admitted)
    }
}

fn stamp(path: &PathBuf) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// A request out of a file, standard input (`-`), or as it is.
pub(crate) fn read_request(source: &str, network: &Network) -> anyhow::Result<JoinRequest> {
    let mut text = String::new();
    if source.trim_start().starts_with("mizzle-join") {
        text.push_str(source);
    } else if source == "-" {
        let stdin = std::io::stdin().lock();
        stdin
            .take(directory::JOIN_TEXT_MAX as u64 + 1)
            .read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(source).with_context(|| format!("cannot open {source}"))?;
        let file = file.take(directory::JOIN_TEXT_MAX as u64 + 1);
        let read = { file }.read_to_string(&mut text);
        read.with_context(|| format!("cannot read {source}"))?;
    }
    let request = JoinRequest::from_text(&text)?;
    request.verify(network.id())?;
    Ok(request)
}

#[cfg(test)]
mod tests;
