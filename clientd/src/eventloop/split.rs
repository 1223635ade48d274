//! What is known of a second directory of our epochs, and what a person is told of it.

use crate::api::types::{SplitProofStatus, SplitStatus};
use crate::proofs::Proven;
use wire::ids::Epoch;

/// Since the start; proofs of earlier runs too.
#[derive(Default)]
pub(super) struct SplitState {
    /// The newest epoch of which a gateway named another directory.
    seen: Option<Epoch>,
    unproven: u64,
    proofs: Vec<Proven>,
}

impl SplitState {
    pub(super) fn of(proofs: Vec<Proven>) -> Self {
        Self {
            proofs,
            ..Self::default()
        }
    }

    /// A gateway names another directory of this epoch than ours.
    pub(super) fn seen(&mut self, epoch: Epoch) {
        if self.seen.replace(epoch) != Some(epoch) {
            tracing::warn!(
                %epoch,
                "a gateway goes by another directory of this epoch than we do; its document is being fetched"
            );
        }
    }

    /// What it goes by is no proof.
    pub(super) fn unproven(&mut self, why: &str) {
        self.unproven += 1;
        tracing::warn!(
            %why,
            "a gateway names another directory and does not prove that it is one; whoever runs it should \
             look at it"
        );
    }

    pub(super) fn proven(&mut self, proven: Proven) {
        tracing::error!(
            epoch = %proven.epoch, file = %proven.file.display(),
            "there are two directories of one epoch, and the same authorities signed both: people may be shown \
             different networks. The proof is in this file. Write nothing that must stay secret until it is \
             explained; run `topology verify` on the file, and give it to those who run the network"
        );
        self.proofs.push(proven);
    }

    /// Whether there is a proof on the disk.
    pub(super) fn is_proven(&self) -> bool {
        !self.proofs.is_empty()
    }

    pub(super) fn status(&self) -> SplitStatus {
        SplitStatus {
            seen_in_epoch: self.seen.map(|epoch| epoch.0),
            unproven: self.unproven,
            proofs: self.proofs.iter().map(proof_status).collect(),
        }
    }

    /// What a person must see.
    pub(super) fn alarms(&self) -> Vec<String> {
        let mut alarms: Vec<String> = self.proofs.iter().map(proof_in_words).collect();
        let proven = |epoch: &Epoch| self.proofs.iter().any(|p| p.epoch == *epoch);
        if let Some(epoch) = self.seen.filter(|epoch| !proven(epoch)) {
            alarms.push(match self.unproven {
                0 => format!(
                    "a gateway goes by another directory of epoch {epoch} than we do; its document is being \
                     fetched"
                ),
                _ => format!(
                    "a gateway named another directory of epoch {epoch} than ours and did not prove it: it is \
                     broken, or it lies"
                ),
            });
        }
        alarms
    }
}

fn proof_status(proven: &Proven) -> SplitProofStatus {
    SplitProofStatus {
        epoch: proven.epoch.0,
        file: proven.file.display().to_string(),
        signed_both: proven.signed_both,
        both_valid: proven.both_valid,
    }
}

fn proof_in_words(proven: &Proven) -> String {
    let (epoch, file) = (proven.epoch, proven.file.display());
    let authorities = match proven.signed_both {
        1 => "an authority".to_owned(),
        n => format!("{n} authorities"),
    };
    format!(
        "{authorities} signed two directories of epoch {epoch}: people may be shown different networks. The \
         proof is {file}: run `topology verify` on it, give it to those who run the network, and remove it when \
         that is settled"
    )
}
