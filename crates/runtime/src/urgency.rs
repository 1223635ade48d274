//! Asks the system to run a thread as soon as it wakes, before threads that compute.
//!
//! Linux shares a core in slices of some milliseconds. Where threads that unwrap keep the cores busy, one
//! that wakes to let a packet go waits for such a slice to end, and design §3 gives it one millisecond.
//! A real-time policy (`sched(7)`, `SCHED_RR`) makes it wait for nobody. That needs a right (`CAP_SYS_NICE`, or a limit
//! `RLIMIT_RTPRIO` of at least 1, of 2 for all of it); without it everything works, and packets leave late more often.

use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// The lowest there is: before every ordinary thread, behind whatever else somebody made urgent.
const FIRST: u8 = 1;
/// Before those, which stand in a queue among themselves.
const VERY_FIRST: u8 = 2;

/// From now on this thread runs as soon as it can, and so does every thread that it starts. Says
/// whether the system allows it.
///
/// For a thread whose every turn is short: an endless one would keep a core for itself.
pub fn run_first() -> bool {
    urgent(FIRST)
}

/// As [`run_first`], and before threads that called that: for one whose turns are shorter than theirs and whose
/// moments an observer sees. Where the system allows only the lower, that.
pub fn run_very_first() -> bool {
    urgent(VERY_FIRST) || urgent(FIRST)
}

fn urgent(priority: u8) -> bool {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let Ok(value) = ThreadPriorityValue::try_from(priority) else {
        return false;
    };
    let priority = ThreadPriority::Crossplatform(value);
    set_thread_priority_and_policy(thread_native_id(), priority, policy).is_ok()
}

/// From now on this thread runs only where a core has nothing else to do, and so does every thread
/// that it starts. Says whether the system allows it.
pub fn run_last() -> bool {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The policy of this thread, as `proc_pid_stat(5)` tells it: the 41st field.
    pub(crate) fn policy() -> u64 {
        field(41)
    }

    fn field(number: usize) -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The name stands in brackets and may hold blanks; the third field comes after it.
        let rest = stat.rsplit_once(')').unwrap().1;
        rest.split_whitespace()
            .nth(number - 3)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn a_thread_is_urgent_or_as_it_was() {
        let (before, allowed, after) = std::thread::spawn(|| (policy(), run_first(), policy()))
            .join()
            .unwrap();
        let round_robin = 2;
        assert_eq!(after, if allowed { round_robin } else { before });
        let (very, priority) = std::thread::spawn(|| (run_very_first(), field(40)))
            .join()
            .unwrap();
        assert_eq!(very, allowed);
        let allowed_most = u64::from(VERY_FIRST) == priority;
        if allowed && !allowed_most {
            eprintln!(
                "SKIPPED: this system lets nobody be more urgent than others (priority {priority})"
            );
            assert_eq!(priority, u64::from(FIRST));
        }
        if !allowed {
            eprintln!("SKIPPED: this system lets nobody be urgent");
        }
        assert_ne!(policy(), round_robin, "the others stay as they are");
        let (allowed, after) = std::thread::spawn(|| (run_last(), policy()))
            .join()
            .unwrap();
        let idle = 5;
        assert!(allowed, "everybody may be modest");
        assert_eq!(after, idle);
    }
}
