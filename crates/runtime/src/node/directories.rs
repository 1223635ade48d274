//! A node and the authorities: descriptors up, directories down.
//!
//! [`Publisher`] hands in what the node says about itself, and its reports on loops.
//! [`Follower`] fetches directories, checks them, keeps them over a restart and gives them to the
//! loop in their order. Bytes on the way are [`crate::directory_client`]; whether a document is to be
//! gone by is `crates/directory`'s to say.

mod publisher;

pub use publisher::Publisher;

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::directory_client::{DirectoryClient, DirectoryClientError};
use directory::vote::VoteTimes;
use directory::{DOCUMENT_MAX, Directory, DirectoryRefused, Network, SignedDirectory};
use mizzle_core::gateway::DirectoryDocument;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use wire::ids::Epoch;
use wire::rng::{Purpose, TrafficRng};
use wire::time::UnixTime;

/// Between two questions while no directory is held.
const FIRST_POLL: Duration = Duration::from_millis(250);
/// After so many of them an authority is away for longer, and is asked less often.
const FIRST_POLLS_MAX: u32 = 240;
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
                    self.poll_period(epoch)
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
        let next = epoch.next();
        let times = VoteTimes::of(&self.network, next);
        let jitter = self.later_period().min(times.round).mul_f64(draw);
        let voted = times.signatures().saturating_add(jitter);
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

    /// A round of the vote while the next one is missing: gateways push it soon after.
    fn poll_period(&self, asked: Epoch) -> Duration {
        if self.held.is_empty() && self.polls < FIRST_POLLS_MAX {
            FIRST_POLL
        } else {
            let round = VoteTimes::of(&self.network, asked).round;
            self.later_period().min(round)
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
