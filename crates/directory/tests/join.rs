//! Join requests: the frozen text, what survives mail, and what is refused.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test, which writes its vectors and may fail by panic"
)]

use directory::testing::{network_id, node_secret};
use directory::{Family, JOIN_TEXT_MAX, JoinRefused, JoinRequest, Role};
use proptest::prelude::*;
use std::fmt::Write as _;
use wire::codec::DecodeError;
use wire::time::UnixTime;

const SEED: u64 = 7;
const FROZEN: &str = include_str!("vectors/join.txt");
const MADE: UnixTime = UnixTime(1_767_225_600_000);

fn request(role: Role, operator: &str) -> JoinRequest {
    let secret = node_secret(SEED, 0);
    JoinRequest::sign(role, operator, MADE, &secret, &network_id(SEED)).unwrap()
}

fn outcome(text: &str) -> String {
    let read = JoinRequest::from_text(text);
    match read.and_then(|r| r.verify(&network_id(SEED)).map(|()| r)) {
        Ok(r) => format!("accepted {:?} {}", r.role, r.operator),
        Err(why) => format!("{why:?}"),
    }
}

fn inputs() -> Vec<String> {
    let good = request(Role::Mix, "Example Society").to_text();
    // The digits of byte `at`, counted from the magic.
    let with = |at: usize, digits: &str| {
        let at = "mizzle-join:".len() + 2 * at;
        let mut text = good.clone();
        text.replace_range(at..at + 2, digits);
        text
    };
    let secret = node_secret(SEED, 0);
    let elsewhere = JoinRequest::sign(Role::Mix, "x", MADE, &secret, &network_id(8)).unwrap();
    vec![
        good.clone(),
        request(Role::Gateway, "Verein für Ä").to_text(),
        elsewhere.to_text(),
        with(4, "02"),
        with(37, "02"),
        with(37, "01"),
        with(48, "0a"),
        with(50, "ff"),
        with(46, "02"),
        with(60, "zz"),
        good[..good.len() - 2].to_owned(),
        format!("{good}00"),
        good["mizzle-".len()..].to_owned(),
    ]
}

#[test]
fn frozen() {
    let rows: Vec<_> = FROZEN.lines().filter(|l| !l.starts_with('#')).collect();
    let inputs = inputs();
    assert_eq!(rows.len(), inputs.len());
    for (row, input) in rows.iter().zip(inputs) {
        let (expected, text) = row.split_once('\t').unwrap();
        assert_eq!(outcome(text), expected);
        assert_eq!(text, input, "the encoder writes other bytes");
    }
}

#[test]
fn who_asks_is_who_signed() {
    let asked = request(Role::Mix, "Example Society");
    assert_eq!(asked.identity, node_secret(SEED, 0).public());
    assert_eq!(asked.family(), Family::of("Example Society"));
    // As mail breaks it.
    let text = asked.to_text();
    let broken: Vec<&str> = text
        .as_bytes()
        .chunks(60)
        .map(|c| std::str::from_utf8(c).unwrap())
        .collect();
    let read = JoinRequest::from_text(&format!("  {}\r\n", broken.join("\r\n "))).unwrap();
    assert_eq!(read, asked);
    assert_eq!(read.verify(&network_id(8)), Err(JoinRefused::BadSignature));
    let long = format!("{text}{}", " ".repeat(JOIN_TEXT_MAX));
    assert_eq!(JoinRequest::from_text(&long), Err(JoinRefused::NotARequest));
}

#[test]
fn a_name_is_text_that_can_be_shown() {
    let sign = |name: &str| {
        let secret = node_secret(SEED, 0);
        JoinRequest::sign(Role::Mix, name, MADE, &secret, &network_id(SEED)).map(|_| ())
    };
    assert_eq!(sign(" "), Err(DecodeError::Invalid("operator")));
    assert_eq!(sign("a\u{1b}[2J"), Err(DecodeError::Invalid("operator")));
    assert_eq!(
        sign(&"a".repeat(257)),
        Err(DecodeError::TooLong("operator"))
    );
    assert_eq!(sign(&"a".repeat(256)), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_panic_and_every_name_comes_back(text in ".{0,300}", name in "[^\\p{Cc}]{1,60}") {
        let _ = JoinRequest::from_text(&text);
        let _ = JoinRequest::from_text(&format!("mizzle-join:{text}"));
        prop_assume!(!name.trim().is_empty() && name.len() <= 256);
        let asked = request(Role::Gateway, &name);
        prop_assert_eq!(JoinRequest::from_text(&asked.to_text()), Ok(asked));
    }
}

#[test]
#[ignore = "writes the vectors"]
fn write() {
    if std::env::var_os("MIZZLE_WRITE_VECTORS").is_none() {
        return;
    }
    let mut out = String::from("# outcome, tab, text. See docs/spec/directory.md, Vectors.\n");
    for text in inputs() {
        let _ = writeln!(out, "{}\t{text}", outcome(&text));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/join.txt");
    std::fs::write(path, out).unwrap();
}
