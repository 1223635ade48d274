//! Numbers together with what they mean: each has a definition, a unit, a 95 % interval and the number
//! of samples behind it, so that nothing is printed that has to be guessed at.
//!
//! The definitions are here; how a number is got from samples is in `metrics/estimate.rs`, and where samples are not
//! independent in `metrics/clustered.rs`; entropies of posteriors are in `metrics/posterior.rs`.

pub(crate) mod any_number;
mod clustered;
mod estimate;
mod posterior;

pub use crate::stats::{Interval, share_interval as proportion};
pub use clustered::{Scored, auc_within, threshold, tpr_clustered};
pub use estimate::{
    advantage, auc, exact, mean, median_between, mutual_information, normal, quantile, roc, share,
    tpr_at,
};
pub use posterior::{Posterior, best_guess, min_entropy, shannon};

use serde::{Deserialize, Serialize};

/// What a number says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// H over messages.
    ShannonMessages,
    /// H over users.
    ShannonUsers,
    /// Hmin over messages.
    MinEntropyMessages,
    /// Hmin over users.
    MinEntropyUsers,
    /// V over messages.
    BestGuessMessages,
    /// V over users.
    BestGuessUsers,
    /// P(H = 0).
    Exposed,
    /// Lower decile of H.
    ShannonDecile,
    /// Area under the ROC curve.
    Auc,
    /// True-positive rate at a false-positive rate of one in a hundred.
    TprAtHundredth,
    /// True-positive rate at a false-positive rate of one in a thousand.
    TprAtThousandth,
    /// 2·accuracy − 1.
    Advantage,
    /// Largest distance between two distributions.
    Distance,
    /// How much one thing says about another.
    MutualInformation,
    /// Frames in which two runs differ.
    FramesDiffering,
    /// |ln(p0/p1)|.
    Epsilon,
    /// P(one challenger impossible).
    Delta,
    /// Share of paths that are corrupt from end to end.
    CorruptPaths,
    /// Messages until the first corrupt path.
    MessagesToCompromise,
    /// Seconds until a pair is linked.
    TimeToLink,
    /// Rounds until friends are known.
    RoundsToDisclosure,
    /// Found among the first m.
    PrecisionAtM,
    /// Profile error.
    ProfileError,
    /// Candidates left.
    Candidates,
    /// Epochs until one candidate is left.
    EpochsToOne,
    /// A target stands alone.
    Isolated,
    /// An attack is noticed.
    Detected,
    /// An alarm without an attack.
    FalseAlarm,
    /// Seconds until it is noticed.
    TimeToDetect,
    /// The right one is blamed.
    Blamed,
    /// From writing to reading.
    Latency,
    /// 99 of 100 take no longer.
    LatencyTail,
    /// Mean time.
    LatencyMean,
    /// Its standard deviation.
    LatencyDeviation,
    /// Bytes a second, up and down.
    Bandwidth,
    /// Queueing before the first hop.
    Queueing,
    /// Nats a second of a likelihood ratio.
    InformationRate,
}

impl Metric {
    /// Name, unit and definition, as they are printed.
    pub fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ShannonMessages => (
                "entropy over messages",
                "bit",
                "Shannon entropy of the adversary's exact posterior over all messages that the target may be",
            ),
            Self::ShannonUsers => (
                "entropy over users",
                "bit",
                "Shannon entropy of the same posterior after the messages of one user are added up, and loops of nodes left out",
            ),
            Self::MinEntropyMessages => (
                "min-entropy over messages",
                "bit",
                "-log2 of the likeliest message's posterior probability, averaged over targets",
            ),
            Self::MinEntropyUsers => (
                "min-entropy over users",
                "bit",
                "-log2 of the likeliest user's posterior probability, averaged over targets",
            ),
            Self::BestGuessMessages => (
                "best guess over messages",
                "probability",
                "probability that the single likeliest message is the right one",
            ),
            Self::BestGuessUsers => (
                "best guess over users",
                "probability",
                "probability that the single likeliest user is the right one",
            ),
            Self::Exposed => (
                "fully exposed",
                "share of targets",
                "share of targets whose posterior has one message only (H below 0.001 bit)",
            ),
            Self::ShannonDecile => (
                "entropy, lowest tenth",
                "bit",
                "a tenth of all targets has less entropy over messages than this",
            ),
            Self::Auc => (
                "area under ROC",
                "probability",
                "probability that a true case scores above a false one (ties count half), where cases are a client's: above a false one of the same client; 0.5 is chance",
            ),
            Self::TprAtHundredth => (
                "TPR at FPR 1e-2",
                "share of true cases",
                "true cases found when one false case in a hundred is taken for true (Clopper-Pearson interval)",
            ),
            Self::TprAtThousandth => (
                "TPR at FPR 1e-3",
                "share of true cases",
                "true cases found when one false case in a thousand is taken for true (Clopper-Pearson interval)",
            ),
            Self::Advantage => (
                "advantage",
                "2·accuracy − 1",
                "2·accuracy − 1 of the guess between two equally likely worlds; 0 is chance, 1 is certainty",
            ),
            Self::Distance => (
                "KS distance",
                "probability",
                "largest difference of two distribution functions (Kolmogorov-Smirnov)",
            ),
            Self::MutualInformation => (
                "mutual information",
                "bit",
                "plug-in mutual information less its mean under permuted labels; 0 is no information",
            ),
            Self::FramesDiffering => (
                "frames that differ",
                "frames",
                "frames on the link that differ in moment or size between two runs with equal traffic seeds",
            ),
            Self::Epsilon => (
                "ε",
                "nat",
                "mean of |ln(p0/p1)| between two challengers' posterior probabilities, where both are possible",
            ),
            Self::Delta => (
                "δ",
                "probability",
                "share of targets for which one of the two challengers is impossible",
            ),
            Self::CorruptPaths => (
                "corrupt paths",
                "share of paths",
                "paths on which every mix belongs to the adversary",
            ),
            Self::MessagesToCompromise => (
                "messages to first compromise",
                "messages",
                "messages of one user until one of them took a corrupt path (median over users)",
            ),
            Self::TimeToLink => (
                "time to link",
                "s",
                "observation until true pairs are found with TPR 0.9 at FPR 1e-3",
            ),
            Self::RoundsToDisclosure => (
                "rounds to disclosure",
                "rounds",
                "rounds in which the target sends until all its friends rank first",
            ),
            Self::PrecisionAtM => (
                "precision at m",
                "share of friends",
                "share of the target's m friends among the m recipients that rank first",
            ),
            Self::ProfileError => (
                "profile error",
                "mean squared error",
                "mean squared error per entry of the estimated sending profile",
            ),
            Self::Candidates => (
                "candidates left",
                "users",
                "users that the adversary cannot rule out",
            ),
            Self::EpochsToOne => (
                "epochs to one",
                "epochs",
                "observed epochs until less than one other user is left on average",
            ),
            Self::Isolated => (
                "isolated",
                "probability",
                "the target is the only unknown packet in the pool when it leaves",
            ),
            Self::Detected => (
                "detected",
                "probability",
                "the alarm is raised before the attack is over",
            ),
            Self::FalseAlarm => (
                "false alarms",
                "probability",
                "the alarm is raised though nobody attacks",
            ),
            Self::TimeToDetect => (
                "time to detect",
                "s",
                "from the attack's beginning to the alarm (median of those that are raised)",
            ),
            Self::Blamed => (
                "rightly blamed",
                "share of alarms",
                "the gateway with the highest loss score is the one that attacks",
            ),
            Self::Latency => (
                "latency, median",
                "s",
                "from writing a message to its arrival with the reader",
            ),
            Self::LatencyTail => (
                "latency, 99 of 100",
                "s",
                "99 of 100 messages take no longer from writing to arrival",
            ),
            Self::LatencyMean => (
                "latency, mean",
                "s",
                "mean time from a tick of the sender to the last mix",
            ),
            Self::LatencyDeviation => (
                "latency, standard deviation",
                "s",
                "standard deviation of the time from a tick of the sender to the last mix",
            ),
            Self::Bandwidth => (
                "bandwidth",
                "byte/s",
                "bytes a second on a client's link, both directions together, cover included",
            ),
            Self::Queueing => (
                "queueing",
                "s",
                "mean wait for a tick of the sender's own clock",
            ),
            Self::InformationRate => (
                "information rate J",
                "nat/s",
                "mean growth of the log-likelihood ratio of the true pair, per second",
            ),
        }
    }

    /// Name as it is printed.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What an adversary has who sees nothing; `None` where that depends on the setting.
    pub fn chance(self) -> Option<f64> {
        match self {
            Self::Auc => Some(0.5),
            Self::TprAtHundredth => Some(0.01),
            Self::TprAtThousandth => Some(0.001),
            Self::Advantage | Self::MutualInformation | Self::FramesDiffering => Some(0.0),
            Self::ShannonMessages
            | Self::ShannonUsers
            | Self::MinEntropyMessages
            | Self::MinEntropyUsers
            | Self::BestGuessMessages
            | Self::BestGuessUsers
            | Self::Exposed
            | Self::ShannonDecile
            | Self::Distance
            | Self::Epsilon
            | Self::Delta
            | Self::CorruptPaths
            | Self::MessagesToCompromise
            | Self::TimeToLink
            | Self::RoundsToDisclosure
            | Self::PrecisionAtM
            | Self::ProfileError
            | Self::Candidates
            | Self::EpochsToOne
            | Self::Isolated
            | Self::Detected
            | Self::FalseAlarm
            | Self::TimeToDetect
            | Self::Blamed
            | Self::Latency
            | Self::LatencyTail
            | Self::LatencyMean
            | Self::LatencyDeviation
            | Self::Bandwidth
            | Self::Queueing
            | Self::InformationRate => None,
        }
    }
}

/// A number, of what, and how sure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// What the number says.
    pub metric: Metric,
    /// Of which design, under which condition.
    pub of: String,
    /// The number.
    #[serde(with = "any_number")]
    pub value: f64,
    /// Lower end of its 95 % interval.
    #[serde(with = "any_number")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "any_number")]
    pub high: f64,
    /// How many samples are behind it.
    pub samples: u64,
    /// What an adversary has who sees nothing.
    pub chance: Option<f64>,
    /// What others measured or a closed form says, where there is such a figure.
    pub reference: Option<f64>,
}

impl Measure {
    /// A measured number.
    pub fn new(metric: Metric, of: impl Into<String>, estimate: Interval) -> Self {
        Self {
            metric,
            of: of.into(),
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
            samples: estimate.count,
            chance: metric.chance(),
            reference: None,
        }
    }

    /// With a figure to stand beside.
    pub fn beside(mut self, reference: f64) -> Self {
        self.reference = Some(reference);
        self
    }

    /// With what chance is here.
    pub fn against(mut self, chance: f64) -> Self {
        self.chance = Some(chance);
        self
    }

    /// Whether the interval holds what an adversary has who sees nothing.
    pub fn at_chance(&self) -> bool {
        self.chance
            .is_some_and(|chance| self.low <= chance && chance <= self.high)
    }
}
