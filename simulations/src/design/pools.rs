//! What a node holds, parted by what its packets still have before them: a node is one pool for each such way. Why is said
//! in [`crate::outcome`].

use super::{Packet, Path, Plan, Stage};

impl Path {
    /// What of the steps from `hop` on can be told apart by who sees all links and what nodes hold. Which of a step's nodes
    /// a packet goes to, and why, is not among it.
    fn way_from(&self, hop: usize) -> Vec<u64> {
        let steps = self.steps[hop..].iter();
        let seen = steps.flat_map(|s| [u64::from(s.stage), u64::from(s.goal), s.lag.to_bits()]);
        seen.chain([self.last_lag.to_bits()]).collect()
    }
}

impl Plan {
    /// Gives each node a pool for each way that packets in it have still before them.
    pub(super) fn part_pools(&mut self) {
        let mut ways: Vec<Vec<Vec<u64>>> = vec![Vec::new(); self.stages.len()];
        let mut kinds = Vec::new();
        for path in &self.paths {
            for (hop, step) in path.steps.iter().enumerate() {
                let before_it = path.way_from(hop + 1);
                let known = &mut ways[usize::from(step.stage)];
                let found = known.iter().position(|way| *way == before_it);
                kinds.push(found.unwrap_or_else(|| {
                    known.push(before_it);
                    known.len() - 1
                }) as u32);
            }
        }
        let mut first = 0;
        for (stage, ways) in self.stages.iter_mut().zip(&ways) {
            (stage.first_pool, stage.pools) = (first, ways.len() as u32);
            first += stage.width * stage.pools;
        }
        let steps = self.paths.iter_mut().flat_map(|p| &mut p.steps);
        for (step, kind) in steps.zip(kinds) {
            let stage = self.stages[usize::from(step.stage)];
            (step.pool, step.stride) = (stage.first_pool + kind, stage.pools);
        }
    }

    /// For each pool, by number, whether its node's output shows which of its inputs it was.
    pub(crate) fn pools_that_show(&self) -> Vec<bool> {
        let of = |s: &Stage| {
            let (first, pools) = (s.first, s.pools as usize);
            (first..first + s.width).flat_map(move |node| std::iter::repeat_n(node, pools))
        };
        self.stages
            .iter()
            .flat_map(of)
            .map(|n| self.shows(n))
            .collect()
    }

    /// The pools of a node.
    pub(crate) fn pools_of(&self, node: u32) -> std::ops::Range<usize> {
        let stage = self.stages.iter().find(|s| node - s.first < s.width);
        stage.map_or(0..0, |s| {
            let first = (s.first_pool + (node - s.first) * s.pools) as usize;
            first..first + s.pools as usize
        })
    }

    /// The pool that a packet is in.
    #[inline(always)]
    pub(crate) fn pool_of(&self, packet: &Packet) -> usize {
        let step = &self.path_of(packet).steps[usize::from(packet.hop)];
        (step.pool + u32::from(packet.node) * step.stride) as usize
    }
}

#[cfg(test)]
mod tests {
    use crate::design::{Design, Plan, Topology};

    fn pools(design: &Design) -> Vec<u32> {
        let plan = Plan::new(design, 1).unwrap();
        let mut next = 0;
        for stage in &plan.stages {
            assert_eq!(stage.first_pool, next);
            next += stage.width * stage.pools;
            for node in stage.first..stage.first + stage.width {
                let own = plan.pools_of(node);
                assert_eq!(own.len(), stage.pools as usize);
                assert_eq!(
                    own.start as u32,
                    stage.first_pool + (node - stage.first) * stage.pools
                );
            }
        }
        assert_eq!(plan.pools_that_show().len(), next as usize);
        plan.stages.iter().map(|s| s.pools).collect()
    }

    #[test]
    fn a_pool_for_each_way_before_a_packet() {
        assert_eq!(pools(&Design::bare(3, 4, 1.0)), [1, 1, 1]);
        let mut free = Design::bare(3, 4, 1.0);
        free.topology = Topology::FreeRoute { mixes: 9, hops: 3 };
        assert_eq!(pools(&free), [3]);
        // Requests and replies in each layer, and at gateways those that come and those that are answered.
        let mut echo = Design::mizzle(3, 5);
        echo.emission.mix_loop_rate = 0.0;
        assert_eq!(pools(&echo), [2, 2, 2, 2]);
        // Loops of mixes of the three layers: to gateways, and before and after them.
        assert_eq!(pools(&Design::mizzle(3, 5)), [5, 4, 4, 4]);
    }
}
