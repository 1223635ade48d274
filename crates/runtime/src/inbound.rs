//! Accepts connections with limits: how many stand, how many shake hands, how many an address has.
//!
//! What a connection is shaken into is the caller's: see [`accept_loop`]. Whatever is over a limit
//! is closed at once, before any public-key work. Only handshakes make room for each other: one more
//! than the limit ends the one that has taken longest. An honest handshake takes some round trips, so
//! whoever wants to keep others out must open hundreds of connections in the time of one of them, and
//! not hundreds in five seconds.

use crate::link::LinkError;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

/// How long to wait when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of one listener.
#[derive(Clone, Debug)]
pub struct InboundLimits {
    /// Connections at a time, those that shake hands included.
    pub connections_max: usize,
    /// Handshakes at a time; one more ends the oldest.
    pub handshakes_max: usize,
    /// Connections at a time from one IPv4 address or one IPv6 /64.
    pub per_address_max: usize,
}

impl Default for InboundLimits {
    /// 4096 connections, 256 handshakes, 4096 from one address.
    fn default() -> Self {
        Self {
            connections_max: 4096,
            handshakes_max: 256,
            per_address_max: 4096,
        }
    }
}

/// What a listener counted since it began.
#[derive(Default, Debug)]
pub struct InboundCounters {
    /// Connections whose handshake succeeded.
    pub accepted: AtomicU64,
    /// Connections closed at once because of a limit.
    pub refused: AtomicU64,
    /// Handshakes ended for a newer one's sake.
    pub displaced: AtomicU64,
    /// Connections whose handshake failed.
    pub failed: AtomicU64,
}

/// Accepts until `shutdown`. For each connection `handshake` is run under the limit on handshakes,
/// and what it made is given to `serve`, whose end closes the connection.
///
/// Returns when the listener is closed and every connection's task has been dropped.
pub async fn accept_loop<L, H, HF, S, SF>(
    listener: TcpListener,
    limits: InboundLimits,
    counters: Arc<InboundCounters>,
    shutdown: Shutdown,
    handshake: H,
    serve: S,
) where
    L: Send + 'static,
    H: Fn(TcpStream) -> HF + Clone + Send + 'static,
    HF: Future<Output = Result<L, LinkError>> + Send + 'static,
    S: Fn(L, SocketAddr) -> SF + Clone + Send + 'static,
    SF: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let handshakes = Handshakes::default();
    let addresses = PerAddress::new(limits.per_address_max);
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
            // Takes ended tasks out of the set.
            Some(_) = tasks.join_next() => continue,
        };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permits = (
            connections.clone().try_acquire_owned(),
            addresses.try_acquire(from.ip()),
        );
        let (Ok(connection), Some(address)) = permits else {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (shaking, displaced) = handshakes.begin(limits.handshakes_max);
        if displaced {
            counters.displaced.fetch_add(1, Ordering::Relaxed);
        }
        let (handshake, serve, counters) = (handshake.clone(), serve.clone(), counters.clone());
        tasks.spawn(async move {
            let _held = (connection, address);
            let shaken = tokio::select! {
                shaken = handshake(tcp) => shaken,
                () = shaking.displaced() => Err(LinkError::HandshakeTimeout),
            };
            match shaken {
                Ok(link) => {
                    drop(shaking);
                    counters.accepted.fetch_add(1, Ordering::Relaxed);
                    serve(link, from).await;
                }
                Err(error) => {
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%error, "a connection did not get through its handshake");
                }
            }
        });
    }
    drop(listener);
    tasks.shutdown().await;
}

/// Handshakes under way, oldest first.
#[derive(Clone, Default)]
struct Handshakes(Arc<Mutex<Underway>>);

#[derive(Default)]
struct Underway {
    begun: u64,
    handshakes: BTreeMap<u64, Arc<Notify>>,
}

/// One of them; dropped when it is done.
struct Shaking {
    all: Handshakes,
    number: u64,
    end: Arc<Notify>,
}

impl Handshakes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Underway> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; and whether the oldest had to end for it.
    fn begin(&self, most: usize) -> (Shaking, bool) {
        let mut underway = self.lock();
        let full = underway.handshakes.len() >= most.max(1);
        if full && let Some((_, oldest)) = underway.handshakes.pop_first() {
            oldest.notify_one();
        }
        underway.begun += 1;
        let (number, end) = (underway.begun, Arc::new(Notify::new()));
        underway.handshakes.insert(number, end.clone());
        let all = self.clone();
        (Shaking { all, number, end }, full)
    }
}

impl Shaking {
    async fn displaced(&self) {
        self.end.notified().await;
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.all.lock().handshakes.remove(&self.number);
    }
}

/// Counts connections by address; at most `connections_max` entries.
#[derive(Clone)]
struct PerAddress {
    max: usize,
    counts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

struct AddressPermit {
    of: IpAddr,
    counts: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl PerAddress {
    fn new(max: usize) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    fn try_acquire(&self, address: IpAddr) -> Option<AddressPermit> {
        let of = prefix(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&of).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        counts.insert(of, count + 1);
        Some(AddressPermit {
            of,
            counts: self.counts.clone(),
        })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get(&self.of).copied() {
            Some(count) if count > 1 => {
                counts.insert(self.of, count - 1);
            }
            Some(_) | None => {
                counts.remove(&self.of);
            }
        }
    }
}

/// An IPv4 address, or the /64 that one IPv6 customer has.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_held_to_its_share_and_forgotten_after() {
        let limit = PerAddress::new(2);
        let (a, b) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let first = limit.try_acquire(a).unwrap();
        let _second = limit.try_acquire(b).unwrap();
        assert!(limit.try_acquire(a).is_none());
        assert!(limit.try_acquire("192.0.2.1".parse().unwrap()).is_some());
        drop(first);
        assert!(limit.try_acquire(a).is_some());
        assert_eq!(limit.counts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_does_not_shake_hands_makes_room_for_whoever_does() {
        use tokio::io::AsyncReadExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = InboundLimits {
            handshakes_max: 2,
            ..InboundLimits::default()
        };
        let counters = Arc::new(InboundCounters::default());
        let shutdown = Shutdown::manual();
        // A handshake is one byte.
        let shake = |mut tcp: TcpStream| async move {
            tcp.read_exact(&mut [0]).await?;
            Ok(tcp)
        };
        let served = accept_loop(
            listener,
            limits,
            counters.clone(),
            shutdown.clone(),
            shake,
            |tcp, _from| async move {
                let _held = tcp;
                std::future::pending::<()>().await;
            },
        );
        let task = tokio::spawn(served);
        let mut idle = Vec::new();
        for _ in 0..5 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        // The oldest were ended, in their order.
        for tcp in &mut idle[..3] {
            assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
        }
        let honest = TcpStream::connect(address).await.unwrap();
        honest.try_write(&[1]).unwrap();
        while counters.accepted.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(counters.displaced.load(Ordering::Relaxed), 4);
        shutdown.trigger();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_closed_at_once() {
        use tokio::io::AsyncReadExt;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = InboundLimits {
            connections_max: 2,
            ..InboundLimits::default()
        };
        let counters = Arc::new(InboundCounters::default());
        let shutdown = Shutdown::manual();
        let served = accept_loop(
            listener,
            limits,
            counters.clone(),
            shutdown.clone(),
            |tcp| async move { Ok(tcp) },
            |tcp, _from| async move {
                let _held = tcp;
                std::future::pending::<()>().await;
            },
        );
        let task = tokio::spawn(served);
        let _first = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(counters.refused.load(Ordering::Relaxed), 1);
        shutdown.trigger();
        task.await.unwrap();
    }
}
