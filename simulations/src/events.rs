//! The event engine without cores: one event after the other, from a calendar queue. It does what the sweep does,
//! packet for packet, and what the sweep cannot: batch mixes, and an adversary or a protocol that acts on what it
//! sees ([`Watch`]): holds packets back, drops them, injects some, sets timers.
//!
//! Of two things at the same time the one that was ordered first comes first. What a packet does from node to node is in
//! `events/steps.rs`.

mod batches;
mod queue;
mod steps;
mod watch;

pub use queue::Calendar;
pub use watch::{Fate, Orders, Watch, Watching};

use crate::design::{Design, DesignError, Draw, Mixing, ORDERED_BIT, Packet, Plan};
use crate::message::{Class, Message};
use crate::outcome::{Ledger, Options, Outcome};
use crate::random::{Purpose, Stream};
use crate::rows::Rows;
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

/// What happens. A packet is moved with its event: whatever waits in the queue is all that is known of it.
#[derive(Clone, Copy)]
enum Event {
    /// A packet of the workload is sent.
    Send(Packet),
    /// A node, of the source with this index, sends a loop.
    Loop(u32),
    /// A packet has reached its goal; its answer goes on by itself.
    Goal(Packet),
    /// A packet has come to its end.
    End(Packet),
    /// A packet is in a node, which will hold it back for so long.
    Enter(Packet, f64),
    /// A packet leaves a node that holds each one back by itself.
    Leave(Packet),
    /// A timed mix sends all that it has.
    Flush(u32),
    /// The timer with this index rings.
    Timer(u32),
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
    queue: Calendar<Event>,
    /// What the day's packets draw next, by their number in the queue: drawn for all of them together, which a processor
    /// does several times as fast as one by one.
    drawn: Vec<Draw>,
    /// Of packets that carry mass.
    rows: Rows<T>,
    /// Kept only where there are targets.
    pools: Vec<Pool<T>>,
    /// Packets in each node, whatever their pool.
    held: Vec<u32>,
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
    ordered: u64,
    under_way: u64,
    /// Messages that are in the queue, and when the last one was written.
    unsent: u64,
    last_message: f64,
    /// The workload's last message was sent, or somebody ordered to stop.
    over: bool,
}

impl<'a, const T: usize, I: Iterator<Item = Message>, W: Watch<T>> Events<'a, T, I, W> {
    /// A network in which nothing has happened.
    pub fn new(plan: &'a Plan, mut messages: I, options: &'a Options, watch: &'a mut W) -> Self {
        let sample: Vec<_> = messages.by_ref().take(SAMPLE).collect();
        let pace = Pace::of(&sample, options);
        let way = plan.mean_way(pace.rate);
        let nodes = plan.corrupt.len() as u32;
        let pool = |shows| Pool {
            mass: [0.0; T],
            n: 0,
            shows,
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
            drawn: Vec::new(),
            messages: sample.into_iter().chain(messages).peekable(),
            rows: Rows::new(),
            pools: plan.pools_that_show().into_iter().map(pool).collect(),
            held: vec![0; nodes as usize],
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
            ordered: 0,
            under_way: 0,
            unsent: 0,
            last_message: 0.0,
            over: false,
        };
        engine.begin();
        engine
    }

    fn begin(&mut self) {
        for (i, source) in self.sources.iter_mut().enumerate() {
            let first = source.stream.exponential(source.gap);
            self.queue.push(first, Event::Loop(i as u32));
        }
        if let Mixing::Timed { period } = self.plan.design.mixing {
            for (node, batch) in self.batches.iter_mut().enumerate() {
                let first = batch.phase(period);
                self.queue.push(first, Event::Flush(node as u32));
            }
        }
        self.watch.begin(&mut self.orders);
        self.obey();
    }

    /// Now.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Packets that a node holds, and the mass there of each tracked message.
    pub fn pool(&self, node: u32) -> (u32, [f64; T]) {
        let mut mass = [0.0; T];
        for pool in &self.pools[self.plan.pools_of(node)] {
            for (sum, more) in mass.iter_mut().zip(&pool.mass) {
                *sum += more;
            }
        }
        (self.held[node as usize], mass)
    }

    /// Packets under way.
    pub fn under_way(&self) -> u64 {
        self.under_way
    }

    /// Events so far: whatever has come out of the queue.
    pub fn events(&self) -> u64 {
        self.queue.popped()
    }

    /// Entries to and departures from nodes so far.
    pub fn hops(&self) -> u64 {
        self.outcome.hop_events
    }

    /// Lets time pass until `end`, or until there is nothing left to measure. Says whether there is more to come.
    pub fn run_until(&mut self, end: f64) -> Result<bool, DesignError> {
        loop {
            let Some(popped) = self.queue.pop_today(end) else {
                if self.open_day(end)? {
                    continue;
                }
                break;
            };
            self.now = popped.time;
            self.happen(popped.place, popped.number);
            if self.queue.popped().is_multiple_of(CHECK_EVERY) {
                self.look();
                if self.ledger.enough() && self.options.targets > 0 {
                    return Ok(false);
                }
            }
            if self.over && (!self.options.drain || self.under_way == 0) {
                break;
            }
        }
        if end.is_finite() && !self.over {
            self.now = end;
        }
        Ok(!self.over)
    }

    /// Goes on to the queue's next day, and puts there what the workload sends on it. Says whether there was one.
    fn open_day(&mut self, end: f64) -> Result<bool, DesignError> {
        let next = self.messages.peek().map_or(f64::INFINITY, |m| m.time);
        if !self.queue.advance(end, next) {
            return Ok(false);
        }
        let queue = &mut self.queue;
        while let Some(message) = self.messages.next_if(|m| queue.is_due(m.time)) {
            if message.time < self.last_message {
                self.over = true;
                return Err(DesignError(format!(
                    "messages out of order: {}s comes after {}s",
                    message.time, self.last_message
                )));
            }
            self.last_message = message.time;
            self.unsent += 1;
            let packet = self.plan.packet(self.next_id, &message);
            self.next_id += 1;
            queue.add(message.time, Event::Send(packet));
        }
        queue.open();
        // Of what draws nothing, anything.
        let next = queue.today().map(|event| match event {
            Event::Leave(packet) => (packet.id, packet.hop + 1),
            Event::Send(packet) | Event::Enter(packet, _) | Event::Goal(packet) => (packet.id, 0),
            Event::End(packet) => (packet.id, 0),
            Event::Loop(_) | Event::Flush(_) | Event::Timer(_) => (0, 0),
        });
        self.plan.draw_all(next, &mut self.drawn);
        Ok(true)
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
            self.rows.clear();
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
            self.queue.push(at.max(self.now), Event::Timer(index));
        }
        for message in std::mem::take(&mut self.orders.messages) {
            let packet = self.plan.packet(ORDERED_BIT | self.ordered, &message);
            self.ordered += 1;
            self.send(packet, message.class, None);
        }
    }

    /// Packets are copied out of the queue and into it, and stay in registers meanwhile: so what happens often is
    /// inlined here, and what happens seldom is not.
    #[inline(always)]
    fn happen(&mut self, place: u32, number: usize) {
        match *self.queue.event(place) {
            Event::Leave(packet) => {
                let drawn = self.drawn.get(number).copied();
                self.leave(packet, drawn);
            }
            Event::Enter(packet, delay) => self.enter(packet, delay),
            Event::Send(packet) => self.send_next(packet, number),
            Event::End(packet) => self.end(packet),
            Event::Goal(packet) => self.goal(packet),
            Event::Loop(source) => self.send_loop(source as usize),
            Event::Flush(node) => self.flush_timed(node),
            Event::Timer(index) => {
                let label = self.timers[index as usize];
                self.watch.timer(self.now, label, &mut self.orders);
                self.obey();
            }
        }
    }

    #[inline(never)]
    fn send_next(&mut self, packet: Packet, number: usize) {
        let class = self.plan.path_of(&packet).class;
        let drawn = self.drawn.get(number).copied();
        self.send(packet, class, drawn);
        self.unsent -= 1;
        if self.unsent == 0 && self.messages.peek().is_none() {
            self.over = true;
        }
    }

    #[inline(never)]
    fn send_loop(&mut self, i: usize) {
        if self.over {
            return;
        }
        let source = &mut self.sources[i];
        let node = source.stream.below(u64::from(source.nodes)) as u32;
        let packet = self.plan.loop_packet(i, source.count, node, self.now);
        source.count += 1;
        let next = self.now + source.stream.exponential(source.gap);
        self.queue.push(next, Event::Loop(i as u32));
        self.send(packet, Class::NodeLoop, None);
    }

    #[inline(always)]
    fn send(&mut self, mut packet: Packet, class: Class, drawn: Option<Draw>) {
        self.outcome.sent[class as usize] += 1;
        self.under_way += 1;
        if T > 0
            && let Some(lane) = self.watch.lane(&packet, class)
            && lane < T
        {
            let mut row = [0.0; T];
            row[lane] = 1.0;
            packet.carry = self.rows.put(&row);
        } else if T > 0 && packet.sent >= self.warm {
            self.ledger.open(self.chance, self.rest);
            if let Some(lane) = self.ledger.take(&packet, class) {
                let mut row = [0.0; T];
                row[lane] = 1.0;
                packet.carry = self.rows.put(&row);
                if self.opened.is_infinite() {
                    self.opened = packet.sent;
                }
            }
        }
        self.watch.sent(self.now, &packet, class, &mut self.orders);
        self.go(packet, false, drawn);
        self.obey();
    }
}
