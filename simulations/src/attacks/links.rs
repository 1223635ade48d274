//! What is seen of a client's link, and inside its gateway, in designs that are not ours: models of their
//! authors' descriptions, driven by the same people. Mizzle itself is in [`super::shipped`].

use crate::design::{Cover, Delivery, Design};
use crate::random::{Purpose, Stream};
use crate::replay::Conversation;
use std::sync::Arc;

/// Where somebody looks for what comes to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// At the client's link.
    Link,
    /// Inside its gateway, which tells its clients apart.
    Gateway,
    /// At the links that come to its gateway from mixes, where all its clients are one stream.
    Around,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Link, Self::Gateway, Self::Around];

    /// As it is named beside a number.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Gateway => "own gateway",
            Self::Around => "links into its gateway",
        }
    }

    /// What is seen there of what comes to a client.
    pub fn frames(self, watched: &Watched) -> &[f64] {
        match self {
            Self::Link => &watched.down,
            Self::Gateway => &watched.inside,
            Self::Around => &watched.around,
        }
    }
}

/// One client, as it is seen and as it is. Times in seconds, ascending.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Watched {
    /// Frames from the client: whoever watches its link.
    pub up: Vec<f64>,
    /// Frames to the client.
    pub down: Vec<f64>,
    /// Packets for the client inside its own gateway, before they are sent on or laid by: whoever owns that
    /// gateway.
    pub inside: Vec<f64>,
    /// Packets that come to its gateway from mixes, for whomever: whoever watches the network's links.
    pub around: Arc<Vec<f64>>,
    /// The truth: when its owner wrote.
    pub wrote: Vec<f64>,
    /// When others wrote to it.
    pub written_to: Vec<f64>,
    /// From writing to arrival, of what it was written.
    pub latencies: Vec<f64>,
    /// From writing to the client's own gateway, of the same.
    pub lags: Vec<f64>,
    /// What a frame takes over its link, one way: whoever watches can measure it.
    pub link: f64,
    /// Bytes that crossed its link, both ways.
    pub bytes: f64,
}

/// What everybody of `people` is seen to do in a design, for the first `watched` of them.
pub fn watch(design: &Design, people: &Conversation, watched: usize, seed: u64) -> Vec<Watched> {
    let watched = watched.min(people.users);
    let mut out: Vec<Watched> = (0..watched)
        .map(|user| Watched {
            wrote: people.written_by(user),
            written_to: people.written_to(user),
            link: design.link,
            ..Watched::default()
        })
        .collect();
    let mut network = Stream::new(seed, Purpose::DELAY, 0);
    // What comes to each gateway; what is dropped there comes to any of them.
    let gateways = design.gateways.max(1) as usize;
    let mut around: Vec<Vec<f64>> = vec![Vec::new(); gateways];
    let mut dropped = Vec::new();
    for user in 0..people.users {
        let seen = user < watched;
        let own = people.messages.iter().filter(|m| m.from == user);
        let mut waiting = own.map(|m| (m.at, m.to)).peekable();
        let mut clock = Stream::new(seed, Purpose::CLIENT, user as u64);
        let mut queue = std::collections::VecDeque::new();
        let e = &design.emission;
        let mut deliver = |out: &mut Vec<Watched>, to: usize, left: f64, written: Option<f64>| {
            if let Some(reader) = out.get_mut(to) {
                let arrives = left + through(design, &mut network);
                around[to % gateways].push(arrives);
                reader.inside.push(arrives);
                reader.lags.extend(written.map(|w| arrives - w));
            }
        };
        if e.cover != Cover::Substitute {
            for (at, to) in waiting.by_ref() {
                if seen {
                    out[user].up.push(at);
                }
                deliver(&mut out, to, at, Some(at));
            }
        }
        for at in poisson(&mut clock, e.payload_rate, 0.0, people.length) {
            if seen {
                out[user].up.push(at);
            }
            while let Some(message) = waiting.next_if(|m| m.0 <= at) {
                queue.push_back(message);
            }
            match queue.pop_front() {
                Some((written, to)) => deliver(&mut out, to, at, Some(written)),
                // A push gateway's clients send loops for want of something to say; a provider's
                // send what dies on its way.
                None if design.delivery == Delivery::Push => deliver(&mut out, user, at, None),
                None => dropped.push(at),
            }
        }
        for (rate, comes_back) in [(e.loop_rate, true), (e.drop_rate, false)] {
            let rate = if seen { rate } else { 0.0 };
            for at in poisson(&mut clock, rate, 0.0, people.length) {
                out[user].up.push(at);
                if comes_back {
                    deliver(&mut out, user, at, None);
                } else {
                    dropped.push(at);
                }
            }
        }
    }
    let mut draws = Stream::new(seed, Purpose::DELAY, 1);
    for at in dropped {
        let gateway = draws.below(gateways as u64) as usize;
        around[gateway].push(at + through(design, &mut draws));
    }
    share(around, &mut out);
    for (user, client) in out.iter_mut().enumerate() {
        finish(design, people.length, client, (seed, user));
    }
    out
}

/// Gives each client what comes to its gateway; gateway `g` of `n` has the clients `g`, `g + n` and so on.
pub(super) fn share(around: Vec<Vec<f64>>, clients: &mut [Watched]) {
    let sorted = around.into_iter().map(|mut times| {
        times.sort_by(f64::total_cmp);
        Arc::new(times)
    });
    let sorted: Vec<_> = sorted.collect();
    for (client, watched) in clients.iter_mut().enumerate() {
        watched.around = Arc::clone(&sorted[client % sorted.len()]);
    }
}

/// Moments of a Poisson process of a rate.
pub(super) fn poisson(draws: &mut Stream, rate: f64, from: f64, to: f64) -> Vec<f64> {
    let mut out = Vec::new();
    if rate > 0.0 {
        let mut at = from + draws.exponential(1.0 / rate);
        while at < to {
            out.push(at);
            at += draws.exponential(1.0 / rate);
        }
    }
    out
}

/// What the reader's link sees of what its gateway holds.
fn finish(design: &Design, length: f64, client: &mut Watched, key: (u64, usize)) {
    client.inside.sort_by(f64::total_cmp);
    client.up.sort_by(f64::total_cmp);
    match design.delivery {
        // What arrives is on the link at once.
        Delivery::Push | Delivery::Bare => {
            client.down.clone_from(&client.inside);
            client.latencies = client.lags.iter().map(|t| t + design.link).collect();
        }
        Delivery::Provider {
            pull_interval: period,
        }
        | Delivery::Echo {
            downlink_rate: period,
            ..
        } => {
            // Every pull brings answers of one size, whether there is something or not.
            let phase = Stream::new(key.0, Purpose::LINK, key.1 as u64).uniform() * period;
            let pulls = (0..).map(|i| phase + f64::from(i) * period);
            client.down = pulls.take_while(|t| *t < length).collect();
            let waited = |lag: &f64| lag + period / 2.0 + design.link;
            client.latencies = client.lags.iter().map(waited).collect();
        }
    }
    client.bytes = (client.up.len() + client.down.len()) as f64 * f64::from(design.packet_len);
}

/// Time from a client's link to its reader's gateway.
fn through(design: &Design, draws: &mut Stream) -> f64 {
    let hops = design.topology.hops();
    let links = f64::from(hops + 2) * design.link;
    let waits = match design.mean_delay() {
        Some(mean) if mean > 0.0 => draws.erlang(hops, mean),
        Some(_) | None => 0.0,
    };
    links + waits + f64::from(hops) * design.allowance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_the_designs_and_every_message_arrives() {
        let people = Conversation::made_up(3, 8, 600.0);
        let seen = watch(&Design::loopix(3, 3), &people, 8, 5);
        let messages: usize = seen.iter().map(|w| w.latencies.len()).sum();
        // A few may still be waiting when the time is over.
        assert!(
            messages + 8 >= people.messages.len() && messages > 20,
            "{messages}"
        );
        for w in &seen {
            // Three streams of one a second: 1,800 within six standard deviations.
            assert!((w.up.len() as f64 - 1_800.0).abs() < 6.0 * 1_800f64.sqrt());
            assert_eq!(w.down.len(), 60);
            assert!(w.up.is_sorted() && w.down.is_sorted() && w.inside.is_sorted());
            // At three gateways: its own clients' loops, a third of all drops, and of ticks that carry nothing; within six
            // standard deviations, and the messages.
            let clients = seen.iter().filter(|o| Arc::ptr_eq(&o.around, &w.around));
            let expected = 600.0 * (clients.count() as f64 + 8.0 * 2.0 / 3.0);
            let off = w.around.len() as f64 - expected;
            assert!(
                off.abs() < 6.0 * expected.sqrt() + people.messages.len() as f64,
                "{off}"
            );
            assert!(w.around.is_sorted());
        }
    }

    #[test]
    fn onion_routing_shows_each_message_and_nothing_else() {
        let people = Conversation::made_up(3, 8, 600.0);
        for w in watch(&Design::onion(3, 3), &people, 8, 5) {
            assert_eq!(w.up, w.wrote);
            assert_eq!(w.down.len(), w.written_to.len());
        }
    }
}
