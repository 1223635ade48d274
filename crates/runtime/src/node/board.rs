//! What an operator sees of a node: metrics and status, with the alarm when own loops do not come back.
//!
//! The loop copies the machine's counts here twice a second; `GET /metrics` and `GET /status` on
//! loopback show the last copy. Counts of a whole node, never of a client or a packet.

use super::alarm::Alarm;
use super::figure::Anonymity;
use crate::http::{self, HttpLimits, Method, Request, Response, StatusCode};
use crate::metrics::{NodeMetrics, render, set_counter};
use crate::shutdown::Shutdown;
use crate::stages::{StageMetrics, Stages};
use directory::Position;
use mizzle_core::echo::LoopCount;
use mizzle_core::hop::HopNode;
use mizzle_core::loops::LoopAlarm;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use sphinx::PacketFormat;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::time::Instant;

/// How often the loop copies its counts.
pub const COPY_PERIOD: Duration = Duration::from_millis(500);
/// A packet that leaves later than this after its time is late.
const LATE: Duration = Duration::from_millis(1);

/// Metrics and status of one node.
pub struct Board {
    role: &'static str,
    node: String,
    started: Instant,
    metrics: NodeMetrics,
    loops_lost: Counter,
    stages: StageMetrics,
    sent: u64,
    late: u64,
    alarm: Alarm,
    anonymity: Anonymity,
    status: watch::Sender<String>,
}

/// One copy of everything that is counted.
pub struct Sample<'a, F: PacketFormat> {
    /// The machine's common part.
    pub hop: &'a HopNode<F>,
    /// Its own loops.
    pub loops: LoopCount,
    /// Whether too many of them were lost.
    pub alarm: &'a LoopAlarm,
    /// Links that stand, and all of them.
    pub links: (usize, usize),
    /// Packets that wait for a thread.
    pub unwrap_queued: usize,
    /// Whether packets die because their tags cannot be kept.
    pub tags_failing: bool,
    /// The daemon's own lines of the status.
    pub more: Map<String, Value>,
}

impl Board {
    /// Registers its metrics; a daemon adds its own to the same registry.
    pub fn new(
        role: &'static str,
        node: &wire::ids::NodeId,
        registry: &mut Registry,
        stages: &Stages,
        now: Instant,
    ) -> Self {
        let metrics = NodeMetrics::default();
        metrics.register(registry);
        let loops_lost = Counter::default();
        let lost = "Own loops that did not come back in time";
        registry.register("mizzle_loops_lost", lost, loops_lost.clone());
        let alarm = Alarm::register(registry);
        Self {
            role,
            node: directory::hex::encode(&node.0),
            started: now,
            metrics,
            loops_lost,
            stages: stages.register(registry),
            sent: 0,
            late: 0,
            alarm,
            anonymity: Anonymity::default(),
            status: watch::Sender::new("{\"ready\":false}".into()),
        }
    }

    /// For [`serve`].
    pub fn status(&self) -> watch::Receiver<String> {
        self.status.subscribe()
    }

    /// A packet was given to a link, so long after its time.
    pub fn sent(&mut self, late: Duration) {
        self.sent += 1;
        self.late += u64::from(late > LATE);
        self.metrics.lateness.observe(late);
    }

    /// Copies everything.
    pub fn copy<F: PacketFormat>(&mut self, sample: Sample<'_, F>, now: Instant) {
        let Sample {
            hop,
            loops,
            alarm,
            links,
            unwrap_queued,
            tags_failing,
            more,
        } = sample;
        let counters = hop.counters();
        set_counter(&self.metrics.packets_received, counters.received);
        set_counter(&self.metrics.packets_sent, self.sent);
        set_counter(&self.metrics.loops_sent, loops.sent);
        set_counter(&self.metrics.loops_returned, loops.returned);
        set_counter(&self.loops_lost, loops.lost);
        self.stages.copy();
        self.metrics.set_discards(&counters.discards);
        self.metrics.queue_depth.set(gauge(hop.queue_len()));
        self.metrics.unwrap_depth.set(gauge(unwrap_queued));
        self.metrics.links_up.set(gauge(links.0));
        let epoch = hop.view.current(now).map(|d| d.epoch.0);
        let shown = epoch.and_then(|e| i64::try_from(e).ok()).unwrap_or(-1);
        self.metrics.epoch.set(shown);
        let parameters = hop.view.current(now).map(|d| &d.parameters);
        self.alarm.copy(alarm, parameters);
        let delay_mean = parameters.map(|p| p.delay_mean);
        self.anonymity.judge(counters.forwarded, delay_mean, now);
        let position = hop.position(now);
        let discarded: Map<String, Value> = counters
            .discards
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.as_str().to_owned(), count.into()))
            .collect();
        let mut status = json!({
            "role": self.role,
            "node": self.node,
            "ready": position.is_some() && links.1 > 0 && links.0 == links.1 && !tags_failing,
            "uptime_s": (now - self.started).as_secs(),
            "epoch": epoch,
            "position": position.map(place),
            "links_up": links.0,
            "links": links.1,
            "packets_received": counters.received,
            "packets_sent": self.sent,
            "packets_late": self.late,
            "discards": discarded,
            "delay_queue": hop.queue_len(),
            "unwrap_queue": unwrap_queued,
            "loops_sent": loops.sent,
            "loops_returned": loops.returned,
            "loops_lost": loops.lost,
            "loop_alarm": alarm.is_raised(),
            "loop_alarms": alarm.times(),
            "loop_alarm_within_s": self.alarm.within_s(),
            "anonymity": self.anonymity.status(),
            "tags_failing": tags_failing,
            "cpu_us": self.stages.micros(),
        });
        if let Some(object) = status.as_object_mut() {
            object.extend(more);
        }
        self.status.send_replace(status.to_string());
    }
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn place(position: Position) -> String {
    match position {
        Position::Mix { layer, .. } => format!("layer {}", layer + 1),
        Position::Gateway { .. } => "gateway".to_owned(),
    }
}

/// Starts [`serve`] at `address`, if there is one.
pub async fn start(
    address: Option<SocketAddr>,
    registry: Registry,
    board: &Board,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<()> {
    if let Some(address) = address {
        let listener = http::bind(address).await?;
        let (registry, status) = (Arc::new(registry), board.status());
        tasks.spawn(serve(listener, registry, status, shutdown.clone()));
    }
    Ok(())
}

/// Serves `GET /metrics` and `GET /status` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    status: watch::Receiver<String>,
    shutdown: Shutdown,
) {
    let limits = HttpLimits {
        connections_max: 16,
        body_max: 0,
        ..HttpLimits::default()
    };
    let handler = move |request: Request| {
        let (registry, status) = (registry.clone(), status.clone());
        async move { answer(&request, &registry, &status) }
    };
    http::serve(listener, limits, shutdown, handler).await;
}

fn answer(request: &Request, registry: &Registry, status: &watch::Receiver<String>) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => http::respond(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            render(registry),
        ),
        (&Method::GET, "/status") => {
            let body = status.borrow().clone();
            http::respond(StatusCode::OK, "application/json", body)
        }
        (_, "/metrics" | "/status") => http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => http::text(
            StatusCode::NOT_FOUND,
            "only /metrics and /status are here\n",
        ),
    }
}
