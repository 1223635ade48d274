//! `localnet check`: start everything, send messages both ways through the real APIs, end, and say
//! how it went.

use crate::api::Api;
use crate::args::{CheckArgs, NetworkArgs};
use crate::epochs::EpochWatch;
use crate::lines::send_file;
use crate::live::Network;
use crate::plan::Role;
use anyhow::{Context, Result, bail};
use runtime::http_client::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A message that is not there so long after the last one was sent is lost.
const ARRIVE_MAX: Duration = Duration::from_secs(90);

/// When each text was sent and when it came, by receiver and text.
#[derive(Default)]
pub(crate) struct Ledger {
    sent: BTreeMap<(String, String), Instant>,
    came: BTreeMap<(String, String), Vec<Duration>>,
}

pub(crate) type Shared = Arc<Mutex<Ledger>>;

/// Runs the check; `Err` says what failed.
pub async fn run(args: &NetworkArgs, check: &CheckArgs) -> Result<()> {
    let mut args = args.clone();
    args.more.lose(check.loss);
    let mut network = Network::start(&args).await?;
    say!("ready after {:.1} s", network.ready_after.as_secs_f64());
    let started = Instant::now();
    let ledger = Shared::default();
    let mut watch = EpochWatch::new(&network, check.epochs);
    let outcome = exchange(&mut network, check, &ledger, started, &mut watch).await;
    report(&network, &ledger).await;
    outcome?;
    watch.judge(&network, &ledger).await?;
    network.stop()?;
    say!("check passed");
    Ok(())
}

async fn exchange(
    network: &mut Network,
    check: &CheckArgs,
    ledger: &Shared,
    started: Instant,
    watch: &mut EpochWatch,
) -> Result<()> {
    let length = match check.epochs {
        Some(_) => watch.remaining(),
        None => Duration::from_secs(check.seconds.unwrap_or(0)),
    };
    let rounds = match (check.idle, check.messages) {
        (true, _) => 0,
        (false, Some(n)) => n,
        (false, None) if length.is_zero() => 1,
        (false, None) => u32::try_from(length.as_secs()).unwrap_or(u32::MAX),
    };
    let listeners = listen(network, ledger)?;
    let mut sends = Sends::create(network.capture.as_deref())?;
    sends.row("ready")?;
    for ahead in watch.begins() {
        sends.row_after(ahead, "epoch")?;
    }
    let mut outage = Outage::plan(network, check, started, length)?;
    if let Some(bytes) = check.file {
        let api = network.api("alice")?;
        let contact = contact_id(&api, "bob").await?;
        send_file(&api, &contact, bytes).await?;
    }
    let result = async {
        for round in 0..rounds {
            let due = started + length.mul_f64(f64::from(round) / f64::from(rounds));
            network.watch_until(due).await?;
            watch.look(network).await;
            outage.step(network, &mut sends)?;
            for (from, to) in [("alice", "bob"), ("bob", "alice")] {
                sends.row(from)?;
                send(network, from, to, round, ledger).await?;
            }
        }
        network.watch_until(started + length).await?;
        outage.step(network, &mut sends)?;
        let deadline = Instant::now() + ARRIVE_MAX;
        while !all_came(ledger) {
            if Instant::now() > deadline {
                bail!("messages did not arrive within {} s", ARRIVE_MAX.as_secs());
            }
            network
                .watch_until(Instant::now() + Duration::from_millis(20))
                .await?;
        }
        Ok(())
    }
    .await;
    listeners.iter().for_each(tokio::task::JoinHandle::abort);
    result
}

/// A gateway that is to be away for a while, looked at whenever something is sent.
struct Outage {
    gateway: String,
    /// When it goes, and when it comes back; what is over is gone from here.
    down: Option<Instant>,
    back: Option<Instant>,
}

impl Outage {
    fn plan(
        network: &Network,
        check: &CheckArgs,
        started: Instant,
        length: Duration,
    ) -> Result<Self> {
        let down = check.gateway_down.map(|_| started + length / 3);
        let back = down.zip(check.gateway_down).map(|(at, away)| at + away);
        if back.is_some_and(|at| at > started + length) {
            bail!(
                "--gateway-down is over only after --seconds: let it be at most two thirds of it"
            );
        }
        let alice = network.plan.of(Role::Client).next();
        let entry = alice.and_then(|alice| network.plan.entry_of(alice));
        Ok(Self {
            gateway: entry
                .context("no client has an entry gateway")?
                .name
                .clone(),
            down,
            back,
        })
    }

    fn step(&mut self, network: &mut Network, sends: &mut Sends) -> Result<()> {
        let now = Instant::now();
        let gateway = network.processes.by_name(&self.gateway);
        let gateway = gateway.context("the gateway is no process")?;
        if self.down.take_if(|at| *at <= now).is_some() {
            say!("kill -9 {}", self.gateway);
            gateway.kill()?;
            sends.row("down")?;
        } else if self.back.take_if(|at| *at <= now).is_some() {
            say!("{} again", self.gateway);
            gateway.restart()?;
            sends.row("back")?;
        }
        Ok(())
    }
}

/// `sends.csv` beside the captures: when a person pressed *send*, by the captures' clock, so that
/// anybody can look for a trace of it in them. Its first row says `ready` for the moment from which on all clients were,
/// `epoch` for those at which one begins, and `down` and `back` stand for a gateway that was killed and started again.
struct Sends(Option<std::fs::File>);

impl Sends {
    fn create(folder: Option<&std::path::Path>) -> Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self(None));
        };
        let mut file = std::fs::File::create(folder.join("sends.csv"))?;
        writeln!(file, "time_ns,client")?;
        Ok(Self(Some(file)))
    }

    fn row(&mut self, client: &str) -> Result<()> {
        self.row_after(Duration::ZERO, client)
    }

    /// Of a moment that is so far ahead.
    fn row_after(&mut self, ahead: Duration, client: &str) -> Result<()> {
        if let Some(file) = &mut self.0 {
            let time = crate::capture::time_ns() + ahead.as_nanos();
            writeln!(file, "{time},{client}")?;
        }
        Ok(())
    }
}

/// One task for each of the two: everything that their event stream says goes into the ledger.
fn listen(network: &Network, ledger: &Shared) -> Result<Vec<tokio::task::JoinHandle<()>>> {
    ["alice", "bob"]
        .into_iter()
        .map(|name| {
            let api = network.api(name)?;
            let ledger = ledger.clone();
            Ok(tokio::spawn(async move {
                api.follow(|event| take(&event, name, &ledger)).await;
            }))
        })
        .collect()
}

/// An event of `receiver`'s; whether to go on.
fn take(event: &Value, receiver: &str, ledger: &Shared) -> bool {
    if event["type"] == "message_received"
        && let Ok(mut ledger) = ledger.lock()
    {
        let text = event["text"].as_str().unwrap_or_default().to_owned();
        let key = (receiver.to_owned(), text);
        if let Some(sent) = ledger.sent.get(&key).copied() {
            ledger.came.entry(key).or_default().push(sent.elapsed());
        }
    }
    true
}

async fn send(network: &Network, from: &str, to: &str, round: u32, ledger: &Shared) -> Result<()> {
    let api = network.api(from)?;
    let contact = contact_id(&api, to).await?;
    let text = format!("message {round} from {from}");
    if let Ok(mut ledger) = ledger.lock() {
        ledger
            .sent
            .insert((to.to_owned(), text.clone()), Instant::now());
    }
    let path = format!("/v1/contacts/{contact}/messages/check-{round}");
    api.json(Method::PUT, &path, Some(json!({ "text": text })))
        .await
        .with_context(|| format!("{from} cannot send"))?;
    Ok(())
}

/// The id under which a client lists another one.
pub async fn contact_id(api: &Api, name: &str) -> Result<String> {
    let list = api.get("/v1/contacts").await?;
    let contacts = list["contacts"].as_array().context("no list of contacts")?;
    let found = contacts
        .iter()
        .find(|c| c["name"] == name)
        .and_then(|c| c["id"].as_str());
    Ok(found
        .with_context(|| format!("{name} is no contact"))?
        .to_owned())
}

/// Messages sent, and those of them that did not come.
pub(crate) fn sent_and_lost(ledger: &Shared) -> (usize, usize) {
    // A ledger that somebody left behind in a panic still says what it says.
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = ledger.sent.keys().filter(|k| !ledger.came.contains_key(*k));
    (ledger.sent.len(), lost.count())
}

fn all_came(ledger: &Shared) -> bool {
    ledger
        .lock()
        .is_ok_and(|l| l.sent.keys().all(|key| l.came.contains_key(key)))
}

async fn report(network: &Network, ledger: &Shared) {
    if let Ok(ledger) = ledger.lock() {
        report_messages(&ledger);
    }
    for client in network.plan.of(Role::Client) {
        let Ok(api) = network.api(&client.name) else {
            continue;
        };
        match api.get("/v1/status").await {
            Ok(status) => say!("{}: packets sent {}", client.name, status["packets_sent"]),
            Err(error) => say!("{}: no status: {error:#}", client.name),
        }
    }
    for (name, discards) in network.discards().await {
        say!("{name}: discarded {discards}");
    }
    for process in network.processes.iter() {
        let kib = process.peak_memory_kib().unwrap_or(0);
        say!(
            "{}: peak memory {:.1} MB",
            process.node.name,
            kib as f64 * 1024.0 / 1e6
        );
    }
}

fn report_messages(ledger: &Ledger) {
    let mut latencies: Vec<Duration> = Vec::new();
    for ((to, text), sent) in &ledger.sent {
        match ledger
            .came
            .get(&(to.clone(), text.clone()))
            .map(Vec::as_slice)
        {
            Some([once]) => latencies.push(*once),
            Some(many) => say!("DOUBLE: '{text}' came {} times to {to}", many.len()),
            None => say!("LOST: '{text}' to {to}, sent {:.1?} ago", sent.elapsed()),
        }
        if ledger.sent.len() <= 20
            && let Some([once]) = ledger
                .came
                .get(&(to.clone(), text.clone()))
                .map(Vec::as_slice)
        {
            say!("'{text}' reached {to} after {:.2} s", once.as_secs_f64());
        }
    }
    latencies.sort();
    if let (Some(median), Some(most)) = (latencies.get(latencies.len() / 2), latencies.last()) {
        let (n, sent) = (latencies.len(), ledger.sent.len());
        let (median, most) = (median.as_secs_f64(), most.as_secs_f64());
        say!("{n} of {sent} messages came once; median {median:.2} s, longest {most:.2} s");
    }
}
