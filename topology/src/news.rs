//! What a vote comes to, in words for the operator, and the proof files of what authorities did wrong.

use anyhow::Context as _;
use directory::vote::{Blocked, Equivocation};
use directory::{Network, SignedDirectory, SplitProof};
use runtime::data_dir::{DataDir, write_atomic};
use std::fmt::Write as _;
use std::path::PathBuf;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// In front of two statements of one author.
pub(crate) const PROOF_MAGIC: &[u8; 5] = b"MZEQ\x01";

/// `authority 2 (192.0.2.1:7800), authority 3 (…)`. People count from 1.
pub(crate) fn named(network: &Network, who: &[u8]) -> String {
    let mut text = String::new();
    for index in who {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}authority {}", u16::from(*index) + 1);
        if let Some(authority) = network.authorities().get(usize::from(*index)) {
            let _ = write!(text, " ({})", authority.address);
        }
    }
    text
}

pub(crate) fn missing(network: &Network, epoch: Epoch, who: &[u8]) {
    let who = named(network, who);
    tracing::warn!(
        %epoch, who,
        "no ballot came in time; the vote goes on without it. Is it running, is its clock right, and can \
         the two reach each other? `topology status` there and here says more"
    );
}

pub(crate) fn withheld(network: &Network, epoch: Epoch, who: &[u8]) {
    let who = named(network, who);
    tracing::warn!(
        %epoch, who,
        "it voted and kept back its share of the randomness; the directory names it, and its next share \
         does not count. Once is an accident; ask its operator when it happens again"
    );
}

pub(crate) fn blocked(network: &Network, epoch: Epoch, why: Blocked) {
    let do_what = match why {
        Blocked::TooFewBallots { .. } => format!(
            "{} are needed: see who is missing with `topology status`",
            network.threshold()
        ),
        Blocked::Behind(_) => "nothing is to be done if this happens once".to_owned(),
        Blocked::NoParameters => {
            "compare `profile` and [parameters] of all authorities: more than half must be equal"
                .to_owned()
        }
        Blocked::TooFewNodes { .. } => {
            "check that the nodes run and that more than half of the authorities admit them, in the \
             same role and of the same operator"
                .to_owned()
        }
    };
    tracing::warn!(%epoch, do_what, "no directory can be made: {why}");
}

pub(crate) fn too_few_nodes(epoch: Epoch, mixes: usize, gateways: usize) {
    tracing::warn!(
        %epoch, mixes, gateways,
        "no directory can be made: it takes 3 mixes and 1 gateway with keys for this epoch and the \
         next; check that the nodes run and are on the allow-list"
    );
}

pub(crate) fn failed(epoch: Epoch, until: Option<UnixTime>, now: UnixTime) {
    let left = until.map(|until| until.saturating_since(now).as_secs());
    match left.filter(|s| *s > 0) {
        Some(seconds) => tracing::error!(
            %epoch,
            "there is no directory of this epoch; the one before holds for {seconds} s more. Look at the \
             lines before this one, and at the other authorities: without the next one traffic stops then"
        ),
        None => tracing::error!(
            %epoch,
            "there is no directory of this epoch and none that is valid: traffic has stopped. The \
             authorities vote again and again by themselves; see `topology status` for who is missing"
        ),
    }
}

/// Keeps the proof that an authority said two things, the first of each authority.
pub(crate) async fn equivocated(
    dir: &DataDir,
    network: &Network,
    epoch: Epoch,
    proof: &Equivocation,
) {
    let author = proof.one.author;
    let path = dir.file(&format!("equivocation-of-{}.proof", u16::from(author) + 1));
    let who = named(network, &[author]);
    let kept = keep_first(path.clone(), encode(proof)).await;
    let kept = kept.map_or_else(
        |e| format!("cannot be kept: {e:#}"),
        |()| "is kept".to_owned(),
    );
    tracing::error!(
        %epoch, who, file = %path.display(),
        "it signed two different statements of one vote: it cheats, or two processes run with its key. \
         Neither counts. The proof {kept}; show it to the other operators, and take the authority out of \
         network.toml if nobody can explain it"
    );
}

/// Keeps the proof that an authority signed two directories of one epoch.
pub(crate) async fn signed_twice(
    dir: &DataDir,
    network: &Network,
    epoch: Epoch,
    proof: &SplitProof,
) {
    let culprits = proof.verify(network).map(|split| split.culprits);
    let who = named(network, &culprits.unwrap_or_default());
    let path = dir.file("signed-twice.proof");
    let kept = keep_first(path.clone(), proof.encode()).await;
    let kept = kept.map_or_else(
        |e| format!("cannot be kept: {e:#}"),
        |()| "is kept".to_owned(),
    );
    tracing::error!(
        %epoch, who, file = %path.display(),
        "it signed two directories of one epoch: it cheats, two processes run with its key, or its data \
         folder was restored from a copy. The proof {kept}; show it to the other operators"
    );
}

/// Keeps a directory that contradicts one that is held.
pub(crate) async fn conflicting(dir: &DataDir, epoch: Epoch, other: &SignedDirectory) {
    let path = dir.file("conflicting-directory.proof");
    let kept = keep_first(path.clone(), other.encode()).await;
    let kept = kept.map_or_else(
        |e| format!("cannot be kept: {e:#}"),
        |()| "is kept".to_owned(),
    );
    tracing::error!(
        %epoch, file = %path.display(),
        "there is another directory of this epoch with enough signatures: more authorities cheat than the \
         network allows for. It {kept}; together with ours (`directory-…` beside it) it proves who signed \
         both. Tell the other operators now"
    );
}

/// The bytes of its file.
pub(crate) fn encode(proof: &Equivocation) -> Vec<u8> {
    let mut out = PROOF_MAGIC.to_vec();
    for statement in [&proof.one, &proof.other] {
        let bytes = statement.encode();
        // At most STATEMENT_MAX, a few MB.
        out.extend((bytes.len() as u32).to_be_bytes());
        out.extend(bytes);
    }
    out
}

async fn keep_first(path: PathBuf, bytes: Vec<u8>) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let written = tokio::task::spawn_blocking(move || write_atomic(&path, &bytes)).await;
    written.context("the writer ended")?.context("no room")
}
