//! `localnet lines`: how long short lines take from one client to the other, alone and while a file is on
//! its way between the same two. The network runs twice with the same seed and the same lines, once with
//! the file; the file must come intact, and the two medians stand in one sentence at the end.

use crate::api::Api;
use crate::args::{LinesArgs, NetworkArgs};
use crate::check::contact_id;
use crate::live::Network;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use runtime::http_client::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use wire::rng::KeyRng;

/// Bytes that are handed to the API at a time.
const PIECE: usize = 64_000;
/// Lines that are said at least, so that a median says something.
const LINES_LEAST: usize = 30;
/// And as many as are said alone at most: a file that takes an hour needs no second one beside it.
const LINES_ALONE: usize = 150;
/// What is not there so long after the last line is lost.
const ARRIVE_MAX: Duration = Duration::from_secs(60);

/// Runs both halves; `Err` when something did not come, or a line took too long beside the file.
pub async fn run(args: &NetworkArgs, lines: &LinesArgs) -> Result<()> {
    let mut args = args.clone();
    args.seed = Some(args.seed.unwrap_or(1));
    // A file goes over inboxes at three gateways that are not bob's own.
    args.gateways = args.gateways.max(4);
    args.more.lose(lines.loss);
    say!(
        "{} bytes from alice to bob; {} % of round trips lost; rates times {}; a line each {} ms",
        lines.bytes,
        lines.loss * 100.0,
        args.rate_scale,
        lines.every.as_millis(),
    );
    let beside = half(&args, lines, true, usize::MAX).await?;
    let alone = half(&args, lines, false, beside.latencies.len().min(LINES_ALONE)).await?;
    let took = beside.file_took.context("the file did not come")?;
    let (with, without) = (beside.median(), alone.median());
    let ratio = with.as_secs_f64() / without.as_secs_f64().max(1e-9);
    say!(
        "file {} bytes intact in {:.0} s; {} lines: median alone {:.3} s, beside the file {:.3} s, ratio {ratio:.2}",
        lines.bytes,
        took.as_secs_f64(),
        beside.latencies.len(),
        without.as_secs_f64(),
        with.as_secs_f64(),
    );
    ensure!(
        ratio <= 2.0,
        "lines took more than twice as long beside the file"
    );
    Ok(())
}

/// What one run saw.
struct Half {
    latencies: Vec<Duration>,
    file_took: Option<Duration>,
}

impl Half {
    fn median(&self) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// One network: lines until the file is there, or `count` of them.
async fn half(args: &NetworkArgs, lines: &LinesArgs, file: bool, count: usize) -> Result<Half> {
    let mut args = args.clone();
    let name = if file { "beside" } else { "alone" };
    args.dir = args.dir.map(|dir| dir.join(name));
    let args = &args;
    let mut network = Network::start(args).await?;
    let (alice, bob) = (network.api("alice")?, network.api("bob")?);
    let contact = contact_id(&alice, "bob").await?;
    let hash = match file {
        true => Some(send_file(&alice, &contact, lines.bytes).await?),
        false => None,
    };
    let (news, mut heard) = mpsc::unbounded_channel();
    let listening = network.api("bob")?;
    let listener = tokio::spawn(async move {
        listening
            .follow(|event| news.send((Instant::now(), event)).is_ok())
            .await;
    });
    let began = Instant::now();
    let mut state = State::default();
    let mut said: usize = 0;
    loop {
        network.processes.check_alive()?;
        let over = match file {
            true => state.file.is_some() && said >= LINES_LEAST,
            false => said >= count,
        };
        if over {
            break;
        }
        if let Some(why) = &state.failed {
            bail!("the file failed: {why}");
        }
        if began.elapsed() > lines.limit {
            bail!("after {} s the file is not there", lines.limit.as_secs());
        }
        // Before the request: the time that the API takes counts.
        state.said.insert(said, Instant::now());
        let path = format!("/v1/contacts/{contact}/messages/line-{said}");
        let body = json!({ "text": format!("line {said}") });
        alice.json(Method::PUT, &path, Some(body)).await?;
        said += 1;
        let next = Instant::now() + lines.every;
        while let Ok(Some(event)) = tokio::time::timeout_at(next.into(), heard.recv()).await {
            state.take(event);
        }
        if said.is_multiple_of(50) {
            let (secs, came) = (began.elapsed().as_secs(), state.latencies.len());
            say!(
                "{secs:>4} s: {said} lines said, {came} came, file {} bytes",
                state.done
            );
        }
    }
    let deadline = Instant::now() + ARRIVE_MAX;
    while state.latencies.len() < said
        && let Ok(Some(event)) = tokio::time::timeout_at(deadline.into(), heard.recv()).await
    {
        state.take(event);
    }
    listener.abort();
    ensure!(
        state.latencies.len() == said,
        "{} of {said} lines came",
        state.latencies.len()
    );
    if let (Some(hash), Some((_, blob))) = (hash, &state.file) {
        let came = digest_of(&bob, blob).await?;
        ensure!(came == hash, "the file came damaged");
    }
    network.stop()?;
    Ok(Half {
        latencies: state.latencies,
        file_took: state.file.map(|(at, _)| at - began),
    })
}

/// What is known while a half runs.
#[derive(Default)]
struct State {
    said: BTreeMap<usize, Instant>,
    latencies: Vec<Duration>,
    /// Bytes of the file that are there.
    done: u64,
    /// Why it will not come.
    failed: Option<String>,
    /// When the file was whole, and under which name bob has it.
    file: Option<(Instant, String)>,
}

impl State {
    fn take(&mut self, (at, event): (Instant, Value)) {
        match event["type"].as_str() {
            Some("message_received") => {
                let text = event["text"].as_str().unwrap_or_default();
                let number = text.strip_prefix("line ").and_then(|n| n.parse().ok());
                if let Some(said) = number.and_then(|n: usize| self.said.remove(&n)) {
                    self.latencies.push(at - said);
                }
            }
            Some("file_failed") => self.failed = Some(event["reason"].to_string()),
            Some("file_progress") => self.done = event["done"].as_u64().unwrap_or(self.done),
            Some("file_received") => {
                let blob = event["blob"].as_str().unwrap_or_default().to_owned();
                self.file = Some((at, blob));
            }
            Some(_) | None => {}
        }
    }
}

/// Uploads a file of `len` random bytes and offers it to a contact; its digest.
pub(crate) async fn send_file(api: &Api, contact: &str, len: u64) -> Result<[u8; 32]> {
    let mut rng = KeyRng::from_seed([0xf1; 32]);
    let (mut hash, mut all) = (Sha256::new(), Vec::new());
    while (all.len() as u64) < len {
        all.extend(rng.bytes::<1024>());
    }
    all.truncate(usize::try_from(len)?);
    hash.update(&all);
    let (pieces, body) = mpsc::channel(4);
    let all = Bytes::from(all);
    tokio::spawn(async move {
        for at in (0..all.len()).step_by(PIECE) {
            let piece = all.slice(at..all.len().min(at + PIECE));
            if pieces.send(piece).await.is_err() {
                return;
            }
        }
    });
    let made = api.upload("/v1/blobs?name=file", len, body).await?;
    let path = format!("/v1/contacts/{contact}/messages/file");
    let body = json!({ "file": { "blob": made["blob"] } });
    api.json(Method::PUT, &path, Some(body)).await?;
    Ok(hash.finalize().into())
}

async fn digest_of(bob: &Api, blob: &str) -> Result<[u8; 32]> {
    let mut pieces = bob.download(&format!("/v1/blobs/{blob}")).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = pieces.next().await? {
        hash.update(&piece);
    }
    Ok(hash.finalize().into())
}
