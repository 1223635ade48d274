//! The index of a gateway's inboxes: who may write and read, which cells wait, what expires when.
//! Contents are in `crates/store`; nothing here ever sees a client.

use crate::latency;
use crate::stored::{InboxKey, InboxRecord, StoreOp, StoredCell, StoredInbox};
use directory::Directory;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::ids::{CellId, Epoch, InboxId, NodeId};
use wire::request::{Answer, Close, Deposit, Fetch, Open, Place};
use wire::time::{Instant, UnixTime};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The key under which inbox ids are hashed; the same over restarts, kept beside the store's key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InboxHashKey(pub [u8; 32]);

impl std::fmt::Debug for InboxHashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InboxHashKey")
    }
}

impl InboxHashKey {
    /// What stands for an inbox id in memory and on disk.
    pub fn key(&self, inbox: &InboxId) -> InboxKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key length");
        mac.update(&inbox.0);
        InboxKey(mac.finalize().into_bytes().into())
    }
}

/// Limits for inboxes.
#[derive(Clone, Debug)]
pub struct InboxLimits {
    /// See [`InboxHashKey`].
    pub hash_key: InboxHashKey,
    /// Most inboxes; one more `Open` is refused. Each takes about 200 bytes of memory.
    pub inboxes_max: usize,
    /// Most cells over all inboxes; one more `Deposit` is refused. Each takes 2 KB on disk and 50
    /// bytes of memory.
    pub cells_max: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            hash_key: InboxHashKey([0; 32]),
            inboxes_max: 100_000,
            cells_max: 1_000_000,
        }
    }
}

/// Where and when a request is answered.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// This gateway.
    pub gateway: NodeId,
    /// The directory that holds now.
    pub directory: &'a Directory,
    /// The epoch now.
    pub epoch: Epoch,
    /// The wall clock now.
    pub unix: UnixTime,
    /// Now.
    pub now: Instant,
}

impl Context<'_> {
    fn place(&self) -> Place<'_> {
        Place {
            network: &self.directory.network,
            gateway: &self.gateway,
        }
    }
}

/// What is to be answered, now or when the store is done.
pub enum Outcome {
    /// At once.
    Answer(Answer),
    /// `Stored` once this is durable.
    Store {
        /// What to store.
        op: StoreOp,
        /// Whose ticket [`Inboxes::set_ticket`] must be told.
        cell: Option<(InboxKey, CellId)>,
    },
    /// `Stored` once that earlier ticket is durable: the same cell came twice.
    AlreadyStoring(u64),
    /// `Opened` once this is durable.
    Open {
        /// What to store.
        op: StoreOp,
        /// To be answered.
        ttl_secs: u32,
    },
    /// `Done` once this is durable.
    Close {
        /// What to store.
        op: StoreOp,
    },
    /// `Cell` once it is read.
    Read {
        /// Of which inbox.
        key: InboxKey,
        /// Which cell.
        sequence: u64,
        /// Its id.
        cell_id: CellId,
        /// How many wait behind it.
        remaining: u16,
    },
}

struct Entry {
    record: InboxRecord,
    next_sequence: u64,
    cells: VecDeque<Slot>,
}

struct Slot {
    cell: StoredCell,
    /// While the store is at work on it; it is given to no reader before.
    ticket: Option<u64>,
    /// When it was given to the reader last, in this process.
    given: Option<Instant>,
}

impl Slot {
    /// The lowest is given next. First the oldest of those that were never given, or so long ago
    /// that the reader would have said that it has them; then whichever was given longest ago.
    fn turn(&self, again: Duration, now: Instant) -> (Option<Instant>, u64) {
        let fresh = |given: &Instant| now.saturating_since(*given) < again;
        (self.given.filter(fresh), self.cell.sequence)
    }
}

/// All inboxes of one gateway.
pub struct Inboxes {
    limits: InboxLimits,
    by_key: BTreeMap<InboxKey, Entry>,
    cells: usize,
    storing: BTreeMap<u64, (InboxKey, CellId)>,
    ops: VecDeque<StoreOp>,
}

impl Inboxes {
    /// Starts from what the store gave back.
    pub fn new(limits: InboxLimits, stored: Vec<StoredInbox>) -> Self {
        let entry = |inbox: StoredInbox| {
            let next_sequence = inbox.cells.last().map_or(0, |c| c.sequence + 1);
            let cells = inbox
                .cells
                .into_iter()
                .map(|cell| Slot {
                    cell,
                    ticket: None,
                    given: None,
                })
                .collect();
            (
                inbox.key,
                Entry {
                    record: inbox.record,
                    next_sequence,
                    cells,
                },
            )
        };
        let by_key: BTreeMap<_, _> = stored.into_iter().map(entry).collect();
        let cells = by_key.values().map(|e| e.cells.len()).sum();
        Self {
            limits,
            by_key,
            cells,
            storing: BTreeMap::new(),
            ops: VecDeque::new(),
        }
    }

    /// A cell for an inbox. Unknown, expired and full inboxes and wrong tokens all get `Refused`.
    pub fn deposit(&mut self, deposit: Deposit, context: Context<'_>) -> Outcome {
        let parameters = &context.directory.parameters;
        let refused = Outcome::Answer(Answer::Refused);
        let key = self.limits.hash_key.key(&deposit.inbox);
        let Some(entry) = self.by_key.get_mut(&key) else {
            return refused;
        };
        if entry.record.token_hash != deposit.token.hash() || entry.record.expires <= context.unix {
            return refused;
        }
        if let Some(slot) = entry.cells.iter().find(|s| s.cell.id == deposit.cell_id) {
            return match slot.ticket {
                Some(ticket) => Outcome::AlreadyStoring(ticket),
                None => Outcome::Answer(Answer::Stored),
            };
        }
        let full = entry.cells.len() >= usize::from(parameters.inbox_quota);
        if full || self.cells >= self.limits.cells_max {
            return refused;
        }
        let expires = context
            .unix
            .saturating_add(parameters.cell_ttl)
            .min(entry.record.expires);
        let cell = StoredCell {
            sequence: entry.next_sequence,
            id: deposit.cell_id,
            expires,
        };
        entry.next_sequence += 1;
        // Tickets start at 1, so 0 stands for the one that `set_ticket` is about to name.
        entry.cells.push_back(Slot {
            cell,
            ticket: Some(0),
            given: None,
        });
        self.cells += 1;
        let op = StoreOp::PutCell {
            key,
            cell,
            content: deposit.cell,
        };
        Outcome::Store {
            op,
            cell: Some((key, deposit.cell_id)),
        }
    }

    /// The ticket under which a cell is being stored.
    pub fn set_ticket(&mut self, key: InboxKey, id: CellId, ticket: u64) {
        if let Some(slot) = self.slot_mut(&key, &id) {
            slot.ticket = Some(ticket);
            self.storing.insert(ticket, (key, id));
        }
    }

    /// A cell is durable and may be read; or the store failed, and it was never here.
    pub fn handle_stored(&mut self, ticket: u64, durable: bool) {
        let Some((key, id)) = self.storing.remove(&ticket) else {
            return;
        };
        if durable {
            // A slot with another ticket is a later one: its inbox was closed and opened again.
            if let Some(slot) = self
                .slot_mut(&key, &id)
                .filter(|s| s.ticket == Some(ticket))
            {
                slot.ticket = None;
            }
        } else if let Some(entry) = self.by_key.get_mut(&key) {
            let before = entry.cells.len();
            entry.cells.retain(|s| s.ticket != Some(ticket));
            self.cells -= before - entry.cells.len();
        }
    }

    fn slot_mut(&mut self, key: &InboxKey, id: &CellId) -> Option<&mut Slot> {
        self.by_key
            .get_mut(key)?
            .cells
            .iter_mut()
            .find(|s| s.cell.id == *id)
    }

    /// A reader asks. Unknown and expired inboxes and wrong signatures all get `Refused`.
    pub fn fetch(&mut self, fetch: &Fetch, context: Context<'_>) -> Outcome {
        let key = self.limits.hash_key.key(&fetch.inbox);
        let Some(entry) = self.by_key.get_mut(&key) else {
            return Outcome::Answer(Answer::Refused);
        };
        let reader = &entry.record.reader;
        if fetch.verify(context.place(), reader).is_err() || entry.record.expires <= context.unix {
            return Outcome::Answer(Answer::Refused);
        }
        let (ops, removed) = (&mut self.ops, &mut self.cells);
        entry.cells.retain(|slot| {
            let acknowledged = slot.ticket.is_none() && fetch.acks.contains(&slot.cell.id);
            if acknowledged {
                ops.push_back(StoreOp::RemoveCell {
                    key,
                    sequence: slot.cell.sequence,
                });
                *removed -= 1;
            }
            !acknowledged
        });
        let again = latency::give_again_after(&context.directory.parameters);
        let durable = entry.cells.iter_mut().filter(|s| s.ticket.is_none());
        let (mut count, mut next) = (0_usize, None::<&mut Slot>);
        for slot in durable {
            count += 1;
            if next
                .as_ref()
                .is_none_or(|n| slot.turn(again, context.now) < n.turn(again, context.now))
            {
                next = Some(slot);
            }
        }
        match next {
            None => Outcome::Answer(Answer::Empty),
            Some(slot) => {
                slot.given = Some(context.now);
                Outcome::Read {
                    key,
                    sequence: slot.cell.sequence,
                    cell_id: slot.cell.id,
                    remaining: u16::try_from(count - 1).unwrap_or(u16::MAX),
                }
            }
        }
    }

    /// Opens an inbox, or prolongs one for the key that opened it.
    pub fn open(&mut self, open: &Open, context: Context<'_>) -> Outcome {
        let refused = Outcome::Answer(Answer::Refused);
        let difficulty = context.directory.parameters.puzzle_difficulty;
        let solved = [
            context.epoch,
            context.epoch.previous(),
            context.epoch.next(),
        ]
        .into_iter()
        .any(|epoch| {
            open.admission
                .verify(&context.gateway, epoch, &open.inbox, difficulty)
        });
        if !solved || open.verify(context.place()).is_err() {
            return refused;
        }
        let ttl_max = context.directory.parameters.inbox_ttl_max;
        let ttl = Duration::from_secs(u64::from(open.ttl_secs)).min(ttl_max);
        let expires = context.unix.saturating_add(ttl);
        let key = self.limits.hash_key.key(&open.inbox);
        let record = InboxRecord {
            reader: open.reader,
            token_hash: open.token_hash,
            expires,
        };
        let full = self.by_key.len() >= self.limits.inboxes_max;
        match self.by_key.get_mut(&key) {
            Some(entry) if entry.record.reader != open.reader => return refused,
            Some(entry) => entry.record = record.clone(),
            None if full => return refused,
            None => {
                let entry = Entry {
                    record: record.clone(),
                    next_sequence: 0,
                    cells: VecDeque::new(),
                };
                self.by_key.insert(key, entry);
            }
        }
        let ttl_secs = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        Outcome::Open {
            op: StoreOp::PutInbox { key, record },
            ttl_secs,
        }
    }

    /// Closes an inbox. An unknown one and a wrong signature get `Refused`.
    pub fn close(&mut self, close: &Close, context: Context<'_>) -> Outcome {
        let key = self.limits.hash_key.key(&close.inbox);
        match self.by_key.get(&key) {
            Some(entry) if close.verify(context.place(), &entry.record.reader).is_ok() => {
                self.cells -= entry.cells.len();
                self.by_key.remove(&key);
                Outcome::Close {
                    op: StoreOp::RemoveInbox { key },
                }
            }
            Some(_) | None => Outcome::Answer(Answer::Refused),
        }
    }

    /// Forgets what has expired; returns whether there was any, so that the store destroys keys.
    pub fn expire(&mut self, now: UnixTime) -> bool {
        let before = (self.by_key.len(), self.cells);
        let (ops, cells) = (&mut self.ops, &mut self.cells);
        self.by_key.retain(|key, entry| {
            if entry.record.expires <= now {
                ops.push_back(StoreOp::RemoveInbox { key: *key });
                *cells -= entry.cells.len();
                return false;
            }
            let held = entry.cells.len();
            entry.cells.retain(|slot| {
                let keep = slot.cell.expires > now || slot.ticket.is_some();
                if !keep {
                    let sequence = slot.cell.sequence;
                    ops.push_back(StoreOp::RemoveCell {
                        key: *key,
                        sequence,
                    });
                }
                keep
            });
            *cells -= held - entry.cells.len();
            true
        });
        before != (self.by_key.len(), self.cells)
    }

    /// A store order that nobody waits for.
    pub fn poll_op(&mut self) -> Option<StoreOp> {
        self.ops.pop_front()
    }

    /// How many inboxes and how many cells.
    pub fn kept(&self) -> (usize, usize) {
        (self.by_key.len(), self.cells)
    }
}
