//! The frozen bytes in `tests/vectors/*.txt`, both ways, and bytes that must fail with a named
//! error. `docs/spec/requests.md` §6 says how the files are written.
//!
//! Frames, requests and replies have one length each, by type: a shorter or longer one cannot be
//! given to a decoder, so there is no such vector. The files were made from the specification by a
//! program of its own in another language, so that they hold the encoders to the text
//! and not to themselves. Random values are in `canonical.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test, which reads its vectors"
)]

use std::collections::BTreeMap;
use std::time::Duration;
use wire::aead::SealKey;
use wire::codec::{DecodeError, Reader};
use wire::frame::{DirectoryPart, Frame, Hello, Speaker};
use wire::geometry::{FRAME_LEN, GeometryHash, PLAINTEXT_LEN};
use wire::ids::{
    CellId, DirectoryHash, Epoch, EpochHint, InboxAddress, InboxId, NetworkId, NextHop, NodeId,
    SessionAddress, WriteToken, WriteTokenHash,
};
use wire::keys::{IdentityPublic, IdentitySecret};
use wire::puzzle::Admission;
use wire::request::{
    Answer, Close, Deposit, DirectoryRequest, Envelope, Fetch, Open, Place, Reply, Request,
};
use wire::rng::{Purpose, TrafficRng};
use wire::time::UnixTime;

/// One call, and what its lines say.
struct Block {
    at: String,
    call: String,
    fields: BTreeMap<String, String>,
}

impl Block {
    fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn text(&self, name: &str) -> &str {
        let field = self.fields.get(name);
        field.unwrap_or_else(|| panic!("{}: no {name}", self.at))
    }

    fn number<T: TryFrom<u64, Error: std::fmt::Debug>>(&self, name: &str) -> T {
        let number: u64 = self.text(name).parse().unwrap();
        T::try_from(number).unwrap()
    }

    /// Hexadecimal; `xx*n` is n times the byte xx, spaces mean nothing.
    fn bytes(&self, name: &str) -> Vec<u8> {
        let token = |token: &str| match token.split_once('*') {
            Some((byte, n)) => unhex(byte).repeat(n.parse().unwrap()),
            None => unhex(token),
        };
        self.text(name).split(' ').flat_map(token).collect()
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        let bytes = self.bytes(name);
        let len = bytes.len();
        let array = bytes.try_into();
        array.unwrap_or_else(|_| panic!("{}: {name} has {len} bytes", self.at))
    }

    /// The outcome as a decoder's error, compared by its words in the file.
    fn assert_error(&self, error: DecodeError) {
        let said = match error {
            DecodeError::Truncated => "truncated".to_owned(),
            DecodeError::Leftover => "leftover".to_owned(),
            DecodeError::Invalid(field) => format!("invalid {field}"),
            DecodeError::TooLong(field) => format!("too_long {field}"),
        };
        assert_eq!(said, self.text("outcome"), "{}", self.at);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// All blocks of a file; each must be of one of `calls`.
fn blocks(name: &str, calls: &[&str]) -> Vec<Block> {
    let path = format!("{}/tests/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut lines = paragraph.lines().filter(|line| !line.starts_with('#'));
        let Some(call) = lines.next() else { continue };
        assert!(calls.contains(&call), "{name}: {call}");
        let field = |line: &str| {
            let (key, value) = line.split_once(" =").unwrap();
            (key.to_owned(), value.trim().to_owned())
        };
        blocks.push(Block {
            at: format!("{name} block {}", blocks.len() + 1),
            call: call.to_owned(),
            fields: lines.map(field).collect(),
        });
    }
    assert!(!blocks.is_empty(), "{name}");
    blocks
}

#[test]
fn frames() {
    for block in blocks("frames", &["frame"]) {
        let bytes: [u8; FRAME_LEN] = block.array("bytes");
        match Frame::decode(&bytes) {
            Ok(frame) => {
                let said = frame_of(&block);
                assert!(frame == said, "{} reads something else", block.at);
                assert!(said.encode()[..] == bytes, "{} is written so", block.at);
            }
            Err(error) => block.assert_error(error),
        }
    }
}

fn frame_of(block: &Block) -> Frame {
    match block.text("kind") {
        "packet" => Frame::Packet(
            EpochHint(block.number("hint")),
            Box::new(block.array("packet")),
        ),
        "dummy" => Frame::Dummy,
        "hello" => Frame::Hello(Hello {
            version: block.number("version"),
            network: NetworkId(block.array("network")),
            geometry: GeometryHash(block.array("geometry")),
            speaker: match (block.has("session"), block.has("time")) {
                (true, _) => {
                    Speaker::Client(SessionAddress::from_bytes(block.array("session")).unwrap())
                }
                (false, true) => Speaker::Gateway(UnixTime(block.number("time"))),
                (false, false) => Speaker::Node,
            },
        }),
        "directory_part" => Frame::DirectoryPart(DirectoryPart {
            hash: DirectoryHash(block.array("hash")),
            epoch: Epoch(block.number("epoch")),
            part: block.number("part"),
            parts: block.number("parts"),
            bytes: block.bytes("document"),
        }),
        other => panic!("{}: kind {other}", block.at),
    }
}

#[test]
fn requests() {
    for block in blocks("requests", &["request"]) {
        let bytes: [u8; PLAINTEXT_LEN] = block.array("bytes");
        match Envelope::decode(&bytes) {
            Ok(envelope) => {
                let said = Envelope {
                    surb: Box::new(block.array("surb")),
                    reply_delay: Duration::from_nanos(block.number("reply_delay")),
                    request: request_of(&block),
                };
                assert!(envelope == said, "{} reads something else", block.at);
                assert!(said.encode()[..] == bytes, "{} is written so", block.at);
            }
            Err(unreadable) => {
                block.assert_error(unreadable.error);
                // It gets a reply all the same.
                assert!(unreadable.surb[..] == block.bytes("surb"), "{}", block.at);
                let delay = Duration::from_nanos(block.number("reply_delay"));
                assert_eq!(unreadable.reply_delay, delay, "{}", block.at);
            }
        }
    }
}

/// What a block says; where it is signed, signed anew and found to hold here and nowhere else.
fn request_of(block: &Block) -> Request {
    let inbox = || InboxId(block.array("inbox"));
    match block.text("kind") {
        "cover" => Request::Cover,
        "deposit" => Request::Deposit(Deposit {
            inbox: inbox(),
            token: WriteToken(block.array("token")),
            cell_id: CellId(block.array("cell_id")),
            cell: Box::new(block.array("cell")),
        }),
        "directory" => Request::Directory(DirectoryRequest {
            hash: DirectoryHash(block.array("hash")),
            part: block.number("part"),
        }),
        kind => {
            let (network, gateway) = (
                NetworkId(block.array("network")),
                NodeId(block.array("gateway")),
            );
            let (network, gateway) = (&network, &gateway);
            let place = Place { network, gateway };
            let others = [
                Place {
                    network: &NetworkId([0; 32]),
                    gateway,
                },
                Place {
                    network,
                    gateway: &NodeId([0; 28]),
                },
            ];
            signed_request_of(block, kind, inbox(), place, others)
        }
    }
}

fn signed_request_of(
    block: &Block,
    kind: &str,
    inbox: InboxId,
    place: Place<'_>,
    others: [Place<'_>; 2],
) -> Request {
    let secret = IdentitySecret::from_seed(&block.array("reader_seed"));
    let reader = secret.public();
    match kind {
        "fetch" => {
            let acks: Vec<CellId> = if block.text("acks").is_empty() {
                Vec::new()
            } else {
                let ids = block.bytes("acks");
                ids.chunks_exact(16)
                    .map(|id| CellId(id.try_into().unwrap()))
                    .collect()
            };
            let fetch = Fetch::signed(place, &secret, inbox, &acks);
            assert!(fetch.verify(place, &reader).is_ok(), "{}", block.at);
            assert!(others.iter().all(|o| fetch.verify(*o, &reader).is_err()));
            Request::Fetch(fetch)
        }
        "open" => {
            let token_hash = WriteTokenHash(block.array("token_hash"));
            assert!(WriteToken(block.array("token")).hash() == token_hash);
            let admission = Admission(block.array("admission"));
            let ttl_secs = block.number("ttl_secs");
            assert!(admission.verify(place.gateway, Epoch(9), &inbox, 12));
            let open = Open::signed(place, &secret, inbox, token_hash, ttl_secs, admission);
            assert_eq!(open.reader.to_bytes(), block.array("reader"));
            assert!(open.verify(place).is_ok(), "{}", block.at);
            assert!(others.iter().all(|o| open.verify(*o).is_err()));
            Request::Open(Box::new(open))
        }
        "close" => {
            let close = Close::signed(place, &secret, inbox);
            assert!(close.verify(place, &reader).is_ok(), "{}", block.at);
            assert!(others.iter().all(|o| close.verify(*o, &reader).is_err()));
            Request::Close(close)
        }
        other => panic!("{}: kind {other}", block.at),
    }
}

#[test]
fn replies() {
    for block in blocks("replies", &["reply"]) {
        let bytes: [u8; PLAINTEXT_LEN] = block.array("bytes");
        match Reply::decode(&bytes) {
            Ok(reply) => {
                let said = Reply {
                    epoch: Epoch(block.number("epoch")),
                    directory: DirectoryHash(block.array("directory")),
                    answer: answer_of(&block),
                };
                assert!(reply == said, "{} reads something else", block.at);
                assert!(said.encode()[..] == bytes, "{} is written so", block.at);
            }
            Err(error) => block.assert_error(error),
        }
    }
}

fn answer_of(block: &Block) -> Answer {
    match block.text("answer") {
        "done" => Answer::Done,
        "stored" => Answer::Stored,
        "refused" => Answer::Refused,
        "cell" => Answer::Cell {
            remaining: block.number("remaining"),
            cell_id: CellId(block.array("cell_id")),
            cell: Box::new(block.array("cell")),
        },
        "empty" => Answer::Empty,
        "opened" => Answer::Opened {
            ttl_secs: block.number("ttl_secs"),
        },
        "directory" => Answer::Directory {
            part: block.number("part"),
            parts: block.number("parts"),
            bytes: block.bytes("document"),
        },
        "unreadable" => Answer::Unreadable,
        other => panic!("{}: answer {other}", block.at),
    }
}

#[test]
fn ids() {
    let calls = [
        "geometry",
        "node_id",
        "write_token",
        "inbox_address",
        "next_hop",
    ];
    for block in blocks("ids", &calls) {
        match block.call.as_str() {
            "geometry" => assert_eq!(GeometryHash::current().0, block.array("hash")),
            "node_id" => {
                let identity = IdentityPublic::from_bytes(&block.array("identity")).unwrap();
                assert_eq!(NodeId::of(&identity).0, block.array("id"));
            }
            "write_token" => {
                let hash = WriteToken(block.array("token")).hash();
                assert!(hash == WriteTokenHash(block.array("hash")));
            }
            "inbox_address" => {
                let bytes = block.bytes("bytes");
                let mut reader = Reader::new(&bytes);
                match InboxAddress::decode(&mut reader) {
                    Ok(address) => {
                        let said = InboxAddress {
                            gateway: NodeId(block.array("gateway")),
                            inbox: InboxId(block.array("inbox")),
                            token: WriteToken(block.array("token")),
                        };
                        assert!(address == said && said.to_bytes()[..] == bytes);
                        assert_eq!(reader.finish(), Ok(()));
                    }
                    Err(error) => block.assert_error(error),
                }
            }
            _ => match NextHop::from_bytes(block.array("bytes")) {
                Ok(hop) => {
                    let said = if block.has("session") {
                        let address = SessionAddress::from_bytes(block.array("session"));
                        NextHop::Session(address.unwrap())
                    } else {
                        NextHop::Node {
                            id: NodeId(block.array("id")),
                            epoch: EpochHint(block.number("hint")),
                        }
                    };
                    assert!(hop == said, "{}", block.at);
                    assert_eq!(hop.to_bytes(), block.array("bytes"), "{}", block.at);
                }
                Err(error) => block.assert_error(error),
            },
        }
    }
}

#[test]
fn signatures() {
    for block in blocks("signatures", &["verify"]) {
        let key = match IdentityPublic::from_bytes(&block.array("key")) {
            Ok(key) => key,
            Err(error) => {
                block.assert_error(error);
                continue;
            }
        };
        let message = if block.text("message").is_empty() {
            Vec::new()
        } else {
            block.bytes("message")
        };
        let outcome = key.verify(block.text("context"), &message, &block.array("signature"));
        let said = if outcome.is_ok() {
            "ok"
        } else {
            "bad_signature"
        };
        assert_eq!(said, block.text("outcome"), "{}", block.at);
    }
}

#[test]
fn admissions() {
    for block in blocks("admission", &["admission"]) {
        let (gateway, inbox) = (
            NodeId(block.array("gateway")),
            InboxId(block.array("inbox")),
        );
        let (epoch, difficulty) = (Epoch(block.number("epoch")), block.number("difficulty"));
        let ok = Admission(block.array("admission")).verify(&gateway, epoch, &inbox, difficulty);
        let said = if ok { "ok" } else { "refused" };
        assert_eq!(said, block.text("outcome"), "{}", block.at);
    }
}

#[test]
fn solving_finds_the_first_nonce() {
    let block = &blocks("admission", &["admission"])[0];
    let (gateway, inbox) = (
        NodeId(block.array("gateway")),
        InboxId(block.array("inbox")),
    );
    let (epoch, difficulty) = (Epoch(block.number("epoch")), block.number("difficulty"));
    let solved = Admission::solve(&gateway, epoch, &inbox, difficulty);
    assert_eq!(solved.0, block.array("admission"));
}

#[test]
fn draws() {
    const PURPOSES: [Purpose; 8] = [
        Purpose::PayloadTick,
        Purpose::LoopTick,
        Purpose::MixLoop,
        Purpose::GatewayLoop,
        Purpose::Downlink,
        Purpose::Reconnect,
        Purpose::DirectoryPoll,
        Purpose::Simulation,
    ];
    for block in blocks("rng", &["tick"]) {
        let purpose: usize = block.number("purpose");
        let rng = TrafficRng::from_seed(block.array("seed"));
        let mut tick = rng.tick(PURPOSES[purpose - 1], block.number("tick"));
        for draw in block.text("draws").split(' ') {
            assert_eq!(tick.draw_u64().to_string(), draw, "{}", block.at);
        }
    }
}

#[test]
fn sealed_values() {
    for block in blocks("sealed", &["open"]) {
        let optional = |name| match block.text(name) {
            "" => Vec::new(),
            _ => block.bytes(name),
        };
        let key = SealKey::from_bytes(block.array("key"));
        match key.open(&optional("place"), &block.bytes("sealed")) {
            Ok(plaintext) => assert!(plaintext[..] == optional("plaintext"), "{}", block.at),
            Err(_) => assert_eq!(block.text("outcome"), "failed", "{}", block.at),
        }
    }
}
