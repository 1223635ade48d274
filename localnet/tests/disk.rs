//! Full and damaged disks under the real daemons: a client and a gateway on 40 MiB each, filled by
//! themselves and by somebody else; then a damaged store of each. Mounts small file systems, which needs
//! root. Real time: `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[path = "support/disk.rs"]
mod disk;
#[path = "support/network.rs"]
mod support;

use disk::{PATIENCE, SmallDisk, planned, until, while_dead};

use localnet::api::Api;
use localnet::check::contact_id;
use localnet::live::{Network, status};
use runtime::http_client::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that a client keeps.
const BLOB_LEN: usize = 512 << 10;
/// Texts of each writer: as many as a contact may have unread.
const TEXTS: usize = 32;
/// Bytes of one: a hundred and some cells.
const TEXT_LEN: usize = 200_000;
/// Times localnet's rates, while a gateway is being filled.
const FILL_RATE: f64 = 8.0;
/// Twelve megabytes come through two inboxes: two minutes where nothing else runs.
const ALL_ARRIVE: Duration = Duration::from_secs(600);
/// From room on the disk to work (issue and reference ask for 5 s).
const RECOVERED_MAX: Duration = Duration::from_secs(5);

async fn send(api: &Api, contact: &str, name: &str, len: usize) -> Result<Value, String> {
    let path = format!("/v1/contacts/{contact}/messages/{name}");
    let body = json!({ "text": "x".repeat(len) });
    let sent = api.json(Method::PUT, &path, Some(body)).await;
    sent.map_err(|error| error.to_string())
}

#[test]
#[ignore = "mounts file systems, and real time"]
fn full_and_damaged_disks_end_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        let mut network = support::start(&dir.path().join("net"), &[]).await;
        let deadline = Instant::now() + PATIENCE;
        network.wait_ready("alice", deadline).await.unwrap();
        if client_on_a_full_disk(&mut network).await.is_some() {
            gateway_on_a_full_disk(&mut network).await;
        }
        damaged_client(&mut network).await;
        damaged_gateway(&mut network).await;
        network.stop().unwrap();
    });
}

async fn client_on_a_full_disk(network: &mut Network) -> Option<()> {
    let disk = while_dead(network, "alice", SmallDisk::under)?;
    let api = network.api("alice").unwrap();
    let status = || async { api.get("/v1/status").await.ok() };
    until("alice is back", status, |s| s["ready"] == true).await;
    let contact = contact_id(&api, "bob").await.unwrap();
    let contact = contact.as_str();

    client_fills_its_own_disk(network, contact).await;

    // By somebody else.
    let api = network.api("alice").unwrap();
    let status = || async { api.get("/v1/status").await.ok() };
    send(&api, contact, "own", 20_000).await.unwrap();
    let foreign = disk.fill();
    until("alice says so", status, |s| {
        s["alarms"].to_string().contains("the disk is full")
    })
    .await;
    let error = send(&api, contact, "refused", 100).await.unwrap_err();
    assert!(error.contains("no_room"), "{error}");

    // A start works on the full disk, and reads.
    while_dead(network, "alice", |_| ());
    let api = network.api("alice").unwrap();
    let status = || async { api.get("/v1/status").await.ok() };
    until("alice starts while it is full", status, |s| {
        s["alarms"].to_string().contains("the disk is full")
    })
    .await;
    let message = format!("/v1/contacts/{contact}/messages/own");
    assert!(api.get(&message).await.is_ok());

    std::fs::remove_file(foreign).unwrap();
    // What she filled herself leaves by being delivered; a wipe is quicker.
    let wiped = format!("/v1/contacts/{contact}/messages");
    let _ = api.json(Method::DELETE, &wiped, None).await;
    let took = until("alice goes on", status, |s| {
        !s["alarms"].to_string().contains("the disk is full")
    })
    .await;
    println!("alice: room again noticed after {took:?}");
    assert!(took < RECOVERED_MAX, "{took:?}");
    send(&api, contact, "after", 100).await.unwrap();
    while_dead(network, "alice", |folder| {
        drop(disk);
        std::fs::remove_dir(folder).unwrap();
        std::fs::rename(folder.with_extension("aside"), folder).unwrap();
    });
    Some(())
}

/// Files until one is refused, then texts until one is; a start, reading and deleting while it is full.
async fn client_fills_its_own_disk(network: &mut Network, contact: &str) {
    let api = network.api("alice").unwrap();
    let mut blobs = Vec::new();
    let refused = loop {
        match upload(&api, blobs.len()).await {
            Ok(blob) => blobs.push(blob),
            Err(error) => break error,
        }
        assert!(blobs.len() < 80, "80 MiB on 40");
    };
    println!(
        "alice took {} files of 512 KiB, then: {refused}",
        blobs.len()
    );
    assert!(refused.contains("507") && refused.contains("no_room"));
    let mut texts = 0;
    let refused = loop {
        match send(&api, contact, &format!("own-{texts}"), 200_000).await {
            Ok(_) => texts += 1,
            Err(error) => break error,
        }
        assert!(texts < 60, "12 MB of texts where no file finds room");
    };
    println!("alice took {texts} texts of 200 kB beside them, then: {refused}");
    assert!(refused.contains("507") && refused.contains("no_room"));
    let status = || async { api.get("/v1/status").await.ok() };
    let full = |s: &Value| s["alarms"].to_string().contains("the disk is full");
    until("alice says that she is full", status, full).await;

    while_dead(network, "alice", |_| ());
    let api = network.api("alice").unwrap();
    let status = || async { api.get("/v1/status").await.ok() };
    // Not ready, for she takes nothing; but fetching goes on.
    until("alice starts on the disk that she filled", status, |s| {
        let queues = &s["queues"];
        let open = queues["inboxes_open"].as_u64() >= queues["inboxes_wanted"].as_u64();
        s["connected"] == true && open && full(s)
    })
    .await;
    let error = send(&api, contact, "refused-own", 100).await.unwrap_err();
    assert!(error.contains("no_room"), "{error}");
    let first = format!("/v1/blobs/{}", blobs[0]);
    let mut pieces = api.download(&first).await.unwrap();
    let mut len = 0;
    while let Some(piece) = pieces.next().await.unwrap() {
        assert!(piece.iter().all(|b| *b == 0));
        len += piece.len();
    }
    assert_eq!(len, BLOB_LEN);
    for blob in &blobs {
        // Answered without a body.
        let path = format!("/v1/blobs/{blob}");
        let _ = api.json(Method::DELETE, &path, None).await;
    }
    let took = until("alice goes on", status, |s| !full(s)).await;
    println!("alice: room again after her files were deleted: {took:?}");
    assert!(took < RECOVERED_MAX, "{took:?}");
    assert!(api.download(&first).await.is_err(), "it was deleted");
    send(&api, contact, "after-own", 100).await.unwrap();
    upload(&api, 1).await.unwrap();
    let listed = api.get("/v1/blobs").await.unwrap();
    assert_eq!(listed["blobs"].as_array().unwrap().len(), 1);
}

/// A file all of whose bytes are `fill`; its name.
async fn upload(api: &Api, fill: usize) -> Result<String, String> {
    let (pieces, body) = tokio::sync::mpsc::channel(1);
    let bytes = bytes::Bytes::from(vec![fill as u8; BLOB_LEN]);
    pieces.send(bytes).await.unwrap();
    drop(pieces);
    let sent = api.upload("/v1/blobs?name=own", BLOB_LEN as u64, body);
    let sent = sent.await.map_err(|error| format!("{error:#}"))?;
    Ok(sent["blob"].as_str().unwrap().to_owned())
}

async fn gateway_on_a_full_disk(network: &mut Network) {
    let Some(disk) = while_dead(network, "gateway1", SmallDisk::under) else {
        return;
    };
    let node = planned(network, "gateway1");
    let ask = || status(&node);
    let ok = |s: &Value| s["inboxes_store"] == "ok";
    let full = |s: &Value| s["inboxes_store"].to_string().contains("disk is full");
    until("the gateway is back", ask, ok).await;
    let foreign = disk.fill();
    until("the gateway says so", ask, full).await;
    while_dead(network, "gateway1", |_| ());
    // A start may find a little room, by rewriting its log; it is enough that it works.
    until("the gateway starts while it is full", ask, |s| {
        s["inboxes_store"].is_string()
    })
    .await;
    std::fs::remove_file(foreign).unwrap();
    let took = until("the gateway goes on", ask, ok).await;
    println!("gateway1: room again noticed after {took:?}");
    assert!(took < RECOVERED_MAX, "{took:?}");
    while_dead(network, "gateway1", |folder| {
        drop(disk);
        std::fs::remove_dir(folder).unwrap();
        std::fs::rename(folder.with_extension("aside"), folder).unwrap();
    });
}

/// The log of a store: the longest of its files.
fn log(store: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "ballast") {
                files.push((std::fs::metadata(&path).unwrap().len(), path));
            }
        }
    }
    files.into_iter().max().unwrap().1
}

/// A bit in the middle of what is written.
fn flip(store: &Path) {
    let path = log(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.iter().rposition(|b| *b != 0).unwrap() / 2;
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

fn cut(store: &Path) {
    let path = log(store);
    let len = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.unwrap().set_len(len / 2).unwrap();
}

/// Cells for readers who are away, until the gateway takes no more; a start while it is full; the readers
/// come back, read and delete, and it takes cells again.
#[test]
#[ignore = "mounts file systems, and real time"]
fn a_gateway_that_fills_its_own_disk_refuses_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    support::run(async {
        // Whose writer enters at gateway1 and reader at gateway2 meet at gateway3.
        let pairs = [("alice", "bob"), ("grace", "heidi")];
        let mut args = support::args(&dir.path().join("net"), &["--clients", "8"]);
        args.rate_scale = FILL_RATE;
        // One inbox may hold more than the disk.
        args.more.inbox_quota = Some(u16::MAX);
        let program = Path::new(env!("CARGO_BIN_EXE_localnet"));
        let mut network = Network::start_with(&args, program).await.unwrap();
        for idle in ["carol", "dave", "erin", "frank"] {
            network.processes.by_name(idle).unwrap().kill().unwrap();
        }
        let Some(disk) = while_dead(&mut network, "gateway3", SmallDisk::under) else {
            return;
        };
        let node = planned(&network, "gateway3");
        let ask = || status(&node);
        let full = |s: &Value| s["inboxes_store"].to_string().contains("disk is full");
        let ok = |s: &Value| s["inboxes_store"] == "ok";
        until("the gateway is back", ask, ok).await;
        let mut contacts = Vec::new();
        for (writer, reader) in pairs {
            let api = network.api(writer).unwrap();
            contacts.push(contact_id(&api, reader).await.unwrap());
            network.processes.by_name(reader).unwrap().kill().unwrap();
        }
        for n in 0..TEXTS {
            for ((writer, _), contact) in pairs.iter().zip(&contacts) {
                let api = network.api(writer).unwrap();
                let name = format!("text-{n}");
                // The same name again is the same text: a slow machine may ask twice.
                let sent = || async { send(&api, contact, &name, TEXT_LEN).await.ok() };
                until("a text is accepted", sent, |_| true).await;
            }
        }
        let took = until("the gateway is full of cells", ask, full).await;
        let held = status(&node).await.unwrap()["cells"].as_u64().unwrap();
        println!("gateway3 is full after {took:?} with {held} cells");
        assert!(held > 1000, "{held} cells fill no 40 MiB");

        // It stays so, refuses, and a start works.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = status(&node).await.unwrap();
        assert!(full(&after), "{after}");
        while_dead(&mut network, "gateway3", |_| ());
        until("the gateway starts while it is full", ask, |s| {
            s["ready"] == true && s["cells"].as_u64().is_some_and(|cells| cells + 64 >= held)
        })
        .await;

        // Reading and deleting go on, and make room.
        for (_, reader) in pairs {
            network
                .processes
                .by_name(reader)
                .unwrap()
                .restart()
                .unwrap();
        }
        let fewer = |s: &Value| {
            s["cells"]
                .as_u64()
                .is_some_and(|cells| cells < held * 9 / 10)
        };
        until("readers read and delete", ask, fewer).await;
        let took = until("the gateway goes on", ask, ok).await;
        println!("gateway3: a tenth of its cells gone; takes cells again after {took:?}");
        assert!(took < RECOVERED_MAX, "{took:?}");
        // Pieces of all texts come in turns, so all texts are whole only towards the end.
        let began = Instant::now();
        let mut said = 0;
        loop {
            let mut delivered = 0;
            for ((writer, _), contact) in pairs.iter().zip(&contacts) {
                let api = network.api(writer).unwrap();
                for n in 0..TEXTS {
                    let path = format!("/v1/contacts/{contact}/messages/text-{n}");
                    let state = api.get(&path).await;
                    delivered += usize::from(state.is_ok_and(|s| s["state"] == "delivered"));
                }
            }
            if delivered == 2 * TEXTS {
                break;
            }
            let secs = began.elapsed().as_secs();
            assert!(secs < ALL_ARRIVE.as_secs(), "{delivered} texts arrived");
            if secs / 30 > said {
                said = secs / 30;
                let cells = status(&node).await.map(|s| s["cells"].clone());
                println!("{secs} s: {delivered} texts delivered, cells left {cells:?}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let left = status(&node).await.unwrap();
        println!(
            "gateway3: all {} texts delivered; cells left: {}",
            2 * TEXTS,
            left["cells"]
        );
        assert!(ok(&left), "{left}");
        network.stop().unwrap();
        drop(disk);
    });
}

async fn damaged_client(network: &mut Network) {
    let api = network.api("alice").unwrap();
    let who = api.get("/v1/info").await.unwrap()["contact"].clone();
    let bob = contact_id(&api, "bob").await.unwrap();
    for damage in [flip, cut] {
        while_dead(network, "alice", |folder| damage(&folder.join("store")));
        let api = network.api("alice").unwrap();
        // She is there, whatever the bit hit, and says what happened if it hit anything.
        let status = || async { api.get("/v1/status").await.ok() };
        until("alice starts", status, |s| s["ready"] == true).await;
        println!("alice: {}", api.get("/v1/status").await.unwrap()["alarms"]);
        // Still the same person, and knows whom she knew.
        let info = api.get("/v1/info").await.unwrap();
        assert_eq!(info["contact"], who);
        assert_eq!(contact_id(&api, "bob").await.unwrap(), bob);
    }
    let api = network.api("alice").unwrap();
    let alarms = api.get("/v1/status").await.unwrap()["alarms"].to_string();
    assert!(alarms.contains("damaged"), "{alarms}");
}

async fn damaged_gateway(network: &mut Network) {
    let node = planned(network, "gateway1");
    for damage in [flip, cut] {
        while_dead(network, "gateway1", |folder| {
            damage(&folder.join("inboxes"))
        });
        let ask = || status(&node);
        until("the gateway starts", ask, |s| s["ready"] == true).await;
        println!("{}", status(&node).await.unwrap()["inboxes_store"]);
    }
    let said = status(&node).await.unwrap()["inboxes_store"].to_string();
    assert!(said.contains("were damaged"), "{said}");
}
