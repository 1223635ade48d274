//! Whatever becomes of the files, a client starts, or says what a person must do.

use super::*;
use std::fs;
use std::path::PathBuf;
use wire::ids::NetworkId;

const NOW: UnixTime = UnixTime(1_900_000_000);

fn config() -> MessengerConfig {
    MessengerConfig::new(NetworkId([3; 32]))
}

fn start(dir: &DataDir) -> Result<Opened, NodeError> {
    open(dir, &Unlock::default(), &config(), NOW)
}

/// A client's folder with a hundred rows more than a new one has.
fn folder() -> (tempfile::TempDir, DataDir) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temporary.path().join("client")).unwrap();
    let mut opened = start(&dir).unwrap();
    assert!(opened.degraded.is_none());
    let row = |n: u16| Write {
        table: TABLE_EVENTS,
        key: n.to_be_bytes().to_vec(),
        value: Some(Zeroizing::new(vec![7; 300])),
        vault: None,
    };
    for n in 0..100 {
        opened.store.commit(&[row(n)]).unwrap();
    }
    drop(opened);
    (temporary, dir)
}

/// All files of the store, longest first.
fn files(dir: &DataDir) -> Vec<PathBuf> {
    let mut folders = vec![dir.file(STORE_FOLDER)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path).unwrap().len() > 0 {
                files.push(path);
            }
        }
    }
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    files
}

fn rows(opened: &Opened) -> usize {
    opened.store.scan(TABLE_EVENTS).unwrap().len()
}

/// Damages each file in turn; a start must work, and the one after it must find nothing wrong.
fn survives(damage: impl Fn(&mut Vec<u8>)) {
    let count = files(&folder().1).len();
    assert!(count >= 3);
    let mut degraded = 0;
    for at in 0..count {
        let (_temporary, dir) = folder();
        let Some(path) = files(&dir).into_iter().nth(at) else {
            continue;
        };
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let opened = match start(&dir) {
            Ok(opened) => opened,
            // Some bytes say which format and which key: then it is not we who can tell.
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains("another key") || text.contains("newer program"),
                    "{}: {text}",
                    path.display()
                );
                continue;
            }
        };
        if let Some(text) = &opened.degraded {
            degraded += 1;
            assert_eq!(quarantined(&dir.file(STORE_FOLDER)).unwrap().len(), 1);
            assert!(text.contains(".corrupt-"), "{text}");
        }
        let kept = rows(&opened);
        let was_degraded = opened.degraded.is_some();
        drop(opened);
        let again = start(&dir).unwrap();
        assert_eq!(rows(&again), kept, "no crash loop, and no repair loop");
        // It is said until a person has removed what was set aside.
        assert_eq!(again.degraded.is_some(), was_degraded);
        let aside = quarantined(&dir.file(STORE_FOLDER)).unwrap();
        assert_eq!(aside.len(), usize::from(was_degraded));
        drop(again);
        for folder in aside {
            fs::remove_dir_all(folder).unwrap();
        }
        assert!(start(&dir).unwrap().degraded.is_none());
    }
    assert!(degraded > 0, "no damage was noticed at all");
}

#[test]
fn a_flipped_bit_anywhere_costs_what_it_hit_and_no_more() {
    survives(|bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
    });
}

#[test]
fn a_file_that_is_cut_off_is_no_end() {
    survives(|bytes| bytes.truncate(bytes.len() / 2));
}

/// A salvage that cannot be done for want of room, say, costs nobody his identity.
#[test]
fn a_salvage_that_fails_replaces_nothing() {
    let (_temporary, dir) = folder();
    let log = files(&dir).into_iter().find(|path| path.ends_with("db"));
    let log = log.unwrap();
    let len = fs::metadata(&log).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(len / 2).unwrap();
    // A file where the new store would grow.
    let in_the_way = dir.file("store.new");
    fs::write(&in_the_way, b"").unwrap();
    for _ in 0..2 {
        assert!(start(&dir).is_err());
        assert!(quarantined(&dir.file(STORE_FOLDER)).unwrap().is_empty());
        assert!(log.exists());
    }
    fs::remove_file(&in_the_way).unwrap();
    assert!(start(&dir).unwrap().degraded.is_some());
}

#[test]
fn a_store_that_another_process_has_open_is_left_alone() {
    let (_temporary, dir) = folder();
    let held = start(&dir).unwrap();
    let error = start(&dir).err().unwrap().to_string();
    assert!(error.contains("another process"), "{error}");
    assert_eq!(rows(&held), 100);
    assert!(quarantined(&dir.file(STORE_FOLDER)).unwrap().is_empty());
}

/// Rows that open and contradict each other end neither the daemon nor the identity.
#[test]
fn what_does_not_fit_together_is_dropped_and_the_rest_kept() {
    let (_temporary, dir) = folder();
    let mut opened = start(&dir).unwrap();
    let who = opened.messenger.identity();
    // A page of a message to nobody.
    let write = Write {
        table: Table::Outgoing as u8,
        key: vec![9; 24],
        value: Some(Zeroizing::new(vec![1; 100])),
        vault: None,
    };
    opened.store.commit(&[write]).unwrap();
    drop(opened);
    let opened = start(&dir).unwrap();
    assert_eq!(opened.messenger.identity(), who);
    assert_eq!(rows(&opened), 100);
    let text = opened.degraded.clone().unwrap();
    assert!(
        text.contains("under way") && text.contains(".corrupt-"),
        "{text}"
    );
    drop(opened);
    assert_eq!(start(&dir).unwrap().messenger.identity(), who);
}

#[test]
fn a_wrong_passphrase_is_no_damage() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = DataDir::open(temporary.path().join("client")).unwrap();
    let given = |text: &str| {
        let path = temporary.path().join(text);
        fs::write(&path, text).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, private).unwrap();
        Unlock::from_file(Some(path))
    };
    let start = |text: &str| open(&dir, &given(text), &config(), NOW);
    let who = start("right").unwrap().messenger.identity();
    let error = start("wrong").err().unwrap();
    assert_eq!(error.exit_code(), 78);
    assert!(quarantined(&dir.file(STORE_FOLDER)).unwrap().is_empty());
    // A bit of the key's file is neither: nothing is set aside, nothing made anew.
    let mut bytes = fs::read(dir.file(KEY_FILE)).unwrap();
    let kept = bytes.clone();
    bytes[50] ^= 1;
    fs::write(dir.file(KEY_FILE), &bytes).unwrap();
    assert!(start("right").is_err());
    assert!(quarantined(&dir.file(STORE_FOLDER)).unwrap().is_empty());
    fs::write(dir.file(KEY_FILE), kept).unwrap();
    let opened = start("right").unwrap();
    assert_eq!(opened.messenger.identity(), who);
    assert!(opened.degraded.is_none());
}
