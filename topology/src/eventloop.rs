//! The one loop of the process. It alone touches the machine; handlers send it [`Command`]s, and other
//! authorities' messages come by a queue of their own.

use crate::allow;
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::news;
use crate::peers::Peers;
use crate::status::{AuthorityStatus, Status, VoteStatus};
use crate::vault;
use directory::vote::{Phase, Statement, VoteMessage};
use directory::{
    Accepted, Authority, AuthorityEvent, DescriptorRefused, DirectoryRefused, Network, Record,
    ReportRefused, SignedDescriptor, SignedDirectory, SignedReport, hex,
};
use runtime::clock::Clock;
use runtime::data_dir::DataDir;
use runtime::metrics::ReasonLabel;
use runtime::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use wire::ids::{DirectoryHash, Epoch};
use wire::time::{Instant, UnixTime};

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
    Report(
        Box<SignedReport>,
        oneshot::Sender<Result<Accepted, ReportRefused>>,
    ),
    /// The directory of an epoch, or the newest.
    Directory(Option<Epoch>, oneshot::Sender<Option<Found>>),
    Status(oneshot::Sender<Status>),
}

/// A message of another authority, and its place in that one's lane.
pub(crate) struct Ballotry {
    pub(crate) message: VoteMessage,
    pub(crate) answer: oneshot::Sender<Answered>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It is news, or known.
    Taken,
    /// It belongs to a vote that has not come here yet.
    Early,
    /// Why it does not count.
    Refused(String),
}

/// A directory to hand out.
pub(crate) struct Found {
    pub(crate) hash: DirectoryHash,
    pub(crate) document: Arc<[u8]>,
}

/// Where inputs come from.
pub(crate) struct Inputs {
    pub(crate) votes: mpsc::Receiver<Ballotry>,
    pub(crate) fetched: mpsc::Receiver<SignedDirectory>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

pub(crate) struct Eventloop<'a> {
    pub(crate) authority: Authority,
    pub(crate) network: Network,
    pub(crate) clock: Clock,
    pub(crate) dir: &'a DataDir,
    pub(crate) metrics: Metrics,
    pub(crate) peers: Peers,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) allow: allow::Watch,
    /// When the allow-list was last looked at.
    pub(crate) looked: Instant,
    /// Since when descriptors are here that are not on disk.
    pub(crate) unsaved: Option<Instant>,
    /// The last complaint about votes of a network without a directory, which come every few seconds.
    pub(crate) complaint: Option<(Epoch, AuthorityEvent)>,
}

impl Eventloop<'_> {
    pub(crate) async fn run(
        mut self,
        mut inputs: Inputs,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        loop {
            // 1. What the machine wants done, and said to others.
            while let Some(event) = self.authority.poll_event() {
                self.on_event(event).await;
            }
            self.transmit();
            self.peers.want(self.authority.wanted(self.clock.unix()));
            self.look_at_allow_list();
            self.show_counts();
            // 2. Wait for the first of: end, another authority, time, a request. In this order: strangers
            //    delay no vote.
            let wait = self.until_deadline();
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                Some(ballotry) = inputs.votes.recv() => self.on_vote(ballotry),
                Some(signed) = inputs.fetched.recv() => self.on_fetched(signed).await,
                () = tokio::time::sleep(wait) => {
                    self.authority.handle_timeout(self.clock.unix());
                }
                command = inputs.commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
            }
            // 3. Descriptors to disk, many at a time.
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

    /// `topology admit` and `topology ban` change it while this runs.
    fn look_at_allow_list(&mut self) {
        let now = self.clock.now();
        if now - self.looked < WAIT_MAX {
            return;
        }
        self.looked = now;
        let Some(list) = self.allow.look() else {
            return;
        };
        let taken = list.and_then(|list| {
            let expected = self.allow.expected(list.len());
            let unix = self.clock.unix();
            self.authority.handle_admitted(&list, expected, unix)?;
            Ok(list.len())
        });
        match taken {
            Ok(nodes) => tracing::info!(
                nodes,
                "the allow-list has changed; the next ballot goes by it"
            ),
            Err(error) => tracing::error!("the allow-list stays as it was: {error:#}"),
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
        if self.is_repeated(&event) {
            return;
        }
        let network = &self.network;
        match event {
            AuthorityEvent::Persist(record) => self.keep(record).await,
            AuthorityEvent::Published(epoch, hash) => {
                self.metrics.published.inc();
                let hash = hex::encode(&hash.0[..4]);
                let newest = self.authority.newest();
                let nodes = newest.map_or(0, |(d, _)| d.nodes().count());
                let marked = newest.map_or(0, |(d, _)| d.marks().len());
                tracing::info!(%epoch, hash, nodes, marked, "a directory is published");
                self.metrics.marked.set(gauge(marked as u64));
                if marked > 0 {
                    tracing::warn!(
                        %epoch, marked,
                        "mixes lose traffic by the loops of others, and clients avoid them; `status` names them: ask \
                         their operators"
                    );
                }
            }
            AuthorityEvent::Missing(epoch, who) => {
                self.metrics.missing.inc_by(who.len() as u64);
                news::missing(network, epoch, &who);
            }
            AuthorityEvent::Withheld(epoch, who) => {
                self.metrics.withheld.inc_by(who.len() as u64);
                news::withheld(network, epoch, &who);
            }
            AuthorityEvent::Equivocated(epoch, proof) => {
                self.metrics.equivocations.inc();
                news::equivocated(self.dir, network, epoch, &proof).await;
            }
            AuthorityEvent::SignedTwice(epoch, proof) => {
                self.metrics.equivocations.inc();
                news::signed_twice(self.dir, network, epoch, &proof).await;
            }
            AuthorityEvent::Blocked(epoch, why) => news::blocked(network, epoch, why),
            AuthorityEvent::TooFewNodes {
                epoch,
                mixes,
                gateways,
            } => news::too_few_nodes(epoch, mixes, gateways),
            AuthorityEvent::Failed { epoch, until } => {
                self.metrics.failed.inc();
                news::failed(epoch, until, self.clock.unix());
            }
        }
    }

    /// Votes that are held again and again complain once for each epoch.
    fn is_repeated(&mut self, event: &AuthorityEvent) -> bool {
        let epoch = match event {
            AuthorityEvent::Missing(epoch, _) | AuthorityEvent::Blocked(epoch, _) => *epoch,
            AuthorityEvent::Persist(_)
            | AuthorityEvent::Published(..)
            | AuthorityEvent::Withheld(..)
            | AuthorityEvent::Equivocated(..)
            | AuthorityEvent::SignedTwice(..)
            | AuthorityEvent::TooFewNodes { .. }
            | AuthorityEvent::Failed { .. } => return false,
        };
        if self.authority.vote().times().attempt == 0 {
            return false;
        }
        let before = self.complaint.replace((epoch, event.clone()));
        let same_kind = |old: &AuthorityEvent| match (old, event) {
            (AuthorityEvent::Missing(_, a), AuthorityEvent::Missing(_, b)) => a == b,
            // It follows from who is missing.
            (_, AuthorityEvent::Blocked(..)) => true,
            _ => false,
        };
        before.is_some_and(|(e, old)| e == epoch && same_kind(&old))
    }

    async fn keep(&mut self, record: Record) {
        match vault::write(self.dir, &record).await {
            Ok(()) => self.authority.handle_persisted(self.clock.unix()),
            Err(error) => {
                self.metrics.keep_failures.inc();
                tracing::error!(
                    %error, epoch = %record.epoch(),
                    "a signed directory cannot be kept, so it is not shown; trying again"
                );
                self.authority.handle_persist_failed(self.clock.unix());
            }
        }
    }

    fn transmit(&mut self) {
        let times = self.authority.vote().times();
        while let Some(message) = self.authority.poll_transmit() {
            let until = match &message {
                VoteMessage::Statement(_) => times.signatures(),
                VoteMessage::Signature(_) => times.end,
            };
            let until = self.clock.now() + until.saturating_since(self.clock.unix());
            let full = self.peers.send(&message, until);
            self.metrics.votes_not_sent.inc_by(full as u64);
        }
    }

    fn on_vote(&mut self, ballotry: Ballotry) {
        let now = self.clock.unix();
        let answered = match ballotry.message {
            VoteMessage::Statement(statement) => self.on_statement(statement, now),
            VoteMessage::Signature(signed) => {
                let ours = Some(self.authority.vote().epoch());
                if signed.epoch() > ours {
                    Answered::Early
                } else {
                    self.authority.handle_signature(signed, now);
                    Answered::Taken
                }
            }
        };
        if let Answered::Refused(why) = &answered {
            self.metrics.votes_refused.inc();
            tracing::debug!(why, "a statement does not count");
        }
        let _ = ballotry.answer.send(answered);
    }

    fn on_statement(&mut self, statement: Statement, now: UnixTime) -> Answered {
        // Votes that are over by now are left behind first.
        self.authority.handle_timeout(now);
        let vote = self.authority.vote();
        let theirs = (statement.epoch, statement.attempt);
        if theirs > (vote.epoch(), vote.times().attempt) {
            return Answered::Early;
        }
        match self.authority.handle_statement(statement, now) {
            Ok(_) => Answered::Taken,
            Err(why) => Answered::Refused(why.to_string()),
        }
    }

    async fn on_fetched(&mut self, signed: SignedDirectory) {
        match self
            .authority
            .handle_fetched(signed.clone(), self.clock.unix())
        {
            Ok(true) => tracing::info!("a directory is fetched from another authority"),
            Ok(false) => {}
            Err(DirectoryRefused::Conflicting(epoch)) => {
                news::conflicting(self.dir, epoch, &signed).await;
            }
            Err(why) => tracing::warn!("a directory of another authority is refused: {why}"),
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
            Command::Report(signed, answer) => {
                let result = self.authority.handle_report(*signed, self.clock.unix());
                match result {
                    Ok(Accepted::Stored) => {
                        self.metrics.reports.inc();
                    }
                    Ok(Accepted::Unchanged) => {}
                    Err(why) => tracing::debug!("a report on loops is refused: {why}"),
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
        let now = self.clock.unix();
        let newest = self.authority.newest().map(|(directory, _)| directory);
        let (nodes_admitted, nodes_with_descriptor, nodes_usable) = self.authority.counts();
        let vote = self.authority.vote();
        let left = |until: UnixTime| until.saturating_since(now).as_secs();
        Status {
            network_id: hex::encode(&self.network.id().0),
            epoch: self.network.schedule().epoch_at(now).0,
            newest_epoch: newest.map(|d| d.epoch.0),
            newest_hash: newest.map(|d| hex::encode(&d.hash().0)),
            valid_for_s: newest.map(|d| left(d.valid_until)),
            nodes_admitted,
            nodes_with_descriptor,
            nodes_usable,
            reports: self.authority.reports(),
            marked: newest.map_or_else(Vec::new, |d| {
                d.marks().keys().map(|id| hex::encode(&id.0)).collect()
            }),
            threshold: self.network.threshold(),
            vote: VoteStatus {
                epoch: vote.epoch().0,
                attempt: vote.times().attempt,
                phase: phase(vote.phase()).to_owned(),
                begins_in_s: left(vote.times().start),
                own_ballot: self.authority.has_voted(),
            },
            authorities: self.authorities(),
        }
    }

    fn authorities(&self) -> Vec<AuthorityStatus> {
        let heard = self.authority.vote().heard();
        let own = usize::from(self.authority.index());
        let one = |(i, authority): (usize, &directory::NetworkAuthority)| {
            let known = self.lanes.heard(i);
            AuthorityStatus {
                number: u16::try_from(i + 1).unwrap_or(u16::MAX),
                address: authority.address,
                own: i == own,
                voted: heard.iter().any(|h| usize::from(*h) == i),
                reached: self.peers.reached(i),
                heard_s: known.map(|h| (self.clock.now() - h.at).as_secs()),
                clock_ahead_ms: known.map(|h| h.ahead_ms),
            }
        };
        self.network
            .authorities()
            .iter()
            .enumerate()
            .map(one)
            .collect()
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
        // Not zero: nothing that fails may spin.
        wait.clamp(Duration::from_millis(1), WAIT_MAX)
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Ballots => "ballots",
        Phase::Reveals => "reveals",
        Phase::Signatures => "signatures",
        Phase::Decided => "decided",
        Phase::Failed => "failed",
    }
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
        DescriptorRefused::NotPublic(_) => "not_public",
    }
}
