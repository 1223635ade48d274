//! What a cell measures: names, units and definitions.

use crate::design::Design;
use crate::message::Class;
use crate::outcome::{Outcome, Tracked, Users};
use crate::traffic::Traffic;
use serde::{Deserialize, Serialize};

/// A measure and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// As in files.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it is.
    pub definition: &'static str,
}

const fn named(name: &'static str, unit: &'static str, definition: &'static str) -> Named {
    Named {
        name,
        unit,
        definition,
    }
}

/// All of them. Entropies and guesses: global observer, exact posterior (`outcome`).
pub const MEASURES: [Named; 33] = [
    named(
        "entropy",
        "bit",
        "Shannon entropy of the posterior over messages, mean",
    ),
    named(
        "entropy_p05",
        "bit",
        "what 5 % of tracked messages do not exceed",
    ),
    named("entropy_p50", "bit", "median over tracked messages"),
    named(
        "entropy_p95",
        "bit",
        "what 95 % of tracked messages do not exceed",
    ),
    named(
        "min_entropy",
        "bit",
        "-log2 of the best guess's probability over messages, mean",
    ),
    named(
        "best_guess",
        "probability",
        "mean probability of the best guess over messages",
    ),
    named(
        "best_guess_right",
        "share",
        "tracked messages at which the best guess over messages was right",
    ),
    named(
        "exposed",
        "share",
        "tracked messages with entropy 0: the observer is certain",
    ),
    named(
        "user_entropy",
        "bit",
        "Shannon entropy of the posterior summed over users, mean",
    ),
    named(
        "user_min_entropy",
        "bit",
        "-log2 of the best guess's probability over users, mean",
    ),
    named(
        "user_best_guess",
        "probability",
        "mean probability of the best guess over users",
    ),
    named(
        "user_best_guess_right",
        "share",
        "tracked messages at which the best guess over users was right",
    ),
    named(
        "missing",
        "probability",
        "mean mass that had not arrived when a posterior was closed",
    ),
    named("tracked", "1", "tracked messages"),
    named(
        "cut_off",
        "1",
        "tracked messages given up because the run ended",
    ),
    named(
        "latency",
        "s",
        "from leaving the client to the goal (inbox or last mix), mean",
    ),
    named("latency_sd", "s", "its standard deviation"),
    named("latency_p50", "s", "its median"),
    named("latency_p95", "s", "what 95 % do not exceed"),
    named("latency_p99", "s", "what 99 % do not exceed"),
    named(
        "to_reader",
        "s",
        "from leaving the client until its reader has it, mean",
    ),
    named("to_reader_p95", "s", "what 95 % do not exceed"),
    named("queueing", "s", "from writing to leaving the client, mean"),
    named("queueing_p95", "s", "what 95 % do not exceed"),
    named("waiting", "1", "messages still in queues at the end"),
    named(
        "stored",
        "share",
        "messages written that a gateway is known to have (engine cores)",
    ),
    named("up_packets", "1/s", "packets that one client sends"),
    named(
        "up_bytes_day",
        "B/d",
        "bytes that one client sends in a day",
    ),
    named(
        "overhead",
        "1",
        "packets that clients send for one that carries payload",
    ),
    named("loops_of_nodes", "1/s", "loops that all nodes send"),
    named("packets", "1", "packets sent by all"),
    named("hop_events", "1", "entries to and departures from nodes"),
    named("ran", "s", "virtual time"),
];

/// A number that was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// One of [`MEASURES`].
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its standard error within the run, where there is one.
    pub error: Option<f64>,
    /// How many samples are behind it.
    pub count: u64,
}

pub(super) struct List(Vec<Measured>);

impl List {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, name: &str, value: f64, error: f64, count: u64) {
        debug_assert!(MEASURES.iter().any(|m| m.name == name), "{name}");
        if value.is_finite() {
            self.0.push(Measured {
                name: name.into(),
                value,
                error: error.is_finite().then_some(error),
                count,
            });
        }
    }

    pub(super) fn exact(&mut self, name: &str, value: f64) {
        self.add(name, value, f64::NAN, 1);
    }

    pub(super) fn done(self) -> Vec<Measured> {
        self.0
    }
}

/// All measures of a run without cores.
pub(super) fn of(design: &Design, users: Users, outcome: &Outcome, traffic: &Traffic) -> List {
    let mut list = List::new();
    let n = outcome.tracked.len() as u64;
    if n > 0 {
        anonymity(&mut list, users, outcome);
    }
    list.exact("tracked", n as f64);
    list.exact("cut_off", outcome.cut_off as f64);
    let latency = &outcome.latency;
    if latency.count() > 0 {
        let count = latency.count();
        let error = latency.deviation() / (count as f64).sqrt();
        list.add("latency", latency.mean(), error, count);
        list.add("latency_sd", latency.deviation(), f64::NAN, count);
        for (name, share) in [
            ("latency_p50", 0.5),
            ("latency_p95", 0.95),
            ("latency_p99", 0.99),
        ] {
            list.add(name, latency.quantile(share), f64::NAN, count);
        }
        let reader = &outcome.to_reader;
        let error = reader.deviation() / (count as f64).sqrt();
        list.add("to_reader", reader.mean(), error, count);
        list.add("to_reader_p95", reader.quantile(0.95), f64::NAN, count);
    }
    let queueing = traffic.queueing();
    if queueing.count() > 0 {
        let (count, error) = (queueing.count(), queueing.deviation());
        let error = error / (count as f64).sqrt();
        list.add("queueing", queueing.mean(), error, count);
        list.add("queueing_p95", queueing.quantile(0.95), f64::NAN, count);
    }
    list.exact("waiting", traffic.written().1 as f64);
    let sent = outcome.sent;
    let clients: u64 = sent[..Class::NodeLoop as usize].iter().sum();
    let each = clients as f64 / outcome.ran / f64::from(traffic.users());
    list.exact("up_packets", each);
    let day = each * 86_400.0 * f64::from(design.packet_len);
    list.exact("up_bytes_day", day);
    let payload = sent[Class::Payload as usize];
    list.exact("overhead", clients as f64 / payload as f64);
    let loops = sent[Class::NodeLoop as usize];
    list.exact("loops_of_nodes", loops as f64 / outcome.ran);
    list.exact("packets", (clients + loops) as f64);
    list.exact("hop_events", outcome.hop_events as f64);
    list.exact("ran", outcome.ran);
    list
}

type Mean = (&'static str, fn(&Tracked) -> f64);

fn anonymity(list: &mut List, users: Users, outcome: &Outcome) {
    let n = outcome.tracked.len() as u64;
    let mut means: Vec<Mean> = vec![
        ("entropy", |t| t.entropy),
        ("min_entropy", |t| t.min_entropy),
        ("best_guess", |t| t.best),
        ("best_guess_right", |t| f64::from(u8::from(t.hit))),
        ("exposed", |t| f64::from(u8::from(t.exposed()))),
        ("missing", |t| t.missing),
    ];
    if users != Users::None {
        let over_users: [Mean; 4] = [
            ("user_entropy", |t| t.user_entropy),
            ("user_min_entropy", |t| t.user_min_entropy),
            ("user_best_guess", |t| t.user_best),
            ("user_best_guess_right", |t| f64::from(u8::from(t.user_hit))),
        ];
        means.extend(over_users);
    }
    for (name, of) in means {
        let (mean, error) = outcome.estimate(of);
        list.add(name, mean, error, n);
    }
    let mut all: Vec<f64> = outcome.tracked.iter().map(|t| t.entropy).collect();
    all.sort_by(f64::total_cmp);
    for (name, share) in [
        ("entropy_p05", 0.05),
        ("entropy_p50", 0.5),
        ("entropy_p95", 0.95),
    ] {
        let at = (share * (all.len() - 1) as f64).round() as usize;
        // Around a quantile, so many standard deviations of rank as the share allows.
        let beyond = (share * (1.0 - share) * all.len() as f64).sqrt();
        let low = all[at.saturating_sub(beyond.ceil() as usize)];
        let high = all[(at + beyond.ceil() as usize).min(all.len() - 1)];
        list.add(name, all[at], (high - low) / 2.0, n);
    }
}
