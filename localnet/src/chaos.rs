//! `localnet chaos`: messages both ways while everything that can break does: packets vanish at the
//! mixes, nodes and clients are killed and started again, a gateway is away, and the applications that
//! read crash too. At the end every message was read exactly once, or this says which was not.
//!
//! What is drawn (texts, lengths, which fault when) follows from the seed. When a fault comes is counted
//! in messages that have arrived, so that a slow machine sees the same as a fast one.
//!
//! Its parts: the texts (`texts`), the applications (`reader`, processes of their own), the faults
//! (`faults`).

mod faults;
pub mod reader;
mod texts;

use crate::api::Api;
use crate::args::{ChaosArgs, NetworkArgs};
use crate::check::contact_id;
use crate::live::Network;
use anyhow::{Context, Result, bail};
use faults::Faults;
use reader::Reader;
use runtime::http_client::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use texts::{Digest, Texts};

/// Doubles may still come so long after the last message.
const SETTLE: Duration = Duration::from_secs(10);
/// How often the state is looked at.
const STEP: Duration = Duration::from_millis(100);
/// How often progress is said.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Who writes to whom.
const WAYS: [(&str, &str); 2] = [("alice", "bob"), ("bob", "alice")];

/// Runs it; `Err` when a message was lost or doubled, or the network could not be had.
pub async fn run(args: &NetworkArgs, chaos: &ChaosArgs) -> Result<()> {
    let chaos = chaos.resolved(args.seed);
    let args = shaped(args, &chaos);
    say!(
        "seed {}; {} messages; {} % of round trips lost; rates times {}; {} gateways",
        chaos.seed,
        chaos.messages,
        chaos.loss * 100.0,
        args.rate_scale,
        args.gateways,
    );
    let mut network = Network::start(&args).await?;
    say!("ready after {:.1} s", network.ready_after.as_secs_f64());
    let outcome = exchange(&mut network, &chaos).await;
    let discards = network.discards().await;
    for (name, discards) in discards {
        say!("{name}: discarded {discards}");
    }
    let tally = outcome?;
    network.stop()?;
    say!("took {:.0} s", tally.took.as_secs_f64());
    tally.finish()
}

/// The network that the faults need.
fn shaped(args: &NetworkArgs, chaos: &ChaosArgs) -> NetworkArgs {
    let mut args = args.clone();
    args.seed = Some(chaos.seed);
    // With three, the two clients share one inbox gateway only, and its minute away is everybody's.
    args.gateways = args.gateways.max(4);
    args.more.lose(chaos.loss);
    args.more.client = "owner_listens = false\n".into();
    args
}

async fn exchange(network: &mut Network, chaos: &ChaosArgs) -> Result<Tally> {
    let began = Instant::now();
    let deadline = began + chaos.limit;
    let texts = Arc::new(Texts::new(chaos.seed, chaos.messages));
    let mut readers = Vec::new();
    for (_, to) in WAYS {
        readers.push(Reader::start(network, to).await?);
    }
    let mut senders = Vec::new();
    for (way, (from, to)) in WAYS.into_iter().enumerate() {
        let (api, texts) = (network.api(from)?, texts.clone());
        let contact = contact_id(&api, to).await?;
        senders.push(tokio::spawn(send_all(api, contact, texts, way)));
    }
    let mut faults = Faults::draw(chaos, network);
    let (mut said, mut settled) = (Instant::now(), None);
    loop {
        let read: usize = readers.iter_mut().map(|r| r.count()).sum::<Result<_>>()?;
        let share = read as f64 / f64::from(chaos.messages.max(1));
        // Where nothing arrives any more, time brings the faults, so that none is left out.
        let by_time = began.elapsed().as_secs_f64() / chaos.limit.as_secs_f64() / 0.6;
        faults.step(share.max(by_time), network, &mut readers)?;
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let secs = began.elapsed().as_secs();
            say!("{secs:>4} s: {read} read, {} faults to come", faults.left());
        }
        let all = read >= chaos.messages as usize && faults.left() == 0;
        if all && settled.is_none() {
            settled = Some(Instant::now());
        }
        let over = settled.is_some_and(|at| at.elapsed() >= SETTLE);
        if over || Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(STEP).await;
    }
    let took = settled.unwrap_or_else(Instant::now) - began;
    faults.end(network)?;
    senders.iter().for_each(tokio::task::JoinHandle::abort);
    let mut tally = Tally {
        took,
        ..Tally::default()
    };
    for (way, reader) in readers.iter_mut().enumerate() {
        tally.count(&texts, way, &reader.read()?);
    }
    Ok(tally)
}

/// Sends one way's texts in their order. What is not accepted is sent again: the id makes that safe.
async fn send_all(api: Api, contact: String, texts: Arc<Texts>, way: usize) {
    for number in texts.of_way(way) {
        let path = format!("/v1/contacts/{contact}/messages/chaos-{number}");
        let body = json!({ "text": texts.text(number) });
        while api
            .json(Method::PUT, &path, Some(body.clone()))
            .await
            .is_err()
        {
            tokio::time::sleep(STEP).await;
        }
    }
}

/// What became of all messages.
#[derive(Default)]
struct Tally {
    sent: usize,
    delivered: usize,
    lost: usize,
    doubled: usize,
    took: Duration,
}

impl Tally {
    /// Short texts may be equal, so each text is counted as often as it was sent.
    fn count(&mut self, texts: &Texts, way: usize, read: &[Digest]) {
        let mut balance: BTreeMap<Digest, i64> = BTreeMap::new();
        for number in texts.of_way(way) {
            *balance.entry(texts.digest(number)).or_default() += 1;
            self.sent += 1;
        }
        for digest in read {
            *balance.entry(*digest).or_default() -= 1;
        }
        let lost: i64 = balance.values().filter(|n| **n > 0).sum();
        let doubled: i64 = -balance.values().filter(|n| **n < 0).sum::<i64>();
        let (lost, doubled) = (
            lost.unsigned_abs() as usize,
            doubled.unsigned_abs() as usize,
        );
        self.lost += lost;
        self.doubled += doubled;
        self.delivered += texts.of_way(way).count() - lost;
    }

    fn finish(&self) -> Result<()> {
        let Self {
            sent,
            delivered,
            lost,
            doubled,
            ..
        } = self;
        say!("sent {sent} delivered {delivered} lost {lost} doubled {doubled}");
        match lost + doubled {
            0 => Ok(()),
            _ => bail!("messages were lost or doubled"),
        }
    }
}

/// An application's token for `client`, of its own, that reads and sends.
async fn token_for(network: &Network, client: &str) -> Result<String> {
    let body = json!({ "name": "chaos", "scopes": ["messages:read"] });
    let app = network
        .api(client)?
        .json(Method::POST, "/v1/apps", Some(body))
        .await?;
    let token = app["token"].as_str().context("no token was minted")?;
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_finds_what_is_missing_and_what_came_twice() {
        let texts = Texts::new(1, 20);
        let all: Vec<Digest> = texts.of_way(0).map(|n| texts.digest(n)).collect();
        let tally = |read: &[Digest]| {
            let mut tally = Tally::default();
            tally.count(&texts, 0, read);
            (tally.sent, tally.delivered, tally.lost, tally.doubled)
        };
        assert_eq!(tally(&all), (10, 10, 0, 0));
        assert_eq!(tally(&all[1..]), (10, 9, 1, 0));
        let twice = [&all[..], &all[..1]].concat();
        assert_eq!(tally(&twice), (10, 10, 0, 1));
        let both = [&all[1..], &all[1..2]].concat();
        assert_eq!(tally(&both), (10, 9, 1, 1));
        // A text that nobody sent is a double of nothing: it counts too.
        let foreign = [&all[..], &[[0; 32]]].concat();
        assert_eq!(tally(&foreign), (10, 10, 0, 1));
    }
}
