//! Properties of every encoding, over random values and random bytes: what is written is read back
//! the same; what can be read is written back the same; nothing panics. Frozen bytes are in
//! `vectors.rs`.

use proptest::array::uniform32;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;
use wire::codec::{DecodeError, Reader, Writer};
use wire::frame::{DirectoryPart, Frame, Hello, PART_LEN, PARTS_MAX, Speaker};
use wire::geometry::{CELL_LEN, FRAME_LEN, GeometryHash, PACKET_LEN, PLAINTEXT_LEN, SURB_LEN};
use wire::ids::{
    CellId, DirectoryHash, Epoch, EpochHint, InboxAddress, InboxId, NetworkId, NextHop, NodeId,
    SessionAddress, WriteToken, WriteTokenHash,
};
use wire::keys::IdentitySecret;
use wire::puzzle::Admission;
use wire::request::{
    ACKS_MAX, Answer, Close, DIRECTORY_CHUNK_LEN, Deposit, DirectoryRequest, Envelope, Fetch, Open,
    Place, Reply, Request,
};
use wire::rng::{KeyRng, pick};
use wire::time::UnixTime;

const NETWORK: NetworkId = NetworkId([1; 32]);
const GATEWAY: NodeId = NodeId([2; 28]);
const PLACE: Place<'static> = Place {
    network: &NETWORK,
    gateway: &GATEWAY,
};

/// Random values. Drawn from a seed and not by strategies, because what is secret in them has no
/// `Debug`, which strategies ask for; a failure names the seed.
struct Draw(KeyRng);

impl Draw {
    fn new(seed: [u8; 32]) -> Self {
        Self(KeyRng::from_seed(seed))
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.0.bytes()
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn below(&mut self, len: usize) -> usize {
        pick(self.u64(), len).expect("len is not 0")
    }

    /// Between `least` and `most` bytes.
    fn bytes(&mut self, least: usize, most: usize) -> Vec<u8> {
        let len = least + self.below(most + 1 - least);
        (0..len).map(|_| self.array::<1>()[0]).collect()
    }

    /// Both ends and the bits between.
    fn u16(&mut self) -> u16 {
        match self.below(4) {
            0 => 0,
            1 => u16::MAX,
            _ => u16::from_be_bytes(self.array()),
        }
    }

    fn frame(&mut self) -> Frame {
        match self.below(4) {
            0 => Frame::Packet(EpochHint(self.u16()), Box::new(self.array::<PACKET_LEN>())),
            1 => Frame::Dummy,
            2 => Frame::Hello(Hello {
                version: self.u16(),
                network: NetworkId(self.array()),
                geometry: GeometryHash(self.array()),
                speaker: match self.below(3) {
                    0 => Speaker::Node,
                    1 => Speaker::Client(SessionAddress::from_random(self.array())),
                    _ => Speaker::Gateway(UnixTime(self.u64())),
                },
            }),
            _ => {
                let parts = 1 + self.u16() % PARTS_MAX;
                let part = self.u16() % parts;
                let least = if part + 1 < parts { PART_LEN } else { 1 };
                Frame::DirectoryPart(DirectoryPart {
                    hash: DirectoryHash(self.array()),
                    epoch: Epoch(self.u64()),
                    part,
                    parts,
                    bytes: self.bytes(least, PART_LEN),
                })
            }
        }
    }

    fn request(&mut self) -> Request {
        let secret = IdentitySecret::from_seed(&self.array());
        let inbox = InboxId(self.array());
        match self.below(6) {
            0 => Request::Cover,
            1 => Request::Deposit(Deposit {
                inbox,
                token: WriteToken(self.array()),
                cell_id: CellId(self.array()),
                cell: Box::new(self.array::<CELL_LEN>()),
            }),
            2 => {
                // Now and then more than fit: `signed` takes the first.
                let acks: Vec<CellId> = (0..self.below(ACKS_MAX + 4))
                    .map(|_| CellId(self.array()))
                    .collect();
                let fetch = Fetch::signed(PLACE, &secret, inbox, &acks);
                assert_eq!(fetch.acks, acks[..acks.len().min(ACKS_MAX)]);
                Request::Fetch(fetch)
            }
            3 => {
                let token_hash = WriteTokenHash(self.array());
                let ttl_secs = u32::from_be_bytes(self.array());
                let admission = Admission(self.array());
                let open = Open::signed(PLACE, &secret, inbox, token_hash, ttl_secs, admission);
                Request::Open(Box::new(open))
            }
            4 => Request::Close(Close::signed(PLACE, &secret, inbox)),
            _ => Request::Directory(DirectoryRequest {
                hash: DirectoryHash(self.array()),
                part: self.u16(),
            }),
        }
    }

    fn envelope(&mut self) -> Envelope {
        Envelope {
            surb: Box::new(self.array::<SURB_LEN>()),
            reply_delay: Duration::from_nanos(self.u64()),
            request: self.request(),
        }
    }

    fn reply(&mut self) -> Reply {
        let answer = match self.below(8) {
            0 => Answer::Done,
            1 => Answer::Stored,
            2 => Answer::Refused,
            3 => Answer::Cell {
                remaining: self.u16(),
                cell_id: CellId(self.array()),
                cell: Box::new(self.array::<CELL_LEN>()),
            },
            4 => Answer::Empty,
            5 => Answer::Opened {
                ttl_secs: u32::from_be_bytes(self.array()),
            },
            6 => {
                let parts = self.u16().max(1);
                Answer::Directory {
                    part: self.u16() % parts,
                    parts,
                    bytes: self.bytes(0, DIRECTORY_CHUNK_LEN),
                }
            }
            _ => Answer::Unreadable,
        };
        Reply {
            epoch: Epoch(self.u64()),
            directory: DirectoryHash(self.array()),
            answer,
        }
    }
}

/// Reads `bytes` as a frame; what can be read must be written back the same.
fn check_frame(bytes: &[u8; FRAME_LEN]) -> Result<(), DecodeError> {
    Frame::decode(bytes).map(|frame| assert!(frame.encode()[..] == bytes[..]))
}

fn check_request(bytes: &[u8; PLAINTEXT_LEN]) -> Result<(), DecodeError> {
    match Envelope::decode(bytes) {
        Ok(envelope) => assert!(envelope.encode()[..] == bytes[..]),
        Err(unreadable) => {
            assert!(unreadable.surb[..] == bytes[..SURB_LEN]);
            return Err(unreadable.error);
        }
    }
    Ok(())
}

fn check_reply(bytes: &[u8; PLAINTEXT_LEN]) -> Result<(), DecodeError> {
    Reply::decode(bytes).map(|reply| assert!(reply.encode()[..] == bytes[..]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn values_are_read_as_they_were_written(seed in uniform32(any::<u8>())) {
        let mut draw = Draw::new(seed);
        let (f, e, r) = (draw.frame(), draw.envelope(), draw.reply());
        prop_assert!(Frame::decode(&f.encode()) == Ok(f));
        prop_assert!(Envelope::decode(&e.encode()).is_ok_and(|read| read == e));
        prop_assert!(Reply::decode(&r.encode()) == Ok(r));
    }

    /// A changed bit gives another value or an error, and one value has one encoding.
    #[test]
    fn a_flipped_bit_never_panics_and_never_reads_the_same(
        seed in uniform32(any::<u8>()), at in any::<u64>(), bit in 0..8u32,
    ) {
        let mut draw = Draw::new(seed);
        let (f, e, r) = (draw.frame(), draw.envelope(), draw.reply());
        let flip = |bytes: &mut [u8]| bytes[(at % bytes.len() as u64) as usize] ^= 1 << bit;
        let mut bytes = f.encode();
        flip(&mut bytes[..]);
        prop_assert!(Frame::decode(&bytes) != Ok(f));
        let _ = check_frame(&bytes);
        let mut bytes = e.encode();
        flip(&mut bytes[..]);
        prop_assert!(Envelope::decode(&bytes).map_or(true, |read| read != e));
        let _ = check_request(&bytes);
        let mut bytes = r.encode();
        flip(&mut bytes[..]);
        prop_assert!(Reply::decode(&bytes) != Ok(r));
        let _ = check_reply(&bytes);
    }

    /// Mostly zero behind a random beginning, so that the padding does not end every attempt.
    #[test]
    fn whatever_can_be_read_has_one_encoding(
        head in vec(any::<u8>(), 0..160), kind in 0..8u8, seed in uniform32(any::<u8>()),
    ) {
        let _ = check_frame(&Draw::new(seed).array());
        let mut bytes = [0; FRAME_LEN];
        bytes[4..4 + head.len()].copy_from_slice(&head);
        bytes[1] = kind;
        let _ = check_frame(&bytes);
        let mut bytes = [0; PLAINTEXT_LEN];
        bytes[0] = kind;
        bytes[41..41 + head.len()].copy_from_slice(&head);
        let _ = check_reply(&bytes);
        let mut bytes = [0; PLAINTEXT_LEN];
        bytes[404] = kind;
        bytes[405..405 + head.len()].copy_from_slice(&head);
        let _ = check_request(&bytes);
    }

    #[test]
    fn addresses_are_read_as_they_were_written(
        seed in uniform32(any::<u8>()), hint in any::<u16>(), bytes in uniform32(any::<u8>()),
    ) {
        let mut draw = Draw::new(seed);
        let gateway = NodeId(draw.array());
        let (inbox, token) = (InboxId(draw.array()), WriteToken(draw.array()));
        let address = InboxAddress { gateway, inbox, token };
        let encoded = address.to_bytes();
        let mut reader = Reader::new(&encoded);
        prop_assert!(InboxAddress::decode(&mut reader) == Ok(address));
        prop_assert_eq!(reader.finish(), Ok(()));
        for len in 0..InboxAddress::LEN {
            let short = InboxAddress::decode(&mut Reader::new(&encoded[..len]));
            prop_assert!(short == Err(DecodeError::Truncated));
        }
        let hop = NextHop::Node { id: gateway, epoch: EpochHint(hint) };
        prop_assert!(NextHop::from_bytes(hop.to_bytes()) == Ok(hop));
        if let Ok(hop) = NextHop::from_bytes(bytes) {
            prop_assert_eq!(hop.to_bytes(), bytes);
        }
        prop_assert!(NextHop::from_bytes(*SessionAddress::from_random(bytes).as_bytes()).is_ok());
    }

    /// A document cut into frames is put together again; other sizes cannot be cut.
    #[test]
    fn pieces_make_the_document(document in vec(any::<u8>(), 0..4 * PART_LEN)) {
        let cut = DirectoryPart::cut(DirectoryHash([1; 32]), Epoch(2), &document);
        prop_assert_eq!(cut.is_none(), document.is_empty());
        let mut again = Vec::new();
        for (i, part) in cut.into_iter().flatten().enumerate() {
            prop_assert_eq!(usize::from(part.part), i);
            let frame = Frame::DirectoryPart(part.clone());
            prop_assert!(Frame::decode(&frame.encode()) == Ok(frame));
            again.extend_from_slice(&part.bytes);
        }
        prop_assert_eq!(again, document);
    }

    /// What the reader gives is what the writer wrote, and it never reads past the end.
    #[test]
    fn the_cursor_stays_in_its_slice(bytes in vec(any::<u8>(), 0..64), len in any::<usize>()) {
        let mut reader = Reader::new(&bytes);
        match reader.slice(len) {
            Ok(slice) => prop_assert_eq!(slice, &bytes[..len]),
            Err(error) => {
                prop_assert_eq!(error, DecodeError::Truncated);
                prop_assert_eq!(reader.remaining(), bytes.len());
            }
        }
        let mut reader = Reader::new(&bytes);
        let mut writer = Writer::with_capacity(bytes.len());
        while let Ok(n) = reader.u64() { writer.u64(n); }
        while let Ok(n) = reader.u32() { writer.u32(n); }
        while let Ok(n) = reader.u16() { writer.u16(n); }
        while let Ok(n) = reader.u8() { writer.u8(n); }
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(writer.len(), bytes.len());
        prop_assert_eq!(writer.into_vec(), bytes);
    }
}

/// Every prefix of a padded text followed by a one: padding is zero or the text is refused.
#[test]
fn padding_is_zero_everywhere() {
    let hello = Frame::Hello(Hello::new(NETWORK, Speaker::Node)).encode();
    let session = SessionAddress::from_random([0; 32]);
    let client = Frame::Hello(Hello::new(NETWORK, Speaker::Client(session))).encode();
    let time = Speaker::Gateway(UnixTime(u64::MAX));
    let gateway = Frame::Hello(Hello::new(NETWORK, time)).encode();
    let dummy = Frame::Dummy.encode();
    for (frame, used) in [(dummy, 4), (hello, 71), (client, 103), (gateway, 79)] {
        for at in used..FRAME_LEN {
            let mut bytes = frame.clone();
            bytes[at] = 1;
            assert!(Frame::decode(&bytes) == Err(DecodeError::Leftover), "{at}");
        }
    }
    for at in 405..PLAINTEXT_LEN {
        let mut bytes = [0; PLAINTEXT_LEN];
        bytes[at] = 1;
        assert_eq!(check_request(&bytes), Err(DecodeError::Leftover), "{at}");
    }
    for at in 41..PLAINTEXT_LEN {
        let mut bytes = [0; PLAINTEXT_LEN];
        bytes[at] = 1;
        assert_eq!(check_reply(&bytes), Err(DecodeError::Leftover), "{at}");
    }
}

#[test]
fn a_document_of_too_many_pieces_is_not_cut() {
    let hash = DirectoryHash([1; 32]);
    let most = vec![0; PART_LEN * usize::from(PARTS_MAX)];
    let cut = DirectoryPart::cut(hash, Epoch(0), &most).unwrap();
    assert_eq!(cut.len(), usize::from(PARTS_MAX));
    let over = vec![0; most.len() + 1];
    assert!(DirectoryPart::cut(hash, Epoch(0), &over).is_none());
    // 65,536 pieces: the count would wrap to 0.
    let far_over = vec![0; PART_LEN * 65_536];
    assert!(DirectoryPart::cut(hash, Epoch(0), &far_over).is_none());
}

#[test]
fn a_reply_delay_saturates() {
    let envelope = Envelope {
        surb: Box::new([0; SURB_LEN]),
        reply_delay: Duration::MAX,
        request: Request::Cover,
    };
    let read = Envelope::decode(&envelope.encode()).map_err(|u| u.error);
    assert_eq!(
        read.map(|e| e.reply_delay),
        Ok(Duration::from_nanos(u64::MAX))
    );
}
