//! Applications: their tokens and rights, and three of them with the same events.

use super::messages::{add, card};
use super::world::{Running, World};
use serde_json::{Value, json};
use std::time::Duration;

/// Mints a token.
pub(crate) async fn app(client: &Running, body: Value) -> (u64, Minted) {
    let made = client
        .ask("POST", "/v1/apps", Some(&body.to_string()))
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json["app"]["id"].as_u64().unwrap();
    let token = made.json["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("mzl_") && token.len() == 68);
    (id, Minted { token })
}

/// An application's way to ask.
pub(crate) struct Minted {
    pub(crate) token: String,
}

impl Minted {
    async fn ask(
        &self,
        client: &Running,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> super::world::Answer {
        client.ask_with(&self.token, method, path, body).await
    }

    async fn page(&self, client: &Running, query: &str) -> (Vec<u64>, u64) {
        let path = format!("/v1/events{query}");
        let page = self.ask(client, "GET", &path, None).await;
        assert_eq!(page.status, 200, "{page:?}");
        let events = page.json["events"].as_array().unwrap();
        let ids = events
            .iter()
            .map(|e| e["cursor"].as_u64().unwrap())
            .collect();
        (ids, page.json["next"].as_u64().unwrap())
    }

    async fn ack(&self, client: &Running, through: u64) -> super::world::Answer {
        let body = json!({ "through": through }).to_string();
        self.ask(client, "POST", "/v1/events/ack", Some(&body))
            .await
    }
}

#[tokio::test]
async fn tokens_have_scopes_and_end_when_revoked() {
    let world = World::new();
    let client = world.client("alice").await;
    let (id, reader) = app(
        &client,
        json!({"name": "reader", "scopes": ["messages:read"]}),
    )
    .await;
    for (method, path, body, expected) in [
        ("GET", "/v1/info", None, (200, "")),
        ("GET", "/v1/events", None, (200, "")),
        ("GET", "/v1/apps/self", None, (200, "")),
        ("POST", "/v1/cards", Some("{}"), (403, "missing_scope")),
        ("GET", "/v1/apps", None, (403, "missing_scope")),
        ("GET", "/v1/blobs", None, (403, "missing_scope")),
        ("POST", "/v1/wipe", Some("{}"), (403, "missing_scope")),
        ("DELETE", "/v1/apps/1", None, (403, "missing_scope")),
    ] {
        let answer = reader.ask(&client, method, path, body).await;
        assert_eq!(answer.code(), expected, "{method} {path}");
    }
    let own = reader.ask(&client, "GET", "/v1/apps/self", None).await;
    assert_eq!(
        (own.json["id"].as_u64(), own.json["name"].as_str()),
        (Some(id), Some("reader"))
    );
    assert!(own.json["last_call_ms"].as_u64().is_some());
    let client = client.restart().await;
    assert_eq!(
        reader.ask(&client, "GET", "/v1/info", None).await.status,
        200,
        "it lives on"
    );
    let listed = client.ask("GET", "/v1/apps", None).await;
    assert_eq!(listed.json["apps"].as_array().unwrap().len(), 1);
    assert!(!listed.json.to_string().contains(&reader.token));
    // A stream ends with its token.
    let mut stream = client.stream_as(&reader.token).await;
    let path = format!("/v1/apps/{id}");
    assert_eq!(client.ask("DELETE", &path, None).await.status, 204);
    assert_eq!(
        client.ask("DELETE", &path, None).await.code(),
        (404, "unknown_app")
    );
    stream.until_end().await;
    let answer = reader.ask(&client, "GET", "/v1/info", None).await;
    assert_eq!(answer.code(), (401, "bad_token"));
    for (body, code) in [
        (json!({"name": "", "scopes": ["files"]}), "bad_name"),
        (json!({"name": "a", "scopes": []}), "bad_scopes"),
        (json!({"name": "a", "scopes": ["all"]}), "bad_json"),
        (
            json!({"name": "a", "scopes": ["files"], "contacts": ["x"]}),
            "bad_contact_id",
        ),
    ] {
        let answer = client
            .ask("POST", "/v1/apps", Some(&body.to_string()))
            .await;
        assert_eq!(answer.code(), (400, code), "{body}");
    }
    client.stop().await;
}

#[tokio::test]
async fn three_applications_read_at_their_own_pace() {
    let world = World::new();
    let bob = world.client("bob").await;
    let scopes = json!({"name": "a", "scopes": ["messages:read"]});
    let (_, quick) = app(&bob, scopes.clone()).await;
    let (_, slow) = app(&bob, scopes.clone()).await;
    let (_, away) = app(&bob, scopes).await;
    // A reader that opens a stream and takes nothing out of it.
    let stuck = bob.stream_as(&slow.token).await;
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        let other = world.client(name).await;
        assert_eq!(add(&bob, &card(&other).await).await.status, 201);
        other.stop().await;
        let (ids, next) = quick.page(&bob, "?wait=5").await;
        assert_eq!(ids, [next]);
        assert_eq!(quick.ack(&bob, next).await.json["acknowledged"], next);
        expected.push(next);
    }
    assert_eq!(quick.page(&bob, "").await.0, Vec::<u64>::new());
    assert_eq!(quick.ack(&bob, 99).await.code(), (400, "bad_position"));
    // An acknowledgement never goes back.
    assert_eq!(quick.ack(&bob, 1).await.json["acknowledged"], 3);
    drop(stuck);
    let bob = bob.restart().await;
    assert_eq!(away.page(&bob, "").await.0, expected);
    assert_eq!(away.page(&bob, "?limit=2").await, (vec![1, 2], 2));
    assert_eq!(away.page(&bob, "?after=2").await, (vec![3], 3));
    for reader in [&slow, &away] {
        reader.ack(&bob, 3).await;
    }
    let status = bob.ask("GET", "/v1/status", None).await;
    assert_eq!(status.json["events_kept"], 3, "the owner has read nothing");
    let all = bob
        .ask("POST", "/v1/events/ack", Some("{\"through\":3}"))
        .await;
    assert_eq!(all.status, 200);
    let status = bob.ask("GET", "/v1/status", None).await;
    assert_eq!(
        (&status.json["events_kept"], &status.json["events_bytes"]),
        (&json!(0), &json!(0))
    );
    bob.stop().await;
}

#[tokio::test]
async fn an_application_of_one_contact_sees_no_other() {
    let world = World::new();
    let bob = world.client("bob").await;
    let mut ids = Vec::new();
    for name in ["alice", "carol"] {
        let other = world.client(name).await;
        let added = add(&bob, &card(&other).await).await;
        ids.push(added.json["id"].as_str().unwrap().to_owned());
        other.stop().await;
    }
    let body = json!({
        "name": "one", "scopes": ["messages:read", "messages:send", "contacts"],
        "contacts": [ids[0]], "from_start": true,
    });
    let (_, one) = app(&bob, body).await;
    let listed = one.ask(&bob, "GET", "/v1/contacts", None).await;
    let contacts = listed.json["contacts"].as_array().unwrap();
    assert_eq!(
        (contacts.len(), contacts[0]["id"].as_str()),
        (1, Some(ids[0].as_str()))
    );
    assert_eq!(one.page(&bob, "").await.0.len(), 1);
    for (id, expected) in [(&ids[0], (202, "")), (&ids[1], (404, "unknown_contact"))] {
        let path = format!("/v1/contacts/{id}/messages/m");
        let sent = one
            .ask(&bob, "PUT", &path, Some("{\"text\":\"hello\"}"))
            .await;
        assert_eq!(sent.code(), expected);
        let path = format!("/v1/contacts/{id}");
        let changed = one
            .ask(&bob, "PATCH", &path, Some("{\"verified\":true}"))
            .await;
        assert_eq!(changed.status == 200, expected.0 == 202);
    }
    // Paging.
    let first = bob.ask("GET", "/v1/contacts?limit=1", None).await;
    let next = first.json["next"].as_str().unwrap();
    let second = bob
        .ask("GET", &format!("/v1/contacts?limit=1&cursor={next}"), None)
        .await;
    assert!(second.json["next"].is_null());
    assert_ne!(first.json["contacts"], second.json["contacts"]);
    bob.stop().await;
}

#[tokio::test]
async fn a_wiped_conversation_leaves_no_events_and_a_wiped_client_nothing() {
    let world = World::new();
    let alice = world.client("alice").await;
    let bob = world.client("bob").await;
    let added = add(&bob, &card(&alice).await).await;
    let id = added.json["id"].as_str().unwrap();
    let path = format!("/v1/contacts/{id}/messages");
    let sent = bob
        .ask("PUT", &format!("{path}/m"), Some("{\"text\":\"hello\"}"))
        .await;
    assert_eq!(sent.status, 202);
    assert_eq!(bob.ask("DELETE", &path, None).await.status, 204);
    let gone = bob.ask("GET", &format!("{path}/m"), None).await;
    assert_eq!(gone.code(), (404, "unknown_message"));
    assert_eq!(
        bob.ask("GET", &format!("/v1/contacts/{id}"), None)
            .await
            .status,
        200
    );
    let bob = bob.restart().await;
    let removed = bob.ask("DELETE", &format!("/v1/contacts/{id}"), None).await;
    assert_eq!(removed.status, 204);
    let listed = bob.ask("GET", "/v1/contacts", None).await;
    assert_eq!(listed.json["contacts"], json!([]));
    let wiped = bob
        .ask("POST", "/v1/wipe", Some("{\"confirm\":\"everything\"}"))
        .await;
    assert_eq!(wiped.status, 202);
    let folder = bob.config.data_dir.clone();
    tokio::time::timeout(Duration::from_secs(20), bob.ended())
        .await
        .unwrap();
    assert!(!folder.exists());
    alice.stop().await;
}

/// Ten thousand events of an earlier run.
pub(crate) fn ten_thousand(config: &crate::config::Config) {
    use crate::api::types::ApiEvent;
    use crate::history::{History, HistoryLimits};
    let dir = runtime::data_dir::DataDir::open(&config.data_dir).unwrap();
    let mut store = {
        let key = crate::vault::key::open(&dir, &Default::default()).unwrap();
        crate::vault::open_store(&dir, &key).unwrap()
    };
    let limits = HistoryLimits {
        events: 10_000,
        bytes: 1 << 30,
        age: Duration::from_secs(86_400),
    };
    let mut log = History::restore(&store, limits, true).unwrap();
    let unix = runtime::clock::Clock::start().unix();
    for batch in 0..20 {
        let event = |n: u32| ApiEvent::MessageReceived {
            contact: "7".repeat(32),
            name: "alice".into(),
            message_id: format!("{n:032x}"),
            text: format!("message {n} {}", "x".repeat(400)),
            composed_ms: 1,
            file: None,
        };
        let events: Vec<_> = (batch * 500..(batch + 1) * 500).map(event).collect();
        let mut writes = Vec::new();
        log.append(&events, unix, &mut writes);
        store.commit(&writes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_reads_ten_thousand_events_past_one_who_is_stuck() {
    let world = World::new();
    let config = world.config("bob");
    ten_thousand(&config);
    let bob = Running::start(config).await.unwrap();
    let body = json!({"name": "a", "scopes": ["messages:read"], "from_start": true});
    let (_, away) = app(&bob, body.clone()).await;
    let (_, stuck) = app(&bob, body).await;
    // Its buffers fill, and nothing else does.
    let held = bob.stream_as(&stuck.token).await;
    let (mut seen, mut after) = (0, 0);
    while after < 10_000 {
        let (ids, next) = away.page(&bob, &format!("?after={after}&limit=200")).await;
        assert_eq!(ids, (after + 1..=next).collect::<Vec<_>>());
        (seen, after) = (seen + ids.len(), next);
    }
    assert_eq!(seen, 10_000);
    let status = bob.ask("GET", "/v1/status", None).await;
    assert_eq!(status.json["events_kept"], 10_000);
    assert_eq!(away.ack(&bob, 10_000).await.status, 200);
    let all = bob
        .ask("POST", "/v1/events/ack", Some("{\"through\":10000}"))
        .await;
    assert_eq!(all.status, 200);
    assert_eq!(
        bob.ask("GET", "/v1/status", None).await.json["events_kept"],
        10_000
    );
    drop(held);
    assert_eq!(stuck.ack(&bob, 10_000).await.status, 200);
    assert_eq!(
        bob.ask("GET", "/v1/status", None).await.json["events_kept"],
        0
    );
    bob.stop().await;
}
