//! A disk that takes no more: an error, then nothing but errors; after it has room again, every
//! acknowledged cell. A limit on the size of files plays the full disk.

use crate::common::*;
use std::process::Command;
use store::StoreError;

const FOLDER: &str = "MIZZLE_TEST_FULL_FOLDER";

#[test]
#[ignore = "the child of the test below"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = std::path::Path::new(&folder);
    let (mut store, _) = open(&folder.join("store")).unwrap();
    store.apply(&put_inbox(1, FAR)).unwrap();
    store.commit().unwrap();
    for s in 0..5_000 {
        let stored = store
            .apply(&put_cell(1, s, FAR))
            .and_then(|()| store.commit());
        match stored {
            Ok(()) => std::fs::write(folder.join("acked"), s.to_string()).unwrap(),
            Err(error) => {
                assert!(matches!(error, StoreError::Io { .. }), "{error}");
                let again = store.apply(&put_cell(1, s, FAR));
                assert!(matches!(again, Err(StoreError::Stopped)));
                assert!(matches!(store.commit(), Err(StoreError::Stopped)));
                assert!(matches!(
                    store.read_cell(inbox(1), 0),
                    Err(StoreError::Stopped)
                ));
                std::fs::write(folder.join("refused"), "").unwrap();
                return;
            }
        }
    }
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    // With SIGXFSZ ignored a write past the limit fails with EFBIG, as one on a full disk fails.
    let script = "trap '' XFSZ; ulimit -f 6000; exec \"$0\" --exact disk_full::child --ignored";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(exe)
        .env(FOLDER, folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(
        folder.path().join("refused").exists(),
        "the limit was never met"
    );
    let acked: u64 = std::fs::read_to_string(folder.path().join("acked"))
        .unwrap()
        .parse()
        .unwrap();
    let (mut store, index) = open(&folder.path().join("store")).unwrap();
    let found = &sequences(&index)[&1];
    assert!((0..=acked).all(|s| found.contains(&s)));
    assert_contents(&mut store, &index);
}
