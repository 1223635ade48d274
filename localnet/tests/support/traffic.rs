//! Steady messages both ways, with a ledger of what was acknowledged and what came. A client that is away or
//! cannot send takes nothing up: only what was answered counts as sent.

use localnet::api::Api;
use localnet::check::contact_id;
use localnet::live::Network;
use runtime::http_client::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

#[derive(Default)]
struct Ledger {
    /// By text; with whom it was acknowledged to.
    acknowledged: BTreeMap<String, Instant>,
    came: BTreeMap<String, Vec<Instant>>,
}

/// Two people who write each other a line again and again.
pub(crate) struct Traffic {
    ledger: Arc<Mutex<Ledger>>,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// From now on, a line each way every `period`.
    pub(crate) async fn start(network: &Network, period: Duration) -> Self {
        let ledger = Arc::<Mutex<Ledger>>::default();
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            let api = network.api(from).unwrap();
            let contact = contact_id(&api, to).await.unwrap();
            writers.push(tokio::spawn(write(
                api,
                from,
                contact,
                period,
                ledger.clone(),
            )));
            readers.push(tokio::spawn(read(network.api(to).unwrap(), ledger.clone())));
        }
        Self {
            ledger,
            writers,
            readers,
        }
    }

    /// Acknowledged so far, and those of them that did not come yet.
    pub(crate) fn sent_and_open(&self) -> (usize, usize) {
        let ledger = self.ledger.lock().unwrap();
        let open = ledger
            .acknowledged
            .keys()
            .filter(|t| !ledger.came.contains_key(*t));
        (ledger.acknowledged.len(), open.count())
    }

    /// Stops writing, waits for what is on its way, and says how it went. Nothing may be missing, nothing double.
    pub(crate) async fn finish(self, patience: Duration) {
        self.writers.iter().for_each(JoinHandle::abort);
        let deadline = Instant::now() + patience;
        while self.sent_and_open().1 > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // A double may come a little later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.readers.iter().for_each(JoinHandle::abort);
        let ledger = self.ledger.lock().unwrap();
        let mut took: Vec<Duration> = Vec::new();
        let mut lost = Vec::new();
        for (text, sent) in &ledger.acknowledged {
            match ledger.came.get(text) {
                Some(times) => took.push(times[0].saturating_duration_since(*sent)),
                None => lost.push(text),
            }
        }
        took.sort();
        let doubled = ledger.came.values().filter(|times| times.len() > 1).count();
        println!(
            "{} messages acknowledged, {} lost, {doubled} doubled; median {:.2} s, longest {:.1} s",
            ledger.acknowledged.len(),
            lost.len(),
            took.get(took.len() / 2)
                .unwrap_or(&Duration::ZERO)
                .as_secs_f64(),
            took.last().unwrap_or(&Duration::ZERO).as_secs_f64(),
        );
        assert!(ledger.acknowledged.len() > 20, "too few to show anything");
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(doubled, 0);
    }
}

async fn write(
    api: Api,
    from: &'static str,
    contact: String,
    period: Duration,
    ledger: Arc<Mutex<Ledger>>,
) {
    for number in 0.. {
        let text = format!("{number} from {from}");
        let path = format!("/v1/contacts/{contact}/messages/steady-{number}");
        let body = json!({ "text": text });
        let put = api.json(Method::PUT, &path, Some(body));
        // What is refused, or not answered, is not tried again: it may still come, and then is no double.
        if put.await.is_ok() {
            let mut ledger = ledger.lock().unwrap();
            ledger.acknowledged.insert(text, Instant::now());
        }
        tokio::time::sleep(period).await;
    }
}

async fn read(api: Api, ledger: Arc<Mutex<Ledger>>) {
    api.follow(|event| {
        if event["type"] == "message_received" {
            let text = event["text"].as_str().unwrap_or_default().to_owned();
            let mut ledger = ledger.lock().unwrap();
            ledger.came.entry(text).or_default().push(Instant::now());
        }
        true
    })
    .await;
}
