//! Epochs while they change: which directory each authority hands out, and what a change costs.

use crate::check::{Shared, sent_and_lost};
use crate::live::{Network, status};
use crate::plan::{Planned, Role};
use anyhow::{Result, bail};
use directory::Network as Known;
use runtime::clock::Clock;
use runtime::http_client::HttpClient;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::Epoch;

/// Packets die for these reasons when keys rotate and sender and node do not agree on the epoch.
const ROTATION: [&str; 4] = [
    "unknown_epoch",
    "bad_mac",
    "no_directory",
    "unknown_next_hop",
];

/// Watches some epochs go by.
pub(crate) struct EpochWatch {
    known: Known,
    clock: Clock,
    epochs: Option<u32>,
    first: Epoch,
    shown: Option<Epoch>,
    /// Epochs whose directory was handed out by so many authorities before they began.
    directories: BTreeMap<u64, usize>,
}

impl EpochWatch {
    /// Watches from the epoch of now on.
    pub(crate) fn new(network: &Network, epochs: Option<u32>) -> Self {
        let known = network.plan.network.clone();
        let clock = Clock::start();
        Self {
            first: known.schedule().epoch_at(clock.unix()),
            known,
            clock,
            epochs,
            shown: None,
            directories: BTreeMap::new(),
        }
    }

    /// Until the last of them is over.
    pub(crate) fn remaining(&self) -> Duration {
        let epochs = u64::from(self.epochs.unwrap_or(0));
        let end = self
            .known
            .schedule()
            .start(Epoch(self.first.0 + epochs + 1));
        end.saturating_since(self.clock.unix())
    }

    /// How long it is until each of them begins, from now on.
    pub(crate) fn begins(&self) -> impl Iterator<Item = Duration> + '_ {
        let now = self.clock.unix();
        let watched = 1..=u64::from(self.epochs.unwrap_or(0));
        watched.map(move |n| {
            let start = self.known.schedule().start(Epoch(self.first.0 + n));
            start.saturating_since(now)
        })
    }

    /// Says so when an epoch has begun, and what the authorities have.
    pub(crate) async fn look(&mut self, network: &Network) {
        if self.epochs.is_none() {
            return;
        }
        let epoch = self.known.schedule().epoch_at(self.clock.unix());
        if self.shown.replace(epoch) == Some(epoch) {
            return;
        }
        let mut have = 0;
        for authority in network.plan.of(Role::Authority) {
            let newest = authority_status(authority).await;
            let newest = newest.and_then(|s| s["newest_epoch"].as_u64());
            have += usize::from(newest >= Some(epoch.0));
        }
        self.directories.insert(epoch.0, have);
        let of = self.known.authorities().len();
        let died = discards(network).await;
        say!(
            "epoch {}: {have} of {of} authorities have its directory; discarded so far: {}",
            epoch.0,
            in_words(&died)
        );
    }

    /// The summary; fails when something was lost.
    pub(crate) async fn judge(&self, network: &Network, ledger: &Shared) -> Result<()> {
        let Some(epochs) = self.epochs else {
            return Ok(());
        };
        let (sent, lost) = sent_and_lost(ledger);
        let died = discards(network).await;
        let rotation = |(reason, _): &(&String, &u64)| ROTATION.contains(&reason.as_str());
        let rotated: u64 = died.iter().filter(rotation).map(|(_, n)| n).sum();
        let passed: u64 = passed(network).await;
        let missing = self.directories.values().filter(|have| **have == 0).count();
        say!(
            "{epochs} epochs of {} s: {sent} messages sent, {lost} lost; {passed} packets through nodes, \
             {rotated} discarded for key rotation, others: {}; epochs without a directory: {missing}",
            self.known.schedule().length.as_secs(),
            in_words(&died)
        );
        if sent == 0 || passed == 0 {
            bail!("nothing was sent, or no node says what passed it: that shows nothing");
        }
        if lost > 0 || rotated > 0 || missing > 0 {
            bail!("a change of epochs must cost nothing");
        }
        Ok(())
    }
}

/// What a running authority says of itself.
pub async fn authority_status(authority: &Planned) -> Option<Value> {
    let mut http = HttpClient::new(authority.listen?);
    http.timeout = Duration::from_secs(2);
    let answer = http.get("/v1/status").await.ok()?;
    serde_json::from_slice(&answer.body).ok()
}

/// Packets that died at all nodes together, by reason.
pub async fn discards(network: &Network) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for node in nodes(network) {
        let Some(status) = status(node).await else {
            continue;
        };
        for (reason, n) in status["discards"].as_object().into_iter().flatten() {
            *all.entry(reason.clone()).or_default() += n.as_u64().unwrap_or(0);
        }
    }
    all.retain(|_, n| *n > 0);
    all
}

async fn passed(network: &Network) -> u64 {
    let mut all = 0;
    for node in nodes(network) {
        let status = status(node).await;
        all += status.map_or(0, |s| s["packets_received"].as_u64().unwrap_or(0));
    }
    all
}

fn nodes(network: &Network) -> impl Iterator<Item = &Planned> {
    let is_node = |n: &&Planned| matches!(n.role, Role::Mix | Role::Gateway);
    network.plan.nodes.iter().filter(is_node)
}

fn in_words(died: &BTreeMap<String, u64>) -> String {
    if died.is_empty() {
        return "nothing".to_owned();
    }
    let each = died.iter().map(|(reason, n)| format!("{reason} {n}"));
    each.collect::<Vec<_>>().join(", ")
}
