//! The edges of time and of epochs: nothing wraps, nothing panics.

use proptest::prelude::*;
use std::time::Duration;
use wire::ids::{Epoch, EpochHint};
use wire::rng::{Purpose, TrafficRng};
use wire::time::{Instant, UnixTime, WallAnchor};

const END: Instant = Instant::from_nanos(u64::MAX);

#[test]
fn instants_saturate_at_both_ends() {
    assert_eq!(END + Duration::from_nanos(1), END);
    assert_eq!(Instant::ZERO + Duration::MAX, END);
    assert_eq!(Instant::ZERO - END, Duration::ZERO);
    assert_eq!(Instant::ZERO.saturating_since(END), Duration::ZERO);
    assert_eq!(END - Instant::ZERO, Duration::from_nanos(u64::MAX));
    assert_eq!(
        Instant::from_nanos(5).saturating_sub(Duration::MAX),
        Instant::ZERO
    );
    let mut instant = END;
    instant += Duration::from_secs(1);
    assert_eq!(instant, END);
    assert_eq!(
        format!("{:?}", Instant::from_nanos(1_000_000_002)),
        "1.000000002s"
    );
}

#[test]
fn wall_clock_times_saturate_and_count_whole_milliseconds() {
    assert_eq!(UnixTime(u64::MAX).saturating_add(Duration::MAX).0, u64::MAX);
    assert_eq!(UnixTime(0).saturating_add(Duration::MAX).0, u64::MAX);
    assert_eq!(
        UnixTime(1).saturating_add(Duration::from_micros(1999)),
        UnixTime(2)
    );
    assert_eq!(UnixTime(1).saturating_since(UnixTime(2)), Duration::ZERO);
}

#[test]
fn an_anchor_far_from_what_is_asked_saturates() {
    let anchor = WallAnchor {
        instant: Instant::from_nanos(1_000_000),
        unix: UnixTime(2),
    };
    assert_eq!(anchor.unix_at(Instant::ZERO), UnixTime(1));
    assert_eq!(
        anchor.unix_at(END).0,
        2 + (u64::MAX - 1_000_000) / 1_000_000
    );
    assert_eq!(anchor.instant_at(UnixTime(0)), Instant::ZERO);
    assert_eq!(anchor.instant_at(UnixTime(u64::MAX)), END);
    let last = WallAnchor {
        instant: Instant::ZERO,
        unix: UnixTime(u64::MAX),
    };
    assert_eq!(last.unix_at(END), UnixTime(u64::MAX));
}

#[test]
fn epochs_saturate_and_hints_are_their_low_bits() {
    assert_eq!(Epoch(u64::MAX).next(), Epoch(u64::MAX));
    assert_eq!(Epoch(0).previous(), Epoch(0));
    assert_eq!(Epoch(0x1_0002).hint(), EpochHint(2));
    assert_eq!(Epoch(0xffff).next().hint(), EpochHint(0));
}

#[test]
fn delays_are_finite_whatever_the_mean() {
    let rng = TrafficRng::from_seed([9; 32]);
    for tick in 0..1000 {
        let draw = |mean| rng.tick(Purpose::Simulation, tick).draw_exponential(mean);
        assert_eq!(draw(Duration::ZERO), Duration::ZERO);
        assert!(draw(Duration::MAX) <= Duration::from_nanos(u64::MAX));
        let open = rng.tick(Purpose::Simulation, tick).draw_open01();
        assert!(open > 0.0 && open < 1.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// There and back again loses less than a millisecond, for any moment after the anchor.
    #[test]
    fn an_anchor_leads_there_and_back(
        at in 0..1u64 << 50, unix in 0..1u64 << 50, later in 0..1u64 << 60,
    ) {
        let anchor = WallAnchor { instant: Instant::from_nanos(at), unix: UnixTime(unix) };
        let instant = Instant::from_nanos(at + later);
        let back = anchor.instant_at(anchor.unix_at(instant));
        prop_assert!(back <= instant && instant - back < Duration::from_millis(1));
    }

    #[test]
    fn later_is_later(nanos in any::<u64>(), wait in any::<u64>()) {
        let (start, wait) = (Instant::from_nanos(nanos), Duration::from_nanos(wait));
        let end = start + wait;
        prop_assert!(end >= start);
        prop_assert!(end == END || end - start == wait);
        prop_assert!(end == END || end.saturating_sub(wait) == start);
    }
}
