//! The server under clients that are slow, large, many or in the way.

use super::*;
use crate::gzip;
use crate::http_client::{HttpClient, HttpClientError};
use hyper::header::CONTENT_ENCODING;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

fn tight() -> HttpLimits {
    HttpLimits {
        connections_max: 4,
        connections_per_address: usize::MAX,
        header_timeout: Duration::from_millis(300),
        body_max: 1000,
        body_timeout: Duration::from_millis(300),
    }
}

/// Answers `/echo` with the body, `/events` with three lines and silence.
async fn start() -> (HttpClient, Shutdown, JoinHandle<()>) {
    let listener = bind_loopback(0).await.unwrap();
    let client = HttpClient::new(listener.local_addr().unwrap());
    let shutdown = Shutdown::manual();
    let task = tokio::spawn(serve(
        listener,
        tight(),
        shutdown.clone(),
        |request| async {
            match request.uri().path() {
                "/echo" => match read_body(request.into_body(), tight().body_timeout).await {
                    Ok(body) => respond(StatusCode::OK, "application/octet-stream", body),
                    Err(error) => error.response(),
                },
                "/events" => {
                    let (sender, receiver) = mpsc::channel(4);
                    tokio::spawn(async move {
                        for piece in ["data: o", "ne\n\nda", "ta: two\r\n"] {
                            let _ = sender.send(Bytes::from_static(piece.as_bytes())).await;
                        }
                        sender.closed().await;
                    });
                    stream("text/event-stream", receiver)
                }
                coding @ ("/gzip" | "/bomb" | "/cut" | "/br") => {
                    let zeros = if coding == "/bomb" { 9 << 20 } else { 5000 };
                    let mut packed = gzip::pack(&vec![0; zeros]).unwrap();
                    if coding == "/cut" {
                        packed.pop();
                    }
                    let name = if coding == "/br" { "br" } else { "gzip" };
                    let mut answer = respond(StatusCode::OK, "application/octet-stream", packed);
                    let name = HeaderValue::from_static(name);
                    answer.headers_mut().insert(CONTENT_ENCODING, name);
                    answer
                }
                _ => text(StatusCode::NOT_FOUND, "nothing here\n"),
            }
        },
    ));
    (client, shutdown, task)
}

#[tokio::test]
async fn questions_are_answered() {
    let (client, _shutdown, _task) = start().await;
    let answer = client
        .request(Method::POST, "/echo", &[("x-a", "b")], &b"hello"[..])
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &answer.body[..]),
        (StatusCode::OK, &b"hello"[..])
    );
    assert_eq!(
        client.get("/no").await.unwrap().status,
        StatusCode::NOT_FOUND
    );
    assert!(matches!(
        client
            .request(Method::GET, "/echo", &[("bad\nname", "b")], "")
            .await,
        Err(HttpClientError::BadRequest(_))
    ));
}

#[tokio::test]
async fn what_is_packed_is_unpacked_within_the_limit() {
    let (client, _shutdown, _task) = start().await;
    let answer = client.get_packed("/gzip").await.unwrap();
    assert_eq!(answer.body, vec![0; 5000]);
    for path in ["/bomb", "/cut", "/br"] {
        let answer = client.get_packed(path).await;
        assert!(matches!(answer, Err(HttpClientError::Body)), "{path}");
    }
}

#[tokio::test]
async fn a_large_body_is_refused_announced_or_not() {
    let (client, _shutdown, _task) = start().await;
    let answer = client
        .request(Method::PUT, "/echo", &[], vec![0; 1001])
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let mut tcp = TcpStream::connect(client.address).await.unwrap();
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..11 {
        let chunk = format!("64\r\n{}\r\n", "a".repeat(100));
        tcp.write_all(chunk.as_bytes()).await.unwrap();
    }
    assert!(first_line(&mut tcp).await.contains("413"));
}

#[tokio::test]
async fn the_answer_to_a_large_body_reaches_one_who_is_slow_to_write_it() {
    let (client, _shutdown, _task) = start().await;
    for length in ["content-length: 1900", "transfer-encoding: chunked"] {
        let mut tcp = TcpStream::connect(client.address).await.unwrap();
        let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n");
        tcp.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..19 {
            let piece = if length.starts_with('t') {
                format!("64\r\n{}\r\n", "a".repeat(100))
            } else {
                "a".repeat(100)
            };
            tcp.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(first_line(&mut tcp).await.contains("413"), "{length}");
    }
}

/// Whoever goes on after the answer is read for two seconds or 16 MiB, and then cut off.
#[tokio::test]
async fn one_who_writes_without_end_is_cut_off() {
    let (client, _shutdown, _task) = start().await;
    for (piece, pause) in [(64 << 10, 0), (100, 50)] {
        let mut tcp = TcpStream::connect(client.address).await.unwrap();
        let head = "POST /no HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        tcp.write_all(head.as_bytes()).await.unwrap();
        assert!(first_line(&mut tcp).await.contains("404"));
        let chunk = format!("{piece:x}\r\n{}\r\n", "a".repeat(piece));
        let (mut written, began) = (0, Instant::now());
        while tcp.write_all(chunk.as_bytes()).await.is_ok() {
            written += piece;
            let took = began.elapsed();
            // What both systems hold for a connection comes on top of what was read.
            let bounded = written < 48 << 20 && took < Duration::from_secs(8);
            assert!(bounded, "{written} bytes in {took:?}");
            if pause > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        match pause {
            0 => assert!(written >= 16 << 20, "{written}"),
            _ => assert!(began.elapsed() > Duration::from_millis(1900)),
        }
    }
}

#[tokio::test]
async fn a_slow_body_is_cut_off() {
    let (client, _shutdown, _task) = start().await;
    let mut tcp = TcpStream::connect(client.address).await.unwrap();
    tcp.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        .await
        .unwrap();
    assert!(first_line(&mut tcp).await.contains("408"));
}

#[tokio::test]
async fn slow_and_silent_and_idle_connections_are_closed() {
    let (client, _shutdown, _task) = start().await;
    let began = Instant::now();
    for said in ["", "GET /echo HT", "GET /no HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut tcp = TcpStream::connect(client.address).await.unwrap();
        tcp.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        tcp.read_to_end(&mut rest).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn large_headers_are_refused() {
    let (client, _shutdown, _task) = start().await;
    let mut tcp = TcpStream::connect(client.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n",
        "a".repeat(HEADER_MAX)
    );
    let _ = tcp.write_all(head.as_bytes()).await;
    assert!(first_line(&mut tcp).await.contains("431"));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (client, _shutdown, _task) = start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(client.stream("/events", &[]).await.unwrap());
    }
    let mut tcp = TcpStream::connect(client.address).await.unwrap();
    assert!(first_line(&mut tcp).await.contains("503"));
    held.pop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        client.get("/no").await.unwrap().status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn events_come_line_by_line_and_end_with_the_server() {
    let (client, shutdown, task) = start().await;
    let mut lines = client.stream("/events", &[]).await.unwrap();
    for expected in ["data: one", "", "data: two"] {
        assert_eq!(lines.next().await.unwrap().unwrap(), expected);
    }
    let began = Instant::now();
    shutdown.trigger();
    task.await.unwrap();
    assert!(began.elapsed() < DRAIN + Duration::from_secs(2));
    assert!(!matches!(lines.next().await, Ok(Some(_))));
}

#[test]
fn a_foreign_host_is_told_apart() {
    for (host, ours) in [
        ("127.0.0.1:7000", true),
        ("localhost", true),
        ("[::1]:80", true),
        ("evil.example:7000", false),
        ("127.0.0.1.evil.example", false),
        ("localhost:80:80", false),
        ("", false),
    ] {
        let request = hyper::Request::builder()
            .header(HOST, host)
            .body(())
            .unwrap();
        assert_eq!(is_for_loopback(&request), ours, "{host}");
    }
    assert!(!is_for_loopback(&hyper::Request::new(())));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let held = bind_loopback(0).await.unwrap();
    let port = held.local_addr().unwrap().port();
    let text = bind_loopback(port).await.unwrap_err().to_string();
    assert!(
        text.contains(&port.to_string()) && text.contains("another process"),
        "{text}"
    );
}

async fn first_line(tcp: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let n = tcp.read(&mut buffer).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

/// One request through TLS; the certificate is made for these tests and nothing else.
#[tokio::test]
async fn tls_answers_who_trusts_it_and_not_who_speaks_in_the_clear() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/testdata");
    let (cert, key) = (data.join("cert.pem"), data.join("key.pem"));
    assert!(ServerTls::from_files(&key, &cert).is_err());
    let tls = ServerTls::from_files(&cert, &key).unwrap();
    let tcp = bind_loopback(0).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let shutdown = Shutdown::manual();
    let listener = Listener::Tls(tcp, tls);
    let task = tokio::spawn(serve(listener, tight(), shutdown.clone(), |_| async {
        text(StatusCode::OK, "sealed")
    }));
    let mut roots = rustls::RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(&cert).unwrap();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("sealed"));
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    shutdown.trigger();
    task.await.unwrap();
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let listener = bind_loopback(0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = HttpLimits {
        connections_per_address: 2,
        header_timeout: Duration::from_secs(60),
        ..HttpLimits::default()
    };
    let handler = |_| async { text(StatusCode::OK, "here\n") };
    tokio::spawn(serve(listener, limits, Shutdown::manual(), handler));
    let first = TcpStream::connect(address).await.unwrap();
    let second = TcpStream::connect(address).await.unwrap();
    let mut third = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    third.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{answer:?}");
    // Somebody else is served meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    other
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    // A place is free again soon after one has gone.
    drop((first, second));
    let client = HttpClient::new(address);
    let patience = Instant::now() + Duration::from_secs(5);
    while !client
        .get("/")
        .await
        .is_ok_and(|a| a.status == StatusCode::OK)
    {
        assert!(Instant::now() < patience);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
