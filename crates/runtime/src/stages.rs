//! What a packet's way through a node costs, by stage: processor time, not waiting.
//!
//! Always on. A thread that does one thing is asked for its own clock now and then; where many
//! tasks share a thread, one turn in `SAMPLE` is measured and counted for all of them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One turn of so many is measured.
const SAMPLE: u32 = 8;

/// A part of a packet's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Stage {
    /// From the socket through TLS to a frame.
    Read,
    /// Public-key work and replay check, with taking from the intake and giving to the loop.
    Unwrap,
    /// The loop: next hop, delay, everything that decides.
    Decide,
    /// Making tags durable.
    Keep,
    /// From a frame through TLS to the socket.
    Write,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Read,
        Self::Unwrap,
        Self::Decide,
        Self::Keep,
        Self::Write,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unwrap => "unwrap",
            Self::Decide => "decide",
            Self::Keep => "keep",
            Self::Write => "write",
        }
    }
}

/// Time by stage. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct Stages {
    nanos: Arc<[AtomicU64; Stage::ALL.len()]>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

/// What [`Stages`] shows.
pub struct StageMetrics {
    stages: Stages,
    shown: Family<StageLabel, Counter<f64, AtomicU64>>,
    process: Counter<f64, AtomicU64>,
}

impl Stages {
    /// Counts time.
    pub fn add(&self, stage: Stage, spent: Duration) {
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.nanos[stage as usize].fetch_add(nanos, Ordering::Relaxed);
    }

    /// So far.
    pub fn spent(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.nanos[stage as usize].load(Ordering::Relaxed))
    }

    /// For a thread that does nothing else; to be made anywhere, and used in that thread.
    pub fn thread(&self, stage: Stage) -> ThreadMeter {
        ThreadMeter {
            stages: self.clone(),
            stage,
            seen: Duration::ZERO,
            turns: 0,
        }
    }

    /// For a stage whose turns share a thread with others.
    pub fn turns(&self, stage: Stage) -> TurnMeter {
        TurnMeter {
            stages: self.clone(),
            stage,
            turns: 0,
        }
    }

    /// Registers `mizzle_stage_cpu_seconds_total{stage}` and `mizzle_process_cpu_seconds_total`.
    pub fn register(&self, registry: &mut Registry) -> StageMetrics {
        let metrics = StageMetrics {
            stages: self.clone(),
            shown: Family::default(),
            process: Counter::default(),
        };
        let help = "Processor time by stage of a packet's way";
        registry.register("mizzle_stage_cpu_seconds", help, metrics.shown.clone());
        let help = "Processor time of the whole process";
        registry.register("mizzle_process_cpu_seconds", help, metrics.process.clone());
        metrics
    }
}

impl StageMetrics {
    /// Copies what was counted.
    pub fn copy(&self) {
        for stage in Stage::ALL {
            let label = StageLabel {
                stage: stage.name(),
            };
            set(&self.shown.get_or_create(&label), self.stages.spent(stage));
        }
        set(&self.process, cpu_time(ClockId::ProcessCPUTime));
    }

    /// Microseconds by stage and of the whole process, for the status.
    pub fn micros(&self) -> serde_json::Map<String, serde_json::Value> {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX).into();
        let stages = Stage::ALL.into_iter();
        let stages = stages.map(|s| (s.name().to_owned(), micros(self.stages.spent(s))));
        let whole = cpu_time(ClockId::ProcessCPUTime);
        stages
            .chain([("process".to_owned(), micros(whole))])
            .collect()
    }
}

/// A counter that is kept elsewhere and only grows.
fn set(counter: &Counter<f64, AtomicU64>, to: Duration) {
    counter
        .inner()
        .store(to.as_secs_f64().to_bits(), Ordering::Relaxed);
}

/// What this thread has used of a processor.
pub(crate) fn thread_time() -> Duration {
    cpu_time(ClockId::ThreadCPUTime)
}

fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// The clock of a thread that does one thing.
pub struct ThreadMeter {
    stages: Stages,
    stage: Stage,
    seen: Duration,
    turns: u32,
}

impl ThreadMeter {
    /// After a turn; looks at the clock after some of them.
    pub fn sample(&mut self) {
        self.turns += 1;
        if self.turns >= SAMPLE {
            self.settle();
        }
    }

    /// Does a piece of another stage's work, and counts it there.
    pub fn lend(&mut self, stage: Stage, work: impl FnOnce()) {
        let began = cpu_time(ClockId::ThreadCPUTime);
        work();
        let spent = cpu_time(ClockId::ThreadCPUTime).saturating_sub(began);
        self.stages.add(stage, spent);
        self.seen += spent;
    }

    /// Counts all up to now.
    pub fn settle(&mut self) {
        self.turns = 0;
        let now = cpu_time(ClockId::ThreadCPUTime);
        self.stages.add(self.stage, now.saturating_sub(self.seen));
        self.seen = now;
    }
}

/// Measures some turns of a stage and counts them for all.
pub struct TurnMeter {
    stages: Stages,
    stage: Stage,
    turns: u32,
}

impl TurnMeter {
    /// A turn may begin; `None` when it is not to be measured. There must be no wait between this
    /// and [`TurnMeter::end`]; a turn that turns out to be none is not ended.
    pub fn begin(&self) -> Option<Duration> {
        (self.turns + 1)
            .is_multiple_of(SAMPLE)
            .then(|| cpu_time(ClockId::ThreadCPUTime))
    }

    /// It ends.
    pub fn end(&mut self, began: Option<Duration>) {
        self.turns = self.turns.wrapping_add(1);
        if let Some(began) = began {
            let spent = cpu_time(ClockId::ThreadCPUTime).saturating_sub(began);
            self.stages.add(self.stage, spent * SAMPLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn() -> u64 {
        (0..3_000_000u64).fold(1, |a, b| std::hint::black_box(a.wrapping_mul(b | 1)))
    }

    #[test]
    fn work_is_counted_and_waiting_is_not() {
        let stages = Stages::default();
        let mut meter = stages.thread(Stage::Unwrap);
        let mut turns = stages.turns(Stage::Read);
        meter.settle();
        std::thread::sleep(Duration::from_millis(50));
        burn();
        meter.settle();
        let spent = stages.spent(Stage::Unwrap);
        assert!(spent > Duration::from_micros(100), "{spent:?}");
        for _ in 0..SAMPLE {
            let began = turns.begin();
            burn();
            turns.end(began);
        }
        assert!(stages.spent(Stage::Read) > Duration::from_micros(800));
        assert_eq!(stages.spent(Stage::Write), Duration::ZERO);
        let mut registry = Registry::default();
        stages.register(&mut registry).copy();
        let text = crate::metrics::render(&registry);
        assert!(text.contains("mizzle_stage_cpu_seconds_total{stage=\"unwrap\"} 0.0"));
        assert!(text.contains("mizzle_process_cpu_seconds_total "));
    }
}
