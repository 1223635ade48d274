//! `mixnode bench`: what can this machine carry, in packets a second and in users.
//!
//! A node is started as it would run here (its configuration's threads, its disk for the tags), loaded
//! to its limit and then to half of that. What is left out is said with the result.

use super::source::Metronome;
use super::window::{Trial, Window};
use super::world::Setup;
use crate::config::Config;
use directory::{DOCUMENT_MAX, Parameters, SignedDirectory};
use runtime::cores;
use runtime::node::NodeError;
use runtime::node::command::BenchOptions;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// 1/μ of the trial: with a real network's seconds, the queue alone would take more packets than a
/// short trial sends.
const DELAY_MEAN: Duration = Duration::from_millis(50);
/// Bytes of IPv6, TCP with timestamps and Ethernet around a packet's two segments.
const SEGMENT_OVERHEAD: usize = 2 * (14 + 40 + 32 + 4 + 20);

/// What is written to the terminal.
pub fn run(config: &Config, options: &BenchOptions) -> Result<String, NodeError> {
    let (parameters, from) = parameters(config);
    let folder = beside(&config.data_dir);
    let program = std::env::current_exe()?;
    let mut setup = Setup::new(program, folder);
    setup.parameters = Parameters {
        delay_mean: DELAY_MEAN,
        ..parameters.clone()
    };
    // Room for all that the fastest node could be sent in the time.
    setup.packets = 6 << 20;
    setup.config = format!(
        "unwrap_threads = {}\nrealtime = {}\nkeep_awake = {}\nlog = \"error\"\n[limits]\ndelay_queue = {}\nreplay_tags = {}\n\
         unwrap_queue = {}\nlink_queue = {}\n",
        config.unwrap_threads,
        config.realtime,
        config.keep_awake,
        config.limits.delay_queue,
        8 << 20,
        config.limits.unwrap_queue,
        config.limits.link_queue,
    );
    let cores = cores::cores()?.len();
    let mut trial = Trial::start(setup)?;
    let seconds = options.seconds.clamp(5, 600);
    let step = Duration::from_secs_f64(f64::from(seconds) / 60.0);
    let capacity = trial.capacity(step, 6 * step)?;
    let metronome = Metronome::start(trial.world.clock());
    let half = trial.measure(capacity / 2.0, 12 * step)?;
    let machine = metronome.p99();
    let found = Found {
        cores,
        capacity,
        half,
        machine,
        parameters,
        from,
    };
    Ok(if options.json {
        found.json()
    } else {
        found.text()
    })
}

/// Beside the data folder, so that tags go to the same disk.
fn beside(data_dir: &Path) -> PathBuf {
    match data_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    }
}

/// The network's rates, from the last directory that this node has seen; those of a real network
/// otherwise.
fn parameters(config: &Config) -> (Parameters, &'static str) {
    // Not locked: the node may run. What cannot be read is not there.
    let newest = ["directory-even.bin", "directory-odd.bin"].map(|name| {
        let bytes = std::fs::read(config.data_dir.join(name)).ok()?;
        let network = runtime::node::foundation::read_network(&config.network).ok()?;
        if bytes.len() > DOCUMENT_MAX {
            return None;
        }
        let signed = SignedDirectory::decode(&bytes).ok()?;
        signed.verify(&network).ok()
    });
    let newest = newest.into_iter().flatten().max_by_key(|d| d.epoch);
    match newest {
        Some(directory) => (directory.parameters.clone(), "the network's last directory"),
        None => (
            Parameters::wide(),
            "no directory here, so a usual network's",
        ),
    }
}

/// A thread that wakes later than this, 1 time in 100, shares its core with more than a node at half
/// load; in microseconds.
const DISTURBED: f64 = 1000.0;

struct Found {
    cores: usize,
    capacity: f64,
    half: Window,
    /// How late a thread woke that did nothing else, at p99, in microseconds.
    machine: f64,
    parameters: Parameters,
    from: &'static str,
}

impl Found {
    /// Packets a second with which nearly all leave on time.
    fn good(&self) -> f64 {
        self.capacity / 2.0
    }

    /// A client's request and its reply each pass every layer once.
    fn users(&self) -> f64 {
        let each =
            self.parameters.payload_rate.per_second() + self.parameters.loop_rate.per_second();
        self.good() / (2.0 * each)
    }

    fn megabits(&self) -> f64 {
        let bytes = FRAME_LEN + TLS_OVERHEAD_LEN + SEGMENT_OVERHEAD;
        self.good() * bytes as f64 * 8.0 / 1e6
    }

    fn tags_per_hour(&self) -> f64 {
        self.good() * 3600.0
    }

    fn json(&self) -> String {
        json!({
            "cores": self.cores,
            "capacity_per_s": self.capacity,
            "good_per_s": self.good(),
            "at_half": self.half.to_json(),
            "users_per_mix_of_a_layer": self.users(),
            "megabits_each_way": self.megabits(),
            "machine_late_p99_us": self.machine,
            "rates_from": self.from,
            "payload_rate": self.parameters.payload_rate.per_second(),
            "loop_rate": self.parameters.loop_rate.per_second(),
        })
        .to_string()
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let [_, p99, ..] = self.half.late;
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let p = &self.parameters;
        let lines = [
            format!("This machine, {} cores, generator and network on the same ones:", self.cores),
            format!("  carries at most    {:>9.0} packets/s", self.capacity),
            format!(
                "  should be given    {:>9.0} packets/s: of those, 99 in 100 came out within {:.2} ms \
                 of their time, {} came early, {} were lost",
                self.good(), p99 / 1e3, self.half.early, self.half.missing
            ),
            format!(
                "  CPU of the node    {:>9.1} µs for each packet; memory {:.0} MB, of which {:.0} MB are \
                 packets that wait",
                self.half.cpu_total(), mb(self.half.peak),
                self.good() * (DELAY_MEAN + p.hop_allowance).as_secs_f64() * 3e-3
            ),
            format!(
                "Users, at {}/s and {}/s of payload and loops ({}):",
                p.payload_rate.per_second(), p.loop_rate.per_second(), self.from
            ),
            format!(
                "  as one of n mixes of its layer, this machine carries {:.0} × n users",
                self.users()
            ),
            "For that it needs besides:".to_owned(),
            format!("  network            {:>9.0} Mbit/s each way", self.megabits()),
            format!(
                "  packets that wait  {:>9.0} MB at this network's delays (`limits.delay_queue` {:.0})",
                self.good() * (p.delay_mean + p.hop_allowance).as_secs_f64() * 3e-3,
                1.2 * self.good() * (p.delay_mean + p.hop_allowance).as_secs_f64()
            ),
            format!(
                "  replay tags        {:>9.0} million an hour, for as long as an epoch lasts \
                 (`limits.replay_tags`)",
                self.tags_per_hour() / 1e6
            ),
            "Left out: the network card, its driver and interrupts (all was loopback); neighbours far away, \
             and so many of them; hours of running. The generator took its share of the cores: \
             with the machine to itself a node carries more."
                .to_owned(),
        ];
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        if self.machine > DISTURBED {
            let _ = writeln!(
                out,
                "Something else seems to run here: a thread that only slept and woke was {:.1} ms late, 1 time in \
                 100. Measure again when the machine is idle.",
                self.machine / 1e3
            );
        }
        out.trim_end().to_owned()
    }
}
