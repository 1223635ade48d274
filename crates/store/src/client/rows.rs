//! How a row is sealed: under the store's key always, so that the disk shows nothing, and beneath
//! that under its vault's key, so that a wipe reaches it.

use super::vaults::{Tag, Vaults};
use super::{Record, VaultId};
use crate::derive::{derive, mac};
use crate::error::StoreError;
use wire::aead::SealKey;
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

const OPEN_TAG: Tag = [0; 8];

/// A row's content.
pub(super) struct Row {
    pub(super) table: u8,
    pub(super) record: Record,
    pub(super) vault: Option<VaultId>,
}

/// What a sealed row turned out to be.
pub(super) enum Unsealed {
    Row(Row),
    /// Its vault was wiped.
    Wiped,
}

/// The keys that all rows share.
pub(super) struct RowKeys {
    names: SealKey,
    values: SealKey,
}

impl RowKeys {
    pub(super) fn new(key: &SealKey) -> Self {
        Self {
            names: derive(key, "mizzle-client-names-v1"),
            values: derive(key, "mizzle-client-values-v1"),
        }
    }

    /// Under which name a row stands in the log.
    pub(super) fn name(&self, table: u8, key: &[u8]) -> [u8; 32] {
        mac(&self.names, &[&[table], key])
    }

    /// Seals a row; its vault exists.
    pub(super) fn seal(
        &self,
        row: (u8, &[u8], &[u8]),
        vault: Option<VaultId>,
        vaults: &Vaults,
        rng: &mut KeyRng,
    ) -> Result<Vec<u8>, StoreError> {
        let (table, key, value) = row;
        let name = self.name(table, key);
        let mut w = Writer::with_capacity(3 + key.len() + value.len());
        w.u8(table).u16(key.len() as u16).put(key).put(value);
        let mut content = Zeroizing::new(w.into_vec());
        let mut tag = OPEN_TAG;
        if let Some(id) = vault {
            let vault = vaults.get(&id).ok_or(StoreError::Stopped)?;
            tag = vault.tag;
            let inner = vault.key.seal(&inner_place(&name), &content, rng);
            content = Zeroizing::new(inner);
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(tag.len() + content.len()));
        plain.extend_from_slice(&tag);
        plain.extend_from_slice(&content);
        Ok(self.values.seal(&outer_place(&name), &plain, rng))
    }

    /// Opens what stands under `name`.
    pub(super) fn unseal(
        &self,
        name: &[u8],
        sealed: &[u8],
        vaults: &Vaults,
    ) -> Result<Unsealed, StoreError> {
        let bad = || StoreError::damaged("a record does not open");
        let plain = self.values.open(&outer_place(name), sealed);
        let plain = plain.map_err(|_| bad())?;
        let (tag, content) = plain.split_first_chunk::<8>().ok_or_else(bad)?;
        if *tag == OPEN_TAG {
            return decode(content, None).ok_or_else(bad).map(Unsealed::Row);
        }
        let Some((id, vault)) = vaults.by_tag(tag) else {
            // A vault's slot is durable before a record names it, and its mark after a wipe stays
            // until the records are gone.
            return match vaults.is_wiped(tag) {
                true => Ok(Unsealed::Wiped),
                false => Err(StoreError::damaged("the vault of a record does not open")),
            };
        };
        let content = vault.key.open(&inner_place(name), content);
        let content = content.map_err(|_| bad())?;
        decode(&content, Some(id))
            .ok_or_else(bad)
            .map(Unsealed::Row)
    }

    /// Opens a row of format 1, which knew no vaults.
    pub(super) fn unseal_v1(&self, name: &[u8], sealed: &[u8]) -> Result<Row, StoreError> {
        let bad = || StoreError::damaged("a record does not open");
        let mut w = Writer::default();
        w.put(b"mizzle-client-record-v1").put(name);
        let plain = self.values.open(&w.into_vec(), sealed);
        decode(&plain.map_err(|_| bad())?, None).ok_or_else(bad)
    }
}

fn decode(content: &[u8], vault: Option<VaultId>) -> Option<Row> {
    let mut r = Reader::new(content);
    let table = r.u8().ok()?;
    let len = usize::from(r.u16().ok()?);
    let key = r.slice(len).ok()?.to_vec();
    let record = (key, Zeroizing::new(r.rest().to_vec()));
    Some(Row {
        table,
        record,
        vault,
    })
}

fn outer_place(name: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-client-record-v2").put(name);
    w.into_vec()
}

fn inner_place(name: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-client-vault-row-v1").put(name);
    w.into_vec()
}
