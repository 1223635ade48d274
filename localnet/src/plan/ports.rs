//! Addresses for the nodes of a plan: free when it is made, and never two the same. Not here: which node gets how many.

use super::Planned;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Nodes' ports: below those (32,768 and more on Linux) that the system gives to outgoing connections, one of which could
/// else take the port of a node that has not started yet.
const PORTS: std::ops::Range<u16> = 16_000..32_000;

/// Ports that were free a moment ago, all held until the plan is made so that no two are equal.
pub(super) struct Ports {
    /// Which to try next, counted from the first. Every process begins elsewhere.
    next: u32,
    held: Vec<TcpListener>,
    /// Of nodes that may be down just now.
    planned: BTreeSet<u16>,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self {
            next: std::process::id().wrapping_mul(97),
            held: Vec::new(),
            planned: BTreeSet::new(),
        }
    }

    /// None that one of these has, whether it runs or not.
    pub(super) fn beside(nodes: &[Planned]) -> Self {
        let all = nodes.iter().flat_map(Planned::addresses);
        Self {
            planned: all.map(|address| address.port()).collect(),
            ..Self::new()
        }
    }

    pub(super) fn take(&mut self) -> Result<SocketAddr> {
        let count = u32::from(PORTS.end - PORTS.start);
        for _ in 0..count {
            let port = PORTS.start + (self.next % count) as u16;
            self.next = self.next.wrapping_add(1);
            if self.planned.contains(&port) {
                continue;
            }
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                let address = listener.local_addr()?;
                self.held.push(listener);
                return Ok(address);
            }
        }
        bail!(
            "no loopback port from {} to {} is free",
            PORTS.start,
            PORTS.end - 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use crate::plan::Plan;
    use clap::Parser;

    #[test]
    fn a_node_that_is_added_has_no_port_of_one_that_is_down() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let args = Args::parse_from(["localnet", "--dir", dir]).network;
        // None of these is started: all their ports are free.
        let mut plan = Plan::make(&args).unwrap();
        let taken = |plan: &Plan| -> Vec<SocketAddr> {
            let all = plan.nodes.iter().flat_map(Planned::addresses);
            all.collect()
        };
        for n in 0..10 {
            plan.add_mix(&format!("more{n}"), &args).unwrap();
        }
        let (all, once) = (taken(&plan), BTreeSet::from_iter(taken(&plan)));
        assert_eq!(all.len(), once.len(), "{all:?}");
    }
}
