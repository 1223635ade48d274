//! What an authority counts, as `mizzle_…` on its loopback port.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use runtime::metrics::ReasonLabel;

#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: Counter,
    pub(crate) reports: Counter,
    pub(crate) marked: Gauge,
    pub(crate) refused: Family<ReasonLabel, Counter>,
    pub(crate) published: Counter,
    pub(crate) keep_failures: Counter,
    pub(crate) failed: Counter,
    pub(crate) missing: Counter,
    pub(crate) withheld: Counter,
    pub(crate) equivocations: Counter,
    pub(crate) votes_refused: Counter,
    pub(crate) votes_not_sent: Counter,
    pub(crate) epoch: Gauge,
    pub(crate) nodes_admitted: Gauge,
    pub(crate) nodes_usable: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> (Self, Registry) {
        let (m, mut registry) = (Self::default(), Registry::default());
        let r = registry.sub_registry_with_prefix("mizzle");
        r.register(
            "descriptors_accepted",
            "Descriptors that were new",
            m.accepted.clone(),
        );
        r.register(
            "descriptors_refused",
            "Descriptors that do not count",
            m.refused.clone(),
        );
        r.register(
            "loop_reports",
            "Reports of nodes on their loops that count",
            m.reports.clone(),
        );
        r.register(
            "mixes_marked",
            "Mixes that lose traffic, by the newest directory",
            m.marked.clone(),
        );
        r.register(
            "directories_published",
            "Directories signed and shown",
            m.published.clone(),
        );
        r.register(
            "directory_keep_failures",
            "Times a signed directory could not be made durable",
            m.keep_failures.clone(),
        );
        r.register(
            "votes_failed",
            "Epochs whose vote came to no directory here",
            m.failed.clone(),
        );
        r.register(
            "ballots_missing",
            "Ballots of other authorities that did not come in time",
            m.missing.clone(),
        );
        r.register(
            "shares_withheld",
            "Times an authority voted and kept back its share of the randomness",
            m.withheld.clone(),
        );
        r.register(
            "equivocations",
            "Times an authority signed two statements of one vote",
            m.equivocations.clone(),
        );
        r.register(
            "votes_refused",
            "Statements of other authorities that do not count",
            m.votes_refused.clone(),
        );
        r.register(
            "votes_not_sent",
            "Messages for another authority that found its queue full",
            m.votes_not_sent.clone(),
        );
        r.register("epoch", "Epoch of the newest directory", m.epoch.clone());
        r.register(
            "nodes_admitted",
            "Nodes on the allow-list",
            m.nodes_admitted.clone(),
        );
        r.register(
            "nodes_usable",
            "Nodes that would stand in the next directory",
            m.nodes_usable.clone(),
        );
        (m, registry)
    }
}
