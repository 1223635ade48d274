//! `simulations card`: what closed forms say about a network, without simulating it.

mod scenario;

use super::{Failure, sweep};
use anonymity::card::Line;
use anonymity::{Card, Network};
use clap::ValueEnum;
use directory::Parameters;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What closed forms say about a network: anonymity, latency, alarms, cost. Nothing is simulated.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A scenario file (TOML) instead of the flags: a card of each of its points.
    #[arg(conflicts_with_all = [
        "profile", "users", "payload_rate", "loop_rate", "mix_loop_rate", "downlink_rate", "mean_hop", "layers",
        "width", "gateways", "corrupt", "packet_bytes", "real_rate", "peer_rate", "egress_noise", "friends", "online",
        "one_way",
    ])]
    scenario: Option<PathBuf>,
    /// Rates to start from; each other flag replaces one number.
    #[arg(long, value_enum, default_value_t = Profile::Wide)]
    profile: Profile,
    /// N: users online.
    #[arg(long, default_value_t = 1_000.0)]
    users: f64,
    /// λP: each user's payload stream, per second.
    #[arg(long)]
    payload_rate: Option<f64>,
    /// λL: each user's other cover, per second.
    #[arg(long)]
    loop_rate: Option<f64>,
    /// λM: loops of each mix and gateway, per second.
    #[arg(long)]
    mix_loop_rate: Option<f64>,
    /// Packets that each user receives, per second.
    #[arg(long)]
    downlink_rate: Option<f64>,
    /// 1/μ: mean delay of a hop, in seconds.
    #[arg(long)]
    mean_hop: Option<f64>,
    /// L: layers of mixes.
    #[arg(long)]
    layers: Option<u32>,
    /// W: mixes in each layer.
    #[arg(long, default_value_t = 10)]
    width: u32,
    /// G: gateways.
    #[arg(long)]
    gateways: Option<u32>,
    /// Share of corrupt mixes in each layer.
    #[arg(long)]
    corrupt: Option<f64>,
    /// Bytes of a packet on the wire.
    #[arg(long)]
    packet_bytes: Option<f64>,
    /// Messages that each user writes, per second.
    #[arg(long)]
    real_rate: Option<f64>,
    /// Messages of a user to one contact while they talk, per second.
    #[arg(long)]
    peer_rate: Option<f64>,
    /// What else arrives where that contact's packets are seen to arrive, per second.
    #[arg(long)]
    egress_noise: Option<f64>,
    /// Friends of a user.
    #[arg(long)]
    friends: Option<f64>,
    /// Probability that a user is online in an epoch.
    #[arg(long)]
    online: Option<f64>,
    /// Users send one way, without replies, and gateways do not delay: a stratified network like Loopix'.
    #[arg(long)]
    one_way: bool,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    /// A network over the Internet.
    Wide,
    /// A network on one machine.
    Localnet,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let card = |network| Card::new(&network).map_err(|why| Failure(format!("no card: {why}")));
    let Some(path) = &arguments.scenario else {
        let card = card(network(arguments))?;
        if arguments.json {
            say(&json!({ "lines": lines(&card) }));
        } else {
            print(&card);
        }
        return Ok(());
    };
    let study = sweep::parse(path)?;
    let mut points = Vec::new();
    for point in &study.points {
        let card = card(scenario::network(&point.case)?)?;
        if arguments.json {
            points.push(json!({ "varied": point.keys, "lines": lines(&card) }));
            continue;
        }
        let varied = point
            .keys
            .iter()
            .map(|(key, value)| format!(", {key} = {value}"));
        println!("{}{}", study.file.name, varied.collect::<String>());
        print(&card);
        println!();
    }
    if arguments.json {
        say(&json!({ "scenario": study.file, "points": points }));
    }
    Ok(())
}

fn lines(card: &Card) -> Vec<Value> {
    card.lines.iter().map(row).collect()
}

/// Prints a document with what every one has.
fn say(what: &Value) {
    let mut all = json!({ "schema": 1, "version": env!("CARGO_PKG_VERSION") });
    if let (Some(all), Some(what)) = (all.as_object_mut(), what.as_object()) {
        all.extend(what.clone());
    }
    println!("{all:#}");
}

fn network(a: &Arguments) -> Network {
    let p = match a.profile {
        Profile::Wide => Parameters::wide(),
        Profile::Localnet => Parameters::localnet(),
    };
    let base = Network::wide(a.users, a.width);
    let per_second = |rate: directory::Rate| f64::from(rate.0) / 1e3;
    let mut network = Network {
        payload_rate: a.payload_rate.unwrap_or(per_second(p.payload_rate)),
        loop_rate: a.loop_rate.unwrap_or(per_second(p.loop_rate)),
        mix_loop_rate: a.mix_loop_rate.unwrap_or(per_second(p.mix_loop_rate)),
        downlink_rate: a.downlink_rate.unwrap_or(per_second(p.downlink_rate)),
        mean_hop: a.mean_hop.unwrap_or(p.delay_mean.as_secs_f64()),
        hop_allowance: p.hop_allowance.as_secs_f64(),
        layers: a.layers.unwrap_or(base.layers),
        gateways: a.gateways.unwrap_or(base.gateways),
        corrupt: a.corrupt.unwrap_or(base.corrupt),
        packet_bytes: a.packet_bytes.unwrap_or(base.packet_bytes),
        real_rate: a.real_rate.unwrap_or(base.real_rate),
        peer_rate: a.peer_rate.or(a.real_rate).unwrap_or(base.peer_rate),
        egress_noise: a.egress_noise.unwrap_or(base.egress_noise),
        friends: a.friends.unwrap_or(base.friends),
        online: a.online.unwrap_or(base.online),
        ..base
    };
    if a.one_way {
        network.replies = false;
        network.edge_hops = 0;
        network.send_share = 1.0;
    }
    network
}

fn print(card: &Card) {
    let mut group = "";
    for line in &card.lines {
        if line.group != group {
            group = line.group;
            println!("\n{group}");
        }
        let value = format!("{} {}", number(line.value.value), line.unit);
        let doubt = match line.value.validity.reason() {
            None => line.value.validity.as_str().to_owned(),
            Some(_) => line.value.validity.to_string(),
        };
        println!("  {value:>18}  {}  [{doubt}]", line.what);
    }
}

fn number(x: f64) -> String {
    match x.abs() {
        a if !x.is_finite() || a == 0.0 => format!("{x}"),
        a if !(1e-3..1e7).contains(&a) => format!("{x:.3e}"),
        a if a < 10.0 => format!("{x:.4}"),
        a if a < 1e3 => format!("{x:.2}"),
        _ => format!("{x:.0}"),
    }
}

fn row(line: &Line) -> Value {
    json!({
        "key": line.key,
        "group": line.group,
        "what": line.what,
        "unit": line.unit,
        "value": line.value.value,
        "validity": line.value.validity.as_str(),
        "reason": line.value.validity.reason(),
    })
}
