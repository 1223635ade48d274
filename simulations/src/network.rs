//! Links: how long a frame takes and whether it arrives. Draws are keyed by (link, frame on that
//! link), so that traffic on one link moves nothing on another.

use crate::engine::Actor;
use std::time::Duration;
use wire::rng::{Purpose, TrafficRng};
use wire::time::Instant;

/// How long frames take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Latency {
    /// Always so long.
    Constant(Duration),
    /// At least `least`, and an exponential time of this mean on top.
    Exponential {
        /// Light and routers.
        least: Duration,
        /// Queues.
        mean: Duration,
    },
}

/// All links alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkModel {
    /// How long frames take.
    pub latency: Latency,
    /// Probability that a packet is lost, as when a connection breaks with packets in its queue.
    /// Pieces of a directory are never lost: a new connection sends them again.
    pub loss: f64,
    /// Whether a frame may overtake another one of the same link; TLS over TCP never lets it.
    pub reorder: bool,
}

impl LinkModel {
    /// 5 ms, no loss, in order.
    pub fn plain() -> Self {
        Self {
            latency: Latency::Constant(Duration::from_millis(5)),
            loss: 0.0,
            reorder: false,
        }
    }
}

/// The state of all links.
pub struct Links {
    model: LinkModel,
    rng: TrafficRng,
    /// By who sends, then by who receives.
    by_ends: ByActor<ByActor<Link>>,
}

#[derive(Clone, Copy)]
struct Link {
    frames: u64,
    last_arrival: Instant,
}

impl Links {
    /// No frame has been sent yet.
    pub fn new(model: LinkModel, rng: TrafficRng) -> Self {
        Self {
            model,
            rng,
            by_ends: ByActor::default(),
        }
    }

    /// When a frame that leaves at `departs` arrives; `None` when it is lost.
    pub fn carry(
        &mut self,
        ends: (Actor, Actor),
        departs: Instant,
        may_be_lost: bool,
    ) -> Option<Instant> {
        let link = self.by_ends.of(ends.0).of(ends.1);
        link.frames += 1;
        let takes = match self.model {
            // Nothing is random, so nothing is drawn: what is drawn for other frames stays the same.
            LinkModel {
                latency: Latency::Constant(takes),
                loss: 0.0,
                ..
            } => takes,
            model => {
                let tick = (number_of(ends) << 32) | (link.frames & 0xffff_ffff);
                let mut draws = self.rng.tick(Purpose::Simulation, tick);
                let lost = draws.draw_open01() < model.loss;
                if lost && may_be_lost {
                    return None;
                }
                match model.latency {
                    Latency::Constant(takes) => takes,
                    Latency::Exponential { least, mean } => least + draws.draw_exponential(mean),
                }
            }
        };
        let mut arrives = departs + takes;
        if !self.model.reorder {
            arrives = arrives.max(link.last_arrival);
        }
        link.last_arrival = arrives;
        Some(arrives)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            frames: 0,
            last_arrival: Instant::ZERO,
        }
    }
}

/// Something for each actor.
#[derive(Default)]
struct ByActor<T>([Vec<T>; 4]);

impl<T: Default> ByActor<T> {
    fn of(&mut self, actor: Actor) -> &mut T {
        let (kind, index) = match actor {
            Actor::Authority => (0, 0),
            Actor::Mix(i) => (1, i),
            Actor::Gateway(i) => (2, i),
            Actor::Client(i) => (3, i),
        };
        let all = &mut self.0[kind];
        if all.len() <= index {
            all.resize_with(index + 1, T::default);
        }
        &mut all[index]
    }
}

/// A link's number does not depend on which link was used first. 24 bits: 4,096 actors.
fn number_of((from, to): (Actor, Actor)) -> u64 {
    (from.number() << 12) | to.number()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(model: LinkModel) -> Links {
        Links::new(model, TrafficRng::from_seed([1; 32]))
    }

    #[test]
    fn traffic_on_one_link_moves_nothing_on_another() {
        let model = LinkModel {
            latency: Latency::Exponential {
                least: Duration::from_millis(1),
                mean: Duration::from_millis(9),
            },
            loss: 0.1,
            reorder: true,
        };
        let (a, b) = (
            (Actor::Mix(0), Actor::Mix(1)),
            (Actor::Mix(1), Actor::Mix(0)),
        );
        let (mut quiet, mut busy) = (links(model), links(model));
        for _ in 0..100 {
            busy.carry(b, Instant::ZERO, true);
            let alike = busy.carry(a, Instant::ZERO, true) == quiet.carry(a, Instant::ZERO, true);
            assert!(alike);
        }
    }

    #[test]
    fn frames_of_one_link_keep_their_order_unless_told_otherwise() {
        let latency = Latency::Exponential {
            least: Duration::ZERO,
            mean: Duration::from_millis(10),
        };
        let overtakes = |reorder| {
            let mut links = links(LinkModel {
                latency,
                loss: 0.0,
                reorder,
            });
            let ends = (Actor::Mix(0), Actor::Mix(1));
            let arrivals: Vec<_> = (0..100)
                .filter_map(|_| links.carry(ends, Instant::ZERO, true))
                .collect();
            assert_eq!(arrivals.len(), 100);
            arrivals.windows(2).any(|pair| pair[1] < pair[0])
        };
        assert!(overtakes(true));
        assert!(!overtakes(false));
    }
}
