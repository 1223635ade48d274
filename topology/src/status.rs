//! How an authority says that it is: `GET /v1/status` as JSON, and the same in words.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A clock that differs by more is worth a word, in milliseconds.
const SKEW_SHOWN_MS: i64 = 500;

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// In hex.
    pub network_id: String,
    /// By this authority's clock.
    pub epoch: u64,
    /// Of the newest directory that is handed out.
    pub newest_epoch: Option<u64>,
    /// Its hash in hex.
    pub newest_hash: Option<String>,
    /// Seconds until the newest directory is valid no more.
    pub valid_for_s: Option<u64>,
    /// On the allow-list.
    pub nodes_admitted: usize,
    /// Of them, with a descriptor here.
    pub nodes_with_descriptor: usize,
    /// Of them, those that could stand in the directory that is voted on.
    pub nodes_usable: usize,
    /// Reports of nodes on their loops in this epoch.
    #[serde(default)]
    pub reports: usize,
    /// Mixes that lose traffic by the newest directory, in hex.
    #[serde(default)]
    pub marked: Vec<String>,
    /// Signatures that make a directory.
    pub threshold: u8,
    /// The vote that goes on or comes next.
    pub vote: VoteStatus,
    /// All of them, in the order of `network.toml`.
    pub authorities: Vec<AuthorityStatus>,
}

/// A vote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VoteStatus {
    /// On which epoch's directory.
    pub epoch: u64,
    /// 0 in the epoch before; above, the votes in a network without a valid directory.
    pub attempt: u32,
    /// `waiting`, `ballots`, `reveals`, `signatures`, `decided` or `failed`.
    pub phase: String,
    /// Seconds until it begins; 0 when it has.
    pub begins_in_s: u64,
    /// Whether this authority has a ballot in it.
    pub own_ballot: bool,
}

/// What this authority knows of one, itself among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorityStatus {
    /// From 1, as in messages for people.
    pub number: u16,
    /// Where it listens.
    pub address: SocketAddr,
    /// This one.
    pub own: bool,
    /// Whether its ballot is here.
    pub voted: bool,
    /// Whether our last message reached it; `None` when there was none.
    pub reached: Option<bool>,
    /// Seconds since it last sent something; `None` for never, since our start.
    pub heard_s: Option<u64>,
    /// How far its clock was ahead of ours then.
    pub clock_ahead_ms: Option<i64>,
}

impl Status {
    /// For a person.
    pub fn in_words(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.newest());
        let _ = writeln!(
            out,
            "nodes: {} admitted, {} of them known, {} can stand in the directory of epoch {}",
            self.nodes_admitted, self.nodes_with_descriptor, self.nodes_usable, self.vote.epoch
        );
        for node in &self.marked {
            let _ = writeln!(
                out,
                "MARKED: mix {node} loses traffic by the loops of others; clients avoid it"
            );
        }
        let _ = writeln!(out, "{}", self.vote_line());
        if let Some(line) = self.own_clock() {
            let _ = writeln!(out, "{line}");
        }
        for authority in &self.authorities {
            let _ = writeln!(out, "  {}", self.authority_line(authority));
        }
        out
    }

    /// A word when more than half of the others differ from this one, most of them in the same way: it is this one
    /// then, and not they.
    fn own_clock(&self) -> Option<String> {
        let mut ahead: Vec<i64> = self
            .authorities
            .iter()
            .filter_map(|a| a.clock_ahead_ms)
            .collect();
        ahead.sort_unstable();
        let others = self.authorities.iter().filter(|a| !a.own).count();
        let middle = *ahead.get(ahead.len() / 2)?;
        let wrong = ahead
            .iter()
            .filter(|ms| ms.abs() > SKEW_SHOWN_MS && (**ms > 0) == (middle > 0));
        if wrong.count() * 2 <= others.max(1) || others < 2 {
            return None;
        }
        let seconds = middle.unsigned_abs() as f64 / 1000.0;
        let side = if middle > 0 { "behind" } else { "ahead of" };
        Some(format!(
            "THIS AUTHORITY'S CLOCK IS {seconds:.1} s {side} those of most others: set it right (NTP)"
        ))
    }

    fn newest(&self) -> String {
        let now = format!("it is epoch {}", self.epoch);
        match (self.newest_epoch, &self.newest_hash, self.valid_for_s) {
            (Some(epoch), Some(hash), Some(left)) if left > 0 => format!(
                "{now}; the newest directory is that of epoch {epoch} ({}…), valid for {left} s",
                hash.get(..8).unwrap_or(hash)
            ),
            (Some(epoch), _, _) => format!(
                "{now}; NO VALID DIRECTORY: the last was that of epoch {epoch}; nobody can send"
            ),
            (None, _, _) => format!("{now}; there is no directory yet"),
        }
    }

    fn vote_line(&self) -> String {
        let vote = &self.vote;
        let here = self.authorities.iter().filter(|a| a.voted).count();
        let of = self.authorities.len();
        let name = match vote.attempt {
            0 => format!("vote on epoch {}", vote.epoch),
            n => format!("vote {n} on epoch {}, to get started", vote.epoch),
        };
        let doing = match vote.phase.as_str() {
            "waiting" => return format!("{name}: begins in {} s", vote.begins_in_s),
            "ballots" => "ballots go around",
            "reveals" => "ballots are fixed, shares of the randomness go around",
            "signatures" => "signatures are collected",
            "decided" => "decided",
            _ => "came to nothing",
        };
        let ours = if vote.own_ballot {
            ""
        } else {
            "; this authority has none in it (it waits for nodes, or started too late for this one)"
        };
        let need = self.threshold;
        format!("{name}: {doing}; ballots of {here} of {of} are here, {need} needed{ours}")
    }

    fn authority_line(&self, authority: &AuthorityStatus) -> String {
        let mut line = format!("authority {} ({})", authority.number, authority.address);
        if authority.own {
            line.push_str(": this one");
            return line;
        }
        let heard = match authority.heard_s {
            None => "not heard of since this one started".to_owned(),
            Some(seconds) => format!("heard of {seconds} s ago"),
        };
        let _ = write!(line, ": {heard}");
        if authority.reached == Some(false) {
            line.push_str(", CANNOT BE REACHED");
        }
        let over = !matches!(self.vote.phase.as_str(), "waiting" | "ballots");
        if over && !authority.voted {
            line.push_str(", NO BALLOT in this vote");
        }
        let ahead = authority.clock_ahead_ms.unwrap_or(0);
        if ahead.abs() > SKEW_SHOWN_MS {
            let seconds = ahead.unsigned_abs() as f64 / 1000.0;
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let _ = write!(
                line,
                ", ITS CLOCK IS {seconds:.1} s {side} this one's: one of the two is wrong"
            );
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(number: u16) -> AuthorityStatus {
        AuthorityStatus {
            number,
            address: ([192, 0, 2, 1], 7800 + number).into(),
            own: number == 1,
            voted: number < 3,
            reached: Some(number < 4),
            heard_s: (number < 4).then_some(3),
            clock_ahead_ms: (number == 2).then_some(-7_200_000),
        }
    }

    #[test]
    fn who_is_missing_is_said_in_words() {
        let mut status = Status {
            network_id: "00".into(),
            epoch: 7,
            newest_epoch: Some(7),
            newest_hash: Some("0123456789".into()),
            valid_for_s: Some(90),
            nodes_admitted: 9,
            nodes_with_descriptor: 8,
            nodes_usable: 7,
            reports: 6,
            marked: vec!["0a1b".into()],
            threshold: 3,
            vote: VoteStatus {
                epoch: 8,
                attempt: 0,
                phase: "reveals".into(),
                begins_in_s: 0,
                own_ballot: true,
            },
            authorities: (1..=4).map(authority).collect(),
        };
        let words = status.in_words();
        let has = |part: &str| assert!(words.contains(part), "{part}: {words}");
        has("epoch 7 (01234567…), valid for 90 s");
        has("MARKED: mix 0a1b loses traffic");
        has("ballots of 2 of 4 are here, 3 needed");
        has("authority 1 (192.0.2.1:7801): this one");
        has("authority 2 (192.0.2.1:7802): heard of 3 s ago, ITS CLOCK IS 7200.0 s behind");
        has("authority 3 (192.0.2.1:7803): heard of 3 s ago, NO BALLOT in this vote");
        has(
            "authority 4 (192.0.2.1:7804): not heard of since this one started, CANNOT BE REACHED, NO \
             BALLOT",
        );
        status.valid_for_s = Some(0);
        assert!(status.in_words().contains("NO VALID DIRECTORY"));
        // One of three that differs is the one that is wrong; of three that all do, it is this one.
        assert!(!status.in_words().contains("THIS AUTHORITY'S CLOCK"));
        for authority in &mut status.authorities[1..] {
            authority.clock_ahead_ms = Some(1000 + i64::from(authority.number));
        }
        let words = status.in_words();
        assert!(
            words.contains("THIS AUTHORITY'S CLOCK IS 1.0 s behind"),
            "{words}"
        );
        status.authorities[1].clock_ahead_ms = Some(-1000);
        status.authorities[2].clock_ahead_ms = Some(0);
        assert!(!status.in_words().contains("THIS AUTHORITY'S CLOCK"));
    }
}
