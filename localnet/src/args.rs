//! The command line.

use crate::chaos::reader::ReaderArgs;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// A whole Mizzle network on this machine, each node its own process.
#[derive(Parser, Debug)]
#[command(name = "localnet", version)]
pub struct Args {
    /// What to do; without it, run until interrupted.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// The network.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Start everything, send messages both ways through the real APIs, end, and say how it went.
    Check(CheckArgs),
    /// Send messages both ways while everything breaks, and count what was lost or doubled.
    Chaos(ChaosArgs),
    /// Send short lines alone and beside a file, and compare how long they take.
    Lines(LinesArgs),
    /// An application that reads, for `chaos`.
    #[command(hide = true)]
    Reader(ReaderArgs),
}

/// The network's shape.
#[derive(clap::Args, Debug, Clone)]
pub struct NetworkArgs {
    /// Mixes in each of the three layers.
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub mixes_per_layer: u16,
    /// Gateways, each of another operator; three at least, so that two clients of different
    /// gateways have a third one between them.
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=32))]
    pub gateways: u16,
    /// Clients: alice, bob, carol…; alice and bob are contacts, carol and dave, and so on.
    #[arg(long, global = true, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=26))]
    pub clients: u16,
    /// Directory authorities: they vote, and with 4 one of them may be away, or cheat.
    #[arg(long, global = true, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub authorities: u16,
    /// Where all state goes; kept afterwards. Without it a folder of the system's temporary files,
    /// removed at the end.
    #[arg(long, global = true)]
    pub dir: Option<PathBuf>,
    /// Fixes every key and every draw. For tests: a network whose seed is known hides nothing.
    #[arg(long, global = true)]
    pub seed: Option<u64>,
    /// Length of an epoch, as in 30s or 10m.
    #[arg(long, global = true, default_value = "10m", value_parser = parse_duration)]
    pub epoch: Duration,
    /// Writes one CSV for each client, `time_ns,direction,bytes`: a row for each TLS application
    /// record on its link after the handshake, as seen by a relay outside the daemons.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub capture: Option<PathBuf>,
    /// A real network's rates instead of localnet's: a tenth of the packets and delays of seconds.
    #[arg(long, global = true, conflicts_with = "plant_rate")]
    pub wide: bool,
    /// A fast profile: so many times localnet's rates of clients and downlinks.
    #[arg(long, global = true, default_value_t = 1.0, value_parser = parse_scale,
          conflicts_with_all = ["wide", "plant_rate"])]
    pub rate_scale: f64,
    /// A fault for the tests: a directory that says a tenth more than localnet's rates.
    #[arg(long, global = true, hide = true)]
    pub plant_rate: bool,
    /// The daemons' log level.
    #[arg(long, global = true, default_value = "info")]
    pub log: String,
    /// What a run by another verb adds.
    #[arg(skip)]
    pub more: More,
}

/// Additions to the nodes' configurations.
#[derive(Debug, Clone, Default)]
pub struct More {
    /// Lines for every mix.
    pub mix: String,
    /// Lines for every client.
    pub client: String,
    /// Cells in one inbox, instead of what goes with the rates.
    pub inbox_quota: Option<u16>,
}

impl More {
    /// Mixes throw packets away, so that this share of round trips is lost: each passes six of them.
    pub fn lose(&mut self, share: f64) {
        let at_each = 1.0 - (1.0 - share).powf(1.0 / 6.0);
        if at_each > 0.0 {
            self.mix.push_str(&format!("test_loss = {at_each}\n"));
        }
    }

    /// Cells in one inbox, where it is not localnet's number: what is on its way at once grows with the
    /// rates.
    pub(crate) fn quota(&self, rate_scale: f64) -> Option<u16> {
        let usual = directory::Parameters::localnet().inbox_quota;
        let scaled = (f64::from(usual) * rate_scale.min(2.0)) as u16;
        self.inbox_quota.or((rate_scale > 1.0).then_some(scaled))
    }
}

/// What `chaos` does. Without faults by flag, packets are all that vanishes.
#[derive(clap::Args, Debug, Clone)]
pub struct ChaosArgs {
    /// Messages, half of them each way; 1 byte to 200 kB long.
    #[arg(long, default_value_t = 1000)]
    pub messages: u32,
    /// Share of round trips that are lost at the mixes.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub loss: f64,
    /// `kill -9` of each client, so many times.
    #[arg(long, default_value_t = 0)]
    pub client_kills: u32,
    /// `kill -9` of each application that reads, so many times.
    #[arg(long, default_value_t = 0)]
    pub reader_kills: u32,
    /// `kill -9` of every node, once.
    #[arg(long)]
    pub restart_nodes: bool,
    /// One gateway is away for so long.
    #[arg(long, default_value = "0s", value_parser = parse_time)]
    pub gateway_down: Duration,
    /// All of that: clients and applications five times, every node once, a gateway for a minute.
    #[arg(long)]
    pub all_faults: bool,
    /// What has not arrived after this is lost.
    #[arg(long, default_value = "10m", value_parser = parse_time)]
    pub limit: Duration,
    /// The run's seed; that of the network.
    #[arg(skip)]
    pub seed: u64,
}

impl ChaosArgs {
    /// With what `--all-faults` stands for.
    pub fn resolved(&self, seed: Option<u64>) -> Self {
        let mut resolved = self.clone();
        resolved.seed = seed.unwrap_or(1);
        if self.all_faults {
            resolved.client_kills = self.client_kills.max(5);
            resolved.reader_kills = self.reader_kills.max(5);
            resolved.restart_nodes = true;
            resolved.gateway_down = self.gateway_down.max(Duration::from_secs(60));
        }
        resolved
    }
}

/// What `lines` does.
#[derive(clap::Args, Debug, Clone)]
pub struct LinesArgs {
    /// Length of the file.
    #[arg(long, default_value_t = 10_000_000)]
    pub bytes: u64,
    /// Time from one line to the next.
    #[arg(long, default_value = "1s", value_parser = parse_time)]
    pub every: Duration,
    /// Share of round trips that are lost at the mixes.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub loss: f64,
    /// A file that is not there after this is lost.
    #[arg(long, default_value = "30m", value_parser = parse_time)]
    pub limit: Duration,
}

/// What `check` does.
#[derive(clap::Args, Debug, Clone)]
pub struct CheckArgs {
    /// Messages in each direction, spread over the time given by `--seconds`; one by default.
    #[arg(long, conflicts_with = "idle")]
    pub messages: Option<u32>,
    /// Keep the network running for so long after it is ready. Without `--messages`, one message
    /// each way every second.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Keep the network running for so many whole epochs (see `--epoch`), under the same traffic as with
    /// `--seconds`, and fail when a message is lost or a packet dies because keys rotate.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: Option<u32>,
    /// Send no message at all.
    #[arg(long, requires = "seconds")]
    pub idle: bool,
    /// Alice also sends bob a file of so many bytes at the beginning; nobody waits for it.
    #[arg(long, value_name = "BYTES", conflicts_with = "idle")]
    pub file: Option<u64>,
    /// Share of round trips that are lost at the mixes.
    #[arg(long, default_value_t = 0.0, value_parser = parse_share)]
    pub loss: f64,
    /// Alice's entry gateway is killed and away for so long, from a third of the time given by `--seconds` on.
    #[arg(long, value_parser = parse_time, requires = "seconds")]
    pub gateway_down: Option<Duration>,
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is no share: 0 to below 1, as in 0.3")),
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.1..=100.0).contains(&scale) => Ok(scale),
        _ => Err(format!("'{text}' is no factor from 0.1 to 100")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_time(text)?;
    if duration < Duration::from_secs(4) {
        return Err("an epoch is at least 4s long: packets live for some seconds".into());
    }
    Ok(duration)
}

/// Accepts `250ms`, `30s`, `10m`, `2h`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' does not begin with a number"))?;
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("the unit '{unit}' is none of ms, s, m, h")),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert!(parse_duration("30").is_err());
        assert!(parse_duration("1s").is_err());
        assert!(parse_duration("s").is_err());
    }
}
