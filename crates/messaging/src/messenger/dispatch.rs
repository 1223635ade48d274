//! Which cell goes where, and the orders that say so. Not here: which messages there are and how
//! they end ([`super::outgoing`], [`super::delivery`]), and the step from one candidate to the next
//! ([`super::path`]).
//!
//! A contact's cells leave one by one: few are ordered ahead of their tick, so that a short text never
//! waits behind a long one, and messages take turns. Cells of long messages go to both inboxes that
//! the contact reads, as it fetches from either as often; everything else goes to one.

use super::contacts::{Candidates, Contact, Pair, UnderWay, Way};
use super::notes::NoteName;
use super::{Messenger, View};
use crate::identity::{ContactId, Identity};
use crate::order::{DepositHandle, FlowKind, Order};
use crate::pair::{Periods, expand};
use crate::suite1;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wire::ids::{CellId, InboxAddress, InboxId, NetworkId, NodeId};
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::rng::KeyRng;
use wire::time::{Instant, UnixTime};

/// Cells of one contact that are ordered and have not left: enough that no tick finds none.
const READY_MAX: usize = 4;

/// Which cell an attempt carries.
#[derive(Clone, Copy)]
pub(super) enum What {
    Hello(ContactId, usize),
    Cell(ContactId, u64, u16),
    Note(ContactId, NoteName),
    Record(ContactId, u64, u32),
}

/// Where a cell waits for its turn.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) flow: FlowKind,
    pub(super) peer: u64,
}

impl Turn {
    pub(super) fn of(contact: &ContactId, flow: FlowKind) -> Self {
        let [peer @ .., _, _, _, _, _, _, _, _] = contact.0;
        let peer = u64::from_be_bytes(peer);
        Self { flow, peer }
    }
}

/// Orders, and the attempts they make.
#[derive(Default)]
pub(super) struct Dispatch {
    pub(super) attempts: BTreeMap<DepositHandle, What>,
    next: u64,
    pub(super) orders: VecDeque<Order>,
}

impl Dispatch {
    /// Orders a cell.
    pub(super) fn deposit(
        &mut self,
        what: What,
        turn: Turn,
        (cell_id, cell): (CellId, Cell),
        address: &InboxAddress,
        now: Instant,
    ) -> Way {
        let handle = DepositHandle(self.next);
        self.next += 1;
        self.attempts.insert(handle, what);
        self.orders.push_back(Order::Deposit {
            handle,
            address: address.clone(),
            cell_id,
            cell,
            flow: turn.flow,
            peer: turn.peer,
        });
        Way::Under(UnderWay {
            handle,
            address: address.clone(),
            ordered: now,
            sent: None,
        })
    }

    /// Takes a cell back; it waits again.
    pub(super) fn withdraw(&mut self, way: &mut Way) {
        if let Way::Under(under) = way {
            let handle = under.handle;
            self.attempts.remove(&handle);
            self.orders.push_back(Order::Cancel { handle });
            *way = Way::Waiting;
        }
    }
}

/// Who seals what, for one contact.
pub(super) struct Sealer<'a> {
    pub(super) network: &'a NetworkId,
    pub(super) own: &'a Identity,
}

impl Sealer<'_> {
    /// The one cell of a short message or of a note.
    pub(super) fn one_cell(
        &self,
        to: &Contact,
        inner: &[u8],
        mut rng: KeyRng,
    ) -> Option<(CellId, Cell)> {
        let (network, own) = (self.network, self.own);
        let sealed = suite1::seal(network, own, &to.identity, &to.kem, inner, &mut rng);
        let cell = sealed.ok()?.cells.into_iter().next()?;
        Some((CellId(rng.bytes()), cell))
    }

    /// A cell of a message, as it is at this inbox in this attempt whenever it is made.
    fn cell(&self, to: &Contact, seq: u64, index: u16, at: &InboxId) -> Option<(CellId, Cell)> {
        let (message, sent) = (to.outbox.get(&seq)?, to.sent.get(&seq)?);
        let active = message.active.as_ref()?;
        if let Some(pieces) = &active.pieces {
            let key = to.candidates.as_ref()?.keys.get(at)?;
            return pieces.cell(key, at, &sent.message_id, sent.attempt, index);
        }
        let attempt = sent.attempt.to_be_bytes();
        let label = [b"mizzle-own-cell-v1", &at.0[..], &attempt].concat();
        let rng = KeyRng::from_seed(*expand(&message.seed, &label));
        self.one_cell(to, &message.inner, rng)
    }
}

impl Messenger {
    /// Takes back what is under way to gateways that are gone, that are our entry now, or that fail.
    pub(super) fn withdraw_unusable(&mut self) {
        let Some(view) = &self.view else {
            return;
        };
        for contact in self.contacts.values_mut() {
            let gone = |way: &&mut Way| {
                let at = way.under_way().map(|u| u.address.gateway);
                at.is_some_and(|gateway| !view.usable(&gateway) || view.failing.contains(&gateway))
            };
            let hello = contact.hello.iter_mut().flat_map(|h| &mut h.parcels);
            for way in hello.map(|p| &mut p.way).filter(gone) {
                self.dispatch.withdraw(way);
            }
            for way in contact.ways_mut().filter(gone) {
                self.dispatch.withdraw(way);
            }
        }
    }

    /// Orders deposits for one contact, as far as paths and windows allow.
    pub(super) fn pump(&mut self, id: &ContactId, now: Instant, unix: UnixTime) {
        let (Some(view), Some(contact)) = (&self.view, self.contacts.get_mut(id)) else {
            return;
        };
        let confirmed = contact.is_confirmed();
        if let Some(hello) = &mut contact.hello {
            let list = hello_candidates(&hello.invites, Some(view));
            if let Some(target) = hello.path.target(&list)
                && hello.path.not_before() <= now
            {
                let turn = Turn::of(id, FlowKind::Chat);
                for (index, parcel) in hello.parcels.iter_mut().enumerate() {
                    if parcel.way.is_waiting() {
                        let (what, cell) = (What::Hello(*id, index), parcel.cell.clone());
                        let cell = (parcel.cell_id, cell);
                        parcel.way = self.dispatch.deposit(what, turn, cell, target, now);
                    }
                }
            }
            if hello.holds_texts && !confirmed {
                return;
            }
        }
        if contact.outbox.is_empty() && contact.notes.by_name.is_empty() {
            return;
        }
        if contact.candidates.is_none() {
            let candidates = derive_candidates(contact, view, unix);
            // It may have begun to fail while nothing had to be said, and nobody knew what the target was.
            let fails = |gateway: &NodeId| view.failing.contains(gateway);
            contact.leave(&candidates.list, fails);
            contact.candidates = Some(candidates);
        }
        let sealer = Sealer {
            network: &self.config.network,
            own: &self.identity,
        };
        let turn = |flow| Turn::of(id, flow);
        while let Some(name) = contact.notes.next() {
            let Some(address) = contact.lane(false, now) else {
                break;
            };
            let rng = KeyRng::from_seed(self.keys.bytes());
            let note = contact.notes.by_name.get(&name);
            let cell = note.and_then(|n| sealer.one_cell(contact, &n.inner, rng));
            let (Some(cell), what) = (cell, What::Note(*id, name)) else {
                contact.notes.by_name.remove(&name);
                continue;
            };
            let turn = turn(FlowKind::Control);
            let way = self.dispatch.deposit(what, turn, cell, &address, now);
            if let Some(note) = contact.notes.by_name.get_mut(&name) {
                note.way = way;
            }
        }
        while contact.unleft() < READY_MAX {
            let next = contact.next_cell();
            let Some((seq, index)) = next else {
                break;
            };
            let long = contact.outbox.get(&seq).and_then(|m| m.active.as_ref());
            let long = long.is_some_and(|a| a.pieces.is_some());
            let Some(address) = contact.lane(long, now) else {
                break;
            };
            let Some(cell) = sealer.cell(contact, seq, index, &address.inbox) else {
                break;
            };
            let what = What::Cell(*id, seq, index);
            let turn = turn(FlowKind::Chat);
            let way = self.dispatch.deposit(what, turn, cell, &address, now);
            contact.turn.1 = seq;
            if let Some(place) = contact.way_mut(seq, index) {
                *place = way;
            }
        }
    }
}

impl Contact {
    /// Messages' cells that are ordered and have not left.
    fn unleft(&self) -> usize {
        let active = self.outbox.values().filter_map(|m| m.active.as_ref());
        let cells = active.flat_map(|a| &a.cells);
        cells.filter(|c| c.is_unleft()).count()
    }

    /// Where the next cell may go now: to the path's target, or, of a long message, to the second
    /// path's in turn with it.
    fn lane(&mut self, long: bool, now: Instant) -> Option<InboxAddress> {
        let mut load: BTreeMap<InboxId, usize> = BTreeMap::new();
        for under in self.under_way() {
            *load.entry(under.address.inbox).or_default() += 1;
        }
        let at = |a: &InboxAddress| load.get(&a.inbox).copied().unwrap_or(0);
        let list = &self.candidates.as_ref()?.list;
        let [path, second] = &mut self.paths;
        let first = path.target(list)?;
        if long && path.is_proven() {
            let rest = without(list, &first.inbox);
            if let Some(other) = second.target(&rest)
                && second.not_before() <= now
                && at(other) < second.window()
                && (!second.is_proven() || at(other) < at(first))
            {
                return Some(other.clone());
            }
        }
        // While nobody knows whether anything is taken there, one cell asks.
        let asked = match path.is_proven() {
            true => at(first),
            false => load.values().sum(),
        };
        (path.not_before() <= now && asked < path.window()).then(|| first.clone())
    }

    /// The paths hear that a cell was stored.
    pub(super) fn path_stored(&mut self, at: &InboxId) {
        self.paths.iter_mut().for_each(|p| p.stored(at));
    }

    /// The paths hear that a cell was refused, or that nothing came back.
    pub(super) fn path_refused(
        &mut self,
        at: &InboxId,
        now: Instant,
        waits: (std::time::Duration, std::time::Duration),
    ) {
        let list = self.candidates.as_ref().map(|c| &c.list[..]);
        let list = list.unwrap_or_default();
        let [path, second] = &mut self.paths;
        let first = path.target(list).map(|a| a.inbox);
        path.refused(at, list, now, waits);
        let rest = first.map_or_else(Vec::new, |first| without(list, &first));
        second.refused(at, &rest, now, waits);
    }

    /// A sign of life from the contact: try again at once.
    pub(super) fn restart_paths(&mut self) {
        self.paths.iter_mut().for_each(super::path::Path::restart);
    }

    /// The place of a message's cell.
    pub(super) fn way_mut(&mut self, seq: u64, index: u16) -> Option<&mut Way> {
        let active = self.outbox.get_mut(&seq)?.active.as_mut()?;
        active.cells.get_mut(usize::from(index))
    }

    /// Derive again where to write: the period, the directory or what fails changed.
    pub(super) fn forget_candidates(&mut self, failing: &BTreeSet<NodeId>) {
        let is_bad = |gateway: &NodeId| failing.contains(gateway);
        if let Some(candidates) = self.candidates.take() {
            self.leave(&candidates.list, is_bad);
        }
        if let Some(hello) = &mut self.hello {
            hello.path.leave(&hello.invites, is_bad);
        }
    }

    /// Paths start at the best again where their present target is bad.
    fn leave(&mut self, list: &[InboxAddress], is_bad: impl Fn(&NodeId) -> bool) {
        for path in &mut self.paths {
            path.leave(list, &is_bad);
        }
    }

    /// Whether something waits for a path.
    pub(super) fn wants_path(&self) -> bool {
        let active = self.outbox.values().filter_map(|m| m.active.as_ref());
        let mut unsettled = active.filter(|a| a.settled.is_none());
        !self.notes.by_name.is_empty()
            || unsettled.next().is_some()
            || self.outbox.values().any(|m| m.active.is_none())
    }
}

fn without(list: &[InboxAddress], inbox: &InboxId) -> Vec<InboxAddress> {
    list.iter().filter(|a| a.inbox != *inbox).cloned().collect()
}

/// The invite's inboxes that are of use to us.
pub(super) fn hello_candidates(
    invites: &[InboxAddress; 2],
    view: Option<&View>,
) -> Vec<InboxAddress> {
    let Some(view) = view else {
        return Vec::new();
    };
    let usable = invites.iter().filter(|a| view.usable(&a.gateway));
    let usable: Vec<InboxAddress> = usable.cloned().collect();
    failing_last(usable, &view.failing)
}

/// Those that fail come last: that is our own view only.
fn failing_last(list: Vec<InboxAddress>, failing: &BTreeSet<NodeId>) -> Vec<InboxAddress> {
    let fails = |a: &InboxAddress| failing.contains(&a.gateway);
    let (last, mut first): (Vec<_>, Vec<_>) = list.into_iter().partition(fails);
    first.extend(last);
    first
}

fn derive_candidates(contact: &Contact, view: &View, unix: UnixTime) -> Candidates {
    let (reader, pairs) = (&contact.identity, &contact.pairs);
    let list = text_candidates(reader, pairs, view, unix);
    let mut keys = BTreeMap::new();
    for (address, pair) in &list {
        let key = pairs[*pair].secret.fragment_key(reader);
        keys.insert(address.inbox, key);
    }
    let list = list.into_iter().map(|(address, _)| address).collect();
    Candidates {
        list: failing_last(list, &view.failing),
        keys,
    }
}

/// Where a contact may read, best first: the ranking of each secret in turn, without our entry.
fn text_candidates(
    reader: &IdentityPublic,
    pairs: &[Pair],
    view: &View,
    unix: UnixTime,
) -> Vec<(InboxAddress, usize)> {
    let period = Periods(&view.directory).at(unix);
    let of_pair = |(index, pair): (usize, &Pair)| {
        let ranking = pair.secret.ranking(reader, period, &view.directory);
        let usable = ranking.into_iter().filter(|g| view.usable(g));
        let address = |g| (pair.secret.address(reader, period, g), index);
        usable.map(address).collect::<Vec<_>>()
    };
    pairs.iter().enumerate().flat_map(of_pair).collect()
}
