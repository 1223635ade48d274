//! From what a file says to what an engine runs.

use super::{File, ScenarioError};
use crate::design::{Cover, Delivery, Design, Mixing, Placement, Plan, Topology};
use crate::outcome::{Options, Users};
use serde::{Deserialize, Serialize};

/// Which engine runs a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The layered sweep: fast, passive.
    #[default]
    Sweep,
    /// The event engine: batch mixes as well.
    Events,
    /// The shipped machines.
    Cores,
}

/// One point of a study, ready to run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which engine runs it.
    pub engine: Engine,
    /// The network.
    pub design: Design,
    /// What is measured; the seed is that of the study.
    pub options: Options,
    /// Whether the run goes on when it has all its targets.
    pub whole_duration: bool,
    /// Users; of a trace 0, until it is read.
    pub users: u32,
    /// Seconds; of a trace that says nothing, infinite.
    pub duration: f64,
    /// What is written.
    pub workload: WorkloadKind,
}

/// What is written.
#[derive(Clone, PartialEq, Debug)]
pub enum WorkloadKind {
    /// Nothing.
    Nothing,
    /// As much as can be sent.
    Saturated,
    /// At random: rate of each user, and contacts.
    Poisson(f64, u32),
    /// As a file says, so many times faster.
    Trace(String, f64),
}

struct Reader<'a> {
    text: &'a str,
    file: &'a File,
}

type Result<T> = std::result::Result<T, ScenarioError>;

impl Case {
    /// Resolves a file; `text` is where lines are counted.
    pub fn of(text: &str, file: &File) -> Result<Self> {
        let reader = Reader { text, file };
        let design = reader.design()?;
        let case = reader.case(design)?;
        // The compiler of plans says what no single value is wrong about.
        Plan::new(&case.design, file.seed).map_err(|error| reader.wrong("network", error.0))?;
        Ok(case)
    }
}

impl Reader<'_> {
    fn wrong(&self, key: &str, what: impl Into<String>) -> ScenarioError {
        ScenarioError::at(self.text, key, what)
    }

    fn unknown(&self, key: &str, value: &str, known: &str) -> ScenarioError {
        self.wrong(key, format!("{key} = {value:?} is not known: {known}"))
    }

    fn design(&self) -> Result<Design> {
        let network = &self.file.network;
        let (width, gateways) = (network.width.unwrap_or(10), network.gateways.unwrap_or(10));
        let base = network.design.as_deref().unwrap_or("mizzle");
        let mut design = match base {
            "mizzle" => Design::mizzle(width, gateways),
            "loopix" => Design::loopix(width, gateways),
            "nym" => Design::nym(width, gateways),
            "katzenpost" => Design::katzenpost(width, gateways),
            "onion" => Design::onion(width, gateways),
            "bare" => Design::bare(3, width, 1.0),
            other => {
                let known = "mizzle, loopix, nym, katzenpost, onion, bare";
                return Err(self.unknown("network.design", other, known));
            }
        };
        design.name.clone_from(&self.file.name);
        if base == "bare" && network.gateways.is_some() && network.delivery.is_none() {
            return Err(self.wrong("network.gateways", "design = \"bare\" has no gateways"));
        }
        if let Some(gateways) = network.gateways {
            design.gateways = gateways;
        }
        self.topology(&mut design, width)?;
        if let Some(weights) = &network.weights {
            let fine = |w: &f64| (1e-6..=1e6).contains(w);
            if weights.is_empty() || !weights.iter().all(fine) || self.file.engine == Engine::Cores
            {
                let what =
                    "weights are some numbers between 1e-6 and 1e6; the shipped machines have none";
                return Err(self.wrong("network.weights", what));
            }
            design.weights.clone_from(weights);
        }
        self.mixing(&mut design)?;
        design.allowance = network.allowance.map_or(design.allowance, |t| t.0);
        design.link = network.link.map_or(design.link, |t| t.0);
        design.entry_mixes = network.entry_mixes.unwrap_or(design.entry_mixes);
        design.packet_len = network.packet_bytes.unwrap_or(design.packet_len);
        self.delivery(&mut design)?;
        self.rates(&mut design)?;
        self.adversary(&mut design)?;
        design
            .check_shape()
            .map_err(|e| self.wrong("network", e.0))?;
        design
            .check_emission()
            .map_err(|e| self.wrong("rates", e.0))?;
        design
            .check_delivery()
            .map_err(|e| self.wrong("network", e.0))?;
        design.check().map_err(|e| self.wrong("adversary", e.0))?;
        Ok(design)
    }

    fn topology(&self, design: &mut Design, width: u32) -> Result<()> {
        let network = &self.file.network;
        let hops = network.hops.unwrap_or(3);
        if network.widths.is_some() && (network.width.is_some() || network.hops.is_some()) {
            let what =
                "widths says how many layers there are and how wide: leave out width and hops";
            return Err(self.wrong("network.widths", what));
        }
        design.topology = match network.topology.as_deref().unwrap_or("stratified") {
            "stratified" => match &network.widths {
                Some(widths) => Topology::Stratified {
                    widths: widths.clone(),
                },
                None => Topology::stratified(hops.min(99), width),
            },
            "cascade" if network.widths.is_none() => Topology::Cascade {
                length: hops,
                cascades: width,
            },
            "free-route" if network.widths.is_none() => Topology::FreeRoute { mixes: width, hops },
            "cascade" | "free-route" => {
                return Err(self.wrong("network.widths", "only a stratified topology has widths"));
            }
            other => {
                let known = "stratified, cascade, free-route";
                return Err(self.unknown("network.topology", other, known));
            }
        };
        Ok(())
    }

    fn mixing(&self, design: &mut Design) -> Result<()> {
        let network = &self.file.network;
        let kind = match (network.mixing.as_deref(), design.mixing) {
            (Some(kind), _) => kind,
            (None, Mixing::None) => "none",
            (None, _) => "poisson",
        };
        let need =
            |key: &str| self.wrong("network.mixing", format!("mixing = {kind:?} needs {key}"));
        let uses: &[&str] = match kind {
            "poisson" => {
                if let Some(mean) = network.mean_delay {
                    design.mixing = Mixing::Poisson { mean: mean.0 };
                } else if !matches!(design.mixing, Mixing::Poisson { .. }) {
                    return Err(need("mean_delay"));
                }
                &["mean_delay"]
            }
            "timed" => {
                let period = network.period.ok_or_else(|| need("period"))?.0;
                design.mixing = Mixing::Timed { period };
                &["period"]
            }
            "threshold" => {
                let size = network.batch.ok_or_else(|| need("batch"))?;
                design.mixing = Mixing::Threshold { size };
                &["batch"]
            }
            "pool" => {
                design.mixing = Mixing::Pool {
                    size: network.batch.ok_or_else(|| need("batch"))?,
                    kept: network.kept.ok_or_else(|| need("kept"))?,
                };
                &["batch", "kept"]
            }
            "none" => {
                design.mixing = Mixing::None;
                &[]
            }
            other => {
                let known = "poisson, threshold, timed, pool, none";
                return Err(self.unknown("network.mixing", other, known));
            }
        };
        let given = [
            ("mean_delay", network.mean_delay.is_some()),
            ("period", network.period.is_some()),
            ("batch", network.batch.is_some()),
            ("kept", network.kept.is_some()),
        ];
        for (key, is_there) in given {
            if is_there && !uses.contains(&key) {
                let what = format!("mixing = {kind:?} has no {key}");
                return Err(self.wrong(&format!("network.{key}"), what));
            }
        }
        if kind != "poisson" && network.entry_mixes.is_none() {
            design.entry_mixes = false;
        }
        Ok(())
    }

    fn delivery(&self, design: &mut Design) -> Result<()> {
        let network = &self.file.network;
        let name = match (network.delivery.as_deref(), design.delivery) {
            (Some(name), _) => name,
            (None, Delivery::Bare) => "bare",
            (None, Delivery::Echo { .. }) => "echo",
            (None, Delivery::Provider { .. }) => "provider",
            (None, Delivery::Push) => "push",
        };
        let (mut rate, mut places, mut interval) = (1.0, 8, 10.0);
        match design.delivery {
            Delivery::Echo {
                downlink_rate,
                places: p,
            } => (rate, places) = (downlink_rate, p),
            Delivery::Provider { pull_interval } => interval = pull_interval,
            Delivery::Bare | Delivery::Push => {}
        }
        design.delivery = match name {
            "bare" => {
                design.gateways = 0;
                design.entry_mixes = false;
                Delivery::Bare
            }
            "echo" => Delivery::Echo {
                downlink_rate: network.downlink_rate.map_or(rate, |r| r.0),
                places: network.places.unwrap_or(places),
            },
            "provider" => Delivery::Provider {
                pull_interval: network.pull_interval.map_or(interval, |t| t.0),
            },
            "push" => Delivery::Push,
            other => {
                let known = "bare, echo, provider, push";
                return Err(self.unknown("network.delivery", other, known));
            }
        };
        if name == "bare" && network.gateways.is_some_and(|g| g > 0) {
            return Err(self.wrong("network.gateways", "delivery = \"bare\" has no gateways"));
        }
        if network.delivery.is_some() && name != "echo" && network.entry_mixes.is_none() {
            design.entry_mixes = false;
        }
        let given = [
            ("downlink_rate", network.downlink_rate.is_some(), "echo"),
            ("places", network.places.is_some(), "echo"),
            ("pull_interval", network.pull_interval.is_some(), "provider"),
        ];
        for (key, is_there, of) in given {
            if is_there && name != of {
                let what = format!("{key} belongs to delivery = {of:?}, not {name:?}");
                return Err(self.wrong(&format!("network.{key}"), what));
            }
        }
        Ok(())
    }

    fn rates(&self, design: &mut Design) -> Result<()> {
        let (rates, e) = (&self.file.rates, &mut design.emission);
        e.payload_rate = rates.payload.map_or(e.payload_rate, |r| r.0);
        e.fetch_share = rates.fetch_share.unwrap_or(e.fetch_share);
        e.loop_rate = rates.client_loops.map_or(e.loop_rate, |r| r.0);
        e.drop_rate = rates.client_drops.map_or(e.drop_rate, |r| r.0);
        e.mix_loop_rate = rates.mix_loops.map_or(e.mix_loop_rate, |r| r.0);
        e.gateway_loop_rate = rates.gateway_loops.map_or(e.gateway_loop_rate, |r| r.0);
        match rates.cover.as_deref() {
            None => {}
            Some("substitute") => e.cover = Cover::Substitute,
            Some("add") => e.cover = Cover::Add,
            Some("none") => {
                e.cover = Cover::None;
                e.payload_rate = rates.payload.map_or(0.0, |r| r.0);
            }
            Some(other) => {
                return Err(self.unknown("rates.cover", other, "substitute, add, none"));
            }
        }
        Ok(())
    }

    fn adversary(&self, design: &mut Design) -> Result<()> {
        let adversary = &self.file.adversary;
        let place = |share: f64| -> Result<Placement> {
            if share == 0.0 {
                return Ok(Placement::None);
            }
            match adversary.placement.as_deref().unwrap_or("random") {
                "random" => Ok(Placement::Random(share)),
                "per-layer" => Ok(Placement::PerLayer(share)),
                "adaptive" => Ok(Placement::Adaptive(share)),
                other => {
                    Err(self.unknown("adversary.placement", other, "random, per-layer, adaptive"))
                }
            }
        };
        design.corrupt_mixes = place(adversary.corrupt_mixes)?;
        design.corrupt_gateways = place(adversary.corrupt_gateways)?;
        if design.gateways == 0 && adversary.corrupt_gateways > 0.0 {
            let what = "there are no gateways to corrupt";
            return Err(self.wrong("adversary.corrupt_gateways", what));
        }
        Ok(())
    }

    fn case(&self, design: Design) -> Result<Case> {
        let (workload, measure) = (&self.file.workload, &self.file.measure);
        let known = "nothing, saturated, poisson, trace";
        if !known.split(", ").any(|k| k == workload.kind) {
            return Err(self.unknown("workload.kind", &workload.kind, known));
        }
        let poisson = workload.kind == "poisson";
        let trace = workload.kind == "trace";
        let given = [
            ("rate", workload.rate.is_some(), poisson),
            ("contacts", workload.contacts.is_some(), poisson),
            ("file", workload.file.is_some(), trace),
            ("speed_up", workload.speed_up.is_some(), trace),
            ("users", workload.users.is_some(), !trace),
        ];
        for (key, is_there, belongs) in given {
            if is_there && !belongs {
                let what = format!("kind = {:?} has no {key}", workload.kind);
                return Err(self.wrong(&format!("workload.{key}"), what));
            }
        }
        let need = |key: &str| {
            let what = format!("kind = {:?} needs {key}", workload.kind);
            self.wrong("workload.kind", what)
        };
        let kind = match workload.kind.as_str() {
            "nothing" => WorkloadKind::Nothing,
            "saturated" => {
                if design.emission.cover != Cover::Substitute {
                    let what =
                        "kind = \"saturated\" fills ticks: it goes with cover = \"substitute\"";
                    return Err(self.wrong("workload.kind", what));
                }
                WorkloadKind::Saturated
            }
            "poisson" => {
                let rate = workload.rate.ok_or_else(|| need("rate"))?.0;
                let send = design.emission.payload_rate * (1.0 - design.emission.fetch_share);
                if design.emission.cover == Cover::Substitute && rate >= send {
                    let what = format!(
                        "{rate}/s is written and only {send}/s can be sent: queues would grow for ever"
                    );
                    return Err(self.wrong("workload.rate", what));
                }
                WorkloadKind::Poisson(rate, workload.contacts.unwrap_or(0))
            }
            "trace" => {
                let faster = workload.speed_up.unwrap_or(1.0);
                if !(1e-6..=1e9).contains(&faster) {
                    return Err(self.wrong("workload.speed_up", "speed_up must be positive"));
                }
                WorkloadKind::Trace(workload.file.clone().ok_or_else(|| need("file"))?, faster)
            }
            other => return Err(self.unknown("workload.kind", other, known)),
        };
        let users = match (workload.users, trace) {
            (_, true) => 0,
            (Some(users @ 2..=100_000_000), false) => users,
            (Some(_), false) => {
                let what = "users must lie between 2 and 100000000";
                return Err(self.wrong("workload.users", what));
            }
            (None, false) => return Err(need("users")),
        };
        if workload.contacts.is_some_and(|contacts| contacts >= users) {
            let what = format!(
                "each of {users} users has at most {} others as contacts",
                users - 1
            );
            return Err(self.wrong("workload.contacts", what));
        }
        let duration = match workload.duration {
            Some(duration) => duration.0,
            None if trace => f64::INFINITY,
            None => return Err(need("duration")),
        };
        let mut options = Options::new(self.file.seed, measure.targets as usize);
        options.warm_up = measure.warm_up.map(|t| t.0);
        options.drain = measure.drain;
        options.users = match measure.users.as_str() {
            "none" => Users::None,
            "senders" => Users::Senders(users),
            "receivers" => Users::Receivers(users),
            other => return Err(self.unknown("measure.users", other, "none, senders, receivers")),
        };
        if measure.warm_up.is_some_and(|t| t.0 >= duration) {
            let what = "the warm-up is longer than the run";
            return Err(self.wrong("measure.warm_up", what));
        }
        self.engine(&design, users)?;
        Ok(Case {
            engine: self.file.engine,
            design,
            options,
            whole_duration: measure.whole_duration,
            users,
            duration,
            workload: kind,
        })
    }

    fn engine(&self, design: &Design, users: u32) -> Result<()> {
        let batch = !matches!(design.mixing, Mixing::None | Mixing::Poisson { .. });
        match self.file.engine {
            Engine::Events => Ok(()),
            Engine::Sweep if batch => {
                let what = "the sweep holds no batch mixes: engine = \"events\"";
                Err(self.wrong("network.mixing", what))
            }
            Engine::Sweep => {
                let plan = Plan::new(design, 0).map_err(|e| self.wrong("network", e.0))?;
                if plan.lookahead() < 2e-6 {
                    let what = "packets come back at once: give them a link or an allowance, or engine = \"events\"";
                    return Err(self.wrong("network", what));
                }
                Ok(())
            }
            Engine::Cores => {
                let layers = design.topology.stages();
                let same = layers.windows(2).all(|w| w[0] == w[1]);
                let gateways = (3..=64).contains(&design.gateways);
                if !design.is_echo() || layers.len() != 3 || !same || !gateways {
                    let what = "engine = \"cores\" runs what is shipped: design = \"mizzle\", three layers of \
                                one width, 3 to 64 gateways";
                    return Err(self.wrong("engine", what));
                }
                if !(2..=1_000).contains(&users) || self.file.workload.kind != "poisson" {
                    let what = "engine = \"cores\" takes 2 to 1000 users and kind = \"poisson\"";
                    return Err(self.wrong("engine", what));
                }
                if self.file.adversary.corrupt_mixes > 0.0 {
                    let what = "engine = \"cores\" follows no posteriors: corrupt_mixes would change nothing";
                    return Err(self.wrong("adversary.corrupt_mixes", what));
                }
                Ok(())
            }
        }
    }
}
