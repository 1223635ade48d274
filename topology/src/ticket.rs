//! What an authority shows another one before the body of a message: who it is, and its time. Bodies
//! sign themselves; a ticket decides in whose share of the queues and of the bandwidth a body is read,
//! so that strangers get none and no authority can use up another's. `docs/spec/directory.md` §7.

use directory::{Network, hex};
use std::fmt::Write as _;
use wire::keys::{IdentitySecret, SIGNATURE_LEN};
use wire::time::UnixTime;

/// The header.
pub(crate) const HEADER: &str = "mizzle-authority";
/// Two clocks may differ by so much, in milliseconds; more is refused, and shown.
pub(crate) const SKEW_MAX_MS: i64 = 120_000;

const CONTEXT: &str = "mizzle-authority-ticket-v1";

/// Who asks, and when by its own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(crate) from: u8,
    pub(crate) time: UnixTime,
}

impl Ticket {
    /// The header's value, for the authority `to`.
    pub(crate) fn write(self, to: u8, network: &Network, secret: &IdentitySecret) -> String {
        let signature = secret.sign(CONTEXT, &self.text(to, network));
        let mut value = String::with_capacity(160);
        let _ = write!(
            value,
            "{} {} {}",
            self.from,
            self.time.0,
            hex::encode(&signature)
        );
        value
    }

    /// Reads a header at the authority `to`. `None` when it is not by a listed authority for us.
    pub(crate) fn read(value: &str, to: u8, network: &Network) -> Option<Self> {
        let mut parts = value.split(' ');
        let (from, time, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let ticket = Self {
            from: from.parse().ok()?,
            time: UnixTime(time.parse().ok()?),
        };
        let signature: [u8; SIGNATURE_LEN] = hex::decode(signature)?;
        let authority = network.authorities().get(usize::from(ticket.from))?;
        let text = ticket.text(to, network);
        let verified = authority.identity.verify(CONTEXT, &text, &signature);
        verified.ok().map(|()| ticket)
    }

    /// How far its clock is ahead of `now`, in milliseconds.
    pub(crate) fn ahead_of(self, now: UnixTime) -> i64 {
        let (theirs, ours) = (self.time.0, now.0);
        let by = i64::try_from(theirs.abs_diff(ours)).unwrap_or(i64::MAX);
        if theirs >= ours { by } else { -by }
    }

    fn text(self, to: u8, network: &Network) -> Vec<u8> {
        let mut text = network.id().0.to_vec();
        text.extend([self.from, to]);
        text.extend(self.time.0.to_be_bytes());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::testing::{authority_secret, network_id, schedule};
    use directory::{NetworkAuthority, quorum};

    fn network() -> Network {
        let authority = |i: usize| NetworkAuthority {
            identity: authority_secret(1, i).public(),
            address: ([127, 0, 0, 1], 7800 + i as u16).into(),
        };
        let all = (0..4).map(authority).collect();
        Network::new(network_id(1), schedule(), all, quorum(4), Vec::new()).unwrap()
    }

    #[test]
    fn a_ticket_is_good_at_one_authority_and_not_changed() {
        let (network, secret) = (network(), authority_secret(1, 2));
        let ticket = Ticket {
            from: 2,
            time: UnixTime(5000),
        };
        let value = ticket.write(1, &network, &secret);
        assert_eq!(Ticket::read(&value, 1, &network), Some(ticket));
        assert_eq!(Ticket::read(&value, 0, &network), None, "for another one");
        let wrong = [
            value.replacen('2', "3", 1),
            value.replacen("5000", "5001", 1),
            value.replacen('2', "200", 1),
            format!("{value} "),
            format!("{value}0"),
            value[..value.len() - 2].to_owned(),
            String::new(),
        ];
        for wrong in wrong {
            assert_eq!(Ticket::read(&wrong, 1, &network), None, "{wrong}");
        }
        assert_eq!(ticket.ahead_of(UnixTime(4000)), 1000);
        assert_eq!(ticket.ahead_of(UnixTime(7000)), -2000);
    }
}
