//! The listener for nodes: who may knock, and the frames they send.
//!
//! A peer must be a node of the layer before ours in a directory that is held; it is let go when it
//! is in none any more. Handshakes are tasks like others; a link that stands is read by one thread
//! ([`super::readers`]), which gives packets to the threads that unwrap. The listener for clients is the gateway's own.

use crate::clock::Clock;
use crate::http;
use crate::inbound::{InboundCounters, InboundLimits, accept_loop};
use crate::link::{FrameReader, NodeLink, NodeTls};
use crate::node::readers::{self, Readers};
use crate::shutdown::Shutdown;
use crate::stages::{Stage, Stages};
use crate::unwrap_pool::Lanes;
use mizzle_core::hop::{Received, Source};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{EpochHint, NetworkId};
use wire::keys::IdentityPublic;

/// How long a peer's handshake waits for our first directory.
const FIRST_DIRECTORY: Duration = Duration::from_secs(2);

/// A node that says nothing for this long, or for twice as long at most, is let go: its own loops
/// alone are many packets a minute at the lowest rates.
const SILENCE: Duration = Duration::from_secs(150);

/// Links of one peer: the one in use, and one that a broken connection left behind. A third ends the
/// first, so that nobody has more turns than others by having more links.
const LINKS_PER_PEER: usize = 2;

/// Links that stand, by peer; the oldest of each first.
type Links = Arc<Mutex<BTreeMap<IdentityPublic, VecDeque<Arc<Notify>>>>>;

/// Who may connect now; written by the loop whenever a directory comes.
pub type Allowed = watch::Receiver<Arc<BTreeSet<IdentityPublic>>>;

/// What the listener for nodes needs.
#[derive(Clone)]
pub struct NodeListener {
    /// Proves who we are.
    pub tls: NodeTls,
    /// Of which network.
    pub network: NetworkId,
    /// Who may connect.
    pub allowed: Allowed,
    /// Where links are read.
    pub readers: Readers,
    /// Where packets go.
    pub lanes: Lanes,
    /// Stamps them.
    pub clock: Clock,
    /// Counts what reading costs.
    pub stages: Stages,
}

/// Binds every address, or says what to change.
pub async fn bind_all(addresses: &[SocketAddr]) -> std::io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(http::bind(*address).await?);
    }
    Ok(listeners)
}

/// The addresses to announce: the configured ones, or where the listeners really are.
pub fn announced(
    configured: &[SocketAddr],
    listeners: &[TcpListener],
) -> std::io::Result<Vec<SocketAddr>> {
    if !configured.is_empty() {
        return Ok(configured.to_vec());
    }
    listeners.iter().map(TcpListener::local_addr).collect()
}

impl NodeListener {
    /// Accepts on all `listeners` until `shutdown`.
    pub fn start(
        self,
        listeners: Vec<TcpListener>,
        limits: &InboundLimits,
        counters: &Arc<InboundCounters>,
        shutdown: &Shutdown,
        tasks: &mut JoinSet<()>,
    ) {
        let links = Links::default();
        for listener in listeners {
            let (shaking, serving, links) = (self.clone(), self.clone(), links.clone());
            tasks.spawn(accept_loop(
                listener,
                limits.clone(),
                counters.clone(),
                shutdown.clone(),
                move |tcp: TcpStream| {
                    let this = shaking.clone();
                    async move {
                        let allowed = this.allowed_soon().await;
                        let allow = |peer: &IdentityPublic| allowed.contains(peer);
                        this.tls.accept(tcp, this.network, allow).await
                    }
                },
                move |link: NodeLink, _from| {
                    let (this, links) = (serving.clone(), links.clone());
                    let readers = this.readers.clone();
                    async move { readers.run(this.serve(link, links)).await }
                },
            ));
        }
    }

    /// Who may connect; in a node's first seconds, when its own first directory may be a moment
    /// later than the peer's, waits for that instead of turning the peer away.
    async fn allowed_soon(&self) -> Arc<BTreeSet<IdentityPublic>> {
        let mut allowed = self.allowed.clone();
        let known = allowed.wait_for(|all| !all.is_empty());
        let _ = tokio::time::timeout(FIRST_DIRECTORY, known).await;
        self.allowed.borrow().clone()
    }

    async fn serve(self, link: NodeLink, links: Links) {
        let link = match link.take_over() {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(%error, "a peer's link is lost between two threads");
                return;
            }
        };
        // The other half stays open: dropping it would close our side of the connection.
        let NodeLink {
            peer,
            reader,
            writer: _writer,
        } = link;
        let place = Place::take(links, peer);
        let mut allowed = self.allowed.clone();
        let gone = async {
            // An error means that the loop has ended, and with it all links.
            let _ = allowed.wait_for(|all| !all.contains(&peer)).await;
        };
        let heard = AtomicBool::new(true);
        tokio::select! {
            () = self.read(reader, &heard) => {}
            () = silence(&heard, SILENCE) => tracing::debug!("a peer fell silent"),
            () = place.end.notified() => tracing::debug!("a peer has a newer link"),
            () = gone => tracing::debug!("a peer left the directory; its link is closed"),
        }
    }

    async fn read(&self, mut reader: FrameReader, heard: &AtomicBool) {
        reader.measure(self.stages.turns(Stage::Read));
        let mut deliver = (self.lanes)();
        let (mut frames, mut packets) = (Vec::new(), Vec::new());
        loop {
            let ended = reader.read_many(&mut frames).await.err();
            heard.store(true, Ordering::Relaxed);
            let received_at = self.clock.instant_of_std(reader.arrived());
            let order = receive(&mut frames, &mut packets, |hint, packet| Received {
                hint,
                packet,
                received_at,
                source: Source::Node,
            });
            deliver(&mut packets);
            readers::breathe();
            if let Some(error) = ended {
                tracing::debug!(%error, "a peer's link ended");
                return;
            }
            if !order {
                tracing::debug!("a peer sent a frame that does not belong between nodes");
                return;
            }
        }
    }
}

/// One link's place among those of its peer.
struct Place {
    links: Links,
    peer: IdentityPublic,
    end: Arc<Notify>,
}

impl Place {
    fn take(links: Links, peer: IdentityPublic) -> Self {
        let end = Arc::new(Notify::new());
        {
            let mut all = lock(&links);
            let of_peer = all.entry(peer).or_default();
            of_peer.push_back(end.clone());
            if of_peer.len() > LINKS_PER_PEER
                && let Some(oldest) = of_peer.pop_front()
            {
                oldest.notify_one();
            }
        }
        Self { links, peer, end }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = lock(&self.links);
        if let Some(of_peer) = all.get_mut(&self.peer) {
            of_peer.retain(|end| !Arc::ptr_eq(end, &self.end));
            if of_peer.is_empty() {
                all.remove(&self.peer);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when nothing was `heard` for `limit`, or for twice as long at most. A frame costs it
/// nothing, and a peer that never finishes one is silent.
pub async fn silence(heard: &AtomicBool, limit: Duration) {
    while heard.swap(false, Ordering::Relaxed) {
        tokio::time::sleep(limit).await;
    }
}

/// Moves packets over; false, and the rest is dropped, when something else is among them.
pub fn receive(
    frames: &mut Vec<Frame>,
    packets: &mut Vec<Received>,
    stamp: impl Fn(EpochHint, PacketBytes) -> Received,
) -> bool {
    for frame in frames.drain(..) {
        match frame {
            Frame::Packet(hint, packet) => packets.push(stamp(hint, packet)),
            Frame::Dummy | Frame::Hello(_) | Frame::DirectoryPart(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
