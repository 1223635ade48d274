//! What opens, what does not, and what a cell shows.

use super::*;

struct Two {
    network: NetworkId,
    alice: Identity,
    bob: Identity,
    rng: KeyRng,
}

fn two() -> Two {
    let mut rng = KeyRng::from_seed([9; 32]);
    Two {
        network: NetworkId([7; 32]),
        alice: Identity::generate(&mut rng),
        bob: Identity::generate(&mut rng),
        rng,
    }
}

impl Two {
    fn seal(&mut self, inner: &[u8]) -> Sealed {
        let (bob, kem) = (self.bob.public(), self.bob.kem_public());
        seal(&self.network, &self.alice, &bob, kem, inner, &mut self.rng).unwrap()
    }

    fn open(&self, cells: &[Cell]) -> Result<Message, OpenError> {
        let (first, rest) = cells.split_first().unwrap();
        let mut opening = Opening::first(&self.network, &self.bob, first)?;
        rest.iter().try_for_each(|cell| opening.add(cell))?;
        opening.finish()
    }
}

#[test]
fn messages_of_every_length_come_back() {
    let mut two = two();
    for len in [0, 1, 727, 728, 729, 1300, INNER_MAX] {
        let inner = vec![0xa5; len];
        let sealed = two.seal(&inner);
        assert_eq!(sealed.cells.len(), if len <= 728 { 1 } else { 2 });
        let message = two.open(&sealed.cells).unwrap();
        assert_eq!(message.inner[..], inner[..]);
        assert_eq!(message.sender, two.alice.public());
        assert!(message.export == sealed.export);
    }
    let (bob, kem) = (two.bob.public(), two.bob.kem_public().clone());
    let long = vec![0; INNER_MAX + 1];
    let refused = seal(&two.network, &two.alice, &bob, &kem, &long, &mut two.rng);
    assert!(matches!(refused, Err(InnerTooLong)));
}

#[test]
fn every_changed_byte_is_refused() {
    let mut two = two();
    let sealed = two.seal(&[1; 900]);
    for which in 0..2 {
        for index in 0..CELL_LEN {
            let mut cells = sealed.cells.clone();
            cells[which][index] ^= 1 << (index % 8);
            let expected = if index == 0 {
                OpenError::UnknownSuite
            } else {
                OpenError::Unreadable
            };
            assert_eq!(two.open(&cells).err(), Some(expected), "{which} {index}");
        }
    }
}

#[test]
fn only_the_recipient_on_this_network_opens() {
    let mut two = two();
    let sealed = two.seal(b"x");
    let first =
        |network: &NetworkId, own: &Identity| Opening::first(network, own, &sealed.cells[0]).err();
    assert_eq!(first(&two.network, &two.bob), None);
    assert_eq!(first(&two.network, &two.alice), Some(OpenError::Unreadable));
    let other = NetworkId([8; 32]);
    assert_eq!(first(&other, &two.bob), Some(OpenError::Unreadable));
    // The same X-Wing key under another identity: the context is bound to both.
    let mut mixed = Identity::generate(&mut two.rng).to_bytes();
    mixed[32..].copy_from_slice(&two.bob.to_bytes()[32..]);
    let mixed = Identity::from_bytes(&mixed);
    assert_eq!(first(&two.network, &mixed), Some(OpenError::Unreadable));
}

#[test]
fn cells_fit_only_in_their_order_and_message() {
    let mut two = two();
    let one = two.seal(&[1; 900]);
    let other = two.seal(&[1; 900]);
    let err = |cells: &[Cell]| two.open(cells).err();
    let [a, b] = [one.cells[0].clone(), one.cells[1].clone()];
    assert_eq!(err(&[b.clone(), a.clone()]), Some(OpenError::Unreadable));
    let foreign = other.cells[1].clone();
    assert_eq!(err(&[a.clone(), foreign]), Some(OpenError::Unreadable));
    assert_eq!(err(std::slice::from_ref(&a)), Some(OpenError::Malformed));
    let twice = [a.clone(), b.clone(), b.clone()];
    assert_eq!(err(&twice), Some(OpenError::Unreadable));
    // A cell that does not open leaves the message as it was.
    let mut opening = Opening::first(&two.network, &two.bob, &a).unwrap();
    let mut bad = b.clone();
    bad[500] ^= 1;
    assert_eq!(opening.add(&bad), Err(OpenError::Unreadable));
    assert_eq!(opening.add(&b), Ok(()));
    assert!(opening.finish().is_ok());
}

/// Seals a plaintext that no honest sender makes.
fn forge(two: &mut Two, make: impl Fn(&[u8; 32], &IdentityPublic) -> Vec<u8>) -> Cell {
    let recipient = two.bob.public();
    let kem = two.bob.kem_public().clone();
    let info = info(&two.network, &recipient);
    let (mut masked, mut context) = encapsulate(&kem, &info, &mut two.rng);
    let binding = export(&context, b"mizzle-sign-v1");
    let mut plain = make(&binding, &recipient);
    plain.resize(FIRST_LEN, 0);
    let tag = two.rng.bytes();
    mask(&kem, &tag, &mut masked);
    seal_cell(&mut context, &tag, &masked, &plain)
}

#[test]
fn a_sender_who_lies_is_refused() {
    let mut two = two();
    let honest = Identity::from_bytes(&two.alice.to_bytes());
    let plain = |signer: &Identity, named: &Identity, text: &[u8]| {
        let mut w = Writer::default();
        w.u8(1).u16(2).put(&named.public().to_bytes());
        w.put(&signer.signing.sign(SIGN_MESSAGE, text)).put(b"hi");
        w.into_vec()
    };
    let good = forge(&mut two, |binding, to| {
        plain(&honest, &honest, &signed_text(to, binding, 1, b"hi"))
    });
    assert!(two.open(&[good]).is_ok());
    let mallory = Identity::generate(&mut two.rng);
    let in_the_name_of_another = forge(&mut two, |binding, to| {
        plain(&mallory, &honest, &signed_text(to, binding, 1, b"hi"))
    });
    let from_another_context = forge(&mut two, |_, to| {
        plain(&honest, &honest, &signed_text(to, &[0; 32], 1, b"hi"))
    });
    let for_another_recipient = forge(&mut two, |binding, _| {
        plain(
            &honest,
            &honest,
            &signed_text(&mallory.public(), binding, 1, b"hi"),
        )
    });
    for cell in [
        in_the_name_of_another,
        from_another_context,
        for_another_recipient,
    ] {
        assert_eq!(two.open(&[cell]).err(), Some(OpenError::BadSignature));
    }
}

#[test]
fn a_plaintext_that_breaks_the_rules_is_malformed() {
    let mut two = two();
    let honest = Identity::from_bytes(&two.alice.to_bytes());
    let plain = |count: u8, len: u16, padding: u8, text: &[u8]| {
        let mut w = Writer::default();
        w.u8(count).u16(len).put(&honest.public().to_bytes());
        w.put(&honest.signing.sign(SIGN_MESSAGE, text)).put(b"hi");
        w.u8(padding);
        w.into_vec()
    };
    for (count, len, padding) in [(0, 2, 0), (3, 2, 0), (255, 2, 0), (1, 2, 1), (1, 729, 0)] {
        let cell = forge(&mut two, |binding, to| {
            plain(count, len, padding, &signed_text(to, binding, 1, b"hi"))
        });
        assert_eq!(
            two.open(&[cell]).err(),
            Some(OpenError::Malformed),
            "{count} {len}"
        );
    }
    // A message that would fit one cell must not be spread over two.
    let cell = forge(&mut two, |binding, to| {
        plain(2, 2, 0, &signed_text(to, binding, 2, b"hi"))
    });
    assert!(Opening::first(&two.network, &two.bob, &cell).is_ok());
}

#[test]
fn first_and_later_cells_look_alike() {
    // The top bit of the X25519 share is always clear; masked, it is a coin like any other.
    let mut two = two();
    let top = 1 + TAG_LEN + ENC_LEN - 1;
    let ones = (0..64)
        .filter(|_| two.seal(b"x").cells[0][top] & 0x80 != 0)
        .count();
    assert!((8..=56).contains(&ones), "{ones}");
}

const VECTORS: &str = include_str!("../../tests/vectors/suite1.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn value(key: &str) -> &'static str {
    let mut lines = VECTORS.lines().filter_map(|l| l.split_once(" = "));
    let found = lines.find(|(k, _)| *k == key);
    found.map(|(_, value)| value).unwrap()
}

/// Everything needed is in the file: keys, cells, and what comes out.
#[test]
fn frozen_openings() {
    let network = NetworkId(unhex(value("network")).try_into().unwrap());
    let bob = Identity::from_bytes(&unhex(value("recipient")).try_into().unwrap());
    let alice = Identity::from_bytes(&unhex(value("sender")).try_into().unwrap());
    let mut seen = 0;
    for line in VECTORS.lines().filter_map(|l| l.strip_prefix("cells ")) {
        let (expected, cells) = line.split_once(" = ").unwrap();
        let cells: Vec<Cell> = cells
            .split(',')
            .map(|c| Box::new(unhex(c).try_into().unwrap()))
            .collect();
        let open = || {
            let mut opening = Opening::first(&network, &bob, &cells[0])?;
            cells[1..].iter().try_for_each(|c| opening.add(c))?;
            opening.finish()
        };
        match open() {
            Ok(message) => {
                let got = format!("{},{}", hex(&message.inner), hex(&message.export[..]));
                assert_eq!(got, expected);
                assert_eq!(message.sender, alice.public());
            }
            Err(error) => assert_eq!(format!("{error:?}"), expected),
        }
        seen += 1;
    }
    assert_eq!(seen, 11);
}

/// Prints `tests/vectors/suite1.txt`; run when the format changes on purpose.
#[test]
#[ignore = "prints vectors"]
fn print_vectors() {
    println!();
    let mut two = two();
    println!("network = {}", hex(&two.network.0));
    println!("sender = {}", hex(&two.alice.to_bytes()[..]));
    println!("recipient = {}", hex(&two.bob.to_bytes()[..]));
    let print = |expected: &str, cells: &[Cell]| {
        let cells: Vec<String> = cells.iter().map(|c| hex(&c[..])).collect();
        println!("cells {expected} = {}", cells.join(","));
    };
    let (short, long) = (two.seal(b"\x02 a short message"), two.seal(&[0x5a; 1300]));
    for (inner, sealed) in [
        (&b"\x02 a short message"[..], &short),
        (&[0x5a; 1300], &long),
    ] {
        let expected = format!("{},{}", hex(inner), hex(&sealed.export[..]));
        print(&expected, &sealed.cells);
    }
    print("Malformed", &long.cells[..1]);
    print("Unreadable", &long.cells[1..]);
    let changed = |index: usize| {
        let mut cell = short.cells[0].clone();
        cell[index] ^= 0x80;
        cell
    };
    print("UnknownSuite", &[changed(0)]);
    print("Unreadable", &[changed(1)]);
    print("Unreadable", &[changed(1136)]);
    print("Unreadable", &[changed(CELL_LEN - 1)]);
    let honest = Identity::from_bytes(&two.alice.to_bytes());
    let plain = |count: u8, padding: u8, text: &[u8]| {
        let mut w = Writer::default();
        w.u8(count).u16(2).put(&honest.public().to_bytes());
        w.put(&honest.signing.sign(SIGN_MESSAGE, text)).put(b"hi");
        w.u8(padding);
        w.into_vec()
    };
    let cell = forge(&mut two, |_, to| {
        plain(1, 0, &signed_text(to, &[0; 32], 1, b"hi"))
    });
    print("BadSignature", &[cell]);
    for (count, padding) in [(3, 0), (1, 1)] {
        let cell = forge(&mut two, |b, to| {
            plain(count, padding, &signed_text(to, b, 1, b"hi"))
        });
        print("Malformed", &[cell]);
    }
}
