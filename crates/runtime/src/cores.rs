//! Which cores a thread may use.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// The cores that this thread may use, ascending.
pub fn cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect())
}

/// From now on this thread, and those that it starts, use these cores only.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_is_pinned_and_the_others_are_free() {
        let before = cores().unwrap();
        let one = [*before.last().unwrap()];
        let pinned = std::thread::spawn(move || {
            pin(&one).unwrap();
            cores().unwrap()
        });
        assert_eq!(pinned.join().unwrap(), one);
        assert_eq!(cores().unwrap(), before);
    }
}
