//! A Deposit is answered only after an fdatasync of slot file and store, seen from outside by strace.
//! Skipped loudly where there is no strace.

// Clippy's exceptions for tests do not reach the helper.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::print_stdout)]

use std::process::Command;

/// The system calls of `examples/store-probe.rs`, one line each, file names behind descriptors.
fn trace() -> Option<String> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!(
            "SKIPPED: strace is not installed, so the order of fdatasync and answer is UNSEEN"
        );
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("trace");
    let calls = "trace=write,pwrite64,pwritev,fdatasync,fsync,sync_file_range";
    let probe = std::env::current_exe().unwrap();
    let probe = probe
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/store-probe");
    let output = Command::new("strace")
        .args(["-f", "-y", "-e", calls, "-o"])
        .arg(&log)
        .arg(&probe)
        .arg(folder.path().join("store"))
        .output()
        .unwrap();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        // In some containers nobody may trace; that is not this program's fault.
        assert!(
            words.contains("ptrace") || words.contains("permitted"),
            "{words}"
        );
        println!("SKIPPED: strace may not trace here, so the order is UNSEEN: {words}");
        return None;
    }
    Some(std::fs::read_to_string(log).unwrap())
}

#[test]
fn the_answer_comes_after_fdatasync_of_slot_file_and_store() {
    let Some(trace) = trace() else { return };
    let lines: Vec<&str> = trace.lines().collect();
    let says = |word: &str| {
        let said = |line: &&str| line.contains("write(1") && line.contains(word);
        lines
            .iter()
            .position(said)
            .unwrap_or_else(|| panic!("no '{word}' in:\n{trace}"))
    };
    let (deposit, acked) = (says("\"deposit"), says("\"acked"));
    let between = &lines[deposit..acked];
    for file in ["/slots>", "/db>"] {
        let at = |call: &'static str| move |line: &&str| line.contains(call) && line.contains(file);
        let synced = between.iter().rposition(at("fdatasync("));
        let synced = synced.unwrap_or_else(|| panic!("no fdatasync of {file} before the answer"));
        let written = between.iter().position(at("pwrite"));
        let written = written.unwrap_or_else(|| panic!("{file} was never written"));
        assert!(written < synced, "{file} was synced before it was written");
        let unsynced = between[synced..].iter().any(at("pwrite"));
        assert!(
            !unsynced,
            "{file} was written again between its fdatasync and the answer"
        );
    }
}
