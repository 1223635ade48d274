//! Four authorities, real processes, epochs of half a minute, steady traffic: an authority is killed and comes
//! back, a mix is admitted, one retires, one is killed without warning. No acknowledged message is lost and no
//! epoch is without a directory. Prints how long packets still went to the dead mix. Minutes of real time:
//! `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[allow(dead_code, reason = "each test program uses its own part")]
#[path = "support/network.rs"]
mod support;
#[path = "support/traffic.rs"]
mod traffic;

use directory::{Directory, SignedDirectory};
use localnet::epochs::authority_status;
use localnet::live::{Network, status};
use localnet::plan::{Planned, Role};
use runtime::clock::Clock;
use runtime::http_client::{HttpClient, StatusCode};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use traffic::Traffic;
use wire::ids::{Epoch, NodeId};

const EPOCH: Duration = Duration::from_secs(30);
/// The time in which everybody fetches a directory before it holds: the quarter of an epoch.
const FETCH: Duration = Duration::from_millis(7500);
/// What is on its way when the last client has the directory, and replies by blocks that were made before.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
const PROGRAM: &str = env!("CARGO_BIN_EXE_localnet");

#[test]
#[ignore = "minutes of real time"]
fn authorities_and_mixes_come_and_go_under_traffic() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let shape = ["--mixes-per-layer", "3", "--epoch", "30s"];
        let args = support::args(&dir.path().join("net"), &shape);
        let mut network = support::start_with(&args).await;
        let first = epoch(&network);
        let traffic = Traffic::start(&network, Duration::from_millis(1500)).await;

        an_authority_is_killed_and_comes_back(&mut network).await;
        let newcomer = network.plan.add_mix("newcomer", &args).unwrap();
        a_mix_is_admitted(&mut network, &newcomer).await;
        a_mix_retires(&mut network, "mix4").await;
        // Just before a vote in which its last word still counts (the worst moment), and somewhat earlier.
        for (victim, phase) in [("mix1", 0.66), ("mix5", 0.5)] {
            a_mix_is_killed(&mut network, victim, phase).await;
        }
        traffic.finish(Duration::from_secs(180)).await;
        every_epoch_has_a_directory(&network, first);
        network.stop().unwrap();
    });
}

async fn an_authority_is_killed_and_comes_back(network: &mut Network) {
    network
        .processes
        .by_name("authority4")
        .unwrap()
        .kill()
        .unwrap();
    let down = epoch(network);
    // A whole vote without it.
    wait_for_epoch(network, down.next().next(), 0.0).await;
    let others = authority(network, 0).clone();
    let said = authority_status(&others).await.unwrap();
    assert_eq!(said["authorities"][3]["reached"], false, "{said}");
    network
        .processes
        .by_name("authority4")
        .unwrap()
        .restart()
        .unwrap();
    let began = Instant::now();
    let it = authority(network, 3).clone();
    let now = epoch(network);
    loop {
        let said = authority_status(&it).await;
        if said.is_some_and(|s| s["newest_epoch"].as_u64() >= Some(now.0)) {
            break;
        }
        assert!(began.elapsed() < EPOCH, "it does not catch up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "authority4 is back and has the directory after {:.1?}",
        began.elapsed()
    );
    // And votes again.
    let next = now.next().next();
    wait_for_epoch(network, next, 0.0).await;
    let signed = document(network, 0, next).await.unwrap();
    println!(
        "epoch {next} is signed by {:?}",
        signed.signers().collect::<Vec<_>>()
    );
}

/// Its request is taken to all authorities, which run.
async fn a_mix_is_admitted(network: &mut Network, node: &Planned) {
    let before = epoch(network);
    network.processes.add(node, Path::new(PROGRAM)).unwrap();
    let request = says(node, "mixnode", &["join"]);
    let authorities: Vec<Planned> = network.plan.of(Role::Authority).cloned().collect();
    for authority in &authorities {
        let said = says(authority, "topology", &["admit", request.trim()]);
        assert!(said.contains("Admitted: mix"), "{said}");
    }
    let began = Instant::now();
    let joined = wait_listed(network, node, true).await;
    println!(
        "newcomer: admitted in epoch {before}, in the directory of {joined}, known after {:.1?}",
        began.elapsed()
    );
    wait_for_epoch(network, joined, 0.3).await;
    let said = status(node).await.unwrap();
    assert!(said["packets_sent"].as_u64() > Some(0), "{said}");
    assert!(
        said["position"].as_str().unwrap().starts_with("layer"),
        "{said}"
    );
}

/// By the verb; it is ended when that says so.
async fn a_mix_retires(network: &mut Network, name: &str) {
    let node = planned(network, name);
    let said = says(&node, "mixnode", &["retire"]);
    assert!(said.contains("This node retires"), "{said}");
    let began = Instant::now();
    let left = wait_listed(network, &node, false).await;
    println!("{name}: in no directory from epoch {left} on");
    loop {
        let said = status(&node).await.unwrap();
        if said["retiring"]["may_stop"] == true {
            break;
        }
        assert!(began.elapsed() < EPOCH * 5, "{said}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let said = says(&node, "mixnode", &["retire", "--wait"]);
    assert!(said.contains("it may be stopped now"), "{said}");
    println!("{name}: may stop {:.1?} after the order", began.elapsed());
    assert!(
        epoch(network) > left,
        "while a directory that lists it holds"
    );
    let before = dead_ends(network).await;
    network.processes.by_name(name).unwrap().end().unwrap();
    tokio::time::sleep(EPOCH / 3).await;
    let after = dead_ends(network).await;
    for (other, count) in before.iter().filter(|(other, _)| *other != name) {
        let now = after.get(other);
        assert_eq!(
            now,
            Some(count),
            "{other} had packets for it after it had left: {before:?}, {after:?}"
        );
    }
}

/// Killed at this phase of an epoch. Says when the last packet died for want of it.
async fn a_mix_is_killed(network: &mut Network, name: &str, phase: f64) {
    let node = planned(network, name);
    let next = epoch(network).next();
    wait_for_epoch(network, next, phase).await;
    network.processes.by_name(name).unwrap().kill().unwrap();
    let killed = Instant::now();
    let start = dead_ends(network).await;
    let (mut counts, mut last) = (start.clone(), killed);
    while killed.elapsed() < EPOCH * 2 + FETCH {
        tokio::time::sleep(Duration::from_millis(250)).await;
        for (node, count) in dead_ends(network).await {
            if counts
                .insert(node, count)
                .is_some_and(|before| count > before)
            {
                last = Instant::now();
            }
        }
    }
    let died: u64 = counts
        .iter()
        .map(|(node, n)| n - start.get(node).unwrap_or(&0))
        .sum();
    let avoided = last - killed;
    let bound = EPOCH + FETCH;
    println!(
        "{name}: killed at {phase} of an epoch; {} packets went to it for {:.1} s; one epoch plus one directory fetch is {:.1} s{}",
        died,
        avoided.as_secs_f64(),
        bound.as_secs_f64(),
        if avoided <= bound { "" } else { ": NOT BELOW" },
    );
    let left = wait_listed(network, &node, false).await;
    assert!(left <= next.next().next(), "it is listed in epoch {left}");
    assert!(avoided < bound + ON_ITS_WAY, "{avoided:?}");
}

/// Packets that died at each node because the next one is not there; of those that answer.
async fn dead_ends(network: &Network) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for node in &network.plan.nodes {
        if !matches!(node.role, Role::Mix | Role::Gateway) {
            continue;
        }
        if let Some(said) = status(node).await {
            let count = said["discards"]["link_full"].as_u64().unwrap_or(0);
            all.insert(node.name.clone(), count);
        }
    }
    all
}

fn every_epoch_has_a_directory(network: &Network, first: Epoch) {
    let published = |log: &str| {
        log.lines()
            .filter(|l| l.contains("a directory is published"))
            .count()
    };
    let now = epoch(network);
    let log = authority(network, 0).folder.join("log");
    let text = std::fs::read_to_string(log).unwrap();
    assert!(
        !text.contains("there is no directory of this epoch"),
        "{text}"
    );
    let count = published(&text) as u64;
    println!("epochs {first} to {now}: {count} directories");
    assert!(count > now.0 - first.0, "{count}");
}

fn planned(network: &Network, name: &str) -> Planned {
    network
        .plan
        .nodes
        .iter()
        .find(|n| n.name == name)
        .unwrap()
        .clone()
}

fn authority(network: &Network, index: usize) -> &Planned {
    network.plan.of(Role::Authority).nth(index).unwrap()
}

fn epoch(network: &Network) -> Epoch {
    network
        .plan
        .network
        .schedule()
        .epoch_at(Clock::start().unix())
}

/// Until this part of that epoch is over.
async fn wait_for_epoch(network: &Network, epoch: Epoch, part: f64) {
    let at = network
        .plan
        .network
        .schedule()
        .start(epoch)
        .saturating_add(EPOCH.mul_f64(part));
    tokio::time::sleep(at.saturating_since(Clock::start().unix())).await;
}

async fn document(
    network: &Network,
    authority_index: usize,
    epoch: Epoch,
) -> Option<SignedDirectory> {
    let http = HttpClient::new(authority(network, authority_index).listen.unwrap());
    let answer = http.get(&format!("/v1/directory/{epoch}")).await.ok()?;
    (answer.status == StatusCode::OK).then(|| SignedDirectory::decode(&answer.body).unwrap())
}

/// The first epoch from the one of now on whose directory lists a node, or does not.
async fn wait_listed(network: &Network, node: &Planned, listed: bool) -> Epoch {
    let id = NodeId::of(&node.identity.unwrap());
    let patience = Instant::now() + EPOCH * 4;
    let mut wanted = epoch(network);
    loop {
        if let Some(signed) = document(network, 0, wanted).await {
            let directory: std::sync::Arc<Directory> =
                signed.verify(&network.plan.network).unwrap();
            if directory.position(&id).is_some() == listed {
                return wanted;
            }
            wanted = wanted.next();
        }
        assert!(
            Instant::now() < patience,
            "{} in {wanted}: not listed = {listed}",
            node.name
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What a command of a node's daemon prints.
fn says(node: &Planned, program: &str, words: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command
        .args(["role", program])
        .args(words)
        .arg("--config")
        .arg(node.config_file());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}
