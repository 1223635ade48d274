//! n−1 by dropping, with real processes: every packet into one mix vanishes, and the mix' own loops tell its operator,
//! in the status and in the metric, within the time that the closed form gives; with one packet in a hundred lost on
//! every link all along, and no alarm before. And a mix that drops half is marked by the authorities, and clients avoid it. Real time: `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[path = "support/network.rs"]
#[allow(dead_code, reason = "what other tests need")]
mod support;

use directory::Parameters;
use localnet::live::{Network, status};
use localnet::plan::{Planned, Role};
use runtime::http_client::HttpClient;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Lost on each link by nature: mixes throw away so much of what arrives.
const NATURAL: &str = "test_loss = 0.01\n";
/// Loops are judged from half a minute after the start on.
const SETTLED: Duration = Duration::from_secs(35);
/// Without an attack; some 1,200 loops of each node are judged in that time.
const CALM: Duration = Duration::from_secs(120);

#[test]
#[ignore = "real time"]
fn a_mix_that_is_cut_off_by_dropping_raises_the_alarm_in_time() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let mut args = support::args(&dir.path().join("net"), &["--epoch", "10m"]);
        args.more.mix = NATURAL.into();
        let mut network = support::start_with(&args).await;
        network.watch_until(Instant::now() + SETTLED).await.unwrap();
        let before = counts(&network).await;
        network.watch_until(Instant::now() + CALM).await.unwrap();
        let after = counts(&network).await;
        let share = (after.lost - before.lost) as f64 / (after.judged - before.judged) as f64;
        println!(
            "{} s with one packet in a hundred lost at each mix: {} of {} loops lost ({:.1} %), {} false alarms",
            CALM.as_secs(),
            after.lost - before.lost,
            after.judged - before.judged,
            100.0 * share,
            after.alarms
        );
        assert!(
            (0.01..0.10).contains(&share),
            "the loss that was meant: {share}"
        );
        assert_eq!(after.alarms, 0);
        // Three mixes, one after the other.
        for name in ["mix1", "mix2", "mix3"] {
            attack(&mut network, name).await;
        }
        network.stop().unwrap();
    });
}

/// Drops everything into one mix until its operator is told, then lets it go on.
async fn attack(network: &mut Network, name: &str) {
    let node = network.plan.nodes.iter().find(|n| n.name == name).unwrap();
    let node = node.clone();
    // Half of its loops went through the mix that was attacked before, which raised its alarm too.
    wait(&node, Instant::now(), |s| s["loop_alarm"] == false).await;
    let calm = status(&node).await.unwrap();
    let pool = calm["anonymity"]["pool"].as_f64().unwrap();
    let within = calm["loop_alarm_within_s"].as_f64().unwrap();
    let share = node.data().join("test_loss");
    std::fs::write(&share, "1.0").unwrap();
    let began = Instant::now();
    let first = wait(&node, began, |s| {
        count(s, "loops_lost") > count(&calm, "loops_lost") + 1
    })
    .await;
    let alarm = wait(&node, began, |s| s["loop_alarm"] == true).await;
    let told = status(&node).await.unwrap();
    assert_eq!(count(&told, "loop_alarms"), count(&calm, "loop_alarms") + 1);
    assert!(
        metric(&node)
            .await
            .lines()
            .any(|line| line == "mizzle_loop_alarm 1")
    );
    std::fs::write(&share, "0.01").unwrap();
    let ended = Instant::now();
    let over = wait(&node, ended, |s| s["loop_alarm"] == false).await;
    let p = Parameters::localnet();
    let (mu, loops) = (
        1.0 / p.delay_mean.as_secs_f64(),
        p.mix_loop_rate.per_second(),
    );
    let block = anonymity::active::blocking_time(pool, 0.01, mu).value;
    let noticed = anonymity::active::detection(loops, block).value;
    println!(
        "{name} ({}): cut off; two loops missing after {:.1} s, ALARM after {:.1} s (closed form, 99 in 100: {within} s); over \
         {:.1} s after the attack. Its pool of {pool:.1} packets is empty but for 0.01 after {block:.2} s of blocking, in \
         which with probability {noticed:.3} a loop is lost",
        calm["position"].as_str().unwrap(),
        first.as_secs_f64(),
        alarm.as_secs_f64(),
        over.as_secs_f64(),
    );
    // What a question and the file's being looked at take, besides.
    assert!(
        alarm.as_secs_f64() < within + 1.0,
        "{name}: {alarm:?} of {within} s"
    );
}

#[test]
#[ignore = "real time"]
fn a_mix_that_drops_half_is_marked_and_clients_avoid_it() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let mut args = support::args(
            &dir.path().join("net"),
            &["--epoch", "40s", "--clients", "6"],
        );
        args.more.mix = "test_loss = 0.0\n".into();
        let mut network = support::start_with(&args).await;
        // Loops are judged from half a minute on, and make a first report in the second epoch.
        network
            .watch_until(Instant::now() + Duration::from_secs(70))
            .await
            .unwrap();
        let bad = network
            .plan
            .nodes
            .iter()
            .find(|n| n.name == "mix1")
            .unwrap()
            .clone();
        let layer = status(&bad).await.unwrap()["position"].clone();
        let mut beside = None;
        for other in network.plan.of(Role::Mix).filter(|n| n.name != bad.name) {
            if status(other).await.unwrap()["position"] == layer {
                beside = Some(other.clone());
            }
        }
        let beside = beside.unwrap();
        assert_eq!(marked(&network).await, (Vec::<String>::new(), 0));
        let before = flow(&bad, &beside).await;
        std::fs::write(bad.data().join("test_loss"), "0.5").unwrap();
        let began = Instant::now();
        let epoch = epoch(&bad).await;
        let id = status(&bad).await.unwrap()["node"]
            .as_str()
            .unwrap()
            .to_owned();
        let (found, since) = loop {
            let (found, since) = marked(&network).await;
            if !found.is_empty() {
                break (found, since);
            }
            assert!(
                began.elapsed() < Duration::from_secs(150),
                "nobody is marked"
            );
            network
                .watch_until(Instant::now() + Duration::from_millis(200))
                .await
                .unwrap();
        };
        println!(
            "{} drops half from the midst of epoch {epoch} on; after {:.1} s the directory of epoch {since} marks it",
            bad.name,
            began.elapsed().as_secs_f64()
        );
        assert_eq!(found, [id]);
        // Dropping for less than a period of reports may be too little for the first vote.
        assert!(since <= epoch + 3);
        while self::epoch(&bad).await < since {
            network
                .watch_until(Instant::now() + Duration::from_millis(100))
                .await
                .unwrap();
        }
        println!("in force after {:.1} s", began.elapsed().as_secs_f64());
        // What was built before is through.
        network
            .watch_until(Instant::now() + Duration::from_secs(3))
            .await
            .unwrap();
        let after = flow(&bad, &beside).await;
        println!(
            "packets a second to it and to the other mix of its layer: {:.1} and {:.1} before, {:.1} and {:.1} when marked",
            before.0, before.1, after.0, after.1
        );
        // Loops of nodes go on as before, and six clients' packets are the most of the rest.
        assert!(after.0 < 0.7 * before.0, "clients avoid it");
        assert!(after.1 > 1.2 * before.1, "and go through the other");
        network.stop().unwrap();
    });
}

async fn epoch(node: &Planned) -> u64 {
    count(&status(node).await.unwrap(), "epoch")
}

/// Who is marked in the newest directory, and its epoch.
async fn marked(network: &Network) -> (Vec<String>, u64) {
    let authority = network.plan.of(Role::Authority).next().unwrap();
    let answer = HttpClient::new(authority.listen.unwrap())
        .get("/v1/status")
        .await;
    let said: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
    let marked = said["marked"].as_array().unwrap().iter();
    let marked: Vec<String> = marked.map(|id| id.as_str().unwrap().to_owned()).collect();
    let epoch = if marked.is_empty() {
        0
    } else {
        said["newest_epoch"].as_u64().unwrap()
    };
    (marked, epoch)
}

/// Packets a second that come to two mixes, over some seconds.
async fn flow(one: &Planned, other: &Planned) -> (f64, f64) {
    let seconds = 8.0;
    let received =
        async |node: &Planned| count(&status(node).await.unwrap(), "packets_received") as f64;
    let before = (received(one).await, received(other).await);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let after = (received(one).await, received(other).await);
    (
        (after.0 - before.0) / seconds,
        (after.1 - before.1) / seconds,
    )
}

struct Counts {
    judged: u64,
    lost: u64,
    alarms: u64,
}

/// Of all mixes and gateways.
async fn counts(network: &Network) -> Counts {
    let mut all = Counts {
        judged: 0,
        lost: 0,
        alarms: 0,
    };
    let nodes = network.plan.nodes.iter();
    for node in nodes.filter(|n| matches!(n.role, Role::Mix | Role::Gateway)) {
        let said = status(node).await.unwrap();
        all.lost += count(&said, "loops_lost");
        all.judged += count(&said, "loops_lost") + count(&said, "loops_returned");
        all.alarms += count(&said, "loop_alarms");
    }
    all
}

fn count(status: &Value, name: &str) -> u64 {
    status[name].as_u64().unwrap()
}

async fn metric(node: &Planned) -> String {
    let answer = HttpClient::new(node.metrics.unwrap()).get("/metrics").await;
    String::from_utf8(answer.unwrap().body.to_vec()).unwrap()
}

async fn wait(node: &Planned, since: Instant, is: impl Fn(&Value) -> bool) -> Duration {
    loop {
        if status(node).await.is_some_and(|s| is(&s)) {
            return since.elapsed();
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{} says nothing",
            node.name
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
