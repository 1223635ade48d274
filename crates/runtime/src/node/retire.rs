//! Leaving a network without losing a packet: `mixnode retire` and `gateway retire`.
//!
//! A file in the data folder ([`RETIRING_FILE`]) says that the node retires, and since when. As long as it
//! is there, the node tells the authorities nothing more ([`super::directories::Publisher`]), who then leave
//! it out as they leave out the dead; meanwhile it serves as before. When no directory that anybody may
//! still go by lists it, it may be stopped ([`Retirement::of`]). The verb only writes and reads the file, so it
//! works whether the node runs or not.

use super::NodeError;
use super::settings::Settings;
use crate::clock::Clock;
use crate::data_dir::write_atomic;
use crate::http_client::HttpClient;
use directory::vote::VoteTimes;
use directory::{Directory, Network};
use mizzle_core::view::View;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{Epoch, NodeId};
use wire::time::{Instant, UnixTime};

/// As long as this is in a node's data folder, it leaves the network. It holds the moment of the order in Unix ms.
pub const RETIRING_FILE: &str = "retiring";

/// A moment has fewer digits.
const FILE_MAX: u64 = 32;
/// How often `--wait` asks.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A node notices the file within this ([`super::directories`]), or a twelfth of an epoch.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Since when the node of this data folder retires. Whoever only made the file, by hand, means from now on.
pub fn since(data_dir: &Path, now: UnixTime) -> Option<UnixTime> {
    let file = std::fs::File::open(data_dir.join(RETIRING_FILE)).ok()?;
    let mut text = String::new();
    let read = file.take(FILE_MAX).read_to_string(&mut text);
    let stated = read.ok().and_then(|_| text.trim().parse().ok());
    Some(stated.map_or(now, UnixTime))
}

/// The first epoch whose directory leaves out a node that said nothing after `since`: in its vote that is too old.
pub fn first_epoch_without(network: &Network, since: UnixTime) -> Epoch {
    let epoch = network.schedule().epoch_at(since).next();
    let times = VoteTimes::of(network, epoch);
    let too_old = since.saturating_add(times.fresh) < times.start;
    if too_old { epoch } else { epoch.next() }
}

/// How far a node is with leaving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retirement {
    /// It does not leave.
    No,
    /// Directories list it, or may; until then at least it serves, if no vote fails.
    Serves(UnixTime),
    /// It holds no directory of the epoch that it waits for: nothing can be said.
    Unknown,
    /// No directory that anybody may still go by lists it.
    MayStop,
}

impl Retirement {
    /// By what a running node knows. `since` is when it was told to leave.
    pub fn of(
        us: &NodeId,
        view: &View,
        since: Option<UnixTime>,
        network: &Network,
        now: Instant,
    ) -> Self {
        let Some(since) = since else {
            return Self::No;
        };
        let unix = view.unix_at(now);
        let without = first_epoch_without(network, since);
        let from = network.schedule().start(without);
        // The directory before it holds for one epoch longer, and packets built by it arrive a little later.
        let later = |d: &Arc<Directory>| d.valid_until.saturating_add(d.parameters.key_overlap);
        let lists_us = |d: &&Arc<Directory>| d.position(us).is_some();
        let listed = view.held().filter(lists_us).map(later).max();
        match listed {
            // The last one that lists it may be yet to come.
            Some(until) if unix < until => {
                Self::Serves(until.max(network.schedule().start(without.next())))
            }
            Some(_) | None if unix < from => Self::Serves(from),
            Some(_) | None => match view.current(now) {
                Some(current) if current.epoch >= without => Self::MayStop,
                Some(_) | None => Self::Unknown,
            },
        }
    }

    /// The lines of a node's status; empty for a node that does not leave.
    pub fn status(self, unix: UnixTime) -> serde_json::Map<String, Value> {
        let (word, left) = match self {
            Self::No => return serde_json::Map::new(),
            Self::Serves(until) => {
                let left = until.saturating_since(unix);
                ("serves until it is in no directory", Some(left.as_secs()))
            }
            Self::Unknown => ("it holds no directory: nothing can be said", None),
            Self::MayStop => ("it may be stopped", Some(0)),
        };
        let retiring = json!({
            "state": word,
            "may_stop": self == Self::MayStop,
            "may_stop_in_s": left,
        });
        serde_json::Map::from_iter([("retiring".to_owned(), retiring)])
    }
}

/// What the verb is asked for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RetireOptions {
    /// Stay after all: the node is in the next directory whose vote it reaches.
    #[arg(long, conflicts_with = "wait")]
    cancel: bool,
    /// End only when the node may be stopped. Needs `metrics` in the configuration.
    #[arg(long)]
    wait: bool,
}

/// The verb. What there is to say is given to `say`.
pub fn run(
    name: &str,
    settings: &Settings,
    options: RetireOptions,
    say: impl Fn(&str),
) -> Result<(), NodeError> {
    let network = super::foundation::read_network(&settings.network)?;
    let folder = &settings.data_dir;
    if !folder.join(super::foundation::IDENTITY_FILE).exists() {
        let message = format!(
            "there is no node in {}: is this the right configuration?",
            folder.display()
        );
        return Err(NodeError::value("data_dir", message));
    }
    let now = Clock::start().unix();
    let file = folder.join(RETIRING_FILE);
    let was = since(folder, now);
    if options.cancel {
        return match was {
            None => {
                say("This node does not retire; nothing to cancel.");
                Ok(())
            }
            Some(_) => {
                std::fs::remove_file(&file)?;
                let seconds = LOOK_EVERY.as_secs();
                say(&format!(
                    "This node stays. If it runs, it tells the authorities within {seconds} s, and is in the \
                     next directory whose vote begins later; `{name} status` shows its place."
                ));
                Ok(())
            }
        };
    }
    let since = match was {
        Some(since) => since,
        None => {
            write_atomic(&file, format!("{}\n", now.0).as_bytes())?;
            now
        }
    };
    let without = first_epoch_without(&network, since);
    let left = |at: UnixTime| in_words(at.saturating_since(now));
    let schedule = network.schedule();
    let out = schedule.start(without);
    let over = schedule.start(without.next());
    say(&format!(
        "This node retires{}. Its last directory ends with epoch {}, {} from now, if no vote fails; who missed the \
         next goes by it for one epoch more, {} from now. Until then it must run and serve.",
        if was.is_some() { " already" } else { "" },
        without.0.saturating_sub(1),
        left(out),
        left(over),
    ));
    let Some(address) = settings.metrics else {
        if options.wait {
            let message = "`--wait` asks the node there; set it to a port on 127.0.0.1 and start the node again";
            return Err(NodeError::value("metrics", message));
        }
        say(
            "With `metrics` in the configuration, this verb would also say when it may be stopped.",
        );
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(follow(name, HttpClient::new(address), options.wait, say))
}

async fn follow(
    name: &str,
    http: HttpClient,
    wait: bool,
    say: impl Fn(&str),
) -> Result<(), NodeError> {
    loop {
        let answer = http.get("/status").await.map_err(|error| {
            NodeError::Ended(format!(
                "{error}. Does the node run? It must serve until it is out: start it with `{name} run`"
            ))
        })?;
        let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let retiring = &status["retiring"];
        if retiring["may_stop"] == true {
            say("It is in no directory that anybody goes by: it may be stopped now (SIGTERM).");
            if let Some(cells) = status["cells"].as_u64().filter(|n| *n > 0) {
                say(&format!(
                    "{cells} cells wait in its inboxes and cannot be fetched any more. Their senders send again \
                     elsewhere what is not confirmed."
                ));
            }
            return Ok(());
        }
        if !wait {
            let line = match (retiring["may_stop_in_s"].as_u64(), retiring.is_null()) {
                (Some(seconds), _) => {
                    let left = in_words(Duration::from_secs(seconds));
                    format!("It may not be stopped yet; in {left} at the earliest.")
                }
                (None, true) => format!(
                    "The node notices within {} s; `{name} status` then says `retiring`.",
                    LOOK_EVERY.as_secs()
                ),
                (None, false) => {
                    "It may not be stopped yet: it holds no directory without itself.".to_owned()
                }
            };
            say(&line);
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// `2 h 5 min`, `40 s`.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests;
