//! Links to a neighbour that comes, goes and is somebody else.

use super::*;
use crate::link::FrameReader;
use std::sync::atomic::AtomicUsize;
use tokio::net::TcpListener;
use wire::frame::Frame;
use wire::keys::IdentitySecret;

const NETWORK: NetworkId = NetworkId([5; 32]);

fn backoff() -> Backoff {
    Backoff {
        base: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        rng: TrafficRng::from_seed([1; 32]),
    }
}

struct Fixture {
    listener: TcpListener,
    tls: NodeTls,
    outbound: Outbound,
    events: mpsc::Receiver<OutboundEvent>,
}

/// A dialler, and the listener that it dials but that nobody answers yet.
async fn fixture(listener_seed: u8, expected_seed: u8, capacity: usize) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = NodeTls::new(&IdentitySecret::from_seed(&[listener_seed; 32])).unwrap();
    let dialler = NodeTls::new(&IdentitySecret::from_seed(&[1; 32])).unwrap();
    let neighbour = Neighbour {
        identity: IdentitySecret::from_seed(&[expected_seed; 32]).public(),
        addresses: vec![listener.local_addr().unwrap()],
        network: NETWORK,
    };
    let (sender, events) = mpsc::channel(16);
    let config = OutboundConfig {
        tls: dialler,
        backoff: backoff(),
        capacity,
        stages: Stages::default(),
    };
    let outbound = Outbound::start(neighbour, config, sender);
    Fixture {
        listener,
        tls,
        outbound,
        events,
    }
}

impl Fixture {
    async fn answer(&self) -> (FrameReader, FrameWriter) {
        let (tcp, _) = self.listener.accept().await.unwrap();
        let link = self.tls.accept(tcp, NETWORK, |_| true).await.unwrap();
        (link.reader, link.writer)
    }

    async fn event(&mut self) -> OutboundEvent {
        self.events.recv().await.unwrap()
    }
}

#[tokio::test]
async fn it_dials_again_and_a_fallen_link_takes_nothing() {
    let mut f = fixture(2, 2, 8).await;
    assert_eq!(f.outbound.try_send(Frame::Dummy), Err(NotSent::Down));
    for _ in 0..2 {
        let (mut reader, writer) = f.answer().await;
        assert!(matches!(f.event().await, OutboundEvent::Up(_)));
        f.outbound.try_send(Frame::Dummy).unwrap();
        f.outbound.flush();
        assert!(reader.next().await.unwrap() == Frame::Dummy);
        drop((reader, writer));
        assert!(matches!(f.event().await, OutboundEvent::Down { .. }));
        assert!(!f.outbound.is_up());
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_never_up() {
    let mut f = fixture(3, 2, 8).await;
    for _ in 0..2 {
        let (tcp, _) = f.listener.accept().await.unwrap();
        assert!(f.tls.accept(tcp, NETWORK, |_| true).await.is_err());
        let event = f.event().await;
        assert!(
            matches!(
                &event,
                OutboundEvent::Down {
                    error: LinkError::WrongPeer,
                    lost: 0,
                    ..
                }
            ),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn a_slow_neighbour_fills_the_queue() {
    let mut f = fixture(2, 2, 4).await;
    let (_reader, _writer) = f.answer().await;
    assert!(matches!(f.event().await, OutboundEvent::Up(_)));
    let full = AtomicUsize::new(0);
    // Socket buffers take some megabytes before the queue fills.
    for _ in 0..20_000 {
        match f.outbound.try_send(Frame::Dummy) {
            Ok(()) => f.outbound.flush(),
            Err(NotSent::Full) => {
                if full.fetch_add(1, Ordering::Relaxed) > 100 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(NotSent::Down) => panic!("the link fell"),
        }
    }
    assert!(full.load(Ordering::Relaxed) > 100);
    assert_eq!(f.outbound.queued(), 4);
}

#[tokio::test]
async fn loop_and_task_write_in_one_order_whoever_has_the_writer() {
    let mut f = fixture(2, 2, 64).await;
    let (mut reader, _writer) = f.answer().await;
    assert!(matches!(f.event().await, OutboundEvent::Up(_)));
    let frame = |number: u32| {
        let mut packet = Box::new([0; wire::geometry::PACKET_LEN]);
        packet[..4].copy_from_slice(&number.to_be_bytes());
        Frame::Packet(wire::ids::EpochHint(0), packet)
    };
    // Until the socket is full and the queue behind it, so that the task has the writer.
    let mut sent = 0;
    let mut full = 0;
    while full < 50 {
        match f.outbound.try_send(frame(sent)) {
            Ok(()) => {
                f.outbound.flush();
                sent += 1;
            }
            Err(NotSent::Full) => {
                full += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(NotSent::Down) => panic!("the link fell"),
        }
    }
    // The neighbour reads again, and more comes meanwhile; every time the queue is empty the loop
    // gets the writer back.
    let more = sent + 2000;
    let mut seen = 0;
    while seen < more {
        while sent < more && f.outbound.try_send(frame(sent)).is_ok() {
            sent += 1;
        }
        f.outbound.flush();
        while let Ok(next) = tokio::time::timeout(Duration::from_millis(2), reader.next()).await {
            assert!(
                next.unwrap() == frame(seen),
                "frame {seen} is out of its order"
            );
            seen += 1;
        }
    }
    assert_eq!((sent, f.outbound.queued()), (more, 0));
    assert!(f.outbound.queue.lock().writer.is_some());
}

#[tokio::test]
async fn closing_writes_what_is_queued() {
    let mut f = fixture(2, 2, 64).await;
    let (mut reader, _writer) = f.answer().await;
    assert!(matches!(f.event().await, OutboundEvent::Up(_)));
    for _ in 0..50 {
        f.outbound.try_send(Frame::Dummy).unwrap();
    }
    f.outbound.close(Duration::from_secs(5)).await;
    for _ in 0..50 {
        assert!(reader.next().await.unwrap() == Frame::Dummy);
    }
    assert!(matches!(reader.next().await, Err(LinkError::Closed)));
}

#[test]
fn waits_grow_jitter_and_stay_bounded() {
    let backoff = Backoff::new(TrafficRng::from_seed([1; 32]));
    for failures in 0..40 {
        let whole = backoff.base.saturating_mul(1 << failures.min(16));
        let whole = whole.min(backoff.longest);
        let wait = backoff.wait(7, failures, failures);
        assert!(wait >= whole / 2 && wait <= whole);
    }
    assert_ne!(backoff.wait(7, 3, 3), backoff.wait(8, 3, 3));
}
