//! What comes from other authorities, each in its own lane: two bodies at a time, and so many in a
//! while. What one of them sends beyond that is refused and costs the others nothing.

use crate::ticket::{SKEW_MAX_MS, Ticket};
use directory::Network;
use runtime::clock::Clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::time::Instant;

/// Bodies of one authority that are read or wait for the loop at a time.
pub(crate) const AT_ONCE: usize = 2;
/// Messages that one authority may send at once and in each quarter of a vote, beside some for each
/// authority there is.
const BURST: u32 = 16;
const BURST_FOR_EACH: u32 = 8;

/// Why a message is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// No ticket, or a false one.
    Stranger,
    /// Its clock or ours is wrong by so many milliseconds.
    Clock(i64),
    /// Too many at a time, or in a while.
    TooMany,
}

/// What is known of another authority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// When it last sent something.
    pub(crate) at: Instant,
    /// How far its clock was ahead of ours then, in milliseconds.
    pub(crate) ahead_ms: i64,
}

struct Lane {
    bodies: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    tokens: f64,
    filled: Instant,
    heard: Option<Heard>,
}

/// All lanes, by authority.
pub(crate) struct Lanes {
    network: Network,
    index: u8,
    clock: Clock,
    burst: f64,
    per_second: f64,
    lanes: Vec<Lane>,
}

impl Lanes {
    /// `index` is ours.
    pub(crate) fn new(network: Network, index: u8, clock: Clock) -> Self {
        let count = network.authorities().len();
        let burst = f64::from(BURST + BURST_FOR_EACH * u32::try_from(count).unwrap_or(u32::MAX));
        // A recovery vote is the fastest there is.
        let while_ = (network.recovery_round() * 2).max(Duration::from_millis(10));
        let lane = || Lane {
            bodies: Arc::new(Semaphore::new(AT_ONCE)),
            state: Mutex::new(State {
                tokens: burst,
                filled: clock.now(),
                heard: None,
            }),
        };
        Self {
            lanes: (0..count).map(|_| lane()).collect(),
            burst,
            per_second: burst / while_.as_secs_f64(),
            network,
            index,
            clock,
        }
    }

    /// Whether the body behind this header is to be read, and whose it is. The permit is held until the
    /// message is dealt with.
    pub(crate) fn enter(&self, header: &str) -> Result<(u8, OwnedSemaphorePermit), Refused> {
        let ticket = Ticket::read(header, self.index, &self.network).ok_or(Refused::Stranger)?;
        let lane = self.lanes.get(usize::from(ticket.from));
        let lane = lane.ok_or(Refused::Stranger)?;
        let ahead_ms = ticket.ahead_of(self.clock.unix());
        {
            let mut state = lane.state.lock().map_err(|_| Refused::TooMany)?;
            let now = self.clock.now();
            state.heard = Some(Heard { at: now, ahead_ms });
            if ahead_ms.abs() > SKEW_MAX_MS {
                return Err(Refused::Clock(ahead_ms));
            }
            let since = (now - state.filled).as_secs_f64();
            state.filled = now;
            state.tokens = (state.tokens + since * self.per_second).min(self.burst);
            if state.tokens < 1.0 {
                return Err(Refused::TooMany);
            }
            state.tokens -= 1.0;
        }
        let permit = lane.bodies.clone().try_acquire_owned();
        permit
            .map(|permit| (ticket.from, permit))
            .map_err(|_| Refused::TooMany)
    }

    /// When an authority was last heard from.
    pub(crate) fn heard(&self, authority: usize) -> Option<Heard> {
        self.lanes.get(authority)?.state.lock().ok()?.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::testing::{authority_secret, network_id, schedule};
    use directory::{NetworkAuthority, quorum};
    use wire::time::UnixTime;

    #[test]
    fn a_flood_stays_in_its_lane() {
        let authority = |i: usize| NetworkAuthority {
            identity: authority_secret(1, i).public(),
            address: ([127, 0, 0, 1], 7800 + i as u16).into(),
        };
        let all = (0..4).map(authority).collect();
        let network = Network::new(network_id(1), schedule(), all, quorum(4), Vec::new()).unwrap();
        let clock = Clock::start();
        let lanes = Lanes::new(network.clone(), 0, clock);
        let header = |from: u8, time: UnixTime| {
            let secret = authority_secret(1, usize::from(from));
            Ticket { from, time }.write(0, &network, &secret)
        };
        let now = clock.unix();
        // Two bodies at a time …
        let first = lanes.enter(&header(1, now)).unwrap();
        let second = lanes.enter(&header(1, now)).unwrap();
        assert_eq!(lanes.enter(&header(1, now)).err(), Some(Refused::TooMany));
        assert!(lanes.enter(&header(2, now)).is_ok());
        drop((first, second));
        assert!(lanes.enter(&header(1, now)).is_ok());
        // … and only so many in a while, however quickly they are done.
        let through = (0..1000).filter(|_| lanes.enter(&header(1, now)).is_ok());
        assert!(through.count() < 100);
        assert!(lanes.enter(&header(2, now)).is_ok());
        assert_eq!(lanes.enter("").err(), Some(Refused::Stranger));
        let early = UnixTime(now.0 - 7_200_000);
        assert!(
            matches!(lanes.enter(&header(3, early)), Err(Refused::Clock(by)) if by < -7_100_000)
        );
        assert!(lanes.heard(3).unwrap().ahead_ms < -7_100_000);
    }
}
