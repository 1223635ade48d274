//! What people write, before any clock: at random, or as a trace of real messages says.

use crate::random::{Keyed, Purpose, below, exponential};
use std::fmt;

/// What people write.
#[derive(Clone, PartialEq, Debug)]
pub enum Demand {
    /// Nothing: all is cover.
    Nothing,
    /// Every send tick carries a message for somebody.
    Saturated,
    /// Each user writes as a Poisson stream, to one of so many contacts (0 for anybody).
    Poisson {
        /// Messages of one user in a second.
        rate: f64,
        /// Whom each writes to.
        contacts: u32,
    },
    /// These, in the order of time.
    Trace(Vec<Written>),
}

impl Demand {
    /// To anybody.
    pub fn poisson(rate: f64) -> Self {
        Self::Poisson { rate, contacts: 0 }
    }
}

/// A message, when it is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Written {
    /// Seconds since the start.
    pub time: f64,
    /// Its sender.
    pub from: u32,
    /// Its reader.
    pub to: u32,
}

/// A trace that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for TraceError {}

/// Reads lines `from to seconds` (or with commas), in the order of time; users are numbered in the order in which they
/// appear, and the first message is at 0. Gives the messages and how many users there are.
pub fn parse_trace(text: &str) -> Result<(Vec<Written>, u32), TraceError> {
    let mut numbers = std::collections::BTreeMap::new();
    let mut out: Vec<Written> = Vec::new();
    let mut first = None;
    for (i, line) in text.lines().enumerate() {
        let wrong = |what: String| TraceError { line: i + 1, what };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<_> = line
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|f| !f.is_empty())
            .collect();
        let [from, to, time] = fields[..] else {
            let what = format!(
                "three fields are needed (from to seconds), not {}",
                fields.len()
            );
            return Err(wrong(what));
        };
        let time: f64 = time
            .parse()
            .ok()
            .filter(|t: &f64| t.is_finite())
            .ok_or_else(|| wrong(format!("{time:?} is no time in seconds")))?;
        let time = time - *first.get_or_insert(time);
        if out.last().is_some_and(|last| last.time > time) {
            return Err(wrong(
                "earlier than the line before: sort the trace by time".into(),
            ));
        }
        if from == to {
            return Err(wrong(format!("{from} writes to itself")));
        }
        let mut number = |name: &str| {
            let next = numbers.len() as u32;
            *numbers.entry(name.to_owned()).or_insert(next)
        };
        out.push(Written {
            time,
            from: number(from),
            to: number(to),
        });
    }
    Ok((out, numbers.len() as u32))
}

/// Writes.
pub(super) struct Writer {
    demand: Demand,
    users: u64,
    gaps: Keyed,
    peers: Keyed,
    count: u64,
    time: f64,
}

impl Writer {
    pub(super) fn new(demand: Demand, users: u32, seed: u64) -> Self {
        Self {
            demand,
            users: u64::from(users),
            gaps: Keyed::new(seed, Purpose::SENDER),
            peers: Keyed::new(seed, Purpose::RECEIVER),
            count: 0,
            time: 0.0,
        }
    }

    /// The next message that anybody writes.
    pub(super) fn next(&mut self) -> Option<Written> {
        let (rate, contacts) = match &self.demand {
            Demand::Nothing | Demand::Saturated => return None,
            Demand::Trace(all) => {
                let next = all.get(self.count as usize).copied();
                self.count += 1;
                return next;
            }
            Demand::Poisson { rate, contacts } => (*rate, u64::from(*contacts)),
        };
        if rate <= 0.0 || self.users < 2 {
            return None;
        }
        let [gap, from] = self.gaps.block(self.count, 0);
        let mut peer = self.peers.block(self.count, 0)[0];
        self.count += 1;
        self.time += exponential(gap, 1.0 / (rate * self.users as f64));
        let from = below(from, self.users);
        if contacts > 0 {
            // A contact is drawn once and for all.
            peer = self.peers.block(u64::MAX - from, below(peer, contacts))[0];
        }
        let other = below(peer, self.users - 1);
        Some(Written {
            time: self.time,
            from: from as u32,
            to: (other + u64::from(other >= from)) as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_or_its_line_is_named() {
        let good = parse_trace("# from to seconds\n7 9 100\n9,7,101.5\n\n7 8 101.5\n").unwrap();
        assert_eq!(good.1, 3);
        let times: Vec<_> = good.0.iter().map(|w| w.time).collect();
        assert_eq!(times, [0.0, 1.5, 1.5]);
        assert_eq!((good.0[2].from, good.0[2].to), (0, 2));
        let wrong = |text: &str| parse_trace(text).unwrap_err().to_string();
        assert!(wrong("1 2 5\n2 1 4\n").starts_with("line 2: earlier"));
        assert!(wrong("1 2\n").starts_with("line 1: three fields"));
        assert!(wrong("1 2 x\n").starts_with("line 1: \"x\" is no time"));
        assert!(wrong("1 1 5\n").starts_with("line 1: 1 writes to itself"));
    }

    #[test]
    fn contacts_stay_the_same() {
        let demand = Demand::Poisson {
            rate: 1.0,
            contacts: 3,
        };
        let mut writer = Writer::new(demand, 50, 1);
        let mut peers = vec![std::collections::BTreeSet::new(); 50];
        for _ in 0..5_000 {
            let w = writer.next().unwrap();
            assert!(w.from != w.to && w.to < 50);
            peers[w.from as usize].insert(w.to);
        }
        assert!(peers.iter().all(|p| (1..=3).contains(&p.len())));
    }
}
