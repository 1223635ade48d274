//! The real program on loopback: its routes, what it refuses, what survives its end.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "support/alone.rs"]
mod alone;

use alone::{Fixture, MIXES, NODES, SEED, descriptor, now, output, program};
use directory::{LoopReport, Network, REPORT_MAX, SignedReport, hex, testing};
use runtime::http_client::{HttpClient, Method, StatusCode};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use wire::ids::{DirectoryHash, Epoch};
use wire::keys::IdentitySecret;
use wire::time::UnixTime;

#[tokio::test]
async fn a_directory_is_made_and_survives_a_kill() {
    let mut fixture = Fixture::started().await;
    assert!(fixture.directory("/v1/directory").await.is_none());
    fixture.upload_all().await;
    let first = fixture.voted("/v1/directory").await;
    assert_eq!(first.epoch, Epoch(0));
    assert_eq!(first.nodes().count(), NODES);
    let same = fixture.directory("/v1/directory/0").await.unwrap();
    assert_eq!(same.hash(), first.hash());

    // At once after it was shown: it was durable before.
    fixture.kill();
    fixture.start().await;
    let again = fixture.directory("/v1/directory/0").await.unwrap();
    assert_eq!(again.hash(), first.hash());
    // Other descriptors change nothing of what is signed.
    fixture.upload_all().await;
    let again = fixture.directory("/v1/directory").await.unwrap();
    assert_eq!(again.hash(), first.hash());
}

#[tokio::test]
async fn descriptors_survive_too() {
    let mut fixture = Fixture::started().await;
    let (status, _) = fixture.post(descriptor(0, now())).await;
    assert_eq!(status, StatusCode::OK);
    // They are written half a second after the first of a burst, seen at the next step of the loop.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    fixture.kill();
    fixture.start().await;
    let status = fixture.get("/v1/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["nodes_with_descriptor"], 1);
    assert_eq!(status["nodes_admitted"], NODES);
}

#[tokio::test]
async fn bad_uploads_have_named_outcomes() {
    let fixture = Fixture::started().await;
    let good = descriptor(0, now());
    let refused = |body: Vec<u8>| fixture.post(body);

    let (status, text) = refused(b"no descriptor".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("magic"), "{text}");
    let (status, _) = refused(Vec::new()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = refused(good[..good.len() - 1].to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = refused(vec![0; directory::DESCRIPTOR_MAX + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let (status, text) = refused(wrong).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("signature"), "{text}");
    let (status, text) = refused(descriptor(NODES + 1, now())).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("allow-list"), "{text}");

    assert_eq!(refused(good.clone()).await.0, StatusCode::OK);
    assert_eq!(refused(good).await.1, "unchanged\n");
    let older = UnixTime(now().0 - 60_000);
    assert_eq!(refused(descriptor(0, older)).await.0, StatusCode::CONFLICT);
    let stale = UnixTime(now().0 - 3_600_000);
    let (status, _) = refused(descriptor(1, stale)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// A report on loops at the real authority: what is taken, and each refusal by status and word.
#[tokio::test]
async fn reports_on_loops_have_named_outcomes() {
    let fixture = Fixture::started().await;
    let post = |body: Vec<u8>| {
        let client = HttpClient::new(fixture.address);
        async move {
            let answer = client.request(Method::POST, "/v1/report", &[], body);
            let answer = answer.await.unwrap();
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            (answer.status, text)
        }
    };
    let sign = |index: usize, report: &LoopReport| {
        let secret = testing::node_secret(SEED, index);
        SignedReport::sign(report.clone(), &secret, fixture.network.id()).encode()
    };
    let gateway = |directory: DirectoryHash, epoch| LoopReport {
        epoch,
        directory,
        judged: 100,
        lost: [vec![1], vec![0], vec![-2]],
    };
    let early = gateway(DirectoryHash([0; 32]), Epoch(0));
    let (status, text) = post(sign(MIXES, &early)).await;
    assert_eq!(status, StatusCode::CONFLICT, "before there is a directory");
    assert!(text.contains("another directory"), "{text}");

    fixture.upload_all().await;
    let directory = fixture.voted("/v1/directory").await;
    let good = gateway(directory.hash(), Epoch(0));
    let mix = LoopReport {
        lost: [0, 1, 2].map(|layer| {
            let own = directory.layer(layer)[0].identity;
            let is_own = own == testing::node_secret(SEED, 0).public();
            if is_own { Vec::new() } else { vec![0] }
        }),
        ..good.clone()
    };
    let mut changed = sign(MIXES, &good);
    *changed.last_mut().unwrap() ^= 1;
    let wide = LoopReport {
        lost: [vec![1, 1], vec![0], vec![0]],
        ..good.clone()
    };
    let second = LoopReport {
        judged: 101,
        ..good.clone()
    };
    let elsewhere = gateway(DirectoryHash([9; 32]), Epoch(0));
    let cut = sign(MIXES, &good);
    let cut = cut[..cut.len() - 1].to_vec();
    let cases = [
        (b"no report".to_vec(), StatusCode::BAD_REQUEST, "no report"),
        (Vec::new(), StatusCode::BAD_REQUEST, "no report"),
        (cut, StatusCode::BAD_REQUEST, "no report"),
        (vec![0; REPORT_MAX + 1], StatusCode::PAYLOAD_TOO_LARGE, ""),
        (
            sign(NODES + 3, &good),
            StatusCode::FORBIDDEN,
            "not in the directory",
        ),
        (changed, StatusCode::FORBIDDEN, "signature"),
        (
            sign(MIXES, &gateway(directory.hash(), Epoch(1))),
            StatusCode::CONFLICT,
            "another epoch",
        ),
        (
            sign(MIXES, &elsewhere),
            StatusCode::CONFLICT,
            "another directory",
        ),
        (
            sign(MIXES, &wide),
            StatusCode::UNPROCESSABLE_ENTITY,
            "does not fit",
        ),
        (
            sign(0, &good),
            StatusCode::UNPROCESSABLE_ENTITY,
            "does not fit",
        ),
        // Refusals cost a node nothing: the first good one counts, and no other after it.
        (sign(MIXES, &good), StatusCode::OK, "stored"),
        (sign(MIXES, &good), StatusCode::OK, "unchanged"),
        (sign(MIXES, &second), StatusCode::CONFLICT, "first counts"),
        (sign(0, &mix), StatusCode::OK, "stored"),
    ];
    for (body, expected, says) in cases {
        let (status, text) = post(body).await;
        assert_eq!(status, expected, "{says}: {text}");
        assert!(text.contains(says), "{says}: {text}");
    }
    let status = fixture.get("/v1/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["reports"], 2, "{status}");
}

#[tokio::test]
async fn routes_and_methods() {
    let fixture = Fixture::started().await;
    for path in [
        "/",
        "/v1/directory/+1",
        "/v1/directory/00",
        "/v1/directoryx",
        "/v2/status",
    ] {
        let status = fixture.get(path).await.unwrap().status;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let client = HttpClient::new(fixture.address);
    for (method, path) in [
        (Method::GET, "/v1/descriptor"),
        (Method::GET, "/v1/report"),
        (Method::DELETE, "/v1/directory"),
        (Method::POST, "/v1/status"),
    ] {
        let answer = client.request(method, path, &[], "").await.unwrap();
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    // A peer that speaks no HTTP disturbs nobody.
    let mut tcp = TcpStream::connect(fixture.address).unwrap();
    tcp.write_all(&[0x16, 3, 1, 0xff, 0xff, 0, 13, 10, 13, 10])
        .unwrap();
    assert!(fixture.get("/v1/status").await.unwrap().status.is_success());
}

#[tokio::test]
async fn who_has_it_is_told_so() {
    let fixture = Fixture::started().await;
    fixture.upload_all().await;
    let directory = fixture.voted("/v1/directory").await;
    let tag = format!("\"{}\"", hex::encode(&directory.hash().0));
    let client = HttpClient::new(fixture.address);
    for (known, expected) in [
        (tag.clone(), StatusCode::NOT_MODIFIED),
        (format!("\"other\", {tag}"), StatusCode::NOT_MODIFIED),
        ("*".to_owned(), StatusCode::NOT_MODIFIED),
        ("\"other\"".to_owned(), StatusCode::OK),
    ] {
        let headers = [("if-none-match", &known[..])];
        let answer = client.request(Method::GET, "/v1/directory", &headers, "");
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, expected, "{known}");
        assert_eq!(answer.body.is_empty(), expected == StatusCode::NOT_MODIFIED);
    }
    // By gzip for who takes it, under a tag of its own; that of either form says who has it.
    let packed = client.get_packed("/v1/directory").await.unwrap();
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let plain = client.get("/v1/directory").await.unwrap();
    assert!(!plain.headers.contains_key("content-encoding"));
    assert_eq!(packed.body, plain.body);
    let length: usize = packed.headers["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(length < packed.body.len(), "{length}");
    let packed_tag = packed.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(packed_tag, tag);
    for (tag, accept) in [
        (&packed_tag, "gzip"),
        (&tag, "gzip"),
        (&packed_tag, "identity"),
    ] {
        let headers = [("if-none-match", &tag[..]), ("accept-encoding", accept)];
        let answer = client.request(Method::GET, "/v1/directory", &headers, "");
        assert_eq!(
            answer.await.unwrap().status,
            StatusCode::NOT_MODIFIED,
            "{tag} {accept}"
        );
    }
}

#[tokio::test]
async fn starts_that_cannot_be() {
    let mut fixture = Fixture::new();
    let config = fixture.config();
    let check = || output(&["run", "--check-config", "--config"], &config);
    let run = || output(&["run", "--config"], &config);
    let good = std::fs::read_to_string(&config).unwrap();
    assert_eq!(check().0, Some(0), "{}", check().1);

    for (from, to, code, says) in [
        ("profile", "profil", 78, "profil"),
        ("\"localnet\"", "\"lan\"", 78, "lan"),
        ("role = \"mix\"", "role = \"exit\"", 78, "exit"),
        ("identity = \"", "identity = \"0", 78, "identity"),
        (
            "[[node]]",
            "[parameters]\nloop_rate = 0\n[[node]]",
            78,
            "loop_rate",
        ),
        (
            "[[node]]",
            "[parameters]\nkey_overlap_ms = 600000\n[[node]]",
            78,
            "key_overlap",
        ),
        (
            "[[node]]",
            "expected_nodes = 5\n[[node]]",
            78,
            "expected_nodes",
        ),
        ("network.toml", "nowhere.toml", 78, "nowhere.toml"),
    ] {
        std::fs::write(&config, good.replacen(from, to, 1)).unwrap();
        let (status, text) = check();
        assert_eq!(status, Some(code), "{text}");
        assert!(text.contains(says), "{text}");
    }
    std::fs::write(&config, &good).unwrap();

    let network_file = fixture.folder.path().join("network.toml");
    let text = fixture.network.to_toml();
    let identity = IdentitySecret::from_seed(&[5; 32]).public().to_bytes();
    let other = IdentitySecret::from_seed(&[6; 32]).public().to_bytes();
    let stranger = text.replace(&hex::encode(&identity), &hex::encode(&other));
    std::fs::write(&network_file, stranger).unwrap();
    let (status, said) = run();
    assert_eq!(status, Some(78));
    assert!(said.contains("not in network.toml"), "{said}");
    std::fs::write(&network_file, text).unwrap();

    let key = fixture.folder.path().join("data/identity.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let (status, text) = run();
    assert_eq!(status, Some(1));
    assert!(text.contains("chmod 600"), "{text}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();

    let damaged = fixture.folder.path().join("data/directory-0");
    std::fs::write(&damaged, [1; 50]).unwrap();
    std::fs::set_permissions(&damaged, PermissionsExt::from_mode(0o600)).unwrap();
    let (status, text) = run();
    assert_eq!(status, Some(1));
    assert!(text.contains("damaged"), "{text}");
    std::fs::remove_file(&damaged).unwrap();

    let held = TcpListener::bind(fixture.address).unwrap();
    let (status, text) = run();
    assert_eq!(status, Some(1));
    assert!(text.contains("another process listens"), "{text}");
    drop(held);

    fixture.start().await;
    let (status, text) = run();
    assert_eq!(status, Some(1));
    assert!(text.contains("in use by another process"), "{text}");
    let (status, text) = output(&["status", "--config"], &config);
    assert_eq!(status, Some(0));
    assert!(text.contains("there is no directory yet"), "{text}");
    assert!(text.contains("authority 1"), "{text}");
    let (status, text) = output(&["status", "--json", "--config"], &config);
    assert_eq!(status, Some(0));
    assert!(text.contains("nodes_usable"), "{text}");
    fixture.kill();
    let (status, text) = output(&["status", "--config"], &config);
    assert_eq!(status, Some(1));
    assert!(text.contains("topology run"), "{text}");
}

#[test]
fn init_makes_what_is_missing_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let init = || {
        let mut command = program(&["init", "--epoch-seconds", "600"], None);
        let output = command.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let first = init();
    let identity = first.lines().find(|l| l.starts_with("identity ")).unwrap();
    let text = std::fs::read_to_string(folder.path().join("network.toml")).unwrap();
    let network = Network::from_toml(&text).unwrap();
    assert_eq!(network.schedule().length, Duration::from_secs(600));
    assert!(text.contains(identity.strip_prefix("identity ").unwrap()));
    let key = folder.path().join("topology-data/identity.key");
    let mode = std::fs::metadata(key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(init().contains(identity), "another identity");
    let again = std::fs::read_to_string(folder.path().join("network.toml")).unwrap();
    assert_eq!(again, text);
}
