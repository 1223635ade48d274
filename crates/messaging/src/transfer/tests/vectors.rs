//! Frozen bytes: `crates/messaging/tests/vectors/transfer.txt`, success and failure.

use super::super::*;
use crate::composed::Composed;
use crate::event::MessageId;
use sha2::{Digest, Sha256};
use wire::codec::{Reader, Writer};
use wire::geometry::CELL_LEN;
use wire::ids::{InboxAddress, InboxId, NodeId, WriteToken};
use wire::time::UnixTime;

const VECTORS: &str = include_str!("../../../tests/vectors/transfer.txt");

fn lines(name: &str) -> Vec<String> {
    let named = VECTORS.lines().filter_map(|l| l.split_once(" = "));
    let lines: Vec<String> = named
        .filter(|(n, _)| *n == name)
        .map(|(_, value)| value.to_owned())
        .collect();
    assert!(!lines.is_empty(), "no vector '{name}'");
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn encoded(encode: impl FnOnce(&mut Writer)) -> String {
    let mut w = Writer::default();
    encode(&mut w);
    hex(&w.into_vec())
}

#[test]
fn messages_are_frozen() {
    let transfer = MessageId([0x21; 16]);
    let offer = FileOffer {
        id: transfer,
        composed: Composed {
            at: UnixTime(0x0102_0304),
            after: UnixTime(0x0102_0300),
        },
        size: 5000,
        hash: [0x22; 32],
        key: FileKey::from_bytes([0x23; 32]),
        name: "Zoë.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        body: "hi".to_owned(),
    };
    let report = Report {
        number: 7,
        idle: true,
        complete: false,
        first_missing: 1,
        bitmap: vec![0b1],
    };
    let address = InboxAddress {
        gateway: NodeId([0x24; 28]),
        inbox: InboxId([0x25; 32]),
        token: WriteToken([0x26; 32]),
    };
    let accept = FileAccept {
        transfer,
        report: report.clone(),
        inboxes: vec![address],
    };
    let progress = FileProgress { transfer, report };
    let cancel = FileCancel {
        transfer,
        reason: CancelReason::Damaged,
    };
    assert_eq!(encoded(|w| offer.encode(w)), lines("offer")[0]);
    assert_eq!(encoded(|w| accept.encode(w)), lines("accept")[0]);
    assert_eq!(encoded(|w| progress.encode(w)), lines("progress")[0]);
    assert_eq!(encoded(|w| cancel.encode(w)), lines("cancel")[0]);
}

#[test]
fn a_record_is_frozen() {
    let key = FileKey::from_bytes([0x23; 32]);
    let (shape, inbox) = (Shape::new(5000), InboxId([0x25; 32]));
    let payload: Vec<u8> = (0..1160u32).map(|i| i as u8).collect();
    let (cell_id, cell) = bulk::seal(&key, shape, 2, &payload, &inbox).unwrap();
    assert_eq!(hex(&cell_id.0), lines("cell id")[0]);
    assert_eq!(hex(&cell[..33]), lines("cell begins")[0]);
    assert_eq!(hex(&Sha256::digest(&cell[..])), lines("cell sha256")[0]);
    assert_eq!(cell.len(), CELL_LEN);
    let (index, back) = bulk::open(&key, shape, &cell).ok().unwrap();
    assert_eq!((index, &back[..]), (2, &payload[..]));
    // A file that is one byte shorter has no such record.
    let shorter = bulk::open(&key, Shape::new(4999), &cell);
    assert_eq!(shorter.err(), Some(bulk::BulkError::Malformed));
}

#[test]
fn bad_messages_are_refused() {
    for line in lines("bad accept") {
        assert!(
            FileAccept::decode(Reader::new(&unhex(&line))).is_err(),
            "{line}"
        );
    }
    for line in lines("bad progress") {
        assert!(
            FileProgress::decode(Reader::new(&unhex(&line))).is_err(),
            "{line}"
        );
    }
    for line in lines("bad cancel") {
        assert!(
            FileCancel::decode(Reader::new(&unhex(&line))).is_err(),
            "{line}"
        );
    }
    for line in lines("bad offer") {
        assert!(
            FileOffer::decode(&mut Reader::new(&unhex(&line))).is_err(),
            "{line}"
        );
    }
}
