//! The loop alarm as an operator sees it: a gauge, a counter, a line in the log, and within which time it
//! comes. When it is raised is `mizzle_core::loops`' to decide.

use anonymity::active;
use anonymity::special::gamma_quantile;
use directory::{LAYERS, Parameters};
use mizzle_core::loops::{LoopAlarm, SLACK};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::board::COPY_PERIOD;
use crate::metrics::set_counter;

/// The stated time holds but for one attack in so many.
const MISS: f64 = 0.01;

/// What is shown of it.
pub(super) struct Alarm {
    raised: Gauge,
    times: Counter,
    was_raised: bool,
    within_s: Option<f64>,
}

impl Alarm {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (raised, times) = (Gauge::default(), Counter::default());
        let help = "1 while too few of the own loops come back";
        registry.register("mizzle_loop_alarm", help, raised.clone());
        let help = "Times that too few of the own loops came back";
        registry.register("mizzle_loop_alarms", help, times.clone());
        Self {
            raised,
            times,
            was_raised: false,
            within_s: None,
        }
    }

    pub(super) fn copy(&mut self, alarm: &LoopAlarm, parameters: Option<&Parameters>) {
        set_counter(&self.times, alarm.times());
        let raised = alarm.is_raised();
        self.raised.set(i64::from(raised));
        match (std::mem::replace(&mut self.was_raised, raised), raised) {
            (false, true) => tracing::warn!(
                "LOOP ALARM: own loops do not come back. A neighbour is down or overloaded, or somebody \
                 drops packets; see \"loop_alarm\" in the status and tell the other operators"
            ),
            (true, false) => tracing::info!("own loops come back again"),
            (true, true) | (false, false) => {}
        }
        self.within_s = parameters.map(|p| within(alarm.in_a_row(), p));
    }

    /// For the status, in tenths of a second.
    pub(super) fn within_s(&self) -> Option<f64> {
        self.within_s.map(|s| (s * 10.0).ceil() / 10.0)
    }
}

/// Seconds from the moment on when everything is dropped until the alarm is shown, for 99 attacks in 100.
pub fn within(in_a_row: u32, p: &Parameters) -> f64 {
    let lost = active::time_to_lose(in_a_row, p.mix_loop_rate.per_second(), MISS).value;
    // The way of the last of them, as if it were the longest: that of a gateway's loop.
    let waits = 2 * LAYERS as u32 + 1;
    let mixed = p
        .delay_mean
        .mul_f64(gamma_quantile(f64::from(waits), 1.0 - MISS));
    let journey = p.hop_allowance * waits + mixed;
    lost + (journey + SLACK + COPY_PERIOD).as_secs_f64()
}
