//! What one end tells the other about its messages: delivered, read, or how much of it is here. Behind
//! its type byte; `docs/spec/messaging.md` §9.
//!
//! Not here: when something is told, and what follows from it (`crate::messenger`).

use crate::event::MessageId;
use crate::suite1::INNER_ONE_CELL;
use wire::codec::{DecodeError, Reader, Writer};

/// Bytes of a receipt without entries, type byte included.
const EMPTY_LEN: usize = 1 + 8 + 1 + 1;
/// Longest bitmap of pieces.
const BITMAP_MAX: usize = crate::fragment::TOTAL_MAX.div_ceil(8);

/// What is told of one message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Told {
    /// It is durable here.
    Delivered,
    /// A person read it.
    Read,
    /// It is not whole: these of its pieces are here, as [`crate::fragment::bitmap`].
    Pieces(Vec<u8>),
}

/// A batch of news. Inner type 3; always one cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Strictly increasing over all receipts of one sender to one recipient.
    pub number: u64,
    /// Whether there will be others.
    pub on: bool,
    /// What is told.
    pub entries: Vec<(MessageId, Told)>,
}

impl Receipt {
    /// Whether `entries` and one more fit a cell.
    pub fn fits(entries: &[(MessageId, Told)], one_more: &Told) -> bool {
        let all = entries.iter().map(|(_, told)| told).chain([one_more]);
        let sum: usize = all.map(entry_len).sum();
        EMPTY_LEN + sum <= INNER_ONE_CELL && entries.len() < usize::from(u8::MAX)
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        w.u64(self.number)
            .u8(u8::from(self.on))
            .u8(self.entries.len() as u8);
        for (id, told) in &self.entries {
            w.put(&id.0);
            match told {
                Told::Delivered => w.u8(1),
                Told::Read => w.u8(2),
                Told::Pieces(bits) => w.u8(3).u8(bits.len() as u8).put(bits),
            };
        }
    }

    /// Reads it.
    pub fn decode(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let (number, on) = (r.u64()?, r.u8()?);
        if on > 1 {
            return Err(DecodeError::Invalid("receipts"));
        }
        let count = r.u8()?;
        let entries = (0..count).map(|_| decode_entry(&mut r));
        let entries = entries.collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(Self {
            number,
            on: on == 1,
            entries,
        })
    }
}

fn entry_len(told: &Told) -> usize {
    match told {
        Told::Delivered | Told::Read => 17,
        Told::Pieces(bits) => 18 + bits.len(),
    }
}

fn decode_entry(r: &mut Reader<'_>) -> Result<(MessageId, Told), DecodeError> {
    let id = MessageId(r.array()?);
    let told = match r.u8()? {
        1 => Told::Delivered,
        2 => Told::Read,
        3 => {
            let len = usize::from(r.u8()?);
            let bits = r.slice(len)?.to_vec();
            if len > BITMAP_MAX {
                return Err(DecodeError::TooLong("pieces"));
            }
            if bits.last() == Some(&0) {
                return Err(DecodeError::Invalid("pieces"));
            }
            Told::Pieces(bits)
        }
        _ => return Err(DecodeError::Invalid("receipt")),
    };
    Ok((id, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_comes_back_and_junk_is_refused() {
        let id = |n: u8| MessageId([n; 16]);
        let receipt = Receipt {
            number: 7,
            on: true,
            entries: vec![
                (id(1), Told::Delivered),
                (id(2), Told::Read),
                (id(3), Told::Pieces(vec![0, 0x81])),
                (id(4), Told::Pieces(Vec::new())),
            ],
        };
        let mut w = Writer::default();
        receipt.encode(&mut w);
        let bytes = w.into_vec();
        assert_eq!(Receipt::decode(Reader::new(&bytes)), Ok(receipt));
        for cut in 0..bytes.len() {
            assert!(Receipt::decode(Reader::new(&bytes[..cut])).is_err());
        }
        let change = |at: usize, value: u8| {
            let mut bad = bytes.clone();
            bad[at] = value;
            Receipt::decode(Reader::new(&bad)).err()
        };
        assert_eq!(change(8, 2), Some(DecodeError::Invalid("receipts")));
        assert_eq!(change(26, 4), Some(DecodeError::Invalid("receipt")));
        assert_eq!(change(63, 0), Some(DecodeError::Invalid("pieces")));
        assert_eq!(change(61, 21), Some(DecodeError::Truncated));
        let mut long = bytes.clone();
        long.push(0);
        let leftover = Receipt::decode(Reader::new(&long)).err();
        assert_eq!(leftover, Some(DecodeError::Leftover));
    }

    #[test]
    fn as_many_as_fit_make_one_cell() {
        let mut entries = Vec::new();
        while Receipt::fits(&entries, &Told::Delivered) {
            entries.push((MessageId([0; 16]), Told::Delivered));
        }
        assert_eq!(entries.len(), 42);
        let mut w = Writer::default();
        let on = true;
        let number = 0;
        Receipt {
            number,
            on,
            entries,
        }
        .encode(&mut w);
        assert!(w.len() < INNER_ONE_CELL);
    }
}
