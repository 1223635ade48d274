//! Made-up people, for where no trace is at hand: they talk in sessions, answer, and pause.

use super::{Conversation, Written};
use crate::random::{Purpose, Stream};

/// Mean time between two sessions of one pair, in seconds.
const PAUSE: f64 = 900.0;
/// Mean time to an answer.
const ANSWER: f64 = 20.0;
/// A session goes on after each message with this probability.
const GOES_ON: f64 = 0.8;

impl Conversation {
    /// `users` people, each with about three others to talk to, for `seconds`. Sessions begin at random, go to
    /// and fro with exponential answers, and have a geometric length: burstiness 0.4 as in real chat.
    pub fn made_up(seed: u64, users: usize, seconds: f64) -> Self {
        let mut messages = Vec::new();
        for user in 0..users {
            for friend in 1..=3 {
                let other = (user + friend * friend) % users.max(1);
                if other != user {
                    let entity = (user * 3 + friend) as u64;
                    let mut draws = Stream::new(seed, Purpose::ARRIVAL, entity);
                    talk((user, other), seconds, &mut draws, &mut messages);
                }
            }
        }
        messages.sort_by(|a, b| {
            a.at.total_cmp(&b.at)
                .then((a.from, a.to).cmp(&(b.from, b.to)))
        });
        Self {
            name: "made-up people".into(),
            users,
            length: seconds,
            messages,
        }
    }
}

fn talk(pair: (usize, usize), seconds: f64, draws: &mut Stream, out: &mut Vec<Written>) {
    let mut at = draws.exponential(PAUSE);
    while at < seconds {
        let (mut from, mut to) = pair;
        loop {
            out.push(Written {
                at,
                from,
                to,
                bytes: 200,
            });
            at += draws.exponential(ANSWER);
            if at >= seconds || !draws.chance(GOES_ON) {
                break;
            }
            if draws.chance(0.6) {
                (from, to) = (to, from);
            }
        }
        at += draws.exponential(PAUSE);
    }
}
