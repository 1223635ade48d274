//! A calendar queue: days of equal length in a ring, each a bag of events until its turn, when it is sorted. Pushing
//! and popping take constant time as long as a day holds a few events, and the calendar sees to that.

/// A moment and what happens then. Equal moments come in the order of the second number.
type Entry = (f64, u64);

/// Events of one day, about.
const IN_A_DAY: f64 = 4.0;
/// After so many events the length of a day is looked at again.
const REVIEW: u64 = 1 << 15;
const DAYS_MIN: usize = 1 << 10;
const DAYS_MAX: usize = 1 << 20;

/// Events to come.
pub struct Calendar {
    days: Vec<Vec<Entry>>,
    /// The present day, latest event first.
    today: Vec<Entry>,
    /// Events after the ring's last day.
    later: Vec<Entry>,
    earliest_later: u64,
    /// Days per second, and the present day's number.
    per_second: f64,
    day: u64,
    len: usize,
    popped: u64,
    review_from: f64,
    last: f64,
}

impl Calendar {
    /// Empty; about so much time between two events.
    pub fn new(gap: f64) -> Self {
        let length = (gap * IN_A_DAY).clamp(1e-12, 1e9);
        Self {
            days: (0..DAYS_MIN).map(|_| Vec::new()).collect(),
            today: Vec::new(),
            later: Vec::new(),
            earliest_later: u64::MAX,
            per_second: 1.0 / length,
            day: 0,
            len: 0,
            popped: 0,
            review_from: 0.0,
            last: 0.0,
        }
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Something happens at `time`, which is not before the last event that was popped.
    #[inline]
    pub fn push(&mut self, time: f64, event: u64) {
        self.len += 1;
        self.insert((time, event));
    }

    #[inline]
    fn insert(&mut self, entry: Entry) {
        let day = (entry.0 * self.per_second) as u64;
        if day <= self.day {
            let at = self.today.partition_point(|e| after(e, &entry));
            return self.today.insert(at, entry);
        }
        if day - self.day < self.days.len() as u64 {
            let index = day as usize & (self.days.len() - 1);
            return self.days[index].push(entry);
        }
        self.earliest_later = self.earliest_later.min(day);
        self.later.push(entry);
    }

    /// The next event, if it is not after `end`.
    #[inline]
    pub fn pop(&mut self, end: f64) -> Option<Entry> {
        if self.today.is_empty() && !self.turn_page(end) {
            return None;
        }
        if self.today.last()?.0 > end {
            return None;
        }
        let entry = self.today.pop()?;
        self.len -= 1;
        self.popped += 1;
        self.last = entry.0;
        if self.popped.is_multiple_of(REVIEW) {
            self.review();
        }
        Some(entry)
    }

    /// On to the next day that has events, not beyond `end`.
    fn turn_page(&mut self, end: f64) -> bool {
        if self.len == 0 {
            return false;
        }
        let last_day = (end * self.per_second) as u64;
        let mut empty = 0;
        while self.today.is_empty() {
            if self.day >= last_day {
                return false;
            }
            if empty > self.days.len() {
                // Nothing in the whole ring: jump to where there is something.
                self.day = self.earliest_later.min(last_day) - 1;
                empty = 0;
            }
            self.day += 1;
            empty += 1;
            if self.day + self.days.len() as u64 / 2 >= self.earliest_later {
                self.take_later();
                empty = 0;
            }
            let index = self.day as usize & (self.days.len() - 1);
            std::mem::swap(&mut self.today, &mut self.days[index]);
        }
        self.today
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        true
    }

    /// Brings into the ring what has come near; today's go to the bag of today, which is sorted next.
    fn take_later(&mut self) {
        let (day, days) = (self.day, self.days.len() as u64);
        self.earliest_later = u64::MAX;
        for entry in std::mem::take(&mut self.later) {
            let due = ((entry.0 * self.per_second) as u64).max(day);
            if due - day < days {
                self.days[due as usize & (days as usize - 1)].push(entry);
            } else {
                self.earliest_later = self.earliest_later.min(due);
                self.later.push(entry);
            }
        }
    }

    /// Looks whether a day still holds a few events, and rules new pages if not.
    fn review(&mut self) {
        let span = self.last - self.review_from;
        self.review_from = self.last;
        if span <= 0.0 {
            return;
        }
        let wanted = REVIEW as f64 / span / IN_A_DAY;
        let days = (self.len / IN_A_DAY as usize * 2)
            .next_power_of_two()
            .clamp(DAYS_MIN, DAYS_MAX);
        let off = wanted / self.per_second;
        let (few, many) = (self.days.len() * 2, self.days.len() / 4);
        if (0.4..2.5).contains(&off) && days <= few && days >= many {
            return;
        }
        let mut all = std::mem::take(&mut self.today);
        for day in &mut self.days {
            all.append(day);
        }
        all.append(&mut self.later);
        self.per_second = wanted.clamp(1e-9, 1e12);
        self.day = (self.last * self.per_second) as u64;
        self.earliest_later = u64::MAX;
        self.days.resize_with(days, Vec::new);
        for entry in all {
            self.insert(entry);
        }
    }
}

/// Whether `a` comes after `b`.
fn after(a: &Entry, b: &Entry) -> bool {
    (a.0, a.1) > (b.0, b.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};
    use std::collections::BTreeSet;

    /// Against a model: pushes and pops at changing rates, with ties and events far ahead.
    #[test]
    fn pops_what_an_ordered_set_pops() {
        for seed in 0..6 {
            let mut random = Stream::new(seed, Purpose::FREE, 0);
            let mut calendar = Calendar::new([1.0, 1e-6, 1e6][seed as usize % 3]);
            let mut model = BTreeSet::new();
            let (mut now, mut number) = (0.0_f64, 0);
            for round in 0..60_000_u64 {
                let scale = [1.0, 0.001, 50.0][(round / 20_000) as usize];
                for _ in 0..random.below(3) {
                    let ahead = match random.below(20) {
                        0 => 0.0,
                        1 => 1e5 * random.uniform(),
                        2 => 1.0,
                        _ => random.exponential(scale),
                    };
                    number += 1;
                    calendar.push(now + ahead, number);
                    model.insert(((now + ahead).to_bits(), number));
                }
                let end = if random.below(10) == 0 {
                    now + random.exponential(0.1)
                } else {
                    f64::INFINITY
                };
                let expected = model
                    .first()
                    .copied()
                    .filter(|e| f64::from_bits(e.0) <= end);
                let popped = calendar.pop(end);
                assert_eq!(popped.map(|e| (e.0.to_bits(), e.1)), expected, "{round}");
                if let Some(entry) = expected {
                    model.remove(&entry);
                    now = f64::from_bits(entry.0);
                } else if end.is_finite() {
                    now = now.max(end);
                }
                assert_eq!(calendar.len(), model.len());
            }
        }
    }
}
