//! What a gateway answers: every request gets exactly one reply, at the moment its sender drew.
//! What must be durable before it is answered waits here for the store.

use super::inboxes::{self, Outcome};
use super::{Gateway, GatewayEvent};
use crate::transmit::{Peer, Transmit};
use sphinx::{DiscardReason, PacketFormat};
use wire::frame::Frame;
use wire::ids::{CellId, NextHop};
use wire::request::{
    Answer, Cell, DIRECTORY_CHUNK_LEN, DirectoryRequest, Envelope, Plaintext, Reply, Request,
    SurbBytes,
};
use wire::time::Instant;

/// Most requests whose answer waits for the disk; one more is refused.
const STORE_WAITING_MAX: usize = 8_192;

/// A reply that waits for its answer.
pub(super) struct Waiter {
    surb: SurbBytes,
    due: Instant,
    then: Then,
}

enum Then {
    Stored,
    Opened { ttl_secs: u32 },
    Closed,
    Read { cell_id: CellId, remaining: u16 },
}

impl<F: PacketFormat> Gateway<F> {
    pub(super) fn handle_request(
        &mut self,
        plaintext: &Plaintext,
        received_at: Instant,
        now: Instant,
    ) {
        let Some(directory) = self.hop.view.current(now).cloned() else {
            self.hop.discard(DiscardReason::NoDirectory);
            return;
        };
        let (surb, delay, request) = match Envelope::decode(plaintext) {
            Ok(envelope) => (envelope.surb, envelope.reply_delay, Some(envelope.request)),
            Err(unreadable) => (unreadable.surb, unreadable.reply_delay, None),
        };
        if delay > directory.parameters.delay_bound() {
            self.hop.discard(DiscardReason::DelayTooLong);
            return;
        }
        let due = received_at + directory.parameters.hop_allowance + delay;
        let Some(request) = request else {
            self.reply(&surb, Answer::Unreadable, due, now);
            return;
        };
        let context = inboxes::Context {
            gateway: self.hop.id(),
            directory: &directory,
            epoch: self.hop.view.epoch_at(now),
            unix: self.hop.view.unix_at(now),
            now,
        };
        let outcome = if self.waiting.len() >= STORE_WAITING_MAX {
            Outcome::Answer(Answer::Refused)
        } else {
            match request {
                Request::Cover => Outcome::Answer(Answer::Done),
                Request::Deposit(d) => self.inboxes.deposit(d, context),
                Request::Fetch(f) => self.inboxes.fetch(&f, context),
                Request::Open(o) => self.inboxes.open(&o, context),
                Request::Close(c) => self.inboxes.close(&c, context),
                Request::Directory(d) => {
                    Outcome::Answer(self.directory_part(&d).unwrap_or(Answer::Refused))
                }
            }
        };
        self.forward_store_ops();
        self.settle(outcome, surb, due, now);
    }

    /// Store orders that need no answer (acknowledged cells).
    pub(super) fn forward_store_ops(&mut self) {
        while let Some(op) = self.inboxes.poll_op() {
            let ticket = self.ticket();
            self.events.push_back(GatewayEvent::Store { ticket, op });
        }
    }

    fn settle(&mut self, outcome: Outcome, surb: SurbBytes, due: Instant, now: Instant) {
        let (ticket, then) = match outcome {
            Outcome::Answer(answer) => return self.reply(&surb, answer, due, now),
            Outcome::Store { op, cell } => {
                let ticket = self.ticket();
                if let Some((key, id)) = cell {
                    self.inboxes.set_ticket(key, id, ticket);
                }
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Stored)
            }
            Outcome::AlreadyStoring(ticket) => (ticket, Then::Stored),
            Outcome::Open { op, ttl_secs } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Opened { ttl_secs })
            }
            Outcome::Close { op } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Closed)
            }
            Outcome::Read {
                key,
                sequence,
                cell_id,
                remaining,
            } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Read {
                    ticket,
                    key,
                    sequence,
                });
                (ticket, Then::Read { cell_id, remaining })
            }
        };
        self.waiting
            .entry(ticket)
            .or_default()
            .push(Waiter { surb, due, then });
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn directory_part(&self, request: &DirectoryRequest) -> Option<Answer> {
        let document = self
            .documents
            .values()
            .find(|d| d.directory.hash() == request.hash)?;
        let mut chunks = document.bytes.chunks(DIRECTORY_CHUNK_LEN);
        let parts = u16::try_from(chunks.len()).ok()?;
        let bytes = chunks.nth(usize::from(request.part))?.to_vec();
        Some(Answer::Directory {
            part: request.part,
            parts,
            bytes,
        })
    }

    /// The store did what [`GatewayEvent::Store`] asked, durably, or could not.
    pub fn handle_stored(&mut self, ticket: u64, durable: bool, now: Instant) {
        self.inboxes.handle_stored(ticket, durable);
        for waiter in self.waiting.remove(&ticket).unwrap_or_default() {
            let answer = match (durable, waiter.then) {
                (false, _) | (true, Then::Read { .. }) => Answer::Refused,
                (true, Then::Stored) => Answer::Stored,
                (true, Then::Opened { ttl_secs }) => Answer::Opened { ttl_secs },
                (true, Then::Closed) => Answer::Done,
            };
            self.reply(&waiter.surb, answer, waiter.due, now);
        }
    }

    /// The store read what [`GatewayEvent::Read`] asked for; `None` when it is not there any more.
    pub fn handle_read(&mut self, ticket: u64, cell: Option<Cell>, now: Instant) {
        for waiter in self.waiting.remove(&ticket).unwrap_or_default() {
            let answer = match (waiter.then, cell.clone()) {
                (Then::Read { cell_id, remaining }, Some(cell)) => Answer::Cell {
                    remaining,
                    cell_id,
                    cell,
                },
                (Then::Read { .. }, None) => Answer::Empty,
                (Then::Stored | Then::Opened { .. } | Then::Closed, _) => Answer::Refused,
            };
            self.reply(&waiter.surb, answer, waiter.due, now);
        }
    }

    /// The one reply to one request, at its moment, or at once where the disk was slower than that.
    fn reply(&mut self, surb: &SurbBytes, answer: Answer, due: Instant, now: Instant) {
        let Some(directory) = self.hop.view.current(now) else {
            self.hop.discard(DiscardReason::NoDirectory);
            return;
        };
        let reply = Reply {
            epoch: directory.epoch,
            directory: directory.hash(),
            answer,
        };
        match F::use_surb(surb, &reply.encode()) {
            Ok((NextHop::Node { id, epoch }, packet)) if self.hop.check_adjacent(&id).is_ok() => {
                let frame = Frame::Packet(epoch, packet);
                self.queue(Transmit {
                    to: Peer::Node(id),
                    at: due,
                    frame,
                });
            }
            Ok(_) => self.hop.discard(DiscardReason::BadSurb),
            Err(reason) => self.hop.discard(reason),
        }
    }
}
