//! Full and damaged disks under the real daemons: a client and a gateway on 40 MiB each, filled by
//! themselves and by somebody else; then a damaged store of each. Mounts small file systems, which needs
//! root. Real time: `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

#[path = "support/network.rs"]
mod support;

use localnet::api::Api;
use localnet::check::contact_id;
use localnet::live::{Network, status};
use localnet::plan::Planned;
use runtime::http_client::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// From room on the disk to work (issue and reference ask for 5 s).
const RECOVERED_MAX: Duration = Duration::from_secs(5);

/// A small file system in the place of a folder, with what was in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under(folder: &Path) -> Option<Self> {
        let aside = folder.with_extension("aside");
        std::fs::rename(folder, &aside).unwrap();
        // Its size is the large file system's; a start makes a new one.
        let ballast = ["-name", "ballast", "-delete"];
        let removed = Command::new("find").arg(&aside).args(ballast).status();
        assert!(removed.unwrap().success());
        std::fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs"])
            .arg(folder)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("SKIPPED: a small file system cannot be mounted here (needs root)");
            return None;
        }
        let copied = Command::new("cp")
            .arg("-a")
            .arg(aside.join("."))
            .arg(folder)
            .status();
        assert!(copied.unwrap().success());
        Some(Self(folder.to_owned()))
    }

    /// A file of somebody else's that takes all the room there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("foreign");
        let mut file = std::fs::File::create(&path).unwrap();
        let chunk = vec![7; 64 * 1024];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        while std::io::Write::write_all(&mut file, &chunk[..512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn planned(network: &Network, name: &str) -> Planned {
    let found = network.plan.nodes.iter().find(|n| n.name == name);
    found.unwrap().clone()
}

/// `kill -9`, something done to its folder, and a start.
fn while_dead<T>(network: &mut Network, name: &str, work: impl FnOnce(&Path) -> T) -> T {
    let folder = planned(network, name).data();
    network.processes.by_name(name).unwrap().kill().unwrap();
    let done = work(&folder);
    network.processes.by_name(name).unwrap().restart().unwrap();
    done
}

/// Until `wanted` is true of what `ask` says.
async fn until<F: Future<Output = Option<Value>>>(
    what: &str,
    ask: impl Fn() -> F,
    wanted: impl Fn(&Value) -> bool,
) -> Duration {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < PATIENCE {
        if let Some(said) = ask().await {
            if wanted(&said) {
                return began.elapsed();
            }
            last = Some(said);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: not within {PATIENCE:?}; last {last:?}");
}

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

    // By itself: texts that are accepted are kept; one more is refused, and nothing ends.
    let mut accepted = 0;
    let refused = loop {
        match send(&api, contact, &format!("own-{accepted}"), 200_000).await {
            Ok(_) => accepted += 1,
            Err(error) if error.contains("outbox_full") => break None,
            Err(error) => break Some(error),
        }
        assert!(accepted < 300);
    };
    println!("alice took {accepted} texts of 200 kB by herself, then: {refused:?}");
    if let Some(error) = refused {
        assert!(error.contains("no_room"), "{error}");
    }

    // By somebody else.
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
    let message = format!("/v1/contacts/{contact}/messages/own-0");
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

async fn damaged_client(network: &mut Network) {
    for damage in [flip, cut] {
        while_dead(network, "alice", |folder| damage(&folder.join("store")));
        let api = network.api("alice").unwrap();
        // She is there, whatever the bit hit, and says what happened if it hit anything.
        let status = || async { api.get("/v1/status").await.ok() };
        until("alice starts", status, |s| s["ready"] == true).await;
        println!("alice: {}", api.get("/v1/status").await.unwrap()["alarms"]);
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
