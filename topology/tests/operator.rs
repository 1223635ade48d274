//! What an operator asks and orders while an authority runs: `admit`, `ban`, `show`, `diff`.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "support/alone.rs"]
mod alone;

use alone::{Fixture, NODES, SEED, descriptor, now, output, program};
use directory::testing::nobodys_key;
use directory::vote::{Statement, StatementKind};
use directory::{JoinRequest, Parameters, Role, SignedDirectory, SplitProof, hex, testing};
use runtime::http_client::StatusCode;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use wire::ids::{Epoch, NodeId};
use wire::keys::IdentitySecret;

/// Of a fifth node, which is not in the configuration; it calls itself a gateway, as `descriptor` makes it.
const STRANGER: usize = NODES;

fn request(role: Role) -> String {
    let secret = testing::node_secret(SEED, STRANGER);
    let network = testing::network_id(SEED);
    JoinRequest::sign(role, "Example <Society>", now(), &secret, &network)
        .unwrap()
        .to_text()
}

/// An upload's answer, until it is this one.
async fn wait_upload(fixture: &Fixture, index: usize, expected: StatusCode) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, text) = fixture.post(descriptor(index, now())).await;
        if status == expected {
            return;
        }
        assert!(Instant::now() < patience, "{status}: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn says(arguments: &[&str], config: &Path) -> String {
    let (status, text) = output(arguments, config);
    assert_eq!(status, Some(0), "{text}");
    text
}

#[tokio::test]
async fn nodes_are_admitted_and_banned_while_it_runs() {
    let fixture = Fixture::started().await;
    let config = fixture.config();
    wait_upload(&fixture, STRANGER, StatusCode::FORBIDDEN).await;
    let text = says(&["admit", &request(Role::Gateway), "--config"], &config);
    assert!(text.contains("Admitted: gateway"), "{text}");
    assert!(text.contains("\"Example <Society>\""), "{text}");
    let again = says(&["admit", &request(Role::Gateway), "--config"], &config);
    assert!(again.contains("already"), "{again}");
    wait_upload(&fixture, STRANGER, StatusCode::OK).await;
    let check = says(&["run", "--check-config", "--config"], &config);
    assert!(check.contains("is fine"), "{check}");

    // It is in the directory, under its name; then it and a node of the configuration are banned.
    fixture.upload_all().await;
    let directory = fixture.voted("/v1/directory").await;
    assert_eq!(directory.nodes().count(), NODES + 1);
    let shown = says(&["show", "--config"], &config);
    assert!(shown.contains("Example <Society>"), "{shown}");
    assert!(shown.contains("2 gateways"), "{shown}");
    let id = NodeId::of(&testing::node_secret(SEED, STRANGER).public());
    let text = says(&["ban", &hex::encode(&id.0)[..10], "--config"], &config);
    assert!(text.contains("Off the allow-list"), "{text}");
    wait_upload(&fixture, STRANGER, StatusCode::FORBIDDEN).await;
    let zero = testing::node_secret(SEED, 0).public().to_bytes();
    says(&["ban", &hex::encode(&zero), "--config"], &config);
    wait_upload(&fixture, 0, StatusCode::FORBIDDEN).await;
    let status = says(&["status", "--json", "--config"], &config);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["nodes_admitted"], NODES - 1);
    assert_eq!(
        status["nodes_with_descriptor"],
        NODES - 1,
        "what it said is forgotten"
    );
}

#[tokio::test]
async fn a_damaged_list_changes_nothing_in_a_running_authority_and_stops_a_new_one() {
    let fixture = Fixture::started().await;
    let file = fixture.folder.path().join("data/nodes.toml");
    std::fs::write(&file, "[[ban]]\nidentity = 7\n").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    wait_upload(&fixture, 0, StatusCode::OK).await;
    let (status, text) = output(&["run", "--check-config", "--config"], &fixture.config());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("nodes.toml is damaged"), "{text}");
}

#[tokio::test]
async fn requests_and_nodes_that_are_none_are_refused_by_name() {
    let fixture = Fixture::new();
    let config = fixture.config();
    let secret = testing::node_secret(SEED, 0);
    let elsewhere = testing::network_id(1);
    let foreign = JoinRequest::sign(Role::Mix, "x", now(), &secret, &elsewhere).unwrap();
    let good = request(Role::Mix);
    for (request, says) in [
        (foreign.to_text(), "another network"),
        (good[..good.len() - 2].to_owned(), "cut off"),
        (good.replacen("12", "21", 1), "join"),
        ("mizzle-join".to_owned(), "no join request"),
        ("no-such-file".to_owned(), "cannot open no-such-file"),
    ] {
        let (status, text) = output(&["admit", &request, "--config"], &config);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains(says), "{text}");
    }
    let (status, text) = output(&["ban", "0011223344", "--config"], &config);
    assert_eq!(status, Some(1));
    assert!(text.contains("no node on the allow-list"), "{text}");
    assert!(!fixture.folder.path().join("data/nodes.toml").exists());
}

#[tokio::test]
async fn a_directory_is_shown_from_a_file_and_from_an_authority_and_compared() {
    let fixture = Fixture::started().await;
    let config = fixture.config();
    fixture.upload_all().await;
    let directory = fixture.voted("/v1/directory").await;
    let document = fixture.get("/v1/directory").await.unwrap().body;
    let file = fixture.folder.path().join("document");
    std::fs::write(&file, &document).unwrap();
    let file = file.to_str().unwrap();
    let url = format!("http://{}/v1/directory/0", fixture.address);
    let address = fixture.address.to_string();
    let shown = says(&["show", file, "--json", "--config"], &config);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["hash"], hex::encode(&directory.hash().0));
    assert_eq!(shown["gateways"][0]["operator"], "o3");
    for source in [&url[..], &address] {
        let same = says(&["show", source, "--json", "--config"], &config);
        assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), shown);
    }
    let page = says(&["show", file, "--html", "--config"], &config);
    assert!(
        page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
        "{page}"
    );
    let same = says(&["diff", file, &url, "--config"], &config);
    assert!(same.contains("both are the directory of epoch 0"), "{same}");
    assert!(same.contains("nobody came, went or moved"), "{same}");
    let json = says(&["diff", file, file, "--json", "--config"], &config);
    assert!(serde_json::from_str::<Value>(&json).unwrap()["joined"].is_array());

    // Whoever has network.toml needs no configuration. And what is not signed is not shown.
    let network = fixture.folder.path().join("network.toml");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = program(&["show", file, "--network"], Some(&network));
    let output_there = command.current_dir(elsewhere.path()).output().unwrap();
    let text = String::from_utf8(output_there.stdout).unwrap();
    assert!(text.contains("layer 3: 1 mix"), "{text}");
    let mut forged = document.to_vec();
    forged[100] ^= 1;
    std::fs::write(file, forged).unwrap();
    let (status, text) = output(&["show", file, "--config"], &config);
    assert_eq!(status, Some(1));
    assert!(text.contains("signature"), "{text}");
    let missing = format!("http://{}/v1/directory/99", fixture.address);
    let (status, text) = output(&["show", &missing, "--config"], &config);
    assert_eq!(status, Some(1));
    assert!(text.contains("404"), "{text}");
}

/// Two statements and two directories of one authority, as files, to the real command.
#[tokio::test]
async fn proofs_of_a_cheat_are_accepted_and_changed_ones_refused() {
    let fixture = Fixture::new();
    let network_file = fixture.folder.path().join("network.toml");
    let verify = |source: &str| {
        let arguments = ["verify", source, "--network"];
        output(&arguments, &network_file)
    };
    let secret = IdentitySecret::from_seed(&[5; 32]);
    let statement = |words: &[u8]| {
        let mut statement = Statement {
            kind: StatementKind::Ballot,
            epoch: Epoch(4),
            attempt: 0,
            author: 0,
            payload: words.into(),
            signatures: Vec::new(),
        };
        statement.sign_for_test(&fixture.network, 0, &secret);
        statement.encode()
    };
    let mut said_two = b"MZEQ\x01".to_vec();
    for said in [statement(b"one"), statement(b"other")] {
        said_two.extend((said.len() as u32).to_be_bytes());
        said_two.extend(said);
    }
    let signed = |mixes| {
        let parameters = Parameters::localnet();
        let schedule = fixture.network.schedule();
        let shape = (mixes, 1);
        let (map, _) =
            testing::directory_on(schedule, SEED, shape, Epoch(4), parameters, nobodys_key);
        SignedDirectory::sign(&map, 0, &secret)
    };
    let signed_two = SplitProof::new(signed(1), signed(2)).encode();
    let key = hex::encode(&secret.public().to_bytes());
    for (name, good, says) in [
        ("equivocation-of-1.proof", said_two, "two different ballots"),
        (
            "signed-twice.proof",
            signed_two,
            "two directories of epoch 4",
        ),
    ] {
        let path = fixture.folder.path().join(name);
        let file = path.to_str().unwrap();
        std::fs::write(&path, &good).unwrap();
        let (code, text) = verify(file);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(says) && text.contains(&key), "{text}");
        assert!(text.contains("authority 1 ("), "{text}");
        for at in [5, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let (code, text) = verify(file);
            assert_eq!(code, Some(1), "byte {at}: {text}");
            assert!(text.contains("proves nothing"), "{text}");
        }
    }
    let (code, text) = verify("no-such-file");
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot open no-such-file"), "{text}");
}

/// From the authority itself, as from a file.
#[tokio::test]
async fn a_directory_is_verified_where_it_is_published() {
    let fixture = Fixture::started().await;
    fixture.upload_all().await;
    let directory = fixture.voted("/v1/directory").await;
    let network_file = fixture.folder.path().join("network.toml");
    let address = fixture.address.to_string();
    let (code, text) = output(&["verify", &address, "--network"], &network_file);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&hex::encode(&directory.hash().0)), "{text}");
}
