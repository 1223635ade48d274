//! Deposits one cell through the thread and says `acked` when it is durable, so that a script can
//! trace the system calls before that word: `store-probe FOLDER`.

use mizzle_core::stored::{InboxKey, InboxRecord, StoreOp, StoredCell};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use store::{Done, InboxStore, InboxThread, Job};
use wire::aead::SealKey;
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, WriteTokenHash};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("usage: store-probe FOLDER")?;
    let master = SealKey::from_bytes([1; 32]);
    let rng = KeyRng::from_seed([2; 32]);
    let (store, _) = InboxStore::open(Path::new(&folder), master, UnixTime(0), rng)?;
    let (send, done) = channel();
    let on_done = Box::new(move |answers: Vec<Done>| {
        // The receiver goes only when the probe ends.
        let _ = send.send(answers);
    });
    let thread = InboxThread::spawn(store, on_done)?;
    let key = InboxKey([3; 32]);
    let expires = UnixTime(3_600_000);
    let record = InboxRecord {
        reader: IdentitySecret::from_seed(&[4; 32]).public(),
        token_hash: WriteTokenHash([5; 32]),
        expires,
    };
    let cell = StoredCell {
        sequence: 1,
        id: CellId([6; 16]),
        expires,
    };
    let ops = [
        StoreOp::PutInbox { key, record },
        StoreOp::PutCell {
            key,
            cell,
            content: Box::new([7; CELL_LEN]),
        },
    ];
    let mut out = std::io::stdout();
    writeln!(out, "deposit")?;
    for (ticket, op) in (0..).zip(ops) {
        thread
            .submit(Job::Apply { ticket, op })
            .map_err(|refused| format!("{refused:?}"))?;
    }
    let mut applied = 0;
    while applied < 2 {
        for answer in done.recv()? {
            match answer {
                Done::Applied { .. } => applied += 1,
                Done::Read { .. } | Done::Failed { .. } => return Err("not stored".into()),
            }
        }
    }
    writeln!(out, "acked")?;
    thread.close()?;
    Ok(())
}
