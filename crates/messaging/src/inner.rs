//! What a message says, once it is open: `docs/spec/messaging.md` §4. Not here: sealing and the
//! sender's signature ([`crate::suite1`]), which cover these bytes.

use crate::card::{decode_name, encode_name};
use crate::composed::Composed;
use crate::event::MessageId;
use crate::identity::KemPublic;
use crate::receipt::Receipt;
use crate::suite1::INNER_ONE_CELL;
use crate::transfer::{FileAccept, FileCancel, FileOffer, FileProgress};
use wire::codec::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

/// Most bytes of a text whose message is one cell.
pub const SHORT_BODY_MAX: usize = INNER_ONE_CELL - 1 - 16 - 16;

// 2 and 4 were text and offer without the time of the message before.
const TYPE_HELLO: u8 = 1;
const TYPE_RECEIPT: u8 = 3;
const TYPE_FILE_ACCEPT: u8 = 5;
const TYPE_FILE_PROGRESS: u8 = 6;
const TYPE_FILE_CANCEL: u8 = 7;
const TYPE_TEXT: u8 = 8;
const TYPE_FILE_OFFER: u8 = 9;

/// A message's content.
pub enum Inner {
    /// First contact: the answer to a card.
    Hello {
        /// Digest of the card that is answered.
        card: [u8; 16],
        /// What to seal to from now on.
        kem: KemPublic,
        /// What the sender calls themselves.
        name: String,
    },
    /// A text.
    Text {
        /// The same in every resend.
        id: MessageId,
        /// Its place among the sender's messages.
        composed: Composed,
        /// UTF-8.
        body: String,
    },
    /// What became of messages.
    Receipt(Receipt),
    /// A file is offered.
    FileOffer(FileOffer),
    /// A file is wanted.
    FileAccept(FileAccept),
    /// A file came further.
    FileProgress(FileProgress),
    /// A file will not come.
    FileCancel(FileCancel),
    /// Of a kind that this version does not know.
    Unknown,
}

impl Inner {
    /// The bytes to seal. `Unknown` has none of its own.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let body = match self {
            Self::Text { body, .. } => body.len(),
            Self::FileOffer(offer) => offer.body.len(),
            Self::Hello { .. } => KemPublic::LEN,
            Self::Receipt(_)
            | Self::FileAccept(_)
            | Self::FileProgress(_)
            | Self::FileCancel(_)
            | Self::Unknown => 0,
        };
        // Never has to grow, so that no copy of a text stays behind.
        let mut w = Writer::with_capacity(INNER_ONE_CELL + body);
        match self {
            Self::Hello { card, kem, name } => {
                w.u8(TYPE_HELLO).put(card).put(kem.as_bytes());
                encode_name(&mut w, name);
            }
            Self::Text { id, composed, body } => {
                composed.encode(w.u8(TYPE_TEXT).put(&id.0));
                w.put(body.as_bytes());
            }
            Self::Receipt(receipt) => receipt.encode(w.u8(TYPE_RECEIPT)),
            Self::FileOffer(offer) => offer.encode(w.u8(TYPE_FILE_OFFER)),
            Self::FileAccept(accept) => accept.encode(w.u8(TYPE_FILE_ACCEPT)),
            Self::FileProgress(progress) => progress.encode(w.u8(TYPE_FILE_PROGRESS)),
            Self::FileCancel(cancel) => cancel.encode(w.u8(TYPE_FILE_CANCEL)),
            Self::Unknown => {}
        }
        Zeroizing::new(w.into_vec())
    }

    /// Reads what [`Inner::encode`] wrote; other types give [`Inner::Unknown`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        match r.u8()? {
            TYPE_HELLO => {
                let hello = Self::Hello {
                    card: r.array()?,
                    kem: KemPublic::decode(&mut r)?,
                    name: decode_name(&mut r)?,
                };
                r.finish()?;
                Ok(hello)
            }
            TYPE_TEXT => Ok(Self::Text {
                id: MessageId(r.array()?),
                composed: Composed::decode(&mut r)?,
                body: std::str::from_utf8(r.rest())
                    .map_err(|_| DecodeError::Invalid("body"))?
                    .to_owned(),
            }),
            TYPE_RECEIPT => Receipt::decode(r).map(Self::Receipt),
            TYPE_FILE_OFFER => FileOffer::decode(&mut r).map(Self::FileOffer),
            TYPE_FILE_ACCEPT => FileAccept::decode(r).map(Self::FileAccept),
            TYPE_FILE_PROGRESS => FileProgress::decode(r).map(Self::FileProgress),
            TYPE_FILE_CANCEL => FileCancel::decode(r).map(Self::FileCancel),
            _ => Ok(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::UnixTime;

    #[test]
    fn a_text_comes_back_and_junk_is_refused() {
        let composed = Composed {
            at: UnixTime(9),
            after: UnixTime(7),
        };
        let text = Inner::Text {
            id: MessageId([3; 16]),
            composed,
            body: "Guten Tag, Zoë".to_owned(),
        };
        let bytes = text.encode();
        // Frozen: docs/spec/messaging.md §4.
        let (at, after) = (9u64.to_be_bytes(), 7u64.to_be_bytes());
        let frozen = [&[8], &[3; 16][..], &at, &after, "Guten Tag, Zoë".as_bytes()].concat();
        assert_eq!(bytes[..], frozen);
        let Ok(Inner::Text {
            id,
            composed: read,
            body,
        }) = Inner::decode(&bytes)
        else {
            panic!("no text");
        };
        assert_eq!((id, read), (MessageId([3; 16]), composed));
        assert_eq!(body, "Guten Tag, Zoë");
        assert!(Inner::decode(&bytes[..32]).is_err());
        assert!(Inner::decode(&[]).is_err());
        let mut bad = bytes.clone();
        *bad.last_mut().unwrap() = 0xff;
        assert_eq!(
            Inner::decode(&bad).err(),
            Some(DecodeError::Invalid("body"))
        );
        assert!(matches!(Inner::decode(&[99, 1, 2]), Ok(Inner::Unknown)));
    }
}
