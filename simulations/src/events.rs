//! The event engine without cores: one event after the other, from a calendar queue. It does what the sweep does,
//! packet for packet, and what the sweep cannot: batch mixes, and an adversary or a protocol that acts on what it
//! sees ([`Watch`]): holds packets back, drops them, injects some, sets timers.

mod batches;
mod queue;

pub use queue::Calendar;

use crate::design::{Design, DesignError, Mixing, NO_CARRY, Packet, Plan};
use crate::message::{Class, Message};
use crate::outcome::{Ledger, Options, Outcome, Probe};
use crate::random::{Purpose, Stream};
use crate::sweep::Pace;
use batches::Batch;

/// So many messages are looked at to learn the rate.
const SAMPLE: usize = 4_096;
/// Posteriors are looked at for completeness once in so many events.
const CHECK_EVERY: u64 = 1 << 10;
/// Those that are not complete after so many mean ways are given up.
const PATIENCE: f64 = 200.0;
/// Mass in a pool below this is forgotten, as in the sweep.
const FORGOTTEN: f64 = 1e-40;

/// What becomes of a packet on a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// It comes so much later.
    Hold(f64),
}

/// What an adversary, or a protocol around the network, wants done.
#[derive(Default, Debug)]
pub struct Orders {
    messages: Vec<Message>,
    timers: Vec<(f64, u64)>,
    stop: bool,
}

impl Orders {
    /// Sends a packet, not before now.
    pub fn send(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Calls [`Watch::timer`] at a moment.
    pub fn wake(&mut self, at: f64, label: u64) {
        self.timers.push((at, label));
    }

    /// Ends the run.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    fn any(&self) -> bool {
        self.stop || !self.messages.is_empty() || !self.timers.is_empty()
    }
}

/// Who looks on, and may act. Everything comes in the order of time.
pub trait Watch<const T: usize> {
    /// Before anything happens.
    fn begin(&mut self, _orders: &mut Orders) {}
    /// A packet was sent.
    fn sent(&mut self, _now: f64, _packet: &Packet, _class: Class, _orders: &mut Orders) {}
    /// A packet sets out for a node (by number), or for its end.
    fn on_link(&mut self, _now: f64, _to: Option<u32>, _packet: &Packet, _class: Class) -> Fate {
        Fate::Pass
    }
    /// A packet is in a node now, in whose pool there are so many.
    fn entered(&mut self, _now: f64, _node: u32, _packet: &Packet, _pool: u32) {}
    /// A packet has left a node, in whose pool so many stay.
    fn departed(&mut self, _now: f64, _node: u32, _packet: &Packet, _stay: u32) {}
    /// A packet has reached its goal or its end.
    fn delivered(
        &mut self,
        _now: f64,
        _packet: &Packet,
        _class: Class,
        _mass: &[f64; T],
        _orders: &mut Orders,
    ) {
    }
    /// A timer rang.
    fn timer(&mut self, _now: f64, _label: u64, _orders: &mut Orders) {}
}

/// Nobody.
impl<const T: usize> Watch<T> for () {}

/// Somebody who only looks on.
pub struct Watching<'a, P>(pub &'a mut P);

impl<const T: usize, P: Probe<T>> Watch<T> for Watching<'_, P> {
    fn departed(&mut self, now: f64, node: u32, packet: &Packet, stay: u32) {
        self.0.departed(now, node, packet, stay);
    }
    fn delivered(
        &mut self,
        now: f64,
        packet: &Packet,
        class: Class,
        mass: &[f64; T],
        _orders: &mut Orders,
    ) {
        self.0.delivered(now, packet, class, mass);
    }
}

/// Runs a workload through a design. `T` messages are tracked at a time; with 0, none.
pub fn run<const T: usize>(
    design: &Design,
    messages: impl Iterator<Item = Message>,
    options: &Options,
    watch: &mut impl Watch<T>,
) -> Result<Outcome, DesignError> {
    let plan = Plan::new(design, options.seed)?;
    let mut engine = Events::new(&plan, messages, options, watch);
    engine.run_until(f64::INFINITY)?;
    Ok(engine.finish())
}

/// What happens, in 64 bits: kind (8) ‖ order among simultaneous ones (24) ‖ whose (32). Of two at the same time the lower
/// comes first: arrivals before departures.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Send = 0,
    Loop = 1,
    Goal = 2,
    End = 3,
    Enter = 4,
    Leave = 5,
    Flush = 6,
    Timer = 7,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Send,
        Self::Loop,
        Self::Goal,
        Self::End,
        Self::Enter,
        Self::Leave,
        Self::Flush,
        Self::Timer,
    ];

    fn of(self, whose: u32) -> u64 {
        (self as u64) << 56 | u64::from(whose)
    }
}

struct Slot {
    packet: Packet,
    /// Exponential delay at the node it is at or on its way to.
    delay: f64,
}

struct Pool<const T: usize> {
    mass: [f64; T],
    n: u32,
    shows: bool,
}

struct Source {
    stream: Stream,
    gap: f64,
    nodes: u32,
    count: u64,
}

/// A network under way.
pub struct Events<'a, const T: usize, I: Iterator<Item = Message>, W> {
    plan: &'a Plan,
    options: &'a Options,
    watch: &'a mut W,
    orders: Orders,
    messages: std::iter::Peekable<std::iter::Chain<std::vec::IntoIter<Message>, I>>,
    queue: Calendar,
    slots: Vec<Slot>,
    rows: Vec<[f64; T]>,
    free: Vec<u32>,
    pools: Vec<Pool<T>>,
    batches: Vec<Batch>,
    sources: Vec<Source>,
    timers: Vec<u64>,
    ledger: Ledger<T>,
    outcome: Outcome,
    now: f64,
    warm: f64,
    chance: f64,
    rest: f64,
    patience: f64,
    opened: f64,
    next_id: u64,
    under_way: u64,
    events: u64,
    /// The workload's last message was sent, or somebody ordered to stop.
    over: bool,
    failed: Option<DesignError>,
}

impl<'a, const T: usize, I: Iterator<Item = Message>, W: Watch<T>> Events<'a, T, I, W> {
    /// A network in which nothing has happened.
    pub fn new(plan: &'a Plan, mut messages: I, options: &'a Options, watch: &'a mut W) -> Self {
        let sample: Vec<_> = messages.by_ref().take(SAMPLE).collect();
        let pace = Pace::of(&sample, options);
        let way = plan.mean_way(pace.rate);
        let nodes = plan.corrupt.len() as u32;
        let pool = |node| Pool {
            mass: [0.0; T],
            n: 0,
            shows: plan.shows(node),
        };
        let source = |(i, (_, nodes, rate)): (usize, &(u8, u32, f64))| Source {
            stream: Stream::new(options.seed, Purpose::NODE_LOOP, i as u64),
            gap: 1.0 / (f64::from(*nodes) * rate),
            nodes: *nodes,
            count: 0,
        };
        let hops = plan.paths[0].steps.len() as f64;
        let mut engine = Self {
            plan,
            options,
            watch,
            orders: Orders::default(),
            queue: Calendar::new(1.0 / (2.0 * hops * pace.rate)),
            messages: sample.into_iter().chain(messages).peekable(),
            slots: Vec::new(),
            rows: Vec::new(),
            free: Vec::new(),
            pools: (0..nodes).map(pool).collect(),
            batches: (0..nodes).map(|n| Batch::new(n, options.seed)).collect(),
            sources: plan.loops.iter().enumerate().map(source).collect(),
            timers: Vec::new(),
            ledger: Ledger::new(options),
            outcome: Outcome::default(),
            now: 0.0,
            warm: pace.warm_up(plan, options),
            chance: pace.chance::<T>(way),
            rest: pace.rest(plan),
            patience: PATIENCE * way,
            opened: f64::INFINITY,
            next_id: 0,
            under_way: 0,
            events: 0,
            over: false,
            failed: None,
        };
        engine.begin();
        engine
    }

    fn begin(&mut self) {
        if let Some(first) = self.messages.peek() {
            self.queue.push(first.time, Kind::Send.of(0));
        }
        for (i, source) in self.sources.iter_mut().enumerate() {
            let first = source.stream.exponential(source.gap);
            self.queue.push(first, Kind::Loop.of(i as u32));
        }
        if let Mixing::Timed { period } = self.plan.design.mixing {
            for (node, batch) in self.batches.iter_mut().enumerate() {
                self.queue
                    .push(batch.phase(period), Kind::Flush.of(node as u32));
            }
        }
        self.watch.begin(&mut self.orders);
        self.obey();
    }

    /// Now.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Packets in a node's pool, and the mass there of each tracked message.
    pub fn pool(&self, node: u32) -> (u32, &[f64; T]) {
        let pool = &self.pools[node as usize];
        (pool.n, &pool.mass)
    }

    /// Packets under way.
    pub fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Events so far, hops and others.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Entries to and departures from nodes so far.
    pub fn hops(&self) -> u64 {
        self.outcome.hop_events
    }

    /// Lets time pass until `end`, or until there is nothing left to measure. Says whether there is more to come.
    pub fn run_until(&mut self, end: f64) -> Result<bool, DesignError> {
        while let Some((time, event)) = self.queue.pop(end) {
            self.now = time;
            self.happen(event);
            self.events += 1;
            if self.events.is_multiple_of(CHECK_EVERY) {
                self.look();
                if self.ledger.enough() && self.options.targets > 0 {
                    return Ok(false);
                }
            }
            if self.over && (!self.options.drain || self.under_way == 0) {
                break;
            }
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if end.is_finite() && !self.over {
            self.now = end;
        }
        Ok(!self.over)
    }

    /// What came of it.
    pub fn finish(mut self) -> Outcome {
        self.outcome.cut_off += self.ledger.close();
        self.outcome.ran = self.now;
        self.outcome.tracked = self.ledger.into_tracked();
        self.outcome
    }

    fn look(&mut self) {
        let most = &mut self.outcome.most_under_way;
        *most = (*most).max(self.under_way);
        if T == 0 {
            return;
        }
        if self.ledger.complete() || self.now - self.opened > self.patience {
            self.outcome.cut_off += self.ledger.close();
            self.opened = f64::INFINITY;
            for pool in &mut self.pools {
                pool.mass = [0.0; T];
            }
            self.rows.fill([0.0; T]);
        }
        for pool in &mut self.pools {
            for mass in &mut pool.mass {
                if *mass < FORGOTTEN {
                    *mass = 0.0;
                }
            }
        }
    }

    fn obey(&mut self) {
        if !self.orders.any() {
            return;
        }
        self.over |= self.orders.stop;
        for (at, label) in std::mem::take(&mut self.orders.timers) {
            self.timers.push(label);
            let index = (self.timers.len() - 1) as u32;
            self.queue.push(at.max(self.now), Kind::Timer.of(index));
        }
        for message in std::mem::take(&mut self.orders.messages) {
            let packet = self.plan.packet(self.next_id, &message);
            self.next_id += 1;
            self.send(packet, message.class);
        }
    }

    #[inline]
    fn happen(&mut self, event: u64) {
        let whose = event as u32;
        match Kind::ALL[(event >> 56) as usize & 7] {
            Kind::Send => self.send_next(),
            Kind::Loop => self.send_loop(whose as usize),
            Kind::Goal => self.goal(whose),
            Kind::End => self.end(whose),
            Kind::Enter => self.enter(whose),
            Kind::Leave => self.leave(whose),
            Kind::Flush => self.flush_timed(whose),
            Kind::Timer => {
                let label = self.timers[whose as usize];
                self.watch.timer(self.now, label, &mut self.orders);
                self.obey();
            }
        }
    }

    fn send_next(&mut self) {
        let Some(message) = self.messages.next() else {
            return;
        };
        let packet = self.plan.packet(self.next_id, &message);
        self.next_id += 1;
        self.send(packet, message.class);
        match self.messages.peek() {
            Some(next) if next.time < message.time => {
                let why = format!(
                    "messages out of order: {}s comes after {}s",
                    next.time, message.time
                );
                self.failed = Some(DesignError(why));
                self.over = true;
            }
            Some(next) => self.queue.push(next.time, Kind::Send.of(0)),
            None => self.over = true,
        }
    }

    fn send_loop(&mut self, i: usize) {
        if self.over {
            return;
        }
        let source = &mut self.sources[i];
        let node = source.stream.below(u64::from(source.nodes)) as u32;
        let packet = self.plan.loop_packet(i, source.count, node, self.now);
        source.count += 1;
        let next = self.now + source.stream.exponential(source.gap);
        self.queue.push(next, Kind::Loop.of(i as u32));
        self.send(packet, Class::NodeLoop);
    }

    fn send(&mut self, packet: Packet, class: Class) {
        self.outcome.sent[class as usize] += 1;
        self.under_way += 1;
        let mut row = [0.0; T];
        if T > 0 && packet.sent >= self.warm {
            self.ledger.open(self.chance, self.rest);
            if let Some(lane) = self.ledger.take(&packet, class) {
                row[lane] = 1.0;
                if self.opened.is_infinite() {
                    self.opened = packet.sent;
                }
            }
        }
        let slot = self.put(packet, row);
        self.watch.sent(self.now, &packet, class, &mut self.orders);
        self.go(slot);
        self.obey();
    }

    fn put(&mut self, packet: Packet, row: [f64; T]) -> u32 {
        let slot = Slot { packet, delay: 0.0 };
        if let Some(free) = self.free.pop() {
            self.slots[free as usize] = slot;
            self.rows[free as usize] = row;
            return free;
        }
        self.slots.push(slot);
        self.rows.push(row);
        (self.slots.len() - 1) as u32
    }

    /// A packet sets out for the step it has been put to, or for its end.
    #[inline]
    fn go(&mut self, slot: u32) {
        self.go_among(slot, 0);
    }

    /// The same, with a place among those that set out at the same time.
    #[inline]
    fn go_among(&mut self, slot: u32, order: u64) {
        let plan = self.plan;
        let Slot { packet, delay } = &mut self.slots[slot as usize];
        let path = &plan.paths[usize::from(packet.path)];
        let order = order << 32;
        let Some(step) = path.steps.get(usize::from(packet.hop)) else {
            let packet = *packet;
            let Some(hold) = self.link(slot, None, &packet, path.class) else {
                return;
            };
            let at = self.now + path.last_lag + hold;
            return self.queue.push(at, Kind::End.of(slot) | order);
        };
        *delay = plan.enter(packet, step);
        let (packet, node) = (*packet, plan.stages[usize::from(step.stage)].first);
        let to = node + u32::from(packet.node);
        let Some(hold) = self.link(slot, Some(to), &packet, path.class) else {
            return;
        };
        if step.goal {
            let at = self.now + plan.design.link + hold;
            self.queue.push(at, Kind::Goal.of(slot) | order);
        }
        let at = self.now + step.lag + hold;
        if at <= self.now && order == 0 {
            return self.enter(slot);
        }
        self.queue.push(at, Kind::Enter.of(slot) | order);
    }

    /// What the adversary does to a packet on a link: how long it is held back, or `None` if it is gone.
    #[inline]
    fn link(&mut self, slot: u32, to: Option<u32>, packet: &Packet, class: Class) -> Option<f64> {
        match self.watch.on_link(self.now, to, packet, class) {
            Fate::Pass => Some(0.0),
            Fate::Hold(time) => Some(time.max(0.0)),
            Fate::Drop => {
                self.outcome.dropped += 1;
                self.under_way -= 1;
                self.free.push(slot);
                None
            }
        }
    }

    fn goal(&mut self, slot: u32) {
        let row = std::mem::replace(&mut self.rows[slot as usize], [0.0; T]);
        let packet = self.slots[slot as usize].packet;
        self.deliver(&packet, &row);
    }

    fn end(&mut self, slot: u32) {
        let (row, packet) = (self.rows[slot as usize], self.slots[slot as usize].packet);
        self.free.push(slot);
        self.outcome.arrived += 1;
        self.under_way -= 1;
        self.deliver(&packet, &row);
    }

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
    #[inline]
    fn enter(&mut self, slot: u32) {
        self.outcome.hop_events += 1;
        let Slot { packet, delay } = &mut self.slots[slot as usize];
        packet.carry = NO_CARRY;
        let (delay, packet) = (*delay, *packet);
        let node = self.plan.node_of(&packet);
        let pool = &mut self.pools[node as usize];
        pool.n += 1;
        if T > 0 && !pool.shows {
            let row = &mut self.rows[slot as usize];
            for (sum, more) in pool.mass.iter_mut().zip(row.iter_mut()) {
                *sum += *more;
                *more = 0.0;
            }
        }
        let n = pool.n;
        self.watch.entered(self.now, node, &packet, n);
        match self.plan.design.mixing {
            Mixing::None | Mixing::Poisson { .. } => {
                self.queue.push(self.now + delay, Kind::Leave.of(slot));
            }
            Mixing::Threshold { size } => {
                if self.batches[node as usize].add(slot) >= size as usize {
                    self.flush(node, size as usize);
                }
            }
            Mixing::Pool { size, kept } => {
                if self.batches[node as usize].add(slot) >= (size + kept) as usize {
                    self.flush(node, size as usize);
                }
            }
            Mixing::Timed { .. } => {
                self.batches[node as usize].add(slot);
            }
        }
    }

    /// A packet leaves a mix that holds each one back by itself.
    #[inline]
    fn leave(&mut self, slot: u32) {
        self.outcome.hop_events += 1;
        let packet = self.slots[slot as usize].packet;
        let node = self.plan.node_of(&packet);
        let pool = &mut self.pools[node as usize];
        if T > 0 && !pool.shows {
            let share = 1.0 / f64::from(pool.n);
            let mut row = pool.mass;
            for (mine, all) in row.iter_mut().zip(&mut pool.mass) {
                *mine *= share;
                *all -= *mine;
            }
            self.rows[slot as usize] = row;
        }
        pool.n -= 1;
        if pool.n == 0 {
            pool.mass = [0.0; T];
        }
        let stay = pool.n;
        self.watch.departed(self.now, node, &packet, stay);
        self.slots[slot as usize].packet.hop += 1;
        self.go(slot);
    }

    fn flush_timed(&mut self, node: u32) {
        let Mixing::Timed { period } = self.plan.design.mixing else {
            return;
        };
        if !self.over || self.under_way > 0 {
            self.queue.push(self.now + period, Kind::Flush.of(node));
        }
        let all = self.batches[node as usize].len();
        self.flush(node, all);
    }

    /// So many of a batch leave, at random.
    fn flush(&mut self, node: u32, leaving: usize) {
        let leaving = self.batches[node as usize].take(leaving);
        self.outcome.hop_events += leaving.len() as u64;
        let pool = &mut self.pools[node as usize];
        let share = 1.0 / f64::from(pool.n.max(1));
        let row = pool.mass.map(|mass| mass * share);
        let shows = pool.shows;
        for _ in &leaving {
            for (all, mine) in pool.mass.iter_mut().zip(&row) {
                *all -= mine;
            }
            pool.n -= 1;
        }
        if pool.n == 0 {
            pool.mass = [0.0; T];
        }
        let stay = pool.n;
        for (order, slot) in (1..).zip(leaving) {
            if !shows {
                self.rows[slot as usize] = row;
            }
            let packet = self.slots[slot as usize].packet;
            self.watch.departed(self.now, node, &packet, stay);
            self.slots[slot as usize].packet.hop += 1;
            self.go_among(slot, order);
        }
    }
}
