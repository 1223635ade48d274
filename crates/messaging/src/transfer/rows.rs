//! What the two machines write down: encoders beside their decoders. Internal to one store. A row
//! holds the file's key. Not here: what a row is called, and what the Messenger adds to it.

use super::formats::Report;
use super::receive::ReceiveTransfer;
use super::send::SendTransfer;
use super::{FileKey, INBOXES_MAX, Pace, Shape};
use crate::event::MessageId;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::InboxAddress;
use wire::time::Instant;

impl SendTransfer {
    /// Appends what a restart needs.
    pub fn encode(&self, w: &mut Writer) {
        let (number, base, beyond, inboxes) = self.memory();
        w.put(&self.key().0[..]).u64(self.shape().size());
        Report {
            number,
            idle: false,
            complete: self.is_complete(),
            first_missing: base,
            bitmap: Report::bitmap_of(base, |i| beyond.contains(&i)),
        }
        .encode(w);
        encode_inboxes(w, inboxes.into_iter());
    }

    /// Reads what [`SendTransfer::encode`] wrote.
    pub fn decode(r: &mut Reader<'_>, pace: Pace, now: Instant) -> Result<Self, DecodeError> {
        let (key, shape) = decode_file(r)?;
        let report = Report::decode(r)?;
        let inboxes = decode_inboxes(r)?;
        let records = shape.records();
        let after = report.beyond().any(|i| i >= records);
        if report.first_missing > records || after || report.idle {
            return Err(DecodeError::Invalid("records sent"));
        }
        let mut transfer = Self::new(key, shape, pace, now);
        transfer.remember(&report, &inboxes);
        Ok(transfer)
    }
}

impl ReceiveTransfer {
    /// Appends what a restart needs besides the pages.
    pub fn encode(&self, w: &mut Writer) {
        let (key, number, complete) = self.memory();
        w.put(&key.0[..])
            .u64(self.shape().size())
            .u32(number)
            .u8(u8::from(complete));
        encode_inboxes(w, self.inboxes());
    }

    /// Reads what [`ReceiveTransfer::encode`] wrote. The pages follow with
    /// [`ReceiveTransfer::restore_page`].
    pub fn decode(
        r: &mut Reader<'_>,
        id: MessageId,
        pace: Pace,
        now: Instant,
    ) -> Result<Self, DecodeError> {
        let (key, shape) = decode_file(r)?;
        let (number, complete) = (r.u32()?, r.u8()?);
        let inboxes = decode_inboxes(r)?;
        if complete > 1 {
            return Err(DecodeError::Invalid("complete"));
        }
        let mut transfer = Self::new(id, key, shape, pace, now);
        transfer.remember(number, complete == 1, inboxes);
        Ok(transfer)
    }
}

fn decode_file(r: &mut Reader<'_>) -> Result<(FileKey, Shape), DecodeError> {
    let key = FileKey::from_bytes(r.array()?);
    let size = r.u64()?;
    if size > Shape::SIZE_MAX {
        return Err(DecodeError::TooLong("file"));
    }
    Ok((key, Shape::new(size)))
}

fn encode_inboxes<'a>(w: &mut Writer, inboxes: impl Iterator<Item = &'a InboxAddress>) {
    let inboxes: Vec<&InboxAddress> = inboxes.collect();
    w.u8(inboxes.len() as u8);
    for address in inboxes {
        w.put(&address.to_bytes());
    }
}

fn decode_inboxes(r: &mut Reader<'_>) -> Result<Vec<InboxAddress>, DecodeError> {
    let count = usize::from(r.u8()?);
    if count > INBOXES_MAX {
        return Err(DecodeError::TooLong("inboxes"));
    }
    (0..count).map(|_| InboxAddress::decode(r)).collect()
}
