//! `kill -9` of a gateway between a Deposit's reply and the Fetch: every acknowledged cell comes after
//! its restart, and the application sees each once. Twenty rounds; minutes: `.ci/slow` calls it by
//! name.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test"
)]

#[path = "support/network.rs"]
mod support;

use localnet::check::contact_id;
use localnet::live::Network;
use runtime::http_client::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
#[ignore = "minutes of real time"]
fn acknowledged_cells_survive_kill_9_and_come_once() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let mut network = support::start(&dir.path().join("net"), &["--epoch", "6s"]).await;
        let contact = contact_id(&network.api("alice").unwrap(), "bob")
            .await
            .unwrap();
        for round in 0..ROUNDS {
            // Bob is away, so that what is stored is not fetched before the kill.
            network.processes.by_name("bob").unwrap().kill().unwrap();
            send(&network, &contact, round).await;
            wait_state(&mut network, &contact, round, "stored").await;
            for gateway in ["gateway1", "gateway2", "gateway3"] {
                network.processes.by_name(gateway).unwrap().kill().unwrap();
            }
            for gateway in ["gateway1", "gateway2", "gateway3"] {
                network
                    .processes
                    .by_name(gateway)
                    .unwrap()
                    .restart()
                    .unwrap();
            }
            network.processes.by_name("bob").unwrap().restart().unwrap();
            wait_received(&mut network, round).await;
            println!("round {round}: stored, all gateways killed, received");
        }
        let counts = received(&network).await;
        for round in 0..ROUNDS {
            assert_eq!(counts.get(&text(round)), Some(&1), "round {round}");
        }
        network.stop().unwrap();
    });
}

fn text(round: usize) -> String {
    format!("round {round}")
}

async fn send(network: &Network, contact: &str, round: usize) {
    let path = format!("/v1/contacts/{contact}/messages/round-{round}");
    let body = json!({ "text": text(round) });
    network
        .api("alice")
        .unwrap()
        .json(Method::PUT, &path, Some(body))
        .await
        .unwrap();
}

async fn wait_state(network: &mut Network, contact: &str, round: usize, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/v1/contacts/{contact}/messages/round-{round}");
    loop {
        let now = network.api("alice").unwrap().get(&path).await.unwrap();
        if now["state"] == state {
            return;
        }
        assert!(Instant::now() < deadline, "round {round} is still {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_received(network: &mut Network, round: usize) {
    let deadline = Instant::now() + PATIENCE;
    while !received(network).await.contains_key(&text(round)) {
        assert!(Instant::now() < deadline, "round {round} never came");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How often each text stands in bob's event log, read whole.
async fn received(network: &Network) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let Ok(mut events) = network.api("bob").unwrap().events(0).await else {
        return counts;
    };
    // The log is given at once; what follows is silence.
    while let Ok(Ok(Some((_, event)))) =
        tokio::time::timeout(Duration::from_millis(300), events.next()).await
    {
        if event["type"] == "message_received" {
            let text = event["text"].as_str().unwrap_or_default().to_owned();
            *counts.entry(text).or_default() += 1;
        }
    }
    counts
}
