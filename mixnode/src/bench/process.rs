//! What Linux says about a process: CPU time of each of its threads, and memory.

use runtime::awake;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

/// What a process had used at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU time by thread, threads of one kind together.
    pub cpu: BTreeMap<String, Duration>,
    /// How long its threads were ready to run and had no core, all together.
    pub waited: Duration,
    /// Bytes of memory that are resident.
    pub resident: u64,
    /// The most that ever were, since the last [`forget_peak`].
    pub peak: u64,
}

impl Usage {
    /// Of process `pid` now.
    pub fn of(pid: u32) -> io::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let mut usage = Self::default();
        for task in fs::read_dir(folder.join("task"))? {
            let task = task?.path();
            // A thread may end while we look.
            let (Ok(name), Ok(times)) = (
                fs::read_to_string(task.join("comm")),
                fs::read_to_string(task.join("schedstat")),
            ) else {
                continue;
            };
            // Time that everybody else may have is nobody's.
            if name.trim_end() == awake::THREAD {
                continue;
            }
            let mut times = times.split_whitespace().map(|t| t.parse().unwrap_or(0));
            let (ran, waited) = (times.next().unwrap_or(0), times.next().unwrap_or(0));
            let kind = kind_of(name.trim_end());
            *usage.cpu.entry(kind.to_owned()).or_default() += Duration::from_nanos(ran);
            usage.waited += Duration::from_nanos(waited);
        }
        let status = fs::read_to_string(folder.join("status"))?;
        usage.resident = kilobytes(&status, "VmRSS:") * 1024;
        usage.peak = kilobytes(&status, "VmHWM:") * 1024;
        Ok(usage)
    }

    /// CPU time by thread since `before`.
    pub fn cpu_since(&self, before: &Self) -> BTreeMap<String, Duration> {
        let since = |(kind, now): (&String, &Duration)| {
            let then = before.cpu.get(kind).copied().unwrap_or_default();
            (kind.clone(), now.saturating_sub(then))
        };
        self.cpu.iter().map(since).collect()
    }
}

/// `unwrap-3` is one of the kind `unwrap`.
fn kind_of(thread: &str) -> &str {
    match thread.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|b| b.is_ascii_digit()) => kind,
        _ => thread,
    }
}

fn kilobytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The most memory so far is forgotten; from now on it is the most from now on.
pub fn forget_peak(pid: u32) {
    // Where the system does not let us, the figure is the peak since the start: too high, if anything.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_can_be_read() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.peak >= usage.resident);
        assert!(usage.cpu.values().sum::<Duration>() > Duration::ZERO);
        assert_eq!(kind_of("unwrap-12"), "unwrap");
        assert_eq!(kind_of("tokio-rt-worker"), "tokio-rt-worker");
    }
}
