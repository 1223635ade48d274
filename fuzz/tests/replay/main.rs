//! Runs every target on its committed corpus, without libFuzzer and with any compiler:
//! `cargo test --manifest-path fuzz/Cargo.toml --no-default-features --locked`.
//!
//! `MIZZLE_WRITE_SEEDS=1` writes the seeds anew first (`seeds`); what a fuzzer found and is worth
//! keeping lies beside them under another name.

mod seeds;

use std::path::PathBuf;
use std::time::{Duration, Instant};

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

/// Fuzzing for those who have no nightly compiler: `MIZZLE_FUZZ=backends MIZZLE_FUZZ_SECONDS=600`, and the corpus's inputs
/// changed at random, from one seed on. Blind, where libFuzzer looks at what is reached.
#[test]
#[ignore = "as long as MIZZLE_FUZZ_SECONDS says (default 60)"]
fn random_changes_of_the_corpus() {
    let variable = |name| std::env::var(name).ok();
    let only = variable("MIZZLE_FUZZ");
    let seconds = variable("MIZZLE_FUZZ_SECONDS").map_or(60, |text| text.parse().unwrap());
    for (number, (name, target)) in mizzle_fuzz::TARGETS.iter().enumerate() {
        if only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        let corpus: Vec<Vec<u8>> = std::fs::read_dir(folder(name))
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        let mut random = Random(number as u64 + 1);
        let (end, mut runs) = (Instant::now() + Duration::from_secs(seconds), 0u64);
        while Instant::now() < end {
            target(&random.changed(&corpus));
            runs += 1;
        }
        println!("{name}: {runs} runs in {seconds} s, no finding");
    }
}

/// Xorshift; good enough to change bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    /// One of these, with some bytes changed, a part of another put in, or an end cut off.
    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut data = corpus[self.below(corpus.len())].clone();
        for _ in 0..1 + self.below(8) {
            let at = self.below(data.len());
            match self.below(6) {
                0 => data.truncate(at),
                1 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    let len = self.below(other.len() - from);
                    data.splice(at.., other[from..from + len].iter().copied());
                }
                2 => data.extend((0..self.below(40)).map(|_| self.below(256) as u8)),
                _ => {
                    let byte = [0, 0xff, 0x7f, 0x80, self.below(256)][self.below(5)] as u8;
                    if let Some(here) = data.get_mut(at) {
                        *here = byte;
                    }
                }
            }
        }
        data
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
