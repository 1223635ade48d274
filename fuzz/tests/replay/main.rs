//! Runs every target on its committed corpus, without libFuzzer and with any compiler:
//! `cargo test --manifest-path fuzz/Cargo.toml --no-default-features --locked`.
//!
//! `MIZZLE_WRITE_SEEDS=1` writes the seeds anew first (`seeds`); what a fuzzer found and is worth
//! keeping lies beside them under another name.

mod seeds;

use std::path::PathBuf;

#[test]
fn every_target_takes_its_corpus() {
    if std::env::var_os("MIZZLE_WRITE_SEEDS").is_some() {
        seeds::write();
    }
    for (name, target) in mizzle_fuzz::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(folder(name)).unwrap() {
            target(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 4, "{name} has {count} seeds");
    }
}

/// So that nothing is fuzzed in one place and forgotten in the other.
#[test]
fn every_target_has_its_binary() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    let mut expected: Vec<_> = mizzle_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}
