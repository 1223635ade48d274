//! A13: whether the code that is shipped emits what the design says. The same tests run over a capture of real
//! daemons (`simulations replay --capture`).

use super::shipped::{Rig, Running};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::engine::Actor;
use crate::metrics::{Measure, Metric, exact};
use crate::observer::Sight;
use crate::replay::Conversation;
use crate::scenario::Faults;
use crate::stats::{KsTest, ks_one, ks_two};
use sphinx::{BuildError, DiscardReason, Hop, PacketFormat, PayloadBytes, Unwrapped};
use std::collections::BTreeSet;
use wire::frame::PacketBytes;
use wire::geometry::SURB_LEN;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A13",
    title: "conformance of the shipped code",
    sees: "clients' links; and, as all mixes together, the delays that each packet asks for",
    rule: "Kolmogorov-Smirnov tests, each with a false alarm in 10⁴: uplink gaps against the exponential law, the wait from \
           each arrival to the next uplink frame against the same law, hop delays of cover against those of content",
    truth: "faults are planted by name, and none is in the null run",
    run,
};

/// Probability that a test calls an honest run dishonest.
const ALPHA: f64 = 1e-4;
/// Virtual time of one analysis.
pub const SECONDS: f64 = 10.0;

/// What the tests say of one run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Verdict {
    /// Uplink gaps are exponential.
    pub gaps: KsTest,
    /// What arrives triggers nothing.
    pub answers: KsTest,
    /// Cover and content wait alike.
    pub delays: KsTest,
    /// Frames looked at.
    pub frames: usize,
}

impl Verdict {
    /// Whether any test finds a fault.
    pub fn found(&self) -> bool {
        let tests = [self.gaps, self.answers, self.delays];
        tests.iter().any(|test| test.p < ALPHA)
    }
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let faults = |ack_off_clock, send_on_type| Faults {
        ack_off_clock,
        send_on_type,
        ..Faults::default()
    };
    let rig = |faults| Rig {
        faults,
        ..lively(setting.seed)
    };
    progress(0, 4, "honest clients");
    let honest = verdict(&rig(faults(false, false)).run::<Transparent>());
    progress(1, 4, "planted: an ack off the clock");
    let ack = verdict(&rig(faults(true, false)).run::<Transparent>());
    progress(2, 4, "planted: sending on type");
    let typed = verdict(&rig(faults(false, true)).run::<Transparent>());
    progress(3, 4, "planted: cover with other delays");
    let cover = verdict(&rig(faults(false, false)).run::<CoverWaitsOtherwise>());
    for (name, v) in [
        ("honest", honest),
        ("planted: ack off the clock", ack),
        ("planted: sending on type", typed),
        (
            "planted: cover drawn from another delay distribution",
            cover,
        ),
    ] {
        for (test, ks) in [
            ("gaps", v.gaps),
            ("answers", v.answers),
            ("delays", v.delays),
        ] {
            let of = format!("{name}: {test} (p = {:.1e})", ks.p);
            let estimate = exact(ks.distance, v.frames as u64);
            findings
                .measures
                .push(Measure::new(Metric::Distance, of, estimate));
        }
        let found = exact(f64::from(u8::from(v.found())), v.frames as u64);
        let detected = Measure::new(Metric::Detected, name, found);
        match name {
            "honest" => findings.null.push(detected.against(0.0)),
            _ => findings.measures.push(detected),
        }
    }
    findings.notes.push(format!(
        "{SECONDS:.0} s of virtual time of 20 clients that all talk; below p = {ALPHA:.0e} a test calls the run dishonest"
    ));
    Ok(findings)
}

/// Twenty clients at localnet's rates, each of whom writes twice a second.
pub fn lively(seed: u64) -> Rig {
    let mut messages = Vec::new();
    for tick in 0..(SECONDS * 2.0) as usize {
        for from in 0..20 {
            messages.push(crate::replay::Written {
                at: tick as f64 * 0.5 + from as f64 * 0.013,
                from,
                to: (from + 1) % 20,
                bytes: 100,
            });
        }
    }
    messages.sort_by(|a, b| a.at.total_cmp(&b.at));
    let people = Conversation {
        name: "everybody".into(),
        users: 20,
        length: SECONDS,
        messages,
    };
    Rig::local(seed, people)
}

/// Tests one run of ten seconds.
pub fn verdict<F: PacketFormat>(running: &Running<F>) -> Verdict {
    let p = &running.engine.scenario().parameters;
    let rate = p.payload_rate.per_second() + p.loop_rate.per_second();
    let law = |x: f64| 1.0 - (-rate * x).exp();
    let watched = running.watched();
    let (mut gaps, mut waits, mut frames) = (Vec::new(), Vec::new(), 0);
    for (client, w) in watched.iter().enumerate() {
        frames += w.up.len();
        gaps.extend(w.up.windows(2).map(|w| w[1] - w[0]));
        for (at, _, _) in &running.engine.clients()[client].told.cells {
            let at = running.seconds(*at);
            // A frame at the very moment counts: only a fault can be so fast.
            let next = w.up.partition_point(|t| *t < at);
            waits.extend(w.up.get(next).map(|t| t - at));
        }
    }
    let (mut cover, mut content) = delays(running);
    Verdict {
        gaps: ks_one(&mut gaps, law),
        answers: ks_one(&mut waits, law),
        delays: ks_two(&mut cover, &mut content),
        frames,
    }
}

/// Delays at hops that clients' packets ask for, of cover and of content.
fn delays<F: PacketFormat>(running: &Running<F>) -> (Vec<f64>, Vec<f64>) {
    let mut with_content = BTreeSet::new();
    for inside in running.engine.observer().insides() {
        if matches!(inside.sight, Sight::Deposit(_) | Sight::Fetch(_)) {
            with_content.insert(inside.echo);
        }
    }
    let (mut cover, mut content) = (Vec::new(), Vec::new());
    let all = running.engine.observer().echoes();
    for (number, echo) in all.filter(|(_, e)| matches!(e.maker, Actor::Client(_))) {
        // Who never got to where it is answered is of neither class.
        let Some(answered) = echo.answered else {
            continue;
        };
        let side = match with_content.contains(&number) {
            true => &mut content,
            false => &mut cover,
        };
        side.extend(echo.hops[..answered].iter().map(|h| h.delay.as_secs_f64()));
    }
    (cover, content)
}

/// A packet format with a fault that a network has had: cover's delays at hops are drawn from the
/// distribution of its gaps (twice as long here).
pub struct CoverWaitsOtherwise;

impl PacketFormat for CoverWaitsOtherwise {
    type Secret = <Transparent as PacketFormat>::Secret;
    type Recovery = <Transparent as PacketFormat>::Recovery;

    fn generate(rng: &mut KeyRng) -> Self::Secret {
        Transparent::generate(rng)
    }

    fn public(secret: &Self::Secret) -> SphinxPublic {
        Transparent::public(secret)
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        let mut route = route.to_vec();
        let is_cover = plaintext[SURB_LEN + 8] == 0;
        if is_cover {
            route.iter_mut().for_each(|hop| hop.delay *= 2);
        }
        Transparent::build(&route, plaintext, rng)
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, Self::Recovery), BuildError> {
        Transparent::build_surb(route, id, rng)
    }

    fn unwrap(secret: &Self::Secret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        Transparent::unwrap(secret, packet)
    }

    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason> {
        Transparent::use_surb(surb, plaintext)
    }

    fn open_reply(
        recovery: &Self::Recovery,
        payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        Transparent::open_reply(recovery, payload)
    }
}
