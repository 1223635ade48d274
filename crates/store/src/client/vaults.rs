//! The flat file that holds the key of each vault, overwritten in place when the vault is wiped.
//!
//! A head of [`HEAD_LEN`] bytes (magic), then slots of [`SLOT_LEN`] bytes, four to a sector: sealed
//! under the store's key a tag, the vault's name and its key. A free slot is all zero. A slot
//! that begins with [`WIPED`] and a tag is of a vault whose key is gone and whose rows the log may
//! still have; nobody can open those.

use super::VaultId;
use crate::error::{OrNoSpace, StoreError, While};
use crate::files::LockedFolder;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Vaults at a time; one more is [`StoreError::Full`].
pub(super) const VAULTS_MAX: usize = 8192;
/// Names the key that sealed a row; random, never used twice, never zero.
pub(super) type Tag = [u8; 8];

/// Its name in the store's folder.
pub(super) const FILE: &str = "vaults";
const MAGIC: &[u8; 8] = b"MZVAULTS";
const HEAD_LEN: u64 = 512;
const SLOT_LEN: usize = 128;
const CONTENT_LEN: usize = 8 + 16 + 32;
const SEALED_LEN: usize = CONTENT_LEN + SEAL_OVERHEAD;
const WIPED: &[u8; 8] = b"MZWIPED\0";
/// Slots by which the file grows.
const CHUNK: usize = 64;

/// One vault that is open.
pub(super) struct Vault {
    pub(super) tag: Tag,
    pub(super) key: SealKey,
    slot: usize,
}

/// The file and what it holds.
pub(super) struct Vaults {
    file: File,
    seal: SealKey,
    by_id: BTreeMap<VaultId, Vault>,
    ids: BTreeMap<Tag, VaultId>,
    /// Free slots; the last is taken first.
    unused: Vec<usize>,
    wiped: BTreeMap<Tag, usize>,
    unreadable: Vec<usize>,
    slots: usize,
}

impl Vaults {
    /// Makes the file of a new store.
    pub(super) fn create(folder: &LockedFolder) -> Result<(), StoreError> {
        let mut head = MAGIC.to_vec();
        head.resize(HEAD_LEN as usize + CHUNK * SLOT_LEN, 0);
        folder.create(FILE, &head)
    }

    /// Reads the file.
    pub(super) fn open(folder: &LockedFolder, seal: SealKey) -> Result<Self, StoreError> {
        let file = folder
            .open_file(FILE)?
            .ok_or_else(|| StoreError::damaged("the file of the vaults is missing"))?;
        let len = file.metadata().while_doing("reading the vaults")?.len();
        let cut = || StoreError::damaged("the file of the vaults was cut");
        let slots = usize::try_from(len.checked_sub(HEAD_LEN).ok_or_else(cut)?)
            .map_err(|_| cut())?
            / SLOT_LEN;
        if slots > VAULTS_MAX {
            return Err(StoreError::damaged("the file of the vaults is too long"));
        }
        let mut bytes = vec![0; HEAD_LEN as usize + slots * SLOT_LEN];
        file.read_exact_at(&mut bytes, 0)
            .while_doing("reading the vaults")?;
        let mut vaults = Self {
            file,
            seal,
            by_id: BTreeMap::new(),
            ids: BTreeMap::new(),
            unused: Vec::new(),
            wiped: BTreeMap::new(),
            unreadable: Vec::new(),
            slots,
        };
        let (head, rest) = bytes.split_at(HEAD_LEN as usize);
        if head[..8] != MAGIC[..] {
            return Err(StoreError::damaged("the file of the vaults is none"));
        }
        for (slot, bytes) in rest.chunks_exact(SLOT_LEN).enumerate() {
            vaults.take_in(slot, bytes);
        }
        // The lowest is popped first.
        vaults.unused.reverse();
        Ok(vaults)
    }

    fn take_in(&mut self, slot: usize, bytes: &[u8]) {
        if bytes.iter().all(|b| *b == 0) {
            self.unused.push(slot);
        } else if let Some(tag) = bytes.strip_prefix(WIPED).and_then(|b| b.first_chunk()) {
            self.wiped.insert(*tag, slot);
        } else if let Some((id, tag, key)) = self.decode(slot, bytes) {
            self.ids.insert(tag, id);
            self.by_id.insert(id, Vault { tag, key, slot });
        } else {
            self.unreadable.push(slot);
        }
    }

    fn decode(&self, slot: usize, bytes: &[u8]) -> Option<(VaultId, Tag, SealKey)> {
        let content = self.seal.open(&place(slot), &bytes[..SEALED_LEN]).ok()?;
        let mut r = Reader::new(&content);
        let tag = r.array().ok()?;
        let id = VaultId(r.array().ok()?);
        Some((id, tag, SealKey::from_bytes(r.array().ok()?)))
    }

    /// Slots that a crash or damage left without sense.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether rows of wiped vaults may still be in the log.
    pub(super) fn has_wiped(&self) -> bool {
        !self.wiped.is_empty()
    }

    /// How many vaults there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many there are, or were until a wipe whose rows are not gone yet.
    pub(super) fn len_with_wiped(&self) -> usize {
        self.len() + self.wiped.len()
    }

    pub(super) fn get(&self, id: &VaultId) -> Option<&Vault> {
        self.by_id.get(id)
    }

    /// The vault whose key has this tag.
    pub(super) fn by_tag(&self, tag: &Tag) -> Option<(VaultId, &Vault)> {
        let id = self.ids.get(tag)?;
        self.by_id.get(id).map(|vault| (*id, vault))
    }

    /// Whether the tag is of a vault that was wiped.
    pub(super) fn is_wiped(&self, tag: &Tag) -> bool {
        self.wiped.contains_key(tag)
    }

    /// Makes the vault where it is missing; it is durable then, before any row names it.
    pub(super) fn ensure(&mut self, id: VaultId, rng: &mut KeyRng) -> Result<(), StoreError> {
        if self.by_id.contains_key(&id) {
            return Ok(());
        }
        if self.unused.is_empty() {
            self.grow()?;
        }
        let slot = self.unused.pop().ok_or(StoreError::Full)?;
        let tag: [u8; 8] = rng.bytes();
        let key = SealKey::from_bytes(rng.bytes());
        let mut content = Zeroizing::new(Vec::with_capacity(CONTENT_LEN));
        content.extend_from_slice(&tag);
        content.extend_from_slice(&id.0);
        content.extend_from_slice(key.expose());
        let mut sealed = self.seal.seal(&place(slot), &content, rng);
        sealed.resize(SLOT_LEN, 0);
        self.put(slot, &sealed)?;
        self.sync()?;
        self.ids.insert(tag, id);
        self.by_id.insert(id, Vault { tag, key, slot });
        Ok(())
    }

    /// Destroys the vault's key, durably; its rows are out of reach from here on.
    pub(super) fn wipe(&mut self, id: VaultId) -> Result<(), StoreError> {
        let Some(vault) = self.by_id.remove(&id) else {
            return Ok(());
        };
        self.ids.remove(&vault.tag);
        let mut bytes = [&WIPED[..], &vault.tag].concat();
        bytes.resize(SLOT_LEN, 0);
        self.put(vault.slot, &bytes)?;
        self.wiped.insert(vault.tag, vault.slot);
        self.sync()
    }

    /// The rows of all wiped vaults are gone: their slots may be used again. So may those that
    /// nothing can be read from.
    pub(super) fn release(&mut self) -> Result<(), StoreError> {
        let wiped = std::mem::take(&mut self.wiped).into_values();
        let slots: Vec<usize> = wiped.chain(std::mem::take(&mut self.unreadable)).collect();
        if slots.is_empty() {
            return Ok(());
        }
        for slot in slots {
            self.put(slot, &[0; SLOT_LEN])?;
            self.unused.push(slot);
        }
        self.sync()
    }

    fn grow(&mut self) -> Result<(), StoreError> {
        let more = CHUNK.min(VAULTS_MAX - self.slots);
        let zeros = vec![0; more * SLOT_LEN];
        self.file
            .write_all_at(&zeros, offset(self.slots))
            .or_no_space("growing the file of the vaults")?;
        self.file.sync_all().while_doing("syncing the vaults")?;
        self.unused.extend((self.slots..self.slots + more).rev());
        self.slots += more;
        Ok(())
    }

    fn put(&self, slot: usize, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all_at(bytes, offset(slot))
            .while_doing("writing the vaults")
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().while_doing("syncing the vaults")
    }
}

fn offset(slot: usize) -> u64 {
    HEAD_LEN + (slot * SLOT_LEN) as u64
}

fn place(slot: usize) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-client-vault-v1").u32(slot as u32);
    w.into_vec()
}
