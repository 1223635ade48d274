//! What applications are told, numbered and kept: the durable event log.
//!
//! [`History`] is the loop's end: it turns an event into rows of the batch that the event came
//! from, so that a message is told exactly once. [`EventReader`] is the applications' end: it reads
//! what is durable, at the reader's pace. Values are the JSON of [`ApiEvent`], sealed by the store.

use crate::api::types::ApiEvent;
use crate::storage::SharedStore;
use store::{ClientStore, StoreError, Write};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Events by number. `messaging::Table` has the numbers up to 63.
pub(crate) const TABLE_EVENTS: u8 = 64;
/// One row: which events there are.
pub(crate) const TABLE_SPAN: u8 = 65;

const SPAN_KEY: &[u8] = b"span";

/// Which events are kept: `first..next`. Numbers begin at 1 and are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    /// The oldest that is kept.
    pub(crate) first: u64,
    /// The one that will come next.
    pub(crate) next: u64,
}

impl Span {
    /// The newest event's number; 0 before the first.
    pub(crate) fn last(self) -> u64 {
        self.next - 1
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (first, next) = bytes.split_first_chunk::<8>()?;
        let next = <[u8; 8]>::try_from(next).ok()?;
        let (first, next) = (u64::from_be_bytes(*first), u64::from_be_bytes(next));
        (first >= 1 && first <= next).then_some(Self { first, next })
    }
}

/// The writing end. Keeps at most `max` events; the oldest go first.
pub(crate) struct History {
    span: Span,
    max: u64,
}

impl History {
    /// Goes on where the store ends.
    pub(crate) fn restore(store: &ClientStore, max: u64) -> Result<Self, StoreError> {
        let empty = Span { first: 1, next: 1 };
        let span = match store.get(TABLE_SPAN, SPAN_KEY)? {
            None => empty,
            Some(bytes) => Span::decode(&bytes).ok_or(StoreError::Damaged {
                what: "the event log has an impossible span".into(),
            })?,
        };
        Ok(Self { span, max })
    }

    /// Adds events to the batch that they come from.
    pub(crate) fn append(&mut self, events: &[ApiEvent], writes: &mut Vec<Write>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let json = serde_json::to_vec(event).expect("strings and numbers are always JSON");
            writes.push(row(self.span.next, Some(json)));
            self.span.next += 1;
        }
        while self.span.next - self.span.first > self.max {
            writes.push(row(self.span.first, None));
            self.span.first += 1;
        }
        let span = [self.span.first.to_be_bytes(), self.span.next.to_be_bytes()].concat();
        writes.push(Write {
            table: TABLE_SPAN,
            key: SPAN_KEY.to_vec(),
            value: Some(Zeroizing::new(span)),
            vault: None,
        });
    }

    /// Which events there are once everything that was appended is durable.
    pub(crate) fn span(&self) -> Span {
        self.span
    }
}

fn row(number: u64, json: Option<Vec<u8>>) -> Write {
    Write {
        table: TABLE_EVENTS,
        key: number.to_be_bytes().to_vec(),
        value: json.map(Zeroizing::new),
        vault: None,
    }
}

/// The reading end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EventReader {
    store: SharedStore,
    span: watch::Receiver<Span>,
}

/// One event's number and its JSON; `None` where it is no longer kept.
pub(crate) type Numbered = (u64, Option<Zeroizing<Vec<u8>>>);

impl EventReader {
    pub(crate) fn new(store: SharedStore, span: watch::Receiver<Span>) -> Self {
        Self { store, span }
    }

    /// Which events are durable now.
    pub(crate) fn span(&self) -> Span {
        *self.span.borrow()
    }

    /// Waits until there is an event after `after`. An error means that the daemon ends.
    pub(crate) async fn wait(&mut self, after: u64) -> Result<(), watch::error::RecvError> {
        self.span.wait_for(|s| s.last() > after).await.map(|_| ())
    }

    /// The kept events after `after`, at most `max` of them, ascending.
    pub(crate) async fn page(&self, after: u64, max: u64) -> Result<Vec<Numbered>, StoreError> {
        let span = self.span();
        let from = after.saturating_add(1).max(span.first);
        let until = span.next.min(from.saturating_add(max));
        let store = self.store.clone();
        let read = move || {
            let store = store.lock();
            let get = |n: u64| Ok((n, store.get(TABLE_EVENTS, &n.to_be_bytes())?));
            (from..until).map(get).collect()
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or(Err(StoreError::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::aead::SealKey;
    use wire::rng::KeyRng;

    fn event(n: u64) -> ApiEvent {
        ApiEvent::Gap { missed: n }
    }

    fn open(folder: &std::path::Path) -> ClientStore {
        let key = SealKey::from_bytes([1; 32]);
        ClientStore::open(folder, key, KeyRng::from_seed([2; 32]), |_, _| None).unwrap()
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for round in 0..3u64 {
            let mut store = open(&path);
            let mut history = History::restore(&store, 4).unwrap();
            assert_eq!(history.span().next, 1 + 3 * round);
            let mut writes = Vec::new();
            history.append(&[event(0), event(1), event(2)], &mut writes);
            store.commit(&writes).unwrap();
        }
        let store = open(&path);
        let span = History::restore(&store, 4).unwrap().span();
        assert_eq!(span, Span { first: 6, next: 10 });
        let (_sender, receiver) = watch::channel(span);
        let reader = EventReader::new(SharedStore::new(store), receiver);
        let page = reader.page(0, 2).await.unwrap();
        assert_eq!(page.iter().map(|p| p.0).collect::<Vec<_>>(), [6, 7]);
        assert!(page.iter().all(|p| p.1.is_some()));
        assert_eq!(reader.page(7, 64).await.unwrap().len(), 2);
        assert!(reader.page(9, 64).await.unwrap().is_empty());
        assert!(reader.page(u64::MAX, 64).await.unwrap().is_empty());
    }

    #[test]
    fn an_impossible_span_is_damage() {
        for bytes in [&[0; 16][..], &[1; 15], &[255; 17]] {
            assert_eq!(Span::decode(bytes), None);
        }
    }
}
