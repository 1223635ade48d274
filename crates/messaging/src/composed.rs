//! When a message was composed, and which one of its sender came before: what a recipient needs to know a
//! message from a replay after its id is forgotten (`crate::messenger::past`).
//! `docs/spec/messaging.md` §4.

use wire::codec::{DecodeError, Reader, Writer};
use wire::time::UnixTime;

/// The place of a message among those of one sender to one recipient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Composed {
    /// The sender's time; strictly increasing.
    pub at: UnixTime,
    /// The sender composed nothing for this recipient between this time and `at`: the time of the message before,
    /// or one millisecond before `at` where the sender knows of none.
    pub after: UnixTime,
}

impl Composed {
    /// The message at `unix`, or as soon after `last` as can be said.
    pub fn next(unix: UnixTime, last: Option<UnixTime>) -> Self {
        // Zero has nothing before it.
        let earliest = last.map_or(1, |last| last.0.saturating_add(1));
        let at = unix.max(UnixTime(earliest));
        let after = last.unwrap_or(UnixTime(at.0 - 1));
        Self { at, after }
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer) {
        w.u64(self.at.0).u64(self.after.0);
    }

    /// Reads it.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (at, after) = (UnixTime(r.u64()?), UnixTime(r.u64()?));
        match after < at {
            true => Ok(Self { at, after }),
            false => Err(DecodeError::Invalid("composed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_increase_and_name_the_one_before() {
        let ms = UnixTime;
        let next = |unix, last: Option<u64>| {
            let next = Composed::next(ms(unix), last.map(ms));
            (next.at.0, next.after.0)
        };
        assert_eq!(next(50, None), (50, 49));
        assert_eq!(next(0, None), (1, 0));
        assert_eq!(next(50, Some(20)), (50, 20));
        // A clock that stands, or was set back.
        assert_eq!(next(50, Some(50)), (51, 50));
        assert_eq!(next(50, Some(900)), (901, 900));
    }

    #[test]
    fn nothing_is_composed_before_what_it_follows() {
        for (at, after, good) in [
            (9u64, 8u64, true),
            (9, 0, true),
            (9, 9, false),
            (9, 10, false),
        ] {
            let mut w = Writer::with_capacity(16);
            w.u64(at).u64(after);
            let bytes = w.into_vec();
            let read = Composed::decode(&mut Reader::new(&bytes));
            assert_eq!(read.is_ok(), good, "{at} after {after}");
            assert!(Composed::decode(&mut Reader::new(&bytes[..15])).is_err());
        }
    }
}
