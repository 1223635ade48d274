//! Where a writer stands in its list of candidates, and how long it waits after a refusal.
//!
//! One step for each refusal: down the list, and from its end to the top again with twice the wait.
//! While nothing was stored at the present candidate, one cell at a time asks there.

use std::time::Duration;
use wire::ids::{InboxAddress, InboxId, NodeId};
use wire::time::Instant;

/// Cells under way at once to one inbox, once it has stored one. More than a round trip's worth at
/// every rate there is, also while a third of the replies are lost and waited for.
pub(super) const WINDOW: usize = 32;

#[derive(Default)]
pub(super) struct Path {
    target: Option<InboxId>,
    laps: u32,
    proven: bool,
    not_before: Instant,
}

impl Path {
    /// The candidate to use, `None` when there is none. A target that is no candidate any more is
    /// replaced by the best.
    pub(super) fn target<'a>(
        &mut self,
        candidates: &'a [InboxAddress],
    ) -> Option<&'a InboxAddress> {
        let present = candidates.iter().find(|c| Some(c.inbox) == self.target);
        let chosen = present.or_else(|| candidates.first())?;
        if self.target != Some(chosen.inbox) {
            self.target = Some(chosen.inbox);
            self.proven = false;
        }
        Some(chosen)
    }

    /// Starts at the best again where the present target is one of those that `is_bad`.
    pub(super) fn leave(&mut self, list: &[InboxAddress], is_bad: impl Fn(&NodeId) -> bool) {
        let present = list.iter().find(|a| Some(a.inbox) == self.target);
        if present.is_some_and(|a| is_bad(&a.gateway)) {
            *self = Self::default();
        }
    }

    /// Earliest time of the next attempt.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Whether the present candidate has stored something.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// How many cells may be under way.
    pub(super) fn window(&self) -> usize {
        if self.proven { WINDOW } else { 1 }
    }

    /// A cell was stored there.
    pub(super) fn stored(&mut self, at: &InboxId) {
        if self.target == Some(*at) {
            self.proven = true;
            self.laps = 0;
        }
    }

    /// A cell was refused there, or nothing came back. Only the first such news of a candidate moves
    /// on. `waits` is shortest and longest wait.
    pub(super) fn refused(
        &mut self,
        at: &InboxId,
        candidates: &[InboxAddress],
        now: Instant,
        waits: (Duration, Duration),
    ) {
        if self.target != Some(*at) || now < self.not_before {
            return;
        }
        let wait = waits.0.saturating_mul(1 << self.laps.min(20)).min(waits.1);
        self.not_before = now + wait;
        self.proven = false;
        let index = candidates.iter().position(|c| c.inbox == *at);
        let next = index.map_or(0, |i| i + 1);
        if next >= candidates.len() {
            self.laps += 1;
        }
        let wrapped = candidates.get(next).or_else(|| candidates.first());
        self.target = wrapped.map(|c| c.inbox);
    }

    /// A sign of life from the contact: try again at once, with short waits.
    pub(super) fn restart(&mut self) {
        self.laps = 0;
        self.not_before = Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ids::WriteToken;

    #[test]
    fn refusals_walk_the_list_and_slow_down_with_each_lap() {
        let address = |n: u8| InboxAddress {
            gateway: NodeId([n; 28]),
            inbox: InboxId([n; 32]),
            token: WriteToken([n; 32]),
        };
        let list = [address(1), address(2)];
        let waits = (Duration::from_secs(1), Duration::from_secs(5));
        let mut path = Path::default();
        let mut now = Instant::ZERO;
        let mut seen = Vec::new();
        for _ in 0..10 {
            let target = path.target(&list).unwrap().inbox;
            path.refused(&target, &list, now, waits);
            path.refused(&target, &list, now, waits);
            seen.push((target.0[0], (path.not_before() - now).as_secs()));
            now = path.not_before();
        }
        let expected = [1, 1, 2, 2, 4, 4, 5, 5, 5, 5];
        assert_eq!(seen.iter().map(|s| s.1).collect::<Vec<_>>(), expected);
        assert!(
            seen.iter()
                .zip([1, 2].iter().cycle())
                .all(|(s, n)| s.0 == *n)
        );
        assert_eq!(path.window(), 1);
        let target = path.target(&list).unwrap().inbox;
        path.stored(&target);
        assert_eq!(path.window(), WINDOW);
        assert!(path.target(&[]).is_none());
    }
}
