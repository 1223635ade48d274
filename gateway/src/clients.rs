//! The listener for clients: anonymous, limited, and without any effect on when frames leave.
//!
//! Each connection has one task that reads; it is written by the thread of [`crate::downlink`]. What is read goes
//! to the loop without a word about whose it is: a packet's way does not depend on the session it came over.

use crate::allowance::Allowance;
use crate::downlink::{Downlink, Writers};
use mizzle_core::hop::{Received, Source};
use runtime::clock::Clock;
use runtime::inbound::{InboundCounters, InboundLimits, accept_loop};
use runtime::link::{ClientLink, ClientListenerTls, FrameReader};
use runtime::node::listener::{receive, silence};
use runtime::shutdown::Shutdown;
use runtime::stages::{Stage, Stages};
use runtime::unwrap_pool::Lanes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::ids::{NetworkId, SessionAddress};
use wire::time::Instant;

/// A client that is silent so long, or twice as long at most, is gone: its streams pause for a tenth of
/// this once in millions of years at the lowest rates.
const SILENCE: Duration = Duration::from_secs(150);
/// A client may be ahead of its rate by so much.
const BURST: Duration = Duration::from_secs(2);

/// What the loop hears of connections.
pub enum ClientEvent {
    /// A client connected and said its address.
    Connected {
        /// Its address.
        session: SessionAddress,
        /// Tells this connection from later ones of the same session.
        connection: u64,
        /// The way back.
        downlink: Downlink,
    },
    /// The connection ended.
    Disconnected {
        /// As it connected.
        session: SessionAddress,
        /// As it connected.
        connection: u64,
    },
}

/// What the listener needs.
#[derive(Clone)]
pub struct ClientListener {
    /// Proves who we are.
    pub tls: ClientListenerTls,
    /// Of which network.
    pub network: NetworkId,
    /// Where packets go.
    pub lanes: Lanes,
    /// Where connections are told; full, it makes clients wait.
    pub events: mpsc::Sender<ClientEvent>,
    /// Stamps packets.
    pub clock: Clock,
    /// Counts what reading costs.
    pub stages: Stages,
    /// How much one client may send.
    pub allowance: Allowance,
    /// Where they are written.
    pub writers: Writers,
    /// Connections so far.
    pub connections: Arc<AtomicU64>,
}

impl ClientListener {
    /// Accepts on all `listeners` until `shutdown`.
    pub fn start(
        self,
        listeners: Vec<TcpListener>,
        limits: &InboundLimits,
        shutdown: &Shutdown,
        tasks: &mut JoinSet<()>,
    ) {
        for listener in listeners {
            let (shaking, serving) = (self.clone(), self.clone());
            tasks.spawn(accept_loop(
                listener,
                limits.clone(),
                Arc::new(InboundCounters::default()),
                shutdown.clone(),
                move |tcp: TcpStream| {
                    let this = shaking.clone();
                    async move { this.tls.accept(tcp, this.network).await }
                },
                move |link: ClientLink, _from| serving.clone().serve(link),
            ));
        }
    }

    async fn serve(self, link: ClientLink) {
        let ClientLink {
            session,
            reader,
            writer,
        } = link;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let (downlink, frames) = Downlink::new();
        let connected = ClientEvent::Connected {
            session: session.clone(),
            connection,
            downlink: downlink.clone(),
        };
        if self.events.send(connected).await.is_err() {
            return;
        }
        let heard = AtomicBool::new(true);
        let mut writing = self.writers.start(writer, frames);
        tokio::select! {
            () = self.read(reader, &heard) => {}
            () = silence(&heard, SILENCE) => tracing::debug!("a client fell silent"),
            ended = writing.join_next() => {
                if let Some(Ok(Err(error))) = ended {
                    tracing::debug!(%error, "a client does not read");
                }
            }
            () = downlink.closed() => tracing::debug!("a client is turned away"),
        }
        let disconnected = ClientEvent::Disconnected {
            session,
            connection,
        };
        let _ = self.events.send(disconnected).await;
    }

    async fn read(&self, mut reader: FrameReader, heard: &AtomicBool) {
        reader.measure(self.stages.turns(Stage::Read));
        let mut deliver = (self.lanes)();
        let mut pace = Pace::default();
        let (mut frames, mut packets) = (Vec::new(), Vec::new());
        loop {
            let ended = reader.read_many(&mut frames).await.err();
            heard.store(true, Ordering::Relaxed);
            let received_at = self.clock.instant_of_std(reader.arrived());
            let order = receive(&mut frames, &mut packets, |hint, packet| Received {
                hint,
                packet,
                received_at,
                source: Source::Client,
            });
            let ahead = pace.take(packets.len(), self.allowance.gap(), received_at);
            deliver(&mut packets);
            if let Some(error) = ended {
                tracing::debug!(%error, "a client's link ended");
                return;
            }
            if !order {
                tracing::debug!("a client sent a frame that clients do not send");
                return;
            }
            if ahead > Duration::ZERO {
                tokio::time::sleep(ahead).await;
            }
        }
    }
}

/// How far a client is ahead of its rate.
#[derive(Default)]
struct Pace {
    /// When what was sent so far would have been sent at the full rate.
    paid_until: Instant,
}

impl Pace {
    /// Some more packets, each of which is allowed so long after the one before; how long to wait before
    /// the next are read.
    fn take(&mut self, packets: usize, gap: Duration, now: Instant) -> Duration {
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        self.paid_until = self.paid_until.max(now) + gap.saturating_mul(packets);
        (self.paid_until - now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_at_its_rate_never_waits_and_a_flood_does() {
        let second = Duration::from_secs(1);
        let gap = second / 10;
        let mut now = Instant::ZERO + second;
        let mut pace = Pace::default();
        for _ in 0..1000 {
            assert_eq!(pace.take(1, gap, now), Duration::ZERO);
            now += gap;
        }
        // At once, 20 packets are within the burst of two seconds; the next one is not.
        let mut pace = Pace::default();
        assert!((0..20).all(|_| pace.take(1, gap, now) == Duration::ZERO));
        assert_eq!(pace.take(1, gap, now), gap);
    }
}
