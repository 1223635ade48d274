//! One real authority among three that this test plays: one that says two things, one that votes late, replays, floods, speaks in
//! another's name and has its clock ten minutes off, and one that is silent. Each has a named outcome, and what matters a line
//! for the operator.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "support/four.rs"]
mod four;

use directory::testing;
use directory::vote::{Statement, StatementKind, VoteTimes};
use four::{Fixture, SEED, now, ticket};
use runtime::http_client::{HttpClient, Method, StatusCode};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use wire::ids::Epoch;
use wire::time::UnixTime;

const PATIENCE: Duration = Duration::from_secs(60);

/// What `author` says in a vote, signed by these.
fn statement(
    fixture: &Fixture,
    (epoch, attempt): (Epoch, u32),
    author: u8,
    words: &[u8],
    by: &[u8],
) -> Vec<u8> {
    let mut statement = Statement {
        kind: StatementKind::Ballot,
        epoch,
        attempt,
        author,
        payload: words.into(),
        signatures: Vec::new(),
    };
    for signer in by {
        let secret = testing::authority_secret(SEED, usize::from(*signer));
        statement.sign_for_test(&fixture.network, *signer, &secret);
    }
    statement.encode()
}

/// Authority `from` sends it to the real one, by its clock.
async fn send(fixture: &Fixture, from: u8, time: UnixTime, body: Vec<u8>) -> (StatusCode, String) {
    let value = ticket(&fixture.network, from, 0, time, usize::from(from));
    let headers = [("mizzle-authority", &value[..])];
    let client = HttpClient::new(fixture.address(0));
    let answer = client.request(Method::POST, "/v1/vote/statement", &headers, body);
    let answer = answer.await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    (answer.status, text)
}

/// The next vote that begins, and which it is, when the real one has come to it.
async fn next_vote(fixture: &Fixture) -> ((Epoch, u32), VoteTimes) {
    let network = &fixture.network;
    let round = network.recovery_round();
    loop {
        let soon = now().saturating_add(round);
        let times = VoteTimes::again(network, soon);
        let epoch = network.schedule().epoch_at(soon);
        let begins = times.start.saturating_since(now());
        if times.start > now() && begins < round / 4 {
            return ((epoch, times.attempt), times);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_cheat_sends_has_a_name_and_the_operator_reads_of_it() {
    let mut fixture = Fixture::new();
    fixture.spawn(0);
    let patience = Instant::now() + PATIENCE;
    while fixture.status(0).await.is_none() {
        assert!(Instant::now() < patience, "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fixture.beat().await;

    // Its clock is ten minutes off.
    let before = UnixTime(now().0 - 600_000);
    let body = statement(&fixture, (Epoch(0), 1), 1, b"one", &[1]);
    let (status, text) = send(&fixture, 1, before, body).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("your clock is -600"), "{text}");

    // Two ballots in one vote; in which, is a matter of moments on a machine that is busy.
    let proof = fixture.folder.path().join("data-0/equivocation-of-2.proof");
    while !proof.exists() {
        assert!(Instant::now() < patience, "{}", fixture.log(0));
        let (vote, _) = next_vote(&fixture).await;
        for words in [&b"one"[..], b"other"] {
            let body = statement(&fixture, vote, 1, words, &[1]);
            send(&fixture, 1, now(), body).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_topology"));
    let known = fixture.folder.path().join("network.toml");
    let command = command
        .arg("verify")
        .arg(&proof)
        .arg("--network")
        .arg(known);
    let output = command.output().unwrap();
    let words = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{words}");
    assert!(words.contains("two different ballots") && words.contains("both: authority 2 ("));

    // Another's vote; one of the vote before; one after the rounds are over.
    let says = [
        ("without its author's signature", "a vote in another's name"),
        ("about another epoch", "an old one"),
        ("too late for its round", "a late one"),
    ];
    let mut seen = [false; 3];
    while seen != [true; 3] {
        assert!(Instant::now() < patience, "{seen:?}");
        let ((epoch, attempt), times) = next_vote(&fixture).await;
        if attempt < 2 {
            continue;
        }
        let others = statement(&fixture, (epoch, attempt), 2, b"words", &[1]);
        let old = statement(&fixture, (epoch, attempt - 1), 1, b"old", &[1]);
        let late = statement(&fixture, (epoch, attempt), 2, b"late", &[2, 3]);
        let over = times.reveals().saturating_since(now());
        let pauses = [Duration::from_millis(100), Duration::ZERO, over];
        for (i, (body, pause)) in [others, old, late].into_iter().zip(pauses).enumerate() {
            tokio::time::sleep(pause).await;
            let (status, text) = send(&fixture, 1, now(), body).await;
            seen[i] |= status == StatusCode::CONFLICT && text.contains(says[i].0);
        }
    }

    // A flood is turned away, and costs another authority nothing.
    let value = ticket(&fixture.network, 1, 0, now(), 1);
    let mut flood = JoinSet::new();
    for _ in 0..24 {
        let client = HttpClient::new(fixture.address(0));
        let value = value.clone();
        flood.spawn(async move {
            let headers = [("mizzle-authority", &value[..])];
            let mut turned_away = 0;
            for _ in 0..20 {
                let body = vec![7; 64];
                let answer = client.request(Method::POST, "/v1/vote/statement", &headers, body);
                let status = answer.await.map(|answer| answer.status);
                turned_away += usize::from(matches!(status, Ok(StatusCode::TOO_MANY_REQUESTS)));
            }
            turned_away
        });
    }
    let turned_away: usize = flood.join_all().await.into_iter().sum();
    assert!(turned_away > 0);
    let (status, _) = send(&fixture, 2, now(), vec![7; 64]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    // Who is silent is named, and that there are too few.
    let words = fixture.words(0);
    assert!(words.contains("CANNOT BE REACHED"), "{words}");
    assert!(
        words.contains("NO VALID DIRECTORY") || words.contains("no directory yet"),
        "{words}"
    );
    let log = fixture.log(0);
    for line in [
        "it signed two different statements of one vote: it cheats, or two processes run with its key",
        "no ballot came in time; the vote goes on without it. Is it running, is its clock right",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}
