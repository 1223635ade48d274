//! How long the client's API takes while a file of 10 MB is in flight: `GET /v1/status` and a `PUT` of a
//! message that is accepted (durable on the disk), against a request that no route takes, in the same run.
//!
//! ```text
//!   cargo bench -p localnet --bench api
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench says what it saw, and fails where it sees nothing"
)]

#[path = "../tests/support/network.rs"]
mod support;

use localnet::live::Network;
use runtime::http_client::{HttpClient, Method};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const FILE_LEN: usize = 10_000_000;
const ROUNDS: usize = 200;
/// Between two rounds, so that the queue of messages does not fill.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks alice's client.
struct Client {
    http: HttpClient,
    bearer: String,
}

impl Client {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut headers = vec![("authorization", self.bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let answer = self
            .http
            .request(method, path, &headers, body)
            .await
            .unwrap();
        let json = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status.as_u16(), json)
    }

    async fn timed(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Duration) {
        let began = Instant::now();
        let (status, _) = self.ask(method, path, body).await;
        (status, began.elapsed())
    }

    /// Uploads the file and sends it to bob, and waits until some of it is there.
    async fn send_file(&self, bob: &str) {
        let (pieces, body) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            for n in 0..FILE_LEN / 10_000 {
                let piece = vec![n as u8; 10_000];
                pieces.send(piece.into()).await.unwrap();
            }
        });
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("content-type", "application/octet-stream"),
        ];
        let len = FILE_LEN as u64;
        let made = self
            .http
            .upload("/v1/blobs?name=large", &headers, len, body)
            .await;
        let made: Value = serde_json::from_slice(&made.unwrap().body).unwrap();
        let path = format!("/v1/contacts/{bob}/messages/large");
        let message = json!({ "file": { "blob": made["blob"] } });
        let (status, answer) = self.ask(Method::PUT, &path, Some(message)).await;
        assert_eq!(status, 202, "{answer}");
        let mut after = 0;
        loop {
            let path = format!("/v1/events?wait=5&after={after}");
            let (_, page) = self.ask(Method::GET, &path, None).await;
            after = page["next"].as_u64().unwrap();
            let moving = |e: &Value| e["type"] == "file_progress" && e["done"] != 0;
            if page["events"].as_array().unwrap().iter().any(moving) {
                return;
            }
        }
    }
}

async fn measure(network: &mut Network) {
    let deadline = Instant::now() + Duration::from_secs(120);
    for name in ["alice", "bob"] {
        network.wait_ready(name, deadline).await.unwrap();
    }
    let alice = network
        .plan
        .nodes
        .iter()
        .find(|n| n.name == "alice")
        .unwrap();
    let token = std::fs::read_to_string(alice.data().join("api.token")).unwrap();
    let mut http = HttpClient::new(alice.api.unwrap());
    http.timeout = Duration::from_secs(60);
    let client = Client {
        http,
        bearer: format!("Bearer {token}"),
    };
    let (_, contacts) = client.ask(Method::GET, "/v1/contacts", None).await;
    let bob = contacts["contacts"][0]["id"].as_str().unwrap().to_owned();
    client.send_file(&bob).await;
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut refused = 0;
    for n in 0..ROUNDS {
        tokio::time::sleep(PAUSE).await;
        let path = format!("/v1/contacts/{bob}/messages/chat-{n}");
        let body = json!({ "text": "a line of chat" });
        let asked = [
            client.timed(Method::GET, "/nowhere", None).await,
            client.timed(Method::GET, "/v1/status", None).await,
            client.timed(Method::PUT, &path, Some(body)).await,
        ];
        for (times, (status, time)) in times.iter_mut().zip(asked) {
            if status == 429 {
                refused += 1;
            } else {
                times.push(time);
            }
        }
    }
    let path = format!("/v1/contacts/{bob}/messages/large");
    let (_, state) = client.ask(Method::GET, &path, None).await;
    println!(
        "the file is {} at the end; {refused} messages were refused",
        state["state"]
    );
    let names = ["no such route", "GET /v1/status", "PUT, accepted"];
    let mut floor = None;
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort();
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let (p50, p99) = (at(0.5), at(0.99));
        let (f50, f99) = *floor.get_or_insert((p50, p99));
        println!(
            "{name:15} p50 {p50:7.2} ms ({:5.1}×)   p99 {p99:7.2} ms ({:5.1}×)   n {}",
            p50 / f50,
            p99 / f99,
            times.len()
        );
    }
}

fn main() {
    // `cargo test --benches` only wants to see that it builds.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("mizzle-api-bench-{}", std::process::id()));
    support::run(async {
        let mut network = support::start(&dir, &["--log", "warn"]).await;
        measure(&mut network).await;
        network.stop().unwrap();
    });
    std::fs::remove_dir_all(&dir).unwrap();
}
