//! When own loops are lost that nature does not lose: the alarm for n−1 and for dropping.
//!
//! Two sequential tests (CUSUM) of "a loop is lost by nature alone" against "somebody drops besides": one for
//! half of what passes, which raises the alarm after some loops in a row, and one for an eighth, which
//! takes some hundred. Each adds up the evidence of outcome after outcome, log(P(outcome | dropped) /
//! P(outcome | natural)), never below 0, and raises at [`EVIDENCE`].
//!
//! **False alarms.** From any one outcome on, such a sum ever gets to h with a probability of at most
//! e^(−h) while nothing is dropped (it is the logarithm of a martingale of mean 1). So n outcomes raise a
//! false alarm with a probability of at most 2·n·e^(−h): [`false_alarms`]. That holds where losses are
//! independent and not more than [`NATURAL`] on each link. Links that are down are no false alarm.
//!
//! Not here: for whom it is shown (`crates/runtime`, `node::board`), and what the authorities are told
//! ([`super::tally`]).

/// Share of the packets on one link that are lost in an honest network.
pub const NATURAL: f64 = 0.01;
/// h of both tests: a false alarm in 2.4·10⁸ loops at most, in 30 years of a node at λM = 0.25/s.
pub const EVIDENCE: f64 = 20.0;
/// Evidence to the contrary that ends an alarm.
const ACQUIT: f64 = 9.2;
/// What the two tests look for: shares that are dropped besides.
const DROPPED: [f64; 2] = [0.5, 0.125];

/// The alarm of one node.
#[derive(Clone, Debug)]
pub struct LoopAlarm {
    tests: [Test; 2],
    limit: f64,
    /// While it is raised, how much speaks for its end.
    raised: Option<f64>,
    times: u64,
}

/// Evidence of one test so far, and what an outcome adds.
#[derive(Clone, Copy, Debug)]
struct Test {
    sum: f64,
    lost: f64,
    returned: f64,
}

impl Test {
    fn new(natural: f64, dropped: f64) -> Self {
        let attacked = 1.0 - (1.0 - natural) * (1.0 - dropped);
        Self {
            sum: 0.0,
            lost: (attacked / natural).ln(),
            returned: (1.0 - dropped).ln(),
        }
    }

    fn of(&self, lost: bool) -> f64 {
        if lost { self.lost } else { self.returned }
    }

    fn weigh(&mut self, lost: bool) -> f64 {
        self.sum = (self.sum + self.of(lost)).max(0.0);
        self.sum
    }
}

impl LoopAlarm {
    /// For loops over so many links.
    pub fn new(links: u32) -> Self {
        Self::with_evidence(links, EVIDENCE)
    }

    /// The same, raised at another evidence.
    pub fn with_evidence(links: u32, limit: f64) -> Self {
        let natural = natural(links);
        Self {
            tests: DROPPED.map(|dropped| Test::new(natural, dropped)),
            limit,
            raised: None,
            times: 0,
        }
    }

    /// A loop came back, or did not.
    pub fn handle_outcome(&mut self, lost: bool) {
        match &mut self.raised {
            Some(calm) => {
                let slow = self.tests[1];
                *calm = (*calm - slow.of(lost)).max(0.0);
                if *calm >= ACQUIT {
                    self.raised = None;
                }
            }
            None => {
                let most = self
                    .tests
                    .iter_mut()
                    .map(|t| t.weigh(lost))
                    .fold(0.0, f64::max);
                if most >= self.limit {
                    self.tests.iter_mut().for_each(|t| t.sum = 0.0);
                    self.raised = Some(0.0);
                    self.times += 1;
                }
            }
        }
    }

    /// Whether it is raised now.
    pub fn is_raised(&self) -> bool {
        self.raised.is_some()
    }

    /// How often it was.
    pub fn times(&self) -> u64 {
        self.times
    }

    /// So many lost loops in a row raise it.
    pub fn in_a_row(&self) -> u32 {
        (self.limit / self.tests[0].lost).ceil() as u32
    }
}

/// Share of loops over so many links that is lost by nature.
pub fn natural(links: u32) -> f64 {
    1.0 - (1.0 - NATURAL).powi(i32::try_from(links).unwrap_or(i32::MAX))
}

/// The most that `outcomes` loops raise of false alarms, on average and as a probability.
pub fn false_alarms(outcomes: f64, evidence: f64) -> f64 {
    DROPPED.len() as f64 * outcomes * (-evidence).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::rng::{Purpose, TickRng, TrafficRng};

    fn draws(seed: u8) -> TickRng {
        TrafficRng::from_seed([seed; 32]).tick(Purpose::MixLoop, 0)
    }

    /// Outcomes until the alarm; `None` when there is none in `most`.
    fn until_raised(links: u32, dropped: f64, most: u32, draws: &mut TickRng) -> Option<u32> {
        let mut alarm = LoopAlarm::new(links);
        let lost = 1.0 - (1.0 - natural(links)) * (1.0 - dropped);
        (1..=most).find(|_| {
            alarm.handle_outcome(draws.draw_open01() < lost);
            alarm.is_raised()
        })
    }

    #[test]
    fn loops_that_all_vanish_raise_it_after_the_stated_number() {
        for (links, in_a_row) in [(4, 8), (8, 11)] {
            let mut draws = draws(1);
            assert_eq!(LoopAlarm::new(links).in_a_row(), in_a_row);
            assert_eq!(until_raised(links, 1.0, 1_000, &mut draws), Some(in_a_row));
        }
    }

    #[test]
    fn less_than_everything_is_noticed_later() {
        // Wald: evidence over what an outcome adds on average, for the better of both tests.
        for (links, dropped, wald) in [(4, 0.5, 19.9), (4, 0.25, 67.9), (8, 0.25, 106.0)] {
            let mut draws = draws(2);
            let all: Vec<u32> = (0..400)
                .map(|_| until_raised(links, dropped, 10_000, &mut draws).unwrap())
                .collect();
            let mean = f64::from(all.iter().sum::<u32>()) / all.len() as f64;
            // Overshoot adds some, sums that stay above 0 take some away.
            assert!(
                (0.5 * wald..1.5 * wald).contains(&mean),
                "{links} {dropped}: {mean}"
            );
        }
    }

    #[test]
    fn one_in_a_hundred_lost_on_each_link_raises_no_more_than_stated() {
        // At evidences that are reached at all: at most e^(−h) for each test and outcome, as proved, and
        // not less than a thousandth of it, or the test would see nothing.
        for links in [4, 8] {
            for evidence in [4.0, 6.0] {
                let (n, mut draws) = (300_000_u32, draws(3));
                let mut alarm = LoopAlarm::with_evidence(links, evidence);
                for _ in 0..n {
                    alarm.handle_outcome(draws.draw_open01() < natural(links));
                }
                let most = false_alarms(f64::from(n), evidence);
                let times = alarm.times() as f64;
                assert!(times <= most, "{links} {evidence}: {times} of {most}");
                assert!(
                    times >= most / 1_000.0,
                    "{links} {evidence}: {times} of {most}"
                );
            }
        }
        // At the real one: 0.002 are expected at most.
        let (mut alarm, mut draws) = (LoopAlarm::new(4), draws(4));
        (0..500_000).for_each(|_| alarm.handle_outcome(draws.draw_open01() < natural(4)));
        assert_eq!(alarm.times(), 0);
    }

    #[test]
    fn it_ends_when_loops_come_back_and_not_before() {
        let mut alarm = LoopAlarm::new(4);
        (0..50).for_each(|_| alarm.handle_outcome(true));
        assert!(alarm.is_raised());
        (0..60).for_each(|_| alarm.handle_outcome(false));
        assert!(alarm.is_raised(), "a pause in an attack is no end of it");
        (0..10).for_each(|_| alarm.handle_outcome(false));
        assert!(!alarm.is_raised());
        assert_eq!(alarm.times(), 1);
    }
}
