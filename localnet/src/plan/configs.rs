//! The configuration file of each node of a plan. Not here: what the nodes are, and the network's own file.

use super::{Plan, Planned, Role, hex, write};
use crate::args::NetworkArgs;
use crate::capture;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use wire::ids::NodeId;

impl Plan {
    pub(super) fn write_config(
        &self,
        node: &Planned,
        args: &NetworkArgs,
        seed: Option<u64>,
    ) -> Result<()> {
        let mut text = String::new();
        writeln!(text, "data_dir = {}", quoted(&node.data()))?;
        writeln!(text, "log = \"{}\"", args.log)?;
        writeln!(text, "network = {}", quoted(&self.network_file()))?;
        match node.role {
            Role::Authority => self.authority_config(&mut text, node, args)?,
            Role::Mix => {
                self.node_config(&mut text, node, seed)?;
                text.push_str(&args.more.mix);
            }
            Role::Gateway => {
                self.node_config(&mut text, node, seed)?;
                if let Some(listen) = node.client_listen {
                    writeln!(text, "client_listen = [\"{listen}\"]")?;
                }
            }
            Role::Client => self.client_config(&mut text, node, args, seed)?,
        }
        write(&node.config_file(), &text)
    }

    fn authority_config(
        &self,
        text: &mut String,
        node: &Planned,
        args: &NetworkArgs,
    ) -> Result<()> {
        if let Some(listen) = node.listen {
            writeln!(text, "listen = \"{listen}\"")?;
        }
        // Everybody has the same address here.
        writeln!(text, "connections_per_address = 256")?;
        if let Some(metrics) = node.metrics {
            writeln!(text, "metrics_port = {}", metrics.port())?;
        }
        let profile = if args.wide { "wide" } else { "localnet" };
        writeln!(text, "profile = \"{profile}\"")?;
        writeln!(text, "\n[parameters]")?;
        let overlap = (args.epoch / 4).min(Duration::from_secs(5));
        writeln!(text, "key_overlap_ms = {}", overlap.as_millis())?;
        let scale = args.rate_scale;
        if (scale - 1.0).abs() > f64::EPSILON {
            let rates = directory::Parameters::localnet();
            for (name, rate) in [
                ("payload_rate", rates.payload_rate),
                ("loop_rate", rates.loop_rate),
                ("downlink_rate", rates.downlink_rate),
            ] {
                writeln!(text, "{name} = {}", rate.per_second() * scale)?;
            }
        }
        if let Some(quota) = args.more.quota(scale) {
            writeln!(text, "inbox_quota = {quota}")?;
        }
        if args.plant_rate {
            writeln!(text, "payload_rate = 11.0\nloop_rate = 2.2")?;
        }
        for peer in self
            .nodes
            .iter()
            .filter(|n| matches!(n.role, Role::Mix | Role::Gateway))
        {
            let Some(identity) = peer.identity else {
                continue;
            };
            let role = if peer.role == Role::Mix {
                "mix"
            } else {
                "gateway"
            };
            writeln!(
                text,
                "\n[[node]]\nidentity = \"{}\"",
                hex(&identity.to_bytes())
            )?;
            writeln!(
                text,
                "role = \"{role}\"\noperator = \"operator of {}\"",
                peer.name
            )?;
        }
        Ok(())
    }

    fn node_config(&self, text: &mut String, node: &Planned, seed: Option<u64>) -> Result<()> {
        shared_config(text, node, seed)?;
        if let Some(listen) = node.listen {
            writeln!(text, "listen = [\"{listen}\"]")?;
        }
        writeln!(text, "operator = \"operator of {}\"", node.name)?;
        writeln!(text, "unwrap_threads = 1")?;
        // A dozen nodes share these cores with the clients, who would come last; and a loop that is run at
        // every wake has no batches to work on.
        // Only the few gateways keep moments that an observer sees, and only at rates that leave room.
        let realtime = node.role == Role::Gateway && self.unhurried;
        writeln!(text, "realtime = {realtime}\nkeep_awake = false")?;
        Ok(())
    }

    fn client_config(
        &self,
        text: &mut String,
        node: &Planned,
        args: &NetworkArgs,
        seed: Option<u64>,
    ) -> Result<()> {
        shared_config(text, node, seed)?;
        let entry = self
            .entry_of(node)
            .context("a client without an entry gateway")?;
        let identity = entry.identity.context("a gateway without an identity")?;
        writeln!(text, "name = \"{}\"", node.name)?;
        text.push_str(&args.more.client);
        writeln!(text, "entry = \"{}\"", hex(&NodeId::of(&identity).0))?;
        if let Some(api) = node.api {
            writeln!(text, "api = \"{api}\"")?;
        }
        if let Some(captures) = &args.capture {
            std::fs::create_dir_all(captures)?;
            let gateway = entry
                .client_listen
                .context("a gateway without a client listener")?;
            let csv = captures.join(format!("{}.csv", node.name));
            let relay = capture::relay(gateway, &csv)?;
            writeln!(text, "entry_address = \"{relay}\"")?;
        }
        // Each client from an address of its own, so that a gateway that kept one would show it.
        let index = self
            .of(Role::Client)
            .position(|c| c.name == node.name)
            .unwrap_or(0);
        if args.capture.is_none() {
            writeln!(text, "source_address = \"127.77.0.{}\"", index + 1)?;
        }
        Ok(())
    }
}

/// What mixes, gateways and clients have in common.
fn shared_config(text: &mut String, node: &Planned, seed: Option<u64>) -> Result<()> {
    if let Some(seed) = seed {
        writeln!(text, "test_seed = \"{seed:x}\"")?;
    }
    if let Some(metrics) = node.metrics {
        writeln!(text, "metrics = \"{metrics}\"")?;
    }
    Ok(())
}

fn quoted(path: &Path) -> String {
    // A TOML literal string; such a path has no quote of its own.
    format!("'{}'", path.display())
}
