//! What nodes report of their loops in one epoch, and whom that makes suspect. `docs/spec/directory.md` §10.

use super::Accepted;
use crate::document::Directory;
use crate::marks;
use crate::report::{LoopReport, ReportRefused, SignedReport};
use std::collections::BTreeMap;
use wire::ids::{Epoch, NetworkId, NodeId};

/// Reports of one epoch, the first of each node of its directory.
#[derive(Default)]
pub(super) struct Reports {
    epoch: Option<Epoch>,
    by_node: BTreeMap<NodeId, LoopReport>,
}

impl Reports {
    /// One more; `epoch` is that of this moment, with its directory where it is here. Those of another epoch are
    /// forgotten.
    pub(super) fn handle(
        &mut self,
        signed: SignedReport,
        network: &NetworkId,
        (epoch, directory): (Epoch, Option<&Directory>),
    ) -> Result<Accepted, ReportRefused> {
        if signed.report.epoch != epoch {
            return Err(ReportRefused::WrongEpoch);
        }
        let directory = directory.ok_or(ReportRefused::WrongDirectory)?;
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.by_node.clear();
        }
        let reporter = NodeId::of(&signed.reporter);
        match self.by_node.get(&reporter) {
            Some(first) if *first == signed.report => return Ok(Accepted::Unchanged),
            Some(_) => return Err(ReportRefused::Second),
            None => {}
        }
        signed.verify(network, directory)?;
        self.by_node.insert(reporter, signed.report);
        Ok(Accepted::Stored)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Mixes that lose traffic, by reports on this directory.
    pub(super) fn suspects(&self, directory: &Directory) -> Vec<NodeId> {
        if self.epoch == Some(directory.epoch) {
            marks::suspects(directory, &self.by_node)
        } else {
            Vec::new()
        }
    }
}
