//! What a relay saw on a real client's link: `localnet --capture` writes `time_ns,direction,bytes` for each
//! TLS record. [`Capture::conformance`] says whether that is what the design promises (attack A13).

use super::Broken;
use crate::stats::{self, KsTest};

/// Records of both directions, in seconds since the first one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Capture {
    /// Client to gateway.
    pub up: Vec<f64>,
    /// Gateway to client.
    pub down: Vec<f64>,
    /// Sizes that occurred, ascending.
    pub sizes: Vec<usize>,
}

/// What tests of one capture say. Each is right to call an honest client dishonest with probability `ALPHA`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conformance {
    /// Uplink records.
    pub records: usize,
    /// Whether uplink gaps are exponential.
    pub poisson: KsTest,
    /// Standard deviations of the uplink's rate from the directory's.
    pub rate: f64,
    /// Distance between two neighbouring gaps' products, as lag-1 correlation in standard deviations.
    pub memory: f64,
    /// 99 of 100 downlink gaps are so near to the constant, in seconds.
    pub downlink: f64,
    /// Whether all records have one size.
    pub one_size: bool,
}

/// Probability of calling one honest capture dishonest, for each test made.
pub(crate) const ALPHA: f64 = 1e-4;
/// Normal quantile of [`ALPHA`], two-sided.
const DEVIATIONS: f64 = 3.891;
/// 99 of 100 downlink gaps lie so near to the constant; a busy machine's scheduling is in this figure.
const JITTER: f64 = 0.005;

impl Capture {
    /// Reads a capture's text.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|l| l.1.trim()) != Some("time_ns,direction,bytes") {
            let what = "not a capture: want the header time_ns,direction,bytes";
            return Err(Broken::at(1, what));
        }
        let mut capture = Self::default();
        let mut first = None;
        for (i, line) in lines {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [time, direction, bytes] = fields[..] else {
                return Err(Broken::at(
                    i + 1,
                    "want three fields: time_ns,direction,bytes",
                ));
            };
            let ns: u64 = time
                .parse()
                .map_err(|_| Broken::at(i + 1, format!("no time in nanoseconds: {time}")))?;
            let size: usize = bytes
                .parse()
                .map_err(|_| Broken::at(i + 1, format!("no number of bytes: {bytes}")))?;
            let at = (i128::from(ns) - i128::from(*first.get_or_insert(ns))) as f64 / 1e9;
            let side = match direction {
                "up" => &mut capture.up,
                "down" => &mut capture.down,
                _ => {
                    return Err(Broken::at(
                        i + 1,
                        format!("neither up nor down: {direction}"),
                    ));
                }
            };
            // The two directions' threads write independently: order holds within each.
            if side.last().is_some_and(|last| *last > at) {
                return Err(Broken::at(i + 1, "time goes back within one direction"));
            }
            side.push(at);
            if let Err(place) = capture.sizes.binary_search(&size) {
                capture.sizes.insert(place, size);
            }
        }
        if capture.up.len() < 100 {
            let what = format!(
                "{} uplink records; 100 at least say anything",
                capture.up.len()
            );
            return Err(Broken::at(0, what));
        }
        Ok(capture)
    }

    /// Whether the client kept to `uplink` packets a second by a Poisson clock and its gateway to `downlink`
    /// frames a second by a constant one. The first record of each direction is its hello.
    pub fn conformance(&self, uplink: f64, downlink: f64) -> Conformance {
        let up = gaps(&self.up);
        let seconds: f64 = up.iter().sum();
        let poisson = stats::ks_one(&mut up.clone(), |x| 1.0 - (-uplink * x).exp());
        let expected = uplink * seconds;
        let mut off: Vec<f64> = gaps(&self.down)
            .iter()
            .map(|g| (g - 1.0 / downlink).abs())
            .collect();
        off.sort_by(f64::total_cmp);
        Conformance {
            records: self.up.len(),
            poisson,
            rate: (up.len() as f64 - expected) / expected.sqrt(),
            memory: lag_one(&up),
            downlink: off.get(off.len() * 99 / 100).copied().unwrap_or(f64::NAN),
            one_size: self.sizes.len() == 1,
        }
    }
}

impl Conformance {
    /// What is wrong, in words; nothing where all tests pass.
    pub fn faults(&self) -> Vec<String> {
        let KsTest { distance, p } = self.poisson;
        let rules = [
            (
                p < ALPHA,
                format!("uplink gaps are not exponential (D = {distance:.4}, p = {p:.1e})"),
            ),
            (
                self.rate.abs() > DEVIATIONS,
                format!("uplink rate is {:.1} standard deviations off", self.rate),
            ),
            (
                self.memory.abs() > DEVIATIONS,
                format!(
                    "neighbouring uplink gaps are correlated ({:.1} standard deviations)",
                    self.memory
                ),
            ),
            (
                self.downlink.is_nan() || self.downlink > JITTER,
                format!(
                    "downlink is not constant (p99 {:.1} ms off)",
                    self.downlink * 1e3
                ),
            ),
            (!self.one_size, "records of several sizes".to_string()),
        ];
        rules.into_iter().filter(|r| r.0).map(|r| r.1).collect()
    }
}

/// Times between records, without the first record.
fn gaps(times: &[f64]) -> Vec<f64> {
    let times = times.get(1..).unwrap_or_default();
    times.windows(2).map(|w| w[1] - w[0]).collect()
}

/// Correlation of neighbouring gaps in standard deviations, of ranks: whatever their distribution is.
fn lag_one(gaps: &[f64]) -> f64 {
    let n = gaps.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| gaps[*a].total_cmp(&gaps[*b]));
    let mut rank = vec![0.0; n];
    for (r, i) in order.into_iter().enumerate() {
        rank[i] = (r as f64 + 0.5) / n as f64 - 0.5;
    }
    let sum: f64 = rank.windows(2).map(|w| w[0] * w[1]).sum();
    // A uniform rank has variance 1/12.
    sum * 12.0 / ((n.max(2) - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};
    use std::fmt::Write;

    fn capture(uplink: f64, seconds: f64, wrong: impl Fn(f64) -> Option<f64>) -> Capture {
        let mut draws = Stream::new(4, Purpose::CLIENT, 0);
        let mut rows: Vec<(f64, &str)> = Vec::new();
        let mut at = 0.0;
        while at < seconds {
            at += draws.exponential(1.0 / uplink);
            rows.push((at, "up"));
            rows.extend(wrong(at).map(|t| (t, "up")));
        }
        rows.extend((0..(seconds * 20.0) as u32).map(|i| (f64::from(i) * 0.05, "down")));
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut text = String::from("time_ns,direction,bytes\n");
        for (time, direction) in rows {
            let _ = writeln!(text, "{},{direction},2856", (time * 1e9) as u64);
        }
        Capture::parse(&text).unwrap()
    }

    #[test]
    fn an_honest_capture_conforms_and_others_do_not() {
        let honest = capture(12.0, 200.0, |_| None).conformance(12.0, 20.0);
        assert_eq!(honest.faults(), Vec::<String>::new());
        let fast = capture(13.2, 200.0, |_| None).conformance(12.0, 20.0);
        assert!(fast.faults().iter().any(|f| f.contains("rate")), "{fast:?}");
        let answered = capture(12.0, 200.0, |at| {
            ((at * 1e3) as u64).is_multiple_of(5).then_some(at + 0.001)
        });
        let answered = answered.conformance(12.0, 20.0);
        assert!(
            answered.faults().iter().any(|f| f.contains("exponential")),
            "{answered:?}"
        );
    }

    #[test]
    fn broken_rows_are_named() {
        let line = |text: &str| Capture::parse(text).unwrap_err().line;
        assert_eq!(line("time\n"), 1);
        assert_eq!(line("time_ns,direction,bytes\n5,up\n"), 2);
        assert_eq!(line("time_ns,direction,bytes\n5,up,9\n4,up,9\n"), 3);
        assert_eq!(line("time_ns,direction,bytes\n5,sideways,9\n"), 2);
        assert_eq!(line("time_ns,direction,bytes\n5,up,9\n"), 0);
    }
}
