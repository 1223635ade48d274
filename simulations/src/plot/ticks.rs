//! Where an axis has its marks and what stands there.

/// From least to most, and whether by ratios.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
}

impl Range {
    /// That holds all values, with some air; never empty.
    pub(super) fn of(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let usable = values.filter(|v| v.is_finite() && (!log || *v > 0.0));
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            let (low, high) = if log { (0.1, 1.0) } else { (0.0, 1.0) };
            return Self { low, high, log };
        }
        if log {
            let (low, high) = (low.log10(), high.log10());
            let air = ((high - low) * 0.04).max(0.02);
            let (low, high) = (10f64.powf(low - air), 10f64.powf(high + air));
            return Self { low, high, log };
        }
        // An axis that nearly reaches zero begins there.
        let span = high - low;
        let low = if low >= 0.0 && low < span * 0.5 {
            0.0
        } else {
            low - span * 0.05
        };
        let air = if span > 0.0 {
            span * 0.05
        } else {
            high.abs().max(1.0) * 0.1
        };
        Self {
            low,
            high: high + air,
            log,
        }
    }

    /// Share of the way from low to high.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            let (low, high) = (self.low.log10(), self.high.log10());
            (value.max(f64::MIN_POSITIVE).log10() - low) / (high - low)
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(-0.05, 1.05)
    }

    /// Values with a mark, and what is written there.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        if self.log {
            self.decades()
        } else {
            self.steps()
        }
    }

    fn steps(&self) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / 6.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|s| *s >= rough)
            .unwrap_or(power);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last)
            .map(|i| i as f64 * step)
            .map(|v| (v, number(v, step)))
            .collect()
    }

    fn decades(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.low.log10(), self.high.log10());
        let few = high - low < 2.5;
        let factors: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (((high - low) / 8.0).ceil() as i32).max(1);
        let mut out = Vec::new();
        for decade in low.floor() as i32..=high.ceil() as i32 {
            for factor in factors {
                let value = factor * 10f64.powi(decade);
                let inside = value >= self.low && value <= self.high;
                if inside && decade.rem_euclid(every) == 0 {
                    out.push((value, short(value)));
                }
            }
        }
        out
    }
}

fn number(value: f64, step: f64) -> String {
    let value = if value.abs() < step / 1e6 { 0.0 } else { value };
    if step >= 1000.0 {
        return short(value);
    }
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// A number as one writes it by hand: 0.01, 20, 3k, 2M, 1e-5.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    };
    match size {
        0.0 => "0".into(),
        s if s < 1e-3 => format!("{value:e}"),
        s if s < 1.0 => trim(format!("{value:.3}")),
        s if s < 1e3 => trim(format!("{value:.1}")),
        s if s < 1e6 => trim(format!("{:.1}", value / 1e3)) + "k",
        s if s < 1e9 => trim(format!("{:.1}", value / 1e6)) + "M",
        _ => format!("{value:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_lie_inside_and_are_few() {
        for (low, high, log) in [
            (0.0, 1.0, false),
            (0.37, 950.0, true),
            (1e-4, 1e7, true),
            (9.9, 10.1, false),
        ] {
            let range = Range::of([low, high].into_iter(), log);
            let ticks = range.ticks();
            assert!((2..=12).contains(&ticks.len()), "{low} {high}: {ticks:?}");
            assert!(
                ticks
                    .iter()
                    .all(|(v, _)| (0.0..=1.0).contains(&range.place(*v)))
            );
        }
    }

    #[test]
    fn an_empty_range_and_a_single_value_can_be_drawn() {
        assert!(Range::of([].into_iter(), true).place(0.5).is_finite());
        let one = Range::of([3.0].into_iter(), false);
        assert!(one.place(3.0).is_finite() && !one.ticks().is_empty());
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.01, 20.0, 3_000.0, 2.5e6, 1e-5].map(short);
        assert_eq!(texts, ["0", "0.01", "20", "3k", "2.5M", "1e-5"]);
    }
}
