//! The applications' end of the event log: reads what is durable, at the reader's own pace. Nobody
//! who is slow holds up another.

use super::row::{self, Row};
use super::{Span, TABLE_EVENTS};
use crate::apps::{App, OWNER, Place, Roster};
use crate::storage::SharedStore;
use std::sync::Arc;
use store::{ClientStore, StoreError};
use tokio::sync::watch;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Numbers looked at for one page, whether something stands there or not.
const LOOK_MAX: u64 = 512;
/// A page ends after so many bytes.
const PAGE_BYTES: usize = 512 * 1024;

/// What everybody hears when it is durable.
#[derive(Clone)]
pub(crate) struct Durable {
    pub(crate) span: Span,
    pub(crate) roster: Arc<Roster>,
}

/// The reading end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EventReader {
    store: SharedStore,
    durable: watch::Receiver<Durable>,
}

/// One event.
pub(crate) struct Told {
    pub(crate) number: u64,
    /// Its type.
    pub(crate) name: String,
    /// One object, with number and time in it.
    pub(crate) json: Zeroizing<String>,
}

impl Told {
    /// `json` is an object with at least one field.
    fn new(number: u64, at: UnixTime, name: String, json: &[u8]) -> Self {
        let rest = String::from_utf8_lossy(json.get(1..).unwrap_or_default());
        let at = at.0;
        Self {
            number,
            name,
            json: Zeroizing::new(format!("{{\"cursor\":{number},\"at_ms\":{at},{rest}")),
        }
    }

    /// `missed` events before and at `number` went at a limit.
    pub(crate) fn gap(number: u64, missed: u64) -> Self {
        Self {
            number,
            name: "gap".into(),
            json: Zeroizing::new(format!(
                "{{\"cursor\":{number},\"at_ms\":0,\"type\":\"gap\",\"missed\":{missed}}}"
            )),
        }
    }
}

/// Events, and where to go on.
pub(crate) struct Page {
    pub(crate) events: Vec<Told>,
    /// Everything up to here was looked at.
    pub(crate) through: u64,
}

impl EventReader {
    pub(crate) fn new(store: SharedStore, durable: watch::Receiver<Durable>) -> Self {
        Self { store, durable }
    }

    /// Which events are durable now.
    pub(crate) fn span(&self) -> Span {
        self.durable.borrow().span
    }

    /// Who may ask, as it is durable.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.durable.borrow().roster.clone()
    }

    /// How far a reader has come.
    pub(crate) fn place(&self, app: Option<&App>) -> Option<Place> {
        self.roster().place(app.map_or(OWNER, |a| a.id))
    }

    /// Waits until there is an event after `after`. An error means that the daemon ends.
    pub(crate) async fn wait(&mut self, after: u64) -> Result<(), watch::error::RecvError> {
        let news = self.durable.wait_for(|d| d.span.last() > after);
        news.await.map(|_| ())
    }

    /// Waits until an application is revoked.
    pub(crate) async fn revoked(&mut self, app: &App) {
        let gone = self.durable.wait_for(|d| d.roster.app(app.id).is_none());
        // An error means that the daemon ends.
        let _ = gone.await;
    }

    /// Events after `after` that `app` (or the owner) may see, at most `max` of them, ascending. What
    /// went at a limit unacknowledged is told as one gap at the beginning.
    pub(crate) async fn page(
        &self,
        app: Option<Arc<App>>,
        after: u64,
        max: usize,
    ) -> Result<Page, StoreError> {
        let span = self.span();
        let mut events = Vec::new();
        let mut after = after.min(span.last());
        if after < span.dropped {
            let missed = self.place(app.as_deref()).map_or(0, |p| p.missed);
            let missed = missed.min(span.dropped - after);
            if missed > 0 {
                events.push(Told::gap(span.dropped, missed));
            }
            after = span.dropped;
        }
        let from = (after + 1).max(span.first);
        if from >= span.next || events.len() >= max {
            let through = if from >= span.next {
                span.last()
            } else {
                after
            };
            return Ok(Page { events, through });
        }
        let until = span.next.min(from.saturating_add(LOOK_MAX));
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut through = after;
            let mut bytes = 0;
            for number in from..until {
                if events.len() >= max || bytes > PAGE_BYTES {
                    break;
                }
                // Taken anew for each, so that a batch need not wait for a whole page.
                if let Some(told) = read_one(&store.lock(), number, app.as_deref())? {
                    bytes += told.json.len();
                    events.push(told);
                }
                through = number;
            }
            Ok(Page { events, through })
        });
        read.await.unwrap_or(Err(StoreError::Stopped))
    }
}

fn read_one(
    store: &ClientStore,
    number: u64,
    app: Option<&App>,
) -> Result<Option<Told>, StoreError> {
    let Some(value) = store.get(TABLE_EVENTS, &row::key(number, 0))? else {
        return Ok(None);
    };
    let mut row = Row::head(&value);
    if app.is_some_and(|app| !app.sees(row.contact.as_ref())) {
        return Ok(None);
    }
    for part in 1..row.parts {
        // Erased or wiped between the two reads.
        let Some(more) = store.get(TABLE_EVENTS, &row::key(number, part))? else {
            return Ok(None);
        };
        row.json.extend_from_slice(&more);
    }
    Ok(Some(Told::new(number, row.at, row.name, &row.json)))
}
