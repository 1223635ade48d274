//! What rows hold: encoders beside their decoders. Internal to one store, versioned by the first
//! byte of the own row; not part of any protocol.

use super::contacts::{Contact, Hello, Known, Message, Pair, Parcel, Sent, Way};
use super::inboxes::{Inbox, Purpose};
use super::incoming::WaitingCell;
use super::invites::Invite;
use super::path::Path;
use super::receiving::{Receiving, Stage};
use super::sending::Sending;
use crate::card::{decode_name, encode_name};
use crate::composed::Composed;
use crate::draft::{AppId, BlobRef, FileView, Retention};
use crate::event::{ClientMessageId, FailReason, MessageId, MessageState};
use crate::fragment::{Cut, Fragment, PAYLOAD_LEN};
use crate::identity::{ContactId, Identity, KemPublic};
use crate::inner::Inner;
use crate::pair::PairSecret;
use crate::suite1::{CELLS_MAX, INNER_LONG_MAX, SEALED_LONG_MAX};
use crate::transfer::{CancelReason, FileKey, Pace, ReceiveTransfer, SendTransfer};
use std::time::Duration;
use wire::codec::{DecodeError, Reader, Writer};
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::keys::IdentityPublic;
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

/// The version of rows that this program reads and writes; another is refused.
pub(super) const VERSION: u8 = 3;
/// Bytes of a message in one row: the store takes no much longer ones.
const PAGE_LEN: usize = 60_000;

type Row = Zeroizing<Vec<u8>>;

/// A writer that never has to grow, so that no copy of a secret stays behind.
fn writer() -> Writer {
    Writer::with_capacity(8192)
}

fn row(w: Writer) -> Row {
    Zeroizing::new(w.into_vec())
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
    let flags = [
        c.verified,
        c.by_invite,
        c.lost,
        c.hello.is_some(),
        c.favourite,
        c.receipts,
        c.notes.told_off,
        c.their_receipts.0,
    ];
    let bits = flags.iter().rev().fold(0, |b, f| b << 1 | u8::from(*f));
    w.u8(bits)
        .put(&c.identity.to_bytes())
        .put(c.kem.as_bytes())
        .put(&c.card);
    encode_name(&mut w, &c.name);
    let retention = match c.retention {
        Retention::Forever => u64::MAX,
        Retention::For(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    };
    w.u64(retention).u64(c.next.0).u64(c.next.1.0);
    w.u64(c.their_receipts.1);
    w.u8(c.pairs.len() as u8);
    for pair in &c.pairs {
        w.u8(u8::from(pair.confirmed)).put(pair.secret.expose());
    }
    if let Some(hello) = &c.hello {
        encode_invites(&mut w, &hello.invites, hello.expires);
        w.u8(hello.parcels.len() as u8);
        for parcel in &hello.parcels {
            w.u8(u8::from(parcel.way.is_stored()));
            w.put(&parcel.cell_id.0).put(&parcel.cell[..]);
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
    contact.favourite = bits & 16 != 0;
    contact.receipts = bits & 32 != 0;
    contact.notes.told_off = bits & 64 != 0;
    contact.retention = match r.u64()? {
        u64::MAX => Retention::Forever,
        millis => Retention::For(Duration::from_millis(millis)),
    };
    contact.next = (r.u64()?, UnixTime(r.u64()?));
    contact.their_receipts = (bits & 128 != 0, r.u64()?);
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
        let cell_id = CellId::decode(r)?;
        let mut parcel = Parcel::new(cell_id, Box::new(r.array::<CELL_LEN>()?));
        if stored {
            parcel.way = Way::Stored;
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
        Purpose::Bulk { contact, transfer } => w.u8(2).put(&contact.0).put(&transfer.0),
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
        2 => Purpose::Bulk {
            contact: ContactId(r.array()?),
            transfer: MessageId(r.array()?),
        },
        _ => return Err(DecodeError::Invalid("purpose")),
    };
    r.finish()?;
    Ok(Inbox::stored(gateway, token_hash, purpose, until))
}

/// An unfinished message, in as many rows as it takes. The first says how long it is.
pub(super) fn outgoing(message: &Message) -> Vec<Row> {
    let page = |(index, part): (usize, &[u8])| {
        let mut w = Writer::with_capacity(64 + part.len());
        if index == 0 {
            w.put(&message.seed[..]).u32(message.inner.len() as u32);
        }
        w.put(part);
        row(w)
    };
    message
        .inner
        .chunks(PAGE_LEN)
        .enumerate()
        .map(page)
        .collect()
}

/// In how many rows a message is.
pub(super) fn pages(message: &Message) -> usize {
    message.inner.len().div_ceil(PAGE_LEN)
}

/// The first page: seed, length of the whole, and the first part.
pub(super) fn decode_outgoing(bytes: &[u8]) -> Result<(Message, usize), DecodeError> {
    let mut r = Reader::new(bytes);
    let seed = Zeroizing::new(r.array()?);
    let length = r.u32()? as usize;
    if !(1..=INNER_LONG_MAX).contains(&length) {
        return Err(DecodeError::TooLong("message"));
    }
    let mut inner = Zeroizing::new(Vec::with_capacity(length));
    inner.extend_from_slice(r.rest());
    let message = Message {
        inner,
        seed,
        begun: false,
        active: None,
    };
    Ok((message, length))
}

pub(super) fn sent(sent: &Sent) -> Row {
    let mut w = writer();
    let state = match sent.state {
        MessageState::Queued => 0,
        MessageState::Stored => 1,
        MessageState::Expired => 2,
        MessageState::Failed(FailReason::InviteExpired) => 3,
        MessageState::Delivered => 4,
        MessageState::Read => 5,
        MessageState::Failed(FailReason::Wiped) => 6,
        MessageState::Failed(FailReason::FileGone) => 7,
        MessageState::Failed(FailReason::Cancelled) => 8,
        MessageState::Mixing => 9,
        MessageState::Failed(FailReason::Damaged) => 10,
    };
    w.u8(state)
        .u8(u8::from(sent.file) + u8::from(sent.offer_read))
        .put(&sent.message_id.0)
        .put(&sent.body)
        .u64(sent.composed.0)
        .u64(sent.expires.0)
        .u32(sent.app.0)
        .u16(sent.attempt)
        .u8(sent.stored.len() as u8)
        .put(&sent.stored)
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
        9 => MessageState::Mixing,
        10 => MessageState::Failed(FailReason::Damaged),
        _ => return Err(DecodeError::Invalid("state")),
    };
    let (file, offer_read) = match r.u8()? {
        0 => (false, false),
        1 => (true, false),
        2 => (true, true),
        _ => return Err(DecodeError::Invalid("file")),
    };
    let message_id = MessageId(r.array()?);
    let body = r.array()?;
    let (composed, expires) = (UnixTime(r.u64()?), UnixTime(r.u64()?));
    let (app, attempt) = (AppId(r.u32()?), r.u16()?);
    let len = usize::from(r.u8()?);
    let stored = r.slice(len)?.to_vec();
    let id = std::str::from_utf8(r.rest()).ok();
    let id = id.and_then(ClientMessageId::new);
    Ok(Sent {
        id: id.ok_or(DecodeError::Invalid("message id"))?,
        message_id,
        body,
        composed,
        expires,
        app,
        state,
        attempt,
        stored,
        file,
        offer_read,
    })
}

/// A piece that came, as its cell said.
pub(super) fn piece(piece: &Fragment) -> Row {
    let mut w = Writer::with_capacity(16 + piece.payload.len());
    w.u16(piece.attempt)
        .u32(piece.cut.length() as u32)
        .put(&piece.payload);
    row(w)
}

pub(super) fn decode_piece(
    id: MessageId,
    index: u16,
    bytes: &[u8],
) -> Result<Fragment, DecodeError> {
    let mut r = Reader::new(bytes);
    let (attempt, length) = (r.u16()?, r.u32()?);
    let payload = r.rest().to_vec();
    let cut = Cut::new(length);
    let fits = (1..=SEALED_LONG_MAX).contains(&cut.length())
        && usize::from(index) < cut.total()
        && payload.len() == PAYLOAD_LEN;
    fits.then_some(Fragment {
        id,
        attempt,
        cut,
        index,
        payload,
    })
    .ok_or(DecodeError::Invalid("piece"))
}

/// A file that goes out.
pub(super) fn sending(sending: &Sending) -> Row {
    let mut w = writer();
    let offer = Inner::FileOffer(sending.offer.clone()).encode();
    w.put(&sending.blob.0).u16(offer.len() as u16).put(&offer);
    sending.transfer.encode(&mut w);
    row(w)
}

pub(super) fn decode_sending(bytes: &[u8], pace: Pace) -> Result<Sending, DecodeError> {
    let mut r = Reader::new(bytes);
    let blob = BlobRef(r.array()?);
    let len = usize::from(r.u16()?);
    let Inner::FileOffer(offer) = Inner::decode(r.slice(len)?)? else {
        return Err(DecodeError::Invalid("offer"));
    };
    let transfer = SendTransfer::decode(&mut r, pace, Instant::ZERO)?;
    r.finish()?;
    Ok(Sending::new(transfer, blob, offer))
}

/// A file that comes, or came.
pub(super) fn receiving(receiving: &Receiving) -> Row {
    let mut w = writer();
    let (stage, reason) = match &receiving.stage {
        Stage::Offered => (0, 0),
        Stage::Wanted => (1, 0),
        Stage::Coming(_) => (2, 0),
        Stage::Over(reason) => (3, reason.map_or(0, |r| r as u8)),
    };
    let file = &receiving.file;
    w.u8(stage).u8(reason).u64(receiving.until.0);
    w.put(&receiving.key.0[..]).u64(file.size).put(&file.hash);
    for text in [&file.name, &file.media_type] {
        w.u8(text.len() as u8).put(text.as_bytes());
    }
    if let Stage::Coming(transfer) = &receiving.stage {
        transfer.encode(&mut w);
    }
    row(w)
}

pub(super) fn decode_receiving(
    id: MessageId,
    bytes: &[u8],
    pace: Pace,
) -> Result<Receiving, DecodeError> {
    let mut r = Reader::new(bytes);
    let (stage, reason, until) = (r.u8()?, r.u8()?, UnixTime(r.u64()?));
    let key = FileKey::from_bytes(r.array()?);
    let (size, hash) = (r.u64()?, r.array()?);
    let mut text = || {
        let len = usize::from(r.u8()?);
        let text = std::str::from_utf8(r.slice(len)?);
        text.map(str::to_owned)
            .map_err(|_| DecodeError::Invalid("file"))
    };
    let file = FileView {
        name: text()?,
        media_type: text()?,
        size,
        hash,
    };
    let stage = match (stage, reason) {
        (0, 0) => Stage::Offered,
        (1, 0) => Stage::Wanted,
        (2, 0) => {
            let transfer = ReceiveTransfer::decode(&mut r, id, pace, Instant::ZERO)?;
            Stage::Coming(Box::new(transfer))
        }
        (3, 0) => Stage::Over(None),
        (3, reason) => Stage::Over(Some(CancelReason::from_u8(reason)?)),
        _ => return Err(DecodeError::Invalid("stage")),
    };
    r.finish()?;
    Ok(Receiving::new(file, key, until, stage))
}

/// Key of a file that comes: contact and message.
pub(super) fn receiving_key(contact: &ContactId, message: &MessageId) -> Vec<u8> {
    [&contact.0[..], &message.0].concat()
}

pub(super) fn decode_receiving_key(key: &[u8]) -> Result<(ContactId, MessageId), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), MessageId(r.array()?));
    r.finish()?;
    Ok(key)
}

/// Key of a page of what is there of a file: contact, message, page.
pub(super) fn record_page_key(contact: &ContactId, message: &MessageId, page: u32) -> Vec<u8> {
    [&contact.0[..], &message.0, &page.to_be_bytes()].concat()
}

pub(super) fn decode_record_page_key(
    key: &[u8],
) -> Result<(ContactId, MessageId, u32), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), MessageId(r.array()?), r.u32()?);
    r.finish()?;
    Ok(key)
}

pub(super) fn received(known: Known) -> Row {
    let mut w = writer();
    w.u8(known.marks).u64(known.composed.after.0);
    row(w)
}

pub(super) fn decode_received(at: UnixTime, bytes: &[u8]) -> Result<Known, DecodeError> {
    let mut r = Reader::new(bytes);
    let marks = r.u8()?;
    let composed = decode_composed(at, r)?;
    Ok(Known { composed, marks })
}

pub(super) fn past(span: Composed) -> Row {
    let mut w = writer();
    w.u64(span.after.0);
    row(w)
}

pub(super) fn decode_past(at: UnixTime, bytes: &[u8]) -> Result<Composed, DecodeError> {
    decode_composed(at, Reader::new(bytes))
}

fn decode_composed(at: UnixTime, mut r: Reader<'_>) -> Result<Composed, DecodeError> {
    let after = UnixTime(r.u64()?);
    r.finish()?;
    match after < at {
        true => Ok(Composed { at, after }),
        false => Err(DecodeError::Invalid("composed")),
    }
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

/// Key of a page of an outgoing message: contact, number, page.
pub(super) fn page_key(contact: &ContactId, seq: u64, page: usize) -> Vec<u8> {
    let page = page as u16;
    [&contact.0[..], &seq.to_be_bytes(), &page.to_be_bytes()].concat()
}

pub(super) fn decode_page_key(key: &[u8]) -> Result<(ContactId, u64, u16), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), r.u64()?, r.u16()?);
    r.finish()?;
    Ok(key)
}

/// Key of a piece: contact, message, index.
pub(super) fn piece_key(contact: &ContactId, message: &MessageId, index: u16) -> Vec<u8> {
    [&contact.0[..], &message.0, &index.to_be_bytes()].concat()
}

pub(super) fn decode_piece_key(key: &[u8]) -> Result<(ContactId, MessageId, u16), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), MessageId(r.array()?), r.u16()?);
    r.finish()?;
    Ok(key)
}

/// Key of a span of the past: contact, end.
pub(super) fn past_key(contact: &ContactId, at: UnixTime) -> Vec<u8> {
    [&contact.0[..], &at.0.to_be_bytes()].concat()
}

pub(super) fn decode_past_key(key: &[u8]) -> Result<(ContactId, UnixTime), DecodeError> {
    let mut r = Reader::new(key);
    let key = (ContactId(r.array()?), UnixTime(r.u64()?));
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
