//! How well this node hides the packets that pass it, as far as a closed form can say it from what the node itself
//! measures: a mix network with little traffic fails silently.

use anonymity::live::{self, MixFigure};
use serde_json::{Value, json};
use std::time::Duration;
use wire::time::Instant;

/// Traffic is measured over so long a time.
const WINDOW: Duration = Duration::from_secs(30);

/// Measures, judges, and says when it gets too low.
#[derive(Default)]
pub(super) struct Anonymity {
    /// Where this window began, and how many packets had been forwarded then.
    window: Option<(Instant, u64)>,
    figure: Option<MixFigure>,
}

impl Anonymity {
    /// `forwarded` packets since the start, each after an exponential delay of mean `delay_mean`.
    pub(super) fn judge(&mut self, forwarded: u64, delay_mean: Option<Duration>, now: Instant) {
        let (began, before) = *self.window.get_or_insert((now, forwarded));
        let took = now - began;
        if took < WINDOW {
            return;
        }
        self.window = Some((now, forwarded));
        let Some(delay_mean) = delay_mean else {
            self.figure = None;
            return;
        };
        let arrivals = forwarded.saturating_sub(before) as f64 / took.as_secs_f64();
        let figure = live::mix_figure(arrivals, delay_mean.as_secs_f64());
        let was_low = self.figure.replace(figure).is_some_and(|f| f.low);
        if figure.low && !was_low {
            tracing::warn!(
                "little traffic: packets that pass this node are badly hidden; see \"anonymity\" in its status"
            );
        } else if was_low && !figure.low {
            tracing::info!("traffic suffices again to hide packets");
        }
    }

    /// For the status: nothing before a whole window has passed.
    pub(super) fn status(&self) -> Value {
        let Some(figure) = self.figure else {
            return Value::Null;
        };
        let short = |x: f64| (x * 1e3).round() / 1e3;
        json!({
            "pool": short(figure.pool),
            "entropy_bits": short(figure.entropy.value),
            "best_guess": short(figure.best_guess.value),
            "best_guess_most": live::BEST_GUESS_MOST,
            "below_floor": figure.low,
            "measured_over_s": WINDOW.as_secs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_traffic_shows_after_a_window_and_much_does_not() {
        let mut anonymity = Anonymity::default();
        let (mut now, mut forwarded) = (Instant::from_nanos(1), 0);
        let mean = Some(Duration::from_secs(1));
        let mut pass = |anonymity: &mut Anonymity, each_second: u64| {
            anonymity.judge(forwarded, mean, now);
            now += WINDOW;
            forwarded += each_second * WINDOW.as_secs();
            anonymity.judge(forwarded, mean, now);
            anonymity.status()
        };
        assert_eq!(Anonymity::default().status(), Value::Null);
        let low = pass(&mut anonymity, 1);
        assert_eq!(
            (&low["below_floor"], &low["best_guess"]),
            (&json!(true), &json!(0.5))
        );
        assert_eq!(low["entropy_bits"], json!(1.511));
        let high = pass(&mut anonymity, 50);
        assert_eq!(high["below_floor"], json!(false));
        assert_eq!(pass(&mut anonymity, 0)["best_guess"], json!(1.0));
    }
}
