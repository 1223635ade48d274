//! One loop owns both machines: [`Messenger`] decides who says what to whom, [`Client`] when packets
//! leave and what they carry. The loop brings time, the disk and the network to them.
//!
//! ```text
//!   1 inputs      link · directories · applications · time · the disk's word
//!   2 Client's events         → Messenger
//!   3 Messenger's events      → one batch: rows, and what applications will be told
//!   4 Messenger's orders, answers to applications: held until their batch is durable
//!   5 durable batches         → Client, applications, event stream
//!   6 Client's frames         → uplink, which waits for their moments
//! ```
//!
//! Nothing here waits for the disk: batches are handed to [`Storage`], and the loop goes on. When a
//! frame leaves was decided a constant lead before its moment; how long a turn of this loop takes
//! shows nowhere, as long as it is shorter than the lead.

mod answers;
mod apps;
mod files;
mod orders;
mod split;
mod status;
mod told;

use crate::api::problem::Problem;
use crate::api::types::ApiEvent;
use crate::commands::{Command, Reply};
use crate::config::Limits;
use crate::directories::Directories;
use crate::files::Files;
use crate::files::reading::{FileNews, FileOrders};
use crate::gateway_clock::GatewayClock;
use crate::history::{Durable, History};
use crate::link::LinkEvent;
use crate::proofs::Proven;
use crate::storage::{Committed, PENDING_MAX, Storage, Work};
use crate::uplink::Due;
use directory::{Directory, SignedDirectory};
use messaging::{ContactId, Messenger, Order};
use mizzle_core::client::{Client, ClientEvent};
use mizzle_core::guard::Guard;
use orders::Orders;
use runtime::clock::Clock;
use runtime::metrics::{NodeMetrics, set_counter};
use runtime::shutdown::Shutdown;
use sphinx::Sphinx;
use split::SplitState;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::{StoreError, Write};
use tokio::sync::{mpsc, oneshot, watch};
use wire::ids::{CellId, DirectoryHash, Epoch, InboxId};
use wire::request::Cell;
use wire::time::Instant;

/// How often counts are copied to the metrics.
const METRICS_EVERY: Duration = Duration::from_secs(1);
/// How often is looked for what has become too old.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// With no deadline at all (before the first directory) the loop looks up so often.
const IDLE: Duration = Duration::from_secs(1);

/// What [`crate::directories`] tells.
pub(crate) enum DirectoryNews {
    /// A directory to go by.
    New(Arc<Directory>),
    /// One that is not gone by, and why.
    Refused(String),
    /// A proof against authorities, on the disk now.
    Split(Proven),
    /// What another gateway goes by is proven to be a second directory of this epoch.
    Settled(Epoch, DirectoryHash),
    /// What another gateway goes by proves nothing, and why.
    Unproven(String),
}

/// A document that another gateway goes by, to be compared with ours of its epoch.
pub(crate) struct Offer {
    pub(crate) epoch: Epoch,
    pub(crate) document: SignedDirectory,
}

/// Everything that wakes the loop but time.
pub(crate) struct Inputs {
    pub(crate) link: mpsc::Receiver<LinkEvent>,
    pub(crate) directories: mpsc::Receiver<DirectoryNews>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) committed: mpsc::Receiver<Committed>,
    pub(crate) file_news: mpsc::Receiver<FileNews>,
    pub(crate) shutdown: Shutdown,
}

/// Everything the loop needs.
pub(crate) struct EventLoop {
    pub(crate) clock: Clock,
    pub(crate) client: Client<Sphinx>,
    pub(crate) messenger: Messenger,
    pub(crate) history: History,
    pub(crate) storage: Storage,
    pub(crate) files: Files,
    pub(crate) file_orders: FileOrders,
    pub(crate) uplink: mpsc::Sender<Due>,
    pub(crate) others: mpsc::Sender<Offer>,
    pub(crate) durable: watch::Sender<Durable>,
    pub(crate) metrics: NodeMetrics,
    pub(crate) limits: Limits,
    /// What we call ourselves where nobody says otherwise.
    pub(crate) name: String,
    /// The configuration names the entry gateway.
    pub(crate) entry_pinned: bool,
    pub(crate) state: State,
}

/// What the loop itself remembers.
#[derive(Default)]
pub(crate) struct State {
    pending: VecDeque<Batch>,
    orders: Orders,
    /// Answers that belong to the next batch.
    answers: Vec<(oneshot::Sender<Reply>, Reply)>,
    connected: bool,
    connections: u64,
    /// The entry gateway's time, unless the configuration pins it.
    guard: Option<Guard>,
    /// Of the directory that the Messenger goes by.
    directory: Option<DirectoryHash>,
    directory_problem: Option<String>,
    /// Of the newest link.
    gateway_clock: Option<GatewayClock>,
    /// The newest directory that there ever was.
    newest: Option<Arc<Directory>>,
    split: SplitState,
    metrics_at: Option<Instant>,
    /// Rows that belong to the next batch, and are not the Messenger's.
    writes: Vec<Write>,
    /// Events that belong to the next batch, and are not the Messenger's.
    told: Vec<ApiEvent>,
    /// Conversations whose vaults the next batch destroys.
    wipes: Vec<ContactId>,
    swept_at: Option<Instant>,
    /// Cells that wait for room on the disk.
    held: Vec<(InboxId, CellId, Cell)>,
    /// What was wrong with the store at the start.
    degraded: Option<String>,
}

impl State {
    /// At the start.
    pub(crate) fn of(degraded: Option<String>, directories: &Directories) -> Self {
        let proofs = directories.proofs().to_vec();
        if !proofs.is_empty() {
            tracing::warn!("there are proofs of two directories of one epoch; see `status`");
        }
        Self {
            degraded,
            newest: directories.newest(),
            split: SplitState::of(proofs),
            ..Self::default()
        }
    }
}

/// What waits until its rows are durable.
struct Batch {
    orders: Vec<Order>,
    checks: Vec<files::Check>,
    answers: Vec<(oneshot::Sender<Reply>, Reply)>,
    durable: Durable,
}

impl EventLoop {
    /// Until `shutdown`, or until the disk fails. All that was decided is durable at the end.
    pub(crate) async fn run(mut self, mut inputs: Inputs) -> Result<(), StoreError> {
        let mut result = self.settle();
        while result.is_ok() {
            let deadline = self.clock.instant_to_tokio(self.deadline());
            let room = self.state.pending.len() < PENDING_MAX;
            tokio::select! {
                biased;
                () = inputs.shutdown.wait() => break,
                Some(committed) = inputs.committed.recv() => result = self.on_committed(committed),
                () = tokio::time::sleep_until(deadline) => self.on_time(),
                Some(event) = inputs.link.recv() => self.on_link(event),
                Some(news) = inputs.file_news.recv(), if room => self.on_file_news(news),
                Some(news) = inputs.directories.recv() => self.on_directory(news),
                // While batches wait for a full disk, whoever asks is still told.
                Some(command) = inputs.commands.recv(), if room || !self.storage.has_room() => {
                    self.on_command(command);
                }
            }
            if result.is_ok() {
                result = self.settle();
            }
        }
        if let Err(error) = &result {
            tracing::error!(%error, "the store failed; nothing more is acknowledged");
        }
        self.storage.close().await;
        self.file_orders.close().await;
        result
    }

    fn deadline(&self) -> Instant {
        let now = self.clock.now();
        let client = self.client.poll_timeout().map(|(at, _)| at);
        // While the batches are full the Messenger waits for the disk and not for time.
        let room = self.state.pending.len() < PENDING_MAX;
        let messenger = self.messenger.poll_timeout().map(|(at, _)| at);
        [client, messenger.filter(|_| room), Some(now + IDLE)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + IDLE)
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        let due = |next: Option<(Instant, &'static str)>| next.is_some_and(|(at, _)| at <= now);
        if due(self.client.poll_timeout()) {
            self.client.handle_timeout(now);
        }
        if due(self.messenger.poll_timeout()) && self.state.pending.len() < PENDING_MAX {
            self.messenger.handle_timeout(now, self.clock.unix());
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        let now = self.clock.now();
        match event {
            LinkEvent::Up(entry, session, clock) => {
                self.state.gateway_clock = Some(clock);
                self.client.handle_session(session);
                self.state.guard = entry.guard;
                if self.client.entry() != entry.id {
                    self.client.handle_entry(entry.id);
                    // The Messenger chooses inboxes by where we enter.
                    self.state.directory = None;
                }
                self.state.connected = true;
                self.state.connections += 1;
                self.metrics.links_up.set(1);
                self.client.handle_connected(now);
            }
            LinkEvent::Down => {
                self.state.connected = false;
                self.metrics.links_up.set(0);
                self.client.handle_disconnected(now);
            }
            LinkEvent::Packet(packet) => {
                self.metrics.packets_received.inc();
                self.client.handle_packet(&packet, now);
            }
        }
    }

    fn on_directory(&mut self, news: DirectoryNews) {
        match news {
            DirectoryNews::New(directory) => {
                self.state.directory_problem = None;
                let newer = |held: &Arc<Directory>| held.epoch < directory.epoch;
                if self.state.newest.as_ref().is_none_or(newer) {
                    self.state.newest = Some(directory.clone());
                }
                let anchor = self.clock.anchor();
                self.client
                    .handle_directory(directory, anchor, anchor.instant);
            }
            DirectoryNews::Refused(problem) => self.state.directory_problem = Some(problem),
            DirectoryNews::Split(proven) => self.state.split.proven(proven),
            DirectoryNews::Settled(epoch, hash) => self.client.handle_proven(epoch, hash),
            DirectoryNews::Unproven(why) => self.state.split.unproven(&why),
        }
    }

    fn on_command(&mut self, command: Command) {
        let Command { ask, by, answer } = command;
        let changes = ask.changes();
        let full = self.state.pending.len() >= PENDING_MAX;
        if changes && !self.storage.has_room() && (full || ask.grows()) {
            let _ = answer.send(Err(Problem::disk_full()));
            return;
        }
        let reply = self.answer(ask, by.as_deref());
        if changes {
            self.state.answers.push((answer, reply));
        } else {
            // Whoever asked may have gone.
            let _ = answer.send(reply);
        }
    }

    fn on_committed(&mut self, committed: Committed) -> Result<(), StoreError> {
        let count = match committed {
            Ok(count) => count,
            Err(error) => {
                let waiting = self.state.pending.drain(..).flat_map(|b| b.answers);
                for (answer, _) in waiting.chain(self.state.answers.drain(..)) {
                    let _ = answer.send(Err(Problem::store_failed()));
                }
                return Err(error);
            }
        };
        for _ in 0..count {
            if let Some(batch) = self.state.pending.pop_front() {
                self.release(batch);
            }
        }
        Ok(())
    }

    /// Steps 2 to 6, after every input.
    fn settle(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        while let Some(event) = self.client.poll_event() {
            self.on_client_event(event, now);
        }
        self.take_held(now);
        self.follow_directory(now);
        if self.state.pending.len() < PENDING_MAX {
            self.make_batch()?;
        }
        self.ask_for_records();
        self.state
            .orders
            .place(&mut self.client, self.limits.outbox_max, now);
        self.send_frames();
        self.copy_metrics(now);
        self.sweep(now);
        Ok(())
    }

    fn on_client_event(&mut self, event: ClientEvent, now: Instant) {
        let unix = self.clock.unix();
        match event {
            ClientEvent::Mixing(_) | ClientEvent::Stored(_) | ClientEvent::Refused(_) => {
                if let Some((handle, outcome)) = orders::deposit_outcome(&event) {
                    self.messenger.handle_deposit(handle, outcome, now);
                }
            }
            ClientEvent::Opened(inbox, ttl_secs) => {
                let outcome = orders::opened(ttl_secs);
                self.messenger.handle_inbox(inbox, outcome, now, unix);
            }
            ClientEvent::InboxRefused(inbox) => {
                let outcome = messaging::InboxOutcome::Refused;
                self.messenger.handle_inbox(inbox, outcome, now, unix);
            }
            ClientEvent::Cell(inbox, cell_id, cell) => {
                // On a full disk it stays at the gateway, too, for it is not acknowledged. One for
                // each inbox: no other comes before that.
                self.state.held.push((inbox, cell_id, cell));
                self.take_held(now);
            }
            ClientEvent::SplitView { epoch, .. } => self.state.split.seen(epoch),
            ClientEvent::OtherDirectory {
                epoch, document, ..
            } => {
                if self.others.try_send(Offer { epoch, document }).is_err() {
                    self.state.split.unproven("too many documents wait");
                }
            }
            ClientEvent::SplitUnproven { .. } => {
                self.state.split.unproven("it does not show its document");
            }
            ClientEvent::GatewayFailing(gateway) => {
                self.messenger.handle_gateway(gateway, true, now, unix);
                tracing::warn!("too many replies of one gateway are missing; see `status`");
            }
            ClientEvent::GatewayBack(gateway) => {
                self.messenger.handle_gateway(gateway, false, now, unix);
                tracing::info!("a gateway that was failing answers");
            }
        }
    }

    /// Cells go to the Messenger when there is room for what they bring.
    fn take_held(&mut self, now: Instant) {
        if self.storage.has_room() {
            let unix = self.clock.unix();
            for (inbox, cell_id, cell) in self.state.held.drain(..) {
                self.messenger.handle_cell(inbox, cell_id, &cell, now, unix);
            }
        }
    }

    /// The Messenger goes by the directory that holds now, not by one that came ahead of its epoch.
    fn follow_directory(&mut self, now: Instant) {
        let Some(current) = self.client.view().current(now) else {
            return;
        };
        if self.state.directory == Some(current.hash()) {
            return;
        }
        let current = current.clone();
        self.state.directory = Some(current.hash());
        let epoch = i64::try_from(current.epoch.0).unwrap_or(i64::MAX);
        self.metrics.epoch.set(epoch);
        let (entry, unix) = (self.client.entry(), self.clock.unix());
        self.messenger.handle_directory(current, entry, now, unix);
    }

    /// Everything the Messenger has decided since the last batch, in the order of its contract.
    fn make_batch(&mut self) -> Result<(), StoreError> {
        let (mut work, mut told, mut checks) = (Work::default(), Vec::new(), Vec::new());
        while let Some(event) = self.messenger.poll_event() {
            if let Some(event) = self.take_file_event(event, &mut work, &mut checks) {
                told.extend(self.take_event(event, &mut work.writes));
            }
        }
        told.append(&mut self.state.told);
        work.writes.append(&mut self.state.writes);
        work.wipes.append(&mut self.state.wipes);
        let unix = self.clock.unix();
        self.history.append(&told, unix, &mut work.writes);
        let orders: Vec<_> = std::iter::from_fn(|| self.messenger.poll_transmit()).collect();
        let answers = std::mem::take(&mut self.state.answers);
        let empty = work.is_empty() && checks.is_empty() && orders.is_empty() && answers.is_empty();
        if empty {
            return Ok(());
        }
        let durable = self.history.durable();
        let batch = Batch {
            orders,
            checks,
            answers,
            durable,
        };
        if work.is_empty() && batch.checks.is_empty() && self.state.pending.is_empty() {
            // Nothing to wait for.
            self.release(batch);
            return Ok(());
        }
        self.state.pending.push_back(batch);
        self.storage.submit(work)
    }

    /// Step 5.
    fn release(&mut self, batch: Batch) {
        self.start_checks(batch.checks);
        self.state.orders.add(batch.orders, &mut self.client);
        for (answer, reply) in batch.answers {
            // Whoever asked may have gone; asking again gives the same answer.
            let _ = answer.send(reply);
        }
        self.durable.send_replace(batch.durable);
    }

    /// Step 6.
    fn send_frames(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            let due = Due {
                at: transmit.at,
                frame: transmit.frame.encode(),
            };
            if self.uplink.try_send(due).is_err() {
                tracing::debug!("the uplink is stuck; a frame is dropped");
            }
        }
    }

    /// What has become too old goes.
    fn sweep(&mut self, now: Instant) {
        if self.state.swept_at.is_some_and(|at| now < at + SWEEP_EVERY) {
            return;
        }
        self.state.swept_at = Some(now);
        let unix = self.clock.unix();
        self.history.expire(unix, &mut self.state.writes);
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = files.sweep(unix) {
                tracing::warn!(%error, "files that nobody uses cannot be removed");
            }
        });
    }

    fn copy_metrics(&mut self, now: Instant) {
        if self
            .state
            .metrics_at
            .is_some_and(|at| now < at + METRICS_EVERY)
        {
            return;
        }
        self.state.metrics_at = Some(now);
        let total = self.client.losses().total();
        set_counter(&self.metrics.loops_sent, total.sent);
        set_counter(&self.metrics.loops_returned, total.returned);
        self.metrics.set_discards(&self.client.counters().discards);
        let waiting = self.client.outbox_len().0;
        self.metrics
            .queue_depth
            .set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}
