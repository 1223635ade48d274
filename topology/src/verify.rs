//! `topology verify FILE`: what a document proves, to anybody who has `network.toml`. No daemon is asked
//! and nothing is changed.

use crate::news::PROOF_MAGIC;
use crate::source;
use anyhow::{Context as _, bail, ensure};
use directory::vote::{STATEMENT_MAX, Statement, StatementKind};
use directory::{
    DOCUMENT_MAX, Directory, LAYERS, Network, SPLIT_PROOF_MAX, SignedDirectory, SplitProof, hex,
};
use wire::ids::Epoch;
use wire::time::UnixTime;

const SPLIT_MAGIC: &[u8] = b"MZSP";
/// The longest of the documents that are understood.
const LEN_MAX: usize = {
    let statements = 5 + 2 * (4 + STATEMENT_MAX);
    let longest = if statements > SPLIT_PROOF_MAX {
        statements
    } else {
        SPLIT_PROOF_MAX
    };
    if longest > DOCUMENT_MAX {
        longest
    } else {
        DOCUMENT_MAX
    }
};

/// Reads a document (`source`) and says what it proves; an error says why it proves nothing.
pub(crate) async fn document(
    source: &str,
    network: &Network,
    now: UnixTime,
) -> anyhow::Result<String> {
    let bytes = source::read(source, LEN_MAX).await?;
    in_words(&bytes, network, now).with_context(|| format!("{source} proves nothing"))
}

/// What these bytes prove.
fn in_words(bytes: &[u8], network: &Network, now: UnixTime) -> anyhow::Result<String> {
    if bytes.starts_with(SPLIT_MAGIC) {
        split(bytes, network)
    } else if let Some(statements) = bytes.strip_prefix(PROOF_MAGIC) {
        equivocation(statements, network)
    } else {
        one(bytes, network, now)
    }
}

/// A directory.
fn one(bytes: &[u8], network: &Network, now: UnixTime) -> anyhow::Result<String> {
    let signed = SignedDirectory::decode(bytes)
        .context("it is neither a directory nor a proof of one of our programs")?;
    let directory = signed.verify(network)?;
    let signers: Vec<u8> = signed.signers().collect();
    let when = match directory.check_time(now) {
        Ok(()) => "it holds now".to_owned(),
        Err(why) => format!("now it is not gone by: {why}"),
    };
    let mixes: Vec<String> = (0..LAYERS)
        .map(|layer| directory.layer(layer).len().to_string())
        .collect();
    Ok(format!(
        "a valid directory of epoch {}, hash {}\n\
         signed by {} of {} authorities, {} are needed: {}\n\
         valid from {} to {} (Unix time in ms); {when}\n\
         mixes by layer: {}; gateways: {}\n",
        directory.epoch,
        hex::encode(&directory.hash().0),
        signers.len(),
        network.authorities().len(),
        network.threshold(),
        numbers(&signers),
        directory.valid_from.0,
        directory.valid_until.0,
        mixes.join(", "),
        directory.gateways().len(),
    ))
}

/// Two directories of one epoch.
fn split(bytes: &[u8], network: &Network) -> anyhow::Result<String> {
    let proof = SplitProof::decode(bytes).context("it is cut off or was changed")?;
    let split = proof.verify(network)?;
    let mut text = format!(
        "a proof: there are two directories of epoch {}, and the same authorities signed both\n",
        split.epoch
    );
    for document in proof.documents() {
        let signers: Vec<u8> = document.signers().collect();
        text += &format!(
            "{} signed by {}{}\n",
            hex::encode(&document.hash().0),
            numbers(&signers),
            document.verify(network).map_or_else(
                |why| format!("; no client goes by it: {why}"),
                |d| differs(&d)
            ),
        );
    }
    text += &accused(&split.culprits, network);
    text += if split.both_valid {
        "both are valid, so people can have been shown two networks. Give this file to everybody who runs \
         a node or an authority, and let nobody trust these authorities any more: take them out of \
         network.toml (their key was stolen, or they cheat)\n"
    } else {
        "only one is valid, so nobody was misled. Let whoever runs these authorities explain it: a key was \
         stolen, two processes run with it, or a data folder was restored from a copy\n"
    };
    Ok(text)
}

fn differs(directory: &Directory) -> String {
    let mixes: usize = (0..LAYERS).map(|layer| directory.layer(layer).len()).sum();
    let gateways = directory.gateways().len();
    format!("; valid, with {mixes} mixes and {gateways} gateways")
}

/// Two statements of one vote, each behind its length.
fn equivocation(bytes: &[u8], network: &Network) -> anyhow::Result<String> {
    let (one, rest) = statement(bytes)?;
    let (other, rest) = statement(rest)?;
    ensure!(
        rest.is_empty(),
        "there are bytes behind the second statement"
    );
    for said in [&one, &other] {
        said.verify(network)?;
    }
    let about = |s: &Statement| (s.author, s.kind, s.epoch, s.attempt);
    if about(&one) != about(&other) || one.payload == other.payload {
        bail!("the two statements do not contradict each other");
    }
    let (kind, epoch): (&str, Epoch) = match one.kind {
        StatementKind::Ballot => ("ballots", one.epoch),
        StatementKind::Reveal => ("shares of the randomness", one.epoch),
    };
    Ok(format!(
        "a proof: one authority signed two different {kind} in one vote on epoch {epoch}\n{}\
         neither counts. Let whoever runs it explain it: a key was stolen, two processes run with it, or it \
         cheats; then take it out of network.toml\n",
        accused(&[one.author], network)
    ))
}

fn statement(bytes: &[u8]) -> anyhow::Result<(Statement, &[u8])> {
    let cut = "it is cut off";
    let (len, rest) = bytes.split_first_chunk::<4>().context(cut)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    let (one, rest) = rest.split_at_checked(len).context(cut)?;
    let said = Statement::decode(one).context("a statement in it cannot be read")?;
    Ok((said, rest))
}

/// People count from 1, as `topology status` does.
fn numbers(authorities: &[u8]) -> String {
    let each = authorities.iter().map(|i| (u16::from(*i) + 1).to_string());
    let each: Vec<String> = each.collect();
    match each.as_slice() {
        [] => "nobody".to_owned(),
        [one] => format!("authority {one}"),
        many => format!("authorities {}", many.join(", ")),
    }
}

/// A line for each, by number and key.
fn accused(culprits: &[u8], network: &Network) -> String {
    let line = |index: &u8| {
        let authority = network.authorities().get(usize::from(*index))?;
        Some(format!(
            "signed both: authority {} ({}, key {})\n",
            u16::from(*index) + 1,
            authority.address,
            hex::encode(&authority.identity.to_bytes())
        ))
    };
    culprits.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::testing::{authority_secret, directory, network_id, nobodys_key, schedule};
    use directory::vote::Equivocation;
    use directory::{NetworkAuthority, Parameters};

    const SEED: u64 = 7;

    fn network() -> Network {
        let authority = |i| NetworkAuthority {
            identity: authority_secret(SEED, i).public(),
            address: "127.0.0.1:1".parse().unwrap(),
        };
        let all = (0..4).map(authority).collect();
        Network::new(network_id(SEED), schedule(), all, 3, Vec::new()).unwrap()
    }

    /// One of epoch 3 with so many mixes in a layer, signed by these.
    fn signed(mixes: usize, signers: &[u8]) -> SignedDirectory {
        let parameters = Parameters::localnet();
        let (made, _) = directory(SEED, mixes, 3, Epoch(3), parameters, nobodys_key);
        let mut parts = signers
            .iter()
            .map(|i| SignedDirectory::sign(&made, *i, &authority_secret(SEED, usize::from(*i))));
        let first = parts.next().unwrap();
        parts.fold(first, |mut all, one| {
            assert!(all.merge(&one));
            all
        })
    }

    fn said(bytes: &[u8]) -> String {
        let now = schedule().start(Epoch(3));
        in_words(bytes, &network(), now).unwrap_or_else(|error| format!("refused: {error:#}"))
    }

    #[test]
    fn a_directory_is_described_and_a_changed_one_refused() {
        let good = signed(2, &[0, 2, 3]).encode();
        let text = said(&good);
        for words in [
            "epoch 3",
            "3 of 4 authorities, 3 are needed: authorities 1, 3, 4",
            "it holds now",
            "mixes by layer: 2, 2, 2; gateways: 3",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let late = schedule().start(Epoch(9));
        let text = in_words(&good, &network(), late).unwrap();
        assert!(text.contains("time is over"), "{text}");
        let few = said(&signed(2, &[0, 2]).encode());
        assert!(few.contains("2 authorities signed and 3 must"), "{few}");
        for at in [0, 4, 9, 300, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(said(&bad).starts_with("refused"), "{at}");
        }
        assert!(said(&good[..good.len() - 1]).starts_with("refused"));
        assert!(said(b"").starts_with("refused"));
    }

    #[test]
    fn a_split_names_who_signed_both_and_says_whether_people_were_misled() {
        let proof = |a, b| SplitProof::new(signed(2, a), signed(3, b)).encode();
        let both = said(&proof(&[0, 1, 2], &[1, 2, 3]));
        for words in [
            "two directories of epoch 3",
            "authority 2 (",
            "authority 3 (",
            "both are valid",
        ] {
            assert!(both.contains(words), "{words}: {both}");
        }
        assert!(!both.contains("both: authority 1 ("), "{both}");
        let key = hex::encode(&authority_secret(SEED, 1).public().to_bytes());
        assert!(both.contains(&key), "{both}");
        let one = said(&proof(&[0, 1, 2], &[2]));
        assert!(one.contains("only one is valid") && one.contains("1 authorities signed"));
        let none = said(&proof(&[0, 1, 2], &[3]));
        assert!(
            none.starts_with("refused: no authority signed both"),
            "{none}"
        );
        let whole = proof(&[0, 1, 2], &[1, 2, 3]);
        for cut in [4, 5, 8, 700, whole.len() - 1] {
            assert!(said(&whole[..cut]).starts_with("refused"), "{cut}");
        }
    }

    /// What `author` says in a vote on epoch 3, signed by itself and by one that passed it on.
    fn statement_of(author: u8, kind: StatementKind, attempt: u32, payload: &[u8]) -> Statement {
        let mut statement = Statement {
            kind,
            epoch: Epoch(3),
            attempt,
            author,
            payload: payload.into(),
            signatures: Vec::new(),
        };
        for signer in [author, (author + 1) % 4] {
            let secret = authority_secret(SEED, usize::from(signer));
            statement.sign_for_test(&network(), signer, &secret);
        }
        statement
    }

    fn proof_of(one: Statement, other: Statement) -> Vec<u8> {
        let proof = Equivocation { one, other };
        crate::news::encode(&proof)
    }

    #[test]
    fn two_statements_of_one_author_accuse_it_and_nobody_else() {
        let ballot = |author, words: &[u8]| statement_of(author, StatementKind::Ballot, 0, words);
        let good = proof_of(ballot(2, b"one"), ballot(2, b"other"));
        let text = said(&good);
        let key = hex::encode(&authority_secret(SEED, 2).public().to_bytes());
        for words in ["two different ballots", "epoch 3", "authority 3 (", &key] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(text.matches("signed both: ").count(), 1, "{text}");
        let share = |words| statement_of(1, StatementKind::Reveal, 4, words);
        let text = said(&proof_of(share(&[1; 32]), share(&[2; 32])));
        assert!(text.contains("shares of the randomness"), "{text}");

        // Nothing that one of them may have said honestly, or that somebody else said.
        for harmless in [
            proof_of(ballot(2, b"one"), ballot(2, b"one")),
            proof_of(ballot(2, b"one"), ballot(1, b"other")),
            proof_of(
                ballot(2, b"one"),
                statement_of(2, StatementKind::Ballot, 1, b"other"),
            ),
            proof_of(
                ballot(2, &[1; 32]),
                statement_of(2, StatementKind::Reveal, 0, &[2; 32]),
            ),
        ] {
            let text = said(&harmless);
            assert!(text.contains("do not contradict each other"), "{text}");
        }
        let mut strange = ballot(2, b"other");
        strange.author = 9;
        assert!(said(&proof_of(ballot(2, b"one"), strange)).starts_with("refused"));
        let mut unsigned = ballot(2, b"other");
        unsigned.signatures.retain(|s| s.0 != 2);
        let text = said(&proof_of(ballot(2, b"one"), unsigned));
        assert!(text.contains("without its author's signature"), "{text}");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(said(&bad).starts_with("refused"), "byte {at}");
            assert!(said(&good[..at]).starts_with("refused"), "cut at {at}");
        }
        assert!(said(&[&good[..], &[0]].concat()).contains("bytes behind"));
    }
}
