//! Uploads, files that come and files that are sent, with restarts of the store, wipes and full disks.

use super::catalog::TABLE_FILES;
use super::reading::FileNews;
use super::writing::{FileJob, Hand};
use super::*;
use messaging::{BlobRef, BlobWant, FileView};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use store::{ClientStore, VaultId};
use tempfile::TempDir;
use wire::aead::SealKey;

const DAY: u64 = 86_400_000;
const ALICE: ContactId = ContactId([1; 16]);
const BOB: ContactId = ContactId([2; 16]);

struct Disk {
    dir: TempDir,
    limit: u64,
}

impl Disk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            limit: 1 << 24,
        }
    }

    fn open(&self) -> Files {
        let key = SealKey::from_bytes([7; 32]);
        let rng = KeyRng::from_seed([3; 32]);
        let folder = self.dir.path().join("store");
        let rows = SharedStore::new(ClientStore::open(&folder, key, rng, |_, _| None).unwrap());
        let seed = std::fs::read_dir(self.folder()).map_or(0, |d| d.count());
        let rng = KeyRng::from_seed([seed as u8 + 9; 32]);
        Files::open(&self.folder(), self.limit, rows, rng).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    fn blobs(&self) -> usize {
        let names = std::fs::read_dir(self.folder()).unwrap();
        let blob = |n: &std::io::Result<std::fs::DirEntry>| {
            let name = n.as_ref().unwrap().file_name();
            name.to_str().unwrap().ends_with(".blob")
        };
        names.filter(blob).count()
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 37 / 11) as u8).collect()
}

fn upload(files: &Files, bytes: &[u8], at: u64) -> BlobInfo {
    let mut upload = files.upload().unwrap();
    bytes.chunks(1000).for_each(|c| upload.push(c).unwrap());
    assert_eq!(upload.len(), bytes.len() as u64);
    upload
        .finish("a.bin".into(), "x/y".into(), UnixTime(at))
        .unwrap()
}

fn id(text: &str) -> ClientMessageId {
    ClientMessageId::new(text).unwrap()
}

fn commit(files: &Files, rows: &[Write]) {
    files.0.rows.lock().commit(rows).unwrap();
}

fn view(bytes: &[u8]) -> FileView {
    FileView {
        name: "b.bin".into(),
        media_type: "x/z".into(),
        size: bytes.len() as u64,
        hash: Sha256::digest(bytes).into(),
    }
}

fn begin(bytes: &[u8], transfer: u8) -> FileJob {
    FileJob::Begin {
        contact: ALICE,
        transfer: MessageId([transfer; 16]),
        file: view(bytes),
    }
}

fn records(bytes: &[u8], transfer: u8) -> Vec<FileJob> {
    let record = |(index, bytes): (usize, &[u8])| FileJob::Write {
        contact: ALICE,
        transfer: MessageId([transfer; 16]),
        index: index as u32,
        bytes: Zeroizing::new(bytes.to_vec()),
    };
    let records = bytes.chunks(FILE_RECORD_LEN).enumerate();
    records.map(record).collect()
}

#[test]
fn an_upload_is_there_after_a_restart_and_reads_in_ranges() {
    let disk = Disk::new();
    let bytes = content(5 * FILE_RECORD_LEN + 17);
    let info = upload(&disk.open(), &bytes, 1);
    let files = disk.open();
    assert_eq!(files.info(&info.blob), Some(info.clone()));
    assert_eq!(info.sha256, *Sha256::digest(&bytes));
    assert_eq!(files.contacts(&info.blob), None);
    let reader = files.reader(&info.blob).unwrap();
    assert_eq!(*reader.info(), info);
    for (from, len) in [
        (0, 9),
        (1919, 2),
        (1920, 1920),
        (9000, 9000),
        (9617, 5),
        (99_999, 5),
    ] {
        let end = bytes.len().min(from + len);
        let expected = bytes.get(from..end).unwrap_or_default();
        let read = reader.read(from as u64, len as u64).unwrap();
        assert_eq!(&read[..], expected, "{from} {len}");
    }
    assert!(files.remove(&info.blob).unwrap());
    assert!(!files.remove(&info.blob).unwrap());
    assert_eq!((disk.blobs(), files.used_bytes()), (0, 0));
    drop((files, reader));
    assert_eq!(disk.open().info(&info.blob), None);
}

#[test]
fn an_upload_that_is_dropped_or_does_not_fit_leaves_nothing() {
    let mut disk = Disk::new();
    disk.limit = 100_000;
    let files = disk.open();
    let mut dropped = files.upload().unwrap();
    dropped.push(&content(9000)).unwrap();
    drop(dropped);
    let mut long = files.upload().unwrap();
    let mut refused = false;
    for _ in 0..200 {
        refused |= matches!(long.push(&content(1920)), Err(StoreError::Full));
    }
    assert!(refused);
    drop(long);
    assert_eq!((disk.blobs(), files.used_bytes()), (0, 0));
}

#[test]
fn what_nobody_uses_goes_after_a_day() {
    let disk = Disk::new();
    let files = disk.open();
    let unused = upload(&files, &content(100), 5).blob;
    let used = upload(&files, &content(200), 5).blob;
    commit(&files, &files.attach(&used, ALICE, &id("m")).unwrap());
    commit(&files, &files.attach(&used, BOB, &id("m")).unwrap());
    files.sweep(UnixTime(DAY)).unwrap();
    assert!(files.info(&unused).is_some());
    files.sweep(UnixTime(DAY + 5)).unwrap();
    assert_eq!((files.info(&unused), disk.blobs()), (None, 1));
    assert_eq!(files.contacts(&used), Some([ALICE, BOB].into()));
    // One message is finished, the other is not.
    let rows = files.release(ALICE, &id("m"), UnixTime(2 * DAY));
    commit(&files, &rows);
    assert!(files.release(ALICE, &id("other"), UnixTime(0)).is_empty());
    let files = {
        drop(files);
        disk.open()
    };
    files.sweep(UnixTime(3 * DAY)).unwrap();
    assert_eq!(files.contacts(&used), Some([BOB].into()));
    commit(&files, &files.release(BOB, &id("m"), UnixTime(3 * DAY)));
    files.sweep(UnixTime(4 * DAY)).unwrap();
    assert_eq!(disk.blobs(), 0);
    assert!(files.attach(&used, BOB, &id("n")).is_none());
    assert!(files.0.rows.lock().scan(TABLE_FILES).unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_comes_is_whole_when_it_is_said_to_be() {
    let disk = Disk::new();
    let files = disk.open();
    let bytes = content(40 * FILE_RECORD_LEN - 1);
    let mut hand = Hand::new(files.clone());
    let mut jobs = records(&bytes, 1);
    let rest = jobs.split_off(25);
    jobs.reverse();
    jobs.insert(0, begin(&bytes, 1));
    let mut rows = Vec::new();
    assert!(hand.work(jobs, &mut rows).is_empty());
    commit(&files, &rows);
    let message = MessageId([1; 16]);
    assert_eq!(files.received(&ALICE, &message), None);
    // A restart in the middle; the offer's batch comes once more, and some records too.
    drop((files, hand));
    let files = disk.open();
    let mut hand = Hand::new(files.clone());
    let mut jobs = vec![begin(&bytes, 1)];
    jobs.extend(rest);
    jobs.extend(records(&bytes, 1).into_iter().take(3));
    let mut rows = Vec::new();
    assert!(hand.work(jobs, &mut rows).is_empty());
    assert!(rows.is_empty());

    let (orders, _news, mut heard) = reading::start(&files).unwrap();
    assert!(orders.check(ALICE, message, view(&bytes).hash));
    assert!(orders.check(ALICE, message, [9; 32]));
    assert!(orders.check(BOB, message, view(&bytes).hash));
    for expected in [true, false, false] {
        match heard.recv().await {
            Some(FileNews::Checked { right, .. }) => assert_eq!(right, expected),
            _ => panic!("no check"),
        }
    }
    let (info, row) = files.finished(ALICE, message).unwrap();
    commit(&files, &[row]);
    orders.close().await;
    drop((files, hand));
    let files = disk.open();
    assert_eq!(files.received(&ALICE, &message), Some(info.clone()));
    let reader = files.reader(&info.blob).unwrap();
    assert_eq!(&reader.read(0, 1 << 20).unwrap()[..], &bytes[..READ_MAX]);
}

#[test]
fn records_to_send_are_read_and_what_is_gone_is_said_to_be() {
    let disk = Disk::new();
    let files = disk.open();
    let bytes = content(3 * FILE_RECORD_LEN + 5);
    let info = upload(&files, &bytes, 1);
    let (mut orders, _news, mut heard) = reading::start(&files).unwrap();
    let mut read = |index: u32| {
        let want = BlobWant {
            transfer: MessageId([4; 16]),
            contact: BOB,
            blob: info.blob,
            index,
        };
        orders.want(want);
        assert!(orders.ask().is_empty());
        match heard.blocking_recv() {
            Some(FileNews::Record(back, bytes)) if back == want => bytes.map(|b| b.to_vec()),
            _ => panic!("no record"),
        }
    };
    for (index, expected) in bytes.chunks(FILE_RECORD_LEN).enumerate() {
        assert_eq!(read(index as u32).as_deref(), Some(expected));
    }
    assert_eq!(read(4), None);
    assert!(read(0).is_some());
    files.remove(&info.blob).unwrap();
    assert_eq!(read(0), None);
}

/// More at once than the thread has room for, as with many files after a restart: all of them come, in their order, and
/// no file counts as gone.
#[test]
fn records_for_which_there_is_no_room_come_later() {
    let disk = Disk::new();
    let files = disk.open();
    let kept: Vec<u8> = (0..3).map(|n| n * 7).collect();
    let blobs: Vec<BlobRef> = kept.iter().map(|n| upload(&files, &[*n], 1).blob).collect();
    let (mut orders, news, mut heard) = reading::start(&files).unwrap();
    let want = |n: usize| BlobWant {
        transfer: MessageId([4; 16]),
        contact: BOB,
        blob: blobs[n % 3],
        index: 0,
    };
    // Both ways are full before these are asked for.
    let total = 3 * reading::QUEUE;
    (0..total).for_each(|n| orders.want(want(n)));
    for n in 0..total {
        assert!(orders.ask().is_empty(), "record {n} counts as gone");
        match heard.blocking_recv() {
            Some(FileNews::Record(back, Some(bytes))) => {
                assert_eq!((back, &bytes[..]), (want(n), &kept[n % 3..][..1]));
            }
            _ => panic!("no record {n}"),
        }
    }
    // A thread that is gone gives none.
    drop((heard, news));
    let mut never = Vec::new();
    while never.is_empty() {
        orders.want(want(1));
        never = orders.ask();
    }
    assert!(never.iter().all(|w| *w == want(1)));
}

#[test]
fn a_full_disk_ends_the_file_and_nothing_else() {
    let mut disk = Disk::new();
    disk.limit = 50_000;
    let files = disk.open();
    let mut hand = Hand::new(files.clone());
    let (long, short) = (content(60_000), content(8000));
    let mut jobs = vec![begin(&long, 1), begin(&short, 2)];
    jobs.extend(records(&long, 1));
    jobs.extend(records(&short, 2));
    let mut rows = Vec::new();
    let failed: Vec<MessageId> = hand
        .work(jobs, &mut rows)
        .into_iter()
        .filter_map(|news| match news {
            FileNews::Failed { transfer, .. } => Some(transfer),
            FileNews::Record(..) | FileNews::Checked { .. } => None,
        })
        .collect();
    assert_eq!(failed, [MessageId([1; 16])]);
    assert_eq!(rows.len(), 1);
    assert!(files.finished(ALICE, MessageId([2; 16])).is_some());
    assert!(files.given_up(ALICE, MessageId([1; 16])).is_empty());
    assert_eq!(files.given_up(ALICE, MessageId([2; 16])).len(), 1);
    files.sweep(UnixTime(1)).unwrap();
    assert_eq!((disk.blobs(), files.used_bytes()), (0, 0));
}

#[test]
fn a_wipe_takes_the_files_that_only_this_conversation_had() {
    let disk = Disk::new();
    let files = disk.open();
    let both = upload(&files, &content(100), 1).blob;
    let one = upload(&files, &content(200), 1).blob;
    for (blob, contact, message) in [(both, ALICE, "a"), (both, BOB, "b"), (one, ALICE, "c")] {
        commit(&files, &files.attach(&blob, contact, &id(message)).unwrap());
    }
    let bytes = content(300);
    let mut rows = Vec::new();
    let mut hand = Hand::new(files.clone());
    hand.work(vec![begin(&bytes, 1)], &mut rows);
    commit(&files, &rows);
    assert_eq!(disk.blobs(), 3);
    files.0.rows.lock().wipe(VaultId(ALICE.0)).unwrap();
    files.forget(&ALICE).unwrap();
    assert_eq!(disk.blobs(), 1);
    assert_eq!(files.contacts(&both), Some([BOB].into()));
    assert_eq!(files.info(&one), None);
    drop((files, hand));
    let files = disk.open();
    assert_eq!(files.contacts(&both), Some([BOB].into()));
    assert_eq!(disk.blobs(), 1);
    // A crash between the wipe and the removal of the files: the start removes them.
    files.0.rows.lock().wipe(VaultId(BOB.0)).unwrap();
    drop(files);
    disk.open();
    assert_eq!(disk.blobs(), 0);
}
