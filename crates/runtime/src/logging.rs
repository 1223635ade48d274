//! Logs on standard error, with times cut to whole seconds: a log must not be a record of when
//! packets came (design §1). What may be written at which level: nothing that identifies anybody at
//! info or above.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Overrides the configured level, in `tracing`'s syntax: `debug`, or `info,runtime=trace`.
pub const LOG_VARIABLE: &str = "MIZZLE_LOG";

/// A log level is not in `tracing`'s syntax.
#[derive(Debug, thiserror::Error)]
#[error("the log level `{given}` cannot be read ({reason}): use error, warn, info, debug or trace")]
pub struct BadLogLevel {
    given: String,
    reason: String,
}

/// Begins to log. The environment's [`LOG_VARIABLE`] goes before `level`. A second call changes
/// nothing.
pub fn init(level: &str) -> Result<(), BadLogLevel> {
    let given = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(&given).map_err(|error| BadLogLevel {
        given,
        reason: error.to_string(),
    })?;
    // Fails only when there is a subscriber already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(WholeSeconds)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    Ok(())
}

struct WholeSeconds;

impl FormatTime for WholeSeconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |since| since.as_secs());
        write!(w, "{}", utc(seconds))
    }
}

/// `2026-01-31T23:59:59Z`.
fn utc(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Years are counted from March, so that the leap day is the last of its year; an era is 400.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn a_bad_level_says_what_a_good_one_is() {
        let error = init("info,what=loud").err();
        let text = error.unwrap().to_string();
        assert!(text.contains("use error, warn, info"), "{text}");
    }
}
