//! How far a long command is: on a terminal one line that changes, elsewhere a line now and then; on stderr, so that
//! what is printed can be piped. The only place that looks at a clock: no result ever sees it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "progress is about the wall clock (docs/decisions/0009)"
)]

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Nothing is shown of what is over sooner.
const QUIET: Duration = Duration::from_secs(1);
const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Of so many parts, each of which goes from 0 to 1.
pub(crate) struct Progress {
    what: &'static str,
    begun: Instant,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    parts: Vec<f64>,
    done: f64,
    before: f64,
    shown: Option<Instant>,
}

impl Progress {
    /// So many parts, by number.
    pub(crate) fn new(what: &'static str, parts: usize) -> Self {
        Self {
            what,
            begun: Instant::now(),
            terminal: stderr().is_terminal(),
            state: Mutex::new(State {
                parts: vec![0.0; parts],
                done: 0.0,
                before: 0.0,
                shown: None,
            }),
        }
    }

    /// A part needs not be done.
    pub(crate) fn skip(&self, part: usize) {
        if let Ok(mut state) = self.state.lock()
            && let Some(share) = state.parts.get_mut(part)
        {
            *share = f64::INFINITY;
            state.before += 1.0;
        }
    }

    /// A part has come so far.
    pub(crate) fn tell(&self, part: usize, share: f64) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if let Some(before) = state.parts.get_mut(part) {
            let more = (share - *before).max(0.0);
            *before += more;
            state.done += more;
        }
        let pause = if self.terminal {
            ON_TERMINAL
        } else {
            ELSEWHERE
        };
        let since = state.shown.unwrap_or(self.begun).elapsed();
        let first = state.shown.is_none() && self.begun.elapsed() >= QUIET;
        if first || (state.shown.is_some() && since >= pause) {
            state.shown = Some(Instant::now());
            self.show(&state);
        }
    }

    fn show(&self, state: &State) {
        let (all, seconds) = (
            state.parts.len() as f64 - state.before,
            self.begun.elapsed().as_secs_f64(),
        );
        let (share, rate) = (state.done / all.max(1.0), state.done / seconds);
        let left = (all - state.done) / rate.max(1e-12);
        let line = format!(
            "{:.1} of {all} {} ({:.0} %), {}, {} left",
            state.done,
            self.what,
            share * 100.0,
            speed(rate),
            time(left)
        );
        let mut err = stderr().lock();
        let _ = if self.terminal {
            write!(err, "\r\x1b[K{line}").and_then(|()| err.flush())
        } else {
            writeln!(err, "{line}")
        };
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        let shown = self.state.lock().is_ok_and(|s| s.shown.is_some());
        if self.terminal && shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn speed(rate: f64) -> String {
    if rate >= 1.0 {
        format!("{rate:.1}/s")
    } else {
        format!("{:.1}/min", rate * 60.0)
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 1e7 => format!("{:.1} h", s / 3_600.0),
        _ => "long".into(),
    }
}
