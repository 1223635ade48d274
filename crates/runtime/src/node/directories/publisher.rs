//! What a node says of itself: signed again and again, most often before a vote, and handed to every authority until
//! each has the newest; and its reports on loops.

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::directory_client::{DirectoryClient, DirectoryClientError};
use crate::node::foundation::Foundation;
use crate::node::peer_clocks::{Compared, PeerClocks};
use crate::node::retire::{self, LOOK_EVERY, Retirement};
use crate::outbound::Backoff;
use directory::vote::{self, republish_after};
use directory::{LoopReport, Network, NodeDescriptor, SignedDescriptor, SignedReport};
use mizzle_core::hop::HopNode;
use serde_json::{Map, Value};
use sphinx::PacketFormat;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::keys::IdentitySecret;
use wire::rng::{Purpose, TrafficRng};
use wire::time::{Instant, UnixTime};

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
    /// Draws when, before a vote, the node says that it lives.
    rng: TrafficRng,
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
            rng: rng.clone(),
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
        let compared = self.clocks.compared(compared_for(&self.network));
        status.extend(Compared::status(compared));
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
        let mut looked = self.clock.unix();
        let mut is_new = true;
        let mut clock_was_wrong = false;
        loop {
            self.look_at_the_clock(&mut clock_was_wrong);
            let descriptor = newest.borrow_and_update().clone();
            let came_back = self.look_whether_retiring();
            let (now, unix) = (self.clock.now(), self.clock.unix());
            // A wall clock that went back makes no sign wait.
            let for_a_vote = self.next_sign(looked.min(unix)) <= unix;
            looked = unix;
            let due = is_new || came_back || for_a_vote || now >= next;
            if let Some(descriptor) = descriptor.filter(|_| due && !self.is_retiring()) {
                self.sign(&descriptor, &signed);
                next = now + beat;
            }
            let sign = self.next_sign(unix).saturating_since(unix);
            is_new = tokio::select! {
                changed = newest.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
                () = tokio::time::sleep(look.min(sign)) => false,
            };
        }
    }

    /// When it says for a vote that it lives, the first time after `unix`.
    fn next_sign(&self, unix: UnixTime) -> UnixTime {
        vote::next_sign(&self.network, unix, |epoch, number| {
            let tick = epoch.0.wrapping_mul(vote::SIGNS.into()) + u64::from(number);
            self.rng.tick(Purpose::SignOfLife, tick).draw_open01()
        })
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
        let Some(compared) = self.clocks.compared(compared_for(&self.network)) else {
            return;
        };
        let wrong = compared.skew.is_wrong();
        if std::mem::replace(was_wrong, wrong) == wrong {
            return;
        }
        if wrong {
            let authorities = compared.authorities;
            tracing::warn!(authorities, "{}", compared.in_words());
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

/// A node speaks to every authority some twelve times in an epoch.
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
            // A newer one does not wait: it may be the last sign of life before a vote.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = newest.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
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

#[cfg(test)]
mod tests;
