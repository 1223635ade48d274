//! The listener for clients over real TLS on loopback: what the loop hears, and who is closed.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use gateway::allowance::Allowance;
use gateway::clients::{ClientEvent, ClientListener};
use gateway::downlink::{self, Downlink, Slot};
use mizzle_core::hop::Received;
use runtime::clock::Clock;
use runtime::inbound::InboundLimits;
use runtime::link::{ClientListenerTls, ClientTls, EntryLink, LinkError};
use runtime::metrics::Lateness;
use runtime::node::listener::{announced, bind_all};
use runtime::shutdown::Shutdown;
use runtime::stages::Stages;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wire::frame::Frame;
use wire::geometry::PACKET_LEN;
use wire::ids::{EpochHint, NetworkId, SessionAddress};
use wire::keys::{IdentityPublic, IdentitySecret};

const NETWORK: NetworkId = NetworkId([7; 32]);

struct Fixture {
    us: IdentityPublic,
    address: SocketAddr,
    frames: mpsc::Receiver<Received>,
    events: mpsc::Receiver<ClientEvent>,
    clock: Clock,
    slots: mpsc::Sender<Slot>,
    _tasks: JoinSet<()>,
}

async fn fixture(limits: InboundLimits) -> Fixture {
    let identity = IdentitySecret::from_seed(&[1; 32]);
    let listeners = bind_all(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let address = announced(&[], &listeners).unwrap()[0];
    let (frames_tx, frames) = mpsc::channel(16);
    let (events_tx, events) = mpsc::channel(16);
    let clock = Clock::start();
    let (slots, filled) = mpsc::channel(16);
    let shutdown = Shutdown::manual();
    let writers = downlink::start(clock, filled, Lateness::default(), || (), shutdown).unwrap();
    let listener = ClientListener {
        tls: ClientListenerTls::new(&identity).unwrap(),
        network: NETWORK,
        lanes: Arc::new(move || {
            let frames = frames_tx.clone();
            Box::new(move |packets| {
                packets.drain(..).for_each(|p| frames.try_send(p).unwrap());
            })
        }),
        stages: Stages::default(),
        events: events_tx,
        clock,
        allowance: Allowance::new(1000),
        writers,
        connections: Arc::new(AtomicU64::new(0)),
    };
    let mut tasks = JoinSet::new();
    listener.start(listeners, &limits, &Shutdown::manual(), &mut tasks);
    Fixture {
        us: identity.public(),
        address,
        frames,
        events,
        clock,
        slots,
        _tasks: tasks,
    }
}

impl Fixture {
    async fn dial(&self, session: &SessionAddress) -> EntryLink {
        self.try_dial(session).await.unwrap()
    }

    async fn try_dial(&self, session: &SessionAddress) -> Result<EntryLink, LinkError> {
        let tls = ClientTls::new();
        tls.dial(self.address, &self.us, NETWORK, session.clone())
            .await
    }

    async fn connected(&mut self) -> (SessionAddress, u64, Downlink) {
        match self.events.recv().await.unwrap() {
            ClientEvent::Connected {
                session,
                connection,
                downlink,
            } => (session, connection, downlink),
            ClientEvent::Disconnected { .. } => panic!("disconnected before it connected"),
        }
    }

    async fn disconnected(&mut self) -> u64 {
        match self.events.recv().await.unwrap() {
            ClientEvent::Disconnected { connection, .. } => connection,
            ClientEvent::Connected { .. } => panic!("connected twice"),
        }
    }
}

fn session(byte: u8) -> SessionAddress {
    SessionAddress::from_random([byte; 32])
}

#[tokio::test]
async fn packets_go_up_and_slots_come_down_at_their_moments() {
    let mut fixture = fixture(InboundLimits::default()).await;
    let mut link = fixture.dial(&session(2)).await;
    let (said, _, to) = fixture.connected().await;
    assert!(said == session(2));
    let packet = Frame::Packet(EpochHint(3), Box::new([4; PACKET_LEN]));
    link.writer.send(&[packet.encode()]).await.unwrap();
    assert_eq!(fixture.frames.recv().await.unwrap().hint, EpochHint(3));

    let first = fixture.clock.now() + Duration::from_millis(30);
    let moments: Vec<_> = (0..5)
        .map(|k| first + Duration::from_millis(10) * k)
        .collect();
    for at in &moments {
        let (at, to) = (*at, to.clone());
        let frame = Frame::Dummy.encode();
        let slot = Slot { at, to, frame };
        fixture.slots.send(slot).await.ok().unwrap();
    }
    for at in moments {
        assert!(matches!(link.reader.next().await.unwrap(), Frame::Dummy));
        assert!(fixture.clock.now() >= at, "a slot came before its moment");
    }
}

#[tokio::test]
async fn frames_that_no_client_sends_end_the_connection() {
    let mut fixture = fixture(InboundLimits::default()).await;
    let mut link = fixture.dial(&session(2)).await;
    let (_, connection, _) = fixture.connected().await;
    link.writer.send(&[Frame::Dummy.encode()]).await.unwrap();
    assert!(link.reader.next().await.is_err());
    assert_eq!(fixture.disconnected().await, connection);
    assert!(fixture.frames.try_recv().is_err());
}

#[tokio::test]
async fn whom_the_loop_turns_away_is_closed_and_reported_once() {
    let mut fixture = fixture(InboundLimits::default()).await;
    let mut first = fixture.dial(&session(2)).await;
    let (_, older, downlink) = fixture.connected().await;
    let _second = fixture.dial(&session(2)).await;
    let (_, newer, _) = fixture.connected().await;
    assert_ne!(
        older, newer,
        "two connections of one session are told apart"
    );
    downlink.close();
    assert!(first.reader.next().await.is_err());
    assert_eq!(fixture.disconnected().await, older);
}

#[tokio::test]
async fn one_address_has_its_share_of_connections() {
    let limits = InboundLimits {
        per_address_max: 1,
        ..InboundLimits::default()
    };
    let mut fixture = fixture(limits).await;
    let first = fixture.dial(&session(2)).await;
    fixture.connected().await;
    assert!(fixture.try_dial(&session(3)).await.is_err());
    drop(first);
    fixture.disconnected().await;
    // The place is free a moment after the loop hears of it.
    let mut again = fixture.try_dial(&session(3)).await;
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = fixture.try_dial(&session(3)).await;
    }
    assert!(again.is_ok());
}
