//! One event as rows of the store: a head, its JSON, and more rows for what does not fit one.
//! `docs/spec/store.md` §4.

use super::TABLE_EVENTS;
use crate::api::types::ApiEvent;
use messaging::ContactId;
use store::{VaultId, Write};
use wire::codec::{DecodeError, Reader, Writer};
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// Most bytes of JSON in one row; a row has room for 96 KiB.
const PART_LEN: usize = 64 * 1024;
/// Begins a row; `{` begins one from before there were applications, which is JSON alone.
const FORMAT: u8 = 1;

/// What the first row of an event says.
pub(super) struct Row {
    pub(super) parts: u8,
    pub(super) bytes: u64,
    pub(super) at: UnixTime,
    pub(super) contact: Option<ContactId>,
    pub(super) name: String,
    /// What of the JSON stands in this row.
    pub(super) json: Zeroizing<Vec<u8>>,
}

pub(super) fn key(number: u64, part: u8) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    if part > 0 {
        key.push(part);
    }
    key
}

pub(super) fn write(
    number: u64,
    part: u8,
    value: Option<Vec<u8>>,
    contact: Option<ContactId>,
) -> Write {
    Write {
        table: TABLE_EVENTS,
        key: key(number, part),
        value: value.map(Zeroizing::new),
        vault: contact.map(|c| VaultId(c.0)),
    }
}

/// Adds an event's rows to a batch. Says what they take.
pub(super) fn encode(number: u64, event: &ApiEvent, at: UnixTime, writes: &mut Vec<Write>) -> Row {
    let json = serde_json::to_vec(event).expect("strings and numbers are always JSON");
    let json = Zeroizing::new(json);
    let contact = event.contact().and_then(ContactId::from_hex);
    let mut chunks = json.chunks(PART_LEN);
    // The longest text, each byte of it escaped as six, takes 25.
    let parts = u8::try_from(chunks.len()).expect("a text is at most 256 KiB long");
    let mut w = Writer::with_capacity(PART_LEN.min(json.len()) + 64);
    w.u8(FORMAT).u8(parts).u64(json.len() as u64).u64(at.0);
    match contact {
        Some(contact) => w.u8(1).put(&contact.0),
        None => w.u8(0),
    };
    let name = event.name();
    w.u8(name.len() as u8).put(name.as_bytes());
    w.put(chunks.next().unwrap_or_default());
    writes.push(write(number, 0, Some(w.into_vec()), contact));
    for (part, chunk) in (1..).zip(chunks) {
        writes.push(write(number, part, Some(chunk.to_vec()), contact));
    }
    Row {
        parts,
        bytes: json.len() as u64,
        at,
        contact,
        name: name.to_owned(),
        json: Zeroizing::new(Vec::new()),
    }
}

impl Row {
    /// Reads a first row. One that is damaged or newer is an event without a content.
    pub(super) fn head(value: &[u8]) -> Self {
        Self::decode(value).unwrap_or_else(|_| Self {
            parts: 1,
            bytes: value.len() as u64,
            at: UnixTime(0),
            contact: None,
            name: "message".into(),
            json: Zeroizing::new(match value.first() {
                Some(b'{') => value.to_vec(),
                Some(_) | None => b"{\"type\":\"unreadable\"}".to_vec(),
            }),
        })
    }

    fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(value);
        if r.u8()? != FORMAT {
            return Err(DecodeError::Invalid("format of an event"));
        }
        let (parts, bytes, at) = (r.u8()?, r.u64()?, UnixTime(r.u64()?));
        let contact = match r.u8()? {
            0 => None,
            _ => Some(ContactId(r.array()?)),
        };
        let len = usize::from(r.u8()?);
        let name = std::str::from_utf8(r.slice(len)?);
        let name = name.map_err(|_| DecodeError::Invalid("name of an event"))?;
        Ok(Self {
            parts: parts.max(1),
            bytes,
            at,
            contact,
            name: name.to_owned(),
            json: Zeroizing::new(r.rest().to_vec()),
        })
    }
}
