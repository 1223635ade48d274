//! The browser as a weapon, and programs that are rude (reliability.md B3): all refused with the right
//! code, and without effect.

use super::browsers::{refused_everywhere, with, without};
use super::world::{Running, World};
use std::time::{Duration, Instant};

const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[tokio::test]
async fn a_page_cannot_open_a_websocket() {
    let world = World::new();
    let client = world.client("alice").await;
    let good = client.good_headers();
    let upgrade = |mut headers: super::browsers::Headers| {
        headers.extend(UPGRADE.map(|(n, v)| (n.to_owned(), v.to_owned())));
        headers
    };
    let own = format!("http://{}", client.address);
    for origin in ["https://evil.example", "null", "file://", "", &own] {
        let headers = upgrade(with(good.clone(), "Origin", origin));
        let answer = client.raw("GET", "/v1/ws", &headers, "").await;
        assert_eq!(answer.code(), (403, "foreign_origin"), "{origin}");
    }
    let rebound = with(without(good.clone(), "Host"), "Host", "evil.example:7654");
    let answer = client.raw("GET", "/v1/ws", &upgrade(rebound), "").await;
    assert_eq!(answer.code(), (421, "wrong_host"));
    let nobody = upgrade(without(good.clone(), "Authorization"));
    let answer = client.raw("GET", "/v1/ws", &nobody, "").await;
    assert_eq!(answer.code(), (401, "bad_token"));
    // A browser cannot send a header with a WebSocket; a token elsewhere is none.
    let protocol = with(nobody, "Sec-WebSocket-Protocol", &client.token);
    let answer = client
        .raw(
            "GET",
            &format!("/v1/ws?token={}", client.token),
            &protocol,
            "",
        )
        .await;
    assert_eq!(answer.code(), (401, "bad_token"));
    let old = with(good.clone(), "Upgrade", "websocket");
    let answer = client.raw("GET", "/v1/ws", &old, "").await;
    assert_eq!(answer.code(), (426, "not_a_websocket"));
    client.stop().await;
}

#[tokio::test]
async fn a_form_of_another_site_has_no_effect() {
    let world = World::new();
    let client = world.client("alice").await;
    let good = client.good_headers();
    let kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ];
    for kind in kinds {
        let form = with(good.clone(), "Content-Type", kind);
        let card = "{\"name\":\"mallory\"}";
        // As a browser sends it: without a token, with its origin.
        let sent = with(
            without(form.clone(), "Authorization"),
            "Origin",
            "https://evil.example",
        );
        let answer = client.raw("POST", "/v1/cards", &sent, card).await;
        assert_eq!(answer.code(), (403, "foreign_origin"));
        let sent = with(
            without(form.clone(), "Authorization"),
            "Sec-Fetch-Site",
            "cross-site",
        );
        let answer = client.raw("POST", "/v1/cards", &sent, card).await;
        assert_eq!(answer.code(), (403, "foreign_origin"));
        // Were it to have a token.
        for (method, path) in [
            ("POST", "/v1/cards"),
            ("POST", "/v1/contacts"),
            ("POST", "/v1/apps"),
            ("POST", "/v1/wipe"),
            ("POST", "/v1/events/ack"),
        ] {
            let answer = client.raw(method, path, &form, card).await;
            assert_eq!(answer.code(), (415, "not_json"), "{kind} {path}");
        }
        let answer = client.raw("POST", "/v1/blobs", &form, card).await;
        assert_eq!(answer.code(), (415, "not_octets"));
    }
    let preflight = with(
        with(good, "Origin", "https://evil.example"),
        "Access-Control-Request-Method",
        "PUT",
    );
    refused_everywhere(&client, &preflight, (403, "foreign_origin")).await;
    let status = client.ask("GET", "/v1/status", None).await;
    assert_eq!(
        (status.json["events_last"].as_u64(), status.status),
        (Some(0), 200)
    );
    client.stop().await;
}

#[tokio::test]
async fn paths_lead_nowhere_but_to_routes() {
    let world = World::new();
    let client = world.client("alice").await;
    for path in [
        "/v1/../v1/info",
        "/v1/./info",
        "//v1/info",
        "/v1//info",
        "/v1/info%2f",
        "/%76%31/info",
        "/v1/%2e%2e/%2e%2e/etc/passwd",
        "/v1/..%5c..%5cetc",
        "/v1/info;x=1",
        "/v1/INFO",
        "/etc/passwd",
        "/ui/../../../etc/passwd",
        "/index.html",
    ] {
        let answer = client.ask("GET", path, None).await;
        assert_eq!(answer.code(), (404, "no_such_place"), "{path}");
    }
    for method in ["TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get"] {
        let answer = client.ask(method, "/v1/info", None).await;
        assert!(
            [400, 404, 405, 421].contains(&answer.status),
            "{method}: {answer:?}"
        );
    }
    client.stop().await;
}

#[tokio::test]
async fn bodies_that_are_too_long_too_slow_or_odd_are_refused() {
    let world = World::new();
    let client = world.client("alice").await;
    let host = client.address;
    let head = format!(
        "POST /v1/contacts HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n",
        client.token
    );
    let send = |rest: String| {
        let (client, head) = (&client, &head);
        async move { client.bytes(format!("{head}{rest}").as_bytes()).await }
    };
    let began = Instant::now();
    let huge = send("Content-Length: 1000000000000\r\n\r\n".into()).await;
    assert_eq!(huge.code(), (413, "body_too_large"));
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "before anything of it came"
    );
    let slow = send("Content-Length: 20\r\n\r\n{\"card\"".into()).await;
    assert_eq!(slow.code(), (408, "slow_body"));
    let broken = send("Transfer-Encoding: chunked\r\n\r\nzz\r\n".into()).await;
    assert_eq!(broken.status, 400);
    // Two lengths, or a length and chunks: nothing behind the first request is read as a second.
    for rest in [
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/info HTTP/1.1\r\n\r\n",
        "Transfer-Encoding: identity, chunked, x\r\n\r\n{}",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +2\r\n\r\n{}",
        "X-Long: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let answer = send(rest.into()).await;
        assert_eq!(answer.status, 400, "{rest:?}: {answer:?}");
        assert_eq!(answer.whole.matches("HTTP/1.1 ").count(), 1, "{rest:?}");
    }
    let large = send(format!("X: {}\r\n\r\n", "a".repeat(20_000))).await;
    assert_eq!(large.status, 431);
    let json = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    for body in [
        &format!("{{\"card\":{}}}", "[".repeat(10_000))[..],
        "{\"card\":1e400}",
        "{\"card\":\"\\ud800\"}",
        "{\"card\":\"a\",\"card\":\"b\"}",
        "{\"card\":\"a\"}{\"card\":\"b\"}",
        "{\"card\":\"a\",\"__proto__\":{}}",
        "\u{feff}{\"card\":\"a\"}",
        "null",
    ] {
        let answer = send(json(body)).await;
        assert_eq!(
            answer.code(),
            (400, "bad_json"),
            "{}",
            &body[..body.len().min(40)]
        );
    }
    // A bomb is not unpacked.
    let bomb = send("Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\u{8}\0".into()).await;
    assert_eq!(bomb.code(), (400, "bad_json"));
    client.stop().await;
}

#[tokio::test]
async fn guessing_tokens_is_slow_and_readers_are_counted() {
    let world = World::new();
    let mut config = world.config("alice");
    config.limits.streams_max = 2;
    let client = Running::start(config).await.unwrap();
    let began = Instant::now();
    for _ in 0..25 {
        let answer = client.ask_with("guess", "GET", "/v1/info", None).await;
        assert_eq!(answer.code(), (401, "bad_token"));
    }
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    let held = (
        client.stream_as(&client.token).await,
        client.stream_as(&client.token).await,
    );
    let mut headers = client.good_headers();
    headers.push(("Accept".into(), "text/event-stream".into()));
    let third = client.raw("GET", "/v1/events", &headers, "").await;
    assert_eq!(third.code(), (503, "too_many_streams"));
    assert!(third.headers.contains("retry-after: 1"));
    drop(held);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    // A closed stream is noticed when it is written to, or by its end.
    loop {
        if client.try_stream(&headers).await {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.stop().await;
}
