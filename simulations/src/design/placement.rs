//! Which nodes are the adversary's.

use super::{DesignError, Topology, refuse};
use crate::random::{Purpose, Stream};

/// How corrupt nodes are chosen.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Placement {
    /// None is corrupt.
    #[default]
    None,
    /// This share of all nodes, rounded, wherever chance puts them.
    Random(f64),
    /// This share of every layer; what is over a whole number is one more with that probability.
    PerLayer(f64),
    /// This share of all nodes, rounded, where they cover most routes: whole cascades; layers evenly.
    Adaptive(f64),
    /// These, by (stage, index).
    Given(Vec<(u32, u32)>),
}

impl Placement {
    pub(super) fn check(&self, what: &str) -> Result<(), DesignError> {
        match self {
            Self::Random(share) | Self::PerLayer(share) | Self::Adaptive(share)
                if !(0.0..=1.0).contains(share) =>
            {
                refuse(format!("{what}: a share lies between 0 and 1"))
            }
            Self::None
            | Self::Random(_)
            | Self::PerLayer(_)
            | Self::Adaptive(_)
            | Self::Given(_) => Ok(()),
        }
    }

    /// For each stage, which of its nodes are corrupt.
    pub fn place(
        &self,
        topology: &Topology,
        stages: &[u32],
        seed: u64,
        entity: u64,
    ) -> Vec<Vec<bool>> {
        let mut out: Vec<_> = stages.iter().map(|w| vec![false; *w as usize]).collect();
        let mut random = Stream::new(seed, Purpose::PLACEMENT, entity);
        let all: u32 = stages.iter().sum();
        match self {
            Self::None => {}
            Self::Random(share) => {
                let mut nodes: Vec<_> = places(stages).collect();
                random.shuffle(&mut nodes);
                for (stage, node) in nodes.into_iter().take(budget(*share, all)) {
                    out[stage][node] = true;
                }
            }
            Self::PerLayer(share) => {
                for layer in &mut out {
                    let exact = share * layer.len() as f64;
                    let more = random.uniform() < exact - exact.floor();
                    let mut order: Vec<_> = (0..layer.len()).collect();
                    random.shuffle(&mut order);
                    for node in order.into_iter().take(exact as usize + usize::from(more)) {
                        layer[node] = true;
                    }
                }
            }
            Self::Adaptive(share) => {
                let mut left = budget(*share, all);
                if matches!(topology, Topology::Cascade { .. }) {
                    for node in 0..stages[0] as usize {
                        for layer in out.iter_mut().take(left) {
                            layer[node] = true;
                        }
                        left = left.saturating_sub(stages.len());
                    }
                    return out;
                }
                let mut taken = vec![0_u32; stages.len()];
                while left > 0 {
                    // The next one goes where the smallest share of the layer is taken.
                    let open = (0..stages.len()).filter(|s| taken[*s] < stages[*s]);
                    let share = |s: usize| u64::from(taken[s]) * 1_000_000 / u64::from(stages[s]);
                    let Some(stage) = open.min_by_key(|s| (share(*s), stages[*s])) else {
                        break;
                    };
                    out[stage][taken[stage] as usize] = true;
                    taken[stage] += 1;
                    left -= 1;
                }
            }
            Self::Given(nodes) => {
                for (stage, node) in nodes {
                    let layer = out.get_mut(*stage as usize);
                    if let Some(place) = layer.and_then(|l| l.get_mut(*node as usize)) {
                        *place = true;
                    }
                }
            }
        }
        out
    }
}

fn places(stages: &[u32]) -> impl Iterator<Item = (usize, usize)> {
    let stages = stages.iter().enumerate();
    stages.flat_map(|(stage, width)| (0..*width as usize).map(move |node| (stage, node)))
}

fn budget(share: f64, all: u32) -> usize {
    (share * f64::from(all)).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(placed: &[Vec<bool>]) -> Vec<usize> {
        placed
            .iter()
            .map(|l| l.iter().filter(|c| **c).count())
            .collect()
    }

    #[test]
    fn placements_take_what_they_say() {
        let topology = Topology::stratified(3, 10);
        let stages = topology.stages();
        let place = |p: Placement| p.place(&topology, &stages, 1, 0);
        assert_eq!(
            count(&place(Placement::Random(0.2))).iter().sum::<usize>(),
            6
        );
        assert_eq!(count(&place(Placement::PerLayer(0.2))), [2, 2, 2]);
        assert_eq!(count(&place(Placement::Adaptive(0.1))), [1, 1, 1]);
        assert_eq!(count(&place(Placement::None)), [0, 0, 0]);
        let given = place(Placement::Given(vec![(1, 4), (9, 9)]));
        assert!(given[1][4] && count(&given) == [0, 1, 0]);
        // What is over a whole number averages out.
        let mean: usize = (0..400)
            .map(|seed| {
                let placed = Placement::PerLayer(0.25).place(&topology, &stages, seed, 0);
                count(&placed).iter().sum::<usize>()
            })
            .sum();
        assert!((2_900..3_100).contains(&mean), "{mean}");
    }

    #[test]
    fn an_adaptive_adversary_takes_whole_cascades() {
        let topology = Topology::Cascade {
            length: 3,
            cascades: 5,
        };
        let placed = Placement::Adaptive(0.4).place(&topology, &topology.stages(), 1, 0);
        assert_eq!(count(&placed), [2, 2, 2]);
        assert!(placed.iter().all(|layer| layer[0] && layer[1]));
    }
}
