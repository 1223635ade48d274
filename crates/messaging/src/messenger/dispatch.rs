//! Which cell goes where, and the orders that say so. Not here: which messages there are and how
//! they end ([`super::outgoing`]), and the step from one candidate to the next ([`super::path`]).

use super::contacts::{Contact, Pair, Parcel, ParcelState};
use super::{Messenger, View};
use crate::identity::ContactId;
use crate::order::{DepositHandle, FlowKind, Order};
use crate::pair::Periods;
use std::collections::{BTreeMap, VecDeque};
use wire::ids::InboxAddress;
use wire::keys::IdentityPublic;
use wire::time::{Instant, UnixTime};

/// Which parcel an attempt carries.
#[derive(Clone, Copy)]
pub(super) enum What {
    Hello(ContactId, usize),
    Text(ContactId, u64),
}

/// Orders, and the attempts they make.
#[derive(Default)]
pub(super) struct Dispatch {
    pub(super) attempts: BTreeMap<DepositHandle, What>,
    next: u64,
    pub(super) orders: VecDeque<Order>,
}

impl Dispatch {
    fn deposit(&mut self, what: What, parcel: &mut Parcel, address: &InboxAddress, now: Instant) {
        let handle = DepositHandle(self.next);
        self.next += 1;
        self.attempts.insert(handle, what);
        self.orders.push_back(Order::Deposit {
            handle,
            address: address.clone(),
            cell_id: parcel.cell_id,
            cell: parcel.cell.clone(),
            flow: FlowKind::Chat,
            peer: 0,
        });
        parcel.state = ParcelState::UnderWay {
            handle,
            address: address.clone(),
            ordered: now,
            sent: None,
        };
    }

    /// Takes a parcel back; it waits again.
    pub(super) fn withdraw(&mut self, parcel: &mut Parcel) {
        if let ParcelState::UnderWay { handle, .. } = parcel.state {
            self.attempts.remove(&handle);
            self.orders.push_back(Order::Cancel { handle });
            parcel.state = ParcelState::Waiting;
        }
    }
}

impl Messenger {
    /// Takes back what is under way to gateways that are gone, or that are our entry now.
    pub(super) fn withdraw_unusable(&mut self) {
        let Some(view) = &self.view else {
            return;
        };
        for contact in self.contacts.values_mut() {
            let hello = contact.hello.iter_mut().flat_map(|h| &mut h.parcels);
            for parcel in contact.outbox.values_mut().chain(hello) {
                if let ParcelState::UnderWay { address, .. } = &parcel.state
                    && !view.usable(&address.gateway)
                {
                    self.dispatch.withdraw(parcel);
                }
            }
        }
    }

    /// Orders deposits for one contact, as far as path and window allow.
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
                for (index, parcel) in hello.parcels.iter_mut().enumerate() {
                    if parcel.is_waiting() {
                        let what = What::Hello(*id, index);
                        self.dispatch.deposit(what, parcel, target, now);
                    }
                }
            }
            if hello.holds_texts && !confirmed {
                return;
            }
        }
        if contact.outbox.is_empty() || now < contact.path.not_before() {
            return;
        }
        let derive = || text_candidates(&contact.identity, &contact.pairs, view, unix);
        let list = contact.candidates.get_or_insert_with(derive);
        let Some(target) = contact.path.target(list) else {
            return;
        };
        let window = contact.path.window();
        for (seq, parcel) in contact.outbox.iter_mut().take(window) {
            if parcel.is_waiting() {
                let what = What::Text(*id, *seq);
                self.dispatch.deposit(what, parcel, target, now);
            }
        }
    }
}

/// The invite's inboxes that are of use to us.
pub(super) fn hello_candidates(
    invites: &[InboxAddress; 2],
    view: Option<&View>,
) -> Vec<InboxAddress> {
    let usable = |a: &&InboxAddress| view.is_some_and(|v| v.usable(&a.gateway));
    invites.iter().filter(usable).cloned().collect()
}

/// Where a contact may read, best first: the ranking of each secret in turn, without our entry.
fn text_candidates(
    reader: &IdentityPublic,
    pairs: &[Pair],
    view: &View,
    unix: UnixTime,
) -> Vec<InboxAddress> {
    let period = Periods(&view.directory).at(unix);
    let of_pair = |pair: &Pair| {
        let ranking = pair.secret.ranking(reader, period, &view.directory);
        let usable = ranking.into_iter().filter(|g| view.usable(g));
        usable
            .map(|g| pair.secret.address(reader, period, g))
            .collect::<Vec<_>>()
    };
    pairs.iter().flat_map(of_pair).collect()
}

impl Contact {
    /// Derive again where to write: the period or the directory changed.
    pub(super) fn forget_candidates(&mut self) {
        self.candidates = None;
    }
}
