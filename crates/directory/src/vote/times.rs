//! When a vote does what, until when a node must have said that it lives, and when clients are to have what came
//! of it: computed from `network.toml` and the clock, by everybody alike. `docs/spec/directory.md` §6 and §8.

use crate::network::Network;
use std::ops::RangeInclusive;
use std::time::Duration;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// Ballots, reveals and one round for signatures take this part of an epoch.
const VOTE_SHARE: u32 = 12;
/// A round of a vote in its time is no shorter, so that a loaded machine's is not over before a message arrives;
/// unless the vote would then take more than [`ahead`].
const ROUND_MIN: Duration = Duration::from_millis(500);
/// A node's last word before a vote in its time counts if it came in the last so-manieth of an epoch.
const FRESH_SHARE: u32 = 16;
/// That is no less than this, so that a pause of a loaded machine costs no node its place; unless it is more
/// than [`PRESENT_SHARE`] says.
const FRESH_MIN: Duration = Duration::from_millis(2500);
/// At any other time, and for a vote that is held again, a node is there if it spoke in the last quarter of an epoch.
const PRESENT_SHARE: u32 = 4;
/// A node's clock may be so far ahead.
const AHEAD_MAX: Duration = Duration::from_secs(120);
/// How often a node says in the time before a vote that it lives, beside what it says anyway ([`republish_after`]).
pub const SIGNS: u32 = 4;

/// So long before its epoch a directory is decided, and pushed to clients. In this time they fetch it.
pub fn ahead(epoch: Duration) -> Duration {
    epoch / 4
}

/// How long after a descriptor a node publishes the next at the latest: three in the time for which one counts in a vote
/// that is held again.
pub fn republish_after(epoch: Duration) -> Duration {
    epoch / (3 * PRESENT_SHARE)
}

/// When an epoch's vote does what. All authorities of a network compute the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteTimes {
    /// Which vote on this epoch: 0 is the one in the epoch before, others are held when no
    /// valid directory is left ([`VoteTimes::again`]).
    pub attempt: u32,
    /// First round of ballots.
    pub start: UnixTime,
    /// Length of a round, Δ: longer than a message takes plus what two clocks differ by.
    pub round: Duration,
    /// Rounds of each of the two broadcasts, f + 1.
    pub rounds: u32,
    /// After this no signature is of use any more.
    pub end: UnixTime,
    /// A node whose last word is older than this at [`VoteTimes::start`] is taken to be dead.
    pub fresh: Duration,
}

impl VoteTimes {
    /// The vote on `epoch`'s directory, in the epoch before: the two broadcasts and one round of signatures are over a
    /// quarter of an epoch before it holds ([`ahead`]).
    pub fn of(network: &Network, epoch: Epoch) -> Self {
        let schedule = network.schedule();
        let length = schedule.length;
        let rounds = rounds(network);
        let all = 2 * rounds + 1;
        let most = ahead(length) / all;
        let round = (length / VOTE_SHARE / all).max(ROUND_MIN).min(most);
        // Whole milliseconds: all authorities compute the same moments.
        let round = Duration::from_millis(millis(round).max(1));
        let end = schedule.start(epoch);
        let before = millis(ahead(length)) + millis(round * all);
        Self {
            attempt: 0,
            start: UnixTime(end.0.saturating_sub(before)),
            round,
            rounds,
            end,
            fresh: (length / FRESH_SHARE).max(FRESH_MIN).min(present(length)),
        }
    }

    /// The vote to take part in at `now` when no valid directory is left, as in a new network: one on
    /// the epoch of this moment, with short rounds ([`Network::recovery_round`]). One follows the other
    /// from the epoch's start on, with half a round between the end of one and the start of the next.
    pub fn again(network: &Network, now: UnixTime) -> Self {
        let schedule = network.schedule();
        let rounds = rounds(network);
        let round = network.recovery_round();
        let begin = schedule.start(schedule.epoch_at(now));
        let period = millis(round * (2 * rounds + 2)).max(1);
        let lasts = millis(round * (2 * rounds + 1) + round / 2);
        let since = now.0.saturating_sub(begin.0);
        let number = since / period + u64::from(since % period >= lasts);
        let start = UnixTime(begin.0.saturating_add(number * period));
        Self {
            attempt: u32::try_from(number + 1).unwrap_or(u32::MAX),
            start,
            round,
            rounds,
            end: UnixTime(start.0.saturating_add(lasts)),
            fresh: present(schedule.length),
        }
    }

    /// Ballots are fixed, and shares of the randomness go around.
    pub fn reveals(&self) -> UnixTime {
        self.start.saturating_add(self.round * self.rounds)
    }

    /// Everything is known, and signatures go around; there is a directory soon after.
    pub fn signatures(&self) -> UnixTime {
        self.start.saturating_add(self.round * self.rounds * 2)
    }

    /// An authority fixes its ballot so long before the start.
    pub fn lead(&self) -> Duration {
        let quarter = self.round / 4;
        quarter.clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Whether a node that said this last is taken to be alive in this vote.
    pub fn counts(&self, published: UnixTime) -> bool {
        said_within(self.fresh, self.start).contains(&published)
    }

    /// A node's sign of life for this vote, of [`SIGNS`] from 0: each has its part of the time in which it counts, and
    /// `draw` (from 0 to 1) says when in it, so that nodes do not come all at once. The last leaves an eighth of that
    /// time for its way before ballots are fixed.
    pub fn sign_of_life(&self, number: u32, draw: f64) -> UnixTime {
        let part = (f64::from(number) + draw.clamp(0.0, 1.0)) / f64::from(SIGNS);
        let (first, last) = (self.fresh * 15 / 16, self.lead() + self.fresh / 8);
        let before = first - first.saturating_sub(last).mul_f64(part);
        UnixTime(self.start.0.saturating_sub(millis(before)))
    }
}

/// A node's first sign of life after `now`; `draw` (from 0 to 1) by epoch and number of the sign.
pub fn next_sign(network: &Network, now: UnixTime, draw: impl Fn(Epoch, u32) -> f64) -> UnixTime {
    let soon = network.schedule().epoch_at(now).next();
    let signs = [soon, soon.next()].map(|epoch| {
        let times = VoteTimes::of(network, epoch);
        (0..SIGNS).map(move |number| (times, epoch, number))
    });
    let moments = signs.into_iter().flatten();
    let mut moments =
        moments.map(|(times, epoch, number)| times.sign_of_life(number, draw(epoch, number)));
    moments.find(|at| *at > now).unwrap_or(UnixTime(u64::MAX))
}

/// Whether a node that said this last is there, outside of votes.
pub(crate) fn is_present(published: UnixTime, now: UnixTime, epoch: Duration) -> bool {
    said_within(present(epoch), now).contains(&published)
}

fn said_within(time: Duration, until: UnixTime) -> RangeInclusive<UnixTime> {
    UnixTime(until.0.saturating_sub(millis(time)))..=until.saturating_add(AHEAD_MAX)
}

fn present(epoch: Duration) -> Duration {
    epoch / PRESENT_SHARE
}

/// Rounds of each broadcast, f + 1.
fn rounds(network: &Network) -> u32 {
    let faulty = network.authorities().len().saturating_sub(1) / 3;
    u32::try_from(faulty + 1).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
