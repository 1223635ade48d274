//! One key for each span of time in which cells expire. Destroying it destroys them all at once.
//!
//! The file holds a head (magic, version, width, check value) and places of [`PLACE_LEN`] bytes: a
//! bucket number in clear and its key, sealed under a key derived from the master key. A destroyed
//! or unused place is all zero. A place is durable before any slot names its bucket.

use crate::derive::derive;
use crate::error::{StoreError, While};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;
use wire::time::UnixTime;

/// Most buckets that live at the same time: at one an hour, 170 days ahead.
pub(super) const BUCKETS_MAX: usize = 4096;

const HEAD_LEN: usize = 512;
const PLACE_LEN: usize = 128;
const SEALED_LEN: usize = 32 + SEAL_OVERHEAD;
const MAGIC: &[u8; 8] = b"MZBUCKET";
const VERSION: u16 = 1;

/// A span of time, counted from 1970 in widths; its cells are gone at its end.
pub(super) type BucketNumber = u32;

struct Bucket {
    place: u32,
    key: SealKey,
}

/// The file and the keys of all living buckets.
pub(super) struct Buckets {
    file: File,
    master: SealKey,
    width_ms: u64,
    living: BTreeMap<BucketNumber, Bucket>,
    free: BTreeSet<u32>,
    places: u32,
    unreadable: Vec<u32>,
}

impl Buckets {
    /// The head of a new file.
    pub(super) fn head(master: &SealKey, width: Duration, rng: &mut KeyRng) -> Vec<u8> {
        // Not below a second, so that 32 bits number the buckets until 2106.
        let width_ms = u64::try_from(width.as_millis())
            .unwrap_or(u64::MAX)
            .max(1000);
        let mut w = Writer::with_capacity(HEAD_LEN);
        w.put(MAGIC).u16(VERSION).u64(width_ms);
        let clear = w.into_vec();
        let check = derive(master, CHECK_LABEL).seal(&clear, &[], rng);
        let mut w = Writer::with_capacity(HEAD_LEN);
        w.put(&clear).put(&check);
        w.into_padded(HEAD_LEN)
    }

    /// Reads the file. The master key is checked here.
    pub(super) fn open(file: File, master: &SealKey) -> Result<Self, StoreError> {
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, 0)
            .map_err(|_| StoreError::damaged("the bucket file is too short"))?;
        let width_ms = check_head(&head, master).map_err(|error| {
            // A key that opens a bucket is the right one.
            if matches!(error, StoreError::WrongKey) && opens_a_place(&file, master) {
                StoreError::damaged("the header of the bucket file does not open")
            } else {
                error
            }
        })?;
        let len = file
            .metadata()
            .while_doing("reading the bucket file")?
            .len();
        let places = len.saturating_sub(HEAD_LEN as u64) / PLACE_LEN as u64;
        if places > BUCKETS_MAX as u64 {
            return Err(StoreError::damaged("the bucket file is too long"));
        }
        let mut buckets = Self {
            file,
            master: derive(master, KEY_LABEL),
            width_ms,
            living: BTreeMap::new(),
            free: BTreeSet::new(),
            places: places as u32,
            unreadable: Vec::new(),
        };
        (0..places as u32).try_for_each(|place| buckets.read_place(place))?;
        Ok(buckets)
    }

    /// The bucket that a cell with this expiry belongs to: the first that ends no earlier.
    pub(super) fn number(&self, expires: UnixTime) -> BucketNumber {
        u32::try_from(expires.0.div_ceil(self.width_ms)).unwrap_or(u32::MAX)
    }

    /// When all cells of a bucket are gone.
    pub(super) fn end(&self, number: BucketNumber) -> UnixTime {
        UnixTime(u64::from(number).saturating_mul(self.width_ms))
    }

    /// The key of a living bucket.
    pub(super) fn key(&self, number: BucketNumber) -> Option<&SealKey> {
        self.living.get(&number).map(|bucket| &bucket.key)
    }

    /// Makes the bucket where it is missing; it is durable then. [`StoreError::Full`] when
    /// [`BUCKETS_MAX`] live.
    pub(super) fn ensure(
        &mut self,
        number: BucketNumber,
        rng: &mut KeyRng,
    ) -> Result<(), StoreError> {
        if self.living.contains_key(&number) {
            return Ok(());
        }
        let place = match self.free.pop_first() {
            Some(place) => place,
            None if self.living.len() < BUCKETS_MAX => self.places,
            None => return Err(StoreError::Full),
        };
        self.places = self.places.max(place + 1);
        let key = SealKey::from_bytes(rng.bytes());
        let mut w = Writer::with_capacity(PLACE_LEN);
        w.u32(number)
            .put(&self.master.seal(&place_of(number), key.expose(), rng));
        self.write_place(place, &w.into_padded(PLACE_LEN))?;
        self.sync()?;
        self.living.insert(number, Bucket { place, key });
        Ok(())
    }

    /// Overwrites the keys of all buckets that end by `now`, in place and durably. Returns how many.
    pub(super) fn destroy_through(&mut self, now: UnixTime) -> Result<usize, StoreError> {
        let ended: Vec<_> = self
            .living
            .keys()
            .copied()
            .take_while(|number| self.end(*number) <= now)
            .collect();
        for number in &ended {
            if let Some(bucket) = self.living.remove(number) {
                self.write_place(bucket.place, &[0; PLACE_LEN])?;
                self.free.insert(bucket.place);
            }
        }
        if !ended.is_empty() {
            self.sync()?;
        }
        Ok(ended.len())
    }

    /// How many places the file has.
    pub(super) fn places(&self) -> u32 {
        self.places
    }

    /// Whether some place is neither zero nor a bucket.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Frees the places that are neither; a crash while one was written leaves such.
    pub(super) fn clear_unreadable(&mut self) -> Result<(), StoreError> {
        for place in std::mem::take(&mut self.unreadable) {
            self.write_place(place, &[0; PLACE_LEN])?;
            self.free.insert(place);
        }
        Ok(())
    }

    fn read_place(&mut self, place: u32) -> Result<(), StoreError> {
        let mut bytes = [0; PLACE_LEN];
        self.file
            .read_exact_at(&mut bytes, offset(place))
            .while_doing("reading the bucket file")?;
        if bytes.iter().all(|b| *b == 0) {
            self.free.insert(place);
            return Ok(());
        }
        match open_place(&self.master, &bytes) {
            Some((number, key)) if !self.living.contains_key(&number) => {
                self.living.insert(number, Bucket { place, key });
            }
            Some(_) | None => self.unreadable.push(place),
        }
        Ok(())
    }

    fn write_place(&self, place: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all_at(bytes, offset(place))
            .while_doing("writing the bucket file")
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().while_doing("syncing the bucket file")
    }
}

const CHECK_LABEL: &str = "mizzle-store-check-v1";
const KEY_LABEL: &str = "mizzle-store-buckets-v1";

fn check_head(head: &[u8; HEAD_LEN], master: &SealKey) -> Result<u64, StoreError> {
    let short = |_| StoreError::damaged("the bucket file is too short");
    let mut r = Reader::new(head);
    if &r.array::<8>().map_err(short)? != MAGIC {
        return Err(StoreError::damaged("the bucket file is no bucket file"));
    }
    let version = r.u16().map_err(short)?;
    if version != VERSION {
        return Err(StoreError::Version {
            found: version,
            known: VERSION,
        });
    }
    let width_ms = r.u64().map_err(short)?;
    let check = r.slice(SEAL_OVERHEAD).map_err(short)?;
    derive(master, CHECK_LABEL)
        .open(&head[..18], check)
        .map_err(|_| StoreError::WrongKey)?;
    if width_ms == 0 {
        return Err(StoreError::damaged(
            "the bucket file has an impossible width",
        ));
    }
    Ok(width_ms)
}

fn open_place(master: &SealKey, bytes: &[u8; PLACE_LEN]) -> Option<(BucketNumber, SealKey)> {
    let mut r = Reader::new(bytes);
    let number = r.u32().ok()?;
    let key = master
        .open(&place_of(number), r.slice(SEALED_LEN).ok()?)
        .ok()?;
    r.finish_padding().ok()?;
    let key = Reader::new(&key).array().ok()?;
    Some((number, SealKey::from_bytes(key)))
}

fn opens_a_place(file: &File, master: &SealKey) -> bool {
    let master = derive(master, KEY_LABEL);
    (0..BUCKETS_MAX as u32).any(|place| {
        let mut bytes = [0; PLACE_LEN];
        let read = file.read_exact_at(&mut bytes, offset(place));
        read.is_ok() && open_place(&master, &bytes).is_some()
    })
}

fn place_of(number: BucketNumber) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(b"mizzle-store-bucket-v1").u32(number);
    w.into_vec()
}

fn offset(place: u32) -> u64 {
    HEAD_LEN as u64 + u64::from(place) * PLACE_LEN as u64
}
