//! Adversaries against the shipped machines: nobody learns anything from a client's link, whatever a gateway does, and
//! what is planted is found. Longer runs are `simulations attack run all --effort full`.

use simulations::attacks::conformance::{CoverWaitsOtherwise, lively, verdict};
use simulations::attacks::polling::{bunching, withholding};
use simulations::attacks::shipped::{Rig, difference};
use simulations::attacks::{self, Effort, Setting};
use simulations::metrics::Measure;
use simulations::replay::Conversation;
use simulations::{Faults, Transparent};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Six people for a minute, at localnet's rates.
static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let text: String = (0..40)
        .map(|i| format!("{} {} {}\n", i % 6, (i + 1 + i / 6 % 5) % 6, i * 3 / 2))
        .collect();
    let people = Conversation::parse("people", &text).expect("a trace");
    let mut rig = Rig::local(5, people);
    // Other traffic moves nothing and takes most of the time.
    rig.parameters.mix_loop_rate = directory::Rate(500);
    rig
});

#[test]
fn use_does_not_show_and_neither_do_bunched_or_withheld_replies() {
    let idle = RIG.idle().run::<Transparent>().watched();
    let honest = RIG.run::<Transparent>();
    let busy = honest.watched();
    let arrived: usize = busy.iter().map(|w| w.latencies.len()).sum();
    // What was written last may still lie in its inbox.
    assert!(arrived > 25 && honest.written.len() == 40, "{arrived}");
    let (differ, compared) = difference(&idle, &busy);
    assert_eq!(differ, 0);
    assert!(compared > 5_000, "{compared}");
    let mut bunched = RIG.start::<Transparent>();
    bunched.tamper(bunching(0));
    bunched.talk();
    assert_eq!(difference(&busy, &bunched.watched()).0, 0);
    let mut withheld = RIG.start::<Transparent>();
    withheld.tamper(withholding(0, 1));
    withheld.talk();
    assert_eq!(difference(&busy, &withheld.watched()).0, 0);
    assert!(withheld.engine.lost() > 0, "nothing was withheld");
    // The same comparison finds a fault.
    let faulty = Rig {
        faults: Faults {
            ack_off_clock: true,
            ..Faults::default()
        },
        ..RIG.clone()
    };
    assert!(difference(&idle, &faulty.run::<Transparent>().watched()).0 > 0);
}

#[test]
fn planted_faults_are_found_within_ten_seconds_of_virtual_time() {
    let honest = verdict(&lively(3).run::<Transparent>());
    assert!(!honest.found(), "{honest:?}");
    let faulty = Rig {
        faults: Faults {
            ack_off_clock: true,
            ..Faults::default()
        },
        ..lively(3)
    };
    let faulty = verdict(&faulty.run::<Transparent>());
    assert!(faulty.found() && faulty.answers.p < 1e-4, "{faulty:?}");
    let cover = verdict(&lively(3).run::<CoverWaitsOtherwise>());
    assert!(cover.found() && cover.delays.p < 1e-4, "{cover:?}");
}

/// All attacks at their small size: each has null runs, and they sit at chance. Of independent ones each lies outside of its
/// 95 % interval once in twenty; so many of one attack that chance does it once in a thousand are too many (seeds are fixed).
#[test]
#[ignore = "minutes"]
fn every_null_run_sits_at_chance() {
    for attack in &attacks::ALL {
        let setting = Setting::new(1, Effort::Quick);
        let findings = (attack.run)(&setting, &mut |_, _, _| {}).unwrap();
        assert!(!findings.null.is_empty(), "{} has no null run", attack.id);
        // Where two views see the same (push: what comes in goes down at once), that is one observation.
        let seen = |all: Vec<&Measure>| -> BTreeSet<[u64; 3]> {
            let bits = |m: &&Measure| [m.value, m.low, m.high].map(f64::to_bits);
            all.iter().map(bits).collect()
        };
        let off = seen(findings.off_chance().collect()).len();
        let all = seen(findings.null.iter().collect()).len();
        let named: Vec<_> = findings.off_chance().collect();
        assert!(off <= by_chance(all), "{}, of {all}: {named:?}", attack.id);
    }
}

/// More than so many of `n` fail by chance, each once in twenty, with a probability of less than one in a thousand.
fn by_chance(n: usize) -> usize {
    let mut exactly = 0.95f64.powi(n as i32);
    let mut more = 1.0 - exactly;
    let mut k = 0;
    while more >= 1e-3 {
        exactly *= (n - k) as f64 / (k + 1) as f64 * 0.05 / 0.95;
        more -= exactly;
        k += 1;
    }
    k
}

#[test]
fn chance_is_counted_right() {
    // P(more than 4 of 15) = 0.0006, P(more than 3) = 0.0055.
    assert_eq!([1, 15, 100].map(by_chance), [1, 4, 13]);
}
