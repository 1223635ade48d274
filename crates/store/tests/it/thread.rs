//! The thread: answers come after the commit, in order, and none is forgotten.

use crate::common::*;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use store::{Done, InboxThread, Job, QUEUE_MAX, Refused};
use wire::time::UnixTime;

fn spawn(folder: &std::path::Path) -> (InboxThread, Receiver<Done>) {
    let (store, _) = open(folder).unwrap();
    let (send, done) = channel();
    let on_done = Box::new(move |answers: Vec<Done>| {
        for answer in answers {
            let _ = send.send(answer);
        }
    });
    (InboxThread::spawn(store, on_done).unwrap(), done)
}

fn answer(done: &Receiver<Done>) -> Done {
    done.recv_timeout(Duration::from_secs(20)).unwrap()
}

#[test]
fn answers_every_order() {
    let folder = tempfile::tempdir().unwrap();
    let (thread, done) = spawn(folder.path());
    let op = put_inbox(1, FAR);
    thread.submit(Job::Apply { ticket: 0, op }).unwrap();
    for ticket in 1..=100 {
        let op = put_cell(1, ticket, FAR);
        thread.submit(Job::Apply { ticket, op }).unwrap();
    }
    for expected in 0..=100 {
        assert!(matches!(answer(&done), Done::Applied { ticket } if ticket == expected));
    }
    // Refusals are answered, and the store goes on.
    let op = put_cell(9, 1, FAR);
    thread.submit(Job::Apply { ticket: 200, op }).unwrap();
    assert!(matches!(answer(&done), Done::Failed { ticket: 200 }));
    let read = |ticket, sequence| Job::Read {
        ticket,
        key: inbox(1),
        sequence,
    };
    thread.submit(read(201, 7)).unwrap();
    let Done::Read { ticket: 201, cell } = answer(&done) else {
        panic!("no answer to a read");
    };
    assert!(cell == Some(content(1, 7)));
    thread.submit(Job::Expire { now: FAR }).unwrap();
    thread.submit(read(202, 7)).unwrap();
    assert!(matches!(
        answer(&done),
        Done::Read {
            ticket: 202,
            cell: None
        }
    ));
    assert!(thread.failure().is_none());
    thread.close().unwrap();
}

#[test]
fn closing_commits_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (thread, done) = spawn(folder.path());
    for (ticket, op) in [(0, put_inbox(1, FAR)), (1, put_cell(1, 1, FAR))] {
        thread.submit(Job::Apply { ticket, op }).unwrap();
    }
    thread.close().unwrap();
    assert!(matches!(answer(&done), Done::Applied { ticket: 0 }));
    assert!(matches!(answer(&done), Done::Applied { ticket: 1 }));
    let (_, index) = open(folder.path()).unwrap();
    assert_eq!(sequences(&index)[&1], [1]);
}

#[test]
fn a_full_queue_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    let (release, gate) = channel::<()>();
    // The thread stands still in its first answer.
    let on_done = Box::new(move |_: Vec<Done>| {
        let _ = gate.recv();
    });
    let thread = InboxThread::spawn(store, on_done).unwrap();
    let mut taken = 0;
    let refused = loop {
        let read = Job::Read {
            ticket: taken,
            key: inbox(1),
            sequence: 0,
        };
        match thread.submit(read) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::Full);
    assert!(taken as usize >= QUEUE_MAX);
    drop(release);
    thread.close().unwrap();
}

#[test]
fn many_expired_cells_go_without_further_orders() {
    let folder = tempfile::tempdir().unwrap();
    let (thread, done) = spawn(folder.path());
    let op = put_inbox(1, FAR);
    thread.submit(Job::Apply { ticket: 0, op }).unwrap();
    for ticket in 1..=700 {
        let op = put_cell(1, ticket, UnixTime(1_000));
        thread.submit(Job::Apply { ticket, op }).unwrap();
    }
    for _ in 0..=700 {
        assert!(matches!(answer(&done), Done::Applied { .. }));
    }
    let now = UnixTime(10_000);
    thread.submit(Job::Expire { now }).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    thread.close().unwrap();
    let (store, index) = open(folder.path()).unwrap();
    assert_eq!(sequences(&index)[&1], [0; 0]);
    assert_eq!(store.swept(), store::Swept::default());
}
