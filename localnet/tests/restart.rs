//! `kill -9` of a mix, then of a gateway, in the middle of an epoch and under steady traffic: it serves
//! its keys again at once. Says how long each was away. Real time: `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[path = "support/network.rs"]
mod support;

use localnet::live::{Network, status};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Neighbours wait a quarter of a second before they dial again, then twice that.
const AWAY_MAX: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "real time"]
fn a_node_that_was_killed_serves_its_keys_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        // One mix in each layer, so that everything goes through the one that dies; the epoch is
        // long, so that no directory with new keys comes to its help.
        let shape = ["--mixes-per-layer", "1", "--epoch", "30m"];
        let mut network = support::start(&dir.path().join("net"), &shape).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        for node in ["mix2", "mix1", "gateway3"] {
            let before = said(&network, node).await.unwrap();
            network.processes.by_name(node).unwrap().kill().unwrap();
            let killed = Instant::now();
            network.processes.by_name(node).unwrap().restart().unwrap();
            let away = wait_serving(&network, node, killed).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let after = said(&network, node).await.unwrap();
            println!(
                "{node}: passes packets again {:.2} s after kill -9; before: {} packets, discards \
                 {}; since: {} packets, {} sent on, discards {}",
                away.as_secs_f64(),
                before["packets_received"],
                before["discards"],
                after["packets_received"],
                after["packets_sent"],
                after["discards"],
            );
            assert!(away < AWAY_MAX, "{node} was away for {away:?}");
            for reason in [
                "unknown_epoch",
                "bad_mac",
                "no_directory",
                "tag_not_durable",
            ] {
                assert_eq!(after["discards"][reason], Value::Null, "{node}: {after}");
            }
            assert!(
                after["packets_sent"].as_u64().unwrap() > 20,
                "{node}: {after}"
            );
        }
        network.stop().unwrap();
    });
}

async fn said(network: &Network, node: &str) -> Option<Value> {
    let planned = network.plan.nodes.iter().find(|n| n.name == node);
    status(planned.unwrap()).await
}

/// Until the new process has passed on packets of others: more than its own loops.
async fn wait_serving(network: &Network, node: &str, since: Instant) -> Duration {
    loop {
        if let Some(now) = said(network, node).await {
            let count = |name: &str| now[name].as_u64().unwrap_or(0);
            if count("packets_sent") > count("loops_sent") + 3 {
                return since.elapsed();
            }
        }
        assert!(since.elapsed() < PATIENCE, "{node} does not serve");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
