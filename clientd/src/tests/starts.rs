//! Starting and ending: token, port, folder, entry gateway, provisioning.

use super::world::{Running, World, read};
use crate::token::{ADDRESS_FILE, TOKEN_FILE};
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn the_token_is_new_at_each_start_and_gone_at_the_end() {
    let world = World::new();
    let client = world.client("alice").await;
    let first = client.token.clone();
    let file = client.config.data_dir.join(TOKEN_FILE);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, first.len()), (0o600, 64));
    let named = read(&client.config.data_dir.join(ADDRESS_FILE));
    assert_eq!(named, client.address.to_string());
    let client = client.restart().await;
    assert_ne!(client.token, first);
    let config = client.stop().await;
    assert!(!file.exists() && !config.data_dir.join(ADDRESS_FILE).exists());
}

#[tokio::test]
async fn a_second_start_says_what_is_in_its_way() {
    let world = World::new();
    let client = world.client("alice").await;
    let error = Running::start(client.config.clone()).await.err().unwrap();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    let mut other = world.config("bob");
    other.api = client.address;
    let error = Running::start(other).await.err().unwrap();
    assert!(
        error.to_string().contains("configure another port"),
        "{error}"
    );
    // Neither harmed the first.
    assert_eq!(client.ask("GET", "/v1/info", None).await.status, 200);
    assert_eq!(read(&client.config.data_dir.join(TOKEN_FILE)), client.token);
    client.stop().await;
}

#[tokio::test]
async fn without_a_network_it_says_what_is_missing() {
    let world = World::new();
    let client = Running::start(world.config("alice")).await.unwrap();
    let health = client.ask("GET", "/v1/health", None).await;
    assert_eq!((health.status, &health.json["ready"]), (503, &false.into()));
    assert_eq!(health.json["connected"], false);
    assert_eq!(health.json["directory_valid"], false);
    let card = client.ask("POST", "/v1/cards", None).await;
    assert_eq!(card.code(), (503, "no_directory"));
    let status = client.ask("GET", "/v1/status", None).await;
    assert_eq!(
        (status.status, &status.json["directory"]),
        (200, &serde_json::Value::Null)
    );
    client.stop().await;
}

#[tokio::test]
async fn the_entry_is_drawn_once() {
    let world = World::new();
    let mut config = world.config("alice");
    config.entry = None;
    let client = Running::start(config).await.unwrap();
    let kept = |client: &Running| read(&client.config.data_dir.join("entry"));
    let drawn = kept(&client);
    let words: Vec<&str> = drawn.split_ascii_whitespace().collect();
    assert!(words.len() == 3 && directory::hex::decode::<28>(words[0]).is_some());
    let life: u64 = words[2].parse::<u64>().unwrap() - words[1].parse::<u64>().unwrap();
    assert!((30..=60).contains(&(life / 86_400_000)));
    let client = client.restart().await;
    assert_eq!(kept(&client), drawn);
    let status = client.ask("GET", "/v1/status", None).await.json;
    assert_eq!(status["guard"]["pinned"], false);
    assert!(words[0].starts_with(status["guard"]["gateway"].as_str().unwrap()));
    // Its time is over: another one takes its place.
    let mut config = client.stop().await;
    let over = format!("{} 0 1", words[0]);
    std::fs::write(config.data_dir.join("entry"), over).unwrap();
    let client = Running::start(config).await.unwrap();
    assert_ne!(kept(&client), drawn);
    // A file of an earlier version has the id alone.
    config = client.stop().await;
    std::fs::write(config.data_dir.join("entry"), words[0]).unwrap();
    let client = Running::start(config).await.unwrap();
    assert_eq!(client.ask("GET", "/v1/info", None).await.status, 200);
    config = client.stop().await;
    config.entry = Some("00".repeat(28));
    let error = Running::start(config).await.err().unwrap();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().starts_with("entry: "), "{error}");
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused() {
    let world = World::new();
    let config = world.client("alice").await.stop().await;
    let key = config.data_dir.join("store.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let error = Running::start(config).await.err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_folder_is_provisioned_once() {
    let world = World::new();
    let config = world.client("alice").await.stop().await;
    let error = crate::provision(&config.data_dir, []).unwrap_err();
    assert!(
        error.to_string().contains("holds a client already"),
        "{error}"
    );
}
