//! What a message says, once it is open: `docs/spec/messaging.md` §4. Not here: sealing and the
//! sender's signature ([`crate::suite1`]), which cover these bytes.

use crate::card::{decode_name, encode_name};
use crate::event::MessageId;
use crate::identity::KemPublic;
use crate::suite1::INNER_ONE_CELL;
use wire::codec::{DecodeError, Reader, Writer};
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Most bytes of a text, so that its message is one cell.
pub const BODY_MAX: usize = INNER_ONE_CELL - 1 - 16 - 8;

const TYPE_HELLO: u8 = 1;
const TYPE_TEXT: u8 = 2;

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
        /// Strictly increasing for one sender and recipient.
        composed: UnixTime,
        /// UTF-8.
        body: String,
    },
    /// Of a kind that this version does not know.
    Unknown,
}

impl Inner {
    /// The bytes to seal. `Unknown` has none of its own.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::with_capacity(INNER_ONE_CELL);
        match self {
            Self::Hello { card, kem, name } => {
                w.u8(TYPE_HELLO).put(card).put(kem.as_bytes());
                encode_name(&mut w, name);
            }
            Self::Text { id, composed, body } => {
                w.u8(TYPE_TEXT)
                    .put(&id.0)
                    .u64(composed.0)
                    .put(body.as_bytes());
            }
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
                composed: UnixTime(r.u64()?),
                body: std::str::from_utf8(r.rest())
                    .map_err(|_| DecodeError::Invalid("body"))?
                    .to_owned(),
            }),
            _ => Ok(Self::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_and_junk_is_refused() {
        let text = Inner::Text {
            id: MessageId([3; 16]),
            composed: UnixTime(9),
            body: "Guten Tag, Zoë".to_owned(),
        };
        let bytes = text.encode();
        let Ok(Inner::Text { id, composed, body }) = Inner::decode(&bytes) else {
            panic!("no text");
        };
        assert_eq!((id, composed), (MessageId([3; 16]), UnixTime(9)));
        assert_eq!(body, "Guten Tag, Zoë");
        assert!(Inner::decode(&bytes[..24]).is_err());
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
