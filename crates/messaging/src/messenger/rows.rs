//! What rows hold: encoders beside their decoders. Internal to one store, versioned by the first
//! byte of the own row; not part of any protocol.

use super::contacts::{Contact, Hello, Pair, Parcel, ParcelState, Sent};
use super::inboxes::{Inbox, Purpose};
use super::incoming::WaitingCell;
use super::invites::Invite;
use super::path::Path;
use crate::card::{decode_name, encode_name};
use crate::event::{ClientMessageId, FailReason, MessageId, MessageState};
use crate::identity::{ContactId, Identity, KemPublic};
use crate::pair::PairSecret;
use crate::suite1::CELLS_MAX;
use wire::codec::{DecodeError, Reader, Writer};
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::keys::IdentityPublic;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// The only version of rows there is.
pub(super) const VERSION: u8 = 1;

type Row = Zeroizing<Vec<u8>>;

/// A writer that never has to grow, so that no copy of a secret stays behind.
fn writer() -> Writer {
    Writer::with_capacity(8192)
}

fn row(w: Writer) -> Row {
    Zeroizing::new(w.into_vec())
}

pub(super) fn nothing() -> Row {
    Zeroizing::new(Vec::new())
}

pub(super) fn own(identity: &Identity, secret: &[u8; 32]) -> Row {
    let mut w = writer();
    w.u8(VERSION).put(&identity.to_bytes()[..]).put(secret);
    row(w)
}

/// The version byte was read already.
pub(super) fn decode_own(
    mut r: Reader<'_>,
) -> Result<(Identity, Zeroizing<[u8; 32]>), DecodeError> {
    let seeds = Zeroizing::new(r.array()?);
    let secret = Zeroizing::new(r.array()?);
    r.finish()?;
    Ok((Identity::from_bytes(&seeds), secret))
}

pub(super) fn contact(c: &Contact) -> Row {
    let mut w = writer();
    let flags = [c.verified, c.by_invite, c.lost, c.hello.is_some()];
    let bits = flags.iter().rev().fold(0, |b, f| b << 1 | u8::from(*f));
    w.u8(bits)
        .put(&c.identity.to_bytes())
        .put(c.kem.as_bytes())
        .put(&c.card);
    encode_name(&mut w, &c.name);
    w.u8(c.pairs.len() as u8);
    for pair in &c.pairs {
        w.u8(u8::from(pair.confirmed)).put(pair.secret.expose());
    }
    if let Some(hello) = &c.hello {
        encode_invites(&mut w, &hello.invites, hello.expires);
        w.u8(hello.parcels.len() as u8);
        for parcel in &hello.parcels {
            w.u8(u8::from(parcel.is_stored()));
            encode_parcel(&mut w, parcel);
        }
    }
    row(w)
}

pub(super) fn decode_contact(bytes: &[u8]) -> Result<Contact, DecodeError> {
    let mut r = Reader::new(bytes);
    let bits = r.u8()?;
    let identity = IdentityPublic::decode(&mut r)?;
    let kem = KemPublic::decode(&mut r)?;
    let card = r.array()?;
    let name = decode_name(&mut r)?;
    let mut contact = Contact::new(identity, kem, name);
    contact.card = card;
    contact.verified = bits & 1 != 0;
    contact.by_invite = bits & 2 != 0;
    contact.lost = bits & 4 != 0;
    for _ in 0..r.u8()? {
        let confirmed = r.u8()? != 0;
        let secret = PairSecret::from_bytes(r.array()?);
        contact.pairs.push(Pair { secret, confirmed });
    }
    if bits & 8 != 0 {
        contact.hello = Some(decode_hello(&mut r)?);
    }
    r.finish()?;
    Ok(contact)
}

fn decode_hello(r: &mut Reader<'_>) -> Result<Hello, DecodeError> {
    let (invites, expires) = decode_invites(r)?;
    let count = usize::from(r.u8()?);
    if count > CELLS_MAX {
        return Err(DecodeError::TooLong("hello"));
    }
    let parcel = |r: &mut Reader<'_>| {
        let stored = r.u8()? != 0;
        let mut parcel = decode_parcel(r)?;
        if stored {
            parcel.state = ParcelState::Stored;
        }
        Ok(parcel)
    };
    let parcels = (0..count).map(|_| parcel(r)).collect::<Result<_, _>>()?;
    Ok(Hello {
        invites,
        expires,
        parcels,
        path: Path::default(),
        holds_texts: true,
    })
}

pub(super) fn invite(invite: &Invite) -> Row {
    let mut w = writer();
    encode_invites(&mut w, &invite.addresses, invite.expires);
    row(w)
}

pub(super) fn decode_invite(bytes: &[u8]) -> Result<Invite, DecodeError> {
    let mut r = Reader::new(bytes);
    let (addresses, expires) = decode_invites(&mut r)?;
    r.finish()?;
    Ok(Invite { addresses, expires })
}

fn encode_invites(w: &mut Writer, addresses: &[InboxAddress; 2], expires: UnixTime) {
    w.put(&addresses[0].to_bytes())
        .put(&addresses[1].to_bytes())
        .u64(expires.0);
}

fn decode_invites(r: &mut Reader<'_>) -> Result<([InboxAddress; 2], UnixTime), DecodeError> {
    let addresses = [InboxAddress::decode(r)?, InboxAddress::decode(r)?];
    Ok((addresses, UnixTime(r.u64()?)))
}

pub(super) fn inbox(inbox: &Inbox) -> Row {
    let mut w = writer();
    w.put(&inbox.gateway.0)
        .put(&inbox.token_hash.0)
        .u64(inbox.until.0);
    match &inbox.purpose {
        Purpose::Invite(digest) => w.u8(0).put(digest),
        Purpose::Pair {
            contact,
            rank,
            period,
        } => w.u8(1).put(&contact.0).put(rank).u64(*period),
    };
    row(w)
}

pub(super) fn decode_inbox(bytes: &[u8]) -> Result<Inbox, DecodeError> {
    let mut r = Reader::new(bytes);
    let gateway = NodeId::decode(&mut r)?;
    let token_hash = WriteTokenHash(r.array()?);
    let until = UnixTime(r.u64()?);
    let purpose = match r.u8()? {
        0 => Purpose::Invite(r.array()?),
        1 => Purpose::Pair {
            contact: ContactId(r.array()?),
            rank: r.array()?,
            period: r.u64()?,
        },
        _ => return Err(DecodeError::Invalid("purpose")),
    };
    r.finish()?;
    Ok(Inbox::stored(gateway, token_hash, purpose, until))
}

pub(super) fn outgoing(parcel: &Parcel) -> Row {
    let mut w = writer();
    encode_parcel(&mut w, parcel);
    row(w)
}

pub(super) fn decode_outgoing(bytes: &[u8]) -> Result<Parcel, DecodeError> {
    let mut r = Reader::new(bytes);
    let parcel = decode_parcel(&mut r)?;
    r.finish()?;
    Ok(parcel)
}

fn encode_parcel(w: &mut Writer, parcel: &Parcel) {
    w.put(&parcel.cell_id.0).put(&parcel.cell[..]);
}

fn decode_parcel(r: &mut Reader<'_>) -> Result<Parcel, DecodeError> {
    let cell_id = CellId::decode(r)?;
    Ok(Parcel::new(cell_id, Box::new(r.array::<CELL_LEN>()?)))
}

pub(super) fn sent(sent: &Sent) -> Row {
    let mut w = writer();
    let state = match sent.state {
        MessageState::Queued | MessageState::Mixing => 0,
        MessageState::Stored => 1,
        MessageState::Expired => 2,
        MessageState::Failed(FailReason::InviteExpired) => 3,
        MessageState::Delivered => 4,
        MessageState::Read => 5,
        MessageState::Failed(FailReason::Wiped) => 6,
        MessageState::Failed(FailReason::FileGone) => 7,
        MessageState::Failed(FailReason::Cancelled) => 8,
    };
    w.u8(state)
        .put(&sent.body)
        .u64(sent.composed.0)
        .put(sent.id.as_str().as_bytes());
    row(w)
}

pub(super) fn decode_sent(bytes: &[u8]) -> Result<Sent, DecodeError> {
    let mut r = Reader::new(bytes);
    let state = match r.u8()? {
        0 => MessageState::Queued,
        1 => MessageState::Stored,
        2 => MessageState::Expired,
        3 => MessageState::Failed(FailReason::InviteExpired),
        4 => MessageState::Delivered,
        5 => MessageState::Read,
        6 => MessageState::Failed(FailReason::Wiped),
        7 => MessageState::Failed(FailReason::FileGone),
        8 => MessageState::Failed(FailReason::Cancelled),
        _ => return Err(DecodeError::Invalid("state")),
    };
    let body = r.array()?;
    let composed = UnixTime(r.u64()?);
    let id = std::str::from_utf8(r.rest()).ok();
    let id = id.and_then(ClientMessageId::new);
    Ok(Sent {
        id: id.ok_or(DecodeError::Invalid("message id"))?,
        body,
        composed,
        state,
    })
}

pub(super) fn waiting(waiting: &WaitingCell) -> Row {
    let mut w = writer();
    w.put(&waiting.inbox.0)
        .put(&waiting.cell_id.0)
        .put(&waiting.cell[..]);
    row(w)
}

/// Without the opening, which is made again from the cell.
pub(super) fn decode_waiting(bytes: &[u8]) -> Result<WaitingCell, DecodeError> {
    let mut r = Reader::new(bytes);
    let waiting = WaitingCell {
        inbox: InboxId::decode(&mut r)?,
        cell_id: CellId::decode(&mut r)?,
        cell: Box::new(r.array()?),
        opening: None,
    };
    r.finish()?;
    Ok(waiting)
}

/// Key of an outgoing message: contact and number.
pub(super) fn message_key(contact: &ContactId, seq: u64) -> Vec<u8> {
    [&contact.0[..], &seq.to_be_bytes()].concat()
}

pub(super) fn decode_message_key(key: &[u8]) -> Result<(ContactId, u64), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), r.u64()?);
    r.finish()?;
    Ok(key)
}

/// Key of a received message: contact, time, id.
pub(super) fn received_key(contact: &ContactId, composed: UnixTime, id: &MessageId) -> Vec<u8> {
    [&contact.0[..], &composed.0.to_be_bytes(), &id.0].concat()
}

pub(super) fn decode_received_key(
    key: &[u8],
) -> Result<(ContactId, UnixTime, MessageId), DecodeError> {
    let mut r = Reader::new(key);
    let key = (
        ContactId(r.array()?),
        UnixTime(r.u64()?),
        MessageId(r.array()?),
    );
    r.finish()?;
    Ok(key)
}
