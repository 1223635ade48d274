//! Who gets in, what gets through, and who is let go; over real TLS on loopback.

use super::*;
use crate::link::{FrameWriter, LinkError};
use tokio::sync::mpsc;
use wire::keys::IdentitySecret;

const NETWORK: NetworkId = NetworkId([7; 32]);

struct Fixture {
    us: IdentityPublic,
    address: SocketAddr,
    allowed: watch::Sender<Arc<BTreeSet<IdentityPublic>>>,
    frames: mpsc::Receiver<Received>,
    clock: Clock,
    _tasks: JoinSet<()>,
}

fn secret(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

async fn fixture(allowed: &[IdentityPublic]) -> Fixture {
    let us = secret(1);
    let listeners = bind_all(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = announced(&[], &listeners).unwrap()[0];
    let allowed = watch::Sender::new(Arc::new(allowed.iter().copied().collect()));
    let (sender, frames) = mpsc::channel(4);
    let clock = Clock::start();
    let listener = NodeListener {
        tls: NodeTls::new(&us).unwrap(),
        network: NETWORK,
        allowed: allowed.subscribe(),
        readers: Readers::start(|| ()).unwrap(),
        lanes: Arc::new(move || {
            let sender = sender.clone();
            Box::new(move |packets| {
                packets
                    .drain(..)
                    .for_each(|p| sender.try_send(p).ok().unwrap());
            })
        }),
        clock,
        stages: Stages::default(),
    };
    let mut tasks = JoinSet::new();
    let (limits, counters) = (InboundLimits::default(), Arc::default());
    listener.start(
        listeners,
        &limits,
        &counters,
        &Shutdown::manual(),
        &mut tasks,
    );
    Fixture {
        us: us.public(),
        address,
        allowed,
        frames,
        clock,
        _tasks: tasks,
    }
}

impl Fixture {
    async fn dial(&self, seed: u8) -> Result<NodeLink, LinkError> {
        let tls = NodeTls::new(&secret(seed)).unwrap();
        tls.dial(self.address, &self.us, NETWORK).await
    }
}

fn packet(byte: u8) -> Frame {
    let packet = Box::new([byte; wire::geometry::PACKET_LEN]);
    Frame::Packet(EpochHint(byte.into()), packet)
}

async fn send(writer: &mut FrameWriter, frame: &Frame) {
    writer.send(&[frame.encode()]).await.unwrap();
}

async fn ends(mut link: NodeLink) {
    let end = tokio::time::timeout(Duration::from_secs(5), link.reader.next()).await;
    assert!(end.unwrap().is_err(), "the link stands");
}

#[tokio::test]
async fn packets_of_a_neighbour_come_with_their_time() {
    let mut fixture = fixture(&[secret(2).public()]).await;
    let before = fixture.clock.now();
    let mut link = fixture.dial(2).await.unwrap();
    send(&mut link.writer, &packet(9)).await;
    let received = fixture.frames.recv().await.unwrap();
    assert_eq!(received.hint, EpochHint(9));
    assert_eq!(received.packet[..], [9; wire::geometry::PACKET_LEN]);
    assert!(before < received.received_at && received.received_at <= fixture.clock.now());
}

#[tokio::test]
async fn a_stranger_gets_no_hello() {
    let fixture = fixture(&[secret(2).public()]).await;
    assert!(fixture.dial(3).await.is_err());
    assert!(fixture.dial(2).await.is_ok());
}

#[tokio::test]
async fn who_leaves_the_directory_is_let_go_and_the_others_stay() {
    let mut fixture = fixture(&[secret(2).public(), secret(3).public()]).await;
    let leaving = fixture.dial(2).await.unwrap();
    let mut staying = fixture.dial(3).await.unwrap();
    let rest = [secret(3).public()].into_iter().collect();
    fixture.allowed.send_replace(Arc::new(rest));
    ends(leaving).await;
    send(&mut staying.writer, &packet(5)).await;
    assert_eq!(fixture.frames.recv().await.unwrap().hint, EpochHint(5));
    assert!(fixture.dial(2).await.is_err());
}

#[tokio::test]
async fn other_frames_than_packets_end_the_link() {
    let mut fixture = fixture(&[secret(2).public()]).await;
    let mut link = fixture.dial(2).await.unwrap();
    send(&mut link.writer, &Frame::Dummy).await;
    ends(link).await;
    assert!(fixture.frames.try_recv().is_err());
}

#[tokio::test]
async fn a_peer_that_is_a_moment_early_is_waited_for() {
    let fixture = fixture(&[]).await;
    let tls = NodeTls::new(&secret(2)).unwrap();
    let (address, us) = (fixture.address, fixture.us);
    let early = tokio::spawn(async move { tls.dial(address, &us, NETWORK).await.map(drop) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let now = [secret(2).public()].into_iter().collect();
    fixture.allowed.send_replace(Arc::new(now));
    early.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_third_link_of_a_peer_ends_its_first() {
    let fixture = fixture(&[secret(2).public(), secret(3).public()]).await;
    let other = fixture.dial(3).await.unwrap();
    let first = fixture.dial(2).await.unwrap();
    let mut second = fixture.dial(2).await.unwrap();
    let third = fixture.dial(2).await.unwrap();
    ends(first).await;
    let mut frames = fixture.frames;
    for (link, byte) in [(&mut second, 4), (&mut { third }, 5), (&mut { other }, 6)] {
        send(&mut link.writer, &packet(byte)).await;
        assert_eq!(frames.recv().await.unwrap().hint, EpochHint(byte.into()));
    }
}

#[tokio::test]
async fn a_peer_that_finishes_no_frame_is_silent() {
    let (heard, limit) = (AtomicBool::new(true), Duration::from_millis(20));
    let began = std::time::Instant::now();
    silence(&heard, limit).await;
    assert!(began.elapsed() >= limit);
}
