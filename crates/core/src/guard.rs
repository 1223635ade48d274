//! Which gateway a client enters through: one for weeks, few in all.
//!
//! Whoever runs the entry gateway learns the client's address and when it is online
//! (`docs/threat-model.md`). A client that drew anew at each start, or at each failure, would sooner
//! or later have entered through everybody, and an adversary who can make gateways fail could drive it
//! to one of their own. So a guard is kept for a random time of weeks; a failure moves on only after
//! a random patience of hours, drawn anew each time; and those that were used before are tried again before
//! another one is drawn, up to [`GUARDS_MAX`] (`docs/decisions/0005`).
//!
//! Not here: dialling, and where the list is kept (`clientd`).

use directory::hex;
use std::time::Duration;
use wire::ids::NodeId;
use wire::rng::{KeyRng, pick};
use wire::time::{Instant, UnixTime};

/// Most gateways that a client enters through in [`LIFE_MIN`], whatever fails.
pub const GUARDS_MAX: usize = 3;
/// Shortest life of a guard.
pub const LIFE_MIN: Duration = Duration::from_secs(30 * 86_400);
/// A guard's life is drawn evenly from [`LIFE_MIN`] to this.
pub const LIFE_MAX: Duration = Duration::from_secs(60 * 86_400);
/// A guard is given up after failing for at least so long,
pub const PATIENCE_MIN: Duration = Duration::from_secs(3_600);
/// and an exponential time of this mean on top.
pub const PATIENCE_MEAN: Duration = Duration::from_secs(6 * 3_600);

/// One failed attempt counts for at most so long: a machine that slept did not try meanwhile.
const ATTEMPT_MAX: Duration = Duration::from_secs(300);

/// A gateway that was drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// Which.
    pub gateway: NodeId,
    /// When it was drawn.
    pub since: UnixTime,
    /// When it is forgotten.
    pub until: UnixTime,
}

/// The guards of a client, the one in use first.
pub struct Guards {
    kept: Vec<Guard>,
    /// How long the one in use has failed, as far as it was tried.
    failing: Duration,
    last_failure: Option<Instant>,
    patience: Duration,
    /// How many were given up since the last connection.
    given_up: usize,
}

impl Guards {
    /// What [`Guards::to_text`] wrote, or what earlier versions did: one node id alone. Anything else,
    /// and nothing, is an empty list.
    pub fn from_text(text: &str, unix: UnixTime, rng: &mut KeyRng) -> Self {
        let mut kept: Vec<Guard> = Vec::new();
        for line in text.lines().take(GUARDS_MAX) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let id = words.first().and_then(|word| hex::decode(word)).map(NodeId);
            let guard = match (id, &words[..]) {
                (Some(gateway), [_]) => Some(drawn(gateway, unix, rng)),
                (Some(gateway), [_, since, until]) => {
                    let times = since.parse().ok().zip(until.parse().ok());
                    times.map(|(since, until)| Guard {
                        gateway,
                        since: UnixTime(since),
                        until: UnixTime(until),
                    })
                }
                (Some(_) | None, _) => None,
            };
            // A life that is longer than any that is drawn was not written by us.
            let honest = |g: &Guard| g.until.saturating_since(unix) <= LIFE_MAX;
            let known = |g: &Guard| kept.iter().any(|k| k.gateway == g.gateway);
            if let Some(guard) = guard.filter(|g| honest(g) && !known(g)) {
                kept.push(guard);
            }
        }
        Self {
            kept,
            failing: Duration::ZERO,
            last_failure: None,
            patience: draw_patience(rng),
            given_up: 0,
        }
    }

    /// One line each: node id, drawn and until in milliseconds since 1970.
    pub fn to_text(&self) -> String {
        let line = |g: &Guard| {
            let id = hex::encode(&g.gateway.0);
            format!("{id} {} {}\n", g.since.0, g.until.0)
        };
        self.kept.iter().map(line).collect()
    }

    /// The one in use; forgets those whose time is over and draws one of `candidates` where none is
    /// left. Returns whether the list changed, too. `None` when there is no candidate.
    pub fn current(
        &mut self,
        candidates: &[NodeId],
        unix: UnixTime,
        rng: &mut KeyRng,
    ) -> (Option<Guard>, bool) {
        let (before, in_use) = (self.kept.len(), self.kept.first().map(|g| g.gateway));
        self.kept.retain(|g| g.until > unix);
        let mut changed = self.kept.len() != before;
        // One that left the network is passed over, and comes back when it does.
        let there = |g: &Guard| candidates.contains(&g.gateway);
        if let Some(at) = self.kept.iter().position(there) {
            self.kept.rotate_left(at);
        } else if self.kept.len() < GUARDS_MAX {
            self.draw(candidates, unix, rng);
        }
        let now_in_use = self.kept.first().map(|g| g.gateway);
        if now_in_use != in_use {
            self.begin(rng);
            changed = true;
        }
        (self.kept.first().copied(), changed)
    }

    /// A link to the one in use stands.
    pub fn handle_connected(&mut self, rng: &mut KeyRng) {
        self.begin(rng);
        self.given_up = 0;
    }

    /// The one in use could not be reached. Returns whether another one is in use now.
    pub fn handle_failed(
        &mut self,
        candidates: &[NodeId],
        now: Instant,
        unix: UnixTime,
        rng: &mut KeyRng,
    ) -> bool {
        let since_last = self.last_failure.map(|last| now.saturating_since(last));
        self.failing += since_last.unwrap_or_default().min(ATTEMPT_MAX);
        self.last_failure = Some(now);
        if self.failing < self.patience {
            return false;
        }
        self.begin(rng);
        self.given_up += 1;
        // Every known one gets its turn before a new one is drawn.
        let all_tried = self.given_up >= self.kept.len();
        if all_tried && self.kept.len() < GUARDS_MAX && self.draw(candidates, unix, rng) {
            return true;
        }
        if self.kept.len() < 2 {
            return false;
        }
        self.kept.rotate_left(1);
        true
    }

    /// A fresh patience.
    fn begin(&mut self, rng: &mut KeyRng) {
        self.failing = Duration::ZERO;
        self.last_failure = None;
        self.patience = draw_patience(rng);
    }

    /// Draws a new one, which is in use then. Returns whether there was any to draw.
    fn draw(&mut self, candidates: &[NodeId], unix: UnixTime, rng: &mut KeyRng) -> bool {
        let new = |id: &&NodeId| self.kept.iter().all(|g| g.gateway != **id);
        let new: Vec<NodeId> = candidates.iter().filter(new).copied().collect();
        let draw = u64::from_be_bytes(rng.bytes());
        let Some(gateway) = pick(draw, new.len()).and_then(|at| new.get(at)) else {
            return false;
        };
        self.kept.insert(0, drawn(*gateway, unix, rng));
        true
    }
}

fn drawn(gateway: NodeId, unix: UnixTime, rng: &mut KeyRng) -> Guard {
    let life = LIFE_MIN + (LIFE_MAX - LIFE_MIN).mul_f64(unit(rng));
    Guard {
        gateway,
        since: unix,
        until: unix.saturating_add(life),
    }
}

fn draw_patience(rng: &mut KeyRng) -> Duration {
    PATIENCE_MIN + PATIENCE_MEAN.mul_f64(-unit(rng).ln())
}

/// Evenly from (0, 1].
fn unit(rng: &mut KeyRng) -> f64 {
    let draw = u64::from_be_bytes(rng.bytes()) >> 11;
    (draw + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime(1_800_000_000_000);
    const STEP: Duration = Duration::from_secs(60);

    fn gateways(n: u8) -> Vec<NodeId> {
        (1..=n).map(|i| NodeId([i; 28])).collect()
    }

    /// Fails every minute for `hours`; returns the moves as (hours since start, gateway).
    fn outage(seed: u8, candidates: &[NodeId], hours: u64) -> Vec<(u64, NodeId)> {
        let mut rng = KeyRng::from_seed([seed; 32]);
        let mut guards = Guards::from_text("", START, &mut rng);
        let first = guards.current(candidates, START, &mut rng).0.unwrap();
        let mut moves = vec![(0, first.gateway)];
        for minute in 0..hours * 60 {
            let at = STEP * u32::try_from(minute).unwrap();
            let (now, unix) = (Instant::ZERO + at, START.saturating_add(at));
            if guards.handle_failed(candidates, now, unix, &mut rng) {
                let next = guards.current(candidates, unix, &mut rng).0.unwrap();
                moves.push((minute / 60, next.gateway));
            }
        }
        moves
    }

    #[test]
    fn an_outage_of_an_hour_moves_nobody_and_long_ones_move_at_random_times() {
        let candidates = gateways(20);
        let mut first_moves = Vec::new();
        for seed in 0..200 {
            let moves = outage(seed, &candidates, 48);
            assert!(moves.get(1).is_none_or(|m| m.0 >= 1));
            first_moves.extend(moves.get(1).map(|m| m.0));
        }
        // Exponential with a mean of six hours behind the first one: a median of 5.2 hours. At
        // 200 draws the sample median lies within 3.9..6.8 with probability above 0.999.
        first_moves.sort_unstable();
        let median = first_moves[first_moves.len() / 2];
        assert!((3..=7).contains(&median), "{median}");
        assert!(first_moves.len() >= 195);
    }

    #[test]
    fn no_outage_drives_a_client_through_more_than_three_gateways() {
        let candidates = gateways(20);
        for seed in 0..20 {
            let moves = outage(seed, &candidates, 20 * 24);
            let mut seen: Vec<NodeId> = moves.iter().map(|m| m.1).collect();
            assert!(moves.len() > 10);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), GUARDS_MAX);
        }
    }

    #[test]
    fn a_guard_lives_for_weeks_over_restarts_and_then_another_is_drawn() {
        let mut rng = KeyRng::from_seed([7; 32]);
        let candidates = gateways(50);
        let mut guards = Guards::from_text("", START, &mut rng);
        let (first, changed) = guards.current(&candidates, START, &mut rng);
        let first = first.unwrap();
        assert!(changed);
        let life = first.until.saturating_since(START);
        assert!((LIFE_MIN..=LIFE_MAX).contains(&life));
        let text = guards.to_text();
        let day_before = UnixTime(first.until.0 - 86_400_000);
        let mut again = Guards::from_text(&text, day_before, &mut rng);
        assert_eq!(
            again.current(&candidates, day_before, &mut rng),
            (Some(first), false)
        );
        let (second, changed) = again.current(&candidates, first.until, &mut rng);
        assert!(changed && second.unwrap().gateway != first.gateway);
    }

    #[test]
    fn one_that_left_the_network_is_passed_over_at_once() {
        let mut rng = KeyRng::from_seed([8; 32]);
        let candidates = gateways(4);
        let mut guards = Guards::from_text("", START, &mut rng);
        let mut here = |c: &[NodeId]| guards.current(c, START, &mut rng).0.map(|g| g.gateway);
        let first = here(&candidates).unwrap();
        let others: Vec<NodeId> = candidates.iter().copied().filter(|c| *c != first).collect();
        let second = here(&others).unwrap();
        assert_ne!(second, first);
        assert_eq!(here(&candidates), Some(second));
        assert_eq!(here(&[first]), Some(first));
        // Where nobody is left, the last one stays.
        assert_eq!(here(&[]), Some(first));
    }

    #[test]
    fn a_connection_ends_the_count_and_sleep_does_not_count() {
        let mut rng = KeyRng::from_seed([9; 32]);
        let candidates = gateways(5);
        let mut guards = Guards::from_text("", START, &mut rng);
        guards.current(&candidates, START, &mut rng);
        let mut now = Instant::ZERO;
        for _ in 0..5_000 {
            for _ in 0..50 {
                now += STEP;
                assert!(!guards.handle_failed(&candidates, now, START, &mut rng));
            }
            guards.handle_connected(&mut rng);
        }
        // Asleep for a week between two attempts.
        assert!(!guards.handle_failed(&candidates, now, START, &mut rng));
        let woken = now + Duration::from_secs(7 * 86_400);
        assert!(!guards.handle_failed(&candidates, woken, START, &mut rng));
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let mut rng = KeyRng::from_seed([1; 32]);
        let id = hex::encode(&[3; 28]);
        for text in [
            "x".to_owned(),
            format!("{id} 1"),
            format!("{id} 1 x"),
            format!("{id} 1 99999999999999"),
            format!("{id} 1 2 3"),
        ] {
            assert_eq!(Guards::from_text(&text, START, &mut rng).kept, [], "{text}");
        }
        // Of an earlier version.
        let old = Guards::from_text(&id, START, &mut rng);
        assert_eq!(old.kept[0].gateway, NodeId([3; 28]));
        let twice = format!("{id}\n{id}\n");
        assert_eq!(Guards::from_text(&twice, START, &mut rng).kept.len(), 1);
    }
}
