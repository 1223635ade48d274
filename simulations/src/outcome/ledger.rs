//! Keeps the posteriors of up to `T` messages at a time, in lanes, and closes them together.

use super::{Options, Tracked, Users};
use crate::design::{NODE_LOOP_BIT, Packet};
use crate::message::Class;
use crate::random::{Keyed, Purpose, ln, uniform};
use std::f64::consts::LOG2_E;

/// A posterior is complete when no more mass than this is missing.
pub const MISSING_MAX: f64 = 1e-6;
/// Mass below this is counted as mass but not as an output, nor in an entropy (less than 10⁻¹³ bits each).
const NEGLIGIBLE: f64 = 1e-15;

/// Sums over users are brought up to date once in so many outputs.
const TO_USERS: usize = 512;

fn is_of_a_node(packet: &Packet) -> bool {
    packet.id & NODE_LOOP_BIT != 0
}

/// The posteriors under way, and those done.
pub struct Ledger<const T: usize> {
    tracked: Vec<Class>,
    users: Users,
    picks: Keyed,
    /// Each message is taken with this probability.
    chance: f64,
    /// After closing, so many to twice as many messages pass before one is taken again: posteriors are closed when pools
    /// are low, and a message should see a mix as any message does. Counted in messages, not time: the first
    /// message after a given time has a longer gap before it than others.
    rest: f64,
    passing: u64,
    closed: u64,
    wanted: usize,
    started: usize,
    mass: [f64; T],
    information: [f64; T],
    best: [f64; T],
    best_id: [u64; T],
    outputs: [u64; T],
    truth: [f64; T],
    latency: [f64; T],
    packets: [Option<Packet>; T],
    by_user: Vec<[f64; T]>,
    /// Mass on loops of nodes, which are nobody's.
    by_nodes: [f64; T],
    /// What is still to be added there: many additions at once do not wait for memory one after the other.
    to_users: Vec<(u32, [f64; T])>,
    done: Vec<Tracked>,
}

impl<const T: usize> Ledger<T> {
    /// Nothing is tracked yet.
    pub fn new(options: &Options) -> Self {
        Self {
            tracked: options.tracked.clone(),
            users: options.users,
            picks: Keyed::new(options.seed, Purpose::TARGET),
            chance: 0.0,
            rest: 0.0,
            passing: 0,
            closed: 0,
            wanted: options.targets,
            started: 0,
            mass: [0.0; T],
            information: [0.0; T],
            best: [0.0; T],
            best_id: [0; T],
            outputs: [0; T],
            truth: [0.0; T],
            latency: [f64::NAN; T],
            packets: [None; T],
            by_user: vec![[0.0; T]; options.users.count()],
            by_nodes: [0.0; T],
            to_users: Vec::new(),
            done: Vec::new(),
        }
    }

    /// From now on messages may be taken, each with this probability; `rest` is how many must pass in between.
    pub fn open(&mut self, chance: f64, rest: f64) {
        if self.chance == 0.0 {
            (self.chance, self.rest) = (chance, rest);
            self.rest();
        }
    }

    fn rest(&mut self) {
        let longer = 1.0 + uniform(self.picks.block(self.closed, 1)[0]);
        self.passing = (self.rest * longer) as u64 + 8;
        self.closed += 1;
    }

    /// Whether any message is tracked at the moment.
    pub fn active(&self) -> bool {
        self.started > 0
    }

    /// Whether as many are done as were asked for.
    pub fn enough(&self) -> bool {
        self.done.len() >= self.wanted
    }

    /// Whether a class is tracked.
    pub fn tracks(&self, class: Class) -> bool {
        self.tracked.contains(&class)
    }

    /// Whether this packet is to be tracked, and in which lane. Its mass there is 1.
    #[inline]
    pub fn take(&mut self, packet: &Packet, class: Class) -> Option<usize> {
        if self.chance == 0.0 || self.started == T || !self.tracks(class) {
            return None;
        }
        if self.passing > 0 {
            self.passing -= 1;
            return None;
        }
        if uniform(self.picks.block(packet.id, 0)[0]) >= self.chance {
            return None;
        }
        let lane = self.started;
        self.started += 1;
        self.packets[lane] = Some(*packet);
        Some(lane)
    }

    /// A packet has reached its goal, with this mass.
    #[inline]
    pub fn deposit(&mut self, time: f64, packet: &Packet, row: &[f64; T]) {
        if row.iter().sum::<f64>() == 0.0 {
            return;
        }
        let mut terms = [0.0; T];
        for lane in 0..T {
            let w = row[lane].max(NEGLIGIBLE);
            terms[lane] = w * ln(w);
        }
        for lane in 0..T {
            let w = row[lane];
            self.mass[lane] += w;
            if w > NEGLIGIBLE {
                self.information[lane] -= terms[lane];
                self.outputs[lane] += 1;
                if w > self.best[lane] {
                    self.best[lane] = w;
                    self.best_id[lane] = packet.id;
                }
            }
            // The first time is its goal; a later one would be the answer's.
            if let Some(target) = &self.packets[lane]
                && target.id == packet.id
                && self.latency[lane].is_nan()
            {
                self.truth[lane] = w;
                self.latency[lane] = time - target.sent;
            }
        }
        let user = match self.users {
            Users::None => return,
            Users::Senders(_) | Users::Receivers(_) if is_of_a_node(packet) => {
                for (sum, more) in self.by_nodes.iter_mut().zip(row) {
                    *sum += more;
                }
                return;
            }
            Users::Senders(_) => packet.sender,
            Users::Receivers(_) => packet.receiver,
        };
        self.to_users.push((user, *row));
        if self.to_users.len() >= TO_USERS {
            self.add_to_users();
        }
    }

    fn add_to_users(&mut self) {
        for (user, row) in self.to_users.drain(..) {
            if let Some(sums) = self.by_user.get_mut(user as usize) {
                for (sum, more) in sums.iter_mut().zip(row) {
                    *sum += more;
                }
            }
        }
    }

    /// The most mass that is missing in any lane.
    pub fn missing(&self) -> f64 {
        let started = self.mass.iter().take(self.started);
        started.fold(0.0, |most: f64, m| most.max(1.0 - m))
    }

    /// Whether all lanes are in use and complete.
    pub fn complete(&self) -> bool {
        self.started == T
            && self.missing() < MISSING_MAX
            && self.latency.iter().all(|l| !l.is_nan())
    }

    /// Closes all lanes; those that are complete are done. Gives how many were not. The engine then clears all mass.
    pub fn close(&mut self) -> u64 {
        let mut given_up = 0;
        let tables = self.user_tables();
        for (lane, table) in tables.iter().enumerate().take(self.started) {
            let Some(packet) = self.packets[lane] else {
                continue;
            };
            let missing = 1.0 - self.mass[lane];
            if missing >= MISSING_MAX || self.latency[lane].is_nan() {
                given_up += 1;
                continue;
            }
            let user = match self.users {
                Users::None | Users::Senders(_) => packet.sender,
                Users::Receivers(_) => packet.receiver,
            };
            let (user_information, user_best, best_user) = *table;
            // Of an empty table: the best user is nobody, and the entropy not a number.
            let over_users = self.users != Users::None && !is_of_a_node(&packet);
            let only = |x: f64| if over_users { x } else { f64::NAN };
            self.done.push(Tracked {
                id: packet.id,
                group: self.closed as u32,
                sent: packet.sent,
                sender: packet.sender,
                receiver: packet.receiver,
                latency: self.latency[lane],
                entropy: (self.information[lane] * LOG2_E).max(0.0),
                min_entropy: (-ln(self.best[lane]) * LOG2_E).max(0.0),
                best: self.best[lane],
                hit: self.best_id[lane] == packet.id,
                truth: self.truth[lane],
                user_entropy: only((user_information * LOG2_E).max(0.0)),
                user_min_entropy: only((-ln(user_best.max(NEGLIGIBLE)) * LOG2_E).max(0.0)),
                user_best: only(user_best),
                user_hit: over_users && best_user == user as usize,
                outputs: self.outputs[lane],
                missing: missing.max(0.0),
            });
        }
        self.rest();
        self.started = 0;
        self.mass = [0.0; T];
        self.information = [0.0; T];
        self.best = [0.0; T];
        self.best_id = [0; T];
        self.outputs = [0; T];
        self.truth = [0.0; T];
        self.latency = [f64::NAN; T];
        self.packets = [None; T];
        given_up
    }

    /// Information, best mass and best user of each lane, of the mass that is some user's: who asks for a user knows that it
    /// was no node. The table is empty afterwards.
    fn user_tables(&mut self) -> [(f64, f64, usize); T] {
        self.add_to_users();
        let mut out = [(0.0, 0.0, usize::MAX); T];
        let scale = std::mem::replace(&mut self.by_nodes, [0.0; T]).map(|w| 1.0 / (1.0 - w));
        for (user, sums) in self.by_user.iter_mut().enumerate() {
            if sums.iter().all(|s| *s == 0.0) {
                continue;
            }
            for (lane, (information, best, who)) in out.iter_mut().enumerate() {
                let w = sums[lane] * scale[lane];
                if w > NEGLIGIBLE && w.is_finite() {
                    *information -= w * ln(w);
                    if w > *best {
                        (*best, *who) = (w, user);
                    }
                }
            }
            *sums = [0.0; T];
        }
        out
    }

    /// All that are done, by the time they were sent.
    pub fn into_tracked(mut self) -> Vec<Tracked> {
        self.done.sort_by(|a, b| a.sent.total_cmp(&b.sent));
        self.done
    }
}
