//! A wall clock that is wrong on one node, one authority, one client in turn: libfaketime shifts that process' wall time
//! and nothing else. No acknowledged message is lost, and within an epoch its `status` names the skew. Real time, two
//! minutes: `.ci/slow` runs it.
//! Needs Debian's package `faketime`; without it this says loudly that nothing was tested.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[path = "support/network.rs"]
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use localnet::epochs::authority_status;
use localnet::live::{Network, status};
use localnet::plan::Role;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use traffic::Traffic;

const EPOCH: Duration = Duration::from_secs(30);
/// In seconds.
const SHIFTS: [i64; 5] = [1, -1, 60, -60, -7200];

#[test]
#[ignore = "two minutes of real time"]
fn a_wrong_clock_is_named_and_costs_no_message() {
    let Some(library) = library() else {
        println!(
            "SKIPPED, NOTHING WAS TESTED: libfaketime is not here; `apt-get install faketime`"
        );
        return;
    };
    let library = library.to_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let shape = ["--mixes-per-layer", "2", "--epoch", "30s"];
        let mut network = support::start(&dir.path().join("net"), &shape).await;
        let traffic = Traffic::start(&network, Duration::from_secs(1)).await;
        for seconds in SHIFTS {
            for name in ["mix3", "authority2", "bob"] {
                restart(&mut network, name, Some((library, seconds)));
                let named = wait_named(&network, name, seconds).await;
                println!("{name} {seconds:+} s: {named}");
                restart(&mut network, name, None);
            }
            // All clocks are right: everybody can send again before the next one goes wrong.
            network
                .wait_ready("bob", Instant::now() + EPOCH * 3)
                .await
                .unwrap();
            wait_right(&network, "mix3").await;
        }
        traffic.finish(EPOCH * 4).await;
        network.stop().unwrap();
    });
}

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let inside = folders
        .flatten()
        .map(|f| f.path().join("faketime/libfaketime.so.1"));
    inside.into_iter().find(|path| path.exists())
}

fn restart(network: &mut Network, name: &str, shifted: Option<(&str, i64)>) {
    let process = network.processes.by_name(name).unwrap();
    process.kill().unwrap();
    match shifted {
        None => process.restart().unwrap(),
        Some((library, seconds)) => {
            let by = format!("{seconds:+}s");
            let variables = [
                ("LD_PRELOAD", library),
                ("FAKETIME", &by[..]),
                // Wall time alone.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ("DONT_FAKE_MONOTONIC", "1"),
                ("NO_FAKE_STAT", "1"),
            ];
            process.restart_with(&variables).unwrap();
        }
    }
}

/// Until its status, or for an authority that of another one too, names the skew; within an epoch.
async fn wait_named(network: &Network, name: &str, seconds: i64) -> String {
    let began = Instant::now();
    let planned = network.plan.nodes.iter().find(|n| n.name == name).unwrap();
    let mut last = Value::Null;
    while began.elapsed() < EPOCH {
        let named = match planned.role {
            Role::Mix | Role::Gateway => {
                last = status(planned).await.unwrap_or_default()["clock"].clone();
                let ahead = last["ahead_ms"].as_i64().unwrap_or(0);
                near(ahead, seconds).then(|| last["says"].to_string())
            }
            Role::Authority => {
                last = authority_status(planned).await.unwrap_or_default();
                let says: topology::Status = match serde_json::from_value(last.clone()) {
                    Ok(says) => says,
                    Err(_) => continue,
                };
                let words = says.in_words();
                let line = words.lines().find(|l| l.contains("THIS AUTHORITY'S CLOCK"));
                line.map(str::to_owned)
            }
            Role::Client => {
                let api = network.api(name).unwrap();
                last = api.get("/v1/status").await.unwrap_or_default();
                let ahead = last["clock"]["ahead_ms"].as_i64().unwrap_or(0);
                let named = near(ahead, seconds) && last["clock"]["wrong"] == true;
                named.then(|| last["clock"]["says"].to_string())
            }
        };
        if let Some(named) = named {
            return format!("{named} after {:.1} s", began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{name} {seconds:+} s: nothing in its status within an epoch: {last}");
}

/// Within half a second, or a tenth.
fn near(ahead_ms: i64, seconds: i64) -> bool {
    let off = (ahead_ms - seconds * 1000).unsigned_abs();
    off < 500.max(seconds.unsigned_abs() * 100)
}

async fn wait_right(network: &Network, name: &str) {
    let planned = network.plan.nodes.iter().find(|n| n.name == name).unwrap();
    let deadline = Instant::now() + EPOCH * 3;
    loop {
        let said = status(planned).await.unwrap_or_default();
        if said["clock"]["wrong"] == false && said["ready"] == true {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
