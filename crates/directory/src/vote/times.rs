//! When a vote does what: computed from `network.toml` and the clock, by everybody alike.

use crate::network::Network;
use std::time::Duration;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// The parts of half an epoch: ballots, reveals and one round for signatures take this much of it.
const SHARE: u32 = 2;

/// When an epoch's vote does what. All authorities of a network compute the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteTimes {
    /// Which vote on this epoch: 0 is the one in the middle of the epoch before, others are held when no
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
}

impl VoteTimes {
    /// The vote on `epoch`'s directory begins in the middle of the epoch before, and the two broadcasts
    /// and one round of signatures take half of what is left then.
    pub fn of(network: &Network, epoch: Epoch) -> Self {
        let schedule = network.schedule();
        let rounds = rounds(network);
        let end = schedule.start(epoch);
        let half = schedule.length / 2;
        let before = UnixTime(end.0.saturating_sub(millis(half)));
        Self {
            attempt: 0,
            start: before,
            round: half / SHARE / (2 * rounds + 1),
            rounds,
            end,
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
}

/// Rounds of each broadcast, f + 1.
fn rounds(network: &Network) -> u32 {
    let faulty = network.authorities().len().saturating_sub(1) / 3;
    u32::try_from(faulty + 1).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
