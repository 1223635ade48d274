//! What an observer of real clients' links sees: idle and busy are one distribution, and planted
//! faults are found. Slow (twelve minutes): `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test"
)]

use localnet::stats::{
    ALPHA, RATE_CRITICAL, ks, ks_critical, ks_exponential, ks_two, ks_two_critical, rate_deviation,
};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// λP + λL of localnet's profile, per second.
const UPLINK_RATE: f64 = 12.0;
/// One slot of localnet's downlink, in seconds.
const DOWNLINK_GAP: f64 = 0.050;
/// 99 of 100 downlink gaps lie so near to the constant. The relay's own scheduling is in this figure, and so is
/// the machine's: `the_machine_itself` is printed beside it.
const DOWNLINK_JITTER: f64 = 0.005;
const SECONDS: u32 = 200;
const CLIENTS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// One direction of one client: record times in seconds, from the moment on at which all clients were ready. Before that
/// a client has no directory, or dials again until its gateway has one, whoever uses it.
fn times(folder: &Path, client: &str, direction: &str) -> Vec<f64> {
    let ready = sends(&sends_of(folder), "ready")[0];
    let text = std::fs::read_to_string(folder.join(format!("{client}.csv"))).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("time_ns,direction,bytes"));
    lines
        .filter_map(|line| {
            let [time, dir, bytes] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("a broken row: {line}")
            };
            let bytes: usize = bytes.parse().unwrap();
            assert_eq!(
                bytes,
                FRAME_LEN + TLS_OVERHEAD_LEN,
                "a record of another size: {line}"
            );
            (dir == direction).then(|| time.parse::<f64>().unwrap() / 1e9)
        })
        .filter(|time| *time > ready)
        .collect()
}

fn sends_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("sends.csv")).unwrap()
}

fn gaps(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|w| w[1] - w[0]).collect()
}

fn start(folder: &Path, extra: &[&str]) -> Child {
    let seconds = SECONDS.to_string();
    start_for(folder, &[&["--seconds", &seconds], extra].concat())
}

fn start_for(folder: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_localnet"))
        .args(["check", "--clients", "6", "--capture"])
        .arg(folder)
        .args(args)
        .spawn()
        .unwrap()
}

fn finish(mut child: Child) {
    assert!(child.wait().unwrap().success(), "localnet check failed");
}

/// Waiting times from each press of *send* to the client's next record. By the memorylessness of
/// a Poisson process they are exponential too, unless sending has an effect on the wire.
fn waits_after_send(folder: &Path, client: &str) -> Vec<f64> {
    let text = sends_of(folder);
    let up = times(folder, client, "up");
    waits(&sends(&text, client), &up)
}

fn sends(text: &str, client: &str) -> Vec<f64> {
    let of_client = text.lines().skip(1).filter_map(|line| line.split_once(','));
    of_client
        .filter(|(_, c)| *c == client)
        .map(|(t, _)| t.parse::<f64>().unwrap() / 1e9)
        .collect()
}

fn waits(sends: &[f64], up: &[f64]) -> Vec<f64> {
    let next = |t: &f64| up.iter().find(|u| *u > t).map(|u| u - t);
    sends.iter().filter_map(next).collect()
}

#[test]
#[ignore = "four minutes of real time"]
fn idle_and_busy_clients_look_alike_and_planted_faults_do_not() {
    let root = tempfile::tempdir().unwrap();
    let (idle, busy) = (root.path().join("idle"), root.path().join("busy"));
    let machine = the_machine_itself();
    let first = start(&idle, &["--idle"]);
    let second = start(&busy, &["--messages", "190"]);
    finish(first);
    finish(second);
    machine.join().unwrap();
    println!("tests at α = {ALPHA} each");
    for client in CLIENTS {
        uplink_is_poisson(&idle, client);
        uplink_is_poisson(&busy, client);
        let (a, b) = (
            gaps(&times(&idle, client, "up")),
            gaps(&times(&busy, client, "up")),
        );
        let (d, critical) = (ks_two(&a, &b), ks_two_critical(a.len(), b.len()));
        println!("{client}: idle against busy D = {d:.4}, critical {critical:.4}");
        assert!(d < critical);
        downlink_is_constant(&idle, client);
        downlink_is_constant(&busy, client);
    }
    for client in ["alice", "bob"] {
        let after = waits_after_send(&busy, client);
        let (d, critical) = (
            ks_exponential(&after, UPLINK_RATE),
            ks_critical(after.len()),
        );
        println!(
            "{client}: {} waits after a send, D = {d:.4}, critical {critical:.4}",
            after.len()
        );
        assert!(after.len() >= 150 && d < critical);
    }
    planted_send_on_type_is_found(&busy);
    planted_rate_is_found(root.path());
}

/// Alice sends a file that is on its way for all of the time, bob gets it, and both chat; without loss,
/// and with three round trips in ten lost and said again. All downlinks are looked at before any is judged.
#[test]
#[ignore = "eight minutes of real time"]
fn a_file_and_what_is_sent_again_show_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (file, lossy) = (root.path().join("file"), root.path().join("lossy"));
    let talk = ["--messages", "100", "--file", "400000"];
    let machine = the_machine_itself();
    // One after the other: two networks at once are a load that only the test makes.
    finish(start(&file, &talk));
    machine.join().unwrap();
    finish(start(&lossy, &[&talk[..], &["--loss", "0.3"]].concat()));
    let off = [&file, &lossy].map(|folder| CLIENTS.map(|client| downlink_off(folder, client)));
    println!("tests at α = {ALPHA} each");
    for folder in [&file, &lossy] {
        println!("{}:", folder.file_name().unwrap().display());
        for client in CLIENTS {
            uplink_is_poisson(folder, client);
        }
        for client in ["alice", "bob"] {
            // Nobody else does anything.
            for idle in ["carol", "frank"] {
                let (a, b) = (
                    gaps(&times(folder, client, "up")),
                    gaps(&times(folder, idle, "up")),
                );
                let (d, critical) = (ks_two(&a, &b), ks_two_critical(a.len(), b.len()));
                println!("{client} against {idle}: D = {d:.4}, critical {critical:.4}");
                assert!(d < critical);
            }
        }
        // Who sends and receives a file, and who does nothing, both at the same gateway.
        for (busy, idle) in [("alice", "dave"), ("bob", "erin")] {
            let (a, b) = (down_ms(folder, busy), down_ms(folder, idle));
            let (d, critical) = (ks_two(&a, &b), ks_two_critical(a.len(), b.len()));
            println!("{busy} against {idle}, downlinks: D = {d:.4}, critical {critical:.4}");
            assert!(d < critical, "a downlink tells who uses it");
        }
    }
    assert!(
        off.iter().flatten().all(|p99| *p99 < DOWNLINK_JITTER),
        "the downlink is not constant"
    );
}

/// A gateway is killed, and comes back after half a minute: alice's and dave's entry, and one of those where bob and alice
/// leave cells for each other. Who enters elsewhere goes on as ever, whatever he waits for and says again; the
/// two that lost their link are silent, dial at random moments, and then go on as before: the busy one as the idle one.
#[test]
#[ignore = "four minutes of real time"]
fn a_gateway_that_is_away_shows_no_more_than_that() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("away");
    let talk = ["--messages", "100", "--file", "400000"];
    let machine = the_machine_itself();
    finish(start(
        &folder,
        &[&talk[..], &["--gateway-down", "30s"]].concat(),
    ));
    machine.join().unwrap();
    println!("tests at α = {ALPHA} each");
    let off = ["bob", "carol", "erin", "frank"].map(|client| {
        uplink_is_poisson(&folder, client);
        downlink_off(&folder, client)
    });
    let text = sends_of(&folder);
    let (down, back) = (sends(&text, "down")[0], sends(&text, "back")[0]);
    let after = ["alice", "dave"].map(|client| {
        let up = times(&folder, client, "up");
        // What was on its way may still be seen.
        let silent = up.iter().all(|t| *t < down + 0.5 || *t > back);
        assert!(silent, "{client} sends to nobody");
        let (before, after): (Vec<f64>, Vec<f64>) = up.iter().partition(|t| **t < down);
        // The first record of the new link is its Hello.
        let (hello, after) = (after[0], &after[1..]);
        println!("{client}: there again after {:.2} s", hello - back);
        is_poisson(&format!("{client} before"), &before, 500);
        is_poisson(&format!("{client} after"), after, 500);
        gaps(after)
    });
    let pairs = [
        ("alice against dave, after", after),
        (
            "bob against erin",
            ["bob", "erin"].map(|c| gaps(&times(&folder, c, "up"))),
        ),
        (
            "bob against erin, downlinks",
            ["bob", "erin"].map(|c| down_ms(&folder, c)),
        ),
    ];
    for (who, [a, b]) in pairs {
        let (d, critical) = (ks_two(&a, &b), ks_two_critical(a.len(), b.len()));
        println!("{who}: D = {d:.4}, critical {critical:.4}");
        assert!(d < critical, "it shows who is busy");
    }
    assert!(
        off.iter().all(|p99| *p99 < DOWNLINK_JITTER),
        "the downlink is not constant"
    );
}

/// Twelve changes of epoch: keys rotate, gateways push the next directory at three quarters, clients fetch what they do not
/// have, the shared downlink carries all of it. Neither the links nor a second of them shows when.
#[test]
#[ignore = "four minutes of real time"]
fn an_epoch_begins_and_nothing_shows_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("epochs");
    let epochs = [
        "--epoch",
        "20s",
        "--epochs",
        "12",
        "--messages",
        "200",
        "--file",
        "200000",
    ];
    let machine = the_machine_itself();
    finish(start_for(&folder, &epochs));
    machine.join().unwrap();
    let begins = sends(&sends_of(&folder), "epoch");
    let (first, last) = (begins[0], begins[begins.len() - 1]);
    let length = (last - first) / (begins.len() - 1) as f64;
    assert!((length - 20.0).abs() < 0.01, "{length}");
    println!("tests at α = {ALPHA} each, {} epochs", begins.len());
    let (mut everyone, mut near) = (Vec::new(), Vec::new());
    for client in CLIENTS {
        uplink_is_poisson(&folder, client);
        let up = times(&folder, client, "up");
        // A Poisson process that knows of no epochs falls anywhere within one.
        let whole: Vec<f64> = up
            .into_iter()
            .filter(|t| (first..last).contains(t))
            .collect();
        let phases: Vec<f64> = whole.iter().map(|t| (t - first) / length % 1.0).collect();
        let (d, critical) = (
            ks(&phases, |x| x.clamp(0.0, 1.0)),
            ks_critical(phases.len()),
        );
        println!("{client}: where in an epoch, D = {d:.4}, critical {critical:.4}");
        assert!(d < critical);
        everyone.extend(phases);
        let down = times(&folder, client, "down");
        let off = down
            .windows(2)
            .filter(|w| begins.iter().any(|at| (w[0] - at).abs() < 1.0));
        near.extend(off.map(|w| (w[1] - w[0] - DOWNLINK_GAP).abs()));
        downlink_is_constant(&folder, client);
    }
    let seconds = length * (begins.len() - 1) as f64;
    let windows = [
        ("before its begin", 1.0 - 1.0 / length),
        ("after it", 0.0),
        ("after the push", 0.75),
    ];
    for (what, from) in windows {
        let within = everyone
            .iter()
            .filter(|p| (from..from + 1.0 / length).contains(*p));
        let z = rate_deviation(
            within.count(),
            CLIENTS.len() as f64 * seconds / length,
            UPLINK_RATE,
        );
        println!("all uplinks, the second {what}: z = {z:.2}");
        assert!(z.abs() < RATE_CRITICAL, "a dip or a burst");
    }
    near.sort_by(f64::total_cmp);
    let p99 = near[near.len() * 99 / 100];
    println!(
        "all downlinks, a second around its begin: {} gaps, p99 {:.2} ms off",
        near.len(),
        p99 * 1e3
    );
    assert!(p99 < DOWNLINK_JITTER, "downlinks show an epoch's begin");
}

fn uplink_is_poisson(folder: &Path, client: &str) {
    is_poisson(client, &times(folder, client, "up"), 2_000);
}

fn is_poisson(who: &str, up: &[f64], least: usize) {
    let gaps = gaps(up);
    let (d, critical) = (ks_exponential(&gaps, UPLINK_RATE), ks_critical(gaps.len()));
    let z = rate_deviation(gaps.len(), up.last().unwrap() - up[0], UPLINK_RATE);
    println!(
        "{who}: {} uplink gaps, D = {d:.4}, critical {critical:.4}, z = {z:.2}, longest {:.2} s",
        gaps.len(),
        gaps.iter().copied().fold(0.0, f64::max)
    );
    assert!(gaps.len() >= least, "too few gaps to say anything");
    assert!(d < critical, "the uplink is not Poisson");
    assert!(z.abs() < RATE_CRITICAL, "the uplink has another rate");
}

/// How late an urgent thread that does nothing else wakes beside a network, in the steps of a downlink: what no
/// program on this machine can do better.
fn the_machine_itself() -> JoinHandle<()> {
    std::thread::spawn(|| {
        let urgent = runtime::urgency::run_first();
        let step = Duration::from_secs_f64(DOWNLINK_GAP);
        let (mut late, mut next) = (Vec::new(), Instant::now());
        for _ in 0..(f64::from(SECONDS) / DOWNLINK_GAP) as u32 {
            next += step;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            late.push(next.elapsed());
        }
        late.sort();
        let ms = |part: usize| late[late.len() * part / 1000].as_secs_f64() * 1e3;
        println!(
            "this machine: a thread that only wakes is late by p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms (urgent: {urgent})",
            ms(500),
            ms(990),
            ms(999)
        );
    })
}

/// Downlink gaps in whole milliseconds. Below that two idle clients differ too: each has a place of its own within the
/// 50 ms, fixed when it connected, and with it neighbours whose slots come just before.
fn down_ms(folder: &Path, client: &str) -> Vec<f64> {
    let gaps = gaps(&times(folder, client, "down"));
    gaps.iter().map(|gap| (gap * 1e3).round()).collect()
}

fn downlink_is_constant(folder: &Path, client: &str) {
    let p99 = downlink_off(folder, client);
    assert!(p99 < DOWNLINK_JITTER, "the downlink is not constant");
}

/// 99 of 100 gaps are off by less than this.
fn downlink_off(folder: &Path, client: &str) -> f64 {
    let gaps = gaps(&times(folder, client, "down"));
    let mut off: Vec<f64> = gaps.iter().map(|g| (g - DOWNLINK_GAP).abs()).collect();
    off.sort_by(f64::total_cmp);
    let (p50, p99) = (off[off.len() / 2], off[off.len() * 99 / 100]);
    let (p50_ms, p99_ms) = (p50 * 1e3, p99 * 1e3);
    println!(
        "{client}: {} downlink gaps, p50 {p50_ms:.2} ms and p99 {p99_ms:.2} ms off",
        off.len()
    );
    p99
}

/// The rows that a client would make that sent a packet whenever its user pressed *send*.
fn planted_send_on_type_is_found(busy: &Path) {
    let sends = sends(&sends_of(busy), "alice");
    let mut up = times(busy, "alice", "up");
    // A millisecond to seal and write.
    up.extend(sends.iter().map(|t| t + 0.001));
    up.sort_by(f64::total_cmp);
    let waits = waits(&sends, &up);
    let (d, critical) = (
        ks_exponential(&waits, UPLINK_RATE),
        ks_critical(waits.len()),
    );
    println!("planted send-on-type: D = {d:.4}, critical {critical:.4}");
    assert!(
        d > critical,
        "a client that sends when its user types was not found"
    );
}

/// Real clients of a network whose directory says a tenth more.
fn planted_rate_is_found(root: &Path) {
    let folder = root.join("rate");
    finish(start(&folder, &["--idle", "--plant-rate"]));
    let (mut all, mut seconds) = (Vec::new(), 0.0);
    for client in CLIENTS {
        let up = times(&folder, client, "up");
        seconds += up.last().unwrap() - up[0];
        all.extend(gaps(&up));
    }
    let (d, critical) = (ks_exponential(&all, UPLINK_RATE), ks_critical(all.len()));
    let z = rate_deviation(all.len(), seconds, UPLINK_RATE);
    println!(
        "planted rate: {} gaps, D = {d:.4}, critical {critical:.4}, z = {z:.2}",
        all.len()
    );
    assert!(
        d > critical && z > RATE_CRITICAL,
        "a tenth more was not found"
    );
}
