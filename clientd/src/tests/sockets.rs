//! The other ways in: a WebSocket, and a Unix socket for programs of the same user.

use super::messages::{add, card};
use super::world::World;
use crate::listeners::SOCKET_FILE;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TcpStream>;

async fn open(client: &super::world::Running, query: &str) -> Socket {
    let address = client.address;
    let mut request = format!("ws://{address}/v1/ws{query}")
        .into_client_request()
        .unwrap();
    let bearer = format!("Bearer {}", client.token).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let tcp = TcpStream::connect(address).await.unwrap();
    let (socket, answer) = client_async(request, tcp).await.unwrap();
    assert_eq!(answer.status(), 101);
    socket
}

/// The next text; `None` when the socket was closed.
async fn next(socket: &mut Socket) -> Option<Value> {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).ok(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_websocket_tells_what_the_stream_tells_and_acknowledges() {
    let world = World::new();
    let bob = world.client("bob").await;
    let mut live = open(&bob, "").await;
    for name in ["alice", "carol"] {
        let other = world.client(name).await;
        assert_eq!(add(&bob, &card(&other).await).await.status, 201);
        other.stop().await;
    }
    let streamed = bob.events("?after=0", None, 2).await;
    for (number, event) in &streamed {
        let told = next(&mut live).await.unwrap();
        assert_eq!((&told, told["cursor"].as_u64()), (event, Some(*number)));
    }
    live.send(Message::text("{\"through\":1}")).await.unwrap();
    assert_eq!(next(&mut live).await, Some(json!({ "acknowledged": 1 })));
    drop(live);
    let mut resumed = open(&bob, "").await;
    assert_eq!(next(&mut resumed).await.unwrap()["cursor"], 2);
    let mut again = open(&bob, "?after=0").await;
    assert_eq!(
        next(&mut again).await.unwrap()["cursor"],
        2,
        "the first is erased"
    );
    for nonsense in ["{\"through\":99}", "hello", "{}"] {
        let mut socket = open(&bob, "?after=2").await;
        socket.send(Message::text(nonsense)).await.unwrap();
        assert_eq!(next(&mut socket).await, None, "{nonsense}");
    }
    let mut socket = open(&bob, "?after=2").await;
    // A frame that is too long ends the socket, or cannot even be sent.
    let _ = socket.send(Message::text("x".repeat(100_000))).await;
    assert_eq!(next(&mut socket).await, None);
    bob.stop().await;
}

#[tokio::test]
async fn a_unix_socket_is_private_and_as_careful() {
    let world = World::new();
    let client = world.client("alice").await;
    let path = client.config.data_dir.join(SOCKET_FILE);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&client.config.data_dir)), (0o600, 0o700));
    let ask = async |headers: &str| {
        let mut socket = UnixStream::connect(&path).await.unwrap();
        let request = format!("GET /v1/info HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer[9..12].to_owned()
    };
    let token = &client.token;
    assert_eq!(
        ask(&format!(
            "Host: localhost\r\nAuthorization: Bearer {token}\r\n"
        ))
        .await,
        "200"
    );
    assert_eq!(ask("Host: localhost\r\n").await, "401");
    assert_eq!(
        ask(&format!("Host: evil\r\nAuthorization: Bearer {token}\r\n")).await,
        "421"
    );
    let page = format!("Host: localhost\r\nOrigin: null\r\nAuthorization: Bearer {token}\r\n");
    assert_eq!(ask(&page).await, "403");
    let config = client.stop().await;
    assert!(!config.data_dir.join(SOCKET_FILE).exists());
    // What a killed daemon left is replaced; anything else is not touched.
    drop(tokio::net::UnixListener::bind(config.data_dir.join(SOCKET_FILE)).unwrap());
    let config = super::world::Running::start(config)
        .await
        .unwrap()
        .stop()
        .await;
    std::fs::write(config.data_dir.join(SOCKET_FILE), "kept").unwrap();
    assert!(super::world::Running::start(config.clone()).await.is_err());
    assert_eq!(
        super::world::read(&config.data_dir.join(SOCKET_FILE)),
        "kept"
    );
}
