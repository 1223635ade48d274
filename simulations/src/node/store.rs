//! A gateway's disk: what was done to it stays, also when the process dies.

use mizzle_core::stored::{InboxKey, InboxRecord, StoreOp, StoredCell, StoredInbox};
use std::collections::BTreeMap;
use wire::request::Cell;
use wire::time::UnixTime;

/// Cells by sequence.
type Cells = BTreeMap<u64, (StoredCell, Cell)>;

/// Inboxes and cells in memory.
#[derive(Default)]
pub struct MemoryStore {
    inboxes: BTreeMap<InboxKey, (InboxRecord, Cells)>,
}

impl MemoryStore {
    /// Does what a gateway asked. A cell for an inbox that is gone by now goes with it.
    pub fn apply(&mut self, op: StoreOp) {
        match op {
            StoreOp::PutInbox { key, record } => {
                let cells = self.inboxes.remove(&key).map(|(_, cells)| cells);
                self.inboxes
                    .insert(key, (record, cells.unwrap_or_default()));
            }
            StoreOp::RemoveInbox { key } => {
                self.inboxes.remove(&key);
            }
            StoreOp::PutCell { key, cell, content } => {
                if let Some((_, cells)) = self.inboxes.get_mut(&key) {
                    cells.insert(cell.sequence, (cell, content));
                }
            }
            StoreOp::RemoveCell { key, sequence } => {
                if let Some((_, cells)) = self.inboxes.get_mut(&key) {
                    cells.remove(&sequence);
                }
            }
        }
    }

    /// A cell's content.
    pub fn read(&self, key: &InboxKey, sequence: u64) -> Option<Cell> {
        let (_, cells) = self.inboxes.get(key)?;
        cells.get(&sequence).map(|(_, content)| content.clone())
    }

    /// Forgets what expired.
    pub fn expire(&mut self, before: UnixTime) {
        self.inboxes.retain(|_, (record, cells)| {
            cells.retain(|_, (cell, _)| cell.expires > before);
            record.expires > before
        });
    }

    /// What a new process starts from.
    pub fn index(&self) -> Vec<StoredInbox> {
        let inbox = |(key, (record, cells)): (&InboxKey, &(InboxRecord, Cells))| {
            let cells = cells.values().map(|(cell, _)| *cell);
            StoredInbox {
                key: *key,
                record: record.clone(),
                cells: cells.collect(),
            }
        };
        self.inboxes.iter().map(inbox).collect()
    }

    /// How many inboxes and how many cells.
    pub fn kept(&self) -> (usize, usize) {
        let cells = self.inboxes.values().map(|(_, cells)| cells.len());
        (self.inboxes.len(), cells.sum())
    }
}
