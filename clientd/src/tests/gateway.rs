//! The link, against a test that plays the entry gateway over real TLS.

use super::world::{Running, World};
use directory::SignedDirectory;
use runtime::link::{ClientLink, ClientListenerTls};
use std::time::Duration;
use tokio::net::TcpListener;
use wire::frame::{DirectoryPart, Frame};
use wire::ids::{DirectoryHash, Epoch};

pub(super) struct Gateway {
    listener: TcpListener,
    tls: ClientListenerTls,
    pub(super) world: World,
}

impl Gateway {
    /// Proves to be node `index`; 3 is the first gateway, the clients' entry.
    pub(super) async fn new(index: usize) -> (Self, crate::config::Config) {
        Self::of(World::new(), index).await
    }

    pub(super) async fn of(world: World, index: usize) -> (Self, crate::config::Config) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = world.config("alice");
        config.entry_address = Some(listener.local_addr().unwrap());
        let tls = ClientListenerTls::new(&world.secrets[index]).unwrap();
        (
            Self {
                listener,
                tls,
                world,
            },
            config,
        )
    }

    /// From the next link on its clock is so far behind.
    pub(super) fn fall_behind(&mut self, by: Duration) {
        self.tls = self.tls.clone().with_clock_behind(by);
    }

    pub(super) async fn accept(&self) -> ClientLink {
        let (tcp, _) = self.listener.accept().await.unwrap();
        self.tls
            .accept(tcp, *self.world.network.id())
            .await
            .unwrap()
    }
}

pub(super) async fn push(link: &mut ClientLink, signed: &SignedDirectory, epoch: Epoch) {
    push_bytes(link, signed.hash(), epoch, &signed.encode()).await;
}

/// Whatever these bytes are, under that name.
pub(super) async fn push_bytes(
    link: &mut ClientLink,
    hash: DirectoryHash,
    epoch: Epoch,
    document: &[u8],
) {
    let parts = DirectoryPart::cut(hash, epoch, document).unwrap();
    let frames: Vec<_> = parts
        .into_iter()
        .map(|p| Frame::DirectoryPart(p).encode())
        .collect();
    link.writer.send(&frames).await.unwrap();
}

pub(super) async fn status(client: &Running) -> serde_json::Value {
    client.ask("GET", "/v1/status", None).await.json
}

pub(super) async fn until(
    client: &Running,
    what: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let status = status(client).await;
        if what(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_pushed_directory_starts_the_streams_and_is_kept() {
    let (gateway, config) = Gateway::new(3).await;
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;
    push(
        &mut link,
        &gateway.world.signed,
        gateway.world.directory.epoch,
    )
    .await;
    let mut packets = 0;
    while packets < 10 {
        match link.reader.next().await.unwrap() {
            Frame::Packet(..) => packets += 1,
            Frame::Dummy | Frame::Hello(_) | Frame::DirectoryPart(_) => panic!("not a packet"),
        }
    }
    let seen = until(&client, |s| s["packets_sent"].as_u64() >= Some(10)).await;
    assert_eq!(seen["connected"], true);
    assert_eq!(seen["directory"]["epoch"], 0);
    assert_eq!(seen["bytes_per_second"]["up"], 12 * 2856);
    drop(link);
    until(&client, |s| s["connected"] == false).await;
    // After a restart the kept directory holds at once.
    let client = client.restart().await;
    assert_eq!(status(&client).await["directory"]["epoch"], 0);
    client.stop().await;
}

#[tokio::test]
async fn another_gateway_at_the_same_address_is_not_talked_to() {
    let (gateway, config) = Gateway::new(4).await;
    let client = Running::start(config).await.unwrap();
    let (tcp, _) = gateway.listener.accept().await.unwrap();
    assert!(
        gateway
            .tls
            .accept(tcp, *gateway.world.network.id())
            .await
            .is_err()
    );
    assert_eq!(status(&client).await["connected"], false);
    client.stop().await;
}

#[tokio::test]
async fn a_forged_directory_is_refused_and_the_old_one_stays() {
    let (gateway, config) = Gateway::new(3).await;
    gateway.world.give_directory(&config);
    let client = Running::start(config).await.unwrap();
    let mut link = gateway.accept().await;
    let forger = directory::testing::authority_secret(99, 0);
    let next = directory::testing::directory_on(
        gateway.world.network.schedule(),
        7,
        (1, 3),
        Epoch(1),
        directory::Parameters::localnet(),
        directory::testing::nobodys_key,
    );
    let forged = SignedDirectory::sign(&next.0, 0, &forger);
    push(&mut link, &forged, next.0.epoch).await;
    let seen = until(&client, |s| !s["directory_problem"].is_null()).await;
    assert!(
        seen["directory_problem"]
            .as_str()
            .unwrap()
            .contains("signature"),
        "{seen}"
    );
    assert_eq!(seen["directory"]["epoch"], 0);
    assert_eq!(seen["alarms"].as_array().unwrap().len(), 1);
    client.stop().await;
}

#[tokio::test]
async fn the_session_is_the_same_after_a_short_break() {
    let (gateway, config) = Gateway::new(3).await;
    let client = Running::start(config).await.unwrap();
    let first = gateway.accept().await;
    let session = first.session.clone();
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(60), gateway.accept())
        .await
        .unwrap();
    assert!(second.session == session);
    client.stop().await;
}

/// When the first `count` packets came, from the first one on.
async fn arrivals(link: &mut ClientLink, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < count {
        if let Frame::Packet(..) = link.reader.next().await.unwrap() {
            times.push(tokio::time::Instant::now());
        }
    }
    times.iter().map(|t| *t - times[0]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_does_moves_no_frame() {
    const PACKETS: usize = 50;
    let mut both = Vec::new();
    for busy in [false, true] {
        let (gateway, mut config) = Gateway::new(3).await;
        config.test_seed = Some(crate::config::TestSeed::Number(5));
        let client = Running::start(config).await.unwrap();
        let mut link = gateway.accept().await;
        push(
            &mut link,
            &gateway.world.signed,
            gateway.world.directory.epoch,
        )
        .await;
        until(&client, |s| !s["directory"].is_null()).await;
        let other = gateway.world.client("bob").await;
        let reading = arrivals(&mut link, PACKETS);
        let times = if busy {
            let (times, ()) = tokio::join!(reading, chat(&client, &other));
            times
        } else {
            reading.await
        };
        both.push(times);
        client.stop().await;
        other.stop().await;
    }
    // Equal seeds: the k-th frame at the same time, but for this machine's own unrest. One frame
    // more or less would shift all that follow by 80 ms.
    let gaps = |times: &[Duration]| -> Vec<f64> {
        times
            .windows(2)
            .map(|w| (w[1] - w[0]).as_secs_f64())
            .collect()
    };
    let pairs = gaps(&both[0]).into_iter().zip(gaps(&both[1]));
    let mut differences: Vec<f64> = pairs.map(|(a, b)| (a - b).abs()).collect();
    differences.sort_by(f64::total_cmp);
    let median = differences[differences.len() / 2];
    println!(
        "median {median:.6} s, largest {:.6} s",
        differences[differences.len() - 1]
    );
    assert!(median < 0.010, "{differences:?}");
}

/// Makes cards, adds a contact, writes messages, all at once.
async fn chat(client: &Running, other: &Running) {
    let card = other.ask("POST", "/v1/cards", None).await.json["card"].clone();
    let body = serde_json::json!({ "card": card }).to_string();
    let added = client.ask("POST", "/v1/contacts", Some(&body)).await;
    let id = added.json["id"].as_str().unwrap().to_owned();
    for n in 0..50 {
        let path = format!("/v1/contacts/{id}/messages/{n}");
        let answer = client.ask("PUT", &path, Some("{\"text\":\"hello\"}")).await;
        assert_eq!(answer.status, 202);
        client.ask("GET", "/v1/status", None).await;
    }
}
