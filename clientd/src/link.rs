//! Keeps the link to the entry gateway: dials, says `Hello`, reads; dials again after a random wait
//! whose mean depends on the network's rates and on nothing that anybody does with the client.
//!
//! The wait is random so that the end of an outage is not the moment at which all of a gateway's
//! clients come back: who makes gateways fail to find out through which one a client enters would
//! read that off the inboxes. Its mean is that of some ticks, so that a short outage looks like the
//! gaps that every inbox sees anyway.
//!
//! What is written is [`crate::uplink`]'s.

use crate::entry::{Entries, Entry, Newest};
use crate::gateway_clock::GatewayClock;
use runtime::clock::Clock;
use runtime::entropy::os_seed;
use runtime::link::{ClientTls, EntryLink, FrameReader, FrameWriter, LinkError};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use wire::frame::PacketBytes;
use wire::frame::{DirectoryPart, Frame};
use wire::ids::{NetworkId, NodeId, SessionAddress};
use wire::rng::{Purpose, TrafficRng};

/// Mean wait before dialling again, the first times: a network that just starts is there soon.
const FIRST_MEAN: Duration = Duration::from_millis(250);
/// How often that is.
const FIRST_TIMES: u64 = 8;
/// Mean wait ever after, in mean gaps of the payload stream,
const RECONNECT_TICKS: u32 = 20;
/// within these bounds; the shorter one also before the first directory.
const RECONNECT_MIN: Duration = Duration::from_secs(2);
const RECONNECT_MAX: Duration = Duration::from_secs(60);
/// A gateway sends at a constant rate; one that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A session address is presented again for so long after its link fell (design §5).
const SESSION_LIFE: Duration = Duration::from_secs(600);

/// What the loop hears of the link.
pub(crate) enum LinkEvent {
    /// It stands, at this gateway, with this address of ours there, and that is what its clock says.
    Up(Box<Entry>, SessionAddress, GatewayClock),
    /// It fell.
    Down,
    /// A packet came.
    Packet(PacketBytes),
}

/// Whom to dial, and how.
pub(crate) struct Dialler {
    pub(crate) tls: ClientTls,
    pub(crate) network: NetworkId,
    pub(crate) clock: Clock,
    pub(crate) entries: Entries,
    pub(crate) newest: Newest,
    pub(crate) session: SessionAddress,
    pub(crate) traffic: TrafficRng,
}

/// What a session address is good for: it links two connections, so never two gateways and never
/// two of our own networks (design §5).
#[derive(Default)]
struct Presented {
    to: Option<(NodeId, Option<IpAddr>)>,
    fell: Option<Instant>,
}

/// Where what comes goes to. When one of them is full, the link waits for room: the gateway's
/// frames come no faster than the downlink rate.
pub(crate) struct Outlets {
    pub(crate) clock: Clock,
    pub(crate) events: mpsc::Sender<LinkEvent>,
    pub(crate) parts: mpsc::Sender<DirectoryPart>,
    pub(crate) uplink: mpsc::Sender<Option<FrameWriter>>,
    /// The uplink's writer failed.
    pub(crate) broken: Arc<Notify>,
}

/// Why a task of the client ends: the others are gone.
struct Ended;

impl Dialler {
    /// Until the loop or the uplink is gone.
    pub(crate) async fn run(mut self, outlets: Outlets) {
        let mut attempt = 0;
        let mut presented = Presented::default();
        loop {
            match self.attempt(&mut presented).await {
                Ok((entry, link)) => {
                    tracing::info!("connected to the entry gateway");
                    let session = self.session.clone();
                    let Ok(error) = outlets.serve(entry, session, link).await else {
                        return;
                    };
                    presented.fell = Some(Instant::now());
                    tracing::info!(%error, "the link to the entry gateway fell");
                }
                Err(error) => tracing::info!(%error, "cannot connect to the entry gateway"),
            }
            attempt += 1;
            let mut draws = self.traffic.tick(Purpose::Reconnect, attempt);
            let mean = if attempt <= FIRST_TIMES {
                FIRST_MEAN
            } else {
                self.reconnect_mean()
            };
            tokio::time::sleep(draws.draw_exponential(mean)).await;
        }
    }

    async fn attempt(&mut self, presented: &mut Presented) -> Result<(Entry, EntryLink), String> {
        let unix = self.clock.unix();
        let entry = self.entries.current(unix).map_err(|e| e.to_string())?;
        let place = (entry.id, self.own_address(&entry));
        let expired = presented.fell.is_some_and(|f| f.elapsed() > SESSION_LIFE);
        if expired || presented.to.is_some_and(|before| before != place) {
            self.renew_session();
        }
        *presented = Presented {
            to: Some(place),
            fell: presented.fell.filter(|_| !expired),
        };
        match self.dial(&entry).await {
            Ok(link) => {
                self.entries.handle_connected();
                Ok((entry, link))
            }
            Err(error) => {
                let now = self.clock.now();
                let kept = self.entries.handle_failed(now, unix);
                Err(kept.map_or_else(|e| e.to_string(), |()| error.to_string()))
            }
        }
    }

    /// The local address that the system would dial from; asks it without sending anything.
    fn own_address(&self, entry: &Entry) -> Option<IpAddr> {
        let to = entry.addresses.first()?;
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|own| own.ip())
    }

    fn reconnect_mean(&self) -> Duration {
        let newest = self.newest.borrow();
        let gap = newest
            .as_ref()
            .map(|d| d.parameters.payload_rate.mean_gap());
        let mean = gap.map_or(RECONNECT_MIN, |gap| gap.saturating_mul(RECONNECT_TICKS));
        mean.clamp(RECONNECT_MIN, RECONNECT_MAX)
    }

    /// The gateway has forgotten the old address, or nobody shall link the two connections.
    fn renew_session(&mut self) {
        match os_seed() {
            Ok(seed) => self.session = SessionAddress::from_random(*seed),
            Err(error) => tracing::warn!(%error, "no randomness; the session address stays"),
        }
    }

    async fn dial(&self, entry: &Entry) -> Result<EntryLink, LinkError> {
        let mut last = LinkError::Closed;
        for address in &entry.addresses {
            let session = self.session.clone();
            let dialled = self
                .tls
                .dial(*address, &entry.identity, self.network, session);
            match dialled.await {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Outlets {
    async fn serve(
        &self,
        entry: Entry,
        session: SessionAddress,
        link: EntryLink,
    ) -> Result<LinkError, Ended> {
        let theirs = GatewayClock::new(link.time, link.took, self.clock.now());
        let over = self.time_left(&entry);
        // Of an earlier link.
        let _ = tokio::time::timeout(Duration::ZERO, self.broken.notified()).await;
        self.uplink
            .send(Some(link.writer))
            .await
            .map_err(|_| Ended)?;
        self.events
            .send(LinkEvent::Up(Box::new(entry), session, theirs))
            .await
            .map_err(|_| Ended)?;
        let error = tokio::select! {
            error = self.read(link.reader) => error?,
            () = tokio::time::sleep(over) => LinkError::Closed,
        };
        self.uplink.send(None).await.map_err(|_| Ended)?;
        self.events.send(LinkEvent::Down).await.map_err(|_| Ended)?;
        Ok(error)
    }

    /// How long the entry gateway may still be the entry.
    fn time_left(&self, entry: &Entry) -> Duration {
        let left = entry
            .guard
            .map(|g| g.until.saturating_since(self.clock.unix()));
        // tokio's timer takes about two years.
        left.unwrap_or(Duration::MAX)
            .min(Duration::from_secs(366 * 86_400))
    }

    async fn read(&self, mut reader: FrameReader) -> Result<LinkError, Ended> {
        loop {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                () = self.broken.notified() => Err(LinkError::Broken),
                () = tokio::time::sleep(SILENCE_MAX) => Err(LinkError::Stalled),
            };
            match frame {
                Ok(Frame::Packet(_, packet)) => {
                    let event = LinkEvent::Packet(packet);
                    self.events.send(event).await.map_err(|_| Ended)?;
                }
                Ok(Frame::DirectoryPart(part)) => {
                    self.parts.send(part).await.map_err(|_| Ended)?;
                }
                // The reader lets no second Hello through.
                Ok(Frame::Dummy | Frame::Hello(_)) => {}
                Err(error) => return Ok(error),
            }
        }
    }
}
