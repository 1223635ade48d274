//! Cards, contacts, messages and events, without a network to carry them.

use super::world::{Running, World};
use std::time::Duration;

pub(crate) async fn card(client: &Running) -> String {
    let answer = client.ask("POST", "/v1/cards", None).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json["card"].as_str().unwrap().to_owned()
}

pub(crate) async fn add(client: &Running, card: &str) -> super::world::Answer {
    let body = serde_json::json!({ "card": card }).to_string();
    client.ask("POST", "/v1/contacts", Some(&body)).await
}

/// Bob with Alice as his contact; Alice's id.
async fn bob_knows_alice(world: &World) -> (Running, String) {
    let alice = world.client("alice").await;
    let bob = world.client("bob").await;
    let added = add(&bob, &card(&alice).await).await;
    assert_eq!(added.status, 201, "{added:?}");
    assert_eq!(added.json["name"], "alice");
    assert_eq!(added.json["verified"], false);
    alice.stop().await;
    (bob, added.json["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn cards_are_added_once_and_not_by_their_owner() {
    let world = World::new();
    let alice = world.client("alice").await;
    let text = card(&alice).await;
    assert_eq!(add(&alice, &text).await.code(), (409, "own_card"));
    let bob = world.client("bob").await;
    assert_eq!(add(&bob, &text).await.status, 201);
    // The same card again; a fresh one of theirs would try the first contact anew.
    assert_eq!(add(&bob, &text).await.code(), (409, "already_added"));
    let mut changed = text.clone();
    changed.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
    assert_eq!(add(&bob, &changed).await.code(), (400, "bad_card"));
    let short = alice
        .ask("POST", "/v1/cards", Some("{\"expires_in_seconds\":1}"))
        .await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let carol = world.client("carol").await;
    let expired = add(&carol, short.json["card"].as_str().unwrap()).await;
    assert_eq!(expired.code(), (410, "card_expired"));
    for (body, code) in [
        ("{\"expires_in_seconds\":0}", "bad_expiry"),
        ("{\"expires_in_seconds\":99999999999}", "bad_expiry"),
        ("{\"name\":\"\"}", "bad_name"),
        ("{\"name\":\"a\\u0007\"}", "bad_name"),
    ] {
        let answer = alice.ask("POST", "/v1/cards", Some(body)).await;
        assert_eq!(answer.code(), (400, code), "{body}");
    }
    let listed = bob.ask("GET", "/v1/contacts", None).await;
    assert_eq!(listed.json["contacts"].as_array().unwrap().len(), 1);
    for client in [alice, bob, carol] {
        client.stop().await;
    }
}

#[tokio::test]
async fn a_message_is_accepted_once_and_survives_a_restart() {
    let world = World::new();
    let (bob, alice) = bob_knows_alice(&world).await;
    let path = format!("/v1/contacts/{alice}/messages/first");
    let first = bob.ask("PUT", &path, Some("{\"text\":\"hello\"}")).await;
    assert_eq!(
        (first.status, first.json["state"].as_str()),
        (202, Some("queued"))
    );
    let again = bob.ask("PUT", &path, Some("{\"text\":\"hello\"}")).await;
    assert_eq!(
        (again.status, again.json["state"].as_str()),
        (200, Some("queued"))
    );
    let other = bob.ask("PUT", &path, Some("{\"text\":\"hullo\"}")).await;
    assert_eq!(other.code(), (409, "id_conflict"));
    let bob = bob.restart().await;
    let state = bob.ask("GET", &path, None).await;
    assert_eq!(
        (state.status, state.json["state"].as_str()),
        (200, Some("queued"))
    );
    let again = bob.ask("PUT", &path, Some("{\"text\":\"hello\"}")).await;
    assert_eq!(again.status, 200);
    let other = bob.ask("PUT", &path, Some("{\"text\":\"hullo\"}")).await;
    assert_eq!(other.code(), (409, "id_conflict"));
    let unknown = bob
        .ask(
            "GET",
            &format!("/v1/contacts/{alice}/messages/second"),
            None,
        )
        .await;
    assert_eq!(unknown.code(), (404, "unknown_message"));
    bob.stop().await;
}

#[tokio::test]
async fn a_text_fits_one_cell_and_an_outbox_fills() {
    let world = World::new();
    let (bob, alice) = bob_knows_alice(&world).await;
    let info = bob.ask("GET", "/v1/info", None).await;
    let max = usize::try_from(info.json["text_max"].as_u64().unwrap()).unwrap();
    let put = |id: String, len: usize| {
        let body = serde_json::json!({ "text": "x".repeat(len) }).to_string();
        let path = format!("/v1/contacts/{alice}/messages/{id}");
        let bob = &bob;
        async move { bob.ask("PUT", &path, Some(&body)).await }
    };
    let long = put("long".into(), max + 1).await;
    assert_eq!(long.code(), (413, "text_too_long"));
    assert_eq!(long.json["max"].as_u64(), Some(max as u64));
    assert_eq!(put("fits".into(), max).await.status, 202);
    let mut full = None;
    for n in 0..300 {
        let answer = put(format!("n{n}"), 10).await;
        if answer.status != 202 {
            full = Some((n, answer));
            break;
        }
    }
    let (n, answer) = full.unwrap();
    assert_eq!((n, answer.code()), (255, (429, "outbox_full")));
    // What was accepted before is still answered.
    assert_eq!(put("fits".into(), max).await.status, 200);
    bob.stop().await;
}

#[tokio::test]
async fn events_are_numbered_kept_and_resumed() {
    let world = World::new();
    let (bob, alice) = bob_knows_alice(&world).await;
    let all = bob.events("?after=0", None, 1).await;
    assert_eq!(all[0].0, 1);
    assert_eq!(all[0].1["type"], "contact_added");
    assert_eq!(all[0].1["contact"], alice.as_str());
    assert_eq!(
        bob.events("", None, 1).await,
        all,
        "from what is not acknowledged"
    );
    let bob = bob.restart().await;
    assert_eq!(bob.events("?after=0", None, 1).await, all);
    assert_eq!(
        bob.events("?after=7", Some("0"), 1).await,
        all,
        "the header goes first"
    );
    // From another store: nothing that is new is missed.
    let carol = world.client("carol").await;
    let text = card(&carol).await;
    let waiting = bob.events("?after=99", None, 1);
    let (live, added) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        add(&bob, &text).await
    });
    assert_eq!(added.status, 201);
    assert_eq!((live[0].0, &live[0].1["name"]), (2, &"carol".into()));
    assert_eq!(bob.events("", Some("1"), 1).await[0].0, 2);
    bob.stop().await;
    carol.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_kept_is_told_as_a_gap() {
    let world = World::new();
    let mut config = world.config("bob");
    world.give_directory(&config);
    config.limits.events_max = 2;
    let bob = Running::start(config).await.unwrap();
    for name in ["a", "b", "c", "d"] {
        let other = world.client(name).await;
        assert_eq!(add(&bob, &card(&other).await).await.status, 201);
        other.stop().await;
    }
    let events = bob.events("?after=1", None, 3).await;
    assert_eq!(
        events[0].1,
        serde_json::json!({ "cursor": 2, "at_ms": 0, "type": "gap", "missed": 1 })
    );
    let numbers: Vec<u64> = events.iter().map(|e| e.0).collect();
    assert_eq!(numbers, [2, 3, 4]);
    let status = bob.ask("GET", "/v1/status", None).await;
    assert_eq!(
        (status.json["events_first"].as_u64(), status.status),
        (Some(3), 200)
    );
    bob.stop().await;
}

/// Every byte of every file below a folder but the token's, which is there for applications.
fn everything_in(folder: &std::path::Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything_in(&path, into);
        } else if path
            .file_name()
            // The ballast is reserved and never written.
            .is_some_and(|n| n != crate::token::TOKEN_FILE && n != "ballast")
        {
            into.extend(std::fs::read(&path).unwrap());
        }
    }
}

#[tokio::test]
async fn nothing_said_stands_readable_on_the_disk() {
    const TEXT: &str = "the canary sings at dawn";
    let world = World::new();
    let (bob, alice) = bob_knows_alice(&world).await;
    let path = format!("/v1/contacts/{alice}/messages/canary-message-id");
    let body = serde_json::json!({ "text": TEXT }).to_string();
    assert_eq!(bob.ask("PUT", &path, Some(&body)).await.status, 202);
    let config = bob.stop().await;
    let mut bytes = Vec::new();
    everything_in(&config.data_dir, &mut bytes);
    assert!(bytes.len() > 2_000);
    let raw_id = directory::hex::decode::<16>(&alice).unwrap();
    let hex_text = directory::hex::encode(TEXT.as_bytes());
    let canaries: [&[u8]; 6] = [
        TEXT.as_bytes(),
        hex_text.as_bytes(),
        alice.as_bytes(),
        &raw_id,
        b"canary-message-id",
        b"contact_added",
    ];
    for canary in canaries {
        let found = bytes.windows(canary.len()).any(|w| w == canary);
        assert!(!found, "{}", String::from_utf8_lossy(canary));
    }
}
