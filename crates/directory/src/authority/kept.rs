//! What an authority finds again at its start: directories that were decided, and what it signed.

use super::{AuthorityError, KEPT_MAX, Record};
use crate::document::Directory;
use crate::network::Network;
use crate::signed::SignedDirectory;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::ids::Epoch;

/// A decided directory, verified.
pub(super) struct Kept {
    pub(super) directory: Arc<Directory>,
    pub(super) document: Arc<[u8]>,
}

/// Verifies what was decided and puts it in order; of too many, the newest stay.
pub(super) fn restore(
    kept: Vec<Record>,
    network: &Network,
) -> Result<VecDeque<Kept>, AuthorityError> {
    let mut by_epoch = BTreeMap::new();
    for record in kept {
        let signed = record.document();
        let directory = signed.verify(network).map_err(AuthorityError::BadKept)?;
        let document = signed.encode().into();
        by_epoch.insert(
            directory.epoch,
            Kept {
                directory,
                document,
            },
        );
    }
    let surplus = by_epoch.len().saturating_sub(KEPT_MAX);
    Ok(by_epoch.into_values().skip(surplus).collect())
}

/// The newest directory that this authority signed. One that is not by its key would let it sign twice.
pub(super) fn newest_signed(
    kept: Vec<Record>,
    index: u8,
    network: &Network,
) -> Result<Option<(Epoch, SignedDirectory)>, AuthorityError> {
    let mut newest: Option<(Epoch, SignedDirectory)> = None;
    for record in kept {
        let signed = record.document();
        let epoch = signed.epoch();
        let ours = signed.signers().any(|i| i == index) && signed.verify_signers(network).is_ok();
        let epoch = epoch.filter(|_| ours);
        let epoch = epoch.ok_or(AuthorityError::BadSigned)?;
        if newest.as_ref().is_none_or(|(e, _)| *e < epoch) {
            newest = Some((epoch, signed.clone()));
        }
    }
    Ok(newest)
}
