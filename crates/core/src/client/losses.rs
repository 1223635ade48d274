//! Replies that came, came late and did not come, by gateway. The client knows every delay it drew,
//! so lateness is exact; loss is the alarm for dropping attacks.
//!
//! Two verdicts. *Lossy* is for a person: a share of lost replies that no honest network has. *Failing*
//! is for whoever chooses gateways: this one answers far less than the others do, so it is the
//! gateway and not the mixes between or our own link. It is a sequential test (CUSUM) of "loses what
//! the others lose" against "loses nine of ten", so that 30 % of loss everywhere condemns nobody and
//! a gateway that is dead is known after six replies where nothing else is lost.

use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::NodeId;

/// More than this behind the drawn delays is late.
const LATE: Duration = Duration::from_secs(1);
/// Replies that one window counts.
const WINDOW: u32 = 100;
/// Lost replies in one window that raise the alarm. At 1 % natural loss, a false alarm needs 15 of
/// 100: probability 10⁻¹³ a window.
const ALARM: u32 = 15;
/// Gateways counted; those of the directory, so more than this is no honest network.
const GATEWAYS_MAX: usize = 4_096;
/// Weight of the newest outcome in a gateway's share of losses.
const NEWEST: f64 = 1.0 / 16.0;
/// Share of losses of a gateway that fails.
const FAILING: f64 = 0.9;
/// Natural loss is taken for at least this.
const NATURAL: f64 = 0.02;
/// Where all others lose more than this, the trouble is on our side of them.
const EVERYWHERE: f64 = 0.5;
/// What the others lose where none of them works.
const UNKNOWN: f64 = 0.3;
/// A gateway counts among the others while at most so many replies for each gateway came or did not come since
/// its last: one that left the directory is asked no more, and what it lost last is no measure of today.
const LATELY: u64 = 64;
/// Odds, as logarithms, by which a gateway is declared failing (10⁹) and back (10⁴).
const CONDEMN: f64 = 20.7;
const ACQUIT: f64 = 9.2;

/// What became of the requests to one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GatewayLosses {
    /// Requests sent.
    pub sent: u64,
    /// Replies that came.
    pub returned: u64,
    /// Those of them that came more than a second late.
    pub late: u64,
    /// Replies that did not come in time.
    pub lost: u64,
    window: (u32, u32),
    lossy: bool,
    share: f64,
    evidence: f64,
    failing: bool,
    /// Of all outcomes, the number of its last.
    last: u64,
}

impl GatewayLosses {
    /// Whether the last full window raised the alarm.
    pub fn lossy(&self) -> bool {
        self.lossy
    }

    /// Whether it answers so much less than the others that it is asked no more often than cover
    /// would ask it.
    pub fn failing(&self) -> bool {
        self.failing
    }

    fn count(&mut self, lost: bool) {
        self.share += NEWEST * (f64::from(u8::from(lost)) - self.share);
        self.window.0 += 1;
        self.window.1 += u32::from(lost);
        if self.window.0 >= WINDOW {
            self.lossy = self.window.1 >= ALARM;
            self.window = (0, 0);
        }
    }

    /// Weighs one outcome, where the others lose a share of `others`. Whether the gateway fails,
    /// where that is news.
    fn weigh(&mut self, lost: bool, others: f64) -> Option<bool> {
        if others > EVERYWHERE {
            return None;
        }
        let others = others.max(NATURAL);
        let against = if lost {
            (FAILING / others).ln()
        } else {
            ((1.0 - FAILING) / (1.0 - others)).ln()
        };
        let (step, enough) = if self.failing {
            (-against, ACQUIT)
        } else {
            (against, CONDEMN)
        };
        self.evidence = (self.evidence + step).max(0.0);
        if self.evidence < enough {
            return None;
        }
        self.evidence = 0.0;
        self.failing = !self.failing;
        Some(self.failing)
    }
}

/// Losses by gateway.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    by_gateway: BTreeMap<NodeId, GatewayLosses>,
    /// Counts outcomes.
    outcomes: u64,
}

impl Losses {
    /// What is known of each gateway.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &GatewayLosses)> {
        self.by_gateway.iter()
    }

    /// Over all gateways.
    pub fn total(&self) -> GatewayLosses {
        self.by_gateway
            .values()
            .fold(GatewayLosses::default(), |mut sum, g| {
                sum.sent += g.sent;
                sum.returned += g.returned;
                sum.late += g.late;
                sum.lost += g.lost;
                sum.lossy |= g.lossy;
                sum.failing |= g.failing;
                sum
            })
    }

    /// See [`GatewayLosses::failing`].
    pub fn failing(&self, gateway: &NodeId) -> bool {
        self.by_gateway.get(gateway).is_some_and(|g| g.failing)
    }

    pub(super) fn sent(&mut self, gateway: NodeId) {
        if let Some(g) = self.entry(gateway) {
            g.sent += 1;
        }
    }

    /// What is news of the gateway: whether it is failing.
    pub(super) fn returned(&mut self, gateway: NodeId, late: Duration) -> Option<bool> {
        let g = self.entry(gateway)?;
        g.returned += 1;
        g.late += u64::from(late > LATE);
        self.outcome(&gateway, false)
    }

    /// What is news of the gateway: whether it is failing. Where the link was `broken` meanwhile,
    /// that says nothing about the gateway.
    pub(super) fn lost(&mut self, gateway: NodeId, broken: bool) -> Option<bool> {
        self.entry(gateway)?.lost += 1;
        if broken {
            return None;
        }
        self.outcome(&gateway, true)
    }

    /// What was counted as lost came after all.
    pub(super) fn straggler(&mut self, gateway: NodeId) {
        if let Some(g) = self.entry(gateway) {
            g.lost = g.lost.saturating_sub(1);
            g.returned += 1;
            g.late += 1;
        }
    }

    fn outcome(&mut self, gateway: &NodeId, lost: bool) -> Option<bool> {
        let others = self.others(gateway);
        self.outcomes += 1;
        let g = self.by_gateway.get_mut(gateway)?;
        g.last = self.outcomes;
        g.count(lost);
        g.weigh(lost, others?)
    }

    /// What the others lose that work; `None` where there is none to compare with.
    fn others(&self, gateway: &NodeId) -> Option<f64> {
        let others = || self.by_gateway.iter().filter(|(id, _)| *id != gateway);
        let (mut sum, mut count) = (0.0, 0_u32);
        let lately = self.by_gateway.len() as u64 * LATELY;
        let asked = |g: &GatewayLosses| self.outcomes.saturating_sub(g.last) <= lately;
        for (_, g) in others().filter(|(_, g)| !g.failing && asked(g)) {
            sum += g.share;
            count += 1;
        }
        others().next()?;
        Some(if count == 0 {
            UNKNOWN
        } else {
            sum / f64::from(count)
        })
    }

    fn entry(&mut self, gateway: NodeId) -> Option<&mut GatewayLosses> {
        let known = self.by_gateway.contains_key(&gateway);
        if !known && self.by_gateway.len() >= GATEWAYS_MAX {
            return None;
        }
        Some(self.by_gateway.entry(gateway).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::rng::{Purpose, TrafficRng};

    const A: NodeId = NodeId([1; 28]);
    const B: NodeId = NodeId([2; 28]);
    const C: NodeId = NodeId([3; 28]);

    /// `n` requests to each of three gateways, of which shares are lost; news as they came.
    fn after(losses: &mut Losses, n: u64, shares: [(NodeId, f64); 3]) -> Vec<(u64, NodeId, bool)> {
        let rng = TrafficRng::from_seed([7; 32]);
        let mut news = Vec::new();
        for i in 0..n {
            let mut draws = rng.tick(Purpose::Simulation, i);
            for (gateway, share) in shares {
                let told = match draws.draw_open01() < share {
                    true => losses.lost(gateway, false),
                    false => losses.returned(gateway, Duration::ZERO),
                };
                news.extend(told.map(|failing| (i, gateway, failing)));
            }
        }
        news
    }

    #[test]
    fn loss_everywhere_condemns_nobody() {
        for share in [0.0, 0.01, 0.3, 0.45, 0.6, 1.0] {
            let mut losses = Losses::default();
            let news = after(&mut losses, 20_000, [(A, share), (B, share), (C, share)]);
            assert!(news.is_empty(), "{share}: {:?}", &news[..1]);
        }
    }

    #[test]
    fn a_dead_gateway_is_known_soon_and_taken_back_soon() {
        for (natural, soon) in [(0.0, 6), (0.3, 60)] {
            let mut losses = Losses::default();
            after(&mut losses, 200, [(A, natural), (B, natural), (C, natural)]);
            let news = after(&mut losses, 200, [(A, natural), (B, 1.0), (C, natural)]);
            assert!(matches!(news[..], [(i, B, true)] if i < soon), "{news:?}");
            assert!(losses.failing(&B) && !losses.failing(&A));
            let news = after(&mut losses, 200, [(A, natural), (B, natural), (C, natural)]);
            assert!(matches!(news[..], [(i, B, false)] if i < soon), "{news:?}");
        }
    }

    #[test]
    fn a_gateway_that_drops_half_is_known() {
        let mut losses = Losses::default();
        let news = after(&mut losses, 200, [(A, 0.01), (B, 0.6), (C, 0.01)]);
        assert!(matches!(news[..], [(_, B, true), ..]), "{news:?}");
    }

    /// Everything is lost for a while, which condemns nobody, and one of them is in no directory after that.
    #[test]
    fn what_one_lost_that_is_gone_is_no_measure_of_the_others() {
        let mut losses = Losses::default();
        let all = [(A, 1.0), (B, 1.0), (C, 1.0)];
        assert_eq!(after(&mut losses, 200, all), []);
        let news = after(&mut losses, 200, [(A, 0.01), (B, 0.01), (A, 0.01)]);
        assert_eq!(news, []);
        let news = after(&mut losses, 50, [(A, 0.01), (B, 1.0), (A, 0.01)]);
        assert!(matches!(news[..], [(_, B, true)]), "{news:?}");
        let news = after(&mut losses, 50, [(A, 0.01), (B, 0.01), (A, 0.01)]);
        assert!(matches!(news[..], [(_, B, false)]), "{news:?}");
    }

    #[test]
    fn a_broken_link_says_nothing_about_a_gateway() {
        let mut losses = Losses::default();
        after(&mut losses, 50, [(A, 0.0), (B, 0.0), (C, 0.0)]);
        for _ in 0..1_000 {
            assert_eq!(losses.lost(B, true), None);
        }
        assert_eq!(losses.total().lost, 1_000);
        losses.straggler(B);
        assert_eq!((losses.total().lost, losses.total().late), (999, 1));
    }
}
