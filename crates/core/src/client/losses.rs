//! Replies that came, came late and did not come, by gateway. The client knows every delay it drew,
//! so lateness is exact; loss is the alarm for dropping attacks.

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

/// What became of the requests to one gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl GatewayLosses {
    /// Whether the last full window raised the alarm.
    pub fn lossy(&self) -> bool {
        self.lossy
    }

    /// Counts one outcome; whether the alarm has just been raised (`true`) or has ended (`false`).
    fn outcome(&mut self, lost: bool) -> Option<bool> {
        self.window.0 += 1;
        self.window.1 += u32::from(lost);
        if self.window.0 < WINDOW {
            return None;
        }
        let raised = self.window.1 >= ALARM;
        let news = raised != self.lossy;
        self.lossy = raised;
        self.window = (0, 0);
        news.then_some(raised)
    }
}

/// Losses by gateway.
#[derive(Clone, Debug, Default)]
pub struct Losses(BTreeMap<NodeId, GatewayLosses>);

impl Losses {
    /// What is known of each gateway.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &GatewayLosses)> {
        self.0.iter()
    }

    /// Over all gateways.
    pub fn total(&self) -> GatewayLosses {
        self.0
            .values()
            .fold(GatewayLosses::default(), |mut sum, g| {
                sum.sent += g.sent;
                sum.returned += g.returned;
                sum.late += g.late;
                sum.lost += g.lost;
                sum.lossy |= g.lossy;
                sum
            })
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
        g.outcome(false)
    }

    /// What is news of the gateway: whether it is failing.
    pub(super) fn lost(&mut self, gateway: NodeId) -> Option<bool> {
        let g = self.entry(gateway)?;
        g.lost += 1;
        g.outcome(true)
    }

    fn entry(&mut self, gateway: NodeId) -> Option<&mut GatewayLosses> {
        if !self.0.contains_key(&gateway) && self.0.len() >= GATEWAYS_MAX {
            return None;
        }
        Some(self.0.entry(gateway).or_default())
    }
}
