//! What comes back: the reply to one of this client's own reply blocks, each good once.

use super::outbox::Outgoing;
use super::{Client, ClientEvent, Errand};
use sphinx::{DiscardReason, PacketFormat, Unwrapped};
use wire::frame::PacketBytes;
use wire::request::{Answer, Reply};
use wire::time::Instant;

impl<F: PacketFormat> Client<F> {
    /// A packet from the entry gateway.
    pub fn handle_packet(&mut self, packet: &PacketBytes, now: Instant) {
        let (surb, payload) = match F::unwrap(&self.secret, packet) {
            Ok(Unwrapped::Reply { surb, payload, .. }) => (surb, payload),
            Ok(Unwrapped::Forward { .. } | Unwrapped::Request { .. }) => {
                return self.counters.discards.count(DiscardReason::UnknownReply);
            }
            Err(reason) => return self.counters.discards.count(reason),
        };
        // Single use: a second reply by the same reply block finds nothing here.
        let waiting = self.pending.take(&surb);
        let overdue = waiting.is_none();
        let Some(waiting) = waiting.or_else(|| self.overdue.take(&surb)) else {
            return self.counters.discards.count(DiscardReason::UnknownReply);
        };
        let reply = F::open_reply(&waiting.recovery, payload)
            .and_then(|plaintext| Reply::decode(&plaintext).map_err(|_| DiscardReason::BadPayload));
        let gateway = waiting.what.gateway;
        let late = now.saturating_since(waiting.expected);
        match reply {
            Ok(reply) if overdue => {
                self.lateness.measured(late);
                self.losses.straggler(gateway);
                self.check_view(gateway, &reply);
                self.handle_reply(waiting.what.errand, reply.answer);
            }
            Ok(reply) => {
                self.lateness.measured(late);
                let news = self.losses.returned(gateway, late);
                self.tell(gateway, news);
                self.check_view(gateway, &reply);
                self.handle_reply(waiting.what.errand, reply.answer);
            }
            Err(reason) => {
                self.counters.discards.count(reason);
                if !overdue {
                    self.count_loss(&waiting.what);
                    self.put_back(waiting.what.errand);
                }
            }
        }
    }

    fn handle_reply(&mut self, errand: Errand, answer: Answer) {
        match errand {
            Errand::Cover | Errand::Loop => {}
            Errand::Send(Outgoing::Part(order)) => self.handle_part(order, answer),
            Errand::Send(outgoing) => self.handle_send_reply(outgoing, &answer),
            Errand::Fetch { inbox, acks } => match answer {
                Answer::Cell { cell_id, cell, .. } => {
                    self.inboxes.heard(&inbox, &acks);
                    if self.inboxes.fetched(&inbox, cell_id) {
                        self.events
                            .push_back(ClientEvent::Cell(inbox, cell_id, cell));
                    }
                }
                Answer::Empty => self.inboxes.heard(&inbox, &acks),
                Answer::Refused => {
                    if self.inboxes.refused(&inbox) {
                        self.events.push_back(ClientEvent::InboxRefused(inbox));
                    }
                }
                // No honest gateway answers so; the acknowledgements are said again.
                Answer::Done
                | Answer::Stored
                | Answer::Opened { .. }
                | Answer::Directory { .. }
                | Answer::Unreadable => self.inboxes.fetch_lost(&inbox, &acks),
            },
        }
    }

    fn handle_send_reply(&mut self, outgoing: Outgoing, answer: &Answer) {
        let event = match (&outgoing, answer) {
            (Outgoing::Deposit(d), Answer::Stored) => Some(ClientEvent::Stored(d.handle)),
            (Outgoing::Deposit(d), Answer::Refused | Answer::Unreadable) => {
                Some(ClientEvent::Refused(d.handle))
            }
            (Outgoing::Open(o), Answer::Opened { ttl_secs }) => {
                self.inboxes.opened(&o.inbox);
                Some(ClientEvent::Opened(o.inbox, *ttl_secs))
            }
            (Outgoing::Open(o), Answer::Refused | Answer::Unreadable) => {
                Some(ClientEvent::InboxRefused(o.inbox))
            }
            // Closed, or already gone: either way it is.
            (Outgoing::Close(_), Answer::Done | Answer::Refused) => None,
            (
                Outgoing::Deposit(_) | Outgoing::Open(_) | Outgoing::Close(_) | Outgoing::Part(_),
                _,
            ) => {
                return self.outbox.push_last(&outgoing);
            }
        };
        if self.outbox.done(&outgoing) {
            self.events.extend(event);
        }
    }
}
