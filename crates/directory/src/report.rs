//! What a node tells the authorities about its own loops, signed. `docs/spec/directory.md` §10.
//!
//! Counts of a whole period, with noise ([`Noise`]): a loop looks like everybody's packets, and who drops one
//! packet must not learn from a report whether it was a loop. Not here: who counts (`mizzle_core::loops`), and what
//! authorities make of it ([`crate::marks`]).

use crate::document::{Directory, LAYERS, Position};
use std::fmt;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{DirectoryHash, Epoch, NetworkId, NodeId};
use wire::keys::{BadSignature, IdentityPublic, IdentitySecret, SIGNATURE_LEN};
use wire::rng::KeyRng;

/// Most bytes of a signed report: room for all mixes that a directory holds.
pub const REPORT_MAX: usize = 65_536;
/// ε of a whole report: what one packet more or less changes of the probability of any report, as a
/// factor e^ε at most.
pub const EPSILON: f64 = 1.0;

const MAGIC: [u8; 4] = *b"MZLR";
const VERSION: u8 = 1;
const CONTEXT: &str = "mizzle-loop-report-v1";

/// One node's loops of a period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoopReport {
    /// Made in this epoch.
    pub epoch: Epoch,
    /// Which says what node a place means.
    pub directory: DirectoryHash,
    /// Loops that came back or were lost.
    pub judged: u32,
    /// For each mix of each layer, in the order of the directory: loops through it that were lost, and noise.
    /// Empty for the reporter's own layer, which its loops do not cross.
    pub lost: [Vec<i16>; LAYERS],
}

/// A report with its node's signature. Holding one says nothing yet: see [`SignedReport::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedReport {
    /// Whose.
    pub reporter: IdentityPublic,
    /// What it says.
    pub report: LoopReport,
    /// By the reporter, over network id and all bytes before the signature.
    pub signature: [u8; SIGNATURE_LEN],
}

/// Why a report does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportRefused {
    /// It is not of this epoch: too late, or the clocks differ.
    WrongEpoch,
    /// There is no directory of this epoch here, or it is another one.
    WrongDirectory,
    /// The reporter is not in the directory.
    NotInDirectory,
    /// It has not as many places as the directory, or counts its own layer.
    WrongShape,
    /// Not signed by this node for this network.
    BadSignature,
    /// Another one of this node and epoch is here already; the first counts.
    Second,
}

impl fmt::Display for ReportRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongEpoch => "the report is of another epoch; check the node's clock",
            Self::WrongDirectory => "the report is by another directory than this authority's",
            Self::NotInDirectory => "this node is not in the directory of this epoch",
            Self::WrongShape => "the report does not fit the directory",
            Self::BadSignature => {
                "the signature does not hold; is the node configured for this network?"
            }
            Self::Second => "another report of this node and epoch is here; the first counts",
        })
    }
}

impl std::error::Error for ReportRefused {}

impl SignedReport {
    /// Signs `report` for one network.
    pub fn sign(report: LoopReport, secret: &IdentitySecret, network: &NetworkId) -> Self {
        let reporter = secret.public();
        let text = text(&reporter, &report);
        Self {
            signature: secret.sign(CONTEXT, &message(network, &text)),
            reporter,
            report,
        }
    }

    /// Whether its node signed this, for this network, and it fits `directory`, that of its epoch. Cheap checks first.
    pub fn verify(&self, network: &NetworkId, directory: &Directory) -> Result<(), ReportRefused> {
        let report = &self.report;
        if report.epoch != directory.epoch || report.directory != directory.hash() {
            return Err(ReportRefused::WrongDirectory);
        }
        let position = directory.position(&NodeId::of(&self.reporter));
        let position = position.ok_or(ReportRefused::NotInDirectory)?;
        let places = |layer: usize| match position {
            Position::Mix { layer: own, .. } if own == layer => 0,
            Position::Mix { .. } | Position::Gateway { .. } => directory.layer(layer).len(),
        };
        if report
            .lost
            .iter()
            .enumerate()
            .any(|(layer, l)| l.len() != places(layer))
        {
            return Err(ReportRefused::WrongShape);
        }
        let message = message(network, &text(&self.reporter, report));
        let signed = self.reporter.verify(CONTEXT, &message, &self.signature);
        signed.map_err(|BadSignature| ReportRefused::BadSignature)
    }

    /// Its only encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = text(&self.reporter, &self.report);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads what [`SignedReport::encode`] wrote and nothing else; does not verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > REPORT_MAX {
            return Err(DecodeError::TooLong("report"));
        }
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("report magic or version"));
        }
        let signed = Self {
            reporter: IdentityPublic::decode(&mut r)?,
            report: LoopReport {
                epoch: Epoch(r.u64()?),
                directory: DirectoryHash::decode(&mut r)?,
                judged: r.u32()?,
                lost: [counts(&mut r)?, counts(&mut r)?, counts(&mut r)?],
            },
            signature: r.array()?,
        };
        r.finish()?;
        Ok(signed)
    }
}

fn counts(r: &mut Reader<'_>) -> Result<Vec<i16>, DecodeError> {
    let n = usize::from(r.u16()?);
    let bytes = r.slice(2 * n)?;
    let pairs = bytes.chunks_exact(2);
    Ok(pairs
        .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
        .collect())
}

fn text(reporter: &IdentityPublic, report: &LoopReport) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(&MAGIC).u8(VERSION).put(&reporter.to_bytes());
    w.u64(report.epoch.0)
        .put(&report.directory.0)
        .u32(report.judged);
    for layer in &report.lost {
        w.u16(layer.len() as u16);
        layer.iter().for_each(|lost| {
            w.put(&lost.to_be_bytes());
        });
    }
    w.into_vec()
}

fn message(network: &NetworkId, text: &[u8]) -> Vec<u8> {
    [&network.0[..], text].concat()
}

/// Two-sided geometric noise: P(k) is proportional to e^(−|k|·ε/Δ), Δ being the most counts that one packet
/// changes by one. A report then has ε-differential privacy for that packet.
pub struct Noise {
    /// ln of the ratio from one value to the next.
    step: f64,
}

impl Noise {
    /// For reports in which one loop changes so many counts.
    pub fn new(counts: u32) -> Self {
        Self {
            step: -EPSILON / f64::from(counts.max(1)),
        }
    }

    /// One draw: the difference of two geometric variables.
    pub fn draw(&self, keys: &mut KeyRng) -> i64 {
        self.geometric(keys) - self.geometric(keys)
    }

    fn geometric(&self, keys: &mut KeyRng) -> i64 {
        let bits = u64::from_be_bytes(keys.bytes()) >> 11;
        let open01 = (bits as f64 + 0.5) / (1u64 << 53) as f64;
        (open01.ln() / self.step).floor() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_law() {
        let (noise, mut keys) = (Noise::new(2), KeyRng::from_seed([1; 32]));
        let n = 100_000_u32;
        let draws: Vec<i64> = (0..n).map(|_| noise.draw(&mut keys)).collect();
        let share = |k: i64| draws.iter().filter(|d| **d == k).count() as f64 / f64::from(n);
        let a = (-0.5_f64).exp();
        for k in -6_i64..=6 {
            let law = (1.0 - a) / (1.0 + a) * a.powi(k.unsigned_abs() as i32);
            // Six standard errors: one test in 10⁷ fails by chance.
            let error = 6.0 * (law * (1.0 - law) / f64::from(n)).sqrt();
            assert!((share(k) - law).abs() < error, "{k}: {} of {law}", share(k));
        }
    }
}
