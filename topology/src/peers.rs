//! The other authorities: what is said to them, and directories that are fetched from them.
//!
//! One task and one bounded queue for each, so that one that is slow or away delays nobody else. A
//! message is tried again until it is of no use any more, or a few times; when the queue is full the
//! newest is lost, and rounds of the vote make up for it.

use crate::ticket::{HEADER, Ticket};
use bytes::Bytes;
use directory::vote::VoteMessage;
use directory::{Network, SignedDirectory};
use runtime::clock::Clock;
use runtime::directory_client::DirectoryClient;
use runtime::http_client::{HttpClient, Method, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wire::ids::Epoch;
use wire::keys::IdentitySecret;
use wire::time::{Instant, UnixTime};

/// Where statements go.
pub(crate) const STATEMENT_PATH: &str = "/v1/vote/statement";
/// Where signed directories go.
pub(crate) const SIGNATURE_PATH: &str = "/v1/vote/signature";

/// Messages that wait for one authority.
const QUEUE_MAX: usize = 512;
const TRIES_MAX: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two rounds of questions for a directory that is missing.
const FETCH_PERIOD: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(5);

#[derive(Clone)]
struct Letter {
    path: &'static str,
    body: Bytes,
    /// Of no use later.
    until: Instant,
}

/// One other authority.
struct Peer {
    queue: mpsc::Sender<Letter>,
    reached: Arc<Reached>,
}

/// How the last messages to it went.
#[derive(Default)]
pub(crate) struct Reached {
    tried: AtomicBool,
    well: AtomicBool,
}

impl Reached {
    fn set(&self, well: bool) {
        // An answer or none; told once when it changes.
        let before = self.well.swap(well, Ordering::Relaxed);
        let first = !self.tried.swap(true, Ordering::Relaxed);
        if first || before != well {
            tracing::debug!(well, "another authority");
        }
    }

    fn get(&self) -> Option<bool> {
        let tried = self.tried.load(Ordering::Relaxed);
        tried.then(|| self.well.load(Ordering::Relaxed))
    }
}

/// All other authorities, by their place in `network.toml`; ours is empty.
pub(crate) struct Peers {
    peers: Vec<Option<Peer>>,
    wanted: watch::Sender<Option<Epoch>>,
}

/// Who we are to them.
pub(crate) struct Us {
    pub(crate) network: Network,
    pub(crate) index: u8,
    pub(crate) secret: Arc<IdentitySecret>,
    pub(crate) clock: Clock,
}

impl Peers {
    /// Directories that were fetched go to `fetched`.
    pub(crate) fn start(
        us: Us,
        fetched: mpsc::Sender<SignedDirectory>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let us = Arc::new(us);
        let wanted = watch::Sender::new(None);
        let others: Vec<SocketAddr> = others(&us).map(|(_, address)| address).collect();
        let pace = us.network.recovery_round();
        let pace = pace.clamp(*FETCH_PERIOD.start(), *FETCH_PERIOD.end());
        tasks.spawn(fetch(others, pace, wanted.subscribe(), fetched));
        let mut peers: Vec<Option<Peer>> = Vec::new();
        peers.resize_with(us.network.authorities().len(), || None);
        for (to, address) in self::others(&us) {
            let (queue, letters) = mpsc::channel(QUEUE_MAX);
            let reached = Arc::<Reached>::default();
            tasks.spawn(post(us.clone(), to, address, letters, reached.clone()));
            if let Some(peer) = peers.get_mut(usize::from(to)) {
                *peer = Some(Peer { queue, reached });
            }
        }
        Self { peers, wanted }
    }

    /// To all of them; of no use after `until`. Returns how many have no room for it.
    pub(crate) fn send(&self, message: &VoteMessage, until: Instant) -> usize {
        let (path, body) = match message {
            VoteMessage::Statement(statement) => (STATEMENT_PATH, statement.encode()),
            VoteMessage::Signature(signed) => (SIGNATURE_PATH, signed.encode()),
        };
        let body = Bytes::from(body);
        let letter = Letter { path, body, until };
        let peers = self.peers.iter().flatten();
        peers
            .filter(|p| p.queue.try_send(letter.clone()).is_err())
            .count()
    }

    /// Fetch this one until told otherwise.
    pub(crate) fn want(&self, epoch: Option<Epoch>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != epoch;
            *wanted = epoch;
            changed
        });
    }

    /// Whether the last message to it arrived; `None` when there was none yet.
    pub(crate) fn reached(&self, authority: usize) -> Option<bool> {
        self.peers.get(authority)?.as_ref()?.reached.get()
    }
}

fn others(us: &Us) -> impl Iterator<Item = (u8, SocketAddr)> {
    let all = us.network.authorities().iter().zip(0u8..);
    let others = all.filter(|(_, i)| *i != us.index);
    others
        .map(|(a, i)| (i, a.address))
        .collect::<Vec<_>>()
        .into_iter()
}

async fn post(
    us: Arc<Us>,
    to: u8,
    address: SocketAddr,
    mut letters: mpsc::Receiver<Letter>,
    reached: Arc<Reached>,
) {
    while let Some(letter) = letters.recv().await {
        let mut pause = FIRST_PAUSE;
        for _ in 0..TRIES_MAX {
            let left = letter.until.saturating_since(us.clock.now());
            if left.is_zero() {
                break;
            }
            match deliver(&us, to, address, &letter, left.min(ANSWER_MAX)).await {
                Delivered::Done => {
                    reached.set(true);
                    break;
                }
                Delivered::Later => reached.set(true),
                Delivered::Unreachable => reached.set(false),
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

enum Delivered {
    /// It has it, or does not want it.
    Done,
    /// It is busy, or its clock is a little behind ours.
    Later,
    Unreachable,
}

async fn deliver(
    us: &Us,
    to: u8,
    address: SocketAddr,
    letter: &Letter,
    timeout: Duration,
) -> Delivered {
    let time: UnixTime = us.clock.unix();
    let from = us.index;
    let ticket = Ticket { from, time }.write(to, &us.network, &us.secret);
    let mut http = HttpClient::new(address);
    http.timeout = timeout;
    http.body_max = 4096;
    let headers = [
        ("content-type", "application/octet-stream"),
        (HEADER, &ticket[..]),
    ];
    let answer = http.request(Method::POST, letter.path, &headers, letter.body.clone());
    match answer.await {
        Ok(answer) if answer.status.is_success() => Delivered::Done,
        Ok(answer) if is_passing(answer.status) => Delivered::Later,
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer.body);
            let why: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            tracing::debug!(status = %answer.status, authority = to, why, "a message is refused");
            Delivered::Done
        }
        Err(error) => {
            tracing::debug!(%error, authority = to, "a message did not arrive");
            Delivered::Unreachable
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

/// Asks one after the other for the directory that is missing, as long as it is.
async fn fetch(
    others: Vec<SocketAddr>,
    pace: Duration,
    mut wanted: watch::Receiver<Option<Epoch>>,
    fetched: mpsc::Sender<SignedDirectory>,
) {
    let clients: Vec<_> = others.into_iter().map(DirectoryClient::new).collect();
    loop {
        let epoch = *wanted.borrow_and_update();
        let Some(epoch) = epoch else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        for client in &clients {
            let Ok(Some(bytes)) = client.fetch(Some(epoch)).await else {
                continue;
            };
            match SignedDirectory::decode(&bytes) {
                Ok(signed) => {
                    if fetched.send(signed).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "another authority's directory is damaged"),
            }
            if *wanted.borrow() != Some(epoch) {
                break;
            }
        }
        tokio::time::sleep(pace).await;
    }
}
