//! A stream that enters and a stream that leaves: the rule that says whether they belong together, and pairs of them
//! out of the sweep, whose truth is known.

use crate::attacks::AttackError;
use crate::design::{Design, Packet, Plan};
use crate::message::{Class, Message};
use crate::outcome::{Options, Probe};
use crate::random::{Purpose, Stream, ln};
use crate::sweep;

/// A stream that goes in, and what of it comes out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flow {
    /// a: packets a second that the sender emits.
    pub emitted: f64,
    /// r: those of them that go to the watched egress.
    pub matched: f64,
    /// ν: packets a second there that have nothing to do with the sender.
    pub noise: f64,
    /// k: exponential delays between the two.
    pub hops: u32,
    /// 1/μ of each, in seconds.
    pub delay: f64,
    /// Seconds of observation.
    pub time: f64,
}

/// Packets of one run of the sweep, about.
const PACKETS: f64 = 4e6;

impl Flow {
    /// What the closed forms take.
    pub fn closed(&self) -> anonymity::flow::Flow {
        anonymity::flow::Flow {
            emitted: self.emitted,
            matched: self.matched,
            noise: self.noise,
            hops: self.hops,
            mu: 1.0 / self.delay,
        }
    }

    /// J: nats a second by which the log-likelihood ratio of the true pair grows, by the closed form.
    pub fn information_rate(&self) -> f64 {
        anonymity::flow::information_rate(&self.closed()).value
    }

    /// Seconds until the true pair is found with TPR 0.9 at FPR 1e-3, by the closed form.
    pub fn time_to_link(&self) -> f64 {
        anonymity::flow::time_to_link(&self.closed(), 0.9, 1e-3).value
    }

    /// Scores of `senders` true pairs, and of each sender with the egresses of `others` other senders. Senders were watched
    /// before, for as long as a packet may take.
    pub fn scores(
        &self,
        senders: usize,
        others: usize,
        seed: u64,
    ) -> Result<(Vec<f64>, Vec<f64>), AttackError> {
        let (mut same, mut other) = (Vec::new(), Vec::new());
        let lead = Kernel::new(self.hops, self.delay).reach;
        let each = (self.emitted + self.noise) * (self.time + lead);
        let at_once = (PACKETS / each).clamp(2.0 * others as f64 + 2.0, 1e4) as usize;
        let mut run = 0;
        while same.len() < senders {
            let n = at_once.min(senders - same.len()).max(others + 1);
            let streams = self.streams(n, seed.wrapping_add(run << 20))?;
            for (i, stream) in streams.iter().enumerate().take(senders - same.len()) {
                same.push(self.ratio(&stream.sent, &stream.came, -lead));
                for k in 1..=others {
                    let stranger = &streams[(i + k) % n];
                    other.push(self.ratio(&stream.sent, &stranger.came, -lead));
                }
            }
            run += 1;
        }
        Ok((same, other))
    }

    /// `n` senders and their egresses in one network of Poisson mixes, by the sweep. All have sent for long
    /// enough before the watch, in which time runs from 0.
    fn streams(&self, n: usize, seed: u64) -> Result<Vec<Ends>, AttackError> {
        let wrong = |e: crate::design::DesignError| AttackError(e.to_string());
        let plan = Plan::new(&Design::bare(self.hops, 1, self.delay), seed).map_err(wrong)?;
        let mut ends = Streams {
            lead: Kernel::new(self.hops, self.delay).reach,
            time: self.time,
            streams: vec![Ends::default(); n],
        };
        let end = ends.lead + self.time;
        let mut gaps = Stream::new(seed, Purpose::ARRIVAL, 0);
        let mut people = Stream::new(seed, Purpose::SENDER, 0);
        let strangers = self.noise / (self.emitted + self.noise);
        let share = self.matched / self.emitted;
        let gap = 1.0 / (n as f64 * (self.emitted + self.noise));
        let nobody = n as u32;
        let mut time = 0.0;
        let messages = std::iter::from_fn(|| {
            time += gaps.exponential(gap);
            let user = people.below(n as u64) as u32;
            let (sender, receiver) = match () {
                () if people.chance(strangers) => (nobody, user),
                () if people.chance(share) => (user, user),
                () => (user, nobody),
            };
            (time < end).then_some(Message {
                time,
                sender,
                receiver,
                class: Class::Payload,
            })
        });
        let mut options = Options::new(seed, 0);
        options.tracked = Vec::new();
        options.warm_up = Some(0.0);
        options.drain = true;
        sweep::run_plan::<1>(&plan, messages, &options, &mut ends).map_err(wrong)?;
        for stream in &mut ends.streams {
            stream.sent.sort_unstable_by(f64::total_cmp);
            stream.came.sort_unstable_by(f64::total_cmp);
        }
        Ok(ends.streams)
    }

    /// The log-likelihood ratio of `came`, which was watched from 0 to the end, given what was `sent` since a moment that is
    /// not after 0; both ascending. What was sent before and comes out in the watch is known on average only.
    pub fn ratio(&self, sent: &[f64], came: &[f64], since: f64) -> f64 {
        let kernel = Kernel::new(self.hops, self.delay);
        let share = self.matched / self.emitted;
        let flat = self.noise + self.matched;
        // A packet that no sent one explains is not impossible: clocks and links are not perfect.
        let floor = self.noise + self.matched * 1e-3;
        let mut moments = Moments::new(self.hops, 1.0 / self.delay, since);
        let mut upcoming = sent.iter().peekable();
        let mut sum = 0.0;
        for &t in came {
            while let Some(s) = upcoming.next_if(|s| **s < t) {
                moments.add(*s);
            }
            let before = self.matched * (1.0 - kernel.mass(t - since));
            let intensity = floor + share * moments.density(t) + before;
            sum += ln(intensity / flat);
        }
        let arrives = |s: &f64| kernel.mass(self.time - s) - kernel.mass(-s);
        let arrived: f64 = sent.iter().map(arrives).sum();
        let before = kernel.left(self.time - since) - kernel.left(-since);
        let expected = floor * self.time + share * arrived + self.matched * before;
        sum - expected + flat * self.time
    }
}

/// What is seen of one sender, and of its egress while it is watched.
#[derive(Clone, Debug, Default)]
struct Ends {
    sent: Vec<f64>,
    came: Vec<f64>,
}

/// Sorts packets by sender and egress.
struct Streams {
    lead: f64,
    time: f64,
    streams: Vec<Ends>,
}

impl Probe<1> for Streams {
    fn delivered(&mut self, time: f64, packet: &Packet, _class: Class, _mass: &[f64; 1]) {
        let (sent, came) = (packet.sent - self.lead, time - self.lead);
        if let Some(stream) = self.streams.get_mut(packet.sender as usize) {
            stream.sent.push(sent);
        }
        if let Some(stream) = self.streams.get_mut(packet.receiver as usize)
            && (0.0..self.time).contains(&came)
        {
            stream.came.push(came);
        }
    }
}

/// Density of the sum of `k` exponential delays.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    k: u32,
    rate: f64,
    front: f64,
    /// Beyond this nothing is left of it.
    pub reach: f64,
}

impl Kernel {
    /// Erlang.
    pub fn new(k: u32, mean: f64) -> Self {
        let rate = 1.0 / mean;
        let below: f64 = (1..k).map(f64::from).product();
        Self {
            k,
            rate,
            front: rate.powi(k as i32) / below,
            reach: (f64::from(k) + 6.0 * f64::from(k).sqrt() + 10.0) * mean,
        }
    }

    /// At a lag.
    pub fn density(&self, t: f64) -> f64 {
        if t <= 0.0 {
            return 0.0;
        }
        self.front * t.powi(self.k as i32 - 1) * (-self.rate * t).exp()
    }

    /// Up to a lag.
    pub fn mass(&self, t: f64) -> f64 {
        self.mass_of(self.k, t)
    }

    fn mass_of(&self, k: u32, t: f64) -> f64 {
        if t <= 0.0 {
            return 0.0;
        }
        let x = self.rate * t;
        let (mut term, mut sum) = (1.0, 1.0);
        for i in 1..k {
            term *= x / f64::from(i);
            sum += term;
        }
        1.0 - sum * (-x).exp()
    }

    /// ∫₀ᵗ (1 − mass) = Σ_{i ≤ k} P(Erlang(i, μ) ≤ t)/μ, in seconds.
    pub fn left(&self, t: f64) -> f64 {
        (1..=self.k).map(|i| self.mass_of(i, t)).sum::<f64>() / self.rate
    }
}

/// Σ_j over sent packets of (t − s_j)^i·e^(−μ(t − s_j)), i < k, moved along in time: the density at any moment for the price of
/// k², whatever came before.
struct Moments {
    sums: Vec<f64>,
    at: f64,
    rate: f64,
    front: f64,
}

impl Moments {
    fn new(hops: u32, rate: f64, since: f64) -> Self {
        Self {
            sums: vec![0.0; hops as usize],
            at: since,
            rate,
            front: Kernel::new(hops, 1.0 / rate).front,
        }
    }

    /// One more packet was sent.
    fn add(&mut self, sent: f64) {
        self.move_to(sent);
        self.sums[0] += 1.0;
    }

    /// Σ_j g(t − s_j), of a moment not before the last one.
    fn density(&mut self, time: f64) -> f64 {
        self.move_to(time);
        self.front * self.sums[self.sums.len() - 1]
    }

    fn move_to(&mut self, time: f64) {
        let d = time - self.at;
        self.at = time;
        let fade = (-self.rate * d).exp();
        // (x + d)^i by repeated use of Horner's shift.
        let k = self.sums.len();
        for i in (0..k).rev() {
            let (mut sum, mut weight) = (0.0, 1.0);
            for j in (0..=i).rev() {
                sum += weight * self.sums[j];
                // C(i, j − 1)·d^(i − j + 1) from C(i, j)·d^(i − j).
                weight *= d * j as f64 / (i - j + 1) as f64;
            }
            self.sums[i] = sum;
        }
        for sum in &mut self.sums {
            *sum *= fade;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_has_mass_one_and_its_norm_is_the_formulas() {
        let kernel = Kernel::new(3, 0.05);
        let step = 1e-4;
        let points = || (0..20_000).map(|i| (f64::from(i) + 0.5) * step);
        let mass: f64 = points().map(|t| kernel.density(t) * step).sum();
        let norm: f64 = points().map(|t| kernel.density(t).powi(2) * step).sum();
        assert!((mass - 1.0).abs() < 1e-6 && (kernel.mass(1.0) - mass).abs() < 1e-4);
        // 3μ/16 for three hops.
        assert!((norm - 3.0 * 20.0 / 16.0).abs() < 1e-4);
    }

    #[test]
    fn moments_are_the_sums_they_stand_for() {
        let sent = [0.3, 0.7, 1.9];
        let mut moments = Moments::new(4, 2.0, 0.0);
        for s in sent {
            moments.add(s);
        }
        let kernel = Kernel::new(4, 0.5);
        let sum: f64 = sent.iter().map(|s| kernel.density(2.5 - s)).sum();
        assert!((moments.density(2.5) - sum).abs() < 1e-12);
    }
}
