//! What a client's own entry gateway can do to it with directories: the client refuses each bad one, says why,
//! and goes on by what it has; without any that holds it sends nothing, and says that.

use super::directories::signed;
use super::gateway::{Gateway, push, push_bytes, status, until};
use super::world::{Running, World};
use directory::testing::authority_secret;
use directory::{SignedDirectory, SplitProof};
use runtime::link::ClientLink;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use wire::frame::Frame;
use wire::ids::Epoch;

const HOUR: Duration = Duration::from_secs(3600);

/// A network in its epoch 2.
fn in_epoch_2() -> World {
    World::begun(HOUR * 2 + Duration::from_secs(60), HOUR)
}

/// The same directory, signed by somebody else.
fn forged(world: &World, epoch: u64) -> SignedDirectory {
    let good = signed(world, epoch, |_| {});
    let body = good.verify(&world.network).unwrap();
    SignedDirectory::sign(&body, 0, &authority_secret(99, 0))
}

/// The refusal as a person sees it: `status` names the problem, and it is an alarm.
async fn refused(client: &Running, words: &str, held: u64) -> serde_json::Value {
    let says = |s: &serde_json::Value| {
        let problem = s["directory_problem"].as_str();
        problem.is_some_and(|problem| problem.contains(words))
    };
    let seen = until(client, says).await;
    let alarms = seen["alarms"].as_array().unwrap();
    let alarm = alarms
        .iter()
        .find(|a| a.as_str().unwrap().starts_with("a directory was refused"));
    assert!(alarm.unwrap().as_str().unwrap().contains(words), "{seen}");
    assert_eq!(
        seen["directory"]["epoch"], held,
        "the old one stays: {seen}"
    );
    seen
}

#[tokio::test]
async fn an_expired_a_forged_and_an_equivocated_one_are_refused_after_a_restart() {
    let (gateway, config) = Gateway::of(in_epoch_2(), 3).await;
    let world = &gateway.world;
    // Of the last epoch, and still good: an old directory on the disk.
    let held = signed(world, 1, |_| {});
    world.give_directories(&config, &[&held]);
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;

    let expired = signed(world, 0, |_| {});
    push(&mut link, &expired, Epoch(0)).await;
    refused(&client, "the directory's time is over", 1).await;

    push(&mut link, &forged(world, 2), Epoch(2)).await;
    refused(&client, "the signature of authority 0 does not hold", 1).await;

    let cut = signed(world, 2, |p| p.shared_random[0] ^= 1);
    let bytes = cut.encode();
    push_bytes(&mut link, cut.hash(), Epoch(2), &bytes[..bytes.len() - 1]).await;
    refused(&client, "the gateway's pieces make no directory", 1).await;

    // Of another line than the one that is held.
    let stranger = signed(world, 2, |p| p.previous.0 = [1; 32]);
    push(&mut link, &stranger, Epoch(2)).await;
    let seen = refused(&client, "contradict each other", 1).await;
    assert_eq!(seen["split_view"]["proofs"].as_array().unwrap().len(), 0);

    let twin = signed(world, 1, |p| p.shared_random[0] ^= 1);
    push(&mut link, &twin, Epoch(1)).await;
    let proven = |s: &serde_json::Value| s["split_view"]["proofs"][0]["file"].is_string();
    let seen = until(&client, proven).await;
    judge(world, &seen, [&held, &twin]);
    drop(link);

    // The proof outlives a restart, and whoever says it again makes no second one.
    let client = client.restart().await;
    let mut link = gateway.accept().await;
    let again = status(&client).await;
    assert_eq!(again["split_view"]["proofs"], seen["split_view"]["proofs"]);
    push(&mut link, &twin, Epoch(1)).await;
    refused(&client, "contradict each other", 1).await;
    let again = status(&client).await;
    assert_eq!(again["split_view"]["proofs"].as_array().unwrap().len(), 1);
    let health = client.ask("GET", "/v1/health", None).await.json;
    assert_eq!(health["split_view_proven"], true);

    // An honest gateway's is taken, and the problem is over.
    let next = signed(world, 2, |p| p.previous = held.hash());
    push(&mut link, &next, Epoch(2)).await;
    let seen = until(&client, |s| s["directory"]["epoch"] == 2).await;
    assert!(seen["directory_problem"].is_null(), "{seen}");
    client.stop().await;
}

/// How early a directory may come is judged by the time at which it comes, however long nothing came before.
#[tokio::test]
async fn a_directory_after_an_epoch_of_silence_is_taken() {
    let length = Duration::from_secs(4);
    let world = World::begun(length * 2 + Duration::from_secs(3), length);
    let (gateway, config) = Gateway::of(world, 3).await;
    let world = &gateway.world;
    world.give_directories(&config, &[&signed(world, 2, |_| {})]);
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let ahead = signed(world, 4, |_| {});
    push(&mut link, &ahead, Epoch(4)).await;
    until(&client, |s| s["directory"]["epoch"] == 4).await;
    client.stop().await;
}

/// A proof that anybody can check, for its owner alone.
fn judge(world: &World, seen: &serde_json::Value, two: [&SignedDirectory; 2]) {
    let proof = &seen["split_view"]["proofs"][0];
    assert_eq!(proof["epoch"], 1);
    assert_eq!(proof["signed_both"], 1);
    assert_eq!(proof["both_valid"], true);
    let file = Path::new(proof["file"].as_str().unwrap());
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = SplitProof::decode(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(kept.verify(&world.network).unwrap().culprits, [0]);
    let [one, other] = two.map(SignedDirectory::hash);
    let hashes = kept.documents().map(SignedDirectory::hash);
    assert!(hashes == [one, other] || hashes == [other, one]);
    let alarms = seen["alarms"].to_string();
    assert!(
        alarms.contains("an authority signed two directories of epoch 1"),
        "{alarms}"
    );
    assert!(alarms.contains("topology verify"), "{alarms}");
}

#[tokio::test]
async fn a_rolled_back_one_is_refused_after_a_restart() {
    let (gateway, config) = Gateway::of(in_epoch_2(), 3).await;
    let world = &gateway.world;
    let one = signed(world, 1, |_| {});
    let two = signed(world, 2, |p| p.previous = one.hash());
    let three = signed(world, 3, |p| p.previous = two.hash());
    world.give_directories(&config, &[&two, &three]);
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;
    // Genuine, still valid, and older than what was seen before the restart.
    push(&mut link, &one, Epoch(1)).await;
    let words = "of epoch 1 and one of epoch 3 is held; somebody replays old ones";
    refused(&client, words, 2).await;
    client.stop().await;
}

/// How many packets come in this time.
async fn packets(link: &mut ClientLink, time: Duration) -> u32 {
    let (mut count, end) = (0, tokio::time::Instant::now() + time);
    while let Ok(frame) = tokio::time::timeout_at(end, link.reader.next()).await {
        count += u32::from(matches!(frame.unwrap(), Frame::Packet(..)));
    }
    count
}

#[tokio::test]
async fn without_a_directory_that_holds_nothing_is_sent_and_status_says_so() {
    let second = Duration::from_secs(1);
    let world = World::begun(Duration::ZERO, second * 2);
    let (gateway, config) = Gateway::of(world, 3).await;
    let world = &gateway.world;
    world.give_directory(&config);
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;
    assert!(packets(&mut link, second).await > 0);
    // It holds for two epochs, and no other one comes.
    let seen = until(&client, |s| s["directory"].is_null()).await;
    let silent = |s: &serde_json::Value| {
        let alarms = s["alarms"].as_array().unwrap().iter();
        let mut alarms = alarms.filter_map(|a| a.as_str());
        alarms.any(|a| a.starts_with("nothing is sent: the newest directory, of epoch 0, is over"))
    };
    assert!(silent(&seen), "{seen}");
    // What was on its way to the socket.
    packets(&mut link, Duration::from_millis(200)).await;
    assert_eq!(packets(&mut link, second * 2).await, 0);
    let health = client.ask("GET", "/v1/health", None).await;
    assert_eq!(
        (health.status, &health.json["directory_valid"]),
        (503, &false.into())
    );
    drop(link);

    // The same after a restart; then a good one comes, and the streams begin.
    let client = client.restart().await;
    let mut link = gateway.accept().await;
    assert!(silent(&status(&client).await));
    assert_eq!(packets(&mut link, second).await, 0);
    let schedule = world.network.schedule();
    let epoch = schedule.epoch_at(runtime::clock::Clock::start().unix());
    push(&mut link, &signed(world, epoch.0, |_| {}), epoch).await;
    assert!(packets(&mut link, second * 2).await > 0);
    client.stop().await;
}
