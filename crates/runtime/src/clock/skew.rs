//! How this machine's clock stands to another's, by a time that the other said. One rule and one sentence for all who
//! compare: nodes with the authorities, a client with its entry gateway.

use wire::time::UnixTime;

/// A clock that differs by more is wrong, in milliseconds, beside what the comparison may be off.
const WRONG_MS: u64 = 500;

/// What one comparison gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skew {
    /// How far this machine's clock is ahead; negative when behind.
    pub ahead_ms: i64,
    /// By how much that may be off.
    pub error_ms: u64,
}

impl Skew {
    /// `theirs` was said at some moment between these two of this machine's clock, and is taken for said in the
    /// middle. It is a stranger's time: whatever it is, this saturates.
    pub fn between(earliest: UnixTime, latest: UnixTime, theirs: UnixTime) -> Self {
        let error_ms = latest.0.saturating_sub(earliest.0) / 2;
        let ours = earliest.0.saturating_add(error_ms);
        let by = i64::try_from(ours.abs_diff(theirs.0)).unwrap_or(i64::MAX);
        Self {
            ahead_ms: if ours >= theirs.0 { by } else { -by },
            error_ms,
        }
    }

    /// Whether somebody has to do something.
    pub fn is_wrong(self) -> bool {
        self.ahead_ms.unsigned_abs() > WRONG_MS.saturating_add(self.error_ms)
    }

    /// For people: `right`, or what to do. `whose`: the other clock, in the genitive.
    pub fn in_words(self, whose: &str) -> String {
        if !self.is_wrong() {
            return "right".to_owned();
        }
        let seconds = self.ahead_ms.unsigned_abs() as f64 / 1000.0;
        let side = match self.ahead_ms > 0 {
            true => "ahead of",
            false => "behind",
        };
        format!(
            "this machine's clock is {seconds:.1} s {side} {whose}: set it right (NTP); if it is right, theirs is wrong"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skew(earliest: u64, latest: u64, theirs: u64) -> Skew {
        Skew::between(UnixTime(earliest), UnixTime(latest), UnixTime(theirs))
    }

    #[test]
    fn a_wrong_clock_is_named_and_a_slow_answer_is_none() {
        let near = skew(10_000, 10_020, 10_009);
        assert_eq!((near.ahead_ms, near.error_ms), (1, 10));
        assert_eq!(near.in_words("theirs"), "right");
        // Half a second and what the comparison may be off is no fault yet.
        assert!(!skew(10_000, 10_020, 9_500).is_wrong());
        assert!(skew(10_000, 10_020, 9_499).is_wrong());
        assert!(!skew(10_000, 12_000, 9_500).is_wrong());
        assert!(skew(10_000, 12_000, 9_499).is_wrong());
        let ahead = skew(70_000, 70_000, 10_000).in_words("the authorities'");
        assert!(
            ahead.contains("60.0 s ahead of the authorities': set it right"),
            "{ahead}"
        );
        let behind = skew(10_000, 10_000, 11_000).in_words("the gateway's");
        assert!(behind.contains("1.0 s behind the gateway's"), "{behind}");
    }

    #[test]
    fn no_time_of_a_stranger_is_too_much() {
        for (earliest, latest) in [(0, 0), (0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
            for theirs in [0, 1, u64::MAX] {
                let _ = skew(earliest, latest, theirs).in_words("theirs");
            }
        }
        assert!(skew(5, 5, u64::MAX).is_wrong() && skew(u64::MAX, u64::MAX, 5).is_wrong());
    }
}
