//! Which messages of a contact came, of those whose ids are forgotten.
//!
//! Ids are kept of the newest messages only ([`super::contacts::RECEIVED_MAX`]). An older one that turns up may be a
//! replay by its gateway, or an honest message that lay for a week where nobody could read it, while newer ones came
//! through other gateways; one must not be shown twice, the other not be lost. Times tell them apart, without
//! an entry for each: a message says which time it was composed at, and after which there was none before
//! it ([`Composed`]). What a contact's messages say together is a few spans of time about which everything is known;
//! gaps between them are messages that did not come, or never will.
//!
//! Who lies about these times loses messages of their own and no others.

use crate::composed::Composed;
use std::collections::BTreeMap;
use wire::time::UnixTime;

/// Spans of one contact that are kept: 16 bytes each here, a row each in the store. At the limit the two oldest become
/// one, and what is missing between them would be taken for a replay. An honest message would have to lie unread
/// while as many later ones did not come either, each alone between others that did.
pub(super) const SPANS_MAX: usize = 4096;

/// Spans `(after, at]` that hold no message which did not come; none touches another.
#[derive(Default)]
pub(super) struct Past {
    /// From end to begin.
    spans: BTreeMap<UnixTime, UnixTime>,
}

/// What rows are erased and written for a change, in this order.
#[derive(Default)]
pub(super) struct Change {
    /// Ends of spans that are no more.
    pub(super) gone: Vec<UnixTime>,
    /// What stands now and did not before.
    pub(super) new: Vec<Composed>,
}

impl Past {
    /// Whether a message of this time came.
    pub(super) fn covers(&self, at: UnixTime) -> bool {
        let span = self.spans.range(at..).next();
        span.is_some_and(|(_, after)| *after < at)
    }

    /// A message came, and its id is forgotten.
    pub(super) fn add(&mut self, came: Composed) -> Change {
        let mut change = Change::default();
        let mut whole = came;
        // All that overlap or touch: they end at or after its begin, and begin at or before its end.
        while let Some((at, after)) = self.spans.range(whole.after..).next() {
            if *after > whole.at {
                break;
            }
            let (at, after) = (*at, *after);
            self.spans.remove(&at);
            change.gone.push(at);
            whole.at = whole.at.max(at);
            whole.after = whole.after.min(after);
        }
        self.spans.insert(whole.at, whole.after);
        change.new.push(whole);
        if self.spans.len() > SPANS_MAX {
            self.join_oldest(&mut change);
        }
        change
    }

    /// As it stood in the store; whether it can have.
    pub(super) fn restore(&mut self, span: Composed) -> bool {
        let apart = self
            .spans
            .last_key_value()
            .is_none_or(|(end, _)| *end < span.after);
        let fits = apart && self.spans.len() < SPANS_MAX;
        if fits {
            self.spans.insert(span.at, span.after);
        }
        fits
    }

    /// Ends of all spans, oldest first.
    pub(super) fn ends(&self) -> impl Iterator<Item = UnixTime> + '_ {
        self.spans.keys().copied()
    }

    fn join_oldest(&mut self, change: &mut Change) {
        let Some((end, after)) = self.spans.pop_first() else {
            return;
        };
        let Some(mut next) = self.spans.first_entry() else {
            return;
        };
        next.insert(after);
        let joined = Composed {
            at: *next.key(),
            after,
        };
        change
            .new
            .retain(|span| span.at != end && span.at != joined.at);
        change.gone.push(end);
        change.new.push(joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn composed(at: u64, after: u64) -> Composed {
        Composed {
            at: UnixTime(at),
            after: UnixTime(after),
        }
    }

    /// The rows that a store would hold.
    #[derive(Default)]
    struct Rows(BTreeMap<UnixTime, UnixTime>);

    impl Rows {
        fn take(&mut self, change: Change) {
            for at in change.gone {
                self.0.remove(&at);
            }
            for span in change.new {
                self.0.insert(span.at, span.after);
            }
        }

        fn restored(&self) -> Past {
            let mut past = Past::default();
            for (at, after) in &self.0 {
                assert!(past.restore(composed(at.0, after.0)));
            }
            past
        }
    }

    proptest! {
        /// An honest sender's messages come in any order, some twice, some never; times leave gaps.
        #[test]
        fn what_came_is_covered_and_what_did_not_is_not(
            steps in prop::collection::vec((1..5u64, any::<bool>(), any::<u16>()), 1..80),
        ) {
            let mut last = None;
            let mut sent: Vec<(Composed, bool, u16)> = Vec::new();
            for (step, comes, order) in steps {
                let unix = last.map_or(step, |l: UnixTime| l.0 + step);
                let next = Composed::next(UnixTime(unix), last);
                last = Some(next.at);
                sent.push((next, comes, order));
            }
            let mut coming: Vec<_> = sent.iter().filter(|s| s.1).collect();
            coming.sort_by_key(|s| s.2);
            let (mut past, mut rows, mut came) = (Past::default(), Rows::default(), BTreeSet::new());
            for (message, ..) in coming.iter().chain(coming.first()) {
                rows.take(past.add(*message));
                came.insert(message.at);
                for (other, ..) in &sent {
                    prop_assert_eq!(past.covers(other.at), came.contains(&other.at));
                }
                prop_assert_eq!(&rows.restored().spans, &past.spans);
            }
            // As few as can be: one for each run of messages that came.
            let here: Vec<bool> = sent.iter().map(|s| s.1).collect();
            let runs = here.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
            prop_assert_eq!(past.spans.len(), runs);
        }

        /// Whatever a contact says of its times: the rows are what is known, spans stand apart, and what was
        /// covered stays so.
        #[test]
        fn lies_break_nothing(said in prop::collection::vec((0..200u64, 1..60u64), 1..60)) {
            let (mut past, mut rows) = (Past::default(), Rows::default());
            let mut covered = BTreeSet::new();
            for (after, long) in said {
                rows.take(past.add(composed(after + long, after)));
                covered.extend(after + 1..=after + long);
                for at in 0..300 {
                    prop_assert_eq!(past.covers(UnixTime(at)), covered.contains(&at));
                }
                let ends = past.spans.iter().zip(past.spans.iter().skip(1));
                prop_assert!(ends.into_iter().all(|((end, _), (_, begin))| end < begin));
                prop_assert_eq!(&rows.restored().spans, &past.spans);
            }
        }
    }

    #[test]
    fn at_the_limit_the_oldest_gap_is_given_up() {
        let (mut past, mut rows) = (Past::default(), Rows::default());
        let of = |n: usize| composed(10 * n as u64 + 5, 10 * n as u64 + 3);
        for n in 1..=SPANS_MAX {
            rows.take(past.add(of(n)));
        }
        assert!(!past.covers(UnixTime(20)) && past.spans.len() == SPANS_MAX);
        rows.take(past.add(of(SPANS_MAX + 1)));
        assert!(past.covers(UnixTime(20)) && past.spans.len() == SPANS_MAX);
        assert!(!past.covers(UnixTime(30)));
        // The one that came is the oldest of all, and then the second.
        for came in [composed(2, 1), composed(7, 6)] {
            rows.take(past.add(came));
            assert_eq!(rows.restored().spans, past.spans);
        }
        assert!(past.covers(UnixTime(4)) && past.covers(UnixTime(20)));
        assert_eq!(past.spans.len(), SPANS_MAX);
        assert!(
            !past.restore(composed(u64::MAX, u64::MAX - 1)),
            "one too many"
        );
    }
}
