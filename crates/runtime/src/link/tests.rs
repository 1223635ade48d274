//! Links over real loopback sockets: honest peers, wrong peers, and peers that speak TLS well and
//! frames badly. What passes on the wire is counted record by record.

use super::*;
use rustls::AlertDescription;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::client::TlsStream;
use wire::frame::FrameBytes;
use wire::geometry::{FRAME_LEN, GeometryHash, PACKET_LEN, TLS_OVERHEAD_LEN};
use wire::ids::EpochHint;

mod peers;
use peers::{Relay, records};

const NETWORK: NetworkId = NetworkId([5; 32]);
const OTHER_NETWORK: NetworkId = NetworkId([6; 32]);

fn identity(seed: u8) -> IdentitySecret {
    IdentitySecret::from_seed(&[seed; 32])
}

fn node(seed: u8) -> NodeTls {
    NodeTls::new(&identity(seed)).unwrap()
}

fn session() -> SessionAddress {
    SessionAddress::from_random([9; 32])
}

fn packet(number: u16) -> FrameBytes {
    Frame::Packet(EpochHint(number), Box::new([number as u8; PACKET_LEN])).encode()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Both ends of a link from node 1 to node 2.
async fn pair() -> (NodeLink, NodeLink) {
    let (listener, address) = listen().await;
    let (dialler, acceptor, two) = (node(1), node(2), identity(2).public());
    let dialled = dialler.dial(address, &two, NETWORK);
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp, NETWORK, |_| true).await
    };
    let (dialled, accepted) = tokio::join!(dialled, accepted);
    (dialled.unwrap(), accepted.unwrap())
}

/// What node 2's listener says to whatever `knock` does at its door.
async fn answer_to<T>(
    knock: impl AsyncFnOnce(SocketAddr) -> T,
) -> (T, Result<NodeLink, LinkError>) {
    let (listener, address) = listen().await;
    let acceptor = node(2).with_handshake_timeout(Duration::from_millis(500));
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp, NETWORK, |_| true).await
    };
    tokio::join!(knock(address), accepted)
}

/// Node 1 as far as TLS goes; what it says then is the test's.
async fn tls_only(address: SocketAddr) -> TlsStream<TcpStream> {
    let key = tls::RawKey::new(&identity(1)).unwrap();
    let config = tls::node_client(&key, &identity(2).public()).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::from(address.ip());
    connector.connect(name, tcp).await.unwrap()
}

async fn say(stream: &mut TlsStream<TcpStream>, record: &[u8]) {
    stream.write_all(record).await.unwrap();
    stream.flush().await.unwrap();
}

fn hello() -> Hello {
    Hello::new(NETWORK, Speaker::Node)
}

#[tokio::test]
async fn both_ends_know_each_other_and_frames_keep_their_order() {
    let (mut one, mut two) = pair().await;
    assert_eq!(one.peer, identity(2).public());
    assert_eq!(two.peer, identity(1).public());
    for batch in 0..10u16 {
        let frames: Vec<_> = (0..20).map(|i| packet(batch * 20 + i)).collect();
        one.writer.send(&frames).await.unwrap();
        two.writer.send(&[packet(batch)]).await.unwrap();
        for frame in frames {
            assert!(two.reader.next().await.unwrap().encode() == frame);
        }
        assert!(one.reader.next().await.unwrap().encode() == packet(batch));
    }
    one.writer.close().await.unwrap();
    assert!(matches!(two.reader.next().await, Err(LinkError::Closed)));
}

#[tokio::test]
async fn another_identity_is_not_dialled() {
    let knock = async |address| node(1).dial(address, &identity(3).public(), NETWORK).await;
    let (dialled, accepted) = answer_to(knock).await;
    assert!(matches!(dialled, Err(LinkError::WrongPeer)));
    assert!(matches!(accepted, Err(LinkError::Tls(_))));
}

#[tokio::test]
async fn an_identity_that_the_caller_does_not_know_hears_no_frame() {
    let (listener, address) = listen().await;
    let (dialler, acceptor, two) = (node(1), node(2), identity(2).public());
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor
            .accept(tcp, NETWORK, |peer| *peer != identity(1).public())
            .await
    };
    let (dialled, accepted) = tokio::join!(dialler.dial(address, &two, NETWORK), accepted);
    assert!(matches!(accepted, Err(LinkError::NotAllowed)));
    assert!(matches!(dialled, Err(LinkError::Closed | LinkError::Io(_))));
}

#[tokio::test]
async fn another_network_is_named_at_both_ends() {
    let knock = async |address| {
        node(1)
            .dial(address, &identity(2).public(), OTHER_NETWORK)
            .await
    };
    let (dialled, accepted) = answer_to(knock).await;
    for result in [dialled, accepted] {
        assert!(matches!(
            result,
            Err(LinkError::Mismatch(HelloMismatch::Network))
        ));
    }
}

#[tokio::test]
async fn another_version_or_geometry_is_named() {
    let version = Hello {
        version: 3,
        ..hello()
    };
    let geometry = Hello {
        geometry: GeometryHash([0; 32]),
        ..hello()
    };
    for (wrong, name) in [
        (version, HelloMismatch::Version),
        (geometry, HelloMismatch::Geometry),
    ] {
        let frame = Frame::Hello(wrong).encode();
        let knock = async |address| {
            let mut stream = tls_only(address).await;
            say(&mut stream, &frame[..]).await;
            stream
        };
        let (_stream, accepted) = answer_to(knock).await;
        assert!(matches!(accepted, Err(LinkError::Mismatch(m)) if m == name));
    }
}

#[tokio::test]
async fn the_first_frame_is_a_hello_of_the_right_kind() {
    let with_session = Frame::Hello(Hello::new(NETWORK, Speaker::Client(session()))).encode();
    let with_time = Frame::Hello(Hello::new(NETWORK, Speaker::Gateway(UnixTime(5)))).encode();
    for first in [packet(0), Frame::Dummy.encode(), with_session, with_time] {
        let knock = async |address| {
            let mut stream = tls_only(address).await;
            say(&mut stream, &first[..]).await;
            stream
        };
        let (_stream, accepted) = answer_to(knock).await;
        assert!(matches!(accepted, Err(LinkError::Order)));
    }
}

#[tokio::test]
async fn a_record_is_exactly_one_frame() {
    let frame = packet(1);
    let two_frames = [&frame[..], &frame[..]].concat();
    let a_byte_more = [&frame[..], &[0]].concat();
    for record in [&frame[..FRAME_LEN - 1], &a_byte_more, &two_frames, &[7]] {
        let knock = async |address| {
            let mut stream = tls_only(address).await;
            say(&mut stream, &Frame::Hello(hello()).encode()[..]).await;
            say(&mut stream, record).await;
            stream
        };
        let (_stream, accepted) = answer_to(knock).await;
        let said = accepted.unwrap().reader.next().await;
        assert!(matches!(said, Err(LinkError::RecordLength(len)) if len == record.len()));
    }
}

#[tokio::test]
async fn frames_that_mean_nothing_end_the_link() {
    let mut unknown_kind = Frame::Dummy.encode();
    unknown_kind[1] = 77;
    let mut dirty_padding = Frame::Dummy.encode();
    dirty_padding[FRAME_LEN - 1] = 1;
    let second_hello = Frame::Hello(hello()).encode();
    for bad in [unknown_kind, dirty_padding, second_hello] {
        let knock = async |address| {
            let mut stream = tls_only(address).await;
            say(&mut stream, &Frame::Hello(hello()).encode()[..]).await;
            say(&mut stream, &bad[..]).await;
            stream
        };
        let (_stream, accepted) = answer_to(knock).await;
        let said = accepted.unwrap().reader.next().await;
        assert!(matches!(said, Err(LinkError::Frame(_) | LinkError::Order)));
    }
}

#[tokio::test]
async fn garbage_ends_a_link_before_and_after_the_handshake() {
    let knock = async |address| {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(&[0xa5; 4096]).await.unwrap();
        tcp
    };
    let (_tcp, accepted) = answer_to(knock).await;
    assert!(matches!(accepted, Err(LinkError::Tls(_))));

    // A record of the right length whose seal is wrong.
    let mut forged = vec![0x17, 3, 3, 0x0b, 0x23];
    forged.resize(FRAME_LEN + TLS_OVERHEAD_LEN, 0xa5);
    let knock = async |address| {
        let mut stream = tls_only(address).await;
        say(&mut stream, &Frame::Hello(hello()).encode()[..]).await;
        stream.get_mut().0.write_all(&forged).await.unwrap();
        stream
    };
    let (_stream, accepted) = answer_to(knock).await;
    let said = accepted.unwrap().reader.next().await;
    assert!(matches!(
        said,
        Err(LinkError::Tls(rustls::Error::DecryptError))
    ));
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off() {
    let silent = async |address| TcpStream::connect(address).await.unwrap();
    let (_tcp, accepted) = answer_to(silent).await;
    assert!(matches!(accepted, Err(LinkError::HandshakeTimeout)));

    let (_stream, accepted) = answer_to(tls_only).await;
    assert!(matches!(accepted, Err(LinkError::HandshakeTimeout)));

    // And the other way round: a listener that never answers.
    let (_listener, address) = listen().await;
    let dialler = node(1).with_handshake_timeout(Duration::from_millis(200));
    let dialled = dialler.dial(address, &identity(2).public(), NETWORK).await;
    assert!(matches!(dialled, Err(LinkError::HandshakeTimeout)));
}

#[tokio::test]
async fn a_client_needs_no_key_where_clients_knock() {
    let (listener, address) = listen().await;
    let gateway = ClientListenerTls::new(&identity(2)).unwrap();
    let (client, two) = (ClientTls::new(), identity(2).public());
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        gateway.accept(tcp, NETWORK).await
    };
    let dialled = client.dial(address, &two, NETWORK, session());
    let (dialled, accepted) = tokio::join!(dialled, accepted);
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    assert!(accepted.session == session());
    let late = Clock::start().unix().saturating_since(dialled.time);
    assert!(late < Duration::from_secs(5) && dialled.took < Duration::from_secs(5));
    dialled.writer.send(&[packet(4)]).await.unwrap();
    assert!(accepted.reader.next().await.unwrap().encode() == packet(4));
    accepted
        .writer
        .send(&[Frame::Dummy.encode()])
        .await
        .unwrap();
    assert!(dialled.reader.next().await.unwrap() == Frame::Dummy);
}

#[tokio::test]
async fn a_client_without_a_key_is_refused_where_nodes_knock() {
    let two = identity(2).public();
    let knock = async |address| {
        ClientTls::new()
            .dial(address, &two, NETWORK, session())
            .await
    };
    let (dialled, accepted) = answer_to(knock).await;
    assert!(matches!(
        accepted,
        Err(LinkError::Tls(rustls::Error::PeerIncompatible(_)))
    ));
    assert!(matches!(
        dialled,
        Err(LinkError::Tls(rustls::Error::AlertReceived(
            AlertDescription::HandshakeFailure
        )))
    ));
}

/// What a gateway's listener for clients says to one who says `hello` over TLS made of `config`.
async fn client_listener_answer(config: ClientConfig, hello: Hello) -> Option<LinkError> {
    let (listener, address) = listen().await;
    let gateway = ClientListenerTls::new(&identity(2)).unwrap();
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        gateway.accept(tcp, NETWORK).await
    };
    let knock = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(address.ip().into(), tcp).await?;
        stream.write_all(&Frame::Hello(hello).encode()[..]).await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (_stream, accepted) = tokio::join!(knock, accepted);
    accepted.err()
}

#[tokio::test]
async fn a_node_is_no_client_and_a_client_has_a_session() {
    let key = tls::RawKey::new(&identity(1)).unwrap();
    let two = identity(2).public();
    let as_node = tls::node_client(&key, &two).unwrap();
    let refused =
        client_listener_answer(as_node, Hello::new(NETWORK, Speaker::Client(session()))).await;
    assert!(matches!(
        refused,
        Some(LinkError::Tls(rustls::Error::PeerIncompatible(_)))
    ));
    let as_client = tls::anonymous_client(&two).unwrap();
    let refused = client_listener_answer(as_client.clone(), hello()).await;
    assert!(matches!(refused, Some(LinkError::Order)));
    let gateway = Hello::new(NETWORK, Speaker::Gateway(UnixTime(5)));
    let refused = client_listener_answer(as_client.clone(), gateway).await;
    assert!(matches!(refused, Some(LinkError::Order)));
    let taken =
        client_listener_answer(as_client, Hello::new(NETWORK, Speaker::Client(session()))).await;
    assert!(taken.is_none());
}

#[tokio::test]
async fn other_groups_and_suites_are_refused() {
    let ours = || CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    };
    let classical = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        ..ours()
    };
    let other_suite = CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        ..ours()
    };
    for (provider, passes) in [(ours(), true), (classical, false), (other_suite, false)] {
        let knock = async |address| {
            peers::dial_with(provider, &identity(1), address)
                .await
                .map(|_stream| ())
        };
        let (dialled, accepted) = answer_to(knock).await;
        // A peer that passes TLS says no `Hello` here.
        let refused = !matches!(
            accepted,
            Err(LinkError::HandshakeTimeout | LinkError::Closed)
        );
        assert_eq!((dialled.is_ok(), refused), (passes, !passes));
    }
}

#[tokio::test]
async fn a_stolen_public_key_proves_nothing() {
    let knock = async |address| {
        let signer = identity(1);
        let shown = identity(3).public();
        let stream = peers::dial_showing(&signer, &shown, address).await;
        // TLS 1.3 lets the dialler believe until it reads.
        match stream {
            Ok(mut stream) => stream.read(&mut [0; 1]).await.err(),
            Err(error) => Some(error),
        }
    };
    let (told, accepted) = answer_to(knock).await;
    assert!(told.is_some());
    assert!(matches!(accepted, Err(LinkError::Tls(_))));
}

#[tokio::test]
async fn every_record_after_the_handshake_is_one_frame_long() {
    const FRAMES: usize = 50;
    let (listener, target) = listen().await;
    let relay = Relay::start(target).await;
    let (dialler, acceptor, two) = (node(1), node(2), identity(2).public());
    let accepted = async {
        let (tcp, _) = listener.accept().await.unwrap();
        acceptor.accept(tcp, NETWORK, |_| true).await
    };
    let (one, two) = tokio::join!(dialler.dial(relay.address, &two, NETWORK), accepted);
    let (mut one, mut two) = (one.unwrap(), two.unwrap());
    let frames: Vec<_> = (0..FRAMES as u16).map(packet).collect();
    one.writer.send(&frames[..7]).await.unwrap();
    one.writer.send(&frames[7..]).await.unwrap();
    two.writer.send(&frames).await.unwrap();
    for _ in 0..FRAMES {
        one.reader.next().await.unwrap();
        two.reader.next().await.unwrap();
    }
    for bytes in [relay.towards_listener(), relay.towards_dialler()] {
        let lengths = records(&bytes);
        let handshake = lengths.len() - (FRAMES + 1);
        println!("records of the handshake: {:?}", &lengths[..handshake]);
        // The `Hello` and the frames, and neither a ticket nor anything else among them.
        assert!(
            lengths[handshake..]
                .iter()
                .all(|len| *len == FRAME_LEN + TLS_OVERHEAD_LEN)
        );
        assert!(
            lengths[..handshake]
                .iter()
                .all(|len| *len != FRAME_LEN + TLS_OVERHEAD_LEN)
        );
    }
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_off() {
    let (mut one, _two) = pair().await;
    one.writer.set_timeout(Duration::from_millis(200));
    let batch: Vec<_> = (0..32).map(packet).collect();
    let error = loop {
        if let Err(error) = one.writer.send(&batch).await {
            break error;
        }
    };
    assert!(matches!(error, LinkError::Stalled));
    assert!(matches!(
        one.writer.send(&batch).await,
        Err(LinkError::Broken)
    ));
}

#[tokio::test]
async fn waiting_for_a_frame_may_be_given_up_and_taken_up_again() {
    let (mut one, mut two) = pair().await;
    let sender = tokio::spawn(async move {
        for number in 0..100 {
            one.writer.send(&[packet(number)]).await.unwrap();
            tokio::time::sleep(Duration::from_micros(700)).await;
        }
        one
    });
    let mut number = 0;
    while number < 100 {
        if let Ok(frame) = tokio::time::timeout(Duration::from_millis(1), two.reader.next()).await {
            assert!(frame.unwrap().encode() == packet(number));
            number += 1;
        }
    }
    drop(sender.await.unwrap());
}

#[test]
fn a_key_has_one_encoding() {
    let one = identity(1).public();
    let good = [
        &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0][..],
        &one.to_bytes(),
    ]
    .concat();
    assert_eq!(tls::identity_of_spki(&good).unwrap(), one);
    assert!(tls::identity_of_spki(&good[..43]).is_err());
    assert!(tls::identity_of_spki(&[&good[..], &[0]].concat()).is_err());
    for at in 0..12 {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(tls::identity_of_spki(&bad).is_err());
    }
    let mut low_order = good;
    low_order[12..].fill(0);
    assert!(tls::identity_of_spki(&low_order).is_err());
}
