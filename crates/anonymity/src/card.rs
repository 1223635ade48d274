//! One network's numbers, all at once: what `simulations card` prints.

use crate::active::{self, LoopAlarm};
use crate::disclosure::{self, Disclosure};
use crate::flow::{self, Flow};
use crate::network::{self, Layers};
use crate::value::{NOT_POSITIVE, Value, positive, share};
use crate::{compromise, cost, latency, mix, users};

/// A network, and what its users do. Rates per second, times in seconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// N: users online.
    pub users: f64,
    /// λP: a user's payload stream.
    pub payload_rate: f64,
    /// λL (and λD where a design has it): a user's other cover.
    pub loop_rate: f64,
    /// λM: the own loops of each mix, and of each gateway.
    pub mix_loop_rate: f64,
    /// Packets a second that each user receives.
    pub downlink_rate: f64,
    /// m = 1/μ: mean exponential delay of a hop.
    pub mean_hop: f64,
    /// δ: what a hop adds to that, always.
    pub hop_allowance: f64,
    /// Of one link.
    pub link_latency: f64,
    /// L: layers of mixes.
    pub layers: u32,
    /// W: mixes in each layer.
    pub width: u32,
    /// G: gateways.
    pub gateways: u32,
    /// Gateways on a way that also delay (2 in Mizzle: the entry's and the inbox'). They count for latency, not
    /// for anonymity.
    pub edge_hops: u32,
    /// Whether each packet of a user brings a reply through the layers.
    pub replies: bool,
    /// Part of the payload ticks that may carry what a user writes (½ in Mizzle: the others fetch).
    pub send_share: f64,
    /// b: share of each layer's mixes that is corrupt.
    pub corrupt: f64,
    /// Bytes of a packet on the wire.
    pub packet_bytes: f64,
    /// Packets a second that a user has to say, on average while talking.
    pub real_rate: f64,
    /// Those a second that go to one contact while talking to them.
    pub peer_rate: f64,
    /// Other packets a second at the place where the adversary sees that contact's arrive: 0 at an inbox of one
    /// contact at a corrupt gateway, the receiver's other traffic in a push design.
    pub egress_noise: f64,
    /// Friends of a user, for statistical disclosure.
    pub friends: f64,
    /// Probability that a user is online in an epoch.
    pub online: f64,
}

impl Network {
    /// The shape of Mizzle with the rates of a wide network: 3 × `width` mixes, each gateway a hop at both ends.
    pub fn wide(users: f64, width: u32) -> Self {
        Self {
            users,
            payload_rate: 0.5,
            loop_rate: 0.1,
            mix_loop_rate: 0.25,
            downlink_rate: 1.0,
            mean_hop: 2.0,
            hop_allowance: 0.02,
            link_latency: 0.05,
            layers: 3,
            width,
            gateways: width.max(2),
            edge_hops: 2,
            replies: true,
            send_share: 0.5,
            corrupt: 0.1,
            packet_bytes: 2_856.0,
            real_rate: 0.01,
            peer_rate: 0.01,
            egress_noise: 0.0,
            friends: 10.0,
            online: 0.9,
        }
    }

    /// What is wrong with it, by the name of the field.
    pub fn check(&self) -> Result<(), &'static str> {
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let rules = [
            (
                "users: at least one",
                self.users >= 1.0 && self.users.is_finite(),
            ),
            ("payload_rate: above zero", positive(&[self.payload_rate])),
            ("loop_rate: zero or more", not_negative(self.loop_rate)),
            (
                "mix_loop_rate: zero or more",
                not_negative(self.mix_loop_rate),
            ),
            (
                "downlink_rate: zero or more",
                not_negative(self.downlink_rate),
            ),
            ("mean_hop: above zero", positive(&[self.mean_hop])),
            (
                "hop_allowance: zero or more",
                not_negative(self.hop_allowance),
            ),
            (
                "link_latency: zero or more",
                not_negative(self.link_latency),
            ),
            ("layers: from 1 to 64", (1..=64).contains(&self.layers)),
            ("width: at least one", self.width >= 1),
            ("gateways: at least one", self.gateways >= 1),
            ("edge_hops: at most 64", self.edge_hops <= 64),
            (
                "send_share: above 0, at most 1",
                self.send_share > 0.0 && share(self.send_share),
            ),
            ("corrupt: from 0 to 1", share(self.corrupt)),
            ("packet_bytes: above zero", positive(&[self.packet_bytes])),
            ("real_rate: zero or more", not_negative(self.real_rate)),
            ("peer_rate: zero or more", not_negative(self.peer_rate)),
            (
                "egress_noise: zero or more",
                not_negative(self.egress_noise),
            ),
            (
                "friends: at least one",
                self.friends >= 1.0 && self.friends.is_finite(),
            ),
            (
                "online: above 0, at most 1",
                self.online > 0.0 && share(self.online),
            ),
        ];
        match rules.iter().find(|(_, holds)| !holds) {
            Some((rule, _)) => Err(rule),
            None => Ok(()),
        }
    }

    /// Packets a second that one user sends.
    pub fn emission(&self) -> f64 {
        self.payload_rate + self.loop_rate
    }

    /// Λ: packets a second that enter the first layer.
    pub fn entering(&self) -> f64 {
        let ways = if self.replies { 2.0 } else { 1.0 };
        // A mix' loop crosses each layer once, a gateway's goes the way of a user's packet.
        let mixes = f64::from(self.layers) * f64::from(self.width) * self.mix_loop_rate;
        let gateways = f64::from(self.gateways) * self.mix_loop_rate * ways;
        self.users * self.emission() * ways + mixes + gateways
    }

    /// The part of it that decides how well the layers mix.
    pub fn as_layers(&self) -> Layers {
        Layers {
            rate: self.entering(),
            width: self.width,
            layers: self.layers,
            mean_hop: self.mean_hop,
        }
    }
}

/// One number of a [`Card`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Line {
    /// What it is about.
    pub group: &'static str,
    /// Its key in JSON.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The number.
    pub value: Value,
}

/// All numbers of a network, in the order of reading.
#[derive(Clone, PartialEq, Debug)]
pub struct Card {
    /// They.
    pub lines: Vec<Line>,
}

impl Card {
    /// Works them out; names what is wrong with the network if anything is.
    pub fn new(network: &Network) -> Result<Self, &'static str> {
        network.check()?;
        let mut card = Self { lines: Vec::new() };
        card.anonymity(network);
        card.corruption(network);
        card.latency(network);
        card.alarm(network);
        card.cost(network);
        card.long_run(network);
        Ok(card)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.lines.iter().find(|l| l.key == key).map(|l| l.value)
    }

    fn add(
        &mut self,
        group: &'static str,
        key: &'static str,
        what: &'static str,
        unit: &'static str,
        value: Value,
    ) {
        self.lines.push(Line {
            group,
            key,
            what,
            unit,
            value,
        });
    }

    fn anonymity(&mut self, n: &Network) {
        let group = "anonymity";
        let layers = n.as_layers();
        let rho = layers.pool();
        let x = n.emission() * n.mean_hop;
        self.add(
            group,
            "entering",
            "Λ: packets that enter the layers",
            "1/s",
            Value::exact(n.entering()),
        );
        self.add(
            group,
            "pool",
            "ρ: mean packets in one mix",
            "packets",
            Value::exact(rho),
        );
        self.add(
            group,
            "mix_entropy",
            "one mix: entropy over messages, exact posterior",
            "bit",
            mix::entropy(rho),
        );
        self.add(
            group,
            "mix_min_entropy",
            "one mix: min-entropy over messages",
            "bit",
            mix::min_entropy(rho),
        );
        self.add(
            group,
            "mix_best_guess",
            "one mix: success of the best single guess",
            "",
            mix::best_guess(rho),
        );
        self.add(
            group,
            "entropy_messages",
            "all layers: entropy over messages, honest mixes",
            "bit",
            network::entropy(&layers),
        );
        let least = network::min_entropy(&layers);
        self.add(
            group,
            "min_entropy_messages",
            "all layers: min-entropy over messages, honest mixes",
            "bit",
            least,
        );
        self.add(
            group,
            "best_guess",
            "all layers: success of the best single guess",
            "",
            least.map(|h| (-h).exp2()),
        );
        self.add(
            group,
            "entropy_users",
            "all layers: entropy over users, honest mixes",
            "bit",
            users::entropy(n.users, x, n.layers),
        );
        self.add(
            group,
            "emission_per_hop",
            "λ·m: a user's packets in a mean hop delay; 0.3 to 1 hides among all users",
            "packets",
            Value::exact(x),
        );
    }

    fn corruption(&mut self, n: &Network) {
        let group = "corrupt mixes";
        let path = compromise::path(n.corrupt, n.layers);
        self.add(
            group,
            "corrupt_entropy",
            "entropy over messages, mean over paths",
            "bit",
            network::corrupt_entropy(&n.as_layers(), n.corrupt),
        );
        self.add(
            group,
            "path_compromised",
            "P(H = 0): all mixes of a path corrupt",
            "",
            path,
        );
        self.add(
            group,
            "messages_half",
            "messages until half of all users had such a path",
            "messages",
            compromise::messages_until(0.5, path.value),
        );
        self.add(
            group,
            "messages_95",
            "messages until 95 % of all users had such a path",
            "messages",
            compromise::messages_until(0.95, path.value),
        );
    }

    fn latency(&mut self, n: &Network) {
        let group = "latency";
        let hops = n.layers + n.edge_hops;
        let mu = 1.0 / n.mean_hop;
        let fixed = f64::from(hops) * n.hop_allowance + f64::from(hops + 1) * n.link_latency;
        let plus = |value: Value| value.map(|v| v + fixed);
        self.add(
            group,
            "latency_mean",
            "from clock to inbox or receiver: mean",
            "s",
            plus(latency::mean(hops, mu)),
        );
        self.add(
            group,
            "latency_p50",
            "the same: median",
            "s",
            plus(latency::quantile(hops, mu, 0.5)),
        );
        self.add(
            group,
            "latency_p99",
            "the same: 99 %",
            "s",
            plus(latency::quantile(hops, mu, 0.99)),
        );
        let clock = n.payload_rate * n.send_share;
        self.add(
            group,
            "queue_mean",
            "wait at the send clock: mean, for Poisson writers",
            "s",
            cost::clock_wait(clock, n.real_rate),
        );
        self.add(
            group,
            "queue_p95",
            "wait at the send clock: 95 %, for Poisson writers",
            "s",
            cost::clock_wait_quantile(clock, n.real_rate, 0.95),
        );
    }

    fn alarm(&mut self, n: &Network) {
        let group = "active attacks";
        let mu = 1.0 / n.mean_hop;
        let rho = n.as_layers().pool();
        let time = active::blocking_time(rho, 0.01, mu);
        self.add(
            group,
            "n1_time",
            "n−1: blocking until 0.01 others are left in a mix",
            "s",
            time,
        );
        self.add(
            group,
            "n1_detection",
            "n−1: P(a mix misses one of its loops meanwhile)",
            "",
            active::detection(n.mix_loop_rate, time.value),
        );
        self.add(
            group,
            "loops_per_hop",
            "λM·m: a mix' loops in a mean hop delay; 0.5 or more to notice n−1",
            "loops",
            Value::exact(n.mix_loop_rate * n.mean_hop),
        );
        let hour = n.mix_loop_rate * 3_600.0;
        let seen = match LoopAlarm::new(hour, 0.01, 1e-4) {
            Some(alarm) => alarm.detection(0.1),
            None => Value::undefined(NOT_POSITIVE),
        };
        self.add(group, "drop_detection", "P(alarm in an hour) when a tenth of a mix' loops is dropped, 1 % lost anyway, 10⁻⁴ false", "", seen);
    }

    fn cost(&mut self, n: &Network) {
        let group = "cost";
        let up = cost::bandwidth(n.emission(), n.packet_bytes);
        let down = cost::bandwidth(n.downlink_rate, n.packet_bytes);
        self.add(group, "up", "a user sends", "B/s", up);
        self.add(group, "down", "a user receives", "B/s", down);
        self.add(
            group,
            "day",
            "a user, both ways",
            "B/day",
            Value::exact((up.value + down.value) * cost::DAY),
        );
        self.add(
            group,
            "overhead",
            "packets for each that carries something",
            "",
            cost::overhead(n.emission(), n.real_rate),
        );
        self.add(
            group,
            "mix_load",
            "packets through one mix",
            "1/s",
            cost::mix_load(n.entering(), 0.0, n.width),
        );
    }

    fn long_run(&mut self, n: &Network) {
        let group = "long run";
        let flow = Flow {
            emitted: n.emission(),
            matched: n.peer_rate,
            noise: n.egress_noise,
            hops: n.layers,
            mu: 1.0 / n.mean_hop,
        };
        let time = flow::time_to_link(&flow, 0.9, 1e-3);
        self.add(
            group,
            "time_to_link",
            "conversation until both ends are matched (entry and egress seen; TPR 0.9 at FPR 10⁻³)",
            "s",
            time,
        );
        self.add(
            group,
            "messages_to_link",
            "the same in packets of the conversation",
            "packets",
            time.map(|t| t * n.peer_rate),
        );
        // One round is one packet of the target's and what others say while it is on its way.
        let others = n.users * n.real_rate * f64::from(n.layers) * n.mean_hop;
        let population = Disclosure {
            recipients: n.users,
            batch: 1.0 + others,
            friends: n.friends,
        };
        let mut rounds = disclosure::rounds(&population, 3.0);
        if rounds.validity.holds() {
            rounds = Value::doubtful(rounds.value, "batches stand in for a continuous mix");
        }
        self.add(group, "disclosure_rounds", "messages until statistical disclosure finds the friends (arrivals at inboxes seen; l = 3)", "messages", rounds);
        self.add(
            group,
            "intersection_epochs",
            "epochs until who was always online is the target and one other",
            "epochs",
            disclosure::intersection_epochs(n.users, n.online),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_network_has_a_card() {
        let card = Card::new(&Network::wide(10_000.0, 10)).unwrap();
        let get = |key| card.get(key).unwrap().value;
        assert!(get("entropy_users") < 10_000f64.log2());
        assert!(get("best_guess") < 1e-3);
        assert!((get("path_compromised") - 1e-3).abs() < 1e-12);
        // Keys are unique.
        let mut keys: Vec<_> = card.lines.iter().map(|l| l.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), card.lines.len());
    }

    #[test]
    fn nonsense_is_named() {
        let mut network = Network::wide(10.0, 2);
        network.mean_hop = 0.0;
        assert_eq!(Card::new(&network), Err("mean_hop: above zero"));
        network = Network::wide(f64::NAN, 2);
        assert_eq!(Card::new(&network), Err("users: at least one"));
    }

    #[test]
    fn nothing_to_say_is_no_panic() {
        let mut network = Network::wide(1.0, 1);
        network.real_rate = 0.0;
        network.peer_rate = 0.0;
        network.mix_loop_rate = 0.0;
        network.corrupt = 0.0;
        let card = Card::new(&network).unwrap();
        assert!(!card.get("time_to_link").unwrap().validity.holds());
    }
}
