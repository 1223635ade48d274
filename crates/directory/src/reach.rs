//! Which addresses everybody can reach. `docs/spec/directory.md` §1.
//!
//! In a public network (`network.toml`, `public`) a node at another address is of no use: some would reach it and
//! others would not, or each would find another machine there, its own for 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether an address is of the public Internet, by the registries of special-purpose addresses (RFC 6890 and its
/// successors) as they were in 2026.
pub fn is_public(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match (a, b, c) {
        // This network, loopback, private, multicast, reserved, broadcast.
        (0 | 10 | 127 | 224..=255, ..) => true,
        // Shared by a carrier's customers; private; link-local.
        (100, 64..=127, _) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _) => true,
        // Protocol assignments; documentation; benchmarks; relays of 6to4.
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (198, 18 | 19, _) | (192, 88, 99) => {
            true
        }
        _ => false,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // All that is assigned to be routed lies in 2000::/3; in it are protocols (2001::/23), documentation
    // (2001:db8::/32, 3fff::/20) and 6to4 (2002::/16).
    (0x2000..0x4000).contains(&a)
        && !(a == 0x2001 && (b < 0x200 || b == 0xdb8))
        && a != 0x2002
        && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_and_their_edges() {
        let public = |ip: &str| is_public(&SocketAddr::new(ip.parse().unwrap(), 1));
        for ip in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.1.2.3",
            "192.0.0.8",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.9",
            "198.18.0.1",
            "198.19.255.255",
            "192.88.99.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2001:1ff::1",
            "2002::1",
            "3fff::1",
            "3fff:fff::1",
            "64:ff9b::1",
            "100::1",
            "fec0::1",
            "::ffff:8.8.8.8",
            "4000::1",
        ] {
            assert!(!public(ip), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "128.0.0.1",
            "2001:200::1",
            "2001:4860::8888",
            "2a00::1",
            "3ffe::1",
            "3fff:1000::1",
            "2003::1",
        ] {
            assert!(public(ip), "{ip}");
        }
    }
}
