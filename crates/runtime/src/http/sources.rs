//! How many connections come from one address, so that one machine cannot take all there are.
//!
//! An IPv6 host has a whole /64 to itself, and counts as one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Connections by source; as many entries as there are connections at most.
#[derive(Clone, Default)]
pub(super) struct Sources(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection's place; given back when it is dropped.
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// A place for one more connection of this address, unless it has `max` already.
    pub(super) fn enter(&self, from: IpAddr, max: usize) -> Option<Place> {
        let source = source_of(from);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place {
            sources: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .sources
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

fn source_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let sources = Sources::default();
        let enter = |ip: &str| sources.enter(ip.parse().unwrap(), 2);
        let (one, two) = (enter("192.0.2.1"), enter("192.0.2.1"));
        assert!(one.is_some() && two.is_some());
        assert!(enter("192.0.2.1").is_none());
        assert!(
            enter("::ffff:192.0.2.1").is_none(),
            "the same in other words"
        );
        assert!(enter("192.0.2.2").is_some());
        drop(one);
        let three = enter("192.0.2.1");
        assert!(three.is_some());
        // A host's /64 is one address.
        let six = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(six.0.is_some() && six.1.is_some());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        drop((two, three, six));
        assert!(sources.0.lock().unwrap().is_empty());
    }
}
