//! The closed forms' network of a scenario.

use super::super::Failure;
use anonymity::Network;
use simulations::design::{Delivery, Mixing, Placement, Topology};
use simulations::scenario_file::{Case, WorkloadKind};

/// What the scenario says; what it cannot say (friends, who is online) is as in the flags' defaults. Closed forms know Poisson
/// mixes in layers of one width, of which routes choose uniformly.
pub(super) fn network(case: &Case) -> Result<Network, Failure> {
    let design = &case.design;
    let refuse = |what: &str| Err(Failure(format!("no card: closed forms know {what}")));
    let Topology::Stratified { widths } = &design.topology else {
        return refuse("stratified networks alone");
    };
    let width = widths[0];
    if widths.iter().any(|w| *w != width) || !design.weights.is_empty() {
        return refuse("layers of one width, of which routes choose uniformly");
    }
    let Mixing::Poisson { mean } = design.mixing else {
        return refuse("Poisson mixes alone");
    };
    let corrupt = match design.corrupt_mixes {
        Placement::None => 0.0,
        Placement::Random(share) | Placement::PerLayer(share) | Placement::Adaptive(share) => share,
        Placement::Given(_) => return refuse("a share of corrupt mixes, not which"),
    };
    if case.users == 0 {
        return refuse("a number of users: say it, a card reads no trace");
    }
    let (downlink_rate, replies) = match design.delivery {
        Delivery::Echo { downlink_rate, .. } => (downlink_rate, true),
        Delivery::Provider { pull_interval } => (1.0 / pull_interval, false),
        Delivery::Bare | Delivery::Push => (design.client_rate(), false),
    };
    let emission = &design.emission;
    let base = Network::wide(f64::from(case.users), width);
    let (real, payload) = match case.workload {
        WorkloadKind::Poisson(rate, _) => (rate, emission.payload_rate),
        WorkloadKind::Saturated => (emission.payload_rate, emission.payload_rate),
        WorkloadKind::Nothing | WorkloadKind::Trace(..) => (base.real_rate, emission.payload_rate),
    };
    Ok(Network {
        // Without a clock, what is written is what is sent.
        payload_rate: if payload > 0.0 { payload } else { real },
        loop_rate: emission.loop_rate + emission.drop_rate,
        mix_loop_rate: emission.mix_loop_rate,
        downlink_rate,
        mean_hop: mean,
        hop_allowance: design.allowance,
        link_latency: design.link,
        layers: widths.len() as u32,
        gateways: design.gateways.max(1),
        edge_hops: match (design.entry_mixes, replies) {
            (true, true) => 2,
            (true, false) | (false, true) => 1,
            (false, false) => 0,
        },
        replies,
        send_share: 1.0 - emission.fetch_share,
        corrupt,
        packet_bytes: f64::from(design.packet_len),
        real_rate: real,
        peer_rate: real,
        ..base
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulations::scenario_file::Study;

    const SCENARIO: &str = "name = \"x\"\nseed = 1\n[network]\nwidth = 7\ngateways = 4\n\
        mean_delay = \"500ms\"\n[workload]\nkind = \"poisson\"\nusers = 300\nrate = \"1/100s\"\n\
        duration = \"10min\"\n[adversary]\ncorrupt_mixes = 0.25\n";

    #[test]
    fn a_card_is_of_the_network_that_the_scenario_says() {
        let of = |text: &str| network(&Study::parse(text).unwrap().points[0].case);
        let n = of(SCENARIO).unwrap();
        assert_eq!((n.users, n.width, n.layers, n.gateways), (300.0, 7, 3, 4));
        assert_eq!((n.mean_hop, n.corrupt, n.real_rate), (0.5, 0.25, 0.01));
        assert!(n.replies && n.edge_hops == 2 && n.check().is_ok());
        for (from, to) in [
            ("width = 7", "width = 7\nweights = [2.0, 1.0]"),
            (
                "width = 7",
                "width = 7\ntopology = \"cascade\"\ndesign = \"onion\"\ndelivery = \"push\"\nmixing = \"poisson\"",
            ),
            (
                "mean_delay = \"500ms\"",
                "mixing = \"timed\"\nperiod = \"1s\"\ndelivery = \"push\"",
            ),
        ] {
            let text = SCENARIO
                .replace(from, to)
                .replace("seed = 1", "seed = 1\nengine = \"events\"");
            let refused = of(&text).err().map(|f| f.to_string());
            assert!(
                refused.is_some_and(|why| why.contains("closed forms know")),
                "{to}"
            );
        }
    }
}
