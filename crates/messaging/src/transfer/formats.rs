//! The four inner messages about a file, behind their type byte. `docs/spec/messaging.md` §8.
//!
//! Not here: type bytes and texts ([`crate::inner`]), and records, which are cells of their own
//! ([`super::bulk`]).

use super::{FILE_RECORD_LEN, FileKey, INBOXES_MAX, SPAN};
use crate::composed::Composed;
use crate::event::MessageId;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::InboxAddress;

/// Longest name of a file in bytes.
pub const NAME_MAX: usize = 128;
/// Longest media type in bytes.
pub const MEDIA_TYPE_MAX: usize = 64;
const BITMAP_MAX: usize = SPAN as usize / 8;

/// A file is offered. Inner type 9.
#[derive(Clone, PartialEq, Eq)]
pub struct FileOffer {
    /// Names message and transfer; the same in every resend.
    pub id: MessageId,
    /// As in a text.
    pub composed: Composed,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub hash: [u8; 32],
    /// Seals the records.
    pub key: FileKey,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// What is said about it.
    pub body: String,
}

impl FileOffer {
    /// Bytes of everything but name, media type and body.
    pub const FIXED_LEN: usize = 16 + 16 + 8 + 32 + 32 + 2 + 1 + 1;

    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        self.composed.encode(w.put(&self.id.0));
        w.u64(self.size)
            .put(&self.hash)
            .put(&self.key.0[..])
            .u16(FILE_RECORD_LEN as u16)
            .u8(self.name.len() as u8)
            .put(self.name.as_bytes())
            .u8(self.media_type.len() as u8)
            .put(self.media_type.as_bytes())
            .put(self.body.as_bytes());
    }

    /// Reads it; takes all that is left.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (id, composed) = (MessageId(r.array()?), Composed::decode(r)?);
        let (size, hash) = (r.u64()?, r.array()?);
        let key = FileKey::from_bytes(r.array()?);
        if usize::from(r.u16()?) != FILE_RECORD_LEN {
            return Err(DecodeError::Invalid("record length"));
        }
        let name = text(r, "file name")?;
        let media_type = text(r, "media type")?;
        if !is_name(&name) {
            return Err(DecodeError::Invalid("file name"));
        }
        if !is_media_type(&media_type) {
            return Err(DecodeError::Invalid("media type"));
        }
        let body = std::str::from_utf8(r.rest()).map_err(|_| DecodeError::Invalid("body"))?;
        Ok(Self {
            id,
            composed,
            size,
            hash,
            key,
            name,
            media_type,
            body: body.to_owned(),
        })
    }
}

fn text(r: &mut Reader<'_>, what: &'static str) -> Result<String, DecodeError> {
    let len = usize::from(r.u8()?);
    let text = std::str::from_utf8(r.slice(len)?).map_err(|_| DecodeError::Invalid(what))?;
    Ok(text.to_owned())
}

/// Whether a file may be called this: something that is no path and hides nothing.
pub fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\') || is_direction(c);
    (1..=NAME_MAX).contains(&name.len()) && !name.contains(bad) && name != "." && name != ".."
}

/// Whether this may stand for what a file is: printable ASCII, possibly none.
pub fn is_media_type(media_type: &str) -> bool {
    media_type.len() <= MEDIA_TYPE_MAX
        && media_type
            .bytes()
            .all(|b| b == b' ' || b.is_ascii_graphic())
}

/// Characters that turn the reading direction, so that `cod.exe` looks like `exe.doc`.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How far a receiver has come. Part of an accept and of a progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Strictly increasing over all reports of one transfer.
    pub number: u32,
    /// Nothing came for long: what was stored before that is lost.
    pub idle: bool,
    /// The whole file is here and has the right hash.
    pub complete: bool,
    /// The first record that is missing; their number when none is.
    pub first_missing: u32,
    /// Bit i, from the lowest of the first byte on: whether record `first_missing + 1 + i` is here.
    pub bitmap: Vec<u8>,
}

impl Report {
    /// The bitmap for a set of records; those outside its range are left out.
    pub(super) fn bitmap_of(first_missing: u32, here: impl Fn(u32) -> bool) -> Vec<u8> {
        let mut bitmap = vec![0; BITMAP_MAX];
        let start = first_missing.saturating_add(1);
        for (i, index) in (start..).take(SPAN as usize).enumerate() {
            if here(index) {
                bitmap[i / 8] |= 1 << (i % 8);
            }
        }
        let used = bitmap.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        bitmap.truncate(used);
        bitmap
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        w.u32(self.number)
            .u8(u8::from(self.idle) | u8::from(self.complete) << 1)
            .u32(self.first_missing)
            .u16(self.bitmap.len() as u16)
            .put(&self.bitmap);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, flags, first_missing) = (r.u32()?, r.u8()?, r.u32()?);
        if flags > 3 {
            return Err(DecodeError::Invalid("report flags"));
        }
        let len = usize::from(r.u16()?);
        if len > BITMAP_MAX {
            return Err(DecodeError::TooLong("report bitmap"));
        }
        let bitmap = r.slice(len)?.to_vec();
        if bitmap.last() == Some(&0) {
            return Err(DecodeError::Invalid("report bitmap"));
        }
        Ok(Self {
            number,
            idle: flags & 1 != 0,
            complete: flags & 2 != 0,
            first_missing,
            bitmap,
        })
    }

    /// The records after the first missing one that are here.
    pub fn beyond(&self) -> impl Iterator<Item = u32> + '_ {
        let bit = |i: &usize| self.bitmap[i / 8] >> (i % 8) & 1 == 1;
        let start = self.first_missing.saturating_add(1);
        let set = (0..self.bitmap.len() * 8).filter(bit);
        set.filter_map(move |i| start.checked_add(i as u32))
    }
}

/// A file is wanted, and where to. Inner type 5.
#[derive(Clone, PartialEq, Eq)]
pub struct FileAccept {
    /// Which.
    pub transfer: MessageId,
    /// What is here already.
    pub report: Report,
    /// Where the records may be put: 1 to [`INBOXES_MAX`].
    pub inboxes: Vec<InboxAddress>,
}

impl FileAccept {
    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        w.put(&self.transfer.0);
        self.report.encode(w);
        w.u8(self.inboxes.len() as u8);
        for address in &self.inboxes {
            w.put(&address.to_bytes());
        }
    }

    /// Reads it.
    pub fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let transfer = MessageId(r.array()?);
        let report = Report::decode(&mut r)?;
        let count = usize::from(r.u8()?);
        if !(1..=INBOXES_MAX).contains(&count) {
            return Err(DecodeError::Invalid("number of inboxes"));
        }
        let inboxes = (0..count).map(|_| InboxAddress::decode(&mut r));
        let inboxes = inboxes.collect::<Result<Vec<_>, _>>()?;
        r.finish()?;
        Ok(Self {
            transfer,
            report,
            inboxes,
        })
    }
}

/// A file came further. Inner type 6.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileProgress {
    /// Which.
    pub transfer: MessageId,
    /// What is here.
    pub report: Report,
}

impl FileProgress {
    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        w.put(&self.transfer.0);
        self.report.encode(w);
    }

    /// Reads it.
    pub fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let progress = Self {
            transfer: MessageId(r.array()?),
            report: Report::decode(&mut r)?,
        };
        r.finish()?;
        Ok(progress)
    }
}

/// Why a file does not come. The numbers are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CancelReason {
    /// A person said so.
    Person = 1,
    /// The content has not the hash that was promised.
    Damaged = 2,
    /// The sender has not got the bytes any more.
    Gone = 3,
    /// The receiver takes no file of this length.
    TooLarge = 4,
    /// The receiver has no room, or too many files at once.
    NoRoom = 5,
}

/// A file will not come. Inner type 7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileCancel {
    /// Which.
    pub transfer: MessageId,
    /// Why.
    pub reason: CancelReason,
}

impl FileCancel {
    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        w.put(&self.transfer.0).u8(self.reason as u8);
    }

    /// Reads it.
    pub fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let transfer = MessageId(r.array()?);
        let reason = CancelReason::from_u8(r.u8()?)?;
        r.finish()?;
        Ok(Self { transfer, reason })
    }
}

impl CancelReason {
    pub(crate) fn from_u8(number: u8) -> Result<Self, DecodeError> {
        Ok(match number {
            1 => Self::Person,
            2 => Self::Damaged,
            3 => Self::Gone,
            4 => Self::TooLarge,
            5 => Self::NoRoom,
            _ => return Err(DecodeError::Invalid("reason")),
        })
    }
}
