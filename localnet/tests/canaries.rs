//! Nothing that identifies anybody is in a gateway's folder or in any log: a network that carried
//! messages is searched for inbox ids, contacts, client addresses, texts and keys, raw, in hex and in
//! base64.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test"
)]

#[path = "support/network.rs"]
mod support;

use localnet::check::contact_id;
use messaging::Table;
use runtime::http_client::Method;
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::ClientStore;
use wire::aead::SealKey;
use wire::ids::NodeId;
use wire::rng::KeyRng;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const TEXT: &str = "canary-text-Kx7qPz39-do-not-log";

#[test]
#[ignore = "half a minute of real time"]
fn gateways_and_logs_keep_nothing_that_identifies() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("net");
    support::run(async {
        let mut network = support::start(&folder, &[]).await;
        let mut canaries = vec![Canary::new("text", TEXT.as_bytes())];
        for octet in 1..=2u8 {
            let address = format!("127.77.0.{octet}");
            canaries.push(Canary::new("client address", address.as_bytes()));
            canaries.push(Canary::raw_only("client address", &[127, 77, 0, octet]));
        }
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            let api = network.api(from).unwrap();
            let contact = contact_id(&api, to).await.unwrap();
            canaries.push(Canary::new("contact id", &unhex(&contact)));
            let path = format!("/v1/contacts/{contact}/messages/canary");
            api.json(Method::PUT, &path, Some(json!({ "text": TEXT })))
                .await
                .unwrap();
            let token = std::fs::read(folder.join(from).join("data/api.token")).unwrap();
            canaries.push(Canary::new("token", token.trim_ascii()));
        }
        canaries.extend(secrets(&folder));
        let until = std::time::Instant::now() + Duration::from_secs(15);
        network.watch_until(until).await.unwrap();
        let nodes = network.plan.nodes.iter().filter_map(|n| n.identity);
        let public: Vec<NodeId> = nodes.map(|identity| NodeId::of(&identity)).collect();
        network.stop().unwrap();
        search(&folder, &canaries, &pieces(&folder, &public));
    });
}

/// Key files of both clients.
fn secrets(folder: &Path) -> Vec<Canary> {
    let mut all = Vec::new();
    for client in ["alice", "bob"] {
        let data = folder.join(client).join("data");
        for entry in std::fs::read_dir(&data).unwrap().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".key") {
                all.push(Canary::new(
                    "client key",
                    &std::fs::read(entry.path()).unwrap(),
                ));
            }
        }
    }
    assert!(!all.is_empty(), "no key file was found to search for");
    all
}

/// Length of a piece of a client's rows that is looked for.
const PIECE: usize = 16;

/// Every 16 bytes in a row of everything that the clients keep sealed: identities, contacts, pair
/// secrets, inbox ids, write tokens, reader keys; but not what stands in every directory, the names of nodes alone.
/// Opened as the client itself does.
fn pieces(folder: &Path, public: &[NodeId]) -> HashSet<[u8; PIECE]> {
    let mut all = HashSet::new();
    for client in ["alice", "bob"] {
        let data = folder.join(client).join("data");
        let key: [u8; 32] = std::fs::read(data.join("store.key"))
            .unwrap()
            .try_into()
            .unwrap();
        let rng = KeyRng::from_seed([0; 32]);
        let store = ClientStore::open(
            &data.join("store"),
            SealKey::from_bytes(key),
            rng,
            |_, _| None,
        )
        .unwrap();
        for table in Table::ALL {
            for (key, value) in store.scan(table as u8).unwrap() {
                let row = [&key[..], &value[..]].concat();
                all.extend(
                    row.windows(PIECE)
                        .map(|w| <[u8; PIECE]>::try_from(w).unwrap()),
                );
            }
        }
    }
    let known: HashSet<&[u8]> = public.iter().flat_map(|id| id.0.windows(PIECE)).collect();
    all.retain(|piece| !known.contains(&piece[..]));
    // Zeros and other fillings are no secret.
    all.retain(|piece| piece.iter().collect::<HashSet<_>>().len() > PIECE / 2);
    assert!(
        all.len() > 2_000,
        "too few pieces to be two clients' stores"
    );
    all
}

/// What a file says raw, and what its runs of hex and base64 digits mean.
fn readings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes.to_vec()];
    for run in bytes
        .split(|b| !b.is_ascii_hexdigit())
        .filter(|r| r.len() >= 2 * PIECE)
    {
        for shift in 0..2 {
            let digit = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
            all.push(
                run[shift..]
                    .chunks_exact(2)
                    .map(|p| digit(p[0]) << 4 | digit(p[1]))
                    .collect(),
            );
        }
    }
    let value = |b: &u8| {
        BASE64
            .iter()
            .position(|c| c == b || (*c == b'+' && *b == b'-') || (*c == b'/' && *b == b'_'))
    };
    for run in bytes
        .split(|b| value(b).is_none())
        .filter(|r| r.len() >= 2 * PIECE)
    {
        for shift in 0..4 {
            let bits = run[shift..].chunks_exact(4).flat_map(|q| {
                let n = q
                    .iter()
                    .fold(0u32, |n, b| n << 6 | value(b).unwrap() as u32);
                n.to_be_bytes().into_iter().skip(1)
            });
            all.push(bits.collect());
        }
    }
    all
}

struct Canary {
    what: &'static str,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    fn new(what: &'static str, bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut forms = vec![
            bytes.to_vec(),
            hex.clone().into_bytes(),
            hex.to_uppercase().into(),
        ];
        // Base64 has three forms by where in a longer text the bytes stand; its inner part is kept.
        forms.extend((0..3).map(|shift| base64_inner(bytes, shift)));
        Self { what, forms }
    }

    fn raw_only(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            what,
            forms: vec![bytes.to_vec()],
        }
    }
}

fn base64_inner(bytes: &[u8], shift: usize) -> Vec<u8> {
    let padded: Vec<u8> = std::iter::repeat_n(0, shift)
        .chain(bytes.iter().copied())
        .collect();
    let mut out = Vec::new();
    for chunk in padded.chunks_exact(3) {
        let n = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
        out.extend((0..4).map(|i| BASE64[(n >> (18 - 6 * i)) as usize & 63]));
    }
    out.split_off(if shift == 0 { 0 } else { 4 })
}

fn search(folder: &Path, canaries: &[Canary], pieces: &HashSet<[u8; PIECE]>) {
    let mut files = Vec::new();
    for node in std::fs::read_dir(folder).unwrap().flatten() {
        let name = node.file_name().to_string_lossy().into_owned();
        if node.path().is_dir() {
            files.push(node.path().join("log"));
            if name.starts_with("gateway") {
                collect(&node.path().join("data"), &mut files);
            }
        }
    }
    assert!(files.len() > 12, "too few files to be a whole network");
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        // A client's address is four bytes raw: too short to be looked for in random data.
        let is_log = file.ends_with("log");
        for canary in canaries {
            for form in &canary.forms {
                let found =
                    (form.len() > 4 || is_log) && bytes.windows(form.len()).any(|w| w == &form[..]);
                assert!(!found, "a {} stands in {}", canary.what, file.display());
            }
        }
    }
    for file in &files {
        for reading in readings(&std::fs::read(file).unwrap()) {
            let found = reading.windows(PIECE).position(|w| pieces.contains(w));
            assert!(
                found.is_none(),
                "a piece of a client's rows stands in {} at {found:?}: {:02x?}",
                file.display(),
                found.map(|at| &reading[at..at + PIECE])
            );
        }
    }
    let (n, m) = (canaries.len(), pieces.len());
    println!(
        "{} files searched for {n} canaries and {m} pieces of rows",
        files.len()
    );
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else if entry.file_name() != "ballast" {
            // Reserved and never written.
            files.push(entry.path());
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}
