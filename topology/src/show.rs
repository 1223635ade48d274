//! `topology show`: a directory for people, as text, JSON, or a page with a map ([`html`]).
//!
//! What everybody may know, and no more: a directory says nothing about load, only how traffic is shared
//! out. Names of operators are those of this authority's allow-list; a directory has their hashes.

mod html;

pub(crate) use html::page;

use directory::{
    Directory, Family, LAYERS, Network, NodeDescriptor, Parameters, SignedDirectory, hex,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use wire::time::UnixTime;

/// Who runs what, as far as this authority was told.
pub(crate) type Operators = BTreeMap<Family, String>;

/// A directory to be shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// In hex, like all names here.
    pub(crate) network_id: String,
    pub(crate) epoch: u64,
    pub(crate) hash: String,
    pub(crate) previous: String,
    /// Unix ms.
    pub(crate) valid_from: u64,
    /// Unix ms.
    pub(crate) valid_until: u64,
    /// Authorities, from 1.
    pub(crate) signed_by: Vec<u16>,
    pub(crate) authorities: usize,
    pub(crate) threshold: u8,
    /// Authorities that withheld their share of the randomness, from 1.
    pub(crate) withheld: Vec<u16>,
    pub(crate) parameters: BTreeMap<&'static str, Value>,
    /// The three layers of mixes.
    pub(crate) layers: Vec<Vec<ShownNode>>,
    pub(crate) gateways: Vec<ShownNode>,
}

/// A node in it.
#[derive(Debug, Serialize)]
pub(crate) struct ShownNode {
    pub(crate) id: String,
    pub(crate) identity: String,
    pub(crate) family: String,
    /// `None` where the allow-list does not know.
    pub(crate) operator: Option<String>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) client_addresses: Vec<SocketAddr>,
    pub(crate) key_epochs: Vec<u64>,
    /// Of the traffic of its layer; of all requests for a gateway: all nodes of a list are drawn alike.
    pub(crate) share: f64,
}

/// Everything that stands in the document.
pub(crate) fn shown(
    signed: &SignedDirectory,
    directory: &Directory,
    network: &Network,
    operators: &Operators,
) -> Shown {
    let nodes = |list: &[NodeDescriptor]| {
        let share = 1.0 / list.len().max(1) as f64;
        list.iter().map(|n| node(n, share, operators)).collect()
    };
    let set = |i: &u16| directory.withheld >> i & 1 == 1;
    Shown {
        network_id: hex::encode(&directory.network.0),
        epoch: directory.epoch.0,
        hash: hex::encode(&directory.hash().0),
        previous: hex::encode(&directory.previous.0),
        valid_from: directory.valid_from.0,
        valid_until: directory.valid_until.0,
        signed_by: signed.signers().map(|i| u16::from(i) + 1).collect(),
        authorities: network.authorities().len(),
        threshold: network.threshold(),
        withheld: (0..64).filter(set).map(|i| i + 1).collect(),
        parameters: parameters(&directory.parameters).into_iter().collect(),
        layers: (0..LAYERS).map(|l| nodes(directory.layer(l))).collect(),
        gateways: nodes(directory.gateways()),
    }
}

fn node(node: &NodeDescriptor, share: f64, operators: &Operators) -> ShownNode {
    ShownNode {
        id: hex::encode(&node.id().0),
        identity: hex::encode(&node.identity.to_bytes()),
        family: hex::encode(&node.family.0),
        operator: operators.get(&node.family).cloned(),
        addresses: node.addresses.clone(),
        client_addresses: node.client_addresses.clone(),
        key_epochs: node.sphinx_keys.iter().map(|k| k.epoch.0).collect(),
        share,
    }
}

/// By the names and in the units of `topology.toml`.
pub(crate) fn parameters(p: &Parameters) -> Vec<(&'static str, Value)> {
    let ms = |d: Duration| Value::from(u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
    vec![
        ("delay_mean_ms", ms(p.delay_mean)),
        ("hop_allowance_ms", ms(p.hop_allowance)),
        ("payload_rate", p.payload_rate.per_second().into()),
        ("loop_rate", p.loop_rate.per_second().into()),
        ("mix_loop_rate", p.mix_loop_rate.per_second().into()),
        ("downlink_rate", p.downlink_rate.per_second().into()),
        ("key_overlap_ms", ms(p.key_overlap)),
        ("inbox_period", p.inbox_period.into()),
        ("inbox_ttl_max_s", p.inbox_ttl_max.as_secs().into()),
        ("cell_ttl_s", p.cell_ttl.as_secs().into()),
        ("inbox_quota", p.inbox_quota.into()),
        ("puzzle_difficulty", p.puzzle_difficulty.into()),
    ]
}

/// The beginning of a name in hex; enough for a person to tell them apart.
pub(crate) fn short(hex: &str) -> &str {
    hex.get(..8).unwrap_or(hex)
}

impl Shown {
    /// For a terminal.
    pub(crate) fn in_words(&self, now: UnixTime) -> String {
        let mut out = self.heading(now);
        for (layer, mixes) in self.layers.iter().enumerate() {
            let _ = writeln!(
                out,
                "\nlayer {}: {}",
                layer + 1,
                counted(mixes, "mix", "es")
            );
            mixes.iter().for_each(|n| n.line(&mut out));
        }
        let _ = writeln!(out, "\n{}", counted(&self.gateways, "gateway", "s"));
        self.gateways.iter().for_each(|n| n.line(&mut out));
        out.push('\n');
        for (name, value) in &self.parameters {
            let _ = writeln!(out, "{name:<18} {value}");
        }
        out
    }

    /// Which directory, and how well it is signed.
    pub(crate) fn heading(&self, now: UnixTime) -> String {
        let mut out = format!(
            "epoch {} of network {}…, directory {}…, after {}…\n{}\n",
            self.epoch,
            short(&self.network_id),
            short(&self.hash),
            short(&self.previous),
            self.validity(now),
        );
        let _ = writeln!(
            out,
            "signed by {} of {} authorities ({}), {} needed",
            self.signed_by.len(),
            self.authorities,
            listed(&self.signed_by),
            self.threshold
        );
        if !self.withheld.is_empty() {
            let _ = writeln!(
                out,
                "authorities that withheld their share of the randomness: {}",
                listed(&self.withheld)
            );
        }
        out
    }

    fn validity(&self, now: UnixTime) -> String {
        let seconds = |from: u64, to: u64| to.saturating_sub(from) / 1000;
        if now.0 < self.valid_from {
            format!("valid in {} s", seconds(now.0, self.valid_from))
        } else if now.0 < self.valid_until {
            format!("valid for {} s more", seconds(now.0, self.valid_until))
        } else {
            let ago = seconds(self.valid_until, now.0);
            format!("NOT VALID: its time was over {ago} s ago")
        }
    }
}

impl ShownNode {
    /// Who runs it, by name where the allow-list knows.
    pub(crate) fn who(&self) -> String {
        match &self.operator {
            Some(name) => name.clone(),
            None => format!("family {}…", short(&self.family)),
        }
    }

    fn line(&self, out: &mut String) {
        let _ = write!(out, "  {}…  {:<24}", short(&self.id), self.who());
        for address in &self.addresses {
            let _ = write!(out, "  {address}");
        }
        for address in &self.client_addresses {
            let _ = write!(out, "  clients {address}");
        }
        out.push('\n');
    }
}

fn counted(nodes: &[ShownNode], one: &str, more: &str) -> String {
    match nodes {
        [_] => format!("1 {one}, which carries everything"),
        _ => format!(
            "{} {one}{more}, each carries {:.1} %",
            nodes.len(),
            100.0 / nodes.len() as f64
        ),
    }
}

fn listed(numbers: &[u16]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
    numbers.join(", ")
}

#[cfg(test)]
pub(crate) mod tests;
