//! Cards that are read, and texts that are not; the vectors of `docs/spec/messaging.md` §2.

use super::*;
use wire::ids::{InboxId, NodeId, WriteToken};
use wire::rng::KeyRng;

const VECTORS: &str = include_str!("../../tests/vectors/card.txt");

fn owner() -> Identity {
    Identity::generate(&mut KeyRng::from_seed([0x21; 32]))
}

fn address(n: u8) -> InboxAddress {
    InboxAddress {
        gateway: NodeId([n; 28]),
        inbox: InboxId([n + 1; 32]),
        token: WriteToken([n + 2; 32]),
    }
}

fn card() -> Card {
    let invites = [address(0x10), address(0x40)];
    let expires = UnixTime(1_800_000_000_000);
    Card::signed(
        &owner(),
        NetworkId([7; 32]),
        invites,
        expires,
        "Zoë 🌧".to_owned(),
    )
}

fn text_of(body: &[u8]) -> String {
    let checksum: [u8; 32] = Sha256::digest(body).into();
    let mut text = String::from(PREFIX);
    base32_append(&mut text, &[body, &checksum[..CHECKSUM_LEN]].concat());
    text
}

/// Signs a changed body anew: only the rule in question is broken.
fn signed_again(change: impl Fn(&mut Vec<u8>)) -> String {
    let mut body = card().signed_text();
    change(&mut body);
    let signature = owner().signing.sign(SIGN_CARD, &body);
    body.extend_from_slice(&signature);
    text_of(&body)
}

/// Texts that are no card, and the name of the error each gives.
fn bad_texts() -> Vec<(&'static str, String)> {
    let good = card().to_text();
    let mut bytes = card().to_bytes();
    let with = |index: usize, value: u8| signed_again(move |body| body[index] = value);
    let name_at = card().signed_text().len() - card().name.len();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    vec![
        ("NotACard", good.replacen("mizzle1", "mizzle2", 1)),
        ("NotACard", good[1..].to_owned()),
        ("MixedCase", good.replacen('m', "M", 1)),
        ("BadCharacter", good.clone() + "="),
        ("BadCharacter", good.replacen("mizzle1", "mizzle18", 1)),
        ("Checksum", good[..good.len() - 8].to_owned()),
        ("Checksum", PREFIX.to_owned()),
        ("TooLong", good.clone() + &"a".repeat(TEXT_MAX)),
        ("Version", with(0, 2)),
        ("BadSignature", text_of(&bytes)),
        ("Field", signed_again(|body| body[33..65].fill(0))),
        ("Field", signed_again(|body| body[65..129].fill(0xff))),
        (
            "Field",
            signed_again(|body| body.copy_within(1281..1309, 1373)),
        ),
        ("Field", with(name_at, b'\n')),
        ("Field", with(name_at, 0xff)),
        ("Field", with(name_at - 1, 0)),
        ("Field", with(name_at - 1, 33)),
        ("Field", signed_again(|body| body.push(b'x'))),
    ]
}

fn name_of(error: CardDecodeError) -> &'static str {
    match error {
        CardDecodeError::NotACard => "NotACard",
        CardDecodeError::TooLong => "TooLong",
        CardDecodeError::MixedCase => "MixedCase",
        CardDecodeError::BadCharacter => "BadCharacter",
        CardDecodeError::Checksum => "Checksum",
        CardDecodeError::Version(_) => "Version",
        CardDecodeError::Field(_) => "Field",
        CardDecodeError::BadSignature => "BadSignature",
    }
}

#[test]
fn a_card_comes_back_in_either_case() {
    let card = card();
    let text = card.to_text();
    assert!(Card::from_text(&text).unwrap() == card);
    assert!(Card::from_text(&text.to_uppercase()).unwrap() == card);
    assert!(text.len() < TEXT_MAX);
    assert_eq!((card.name(), card.network()), ("Zoë 🌧", NetworkId([7; 32])));
}

#[test]
fn what_is_no_card_is_refused_with_its_reason() {
    for (expected, text) in bad_texts() {
        let error = Card::from_text(&text).err().map(name_of);
        assert_eq!(error, Some(expected), "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn every_cut_and_every_changed_character_is_refused() {
    let text = card().to_text();
    for len in 0..text.len() {
        assert!(Card::from_text(&text[..len]).is_err(), "{len}");
    }
    let mut rng = KeyRng::from_seed([5; 32]);
    for index in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        let old = changed[index];
        changed[index].make_ascii_uppercase();
        if changed[index] != old {
            let flipped = String::from_utf8(changed.clone()).unwrap();
            assert!(Card::from_text(&flipped).is_err(), "case {index}");
        }
        while changed[index] == old || changed[index] == old.to_ascii_uppercase() {
            let [draw] = rng.bytes();
            changed[index] = ALPHABET[usize::from(draw & 31)];
        }
        let changed = String::from_utf8(changed).unwrap();
        assert!(Card::from_text(&changed).is_err(), "change {index}");
    }
}

#[test]
fn frozen_cards() {
    let line = |key: &str| {
        let mut lines = VECTORS.lines().filter_map(|l| l.split_once(" = "));
        lines
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value)
            .unwrap()
    };
    let good = Card::from_text(line("text")).unwrap();
    assert!(good == card());
    assert_eq!(card().to_text(), line("text"));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(hex(&owner().to_bytes()[..]), line("seeds"));
    assert_eq!(hex(&good.identity().to_bytes()), line("identity"));
    assert_eq!(hex(&good.digest()), line("digest"));
    assert_eq!(good.contact().to_string(), line("contact"));
    let bad = VECTORS.lines().filter_map(|l| l.strip_prefix("bad "));
    let mut count = 0;
    for (expected, text) in bad.filter_map(|l| l.split_once(" = ")) {
        let error = Card::from_text(text).err().map(name_of);
        assert_eq!(error, Some(expected));
        count += 1;
    }
    assert_eq!(count, bad_texts().len() - 1);
}

/// Prints `tests/vectors/card.txt`; run when the format changes on purpose.
#[test]
#[ignore = "prints vectors"]
fn print_vectors() {
    println!();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let card = card();
    println!("seeds = {}", hex(&owner().to_bytes()[..]));
    println!("identity = {}", hex(&card.identity().to_bytes()));
    println!("contact = {}", card.contact());
    println!("digest = {}", hex(&card.digest()));
    println!("text = {}", card.to_text());
    for (error, text) in bad_texts().iter().filter(|(e, _)| *e != "TooLong") {
        println!("bad {error} = {text}");
    }
}

#[test]
fn base32_is_that_of_rfc_4648() {
    let cases = [
        ("", ""),
        ("f", "my"),
        ("fo", "mzxq"),
        ("foo", "mzxw6"),
        ("foob", "mzxw6yq"),
        ("fooba", "mzxw6ytb"),
        ("foobar", "mzxw6ytboi"),
    ];
    for (plain, digits) in cases {
        let mut out = String::new();
        base32_append(&mut out, plain.as_bytes());
        assert_eq!(out, digits);
        assert_eq!(base32_decode(digits.as_bytes()).unwrap(), plain.as_bytes());
    }
    for bad in ["m", "mz2", "mzxw6y", "mz", "m1", "my======"] {
        assert_eq!(base32_decode(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn names_are_short_and_plain() {
    assert!(valid_name("Ada") && valid_name("Zoë 🌧"));
    assert!(!valid_name("") && !valid_name("a\nb") && !valid_name(&"x".repeat(33)));
}
