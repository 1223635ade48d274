//! What applications are told, numbered and kept: the durable event log.
//!
//! [`History`] is the loop's end. It turns an event into rows of the batch that the event came from,
//! so that a message is told exactly once, and erases what everybody who may see it has
//! acknowledged. `reader` is the applications' end: it reads what is durable, at each reader's own
//! pace. A row lies in the vault of the conversation that it tells about: a wipe reaches it.
//!
//! At a limit (number, bytes, age) the oldest events go, and everybody who had not acknowledged one
//! of them is told how many they missed.

mod reader;
mod row;
#[cfg(test)]
mod tests;

use crate::api::types::ApiEvent;
use crate::apps::{App, OWNER, Place, Roster};
use messaging::ContactId;
pub(crate) use reader::{Durable, EventReader, Told};
use row::Row;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{ClientStore, StoreError, Write};
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Events by number. `messaging::Table` has the numbers up to 63.
pub(crate) const TABLE_EVENTS: u8 = 64;
/// One row: which events there are.
pub(crate) const TABLE_SPAN: u8 = 65;

const SPAN_KEY: &[u8] = b"span";

/// Which events are kept: those of `first..next` that were not acknowledged by all. Numbers begin at
/// 1 and are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// No older one is kept.
    pub(crate) first: u64,
    /// The one that will come next.
    pub(crate) next: u64,
    /// The newest that went at a limit; 0 for none.
    pub(crate) dropped: u64,
}

impl Span {
    /// The newest event's number; 0 before the first.
    pub(crate) fn last(self) -> u64 {
        self.next - 1
    }

    fn encode(self) -> Vec<u8> {
        [self.first, self.next, self.dropped]
            .map(u64::to_be_bytes)
            .concat()
    }

    /// Before there were applications a span had no `dropped`, and everything below `first` had gone
    /// at the limit.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes
            .chunks(8)
            .map(|c| c.try_into().map(u64::from_be_bytes));
        let first = numbers.next()?.ok()?;
        let next = numbers.next()?.ok()?;
        let dropped = match numbers.next() {
            Some(dropped) => dropped.ok()?,
            None => first.checked_sub(1)?,
        };
        let possible = numbers.next().is_none() && first >= 1 && first <= next && dropped < next;
        possible.then_some(Self {
            first,
            next,
            dropped,
        })
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistoryLimits {
    /// Events.
    pub(crate) events: u64,
    /// Bytes of all together.
    pub(crate) bytes: u64,
    /// How long.
    pub(crate) age: Duration,
}

/// What is remembered of an event that is kept.
struct Kept {
    bytes: u64,
    parts: u8,
    at: UnixTime,
    contact: Option<ContactId>,
}

/// The writing end.
pub(crate) struct History {
    span: Span,
    kept: BTreeMap<u64, Kept>,
    bytes: u64,
    roster: Arc<Roster>,
    limits: HistoryLimits,
    /// The newest event about how far a file has come, by contact and file: the next takes its place.
    progress: BTreeMap<(String, String), u64>,
}

impl History {
    /// Goes on where the store ends.
    pub(crate) fn restore(
        store: &ClientStore,
        limits: HistoryLimits,
        owner_listens: bool,
    ) -> Result<Self, StoreError> {
        let empty = Span {
            first: 1,
            next: 1,
            dropped: 0,
        };
        let span = match store.get(TABLE_SPAN, SPAN_KEY)? {
            None => empty,
            Some(bytes) => Span::decode(&bytes).ok_or(StoreError::Damaged {
                what: "the event log has an impossible span".into(),
            })?,
        };
        let mut history = Self {
            span,
            kept: BTreeMap::new(),
            bytes: 0,
            roster: Arc::new(Roster::restore(store, owner_listens)?),
            limits,
            progress: BTreeMap::new(),
        };
        for number in span.first..span.next {
            if let Some(value) = store.get(TABLE_EVENTS, &row::key(number, 0))? {
                // One that cannot be read is told as it is; what it takes is not known.
                let head = Row::head(&value);
                history.keep(number, head);
            }
        }
        Ok(history)
    }

    fn keep(&mut self, number: u64, head: Row) {
        self.bytes += head.bytes;
        let kept = Kept {
            bytes: head.bytes,
            parts: head.parts,
            at: head.at,
            contact: head.contact,
        };
        self.kept.insert(number, kept);
    }

    /// Adds events to the batch that they come from.
    pub(crate) fn append(&mut self, events: &[ApiEvent], unix: UnixTime, writes: &mut Vec<Write>) {
        let before = self.span;
        for event in events {
            let number = self.span.next;
            self.span.next += 1;
            if let Some(file) = event.progress_of()
                && let Some(old) = self.progress.insert(file, number)
            {
                self.erase(old, writes);
            }
            if let Some(file) = event.ends_progress_of()
                && let Some(old) = self.progress.remove(&file)
            {
                self.erase(old, writes);
            }
            let head = row::encode(number, event, unix, writes);
            self.keep(number, head);
        }
        self.trim(unix, writes);
        self.write_span(before, writes);
    }

    /// Drops what is too much or too old.
    fn trim(&mut self, unix: UnixTime, writes: &mut Vec<Write>) {
        while let Some((&number, oldest)) = self.kept.first_key_value() {
            let too_many = self.kept.len() as u64 > self.limits.events;
            // The newest is always told, however long it is.
            let too_large = self.bytes > self.limits.bytes && self.kept.len() > 1;
            let too_old = unix.saturating_since(oldest.at) > self.limits.age;
            if !(too_many || too_large || too_old) {
                return;
            }
            let readers: Vec<_> = self.roster.readers(oldest.contact).collect();
            for (id, place) in readers {
                if place.acknowledged < number {
                    let missed = place.missed + 1;
                    self.roster_mut()
                        .set_place(id, Place { missed, ..place }, writes);
                }
            }
            self.span.dropped = number;
            self.erase(number, writes);
        }
    }

    /// To be called now and then: drops what is too old.
    pub(crate) fn expire(&mut self, unix: UnixTime, writes: &mut Vec<Write>) {
        let before = self.span;
        self.trim(unix, writes);
        self.write_span(before, writes);
    }

    /// Somebody has dealt with all events up to `through`. Those that nobody waits for go. `false`:
    /// there is no such event yet.
    pub(crate) fn acknowledge(
        &mut self,
        reader: u32,
        through: u64,
        writes: &mut Vec<Write>,
    ) -> bool {
        let Some(place) = self.roster.place(reader) else {
            return false;
        };
        if through > self.span.last() {
            return false;
        }
        if through <= place.acknowledged {
            return true;
        }
        let before = self.span;
        let missed = if through >= self.span.dropped {
            0
        } else {
            place.missed.min(self.span.dropped - through)
        };
        let reached = Place {
            acknowledged: through,
            missed,
        };
        self.roster_mut().set_place(reader, reached, writes);
        let range = place.acknowledged + 1..=through;
        let candidates: Vec<u64> = self.kept.range(range).map(|(n, _)| *n).collect();
        self.erase_read(candidates, writes);
        self.write_span(before, writes);
        true
    }

    /// Erases those of `candidates` that all their readers have acknowledged.
    fn erase_read(&mut self, candidates: Vec<u64>, writes: &mut Vec<Write>) {
        let roster = self.roster.clone();
        for number in candidates {
            let contact = self.kept.get(&number).and_then(|k| k.contact);
            let mut readers = roster.readers(contact).peekable();
            // While there is nobody at all, an event waits for the first one.
            let read = readers.peek().is_some() && readers.all(|(_, p)| p.acknowledged >= number);
            if read {
                self.erase(number, writes);
            }
        }
    }

    /// A new application. It reads from now on, or from the oldest event that is kept.
    pub(crate) fn add_app(
        &mut self,
        app: App,
        from_start: bool,
        writes: &mut Vec<Write>,
    ) -> Arc<App> {
        let acknowledged = match from_start {
            true => self.span.first - 1,
            false => self.span.last(),
        };
        let place = Place {
            acknowledged,
            missed: 0,
        };
        self.roster_mut().insert(app, place, writes)
    }

    /// An application may ask no longer, and nothing waits for it. Whether there was one.
    pub(crate) fn revoke(&mut self, id: u32, writes: &mut Vec<Write>) -> bool {
        let before = self.span;
        if id == OWNER || !self.roster_mut().remove(id, writes) {
            return false;
        }
        let all = self.kept.keys().copied().collect();
        self.erase_read(all, writes);
        self.write_span(before, writes);
        true
    }

    /// A conversation was wiped: everything told about it goes, unread or not.
    pub(crate) fn forget(&mut self, contact: &ContactId, writes: &mut Vec<Write>) {
        let before = self.span;
        let of = |k: &Kept| k.contact.as_ref() == Some(contact);
        let gone: Vec<u64> = self
            .kept
            .iter()
            .filter(|(_, k)| of(k))
            .map(|(n, _)| *n)
            .collect();
        for number in gone {
            self.erase(number, writes);
        }
        self.write_span(before, writes);
    }

    fn erase(&mut self, number: u64, writes: &mut Vec<Write>) {
        let Some(kept) = self.kept.remove(&number) else {
            return;
        };
        self.bytes -= kept.bytes;
        for part in 0..kept.parts {
            writes.push(row::write(number, part, None, kept.contact));
        }
        self.span.first = self.kept.keys().next().copied().unwrap_or(self.span.next);
    }

    fn write_span(&mut self, before: Span, writes: &mut Vec<Write>) {
        self.span.first = self.kept.keys().next().copied().unwrap_or(self.span.next);
        if self.span != before {
            writes.push(Write {
                table: TABLE_SPAN,
                key: SPAN_KEY.to_vec(),
                value: Some(Zeroizing::new(self.span.encode())),
                vault: None,
            });
        }
    }

    #[cfg(test)]
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Who reads, once everything is durable.
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What readers hear once everything is durable.
    pub(crate) fn durable(&self) -> Durable {
        Durable {
            span: self.span,
            roster: self.roster.clone(),
        }
    }

    /// A copy where readers hold the one that is durable.
    fn roster_mut(&mut self) -> &mut Roster {
        Arc::make_mut(&mut self.roster)
    }

    /// Events that are kept, and their bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        (self.kept.len(), self.bytes)
    }
}
