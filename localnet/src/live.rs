//! A running network: started, ready, watched; the table and the status line for a person.

use crate::acquaint::{self, Person};
use crate::api::Api;
use crate::args::NetworkArgs;
use crate::plan::{Plan, Planned, Role};
use crate::processes::Processes;
use anyhow::{Context, Result, bail};
use runtime::entropy::Entropy;
use runtime::http_client::HttpClient;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wire::ids::NodeId;

/// A network that is not ready after this never will be.
const READY_MAX: Duration = Duration::from_secs(60);

/// A network whose clients can send.
pub struct Network {
    /// Who is where.
    pub plan: Plan,
    /// Their processes.
    pub processes: Processes,
    /// From the first process' start until every client was ready.
    pub ready_after: Duration,
    /// Where captures go.
    pub capture: Option<PathBuf>,
}

impl Network {
    /// Makes all files, starts all processes, waits until every client is ready.
    pub async fn start(args: &NetworkArgs) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        Self::start_with(args, &program).await
    }

    /// The same with the children's program named; for tests, which are another program.
    pub async fn start_with(args: &NetworkArgs, program: &Path) -> Result<Self> {
        Self::start_plan(Plan::make(args)?, args, program).await
    }

    /// The same with a plan that somebody changed, and its files.
    pub async fn start_plan(plan: Plan, args: &NetworkArgs, program: &Path) -> Result<Self> {
        let started = Instant::now();
        introduce(&plan, args.seed)?;
        let processes = Processes::start(&plan, program)?;
        let mut network = Self {
            plan,
            processes,
            ready_after: Duration::ZERO,
            capture: args.capture.clone(),
        };
        let names: Vec<String> = network
            .plan
            .of(Role::Client)
            .map(|c| c.name.clone())
            .collect();
        for name in names {
            network.wait_ready(&name, started + READY_MAX).await?;
        }
        network.ready_after = started.elapsed();
        Ok(network)
    }

    /// Waits until a client can send.
    pub async fn wait_ready(&mut self, client: &str, deadline: Instant) -> Result<()> {
        let api = self.api(client)?;
        loop {
            self.processes.check_alive()?;
            let health = api.get("/v1/health").await;
            if health.as_ref().is_ok_and(|h| h["ready"] == true) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let last = health.map_or_else(|e| format!("{e:#}"), |h| h.to_string());
                bail!(
                    "{client} is not ready after {} s: {last}",
                    READY_MAX.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A client's API.
    pub fn api(&self, client: &str) -> Result<Api> {
        let planned = self.plan.nodes.iter().find(|n| n.name == client);
        Api::new(planned.with_context(|| format!("no client {client}"))?)
    }

    /// Sleeps, and fails as soon as a process ends by itself.
    pub async fn watch_until(&mut self, until: Instant) -> Result<()> {
        loop {
            self.processes.check_alive()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(Duration::from_millis(200))).await;
        }
    }

    /// What mixes and gateways discarded, by reason, where there was any.
    pub async fn discards(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for node in &self.plan.nodes {
            if !matches!(node.role, Role::Mix | Role::Gateway) {
                continue;
            }
            let Some(status) = status(node).await else {
                continue;
            };
            let counted = status["discards"].as_object().into_iter().flatten();
            let counted: Vec<String> = counted
                .filter(|(_, n)| n.as_u64() != Some(0))
                .map(|(reason, n)| format!("{reason} {n}"))
                .collect();
            if !counted.is_empty() {
                all.push((node.name.clone(), counted.join(", ")));
            }
        }
        all
    }

    /// Ends all processes; removes the folder if it was made for this run alone.
    pub fn stop(mut self) -> Result<()> {
        self.processes.stop()?;
        if self.plan.temporary {
            std::fs::remove_dir_all(&self.plan.folder)
                .with_context(|| format!("cannot remove {}", self.plan.folder.display()))?;
        }
        Ok(())
    }
}

/// A node's own words about itself.
pub async fn status(node: &Planned) -> Option<serde_json::Value> {
    let mut http = HttpClient::new(node.metrics?);
    http.timeout = Duration::from_secs(2);
    let answer = http.get("/status").await.ok()?;
    serde_json::from_slice(&answer.body).ok()
}

/// Clients are contacts before they start.
fn introduce(plan: &Plan, seed: Option<u64>) -> Result<()> {
    let gateways: Vec<_> = plan.of(Role::Gateway).filter_map(|g| g.identity).collect();
    let clients: Vec<&Planned> = plan.of(Role::Client).collect();
    let people = clients
        .iter()
        .map(|client| {
            let entry = plan.entry_of(client).and_then(|g| g.identity);
            let entry = NodeId::of(&entry.context("a client without an entry gateway")?);
            Ok(Person {
                name: client.name.clone(),
                entry,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut entropy = Entropy::from_option(seed.map(|s| s ^ 0x6163_7175));
    let (id, schedule) = (*plan.network.id(), plan.network.schedule());
    let rows = acquaint::acquaint(&people, id, schedule, &gateways, &mut entropy)?;
    for (client, rows) in clients.iter().zip(rows) {
        clientd::provision(&client.data(), rows)
            .with_context(|| format!("cannot make the store of {}", client.name))?;
    }
    Ok(())
}

/// Runs a network until it is interrupted.
pub async fn run(args: &NetworkArgs) -> Result<()> {
    say!(
        "starting {} processes …",
        3 * args.mixes_per_layer + args.gateways + args.clients + args.authorities
    );
    let mut network = Network::start(args).await?;
    print_table(&network);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            done = &mut interrupt => {
                done?;
                say!("\nending …");
                return network.stop();
            }
            line = status_line(&network) => {
                write!(std::io::stdout(), "\r\x1b[K{line}")?;
                std::io::stdout().flush()?;
            }
        }
        network
            .watch_until(Instant::now() + Duration::from_secs(1))
            .await?;
    }
}

fn print_table(network: &Network) {
    say!("{:<11} {:<11} {:>8}  address", "role", "name", "pid");
    for process in network.processes.iter() {
        let node = &process.node;
        let mut places: Vec<String> = Vec::new();
        places.extend(node.listen.map(|a| a.to_string()));
        places.extend(node.client_listen.map(|a| format!("clients {a}")));
        places.extend(node.metrics.map(|a| format!("metrics http://{a}/metrics")));
        places.extend(node.api.map(|a| format!("API http://{a}")));
        if node.role == Role::Client {
            places.push(format!("token {}", node.data().join("api.token").display()));
        }
        let role = format!("{:?}", node.role).to_lowercase();
        say!(
            "{role:<11} {:<11} {:>8}  {}",
            node.name,
            process.id(),
            places.join("  ")
        );
    }
    say!(
        "ready after {:.1} s; state in {}",
        network.ready_after.as_secs_f64(),
        network.plan.folder.display()
    );
    print_first_steps(network);
}

fn print_first_steps(network: &Network) {
    let data = |name: &str| {
        let client = network.plan.nodes.iter().find(|n| n.name == name);
        client
            .map(|c| c.data().display().to_string())
            .unwrap_or_default()
    };
    let (alice, bob) = (data("alice"), data("bob"));
    say!("\nA first message, in two other terminals:");
    say!("  cargo run --release -p clientd -- --data {bob} listen");
    say!("  cargo run --release -p clientd -- --data {alice} send bob \"hello\"");
    let api = network
        .plan
        .nodes
        .iter()
        .find(|n| n.name == "alice")
        .and_then(|n| n.api);
    let Some(api) = api else { return };
    say!("The same by curl (take bob's id from the first answer):");
    say!("  TOKEN=$(cat {alice}/api.token)");
    say!("  curl -H \"Authorization: Bearer $TOKEN\" http://{api}/v1/contacts");
    say!(
        "  curl -X PUT -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\"
    );
    say!("       -d '{{\"text\":\"hello\"}}' http://{api}/v1/contacts/ID/messages/first");
    say!("\nCtrl-C ends the network.\n");
}

async fn status_line(network: &Network) -> String {
    let (mut received, mut discarded, mut queued) = (0, 0, 0);
    for node in network
        .plan
        .nodes
        .iter()
        .filter(|n| matches!(n.role, Role::Mix | Role::Gateway))
    {
        let Some(status) = status(node).await else {
            continue;
        };
        received += status["packets_received"].as_u64().unwrap_or(0);
        queued += status["delay_queue"].as_u64().unwrap_or(0);
        discarded += status["discards"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, n)| n.as_u64())
            .sum::<u64>();
    }
    let mut clients = Vec::new();
    for client in network.plan.of(Role::Client) {
        let Ok(api) = network.api(&client.name) else {
            continue;
        };
        if let Ok(status) = api.get("/v1/status").await {
            clients.push(format!("{} sent {}", client.name, status["packets_sent"]));
        }
    }
    format!(
        "packets through nodes {received}, waiting {queued}, discarded {discarded}; {}",
        clients.join(", ")
    )
}
