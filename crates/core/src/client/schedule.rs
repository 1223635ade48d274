//! Which inbox a fetch tick asks: places that change rarely.
//!
//! A tick's draw says contacts or transfers, a quarter for the latter whether there is any or not,
//! and then picks one of the places there; a place without an inbox is cover. So every inbox sees
//! a Poisson stream of its own, independent of the others. Its rate follows from the number of
//! places, which lies on a grid and becomes less only after random hours, and from the inbox'
//! class, which the owner chooses and which changes only after random hours: a gateway cannot
//! couple two inboxes of one person by a common change, nor tell when somebody was made a
//! favourite.

use super::ClientConfig;
use super::outbox::FetchClass;
use crate::latency;
use directory::Parameters;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::InboxId;
use wire::rng::{KeyRng, pick};
use wire::time::Instant;

/// Fewest places of contacts, and of transfers: one transfer has four inboxes.
const CONTACTS_LEAST: usize = 2;
const BULK_LEAST: usize = 4;
/// Places of a favourite; of any other, one.
const FAVOURITE_PLACES: usize = 4;

impl FetchClass {
    /// How many places an inbox of this class has.
    pub fn weight(self) -> usize {
        match self {
            Self::Favourite => FAVOURITE_PLACES,
            Self::Contact | Self::Bulk => 1,
        }
    }

    fn bulk(self) -> bool {
        match self {
            Self::Bulk => true,
            Self::Favourite | Self::Contact => false,
        }
    }
}

/// What one class of inboxes can expect, for the status page.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FetchNumbers {
    /// Which class.
    pub class: FetchClass,
    /// Inboxes in it.
    pub inboxes: usize,
    /// Places among which its ticks draw, those of other classes and empty ones included.
    pub places: usize,
    /// Mean time between two fetches of one inbox of this class: places / (weight · φ · λP).
    pub wait: Duration,
}

/// As many places as `wanted` inboxes get: the next of 1, 2, 3, 4, 6, 8, 12, 16, 24, …
pub fn grid(wanted: usize) -> usize {
    let power = wanted.max(1).next_power_of_two();
    let between = power / 4 * 3;
    if power >= 4 && between >= wanted {
        between
    } else {
        power
    }
}

/// The places of contacts, or those of transfers.
struct Table {
    least: usize,
    places: Vec<Option<InboxId>>,
    /// When it may become smaller; set while it could.
    shrink: Option<Instant>,
}

impl Table {
    fn new(least: usize) -> Self {
        Self {
            least,
            places: vec![None; least],
            shrink: None,
        }
    }

    /// Gives an inbox free places; makes some where there are too few.
    fn seat(&mut self, id: InboxId, weight: usize) {
        let taken = self.taken();
        let enough = grid(taken + weight).max(self.places.len());
        self.places.resize(enough, None);
        let free = self.places.iter_mut().filter(|p| p.is_none());
        free.take(weight).for_each(|place| *place = Some(id));
    }

    fn leave(&mut self, id: &InboxId) {
        let own = self.places.iter_mut().filter(|p| p.as_ref() == Some(id));
        own.for_each(|place| *place = None);
    }

    fn taken(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// Becomes smaller, if its moment has come and it still could.
    fn settle(&mut self, now: Instant, hours: impl FnOnce() -> Duration) {
        let enough = grid(self.taken()).max(self.least);
        if enough >= self.places.len() {
            self.shrink = None;
        } else if *self.shrink.get_or_insert_with(|| now + hours()) <= now {
            self.shrink = None;
            self.places.retain(Option::is_some);
            self.places.resize(enough, None);
        }
    }
}

/// All places, and the classes of all inboxes.
pub(super) struct Schedule {
    contacts: Table,
    bulk: Table,
    classes: BTreeMap<InboxId, FetchClass>,
    /// Wishes that wait for their hour.
    wishes: BTreeMap<InboxId, (Instant, FetchClass)>,
    /// When the first of them is due, or was, where that wish was dropped.
    next_wish: Option<Instant>,
    hours: (Duration, Duration),
}

impl Schedule {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            contacts: Table::new(CONTACTS_LEAST),
            bulk: Table::new(BULK_LEAST),
            classes: BTreeMap::new(),
            wishes: BTreeMap::new(),
            next_wish: None,
            hours: config.class_change,
        }
    }

    fn table(&mut self, class: FetchClass) -> &mut Table {
        if class.bulk() {
            &mut self.bulk
        } else {
            &mut self.contacts
        }
    }

    /// A new inbox: there is no earlier rate that its own could differ from.
    pub(super) fn insert(&mut self, id: InboxId, class: FetchClass) {
        self.classes.insert(id, class);
        self.table(class).seat(id, class.weight());
    }

    pub(super) fn remove(&mut self, id: &InboxId) {
        self.wishes.remove(id);
        if let Some(class) = self.classes.remove(id) {
            self.table(class).leave(id);
        }
    }

    /// The owner wants an inbox in another class. Wishing twice does not put off the change.
    pub(super) fn wish(&mut self, id: InboxId, class: FetchClass, now: Instant, keys: &mut KeyRng) {
        match self.classes.get(&id) {
            None => {}
            Some(held) if *held == class => drop(self.wishes.remove(&id)),
            Some(_) => {
                let hours = hours(self.hours, keys);
                let wish = self.wishes.entry(id).or_insert((now + hours, class));
                wish.1 = class;
                let due = self.next_wish.map_or(wish.0, |next| next.min(wish.0));
                self.next_wish = Some(due);
            }
        }
    }

    /// Does what was wished so long ago that it may be seen. Before each draw.
    pub(super) fn settle(&mut self, now: Instant, keys: &mut KeyRng) {
        if self.next_wish.is_some_and(|due| due <= now) {
            let due = |(id, (at, class)): (&InboxId, &(Instant, FetchClass))| {
                (*at <= now).then_some((*id, *class))
            };
            let due: Vec<_> = self.wishes.iter().filter_map(due).collect();
            for (id, class) in due {
                self.remove(&id);
                self.insert(id, class);
            }
            self.next_wish = self.wishes.values().map(|(at, _)| *at).min();
        }
        let span = self.hours;
        self.contacts.settle(now, || hours(span, keys));
        self.bulk.settle(now, || hours(span, keys));
    }

    /// Whose place a tick's draw names.
    pub(super) fn pick(&self, draw: u64) -> Option<InboxId> {
        // The first two bits say whose tick it is: a quarter is for transfers.
        let table = if draw >> 62 == 0 {
            &self.bulk
        } else {
            &self.contacts
        };
        let place = pick(draw << 2, table.places.len())?;
        *table.places.get(place)?
    }

    /// Of each class.
    pub(super) fn numbers(&self, p: &Parameters) -> [FetchNumbers; 3] {
        [FetchClass::Favourite, FetchClass::Contact, FetchClass::Bulk].map(|class| {
            let table = if class.bulk() {
                &self.bulk
            } else {
                &self.contacts
            };
            let places = table.places.len();
            let rate = latency::place_rate(p, places, class.bulk()) * class.weight() as f64;
            FetchNumbers {
                class,
                inboxes: self.classes.values().filter(|c| **c == class).count(),
                places,
                wait: Duration::from_secs_f64(1.0 / rate.max(1e-9)),
            }
        })
    }
}

/// Somewhere between the two.
fn hours((least, most): (Duration, Duration), keys: &mut KeyRng) -> Duration {
    let span = most.saturating_sub(least);
    let share = u32::from_be_bytes(keys.bytes::<4>());
    least + span.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::EpochSchedule;
    use wire::time::UnixTime;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn schedule() -> (Schedule, KeyRng) {
        let epochs = EpochSchedule {
            genesis: UnixTime(0),
            length: HOUR,
        };
        let config = ClientConfig::new(epochs);
        (Schedule::new(&config), KeyRng::from_seed([1; 32]))
    }

    fn inbox(n: u8) -> InboxId {
        InboxId([n; 32])
    }

    /// Of a million evenly spread draws, how many ask an inbox.
    fn share(schedule: &Schedule, id: InboxId) -> f64 {
        let n = 1_u64 << 16;
        let draw = |i: u64| i << 48;
        let asked = (0..n).filter(|i| schedule.pick(draw(*i)) == Some(id));
        asked.count() as f64 / n as f64
    }

    #[test]
    fn the_grid() {
        let grid: Vec<_> = (0..=17).map(grid).collect();
        assert_eq!(
            grid,
            [
                1, 1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16, 24
            ]
        );
    }

    #[test]
    fn shares_are_as_stated() {
        let (mut schedule, _) = schedule();
        schedule.insert(inbox(1), FetchClass::Contact);
        schedule.insert(inbox(9), FetchClass::Bulk);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        assert!(near(share(&schedule, inbox(1)), 0.75 / 2.0));
        assert!(near(share(&schedule, inbox(9)), 0.25 / 4.0));
        schedule.insert(inbox(2), FetchClass::Favourite);
        // Five places on a grid of six.
        assert!(near(share(&schedule, inbox(1)), 0.75 / 6.0));
        assert!(near(share(&schedule, inbox(2)), 0.75 * 4.0 / 6.0));
        assert!(near(share(&schedule, inbox(9)), 0.25 / 4.0), "as before");
        let numbers = schedule.numbers(&Parameters::localnet());
        assert_eq!(
            numbers.map(|n| (n.inboxes, n.places)),
            [(1, 6), (1, 6), (1, 4)]
        );
        // φ = 1/2 · 3/4 and λP = 10/s: 6 / (4 · 3.75), 6 / 3.75, and 4 / 1.25 s.
        let waits = numbers.map(|n| n.wait.as_secs_f64());
        for (wait, by_hand) in waits.into_iter().zip([0.4, 1.6, 3.2]) {
            assert!((wait - by_hand).abs() < 1e-9, "{waits:?}");
        }
    }

    #[test]
    fn a_class_changes_after_hours_and_not_before() {
        let (mut schedule, mut keys) = schedule();
        for n in 1..=8 {
            schedule.insert(inbox(n), FetchClass::Contact);
        }
        let before: Vec<_> = (1..=8).map(|n| share(&schedule, inbox(n))).collect();
        schedule.wish(inbox(3), FetchClass::Favourite, Instant::ZERO, &mut keys);
        schedule.settle(
            Instant::ZERO + HOUR.saturating_sub(Duration::from_secs(1)),
            &mut keys,
        );
        let shares = |s: &Schedule| -> Vec<f64> { (1..=8).map(|n| share(s, inbox(n))).collect() };
        assert_eq!(shares(&schedule), before);
        // A change of mind is none.
        schedule.wish(inbox(3), FetchClass::Contact, Instant::ZERO, &mut keys);
        schedule.settle(Instant::ZERO + HOUR * 24, &mut keys);
        assert_eq!(shares(&schedule), before);
        schedule.wish(inbox(3), FetchClass::Favourite, Instant::ZERO, &mut keys);
        schedule.settle(Instant::ZERO + HOUR * 24, &mut keys);
        assert!((share(&schedule, inbox(3)) - 0.75 * 4.0 / 12.0).abs() < 1e-3);
    }

    #[test]
    fn one_inbox_less_changes_no_others_rate_for_hours() {
        let (mut schedule, mut keys) = schedule();
        for n in 1..=8 {
            schedule.insert(inbox(n), FetchClass::Contact);
        }
        let before = share(&schedule, inbox(1));
        (2..=8).for_each(|n| schedule.remove(&inbox(n)));
        schedule.settle(Instant::ZERO, &mut keys);
        schedule.settle(
            Instant::ZERO + HOUR.saturating_sub(Duration::from_secs(1)),
            &mut keys,
        );
        assert_eq!(share(&schedule, inbox(1)), before);
        // Another one takes a free place and makes nobody wait longer.
        schedule.insert(inbox(9), FetchClass::Contact);
        assert_eq!(share(&schedule, inbox(1)), before);
        schedule.settle(Instant::ZERO + HOUR * 24, &mut keys);
        assert!((share(&schedule, inbox(1)) - 0.75 / 2.0).abs() < 1e-3);
        assert!((share(&schedule, inbox(9)) - 0.75 / 2.0).abs() < 1e-3);
    }
}
