//! A gateway's clients: a constant-rate downlink for each.
//!
//! Frames leave at `first slot + k · period` and at no other time; what fills a slot (a reply, a
//! piece of the directory, a dummy) is decided a constant lead before it, so that deciding never
//! shows.

use super::DirectoryDocument;
use crate::transmit::{Peer, Transmit};
use directory::Rate;
use sphinx::DiscardReason;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::frame::{DirectoryPart, Frame, PacketBytes};
use wire::ids::{EpochHint, SessionAddress};
use wire::time::Instant;

/// Limits for clients.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// Most sessions, lingering ones included; one more client is turned away.
    pub sessions_max: usize,
    /// Most replies that wait for a slot of one session; the oldest makes room, counted as
    /// `DownlinkFull`.
    pub queue_max: usize,
    /// How long a session outlives its connection, so that replies in flight survive a reconnect.
    pub linger: Duration,
    /// A slot is filled so long before its moment.
    pub lead: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            sessions_max: 10_000,
            queue_max: 64,
            linger: Duration::from_secs(600),
            lead: Duration::from_millis(5),
        }
    }
}

struct Session {
    connected: bool,
    /// Next slot, while connected.
    next: Instant,
    /// When something is to be done about it: a lead before the slot; the end of the lingering.
    deadline: Instant,
    replies: VecDeque<PacketBytes>,
    /// Pieces of a directory still to be sent.
    parts: VecDeque<Frame>,
    part_last: bool,
}

/// Those of this and the next epoch, and one that is late.
const PUSHES_MAX: usize = 3;

/// Parts of one directory, cut once for all sessions.
struct Push {
    /// When it goes to all sessions.
    at: Instant,
    /// Start of its epoch.
    holds: Instant,
    /// Whether it has gone.
    gone: bool,
    parts: Arc<[Frame]>,
}

/// All sessions of one gateway.
pub struct Sessions {
    limits: SessionLimits,
    period: Option<Duration>,
    by_address: BTreeMap<SessionAddress, Session>,
    deadlines: BTreeSet<(Instant, SessionAddress)>,
    /// Directories that are not superseded, in the order they came; at most [`PUSHES_MAX`], and
    /// one more makes the oldest go.
    pushes: VecDeque<Push>,
    transmits: VecDeque<Transmit>,
}

impl Sessions {
    /// Empty.
    pub fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            period: None,
            by_address: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            pushes: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// Pushes a directory, which holds from `holds` on, to all sessions from `at` on.
    pub fn handle_directory(
        &mut self,
        document: &DirectoryDocument,
        rate: Rate,
        (holds, at): (Instant, Instant),
    ) {
        self.period = Some(rate.mean_gap());
        let directory = &document.directory;
        let parts = DirectoryPart::cut(directory.hash(), directory.epoch, &document.bytes);
        let frames = parts
            .unwrap_or_default()
            .into_iter()
            .map(Frame::DirectoryPart);
        self.pushes.push_back(Push {
            at,
            holds,
            gone: false,
            parts: frames.collect(),
        });
        if self.pushes.len() > PUSHES_MAX {
            self.pushes.pop_front();
        }
    }

    /// Starts the pushes whose moment has come, and forgets directories that another one has
    /// taken the place of.
    fn start_pushes(&mut self, now: Instant) {
        for push in self.pushes.iter_mut().filter(|p| !p.gone && p.at <= now) {
            push.gone = true;
            for session in self.by_address.values_mut().filter(|s| s.connected) {
                session.parts.extend(push.parts.iter().cloned());
            }
        }
        let holding = |p: &Push| p.gone && p.holds <= now;
        let held_since = self
            .pushes
            .iter()
            .filter(|p| holding(p))
            .map(|p| p.holds)
            .max();
        self.pushes
            .retain(|p| held_since.is_none_or(|since| p.holds >= since));
    }

    /// See `Gateway::handle_connected`. Until the first directory there is no rate to send at, so
    /// nobody is let in.
    pub fn handle_connected(&mut self, address: SessionAddress, now: Instant) -> bool {
        let Some(period) = self.period else {
            return false;
        };
        self.start_pushes(now);
        let known = self.by_address.remove(&address);
        if known.is_none() && self.by_address.len() >= self.limits.sessions_max {
            return false;
        }
        let replies = known.map_or_else(VecDeque::new, |old| {
            self.deadlines.remove(&(old.deadline, address.clone()));
            old.replies
        });
        let next = now + self.limits.lead + period;
        let deadline = now + period;
        // A client that connects gets what others have been given, whether it has it or not: the
        // directory that holds, and towards the end of an epoch the next one too.
        let given = self.pushes.iter().filter(|p| p.gone);
        let parts = given.flat_map(|p| p.parts.iter().cloned()).collect();
        self.deadlines.insert((deadline, address.clone()));
        let session = Session {
            connected: true,
            next,
            deadline,
            replies,
            parts,
            part_last: false,
        };
        self.by_address.insert(address, session);
        true
    }

    /// See `Gateway::handle_disconnected`.
    pub fn handle_disconnected(&mut self, address: &SessionAddress, now: Instant) {
        let Some(session) = self.by_address.get_mut(address) else {
            return;
        };
        self.deadlines.remove(&(session.deadline, address.clone()));
        session.connected = false;
        session.parts.clear();
        session.deadline = now + self.limits.linger;
        self.deadlines.insert((session.deadline, address.clone()));
    }

    /// A reply for a client, connected or lingering.
    pub fn enqueue(
        &mut self,
        address: &SessionAddress,
        packet: PacketBytes,
    ) -> Result<(), DiscardReason> {
        let session = self
            .by_address
            .get_mut(address)
            .ok_or(DiscardReason::UnknownSession)?;
        session.replies.push_back(packet);
        if session.replies.len() > self.limits.queue_max {
            session.replies.pop_front();
            return Err(DiscardReason::DownlinkFull);
        }
        Ok(())
    }

    /// Fills the slots whose lead has begun, ends lingering sessions, starts a directory's push.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.start_pushes(now);
        let Some(period) = self.period else { return };
        while let Some((deadline, address)) = self.deadlines.first().cloned()
            && deadline <= now
        {
            self.deadlines.remove(&(deadline, address.clone()));
            let Some(session) = self.by_address.get_mut(&address) else {
                continue;
            };
            if !session.connected {
                self.by_address.remove(&address);
                continue;
            }
            let (at, frame) = (session.next, session.fill());
            // After a pause of the whole process, slots are passed over, not caught up.
            let late = now.saturating_since(at);
            let missed = late.as_nanos().checked_div(period.as_nanos()).unwrap_or(0);
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            session.next = at + period.saturating_mul(missed.saturating_add(1));
            session.deadline = session.next.saturating_sub(self.limits.lead);
            self.deadlines.insert((session.deadline, address.clone()));
            self.transmits.push_back(Transmit {
                to: Peer::Session(address),
                at,
                frame,
            });
        }
    }

    /// A filled slot.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// When the next slot is to be filled, a lingering session ends, or a push starts.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let session = self.deadlines.first().map(|(at, _)| *at);
        let pushes = self.pushes.iter().filter(|p| !p.gone).map(|p| p.at);
        session.into_iter().chain(pushes).min()
    }

    /// How many clients are connected.
    pub fn connected(&self) -> usize {
        self.by_address.values().filter(|s| s.connected).count()
    }
}

impl Session {
    /// Replies and pieces of the directory take turns, so that neither starves the other.
    fn fill(&mut self) -> Frame {
        let part_first = !self.part_last || self.replies.is_empty();
        if part_first && let Some(part) = self.parts.pop_front() {
            self.part_last = true;
            return part;
        }
        self.part_last = false;
        match self.replies.pop_front() {
            Some(packet) => Frame::Packet(EpochHint(0), packet),
            None => Frame::Dummy,
        }
    }
}
