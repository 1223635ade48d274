//! Numbers for the operator, as Prometheus text at `GET /metrics` on loopback.
//!
//! Counts of a whole node, never of a client, a session or a packet. The machines count for
//! themselves; a daemon's loop copies their counts here at most once a second.

use crate::http::{self, HttpLimits, Method, Request, Response, StatusCode};
use crate::shutdown::Shutdown;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use sphinx::Discards;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

/// A label `reason`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ReasonLabel {
    /// From a closed set.
    pub reason: &'static str,
}

/// What every node counts. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct NodeMetrics {
    /// Packets that came over any link.
    pub packets_received: Counter,
    /// Packets given to any link.
    pub packets_sent: Counter,
    /// Packets that died, by reason.
    pub discards: Family<ReasonLabel, Counter>,
    /// Packets that wait out their delay.
    pub queue_depth: Gauge,
    /// Packets that wait for a thread to unwrap them.
    pub unwrap_depth: Gauge,
    /// How long after its time a packet left.
    pub lateness: Lateness,
    /// Own loops sent.
    pub loops_sent: Counter,
    /// Own loops that came back.
    pub loops_returned: Counter,
    /// Links that stand, to neighbours.
    pub links_up: Gauge,
    /// The epoch of the directory in use.
    pub epoch: Gauge,
}

/// Seconds after the deadline, from 10 µs to 1.3 s in steps of two.
#[derive(Clone)]
pub struct Lateness(Histogram);

impl Default for Lateness {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(10e-6, 2.0, 18)))
    }
}

impl Lateness {
    /// Registers it under a name of the caller's.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }

    /// Counts one packet.
    pub fn observe(&self, late: Duration) {
        self.0.observe(late.as_secs_f64());
    }
}

impl NodeMetrics {
    /// Registers everything under the prefix `mizzle_`; a daemon adds its own to the same registry.
    pub fn register(&self, registry: &mut Registry) {
        let m = registry.sub_registry_with_prefix("mizzle");
        m.register(
            "packets_received",
            "Packets received",
            self.packets_received.clone(),
        );
        m.register("packets_sent", "Packets sent", self.packets_sent.clone());
        m.register(
            "packets_discarded",
            "Packets discarded",
            self.discards.clone(),
        );
        m.register(
            "queue_depth",
            "Packets waiting out their delay",
            self.queue_depth.clone(),
        );
        m.register(
            "unwrap_depth",
            "Packets waiting to be unwrapped",
            self.unwrap_depth.clone(),
        );
        m.register(
            "lateness_seconds",
            "How long after its time a packet left",
            self.lateness.0.clone(),
        );
        m.register("loops_sent", "Own loops sent", self.loops_sent.clone());
        m.register(
            "loops_returned",
            "Own loops that came back",
            self.loops_returned.clone(),
        );
        m.register(
            "links_up",
            "Links to neighbours that stand",
            self.links_up.clone(),
        );
        m.register("epoch", "Epoch of the directory in use", self.epoch.clone());
    }

    /// Copies a machine's counts, which only grow.
    pub fn set_discards(&self, discards: &Discards) {
        for (reason, count) in discards.iter() {
            let label = ReasonLabel {
                reason: reason.as_str(),
            };
            set_counter(&self.discards.get_or_create(&label), count);
        }
    }
}

/// Sets a counter to a count that is kept elsewhere and only grows.
pub fn set_counter(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

/// Serves `registry` at `GET /metrics`, until `shutdown`.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, shutdown: Shutdown) {
    let limits = HttpLimits {
        connections_max: 16,
        body_max: 0,
        ..HttpLimits::default()
    };
    let handler = move |request: Request| {
        let registry = registry.clone();
        async move { answer(&request, &registry) }
    };
    http::serve(listener, limits, shutdown, handler).await;
}

/// What `GET /metrics` shows, for daemons that serve it beside other routes.
pub fn render(registry: &Registry) -> String {
    let mut out = String::new();
    // A `String` takes everything.
    let _ = encode(&mut out, registry);
    out
}

fn answer(request: &Request, registry: &Registry) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => http::respond(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            render(registry),
        ),
        (_, "/metrics") => http::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        _ => http::text(StatusCode::NOT_FOUND, "only /metrics is here\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::HttpClient;
    use sphinx::DiscardReason;

    #[tokio::test]
    async fn what_is_counted_can_be_read() {
        let metrics = NodeMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.packets_received.inc_by(3);
        metrics.lateness.observe(Duration::from_micros(100));
        let mut discards = Discards::default();
        discards.count(DiscardReason::BadMac);
        metrics.set_discards(&discards);

        let listener = http::bind_loopback(0).await.unwrap();
        let client = HttpClient::new(listener.local_addr().unwrap());
        let shutdown = Shutdown::manual();
        let server = tokio::spawn(serve(listener, Arc::new(registry), shutdown.clone()));
        let answer = client.get("/metrics").await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        for line in [
            "mizzle_packets_received_total 3",
            "mizzle_packets_discarded_total{reason=\"bad_mac\"} 1",
            "mizzle_packets_discarded_total{reason=\"replayed\"} 0",
            "mizzle_lateness_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert_eq!(
            client.get("/else").await.unwrap().status,
            StatusCode::NOT_FOUND
        );
        shutdown.trigger();
        server.await.unwrap();
    }
}
