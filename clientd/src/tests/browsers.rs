//! What must not get in: web pages, other users, and malformed requests.

use super::world::{Running, World};

pub(crate) type Headers = Vec<(String, String)>;

pub(crate) async fn refused_everywhere(client: &Running, headers: &Headers, expected: (u16, &str)) {
    let mut routes = crate::api::every_route();
    routes.push(("GET", "/nowhere".to_owned()));
    routes.push(("OPTIONS", "/v1/info".to_owned()));
    for (method, path) in routes {
        let answer = client.raw(method, &path, headers, "").await;
        assert_eq!(answer.code(), expected, "{method} {path} {headers:?}");
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "content-type: application/problem+json",
        ] {
            assert!(
                answer.headers.contains(header),
                "{header}: {}",
                answer.headers
            );
        }
        assert!(
            !answer.headers.contains("access-control"),
            "{}",
            answer.headers
        );
    }
}

pub(crate) fn with(mut headers: Headers, name: &str, value: &str) -> Headers {
    headers.push((name.into(), value.into()));
    headers
}

pub(crate) fn without(mut headers: Headers, name: &str) -> Headers {
    headers.retain(|(n, _)| n != name);
    headers
}

#[tokio::test]
async fn every_route_refuses_foreign_hosts() {
    let world = World::new();
    let client = world.client("alice").await;
    let port = client.address.port();
    let good = client.good_headers();
    let hostless = || without(good.clone(), "Host");
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port.wrapping_add(1)),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.:{port}"),
        format!("0.0.0.0:{port}"),
    ] {
        let headers = with(hostless(), "Host", &host);
        refused_everywhere(&client, &headers, (421, "wrong_host")).await;
    }
    let twice = with(good.clone(), "Host", &format!("127.0.0.1:{port}"));
    refused_everywhere(&client, &twice, (421, "wrong_host")).await;
    refused_everywhere(&client, &hostless(), (421, "wrong_host")).await;
    let absolute = "http://evil.example/v1/info";
    assert_eq!(client.raw("GET", absolute, &good, "").await.code().0, 421);
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        let headers = with(hostless(), "Host", &host);
        assert_eq!(
            client.raw("GET", "/v1/info", &headers, "").await.status,
            200,
            "{host}"
        );
    }
    client.stop().await;
}

#[tokio::test]
async fn every_route_refuses_web_pages_and_strangers() {
    let world = World::new();
    let client = world.client("alice").await;
    let good = client.good_headers();
    for origin in ["https://evil.example", "null", "http://127.0.0.1:7654"] {
        let headers = with(good.clone(), "Origin", origin);
        refused_everywhere(&client, &headers, (403, "foreign_origin")).await;
    }
    for site in ["cross-site", "same-site"] {
        let headers = with(good.clone(), "Sec-Fetch-Site", site);
        refused_everywhere(&client, &headers, (403, "foreign_origin")).await;
    }
    let tokenless = || without(good.clone(), "Authorization");
    refused_everywhere(&client, &tokenless(), (401, "bad_token")).await;
    let short = &client.token[1..];
    let capital = client.token.to_uppercase();
    for given in [
        "Bearer ".to_owned(),
        format!("Bearer {short}"),
        format!("Bearer {}0", client.token),
        format!("Bearer {capital}x"),
        format!("Bearer mzl_{}", "0".repeat(64)),
        format!("Basic {}", client.token),
        client.token.clone(),
    ] {
        let headers = with(tokenless(), "Authorization", &given);
        let answer = client.raw("GET", "/v1/info", &headers, "").await;
        assert_eq!(answer.code(), (401, "bad_token"), "{given}");
        assert!(answer.headers.contains("www-authenticate: bearer"));
    }
    let twice = with(
        good.clone(),
        "Authorization",
        &format!("Bearer {}", client.token),
    );
    refused_everywhere(&client, &twice, (401, "bad_token")).await;
    let in_url = format!("/v1/info?token={}", client.token);
    assert_eq!(
        client.raw("GET", &in_url, &tokenless(), "").await.status,
        401
    );
    client.stop().await;
}

#[tokio::test]
async fn bodies_are_json_and_short() {
    let world = World::new();
    let client = world.client("alice").await;
    let good = client.good_headers();
    let json = with(good.clone(), "Content-Type", "application/json");
    let long = format!("{{\"card\":\"{}\"}}", "a".repeat(65_536));
    let deep = format!("{{\"card\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let cases: [(&Headers, &str, (u16, &str)); 9] = [
        (&json, &long, (413, "body_too_large")),
        (&good, "{\"card\":\"a\"}", (415, "not_json")),
        (&json, "card", (400, "bad_json")),
        (&json, &deep, (400, "bad_json")),
        (&json, "{\"card\":\"a\",\"extra\":1}", (400, "bad_json")),
        (&json, "{\"card\":\"a\",\"card\":\"b\"}", (400, "bad_json")),
        (&json, "{\"card\":7}", (400, "bad_json")),
        (&json, "[\"mizzle1\",null]", (400, "bad_json")),
        (&json, "{\"card\":\"mizzle1\"}", (400, "bad_card")),
    ];
    for (headers, body, expected) in cases {
        let answer = client.raw("POST", "/v1/contacts", headers, body).await;
        assert_eq!(answer.code(), expected, "{}", &body[..body.len().min(60)]);
    }
    let form = with(good.clone(), "Content-Type", "text/plain; application/json");
    let answer = client
        .raw("POST", "/v1/contacts", &form, "{\"card\":\"a\"}")
        .await;
    assert_eq!(answer.code(), (415, "not_json"));
    let empty = client.raw("POST", "/v1/contacts", &json, "").await;
    assert_eq!(empty.code(), (400, "bad_json"));
    let mut chunked = String::from("POST /v1/contacts HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in &json {
        chunked += &format!("{name}: {value}\r\n");
    }
    chunked += "Transfer-Encoding: chunked\r\n\r\n";
    for _ in 0..20 {
        chunked += &format!("2000\r\n{}\r\n", "a".repeat(0x2000));
    }
    let answer = client.bytes(format!("{chunked}0\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.code(), (413, "body_too_large"));
    assert_eq!(answer.json["max"], 65_536);
    client.stop().await;
}

#[tokio::test]
async fn paths_methods_and_ids_are_exact() {
    let world = World::new();
    let client = world.client("alice").await;
    let nobody = "0".repeat(32);
    let message = |contact: &str, id: &str| format!("/v1/contacts/{contact}/messages/{id}");
    let text = Some("{\"text\":\"hello\"}");
    let cases = [
        ("GET", "/".to_owned(), None, (404, "no_such_place")),
        ("GET", "/v1/".to_owned(), None, (404, "no_such_place")),
        ("GET", "/v1/info/".to_owned(), None, (404, "no_such_place")),
        ("GET", "/v2/info".to_owned(), None, (404, "no_such_place")),
        ("POST", "/v1/info".to_owned(), None, (405, "wrong_method")),
        (
            "DELETE",
            "/v1/contacts".to_owned(),
            None,
            (405, "wrong_method"),
        ),
        ("PUT", message("abc", "a"), text, (400, "bad_contact_id")),
        (
            "PUT",
            message(&"A".repeat(32), "a"),
            text,
            (400, "bad_contact_id"),
        ),
        (
            "PUT",
            message(&nobody, "a%20b"),
            text,
            (400, "bad_message_id"),
        ),
        (
            "PUT",
            message(&nobody, &"a".repeat(65)),
            text,
            (400, "bad_message_id"),
        ),
        ("PUT", message(&nobody, ""), text, (400, "bad_message_id")),
        ("PUT", message(&nobody, "a"), text, (404, "unknown_contact")),
        (
            "PUT",
            message(&nobody, "a"),
            Some("{\"text\":\"\"}"),
            (400, "empty_text"),
        ),
        ("GET", message(&nobody, "a"), None, (404, "unknown_contact")),
        (
            "GET",
            "/v1/events?after=x".to_owned(),
            None,
            (400, "bad_position"),
        ),
        (
            "GET",
            "/v1/events?from=1".to_owned(),
            None,
            (400, "bad_query"),
        ),
        (
            "GET",
            "/v1/events?after=-1".to_owned(),
            None,
            (400, "bad_position"),
        ),
    ];
    for (method, path, body, expected) in cases {
        let answer = client.ask(method, &path, body).await;
        assert_eq!(answer.code(), expected, "{method} {path}");
    }
    client.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let world = World::new();
    let mut config = world.config("alice");
    config.limits.connections_max = 2;
    let client = Running::start(config).await.unwrap();
    let connect = || tokio::net::TcpStream::connect(client.address);
    let held = (connect().await.unwrap(), connect().await.unwrap());
    // The server takes connections in order, so the two are counted when the third is.
    let answer = client.ask("GET", "/v1/info", None).await;
    assert_eq!(answer.status, 503);
    drop(held);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    while client.ask("GET", "/v1/info", None).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    client.stop().await;
}
