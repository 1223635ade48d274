//! What was recorded elsewhere, to be looked at or driven with: who wrote to whom and when
//! ([`Conversation`]), and what a relay saw on a real client's link ([`Capture`], in `replay/capture.rs`).
//!
//! Text that is wrong gives an error with its line; nothing is guessed.

mod capture;
mod people;

pub use capture::{Capture, Conformance};

use crate::traffic::Demand;
use std::collections::BTreeMap;
use std::fmt;

/// Longest recording that is read: more lines than any trace we know of.
const LINES_MAX: usize = 20_000_000;

/// What is wrong with a recording, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Line, from 1; 0 where the whole is meant.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl Broken {
    fn at(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for Broken {}

/// One message.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Written {
    /// Seconds since the first moment of the conversation.
    pub at: f64,
    /// By whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// How long it is.
    pub bytes: u32,
}

/// Who wrote to whom and when, by time. Users are numbered from 0 without gaps.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Conversation {
    /// Where it is from, for captions.
    pub name: String,
    /// How many users.
    pub users: usize,
    /// How long it goes on, in seconds.
    pub length: f64,
    /// By time.
    pub messages: Vec<Written>,
}

impl Conversation {
    /// Reads lines of `from to unix-seconds [bytes]`, parted by blanks, tabs or commas; one header line may
    /// come first, and lines that begin with `#` are left out. Times must not go back. What people write to themselves needs no
    /// network and is left out too.
    pub fn parse(name: &str, text: &str) -> Result<Self, Broken> {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut messages: Vec<Written> = Vec::new();
        let (mut first, mut last) = (None, f64::NEG_INFINITY);
        for (i, line) in text.lines().enumerate() {
            let number = i + 1;
            if i >= LINES_MAX {
                return Err(Broken::at(number, format!("more than {LINES_MAX} lines")));
            }
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let separator = |c: char| c.is_whitespace() || c == ',';
            let fields: Vec<&str> = line.split(separator).filter(|f| !f.is_empty()).collect();
            let (from, to, time, bytes) = match fields[..] {
                [from, to, time] => (from, to, time, "1000"),
                [from, to, time, bytes] => (from, to, time, bytes),
                _ => {
                    let what = format!("{} fields; want: from to time [bytes]", fields.len());
                    return Err(Broken::at(number, what));
                }
            };
            let Ok(at) = time.parse::<f64>() else {
                if messages.is_empty() && first.is_none() && i == 0 {
                    continue;
                }
                return Err(Broken::at(number, format!("no time in seconds: {time}")));
            };
            if !at.is_finite() {
                return Err(Broken::at(number, format!("no time in seconds: {time}")));
            }
            if at < last {
                let what = format!("{at} comes after {last}: sort the trace by time");
                return Err(Broken::at(number, what));
            }
            last = at;
            if from == to {
                continue;
            }
            let begin = *first.get_or_insert(at);
            let bytes = bytes
                .parse()
                .map_err(|_| Broken::at(number, format!("no number of bytes: {bytes}")))?;
            let mut user = |name| {
                let next = names.len();
                *names.entry(name).or_insert(next)
            };
            messages.push(Written {
                at: at - begin,
                from: user(from),
                to: user(to),
                bytes,
            });
        }
        if messages.is_empty() {
            return Err(Broken::at(0, "no message in it"));
        }
        Ok(Self {
            name: name.into(),
            users: names.len(),
            length: messages.last().map_or(0.0, |m| m.at),
            messages,
        })
    }

    /// The stretch of `seconds` with the most messages, and in it only the `users` who write and read
    /// most, who then have the first numbers in that order. In real time.
    pub fn busiest(&self, seconds: f64, users: usize) -> Self {
        let (mut best, mut end) = ((0, 0, 0.0), 0);
        for (begin, message) in self.messages.iter().enumerate() {
            while end < self.messages.len() && self.messages[end].at < message.at + seconds {
                end += 1;
            }
            if end - begin > best.1 - best.0 {
                best = (begin, end, message.at);
            }
        }
        let (begin, end, at) = best;
        let part = &self.messages[begin..end];
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        for message in part {
            *counts.entry(message.from).or_default() += 1;
            *counts.entry(message.to).or_default() += 1;
        }
        let mut order: Vec<(usize, usize)> = counts.into_iter().collect();
        order.sort_by_key(|(user, count)| (std::cmp::Reverse(*count), *user));
        order.truncate(users);
        let number: BTreeMap<usize, usize> = order
            .iter()
            .enumerate()
            .map(|(i, (user, _))| (*user, i))
            .collect();
        let kept = part.iter().filter_map(|m| {
            let (from, to) = (*number.get(&m.from)?, *number.get(&m.to)?);
            Some(Written {
                at: m.at - at,
                from,
                to,
                ..*m
            })
        });
        Self {
            name: self.name.clone(),
            users: number.len(),
            length: seconds,
            messages: kept.collect(),
        }
    }

    /// What the packet engines take, so many times faster than it was.
    pub fn demand(&self, faster: f64) -> Demand {
        let quick = |m: &Written| crate::traffic::Written {
            time: m.at / faster,
            from: m.from as u32,
            to: m.to as u32,
        };
        Demand::Trace(self.messages.iter().map(quick).collect())
    }

    /// Ordered pairs (writer, reader) that occur.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<_> = self.messages.iter().map(|m| (m.from, m.to)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// Moments at which a user wrote.
    pub fn written_by(&self, user: usize) -> Vec<f64> {
        let own = self.messages.iter().filter(|m| m.from == user);
        own.map(|m| m.at).collect()
    }

    /// Moments at which somebody wrote to a user.
    pub fn written_to(&self, user: usize) -> Vec<f64> {
        let own = self.messages.iter().filter(|m| m.to == user);
        own.map(|m| m.at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_header_commas_and_sizes() {
        let plain = Conversation::parse("t", "src dst time\n7 9 100\n9 7 130\n").unwrap();
        assert_eq!((plain.users, plain.messages.len()), (2, 2));
        assert!((plain.messages[1].at - 30.0).abs() < 1e-12);
        let sized = Conversation::parse("t", "# note\na,b,1.5,200\n\n").unwrap();
        assert_eq!(sized.messages[0].bytes, 200);
        // Users are numbered as they appear, the first message is at 0, and nobody writes to himself.
        let text = "8 8 90\n7 9 100\n9,7,101.5\n\n7 8 101.5\n";
        let Demand::Trace(all) = Conversation::parse("t", text).unwrap().demand(2.0) else {
            panic!("a trace");
        };
        let all: Vec<_> = all.iter().map(|w| (w.time, w.from, w.to)).collect();
        assert_eq!(all, [(0.0, 0, 1), (0.75, 1, 0), (0.75, 0, 2)]);
    }

    #[test]
    fn what_is_broken_is_named_with_its_line() {
        let line = |text| Conversation::parse("t", text).unwrap_err();
        assert_eq!(line("1 2 100\n1 2 99\n").line, 2);
        assert!(line("1 2 100\n1 2 99\n").what.contains("sort"));
        assert_eq!(line("1 2 100\n1 2\n").line, 2);
        assert_eq!(line("1 2 100\n1 2 x\n").line, 2);
        assert_eq!(line("1 2 100 many\n").line, 1);
        assert_eq!(line("1 2 nan\n").line, 1);
        assert_eq!(line("a b c\n").line, 0);
    }

    #[test]
    fn the_busiest_stretch_keeps_who_talks_most() {
        let text = "1 2 0\n1 2 1000\n2 1 1001\n3 4 1002\n1 2 1003\n5 6 5000\n";
        let all = Conversation::parse("t", text).unwrap();
        let part = all.busiest(10.0, 2);
        assert_eq!((part.users, part.messages.len()), (2, 3));
        assert!(part.messages.iter().all(|m| m.from < 2 && m.to < 2));
        assert!((part.messages[0].at).abs() < 1e-12 && (part.length - 10.0).abs() < 1e-12);
    }
}
