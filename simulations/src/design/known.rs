//! Designs that are compared, at the rates that their authors give.

use super::{Cover, Delivery, Design, Emission, Mixing, Placement, Topology};

/// One TLS record of one Mizzle frame.
const MIZZLE_PACKET: u32 = 2_856;

impl Design {
    /// A bare stratified Poisson network without gateways: that of the published entropy figures.
    pub fn bare(layers: u32, width: u32, mean: f64) -> Self {
        Self {
            name: format!("bare {layers}x{width}"),
            topology: Topology::stratified(layers, width),
            weights: Vec::new(),
            mixing: Mixing::Poisson { mean },
            allowance: 0.0,
            link: 0.0,
            gateways: 0,
            entry_mixes: false,
            emission: Emission {
                cover: Cover::None,
                ..Emission::default()
            },
            delivery: Delivery::Bare,
            packet_len: 2_048,
            corrupt_mixes: Placement::None,
            corrupt_gateways: Placement::None,
        }
    }

    /// Mizzle's echo design at the rates of a real network (`directory::Parameters::wide`).
    pub fn mizzle(width: u32, gateways: u32) -> Self {
        Self {
            name: "mizzle".into(),
            topology: Topology::stratified(3, width),
            weights: Vec::new(),
            mixing: Mixing::Poisson { mean: 2.0 },
            allowance: 0.020,
            link: 0.020,
            gateways,
            entry_mixes: true,
            emission: Emission {
                payload_rate: 0.5,
                fetch_share: 0.5,
                loop_rate: 0.1,
                drop_rate: 0.0,
                cover: Cover::Substitute,
                mix_loop_rate: 0.25,
                gateway_loop_rate: 0.25,
            },
            delivery: Delivery::Echo {
                downlink_rate: 1.0,
                places: 8,
            },
            packet_len: MIZZLE_PACKET,
            corrupt_mixes: Placement::None,
            corrupt_gateways: Placement::None,
        }
    }

    /// The same where clients send no loops.
    pub fn mizzle_without_client_loops(width: u32, gateways: u32) -> Self {
        let mut design = Self::mizzle(width, gateways);
        design.name = "mizzle without client loops".into();
        design.emission.loop_rate = 0.0;
        design
    }

    /// The same where mixes and gateways send no loops.
    pub fn mizzle_without_node_loops(width: u32, gateways: u32) -> Self {
        let mut design = Self::mizzle(width, gateways);
        design.name = "mizzle without node loops".into();
        design.emission.mix_loop_rate = 0.0;
        design.emission.gateway_loop_rate = 0.0;
        design
    }

    /// Loopix as evaluated (USENIX Security 2017, fig. 10): all streams 60/min, hops of mean 0.5 s, providers
    /// that hold their clients' inboxes, pulled every 10 s.
    pub fn loopix(width: u32, gateways: u32) -> Self {
        Self {
            name: "loopix".into(),
            mixing: Mixing::Poisson { mean: 0.5 },
            allowance: 0.0,
            entry_mixes: false,
            emission: Emission {
                payload_rate: 1.0,
                fetch_share: 0.0,
                loop_rate: 1.0,
                drop_rate: 1.0,
                cover: Cover::Substitute,
                mix_loop_rate: 1.0,
                gateway_loop_rate: 0.0,
            },
            delivery: Delivery::Provider {
                pull_interval: 10.0,
            },
            packet_len: 2_048,
            ..Self::mizzle(width, gateways)
        }
    }

    /// Nym at its clients' defaults: 15 ms a hop, a packet every 20 ms, loops every 200 ms, and a gateway that
    /// pushes what arrives.
    pub fn nym(width: u32, gateways: u32) -> Self {
        Self {
            name: "nym".into(),
            mixing: Mixing::Poisson { mean: 0.015 },
            emission: Emission {
                payload_rate: 50.0,
                fetch_share: 0.0,
                loop_rate: 5.0,
                drop_rate: 0.0,
                cover: Cover::Substitute,
                mix_loop_rate: 0.0,
                gateway_loop_rate: 0.0,
            },
            delivery: Delivery::Push,
            packet_len: 2_413,
            ..Self::loopix(width, gateways)
        }
    }

    /// Katzenpost at its authority's defaults: μ, λP, λL and λM of one in four seconds each.
    pub fn katzenpost(width: u32, gateways: u32) -> Self {
        Self {
            name: "katzenpost".into(),
            mixing: Mixing::Poisson { mean: 4.0 },
            emission: Emission {
                payload_rate: 0.25,
                fetch_share: 0.0,
                loop_rate: 0.25,
                drop_rate: 0.0,
                cover: Cover::Substitute,
                mix_loop_rate: 0.25,
                gateway_loop_rate: 0.0,
            },
            delivery: Delivery::Provider { pull_interval: 4.0 },
            ..Self::loopix(width, gateways)
        }
    }

    /// Onion routing: three hops, no delay, no cover, pushed.
    pub fn onion(width: u32, gateways: u32) -> Self {
        Self {
            name: "onion".into(),
            mixing: Mixing::None,
            emission: Emission {
                cover: Cover::None,
                ..Emission::default()
            },
            delivery: Delivery::Push,
            packet_len: 514,
            ..Self::loopix(width, gateways)
        }
    }
}
