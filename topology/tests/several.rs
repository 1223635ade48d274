//! Four real authorities on loopback that vote with each other: one is killed, strangers and wrong
//! messages are refused by name, and what an operator reads.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "support/four.rs"]
mod four;

use four::{Fixture, now, ticket};
use runtime::http_client::{HttpClient, Method, StatusCode};
use std::time::{Duration, Instant};
use wire::ids::Epoch;

#[tokio::test]
#[ignore = "real time: half a minute of epochs"]
async fn four_vote_while_one_is_killed_and_comes_back() {
    let mut fixture = Fixture::start();
    let all = [0, 1, 2, 3];
    fixture.wait_for(Epoch(0), &all).await;
    fixture.kill(3);
    let next = fixture.network.schedule().epoch_at(now()).next();
    fixture.wait_for(next, &[0, 1, 2]).await;
    let words = fixture.words(0);
    assert!(words.contains("CANNOT BE REACHED"), "{words}");
    // Back in the middle of an epoch: it fetches what the others decided, and votes again.
    fixture.spawn(3);
    fixture.wait_for(next, &all).await;
    let later = fixture.network.schedule().epoch_at(now()).next().next();
    fixture.wait_for(later, &all).await;
    let status = fixture.status(0).await.unwrap();
    let authorities = status["authorities"].as_array().unwrap().clone();
    assert!(
        authorities
            .iter()
            .all(|a| a["own"] == true || a["reached"] == true)
    );
    let words = fixture.words(0);
    assert!(!words.contains("CANNOT"), "{words}");
}

#[tokio::test]
#[ignore = "real time: a minute of epochs"]
async fn below_the_threshold_the_operator_is_told_what_to_do_and_it_heals() {
    let mut fixture = Fixture::start();
    fixture.wait_for(Epoch(0), &[0, 1, 2, 3]).await;
    fixture.kill(2);
    fixture.kill(3);
    let lost = fixture.network.schedule().epoch_at(now()).next();
    let over = fixture.network.schedule().start(lost.next());
    while now() < over.saturating_add(Duration::from_secs(1)) {
        fixture.beat().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let log = fixture.log(0);
    for line in [
        "no ballot came in time; the vote goes on without it",
        "no directory can be made: only 2 authorities voted in time",
        "3 are needed: see who is missing with `topology status`",
        "there is no directory of this epoch; the one before holds for",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let words = fixture.words(0);
    assert!(words.contains("CANNOT BE REACHED"), "{words}");
    // One more is enough.
    fixture.spawn(2);
    let later = fixture.network.schedule().epoch_at(now()).next();
    fixture.wait_for(later, &[0, 1, 2]).await;
}

#[tokio::test]
async fn strangers_have_no_say() {
    let fixture = Fixture::start();
    let patience = Instant::now() + Duration::from_secs(20);
    while fixture.status(0).await.is_none() {
        assert!(Instant::now() < patience, "it does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = HttpClient::new(fixture.address(0));
    let post = |headers: Vec<(&'static str, String)>| {
        let client = client.clone();
        async move {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, &v[..])).collect();
            let answer = client.request(Method::POST, "/v1/vote/statement", &headers, vec![7; 64]);
            answer.await.unwrap().status
        }
    };
    assert_eq!(post(Vec::new()).await, StatusCode::FORBIDDEN);
    for ticket in ["", "1", "1 2 3", "9 1 00", "-1 0 zz"] {
        let status = post(vec![("mizzle-authority", ticket.to_owned())]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{ticket}");
    }
    // By the key of another authority, at the right time, for the right one: but no message.
    let time = now();
    let ticket = |from: u8, to: u8, signer: usize| ticket(&fixture.network, from, to, time, signer);
    let header = |value: String| vec![("mizzle-authority", value)];
    let wrong = post(header(ticket(1, 2, 1))).await;
    assert_eq!(wrong, StatusCode::FORBIDDEN, "for another one");
    let wrong = post(header(ticket(1, 0, 2))).await;
    assert_eq!(wrong, StatusCode::FORBIDDEN, "in another's name");
    let garbage = post(header(ticket(1, 0, 1))).await;
    assert_eq!(garbage, StatusCode::BAD_REQUEST);
    // A longer body than any statement is not read.
    let huge = vec![0; directory::vote::STATEMENT_MAX + 1];
    let value = ticket(1, 0, 1);
    let headers = [("mizzle-authority", &value[..])];
    let answer = client.request(Method::POST, "/v1/vote/statement", &headers, huge);
    assert_eq!(answer.await.unwrap().status, StatusCode::PAYLOAD_TOO_LARGE);
}
