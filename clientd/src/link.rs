//! Keeps the link to the entry gateway: dials, says `Hello`, reads; dials again after a random wait
//! whose mean depends on how often it dialled and on nothing that anybody does with the client.
//!
//! What is written is [`crate::uplink`]'s.

use runtime::entropy::os_seed;
use runtime::link::{ClientTls, FrameReader, FrameWriter, LinkError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};
use wire::frame::PacketBytes;
use wire::frame::{DirectoryPart, Frame};
use wire::ids::{NetworkId, SessionAddress};
use wire::keys::IdentityPublic;
use wire::rng::{Purpose, TrafficRng};

/// Mean wait before dialling again, the first times: a network that just starts is there soon.
const FIRST_MEAN: Duration = Duration::from_millis(250);
/// How often that is.
const FIRST_TIMES: u64 = 8;
/// Mean wait ever after.
const RECONNECT_MEAN: Duration = Duration::from_secs(2);
/// A gateway sends at a constant rate; one that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A session address is presented again for so long after its link fell (design §5).
const SESSION_LIFE: Duration = Duration::from_secs(600);

/// What the loop hears of the link.
pub(crate) enum LinkEvent {
    /// It stands, with this address of ours at the gateway.
    Up(SessionAddress),
    /// It fell.
    Down,
    /// A packet came.
    Packet(PacketBytes),
}

/// Whom to dial, and how.
pub(crate) struct Dialler {
    pub(crate) tls: ClientTls,
    pub(crate) network: NetworkId,
    pub(crate) identity: IdentityPublic,
    /// Where; the directory may change it.
    pub(crate) addresses: watch::Receiver<Vec<SocketAddr>>,
    pub(crate) session: SessionAddress,
    pub(crate) traffic: TrafficRng,
}

/// Where what comes goes to. When one of them is full, the link waits for room: the gateway's
/// frames come no faster than the downlink rate.
pub(crate) struct Outlets {
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
        let mut fell: Option<Instant> = None;
        loop {
            if fell.is_some_and(|fell| fell.elapsed() > SESSION_LIFE) {
                self.renew_session();
                fell = None;
            }
            match self.dial().await {
                Ok((reader, writer)) => {
                    tracing::info!("connected to the entry gateway");
                    let session = self.session.clone();
                    let Ok(error) = outlets.serve(session, reader, writer).await else {
                        return;
                    };
                    fell = Some(Instant::now());
                    tracing::info!(%error, "the link to the entry gateway fell");
                }
                Err(error) => tracing::info!(%error, "cannot connect to the entry gateway"),
            }
            attempt += 1;
            let mut draws = self.traffic.tick(Purpose::Reconnect, attempt);
            let mean = if attempt <= FIRST_TIMES {
                FIRST_MEAN
            } else {
                RECONNECT_MEAN
            };
            tokio::time::sleep(draws.draw_exponential(mean)).await;
        }
    }

    /// The gateway has forgotten the old address, and nobody shall link the two connections.
    fn renew_session(&mut self) {
        match os_seed() {
            Ok(seed) => self.session = SessionAddress::from_random(*seed),
            Err(error) => tracing::warn!(%error, "no randomness; the session address stays"),
        }
    }

    async fn dial(&self) -> Result<(FrameReader, FrameWriter), LinkError> {
        let addresses = self.addresses.borrow().clone();
        let mut last = LinkError::Closed;
        for address in addresses {
            let session = self.session.clone();
            match self
                .tls
                .dial(address, &self.identity, self.network, session)
                .await
            {
                Ok(link) => return Ok((link.reader, link.writer)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Outlets {
    async fn serve(
        &self,
        session: SessionAddress,
        reader: FrameReader,
        writer: FrameWriter,
    ) -> Result<LinkError, Ended> {
        // Of an earlier link.
        let _ = tokio::time::timeout(Duration::ZERO, self.broken.notified()).await;
        self.uplink.send(Some(writer)).await.map_err(|_| Ended)?;
        self.events
            .send(LinkEvent::Up(session))
            .await
            .map_err(|_| Ended)?;
        let error = self.read(reader).await?;
        self.uplink.send(None).await.map_err(|_| Ended)?;
        self.events.send(LinkEvent::Down).await.map_err(|_| Ended)?;
        Ok(error)
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
