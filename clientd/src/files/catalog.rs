//! Which files there are, their keys, and who uses them: rows and their picture in memory.
//!
//! One row for every use of a file: `kind ‖ blob (16) ‖ contact and message`. It lies in the vault of
//! its contact, and holds the file's key and all that is known of it. An upload that no message uses
//! yet has a row outside every vault, which goes with the first use. Not here: the bytes.

use super::BlobInfo;
use messaging::{BlobRef, ClientMessageId, ContactId, MessageId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{BlobId, BlobKey, ClientStore, StoreError, VaultId, Write};
use wire::codec::{DecodeError, Reader, Writer};
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Rows of files.
pub(crate) const TABLE_FILES: u8 = 80;

const KIND_UPLOAD: u8 = 0;
const KIND_SENT: u8 = 1;
const KIND_RECEIVED: u8 = 2;
const VERSION: u8 = 1;

/// Who uses a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Use {
    /// Nobody yet.
    Upload,
    /// A message of ours to a contact.
    Sent(ContactId, ClientMessageId),
    /// A contact's message to us.
    Received(ContactId, MessageId),
}

impl Use {
    fn contact(&self) -> Option<ContactId> {
        match self {
            Self::Upload => None,
            Self::Sent(contact, _) | Self::Received(contact, _) => Some(*contact),
        }
    }

    fn key(&self, blob: &BlobId) -> Vec<u8> {
        let mut w = Writer::with_capacity(128);
        match self {
            Self::Upload => w.u8(KIND_UPLOAD).put(&blob.0),
            Self::Sent(contact, id) => {
                let w = w.u8(KIND_SENT).put(&blob.0).put(&contact.0);
                w.put(id.as_str().as_bytes())
            }
            Self::Received(contact, id) => {
                let w = w.u8(KIND_RECEIVED).put(&blob.0).put(&contact.0);
                w.put(&id.0)
            }
        };
        w.into_vec()
    }

    fn decode(key: &[u8]) -> Result<(BlobId, Self), DecodeError> {
        let mut r = Reader::new(key);
        let (kind, blob) = (r.u8()?, BlobId(r.array()?));
        let of = match kind {
            KIND_UPLOAD => Self::Upload,
            KIND_SENT => {
                let contact = ContactId(r.array()?);
                let id = std::str::from_utf8(r.rest()).ok();
                let id = id.and_then(ClientMessageId::new);
                Self::Sent(contact, id.ok_or(DecodeError::Invalid("message id"))?)
            }
            KIND_RECEIVED => Self::Received(ContactId(r.array()?), MessageId(r.array()?)),
            _ => return Err(DecodeError::Invalid("use")),
        };
        r.finish()?;
        Ok((blob, of))
    }
}

struct Entry {
    key: BlobKey,
    info: BlobInfo,
    whole: bool,
    /// With the time from which on a use counts as over, if it does.
    uses: BTreeMap<Use, Option<UnixTime>>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Catalog {
    entries: BTreeMap<BlobId, Entry>,
    /// By message, because that is what a transfer knows.
    incoming: BTreeMap<(ContactId, MessageId), BlobId>,
    sent: BTreeMap<(ContactId, ClientMessageId), BlobId>,
    unused: BTreeSet<BlobId>,
}

impl Catalog {
    /// From its rows.
    pub(crate) fn read(store: &ClientStore) -> Result<Self, StoreError> {
        let mut catalog = Self::default();
        for (key, value) in store.scan(TABLE_FILES)? {
            // A row that cannot be read is no reason not to start; its file goes.
            if let (Ok((id, of)), Ok((entry, over))) = (Use::decode(&key), decode_entry(&value)) {
                catalog.index(&of, id);
                let known = catalog.entries.entry(id).or_insert_with(|| Entry {
                    info: BlobInfo {
                        blob: BlobRef(id.0),
                        ..entry.info
                    },
                    ..entry
                });
                known.uses.insert(of, over);
            } else {
                tracing::warn!("a row of a file cannot be read");
            }
        }
        Ok(catalog)
    }

    pub(crate) fn ids(&self) -> BTreeSet<BlobId> {
        self.entries.keys().copied().collect()
    }

    pub(crate) fn whole(&self, id: &BlobId) -> Option<BlobInfo> {
        let entry = self.entries.get(id).filter(|e| e.whole)?;
        Some(entry.info.clone())
    }

    pub(crate) fn key(&self, id: &BlobId) -> Option<BlobKey> {
        self.entries.get(id).map(|e| e.key.clone())
    }

    pub(crate) fn incoming(&self, contact: &ContactId, message: &MessageId) -> Option<BlobId> {
        self.incoming.get(&(*contact, *message)).copied()
    }

    pub(crate) fn contacts(&self, id: &BlobId) -> BTreeSet<ContactId> {
        let uses = self.entries.get(id).into_iter().flat_map(|e| e.uses.keys());
        uses.filter_map(Use::contact).collect()
    }

    /// A new file, and its row.
    pub(super) fn insert(
        &mut self,
        key: BlobKey,
        info: BlobInfo,
        of: Use,
        whole: bool,
        unix: UnixTime,
    ) -> Write {
        let id = BlobId(info.blob.0);
        let over = match of {
            Use::Upload => Some(unix),
            Use::Sent(..) | Use::Received(..) => None,
        };
        let mut entry = Entry {
            key,
            info,
            whole,
            uses: BTreeMap::new(),
        };
        let row = row(&id, &entry, &of, over);
        self.index(&of, id);
        entry.uses.insert(of, over);
        self.entries.insert(id, entry);
        row
    }

    pub(super) fn attach(&mut self, id: &BlobId, of: Use) -> Option<Vec<Write>> {
        let entry = self.entries.get_mut(id).filter(|e| e.whole)?;
        let mut rows = Vec::new();
        if entry.uses.remove(&Use::Upload).is_some() {
            rows.push(erase(id, &Use::Upload));
        }
        if entry.uses.insert(of.clone(), None) != Some(None) {
            rows.push(row(id, entry, &of, None));
        }
        self.index(&of, *id);
        Some(rows)
    }

    pub(super) fn release(&mut self, of: &Use, unix: UnixTime) -> Vec<Write> {
        let Use::Sent(contact, message) = of else {
            return Vec::new();
        };
        let Some(id) = self.sent.get(&(*contact, message.clone())).copied() else {
            return Vec::new();
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return Vec::new();
        };
        entry.uses.insert(of.clone(), Some(unix));
        vec![row(&id, entry, of, Some(unix))]
    }

    pub(super) fn finished(
        &mut self,
        contact: ContactId,
        message: MessageId,
    ) -> Option<(BlobInfo, Write)> {
        let id = self.incoming(&contact, &message)?;
        let entry = self.entries.get_mut(&id)?;
        entry.whole = true;
        let of = Use::Received(contact, message);
        Some((entry.info.clone(), row(&id, entry, &of, None)))
    }

    pub(super) fn drop_use(&mut self, of: &Use) -> Vec<Write> {
        let id = match of {
            Use::Received(contact, message) => self.incoming(contact, message),
            Use::Sent(contact, message) => self.sent.get(&(*contact, message.clone())).copied(),
            Use::Upload => None,
        };
        let Some(id) = id else {
            return Vec::new();
        };
        self.end_use(&id, of);
        vec![erase(&id, of)]
    }

    /// The rows of a file, and no memory of it.
    pub(super) fn remove(&mut self, id: &BlobId) -> Vec<Write> {
        let uses = self.entries.get(id).map(|e| e.uses.keys().cloned());
        let uses: Vec<Use> = uses.into_iter().flatten().collect();
        for of in &uses {
            self.end_use(id, of);
        }
        self.unused.remove(id);
        uses.iter().map(|of| erase(id, of)).collect()
    }

    /// Uses of a contact whose vault is gone: no row is left to erase.
    pub(super) fn forget(&mut self, contact: &ContactId) {
        let of_contact = |of: &&Use| of.contact().as_ref() == Some(contact);
        let pick = |(id, e): (&BlobId, &Entry)| {
            let uses = e.uses.keys().filter(of_contact);
            uses.map(|of| (*id, of.clone())).collect::<Vec<_>>()
        };
        let uses: Vec<(BlobId, Use)> = self.entries.iter().flat_map(pick).collect();
        for (id, of) in uses {
            self.end_use(&id, &of);
        }
    }

    /// Ends the uses that are over for so long; their rows.
    pub(super) fn expire(&mut self, unix: UnixTime, after: Duration) -> Vec<Write> {
        let old = |over: &Option<UnixTime>| over.is_some_and(|o| o.saturating_add(after) <= unix);
        let pick = |(id, e): (&BlobId, &Entry)| {
            let uses = e.uses.iter().filter(|(_, over)| old(over));
            uses.map(|(of, _)| (*id, of.clone())).collect::<Vec<_>>()
        };
        let uses: Vec<(BlobId, Use)> = self.entries.iter().flat_map(pick).collect();
        for (id, of) in &uses {
            self.end_use(id, of);
        }
        uses.iter().map(|(id, of)| erase(id, of)).collect()
    }

    pub(super) fn take_unused(&mut self) -> BTreeSet<BlobId> {
        std::mem::take(&mut self.unused)
    }

    fn end_use(&mut self, id: &BlobId, of: &Use) {
        match of {
            Use::Upload => {}
            Use::Sent(contact, message) => {
                self.sent.remove(&(*contact, message.clone()));
            }
            Use::Received(contact, message) => {
                self.incoming.remove(&(*contact, *message));
            }
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.uses.remove(of);
            if entry.uses.is_empty() {
                self.entries.remove(id);
                self.unused.insert(*id);
            }
        }
    }

    fn index(&mut self, of: &Use, id: BlobId) {
        match of {
            Use::Upload => {}
            Use::Sent(contact, message) => {
                self.sent.insert((*contact, message.clone()), id);
            }
            Use::Received(contact, message) => {
                self.incoming.insert((*contact, *message), id);
            }
        }
    }
}

fn erase(id: &BlobId, of: &Use) -> Write {
    Write {
        table: TABLE_FILES,
        key: of.key(id),
        value: None,
        vault: vault(of),
    }
}

fn row(id: &BlobId, entry: &Entry, of: &Use, over: Option<UnixTime>) -> Write {
    let mut w = Writer::with_capacity(512);
    w.u8(VERSION)
        .put(&entry.key.to_bytes()[..])
        .u64(entry.info.size)
        .put(&entry.info.sha256)
        .u8(u8::from(entry.whole))
        .u64(over.map_or(0, |at| at.0))
        .u16(entry.info.name.len() as u16)
        .put(entry.info.name.as_bytes())
        .put(entry.info.media_type.as_bytes());
    Write {
        table: TABLE_FILES,
        key: of.key(id),
        value: Some(Zeroizing::new(w.into_vec())),
        vault: vault(of),
    }
}

fn vault(of: &Use) -> Option<VaultId> {
    of.contact().map(|contact| VaultId(contact.0))
}

fn decode_entry(value: &[u8]) -> Result<(Entry, Option<UnixTime>), DecodeError> {
    let mut r = Reader::new(value);
    if r.u8()? != VERSION {
        return Err(DecodeError::Invalid("version"));
    }
    let key = BlobKey::from_bytes(r.array()?);
    let (size, sha256, whole) = (r.u64()?, r.array()?, r.u8()? != 0);
    let over = Some(r.u64()?).filter(|at| *at > 0).map(UnixTime);
    let name_len = usize::from(r.u16()?);
    let name = utf8(r.slice(name_len)?)?;
    let media_type = utf8(r.rest())?;
    let info = BlobInfo {
        blob: BlobRef([0; 16]),
        size,
        sha256,
        name,
        media_type,
    };
    let uses = BTreeMap::new();
    let entry = Entry {
        key,
        info,
        whole,
        uses,
    };
    Ok((entry, over))
}

fn utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid("text"))?;
    Ok(text.to_owned())
}
