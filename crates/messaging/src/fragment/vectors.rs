//! Frozen bytes: `crates/messaging/tests/vectors/delivery.txt`, success and failure. The file is what
//! [`made`] makes, byte for byte; `print_vectors` prints it.

use super::*;
use crate::event::MessageId;
use crate::identity::Identity;
use crate::pair::PairSecret;
use crate::receipt::{Receipt, Told};
use crate::suite1::{open_long, seal_long};
use std::fmt::Write as _;
use wire::codec::{Reader, Writer};
use wire::ids::NetworkId;
use wire::rng::KeyRng;

const VECTORS: &str = include_str!("../../tests/vectors/delivery.txt");
const INBOX: InboxId = InboxId([0x42; 32]);
const ID: MessageId = MessageId([0x43; 16]);
const NETWORK: NetworkId = NetworkId([0x44; 32]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn made() -> String {
    let mut out = String::from(
        "# Frozen bytes, docs/spec/messaging.md sections 3, 7 and 9.\n\
         # Alice has the seeds 01.. (64), Bob 02.. (64), the network is 44.. (32), the inbox 42.. (32),\n\
         # the message 43.. (16), the pair's secret 41.. (32).\n",
    );
    long_form(&mut out);
    pieces(&mut out);
    bad_pieces(&mut out);
    receipts(&mut out);
    out
}

/// Randomness is an implementation's own affair: what is frozen is that this opens.
fn long_form(out: &mut String) {
    let (alice, bob) = (
        Identity::from_bytes(&[1; 64]),
        Identity::from_bytes(&[2; 64]),
    );
    let mut rng = KeyRng::from_seed([3; 32]);
    let (to, kem) = (bob.public(), bob.kem_public());
    let sealed = seal_long(&NETWORK, &alice, &to, kem, b"a long text", &mut rng);
    let sealed = sealed.ok().unwrap();
    let _ = writeln!(
        out,
        "# A long form that Bob opens to Alice's inner message, in hex."
    );
    let _ = writeln!(out, "long = {}", hex(&sealed));
    let _ = writeln!(out, "inner = {}", hex(b"a long text"));
    let opened = open_long(&NETWORK, &bob, &sealed).ok().unwrap();
    assert!(opened.sender == alice.public() && opened.inner[..] == *b"a long text");
    let mut refused = |name: &str, bytes: &[u8]| {
        let error = open_long(&NETWORK, &bob, bytes).err().unwrap();
        let _ = writeln!(out, "bad long, {name} = {error:?}");
    };
    let mut bad = sealed.clone();
    bad[1130] ^= 1;
    refused("a byte of the seal changed", &bad);
    refused("cut to 1231 bytes", &sealed[..1231]);
    let other = open_long(&NetworkId([0x45; 32]), &bob, &sealed)
        .err()
        .unwrap();
    let _ = writeln!(out, "bad long, another network = {other:?}");
}

fn pieces(out: &mut String) {
    let bob = Identity::from_bytes(&[2; 64]).public();
    let key = PairSecret::from_bytes([0x41; 32]).fragment_key(&bob);
    let _ = writeln!(
        out,
        "# Pieces that Bob reads, of a sealed message of 10000 bytes 00 07 0e .."
    );
    let _ = writeln!(out, "key = {}", hex(&key.0[..]));
    let sealed: Vec<u8> = (0..10_000u32).map(|i| (i * 7) as u8).collect();
    let pieces = Pieces::cut(&sealed);
    let (data, parity) = (pieces.shape().data(), pieces.shape().parity());
    let _ = writeln!(out, "data and parity = {data} {parity}");
    for (attempt, index) in [(0, 0), (1, 0), (0, 5), (0, 6)] {
        let (id, cell) = pieces.cell(&key, &INBOX, &ID, attempt, index).unwrap();
        let payload = open(&key, &cell).unwrap().ok().unwrap().payload;
        let _ = writeln!(out, "attempt and index = {attempt} {index}");
        let _ = writeln!(out, "payload sha256 = {}", hex(&Sha256::digest(&payload)));
        let _ = writeln!(out, "cell id = {}", hex(&id.0));
        let _ = writeln!(out, "cell begins = {}", hex(&cell[..32]));
        let _ = writeln!(out, "cell sha256 = {}", hex(&Sha256::digest(&cell[..])));
    }
    let longest: Vec<u8> = (0..SEALED_LONG_MAX as u32).map(|i| (i * 7) as u8).collect();
    let all = Pieces::cut(&longest);
    let mut hash = Sha256::new();
    all.payloads.iter().for_each(|p| hash.update(p));
    let _ = writeln!(
        out,
        "# All payloads of the longest one, 00 07 0e .., joined."
    );
    let _ = writeln!(out, "longest sha256 = {}", hex(&hash.finalize()));
}

fn bad_pieces(out: &mut String) {
    let _ = writeln!(
        out,
        "# First 25 bytes of texts that are sealed rightly and are no piece."
    );
    let heads: [(u8, u32, u16); 5] = [
        (2, 5000, 0),
        (1, 0, 0),
        (1, SEALED_LONG_MAX as u32 + 1, 0),
        (1, 5000, 3),
        (1, 10_000, 7),
    ];
    let key = FragmentKey(Zeroizing::new([9; 32]));
    for (kind, length, index) in heads {
        let mut text = [0; TEXT_LEN];
        text[0] = kind;
        text[1..17].copy_from_slice(&ID.0);
        text[19..23].copy_from_slice(&length.to_be_bytes());
        text[23..25].copy_from_slice(&index.to_be_bytes());
        let cell = keyed::seal(&key.0, LABEL, &[8; TAG_LEN], &text);
        assert_eq!(open(&key, &cell), Some(Err(Malformed)));
        let _ = writeln!(out, "bad piece = {}", hex(&text[..HEAD_LEN]));
    }
}

fn receipts(out: &mut String) {
    let _ = writeln!(
        out,
        "# Receipts without their type byte; then what is none, and why."
    );
    let receipt = Receipt {
        number: 0x0102_0304,
        on: true,
        entries: vec![
            (ID, Told::Delivered),
            (MessageId([0x45; 16]), Told::Read),
            (MessageId([0x46; 16]), Told::Pieces(vec![0b101, 0b1])),
        ],
    };
    let off = Receipt {
        number: 5,
        on: false,
        entries: Vec::new(),
    };
    let mut whole = Vec::new();
    for receipt in [off, receipt] {
        let mut w = Writer::default();
        receipt.encode(&mut w);
        whole = w.into_vec();
        let _ = writeln!(out, "receipt = {}", hex(&whole));
        assert_eq!(Receipt::decode(Reader::new(&whole)), Ok(receipt));
    }
    let mut refused = |bytes: &[u8]| {
        let error = Receipt::decode(Reader::new(bytes)).err().unwrap();
        let _ = writeln!(out, "bad receipt = {} {error}", hex(bytes));
    };
    let change = |at: usize, value: u8| {
        let mut bad = whole.clone();
        bad[at] = value;
        bad
    };
    refused(&change(8, 2));
    refused(&change(26, 0));
    refused(&change(26, 4));
    refused(&change(9, 4));
    refused(&change(9, 2));
    refused(&change(whole.len() - 1, 0));
    refused(&whole[..40]);
}

#[test]
fn bytes_are_frozen() {
    let made = made();
    for (line, (frozen, made)) in VECTORS.lines().zip(made.lines()).enumerate() {
        assert_eq!(frozen, made, "line {}", line + 1);
    }
    assert_eq!(VECTORS.len(), made.len());
}

#[test]
#[ignore = "prints vectors"]
#[allow(clippy::print_stdout)]
fn print_vectors() {
    print!("{}", made());
}
