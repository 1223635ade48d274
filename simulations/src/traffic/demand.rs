//! What people write, before any clock: at random, or as a trace of real messages says.

use crate::random::{Keyed, Purpose, below, exponential};

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
    /// These, in the order of time ([`crate::replay::Conversation::demand`] makes them of a trace).
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
