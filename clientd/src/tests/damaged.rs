//! A client whose log was damaged is still the same person with the same contacts.

use super::messages::{add, card};
use super::world::{Running, World};
use std::fs;
use std::path::Path;

/// Without the ballast, which is long and holds nothing.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = {
            let entry = entry.unwrap();
            (entry.path(), entry.file_name())
        };
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if name != "ballast" && name != "api.sock" {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_damage_of_the_log_costs_who_we_are_and_whom_we_know() {
    let world = World::new();
    let bob = world.client("bob").await;
    let mut contacts = Vec::new();
    for name in ["alice", "carol", "dave"] {
        let other = world.client(name).await;
        let added = add(&bob, &card(&other).await).await;
        contacts.push(added.json["id"].as_str().unwrap().to_owned());
        other.stop().await;
    }
    // Something that is under way.
    let path = format!("/v1/contacts/{}/messages/m", contacts[0]);
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
    assert_eq!(bob.ask("PUT", &path, Some(&text)).await.status, 202);
    // The second copy is a second behind, or made at the start.
    let bob = bob.restart().await;
    let info = bob.ask("GET", "/v1/info", None).await.json;
    let clean = bob.stop().await;
    let log = "store/sled/db";
    let len = fs::metadata(clean.data_dir.join(log)).unwrap().len();
    contacts.sort();
    let mut noticed = 0;
    for n in 0..14 {
        let mut config = clean.clone();
        config.data_dir = world.path(&format!("bob-{n}"));
        copy(&clean.data_dir, &config.data_dir);
        let mut bytes = fs::read(config.data_dir.join(log)).unwrap();
        let used = bytes.iter().rposition(|b| *b != 0).unwrap();
        match n {
            12 => bytes.truncate(len as usize / 2),
            13 => bytes.clear(),
            _ => bytes[used * n / 12] ^= 0x20,
        }
        fs::write(config.data_dir.join(log), bytes).unwrap();
        let bob = Running::start(config).await.unwrap();
        let now = bob.ask("GET", "/v1/info", None).await.json;
        assert_eq!(now["contact"], info["contact"], "damage {n}");
        let listed = bob.ask("GET", "/v1/contacts", None).await.json;
        let listed = listed["contacts"].as_array().unwrap().clone();
        let mut ids: Vec<_> = listed.iter().map(|c| c["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, contacts, "damage {n}");
        let status = bob.ask("GET", "/v1/status", None).await.json;
        noticed += usize::from(status["alarms"].to_string().contains("damaged"));
        bob.stop().await;
    }
    assert!(noticed >= 4, "{noticed} of 14 damages were noticed");
}
