//! What a running mix or client can honestly say about anonymity from what it measures or knows. Low traffic
//! is when a mix network fails silently: the figures come with a stated floor, and say when it is missed.

use crate::mix;
use crate::value::Value;

/// The floor: at one mix, the best single guess succeeds at most so often.
pub const BEST_GUESS_MOST: f64 = 0.1;
/// The same as a pool: ρ = 9 packets on average.
pub const POOL_LEAST: f64 = 1.0 / BEST_GUESS_MOST - 1.0;

/// One mix at work.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MixFigure {
    /// ρ: mean number of packets that wait an exponential delay in it.
    pub pool: f64,
    /// E\[H\] over the messages in it, in bits ([`mix::entropy`]).
    pub entropy: Value,
    /// Success of the best single guess ([`mix::best_guess`]).
    pub best_guess: Value,
    /// Whether it is below the floor.
    pub low: bool,
}

/// From `arrivals` packets a second, cover included, and the mean exponential delay in seconds (without δ, which
/// moves everything alike and mixes nothing).
///
/// Assumes Poisson arrivals and an adversary who sees all links of the mix but no inside.
pub fn mix_figure(arrivals: f64, mean_hop: f64) -> MixFigure {
    let pool = arrivals * mean_hop;
    MixFigure {
        pool,
        entropy: mix::entropy(pool),
        best_guess: mix::best_guess(pool),
        low: pool.is_nan() || pool < POOL_LEAST,
    }
}

/// What a client knows: rates and numbers of the directory. Rates per second, times in seconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClientView {
    /// λP + λL: what each client sends.
    pub emission: f64,
    /// λM: the own loops of each mix and each gateway.
    pub node_loops: f64,
    /// 1/μ.
    pub mean_hop: f64,
    /// Layers.
    pub layers: u32,
    /// Mixes in the widest layer.
    pub width: u32,
    /// Gateways.
    pub gateways: u32,
}

/// What follows whoever else is there. A client does not know how many are online, so it says how well it is
/// hidden if it were alone, and how many it takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ClientFigure {
    /// ρ in a mix of the widest layer from the loops of nodes and from this client alone.
    pub pool_alone: f64,
    /// Success of the best guess at such a mix.
    pub best_guess_alone: Value,
    /// Clients online from which on each mix is above the floor.
    pub clients_for_floor: f64,
    /// λ·m: what it sends in a mean hop delay. From 0.3 on, it is hidden among all online clients (an output
    /// has more than one client whose packets may have become it).
    pub emission_per_hop: f64,
    /// λM·m: a mix' loops in a mean hop delay; from 0.5 on, blocking a mix to isolate a packet is noticed.
    pub loops_per_hop: f64,
    /// Whether nodes' loops alone do not reach the floor, so that it hangs on how many others are online.
    pub needs_others: bool,
    /// Whether the directory's rates keep within both rules above.
    pub rates_sound: bool,
}

/// From the directory alone; every packet of a client or gateway brings a reply through the layers.
pub fn client_figure(view: &ClientView) -> ClientFigure {
    let width = f64::from(view.width.max(1));
    let mixes = f64::from(view.layers) * width * view.node_loops;
    let gateways = 2.0 * f64::from(view.gateways) * view.node_loops;
    let pool_of = |rate: f64| rate / width * view.mean_hop;
    let (nodes, each) = (pool_of(mixes + gateways), pool_of(2.0 * view.emission));
    let clients_for_floor = if nodes >= POOL_LEAST {
        0.0
    } else {
        ((POOL_LEAST - nodes) / each).ceil()
    };
    let emission_per_hop = view.emission * view.mean_hop;
    let loops_per_hop = view.node_loops * view.mean_hop;
    ClientFigure {
        pool_alone: nodes + each,
        best_guess_alone: mix::best_guess(nodes + each),
        clients_for_floor,
        emission_per_hop,
        loops_per_hop,
        needs_others: clients_for_floor > 1.0,
        rates_sound: emission_per_hop >= 0.3 && loops_per_hop >= 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_nine_packets() {
        assert!(mix_figure(8.9, 1.0).low);
        assert!(!mix_figure(9.0, 1.0).low);
        let none = mix_figure(0.0, 1.0);
        assert!(none.low && none.best_guess.value == 1.0 && none.entropy.value == 0.0);
        assert!(mix_figure(f64::NAN, 1.0).low);
    }

    #[test]
    fn so_many_clients_reach_the_floor() {
        let view = ClientView {
            emission: 0.6,
            node_loops: 0.25,
            mean_hop: 2.0,
            layers: 3,
            width: 10,
            gateways: 10,
        };
        let figure = client_figure(&view);
        assert!(figure.needs_others && figure.rates_sound);
        // Loops of nodes: (30 + 20)·0.25/10·2 = 2.5 packets; a client brings 0.24.
        assert_eq!(figure.clients_for_floor, ((9.0f64 - 2.5) / 0.24).ceil());
    }
}
