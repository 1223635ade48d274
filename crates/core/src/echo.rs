//! How a request and its reply block are built, and how its reply finds back.
//!
//! Used by clients for everything and by mixes and gateways for their loops, so that all of them
//! make packets of one kind.

use crate::stream::TickDraws;
use crate::view::View;
use directory::{Directory, Family, LAYERS, NodeDescriptor};
use sphinx::{BuildError, Hop, PacketFormat};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{NextHop, NodeId, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Envelope, Request};
use wire::rng::{KeyRng, pick};
use wire::time::Instant;

/// The ways of one echo.
pub struct Ways {
    /// Nodes on the way there; the last one answers.
    pub forward: Vec<NodeId>,
    /// Nodes on the way back, without whoever asked.
    pub back: Vec<NodeId>,
}

/// Mixes that are about to go ([`View::leaving`]).
pub type Leaving<'a> = Option<&'a BTreeSet<NodeId>>;

/// What mixes are drawn from. Neither a mix's draw nor what it is drawn from depends on what is asked of whom.
#[derive(Clone, Copy)]
struct Choice<'a> {
    directory: &'a Directory,
    leaving: Leaving<'a>,
    /// The entry's.
    family: Option<Family>,
    /// Whether marked mixes count too: for loops of nodes, so that it is seen when one stops losing traffic.
    marked: bool,
}

impl Ways {
    /// A client's: `[entry, m1, m2, m3, answering]` and `[m1', m2', m3', entry]`. No mix is of the entry's
    /// family, or about to go, where its layer has others, and none is marked; no two are of one family, because a directory puts a
    /// family into one layer. The answering gateway's family counts for nothing: routes must not show whom one
    /// asks.
    pub fn of_client(
        (directory, leaving): (&Directory, Leaving<'_>),
        draws: &TickDraws,
        entry: NodeId,
        answering: NodeId,
    ) -> Self {
        let choice = Choice {
            directory,
            leaving,
            family: directory.node(&entry).map(|node| node.family),
            marked: false,
        };
        let forward = [entry]
            .into_iter()
            .chain(choice.mixes(&draws.forward, 0..LAYERS));
        let back = choice.mixes(&draws.back, 0..LAYERS);
        Self {
            forward: forward.chain([answering]).collect(),
            back: back.chain([entry]).collect(),
        }
    }

    /// A gateway's loop: a client's, less the entry that it is itself.
    pub fn of_gateway(
        known: (&Directory, Leaving<'_>),
        draws: &TickDraws,
        answering: NodeId,
    ) -> Self {
        let choice = Choice::of_loops(known);
        Self {
            forward: choice
                .mixes(&draws.forward, 0..LAYERS)
                .chain([answering])
                .collect(),
            back: choice.mixes(&draws.back, 0..LAYERS).collect(),
        }
    }

    /// A loop of a mix of layer `layer`: on through the layers behind it, back through those
    /// before.
    pub fn of_mix(
        known: (&Directory, Leaving<'_>),
        draws: &TickDraws,
        layer: usize,
        answering: NodeId,
    ) -> Self {
        let choice = Choice::of_loops(known);
        Self {
            forward: choice
                .mixes(&draws.forward, layer + 1..LAYERS)
                .chain([answering])
                .collect(),
            back: choice.mixes(&draws.back, 0..layer).collect(),
        }
    }
}

impl<'a> Choice<'a> {
    /// For a node's own loops.
    fn of_loops((directory, leaving): (&'a Directory, Leaving<'a>)) -> Self {
        Self {
            directory,
            leaving,
            family: None,
            marked: true,
        }
    }

    fn mixes(
        self,
        draws: &'a [u64; LAYERS],
        layers: std::ops::Range<usize>,
    ) -> impl Iterator<Item = NodeId> + use<'a> {
        layers.filter_map(move |layer| self.mix(draws[layer], layer))
    }

    /// One of a layer. What would leave nothing to draw from does not count: first that a mix is about to go,
    /// which hurts for a moment only, then its family.
    fn mix(&self, draw: u64, layer: usize) -> Option<NodeId> {
        let marks = self.directory.marks();
        let counts = |id: &NodeId| self.marked || !marks.contains_key(id);
        let all = || {
            let ids = self.directory.layer_ids(layer).iter();
            let mixes = ids.zip(self.directory.layer(layer));
            mixes.filter(move |(id, _)| counts(id))
        };
        let leaves = |id: &NodeId| self.leaving.is_some_and(|leaving| leaving.contains(id));
        let related = |mix: &NodeDescriptor| Some(mix.family) == self.family;
        let rules = [(true, true), (false, true), (true, false), (false, false)];
        rules.into_iter().find_map(|(stay, apart)| {
            let avoided =
                |id: &NodeId, mix: &NodeDescriptor| (stay && leaves(id)) || (apart && related(mix));
            let fits = |(id, mix): &(&NodeId, &NodeDescriptor)| !avoided(id, mix);
            let count = all().filter(fits).count();
            let (id, _) = all().filter(fits).nth(pick(draw, count)?)?;
            Some(*id)
        })
    }
}

/// A gateway drawn among all but `except` (all of them, where there is no other).
pub fn draw_gateway(directory: &Directory, draw: u64, except: Option<NodeId>) -> Option<NodeId> {
    let all = directory.gateway_ids();
    let others = || all.iter().filter(|id| Some(**id) != except);
    match others().count() {
        0 => all.get(pick(draw, all.len())?).copied(),
        n => others().nth(pick(draw, n)?).copied(),
    }
}

/// Who asks: how the last hop back addresses it, and the key it opens the reply with.
pub struct Asker {
    /// A session address, or a node.
    pub address: Address,
    /// Its key; `None` for a node, whose key is in the directory.
    pub key: Option<SphinxPublic>,
}

/// How the last hop back addresses whoever asked.
pub enum Address {
    /// A client, by its session.
    Session(wire::ids::SessionAddress),
    /// A node.
    Node(NodeId),
}

/// A built echo.
pub struct Built<F: PacketFormat> {
    /// First hop.
    pub to: NodeId,
    /// The request.
    pub frame: Frame,
    /// The reply's name.
    pub surb: SurbId,
    /// To read the reply.
    pub recovery: F::Recovery,
    /// When the reply is due back by the drawn delays alone.
    pub expected: Instant,
}

/// An echo to build.
pub struct Plan<'a> {
    /// When the request leaves.
    pub at: Instant,
    /// Its delays.
    pub draws: &'a TickDraws,
    /// Its ways.
    pub ways: &'a Ways,
    /// Whom the reply is for.
    pub asker: Asker,
    /// What is asked.
    pub request: Request,
}

/// Builds the packet that leaves at `plan.at`. Each hop, of the reply block too, is keyed for the epoch
/// in which the packet is expected there. `Err` only where the directory lacks a node.
pub fn build<F: PacketFormat>(
    view: &View,
    directory: &Directory,
    plan: Plan<'_>,
    keys: &mut KeyRng,
) -> Result<Built<F>, BuildError> {
    let Plan {
        at,
        draws,
        ways,
        asker,
        request,
    } = plan;
    let p = &directory.parameters;
    let wait = |unit: f64| p.hop_allowance + p.delay_mean.mul_f64(unit);
    let [d0, d1, d2, d3, reply, b0, b1, b2, b3] = draws.delays;
    let mut clock = at;
    let mut forward = Vec::with_capacity(5);
    let skip = 5usize.saturating_sub(ways.forward.len());
    for (id, unit) in ways
        .forward
        .iter()
        .zip([d0, d1, d2, d3, reply].into_iter().skip(skip))
    {
        let (hop, leaves) = node_hop(view, id, clock, p.delay_mean.mul_f64(unit), wait(unit))?;
        forward.push(hop);
        clock = leaves;
    }
    let reply_delay = p.delay_mean.mul_f64(reply);
    let mut back = Vec::with_capacity(5);
    for (id, unit) in ways.back.iter().zip([b0, b1, b2, b3]) {
        let (hop, leaves) = node_hop(view, id, clock, p.delay_mean.mul_f64(unit), wait(unit))?;
        back.push(hop);
        clock = leaves;
    }
    back.push(match (asker.address, asker.key) {
        (Address::Session(address), Some(key)) => Hop {
            address: NextHop::Session(address),
            key,
            delay: Duration::ZERO,
        },
        (Address::Session(_), None) => return Err(BuildError::BadKey),
        (Address::Node(id), _) => node_hop(view, &id, clock, Duration::ZERO, Duration::ZERO)?.0,
    });
    let surb = fresh_surb_id(keys);
    let (block, recovery) = F::build_surb(&back, surb, keys)?;
    let plaintext = Envelope {
        surb: block,
        reply_delay,
        request,
    }
    .encode();
    let packet: PacketBytes = F::build(&forward, &plaintext, keys)?;
    let first = forward.first().ok_or(BuildError::RouteLength)?;
    let NextHop::Node { id: to, epoch } = first.address else {
        return Err(BuildError::RouteLength);
    };
    Ok(Built {
        to,
        frame: Frame::Packet(epoch, packet),
        surb,
        recovery,
        expected: clock,
    })
}

fn node_hop(
    view: &View,
    id: &NodeId,
    arrives: Instant,
    delay: Duration,
    wait: Duration,
) -> Result<(Hop, Instant), BuildError> {
    let (epoch, key) = view.key(id, arrives).ok_or(BuildError::BadKey)?;
    let address = NextHop::Node {
        id: *id,
        epoch: epoch.hint(),
    };
    Ok((
        Hop {
            address,
            key,
            delay,
        },
        arrives + wait,
    ))
}

fn fresh_surb_id(keys: &mut KeyRng) -> SurbId {
    let mut id = keys.bytes::<16>();
    id[0] |= 1;
    SurbId(id)
}

/// Echoes on their way. Holds at most `capacity`; when full, the one that is due soonest is given
/// up as lost to make room.
pub struct Pending<F: PacketFormat, T> {
    capacity: usize,
    by_surb: BTreeMap<SurbId, Waiting<F, T>>,
    by_deadline: BTreeMap<(Instant, SurbId), ()>,
}

/// One echo on its way.
pub struct Waiting<F: PacketFormat, T> {
    /// To read the reply.
    pub recovery: F::Recovery,
    /// When it was due by the drawn delays.
    pub expected: Instant,
    /// When it counts as lost.
    pub deadline: Instant,
    /// What it was for.
    pub what: T,
}

impl<F: PacketFormat, T> Pending<F, T> {
    /// Empty.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            by_surb: BTreeMap::new(),
            by_deadline: BTreeMap::new(),
        }
    }

    /// Remembers an echo; returns the one that was given up for it, if any.
    pub fn insert(&mut self, surb: SurbId, waiting: Waiting<F, T>) -> Option<T> {
        let evicted = (self.by_surb.len() >= self.capacity)
            .then(|| self.by_deadline.first_key_value().map(|(k, ())| k.1))
            .flatten()
            .and_then(|oldest| self.take(&oldest));
        self.by_deadline.insert((waiting.deadline, surb), ());
        self.by_surb.insert(surb, waiting);
        evicted.map(|w| w.what)
    }

    /// The echo whose reply came, once.
    pub fn take(&mut self, surb: &SurbId) -> Option<Waiting<F, T>> {
        let waiting = self.by_surb.remove(surb)?;
        self.by_deadline.remove(&(waiting.deadline, *surb));
        Some(waiting)
    }

    /// An echo whose deadline has passed.
    pub fn pop_lost(&mut self, now: Instant) -> Option<T> {
        self.pop_overdue(now).map(|(_, waiting)| waiting.what)
    }

    /// The same, with its name and all that belongs to it.
    pub fn pop_overdue(&mut self, now: Instant) -> Option<(SurbId, Waiting<F, T>)> {
        let ((deadline, surb), ()) = self.by_deadline.first_key_value()?;
        if *deadline > now {
            return None;
        }
        let surb = *surb;
        Some((surb, self.take(&surb)?))
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.by_deadline
            .first_key_value()
            .map(|((deadline, _), ())| *deadline)
    }

    /// How many are on their way.
    pub fn len(&self) -> usize {
        self.by_surb.len()
    }

    /// Whether none is on its way.
    pub fn is_empty(&self) -> bool {
        self.by_surb.is_empty()
    }

    /// What the echoes on their way are for.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.by_surb.values().map(|w| &w.what)
    }
}

/// Loops sent, and what became of them. Loss of loops is the alarm for dropping attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopCount {
    /// Sent.
    pub sent: u64,
    /// Came back in time.
    pub returned: u64,
    /// Did not.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::testing::{self, nobodys_key};
    use directory::{NodeDescriptor, Parameters, Preamble};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use wire::ids::Epoch;

    /// Four mixes in each layer, three gateways; `families` by node, where the mixes of layer l are of 0 to 3
    /// plus 4 l, as a directory places them, and gateways are of anything.
    fn directory(gateways: [u8; 3]) -> Directory {
        let (d, _) = testing::directory(5, 4, 3, Epoch(3), Parameters::localnet(), nobodys_key);
        let with = |nodes: &[NodeDescriptor], families: &[u8]| {
            let pairs = nodes.iter().zip(families);
            let node = |(n, f): (&NodeDescriptor, &u8)| NodeDescriptor {
                family: Family([*f; 16]),
                ..n.clone()
            };
            pairs.map(node).collect::<Vec<_>>()
        };
        let layers = std::array::from_fn(|l| {
            let first = 4 * l as u8;
            with(d.layer(l), &[first, first, first + 1, first + 2])
        });
        let preamble = Preamble {
            network: d.network,
            epoch: d.epoch,
            schedule: d.schedule,
            valid_from: d.valid_from,
            valid_until: d.valid_until,
            previous: d.previous,
            geometry: d.geometry,
            parameters: d.parameters.clone(),
            shared_random: d.shared_random,
            withheld: d.withheld,
        };
        Directory::new(preamble, layers, with(d.gateways(), &gateways)).unwrap()
    }

    fn draws(forward: [u64; 3], back: [u64; 3]) -> TickDraws {
        TickDraws {
            coin: true,
            inbox: 0,
            gateway: 0,
            forward,
            back,
            delays: [1.0; 9],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Entry and mixes of a way are of different families; which mixes they are does not depend on who
        /// answers.
        #[test]
        fn no_family_stands_twice_between_entry_and_answer(
            gateways: [u8; 3],
            forward: [u64; 3],
            back: [u64; 3],
            entry in 0usize..3,
        ) {
            let d = directory(gateways.map(|g| g % 14));
            let (draws, ids) = (draws(forward, back), d.gateway_ids());
            let ways = Ways::of_client((&d, None), &draws, ids[entry], ids[(entry + 1) % 3]);
            let other = Ways::of_client((&d, None), &draws, ids[entry], ids[(entry + 2) % 3]);
            prop_assert_eq!(&ways.forward[..4], &other.forward[..4]);
            prop_assert_eq!(&ways.back, &other.back);
            for way in [&ways.forward[..4], &ways.back[..]] {
                let families = way.iter().map(|id| d.node(id).unwrap().family);
                prop_assert_eq!(families.collect::<BTreeSet<_>>().len(), 4);
            }
        }

        /// No route has a mix that is about to go, as long as its layer has others that are not of the entry's
        /// family; and the ways of all who enter at one gateway are the same, whoever answers.
        #[test]
        fn mixes_that_leave_are_in_no_route_where_there_are_others(
            gone: [bool; 12],
            forward: [u64; 3],
            back: [u64; 3],
            entry in 0usize..3,
        ) {
            let d = directory([0, 20, 21]);
            let (draws, ids) = (draws(forward, back), d.gateway_ids());
            let mixes: Vec<_> = (0..3).flat_map(|layer| d.layer_ids(layer)).copied().collect();
            let leaving = mixes.iter().zip(gone).filter(|(_, gone)| *gone);
            let leaving: BTreeSet<_> = leaving.map(|(id, _)| *id).collect();
            let family = d.node(&ids[entry]).unwrap().family;
            let ways = |answering| Ways::of_client((&d, Some(&leaving)), &draws, ids[entry], answering);
            let (one, other) = (ways(ids[(entry + 1) % 3]), ways(ids[(entry + 2) % 3]));
            prop_assert_eq!(&one.forward[..4], &other.forward[..4]);
            prop_assert_eq!(&one.back, &other.back);
            for (layer, pair) in one.forward[1..4].iter().zip(&one.back).enumerate() {
                let apart = |id: &&NodeId| d.node(id).unwrap().family != family;
                let left = d.layer_ids(layer).iter().filter(apart).any(|id| !leaving.contains(id));
                for id in [pair.0, pair.1] {
                    prop_assert!(d.layer_ids(layer).contains(id));
                    prop_assert!(apart(&id));
                    prop_assert!(!(left && leaving.contains(id)));
                }
            }
            let loops = Ways::of_gateway((&d, Some(&leaving)), &draws, ids[0]);
            for (layer, id) in loops.back.iter().enumerate() {
                let left = d.layer_ids(layer).iter().any(|id| !leaving.contains(id));
                prop_assert!(!(left && leaving.contains(id)));
            }
        }
    }
}
