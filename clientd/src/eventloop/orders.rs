//! The Messenger's orders become the Client's, and the Client's events the Messenger's outcomes.

use messaging::{DepositHandle, DepositOutcome, FlowKind, InboxClass, InboxOutcome, Order};
use mizzle_core::client::{
    Client, ClientEvent, DepositOrder, FetchClass, Flow, FlowClass, OpenOrder,
};
use sphinx::Sphinx;
use std::collections::VecDeque;
use std::time::Duration;
use wire::keys::IdentitySecret;
use wire::time::Instant;

/// Orders for which the Client has no room yet, in their order. Bounded by the Messenger's limits:
/// so many messages for each contact, so many inboxes.
#[derive(Default)]
pub(super) struct Orders {
    waiting: VecDeque<Order>,
}

impl Orders {
    /// Takes durable orders. What needs no room is done at once.
    pub(super) fn add(&mut self, orders: Vec<Order>, client: &mut Client<Sphinx>) {
        for order in orders {
            match order {
                Order::Acknowledge { inbox, cell_id } => client.handle_acknowledge(inbox, cell_id),
                Order::Cancel { handle } => {
                    let other = |o: &Order| !is_deposit(o, handle);
                    self.waiting.retain(other);
                    client.handle_cancel(handle.0);
                }
                Order::Deposit { .. }
                | Order::Open(_)
                | Order::Class { .. }
                | Order::Close { .. } => {
                    self.waiting.push_back(order);
                }
            }
        }
    }

    /// Hands over what there is room for. The rest keeps its order.
    pub(super) fn place(&mut self, client: &mut Client<Sphinx>, outbox_max: usize, now: Instant) {
        loop {
            let (waiting, on_their_way) = client.outbox_len();
            if waiting + on_their_way >= outbox_max {
                return;
            }
            let Some(order) = self.waiting.pop_front() else {
                return;
            };
            hand_over(order, client, now);
        }
    }
}

fn hand_over(order: Order, client: &mut Client<Sphinx>, now: Instant) {
    let taken = match order {
        Order::Deposit {
            handle,
            address,
            cell_id,
            cell,
            flow,
            peer,
        } => {
            let order = DepositOrder {
                handle: handle.0,
                address,
                cell_id,
                cell,
                flow: Flow {
                    class: flow_class(flow),
                    peer,
                },
            };
            client.handle_deposit(order, now)
        }
        Order::Open(own) => {
            let order = OpenOrder {
                gateway: own.gateway,
                inbox: own.inbox,
                reader: IdentitySecret::from_seed(&own.reader_seed),
                token_hash: own.token_hash,
                ttl_secs: u32::try_from(own.ttl.as_secs()).unwrap_or(u32::MAX),
                class: fetch_class(own.class),
            };
            client.handle_open(order, now)
        }
        Order::Class { inbox, class } => {
            client.handle_class(inbox, fetch_class(class), now);
            true
        }
        Order::Close { inbox, .. } => {
            client.handle_close(inbox, now);
            true
        }
        Order::Acknowledge { inbox, cell_id } => {
            client.handle_acknowledge(inbox, cell_id);
            true
        }
        Order::Cancel { handle } => {
            client.handle_cancel(handle.0);
            true
        }
    };
    if !taken {
        // The Messenger orders it again when no outcome comes.
        tracing::warn!("an order was refused: too many inboxes; fewer contacts would help");
    }
}

fn flow_class(kind: FlowKind) -> FlowClass {
    match kind {
        FlowKind::Control => FlowClass::Control,
        FlowKind::Chat => FlowClass::Chat,
        FlowKind::Bulk => FlowClass::Bulk,
    }
}

fn fetch_class(class: InboxClass) -> FetchClass {
    match class {
        InboxClass::Favourite => FetchClass::Favourite,
        InboxClass::Contact => FetchClass::Contact,
        InboxClass::Bulk => FetchClass::Bulk,
    }
}

fn is_deposit(order: &Order, wanted: DepositHandle) -> bool {
    match order {
        Order::Deposit { handle, .. } => *handle == wanted,
        Order::Open(_)
        | Order::Class { .. }
        | Order::Close { .. }
        | Order::Acknowledge { .. }
        | Order::Cancel { .. } => false,
    }
}

/// What became of a deposit.
pub(super) fn deposit_outcome(event: &ClientEvent) -> Option<(DepositHandle, DepositOutcome)> {
    let (handle, outcome) = match event {
        ClientEvent::Mixing(handle) => (handle, DepositOutcome::Mixing),
        ClientEvent::Stored(handle) => (handle, DepositOutcome::Stored),
        ClientEvent::Refused(handle) => (handle, DepositOutcome::Refused),
        ClientEvent::Opened(..)
        | ClientEvent::InboxRefused(_)
        | ClientEvent::Cell(..)
        | ClientEvent::SplitView { .. }
        | ClientEvent::OtherDirectory { .. }
        | ClientEvent::SplitUnproven { .. }
        | ClientEvent::GatewayFailing(_)
        | ClientEvent::GatewayBack(_) => return None,
    };
    Some((DepositHandle(*handle), outcome))
}

/// An inbox stands.
pub(super) fn opened(ttl_secs: u32) -> InboxOutcome {
    let ttl = Duration::from_secs(u64::from(ttl_secs));
    InboxOutcome::Opened { ttl }
}
