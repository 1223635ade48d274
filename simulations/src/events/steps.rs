//! What a packet does from node to node.

use super::{Event, Events, Fate, Pool, Watch};
use crate::design::{Draw, Mixing, NO_CARRY, Packet};
use crate::message::{Class, Message};

impl<const T: usize, I: Iterator<Item = Message>, W: Watch<T>> Events<'_, T, I, W> {
    /// A packet sets out for the step it has been put to, or for its end. What takes no time happens at once, unless
    /// there are others that set out at the same time.
    #[inline(always)]
    pub(super) fn go(&mut self, mut packet: Packet, others: bool, drawn: Option<Draw>) {
        let plan = self.plan;
        let path = &plan.paths[usize::from(packet.path)];
        let Some(step) = path.steps.get(usize::from(packet.hop)) else {
            let Some(hold) = self.link(None, &packet, path.class) else {
                return;
            };
            let at = self.now + path.last_lag + hold;
            if at <= self.now && !others {
                return self.end(packet);
            }
            return self.queue.push(at, Event::End(packet));
        };
        let drawn = drawn.unwrap_or_else(|| plan.draw(packet.id, packet.hop));
        let delay = plan.enter_with(&mut packet, step, drawn);
        let node = step.first + u32::from(packet.node);
        let Some(hold) = self.link(Some(node), &packet, path.class) else {
            return;
        };
        if step.goal {
            let at = self.now + plan.design.link + hold;
            self.queue.push(at, Event::Goal(packet));
            // What goes on is the answer.
            packet.carry = NO_CARRY;
        }
        let at = self.now + step.lag + hold;
        if at <= self.now && !others {
            return self.enter(packet, delay);
        }
        self.queue.push(at, Event::Enter(packet, delay));
    }

    /// What the adversary does to a packet on a link: how long it is held back, or `None` if it is gone.
    #[inline(always)]
    fn link(&mut self, to: Option<u32>, packet: &Packet, class: Class) -> Option<f64> {
        match self.watch.on_link(self.now, to, packet, class) {
            Fate::Pass => Some(0.0),
            Fate::Hold(time) => Some(time.max(0.0)),
            Fate::Drop => {
                self.outcome.dropped += 1;
                self.under_way -= 1;
                self.rows.take(packet.carry);
                None
            }
        }
    }

    #[inline(never)]
    pub(super) fn goal(&mut self, packet: Packet) {
        let row = self.rows.take(packet.carry);
        self.deliver(&packet, &row);
    }

    #[inline(never)]
    pub(super) fn end(&mut self, packet: Packet) {
        let row = self.rows.take(packet.carry);
        self.outcome.arrived += 1;
        self.under_way -= 1;
        self.deliver(&packet, &row);
    }

    #[inline]
    fn deliver(&mut self, packet: &Packet, row: &[f64; T]) {
        let class = self.plan.path_of(packet).class;
        if class == Class::Payload && packet.sent >= self.warm {
            self.plan.record(&mut self.outcome, self.now, packet);
        }
        if T > 0 {
            self.ledger.deposit(self.now, packet, row);
        }
        self.watch
            .delivered(self.now, packet, class, row, &mut self.orders);
        self.obey();
    }

    /// A packet is in a node.
    #[inline(always)]
    pub(super) fn enter(&mut self, mut packet: Packet, delay: f64) {
        self.outcome.hop_events += 1;
        let node = self.plan.node_of(&packet);
        // Without targets nobody asks for pools.
        if T > 0 {
            let pool = &mut self.pools[self.plan.pool_of(&packet)];
            pool.n += 1;
            if !pool.shows && packet.carry != NO_CARRY {
                let row = self.rows.take(packet.carry);
                packet.carry = NO_CARRY;
                for (sum, more) in pool.mass.iter_mut().zip(row) {
                    *sum += more;
                }
            }
        }
        let held = &mut self.held[node as usize];
        *held += 1;
        self.watch.entered(self.now, node, &packet, *held);
        let leaving = match self.plan.design.mixing {
            Mixing::None | Mixing::Poisson { .. } => {
                return self.queue.push(self.now + delay, Event::Leave(packet));
            }
            Mixing::Threshold { size } => (size, size),
            Mixing::Pool { size, kept } => (size + kept, size),
            Mixing::Timed { .. } => (u32::MAX, 0),
        };
        self.gather(node, packet, leaving);
    }

    /// A packet is in a batch mix, which sends so many as soon as there are as many as it wants.
    #[inline(never)]
    fn gather(&mut self, node: u32, packet: Packet, (full, leaving): (u32, u32)) {
        if self.batches[node as usize].add(packet) >= full as usize {
            self.flush(node, leaving as usize);
        }
    }

    /// A packet leaves a mix that holds each one back by itself.
    #[inline(always)]
    pub(super) fn leave(&mut self, mut packet: Packet, drawn: Option<Draw>) {
        self.outcome.hop_events += 1;
        let node = self.plan.node_of(&packet);
        if T > 0 {
            let pool = &mut self.pools[self.plan.pool_of(&packet)];
            if !pool.shows {
                let share = 1.0 / f64::from(pool.n);
                let mut row = pool.mass;
                for (mine, all) in row.iter_mut().zip(&mut pool.mass) {
                    *mine *= share;
                    *all -= *mine;
                }
                packet.carry = self.rows.put(&row);
            }
            pool.n -= 1;
            if pool.n == 0 {
                pool.mass = [0.0; T];
            }
        }
        let held = &mut self.held[node as usize];
        *held -= 1;
        self.watch.departed(self.now, node, &packet, *held);
        packet.hop += 1;
        self.go(packet, false, drawn);
    }

    #[inline(never)]
    pub(super) fn flush_timed(&mut self, node: u32) {
        let Mixing::Timed { period } = self.plan.design.mixing else {
            return;
        };
        if !self.over || self.under_way > 0 {
            self.queue.push(self.now + period, Event::Flush(node));
        }
        let all = self.batches[node as usize].len();
        self.flush(node, all);
    }

    /// So many of a batch leave, at random.
    #[inline(never)]
    fn flush(&mut self, node: u32, leaving: usize) {
        let leaving = self.batches[node as usize].take(leaving);
        self.outcome.hop_events += leaving.len() as u64;
        let stay = &mut self.held[node as usize];
        *stay -= leaving.len() as u32;
        let stay = *stay;
        if T == 0 {
            for mut packet in leaving {
                self.watch.departed(self.now, node, &packet, stay);
                packet.hop += 1;
                self.go(packet, true, None);
            }
            return;
        }
        let pools = self.plan.pools_of(node);
        let first = pools.start;
        let share = |pool: &Pool<T>| {
            let share = 1.0 / f64::from(pool.n.max(1));
            pool.mass.map(|mass| mass * share)
        };
        let rows: Vec<[f64; T]> = self.pools[pools.clone()].iter().map(share).collect();
        for packet in &leaving {
            let at = self.plan.pool_of(packet);
            let pool = &mut self.pools[at];
            for (all, mine) in pool.mass.iter_mut().zip(&rows[at - first]) {
                *all -= mine;
            }
            pool.n -= 1;
        }
        for pool in &mut self.pools[pools] {
            if pool.n == 0 {
                pool.mass = [0.0; T];
            }
        }
        for mut packet in leaving {
            let at = self.plan.pool_of(&packet);
            if !self.pools[at].shows {
                packet.carry = self.rows.put(&rows[at - first]);
            }
            self.watch.departed(self.now, node, &packet, stay);
            packet.hop += 1;
            self.go(packet, true, None);
        }
    }
}
