//! What users send: their clocks, their cover, and the messages that wait for them. An iterator of [`Message`].
//!
//! The clocks of all users together are one Poisson stream whose sender is drawn anew each time, which is the same
//! in distribution as one clock for each, and needs no memory for the idle. A message that is written waits in its
//! sender's queue until a tick carries it (`Cover::Substitute`), or leaves at once.

mod demand;

pub use demand::{Demand, Written};

use crate::design::{Cover, Design};
use crate::message::{Class, Message};
use crate::outcome::Histogram;
use crate::random::{Keyed, Purpose, below, exponential, uniform};
use demand::Writer;

/// All that a population of users sends through a design.
pub struct Traffic {
    users: u64,
    /// Seconds after which nothing is sent.
    end: f64,
    fetch: f64,
    /// Shares of ticks of the payload stream, and of that and the loops.
    payload: f64,
    loops: f64,
    cover: Cover,
    saturated: bool,
    gap: f64,
    arrival: Keyed,
    coin: Keyed,
    count: u64,
    next_tick: Option<Message>,
    writer: Writer,
    next_written: Option<Written>,
    queues: Queues,
    queueing: Histogram,
    written: u64,
}

impl Traffic {
    /// `users` of a design, with something to say, for so many seconds.
    pub fn new(design: &Design, users: u32, demand: Demand, seed: u64, end: f64) -> Self {
        let e = &design.emission;
        let rate = design.client_rate();
        let waits = e.cover == Cover::Substitute;
        let mut traffic = Self {
            users: u64::from(users),
            end,
            fetch: e.fetch_share,
            payload: e.payload_rate / rate.max(1e-300),
            loops: (e.payload_rate + e.loop_rate) / rate.max(1e-300),
            cover: e.cover,
            saturated: matches!(demand, Demand::Saturated),
            gap: 1.0 / (rate * f64::from(users)),
            arrival: Keyed::new(seed, Purpose::ARRIVAL),
            coin: Keyed::new(seed, Purpose::CLIENT),
            count: 0,
            next_tick: None,
            writer: Writer::new(demand, users, seed),
            next_written: None,
            queues: Queues::new(if waits { users } else { 0 }),
            queueing: Histogram::default(),
            written: 0,
        };
        traffic.next_tick = traffic.tick(0.0);
        traffic.next_written = traffic.writer.next();
        traffic
    }

    /// How many users there are.
    pub fn users(&self) -> u32 {
        self.users as u32
    }

    /// How long messages have waited for a tick.
    pub fn queueing(&self) -> &Histogram {
        &self.queueing
    }

    /// Messages written so far, and how many of them still wait.
    pub fn written(&self) -> (u64, u64) {
        (self.written, self.queues.waiting)
    }

    /// The tick after `time`; its class says which stream it is of.
    fn tick(&mut self, time: f64) -> Option<Message> {
        if !self.gap.is_finite() || self.users == 0 {
            return None;
        }
        let [gap, sender] = self.arrival.block(self.count, 0);
        let [stream, coin] = self.coin.block(self.count, 0);
        self.count += 1;
        let sender = below(sender, self.users) as u32;
        let which = uniform(stream);
        let class = if which >= self.loops {
            Class::Drop
        } else if which >= self.payload {
            Class::Loop
        } else if uniform(coin) < self.fetch {
            Class::Fetch
        } else {
            Class::Payload
        };
        Some(Message {
            time: time + exponential(gap, self.gap),
            sender,
            receiver: sender,
            class,
        })
    }

    /// What a send tick carries.
    fn carry(&mut self, mut tick: Message) -> Message {
        if self.saturated {
            let word = self.coin.block(self.count, 1)[0];
            let other = below(word, self.users.max(2) - 1) as u32;
            tick.receiver = other + u32::from(other >= tick.sender);
            return tick;
        }
        let waiting = match self.cover {
            Cover::Substitute => self.queues.pop(tick.sender),
            Cover::None | Cover::Add => None,
        };
        match waiting {
            Some((written, receiver)) => {
                self.queueing.record(tick.time - written);
                tick.receiver = receiver;
            }
            None => tick.class = Class::Loop,
        }
        tick
    }
}

impl Iterator for Traffic {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        loop {
            let tick = self.next_tick.map_or(f64::INFINITY, |t| t.time);
            let written = self.next_written.map_or(f64::INFINITY, |w| w.time);
            if tick.min(written) >= self.end {
                return None;
            }
            if written <= tick {
                let message = self.next_written.take()?;
                self.next_written = self.writer.next();
                self.written += 1;
                if self.cover == Cover::Substitute {
                    self.queues.push(message);
                    continue;
                }
                return Some(Message {
                    time: message.time,
                    sender: message.from,
                    receiver: message.to,
                    class: Class::Payload,
                });
            }
            let now = self.next_tick.take()?;
            self.next_tick = self.tick(now.time);
            let carries = now.class == Class::Payload;
            return Some(if carries { self.carry(now) } else { now });
        }
    }
}

const NOBODY: u32 = u32::MAX;

/// A queue for each user, eight bytes for the idle.
struct Queues {
    ends: Vec<(u32, u32)>,
    items: Vec<(f64, u32, u32)>,
    free: u32,
    waiting: u64,
}

impl Queues {
    fn new(users: u32) -> Self {
        Self {
            ends: vec![(NOBODY, NOBODY); users as usize],
            items: Vec::new(),
            free: NOBODY,
            waiting: 0,
        }
    }

    fn push(&mut self, message: Written) {
        let item = (message.time, message.to, NOBODY);
        let at = if self.free == NOBODY {
            self.items.push(item);
            (self.items.len() - 1) as u32
        } else {
            let at = self.free;
            self.free = self.items[at as usize].2;
            self.items[at as usize] = item;
            at
        };
        let (first, last) = &mut self.ends[message.from as usize];
        if *last == NOBODY {
            *first = at;
        } else {
            self.items[*last as usize].2 = at;
        }
        *last = at;
        self.waiting += 1;
    }

    fn pop(&mut self, user: u32) -> Option<(f64, u32)> {
        let (first, last) = &mut self.ends[user as usize];
        if *first == NOBODY {
            return None;
        }
        let at = *first;
        let (written, receiver, next) = self.items[at as usize];
        *first = next;
        if next == NOBODY {
            *last = NOBODY;
        }
        self.items[at as usize].2 = self.free;
        self.free = at;
        self.waiting -= 1;
        Some((written, receiver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M/M/1: a queue fed at .5/s and drained by a clock of 1/s waits 2 s.
    #[test]
    fn a_message_waits_as_in_an_m_m_1_queue() {
        let mut design = Design::mizzle(3, 4);
        design.emission.payload_rate = 1.0;
        design.emission.fetch_share = 0.0;
        let mut traffic = Traffic::new(&design, 500, Demand::poisson(0.5), 1, 3_000.0);
        let mut counts = [0.0_f64; 5];
        let mut last = 0.0;
        for message in traffic.by_ref() {
            assert!(
                message.time >= last
                    && (message.receiver != message.sender) == (message.class == Class::Payload)
            );
            last = message.time;
            counts[message.class as usize] += 1.0;
        }
        let mean = traffic.queueing().mean();
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        // 0.5/s of payload, 0.5/s of empty ticks and 0.1/s of loops.
        let n = 500.0 * 3_000.0;
        assert!((counts[0] / n - 0.5).abs() < 0.01, "{counts:?}");
        assert!((counts[2] / n - 0.6).abs() < 0.01, "{counts:?}");
    }

    #[test]
    fn without_cover_a_message_leaves_when_it_is_written() {
        let design = Design::onion(3, 4);
        let traffic = Traffic::new(&design, 10, Demand::poisson(0.1), 1, 1_000.0);
        let all: Vec<_> = traffic.collect();
        assert!((900..1_100).contains(&all.len()), "{}", all.len());
        assert!(all.iter().all(|m| m.class == Class::Payload));
    }
}
