//! The one loop of the process. It alone touches the machine; handlers send it [`Command`]s.

use crate::metrics::Metrics;
use crate::vault;
use directory::{
    Accepted, Authority, AuthorityEvent, DescriptorRefused, Network, SignedDescriptor, hex,
};
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::metrics::ReasonLabel;
use runtime::shutdown::Shutdown;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::ids::{DirectoryHash, Epoch};
use wire::time::Instant;

/// The wall clock may be put forward or back: deadlines are looked at so often at least.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Descriptors come in bursts, once in an epoch: they are written together.
const SAVE_AFTER: Duration = Duration::from_millis(500);

/// What a handler wants. A dropped answer is of no consequence.
pub(crate) enum Command {
    Descriptor(
        Box<SignedDescriptor>,
        oneshot::Sender<Result<Accepted, DescriptorRefused>>,
    ),
    /// The directory of an epoch, or the newest.
    Directory(Option<Epoch>, oneshot::Sender<Option<Found>>),
    Status(oneshot::Sender<Status>),
}

/// A directory to hand out.
pub(crate) struct Found {
    pub(crate) hash: DirectoryHash,
    pub(crate) document: Arc<[u8]>,
}

/// `GET /v1/status`.
#[derive(Serialize)]
pub(crate) struct Status {
    network_id: String,
    epoch: u64,
    newest_epoch: Option<u64>,
    newest_hash: Option<String>,
    nodes_admitted: usize,
    nodes_with_descriptor: usize,
    nodes_usable: usize,
}

pub(crate) struct Eventloop<'a> {
    pub(crate) authority: Authority,
    pub(crate) network: Network,
    pub(crate) clock: Clock,
    pub(crate) dir: &'a DataDir,
    pub(crate) metrics: Metrics,
    /// Since when descriptors are here that are not on disk.
    pub(crate) unsaved: Option<Instant>,
}

impl Eventloop<'_> {
    pub(crate) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        loop {
            // 1. What the machine wants done.
            while let Some(event) = self.authority.poll_event() {
                self.on_event(event).await;
            }
            self.show_counts();
            // 2. Wait for the first of: end, request, deadline.
            let wait = self.until_deadline();
            tokio::select! {
                () = shutdown.wait() => break,
                command = inbox.recv() => match command {
                    // 3. Requests.
                    Some(command) => self.on_command(command),
                    None => break,
                },
                // 4. Time.
                () = tokio::time::sleep(wait) => {
                    self.authority.handle_timeout(self.clock.unix());
                }
            }
            // 5. Descriptors to disk, many at a time.
            if self
                .unsaved
                .is_some_and(|since| self.clock.now() - since > SAVE_AFTER)
            {
                self.save_descriptors().await;
            }
        }
        self.save_descriptors().await;
        Ok(())
    }

    /// Takes up what was on disk before the start; refusals are of no interest.
    pub(crate) fn restore(&mut self, descriptors: Vec<SignedDescriptor>) {
        for signed in descriptors {
            let _ = self.authority.handle_descriptor(signed, self.clock.unix());
        }
    }

    async fn save_descriptors(&mut self) {
        if self.unsaved.take().is_none() {
            return;
        }
        let descriptors = self.authority.descriptors();
        if let Err(error) = vault::write_descriptors(self.dir, descriptors).await {
            tracing::warn!(%error, "descriptors cannot be kept; a restart would wait for all nodes");
        }
    }

    async fn on_event(&mut self, event: AuthorityEvent) {
        match event {
            AuthorityEvent::Persist(epoch, signed) => {
                match vault::write(self.dir, epoch, signed.encode()).await {
                    Ok(()) => self.authority.handle_persisted(self.clock.unix()),
                    Err(error) => {
                        self.metrics.keep_failures.inc();
                        tracing::error!(
                            %error, %epoch,
                            "a signed directory cannot be kept, so it is not shown; trying again"
                        );
                        self.authority.handle_persist_failed(self.clock.unix());
                    }
                }
            }
            AuthorityEvent::Published(epoch, hash) => {
                self.metrics.published.inc();
                let hash = hex::encode(&hash.0[..4]);
                let (_, _, nodes) = self.authority.counts();
                tracing::info!(%epoch, hash, nodes, "a directory is published");
            }
            AuthorityEvent::Blocked {
                epoch,
                mixes,
                gateways,
            } => tracing::warn!(
                %epoch, mixes, gateways,
                "no directory can be made: it takes 3 mixes and 1 gateway with keys for this \
                 epoch and the next; check that the nodes run and are on the allow-list"
            ),
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Descriptor(signed, answer) => {
                let result = self.authority.handle_descriptor(*signed, self.clock.unix());
                match result {
                    Ok(Accepted::Stored) => {
                        self.metrics.accepted.inc();
                        let now = self.clock.now();
                        self.unsaved.get_or_insert(now);
                    }
                    Ok(Accepted::Unchanged) => {}
                    Err(why) => {
                        let reason = reason(why);
                        tracing::debug!(reason, "a descriptor is refused");
                        let label = ReasonLabel { reason };
                        self.metrics.refused.get_or_create(&label).inc();
                    }
                }
                let _ = answer.send(result);
            }
            Command::Directory(epoch, answer) => {
                let found = match epoch {
                    Some(epoch) => self.authority.directory(epoch),
                    None => self.authority.newest(),
                };
                let _ = answer.send(found.map(|(directory, document)| Found {
                    hash: directory.hash(),
                    document: document.clone(),
                }));
            }
            Command::Status(answer) => {
                let _ = answer.send(self.status());
            }
        }
    }

    fn status(&self) -> Status {
        let newest = self.authority.newest().map(|(directory, _)| directory);
        let (nodes_admitted, nodes_with_descriptor, nodes_usable) = self.authority.counts();
        Status {
            network_id: hex::encode(&self.network.id().0),
            epoch: self.network.schedule().epoch_at(self.clock.unix()).0,
            newest_epoch: newest.map(|d| d.epoch.0),
            newest_hash: newest.map(|d| hex::encode(&d.hash().0)),
            nodes_admitted,
            nodes_with_descriptor,
            nodes_usable,
        }
    }

    fn show_counts(&self) {
        let (admitted, _, usable) = self.authority.counts();
        self.metrics.nodes_admitted.set(gauge(admitted as u64));
        self.metrics.nodes_usable.set(gauge(usable as u64));
        if let Some((directory, _)) = self.authority.newest() {
            self.metrics.epoch.set(gauge(directory.epoch.0));
        }
    }

    fn until_deadline(&self) -> Duration {
        let Some((deadline, _)) = self.authority.poll_timeout() else {
            return WAIT_MAX;
        };
        let wait = deadline.saturating_since(self.clock.unix());
        // Not zero: a blocked publication must not spin.
        wait.clamp(Duration::from_millis(1), WAIT_MAX)
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn reason(why: DescriptorRefused) -> &'static str {
    match why {
        DescriptorRefused::NotAdmitted => "not_admitted",
        DescriptorRefused::WrongRole => "wrong_role",
        DescriptorRefused::BadSignature => "bad_signature",
        DescriptorRefused::Replayed => "replayed",
        DescriptorRefused::TooOld => "too_old",
        DescriptorRefused::FromTheFuture => "from_the_future",
        DescriptorRefused::NoUsableKey(_) => "no_usable_key",
    }
}
