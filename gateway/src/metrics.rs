//! What only a gateway counts, beside `runtime::node::board`.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use runtime::metrics::Lateness;
use std::time::Duration;

/// A gateway's own metrics. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct GatewayMetrics {
    /// Clients that are connected.
    pub sessions: Gauge,
    /// Inboxes that are open.
    pub inboxes: Gauge,
    /// Cells that are kept.
    pub cells: Gauge,
    /// How long after its moment a slot was handed to its client's writer.
    pub downlink_lateness: Lateness,
    commit: Histogram,
}

impl GatewayMetrics {
    /// Registers everything under the prefix `mizzle_`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            sessions: Gauge::default(),
            inboxes: Gauge::default(),
            cells: Gauge::default(),
            downlink_lateness: Lateness::default(),
            commit: Histogram::new(exponential_buckets(0.5e-3, 2.0, 14)),
        };
        let m = registry.sub_registry_with_prefix("mizzle");
        m.register(
            "sessions",
            "Clients that are connected",
            metrics.sessions.clone(),
        );
        m.register("inboxes", "Inboxes that are open", metrics.inboxes.clone());
        m.register("cells", "Cells that are kept", metrics.cells.clone());
        metrics.downlink_lateness.register(
            m,
            "downlink_lateness_seconds",
            "How long after its moment a slot was handed to its writer",
        );
        m.register(
            "store_commit_seconds",
            "From an order to the store until it is durable",
            metrics.commit.clone(),
        );
        metrics
    }

    /// An order became durable, so long after it was given.
    pub fn committed(&self, after: Duration) {
        self.commit.observe(after.as_secs_f64());
    }
}
