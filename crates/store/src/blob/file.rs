//! The bytes of one blob's file: a head of [`HEAD_LEN`] bytes, then records of one length.
//!
//! A record that was never written is zero; one that a power cut tore does not open, and is written
//! again by whoever asks [`Blob::missing`] at the start.

use super::{BlobId, BlobKey};
use crate::error::{OrNoSpace, StoreError, While};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{Reader, Writer};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Longest record in bytes of plaintext.
pub const RECORD_MAX: usize = 64 * 1024;

const MAGIC: &[u8; 8] = b"MZBLOB\0\0";
const VERSION: u16 = 1;
const CLEAR_LEN: usize = 8 + 2 + 4 + 8;
const HEAD_LEN: u64 = 512;

/// How a blob is cut.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    /// Plaintext bytes of each record.
    record_len: u32,
    /// Plaintext bytes of the blob.
    len: u64,
}

impl Geometry {
    pub(super) fn new(record_len: usize, len: u64) -> Result<Self, StoreError> {
        if record_len == 0 || record_len > RECORD_MAX {
            return Err(StoreError::TooLong);
        }
        let geometry = Self {
            record_len: record_len as u32,
            len,
        };
        // Numbers of records, and values under one key.
        if len.div_ceil(record_len as u64) > u64::from(u32::MAX) {
            return Err(StoreError::TooLong);
        }
        Ok(geometry)
    }

    fn records(self) -> u32 {
        u32::try_from(self.len.div_ceil(u64::from(self.record_len))).unwrap_or(u32::MAX)
    }

    fn sealed_len(self) -> u64 {
        u64::from(self.record_len) + SEAL_OVERHEAD as u64
    }

    fn offset(self, index: u32) -> u64 {
        HEAD_LEN + u64::from(index) * self.sealed_len()
    }

    /// Bytes of the blob in this record; the file's record is filled up with zeros.
    fn len_of(self, index: u32) -> usize {
        let from = u64::from(index) * u64::from(self.record_len);
        self.len
            .saturating_sub(from)
            .min(u64::from(self.record_len)) as usize
    }
}

/// What the file of such a blob has.
pub(super) fn file_len(geometry: Geometry) -> u64 {
    geometry.offset(geometry.records())
}

/// One open blob. Several may be open at once, readers and writers of other records.
pub struct Blob {
    file: File,
    id: BlobId,
    header_key: SealKey,
    record_key: SealKey,
    geometry: Geometry,
    rng: KeyRng,
}

impl Blob {
    pub(super) fn new(
        file: File,
        id: BlobId,
        key: &BlobKey,
        geometry: Geometry,
        rng: KeyRng,
    ) -> Self {
        Self {
            file,
            id,
            header_key: key.header(),
            record_key: key.records(),
            geometry,
            rng,
        }
    }

    pub(super) fn open(
        file: File,
        id: BlobId,
        key: &BlobKey,
        rng: KeyRng,
    ) -> Result<Self, StoreError> {
        let mut head = [0; CLEAR_LEN + SEAL_OVERHEAD];
        file.read_exact_at(&mut head, 0)
            .map_err(|_| StoreError::damaged("a blob's file has no head"))?;
        let (clear, sealed) = head.split_at(CLEAR_LEN);
        let damaged = || StoreError::damaged("a blob's head makes no sense");
        let mut r = Reader::new(clear);
        let mut parse =
            || Ok::<_, wire::codec::DecodeError>((r.array()?, r.u16()?, r.u32()?, r.u64()?));
        let (magic, found, record_len, len) = parse().map_err(|_| damaged())?;
        if magic != *MAGIC {
            return Err(StoreError::damaged(
                "a file under a blob's name is no blob, or unfinished",
            ));
        }
        if found != VERSION {
            let known = VERSION;
            return Err(StoreError::Version { found, known });
        }
        if key.header().open(&place(id, clear), sealed).is_err() {
            return Err(StoreError::damaged(
                "a blob's head does not open with its key",
            ));
        }
        let geometry = Geometry::new(record_len as usize, len).map_err(|_| damaged())?;
        let on_disk = file.metadata().while_doing("reading a blob")?.len();
        if on_disk < file_len(geometry) {
            return Err(StoreError::damaged("a blob's file lost its end"));
        }
        Ok(Self::new(file, id, key, geometry, rng))
    }

    /// Its name.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Its length in bytes.
    // A blob without bytes is a blob; nobody asks for `is_empty`.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.geometry.len
    }

    /// Bytes of each record but the last.
    pub fn record_len(&self) -> usize {
        self.geometry.record_len as usize
    }

    /// How many records it has.
    pub fn records(&self) -> u32 {
        self.geometry.records()
    }

    /// Writes one record: as many bytes as its place has ([`StoreError::TooLong`] otherwise), in any
    /// order, again if need be. Durable after [`Blob::sync`].
    pub fn write_record(&mut self, index: u32, plaintext: &[u8]) -> Result<(), StoreError> {
        if index >= self.records() {
            return Err(StoreError::Missing);
        }
        if plaintext.len() != self.geometry.len_of(index) {
            return Err(StoreError::TooLong);
        }
        self.put(index, plaintext)
    }

    /// One record; [`StoreError::Missing`] when it is not there (yet), [`StoreError::Damaged`] when
    /// it does not open.
    pub fn read_record(&self, index: u32) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if index >= self.records() {
            return Err(StoreError::Missing);
        }
        let mut sealed = vec![0; self.geometry.sealed_len() as usize];
        match self
            .file
            .read_exact_at(&mut sealed, self.geometry.offset(index))
        {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::damaged("a blob's file lost its end"));
            }
            done => done.while_doing("reading a blob")?,
        }
        if sealed.iter().all(|b| *b == 0) {
            return Err(StoreError::Missing);
        }
        let mut plain = self
            .record_key
            .open(&place(self.id, &index.to_be_bytes()), &sealed)
            .map_err(|_| StoreError::damaged("a record of a blob does not open"))?;
        plain.truncate(self.geometry.len_of(index));
        Ok(plain)
    }

    /// The bytes from `offset` on, `len` of them or fewer where the blob ends. The caller bounds
    /// `len`: all of it comes into memory.
    pub fn read_range(&self, offset: u64, len: usize) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let end = offset.saturating_add(len as u64).min(self.geometry.len);
        let mut out = Zeroizing::new(Vec::with_capacity(end.saturating_sub(offset) as usize));
        let record_len = u64::from(self.geometry.record_len);
        let mut at = offset;
        while at < end {
            let record = self.read_record((at / record_len) as u32)?;
            let from = (at % record_len) as usize;
            let until = record.len().min(from + (end - at) as usize);
            out.extend_from_slice(&record[from..until]);
            at += (until - from) as u64;
        }
        Ok(out)
    }

    /// Records that are not there, or do not open, as ranges: what a receiver still needs after a
    /// restart. Reads the whole blob.
    pub fn missing(&self) -> Result<Vec<Range<u32>>, StoreError> {
        let mut gaps: Vec<Range<u32>> = Vec::new();
        for index in 0..self.records() {
            match self.read_record(index) {
                Ok(_) => {}
                Err(StoreError::Missing | StoreError::Damaged { .. }) => match gaps.last_mut() {
                    Some(gap) if gap.end == index => gap.end += 1,
                    Some(_) | None => gaps.push(index..index + 1),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(gaps)
    }

    /// Everything written so far is on the disk when this returns.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().or_no_space("syncing a blob")
    }

    /// Seals a record of any fitting length, filled up with zeros.
    pub(super) fn put(&mut self, index: u32, plaintext: &[u8]) -> Result<(), StoreError> {
        let mut padded = Zeroizing::new(vec![0; self.record_len()]);
        padded[..plaintext.len()].copy_from_slice(plaintext);
        let place = place(self.id, &index.to_be_bytes());
        let sealed = self.record_key.seal(&place, &padded, &mut self.rng);
        let done = self.file.write_all_at(&sealed, self.geometry.offset(index));
        done.or_no_space("writing a blob")
    }

    pub(super) fn set_len(&mut self, len: u64) -> Result<(), StoreError> {
        self.geometry = Geometry::new(self.record_len(), len)?;
        Ok(())
    }

    /// Takes the room for all records at once, where the file system can.
    pub(super) fn allocate(&self) -> Result<(), StoreError> {
        let len = file_len(self.geometry);
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.file.set_len(len).or_no_space("growing a blob")
            }
            done => done
                .map_err(std::io::Error::from)
                .or_no_space("growing a blob"),
        }
    }

    /// Written last by a stream: before it the file is no blob.
    pub(super) fn write_header(&mut self) -> Result<(), StoreError> {
        let mut w = Writer::with_capacity(HEAD_LEN as usize);
        w.put(MAGIC).u16(VERSION);
        w.u32(self.geometry.record_len).u64(self.geometry.len);
        let clear = w.into_vec();
        let sealed = self
            .header_key
            .seal(&place(self.id, &clear), &[], &mut self.rng);
        let mut w = Writer::with_capacity(HEAD_LEN as usize);
        w.put(&clear).put(&sealed);
        let head = w.into_padded(HEAD_LEN as usize);
        self.file
            .write_all_at(&head, 0)
            .or_no_space("writing a blob's head")
    }
}

fn place(id: BlobId, what: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(64);
    w.put(b"mizzle-blob-v1").put(&id.0).put(what);
    w.into_vec()
}
