//! Seeds out of the frozen vectors of all crates, so that a fuzzer begins where the formats are.

use crate::folder;
use messaging::Card;
use std::path::PathBuf;

/// Writes `seed-NNN` files into all corpora, in place of those there.
pub(crate) fn write() {
    let without_zeros = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1));
        bytes
    };
    let wire = |file| values(&format!("wire/tests/vectors/{file}.txt"), "bytes");
    save("frame", wire("frames").into_iter().map(without_zeros));
    let behind_surb = |bytes: Vec<u8>| without_zeros(bytes[396..].to_vec());
    save("request", wire("requests").into_iter().map(behind_surb));
    save("reply", wire("replies").into_iter().map(without_zeros));
    save("contact_card", cards());
    save("cell", cells());
    save("pieces", pieces());
    save("unwrap", packets());
    save("backends", batches());
    save("directory", directories());
    let reports = rows("reports");
    save("descriptor", rows("descriptors").into_iter().chain(reports));
    // Nothing changed; the epoch, the network, a name of the directory before; one byte more.
    let changes: [&[u8]; 5] = [
        &[],
        &[0, 44, 12],
        &[0, 5, 0],
        &[0, 77, 1, 0, 78, 1],
        &[255, 255, 0],
    ];
    save("directory_chain", changes.into_iter().map(<[u8]>::to_vec));
    save("vote", mizzle_fuzz::vote_seeds().into_iter());
}

fn save(target: &str, seeds: impl Iterator<Item = Vec<u8>>) {
    let folder = folder(target);
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("seed-")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    for (i, seed) in seeds.enumerate() {
        std::fs::write(folder.join(format!("seed-{i:03}")), seed).unwrap();
    }
}

fn text(path: &str) -> String {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates");
    std::fs::read_to_string(crates.join(path)).unwrap()
}

/// Hexadecimal where `xx*n` is n times the byte xx.
fn unhex(text: &str) -> Vec<u8> {
    let digits = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    };
    text.split_whitespace()
        .flat_map(|token| match token.split_once('*') {
            Some((byte, n)) => digits(byte).repeat(n.parse().unwrap()),
            None => digits(token),
        })
        .collect()
}

/// The values of all lines `name = value` in a file of vectors.
fn values(path: &str, name: &str) -> Vec<Vec<u8>> {
    let value = |line: &str| Some(unhex(line.strip_prefix(name)?.strip_prefix(" = ")?));
    text(path).lines().filter_map(value).collect()
}

/// The second column of a file of the directory's vectors.
fn rows(file: &str) -> Vec<Vec<u8>> {
    text(&format!("directory/tests/vectors/{file}.txt"))
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(unhex(line.split_once('\t')?.1)))
        .collect()
}

fn led_by(choice: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choice], bytes].concat()
}

fn cards() -> impl Iterator<Item = Vec<u8>> {
    let text = text("messaging/tests/vectors/card.txt");
    let texts = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(" = ")?;
        (name == "text" || name.starts_with("bad ")).then(|| value.to_owned())
    });
    let texts: Vec<String> = texts.collect();
    let good = texts.iter().filter_map(|text| Card::from_text(text).ok());
    let bytes: Vec<_> = good.map(|card| led_by(1, &card.to_bytes())).collect();
    let texts: Vec<_> = texts
        .iter()
        .map(|text| led_by(0, text.as_bytes()))
        .collect();
    bytes.into_iter().chain(texts)
}

fn cells() -> impl Iterator<Item = Vec<u8>> {
    let inner = led_by(8, b"0123456789abcdef........--------a text");
    let mut seeds: Vec<_> = mizzle_fuzz::sealed(&inner)
        .iter()
        .map(|cell| led_by(0, &cell[..]))
        .collect();
    seeds[0][1] = 2;
    seeds.extend([
        led_by(1, b""),
        led_by(1, &inner),
        led_by(1, &[9; 1500]),
        led_by(1, &[9; 4000]),
        led_by(2, b""),
        led_by(2, &[1]),
        led_by(2, &[&[0; 1979][..], &[1]].concat()),
        led_by(2, &[&[0; 1981][..], &[1]].concat()),
        led_by(3, &inner),
        led_by(3, &[9, 1, 2]),
    ]);
    let transfer = |name: &str| values("messaging/tests/vectors/transfer.txt", name);
    for (kind, name) in [(9, "offer"), (5, "accept"), (6, "progress"), (7, "cancel")] {
        let bad = transfer(&format!("bad {name}"));
        let all = transfer(name).into_iter().chain(bad);
        seeds.extend(all.map(|bytes| led_by(3, &led_by(kind, &bytes))));
    }
    seeds.into_iter()
}

/// Messages of one piece, of three without parity, and of many, of which the first, none and some are
/// lost; and what contacts may make up.
fn pieces() -> impl Iterator<Item = Vec<u8>> {
    let all: Vec<u8> = (0..40).collect();
    let message = |len: u16, order: &[u8]| led_by(1, &[&len.to_be_bytes()[..], order].concat());
    let late: Vec<u8> = (0..40).rev().collect();
    let even: Vec<u8> = (0..80).map(|n| n * 2 % 36).collect();
    let agreed: Vec<u8> = (0..9).flat_map(|n| [15, 0, n, 7]).collect();
    let torn: Vec<u8> = (0..9).flat_map(|n| [15, n % 2, n, n]).collect();
    let piece = [[1].as_slice(), &[9; 16], &[0; 1_963]].concat();
    [
        led_by(0, &piece),
        message(0, &all),
        message(5_000, &all),
        message(5_000, &[2, 2, 1, 1, 0]),
        message(59_999, &all),
        message(59_999, &late),
        message(59_999, &even),
        message(14_000, &[8, 7, 6, 5, 4, 3, 2, 1]),
        led_by(2, &agreed),
        led_by(2, &torn),
    ]
    .into_iter()
}

fn packets() -> impl Iterator<Item = Vec<u8>> {
    let packets = values("sphinx/tests/vectors/request-5.txt", "packet");
    let mut seeds: Vec<_> = packets.iter().take(1).map(|p| led_by(0, p)).collect();
    let payload = [&[0; 296][..], &[0; 2481], &[1]].concat();
    for start in [
        [2, 0, 1, 4, 0, 0],
        [2, 255, 1, 4, 0, 0],
        [1, 0, 1, 4, 0, 1],
        [1, 7, 1, 4, 0x80, 0],
        [1, 0, 1, 4, 1, 1],
        [1, 0, 1, 3, 0, 1],
        [3, 0, 1, 4, 0, 1],
    ] {
        seeds.push(led_by(1, &start));
    }
    // A reply: an identifier behind flag, version and destination.
    seeds.push(led_by(1, &[&[2, 0, 1, 4][..], &[0; 32], &[5; 16]].concat()));
    seeds.push(led_by(1, &[&[2, 0, 1, 4][..], &payload].concat()));
    seeds.push(led_by(2, &[0, 255, 2, 0, 1, 4]));
    seeds.push(led_by(2, &[1, 0, 2, 0, 1, 4]));
    seeds.push(led_by(2, &[40, 0, 2, 0, 1, 4]));
    seeds.into_iter()
}

fn directories() -> impl Iterator<Item = Vec<u8>> {
    let documents = rows("directories");
    let body = |document: &Vec<u8>| {
        // Its length leads it.
        let (len, rest) = document.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        Some(led_by(1, rest.get(..len)?))
    };
    let bodies: Vec<_> = documents.iter().filter_map(body).take(2).collect();
    let documents: Vec<_> = documents.iter().map(|d| led_by(0, d)).collect();
    // With marks, which version 1 has not.
    let marked: Vec<_> = rows("marked").iter().map(|d| led_by(0, d)).collect();
    documents.into_iter().chain(bodies).chain(marked)
}

/// Batches of each size, of one kind and of all, with α that are special and α that are not.
fn batches() -> impl Iterator<Item = Vec<u8>> {
    (0..20u8).map(|size| {
        let mut seed = vec![size, 0, 0, size, size & 5];
        for n in 0..=size {
            seed.push(n.wrapping_mul(37).wrapping_add(size));
            let mut alpha = [n; 32];
            if n % 5 == 1 {
                alpha = [0; 32];
                alpha[0] = n / 5;
            } else if n % 5 == 2 {
                alpha = [0xff; 32];
                (alpha[0], alpha[31]) = (0xe0 + n, 0x7f);
            }
            seed.extend(alpha);
            seed.extend([1 + n % 3, 0, 1, 4, 0, 1]);
            seed.extend([n; 54 + 2]);
        }
        seed.extend([0; 16]);
        seed.extend([size; 40]);
        seed
    })
}
