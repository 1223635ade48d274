//! Files through the API: up, down, in ranges, and who may see them.

use super::messages::{add, card};
use super::world::{Answer, Running, World};
use serde_json::json;

async fn upload(client: &Running, query: &str, body: &str) -> Answer {
    upload_as(client, &client.token, query, body).await
}

async fn upload_as(client: &Running, token: &str, query: &str, body: &str) -> Answer {
    let headers = [
        ("Host".into(), client.address.to_string()),
        ("Authorization".into(), format!("Bearer {token}")),
        ("Content-Type".into(), "application/octet-stream".into()),
    ];
    let path = format!("/v1/blobs{query}");
    client.raw("POST", &path, &headers, body).await
}

async fn range(client: &Running, path: &str, range: &str) -> Answer {
    let mut headers = client.good_headers();
    headers.push(("Range".into(), range.into()));
    client.raw("GET", path, &headers, "").await
}

#[tokio::test]
async fn bytes_go_in_and_come_out_whole_or_in_ranges() {
    let world = World::new();
    let client = world.client("alice").await;
    let content: String = (0..40_000).map(|n| format!("{n:07}.")).collect();
    let made = upload(&client, "?name=a%20b.txt&media_type=text/plain", &content).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json["size"], 320_000);
    assert_eq!(
        (&made.json["name"], &made.json["media_type"]),
        (&json!("a b.txt"), &json!("text/plain"))
    );
    let blob = made.json["blob"].as_str().unwrap();
    let path = format!("/v1/blobs/{blob}");
    let client = client.restart().await;
    let all = client.ask("GET", &path, None).await;
    assert_eq!((all.status, all.body == content), (200, true));
    for header in [
        "accept-ranges: bytes",
        "content-length: 320000",
        "content-disposition: attachment",
        "content-type: application/octet-stream",
    ] {
        assert!(all.headers.contains(header), "{header}: {}", all.headers);
    }
    assert!(
        !all.headers.contains("a b.txt"),
        "the name is somebody's word"
    );
    let part = range(&client, &path, "bytes=70000-139999").await;
    assert_eq!(
        (part.status, &part.body[..]),
        (206, &content[70_000..140_000])
    );
    assert!(
        part.headers
            .contains("content-range: bytes 70000-139999/320000")
    );
    let last = range(&client, &path, "bytes=-8").await;
    assert_eq!((last.status, &last.body[..]), (206, "0039999."));
    assert_eq!(
        range(&client, &path, "bytes=320000-").await.code(),
        (416, "bad_range")
    );
    let head = client.ask("HEAD", &path, None).await;
    assert_eq!((head.status, head.body.is_empty()), (200, true));
    assert!(head.headers.contains("content-length: 320000"));
    let listed = client.ask("GET", "/v1/blobs", None).await;
    assert_eq!(listed.json["blobs"][0]["sha256"], made.json["sha256"]);
    assert_eq!(client.ask("DELETE", &path, None).await.status, 204);
    assert_eq!(
        client.ask("GET", &path, None).await.code(),
        (404, "unknown_blob")
    );
    client.stop().await;
}

#[tokio::test]
async fn what_is_too_long_too_slow_or_no_bytes_leaves_nothing() {
    let world = World::new();
    let mut config = world.config("alice");
    config.limits.file_max = 1_000;
    let client = Running::start(config).await.unwrap();
    let long = upload(&client, "", &"x".repeat(1_001)).await;
    assert_eq!(
        (long.code(), &long.json["max"]),
        ((413, "file_too_large"), &json!(1_000))
    );
    let host = client.address;
    let head = format!(
        "POST /v1/blobs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\n",
        client.token
    );
    let huge = client
        .bytes(format!("{head}Content-Length: 1000000000000\r\n\r\n").as_bytes())
        .await;
    assert_eq!(huge.code(), (413, "file_too_large"));
    let mut endless = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for _ in 0..5 {
        endless += &format!("ff\r\n{}\r\n", "x".repeat(0xff));
    }
    assert_eq!(
        client.bytes(endless.as_bytes()).await.code(),
        (413, "file_too_large")
    );
    let slow = client
        .bytes(format!("{head}Content-Length: 10\r\n\r\nabc").as_bytes())
        .await;
    assert_eq!(slow.code(), (408, "slow_body"));
    let form = client.ask("POST", "/v1/blobs", Some("{}")).await;
    assert_eq!(form.code(), (415, "not_octets"));
    for query in ["?name=a%2Fb", "?name=a%00", "?media_type=a%0Ab"] {
        assert_eq!(
            upload(&client, query, "x").await.code(),
            (400, "bad_file"),
            "{query}"
        );
    }
    for (path, code) in [
        ("/v1/blobs/..%2f..%2fetc%2fpasswd", (400, "bad_blob_id")),
        ("/v1/blobs/%00", (400, "bad_blob_id")),
        (
            "/v1/blobs/0000000000000000000000000000000A",
            (400, "bad_blob_id"),
        ),
        (
            "/v1/blobs/00000000000000000000000000000000",
            (404, "unknown_blob"),
        ),
    ] {
        assert_eq!(client.ask("GET", path, None).await.code(), code, "{path}");
    }
    let listed = client.ask("GET", "/v1/blobs", None).await;
    assert_eq!(listed.json["blobs"], json!([]));
    client.stop().await;
}

#[tokio::test]
async fn a_file_of_one_conversation_is_not_there_for_another() {
    let world = World::new();
    let bob = world.client("bob").await;
    let mut ids = Vec::new();
    for name in ["alice", "carol"] {
        let other = world.client(name).await;
        let added = add(&bob, &card(&other).await).await;
        ids.push(added.json["id"].as_str().unwrap().to_owned());
        other.stop().await;
    }
    let body = json!({"name": "one", "scopes": ["files", "messages:send"], "contacts": [ids[1]]});
    let made = bob.ask("POST", "/v1/apps", Some(&body.to_string())).await;
    let token = made.json["token"].as_str().unwrap();
    let blob = upload(&bob, "?name=a", "content").await.json["blob"].clone();
    let path = format!("/v1/blobs/{}", blob.as_str().unwrap());
    let unused = bob.ask_with(token, "GET", &path, None).await;
    assert_eq!(unused.status, 200);
    let message = json!({"file": {"blob": blob}}).to_string();
    let sent = |id: &str| format!("/v1/contacts/{id}/messages/f");
    let answer = bob.ask("PUT", &sent(&ids[0]), Some(&message)).await;
    if answer.status == 202 {
        let used = bob.ask_with(token, "GET", &path, None).await;
        assert_eq!(used.code(), (404, "unknown_blob"));
        let stolen = bob
            .ask_with(token, "PUT", &sent(&ids[1]), Some(&message))
            .await;
        assert_eq!(stolen.code(), (404, "unknown_blob"));
    }
    let own = upload_as(&bob, token, "", "mine").await;
    assert_eq!(own.status, 201);
    let unknown = json!({"file": {"blob": "0".repeat(32)}}).to_string();
    let answer = bob.ask("PUT", &sent(&ids[0]), Some(&unknown)).await;
    assert_eq!(answer.code(), (404, "unknown_blob"));
    bob.stop().await;
}
