//! Three applications on a client that is a process of its own, and is killed: 10,000 events that nobody
//! acknowledged, one application away for the whole run, two that open a stream and never read.

use super::apps::{app, ten_thousand};
use super::messages::card;
use super::world::{Running, World, read};
use crate::config::Config;
use crate::token::{ADDRESS_FILE, TOKEN_FILE};
use runtime::http_client::{HttpClient, Method};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const EVENTS: u64 = 10_000;
/// Events that come while the applications read.
const LIVE: u64 = 5;
const KILLS: u64 = 3;
/// Names the configuration to the process.
const VARIABLE: &str = "CLIENTD_TEST_CONFIG";

/// Not a test by itself: this program again, as the daemon. See [`Process::start`].
#[test]
#[ignore = "the process of three_applications_and_ten_thousand_events_survive_kill_9"]
fn daemon_process() {
    if let Some(config) = std::env::var_os(VARIABLE) {
        let args = ["clientd", "run", "--die-with-parent", "--config"];
        let args = args.into_iter().map(Into::into).chain([config]);
        let _ = crate::main(args);
    }
}

/// A daemon that can be killed.
struct Process {
    child: Child,
    data_dir: PathBuf,
    http: HttpClient,
}

impl Process {
    // Whoever starts it kills it, and waits; a test that fails before that takes it along.
    #[allow(clippy::zombie_processes)]
    async fn start(file: &Path, data_dir: &Path) -> Self {
        for name in [ADDRESS_FILE, TOKEN_FILE] {
            let _ = std::fs::remove_file(data_dir.join(name));
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::process::daemon_process", "--ignored"])
            .env(VARIABLE, file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let address = std::fs::read_to_string(data_dir.join(ADDRESS_FILE));
            let address: Option<SocketAddr> = address.ok().and_then(|a| a.trim().parse().ok());
            if let Some(address) = address.filter(|_| data_dir.join(TOKEN_FILE).exists()) {
                let http = HttpClient::new(address);
                if http.get("/v1/info").await.is_ok() {
                    let data_dir = data_dir.to_owned();
                    return Self {
                        child,
                        data_dir,
                        http,
                    };
                }
            }
            assert!(Instant::now() < deadline, "the daemon does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn owner(&self) -> String {
        read(&self.data_dir.join(TOKEN_FILE)).trim().to_owned()
    }

    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(|b| b.to_string()).unwrap_or_default();
        let answer = self.http.request(method, path, &headers, body).await;
        let answer = answer.unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn add(&self, card: &str) {
        let body = Some(json!({ "card": card }));
        self.ask(&self.owner(), Method::POST, "/v1/contacts", body)
            .await;
    }

    /// The next page behind what this application acknowledged or said: its numbers.
    async fn page(&self, token: &str, query: &str) -> Vec<u64> {
        let path = format!("/v1/events?limit=200{query}");
        let page = self.ask(token, Method::GET, &path, None).await;
        let events = page["events"].as_array().unwrap();
        events
            .iter()
            .map(|e| e["cursor"].as_u64().unwrap())
            .collect()
    }

    async fn acknowledge(&self, token: &str, through: u64) {
        let body = Some(json!({ "through": through }));
        self.ask(token, Method::POST, "/v1/events/ack", body).await;
    }

    /// Reads up to an event, in order and without a hole, acknowledging each page or none.
    async fn read_to(&self, token: &str, mut after: u64, last: u64, acknowledge: bool) -> Duration {
        let began = Instant::now();
        while after < last {
            let seen = self.page(token, &format!("&after={after}&wait=5")).await;
            let until = seen.last().copied().expect("an event is missing");
            assert_eq!(seen, (after + 1..=until).collect::<Vec<_>>());
            after = until;
            if acknowledge {
                self.acknowledge(token, after).await;
            }
        }
        began.elapsed()
    }

    /// A connection that asked for everything and reads nothing.
    async fn stuck(&self, token: &str, upgrade: bool) -> TcpStream {
        let host = self.http.address;
        let what = match upgrade {
            true => {
                "GET /v1/ws?after=0 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVzdCB0ZXN0IHRlc3QgdA==\r\n"
            }
            false => "GET /v1/events?after=0 HTTP/1.1\r\nAccept: text/event-stream\r\n",
        };
        let request = format!("{what}Host: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let mut tcp = TcpStream::connect(host).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 9];
        while tcp.peek(&mut first).await.unwrap() < first.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(&first, b"HTTP/1.1 ");
        tcp
    }
}

/// The configuration as a file.
fn write(config: &Config, file: &Path) {
    let text = format!(
        "data_dir = {:?}\nnetwork = {:?}\napi = \"127.0.0.1:0\"\nname = \"bob\"\nentry = {:?}\n\
         entry_address = \"127.0.0.1:1\"\nlog = \"error\"\n[limits]\nevents_max = 20000\n",
        config.data_dir,
        config.network,
        config.entry.as_deref().unwrap_or_default()
    );
    std::fs::write(file, text).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real processes; .ci/slow runs it"]
async fn three_applications_and_ten_thousand_events_survive_kill_9() {
    let world = World::new();
    let config = world.config("bob");
    world.give_directory(&config);
    ten_thousand(&config);
    // Whose cards make events while the applications read.
    let mut cards = Vec::new();
    for n in 0..LIVE {
        let other = world.client(&format!("other-{n}")).await;
        cards.push(card(&other).await);
        other.stop().await;
    }
    let bob = Running::start(config.clone()).await.unwrap();
    let body = json!({"name": "a", "scopes": ["messages:read"], "from_start": true});
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(app(&bob, body.clone()).await.1.token);
    }
    bob.stop().await;
    let [quick, slow, away] = &tokens[..] else {
        unreachable!()
    };
    let file = world.path("process.toml");
    write(&config, &file);

    let mut bob = Process::start(&file, &config.data_dir).await;
    let kept = |status: Value| status["events_kept"].as_u64().unwrap();
    // The quick one alone, then beside two connections that never read.
    let alone = bob.read_to(quick, 0, EVENTS, false).await;
    let held = [bob.stuck(slow, false).await, bob.stuck(slow, true).await];
    // The first time the two are still given what their sockets take.
    for _ in 0..3 {
        let beside = bob.read_to(quick, 0, EVENTS, false).await;
        println!(
            "10,000 events read: alone in {alone:?}, beside two that do not read in {beside:?} ({:.2} times)",
            beside.as_secs_f64() / alone.as_secs_f64()
        );
    }
    for n in 1..=KILLS {
        // Its own position: a third of the way further each time.
        bob.acknowledge(quick, EVENTS * n / (KILLS + 1)).await;
        bob.kill();
        bob = Process::start(&file, &config.data_dir).await;
        let status = bob.ask(&bob.owner(), Method::GET, "/v1/status", None).await;
        assert_eq!(kept(status), EVENTS, "after kill {n}");
        let first = bob.page(quick, "").await[0];
        assert_eq!(first, EVENTS * n / (KILLS + 1) + 1, "where it was");
        assert_eq!(bob.page(slow, "").await[0], 1);
    }
    drop(held);
    let held = [bob.stuck(slow, false).await, bob.stuck(slow, true).await];
    // What comes now reaches the quick one at once, although the slow one has read nothing yet.
    bob.read_to(quick, EVENTS * KILLS / (KILLS + 1), EVENTS, true)
        .await;
    for (card, number) in cards.iter().zip(EVENTS + 1..) {
        bob.add(card).await;
        let took = bob.read_to(quick, number - 1, number, true).await;
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    bob.kill();
    drop(held);

    // Who was away for all of it reads everything, in order, and where it left off after another kill.
    let last = EVENTS + LIVE;
    let mut bob = Process::start(&file, &config.data_dir).await;
    bob.read_to(away, 0, EVENTS / 2, true).await;
    bob.kill();
    bob = Process::start(&file, &config.data_dir).await;
    assert_eq!(bob.page(away, "").await[0], EVENTS / 2 + 1);
    bob.read_to(away, EVENTS / 2, last, true).await;
    assert!(bob.page(quick, "").await.is_empty());
    // Nothing goes before the last of them has it.
    bob.acknowledge(&bob.owner(), last).await;
    let status = bob.ask(&bob.owner(), Method::GET, "/v1/status", None).await;
    assert_eq!(kept(status), last);
    bob.read_to(slow, 0, last, true).await;
    let status = bob.ask(&bob.owner(), Method::GET, "/v1/status", None).await;
    assert_eq!(kept(status), 0);
    bob.kill();
}
