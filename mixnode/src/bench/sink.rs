//! The layer after: takes whatever the node sends and writes down when it came, by the system's word: a real next mix has
//! cores of its own, and what is measured is when packets leave, not when this process had time to look. One thread,
//! which runs first where the system allows it.

use super::failed;
use super::ledger::Ledger;
use runtime::link::{FrameReader, NodeTls};
use runtime::node::NodeError;
use runtime::shutdown::Shutdown;
use runtime::urgency;
use sphinx::Probe;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use wire::frame::Frame;
use wire::ids::NetworkId;
use wire::keys::{IdentityPublic, IdentitySecret};

/// Takes packets until it is dropped.
pub struct Sink {
    addresses: Vec<SocketAddr>,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// One listener for each identity; only `node` may connect.
    pub fn start(
        identities: &[IdentitySecret],
        network: NetworkId,
        node: IdentityPublic,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, NodeError> {
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for identity in identities {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            let tls = NodeTls::new(identity).map_err(failed("make a sink"))?;
            listeners.push((tls, listener));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shutdown = Shutdown::manual();
        let (stop, ledger) = (shutdown.clone(), ledger.clone());
        let thread = std::thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                urgency::run_first();
                runtime.block_on(async {
                    for (tls, listener) in listeners {
                        tokio::spawn(accept(tls, listener, network, node, ledger.clone()));
                    }
                    stop.wait().await;
                });
            })?;
        Ok(Self {
            addresses,
            shutdown,
            thread: Some(thread),
        })
    }

    /// Where it listens, in the order of the identities.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            // Its panic was its end, and no reason for another.
            let _ = thread.join();
        }
    }
}

async fn accept(
    tls: NodeTls,
    listener: TcpListener,
    network: NetworkId,
    node: IdentityPublic,
    ledger: Arc<Ledger>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    // A link that fails is dialled again by the node.
    while let Ok((tcp, _)) = listener.accept().await {
        let accepted = tls.accept(tcp, network, |peer| *peer == node).await;
        if let Ok(link) = accepted {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let _open = link.writer;
                read(link.reader, &ledger).await;
            });
        }
    }
}

async fn read(mut reader: FrameReader, ledger: &Ledger) {
    let mut frames = Vec::new();
    while reader.read_many(&mut frames).await.is_ok() {
        let arrived = reader.arrived();
        for frame in frames.drain(..) {
            if let Frame::Packet(_, packet) = frame {
                ledger.came(&Probe::mark_of(&packet), arrived);
            }
        }
    }
}
