//! The layered sweep: exact, without a heap or an event list. Time is cut into windows; within a window each
//! stage's arrivals and departures are sorted once and swept in order, and what leaves a stage is what arrives at the
//! next, in this window or a later one.
//!
//! That is exact as long as nothing comes back to a stage, or to an earlier one, within the window in which it left: a
//! design whose packets come back (echoes, loops, free routes) needs a constant lag on each link back,
//! and the window is no longer than the shortest of them ([`Plan::lookahead`]). It holds Poisson mixes and
//! onion routers; batches are for [`crate::events`].
//!
//! Nothing is stored but what is under way, so a run may last as long as it likes. A message's mass is a
//! row of `T` numbers that stays with a pool, not with a packet: an honest mix forgets which packet brought it.
//! What is smaller than 10⁻⁴⁰ in a pool is forgotten, which keeps denormal numbers away and shows as missing mass.

mod ring;

use crate::chunks::{Chunks, List};
use crate::design::{Design, DesignError, Mixing, NO_CARRY, Packet, Plan, Step};
use crate::message::{Class, Message};
use crate::outcome::{Ledger, Options, Outcome, Probe};
use crate::random::{Purpose, Stream};
use crate::rows::Rows;
use crate::sort::{Key, Sorter};
use ring::Ring;

/// A window holds about so many events of a stage: they stay in the cache.
const EVENTS_IN_WINDOW: f64 = 6_000.0;
/// So many messages are looked at to learn the rate before the first window.
const SAMPLE: usize = 4_096;
/// Mass in a pool below this is forgotten.
const FORGOTTEN: f64 = 1e-40;
/// Posteriors that are not complete after so many mean ways are given up.
const PATIENCE: f64 = 200.0;

/// Runs a workload through a design. `T` messages are tracked at a time, 8 being a good number.
pub fn run<const T: usize>(
    design: &Design,
    messages: impl Iterator<Item = Message>,
    options: &Options,
    probe: &mut impl Probe<T>,
) -> Result<Outcome, DesignError> {
    let plan = Plan::new(design, options.seed)?;
    run_plan(&plan, messages, options, probe)
}

/// The same with a plan whose corrupt nodes are placed already.
pub fn run_plan<const T: usize>(
    plan: &Plan,
    mut messages: impl Iterator<Item = Message>,
    options: &Options,
    probe: &mut impl Probe<T>,
) -> Result<Outcome, DesignError> {
    match plan.design.mixing {
        Mixing::None | Mixing::Poisson { .. } => {}
        Mixing::Threshold { .. } | Mixing::Timed { .. } | Mixing::Pool { .. } => {
            let why = "the sweep holds no batch mixes: use engine = \"events\"";
            return Err(DesignError(why.into()));
        }
    }
    let lookahead = plan.lookahead() * 0.999;
    if lookahead < 1e-6 {
        let why = "packets of this design come back at once, which a sweep cannot do: \
                   give it a link or an allowance, or use engine = \"events\"";
        return Err(DesignError(why.into()));
    }
    let sample: Vec<_> = messages.by_ref().take(SAMPLE).collect();
    let pace = Pace::of(&sample, options);
    let mut sweep = Sweep::new(plan, options, pace, lookahead, probe);
    sweep.run(sample.into_iter().chain(messages))?;
    Ok(sweep.finish())
}

/// How fast a workload comes, as its first messages say.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Messages a second.
    pub(crate) rate: f64,
    /// Of those, the share that may be tracked.
    pub(crate) tracked: f64,
}

impl Pace {
    pub(crate) fn of(sample: &[Message], options: &Options) -> Self {
        let span = match sample {
            [first, .., last] => last.time - first.time,
            [] | [_] => 0.0,
        };
        let eligible = sample.iter().filter(|m| options.tracked.contains(&m.class));
        Self {
            rate: sample.len() as f64 / span.max(1e-3),
            tracked: eligible.count() as f64 / (sample.len().max(1) as f64),
        }
    }

    /// With this chance for each message, all lanes fill in about two mean ways.
    pub(crate) fn chance<const T: usize>(self, way: f64) -> f64 {
        (0.5 * T as f64 / (self.rate * self.tracked * way).max(1e-9)).min(1.0)
    }

    /// Messages that may be tracked in five mean delays: then a mix has forgotten what it held.
    pub(crate) fn rest(self, plan: &Plan) -> f64 {
        let hops = f64::from(plan.design.topology.hops());
        5.0 * self.rate * self.tracked * plan.mean_way(self.rate) / hops
    }

    pub(crate) fn warm_up(self, plan: &Plan, options: &Options) -> f64 {
        let way = plan.mean_way(self.rate);
        options.warm_up.unwrap_or(8.0 * way)
    }
}

struct Arrival {
    time: f64,
    /// Until its window has its turn, 64 random bits, from which that follows: many logarithms take less time together.
    leaves: f64,
    packet: Packet,
}

#[derive(Clone, Copy)]
struct Departure {
    time: f64,
    packet: Packet,
}

struct Arrivals<const T: usize> {
    items: Vec<Arrival>,
    rows: Vec<[f64; T]>,
}

impl<const T: usize> Default for Arrivals<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            rows: Vec::new(),
        }
    }
}

struct Pool<const T: usize> {
    mass: [f64; T],
    n: u32,
    shows: bool,
}

struct StageState<const T: usize> {
    arrivals: Ring<Arrivals<T>>,
    departures: Ring<List>,
    leaving: Chunks<Departure>,
    /// Those that leave after the ring's last window.
    late: Vec<Departure>,
}

struct Source {
    stream: Stream,
    next: f64,
    count: u64,
    nodes: u32,
    gap: f64,
}

struct Sweep<'a, const T: usize, P> {
    plan: &'a Plan,
    options: &'a Options,
    probe: &'a mut P,
    ledger: Ledger<T>,
    outcome: Outcome,
    stages: Vec<StageState<T>>,
    pools: Vec<Pool<T>>,
    /// Packets in each node, whatever their pool.
    held: Vec<u32>,
    /// Of packets inside nodes that show which is which.
    carried: Rows<T>,
    sources: Vec<Source>,
    sorter: Sorter,
    /// Those that leave in the present window.
    departing: Vec<Departure>,
    /// Length of a window, and its inverse.
    window: f64,
    per_second: f64,
    at: u64,
    tracing: bool,
    warm: f64,
    chance: f64,
    rest: f64,
    patience: f64,
    opened: f64,
    sent: u64,
    next_id: u64,
    last_message: f64,
}

impl<'a, const T: usize, P: Probe<T>> Sweep<'a, T, P> {
    fn new(
        plan: &'a Plan,
        options: &'a Options,
        pace: Pace,
        lookahead: f64,
        probe: &'a mut P,
    ) -> Self {
        let mean = plan.design.mean_delay().unwrap_or_default();
        let legs = plan.paths[0].steps.len() as f64 / plan.stages.len() as f64;
        let mut window = EVENTS_IN_WINDOW / (2.0 * legs * pace.rate);
        let way = plan.mean_way(pace.rate);
        window = window.min(lookahead).min((4.0 * mean).max(way)).max(1e-6);
        let ring = ((12.0 * mean / window) as usize + 2)
            .next_power_of_two()
            .min(8_192);
        let stage = |_| StageState {
            arrivals: Ring::new(
                ((plan.design.lag() * 4.0 / window) as usize + 4).next_power_of_two(),
            ),
            departures: Ring::new(ring),
            leaving: Chunks::new(),
            late: Vec::new(),
        };
        let pool = |shows| Pool {
            mass: [0.0; T],
            n: 0,
            shows,
        };
        let source = |(i, (_, nodes, rate)): (usize, &(u8, u32, f64))| {
            let gap = 1.0 / (f64::from(*nodes) * rate);
            let mut stream = Stream::new(options.seed, Purpose::NODE_LOOP, i as u64);
            let next = stream.exponential(gap);
            Source {
                stream,
                next,
                count: 0,
                nodes: *nodes,
                gap,
            }
        };
        Self {
            plan,
            options,
            probe,
            ledger: Ledger::new(options),
            outcome: Outcome::default(),
            stages: plan.stages.iter().map(stage).collect(),
            pools: plan.pools_that_show().into_iter().map(pool).collect(),
            held: vec![0; plan.corrupt.len()],
            carried: Rows::new(),
            sources: plan.loops.iter().enumerate().map(source).collect(),
            sorter: Sorter::default(),
            departing: Vec::new(),
            window,
            per_second: 1.0 / window,
            at: 0,
            tracing: false,
            warm: pace.warm_up(plan, options),
            chance: pace.chance::<T>(way),
            rest: pace.rest(plan),
            patience: (PATIENCE * way).max(10.0 * window),
            opened: f64::INFINITY,
            sent: 0,
            next_id: 0,
            last_message: 0.0,
        }
    }

    fn window_of(&self, time: f64) -> u64 {
        (time * self.per_second) as u64
    }

    fn run(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), DesignError> {
        let mut messages = messages.peekable();
        let mut over = false;
        loop {
            if !self.tracing && (self.at + 1) as f64 * self.window > self.warm {
                self.begin_tracing();
            }
            if !over {
                let (at, per_second) = (self.at, self.per_second);
                let due = |m: &Message| (m.time * per_second) as u64 <= at;
                while let Some(message) = messages.next_if(due) {
                    if message.time < self.last_message {
                        let why = format!(
                            "messages out of order: {}s comes after {}s",
                            message.time, self.last_message
                        );
                        return Err(DesignError(why));
                    }
                    self.last_message = message.time;
                    let packet = self.plan.packet(self.next_id, &message);
                    self.next_id += 1;
                    self.send(packet, message.class);
                }
                over = messages.peek().is_none();
                self.send_loops();
            }
            for stage in 0..self.stages.len() {
                self.sweep_stage(stage);
            }
            let under_way = self.sent - self.outcome.arrived;
            self.outcome.most_under_way = self.outcome.most_under_way.max(under_way);
            self.at += 1;
            let now = self.at as f64 * self.window;
            if self.tracing && (self.ledger.complete() || now - self.opened > self.patience) {
                self.close();
            }
            if self.ledger.enough() && self.options.targets > 0 {
                return Ok(());
            }
            if over && (under_way == 0 || !self.options.drain) {
                return Ok(());
            }
        }
    }

    /// From here on packets have rows.
    fn begin_tracing(&mut self) {
        self.tracing = true;
        self.ledger.open(self.chance, self.rest);
        for stage in &mut self.stages {
            for bucket in stage.arrivals.all() {
                bucket.rows.resize(bucket.items.len(), [0.0; T]);
            }
        }
    }

    fn close(&mut self) {
        self.outcome.cut_off += self.ledger.close();
        self.opened = f64::INFINITY;
        for pool in &mut self.pools {
            pool.mass = [0.0; T];
        }
        for stage in &mut self.stages {
            for bucket in stage.arrivals.all() {
                bucket.rows.fill([0.0; T]);
            }
        }
        self.carried.clear();
    }

    fn send(&mut self, mut packet: Packet, class: Class) {
        self.outcome.sent[class as usize] += 1;
        self.sent += 1;
        let mut row = [0.0; T];
        if self.tracing
            && packet.sent >= self.warm
            && let Some(lane) = self.ledger.take(&packet, class)
        {
            row[lane] = 1.0;
            if self.opened.is_infinite() {
                self.opened = packet.sent;
            }
        }
        let plan = self.plan;
        match plan.paths[usize::from(packet.path)].steps.first() {
            Some(step) => self.step(packet.sent, &mut packet, step, &row),
            None => self.arrive_at_end(packet.sent, &packet, class, &row),
        }
    }

    fn send_loops(&mut self) {
        let end = self.at;
        for i in 0..self.sources.len() {
            while self.window_of(self.sources[i].next) <= end {
                let source = &mut self.sources[i];
                let node = source.stream.below(u64::from(source.nodes)) as u32;
                let packet = self.plan.loop_packet(i, source.count, node, source.next);
                source.count += 1;
                source.next += source.stream.exponential(source.gap);
                self.send(packet, Class::NodeLoop);
            }
        }
    }

    /// On its way to `step`, which it left for at `time`.
    #[inline]
    fn step(&mut self, time: f64, packet: &mut Packet, step: &Step, row: &[f64; T]) {
        let delay = self.plan.enter_drawing(packet, step);
        let arrival = Arrival {
            time: time + step.lag,
            leaves: f64::from_bits(delay),
            packet: *packet,
        };
        let window = self.window_of(arrival.time);
        let stage = &mut self.stages[usize::from(step.stage)];
        let bucket = stage.arrivals.at(window);
        bucket.items.push(arrival);
        if self.tracing {
            bucket.rows.push(*row);
        }
    }

    fn sweep_stage(&mut self, stage: usize) {
        let (at, plan) = (self.at, self.plan);
        let state = &mut self.stages[stage];
        let mut arrivals = state.arrivals.take(at);
        let mut departures = std::mem::take(&mut self.departing);
        let list = state.departures.take(at);
        for (_, some) in state.leaving.read(list) {
            departures.extend_from_slice(some);
        }
        state.leaving.free(list);
        if state.departures.begins(at) {
            state.take_late(self.per_second, at, &mut departures);
        }
        for arrival in &mut arrivals.items {
            arrival.leaves = arrival.time + plan.delay(arrival.leaves.to_bits());
        }
        self.outcome.hop_events += arrivals.items.len() as u64;
        for (i, arrival) in arrivals.items.iter().enumerate() {
            let mut packet = arrival.packet;
            if self.tracing && self.pools[plan.pool_of(&packet)].shows {
                packet.carry = self.carried.put(&arrivals.rows[i]);
            }
            let departure = Departure {
                time: arrival.leaves,
                packet,
            };
            let window = (arrival.leaves * self.per_second) as u64;
            if window <= at {
                departures.push(departure);
            } else if let Some(list) = state.departures.within(window, at) {
                state.leaving.push(list, departure);
            } else {
                state.late.push(departure);
            }
        }
        self.outcome.hop_events += departures.len() as u64;
        if self.tracing {
            self.sweep_traced(stage, &arrivals, &departures);
        } else {
            for arrival in &arrivals.items {
                self.pools[plan.pool_of(&arrival.packet)].n += 1;
                self.held[plan.node_of(&arrival.packet) as usize] += 1;
            }
            for departure in &departures {
                self.pools[plan.pool_of(&departure.packet)].n -= 1;
                self.held[plan.node_of(&departure.packet) as usize] -= 1;
                self.pass_on(plan, departure.time, departure.packet, &[0.0; T]);
            }
        }
        arrivals.items.clear();
        arrivals.rows.clear();
        departures.clear();
        self.departing = departures;
        self.stages[stage].arrivals.give_back(at, arrivals);
    }

    fn sweep_traced(&mut self, stage: usize, arrivals: &Arrivals<T>, departures: &[Departure]) {
        let plan = self.plan;
        let first_departure = arrivals.items.len() as u32;
        let mut sorter = std::mem::take(&mut self.sorter);
        let times = arrivals.items.iter().map(|a| a.time);
        let times = times.chain(departures.iter().map(|d| d.time));
        let keys = times.zip(0..);
        sorter.clear();
        sorter.extend(keys.map(|(time, index)| Key { time, index }));
        sorter.sort(self.at as f64 * self.window, self.per_second);
        let first_node = plan.stages[stage].first;
        for Key { time, index } in sorter.sorted() {
            if *index < first_departure {
                let i = *index as usize;
                let packet = &arrivals.items[i].packet;
                self.held[(first_node + u32::from(packet.node)) as usize] += 1;
                let pool = &mut self.pools[plan.pool_of(packet)];
                pool.n += 1;
                if !pool.shows {
                    let row = &arrivals.rows[i];
                    for (sum, more) in pool.mass.iter_mut().zip(row) {
                        *sum += more;
                    }
                }
                continue;
            }
            let departure = &departures[(index - first_departure) as usize];
            let packet = departure.packet;
            let pool = &mut self.pools[plan.pool_of(&packet)];
            let row = if pool.shows {
                self.carried.take(packet.carry)
            } else {
                let share = 1.0 / f64::from(pool.n);
                #[cfg(test)]
                let share = if plan.fault == crate::verify::Fault::WrongPosterior {
                    (1.5 * share).min(1.0)
                } else {
                    share
                };
                let mut row = pool.mass;
                for (mine, all) in row.iter_mut().zip(&mut pool.mass) {
                    *mine *= share;
                    *all -= *mine;
                }
                row
            };
            pool.n -= 1;
            let node = first_node + u32::from(packet.node);
            let held = &mut self.held[node as usize];
            *held -= 1;
            self.probe.departed(*time, node, &packet, *held);
            self.pass_on(plan, *time, packet, &row);
        }
        self.sorter = sorter;
        let swept = plan.stages[stage];
        let first = swept.first_pool as usize;
        let pools = (swept.width * swept.pools) as usize;
        for pool in &mut self.pools[first..first + pools] {
            for mass in &mut pool.mass {
                // A pool that has run empty holds nothing but the rounding of its last shares.
                if *mass < FORGOTTEN || pool.n == 0 {
                    *mass = 0.0;
                }
            }
        }
    }

    /// A packet has left a node.
    #[inline]
    fn pass_on(&mut self, plan: &'a Plan, time: f64, mut packet: Packet, row: &[f64; T]) {
        packet.carry = NO_CARRY;
        packet.hop += 1;
        let path = &plan.paths[usize::from(packet.path)];
        match path.steps.get(usize::from(packet.hop)) {
            Some(step) if step.goal => {
                self.deliver(time + plan.design.link, &packet, path.class, row);
                self.step(time, &mut packet, step, &[0.0; T]);
            }
            Some(step) => self.step(time, &mut packet, step, row),
            None => self.arrive_at_end(time + path.last_lag, &packet, path.class, row),
        }
    }

    fn arrive_at_end(&mut self, time: f64, packet: &Packet, class: Class, row: &[f64; T]) {
        self.outcome.arrived += 1;
        self.deliver(time, packet, class, row);
    }

    #[inline]
    fn deliver(&mut self, time: f64, packet: &Packet, class: Class, row: &[f64; T]) {
        if class == Class::Payload && packet.sent >= self.warm {
            self.plan.record(&mut self.outcome, time, packet);
        }
        if self.tracing {
            self.ledger.deposit(time, packet, row);
            self.probe.delivered(time, packet, class, row);
        }
    }

    fn finish(mut self) -> Outcome {
        self.outcome.cut_off += self.ledger.close();
        self.outcome.ran = self.at as f64 * self.window;
        self.outcome.tracked = self.ledger.into_tracked();
        self.outcome
    }
}

impl<const T: usize> StageState<T> {
    /// Hands out those that leave within the ring that begins now.
    fn take_late(&mut self, per_second: f64, at: u64, now: &mut Vec<Departure>) {
        for departure in std::mem::take(&mut self.late) {
            let window = (departure.time * per_second) as u64;
            if window <= at {
                now.push(departure);
            } else if let Some(list) = self.departures.within(window, at) {
                self.leaving.push(list, departure);
            } else {
                self.late.push(departure);
            }
        }
    }
}
