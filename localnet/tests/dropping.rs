//! n−1 by dropping, with real processes: every packet into one mix vanishes, and the mix' own loops tell its operator,
//! in the status and in the metric, within the time that the closed form gives; with one packet in a hundred lost on
//! every link all along, and no alarm before. Real time: `.ci/slow` runs it.
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
    let calm = status(&node).await.unwrap();
    assert_eq!(calm["loop_alarm"], false);
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
