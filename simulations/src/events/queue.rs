//! A calendar queue. Time is cut into eras, an era into days of equal length. What happens in this era waits in the chunks
//! of its day, unsorted, and a day is sorted when its turn comes; what happens in a later era waits in one list. Eras
//! are ruled one after the other: so many events to a day as make it cheap to sort and rare that something is pushed into the
//! present day, by what the era before was like.
//!
//! Events are moved, not pointed at: they are written once, in the order of pushing, and read once, a day
//! after the other, so the processor sees them coming. The order of popping is a total one, (time, order of pushing),
//! whatever the ruling.

use crate::chunks::{Chunks, List};
use crate::sort::{Key, Sorter};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Days of an era hold so many events, about: this times the square root of all that wait.
const EVENTS_OF_ROOT: f64 = 1.5;
const EVENTS_IN_A_DAY: (f64, f64) = (8.0, 4_096.0);
/// An era is so many times as long as an event waits, about.
const WAITS_IN_AN_ERA: f64 = 64.0;
const DAYS: (usize, usize) = (1 << 8, 1 << 16);

#[derive(Clone, Copy)]
struct Entry<E> {
    time: f64,
    event: E,
}

/// An event that has its turn.
pub(super) struct Popped {
    pub(super) time: f64,
    pub(super) place: u32,
    /// Its number in [`Calendar::today`]; of one that came late, more than there are.
    pub(super) number: usize,
}

/// Events to come.
pub struct Calendar<E> {
    chunks: Chunks<Entry<E>>,
    days: Vec<List>,
    /// The present day's, which is free once the next one is opened.
    opened: List,
    /// When the era began, and its days per second.
    begin: f64,
    per_second: f64,
    /// The day after the present one.
    tomorrow: usize,
    /// The present day as it was when its turn came: sorted, and how far it has been popped.
    today: Sorter,
    at: usize,
    /// What was pushed into the present day since.
    late: BinaryHeap<Late>,
    late_events: List,
    pushed_late: u64,
    /// After this era.
    beyond: Vec<Entry<E>>,
    earliest_beyond: f64,
    /// How many events ever were.
    pushed: u64,
    popped: u64,
    last: f64,
    /// What the ruling of the next era is made from.
    era: (u64, f64),
    gap: f64,
}

impl<E: Copy> Calendar<E> {
    /// Empty; about so much time between two events.
    pub fn new(gap: f64) -> Self {
        let mut calendar = Self {
            chunks: Chunks::new(),
            days: Vec::new(),
            opened: List::default(),
            begin: 0.0,
            per_second: 1.0,
            tomorrow: 0,
            today: Sorter::default(),
            at: 0,
            late: BinaryHeap::new(),
            late_events: List::default(),
            pushed_late: 0,
            beyond: Vec::new(),
            earliest_beyond: f64::INFINITY,
            pushed: 0,
            popped: 0,
            last: 0.0,
            era: (0, 0.0),
            gap,
        };
        calendar.rule(0.0);
        calendar
    }

    /// How many are to come.
    pub fn len(&self) -> usize {
        (self.pushed - self.popped) as usize
    }

    /// How many were popped.
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.pushed == self.popped
    }

    /// Something happens at `time`, which is not before the last event that was popped.
    #[inline(always)]
    pub fn push(&mut self, time: f64, event: E) {
        self.pushed += 1;
        let day = self.day_of(time);
        if day >= self.tomorrow
            && let Some(day) = self.days.get_mut(day)
        {
            self.chunks.push(day, Entry { time, event });
        } else {
            self.push_elsewhere(day, Entry { time, event });
        }
    }

    /// The next event, if it is not after `end`.
    #[inline]
    pub fn pop(&mut self, end: f64) -> Option<(f64, E)> {
        loop {
            if let Some(popped) = self.pop_today(end) {
                return Some((popped.time, *self.event(popped.place)));
            }
            if !self.advance(end, f64::INFINITY) {
                return None;
            }
            self.open();
        }
    }

    /// The present day's next event, if it is not after `end`.
    #[inline(always)]
    pub(super) fn pop_today(&mut self, end: f64) -> Option<Popped> {
        let Some(key) = self.today.sorted().get(self.at) else {
            return self.pop_late(end, f64::INFINITY);
        };
        let (time, place) = (key.time, key.index);
        if !self.late.is_empty()
            && let Some(late) = self.pop_late(end, time)
        {
            return Some(late);
        }
        if time > end {
            return None;
        }
        let number = self.at;
        self.at += 1;
        self.count(time);
        Some(Popped {
            time,
            place,
            number,
        })
    }

    /// The events of the day that was opened, in their order.
    pub(super) fn today(&self) -> impl Iterator<Item = &E> {
        let keys = self.today.sorted().iter();
        keys.map(|key| &self.chunks.get(key.index).event)
    }

    /// An event that was popped, until the next day is opened.
    #[inline(always)]
    pub(super) fn event(&self, place: u32) -> &E {
        &self.chunks.get(place).event
    }

    /// The next of those that came late, if it is before the next of the others.
    #[inline(never)]
    fn pop_late(&mut self, end: f64, other: f64) -> Option<Popped> {
        let next = self.late.peek()?.time;
        if next > end || next >= other {
            return None;
        }
        let late = self.late.pop()?;
        self.count(late.time);
        Some(Popped {
            time: late.time,
            place: late.place,
            number: usize::MAX,
        })
    }

    #[inline(always)]
    fn count(&mut self, time: f64) {
        self.popped += 1;
        self.last = time;
    }

    /// Goes on to the next day that has events, or in which `other` falls, if neither the present day has more nor that one lies
    /// after `end`. Says whether it did; then [`Calendar::open`] must follow.
    pub(super) fn advance(&mut self, end: f64, other: f64) -> bool {
        if self.at < self.today.sorted().len() || !self.late.is_empty() {
            return false;
        }
        loop {
            let (last, other_day) = (self.day_of(end), self.day_of(other));
            while self.tomorrow < self.days.len() {
                if self.tomorrow > last {
                    return false;
                }
                let day = self.tomorrow;
                self.tomorrow += 1;
                if other_day <= day || !self.days[day].is_empty() {
                    return true;
                }
            }
            let first = self.earliest_beyond.min(other);
            if first > end || first == f64::INFINITY {
                return false;
            }
            self.rule(first);
        }
    }

    /// Whether a moment lies in the present day, or before it.
    pub(super) fn is_due(&self, time: f64) -> bool {
        self.day_of(time) < self.tomorrow
    }

    /// After [`Calendar::advance`]: something else that happens on the day whose turn it is.
    pub(super) fn add(&mut self, time: f64, event: E) {
        self.pushed += 1;
        let day = &mut self.days[self.tomorrow - 1];
        self.chunks.push(day, Entry { time, event });
    }

    /// Sorts the day whose turn it is.
    pub(super) fn open(&mut self) {
        let day = self.tomorrow - 1;
        let begin = self.begin + day as f64 / self.per_second;
        let list = std::mem::take(&mut self.days[day]);
        self.chunks.free(std::mem::replace(&mut self.opened, list));
        self.chunks.free(std::mem::take(&mut self.late_events));
        self.at = 0;
        self.today.clear();
        for (first, entries) in self.chunks.read(list) {
            let keys = entries.iter().zip(first..);
            let key = |(entry, index): (&Entry<E>, u32)| Key {
                time: entry.time,
                index,
            };
            self.today.extend(keys.map(key));
        }
        self.today.sort(begin, self.per_second);
    }

    #[inline]
    fn day_of(&self, time: f64) -> usize {
        ((time - self.begin) * self.per_second) as usize
    }

    /// Into the present day, or beyond the era.
    #[inline(never)]
    fn push_elsewhere(&mut self, day: usize, entry: Entry<E>) {
        if day >= self.tomorrow {
            self.earliest_beyond = self.earliest_beyond.min(entry.time);
            return self.beyond.push(entry);
        }
        self.pushed_late += 1;
        self.late.push(Late {
            time: entry.time,
            number: self.pushed_late,
            place: self.chunks.push(&mut self.late_events, entry),
        });
    }

    /// A new era, at or before whose first moment nothing waits.
    fn rule(&mut self, begin: f64) {
        let (popped, since) = self.era;
        if self.popped > popped && self.last > since {
            self.gap = (self.last - since) / (self.popped - popped) as f64;
        }
        self.era = (self.popped, self.last);
        let waiting = self.len() as f64;
        let in_a_day = EVENTS_OF_ROOT * waiting.sqrt();
        let in_a_day = in_a_day.clamp(EVENTS_IN_A_DAY.0, EVENTS_IN_A_DAY.1);
        let days = (WAITS_IN_AN_ERA * waiting / in_a_day) as usize;
        self.days.clear();
        self.days
            .resize(days.clamp(DAYS.0, DAYS.1), List::default());
        self.begin = begin;
        self.per_second = (1.0 / (self.gap * in_a_day)).clamp(1e-12, 1e15);
        self.tomorrow = 0;
        self.earliest_beyond = f64::INFINITY;
        for entry in std::mem::take(&mut self.beyond) {
            let day = self.day_of(entry.time);
            match self.days.get_mut(day) {
                Some(day) => {
                    self.chunks.push(day, entry);
                }
                None => self.push_elsewhere(day, entry),
            }
        }
    }
}

struct Late {
    time: f64,
    number: u64,
    place: u32,
}

/// The earliest is the greatest, for a heap.
impl Ord for Late {
    fn cmp(&self, other: &Self) -> Ordering {
        let times = other.time.total_cmp(&self.time);
        times.then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Late {}

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

    /// Places are used again: a hundred thousand events that wait need a few more than that, not as many as ever waited.
    #[test]
    fn memory_is_that_of_what_waits() {
        let mut random = Stream::new(1, Purpose::FREE, 0);
        let mut calendar = Calendar::new(1e-3);
        for i in 0..1_000 {
            calendar.push(random.exponential(1.0), i);
        }
        for _ in 0..200_000 {
            let (now, i) = calendar.pop(f64::INFINITY).unwrap();
            calendar.push(now + random.exponential(1.0), i);
        }
        assert!(
            calendar.chunks.places() < 10_000,
            "{}",
            calendar.chunks.places()
        );
    }
}
