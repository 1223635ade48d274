//! A node and the authorities: descriptors up, directories down.
//!
//! [`Publisher`] signs what the node says about itself, again and again, and hands the newest to every
//! authority until each has taken it; and its reports on loops.
//! [`Follower`] fetches directories, checks them, keeps them over a restart and gives them to the
//! loop in their order. Bytes on the way are [`crate::directory_client`]; whether a document is to be
//! gone by is `crates/directory`'s to say.

use super::foundation::Foundation;
use super::peer_clocks::{PeerClocks, Skew};
use super::retire::{self, LOOK_EVERY, Retirement};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::directory_client::{DirectoryClient, DirectoryClientError};
use crate::outbound::Backoff;
use directory::vote::{VoteTimes, republish_after};
use directory::{
    DOCUMENT_MAX, Directory, DirectoryRefused, LoopReport, Network, NodeDescriptor,
    SignedDescriptor, SignedDirectory, SignedReport,
};
use mizzle_core::gateway::DirectoryDocument;
use mizzle_core::hop::HopNode;
use serde_json::{Map, Value};
use sphinx::PacketFormat;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wire::ids::Epoch;
use wire::keys::IdentitySecret;
use wire::rng::{Purpose, TrafficRng};
use wire::time::{Instant, UnixTime};

/// Between two questions while no directory is held.
const FIRST_POLL: Duration = Duration::from_millis(250);
/// After so many of them an authority is away for longer, and is asked less often.
const FIRST_POLLS_MAX: u32 = 240;
/// A report that was not taken by then is given up: the next one comes in an epoch.
const REPORT_ATTEMPTS: u32 = 8;
/// Failures of an upload before it is worth a person's look.
const QUIET_FAILURES: u32 = 5;

/// Uploads what the node says about itself, and says it again and again: who falls silent is taken to be
/// dead, and is left out of the next directory.
pub struct Publisher {
    network: Arc<Network>,
    newest: watch::Sender<Option<Arc<NodeDescriptor>>>,
    /// Since when this node retires.
    retiring: watch::Receiver<Option<UnixTime>>,
    clocks: PeerClocks,
    reports: watch::Sender<Option<Arc<[u8]>>>,
    identity: Arc<IdentitySecret>,
}

/// Who signs.
#[derive(Clone)]
struct Author {
    identity: Arc<IdentitySecret>,
    network: Arc<Network>,
    dir: Arc<DataDir>,
    clock: Clock,
    retiring: watch::Sender<Option<UnixTime>>,
    clocks: PeerClocks,
}

impl Publisher {
    /// One task for each authority, and one that signs.
    pub fn start(foundation: &Foundation, rng: &TrafficRng, tasks: &mut JoinSet<()>) -> Self {
        let (newest, signed) = (watch::Sender::new(None), watch::Sender::new(None));
        let reports: watch::Sender<Option<Arc<[u8]>>> = watch::Sender::new(None);
        let network = &foundation.network;
        let clocks = PeerClocks::new(foundation.clock, network.authorities().len());
        let authorities = network.authorities().iter().enumerate();
        for ((number, authority), salt) in authorities.zip(0x7000_0000..) {
            let client = DirectoryClient::comparing(authority.address, &clocks, number);
            let backoff = Backoff::new(rng.clone());
            let reported = report_to(client.clone(), reports.subscribe(), backoff.clone(), salt);
            tasks.spawn(reported);
            tasks.spawn(upload_to(client, signed.subscribe(), backoff, salt));
        }
        let (told, retiring) = watch::channel(None);
        let author = Author {
            retiring: told,
            clocks: clocks.clone(),
            identity: foundation.identity.clone(),
            network: network.clone(),
            dir: foundation.dir.clone(),
            clock: foundation.clock,
        };
        let (identity, network) = (author.identity.clone(), author.network.clone());
        tasks.spawn(author.sign_again_and_again(newest.subscribe(), signed));
        Self {
            network: network.clone(),
            newest,
            retiring,
            clocks,
            reports,
            identity,
        }
    }

    /// Lines of the status: how far this node is with leaving, if it does, and whether its clock is right.
    pub fn status<F: PacketFormat>(&self, hop: &HopNode<F>, now: Instant) -> Map<String, Value> {
        let since = *self.retiring.borrow();
        let leaving = Retirement::of(&hop.id(), &hop.view, since, &self.network, now);
        let mut status = leaving.status(hop.view.unix_at(now));
        status.extend(Skew::status(self.clocks.skew(compared_for(&self.network))));
        status
    }

    /// Signs a report and uploads it; one that is still on its way is given up.
    pub fn report(&self, report: LoopReport) {
        let signed = SignedReport::sign(report, &self.identity, self.network.id());
        self.reports.send_replace(Some(signed.encode().into()));
    }

    /// From now on this one; one that is still on its way is given up.
    pub fn publish(&self, descriptor: NodeDescriptor) {
        self.newest.send_replace(Some(Arc::new(descriptor)));
    }
}

impl Author {
    async fn sign_again_and_again(
        self,
        mut newest: watch::Receiver<Option<Arc<NodeDescriptor>>>,
        signed: watch::Sender<Option<Arc<[u8]>>>,
    ) {
        let beat = republish_after(self.network.schedule().length);
        let look = beat.min(LOOK_EVERY);
        let mut next = self.clock.now();
        let mut is_new = true;
        let mut clock_was_wrong = false;
        loop {
            self.look_at_the_clock(&mut clock_was_wrong);
            let descriptor = newest.borrow_and_update().clone();
            let came_back = self.look_whether_retiring();
            let now = self.clock.now();
            let due = is_new || came_back || now >= next;
            if let Some(descriptor) = descriptor.filter(|_| due && !self.is_retiring()) {
                self.sign(&descriptor, &signed);
                next = now + beat;
            }
            is_new = tokio::select! {
                changed = newest.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
                () = tokio::time::sleep(look) => false,
            };
        }
    }

    /// Says so when that changes. Returns whether the node stays after all.
    fn look_whether_retiring(&self) -> bool {
        let now = self.clock.unix();
        let since = retire::since(self.dir.path(), now);
        let was = self.is_retiring();
        if was != since.is_some() {
            self.retiring.send_replace(since);
        }
        match (was, since) {
            (false, Some(_)) => tracing::info!(
                "this node retires: it tells the authorities nothing more, is in no directory from the \
                 next or the one after on, and serves until it is ended"
            ),
            (true, None) => tracing::info!("this node does not retire after all"),
            (true, Some(_)) | (false, None) => {}
        }
        was && since.is_none()
    }

    /// Says so once when it goes wrong, and when it is right again.
    fn look_at_the_clock(&self, was_wrong: &mut bool) {
        let Some(skew) = self.clocks.skew(compared_for(&self.network)) else {
            return;
        };
        if std::mem::replace(was_wrong, skew.is_wrong()) == skew.is_wrong() {
            return;
        }
        if skew.is_wrong() {
            let authorities = skew.authorities;
            tracing::warn!(authorities, "{}", skew.in_words());
        } else {
            tracing::info!("this machine's clock agrees with the authorities' again");
        }
    }

    fn is_retiring(&self) -> bool {
        self.retiring.borrow().is_some()
    }

    fn sign(&self, descriptor: &NodeDescriptor, signed: &watch::Sender<Option<Arc<[u8]>>>) {
        let Self {
            identity, network, ..
        } = self;
        let now = self.clock.unix();
        match SignedDescriptor::sign(descriptor.clone(), now, identity, network.id()) {
            Ok(one) => {
                signed.send_replace(Some(one.encode().into()));
            }
            Err(error) => tracing::error!("this node's own descriptor is refused: {error}"),
        }
    }
}

/// A node speaks to every authority twelve times in an epoch.
fn compared_for(network: &Network) -> Duration {
    network.schedule().length
}

async fn upload_to(
    client: DirectoryClient,
    mut newest: watch::Receiver<Option<Arc<[u8]>>>,
    backoff: Backoff,
    salt: u32,
) {
    let (mut failures, mut attempt) = (0u32, 0u32);
    while newest.changed().await.is_ok() {
        loop {
            let Some(bytes) = newest.borrow_and_update().clone() else {
                break;
            };
            let Err(error) = client.upload(&bytes).await else {
                tracing::debug!("an authority took our descriptor");
                failures = 0;
                break;
            };
            report(&error, failures);
            let wait = backoff.wait(salt, failures, attempt);
            failures = failures.saturating_add(1);
            attempt = attempt.wrapping_add(1);
            tokio::time::sleep(wait).await;
        }
    }
}

/// Each report until it was answered: one that is refused is not made better by trying again.
async fn report_to(
    client: DirectoryClient,
    mut newest: watch::Receiver<Option<Arc<[u8]>>>,
    backoff: Backoff,
    salt: u32,
) {
    while newest.changed().await.is_ok() {
        for attempt in 0..REPORT_ATTEMPTS {
            let Some(bytes) = newest.borrow_and_update().clone() else {
                break;
            };
            match client.report(&bytes).await {
                Ok(()) => break,
                Err(error @ DirectoryClientError::Refused { .. }) => {
                    tracing::debug!(%error, "a report on loops is refused");
                    break;
                }
                Err(error) => tracing::debug!(%error, "a report on loops was not handed in"),
            }
            tokio::time::sleep(backoff.wait(salt, attempt, attempt)).await;
        }
    }
}

/// An authority that is not up yet is no news; one that says no, or stays away, is.
fn report(error: &DirectoryClientError, failures: u32) {
    match error {
        DirectoryClientError::Refused { status, reason } => {
            tracing::warn!(%status, reason, "an authority does not take our descriptor");
        }
        DirectoryClientError::Http(_) if failures == QUIET_FAILURES => {
            tracing::warn!("an authority cannot be reached; our descriptor waits");
        }
        DirectoryClientError::Http(error) => tracing::debug!(%error, "upload failed"),
    }
}

/// Fetches directories.
pub struct Follower {
    network: Arc<Network>,
    dir: Arc<DataDir>,
    clock: Clock,
    rng: TrafficRng,
    clients: Vec<DirectoryClient>,
    held: BTreeMap<Epoch, Arc<Directory>>,
    documents: mpsc::Sender<DirectoryDocument>,
    asked: usize,
    polls: u32,
    /// The last complaint, so that each is logged once.
    complaint: String,
}

/// What to do next.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    /// Ask for this epoch's directory.
    Ask(Epoch),
    /// Nothing is to be had before this moment.
    Wait(UnixTime),
}

impl Follower {
    /// Documents go to `documents`, each epoch once, verified.
    pub fn new(
        network: Arc<Network>,
        dir: Arc<DataDir>,
        clock: Clock,
        rng: TrafficRng,
        documents: mpsc::Sender<DirectoryDocument>,
    ) -> Self {
        let authorities = network.authorities();
        let clients = authorities
            .iter()
            .map(|a| DirectoryClient::new(a.address))
            .collect();
        Self {
            network,
            dir,
            clock,
            rng,
            clients,
            held: BTreeMap::new(),
            documents,
            asked: 0,
            polls: 0,
            complaint: String::new(),
        }
    }

    /// Runs until nobody takes documents any more.
    pub async fn run(mut self) {
        self.read_kept().await;
        while !self.documents.is_closed() {
            let unix = self.clock.unix();
            let pause = match self.step(unix) {
                Step::Ask(epoch) => {
                    self.ask(epoch).await;
                    self.poll_period()
                }
                Step::Wait(until) => until
                    .saturating_since(unix)
                    // A stepped wall clock is noticed within a minute.
                    .clamp(Duration::from_millis(10), Duration::from_secs(60)),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The directory of this epoch if it is missing, and the next one from the moment on when the
    /// authorities should have signed it.
    fn step(&self, unix: UnixTime) -> Step {
        let schedule = self.network.schedule();
        let epoch = schedule.epoch_at(unix);
        if !self.held.contains_key(&epoch) {
            return Step::Ask(epoch);
        }
        let draw = self.rng.tick(Purpose::DirectoryPoll, epoch.0).draw_open01();
        let jitter = self.later_period().mul_f64(draw);
        let next = epoch.next();
        let voted = VoteTimes::of(&self.network, next).signatures();
        let voted = voted.saturating_add(jitter);
        match (unix >= voted, self.held.contains_key(&next)) {
            (false, _) => Step::Wait(voted),
            (true, false) => Step::Ask(next),
            (true, true) => Step::Wait(schedule.start(next)),
        }
    }

    fn later_period(&self) -> Duration {
        let twentieth = self.network.schedule().length / 20;
        twentieth.clamp(Duration::from_millis(500), Duration::from_secs(60))
    }

    fn poll_period(&self) -> Duration {
        if self.held.is_empty() && self.polls < FIRST_POLLS_MAX {
            FIRST_POLL
        } else {
            self.later_period()
        }
    }

    /// Asks the authorities one after the other, another one first each time, until one has what is
    /// missing; for the newest one too while none is held.
    async fn ask(&mut self, epoch: Epoch) {
        self.polls = self.polls.saturating_add(1);
        self.asked = (self.asked + 1) % self.clients.len().max(1);
        let (before, from) = self.clients.split_at(self.asked);
        let clients: Vec<_> = from.iter().chain(before).cloned().collect();
        let mut reached = false;
        for client in clients {
            reached |= self.ask_one(&client, epoch).await;
            if self.held.contains_key(&epoch) {
                return;
            }
        }
        if !reached && self.polls == FIRST_POLLS_MAX {
            self.complain("no authority can be reached");
        }
    }

    /// Returns whether it answered.
    async fn ask_one(&mut self, client: &DirectoryClient, epoch: Epoch) -> bool {
        let questions = [Some(epoch), None];
        let questions = if self.held.is_empty() {
            &questions[..]
        } else {
            &questions[..1]
        };
        for question in questions {
            match client.fetch(*question).await {
                Ok(Some(bytes)) => {
                    self.offer(&bytes, true).await;
                    return true;
                }
                Ok(None) => {}
                Err(error @ DirectoryClientError::Refused { .. }) => {
                    self.complain(&error.to_string());
                    return true;
                }
                Err(DirectoryClientError::Http(error)) => {
                    tracing::debug!(%error, "no directory from an authority");
                    return false;
                }
            }
        }
        true
    }

    /// What was kept over a restart, oldest first. What has expired is left alone.
    async fn read_kept(&mut self) {
        let mut kept = Vec::new();
        for name in FILES {
            match self.dir.read(name, DOCUMENT_MAX as u64) {
                Ok(Some(bytes)) => kept.push(bytes),
                Ok(None) => {}
                Err(error) => self.complain(&error.to_string()),
            }
        }
        let epoch_of = |bytes: &Vec<u8>| {
            let signed = SignedDirectory::decode(bytes).ok()?;
            signed.verify(&self.network).ok().map(|d| d.epoch)
        };
        kept.sort_by_cached_key(epoch_of);
        for bytes in kept {
            self.offer(&bytes, false).await;
        }
    }

    async fn offer(&mut self, bytes: &[u8], fresh: bool) {
        let unix = self.clock.unix();
        let directory = match self.accept(bytes, unix) {
            Ok(directory) => directory,
            Err(DirectoryRefused::Expired) if !fresh => return,
            Err(refused) => return self.complain(&refused.to_string()),
        };
        let epoch = directory.epoch;
        if self.held.contains_key(&epoch) {
            return;
        }
        tracing::info!(epoch = epoch.0, "a directory is here");
        let oldest = self.network.schedule().epoch_at(unix).previous();
        self.held.retain(|e, _| *e >= oldest);
        self.held.insert(epoch, directory.clone());
        if fresh {
            self.keep(epoch, bytes.to_vec()).await;
        }
        let document = DirectoryDocument {
            directory,
            bytes: bytes.into(),
        };
        // A closed channel ends `run`.
        let _ = self.documents.send(document).await;
    }

    fn accept(&self, bytes: &[u8], unix: UnixTime) -> Result<Arc<Directory>, DirectoryRefused> {
        let signed = SignedDirectory::decode(bytes).map_err(DirectoryRefused::Malformed)?;
        let directory = signed.verify(&self.network)?;
        directory.check_not_expired(unix)?;
        if directory.epoch > self.network.schedule().epoch_at(unix).next() {
            return Err(DirectoryRefused::NotYetValid);
        }
        match self.held.last_key_value() {
            None => {}
            Some((newest, held)) if directory.epoch >= *newest => {
                directory.check_successor_of(held)?;
            }
            // Started in the second half of an epoch: its successor may have come first.
            Some((newest, held))
                if directory.epoch.next() == *newest && held.previous != directory.hash() =>
            {
                return Err(DirectoryRefused::Conflicting(directory.epoch));
            }
            Some(_) => {}
        }
        Ok(directory)
    }

    /// Two files take turns, so that this epoch's and the next one's are both there.
    async fn keep(&mut self, epoch: Epoch, bytes: Vec<u8>) {
        let dir = self.dir.clone();
        let name = FILES[usize::from(epoch.0 % 2 == 1)];
        // Syncs the disk: not for an async worker.
        let written = tokio::task::spawn_blocking(move || dir.write(name, &bytes)).await;
        if let Ok(Err(error)) = written {
            self.complain(&error.to_string());
        }
    }

    fn complain(&mut self, text: &str) {
        if self.complaint != text {
            tracing::warn!("{text}");
            self.complaint = text.to_owned();
        }
    }
}

const FILES: [&str; 2] = ["directory-even.bin", "directory-odd.bin"];

#[cfg(test)]
mod tests;
