//! The frozen bytes in `tests/vectors/`. `docs/spec/packet.md` §6. `generate` made them.
//!
//! Both [`Sphinx`] and the reference must say of every packet what the file says, and make every
//! packet that it makes, to the byte.

use crate::making;
use crate::reference::{self, Read};
use sphinx::{DiscardReason, Hop, PacketFormat, Sphinx, SphinxRecovery, SphinxSecret, Unwrapped};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::SPHINX_HEADER_LEN;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::rng::{KeyRng, Rng};

mod generate;

/// What follows a name in a block, by name.
type Fields = BTreeMap<&'static str, String>;

/// Every name that may stand in a block.
const NAMES: [&str; 15] = [
    "delay",
    "first",
    "identifier",
    "next",
    "outcome",
    "packet",
    "payload",
    "plaintext",
    "random",
    "recovery",
    "route",
    "secret",
    "seed",
    "surb",
    "tag",
];

const FILES: [(&str, usize); 7] = [
    ("build-request", 7),
    ("build-reply", 7),
    ("request-1", 1),
    ("request-5", 5),
    ("reply-5", 7),
    ("alpha", 4),
    ("failures", 13),
];

/// One call and what comes of it.
struct Block {
    call: String,
    fields: Fields,
}

#[test]
fn sphinx_says_what_the_vectors_say() {
    check(sphinx_call);
}

#[test]
fn the_reference_says_what_the_vectors_say() {
    check(reference_call);
}

/// Calls `call` on every block: it must add exactly the outputs that the block has. What a
/// `forward` or a `use_surb` makes must be the packet of the block that follows.
fn check(call: fn(&str, &mut Fields) -> Option<PacketBytes>) {
    for (name, count) in FILES {
        let blocks = parse(&std::fs::read_to_string(path(name)).unwrap());
        assert_eq!(blocks.len(), count, "{name}");
        let mut made: Option<PacketBytes> = None;
        for (i, block) in blocks.iter().enumerate() {
            if let Some(packet) = made.take() {
                assert!(block.fields["packet"] == hex(&packet[..]), "{name} {i}");
            }
            let inputs: &[&str] = match block.call.as_str() {
                "unwrap" => &["secret", "packet"],
                "use_surb" => &["surb", "plaintext"],
                "open_reply" => &["recovery", "payload"],
                "build" => &["seed", "random", "route", "plaintext"],
                "build_surb" => &["seed", "random", "route", "identifier"],
                other => panic!("{name} {i}: {other}"),
            };
            let mut fields = block.fields.clone();
            fields.retain(|name, _| inputs.contains(name));
            made = call(&block.call, &mut fields);
            for field in NAMES {
                let (said, want) = (fields.get(field), block.fields.get(field));
                assert!(said == want, "{name} {i}: {field} is {said:?}");
            }
        }
        assert!(made.is_none(), "{name} ends too early");
    }
}

/// Adds what [`Sphinx`] says; gives the packet that goes on.
fn sphinx_call(call: &str, fields: &mut Fields) -> Option<PacketBytes> {
    match call {
        "unwrap" => {
            let secret = SphinxSecret::from_bytes(array(&fields["secret"]));
            let packet = boxed(&fields["packet"]);
            match Sphinx::unwrap(&secret, &packet) {
                Ok(unwrapped) => describe(unwrapped, fields),
                Err(reason) => discarded(fields, reason),
            }
        }
        "use_surb" => {
            match Sphinx::use_surb(&boxed(&fields["surb"]), &boxed(&fields["plaintext"])) {
                Ok((first, packet)) => {
                    fields.insert("outcome", "used".into());
                    fields.insert("first", hex(&first.to_bytes()));
                    Some(packet)
                }
                Err(reason) => discarded(fields, reason),
            }
        }
        "open_reply" => {
            let recovery = SphinxRecovery::from_bytes(&bytes(&fields["recovery"])).unwrap();
            match Sphinx::open_reply(&recovery, boxed(&fields["payload"])) {
                Ok(plaintext) => {
                    fields.insert("outcome", "opened".into());
                    fields.insert("plaintext", hex(&plaintext[..]));
                    None
                }
                Err(reason) => discarded(fields, reason),
            }
        }
        "build" => {
            let plaintext = boxed(&fields["plaintext"]);
            match Sphinx::build(&hops(fields), &plaintext, &mut source(fields)) {
                Ok(packet) => built(fields, &[("packet", &packet[..])]),
                Err(_) => refused(fields),
            }
        }
        "build_surb" => {
            let id = SurbId(array(&fields["identifier"]));
            match Sphinx::build_surb(&hops(fields), id, &mut source(fields)) {
                Ok((surb, recovery)) => {
                    let recovery = recovery.expose_bytes();
                    built(fields, &[("surb", &surb[..]), ("recovery", &recovery)])
                }
                Err(_) => refused(fields),
            }
        }
        other => panic!("{other}"),
    }
}

fn built(fields: &mut Fields, made: &[(&'static str, &[u8])]) -> Option<PacketBytes> {
    fields.insert("outcome", "built".into());
    for (name, bytes) in made {
        fields.insert(name, hex(bytes));
    }
    None
}

fn refused(fields: &mut Fields) -> Option<PacketBytes> {
    fields.insert("outcome", "refused".into());
    None
}

/// The source of a call's randomness, which must begin with the bytes that the block names.
fn source(fields: &Fields) -> KeyRng {
    let seed = array(&fields["seed"]);
    let random = bytes(&fields["random"]);
    let mut drawn = vec![0; random.len()];
    let (x, padding) = drawn.split_at_mut(32);
    let mut rng = KeyRng::from_seed(seed);
    rng.fill_bytes(x);
    rng.fill_bytes(padding);
    assert_eq!(drawn, random);
    KeyRng::from_seed(seed)
}

/// Each hop is address (32) ‖ key (32) ‖ delay (8).
fn hops(fields: &Fields) -> Vec<Hop> {
    made_hops(fields)
        .into_iter()
        .map(|hop| Hop {
            address: NextHop::from_bytes(hop.address).unwrap(),
            key: SphinxPublic(hop.key),
            delay: Duration::from_nanos(hop.delay),
        })
        .collect()
}

fn made_hops(fields: &Fields) -> Vec<making::Hop> {
    bytes(&fields["route"])
        .chunks(72)
        .map(|hop| making::Hop {
            address: hop[..32].try_into().unwrap(),
            key: hop[32..64].try_into().unwrap(),
            delay: u64::from_be_bytes(hop[64..].try_into().unwrap()),
        })
        .collect()
}

fn describe(unwrapped: Unwrapped, fields: &mut Fields) -> Option<PacketBytes> {
    fields.insert("tag", hex(&unwrapped.tag().0));
    match unwrapped {
        Unwrapped::Forward {
            next,
            delay,
            packet,
            ..
        } => {
            fields.insert("outcome", "forward".into());
            fields.insert("next", hex(&next.to_bytes()));
            fields.insert("delay", delay.as_nanos().to_string());
            return Some(packet);
        }
        Unwrapped::Request { plaintext, .. } => match plaintext {
            Some(plaintext) => {
                fields.insert("outcome", "request".into());
                fields.insert("plaintext", hex(&plaintext[..]));
            }
            None => {
                fields.insert("outcome", "garbage".into());
            }
        },
        Unwrapped::Reply { surb, payload, .. } => {
            fields.insert("outcome", "reply".into());
            fields.insert("identifier", hex(&surb.0));
            fields.insert("payload", hex(&payload[..]));
        }
    }
    None
}

fn discarded(fields: &mut Fields, reason: DiscardReason) -> Option<PacketBytes> {
    fields.insert("outcome", reason.as_str().into());
    None
}

/// The same by the reference.
fn reference_call(call: &str, fields: &mut Fields) -> Option<PacketBytes> {
    match call {
        "unwrap" => match reference::unwrap(array(&fields["secret"]), &bytes(&fields["packet"])) {
            Ok(read) => describe_read(read, fields),
            Err(reason) => discarded(fields, reason),
        },
        "use_surb" => {
            let surb = bytes(&fields["surb"]);
            let (header, rest) = surb.split_at(SPHINX_HEADER_LEN);
            let Ok(first) = NextHop::from_bytes(rest[..32].try_into().unwrap()) else {
                return discarded(fields, DiscardReason::BadSurb);
            };
            fields.insert("outcome", "used".into());
            fields.insert("first", hex(&first.to_bytes()));
            let mut payload = [&[0; 16][..], &bytes(&fields["plaintext"]), &[1]].concat();
            reference::lioness_encrypt(rest[32..].try_into().unwrap(), &mut payload);
            Some(wire::frame::boxed([header, &payload].concat()))
        }
        "open_reply" => {
            let recovery = bytes(&fields["recovery"]);
            let seeds: Vec<[u8; 16]> = recovery[16..]
                .chunks(16)
                .map(|seed| seed.try_into().unwrap())
                .collect();
            let mut payload = bytes(&fields["payload"]);
            for seed in seeds.iter().rev() {
                reference::lioness_encrypt(seed, &mut payload);
            }
            reference::lioness_decrypt(seeds.last().unwrap(), &mut payload);
            let Some(plaintext) = plaintext_in(&payload) else {
                return discarded(fields, DiscardReason::BadPayload);
            };
            fields.insert("outcome", "opened".into());
            fields.insert("plaintext", hex(plaintext));
            None
        }
        "build" | "build_surb" => {
            let (route, random) = (made_hops(fields), bytes(&fields["random"]));
            let low_order = |key| crate::alpha::low_order().any(|low| low == key);
            if route.iter().any(|hop| low_order(hop.key)) {
                return refused(fields);
            }
            if call == "build" {
                let plaintext = bytes(&fields["plaintext"]);
                let packet = making::request(&route, &plaintext, &random);
                return built(fields, &[("packet", &packet)]);
            }
            let identifier = array(&fields["identifier"]);
            if identifier == [0; 16] {
                return refused(fields);
            }
            let (surb, recovery) = making::reply_block(&route, identifier, &random);
            built(fields, &[("surb", &surb), ("recovery", &recovery)])
        }
        other => panic!("{other}"),
    }
}

fn describe_read(read: Read, fields: &mut Fields) -> Option<PacketBytes> {
    match read {
        Read::Forward {
            tag,
            address,
            delay,
            packet,
        } => {
            fields.insert("outcome", "forward".into());
            fields.insert("tag", hex(&tag));
            fields.insert("next", hex(&address));
            fields.insert("delay", delay.to_string());
            return Some(packet);
        }
        Read::Final {
            tag,
            identifier,
            payload,
        } => {
            fields.insert("tag", hex(&tag));
            if identifier != [0; 16] {
                fields.insert("outcome", "reply".into());
                fields.insert("identifier", hex(&identifier));
                fields.insert("payload", hex(&payload));
            } else if let Some(plaintext) = plaintext_in(&payload) {
                fields.insert("outcome", "request".into());
                fields.insert("plaintext", hex(plaintext));
            } else {
                fields.insert("outcome", "garbage".into());
            }
        }
    }
    None
}

fn plaintext_in(payload: &[u8]) -> Option<&[u8]> {
    let rest = payload.strip_prefix(&[0; 16])?;
    rest.strip_suffix(&[1])
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    folder.join(name).with_extension("txt")
}

/// Blocks are apart by empty lines; the first line of each is its call.
fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in text.split("\n\n").map(str::trim) {
        let mut lines = part.lines().filter(|line| !line.starts_with('#'));
        let Some(call) = lines.next() else { continue };
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(" = ").unwrap();
            let known = NAMES.iter().find(|known| **known == name);
            (*known.unwrap_or_else(|| panic!("{name}")), value.to_owned())
        });
        blocks.push(Block {
            call: call.to_owned(),
            fields: fields.collect(),
        });
    }
    blocks
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "half a byte");
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

pub(crate) fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn boxed<const N: usize>(hex: &str) -> Box<[u8; N]> {
    wire::frame::boxed(bytes(hex))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}
