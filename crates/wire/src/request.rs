//! Requests and replies of the echo protocol. `docs/spec/requests.md`.
//!
//! A request is the plaintext of a Sphinx payload at the answering gateway; a reply is the plaintext
//! that comes back through the request's reply block. Both fill [`PLAINTEXT_LEN`] bytes whatever
//! they say, so that only the answering gateway can tell them apart.
//!
//! ```text
//! request  reply block (396) ‖ reply delay in ns (8) ‖ kind (1) ‖ body, zero padded (2060)
//! reply    status (1) ‖ directory epoch (8) ‖ directory hash (32) ‖ body, zero padded (2424)
//! ```

use crate::codec::{DecodeError, Reader, Writer};
use crate::geometry::{CELL_LEN, PLAINTEXT_LEN, REPLY_BODY_LEN, REQUEST_BODY_LEN, SURB_LEN};
use crate::ids::{
    CellId, DirectoryHash, Epoch, InboxId, NetworkId, NodeId, WriteToken, WriteTokenHash,
};
use crate::keys::{BadSignature, IdentityPublic, IdentitySecret, SIGNATURE_LEN};
use crate::puzzle::{ADMISSION_LEN, Admission};
use std::time::Duration;

/// A request's or a reply's bytes.
pub type Plaintext = Box<[u8; PLAINTEXT_LEN]>;
/// A sealed cell.
pub type Cell = Box<[u8; CELL_LEN]>;
/// A reply block as it stands in a request.
pub type SurbBytes = Box<[u8; SURB_LEN]>;

/// Most cells that one `Fetch` acknowledges.
pub const ACKS_MAX: usize = 16;
/// Most document bytes in the reply to one `Directory` request.
pub const DIRECTORY_CHUNK_LEN: usize = REPLY_BODY_LEN - 6;

const KIND_COVER: u8 = 0;
const KIND_DEPOSIT: u8 = 1;
const KIND_FETCH: u8 = 2;
const KIND_OPEN: u8 = 3;
const KIND_CLOSE: u8 = 4;
const KIND_DIRECTORY: u8 = 5;

const SIGN_FETCH: &str = "mizzle-fetch-v1";
const SIGN_OPEN: &str = "mizzle-open-v1";
const SIGN_CLOSE: &str = "mizzle-close-v1";

/// What is asked of the gateway at the end of a route.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Nothing: a loop through this gateway.
    Cover,
    /// Keep this cell until its reader acknowledges it or it expires.
    Deposit(Deposit),
    /// Give me a cell of my inbox, and forget those I name.
    Fetch(Fetch),
    /// Open an inbox, or prolong one that this key opened.
    Open(Box<Open>),
    /// Close an inbox and forget its cells.
    Close(Close),
    /// Give me a piece of the directory with this hash.
    Directory(DirectoryRequest),
}

/// See [`Request::Deposit`].
#[derive(Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Where to.
    pub inbox: InboxId,
    /// The right to write there.
    pub token: WriteToken,
    /// The same in every resend of the same cell.
    pub cell_id: CellId,
    /// What the reader gets.
    pub cell: Cell,
}

/// See [`Request::Fetch`].
#[derive(Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Which inbox.
    pub inbox: InboxId,
    /// Cells that the reader has kept and the gateway may forget, at most [`ACKS_MAX`].
    pub acks: Vec<CellId>,
    /// By the inbox' own key, over everything above and the place it is meant for.
    pub signature: [u8; SIGNATURE_LEN],
}

/// See [`Request::Open`].
#[derive(Clone, PartialEq, Eq)]
pub struct Open {
    /// Which inbox.
    pub inbox: InboxId,
    /// Who may read and close it.
    pub reader: IdentityPublic,
    /// Who may write.
    pub token_hash: WriteTokenHash,
    /// In whole seconds; the gateway shortens it to the directory's maximum.
    pub ttl_secs: u32,
    /// Proof of work.
    pub admission: Admission,
    /// By `reader`.
    pub signature: [u8; SIGNATURE_LEN],
}

/// See [`Request::Close`].
#[derive(Clone, PartialEq, Eq)]
pub struct Close {
    /// Which inbox.
    pub inbox: InboxId,
    /// By the inbox' own key.
    pub signature: [u8; SIGNATURE_LEN],
}

/// See [`Request::Directory`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DirectoryRequest {
    /// Which document.
    pub hash: DirectoryHash,
    /// Which piece of [`DIRECTORY_CHUNK_LEN`] bytes, from 0.
    pub part: u16,
}

/// Where a signed request is meant to be answered; a signature holds nowhere else.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The network.
    pub network: &'a NetworkId,
    /// The answering gateway.
    pub gateway: &'a NodeId,
}

impl Fetch {
    /// Builds a signed one. Takes the first [`ACKS_MAX`] of `acks`.
    pub fn signed(
        place: Place<'_>,
        reader: &IdentitySecret,
        inbox: InboxId,
        acks: &[CellId],
    ) -> Self {
        let acks = acks[..acks.len().min(ACKS_MAX)].to_vec();
        let mut fetch = Self {
            inbox,
            acks,
            signature: [0; SIGNATURE_LEN],
        };
        fetch.signature = reader.sign(SIGN_FETCH, &fetch.signed_text(place));
        fetch
    }

    /// Checks the signature.
    pub fn verify(&self, place: Place<'_>, reader: &IdentityPublic) -> Result<(), BadSignature> {
        reader.verify(SIGN_FETCH, &self.signed_text(place), &self.signature)
    }

    fn signed_text(&self, place: Place<'_>) -> Vec<u8> {
        let mut w = place.writer();
        w.put(&self.inbox.0).u8(self.acks.len() as u8);
        self.acks.iter().for_each(|id| {
            w.put(&id.0);
        });
        w.into_vec()
    }
}

impl Open {
    /// Builds a signed one.
    pub fn signed(
        place: Place<'_>,
        reader: &IdentitySecret,
        inbox: InboxId,
        token_hash: WriteTokenHash,
        ttl_secs: u32,
        admission: Admission,
    ) -> Self {
        let reader_public = reader.public();
        let signature = [0; SIGNATURE_LEN];
        let mut open = Self {
            inbox,
            reader: reader_public,
            token_hash,
            ttl_secs,
            admission,
            signature,
        };
        open.signature = reader.sign(SIGN_OPEN, &open.signed_text(place));
        open
    }

    /// Checks the signature by the key that the request itself names.
    pub fn verify(&self, place: Place<'_>) -> Result<(), BadSignature> {
        self.reader
            .verify(SIGN_OPEN, &self.signed_text(place), &self.signature)
    }

    fn signed_text(&self, place: Place<'_>) -> Vec<u8> {
        let mut w = place.writer();
        w.put(&self.inbox.0)
            .put(&self.token_hash.0)
            .u32(self.ttl_secs)
            .put(&self.admission.0);
        w.into_vec()
    }
}

impl Close {
    /// Builds a signed one.
    pub fn signed(place: Place<'_>, reader: &IdentitySecret, inbox: InboxId) -> Self {
        let mut w = place.writer();
        w.put(&inbox.0);
        Self {
            inbox,
            signature: reader.sign(SIGN_CLOSE, &w.into_vec()),
        }
    }

    /// Checks the signature.
    pub fn verify(&self, place: Place<'_>, reader: &IdentityPublic) -> Result<(), BadSignature> {
        let mut w = place.writer();
        w.put(&self.inbox.0);
        reader.verify(SIGN_CLOSE, &w.into_vec(), &self.signature)
    }
}

impl Place<'_> {
    fn writer(&self) -> Writer {
        let mut w = Writer::with_capacity(512);
        w.put(&self.network.0).put(&self.gateway.0);
        w
    }
}

/// A request together with the way back.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Brings the one reply back to whoever asked.
    pub surb: SurbBytes,
    /// How long the gateway keeps the reply, on top of δ; drawn by the sender like any hop's delay.
    pub reply_delay: Duration,
    /// What is asked.
    pub request: Request,
}

impl Envelope {
    /// Always [`PLAINTEXT_LEN`] bytes.
    pub fn encode(&self) -> Plaintext {
        let mut w = Writer::with_capacity(PLAINTEXT_LEN);
        let delay = u64::try_from(self.reply_delay.as_nanos()).unwrap_or(u64::MAX);
        w.put(&self.surb[..]).u64(delay);
        match &self.request {
            Request::Cover => {
                w.u8(KIND_COVER);
            }
            Request::Deposit(d) => {
                w.u8(KIND_DEPOSIT)
                    .put(&d.inbox.0)
                    .put(&d.token.0)
                    .put(&d.cell_id.0)
                    .put(&d.cell[..]);
            }
            Request::Fetch(f) => {
                w.u8(KIND_FETCH).put(&f.inbox.0).u8(f.acks.len() as u8);
                f.acks.iter().for_each(|id| {
                    w.put(&id.0);
                });
                w.put(&f.signature);
            }
            Request::Open(o) => {
                w.u8(KIND_OPEN)
                    .put(&o.inbox.0)
                    .put(&o.reader.to_bytes())
                    .put(&o.token_hash.0);
                w.u32(o.ttl_secs).put(&o.admission.0).put(&o.signature);
            }
            Request::Close(c) => {
                w.u8(KIND_CLOSE).put(&c.inbox.0).put(&c.signature);
            }
            Request::Directory(d) => {
                w.u8(KIND_DIRECTORY).put(&d.hash.0).u16(d.part);
            }
        }
        crate::frame::boxed(w.into_padded(PLAINTEXT_LEN))
    }

    /// Reads what [`Envelope::encode`] wrote. A request that cannot be read but has a reply block
    /// in front comes back as [`Unreadable`], because it, too, gets one reply.
    pub fn decode(plaintext: &[u8; PLAINTEXT_LEN]) -> Result<Self, Unreadable> {
        let (surb, rest) = plaintext
            .split_first_chunk::<SURB_LEN>()
            .expect("a constant split");
        let surb: SurbBytes = Box::new(*surb);
        let mut r = Reader::new(rest);
        let reply_delay = Duration::from_nanos(r.u64().unwrap_or(0));
        match decode_request(r) {
            Ok(request) => Ok(Self {
                surb,
                reply_delay,
                request,
            }),
            Err(error) => Err(Unreadable {
                surb,
                reply_delay,
                error,
            }),
        }
    }
}

/// A payload of the right length whose request cannot be read.
pub struct Unreadable {
    /// Its first 396 bytes, which may be a reply block.
    pub surb: SurbBytes,
    /// What stands where the reply delay should.
    pub reply_delay: Duration,
    /// What is wrong.
    pub error: DecodeError,
}

fn decode_request(mut r: Reader<'_>) -> Result<Request, DecodeError> {
    let request = match r.u8()? {
        KIND_COVER => Request::Cover,
        KIND_DEPOSIT => Request::Deposit(Deposit {
            inbox: InboxId::decode(&mut r)?,
            token: WriteToken(r.array()?),
            cell_id: CellId::decode(&mut r)?,
            cell: Box::new(r.array()?),
        }),
        KIND_FETCH => {
            let (inbox, count) = (InboxId::decode(&mut r)?, usize::from(r.u8()?));
            if count > ACKS_MAX {
                return Err(DecodeError::TooLong("acks"));
            }
            let acks = (0..count)
                .map(|_| CellId::decode(&mut r))
                .collect::<Result<_, _>>()?;
            Request::Fetch(Fetch {
                inbox,
                acks,
                signature: r.array()?,
            })
        }
        KIND_OPEN => Request::Open(Box::new(Open {
            inbox: InboxId::decode(&mut r)?,
            reader: IdentityPublic::decode(&mut r)?,
            token_hash: WriteTokenHash(r.array()?),
            ttl_secs: r.u32()?,
            admission: Admission(r.array::<ADMISSION_LEN>()?),
            signature: r.array()?,
        })),
        KIND_CLOSE => Request::Close(Close {
            inbox: InboxId::decode(&mut r)?,
            signature: r.array()?,
        }),
        KIND_DIRECTORY => Request::Directory(DirectoryRequest {
            hash: DirectoryHash::decode(&mut r)?,
            part: r.u16()?,
        }),
        _ => return Err(DecodeError::Invalid("request kind")),
    };
    r.finish_padding()?;
    Ok(request)
}

/// A gateway's one answer to one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// Epoch of the directory the gateway goes by.
    pub epoch: Epoch,
    /// Hash of that directory; two of one epoch that differ are a split view.
    pub directory: DirectoryHash,
    /// What it answers.
    pub answer: Answer,
}

/// What a gateway answers.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Status 0. A `Cover` came; a `Close` was done.
    Done,
    /// Status 1. A `Deposit` is durable.
    Stored,
    /// Status 2. The gateway will not do it, and does not say why: unknown, closed or full
    /// inboxes, wrong tokens, keys and puzzles all get this.
    Refused,
    /// Status 3. A `Fetch`: the cell asked for, and how many wait behind it.
    Cell {
        /// Cells that wait behind this one.
        remaining: u16,
        /// Its id.
        cell_id: CellId,
        /// Its content.
        cell: Cell,
    },
    /// Status 4. A `Fetch` with nothing to give.
    Empty,
    /// Status 5. An `Open`: the inbox stands for so many seconds from now.
    Opened {
        /// After this it is gone unless prolonged.
        ttl_secs: u32,
    },
    /// Status 6. A piece of a directory.
    Directory {
        /// Which piece.
        part: u16,
        /// Of how many.
        parts: u16,
        /// At most [`DIRECTORY_CHUNK_LEN`] bytes.
        bytes: Vec<u8>,
    },
    /// Status 7. The request could not be read.
    Unreadable,
}

impl Reply {
    /// Always [`PLAINTEXT_LEN`] bytes.
    pub fn encode(&self) -> Plaintext {
        let mut w = Writer::with_capacity(PLAINTEXT_LEN);
        let status = match &self.answer {
            Answer::Done => 0,
            Answer::Stored => 1,
            Answer::Refused => 2,
            Answer::Cell { .. } => 3,
            Answer::Empty => 4,
            Answer::Opened { .. } => 5,
            Answer::Directory { .. } => 6,
            Answer::Unreadable => 7,
        };
        w.u8(status).u64(self.epoch.0).put(&self.directory.0);
        match &self.answer {
            Answer::Done
            | Answer::Stored
            | Answer::Refused
            | Answer::Empty
            | Answer::Unreadable => {}
            Answer::Cell {
                remaining,
                cell_id,
                cell,
            } => {
                w.u16(*remaining).put(&cell_id.0).put(&cell[..]);
            }
            Answer::Opened { ttl_secs } => {
                w.u32(*ttl_secs);
            }
            Answer::Directory { part, parts, bytes } => {
                w.u16(*part).u16(*parts).u16(bytes.len() as u16).put(bytes);
            }
        }
        crate::frame::boxed(w.into_padded(PLAINTEXT_LEN))
    }

    /// Reads what [`Reply::encode`] wrote and nothing else.
    pub fn decode(plaintext: &[u8; PLAINTEXT_LEN]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(plaintext);
        let (status, epoch, directory) = (r.u8()?, Epoch(r.u64()?), DirectoryHash::decode(&mut r)?);
        let answer = match status {
            0 => Answer::Done,
            1 => Answer::Stored,
            2 => Answer::Refused,
            3 => Answer::Cell {
                remaining: r.u16()?,
                cell_id: CellId::decode(&mut r)?,
                cell: Box::new(r.array()?),
            },
            4 => Answer::Empty,
            5 => Answer::Opened { ttl_secs: r.u32()? },
            6 => {
                let (part, parts, len) = (r.u16()?, r.u16()?, usize::from(r.u16()?));
                if part >= parts {
                    return Err(DecodeError::Invalid("part"));
                }
                if len > DIRECTORY_CHUNK_LEN {
                    return Err(DecodeError::TooLong("part"));
                }
                Answer::Directory {
                    part,
                    parts,
                    bytes: r.slice(len)?.to_vec(),
                }
            }
            7 => Answer::Unreadable,
            _ => return Err(DecodeError::Invalid("status")),
        };
        r.finish_padding()?;
        Ok(Self {
            epoch,
            directory,
            answer,
        })
    }
}

const _: () = assert!(2 + ACKS_MAX * 16 + 32 + SIGNATURE_LEN <= REQUEST_BODY_LEN);
