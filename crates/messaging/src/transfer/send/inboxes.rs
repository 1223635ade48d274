//! The receiver's inboxes, as the sender sees them: which are of use, how much of ours lies in each, and which of
//! them says nothing. Not here: the records themselves ([`super`]).

use crate::transfer::UNDER_WAY_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::ids::{InboxAddress, InboxId, NodeId};
use wire::time::Instant;

/// A receiver asks all its inboxes equally often. One is taken for dead when so many records of others were
/// confirmed since the last of its own: by chance that happens once in 10¹⁶ times beside three others.
const SILENT: u64 = 128;
/// Wait after a refusal, doubled with each, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What is known of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Not in the directory, or the own entry.
    None,
    /// It answers far less than others: it is used where no other is left.
    Poor,
    /// Nothing is wrong with it.
    Good,
}

/// One of them.
pub(super) struct Stripe {
    pub(super) address: InboxAddress,
    reach: Reach,
    usable: bool,
    /// Records of ours that lie there or are on their way.
    cells: u32,
    refusals: u32,
    not_before: Instant,
    /// Counts what was stored there: the order of storing.
    stored: u64,
    /// Newest place in that order that is confirmed.
    confirmed: u64,
    /// Records of other inboxes that were confirmed since the last of this one, or since something lies here.
    passed: u64,
    /// They were too many: until something is confirmed, one cell at a time asks.
    silent: bool,
}

impl Stripe {
    fn new(address: InboxAddress) -> Self {
        Self {
            address,
            reach: Reach::None,
            usable: false,
            cells: 0,
            refusals: 0,
            not_before: Instant::ZERO,
            stored: 0,
            confirmed: 0,
            passed: 0,
            silent: false,
        }
    }

    /// A record is there no more, or not on its way there.
    pub(super) fn give_back(&mut self) {
        self.cells = self.cells.saturating_sub(1);
    }

    /// A record is there. Gives its place in the order of storing.
    pub(super) fn store(&mut self) -> u64 {
        self.refusals = 0;
        self.stored += 1;
        self.stored
    }

    /// A record that was stored at this place was read by the receiver.
    pub(super) fn confirm(&mut self, order: u64) {
        self.give_back();
        self.confirmed = self.confirmed.max(order);
    }

    /// A record was refused there, or nothing was heard.
    pub(super) fn refuse(&mut self, now: Instant) {
        let wait = RETRY.0.saturating_mul(1 << self.refusals.min(20));
        // Those that left before the first refusal say nothing new.
        if self.not_before <= now {
            self.refusals += 1;
            self.not_before = now + wait.min(RETRY.1);
        }
    }
}

/// All of them, in the order of the newest accept.
#[derive(Default)]
pub(super) struct Inboxes(Vec<Stripe>);

impl Inboxes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, inbox: &InboxId) -> Option<&Stripe> {
        self.0.iter().find(|s| s.address.inbox == *inbox)
    }

    pub(super) fn get_mut(&mut self, inbox: &InboxId) -> Option<&mut Stripe> {
        self.0.iter_mut().find(|s| s.address.inbox == *inbox)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &InboxAddress> {
        self.0.iter().map(|s| &s.address)
    }

    /// Newest place in the order of storing that is confirmed, of each.
    pub(super) fn confirmed(&self) -> BTreeMap<InboxId, u64> {
        let confirmed = self.0.iter().map(|s| (s.address.inbox, s.confirmed));
        confirmed.collect()
    }

    /// When those that wait after a refusal are of use again.
    pub(super) fn paused(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let paused = self.0.iter().filter(|s| s.usable).map(|s| s.not_before);
        paused.filter(move |at| *at > now)
    }

    /// The state of gateways changed. Gives those that are of no use now.
    pub(super) fn see(&mut self, reach: &dyn Fn(&NodeId) -> Reach) -> BTreeSet<InboxId> {
        for stripe in &mut self.0 {
            stripe.reach = reach(&stripe.address.gateway);
        }
        let any_good = self.0.iter().any(|s| s.reach == Reach::Good);
        let mut gone = BTreeSet::new();
        for stripe in &mut self.0 {
            stripe.usable = match stripe.reach {
                Reach::None => false,
                Reach::Poor => !any_good,
                Reach::Good => true,
            };
            if !stripe.usable {
                gone.insert(stripe.address.inbox);
            }
        }
        gone
    }

    /// The newest list: those that stay keep their state. Gives those that go.
    pub(super) fn replace(&mut self, addresses: &[InboxAddress]) -> BTreeSet<InboxId> {
        let mut old = std::mem::take(&mut self.0);
        for address in addresses {
            if self.get(&address.inbox).is_some() {
                continue;
            }
            let known = old.iter().position(|s| s.address == *address);
            self.0.push(match known {
                Some(place) => old.swap_remove(place),
                None => Stripe::new(address.clone()),
            });
        }
        // The same inbox with another token is another stripe.
        old.iter().map(|s| s.address.inbox).collect()
    }

    /// Where a record goes: to its own stripe, one further with each attempt; or else to the emptiest. `under_way`
    /// counts records with bytes, `window` is the most that may lie in one.
    pub(super) fn place(
        &self,
        (index, attempts): (u32, u8),
        window: u32,
        under_way: impl Fn(&InboxId) -> usize,
        now: Instant,
    ) -> Option<usize> {
        let free = |s: &Stripe| {
            // After a refusal one asks.
            let most = if s.refusals == 0 { UNDER_WAY_MAX } else { 1 };
            let window = if s.silent { 1 } else { window };
            s.usable
                && s.not_before <= now
                && s.cells < window
                && under_way(&s.address.inbox) < most
        };
        let count = self.0.len();
        let own = (index as usize).checked_add(usize::from(attempts))?;
        let own = own.checked_rem(count)?;
        if free(&self.0[own]) {
            return Some(own);
        }
        let others = (0..count).filter(|i| free(&self.0[*i]));
        others.min_by_key(|i| self.0[*i].cells)
    }

    /// A record is to go to the one at this place.
    pub(super) fn take(&mut self, place: usize) -> InboxId {
        let stripe = &mut self.0[place];
        stripe.cells += 1;
        stripe.address.inbox
    }

    /// So many records of each were confirmed. Gives those of which nothing is confirmed while much of others is:
    /// its gateway is gone, or the receiver does not read it, and did not say so yet. `lies` says whether something is
    /// stored there.
    pub(super) fn notice_silent(
        &mut self,
        confirmed: &BTreeMap<InboxId, u64>,
        lies: impl Fn(&InboxId) -> bool,
    ) -> BTreeSet<InboxId> {
        let all: u64 = confirmed.values().sum();
        let mut silent = BTreeSet::new();
        for stripe in &mut self.0 {
            let inbox = stripe.address.inbox;
            if confirmed.contains_key(&inbox) {
                (stripe.passed, stripe.silent) = (0, false);
            } else if lies(&inbox) {
                stripe.passed += all;
            } else {
                stripe.passed = 0;
            }
            if stripe.passed > SILENT {
                (stripe.passed, stripe.silent) = (0, true);
                silent.insert(inbox);
            }
        }
        silent
    }
}
