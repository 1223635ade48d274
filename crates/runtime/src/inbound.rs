//! Accepts connections with limits: how many stand, how many shake hands, how many an address has.
//!
//! What a connection is shaken into is the caller's: see [`accept_loop`]. Whatever is over a limit
//! is closed at once, before any public-key work.

use crate::link::LinkError;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long to wait when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Limits of one listener.
#[derive(Clone, Debug)]
pub struct InboundLimits {
    /// Connections at a time, those that shake hands included.
    pub connections_max: usize,
    /// Handshakes at a time.
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
    let handshakes = Arc::new(Semaphore::new(limits.handshakes_max));
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
            handshakes.clone().try_acquire_owned(),
            addresses.try_acquire(from.ip()),
        );
        let (Ok(connection), Ok(shaking), Some(address)) = permits else {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (handshake, serve, counters) = (handshake.clone(), serve.clone(), counters.clone());
        tasks.spawn(async move {
            let _held = (connection, address);
            match handshake(tcp).await {
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
